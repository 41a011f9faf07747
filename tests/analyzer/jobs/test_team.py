"""Several processes say what one says, byte for byte, and end well whatever happens to them."""

import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from causepath_analyzer.cli import invoke
from causepath_analyzer.cli.inputs import read_together
from causepath_analyzer.errors import UnreadableInputError
from causepath_analyzer.jobs import team as team_module
from causepath_analyzer.jobs.file_parts import joined, read_part, shares
from causepath_analyzer.jobs.share import Task
from causepath_analyzer.jobs.team import Team
from causepath_analyzer.read import Options, SpansByTrace, read_file
from tests.analyzer.read.samples import SAMPLES
from tests.analyzer.read.test_formats import PROTO, framed

pytestmark = pytest.mark.programs

SECOND = 1_000_000_000


def spans_of(trace: int) -> list[dict[str, Any]]:
    """One agent run: two model calls with a tool between them and two retrievals before."""
    random = Random(trace)
    trace_id = f"{random.getrandbits(128):032x}"
    spans: list[dict[str, Any]] = []
    at = (1_795_000_000 + trace) * SECOND

    def span(number: int, name: str, parent: str, seconds: float, **attributes: Any) -> None:
        nonlocal at
        end = at + int(seconds * SECOND)
        spans.append(
            {
                "traceId": trace_id,
                "spanId": f"{trace:08x}{number:08x}",
                "parentSpanId": parent,
                "name": name,
                "kind": 1,
                "startTimeUnixNano": str(at),
                "endTimeUnixNano": str(end),
                "attributes": [
                    {"key": key.replace("__", "."), "value": {kind_of(value): value}}
                    for key, value in attributes.items()
                ],
            }
        )
        at = end

    def kind_of(value: Any) -> str:
        return "intValue" if isinstance(value, int) else "stringValue"

    root = f"{trace:08x}{0:08x}"
    start = at
    looked_up = ["search", "fetch"]
    if trace % 3 == 0:
        looked_up.reverse()
    for number, name in enumerate(looked_up, start=5):
        span(
            number,
            name,
            root,
            random.random() + 0.2,
            gen_ai__operation__name="retrieval",
            gen_ai__data_source__id=name,
        )
    for turn in (1, 2):
        span(
            turn,
            "chat m",
            root,
            random.random() + 0.5,
            gen_ai__operation__name="chat",
            gen_ai__provider__name="anthropic",
            gen_ai__request__model="claude-sonnet-4-5",
            gen_ai__usage__input_tokens=1000 + trace,
            gen_ai__usage__output_tokens=100,
        )
        if turn == 1:
            span(
                3,
                "execute_tool t",
                root,
                random.random(),
                gen_ai__operation__name="execute_tool",
                gen_ai__tool__name=random.choice(["a", "b"]),
                gen_ai__tool__call__id=f"call-{trace}",
            )
    end, at = at, start
    span(0, "invoke_agent x", "", (end - start) / SECOND, gen_ai__operation__name="invoke_agent")
    return spans


def line(spans: Sequence[dict[str, Any]]) -> bytes:
    scopes = [{"scope": {"name": "test"}, "spans": list(spans)}]
    return json.dumps({"resourceSpans": [{"resource": {}, "scopeSpans": scopes}]}).encode() + b"\n"


def interleaved(traces: Sequence[int], per_line: int = 4, seed: int = 1) -> list[bytes]:
    """The spans of `traces` in lines, in no order: every trace is in several of them."""
    spans = [span for trace in traces for span in spans_of(trace)]
    Random(seed).shuffle(spans)
    return [line(spans[at : at + per_line]) for at in range(0, len(spans), per_line)]


LINES = interleaved(range(30))
METRICS = b'{"resourceMetrics": []}\n'
DAMAGED = b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": 12, "spanId"\n'
INPUTS: dict[str, dict[str, bytes]] = {
    "interleaved": {"t.jsonl": b"".join(LINES)},
    "damaged, blank and other lines": {
        "t.jsonl": b"".join(
            [*LINES[:9], DAMAGED, b"\n", *LINES[9:20], METRICS, DAMAGED, b"hello\n", *LINES[20:]]
        )
    },
    "no line end at the end": {"t.jsonl": b"".join(LINES)[:-1]},
    "cut off": {"t.jsonl": b"".join(LINES)[:-20]},
    "rotated files": {
        "t.1.jsonl": b"".join(LINES[:11]),
        "t.2.jsonl": b"".join(LINES[11:13]),
        "t.3.jsonl": b"".join(LINES[13:]),
    },
    "plain and compressed": {
        "a.gz": gzip.compress(b"".join(LINES[:20]), mtime=0),
        "b.jsonl": b"".join(LINES[20:]),
        "c.pb": PROTO,
    },
    "protobuf frames": {"t.pb": framed(PROTO) * 9},
    "damaged protobuf frames": {"t.pb": framed(PROTO) * 9 + b"\0\0\0\x20" + framed(PROTO) * 3},
    "one of them has no traces": {"a.jsonl": b"".join(LINES), "b.txt": b"hello\n" * 99},
    "a document over many lines comes last": {
        "t.jsonl": b"".join(LINES) + json.dumps(json.loads(LINES[0]), indent=1).encode()
    },
    "lines of another format between": {
        "t.jsonl": b"".join([*LINES[:14], SAMPLES["jaeger-json"].replace(b"\n", b""), b"\n"])
        + b"".join(LINES[14:])
    },
    "sessions of Claude Code": {
        "a.jsonl": b"".join(LINES),
        "b.jsonl": SAMPLES["claude-code"],
        "c.jsonl": SAMPLES["claude-code"],
    },
    "one trace": {"t.jsonl": b"".join(line([span]) for span in spans_of(1))},
    "a single line": {"t.jsonl": LINES[0]},
    "no spans": {"t.jsonl": METRICS * 50},
}


@pytest.fixture
def said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Callable[..., tuple[int, bytes, bytes]]:
    """Runs a command: its exit status and what it says."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("CAUSEPATH"):
            monkeypatch.delenv(name)

    def run(*arguments: str) -> tuple[int, bytes, bytes]:
        status = invoke(arguments)
        return status, *capfdbinary.readouterr()

    return run


@pytest.mark.parametrize("files", INPUTS.values(), ids=INPUTS)
def test_several_processes_say_what_one_says(
    files: dict[str, bytes], said: Callable[..., tuple[int, bytes, bytes]]
) -> None:
    for name, data in files.items():
        Path(name).write_bytes(data)
    for jobs, options in (("2", ("--strict",)), ("3", ("--json",))):
        assert said(".", *options, "--jobs", jobs) == said(".", *options, "--jobs", "1")


@pytest.mark.parametrize(
    "name",
    [
        "damaged, blank and other lines",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("interleaved", "one trace")),
    ],
)
def test_budgets_are_held_by_several_processes_as_by_one(
    name: str, said: Callable[..., tuple[int, bytes, bytes]]
) -> None:
    for file, data in INPUTS[name].items():
        Path(file).write_bytes(data)
    budgets = ("p(50) wall < 1s", "mean cost < $1", "count CP102 == 0", "share tool < 9%")
    options = [option for text in budgets for option in ("--budget", text)]
    options += ["--json", "--save-baseline"]
    one, two = (said("check", ".", *options, f".{n}/b.json", "--jobs", n) for n in ("1", "2"))
    assert two == (one[0], one[1], one[2].replace(b".1/b.json", b".2/b.json"))
    found = json.loads(one[1])
    assert found["runs"] == (1 if name == "one trace" else 30)
    if name != "one trace":
        assert [one["verdict"] for one in found["budgets"]].count("inconclusive") < 2
    saved = [json.loads(Path(f".{n}/b.json").read_text())["runs"] for n in "12"]
    assert saved[0] == saved[1]


ALONE = {
    "a document over many lines comes last",
    "lines of another format between",
    "sessions of Claude Code",
    "damaged protobuf frames",
    "a single line",
    "no spans",
}
"""Inputs that only one process can read, or that are too small to be shared."""


@pytest.mark.parametrize("name", INPUTS)
def test_what_can_be_shared_is_shared(name: str, tmp_path: Path) -> None:
    for file, data in INPUTS[name].items():
        (tmp_path / file).write_bytes(data)
    team = read_together([str(tmp_path)], Task(), 2)
    assert (team is None) == (name in ALONE)
    if team is not None:
        with team:
            assert len(team.workers) == 1
            assert all(len(held) > 0 for held in team.held)


def test_one_trace_of_many(said: Callable[..., tuple[int, bytes, bytes]]) -> None:
    Path("t.jsonl").write_bytes(b"".join(LINES))
    for wanted in (spans_of(3)[0]["traceId"], spans_of(17)[0]["traceId"], "", "zzz"):
        for options in ((), ("--json",)):
            arguments = ("t.jsonl", "--trace", wanted, *options)
            assert said(*arguments, "--jobs", "2") == said(*arguments, "--jobs", "1")


def test_jobs_are_counted_from_one(said: Callable[..., tuple[int, bytes, bytes]]) -> None:
    Path("t.jsonl").write_bytes(b"".join(LINES))
    for jobs in (b"0", b"65"):
        status, _, told = said("t.jsonl", "--jobs", jobs.decode())
        assert (status, told) == (
            2,
            b"causepath: --jobs " + jobs + b": there can be 1 to 64 processes\n",
        )


def test_without_an_interpreter_one_process_does_it(
    said: Callable[..., tuple[int, bytes, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("t.jsonl").write_bytes(b"".join(LINES))
    alone = said("t.jsonl", "--jobs", "1")
    monkeypatch.setattr(sys, "executable", "")
    assert said("t.jsonl", "--jobs", "2") == alone


def test_a_small_input_is_for_one_process(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_bytes(b"".join(LINES))
    paths = [str(tmp_path)]
    assert shares(paths, Options(), 8, 20_000_000) == ()
    assert len(shares(paths, Options(), 8, 1)) == 8
    assert shares(["-", *paths], Options(), 8, 1) == ()
    assert shares(["http://127.0.0.1:1", *paths], Options(), 8, 1) == ()


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_parts_are_the_whole(tmp_path: Path, data: st.DataObject) -> None:
    sort = st.sampled_from(["spans", "blank", "damaged", "text", "metrics", "long"])
    other = {"blank": b" \n", "damaged": DAMAGED, "text": b"x\n", "metrics": METRICS}
    other["long"] = line(spans_of(1) * 20)
    names = ["a.jsonl", "b.jsonl", "c.jsonl"][: data.draw(st.integers(1, 3))]
    for name in names:
        sorts = data.draw(st.lists(sort, min_size=1, max_size=12))
        lines = [LINES[n] if one == "spans" else other[one] for n, one in enumerate(sorts)]
        (tmp_path / name).write_bytes(LINES[-1] + b"".join(lines))
    paths = [str(tmp_path / name) for name in names]
    found = shares(paths, Options(), data.draw(st.integers(2, 6)), 1)
    parts = [part for share in found for part in share] if found else []
    spans: SpansByTrace = {}
    entries = [read_part(part, spans, None, Options()) for part in parts]
    if parts:
        whole: SpansByTrace = {}
        told = [read_file(path, whole, None, Options()) for path in paths]
        assert joined(parts, entries) == told
        assert spans == whole


def test_a_killed_worker_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.jsonl").write_bytes(b"".join(LINES))
    parts = shares([str(tmp_path)], Options(), 2, 1)
    with Team(Task(), parts, lambda path, spans: None) as team:
        (worker,) = team.workers
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(UnreadableInputError, match=r"was killed by signal 9; with --jobs 1"):
            team.rows()


INTERRUPTED = """
import os, signal, sys, threading
from causepath_analyzer.cli import main
from causepath_analyzer.jobs import team

class Slow(team.Worker):
    def answer(self):
        os.kill(os.getpid(), signal.SIGINT)
        return super().answer()

# Where the tests run in the background of a shell, interrupts are ignored from the start.
signal.signal(signal.SIGINT, signal.default_int_handler)
team.Worker = Slow
sys.argv = ["causepath", sys.argv[1], "--jobs", "2"]
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_an_interrupt_ends_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_bytes(b"".join(LINES))
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "causepath: interrupted\n")


def test_a_worker_that_says_something_else_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('Hello from this machine!')")
    (tmp_path / "traces").mkdir()
    (tmp_path / "traces/t.jsonl").write_bytes(b"".join(LINES))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(team_module, "_LAST_WORDS_S", 0.1)
    parts = shares([str(tmp_path / "traces")], Options(), 2, 1)
    with pytest.raises(UnreadableInputError, match="says what nobody understands"):
        Team(Task(), parts, lambda path, spans: None)
