"""How often checks are wrong about a change whose truth is known: a part of the benchmark."""

import pytest

from benchmarks.budgets import BUDGETS, MEDIAN, PAGE, judged, main, missed


def test_the_goals_are_reached() -> None:
    assert missed(judged(*MEDIAN, 160)) == []


def test_a_goal_that_is_not_reached_is_named() -> None:
    even = {percent: {"pass": 0.4, "inconclusive": 0.3, "fail": 0.3} for percent in (0, 30)}
    assert len(missed(even)) == 4  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_docs_have_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out in PAGE.read_text()
    assert len(BUDGETS) == 3
