"""Budgets: broken, kept, or nobody can know; never kept because nothing was recognised."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from causepath_analyzer.analyses.budgets import Budget, checked
from causepath_analyzer.analyses.run import Run, explained
from causepath_analyzer.model import ModelCall, Span, Tokens
from causepath_analyzer.read.tree.build import build
from tests.support.drawn import spans_drawn

S = 1_000_000_000
CALL = ModelCall(model="claude-opus-5-5", provider="anthropic", tokens=Tokens(1000, 100))


def run(drawing: str, scope: str | None = "app", **facts: Any) -> Run:
    """The run in `drawing`, with `facts` on the spans of that name."""

    def changed(span: Span) -> Span:
        return replace(span, scope=scope, **facts.get(span.name, {}))

    spans = [changed(span) for span in spans_drawn(drawing, unit_ns=S, start_ns=10**18)]
    return explained(build(spans), with_cost=True)


def called(**changes: Any) -> dict[str, Any]:
    return {"model_call": replace(CALL, **changes)}


AGENT = """
    agent a   |--------|
      llm one   |---|
"""
WHOLE = run(AGENT, one=called())
UNCOUNTED = run(AGENT, one=called(tokens=None))
PARTIAL = run(AGENT, one=called(partial=True))
IN_PART = run(AGENT, one=called(partial=True, partial_input=True))
IMPOSSIBLE = run(AGENT, one=called(tokens=Tokens(1000, 100, reasoning=200)))
UNPRICED = run(AGENT, one=called(model="nobody-knows-it"))
FAILED = run("agent a |-----|\n  llm one |---|  error=overloaded")
SUMS = run("agent a |-----|\n  tool t |---|", a={"repeats": CALL})
NOTHING = run("other a |-----|\n  other b |---|")
NO_CALL = run("agent a |-----|\n  tool t |---|", scope="causepath")
ASKING = run(AGENT, one=called(finish_reasons=("tool_call",)))
TIMELESS = run("agent a |")


@pytest.mark.parametrize(
    ("runs", "name", "most", "verdict"),
    [
        ([WHOLE], "tokens.input", 1000, "pass"),
        ([WHOLE], "tokens.input", 999, "fail"),
        ([WHOLE], "cost", Decimal(1), "pass"),
        ([WHOLE], "calls.llm", 1, "pass"),
        ([WHOLE], "calls.tool", 0, "pass"),
        # What was not counted may be anything.
        ([UNCOUNTED], "tokens.input", 10**9, "inconclusive"),
        ([UNCOUNTED], "cost", Decimal(1), "inconclusive"),
        ([UNCOUNTED], "calls.llm", 1, "pass"),
        ([UNPRICED], "cost", Decimal(1), "inconclusive"),
        ([UNPRICED], "tokens.input", 1000, "pass"),
        ([IMPOSSIBLE], "tokens.output", 1000, "inconclusive"),
        ([IMPOSSIBLE], "cost", Decimal(1), "inconclusive"),
        ([FAILED], "tokens.input", 10, "pass"),
        # A lower bound above the limit breaks it.
        ([PARTIAL], "tokens.output", 100, "inconclusive"),
        ([PARTIAL], "tokens.output", 99, "fail"),
        ([PARTIAL], "cost", Decimal("0.0001"), "fail"),
        ([PARTIAL], "cost", Decimal(1), "inconclusive"),
        ([PARTIAL], "tokens.input", 1000, "pass"),
        ([PARTIAL], "tokens.cache_read", 0, "pass"),
        ([IN_PART], "tokens.input", 1000, "inconclusive"),
        # One that fails, fails all; one that is not known leaves all open.
        ([WHOLE, UNCOUNTED], "tokens.input", 999, "fail"),
        ([WHOLE, UNCOUNTED], "tokens.input", 1000, "inconclusive"),
        # Sums of agents are tokens of calls of which the number is not known.
        ([SUMS], "tokens.input", 1000, "pass"),
        ([SUMS], "tokens.input", 999, "fail"),
        ([SUMS], "calls.llm", 5, "inconclusive"),
        ([SUMS], "turns", 5, "inconclusive"),
        # No call was recognised.
        ([NOTHING], "tokens.input", 10, "inconclusive"),
        ([NOTHING], "calls.llm", 10, "inconclusive"),
        ([NOTHING], "calls.tool", 10, "inconclusive"),
        ([NOTHING], "turns", 10, "inconclusive"),
        ([NOTHING], "cost", Decimal(1), "inconclusive"),
        ([NOTHING], "path.llm", S, "inconclusive"),
        ([NOTHING], "wall", 10 * S, "pass"),
        ([NOTHING], "path.other", 10 * S, "pass"),
        # None was made: whoever records calls recorded none, here or in another run.
        ([NO_CALL], "tokens.input", 10, "pass"),
        ([NO_CALL], "cost", Decimal(1), "pass"),
        ([NO_CALL], "calls.llm", 0, "pass"),
        ([WHOLE, NOTHING], "tokens.input", 1000, "pass"),
        # What is asked for and not seen.
        ([ASKING], "calls.tool", 0, "inconclusive"),
        # Times that cannot be known.
        ([TIMELESS], "wall", S, "inconclusive"),
        ([WHOLE], "path.first_token", 9 * S, "inconclusive"),
        ([WHOLE], "path.llm", 9 * S, "pass"),
    ],
)
def test_verdicts(runs: list[Run], name: str, most: Any, verdict: str) -> None:
    found = checked([Budget(name, most, "--max")], runs)
    (result,) = found.budgets
    assert result.verdict == found.verdict == verdict
    assert (result.why is not None) == (verdict == "inconclusive" or bool(result.unknown))
