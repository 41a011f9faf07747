"""What a span is: agent, model call, tool, ... in the words of every convention."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from causepath_analyzer import attributes as names
from causepath_analyzer.model import Category, SpanKind

_OPERATIONS: Final[Mapping[str, Category]] = {
    "chat": "llm",
    "generate_content": "llm",
    "text_completion": "llm",
    "text_completions": "llm",
    "completion": "llm",
    "response": "llm",
    "call_llm": "llm",
    "embeddings": "embedding",
    "retrieval": "retrieval",
    "search_memory": "retrieval",
    "vectordb": "retrieval",
    "execute_tool": "tool",
    "invoke_agent": "agent",
    "create_agent": "agent",
    "invoke_workflow": "chain",
    "plan": "chain",
    "execute_task": "chain",
    "execute_method": "chain",
    "execute_event_loop_cycle": "chain",
}

_CATEGORIES: Final[Mapping[str, Category]] = {
    "agent": "agent",
    "chain": "chain",
    "llm": "llm",
    "tool": "tool",
    "retrieval": "retrieval",
    "embedding": "embedding",
    "cache": "cache",
    "database": "database",
    "network": "network",
    "guardrail": "guardrail",
    "human": "human",
    "wait": "wait",
    "retry": "retry",
    "other": "other",
}

_TABLES: Final[tuple[tuple[str, Mapping[str, Category]], ...]] = (
    (names.CATEGORY, _CATEGORIES),
    (
        "openinference.span.kind",
        {
            "llm": "llm",
            "decision": "llm",
            "tool": "tool",
            "agent": "agent",
            "chain": "chain",
            "retriever": "retrieval",
            "reranker": "retrieval",
            "embedding": "embedding",
            "guardrail": "guardrail",
        },
    ),
    (
        "langsmith.span.kind",
        {
            "llm": "llm",
            "tool": "tool",
            "chain": "chain",
            "retriever": "retrieval",
            "embedding": "embedding",
            "prompt": "other",
            "parser": "other",
        },
    ),
    (
        "mlflow.spanType",
        {
            "llm": "llm",
            "chat_model": "llm",
            "tool": "tool",
            "agent": "agent",
            "chain": "chain",
            "workflow": "chain",
            "task": "chain",
            "retriever": "retrieval",
            "reranker": "retrieval",
            "embedding": "embedding",
            "guardrail": "guardrail",
        },
    ),
    (
        "ai.operationId",
        {
            "ai.generatetext": "agent",
            "ai.streamtext": "agent",
            "ai.generateobject": "agent",
            "ai.streamobject": "agent",
            "ai.generatetext.dogenerate": "llm",
            "ai.streamtext.dostream": "llm",
            "ai.generateobject.dogenerate": "llm",
            "ai.streamobject.dostream": "llm",
            "ai.toolcall": "tool",
            "ai.embed": "chain",
            "ai.embedmany": "chain",
            "ai.embed.doembed": "embedding",
            "ai.embedmany.doembed": "embedding",
            "ai.rerank": "chain",
            "ai.rerank.dorerank": "retrieval",
        },
    ),
    (
        "traceloop.span.kind",
        {"workflow": "chain", "task": "chain", "agent": "agent", "tool": "tool"},
    ),
    ("agentops.span.kind", {"agent": "agent", "tool": "tool", "llm": "llm", "chain": "chain"}),
    (names.OPERATION, _OPERATIONS),
    (
        "llm.request.type",
        {"chat": "llm", "completion": "llm", "embedding": "embedding", "rerank": "retrieval"},
    ),
    ("ioa_observe.span.kind", {"workflow": "chain", "agent": "agent", "tool": "tool"}),
    ("mcp.method.name", {"tools/call": "tool"}),
)
"""Who says what a span is. Values are compared in lower case; the first row that knows wins."""

_TOOL_NAMES: Final = ("gen_ai.tool.name", "ai.toolCall.name")
"""Only tool spans carry these; emitters without an operation (Koog) say no more."""

_LANGFUSE: Final = "langfuse.observation.type"
_LANGFUSE_TYPES: Final[Mapping[str, Category]] = {
    "generation": "llm",
    "embedding": "embedding",
    "agent": "agent",
    "tool": "tool",
    "chain": "chain",
    "span": "chain",
    "retriever": "retrieval",
    "guardrail": "guardrail",
}
"""Asked late, because Langfuse calls everything a span or a generation that it knows no better."""

_CLAUDE_CODE_TYPES: Final[Mapping[str, Category]] = {
    "interaction": "agent",
    "llm_request": "llm",
    "tool": "tool",
    "subagent.spawn": "agent",
    "tool.blocked_on_user": "human",
    "compaction": "chain",
}

_WAIT_NAME: Final = re.compile(
    r"(?:^|[._ :/-])(?:dequeue|queue[._]get|poll|long[._]poll|sleep|wait)(?:$|[._ :/-])"
)
"""Names of spans that do nothing but wait for somebody else's work."""


def of(name: str, kind: SpanKind, attributes: Mapping[str, object], scope: str) -> Category:
    """The category of the span `name`, from its attributes and the scope that emitted it."""
    for attribute, table in _TABLES:
        value = attributes.get(attribute)
        if isinstance(value, str):
            # MLflow writes every value as JSON text: '"LLM"'.
            found = table.get(value.strip('"').lower())
            if found is not None:
                return found
    if name.startswith(names.CLAUDE_CODE):
        said = attributes.get(names.CLAUDE_CODE_TYPE)
        return _CLAUDE_CODE_TYPES.get(said, "other") if isinstance(said, str) else "other"
    if any(key in attributes for key in _TOOL_NAMES):
        return "tool"
    observation = attributes.get(_LANGFUSE)
    if isinstance(observation, str) and observation.lower() in _LANGFUSE_TYPES:
        return _LANGFUSE_TYPES[observation.lower()]
    if any(key in attributes for key in names.DATABASE):
        return "database"
    if scope.startswith(names.ANTHROPIC_SDK_SCOPE):
        return "other"  # an API method that is not a model call: count_tokens, files, ...
    if kind == "client" and any(key in attributes for key in names.OUTGOING):
        return "network"
    return of_name(name)


@lru_cache(maxsize=4096)
def of_name(name: str) -> Category:
    """The last resort: what a span is called, where nothing else says what it is."""
    return "wait" if _WAIT_NAME.search(name) else "other"
