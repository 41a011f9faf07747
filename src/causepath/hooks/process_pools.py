"""Tools that a process pool carries out: which work is one, and when the pool has done it.

Wrapped is what both pools of the standard library do in the process that asks. `worker_clock` has
what reaches the others.
"""

from __future__ import annotations

import copy
import functools
import os
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel
from opentelemetry import trace

from causepath.calls import worker_clock
from causepath.calls.runs import below_remote, enclosing_run
from causepath.guard import harmless
from causepath.otel.operation import Operation, Step, detach
from causepath.otel.span_access import is_suppressed
from causepath.tool_functions.measured_functions import Declared, declared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from causepath.calls.open_runs import OpenRuns
    from causepath.calls.runs import AskedTool
    from causepath.calls.tool_calls import ToolCalls
    from causepath.hooks.patches import Patches

EXECUTOR = "concurrent.futures.process"

POOL = "multiprocessing.pool"


class Submitted:
    """A function on its way into an executor, until its work has a number."""

    def __init__(self, function: Any, task: Task) -> None:
        self.function = function
        self.task = task

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __reduce__(self) -> Any:
        return copy.copy, (self.function,)


@dataclass(frozen=True, slots=True)
class Task:
    """A piece of work of a run: one that carries out a tool call perhaps."""

    tool_calls: ToolCalls
    tool: str
    below: worker_clock.Below | None
    """The span that it is done below."""
    here: Context
    submitted_ns: int
    operation: Operation | None = None
    """The tool call."""
    asked: AskedTool | None = None
    in_list: bool = False
    """Whether its result comes in a list, of one."""

    @harmless(None)
    def over(self, times: tuple[int, int] | None, result: Any, error: BaseException | None) -> None:
        """Ends the work; `times` are known unless no worker has done it."""
        if self.operation is None:
            return
        if times is None:
            self.given_up()
            return
        start_ns = max(times[0], self.submitted_ns)
        with Step(self.here):
            self.operation.began(start_ns)
            if error is None:
                self.operation.returned(result[0] if self.in_list else result)
            self.operation.end(error, max(times[1], start_ns))

    @harmless(None)
    def given_up(self) -> None:
        """Puts the call back, because nothing has carried it out: something else may yet."""
        if self.operation is not None:
            self.tool_calls.nobody(self.operation, self.asked)


class ProcessPools:
    """The work that pools of this process hand to others."""

    def __init__(self, runs: OpenRuns, tool_calls: ToolCalls) -> None:
        self._runs = runs
        self._tool_calls = tool_calls
        self._submitting = threading.local()
        worker_clock.join = self._join

    @harmless(None)
    def _join(self, below: worker_clock.Below) -> Callable[[], None] | None:
        """Joins a worker, a process with a plugin of its own, to the run that handed the work
        over."""
        context = below_remote(*below)
        token = otel.attach(context)
        return lambda: detach(token)

    def undo(self) -> None:
        """Joins nothing any more in a worker."""
        if worker_clock.join == self._join:
            worker_clock.join = worker_clock.apart

    def wrap(self, module: ModuleType, patches: Patches) -> None:
        """All of a pool's functions, or none where this Python has not all of them."""
        wrappers: dict[str, Callable[[Any], Any]]
        if module.__name__ == EXECUTOR:
            wrappers = {
                "ProcessPoolExecutor.submit": self._submit,
                "_CallItem.__init__": _call_item,
                "_ExecutorManagerThread.process_result_item": _result_item,
            }
        else:
            wrappers = {
                "Pool.apply_async": self._apply_async,
                "Pool._guarded_task_generation": self._tasks,
                "ApplyResult.__init__": self._job,
                "ApplyResult._set": _outcome,
                "MapResult._set": _outcome,
                "IMapIterator._set": _outcome,
                "IMapUnorderedIterator._set": _outcome,
            }
        paths = [name.split(".") for name in wrappers]
        if all(name in vars(getattr(module, owner, object)) for owner, name in paths):
            for name, make in wrappers.items():
                patches.wrap(module.__name__, name, make)

    @harmless(None)
    def _task(
        self,
        pool: Any,
        function: Any,
        args: Any,
        kwargs: Any,
        here: Context | None = None,
    ) -> Task | None:
        """Describes the work, if it carries out a tool call that can be measured."""
        asks, in_list = self._runs.asks(), False
        here = self._runs.here() if here is None else here
        is_of_run = enclosing_run(here) is not None
        told = _of_one(function, args)
        if told is not None:
            (function, args), in_list = told, True
        while isinstance(function, functools.partial):
            args, kwargs = (*function.args, *args), {**function.keywords, **kwargs}
            function = function.func
        tool = declared(function)
        if not (asks or is_of_run or (tool is not None and not tool.only_asked)):
            return None
        if not _reaches(pool):
            return None
        tool = tool or Declared(getattr(function, "__name__", ""), None, only_asked=True)
        now_ns = time.time_ns()
        with Step(here):
            if is_suppressed():
                return None
            calls = self._tool_calls
            asked = calls.asked_elsewhere(tool.name, function, args, kwargs) if asks else None
            if asked is None and tool.only_asked:
                below = _below(trace.get_current_span(here))
                return Task(self._tool_calls, "", below, here, now_ns) if is_of_run else None
            name = asked.call.name if asked is not None else tool.name
            operation = calls.elsewhere(name, asked, function, args, kwargs, tool.read_only)
        if operation is None:
            return None
        below = _below(operation.span)
        return Task(self._tool_calls, name, below, here, now_ns, operation, asked, in_list)

    # -- concurrent.futures

    def _submit(self, original: Any) -> Callable[..., Any]:
        def submit(self_: Any, *args: Any, **kwargs: Any) -> Any:
            task = self._task(self_, args[0], args[1:], kwargs) if args else None
            if task is None:
                return original(self_, *args, **kwargs)
            try:
                return original(self_, Submitted(args[0], task), *args[1:], **kwargs)
            except BaseException:
                task.given_up()
                raise

        return submit

    # -- multiprocessing

    def _apply_async(self, original: Any) -> Callable[..., Any]:
        def apply_async(self_: Any, *args: Any, **kwargs: Any) -> Any:
            task, args, kwargs = self._applied(self_, args, kwargs) or (None, args, kwargs)
            if task is None:
                return original(self_, *args, **kwargs)
            self._submitting.task = task
            try:
                return original(self_, *args, **kwargs)
            except BaseException:
                task.given_up()
                raise
            finally:
                self._submitting.task = None

        return apply_async

    @harmless(None)
    def _applied(self, pool: Any, args: Any, kwargs: Any) -> tuple[Task | None, Any, Any]:
        given = dict(zip(("func", "args", "kwds"), args, strict=False)) | kwargs
        unnamed, named = given.get("args", ()), given.get("kwds", {})
        if "func" not in given or not isinstance(unnamed, tuple | list) or type(named) is not dict:
            return None, args, kwargs
        task = self._task(pool, given["func"], tuple(unnamed), named)
        if task is not None:
            if len(args) > 2:
                args = (*args[:2], worker_clock.Keywords(named), *args[3:])
            else:
                kwargs = {**kwargs, "kwds": worker_clock.Keywords(named)}
        return task, args, kwargs

    def _job(self, original: Any) -> Callable[..., Any]:
        def init(self_: Any, *args: Any, **kwargs: Any) -> None:
            original(self_, *args, **kwargs)
            self._numbered(self_)

        return init

    @harmless(None)
    def _numbered(self, result: Any) -> None:
        task = getattr(self._submitting, "task", None)
        if task is not None:
            self._submitting.task = None
            result._job = _sent(result._job, task)
            result._causepath = {0: task}

    def _tasks(self, original: Any) -> Callable[..., Any]:
        def guarded_task_generation(self_: Any, *args: Any, **kwargs: Any) -> Any:
            tasks = original(self_, *args, **kwargs)
            return self._marking(tasks, self_, *args, **kwargs) or tasks

        return guarded_task_generation

    @harmless(None)
    def _marking(self, tasks: Any, pool: Any, job: Any, *_: Any) -> Any:
        """`tasks`, of which those are numbered by us that carry out a tool call."""
        numbered: dict[int, Task] = {}
        pool._cache[job]._causepath = numbered
        return self._marked(tasks, pool, self._runs.here(), numbered)

    def _marked(
        self, tasks: Iterator[Any], pool: Any, here: Context, numbered: dict[int, Task]
    ) -> Iterator[Any]:
        for task in tasks:
            yield self._mark(task, pool, here, numbered) or task

    @harmless(None)
    def _mark(self, task: Any, pool: Any, here: Context, numbered: dict[int, Task]) -> Any:
        job, i, function, args, kwargs = task
        found = self._task(pool, function, args, kwargs, here)
        if found is None:
            return None
        numbered[i] = found
        return _sent(job, found), i, function, args, worker_clock.Keywords(kwargs)


def _call_item(original: Any) -> Callable[..., Any]:
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        _number(self)

    return init


@harmless(None)
def _number(item: Any) -> None:
    submitted = item.fn
    if type(submitted) is Submitted:
        number = _sent(item.work_id, submitted.task)
        item.fn = submitted.function
        # To the end, as what is unpickled last is what happens right before the work.
        del item.work_id
        item.work_id = number


def _result_item(original: Any) -> Callable[..., Any]:
    def process_result_item(self: Any, *args: Any, **kwargs: Any) -> Any:
        _executed(self, *args, **kwargs)
        return original(self, *args, **kwargs)

    return process_result_item


@harmless(None)
def _executed(executor: Any, result_item: Any) -> None:
    times = worker_clock.times()
    if not isinstance(result_item, int):  # else a worker has ended
        item = executor.pending_work_items.get(result_item.work_id)
        if item is not None and type(item.fn) is Submitted:
            item.fn.task.over(times, result_item.result, result_item.exception)


def _outcome(original: Any) -> Callable[..., Any]:
    def set_outcome(self: Any, *args: Any, **kwargs: Any) -> Any:
        _pooled(self, *args, **kwargs)
        return original(self, *args, **kwargs)

    return set_outcome


@harmless(None)
def _pooled(result: Any, i: int, outcome: Any) -> None:
    times = worker_clock.times()
    task = vars(result).get("_causepath", {}).pop(i, None)
    if task is not None:
        succeeded, value = outcome
        task.over(times, value if succeeded else None, None if succeeded else value)


def _of_one(function: Any, args: Any) -> tuple[Any, Any] | None:
    """The function and the arguments of a chunk of calls, where the chunk has only one."""
    executor, pool = sys.modules.get(EXECUTOR), sys.modules.get(POOL)
    if executor is not None and getattr(function, "func", None) is executor._process_chunk:
        function, chunk = function.args[0], args[0]
        return (function, chunk[0]) if len(chunk) == 1 else None
    if pool is not None and (function is pool.mapstar or function is pool.starmapstar):
        is_star = function is pool.starmapstar
        function, chunk = args[0]
        return (function, chunk[0] if is_star else chunk) if len(chunk) == 1 else None
    return None


def _reaches(pool: Any) -> bool:
    """Tells whether workers can read our numbers, whatever the application makes of them.

    A new interpreter has to import us, which an initializer may have made impossible.
    """
    threads = sys.modules.get(POOL)
    if threads is not None and isinstance(pool, threads.ThreadPool):
        return False  # where functions are called as they are
    context = pool._mp_context if hasattr(pool, "_mp_context") else pool._ctx
    if context.get_start_method() == "fork":
        return True
    executable = sys.modules["multiprocessing.spawn"].get_executable()
    return pool._initializer is None and executable in (
        sys.executable,
        os.fsencode(sys.executable or ""),
    )


def _below(span: Span) -> worker_clock.Below | None:
    context = span.get_span_context()
    if not context.is_valid:
        return None
    return context.trace_id, context.span_id, int(context.trace_flags)


def _sent(number: int, task: Task) -> worker_clock.Sent:
    sent = worker_clock.Sent(number)
    sent.tool, sent.below = task.tool, task.below
    return sent
