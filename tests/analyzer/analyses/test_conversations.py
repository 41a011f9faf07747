"""Two conversations in one trace stay apart, by session, by how they began, or by agent."""

import pytest
from msgspec.structs import replace

from causepath_analyzer.analyses.path.conversations import conversations
from causepath_analyzer.analyses.path.data_flow import DataFlow
from causepath_analyzer.analyses.run import explained
from causepath_analyzer.model import ModelCall, Trace
from causepath_analyzer.read import read
from causepath_analyzer.read.tree.build import build
from tests.analyzer.corpus import corpus
from tests.support.drawn import MS, drawn


def names(trace: Trace) -> list[list[str]]:
    return [[trace.spans[i].name for i in held.calls] for held in conversations(DataFlow(trace))]


def begun(trace: Trace, **openings: int) -> Trace:
    """`trace` with messages that begin as the digests in `openings` say."""
    spans = [
        replace(span, model_call=ModelCall(opening=openings[span.name]))
        if span.name in openings
        else span
        for span in trace.spans
    ]
    return build(spans)


TWO = """
    agent run   |------------------------|
      llm a1      |--|
      llm b1          |--|
      llm b2              |--|
      llm a2                  |--|
"""


def test_calls_that_begin_alike_are_one_conversation() -> None:
    assert names(begun(drawn(TWO), a1=1, a2=1, b1=2, b2=2)) == [["a1", "a2"], ["b1", "b2"]]


def test_blocks_tell_how_a_conversation_began() -> None:
    drawing = """
        agent run   |------------------------|
          llm a1      |--|                       blocks=s,qa>x
          llm b1          |--|                   blocks=1@a1+qb>y
          llm b2              |--|               blocks=3@b1+tb>z
          llm a2                  |--|           blocks=s,qa,x,ta>z
    """
    trace = drawn(drawing)
    (a2,) = (i for i, span in enumerate(trace.spans) if span.name == "a2")
    told = trace.spans[a2].model_call
    assert told is not None
    assert told.blocks is not None
    given = tuple(
        replace(block, role="assistant" if n == 2 else "user")
        for n, block in enumerate(told.blocks.given)
    )
    spans = list(trace.spans)
    spans[a2] = replace(
        spans[a2], model_call=replace(told, blocks=replace(told.blocks, given=given))
    )
    assert names(build(spans)) == [["a1", "a2"], ["b1", "b2"]]


@pytest.mark.parametrize(
    "openings",
    [
        pytest.param({"a1": 1, "a2": 1, "b1": 2}, id="one says nothing"),
        pytest.param({"a1": 1, "a2": 2, "b1": 3, "b2": 4}, id="every call begins anew"),
    ],
)
def test_without_proof_the_calls_of_an_agent_are_one(openings: dict[str, int]) -> None:
    assert names(begun(drawn(TWO), **openings)) == [["a1", "b1", "b2", "a2"]]


@pytest.mark.parametrize(
    ("drawing", "apart"),
    [
        pytest.param(
            """
            agent run   |------------|
              llm a1      |--|           session=s
              llm b1          |--|       session=t
            """,
            [["a1"], ["b1"]],
            id="sessions",
        ),
        pytest.param(
            """
            agent run   |------------|
              llm a1      |--|
              llm a2          |--|       session=s
            """,
            [["a1", "a2"]],
            id="the first call of a session has none yet",
        ),
        pytest.param(
            """
            agent run   |----------------|
              llm a1      |--|
              tool sub        |--------|
                llm b1         |--|
                llm b2             |--|
            """,
            [["a1"], ["b1", "b2"]],
            id="an agent inside a tool",
        ),
        pytest.param(
            """
            other chat     |--------------|
              agent turn     |---|           id=one
                llm a1        |-|            session=s
              agent turn          |---|      id=two
                llm a2             |-|       session=s
            """,
            [["a1", "a2"]],
            id="an agent that is called anew for every question",
        ),
    ],
)
def test_conversations(drawing: str, apart: list[list[str]]) -> None:
    assert names(drawn(drawing)) == apart


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        # EXPECTED.md
        ("agents/jaeger/packetpanic_get_inventory.json", [[806, 1224], [3412, 3702]]),
        (
            "agents/otlp/agentprism_smol_deep_research.json",
            [[941, 2711, 6094], [1453, 2912, 3841]],
        ),
    ],
)
def test_real_conversations(name: str, inputs: list[list[int]]) -> None:
    (trace,) = read([str(corpus(name))]).traces
    calls = [
        [trace.spans[i].model_call for i in held.calls]
        for held in explained(trace).usage.conversations
    ]
    found = [[call.tokens.input for call in held if call and call.tokens] for held in calls]
    assert found == inputs


def test_a_tool_does_not_count_the_wait_for_a_person() -> None:
    run = explained(
        drawn(
            """
            agent run        |--------------|
              tool write       |----------|
                human blocked   |-----|
            """
        )
    )
    assert run.wall.sums["tool"] == 5 * MS
    assert run.wall.path == {"human": 6 * MS, "agent": 4 * MS, "tool": 5 * MS}
