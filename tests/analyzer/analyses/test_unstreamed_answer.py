"""CP402: an answer that somebody waited for as a whole; and answers that nobody waits for so."""

import pytest
from msgspec.structs import replace

from causepath_analyzer.analyses.findings.rule import UNKNOWN, Finding
from causepath_analyzer.model import Terms, Trace
from tests.support.drawn import MS, drawn, found_in, without_texts

UNIT = 100 * MS
WAITED = "finish=stop streamed=no tokens=900/400 model=m"


def agent(
    last: str = WAITED,
    *,
    first: str = "finish=tool_call streamed=no tokens=900/20 model=m",
    root: str = "session=s",
    length: int = 60,
    after: str = "",
) -> Trace:
    """An agent that calls a tool and then answers, in six seconds."""
    drawing = f"""
    agent run   |{"-" * (32 + length)}|      {root}
      llm one    |---------|           {first} issued=t1
      tool look              |-------|                  call_id=t1
      llm two                          |{"-" * length}| {last}
      {after}
    """
    return drawn(drawing, unit_ns=UNIT)


def found(trace: Trace) -> list[Finding]:
    return found_in(trace, "CP402")


def test_an_answer_as_a_whole() -> None:
    (one,) = found(agent())
    assert one.title == "stream the last answer (6.1 s without a word)"
    assert one.why == (
        "The last answer, 400 tokens, came as a whole after 6.1 s. The user of this session saw "
        "nothing for 8.4 s, all of the run up to then. Streaming leaves the time of the run as it "
        "is: what is felt is less."
    )
    assert (one.evidence, one.saving, one.spans) == ("likely", UNKNOWN, (3,))
    assert found(without_texts(agent())) == [one]


def test_other_calls_tell_when_its_first_words_come() -> None:
    streamed = "finish=tool_call streamed=yes ttft=6 tokens=900/20 model=m"
    (one,) = found(agent(first=streamed))
    assert (
        " Other calls of the model were streamed and had their first token after 0.6 s: the first "
        "words would be seen after 2.9 s. "
    ) in one.why
    # All of it is waiting for the first token.
    assert found(agent(first=streamed.replace("ttft=6", "ttft=9"), length=10)) == []


@pytest.mark.parametrize(
    ("root", "who"),
    [
        ("kind=server", "The client of this server"),
        ("session=s", "The user of this session"),
        ("", "Whoever asked"),
    ],
)
def test_who_waits_is_said_as_far_as_it_is_known(root: str, who: str) -> None:
    (one,) = found(agent(root=root))
    assert f" {who} saw nothing for " in one.why


@pytest.mark.parametrize(
    "trace",
    [
        pytest.param(agent(WAITED.replace("=no", "=yes")), id="streamed"),
        pytest.param(agent(WAITED.replace("streamed=no", "ttft=5")), id="its first token is known"),
        pytest.param(agent(WAITED.replace("streamed=no", "")), id="nobody says"),
        pytest.param(agent(WAITED.replace("/400", "/90")), id="a short answer"),
        pytest.param(agent(WAITED.replace("/400", "/200"), root=""), id="nobody is known to wait"),
        pytest.param(agent(length=28), id="it took less than three seconds"),
        pytest.param(agent(WAITED.replace("/400", "/400/0/0/300")), id="mostly reasoning"),
        pytest.param(agent(WAITED.replace("=stop", "=tool_call")), id="it asks for a tool"),
        pytest.param(agent(WAITED + " blocks=q>assistant/tool_use/u"), id="so say its blocks"),
        pytest.param(agent(WAITED + " error=Overloaded"), id="it failed"),
        pytest.param(agent(WAITED.replace("tokens=900/400", "")), id="nobody counted"),
        pytest.param(agent(root="kind=consumer session=s"), id="from a queue"),
        pytest.param(agent(after=f"tool save {' ' * 91}|-|"), id="a program goes on with it"),
        pytest.param(replace(agent(), untrusted=True), id="times mean nothing"),
    ],
)
def test_look_alikes(trace: Trace) -> None:
    assert found(trace) == []


def test_a_batch_has_no_reader() -> None:
    trace = agent()
    spans = list(trace.spans)
    call = spans[3].model_call
    assert call is not None
    spans[3] = replace(spans[3], model_call=replace(call, terms=Terms(tier="batch")))
    assert found(replace(trace, spans=tuple(spans))) == []


def test_what_is_asked_inside_a_tool_is_read_by_a_program() -> None:
    drawing = f"""
    agent run   |{"-" * 70}|      session=s
      tool ask   |{"-" * 66}|
        agent sub |{"-" * 64}|
          llm two  |{"-" * 60}| {WAITED}
    """
    assert found(drawn(drawing, unit_ns=UNIT)) == []
