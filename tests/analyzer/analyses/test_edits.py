"""Edits of drawn runs: what each does to the wall time, alone and with others."""

from collections.abc import Sequence
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from causepath_analyzer.analyses.path.causes import causes
from causepath_analyzer.analyses.path.critical_path import critical_path
from causepath_analyzer.analyses.path.kinds import span_kinds
from causepath_analyzer.analyses.predictions.whatif import Edited, what_if
from causepath_analyzer.analyses.replay.edits import described, edit, kind_of
from causepath_analyzer.analyses.replay.schedule import new_trace, replayed
from causepath_analyzer.errors import UsageError
from causepath_analyzer.model import Block, Blocks, ModelCall, Span, Tokens, Trace
from causepath_analyzer.read.tree.build import build
from tests.analyzer.analyses.test_replay import ugly
from tests.support.drawn import MS, drawn
from tests.support.edited import changed

LOOP = """
    agent run       |------------------------------------------------|
      llm one        |--------|                                          ttft=5 model=big tokens=9/4
      tool a                     |----|                                  asked_by=one given=x
      tool b                           |------|                          asked_by=one given=x
      llm two                                   |------------|           ttft=4 model=big tokens=9/9
        retry try                               ||
        retry pause                              |---|
        network ok                                    |------|
      tool a2                                                  |-|       given=x
"""
# wall 49: one 9 (first token 5), a 5, b 7, two 13 (retries 5, first token 4 after its start)


def then(drawing: str, *edits: str) -> Edited:
    return changed(drawn(drawing), [edit(text) for text in edits])


@pytest.mark.parametrize(
    ("edits", "wall"),
    [
        ([], 49),
        (["CP101"], 44),
        (["CP101=1"], 49),
        (["scale tool:a=0"], 44),
        (["scale tool:[ab]=0"], 37),
        (["scale tool:b=2"], 56),
        (["CP101", "scale tool:b=2"], 51),
        (["CP101", "scale tool:b=0"], 37 + 5),
        (["remove tool:b"], 42),
        (["remove llm"], 27),
        (["no-retries"], 44),
        (["scale llm.generation=0"], 49 - 4 - 8),
        (["scale llm.first_token:big=0"], 44),
        (["scale agent=0"], 9 + 5 + 7 + 13 + 2),
        (["together tool"], 44),
        (["early tool:b"], 41),
        (["early tool:a", "early tool:b"], 33),
    ],
    ids=str,
)
def test_walls(edits: list[str], wall: int) -> None:
    assert then(LOOP, *edits).times.wall_ns / MS == wall


@pytest.mark.parametrize(
    ("drawing", "edits", "wall"),
    [
        pytest.param(
            """
            agent run       |---------------------------|
              llm one        |-----|                        ttft=1
              tool a           |--------|                   asked_by=one
              llm two                    |----|             results=a
            """,
            ["scale tool=0.1"],
            23,
            id="a tool that ran while the reply streamed frees no more than the stream allows",
        ),
        pytest.param(
            """
            agent run       |-------------------------|
              llm one        |--|
              tool a            |-----|                   asked_by=one
              tool b            |---|                     asked_by=one
              tool c                |-----|               asked_by=one
              tool d                  |-----|             asked_by=one
              llm two                       |-----|
            """,
            ["CP101=4"],
            20,
            id="a pool that is made larger",
        ),
        pytest.param(
            """
            agent run       |---------------------------------------|
              llm one        |--|
              tool a            |---------|                             asked_by=one
              tool b             |----------|                           asked_by=one
              tool c                      |-----------|                 asked_by=one
              tool d                         |--------|                 asked_by=one
              tool e                                  |-----|           asked_by=one
              llm two                                        |-----|    results=a,b,c,d,e
            """,
            ["CP101=9"],
            24,
            id="a pool that is made larger, where one of its tools is closed late",
        ),
        pytest.param(
            """
            agent run       |-------------------------|
              llm one        |--|
              tool a            |-----|                   asked_by=one
              tool b            |---|                     asked_by=one
              tool c                |-----|               asked_by=one
              tool d                  |-----|             asked_by=one
              llm two                       |-----|
            """,
            ["scale tool:b=3"],
            32,
            id="a pool gives the next slot to whoever is next",
        ),
        pytest.param(
            """
            agent run       |----------------------------------------------|
              llm one        |--|
              tool a            |-----|                                        asked_by=one
              tool b            |---|                                          asked_by=one
              tool c                |-----|                                    asked_by=one
              llm two                     |-|                                  results=c
              tool d                        |----|                             asked_by=two
              tool e                             |----|                        asked_by=two
              tool f                                  |----|                   asked_by=two
            """,
            ["CP101"],
            42,
            id="the limit that another reply shows",
        ),
        pytest.param(
            """
            agent run       |-----------------------|
              llm one        |--|                           issued=x,y
              tool slow         |-----------------------|   call_id=x asked_by=one
              tool quick        |-|                         call_id=y asked_by=one
              llm two                         |------|      results=slow,quick
            """,
            ["scale tool:slow=0.8"],
            25,
            id="a tool that was given up is waited for as long, if it still takes longer",
        ),
        pytest.param(
            """
            agent run       |-----------------------|
              llm one        |--|                           issued=x,y
              tool slow         |-----------------------|   call_id=x asked_by=one
              tool quick        |-|                         call_id=y asked_by=one
              llm two                         |------|      results=slow,quick
            """,
            ["scale tool:slow=0.25"],
            17,
            id="a tool that was given up is waited for until it ends, if it ends sooner",
        ),
        pytest.param(
            """
            agent run       |-----------------------|
              llm one        |--|                           issued=x,y
              tool slow         |-----------------------|   call_id=x asked_by=one
              tool quick        |-|                         call_id=y asked_by=one
              llm two                         |------|      results=slow,quick
            """,
            ["remove tool:slow"],
            13,
            id="a tool that was given up and is not run is not waited for",
        ),
        pytest.param(
            """
            agent run       |-------------------------|
              llm one        |--|
              other server      |-------------|
              wait poll         |--|
              wait poll2            |--|
              wait poll3                |-----|
              llm two                         |---|
            """,
            ["scale other:server=0.5"],
            19,
            id="who only waits waits no longer than needed",
        ),
        pytest.param(
            """
            agent run    |-----------------------------------|
              llm one     |---|                                 ttft=2
              tool a           |----|                           asked_by=one given=x got=nothing
              llm two               |------|                    ttft=4 results=a
              tool b                        |----|              asked_by=two given=x got=nothing
              llm three                           |---|         results=b
            """,
            ["CP103"],
            32,
            id="turns that become one lose a first token",
        ),
        pytest.param(
            """
            agent run    |-----------------------------------|
              llm one     |-----------|                         ttft=2
              tool a                   |----|                   asked_by=one
              tool b                   |----------|             asked_by=one
            """,
            ["eager tool"],
            35,
            id="tools that start as they are asked for",
        ),
    ],
)
def test_orders(drawing: str, edits: list[str], wall: int) -> None:
    assert then(drawing, *edits).times.wall_ns / MS == wall


def test_a_repeat_with_an_equal_result_costs_a_look_up() -> None:
    drawing = """
        agent run    |------------------------|
          tool t       |----|                     given=x got=1
          tool t2            |----|               given=x got=1
          tool t3                  |----|         given=x got=2
    """
    cached = [edit("cache tool:*=0ms")]
    assert changed(drawn(drawing), cached).times.wall_ns / MS == 25  # three tools, no repeat
    assert changed(_one_tool(drawn(drawing)), cached).times.wall_ns / MS == 20


def test_a_model_call_that_repeats_another_one_is_told_by_its_blocks() -> None:
    drawing = """
        agent run    |------------------------|
          llm m        |----|                     id=1 blocks=s,q>a tokens=9/9
          llm m              |----|               id=2 blocks=1@1+q>a tokens=9/9
          llm m                    |----|         id=3 blocks=1@2+q>b tokens=9/9
    """
    found = changed(drawn(drawing), [edit("cache llm=0ms")])
    assert found.times.wall_ns / MS == 20
    assert [call.tokens for call in found.changes.calls.values()] == [Tokens()]
    assert what_if([drawn(drawing)], [edit("cache llm=0ms")]).turns == 2


@pytest.mark.parametrize(
    ("answered", "results", "wall"),
    [
        (["x", "y"], ["p", "q"], 42 - 8),  # c repeats a, d repeats b
        (["y", "x"], ["q", "p"], 42 - 8),
        (["x", "z"], ["p", "q"], 42 - 4),
        (["x", "y"], ["p", "other"], 42 - 4),  # the same question, another answer
        (["x", "y", "z"], ["p", "q"], 42),  # one of these three is not in the trace
        (["v", "w"], ["p", "q"], 42),
    ],
)
def test_tools_that_repeat_are_told_by_the_blocks_that_asked_for_them(
    answered: list[str], results: list[str], wall: int
) -> None:
    drawing = drawn("""
        agent run    |-----------------------------------------|
          llm one     |--|
          tool a          |----|                                 asked_by=one
          tool b                |----|                           asked_by=one
          llm two                     |--|                       results=a,b
          tool c                          |---|                  asked_by=two
          tool d                               |---|             asked_by=two
          llm three                                 |---|        results=c,d
    """)
    said = {
        "one": ([], ["x", "y"]),
        "two": (["p", "q"], answered),
        "three": (results, []),
    }
    trace = build(
        [
            replace(span, model_call=_with_blocks(span.model_call, *said[span.span_id]))
            if span.model_call is not None
            else replace(span, tool_call=replace(span.tool_call, name="t"))
            if span.tool_call is not None
            else span
            for span in drawing.spans
        ]
    )
    cached = [edit("cache tool:t=0ms")]
    assert changed(trace, cached).times.wall_ns / MS == wall


def _with_blocks(call: ModelCall, results: Sequence[str], asked: Sequence[str]) -> ModelCall:
    def blocks(role: str, kind: str, names: Sequence[str]) -> tuple[Block, ...]:
        return tuple(Block(role, kind, crc32(name.encode()), 9) for name in names)

    given = blocks("user", "tool_result", results)
    return replace(call, blocks=Blocks(given, blocks("assistant", "tool_use", asked)))


def test_a_call_that_failed_is_not_kept() -> None:
    drawing = """
        agent run    |------------------------|
          tool t       |----|                     id=1 given=x error=timeout
          tool t             |----|               id=2 given=x got=1
          tool t                   |----|         id=3 given=x got=1
    """
    assert changed(drawn(drawing), [edit("cache tool:t=0ms")]).times.wall_ns / MS == 20


def _one_tool(trace: Trace) -> Trace:
    return build(
        [
            replace(span, tool_call=replace(span.tool_call, name="t")) if span.tool_call else span
            for span in trace.spans
        ]
    )


@given(
    st.lists(
        st.sampled_from(
            [
                "CP101",
                "scale tool=0.3",
                "scale llm.generation=0.5",
                "scale agent=0.7",
                "remove tool:b",
                "no-retries",
                "early tool:a",
                "together tool",
                "cache tool:a=0ms",
            ]
        ),
        unique=True,
    )
)
@settings(max_examples=100, deadline=None)
def test_edits_come_together_in_any_order_and_leave_a_whole_trace(edits: list[str]) -> None:
    found = then(LOOP, *edits)
    backwards = then(LOOP, *reversed(edits))
    assert found.times.wall_ns <= 49 * MS
    if not {"CP101", "together tool", "early tool:a"} & set(edits):
        assert backwards.times.wall_ns == found.times.wall_ns
    edited = new_trace(found.plan, found.changes, found.times)
    kinds = span_kinds(edited)
    assert critical_path(edited, kinds, causes(edited, kinds)).fault is None
    assert edited.wall_ns == found.times.wall_ns


@given(
    ugly(),
    st.lists(
        st.sampled_from(
            [
                "scale tool=0.5",
                "scale llm=0.3",
                "scale llm.first_token=0",
                "scale agent=0.1",
                "remove tool",
                "remove llm",
                "remove other",
                "no-retries",
                "together tool",
            ]
        ),
        min_size=1,
        max_size=3,
        unique=True,
    ),
)
@settings(max_examples=100, deadline=None)
def test_less_work_never_takes_longer(spans: Sequence[Span], edits: list[str]) -> None:
    trace = build(spans)
    found = changed(trace, [edit(text) for text in edits])
    # A pool with other durations may be packed worse: Graham's anomaly, and no fault of ours.
    if not found.plan.slots and not found.changes.slots:
        assert found.times.wall_ns <= trace.wall_ns
    assert min(found.times.starts_ns) >= trace.start_ns
    assert all(a <= b for a, b in zip(found.times.starts_ns, found.times.ends_ns, strict=True))


@pytest.mark.parametrize(
    ("text", "told", "kind"),
    [
        ("CP101", "CP101", "CP101"),
        ("cp101=4", "CP101=4", "CP101"),
        ("together tool:a*=3", "together tool:a*=3", "together"),
        ("scale tool:a=0.5", "scale tool:a=0.5", "scale tool"),
        ("scale llm.first_token=0.7", "scale llm.first_token=0.7", "scale llm.first_token"),
        ("remove retrieval", "remove retrieval", "remove retrieval"),
        ("cache tool:a=5ms", "cache tool:a=5ms", "cache"),
        ("cache tool:a=0.5us", "cache tool:a=0.0005ms", "cache"),
        ("cache tool:a=0ms", "cache tool:a=0ms", "cache"),
        ("cache tool:a", "cache tool:a", "cache"),
        ("model big=small", "model big=small", "model"),
        ("no-retries", "no-retries", "no-retries"),
        ("no retries", "no-retries", "no-retries"),
        ("tool:fetch*=0.5", "scale tool:fetch*=0.5", "scale tool"),
        ("llm.first_token=0.7", "scale llm.first_token=0.7", "scale llm.first_token"),
        ("early tool:a", "early tool:a", "early"),
        ("eager tool:a", "eager tool:a", "eager"),
        ("shrink input=0.5", "shrink input=0.5", "shrink input"),
        ("shrink llm input=0.5", "shrink input=0.5", "shrink input"),
        ("shrink llm:big@a.py:4#2 output=2", "shrink llm:big@a.py:4#2 output=2", "shrink output"),
        ("model big@a.py:41=small", "model big@a.py:41=small", "model"),
        ("model llm@a.py:41=small", "model llm@a.py:41=small", "model"),
        ("model llm:big#last=small", "model big#last=small", "model"),
        ("remove llm@helper", "remove llm@helper", "remove llm"),
        ("llm@a.py:41=0.5", "scale llm@a.py:41=0.5", "scale llm"),
        ("stream", "stream", "stream"),
    ],
)
def test_what_is_typed_is_understood_and_told_back(text: str, told: str, kind: str) -> None:
    assert described(edit(text)) == told
    assert described(edit(told)) == told
    assert kind_of(edit(text)) == kind


@pytest.mark.parametrize(
    "text",
    [
        "",
        "CP",
        "faster",
        "scale tool:a",
        "scale tool:a=fast",
        "scale tool:a=-1",
        "scale tool:a=nan",
        "scale nothing:a=1",
        "together tool=many",
        "together tool=0",
        "cache tool:a=5",
        "remove tool:a=1",
        "model big",
        "CP101=x",
        "tool:a",
        "tool",
        "no retries at all",
        "shrink input",
        "shrink tool:a input=0.5",
        "shrink llm:big=0.5",
        "shrink middle=0.5",
        "stream llm",
        "scale llm#0=1",
        "nothing:a=0.5",
    ],
)
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        edit(text)


def test_what_a_wrong_guess_wastes_is_told_once_for_all_runs() -> None:
    told = what_if([drawn(LOOP), drawn(LOOP)], [edit("early tool:b")])
    assert told.assumes[0] == (
        "b: guessed at every model call, right 2 of 4 times; the wrong ones are 7 ms of work in "
        "vain in each run"
    )


def test_start_of_an_unchanged_run_is_where_it_was() -> None:
    found = then(LOOP)
    assert replayed(found.plan).starts_ns[0] == 0
