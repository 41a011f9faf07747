"""Opens what the user named: files, folders, standard input; plain, gzip or zstd.

Which of these a file is, is told from its first bytes, never from its name. The collector's file
exporter compresses every message by itself and puts four bytes of length before each; such
messages come out as it writes them uncompressed.
"""

import gzip
import io
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, cast

from causepath_analyzer.errors import UnreadableInputError

STDIN: Final = "-"
MOST_BYTES: Final = 8 << 30
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_LENGTH_BYTES: Final = 4
_BUFFER: Final = 1 << 20
_DEEPEST: Final = 4
"""So often may something be compressed again."""

DAMAGED: Final[tuple[type[Exception], ...]] = (EOFError, OSError, zlib.error)
"""What reading damaged compressed data raises (zstd's own error is turned into `OSError`)."""


class TooLargeError(OSError):
    """An input goes on beyond the bytes that may be read of it."""


def files(path: str) -> Iterator[str]:
    """`path` itself, or if it is a folder, every file below it in order of name.

    Hidden files and folders are left out. Raises `UnreadableInputError` if there is no such path.
    """
    if path == STDIN or not Path(path).is_dir():
        yield path
        return
    for entry in sorted(Path(path).rglob("*")):
        hidden = any(part.startswith(".") for part in entry.relative_to(path).parts)
        if not hidden and entry.is_file():
            yield str(entry)


def open_source(path: str, most_bytes: int = MOST_BYTES) -> BinaryIO:
    """A stream of the unpacked bytes of the file `path`, or of standard input for ``-``.

    What has no size of its own (compressed data, pipes, devices) ends with a `TooLargeError` after
    `most_bytes`. Raises `UnreadableInputError`, saying why, if it cannot be opened.
    """
    if path == STDIN:
        raw = cast("io.BufferedReader", sys.stdin.buffer)
    else:
        try:
            raw = io.BufferedReader(io.FileIO(path), _BUFFER)
        except FileNotFoundError:
            raise UnreadableInputError(f"{path}: no such file or folder") from None
        except OSError as error:
            raise UnreadableInputError(f"{path}: cannot be opened: {error.strerror}") from None
    return unpacked(raw, most_bytes)


def unpacked(raw: io.BufferedReader, most_bytes: int = MOST_BYTES) -> BinaryIO:
    """`raw` itself, or what comes out of it if it is compressed, at most `most_bytes`."""
    stream = raw if _has_a_size(raw) else _stream(_bounded(_chunks(raw.read), most_bytes), raw)
    for _ in range(_DEEPEST):
        try:
            head = stream.peek(_LENGTH_BYTES + len(_ZSTD))[: _LENGTH_BYTES + len(_ZSTD)]
        except DAMAGED:
            break  # whoever reads from the stream is told again
        if head.startswith(_GZIP):
            pieces = _chunks(gzip.GzipFile(fileobj=stream).read1)
        elif head.startswith(_ZSTD):
            pieces = _zstd(stream)
        elif head[_LENGTH_BYTES:] == _ZSTD:
            pieces = _messages(stream, most_bytes)
        else:
            break
        stream = _stream(_bounded(pieces, most_bytes), stream)
    return stream


def knows_its_size(stream: BinaryIO) -> bool:
    """Whether `stream` is a plain file, whose owner knows what reading it takes."""
    return not isinstance(getattr(stream, "raw", None), _Pieces)


def read_exactly(stream: BinaryIO, length: int) -> bytes:
    """The next `length` bytes of `stream`, or what there is; takes no memory for what is not."""
    pieces = []
    while length > 0 and (piece := stream.read(min(length, _BUFFER))):
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)


def _has_a_size(raw: io.BufferedReader) -> bool:
    try:
        return stat.S_ISREG(os.fstat(raw.fileno()).st_mode)
    except OSError:
        return True  # bytes in memory


def _chunks(read: Callable[[int], bytes]) -> Iterator[bytes]:
    while chunk := read(_BUFFER):
        yield chunk


def _zstd(stream: BinaryIO) -> Iterator[bytes]:
    """What is in a zstd stream of any number of frames; raises `OSError` where it is damaged."""
    import zstandard  # only users of zstd wait for it

    try:
        reader = zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True)
        yield from _chunks(reader.read1)
    except zstandard.ZstdError as error:
        raise OSError(str(error)) from None


def _messages(stream: BinaryIO, most_bytes: int) -> Iterator[bytes]:
    """The collector's messages, JSON with a line end after each, protobuf with its length before.

    Raises `EOFError` where a message is cut off.
    """
    while length_bytes := stream.read(_LENGTH_BYTES):
        length = int.from_bytes(length_bytes, "big")
        packed = read_exactly(stream, length)
        if len(length_bytes) < _LENGTH_BYTES or len(packed) < length:
            raise EOFError("the last message is not whole")
        message = b"".join(_bounded(_zstd(io.BytesIO(packed)), most_bytes))
        if message[:1] in (b"{", b"["):
            yield message + b"\n"
        else:
            yield len(message).to_bytes(_LENGTH_BYTES, "big") + message


def _bounded(pieces: Iterator[bytes], most_bytes: int) -> Iterator[bytes]:
    left = most_bytes
    for piece in pieces:
        if len(piece) > left:
            yield piece[:left]
            raise TooLargeError(
                f"more than {most_bytes:,} bytes when unpacked: raise --max-bytes if that is right"
            )
        left -= len(piece)
        yield piece


def _stream(pieces: Iterator[bytes], source: BinaryIO) -> io.BufferedReader:
    return io.BufferedReader(_Pieces(pieces, source), _BUFFER)


class _Pieces(io.RawIOBase):
    """A stream of pieces of any length; closing it closes what they come from."""

    def __init__(self, pieces: Iterator[bytes], source: BinaryIO) -> None:
        self._pieces = pieces
        self._source = source
        self._error: Exception | None = None
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            self._source.close()
        super().close()

    def readinto(self, buffer: object) -> int:
        target = memoryview(buffer)  # type: ignore[arg-type]
        while not self._rest:
            if self._error is not None:
                raise self._error
            try:
                piece = next(self._pieces, None)
            except DAMAGED as error:
                self._error = error
                raise
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        size = min(len(target), len(self._rest))
        target[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
