"""How numbers and other people's words are written in text reports."""

import os
import re
import shlex
import unicodedata
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

from rich.cells import cell_len, set_cell_size

from causepath_analyzer.analyses.findings.rule import Saving
from causepath_analyzer.ids import shown_id

_PLAIN: Final = re.compile(r"[ -~]*\Z")
# Format characters can reorder or hide text (bidi overrides, zero-width); separators break lines.
_HARMFUL: Final = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))

_MS: Final = 1_000_000
_SECOND: Final = 1_000_000_000
_MINUTE: Final = 60 * _SECOND
_DATED: Final = 10**9 * _SECOND // 2
_LAST_DATE: Final = 10**10 * _SECOND


def harmless(text: str, *, ascii_only: bool = False) -> str:
    """`text` on one line, with everything that could steer a terminal written as an escape."""
    if _PLAIN.match(text):
        return text
    return "".join(_visible(char, ascii_only) for char in text)


def _visible(char: str, ascii_only: bool) -> str:
    code = ord(char)
    if 0x20 <= code < 0x7F:
        return char
    if ascii_only or unicodedata.category(char) in _HARMFUL:
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    return char


def fitted(text: str, width: int) -> str:
    """`text`, which is harmless, cut or padded to exactly `width` columns."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, width - 2) + ".."


def duration(ns: int) -> str:
    """Formats a duration in at most seven characters: "0ns", "512ms", "18.42s", "42m07s",
    "123h"."""
    if ns < 0:
        return f"-{duration(-ns)}"
    if ns < 1_000:
        return f"{ns}ns"
    if ns < 1_000_000:
        return f"{ns / 1_000:.0f}us" if ns >= 9_950 else f"{ns / 1_000:.1f}us"
    if ns < 10 * _MS:
        return f"{ns / _MS:.1f}ms"
    if ns < 999_500_000:
        return f"{ns / _MS:.0f}ms"
    if ns < 1_000 * _SECOND:
        return f"{ns / _SECOND:.2f}s" if ns < 100 * _SECOND else f"{ns / _SECOND:.1f}s"
    minutes, rest = divmod(ns, _MINUTE)
    if minutes < 100:
        return f"{minutes}m{rest // _SECOND:02d}s"
    hours = ns / (60 * _MINUTE)
    return f"{hours:.1f}h" if hours < 1000 else f"{hours:.0f}h"


def alike(ns: int, whole_ns: int) -> str:
    """Writes a part of `whole_ns` in the unit of the whole: "0.50s" of five seconds."""
    if not _SECOND <= whole_ns < 1_000 * _SECOND or not 0 < ns < _SECOND:
        return duration(ns)
    return "<0.01s" if ns < 5 * _MS else f"{ns / _SECOND:.2f}s"


def moment(ns: int) -> str:
    """Writes when something was, as a clock on the wall here shows it: "2026-11-28 10:55:12". Empty
    where times do not count from 1970, or nobody knows."""
    if not _DATED < ns < _LAST_DATE:
        return ""
    return datetime.fromtimestamp(ns // _SECOND).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def hours(ns: int) -> str:
    """A sum over many runs: like `duration`, but in hours from the first hour on."""
    return duration(ns) if ns < 60 * _MINUTE else f"{ns / (60 * _MINUTE):,.1f} h"


def percent(share: float) -> str:
    """ "24%"; what is there but rounds to nothing is "<1%"."""
    told = f"{share:.0%}"
    return "<1%" if share > 0 and told == "0%" else told


def percent_of_all(share: float) -> str:
    """ "24%" of what could be all: what lacks a little of that is ">99%"."""
    told = percent(share)
    return ">99%" if share < 1 and told == "100%" else told


def money(usd: Decimal) -> str:
    """ "$0.214": three significant digits below a dollar, cents above."""
    if usd >= 1:
        return f"${usd:,.2f}"
    if usd == 0:
        return "$0"
    places = 2 - usd.adjusted()
    return f"${usd:.{min(places, 9)}f}"


def saved(saving: Saving, runs: int = 1) -> str:
    """Writes the time that each of `runs` saves, else the money, else the tokens."""
    if saving.ns is not None:
        return duration(saving.ns // runs)
    if saving.usd is not None:
        return money(saving.usd / runs)
    return "" if saving.tokens is None else f"{saving.tokens // runs:,} tok"


def count(number: int, what: str, many: str | None = None) -> str:
    """ "1 span", "12,480 spans"."""
    return f"{number:,} {what if number == 1 else many or what + 's'}"


def short_id(trace_id: str, among: int = 8) -> str:
    """Enough of a trace id to pick it with ``--trace``: the first `among` characters."""
    return harmless(shown_id(trace_id)[:among])


def tail_of_path(path: str, width: int) -> str:
    """`path` without as many leading folders as it takes to fit into `width` columns."""
    while cell_len(path) > width and "/" in path:
        path = path.partition("/")[2]
    return path


def near(place: str) -> str:
    """`place`, which begins with the path of a file, as seen from here if it lies below."""
    return place.removeprefix(str(Path.cwd()) + os.sep)


def shell(path: str) -> str:
    """`path` as it can be pasted into a shell."""
    return harmless(shlex.quote(path))
