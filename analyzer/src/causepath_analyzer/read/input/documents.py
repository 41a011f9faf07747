"""Cuts text into JSON documents: lines, one document over many lines, or several in a row.

What Node.js prints of objects (``console.dir``) is cut as well: brackets in the first column.

Streams line by line where the first line is a document of its own. Only a document that is spread
over lines is held in memory whole, because it has to be.
"""

import re
from collections.abc import Generator, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import BinaryIO, Final

import msgspec
from msgspec import Struct

from causepath_analyzer.model import Skipped

_ANY = msgspec.json.Decoder(msgspec.Raw)
# No string of JSON goes over the end of a line, so an open one ends there: it was cut off.
_SYNTAX = re.compile(rb'"(?:[^"\\\n]|\\[^\n])*+"?|[{}\[\]]')
# A list that may hold spans; log lines begin with a bracket and a word.
_BEGIN = rb"(?:\{|\[(?=\s*(?:[{\[\]]|\Z)))"
_OPENING = re.compile(rb"^[ \t]*" + _BEGIN, re.MULTILINE)
_INSPECTED = re.compile(rb"\{[ \t]*\r?\n[ \t]+(?:[A-Za-z_$][\w$]*|'[^'\n]*'): ")
_INSPECTED_END = re.compile(rb"^\}[ \t]*\r?$", re.MULTILINE)
_LIST = re.compile(rb"\[\s*\{")
_NEXT = re.compile(rb"\s*" + _BEGIN)
_MOST_BEFORE = 1000
"""So many lines of other output may come before the first document."""
CUT_OFF: Final = "cut off: the JSON that starts here never ends"
_BRACKET = 8
_SKIPPED = 1 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Document(Struct, frozen=True, gc=False):
    """The bytes of something that may be one JSON value, and the line it starts at."""

    data: bytes
    line: int


def documents(stream: BinaryIO, longest: int | None = None) -> Iterator[Document | Skipped]:
    """The documents in `stream`, in order; one of more than `longest` bytes is `Skipped`.

    What a program printed before or between documents that are spread over lines is passed over.
    """
    most = -1 if longest is None else longest + 1
    lines = iter(partial(stream.readline, most), b"")
    number = 0
    before: list[Document] = []
    for line in lines:
        number += 1
        first = line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
        if not first or first.isspace():
            continue
        is_output = len(before) < _MOST_BEFORE and len(first) < _SKIPPED and not _opens(first)
        if not is_output or _complete(first):
            break
        before.append(Document(first, number))
    else:
        yield from before
        return
    if _exceeds(first, longest) or not _opens(first) or _complete(first):
        yield from before
        yield from _lines(first, number, lines, stream, longest)
    else:
        rest = stream.read(most)
        whole = first + rest
        if _exceeds(whole, longest):
            yield _too_long(number, longest)
        elif _complete(whole):
            yield Document(whole, number)
        elif not _is_bracket(first) and _mostly_lines(rest):
            # The first line is damaged; those after it stand for themselves.
            yield from before
            yield from _lines(first, number, rest.splitlines(keepends=True), stream, longest)
        else:
            yield from _in_a_row(whole, number)


def _lines(
    first: bytes, number: int, rest: Iterable[bytes], stream: BinaryIO, longest: int | None
) -> Iterator[Document | Skipped]:
    for line in chain((first,), rest):
        if _exceeds(line, longest):
            yield _too_long(number, longest)
            while line and not line.endswith(b"\n"):
                line = stream.readline(_SKIPPED)
        elif _is_bracket(line):
            # A document spread over lines, after others that were not.
            tail = line + stream.read(-1 if longest is None else longest)
            if _exceeds(tail, longest):
                yield _too_long(number, longest)
            else:
                yield from _in_a_row(tail, number)
        elif not line.isspace():
            yield Document(line, number)
        number += 1


def _is_bracket(line: bytes) -> bool:
    """Tells whether a document that is spread over lines begins with `line`."""
    return len(line) < _BRACKET and line.strip() in (b"{", b"[")


def _exceeds(data: bytes, longest: int | None) -> bool:
    return longest is not None and len(data) > longest


def _too_long(number: int, longest: int | None) -> Skipped:
    return Skipped(f"line {number}", f"more than {longest:,} bytes in one piece: raise --max-bytes")


def _opens(line: bytes) -> bool:
    return _OPENING.match(line) is not None


def _complete(data: bytes) -> bool:
    try:
        _ANY.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _mostly_lines(rest: bytes) -> bool:
    """Tells whether a line that opens a document closes it as well: told from the first such
    line."""
    for line in rest[: 1 << 24].splitlines():
        if len(line) > 2 and line[:1] in (b"{", b"[") and _opens(line):
            return _complete(line)
    return False


def _in_a_row(data: bytes, first_line: int) -> Iterator[Document | Skipped]:
    """Documents following each other without commas, maybe with a program's output between them.

    One pass by nesting depth. If the last document never ends, everything from its start is gone
    through again with a bracket in the first column taken as a new start: a program that was
    killed while printing, and then run once more.
    """
    if _INSPECTED.match(data) is not None:
        yield from _inspected(data, first_line)
        return
    unclosed = yield from _by_depth(data, 0, first_line, resynchronise=False)
    if unclosed is not None:
        last = yield from _by_depth(data, *unclosed, resynchronise=True)
        if last is not None:
            yield _torn(data[last[0] :], last[1], unfinished=last[0] > 0)


def _inspected(data: bytes, line: int) -> Iterator[Document | Skipped]:
    """Objects as Node.js prints them over lines, in which no string goes over the end of one."""
    counted = 0
    opening = _INSPECTED.search(data)
    while opening is not None:
        start = opening.start()
        line += data.count(b"\n", counted, start)
        counted = start
        end = _INSPECTED_END.search(data, start)
        following = _INSPECTED.search(data, opening.end())
        while following is not None and data[following.start() - 1] != 0x0A:
            following = _INSPECTED.search(data, following.end())
        if end is None or (following is not None and following.start() < end.start()):
            yield _cut_off(line)
        else:
            yield Document(data[start : end.end()], line)
        opening = following


def _by_depth(
    data: bytes, position: int, line: int, *, resynchronise: bool
) -> Generator[Document | Skipped, None, tuple[int, int] | None]:
    """Yields documents from `position` on; gives position and line of the last if it never ends."""
    counted = position
    opening = _OPENING.search(data, position)
    while opening is not None:
        start = opening.end() - 1
        line += data.count(b"\n", counted, start)
        counted = start
        end = None
        depth = 0
        for token in _SYNTAX.finditer(data, start):
            at = token.start()
            if data[at] in b"{[":
                if resynchronise and depth and data[at - 1] == 0x0A:
                    yield _torn(data[start:at], line)
                    end = at
                    break
                depth += 1
            elif data[at] != 0x22:  # a closing bracket; strings do not count
                depth -= 1
                if depth == 0:
                    end = at + 1
                    yield Document(data[start:end], line)
                    break
        if end is None:
            return start, line
        opening = _NEXT.match(data, end) or _OPENING.search(data, end)
    return None


def _torn(data: bytes, line: int, *, unfinished: bool = False) -> Document | Skipped:
    """A document that never ends: of a list, what is whole in it may still be read."""
    if _LIST.match(data) is not None:
        return Document(data, line)
    return _cut_off(line, unfinished=unfinished)


def _cut_off(line: int, *, unfinished: bool = False) -> Skipped:
    return Skipped(f"line {line}", CUT_OFF, unfinished)
