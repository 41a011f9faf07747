"""Prices: known models, unknown ones, caches, tiers, days and what else changes a price."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from genai_prices import Usage, calc_price
from hypothesis import given, settings
from hypothesis import strategies as st

from causepath_analyzer.analyses.path import cost
from causepath_analyzer.analyses.path.cost import Cost, cost_of, cost_usd
from causepath_analyzer.analyses.run import explained
from causepath_analyzer.analyses.run_view import run_view
from causepath_analyzer.model import ModelCall, Terms, Tokens
from causepath_analyzer.read import read
from causepath_analyzer.report.run_text import overview
from causepath_analyzer.report.waterfall import BLOCKS
from tests.analyzer.read.test_counts import otlp, step

AT = 1_795_000_000_000_000_000


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


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
    assert cost_usd(calls, [AT] * len(calls)) == expected


M = 1_000_000
ANTHROPIC, OPENAI, GOOGLE, AWS = "anthropic", "openai", "gcp.gemini", "aws.bedrock"


@pytest.mark.parametrize(
    ("provider", "model", "tokens", "expected"),
    [
        (ANTHROPIC, "claude-opus-4-8", Tokens(M, 0, 0, M, cache_write_1h=400_000), "7.75"),
        (
            ANTHROPIC,
            "claude-opus-5",
            Tokens(344_139, 0, 0, 344_139, cache_write_1h=344_139),
            "3.44139",
        ),
        (GOOGLE, "gemini-3-flash-preview", Tokens(20_212, 931, 16_298), "0.0055649"),
        (OPENAI, "gpt-5", Tokens(51_232 + 1_188_096, 12_909, 1_188_096), "0.341642"),
        (ANTHROPIC, "claude-opus-4-5", Tokens(98_805, 5120, 66_360, 32_435), "0.36394875"),
        (
            AWS,
            "eu.anthropic.claude-opus-4-5-20251101-v1:0",
            Tokens(98_805, 5120, 66_360, 32_435),
            "0.400343625",
        ),
        (ANTHROPIC, "claude-sonnet-4-5", Tokens(130_213, 0, 128_955, 1253), "0.04340025"),
        (OPENAI, "gpt-5.1", Tokens(22_118, 1970, reasoning=956), "0.0473475"),
        (ANTHROPIC, "claude-sonnet-5", Tokens(18_973, 0, 0, 18_971), "0.0474315"),
        (ANTHROPIC, "claude-sonnet-4-5", Tokens(250_000, 0, 240_000), "0.204"),
        (ANTHROPIC, "claude-sonnet-4-20250514", Tokens(250_000, 0, 240_000), "0.102"),
        (ANTHROPIC, "claude-sonnet-4-5", Tokens(200_000), "0.60"),
        (ANTHROPIC, "claude-sonnet-4-5", Tokens(200_001), "1.200006"),
        (GOOGLE, "gemini-2.5-pro", Tokens(200_000), "0.250"),
        (GOOGLE, "gemini-2.5-pro", Tokens(200_001), "0.5000025"),
        (OPENAI, "gpt-5.6-sol", Tokens(272_000), "1.088"),
        (OPENAI, "gpt-5.6-sol", Tokens(272_001), "2.176008"),
        (ANTHROPIC, "claude-haiku-5-5", Tokens(100_000), "0.010"),
        (ANTHROPIC, "claude-haiku-5-5", Tokens(100_001), "0.0500005"),
        (OPENAI, "gpt-5.6-sol", Tokens(2600, 0, 2000, 400), "0.0036"),
        ("openrouter", "qwen/qwen3-coder-flash", Tokens(32_000), "0.00624"),
        ("openrouter", "qwen/qwen3-coder-flash", Tokens(32_001), "0.010400325"),
        ("openrouter", "anthropic/claude-opus-5", Tokens(100_000), "0.5"),
        (ANTHROPIC, "anthropic/claude-opus-5", Tokens(100_000), "0.5"),
        ("litellm", "anthropic/claude-opus-5", Tokens(100_000), "0.5"),
    ],
)
def test_usage_becomes_dollars(provider: str, model: str, tokens: Tokens, expected: str) -> None:
    one = ModelCall(model=model, provider=provider, tokens=tokens)
    assert cost_usd([one], [AT]) == Decimal(expected)


FLEX, PRIORITY, BATCH = Terms("flex"), Terms("priority"), Terms("batch")
SMALL = Tokens(10_000, 500)
CACHED = Tokens(10_000, 500, 4000, 2000, cache_write_1h=1000)


@pytest.mark.parametrize(
    ("provider", "model", "tokens", "terms", "expected", "basis"),
    [
        (OPENAI, "gpt-5.6-sol", SMALL, Terms(), "0.05", "exact"),
        (OPENAI, "gpt-5.6-sol", SMALL, Terms("default"), "0.05", "exact"),
        (OPENAI, "gpt-5.6-sol", SMALL, FLEX, "0.025", "exact"),
        (OPENAI, "gpt-5.6-sol", SMALL, PRIORITY, "0.10", "exact"),
        # The one that served counts: what was asked for is a guess.
        (OPENAI, "gpt-5.6-sol", SMALL, Terms("default", "priority"), "0.05", "exact"),
        (OPENAI, "gpt-5.6-sol", SMALL, Terms(None, "priority"), "0.10", "estimated"),
        (OPENAI, "gpt-5.6-sol", SMALL, Terms(None, "auto"), "0.05", "exact"),
        (OPENAI, "gpt-5.6-sol", SMALL, Terms("scale"), "0.05", "estimated"),
        (ANTHROPIC, "claude-haiku-4-5", SMALL, BATCH, "0.00625", "exact"),
        (ANTHROPIC, "claude-haiku-4-5", CACHED, BATCH, "0.005075", "exact"),
        (ANTHROPIC, "claude-haiku-4-5", SMALL, Terms("standard"), "0.0125", "exact"),
        (ANTHROPIC, "claude-haiku-4-5", SMALL, PRIORITY, "0.0125", "estimated"),
        (ANTHROPIC, "claude-opus-5", SMALL, Terms(speed="fast"), "0.125", "exact"),
        (ANTHROPIC, "claude-opus-4-6", SMALL, Terms(speed="fast"), "0.0625", "estimated"),
        (ANTHROPIC, "claude-opus-5", SMALL, Terms(geography="us"), "0.06875", "estimated"),
        (ANTHROPIC, "claude-opus-5", SMALL, Terms(geography="global"), "0.0625", "exact"),
        (
            AWS,
            "global.anthropic.claude-haiku-4-5-20251001-v1:0",
            SMALL,
            BATCH,
            "0.00625",
            "estimated",
        ),
        ("azure.ai.openai", "gpt-5.6-sol", SMALL, FLEX, "0.05", "estimated"),
        (None, "gpt-5.6-sol", SMALL, FLEX, "0.025", "estimated"),
    ],
)
def test_the_tier_that_served_sets_the_price(
    provider: str | None, model: str, tokens: Tokens, terms: Terms, expected: str, basis: str
) -> None:
    one = ModelCall(model=model, provider=provider, tokens=tokens, terms=terms)
    found = cost_of([one], [AT])
    assert (found.usd, found.basis) == (Decimal(expected), basis)


@pytest.mark.parametrize(
    ("provider", "model", "moment", "tokens", "expected"),
    [
        (OPENAI, "o3", "2025-05-01", Tokens(M, M), "50"),
        (OPENAI, "o3", "2025-07-01", Tokens(M, M), "10"),
        ("deepseek", "deepseek-chat", "2026-11-20T10:00", Tokens(100_000, 100_000), "0.137"),
        ("deepseek", "deepseek-chat", "2026-11-20T16:29", Tokens(100_000, 100_000), "0.137"),
        ("deepseek", "deepseek-chat", "2026-11-20T16:30", Tokens(100_000, 100_000), "0.0685"),
        ("deepseek", "deepseek-reasoner", "2026-11-20T10:00", Tokens(100_000, 100_000), "0.274"),
    ],
)
def test_a_request_has_the_price_of_its_moment(
    provider: str, model: str, moment: str, tokens: Tokens, expected: str
) -> None:
    one = ModelCall(model=model, provider=provider, tokens=tokens)
    assert cost_of([one], [at(moment)]) == Cost(Decimal(expected), 1.0, is_whole=True)


def test_the_calls_of_a_run_each_have_their_moment() -> None:
    one = ModelCall(model="deepseek-chat", provider="deepseek", tokens=Tokens(100_000, 100_000))
    moments = [at("2026-11-20T16:29:59"), at("2026-11-20T16:30")]
    assert cost_usd([one, one], moments) == Decimal("0.2055")


def test_searches_of_the_web_cost_something() -> None:
    one = ModelCall(model="claude-opus-5", provider=ANTHROPIC, tokens=Tokens(10), searches=3)
    assert cost_usd([one], [AT]) == Decimal("0.03005")


def test_searches_without_a_price_are_said() -> None:
    one = ModelCall(model="deepseek-chat", provider="deepseek", tokens=Tokens(10), searches=3)
    assert cost_of([one], [AT]).estimates == ("searches of the web have no price here",)


def test_one_unknown_model_leaves_the_others_priced() -> None:
    calls = [call(Tokens(9_000, 0), "claude-opus-5"), call(Tokens(1_000), "no-such-model")]
    assert cost_of(calls, [AT, AT]) == Cost(
        Decimal("0.045"), 0.9, is_whole=False, unpriced=("no-such-model",)
    )


@pytest.mark.parametrize(
    ("said", "doubtful"), [("0.05", False), ("0.0505", False), ("0.0506", True), ("0.02", True)]
)
def test_what_the_trace_says_is_compared(said: str, doubtful: bool) -> None:
    one = ModelCall(
        model="claude-opus-5", provider=ANTHROPIC, tokens=Tokens(10_000), said_usd=Decimal(said)
    )
    other = call(Tokens(10_000))  # of which it says nothing
    found = cost_of([one, other], [AT, AT])
    assert (found.said_usd, found.compared_usd) == (Decimal(said), Decimal("0.05"))
    assert found.is_doubtful is doubtful


@pytest.mark.parametrize(
    ("facts", "estimates"),
    [
        ({}, ()),
        ({"gen_ai.usage.audio.input_tokens": 800}, ("sound is priced as text",)),
        ({"llm.token_count.completion_details.audio": 9}, ("sound is priced as text",)),
        (
            {"gen_ai.usage.audio.input_tokens": 0, "gen_ai.usage.audio.output_tokens": 5},
            ("sound is priced as text",),
        ),
        ({"gen_ai.usage.audio.input_tokens": 0}, ()),
    ],
)
def test_the_price_of_sound_is_an_estimate(
    facts: dict[str, int], estimates: tuple[str, ...], tmp_path: Path
) -> None:
    said = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-audio",
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 100,
    }
    file = tmp_path / "t.json"
    file.write_bytes(otlp(*(step("chat", at, said | facts) for at in ("0-4", "4-8"))))
    (trace,) = read([str(file)]).traces
    assert explained(trace, with_cost=True).cost.estimates == estimates


def test_what_the_trace_says_of_calls_without_a_price_is_told() -> None:
    calls = [
        ModelCall(model="no-such-model", tokens=Tokens(1000, 100), said_usd=Decimal("0.5")),
        ModelCall(model="nor-this", tokens=Tokens(1000, 100), said_usd=Decimal("0.25")),
    ]
    assert cost_of(calls, [AT, AT]) == Cost(
        None,
        0.0,
        is_whole=False,
        unpriced=("no-such-model", "nor-this"),
        said_unpriced_usd=Decimal("0.75"),
    )


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"input_tokens": -5, "output_tokens": 10}, "at least 0 in, at least 10 out"),
        ({"input_tokens": "-5", "output_tokens": 10}, "at least 0 in, at least 10 out"),
        ({"input_tokens": 1000, "output_tokens": -1}, "at least 1,000 in, at least 0 out"),
        (
            {"input_tokens": 1000, "output_tokens": 10, "cache_read.input_tokens": -400},
            "at least 1,000 in, at least 10 out",
        ),
        (
            {"input_tokens": 1000, "output_tokens": 10, "reasoning.output_tokens": 11},
            "at least 1,000 in, at least 10 out",
        ),
    ],
)
def test_counts_that_cannot_be_are_said_and_not_priced(
    counts: dict[str, object], said: str, tmp_path: Path
) -> None:
    facts = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5.1",
        **{f"gen_ai.usage.{name}": number for name, number in counts.items()},
    }
    file = tmp_path / "t.json"
    file.write_bytes(otlp(step("chat", "0-4", facts)))
    (trace,) = read([str(file)]).traces
    run = explained(trace, with_cost=True)
    assert run.cost == Cost(None, 0.0, is_whole=False)
    assert run.usage.notes == ("1 model call has token counts that cannot be: not priced",)
    text = "\n".join(line.plain for line in overview(run_view(run), BLOCKS))
    assert f"tokens: {said}" in text
    assert "not counted to the end" not in text


@pytest.mark.parametrize("moment", [0, -5, 2**63])
def test_a_price_of_today_is_an_estimate(moment: int) -> None:
    assert cost_of([call(Tokens(10_000))], [moment]).basis == "estimated"


@pytest.mark.parametrize("moment", [0, 59, 16 * 3_600_000_000_000, -5, 2**63])
@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-11-20T10:00", "0.137"),
        ("2026-11-20T16:29:59", "0.137"),
        ("2026-11-20T16:30", "0.0685"),
    ],
)
def test_a_clock_that_starts_at_zero_has_the_price_of_now(
    moment: int, now: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "time", lambda: at(now) / 1e9)
    one = ModelCall(model="deepseek-chat", provider="deepseek", tokens=Tokens(100_000, 100_000))
    assert cost_of([one], [moment]) == Cost(
        Decimal(expected),
        1.0,
        is_whole=True,
        estimates=("priced as of today: the trace does not say when",),
    )


@pytest.mark.parametrize(
    "provider",
    ["openrouter", "together", "together_ai", "cerebras", "fireworks", "z_ai", "minimax", "groq"],
)
def test_providers_of_the_table_are_known(provider: str) -> None:
    model = {
        "openrouter": "openai/gpt-5",
        "cerebras": "gpt-oss-120b",
        "z_ai": "glm-4.6",
        "minimax": "MiniMax-M2",
        "groq": "llama-3.3-70b-versatile",
        "fireworks": "accounts/fireworks/models/gpt-oss-120b",
    }.get(provider, "openai/gpt-oss-120b")
    one = ModelCall(model=model, provider=provider, tokens=Tokens(100_000, 100))
    assert (cost_usd([one], [AT]) or 0) > 0


@pytest.mark.parametrize(
    ("provider", "model", "expected"),
    [
        ("gcp.gemini", "models/gemini-2.5-flash", "0.0028"),
        (None, "models/gemini-2.5-flash", "0.0028"),
        ("pydantic_ai", "openai:gpt-4o", "0.0125"),
        (None, "anthropic:claude-sonnet-4-5", "0.018"),
        ("openrouter", "openrouter/anthropic/claude-opus-5", "0.03"),
        ("openrouter", "anthropic/claude-opus-5", "0.03"),
        # The SDK of Anthropic on Bedrock, of which others say that it talks to Anthropic.
        ("anthropic", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "0.0198"),
        ("anthropic", "global.anthropic.claude-sonnet-4-5-20250929-v1:0", "0.018"),
        ("ollama", "llama3.2:3b", None),
        (None, "nobody:gpt-4o-of-ours", None),
    ],
)
def test_names_with_something_before_them_are_understood(
    provider: str | None, model: str, expected: str | None
) -> None:
    one = ModelCall(model=model, provider=provider, tokens=Tokens(1_000, 1_000))
    assert cost_usd([one], [AT]) == (None if expected is None else Decimal(expected))


LLAMA = "meta-llama/Llama-3.3-70B-Instruct-Turbo"


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"gen_ai.request.model": LLAMA, "server.address": "api.together.xyz"}, "0.00176"),
        (
            {
                "gen_ai.request.model": LLAMA,
                "gen_ai.openai.api_base": "https://api.together.xyz/v1",
            },
            "0.00176",
        ),
        ({"gen_ai.request.model": "llama-3.3-70b", "server.address": "api.cerebras.ai"}, "0.00205"),
        (
            {"gen_ai.request.model": "anthropic/claude-opus-5", "server.address": "openrouter.ai"},
            "0.03",
        ),
        ({"gen_ai.request.model": LLAMA, "server.address": "llm.my-company.example"}, None),
        ({"gen_ai.request.model": LLAMA, "server.address": "together.xyz.example"}, None),
        ({"gen_ai.request.model": LLAMA}, None),
        ({"gen_ai.request.model": "gpt-4o", "server.address": "api.openai.com"}, "0.0125"),
        ({"gen_ai.request.model": "gpt-4o", "server.address": "127.0.0.1"}, "0.0125"),
        # The one that is named is believed where its SDK reaches nobody else.
        (
            {
                "gen_ai.request.model": "llama-3.3-70b-versatile",
                "gen_ai.provider.name": "groq",
                "server.address": "api.together.xyz",
            },
            "0.00138",
        ),
    ],
)
def test_who_serves_is_told_by_the_host(
    facts: dict[str, str], expected: str | None, tmp_path: Path
) -> None:
    said = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai"} | facts
    counts = {"gen_ai.usage.input_tokens": 1_000, "gen_ai.usage.output_tokens": 1_000}
    # The second of two that are alike is read by what was learned of the first.
    file = tmp_path / "t.json"
    file.write_bytes(otlp(*(step("chat", at, said | counts) for at in ("0-4", "4-8"))))
    (trace,) = read([str(file)]).traces
    price = Decimal(expected) if expected is not None else None
    assert [
        cost_usd([span.model_call], [AT]) for span in trace.spans if span.model_call is not None
    ] == [price, price]


def test_calls_that_are_alike_but_for_how_they_were_served(tmp_path: Path) -> None:
    tiers = ["default", "flex", "priority", "flex", "default", "flex"]
    alike = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5.6-sol",
        "gen_ai.usage.input_tokens": 10_000,
        "gen_ai.usage.output_tokens": 500,
    }
    calls = [
        step(
            "chat",
            f"{i}-{i + 1}",
            {
                **alike,
                "openai.response.service_tier": tier,
                "gen_ai.usage.web_search_requests": i,
                "gen_ai.usage.cost": 0.5 * (i + 1),
            },
        )
        for i, tier in enumerate(tiers)
    ]
    file = tmp_path / "t.json"
    file.write_bytes(otlp(step("invoke_agent a", "0-9", {}, *calls)))
    run = explained(read([str(file)]).traces[0], with_cost=True)
    found = [span.model_call for span in run.trace.spans if span.model_call is not None]
    assert [(one.terms.tier, one.searches, one.said_usd) for one in found] == [
        (tier, i, Decimal("0.5") * (i + 1)) for i, tier in enumerate(tiers)
    ]
    # 2 x standard, 3 x half, 1 x double; and 15 searches
    assert run.cost.usd == Decimal("0.275") + Decimal("0.15")


COUNTS = st.integers(0, 300_000)


@settings(max_examples=60, deadline=None)
@given(
    COUNTS,
    COUNTS,
    COUNTS,
    COUNTS,
    st.sampled_from(["claude-opus-5-5", "claude-sonnet-4-5", "claude-haiku-5-5"]),
)
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
    assert cost_usd([call(tokens, model)], [AT]) == (expected or None)
