"""Work that a run hands to a thread goes on in the run, where the application does not see to that.

Threads, timers, and the thread pools of the standard library with all that is built on them
(`run_in_executor`, say) begin each piece of work in a context of their own, in which no run is
known. `CARRIERS` is all that is patched for it. Nothing of ours is on the stack while the work is
done, nor in its traceback, and only OpenTelemetry's context is set: no other context variable.
"""

# ruff: noqa: SLF001 - there is no public way into a thread that has not begun

from __future__ import annotations

import contextvars
import sys
import threading
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel

from causepath.budgets.spending import with_budget_of, with_open_budget
from causepath.calls.runs import enclosing_run
from causepath.code.application_stack import enter_thread, keep, origin_here
from causepath.code.frames import NOT_THE_APPLICATION
from causepath.guard import harmless
from causepath.otel.operation import detach

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType, ModuleType

    from opentelemetry.context import Context

    from causepath.calls.open_runs import OpenRuns
    from causepath.code.application_stack import Origin
    from causepath.hooks.patches import Patches

BEGIN_WORKERS = NOT_THE_APPLICATION | {"logging", "multiprocessing", "queue", "socketserver"}
"""Packages whose threads work for whoever comes, not for who was there when they began."""


class Carriers:
    """Patches of what hands work to threads: `modules` are the places, one module each."""

    def __init__(self, runs: OpenRuns, handed_over: Callable[[object], None]) -> None:
        self._runs = runs
        self._handed_over = handed_over
        """Told of each function that a thread is to call, while tools are asked for."""
        self.modules: Mapping[str, Mapping[str, Callable[[Any], Any]]] = {
            "threading": {"Thread.start": self._start},
            "concurrent.futures.thread": {"_WorkItem.__init__": self._work_item},
            "multiprocessing.pool": {
                "Pool.apply_async": self._apply_async,
                "Pool._guarded_task_generation": self._tasks,
            },
        }

    def wrap(self, module: ModuleType, patches: Patches) -> None:
        for name, make in self.modules[module.__name__].items():
            patches.wrap(module.__name__, name, make)

    @harmless(None)
    def _carried(self) -> Context | None:
        """Finds the context to go on in, if there is a run or a budget to go on with."""
        here = self._runs.here()
        with_budget = with_open_budget(here)
        if with_budget is not None:
            return with_budget
        return here if enclosing_run(here) is not None else None

    # -- threads and timers

    def _start(self, original: Any) -> Callable[..., Any]:
        def start(self_: threading.Thread) -> Any:
            self._give(self_, sys._getframe(1))
            return original(self_)

        return start

    @harmless(None)
    def _give(self, thread: Any, beginner: FrameType) -> None:
        module = beginner.f_globals.get("__name__")
        if str(module).partition(".")[0] in BEGIN_WORKERS:
            return
        context, origin = self._carried(), origin_here(beginner)
        if self._runs.asks():
            self._handed_over(getattr(thread, "_target", None))
        if (context is None and origin is None) or "_set_ident" in vars(thread):
            return
        if context is not None and hasattr(
            thread, "_context"
        ):  # since Python 3.14 threads have a context themselves
            if thread._context is None:
                inherits = getattr(sys.flags, "thread_inherit_context", False)
                thread._context = contextvars.copy_context() if inherits else contextvars.Context()
            thread._context.run(otel.attach, context)
            context = None
        identify = thread._set_ident

        def set_ident() -> None:
            """Enters the context, as the first thing that is done in the new thread."""
            vars(thread).pop("_set_ident", None)
            enter_thread(origin)
            if context is not None:
                _enter(context)
            identify()

        thread._set_ident = set_ident

    # -- executors

    def _work_item(self, original: Any) -> Callable[..., Any]:
        def init(self_: Any, future: Any, *args: Any, **kwargs: Any) -> None:
            original(self_, future, *args, **kwargs)
            self._give_future(future, args)
            _remember(self_, sys._getframe(1))

        return init

    @harmless(None)
    def _give_future(self, future: Any, args: Any) -> None:
        if args and self._runs.asks():
            # Since Python 3.14 the function comes with its arguments.
            self._handed_over(args[0][0] if type(args[0]) is tuple else args[0])
        context = self._carried()
        if context is not None:
            InWorker(future, context)

    # -- pools of threads

    def _apply_async(self, original: Any) -> Callable[..., Any]:
        def apply_async(self_: Any, func: Any, args: Any = (), *rest: Any, **named: Any) -> Any:
            given = self._given(self_, args, sys._getframe(1))
            return original(self_, func, args if given is None else given, *rest, **named)

        return apply_async

    def _tasks(self, original: Any) -> Callable[..., Any]:
        def guarded_task_generation(self_: Any, *args: Any, **kwargs: Any) -> Any:
            tasks = original(self_, *args, **kwargs)
            return self._with_arguments(self_, tasks, sys._getframe(1)) or tasks

        return guarded_task_generation

    @harmless(None)
    def _with_arguments(self, pool: Any, tasks: Any, top: FrameType) -> Iterator[Any] | None:
        if not _has_threads(pool):
            return None
        return _carrying(tasks, self._carried(), origin_here(top))

    @harmless(None)
    def _given(self, pool: Any, args: Any, top: FrameType) -> Arguments | None:
        if not _has_threads(pool):
            return None
        return _arguments(args, self._carried(), origin_here(top))


@harmless(None)
def _remember(work: object, top: FrameType) -> None:
    origin = origin_here(top)
    if origin is not None:
        keep(work, origin)


class InWorker:
    """The context of a piece of work, from when a worker takes it up to when its result is known.

    Both are told to its future, in the thread of the worker, and by nobody else.
    """

    TOLD = ("set_running_or_notify_cancel", "set_result", "set_exception")

    def __init__(self, future: Any, context: Context) -> None:
        self._future = future
        self._context = context
        self._token: Any = None
        for name in self.TOLD:
            setattr(future, name, getattr(self, name))

    @harmless(None)
    def _leave(self) -> None:
        """Gives the future back as it was, and the worker its context."""
        for name in self.TOLD:
            vars(self._future).pop(name, None)
        token, self._token = self._token, None
        detach(token)

    @harmless(None)
    def _begin(self) -> None:
        self._token = _enter(self._context)
        for name in self.TOLD[1:]:
            setattr(self._future, name, getattr(self, name))

    # Whatever becomes of our part, the future is told: somebody waits for it. What it is told by
    # is asked of its class, as ours may still be in the way.

    def set_running_or_notify_cancel(self) -> Any:
        self._leave()
        is_running = type(self._future).set_running_or_notify_cancel(self._future)
        if is_running:
            self._begin()
        return is_running

    def set_result(self, result: Any) -> Any:
        self._leave()
        return type(self._future).set_result(self._future, result)

    def set_exception(self, exception: Any) -> Any:
        self._leave()
        return type(self._future).set_exception(self._future, exception)


class Arguments(tuple[Any, ...]):
    """The arguments of a piece of work: looked at right before it is done, by who does it."""

    context: Context | None
    origin: Origin | None

    def __iter__(self) -> Iterator[Any]:
        _take_up(self.context, self.origin)
        return super().__iter__()


def _arguments(args: Any, context: Context | None, origin: Origin | None) -> Arguments:
    found = Arguments(args)
    found.context, found.origin = context, origin
    return found


def _carrying(
    tasks: Iterator[Any], context: Context | None, origin: Origin | None
) -> Iterator[Any]:
    for job, i, function, args, kwargs in tasks:
        yield job, i, function, _arguments(args, context, origin), kwargs


def _has_threads(pool: Any) -> bool:
    return isinstance(pool, sys.modules["multiprocessing.pool"].ThreadPool)


class _Worker(threading.local):
    token: Any = None


_worker = _Worker()


@harmless(None)
def _take_up(context: Context | None, origin: Origin | None) -> None:
    """Enters this context or the worker's own, as it begins another piece of work."""
    enter_thread(origin)
    detach(_worker.token)
    _worker.token = _enter(context) if context is not None else None


@harmless(None)
def _enter(context: Context) -> Any:
    """Enters the context, unless the application has seen to it itself."""
    current = otel.get_current()
    run = enclosing_run(current)
    if run is None or run.is_over:
        return otel.attach(context)
    with_budget = with_budget_of(context, current)
    return otel.attach(with_budget) if with_budget is not None else None
