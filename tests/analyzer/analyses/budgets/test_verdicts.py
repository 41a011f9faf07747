"""Budgets: broken, kept, or nobody can know; never kept because nothing was recognised."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from causepath_analyzer.analyses.budgets.measures import Sample, Used, sampled
from causepath_analyzer.analyses.budgets.verdicts import checked
from causepath_analyzer.analyses.budgets.wording import Budget, wording
from causepath_analyzer.analyses.path.status import WELL
from causepath_analyzer.analyses.run import Run, explained
from causepath_analyzer.model import ModelCall, Span, Tokens
from causepath_analyzer.read.tree.build import build
from causepath_analyzer.report.check_text import violation_lines
from tests.support.drawn import spans_drawn
from tests.support.held import held

S = 1_000_000_000
CALL = ModelCall(model="claude-opus-5-5", provider="anthropic", tokens=Tokens(1000, 100))


def run(drawing: str, scope: str | None = "app", **facts: Any) -> Run:
    """The run in `drawing`, with `facts` on the spans of that name."""

    def changed(span: Span) -> Span:
        return replace(span, scope=scope, **facts.get(span.name, {}))

    spans = [changed(span) for span in spans_drawn(drawing, unit_ns=S, start_ns=10**18)]
    return explained(build(spans), with_cost=True)


def called(**changes: Any) -> dict[str, Any]:
    return {"model_call": replace(CALL, **changes)}


AGENT = """
    agent a   |--------|
      llm one   |---|
"""
WHOLE = run(AGENT, one=called())
UNCOUNTED = run(AGENT, one=called(tokens=None))
PARTIAL = run(AGENT, one=called(partial=True))
IN_PART = run(AGENT, one=called(partial=True, partial_input=True))
IMPOSSIBLE = run(AGENT, one=called(tokens=Tokens(1000, 100, reasoning=200)))
UNPRICED = run(AGENT, one=called(model="nobody-knows-it"))
FAILED = run("agent a |-----|\n  llm one |---|  error=overloaded")
SUMS = run("agent a |-----|\n  tool t |---|", a={"repeats": CALL})
NOTHING = run("other a |-----|\n  other b |---|")
NO_CALL = run("agent a |-----|\n  tool t |---|", scope="causepath")
ASKING = run(AGENT, one=called(finish_reasons=("tool_call",)))
TIMELESS = run("agent a |")


@pytest.mark.parametrize(
    ("runs", "name", "most", "verdict"),
    [
        ([WHOLE], "tokens.input", 1000, "pass"),
        ([WHOLE], "tokens.input", 999, "fail"),
        ([WHOLE], "cost", Decimal(1), "pass"),
        ([WHOLE], "calls.llm", 1, "pass"),
        ([WHOLE], "calls.tool", 0, "pass"),
        # What was not counted may be anything.
        ([UNCOUNTED], "tokens.input", 10**9, "inconclusive"),
        ([UNCOUNTED], "cost", Decimal(1), "inconclusive"),
        ([UNCOUNTED], "calls.llm", 1, "pass"),
        ([UNPRICED], "cost", Decimal(1), "inconclusive"),
        ([UNPRICED], "tokens.input", 1000, "pass"),
        ([IMPOSSIBLE], "tokens.output", 1000, "inconclusive"),
        ([IMPOSSIBLE], "cost", Decimal(1), "inconclusive"),
        ([FAILED], "tokens.input", 10, "pass"),
        # A lower bound above the limit breaks it.
        ([PARTIAL], "tokens.output", 100, "inconclusive"),
        ([PARTIAL], "tokens.output", 99, "fail"),
        ([PARTIAL], "cost", Decimal("0.0001"), "fail"),
        ([PARTIAL], "cost", Decimal(1), "inconclusive"),
        ([PARTIAL], "tokens.input", 1000, "pass"),
        ([PARTIAL], "tokens.cache_read", 0, "pass"),
        ([IN_PART], "tokens.input", 1000, "inconclusive"),
        # One that fails, fails all; one that is not known leaves all open.
        ([WHOLE, UNCOUNTED], "tokens.input", 999, "fail"),
        ([WHOLE, UNCOUNTED], "tokens.input", 1000, "inconclusive"),
        # Sums of agents are tokens of calls of which the number is not known.
        ([SUMS], "tokens.input", 1000, "pass"),
        ([SUMS], "tokens.input", 999, "fail"),
        ([SUMS], "calls.llm", 5, "inconclusive"),
        ([SUMS], "turns", 5, "inconclusive"),
        # No call was recognised.
        ([NOTHING], "tokens.input", 10, "inconclusive"),
        ([NOTHING], "calls.llm", 10, "inconclusive"),
        ([NOTHING], "calls.tool", 10, "inconclusive"),
        ([NOTHING], "turns", 10, "inconclusive"),
        ([NOTHING], "cost", Decimal(1), "inconclusive"),
        ([NOTHING], "path.llm", S, "inconclusive"),
        ([NOTHING], "wall", 10 * S, "pass"),
        ([NOTHING], "path.other", 10 * S, "pass"),
        # None was made: whoever records calls recorded none, here or in another run.
        ([NO_CALL], "tokens.input", 10, "pass"),
        ([NO_CALL], "cost", Decimal(1), "pass"),
        ([NO_CALL], "calls.llm", 0, "pass"),
        ([WHOLE, NOTHING], "tokens.input", 1000, "pass"),
        # What is asked for and not seen.
        ([ASKING], "calls.tool", 0, "inconclusive"),
        # Times that cannot be known.
        ([TIMELESS], "wall", S, "inconclusive"),
        ([WHOLE], "path.first_token", 9 * S, "inconclusive"),
        ([WHOLE], "path.llm", 9 * S, "pass"),
    ],
)
def test_verdicts(runs: list[Run], name: str, most: Any, verdict: str) -> None:
    found = held([Budget(name, most, "--max")], runs)
    (result,) = found.budgets
    assert result.verdict == found.verdict == verdict
    assert (result.why is not None) == (verdict == "inconclusive" or bool(result.unknown))


def samples(*walls_s: float, name: str = "agent", why: str | None = None) -> list[Sample]:
    """Runs of so many seconds; with a reason `why` they may have taken longer."""
    return [
        Sample(f"{i:032x}", name, "web", WELL, {"wall": Used(round(wall * S), why)})
        for i, wall in enumerate(walls_s)
    ]


def spread(count: int, middle_s: float) -> list[Sample]:
    """Runs of 80 to 120 % of `middle_s`, evenly."""
    return samples(*(middle_s * (0.8 + 0.4 * i / (count - 1)) for i in range(count)))


TOO_FEW = "40 runs: too few for a percentile"
NO_BASELINE = "nothing of it in a baseline"


@pytest.mark.parametrize(
    ("text", "runs", "verdict", "why", "needed"),
    [
        ("p(50) wall < 12s", spread(40, 10), "pass", None, None),
        ("p(50) wall < 8.5s", spread(40, 10), "fail", None, None),
        ("p(50) wall < 10.1s", spread(40, 10), "inconclusive", "40 runs: too few to tell", 582),
        ("p(50) wall > 8s", spread(40, 10), "pass", None, None),
        # The largest of few is no percentile.
        ("p(95) wall < 60s", spread(40, 10), "inconclusive", TOO_FEW, 59),
        ("p(95) wall < 60s", spread(59, 10), "pass", None, None),
        ("p(95) wall < 9s", spread(40, 10), "fail", None, None),
        ("p(95) wall < 60s", samples(1), "inconclusive", "1 run: too few for a percentile", 59),
        ("mean wall < 11s", spread(40, 10), "pass", None, None),
        ("mean wall < 9s", spread(40, 10), "fail", None, None),
        ("mean wall < 11s", spread(4, 10), "inconclusive", "4 runs: too few for a mean", 5),
        ("sum wall < 401s", spread(40, 10), "pass", None, None),
        ("sum wall < 400s", spread(40, 10), "fail", None, None),
        # What may have taken longer cannot pass, and fails where it is too long already.
        ("mean wall < 60s", samples(*[10] * 9, why="lost"), "inconclusive", "lost", None),
        ("mean wall < 9s", samples(*[10] * 9, why="lost"), "fail", None, None),
        ("sum wall < 91s", samples(*[10] * 9, why="lost"), "inconclusive", "lost", None),
        ("p(50) wall < 11s", [*spread(40, 10), *samples(1, why="lost")], "pass", "lost", None),
        ("wall > 9s", samples(*[10] * 9, why="lost"), "pass", None, None),
        ('wall{agent="b*"} < 1s', spread(9, 10), "inconclusive", "no run that it is about", None),
        ('wall{service="web"} < 20s', spread(9, 10), "pass", None, None),
        ("mean wall < +1% and +1s", spread(9, 10), "inconclusive", NO_BASELINE, None),
        ("mean cost < $1", spread(9, 10), "inconclusive", "a baseline that does not have it", None),
    ],
)  # fmt: skip
def test_estimates(
    text: str, runs: list[Sample], verdict: str, why: str | None, needed: int | None
) -> None:
    (result,) = checked([wording(text, "here")], runs).budgets
    assert (result.verdict, result.why, result.needed) == (verdict, why, needed)


@pytest.mark.parametrize(
    ("text", "before_s", "now_s", "verdict", "limit_s"),
    [
        ("p(50) wall < +10% and +200ms", 10, 10, "pass", 11.0),
        ("p(50) wall < +10% and +200ms", 10, 13, "fail", 11.0),
        ("p(50) wall < +10% and +200ms", 10, 11, "inconclusive", 11.0),
        ("mean wall < +10% and +5s", 10, 13, "pass", 15.0),  # the floor is more
        ("mean wall < -20% and +0s", 10, 7, "pass", 8.0),
        ("mean wall < -20% and +0s", 10, 10, "fail", 8.0),
    ],
)
def test_limits_by_a_baseline(
    text: str, before_s: float, now_s: float, verdict: str, limit_s: float
) -> None:
    found = checked([wording(text, "here")], spread(101, now_s), spread(201, before_s))
    (result,) = found.budgets
    assert (result.verdict, result.limit) == (verdict, round(limit_s * S))


@pytest.mark.parametrize(
    ("runs", "before", "now_s", "verdict", "why", "needed"),
    [
        (101, 201, 10, "pass", None, None),
        (101, 201, 13, "fail", None, None),
        (101, 201, 11, "inconclusive", "101 runs: too few to tell", None),
        (40, 201, 10, "inconclusive", TOO_FEW, 59),
        (40, 201, 13, "fail", None, None),  # even of so few more are slower than there may be
        (101, 40, 10, "pass", None, None),
        (101, 40, 13, "inconclusive", f"the baseline has {TOO_FEW}", None),
    ],
)
def test_a_percentile_against_a_baseline(
    runs: int, before: int, now_s: float, verdict: str, why: str | None, needed: int | None
) -> None:
    budget = wording("p(95) wall < +10% and +200ms", "here")
    (result,) = checked([budget], spread(runs, now_s), spread(before, 10)).budgets
    assert (result.verdict, result.why, result.needed) == (verdict, why, needed)


def test_several_estimates_are_as_seldom_wrong_together_as_one() -> None:
    one = wording("p(50) wall < 10.45s", "here")
    alone = checked([one], spread(60, 10)).budgets[0]
    among = checked([one] * 20, spread(60, 10)).budgets[0]
    assert (alone.verdict, among.verdict) == ("pass", "inconclusive")


def test_a_budget_that_only_warns_decides_nothing() -> None:
    broken = wording("wall < 1s", "here", "warn")
    assert checked([broken], spread(9, 10)).verdict == "pass"
    assert checked([broken, wording("wall < 1s", "here")], spread(9, 10)).verdict == "fail"


CALLS = run(
    """
    agent a   |-------------------|
      llm one   |---|                 ttft=1
      tool t          |--|
      agent b             |-----|
        llm two            |---|
    """,
    one=called(model="fast", ttft_ns=S),
)


@pytest.mark.parametrize(
    ("text", "verdict", "worst"),
    [
        ("call.llm < 5s", "pass", 4 * S),
        ("call.llm < 4s", "fail", 4 * S),
        ("call.tool{tool=t} < 4s", "pass", 3 * S),
        ("call.tool{tool=u} < 4s", "inconclusive", None),
        ("call.llm{agent=b} < 5s", "pass", 4 * S),
        ("first_token{model=fast} < 2s", "pass", S),
        ("first_token{model=fast} < 1s", "fail", S),
        ("first_token < 2s", "inconclusive", S),  # of the other nobody says it
        ("count CP101 == 0", "pass", 0),
    ],
)
def test_budgets_of_calls(text: str, verdict: str, worst: int | None) -> None:
    (result,) = held([wording(text, "here")], [CALLS]).budgets
    assert (result.verdict, result.worst) == (verdict, worst)


def test_what_a_broken_budget_names() -> None:
    (result,) = held([wording("call.llm < 4s", "here")], [CALLS]).budgets
    (violation,) = result.violations
    assert (violation.name, violation.amount, violation.span_id) == ("a", 4 * S, "one")
    assert [(at.name, at.ns) for at in violation.path] == [
        ("one", 4 * S),
        ("two", 4 * S),
        ("t", 3 * S),
    ]


CODE = run(
    """
    agent a   |-------------------------|
      llm one   |--|
      tool s        |------|
      tool t               |--|
      agent b                   |-----|
        llm two                  |---|
    """,
    one=called(tokens=Tokens(10, 1)) | {"where": "agent.py:41 run"},
    s={"where": "tools.py:7 search"},
    t={"where": "tools.py:9 fetch"},
    two=called() | {"where": "agent.py:60 answer"},
)


@pytest.mark.parametrize(
    ("text", "span", "where"),
    [
        ("wall < 1s", "s", "tools.py:7 search"),
        ("p(50) wall < 1s", "s", "tools.py:7 search"),
        ("path.llm < 1s", "two", "agent.py:60 answer"),
        ("path.tool < 1s", "s", "tools.py:7 search"),
        ("share tool < 1%", "s", "tools.py:7 search"),
        ("share llm < 1%", "two", "agent.py:60 answer"),
        ("call.tool{tool=t} < 1s", "t", "tools.py:9 fetch"),
        ("call.llm < 1s", "claude-opus-5-5", "agent.py:60 answer"),
        ("call.llm{agent=a} < 1s", "claude-opus-5-5", "agent.py:60 answer"),
        ("tokens.output < 10", "claude-opus-5-5", "agent.py:60 answer"),
        ("cost < $0.0001", "claude-opus-5-5", "agent.py:60 answer"),
        ("path.agent < 1s", None, None),
        # The first one that is too many.
        ("calls.llm < 1", "claude-opus-5-5", "agent.py:41 run"),
        ("calls.llm < 2", "claude-opus-5-5", "agent.py:60 answer"),
        ("calls.tool <= 1", "t", "tools.py:9 fetch"),
        ("calls.tool > 4", None, None),
        ("turns < 1", None, None),
        ("wall > 1m", "s", "tools.py:7 search"),
    ],
)
def test_the_span_and_the_line_to_blame(text: str, span: str | None, where: str | None) -> None:
    found = checked(
        [wording(text, "here")],
        [sampled(CODE, wording(text, "here").measures)]
        * (1 if wording(text, "").aggregate == "each" else 6),
    )
    (result,) = found.budgets
    assert result.verdict == "fail"
    assert {(one.span, one.where) for one in result.violations} == {(span, where)}


def test_a_finding_is_to_blame_where_it_is() -> None:
    sequence = run(
        """
        agent a   |------------------|
          llm one   |---|              issued=x,y
          tool s        |-----|        call_id=x
          tool t              |----|   call_id=y
        """,
        s={"where": "tools.py:7 search"},
        t={"where": "tools.py:9 fetch"},
    )
    assert sequence.findings[0].code == "CP101"
    (result,) = held([wording("count CP101 == 0", "here")], [sequence]).budgets
    (violation,) = result.violations
    assert (result.verdict, violation.where) == ("fail", "tools.py:7 search")
    assert violation.span == sequence.findings[0].title
    assert violation_lines(violation, "findings", 8) == [
        f"run ffffffff 1: {sequence.findings[0].title}",
        "  at tools.py:7 search",
    ]


PARTS = run(
    """
    agent a   |-------------------------|
      llm one   |---|
      tool s        |------|
      llm two              |---|
    """,
    one=called() | {"where": "agent.py:41 run"},
    s={"where": "tools.py:7 search"},
    two=called(),
)
"""26 s: 8 s of models, 7 s of a tool, and 11 s of the agent itself."""


@pytest.mark.parametrize(
    ("text", "verdict", "parts"),
    [
        (
            "wall < 30s: model 35%, tool 25%, buffer 40%",
            "pass",
            [("pass", 2.5, False), ("pass", 0.5, True), ("pass", 1.0, True)],
        ),
        (
            "wall < 30s: model 40%, tool 20%",
            "fail",
            [("pass", 4.0, False), ("fail", -1.0, False)],
        ),
        ("wall < 30s: buffer 50%, tool 30%", "fail", [("fail", -4.0, False), ("pass", 2.0, False)]),
        # A part that is kept is no excuse for the whole.
        ("wall < 20s: model 40%, tool 35%", "fail", [("fail", 0.0, False), ("fail", 0.0, False)]),
        ("wall <= 20s: model 40%, tool 35%", "fail", [("pass", 0.0, True), ("pass", 0.0, True)]),
        # These calls cannot be split, so nobody knows the first token, nor what is left of it.
        (
            "wall < 30s: first_token 50%, buffer 50%",
            "inconclusive",
            [("inconclusive", None, False), ("inconclusive", None, False)],
        ),
        (
            "mean wall < 30s: model 40%, tool 20%",
            "fail",
            [("pass", 4.0, False), ("fail", -1.0, False)],
        ),
        (
            "p(50) wall < 30s: model 40%, buffer 50%",
            "fail",
            [("pass", 4.0, False), ("fail", -3.0, False)],
        ),
    ],
)
def test_parts_of_a_budget(
    text: str, verdict: str, parts: list[tuple[str, float | None, bool]]
) -> None:
    (result,) = held([wording(text, "here")], [PARTS] * 9).budgets
    assert result.verdict == verdict
    assert [
        (one.verdict, None if one.left is None else one.left / S, one.is_near)
        for one in result.allotted
    ] == parts
    assert (result.verdict == "inconclusive") == (result.why is not None)


def test_a_part_that_is_broken_names_its_own_code() -> None:
    (result,) = held([wording("wall < 30s: tool 20%, model 40%", "here")], [PARTS]).budgets
    (violation,) = result.violations
    assert (violation.span, violation.where, violation.path[0].ns) == (
        "s",
        "tools.py:7 search",
        7 * S,
    )


def test_what_is_left_of_a_run_without_times_is_unknown() -> None:
    (result,) = held([wording("wall < 30s: tool 20%, buffer 9%", "here")], [TIMELESS]).budgets
    assert (result.verdict, result.left) == ("inconclusive", None)
    assert [(one.verdict, one.left) for one in result.allotted] == [("inconclusive", None)] * 2


def test_every_part_counts_as_an_estimate() -> None:
    text = "p(50) wall < 10.45s"
    assert checked([wording(text, "here")], spread(60, 10)).budgets[0].interval != (
        checked([wording(f"{text}: buffer 99%", "here")], spread(60, 10)).budgets[0].interval
    )
