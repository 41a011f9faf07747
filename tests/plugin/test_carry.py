"""Which run a call belongs to, whatever thread, pool, timer, generator or context it is made in."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import decimal
import functools
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from opentelemetry import trace

import causepath
from causepath import guard
from causepath.hooks import carried_context
from tests.support.messages_api import MessagesApi
from tests.support.script import Reply, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.support.recording import Recording

pytestmark = pytest.mark.timeout(30)


@pytest.fixture(scope="module")
def ask() -> Iterator[Callable[..., object]]:
    with (
        MessagesApi(lambda _: Reply("Hello.", usage=Usage(3, 2))) as api,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):

        def ask(*_: object) -> object:
            said: Any = [{"role": "user", "content": "?"}]
            return client.messages.create(model="m", max_tokens=9, messages=said).content[0]

        yield ask


def tree(recording: Recording) -> str:
    """Each root with its kind of children: `digest(chat chat)`."""
    recording.text()
    spans = recording.spans()

    def told(span: Any) -> str:
        below = sorted(
            told(s) for s in spans if s.parent and s.parent.span_id == span.context.span_id
        )
        name = span.name.removeprefix("invoke_agent ").removesuffix(" m")
        name = "inferred" if "causepath.run.inferred" in span.attributes else name
        return f"{name}({' '.join(below)})" if below else name

    return " ".join(sorted(told(span) for span in spans if span.parent is None))


# -- threads, pools, executors, timers


def thread(ask: Any) -> None:
    one = threading.Thread(target=ask)
    one.start()
    one.join()


def subclass(ask: Any) -> None:
    class Worker(threading.Thread):
        def run(self) -> None:
            ask()

    one = Worker()
    one.start()
    one.join()


def timer(ask: Any) -> None:
    one = threading.Timer(0, ask)
    one.start()
    one.join()


def submit(ask: Any) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(ask).result()


def mapped(ask: Any) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(ask, range(1)))


def pool_apply(ask: Any) -> None:
    with ThreadPool(1) as pool:
        pool.apply(ask)


def pool_map(ask: Any) -> None:
    with ThreadPool(2) as pool:
        pool.map(ask, range(1))


def pool_imap(ask: Any) -> None:
    with ThreadPool(2) as pool:
        list(pool.imap_unordered(ask, range(1)))


def loop_executor(ask: Any) -> None:
    async def main() -> None:
        await asyncio.get_running_loop().run_in_executor(None, ask)

    asyncio.run(main())


def to_thread(ask: Any) -> None:
    asyncio.run(asyncio.to_thread(ask))


def from_another_thread(ask: Any) -> None:
    async def work() -> None:
        ask()

    loop = asyncio.new_event_loop()
    runner = threading.Thread(target=loop.run_forever)
    runner.start()
    asyncio.run_coroutine_threadsafe(work(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    runner.join()
    loop.close()


def thread_in_thread(ask: Any) -> None:
    thread(functools.partial(submit, ask))


def call_later(ask: Any) -> None:
    async def main() -> None:
        done = asyncio.Event()

        def later() -> None:
            ask()
            done.set()

        asyncio.get_running_loop().call_later(0, later)
        await done.wait()

    asyncio.run(main())


WAYS = [
    thread, subclass, timer, submit, mapped, pool_apply, pool_map, pool_imap, loop_executor,
    to_thread, from_another_thread, thread_in_thread, call_later,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_what_a_declared_run_hands_on_is_of_that_run(
    way: Any, ask: Any, recording: Recording
) -> None:
    with causepath.agent("digest"):
        way(ask)
    way(ask)
    assert tree(recording) == "digest(chat) inferred(chat)"


@pytest.mark.parametrize("way", WAYS)
def test_a_sub_agent_is_handed_on_too(way: Any, ask: Any, recording: Recording) -> None:
    with causepath.agent("digest"):
        way(causepath.agent("part")(ask))
    assert tree(recording) == "digest(part(chat))"


@pytest.mark.parametrize("pool", [ThreadPoolExecutor, ThreadPool])
def test_workers_that_began_in_a_run_work_for_whoever_comes(
    pool: Any, ask: Any, recording: Recording
) -> None:
    with pool(1) as workers:
        apply = getattr(workers, "submit", None) or workers.apply_async

        def do(work: Any) -> None:
            done = apply(work)
            (getattr(done, "result", None) or done.get)()

        with causepath.agent("first"):
            do(ask)
            with contextvars_free():
                do(ask)
        with causepath.agent("second"):
            do(ask)
        do(ask)
        with pytest.raises(ZeroDivisionError):
            do(lambda: 1 / 0)
        do(ask)
    assert (
        tree(recording) == "first(chat) inferred(chat) inferred(chat) inferred(chat) second(chat)"
    )


@contextlib.contextmanager
def contextvars_free() -> Iterator[None]:
    """As in a callback that began before the run: its context is not current."""
    from opentelemetry import context

    token = context.attach(context.Context())
    try:
        yield
    finally:
        context.detach(token)


@pytest.mark.parametrize("failing", ["detach", "_enter"])
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.usefixtures("recording")
def test_work_is_done_whatever_fails_in_handing_on_its_context(
    failing: str, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its future was never told, and an event loop waited for ever."""

    def broken(*_: object) -> None:
        raise RuntimeError("ours")

    def work() -> str:
        if fails:
            raise KeyError("theirs")
        return "done"

    monkeypatch.setattr(carried_context, failing, broken)
    with causepath.agent("outer"), ThreadPoolExecutor(1) as pool:
        for _ in range(2):
            future = pool.submit(work)
            if fails:
                with pytest.raises(KeyError, match="theirs"):
                    future.result(timeout=20)
            else:
                assert future.result(timeout=20) == "done"
    assert guard._reported
    guard._reported.clear()  # which is what this test is about


def test_nothing_else_of_a_context_goes_along_and_nothing_of_ours_is_in_a_traceback() -> None:
    own: contextvars.ContextVar[str] = contextvars.ContextVar("own", default="unset")

    def fails() -> tuple[str, int]:
        seen = own.get(), decimal.getcontext().prec
        try:
            raise ValueError(seen)
        except ValueError:
            told.append("".join(traceback.format_stack()))
            raise

    told: list[str] = []

    def saw(enabled: bool) -> Any:
        if enabled:
            causepath.instrument()
        own.set("of the application")
        found: list[Any] = []
        with causepath.agent("a"), decimal.localcontext() as precise:
            precise.prec = 50
            for make in (ThreadPoolExecutor, ThreadPool):
                with make(1) as pool:
                    apply = getattr(pool, "submit", None) or pool.apply_async
                    done = apply(fails)
                    with pytest.raises(ValueError, match="unset") as error:
                        (getattr(done, "result", None) or done.get)()
                    found.append(str(error.value))
                    found.append([f.name for f in traceback.extract_tb(error.value.__traceback__)])
            one = threading.Thread(target=lambda: found.append(own.get()))
            before = sorted(vars(one))
            one.start()
            one.join()
            found.append(sorted(set(vars(one)) - set(before)))
        found += [text.count("causepath") for text in told]
        told.clear()
        causepath.uninstrument()
        return found

    with_us, without = saw(enabled=True), saw(enabled=False)
    assert with_us == without


# -- generators


def steps(ask: Any) -> Iterator[int]:
    with causepath.agent("steps"):
        ask()
        yield 1
        ask()
        yield 2
        ask()


async def async_steps(ask: Any) -> AsyncIterator[int]:
    with causepath.agent("steps"):
        for i in range(3):
            ask()
            yield i


def test_the_consumer_of_a_generator_is_outside_of_its_run(ask: Any, recording: Recording) -> None:
    for _ in steps(ask):
        ask()
    assert tree(recording) == "inferred(chat) inferred(chat) steps(chat chat chat)"


def test_the_consumer_of_an_asynchronous_generator_too(ask: Any, recording: Recording) -> None:
    async def main() -> None:
        async for _ in async_steps(ask):
            ask()

    asyncio.run(main())
    assert tree(recording) == "inferred(chat) inferred(chat) inferred(chat) steps(chat chat chat)"


@pytest.mark.parametrize("span", [False, True], ids=["nothing", "a server's span"])
def test_every_step_in_a_thread_of_its_own(span: bool, ask: Any, recording: Recording) -> None:
    def serve() -> None:
        found, end = steps(ask), object()
        while True:
            step: list[object] = []

            def go_on(step: list[object], context: contextvars.Context) -> None:
                step.append(context.run(next, found, end))

            one = threading.Thread(target=go_on, args=(step, contextvars.copy_context()))
            one.start()
            one.join()
            if step == [end]:
                return

    if span:
        with trace.get_tracer("web").start_as_current_span("GET"):
            serve()
        assert tree(recording) == "GET(steps(chat chat chat))"
    else:
        serve()
        assert tree(recording) == "steps(chat chat chat)"


def test_a_generator_that_is_left_takes_in_nothing_more(ask: Any, recording: Recording) -> None:
    for _ in steps(ask):
        break
    ask()
    kept = steps(ask)
    next(kept)
    ask()
    kept.close()  # type: ignore[attr-defined]
    ask()
    assert tree(recording) == "inferred(chat) inferred(chat) inferred(chat) steps(chat) steps(chat)"


def test_a_context_manager_declares_it_for_who_uses_that(ask: Any, recording: Recording) -> None:
    @contextlib.contextmanager
    def managed() -> Iterator[None]:
        with causepath.agent("managed"):
            yield

    def inner() -> Iterator[int]:
        with managed():
            ask()
            yield 1
            ask()

    with managed():
        ask()
    for _ in inner():
        ask()
    assert tree(recording) == "inferred(chat) managed(chat chat) managed(chat)"


def test_tasks_that_a_generator_has_begun_are_its_own(ask: Any, recording: Recording) -> None:
    async def work(after: asyncio.Event) -> None:
        await after.wait()
        ask()

    async def generator(after: asyncio.Event) -> AsyncIterator[int]:
        async with causepath.agent("tasks"):
            task = asyncio.create_task(work(after))
            yield 1
            await task

    async def main() -> None:
        after = asyncio.Event()
        async for _ in generator(after):
            after.set()
            await asyncio.sleep(0.01)

    asyncio.run(main())
    assert tree(recording) == "tasks(chat)"


def test_a_generator_inside_a_generator(ask: Any, recording: Recording) -> None:
    def outer() -> Iterator[int]:
        with causepath.agent("outer"):
            ask()
            yield from steps(ask)
            ask()

    for _ in outer():
        pass
    assert tree(recording) == "outer(chat chat steps(chat chat chat))"


def test_a_run_that_has_ended_takes_in_nothing(ask: Any, recording: Recording) -> None:
    may_go_on = threading.Event()

    def late() -> None:
        may_go_on.wait(10)
        ask()

    async def main() -> None:
        async def work() -> None:
            await asyncio.sleep(0.02)
            ask()

        with causepath.agent("task"):
            task = asyncio.create_task(work())
        await task

    with causepath.agent("thread"):
        one = threading.Thread(target=late)
        one.start()
    may_go_on.set()
    one.join()
    asyncio.run(main())
    assert tree(recording) == "inferred(chat) inferred(chat) task thread"
