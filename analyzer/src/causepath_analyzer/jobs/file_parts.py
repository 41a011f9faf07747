"""Parts of what the user named, for several processes to read side by side.

A file of OTLP JSON lines can be cut between any two of them, as every line stands for itself, and
one of the collector's protobuf frames between these; any other file is one part. A part that turns
out to need the others raises `NotApartError`: then one process reads everything, which is always
right.
"""

import io
import os
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from causepath_analyzer.model import Input, Skipped
from causepath_analyzer.read import MOST_SKIPPED, Progress, SpansByTrace, read_file, read_stream
from causepath_analyzer.read.format import JsonFormat
from causepath_analyzer.read.formats.otlp_json import FORMAT as LINES
from causepath_analyzer.read.formats.recognise import (
    FORMATS,
    GATHERED_NAMES,
    NotApartError,
    Options,
    gathered,
)
from causepath_analyzer.read.input.source import STDIN, files, is_compressed
from causepath_analyzer.server_request import is_address

LEAST_BYTES: Final = 20_000_000
"""Of input for each process: for less the start of another one is not worth it."""
MOST_JOBS: Final = 64
_BUFFER: Final = 1 << 20
_LONGEST_LINE: Final = 1 << 26
_MOST_LINES: Final = 100
"""So many lines are looked at for one that stands for itself."""
_UNPACKED: Final = 8
"""What compressed files are larger by, about."""
_LINE: Final = re.compile(r"line (\d+)")
_FRAMES: Final = "otlp-protobuf"
_TOGETHER: Final = frozenset(GATHERED_NAMES)
_NOT_LINES: Final = frozenset(FORMATS) - {LINES.name}


class Part(Struct, frozen=True):
    """The bytes of the file `path` from `start` to `end`, or with ``None`` the file as it is."""

    path: str
    start: int = 0
    end: int | None = None


def cores() -> int:
    """Counts how many processes can run at once here."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def shares(
    paths: Sequence[str], options: Options, most: int, least_bytes: int
) -> Sequence[Sequence[Part]]:
    """The files in `paths` in up to `most` shares of about equal size, in their order.

    None if there is no point in sharing: less than `least_bytes` for each, or an input that only
    one process can read.
    """
    if any(path == STDIN or is_address(path) for path in paths):
        return ()
    found = [list(files(path)) for path in paths]
    if most < 2 or not all(found):  # an empty folder has to be told
        return ()
    every = [file for group in found for file in group]
    try:
        "".join(every).encode()
        sizes = [_size(file) for file in every]
    except (OSError, UnicodeEncodeError):
        return ()
    total = sum(sizes)
    count = min(most, total // max(1, least_bytes))
    if count < 2 or not _may_be_shared(every[0], options):
        return ()
    return _shared(every, sizes, [total * n // count for n in range(1, count)])


def _size(file: str) -> int:
    """Measures what it takes to read a plain file."""
    path = Path(file)
    if not path.is_file():
        raise OSError
    with path.open("rb") as stream:
        head = stream.read(8)
    return path.stat().st_size * (_UNPACKED if is_compressed(head) else 1)


def _may_be_shared(file: str, options: Options) -> bool:
    """Tells whether the first line of `file` is not of a format whose files belong together."""
    if options.format is not None:
        return options.format not in _TOGETHER
    line = _first_line(file)
    return not any(_fits(row.begin(), line) for row in gathered())


def _shared(every: Sequence[str], sizes: Sequence[int], targets: Sequence[int]) -> list[list[Part]]:
    """`every` file, cut near `targets`, which are offsets into all of them together."""
    found: list[list[Part]] = [[]]
    before = 0
    for file, size in zip(every, sizes, strict=True):
        inside = [target - before for target in targets if before < target <= before + size]
        cuts = sorted(set(_cuts(file, size, inside)) - {0, size}) if inside else []
        if cuts:
            for start, end in pairwise([0, *cuts, size]):
                found[-1].append(Part(file, start, end))
                if end != size:
                    found.append([])
        elif any(2 * target <= size for target in inside) and found[-1]:
            found.append([Part(file)])
        else:
            found[-1].append(Part(file))
        if inside and (not cuts or size in inside):
            found.append([])
        before += size
    return [share for share in found if share]


def _cuts(file: str, size: int, targets: Sequence[int]) -> Iterator[int]:
    """Starts of lines or frames of `file` near `targets`, if it can be cut there."""
    if _fits(LINES, _first_line(file)):
        yield from _lines(file, size, targets)
        return
    with Path(file).open("rb") as stream:
        if stream.read(1) == b"\0":
            stream.seek(0)
            from causepath_analyzer.read.formats.otlp_protobuf import frames

            starts = frames(stream)
            for target in targets:
                yield next((start for start in starts if start >= target), size)


def _lines(file: str, size: int, targets: Sequence[int]) -> Iterator[int]:
    with Path(file).open("rb") as stream:
        for target in targets:
            stream.seek(target)
            stream.readline()
            for _ in range(_MOST_LINES):
                at = stream.tell()
                if at >= size or _fits(LINES, stream.readline(_LONGEST_LINE)):
                    yield at
                    break


def _first_line(file: str) -> bytes:
    with Path(file).open("rb") as stream:
        return stream.readline(_LONGEST_LINE)


def _fits(candidate: JsonFormat, line: bytes) -> bool:
    """Tells whether `line` is a document of that format."""
    try:
        return line.startswith(b"{") and candidate.read(line, "") is not None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def read_part(
    part: Part, spans: SpansByTrace, progress: Progress | None, options: Options
) -> Input:
    """Adds the spans of `part` to `spans`. Raises `NotApartError` if it cannot be read alone."""
    if part.end is None:
        return read_file(part.path, spans, progress, replace(options, refused=_TOGETHER))
    alone = replace(options, refused=_NOT_LINES)
    try:
        with io.BufferedReader(_Lines(part.path, part.start, part.end), _BUFFER) as stream:
            entry = read_stream(part.path, stream, spans, progress, alone)
        if entry.format == _FRAMES and entry.skipped:
            raise NotApartError  # where a frame is damaged, those after it are lost as well
        if not part.start or not entry.skipped:
            return entry
        lines = _lines_before(part)
    except OSError:
        raise NotApartError from None
    return replace(entry, skipped=tuple(_further_down(one, lines) for one in entry.skipped))


def _lines_before(part: Part) -> int:
    count, left = 0, part.start
    with Path(part.path).open("rb", buffering=0) as stream:
        while left and (piece := stream.read(min(left, _BUFFER))):
            count += piece.count(b"\n")
            left -= len(piece)
    return count


def _further_down(skipped: Skipped, lines: int) -> Skipped:
    where = _LINE.sub(lambda found: f"line {int(found[1]) + lines}", skipped.where, count=1)
    return replace(skipped, where=where)


def joined(parts: Sequence[Part], entries: Sequence[Input]) -> Sequence[Input]:
    """Joins the `entries` on all `parts`, which follow each other, to one for every file.

    Raises `NotApartError` if nothing came out of a file that was cut: the whole tells why.
    """
    files: list[list[Input]] = []
    for part, entry in zip(parts, entries, strict=True):
        if part.start:
            files[-1].append(entry)
        else:
            files.append([entry])
    return [_joined(every) for every in files]


def _joined(parts: Sequence[Input]) -> Input:
    first = parts[0]
    if len(parts) == 1:
        return first
    spans = sum(entry.spans for entry in parts)
    if not spans:
        raise NotApartError
    skipped = [one for entry in parts for one in entry.skipped]
    return Input(
        first.path,
        next(entry.format for entry in parts if entry.format is not None),
        spans,
        tuple(skipped[:MOST_SKIPPED]),
        sum(entry.skipped_total for entry in parts),
        attributes=tuple(sorted({name for entry in parts for name in entry.attributes})),
    )


class _Lines(io.RawIOBase):
    """A part of a file of lines, from `start` to `end`.

    Whoever reads lines never asks for all that is left: only a document that goes on over many
    lines makes the reader do that, and such a one does not stop where the part does.
    """

    def __init__(self, path: str, start: int, end: int) -> None:
        self._file = io.FileIO(path)
        self._file.seek(start)
        self._left = end - start

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        target = memoryview(buffer)[: self._left]  # type: ignore[arg-type]
        size = self._file.readinto(target) or 0
        self._left -= size
        return size

    def readall(self) -> bytes:
        raise NotApartError

    def close(self) -> None:
        self._file.close()
        super().close()
