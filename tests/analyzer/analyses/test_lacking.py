"""Traces of which little can be said: the report says what it would take."""

from typing import Any

import pytest
from msgspec.structs import replace

from causepath_analyzer.analyses.budgets.wording import Budget
from causepath_analyzer.analyses.lacking import lacking
from causepath_analyzer.analyses.run import Run, explained
from causepath_analyzer.model import ModelCall, Tokens
from causepath_analyzer.read.tree.build import build
from tests.support.drawn import spans_drawn
from tests.support.held import held

S = 1_000_000_000
WHOLE = ModelCall(model="claude-opus-5-5", tokens=Tokens(1000, 100))


def run(drawing: str, **facts: Any) -> Run:
    spans = spans_drawn(drawing, unit_ns=S // 10, start_ns=10**18)
    calls = [replace(span, model_call=facts.get(span.name, span.model_call)) for span in spans]
    return explained(build(calls))


PIECES = """
    llm one    |---|           parent=lost
    tool two        |---|      parent=gone
    llm three            |---| parent=away
"""


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (run("agent a |-----|\n  llm one |---|", one=WHOLE), []),
        (run("agent a |-----|\n  llm one |---|", one=ModelCall()), ["token counts"]),
        (run("agent a |-----|"), ["spans of model calls"]),
        (run("llm one |-----|", one=WHOLE), ["the run around the call"]),
        (run("agent a |"), ["times", "spans of model calls"]),
        (run(PIECES, one=WHOLE, three=WHOLE), ["not here"]),
        (
            run("agent a |--------|\n  llm one |-----|\n  llm two  |----|\n  llm three    |--|"),
            ["token counts"],
        ),
    ],
)
def test_what_is_lacking(found: Run, words: list[str]) -> None:
    told = lacking(found.trace, found.usage)
    assert len(told) == len(words)
    assert all(word in one for word, one in zip(words, told, strict=True))


@pytest.mark.parametrize("name", ["wall", "path.llm", "tokens.input", "tokens.output"])
def test_what_is_left_of_a_trace_is_a_lower_bound(name: str) -> None:
    pieces = run(PIECES, one=WHOLE, three=WHOLE)
    (kept,) = held([Budget(name, 10**12, "--max")], [pieces]).budgets
    (broken,) = held([Budget(name, 1, "--max")], [pieces]).budgets
    assert (kept.verdict, broken.verdict) == ("inconclusive", "fail")


def test_one_parent_elsewhere_is_the_caller() -> None:
    found = run("agent a |-----| parent=caller\n  llm one |---|", one=WHOLE)
    assert lacking(found.trace, found.usage) == ()


@pytest.mark.parametrize(
    ("drawing", "hasty"),
    [
        ("llm one |----------|", 0),
        ("llm one |", 1),
    ],
)
def test_calls_too_short_for_any_model_are_told(drawing: str, hasty: int) -> None:
    found = run(drawing, one=WHOLE)
    assert found.usage.hasty == hasty
    assert any("less time than any model needs" in note for note in found.health.notes) == (
        hasty > 0
    )
