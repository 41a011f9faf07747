"""What the model of the support agent says when it runs offline, and what it counts."""

from __future__ import annotations

from typing import Any

from tests.support.script import Answer, Latency, Reply, Request, Text, ToolUse, Usage
from tests.support.wire import input_size_tokens

ANSWER = (
    "Dear Ines, your parcel P-4711 with the tea is at the door. We send you another cup at once, "
    "and you may keep the broken one."
)
SUMMARIES = {
    "cup": "Something arrived damaged.",
    "parcel": "A late delivery.",
    "coffee": "Wrong beverage chosen.",
}
PACE = Latency(before_headers=0.3, per_delta=0.02)


def next_answer(request: Request) -> Answer:
    """The next answer to this conversation."""
    if "tools" not in request.body:
        return Reply(
            next(told for word, told in SUMMARIES.items() if word in request.question), PACE
        )
    usage = _usage(request.body)
    called = request.tools_called
    if not called:
        uses = [ToolUse(name, {"name": "Ines"}) for name in ("get_customer", "list_orders")]
        return Reply([Text("Let me see who she is."), *uses], PACE, usage)
    if not any("at the door" in str(one["content"]) for one in request.tool_results):
        tool = request.body["tools"][-1]["name"]
        return Reply([Text("Where is it?"), ToolUse(tool, {"parcel": "P-4711"})], PACE, usage)
    return Reply(ANSWER, PACE, usage)


def _usage(body: Any) -> Usage:
    """The tokens of the prompt; those of the request before come from the cache, if one is
    asked for."""
    whole = input_size_tokens(body)
    if "cache_control" not in body["system"][0]:
        return Usage(whole)
    before = input_size_tokens({**body, "messages": body["messages"][:-2]})
    read = before if len(body["messages"]) > 2 else 0
    return Usage(0, None, read, whole - read)
