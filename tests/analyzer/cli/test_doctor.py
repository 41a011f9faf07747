"""`causepath doctor`: who wrote the spans, what is wrong with them, and what to do about it."""

import json
from pathlib import Path

import pytest

from causepath_analyzer.analyses.diagnosis import diagnosis
from causepath_analyzer.cli import invoke
from tests.support.drawn import drawn

RECORDED = Path(__file__).parents[1] / "recorded"

DOUBLED = """\
1 trace, 9 spans from 1 file
  recorded/traceloop+logfire.jsonl              otlp-json                9 spans

Written by                                  version        spans  models   tools
  logfire.anthropic                         6.0.0b8            5       5       0
  opentelemetry.instrumentation.anthropic   0.62.4             2       2       0
  recorded-agent                                               2       0       1

bad  calls recorded twice with different tokens: 1 of 4 (25%)
     The record nearest to the wire is counted. Turn off one of the emitters
     above.
note spans that record a call once more: 4 of 9 (44%)
     Counted once. Of instrumentations of one SDK keep one: the SDK's own is
     turned off with ANTHROPIC_OPEN_TELEMETRY=false.
note streams without a time to first token: 2
     Their time cannot be split into waiting and generating. The attribute is
     gen_ai.response.time_to_first_chunk.
22 other checks found nothing.
"""


def test_text(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(RECORDED.parent)
    assert invoke(["doctor", "recorded/traceloop+logfire.jsonl"]) == 0
    printed = capsys.readouterr().out
    assert printed == DOUBLED
    assert max(map(len, printed.splitlines())) <= 80


def test_json(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert invoke(["doctor", "--json", str(RECORDED / "sdk+genai.jsonl")]) == 0
    report = json.loads(capfdbinary.readouterr().out)
    assert report["schema"] == "causepath.doctor/1"
    assert [(row["scope"], row["model_calls"]) for row in report["emitters"]] == [
        ("com.anthropic.sdk.python", 3),
        ("opentelemetry.instrumentation.genai.anthropic", 3),
        ("recorded-agent", 0),
    ]
    checks = {check["name"]: (check["status"], check["count"]) for check in report["checks"]}
    assert checks["doubled"] == ("note", 3)
    assert checks["tokens_missing"] == ("ok", 0)


def test_exit_statuses(tmp_path: Path) -> None:
    empty, damaged = tmp_path / "empty.jsonl", tmp_path / "damaged.jsonl"
    empty.write_text("")
    good = (RECORDED / "sdk.jsonl").read_text()
    damaged.write_text(good + "{not json\n")
    assert invoke(["doctor", str(empty)]) == 5
    assert invoke(["doctor", str(tmp_path / "absent")]) == 4
    assert invoke(["doctor", str(damaged)]) == 0
    assert invoke(["doctor", "--strict", str(damaged)]) == 4


@pytest.mark.parametrize(
    ("drawing", "told"),
    [
        pytest.param(
            """
            agent run   |-------|
              llm chat    |---|     tokens=1/1 model=m
            """,
            {},
            id="sound",
        ),
        pytest.param(
            """
            other web   |-------|
            """,
            {"no_model_calls": 1},
            id="no agent at all",
        ),
        pytest.param(
            """
            agent run   |-------|
              llm chat    |---|     issued=a
            """,
            {"tokens_missing": 1, "model_names_missing": 1, "tool_spans_missing": 1},
            id="calls that say nothing, and tools that nothing shows",
        ),
        pytest.param(
            """
            agent run   |-------|
              llm chat    |-----|     tokens=1/1 model=m issued=a
            """,
            {},
            id="a reply that asks for what is never run",
        ),
        pytest.param(
            """
            agent run   |------------|
              llm chat    |---|         tokens=1/1 model=m issued=a
              tool search      |----|   call_id=a inferred=1
              tool save        |----|   call_id=b ambiguous=2
              tool read        |--->
            """,
            {
                "inferred_tools": 1,
                "ambiguous_tools": 1,
                "call_ids_missing": 1,
                "unfinished": 1,
            },
            id="tools of which not all is known",
        ),
    ],
)
def test_checks(drawing: str, told: dict[str, int]) -> None:
    found = diagnosis([drawn(drawing)])
    assert {c.name: c.count for c in found.checks if c.status != "ok"} == told
    assert all(bool(c.advice) == (c.status != "ok") for c in found.checks)
