"""What is recorded of what was said: nothing, or on request what the conventions ask for."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from opentelemetry import _logs
from opentelemetry._logs import _internal as logs_internal
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.util._once import Once

import causepath
from causepath import config, guard
from tests.plugin.conftest import NATIVE
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording
from tests.support.script import Reply, Text, Thinking, ToolUse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.script import Answer

MODE = config.CAPTURE_MESSAGE_CONTENT
ASK: dict[str, Any] = {"model": "m", "max_tokens": 64}
TOOLS = [
    {"name": "search", "description": "Finds.", "input_schema": {"type": "object"}},
    {"type": "web_search_20250305", "name": "web_search"},
]
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0K"}}


@contextmanager
def served(*answers: Answer, **options: Any) -> Iterator[Any]:
    with (
        MessagesApi(answers) as api,
        anthropic.Anthropic(base_url=api.url, api_key="test", max_retries=0, **options) as client,
    ):
        yield client


@contextmanager
def recorded(redact: Callable[[str], str] | None = None) -> Iterator[Recording]:
    with Recording() as recording:
        if redact is not None:
            causepath.instrument(redact=redact)
        yield recording


def content(recording: Recording, name: str = "chat m") -> list[dict[str, Any]]:
    """What the spans with this name have of what was said, in the order of their ends."""
    return [
        {
            key: json.loads(value) if isinstance(value, str) and value[:1] in "[{" else value
            for key, value in (span.attributes or {}).items()
            if key in CONTENT
        }
        for span in recording.spans()
        if span.name == name
    ]


CONTENT = (
    "gen_ai.system_instructions",
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.tool.definitions",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "causepath.content.truncated",
)


def say(client: Any, said: Any = "Hi.", **more: Any) -> Any:
    return client.messages.create(**ASK, messages=[{"role": "user", "content": said}], **more)


def converse(client: Any) -> None:
    """One turn with a tool that nobody measures."""
    messages: list[Any] = [{"role": "user", "content": ["Who?", PNG]}]
    messages[0]["content"][0] = {"type": "text", "text": "Who?"}
    first = client.messages.create(**ASK, system="Be brief.", tools=TOOLS, messages=messages)
    messages.append({"role": "assistant", "content": first.content})
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "a fox"}
    messages.append({"role": "user", "content": [result]})
    client.messages.create(**ASK, system="Be brief.", tools=TOOLS, messages=messages)


TURNS = [
    Reply([Thinking("Hm."), Text("Let me see."), ToolUse("search", {"q": "fox"}, id="toolu_1")]),
    Reply("A fox."),
]
FIRST_INPUT = {
    "role": "user",
    "parts": [
        {"type": "text", "content": "Who?"},
        {
            "type": "blob",
            "modality": "image",
            "mime_type": "image/png",
            "digest": "408cca62d2a459db",
            "size": 8,
        },
    ],
}
FIRST_OUTPUT = {
    "role": "assistant",
    "parts": [
        {"type": "reasoning", "content": "Hm."},
        {"type": "text", "content": "Let me see."},
        {"type": "tool_call", "id": "toolu_1", "name": "search", "arguments": {"q": "fox"}},
    ],
}
ANSWER = {
    "role": "assistant",
    "parts": [{"type": "text", "content": "Hello."}],
    "finish_reason": "stop",
}
RESULT = {
    "role": "tool",
    "parts": [{"type": "tool_call_response", "id": "toolu_1", "response": "a fox"}],
}
ALWAYS = {
    "gen_ai.system_instructions": [{"type": "text", "content": "Be brief."}],
    "gen_ai.tool.definitions": [
        {
            "type": "function",
            "name": "search",
            "description": "Finds.",
            "parameters": {"type": "object"},
        },
        {"type": "web_search_20250305", "name": "web_search"},
    ],
}


def test_a_conversation_as_the_conventions_write_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODE, "span_only")
    with recorded() as recording, served(*TURNS) as client:
        converse(client)
    last = {
        "role": "assistant",
        "parts": [{"type": "text", "content": "A fox."}],
        "finish_reason": "stop",
    }
    assert content(recording) == [
        {
            **ALWAYS,
            "gen_ai.input.messages": [FIRST_INPUT],
            "gen_ai.output.messages": [FIRST_OUTPUT | {"finish_reason": "tool_call"}],
        },
        {
            **ALWAYS,
            "gen_ai.input.messages": [FIRST_INPUT, FIRST_OUTPUT, RESULT],
            "gen_ai.output.messages": [last],
        },
    ]
    assert content(recording, "execute_tool search") == [
        {"gen_ai.tool.call.arguments": {"q": "fox"}, "gen_ai.tool.call.result": "a fox"}
    ]


@pytest.mark.parametrize(
    ("value", "on_spans", "in_events"),
    [
        (None, False, False),
        ("", False, False),
        ("false", False, False),
        ("NO_CONTENT", False, False),
        ("anything", False, False),
        ("true", True, False),
        (" SPAN_ONLY ", True, False),
        ("event_only", False, True),
        ("SPAN_AND_EVENT", True, True),
    ],
)
def test_the_standard_variable_says_where_content_goes(
    value: str | None, on_spans: bool, in_events: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is not None:
        monkeypatch.setenv(MODE, value)
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    monkeypatch.setattr(logs_internal, "_LOGGER_PROVIDER", None)
    monkeypatch.setattr(logs_internal, "_LOGGER_PROVIDER_SET_ONCE", Once())
    _logs.set_logger_provider(provider)
    with recorded() as recording, served(Reply("Hello.")) as client:
        say(client)
    said = {
        "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "Hi."}]}],
        "gen_ai.output.messages": [ANSWER],
    }
    assert content(recording) == [said if on_spans else {}]
    found = [one.log_record for one in exporter.get_finished_logs()]
    assert [one.event_name for one in found] == (
        ["gen_ai.client.inference.operation.details"] if in_events else []
    )
    for event in found:
        assert event.attributes is not None
        told = {k: unfrozen(event.attributes[k]) for k in said}
        assert (told, event.attributes["gen_ai.operation.name"]) == (said, "chat")
        (span,) = (span for span in recording.spans() if span.name == "chat m")
        assert event.span_id == span.context.span_id


def unfrozen(value: Any) -> Any:
    """Attributes of events as plain data."""
    if isinstance(value, str):
        return value
    if hasattr(value, "items"):
        return {k: unfrozen(v) for k, v in value.items()}
    return [unfrozen(v) for v in value]


@pytest.mark.parametrize("how", ["events", "helper", "abandoned"])
def test_a_stream_is_recorded_as_far_as_it_came(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODE, "span_only")
    messages = [{"role": "user", "content": "Hi."}]
    with recorded() as recording, served(Reply([Text("One."), Text("Two.")])) as client:
        if how == "helper":
            with client.messages.stream(**ASK, messages=messages) as stream:
                stream.get_final_message()
        else:
            with client.messages.create(**ASK, messages=messages, stream=True) as stream:
                for event in stream:
                    if how == "abandoned" and event.type == "content_block_stop":
                        break
    (told,) = content(recording)
    (message,) = told["gen_ai.output.messages"]
    said = [part["content"] for part in message["parts"]]
    assert said == (["One."] if how == "abandoned" else ["One.", "Two."])
    assert message["finish_reason"] == ("" if how == "abandoned" else "stop")


def test_without_digests_an_image_is_told_by_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODE, "span_only")
    monkeypatch.setenv(config.CAUSEPATH_DIGESTS, "off")
    with recorded() as recording, served(Reply("Hello.")) as client:
        say(client, [PNG])
    (told,) = content(recording)
    assert told["gen_ai.input.messages"][0]["parts"] == [
        {"type": "blob", "modality": "image", "mime_type": "image/png"}
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_records_and_compares_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(MODE, "span_only")
    with recorded() as recording, served(*[Reply("Hello, you there.")] * 2) as client:
        first = say(client).content[0].text
        child = os.fork()
        if child == 0:
            try:
                say(client, f"Shorten: {first}")
                told = content(recording)[-1]
                assert told["gen_ai.output.messages"][0]["parts"][0]["content"] == first
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# -- tools


@causepath.tool
def search(q: str, *, most: int = 1) -> dict[str, Any]:
    return {"hits": [q.upper()], "most": most}


def test_a_measured_tool_has_its_arguments_and_its_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(MODE, "span_only")
    with recorded() as recording, causepath.agent("a"):
        search("fox", most=2)
    assert content(recording, "execute_tool search") == [
        {
            "gen_ai.tool.call.arguments": {"q": "fox", "most": 2},
            "gen_ai.tool.call.result": {"hits": ["FOX"], "most": 2},
        }
    ]


def test_the_tool_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODE, "span_only")

    @anthropic.beta_tool
    def look_up(q: str) -> str:
        """Looks up."""
        return q.upper()

    answers = [Reply([ToolUse("look_up", {"q": "fox"})]), Reply("A fox.")]
    with recorded() as recording, served(*answers) as client:
        client.beta.messages.tool_runner(
            **ASK, tools=[look_up], messages=[{"role": "user", "content": "Who?"}]
        ).until_done()
    assert content(recording, "execute_tool look_up") == [
        {"gen_ai.tool.call.arguments": {"q": "fox"}, "gen_ai.tool.call.result": "FOX"}
    ]


# -- bounds


@pytest.mark.parametrize("size", [10, 1_000, 100_000, 1_000_000])
@pytest.mark.parametrize("letter", ["x", "ü", '"', "\n"])
def test_a_span_holds_so_much_and_says_what_is_missing(
    size: int, letter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MODE, "span_only")
    monkeypatch.setenv(config.CAUSEPATH_CONTENT_SPAN_BYTES, "2000")
    with recorded() as recording, served(Reply("Hello.")) as client:
        say(client, letter * size, system=letter * size)
    (told,) = content(recording)
    (span,) = (span for span in recording.spans() if span.name == "chat m")
    assert span.attributes is not None
    used = sum(len(str(span.attributes.get(key, "")).encode()) for key in CONTENT[:-1])
    assert used <= 2000 + 200  # and the brackets around it
    assert told.get("causepath.content.truncated", False) == (size > 100)
    assert told["gen_ai.output.messages"][0]["parts"][0]["content"] == "Hello."
    (message,) = told["gen_ai.input.messages"]
    assert letter * min(size, 100) in message["parts"][0]["content"]


def test_the_newest_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODE, "span_only")
    monkeypatch.setenv(config.CAUSEPATH_CONTENT_SPAN_BYTES, "1000")
    messages = [
        {"role": ("user", "assistant")[n % 2], "content": f"{n:03} " + "x" * 96} for n in range(101)
    ]
    with recorded() as recording, served(Reply("Hello.")) as client:
        client.messages.create(**ASK, messages=messages)
    (told,) = content(recording)
    kept = [one["parts"][0]["content"][:3] for one in told["gen_ai.input.messages"]]
    assert kept == [f"{n:03}" for n in range(101 - len(kept), 101)]
    assert (len(kept) > 2, told["causepath.content.truncated"]) == (True, True)


def test_a_process_records_so_much_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODE, "span_only")
    monkeypatch.setenv(config.CAUSEPATH_CONTENT_PROCESS_BYTES, "5000")
    with recorded() as recording, served(*[Reply("Hello.")] * 20) as client:
        for _ in range(20):
            say(client, "x" * 1_000)
    told = content(recording)
    assert 5_000 <= len(json.dumps(told)) <= 5_000 + 20 * 200  # and what is around the texts
    assert told[-1] == {}


@pytest.mark.parametrize("mode", ["span_only", "off"])
def test_half_a_character_fails_where_it_did_before(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MODE, mode)
    with (
        recorded() as recording,
        served(Reply("Hello.")) as client,
        pytest.raises(UnicodeEncodeError),
    ):
        say(client, "half \ud800")
    (span,) = (span for span in recording.spans() if span.name == "chat m")
    assert "\ud800" not in span.to_json()


# -- redaction


def test_every_text_is_redacted_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODE, "span_only")
    monkeypatch.setenv(config.CAUSEPATH_CONTENT_SPAN_BYTES, "2000")
    answers = [
        Reply([Thinking("secret"), Text("a secret"), ToolUse("search", {"q": ["secret"]})]),
        Reply("x" * 2000 + "secret"),
    ]
    with recorded(lambda text: text.replace("secret", "***")) as recording:
        with served(*answers) as client, causepath.agent("a"):
            tools = [{"name": "search", "description": "secret", "input_schema": {"a": "secret"}}]
            first = say(client, "my secret", system="no secret", tools=tools)
            search(**{**first.content[-1].input, "q": "secret"})
            say(client, [{"type": "tool_result", "tool_use_id": "x", "content": "x secret"}])
        told = json.dumps([dict(span.attributes or {}) for span in recording.spans()])
    assert "***" in told
    assert "secret" not in told


def broken(text: str) -> str:
    raise ZeroDivisionError(text)


@pytest.mark.parametrize("redact", [broken, lambda _: None, lambda text: text.encode()])
def test_without_a_redaction_there_is_no_content(
    redact: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MODE, "span_only")
    with recorded(redact) as recording, served(*TURNS) as client, causepath.agent("a"):
        converse(client)
        search("fox")
    assert content(recording) == [{}, {}]
    assert content(recording, "execute_tool search") == [{}, {}]
    assert all(
        "causepath.input.blocks" in (span.attributes or {})
        for span in recording.spans()
        if span.name == "chat m"
    )
    guard._reported.clear()  # which says that it failed


def test_a_redaction_that_asks_a_model_is_not_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODE, "span_only")
    with served(*[Reply("clean")] * 3) as client:

        def redact(text: str) -> str:
            return str(say(client, text).content[0].text)

        with recorded(redact) as recording:
            say(client, "secret")
    (told,) = content(recording)
    assert told["gen_ai.input.messages"][0]["parts"][0]["content"] == "clean"


# -- beside the SDK's own recording


@pytest.mark.skipif(not NATIVE, reason="this release of the SDK records nothing itself")
def test_what_the_sdk_records_is_not_recorded_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODE, "span_only")
    monkeypatch.setenv("ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE", "content")
    with recorded(lambda _: "ours") as recording, served(Reply("Hello.")) as client:
        say(client, system="Be brief.")
    assert content(recording) == [
        {
            "gen_ai.system_instructions": [{"type": "text", "content": "Be brief."}],
            "gen_ai.input.messages": [
                {"role": "user", "parts": [{"type": "text", "content": "Hi."}]}
            ],
            "gen_ai.output.messages": [
                {"role": "assistant", "parts": [{"type": "text", "content": "Hello."}]}
            ],
        }
    ]
