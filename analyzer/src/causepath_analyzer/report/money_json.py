"""Where the money of a run went, as JSON: costs are decimal strings, what is not known is null."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from msgspec import Struct

from causepath_analyzer.analyses.money.carried import Carried, What
from causepath_analyzer.analyses.path.cost import Basis, Part
from causepath_analyzer.analyses.run import Run
from causepath_analyzer.model import NO_SPAN


class _Part(Struct):
    """``count`` is of tokens, of searches for ``server_tools``, and of calls for ``call``."""

    part: Part
    usd: str
    share: float
    count: int


class _Call(Struct):
    span_id: str
    usd: str | None
    parts: Mapping[Part, str]


class _Share(Struct):
    by: str
    key: str
    usd: str | None
    calls: int
    unpriced: int


class _Carried(Struct):
    what: What
    tool: str | None
    span_id: str | None
    """The tool whose result it is."""
    first_span_id: str
    """The model call that sent it first."""
    bytes: int
    calls: int
    """The later calls that carried it, over which all that follows is summed up, and estimated."""
    tokens: int
    cached_tokens: int
    usd: str | None
    first_token_ns: int | None


class MoneyTold(Struct):
    at_least: bool
    """Something was not counted, or has no price."""
    basis: Basis
    parts: Sequence[_Part]
    calls: Sequence[_Call]
    shares: Sequence[_Share]
    carried: Sequence[_Carried]


def priced_share_told(share: float) -> float:
    """Rounds the share of tokens that has a price: only all of them are 1."""
    return 1.0 if share >= 1 else min(round(share, 4), 0.9999)


def usd_told(value: Decimal) -> str:
    """Writes US dollars as a decimal string."""
    return f"{value.normalize():f}"


def money_told(run: Run) -> MoneyTold | None:
    """Writes where the money of `run` went; ``None`` where nothing has a price."""
    money = run.money
    if money is None:
        return None
    spans = run.trace.spans
    return MoneyTold(
        at_least=run.is_lower_bound,
        basis=run.cost.basis,
        parts=[
            _Part(part, usd_told(one.usd), round(float(one.usd / money.usd), 4), one.count)
            for part, one in money.parts.items()
        ],
        calls=[
            _Call(
                spans[one.span].span_id,
                _known(one.usd),
                {part: usd_told(usd) for part, usd in one.parts.items()},
            )
            for one in money.calls
        ],
        shares=[
            _Share(one.by, one.key, _known(one.usd), one.calls, one.unpriced)
            for one in money.shares
        ],
        carried=[_carried(run, one) for one in money.carried],
    )


def _carried(run: Run, one: Carried) -> _Carried:
    spans = run.trace.spans
    tool = None if one.span == NO_SPAN else spans[one.span]
    return _Carried(
        what=one.what,
        tool=None if tool is None else (tool.tool_call and tool.tool_call.name) or tool.name,
        span_id=None if tool is None else tool.span_id,
        first_span_id=spans[one.first].span_id,
        bytes=one.size,
        calls=one.calls,
        tokens=one.tokens,
        cached_tokens=one.cached_tokens,
        usd=_known(one.usd),
        first_token_ns=one.first_token_ns,
    )


def _known(usd: Decimal | None) -> str | None:
    return None if usd is None else usd_told(usd)
