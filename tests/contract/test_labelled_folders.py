"""The labelled folders of `python -m benchmarks.findings`: what there is, and how it counts.

Their measurement takes a minute, so it is made by `make bench`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from benchmarks.findings.measure import PAGE
from benchmarks.findings.over_runs.measure import (
    END,
    FIRST_NS,
    START,
    Outcome,
    counted,
    labelled,
    table,
    written,
)

if TYPE_CHECKING:
    from pathlib import Path

FEWEST = 10
"""Folders that have a finding, and that only look like it."""
CODES = ("CP104", "CP201", "CP301", "CP401")


@pytest.mark.parametrize("code", CODES)
def test_every_finding_has_folders_that_have_it_and_look_alikes(code: str) -> None:
    folders = [one for one in labelled().values() if one.about == code]
    has = [one for one in folders if any(label.startswith(code) for label in one.present)]
    assert min(len(has), len(folders) - len(has)) >= FEWEST
    assert {one.sdk for one in has} == {one.sdk for one in folders} == {"anthropic", "openai"}
    assert not [one.name for one in folders if one.present & one.undecided or not one.way]


def outcome(name: str, *found: str) -> Outcome:
    return Outcome(labelled()[name], False, frozenset(found))


@pytest.mark.parametrize(
    ("name", "found", "expected"),
    [
        ("CP104/always_first", ["CP104 get_profile"], (1, 0, 1)),
        ("CP104/always_first", [], (0, 0, 1)),
        ("CP104/always_first", ["CP104 get_order"], (0, 1, 1)),  # of another tool
        ("CP104/six_runs", ["CP104 get_profile"], (0, 1, 0)),
        ("CP201/two_tools", ["CP104 read_rules", "CP201 get_fares"], (1, 0, 2)),  # undecided
    ],
)
def test_hits_and_misses(name: str, found: list[str], expected: tuple[int, int, int]) -> None:
    assert counted([outcome(name, *found)]) == expected


def test_the_table_has_the_misses() -> None:
    lines = table([outcome("CP104/always_first", "CP104 get_order")])
    assert lines[2] == "| `CP104` | off | 1 | 0 | 0 of 1 | 1 | 0% (0% to 79%) | 0% (0% to 79%) |"
    assert lines[-1] == (
        "| `CP104/always_first` | each of 20 runs looks at the profile first | off "
        "| CP104 get_profile | CP104 get_order |"
    )


def test_runs_are_put_apart(tmp_path: Path) -> None:
    """All of a run is moved by as much, however late its first span was written."""
    spans = [
        {"traceId": "a", "startTimeUnixNano": "150", "endTimeUnixNano": "160"},
        {
            "traceId": "a",
            "startTimeUnixNano": "100",
            "endTimeUnixNano": "200",
            "events": [{"timeUnixNano": "120"}],
        },
        {"traceId": "of the warm-up", "startTimeUnixNano": "1", "endTimeUnixNano": "2"},
    ]
    document = {"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": spans}]}]}
    file = tmp_path / "traces.jsonl"
    file.write_text(json.dumps(document) + "\n")
    written(file, [{"trace": "a", "name": "CP104/always_first", "number": 3}], tmp_path)
    (made,) = (tmp_path / "CP104/always_first").iterdir()
    begun = FIRST_NS + round(labelled()["CP104/always_first"].at(3) * 10**9)
    moved = [
        json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
        for line in made.read_text().splitlines()
    ]
    assert moved == [
        {
            "traceId": "a",
            "startTimeUnixNano": str(begun + 50),
            "endTimeUnixNano": str(begun + 60),
        },
        {
            "traceId": "a",
            "startTimeUnixNano": str(begun),
            "endTimeUnixNano": str(begun + 100),
            "events": [{"timeUnixNano": str(begun + 20)}],
        },
    ]


def test_the_docs_have_the_table() -> None:
    kept = PAGE.read_text().partition(START)[2].partition(END)[0]
    assert [code for code in CODES if f"| `{code}` | off |" not in kept] == []
