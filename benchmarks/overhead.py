"""What tracing costs: `python benchmarks/overhead.py`, in about three minutes.

Seven variants of the same calls, taken in turns so that a slow moment of the machine hits all of
them: no tracing at all, the SDK's own spans only ("native"), OpenTelemetry's GenAI instrumentation
only (where `make .sdk/beside/.ready` has put it), ours on a client that writes none, and ours over
the SDK's own; ours without and with digests of what is said. The API is a transport in this
process, and spans go through a batch processor to an exporter that drops them. What is counted is
the processor time of the calling thread, so that a busy machine disturbs less, with memory that the
process keeps. Nothing here fails for being slow: the numbers are for reading.

`python benchmarks/overhead.py --many` tells what the slowest of 20,000 calls take more, in 200
threads and 1,000 tasks at once, and what is held after them.

`python benchmarks/overhead.py --memory` tells in its place, in about as long, what is held after
many calls and many streams that nobody read to their end.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import importlib
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anthropic
from anthropic._base_client import SyncHttpxClientWrapper
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.util._once import Once

import causepath

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

REPOSITORY = Path(__file__).resolve().parents[1]
ROUNDS = int(os.environ.get("CAUSEPATH_BENCH_ROUNDS", "5"))
START_ROUNDS = 5

# Older releases of the SDK are built on httpx, newer ones on httpx2: whichever it is.
httpx = sys.modules[SyncHttpxClientWrapper.__mro__[2].__module__.partition(".")[0]]


def keep_memory() -> None:
    """Ask the C library to give no memory back to the system, where it knows how to.

    A call with 1 MB needs a few, which a process may get anew for each call, page by page: 550
    faults and 0.8 ms of 4. Which of the variants that befalls depends on what else lies on the heap
    just then, and tells nothing of what they do.
    """
    trim_threshold, top_pad, mmap_threshold, bytes_ = -1, -2, -3, 2**25
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    for option in (trim_threshold, top_pad, mmap_threshold):
        if mallopt is not None:
            mallopt(option, bytes_)


# -- the calls


def words(size: int, number: int) -> str:
    """A text of about `size` characters, in lines, another one for each number."""
    line = f"{number} words of a text that somebody said and somebody else may say again"
    lines = [f"{at} {line}" for at in range(max(1, size // (len(line) + 6)))]
    return "\n".join(lines)[: max(size, 1)]


def request(turns: int, size: int = 40, number: int = 0) -> dict[str, Any]:
    """A request of `turns` messages, those of the user with about `size` characters each.

    The same texts for the same number.
    """
    messages: list[dict[str, Any]] = [{"role": "user", "content": words(size, number)}]
    for turn in range(turns // 2):
        call = {"type": "tool_use", "id": f"toolu_{turn}", "name": "search", "input": {"q": turn}}
        said = words(size, number * 100 + turn)
        result = {"type": "tool_result", "tool_use_id": f"toolu_{turn}", "content": said}
        messages.append({"role": "assistant", "content": [call]})
        messages.append({"role": "user", "content": [result]})
    return {"model": "m", "max_tokens": 64, "messages": messages, "tools": TOOLS}


TOOLS = [
    {"name": name, "description": "d", "input_schema": {"type": "object", "properties": {}}}
    for name in ("search", "read", "save", "delete")
]

ANSWER = """The text that you have asked me for says this:
- somebody said something, and that is the first thing to know of it.
- Somebody else may say the same again, which makes the second thing.
Is there anything else that you would like to know of these?"""

MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": ANSWER}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 12, "output_tokens": 5},
}


def events(deltas: int) -> list[bytes]:
    """A streamed reply, one piece of the body for each event."""
    delta = {"type": "text_delta", "text": "word "}
    told = [
        {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *[{"type": "content_block_delta", "index": 0, "delta": delta}] * deltas,
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 5},
        },
        {"type": "message_stop"},
    ]
    return [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in told]


FEW, MANY = 10, 410
"""Deltas of a short and a long stream; the difference between them is the cost of events alone."""


class Body(httpx.SyncByteStream, httpx.AsyncByteStream):  # type: ignore[misc, name-defined]
    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces

    async def __aiter__(self) -> Any:
        for piece in self._pieces:
            yield piece


class InProcess(httpx.BaseTransport, httpx.AsyncBaseTransport):  # type: ignore[misc, name-defined]
    """Answers without a network."""

    def __init__(self, deltas: int) -> None:
        self._whole = json.dumps(MESSAGE).encode()
        self._events = events(deltas)

    def handle_request(self, request: Any) -> Any:
        if b'"stream":true' in request.content:
            kind = {"content-type": "text/event-stream"}
            return httpx.Response(200, headers=kind, stream=Body(self._events))
        return httpx.Response(
            200, headers={"content-type": "application/json"}, content=self._whole
        )

    async def handle_async_request(self, request: Any) -> Any:
        return self.handle_request(request)


def create(client: Any, ask: dict[str, Any]) -> None:
    client.messages.create(**ask)


def iterate(client: Any, ask: dict[str, Any]) -> None:
    for _ in client.messages.create(**ask, stream=True):
        pass


def helper(client: Any, ask: dict[str, Any]) -> None:
    with client.messages.stream(**ask) as stream:
        for _ in stream.text_stream:
            pass


async def create_async(client: Any, ask: dict[str, Any]) -> None:
    await client.messages.create(**ask)


async def iterate_async(client: Any, ask: dict[str, Any]) -> None:
    async for _ in await client.messages.create(**ask, stream=True):
        pass


async def helper_async(client: Any, ask: dict[str, Any]) -> None:
    async with client.messages.stream(**ask) as stream:
        async for _ in stream.text_stream:
            pass


@dataclass(frozen=True)
class Scenario:
    name: str
    does: tuple[Callable[..., Any], Callable[..., Any]]
    """Plainly, and asynchronously."""
    ask: Callable[[int], dict[str, Any]]
    """The request of a call, by its number."""
    calls: int
    """In one round of one variant."""
    declared: bool = True
    """Whether the calls are made inside a run, or each of them opens one."""
    budgeted: bool = False
    """Whether they are made inside a budget, of all kinds, that none of them uses up."""


def always(turns: int, size: int = 40) -> Callable[[int], dict[str, Any]]:
    """The same texts in each call, as a conversation that goes on has."""
    ask = request(turns, size)
    return lambda _: ask


def anew(turns: int, size: int) -> Callable[[int], dict[str, Any]]:
    """Texts that nobody has seen before in each call."""
    return lambda number: request(turns, size, number)


SMALL = always(1)

CALLS = [
    Scenario("create, small", (create, create_async), SMALL, 40),
    Scenario("create, a run each", (create, create_async), SMALL, 40, declared=False),
    Scenario("create, in a budget", (create, create_async), SMALL, 40, budgeted=True),
    Scenario("create, 41 turns", (create, create_async), always(41), 20),
    Scenario("create, 100 KB", (create, create_async), always(41, 5_000), 10),
    Scenario("create, 1 MB", (create, create_async), always(41, 50_000), 6),
    Scenario("create, 100 KB anew", (create, create_async), anew(41, 5_000), 10),
    Scenario("create, 1 MB anew", (create, create_async), anew(41, 50_000), 6),
    Scenario("stream, raw", (iterate, iterate_async), SMALL, 20),
    Scenario("stream, helper", (helper, helper_async), SMALL, 15),
]

EVENTS = [
    Scenario("an event, raw", (iterate, iterate_async), SMALL, 4),
    Scenario("an event, helper", (helper, helper_async), SMALL, 4),
]


# -- the variants


class Nowhere(SpanExporter):
    def export(self, spans: Any) -> SpanExportResult:  # noqa: ARG002
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None: ...


@dataclass(frozen=True)
class Variant:
    name: str
    ours: bool
    native: bool
    digests: bool = False
    genai: bool = False


PLAIN = Variant("none", ours=False, native=False)
NATIVE = Variant("native", ours=False, native=True)
OVER = Variant("over native", ours=True, native=True)
OVER_DIGESTS = Variant("over native, digests", ours=True, native=True, digests=True)
ALONE = Variant("alone", ours=True, native=False)
ALONE_DIGESTS = Variant("alone, digests", ours=True, native=False, digests=True)
GENAI = Variant("OpenTelemetry's GenAI", ours=False, native=False, genai=True)

GENAI_MODULE = "opentelemetry.instrumentation.genai.anthropic"
BESIDE = REPOSITORY / ".sdk" / "beside"
if BESIDE.exists():
    sys.path.append(str(BESIDE))  # the last: it has its own copies of what is installed


def is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


OTHERS = (GENAI,) if is_there(GENAI_MODULE) else ()
VARIANTS = (PLAIN, NATIVE, *OTHERS, ALONE, ALONE_DIGESTS, OVER, OVER_DIGESTS)

SDK_WRITES_SPANS = tuple(map(int, anthropic.__version__.split(".")[:2])) >= (1, 14)


@contextmanager
def in_force(variant: Variant) -> Iterator[None]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Nowhere(), max_queue_size=100_000))
    trace._TRACER_PROVIDER_SET_ONCE = Once()  # noqa: SLF001 - as if the process had just started
    trace._TRACER_PROVIDER = None  # noqa: SLF001
    trace.set_tracer_provider(provider)
    if variant.ours:
        os.environ["CAUSEPATH_DIGESTS"] = "on" if variant.digests else "off"
        causepath.instrument()
    theirs = None
    if variant.genai:
        theirs = importlib.import_module(GENAI_MODULE).AnthropicInstrumentor()
        theirs.instrument(tracer_provider=provider)
    try:
        yield
    finally:
        if theirs is not None:
            theirs.uninstrument()
        causepath.uninstrument()
        provider.shutdown()


def client_options(variant: Variant) -> dict[str, Any]:
    options: dict[str, Any] = {"api_key": "none", "base_url": "http://stand-in.invalid"}
    if SDK_WRITES_SPANS:
        options["open_telemetry"] = {} if variant.native else False
    return options


def budget(scenario: Scenario, variant: Variant) -> AbstractContextManager[Any]:
    if not (scenario.budgeted and variant.ours):
        return nullcontext()
    prices = {"m": {"input": 3, "output": 15}}
    times = dict.fromkeys(("wall", "llm", "tool"), "24h")
    return causepath.budget(**times, tokens="999M", cost=999, turns=10**9, prices=prices)


def seconds_a_call(scenario: Scenario, variant: Variant, deltas: int) -> float:
    """The median of one round."""
    http = httpx.Client(transport=InProcess(deltas))
    options = client_options(variant)
    run = causepath.agent("benchmark") if scenario.declared else nullcontext()
    with (
        in_force(variant),
        run,
        budget(scenario, variant),
        anthropic.Anthropic(http_client=http, **options) as client,
    ):
        taken = []
        for number in range(scenario.calls + 2):
            ask = scenario.ask(number)
            start = time.thread_time()
            scenario.does[0](client, ask)
            taken.append(time.thread_time() - start)
        return median(taken[2:])


def seconds_a_call_async(scenario: Scenario, variant: Variant, deltas: int) -> float:
    """The median of one round."""

    async def main() -> float:
        http = httpx.AsyncClient(transport=InProcess(deltas))
        options = client_options(variant)
        async with anthropic.AsyncAnthropic(http_client=http, **options) as client:
            taken = []
            for number in range(scenario.calls + 2):
                ask = scenario.ask(number)
                start = time.thread_time()
                await scenario.does[1](client, ask)
                taken.append(time.thread_time() - start)
            return median(taken[2:])

    run = causepath.agent("benchmark") if scenario.declared else nullcontext()
    with in_force(variant), run, budget(scenario, variant):
        return asyncio.run(main())


Measured = dict[Variant, list[float]]
"""For each variant the seconds of every round."""


def measure(
    scenario: Scenario, seconds: Callable[[Scenario, Variant, int], float], *, per_event: bool
) -> Measured:
    """Every variant in every round. Per event, it is a long stream less a short one."""
    found: Measured = {variant: [] for variant in VARIANTS}
    for number in range(ROUNDS):
        first = number % len(VARIANTS)
        for variant in VARIANTS[first:] + VARIANTS[:first]:
            gc.collect()
            gc.disable()
            try:
                taken = seconds(scenario, variant, MANY if per_event else FEW)
                if per_event:
                    taken = (taken - seconds(scenario, variant, FEW)) / (MANY - FEW)
            finally:
                gc.enable()
            found[variant].append(taken)
    return found


# -- starting Python

STARTS = {
    "python": ("pass", {}),
    "python, CAUSEPATH=1": ("pass", {"CAUSEPATH": "1"}),
    "import opentelemetry API": ("import opentelemetry.context, opentelemetry.trace", {}),
    "import causepath.auto": ("import causepath.auto", {}),
    "import anthropic": ("import anthropic", {}),
    "import anthropic, CAUSEPATH=1": ("import anthropic", {"CAUSEPATH": "1"}),
}


def starts() -> dict[str, list[float]]:
    """The seconds that each of `STARTS` takes as a process, in every round."""
    found: dict[str, list[float]] = {name: [] for name in STARTS}
    ours = ("CAUSEPATH", "OTEL_", "PYTHONDONTWRITEBYTECODE")  # compiling is no part of it
    clean = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    for code, variables in STARTS.values():
        subprocess.run([sys.executable, "-c", code], env={**clean, **variables}, check=True)
    for _ in range(START_ROUNDS):
        for name, (code, variables) in STARTS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], env={**clean, **variables}, check=True)
            found[name].append(time.perf_counter() - start)
    return found


def seconds_of_pth() -> float:
    """What every start of Python pays for the installed line, with the variable unset."""
    line = (REPOSITORY / "src" / "causepath.pth").read_text(encoding="utf-8")
    os.environ.pop("CAUSEPATH", None)
    taken = []
    for _ in range(1_000):
        start = time.perf_counter()
        exec(line)
        taken.append(time.perf_counter() - start)
    return median(taken)


FIRST_CALL = """
import json, sys, time
sys.path.insert(0, {folder!r})
import overhead
http = overhead.httpx.Client(transport=overhead.InProcess(1))
client = overhead.anthropic.Anthropic(api_key="x", base_url="http://a.invalid", http_client=http)
taken = []
for _ in range(2):
    began = time.thread_time()
    overhead.create(client, overhead.SMALL(0))
    taken.append(time.thread_time() - began)
print(json.dumps(taken))
"""

FIRSTS = {
    "plain": {"CAUSEPATH": "0", "ANTHROPIC_OPEN_TELEMETRY": "false"},
    "CAUSEPATH=1, the only span": {"CAUSEPATH": "1", "ANTHROPIC_OPEN_TELEMETRY": "false"},
    "CAUSEPATH=1, over the SDK's": {"CAUSEPATH": "1"},
}


def first_calls() -> dict[str, list[float]]:
    """The seconds that the first call of a process takes, in every round, nothing set up."""
    found: dict[str, list[float]] = {name: [] for name in FIRSTS}
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CAUSEPATH", "OTEL_"))}
    code = FIRST_CALL.format(folder=str(Path(__file__).parent))
    for _ in range(START_ROUNDS):
        for name, variables in FIRSTS.items():
            with tempfile.TemporaryDirectory() as folder:
                done = subprocess.run(
                    [sys.executable, "-c", code],
                    env={**clean, "CAUSEPATH_FILE": f"{folder}/t.jsonl", **variables},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    check=True,
                )
            found[name].append(json.loads(done.stdout)[0])
    return found


# -- many at once

MANY_CALLS, THREADS, TASKS = 20_000, 200, 1_000


def in_threads(variant: Variant, calls: int) -> list[float]:
    """The seconds of each call of threads at once, each thread a run."""
    taken: list[float] = []

    def agent(client: Any) -> None:
        with causepath.agent("thread"):
            for _ in range(calls // THREADS):
                start = time.thread_time()
                create(client, SMALL(0))
                taken.append(time.thread_time() - start)

    http = httpx.Client(transport=InProcess(FEW))
    with in_force(variant), anthropic.Anthropic(http_client=http, **client_options(variant)) as one:
        threads = [threading.Thread(target=agent, args=(one,)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return taken


def in_tasks(variant: Variant, calls: int) -> list[float]:
    """The seconds of a call of tasks at once, each task a run: of one call by each, a time."""
    taken: list[float] = []

    async def main() -> None:
        http = httpx.AsyncClient(transport=InProcess(FEW))
        async with anthropic.AsyncAnthropic(http_client=http, **client_options(variant)) as client:

            async def agent(turns: asyncio.Queue[None]) -> None:
                with causepath.agent("task"):
                    while True:
                        await turns.get()
                        await create_async(client, SMALL(0))
                        turns.task_done()

            turns = [asyncio.Queue[None]() for _ in range(TASKS)]
            tasks = [asyncio.create_task(agent(one)) for one in turns]
            for _ in range(calls // TASKS):
                start = time.thread_time()
                for one in turns:
                    one.put_nowait(None)
                for one in turns:
                    await one.join()
                taken.append((time.thread_time() - start) / TASKS)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    with in_force(variant):
        asyncio.run(main())
    return taken


def print_many() -> None:
    print(f"{MANY_CALLS:,} calls{'':<15}{'p50':>8}{'p99':>8} us{'objects more':>16}")
    for name, does in ((f"{THREADS} threads", in_threads), (f"{TASKS:,} tasks", in_tasks)):
        for variant in (PLAIN, NATIVE, ALONE_DIGESTS):
            does(variant, TASKS)  # which makes what is made once
            gc.collect()
            before = len(gc.get_objects())
            cuts = statistics.quantiles(does(variant, MANY_CALLS), n=100)
            gc.collect()
            more = len(gc.get_objects()) - before
            told = f"{name}, {variant.name}"
            print(f"{told:<27}{cuts[49] * 1e6:8.0f}{cuts[98] * 1e6:8.0f}{more:19,}", flush=True)


# -- memory


def abandon(client: Any, ask: dict[str, Any]) -> None:
    next(iter(client.messages.create(**ask, stream=True)))


HELD = {"calls": (create, 100_000), "abandoned streams": (abandon, 10_000)}


def held(does: Callable[..., Any], times: int) -> Iterator[tuple[int, int, float]]:
    """After each tenth: how often it was done, the objects that the collector knows, and the most
    megabytes that the process has had. Each is a run of its own with a text that was never said
    before, and digests are on."""
    http = httpx.Client(transport=InProcess(FEW))
    options = client_options(OVER_DIGESTS)
    unit = 1_000_000 if sys.platform == "darwin" else 1_000
    with in_force(OVER_DIGESTS), anthropic.Anthropic(http_client=http, **options) as client:
        for number in range(times):
            does(client, request(1, 200, number))
            if (number + 1) % (times // 10) == 0:
                trace.get_tracer_provider().force_flush()  # type: ignore[attr-defined]
                gc.collect()
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
                yield number + 1, len(gc.get_objects()), peak


def print_memory() -> None:
    for name, (does, times) in HELD.items():
        print(f"{name:<20}{'objects':>10}{'peak MB':>10}")
        for done, objects, peak in held(does, times):
            print(f"{done:<20,}{objects:10,}{peak:10.1f}", flush=True)


# -- the table


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def added(found: Measured, by: Variant, to: Variant) -> tuple[float, float]:
    """Microseconds and times that `by` takes more than `to`, the median over the rounds."""
    pairs = list(zip(found[to], found[by], strict=True))
    return median([(b - a) * 1e6 for a, b in pairs]), median([b / a for a, b in pairs])


HEADER = (
    f"{'':<26}{'':>6}{'native':>11}{'GenAI':>11}{'ours alone':>22}{'ours over native':>22}\n"
    f"{'microseconds':<26}{'none':>6}{'':>11}{'':>11}{'no digests':>11}{'digests':>11}"
    f"{'no digests':>11}{'digests':>11}"
)

COLUMNS = (
    (NATIVE, PLAIN),
    (GENAI, PLAIN),
    (ALONE, PLAIN),
    (ALONE_DIGESTS, PLAIN),
    (OVER, NATIVE),
    (OVER_DIGESTS, NATIVE),
)


def row(name: str, found: Measured) -> str:
    """What the calls take, and what each variant adds to that or to the SDK's own spans."""
    none = median(found[PLAIN]) * 1e6
    digits = 2 if none < 100 else 0
    columns = ""
    for by, to in COLUMNS:
        more, times = added(found, by, to) if by in found else (0.0, 0.0)
        columns += f"{f'{more:+.{digits}f} {times:.2f}' if times else '-':>11}"
    return f"{name:<26}{none:6.{digits}f}{columns}"


def main() -> None:
    keep_memory()
    print(f"anthropic {anthropic.__version__}, Python {sys.version.split()[0]}, {ROUNDS} rounds")
    print(HEADER)
    for kind, seconds in (("sync", seconds_a_call), ("async", seconds_a_call_async)):
        for scenario in CALLS:
            print(row(f"{scenario.name}, {kind}", measure(scenario, seconds, per_event=False)))
        for scenario in EVENTS:
            print(row(f"{scenario.name}, {kind}", measure(scenario, seconds, per_event=True)))
    print()
    print(f"{'milliseconds':<34}{'median':>8}{'more than the line above':>26}")
    before = 0.0
    for name, taken in starts().items():
        milli = median(taken) * 1e3
        print(f"{name:<34}{milli:8.1f}{milli - before:+26.1f}")
        before = milli
    print(f"{'the start-up line, variable unset':<34}{seconds_of_pth() * 1e3:8.4f}")
    first = first_calls()
    plain = first["plain"]
    for name, taken in first.items():
        more = median([b - a for a, b in zip(plain, taken, strict=True)]) * 1e3
        print(f"{f'first call, {name}':<40}{median(taken) * 1e3:6.1f}{more:+26.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What tracing costs.")
    parser.add_argument("--memory", action="store_true", help="what is held after many calls")
    parser.add_argument("--many", action="store_true", help="the slowest of many calls at once")
    chosen = parser.parse_args()
    print_memory() if chosen.memory else print_many() if chosen.many else main()
