"""CP601 and CP602: time in which nothing was recorded, and in which a person was waited for."""

import pytest
from msgspec.structs import replace

from causepath_analyzer.analyses.findings.rule import UNKNOWN
from causepath_analyzer.read.tree.build import build
from tests.support.drawn import MS, drawn, found_in, spans_drawn

UNIT = 100 * MS


@pytest.mark.parametrize(
    ("drawing", "expected"),
    [
        pytest.param(
            """
            agent run      |-----------------------------------|
              llm one       |------|
              llm two                            |----|
            """,
            [
                (
                    "trace 2.4 s that no span shows",
                    (
                        "run itself took 2.4 s, 67% of the wall, in which nothing below it ran: "
                        "1.4 s at the most in one piece, between one and two."
                    ),
                )
            ],
            id="between two calls",
        ),
        pytest.param(
            """
            agent run      |-----------------------------------|
              llm one       |------|
            """,
            [
                (
                    "trace 2.9 s that no span shows",
                    (
                        "run itself took 2.9 s, 81% of the wall, in which nothing below it ran: "
                        "2.8 s at the most in one piece, after one."
                    ),
                )
            ],
            id="after the last call",
        ),
        pytest.param(
            """
            llm one      |------|
            llm two                            |------|
            """,
            [
                (
                    "trace 1.5 s that no span shows",
                    (
                        "1.5 s, 52% of the wall, are covered by no span: "
                        "1.5 s at the most in one piece, between one and two."
                    ),
                )
            ],
            id="without a run around them",
        ),
        pytest.param(
            """
            other enqueue  |-|                                     kind=producer
              agent worker                         |------------|
                llm one                             |----------|
            """,
            [],
            id="in a queue",
        ),
        pytest.param(
            """
            other enqueue  |-|                                     kind=producer
            agent worker                         |------------|    links=enqueue
              llm one                             |----------|
            """,
            [],
            id="in a queue, with a link",
        ),
        pytest.param(
            """
            other enqueue  |-|                                     kind=producer
            agent other                          |------------|
              llm one                             |----------|
            """,
            [
                (
                    "trace 2.0 s that no span shows",
                    (
                        "2.0 s, 57% of the wall, are covered by no span: "
                        "2.0 s at the most in one piece, between enqueue and other."
                    ),
                )
            ],
            id="behind a message that caused something else",
        ),
        pytest.param(
            """
            agent run      |-----------------------------------|
              llm one       |---------------|
              llm two                        |-----------------|
            """,
            [],
            id="all is covered",
        ),
        pytest.param(
            """
            agent run      |-----------------------------------|
              llm one       |---------------|
              tool t                         |-----------------|   inferred
            """,
            [],
            id="a window covers it",
        ),
        pytest.param(
            """
            agent run      |-----------------------------------|
              llm one       |------|
              network other         |---------------------|
              llm two                                    |----|
            """,
            [],
            id="something else is recorded",
        ),
        pytest.param(
            """
            agent run      |-----------------------------------|
              llm one       |------|
              other connect         |--------------------|
              llm two                                    |----|
            """,
            [],
            id="a span that says by its name what it does",
        ),
        pytest.param(
            """
            agent run      |-----------------------------------|
              llm one       |------|
              human approve         |--------------------|
              llm two                                    |----|
            """,
            [],
            id="a person is known to have been waited for",
        ),
        pytest.param(
            """
            agent run      |-----------------------------------|
              llm one       |------|                               finish=stop
              llm two                            |-------------|
            """,
            [],
            id="an answer, and what the user asked next",
        ),
        pytest.param(
            """
            llm one      |------|                                  finish=stop session=s
            llm two                            |------|            session=s
            """,
            [],
            id="the same without a run around them",
        ),
        pytest.param(
            """
            agent run      |-----------------------------------|
              llm one       |------|                               finish=stop opening=1
              llm two                            |-------------|   opening=2
              llm three                                        |-| opening=2
            """,
            [
                (
                    "trace 1.5 s that no span shows",
                    (
                        "run itself took 1.5 s, 42% of the wall, in which nothing below it ran: "
                        "1.4 s at the most in one piece, between one and two."
                    ),
                )
            ],
            id="two conversations, of which a user is in one at the most",
        ),
        pytest.param(
            """
            agent run      |-----------------------------------------|
              llm one       |------|                               finish=stop
              llm two                      |----|                  finish=tool_call
              llm three                                  |-----|
            """,
            [
                (
                    "trace 1.6 s that no span shows",
                    (
                        "run itself took 1.6 s, 38% of the wall, in which nothing below it ran: "
                        "0.9 s at the most in one piece, between two and three."
                    ),
                )
            ],
            id="a tool that was asked for, after an answer",
        ),
        pytest.param(
            """
            other request  |-----------------------------------|
              database q    |------|
            """,
            [],
            id="a service without any call of an agent",
        ),
        pytest.param(
            """
            agent run      |-----------------------------------|
              llm one       |------|
              llm two                            |----|        parent=lost
            """,
            [],
            id="spans were lost",
        ),
        pytest.param("agent run      |-----------------------------------|", [], id="no calls"),
    ],
)
def test_uncovered_time(drawing: str, expected: list[tuple[str, str]]) -> None:
    trace = drawn(drawing, unit_ns=UNIT)
    found = found_in(trace, "CP601")
    assert [(one.title, one.why) for one in found] == expected
    assert all(
        (one.evidence, one.saving, one.replayed) == ("proved", UNKNOWN, False) for one in found
    )
    assert found_in(replace(trace, untrusted=True), "CP601") == []


ANSWERED = """
    agent run      |-----------------------------------|
      llm one       |------|                               finish=stop stack=a.py:3,a.py:9 {one}
      llm two                            |-------------|   {two}
"""


@pytest.mark.parametrize(
    ("two", "expected"),
    [
        pytest.param("stack=a.py:4,a.py:9 blocks=q2>a2", ["run"], id="another line asks anew"),
        pytest.param("stack=a.py:4,a.py:9 blocks=a1,q2>a2", ["run"], id="and quotes the answer"),
        pytest.param("stack=a.py:3,a.py:9 blocks=q2>a2", [], id="a prompt of a user"),
        pytest.param("stack=a.py:4,a.py:9 blocks=2@one+q2>a2", [], id="a conversation goes on"),
        pytest.param(
            "stack=a.py:4,a.py:9 blocks=q1,assistant/text/a1,q2>a2", [], id="a part of it is sent"
        ),
        pytest.param("stack=a.py:4,a.py:9 blocks=2@lost+q2>a2", [], id="not all of it is known"),
        pytest.param(
            "stack=a.py:4,a.py:9 blocks=q2>a2 goes_on", [], id="a conversation of the provider's"
        ),
        pytest.param("stack=a.py:4,a.py:9 blocks=q2>a2 session=s", [], id="one of a session"),
        pytest.param("stack=a.py:4,a.py:9", [], id="without digests"),
        pytest.param("blocks=q2>a2", [], id="nobody knows which line asks"),
    ],
)
def test_time_after_an_answer_is_a_users_unless_own_code_asks_anew(
    two: str, expected: list[str]
) -> None:
    one = "blocks=q1>a1" if "blocks=" in two else ""
    trace = drawn(ANSWERED.format(one=one, two=two), unit_ns=UNIT)
    found = found_in(trace, "CP601")
    assert [trace.spans[i].name for one in found for i in one.spans] == expected


@pytest.mark.parametrize(
    ("changed", "evidence", "doubt"),
    [
        ({}, "proved", ""),
        (
            {"start_ns": 8 * UNIT, "end_ns": 7 * UNIT},
            "likely",
            " But spans ended before they started: the time may be theirs.",
        ),
    ],
)
def test_time_that_may_be_that_of_a_span_whose_times_cannot_be(
    changed: dict[str, int], evidence: str, doubt: str
) -> None:
    spans = spans_drawn(
        """
        agent run      |-----------------------------------|
          llm one       |------|
          tool look                                    |--|
        """,
        unit_ns=UNIT,
    )
    told = build([replace(one, **changed) if one.name == "one" else one for one in spans])
    (finding,) = found_in(told, "CP601")
    assert (finding.evidence, finding.why.partition(", before look.")[2]) == (evidence, doubt)


@pytest.mark.parametrize(
    ("drawing", "expected"),
    [
        pytest.param(
            """
            agent run      |-----------------------------------|
              llm one       |------|
              human approve         |--------------------|         where=a.py:7
              llm two                                    |----|
            """,
            [("ask people earlier (2.1 s waited)", ["approve"], "a.py:7")],
            id="an approval",
        ),
        pytest.param(
            """
            agent run      |-----------------------------------|
              llm one       |------|
              human yes             |------|
              llm two                      |----|
              human really                      |----------|
              llm three                                    |--|
            """,
            [("ask people earlier (1.8 s waited)", ["yes", "really"], None)],
            id="two questions",
        ),
        pytest.param(
            """
            agent run      |-----------------------------------|
              llm one       |------|
              human approve         |--------------------|
              tool build            |--------------------|
              llm two                                    |----|
            """,
            [],
            id="something else went on",
        ),
        pytest.param(
            """
            agent run      |-----------------------------------|
              llm one       |------|
              human approve         |-------|
              llm two               |-------------------------|
            """,
            [],
            id="the answer was there in no time",
        ),
        pytest.param(
            """
            agent run      |-----------------------------------|
              llm one       |------|
              tool ask_user         |--------------------|
              llm two                                    |----|
            """,
            [],
            id="a tool that nothing says a person was behind",
        ),
    ],
)
def test_waiting_for_a_person(drawing: str, expected: list[tuple[str, list[str], str]]) -> None:
    trace = drawn(drawing, unit_ns=UNIT)
    found = found_in(trace, "CP602")
    told = [(one.title, [trace.spans[i].name for i in one.spans], one.where) for one in found]
    assert told == expected
    assert all(one.saving == UNKNOWN for one in found)
    assert found_in(replace(trace, untrusted=True), "CP602") == []
    called = [replace(span, name="waiting for the user") for span in trace.spans]
    assert found_in(replace(trace, spans=tuple(called)), "CP602") == []  # what they write next
