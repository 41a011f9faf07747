"""The attribute names the analyzer understands, as tables: meaning first, then who calls it what.

In every tuple the first name that is present wins. `read/meaning/normalise.py` alone reads
these tables; readers decode no attribute whose name is not in `UNDERSTOOD`.
"""

from collections.abc import Mapping
from typing import Final

# Our own plugin.
CATEGORY: Final = "causepath.category"
TURN: Final = "causepath.turn"
COPY_SCOPE: Final = "causepath.copy"
"""The scope of copies that `causepath export` makes to be looked at, which nobody wants to read."""
LINK: Final = "causepath.link"
LINK_TYPE: Final = "gen_ai.attribution.link_type"
LINK_TYPES: Final[Mapping[str, str]] = {
    "CAUSED_BY_GENERATION": "tool_call",
    "INFORMED_BY": "content",
}
"""How a draft of the GenAI conventions says why a link is there."""
LINKS: Final = frozenset((LINK, LINK_TYPE))
RUN_INFERRED: Final = "causepath.run.inferred"
RUN_OUTCOME: Final = "causepath.run.outcome"
UNFINISHED: Final = "causepath.unfinished"
BUDGET_EXCEEDED: Final = "causepath.budget.exceeded"
TOOL_INFERRED: Final = "causepath.tool.inferred"
TOOL_AMBIGUOUS: Final = "causepath.tool.ambiguous"
USAGE_PARTIAL: Final = "causepath.usage.partial"
TOOL_READ_ONLY: Final = "causepath.tool.read_only"

# Resources.
SERVICE_NAME: Final = "service.name"
PROGRAM: Final = "causepath.program.id"
HOST: Final = ("host.id", "host.name", "host.ip", "ip", "hostname")
"""What tells two clocks apart, most precise first; the last two are Jaeger's process tags."""
SDK_NAME: Final = "telemetry.sdk.name"

CAUSEPATH: Final = "causepath"
"""The scope of our plugin's spans."""
ANTHROPIC_SDK_SCOPE: Final = "com.anthropic.sdk."
LOGFIRE: Final = "logfire"
"""Names its spans by templates, as ``Function: {name}``."""
LOGFIRE_AGENTS: Final = "logfire.openai_agents"
FILLED: Final[Mapping[str, str]] = {
    "name": "name",
    "gen_ai.request.model": "gen_ai.request.model",
    "request_data[model]": "gen_ai.request.model",
}
"""Parts of such templates, and the attribute to put in; the others differ from call to call."""
CLAUDE_CODE: Final = "claude_code."

OPERATION: Final = "gen_ai.operation.name"
SPAN_KINDS: Final = (
    CATEGORY,
    "openinference.span.kind",
    "langsmith.span.kind",
    "langfuse.observation.type",
    "mlflow.spanType",
    "ai.operationId",
    "agentops.span.kind",
    OPERATION,
    "mastra.span.type",
    "traceloop.span.kind",
    "llm.request.type",
    "genkit:metadata:subtype",
    "genkit:type",
    "ioa_observe.span.kind",
    "lmnr.span.type",
    "spring.ai.kind",
    "_ml_obs.meta.span.kind",
    "span_type",
    "span.type",
    "mcp.method.name",
)
"""Who says what a span is, most trustworthy first; `read/meaning/categories.py` knows values."""
CLAUDE_CODE_TYPE: Final = "span.type"

SCOPE: Final = ("otel.scope.name", "otel.library.name")
SCOPE_VERSION: Final = ("otel.scope.version", "otel.library.version")
STATUS_CODE: Final = "otel.status_code"
"""How OpenTelemetry tells formats of others who emitted a span, and whether it failed."""

HAYSTACK_COMPONENT: Final = "haystack.component.run"
COMPONENT_TYPE: Final = "haystack.component.type"
COMPONENT_NAME: Final = "haystack.component.name"
"""All of Haystack's components have spans of one name: what they are is told by their class."""

DATABASE: Final = ("db.system.name", "db.system", "db.type")
"""The last is OpenTracing's, whose spans name a kind of database (``sql``) or a product."""
DATABASE_QUERY: Final = (
    "db.statement",
    "db.query.text",
    "db.instance",
    "sql.query",
    "redis.raw_command",
    "mongodb.query",
    "mongo.query",
    "cassandra.query",
    "elasticsearch.statement",
    "memcached.command",
    "jdbc.query[0]",
)
"""What only a call of a database has, from emitters that do not name the system."""
PEER: Final = ("peer.service", "component")
"""Whom a call went to, or what made it, in OpenTracing's words."""
OUTGOING: Final = (
    "http.request.method",
    "http.method",
    "http.url",
    "url.full",
    "rpc.system",
    "rpc.system.name",
    "messaging.system",
    "message_bus.destination",
    "peer.hostname",
    "peer.address",
    "grpc.method",
    "grpc.path",
)

MODEL: Final = (
    "gen_ai.response.model",
    "llm.response.model_name",
    "ai.response.model",
    "gen_ai.request.model",
    "llm.model_name",
    "llm.request.model_name",
    "ai.model.id",
    "embedding.model_name",
    "reranker.model_name",
    "decision.model_name",
    "langfuse.observation.model.name",
    "mlflow.llm.model",
    "langsmith.metadata.ls_model_name",
    "litellm.provider.model",
    "gen_ai.model",
    "gen_ai.model.name",
    "gen_ai.model_name",
    "gen_ai.model.id",
    "llm.response.model",
    "llm.request.model",
    "llm.model",
    "llm.model.name",
    "lmnr.model",
    "ai.model",
    "ai.model.name",
    "ai.model_name",
    "openai.response.model",
    "openai.request.model",
    "openai.model",
    "anthropic.response.model",
    "anthropic.request.model",
    "anthropic.model",
    "bedrock.request.model_id",
    "aws.bedrock.model_id",
    "_ml_obs.model_name",
    "_ml_obs.meta.model_name",
    "model_name",
    "model.name",
    "model_id",
    "modelId",
    "model.id",
    "modelName",
    "llm_model",
    "model",
    "genkit:name",
)
PROVIDER: Final = (
    "gen_ai.provider.name",
    "gen_ai.system",
    "llm.provider",
    "llm.system",
    "ai.model.provider",
    "mlflow.llm.provider",
    "langsmith.metadata.ls_provider",
    "decision.provider",
    "lmnr.provider",
    "ai.provider",
    "_ml_obs.model_provider",
    "_ml_obs.meta.model_provider",
    "model_provider",
    "model.provider",
    "llm_provider",
    "provider",
)
AUDIO_INPUT_TOKENS: Final = (
    "gen_ai.usage.audio.input_tokens",
    "gen_ai.usage.input_audio_tokens",
    "llm.token_count.prompt_details.audio",
)
AUDIO_OUTPUT_TOKENS: Final = (
    "gen_ai.usage.audio.output_tokens",
    "gen_ai.usage.output_audio_tokens",
    "llm.token_count.completion_details.audio",
)
SERVED_AT: Final = ("server.address", "gen_ai.openai.api_base", "llm.openai.api_base")
"""The host that a call went to, or an address with it."""
HOSTS: Final[Mapping[str, str]] = {
    "openrouter.ai": "openrouter",
    "together.xyz": "together",
    "together.ai": "together",
    "cerebras.ai": "cerebras",
    "groq.com": "groq",
    "fireworks.ai": "fireworks",
    "deepseek.com": "deepseek",
    "x.ai": "x_ai",
    "mistral.ai": "mistral_ai",
    "z.ai": "zai",
    "bigmodel.cn": "zhipuai",
    "minimax.io": "minimax",
    "minimaxi.com": "minimax",
    "moonshot.ai": "moonshot_ai",
    "moonshot.cn": "moonshot_ai",
    "perplexity.ai": "perplexity",
    "novita.ai": "novita",
    "cohere.ai": "cohere",
    "cohere.com": "cohere",
    "baseten.co": "baseten",
    "cloudflare.com": "cloudflare",
    "databricks.com": "databricks",
    "azuredatabricks.net": "databricks",
    "cloud.ovh.net": "ovhcloud",
    "openai.azure.com": "azure.ai.openai",
    "cognitiveservices.azure.com": "azure.ai.openai",
    "services.ai.azure.com": "azure.ai.inference",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "aiplatform.googleapis.com": "gcp.vertex_ai",
    "amazonaws.com": "aws.bedrock",
}
"""Domains -> the provider that is reached below them."""
PROVIDERS: Final[Mapping[str, str]] = {
    "google": "gcp.gemini",
    "gemini": "gcp.gemini",
    "bedrock": "aws.bedrock",
    "amazon-bedrock": "aws.bedrock",
    "amazon_bedrock": "aws.bedrock",
    "aws_bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "aws": "aws.bedrock",
    "vertex_ai": "gcp.vertex_ai",
    "vertexai": "gcp.vertex_ai",
    "google.vertex": "gcp.vertex_ai",
    "mistralai": "mistral_ai",
    "mistral": "mistral_ai",
    "xai": "x_ai",
    "az.ai.openai": "azure.ai.openai",
    "az.ai.inference": "azure.ai.inference",
    "azure": "azure.ai.openai",
    "azure-openai": "azure.ai.openai",
    "moonshotai": "moonshot_ai",
}
"""Spellings in use, in lower case -> the value of the current convention. Vercel adds the API
after a dot (``anthropic.messages``)."""
PROVIDERS_WITH_APIS: Final = frozenset(
    ("anthropic", "openai", "azure-openai", "google", "mistral", "groq", "xai", "cohere")
)
THINK_BESIDE: Final = ("gemini", "grok")
THINKING_PROVIDERS: Final = frozenset(("gcp.gemini", "gcp.gen_ai", "gcp.vertex_ai", "x_ai"))
"""Models, and where these are not named providers, that count what was thought beside the output:
everywhere else it is a part of it."""
FRAMEWORKS: Final = frozenset(("strands-agents", "strands_agents", "microsoft.agent_framework"))
"""These name themselves as the provider; who made the model is told from its name."""
MODEL_FAMILIES: Final = (
    ("claude", "anthropic"),
    ("gpt-", "openai"),
    ("o1", "openai"),
    ("o3", "openai"),
    ("o4", "openai"),
    ("gemini", "gcp.gemini"),
    ("mistral", "mistral_ai"),
    ("command", "cohere"),
    ("deepseek", "deepseek"),
    ("grok", "x_ai"),
)


def _spelled(*sides: str) -> tuple[str, ...]:
    """Lists how counts of tokens are called by emitters that follow no convention."""
    found = []
    for side in sides:
        found += [
            f"{owner}{form}"
            for owner in ("gen_ai.", "llm.", "ai.", "openai.", "anthropic.", "_ml_obs.metrics.", "")
            for form in (
                f"usage.{side}_tokens",
                f"usage.{side}",
                f"usage.{side}Tokens",
                f"response.usage.{side}_tokens",
                f"response.{side}_tokens",
                f"tokens.{side}",
                f"tokens_{side}",
                f"token_count.{side}",
                f"token_usage.{side}_tokens",
                f"token_usage.{side}",
                f"{side}_token_count",
                f"{side}_tokens",
                f"{side}Tokens",
            )
            # The bare names of Claude Code are told below.
            if f"{owner}{form}" not in _TOLD_ELSEWHERE
        ]
    return tuple(found)


_TOLD_ELSEWHERE: Final = frozenset(
    (
        "input_tokens",
        "output_tokens",
        "total_tokens",
        *(
            f"{owner}.usage.{side}_tokens"
            for owner, side in (
                ("gen_ai", "input"),
                ("gen_ai", "prompt"),
                ("gen_ai", "output"),
                ("gen_ai", "completion"),
                ("gen_ai", "total"),
                ("llm", "prompt"),
                ("llm", "completion"),
                ("llm", "total"),
            )
        ),
        *(
            f"ai.usage.{side}Tokens"
            for side in ("input", "prompt", "output", "completion", "total")
        ),
        *(f"llm.token_count.{side}" for side in ("prompt", "completion", "total")),
    )
)

INPUT_TOKENS: Final = (
    "gen_ai.usage.input_tokens",
    "llm.token_count.prompt",
    "ai.usage.inputTokens",
    "gen_ai.usage.prompt_tokens",
    "ai.usage.promptTokens",
    "llm.usage.prompt_tokens",
    "ai.usage.tokens",
    *_spelled("input", "prompt"),
    "tokens_in",
    "tokens.in",
    "input.tokens",
    "prompt.tokens",
    "gen_ai.aggregated_usage.input_tokens",
)
"""``ai.usage.tokens`` is of embeddings, which have no output."""
OUTPUT_TOKENS: Final = (
    "gen_ai.usage.output_tokens",
    "llm.token_count.completion",
    "ai.usage.outputTokens",
    "gen_ai.usage.completion_tokens",
    "ai.usage.completionTokens",
    "llm.usage.completion_tokens",
    *_spelled("output", "completion"),
    "tokens_out",
    "tokens.out",
    "output.tokens",
    "completion.tokens",
    "gen_ai.aggregated_usage.output_tokens",
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
    "gen_ai.usage.details.cache_read_input_tokens",
    "llm.usage.cache_read_input_tokens",
    "gen_ai.aggregated_usage.cache_read.input_tokens",
    "anthropic.response.usage.cache_read_input_tokens",
    "usage.cache_read_input_tokens",
    "cache_read_input_tokens",
    "cache_read_tokens",
    "cached_tokens",
)
CACHE_WRITE_TOKENS: Final = (
    "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.cache_creation_input_tokens",
    "gen_ai.usage.cache_write_input_tokens",
    "llm.token_count.prompt_details.cache_write",
    "ai.usage.inputTokenDetails.cacheWriteTokens",
    "gen_ai.usage.details.cache_write_tokens",
    "gen_ai.usage.details.cache_creation_input_tokens",
    "llm.usage.cache_creation_input_tokens",
    "gen_ai.aggregated_usage.cache_creation.input_tokens",
    "anthropic.response.usage.cache_creation_input_tokens",
    "usage.cache_creation_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation_tokens",
    "cache_write_tokens",
)
CACHE_WRITE_5M_TOKENS: Final = ("anthropic.usage.cache_creation.ephemeral_5m_input_tokens",)
CACHE_WRITE_1H_TOKENS: Final = ("anthropic.usage.cache_creation.ephemeral_1h_input_tokens",)
REASONING_TOKENS: Final = (
    "gen_ai.usage.reasoning.output_tokens",
    "gen_ai.usage.reasoning_tokens",
    "llm.token_count.completion_details.reasoning",
    "ai.usage.outputTokenDetails.reasoningTokens",
    "ai.usage.reasoningTokens",
    "llm.usage.reasoning_tokens",
    "gen_ai.usage.details.reasoning_tokens",
    "gen_ai.aggregated_usage.details.reasoning_tokens",
    "usage.reasoning_tokens",
    "reasoning_tokens",
)
SERVICE_TIER: Final = (
    "openai.response.service_tier",
    "anthropic.response.service_tier",
    "gen_ai.openai.response.service_tier",
    "gen_ai.response.service_tier",
    "gen_ai.usage.service_tier",
    "anthropic.usage.service_tier",
    "llm.response.service_tier",
)
ASKED_TIER: Final = (
    "openai.request.service_tier",
    "anthropic.request.service_tier",
    "gen_ai.openai.request.service_tier",
    "gen_ai.request.service_tier",
    "llm.request.service_tier",
    "service_tier",
)
"""The tier that was asked for need not be the one that served."""
SPEED: Final = (
    "anthropic.usage.speed",
    "anthropic.response.speed",
    "gen_ai.usage.speed",
)
GEOGRAPHY: Final = (
    "anthropic.usage.inference_geo",
    "anthropic.response.inference_geo",
    "gen_ai.usage.inference_geo",
)
WEB_SEARCHES: Final = (
    "anthropic.usage.server_tool_use.web_search_requests",
    "gen_ai.usage.server_tool_use.web_search_requests",
    "gen_ai.usage.details.web_search_requests",
    "gen_ai.usage.web_search_requests",
)
CACHE_DIAGNOSIS: Final = ("causepath.cache.diagnosis",)
CACHE_MISSED: Final = ("causepath.cache.missed_tokens",)
SAID_COST: Final = (
    "gen_ai.usage.cost.amount",
    "gen_ai.cost.total_cost",
    "gen_ai.usage.total_cost",
    "gen_ai.usage.cost",
    "llm.cost.total",
    "operation.cost",
    "litellm.cost.total",
    "litellm.response_cost",
    "langfuse.observation.cost_details",
    "mlflow.llm.cost",
)
"""Vendors' names but the first; the last two are JSON text with a ``total``."""
SAID_CURRENCY: Final = ("gen_ai.usage.cost.currency",)
TOTAL_TOKENS: Final = (
    "gen_ai.usage.total_tokens",
    "llm.usage.total_tokens",
    "llm.token_count.total",
    "ai.usage.totalTokens",
    *_spelled("total"),
    "total_tokens",
)
USAGE_DETAILS: Final = (
    "langfuse.observation.usage_details",
    "mlflow.chat.tokenUsage",
    "mlflow.trace.tokenUsage",
)
"""JSON text with counts. The parts are left out of Langfuse's "input", which is the first."""
USAGE_RAW: Final = (
    "gen_ai.usage.raw",
    "gen_ai.usage",
    "llm.usage",
    "ai.usage",
    "openai.usage",
    "response.usage",
    "llm.token_usage",
    "token_usage",
    "tokenUsage",
    "usage",
)
"""JSON text of what the provider said itself, or the framework in its words (Logfire)."""
REPLIES: Final = ("haystack.component.output", "genkit:output")
"""JSON text of what came out, of a model call a reply with what it used somewhere inside."""
INPUT_DETAILS: Final = ("gen_ai.usage.input_token_details",)
OUTPUT_DETAILS: Final = ("gen_ai.usage.output_token_details",)
"""JSON text with parts of the counts beside it (LangSmith)."""

SECOND: Final = 1_000_000_000
MILLISECOND: Final = 1_000_000
TIME_TO_FIRST_TOKEN: Final = (
    ("gen_ai.response.time_to_first_chunk", SECOND),
    ("ai.response.msToFirstChunk", MILLISECOND),
    ("ai.stream.msToFirstChunk", MILLISECOND),
    ("ttft_ms", MILLISECOND),
    ("first_content_ms", MILLISECOND),
    ("gen_ai.streaming.time_to_first_token", SECOND),
)
"""Name and the nanoseconds of its unit; always counted from the start of the span."""
TIME_UNITS: Final = dict(TIME_TO_FIRST_TOKEN)
SERVER_TIME_TO_FIRST_TOKEN: Final = "gen_ai.server.time_to_first_token"
"""Seconds, except from Strands, which names itself as the provider and counts milliseconds."""
STRANDS: Final = "strands-agents"
COMPLETION_START: Final = "langfuse.observation.completion_start_time"
"""When the first token came, as ISO text in JSON text."""
FIRST_TOKEN_NS: Final = "causepath.reader.first_token_ns"
"""When an event of the span says that the first token came, in ns: put there by readers."""
FIRST_TOKEN_EVENTS: Final = frozenset(
    ("First Token Stream Event", "ai.stream.firstChunk", "mlflow.chunk.item.0")
)

FINISH_REASONS: Final = (
    "gen_ai.response.finish_reasons",
    "anthropic.message.stop_reason",
    "gen_ai.response.finish_reason",
    "llm.finish_reason",
    "llm.response.finish_reason",
    "ai.response.finishReason",
    "gen_ai.response.stop_reason",
    "llm.response.stop_reason",
    "gen_ai.completion.0.finish_reason",
    "stop_reason",
)
FINISH: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "STOP": "stop",
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
    "gen_ai.request.is_stream",
)
INVOCATION_PARAMETERS: Final = ("llm.invocation_parameters", "request_data")
"""JSON text of what was asked for; "stream" in it says whether the answer was streamed."""
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
MOST_INDEXED: Final = 16
ISSUED: Final = tuple(
    f"{prefix}.{n}.{suffix}"
    for prefix, suffix in (
        ("llm.output_messages.0.message.tool_calls", "tool_call.id"),
        ("gen_ai.completion.0.tool_calls", "id"),
    )
    for n in range(MOST_INDEXED)
)
"""Ids of the tool calls in a reply, where each has an attribute of its own."""
ISSUED_LISTS: Final = (OUTPUT_MESSAGES, "ai.response.toolCalls", "response_data")
"""JSON text of the reply or of its tool calls."""
TOOLS_DECLARED: Final = "causepath.tools.declared"
TOOL_DEFINITIONS: Final = "gen_ai.tool.definitions"
DECLARED: Final = (TOOLS_DECLARED, TOOL_DEFINITIONS, "ai.prompt.tools")
"""The tools that a request declares: their names, JSON text of all, and such a text for each."""
DECLARED_EACH: Final = tuple(f"llm.tools.{n}.tool.json_schema" for n in range(64))
"""The same, where each has an attribute of its own."""
RESPONSE_ID: Final = ("gen_ai.response.id", "ai.response.id", "llm.response.id", "response_id")

TOOL_NAME: Final = (
    "gen_ai.tool.name",
    "tool.name",
    "ai.toolCall.name",
    "tool_name",
    "haystack.tool.name",
    "spring.ai.tool.definition.name",
    "traceloop.entity.name",
    COMPONENT_NAME,
    "name",
)
TOOL_CALL_ID: Final = (
    "gen_ai.tool.call.id",
    "tool_call.id",
    "tool.id",
    "ai.toolCall.id",
    "message.tool_call_id",
    "haystack.tool.call.id",
    "tool_use_id",
)
CONTENT_IN: Final = (
    "gen_ai.tool.call.arguments",
    "ai.toolCall.args",
    "tool_arguments",
    "tool_input",
    "gcp.vertex.agent.tool_call_args",
    "gen_ai.tool.args",
    "gen_ai.tool.input",
    "haystack.agent.step.tool.input",
    "gen_ai.input.messages",
    "ai.prompt.messages",
    "gcp.vertex.agent.llm_request",
    "traceloop.entity.input",
    "agentops.entity.input",
    "mlflow.spanInputs",
    "langfuse.observation.input",
    "gen_ai.prompt",
    "input.value",
    "genkit:input",
    "input",
    "tool.parameters",
)
"""What went in: the arguments of a tool, the messages of a model call. ``tool.parameters`` is last:
OpenInference writes the arguments there, or the schema of all arguments, the same in every call."""
CONTENT_OUT: Final = (
    "gen_ai.tool.call.result",
    "anthropic.tool_result.content",
    "ai.toolCall.result",
    "tool.result",
    "tool_response",
    "gcp.vertex.agent.tool_response",
    "gen_ai.tool.result",
    "gen_ai.tool.output",
    "haystack.agent.step.tool.output",
    "traceloop.entity.output",
    "agentops.entity.output",
    "mlflow.spanOutputs",
    "langfuse.observation.output",
    "gen_ai.completion",
    "output.value",
    *REPLIES,
    "output",
)
"""What came out of a tool."""
QUERY: Final = ("gen_ai.retrieval.query.text",)
"""What a retrieval looks for, where it has an attribute of its own."""
DOCUMENTS: Final = ("gen_ai.retrieval.documents",)
DOCUMENTS_EACH: Final = tuple(
    f"retrieval.documents.{n}.document.{part}"
    for n in range(33)
    for part in ("content", "id", "metadata")
)
"""What is told of each document that was found; of the last only that there are more than can be
looked at."""
INPUT_BLOCKS: Final = "causepath.input.blocks"
INPUT_KEPT: Final = "causepath.input.kept"
INPUT_PREVIOUS: Final = "causepath.input.previous"
INPUT_OMITTED: Final = "causepath.input.omitted"
OUTPUT_BLOCKS: Final = "causepath.output.blocks"
"""Each block as ``role:kind:digest:size``; of the input only what is new since ``previous``,
and of that not all if it is much."""
FIRST_MESSAGES: Final = tuple(
    tuple(
        name.format(n)
        for name in (
            "llm.input_messages.{}.message.content",
            "llm.input_messages.{}.message.contents.0.message_content.text",
            "gen_ai.prompt.{}.content",
        )
    )
    for n in range(3)
)
"""The first three messages of a request, where each has an attribute of its own."""
FIRST_OUTPUT: Final = (
    "llm.output_messages.0.message.content",
    "llm.output_messages.0.message.contents.0.message_content.text",
    "gen_ai.completion.0.content",
)
FIRST_ROLE: Final = ("llm.input_messages.0.message.role", "gen_ai.prompt.0.role")

SESSION: Final = (
    "gen_ai.conversation.id",
    "session.id",
    "anthropic.session.id",
    "langsmith.metadata.session_id",
    "langsmith.metadata.thread_id",
    "langsmith.metadata.conversation_id",
    "traceloop.association.properties.session_id",
    "ai.telemetry.metadata.sessionId",
    "gcp.vertex.agent.session_id",
    "mlflow.trace.session",
    "gen_ai.agent.session_id",
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
    "litellm.end_user.id",
    "user.account_uuid",
)
ERROR_TYPE: Final = "error.type"
ERROR: Final = "error"
"""A flag in Jaeger and Zipkin, a message in Claude Code."""
EXCEPTION: Final = "exception"
EXCEPTION_TYPE: Final = "exception.type"
"""An event of a span that failed, and its attribute with the name of a class."""
ERROR_MESSAGES: Final = (
    EXCEPTION_TYPE,
    "litellm.provider.error.code",
    "haystack.tool.error",
    "langfuse.observation.status_message",
)
"""What went wrong, on spans that say in another way that something did."""
ERROR_LEVEL: Final = "langfuse.observation.level"
SUCCESS: Final = "success"

PENDING: Final = "logfire.span_type"
"""``pending_span`` marks the record of a start, sent before the span has ended."""
PENDING_PARENT: Final = "logfire.pending_parent_id"

LOG_DURATION: Final = "duration"
"""Seconds, on a Logfire log record, that what it tells of took until then."""

WAITS: Final = ("messaging.operation.type", "messaging.operation", "messaging.operation.name")
DATABASE_OPERATION: Final = ("db.operation.name", "db.operation", "redis.command")

CODE_FILE: Final = ("code.file.path", "code.filepath")
CODE_LINE: Final = ("code.line.number", "code.lineno")
CODE_FUNCTION: Final = ("code.function.name", "code.function")

PREVIOUS_RESPONSE: Final = "gen_ai.request.previous.response.id"
"""The response whose conversation, which the provider keeps, a request goes on with."""

CODE_STACK: Final = "causepath.code.stack"
CODE_LOOP: Final = "causepath.code.loop"
CODE_LOOP_KIND: Final = "causepath.code.loop.kind"
CODE_APART: Final = "causepath.code.apart"
CODE_KEPT: Final = "causepath.code.kept"
FLOW: Final = "causepath.flow"
TOOL_PLACES: Final = "causepath.tool.places"
TOOL_OUTCOME: Final = "causepath.tool.outcome"

STREAM_LAST_EVENT_MS: Final = "causepath.stream.last_event_ms"
STREAM_HELD_MS: Final = "causepath.stream.held_ms"
STREAM_EVENTS: Final = "causepath.stream.events"
STREAM_FIRST_EVENT_MS: Final = "causepath.stream.first_event_ms"
STREAM_LONGEST_GAP_MS: Final = "causepath.stream.longest_gap_ms"
CONNECTION_WAIT_MS: Final = "causepath.connection.wait_ms"
CONNECTION_NEW: Final = "causepath.connection.new"

_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "model": MODEL,
    "provider": PROVIDER,
    "served_at": SERVED_AT,
    "input": INPUT_TOKENS,
    "output": OUTPUT_TOKENS,
    "exclusive_input": (EXCLUSIVE_INPUT_TOKENS,),
    "exclusive_output": (EXCLUSIVE_OUTPUT_TOKENS,),
    "cache_read": CACHE_READ_TOKENS,
    "cache_write": CACHE_WRITE_TOKENS,
    "cache_write_5m": CACHE_WRITE_5M_TOKENS,
    "cache_write_1h": CACHE_WRITE_1H_TOKENS,
    "reasoning": REASONING_TOKENS,
    "total": TOTAL_TOKENS,
    "audio_in": AUDIO_INPUT_TOKENS,
    "audio_out": AUDIO_OUTPUT_TOKENS,
    "tier": SERVICE_TIER,
    "asked_tier": ASKED_TIER,
    "speed": SPEED,
    "geography": GEOGRAPHY,
    "searches": WEB_SEARCHES,
    "cache_diagnosis": CACHE_DIAGNOSIS,
    "cache_missed": CACHE_MISSED,
    "said_cost": SAID_COST,
    "said_currency": SAID_CURRENCY,
    "usage_details": USAGE_DETAILS,
    "usage_raw": USAGE_RAW,
    "input_details": INPUT_DETAILS,
    "output_details": OUTPUT_DETAILS,
    "server_ttft": (SERVER_TIME_TO_FIRST_TOKEN,),
    "completion_start": (COMPLETION_START,),
    "first_token_ns": (FIRST_TOKEN_NS,),
    "stream_last": (STREAM_LAST_EVENT_MS,),
    "stream_held": (STREAM_HELD_MS,),
    "stream_events": (STREAM_EVENTS,),
    "stream_first": (STREAM_FIRST_EVENT_MS,),
    "stream_gap": (STREAM_LONGEST_GAP_MS,),
    "connection_wait": (CONNECTION_WAIT_MS,),
    "connection_new": (CONNECTION_NEW,),
    "finish": FINISH_REASONS,
    "streamed": STREAMED,
    "invocation": INVOCATION_PARAMETERS,
    "issued": ISSUED_LISTS,
    "declared": DECLARED,
    "response_id": RESPONSE_ID,
    "tool_name": TOOL_NAME,
    "call_id": TOOL_CALL_ID,
    "in": CONTENT_IN,
    "out": CONTENT_OUT,
    "query": QUERY,
    "documents": DOCUMENTS,
    "blocks": (INPUT_BLOCKS,),
    "blocks_kept": (INPUT_KEPT,),
    "blocks_previous": (INPUT_PREVIOUS,),
    "blocks_omitted": (INPUT_OMITTED,),
    "blocks_out": (OUTPUT_BLOCKS,),
    "first_role": FIRST_ROLE,
    "first_message": FIRST_MESSAGES[0],
    "second_message": FIRST_MESSAGES[1],
    "third_message": FIRST_MESSAGES[2],
    "first_output": FIRST_OUTPUT,
    "session": SESSION,
    "previous_response": (PREVIOUS_RESPONSE,),
    "user": USER,
    "error_type": (ERROR_TYPE,),
    "error": (ERROR,),
    "error_message": ERROR_MESSAGES,
    "error_level": (ERROR_LEVEL,),
    "success": (SUCCESS,),
    "pending": (PENDING,),
    "pending_parent": (PENDING_PARENT,),
    "log_duration": (LOG_DURATION,),
    "file": CODE_FILE,
    "line": CODE_LINE,
    "function": CODE_FUNCTION,
    "stack": (CODE_STACK,),
    "loop": (CODE_LOOP,),
    "loop_kind": (CODE_LOOP_KIND,),
    "apart": (CODE_APART,),
    "kept": (CODE_KEPT,),
    "flow": (FLOW,),
    "places": (TOOL_PLACES,),
    "outcome": (TOOL_OUTCOME,),
    "turn": (TURN,),
    "partial": (USAGE_PARTIAL,),
    "inferred": (TOOL_INFERRED,),
    "run_inferred": (RUN_INFERRED,),
    "run_outcome": (RUN_OUTCOME,),
    "unfinished": (UNFINISHED,),
    "exceeded": (BUDGET_EXCEEDED,),
    "ambiguous": (TOOL_AMBIGUOUS,),
    "read_only": (TOOL_READ_ONLY,),
}
FIELDS: Final[Mapping[str, tuple[str, int]]] = {
    name: (field, rank) for field, ranked in _FIELDS.items() for rank, name in enumerate(ranked)
}
"""What an attribute says, and how far down its table it stands: the smaller number wins."""

CONTENT: Final = frozenset(
    (
        *CONTENT_IN,
        *CONTENT_OUT,
        *QUERY,
        *DOCUMENTS,
        *DOCUMENTS_EACH,
        *ISSUED_LISTS,
        TOOL_DEFINITIONS,
    )
)
"""Attributes that may be very long."""

UNDERSTOOD: Final = frozenset(
    (
        *FIELDS,
        *ISSUED,
        *DECLARED_EACH,
        *DOCUMENTS_EACH,
        *SPAN_KINDS,
        *(name for name, _ in TIME_TO_FIRST_TOKEN),
        COMPONENT_TYPE,
        *DATABASE,
        *DATABASE_QUERY,
        *PEER,
        *DATABASE_OPERATION,
        *OUTGOING,
        *WAITS,
    )
)
"""Every attribute of a span that is worth decoding."""
