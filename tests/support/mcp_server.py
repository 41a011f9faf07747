"""A real MCP server with two tools. `python -m tests.support.mcp_server` serves it over stdio."""

from __future__ import annotations

import contextlib
import threading
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from mcp import types

try:
    from mcp.server.mcpserver import MCPServer
except ImportError:  # before release 2.0
    from mcp.server.fastmcp import FastMCP as MCPServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


def lookups() -> Any:
    server = MCPServer("lookups")

    @server.tool(annotations=types.ToolAnnotations(readOnlyHint=True))
    def search(q: str) -> str:
        return f"found {q}"

    @server.tool()
    def broken(q: str) -> str:
        raise LookupError(q)

    return server


@asynccontextmanager
async def in_memory(server: Any) -> AsyncIterator[tuple[Any, Any]]:
    """The client's streams to `server`, which runs as a task."""
    import anyio
    from mcp.shared.memory import create_client_server_memory_streams

    own = getattr(server, "_lowlevel_server", None) or server._mcp_server
    async with (
        create_client_server_memory_streams() as (client, (read, write)),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(own.run, read, write, own.create_initialization_options())
        yield client
        tasks.cancel_scope.cancel()


@contextmanager
def over_http(server: Any) -> Iterator[str]:
    """The URL of `server`, which runs in a thread."""
    import uvicorn

    http = uvicorn.Server(
        uvicorn.Config(
            server.streamable_http_app(), port=0, log_level="error", timeout_graceful_shutdown=1
        )
    )
    started = threading.Event()
    startup = http.startup

    async def told(*args: Any, **kwargs: Any) -> None:
        await startup(*args, **kwargs)
        started.set()

    http.startup = told  # type: ignore[method-assign]
    thread = threading.Thread(target=http.run, daemon=True)
    thread.start()
    assert started.wait(20)
    try:
        port = http.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        http.should_exit = True
        thread.join(10)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        lookups().run("stdio")
