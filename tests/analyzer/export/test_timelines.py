"""Lanes, folded stacks, speedscope, Perfetto and tables: nothing is lost, all of it adds up."""

import csv
import io
import json
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from msgspec import structs

from causepath_analyzer.analyses.run import Run, explained
from causepath_analyzer.analyses.span_rows import span_rows
from causepath_analyzer.cli import invoke
from causepath_analyzer.export.folded import folded
from causepath_analyzer.export.lanes import lanes
from causepath_analyzer.export.perfetto import perfetto
from causepath_analyzer.export.speedscope import speedscope
from causepath_analyzer.export.table import COLUMNS, as_csv
from causepath_analyzer.model import NO_SPAN, Span, Trace
from causepath_analyzer.read.tree.build import build
from tests.analyzer.analyses.test_critical_path import ugly
from tests.support.drawn import MS, drawn, spans_drawn

TRACE = drawn(
    """
    agent run      |--------------------|    service=demo
      llm chat       |----|                  ttft=2 issued=a,b tokens=10/5 finish=tool_call
      tool one             |-----|           call_id=a asked_by=chat
      tool two               |-------|       call_id=b asked_by=chat
        other deep             |--|
      llm last                       |--|    results=one,two
    """,
    unit_ns=100 * MS,
    start_ns=1_795_000_000_000_000_001,
)
START = TRACE.start_ns


def lanes_of(trace: Trace) -> list[str]:
    """Each lane as its slices in brackets, one inside the other."""
    return [
        "".join(f"{trace.spans[e.span].name}(" if e.opens else ")" for e in lane)
        for lane in lanes(trace)
    ]


def test_lanes() -> None:
    assert lanes_of(TRACE) == ["run(chat()one()last())", "two(deep())"]


@settings(max_examples=300, deadline=None)
@given(ugly())
def test_every_span_is_in_one_lane_inside_what_is_open_there(spans: Sequence[Span]) -> None:
    trace = build(spans)
    seen = []
    for lane in lanes(trace):
        stack: list[int] = []
        at = trace.start_ns
        for edge in lane:
            assert edge.at_ns >= at
            at = edge.at_ns
            span = trace.spans[edge.span]
            if edge.opens:
                seen.append(edge.span)
                assert edge.at_ns == span.start_ns
                assert not stack or stack[-1] == trace.parents[edge.span]
                stack.append(edge.span)
            else:
                assert (edge.at_ns, stack.pop()) == (span.ended_ns, edge.span)
        assert not stack
    assert sorted(seen) == list(range(len(trace.spans)))


def test_folded() -> None:
    run = explained(TRACE)
    assert folded([run, run]).decode() == (
        "run 1000000000\n"
        "run;chat;first_token 400000000\n"
        "run;chat;generation 600000000\n"
        "run;last 600000000\n"
        "run;two 1000000000\n"
        "run;two;deep 600000000\n"
    )
    assert folded([run], "own").decode() == (
        "run 300000000\n"
        "run;chat 500000000\n"
        "run;last 300000000\n"
        "run;one 600000000\n"
        "run;two 500000000\n"
        "run;two;deep 300000000\n"
    )


def test_names_cannot_break_a_stack() -> None:
    trace = drawn("agent a |--|")
    (span,) = trace.spans
    for name, expected in (("a;b\nc 7", "a,b c 7"), ("", "(unnamed)"), ("é\ud800", "é?")):
        renamed = build(
            [type(span)(**{f: getattr(span, f) for f in span.__struct_fields__} | {"name": name})]
        )
        assert folded([explained(renamed)]).decode() == f"{expected} 3000000\n"


@settings(max_examples=200, deadline=None)
@given(ugly())
def test_whatever_is_exported_adds_up_to_the_wall(spans: Sequence[Span]) -> None:
    run = explained(build(spans))
    wall = run.trace.wall_ns
    assert sum(int(line.rpartition(" ")[2]) for line in folded([run]).decode().splitlines()) == wall
    path, *others = json.loads(speedscope([run]))["profiles"]
    assert sum(path["weights"]) == wall == path["endValue"]
    assert sum(len(p["events"]) for p in others) == 2 * len(run.trace.spans)
    covered = sum(row.path_ns for row in span_rows(run))
    bare = sum(s.end_ns - s.start_ns for s in run.path.sections if s.span == NO_SPAN)
    assert covered + bare == wall
    assert all(0 <= row.own_ns <= row.span.duration_ns for row in span_rows(run))
    balanced(json.loads(perfetto([run])))


def balanced(document: Any) -> None:
    """Every thread of a timeline goes forward, and what begins on it ends."""
    stacks: dict[Any, list[str]] = {}
    last: dict[Any, float] = {}
    for event in document["traceEvents"]:
        thread = event["pid"], event["tid"]
        if event["ph"] == "M":
            continue
        assert event["ts"] >= last.get(thread, 0)
        last[thread] = event["ts"]
        if event["ph"] == "B":
            stacks.setdefault(thread, []).append(event["name"])
        elif event["ph"] == "E":
            assert stacks[thread].pop() == event["name"]
    assert not any(stacks.values())


def timeline(run: Run) -> list[tuple[Any, ...]]:
    return [
        (e["ph"], e["tid"], e.get("ts"), e.get("id") or e["args"].get("name") or e["name"])
        for e in json.loads(perfetto([run]))["traceEvents"]
    ]


def test_perfetto() -> None:
    run = explained(TRACE)
    events = timeline(run)
    assert [e for e in events if e[0] == "M"] == [
        ("M", 1, None, "run ffffffff"),
        ("M", 1, None, "critical path"),
        ("M", 2, None, "spans 1"),
        ("M", 3, None, "spans 2"),
    ]
    assert [(name, ts) for ph, tid, ts, name in events if (ph, tid) == ("B", 1)] == [
        ("run", 0.0),
        ("chat", 200_000.0),
        ("chat", 400_000.0),
        ("run", 700_000.0),
        ("run", 800_000.0),  # beside "one"
        ("two", 1_000_000.0),
        ("deep", 1_200_000.0),
        ("two", 1_500_000.0),
        ("last", 1_800_000.0),
    ]
    names = [span.name for span in TRACE.spans]
    arrows = sorted(
        (ph, *(names[int(i)] for i in flow.partition(".")[2].split("-")))
        for ph, _, _, flow in events
        if ph in "sf"
    )
    assert arrows == sorted(
        (ph, cause, effect)
        for cause, effect in (("chat", "one"), ("chat", "two"), ("one", "last"), ("two", "last"))
        for ph in "sf"
    )


NAMES = {
    "a": ("invoke_agent a", "a"),
    "call": ("chat claude-opus-5-5", "12 claude-opus-5-5"),
    "tool": ("execute_tool search_in_the_whole_archive", "≤ search_in_t…le_archive"),
    "other": ("POST /ask", "POST /ask"),
}
"""The name of a span, and how Perfetto has it."""


def test_names_fit_beside_their_bars_and_ticks_say_when_the_first_token_came() -> None:
    spans = spans_drawn(
        """
        agent a        |--------------------|
          llm call       |----|                ttft=2 issued=t
          tool tool             |-----|        call_id=t asked_by=call inferred
          other other                   |--|
        """,
        100 * MS,
        START,
    )
    named = [
        structs.replace(
            span,
            name=NAMES[span.name][0],
            model_call=span.model_call and structs.replace(span.model_call, turn=12),
        )
        for span in spans
    ]
    run = explained(build(named))
    events = json.loads(perfetto([run]))["traceEvents"]
    shown = {e["args"]["name"]: e["name"] for e in events if e["ph"] == "B" and e["tid"] == 2}
    assert shown == dict(NAMES.values())
    ticks = [(e["tid"], e["ts"], e["name"]) for e in events if e["ph"] == "i"]
    assert ticks == [(2, 400_000.0, "first token")]
    (tool,) = (e["args"] for e in events if e["ph"] == "B" and e["args"].get("inferred"))
    assert (tool["path.seconds"], tool["path.percent"]) == (0.6, 28.6)
    frames = {one["name"] for one in json.loads(speedscope([run]))["shared"]["frames"]}
    assert {short.removeprefix("12 ") for _, short in NAMES.values()} <= frames


def test_every_run_of_a_timeline_has_threads_of_its_own() -> None:
    run = explained(TRACE)
    events = json.loads(perfetto([run, run]))["traceEvents"]
    threads = {
        (e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"
    }
    assert threads == {
        (1, 1): "critical path",
        (1, 2): "spans 1",
        (1, 3): "spans 2",
        (4, 4): "critical path",
        (4, 5): "spans 1",
        (4, 6): "spans 2",
    }


def test_times_are_exact_to_the_nanosecond() -> None:
    written = perfetto([explained(drawn("agent a |-----|", unit_ns=1_000_003, start_ns=START))])
    assert b'"ts":6000.018' in written


def test_csv() -> None:
    table = list(csv.DictReader(io.StringIO(as_csv([explained(TRACE)]).decode())))
    assert [row["name"] for row in table] == ["run", "chat", "one", "two", "deep", "last"]
    assert set(table[0]) == {column.name for column in COLUMNS}
    chat = {name: cell for name, cell in table[1].items() if cell}
    assert chat == {
        "trace_id": "f" * 32,
        "span_id": "chat",
        "parent_id": "run",
        "depth": "1",
        "name": "chat",
        "category": "llm",
        "start_ns": str(START + 200 * MS),
        "end_ns": str(START + 700 * MS),
        "duration_ns": str(500 * MS),
        "own_ns": str(500 * MS),
        "on_path": "true",
        "path_ns": str(500 * MS),
        "kind": "generation",
        "edge": chat["edge"],
        "input_tokens": "10",
        "output_tokens": "5",
        "cache_read_tokens": "0",
        "cache_write_tokens": "0",
        "reasoning_tokens": "0",
        "ttft_ns": str(200 * MS),
    }


def test_parquet_without_pyarrow_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = tmp_path / "t.jsonl"
    path.write_bytes(
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"%s","spanId":"%s","name":"a","startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}'
        % (b"a" * 32, b"b" * 16)
    )
    assert invoke(["export", str(path), "--to", "parquet", "-o", str(tmp_path / "o")]) == 2
    assert capsys.readouterr().err == (
        "causepath: parquet needs pyarrow: pip install 'causepath-analyzer[parquet]', "
        "or use --to csv\n"
    )


def nested(count: int) -> list[Span]:
    """Spans one inside the other, each a nanosecond longer at both ends."""
    ids = [f"{i:016x}" for i in range(count + 1)]
    return [
        Span("t", ids[i + 1], ids[i] if i else "", f"s{i}", i, 2 * count - i) for i in range(count)
    ]


def test_a_deep_trace_costs_no_more_than_a_wide_one() -> None:
    run = explained(build(nested(4_000)))
    assert len(lanes(run.trace)) == 1
    longest = max(folded([run]).split(b"\n"), key=len)
    assert longest.startswith(b"(...);")
    assert len(longest) < 1_000
    assert len(speedscope([run])) < 50_000_000
    assert len(perfetto([run])) < 50_000_000
