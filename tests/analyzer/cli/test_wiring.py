"""`causepath doctor --self`, and `-- CMD`: is the plugin wired, and where do spans go."""

import json
import os
import sys
from pathlib import Path

import pytest

from causepath_analyzer.analyses.wiring import Wiring
from causepath_analyzer.cli import invoke
from causepath_analyzer.report.wiring_text import wiring_text
from tests.analyzer.cli.test_run_command import ONE_RUN, WRITER

LOADED = 'account(event="loaded", version="0.1.0", python="python3", complaints=[])\n'
ENDED = """
file = os.environ["CAUSEPATH_FILE"]
account(event="ended", calls=1, sdks=["anthropic"], to=[file], nothing=None, lost=[])
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("CAUSEPATH"):
            monkeypatch.delenv(name)
    return tmp_path


def test_a_program_that_is_wired(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "agent.py").write_text(WRITER + LOADED + ENDED + ONE_RUN)
    assert invoke(["doctor", "--", sys.executable, "-S", "agent.py", "7", "0"]) == 0
    printed = capfd.readouterr()
    assert printed.err == "the program's own output\n"
    lines = printed.out.splitlines()
    assert lines[:3] + lines[-2:] == [
        "python   python3",
        "plugin   causepath 0.1.0, loaded as Python started",
        "models   anthropic: 1 call seen",
        "written  1 span",
        "The wiring is sound.",
    ]
    assert lines[3].startswith("spans    go to ")


def test_its_exit_status_is_passed_on_and_json_is_alone(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "agent.py").write_text(WRITER + LOADED + ENDED + ONE_RUN)
    command = [sys.executable, "-S", "agent.py", "7", "3"]
    assert invoke(["doctor", "--self", "--json", "--", *command]) == 3
    told = json.loads(capfd.readouterr().out)
    file = str(folder / "causepath-traces.jsonl")
    assert told == {
        "schema": "causepath.wiring/1",
        "python": "python3",
        "plugin": "0.1.0",
        "installed": None,
        "imported": ["anthropic"],
        "calls": 1,
        "to": [file],
        "written": 1,
        "complaints": [],
        "nothing": None,
        "wrong": [],
    }


def test_a_program_without_the_plugin(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "agent.py").write_text("")
    assert invoke(["doctor", "--", sys.executable, "-S", "agent.py"]) == 5
    told = " ".join(capfd.readouterr().out.split())
    assert told.startswith("written 0 spans bad no traces in ")
    assert "Install it there: pip install -U 'causepath[auto]'" in told


def test_a_program_that_there_is_not(capfd: pytest.CaptureFixture[str]) -> None:
    assert invoke(["doctor", "--", "nosuchprogram"]) == 2
    assert capfd.readouterr().err == "causepath: nosuchprogram: no such program\n"


def test_the_python_here(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable))  # noqa: PTH120
    assert invoke(["doctor", "--self", "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["python"] == sys.executable
    assert {"causepath", "opentelemetry-sdk", "anthropic"} <= told["installed"].keys()
    assert (told["plugin"], told["wrong"]) == (told["installed"]["causepath"], [])


NOT_LOADED = Wiring("python3", None, {"causepath": "1"}, (), 0, (), None)
WIRED = Wiring(
    "python3", "1", {"causepath": "1", "opentelemetry-sdk": "2", "openai": "3"}, (), 0, ("f",), None
)


@pytest.mark.parametrize(
    ("wiring", "wrong"),
    [
        (WIRED, []),
        (Wiring("python3", None, {}, (), 0, (), None), ["the plugin is not installed"]),
        (
            NOT_LOADED,
            ["the plugin is installed there, but", "the OpenTelemetry SDK", "none of anthropic"],
        ),
        (Wiring("p", "1", WIRED.installed, (), 0, (), None), ["spans go nowhere"]),
        (
            Wiring("p", "1", None, ("openai",), 3, ("http://x",), None, ("3 spans lost",)),
            ["3 spans"],
        ),
        (Wiring("p", "1", None, (), 0, ("f",), 0, nothing="no model call"), ["no model call"]),
    ],
)
def test_what_is_wrong_is_said(wiring: Wiring, wrong: list[str]) -> None:
    said = wiring.wrong()
    assert [one.startswith(start) for one, start in zip(said, wrong, strict=True)] == [True] * len(
        wrong
    )
    lines = [line.plain for line in wiring_text(wiring)]
    assert sum(line.startswith("bad  ") for line in lines) == len(wrong)
    assert ("The wiring is sound." in lines) == (not wrong)
    assert max(map(len, lines)) <= 80
