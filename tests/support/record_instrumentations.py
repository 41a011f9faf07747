"""Records one run of an agent through other people's instrumentations: the files in
tests/analyzer/recorded/. Run by hand, when a new release of one of them should be looked at:

    python -m venv /tmp/emitters
    /tmp/emitters/bin/pip install anthropic opentelemetry-sdk opentelemetry-exporter-otlp-json-file
        opentelemetry-instrumentation-genai-anthropic opentelemetry-instrumentation-anthropic
        openinference-instrumentation-anthropic logfire
    PYTHONPATH=.:src /tmp/emitters/bin/python -m tests.support.record_instrumentations

The agent uses the real SDK over HTTP against the stand-in API: a plain call that asks for a tool,
a raw stream and a stream read by the helper, with tokens read from and written to the cache. Each
emitter records it alone, and each two of them together, in a process of their own.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tests.support.messages_api import MessagesApi
from tests.support.script import Latency, Reply, Text, ToolUse, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

EMITTERS = ("sdk", "genai", "traceloop", "openinference", "logfire", "causepath")
FOLDER = Path(__file__).parents[1] / "analyzer" / "recorded"
PAUSES = Latency(before_first_delta=0.02)
SCRIPT = [
    Reply(
        content=[Text("Looking it up."), ToolUse("search", {"query": "traces"}, id="toolu_01")],
        usage=Usage(
            input_tokens=40,
            output_tokens=30,
            ephemeral_5m_input_tokens=200,
            ephemeral_1h_input_tokens=100,
        ),
        latency=PAUSES,
    ),
    Reply(
        content=[Text("Found three of them. Reading on.")],
        usage=Usage(input_tokens=60, output_tokens=20, cache_read_input_tokens=300),
        latency=PAUSES,
    ),
    Reply(
        content=[Text("Traces say where the time went.")],
        usage=Usage(input_tokens=90, output_tokens=10, cache_read_input_tokens=300),
        latency=PAUSES,
    ),
]


def main() -> None:
    if len(sys.argv) > 1:
        record(sys.argv[1].split("+"))
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    for chosen in [*itertools.combinations(EMITTERS, 1), *itertools.combinations(EMITTERS, 2)]:
        environment = {**os.environ, "ANTHROPIC_OPEN_TELEMETRY": str("sdk" in chosen).lower()}
        module = "tests.support.record_instrumentations"
        subprocess.run(
            [sys.executable, "-m", module, "+".join(chosen)], check=True, env=environment
        )


def record(emitters: list[str]) -> None:
    """Writes the spans of one run that `emitters` see."""
    import anthropic
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.json.file import FileSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    path = FOLDER / f"{'+'.join(emitters)}.jsonl"
    path.unlink(missing_ok=True)
    exporter = SimpleSpanProcessor(FileSpanExporter(str(path)))
    provider = TracerProvider(resource=Resource({"service.name": "recorded-agent"}))
    if "logfire" in emitters:
        import logfire

        logfire.configure(
            send_to_logfire=False,
            console=False,
            service_name="recorded-agent",
            additional_span_processors=[exporter],
        )
    else:
        provider.add_span_processor(exporter)
        trace.set_tracer_provider(provider)
    with MessagesApi(SCRIPT) as api:
        for emitter in emitters:
            instrument(emitter)
        client = anthropic.Anthropic(base_url=api.url, api_key="test")
        if "logfire" in emitters:
            logfire.instrument_anthropic(client)
        run(client)
    trace.get_tracer_provider().force_flush()  # type: ignore[attr-defined]
    path.write_text("".join(_nobodys(line) for line in path.read_text().splitlines()))


def _nobodys(line: str) -> str:
    """A line of the recording without what it says of this machine."""
    line = re.sub(r'"[^"]*/site-packages/', '"site-packages/', line)
    request = json.loads(line.replace(f"{FOLDER.parents[2]}{os.sep}", ""))
    for batch in request["resourceSpans"]:
        batch["resource"]["attributes"] = [
            pair
            for pair in batch["resource"]["attributes"]
            if pair["key"] in ("service.name", "telemetry.sdk.name", "telemetry.sdk.version")
        ]
    return json.dumps(request, separators=(",", ":")) + "\n"


def instrument(emitter: str) -> None:
    if emitter == "genai":
        from opentelemetry.instrumentation.genai.anthropic import AnthropicInstrumentor

        AnthropicInstrumentor().instrument()
    elif emitter == "traceloop":
        from opentelemetry.instrumentation.anthropic import AnthropicInstrumentor as Traceloop

        Traceloop().instrument()
    elif emitter == "openinference":
        from openinference.instrumentation.anthropic import AnthropicInstrumentor as OpenInference

        OpenInference().instrument()
    elif emitter == "causepath":
        import causepath

        causepath.instrument()


class Step(Protocol):
    """Opens a span of the application: "agent" or "tool", its name, and "inputs" of a tool.

    What it is entered as is called with the result.
    """

    def __call__(
        self, kind: str, name: str, **said: Any
    ) -> AbstractContextManager[Callable[[str], object]]: ...


@contextlib.contextmanager
def step(kind: str, name: str, **said: Any) -> Iterator[Callable[[str], object]]:
    """A span of OpenTelemetry."""
    from opentelemetry import trace

    attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": name}
    if kind == "tool":
        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": name,
            "gen_ai.tool.call.id": "toolu_01",
        }
    called = f"{attributes['gen_ai.operation.name']} {name}"
    tracer = trace.get_tracer("recorded-agent")
    with tracer.start_as_current_span(called, attributes=attributes):
        yield lambda result: None


def run(client: Any, step: Step = step) -> None:
    """The agent: three turns and a tool."""
    messages: list[object] = [{"role": "user", "content": "What do traces say?"}]
    asked = {
        "model": "claude-opus-4-5",
        "max_tokens": 1024,
        "tools": [{"name": "search", "description": "d", "input_schema": {"type": "object"}}],
    }
    with step("agent", "demo") as done:
        first = client.messages.create(messages=messages, **asked)
        with step("tool", "search", inputs={"query": "traces"}) as found:
            result = {"type": "tool_result", "tool_use_id": "toolu_01", "content": "three"}
            found("three")
        messages += [
            {"role": "assistant", "content": [block.model_dump() for block in first.content]},
            {"role": "user", "content": [result]},
        ]
        with client.messages.create(messages=messages, stream=True, **asked) as stream:
            for _ in stream:
                pass
        messages += [
            {"role": "assistant", "content": "Found three of them. Reading on."},
            {"role": "user", "content": "Go on."},
        ]
        with client.messages.stream(messages=messages, **asked) as helper:
            for _ in helper:
                pass
            helper.get_final_message()
        done("Traces say where the time went.")


if __name__ == "__main__":
    main()
