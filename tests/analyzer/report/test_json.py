"""The JSON report, field for field: the schema is a promise."""

import json

from causepath_analyzer.analyses.budgets.wording import Budget
from causepath_analyzer.analyses.path.cost import table_name
from causepath_analyzer.analyses.run import explained
from causepath_analyzer.analyses.run_view import run_view
from causepath_analyzer.analyses.summary.brief import brief
from causepath_analyzer.analyses.summary.summary import summary
from causepath_analyzer.errors import NoTracesError
from causepath_analyzer.model import Input, Skipped
from causepath_analyzer.report.json import check_json, report_json, trace_json
from tests.support.drawn import MS, drawn
from tests.support.held import held

TRACE = drawn(
    """
    agent research   |-----------------|                session=s1 service=demo
      llm one         |---|                             ttft=1 tokens=1000/50/200/100/10 turn=1
      tool t               |--|                         asked_by=one where=agent.py:41
      tool u                  |---|                     asked_by=one error=boom
    """,
    unit_ns=100 * MS,
    start_ns=1_795_000_000_000_000_000,
)
START = TRACE.start_ns
INPUTS = [
    Input("t.jsonl", "otlp-json", 4, (Skipped("line 2", "not JSON"),), 1),
    Input("u.jsonl", None, 0, problem=NoTracesError("u.jsonl: empty")),
]
INPUTS_JSON = [
    {
        "path": "t.jsonl",
        "format": "otlp-json",
        "spans": 4,
        "skipped": [{"where": "line 2", "why": "not JSON"}],
        "skipped_total": 1,
        "problem": None,
        "notes": [],
    },
    {
        "path": "u.jsonl",
        "format": None,
        "spans": 0,
        "skipped": [],
        "skipped_total": 0,
        "problem": "u.jsonl: empty",
        "notes": [],
    },
]


def section(span: str, start: int, end: int, kind: str, edge: str) -> dict[str, object]:
    return {
        "span_id": span,
        "name": span,
        "start_ns": START + start * 100 * MS,
        "end_ns": START + end * 100 * MS,
        "kind": kind,
        "edge": edge,
        "beside": None,
    }


def test_report() -> None:
    run = explained(TRACE)
    report = json.loads(report_json(INPUTS, [trace_json(run_view(run))], summary([brief(run)])))
    by = report["summary"].pop("by")
    told = report["summary"]
    report["summary"] = {name: told[name] for name in ("traces", "wall_ns", "endings")}
    assert report == {
        "schema": "causepath.report/2",
        "inputs": INPUTS_JSON,
        "traces": [
            {
                "trace_id": "f" * 32,
                "name": "research",
                "service": "demo",
                "session": "s1",
                "start_ns": START,
                "wall_ns": 1800 * MS,
                "after_ns": 0,
                "status": "ok",
                "error": None,
                "over_budget": [],
                "path": [
                    section("research", 0, 1, "agent", "time"),
                    section("one", 1, 2, "first_token", "time"),
                    section("one", 2, 5, "generation", "data"),
                    section("research", 5, 6, "agent", "time"),
                    section("t", 6, 9, "tool", "data"),
                    section("u", 9, 13, "tool", "issue"),
                    section("research", 13, 18, "agent", "time"),
                ],
                "wall": {
                    "agent": 700 * MS,
                    "tool": 700 * MS,
                    "generation": 300 * MS,
                    "first_token": 100 * MS,
                },
                "sum": {"agent": 1800 * MS, "tool": 700 * MS, "llm": 400 * MS},
                "calls": {"llm": 1, "tool": 2},
                "partial_calls": 0,
                "uncounted_calls": 0,
                "contradictory_calls": 0,
                "hasty_calls": 0,
                "sums": 0,
                "turns": 1,
                "tokens": {
                    "input": 1000,
                    "output": 50,
                    "cache_read": 200,
                    "cache_write": 100,
                    "reasoning": 10,
                    "cache_write_1h": 0,
                },
                "cost_usd": None,
                "priced_share": 0.0,
                "prices": None,
                "money": None,
                "findings": [
                    {
                        "code": "CP101",
                        "title": "run 2 tools of turn 1 together",
                        "span_ids": ["t", "u"],
                        "saving_ns": 300 * MS,
                        "share": 0.1667,
                        "saving_usd": None,
                        "saving_tokens": None,
                        "evidence": "likely",
                        "why": "t and u were asked for in one reply, so none can need what "
                        "another returned. t and u may write; whether to the same place is not in "
                        "the trace.",
                        "where": "agent.py:41",
                        "fix": "Start all tool calls of a reply before waiting for the first "
                        "result (asyncio.gather, or a thread pool).",
                        "times": 1,
                        "refuted_by": "one of these tools changing what another one sees, or all "
                        "of them waiting for one connection, lock or rate",
                        "at_most": False,
                        "cache": None,
                        "overlaps": [],
                    }
                ],
                "together_ns": 300 * MS,
                "together_usd": None,
                "health": {
                    "spans": 4,
                    "merged": 0,
                    "duplicates": 0,
                    "orphans": 0,
                    "cycles": 0,
                    "unfinished": 0,
                    "skewed": 0,
                    "negative": 0,
                    "rehung": 0,
                    "astray": 0,
                    "untrusted": False,
                    "notes": [],
                },
                "lacking": [],
                "joined": [],
                "hands_on": False,
                "merges": [],
                "conversations": [
                    {
                        "session": None,
                        "agent": "research",
                        "turns": 1,
                        "span_ids": ["one"],
                        "tokens": {
                            "input": 1000,
                            "output": 50,
                            "cache_read": 200,
                            "cache_write": 100,
                            "reasoning": 10,
                            "cache_write_1h": 0,
                        },
                    }
                ],
            }
        ],
        "summary": {
            "traces": 1,
            "wall_ns": {
                "p50": 1800 * MS,
                "p95": 1800 * MS,
                "p99": 1800 * MS,
                "mean": 1800 * MS,
            },
            "endings": {},
        },
    }
    assert by[0] == {
        "by": "kind",
        "key": "agent",
        "wall_ns": 700 * MS,
        "share": 0.3889,
        "p50_ns": 700 * MS,
        "p95_ns": 700 * MS,
        "runs": 1,
    }
    assert {row["by"] for row in by} == {"kind", "operation", "agent", "turn"}
    for what in ("kind", "operation", "agent", "turn"):
        assert sum(row["wall_ns"] for row in by if row["by"] == what) == 1800 * MS


def test_time_that_nothing_covers_has_no_span() -> None:
    run = explained(drawn("other a |--|\nother b      |--|", unit_ns=MS))
    report = json.loads(report_json([], [trace_json(run_view(run))], summary([brief(run)])))
    assert report["traces"][0]["path"][1] == {
        "span_id": None,
        "name": None,
        "start_ns": 3 * MS,
        "end_ns": 5 * MS,
        "kind": "uncovered",
        "edge": "time",
        "beside": None,
    }


VIOLATIONS = [
    {
        "trace_id": "f" * 32,
        "name": "research",
        "used": 1800 * MS,
        "span_id": "one",
        "span": "one",
        "where": None,
        "path": [
            {"name": "one", "ns": 400 * MS, "span_id": "one", "where": None},
            {"name": "u", "ns": 400 * MS, "span_id": "u", "where": None},
            {"name": "t", "ns": 300 * MS, "span_id": "t", "where": "agent.py:41"},
        ],
        "ending": None,
    }
]


def test_check() -> None:
    budgets = [Budget("wall", 1000 * MS, "a.toml:3"), Budget("turns", 5, "--max")]
    runs = [explained(TRACE)]
    check = json.loads(
        check_json(INPUTS, held(budgets, runs, unread=sum(one.unread for one in INPUTS)))
    )
    assert check == {
        "schema": "causepath.check/2",
        "inputs": INPUTS_JSON,
        "runs": 1,
        "endings": {},
        "budgets": [
            {
                "name": "wall",
                "verdict": "fail",
                "unit": "ns",
                "max": 1000 * MS,
                "worst": 1800 * MS,
                "trace_id": "f" * 32,
                "over": 1,
                "unknown": 0,
                "at_least": False,
                "why": None,
                "where": "a.toml:3",
                "budget": "wall",
                "sign": "<=",
                "level": "error",
                "runs": 1,
                "range": None,
                "total": None,
                "baseline": None,
                "needed": None,
                "is_near": False,
                "left": -800 * MS,
                "allotted": [],
                "violations": VIOLATIONS,
            },
            {
                "name": "turns",
                "verdict": "pass",
                "unit": "calls",
                "max": 5,
                "worst": 1,
                "trace_id": "f" * 32,
                "over": 0,
                "unknown": 0,
                "at_least": False,
                "why": None,
                "where": "--max",
                "budget": "turns",
                "sign": "<=",
                "level": "error",
                "runs": 1,
                "range": None,
                "total": None,
                "baseline": None,
                "needed": None,
                "is_near": False,
                "left": 4,
                "allotted": [],
                "violations": [],
            },
        ],
        "verdict": "fail",
        "unread": 1,
        "changed": [],
    }


def test_a_report_says_where_a_cost_comes_from() -> None:
    trace = drawn(
        """
        agent a |----------|
          llm b |--|          tokens=1000/50 provider=anthropic model=claude-opus-5
          llm c    |--|       tokens=1000/50 provider=anthropic model=nobody-knows-it
        """,
        start_ns=1_795_000_000_000_000_000,
    )
    told = json.loads(trace_json(run_view(explained(trace, with_cost=True))))
    assert (told["cost_usd"], told["priced_share"]) == ("0.00625", 0.5)
    assert told["prices"] == {
        "table": table_name(),
        "own": None,
        "basis": "exact",
        "estimates": [],
        "unpriced_models": ["nobody-knows-it"],
        "said_usd": None,
        "compared_usd": None,
        "is_doubtful": False,
        "said_in": [],
        "said_unpriced_usd": None,
    }
