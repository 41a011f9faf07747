"""Which earlier outputs a text carries: replies of models and results of tools, across runs.

A text is recognised as a whole, by a line or a sentence of 32 bytes, or by six words in a row, as
prompts put outputs between other words. Bytes are of UTF-8, as in the sizes that spans tell: of
English as many as characters, and of Chinese, where a character tells more, three for each.

What a call was given and then repeats is not its output, nor is what others had been given before
anybody answered with it. No text is kept, only the hashes that Python itself keeps with strings,
whose key is another one in every process.
"""

from __future__ import annotations

import threading
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from causepath.recent import Recent, RecentKeys

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from opentelemetry.trace import SpanContext

LINE = 32
"""Bytes of a line or a sentence that can be recognised."""

WHOLE = 8
"""Bytes of a text that can be recognised where it stands alone."""

MAX_LINES = 25_000
"""Lines of outputs, and as many of inputs, remembered in each of two generations: 100 bytes each,
and 300 for each output that they are of."""

MAX_WHOLES = 10_000
"""Whole outputs, likewise, 400 bytes each."""

MAX_PRODUCERS = 4
"""Of one line. What more have put out is how they all put it."""

PHRASE = 6
"""Words of a phrase."""

PHRASE_BYTES = 24
"""Of a phrase that can be recognised."""

UNSPACED = 8
"""Characters of a phrase where words are not set apart: as many bytes of Chinese."""

EDGE = 256
"""Characters of either end of a long sentence whose phrases are remembered."""

MAX_PHRASES_IN = 8 * 1024
"""Characters of what one call is given that are searched for phrases, the latest texts first."""

MAX_SENTENCES_IN = 32 * 1024
"""And that are cut into sentences."""

MAX_LINES_IN = 256 * 1024
"""And into lines. Of the rest only whole texts are known again."""

ENDS = ("\\n", '"', "<", ">", ". ", ": ", "? ", "! ", "; ")
"""What a sentence ends with: also what JSON, tags and quotes set apart."""

WIDE_ENDS = "。：？！；「」『』“”"
"""And where it is not all ASCII."""

UNSPACED_SCRIPTS = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"  # Chinese, Japanese
)

AROUND = " \t\r\n\\.:;!?\"'`*#>-_()[]{},\u3000，、…（）【】《》" + WIDE_ENDS


class Pieces(NamedTuple):
    """What a text, or several, can be recognised by, as hashes."""

    wholes: set[int]
    """Of whole texts."""
    parts: set[int]
    """Of their lines and sentences."""
    phrases: set[int]
    """Of all their sequences of so many words, as words may stand right before an output."""
    edges: dict[int, set[int]]
    """By the hash of their first and last sentences: some phrases of it."""

    @staticmethod
    def given(texts: Iterable[str], before: int = 0) -> Pieces:
        """Of what somebody is given, in which outputs are looked for.

        `before` characters of it have been cut into pieces before these.
        """
        found = Pieces(set(), set(), set(), {})
        for text in texts:
            before += len(text)
            found._add(text, before)
            if tells(text) and before <= MAX_PHRASES_IN:
                found.phrases.update(map(hash, _phrases(text)))
        return found

    @staticmethod
    def output(texts: Iterable[str]) -> Pieces:
        """Of an output, to be found again."""
        found = Pieces(set(), set(), set(), {})
        for text in texts:
            sentences = found._add(text, len(text))
            for sentence in {*sentences[:1], *sentences[-1:]}:
                ends = sentence
                if len(sentence) > 2 * EDGE:
                    ends = f"{sentence[:EDGE]} {sentence[-EDGE:]}"
                told = [one for one in _phrases(ends) if tells(" ".join(one), PHRASE_BYTES)]
                found.edges[hash(sentence)] = {hash(one) for one in told[::PHRASE] + told[-1:]}
        return found

    def _add(self, text: str, so_far: int) -> list[str]:
        """Gives the sentences, or lines where it is too long for that; all of it where they are
        short."""
        rest = text.strip(AROUND)
        if not tells(rest, WHOLE):
            return []
        self.wholes.add(hash(rest))
        if not tells(rest) or so_far > MAX_LINES_IN:
            return []
        lines = sentences = _lines(rest)
        self.parts.update(map(hash, lines))
        if so_far <= MAX_SENTENCES_IN:
            cut = rest
            for end in ENDS if rest.isascii() else (*ENDS, *WIDE_ENDS):
                cut = cut.replace(end, "\n")
            if cut != rest:
                sentences = _lines(cut)
                self.parts.update(map(hash, sentences))
        if not sentences:  # a list of short lines, or data
            self.parts.add(hash(rest))
            return [rest]
        return sentences


def tells(text: str, least: int = LINE) -> bool:
    """Whether it has so many bytes."""
    characters = len(text)
    return characters >= least or (
        characters * 4 >= least
        and not text.isascii()
        and len(text.encode("utf-8", "surrogatepass")) >= least
    )


def _lines(text: str) -> list[str]:
    """Those that can be recognised, without what is around them."""
    if text.isascii():
        return [
            line
            for part in text.split("\n")
            if len(part) >= LINE and len(line := part.strip(AROUND)) >= LINE
        ]
    return [line for part in text.split("\n") if tells(line := part.strip(AROUND))]


def _phrases(text: str) -> Iterator[tuple[str, ...]]:
    rest = text
    for character in AROUND:
        rest = rest.replace(character, " ")
    words = rest.split()
    found = zip(*(words[n:] for n in range(PHRASE)), strict=False)
    return found if text.isascii() else chain(found, _unspaced(text))


def _unspaced(text: str) -> Iterator[tuple[str, ...]]:
    """Phrases of Chinese, Japanese and the like, whatever punctuation is in them."""
    import re  # which remembers the pattern

    for part in re.findall(f"[{UNSPACED_SCRIPTS}]{{{UNSPACED},}}", text):
        characters = "".join(filter(str.isalnum, part))
        for n in range(len(characters) - UNSPACED + 1):
            yield (characters[n : n + UNSPACED],)


def is_data_class(kind: type) -> bool:
    """Whether what it has in its fields is data: of dataclasses and of Pydantic's models."""
    return any(mark in vars(base) for mark in DATA_CLASSES for base in kind.__mro__[:-1])


DATA_CLASSES = ("__dataclass_fields__", "__pydantic_fields__")

MAX_TEXTS = 1_000
"""Of one value."""


def texts_in(value: object) -> Iterator[str]:
    """The texts in plain data, and in the fields of data classes and models."""
    waiting, left = [value], MAX_TEXTS
    while waiting and left:
        left -= 1
        inner: Any = waiting.pop()
        # Asking the type, as an object may answer for its class and attributes in any way it likes.
        kind = type(inner)
        if issubclass(kind, str):
            yield str.__str__(inner)
        elif issubclass(kind, dict):
            waiting.extend(reversed(list(dict.values(inner))[:MAX_TEXTS]))
        elif issubclass(kind, list | tuple | set | frozenset):
            waiting.extend(reversed(list(inner)[:MAX_TEXTS]))
        elif is_data_class(kind):
            waiting.extend(reversed(list(getattr(inner, "__dict__", {}).values())))


class DataFlow:
    """The outputs of late, and where they came from. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wholes: Recent[int, tuple[SpanContext, ...]] = Recent(MAX_WHOLES)
        self._parts: Recent[int, tuple[SpanContext, ...]] = Recent(MAX_LINES)
        self._inputs: RecentKeys[int] = RecentKeys(MAX_LINES)

    def __len__(self) -> int:
        return len(self._wholes) + len(self._parts) + len(self._inputs)

    def after_fork(self) -> None:
        """In a child process, a thread of the parent may hold the lock for ever."""
        self._lock = threading.Lock()

    def sources(
        self,
        given: Pieces,
        trace_id: int,
        known: AbstractSet[int] = frozenset(),
        *,
        remember: bool = True,
    ) -> list[SpanContext]:
        """Whose outputs are among what somebody in the trace `trace_id` is given.

        Where several have answered with the same words, whoever can be told by other words is
        meant, and nobody if one of them is among the spans `known`, which have given it anyhow;
        else it may be any of them, of the same trace if there are some.
        """
        with self._lock:
            carried = self._parts.among(given.parts)
            if remember:
                self._inputs.add(given.parts - carried if carried else given.parts)
            if given.phrases:
                carried |= self._parts.among(given.phrases)
            candidates = [found for key in carried if (found := self._parts.get(key))]
            alone = self._wholes.among(given.wholes)
            candidates += [found for key in alone if (found := self._wholes.get(key))]
        certain = {found[0].span_id: found[0] for found in candidates if len(found) == 1}
        for found in candidates:
            ids = {one.span_id for one in found}
            if len(found) > 1 and known.isdisjoint(ids) and ids.isdisjoint(certain):
                near = [one for one in found if one.trace_id == trace_id] or found
                certain.update({one.span_id: one for one in near})
        return list(certain.values())

    def produced(self, output: Pieces, producer: SpanContext, sources: AbstractSet[int]) -> None:
        """Somebody put out `output`, who was given what the spans `sources` had put out."""
        alone = (producer,)
        with self._lock:
            for key in output.wholes:
                others = self._wholes.get(key)
                self._wholes[key] = (
                    _with(others[-MAX_PRODUCERS + 1 :], producer) if others else alone
                )
            before = self._parts.among(output.parts)
            own = output.parts - before - self._inputs.among(output.parts)
            self._parts.add(own, alone)
            for key in before:
                known = self._parts.get(key) or ()
                if sources.isdisjoint(one.span_id for one in known):
                    own.add(key)
                    self._parts[key] = _unless_common(known, producer)
            for sentence, phrases in output.edges.items():
                if sentence in own:
                    for key in phrases:
                        found = self._parts.get(key)
                        self._parts[key] = (
                            alone if found is None else _unless_common(found, producer)
                        )


def _unless_common(
    known: tuple[SpanContext, ...], producer: SpanContext
) -> tuple[SpanContext, ...]:
    """Nobody, where so many say it that it tells nothing."""
    return _with(known, producer) if 0 < len(known) < MAX_PRODUCERS else ()


def _with(known: tuple[SpanContext, ...], producer: SpanContext) -> tuple[SpanContext, ...]:
    if any(one.span_id == producer.span_id for one in known):
        return known
    return (*known, producer)
