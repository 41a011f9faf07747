"""What the stand-in API answers to processes that tests start."""

from __future__ import annotations

from tests.support.script import Reply, Request, ToolUse, Usage


def hello(request: Request) -> Reply:
    """The same short answer, whatever is asked."""
    return Reply("Hello.", usage=Usage(input_tokens=3, output_tokens=2))


def weather(request: Request) -> Reply:
    """First asks for the weather, then says what it makes of it."""
    if not request.tool_results:
        return Reply([ToolUse("get_weather", {"city": "Lisbon"})])
    return Reply("No umbrella needed.")
