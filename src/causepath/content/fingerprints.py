"""What a text can be recognised by: as a whole, by a line or a sentence, or by six words in a row.

Prompts put outputs between other words. Bytes are of UTF-8, as in the sizes that spans tell: of
English as many as characters, and of Chinese, where a character tells more, three for each. No text
is kept, only the hashes that Python itself keeps with strings, whose key is another one in every
process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

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

MAX_SENTENCES_IN = 16 * 1024
"""And that are cut into lines and sentences."""

MAX_SAMPLED_IN = 256 * 1024
"""And that are sampled. Of the rest only whole texts are known again."""

SAMPLED = 1024
"""Characters of which one line is looked at: what somebody has put out is found if it is longer."""

MAX_SENTENCES_OUT = 32 * 1024
"""Characters of an output that is cut into sentences."""

MAX_SEARCHED = 128 * 1024
"""Characters of texts, not all lines of which are known, that are searched for a sentence."""

MAX_LINES_OUT = 256 * 1024
"""Characters of an output whose lines are remembered."""

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
    """Hashes that one or several texts can be recognised by."""

    wholes: set[int]
    """Of whole texts."""
    parts: set[int]
    """Of their lines and sentences."""
    phrases_in: list[str]
    """Texts in which phrases may stand right after other words: until `phrases` has seen them."""
    edges: dict[int, dict[int, int]]
    """By the hash of their first and last sentences: phrases of it, each with its first word."""
    sampled: list[str]
    """Texts that are too long for all of their lines to be here."""

    @staticmethod
    def given(texts: Iterable[str], before: int = 0) -> Pieces:
        """Cuts up what a call is given, to look for outputs in it.

        `before` characters of it have been cut into pieces before these.
        """
        found = Pieces(set(), set(), [], {}, [])
        for text in texts:
            before += len(text)
            if before <= MAX_SENTENCES_IN:
                found._add(text, cut=True)
            else:
                found._sample(text, before)
            if tells(text) and before <= MAX_PHRASES_IN:
                found.phrases_in.append(text)
        return found

    @staticmethod
    def output(texts: Iterable[str], unread: Sequence[str] | None = ()) -> Pieces:
        """Cuts up an output, to find it again."""
        found = Pieces(set(), set(), [], {}, [])
        is_short = unread is not None and sum(map(len, unread)) <= MAX_SEARCHED
        for text in texts:
            if len(text) > MAX_LINES_OUT:
                found._whole(text)
                continue
            sentences = found._add(text, cut=len(text) <= MAX_SENTENCES_OUT)
            for sentence in {*sentences[:1], *sentences[-1:]}:
                if not is_short or any(sentence in one for one in unread or ()):
                    continue
                ends = sentence
                if len(sentence) > 2 * EDGE:
                    ends = f"{sentence[:EDGE]} {sentence[-EDGE:]}"
                found.edges[hash(sentence)] = _some_phrases(ends)
        return found

    def phrases(self, starts: Callable[[set[int]], set[int]] | None) -> set[int]:
        """Those whose first words are known: `starts` tells which of some are, if any are."""
        found: set[int] = set()
        for text in self.phrases_in if starts is not None else ():
            words = _words(text)
            hashes = [*map(hash, words)]
            known = starts(set(hashes)) if starts is not None else set()
            if known:
                found.update(
                    hash(tuple(words[at : at + PHRASE]))
                    for at, start in enumerate(hashes[: 1 - PHRASE])
                    if start in known
                )
            if not text.isascii():
                found.update(map(hash, _unspaced(text)))
        self.phrases_in.clear()
        return found

    def _add(self, text: str, *, cut: bool) -> list[str]:
        """Gives the sentences, or lines where it is not to be cut; all of it where they are
        short."""
        rest = self._whole(text)
        if not tells(rest):
            return []
        lines = sentences = _lines(rest)
        if cut:
            in_lines = rest
            for end in ENDS if rest.isascii() else (*ENDS, *WIDE_ENDS):
                in_lines = in_lines.replace(end, "\n")
            if in_lines != rest:
                sentences = _lines(in_lines)
        if not sentences:  # a list of short lines, or data
            sentences = [rest]
        self.parts.update(map(hash, lines))
        if sentences is not lines:
            self.parts.update(map(hash, sentences))
        return sentences

    def _whole(self, text: str) -> str:
        """Gives it without what is around it."""
        rest = text.strip(AROUND)
        if tells(rest, WHOLE):
            self.wholes.add(hash(rest))
        return rest

    def _sample(self, text: str, so_far: int) -> None:
        """One line of each so many characters."""
        rest = self._whole(text)
        if not tells(rest):
            return
        if so_far > MAX_SAMPLED_IN:
            self.sampled.append(text)
            return
        if len(rest) <= SAMPLED:
            self.parts.update(map(hash, _lines(rest) or [rest]))
            return
        self.sampled.append(text)
        at, length = 0, len(rest)
        while at < length:
            end = rest.find("\n", at)
            if end < 0:
                end = length
            line = rest[at:end].strip(AROUND)
            if tells(line):
                self.parts.add(hash(line))
                end = max(rest.find("\n", at + SAMPLED), end)
            at = end + 1


def lines_of(text: str) -> list[str]:
    """All lines and sentences that it can be recognised by."""
    rest = text.strip(AROUND)
    cut = rest
    for end in ENDS if rest.isascii() else (*ENDS, *WIDE_ENDS):
        cut = cut.replace(end, "\n")
    return [rest, *_lines(rest), *_lines(cut)]


def whole_key(text: str) -> int:
    """Hashes a text as `wholes` has it."""
    return hash(text.strip(AROUND))


def tells(text: str, least: int = LINE) -> bool:
    """Tells whether it has so many bytes."""
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


def _words(text: str) -> list[str]:
    if text.isascii():
        return text.translate(APART).split()
    for character in AROUND:
        text = text.replace(character, " ")
    return text.split()


APART = str.maketrans(dict.fromkeys((one for one in AROUND if one.isascii()), " "))


def _some_phrases(text: str) -> dict[int, int]:
    """Phrases that do not overlap, and the last one, each with the hash of its first word."""
    words = _words(text)
    found: dict[int, int] = {}
    at, last = 0, len(words) - PHRASE
    while at <= last:
        phrase = tuple(words[at : at + PHRASE])
        if tells(" ".join(phrase), PHRASE_BYTES):
            found[hash(phrase)] = hash(phrase[0])
            at += PHRASE if at + PHRASE <= last or at == last else last - at
        else:
            at += 1
    if not text.isascii():
        told = [one for one in _unspaced(text) if tells(one[0], PHRASE_BYTES)]
        found.update(dict.fromkeys(map(hash, told[::PHRASE] + told[-1:]), 0))
    return found


def _unspaced(text: str) -> Iterator[tuple[str, ...]]:
    """Phrases of Chinese, Japanese and the like, whatever punctuation is in them."""
    import re  # which remembers the pattern

    for part in re.findall(f"[{UNSPACED_SCRIPTS}]{{{UNSPACED},}}", text):
        characters = "".join(filter(str.isalnum, part))
        for n in range(len(characters) - UNSPACED + 1):
            yield (characters[n : n + UNSPACED],)
