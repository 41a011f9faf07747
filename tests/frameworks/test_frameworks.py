"""Agents in the frameworks that are used over the SDKs: one run, each tool measured exactly once.

`make test-frameworks` installs them. Each agent is a process of its own (`run.py`).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.traced_programs import plain_environment

ROOT = Path(__file__).parents[2]
SDK = ROOT / ".sdk" / "frameworks" / "site-packages"
OPENAI_2 = ROOT / ".sdk" / "frameworks-openai2" / "site-packages"

pytestmark = pytest.mark.frameworks

GOT = "<-tool_result- execute_tool"
AGENT = """\
{run}
  {chat} #1  llm {usage} tool_call{first} (OK)
  execute_tool {0}search  tool id=toolu_1 (UNSET) <-tool_call- {chat} #1
  execute_tool {0}save  tool id=toolu_2 (UNSET) <-tool_call- {chat} #1
  {chat} #2  llm {usage} tool_call{first} (OK) {got} {0}search {got} {0}save
  execute_tool {0}fail  tool id=toolu_3 error={error} (ERROR) <-tool_call- {chat} #2
  {chat} #3  llm {usage} stop{first} (OK) {got} {0}fail"""


def agent(
    run: str = "invoke_agent agents  agent inferred (UNSET)",
    *,
    chat: str = "chat m",
    usage: str = "3/2",
    first: str = "",
    error: str = "LookupError",
    prefix: str = "",
) -> str:
    return AGENT.format(prefix, run=run, chat=chat, usage=usage, first=first, error=error, got=GOT)


IN_TASK = "invoke_agent run  agent inferred (UNSET)"
"""Nothing of the application is on the stack of a framework's task but the loop that runs it."""

STREAMED = " first-chunk"

# Their own spans of the agent and of its turns are around ours, those of the tools completed.
STRANDS = f"""\
invoke_agent Strands Agents  agent (OK)
  execute_event_loop_cycle  agent (OK)
    chat  llm 3/2 (OK)
      chat m #1  llm 3/2 tool_call first-chunk (OK)
    execute_tool search  tool id=toolu_1 (OK) <-tool_call- chat m #1
    execute_tool save  tool id=toolu_2 (OK) <-tool_call- chat m #1
  execute_event_loop_cycle  agent (OK)
    chat  llm 3/2 (OK)
      chat m #2  llm 3/2 tool_call first-chunk (OK) {GOT} search {GOT} save
    execute_tool fail  tool id=toolu_3 (ERROR) <-tool_call- chat m #2
  execute_event_loop_cycle  agent (OK)
    chat  llm 3/2 (OK)
      chat m #3  llm 3/2 stop first-chunk (OK) {GOT} fail"""

PYDANTIC_AI_INSTRUMENTED = f"""\
invoke_agent agent  agent (UNSET)
  chat m  llm 3/2 tool_call (UNSET)
    chat m #1  llm 3/2 tool_call (OK)
  execute_tool search  tool id=toolu_1 (UNSET) <-tool_call- chat m #1
  execute_tool save  tool id=toolu_2 (UNSET) <-tool_call- chat m #1
  chat m  llm 3/2 tool_call (UNSET)
    chat m #2  llm 3/2 tool_call (OK) {GOT} search {GOT} save
  execute_tool fail  tool id=toolu_3 (ERROR) <-tool_call- chat m #2
  chat m  llm 3/2 stop (UNSET)
    chat m #3  llm 3/2 stop (OK) {GOT} fail"""

# Its requests bring results without the ids of their calls.
SMOLAGENTS = """\
invoke_agent agent  agent inferred (UNSET)
  chat m #1  llm 3/2 tool_call (OK)
  execute_tool search  tool id=toolu_1 (UNSET) <-tool_call- chat m #1
  execute_tool save  tool id=toolu_2 (UNSET) <-tool_call- chat m #1
  chat m #2  llm 3/2 tool_call (OK)
  execute_tool fail  tool id=toolu_3 error=LookupError (ERROR) <-tool_call- chat m #2
  chat m #3  llm 3/2 tool_call (OK)
  execute_tool final_answer  tool id=toolu_4 (UNSET) <-tool_call- chat m #3"""

AUTOGEN = "create_agent a  agent (UNSET)\n"
AUTOGEN_RUN = "invoke_agent a  agent (UNSET)"

AGENTS: dict[str, tuple[Path, dict[str, str]]] = {
    "langchain": (
        SDK,
        {
            "langchain": agent(),
            "langchain_async": agent(IN_TASK),
            "langchain_streaming": agent(IN_TASK, first=STREAMED),
            "langchain_classes": agent(),
            "langchain_openai": agent(IN_TASK),
        },
    ),
    "pydantic_ai": (
        SDK,
        {
            "pydantic_ai": agent(error="ModelRetry"),
            "pydantic_ai_async": agent(IN_TASK, error="ModelRetry"),
            "pydantic_ai_streaming": agent(error="ModelRetry", first=STREAMED),
            "pydantic_ai_openai": agent(IN_TASK, error="ModelRetry"),
            "pydantic_ai_instrumented": PYDANTIC_AI_INSTRUMENTED,
        },
    ),
    "openai_agents": (
        SDK,
        {
            "openai_agents": agent(),
            "openai_agents_async": agent(IN_TASK),
            "openai_agents_streaming": agent(IN_TASK, first=STREAMED),
        },
    ),
    "smolagents": (SDK, {"smolagents_tools": SMOLAGENTS}),
    # It keeps the tracer of its first provider for good.
    "strands": (SDK, {"strands": STRANDS}),
    "strands_async": (SDK, {"strands_async": STRANDS}),
    "strands_streaming": (SDK, {"strands_streaming": STRANDS}),
    "agno": (
        SDK,
        {
            "agno": agent(),
            "agno_async": agent(),
            "agno_streaming": agent(first=STREAMED),
        },
    ),
    "autogen": (
        SDK,
        {
            "autogen": AUTOGEN + agent(AUTOGEN_RUN),
            "autogen_streaming": AUTOGEN + agent(AUTOGEN_RUN, usage="-/-", first=STREAMED),
        },
    ),
    "semantic_kernel": (
        SDK,
        {"semantic_kernel": agent("AutoFunctionInvocationLoop  other (UNSET)", prefix="Plugin-")},
    ),
    "haystack": (SDK, {"haystack": agent(), "haystack_async": agent()}),
    "llama_index": (
        OPENAI_2,
        {
            "llama_index": agent(IN_TASK, chat="chat gpt-4o"),
            "llama_index_streaming": agent(
                IN_TASK, chat="chat gpt-4o", usage="-/-", first=STREAMED
            ),
        },
    ),
    "crewai": (
        OPENAI_2,
        {"crewai": agent(chat="chat gpt-4o")},
    ),
}

# Spans of tools that others write are completed: the call's id, its cause, and its category.
BESIDE: dict[str, tuple[str, list[str]]] = {
    "langchain": (
        "openinference.instrumentation.langchain:LangChainInstrumentor",
        ["search", "save", "fail"],
    ),
    "langchain_async": (
        "opentelemetry.instrumentation.langchain:LangchainInstrumentor",
        ["execute_tool search", "execute_tool save", "execute_tool fail"],
    ),
    "openai_agents_async": (
        "openinference.instrumentation.openai_agents:OpenAIAgentsInstrumentor",
        ["search", "save", "fail"],
    ),
    "smolagents_tools": (
        "openinference.instrumentation.smolagents:SmolagentsInstrumentor",
        ["SimpleTool", "SimpleTool", "SimpleTool", "FinalAnswerTool"],
    ),
    "agno_async": (
        "openinference.instrumentation.agno:AgnoInstrumentor",
        ["search", "save", "fail"],
    ),
}


def recorded(folder: Path, *arguments: str) -> dict[str, dict[str, Any]]:
    assert folder.exists(), f"needs make {folder.parent.relative_to(ROOT)}/.ready"
    done = subprocess.run(
        [sys.executable, "-m", "tests.frameworks.run", *arguments],
        env={
            **plain_environment(CAUSEPATH_DIGESTS="off"),
            "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT))),
        },
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def in_order(text: str) -> str:
    """Tools that run together begin in any order."""
    for prefix in ("", "Plugin-"):
        both = f"{GOT} {prefix}save {GOT} {prefix}search"
        text = text.replace(both, f"{GOT} {prefix}search {GOT} {prefix}save")
    lines = text.splitlines()
    for number, line in enumerate(lines[:-1]):
        if "execute_tool save" in line and lines[number + 1].lstrip().startswith(
            ("execute_tool search", "execute_tool Plugin-search")
        ):
            lines[number : number + 2] = [lines[number + 1], line]
    return "\n".join(lines)


def assert_durations(ratios: list[float]) -> None:
    """Each span is around its tool, and hardly longer; on a busy machine one may be."""
    assert min(ratios) >= 1
    assert statistics.median(ratios) <= 1.1
    assert max(ratios) <= 1.5


@pytest.mark.parametrize("framework", AGENTS)
def test_the_tools_of_a_framework_are_measured(framework: str) -> None:
    folder, expected = AGENTS[framework]
    found = recorded(folder, ",".join(expected))
    assert {name: in_order(one["text"]) for name, one in found.items()} == expected
    assert [one["failed"] for one in found.values()] == [[]] * len(expected)
    assert [len(one["ratios"]) for one in found.values()] == [3] * len(expected)
    assert_durations([ratio for one in found.values() for ratio in one["ratios"]])


@pytest.mark.parametrize("name", BESIDE)
def test_the_span_that_others_write_of_a_tool_is_completed(name: str) -> None:
    instrumentor, names = BESIDE[name]
    found = recorded(SDK, name, instrumentor)[name]
    assert found["failed"] == []
    tools = [line.split("  ") for line in found["text"].replace("\n", "\n  ").splitlines()]
    told = [
        (name, about)
        for line in tools
        for name, about in [[part.strip() for part in line if part][:2]]
        if about.startswith("tool ")
    ]
    assert sorted(name for name, _ in told) == sorted(names)
    assert all("id=toolu_" in about and "<-tool_call- " in about for _, about in told)
    assert_durations(found["ratios"])
