"""Prices: known models, unknown ones, caches."""

from decimal import Decimal

import pytest

from causepath_analyzer.analyses.cost import cost_usd
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
        ([call(Tokens())], Decimal(0)),
        ([], None),
    ],
)
def test_cost(calls: list[ModelCall], expected: Decimal | None) -> None:
    assert cost_usd(calls, AT) == expected
