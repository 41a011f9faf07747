"""What a text can be recognised by: as a whole, by a line or a sentence, or by six words in a row.

Prompts put outputs between other words. Bytes are of UTF-8, as in the sizes that spans tell: of
English as many as characters, and of Chinese, where a character tells more, three for each. No text
is kept, only the hashes that Python itself keeps with strings, whose key is another one in every
process.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LINE = 32
"""Bytes of a line or a sentence that can be recognised."""

WHOLE = 8
"""Bytes of a text that can be recognised where it stands alone."""

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
