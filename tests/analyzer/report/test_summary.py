"""The summary of many runs: its tables at 80 columns, and everything in JSON."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.cells import cell_len

from causepath_analyzer.analyses.path.cost import table_name
from causepath_analyzer.analyses.run import explained
from causepath_analyzer.analyses.summary import distribution
from causepath_analyzer.analyses.summary.brief import Brief, CallTimes, brief
from causepath_analyzer.analyses.summary.summary import summary
from causepath_analyzer.analyses.summary.sums import Shape
from causepath_analyzer.model import Trace
from causepath_analyzer.read.tree.build import build
from causepath_analyzer.report.json import report_json
from causepath_analyzer.report.summary_tables import groups, histogram, models, operations
from causepath_analyzer.report.summary_text import summary_text
from causepath_analyzer.report.waterfall import ASCII, BLOCKS, Marks
from tests.support.drawn import MS, drawn

GOLDEN = Path(__file__).parent / "golden"
RESEARCH = """
    agent research   |--------------------------|
      llm chat         |-----|                     {one}
      tool search             |----|               asked_by=chat
      tool fetch                    |-------|      asked_by=chat
      llm chat2                               |--| {two}
""".format(
    one="ttft=2 tokens=9000/500/4000 model=claude-opus-5-5",
    two="ttft=1 tokens=9500/120/9000 model=claude-opus-5-5",
)
TRIAGE = """
    agent triage     |-----|
      llm chat         |--|    ttft=1 tokens=400/30 model=nobody-knows-it
"""
FAILED = "agent triage |---|  error=timeout\n  llm chat |-|  tokens=9/0 model=m error=529"
BEGAN_NS = 1_795_000_000 * 1_000_000_000
HOUR_NS = 3600 * 1_000_000_000


def named(trace_id: str, trace: Trace) -> Trace:
    return build([replace(span, trace_id=trace_id) for span in trace.spans])


def many() -> list[Brief]:
    """Thirty-six runs of two agents in twelve hours: every third of the second, three failed."""
    found = []
    for n in range(36):
        drawing = FAILED if n % 12 == 11 else TRIAGE if n % 3 == 2 else RESEARCH
        start_ns = BEGAN_NS + n * HOUR_NS // 3
        trace = drawn(drawing, unit_ns=(100 + 7 * (n * n % 17)) * MS, start_ns=start_ns)
        found.append(brief(explained(named(f"{n * 7919:032x}"[::-1], trace), with_cost=True)))
    return found


def moment_in_utc(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns // 10**9, UTC):%Y-%m-%d %H:%M:%S}"


RUNS = many()
TABLES = (groups, models, operations)


@pytest.mark.parametrize(
    ("name", "marks", "top"),
    [("summary-many.txt", BLOCKS, None), ("summary-ascii.txt", ASCII, 1)],
    ids=["blocks", "ascii, one row of each"],
)
def test_many_runs(
    name: str, marks: Marks, top: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("causepath_analyzer.report.summary_text.moment", moment_in_utc)
    found = summary(RUNS, Shape(group_by="agent"))
    lines = [line.plain.rstrip() for line in summary_text(found, marks, ["t"], (), top)]
    assert [line for line in lines if cell_len(line) > 80] == []
    told = "\n".join(lines).replace(table_name(), "TABLE") + "\n"
    assert told == (GOLDEN / name).read_text()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_tables_are_as_wide_as_the_terminal(width: int) -> None:
    runs = [
        replace(
            run,
            name="名前" * 30,
            models={f"{name}{'長い' * 30}": use for name, use in run.models.items()},
            calls={"tool": {f"{n}" + "x" * 300: CallTimes([MS]) for n in range(3)}},
        )
        for run in RUNS
    ]
    found = summary(runs, Shape(group_by="model"))
    marks = replace(BLOCKS, width=width)
    for table in (histogram(found, marks), *(of(found, marks, 9) for of in TABLES)):
        assert max(cell_len(line.plain.rstrip()) for line in table) <= width
        assert len(table) > 3


def test_everything_is_in_json() -> None:
    told = json.loads(report_json([], [], summary(RUNS, Shape(group_by="agent"))))["summary"]
    assert [(one["key"], one["runs"], one["failed"]) for one in told["groups"]] == [
        ("research", 24, 0),
        ("triage", 12, 3),
    ]
    whole = told["whole"]
    assert [(tier["name"], tier["below_ns"]) for tier in whole["tiers"]] == [
        ("instant", 300 * MS),
        ("fast", 1000 * MS),
        ("acceptable", 3000 * MS),
        ("noticeable", 5000 * MS),
        ("slow", None),
    ]
    assert sum(tier["runs"] for tier in whole["tiers"]) == whole["perceived_runs"]
    assert sum(step["runs"] for step in told["histogram"]) == told["traces"] == 36
    assert sum(one["runs"] for one in told["over_time"]) == 36
    assert [one["percent"] for one in told["examples"]] == [50, 95, 99]
    assert [one["wall_ns"] for one in told["examples"]] == [
        told["wall_ns"]["p50"],
        told["wall_ns"]["p95"],
        told["wall_ns"]["p99"],
    ]
    assert {one["model"]: (one["calls"], one["failed"]) for one in told["models"]} == {
        "claude-opus-5-5": (48, 0),
        "nobody-knows-it": (9, 0),
        "m": (3, 3),
    }
    opus = told["models"][0]
    assert (opus["cache_share"], opus["at_least"]) == (0.7027, False)
    assert (told["models"][1]["cost_usd"], told["models"][1]["at_least"]) == (None, True)
    assert whole["cost_usd"] == opus["cost_usd"]
    tools = told["side_by_side"]
    assert tools["replies"] == 24
    assert tools["sum_ns"] == tools["busy_ns"] > tools["longest_ns"]
    assert told["error"] == 0.0


def test_percentiles_of_many_runs_say_how_exact_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = summary(RUNS)
    monkeypatch.setattr(distribution, "MOST_EXACT", 30)
    found = summary(RUNS)
    assert json.loads(report_json([], [], found))["summary"]["error"] == 0.01
    text = [line.plain for line in summary_text(found, BLOCKS, ["t"])]
    assert "percentiles are within 1%" in text
    assert abs(found.wall_ns.p95 - exact.wall_ns.p95) <= 0.01 * exact.wall_ns.p95 + 1
    assert sum(step.runs for step in found.histogram) == 36
    ids = {run.trace_id for run in RUNS}
    assert {one.trace_id for one in found.examples} <= ids
    for one, same in zip(found.examples, exact.examples, strict=True):
        assert abs(one.wall_ns - same.wall_ns) <= 0.03 * same.wall_ns
    # With so many runs nobody counts how much of an id tells them apart: all of it does.
    assert found.id_length == 32
    assert (found.slowest, found.cost_usd, found.failed) == (exact.slowest, exact.cost_usd, 3)


def test_few_runs_have_no_histogram_and_none_says_nothing() -> None:
    few = [line.plain for line in summary_text(summary(RUNS[:9]), BLOCKS, ["t"])]
    assert not any(line.startswith(("Wall time of a run", "Next: ")) for line in few[:-1])
    told = json.loads(report_json([], [], summary([])))["summary"]
    assert (told["traces"], told["whole"], told["histogram"], told["examples"]) == (0, None, [], [])


def test_runs_that_are_left_out_are_counted() -> None:
    runs = [replace(run, is_picked=[True, False, None][n % 3]) for n, run in enumerate(RUNS)]
    found = summary(runs)
    assert (found.traces, found.left_out, found.unknown) == (12, 24, 12)
    text = [line.plain for line in summary_text(found, BLOCKS, ["t"])]
    assert "24 other runs are left out by --where, of 12 nobody can tell" in text
