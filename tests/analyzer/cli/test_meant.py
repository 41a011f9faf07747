"""Slips of the keyboard, and files that are no traces: the answer names what was meant."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from causepath_analyzer import __version__
from causepath_analyzer.cli import invoke
from tests.analyzer.cli.test_cli import causepath
from tests.analyzer.read.test_read import LINE

RUN = "did you mean causepath run -- python agent.py?"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.jsonl").write_text(LINE + "\n")
    (tmp_path / "agent.py").write_text("import os\n")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("agent.py", RUN),
        ("report agent.py", RUN),
        ("t.jsonl agent.py", RUN),
        ("gone.py", "did you mean causepath run -- python gone.py?"),
        ("bash agent.py", "no command or file bash; did you mean causepath run -- bash agent.py?"),
        ("chekc t.jsonl", "no command or file chekc; did you mean causepath check?"),
        ("whatiff t.jsonl", "did you mean causepath whatif?"),
        ("lsit", "did you mean causepath list?"),
        ("run agent.py", "no such program; did you mean causepath run -- python agent.py?"),
        ("run -- ./agent.py 1", "did you mean causepath run -- python ./agent.py 1?"),
        ("CP101", "did you mean causepath explain CP101?"),
        ("t.jsonl --jsn", "unknown option --jsn; did you mean --json?"),
        ("t.jsonl --jsn=1", "unknown option --jsn; did you mean --json?"),
        ("check t.jsonl --max wall=1s --mx wall=1s", "unknown option --mx; did you mean --max?"),
        ("explain CP101 --jsn", "did you mean --json?"),
        ("run --jsn -- python agent.py", "unknown option --jsn; did you mean --json?"),
        ("doctor t.jsonl --top 1", "unknown option --top; it is one of another command"),
        ("t.jsonl --zzzzqqq", "for a file of this name write ./--zzzzqqq"),
        ("completion tcsh", "tcsh"),
    ],
)
def test_what_was_meant(arguments: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(arguments.split()) in (2, 126, 127)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("causepath: ")
    assert told in printed.err


def test_a_file_goes_before_what_its_name_may_mean(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("chekc", "bash", "help", "CP101"):
        (folder / name).write_text(LINE + "\n")
        assert invoke([name]) == 0
        assert capsys.readouterr().out.startswith("chat m ")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("-V", f"{__version__}\n"),
        ("help", "Usage: causepath"),
        ("help check", "Hold every run against budgets"),
    ],
)
def test_other_ways_to_ask(arguments: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(arguments.split()) == 0
    assert told in capsys.readouterr().out


def test_the_options_of_a_program_are_its_own(folder: Path) -> None:
    (folder / "agent.py").write_text("import sys; print(sys.argv[1:])")
    for options in ((), ("--color", "never"), ("--ascii", "-o", "r.txt")):
        done = causepath("run", *options, sys.executable, "agent.py", "--json", "-o", "x")
        assert done.stdout == "['--json', '-o', 'x']\n"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a picture, no trace"),
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF, no trace"),
        (b"\x7fELF\x02\x01\x01", "a program, no trace"),
        (b"2026-11-28 10:00:00,123 INFO started\n", "lines of a log, no trace"),
        (b"[2026-11-28T10:00:00Z] started\n", "lines of a log, no trace"),
        (b"INFO:root:started\n", "lines of a log, no trace"),
        (b"2026-11-28 INFO started\n", "lines of a log, no trace"),
        (b"2026/11/28 10:00:00 started [3]\n", "lines of a log, no trace"),
        (b'Nov 28 10:00:00 host app[12]: "started"\n', "lines of a log, no trace"),
        (b"I1128 10:00:00.1 7 main.go:3] started\n", "lines of a log, no trace"),
        (b'10.0.0.1 - - [28/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200\n', "lines of a log"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\n{\x00}\n", "a picture, no trace"),
        (b"trace_id,name,duration ms\n1,a,5\n", "a table (CSV)"),
        (b"trace_id\tname\tduration\n", "a table (CSV)"),
        (b"# Traces\n\nThese are mine.\n", "text, no trace"),
    ],
)
def test_a_file_is_told_what_it_looks_like(
    data: bytes, told: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "f").write_bytes(data)
    assert invoke(["f"]) == 5
    assert f"causepath: f:1: {told}" in capsys.readouterr().err
    # It is not a trace that could not be read.
    (folder / "in").mkdir()
    (folder / "in" / "f").write_bytes(data)
    (folder / "in" / "t.jsonl").write_text(LINE + "\n")
    assert invoke(["check", "in", "--max", "wall=1h"]) == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_for_three_shells(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "whatif" in script
    assert "strict" in script


@pytest.mark.programs
@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("causepath che", {"check"}),
        ("causepath check --str", {"--strict"}),
        ("causepath list --fai", {"--failed"}),
        ("causepath t.j", set()),  # bash itself completes files then
    ],
)
def test_bash_completes(typed: str, expected: set[str], tmp_path: Path) -> None:
    words = typed.split()
    (tmp_path / "script").write_text(causepath("completion", "bash").stdout)
    program = f"""
source ./script
COMP_WORDS=({" ".join(words)}); COMP_CWORD={len(words) - 1}
_causepath
printf '%s\\n' "${{COMPREPLY[@]}}"
complete -p causepath >&2
"""
    done = subprocess.run(
        ["bash", "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert set(done.stdout.split()) == expected
    assert "-o default" in done.stderr


@pytest.mark.programs
def test_zsh_calls_what_it_loads_and_completes_files() -> None:
    """Run by hand in zsh 5.9 and fish 3.6: commands, options and files are completed."""
    script = causepath("completion", "zsh").stdout
    assert script.startswith("#compdef causepath\n")
    assert script.rstrip().endswith(
        'if [ "$funcstack[1]" = "_causepath" ]; then\n  _cyclopts_causepath "$@"\nelse\n'
        "  compdef _cyclopts_causepath causepath\nfi"
    )
    assert "commands\n      _files\n" in script
    takes_files = [line for line in script.splitlines() if ":_files'" in line]
    assert any("Trace files, folders of them" in line for line in takes_files)
    assert any("--output[" in line for line in takes_files)


@pytest.mark.programs
@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh here")
def test_zsh_understands_it(tmp_path: Path) -> None:
    (tmp_path / "_causepath").write_text(causepath("completion", "zsh").stdout)
    done = subprocess.run(["zsh", "-n", "_causepath"], cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == 0


def test_help_says_what_each_command_is_for() -> None:
    lines = causepath("-h").stdout.splitlines()
    start, end = (
        next(i for i, x in enumerate(lines) if one in x) for one in ("Commands", "--help")
    )
    commands = [line.strip("│ ").split(maxsplit=1) for line in lines[start + 1 : end]]
    named = {one[0]: one for one in commands if one[0] in ("check", "list", "report", "whatif")}
    assert len(named) == 4
    assert all(len(one) == 2 for one in named.values())
