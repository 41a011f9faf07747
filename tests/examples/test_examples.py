"""The examples as a newcomer runs them: a command, and what it prints."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.programs

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

TRANSCRIPT = """\
How far will battery-electric airliners be able to fly by 2035?
  search_web {'query': 'battery electric airliner range 2035'}
  search_papers {'topic': 'aviation batteries', 'since_year': 2023}
  fetch_page {'url': 'https://flight-notes.example/electric-range'}
By 2035 a battery-electric airliner should manage 400 to 550 km, enough for regional routes only.

- Energy: packs hold about 200 Wh/kg today and gain 4 to 5 % a year, which makes some 330 Wh/kg
  in 2035 [https://flight-notes.example/electric-range] [P-1207].
- Design: at that density a clean-sheet 70-seater reaches 420 km with today's reserves [P-1188].
- Rules: reserves by flight phase would add another 120 km, more than three years of better
  batteries [P-1188].

Least certain: fast charging wears packs out early [P-0931] and could eat a fifth of it.
"""


OTHER_QUESTION = TRANSCRIPT.replace(TRANSCRIPT.splitlines()[0], "Do ferries fly?")

NOT_ITS_QUESTION = "Offline the model is scripted and answers only its own question; see --live.\n"

NO_KEY = "--live needs an API key in the environment variable ANTHROPIC_API_KEY\n"

# Command, exit status, standard output, end of standard error.
RUNS = [
    ("research_agent.py", 0, TRANSCRIPT, ""),
    ("research_agent_async.py", 0, TRANSCRIPT, ""),
    ("research_agent_async.py --together", 0, TRANSCRIPT, ""),
    ("research_agent.py --together 'Do ferries fly?'", 0, OTHER_QUESTION, NOT_ITS_QUESTION),
    ("research_agent.py --live", 2, "", NO_KEY),
]


def start(command: str, directory: Path) -> subprocess.Popen[str]:
    example, *options = shlex.split(command)
    environment = {name: os.environ[name] for name in os.environ if "ANTHROPIC" not in name}
    return subprocess.Popen(
        [sys.executable, str(EXAMPLES / example), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=directory,
        env=environment,
        text=True,
    )


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[int, str, str]]:
    """What every run came to, from a folder that is not the repository."""
    directory = tmp_path_factory.mktemp("elsewhere")
    # All at once: they mostly wait, and each has a model of its own.
    running = {command: start(command, directory) for command, *_ in RUNS}
    outcomes = {}
    for command, process in running.items():
        printed, errors = process.communicate(timeout=120)
        outcomes[command] = (process.returncode, printed, errors)
    return outcomes


@pytest.mark.parametrize(("command", "status", "printed", "errors"), RUNS)
def test_an_example_prints_what_it_should(
    command: str,
    status: int,
    printed: str,
    errors: str,
    outcomes: Mapping[str, tuple[int, str, str]],
) -> None:
    got_status, got_printed, got_errors = outcomes[command]
    assert (got_status, got_printed) == (status, printed)
    assert got_errors.endswith(errors)
    assert bool(got_errors) == bool(errors)
