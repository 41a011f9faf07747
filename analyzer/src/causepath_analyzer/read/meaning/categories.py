"""What a span is: agent, model call, tool, ... in the words of every convention."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from causepath_analyzer import attributes as names
from causepath_analyzer.model import CATEGORIES, Category, SpanKind

_OPERATIONS: Final[Mapping[str, Category]] = {
    "chat": "llm",
    "generate_content": "llm",
    "text_completion": "llm",
    "text_completions": "llm",
    "completion": "llm",
    "response": "llm",
    "call_llm": "llm",
    "llm_call": "llm",  # Gemini CLI's
    "tool_call": "tool",
    "agent_call": "agent",
    "user_prompt": "agent",
    "schedule_tool_calls": "chain",
    "embeddings": "embedding",
    "retrieval": "retrieval",
    "search_memory": "retrieval",
    "vectordb": "retrieval",
    "vector_db_retrieve": "retrieval",
    "execute_tool": "tool",
    "invoke_agent": "agent",
    "create_agent": "agent",
    "invoke_workflow": "chain",
    "plan": "chain",
    "execute_task": "chain",
    "execute_method": "chain",
    "execute_event_loop_cycle": "chain",
    "create_memory": "database",
    "update_memory": "database",
    "upsert_memory": "database",
    "delete_memory": "database",
    "create_memory_store": "database",
    "delete_memory_store": "database",
    "image": "llm",
    "audio": "llm",
    "model_request": "llm",
    "user_prompt_processing": "chain",
    "tool_coordination": "chain",
}

_CATEGORIES: Final[Mapping[str, Category]] = {category: category for category in CATEGORIES}

_KINDS_OF_ANYBODY: Final[Mapping[str, Category]] = {
    "llm": "llm",
    "generation": "llm",
    "chat_model": "llm",
    "tool": "tool",
    "agent": "agent",
    "chain": "chain",
    "workflow": "chain",
    "task": "chain",
    "retrieval": "retrieval",
    "retriever": "retrieval",
    "embedding": "embedding",
    "guardrail": "guardrail",
    "sql": "database",
    "db": "database",
}
"""What is written where no convention says what may be."""
_MONOCLE: Final[Mapping[str, Category]] = {
    "inference": "llm",
    "inference.framework": "llm",
    "inference.modelapi": "llm",
    "agentic.turn": "agent",
    "agentic.request": "agent",
    "agentic.invocation": "agent",
    "agentic.tool.invocation": "tool",
    "agentic.mcp.invocation": "tool",
}

MASTRA: Final[Mapping[str, Category]] = {
    "agent_run": "agent",
    "model_generation": "chain",
    "model_step": "chain",
    "model_inference": "llm",
    "model_chunk": "other",
    "tool_call": "tool",
    "mcp_tool_call": "tool",
    "client_tool_call": "tool",
    "provider_tool_call": "tool",
    "memory_operation": "database",
    "rag_embedding": "embedding",
    "rag_vector_operation": "retrieval",
    "processor_run": "chain",
    "generic": "chain",
    "workflow_run": "chain",
    "workflow_step": "chain",
    "workflow_loop": "chain",
    "workflow_parallel": "chain",
    "workflow_conditional": "chain",
    "workflow_conditional_eval": "chain",
    "workflow_sleep": "wait",
    "workflow_wait_event": "wait",
}
"""The kinds of Mastra's spans."""

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
            "memory": "database",
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
        "agentops.span.kind",
        {
            "session": "chain",
            "workflow": "chain",
            "task": "chain",
            "operation": "chain",
            "chain": "chain",
            "agent": "agent",
            "tool": "tool",
            "llm": "llm",
            "guardrail": "guardrail",
        },
    ),
    (names.OPERATION, _OPERATIONS),
    (
        "mastra.span.type",
        MASTRA,
    ),
    (
        "traceloop.span.kind",
        {"workflow": "chain", "task": "chain", "agent": "agent", "tool": "tool"},
    ),
    (
        "llm.request.type",
        {"chat": "llm", "completion": "llm", "embedding": "embedding", "rerank": "retrieval"},
    ),
    (
        "genkit:metadata:subtype",
        {
            "model": "llm",
            "background-model": "llm",
            "tool": "tool",
            "retriever": "retrieval",
            "reranker": "retrieval",
            "embedder": "embedding",
            "indexer": "database",
            "agent": "agent",
        },
    ),
    ("genkit:type", {"action": "chain", "flow": "chain", "flowstep": "chain", "util": "chain"}),
    ("ioa_observe.span.kind", {"workflow": "chain", "agent": "agent", "tool": "tool"}),
    (
        "lmnr.span.type",
        {"llm": "llm", "tool": "tool", "executor": "chain", "pipeline": "chain"},
    ),
    ("spring.ai.kind", {"chat_client": "chain", "advisor": "chain", "tool_call": "tool"}),
    ("_ml_obs.meta.span.kind", _KINDS_OF_ANYBODY),
    ("span_type", _KINDS_OF_ANYBODY),
    ("span.type", {**_KINDS_OF_ANYBODY, **_MONOCLE}),
    ("mcp.method.name", {"tools/call": "tool"}),
)
"""Who says what a span is. Values are compared in lower case; the first row that knows wins."""

_KNOWN: Final = dict(_TABLES)
_RANK: Final = {attribute: rank for rank, (attribute, _) in enumerate(_TABLES)}

_TOOL_NAMES: Final = frozenset(("gen_ai.tool.name", "ai.toolCall.name", "haystack.tool.name"))
"""Only tool spans carry these; emitters without an operation (Koog) say no more."""
_MODELS: Final = frozenset(names.MODEL) - {"genkit:name"}
_PROVIDERS: Final = frozenset(names.PROVIDER)
_COUNTS: Final = frozenset(
    (
        *names.INPUT_TOKENS,
        *names.OUTPUT_TOKENS,
        names.EXCLUSIVE_INPUT_TOKENS,
        names.EXCLUSIVE_OUTPUT_TOKENS,
        *names.TOTAL_TOKENS,
        *names.USAGE_DETAILS,
        *names.USAGE_RAW,
    )
)
_DATABASE: Final = frozenset((*names.DATABASE, *names.DATABASE_QUERY, "redis.command"))
_OUTGOING: Final = frozenset((*names.OUTGOING, "mcp.method.name"))

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
    "permission": "human",
    "compaction": "chain",
}
_CLAUDE_CODE_CLASSES: Final[Mapping[str, str]] = {
    f"{names.CLAUDE_CODE}{said}": said for said in _CLAUDE_CODE_TYPES
}

_NAMES: Final[Mapping[str, Category]] = {
    # Google ADK, before it named its operations.
    "invocation": "chain",
    "call_llm": "llm",
    "agent_run": "agent",
    "execute_tool": "tool",
    "create_cache": "cache",
    "handle_context_caching": "cache",
    # Pydantic AI.
    "agent run": "agent",
    "running tool": "tool",
    "running tools": "chain",
    "running 1 tool": "chain",
    # LiteLLM.
    "litellm_request": "llm",
    "raw_gen_ai_request": "llm",
    # Strands, Microsoft.
    "memory.search": "retrieval",
    "memory.add": "database",
    "workflow.run": "chain",
    "executor.process": "chain",
    "AutoFunctionInvocationLoop": "chain",
    # Haystack.
    "haystack.pipeline.run": "chain",
    "haystack.agent.run": "agent",
    "haystack.agent.step": "chain",
    "haystack.agent.step.llm": "llm",
    "haystack.agent.step.tool": "tool",
    "haystack.chat_generator.run": "llm",
}
"""Names of spans that frameworks give to nothing else, for emitters that say no more."""
_COMPONENT: Final = re.compile(r"(Generator|Retriever|Ranker|WebSearch|Embedder|ToolInvoker)$")
_COMPONENTS: Final[Mapping[str, Category]] = {
    "Generator": "llm",
    "Retriever": "retrieval",
    "Ranker": "retrieval",
    "WebSearch": "retrieval",
    "Embedder": "embedding",
    "ToolInvoker": "tool",
}
"""What Haystack's classes end in; the others are steps."""
_LOGFIRE_AGENTS: Final[tuple[tuple[str, Category], ...]] = (
    ("Agent run: ", "agent"),
    ("Function: ", "tool"),
    ("Chat completion with ", "llm"),
    ("Responses API", "llm"),
    ("Speech → Text", "llm"),
    ("Text → Speech group", "chain"),
    ("Text → Speech", "llm"),
    ("Guardrail ", "guardrail"),
    ("MCP: list tools ", "other"),
)
"""How Logfire names the spans of the OpenAI Agents SDK, of which it says no more."""
_STEP_OF_A_FRAMEWORK: Final[Category] = "chain"
_NAME_PREFIXES: Final[tuple[tuple[str, Category], ...]] = (
    ("agent_run [", "agent"),
    ("invoke_agent ", "agent"),
    ("execute_tool ", "tool"),
)

# Long patterns are compiled when a span first needs them, and `re` keeps them then.
_HUMAN_NAME: Final = (
    r"(?i)^permission$|(?:^|[._ :/-])"
    r"(?:blocked[._-]on[._-]user|human[._-](?:input|feedback|approval)"
    r"|wait[._-]for[._-](?:user|human|approval|input)|user[._-]input|ask[._-](?:user|human)"
    r"|confirm[._-]with[._-]user|request[._-]permission|permission[._-](?:request|prompt))"
    r"(?:$|[._ :/-])"
)
"""Names of spans in which a person is asked and may take as long as they like."""
_QUESTIONS: Final = frozenset(
    (
        "askuserquestion",
        "ask_user",
        "ask_user_question",
        "ask_human",
        "askhuman",
        "human",
        "human_input",
        "humaninput",
        "request_user_input",
        "get_user_input",
        "user_input",
        "exitplanmode",
        "request_approval",
    )
)
"""Tools that put a question to a person."""
_ASKS_A_PERSON: Final = (
    r"(?:(?:await|wait_for|request|ask_for|obtain)_(?:(?:an?|the|your|user|human|manual)_)*"
    r"(?:approval|confirmation|permission|clarification)"
    r"|(?:\w+_)?(?:wait_for|await)_(?:user|human|person|operator)(?:_(?:input|reply|response|answer))?"
    r"|(?:\w+_)?human_(?:in_the_loop|input|feedback|approval|confirmation|permission|review|help"
    r"|response|answer|assistance|decision|clarification)"
    r"|(?:get|request|ask_for|obtain|await)_user_(?:approval|confirmation|clarification|input)"
    r"|(?:\w+_)?(?:confirm|check|clarify)_with_(?:user|human)"
    r"|ask_(?:the_)?(?:user|human|person|operator)(?:_(?:for_)?(?:input|approval|confirmation"
    r"|permission|clarification|feedback|a?_?question|help))?)"
    r"(?:_tool)?"
)
"""Names of tools, in small letters with underscores, that say that a person is asked and waited
for. One that only looks up or sends such an answer has more to its name (`get_approval_status`), or
another verb."""
_LOOKS_UP: Final = ("list_", "search_", "find_", "send_", "save_", "store_", "log_", "record_")
_HUMP: Final = r"(?<=[a-z0-9])(?=[A-Z])|[ .-]"

_AGENT: Final = "invoke_agent "
_PREPARES: Final = "._prepare_chat_with_tools"
"""LlamaIndex puts the messages together in a method of the model."""
_MERGED: Final = "(merged tools)"
"""Google ADK writes a span of this tool where it puts the results of several tools together."""

_WAIT_NAME: Final = (
    r"(?i)(?:^|[._ :/-])(?:dequeue|queue[._](?:get|wait)|poll|polling|long[._]poll|sleep|wait"
    r"|wait[._](?:for[._])?(?:queue|slot|lock|result|message|rate[._]limit)|receive[._]message"
    r"|semaphore[._]acquire)(?:$|[._ :/-])"
)
"""Names of spans that do nothing but wait for somebody else's work."""
_WAITING: Final = frozenset(("receive", "poll"))
"""Messaging operations that wait until there is a message."""
_BLOCKING: Final = frozenset(("BLPOP", "BRPOP", "BLMOVE", "BRPOPLPUSH", "BZPOPMIN", "BZPOPMAX"))
"""Commands of Redis that wait until there is something in a list."""
_VECTOR_STORES: Final = frozenset(
    ("pinecone", "qdrant", "chroma", "chromadb", "weaviate", "milvus", "lancedb", "marqo")
)
_STEP: Final = re.compile(r"(Retriever|Embedding|Tool)\.(?:task|workflow)$")
_STEPS: Final[Mapping[str, Category]] = {
    "Retriever": "retrieval",
    "Embedding": "embedding",
    "Tool": "tool",
}
"""OpenLLMetry says of LlamaIndex no more than the class that works."""
_RETRY_NAME: Final = re.compile(r"(?:^|[._ :/-])(?:back-?off|retry[._-]wait)(?:$|[._ :/-])")


_CALLING: Final = (
    r"(?is)(?:[a-z][\w-]*[./: ]){0,3}"
    r"(?:(?:async[._ ]?)?(?:chat|text|message|response)s?[._ ]?(?:streaming[._ ]?)?"
    r"(?:completions?|generation|create|stream|parse)"
    r"|chat|completions?|responses?|generate(?:[._ ]?(?:content|text|object|message|response))*"
    r"|(?:stream|do)[._ ]?(?:generate|stream|text|content|object)+|converse|invoke[._ ]?model"
    r"|generation|inference|messages"
    r"|(?:llm|model|ai)[._ ]?(?:call|request|invoke|invocation|inference|generate|generation"
    r"|completion|response|chat|query|run)|llm|(?:call|ask|query|invoke|prompt)[._ -]?(?:the[ _])?"
    r"(?:llm|model|claude|gpt|openai|anthropic|gemini))"
    r"(?:[._ ]?(?:create|stream|streaming|parse|async|with[._ ]?response[._ ]?stream|run|v\d))*"
    r"(?:[ :/(\[].*)?\Z"
)
"""Operations and names of model calls in the words of SDKs, frameworks and users:
``chat.completions``, ``messages.create``, ``openai.responses``, ``llm.generate``, ``call_llm``."""
_EMBEDDING: Final = re.compile(r"embed", re.IGNORECASE)
_RERANKING: Final = re.compile(r"re-?rank", re.IGNORECASE)
_COUNTING: Final = re.compile(r"(?:count|estimate)[._ -]?tokens?|tokeni[sz]e", re.IGNORECASE)
"""Operations that count the tokens of a text, and call no model."""
_LONGEST_OPERATION: Final = 200
_PEER: Final = "peer.service"
_DATABASES: Final = (
    r"(?i)(?:^|[-_./ ])(?:mysql|mariadb|postgres(?:ql)?|psycopg\d?|redis|jedis|lettuce|mongo(?:db)?"
    r"|cassandra|memcached?|spymemcached|elasticsearch|jdbc|sqlalchemy|oracle(?:db)?|mssql"
    r"|sqlserver|sqlite|dynamodb|couchbase|clickhouse|hbase|neo4j|cockroachdb)(?:$|[-_./: ])"
)
"""Products and libraries that OpenTracing's ``peer.service`` and ``component`` name."""


_BEEAI: Final = "openinference.instrumentation.beeai"
_BEEAI_EVENT: Final = re.compile(r"\.(?:update|partial_update|success|finish|error|retry)-\d+$")


def of(name: str, kind: SpanKind, attributes: Mapping[str, object], scope: str) -> Category:
    """Finds the category of the span `name`, from its attributes and the scope that emitted it."""
    if scope == _BEEAI and _BEEAI_EVENT.search(name):
        return "other"  # what happened in a call, which the span "start" covers
    return _said(name, attributes) or _unsaid(name, kind, attributes, scope)


def is_guessed(name: str, attributes: Mapping[str, object], scope: str) -> bool:
    """Tells whether a span is a model call only because of its name, or as it has a model and
    counts of tokens: a step that says what the calls in it used looks alike."""
    operation = attributes.get(names.OPERATION)
    return (
        _LANGFUSE not in attributes
        and scope != names.LOGFIRE_AGENTS
        and not name.startswith((names.CLAUDE_CODE, names.HAYSTACK_COMPONENT, "chat "))
        and _said(name, attributes) is None
        and not (isinstance(operation, str) and _of_operation(attributes, "") == "llm")
        and of_name(name) == "other"
    )


def only_counts(name: str) -> bool:
    """Tells whether a span of that name counts the tokens of a text before a model gets it."""
    return _COUNTING.search(name) is not None


def _said(name: str, attributes: Mapping[str, object]) -> Category | None:
    """Finds the category that an attribute names, if one does."""
    said = attributes.keys() & _KNOWN.keys()
    if not said:
        return None
    for attribute in said if len(said) == 1 else sorted(said, key=_RANK.__getitem__):
        value = attributes[attribute]
        if isinstance(value, str):
            found = _KNOWN[attribute].get(value)
            if found is None:
                # MLflow writes every value as JSON text: '"LLM"'.
                found = _KNOWN[attribute].get(value.strip('"').lower())
            if found == "chain" and attribute == "traceloop.span.kind":
                step = _STEP.search(name)
                return found if step is None else _STEPS[step[1]]
            if found == "llm":
                return _llm_or_step(name)
            if found is not None:
                return _person_or_tool(name, attributes) if found == "tool" else found
    return None


def _unsaid(name: str, kind: SpanKind, attributes: Mapping[str, object], scope: str) -> Category:
    """Finds the category of a span that names none."""
    present = attributes.keys()
    if name == names.HAYSTACK_COMPONENT:
        end = _COMPONENT.search(str(attributes.get(names.COMPONENT_TYPE)))
        return _STEP_OF_A_FRAMEWORK if end is None else _COMPONENTS[end[1]]
    if scope == names.LOGFIRE_AGENTS:
        found = _STEP_OF_A_FRAMEWORK
        for prefix, category in _LOGFIRE_AGENTS:
            if name.startswith(prefix):
                found = category
                break
        return _person_or_tool(name, attributes) if found == "tool" else found
    if name.startswith(names.CLAUDE_CODE):
        said = attributes.get(names.CLAUDE_CODE_TYPE) or _CLAUDE_CODE_CLASSES.get(name)
        found = _CLAUDE_CODE_TYPES.get(said, "other") if isinstance(said, str) else "other"
        return _person_or_tool(name, attributes) if found == "tool" else found
    if present & _TOOL_NAMES:
        return _person_or_tool(name, attributes)
    observation = attributes.get(_LANGFUSE)
    if isinstance(observation, str) and observation.lower() in _LANGFUSE_TYPES:
        found = _LANGFUSE_TYPES[observation.lower()]
        return _person_or_tool(name, attributes) if found == "tool" else found
    if present & _DATABASE or _is_database(attributes):
        if any(str(attributes.get(n)).lower() in _VECTOR_STORES for n in names.DATABASE):
            return "retrieval"
        operation = next((attributes[n] for n in names.DATABASE_OPERATION if n in attributes), name)
        return "wait" if str(operation).partition(" ")[0].upper() in _BLOCKING else "database"
    if scope.startswith(names.ANTHROPIC_SDK_SCOPE):
        return "other"  # an API method that is not a model call: count_tokens, files, ...
    if any(isinstance(said := attributes.get(n), str) and said in _WAITING for n in names.WAITS):
        return "wait"
    called = of_name(name)
    if called == "other" and (present & _MODELS or present & _PROVIDERS):
        found_in_words = _of_operation(attributes, name)
        if found_in_words is not None:
            return found_in_words
        if present & _MODELS and present & _COUNTS and not _COUNTING.search(name):
            return "embedding" if _EMBEDDING.search(_models(attributes)) else "llm"
    if called == "other" and kind == "client" and (present & _OUTGOING or _PEER in present):
        return "network"
    return called


def _is_database(attributes: Mapping[str, object]) -> bool:
    """Tells whether the other side is named after a database, as OpenTracing's emitters do."""
    for name in names.PEER:
        said = attributes.get(name)
        if isinstance(said, str) and re.search(_DATABASES, said):
            return True
    return False


def _models(attributes: Mapping[str, object]) -> str:
    return " ".join([str(attributes[n]) for n in names.MODEL if n in attributes])


def _of_operation(attributes: Mapping[str, object], name: str) -> Category | None:
    """Tells what an operation that no convention lists says of a span that names a model or who
    serves it; of spans without one, what its name says."""
    said = attributes.get(names.OPERATION)
    if not isinstance(said, str) or not said:
        said = name
    if len(said) > _LONGEST_OPERATION or _COUNTING.search(said):
        return None
    if _EMBEDDING.search(said):
        return "embedding"
    if _RERANKING.search(said):
        return "retrieval"
    return "llm" if re.match(_CALLING, said) else None


def _llm_or_step(name: str) -> Category:
    """Tells a model call from what is around one or before it, which may be called so as well."""
    if name.startswith(_AGENT):
        return "agent"  # what a call in it said was written onto it by mistake
    return "chain" if name.endswith(_PREPARES) else "llm"


def _person_or_tool(name: str, attributes: Mapping[str, object]) -> Category:
    """Tells a tool from one that asks a person, which takes as long as they like: no tool's
    time."""
    tool = next((attributes[n] for n in names.TOOL_NAME if n in attributes), None)
    called = tool if isinstance(tool, str) else name.removeprefix("execute_tool ")
    if called == _MERGED:
        return "other"
    return "human" if _asks_a_person(called) else "tool"


@lru_cache(maxsize=1024)
def _asks_a_person(tool: str) -> bool:
    if tool.lower() in _QUESTIONS:
        return True
    words = re.sub(_HUMP, "_", tool).lower()
    return not words.startswith(_LOOKS_UP) and re.fullmatch(_ASKS_A_PERSON, words) is not None


@lru_cache(maxsize=4096)
def of_name(name: str) -> Category:
    """Guesses from the name of a span, as the last resort, where nothing else says what it is."""
    known = _NAMES.get(name)
    if known is not None:
        return known
    for prefix, category in _NAME_PREFIXES:
        if name.startswith(prefix):
            return category
    if re.search(_HUMAN_NAME, name):
        return "human"
    if _RETRY_NAME.search(name):
        return "retry"
    return "wait" if re.search(_WAIT_NAME, name) else "other"
