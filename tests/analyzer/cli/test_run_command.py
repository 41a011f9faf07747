"""`causepath run`: what it says of the program that it has run, whose traces these are."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from causepath_analyzer.analyses.program import ProgramTime, program_time
from causepath_analyzer.cli.account import Account, account_in
from causepath_analyzer.read.tree.build import build
from tests.analyzer.analyses.test_status import CALL, run
from tests.analyzer.cli.test_cli import causepath
from tests.analyzer.read.test_read import LINE, OTHER

pytestmark = pytest.mark.programs

MS = 1_000_000

WRITER = """
import json, os, sys, time
print("the program's own output", flush=True)
assert os.environ["CAUSEPATH"] == "1"
marked = "unmarked" not in sys.argv
program = {"stringValue": os.environ["CAUSEPATH_PROGRAM_ID"]}
program = {"key": "causepath.program.id", "value": program}
def write(trace, start, end):
    span = {"traceId": f"{trace:032x}", "spanId": f"{trace:016x}", "name": f"chat {trace}",
            "startTimeUnixNano": str(start), "endTimeUnixNano": str(end),
            "attributes": [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}]}
    line = {"resourceSpans": [{"resource": {"attributes": [program] if marked else []},
            "scopeSpans": [{"scope": {"name": "causepath"}, "spans": [span]}]}]}
    with open(os.environ["CAUSEPATH_FILE"], "a") as file:
        file.write(json.dumps(line) + "\\n")
def account(**told):
    with open(os.environ["CAUSEPATH_ACCOUNT"], "a") as file:
        file.write(json.dumps({"pid": os.getpid(), "time_ns": time.time_ns(), **told}) + "\\n")
"""

ONE_RUN = """
now = time.time_ns()
write(int(sys.argv[1]), now, now + 1_000_000)
sys.exit(int(sys.argv[2]))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("CAUSEPATH"):
            monkeypatch.delenv(name)
    (tmp_path / "agent.py").write_text(WRITER + ONE_RUN)
    return tmp_path


@pytest.mark.parametrize("more", [(), ("unmarked",)])
def test_run_reports_on_what_the_program_added(folder: Path, more: tuple[str, ...]) -> None:
    (folder / "causepath-traces.jsonl").write_text(LINE + "\n" + OTHER + "\n")
    done = causepath("run", "--", sys.executable, "-S", "agent.py", "7", "3", *more)
    assert (done.returncode, done.stdout) == (3, "the program's own output\n")
    first, headline, _ = done.stderr.partition("chat 7  1.0ms  1 model call  trace ")
    assert headline
    assert re.fullmatch(
        r"program \S+ \(exit 3\): runs (1\.0ms|<0\.01s), \S+ before the first, \S+ after the last",
        " ".join(first.split()),
    )
    # What is to be done next is about this run, not about all that are in the file.
    assert done.stderr.splitlines()[-1].startswith(
        "Next: causepath whatif causepath-traces.jsonl --trace 7 --profile"
    )


def test_programs_side_by_side_do_not_mix(folder: Path) -> None:
    wait = "\nwhile not os.path.exists('go'): time.sleep(0.01)\n"
    (folder / "agent.py").write_text(
        WRITER + "open(f'ready{sys.argv[1]}', 'w').close()" + wait + ONE_RUN
    )
    command = [sys.executable, "-m", "causepath_analyzer", "run", "--json"]
    both = [
        subprocess.Popen(
            [*command, "--", sys.executable, "-S", "agent.py", number, "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for number in ("1", "2")
    ]
    until = time.monotonic() + 50
    while not (Path("ready1").exists() and Path("ready2").exists()) and time.monotonic() < until:
        time.sleep(0.01)
    Path("go").touch()
    for number, one in zip("12", both, strict=True):
        out, err = one.communicate(timeout=60)
        report = json.loads(out)
        assert [trace["name"] for trace in report["traces"]] == [f"chat {number}"]
        assert report["inputs"][0]["spans"] == 1
        assert err == b"the program's own output\n"


def test_json_has_standard_output_for_itself(folder: Path) -> None:
    done = causepath("run", "--json", "--", sys.executable, "-S", "agent.py", "1", "0")
    program = json.loads(done.stdout)["program"]
    assert done.stderr == "the program's own output\n"
    parts = (program[f"{name}_ns"] for name in ("runs", "before", "between", "after"))
    assert sum(parts) == program["wall_ns"]
    command = (sys.executable, "-S", "agent.py", "1", "0")
    done = causepath("run", "--json", "-o", "r.json", "--", *command)
    assert (done.returncode, done.stdout, done.stderr) == (0, "the program's own output\n", "")
    assert len(json.loads((folder / "r.json").read_text())["traces"]) == 1


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("", "the causepath plugin was not loaded by that program"),
        ('account(event="loaded")', "the program was killed, or left by os._exit"),
        (
            'account(event="loaded"); account(event="ended", calls=0, sdks=[], nothing=None)',
            "the plugin was loaded, but saw no model call",
        ),
        (
            'account(event="loaded"); account(event="ended", calls=2, sdks=["anthropic"])',
            "2 model calls were seen, but traces go elsewhere",
        ),
        (
            'account(event="loaded"); account(event="ended", nothing="OTEL_SDK_DISABLED is set")',
            "causepath: OTEL_SDK_DISABLED is set\n",
        ),
    ],
)
def test_a_program_without_traces_is_told_why(folder: Path, program: str, told: str) -> None:
    (folder / "agent.py").write_text(WRITER + program)
    (folder / "causepath-traces.jsonl").write_text(LINE + "\n")
    done = causepath("run", "--", sys.executable, "-S", "agent.py")
    assert done.returncode == 5
    assert told in done.stderr
    (folder / "agent.py").write_text(WRITER + program + "\nsys.exit(7)")
    assert causepath("run", "--", sys.executable, "-S", "agent.py").returncode == 7


def test_where_the_time_before_the_first_run_went(folder: Path) -> None:
    (folder / "agent.py").write_text(
        WRITER
        + """
loaded = time.time_ns()
account(event="loaded", time_ns=loaded)
imported = loaded + 20_000_000
while time.time_ns() < imported: pass
now = time.time_ns()
write(1, now, now + 1_000_000)
account(event="ended", calls=1, sdk_ns=imported)
"""
    )
    done = causepath("run", "--", sys.executable, "-S", "agent.py")
    line = done.stderr.splitlines()[1]
    assert line.startswith("  before the first run: ")
    told = r" to start Python, (20ms|0\.02s) to import the SDK$"
    assert re.search(told, line)


AT = run().start_ns


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([], (0, 100, 0, 0)),
        ([(10, 40)], (30, 10, 0, 60)),
        ([(10, 40), (50, 60)], (40, 10, 10, 40)),
        ([(10, 40), (20, 60)], (50, 10, 0, 40)),  # beside each other
        ([(10, 90), (20, 30)], (80, 10, 0, 10)),
        ([(-10, 40)], (40, 0, 0, 60)),  # another clock
        ([(200, 300)], (0, 100, 0, 0)),
    ],
)
def test_the_parts_add_up_to_the_program(
    runs: list[tuple[int, int]], expected: tuple[int, int, int, int]
) -> None:
    from msgspec.structs import replace

    whole = build([run(), CALL])
    traces = [replace(whole, start_ns=start, end_ns=end) for start, end in runs]
    assert program_time(0, 100, traces) == ProgramTime(100, *expected)


def test_a_damaged_account_counts_for_what_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b'{"event": "loaded", "pid": 1, "time_ns": 5}\n\xff\n{"event": "en')
    assert account_in(file) == Account(loaded_ns=5)
    assert account_in(tmp_path / "gone") == Account()


def test_sigterm_is_for_the_program_and_the_report_comes_after_it(folder: Path) -> None:
    (folder / "agent.py").write_text(
        WRITER + "now = time.time_ns()\nwrite(1, now, now + 1_000_000)\n"
        "open('ready', 'w').close()\ntime.sleep(60)\n"
    )
    command = [sys.executable, "-m", "causepath_analyzer", "run", "--json", "--"]
    with subprocess.Popen(
        [*command, sys.executable, "-S", "agent.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        until = time.monotonic() + 50
        while not Path("ready").exists() and time.monotonic() < until:
            time.sleep(0.01)
        process.terminate()
        printed, _ = process.communicate(timeout=60)
    report = json.loads(printed)
    assert [trace["name"] for trace in report["traces"]] == ["chat 1"]
    assert process.returncode == report["program"]["exit_status"] == 143
