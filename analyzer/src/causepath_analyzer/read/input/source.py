"""Opens what the user named: files, folders, standard input; plain, gzip or zstd.

Which of these a file is, is told from its first bytes, never from its name. The collector's file
exporter compresses every message by itself and puts four bytes of length before each; such
messages come out as it writes them uncompressed, without those that are damaged.

Unpacking never raises: where something is damaged or too large, the stream goes on after it or
ends, and `lost` tells what is missing.
"""

import gzip
import io
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, cast

from causepath_analyzer.errors import UnreadableInputError
from causepath_analyzer.model import Skipped

STDIN: Final = "-"
MOST_BYTES: Final = 8 << 30
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_LENGTH_BYTES: Final = 4
_HEADER: Final = _LENGTH_BYTES + len(_ZSTD)
_BUFFER: Final = 1 << 20
_FILE_BUFFER: Final = 1 << 22
"""Few lines of a file are longer; one that goes over the end of the buffer is copied once more."""
_PACKED: Final = 1 << 12
"""So much of zstd is unpacked at once; of a bomb that is not yet very much."""
_DEEPEST: Final = 4
"""So often may something be compressed again."""

_MOST_SEARCHES: Final = 16
"""So often the next message is looked for where the length of one was wrong."""

_DAMAGED: Final[tuple[type[Exception], ...]] = (EOFError, OSError, zlib.error)
"""What reading damaged compressed data raises (zstd's own error is turned into `OSError`)."""


class _TooLargeError(Exception):
    """An input goes on beyond the bytes that may be read of it."""


def files(path: str) -> Iterator[str]:
    """`path` itself, or if it is a folder, every file below it in order of name.

    Hidden files and folders are left out. A folder that cannot be entered is given itself: opening
    it tells why. Raises `UnreadableInputError` if there is no such path.
    """
    if path == STDIN or not Path(path).is_dir():
        yield path
        return
    found: list[Path] = []

    def cannot_be_entered(error: OSError) -> None:
        found.append(Path(error.filename))

    for folder, below, names in os.walk(path, onerror=cannot_be_entered):
        below[:] = [name for name in below if not name.startswith(".")]
        entries = (Path(folder, name) for name in names if not name.startswith("."))
        found += [entry for entry in entries if _may_be_file(entry)]
    yield from map(str, sorted(found))


def _may_be_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return True  # opening it tells why it cannot be


def open_source(path: str, most_bytes: int = MOST_BYTES) -> BinaryIO:
    """A stream of the unpacked bytes of the file `path`, or of standard input for ``-``.

    What has no size of its own (compressed data, pipes, devices) ends after `most_bytes`. Raises
    `UnreadableInputError`, saying why, if it cannot be opened.
    """
    if path == STDIN:
        raw = cast("io.BufferedReader", sys.stdin.buffer)
    else:
        try:
            raw = io.BufferedReader(io.FileIO(path), _FILE_BUFFER)
        except FileNotFoundError:
            raise UnreadableInputError(f"{path}: no such file or folder") from None
        except OSError as error:
            how = "entered" if os.path.isdir(path) else "opened"  # noqa: PTH112 - never raises
            raise UnreadableInputError(f"{path}: cannot be {how}: {error.strerror}") from None
    return unpacked(raw, most_bytes)


def pieces_of(pieces: Iterator[bytes]) -> io.BufferedReader:
    """Gives a stream of `pieces`; where they end with an error, `lost` tells it."""
    return _stream(pieces, io.BytesIO(), [])


class Room:
    """The bytes that may still be read; streams that share it may give so many together."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.left = most_bytes


def bounded_pieces(pieces: Iterator[bytes], room: Room) -> io.BufferedReader:
    """Gives a stream of `pieces` that ends, as `lost` then tells, where there is no `room` left."""
    return pieces_of(_bounded(pieces, room))


def unpacked(raw: io.BufferedReader, most_bytes: int = MOST_BYTES) -> BinaryIO:
    """`raw` itself, or what comes out of it if it is compressed, at most `most_bytes`."""
    missing: list[Skipped] = []
    stream = raw
    if not _has_a_size(raw):
        stream = _stream(_bounded(_chunks(raw.read), Room(most_bytes)), raw, missing)
    for _ in range(_DEEPEST):
        try:
            head = stream.peek(_HEADER)[:_HEADER]
        except OSError:
            break  # whoever reads from the stream is told again
        if head.startswith(_GZIP):
            pieces = _chunks(gzip.GzipFile(fileobj=stream).read1)
        elif head.startswith(_ZSTD):
            pieces = _zstd(stream)
        elif head[_LENGTH_BYTES:] == _ZSTD:
            pieces = _messages(stream, most_bytes, missing)
        else:
            break
        stream = _stream(_bounded(pieces, Room(most_bytes)), stream, missing)
    return stream


def lost(stream: BinaryIO) -> Sequence[Skipped]:
    """Lists what is missing in what was read of `stream`, because it was damaged or too large."""
    raw = getattr(stream, "raw", None)
    return raw.missing if isinstance(raw, _Pieces) else ()


def is_compressed(head: bytes) -> bool:
    """Tells whether a file that begins with `head` has to be unpacked."""
    return head.startswith((_GZIP, _ZSTD)) or head[_LENGTH_BYTES:_HEADER] == _ZSTD


def knows_its_size(stream: BinaryIO) -> bool:
    """Tells whether `stream` is a plain file, whose owner knows what reading it takes."""
    return not isinstance(getattr(stream, "raw", None), _Pieces)


def read_exactly(stream: BinaryIO, length: int) -> bytes:
    """The next `length` bytes of `stream`, or what there is; takes no memory for what is not."""
    pieces = []
    while length > 0 and (piece := stream.read(min(length, _BUFFER))):
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)


def what_is_in(stream: BinaryIO) -> bytes:
    """All of `stream`, or of a damaged one what can be had; `lost` tells what cannot."""
    pieces = []
    with suppress(OSError):  # whoever reads it as a trace says so
        while piece := stream.read(_BUFFER):
            pieces.append(piece)
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
    """Unpacks a zstd stream of any number of frames.

    Raises `OSError` where it is damaged, `EOFError` where it is cut off.
    """
    import zstandard  # only users of zstd wait for it

    packed = b""
    while packed := packed or stream.read(_PACKED):
        frame = zstandard.ZstdDecompressor().decompressobj()
        while not frame.eof:
            if not packed:
                raise EOFError("the last frame is not whole")
            try:
                yield frame.decompress(packed)
            except zstandard.ZstdError as error:
                raise OSError(str(error)) from None
            packed = b"" if frame.eof else stream.read(_PACKED)
        packed = frame.unused_data


def _messages(source: BinaryIO, most_bytes: int, missing: list[Skipped]) -> Iterator[bytes]:
    """The collector's messages, JSON with a line end after each, protobuf with its length before.

    A damaged one is left out. The length before it says where the next one is; where none is
    there, it is looked for.
    """
    stream = _Pushback(source)
    searches = 0
    while header := stream.read(_HEADER):
        at = stream.position - len(header)
        if header[_LENGTH_BYTES:] == _ZSTD:
            length = int.from_bytes(header[:_LENGTH_BYTES], "big")
            packed = _ZSTD + stream.read(max(0, length - len(_ZSTD)))
            try:
                message = b"".join(_bounded(_zstd(io.BytesIO(packed)), Room(most_bytes)))
            except (EOFError, OSError) as error:
                why = str(error)
            else:
                if message[:1] in (b"{", b"["):
                    yield message + b"\n"
                else:
                    yield len(message).to_bytes(_LENGTH_BYTES, "big") + message
                continue
            begun = stream.read(_HEADER)
            found = len(packed) == length and begun[_LENGTH_BYTES:] in (_ZSTD, b"")
            rest = begun if found else packed[len(_ZSTD) :] + begun
        else:
            why, found, rest = "no message is where one should be", False, header[1:]
        if not found:
            searches += 1
            rest = _next_message(rest, stream, searches)
        stream.push(rest)
        gone = f"{stream.position - at:,} bytes lost"
        missing.append(Skipped(f"byte {at}", f"cut off or damaged, {gone}: {why}"))


def _next_message(data: bytes, stream: "_Pushback", searches: int) -> bytes:
    """`data`, or if there is none in it what follows, from the next thing on that may be a message.

    Empty if there is none, or if it was looked for too often: that would take very long.
    """
    while True:
        found = data.find(_ZSTD, _LENGTH_BYTES) if searches <= _MOST_SEARCHES else -1
        if found >= 0:
            return data[found - _LENGTH_BYTES :]
        more = stream.read(_BUFFER)
        if not more:
            return b""
        data = data[-_HEADER + 1 :] + more


class _Pushback:
    """Reads a stream that what was read too much can be given back to."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._data = io.BytesIO()
        self.position = 0

    def read(self, length: int) -> bytes:
        data = self._data.read(length)
        data += read_exactly(self._stream, length - len(data))
        self.position += len(data)
        return data

    def push(self, data: bytes) -> None:
        self.position -= len(data)
        self._data = io.BytesIO(data + self._data.read())


def _bounded(pieces: Iterator[bytes], room: Room) -> Iterator[bytes]:
    for piece in pieces:
        if len(piece) > room.left:
            yield piece[: room.left]
            room.left = 0
            raise _TooLargeError(
                f"more than {room.most_bytes:,} bytes when unpacked: "
                "raise --max-bytes if that is right"
            )
        room.left -= len(piece)
        yield piece


def _stream(pieces: Iterator[bytes], source: BinaryIO, missing: list[Skipped]) -> io.BufferedReader:
    return io.BufferedReader(_Pieces(pieces, source, missing), _BUFFER)


class _Pieces(io.RawIOBase):
    """A stream of pieces of any length; closing it closes what they come from."""

    def __init__(self, pieces: Iterator[bytes], source: BinaryIO, missing: list[Skipped]) -> None:
        self._pieces = pieces
        self._source = source
        self.missing = missing
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
            piece = None
            try:
                piece = next(self._pieces, None)
            except _TooLargeError as error:
                self.missing.append(Skipped("end", str(error)))
            except _DAMAGED as error:
                self.missing.append(Skipped("end", f"cut off or damaged: {error}"))
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        size = min(len(target), len(self._rest))
        target[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
