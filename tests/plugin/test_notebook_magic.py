"""`%load_ext causepath` and `%%causepath`, and `python -m causepath`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.plugin.test_nothing_to_see import run
from tests.plugin.test_ways_in import CALL
from tests.support.messages_api import messages_api_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.programs, pytest.mark.timeout(60)]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with messages_api_process("tests.plugin.scripts:hello") as found:
        yield found


CONSOLE = """
import causepath, sys

class Console:
    "As much of IPython as an extension sees."

    def register_magic_function(self, function, magic_kind, magic_name):
        assert (magic_kind, magic_name) == ("cell", "causepath")
        self.magic = function

    def run_cell(self, cell):
        exec(cell, {})

console = Console()
causepath.load_ipython_extension(console)
"""


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the analyzer needs Python 3.11")
def test_a_cell_is_reported_on_below_it(tmp_path: Path, url: str) -> None:
    cell = CALL.format(url=url)
    program = (
        f"{CONSOLE}cell = {cell!r}\n"
        "console.run_cell(cell)\n"
        "console.magic('', cell)\nprint('-----')\n"
        "console.magic('--ascii', cell + cell)\nprint('-----')\n"
        "console.magic('', 'pass')"
    )
    done = run(program, tmp_path, CAUSEPATH="0")
    one, two, none = done.stdout.split("-----\n")
    assert "1 model call " in one
    assert "causepath-traces.jsonl" in one
    assert "2 runs" in two
    assert none == "causepath: this cell called no model\n"


def test_without_the_analyzer_the_cell_says_what_to_install(tmp_path: Path, url: str) -> None:
    program = (
        "import sys; sys.modules['causepath_analyzer'] = None\n"
        f"{CONSOLE}from causepath import notebook_magic\n"
        "notebook_magic.find_spec = lambda name: None\n"
        f"console.magic('', {CALL.format(url=url)!r})"
    )
    done = run(program, tmp_path, CAUSEPATH="0")
    assert done.stdout == (
        f"causepath: the spans of this cell are in {tmp_path}/causepath-traces.jsonl; for a report "
        "here type: pip install causepath-analyzer (it needs Python 3.11)\n"
    )


@pytest.mark.parametrize("arguments", [["agent.py", "x"], ["-m", "agent", "x"]])
def test_a_program_is_run_as_python_runs_it(tmp_path: Path, url: str, arguments: list[str]) -> None:
    program = CALL.format(url=url) + "import sys; print(__name__, sys.argv[1:]); sys.exit(3)"
    done = run(program, tmp_path, "-m", "causepath", *arguments, CAUSEPATH="0")
    assert (done.stdout, done.returncode) == ("__main__ ['x']\n", 3)
    assert done.stderr == f"causepath: 2 spans written to {tmp_path}/causepath-traces.jsonl\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "write: python -m causepath agent.py, or python -m causepath -m package"),
        (
            ["missing.py"],
            (
                "there is no program missing.py; write: python -m causepath agent.py, or "
                "python -m causepath -m package"
            ),
        ),
    ],
)
def test_no_program_is_said(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = run("", tmp_path, "-m", "causepath", *arguments, CAUSEPATH="0")
    assert (done.stderr, done.returncode) == (f"causepath: {said}\n", 2)
