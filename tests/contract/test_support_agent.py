"""The example agent with five findings: each is found, and its fix makes it disappear.

What each fix saves, `python -m benchmarks.predictions.example` measures.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.predictions.example import FIXES
from causepath_analyzer.analyses.run import explained
from causepath_analyzer.read import read

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def test_the_findings_of_the_agent_and_of_the_one_with_all_fixes(tmp_path: Path) -> None:
    variants = {"as it is": "", "mended": ",".join(FIXES)}
    running = [
        subprocess.Popen(
            [sys.executable, ROOT / "examples/support_agent.py", "--fix", fixes],
            env={**os.environ, "CAUSEPATH": "1", "CAUSEPATH_FILE": str(tmp_path / name)},
            stdout=subprocess.DEVNULL,
        )
        for name, fixes in variants.items()
    ]
    assert [process.wait(120) for process in running] == [0, 0]
    found = {}
    for name in variants:
        (trace,) = read([str(tmp_path / name)]).traces
        found[name] = {one.code for one in explained(trace, with_cost=True).findings}
    assert found["as it is"] >= set(FIXES)
    assert not found["mended"] & set(FIXES)


def test_a_fix_that_there_is_not() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples/support_agent.py", "--fix", "CP999"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.endswith(f"there is no fix for CP999, but for {', '.join(FIXES)}\n")
