"""The walk: drawn cases, CRISP's table, and an independent definition asked at every instant."""

from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from causepath_analyzer.analyses.causes import Causes, causes
from causepath_analyzer.analyses.critical_path import Overflow, critical_path
from causepath_analyzer.analyses.kinds import span_kinds
from causepath_analyzer.model import NO_SPAN, Link, ModelCall, Span, ToolCall, Trace
from causepath_analyzer.read import read
from causepath_analyzer.read.tree import build
from tests.analyzer.corpus import corpus
from tests.support.drawn import MS, drawn


def path_of(trace: Trace, overflow: Overflow = "async") -> str:
    """The path as "name kind edge length" per section, lengths in ms."""
    kinds = span_kinds(trace)
    path = critical_path(trace, kinds, causes(trace, kinds), overflow)
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
            "r other time 9\na other time 2",
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


OVERFLOWING = """
    other s    |----------|
      other a     |----------|
        other b     |--|
"""


def test_a_child_that_outlives_its_parent() -> None:
    trace = drawn(OVERFLOWING)
    assert path_of(trace, "async") == "s other time 11\na other time 3"
    assert path_of(trace, "truncate") == (
        "s other time 3\na other time 2\nb other time 3\na other time 3\na other time 3"
    )


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
        "s other time 2\nwork agent time 2\nm llm time 7\ns other time 1\nclean other time 4"
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
        (7, {"A": 10, "B": 80, "C": 10}),
        (8, {"A": 40, "B": 10, "C": 50}),
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
    path = critical_path(trace, kinds, causes(trace, kinds), "truncate")
    root = next(span for span in trace.spans if span.span_id.endswith("a"))
    spent: Counter[str] = Counter()
    for section in path.sections:
        if section.span != NO_SPAN and section.start_ns < root.ended_ns:
            end = min(section.end_ns, root.ended_ns)
            label = trace.spans[section.span].span_id.lstrip("0").upper()
            spent[label] += (end - section.start_ns) // 1000
    assert dict(spent) == expected


# The definition, asked at every instant on its own --------------------------------------------


def owner(trace: Trace, instant: int, overflow: Overflow) -> int:
    """The span whose time `instant` is, in a trace with one root that outlives everything.

    Follows the definition and nothing else: whoever holds the time from t on backwards, and is
    asked about an instant before t, passes it to the child it can have been waiting for.
    """
    (span,) = trace.roots
    low, high = trace.start_ns, trace.end_ns
    while True:
        t, child = high, NO_SPAN
        while True:
            waited_for = [
                (end, -start, trace.spans[c].span_id, c)
                for c in trace.children[span]
                for start, end in [window(trace, c, span, (low, high), overflow)]
                if start < end <= t
            ]
            if not waited_for:
                return span
            end = max(entry[0] for entry in waited_for)
            start = -max(entry[1] for entry in waited_for if entry[0] == end)
            tied = [e for e in waited_for if (e[0], e[1]) == (end, -start)]
            child = min(tied, key=lambda entry: entry[2])[3]
            if instant >= end:
                return span
            if instant >= start:
                low, high, span = start, end, child
                break
            t = start


def window(
    trace: Trace, child: int, parent: int, cut: tuple[int, int], overflow: Overflow
) -> tuple[int, int]:
    """`child` cut to its parent; without length if it was not waited for."""
    span = trace.spans[child]
    if overflow == "async" and span.ended_ns > trace.spans[parent].ended_ns:
        return cut[1], cut[1]
    return max(span.start_ns, cut[0]), min(span.ended_ns, cut[1])


@st.composite
def trees(draw: st.DrawFn) -> Sequence[Span]:
    """Spans under one root that covers them, else as ugly as they come."""
    count = draw(st.integers(1, 12))
    end = draw(st.integers(1, 25))
    spans = [Span("t", "00", "", "00", 0, end)]
    for i in range(1, count):
        start = draw(st.integers(0, end))
        stop = draw(st.integers(start, end))
        parent = draw(st.sampled_from(spans)).span_id
        spans.append(Span("t", f"{i:02}", parent, f"{i:02}", start, stop))
    return draw(st.permutations(spans))


@settings(max_examples=400, deadline=None)
@given(trees(), st.sampled_from(["async", "truncate"]))
def test_every_instant_belongs_to_its_owner(spans: Sequence[Span], overflow: Overflow) -> None:
    trace = build(spans)
    kinds = span_kinds(trace)
    path = critical_path(trace, kinds, causes(trace, kinds), overflow)
    assert path.fault is None
    walked = {
        instant: section.span
        for section in path.sections
        for instant in range(section.start_ns, section.end_ns)
    }
    asked = {i: owner(trace, i, overflow) for i in range(trace.start_ns, trace.end_ns)}
    assert walked == asked


class Asked:
    """The definition for any trace in which nothing happens outside its roots and nobody waits.

    With causes, several roots, and spans cut at the instant at which they are entered.
    """

    def __init__(self, trace: Trace, known: Causes, overflow: Overflow) -> None:
        self.trace, self.known, self.overflow = trace, known, overflow
        self.below: dict[int, list[int]] = {}
        for i, parent in enumerate(known.parents):
            self.below.setdefault(parent, []).append(i)

    def outside(self) -> bool:
        """Whether something happens outside the root it hangs on."""
        known = self.known
        for i in range(len(self.trace.spans)):
            root = i
            while known.parents[root] != NO_SPAN:
                root = known.parents[root]
            first, last = self.trace.spans[root].start_ns, known.ended_ns[root]
            if self.trace.spans[i].start_ns < first or known.ended_ns[i] > last:
                return True
        return False

    def owner(self, instant: int) -> int:
        """The span whose time `instant` is, or `NO_SPAN`."""
        starts, ends = self.known.started_ns, self.known.ends_ns
        roots = [r for r in self.below[NO_SPAN] if starts[r] < ends[r]]
        t = self.trace.end_ns
        while True:
            running = [r for r in roots if starts[r] < t <= ends[r]]
            if not running:
                t = max((ends[r] for r in roots if ends[r] < t), default=self.trace.start_ns)
                if instant >= t:
                    return NO_SPAN
                continue
            root = min(running, key=lambda r: (starts[r], self.trace.spans[r].span_id))
            if instant >= starts[root]:
                return self.inside(root, (starts[root], ends[root]), t, instant)
            t = starts[root]

    def inside(self, span: int, cut: tuple[int, int], t: int, instant: int) -> int:
        """The same within `span`, cut to `cut`, if the path comes to it at `t`."""
        family = [
            (window, child)
            for child in self.below.get(span, ())
            if (window := self.window(child, span, cut)) is not None
        ]
        if t < cut[1]:  # of what runs at t, the first to start takes over, cut as well
            running = [(w, c) for w, c in family if w[0] < t < w[1]]
            if running:
                window, child = min(
                    running, key=lambda f: (f[0][0], self.trace.spans[f[1]].span_id)
                )
                if instant >= window[0]:
                    return self.inside(child, window, t, instant)
                t = window[0]
        while True:
            ended = [(w, c) for w, c in family if w[1] <= t]
            if not ended:
                return span
            window, child = min(
                ended, key=lambda f: (-f[0][1], f[0][0], self.trace.spans[f[1]].span_id)
            )
            if instant >= window[1]:
                return span
            if instant >= window[0]:
                return self.inside(child, window, window[1], instant)
            t = window[0]

    def window(self, child: int, span: int, cut: tuple[int, int]) -> tuple[int, int] | None:
        """`child` cut to `span`, unless it was not waited for."""
        known = self.known
        outlives = known.ended_ns[child] > known.ended_ns[span]
        if self.overflow == "async" and outlives and self.trace.parents[child] == span:
            return None
        start, end = max(known.started_ns[child], cut[0]), min(known.ends_ns[child], cut[1])
        return (start, end) if start < end else None


def any_trace(random: Random) -> Trace:
    """Several roots, orphans, cycles, ties, spans without length or end, tools and their calls."""
    ids = [f"{i:02}" for i in range(random.randint(1, 12))]
    spans = []
    for span_id in ids:
        start = random.randint(0, 25)
        category = random.choice(["other", "llm", "tool", "tool", "agent", "chain"])
        links = (Link(random.choice(ids), "tool_call"),) if random.random() < 0.2 else ()
        spans.append(
            Span(
                "t",
                span_id,
                random.choice([*ids, *ids[:3], *ids[:3], "", "gone"]),
                span_id,
                start,
                random.choice([None, random.randint(start, 30), 30, random.randint(0, 30)]),
                category,  # type: ignore[arg-type]
                random.choice(["internal", "internal", "server", "client"]),  # type: ignore[arg-type]
                model_call=ModelCall() if category == "llm" else None,
                tool_call=ToolCall("t", random.choice([None, "a"])) if category == "tool" else None,
                links=links,
            )
        )
    return build(spans)


def disagreements(seed: int, traces: int) -> list[str]:
    """Where the walk and the definition differ, in so many traces and with both policies."""
    random = Random(seed)
    found: list[str] = []
    while traces:
        trace = any_trace(random)
        kinds = span_kinds(trace)
        known = causes(trace, kinds)
        if Asked(trace, known, "async").outside():
            continue
        traces -= 1
        overflow: Overflow
        for overflow in ("async", "truncate"):
            asked = Asked(trace, known, overflow)
            path = critical_path(trace, kinds, known, overflow)
            walked = {
                instant: section.span
                for section in path.sections
                for instant in range(section.start_ns, section.end_ns)
            }
            expected = {i: asked.owner(i) for i in range(trace.start_ns, trace.end_ns)}
            if walked != expected or path.fault is not None:
                found.append(f"{overflow}: {trace.spans}")
    return found


def test_the_walk_and_the_definition_agree_about_any_trace() -> None:
    assert disagreements(seed=1, traces=500) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_the_walk_and_the_definition_agree_about_very_many_traces(seed: int) -> None:
    assert disagreements(seed=100 + seed, traces=2_000) == []


@st.composite
def forests(draw: st.DrawFn) -> Sequence[Span]:
    """Anything: several roots, orphans, cycles, negative times, overflow, tools, model calls."""
    spans = []
    ids = [f"{i:02}" for i in range(draw(st.integers(1, 12)))]
    for span_id in ids:
        start = draw(st.integers(0, 30))
        spans.append(
            Span(
                "t",
                span_id,
                draw(st.sampled_from([*ids, "", "gone"])),
                span_id,
                start,
                draw(st.one_of(st.none(), st.integers(0, 40))),
                draw(st.sampled_from(["other", "llm", "tool", "agent", "chain", "wait"])),
                draw(st.sampled_from(["internal", "server", "client"])),
                host=draw(st.sampled_from(["", "h"])),
            )
        )
    return spans


@settings(max_examples=400, deadline=None)
@given(forests(), st.sampled_from(["async", "truncate"]), st.integers(-50, 50))
def test_sections_tile_any_trace_wherever_it_lies(
    spans: Sequence[Span], overflow: Overflow, shift: int
) -> None:
    def sections(spans: Sequence[Span]) -> list[tuple[str, int, int, str]]:
        trace = build(spans)
        kinds = span_kinds(trace)
        path = critical_path(trace, kinds, causes(trace, kinds), overflow)
        assert path.fault is None
        return [
            (name(trace, s.span), s.start_ns - trace.start_ns, s.end_ns - trace.start_ns, s.kind)
            for s in path.sections
        ]

    moved = [
        Span(
            s.trace_id,
            s.span_id,
            s.parent_id,
            s.name,
            s.start_ns + shift,
            None if s.end_ns is None else s.end_ns + shift,
            s.category,
            s.kind,
            host=s.host,
        )
        for s in spans
    ]
    assert sections(spans) == sections(moved)
    assert sections(spans) == sections(list(reversed(spans)))


def server_tool_beside_a_client() -> list[Span]:
    """Two rules for one span: a tool taken out of its call stays out, though a client ran then."""
    return [
        Span("t", "08", "", "llm", 0, 2, "llm"),
        Span("t", "01", "08", "client", 0, 2, kind="client"),
        Span("t", "04", "08", "tool", 1, 3, "tool", kind="server"),
    ]


@settings(max_examples=400, deadline=None)
@given(forests(), st.sampled_from(["async", "truncate"]))
@example(server_tool_beside_a_client(), "async")
@example(server_tool_beside_a_client(), "truncate")
def test_uncovered_is_exactly_what_no_span_covers(
    spans: Sequence[Span], overflow: Overflow
) -> None:
    trace = build(spans)
    kinds = span_kinds(trace)
    path = critical_path(trace, kinds, causes(trace, kinds), overflow)
    uncovered = {
        instant
        for section in path.sections
        if section.kind == "uncovered"
        for instant in range(section.start_ns, section.end_ns)
    }
    covered = {i for span in trace.spans for i in range(span.start_ns, span.ended_ns)}
    assert uncovered == set(range(trace.start_ns, trace.end_ns)) - covered
