"""Whether code comes back to a call by a loop of its own, as its bytecode tells it.

An exception is no way back: a loop that tries again until a call succeeds makes one call.

    for item in items: ask(item)                      "each": every item has its call
    for item in items: if item.new: ask(item)         "some": others have none
    for item in items: if ask(item) == "yes": break   "until": left before its end, perhaps for what
    while not done: done = ask(...)                            a call has answered
"""

from __future__ import annotations

import dis
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet
    from types import CodeType

MAX_BYTES = 20_000
"""Of the bytecode of a function that is looked at: a millisecond, once."""

EACH, SOME, UNTIL = "each", "some", "until"

ENDS = frozenset({"RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE"})
RAISES = frozenset({"RAISE_VARARGS", "RERAISE"})
ALWAYS = frozenset({"JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_ABSOLUTE", "JUMP"})
WAITS = "JUMP_BACKWARD_NO_INTERRUPT"
"""How an `await` waits: no loop of the application."""

ITEMS = frozenset({"FOR_ITER", "GET_ANEXT"})


class Place(NamedTuple):
    """A call within a function."""

    loop: str | None = None
    """The kind of the innermost loop that comes back to it."""
    always: bool = True
    """Whether the function never ends without it, but by an exception."""
    names: frozenset[str] = frozenset()
    """What is called there. Where that calls something else, as `map` does, it has a loop of its
    own that nobody sees."""


def place_of(code: CodeType, offset: int) -> Place:
    """What is known of the call at `offset` in `code`."""
    if len(code.co_code) > MAX_BYTES:
        return Place()
    graph = _Graph(code)
    call = graph.at(offset)
    return _place(graph, call)._replace(names=graph.called(call))


def _place(graph: _Graph, call: int) -> Place:
    always = graph.passes(graph.first, call)
    loops = [(head, graph.loop(head, backs)) for head, backs in graph.backs.items()]
    around = [(len(body), head, body) for head, body in loops if call in body]
    if not around:
        return Place(None, always)
    _, head, body = min(around)
    if graph.names[head] not in ITEMS or graph.is_left(head, body):
        return Place(UNTIL, always)
    inside = [after for after in graph.next[head] if after in body]
    each = all(graph.passes(after, call, head) for after in inside)
    return Place(EACH if each else SOME, always)


class _Graph:
    """The instructions of a function, by offset, and which may follow which if nothing fails."""

    def __init__(self, code: CodeType) -> None:
        found = list(dis.get_instructions(code))
        self.names = {one.offset: one.opname for one in found}
        self._found = found
        self.first = found[0].offset
        self.next: dict[int, tuple[int, ...]] = {}
        self.backs: dict[int, list[int]] = {}
        """By the head of a loop: the instructions that jump back to it."""
        follows = {one.offset: after.offset for one, after in pairwise(found)}
        jumps = {*dis.hasjrel, *dis.hasjabs}
        for one in found:
            after = follows.get(one.offset)
            target = one.argval if one.opcode in jumps else None
            if one.opname in ENDS:
                self.next[one.offset] = ()
            elif one.opname == WAITS or target is None or target not in self.names:
                self.next[one.offset] = (after,) if after is not None else ()
            elif one.opname in ALWAYS or after is None:
                self.next[one.offset] = (target,)
            else:
                self.next[one.offset] = (after, target)
        before: dict[int, list[int]] = {}
        for offset in self._reached(self.first):
            for after in self.next[offset]:
                before.setdefault(after, []).append(offset)
                if after <= offset:
                    self.backs.setdefault(after, []).append(offset)
        self.before: Mapping[int, list[int]] = before

    def at(self, offset: int) -> int:
        return max((one for one in self.names if one <= offset), default=self.first)

    def called(self, call: int) -> frozenset[str]:
        """The names with which the expression that is evaluated at `call` begins."""
        spots: dict[tuple[int, int], set[str]] = {}
        around = next((one.positions for one in self._found if one.offset == call), None)
        if around is None or around.lineno is None or around.col_offset is None:
            return frozenset()
        start = around.lineno, around.col_offset
        end = around.end_lineno or 0, around.end_col_offset or 0
        for one in self._found:
            at = one.positions
            if (
                at is None
                or at.lineno is None
                or at.col_offset is None
                or not isinstance(one.argval, str)
                or not one.opname.startswith("LOAD_")
                or one.opname == "LOAD_CONST"
            ):
                continue
            spot = at.lineno, at.col_offset
            if start <= spot and (at.end_lineno or 0, at.end_col_offset or 0) <= end:
                spots.setdefault(spot, set()).add(one.argval)
        return frozenset(spots[min(spots)]) if spots else frozenset()

    def _reached(self, start: int) -> set[int]:
        found = {start}
        waiting = [start]
        while waiting:
            new = {*self.next[waiting.pop()]} - found
            found |= new
            waiting += new
        return found

    def loop(self, head: int, backs: list[int]) -> frozenset[int]:
        """What lies between `head` and the ways back to it."""
        found = {head, *backs}
        waiting = [back for back in backs if back != head]
        while waiting:
            new = {*self.before.get(waiting.pop(), ())} - found
            found |= new
            waiting += new
        return frozenset(found)

    def is_left(self, head: int, body: AbstractSet[int]) -> bool:
        """Whether a loop over items may be left before the last of them, but by an exception."""
        return any(
            after not in body and not self._raises(after)
            for one in body
            if one != head and not self._exhausted(one, head)
            for after in self.next[one]
        )

    def _exhausted(self, one: int, head: int) -> bool:
        """An asynchronous loop ends where its next item is awaited."""
        return self.names[head] == "GET_ANEXT" and self.names[one] == "SEND"

    def _raises(self, start: int) -> bool:
        ends = [one for one in self._reached(start) if not self.next[one]]
        return bool(ends) and all(self.names[one] in RAISES for one in ends)

    def passes(self, start: int, call: int, to: int | None = None) -> bool:
        """Whether every way from `start` to `to`, or out of the function, has `call` on it."""
        found = {call}
        waiting = [start]
        while waiting:
            one = waiting.pop()
            if one in found:
                continue
            returns = not self.next[one] and self.names[one] not in RAISES
            if one == to or (to is None and returns):
                return False
            found.add(one)
            waiting += self.next[one]
        return True
