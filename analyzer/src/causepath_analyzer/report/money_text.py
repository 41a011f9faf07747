"""Where the money of a run went, for the terminal."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from rich.text import Text

from causepath_analyzer.analyses.money.carried import Carried
from causepath_analyzer.analyses.path.cost import Part
from causepath_analyzer.analyses.run import Run
from causepath_analyzer.model import NO_SPAN
from causepath_analyzer.report.formatting import (
    count,
    duration,
    fitted,
    harmless,
    money,
    percent,
)

_WORDS: Final[Mapping[str, tuple[Part, ...]]] = {
    "uncached input": ("uncached_input",),
    "cache writes": ("cache_write", "cache_write_1h"),
    "cache reads": ("cache_read",),
    "output": ("output",),
    "reasoning": ("reasoning",),
    "server tools": ("server_tools",),
    "the calls themselves": ("call",),
}
_MOST_CARRIED: Final = 3
_LEAST_USD: Final = Decimal("0.01")
_LEAST_PART: Final = 10
"""What was carried is shown if it cost a cent, and one part in so many of the run."""


def money_text(run: Run) -> list[Text]:
    """Writes where the money of `run` went; nothing where no call has a price."""
    spent = run.money
    if spent is None or not spent.usd:
        return []
    cost = "at least" if run.is_lower_bound else "cost"
    lines = [
        Text(f"{'Where the money went':<29}{cost:>10}{'share':>8}{'tokens':>12}", style="title")
    ]
    for label, parts in _WORDS.items():
        amounts = [spent.parts[part] for part in parts if part in spent.parts]
        usd = sum((one.usd for one in amounts), Decimal(0))
        number = sum(one.count for one in amounts)
        if not usd:
            continue
        counted = f"{number:,}"
        if parts == ("server_tools",):
            label, counted = f"{label} ({count(number, 'search', 'searches')})", ""
        elif parts == ("call",):
            label, counted = f"{label} ({number:,})", ""
        share = percent(float(usd / spent.usd))
        lines.append(Text(f"  {label:<27}{money(usd):>10}{share:>8}{counted:>12}".rstrip()))
    return [*lines, *_carried(run, spent.usd, spent.carried)]


def _carried(run: Run, whole: Decimal, carried: tuple[Carried, ...]) -> list[Text]:
    """Shows what later calls carried along, where that is much of the money."""
    known = [(one, one.usd) for one in carried if one.usd]
    together = sum((usd for _, usd in known), Decimal(0))
    if together < _LEAST_USD or together * _LEAST_PART < whole:
        return []
    title = "  of it carried, estimated"
    lines = [Text(f"{title:<29}{money(together):>10}{percent(float(together / whole)):>8}")]
    for one, usd in known[:_MOST_CARRIED]:
        times = f" {one.calls:,}x"
        label = fitted(_named(run, one), 25 - len(times)).rstrip() + times
        row = f"    {label:<25}{money(usd):>10}{percent(float(usd / whole)):>8}{one.tokens:>12,}"
        if one.first_token_ns:
            row += f"  first tokens {duration(one.first_token_ns)}"
        lines.append(Text(row, style="note"))
    return lines


def _named(run: Run, one: Carried) -> str:
    if one.what == "system":
        return "system prompt"
    if one.what == "tools":
        return "tool definitions"
    if one.span == NO_SPAN:
        return "a tool's result"
    tool = run.trace.spans[one.span]
    return f"result of {harmless((tool.tool_call and tool.tool_call.name) or tool.name)}"
