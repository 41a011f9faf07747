"""Predictions over several runs: sizes, the last answer, the user's retries, what is unknown."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from causepath_analyzer.analyses.predictions.prediction import (
    Entry,
    entry,
    past_errors,
    prediction,
    verified,
)
from causepath_analyzer.analyses.predictions.whatif import WhatIf, what_if
from causepath_analyzer.analyses.replay.edits import edit
from causepath_analyzer.analyses.replay.ranges import Doubt, PastErrors, estimate
from causepath_analyzer.errors import UsageError
from causepath_analyzer.model import Link, ModelCall, Span, Tokens, ToolCall, Trace
from causepath_analyzer.read.tree.build import build
from tests.support.drawn import MS, drawn
from tests.support.edited import changed


def run(
    calls: Sequence[tuple[int, int]], *, first: bool = True, model: str = "m", streamed: bool = True
) -> Trace:
    """An agent that makes calls of so many input and output tokens: 100 ms and 0.1 ms for each
    input token until the first token, then 5 ms for each output token; 10 ms of its own between."""
    spans = []
    at = 0
    for n, (given, written) in enumerate(calls):
        ttft = 100 + given // 10
        end = at + ttft + 5 * written
        told = ModelCall(
            model,
            tokens=Tokens(given, written),
            ttft_ns=ttft * MS if first else None,
            streamed=streamed if first else None,
        )
        spans.append(Span("t", f"c{n}", "r", "chat", at * MS, end * MS, "llm", model_call=told))
        at = end + 10
    return build([Span("t", "r", "", "demo", 0, at * MS, "agent"), *spans])


CALLS = [(1000, 10), (2000, 20), (4000, 5), (8000, 60)]
# First tokens 200, 300, 500, 900 = 1900; the rest 50, 100, 25, 300 = 475; 40 of its own: 2415


MIXED = [(1000, 60), (2000, 20), (4000, 5), (8000, 30)]
# Long questions have no longer answers: 1900, 300 + 100 + 25 + 150 = 575, 40 of its own: 2515


def told(edits: Sequence[str], *traces: Trace) -> WhatIf:
    return what_if(traces or [run(CALLS), run(CALLS)], [edit(text) for text in edits])


@pytest.mark.parametrize(
    ("edits", "then"),
    [
        (["shrink input=0.5"], 2415 - 750),  # half of the 0.1 ms for each of 15,000 tokens
        (["shrink output=0.2"], 2415 - 380),
        (["shrink llm#last input=0.5"], 2415 - 400),
        (["shrink llm#1 output=0"], 2415 - 50),
        (["shrink input=2"], 2415 + 1500),
        (["shrink input=0.5", "shrink output=0.2"], 2415 - 750 - 380),
        (["shrink input=0.5", "scale llm.first_token=0.5"], 2415 - 750 - 575),
        (["scale llm.first_token=0.5", "scale llm.generation=0"], 2415 - 950 - 475),
    ],
    ids=str,
)
def test_sizes(edits: list[str], then: int) -> None:
    found = told(edits)
    assert found.p50.now_ns == 2415 * MS
    assert found.p50.then_ns == pytest.approx(then * MS, abs=MS)
    assert found.unknown == ()


def test_both_sides_of_calls_whose_first_token_nobody_told() -> None:
    sizes = [(1000 * n, 10 + 10 * (n * 4 % 7)) for n in range(1, 7)]
    # 0.1 ms for each of 21,000 input tokens, 5 ms for each of 240 output tokens, 660 besides
    found = told(["shrink input=0.25", "shrink output=0.5"], *[run(sizes, first=False)] * 2)
    assert found.p50.now_ns == (2100 + 5 * sum(n for _, n in sizes) + 660) * MS
    less = 0.75 * 2100 + 0.5 * 5 * sum(n for _, n in sizes)
    assert found.p50.then_ns == pytest.approx(found.p50.now_ns - less * MS, rel=0.01)


def test_what_shrinks_costs_less_and_begins_sooner() -> None:
    found = told(["shrink input=0.5"], run(CALLS, model="gpt-4o"), run(CALLS, model="gpt-4o"))
    assert found.cost_now_usd is not None
    assert found.cost_then_usd is not None
    assert found.cost_then_usd < found.cost_now_usd
    assert found.answer is not None
    assert found.answer.now_ns == (2415 - 10 - 300) * MS
    assert found.answer.then_ns == pytest.approx((2415 - 10 - 300 - 750) * MS, abs=MS)


def test_a_slope_that_the_traces_do_not_show_is_unknown_and_no_number_is_made_up() -> None:
    alike = [(1000, 10)] * 6
    found = told(["shrink input=0.5"], run(alike), run(alike))
    (why,) = found.unknown
    assert why == (
        "how much sooner the first token of m comes with less input: "
        "the sizes of its 12 calls hardly differ"
    )
    assert (found.p50.low_ns, found.p50.high_ns) == (None, None)
    assert verified(prediction(found), [run(alike)]).inside is None


@pytest.mark.parametrize(
    "streamed",
    [
        # Another agent's calls of the model say how long a first token takes.
        [run(MIXED), run(MIXED)],
        # Else the answers of different lengths do.
        [run(MIXED, first=False)],
    ],
    ids=["from calls that were streamed", "from lengths"],
)
def test_a_streamed_answer_begins_sooner_and_ends_as_late(streamed: list[Trace]) -> None:
    found = told(["stream"], run(MIXED, first=False), *streamed)
    assert found.p50.then_ns == found.p50.now_ns == 2515 * MS
    assert found.answer is not None
    assert found.answer.then_ns == pytest.approx((2515 - 10 - 150) * MS, rel=0.03)


def test_a_streamed_answer_is_judged_by_when_it_begins() -> None:
    before = [run(MIXED, first=False)] * 3
    kept = prediction(told(["stream"], *before))
    came = verified(kept, [run(MIXED)] * 3)
    assert came.answer_ns == (2515 - 10 - 150) * MS
    assert came.saved_ns == 150 * MS
    assert came.error is not None
    assert entry(came, "now").measured_saving_ns == 150 * MS
    late = verified(kept, [run([*MIXED[:3], (9900, 5)])] * 3)
    assert late.inside is False
    with pytest.raises(UsageError, match="do not tell when the last answer began"):
        verified(kept, [_streamed_untold(run(MIXED))])


def _streamed_untold(trace: Trace) -> Trace:
    return build(
        [
            replace(s, model_call=replace(s.model_call, ttft_ns=None)) if s.model_call else s
            for s in trace.spans
        ]
    )


@pytest.mark.parametrize(
    ("traces", "why"),
    [
        ([run(CALLS)], "the last answer of every run is streamed already"),
        ([run([(1000, 10)] * 4, first=False)], "how long the first token takes is not known"),
        ([drawn("tool a |---|")], "there is no model call in these traces"),
    ],
    ids=["streamed", "unknown", "none"],
)
def test_what_cannot_be_streamed_is_refused(traces: list[Trace], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        what_if(traces, [edit("stream")])


OWN_RETRIES = """
    agent run   |------------------------------------|
      llm one      |--|                                  error=429 model=m tokens=0/0
      llm two          |-|                               error=429 model=m
      llm three               |----|                     model=m tokens=5/5
      tool look                      |--|                asked_by=three
      llm four                            |--|           model=m tokens=5/5
"""


def test_without_the_users_own_retries_the_answer_comes_at_the_first_attempt() -> None:
    found = changed(drawn(OWN_RETRIES), [edit("no-retries")])
    assert found.times.wall_ns == (37 - 11) * MS
    starts = dict(zip("r1234l", found.times.starts_ns, strict=False))
    assert starts["3"] == 3 * MS
    assert told(["no-retries"], drawn(OWN_RETRIES)).turns == 2


def test_retries_of_branches_side_by_side_are_left_out_in_each() -> None:
    found = changed(
        drawn("""
            agent run   |--------------------------|
              llm a1     |--|                           error=429 model=m blocks=a>
              llm b1     |---|                          error=429 model=m blocks=b>
              llm a2             |-----|                model=m blocks=a>x
              llm b2               |-------|            model=m blocks=b>y
        """),
        [edit("no-retries")],
    )
    assert found.times.wall_ns == (1 + 8 + 8) * MS  # both begin at 1, b2 is the longer one


def queries(*beside: int) -> Trace:
    """Two queries that begin together and take so long, if any, then three in turn of 40 ms."""
    spans = [Span("t", "r", "", "demo", 0, 300 * MS, "agent")]
    for call, tools in (
        ("a", [(10, 10 + took) for took in beside]),
        ("b", [(110, 150), (150, 190), (190, 230)]),
    ):
        at = tools[0][0] if tools else 10
        spans.append(Span("t", call, "r", "chat", (at - 10) * MS, at * MS, "llm"))
        spans += [
            Span(
                "t",
                f"{call}{n}",
                "r",
                "query",
                start * MS,
                end * MS,
                "tool",
                tool_call=ToolCall("q", f"{call}{n}"),
                links=(Link(call, "tool_call"),),
            )
            for n, (start, end) in enumerate(tools)
        ]
    return build(spans)


AGAINST = (
    "calls of q that overlapped took longer, as if they waited for each other (one connection, a "
    "lock), so there may be no saving"
)
NEVER = (
    "no two calls of q ran side by side in these traces; if they share a connection, a lock or the "
    "processor, nothing is saved"
)


@pytest.mark.parametrize(
    ("beside", "against"),
    [
        ((40, 41), ()),
        ((40, 80), (AGAINST,)),
        ((), (NEVER,)),
    ],
    ids=["side by side", "one connection", "never seen"],
)
def test_a_saving_is_an_upper_bound_unless_calls_are_seen_to_run_side_by_side(
    beside: tuple[int, ...], against: tuple[str, ...]
) -> None:
    found = told(["CP101"], *[queries(*beside)] * 3)
    assert found.p50.now_ns - found.p50.then_ns == 80 * MS
    assert found.against == against
    assert found.p50.high_ns is not None
    assert (found.p50.high_ns > found.p50.now_ns) == bool(against)


def test_a_change_that_few_runs_need_is_judged_by_the_mean_of_all() -> None:
    plain = drawn("""
        agent run   |-------------------------|
          llm three     |----|                     model=m tokens=5/5
          tool look            |--|                asked_by=three
          llm four                  |--|           model=m tokens=5/5
    """)
    found = told(["no-retries"], *[plain] * 4, drawn(OWN_RETRIES))
    assert found.touched == 1
    assert found.p50.then_ns == found.p50.now_ns == 26 * MS
    assert (found.mean.now_ns, found.mean.then_ns) == ((4 * 26 + 37) * MS // 5, 26 * MS)
    came = verified(prediction(found), [plain] * 5)
    assert (came.saved_ns, came.error, came.inside) == (11 * MS // 5, 0.0, True)


@pytest.mark.parametrize(
    ("walls", "width"),
    [
        ([1000] * 5, 0.036),  # two measurements are never alike: a hundredth at least
        ([990, 995, 1000, 1005, 1010], 0.05),
        ([950, 980, 1000, 1100, 1400], 0.3),
    ],
    ids=["alike", "nearly", "busy"],
)
def test_a_range_is_as_wide_as_the_runs_differ(walls: list[int], width: float) -> None:
    ns = [wall * MS for wall in walls]
    found = estimate(ns, ns, 50, PastErrors(), Doubt())
    assert found.low_ns is not None
    assert found.high_ns is not None
    assert (found.high_ns - found.low_ns) / found.then_ns == pytest.approx(width, rel=0.4)
    less = estimate(ns, [n // 2 for n in ns], 50, PastErrors(), Doubt(at_most=True))
    assert (less.low_ns or 0) < less.then_ns < (less.high_ns or 0)
    assert (less.high_ns or 0) >= less.now_ns


def test_runs_of_as_many_turns_as_some_had_are_what_the_prediction_is_about() -> None:
    kept = prediction(told(["scale llm=0.5"], run(CALLS[:2]), run(CALLS[:3]), run(CALLS)))
    assert (kept.turns, kept.turns_between) == (3, (2, 4))
    assert verified(kept, [run(CALLS)]).runs == 1
    with pytest.raises(UsageError, match="predicted for 3 turns in a typical run, measured 1"):
        verified(kept, [run(CALLS[:1])])


def kept(now: int, then: int) -> Entry:
    return Entry("causepath.ledger/1", ("CP101",), ("CP101",), "", now, then, None, None, 1000)


@pytest.mark.parametrize("factor", ["0", "0.1", "0.5", "1", "3"])
@pytest.mark.parametrize("first", [True, False])
def test_a_part_shrinks_at_most_in_proportion(factor: str, first: bool) -> None:
    runs = [run(CALLS, first=first)] * 2
    now = 2415 * MS
    for side, part in (("input", 1900), ("output", 475)):
        most = (part if first else 2375) * MS * (float(factor) - 1)
        change = told([f"shrink {side}={factor}"], *runs).p50.then_ns - now
        assert min(most, 0) - MS <= change <= max(most, 0) + MS


def test_an_error_is_relative_only_to_something() -> None:
    drawing = """
        agent run   |------------------------|
          llm one    |--|                         model=m
          tool a         |---------|              asked_by=one
          tool b                    |-----|       asked_by=one
    """
    before = drawn(drawing)
    told = prediction(what_if([before] * 2, [edit("scale tool:a=0.5")]))
    assert told.p50.now - told.p50.then == 5 * MS
    nothing = verified(told, [before])
    assert (nothing.saved_ns, nothing.error_ns, nothing.error) == (0, 5 * MS, None)
    half = verified(told, [changed_wall(before, 3)])
    assert (half.saved_ns, half.error_ns, half.error) == (3 * MS, 2 * MS, 2 / 3)
    assert past_errors([kept(5, 90), kept(500, 400)], ["CP101"]).errors == (0.2,)


def changed_wall(trace: Trace, less: int) -> Trace:
    return build(
        [
            replace(span, end_ns=span.ended_ns - less * MS) if not span.parent_id else span
            for span in trace.spans
        ]
    )


def test_calls_that_were_not_counted_to_their_end_show_no_slope() -> None:
    def uncounted(trace: Trace) -> Trace:
        return build(
            [
                replace(s, model_call=replace(s.model_call, partial=True, partial_input=True))
                if s.model_call
                else s
                for s in trace.spans
            ]
        )

    found = told(["shrink input=0.5"], *[uncounted(run(CALLS))] * 2)
    (why,) = found.unknown
    assert why.endswith("comes with less input: their sizes or times are not known")


def test_turns_of_another_agent_that_become_one_are_no_turns_of_this_one() -> None:
    drawing = """
        agent run    |-------------------------------------------------|
          llm one     |---|
          tool ask         |-----------------------------------|          asked_by=one
            agent sub       |---------------------------------|
              llm s1         |---|                                        ttft=2
              tool a              |----|                                  asked_by=s1 given=x got=z
              llm s2                   |------|                           ttft=4 results=a
              tool b                          |----|                      asked_by=s2 given=x got=z
              llm s3                               |---|                  results=b
          llm two                                               |---|
    """
    trace = drawn(drawing, unit_ns=100 * MS)
    found = told(["CP103"], trace)
    assert (found.turns, found.touched) == (2, 1)
    assert found.p50.then_ns < found.p50.now_ns
