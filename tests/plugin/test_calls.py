"""What holds for every model call; `test_matrix.py` has the table of all the ways to make one."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import causepath
from causepath import guard
from causepath.providers import anthropic as described
from tests.plugin.conftest import NATIVE
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording, set_global_provider
from tests.support.script import (
    Failure,
    Reply,
    ToolUse,
    Usage,
)

ASK: dict[str, Any] = {
    "model": "m",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "Hello?"}],
}

HELLO = Reply("Hello, you there.", usage=Usage(input_tokens=12, output_tokens=5))


def create(client: Any) -> Any:
    return client.messages.create(**ASK).content[0].text


def iterate(client: Any) -> Any:
    return [event.type for event in client.messages.create(**ASK, stream=True)]


RUN = "invoke_agent test_calls  agent inferred (UNSET)"


def test_suppressed_calls_are_left_alone() -> None:
    with (
        MessagesApi([HELLO]) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
        suppress_instrumentation(),
    ):
        assert create(client) == "Hello, you there."
        assert [
            span.name for span in recording.spans() if span.name.startswith(("chat", "inv"))
        ] == []


def test_nothing_is_recorded_of_a_trace_that_is_not_sampled() -> None:
    with (
        MessagesApi([HELLO, HELLO]) as api,
        Recording(sampler=ALWAYS_OFF) as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        assert create(client) == "Hello, you there."
        assert iterate(client)[-1] == "message_stop"
        assert recording.text() == ""


def test_spans_go_to_the_provider_that_is_given_and_to_it_alone() -> None:
    own, other = Recording(), Recording()
    set_global_provider(other.provider)
    causepath.instrument(tracer_provider=own.provider)
    with (
        MessagesApi([HELLO]) as api,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        create(client)
    causepath.uninstrument()
    assert own.text() == f"{RUN}\n  chat m #1  llm 12/5 stop (OK)"
    assert other.text() == ""


def test_clients_and_methods_from_before_are_traced_and_after_uninstrument_they_are_not() -> None:
    with (
        MessagesApi([HELLO] * 3) as api,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        kept = client.messages.create
        kept(**ASK)
        with Recording() as recording:
            kept(**ASK)
            assert recording.text() == f"{RUN}\n  chat m #1  llm 12/5 stop (OK)"
        kept(**ASK)
        # What the SDK goes on to write is its own.
        assert [span.name for span in recording.spans()[2:]] == [
            "anthropic.messages.create"
        ] * NATIVE


def test_a_request_says_its_parameters_and_where_in_the_code_it_was_made() -> None:
    with (
        MessagesApi([HELLO]) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        client.messages.create(
            **ASK,
            extra_body={"temperature": 0.5},
            stop_sequences=["END"],
            tools=[
                {"name": "search", "input_schema": {"type": "object"}},
                {"name": "rare", "input_schema": {"type": "object"}, "defer_loading": True},
            ],
        )
        chat = next(span for span in recording.spans() if span.name.startswith("chat"))
        wanted = {
            "gen_ai.request.max_tokens": 64,
            "gen_ai.request.temperature": 0.5,
            "gen_ai.request.stop_sequences": ("END",),
            "causepath.tools.declared": ("search",),
            "code.file.path": __file__,
            "gen_ai.provider.name": "anthropic",
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "m",
            "server.address": "127.0.0.1",
        }
        assert {name: chat.attributes[name] for name in wanted} == wanted
        assert "gen_ai.request.stream" not in chat.attributes


def test_a_warning_of_the_sdk_still_points_at_the_line_that_called_it() -> None:
    with (
        MessagesApi([HELLO]) as api,
        Recording(),
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        with pytest.warns(DeprecationWarning, match="claude-2.1") as warned:
            client.messages.create(**{**ASK, "model": "claude-2.1"})
        assert warned[0].filename == __file__


def test_content_is_nowhere_in_what_is_written() -> None:
    secrets = [f"SECRET-{part}" for part in ("system", "prompt", "answer", "argument", "result")]
    with (
        MessagesApi(
            [Reply([ToolUse("search", {"q": secrets[3]}, id="toolu_1")]), Reply(secrets[2])]
        ) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        search = causepath.tool(name="search")(lambda q: secrets[4])
        messages: list[Any] = [{"role": "user", "content": secrets[1]}]
        ask = {**ASK, "system": secrets[0], "messages": messages}
        reply = client.messages.create(**ask)
        messages.append({"role": "assistant", "content": reply.content})
        result = search(**reply.content[0].input)
        messages.append(
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": result}],
            }
        )
        client.messages.create(**ask)
        written = "".join(span.to_json() for span in recording.spans())
        assert len(recording.spans()) == 4
        assert [secret for secret in secrets if secret in written] == []


def test_a_fault_of_ours_is_the_applications_luck(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any) -> Any:
        raise RuntimeError("ours")

    sound = described.PROVIDER
    faulty = sound._replace(
        **dict.fromkeys(("read_request", "read_reply", "read_event", "read_error"), fails)
    )
    for broken in (faulty, faulty._replace(read_request=sound.read_request)):
        monkeypatch.setattr(described, "PROVIDER", broken)
        with (
            MessagesApi([HELLO, HELLO, Failure(400)]) as api,
            Recording(),
            anthropic.Anthropic(base_url=api.url, api_key="test") as client,
        ):
            assert create(client) == "Hello, you there."
            assert iterate(client)[-1] == "message_stop"
            with pytest.raises(anthropic.BadRequestError):
                create(client)
        assert guard._reported
        guard._reported.clear()


def test_after_uninstrument_the_spans_of_others_are_left_alone() -> None:
    with Recording() as recording:
        tracer = recording.provider.get_tracer("app")
        for enabled in (True, False, True):
            (causepath.instrument if enabled else causepath.uninstrument)()
            tracer.start_span("a span").end()
        watched = ["causepath.category" in (span.attributes or {}) for span in recording.spans()]
        assert watched == [True, False, True]
