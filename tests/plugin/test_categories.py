"""`causepath.category` of every span that passes, other people's included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from causepath.otel.categories import category

if TYPE_CHECKING:
    from tests.support.recording import Recording

CASES: list[tuple[SpanKind, dict[str, Any], str]] = [
    (SpanKind.CLIENT, {"gen_ai.operation.name": "chat"}, "llm"),
    (SpanKind.CLIENT, {"gen_ai.operation.name": "embeddings"}, "embedding"),
    (SpanKind.INTERNAL, {"gen_ai.operation.name": "execute_tool"}, "tool"),
    (SpanKind.INTERNAL, {"gen_ai.operation.name": "invoke_agent"}, "agent"),
    (SpanKind.CLIENT, {"gen_ai.operation.name": "retrieval"}, "retrieval"),
    (SpanKind.INTERNAL, {"openinference.span.kind": "LLM"}, "llm"),
    (SpanKind.INTERNAL, {"openinference.span.kind": "RETRIEVER"}, "retrieval"),
    (SpanKind.INTERNAL, {"openinference.span.kind": "CHAIN"}, "agent"),
    (SpanKind.INTERNAL, {"openinference.span.kind": "GUARDRAIL"}, "guardrail"),
    (SpanKind.INTERNAL, {"traceloop.span.kind": "tool"}, "tool"),
    (SpanKind.CLIENT, {"llm.request.type": "chat"}, "llm"),
    (SpanKind.CLIENT, {"mcp.method.name": "tools/call"}, "tool"),
    (SpanKind.CLIENT, {"mcp.method.name": "initialize"}, "network"),
    (SpanKind.CLIENT, {"http.request.method": "GET"}, "network"),
    (SpanKind.CLIENT, {"http.method": "GET"}, "network"),
    (SpanKind.SERVER, {"http.request.method": "GET"}, "other"),
    (SpanKind.CLIENT, {"db.system": "redis"}, "database"),
    (SpanKind.CLIENT, {"db.system.name": "postgresql"}, "database"),
    (SpanKind.CLIENT, {"db.system": "pinecone"}, "retrieval"),
    (SpanKind.CLIENT, {"rpc.system": "grpc"}, "network"),
    (SpanKind.INTERNAL, {"causepath.category": "human"}, "human"),
    (SpanKind.INTERNAL, {"gen_ai.operation.name": 3, "openinference.span.kind": None}, "other"),
    (SpanKind.INTERNAL, {}, "other"),
]

NAMED: list[tuple[str, dict[str, Any], str | None]] = [
    ("VectorIndexRetriever.workflow", {"traceloop.span.kind": "workflow"}, "retrieval"),
    ("OpenAIEmbedding.task", {"traceloop.span.kind": "task"}, "embedding"),
    ("FunctionTool.task", {"traceloop.span.kind": "task"}, "tool"),
    ("Toolbox.task", {"traceloop.span.kind": "task"}, "agent"),
    ("FunctionTool.task", {"openinference.span.kind": "CHAIN"}, "agent"),
    ("BLPOP", {"db.system": "redis"}, "wait"),
    ("blmove", {"db.system": "redis"}, "wait"),
    ("work", {"db.system": "redis", "db.operation": "BRPOP"}, "wait"),
    ("work", {"db.system.name": "redis", "db.operation.name": "bzpopmin"}, "wait"),
    ("BLPOP", {"db.system.name": "redis", "db.operation.name": "GET"}, "database"),
    ("claude_code.work", {"span.type": "tool"}, "tool"),
    ("claude_code.tool", {"span.type": "permission"}, "human"),
    ("work", {"span.type": "tool"}, None),
]
"""Where the name of a span counts, too."""


@pytest.mark.parametrize(("name", "attributes", "expected"), NAMED)
def test_what_the_name_adds(name: str, attributes: dict[str, Any], expected: str | None) -> None:
    assert category(attributes, name=name, client=True) == expected


CLAUDE_CODE = {
    "claude_code.interaction": "agent",
    "claude_code.llm_request": "llm",
    "claude_code.tool": "tool",
    "claude_code.tool.blocked_on_user": "human",
    "claude_code.tool.execution": "other",
    "claude_code.subagent.spawn": "agent",
}
"""Spans of the CLI of Claude Code say what they are in their names."""


@pytest.mark.parametrize(("name", "expected"), CLAUDE_CODE.items())
def test_spans_of_claude_code(recording: Recording, name: str, expected: str) -> None:
    with trace.get_tracer("com.anthropic.claude_code").start_as_current_span(name):
        pass
    (span,) = recording.spans()
    assert span.attributes == {"causepath.category": expected}


@pytest.mark.parametrize(("kind", "attributes", "expected"), CASES)
@pytest.mark.parametrize("late", [False, True], ids=["at start", "later"])
def test_the_category_follows_from_a_spans_own_attributes(
    recording: Recording, kind: SpanKind, attributes: dict[str, Any], expected: str, late: bool
) -> None:
    import causepath  # enabled by `recording`, so that the provider is attended before any call

    assert causepath.__version__
    tracer = trace.get_tracer("somebody")
    given = {name: value for name, value in attributes.items() if value is not None}
    with tracer.start_as_current_span("work", kind=kind, attributes={} if late else given) as span:
        if late:
            span.set_attributes(given)
    (span_written,) = recording.spans()
    assert span_written.attributes == {**given, "causepath.category": expected}
