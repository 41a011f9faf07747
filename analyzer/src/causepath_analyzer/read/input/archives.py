"""Opens archives (tar and zip) as the files in them, one after the other.

An archive is recognised by its first bytes, as everything else is. Nothing is unpacked onto the
disk. All its files together give at most so many bytes as any compressed input may, and what is
damaged, encrypted, cut off or an archive itself becomes a `Skipped`: never a file less without a
word.
"""

import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final

from msgspec import Struct

from causepath_analyzer.model import Skipped
from causepath_analyzer.read.input.source import Room, bounded_pieces, unpacked

_BLOCK: Final = 512
_CHECKSUM: Final = slice(148, 156)
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_MOST_FILES: Final = 100_000
_LONGEST_HEADER: Final = 1 << 20
"""Headers of tar are held in memory; a longer one is no name of a file."""
_IN_MEMORY: Final = 1 << 24
_CUT_OFF: Final = "the archive is cut off or damaged"


class File(Struct, frozen=True):
    """A file in an archive; ``stream`` gives what is in it, unpacked, until the next is asked for.

    ``packed`` is the same before it was unpacked.
    """

    name: str
    stream: BinaryIO
    packed: BinaryIO


def is_archive(stream: io.BufferedReader) -> bool:
    """Tells whether `stream` is at the start of a tar or zip archive."""
    try:
        head = stream.peek(_BLOCK)[:_BLOCK]
    except OSError:
        return False
    return head.startswith(_ZIP) or _is_tar(head)


def files_in(stream: io.BufferedReader, most_bytes: int) -> Iterator[File | Skipped]:
    """Gives the files in the archive `stream`, in their order, without folders and hidden files."""
    head = stream.peek(_BLOCK)[:_BLOCK]
    opened = _zip(stream, most_bytes) if head.startswith(_ZIP) else _tar(stream)
    room = Room(most_bytes)
    count = 0
    for found in opened:
        if isinstance(found, Skipped):
            yield found
            continue
        name, content = found
        if any(part.startswith(".") or part == "__MACOSX" for part in name.split("/") if part):
            continue
        count += 1
        if count > _MOST_FILES:
            yield Skipped("end", f"more than {_MOST_FILES:,} files: unpack the archive first")
            return
        packed = bounded_pieces(content, room)
        inside = unpacked(packed, most_bytes)
        if isinstance(inside, io.BufferedReader) and is_archive(inside):
            yield Skipped(name, "an archive in an archive: unpack it first")
            continue
        yield File(name, inside, packed)


def _is_tar(head: bytes) -> bool:
    """Tells by the sum of its bytes whether `head` is the header of a file in a tar archive."""
    if len(head) < _BLOCK or not head[0]:
        return False
    try:
        told = int(head[_CHECKSUM].strip(b" \0") or b"-", 8)
    except ValueError:
        return False
    return told == sum(head) - sum(head[_CHECKSUM]) + 8 * 0x20


Content = Iterator[bytes]


def _tar(stream: io.BufferedReader) -> Iterator[tuple[str, Content] | Skipped]:
    import tarfile  # only users of archives wait for it

    ends: list[bool] = []

    class Header(tarfile.TarInfo):
        """The header of a file, which leaves a word if no archive goes on with it."""

        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "Header":
            try:
                found = super().frombuf(buf, encoding, errors)
            except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
                ends.append(True)
                raise
            held = found.type not in tarfile.SUPPORTED_TYPES or found.type in (
                tarfile.GNUTYPE_LONGNAME,
                tarfile.GNUTYPE_LONGLINK,
            )
            if found.size < 0 or (held and found.size > _LONGEST_HEADER):
                raise tarfile.InvalidHeaderError("no size")  # type: ignore[attr-defined]
            return found

    damaged = (tarfile.TarError, EOFError, OSError, ValueError, RecursionError, zlib.error)
    try:
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=Header) as archive:
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # or they would pile up
                if member.isfile():
                    content = archive.extractfile(member)
                    assert content is not None
                    yield member.name, _read(content, damaged)
                elif member.islnk() or member.issym() or member.isdir() or member.isdev():
                    continue
                else:
                    yield Skipped(member.name, f"a tar entry of unknown type {member.type!r}")
    except damaged as error:
        yield Skipped("end", f"{_CUT_OFF}: {error}")
        return
    if not ends:
        yield Skipped("end", _CUT_OFF)


def _zip(stream: io.BufferedReader, most_bytes: int) -> Iterator[tuple[str, Content] | Skipped]:
    import tempfile
    import zipfile
    from lzma import LZMAError

    damaged = (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        LZMAError,
        zlib.error,
    )
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spooled:
        whole: BinaryIO = stream
        if not stream.seekable():
            # The list of the files is at the end.
            left = most_bytes
            while left > 0 and (piece := stream.read(min(left, _IN_MEMORY))):
                left -= len(piece)
                spooled.write(piece)
            spooled.seek(0)
            whole = spooled  # type: ignore[assignment]
        try:
            with zipfile.ZipFile(whole) as archive:
                for entry in archive.infolist():
                    if entry.is_dir():
                        continue
                    if entry.flag_bits & 1:
                        yield Skipped(entry.filename, "encrypted: unpack it first")
                        continue
                    try:
                        content = archive.open(entry)
                    except damaged as error:
                        yield Skipped(entry.filename, f"cannot be unpacked: {error}")
                        continue
                    with content:
                        yield entry.filename, _read(content, damaged)
        except damaged as error:
            yield Skipped("end", f"{_CUT_OFF}: {error}")


def _read(content: object, damaged: tuple[type[Exception], ...]) -> Content:
    """Gives what is in a file, in pieces. Raises `OSError` where it is damaged."""
    try:
        while piece := content.read(_IN_MEMORY >> 4):  # type: ignore[attr-defined]
            yield piece
    except damaged as error:
        raise OSError(str(error)) from None
