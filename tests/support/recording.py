"""What the plugin writes, as text to compare whole: one line a span, indented below its parent.

invoke_agent loop  agent inferred
  chat m #1  llm 12/5 tool_call
  execute_tool search  tool id=toolu_1 <-tool_call- chat m #1
"""

from __future__ import annotations

import gc
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.util._once import Once

import causepath
from causepath import instrumentor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.sdk.trace import ReadableSpan
    from typing_extensions import Self

    from causepath.calls.telemetry import Telemetry


class Recording:
    """The plugin enabled, with a global tracer provider that keeps its spans in memory."""

    def __init__(self, **provider: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False, **provider)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def __enter__(self) -> Self:
        set_global_provider(self.provider)
        causepath.instrument()
        return self

    def __exit__(self, *exc: object) -> None:
        causepath.uninstrument()
        set_global_provider(None)

    def spans(self) -> Sequence[ReadableSpan]:
        """Every span that has ended, after what is dropped has been collected."""
        gc.collect()
        self.provider.force_flush()
        return self._exporter.get_finished_spans()

    def finished(self) -> Sequence[ReadableSpan]:
        """Every span that has ended by itself."""
        return self._exporter.get_finished_spans()

    def text(self) -> str:
        """The spans as indented lines; an inferred run that goes on is ended first."""
        active = instrumentor._PLUGIN._telemetry
        if active is not None:
            active.run_spans.end_idle()
        return "\n".join(lines(self.spans()))


def telemetry() -> Telemetry:
    """Gives the wiring of the plugin, which is enabled."""
    active = instrumentor._PLUGIN._telemetry
    assert active is not None
    return active


def set_global_provider(provider: TracerProvider | None) -> None:
    """As if the process had just started, with `provider` set up by the application."""
    trace._TRACER_PROVIDER = None
    trace._TRACER_PROVIDER_SET_ONCE = Once()
    if provider is not None:
        trace.set_tracer_provider(provider)


def lines(spans: Sequence[ReadableSpan]) -> Iterator[str]:
    ids = {span.context.span_id for span in spans}
    labels = {span.context.span_id: _label(span) for span in spans}

    def below(parent: int | None, depth: int) -> Iterator[str]:
        children = [
            span
            for span in spans
            if (span.parent.span_id if span.parent and span.parent.span_id in ids else None)
            == parent
        ]
        for span in sorted(children, key=lambda span: (span.start_time, span.end_time, span.name)):
            yield "  " * depth + _line(span, labels)
            yield from below(span.context.span_id, depth + 1)

    yield from below(None, 0)


VARIES = frozenset(
    {
        "causepath.input.previous",
        "code.function.name",
        "code.line.number",
        "causepath.code.stack",
        "gen_ai.response.id",
        "gen_ai.response.time_to_first_chunk",
        "server.port",
    }
)
"""Attributes whose values are never the same twice."""


def whole_lines(spans: Sequence[ReadableSpan]) -> Iterator[str]:
    """All there is of the spans, but what is never the same twice: a paragraph a span."""
    ids = {span.context.span_id for span in spans}
    order = sorted(spans, key=lambda span: (span.start_time, span.end_time, span.name))
    labels = {span.context.span_id: _label(span) for span in order}
    given: dict[str, str] = {}

    def below(parent: int | None, depth: int) -> Iterator[str]:
        for span in order:
            own = span.parent.span_id if span.parent and span.parent.span_id in ids else None
            if own == parent:
                yield from _paragraph(span, "  " * depth, labels, given)
                yield from below(span.context.span_id, depth + 1)

    yield from below(None, 0)


def _paragraph(
    span: ReadableSpan, indent: str, labels: dict[int, str], given: dict[str, str]
) -> Iterator[str]:
    def known(found: re.Match[str]) -> str:
        return given.setdefault(found[0], f"{found[1]}_{len(given) + 1}")

    description = f" {span.status.description!r}" if span.status.description else ""
    scope = span.instrumentation_scope.name if span.instrumentation_scope else ""
    links = "".join(
        f" <-{(link.attributes or {}).get('causepath.link')}- "
        f"{labels.get(link.context.span_id, '?')}"
        for link in span.links
    )
    yield (
        f"{indent}{span.name} [{scope}] {span.kind.name} {span.status.status_code.name}"
        f"{description}{links}"
    )
    facts = []
    for name, value in sorted((span.attributes or {}).items()):
        if name.startswith("causepath.code.") and name != "causepath.code.stack":
            continue  # what the code of whoever runs the tests does is not what is tested
        shown: Any = list(value) if isinstance(value, tuple) else value
        if name in VARIES or name.endswith(("_ms", "_ns", "_seconds")):
            shown = "~"
        elif name == "code.file.path":
            shown = Path(str(value)).name
        text = re.sub(r"\b(toolu|msg|req|msgbatch)_01[0-9a-f]{16,}", known, f"{name}={shown}")
        text = re.sub(r":[0-9a-f]{16}:", ":~:", text)
        facts.append(re.sub(r"127\.0\.0\.1:(?!9\b)\d+", "127.0.0.1:~", text))
    facts += [f"event={event.name}" for event in span.events]
    yield from textwrap.wrap(
        "; ".join(facts),
        100,
        initial_indent=f"{indent}    ",
        subsequent_indent=f"{indent}    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _label(span: ReadableSpan) -> str:
    """The name, and of a model call its turn, by which tools that it asked for name it."""
    attributes = span.attributes or {}
    turn = attributes.get("causepath.turn")
    is_call = attributes.get("causepath.category") != "tool"
    return f"{span.name} #{turn}" if turn and is_call else span.name


def _line(span: ReadableSpan, labels: dict[int, str]) -> str:
    attributes: dict[str, Any] = dict(span.attributes or {})
    words = [_label(span), "", attributes.get("causepath.category", "?")]
    for name, word in (
        ("causepath.run.inferred", "inferred"),
        ("causepath.tool.inferred", "inferred"),
        ("causepath.tool.read_only", "read-only"),
    ):
        if attributes.get(name):
            words.append(word)
    if (call_id := attributes.get("gen_ai.tool.call.id")) is not None:
        words.append(f"id={call_id}")
    if span.name.startswith("chat"):
        usage = [attributes.get(f"gen_ai.usage.{name}_tokens", "-") for name in ("input", "output")]
        words.append("/".join(map(str, usage)))
        words.extend(attributes.get("gen_ai.response.finish_reasons", ()))
        if attributes.get("causepath.usage.partial"):
            words.append("partial")
        if "gen_ai.response.time_to_first_chunk" in attributes:
            words.append("first-chunk")
    elif (status := attributes.get("http.response.status_code")) is not None:
        words.append(str(status))
    if (error := attributes.get("error.type")) is not None:
        words.append(f"error={error}")
    words.append(f"({span.status.status_code.name})")
    for link in span.links:
        why = (link.attributes or {}).get("causepath.link")
        words.append(f"<-{why}- {labels.get(link.context.span_id, '?')}")
    return " ".join(words)
