"""A schedule that nothing changes is the trace it came from, to the nanosecond."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from causepath_analyzer.analyses.causes import causes
from causepath_analyzer.analyses.kinds import span_kinds
from causepath_analyzer.analyses.replay import Schedule, replayed, schedule
from causepath_analyzer.model import Link, ModelCall, Span, ToolCall, Trace
from causepath_analyzer.read import read
from causepath_analyzer.read.tree import build
from tests.analyzer.corpus import corpus
from tests.support.drawn import drawn


def schedule_of(trace: Trace) -> Schedule:
    return schedule(trace, causes(trace, span_kinds(trace)))


def assert_identical(trace: Trace) -> None:
    plan = schedule_of(trace)
    again = replayed(plan)
    assert list(again.starts_ns) == [span.start_ns for span in trace.spans]
    assert list(again.ends_ns) == [span.ended_ns for span in trace.spans]
    assert again.wall_ns == trace.wall_ns
    assert min(plan.gaps) >= 0, "an event came before what held it"
    assert sorted(plan.order) == list(range(len(plan.gates)))


def test_every_real_trace_replays_to_itself() -> None:
    replayed_traces = 0
    for folder in ("agents", "services"):
        for trace in read([str(corpus(folder))]).traces:
            assert_identical(trace)
            replayed_traces += 1
    assert replayed_traces > 150


@st.composite
def ugly(draw: st.DrawFn) -> Sequence[Span]:
    """Anything a tracer may write: orphans, circles, overflow, ties, links to anywhere."""
    ids = [f"{i:02}" for i in range(draw(st.integers(1, 14)))]
    spans = []
    for span_id in ids:
        category = draw(
            st.sampled_from(["other", "llm", "llm", "tool", "tool", "agent", "chain", "wait"])
        )
        start = draw(st.integers(0, 30))
        links = draw(st.lists(st.sampled_from(ids), max_size=2))
        asked = tuple(draw(st.lists(st.sampled_from(ids), max_size=3)))
        call_id = draw(st.one_of(st.none(), st.sampled_from(ids)))
        spans.append(
            Span(
                "t",
                span_id,
                draw(st.sampled_from([*ids, *ids[:2], "", "gone"])),
                draw(st.sampled_from(["a", "b"])),
                start,
                draw(st.one_of(st.none(), st.integers(start, 40), st.integers(0, 40))),
                category,
                draw(st.sampled_from(["internal", "server", "client"])),
                model_call=ModelCall(ttft_ns=draw(st.integers(0, 9)), issued=asked)
                if category == "llm"
                else None,
                tool_call=ToolCall("t", call_id) if category == "tool" else None,
                links=tuple(
                    Link(to, draw(st.sampled_from(["tool_call", "tool_result", "content", None])))
                    for to in links
                ),
            )
        )
    return draw(st.permutations(spans))


@given(ugly())
@settings(max_examples=400, deadline=None)
def test_any_trace_replays_to_itself(spans: Sequence[Span]) -> None:
    assert_identical(build(spans))


def test_a_trace_of_many_siblings_stays_fast() -> None:
    waves = [
        Span("t", f"{wave:02}.{i:04}", "run", "s", 10 * wave, 10 * wave + 1 + i % 8, "other")
        for wave in range(20)
        for i in range(500)
    ]
    trace = build([Span("t", "run", "", "run", 0, 1000, "agent"), *waves])
    assert_identical(trace)
    assert sum(map(len, schedule_of(trace).gates)) < 8 * len(trace.spans)


def test_a_pool_replays_to_itself() -> None:
    assert_identical(
        drawn(
            """
            agent run    |---------------------------------|
              llm one     |---|
              tool t           |-----|                        asked_by=one
              tool u           |---|                          asked_by=one
              tool v                 |---|                    asked_by=one
              tool w                   |-----|                asked_by=one
              tool x                          |--|            asked_by=one
              llm two                                |--|
            """
        )
    )
