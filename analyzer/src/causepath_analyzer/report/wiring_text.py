"""The lines of ``causepath doctor --self``, and its JSON of a versioned schema."""

import textwrap
from collections.abc import Iterator
from typing import Final

import msgspec
from rich.text import Text

from causepath_analyzer.analyses.wiring import TRACED_SDKS, Wiring
from causepath_analyzer.report.formatting import count, harmless

SCHEMA: Final = "causepath.wiring/1"
_WIDTH: Final = 80


def wiring_text(wiring: Wiring) -> list[Text]:
    """Says what the wiring is, then what is wrong with it."""
    lines = [line for label, told in _facts(wiring) for line in _under(label, told, 9)]
    wrong = wiring.wrong()
    for one in wrong:
        first, *others = _under("bad", one, 5)
        first.stylize("bad", 0, 3)
        lines += [first, *others]
    if not wrong:
        lines.append(Text("The wiring is sound.", style="good"))
    return lines


def _under(label: str, told: str, indent: int) -> list[Text]:
    parts = textwrap.wrap(harmless(told), _WIDTH - indent, break_on_hyphens=False) or [""]
    return [Text(f"{label if at == 0 else '':<{indent}}{part}") for at, part in enumerate(parts)]


def _facts(wiring: Wiring) -> Iterator[tuple[str, str]]:
    if wiring.python is not None:
        yield "python", wiring.python
    if wiring.plugin is not None:
        yield "plugin", f"causepath {wiring.plugin}, loaded as Python started"
    if wiring.installed is not None:
        sdks = [
            f"{name} {wiring.installed[name]}" for name in TRACED_SDKS if name in wiring.installed
        ]
        if sdks:
            yield "models", f"calls of {', '.join(sdks)} would be seen"
    elif wiring.imported:
        yield "models", f"{', '.join(wiring.imported)}: {count(wiring.calls, 'call')} seen"
    if wiring.to:
        would = "would go" if wiring.installed is not None else "go"
        yield "spans", f"{would} to {', '.join(wiring.to)}"
    if wiring.written is not None:
        yield "written", count(wiring.written, "span")


def wiring_json(wiring: Wiring) -> bytes:
    """The wiring in schema `SCHEMA`. Fields may be added, not changed."""
    told = {"schema": SCHEMA, **msgspec.structs.asdict(wiring), "wrong": wiring.wrong()}
    return msgspec.json.format(msgspec.json.encode(told), indent=1) + b"\n"
