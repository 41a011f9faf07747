"""Wall time, sums, calls, tokens and turns of drawn runs."""

from typing import Any

import pytest
from hypothesis import given, settings

from causepath_analyzer.analyses.run import Run, explained
from causepath_analyzer.model import Span, Tokens
from causepath_analyzer.read.tree.build import build
from tests.analyzer.analyses.test_critical_path import ugly
from tests.support.drawn import MS, drawn


def in_ms(figures: dict[Any, int]) -> dict[Any, float]:
    return {key: ns / MS for key, ns in figures.items()}


RUN = """
    agent run        |-------------------------------------------|
      llm one          |-----------|                                ttft=4 turn=1 tokens=900/50
        retry fail     ||
        retry backoff   |-|
      tool t                         |----|                         asked_by=one
        database db                    |-|
      tool u                         |--------|                     asked_by=one
      llm two                                  |------|             turn=2 tokens=1000/70/400
      chain step                                         |---|
"""


def test_a_run() -> None:
    run = explained(drawn(RUN))
    assert in_ms(dict(run.wall.path)) == {
        "agent": 17,
        "tool": 9,
        "generation": 8,
        "llm": 7,
        "retry": 3,
    } or in_ms(dict(run.wall.path))
    assert sum(run.wall.path.values()) == run.trace.wall_ns
    assert in_ms(dict(run.wall.sums)) == {
        "agent": 44,
        "llm": 19,
        "tool": 14,
        "retry": 3,
        "database": 2,
    }
    assert (run.usage.calls.llm, run.usage.calls.tool, run.usage.turns) == (2, 2, 2)
    assert run.usage.tokens == Tokens(input=1900, output=120, cache_read=400)


@pytest.mark.parametrize(
    ("drawing", "figures"),
    [
        pytest.param(
            """
            agent run    |-----------|
              llm outer   |-----|      tokens=10/1
                llm inner  |---|       tokens=10/1
            """,
            (1, 0, 1, 1, Tokens(10, 1)),
            id="one call recorded twice",
        ),
        pytest.param(
            """
            agent run    |-----------|
              llm outer   |-----|
                llm inner  |---|       tokens=10/1
            """,
            (1, 0, 1, 1, Tokens(10, 1)),
            id="the inner record speaks where the outer is silent",
        ),
        pytest.param(
            """
            agent run    |--------------|
              llm one     |-|             tokens=10/1
              tool t        |-----|
                llm sub      |---|        tokens=5/1
              llm two             |-|     tokens=10/1
            """,
            (3, 1, 2, 0, Tokens(25, 3)),
            id="a model call inside a tool is a call, but no turn",
        ),
        pytest.param(
            """
            other web    |--------------|
            """,
            (0, 0, 0, 0, Tokens()),
            id="no model at all",
        ),
    ],
)
def test_usage(drawing: str, figures: tuple[int, int, int, int, Tokens]) -> None:
    run = explained(drawn(drawing))
    used, merged = run.usage, run.health.merged
    assert (used.calls.llm, used.calls.tool, used.turns, merged, used.tokens) == figures


def facts(run: Run) -> object:
    return run.wall, run.usage, run.findings, run.health


@settings(max_examples=150, deadline=None)
@given(ugly())
def test_wall_by_kind_adds_up_and_the_order_of_input_changes_nothing(spans: list[Span]) -> None:
    run = explained(build(spans))
    assert sum(run.wall.path.values()) == run.trace.wall_ns
    assert run.path.fault is None
    assert facts(run) == facts(explained(build(spans[::-1])))
