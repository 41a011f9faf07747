"""One agent, traced by an instrumentation of others, without the plugin and with it.

    PYTHONPATH=.sdk/beside:. python -m tests.support.beside genai

prints the spans of each as text, for both kinds of clients, inside a span of the application and
outside of any. A process of its own, as some of these cannot be taken off again.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import itertools
import json
import sys
from typing import TYPE_CHECKING, Any

import anthropic
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import causepath
from tests.support.messages_api import MessagesApi
from tests.support.script import Reply, Request, ToolUse, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

INSTRUMENTORS = {
    "genai": "opentelemetry.instrumentation.genai.anthropic",
    "traceloop": "opentelemetry.instrumentation.anthropic",
    "openinference": "openinference.instrumentation.anthropic",
}

ASK: dict[str, Any] = {
    "model": "m",
    "max_tokens": 64,
    "tools": [{"name": "search", "description": "d", "input_schema": {"type": "object"}}],
}


def answer(request: Request) -> Reply:
    """Three replies that ask for a tool, then the last one."""
    usage = Usage(10 + request.turn, 5)
    if request.turn < 3:
        return Reply([ToolUse("search", {"q": f"x{request.turn}"})], usage=usage)
    return Reply("Done.", usage=usage)


async def agent(client: Any, is_async: bool) -> None:
    """A plain call, a stream, the stream helper, and a plain call again, with a tool in between."""

    async def result(value: Any) -> Any:
        return await value if inspect.isawaitable(value) else value

    messages: list[Any] = [{"role": "user", "content": "What is x?"}]
    for turn in range(4):
        ask = {**ASK, "messages": messages}
        if turn == 1:
            stream = await result(client.messages.create(**ask, stream=True))
            events = [e async for e in stream] if is_async else list(stream)
            block = next(e.content_block for e in events if e.type == "content_block_start")
            content = [{"type": "tool_use", "id": block.id, "name": "search", "input": {"q": "x1"}}]
        elif turn == 2 and is_async:
            async with client.messages.stream(**ask) as helper:
                content = (await helper.get_final_message()).to_dict()["content"]
        elif turn == 2:
            with client.messages.stream(**ask) as helper:
                content = helper.get_final_message().to_dict()["content"]
        else:
            reply = await result(client.messages.create(**ask))
            content = reply.to_dict()["content"]
        messages = [*messages, {"role": "assistant", "content": content}]
        asked = [block for block in content if block["type"] == "tool_use"]
        messages.append(
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": block["id"], "content": "found"}
                    for block in asked
                ]
                or "Thanks.",
            }
        )


def text(spans: Sequence[ReadableSpan]) -> Iterator[str]:
    """A line a span, below its parent: what it is, who wrote it, its turn, and its links."""
    # Logs of Logfire are spans too.
    spans = [span for span in spans if (span.attributes or {}).get("logfire.span_type") != "log"]
    labels = {span.context.span_id: _label(span) for span in spans}
    ids = set(labels)

    def below(parent: int | None, depth: int) -> Iterator[str]:
        for span in sorted(spans, key=lambda span: span.start_time):
            own = span.parent.span_id if span.parent and span.parent.span_id in ids else None
            if own == parent:
                links = "".join(
                    f" <-{(link.attributes or {}).get('causepath.link')}- "
                    f"{labels.get(link.context.span_id, '?')}"
                    for link in span.links
                )
                yield f"{'  ' * depth}{_label(span)}{links}"
                yield from below(span.context.span_id, depth + 1)

    yield from below(None, 0)


def _label(span: ReadableSpan) -> str:
    attributes: dict[str, Any] = dict(span.attributes or {})
    is_tool = attributes.get("causepath.category") == "tool"
    turn = None if is_tool else attributes.get("causepath.turn")
    kind = attributes.get("gen_ai.operation.name") or attributes.get("openinference.span.kind", "")
    scope = span.instrumentation_scope.name if span.instrumentation_scope else ""
    return f"{kind.lower()} [{scope}]" + (f" #{turn}" if turn else "")


def main(emitters: str) -> None:
    chosen = emitters.split(",")
    exporter = InMemorySpanExporter()
    if "logfire" in chosen:
        import logfire

        logfire.configure(
            send_to_logfire=False,
            console=False,
            additional_span_processors=[SimpleSpanProcessor(exporter)],
        )
    else:
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
    for emitter in set(chosen) & set(INSTRUMENTORS):
        importlib.import_module(INSTRUMENTORS[emitter]).AnthropicInstrumentor().instrument()

    def run(client: Any, is_async: bool, declared: bool) -> str:
        attributes = {"gen_ai.operation.name": "invoke_agent"}
        with contextlib.ExitStack() as stack:
            if declared:
                tracer = trace.get_tracer("app")
                stack.enter_context(tracer.start_as_current_span("app", attributes=attributes))
            asyncio.run(agent(client, is_async))
        found = "\n".join(text(exporter.get_finished_spans()))
        exporter.clear()
        return found

    found: dict[str, list[str]] = {}
    with MessagesApi(answer) as api:
        for with_causepath in (False, True):
            if with_causepath:
                causepath.instrument()
            kinds = (anthropic.Anthropic, anthropic.AsyncAnthropic)
            for make, place in itertools.product(kinds, ("declared", "bare")):
                client: Any = make(
                    base_url=api.url,
                    api_key="test",
                    open_telemetry=None if "sdk" in chosen else False,
                )
                if "logfire" in chosen:
                    logfire.instrument_anthropic(client)
                ran = run(client, make is anthropic.AsyncAnthropic, place == "declared")
                found.setdefault(f"{make.__name__} {place}", []).append(ran)
    causepath.uninstrument()
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
