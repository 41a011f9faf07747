"""Attribute names, and pure functions from requests and replies to attributes.

The names of the GenAI conventions are written out here: the constants of
`opentelemetry-semantic-conventions` for them are deprecated ("moved") and lack the newest ones.
Absent values give no attribute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from causepath.code.call_sites import Site
    from causepath.providers.messages import ModelReply, ModelRequest, Server
    from causepath.providers.provider import Provider

    AttributeValue = str | bool | int | float | tuple[str, ...]

CATEGORY = "causepath.category"
RUN_INFERRED = "causepath.run.inferred"
RUN_OUTERMOST = "causepath.run.outermost"
"""Of a run that is in no other one of this process, whatever else is around it."""

RUN_OUTCOME = "causepath.run.outcome"
"""Of a run that did not come to its own end: `failed`, `interrupted`, `timed_out`, `unfinished`."""

COST_USD = "causepath.cost_usd"
"""Of a model call, in dollars, by the prices of the budget around it."""

UNFINISHED = "causepath.unfinished"
"""Of a span that was open when the process ended."""

RUN_INPUT_TOKENS = "causepath.run.input_tokens"
RUN_OUTPUT_TOKENS = "causepath.run.output_tokens"
RUN_COST_USD = "causepath.run.cost_usd"
"""Of a run with all runs inside it. Not by the names of one call's: pages that add those up would
count them twice."""

TURN = "causepath.turn"
"""Of a model call the number in its run, of a tool that of the call which asked for it."""

RETRIES = "causepath.retries"
"""Of a model call: failed attempts that another one followed."""

TOOLS_DECLARED = "causepath.tools.declared"
TOOL_READ_ONLY = "causepath.tool.read_only"
TOOL_INFERRED = "causepath.tool.inferred"
TOOL_AMBIGUOUS = "causepath.tool.ambiguous"
TOOL_GIVEN_UP = "causepath.tool.given_up"
"""Of a tool that was still going on, or was cancelled, when its result was sent without it."""

STREAM_EVENTS = "causepath.stream.events"
STREAM_CHUNKS = "causepath.stream.chunks"
STREAM_FIRST_EVENT_MS = "causepath.stream.first_event_ms"
STREAM_LAST_EVENT_MS = "causepath.stream.last_event_ms"
STREAM_LONGEST_GAP_MS = "causepath.stream.longest_gap_ms"
STREAM_HELD_MS = "causepath.stream.held_ms"
CONNECTION_WAIT_MS = "causepath.connection.wait_ms"
CONNECTION_NEW = "causepath.connection.new"
USAGE_PARTIAL = "causepath.usage.partial"
LINK = "causepath.link"
INPUT_BLOCKS = "causepath.input.blocks"
INPUT_KEPT = "causepath.input.kept"
INPUT_PREVIOUS = "causepath.input.previous"
INPUT_OMITTED = "causepath.input.omitted"
OUTPUT_BLOCKS = "causepath.output.blocks"
OUTPUT_OMITTED = "causepath.output.omitted"
CONTENT_TRUNCATED = "causepath.content.truncated"
FLOW = "causepath.flow"
CODE_STACK = "causepath.code.stack"
CODE_LOOP = "causepath.code.loop"
CODE_LOOP_KIND = "causepath.code.loop.kind"
CODE_APART = "causepath.code.apart"
CODE_KEPT = "causepath.code.kept"
TOOL_PLACES = "causepath.tool.places"
TOOL_OUTCOME = "causepath.tool.outcome"

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
CONVERSATION_ID = "gen_ai.conversation.id"
AGENT_NAME = "gen_ai.agent.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_STREAM = "gen_ai.request.stream"
RESPONSE_ID = "gen_ai.response.id"
RESPONSE_MODEL = "gen_ai.response.model"
RESPONSE_FINISH_REASONS = "gen_ai.response.finish_reasons"
RESPONSE_TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
USAGE_INPUT = "gen_ai.usage.input_tokens"
USAGE_OUTPUT = "gen_ai.usage.output_tokens"
USAGE_CACHE_READ = "gen_ai.usage.cache_read.input_tokens"
USAGE_CACHE_WRITE = "gen_ai.usage.cache_write.input_tokens"
USAGE_CACHE_CREATION = "gen_ai.usage.cache_creation.input_tokens"
"""The same, unless 0, by the name that it had until August 2026, which pages of before know."""

USAGE_REASONING = "gen_ai.usage.reasoning.output_tokens"
TOOL_NAME = "gen_ai.tool.name"
TOOL_CALL_ID = "gen_ai.tool.call.id"
TOOL_TYPE = "gen_ai.tool.type"
TOOL_ARGUMENTS = "gen_ai.tool.call.arguments"
TOOL_RESULT = "gen_ai.tool.call.result"
SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
TOOL_DEFINITIONS = "gen_ai.tool.definitions"
BUDGET_WARNING_EVENT = "causepath.budget.warning"
BUDGET_EXCEEDED_EVENT = "causepath.budget.exceeded"
BUDGET_REFUSED_EVENT = "causepath.budget.refused"
BUDGET_EXCEEDED = "causepath.budget.exceeded"
"""Of the run, or what is around it: the kinds of its budgets that were used up."""

BUDGET_KIND = "causepath.budget.kind"
BUDGET_LIMIT = "causepath.budget.limit"
BUDGET_USED = "causepath.budget.used"
BUDGET_REFUSED = "causepath.budget.refused"
"""Of an event: the call, tool or rest of a reply that there was nothing left for."""

FIRST_TOKEN_EVENT = "first_token"
RETRY_EVENT = "retry"
DETAILS_EVENT = "gen_ai.client.inference.operation.details"
MCP_METHOD = "mcp.method.name"

TOOL_ERROR = "tool_error"
"""The `error.type` of a tool whose result says that it is an error."""

GIVEN_UP = "given_up"
"""That of one which is given up, where the result does not say that it is an error."""

ERROR_TYPE = error_attributes.ERROR_TYPE
HTTP_STATUS = http_attributes.HTTP_RESPONSE_STATUS_CODE
RETRY_AFTER = "http.response.header.retry-after"
SERVER_ADDRESS = server_attributes.SERVER_ADDRESS
SERVER_PORT = server_attributes.SERVER_PORT

CODE_FILE_PATH = "code.file.path"
CODE_LINE_NUMBER = "code.line.number"
CODE_FUNCTION_NAME = "code.function.name"


def present(attributes: Mapping[str, AttributeValue | None]) -> dict[str, AttributeValue]:
    """The attributes that have a value."""
    return {name: value for name, value in attributes.items() if value is not None}


def site_attributes(at: Site) -> dict[str, AttributeValue]:
    """Describes where a call is made."""
    found: dict[str, AttributeValue] = {CODE_STACK: at.stack} if at.stack else {}
    if at.loop is not None:
        found[CODE_LOOP], found[CODE_LOOP_KIND] = at.loop
    if at.apart:
        found[CODE_APART] = at.apart
    if at.kept:
        found[CODE_KEPT] = at.kept
    return found


def request_attributes(
    provider: Provider, request: ModelRequest, server: Server
) -> dict[str, AttributeValue]:
    """Describes a request in the attributes that our span starts with, so that samplers see
    them."""
    return present(
        {
            OPERATION: provider.operation,
            PROVIDER: server.platform or provider.name,
            REQUEST_MODEL: request.model or None,
            SERVER_ADDRESS: server.address,
            SERVER_PORT: server.port,
        }
    )


def more_request_attributes(request: ModelRequest) -> dict[str, AttributeValue]:
    """Describes a request in the other attributes of the conventions."""
    found = dict(request.parameters)
    if request.streams:
        found[REQUEST_STREAM] = True
    if request.conversation is not None:
        found[CONVERSATION_ID] = request.conversation
    return found


def reply_attributes(
    reply: ModelReply, but: AbstractSet[str] = frozenset()
) -> dict[str, AttributeValue]:
    """Describes a reply, whole or in part, without the attributes `but`, which are there
    already."""
    usage = reply.usage
    found: dict[str, AttributeValue | None] = {
        RESPONSE_ID: reply.id,
        RESPONSE_MODEL: reply.model,
        RESPONSE_FINISH_REASONS: (reply.finish_reason,) if reply.finish_reason else None,
        USAGE_INPUT: usage.input,
        USAGE_OUTPUT: usage.output,
        USAGE_CACHE_READ: usage.cache_read,
        USAGE_CACHE_WRITE: usage.cache_write,
        USAGE_CACHE_CREATION: usage.cache_write or None,
        USAGE_REASONING: usage.reasoning,
    }
    if reply.facts:
        found.update(reply.facts)
    return {k: value for k, value in found.items() if value is not None and k not in but}
