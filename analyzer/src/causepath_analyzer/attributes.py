"""The attribute names the analyzer understands, as tables: meaning first, then who calls it what.

In every tuple the first name that is present wins. `read/normalise.py` is the only reader of
these tables; readers decode no attribute whose name is not in `UNDERSTOOD`.
"""

from collections.abc import Mapping
from typing import Final

# Our own plugin.
CATEGORY: Final = "causepath.category"
TURN: Final = "causepath.turn"
LINK: Final = "causepath.link"
TOOL_INFERRED: Final = "causepath.tool.inferred"
TOOL_READ_ONLY: Final = "causepath.tool.read_only"

# Resources.
SERVICE_NAME: Final = "service.name"
HOST: Final = ("host.id", "host.name", "host.ip", "ip", "hostname")
"""What tells two clocks apart, most precise first; the last two are Jaeger's process tags."""
SDK_NAME: Final = "telemetry.sdk.name"

ANTHROPIC_SDK_SCOPE: Final = "com.anthropic.sdk."
CLAUDE_CODE: Final = "claude_code."

OPERATION: Final = "gen_ai.operation.name"
SPAN_KINDS: Final = (
    CATEGORY,
    "openinference.span.kind",
    "langsmith.span.kind",
    "langfuse.observation.type",
    "mlflow.spanType",
    "ai.operationId",
    "traceloop.span.kind",
    "agentops.span.kind",
    OPERATION,
    "llm.request.type",
    "ioa_observe.span.kind",
    "mcp.method.name",
)
"""Who says what a span is, most trustworthy first; `read/categories.py` knows the values."""
CLAUDE_CODE_TYPE: Final = "span.type"

DATABASE: Final = ("db.system.name", "db.system")
OUTGOING: Final = ("http.request.method", "http.method", "http.url", "url.full", "rpc.system")

MODEL: Final = (
    "gen_ai.response.model",
    "llm.response.model_name",
    "ai.response.model",
    "gen_ai.request.model",
    "llm.model_name",
    "llm.request.model_name",
    "ai.model.id",
    "embedding.model_name",
    "langfuse.observation.model.name",
    "mlflow.llm.model",
    "langsmith.metadata.ls_model_name",
    "model",
)
PROVIDER: Final = (
    "gen_ai.provider.name",
    "gen_ai.system",
    "llm.provider",
    "llm.system",
    "ai.model.provider",
    "mlflow.llm.provider",
    "langsmith.metadata.ls_provider",
)
PROVIDERS: Final[Mapping[str, str]] = {
    "google": "gcp.gemini",
    "bedrock": "aws.bedrock",
    "vertex_ai": "gcp.vertex_ai",
    "mistralai": "mistral_ai",
    "xai": "x_ai",
    "az.ai.openai": "azure.ai.openai",
    "az.ai.inference": "azure.ai.inference",
}
"""Spellings in use -> the value of the current convention."""

INPUT_TOKENS: Final = (
    "gen_ai.usage.input_tokens",
    "llm.token_count.prompt",
    "ai.usage.inputTokens",
    "gen_ai.usage.prompt_tokens",
    "ai.usage.promptTokens",
)
OUTPUT_TOKENS: Final = (
    "gen_ai.usage.output_tokens",
    "llm.token_count.completion",
    "ai.usage.outputTokens",
    "gen_ai.usage.completion_tokens",
    "ai.usage.completionTokens",
)
EXCLUSIVE_INPUT_TOKENS: Final = "input_tokens"
"""Claude Code's bare names count the input without what came from or went into the cache."""
EXCLUSIVE_OUTPUT_TOKENS: Final = "output_tokens"
CACHE_READ_TOKENS: Final = (
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_read_input_tokens",
    "llm.token_count.prompt_details.cache_read",
    "llm.token_count.prompt_details.cache_input",
    "ai.usage.inputTokenDetails.cacheReadTokens",
    "ai.usage.cachedInputTokens",
    "gen_ai.usage.details.cache_read_tokens",
    "cache_read_tokens",
)
CACHE_WRITE_TOKENS: Final = (
    "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.cache_creation_input_tokens",
    "gen_ai.usage.cache_write_input_tokens",
    "llm.token_count.prompt_details.cache_write",
    "ai.usage.inputTokenDetails.cacheWriteTokens",
    "gen_ai.usage.details.cache_write_tokens",
    "cache_creation_tokens",
)
CACHE_WRITE_1H_TOKENS: Final = ("anthropic.usage.cache_creation.ephemeral_1h_input_tokens",)
REASONING_TOKENS: Final = (
    "gen_ai.usage.reasoning.output_tokens",
    "gen_ai.usage.reasoning_tokens",
    "llm.token_count.completion_details.reasoning",
    "ai.usage.outputTokenDetails.reasoningTokens",
    "ai.usage.reasoningTokens",
    "llm.usage.reasoning_tokens",
    "gen_ai.usage.details.reasoning_tokens",
)
TOTAL_TOKENS: Final = (
    "gen_ai.usage.total_tokens",
    "llm.usage.total_tokens",
    "llm.token_count.total",
    "ai.usage.totalTokens",
)

SECOND: Final = 1_000_000_000
MILLISECOND: Final = 1_000_000
TIME_TO_FIRST_TOKEN: Final = (
    ("gen_ai.response.time_to_first_chunk", SECOND),
    ("ai.response.msToFirstChunk", MILLISECOND),
    ("ttft_ms", MILLISECOND),
    ("first_content_ms", MILLISECOND),
)
"""Name and the nanoseconds of its unit; always counted from the start of the span."""
SERVER_TIME_TO_FIRST_TOKEN: Final = "gen_ai.server.time_to_first_token"
"""Seconds, except from Strands, which names itself as the provider and counts milliseconds."""
STRANDS: Final = "strands-agents"

FINISH_REASONS: Final = (
    "gen_ai.response.finish_reasons",
    "anthropic.message.stop_reason",
    "gen_ai.response.finish_reason",
    "llm.finish_reason",
    "llm.response.finish_reason",
    "ai.response.finishReason",
    "gen_ai.response.stop_reason",
    "stop_reason",
)
FINISH: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_call",
    "tool_calls": "tool_call",
    "tool-calls": "tool_call",
    "function_call": "tool_call",
    "max_tokens": "length",
    "MAX_TOKENS": "length",
    "content-filter": "content_filter",
}
"""Spellings in use -> the value of the current convention; others stay as they are."""

STREAMED: Final = (
    "gen_ai.request.stream",
    "gen_ai.is_streaming",
    "llm.is_streaming",
    "langsmith.request.streaming",
    "litellm.request.streaming",
    "gen_ai.request.streaming",
)
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"

TOOL_NAME: Final = (
    "gen_ai.tool.name",
    "tool.name",
    "ai.toolCall.name",
    "tool_name",
    "traceloop.entity.name",
)
TOOL_CALL_ID: Final = (
    "gen_ai.tool.call.id",
    "tool_call.id",
    "tool.id",
    "ai.toolCall.id",
    "message.tool_call_id",
)

SESSION: Final = (
    "gen_ai.conversation.id",
    "session.id",
    "anthropic.session.id",
    "langsmith.metadata.session_id",
    "langsmith.metadata.thread_id",
    "traceloop.association.properties.session_id",
    "ai.telemetry.metadata.sessionId",
    "gcp.vertex.agent.session_id",
    "mlflow.trace.session",
)
USER: Final = (
    "user.id",
    "enduser.id",
    "gen_ai.user",
    "llm.user",
    "gen_ai.request.user",
    "ai.telemetry.metadata.userId",
    "traceloop.association.properties.user_id",
    "langsmith.metadata.user_id",
    "mlflow.trace.user",
)
ERROR_TYPE: Final = "error.type"
ERROR: Final = "error"
"""A message; Jaeger and Zipkin also mark a failed span with it."""

CODE_FILE: Final = ("code.file.path", "code.filepath")
CODE_LINE: Final = ("code.line.number", "code.lineno")
CODE_FUNCTION: Final = ("code.function.name", "code.function")

UNDERSTOOD: Final = frozenset(
    (
        TURN,
        TOOL_INFERRED,
        TOOL_READ_ONLY,
        CLAUDE_CODE_TYPE,
        EXCLUSIVE_INPUT_TOKENS,
        EXCLUSIVE_OUTPUT_TOKENS,
        SERVER_TIME_TO_FIRST_TOKEN,
        OUTPUT_MESSAGES,
        ERROR_TYPE,
        ERROR,
        *SPAN_KINDS,
        *(name for name, _ in TIME_TO_FIRST_TOKEN),
        *DATABASE,
        *OUTGOING,
        *MODEL,
        *PROVIDER,
        *INPUT_TOKENS,
        *OUTPUT_TOKENS,
        *CACHE_READ_TOKENS,
        *CACHE_WRITE_TOKENS,
        *CACHE_WRITE_1H_TOKENS,
        *REASONING_TOKENS,
        *TOTAL_TOKENS,
        *FINISH_REASONS,
        *STREAMED,
        *TOOL_NAME,
        *TOOL_CALL_ID,
        *SESSION,
        *USER,
        *CODE_FILE,
        *CODE_LINE,
        *CODE_FUNCTION,
    )
)
"""Every attribute of a span that is worth decoding."""
