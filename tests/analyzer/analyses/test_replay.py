"""A schedule that nothing changes is the trace it came from, to the nanosecond."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from causepath_analyzer.analyses.path.causes import causes
from causepath_analyzer.analyses.path.kinds import span_kinds
from causepath_analyzer.analyses.replay.schedule import Changes, Schedule, Slot, replayed, schedule
from causepath_analyzer.model import Link, ModelCall, Span, ToolCall, Trace
from causepath_analyzer.read import read
from causepath_analyzer.read.tree.build import build
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
    early = {event for event, gap in enumerate(plan.gaps) if gap < 0}
    joined = range(2 * len(trace.spans), len(plan.gates))
    assert early <= set(joined), "an event came before what held it, which was not closed late"
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


def replayed_in_full(plan: Schedule, changes: Changes) -> Sequence[int]:
    """When every event happens: the definition, with nothing taken over from the trace.

    Every event comes after all that it depends on, else in the order it had; of events in a circle
    what held them last does not. Those who wait for an event with a join wait for `later` of it.
    """
    gates = [changes.gates.get(event, held_by) for event, held_by in enumerate(plan.gates)]
    gaps = [changes.gaps.get(event, gap) for event, gap in enumerate(plan.gaps)]
    slots = {e: s for e, s in {**plan.slots, **changes.slots}.items() if s.limit <= len(s.ends)}
    count = len(gates)
    order: list[int] = []
    seen: set[int] = set()

    def later(event: int) -> int:
        return count + event if event in changes.joins else event

    def visit(event: int) -> None:
        if event in seen:
            return
        seen.add(event)
        if event >= count:
            needs = [event - count, *changes.joins[event - count][0]]
        else:
            needs = [*map(later, gates[event]), *(slots[event].ends if event in slots else ())]
        for need in reversed(needs):
            visit(need)
        order.append(event)

    if changes.gates or changes.slots or changes.joins:
        for event in plan.order:
            visit(event)
    else:
        order = list(plan.order)
    origin = plan.trace.start_ns
    times = [origin] * 2 * count
    for event in order:
        if event >= count:
            joined, more = changes.joins[event - count]
            after = max(times[other] for other in joined) + more
            times[event] = max(times[event - count], after)
            continue
        at = max((times[later(gate)] for gate in gates[event]), default=origin) + gaps[event]
        if event in slots:
            slot = slots[event]
            free = sorted((times[end] for end in slot.ends), reverse=True)[slot.limit - 1]
            at = max(at, free + slot.gap_ns)
        times[event] = at
    return times[:count]


@given(ugly(), st.data())
@settings(max_examples=200, deadline=None)
def test_a_replay_is_what_its_definition_says(spans: Sequence[Span], data: st.DataObject) -> None:
    plan = schedule_of(build(spans))
    events = st.integers(0, len(plan.gates) - 1)
    several = st.lists(events, min_size=1, max_size=3, unique=True).map(tuple)
    gaps = st.integers(0, 20)
    changes = Changes(
        gates=data.draw(st.dictionaries(events, several, max_size=3)),
        gaps=data.draw(st.dictionaries(events, gaps, max_size=3)),
        slots=data.draw(
            st.dictionaries(events, st.builds(Slot, st.integers(1, 3), several, gaps), max_size=2)
        ),
        joins=data.draw(st.dictionaries(events, st.tuples(several, gaps), max_size=2)),
    )
    times = replayed_in_full(plan, changes)
    found = replayed(plan, changes)
    starts, ends = list(times[0 : 2 * len(spans) : 2]), list(times[1 : 2 * len(spans) : 2])
    starts, ends = starts[: len(found.starts_ns)], ends[: len(found.ends_ns)]
    for i in plan.waits:
        starts[i] = min(starts[i], ends[i])
    ends = list(map(max, starts, ends))
    assert (list(found.starts_ns), list(found.ends_ns)) == (starts, ends)
