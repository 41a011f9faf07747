"""Where the money of a run went, as the few rows that people read."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, Literal

from msgspec import Struct

from causepath_analyzer.analyses.money.carried import Carried, What
from causepath_analyzer.analyses.money.spent import Money
from causepath_analyzer.analyses.path.cost import Part
from causepath_analyzer.model import NO_SPAN, Trace

Billed = Literal[
    "uncached_input", "cache_writes", "cache_reads", "output", "reasoning", "server_tools", "calls"
]
_BILLED: Final[Mapping[Billed, tuple[Part, ...]]] = {
    "uncached_input": ("uncached_input",),
    "cache_writes": ("cache_write", "cache_write_1h"),
    "cache_reads": ("cache_read",),
    "output": ("output",),
    "reasoning": ("reasoning",),
    "server_tools": ("server_tools",),
    "calls": ("call",),
}
_MOST_CARRIED: Final = 3
_LEAST_USD: Final = Decimal("0.01")
_LEAST_PART: Final = 10
"""What was carried is shown if it cost a cent, and one part in so many of the run."""


class MoneyRow(Struct, frozen=True):
    """The cost of one way to be billed, for a ``count`` of tokens, searches or calls."""

    billed: Billed
    usd: Decimal
    share: float
    count: int


class CarriedRow(Struct, frozen=True):
    """The cost of something that ``calls`` later calls carried along; ``tool`` is the name of the
    tool whose result it is, ``None`` where that is not known or it is none."""

    what: What
    tool: str | None
    usd: Decimal
    share: float
    calls: int
    tokens: int
    first_token_ns: int | None


class MoneyRows(Struct, frozen=True):
    """The rows of what costs something. What was carried is a part of them: all of it together,
    ``None`` where that is little, and the most expensive of it."""

    rows: tuple[MoneyRow, ...]
    carried_usd: Decimal | None
    carried_share: float
    carried: tuple[CarriedRow, ...]


def money_rows(spent: Money | None, trace: Trace) -> MoneyRows | None:
    """Makes the rows of what was `spent` in `trace`; ``None`` where nothing is known to cost
    something."""
    if spent is None or not spent.usd:
        return None
    rows = []
    for billed, parts in _BILLED.items():
        amounts = [spent.parts[part] for part in parts if part in spent.parts]
        usd = sum((one.usd for one in amounts), Decimal(0))
        if usd:
            count = sum(one.count for one in amounts)
            rows.append(MoneyRow(billed, usd, float(usd / spent.usd), count))
    known = [(one, one.usd) for one in spent.carried if one.usd]
    together = sum((usd for _, usd in known), Decimal(0))
    if together < _LEAST_USD or together * _LEAST_PART < spent.usd:
        return MoneyRows(tuple(rows), None, 0.0, ())
    return MoneyRows(
        tuple(rows),
        together,
        float(together / spent.usd),
        tuple(
            CarriedRow(
                what=one.what,
                tool=_tool(trace, one),
                usd=usd,
                share=float(usd / spent.usd),
                calls=one.calls,
                tokens=one.tokens,
                first_token_ns=one.first_token_ns,
            )
            for one, usd in known[:_MOST_CARRIED]
        ),
    )


def _tool(trace: Trace, one: Carried) -> str | None:
    if one.span == NO_SPAN or one.what != "tool_result":
        return None
    tool = trace.spans[one.span]
    return (tool.tool_call and tool.tool_call.name) or tool.name
