"""Other people's words in Markdown: shown as they are, whatever they contain."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from causepath_analyzer.report.formatting import harmless

# A low line inside of a word formats nothing, and names are full of them.
_SIGNS: Final = re.compile(r"([\\`*{}\[\]<>|#&~$]|(?<![^\W_])_|_(?![^\W_]))")
# GitHub links addresses by these, backslash or not where a name or a number follows.
_ADDRESS: Final = re.compile(r"(?i)\b(https?|ftp|mailto|xmpp)(:)|\b(www)(\.)")
_MENTION: Final = re.compile(r"(@|\\#)(?=\w)")
_NOBODY: Final = r"\1<!-- -->"
_TICKS: Final = re.compile("`+")
_CUT: Final = "\n\n(cut off: {})\n"


def escaped(text: str) -> str:
    """`text` as prose on one line: it formats nothing, links to nothing, and mentions nobody."""
    safe = _SIGNS.sub(r"\\\1", harmless(text))
    safe = _ADDRESS.sub(lambda found: "\\".join(filter(None, found.groups())), safe)
    return _MENTION.sub(_NOBODY, safe)


def code(text: str) -> str:
    """`text` on one line, as code."""
    safe = harmless(text)
    fence = "`" * (_longest_ticks(safe) + 1)
    pad = " " if safe.strip("` ") != safe or not safe else ""
    return f"{fence}{pad}{safe}{pad}{fence}"


def cell(text: str) -> str:
    """`text` as code in a table, where a bar ends a cell even in code."""
    return code(text).replace("|", "\\|")


def row(cells: Sequence[str]) -> str:
    """Writes a row of a table from `cells`, which are Markdown."""
    return f"| {' | '.join(cells)} |"


def block(lines: Iterable[str]) -> list[str]:
    """`lines`, which are harmless, as they are, between two fences."""
    kept = [line.rstrip() for line in lines]
    fence = "`" * max(3, max(map(_longest_ticks, kept), default=0) + 1)
    return [f"{fence}text", *kept, fence]


def _longest_ticks(text: str) -> int:
    return max(map(len, _TICKS.findall(text)), default=0)


def within(text: str, most: int, see: str) -> str:
    """`text`, or of more than `most` bytes the first lines, and what to `see` for the rest."""
    if len(text.encode()) <= most:
        return text
    end = _CUT.format(see)
    if most < len(end.encode()):
        return ""
    cut = text.encode()[: most - len(end.encode())].decode(errors="ignore")
    return cut[: cut.rfind("\n") + 1] + end
