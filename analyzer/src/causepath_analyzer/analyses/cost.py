"""What a run cost, estimated from its tokens with the price table of ``genai-prices``.

The table is imported when a cost is first asked for: it takes a quarter of a second. Prices are
list prices: batch discounts, regional surcharges and contracts are not in the traces.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

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
    from genai_prices import Usage, calc_price

    used = {
        "input_tokens": tokens.input,
        "output_tokens": tokens.output,
        "cache_read_tokens": tokens.cache_read,
        "cache_write_tokens": tokens.cache_write,
        "cache_write_1h_tokens": tokens.cache_write_1h,
    }
    try:
        priced = calc_price(
            Usage(**{name: count for name, count in used.items() if count}),
            call.model,
            provider_id=_PROVIDERS.get(call.provider or ""),
            genai_request_timestamp=at,
        )
    except (LookupError, ValueError):
        # An unknown model, or counts that contradict each other.
        return None
    return priced.total_price
