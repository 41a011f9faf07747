"""What kind of work a span is, from its own attributes: `causepath.category` of every span."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

OPERATIONS = {
    "chat": "llm",
    "generate_content": "llm",
    "text_completion": "llm",
    "embeddings": "embedding",
    "execute_tool": "tool",
    "invoke_agent": "agent",
    "create_agent": "agent",
    "invoke_workflow": "agent",
    "plan": "agent",
    "retrieval": "retrieval",
    "search_memory": "retrieval",
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


def category(attributes: Mapping[str, object], *, client: bool) -> str | None:
    """The category that a span's attributes tell, or `None` where they tell nothing yet.

    `client` is whether the span's kind is CLIENT: a server's span of an HTTP request is not time
    spent on the network.
    """
    if (found := OPERATIONS.get(_word(attributes, "gen_ai.operation.name"))) is not None:
        return found
    for name in KIND_ATTRIBUTES:
        if (found := KINDS.get(_word(attributes, name))) is not None:
            return found
    if (found := REQUEST_TYPES.get(_word(attributes, "llm.request.type"))) is not None:
        return found
    if _word(attributes, "mcp.method.name") == "tools/call":
        return "tool"
    system = _word(attributes, "db.system.name") or _word(attributes, "db.system")
    if system:
        return "retrieval" if system in VECTOR_STORES else "database"
    if client and any(
        name in attributes
        for name in (
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
