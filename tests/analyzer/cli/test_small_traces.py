"""Small traces of foreign emitters with what is right in them, used in place where they are."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from causepath_analyzer.cli import invoke

CASES = Path(__file__).parents[4] / "shared" / "cases"


def test_what_is_right_in_small_traces(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their own check, with the command run in this process instead of one for each question."""
    if not CASES.exists():
        pytest.skip("the small traces are not here")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(sys, "argv", ["check.py", "causepath", "A"])
    told: list[str] = []

    def run(command: list[str], **_: Any) -> SimpleNamespace:
        status = invoke(command[1:])
        out, err = capfd.readouterr()
        return SimpleNamespace(returncode=status, stdout=out, stderr=err)

    spec = importlib.util.spec_from_file_location("small_traces_check", CASES / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    asked = SimpleNamespace(**{**vars(subprocess), "run": run})
    monkeypatch.setitem(sys.modules, "subprocess", asked)  # type: ignore[arg-type]
    monkeypatch.setitem(
        vars(module), "print", lambda *words: told.append(" ".join(map(str, words)))
    )
    with pytest.raises(SystemExit) as ended:
        spec.loader.exec_module(module)
    assert told[:-1] == []
    assert told[-1].startswith("cases: ")
    assert ended.value.code == 0
