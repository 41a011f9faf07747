"""Selectors: which parts of a run a user means, by name, place and turn."""

import pytest

from causepath_analyzer.analyses.path.causes import causes
from causepath_analyzer.analyses.path.kinds import span_kinds
from causepath_analyzer.analyses.predictions.whatif import what_if
from causepath_analyzer.analyses.replay.edits import edit
from causepath_analyzer.analyses.replay.operations import selected, selector
from causepath_analyzer.errors import UsageError
from causepath_analyzer.model import Trace
from tests.support.drawn import drawn

TEAM = drawn("""
    agent team      |-----------------------------------------------|
      llm plan       |--|                    model=big id=plan where=/app/agent.py:41
      tool ask           |-----------------------|          id=ask asked_by=plan
        agent helper      |---------------------|
          llm refused      |-|               model=big id=h0 error=429 where=/app/lib/agent.py:7
          llm search          |-|            model=big id=h1 where=/app/lib/agent.py:7
          tool look               |-|        id=look asked_by=h1 where=/app/tools.py:3
          llm sum                    |---|   model=small@20260101 id=h2 where=/app/lib/agent.py:9
      llm judge                                    |--|     model=big where=/app/agent.py:52
      llm say                                         |---| model=big where=C:\\app\\agent.py:60
""")


def names(trace: Trace, text: str) -> list[str]:
    kinds = span_kinds(trace)
    found = selected(trace, kinds, causes(trace, kinds), selector(text))
    return [trace.spans[i].span_id for i in found]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("llm", ["plan", "h0", "h1", "h2", "judge", "say"]),
        ("llm:big", ["plan", "h0", "h1", "judge", "say"]),
        ("llm@agent.py:41", ["plan"]),
        ("llm@/app/agent.py:41", ["plan"]),
        ("llm@./agent.py:41", ["plan"]),
        ("llm@lib/agent.py", ["h0", "h1", "h2"]),
        ("llm@agent.py", ["plan", "h0", "h1", "h2", "judge", "say"]),
        ("llm@gent.py", []),
        ("llm@agent.py:4", []),
        ("llm@agent.py:60", ["say"]),
        ("llm:big@agent.py:9", []),
        ("llm@team", ["plan", "judge", "say"]),
        ("llm@help*", ["h0", "h1", "h2"]),
        ("llm:big@helper", ["h0", "h1"]),
        ("llm@helper#1", ["h0", "h1"]),
        ("llm@helper#2", ["h2"]),
        ("llm#first", ["plan", "h0", "h1"]),
        ("llm#last", ["h2", "say"]),
        ("llm@team#3", ["say"]),
        ("llm#tools", ["plan", "h0", "h1"]),
        ("llm#answer", ["h2", "judge", "say"]),
        ("tool#1", ["ask", "look"]),
        ("tool@helper", ["look"]),
        ("tool:look#2", []),
        ("tool@tools.py", ["look"]),
        ("llm:small@20260101", ["h2"]),
        ("llm:small*", ["h2"]),
        ("llm:*@2026*", ["h2"]),
    ],
)
def test_selectors(text: str, found: list[str]) -> None:
    assert names(TEAM, text) == found
    assert selector(str(selector(text))) == selector(text)


def test_calls_without_anything_around_them_are_turns_of_one_agent() -> None:
    pipeline = drawn("""
        llm one   |--|              model=m
        tool t        |---|
        llm two            |---|    model=m
    """)
    assert names(pipeline, "llm#1") == ["one"]
    assert names(pipeline, "llm#last") == ["two"]
    assert names(pipeline, "tool#1") == ["t"]
    with pytest.raises(UsageError, match="neither code nor an agent told for any"):
        what_if([pipeline], [edit("scale llm@agent.py:1=0")])


def test_a_step_of_an_agent_is_a_place_as_well() -> None:
    graph = drawn("""
        agent LangGraph    |--------------------------------|
          chain research    |---------|
            chain Sequence   |-------|
              llm one         |----|                             model=m
          chain write                    |---------|
            llm two                       |-------|              model=m
    """)
    assert names(graph, "llm@research") == ["one"]
    assert names(graph, "llm@write") == ["two"]
    assert names(graph, "llm@LangGraph") == ["one", "two"]
    with pytest.raises(UsageError, match="did you mean @research"):
        what_if([graph], [edit("scale llm@reserch=0.5")])


def test_the_last_turn_is_not_what_goes_on_after_the_run() -> None:
    trace = drawn("""
        agent run    |----------------------------------------|
          llm one     |------------|                                     model=m
          llm answer                |-------------------------|          model=m carries=one
          llm note                                            |------|   model=haiku
    """)
    assert names(trace, "llm#last") == ["answer"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tol:fetch", "did you mean tool?"),
        ("llm#0", "'0' is no turn; write a number from 1 on, or first, last, tools, answer"),
        ("llm#lst", "'lst' is no turn"),
        ("@agent.py:41", "names no operation"),
        ("llm#1#2", "names no operation"),
    ],
)
def test_what_is_no_selector_is_refused_with_what_would_be_one(text: str, why: str) -> None:
    with pytest.raises(UsageError) as refused:
        selector(text)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("scale llm:bik=0.5", "names nothing in these traces; did you mean llm:big?"),
        ("scale tool:lok=0.5", "did you mean tool:look?"),
        ("scale llm:look=0.5", "did you mean tool:look?"),
        ("scale llm@agent.py:42=0.5", "no llm is made at agent.py:42; did you mean @agent.py:52"),
        ("scale llm@tea=0.5", "no llm is made at tea; did you mean @team?"),
        ("scale llm:small*@team=0.5", "no llm:small* is made at team; there is @agent.py:9"),
        ("scale llm#9=0.5", "no llm belongs to the turn 9; its agents have 3"),
        ("model big@agent.py:41=huge", "needs calls of both models"),
        ("model big@helpr=small@20260101", "no llm:big is made at helpr; did you mean @helper"),
        ("model llm:small*=small@20260101", "are made with small@20260101 already"),
        ("shrink llm@helper output=0.5", "nobody told the tokens of these calls"),
    ],
)
def test_what_names_nothing_is_refused_with_what_would_have_worked(text: str, why: str) -> None:
    with pytest.raises(UsageError) as refused:
        what_if([TEAM], [edit(text)])
    assert why in str(refused.value)
