"""The plugin of pytest, in a pytest of its own, with the real SDK over HTTP."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.messages_api import MessagesApi, Reply

SUITE = """
import anthropic, os, pytest

ASK = {"model": "claude-opus-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": "?"}]}


def agent(times=1):
    client = anthropic.Anthropic(base_url=os.environ["API"], api_key="test")
    for _ in range(times):
        client.messages.create(**ASK)


@pytest.mark.causepath(wall="60s", tokens=100, cost="$1", turns=2, calls={"llm": 1}, no=["CP101"])
def test_kept():
    agent()


@pytest.mark.causepath(calls={"llm": 1}, tokens=10**6)
class TestAll:
    def test_broken(self):
        import causepath
        with causepath.agent("research"):
            agent(2)

    @pytest.mark.causepath(calls={"llm": 2})
    def test_nearer(self):
        import causepath
        with causepath.agent("research"):
            agent(2)


@pytest.mark.causepath(wall="60s")
def test_nothing():
    pass


@pytest.mark.causepath(budgets=["p(95) wall < 60s"])
def test_inconclusive():
    agent()


@pytest.mark.causepath(wal="60s")
def test_misspelt():
    agent()


@pytest.mark.causepath(wall="60")
def test_no_amount():
    agent()


@pytest.mark.causepath(wall="1ns")
def test_fails_by_itself():
    agent()
    assert False, "its own"


def test_runs(causepath_runs):
    assert len(causepath_runs()) == 0
    agent()
    (run,) = causepath_runs()
    assert (run.status, run.explained.usage.calls.llm) == ("ok", 1)


@pytest.mark.causepath(tokens=20)
@pytest.mark.anyio
@pytest.mark.parametrize("times", [1, 2])
async def test_async(anyio_backend, times):
    import causepath
    # Closed, as the SDK else closes it whenever it is collected, perhaps in another test's loop.
    async with anthropic.AsyncAnthropic(base_url=os.environ["API"], api_key="test") as client:
        with causepath.agent("research"):
            for _ in range(times):
                await client.messages.create(**ASK)


@pytest.fixture
def anyio_backend():
    return "asyncio"


def test_does_not_ask():
    agent()
"""
OUTCOMES = {
    "test_kept": "PASSED",
    "TestAll::test_broken": "FAILED",
    "TestAll::test_nearer": "PASSED",
    "test_nothing": "FAILED",
    "test_inconclusive": "FAILED",
    "test_misspelt": "ERROR",
    "test_no_amount": "ERROR",
    "test_fails_by_itself": "FAILED",
    "test_runs": "PASSED",
    "test_async[1]": "PASSED",
    "test_async[2]": "FAILED",
    "test_does_not_ask": "PASSED",
}


def run_suite(folder: Path, url: str, *arguments: str) -> str:
    (folder / "test_agents.py").write_text(SUITE)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env={**os.environ, "API": url},
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout


def outcomes(printed: str) -> dict[str, str]:
    """Gives the worst that is said of each test."""
    told = re.findall(r"^(PASSED|FAILED|ERROR) test_agents\.py::(\S+)", printed, re.MULTILINE)
    return {name: outcome for outcome, name in told}


@pytest.mark.programs
@pytest.mark.parametrize("arguments", [(), pytest.param(("-n", "2"), id="xdist")])
def test_outcomes(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    with MessagesApi([Reply("Hello")] * 20) as api:
        printed = run_suite(tmp_path, api.url, "-rA", *arguments)
    assert outcomes(printed) == OUTCOMES, printed
    line = 1 + SUITE.splitlines().index("        client.messages.create(**ASK)")
    awaited = 1 + SUITE.splitlines().index("                await client.messages.create(**ASK)")
    for told in (
        f"  at test_agents.py:{line} agent: claude-opus-5-5",
        f"  at test_agents.py:{awaited} test_async: claude-opus-5-5",
        "causepath: a budget of this test is not kept",
        "calls.llm                 2  max 1",
        "research  ",  # the report on the run
        "causepath: nothing was recorded in this test: no model was called in this process",
        "1 run: too few for a percentile",
        "@pytest.mark.causepath(wal=...): did you mean wall?",
        "@pytest.mark.causepath(wall='60'): '60' is not a limit for wall; write it like 5s",
        "AssertionError: its own",
    ):
        assert told in printed
    assert not (tmp_path / "causepath-traces.jsonl").exists()
