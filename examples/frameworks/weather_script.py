"""What the scripted model of these examples says: it asks for the weather, then it answers."""

from __future__ import annotations

from tests.support.script import Latency, Reply, Request, ToolUse

LATENCY = Latency(before_headers=0.05, before_first_delta=0.05)


def next_answer(request: Request) -> Reply:
    """The next answer to this conversation."""
    if not request.tool_results:
        return Reply([ToolUse("get_weather", {"city": "Lisbon"})], latency=LATENCY)
    return Reply("You need no umbrella in Lisbon today.", latency=LATENCY)
