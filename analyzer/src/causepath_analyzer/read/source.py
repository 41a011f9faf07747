"""Opens what the user named: files, folders, standard input; plain, gzip or zstd.

Which of these a file is, is told from its first bytes, never from its name.
"""

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, cast

from causepath_analyzer.errors import UnreadableInputError

STDIN: Final = "-"
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_BUFFER: Final = 1 << 20

DAMAGED: Final[tuple[type[Exception], ...]] = (EOFError, OSError, zlib.error)
"""What reading damaged compressed data raises (zstd's own error is turned into `OSError`)."""


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


def open_source(path: str) -> BinaryIO:
    """A stream of the unpacked bytes of the file `path`, or of standard input for ``-``.

    Raises `UnreadableInputError`, saying why, if it cannot be opened.
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
    return unpacked(raw)


def unpacked(raw: io.BufferedReader) -> BinaryIO:
    """`raw` itself, or what comes out of it if it is compressed."""
    magic = raw.peek(4)[:4]
    if magic.startswith(_GZIP):
        return cast("BinaryIO", io.BufferedReader(_Gzip(raw), _BUFFER))
    if magic == _ZSTD:
        return cast("BinaryIO", io.BufferedReader(_Zstd(raw), _BUFFER))
    return raw


class _Gzip(gzip.GzipFile):
    """A gzip stream that closes the file below it, too."""

    def __init__(self, raw: BinaryIO) -> None:
        super().__init__(fileobj=raw)
        self._raw = raw

    def close(self) -> None:
        super().close()
        self._raw.close()


class _Zstd(io.RawIOBase):
    """A zstd stream, of any number of frames, that raises `OSError` where it is damaged."""

    def __init__(self, raw: BinaryIO) -> None:
        import zstandard  # only users of zstd wait for it

        self._raw = raw
        self._error = zstandard.ZstdError
        self._reader = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        try:
            return int(self._reader.readinto(buffer))
        except self._error as error:
            raise OSError(str(error)) from None

    def close(self) -> None:
        super().close()
        self._raw.close()
