"""Every convention in one vocabulary: a row of semconv.md B1 and B2 is a row here."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from causepath_analyzer.model import (
    Block,
    Blocks,
    Category,
    Declared,
    ModelCall,
    Retrieval,
    Span,
    Terms,
    Tokens,
)
from causepath_analyzer.read.meaning import normalise
from causepath_analyzer.read.tree.build import build

S = 1_000_000_000
MS = 1_000_000
START = 1_795_000_000 * S
FIRST_TOKEN = datetime.fromtimestamp(1_795_000_001.5, UTC).isoformat()


def read(
    attributes: dict[str, object],
    name: str = "x",
    *,
    kind: Any = "internal",
    scope: str = "",
    sdk: str = "opentelemetry",
    failed: bool = False,
) -> Span:
    emitted = normalise.Emitted(
        "f" * 32, "a" * 16, "b" * 16, name, kind, START, START + 9 * S, failed
    )
    return normalise.span(
        emitted, attributes, normalise.resource({"telemetry.sdk.name": sdk}), scope
    )


# -- model calls

USED = {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 20}
CHAT: dict[str, object] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "m",
    **USED,
}


USD_1_5: dict[str, object] = {"said_usd": Decimal("1.5")}


def row(id: str, attributes: dict[str, object], expected: dict[str, object], **span: Any) -> Any:  # noqa: A002
    return pytest.param(attributes, span, expected, id=id)


@pytest.mark.parametrize(
    ("attributes", "span", "expected"),
    [
        row(
            "a stream that was left",
            {**CHAT, "causepath.usage.partial": True},
            {"tokens": Tokens(100, 20), "partial": True},
        ),
        row("a stream that was not", CHAT, {"partial": False}),
        row(
            "anthropic sdk",
            {
                **CHAT,
                "gen_ai.response.model": "m-2",
                "gen_ai.response.id": "msg_1",
                "gen_ai.usage.cache_read.input_tokens": 30,
                "gen_ai.usage.cache_write.input_tokens": 15,
                "anthropic.usage.cache_creation.ephemeral_5m_input_tokens": 5,
                "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 10,
                "gen_ai.usage.reasoning.output_tokens": 7,
                "gen_ai.response.time_to_first_chunk": 0.25,
                "anthropic.message.stop_reason": "tool_use",
                "gen_ai.request.stream": True,
            },
            {
                "model": "m-2",
                "provider": "anthropic",
                "tokens": Tokens(100, 20, 30, 15, 7, 10),
                "ttft_ns": 250 * MS,
                "finish_reasons": ("tool_call",),
                "streamed": True,
                "response_id": "msg_1",
            },
            scope="com.anthropic.sdk.python",
        ),
        row(
            "anthropic sdk, not streamed",
            CHAT,
            {"model": "m", "tokens": Tokens(100, 20), "streamed": False, "ttft_ns": None},
            scope="com.anthropic.sdk.python",
        ),
        row(
            "causepath's blocks",
            {
                **CHAT,
                "causepath.input.blocks": ("system:text:0a:7", "user:tool_result:ff:2048"),
                "causepath.input.kept": 3,
                "causepath.input.previous": "b7ad6b7169203331",
                "causepath.input.omitted": 2,
                "causepath.output.blocks": ("assistant:text:10:40",),
            },
            {
                "blocks": Blocks(
                    (Block("system", "text", 10, 7), Block("user", "tool_result", 255, 2048)),
                    (Block("assistant", "text", 16, 40),),
                    3,
                    "b7ad6b7169203331",
                    2,
                ),
            },
        ),
        row(
            "causepath's blocks, as Jaeger and Zipkin write them",
            {**CHAT, "causepath.input.blocks": '["user:text:0a:7"]'},
            {"blocks": Blocks((Block("user", "text", 10, 7),), ())},
        ),
        row(
            "blocks that are none",
            {**CHAT, "causepath.input.blocks": ("user:text:0a:7", "user:text")},
            {"blocks": None},
        ),
        row(
            "claude platform",
            CHAT,
            {"tokens": Tokens(100, 20)},
            kind="server",
            scope="com.anthropic.claude-platform",
        ),
        row(
            "otel, while the cache was created",
            {
                **CHAT,
                "gen_ai.usage.cache_creation.input_tokens": 15,
                "gen_ai.response.finish_reasons": ["stop"],
            },
            {"tokens": Tokens(100, 20, 0, 15), "finish_reasons": ("stop",), "streamed": None},
        ),
        row(
            "otel, old",
            {
                "gen_ai.system": "openai",
                "gen_ai.operation.name": "chat",
                "gen_ai.request.model": "gpt-4o",
                "gen_ai.usage.prompt_tokens": 100,
                "gen_ai.usage.completion_tokens": 20,
            },
            {"provider": "openai", "model": "gpt-4o", "tokens": Tokens(100, 20)},
        ),
        row(
            "openinference",
            {
                "openinference.span.kind": "LLM",
                "llm.provider": "anthropic",
                "llm.response.model_name": "m",
                "llm.token_count.prompt": 100,
                "llm.token_count.completion": 20,
                "llm.token_count.prompt_details.cache_read": 30,
                "llm.token_count.prompt_details.cache_write": 15,
                "llm.token_count.completion_details.reasoning": 7,
                "llm.finish_reason": "end_turn",
                "llm.invocation_parameters": '{"max_tokens": 9, "stream": true}',
                "llm.output_messages.0.message.tool_calls.0.tool_call.id": "t1",
                "llm.output_messages.0.message.tool_calls.1.tool_call.id": "t2",
                "causepath.reader.first_token_ns": START + 2 * S,
            },
            {
                "model": "m",
                "provider": "anthropic",
                "tokens": Tokens(100, 20, 30, 15, 7),
                "finish_reasons": ("stop",),
                "streamed": True,
                "issued": ("t1", "t2"),
                "ttft_ns": 2 * S,
            },
        ),
        row(
            "traceloop",
            {
                "llm.request.type": "chat",
                "gen_ai.system": "Anthropic",
                "gen_ai.request.model": "m",
                "gen_ai.usage.input_tokens": 100,
                "gen_ai.usage.output_tokens": 20,
                "gen_ai.usage.cache_read_input_tokens": 30,
                "gen_ai.usage.cache_creation_input_tokens": 15,
                "llm.usage.total_tokens": 120,
                "gen_ai.is_streaming": False,
                "gen_ai.completion.0.finish_reason": "tool_calls",
                "gen_ai.completion.0.tool_calls.0.id": "t1",
            },
            {
                "provider": "anthropic",
                "tokens": Tokens(100, 20, 30, 15),
                "streamed": False,
                "finish_reasons": ("tool_call",),
                "issued": ("t1",),
            },
        ),
        row(
            "vercel",
            {
                "ai.operationId": "ai.streamText.doStream",
                "ai.model.id": "claude",
                "ai.model.provider": "anthropic.messages",
                "ai.usage.inputTokens": "100",
                "ai.usage.outputTokens": "20",
                "ai.usage.inputTokenDetails.cacheReadTokens": 30,
                "ai.usage.inputTokenDetails.cacheWriteTokens": 15,
                "ai.usage.outputTokenDetails.reasoningTokens": 7,
                "ai.response.msToFirstChunk": 250.5,
                "ai.response.finishReason": "tool-calls",
                "ai.response.toolCalls": '[{"toolCallId": "t1", "toolName": "search"}]',
            },
            {
                "model": "claude",
                "provider": "anthropic",
                "tokens": Tokens(100, 20, 30, 15, 7),
                "ttft_ns": 250_500_000,
                "finish_reasons": ("tool_call",),
                "streamed": True,
                "issued": ("t1",),
            },
        ),
        row(
            "vercel, release 3",
            {
                "ai.operationId": "ai.generateText.doGenerate",
                "ai.usage.promptTokens": 100,
                "ai.usage.completionTokens": 20,
            },
            {"tokens": Tokens(100, 20), "streamed": False},
        ),
        row(
            "langsmith",
            {
                "langsmith.span.kind": "llm",
                "gen_ai.operation.name": "chat",
                "langsmith.metadata.ls_model_name": "m",
                **USED,
                "gen_ai.usage.input_token_details": '{"cache_read": 30, "cache_creation": 15}',
                "gen_ai.usage.output_token_details": '{"reasoning": 7}',
                "langsmith.request.streaming": "true",
            },
            {"model": "m", "tokens": Tokens(100, 20, 30, 15, 7), "streamed": True},
        ),
        row(
            "langsmith, writes by how long they are kept",
            {
                "langsmith.span.kind": "llm",
                **USED,
                "gen_ai.usage.input_token_details": '{"cache_read": 30, '
                '"ephemeral_5m_input_tokens": 15, "ephemeral_1h_input_tokens": 5}',
            },
            {"tokens": Tokens(100, 20, 30, 20, 0, 5)},
        ),
        row(
            "langfuse: parts are added",
            {
                "langfuse.observation.type": "generation",
                "langfuse.observation.model.name": "m",
                "langfuse.observation.usage_details": (
                    '{"input": 55, "output": 13, "input_cached_tokens": 30, '
                    '"cache_creation_input_tokens": 15, "output_reasoning_tokens": 7}'
                ),
                "langfuse.observation.completion_start_time": f'"{FIRST_TOKEN}"',
            },
            {
                "model": "m",
                "tokens": Tokens(100, 20, 30, 15, 7),
                "ttft_ns": 1_500 * MS,
            },
            scope="langfuse-sdk",
        ),
        row(
            "langfuse: a total that says the parts are counted in",
            {
                "langfuse.observation.type": "generation",
                "langfuse.observation.usage_details": (
                    '{"input": 100, "output": 20, "input_cached_tokens": 30, "total": 120}'
                ),
            },
            {"tokens": Tokens(100, 20, 30)},
        ),
        row(
            "pydantic ai",
            {
                **CHAT,
                "gen_ai.usage.details.cache_read_tokens": 30,
                "gen_ai.usage.details.cache_write_tokens": 15,
                "gen_ai.usage.details.reasoning_tokens": 7,
            },
            {"tokens": Tokens(100, 20, 30, 15, 7)},
            scope="pydantic-ai",
        ),
        row(
            "logfire",
            {
                **CHAT,
                "logfire.span_type": "span",
                "request_data": '{"model": "m", "stream": true}',
                "gen_ai.usage.raw": (
                    '{"cache_read_input_tokens": 30, "cache_creation_input_tokens": 15, '
                    '"cache_creation": {"ephemeral_1h_input_tokens": 0}}'
                ),
            },
            {"tokens": Tokens(100, 20, 30, 15), "streamed": True},
            scope="logfire.anthropic",
        ),
        row(
            "logfire: what OpenAI said, with the parts beside the sums",
            {
                **CHAT,
                "gen_ai.response.finish_reasons": ["FinishReason.TOOL_CALLS"],
                "gen_ai.usage.raw": (
                    '{"input_tokens": 100, "input_tokens_details": {"cached_tokens": 30}, '
                    '"output_tokens_details": {"reasoning_tokens": 8}}'
                ),
            },
            {"tokens": Tokens(100, 20, 30, 0, 8), "finish_reasons": ("tool_call",)},
            scope="logfire.openai",
        ),
        row(
            "genkit: all of a reply of Google's, which counts thoughts by themselves",
            {
                "genkit:metadata:subtype": "model",
                "genkit:name": "googleai/m",
                "genkit:output": (
                    '{"finishReason": "stop", "usage": {"inputCharacters": 900, "inputTokens": 100,'
                    ' "outputTokens": 12, "thoughtsTokens": 8, "cachedContentTokens": 30,'
                    ' "totalTokens": 120}}'
                ),
            },
            {
                "model": "googleai/m",
                "provider": None,
                "tokens": Tokens(100, 20, 30, 0, 8),
                "finish_reasons": ("stop",),
            },
        ),
        row(
            "mlflow: every value is JSON text",
            {
                "mlflow.spanType": '"CHAT_MODEL"',
                "mlflow.llm.model": '"m"',
                "mlflow.llm.provider": '"anthropic"',
                "mlflow.chat.tokenUsage": (
                    '{"input_tokens": 100, "output_tokens": 20, "total_tokens": 120, '
                    '"cache_read_input_tokens": 30, "cache_creation_input_tokens": 15}'
                ),
            },
            {"model": "m", "provider": "anthropic", "tokens": Tokens(100, 20, 30, 15)},
        ),
        row(
            "claude code: input without caches",
            {
                "span.type": "llm_request",
                "model": "m",
                "gen_ai.system": "anthropic",
                "gen_ai.response.id": "req_1",
                "input_tokens": 55,
                "output_tokens": "20",
                "cache_read_tokens": 30,
                "cache_creation_tokens": 15,
                "ttft_ms": 250,
                "stop_reason": "max_tokens",
            },
            {
                "model": "m",
                "tokens": Tokens(100, 20, 30, 15),
                "ttft_ns": 250 * MS,
                "finish_reasons": ("length",),
                "streamed": True,
                "response_id": None,
            },
            name="claude_code.llm_request",
        ),
        row("google adk", {**USED, "gen_ai.system": "gcp.vertex.agent"}, {}, name="call_llm"),
        row(
            "strands: milliseconds, and the framework as provider",
            {
                **CHAT,
                "gen_ai.provider.name": "strands-agents",
                "gen_ai.request.model": "claude-opus-4-5",
                "gen_ai.usage.cache_read_input_tokens": 30,
                "gen_ai.usage.cache_write_input_tokens": 15,
                "gen_ai.server.time_to_first_token": 250,
            },
            {"provider": "anthropic", "tokens": Tokens(100, 20, 30, 15), "ttft_ns": 250 * MS},
        ),
        row(
            "microsoft: the framework as provider of nobody knows whose model",
            {**CHAT, "gen_ai.provider.name": "microsoft.agent_framework"},
            {"provider": None},
        ),
        row(
            "semantic kernel",
            {
                **CHAT,
                "gen_ai.operation.name": "text_completions",
                "gen_ai.response.finish_reason": "STOP",
            },
            {"finish_reasons": ("stop",)},
        ),
        row(
            "crewai",
            {
                **CHAT,
                "gen_ai.usage.cache_creation.input_tokens": 15,
                "gen_ai.usage.reasoning_tokens": 7,
            },
            {"tokens": Tokens(100, 20, 0, 15, 7)},
        ),
        row(
            "haystack",
            {"haystack.component.type": "x"},
            {"tokens": None},
            name="haystack.agent.step.llm",
        ),
        row(
            "litellm",
            {"litellm.provider.model": "m", "llm.is_streaming": True, **USED},
            {"model": "m", "streamed": True, "tokens": Tokens(100, 20)},
            name="litellm_request",
        ),
        row(
            "openlit: input without caches, seconds",
            {
                **CHAT,
                "gen_ai.usage.input_tokens": 55,
                "gen_ai.usage.cache_read.input_tokens": 30,
                "gen_ai.usage.cache_creation.input_tokens": 15,
                "gen_ai.server.time_to_first_token": 0.25,
            },
            {"tokens": Tokens(100, 20, 30, 15), "ttft_ns": 250 * MS},
            sdk="openlit",
        ),
        row(
            "agentops",
            {
                "agentops.span.kind": "llm",
                "gen_ai.usage.prompt_tokens": 100,
                "gen_ai.usage.completion_tokens": 20,
                "gen_ai.usage.cache_read_input_tokens": 30,
                "gen_ai.streaming.time_to_first_token": 0.25,
            },
            {"tokens": Tokens(100, 20, 30), "ttft_ns": 250 * MS, "streamed": True},
        ),
        row(
            "the tier that served and the one asked for",
            {
                **CHAT,
                "openai.request.service_tier": "priority",
                "openai.response.service_tier": "Default",
            },
            {"terms": Terms("default", "priority")},
        ),
        row(
            "fast, in one country, batch, with searches",
            {
                **CHAT,
                "anthropic.response.service_tier": "batch",
                "anthropic.usage.speed": "fast",
                "anthropic.usage.inference_geo": "us",
                "anthropic.usage.server_tool_use.web_search_requests": 3,
            },
            {"terms": Terms("batch", None, "fast", "us"), "searches": 3},
        ),
        row("a cost", {**CHAT, "operation.cost": 0.25}, {"said_usd": Decimal("0.25")}),
        *(
            row(
                f"a cost in parts: {said}",
                {**CHAT, "langfuse.observation.cost_details": said},
                {"said_usd": usd},
            )
            for said, usd in (
                ('{"input": 0.3, "output": 0.2}', Decimal("0.5")),
                ('{"input": 0.3, "output": null}', Decimal("0.3")),
                ('{"input": 0.3, "output": 0.2, "total": 0.75}', Decimal("0.75")),
                ("{}", None),
                ('{"input": "0.3 dollars"}', None),
            )
        ),
        row("a cost of JSON", {**CHAT, "mlflow.llm.cost": '{"total": 1.5}'}, USD_1_5),
        row("a cost as text", {**CHAT, "gen_ai.usage.cost": "1.5"}, USD_1_5),
        row(
            "a cost in dollars",
            {
                **CHAT,
                "gen_ai.usage.cost.amount": 1.5,
                "gen_ai.usage.cost.currency": "USD",
            },
            USD_1_5,
        ),
        row(
            "a cost in another currency",
            {
                **CHAT,
                "gen_ai.usage.cost.amount": 1.5,
                "gen_ai.usage.cost.currency": "EUR",
            },
            {"said_usd": None, "said_currency": "EUR"},
        ),
        row(
            "a diagnosis",
            {
                **CHAT,
                "causepath.cache.diagnosis": "tools_changed",
                "causepath.cache.missed_tokens": 9,
            },
            {"cache_diagnosis": "tools_changed", "cache_missed": 9},
        ),
        *(
            row(f"no cost: {said!r}", {**CHAT, "operation.cost": said}, {"said_usd": None})
            for said in ("", "free", "NaN", -1, 0, True, "{", '{"total": null}', "{}", [1])
        ),
        row(
            "nobody says",
            {"gen_ai.operation.name": "chat"},
            {
                "model": None,
                "provider": None,
                "tokens": None,
                "ttft_ns": None,
                "streamed": None,
            },
        ),
    ],
)
def test_model_calls(
    attributes: dict[str, object], span: dict[str, Any], expected: dict[str, object]
) -> None:
    found = read(attributes, **span)
    assert found.category == "llm"
    assert found.model_call is not None
    assert {name: getattr(found.model_call, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("counts", "tokens"),
    [
        pytest.param({"total": 120}, Tokens(100, 20, 60), id="in and out are the total"),
        pytest.param({"total": 180}, Tokens(160, 20, 60), id="the cache is beside them"),
        pytest.param({"read": 160}, Tokens(260, 20, 160), id="more cache than input"),
        pytest.param({}, Tokens(100, 20, 60), id="else the table"),
    ],
)
def test_whether_the_input_includes_the_cache(counts: dict[str, int], tokens: Tokens) -> None:
    told = {**CHAT, "gen_ai.usage.cache_read.input_tokens": counts.get("read", 60)}
    if "total" in counts:
        told["gen_ai.usage.total_tokens"] = counts["total"]
    call = read(told).model_call
    assert call is not None
    assert call.tokens == tokens


# -- tools


@pytest.mark.parametrize(
    ("attributes", "span", "name", "call_id", "arguments", "result"),
    [
        pytest.param(
            {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": "search",
                "gen_ai.tool.call.id": "t1",
                "gen_ai.tool.call.arguments": '{"q": "a"}',
                "gen_ai.tool.call.result": "found",
            },
            {},
            "search",
            "t1",
            '{"q":"a"}',
            "found",
            id="otel",
        ),
        pytest.param(
            {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": "search",
                "anthropic.tool_result.content": "found",
            },
            {"scope": "com.anthropic.sdk.python"},
            "search",
            None,
            None,
            "found",
            id="anthropic sdk",
        ),
        pytest.param(
            {"mcp.method.name": "tools/call"},
            {"name": "tools/call search", "kind": "client"},
            "search",
            None,
            None,
            None,
            id="mcp",
        ),
        pytest.param(
            {
                "openinference.span.kind": "TOOL",
                "tool.name": "search",
                "tool_call.id": "t1",
                "input.value": '{"input": {"q": "a"}}',
                "output.value": "found",
            },
            {},
            "search",
            "t1",
            '{"q":"a"}',
            "found",
            id="openinference",
        ),
        pytest.param(
            {
                "traceloop.span.kind": "tool",
                "traceloop.entity.name": "search",
                "traceloop.entity.input": '{"inputs": {"q": "a"}, "tags": [], "kwargs": {}}',
                "traceloop.entity.output": '{"output": "found", "kwargs": {"tags": []}}',
            },
            {},
            "search",
            None,
            '{"q":"a"}',
            "found",
            id="traceloop, unwrapped",
        ),
        pytest.param(
            {
                "ai.operationId": "ai.toolCall",
                "ai.toolCall.name": "search",
                "ai.toolCall.id": "t1",
                "ai.toolCall.args": '{ "q":"a" }',
                "ai.toolCall.result": '{"rows": 3}',
            },
            {},
            "search",
            "t1",
            '{"q":"a"}',
            '{"rows":3}',
            id="vercel",
        ),
        pytest.param(
            {
                "langsmith.span.kind": "tool",
                "gen_ai.tool.name": "search",
                "gen_ai.prompt": '{"input": "a"}',
                "gen_ai.completion": '{"output": "found"}',
            },
            {},
            "search",
            None,
            "a",
            "found",
            id="langsmith, unwrapped",
        ),
        pytest.param(
            {
                "langfuse.observation.type": "tool",
                "langfuse.observation.input": '{"q":"a"}',
                "langfuse.observation.output": "found",
            },
            {"name": "search"},
            "search",
            None,
            '{"q":"a"}',
            "found",
            id="langfuse: the span's name",
        ),
        pytest.param(
            {
                "gen_ai.tool.name": "search",
                "gen_ai.tool.call.id": "t1",
                "tool_arguments": '{"q":"a"}',
                "tool_response": "found",
            },
            {"name": "running tool"},
            "search",
            "t1",
            '{"q":"a"}',
            "found",
            id="pydantic ai",
        ),
        pytest.param(
            {"mcp.method.name": "tools/call", "jsonrpc.request.id": "2"},
            {"name": "MCP send tools/call search", "kind": 3},
            "search",
            None,
            None,
            None,
            id="the client of the MCP SDK",
        ),
        pytest.param(
            {
                "mlflow.spanType": '"TOOL"',
                "mlflow.spanInputs": '{"q": "a"}',
                "mlflow.spanOutputs": '"found"',
            },
            {"name": "search"},
            "search",
            None,
            '{"q":"a"}',
            "found",
            id="mlflow",
        ),
        pytest.param(
            {
                "span.type": "tool",
                "gen_ai.tool.name": "Read",
                "gen_ai.tool.call.id": "t1",
                "tool_input": "<REDACTED>",
            },
            {"name": "claude_code.tool"},
            "Read",
            "t1",
            None,
            None,
            id="claude code, redacted",
        ),
        pytest.param(
            {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": "search",
                "gcp.vertex.agent.tool_call_args": '{"q":"a"}',
                "gcp.vertex.agent.tool_response": '{"result": "found"}',
            },
            {},
            "search",
            None,
            '{"q":"a"}',
            "found",
            id="google adk",
        ),
        pytest.param(
            {
                "agentops.span.kind": "tool",
                "tool.name": "search",
                "tool.id": "t1",
                "tool.parameters": '{"q":"a"}',
                "tool.result": "found",
            },
            {},
            "search",
            "t1",
            '{"q":"a"}',
            "found",
            id="agentops",
        ),
        pytest.param(
            {
                "openinference.span.kind": "TOOL",
                "tool.name": "search",
                "tool.parameters": '{"q": {"type": "string"}}',
                "input.value": (
                    '{"args": [], "kwargs": {"q": "a"}, "sanitize_inputs_outputs": true}'
                ),
                "output.value": "found",
            },
            {},
            "search",
            None,
            '{"q":"a"}',
            "found",
            id="openinference, with the schema of the arguments",
        ),
        pytest.param(
            {
                "haystack.tool.name": "search",
                "haystack.tool.call.id": "t1",
                "haystack.agent.step.tool.input": '{"q":"a"}',
                "haystack.agent.step.tool.output": "found",
            },
            {"name": "haystack.agent.step.tool"},
            "search",
            "t1",
            '{"q":"a"}',
            "found",
            id="haystack",
        ),
        pytest.param(
            {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": "search",
                "gen_ai.tool.args": '{"q":"a"}',
                "gen_ai.tool.output": "found",
            },
            {"sdk": "openlit"},
            "search",
            None,
            '{"q":"a"}',
            "found",
            id="openlit",
        ),
    ],
)
def test_tools(
    attributes: dict[str, object],
    span: dict[str, Any],
    name: str,
    call_id: str | None,
    arguments: str | None,
    result: str | None,
) -> None:
    found = read(attributes, **span)
    tool = found.tool_call
    assert found.category == "tool"
    assert tool is not None
    assert (tool.name, tool.call_id) == (name, call_id)
    assert (tool.arguments and tool.arguments.text) == arguments
    assert (tool.result and tool.result.text) == result


EACH = "retrieval.documents.{}.document.{}"
LANGCHAIN = '{"documents":[{"page_content":"b"}]}'


@pytest.mark.parametrize(
    ("attributes", "query", "documents"),
    [
        pytest.param(
            {
                "openinference.span.kind": "RETRIEVER",
                "input.value": "a?",
                EACH.format(0, "content"): "b",
                EACH.format(0, "metadata"): '{"url":"u"}',
                EACH.format(1, "content"): "c",
            },
            "a?",
            r'["b","{\"url\":\"u\"}","c"]',
            id="openinference",
        ),
        pytest.param(
            {
                "openinference.span.kind": "RETRIEVER",
                "input.value": "a?",
                "output.value": LANGCHAIN,
            },
            "a?",
            LANGCHAIN,
            id="openinference of langchain",
        ),
        pytest.param(
            {
                "gen_ai.operation.name": "retrieval",
                "gen_ai.retrieval.query.text": "a?",
                "gen_ai.retrieval.documents": '[{"id":"d1","score":0.5}]',
            },
            "a?",
            '[{"id":"d1","score":0.5}]',
            id="OpenTelemetry",
        ),
        pytest.param(
            {"langfuse.observation.type": "retriever", "langfuse.observation.input": '"a?"'},
            "a?",
            None,
            id="no documents",
        ),
        pytest.param(
            {
                "openinference.span.kind": "RETRIEVER",
                "input.value": "a?",
                **{EACH.format(n, "content"): "b" for n in range(40)},
            },
            "a?",
            None,
            id="more documents than are read",
        ),
        pytest.param({"openinference.span.kind": "RETRIEVER"}, None, None, id="nothing"),
        pytest.param(
            {"openinference.span.kind": "RERANKER", "input.value": "a?", "output.value": "[1]"},
            None,
            None,
            id="given documents, which are not in its query",
        ),
        pytest.param(
            {"openinference.span.kind": "CHAIN", "input.value": "a?", "output.value": "b"},
            None,
            None,
            id="no retrieval",
        ),
    ],
)
def test_retrievals(
    attributes: dict[str, object], query: str | None, documents: str | None
) -> None:
    told = read(attributes).retrieval or Retrieval()
    texts = [one.text if one is not None else None for one in (told.query, told.documents)]
    assert texts == [query, documents]


def test_of_long_content_only_a_digest_is_kept() -> None:
    one, other = (
        read(
            {"openinference.span.kind": "TOOL", "output.value": "x" * 5_000, "input.value": end}
        ).tool_call
        for end in ("a", "b")
    )
    assert one is not None
    assert other is not None
    assert one.result is not None
    assert (one.result.size, one.result.text) == (5_000, None)
    assert one.result == other.result
    assert one.arguments != other.arguments


# -- who, and what went wrong


@pytest.mark.parametrize(
    ("attributes", "session", "user"),
    [
        ({"gen_ai.conversation.id": "c", "session.id": "s", "user.id": "u"}, "c", "u"),
        ({"anthropic.session.id": "s", "enduser.id": "u"}, "s", "u"),
        ({"traceloop.association.properties.session_id": "s", "gen_ai.user": "u"}, "s", "u"),
        ({"ai.telemetry.metadata.sessionId": "s", "ai.telemetry.metadata.userId": "u"}, "s", "u"),
        ({"langsmith.metadata.thread_id": "s", "langsmith.metadata.user_id": "u"}, "s", "u"),
        ({"mlflow.trace.session": "s", "mlflow.trace.user": "u"}, "s", "u"),
        ({"gcp.vertex.agent.session_id": "s", "llm.user": "u"}, "s", "u"),
        ({"session.id": "s", "litellm.end_user.id": "u"}, "s", "u"),
        ({"gen_ai.request.user": "u"}, None, "u"),
        # The project, and the id of the reply before: neither is a conversation.
        ({"langsmith.trace.session_id": "project"}, None, None),
        ({"gen_ai.conversation.id": "resp_1"}, None, None),
    ],
)
def test_session_and_user(
    attributes: dict[str, object], session: str | None, user: str | None
) -> None:
    found = read({"gen_ai.operation.name": "chat", **attributes})
    assert (found.session, found.user) == (session, user)


@pytest.mark.parametrize(
    ("attributes", "failed", "error"),
    [
        ({"error.type": "overloaded_error"}, True, "overloaded_error"),
        ({}, True, "error"),
        ({}, False, None),
        ({"error": "no such file"}, False, "no such file"),
        ({"success": "false"}, False, "error"),
        ({"success": True}, False, None),
        (
            {"langfuse.observation.level": "ERROR", "langfuse.observation.status_message": "boom"},
            False,
            "boom",
        ),
        ({"litellm.provider.error.code": "429"}, True, "429"),
        ({"haystack.tool.error": "boom"}, True, "boom"),
    ],
)
def test_errors(attributes: dict[str, object], failed: bool, error: str | None) -> None:
    assert read({"gen_ai.operation.name": "chat", **attributes}, failed=failed).error == error


# -- what a span is


@pytest.mark.parametrize(
    ("name", "attributes", "category"),
    [
        ("x", {"openinference.span.kind": "reranker"}, "retrieval"),
        ("x", {"openinference.span.kind": "GUARDRAIL"}, "guardrail"),
        ("x", {"langsmith.span.kind": "prompt", "gen_ai.operation.name": "chat"}, "other"),
        (
            "x",
            {"langsmith.span.kind": "retriever", "gen_ai.operation.name": "embeddings"},
            "retrieval",
        ),
        ("x", {"ai.operationId": "ai.generateText"}, "agent"),
        ("x", {"ai.operationId": "ai.embed.doEmbed"}, "embedding"),
        ("x", {"agentops.span.kind": "session"}, "chain"),
        ("x", {"mlflow.spanType": '"RERANKER"'}, "retrieval"),
        ("x", {"gen_ai.operation.name": "plan"}, "chain"),
        ("x", {"gen_ai.operation.name": "search_memory"}, "retrieval"),
        ("x", {"gen_ai.operation.name": "fetch_response"}, "other"),
        ("x", {"mcp.method.name": "tools/list"}, "other"),
        ("claude_code.interaction", {"span.type": "interaction"}, "agent"),
        ("claude_code.hook", {"span.type": "hook"}, "other"),
        ("agent run", {}, "agent"),
        ("agent_run [planner]", {}, "agent"),
        ("invocation", {}, "chain"),
        ("create_cache", {}, "cache"),
        ("memory.search", {}, "retrieval"),
        ("haystack.pipeline.run", {}, "chain"),
        ("workflow.run", {}, "chain"),
        ("AutoFunctionInvocationLoop", {}, "chain"),
        # What a model call said was written onto the agent's own span.
        ("invoke_agent x", {"openinference.span.kind": "LLM"}, "agent"),
        ("x", {"genkit:type": "action", "genkit:metadata:subtype": "tool"}, "tool"),
        ("x", {"genkit:type": "flow"}, "chain"),
        (
            "x",
            {"gen_ai.operation.name": "model_generation", "mastra.span.type": "model_generation"},
            "chain",
        ),
        ("x", {"gen_ai.operation.name": "chat", "mastra.span.type": "model_generation"}, "llm"),
        ("haystack.component.run", {"haystack.component.type": "BM25Retriever"}, "retrieval"),
        ("haystack.component.run", {"haystack.component.type": "TextEmbedder"}, "embedding"),
        ("haystack.component.run", {"haystack.component.type": "PromptBuilder"}, "chain"),
        ("LLM._prepare_chat_with_tools", {"openinference.span.kind": "LLM"}, "chain"),
        ("execute_tool (merged)", {"gen_ai.tool.name": "(merged tools)"}, "other"),
        ("raw_gen_ai_request", {}, "llm"),
        # A person is asked.
        ("claude_code.tool.blocked_on_user", {"span.type": "tool.blocked_on_user"}, "human"),
        ("permission", {}, "human"),
        ("human_input", {}, "human"),
        ("wait_for_approval", {}, "human"),
        ("execute_tool AskUserQuestion", {"gen_ai.operation.name": "execute_tool"}, "human"),
        ("x", {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "ask_human"}, "human"),
        ("auth.permission.check", {}, "other"),
        # Nothing is done but waiting.
        ("queue.get", {}, "wait"),
        ("agent.dequeue", {}, "wait"),
        ("poll", {}, "wait"),
        ("orders receive", {"messaging.operation.type": "receive"}, "wait"),
        ("orders process", {"messaging.operation.type": "process"}, "other"),
        ("orders", {"messaging.operation": ["receive"]}, "other"),
        ("BLPOP", {"db.system": "redis", "db.operation.name": "BLPOP"}, "wait"),
        ("GET", {"db.system": "redis", "db.operation.name": "GET"}, "database"),
        ("await_tools", {}, "other"),
        ("backoff", {}, "retry"),
    ],
)
def test_categories(name: str, attributes: dict[str, object], category: Category) -> None:
    assert read(attributes, name).category == category


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        *(
            (name, "human")
            for name in (
                "wait_for_approval", "request_approval", "get_human_feedback", "human_input",
                "requestConfirmation", "ask_for_clarification", "wait_for_user", "HumanApproval",
                "get_user_confirmation", "confirm_with_user", "ask_user_for_permission",
                "request-human-review", "await_human_response", "ask_human_tool",
            )
        ),
        *(
            (name, "tool")
            for name in (
                "get_approval_status", "list_approvals", "send_approval_request", "approve_order",
                "get_user_permissions", "get_user_feedback", "get_human_resources", "confirm_order",
                "search_human_feedback", "human_readable_size", "request_refund", "wait_for_page",
                "check_permission", "send_confirmation", "get_human_feedback_stats",
            )
        ),
    ],
)  # fmt: skip
def test_a_tool_whose_name_says_that_a_person_is_asked(tool: str, expected: str) -> None:
    attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool}
    assert read(attributes, f"execute_tool {tool}").category == expected


@pytest.mark.parametrize(
    ("name", "category", "called"),
    [
        ("Agent run: {name!r}", "agent", "Agent run: planner"),
        ("Function: {name}", "tool", "Function: planner"),
        ("Guardrail {name!r} {triggered=}", "guardrail", "Guardrail planner {triggered=}"),
        ("Responses API with {gen_ai.request.model!r}", "llm", "Responses API with m"),
        ("Task: Agent workflow", "chain", "Task: Agent workflow"),
        ("Handoff: {from_agent} → {to_agent}", "chain", "Handoff: {from_agent} → {to_agent}"),
    ],
)
def test_logfire_names_spans_by_templates(name: str, category: Category, called: str) -> None:
    span = read(
        {"name": "planner", "gen_ai.request.model": "m"}, name, scope="logfire.openai_agents"
    )
    assert (span.category, span.name) == (category, called)
    assert span.tool_call is None or span.tool_call.name == "planner"


def test_a_pending_record_stands_for_a_span_only_until_that_comes() -> None:
    def record(span_id: str, parent: str, end_ns: int | None, **attributes: object) -> Span:
        emitted = normalise.Emitted(
            "f" * 32, span_id, parent, "chat m", "internal", START, end_ns, False
        )
        told = {key.replace("__", "."): value for key, value in attributes.items()}
        return normalise.span(emitted, told, normalise.resource({}), "logfire")

    pending = record(
        "c" * 16,
        "a" * 16,
        START,
        logfire__span_type="pending_span",
        logfire__pending_parent_id="0" * 16,
    )
    final = record("a" * 16, "", START + S, logfire__span_type="span")
    both, alone = build([pending, final]), build([pending])
    assert (len(both.spans), both.wall_ns, both.health.duplicates) == (1, S, 1)
    assert (alone.spans[0].span_id, alone.health.unfinished) == ("a" * 16, 1)


SEARCH = '{"name":"search","input_schema":{"type":"object"}}'
MAIL = '{"type":"function","function":{"name":"mail"}}'
DEFERRED = '{"name":"rare","defer_loading":true}'
BOTH = (Declared("search", 50), Declared("mail", 46))


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"gen_ai.tool.definitions": f"[{SEARCH}, {MAIL}]"}, BOTH),
        ({"gen_ai.tool.definitions": f"[{SEARCH}, {DEFERRED}]"}, BOTH[:1]),
        ({"ai.prompt.tools": (SEARCH, MAIL)}, BOTH),
        (
            {"llm.tools.0.tool.json_schema": SEARCH, "llm.tools.1.tool.json_schema": MAIL},
            BOTH,
        ),
        ({"causepath.tools.declared": ("search",)}, (Declared("search"),)),
        # Our plugin leaves out what is deferred.
        (
            {"causepath.tools.declared": ("mail",), "gen_ai.tool.definitions": f"[{SEARCH}]"},
            (Declared("mail"),),
        ),
        (
            {"gen_ai.tool.definitions": '[{"functionDeclarations":[{"name":"a"},{"name":"b"}]}]'},
            (Declared("a", 12), Declared("b", 12)),
        ),
        ({"gen_ai.tool.definitions": '[{"type":"web_search"}]'}, (Declared("web_search", 21),)),
        ({"gen_ai.tool.definitions": f"[{SEARCH[:20]}"}, None),  # cut off
        ({"gen_ai.tool.definitions": "<REDACTED>"}, None),
        ({"gen_ai.tool.definitions": '[{"input_schema":{}}]'}, None),
        ({"gen_ai.tool.definitions": "[7]"}, None),
        ({"gen_ai.tool.definitions": "[" * 100_000}, None),
        ({"gen_ai.tool.definitions": "[]"}, ()),
        ({"causepath.tools.declared": 7}, None),
        ({}, None),
    ],
)
def test_tools_that_a_request_declares(
    attributes: dict[str, object], expected: tuple[Declared, ...] | None
) -> None:
    call = read({"gen_ai.operation.name": "chat", **attributes}).model_call
    assert call is not None
    assert call.declared == expected


def test_nothing_is_made_up() -> None:
    found = read({"gen_ai.operation.name": "chat"})
    assert found.model_call == ModelCall()
