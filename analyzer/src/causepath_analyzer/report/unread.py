"""What was not understood of the input, in sentences."""

from collections.abc import Sequence

from causepath_analyzer.model import Input
from causepath_analyzer.server_request import is_address


def complaints(inputs: Sequence[Input]) -> list[str]:
    """Says of everything that was not understood what and where it is."""
    found = []
    for entry in inputs:
        if entry.problem is not None:
            found.append(str(entry.problem))
            continue
        found += [
            f"{_place(entry.path, skipped.where)}: {skipped.why}" for skipped in entry.skipped
        ]
        found += [f"{entry.path}: {note}" for note in entry.notes]
    return found


def _place(path: str, where: str) -> str:
    return f"{path}: {where}" if is_address(path) else f"{path}:{where.removeprefix('line ')}"
