"""Which result was the first to say what a tool is given, however long ago that was."""

from __future__ import annotations

import pytest
from opentelemetry.trace import SpanContext

from causepath.content import word_sources

PLAN, PAGE = (SpanContext(7, number, is_remote=False) for number in (1, 2))
QUESTION = "Go by the plan from K-17 on, please."
TEXT = (
    "There is door-42, then door-117 with the key 88213. The office in Aveiro is open, and others "
    "are not. Keep all doors shut."
)
LOG = [
    (None, [QUESTION]),
    (None, ['{"of": "the house"}']),
    (PLAN, [TEXT * 20]),
    (None, ["First I look at door-42."]),
    (PAGE, ["Nothing but door-42 and room 90417-b."]),
]


@pytest.mark.parametrize(
    ("arguments", "sources"),
    [
        ({"door": "door-42"}, [PLAN]),  # whoever says it again
        ({"door": "door-4"}, []),  # no part of a word
        ({"doors": [{"door": "door-117"}], "note": "room 90417-b"}, [PLAN, PAGE]),
        ({"key": 88213}, [PLAN]),
        ({"town": "Aveiro"}, [PLAN]),
        ({"text": "to Aveiro at once"}, [PLAN]),
        # They look like it:
        ({"door": "K-17"}, []),  # the question said so
        ({"text": "keep all doors shut"}, []),  # plain words
        ({"text": "Keep going"}, []),  # so begins a sentence
        ({"text": "There are others"}, []),
        ({"limit": 88213}, []),  # the model's own choice
        ({"key": "88"}, []),  # too short to tell
        ({"door": "door-5"}, []),
        ({}, []),
        (None, []),
    ],
)
def test_said_first(arguments: object, sources: list[SpanContext]) -> None:
    assert word_sources.said_first(arguments, LOG) == sources


def test_no_more_is_looked_for_than_takes_no_time() -> None:
    words = [f"nobody-{number}" for number in range(100)]
    assert word_sources.said_first([*words, "door-42"], LOG) == []  # the first few words only
    long = [(None, ["x" * word_sources.MAX_SEARCHED]), *LOG]
    assert word_sources.said_first({"door": "door-42"}, long) == []
