"""What the bytes of a reply say, for an application that forwards them without parsing them.

They are looked at as they pass, in pieces of any size, and nothing but an unfinished piece is kept.
"""

from __future__ import annotations

import base64
import json
import sys
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MAX_BYTES = 8_000_000
"""Nothing is known of a longer event, nor of what follows it, nor of a longer document."""

PIECE_BYTES = 65_536
"""So much is decompressed at a time, so that a small body cannot fill the memory."""

FRAME_PRELUDE, FRAME_CHECKSUM = 12, 4
"""Bytes of a frame of `application/vnd.amazon.eventstream`."""


class Body:
    """The body of one response: server-sent events, or a JSON document."""

    def __init__(self, headers: Mapping[str, str], on_event: Callable[[bytes], None]) -> None:
        kind = headers.get("content-type", "")
        self._on_event = on_event
        self._decoded = _decoder(headers.get("content-encoding", ""))
        self._is_json = "json" in kind
        self._split = None
        if self._is_json:
            self._split = self._keep
        elif "text/event-stream" in kind:
            self._split = self._lines
        elif "vnd.amazon.eventstream" in kind:
            self._split = self._frames
        self._rest: list[bytes] = []
        """What has come since the last whole line or frame, or all of a JSON document."""
        self._size = 0
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> None:
        """The application is about to get `piece`."""
        if self._split is None or self._decoded is None:
            return
        try:
            for decoded in self._decoded(piece):
                self._split(decoded)
        except (zlib.error, ValueError, OverflowError):
            self._split = None
            self._rest.clear()
            self._data.clear()

    def document(self) -> bytes | None:
        """The JSON document, as far as it has come."""
        return b"".join(self._rest) if self._is_json and self._split is not None else None

    def close(self) -> None:
        """Stops telling, and lets go of the listener."""
        self._split = self._decoded = None
        self._on_event = _nobody
        self._rest.clear()
        self._data.clear()

    def _lines(self, piece: bytes) -> None:
        first, *others = piece.split(b"\n")
        self._keep(first)
        for other in others:
            self._line(b"".join(self._rest).rstrip(b"\r"))
            self._rest.clear()
            self._keep(other)

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > MAX_BYTES:
            raise OverflowError(MAX_BYTES)
        self._rest.append(piece)

    def _frames(self, piece: bytes) -> None:
        """Bedrock's own framing: lengths of all and of the headers, a checksum, headers, payload,
        a checksum. The payload is JSON with the event in base64."""
        self._keep(piece)
        data = b"".join(self._rest)
        while len(data) >= FRAME_PRELUDE and len(data) >= (size := int.from_bytes(data[:4], "big")):
            start = FRAME_PRELUDE + int.from_bytes(data[4:8], "big")
            if size < start + FRAME_CHECKSUM:
                raise ValueError("no frame")
            event = json.loads(data[start : size - FRAME_CHECKSUM] or b"{}").get("bytes")
            if isinstance(event, str):
                self._on_event(base64.b64decode(event))
            data = data[size:]
        self._rest[:] = [data]
        self._size = len(data)

    def _line(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            self._data.append(line[5:].strip())
        elif not line:
            self._size = 0
            if self._data:
                data = b"\n".join(self._data)
                self._data.clear()
                self._on_event(data)


def _nobody(data: bytes) -> None: ...


def _decoder(encoding: str) -> Callable[[bytes], Iterator[bytes]] | None:
    """Returns a function that undoes the `content-encoding`, if it is a known one."""
    match encoding.strip().lower():
        case "" | "identity":
            return lambda piece: iter((piece,))
        case "gzip" | "x-gzip" | "deflate":
            return _inflated(zlib.decompressobj(zlib.MAX_WBITS | 32))
        case "br":
            return _brotli(_imported("brotli", "brotlicffi"))
        case "zstd":
            return _zstd(_imported("compression.zstd", "backports.zstd"))
        case _:
            return None


def _imported(*names: str) -> Any:
    """The first of these modules that the client, who asked for the encoding, has imported."""
    return next((found for name in names if (found := sys.modules.get(name))), None)


def _inflated(inflate: zlib._Decompress) -> Callable[[bytes], Iterator[bytes]]:
    def decoded(piece: bytes) -> Iterator[bytes]:
        while piece:
            yield inflate.decompress(piece, PIECE_BYTES)
            piece = inflate.unconsumed_tail

    return decoded


def _brotli(brotli: Any) -> Callable[[bytes], Iterator[bytes]] | None:
    if brotli is None:
        return None
    decompressor = brotli.Decompressor()
    process = getattr(decompressor, "process", None) or decompressor.decompress

    def decoded(piece: bytes) -> Iterator[bytes]:
        try:
            # Releases that know no limit raise a `TypeError`.
            found = process(piece, output_buffer_limit=PIECE_BYTES)
            while found:
                yield found
                found = process(b"", output_buffer_limit=PIECE_BYTES)
        except (brotli.error, TypeError) as error:
            raise ValueError("no brotli") from error

    return decoded


def _zstd(zstd: Any) -> Callable[[bytes], Iterator[bytes]] | None:
    if zstd is None:
        return None
    decompressor = zstd.ZstdDecompressor()

    def decoded(piece: bytes) -> Iterator[bytes]:
        nonlocal decompressor
        try:
            while piece or not decompressor.needs_input:
                if decompressor.eof:  # one frame may follow another
                    piece = decompressor.unused_data + piece
                    decompressor = zstd.ZstdDecompressor()
                    if not piece:
                        return
                yield decompressor.decompress(piece, PIECE_BYTES)
                piece = b""
        except zstd.ZstdError as error:
            raise ValueError("no zstd") from error

    return decoded
