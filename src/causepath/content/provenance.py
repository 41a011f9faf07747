"""Evidence without content: what calls were given and answered as digests, and whose output it was.

Everything here is worked out while the texts are at hand anyway, and none of them is kept.
"""

from __future__ import annotations

import threading
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from causepath import forks
from causepath.content import word_sources
from causepath.content.conversations import MAX_LISTED, Conversations, Logged, Told
from causepath.content.data_flow import DataFlow
from causepath.content.digests import Digests
from causepath.content.fingerprints import WHOLE, Pieces, lines_of, tells
from causepath.content.named_places import places_in
from causepath.content.outcomes import outcome_of
from causepath.content.plain_data import leaves_in, texts_in
from causepath.content.recent_keys import Recent
from causepath.content.word_sources import Said
from causepath.otel import semconv
from causepath.otel.span_access import write
from causepath.providers.messages import MEDIA, Block
from causepath.providers.prompt import are_blocks, key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from opentelemetry.trace import Span, SpanContext

    from causepath.providers.messages import ToolCall
    from causepath.providers.prompt import Prompt

MAX_LINKS = 32
"""Of content, on one span."""

MAX_TRACES = 16
"""Traces whose latest answers are kept, in each of two generations."""

MAX_ASKED = 32
"""Arguments of the tools that one answer asks for, which are looked for in later calls."""

MAX_SAID = 8
"""Answers of a trace in which single words are looked for: the latest."""

MAX_ANSWER = 8 * 1024
"""Characters of an answer whose words are looked for in results that the model got long ago."""

NOT_SEARCHED = frozenset({*MEDIA, "tool_use"})
"""Blocks in which no output of others is looked for."""

NOT_KEPT = frozenset({*MEDIA, "document", "tool"})
"""Blocks whose values nobody compares with what is said later."""

FEW_CHARACTERS = 200
"""Of a block that is no text: about, as nobody has looked into it."""

MAX_DIGESTED = 256 * 1024
"""Characters of a result of a tool that has a digest."""


class Evidence:
    """A record of what model calls and tools of this process were given and put out.

    Usable from any thread.
    """

    def __init__(self, key: bytes) -> None:
        self._digests = Digests(key)
        self._flow = DataFlow()
        self._said: Recent[int, list[Said]] = Recent(MAX_TRACES)
        self._lock = threading.RLock()
        forks.living.add(self)

    def after_fork(self) -> None:
        self._lock = threading.RLock()
        self._flow.after_fork()

    def digest(self, block: Block) -> tuple[str, int]:
        """Returns the digest of a block in hex, and the size of what it covers in UTF-8 bytes."""
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
            blocks = prompt.blocks(kept)
            _log(told, blocks, results)
            self._recognise(blocks, kept, told, context, results, conversations)
        sources = [found for n, found in told.carried.items() if n >= kept or not carries_on]
        if sources:
            linked = _link(span, chain.from_iterable(sources), {context.span_id})
            told.sources |= linked
        if not carries_on and not results:
            earlier = self._said_in(context.trace_id)
            if earlier:
                found = word_sources.handed_on(_texts_of_log(told.log[kept:]), earlier)
                told.sources |= _link(span, found.sources, {context.span_id} | told.sources)
                write(span, {semconv.FLOW: found.flow})
        return told

    def _recognise(
        self,
        blocks: Sequence[Block],
        first: int,
        told: Told,
        context: SpanContext,
        results: Mapping[str, SpanContext],
        conversations: Conversations,
    ) -> None:
        """Find out whose outputs are in `blocks`, which a call is given, the latest first. `first`
        is the number of the first of them."""
        characters = 0
        given: list[tuple[int, list[str], Pieces]] = []
        for number in range(len(blocks) - 1, -1, -1):
            block = blocks[number]
            if block.kind in NOT_SEARCHED:
                continue
            texts = _texts_of((block,))
            tool = results.get(block.id) if block.kind == "tool_result" else None
            if tool is not None:
                if not self._flow.knows(texts, tool):
                    self._flow.produced(Pieces.output(texts), tool, set())
                continue
            given.append((number, texts, Pieces.given(texts, characters)))
            characters += sum(map(len, texts))
        for _, _, pieces in given:
            conversations.read_in_part(pieces.sampled)
        # Most of a long prompt is older than where phrases are looked for, and nobody's.
        older = [pieces for _, _, pieces in given if not pieces.phrases_in]
        if older and self._flow.has_none(older):
            given = [one for one in given if one[2].phrases_in]
        for number, texts, pieces in given:
            found = self._flow.sources(pieces, texts, context.trace_id, told.sources)
            others = [one for one in found if one.span_id not in told.sources]
            if others:
                told.carried[first + number] = others

    def answered(
        self, span: Span, told: Told, blocks: Sequence[Block], conversations: Conversations
    ) -> dict[str, Any]:
        """Describes what a model call answered, as attributes of its span."""
        keys = [*map(key_of, blocks)]
        items = self._digests.items(keys, lambda start: blocks[start:])
        told.answer(items)
        texts = _texts_of(blocks)
        if texts:
            unread, count = conversations.unread, conversations.unread_count
            output = Pieces.output(texts, unread if len(unread) >= count else None)
            self._flow.produced(output, span.get_span_context(), told.sources, (unread, count))
        # What it asks tools for it does not say: the links of these tell.
        answers = [block for block in blocks if block.kind != "tool_use"]
        said = word_sources.kept(chain.from_iterable(map(_texts_of_block, answers)))
        is_short = not told.log or told.log[-1].size <= word_sources.MAX_TEXT
        heard = partial(_texts_heard, told, len(told.log)) if is_short else None
        forms = (_leaves(block.value) for block in blocks if block.kind == "tool_use")
        short = (leaf for leaf in chain.from_iterable(forms) if len(leaf) <= word_sources.MAX_SHORT)
        asked = tuple(islice(short, MAX_ASKED))
        self._say(Said(span.get_span_context(), heard, said, asked))
        if len(answers) == len(blocks) and span.is_recording():
            new = {one.tool.span_id for one in told.log[told.kept :] if one.tool is not None}
            told_of = word_sources.within_sentences("\n".join(said or ())[:MAX_ANSWER])
            _link(span, _said_first(told_of, told.log), new)
        _log(told, blocks)
        attributes: dict[str, Any] = {semconv.OUTPUT_BLOCKS: tuple(items[:MAX_LISTED])}
        if len(items) > MAX_LISTED:
            attributes[semconv.OUTPUT_OMITTED] = len(items) - MAX_LISTED
        return attributes

    def asked(self, told: Told, call: ToolCall) -> tuple[dict[str, Any], list[SpanContext]]:
        """Describes what a reply asks a tool for: attributes of the tool's span, and the tools
        whose results are in it, which the model has just been given or was given long ago."""
        block = Block("assistant", "tool_use", call.input, call.name)
        attributes = self._named(block, call.input)
        older = _said_first(call.input, told.log)
        if told.log and told.log[-1].size > word_sources.MAX_TEXT:
            attributes[semconv.FLOW] = word_sources.UNSURE
            return attributes, older
        new = {n for n in range(told.kept, len(told.log)) if told.log[n].tool is not None}
        before = _texts_of_log(one for n, one in enumerate(told.log) if n not in new)
        results = [
            (one.tool, tuple(_texts_of_block(one.block)))
            for one in (told.log[n] for n in sorted(new))
            if one.tool is not None
        ]
        found = word_sources.asked_for(call.input, before, results)
        attributes[semconv.FLOW] = found.flow
        known = {one.span_id for one in found.sources}
        return attributes, [*found.sources, *(one for one in older if one.span_id not in known)]

    def tool_given(
        self, span: Span, name: str, arguments: object, issuer: SpanContext | None
    ) -> Pieces:
        """Link a tool to those whose output its arguments carry, but for the call that asked."""
        context = span.get_span_context()
        texts = [*texts_in(arguments)]
        found = Pieces.given(texts)
        asked = {issuer.span_id} if issuer is not None else set()
        sources = self._flow.sources(found, texts, context.trace_id, asked, remember=False)
        linked = _link(span, sources, asked)
        if issuer is None:
            write(span, self._named(Block("tool", "arguments", arguments, name), arguments))
            earlier = self._said_in(context.trace_id)
            if earlier:
                carried = word_sources.handed_on(_leaves(arguments), earlier)
                _link(span, carried.sources, linked)
                write(span, {semconv.FLOW: carried.flow})
        return found

    def tool_returned(
        self, span: Span, given: Pieces, arguments: object, result: object
    ) -> Callable[[], None]:
        """Gives what lets the result of a tool be known again, once it is known to be one. The
        lines that it was given are not its output."""
        found = Pieces.output(texts_in(result))
        found.parts.difference_update(given.parts)
        for text in given.sampled:
            found.parts.difference_update(map(hash, lines_of(text)))
        said, heard = word_sources.kept(_leaves(result)), word_sources.kept(_leaves(arguments))
        returned = Said(
            span.get_span_context(), partial(iter, heard) if heard is not None else None, said
        )
        about: dict[str, Any] = {}
        outcome = outcome_of(result)
        if outcome is not None:
            about[semconv.TOOL_OUTCOME] = outcome
        if type(result) is str and len(result) <= MAX_DIGESTED:
            digest, size = self.digest(Block("tool", "result", result))
            about[semconv.OUTPUT_BLOCKS] = (f"tool:result:{digest}:{size}",)

        def produced() -> None:
            self._flow.produced(found, span.get_span_context(), frozenset())
            self._say(returned)
            write(span, about)

        return produced

    def _named(self, block: Block, arguments: object) -> dict[str, Any]:
        """The digests of the arguments of a tool, and of the places that they name."""
        found: dict[str, Any] = {}
        key = key_of(block)
        if key is not None:  # else it is no plain data
            found[semconv.INPUT_BLOCKS] = tuple(self._digests.items([key], lambda _: [block]))
        places = [place.split(":", 1) for place in places_in(arguments)]
        if places:
            found[semconv.TOOL_PLACES] = tuple(
                f"{how}:{self._digests.digest(Block('', '', named))[0]}" for how, named in places
            )
        return found

    def takes_up(
        self,
        trace_id: int,
        texts: Sequence[str],
        lines: Sequence[str],
        is_in_code: Callable[[str], bool],
        *,
        is_other_place: bool,
    ) -> bool:
        """Tells whether `texts` carry something that the calls of a trace have put out, or whether
        one of `lines` is something that they were given.

        A short answer is something only if the application's code does not say it; a single word
        tells only where another place of the code makes the call than made those.
        """
        given = Pieces.given(texts)
        found = self._flow.sources(given, texts, trace_id, remember=False)
        if any(one.trace_id == trace_id for one in found):
            return True
        earlier = self._said_in(trace_id)
        return (
            any(word_sources.parts_of_json(one.said or (), texts) for one in earlier)
            or word_sources.is_about_the_same(lines, texts, earlier)
            or any(
                not is_in_code(short)
                for short in word_sources.short_answers(
                    texts, earlier, are_words_enough=is_other_place
                )
            )
        )

    def forget_texts(self, trace_id: int) -> None:
        """The trace is over."""
        with self._lock:
            said = self._said.get(trace_id)
            if said is not None:
                said.clear()

    def _said_in(self, trace_id: int) -> list[Said]:
        with self._lock:
            return list(self._said.get(trace_id) or ())

    def _say(self, said: Said) -> None:
        trace_id = said.context.trace_id
        with self._lock:
            others = self._said.get(trace_id)
            if others is None:
                self._said[trace_id] = others = []
            others.append(said)
            del others[:-MAX_SAID]


def _light(block: Block) -> Block:
    """A block without the data of a medium or a document, which nobody has words of."""
    if block.kind in NOT_KEPT:
        return block._replace(value="")
    return block


FORGOTTEN = Logged(Block("", ""), None, word_sources.MAX_TEXT + 1)


def _log(
    told: Told, blocks: Iterable[Block], results: Mapping[str, SpanContext] | None = None
) -> None:
    if len(told.log) < told.kept:  # forgotten
        told.log[:] = [FORGOTTEN] * told.kept
    size = told.log[-1].size if told.log else 0
    for block in blocks:
        light = _light(block)
        size += len(light.value) if type(light.value) is str else FEW_CHARACTERS
        told.log.append(Logged(light, results.get(block.id) if results else None, size))


def _said_first(arguments: object, log: Sequence[Logged]) -> list[SpanContext]:
    """Finds the results in `log` that `arguments` have something of."""
    if FORGOTTEN in log or all(one.tool is None for one in log):
        return []
    words = word_sources.telling(arguments)
    if not words:
        return []
    tools = [one.tool for one in log]
    return word_sources.said_first(words, tools, lambda n: _texts_of_block(log[n].block))


def _texts_heard(told: Told, count: int) -> Iterator[str]:
    return _texts_of_log(told.log[:count])


def _texts_of_log(log: Iterable[Logged]) -> Iterator[str]:
    return chain.from_iterable(_texts_of_block(one.block) for one in log)


def _texts_of_block(block: Block) -> Iterator[str]:
    """All that it says, also what is too short to be recognised."""
    value = block.value
    if type(value) is str:
        yield value
    elif are_blocks(value):
        for inner in value:
            yield from _texts_of_block(inner)
    else:
        yield from _leaves(value)


def _leaves(value: object) -> Iterator[str]:
    return (str(leaf) for _, leaf in leaves_in(value))


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
