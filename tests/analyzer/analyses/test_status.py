"""How runs ended, from our plugin's marks and from what other emitters write."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.path.status import Ending, ending
from causepath_analyzer.analyses.path.usage import usage
from causepath_analyzer.cli import invoke
from causepath_analyzer.model import Span
from causepath_analyzer.read.tree.build import build

MS = 1_000_000


def span(number: int, parent: int, name: str, start: int, end: int | None, **more: Any) -> Span:
    return Span(
        "t" * 32,
        f"{number:016x}",
        f"{parent:016x}" if parent else "",
        name,
        start * MS,
        None if end is None else end * MS,
        **more,
    )


def run(**more: Any) -> Span:
    return span(1, 0, "invoke_agent a", 0, 100, category="agent", **more)


CALL = span(2, 1, "chat m", 10, 40, category="llm")
FAILED_TOOL = span(3, 1, "execute_tool t", 40, 60, category="tool", error="ValueError")
OPEN_TOOL = span(3, 1, "execute_tool t", 40, 100, category="tool", left_open=True)
OUTER = span(9, 0, "POST /ask", 0, 110, kind="server")


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([run(), CALL], Ending()),
        ([run(), CALL, FAILED_TOOL], Ending()),  # somebody coped with it
        ([run(error="ValueError"), CALL], Ending("failed", "ValueError")),
        ([run(error="error"), CALL], Ending("failed", "error")),
        ([run(error="Request timed out and so on"), CALL], "failed"),
        ([run(run_outcome="timed_out", error="CancelledError")], "timed_out"),
        ([run(run_outcome="interrupted", error="SIGTERM"), OPEN_TOOL], "interrupted"),
        ([run(run_outcome="unfinished"), OPEN_TOOL], Ending("unfinished")),
        ([run(run_outcome="failed"), FAILED_TOOL], Ending("failed")),
        ([run(left_open=True), OPEN_TOOL], Ending("unfinished")),
        ([span(1, 0, "agent", 0, None), CALL], Ending("unfinished")),
        ([run(error="asyncio.exceptions.CancelledError")], "interrupted"),
        ([run(error="KeyboardInterrupt")], "interrupted"),
        ([run(error="anthropic.APITimeoutError")], "timed_out"),
        ([run(error="DEADLINE_EXCEEDED")], "timed_out"),
        ([run(error="InterruptedThoughtError")], "failed"),
        # A server that answers although the run in it failed, and the other way round.
        (
            [OUTER, span(1, 9, "invoke_agent a", 1, 9, category="agent", run_outcome="failed")],
            "failed",
        ),
        ([OUTER, span(1, 9, "invoke_agent a", 1, 9, category="agent")], Ending()),
        # Of several agents one after the other, the last one tells.
        (
            [
                OUTER,
                span(1, 9, "invoke_agent a", 1, 9, category="agent", run_outcome="failed"),
                span(2, 9, "invoke_agent a", 9, 99, category="agent"),
            ],
            Ending(),
        ),
        # An agent below an agent tells nothing of the run.
        (
            [run(), span(2, 1, "invoke_agent b", 1, 9, category="agent", error="ValueError")],
            Ending(),
        ),
    ],
)
def test_endings(spans: list[Span], expected: Ending | str) -> None:
    for order in itertools.permutations(spans):
        found = ending(build(order))
        assert (found if isinstance(expected, Ending) else found.status) == expected


@pytest.mark.parametrize(
    ("more", "killed"),
    [
        ({"scope": "causepath"}, True),
        ({"program": "p"}, True),
        ({"scope": "another"}, False),  # perhaps nobody wrote a run at all
        ({"scope": "causepath", "kind": "server"}, False),  # its parent is in another process
    ],
)
def test_a_run_whose_own_span_is_missing_was_killed(more: dict[str, Any], killed: bool) -> None:
    spans = [
        span(2, 1, "chat m", 10, 40, category="llm", **more),
        span(3, 1, "execute_tool t", 40, 60, category="tool", **more),
    ]
    assert ending(build(spans)) == (Ending("unfinished", killed=True) if killed else Ending())


@pytest.mark.parametrize(
    ("error", "status", "given_up"),
    [
        ("ValueError", "failed", False),
        ("RateLimitError", "failed", False),
        ("400: the runtime outgrew its cage", "failed", False),
        ("openai.APITimeoutError", "timed_out", True),
        ("timed_out", "timed_out", True),
        ("timed out", "timed_out", True),
        ("Request timed out.", "failed", True),
        ("google.api_core.exceptions.DeadlineExceeded", "timed_out", True),
        ("DEADLINE_EXCEEDED", "timed_out", True),
        ("504 Deadline Exceeded", "failed", True),
        ("AbortError", "interrupted", True),
        ("GeneratorExit", "interrupted", True),
        ("builtins.SystemExit", "interrupted", True),
        ("SIGINT", "interrupted", True),
        ("SIGHUP", "interrupted", True),
        ("SIGTERM", "interrupted", True),
        ("asyncio.exceptions.CancelledError", "interrupted", True),
        ("the user has cancelled the request", "failed", True),
        ("OperationCanceledException", "failed", True),
        ("KeyboardInterrupt", "interrupted", True),
    ],
)
def test_a_call_that_was_given_up_is_told_by_the_words_that_tell_it_of_a_run(
    error: str, status: str, given_up: bool
) -> None:
    told = build([run(error=error), CALL])
    assert ending(told).status == status
    # A call that was refused costs nothing; one that was given up may be billed.
    of_call = usage(Facts(build([run(), replace(CALL, error=error)])).flow)
    assert (of_call.uncounted, len(of_call.models)) == ((1, 1) if given_up else (0, 0))


def line(trace: int, outcome: str | None, end_ms: int = 100, **more: Any) -> bytes:
    told = {"causepath.category": "agent", "causepath.run.outcome": outcome, **more}
    attributes = [
        {
            "key": key,
            "value": {"stringValue": value} if isinstance(value, str) else {"boolValue": value},
        }
        for key, value in told.items()
        if value is not None
    ]
    wire = {
        "traceId": f"{trace:032x}",
        "spanId": f"{trace:016x}",
        "name": "invoke_agent a",
        "startTimeUnixNano": str(trace * 1000 * MS),
        "endTimeUnixNano": str((trace * 1000 + end_ms) * MS),
        "attributes": attributes,
    }
    scopes = [{"scope": {"name": "causepath"}, "spans": [wire]}]
    return json.dumps({"resourceSpans": [{"resource": {}, "scopeSpans": scopes}]}).encode() + b"\n"


@pytest.mark.parametrize(
    ("outcome", "more", "header", "told", "status"),
    [
        (None, {}, "ok", None, 0),
        ("failed", {"error.type": "ValueError"}, "failed", "failed: ValueError", 0),
        (
            "timed_out",
            {"error.type": "CancelledError"},
            "timed out",
            "timed out: CancelledError",
            0,
        ),
        (
            "interrupted",
            {"error.type": "SIGTERM", "causepath.unfinished": True},
            "interrupted",
            "interrupted: SIGTERM, while in invoke_agent a",
            3,
        ),
        ("unfinished", {}, "unfinished", "unfinished: its program ended while it went on", 3),
    ],
)
def test_a_report_says_how_the_run_ended(
    outcome: str | None,
    more: dict[str, Any],
    header: str,
    told: str | None,
    status: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(line(1, outcome, **more))
    assert invoke([str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(f"  {header}")
    assert (lines[1] or None) == told
    assert invoke([str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["traces"][0]["status"] == (outcome or "ok")
    # A run that would have gone on keeps a check from passing, but not from failing.
    assert invoke(["check", str(path), "--max", "wall=1s"]) == status
    assert invoke(["check", str(path), "--max", "wall=1ms"]) == 1
    assert invoke(["check", str(path), "--max", "failed=0"]) == (0 if outcome is None else 1)


def test_many_runs_are_counted_by_how_they_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = ["failed", None, "timed_out", "failed", None, "unfinished"]
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"".join(line(n, outcome) for n, outcome in enumerate(outcomes, start=1)))
    assert invoke([str(path)]) == 0
    told = "4 runs did not end well: 2 failed, 1 timed out, 1 unfinished"
    assert f"{told} (67% of all)" in capsys.readouterr().out.splitlines()
    invoke(["check", str(path), "--max", "wall=1s"])
    assert f"  {told}" in capsys.readouterr().out.splitlines()
    assert invoke(["check", str(path), "--max", "wall=1s", "--json"]) == 3
    endings = {"failed": 2, "timed_out": 1, "unfinished": 1}
    assert json.loads(capsys.readouterr().out)["endings"] == endings
