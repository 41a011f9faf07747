"""Odd but possible: what an application may do around a call, and that it sees nothing of us."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Sized
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from anthropic.types import Message
from opentelemetry.sdk.trace import TracerProvider

import causepath
from causepath.calls import open_runs
from tests.plugin.conftest import NATIVE
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording, set_global_provider, telemetry
from tests.support.script import Reply, ToolUse, Usage
from tests.support.traced_programs import spans_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ASK: dict[str, Any] = {
    "model": "m",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "Hello?"}],
}
HELLO = Reply("Hello, you there.", usage=Usage(input_tokens=12, output_tokens=5))
ASKS = Reply([ToolUse("search", {"q": "x" * 1000})], usage=Usage(9, 4))
CHAT = "chat m #1  llm 12/5 stop (OK)"
RUN = "invoke_agent test_edges  agent inferred (UNSET)"


@pytest.fixture
def api() -> Iterator[MessagesApi]:
    with MessagesApi(HELLO) as found:
        yield found


@pytest.fixture
def client(api: MessagesApi) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=api.url, api_key="test", max_retries=0) as found:
        yield found


@pytest.fixture
def silence(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.WARNING)
    yield
    assert [record.getMessage() for record in caplog.records] == []


def registries() -> dict[str, int]:
    active = telemetry()
    active.run_spans.end_resting()
    kept = {
        "open": active.open_calls._open,
        "declared": active.runs.declared._by_frame,
        **{k: v for k, v in vars(active.runs).items() if isinstance(v, Sized)},
    }
    return {name: len(value) for name, value in kept.items() if len(value)}


@pytest.mark.usefixtures("silence")
def test_a_stream_closed_by_somebody_else_while_it_is_read(
    recording: Recording, client: Any
) -> None:
    stream = client.messages.create(**ASK, stream=True)
    next(stream)
    closing = threading.Thread(target=stream.close)
    closing.start()
    closing.join()
    assert [event.type for event in stream][-1] == "message_stop"
    assert registries() == {}


@pytest.mark.usefixtures("silence")
def test_a_coroutine_closed_outside_the_context_it_ran_in(api: MessagesApi) -> None:
    """As the collector does it to a task of a loop that has stopped."""

    async def main() -> None:
        # Without spans of the SDK, which has the same to say of its own.
        client = anthropic.AsyncAnthropic(base_url=api.url, api_key="test", **no_spans())
        call = client.messages.create(**ASK)
        contextvars.copy_context().run(call.send, None)
        call.close()  # type: ignore[attr-defined]
        await client.close()

    with Recording() as recording:
        asyncio.run(main())
        assert recording.text() == f"{RUN}\n  chat m #1  llm -/- (UNSET)"


def no_spans() -> Any:
    return {"open_telemetry": False} if NATIVE else {}


def test_a_request_that_is_no_method_of_the_sdk_has_its_span(
    recording: Recording, client: Any
) -> None:
    client.post("/v1/messages", body=ASK, cast_to=Message)
    assert recording.text() == f"{RUN}\n  {CHAT}"


@pytest.mark.skipif(not NATIVE, reason="older releases keep no tracer")
def test_a_provider_set_after_the_first_call_gets_whole_traces(client: Any) -> None:
    first, second = Recording(), Recording()
    set_global_provider(first.provider)
    causepath.instrument()
    client.messages.create(**ASK)
    set_global_provider(second.provider)
    client.messages.create(**ASK)
    assert first.text() == second.text() == f"{RUN}\n  {CHAT}"


@pytest.mark.skipif(not NATIVE, reason="older releases have no middleware")
def test_a_run_goes_on_while_any_call_of_it_does(recording: Recording, api: MessagesApi) -> None:
    with anthropic.Anthropic(base_url=api.url, api_key="test") as inner:

        def ask_another(request: Any, call_next: Any) -> Any:
            inner.messages.create(**ASK)
            return call_next(request)

        with anthropic.Anthropic(
            base_url=api.url, api_key="test", middleware=[ask_another]
        ) as client:
            client.messages.create(**ASK)
    assert recording.text() == f"{RUN}\n  {CHAT}\n    chat m #2  llm 12/5 stop (OK)"
    by_id = {span.context.span_id: span for span in recording.spans()}
    for span in by_id.values():
        if span.parent is not None:
            assert span.end_time <= by_id[span.parent.span_id].end_time


def test_nothing_is_kept_of_calls_after_the_provider_was_shut_down(
    recording: Recording, client: Any
) -> None:
    recording.provider.shutdown()
    client.messages.create(**ASK)
    list(client.messages.create(**ASK, stream=True))
    assert registries() == {}


def test_runs_that_nobody_continues_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forced tool call as a structured answer is never answered by the application."""
    monkeypatch.setattr(open_runs, "MAX_OPEN_RUNS", 3)
    with (
        MessagesApi(ASKS) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        for _ in range(5):
            client.messages.create(**ASK)
        assert registries()["_inferred"] == 3
        assert registries()["_by_call_id"] == 3
        assert len([span for span in recording.spans() if span.name.startswith("invoke")]) == 2


def test_tool_calls_that_nobody_answers_are_bounded_below_other_spans(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(open_runs, "MAX_REMEMBERED", 3)
    with (
        MessagesApi(ASKS) as api,
        Recording(),
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        for _ in range(5):
            with causepath.agent("extract"):
                client.messages.create(**ASK)
        assert registries() == {"_by_call_id": 3, "_asked_by_name": 1}
        (kept,) = telemetry().runs._asked_by_name.values()
        assert [asked.call.input for asked in kept] == [None] * 3


def test_instrumenting_from_many_threads_patches_once(client: Any) -> None:
    set_global_provider(TracerProvider(shutdown_on_exit=False))
    for _ in range(20):
        together = threading.Barrier(8)

        def toggle(together: threading.Barrier = together) -> None:
            together.wait()
            causepath.uninstrument()
            causepath.instrument()

        threads = [threading.Thread(target=toggle) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    # That nothing stays wrapped is what every test is checked for.


FORKS = """
import os, sys
import anthropic, causepath.auto

ask = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "?"}]}
client = anthropic.Anthropic(base_url=sys.argv[1], api_key="test")
with causepath.agent("declared"):
    client.messages.create(**ask)
    child = os.fork()
    if not child:
        sys.exit()  # leaves the agent, as the parent does
    os.waitpid(child, 0)
client.messages.create(**ask)
child = os.fork()
if not child:
    sys.exit()  # with the inferred run of the parent open
os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_child_ends_nothing_of_its_parent(tmp_path: Path) -> None:
    with MessagesApi(ASKS) as api:
        subprocess.run([sys.executable, "-c", FORKS, api.url], cwd=tmp_path, check=True, timeout=60)
    names = [span["name"] for span in spans_in(tmp_path / "causepath-traces.jsonl")]
    assert sorted(names) == ["chat m", "chat m", "invoke_agent", "invoke_agent declared"]
