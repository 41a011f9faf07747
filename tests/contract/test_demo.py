"""The example agent, traced by the plugin and read by the analyzer: both say the same numbers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CAUSEPATH = Path(sysconfig.get_path("scripts")) / "causepath"


ROUNDS = 4
"""Of runs, where what one really saves is measured: the fastest of more is nearer to what the agent
takes, where the machine disturbed them all, and a saving that is wrong stays wrong."""


def report(folder: Path, name: str, *arguments: str, runs: int = 1) -> Any:
    """What the analyzer says of the fastest of some runs of the example, at once as they wait."""
    agent = "research_agent_async.py" if name.startswith("async") else "research_agent.py"
    files = [folder / f"{name}-{number}.jsonl" for number in range(runs)]
    processes = [
        subprocess.Popen(
            [sys.executable, ROOT / "examples" / agent, *arguments],
            env={**os.environ, "CAUSEPATH": "1", "CAUSEPATH_FILE": str(traces)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for traces in files
    ]
    assert [process.wait(60) for process in processes] == [0] * runs
    reports = [
        json.loads(
            subprocess.run(
                [CAUSEPATH, traces, "--json"], check=True, capture_output=True, timeout=60
            ).stdout
        )
        for traces in files
    ]
    return fastest(*reports)


def fastest(*reports: Any) -> Any:
    return min(reports, key=lambda found: found["traces"][0]["wall_ns"])


@pytest.fixture(scope="module")
def sequential(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return report(tmp_path_factory.mktemp("sequential"), "sync")


def test_the_run_is_one_tree_and_the_numbers_are_the_agents(sequential: Any) -> None:
    (trace,) = sequential["traces"]
    assert {
        "name": trace["name"],
        "status": trace["status"],
        "calls": trace["calls"],
        "turns": trace["turns"],
        "tokens": trace["tokens"],
    } == {
        "name": "invoke_agent research_agent",
        "status": "ok",
        "calls": {"llm": 3, "tool": 3},
        "turns": 3,
        # What the scripted model says it counted: 313 + 739 + 1153 in, 36 + 25 + 141 out.
        "tokens": {
            "input": 2205,
            "output": 202,
            "cache_read": 0,
            "cache_write": 0,
            "reasoning": trace["tokens"]["reasoning"],
            "cache_write_1h": 0,
        },
    }
    health = trace["health"]
    assert (health["spans"], health["orphans"], health["merged"]) == (10, 0, 0)


def test_tools_calls_retries_and_the_agents_own_time_add_up_to_the_wall(sequential: Any) -> None:
    (trace,) = sequential["traces"]
    assert sum(trace["wall"].values()) == trace["wall_ns"]
    assert set(trace["wall"]) == {
        "tool",
        "llm",
        "first_token",
        "generation",
        "retry",
        "agent",
    }
    path = trace["path"]
    assert path[0]["start_ns"] == trace["start_ns"]
    assert path[-1]["end_ns"] == trace["start_ns"] + trace["wall_ns"]
    assert all(a["end_ns"] == b["start_ns"] for a, b in pairwise(path))


def test_the_report_reads_as_the_readme_says(sequential: Any) -> None:
    path = sequential["inputs"][0]["path"]
    output = subprocess.run(
        [CAUSEPATH, path], check=True, capture_output=True, text=True, timeout=60, cwd=ROOT
    ).stdout
    assert masked(output.replace(path, "causepath-traces.jsonl")) == masked(readme_report())


def readme_report() -> str:
    return (ROOT / "README.md").read_text().partition("```text\n")[2].partition("```")[0]


def masked(report: str) -> list[str]:
    """The lines of a report without what differs from run to run: times, shares, ids, days, bars,
    and with them the room for them and which row of the wall time is the longest."""
    for pattern, mask in (
        (r"trace [0-9a-f]+", "trace ID"),
        (r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d)?", "DAY"),
        (r"\|[█░ ]+\|", "BAR"),
        (r"<?\d+\.\d+(ms|s\b)|TTFT \d\.\d+", "TIME"),
        (r"<?\d+%", "SHARE"),
        (r"genai-prices [\d.]+", "genai-prices"),
        (r" at \S*examples/", " at examples/"),  # more of the path stands where there is room
        (r" +", " "),
    ):
        report = re.sub(pattern, mask, report)
    head, title, rest = report.partition("Where the time went")
    rows, tokens, tail = rest.partition(" tokens: ")
    return [*head.splitlines(), title, *sorted(rows.splitlines()), *(tokens + tail).splitlines()]


@pytest.mark.parametrize(
    ("agent", "rounds"),
    [
        pytest.param("sync", 0, id="sync", marks=pytest.mark.programs),
        pytest.param("async", 0, id="async", marks=pytest.mark.programs),
        pytest.param("sync", ROUNDS, id="sync-measured", marks=pytest.mark.slow),
        pytest.param("async", ROUNDS, id="async-measured", marks=pytest.mark.slow),
    ],
)
def test_cp101_names_the_two_tools_and_what_running_them_together_really_saves(
    tmp_path: Path, sequential: Any, agent: str, rounds: int
) -> None:
    before = sequential if agent == "sync" else report(tmp_path, agent)
    after = report(tmp_path, f"{agent}-together", "--together")
    (trace,), (together,) = before["traces"], after["traces"]

    assert [one["code"] for one in trace["findings"]] == ["CP101", "CP501"]
    finding = trace["findings"][0]
    assert finding["evidence"] == "proved"
    steps = {step["span_id"]: step for step in trace["path"]}
    assert [steps[span_id]["name"] for span_id in finding["span_ids"]] == [
        "execute_tool search_web",
        "execute_tool search_papers",
    ]
    assert [one["code"] for one in together["findings"]] == ["CP501"]
    assert 0 < finding["saving_ns"] < trace["wall_ns"]
    for number in range(rounds):
        if finding["saving_ns"] == pytest.approx(saving(before, after), rel=0.1):
            break
        before = fastest(before, report(tmp_path, f"{agent}-{number}", runs=3))
        after = fastest(after, report(tmp_path, f"{agent}-together-{number}", "--together", runs=3))
    if rounds:
        assert finding["saving_ns"] == pytest.approx(saving(before, after), rel=0.1)


def saving(before: Any, after: Any) -> int:
    """What one run really took less than another, in ns."""
    return int(before["traces"][0]["wall_ns"] - after["traces"][0]["wall_ns"])
