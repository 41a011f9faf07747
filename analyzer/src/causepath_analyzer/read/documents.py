"""Cuts text into JSON documents: lines, one document over many lines, or several in a row.

Streams line by line where the first line is a document of its own. Only a document that is spread
over lines is held in memory whole, because it has to be.
"""

import re
from collections.abc import Generator, Iterable, Iterator
from typing import BinaryIO

import msgspec
from msgspec import Struct

from causepath_analyzer.model import Skipped

_ANY = msgspec.json.Decoder(msgspec.Raw)
_SYNTAX = re.compile(rb'"(?:[^"\\]|\\.)*+"|[{}\[\]]', re.DOTALL)
_OPENING = re.compile(rb"^[ \t]*[{\[]", re.MULTILINE)
_NEXT = re.compile(rb"\s*[{\[]")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Document(Struct, frozen=True, gc=False):
    """The bytes of something that may be one JSON value, and the line it starts at."""

    data: bytes
    line: int


def documents(stream: BinaryIO) -> Iterator[Document | Skipped]:
    """The documents in `stream`, in order. Lines of text between documents are `Skipped`."""
    first = b""
    number = 0
    for line in stream:
        number += 1
        first = line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
        if not first.isspace() and first:
            break
    if not first.strip():
        return
    if _complete(first) or not _opens(first):
        yield from _lines(first, number, stream)
        return
    rest = stream.read()
    whole = first + rest
    if _complete(whole):
        yield Document(whole, number)
    elif _mostly_lines(rest):
        # The first line is damaged; those after it stand for themselves.
        yield from _lines(first, number, rest.splitlines(keepends=True))
    else:
        yield from _in_a_row(whole, number)


def _lines(first: bytes, number: int, rest: Iterable[bytes]) -> Iterator[Document]:
    yield Document(first, number)
    for line in rest:
        number += 1
        if not line.isspace():
            yield Document(line, number)


def _opens(line: bytes) -> bool:
    return line.lstrip()[:1] in (b"{", b"[")


def _complete(data: bytes) -> bool:
    try:
        _ANY.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _mostly_lines(rest: bytes) -> bool:
    """Whether a line that opens a document closes it as well: told from the first such line."""
    for line in rest[: 1 << 24].splitlines():
        if line[:1] in (b"{", b"[") and len(line) > 2:
            return _complete(line)
    return False


def _in_a_row(data: bytes, first_line: int) -> Iterator[Document | Skipped]:
    """Documents following each other without commas, maybe with a program's output between them.

    One pass by nesting depth. If the last document never ends, everything from its start is gone
    through again with a bracket in the first column taken as a new start: a program that was
    killed while printing, and then run once more.
    """
    unclosed = yield from _by_depth(data, 0, first_line, resynchronise=False)
    if unclosed is not None:
        last = yield from _by_depth(data, *unclosed, resynchronise=True)
        if last is not None:
            yield _cut_off(last[1])


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
                    yield _cut_off(line)
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


def _cut_off(line: int) -> Skipped:
    return Skipped(f"line {line}", "cut off: the JSON that starts here never ends")
