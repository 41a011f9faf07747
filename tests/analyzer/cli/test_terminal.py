"""What a terminal of any width gets, and who gets colours."""

import os
import pty
import re
import termios
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from rich.cells import cell_len

from causepath_analyzer.cli import invoke
from tests.analyzer.cli.test_selection import RUNS, line
from tests.support.forked import Forks

RECORDED = Path(__file__).parents[1] / "recorded"
TRACES = (
    ("report", RECORDED / "causepath.jsonl"),
    ("report --all", RECORDED / "logfire+causepath.jsonl"),
    ("list", RECORDED / "causepath.jsonl"),
    ("doctor", RECORDED / "traceloop.jsonl"),
    ("check --max wall=1s --max tokens.input=10 --max failed=0", RECORDED / "causepath.jsonl"),
    ("whatif --profile", RECORDED / "causepath.jsonl"),
)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


FORKS = Forks(
    *(f"causepath_analyzer.cli.{verb}" for verb in ("check", "doctor", "list_runs", "whatif"))
)


def on_terminal(arguments: list[str], columns: int, **environment: str) -> str:
    """Runs the command on a terminal of so many columns; what it prints, colours and all."""
    ours, theirs = pty.openpty()
    pieces: list[bytes] = []

    def read() -> None:
        with suppress(OSError):  # the other end is closed
            while piece := os.read(ours, 1 << 16):
                pieces.append(piece)

    reader = threading.Thread(target=read)
    try:
        termios.tcsetwinsize(ours, (24, columns))
        reader.start()
        FORKS.run(
            ["-m", "causepath_analyzer", *arguments],
            cwd=Path.cwd(),
            env={**_bare(), "TERM": "xterm-256color", **environment},
            stdout=theirs,
        )
    finally:
        os.close(theirs)
        reader.join()
        os.close(ours)
    return b"".join(pieces).decode().replace("\r\n", "\n")


def _bare() -> dict[str, str]:
    names = ("CAUSEPATH", "COLUMNS", "NO_COLOR", "FORCE_COLOR", "CLICOLOR")
    return {name: value for name, value in os.environ.items() if not name.startswith(names)}


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
@pytest.mark.parametrize(("command", "path"), TRACES, ids=[command for command, _ in TRACES])
def test_no_row_is_wider_than_the_terminal(command: str, path: Path, columns: int) -> None:
    verb, *rest = command.split()
    printed = _COLOUR.sub("", on_terminal([verb, str(path), *rest], columns))
    rows = [row.rstrip() for row in printed.splitlines() if not row.startswith("Next: ")]
    assert rows
    assert [row for row in rows if cell_len(row) > columns] == []
    if verb == "report" and columns > 80:
        assert max(map(cell_len, rows)) > columns - 40  # the width is used


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_summary_fits(columns: int, tmp_path: Path) -> None:
    path = tmp_path / "a file with a name that is quite long indeed, as they are.jsonl"
    lines = [line(number, "name" * 20, *run[1:]) for number, run in enumerate(RUNS, start=1)]
    path.write_text("".join(lines))
    for command in ([], ["list"]):
        printed = _COLOUR.sub("", on_terminal([*command, str(path)], columns))
        rows = [row for row in printed.splitlines() if not row.startswith("Next: ")]
        assert [row for row in rows if cell_len(row.rstrip()) > columns] == []


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({"CLICOLOR": "0"}, False),
        ({"CAUSEPATH_COLOR": "never", "FORCE_COLOR": "1"}, False),
    ],
)
def test_colours_on_a_terminal(environment: dict[str, str], coloured: bool) -> None:
    printed = on_terminal([str(RECORDED / "causepath.jsonl")], 80, **environment)
    assert (_COLOUR.search(printed) is not None) == coloured


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "0"}, False),
        ({"CLICOLOR_FORCE": "1"}, True),
        ({"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colours_in_a_pipe(
    environment: dict[str, str],
    coloured: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in list(os.environ):
        if name not in _bare():
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    invoke([str(RECORDED / "causepath.jsonl")])
    assert (_COLOUR.search(capsys.readouterr().out) is not None) == coloured


def test_all_rows_are_shown_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.jsonl"
    text = line(1, "long", 0, 60, None)
    start = int(re.search(r'startTimeUnixNano": "(\d+)', text)[1])  # type: ignore[index]
    calls = [
        text.replace(
            '"spanId": "' + f"{1:016x}", f'"parentSpanId": "{1:016x}", "spanId": "{n:016x}'
        )
        .replace("invoke_agent long", f"step {n % 3}")
        .replace("invoke_agent", "step")
        .replace(str(start), str(start + n * 10**9))
        .replace(str(start + 60 * 10**9), str(start + (n + 1) * 10**9))
        for n in range(2, 42)
    ]
    path.write_text("".join([text, *calls]).replace('"agent"', '"tool"'))
    invoke([str(path)])
    folded = capsys.readouterr().out
    (told,) = (row for row in folded.splitlines() if "more spans" in row)
    assert re.match(r"  \d+ more spans \(--all shows them\), .*s of the path: \d+ step \d, ", told)
    invoke([str(path), "--all"])
    everything = capsys.readouterr().out
    assert "more spans" not in everything
    assert len(everything.splitlines()) > len(folded.splitlines()) + 10
