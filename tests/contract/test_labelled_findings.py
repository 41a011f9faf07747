"""The labelled runs of `python -m benchmarks.findings`: what there is of them, and how it counts.

Their measurement takes a minute and depends on the clock, so it is made by `make bench`.
"""

from __future__ import annotations

import pytest

from benchmarks.findings.measure import END, PAGE, START, Outcome, counted, labelled, table
from benchmarks.findings.shares import interval
from causepath_analyzer.analyses.findings.rules import RULES

FEWEST = 2
"""Agents that have a finding, and that only look like it."""
NOT_OF_ONE = frozenset({"CP104", "CP401"})
"""Findings that only several runs show: `test_labelled_folders` has these."""


def test_every_finding_has_agents_that_have_it_and_look_alikes() -> None:
    cases = labelled().values()
    have = {code: sum(code in case.present for case in cases) for code in RULES}
    look_alikes = {
        code: sum(case.about == code and code not in case.present for case in cases)
        for code in RULES
    }
    lacking = {
        code for code in RULES if have[code] < FEWEST or look_alikes[code] < FEWEST
    } - NOT_OF_ONE
    assert lacking == set()
    assert sum(len(case.sdks) for case in cases) >= 120
    for case in cases:
        assert case.way, case.name
        assert not case.present & case.undecided, case.name
        assert case.present | case.undecided | {case.about} <= RULES.keys(), case.name


def outcome(name: str, *found: str, content: bool = False) -> Outcome:
    return Outcome(labelled()[name], "anthropic", content, frozenset(found))


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([outcome("CP101-two_searches", "CP101")], (1, 0, 1)),
        ([outcome("CP101-two_searches")], (0, 0, 1)),
        ([outcome("CP101-on_threads", "CP101")], (0, 1, 0)),
        ([outcome("CP605-mails", "CP101")], (0, 0, 0)),  # people would not agree
        ([outcome("CP101-two_searches", "CP102")], (0, 0, 1)),
    ],
)
def test_hits_and_misses(outcomes: list[Outcome], expected: tuple[int, int, int]) -> None:
    assert counted(outcomes, ["CP101"]) == expected


def test_the_table_has_the_misses() -> None:
    both = [
        outcome("CP101-two_searches", "CP101"),
        outcome("CP101-two_searches", "CP102", content=True),
    ]
    lines = table(both)
    assert lines[2:6] == [
        "| `CP101` | off | 1 | 1 | 0 | 100% (21% to 100%) | 100% (21% to 100%) |",
        "| `CP101` | on | 1 | 0 | 0 |  | 0% (0% to 79%) |",
        "| `CP102` | off | 0 | 0 | 0 |  |  |",
        "| `CP102` | on | 0 | 0 | 1 | 0% (0% to 79%) |  |",
    ]
    assert lines[-1] == (
        "| `CP101-two_searches` | two searches of one reply, in sequence | anthropic on "
        "| CP101 | CP102 |"
    )


def test_the_interval_is_wilsons() -> None:
    low, high = interval(9, 10)
    assert (round(low, 3), round(high, 3)) == (0.596, 0.982)
    assert interval(10, 10)[1] == 1


def test_the_docs_have_a_row_for_each_finding() -> None:
    kept = PAGE.read_text().partition(START)[2].partition(END)[0]
    present = {code for case in labelled().values() for code in case.present}
    assert {code for code in present if f"| `{code}` | off |" not in kept} == set()
