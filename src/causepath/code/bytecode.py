"""The bytecode of a function: what may follow each instruction, and what expression it is of."""

from __future__ import annotations

import dis
import functools
import sys
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet
    from types import CodeType

ENDS = frozenset({"RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE"})
RAISES = frozenset({"RAISE_VARARGS", "RERAISE"})
ALWAYS = frozenset({"JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_ABSOLUTE", "JUMP"})
WAITS = "JUMP_BACKWARD_NO_INTERRUPT"
"""How an `await` waits: no loop of the application."""

PREFIX = "EXTENDED_ARG"

SHARED = ("STORE_ATTR", "STORE_GLOBAL", "STORE_DEREF")
"""What a function keeps something in that outlives it."""

STORES = (*SHARED, "STORE_FAST", "STORE_NAME")

MAX_SPOTS = 300
"""Places in a function where something of an answer is read. Of more, each may matter."""

MUTATORS = frozenset(
    {"clear", "discard", "insert", "next", "pop", "popleft", "remove", "reverse", "send", "sort"}
)
"""What changes which items come next."""


Spot = tuple[tuple[int, int], tuple[int, int]]
"""Where an expression begins and ends: lines and columns."""

NOWHERE: Spot = ((0, 0), (0, 0))


def spot_of(one: dis.Instruction) -> Spot:
    if sys.version_info < (3, 11):
        return NOWHERE
    at = one.positions
    if at is None or at.lineno is None or at.col_offset is None:
        return NOWHERE
    return (at.lineno, at.col_offset), (at.end_lineno or 0, at.end_col_offset or 0)


def lies_in(inner: Spot, outer: Spot) -> bool:
    return inner is not NOWHERE and outer[0] <= inner[0] and inner[1] <= outer[1]


def names_of(one: dis.Instruction) -> list[tuple[str, str]]:
    """Lists what an instruction reads and keeps; some do two at once."""
    parts = [part for part in one.opname.split("_") if part in ("LOAD", "STORE")]
    names = one.argval if isinstance(one.argval, tuple) else (one.argval,)
    return [
        (how, name)
        for how, name in zip(parts, names, strict=False)
        if isinstance(name, str) and "CONST" not in one.opname
    ]


@functools.lru_cache(maxsize=16)
def graph_of(code: CodeType) -> Graph:
    """A function is looked at for each of its calls."""
    return Graph(code)


class Graph:
    """The instructions of a function, by offset, and which may follow which if nothing fails."""

    def __init__(self, code: CodeType) -> None:
        every = list(dis.get_instructions(code))
        found = [one for one in every if one.opname != PREFIX]
        # A jump to an instruction with a long argument goes to what stands before it.
        begins: dict[int, int] = {}
        latest = 0
        for one in reversed(every):
            begins[one.offset] = one.offset if one.opname != PREFIX else latest
            latest = begins[one.offset]
        self.names = {one.offset: one.opname for one in found}
        self.found = found
        self._spots = {one.offset: spot_of(one) for one in found}
        self.variables = {one.offset: names_of(one) for one in found}
        self.first = found[0].offset
        self.next: dict[int, tuple[int, ...]] = {}
        self.backs: dict[int, list[int]] = {}
        """By the head of a loop: the instructions that jump back to it."""
        follows = {one.offset: after.offset for one, after in pairwise(found)}
        jumps = {*dis.hasjrel, *dis.hasjabs}
        for one in found:
            after = follows.get(one.offset)
            target = begins.get(one.argval) if one.opcode in jumps else None
            if one.opname in ENDS:
                self.next[one.offset] = ()
            elif one.opname == WAITS or target is None or target not in self.names:
                self.next[one.offset] = (after,) if after is not None else ()
            elif one.opname in ALWAYS or after is None:
                self.next[one.offset] = (target,)
            else:
                self.next[one.offset] = (after, target)
        before: dict[int, list[int]] = {}
        for offset in self.reached(self.first):
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
        around = self.spot(call)
        for one in self.found:
            spot = self.spot(one.offset)
            if (
                isinstance(one.argval, str)
                and one.opname.startswith("LOAD_")
                and one.opname != "LOAD_CONST"
                and lies_in(spot, around)
            ):
                spots.setdefault(spot[0], set()).add(one.argval)
        return frozenset(spots[min(spots)]) if spots else frozenset()

    def hands_on(
        self, call: int, body: AbstractSet[int], start: int, kinds: tuple[str, ...]
    ) -> bool:
        """Tells whether a loop hands something of an answer on to its next round.

        It does if `body` keeps something of the answer to `call`, and that is read from `start` on
        before it is kept anew, or if an answer decides which items come next.
        """
        found = [one for one in self.found if one.offset in body]
        if not any(one.opname.startswith(kinds) for one in found):
            return False
        kept, decides = self._kept(found, self.spot(call), kinds)
        reads_on = any(one.argval in MUTATORS for one in found if one.opname.startswith("LOAD_"))
        if decides and reads_on and kinds is STORES:
            return True
        own = {  # `total += ...` reads it for itself
            self.spot(one.offset)[0]
            for one in found
            if one.opname.startswith(("BINARY_OP", "INPLACE")) and one.argrepr.endswith("=")
        }
        reads: dict[str, set[int]] = {}
        stores: dict[str, set[int]] = {}
        for one in found:
            for how, name in self.variables[one.offset]:
                if how == "LOAD" and self.spot(one.offset)[0] not in own:
                    reads.setdefault(name, set()).add(one.offset)
                elif how == "STORE":
                    stores.setdefault(name, set()).add(one.offset)
        return any(
            self._meets(start, reads.get(name, set()), stores.get(name, set()), body)
            for name in kept
        )

    def _kept(
        self, found: list[dis.Instruction], call: Spot, kinds: tuple[str, ...]
    ) -> tuple[set[str], bool]:
        """Lists the names that something of an answer is kept under, and tells whether a branch
        depends on it."""
        kept: set[str] = set()
        decides = False
        for _ in range(4):  # of one name into the next
            before = len(kept), decides
            told = {call}
            told.update(
                self.spot(one.offset)
                for one in found
                for how, name in self.variables[one.offset]
                if how == "LOAD" and name in kept
            )
            if len(told) > MAX_SPOTS:
                return {name for one in found for _, name in self.variables[one.offset]}, True
            for at, one in enumerate(found):
                spot = self._value_before(found, at)
                if one.opname.startswith(("POP_JUMP", "JUMP_IF")):
                    decides = decides or any(lies_in(each, spot) for each in told)
                    continue
                stored = [name for how, name in self.variables[one.offset] if how == "STORE"]
                if stored and (decides or any(lies_in(each, spot) for each in told)):
                    kept.update(stored)
            if (len(kept), decides) == before:
                break
        lasting = {
            name
            for one in found
            if one.opname.startswith(kinds)
            for how, name in self.variables[one.offset]
            if how == "STORE"
        }
        return kept & lasting, decides

    def _value_before(self, found: list[dis.Instruction], at: int) -> Spot:
        """Finds the place of the value that the instruction number `at` keeps, or branches on."""
        target = self.spot(found[at].offset)
        before = at - 1
        if found[at].opname.startswith("STORE_ATTR"):  # it is kept in what is read in between
            while before > 0 and lies_in(self.spot(found[before].offset), target):
                before -= 1
        return self.spot(found[before].offset) if before >= 0 else NOWHERE

    def _meets(
        self, start: int, reads: AbstractSet[int], stores: AbstractSet[int], body: AbstractSet[int]
    ) -> bool:
        """Tells whether one of `reads` is reached from `start` without passing one of `stores`."""
        seen: set[int] = set()
        waiting = [start]
        while waiting:
            one = waiting.pop()
            if one in seen or one not in body:
                continue
            if one in reads:
                return True
            seen.add(one)
            if one not in stores:
                waiting += self.next[one]
        return False

    def spot(self, offset: int) -> Spot:
        return self._spots.get(offset, NOWHERE)

    def reached(self, start: int) -> set[int]:
        found = {start}
        waiting = [start]
        while waiting:
            new = {*self.next[waiting.pop()]} - found
            found |= new
            waiting += new
        return found

    def loop(self, head: int, backs: list[int]) -> frozenset[int]:
        """Collects what lies between `head` and the ways back to it."""
        found = {head, *backs}
        waiting = [back for back in backs if back != head]
        while waiting:
            new = {*self.before.get(waiting.pop(), ())} - found
            found |= new
            waiting += new
        return frozenset(found)

    def is_left(self, head: int, body: AbstractSet[int]) -> bool:
        """Tells whether a loop over items may be left before the last of them, other than by an
        exception."""
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
        ends = [one for one in self.reached(start) if not self.next[one]]
        return bool(ends) and all(self.names[one] in RAISES for one in ends)

    def passes(self, start: int, call: int, to: int | None = None) -> bool:
        """Tells whether every way from `start` to `to`, or out of the function, has `call` on
        it."""
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
