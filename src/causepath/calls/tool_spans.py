"""The spans of tool calls: their attributes and links, their begin and their end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind

from causepath.calls.runs import RUN_KEY, inside_tool
from causepath.guard import harmless
from causepath.otel import semconv
from causepath.otel.span_access import attributes_of, key_of, name_of, take_away
from causepath.providers.messages import MadeUpId

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import CodeType

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from causepath.calls.open_runs import OpenRuns
    from causepath.calls.runs import AskedTool, Run
    from causepath.calls.tracing import Tracing
    from causepath.content.call_words import Words
    from causepath.otel.metrics import Metrics
    from causepath.otel.operation import Operation

OF_TOOLS = (
    semconv.OPERATION,
    semconv.TOOL_NAME,
    semconv.TOOL_TYPE,
    semconv.TOOL_CALL_ID,
    semconv.TOOL_READ_ONLY,
    semconv.TURN,
)


TOOL_NAMES = (semconv.TOOL_NAME, "tool.name", "traceloop.entity.name")


def tool_attributes(name: str, call_id: str | None) -> dict[str, Any]:
    """Describes a tool call in the conventions' attributes."""
    return semconv.present(
        {
            semconv.CATEGORY: "tool",
            semconv.OPERATION: "execute_tool",
            semconv.TOOL_NAME: name,
            semconv.TOOL_TYPE: "function",
            semconv.TOOL_CALL_ID: None if isinstance(call_id, MadeUpId) else call_id,
        }
    )


def function_attributes(
    name: str | None, code: CodeType | None, read_only: bool | None
) -> dict[str, Any]:
    """Describes the function that carries out a tool call."""
    return {
        semconv.TOOL_READ_ONLY: read_only,
        semconv.CODE_FILE_PATH: code.co_filename if code else None,
        semconv.CODE_LINE_NUMBER: code.co_firstlineno if code else None,
        semconv.CODE_FUNCTION_NAME: name,
    }


def tool_id(asked: AskedTool) -> dict[str, Any]:
    """Names the id of a tool call, if the API has given it one."""
    call_id = asked.call.id
    return {} if isinstance(call_id, MadeUpId) else {semconv.TOOL_CALL_ID: call_id}


def call_plain(span: Any, name: str) -> None:
    """Makes the span that was begun for a tool that of something else, with this name."""
    span.update_name(name)
    take_away(span, OF_TOOLS)
    span.set_attribute(semconv.CATEGORY, "other")


def tool_call_links(asked: AskedTool) -> list[Link]:
    """Links a tool to the model call that asked for it, and to the outputs that it was given."""
    if asked.issuer is None or not asked.issuer.is_valid:
        return []
    carried = [Link(tool, {semconv.LINK: "content"}) for tool in asked.carries]
    return [Link(asked.issuer, {semconv.LINK: "tool_call"}), *carried]


def tool_of(span: Any) -> str:
    """Names the tool that the span of another library is about."""
    attributes = attributes_of(span)
    said = (attributes.get(name) for name in TOOL_NAMES)
    own = name_of(span).removeprefix("execute_tool ")
    return next((name for name in said if isinstance(name, str)), own)


def _is_inside(context: Context, run: Run) -> bool:
    """Tells whether what is current here tells enough of where a tool of the run is called."""
    current = trace.get_current_span(context).get_span_context()
    return current.is_valid and key_of(current) != run.opened_in


class ToolSpans:
    """The begin and the end of a tool's span, whatever tells that it is a tool."""

    def __init__(self, tracing: Tracing, runs: OpenRuns, words: Words, metrics: Metrics) -> None:
        self._tracing = tracing
        self._runs = runs
        self._words = words
        self._metrics = metrics

    def begin(
        self,
        name: str,
        asked: AskedTool | None,
        attributes: Mapping[str, Any],
        links: Sequence[Link],
        start_ns: int,
    ) -> tuple[Span, Context]:
        """Begins a span of a tool, and makes the context inside it."""
        parent = self._runs.here()
        if asked is not None and not _is_inside(parent, asked.run):
            parent = asked.run.parent
        span = self._tracing.tracer().start_span(
            f"execute_tool {name}",
            context=parent,
            kind=SpanKind.INTERNAL,
            attributes=semconv.present(attributes),
            links=links,
            start_time=start_ns,
        )
        # What the tool asks a model for is a conversation of its own.
        context = otel.set_value(RUN_KEY, None, trace.set_span_in_context(span, parent))
        return span, context if asked is None else inside_tool(asked, context)

    @harmless(None)
    def look_at(
        self, operation: Operation, name: str, asked: AskedTool | None, given: object
    ) -> None:
        """Looks at what a tool is given and gives back: whose output that is, and what is new."""
        span, evidence = operation.span, self._words.evidence
        if evidence is not None and span.is_recording():
            pieces = evidence.tool_given(span, name, given, asked.issuer if asked else None)
            operation.on_result.append(lambda it: evidence.tool_returned(span, pieces, given, it))
        content = self._words.content
        if content is not None:
            own = asked.call.input if asked is not None and asked.call.input is not None else given
            content.write(span, semconv.TOOL_ARGUMENTS, own)
            operation.explain = content.reason
            operation.on_result.append(lambda it: content.write(span, semconv.TOOL_RESULT, it))

    def record(self, span: Span, asked: AskedTool, name: str, value: object) -> None:
        """Records what is said, if content is asked for and the SDK does not in its own way."""
        if self._words.content is not None and not asked.run.native_content:
            self._words.content.write(span, name, value)

    @harmless(None)
    def measure(self, name: str, start_ns: int, end_ns: int, error: str | None) -> None:
        """Counts a tool call that was seen from its start to its end."""
        if self._metrics.wanted():
            attributes = {**tool_attributes(name, None), semconv.ERROR_TYPE: error}
            attributes.pop(semconv.CATEGORY)
            self._metrics.tool_call(semconv.present(attributes), end_ns - start_ns)
