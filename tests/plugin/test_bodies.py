"""Bytes of a reply that the application forwards: what is known of them, whatever their pieces."""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from typing import Any

import brotli
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causepath.replies import reply_bytes
from causepath.replies.reply_bytes import Body
from tests.support.wire import Event

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

EVENTS = [
    Event("message_start", {"type": "message_start", "text": "é\u2028"}),
    Event("ping", {"type": "ping"}),
    Event("message_stop", {"type": "message_stop"}),
]
SSE = {"content-type": "text/event-stream; charset=utf-8"}
FRAMES = {"content-type": "application/vnd.amazon.eventstream"}
GZIP = {**SSE, "content-encoding": "gzip"}
BROTLI = {**SSE, "content-encoding": "br"}
ZSTD = {**SSE, "content-encoding": "zstd"}
DATA = [json.dumps(event.data).encode() for event in EVENTS]

PLAIN = b": a comment\n" + b"".join(event.encode() for event in EVENTS)
BODIES = {
    "lines": (SSE, PLAIN),
    "lines of windows": (SSE, PLAIN.replace(b"\n", b"\r\n")),
    "gzip": (GZIP, gzip.compress(PLAIN)),
    "deflate": ({**SSE, "content-encoding": "deflate"}, zlib.compress(PLAIN)),
    "brotli": (BROTLI, brotli.compress(PLAIN)),
    "zstd": (ZSTD, zstd.compress(PLAIN)),
    "zstd in frames": (ZSTD, zstd.compress(PLAIN[:100]) + zstd.compress(PLAIN[100:])),
    "frames": (FRAMES, b"".join(event.frame() for event in EVENTS)),
}


def told(headers: dict[str, str], pieces: list[bytes]) -> list[bytes]:
    found: list[bytes] = []
    body = Body(headers, found.append)
    for piece in pieces:
        body.feed(piece)
    return found


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted(place % (len(data) + 1) for place in places)
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]


@pytest.mark.parametrize("name", BODIES)
@given(places=st.lists(st.integers(0, 2000), max_size=40))
@settings(max_examples=30, deadline=None)
def test_pieces_of_any_size_tell_the_same(name: str, places: list[int]) -> None:
    headers, data = BODIES[name]
    assert told(headers, cut(data, places)) == DATA


@given(
    st.sampled_from([SSE, FRAMES, GZIP, ZSTD, BROTLI, {"content-type": "application/json"}]),
    st.binary(),
)
@settings(max_examples=200, deadline=None)
def test_whatever_the_bytes_are_nothing_is_raised(headers: dict[str, str], data: bytes) -> None:
    told(headers, [data, data])


def test_what_is_no_text_or_of_unknown_encoding_tells_nothing() -> None:
    assert told({"content-type": "image/png"}, [PLAIN]) == []
    assert told({**SSE, "content-encoding": "compress"}, [PLAIN]) == []


def test_no_more_is_kept_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply_bytes, "MAX_BYTES", 1000)
    endless = [b"data: " + b"x" * 400] * 10
    body = Body(SSE, lambda _: None)
    for piece in endless:
        body.feed(piece)
        assert sum(map(len, body._rest)) <= 1000
    assert told(SSE, [*endless, b"\n\n", PLAIN]) == []
    assert told(SSE, [b"data: x\n" * 200, b"\n", PLAIN]) == []
    assert told(FRAMES, [b"\x7f\xff\xff\xff", *endless]) == []
    document = Body({"content-type": "application/json"}, lambda _: None)
    document.feed(b"[" * 2000)
    assert document.document() is None


def test_a_long_stream_of_short_events_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply_bytes, "MAX_BYTES", 1000)
    for name in ("lines", "frames"):
        headers, data = BODIES[name]
        assert told(headers, [data] * 20) == DATA * 20


def test_a_frame_without_room_for_what_it_must_have_ends_it() -> None:
    _, whole = BODIES["frames"]
    for headers_bytes in (1, 2**32 - 1):
        bad = (16).to_bytes(4, "big") + headers_bytes.to_bytes(4, "big") + b"\0" * 8
        assert told(FRAMES, [whole, bad, whole]) == DATA


def test_a_document_is_whole_until_the_body_is_closed() -> None:
    body = Body({"content-type": "application/json"}, lambda _: None)
    for piece in (b'{"id":', b'"msg_1"}'):
        body.feed(piece)
    assert body.document() == b'{"id":"msg_1"}'
    body.close()
    assert body.document() is None
    body.feed(b"{}")
    assert body.document() is None


LARGE = b"data: " + b"x" * 100_000_000


@pytest.mark.parametrize(
    ("headers", "pack"),
    [
        (GZIP, lambda data: gzip.compress(data)),
        (BROTLI, lambda data: brotli.compress(data, quality=1)),
        (ZSTD, zstd.compress),
    ],
    ids=["gzip", "brotli", "zstd"],
)
def test_a_small_body_that_unpacks_to_a_large_one_is_left(headers: Any, pack: Any) -> None:
    body = Body(headers, lambda _: None)
    body.feed(pack(LARGE))
    assert body._split is None
    assert body._rest == []
