"""`causepath.category` of every span that passes, other people's included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind

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

CLAUDE_CODE = {
    "claude_code.interaction": "agent",
    "claude_code.llm_request": "llm",
    "claude_code.tool": "tool",
    "claude_code.tool.blocked_on_user": "human",
    "claude_code.tool.execution": "other",
    "claude_code.subagent.spawn": "agent",
}
"""Spans of the CLI of Claude Code say what they are in their names."""


@pytest.mark.parametrize(("name", "category"), CLAUDE_CODE.items())
def test_spans_of_claude_code(recording: Recording, name: str, category: str) -> None:
    with trace.get_tracer("com.anthropic.claude_code").start_as_current_span(name):
        pass
    (span,) = recording.spans()
    assert span.attributes == {"causepath.category": category}


@pytest.mark.parametrize(("kind", "attributes", "category"), CASES)
@pytest.mark.parametrize("late", [False, True], ids=["at start", "later"])
def test_the_category_follows_from_a_spans_own_attributes(
    recording: Recording, kind: SpanKind, attributes: dict[str, Any], category: str, late: bool
) -> None:
    import causepath  # enabled by `recording`, so that the provider is attended before any call

    assert causepath.__version__
    tracer = trace.get_tracer("somebody")
    given = {name: value for name, value in attributes.items() if value is not None}
    with tracer.start_as_current_span("work", kind=kind, attributes={} if late else given) as span:
        if late:
            span.set_attributes(given)
    (span_written,) = recording.spans()
    assert span_written.attributes == {**given, "causepath.category": category}
