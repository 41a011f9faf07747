"""What the model of the agents in `hosts.py` says."""

from __future__ import annotations

from tests.support.script import Answer, Failure, Latency, Reply, Request, ToolUse, Usage

TURNS = 30
PAGES = {"thirty": TURNS - 1, "two": 2}
"""The pages that are looked up, by the first word of the question."""

TOOLS = ["find_facts", "check_facts"]
SPEED = Latency(before_headers=0.02, before_first_delta=0.03, per_delta=0.01)


def next_answer(request: Request) -> Answer:
    """Answer as a lead that asks its helpers, as a helper, or at once; the first try fails."""
    if request.question.startswith("help"):
        usage = Usage(input_tokens=200, output_tokens=20, cache_read_input_tokens=1_000)
        return Reply("all that there is to know about it", usage=usage, latency=SPEED)
    if len(request.tools_called) < PAGES.get(request.question.split(" ")[0], 0):
        return Reply([ToolUse("look_up", {"page": len(request.tools_called)})], latency=SPEED)
    if request.question.startswith("team") and not request.tools_called:
        if request.retry == 0:
            return Failure(529, retry_after_seconds=0.05)
        return Reply([ToolUse(name, {}) for name in TOOLS], latency=SPEED)
    usage = Usage(
        input_tokens=60_000 if request.question.startswith("long") else 300, output_tokens=40
    )
    return Reply("the answer is in these words", usage=usage, latency=SPEED)
