"""What a call was given that others had returned: told by span links and by digests of blocks.

A call that says which blocks it was given lists what is new since the call before, so that what a
whole conversation held is known from a few digests each:

    call 1   given a b            answered c
    call 2   kept 3, given d      answered e      was given a b c d: it carries on with call 1
    call 3   kept 1, given f                      was given a f: nothing that one of them answered

Equal digests are equal texts. A text that was handed on in parts has a link of its own, which the
emitter looked for where it wrote blocks. What was never handed on cannot have been needed, but for
what the code that made the calls decided: that is in no trace.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from causepath_analyzer.model import NO_SPAN, Block, Blocks, Trace

_TELLING: Final = 8
"""Blocks of fewer bytes are equal by chance."""
_OPENING: Final = 64
"""Blocks that are looked at to tell how a conversation began."""
_RESULTS: Final = ("tool_result", "content")
_NO_BLOCKS: Final = Blocks((), ())
_NOTHING: Final[frozenset[int]] = frozenset()


class _Part(Struct, frozen=True):
    """Blocks that follow those of ``before``; the first is number ``start`` of the conversation.

    They were given to ``call``, or are what it ``answered``. ``sources``: the call that gave the
    latest answer in the conversation up to here, and those that answered with a block since.
    """

    before: "_Part | None"
    start: int
    blocks: tuple[Block, ...]
    call: int
    answered: bool
    sources: frozenset[int]
    unlisted: int = 0

    @property
    def end(self) -> int:
        return self.start + len(self.blocks) + self.unlisted


def _listed(part: _Part | None) -> tuple[Block, ...] | None:
    """The blocks of a conversation, in order, if all of them are known."""
    if part is None:
        return None
    parts = []
    while part is not None:
        if part.unlisted:
            return None
        parts.append(part.blocks)
        part = part.before
    return tuple([block for blocks in reversed(parts) for block in blocks])


class DataFlow:
    """The flow of data between the spans of ``trace``, worked out when it is first asked for."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._ready = False
        self._by_id: dict[str, int] = {}
        self._authors: dict[int, list[int]] = {}
        self._given: dict[int, _Part | None] = {}
        self._digests: dict[int, tuple[int, ...] | None] = {}
        self._openings: dict[int, tuple[int, ...]] | None = None
        self._asked: dict[tuple[int, int], frozenset[int]] = {}
        self._alike: dict[tuple[object, ...], list[int]] | None = None

    def reached(self, span: int, since: int) -> frozenset[int]:
        """The spans from number `since` on of which something reached `span`, however far.

        What a span returned may hold what those below it did, and what it was given may be at hand
        for all of them.
        """
        key = (span, since)
        if key in self._asked:
            return self._asked[key]
        trace = self.trace
        around = trace.parents[span]
        found: set[int] = set()
        waiting = list(self.nearest(span))
        while around >= since:
            waiting += self.nearest(around)
            around = trace.parents[around]
        around = trace.parents[span]
        while waiting:
            source = waiting.pop()
            if source < since or source == span or source in found:
                continue
            found.add(source)
            waiting += self.nearest(source)
            waiting += trace.children[source]
            above = trace.parents[source]
            while above >= since and above not in (around, span) and above not in found:
                found.add(above)
                waiting += self.nearest(above)
                above = trace.parents[above]
        self._asked[key] = frozenset(found)
        return self._asked[key]

    def outputs_given(self, span: int) -> frozenset[int]:
        """The spans whose results or answers `span` was given, as links and digests say."""
        self._prepare()
        part = self._given.get(span)
        found = part.sources if part is not None else _NOTHING
        links = [link for link in self.trace.spans[span].links if link.why in _RESULTS]
        return found.union(
            self._by_id[link.span_id] for link in links if link.span_id in self._by_id
        )

    def sources(self, span: int) -> frozenset[int]:
        """The spans that `span` names in links, and those whose answers it was given."""
        self._prepare()
        part = self._given.get(span)
        found = part.sources if part is not None else _NOTHING
        links = self.trace.spans[span].links
        if links:
            linked = (self._by_id.get(link.span_id, NO_SPAN) for link in links)
            found = found.union(i for i in linked if i not in (NO_SPAN, span))
        return found

    def nearest(self, span: int) -> frozenset[int]:
        """The `sources` of `span`, of equal calls with equal results each the latest one.

        Whose of them it was is not to be seen, and any other would have done. So a round of a loop
        that looks up what earlier rounds have looked up as well needs its own result.
        """
        sources = self.sources(span)
        if not sources:
            return sources
        if self._alike is None:
            self._alike = {}
            for i in range(len(self.trace.spans)):
                made = self._made(i)
                if made is not None:
                    self._alike.setdefault(made, []).append(i)
        started_ns = self.trace.spans[span].start_ns
        found = set()
        for source in sources:
            made = self._made(source)
            alike = self._alike.get(made, ()) if made is not None else ()
            later = alike[bisect_left(alike, source) + 1 : bisect_left(alike, span)]
            ended = (i for i in reversed(later) if self.trace.spans[i].ended_ns <= started_ns)
            found.add(next(ended, source))
        return frozenset(found)

    def _made(self, span: int) -> tuple[object, ...] | None:
        """Gives what is equal for equal calls with equal results, as far as both are known."""
        one = self.trace.spans[span]
        tool, call = one.tool_call, one.model_call
        if tool is not None and tool.arguments is not None and tool.result is not None:
            return one.name, tool.name, tool.arguments.digest, tool.result.digest
        if call is not None and call.blocks is not None and call.blocks.answered:
            given = self.given(span)
            if given is not None:
                return call.model, given, tuple([block.digest for block in call.blocks.answered])
        return None

    def from_elsewhere(self, span: int) -> bool:
        """Tells whether `span` was given something that a span returned which is not in this
        trace."""
        self._prepare()
        return any(
            link.why in ("content", "tool_result") and link.span_id not in self._by_id
            for link in self.trace.spans[span].links
        )

    def given(self, span: int) -> tuple[int, ...] | None:
        """The digests of all that `span` was given; ``None`` if not all of it is known."""
        if span not in self._digests:
            blocks = self.prompt(span)
            self._digests[span] = None if blocks is None else tuple([one.digest for one in blocks])
        return self._digests[span]

    def prompt(self, span: int) -> tuple[Block, ...] | None:
        """All that `span` was given, in order; ``None`` if not all of it is known."""
        self._prepare()
        return _listed(self._given.get(span))

    def opening(self, span: int) -> int | None:
        """Equal for calls whose messages begin alike, up to the first answer of the model."""
        told = self.trace.spans[span].model_call
        if told is None or told.blocks is None:
            return told.opening if told is not None else None
        self._prepare()
        if self._openings is None:
            self._openings = {}
            for call in self._given:
                self._open(call, self._openings)
        hashes = self._openings.get(span)
        return hashes[-1] if hashes else None

    def _prepare(self) -> None:
        if self._ready:
            return
        self._ready = True
        spans = self.trace.spans
        if not any(
            span.links or (span.model_call is not None and span.model_call.blocks is not None)
            for span in spans
        ):
            return
        self._by_id = {span.span_id: i for i, span in enumerate(spans)}
        calls = []
        for i, span in enumerate(spans):
            if span.model_call is not None and span.model_call.blocks is not None:
                calls.append(i)
                for block in span.model_call.blocks.answered:
                    if block.size >= _TELLING:
                        self._authors.setdefault(block.digest, []).append(i)
        for call in calls:  # each after the call that it names as the one before
            self._given[call] = self._conversation(call)

    def _conversation(self, call: int) -> _Part | None:
        """All that `call` was given; ``None`` if the call before it is not here."""
        blocks = self._blocks(call)
        before = None
        if blocks.kept:
            earlier = self._by_id.get(blocks.previous, NO_SPAN)
            given = self._given.get(earlier) if earlier < call else None
            if given is None:
                return None
            answered = self._blocks(earlier).answered
            source = frozenset((earlier,))
            whole = _Part(given, given.end, answered, earlier, True, source)
            before = self._first(whole, blocks.kept)
            if before is None:
                return None
        sources = self._from(before, blocks.given, call)
        return _Part(before, blocks.kept, blocks.given, call, False, sources, blocks.unlisted)

    def _first(self, part: _Part | None, kept: int) -> _Part | None:
        """The first `kept` blocks of the conversation that ends with `part`."""
        if part is None or part.end < kept:
            return None  # more than there are
        while part is not None and part.start >= kept:
            part = part.before
        if part is None or part.end == kept:
            return part
        blocks = part.blocks[: kept - part.start]
        sources = part.sources if part.answered else self._from(part.before, blocks, part.call)
        unlisted = kept - part.start - len(blocks)
        return _Part(part.before, part.start, blocks, part.call, part.answered, sources, unlisted)

    def _from(self, before: _Part | None, blocks: Iterable[Block], call: int) -> frozenset[int]:
        """The sources of a conversation that goes on with `blocks`, which `call` was given."""
        sources = before.sources if before is not None else _NOTHING
        authors = {i for b in blocks for i in self._authors.get(b.digest, ()) if i < call}
        return sources | authors if authors else sources

    def _open(self, call: int, known: dict[int, tuple[int, ...]]) -> None:
        """Adds to `known` a hash for each block that `call` was given before the first answer."""
        blocks = self._blocks(call)
        hashes: list[int] = []
        if blocks.kept:
            before = known.get(self._by_id.get(blocks.previous, NO_SPAN))
            if before is None:
                return
            if blocks.kept > len(before) or len(before) >= _OPENING:
                known[call] = before
                return
            hashes = list(before[: blocks.kept])
        for block in blocks.given[:_OPENING]:
            if block.role == "assistant":
                break
            last = hashes[-1] if hashes else 0
            hashes.append(hash((last, block.role, block.kind, block.digest)))
        known[call] = tuple(hashes)

    def _blocks(self, call: int) -> Blocks:
        told = self.trace.spans[call].model_call
        return told.blocks if told is not None and told.blocks is not None else _NO_BLOCKS
