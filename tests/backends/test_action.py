"""The GitHub Action, its steps run as a runner does: with the inputs in the environment."""

import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.messages_api import messages_api_process

pytestmark = pytest.mark.backends

ROOT = Path(__file__).parents[2]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / ".github/actions/check/action.yml").read_text())
AGENT = """
import anthropic

ask = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "?"}]}
anthropic.Anthropic().messages.create(**ask)
"""


def run_action(folder: Path, url: str, **inputs: str) -> tuple[int, str]:
    """Runs the steps until one fails; gives its exit status and all that was printed."""
    given = {name: told["default"] for name, told in ACTION["inputs"].items()} | inputs
    assert given.keys() == ACTION["inputs"].keys()
    printed = ""
    for step in ACTION["runs"]["steps"]:
        assert (step["shell"], "${{" in step["run"]) == ("bash", False)  # nothing is pasted
        wanted = re.fullmatch(r"inputs\.(\w+) != ''", step.get("if", "inputs.traces != ''"))
        assert wanted is not None
        if not given[wanted[1]]:
            continue
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=folder,
            env={**environment(folder, url), **resolved(step.get("env", {}), given)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        printed += done.stdout + done.stderr
        if done.returncode:
            return done.returncode, printed
    return 0, printed


def resolved(env: Mapping[str, str], inputs: Mapping[str, str]) -> dict[str, str]:
    return {
        name: re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda found: inputs[found[1]], value)
        for name, value in env.items()
    }


def environment(folder: Path, url: str) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if "CAUSEPATH" not in name},
        "PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}",
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "test",
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
    }


@pytest.mark.parametrize(
    ("limit", "status", "told"),
    [
        ("60s", 0, "1 passed"),
        ("1ns", 1, "::error file=pyproject.toml,line=2,title=causepath%3A fail::wall <= 1ns: "),
    ],
)
def test_a_job_is_green_or_red(tmp_path: Path, limit: str, status: int, told: str) -> None:
    (tmp_path / "agent.py").write_text(AGENT)
    (tmp_path / "pyproject.toml").write_text(f'[tool.causepath.budgets]\nwall = "{limit}"\n')
    with messages_api_process("tests.plugin.scripts:weather") as url:
        found, printed = run_action(tmp_path, url, run=f"'{sys.executable}' agent.py")
    assert found == status, printed
    assert told in printed
    assert (tmp_path / "summary.md").read_text().startswith("### causepath: 1 ")


def test_options_are_handed_on(tmp_path: Path) -> None:
    found, printed = run_action(
        tmp_path, "", traces="gone.jsonl", baseline="main", arguments="--max wall=1s"
    )
    assert (found, "main.json: cannot be read" in printed) == (4, True), printed
