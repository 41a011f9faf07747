"""Repairs, one by one and in their order."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from causepath_analyzer.model import Category, Health, ModelCall, Span, SpanKind, Trace
from causepath_analyzer.read.tree.build import Counts, build, mended, well_formed
from causepath_analyzer.read.tree.merge_records import looked_through, may_hold_twins
from tests.support.drawn import MS, drawn, spans_drawn


def tree_of(trace: Trace) -> str:
    """ "parent>child start-end" per span in ms, roots without parent."""
    return " ".join(
        f"{trace.spans[parent].name + '>' if parent >= 0 else ''}{span.name}"
        f" {span.start_ns // MS}-{span.ended_ns // MS}"
        for span, parent in zip(trace.spans, trace.parents, strict=True)
    )


LOST = "1 span without a parent hangs below the span in whose time it lies"


@pytest.mark.parametrize(
    ("drawing", "expected", "health"),
    [
        pytest.param(
            """
            other s    |--------|
              other a    |--|
            """,
            "s 0-9 s>a 2-5",
            Health(spans=2),
            id="nothing to mend",
        ),
        pytest.param(
            """
            other s    |-----|
            other a       |------|   parent=gone
            """,
            "s 0-6 a 3-10",
            Health(spans=2, orphans=1),
            id="an absent parent makes a root",
        ),
        pytest.param(
            """
            other s    |--------|
            other a      |--|        parent=gone
            """,
            "s 0-9 s>a 2-5",
            Health(spans=2, orphans=1, notes=(LOST,)),
            id="a lost root hangs below the span in whose time it lies",
        ),
        pytest.param(
            """
            agent s    |--------|
              llm b      |----|
            llm a         |-|        parent=gone
            """,
            "s 0-9 s>b 2-7 s>a 3-5",
            Health(spans=3, orphans=1, notes=(LOST,)),
            id="where that is busy, beside what it is busy with",
        ),
        pytest.param(
            """
            other s    |--------|    parent=s
            """,
            "s 0-9",
            Health(spans=1, cycles=1),
            id="so does a span that is its own parent",
        ),
        pytest.param(
            """
            other a    |--------|    parent=c
            other b     |------|     parent=a
            other c      |----|      parent=b
            """,
            "a 0-9 a>b 1-8 b>c 2-7",
            Health(spans=3, cycles=1),
            id="a cycle is broken at its first member",
        ),
        pytest.param(
            """
            other s    |--------|
              other a    |--|
              other a    |----|      id=a
              other a    |----|      id=a
            """,
            "s 0-9 s>a 2-7",
            Health(spans=2, duplicates=2),
            id="of a repeated id the latest end stays",
        ),
        pytest.param(
            """
            other s    |-->
              other a    |->
                other b   |---|
            """,
            "s 0-7 s>a 2-7 a>b 3-7",
            Health(spans=3, unfinished=2),
            id="an unfinished span ends with its latest descendant",
        ),
        pytest.param(
            """
            other s    |--------|
              other a    |-|
                other b       |-|
            """,
            "s 0-9 s>a 2-4 s>b 7-9",
            Health(
                spans=3,
                rehung=1,
                notes=("1 span ran wholly outside its parent and hangs higher up",),
            ),
            id="outside its parent: the nearest ancestor that covers its start",
        ),
        pytest.param(
            """
            other s    |--|
              other a        |-|
            """,
            "s 0-3 a 6-8",
            Health(
                spans=2,
                rehung=1,
                notes=("1 span ran wholly outside its parent and hangs higher up",),
            ),
            id="outside all of them: a root",
        ),
    ],
)
def test_repairs(drawing: str, expected: str, health: Health) -> None:
    trace = drawn(drawing)
    assert (tree_of(trace), trace.health) == (expected, health)


def test_a_child_on_another_host_moves_into_the_middle_of_its_parent_with_all_below_it() -> None:
    trace = drawn(
        """
        other s        |---------|     host=x
          other a    |-----|           host=y
            other b    |-|             host=y
        """
    )
    assert tree_of(trace) == "s 2-12 s>a 4-10 a>b 6-8"
    assert trace.health == Health(spans=3, skewed=2)


def test_inside_one_host_a_child_is_never_moved() -> None:
    trace = drawn(
        """
        other s        |---------|     host=x
          other a    |-----|           host=x
        """
    )
    assert tree_of(trace) == "s>a 0-6 s 2-12"
    assert trace.health == Health(spans=2)


def test_an_end_before_the_start_becomes_the_start() -> None:
    (span,) = spans_drawn("other s |---|", start_ns=10 * MS)
    backwards = Span(span.trace_id, "s", "", "s", 10 * MS, 4 * MS)
    trace = build([backwards])
    assert tree_of(trace) == "s 10-10"
    assert trace.health == Health(spans=1, negative=1, notes=("1 span ended before it started",))


def test_the_wall_is_from_the_earliest_start_to_the_end_of_the_run() -> None:
    trace = drawn(
        """
        other s      |-----|
          other a      |--------|
        other b   |---|
        """
    )
    assert (trace.start_ns, trace.end_ns, len(trace.roots)) == (0, 9 * MS, 2)
    assert trace.after_ns == 5 * MS


def ended_at_once(starts: Sequence[int]) -> Trace:
    spans = [Span("t", "root", "", "root", 0, 1000 * MS)]
    spans += [Span("t", f"{i}", "root", "call", s * MS, 999 * MS) for i, s in enumerate(starts)]
    return build(spans)


def test_ends_of_a_flush_are_not_trusted() -> None:
    assert ended_at_once([10, 300, 700]).untrusted
    assert not ended_at_once([10, 20, 30]).untrusted  # really parallel
    assert not ended_at_once([10]).untrusted


_IDS = st.sampled_from("abcdef")
_CATEGORIES: st.SearchStrategy[Category] = st.sampled_from(("llm", "tool", "agent", "chain"))
_KINDS: st.SearchStrategy[SpanKind] = st.sampled_from(("internal", "client", "server"))
_MODEL_CALLS = st.builds(ModelCall, model=st.sampled_from("mn"), rest_of_stream=st.booleans())
_ANY_SPANS = st.lists(
    st.builds(
        Span,
        trace_id=st.just("t"),
        span_id=_IDS,
        parent_id=_IDS | st.just(""),
        name=st.just("n"),
        start_ns=st.integers(0, 6),
        end_ns=st.integers(0, 9) | st.none(),
        category=_CATEGORIES,
        kind=_KINDS,
        service=st.sampled_from("xy"),
        host=st.sampled_from("xy"),
        model_call=_MODEL_CALLS,
        scope=st.sampled_from("pq"),
    ),
    min_size=1,
    max_size=6,
)
_TREES = st.integers(1, 6).flatmap(
    lambda size: st.tuples(
        *(
            st.builds(
                Span,
                trace_id=st.just("t"),
                span_id=st.just("abcdef"[i]),
                parent_id=st.sampled_from("abcdef"[:i]) if i else st.just(""),
                name=st.just("n"),
                start_ns=st.integers(i, i + 2),
                end_ns=st.integers(i + 2, 30),
                category=_CATEGORIES,
                service=st.sampled_from("xxxy"),
                host=st.sampled_from("xy"),
                model_call=_MODEL_CALLS,
                scope=st.just("p"),
            )
            for i in range(size)
        )
    )
)
"""Mostly in order, so that the quick ways are gone as well."""


@given(_ANY_SPANS | _TREES)
def test_what_needs_no_repair_is_what_the_repairs_leave_alone(spans: Sequence[Span]) -> None:
    counts = Counts()
    repaired = mended(spans, counts)
    quick = well_formed(spans)
    assert quick is None or (quick, counts) == (repaired, Counts())


@given(_ANY_SPANS | _TREES)
def test_where_no_twins_can_be_none_are_found(spans: Sequence[Span]) -> None:
    kept, parents = mended(spans, Counts())
    found = looked_through(kept, parents)
    assert may_hold_twins(kept, parents) or (found.spans, found.parents) == (kept, parents)
