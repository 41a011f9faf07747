"""What kind of work a span is, from its own attributes: `causepath.category` of every span."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

OPERATIONS = {
    "chat": "llm",
    "generate_content": "llm",
    "text_completion": "llm",
    "text_completions": "llm",
    "completion": "llm",
    "response": "llm",
    "call_llm": "llm",
    "model_request": "llm",
    "image": "llm",
    "audio": "llm",
    "embeddings": "embedding",
    "execute_tool": "tool",
    "invoke_agent": "agent",
    "create_agent": "agent",
    "invoke_workflow": "agent",
    "plan": "agent",
    "execute_task": "agent",
    "execute_method": "agent",
    "execute_event_loop_cycle": "agent",
    "user_prompt_processing": "agent",
    "tool_coordination": "agent",
    "retrieval": "retrieval",
    "search_memory": "retrieval",
    "vectordb": "retrieval",
    "vector_db_retrieve": "retrieval",
    "create_memory": "database",
    "update_memory": "database",
    "upsert_memory": "database",
    "delete_memory": "database",
    "create_memory_store": "database",
    "delete_memory_store": "database",
}
"""By `gen_ai.operation.name`."""

KINDS = {
    "llm": "llm",
    "generation": "llm",
    "chat_model": "llm",
    "tool": "tool",
    "agent": "agent",
    "workflow": "agent",
    "chain": "agent",
    "task": "agent",
    "retriever": "retrieval",
    "reranker": "retrieval",
    "embedding": "embedding",
    "guardrail": "guardrail",
}
"""By the words that other instrumentations have for the kind of a span."""

KIND_ATTRIBUTES = (
    "openinference.span.kind",
    "traceloop.span.kind",
    "langfuse.observation.type",
    "langsmith.span.kind",
)

REQUEST_TYPES = {
    "chat": "llm",
    "completion": "llm",
    "embedding": "embedding",
    "rerank": "retrieval",
}
"""By `llm.request.type`."""

VECTOR_STORES = frozenset(
    {"pinecone", "qdrant", "chroma", "chromadb", "weaviate", "milvus", "lancedb", "marqo"}
)

CLAUDE_CODE = "claude_code."
CLAUDE_CODE_TYPES = {
    "interaction": "agent",
    "llm_request": "llm",
    "tool": "tool",
    "subagent.spawn": "agent",
    "tool.blocked_on_user": "human",
    "permission": "human",
    "compaction": "agent",
}
"""By `span.type`, or by the name after the prefix, of spans that the CLI of Claude Code writes."""

BLOCKING = frozenset({"BLPOP", "BRPOP", "BLMOVE", "BRPOPLPUSH", "BZPOPMIN", "BZPOPMAX"})
"""Commands of Redis that wait until there is something in a list."""

STEP = re.compile(r"(Retriever|Embedding|Tool)\.(?:task|workflow)$")
STEPS = {"Retriever": "retrieval", "Embedding": "embedding", "Tool": "tool"}
"""OpenLLMetry says of LlamaIndex no more than the class that works."""


def category(attributes: Mapping[str, object], *, name: str, client: bool) -> str | None:
    """The category that a span's attributes tell, or `None` where they tell nothing yet.

    `name` is the span's own, asked where the attributes tell of a kind of work with exceptions.
    `client` is whether the span's kind is CLIENT: a server's span of an HTTP request is not time
    spent on the network.
    """
    if (found := OPERATIONS.get(_word(attributes, "gen_ai.operation.name"))) is not None:
        return found
    for attribute in KIND_ATTRIBUTES:
        if (found := KINDS.get(_word(attributes, attribute))) is not None:
            step = STEP.search(name) if attribute == "traceloop.span.kind" else None
            return found if step is None else STEPS[step[1]]
    if (found := REQUEST_TYPES.get(_word(attributes, "llm.request.type"))) is not None:
        return found
    if _word(attributes, "mcp.method.name") == "tools/call":
        return "tool"
    if name.startswith(CLAUDE_CODE):
        said = _word(attributes, "span.type") or name.removeprefix(CLAUDE_CODE)
        return CLAUDE_CODE_TYPES.get(said)
    system = _word(attributes, "db.system.name") or _word(attributes, "db.system")
    if system:
        if system in VECTOR_STORES:
            return "retrieval"
        command = _word(attributes, "db.operation.name") or _word(attributes, "db.operation")
        return "wait" if (command or name).upper() in BLOCKING else "database"
    if client and any(
        attribute in attributes
        for attribute in (
            "http.request.method",
            "http.method",
            "url.full",
            "rpc.system",
            "rpc.system.name",
            "messaging.system",
            "mcp.method.name",
        )
    ):
        return "network"
    return None


def _word(attributes: Mapping[str, object], name: str) -> str:
    value = attributes.get(name)
    return value.lower() if isinstance(value, str) else ""
