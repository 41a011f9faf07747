"""Tools of an MCP server whose SDK writes spans of its own: each call is one call in the report."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sysconfig
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp import ClientSession
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from causepath.export.trace_file import TraceFile
from tests.plugin.test_mcp import TWO, asker, converse
from tests.support.mcp_server import in_memory, lookups
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording
from tests.support.script import InOrder, Reply, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CAUSEPATH = Path(sysconfig.get_path("scripts")) / "causepath"


@asynccontextmanager
async def session() -> AsyncIterator[ClientSession]:
    async with in_memory(lookups()) as streams, ClientSession(*streams) as active:
        await active.initialize()
        yield active


def test_client_server_and_tool_are_one_call(tmp_path: Path) -> None:
    async def main(url: str) -> None:
        async with session() as active:
            await converse(url, asker(active))

    traces = tmp_path / "traces.jsonl"
    done = Reply("Done.", usage=Usage(3, 2))
    with MessagesApi(InOrder([TWO, done])) as api, Recording() as recording:
        recording.provider.add_span_processor(SimpleSpanProcessor(TraceFile(traces)))
        asyncio.run(main(api.url))
        recording.text()
    found: Any = json.loads(
        subprocess.run([CAUSEPATH, traces, "--json"], check=True, capture_output=True).stdout
    )
    (run,) = (trace for trace in found["traces"] if trace["calls"]["llm"])
    assert run["calls"] == {"llm": 2, "tool": 2}
