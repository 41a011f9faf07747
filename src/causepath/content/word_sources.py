"""Who had said the words that somebody hands on, where they are too few to be a line or a phrase.

A word needs somebody's answer if it is in nothing that had been given or said before: it is theirs
who said it first. Of a long text plain words are everybody's; then only names, numbers and three
words in a row tell. A number that is the length of an answer, or how much there is in it, is taken
out of it as well.
"""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from causepath.content.plain_data import leaves_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from opentelemetry.trace import SpanContext

MAX_TEXT = 32 * 1024
"""Characters of an answer, or of what somebody was given, that are searched. Of more, nobody can
say that nothing of it was handed on."""

WHOLE = 8
"""Characters of a whole answer that is found inside something else."""

LINE = 20
"""Characters of a line that two calls are not given by chance."""

LABEL = 3
"""Characters of an answer that tells where another place of the code makes the call."""

TITLE = 16
"""Characters of one, of as many words as `TITLE_WORDS`, that tells in the same place, too."""

TITLE_WORDS = 3

MAX_SEARCHED = 256 * 1024
"""Characters of results in which words of the arguments of a tool are looked for, each anew."""

MAX_TELLING = 8
"""Words of the arguments of a tool that are looked for in all that was said."""

TELLING = 4
"""Characters of one ..."""

MAX_WORD = 256
"""... which is shorter than a picture."""

MAX_SHORT = 64
"""Characters of a short answer; a longer one is known by its words in a row."""

FEW = 12
"""New words among which a plain one tells."""

ENDS = 24
"""Words of either end of an answer whose phrases are looked for in a long text."""

WORD = re.compile(r"[^\W_]+")
MARKS = ".,;:!?()[]{}<>\"'`*"
PARTS = re.compile("[-'\u2019/]")
BEGINNING = re.compile(r"(?:\A|[.!?:]\s|\n)\W*[^\W\d_]+\b(?![-_/])")
WIDE = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\uffef]")
DATE = re.compile(r"\b\d{4}-\d\d-(\d\d)(?:T[\d:.]+Z?)?\b")

COMMON = frozenset(
    {
        "a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "has", "have", "he",
        "her", "his", "i", "in", "is", "it", "its", "me", "my", "no", "not", "of", "on", "or",
        "our", "she", "so", "some", "than", "that", "the", "their", "them", "then", "there",
        "these", "they", "this", "those", "to", "was", "we", "were", "what", "when", "which",
        "who", "will", "with", "you", "your", "all", "any", "do", "does", "how", "if", "into",
        "more", "most", "only", "out", "up", "about", "der", "die", "das", "und", "ist", "im",
        "ein", "eine", "von", "zu", "mit", "den", "für", "le", "la", "les", "et", "un", "une",
        "de", "des", "du", "en", "el", "los", "las", "y", "que", "del", "con", "por", "para",
        "o", "e", "os", "um", "uma", "il", "di", "che", "select", "where", "order", "limit",
        "group", "insert", "update", "values", "null", "true", "false",
    }
)  # fmt: skip
"""Words that everybody says, of languages that many agents speak, and of SQL."""

OPTIONS = frozenset(
    {
        "limit", "max", "max_results", "top_k", "top_n", "k", "n", "page", "page_size",
        "per_page", "size", "timeout", "offset", "depth",
    }
)  # fmt: skip
"""Arguments whose numbers the model chooses itself."""


class Said:
    """The texts that a call was given and put out; `None` if they are too long to be kept.

    `asked` are the arguments of the tools that it asked for."""

    __slots__ = ("_folded", "_heard", "asked", "context", "said")

    def __init__(
        self,
        context: SpanContext,
        heard: Callable[[], Iterable[str]] | None,
        said: tuple[str, ...] | None,
        asked: tuple[str, ...] = (),
    ) -> None:
        self.context, self._heard, self.said, self.asked = context, heard, said, asked
        self._folded: tuple[str, str] | None = None

    def texts(self) -> tuple[str, str] | None:
        """Both in small letters, worked out once: most are never asked for."""
        if self._folded is None and self._heard is not None and self.said is not None:
            self._folded = _folded(self._heard()), _folded(self.said)
            self._heard = list
        return self._folded


class Found(NamedTuple):
    """The sources of what a call is given."""

    sources: list[SpanContext]
    """Whose words are in it."""
    flow: str
    """`complete`: all of its words had been given or said before; `searched`: some are new, and
    nobody's whose words were looked for; `unsure`: that can not be said."""


COMPLETE, SEARCHED, UNSURE = "complete", "searched", "unsure"


def handed_on(new: Iterable[str], earlier: Sequence[Said]) -> Found:
    """Finds whose words of `earlier`, the first one first, are in the texts `new`."""
    text = "\n".join(new)
    sources: list[SpanContext] = []
    if not text:
        return Found(sources, COMPLETE)
    told: list[tuple[Said, str, str]] = []
    given = ""
    is_short = True
    for one in earlier:
        texts = one.texts()
        if texts is None or max(map(len, texts)) > MAX_TEXT:
            is_short = False
            continue
        told.append((one, *texts))
        given += texts[0]
        for whole in one.said or ():
            whole = whole.strip()
            if len(whole) >= WHOLE and whole in text:
                text = text.replace(whole, "\n")
                if whole.casefold() not in given:
                    sources.append(one.context)
    if not is_short or len(text) > MAX_TEXT:
        return Found(_each_once(sources), UNSURE)
    words = {word.casefold(): word for word in _words(text)}
    folded = text.casefold()
    known: set[str] = set()
    before: list[str] = []
    for one, heard, said in told:
        before.append(heard)
        fresh = [word for word in words if word not in known]
        known.update(word for word in fresh if stands(word, heard))
        fresh = [word for word in fresh if word not in known]
        theirs = [word for word in fresh if word not in COMMON and stands(word, said)]
        telling = theirs if len(fresh) <= FEW else [w for w in theirs if _tells(words[w])]
        numbers = [] if telling else [word for word in fresh if word.isdecimal()]
        counted = _numbers_of(one.said or ()) if numbers else ()
        if (
            telling
            or any(word in counted and not _counts_up(word, heard) for word in numbers)
            or (len(fresh) > FEW and theirs and _phrase(said, folded, before))
        ):
            sources.append(one.context)
        known.update(theirs)
        known.update(word for word in fresh if word in COMMON and stands(word, said))
        before.append(said)
    rest = words.keys() - known - COMMON
    return Found(_each_once(sources), SEARCHED if rest else COMPLETE)


def _each_once(sources: Iterable[SpanContext]) -> list[SpanContext]:
    return list({one.span_id: one for one in sources}.values())


def kept(texts: Iterable[str]) -> tuple[str, ...] | None:
    """The texts, if they are short enough to be kept and searched."""
    found = tuple(texts)
    return found if sum(map(len, found)) <= MAX_TEXT else None


def asked_for(
    arguments: object, before: Iterable[str], results: Sequence[tuple[SpanContext, Sequence[str]]]
) -> Found:
    """Finds which of the latest `results` a model put into the `arguments` of a tool.

    It knew what stands in `before` anyhow: all that it had been given and had answered until then.
    """
    known = _folded(before)
    if len(known) > 2 * MAX_TEXT or sum(len(t) for _, texts in results for t in texts) > MAX_TEXT:
        return Found([], UNSURE)
    own: list[str] = []
    sources: dict[int, SpanContext] = {}
    is_told = True
    for name, value in leaves_in(arguments):
        text = DATE.sub(lambda date: _day(date, known), str(value))
        words = _words(text)
        for word in words:
            word = word.casefold()
            if stands(word, known) or (word in COMMON and len(words) > 1):
                continue
            theirs = [context for context, texts in results if any(_says(t, word) for t in texts)]
            if not theirs and word.isdecimal() and name not in OPTIONS:
                theirs = [c for c, texts in results if word in _numbers_of(texts)]
                is_told = is_told and bool(theirs)
            elif not theirs:
                own.append(word)
            sources.update({one.span_id: one for one in theirs})
    if own and not sources and is_told:
        said = {w.casefold()[:4] for _, texts in results for t in texts for w in _words(t[:4096])}
        # In another form: a plural, another language's name for it.
        is_told = not any(len(word) > 4 and word[:4] in said for word in own)
    if not is_told:
        return Found(list(sources.values()), UNSURE)
    return Found(list(sources.values()), SEARCHED if own else COMPLETE)


def said_first(
    words: Sequence[str],
    tools: Sequence[SpanContext | None],
    texts: Callable[[int], Iterable[str]],
) -> list[SpanContext]:
    """Finds the results that were the first to say one of `words`.

    `tools` has an entry for all that a model was given and had answered, in order: the tool whose
    result it is. `texts` gives what each of them says.
    """
    left = MAX_SEARCHED
    sources: dict[int, SpanContext] = {}
    for word in words:
        for number, tool in enumerate(tools):
            if tool is None:
                continue
            said = [*texts(number)]
            left -= sum(map(len, said))
            if left < 0:
                return list(sources.values())
            if any(stands(word, text) for text in said):
                others = (n for n in range(number) if tools[n] is None)
                if not any(stands(word, text) for n in others for text in texts(n)):
                    sources[tool.span_id] = tool
                break
    return list(sources.values())


def within_sentences(text: str) -> str:
    """Leaves the words out that sentences begin with: any of them may have a capital letter."""
    return BEGINNING.sub(" ", text)


def telling(arguments: object) -> list[str]:
    """Picks the first values and words in the `arguments` of a tool that nobody says by chance: of
    a long conversation names, numbers and whatever else is no plain word."""
    found: dict[str, None] = {}
    for name, value in leaves_in(arguments):
        text = str(value).strip()
        if name in OPTIONS and text.isdecimal():
            continue
        words = [word.strip(MARKS) for word in text.split()]
        is_alone = len(words) == 1
        if not is_alone and words and words[0].istitle():
            del words[0]  # so begins a sentence
        for word in words:
            letters = word if is_alone else PARTS.sub("", word)
            is_plain = letters.isalpha() and letters.islower()
            is_said = TELLING <= len(word) <= MAX_WORD
            if is_said and not is_plain and word.casefold() not in COMMON:
                found[word] = None
        if len(found) >= MAX_TELLING:
            break
    return list(islice(found, MAX_TELLING))


def parts_of_json(said: Iterable[str], texts: Iterable[str]) -> bool:
    """Tells whether `texts` hold a text that an answer has in its JSON."""
    for answer in said:
        if answer.lstrip()[:1] not in ("[", "{"):
            continue
        try:
            found = json.loads(answer)
        except (ValueError, RecursionError):
            continue
        given = "\n".join(texts)
        leaves = (str(leaf).strip() for _, leaf in leaves_in(found))
        if any(len(leaf) >= WHOLE and leaf in given for leaf in leaves):
            return True
    return False


def is_about_the_same(lines: Iterable[str], texts: Iterable[str], earlier: Sequence[Said]) -> bool:
    """Tells whether one of `lines` is in what an earlier call was given, which was not just the
    same as `texts`."""
    lines = [line.strip().casefold() for line in lines]
    whole = _folded(texts).strip() if lines else ""
    for one in earlier if lines else ():
        heard = one.texts()
        if heard is None or heard[0].strip().endswith(whole):
            continue
        if any(len(line) >= LINE and line in heard[0] for line in lines):
            return True
    return False


def short_answers(
    texts: Iterable[str], earlier: Sequence[Said], *, are_words_enough: bool
) -> Iterator[str]:
    """Finds the short answers, and arguments of tools, that `texts` hold and that whoever gave them
    had not been given."""
    given: str | None = None
    for one in earlier:
        for answer in (*(one.said or ()), *one.asked):
            short = answer.strip().strip("\"'`*.!?:")
            folded = short.casefold()
            is_title = len(short) >= TITLE and short.count(" ") + 1 >= TITLE_WORDS
            if not (
                len(short) <= MAX_SHORT
                and "\n" not in short
                and (is_title or (are_words_enough and len(short) >= LABEL))
                and folded not in COMMON
                and not folded.isdecimal()
            ):
                continue
            given = given if given is not None else _folded(texts)
            heard = one.texts()
            if heard is not None and stands(folded, given) and not stands(folded, heard[0]):
                yield short


def _day(date: re.Match[str], known: str) -> str:
    """A date is known where its day is: others write it in other ways."""
    day = date[1].lstrip("0")
    return "" if stands(day, known) or stands(date[1], known) else date[0].replace("-", "x")


def stands(word: str, text: str) -> bool:
    """Tells whether `word` is in `text`, not as a part of another word."""
    at, length = text.find(word), len(word)
    wide = at >= 0 and not word.isascii() and WIDE.search(word) is not None
    while at >= 0:
        after = at + length
        if wide or not (
            (at and text[at - 1].isalnum()) or (after < len(text) and text[after].isalnum())
        ):
            return True
        at = text.find(word, at + 1)
    return False


def _says(text: str, word: str) -> bool:
    """Tells whether a result says a word: the keys of JSON are no result."""
    if not stands(word, text.casefold()):
        return False
    if text[:1] not in "{[":
        return True
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return True
    return any(stands(word, str(value).casefold()) for _, value in leaves_in(found))


def _words(text: str) -> list[str]:
    found = WORD.findall(text)
    if text.isascii() or WIDE.search(text) is None:
        return found
    return [part for word in found for part in _wide(word)]


def _wide(word: str) -> Iterator[str]:
    """Cuts a text of Chinese and the like, in which nothing shows where a word ends."""
    if WIDE.search(word) is None or len(word) <= 3:
        yield word
        return
    for at in range(len(word) - 2):
        yield word[at : at + 3]


def _folded(texts: Iterable[str]) -> str:
    return "\n".join(texts).casefold()


def _tells(word: str) -> bool:
    """Tells whether it is no plain word: a number, a name, an abbreviation."""
    return not (word.isascii() and word.isalpha() and word.islower())


def _phrase(said: str, text: str, known: Sequence[str]) -> bool:
    """Tells whether three words in a row of either end of what was `said` are new in `text`."""
    spots = [match.span() for match in WORD.finditer(said)]
    if len(spots) > 2 * ENDS:
        spots = spots[:ENDS] + spots[-ENDS:]
    for (start, _), (_, end) in zip(spots, spots[2:], strict=False):
        phrase = said[start:end]
        if 8 <= len(phrase) <= 80 and phrase in text and not any(phrase in one for one in known):
            return True
    return False


def _numbers_of(texts: Iterable[str]) -> set[str]:
    """Lists how long something is, and how many items are in it."""
    found: set[int] = set()
    for text in texts:
        stripped = text.strip()
        found |= {len(text), len(stripped), len(stripped.split()), len(stripped.splitlines())}
        found |= {stripped.count(mark) + 1 for mark in ",;"}
        if stripped[:1] in "{[":
            try:
                waiting: list[Any] = [json.loads(stripped)]
            except (ValueError, RecursionError):
                waiting = []
            while waiting:
                value = waiting.pop()
                if isinstance(value, dict | list):
                    found.add(len(value))
                    waiting += value.values() if isinstance(value, dict) else value
        numbers = [int(n) for n in re.findall(r"\b\d{1,9}\b", stripped)][:8]
        found.add(sum(numbers))
        for one in numbers:
            found |= {one - 1, one + 1}
    return {str(number) for number in found if number > 1}


def _counts_up(word: str, heard: str) -> bool:
    """Tells whether a number is that of the next item."""
    return word.isdecimal() and stands(str(int(word) - 1), heard)
