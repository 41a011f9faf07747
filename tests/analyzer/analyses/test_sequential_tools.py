"""CP101, and the schedule that its savings come from."""

import re

import pytest
from msgspec.structs import replace

from causepath_analyzer.analyses.findings.rules import chosen
from causepath_analyzer.analyses.run import explained
from causepath_analyzer.read.tree.build import build
from tests.support.drawn import MS, drawn

ORDERS = chosen(["CP1"])
UNIT = 100 * MS


def savings(drawing: str) -> list[tuple[str, int]]:
    """The tools of every finding, and its saving in units of the drawing."""
    trace = drawn(drawing, unit_ns=UNIT)
    return [
        ("+".join(trace.spans[i].name for i in found.spans), (found.saving.ns or 0) // UNIT)
        for found in explained(trace, rules=ORDERS).findings
    ]


@pytest.mark.parametrize(
    ("drawing", "expected"),
    [
        pytest.param(
            """
            agent run    |------------------------|
              llm one     |---|
              tool t           |----|                 asked_by=one
              tool u                |-------|         asked_by=one
              llm two                       |---|
            """,
            [("t+u", 5)],
            id="in sequence: the longest remains",
        ),
        pytest.param(
            """
            agent run    |------------------------|
              llm one     |---|
              tool t           |----|                 asked_by=one
              tool u            |-------|             asked_by=one
              llm two                       |---|
            """,
            [],
            id="already together",
        ),
        pytest.param(
            """
            llm request  |---------------------------|
              tool t         |----|
              tool u         |----|
              tool v                  |------|
            """,
            [],
            id="inside what several calls wrote onto: a pause may be another reply",
        ),
        pytest.param(
            """
            llm request  |---------------------------|
              tool t         |----|
              tool u              |-------|
            """,
            [("t+u", 5)],
            id="inside the call that asked for them, without a pause",
        ),
        pytest.param(
            """
            agent run    |--------------------------|
              llm one     |---|
              tool t           |----|                 asked_by=one
              tool u                  |-------|       asked_by=one
              llm two                         |---|
            """,
            [("t+u", 5)],
            id="the agent's own work between them stays",
        ),
        pytest.param(
            """
            agent run    |---------------------------|
              llm one     |---|
              tool t           |-----|                  asked_by=one
              tool u           |-----|                  asked_by=one
              tool v                 |-----|            asked_by=one
              tool w                 |-----|            asked_by=one
              llm two                      |---|
            """,
            [],
            id="a limit of two at once is kept",
        ),
        pytest.param(
            """
            agent run    |---------------------------|
              llm one     |---|
              tool t           |-----|                  asked_by=one
              tool u           |---|                    asked_by=one
              tool v                 |---|              asked_by=one
              llm two                    |---|
            """,
            [("t+u+v", 2)],
            id="within the limit the third starts where there is room",
        ),
        pytest.param(
            """
            agent run       |--------------------------------|
              llm one        |---|
              tool t              |----|                         asked_by=one
              tool u                   |----|                    asked_by=one
              llm two                       |---|
              network beside |---------------------------|
            """,
            [],
            id="nothing is saved that something else takes as well",
        ),
        pytest.param(
            """
            agent run     |-----------------------------|
              agent sub    |-----------------------|
                llm one     |---|
                tool t           |----|                  asked_by=one
                tool u                |----|             asked_by=one
              tool after                           |--|
            """,
            [("t+u", 5)],
            id="the saving goes up through the parents",
        ),
        pytest.param(
            """
            agent run    |------------------------|
              llm one     |---|                       issued=a,b
              tool t           |----|                 call_id=a
              tool u                |-------|         call_id=b
            """,
            [("t+u", 5)],
            id="known from the ids in the recorded reply",
        ),
        pytest.param(
            """
            agent run    |------------------------|
              llm one     |---|                       finish=tool_call
              tool t           |----|                 call_id=a
              tool u                |-------|         call_id=b
              llm two                        |--|
            """,
            [("t+u", 5)],
            id="known from call ids between two model calls",
        ),
        pytest.param(
            """
            agent run    |------------------------|
              llm one     |---|                       finish=stop
              tool t           |----|                 call_id=a
              tool u                |-------|         call_id=b
            """,
            [],
            id="a reply that asked for no tool did not ask for these",
        ),
        pytest.param(
            """
            agent run    |------------------------|
              llm one     |---|
              tool t           |----|
              tool u                |-------|
            """,
            [],
            id="without ids nothing is proved",
        ),
        pytest.param(
            """
            agent run    |------------------------|
              llm one     |---|
              tool t           |----|                 asked_by=one
              llm two               |--|
              tool u                    |----|        asked_by=two
            """,
            [],
            id="tools of two replies",
        ),
        pytest.param(
            """
            agent run    |------------------------|
              llm one     |---|
              tool t           |----|                 asked_by=one inferred
              tool u                |-------|         asked_by=one inferred
            """,
            [],
            id="windows are no durations",
        ),
        pytest.param(
            """
            agent run    |--------------------------|
              llm one     |--------------------|
                tool t        |----|                  asked_by=one
                tool u             |----|             asked_by=one
              llm two                           |--|
            """,
            [("t+u", 5)],
            id="inside the model call that asked",
        ),
    ],
)
def test_savings(drawing: str, expected: list[tuple[str, int]]) -> None:
    assert savings(drawing) == expected


TWO_TOOLS = """
    agent run    |----------{wait}|               where=agent.py:41_loop
      llm one     |---|                           turn=3
      tool t           ||                         asked_by=one
      tool u            ||                        asked_by=one
"""


@pytest.mark.parametrize(
    ("unit_ms", "wait", "found"),
    [(50, 5, 1), (49, 5, 0), (50, 200, 0)],
    ids=["50 ms", "below 50 ms", "below 1 %"],
)
def test_small_savings_are_not_worth_a_word(unit_ms: int, wait: int, found: int) -> None:
    trace = drawn(TWO_TOOLS.format(wait="-" * wait), unit_ns=unit_ms * MS)
    assert len(explained(trace, rules=ORDERS).findings) == found


OFTEN = """
    agent run    |------------------------------------|           {place}
      llm m       |---|                                           id=m1 turn=1 where=agent.py:41
      tool t           ||                                         id=t1 asked_by=m1
      tool u            ||                                        id=u1 asked_by=m1
      llm m              |---|                                    id=m2 turn=2 where=agent.py:{line}
      tool t                  ||                                  id=t2 asked_by=m2
      tool v                   ||                                 id=v2 asked_by=m2
      llm m                     |---|                             id=m3 turn=3
"""


def test_small_savings_at_one_place_add_up() -> None:
    trace = drawn(OFTEN.format(line=41, place=""), unit_ns=25 * MS)
    (found,) = explained(trace, rules=ORDERS).findings
    assert (found.title, found.times, found.saving.ns, found.where) == (
        "run tools of one reply together, 2 times",
        2,
        50 * MS,
        "agent.py:41",
    )
    assert [trace.spans[i].span_id for i in found.spans] == ["t1", "u1", "t2", "v2"]
    assert found.why == (
        "This happens 2 times. The first time: t and u were asked for in one reply, so none can "
        "need what another returned. t and u may write; whether to the same place is not in the "
        "trace."
    )
    elsewhere = drawn(OFTEN.format(line=42, place=""), unit_ns=25 * MS)
    assert explained(elsewhere, rules=ORDERS).findings == ()


def test_a_finding_says_everything() -> None:
    trace = drawn(TWO_TOOLS.format(wait="-----"), unit_ns=UNIT)
    (found,) = explained(trace, rules=ORDERS).findings
    assert (found.code, found.title, found.evidence, found.where, found.saving.usd) == (
        "CP101",
        "run 2 tools of turn 3 together",
        "likely",
        "agent.py:41_loop",
        None,
    )
    assert found.why == (
        "t and u were asked for in one reply, so none can need what another returned. "
        "t and u may write; whether to the same place is not in the trace."
    )
    assert found.saving.ns == UNIT
    assert found.share == pytest.approx(1 / 16)


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        (("read_only", "read_only"), "All are marked read-only."),
        (
            ("read_only", ""),
            "Only u may write; whether another one reads it is not in the trace.",
        ),
        (("", ""), "t and u may write; whether to the same place is not in the trace."),
    ],
    ids=["readers", "one writer", "two writers"],
)
def test_what_may_write_is_named(marks: tuple[str, str], expected: str) -> None:
    drawing = TWO_TOOLS.format(wait="-----")
    for tool, mark in zip("tu", marks, strict=True):
        drawing = re.sub(rf"(tool {tool} .*asked_by=one)", rf"\1 {mark}", drawing)
    (found,) = explained(drawn(drawing, unit_ns=UNIT), rules=ORDERS).findings
    assert found.why.endswith(f"returned. {expected}")


def test_untrusted_times_give_no_saving() -> None:
    trace = drawn(
        """
        agent run    |--------------------------|
          tool t      |------------------------|   call_id=a
          tool u                |--------------|   call_id=b
          tool v                           |---|   call_id=c
        """
    )
    assert not trace.untrusted
    flushed = drawn(
        """
        agent run    |--------------------------|
          llm one     |-------------------------|
          tool t          |---------------------|   asked_by=one
          tool u                |---------------|   asked_by=one
          tool v                           |----|   asked_by=one
        """,
        unit_ns=UNIT,
    )
    assert flushed.untrusted
    assert explained(flushed, rules=ORDERS).findings == ()


PAIR = """
    agent run    |---------------------------|
      llm one     |---|                             turn=3
      tool t           |-----|                      asked_by=one {first}
      tool u                 |-----|                asked_by=one {second}
      llm two                      |-----|
"""


@pytest.mark.parametrize(
    ("one", "first", "two", "second", "expected"),
    [
        ("search", "given=tea", "search", "given=salt", "proved"),
        ("get_user", "", "list_orders", "", "proved"),
        ("a", "read_only=1", "b", "read_only=1", "proved"),
        ("weather", "", "calendar", "", "likely"),
        ("write_file", "given=/a/x", "write_file", "given=/a/y", "likely"),
        ("write_file", "given=/a/x", "write_file", "given=/a/x", None),
        ("write_file", "given=/a/x", "read_file", "given=/a/x", None),
        ("edit_file", "given=/srv/shop/price.py", "tests", "given=/srv/shop", None),
        ("get_file", "given=/a/x", "count_lines", "given=/a/x", "likely"),
        ("login", "", "mails", "", None),
        ("python", "given=x=1", "python", "given=print(x)", None),
        ("counter", "given=a", "counter", "given=a", None),
    ],
)
def test_what_tools_may_do_to_each_other(
    one: str, first: str, two: str, second: str, expected: str | None
) -> None:
    names = {"t": one, "u": two}
    spans = [
        replace(span, tool_call=replace(span.tool_call, name=names[span.name]))
        if span.tool_call is not None
        else span
        for span in drawn(PAIR.format(first=first, second=second), unit_ns=UNIT).spans
    ]
    assert [
        (each.code, each.evidence) for each in explained(build(spans), rules=ORDERS).findings
    ] == ([("CP101", expected)] if expected else [])


TURNS = """
    agent run    |------------------------------------------------------|
      llm one     |---|                                                    turn=1
      tool q           |---|                             asked_by=one id=q1
      tool q               |---|                         asked_by=one id=q2 given=b
      llm two                  |---|                                       turn=2
      tool q                       |{first}|                      asked_by=two id=q3 given=c
      tool q                       |{second}|                     asked_by=two id=q4 given=d
      llm three                               |---|
"""


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [("---", "-------", ("likely", True)), ("---", "---", ("proved", False))],
    ids=["as if they waited for each other", "side by side"],
)
def test_tools_that_are_serial_elsewhere(
    first: str, second: str, expected: tuple[str, bool]
) -> None:
    trace = drawn(TURNS.format(first=first, second=second), unit_ns=UNIT)
    (found,) = explained(trace, rules=ORDERS).findings
    assert (found.evidence, found.at_most) == expected
    assert ("the saving is an upper bound" in found.why) is found.at_most
