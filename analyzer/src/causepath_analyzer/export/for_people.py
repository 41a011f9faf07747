"""Times beside their nanoseconds, as people read them."""


def for_people(name: str, spent_ns: int, wall_ns: int) -> dict[str, object]:
    """Says a time in seconds, and as a share of the run."""
    found: dict[str, object] = {f"{name}.seconds": seconds(spent_ns)}
    if wall_ns:
        found[f"{name}.percent"] = round(100 * spent_ns / wall_ns, 1)
    return found


def seconds(ns: int) -> float:
    """Rounds to what people read."""
    return round(ns / 1e9, 3)
