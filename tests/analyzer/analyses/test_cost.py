"""Prices: known models, unknown ones, caches."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage, calc_price
from hypothesis import given, settings
from hypothesis import strategies as st

from causepath_analyzer.analyses.path.cost import cost_usd
from causepath_analyzer.model import ModelCall, Tokens

AT = 1_795_000_000_000_000_000


def call(tokens: Tokens | None, model: str | None = "claude-opus-5-5") -> ModelCall:
    return ModelCall(model=model, provider="anthropic", tokens=tokens)


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([call(Tokens(10_000, 500, 4000, 2000))], Decimal("0.0368")),
        ([call(Tokens(10_000, 500, 4000, 2000))] * 2, Decimal("0.0736")),
        ([call(Tokens(10_000, 500, 4000, 2000, cache_write_1h=1000))], Decimal("0.0398")),
        ([call(Tokens(1, 1), model="no-such-model")], None),
        ([call(Tokens(10, 1)), call(Tokens(10, 1), model="no-such-model")], None),
        ([call(None)], None),
        ([call(Tokens(10, 1), model=None)], None),
        ([call(Tokens(10, 1, cache_read=1000))], None),
        ([call(Tokens())], None),  # whoever was answered used some
        ([], None),
    ],
)
def test_cost(calls: list[ModelCall], expected: Decimal | None) -> None:
    assert cost_usd(calls, AT) == expected


COUNTS = st.integers(0, 300_000)


@settings(max_examples=60, deadline=None)
@given(COUNTS, COUNTS, COUNTS, COUNTS, st.sampled_from(["claude-opus-5-5", "claude-sonnet-4-5"]))
def test_rates_give_what_the_table_gives(
    fresh: int, read: int, write: int, output: int, model: str
) -> None:
    tokens = Tokens(fresh + read + write, output, read, write, cache_write_1h=write // 3)
    expected = calc_price(
        Usage(
            input_tokens=tokens.input,
            output_tokens=output,
            cache_read_tokens=read,
            cache_write_tokens=write,
            cache_write_1h_tokens=write // 3,
        ),
        model,
        provider_id="anthropic",
        genai_request_timestamp=datetime.fromtimestamp(AT / 1e9, UTC),
    ).total_price
    assert cost_usd([call(tokens, model)], AT) == (expected or None)
