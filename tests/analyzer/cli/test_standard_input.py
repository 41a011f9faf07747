"""A pipe with data is read, and an open one without any never makes the command wait."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.analyzer.read.test_read import LINE, OTHER

pytestmark = pytest.mark.programs

BOTH = f"{LINE}\n{OTHER}\n"
COMMAND = [sys.executable, "-m", "causepath_analyzer"]


@pytest.fixture(params=[True, False], ids=["beside a trace file", "beside none"])
def beside(request: pytest.FixtureRequest, tmp_path: Path) -> bool:
    """Whether there is a file that would be read without a pipe."""
    if request.param:
        (tmp_path / "causepath-traces.jsonl").write_text(LINE + "\n")
    return bool(request.param)


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("CAUSEPATH")}


def said(command: str, folder: Path) -> tuple[int, str, str]:
    done = subprocess.run(
        command.replace("causepath", f"'{sys.executable}' -m causepath_analyzer", 1),
        shell=True,
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    first = done.stdout.partition("  ")[0]
    return done.returncode, done.stdout if "--json" in command else first, done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "cat both.jsonl | causepath",
        "causepath < both.jsonl",
        "gzip -c both.jsonl | causepath report",
        "cat both.jsonl | causepath -",
        "cat both.jsonl | causepath - --jobs 2",
    ],
)
def test_a_pipe_with_data_is_read(command: str, beside: bool, tmp_path: Path) -> None:
    (tmp_path / "both.jsonl").write_text(BOTH)
    told = (
        "" if " -" in command.partition("causepath")[2] else "causepath: reading standard input\n"
    )
    assert said(command, tmp_path) == (0, "2 runs", told)


def test_a_pipe_goes_before_the_file_in_every_command(tmp_path: Path) -> None:
    (tmp_path / "both.jsonl").write_text(BOTH)
    (tmp_path / "causepath-traces.jsonl").write_text(LINE + "\n")
    status, out, _ = said("cat both.jsonl | causepath check --max wall=1s --json", tmp_path)
    assert (status, '"runs": 2' in out) == (0, True)
    status, out, _ = said("cat both.jsonl | causepath doctor --json", tmp_path)
    assert '"traces": 2' in out


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("causepath", ""),  # /dev/null
        ("causepath <&-", ""),
        ("causepath < empty", ""),
        ("true | causepath", "an empty pipe"),
    ],
)
def test_nothing_in_standard_input(command: str, told: str, beside: bool, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    status, out, err = said(command, tmp_path)
    if beside:
        file = "causepath-traces.jsonl"
        line = f"causepath: reading {file}: standard input is {told}\n" if told else ""
        assert (status, out, err) == (0, "chat m", line)
    else:
        assert (status, out) == (4, "")
        assert "no causepath-traces.jsonl here" in err
        assert told in err


def test_an_open_pipe_that_nobody_writes_to_is_not_waited_for(beside: bool, tmp_path: Path) -> None:
    begun = time.monotonic()
    with subprocess.Popen(
        COMMAND,
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as command:
        assert command.stdin is not None
        assert command.stdout is not None
        assert command.stderr is not None
        status = command.wait(60)  # with the pipe open
        assert b"a pipe with nothing in it so far (`-` waits for it)" in command.stderr.read()
    assert time.monotonic() - begun < 60
    assert status == (0 if beside else 4)
