"""Evidence without content: what calls were given and answered as digests, and whose output it was.

Everything here is worked out while the texts are at hand anyway, and none of them is kept.
"""

from __future__ import annotations

import threading
from itertools import chain
from typing import TYPE_CHECKING, Any

from causepath import forks, semconv
from causepath.blocks import MAX_LISTED, Conversations, Told
from causepath.data_flow import DataFlow
from causepath.digests import Digests
from causepath.pieces import WHOLE, Pieces, tells
from causepath.plain_data import texts_in
from causepath.prompt import are_blocks, key_of
from causepath.spans import write

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from opentelemetry.trace import Span, SpanContext

    from causepath.messages import Block
    from causepath.prompt import Prompt

MAX_LINKS = 32
"""Of content, on one span."""


class Evidence:
    """What model calls and tools of this process were given and put out. Usable from any thread."""

    def __init__(self, key: bytes) -> None:
        self._digests = Digests(key)
        self._flow = DataFlow()
        self._lock = threading.RLock()
        forks.living.add(self)

    def after_fork(self) -> None:
        self._lock = threading.RLock()
        self._flow.after_fork()

    def digest(self, block: Block) -> tuple[str, int]:
        """In hex, and the size of what it covers in UTF-8 bytes."""
        return self._digests.digest(block)

    def given(
        self,
        span: Span,
        conversations: Conversations,
        prompt: Prompt,
        results: Mapping[str, SpanContext],
    ) -> Told:
        """Write down what a model call is given. `results`: the tools whose results it brings."""
        context = span.get_span_context()
        items = self._digests.items(prompt.keys, prompt.blocks)
        with self._lock:  # calls of one run may begin at once
            told, kept, previous, carries_on = conversations.given(context.span_id, items)
        new = items[kept:]
        attributes: dict[str, Any] = {
            semconv.INPUT_BLOCKS: tuple(new[:MAX_LISTED]),
            semconv.INPUT_KEPT: kept,
        }
        if previous is not None:
            attributes[semconv.INPUT_PREVIOUS] = f"{previous.span_id:016x}"
        if len(new) > MAX_LISTED:
            attributes[semconv.INPUT_OMITTED] = len(new) - MAX_LISTED
        write(span, attributes)

        if results:
            told.sources.update([tool.span_id for tool in results.values()])
        if new:
            self._recognise(prompt.blocks(kept), kept, told, context, results)
        sources = [found for n, found in told.carried.items() if n >= kept or not carries_on]
        if sources:
            linked = _link(span, chain.from_iterable(sources), {context.span_id})
            told.sources |= linked
        return told

    def _recognise(
        self,
        blocks: Sequence[Block],
        first: int,
        told: Told,
        context: SpanContext,
        results: Mapping[str, SpanContext],
    ) -> None:
        """Find out whose outputs are in `blocks`, which a call is given, the latest first. `first`
        is the number of the first of them."""
        characters = 0
        for number in range(len(blocks) - 1, -1, -1):
            block = blocks[number]
            if block.kind in ("tool_use", "image"):
                continue
            texts = _texts_of((block,))
            tool = results.get(block.id) if block.kind == "tool_result" else None
            if tool is not None:
                self._flow.produced(Pieces.output(texts), tool, set())
                continue
            given = Pieces.given(texts, characters)
            characters += sum(map(len, texts))
            found = self._flow.sources(given, context.trace_id, told.sources)
            others = [one for one in found if one.span_id not in told.sources]
            if others:
                told.carried[first + number] = others

    def answered(self, span: Span, told: Told, blocks: Sequence[Block]) -> dict[str, Any]:
        """What a model call answered, as attributes of its span."""
        keys = [*map(key_of, blocks)]
        items = self._digests.items(keys, lambda start: blocks[start:])
        told.answer(items)
        texts = _texts_of(blocks)
        if texts:
            self._flow.produced(Pieces.output(texts), span.get_span_context(), told.sources)
        attributes: dict[str, Any] = {semconv.OUTPUT_BLOCKS: tuple(items[:MAX_LISTED])}
        if len(items) > MAX_LISTED:
            attributes[semconv.OUTPUT_OMITTED] = len(items) - MAX_LISTED
        return attributes

    def tool_given(self, span: Span, arguments: object, issuer: SpanContext | None) -> Pieces:
        """Link a tool to those whose output its arguments carry, but for the call that asked."""
        found = Pieces.given(texts_in(arguments))
        asked = {issuer.span_id} if issuer is not None else set()
        trace_id = span.get_span_context().trace_id
        _link(span, self._flow.sources(found, trace_id, asked, remember=False), asked)
        return found

    def tool_returned(self, span: Span, given: Pieces, result: object) -> None:
        """Know the result of a tool again. The lines that it was given are not its output."""
        found = Pieces.output(texts_in(result))
        found.parts.difference_update(given.parts)
        self._flow.produced(found, span.get_span_context(), frozenset())


def _texts_of(blocks: Iterable[Block]) -> list[str]:
    """The texts in blocks that can be recognised; the data of images and documents is one, too."""
    found: list[str] = []
    for block in blocks:
        value = block.value
        if type(value) is str:
            if tells(value, WHOLE):
                found.append(value)
        elif are_blocks(value):
            found += _texts_of(value)
        else:
            found += texts_in(value)
    return found


def _link(span: Span, sources: Iterable[SpanContext], but: set[int]) -> set[int]:
    """Gives the ids of the spans that are linked, each once."""
    linked: set[int] = set()
    for source in sources:
        if source.span_id not in but | linked and len(linked) < MAX_LINKS:
            span.add_link(source, {semconv.LINK: "content"})
            linked.add(source.span_id)
    return linked
