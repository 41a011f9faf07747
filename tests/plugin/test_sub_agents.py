"""Agents that other agents have as tools: a tool call, with the agent inside."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import anthropic
import pytest

import causepath
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording
from tests.support.script import Reply, ToolUse, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.script import Request

USAGE = Usage(3, 2)

GOT = "<-tool_result- execute_tool"

CLIENT: list[Any] = []


def script(request: Request) -> Reply:
    """The boss asks for two tools; who is asked a question by one of them answers it."""
    if request.question == "boss" and not request.tool_results:
        return Reply(
            [
                ToolUse("find", {"q": "one"}, id="toolu_1"),
                ToolUse("note", {"q": "two"}, id="toolu_2"),
            ],
            usage=USAGE,
        )
    return Reply("About " + request.question, usage=USAGE)


def ask(q: str) -> str:
    messages: list[Any] = [{"role": "user", "content": q}]
    reply = CLIENT[0].messages.create(model="m", max_tokens=9, messages=messages)
    return str(reply.content[0].text)


@causepath.agent
def find(q: str) -> str:
    return ask(q)


@causepath.agent("writer")
def write(q: str) -> str:
    return ask(q)


@causepath.tool(name="note")
@causepath.agent("writer")
def tool_around_agent(q: str) -> str:
    return ask(q)


@causepath.agent("writer")
@causepath.tool(name="note")
def agent_around_tool(q: str) -> str:
    return ask(q)


@causepath.agent("find")
async def find_later(q: str) -> str:
    return await asyncio.to_thread(ask, q)


@causepath.agent("writer")
async def write_later(q: str) -> str:
    return await asyncio.to_thread(ask, q)


TABLES: dict[str, dict[str, Callable[..., Any]]] = {
    "agents": {"find": find, "note": write},
    "tool around agent": {"find": find, "note": tool_around_agent},
    "agent around tool": {"find": find, "note": agent_around_tool},
    "tools() around agents": causepath.tools({"find": find, "note": write}),
    "coroutines": {"find": find_later, "note": write_later},
}


def one_by_one(tools: Any, calls: Any) -> list[Any]:
    return [tools[call.name](**call.input) for call in calls]


def in_a_pool(tools: Any, calls: Any) -> list[Any]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda call: tools[call.name](**call.input), calls))


async def together(waiting: list[Any]) -> list[Any]:
    return await asyncio.gather(*waiting)


def boss(client: Any, tools: Any, way: Any) -> None:
    messages: list[Any] = [{"role": "user", "content": "boss"}]
    reply = client.messages.create(model="m", max_tokens=9, messages=messages)
    results = way(tools, reply.content)
    if asyncio.iscoroutine(results[0]):
        results = asyncio.run(together(results))
    said: list[Any] = [
        {"type": "tool_result", "tool_use_id": block.id, "content": result}
        for block, result in zip(reply.content, results, strict=True)
    ]
    messages += [
        {"role": "assistant", "content": reply.content},
        {"role": "user", "content": said},
    ]
    client.messages.create(model="m", max_tokens=9, messages=messages)


@pytest.mark.parametrize("declared", [False, True], ids=["undeclared", "declared"])
@pytest.mark.parametrize("way", [one_by_one, in_a_pool])
@pytest.mark.parametrize("tools", TABLES)
def test_an_agent_that_is_a_tool_is_a_tool_call_with_the_agent_inside(
    tools: str, way: Any, declared: bool
) -> None:
    with (
        MessagesApi(script) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        CLIENT[:] = [client]
        with causepath.agent("boss") if declared else contextlib.nullcontext():
            boss(client, TABLES[tools], way)
        run = "boss  agent" if declared else "test_sub_agents  agent inferred"
        first, *lines = recording.text().splitlines()
    assert first == f"invoke_agent {run} (UNSET)"
    wanted = [
        "  chat m #1  llm 3/2 tool_call (OK)",
        "  execute_tool find  tool id=toolu_1 (UNSET) <-tool_call- chat m #1",
        "    invoke_agent find  agent (UNSET)",
        "      chat m #1  llm 3/2 stop (OK)",
        "  execute_tool note  tool id=toolu_2 (UNSET) <-tool_call- chat m #1",
        "    invoke_agent writer  agent (UNSET)",
        "      chat m #1  llm 3/2 stop (OK)",
        f"  chat m #2  llm 3/2 stop (OK) {GOT} find {GOT} note",
    ]
    assert sorted(lines) == sorted(wanted)
