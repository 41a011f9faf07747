"""The walk: drawn cases, CRISP's table, and an independent definition asked at every instant."""

from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from causepath_analyzer.analyses.path.causes import causes
from causepath_analyzer.analyses.path.critical_path import critical_path
from causepath_analyzer.analyses.path.kinds import span_kinds
from causepath_analyzer.model import (
    NO_SPAN,
    TASKS,
    Category,
    Link,
    ModelCall,
    Span,
    SpanKind,
    ToolCall,
    Trace,
)
from causepath_analyzer.read import read
from causepath_analyzer.read.tree.build import build
from tests.analyzer.analyses.path_definition import Definition, instants
from tests.analyzer.corpus import corpus
from tests.support.drawn import MS, drawn


def path_of(trace: Trace) -> str:
    """The path as "name kind edge length" per section, lengths in ms."""
    kinds = span_kinds(trace)
    path = critical_path(trace, kinds, causes(trace, kinds))
    assert path.fault is None
    return "\n".join(
        f"{name(trace, s.span)} {s.kind} {s.edge} {(s.end_ns - s.start_ns) / MS:g}"
        for s in path.sections
    )


def name(trace: Trace, span: int) -> str:
    return "-" if span == NO_SPAN else trace.spans[span].name


@pytest.mark.parametrize(
    ("drawing", "expected"),
    [
        pytest.param(
            """
            agent s    |--------------------|
              llm a     |--|                   blocks=q1>a1
              llm b         |--|               blocks=2@a+q2>b1
              llm c             |--|           blocks=q1>c1
              llm d                 |--|       links=c
            """,
            "s agent time 1\na llm time 3\ns agent time 1\nb llm data 3\ns agent time 1\n"
            "c llm time 3\ns agent time 1\nd llm data 3\ns agent time 5",
            id="what blocks and links of anybody say",
        ),
        pytest.param(
            """
            other s    |----------|
              other a     |--|
            """,
            "s other time 3\na other time 3\ns other time 5",
            id="a child inside",
        ),
        pytest.param(
            """
            other s    |----------|
              other a  |----|
              other b       |-----|
            """,
            "a other time 5\nb other time 6",
            id="touching siblings leave nothing to their parent",
        ),
        pytest.param(
            """
            other s    |----------|
              other a    |-----|
              other b      |---|
            """,
            "s other time 2\na other time 6\ns other time 3",
            id="of equal ends the earliest start",
        ),
        pytest.param(
            """
            other s    |----------|
              other a   |----|
              other b      |-----|
            """,
            "s other time 4\nb other time 6\ns other time 1",
            id="what still runs when the last one starts was not waited for",
        ),
        pytest.param(
            """
            other s    |----------|
              other a   |---|
              other z       |
              other b       |--|
            """,
            "s other time 1\na other time 4\nb other time 3\ns other time 3",
            id="a span without length takes no time",
        ),
        pytest.param(
            """
            other s    |----------|
              other a  |----------|
            """,
            "a other time 11",
            id="a child that covers its parent",
        ),
        pytest.param(
            """
            other a    |---|
            other b           |---|
            """,
            "a other time 4\n- uncovered time 3\nb other time 4",
            id="two roots and a gap",
        ),
        pytest.param(
            """
            other a    |-------|
            other b        |------|
            """,
            "a other time 4\nb other time 7",
            id="roots that overlap leave nothing uncovered",
        ),
        pytest.param(
            """
            other z    |
            """,
            "z other time 0",
            id="a trace without length",
        ),
        pytest.param(
            """
            other r    |--------|
              other a          |--|
                other b          |
            """,
            "r other time 9",
            id="a span without length after the root takes no time either",
        ),
        pytest.param(
            """
            agent run    |------------------|
              llm one     |----|               ttft=2
              tool t            |---|
              llm two                |---|
            """,
            "run agent time 1\none first_token time 2\none generation data 3\nrun agent time 1\n"
            "t tool time 4\nrun agent time 1\ntwo llm time 4\nrun agent time 3",
            id="model calls split at the first token",
        ),
        pytest.param(
            """
            agent run    |--------------------|
              llm one     |------------------|   ttft=2 generated=5
            """,
            "run agent time 1\none first_token time 2\none generation data 3\none agent data 14\n"
            "run agent time 1",
            id="a stream that its consumer held, or left open, was not generating",
        ),
        pytest.param(
            """
            agent run    |--------------------|
              llm one     |------------------|   ttft=6 generated=5
            """,
            "run agent time 1\none first_token time 6\none agent data 13\nrun agent time 1",
            id="one that was held before its first token, too",
        ),
        pytest.param(
            """
            agent run    |--------------------|
              llm one     |------------------|   ttft=2 generated=15
            """,
            "run agent time 1\none first_token time 2\none generation data 17\nrun agent time 1",
            id="the little that every consumer takes is not told apart",
        ),
        pytest.param(
            """
            agent run          |----------------------------|
              llm one           |------------|                 ttft=10 turn=1
                retry fail      |-|                            error=429
                retry backoff     |---|
                network good          |-----|
              tool t                          |---|            asked_by=one
              tool u                               |---|       asked_by=one
              llm two                                   |--|   results=t,u
            """,
            "run agent time 1\nfail retry time 2\nbackoff retry data 4\n"
            "good first_token data 4\ngood generation data 2\none generation data 1\n"
            "run agent time 1\n"
            "t tool data 4\nrun agent time 1\nu tool issue 4\nrun agent time 1\n"
            "two llm data 3\nrun agent time 1",
            id="a retry and two tools of one reply",
        ),
        pytest.param(
            """
            agent run    |----------------|
              tool t       |-------------|
                llm sub      |---|
                other step         |-|
                database db            |-|
            """,
            "run agent time 2\nt tool time 2\nsub llm time 4\nt tool time 2\nstep tool data 2\n"
            "t tool data 2\ndb database data 2\nrun agent time 1",
            id="inside a tool other kinds count as themselves, mere steps as the tool",
        ),
    ],
)
def test_drawn_paths(drawing: str, expected: str) -> None:
    assert path_of(drawn(drawing)) == expected


def test_a_service_that_outlives_its_parent_was_not_waited_for() -> None:
    trace = drawn(
        """
        other s    |----------|
          other a     |----------|
            other b     |--|
        """
    )
    assert path_of(trace) == "s other time 11"
    assert trace.after_ns == 3 * MS


def test_what_goes_on_after_the_root_is_not_uncovered() -> None:
    trace = drawn(
        """
        other s        |----|
          other a        |------------|
            other b           |----|
            other c                      |--|
        """
    )
    assert path_of(trace) == (
        "s other time 5\na other time 2\nb other time 5\na other time 3\n- uncovered time 3\n"
        "c other time 3"
    )


def test_causes_cut_a_model_call_at_its_tool() -> None:
    left_open = drawn(
        """
        agent run  |-----------------|
          llm m     |---------|
          tool t        |---------|
        """
    )
    assert path_of(left_open) == "run agent time 1\nm llm time 4\nt tool time 10\nrun agent time 3"
    streaming = drawn(
        """
        agent run  |-----------------|
          llm m     |------------|
          tool t        |---|
        """
    )
    assert path_of(streaming) == (
        "run agent time 1\nm llm time 4\nt tool time 4\nm llm time 5\nrun agent time 4"
    )


def test_a_link_decides_which_model_call_a_tool_is_taken_from() -> None:
    drawing = """
        agent run  |--------------------|
          llm one   |---|
          llm two        |----------|
          tool t            |-----|       {}
    """
    assert path_of(drawn(drawing.format(""))) == (
        "run agent time 1\none llm time 4\nrun agent time 1\ntwo llm time 3\nt tool time 6\n"
        "two llm time 2\nrun agent time 4"
    )
    assert path_of(drawn(drawing.format("asked_by=one"))) == (
        "run agent time 1\none llm time 4\nrun agent time 1\ntwo llm time 11\nrun agent time 4"
    )


def test_a_server_hangs_below_the_client_beside_it() -> None:
    trace = drawn(
        """
        other s        |----------------|
          network c       |----------|     kind=client service=a
          other srv         |-----|        kind=server service=b
            llm m            |--|
        """
    )
    assert path_of(trace) == (
        "s other time 3\nc network time 2\nsrv other time 1\nm llm time 3\nsrv other time 2\n"
        "c network time 3\ns other time 3"
    )


def test_a_wait_hands_over_to_what_worked_meanwhile() -> None:
    trace = drawn(
        """
        other s        |---------------|
          agent work     |----------|
            llm m          |------|
          wait poll1     |---|
          wait poll2         |----|
          other clean              |---|
        """
    )
    assert path_of(trace) == (
        "s other time 2\nwork agent time 2\nm llm time 7\nwork agent time 1\nclean other time 4"
    )


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (1, {"A": 100}),
        (2, {"A": 50, "B": 50}),
        (3, {"B": 100}),
        (4, {"A": 50, "B": 40, "C": 10}),
        (5, {"A": 40, "B1": 20, "B2": 10, "B3": 30}),
        (6, {"A": 40, "B": 20, "C": 10, "D": 30}),
        (7, {"A": 100}),  # CRISP cuts B, which goes on after its parent: A 10, B 80, C 10
        (8, {"A": 40, "B": 60}),  # likewise C: A 40, B 10, C 50
        (9, {"A": 70, "D": 30}),
        (10, {"A": 500, "B": 200, "D": 300}),
        (11, {"A": 70, "B": 30}),
        (12, {"A": 40, "B": 40, "D": 20}),
        (13, {"A": 40, "B": 40, "D": 20}),
        (14, {"A": 35, "B": 20, "D": 25}),
        (15, {"A": 35, "B": 10, "C": 10, "D": 10, "E": 10, "F": 10, "G": 15}),
    ],
)
def test_crisp(case: int, expected: dict[str, int]) -> None:
    """CRISP's own cases, within the root: what goes on after it is a virtual root's affair."""
    (trace,) = read([str(corpus(f"services/jaeger/crisp_{case:02}.json"))]).traces
    kinds = span_kinds(trace)
    path = critical_path(trace, kinds, causes(trace, kinds))
    root = next(span for span in trace.spans if span.span_id.endswith("a"))
    spent: Counter[str] = Counter()
    for section in path.sections:
        if section.span != NO_SPAN and section.start_ns < root.ended_ns:
            end = min(section.end_ns, root.ended_ns)
            label = trace.spans[section.span].span_id.lstrip("0").upper()
            spent[label] += (end - section.start_ns) // 1000
    assert dict(spent) == expected


# The definition, executed on its own -------------------------------------------------------------


@st.composite
def ugly(draw: st.DrawFn) -> Sequence[Span]:
    """Anything: several roots, orphans, cycles, negative times, overflow, tools, waits, links."""
    return ugly_spans(Random(draw(st.integers(0, 2**32))), draw(st.integers(1, 14)))


def ugly_spans(random: Random, count: int) -> Sequence[Span]:
    ids = [f"{i:02}" for i in range(count)]
    spans = []
    scale = random.choice((1, 1, 7, 1_000, 1_000_000))
    for span_id in ids:
        category = random.choice(CATEGORIES)
        start = random.randrange(40)
        end = random.choice(
            [None, start + random.randrange(40), *[random.randrange(start, 80)] * 6]
        )
        spans.append(
            Span(
                "t",
                span_id,
                random.choice([*ids, *ids[:3], *ids[:3], "", "gone"]),
                random.choice("ab"),
                start * scale,
                end if end is None else end * scale,
                category,
                random.choice(KINDS),
                host=random.choice(("h", "h", "h", "g")),
                error=random.choice((None, None, None, "x")),
                model_call=ModelCall(ttft_ns=random.choice((None, 3)), issued=(random.choice(ids),))
                if category == "llm"
                else None,
                tool_call=ToolCall("t", random.choice([None, *ids]))
                if category == "tool"
                else None,
                links=tuple(
                    Link(random.choice(ids), random.choice(REASONS))
                    for _ in range(random.randrange(3))
                ),
            )
        )
    random.shuffle(spans)
    return spans


CATEGORIES: tuple[Category, ...] = (
    *("llm", "llm", "llm", "tool", "tool", "agent", "agent", "chain", "other", "other", "retry"),
    *("retrieval", "database", "network", "human", "wait"),
)
KINDS: tuple[SpanKind, ...] = ("internal", "internal", "server", "client", "consumer")
REASONS = ("tool_call", "tool_result", "content", None)


def differs(trace: Trace) -> str | None:
    """How the walk differs from the definition, if it does."""
    kinds = span_kinds(trace)
    path = critical_path(trace, kinds, causes(trace, kinds))
    if path.fault is not None:
        return path.fault
    unit = trace.resolution_ns
    walked = [(s.span, s.start_ns // unit, s.end_ns // unit) for s in path.sections]
    asked = [(s, a // unit, b // unit) for s, a, b in Definition(trace).stretches()]
    if [*instants(walked)] == [*instants(asked)]:
        return None
    return f"{walked} is not {asked}"


@settings(max_examples=1500, deadline=None)
@given(ugly())
def test_the_walk_is_what_its_definition_says(spans: Sequence[Span]) -> None:
    assert differs(build(spans)) is None


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_paths_are_what_their_definition_says() -> None:
    random = Random(20261128)
    for number in range(100_000):
        trace = build(ugly_spans(random, random.randrange(1, 12)))
        assert differs(trace) is None, f"trace {number}: {trace.spans}"


@settings(max_examples=400, deadline=None)
@given(ugly(), st.integers(-1_000_000, 10**18))
def test_moving_a_trace_in_time_moves_its_path(spans: Sequence[Span], shift: int) -> None:
    shift -= shift % MS  # the clock stays the same
    moved = [
        replace(
            span,
            start_ns=span.start_ns + shift,
            end_ns=None if span.end_ns is None else span.end_ns + shift,
        )
        for span in spans
    ]
    here, there = build(spans), build(moved)
    if there.start_ns > 10**17:
        return  # times since the epoch may be cut ones, which are straightened
    sections = []
    for trace in (here, there):
        kinds = span_kinds(trace)
        path = critical_path(trace, kinds, causes(trace, kinds))
        sections.append(
            [
                (s.span, s.start_ns - trace.start_ns, s.end_ns - trace.start_ns, s.kind, s.edge)
                for s in path.sections
            ]
        )
    assert sections[0] == sections[1]


@settings(max_examples=600, deadline=None)
@given(ugly())
def test_own_time_of_an_agent_has_no_task_in_it(spans: Sequence[Span]) -> None:
    """But one that was cut, as what came next shows, or that goes on after the run."""
    trace = build(spans)
    kinds = span_kinds(trace)
    known = causes(trace, kinds)
    path = critical_path(trace, kinds, known)
    definition = Definition(trace)
    definition.stretches()

    def running(span: int, start: int, end: int) -> bool:
        for child in definition.children(span):
            if child in definition.cut or child in trace.background:
                continue
            begun, ended = known.started_ns[child], known.ends_ns[child]
            if not begun < min(end, ended) or start >= ended or not definition.holds_task(child):
                continue
            if trace.spans[child].category in TASKS:
                if known.ends_ns[child] <= trace.end_ns:
                    return True
            elif running(child, max(start, begun), min(end, ended)):
                return True
        return False

    for section in path.sections:
        if section.kind in ("agent", "human", "wait") and trace.spans[section.span].category in (
            *("agent", "chain", "human", "wait"),
        ):
            assert not running(section.span, section.start_ns, section.end_ns)
        assert (section.kind == "beside") == (section.beside != NO_SPAN)
        if section.kind == "beside":
            assert running(section.span, section.start_ns, section.end_ns)


@pytest.mark.slow
def test_a_hundred_thousand_spans_in_one_trace() -> None:
    """Wide, deep and overlapping: without recursion, and in far less time than the square."""
    count = 100_000
    wide = [Span("t", f"{i:06}", "run", "x", i, i + 50_000, "llm") for i in range(count)]
    deep = [
        Span("t", f"{i:06}", f"{i - 1:06}" if i else "run", "x", i, 2 * count - i, "tool")
        for i in range(count)
    ]
    for spans in (wide, deep):
        trace = build([Span("t", "run", "", "run", 0, 2 * count, "agent"), *spans])
        kinds = span_kinds(trace)
        assert critical_path(trace, kinds, causes(trace, kinds)).fault is None
