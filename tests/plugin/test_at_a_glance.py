"""What a person sees of a trace without opening every span: turns, retries, failures, the run."""

from __future__ import annotations

import json
from contextlib import contextmanager, nullcontext, suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from opentelemetry import trace

import causepath
from causepath import config
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording
from tests.support.script import Failure, InOrder, Reply, ToolUse, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.trace import ReadableSpan

MODE = config.CAPTURE_MESSAGE_CONTENT
BUSY = Failure(529, retry_after_seconds=0.01)
DONE = Reply("Done.", usage=Usage(20, 4))


def asks(*names: str, number: int = 1) -> Reply:
    calls = [ToolUse(name, {"q": "x"}, id=f"toolu_{number}{name}") for name in names]
    return Reply(calls, usage=Usage(10, 3))


@contextmanager
def served(*answers: Any, retries: int = 0) -> Iterator[anthropic.Anthropic]:
    with (
        MessagesApi(InOrder(list(answers))) as api,
        anthropic.Anthropic(base_url=api.url, api_key="test", max_retries=retries) as client,
    ):
        yield client


def loop(
    client: anthropic.Anthropic,
    tools: dict[str, Callable[..., str]],
    question: str = "Who?",
    **failed: bool,
) -> str:
    """An agent by hand; what it has no function for is `failed` or well."""
    messages: list[Any] = [{"role": "user", "content": question}]
    while True:
        reply = client.messages.create(model="m", max_tokens=9, messages=messages)
        used = [block for block in reply.content if block.type == "tool_use"]
        if not used:
            return str(reply.content[0].text)  # type: ignore[union-attr]
        results = []
        for one in used:
            result: dict[str, Any] = {"type": "tool_result", "tool_use_id": one.id}
            try:
                tool = tools.get(one.name)
                said = "not found: x" if tool is None else tool(**one.input)
            except Exception as error:
                said, result["is_error"] = f"{error}", True
            if failed.get(one.name):
                result["is_error"] = True
            results.append({**result, "content": said})
        messages += [
            {"role": "assistant", "content": reply.content},
            {"role": "user", "content": results},
        ]


def named(recording: Recording, name: str) -> list[ReadableSpan]:
    recording.text()
    found = [span for span in recording.spans() if span.name == name]
    return sorted(found, key=lambda span: span.start_time or 0)


def about(span: ReadableSpan, *names: str) -> dict[str, Any]:
    return {name: (span.attributes or {}).get(name) for name in names}


# -- turns


@causepath.tool
def look(q: str) -> str:
    return q.upper()


def test_tools_have_the_turn_that_asked_for_them(recording: Recording) -> None:
    answers = [asks("look", "read"), asks("look", number=2), asks("read", number=3), DONE]
    with served(*answers) as client:
        loop(client, {"look": look})
    turns = {
        name: [about(span, "causepath.turn")["causepath.turn"] for span in named(recording, name)]
        for name in ("chat m", "execute_tool look", "execute_tool read")
    }
    assert turns == {
        "chat m": [1, 2, 3, 4],
        "execute_tool look": [1, 2],
        "execute_tool read": [1, 3],
    }


def test_so_has_the_tool_of_a_runner_and_one_that_another_library_measures(
    recording: Recording,
) -> None:
    tracer = trace.get_tracer("theirs")

    @anthropic.beta_tool
    def find(q: str) -> str:
        """Finds."""
        return q

    def read(q: str) -> str:
        with tracer.start_as_current_span("execute_tool read"):
            return q

    with served(asks("find"), asks("find", number=2), DONE) as client:
        client.beta.messages.tool_runner(
            model="m", max_tokens=9, tools=[find], messages=[{"role": "user", "content": "?"}]
        ).until_done()
    with served(asks("look"), asks("read", number=4), DONE) as client:
        loop(client, {"look": look, "read": read})
    turns = [
        about(span, "causepath.turn")["causepath.turn"]
        for name in ("execute_tool find", "execute_tool read")
        for span in named(recording, name)
        if span.links  # else of the function, which is the tool already
    ]
    assert turns == [1, 2, 2]


def test_a_function_that_turns_out_to_be_no_tool_has_no_turn(recording: Recording) -> None:
    with causepath.agent("a"):
        look("x")
    (span,) = named(recording, "execute_tool look")
    assert about(span, "causepath.turn") == {"causepath.turn": None}


# -- retries


def test_a_retry_that_went_well_is_an_event_and_no_error(recording: Recording) -> None:
    with served(BUSY, BUSY, DONE, retries=2) as client:
        loop(client, {})
    recording.text()
    assert {span.status.status_code.name for span in recording.spans()} <= {"OK", "UNSET"}
    (call,) = named(recording, "chat m")
    assert about(call, "causepath.retries", "error.type") == {
        "causepath.retries": 2,
        "error.type": None,
    }
    events = [(event.name, dict(event.attributes or {})) for event in call.events]
    failed = ("retry", {"error.type": "529", "http.response.status_code": 529})
    assert events == [failed, failed]
    first, second = named(recording, "attempt 1"), named(recording, "attempt 2")
    assert [about(one, "error.type")["error.type"] for one in (*first, *second)] == ["529"] * 2


def test_one_that_did_not_is_an_error_of_the_last_attempt_the_call_and_the_run(
    recording: Recording,
) -> None:
    with (
        served(BUSY, BUSY, retries=1) as client,
        causepath.agent("a"),
        pytest.raises(anthropic.APIStatusError),
    ):
        loop(client, {})
    states = {span.name: span.status.status_code.name for span in recording.spans()}
    assert states == {
        "invoke_agent a": "UNSET",  # the application has caught it
        "chat m": "ERROR",
        "attempt 1": "UNSET",
        "backoff": "UNSET",
        "attempt 2": "ERROR",
    }


# -- failures


@causepath.tool
def fails(q: str) -> str:
    raise LookupError(f"no {q} for sk-secret")


def fails_unseen(q: str) -> str:
    raise LookupError(f"no {q} for sk-secret")


@pytest.mark.parametrize(
    ("mode", "measured", "found", "inferred"),
    [
        ("true", "LookupError: no x for <key>", "LookupError: no x for <key>", "not found: x"),
        ("event_only", None, None, None),
        ("", None, None, None),
    ],
)
def test_a_failed_tool_says_why_if_content_is_recorded(
    mode: str,
    measured: str | None,
    found: str | None,
    inferred: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(MODE, mode)
    with Recording() as recording:
        causepath.instrument(redact=lambda text: text.replace("sk-secret", "<key>"))
        with served(asks("fails", "fails_unseen", "nothing"), DONE) as client:
            loop(client, {"fails": fails, "fails_unseen": fails_unseen}, nothing=True)
        said = {
            span.name.removeprefix("execute_tool "): span.status.description
            for span in recording.spans()
            if span.status.status_code.name == "ERROR"
        }
    assert said == {"fails": measured, "fails_unseen": found, "nothing": inferred}


def test_a_long_reason_and_one_that_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODE, "true")

    class SilentError(Exception):
        def __str__(self) -> str:
            raise ValueError

    def raises(q: str) -> str:
        raise SilentError if q == "x" else LookupError("ü" * 5_000)

    tool = causepath.tool(name="raises")(raises)
    with Recording() as recording, causepath.agent("a"):
        for q in ("x", "y"):
            with pytest.raises((SilentError, LookupError)):
                tool(q)
    silent, long = named(recording, "execute_tool raises")
    assert (silent.status.status_code.name, silent.status.description) == ("ERROR", None)
    assert long.status.description == "LookupError: " + "ü" * 993


@pytest.mark.parametrize(("mode", "said"), [("true", "KeyError: 'no such customer'"), ("", None)])
def test_a_failed_run_says_why_if_content_is_recorded(
    mode: str, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MODE, mode)

    @causepath.agent("a")
    def run_a(client: Any) -> None:
        loop(client, {})
        raise KeyError("no such customer")

    with Recording() as recording, served(DONE) as client, pytest.raises(KeyError):
        run_a(client)
    (run,) = named(recording, "invoke_agent a")
    assert (run.status.status_code.name, run.status.description) == ("ERROR", said)


# -- the run

RUN = (
    "causepath.run.input_tokens",
    "causepath.run.output_tokens",
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "causepath.run.outermost",
)


def message(role: str, text: str) -> str:
    said = {"role": role, "parts": [{"type": "text", "content": text}]}
    # Phoenix and others leave an answer out that has no reason why it ended.
    said |= {"finish_reason": "stop"} if role == "assistant" else {}
    return json.dumps([said], separators=(",", ":"))


@pytest.mark.parametrize("mode", ["true", ""])
@pytest.mark.parametrize("how", ["inferred", "declared", "in a web service"])
def test_a_run_has_its_question_its_answer_and_its_tokens(
    how: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MODE, mode)
    with Recording() as recording, served(asks("look"), DONE) as client:
        if how == "inferred":
            loop(client, {"look": look})
        elif how == "declared":
            with causepath.agent("a"):
                loop(client, {"look": look})
        else:
            with (
                trace.get_tracer("web").start_as_current_span("POST /ask"),
                causepath.agent("a"),
            ):
                loop(client, {"look": look})
        recording.text()
        (run,) = [s for s in recording.spans() if s.name.startswith("invoke_agent")]
    assert about(run, *RUN) == {
        "causepath.run.input_tokens": 30,
        "causepath.run.output_tokens": 7,
        "gen_ai.input.messages": message("user", "Who?") if mode else None,
        "gen_ai.output.messages": message("assistant", "Done.") if mode else None,
        "causepath.run.outermost": True,
    }


def test_a_run_has_the_tokens_of_those_inside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODE, "true")
    with Recording() as recording, served(asks("helper"), DONE, DONE) as client:

        @causepath.agent("helper")
        def helper(q: str) -> str:
            return loop(client, {}, question=q)

        with causepath.agent("boss"):
            loop(client, {"helper": helper})
    inner, outer = named(recording, "invoke_agent helper"), named(recording, "invoke_agent boss")
    assert about(inner[0], *RUN) == {
        "causepath.run.input_tokens": 20,
        "causepath.run.output_tokens": 4,
        "gen_ai.input.messages": message("user", "x"),
        "gen_ai.output.messages": message("assistant", "Done."),
        "causepath.run.outermost": None,
    }
    assert about(outer[0], *RUN) == {
        "causepath.run.input_tokens": 50,
        "causepath.run.output_tokens": 11,
        "gen_ai.input.messages": message("user", "Who?"),
        "gen_ai.output.messages": message("assistant", "Done."),
        "causepath.run.outermost": True,
    }


PRICES = {"m": {"input": 1_000, "output": 10_000}}
"""Dollars for a million tokens: `DONE` costs 0.06, and to ask for a tool 0.04."""


@pytest.mark.parametrize(
    ("answers", "prices", "calls", "run"),
    [
        ([asks("look"), DONE], PRICES, [0.04, 0.06], 0.1),
        ([asks("look"), DONE], None, [None, None], None),
        ([asks("look"), DONE], {"other": PRICES["m"]}, [None, None], None),
        # What a part of it costs is not what it costs.
        ([asks("look"), Reply("?", usage=Usage(20, 4, 9))], PRICES, [0.04, None], None),
        # What was refused costs nothing.
        ([Failure(400), asks("look"), DONE], PRICES, [None, 0.04, 0.06], 0.1),
    ],
)
@pytest.mark.parametrize("around", ["declared", "a request", "nothing"])
def test_calls_and_runs_have_their_cost_where_prices_were_given(
    answers: Any, prices: Any, calls: Any, run: Any, around: str, recording: Recording
) -> None:
    there = {
        "declared": lambda: causepath.agent("a"),
        "a request": lambda: trace.get_tracer("web").start_as_current_span("POST /ask"),
        "nothing": nullcontext,
    }
    with (
        served(*answers) as client,
        causepath.budget(cost="$9", prices=prices) as budget,
        there[around](),
    ):
        for failure in answers:
            if not isinstance(failure, Failure):
                break
            with suppress(anthropic.APIStatusError):
                loop(client, {"look": look})
        loop(client, {"look": look})
    found = [about(one, "causepath.cost_usd") for one in named(recording, "chat m")]
    assert [one["causepath.cost_usd"] for one in found] == calls
    runs = [one for one in recording.spans() if "causepath.run.outermost" in (one.attributes or {})]
    outer = max(runs, key=lambda one: one.start_time or 0)  # else that of the failed call alone
    assert about(outer, "causepath.run.cost_usd") == {"causepath.run.cost_usd": run}
    assert budget.usage.cost == (None if run is None else Decimal(str(run)))


def test_the_words_of_a_run_count_for_what_the_process_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(MODE, "true")
    monkeypatch.setenv("CAUSEPATH_CONTENT_PROCESS_BYTES", "400")
    with Recording() as recording, served(DONE) as client:
        loop(client, {}, question="?" * 200)
    (call,) = named(recording, "chat m")
    recording.text()
    (run,) = [s for s in recording.spans() if s.name.startswith("invoke_agent")]
    told = about(run, "gen_ai.input.messages", "causepath.content.truncated")
    assert told == {"gen_ai.input.messages": None, "causepath.content.truncated": True}
    assert about(call, "gen_ai.input.messages")["gen_ai.input.messages"] is not None
