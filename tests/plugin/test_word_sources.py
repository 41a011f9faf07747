"""Which result was the first to say what a tool is given, however long ago that was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry.trace import SpanContext

from causepath.content import word_sources

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        ({"text": "the well-known door"}, []),
        ({"limit": 88213}, []),  # the model's own choice
        ({"key": "88"}, []),  # too short to tell
        ({"door": "door-5"}, []),
        ({}, []),
        (None, []),
    ],
)
def test_said_first(arguments: object, sources: list[SpanContext]) -> None:
    assert said_first(word_sources.telling(arguments), LOG) == sources


def said_first(
    words: Sequence[str], log: Sequence[tuple[SpanContext | None, list[str]]]
) -> list[SpanContext]:
    return word_sources.said_first(words, [tool for tool, _ in log], lambda n: log[n][1])


def test_no_more_is_looked_for_than_takes_no_time() -> None:
    words = [f"nobody-{number}" for number in range(100)]
    assert word_sources.telling([*words, "door-42"]) == words[: word_sources.MAX_TELLING]
    long = [(PAGE, ["x" * (word_sources.MAX_SEARCHED + 1)]), *LOG]
    assert said_first(["door-42"], long) == []


@pytest.mark.parametrize(
    ("answer", "sources"),
    [
        ("It is door-117, as I said.", [PLAN]),
        ("Ask in Aveiro.", [PLAN]),
        ("88213.", [PLAN]),
        ("door-117", [PLAN]),
        # They look like it:
        ("There is none. Keep on!\nOffice hours are over: There you go.", []),
        ("It is 9.", []),
        ("", []),
    ],
)
def test_what_is_answered_from_a_result(answer: str, sources: list[SpanContext]) -> None:
    words = word_sources.telling({"": word_sources.within_sentences(answer)})
    assert said_first(words, LOG) == sources
