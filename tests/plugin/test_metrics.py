"""The conventions' metrics, recorded where the application has set up a meter provider."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from opentelemetry.metrics import _internal as metrics_api
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.util._once import Once

import causepath
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording
from tests.support.script import Failure, InOrder, Reply, ToolUse, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

USAGE = Usage(30, 5, cache_read_input_tokens=7, ephemeral_5m_input_tokens=3)
ASKS = Reply([ToolUse("search", {"q": "x"}, id="toolu_s")], usage=USAGE)
DONE = Reply("Done.", usage=USAGE)
QUESTION: Any = [{"role": "user", "content": "?"}]


@pytest.fixture
def reader() -> Iterator[InMemoryMetricReader]:
    found = InMemoryMetricReader()
    _set_meter_provider(MeterProvider([found], shutdown_on_exit=False))
    yield found
    _set_meter_provider(None)


def _set_meter_provider(provider: Any) -> None:
    metrics_api._METER_PROVIDER = None
    metrics_api._METER_PROVIDER_SET_ONCE = Once()
    if provider is not None:
        metrics_api.set_meter_provider(provider)


def told(reader: InMemoryMetricReader, url: str) -> dict[str, Any]:
    """By metric and by what tells its points apart: their sum, or of times how many there are."""
    host, _, port = url.removeprefix("http://").partition(":")
    common = {
        "gen_ai.provider.name": "anthropic",
        "server.address": host,
        "server.port": int(port),
        "gen_ai.request.model": "m",
        "gen_ai.response.model": "m",
        "gen_ai.token.modality": "unknown",
        "gen_ai.tool.type": "function",
    }
    data = reader.get_metrics_data()
    found: dict[str, Any] = {}
    for scope in data.resource_metrics[0].scope_metrics if data is not None else ():
        assert scope.scope.name == "causepath"
        for metric in scope.metrics:
            for point in metric.data.data_points:
                attributes = dict(point.attributes or {})
                left = [
                    str(value)
                    for name, value in sorted(attributes.items())
                    if common.get(name) != value
                ]
                value: Any = getattr(point, "value", None)
                if value is None:
                    value = point.count if metric.unit == "s" else point.sum  # type: ignore[union-attr]
                found[" ".join([metric.name, *left])] = value
    return found


def test_a_run_with_a_tool(reader: InMemoryMetricReader) -> None:
    with (
        MessagesApi(InOrder([ASKS, DONE])) as api,
        Recording(),
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):

        @causepath.tool
        def search(q: str) -> str:
            return q

        with causepath.agent("research"):
            first = client.messages.create(model="m", max_tokens=9, messages=QUESTION)
            answers = [
                {"type": "tool_result", "tool_use_id": b.id, "content": search(**b.input)}  # type: ignore[arg-type,union-attr]
                for b in first.content
            ]
            client.messages.create(
                model="m",
                max_tokens=9,
                messages=[
                    *QUESTION,
                    {"role": "assistant", "content": first.content},
                    {"role": "user", "content": answers},
                ],
            )
        assert told(reader, api.url) == {
            "gen_ai.client.inference.duration chat": 2,
            "gen_ai.client.inference.operation.input_tokens chat": 80,
            "gen_ai.client.inference.operation.output_tokens chat": 10,
            "gen_ai.client.inference.usage.input_tokens chat": 80,
            "gen_ai.client.inference.usage.output_tokens chat": 10,
            "gen_ai.client.inference.usage.cache_read.input_tokens chat": 14,
            "gen_ai.client.inference.usage.cache_write.input_tokens chat": 6,
            "gen_ai.execute_tool.duration execute_tool search": 1,
            "gen_ai.invoke_agent.duration research invoke_agent": 1,
            "gen_ai.invoke_agent.inference_calls research invoke_agent": 2,
            "gen_ai.invoke_agent.tool_calls research invoke_agent": 1,
        }


def test_a_stream(reader: InMemoryMetricReader) -> None:
    with (
        MessagesApi(InOrder([Reply("One two three four.", usage=USAGE)])) as api,
        Recording(),
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        with client.messages.stream(model="m", max_tokens=9, messages=QUESTION) as stream:
            pieces = len(list(stream.text_stream))
        found = told(reader, api.url)
        assert found["gen_ai.client.inference.duration chat"] == 1
        assert found["gen_ai.client.inference.time_to_first_chunk chat"] == 1
        assert found["gen_ai.client.inference.time_per_output_chunk chat"] == pieces - 1
        assert found["gen_ai.client.inference.usage.output_tokens chat"] == 5


def test_a_call_that_fails_and_an_inferred_run(reader: InMemoryMetricReader) -> None:
    with (
        MessagesApi(InOrder([Failure(400)])) as api,
        Recording(),
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        run = "invalid_request_error test_metrics invoke_agent"
        with pytest.raises(anthropic.BadRequestError):
            client.messages.create(model="m", max_tokens=9, messages=QUESTION)
        assert told(reader, api.url) == {
            "gen_ai.client.inference.duration invalid_request_error chat": 1,
            "gen_ai.client.inference.usage.input_tokens invalid_request_error chat": 0,
            "gen_ai.client.inference.usage.output_tokens invalid_request_error chat": 0,
            f"gen_ai.invoke_agent.duration {run}": 1,
            f"gen_ai.invoke_agent.inference_calls {run}": 1,
            f"gen_ai.invoke_agent.tool_calls {run}": 0,
        }


def test_the_tool_runner(reader: InMemoryMetricReader) -> None:
    @anthropic.beta_tool
    def search(q: str) -> str:
        """Look for something.

        Args:
            q: what to look for
        """
        return q

    with (
        MessagesApi(InOrder([ASKS, DONE])) as api,
        Recording(),
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        client.beta.messages.tool_runner(
            model="m", max_tokens=9, tools=[search], messages=QUESTION
        ).until_done()
        found = told(reader, api.url)
        assert found["gen_ai.client.inference.duration chat"] == 2
        assert found["gen_ai.execute_tool.duration execute_tool search"] == 1


def test_what_is_not_sampled_is_counted(reader: InMemoryMetricReader) -> None:
    with (
        MessagesApi(InOrder([DONE])) as api,
        Recording(sampler=ALWAYS_OFF) as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        client.messages.create(model="m", max_tokens=9, messages=QUESTION)
        assert not recording.spans()
        assert told(reader, api.url)["gen_ai.client.inference.usage.input_tokens chat"] == 40


def test_without_a_meter_provider_metrics_are_not_even_imported() -> None:
    code = (
        "import sys, causepath; from opentelemetry.trace import NoOpTracerProvider;"
        "causepath.instrument(NoOpTracerProvider()); import anthropic;"
        "print('opentelemetry.metrics' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (found.returncode, found.stdout) == (0, "False\n"), found.stderr
