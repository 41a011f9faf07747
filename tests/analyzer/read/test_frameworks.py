"""What real agent frameworks wrote of agents whose truth is known, in the words of the truth.

Each agent asks for the weather and the time at once, then mends a door, which fails, and answers:
three calls of a model (100/20, 200/30 and 300/40 tokens, 64 of the input of the last two cached, 8
of the output of the second reasoning) and three tools, recorded through the framework's own spans
or the instrumentation after the plus, against a stand-in of the model's API.
"""

from pathlib import Path
from typing import Any

import pytest

from causepath_analyzer.analyses.run import explained
from causepath_analyzer.model import Tokens
from causepath_analyzer.read import read

RECORDED = Path(__file__).parents[1] / "recorded" / "frameworks"

ALL = Tokens(600, 90, 128, 0, 8)
NO_REASONING = Tokens(600, 90, 128)
NO_PARTS = Tokens(600, 90)
HANDOFF = Tokens(450, 65, 64)
TOOLS = ["broken!", "get_time", "get_weather"]


def row(id: str, llm: int, tools: list[str], tokens: Tokens, kinds: str = "llm tool") -> Any:  # noqa: A002
    return pytest.param(llm, tools, tokens, set(kinds.split()), id=id)


@pytest.mark.parametrize(
    ("llm", "tools", "tokens", "kinds"),
    [
        row("agent-framework", 3, TOOLS, ALL),
        row("agno+openinference", 3, TOOLS, NO_REASONING),
        # It has no spans of model calls, and a trace in which the agent is only created.
        row("autogen", 0, TOOLS, Tokens(), "tool"),
        row("genkit", 3, ["broken", *TOOLS[1:]], NO_PARTS),
        row("google-adk", 3, TOOLS, ALL),
        # What every call said was written onto the span of the agent, where the next overwrote it:
        # at least what the last one used.
        row("google-adk+openinference", 0, TOOLS, Tokens(300, 40, 64), "tool"),
        # It has one span for the tools of a reply.
        row("haystack", 3, ["tool_invoker"] * 2, ALL),
        row("haystack+openinference", 3, ["tool_invoker"] * 2, ALL),
        row("langchain+langsmith", 3, TOOLS, NO_PARTS),
        row("langchain+openinference", 3, TOOLS, ALL),
        row("langchain-retriever+openinference", 1, [], Tokens(100, 20), "llm other retrieval"),
        # Two agents side by side, then a call.
        row("langgraph+traceloop", 5, ["get_weather", "get_weather"], Tokens(340, 44)),
        row("langfuse", 3, ["broken_!", "get_time_", "get_weather_"], ALL),
        # Its spans of streams end when these begin; the first token is told later.
        row("llama-index+openinference", 3, TOOLS, Tokens(), "first_token tool"),
        # It writes what calls say onto the application's own span, where the next overwrites it.
        row("litellm", 1, ["broken", *TOOLS[1:]], Tokens(200, 30)),
        row("mastra", 3, TOOLS, ALL),
        # It loses a tool that fails.
        row("node+traceloop", 3, TOOLS[1:], NO_PARTS),
        # From one agent to another, with a guardrail before the first call.
        row("openai-agents", 3, TOOLS[1:], HANDOFF, "guardrail llm tool"),
        row("openai-agents+logfire", 3, TOOLS[1:], HANDOFF, "guardrail llm tool"),
        row("openai-agents+logfire-chat", 3, TOOLS, ALL),
        row("openai-agents+openinference", 3, TOOLS, ALL),
        row("pydantic-ai", 3, TOOLS, ALL),
        row("semantic-kernel", 3, TOOLS, NO_PARTS),
        # It ends by a tool, and asks for one turn less.
        row("smolagents+openinference", 2, ["final_answer", *TOOLS[1:]], Tokens(400, 60)),
        row("strands", 3, TOOLS, NO_REASONING, "first_token generation tool"),
        row("vercel-ai", 3, TOOLS, ALL, "first_token generation tool"),
    ],
)
def test_the_truth(
    llm: int, tools: list[str], tokens: Tokens, kinds: set[str], request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.id
    (trace,) = read([str(RECORDED / f"{name}.jsonl")]).traces
    run = explained(trace)
    called = sorted(
        f"{span.tool_call.name}{'!' if span.error else ''}"
        for span in trace.spans
        if span.tool_call is not None
    )
    assert (run.usage.calls.llm, [t.removeprefix("P-") for t in called]) == (llm, tools)
    assert run.usage.tokens == tokens
    # What takes a two hundredth or less is what only steps around the calls took.
    waited = {kind for kind, ns in run.wall.path.items() if ns * 200 > trace.wall_ns}
    assert waited - {"agent"} == kinds
    assert sum(run.wall.path.values()) == trace.wall_ns
    # No arguments are those of another call, so no call is made twice; what one reply asked for
    # ran together, but where the framework runs one tool after the other.
    in_sequence = ["CP102"] if name in ("agno+openinference", "langfuse") else []
    found = {finding.code for finding in run.findings} - {"CP103"}
    assert sorted(found) == in_sequence
