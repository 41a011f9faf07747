"""CP403 and CP603: streams that stood still, connections that were not kept; and what looks so."""

import pytest

from tests.support.drawn import MS, drawn, found_in, without_texts

UNIT = 100 * MS

STALLED = """
    agent run   |----------------------------------------|
      llm chat   |--------------------------------------|   {facts}
      {beside}
"""
PACE = "model=m finish=stop ttft=4 generated=38 tokens=10/30 blocks=a>b stream=30/3/20"


@pytest.mark.parametrize("texts", [True, False], ids=["contents on", "contents off"])
@pytest.mark.parametrize(
    ("facts", "beside", "saved"),
    [
        pytest.param(PACE, "", 19, id="2 s of 3.8 s"),
        pytest.param(PACE.replace("finish=stop", "finish=length"), "", 19, id="cut off later"),
        pytest.param(PACE, "tool get    |---------------|", 19, id="a short tool beside it"),
        pytest.param(PACE.replace("30/3/20", "30/3/9"), "", None, id="less than a second"),
        pytest.param(PACE.replace("30/3/20", "12/3/20"), "", 18, id="few events"),
        pytest.param(PACE.replace("30/3/20", "9/3/20"), "", None, id="too few to know their pace"),
        pytest.param(PACE.replace("38", "370").replace("30/3", "20/3"), "", None, id="all slow"),
        pytest.param(
            PACE.replace("ttft=4", "ttft=23"), "", None, id="the wait for the first token"
        ),
        pytest.param(PACE.replace("ttft=4 ", ""), "", None, id="first token not known"),
        pytest.param(PACE.replace("generated=38 ", ""), "", None, id="last event not known"),
        pytest.param(PACE.replace("stream=30/3/20", "connect=new/20"), "", None, id="no pace"),
        pytest.param(PACE.replace("10/30", "10/30/0/0/9"), "", None, id="it was reasoning"),
        pytest.param(PACE.replace(">b", ">assistant/thinking/t,b"), "", None, id="it was thinking"),
        pytest.param(
            PACE.replace(">b", ">assistant/tool_use/t").replace("=stop", "=tool_call"),
            "",
            None,
            id="the arguments of a tool",
        ),
        pytest.param(
            PACE.replace(">b", ">assistant/server_tool_use/t,b"), "", None, id="it searched"
        ),
        pytest.param(PACE.replace("blocks=a>b ", ""), "", None, id="nobody knows what it said"),
        pytest.param(PACE.replace("tokens=10/30 ", ""), "", None, id="no tokens"),
        pytest.param(f"{PACE} error=Overloaded", "", None, id="it failed"),
        pytest.param(PACE, "tool get    |-----------------------|", None, id="a tool beside it"),
        pytest.param(
            PACE, "llm other   |--------------------------------------|", None, id="not on the path"
        ),
    ],
)
def test_stalls(facts: str, beside: str, texts: bool, saved: int | None) -> None:
    trace = drawn(STALLED.format(facts=facts, beside=beside), unit_ns=UNIT)
    found = found_in(trace if texts else without_texts(trace), "CP403")
    expected = [] if saved is None else [("get past a stall of 2.0 s in an answer", saved)]
    assert [(one.title, (one.saving.ns or 0) // UNIT) for one in found] == expected
    assert all((one.evidence, one.at_most) == ("likely", True) for one in found)


SECOND = """
    agent run   |---------------------------------------------|
      llm one    |------|                                        model=m connect={one}
      tool get           {pause}
      llm two                            |------|                model=m connect={two}
"""
"""A unit is 100 ms, and where a pause is to be long 1 s."""


@pytest.mark.parametrize(
    ("drawing", "expected"),
    [
        (SECOND, ["use one client for all calls"]),
        (SECOND.replace("connect={two}", "connect=kept/0"), []),
        (SECOND.replace("connect={two}", "connect=new/0"), []),
        (SECOND.replace("connect={one}", ""), []),  # nobody told of the first one
        (SECOND.replace("model=m connect={two}", "model=other connect={two}"), []),
        (SECOND.replace("model=m connect={two}", "model=m service=b connect={two}"), []),
        (SECOND.replace("connect={one}", "connect={one} error=Overloaded"), []),  # it was closed
        (  # beside each other both need one
            SECOND.replace("llm two                            |------|", "llm two       |------|"),
            [],
        ),
        (  # the first one's is taken by the second one
            """
            agent run   |---------------------------------------------|
              llm one    |------|                                        model=m connect=new/1
              llm two            |-------------------|                   model=m connect=kept/0
              llm three               |----------|                       model=m connect=new/1
            """,
            [],
        ),
        (
            """
            agent run   |---------------------------------------------|
              llm one    |------|                                        model=m connect=new/1
              llm two            |----|                                  model=m connect=new/1
              llm three               |----------|                       model=m connect=new/1
            """,
            ["use one client for all calls, 2 times"],
        ),
        (  # some keep theirs: those that do not may be of another process
            """
            agent run   |---------------------------------------------|
              llm one    |------|                                        model=m connect=new/1
              llm two            |----|                                  model=m connect=new/1
              llm three               |----------|                       model=m connect=kept/0
            """,
            [],
        ),
    ],
)
def test_new_connections(drawing: str, expected: list[str]) -> None:
    drawing = drawing.format(pause="|-------------|", one="new/1", two="new/1")
    drawing = drawing.replace("model=", "where=a.py:1 model=")
    found = found_in(drawn(drawing, unit_ns=UNIT), "CP603")
    assert [one.title for one in found] == expected
    assert [(one.saving.ns or 0) // UNIT for one in found] == [one.times for one in found]
    assert all((one.evidence, one.at_most) == ("likely", False) for one in found)


@pytest.mark.parametrize(
    ("unit_s", "expected"),
    [
        (1, "keep the connection over pauses"),
        (4, "keep the connection over pauses"),
        (10, None),  # servers close what is idle for so long
    ],
)
def test_a_connection_that_was_idle_for_long(unit_s: int, expected: str | None) -> None:
    drawing = SECOND.format(pause="|-------------|", one="new/1", two="new/1")
    found = found_in(drawn(drawing, unit_ns=unit_s * 1000 * MS), "CP603")
    assert [one.title for one in found] == ([] if expected is None else [expected])


@pytest.mark.parametrize(
    ("one", "two", "saved"),
    [("3", "3", 3), ("9", "3", 3), ("3", "9", 3), ("0", "9", None)],
    ids=["alike", "the first needs a name", "a busy process", "a server that is near"],
)
def test_a_connection_counts_for_what_the_fastest_took(
    one: str, two: str, saved: int | None
) -> None:
    drawing = SECOND.format(pause="|-------------|", one=f"new/{one}", two=f"new/{two}")
    found = found_in(drawn(drawing, unit_ns=UNIT), "CP603")
    assert [finding.saving.ns for finding in found] == ([] if saved is None else [saved * UNIT])
    assert [finding.why.count("busy process") for finding in found] == [two == "9"] * len(found)


def test_the_first_token_comes_sooner_by_the_wait() -> None:
    drawing = SECOND.format(pause="|-------------|", one="new/3", two="new/3 ttft=5")
    (found,) = found_in(drawn(drawing, unit_ns=UNIT), "CP603")
    assert found.saving.ns == 3 * UNIT
