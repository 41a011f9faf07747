"""Tools of an MCP server: one `execute_tool` for each call, over every transport."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from mcp import ClientSession, StdioServerParameters, types
from mcp.client.session_group import ClientSessionGroup
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from opentelemetry.trace import ProxyTracer

import causepath
from tests.support.mcp_server import in_memory, lookups, over_http
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording, lines
from tests.support.script import InOrder, Reply, ToolUse, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Ask = Callable[[str, dict[str, Any]], Awaitable[Any]]

ROOT = Path(__file__).parents[2]
USAGE = Usage(3, 2)
DONE = Reply("Done.", usage=USAGE)
PREFIX = "lookups__"
NEW = not version("mcp").startswith("1.")
TWO = Reply(
    [
        ToolUse(f"{PREFIX}search", {"q": "x"}, id="toolu_s"),
        ToolUse("broken", {"q": "y"}, id="toolu_b"),
    ],
    usage=USAGE,
)

RUN = "invoke_agent test_mcp  agent inferred (UNSET)"
CHAT_1 = "  chat m #1  llm 3/2 tool_call (OK)"
CALL = "<-tool_call- chat m #1"
BOTH = f"""\
{RUN}
{CHAT_1}
  execute_tool lookups__search  tool read-only id=toolu_s (UNSET) {CALL}
  execute_tool broken  tool id=toolu_b error=tool_error (ERROR) {CALL}
  chat m #2  llm 3/2 stop (OK) \
<-tool_result- execute_tool lookups__search <-tool_result- execute_tool broken"""


@pytest.fixture(autouse=True)
def own_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has newer releases of the MCP SDK write their own spans in each test, not only in the first,
    whose provider their tracer would be bound to."""
    if NEW:
        monkeypatch.setattr("mcp.shared._otel._tracer", ProxyTracer("mcp-python-sdk"))


@asynccontextmanager
async def memory_session() -> AsyncIterator[ClientSession]:
    async with in_memory(lookups()) as streams, ClientSession(*streams) as session:
        await session.initialize()
        yield session


@asynccontextmanager
async def stdio_session() -> AsyncIterator[ClientSession]:
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "tests.support.mcp_server"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*sys.path[:2], ROOT]))},
    )
    async with stdio_client(server) as streams, ClientSession(*streams) as session:
        await session.initialize()
        yield session


@asynccontextmanager
async def http_session() -> AsyncIterator[ClientSession]:
    with over_http(lookups()) as url:
        async with (
            streamable_http_client(url) as streams,
            ClientSession(*streams[:2]) as session,
        ):
            await session.initialize()
            yield session


def asker(session: Any) -> Ask:
    async def ask(name: str, arguments: dict[str, Any]) -> Any:
        return await session.call_tool(name.removeprefix(PREFIX), arguments)

    return ask


async def converse(url: str, ask: Ask) -> None:
    """A hand-written loop whose tools are calls of `ask`."""
    async with anthropic.AsyncAnthropic(base_url=url, api_key="test") as client:
        messages: list[Any] = [{"role": "user", "content": "?"}]
        reply = await client.messages.create(model="m", max_tokens=9, messages=messages)
        results = []
        for block in reply.content:
            result = await ask(block.name, block.input)
            results.append(
                {
                    "type": "tool_result",
                    "tool_use_id": block.id,
                    "content": result.content[0].text,
                }
            )
        messages += [
            {"role": "assistant", "content": reply.content},
            {"role": "user", "content": results},
        ]
        await client.messages.create(model="m", max_tokens=9, messages=messages)


def traced(session: Any, make: Callable[[Any], Ask] = asker, first: Reply = TWO) -> str:
    """What the plugin wrote; newer releases of the MCP SDK write spans of their own below it."""

    async def main(url: str) -> None:
        async with session() as active:
            if hasattr(active, "list_tools"):
                await active.list_tools()
            await converse(url, make(active))

    with MessagesApi(InOrder([first, DONE])) as api, Recording() as recording:
        asyncio.run(main(api.url))
        recording.text()
        return "\n".join(lines([span for span in recording.spans() if _is_ours(span)]))


def _is_ours(span: Any) -> bool:
    return bool(span.instrumentation_scope.name != "mcp-python-sdk")


@pytest.mark.parametrize("session", [memory_session, stdio_session, http_session])
def test_a_session(session: Any) -> None:
    assert traced(session) == BOTH


@pytest.mark.skipif(not NEW, reason="releases before 2.0 have no such client")
def test_the_client_of_newer_releases() -> None:
    from mcp.client.client import Client

    assert traced(lambda: Client(lookups())) == BOTH


def test_a_group_of_sessions() -> None:
    @asynccontextmanager
    async def group() -> AsyncIterator[ClientSessionGroup]:
        async with memory_session() as session:
            every = ClientSessionGroup(component_name_hook=lambda name, _: f"{PREFIX}{name}")
            info: Any = types.Implementation(name="lookups", version="1")
            await every.connect_with_session(info, session)
            yield every

    first = Reply(
        [
            ToolUse(f"{PREFIX}search", {"q": "x"}, id="toolu_s"),
            ToolUse(f"{PREFIX}broken", {"q": "y"}, id="toolu_b"),
        ],
        usage=USAGE,
    )
    text = traced(group, lambda every: every.call_tool, first)
    assert text == BOTH.replace("execute_tool broken", f"execute_tool {PREFIX}broken")


@pytest.mark.parametrize(
    "call",
    [
        lambda session, name, arguments: session.call_tool(name, arguments),
        lambda session, name, arguments: session.call_tool(name=name, arguments=arguments),
    ],
    ids=["by place", "by name"],
)
def test_the_arguments_tell_which_of_two_calls_it_is(call: Any) -> None:
    def make(session: Any) -> Ask:
        async def the_other_one_first(name: str, arguments: dict[str, Any]) -> Any:
            return await call(session, name, {"q": {"x": "y", "y": "x"}[arguments["q"]]})

        return the_other_one_first

    asked = [ToolUse("search", {"q": q}, id=f"toolu_{q}") for q in "xy"]
    text = traced(memory_session, make, Reply(asked, usage=USAGE))
    assert re.findall("id=(toolu_.)", text) == ["toolu_y", "toolu_x"], text


@pytest.mark.parametrize(
    ("sent", "asked_of_local"),
    [(lambda given: given, "xy"), (dict, "vw")],
    ids=["equal arguments, the very object", "other arguments"],
)
@pytest.mark.parametrize("is_local_first", [False, True])
def test_a_tool_of_the_application_may_have_the_name_of_a_servers(
    sent: Any, asked_of_local: str, is_local_first: bool
) -> None:
    async def search(q: str) -> str:
        return f"found {q} here"

    def make(session: Any) -> Ask:
        tools = {"search": search}

        async def ask(name: str, arguments: dict[str, Any]) -> Any:
            if name in tools:
                text = await tools[name](**arguments)
                return types.CallToolResult(content=[types.TextContent(type="text", text=text)])
            return await session.call_tool(name.removeprefix(PREFIX), sent(arguments))

        return ask

    theirs = [ToolUse(f"{PREFIX}search", {"q": q}, id=f"toolu_{PREFIX}{q}") for q in "xy"]
    own = [ToolUse("search", {"q": q}, id=f"toolu_own_{q}") for q in asked_of_local]
    asked = [*own, *theirs] if is_local_first else [*theirs, *own]
    text = traced(memory_session, make, Reply(asked, usage=USAGE))
    found = re.findall(r"execute_tool (\S+)  tool (?:read-only )?id=(\S+)", text)
    assert found == [(use.name, use.id) for use in asked], text


def test_a_measured_function_that_passes_its_call_on_is_the_one_span() -> None:
    def make(session: Any) -> Ask:
        @causepath.tool(name=f"{PREFIX}search")
        async def search(q: str) -> Any:
            return await session.call_tool("search", {"q": q})

        async def ask(name: str, arguments: dict[str, Any]) -> Any:
            if name == f"{PREFIX}search":
                return await search(**arguments)
            return await session.call_tool(name, arguments)

        return ask

    assert traced(memory_session, make) == BOTH


def test_the_tool_runner_passes_calls_on() -> None:
    helpers = pytest.importorskip("anthropic.lib.tools.mcp")
    first = Reply([ToolUse("search", {"q": "x"}, id="toolu_s")], usage=USAGE)

    async def main(url: str) -> None:
        async with (
            memory_session() as session,
            anthropic.AsyncAnthropic(base_url=url, api_key="test") as client,
        ):
            listing = await session.list_tools()
            tools = [helpers.async_mcp_tool(tool, session) for tool in listing.tools]
            await client.beta.messages.tool_runner(
                model="m", max_tokens=9, tools=tools, messages=[{"role": "user", "content": "?"}]
            ).until_done()

    with MessagesApi(InOrder([first, DONE])) as api, Recording() as recording:
        asyncio.run(main(api.url))
        recording.text()
        (call,) = (span for span in recording.spans() if span.name.startswith("execute_tool"))
        assert call.attributes is not None
        assert call.attributes["gen_ai.tool.call.id"] == "toolu_s"
        assert call.attributes["mcp.method.name"] == "tools/call"
        assert call.attributes["causepath.tool.read_only"] is True


def test_a_call_that_takes_too_long_has_the_code_of_the_error() -> None:
    from mcp.shared import exceptions

    too_long: Any = exceptions.MCPError if NEW else exceptions.McpError  # type: ignore[attr-defined]

    async def main() -> None:
        async with memory_session() as session:
            with pytest.raises(too_long):
                await session.call_tool("search", {"q": "x"}, 0.0 if NEW else timedelta(0))

    with Recording() as recording:
        asyncio.run(main())
        (call,) = (span for span in recording.spans() if span.name == "execute_tool search")
        told = {k: v for k, v in (call.attributes or {}).items() if ".code." not in k}
        assert {k: v for k, v in told.items() if k not in DIGESTS} == {
            "causepath.category": "tool",
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "search",
            "gen_ai.tool.type": "function",
            "mcp.method.name": "tools/call",
            "error.type": "-32001" if NEW else "408",
        }


DIGESTS = {"causepath.input.blocks", "causepath.tool.places"}


def test_equal_calls_of_concurrent_agents_do_not_mix() -> None:
    same = [Reply([ToolUse("search", {"q": "x"}, id=f"toolu_{i}")], usage=USAGE) for i in range(8)]

    async def agent(url: str, session: Any) -> None:
        await converse(url, asker(session))

    async def main(urls: list[str]) -> None:
        async with memory_session() as session:
            await asyncio.gather(*(agent(url, session) for url in urls))

    apis = [MessagesApi(InOrder([reply, DONE])) for reply in same]
    with Recording() as recording:
        for api in apis:
            api.__enter__()
        try:
            asyncio.run(main([api.url for api in apis]))
        finally:
            for api in apis:
                api.__exit__(None, None, None)
        recording.text()
        ours = [span for span in recording.spans() if _is_ours(span)]
        chats = {span.context.span_id: span for span in ours if span.name.startswith("chat")}
        tools = [span for span in ours if span.name == "execute_tool search"]
        assert len(tools) == len(same)
        for tool in tools:
            (link,) = tool.links
            assert chats[link.context.span_id].context.trace_id == tool.context.trace_id


def test_uninstrumented_sessions_are_as_they_were() -> None:
    from mcp.client import session as module

    before = module.ClientSession.call_tool, module.ClientSession.list_tools
    causepath.instrument()
    assert module.ClientSession.call_tool is not before[0]
    causepath.uninstrument()
    assert (module.ClientSession.call_tool, module.ClientSession.list_tools) == before
