"""Whole documents in a piece of text that is none: half of a line and the next one glued to it,
two lines without an end between them, a list that was never closed.

Documents of one file begin alike, so that the beginning of one that was read shows where the next
may begin. Every place is tried until something is no JSON any more: once for each byte that is
read, but for a few that were torn themselves.
"""

import json
import re
from typing import Final

from msgspec import Struct

_OPENING: Final = re.compile(rb'\{\s*"(?:[^"\\]|\\.){1,64}"\s*:')
_BETWEEN: Final = b" \t\r\n,[]"
"""What may stand between documents without anything being lost."""
_DECODER: Final = json.JSONDecoder()
_MOST_TORN: Final = 64
_LONGEST: Final = 1 << 26


class Whole(Struct, frozen=True, gc=False):
    """The documents in a torn piece, and whether anything was lost beside them."""

    documents: list[bytes]
    is_all: bool


def opening_of(document: bytes) -> bytes:
    """Reads how `document` begins, up to the name of its first field; empty if it is no object.

    Less than that may come before it, of an object that was torn at once.
    """
    found = _OPENING.search(document[:128])
    if found is None:
        return b""
    before = document[: found.start()].strip(b" \t\r\n[")
    return found[0] if len(before) < len(found[0]) else b""


def whole_documents(data: bytes, known: bytes) -> Whole:
    """Finds what is whole in `data`, in which documents begin like `known` or like the first of
    its own."""
    opening = known or opening_of(data)
    if not opening or len(data) > _LONGEST:
        return Whole([], is_all=False)
    pattern = re.compile(re.escape(opening))
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return Whole([], is_all=False)
    plain = len(text) == len(data)
    found: list[bytes] = []
    at = torn = 0
    is_all = True
    while (begun := pattern.search(data, at)) is not None and torn < _MOST_TORN:
        start = begun.start()
        is_all = is_all and not data[at:start].strip(_BETWEEN)
        try:
            first = start if plain else len(data[:start].decode())
            _, last = _DECODER.raw_decode(text, first)
        except (ValueError, RecursionError):
            torn += 1
            is_all = False
            at = begun.end()
            continue
        at = last if plain else start + len(text[first:last].encode())
        found.append(data[start:at])
    return Whole(found, is_all and not data[at:].strip(_BETWEEN))
