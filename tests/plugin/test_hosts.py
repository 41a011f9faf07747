"""Whole programs that fork, pool, get signals and end in every way: each ends as it does without
the plugin, within a time limit, and what it did is in the trace file."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.support.messages_api import messages_api_process
from tests.support.traced_programs import plain_environment, spans_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.hosts

LIMIT_SECONDS = 40

COMMON = """
import os, sys, threading, time, warnings
warnings.simplefilter("ignore")
import anthropic

def get_weather(city="Lisbon"):
    return "sunny in " + city

def agent(*_):
    messages = [{"role": "user", "content": "?"}]
    with anthropic.Anthropic(base_url=os.environ["API"], api_key="x") as client:
        while True:
            reply = client.messages.create(model="m", max_tokens=9, messages=messages)
            if reply.stop_reason != "tool_use":
                return "done"
            messages.append({"role": "assistant", "content": reply.content})
            results = [
                {"type": "tool_result", "tool_use_id": b.id, "content": get_weather(**b.input)}
                for b in reply.content
            ]
            messages.append({"role": "user", "content": results})
"""

RUN = Counter({"invoke_agent": 1, "chat": 2, "execute_tool": 1})


class Ended(NamedTuple):
    status: int
    out: str
    err: str
    spans: Counter[str]


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    with messages_api_process("tests.plugin.scripts:weather") as url:
        yield url


def environment(api: str, *, on: bool) -> dict[str, str]:
    return plain_environment(API=api, CAUSEPATH="1" if on else "0")


def spans(folder: Path) -> Counter[str]:
    found = spans_in(folder / "causepath-traces.jsonl")
    return Counter(span["name"].split()[0] for span in found)


def run(program: str, folder: Path, api: str, *arguments: str, on: bool) -> Ended:
    script = folder / "program.py"
    script.write_text(COMMON + textwrap.dedent(program))
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        cwd=folder,
        env=environment(api, on=on),
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    err = "\n".join(x for x in done.stderr.splitlines() if not x.startswith("causepath: "))
    return Ended(done.returncode, done.stdout, err, spans(folder))


def runs_of_both(program: str, folder: Path, api: str, *arguments: str) -> Counter[str]:
    """What the program with the plugin has written; it ends as it does without."""
    plain = run(program, folder, api, *arguments, on=False)
    assert plain.spans == Counter()
    traced = run(program, folder, api, *arguments, on=True)
    assert traced[:3] == plain[:3]
    return traced.spans


def times(count: int) -> Counter[str]:
    return Counter({name: count * n for name, n in RUN.items()})


FORKS_IN_A_THREAD = """
def forks():
    child = os.fork()
    if child:
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        return
    agent()
    match sys.argv[1]:
        case "return": return
        case "exit": sys.exit(3)
        case "raises": raise ValueError("of the child")
        case "hard": os._exit(4)
        case "killed": os.kill(os.getpid(), 9)
        case "exec": os.execv(sys.executable, [sys.executable, "-S", "-c", ""])
        case "thread":
            other = threading.Thread(target=agent)
            other.start()
            other.join()

threading.excepthook = lambda told: None
if sys.argv[2] == "warm":
    agent()
thread = threading.Thread(target=forks)
thread.start()
thread.join()
"""


@pytest.mark.parametrize("before", ["warm", "cold"])
@pytest.mark.parametrize(
    ("ending", "runs"),
    [
        ("return", 1),
        ("exit", 1),
        ("raises", 1),
        ("hard", 1),
        ("killed", 1),
        ("exec", 1),
        ("thread", 2),
    ],
)
def test_a_child_forked_in_a_thread_ends_and_has_written_its_runs(
    ending: str, runs: int, before: str, tmp_path: Path, api: str
) -> None:
    found = runs_of_both(FORKS_IN_A_THREAD, tmp_path, api, ending, before)
    assert found == times(runs + (before == "warm"))


FORKS_AFTER_A_RUN = """
agent()
child = os.fork()
agent()
exits, around = 0, os._exit
while (around := getattr(around, "__wrapped__", None)) is not None:
    exits += 1
if not child:
    print(exits <= 1, flush=True)
    os._exit(4)
# The child first: what two processes print at once comes in any order.
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(exits <= 1)
"""


def test_the_way_out_is_wrapped_once_in_a_forked_child_too(tmp_path: Path, api: str) -> None:
    assert runs_of_both(FORKS_AFTER_A_RUN, tmp_path, api) == times(3)


POOLS = """
import gc, multiprocessing

if __name__ == "__main__":
    method, ending = sys.argv[1:3]
    context = multiprocessing.get_context(method)
    if ending == "with":
        with context.Pool(2) as pool:
            print(pool.map(agent, range(6), chunksize=1))
    elif ending == "inside a run":
        import causepath
        with causepath.agent("outer"), context.Pool(2) as pool:
            print(pool.map(agent, range(6), chunksize=1))
    elif ending == "executor":
        from concurrent.futures import ProcessPoolExecutor
        with ProcessPoolExecutor(2, mp_context=context) as executor:
            print(list(executor.map(agent, range(6))))
    else:
        pool = context.Pool(2)
        print(pool.map(agent, range(6), chunksize=1))
        if ending == "close":
            pool.close()
            pool.join()
        elif ending == "terminate":
            pool.terminate()
            pool.join()
        elif ending == "collected":
            del pool
            gc.collect()
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("ending", ["with", "close", "terminate", "collected", "left", "executor"])
def test_every_run_in_a_pool_is_written_however_the_pool_is_left(
    method: str, ending: str, tmp_path: Path, api: str
) -> None:
    assert runs_of_both(POOLS, tmp_path, api, method, ending) == times(6)


SUB_AGENTS = """
import functools, json, multiprocessing
from concurrent.futures import ProcessPoolExecutor

def by_executor(context, function, args):
    with ProcessPoolExecutor(2, mp_context=context) as workers:
        return workers.submit(function, *args).result()

def by_pool(context, function, args):
    with context.Pool(2) as workers:
        return workers.apply(function, args)

def by_map(context, function, args):
    with context.Pool(2) as workers:
        return workers.map(function, args)[0]

WAYS = {"executor": by_executor, "pool": by_pool, "map": by_map}

def delegate(city=""):
    return agent()

def main(method, way, kind):
    pooled = functools.partial(WAYS[way], multiprocessing.get_context(method))
    if kind == "in a run":
        import causepath
        with causepath.agent("outer"):
            print(pooled(agent, ("?",)))
        return
    messages = [{"role": "user", "content": "?"}]
    with anthropic.Anthropic(base_url=os.environ["API"], api_key="x") as client:
        reply = client.messages.create(model="m", max_tokens=9, messages=messages)
        (block,) = reply.content
        found = pooled(TOOLS[block.name], (block.input["city"],))
        messages.append({"role": "assistant", "content": reply.content})
        result = {"type": "tool_result", "tool_use_id": block.id, "content": found}
        messages.append({"role": "user", "content": [result]})
        print(client.messages.create(model="m", max_tokens=9, messages=messages).stop_reason)

TOOLS = {"get_weather": delegate}

if __name__ == "__main__":
    main(*sys.argv[1:])
"""


def tree(folder: Path) -> list[str]:
    """The spans of the one trace there is, each with those around it."""
    found = spans_in(folder / "causepath-traces.jsonl")
    assert len({span["traceId"] for span in found}) == 1
    by_id = {span["spanId"]: span for span in found}

    def path(span: dict[str, str]) -> str:
        around = span.get("parentSpanId")
        before = path(by_id[around]) + "/" if around else ""
        return before + span["name"].split()[0]

    return sorted(map(path, found))


@pytest.mark.parametrize(
    ("method", "way"), [("fork", "executor"), ("spawn", "pool"), ("fork", "map")]
)
def test_an_agent_in_a_worker_is_part_of_the_tool_that_it_is(
    method: str, way: str, tmp_path: Path, api: str
) -> None:
    runs_of_both(SUB_AGENTS, tmp_path, api, method, way, "as a tool")
    assert tree(tmp_path) == [
        "invoke_agent",
        "invoke_agent/chat",
        "invoke_agent/chat",
        "invoke_agent/execute_tool",
        "invoke_agent/execute_tool/chat",
        "invoke_agent/execute_tool/chat",
        "invoke_agent/execute_tool/execute_tool",
    ]


@pytest.mark.parametrize(("method", "way"), [("spawn", "executor"), ("fork", "pool")])
def test_an_agent_in_a_worker_is_part_of_the_run_that_hands_it_over(
    method: str, way: str, tmp_path: Path, api: str
) -> None:
    runs_of_both(SUB_AGENTS, tmp_path, api, method, way, "in a run")
    assert tree(tmp_path) == [
        "invoke_agent",
        "invoke_agent/chat",
        "invoke_agent/chat",
        "invoke_agent/execute_tool",
    ]


STOPPED = """
import causepath, hashlib, re, sqlite3

def in_c():
    match sys.argv[1]:
        case "sleep": time.sleep(60)
        case "digest": hashlib.pbkdf2_hmac("sha256", b"x", b"y", 500_000_000)
        case "query":
            sqlite3.connect(":memory:").execute(
                "with recursive n(i) as (select 1 union all select i + 1 from n)"
                " select count(*) from n where i < 0"
            )
        case "lock":
            lock = threading.Lock()
            lock.acquire()
            lock.acquire()
        case "regex": re.match("(a+)+$", "a" * 64 + "b")
        case "power": 7 ** (7 ** 10)
        case "python":
            while True: pass
        case "itself":
            os.kill(os.getpid(), 15)
            print("goes on", flush=True)

with causepath.agent("outer"):
    agent()
    print("ready", flush=True)
    in_c()
"""


@pytest.mark.parametrize(
    "what", ["sleep", "digest", "query", "lock", "regex", "power", "python", "itself"]
)
def test_a_process_that_is_told_to_end_writes_what_is_open_and_ends(
    what: str, tmp_path: Path, api: str
) -> None:
    script = tmp_path / "program.py"
    script.write_text(COMMON + STOPPED)
    took = []
    for on in (False, True):
        with subprocess.Popen(
            [sys.executable, str(script), what],
            cwd=tmp_path,
            env=environment(api, on=on),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(0.1)  # into the C code
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(LIMIT_SECONDS) == -signal.SIGTERM
            took.append(time.monotonic() - began)
            if sys.platform == "linux":
                assert process.stdout.read() == b""  # not a line more
    assert max(took) < 10  # it would go on for a minute
    assert spans(tmp_path) == Counter({"invoke_agent": 1, "chat": 2, "execute_tool": 1})


OPEN_AT_THE_END = """
client = anthropic.Anthropic(base_url=os.environ["API"], api_key="x")
ask = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "?"}]}

def declared():
    import causepath
    global kept
    kept = causepath.agent("kept")
    kept.__enter__()

def stream():
    global kept
    kept = client.messages.create(**ask, stream=True)
    next(kept)

def helper():
    global kept
    kept = client.messages.stream(**ask).__enter__()
    next(kept.text_stream, None)

def generator():
    import causepath
    @causepath.agent
    def steps():
        yield 1
        yield 2
    global kept
    kept = steps()
    next(kept)

def at_exit():
    import atexit
    import causepath
    atexit.register(agent)
    agent()

globals()[sys.argv[1]]()
"""


@pytest.mark.parametrize(
    ("what", "found"),
    [
        ("declared", Counter({"invoke_agent": 1})),
        ("stream", Counter({"invoke_agent": 1, "chat": 1})),
        ("helper", Counter({"invoke_agent": 1, "chat": 1})),
        ("generator", Counter({"invoke_agent": 1})),
        ("at_exit", times(2)),
    ],
)
def test_what_is_open_when_the_program_ends_is_written_as_far_as_it_came(
    what: str, found: Counter[str], tmp_path: Path, api: str
) -> None:
    assert runs_of_both(OPEN_AT_THE_END, tmp_path, api, what) == found


GREEN = """
import sys
if sys.argv[2] == "before":
    import causepath.auto
if sys.argv[1] == "gevent":
    from gevent import monkey
    monkey.patch_all()
    import gevent
    def together(count, function):
        gevent.joinall([gevent.spawn(function) for _ in range(count)], raise_error=True)
else:
    import eventlet
    eventlet.monkey_patch()
    def together(count, function):
        pool = eventlet.GreenPool()
        for _ in range(count):
            pool.spawn(function)
        pool.waitall()
if sys.argv[2] == "after":
    import causepath.auto
"""


@pytest.mark.parametrize("order", ["before", "after", "variable"])
@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_green_threads(library: str, order: str, tmp_path: Path, api: str) -> None:
    script = tmp_path / "program.py"
    script.write_text(GREEN + COMMON + "together(20, agent)\nprint('done')\n")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), library, order],
        cwd=tmp_path,
        env=environment(api, on=order == "variable"),
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert spans(tmp_path) == times(20)


SERVED = """
from program import agent

def app(environ, start_response):
    said = agent().encode()
    start_response("200 OK", [("content-length", str(len(said)))])
    return [said]
"""


@pytest.mark.parametrize("worker", ["gevent", "sync", "gthread"])
def test_gunicorn(worker: str, tmp_path: Path, api: str) -> None:
    (tmp_path / "program.py").write_text(COMMON)
    (tmp_path / "served.py").write_text(SERVED)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["-m", "gunicorn", "-k", worker, "-w", "2", "-b", f"127.0.0.1:{port}", "served:app"]
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=tmp_path,
        env=environment(api, on=True),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            end = time.monotonic() + LIMIT_SECONDS
            answers = 0
            while answers < 6 and time.monotonic() < end:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=20) as reply:
                        answers += reply.read() == b"done"
                except OSError:  # noqa: PERF203 - it does not listen yet
                    time.sleep(0.1)
            server.terminate()
            assert server.wait(LIMIT_SECONDS) == 0
        finally:
            server.kill()
    assert answers == 6
    assert spans(tmp_path) == times(6)


MANY_AT_ONCE = """
threads = [threading.Thread(target=agent) for _ in range(20)]
for thread in threads: thread.start()
for thread in threads: thread.join()
names = [one.name for one in threading.enumerate()]
print(len(names) == len(set(names)))
"""


def test_first_calls_at_once_begin_no_thread_twice(tmp_path: Path, api: str) -> None:
    assert runs_of_both(MANY_AT_ONCE, tmp_path, api) == times(20)
