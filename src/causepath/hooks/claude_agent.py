"""Sessions of the Claude Agent SDK: each is one run, which the CLI's own spans are a part of.

The SDK hands the current span to its CLI as `TRACEPARENT`, and the CLI writes the model calls and
the tools, into whatever it is told to export to. What is missing is a span to hand over, which
`query()` and `ClaudeSDKClient` get here unless the application has declared a run around them.
"""

from __future__ import annotations

import weakref
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from causepath.guard import harmless

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from types import ModuleType

    from causepath.calls.run_spans import RunSpans
    from causepath.hooks.patches import Patches
    from causepath.otel.operation import Operation

TRANSPORT = "claude_agent_sdk._internal.transport.subprocess_cli"
"""Where `SubprocessCLITransport` is, which starts the CLI and ends it."""

QUERY = "claude_agent_sdk._internal.query"
"""Where `Query` is, whose tasks run the application's hooks and tools."""

NAME = "claude-agent"
"""The name of a run that nobody named."""


class ClaudeSessions:
    """The runs of the sessions that are open."""

    modules = (TRANSPORT, QUERY)

    def __init__(self, run_spans: RunSpans) -> None:
        self._run_spans = run_spans
        self._open: weakref.WeakKeyDictionary[Any, Operation] = weakref.WeakKeyDictionary()

    def wrap(self, module: ModuleType, patches: Patches) -> None:
        if module.__name__ == QUERY:
            patches.wrap(QUERY, "Query.start", self._start)
        else:
            patches.wrap(TRANSPORT, "SubprocessCLITransport.connect", self._connect)
            patches.wrap(TRANSPORT, "SubprocessCLITransport.close", self._close)

    def _connect(self, original: Any) -> Callable[..., Any]:
        async def connect(self_: Any, *args: Any, **kwargs: Any) -> Any:
            self._opened(self_)
            try:
                with self._inside(self_):
                    return await original(self_, *args, **kwargs)
            except BaseException as error:
                self._closed(self_, error)
                raise

        return connect

    def _start(self, original: Any) -> Callable[..., Any]:
        async def start(self_: Any, *args: Any, **kwargs: Any) -> Any:
            with self._inside(getattr(self_, "transport", None)):
                return await original(self_, *args, **kwargs)

        return start

    def _close(self, original: Any) -> Callable[..., Any]:
        async def close(self_: Any, *args: Any, **kwargs: Any) -> Any:
            # Set where the CLI ended with an error, until the transport is closed.
            error = getattr(self_, "_exit_error", None)
            try:
                return await original(self_, *args, **kwargs)
            finally:
                self._closed(self_, error)

        return close

    @harmless(None)
    def end_open(self) -> None:
        """Ends the runs of the sessions that are still open, as the process ends."""
        for transport in list(self._open):
            self._closed(transport, None)

    @harmless(None)
    def _opened(self, transport: Any) -> None:
        operation = None if transport in self._open else self._run_spans.undeclared(NAME)
        if operation is not None:
            self._open[transport] = operation
            weakref.finalize(transport, _dropped, operation).atexit = False

    @harmless(nullcontext())
    def _inside(self, transport: Any) -> AbstractContextManager[None]:
        operation = self._open.get(transport) if transport is not None else None
        return nullcontext() if operation is None else operation.step()

    @harmless(None)
    def _closed(self, transport: Any, error: BaseException | None) -> None:
        operation = self._open.pop(transport, None)
        if operation is not None:
            operation.end(error)


@harmless(None)
def _dropped(operation: Operation) -> None:
    """Ends the run of a session that is gone, if nobody has closed it."""
    if operation.span.is_recording():
        operation.end()
