"""What the arguments of a tool name: paths, addresses, ids. Two tools that name one may meet there.

at:   what is named itself
in:   what it lies in, and what it is called there: /srv/shop/price.py in /srv/shop, as price.py
is:   any other short value, which may name something
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from causepath.content.plain_data import leaves_in

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_PLACES = 16
"""Of one call."""

MAX_TEXT = 4_096
"""Characters of one argument that are searched: what is to be written somewhere is no name."""

NAMES = frozenset(
    {
        "path", "file", "filename", "dir", "directory", "folder", "url", "uri", "address",
        "email", "to", "key", "id", "table", "account", "user", "repo", "branch", "channel",
        "bucket", "queue", "topic",
    }
)  # fmt: skip
"""Arguments whose values name something whatever they look like."""

PART = re.compile(r"[^\s\"'`(),;<>|&=\[\]{}]+")
AROUND = re.compile(r"^(?:[:!?]|\.{3,}(?![./\\]))+|(?<![/\\.:!?])[.:!?]+$")
"""Punctuation around a word. The dots that ``./a``, ``../a`` and ``.a`` begin with are theirs."""

FILE = re.compile(r"\.?[\w-]*\w\.[A-Za-z]\w{0,5}")
DATE = re.compile(
    r"\d{4}-\d\d(-\d\d)?(T[\d:.Z+-]+)?|\d\d?:\d\d(:\d\d)?|[\d.,]{1,2}|\d+[.,]\d+|\d+/\d+"
)
DAY = re.compile(r"\d{4}-\d\d-\d\d")


def places_in(arguments: object) -> list[str]:
    """Lists what `arguments` name, each with how."""
    found: dict[str, None] = {}
    for name, value in leaves_in(arguments):
        text = str(value).strip()
        if not text or len(text) > MAX_TEXT:
            continue
        of = name.casefold()
        if of in NAMES or of.endswith(("_id", "_path", "_file", "_url")):
            found[f"at:{_plain(text)}"] = None
        elif len(text) > 1 and len(text) <= 80 and not DATE.fullmatch(text):
            found[f"is:{text.casefold()}"] = None
        for part in PART.findall(text):
            found.update(dict.fromkeys(_named(AROUND.sub("", part))))
        if len(found) >= MAX_PLACES:
            break
    return list(found)[:MAX_PLACES]


def _named(part: str) -> Iterator[str]:
    if DATE.fullmatch(part) or not part:
        return
    place = _plain(part)
    if "/" in (part.rstrip("/") or part) or "\\" in part:
        yield f"at:{place}"
        parts = place.replace("\\", "/").split("/")
        if len(parts) > 1 and parts[-1] and "://" not in place:
            yield f"in:{parts[-1]}"
        for end in range(len(parts) - 1, max(0, len(parts) - 5), -1):
            above = "/".join(parts[:end])
            if above and not above.endswith((":", ":/")):
                yield f"in:{above}"
    elif "@" in place or FILE.fullmatch(place) or _is_id(place):
        yield f"at:{place}"


def _is_id(part: str) -> bool:
    return len(part) > 2 and any(map(str.isdigit, part)) and not DAY.match(part)


def _plain(text: str) -> str:
    r"""Writes a place in one way: `./a`, `b/../a` and `b\..\a` are `a`.

    Only what surely is above is left out: not a drive or a host, nor another `..`. Where a
    backslash comes first, it may be no separator but an escape.
    """
    place = text.rstrip("/").partition("#")[0] or text
    if "://" in place or place[0] == "\\" or not ("/" in place or "\\" in place):
        return place
    root = "/" if place[0] == "/" else ""
    kept: list[str] = []
    for part in place.replace("\\", "/").split("/"):
        if part == ".." and kept and kept[-1] != ".." and ":" not in kept[-1]:
            kept.pop()
        elif part not in ("", ".") and not (part == ".." and root and not kept):
            kept.append(part)
    return root + "/".join(kept) or "."
