"""The command as a user meets it: what it prints where, and its exit status."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from causepath_analyzer import __version__
from causepath_analyzer.analyses.findings.rules import RULES
from causepath_analyzer.cli import invoke
from tests.analyzer.read.test_read import LINE, OTHER


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in, and no settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("CAUSEPATH"):
            monkeypatch.delenv(name)
    (tmp_path / "one.jsonl").write_text(LINE + "\n")
    (tmp_path / "two.jsonl").write_text(f"{LINE}\n{OTHER}\n")
    (tmp_path / "cut.jsonl").write_text(f"{LINE}\n{OTHER[:40]}\n")
    (tmp_path / "text.txt").write_text("hello\n")
    (tmp_path / "logs.json").write_text('{"resourceLogs": []}')
    (tmp_path / "empty").mkdir()
    return tmp_path


HINT = "or record one with `causepath run -- python agent.py`"


@pytest.mark.parametrize(
    ("arguments", "status", "out", "err"),
    [
        ("one.jsonl", 0, "chat m", ""),
        ("report one.jsonl", 0, "chat m", ""),
        ("two.jsonl", 0, "2 runs", ""),
        ("two.jsonl --trace 0af", 0, "chat m", ""),
        ("two.jsonl --trace 0AF7651916CD43DD8448EB211C80319C", 0, "chat m", ""),
        (".", 0, "2 runs", "causepath: text.txt:1: text, no trace\n"),
        ("one.jsonl --json", 0, '"schema": "causepath.report/2"', ""),
        (
            "cut.jsonl",
            0,
            "chat m",
            "causepath: cut.jsonl:2: cut off: the JSON that starts here never ends\n",
        ),
        (
            "cut.jsonl --strict",
            4,
            "chat m",
            "causepath: cut.jsonl:2: cut off: the JSON that starts here never ends\n",
        ),
        ("gone.jsonl", 4, "", "causepath: gone.jsonl: no such file or folder\n"),
        (
            "one.jsonl gone.jsonl",
            4,
            "chat m",
            "causepath: gone.jsonl: no such file or folder\n",
        ),
        ("text.txt", 5, "", "causepath: text.txt:1: text, no trace\n"),
        ("logs.json", 5, "", "causepath: logs.json: OTLP logs, no traces\n"),
        ("empty", 5, "", "causepath: empty: a folder without files\n"),
        (
            "",
            4,
            "",
            f"causepath: no causepath-traces.jsonl here: name a trace file or a folder, {HINT}\n",
        ),
        (
            "two.jsonl --trace 9",
            2,
            "",
            (
                "causepath: no trace starts with 9; there are 2: "
                f"0af7651916cd43dd8448eb211c80319c, {'1' * 32}\n"
            ),
        ),
        (
            "one.jsonl --colour",
            2,
            "",
            "causepath: unknown option --colour; did you mean --color?\n",
        ),
        ("--version", 0, f"{__version__}\n", ""),
        ("--help", 0, "Exit status: 0 fine, 1 budget broken", ""),
        ("explain cp101", 0, "CP101  Tools of one reply ran one after the other", ""),
        ("explain CP101 --json", 0, '"schema": "causepath.explain/1"', ""),
        (
            "explain CP9",
            2,
            "",
            f"causepath: no finding has the code CP9; there is {', '.join(RULES)}\n",
        ),
        ("check one.jsonl --max wall=1s", 0, "1 passed", ""),
        ("check one.jsonl --max wall=99ms", 1, "1 failed", ""),
        ("check one.jsonl --max wall=0.1s --max calls.llm=1 --max path.llm=1h", 0, "3 passed", ""),
        ("check one.jsonl --max cost=$1", 3, "1 inconclusive", ""),
        ("check one.jsonl --max cost=1 --max turns=0", 1, "1 failed, 1 inconclusive", ""),
        ("check one.jsonl --max wall=1s --json", 0, '"schema": "causepath.check/2"', ""),
        (
            "check cut.jsonl --max wall=1s --strict",
            4,
            "1 passed",
            "causepath: cut.jsonl:2: cut off: the JSON that starts here never ends\n",
        ),
        (
            "check one.jsonl",
            2,
            "",
            (
                "causepath: no budgets: there is no settings file with any; set one with "
                '--max "wall=5s", or in [tool.causepath.budgets] of pyproject.toml\n'
            ),
        ),
        (
            "check one.jsonl --max wal=1s",
            2,
            "",
            "causepath: --max wal=1s: no budget is called 'wal'; did you mean wall?\n",
        ),
        (
            "check one.jsonl --max wall=5",
            2,
            "",
            (
                "causepath: --max wall=5: '5' is no amount for wall; "
                'write it like "5s", "800ms" or "2m"\n'
            ),
        ),
        (
            "check one.jsonl --max wall",
            2,
            "",
            "causepath: --max: 'wall' is no budget; write it like wall=5s\n",
        ),
        ("run", 2, "", "causepath: run what? Write: causepath run -- python agent.py\n"),
        ("run -- no-such-program", 127, "", "causepath: no-such-program: no such program\n"),
    ],
)
def test_commands(
    capsys: pytest.CaptureFixture[str], arguments: str, status: int, out: str, err: str
) -> None:
    assert invoke(arguments.split()) == status
    printed = capsys.readouterr()
    assert out in printed.out
    assert (printed.out == "") == (out == "")
    assert err == printed.err or (arguments == "." and err in printed.err)


def test_the_plugins_file_is_read_without_being_named(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "causepath-traces.jsonl").write_text(LINE)
    assert invoke([]) == 0
    monkeypatch.setenv("CAUSEPATH_FILE", "two.jsonl")
    assert invoke([]) == 0
    assert "2 runs" in capsys.readouterr().out


def test_output_goes_to_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["one.jsonl", "-o", "r.txt"]) == 0
    assert invoke(["one.jsonl", "--json", "--output", "r.json"]) == 0
    assert invoke(["one.jsonl", "-o", "empty"]) == 2
    assert capsys.readouterr() == ("", "causepath: empty: cannot be written: Is a directory\n")
    assert (folder / "r.txt").read_text().startswith("chat m  100ms")
    assert json.loads((folder / "r.json").read_text())["schema"] == "causepath.report/2"


@pytest.mark.parametrize(
    ("arguments", "environment", "colored"),
    [
        ([], {}, False),
        (["--color", "always"], {}, True),
        ([], {"CAUSEPATH_COLOR": "always"}, True),
        (["--color", "never"], {"CAUSEPATH_COLOR": "always"}, False),
    ],
)
def test_color(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    environment: dict[str, str],
    colored: bool,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert invoke(["one.jsonl", *arguments]) == 0
    assert ("\x1b[" in capsys.readouterr().out) is colored


SETTINGS = """
[tool.other]
wall = 1

[tool.causepath.budgets]
wall = "1s"
path.llm = "1h"
tokens.input = 40_000
"""


@pytest.mark.parametrize(
    ("name", "text", "status", "told"),
    [
        ("pyproject.toml", SETTINGS, 0, "3 passed"),
        ("causepath.toml", "[budgets]\nwall = '1s'\n", 0, "1 passed"),
        ("causepath.toml", "budgets.wall = '1ms'\n", 1, "1 failed"),
        (
            "causepath.toml",
            "[budgets]\nwall = '1s'\n\n[budgets.path]\ntols = '1s'\n",
            2,
            "causepath.toml:5: no budget is called 'path.tols'; did you mean path.tool?",
        ),
        (
            "causepath.toml",
            "[budgets]\n\nwall = 5\n",
            2,
            'causepath.toml:3: 5 is no amount for wall; write it like "5s", "800ms" or "2m"',
        ),
        (
            "causepath.toml",
            "[budget]\nwall = '1s'\n",
            2,
            "causepath.toml:1: unknown setting 'budget'; there is budgets and findings",
        ),
        ("causepath.toml", "[budgets]\nwall = \n", 2, "causepath.toml:2: not TOML: "),
        ("causepath.toml", "budgets = 5\n", 2, "causepath.toml:1: "),
        (
            "pyproject.toml",
            SETTINGS.replace('wall = "1s"', "wall = true"),
            2,
            "pyproject.toml:6: True is no amount for wall",
        ),
    ],
)
def test_settings(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    text: str,
    status: int,
    told: str,
) -> None:
    (folder / name).write_text(text)
    (folder / "below").mkdir()
    assert invoke(["check", "one.jsonl"]) == status
    printed = capsys.readouterr()
    assert told in printed.out + printed.err


def test_flags_go_over_the_environment_and_that_over_the_file(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "causepath.toml").write_text("[budgets]\nwall = '1ms'\nturns = 0\ncalls.llm = 0\n")
    monkeypatch.setenv("CAUSEPATH_MAX", "wall=2ms, turns=9")
    assert invoke(["check", "one.jsonl", "--json", "--max", "wall=7s"]) == 1
    budgets = json.loads(capsys.readouterr().out)["budgets"]
    where = str(folder / "causepath.toml")
    assert {(b["name"], b["max"], b["where"]) for b in budgets} == {
        ("wall", 7_000_000_000, "--max"),
        ("turns", 9, "CAUSEPATH_MAX"),
        ("calls.llm", 0, f"{where}:4"),
    }


def causepath(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "causepath_analyzer", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)  # type: ignore[call-overload,no-any-return]


def test_a_reader_that_has_seen_enough_costs_no_traceback(folder: Path) -> None:
    (folder / "many.jsonl").write_text(
        "".join(LINE.replace("0af7651916cd", f"{i:012x}") + "\n" for i in range(2000))
    )
    command = f"'{sys.executable}' -m causepath_analyzer many.jsonl --json | head -c 10"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ('{\n "schema', "")


def test_a_terminal_without_blocks_gets_ascii(folder: Path) -> None:
    done = causepath("one.jsonl", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert "# on the path" in done.stdout
