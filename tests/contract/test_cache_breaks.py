"""The conversations of `python -m benchmarks.findings` whose prompt cache breaks."""

from __future__ import annotations

import json

import pytest

from benchmarks.findings.cache_breaks.measure import (
    BREAKS,
    END,
    START,
    Outcome,
    is_right,
    table,
    without_word,
)
from benchmarks.findings.measure import PAGE


def outcome(word: str | None, ours: str, *, is_break: bool = True) -> Outcome:
    return Outcome("a_clock", "anthropic", False, word, ours, is_break)


def test_there_are_enough_of_them() -> None:
    assert sum(len(one.sdks) for one in BREAKS.values()) >= 60


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (outcome("system_changed", "system"), True),
        (outcome("input_changed", "system"), True),
        (outcome("system_changed", "nothing"), True),
        (outcome("system_changed", "lifetime"), True),  # after a pause no edit is blamed
        (outcome("system_changed", "messages"), False),
        (outcome("tools_changed", "system and tools"), False),
        (outcome(None, "look-back"), True),
        (outcome(None, "nothing", is_break=False), True),
        (outcome(None, "system", is_break=False), False),
    ],
)
def test_where_we_contradict_the_provider(said: Outcome, expected: bool) -> None:
    assert is_right([said]) is expected


def test_the_table_has_what_differs() -> None:
    lines = table([outcome("system_changed", "system"), outcome("tools_changed", "messages")])
    assert lines[:4] == [
        "| the provider says | messages | system | nothing |",
        "| --- | --: | --: | --: |",
        "| `system_changed` |  | 1 |  |",
        "| `tools_changed` | 1 |  |  |",
    ]
    assert lines[-1] == "| `a_clock` | anthropic | `tools_changed` | messages |"


def test_the_word_is_hidden_and_pauses_are_put_in() -> None:
    attributes = [
        {"key": "causepath.cache.diagnosis", "value": {"stringValue": "tools_changed"}},
        {"key": "causepath.turn", "value": {"intValue": "1"}},
    ]
    span = {
        "traceId": "a",
        "startTimeUnixNano": "100",
        "endTimeUnixNano": "200",
        "attributes": attributes,
        "events": [{"timeUnixNano": "150"}],
    }
    line = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
    made = json.loads(without_word(line, {"a": [(150, 2.0), (180, 1.0)]}))
    assert made["resourceSpans"][0]["scopeSpans"][0]["spans"] == [
        {
            "traceId": "a",
            "startTimeUnixNano": "100",
            "endTimeUnixNano": "3000000200",
            "attributes": attributes[1:],
            "events": [{"timeUnixNano": "2000000150"}],
        }
    ]


def test_the_docs_have_the_table() -> None:
    kept = PAGE.read_text().partition(START)[2].partition(END)[0]
    assert "| the provider says |" in kept
