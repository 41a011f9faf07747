"""Whether code comes back to a call by a loop of its own, as its bytecode tells it.

An exception is no way back: a loop that tries again until a call succeeds makes one call.

    for item in items: ask(item)                      "each": every item has its call
    for item in items: if item.new: ask(item)         "some": others have none
    for item in items: if ask(item) == "yes": break   "until": left before its end, perhaps for what
    while not done: done = ask(...)                            a call has answered
    for item in items: story = ask(story + item)      "chain": an answer is kept for the next round
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from causepath.code.bytecode import SHARED, STORES, graph_of

if TYPE_CHECKING:
    from types import CodeType

    from causepath.code.bytecode import Graph

MAX_BYTES = 10_000
"""Of the bytecode of a function that is looked at: some ten milliseconds at the most, once."""

EACH, SOME, UNTIL, CHAIN = "each", "some", "until", "chain"

ITEMS = frozenset({"FOR_ITER", "GET_ANEXT"})


class Place(NamedTuple):
    """A call within a function."""

    loop: str | None = None
    """The kind of the innermost loop that comes back to it."""
    always: bool = True
    """Whether the function never ends without it, but by an exception."""
    keeps: bool = False
    """Whether the function keeps an answer where its next call finds it."""
    names: frozenset[str] = frozenset()
    """What is called there. Where that calls something else, as `map` does, it has a loop of its
    own that nobody sees."""


def place_of(code: CodeType, offset: int) -> Place:
    """Describes the call at `offset` in `code`."""
    if len(code.co_code) > MAX_BYTES or sys.version_info < (3, 11):
        # Before 3.11 code does not say which expression an instruction is of, so that nobody knows
        # what becomes of an answer.
        return Place()
    graph = graph_of(code)
    call = graph.at(offset)
    keeps = graph.hands_on(call, frozenset(graph.next), graph.first, SHARED)
    return _place(graph, call)._replace(names=graph.called(call), keeps=keeps)


def _place(graph: Graph, call: int) -> Place:
    always = graph.passes(graph.first, call)
    loops = [(head, graph.loop(head, backs)) for head, backs in graph.backs.items()]
    around = [(len(body), head, body) for head, body in loops if call in body]
    if not around:
        return Place(None, always)
    _, head, body = min(around)
    if graph.names[head] not in ITEMS or graph.is_left(head, body):
        return Place(UNTIL, always)
    inside = [after for after in graph.next[head] if after in body]
    if any(graph.hands_on(call, body, after, STORES) for after in inside):
        return Place(CHAIN, always)
    each = all(graph.passes(after, call, head) for after in inside)
    return Place(EACH if each else SOME, always)
