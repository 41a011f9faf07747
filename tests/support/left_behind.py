"""All that the plugin may change in a process: compared before and after, it is put back.

What is patched is found by its mark in every module that the plugin's tables name, so that a row
more in a table is looked at without a line here. `os.register_at_fork` alone cannot be undone:
`causepath.forks` registers one function for the life of the process, which tells what is living.
"""

from __future__ import annotations

import atexit
import faulthandler
import gc
import logging
import os
import signal
import sys
import threading
import types
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from causepath.calls import worker_clock
from causepath.code import frameworks
from causepath.hooks import claude_agent, mcp
from causepath.hooks.import_hooks import _WAITING
from causepath.hooks.patches import MARK
from causepath.instrumentor import PROVIDERS
from causepath.tool_functions.stand_in import MeasuredFunction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

END_SECONDS = 5.0
"""The time in which a thread of ours has to end."""

STANDARD = (
    "asyncio.timeouts",
    "concurrent.futures.process",
    "concurrent.futures.thread",
    "multiprocessing.pool",
    "threading",
)
"""Modules of the standard library that have patched functions."""


class ExitFunctions:
    """The functions of ours that run at exit, which Python itself has no list of."""

    def __init__(self) -> None:
        self.registered: list[Callable[..., object]] = []
        self._register, self._unregister = atexit.register, atexit.unregister
        atexit.register = self._note  # type: ignore[assignment]
        atexit.unregister = self._forget

    def _note(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        if _is_ours(function):
            self.registered.append(function)
        return self._register(function, *args, **kwargs)

    def _forget(self, function: Any) -> None:
        self.registered = [one for one in self.registered if one != function]
        self._unregister(function)


EXIT_FUNCTIONS = ExitFunctions()


def state() -> dict[str, object]:
    """Reads everything that is one value: it has to be the same before and after."""
    monitoring = getattr(sys, "monitoring", None)
    return {
        "finder hooks": dict(_WAITING.hooks),
        "trace": (sys.gettrace(), sys.getprofile(), threading.gettrace(), threading.getprofile()),
        "monitoring": [monitoring.get_tool(tool) for tool in range(6)] if monitoring else [],
        "hooks": (sys.excepthook, sys.unraisablehook, sys.displayhook, threading.excepthook),
        "collector": [one for one in gc.callbacks if _is_ours(one)],  # Hypothesis has one
        "signals": {name: signal.getsignal(name) for name in signal.valid_signals()},
        "OpenTelemetry": (
            trace._set_tracer_provider,
            trace.get_tracer_provider,
            trace.ProxyTracer._tracer,
        ),
        "workers": worker_clock.join,
        "ends of the process": (os._exit, signal.raise_signal),
    }


def left_behind(seconds: float = END_SECONDS) -> list[str]:
    """Lists what of ours is still there, as text: nothing, once the plugin is disabled.

    Threads have so many seconds to end.
    """
    found = [f"patched: {place}" for module in modules() for place in _patched(module)]
    found += [f"runs at exit: {function}" for function in EXIT_FUNCTIONS.registered]
    workers = sys.modules.get("multiprocessing.util")
    if workers is not None:
        callbacks = [one._callback for one in workers._finalizer_registry.values()]
        found += [f"runs at a worker's exit: {one}" for one in callbacks if _is_ours(one)]
    # Others come and stay, such as that of a package which an SDK imports.
    if any(type(finder).__module__ == _WAITING.__module__ for finder in sys.meta_path):
        found.append("finder in sys.meta_path")
    if faulthandler.unregister(signal.SIGTERM):  # which is the only way to ask
        found.append("SIGTERM is handled")
    found += [f"log filter: {name}" for name, one in _log_filters() if _is_ours(one)]
    found += [f"thread: {one.name}" for one in threading.enumerate() if not _ends(one, seconds)]
    return found


def modules() -> list[Any]:
    """Lists the modules that have patched functions, as far as they are imported."""
    names = {*STANDARD, *frameworks.MODULES, *mcp.CALLERS}
    names |= {claude_agent.TRANSPORT, claude_agent.QUERY}
    for name, description in PROVIDERS.items():
        if name in sys.modules and description in sys.modules:
            names |= {target.module for target in sys.modules[description].PROVIDER.targets}
    return [sys.modules[name] for name in sorted(names) if name in sys.modules]


def _patched(module: Any) -> Iterator[str]:
    for name, value in list(vars(module).items()):
        if _is_wrapper(value):
            yield f"{module.__name__}.{name}"
        elif isinstance(value, type):
            for member, function in list(vars(value).items()):
                if _is_wrapper(getattr(function, "__func__", function)):
                    yield f"{module.__name__}.{name}.{member}"


def _is_wrapper(value: object) -> bool:
    if type(value) is MeasuredFunction:
        return True
    # What another library has wrapped again since, as wrapt does, is theirs to give back.
    return type(value) is types.FunctionType and hasattr(value, MARK)


def _is_ours(function: Any) -> bool:
    owner = getattr(function, "__self__", None)
    kinds = [getattr(function, "__module__", None), type(owner).__module__]
    return any(str(kind).partition(".")[0] == "causepath" for kind in kinds)


def _log_filters() -> Iterator[tuple[str, object]]:
    for name, logger in list(logging.Logger.manager.loggerDict.items()):
        for one in getattr(logger, "filters", ()):
            yield name, one


def _ends(thread: threading.Thread, seconds: float) -> bool:
    """Tells a thread that is not ours, or that ends by itself in time."""
    if not thread.name.startswith("causepath") and not _is_ours(getattr(thread, "_target", None)):
        return True
    thread.join(seconds)
    return not thread.is_alive()
