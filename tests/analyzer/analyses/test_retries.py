"""Which calls are known to have been made again because they had failed."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from causepath_analyzer.analyses.path.data_flow import DataFlow
from causepath_analyzer.analyses.path.kinds import span_kinds
from causepath_analyzer.analyses.path.retries import retries
from causepath_analyzer.model import Span
from causepath_analyzer.read.tree.build import build
from tests.analyzer.analyses.test_replay import ugly
from tests.support.drawn import MS, drawn


def found(drawing: str) -> list[tuple[str, str, int]]:
    """The retries in `drawing`: what failed, what tried again, and the pause."""
    trace = drawn(drawing)
    return [
        (
            trace.spans[retry.failed].span_id,
            trace.spans[retry.again].span_id,
            (retry.again_ns - retry.failed_ns) // MS,
        )
        for retry in retries(DataFlow(trace), span_kinds(trace).calls)
    ]


@pytest.mark.parametrize(
    ("drawing", "retried"),
    [
        pytest.param(
            """
            agent run   |--------------------------|
              llm one    |--|                          error=429 model=m
              llm two         |-|                      error=529 model=m
              llm three                |----|          model=m
              llm four                        |-|      model=m
            """,
            [("one", "two", 2), ("two", "three", 7)],
            id="twice, then answered",
        ),
        pytest.param(
            """
            agent run   |--------------------|
              llm one    |--|                     error=429 model=m
              llm two         |-|                 error=429 model=m
            """,
            [("one", "two", 2)],
            id="given up: the last attempt is no retry, it is the failure",
        ),
        pytest.param(
            """
            agent run   |--------------------|
              llm one    |--|                     error=429 model=m
              tool look       ||
              llm two            |-|              model=m
            """,
            [],
            id="something was done between",
        ),
        pytest.param(
            """
            agent run   |--------------------|
              llm one    |--|                     error=429 model=m
              llm two         |-|                 model=m-mini
            """,
            [],
            id="another model is a fallback",
        ),
        pytest.param(
            """
            agent run   |--------------------|
              llm one    |--|                     error=429 model=m-4-5
              llm two         |-|                 model=m-4-5-20260219
              llm three           |-|             error=429 model=vendor/m-4o
              llm four                |--|        model=m-4o-2026-02-19
            """,
            [("one", "two", 2), ("three", "four", 2)],
            id="who answers says which release it was",
        ),
        pytest.param(
            """
            agent run   |--------------------|
              agent a   |------|
                llm one    |--|                   error=429 model=m
              agent b           |----|
                llm two          |-|              model=m
            """,
            [],
            id="another parent",
        ),
        pytest.param(
            """
            agent run   |--------------------|
              llm one    |--|                     error=429 model=m blocks=s,item1>
              llm two         |-|                 model=m blocks=s,item2>x
            """,
            [],
            id="a loop that goes on with the next item",
        ),
        pytest.param(
            """
            agent run   |--------------------------|
              llm a1     |--|                           error=429 model=m blocks=a>
              llm b1     |---|                          error=429 model=m blocks=b>
              llm a2             |-----|                model=m blocks=a>x
              llm b2               |----|               model=m blocks=b>y
            """,
            [("a1", "a2", 5), ("b1", "b2", 6)],
            id="two branches, told apart by what they ask",
        ),
        pytest.param(
            """
            agent run   |--------------------------|
              llm a1     |--|                           error=429 model=m
              llm b1     |---|                          error=429 model=m
              llm a2             |-----|                model=m
              llm b2               |----|               model=m
            """,
            [("a1", "a2", 5)],
            id="two branches, not told apart: no more than is sure",
        ),
        pytest.param(
            """
            agent run   |--------------------------|
              llm one    |-----|                       error=429 model=m blocks=a>
                retry try |-|
                retry off    |-|
              llm two             |-|                  model=m blocks=1@one+>x
            """,
            [("one", "two", 3)],
            id="the SDK gave up, the user did not",
        ),
        pytest.param(
            """
            agent run   |--------------------------|
              tool get   |--|                          error=timeout given=x call_id=c id=t1
              tool get        |--|                     error=timeout given=x call_id=c id=t2
              tool get             |--|                given=x call_id=c id=t3
              tool get                  |--|           given=y id=t4
            """,
            [("t1", "t2", 2), ("t2", "t3", 2)],
            id="a tool with equal arguments",
        ),
        pytest.param(
            """
            agent run   |--------------------------|
              tool get   |--|                          error=timeout given=x call_id=c id=t1
              tool get        |--|                     given=x call_id=d id=t2
              tool put             |--|                error=timeout id=t3
              tool put                  |--|           id=t4
            """,
            [],
            id="tools that were asked for twice, or of which arguments are not known",
        ),
        pytest.param(
            """
            agent run    |--------------------------|
              chain ask   |---|                          error=429 id=1
                llm one    |--|                          error=429 model=m parent=1
              chain ask        |---|                     error=429 id=2
                llm two        |--|                      error=429 model=m parent=2
              chain ask              |-------|           id=3
                llm three             |---|              model=m parent=3
                tool parse                 |-|           parent=3
            """,
            [("one", "two", 1), ("two", "three", 2)],
            id="a step of a framework around each attempt",
        ),
        pytest.param(
            """
            agent run    |--------------------------|
              chain ask   |------|                       error=429 id=1
                tool look  |-|                           parent=1
                llm one       |--|                       error=429 model=m parent=1
              chain ask           |---|                  id=2
                llm two           |--|                   model=m parent=2
              chain ask               |---|              error=429 id=3
                llm three             |--|               error=429 model=m parent=3
              chain say                    |---|         id=4
                llm four                   |--|          model=m parent=4
            """,
            [],
            id="steps that did more, or are others",
        ),
        pytest.param(
            """
            llm one    |--|                            error=429 model=m
            llm two            |-----|                 model=m
            """,
            [("one", "two", 5)],
            id="without a run around them",
        ),
    ],
)
def test_retries(drawing: str, retried: list[tuple[str, str, int]]) -> None:
    assert found(drawing) == retried


@given(ugly(), st.integers(0, 2**14 - 1))
@settings(max_examples=200, deadline=None)
def test_each_span_is_tried_again_once_and_later(spans: Sequence[Span], broken: int) -> None:
    trace = build([replace(s, error="x") if broken >> n & 1 else s for n, s in enumerate(spans)])
    known = retries(DataFlow(trace), span_kinds(trace).calls)
    assert len({retry.failed for retry in known}) == len({retry.again for retry in known})
    assert len({retry.failed for retry in known}) == len(known)
    assert len({retry.whole_again for retry in known}) == len(known)
    for retry in known:
        assert trace.spans[retry.failed].error is not None
        assert trace.parents[retry.whole_failed] == trace.parents[retry.whole_again] == retry.parent
        assert trace.spans[retry.whole_failed].ended_ns == retry.failed_ns <= retry.again_ns
        assert trace.spans[retry.whole_again].start_ns == retry.again_ns
