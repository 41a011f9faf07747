"""Real agents, traced by the plugin, predicted by the analyzer, fixed, and measured again.

A small part of `python -m benchmarks.predictions`. What a fix saves really depends on the machine;
what it is predicted to, is what these agents wait for at least.
"""

from __future__ import annotations

import pytest

from benchmarks.predictions.measure import measured, table

AGENTS = ["tools in sequence", "a guess ahead", "retries with back-off"]


@pytest.mark.slow
def test_fixes_of_real_agents_are_predicted_and_measured() -> None:
    outcomes = measured(AGENTS, runs=2)
    assert [one.agent for one in outcomes] == AGENTS
    assert all(one.predicted > 0.1 for one in outcomes)
    assert len(table(outcomes)) == len(AGENTS) + 4
