"""What the model of the example agents says when they run offline, and how long it takes.

It answers from what the conversation holds, so it serves any number of agents at once, and agents
that run their tools in any order: first two searches, then the page that the search found (after
one 429), then the answer.
"""

from __future__ import annotations

import re

from tests.support.script import Answer, Failure, Latency, Reply, Request, Text, ToolUse

ANSWER = """\
By 2035 a battery-electric airliner should manage 400 to 550 km, enough for regional routes only.

- Energy: packs hold about 200 Wh/kg today and gain 4 to 5 % a year, which makes some 330 Wh/kg
  in 2035 [{page}] [{survey}].
- Design: at that density a clean-sheet 70-seater reaches 420 km with today's reserves [{study}].
- Rules: reserves by flight phase would add another 120 km, more than three years of better
  batteries [{study}].

Least certain: fast charging wears packs out early [{life}] and could eat a fifth of it."""


def next_answer(request: Request) -> Answer:
    """The next answer to this conversation."""
    found = "\n".join(str(result["content"]) for result in request.tool_results)
    called = request.tools_called
    if "search_web" not in called:
        return Reply(
            [
                Text("I will search the web and the papers first."),
                ToolUse("search_web", {"query": "battery electric airliner range 2035"}),
                ToolUse("search_papers", {"topic": "aviation batteries", "since_year": 2023}),
            ],
            latency=Latency(before_headers=0.2, before_first_delta=0.3, per_delta=0.02),
        )
    addresses = re.findall(r"https://\S+", found)
    if "fetch_page" not in called:
        if request.retry == 0:
            return Failure(
                429,
                "This request would exceed your organization's rate limit of input tokens.",
                retry_after_seconds=0.5,
                latency_seconds=0.05,
            )
        return Reply(
            [
                Text("The first hit looks thorough; I will read it."),
                ToolUse("fetch_page", {"url": addresses[0]}),
            ],
            latency=Latency(before_headers=0.2, before_first_delta=0.35, per_delta=0.02),
        )
    survey, study, life = re.findall(r"\[(P-\d+)\]", found)
    text = ANSWER.format(page=addresses[0], survey=survey, study=study, life=life)
    return Reply(
        text, latency=Latency(before_headers=0.25, before_first_delta=0.35, per_delta=0.03)
    )
