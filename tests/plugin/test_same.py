"""Forty agents with the plugin and without: what they print, send, raise, warn of and pickle is the
same, bit by bit."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.plugin import same_agents
from tests.support.messages_api import MessagesApi
from tests.support.script import Reply, ToolUse, Usage
from tests.support.traced_programs import plain_environment, spans_in

if TYPE_CHECKING:
    from tests.support.script import Request

USAGE = Usage(3, 2)


def scripted(request: Request) -> Reply:
    """The next reply of the plan that the first message is."""
    said: Any = request.messages[0]["content"]
    plan = json.loads(said)
    turn = request.turn
    if turn >= len(plan):
        return Reply("Done.", usage=USAGE)
    asked = [
        ToolUse(name, given, id=f"toolu_{turn}{i}") for i, (name, given) in enumerate(plan[turn])
    ]
    return Reply(asked, usage=USAGE)


@functools.cache
def ran(on: str, folder: Path) -> tuple[dict[str, str], list[Any], str]:
    """What each agent has printed, what was sent, and what was told on standard error."""
    with MessagesApi(scripted) as api:
        process = subprocess.run(
            [sys.executable, str(Path(same_agents.__file__)), api.url],
            env=plain_environment(CAUSEPATH=on, PYTHONHASHSEED="0"),
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        sent = [request.body for request in api.requests]
    sections = process.stdout.split("--- ")[1:]
    return {one.partition("\n")[0]: one for one in sections}, sent, process.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("same")


@pytest.mark.parametrize("agent", [agent.__name__ for agent in same_agents.AGENTS])
def test_what_an_agent_sees_is_the_same_with_the_plugin(agent: str, folder: Path) -> None:
    assert ran("1", folder)[0][agent] == ran("0", folder)[0][agent]


def test_what_is_sent_is_the_same_and_the_tools_were_measured(folder: Path) -> None:
    assert ran("1", folder)[1] == ran("0", folder)[1]
    told = [line for line in ran("1", folder)[2].splitlines() if not line.startswith("causepath:")]
    assert told == ran("0", folder)[2].splitlines()
    measured = inferred = 0
    for span in spans_in(folder / "causepath-traces.jsonl"):
        if span["name"].startswith("execute_tool"):
            keys = {attribute["key"] for attribute in span["attributes"]}
            inferred += "causepath.tool.inferred" in keys
            measured += "causepath.tool.inferred" not in keys
    assert measured >= 0.8 * (measured + inferred)
