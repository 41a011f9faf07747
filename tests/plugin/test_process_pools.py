"""Tools in a process pool: measured by the worker's clock, and the application notices nothing."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import multiprocessing
import re
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

import causepath
from causepath.export.trace_file import TraceFile
from tests.plugin.test_tools import DONE, TWO_TOOLS, USAGE, converse, result
from tests.support import pool_tools
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording
from tests.support.script import InOrder, Reply, ToolUse
from tests.support.traced_programs import spans_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.programs

METHODS = [
    one for one in ("fork", "spawn", "forkserver") if one in multiprocessing.get_all_start_methods()
]

Times = "Sequence[tuple[int, int]]"


def executor(method: str, **options: Any) -> Any:
    context: Any = multiprocessing.get_context(method)
    return ProcessPoolExecutor(2, mp_context=context, **options)


def pool(method: str, **options: Any) -> Any:
    return multiprocessing.get_context(method).Pool(2, **options)


# -- ways to give a tool to a pool; each gives what the calls gave back


def submitted(workers: Any, calls: Any) -> Any:
    table = {"search": pool_tools.search, "save": pool_tools.save}
    futures = [workers.submit(table[call.name], **call.input) for call in calls]
    return [future.result() for future in futures]


def submitted_to_be_found(workers: Any, calls: Any) -> Any:
    futures = [workers.submit(pool_tools.carry_out, call.name, call.input) for call in calls]
    return [future.result() for future in futures]


def mapped(workers: Any, calls: Any) -> Any:
    return list(workers.map(pool_tools.carry_out_block, [call.to_dict() for call in calls]))


def mapped_in_two(workers: Any, calls: Any) -> Any:
    names, given = [call.name for call in calls], [call.input for call in calls]
    return list(workers.map(pool_tools.carry_out, names, given))


def in_a_loop(workers: Any, calls: Any) -> Any:
    async def main() -> Any:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(
            *(
                loop.run_in_executor(
                    workers, functools.partial(pool_tools.TOOLS[call.name], **call.input)
                )
                for call in calls
            )
        )

    return asyncio.run(main())


def applied(workers: Any, calls: Any) -> Any:
    return [workers.apply(pool_tools.TOOLS[call.name], (), call.input) for call in calls]


def applied_later(workers: Any, calls: Any) -> Any:
    waiting = [workers.apply_async(pool_tools.carry_out, (c.name, c.input)) for c in calls]
    return [one.get() for one in waiting]


def star_mapped(workers: Any, calls: Any) -> Any:
    return workers.starmap(pool_tools.carry_out, [(call.name, call.input) for call in calls])


def mapped_later(workers: Any, calls: Any) -> Any:
    return workers.map_async(pool_tools.carry_out_block, [c.to_dict() for c in calls]).get()


def mapped_one_by_one(workers: Any, calls: Any) -> Any:
    return list(workers.imap(pool_tools.carry_out_block, (c.to_dict() for c in calls)))


def mapped_in_any_order(workers: Any, calls: Any) -> Any:
    return list(workers.imap_unordered(pool_tools.carry_out_block, [c.to_dict() for c in calls]))


WAYS: list[tuple[Any, Any]] = [
    *(
        (executor, way)
        for way in (submitted, submitted_to_be_found, mapped, mapped_in_two, in_a_loop)
    ),
    *(
        (pool, way)
        for way in (
            applied,
            applied_later,
            mapped,
            star_mapped,
            mapped_later,
            mapped_one_by_one,
            mapped_in_any_order,
        )
    ),
]

MEASURED = sorted(
    """\
invoke_agent test_tools  agent inferred (UNSET)
  chat m #1  llm 3/2 tool_call (OK)
  chat m #2  llm 3/2 stop (OK) <-tool_result- execute_tool search <-tool_result- execute_tool save
  execute_tool save  tool id=toolu_v (UNSET) <-tool_call- chat m #1
  execute_tool search  tool id=toolu_s (UNSET) <-tool_call- chat m #1""".splitlines()
)


def ran(recording: Recording) -> list[tuple[str, int, int]]:
    """Name, start and end of each tool, as `pool_tools.search` tells them."""
    return sorted(
        (span.name.removeprefix("execute_tool "), span.start_time or 0, span.end_time or 0)
        for span in recording.spans()
        if span.name.startswith("execute_tool")
    )


ROWS = [
    pytest.param(
        make,
        way,
        method,
        id=f"{make.__name__}-{way.__name__}-{method}",
        marks=[] if method == "fork" or way in (submitted, star_mapped) else [pytest.mark.slow],
    )
    for make, way in WAYS
    for method in METHODS
]
"""Workers that are no forks start slowly: two ways to ask them, all of them in the long tests."""


@pytest.mark.parametrize(("make", "way", "method"), ROWS)
def test_a_call_is_measured_by_the_worker(make: Any, way: Any, method: str, tmp_path: Path) -> None:
    assert measured_by_a_worker(make, way, method, tmp_path) >= 1


@pytest.mark.slow
@pytest.mark.parametrize(("make", "way"), WAYS[::5])
def test_a_call_is_hardly_longer_than_the_worker_takes(make: Any, way: Any, tmp_path: Path) -> None:
    assert measured_by_a_worker(make, way, "fork", tmp_path) <= 1.1


def measured_by_a_worker(make: Any, way: Any, method: str, folder: Path) -> float:
    """Tells how many times as long as the tool itself the span is that is the closest."""
    truth: list[tuple[str, int, int]] = []
    traces = folder / "traces.jsonl"

    def carry_out(calls: Any) -> list[Any]:
        with make(method) as workers:
            truth.extend(way(workers, calls))
        return [result(call.id) for call in calls]

    with (
        MessagesApi(InOrder([TWO_TOOLS, DONE])) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        recording.provider.add_span_processor(SimpleSpanProcessor(TraceFile(traces)))
        converse(client, carry_out)
        assert sorted(recording.text().splitlines()) == MEASURED
        found = ran(recording)
    written = [span["name"] for span in spans_in(traces)]
    # None by a worker besides.
    assert sum(name.startswith("execute_tool") for name in written) == 2
    ratios = []
    for (name, start, end), (ran_name, began, ended) in zip(found, sorted(truth), strict=True):
        assert name == ran_name
        assert start <= began
        assert ended <= end
        ratios.append((end - start) / (ended - began))
    return min(ratios)


def test_an_error_and_a_tool_that_nobody_asked_for(tmp_path: Path) -> None:
    """A declared tool is measured whoever asks, and once, also where the worker has the plugin."""
    traces = tmp_path / "traces.jsonl"

    def carry_out(calls: Any) -> list[Any]:
        call = calls[0]
        with executor("fork") as workers, causepath.agent("inside"):
            future = workers.submit(pool_tools.carry_out, call.name, call.input)
            assert isinstance(future.exception(30), LookupError)
            workers.submit(pool_tools.look_up, "z").result(30)
        return [result(call.id)]

    asked = Reply([ToolUse("fail", {"q": "x"}, id="toolu_f")], usage=USAGE)
    with (
        MessagesApi(InOrder([asked, DONE])) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        recording.provider.add_span_processor(SimpleSpanProcessor(TraceFile(traces)))
        converse(client, carry_out)
        assert recording.text() == (
            "invoke_agent test_tools  agent inferred (UNSET)\n"
            "  chat m #1  llm 3/2 tool_call (OK)\n"
            "  chat m #2  llm 3/2 stop (OK) <-tool_result- execute_tool fail\n"
            "invoke_agent inside  agent (UNSET)\n"
            "  execute_tool fail  tool id=toolu_f error=LookupError (ERROR)"
            " <-tool_call- chat m #1\n"
            "  execute_tool look_up  tool read-only (UNSET)"
        )
    assert traces.read_text().count('"execute_tool ') == 2


@pytest.mark.parametrize("method", METHODS)
def test_what_cannot_be_measured_is_inferred(method: str) -> None:
    """Several calls in a chunk, workers that an initializer may have closed. One that died has
    given up its call."""

    def carry_out(calls: Any) -> list[Any]:
        given = [call.input["q"] for call in calls]
        with pool(method) as workers:
            workers.map(pool_tools.fine, given[:2], 2)
        with executor(method, initializer=pool_tools.fine, initargs=("x",)) as workers:
            workers.submit(pool_tools.fine, given[2]).result(30)
        with executor(method) as workers:
            workers.submit(pool_tools.carry_out, "dies", calls[3].input).exception(30)
        return [result(call.id) for call in calls]

    asked = Reply(
        [ToolUse("fine", {"q": f"x{n}"}, id=f"toolu_{n}") for n in range(3)]
        + [ToolUse("dies", {"q": "x"}, id="toolu_3")],
        usage=USAGE,
    )
    with (
        MessagesApi(InOrder([asked, DONE])) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        converse(client, carry_out)
        tools = [
            line.split("  tool ")[1] for line in recording.text().splitlines() if "  tool " in line
        ]
    inferred = 2 if method == "fork" else 3
    assert sum(tool.startswith("inferred") for tool in tools) == inferred
    assert sum("error=given_up" in tool for tool in tools) == 1
    assert len(tools) == 4


def test_the_signal_that_ends_a_worker_is_the_systems_until_it_has_spans() -> None:
    """Python may lose it in a worker that is about to wait, and then its pool waits for ever."""
    with Recording(), pool("fork") as workers:
        assert workers.apply(pool_tools.at_sigterm) == "SIG_DFL"


# -- the application sees what it sees without us


def told(error: BaseException) -> str:
    """An exception, with its traceback in the worker."""
    cause = error.__cause__
    text = f"{type(error).__qualname__}: {error}"
    text += f" caused by {type(cause).__qualname__}: {cause}" if cause is not None else ""
    text += f" noted {getattr(error, '__notes__', None)}"
    # A forked worker has what stands in for a function of a module, as its parent has.
    text = re.sub(r'  File "[^"]*/causepath/(proxies|inside).*\n    .*\n( +[~^]+\n)?', "", text)
    return re.sub(r"0x[0-9a-f]+|line \d+|File \"[^\"]*\"", "?", text)


def outcome(get: Callable[[], Any]) -> Any:
    try:
        return get()
    except BaseException as error:
        return told(error)


def by_executor(method: str, given: dict[str, Any]) -> list[Any]:
    seen: list[Any] = []
    with executor(method) as workers:
        for function in (*pool_tools.FINE.values(), lambda q: q):
            future = workers.submit(function, **given)
            assert type(future) is concurrent.futures.Future
            seen.append(outcome(lambda future=future: future.result(30)))
            seen.append([future.done(), future.cancelled(), future.cancel(), future.running()])
        seen.append(outcome(lambda: workers.submit()))
        seen.append(outcome(lambda: workers.submit(pool_tools.fine, threading_lock()).result(30)))
        many = [workers.submit(pool_tools.fine, **given) for _ in range(40)]
        cancelled = [future for future in many if future.cancel()]
        done = concurrent.futures.wait(many, 30).done
        seen.append([done == set(many), all(future.cancelled() for future in cancelled)])
        seen.append(outcome(lambda: list(workers.map(pool_tools.fine, ["x"] * 5, chunksize=2))))
        seen.append(outcome(lambda: list(workers.map(pool_tools.raises, ["x"] * 3))))
        seen.append(outcome(lambda: workers.submit(pool_tools.leaves, **given).result(30)))
        called: list[Any] = []
        future = workers.submit(pool_tools.fine, **given)
        future.add_done_callback(lambda it: called.append(it is future))
        future.result(30)
    seen += [called, outcome(lambda: workers.submit(pool_tools.fine, **given))]
    with executor(method) as workers:
        seen.append(outcome(lambda: workers.submit(pool_tools.dies, **given).result(30)))
        seen.append(outcome(lambda: workers.submit(pool_tools.fine, **given).result(30)))
    with executor(method) as workers:
        seen.append(outcome(lambda: workers.submit(pool_tools.raises_odd, **given).result(30)))
    started: dict[str, Any] = {"initializer": pool_tools.fine, "initargs": ("x",)}
    with executor(method, **started) as workers:
        seen.append(outcome(lambda: workers.submit(pool_tools.fine, **given).result(30)))
    if method != "fork" and sys.version_info >= (3, 11):
        with executor(method, max_tasks_per_child=1) as workers:
            seen.append(list(workers.map(pool_tools.fine, [*given.values()] * 3)))
    return seen


def by_pool(method: str, given: dict[str, Any]) -> list[Any]:
    seen: list[Any] = []
    called: list[Any] = []
    values = list(given.values())
    with pool(method, maxtasksperchild=2) as workers:
        for function in (*pool_tools.FINE.values(), lambda q: q):
            seen.append(outcome(lambda function=function: workers.apply(function, (), given)))
            later = workers.apply_async(
                function, (), given, called.append, lambda error: called.append(told(error))
            )
            seen.append(outcome(lambda later=later: later.get(30)))
            seen.append(type(later).__name__)
            # With a size of chunks, as a pool divides by the number of workers to find one, and
            # that is 0 for a moment where they are replaced.
            for way in (workers.map, workers.imap, workers.imap_unordered):
                seen.append(outcome(lambda way=way, f=function: list(way(f, values, 1))))
                seen.append(outcome(lambda way=way, f=function: list(way(f, values * 5, 2))))
            seen.append(outcome(lambda f=function: workers.starmap(f, [values] * 2, 1)))
        seen.append(outcome(lambda: workers.apply_async()))
        seen.append(outcome(lambda: list(workers.imap(pool_tools.fine, broken()))))
        seen.append(outcome(lambda: workers.map(pool_tools.fine, broken())))
        seen.append(outcome(lambda: workers.apply(pool_tools.fine, threading_lock())))
        seen.append(outcome(lambda: workers.apply(pool_tools.fine, (threading_lock(),))))
        workers.close()
        workers.join()
    seen += [called, outcome(lambda: workers.apply(pool_tools.fine, (), given))]
    with ThreadPool(2) as threads:
        seen.append(threads.map(pool_tools.fine, ["x", "y"]))
        seen.append(threads.apply(pool_tools.fine, ("x",)))
    return seen


def threading_lock() -> Any:
    return threading.Lock()


def broken() -> Iterator[str]:
    yield "x"
    raise ArithmeticError("in the iterator")


ALL = Reply(
    [
        ToolUse(name, {"q": "x"}, id=f"toolu_{name}_{n}")
        for name in (*pool_tools.FINE, "<lambda>", "raises_odd", "leaves", "dies")
        for n in range(60)
    ],
    usage=USAGE,
)


@pytest.mark.parametrize(
    ("use", "method"),
    [
        pytest.param(
            use,
            method,
            id=f"{use.__name__}-{method}",
            marks=[] if method == "fork" else [pytest.mark.slow],
        )
        for use in (by_executor, by_pool)
        for method in METHODS
    ],
)
def test_the_application_sees_what_it_sees_without_us(use: Any, method: str) -> None:
    saw = []
    for enabled in (False, True):
        with (
            MessagesApi(InOrder([ALL])) as api,
            Recording() if enabled else nullcontext() as recording,
            anthropic.Anthropic(base_url=api.url, api_key="test") as client,
        ):
            reply = client.messages.create(
                model="m", max_tokens=9, messages=[{"role": "user", "content": "?"}]
            )
            saw.append(use(method, reply.content[0].input))
            if recording is not None:
                measured = [span.name for span in recording.spans() if "fine" in span.name]
                assert len(measured) > 1
    assert saw[0] == saw[1]
