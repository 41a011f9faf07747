"""What a run cost, estimated from its tokens with the price table of ``genai-prices``.

The table is imported when a cost is first asked for: it takes a quarter of a second. Prices are
list prices: batch discounts, regional surcharges and contracts are not in the traces.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from operator import mul
from typing import Final

from msgspec import Struct

from causepath_analyzer.analyses.path.usage import contradicts_itself
from causepath_analyzer.model import NO_TOKENS, ModelCall, Tokens

_PROVIDERS: Final[Mapping[str, str]] = {
    "anthropic": "anthropic",
    "openai": "openai",
    "aws.bedrock": "aws",
    "azure.ai.openai": "azure",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "mistral_ai": "mistral",
    "x_ai": "x-ai",
    "groq": "groq",
    "deepseek": "deepseek",
    "cohere": "cohere",
    "perplexity": "perplexity",
    "moonshot_ai": "moonshotai",
}
"""Values of ``gen_ai.provider.name`` -> ids of the price table."""


class Cost(Struct, frozen=True):
    """What calls cost. ``usd`` is of those whose price is known, ``None`` where none has one;
    ``share`` is their part of all tokens, and ``is_whole`` whether they are all of them."""

    usd: Decimal | None
    share: float
    is_whole: bool


NO_COST: Final = Cost(None, 0.0, is_whole=False)


def cost_usd(calls: Sequence[ModelCall], start_ns: int) -> Decimal | None:
    """The cost of `calls`, made at `start_ns`, in US dollars; ``None`` unless the price of every
    one of them is known."""
    cost = cost_of(calls, start_ns)
    return cost.usd if cost.is_whole else None


def cost_of(calls: Sequence[ModelCall], start_ns: int) -> Cost:
    """The cost of `calls`, made at `start_ns`.

    A call without a model or without token counts has no known price, and one with counts that
    contradict each other neither.
    """
    total = Decimal(0)
    day = _day(start_ns)
    missing = priced = unpriced = 0
    # What is priced by the token can be added up before: exact either way, and quicker.
    used: dict[tuple[str, str | None], list[int]] = {}
    for call in calls:
        tokens = call.tokens
        if tokens is None or tokens == NO_TOKENS:
            missing += 1
            continue
        count = tokens.input + tokens.output
        if call.model is None or contradicts_itself(tokens):
            unpriced += count
            continue
        if tokens.input > _LINEAR_UP_TO or tokens.output > _LINEAR_UP_TO:
            price = _listed(tokens, call.model, call.provider, day)
            if price is None:
                unpriced += count
            else:
                total += price
                priced += count
            continue
        cached = tokens.cache_read + tokens.cache_write
        sums = used.get((call.model, call.provider))
        if sums is None:
            sums = used[call.model, call.provider] = [0, 0, 0, 0, 0]
        sums[0] += tokens.input - cached
        sums[1] += tokens.output
        sums[2] += tokens.cache_read
        sums[3] += tokens.cache_write - tokens.cache_write_1h
        sums[4] += tokens.cache_write_1h
    for (model, provider), sums in used.items():
        rates = _rates(model, provider, day)
        if rates is None:
            unpriced += sum(sums)
        else:
            total += sum(map(mul, rates, sums), Decimal(0))
            priced += sum(sums)
    if not priced:
        return NO_COST
    return Cost(total, priced / (priced + unpriced), is_whole=not (missing or unpriced))


def _day(start_ns: int) -> datetime:
    """When to look up prices: on the day of the run, today for clocks that start at zero."""
    at = _moment(start_ns)
    # Prices change by the day at most.
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def _moment(start_ns: int) -> datetime:
    try:
        moment = datetime.fromtimestamp(start_ns / 1e9, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.now(UTC)
    return moment if moment.year >= 2020 else datetime.now(UTC)


_LINEAR_UP_TO: Final = 100_000
"""Tokens up to which every price is a rate per token; some models cost more beyond."""


_Rates = Sequence[Decimal]
"""US dollars per token: of input that no cache had, output, what was read from caches, and written
to short-lived and to long-lived ones."""


@lru_cache(maxsize=1024)
def _rates(model: str, provider: str | None, day: datetime) -> _Rates | None:
    """The rates of `model`; looking one call up in the table takes as long as reading 50 spans."""
    much = _LINEAR_UP_TO
    prices = [
        _listed(tokens, model, provider, day)
        for tokens in (
            Tokens(input=much),
            Tokens(output=much),
            Tokens(input=much, cache_read=much),
            Tokens(input=much, cache_write=much),
            Tokens(input=much, cache_write=much, cache_write_1h=much),
        )
    ]
    known = [price / much for price in prices if price is not None]
    return known if len(known) == len(prices) else None


def _listed(tokens: Tokens, model: str, provider: str | None, day: datetime) -> Decimal | None:
    """What the price table says; ``None`` for an unknown model or contradicting counts."""
    from genai_prices import Usage, calc_price

    used = {
        "input_tokens": tokens.input,
        "output_tokens": tokens.output,
        "cache_read_tokens": tokens.cache_read,
        "cache_write_tokens": tokens.cache_write,
        "cache_write_1h_tokens": tokens.cache_write_1h,
    }
    try:
        return calc_price(
            Usage(**{name: count for name, count in used.items() if count}),
            model,
            provider_id=_PROVIDERS.get(provider or ""),
            genai_request_timestamp=day,
        ).total_price
    except (LookupError, ValueError):
        return None
