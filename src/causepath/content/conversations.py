"""What a model call is given beyond what an earlier call of its run was given and had answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.trace import SpanContext

    from causepath.providers.messages import Block

MAX_LISTED = 128
"""New blocks that a span lists; of more, it says how many."""

MAX_COMPARED = 4_096
"""Blocks of a call that later ones are compared with."""

MAX_SOURCES = 1_000
"""Spans that a conversation remembers to have been given something of."""

MAX_UNREAD = 1024 * 1024
"""Characters of the texts of a run, not all lines of which are known, that are kept."""

MAX_CONVERSATIONS = 8
"""Calls of a run that a later one may carry on with, as several conversations may take turns."""


class Logged(NamedTuple):
    """A block that a call was given or answered."""

    block: Block
    tool: SpanContext | None
    """The tool whose result it is."""
    size: int
    """Characters of it and of all before it, about."""


class Told:
    """The blocks of a call: what it was given, then what it answered.

    Each as its text in the span, of which a conversation has but one however often it is sent.
    """

    __slots__ = ("blocks", "carried", "given", "kept", "log", "sources", "span_id")

    def __init__(self, span_id: int, blocks: list[str]) -> None:
        self.span_id = span_id
        self.blocks = blocks
        self.given = len(blocks)
        """How many of `blocks` are what it was given."""
        self.carried: dict[int, list[SpanContext]] = {}
        """By the number of a block: the spans whose outputs were recognised in it."""
        self.sources: set[int] = set()
        """The ids of all spans whose outputs are known to be in what it was given."""
        self.kept = 0
        """How many of `blocks` it has from an earlier call."""
        self.log: list[Logged] = []
        """The blocks themselves, while the run goes on."""

    def answer(self, items: list[str]) -> None:
        if len(self.blocks) < MAX_COMPARED:
            self.blocks += items


class Conversations:
    """The latest calls of a run, the latest last."""

    def __init__(self) -> None:
        self.calls: list[Told] = []
        self._unread_size = self.unread_count = 0
        """The latter counts those that are forgotten, too: then nobody can say what was given."""
        self.unread: list[str] = []
        """Texts that they were given, not all lines of which are known, while the run goes on."""

    def forget_texts(self) -> None:
        """The run is over. Should it go on all the same, nobody knows what it had been given."""
        for told in self.calls:
            told.log.clear()
        self._forget_unread()

    def _forget_unread(self) -> None:
        self.unread.clear()  # whoever has it knows by that that it is forgotten
        self.unread = []
        self._unread_size = 0

    def read_in_part(self, texts: Iterable[str]) -> None:
        """Remember texts as `unread`, in the place of others where they are too many."""
        for text in texts:
            if self._unread_size + len(text) > MAX_UNREAD:
                self._forget_unread()
            self._unread_size += len(text)
            self.unread_count += 1
            self.unread.append(text)

    def given(self, span_id: int, items: list[str]) -> tuple[Told, int, Told | None, bool]:
        """Compare a new call with the earlier ones, and remember it.

        Gives its own blocks; how many of them are those of an earlier call; which one; and whether
        an answer of that one is among them, whose own causes go without saying.
        """
        blocks = items[:MAX_COMPARED]
        told = Told(span_id, blocks)
        kept, previous = 0, None
        for call in reversed(self.calls):
            if previous is not None and call.blocks[kept : kept + 1] != blocks[kept : kept + 1]:
                continue  # no more than are kept already
            same = _common(call.blocks, blocks)
            if previous is None or same > kept:
                kept, previous = same, call
            if kept in (len(call.blocks), len(blocks)):
                break  # it carries on where that one ended, or asks for the same once more
        carries_on = False
        if previous is not None and kept:
            told.kept, told.log = kept, previous.log[:kept]
            if previous.carried:
                told.carried = {n: found for n, found in previous.carried.items() if n < kept}
                told.sources = {one.span_id for found in told.carried.values() for one in found}
            carries_on = kept > previous.given
            if carries_on:
                told.sources.add(previous.span_id)
                if len(previous.sources) < MAX_SOURCES:
                    told.sources |= previous.sources
                if kept == len(previous.blocks):
                    self.calls.remove(previous)
        self.calls.append(told)
        if len(self.calls) > MAX_CONVERSATIONS:
            del self.calls[0]
        return told, kept, previous, carries_on


def _common(one: list[str], other: list[str]) -> int:
    """Counts the leading blocks that are the same."""
    most = min(len(one), len(other))
    if one[:most] == other[:most]:
        return most
    fewest = 0
    while fewest + 1 < most:  # the same up to `fewest`, not up to `most`
        middle = (fewest + most) // 2
        if one[fewest:middle] == other[fewest:middle]:
            fewest = middle
        else:
            most = middle
    return fewest
