"""CP301: prompts that grow within a conversation and over weeks; and what looks like it."""

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from causepath_analyzer.analyses.findings.rule import UNKNOWN, Finding
from causepath_analyzer.analyses.findings.rules import RULES
from causepath_analyzer.analyses.limits import LIMITS
from causepath_analyzer.analyses.proof.independence import Elsewhere, Orders, elsewhere
from causepath_analyzer.analyses.run import explained
from causepath_analyzer.model import Trace
from tests.support.drawn import MS, drawn, found_in, without_texts

SECOND = 1000 * MS
OPUS = "model=claude-opus-4-8"

# -- from call to call


def conversation(
    inputs: Sequence[int],
    *,
    firsts: Sequence[int] = (),
    cached: bool = False,
    model: str = OPUS,
) -> Trace:
    """A conversation whose calls are given so many tokens, and take so many tenths of a second
    until their ``firsts``."""
    lines = [f"agent a |{'-' * (70 * len(inputs))}|"]
    for n, tokens in enumerate(inputs):
        read = inputs[n - 1] if n and cached else 0
        counts = f"tokens={tokens}/9/{read}/{tokens - read if cached else 0}"
        first = f"ttft={firsts[n]}" if firsts else ""
        lines.append(f"  llm c{n} {' ' * (70 * n)}|{'-' * 60}| {model} {counts} {first}")
    return drawn("\n".join(lines), unit_ns=100 * MS)


GROWS = [1_000 + 2_000 * n for n in range(12)]


def test_a_conversation_grows() -> None:
    (one,) = found_in(conversation(GROWS), "CP301")
    assert one.title == "a context that grew 21-fold, to 21,000 tokens"
    # 144,000 tokens at 5 dollars a million are 0.72 dollars, answers 0.0027 dollars.
    assert (
        "Over 12 calls of one conversation the prompt grew from 1,000 to 21,000 tokens, a little "
        "with nearly each: 91% of the $0.72 that the run cost was paid for the 132,000 tokens that "
        "were added and sent again. How much"
    ) in one.why
    assert (one.evidence, one.saving, len(one.spans)) == ("proved", UNKNOWN, 12)
    assert found_in(without_texts(conversation(GROWS)), "CP301") == [one]


def test_without_a_price_there_are_tokens() -> None:
    (one,) = found_in(conversation(GROWS, model="model=of-our-own"), "CP301")
    assert ": 132,000 of 144,000 tokens of prompts were added and sent again. How" in one.why


@pytest.mark.parametrize(
    ("inputs", "facts"),
    [
        pytest.param([20_000] * 12, {}, id="large and stays so"),
        pytest.param([20_000 + 500 * n for n in range(12)], {}, id="it grows by little of it"),
        pytest.param([100 + 400 * n for n in range(12)], {}, id="small in the end"),
        pytest.param(GROWS[:9], {}, id="nine calls"),
        pytest.param([1_000, 1_100, 1_200, *[22_000] * 9], {}, id="one result brings all of it"),
        pytest.param([1_000 + 4_000 * (n % 4) for n in range(16)], {}, id="summed up now and then"),
        pytest.param([*GROWS, 1_200, 1_300, 1_400], {}, id="begun anew in the end"),
        pytest.param(
            [3_000, 90_000, 2_000, 80_000, 12_000, 70_000, 3_000, 9_000, 1_000, 80_000, 70_000],
            {},
            id="now this and now that",
        ),
        pytest.param(GROWS, {"cached": True, "model": "model=of-our-own"}, id="it is cached"),
        pytest.param(
            GROWS, {"cached": True, "model": "model=claude-haiku-4-5"}, id="it costs little"
        ),
    ],
)
def test_look_alikes(inputs: Sequence[int], facts: dict[str, object]) -> None:
    assert found_in(conversation(inputs, **facts), "CP301") == []  # type: ignore[arg-type]


def test_what_is_cached_may_still_become_slow() -> None:
    facts = {"cached": True, "model": "model=of-our-own"}
    slow = conversation(GROWS, firsts=[10 + 2 * n for n in range(12)], **facts)  # type: ignore[arg-type]
    (one,) = found_in(slow, "CP301")
    assert (
        ": the first token came after 1.2 s in the first calls and after 3.0 s in the last, "
        "11.0 s more in all."
    ) in one.why
    as_fast = conversation(GROWS, firsts=[10] * 12, **facts)  # type: ignore[arg-type]
    assert found_in(as_fast, "CP301") == []
    assert found_in(replace(slow, untrusted=True), "CP301") == []


def test_calls_that_are_not_known_are_left_out() -> None:
    trace = conversation(GROWS)
    bare = [
        replace(span, model_call=replace(span.model_call, tokens=None)) if span.model_call else span
        for span in trace.spans
    ]
    assert found_in(replace(trace, spans=tuple(bare)), "CP301") == []


def test_limits_are_of_the_settings() -> None:
    def found(**limits: object) -> Sequence[Finding]:
        rules, said = [RULES["CP301"]], replace(LIMITS, **limits)
        return explained(conversation(GROWS), rules=rules, limits=said).findings

    assert [len(found(iterations=n)) for n in (12, 13)] == [1, 0]
    assert [len(found(cost_usd=LIMITS.cost_usd * n)) for n in (14, 15)] == [1, 0]


# -- over weeks

WEEK = 7 * 24 * 3_600 * SECOND


def run(week: int, tokens: int, n: int = 0, *, name: str = "bot", facts: str = OPUS) -> Trace:
    drawing = f"""
    agent {name} |--------------|
      llm one     |----|                 {facts} tokens={tokens // 2}/9 ttft=1
      llm two           |----|           {facts} tokens={tokens}/9 ttft={tokens // 1000}
    """
    trace = drawn(drawing, unit_ns=1000 * MS, start_ns=(2_900 + week) * WEEK + n * SECOND)
    spans = [replace(span, trace_id=f"{week:016x}{n:016x}") for span in trace.spans]
    return replace(trace, trace_id=f"{week:016x}{n:016x}", spans=tuple(spans))


def weeks(prompts: Sequence[int], *, runs: int = 4, facts: str = OPUS) -> list[Trace]:
    """Runs of an agent, so many a week, whose prompts differ by a tenth."""
    spread = (97, 100, 100, 110)
    return [
        run(week, tokens * spread[n % 4] // 100, n, facts=facts)
        for week, tokens in enumerate(prompts)
        for n in range(runs)
    ]


def letters(system: Sequence[int], user: Sequence[int]) -> list[Trace]:
    """Runs with system prompts of so many tokens, to which users write so much."""
    return [
        run(week, own + theirs, n, facts=f"{OPUS} blocks=system/text/s:{own},t{week}:{theirs}>a:9")
        for week, (own, theirs) in enumerate(zip(system, user, strict=True))
        for n in range(4)
    ]


def found_over(traces: Sequence[Trace]) -> list[tuple[int, Finding]]:
    others = elsewhere(traces)
    return [
        (n, one)
        for n, trace in enumerate(traces)
        for one in explained(trace, others=others, rules=[RULES["CP301"]]).findings
    ]


MONTHS = [4_000 + 1_000 * n for n in range(13)]


def test_an_agent_that_became_slow_over_three_months() -> None:
    found = found_over(weeks(MONTHS))
    assert [n for n, _ in found] == [48, 49, 50, 51]  # those of the last week
    one = found[1][1]
    assert one.title == "prompts of bot grew over 13 weeks"
    assert (
        "In 52 runs over 13 weeks the largest prompt of a run went from about 4,400 tokens (the "
        "middle one of the first two weeks) to about 15,500 (of the last two), and its first token "
        "from 4.0 s to 15.0 s, in no single step. That of this run has 16,000."
    ) in one.why
    assert (one.evidence, one.saving) == ("likely", UNKNOWN)


@pytest.mark.parametrize(
    "traces",
    [
        pytest.param(weeks([4_000] * 12), id="as ever"),
        pytest.param(weeks([4_000] * 6 + [9_000] * 6), id="a release"),
        pytest.param(weeks([4_000, 9_000, 5_000, 12_000, 4_500, 10_000]), id="up and down"),
        pytest.param(weeks([16_000 - 1_000 * n for n in range(12)]), id="they shrink"),
        pytest.param(weeks([4_000, 6_000, 9_000]), id="three weeks"),
        pytest.param(weeks(MONTHS[:9], runs=1), id="nine runs in nine weeks"),
        pytest.param(letters([4_000] * len(MONTHS), MONTHS), id="the users write more"),
        pytest.param(weeks([4_000 + 100 * n for n in range(12)]), id="by little"),
        pytest.param(weeks([400 + 60 * n for n in range(12)]), id="small"),
        pytest.param(
            [
                run(week, 4_000 + 1_000 * week, n, facts=f"model=m{week // 3}")
                for week in range(12)
                for n in range(4)
            ],
            id="another model every three weeks",
        ),
        pytest.param(
            [
                run(week, 4_000 + 1_000 * week, n, name=f"job-{week}-{n}")
                for week in range(12)
                for n in range(4)
            ],
            id="each run has a name of its own",
        ),
    ],
)
def test_what_is_no_growth_over_weeks(traces: list[Trace]) -> None:
    assert found_over(traces) == []


@pytest.mark.parametrize(
    "traces",
    [
        pytest.param(weeks(MONTHS, runs=2), id="two runs a week"),
        pytest.param(letters(MONTHS, [4_000] * len(MONTHS)), id="the users write as ever"),
    ],
)
def test_growth_over_weeks(traces: list[Trace]) -> None:
    assert {one.title for _, one in found_over(traces)} == {"prompts of bot grew over 13 weeks"}


def test_too_many_names_show_nothing() -> None:
    named = [run(week, 1_000, n, name=f"job-{week}-{n}") for week in range(40) for n in range(4)]
    assert elsewhere([*named, *weeks(MONTHS)]).grown == {}


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 60_000)), max_size=30), st.randoms())
def test_any_split_of_the_runs_shows_the_same(runs: list[tuple[int, int]], random: Random) -> None:
    traces = [run(week, 500 * week + tokens, n) for n, (week, tokens) in enumerate(runs)]
    parts = [Orders() for _ in range(3)]
    for trace in traces:
        random.choice(parts).add(trace)
    joined = Orders()
    for part in parts:
        joined.join(part)
    whole: Elsewhere = elsewhere(traces)
    assert joined.elsewhere().grown == whole.grown
