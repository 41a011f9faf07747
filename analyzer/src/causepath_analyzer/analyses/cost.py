"""What a run cost, estimated from its tokens with the price table of ``genai-prices``.

The table is imported when a cost is first asked for: it takes a quarter of a second. Prices are
list prices: batch discounts, regional surcharges and contracts are not in the traces.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final

from msgspec import Struct

from causepath_analyzer.model import ModelCall, Tokens

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

_FREE: Final = Tokens()


def cost_usd(calls: Sequence[ModelCall], start_ns: int) -> Decimal | None:
    """The cost of `calls`, made at `start_ns`, in US dollars.

    ``None`` unless the price of every one of them is known: a call without a model or without
    token counts has no known price, one with counts of zero costs nothing.
    """
    total = Decimal(0)
    at = _moment(start_ns)
    for call in calls:
        price = _price(call, at)
        if price is None:
            return None
        total += price
    return total if calls else None


def _moment(start_ns: int) -> datetime:
    """When to look up prices: at the start of the run, today for clocks that start at zero."""
    try:
        moment = datetime.fromtimestamp(start_ns / 1e9, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.now(UTC)
    return moment if moment.year >= 2020 else datetime.now(UTC)


def _price(call: ModelCall, at: datetime) -> Decimal | None:
    tokens = call.tokens
    if tokens is None or call.model is None:
        return None
    if tokens == _FREE:
        return Decimal(0)
    # Prices change by the day at most.
    day = at.replace(hour=0, minute=0, second=0, microsecond=0)
    if tokens.input > _LINEAR_UP_TO or tokens.output > _LINEAR_UP_TO:
        return _listed(tokens, call.model, call.provider, day)
    if tokens.cache_read + tokens.cache_write > tokens.input:
        return None  # counts that contradict each other
    rates = _rates(call.model, call.provider, day)
    if rates is None:
        return None
    short_lived = tokens.cache_write - tokens.cache_write_1h
    return (
        rates.input * (tokens.input - tokens.cache_read - tokens.cache_write)
        + rates.output * tokens.output
        + rates.cache_read * tokens.cache_read
        + rates.cache_write * short_lived
        + rates.cache_write_1h * tokens.cache_write_1h
    )


_LINEAR_UP_TO: Final = 100_000
"""Tokens up to which every price is a rate per token; some models cost more beyond."""


class _Rates(Struct, frozen=True):
    """US dollars per token."""

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write: Decimal
    cache_write_1h: Decimal


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
    return _Rates(*known) if len(known) == len(prices) else None


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
