"""The Claude Agent SDK, with a stand-in for its CLI: a session is one run, and the CLI knows it."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace

import causepath
from tests.support import claude_cli

pytest.importorskip("claude_agent_sdk")
from claude_agent_sdk import (
    ClaudeAgentOptions,
    ClaudeSDKClient,
    ResultMessage,
    create_sdk_mcp_server,
    query,
    tool,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.recording import Recording

RUN = "invoke_agent claude-agent  agent inferred"


@pytest.fixture
def options(tmp_path: Path) -> ClaudeAgentOptions:
    """Options that lead to the stand-in."""
    cli = tmp_path / "claude"
    cli.write_text(f'#!/bin/sh\nexec {sys.executable} {claude_cli.__file__} "$@"\n')
    cli.chmod(0o755)
    return ClaudeAgentOptions(cli_path=cli)


async def found(messages: Any) -> Any:
    """What the CLI found in its environment."""
    (result,) = [message async for message in messages if isinstance(message, ResultMessage)]
    assert result.result is not None
    return json.loads(result.result)


def traceparent(span: Any) -> str:
    context = span.context
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def test_a_query_is_a_run_that_the_cli_continues(
    recording: Recording, options: ClaudeAgentOptions
) -> None:
    told = asyncio.run(found(query(prompt="hello", options=options)))
    (run,) = recording.spans()
    assert recording.text() == f"{RUN} (UNSET)"
    assert told == {"TRACEPARENT": traceparent(run), "TRACESTATE": None}


def test_a_client_is_one_run_however_often_it_asks(
    recording: Recording, options: ClaudeAgentOptions
) -> None:
    async def main() -> list[Any]:
        async with ClaudeSDKClient(options) as client:
            told = []
            for prompt in ("first", "second"):
                await client.query(prompt)
                told.append(await found(client.receive_response()))
            assert not trace.get_current_span().get_span_context().is_valid
            return told

    told = asyncio.run(main())
    (run,) = recording.spans()
    assert recording.text() == f"{RUN} (UNSET)"
    assert [one["TRACEPARENT"] for one in told] == [traceparent(run)] * 2


def test_a_declared_run_is_the_run(recording: Recording, options: ClaudeAgentOptions) -> None:
    async def main() -> Any:
        with causepath.agent("research"):
            return await found(query(prompt="hello", options=options))

    told = asyncio.run(main())
    (run,) = recording.spans()
    assert recording.text() == "invoke_agent research  agent (UNSET)"
    assert told["TRACEPARENT"] == traceparent(run)


def test_the_tools_of_the_application_run_inside(
    recording: Recording, options: ClaudeAgentOptions
) -> None:
    @tool("search", "Look something up.", {"query": str})
    async def search(given: dict[str, Any]) -> dict[str, Any]:
        with trace.get_tracer("app").start_as_current_span("look up"):
            return {"content": [{"type": "text", "text": f"found {given['query']}"}]}

    options.mcp_servers = {"here": create_sdk_mcp_server("here", tools=[search])}

    async def main() -> None:
        async with ClaudeSDKClient(options) as client:
            await client.query("use search")
            await found(client.receive_response())

    asyncio.run(main())
    assert len({span.context.trace_id for span in recording.spans()}) == 1
    mcp_writes = ("initialize", "tools/call")  # from release 2 on
    lines = [line.strip() for line in recording.text().splitlines()]
    assert [line for line in lines if not line.startswith(mcp_writes)] == [
        f"{RUN} (UNSET)",
        "look up  other (UNSET)",
    ]


def test_sessions_at_once_are_runs_of_their_own(
    recording: Recording, options: ClaudeAgentOptions
) -> None:
    async def main() -> list[Any]:
        asked = (found(query(prompt="hello", options=options)) for _ in range(3))
        return await asyncio.gather(*asked)

    told = asyncio.run(main())
    runs = recording.spans()
    assert sorted(one["TRACEPARENT"] for one in told) == sorted(map(traceparent, runs))


@pytest.mark.parametrize("where", ["the CLI", "no CLI", "the loop"])
def test_a_session_that_fails_ends_its_run(
    recording: Recording, options: ClaudeAgentOptions, where: str
) -> None:
    if where == "no CLI":
        options.cli_path = "/nowhere/claude"

    async def main() -> None:
        async with ClaudeSDKClient(options) as client:
            await client.query("crash" if where == "the CLI" else "hello")
            async for _ in client.receive_response():
                raise KeyError

    expected = {"the CLI": "ProcessError", "no CLI": "CLINotFoundError", "the loop": "KeyError"}
    with pytest.raises(Exception) as raised:
        asyncio.run(main())
    assert type(raised.value).__name__ == expected[where]
    (line,) = recording.text().splitlines()
    assert line.startswith(RUN)
    assert ("error" in line) == (where != "the loop")
