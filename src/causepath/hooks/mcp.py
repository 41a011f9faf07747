"""Tools that an MCP server carries out, measured where the client asks for them.

Each call is one `execute_tool` span: ours, or, where a function measured as a tool or the SDK's
tool runner passes the call on, the span that there is already.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from causepath.guard import harmless
from causepath.otel import semconv

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from causepath.calls.tool_calls import ToolCalls
    from causepath.hooks.patches import Patches
    from causepath.otel.operation import Operation

CALLERS = {
    "mcp.client.session": "ClientSession",
    "mcp.client.client": "Client",
    "mcp.client.session_group": "ClientSessionGroup",
}
"""By module, the classes with a `call_tool`. The later ones call the first."""

LISTING = "mcp.client.session"
"""Where `list_tools` is, which tells what servers say of their tools."""

MAX_HINTS = 10_000
"""Tools of one session whose hints are remembered."""


class Sessions:
    """Sessions with servers: what these have said of their tools, and the wrappers that need it."""

    modules = CALLERS

    def __init__(self, tool_calls: ToolCalls) -> None:
        self._tool_calls = tool_calls
        self._read_only: weakref.WeakKeyDictionary[Any, dict[str, bool]] = (
            weakref.WeakKeyDictionary()
        )

    def wrap(self, module: ModuleType, patches: Patches) -> None:
        patches.wrap(module.__name__, f"{CALLERS[module.__name__]}.call_tool", self._call_tool)
        if module.__name__ == LISTING:
            patches.wrap(
                module.__name__, f"{CALLERS[module.__name__]}.list_tools", self._list_tools
            )

    def _call_tool(self, original: Any) -> Callable[..., Any]:
        async def call_tool(self_: Any, *args: Any, **kwargs: Any) -> Any:
            operation = self._opened(self_, args, kwargs)
            if operation is None:
                return await original(self_, *args, **kwargs)
            with operation:
                result = await original(self_, *args, **kwargs)
                _look_at_result(operation, result)
                return result

        return call_tool

    def _list_tools(self, original: Any) -> Callable[..., Any]:
        async def list_tools(self_: Any, *args: Any, **kwargs: Any) -> Any:
            result = await original(self_, *args, **kwargs)
            self._remember(self_, result)
            return result

        return list_tools

    @harmless(None)
    def _opened(self, caller: Any, args: Any, kwargs: Any) -> Operation | None:
        name, arguments = (*args, None, None)[:2]
        name = kwargs.get("name", name)
        arguments = kwargs.get("arguments", arguments)
        if not isinstance(name, str):
            return None
        return self._tool_calls.of_mcp(
            name,
            arguments if isinstance(arguments, Mapping) else {},
            self._is_read_only(caller, name),
            _error_type,
        )

    @harmless(None)
    def _remember(self, session: Any, listing: Any) -> None:
        hints = self._read_only.setdefault(session, {})
        for tool in listing.tools:
            hint = _read_only_hint(tool)
            if hint is not None and len(hints) < MAX_HINTS:
                hints[tool.name] = hint

    @harmless(None)
    def _is_read_only(self, caller: Any, name: str) -> bool | None:
        listed = getattr(caller, "tools", None)
        if isinstance(listed, Mapping) and name in listed:  # a group of sessions
            return _read_only_hint(listed[name])
        session = getattr(caller, "session", caller)  # of a client, which may not be hashable
        return self._read_only.get(session, {}).get(name)


@harmless(None)
def _look_at_result(operation: Operation, result: Any) -> None:
    operation.returned(result)
    # `isError` in releases before 2.0.
    if getattr(result, "is_error", None) is True or getattr(result, "isError", None) is True:
        operation.fail(semconv.TOOL_ERROR)


def _error_type(error: BaseException) -> str:
    """Gives the code of the JSON-RPC error, as the conventions have it."""
    code = getattr(getattr(error, "error", None), "code", None)
    return str(code) if isinstance(code, int) else type(error).__qualname__


def _read_only_hint(tool: Any) -> bool | None:
    hints = getattr(tool, "annotations", None)
    hint = getattr(hints, "read_only_hint", None)
    if hint is None:
        hint = getattr(hints, "readOnlyHint", None)
    return hint if isinstance(hint, bool) else None
