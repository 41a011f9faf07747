"""What exporters of the OpenTelemetry SDK really write, of one run, is read as one run."""

import io
from collections.abc import Sequence

from opentelemetry.exporter.otlp.json.file import FileSpanExporter
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from causepath_analyzer.model import Span
from tests.analyzer.read.test_formats import framed, spans_of

CHAT = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "m",
    "gen_ai.usage.input_tokens": 12,
    "gen_ai.usage.output_tokens": 3,
    "gen_ai.response.finish_reasons": ["end_turn"],
}


def run() -> Sequence[ReadableSpan]:
    memory = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource.create({"service.name": "demo"}))
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("my.scope")
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.conversation.id": "s"}
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "w"}
    with tracer.start_as_current_span("invoke_agent a", attributes=agent):
        with tracer.start_as_current_span("chat m", kind=SpanKind.CLIENT, attributes=CHAT) as span:
            span.add_event("noted", {"a": 1})
        try:
            with tracer.start_as_current_span("execute_tool w", attributes=tool):
                raise ValueError
        except ValueError:
            pass
    provider.shutdown()
    return memory.get_finished_spans()


def told(span: Span) -> tuple[object, ...]:
    """Everything but what the console leaves out: the scope, and the last digits of times."""
    return (
        (span.trace_id, span.span_id, span.parent_id, span.name, span.kind),
        (span.category, span.model_call, span.tool_call, span.error),
        (span.service, span.session, span.links),
    )


def test_one_run_as_three_exporters_write_it() -> None:
    spans = run()
    printed, written = io.StringIO(), io.StringIO()
    console = ConsoleSpanExporter(out=printed)
    for span in spans:
        printed.write("a program says {this}\n[INFO] and that\n")
        console.export([span])
    FileSpanExporter(stream=written).export(spans)
    message = encode_spans(spans).SerializeToString()

    read = {}
    for name, data in {
        "python-sdk": printed.getvalue().encode(),
        "otlp-json": written.getvalue().encode(),
        "otlp-protobuf": framed(message),
    }.items():
        found, entry = spans_of(data)
        assert (entry.format, entry.skipped) == (name, ())
        read[name] = found
    one, *others = read.values()
    for other in others:
        assert [*map(told, other)] == [*map(told, one)]
        for a, b in zip(one, other, strict=True):
            assert abs(a.start_ns - b.start_ns) <= 1000
            assert abs(a.ended_ns - b.ended_ns) <= 1000
