"""Where the money of a run went, for the terminal."""

from collections.abc import Mapping
from typing import Final

from rich.text import Text

from causepath_analyzer.analyses.money.money_rows import Billed, CarriedRow, MoneyRows
from causepath_analyzer.report.formatting import (
    count,
    duration,
    fitted,
    harmless,
    money,
    percent,
)

_WORDS: Final[Mapping[Billed, str]] = {
    "uncached_input": "uncached input",
    "cache_writes": "cache writes",
    "cache_reads": "cache reads",
    "output": "output",
    "reasoning": "reasoning",
    "server_tools": "server tools",
    "calls": "the calls themselves",
}


def money_text(spent: MoneyRows | None, *, at_least: bool) -> list[Text]:
    """Writes where the money of a run went; nothing where no call has a price."""
    if spent is None:
        return []
    cost = "at least" if at_least else "cost"
    lines = [
        Text(f"{'Where the money went':<29}{cost:>10}{'share':>8}{'tokens':>12}", style="title")
    ]
    for row in spent.rows:
        label, counted = _WORDS[row.billed], f"{row.count:,}"
        if row.billed == "server_tools":
            label, counted = f"{label} ({count(row.count, 'search', 'searches')})", ""
        elif row.billed == "calls":
            label, counted = f"{label} ({row.count:,})", ""
        cells = f"{money(row.usd):>10}{percent(row.share):>8}{counted:>12}"
        lines.append(Text(f"  {label:<27}{cells}".rstrip()))
    return [*lines, *_carried(spent)]


def _carried(spent: MoneyRows) -> list[Text]:
    """Shows what later calls carried along, where that is much of the money."""
    if spent.carried_usd is None:
        return []
    title = "  of it carried, estimated"
    lines = [Text(f"{title:<29}{money(spent.carried_usd):>10}{percent(spent.carried_share):>8}")]
    for one in spent.carried:
        times = f" {one.calls:,}x"
        label = fitted(_named(one), 25 - len(times)).rstrip() + times
        row = f"    {label:<25}{money(one.usd):>10}{percent(one.share):>8}{one.tokens:>12,}"
        if one.first_token_ns:
            row += f"  first tokens {duration(one.first_token_ns)}"
        lines.append(Text(row, style="note"))
    return lines


def _named(one: CarriedRow) -> str:
    if one.what == "system":
        return "system prompt"
    if one.what == "tools":
        return "tool definitions"
    return "a tool's result" if one.tool is None else f"result of {harmless(one.tool)}"
