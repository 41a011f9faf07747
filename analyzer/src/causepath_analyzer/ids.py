"""Ids as OTLP has them: 16 bytes for a trace, 8 for a span."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

TRACE_BYTES: Final = 16
SPAN_BYTES: Final = 8
_PADDING: Final = "0" * 2 * SPAN_BYTES
"""What stands before a trace id of 8 bytes, as Zipkin and Jaeger have them."""


def shown_id(trace_id: str) -> str:
    """A trace id as people read and type it: one of 8 bytes without the zeros added before it."""
    if trace_id.startswith(_PADDING):
        return trace_id.lstrip("0") or "0"
    return trace_id


def begins_with(trace_ids: Iterable[str], start: str) -> Sequence[str]:
    """Those of `trace_ids` that begin with `start`, which may be written as a hex number; the one
    that is `start`, if it is there. Only if there is none, leading zeros do not count."""
    wanted = start.strip().lower().removeprefix("0x")
    every = [(trace_id, trace_id.lower(), shown_id(trace_id).lower()) for trace_id in trace_ids]
    exact = [it for it, *spelled in every if wanted in spelled]
    if len(exact) == 1:
        return exact
    found = [it for it, *spelled in every if any(s.startswith(wanted) for s in spelled)]
    number = wanted.lstrip("0")
    if found or not number:
        return found
    exact = [it for it, _, shown in every if shown.lstrip("0") == number]
    if len(exact) == 1:
        return exact
    return [it for it, _, shown in every if shown.lstrip("0").startswith(number)]


def id_bytes(text: str, size: int) -> bytes:
    """The id that `text` spells in hex; one of another form, as Langfuse has, is its digest."""
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) == size:
        return found
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=size).digest()
