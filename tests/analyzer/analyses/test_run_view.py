"""What reports show of a run: the rows of its spans, and the facts around them."""

from collections.abc import Sequence

from hypothesis import given, settings
from msgspec.structs import asdict, replace

from causepath_analyzer.analyses.run import explained
from causepath_analyzer.analyses.run_view import KindTime, Long, RunView, run_view
from causepath_analyzer.analyses.span_rows import Folded, shown_rows
from causepath_analyzer.model import NO_SPAN, Span
from causepath_analyzer.read.tree.build import build
from tests.analyzer.analyses.test_critical_path import ugly
from tests.support.drawn import MS, drawn

UNIT = 100 * MS
TRACE = drawn(
    """
    agent run      |--------------------|    service=demo session=s1
      llm chat       |----|                  ttft=2 issued=a,b tokens=10/5 finish=tool_call
      tool one             |-----|           call_id=a asked_by=chat
      tool two                    |---|      call_id=b asked_by=chat
        other deep                 |-|
      llm last                         |--|  results=one,two
    """,
    unit_ns=UNIT,
)


def test_rows_of_a_run() -> None:
    rows = shown_rows(explained(TRACE))
    told = [
        (row.label, row.depth, row.kind, row.path_ns // UNIT, row.finding, row.path)
        for row in rows.rows
    ]
    assert told == [
        ("chat", 0, "generation", 5, None, ((2 * UNIT, 4 * UNIT), (4 * UNIT, 7 * UNIT))),
        ("one", 0, "tool", 6, 0, ((8 * UNIT, 14 * UNIT),)),
        (
            "two",
            0,
            "tool",
            2,
            0,
            ((15 * UNIT, 16 * UNIT), (16 * UNIT, 18 * UNIT), (18 * UNIT, 19 * UNIT)),
        ),
        ("deep", 1, "tool", 2, None, ((16 * UNIT, 18 * UNIT),)),
        ("last", 0, "llm", 3, None, ((20 * UNIT, 23 * UNIT),)),
    ]
    assert rows.folded == Folded(0, 0, {})


def test_rows_that_are_folded_are_counted() -> None:
    spans = [Span("t", "root", "", "root", 0, 100 * MS, "agent")]
    spans += [
        Span("t", f"{i:04}", "root", ("a", "execute_tool b")[i % 3 == 0], i * MS, (i + 1) * MS)
        for i in range(100)
    ]
    run = explained(build(spans))
    rows = shown_rows(run, 10)
    assert [row.span.span_id for row in rows.rows] == [f"{i:04}" for i in range(10)]
    assert rows.folded == Folded(90, 90 * MS, {"a": 60, "tool b": 30})
    every = shown_rows(run, None)
    assert (len(every.rows), every.folded) == (100, Folded(0, 0, {}))
    assert run_view(run, most_rows=0).rows.rows == ()


def facts(view: RunView) -> dict[str, object]:
    """Leaves out what other tests compare, and what is as the run has it."""
    told = asdict(view)
    for name in ("run", "rows", "findings", "lacking"):
        del told[name]
    return told


def test_facts_about_a_run() -> None:
    run = explained(TRACE)
    view = run_view(run)
    assert facts(view) == {
        "name": "run",
        "service": "demo",
        "session": "s1",
        "left_open": None,
        "edges": {"data": 2, "issue": 1},
        "kinds": (
            KindTime("tool", 10 * UNIT, 10 / 23, 10 * UNIT),
            KindTime("agent", 5 * UNIT, 5 / 23, None),
            KindTime("generation", 3 * UNIT, 3 / 23, 3 * UNIT),
            KindTime("llm", 3 * UNIT, 3 / 23, 3 * UNIT),
            KindTime("first_token", 2 * UNIT, 2 / 23, 2 * UNIT),
        ),
        "goes_on": None,
        "is_unmeasured": True,
        "branch": None,
        "alone": None,
        "money": None,
        "together_share": None,
        "apart_ns": None,
        "then_ns": 19 * UNIT,
        "together_usd": None,
        "together_usd_share": None,
        "apart_usd": None,
        "why_none": None,
        "next": "finding",
    }
    assert [(shown.finding.code, shown.names) for shown in view.findings] == [
        ("CP101", ("one", "two"))
    ]


def test_facts_about_a_run_that_shows_little() -> None:
    trace = drawn("other a |--------|\n  other b  |-|", unit_ns=UNIT)
    spans = [replace(span, left_open=span.name == "b") for span in trace.spans]
    view = run_view(explained(build(spans)))
    assert facts(view) == {
        "name": "a",
        "service": None,
        "session": None,
        "left_open": "b",
        "edges": {},
        "kinds": (KindTime("other", 9 * UNIT, 1.0, None),),
        "goes_on": None,
        "is_unmeasured": False,
        "branch": None,
        "alone": Long("a", 7 * UNIT),
        "money": None,
        "together_share": None,
        "apart_ns": None,
        "then_ns": 9 * UNIT,
        "together_usd": None,
        "together_usd_share": None,
        "apart_usd": None,
        "why_none": "no_calls",
        "next": "doctor",
    }


@settings(max_examples=200, deadline=None)
@given(ugly())
def test_rows_and_kinds_add_up_to_the_wall(spans: Sequence[Span]) -> None:
    run = explained(build(spans))
    trace = run.trace
    bare_ns = sum(s.end_ns - s.start_ns for s in run.path.sections if s.span == NO_SPAN)
    for most in (0, 2, None):
        rows = shown_rows(run, most)
        headline_ns = trace.wall_ns - bare_ns - rows.folded.path_ns
        headline_ns -= sum(row.path_ns for row in rows.rows)
        shown = len(rows.rows) + rows.folded.rows
        # A single root is in the headline; of all others the time is in a row.
        assert (shown, headline_ns == 0) == (len(trace.spans), True) or (
            shown == len(trace.spans) - 1 and len(trace.roots) == 1 and headline_ns >= 0
        )
        assert most is None or len(rows.rows) <= most
        for row in rows.rows:
            assert row.path_ns <= sum(end - start for start, end in row.path) <= trace.wall_ns
    view = run_view(run)
    if not trace.untrusted:
        assert sum(kind.wall_ns for kind in view.kinds) == trace.wall_ns
    assert (view.why_none is None) == bool(view.findings) == (view.next == "finding")


def test_calls_of_embedding_models_are_told_as_not_counted() -> None:
    trace = drawn(
        """
        agent run        |-----------|
          embedding one   |-|
          embedding two     |-|
          llm chat            |------|   tokens=10/5
        """
    )
    used = explained(trace).usage
    assert (used.tokens.input, used.tokens.output, used.notes) == (
        10,
        5,
        ("2 embedding calls: tokens neither counted nor priced",),
    )
