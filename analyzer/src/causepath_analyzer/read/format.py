"""The rows that readers are: each says how a format is called, recognised and read.

A wire format is a set of types with its decoder compiled once. A reader takes bytes and gives
spans; opening, unpacking and cutting a file into documents is done before it, in
`input/source.py`, `input/archives.py` and `input/documents.py`. Broken input is no exception here:
it is a `Skipped` with its place and reason, and everything around it is still read.
"""

import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import BinaryIO

from msgspec import Struct

from causepath_analyzer.model import Skipped, Span

Found = Span | Skipped


class JsonFormat(Struct, frozen=True):
    """A format whose files are JSON documents: one, one per line, or one after the other.

    ``read(document, where)`` gives what is in one document (an object or a list), or ``None`` if
    the document is not of this format. It raises `msgspec.DecodeError` if it is no JSON.
    ``finish()`` gives what could not be told before all documents were seen.
    """

    name: str
    read: Callable[[bytes, str], Sequence[Found] | None]
    finish: Callable[[], Iterable[Found]] = tuple


class Repeats(Struct, frozen=True, gc=False):
    """The records of a trace that were left out because another trace has them, counted and
    named."""

    records: int
    note: str


class GatheredFormat(Struct, frozen=True):
    """A format whose documents mean something only together; every input begins anew.

    ``settle(spans)`` is called when all inputs were read. It takes out of the spans, by trace,
    what several traces tell of, and says so for each.
    """

    name: str
    begin: Callable[[], JsonFormat]
    settle: Callable[[dict[str, list[Span]]], Mapping[str, Repeats]] = lambda _: {}


class BinaryFormat(Struct, frozen=True):
    """A format that is no text.

    ``recognise(head)`` looks at the first bytes (at least 512 where the input has as many);
    ``read(stream, passed_over)`` reads to the end, and calls ``passed_over`` with what stood
    between the traces.
    """

    name: str
    recognise: Callable[[bytes], bool]
    read: Callable[[BinaryIO, Callable[[str], None]], Iterable[Found]]


def trace_id(raw: str) -> str:
    """`raw` as 32 lower-case hex digits, from hex of any case and length or from base64.

    Ids of other kinds (Langfuse, LangSmith) are kept as they are.
    """
    return _hex_id(raw, 32, 24)


def span_id(raw: str | None) -> str:
    """`raw` as 16 lower-case hex digits; empty for an absent or all-zero id."""
    if not raw:
        return ""
    found = _hex_id(raw, 16, 12)
    return "" if found == "0000000000000000" else found


def _hex_id(raw: str, width: int, base64_width: int) -> str:
    if len(raw) == base64_width and (raw[-1] == "=" or not _is_hex(raw)):
        try:
            return binascii.a2b_base64(raw, strict_mode=True).hex()
        except ValueError:
            return raw
    digits = raw[2:] if raw[:2] in ("0x", "0X") else raw
    if len(digits) == width:
        return digits.lower()
    return digits.lower().zfill(width) if len(digits) < width and _is_hex(digits) else raw


def _is_hex(text: str) -> bool:
    try:
        int(text, 16)
    except ValueError:
        return False
    return True
