"""Names of spans on pages that have little room beside their bars."""

from typing import Final

from causepath_analyzer.model import Span

_MOST_LETTERS: Final = 24
"""More of a name do not fit beside the bars."""
_OPERATIONS: Final = ("invoke_agent ", "execute_tool ", "chat ")


def shown_name(name: str, span: Span | None, *, with_turn: bool = True) -> str:
    """Writes the bare name of what was called, with the number of the turn if it is known.

    "≤" stands before a time of which only the most that it can be is known, and what does not fit
    is left out in the middle: tools of one server begin alike.
    """
    for operation in _OPERATIONS:
        name = name.removeprefix(operation)
    call = span.model_call if span is not None else None
    before = f"{call.turn} " if with_turn and call is not None and call.turn is not None else ""
    if span is not None and span.tool_call is not None and span.tool_call.inferred:
        before = "≤ "
    room = _MOST_LETTERS - len(before)
    if len(name) > room:
        head = room // 2
        name = f"{name[:head]}…{name[head + 1 - room :]}"
    return before + name
