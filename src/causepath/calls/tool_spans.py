"""The spans of tool calls: the attributes and links that they have, whoever begins them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import Link

from causepath.otel import semconv
from causepath.otel.span_access import attributes_of, name_of, take_away

if TYPE_CHECKING:
    from causepath.calls.runs import AskedTool

OF_TOOLS = (
    semconv.OPERATION,
    semconv.TOOL_NAME,
    semconv.TOOL_TYPE,
    semconv.TOOL_CALL_ID,
    semconv.TOOL_READ_ONLY,
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
            semconv.TOOL_CALL_ID: call_id,
        }
    )


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
