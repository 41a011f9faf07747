"""Predictions from the command line: made, saved, verified, remembered, refused."""

import json
import os
import re
from pathlib import Path

import pytest

from causepath_analyzer.cli import invoke

MS = 1_000_000
TEXT = (Path(__file__).parent / "golden" / "whatif.txt").read_text()


def run(number: int, tool_ms: int, *, together: bool = False, agent: str = "demo") -> str:
    """A run of an agent with two model calls and, between them, two tools of `tool_ms`."""
    tools = 1000 + tool_ms if together else 1000 + 2 * tool_ms
    windows = [
        ("1", "", f"invoke_agent {agent}", "invoke_agent", 0, tools + 1000, None),
        ("2", "1", "chat m", "chat", 0, 1000, None),
        ("3", "1", "execute_tool a", "execute_tool", 1000, 1000 + tool_ms, "2"),
        ("4", "1", "execute_tool b", "execute_tool", tools - tool_ms, tools, "2"),
        ("5", "1", "chat m", "chat", tools, tools + 1000, None),
    ]
    spans = [
        {
            "traceId": f"{number:032x}",
            "spanId": f"{int(span_id):016x}",
            "parentSpanId": f"{int(parent):016x}" if parent else "",
            "name": name,
            "startTimeUnixNano": str((number * 10_000 + start) * MS),
            "endTimeUnixNano": str((number * 10_000 + end) * MS),
            "attributes": [{"key": "gen_ai.operation.name", "value": {"stringValue": operation}}],
            "links": [{"traceId": f"{number:032x}", "spanId": f"{int(asked):016x}"}]
            if asked
            else [],
        }
        for span_id, parent, name, operation, start, end, asked in windows
    ]
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}) + "\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("CAUSEPATH"):
            monkeypatch.delenv(name)
    times = [400, 500, 600, 450, 550]
    for name, together in (("before.jsonl", False), ("after.jsonl", True)):
        runs = [run(n + 1, time, together=together) for n, time in enumerate(times)]
        (tmp_path / name).write_text("".join(runs))
    (tmp_path / "one.jsonl").write_text(run(1, 500))
    (tmp_path / "other.jsonl").write_text(run(1, 500, agent="else"))
    (tmp_path / "slow.jsonl").write_text("".join(run(n, 3000) for n in range(1, 6)))
    (tmp_path / "schema.json").write_text('{"schema": "causepath.report/1"}')
    return tmp_path


def test_a_prediction_reads_like_this(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["whatif", "before.jsonl", "--apply", "CP101", "--profile"]) == 0
    out = capsys.readouterr().out
    assert all(len(line) <= 80 for line in out.splitlines())
    assert out == TEXT


def test_it_is_kept_comes_true_and_is_remembered(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["whatif", "before.jsonl", "--apply", "CP101", "--save", "w.json"]) == 0
    assert "causepath verify w.json NEW_TRACES" in capsys.readouterr().out
    for _ in range(2):  # the same outcome is remembered once
        assert invoke(["verify", "w.json", "after.jsonl"]) == 0
    out = capsys.readouterr().out
    assert out.endswith("Predicted -500ms, measured -500ms, error 0%: inside the range\n")
    assert len(Path(".causepath/ledger.jsonl").read_text().splitlines()) == 1
    assert invoke(["whatif", "before.jsonl", "--apply", "CP101"]) == 0
    assert "Past error of this\n  kind: 0% (n=1)." in capsys.readouterr().out
    assert invoke(["whatif", "before.jsonl", "--apply", "scale tool=0.5"]) == 0
    assert "not measured" in capsys.readouterr().out


def test_old_runs_in_the_same_file_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    before, after = Path("before.jsonl").read_text(), Path("after.jsonl").read_text()
    for number in range(1, 6):  # as the runs of another day
        after = after.replace(f'"{number:032x}"', f'"{number + 50:032x}"')
    later = re.sub(r'UnixNano": "(\d+)"', lambda m: f'UnixNano": "{int(m[1]) + 10**15}"', after)
    assert later != after
    Path("both.jsonl").write_text(before + later)
    for options in (["--trace", "3"], []):
        Path("w.json").unlink(missing_ok=True)
        invoke(["whatif", "before.jsonl", "--apply", "CP101", "--save", "w.json", *options])
        capsys.readouterr()
        # Made from the third run, those before it are old as well.
        assert invoke(["verify", "w.json", "before.jsonl"]) == (3 if options else 2)
        told = "3 runs are from before" if options else "all of these runs are from before"
        assert f"causepath: {told} the prediction" in capsys.readouterr().err
    assert invoke(["verify", "w.json", "both.jsonl"]) == 0
    out, err = capsys.readouterr()
    assert err == "causepath: 5 runs are from before the prediction, and left out\n"
    assert out.endswith("Predicted -500ms, measured -500ms, error 0%: inside the range\n")


def test_json_of_both(capsys: pytest.CaptureFixture[str]) -> None:
    invoke(["whatif", "before.jsonl", "--apply", "CP101", "--save", "w.json", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "causepath.whatif/1"
    assert told["prediction"] == json.loads(Path("w.json").read_text())
    assert told["prediction"]["schema"] == "causepath.prediction/1"
    assert told["prediction"]["p50"]["then"] == 2500 * MS
    invoke(["verify", "w.json", "after.jsonl", "--json"])
    came = json.loads(capsys.readouterr().out)
    assert (came["schema"], came["inside"], came["error"]) == ("causepath.verify/1", True, 0.0)


@pytest.mark.parametrize(
    ("arguments", "status", "err"),
    [
        (
            ["whatif", "before.jsonl"],
            2,
            "what is to change? Write --apply CHANGE: CP101",
        ),
        (
            ["whatif", "before.jsonl", "--apply", "CP102"],
            2,
            "CP102: no such finding in these traces; there is CP101",
        ),
        (
            ["whatif", "before.jsonl", "--apply", "CP999"],
            2,
            "CP999: no finding has this code; no such finding in these traces; there is CP101",
        ),
        (
            ["whatif", "before.jsonl", "--apply", "scale tool:nope=0.5"],
            2,
            "scale tool:nope=0.5: names nothing in these traces; there is agent:demo, llm:chat m,",
        ),
        (["whatif", "before.jsonl", "--apply", "no-retries"], 2, "there are no retries"),
        (
            ["whatif", "before.jsonl", "--apply", "cache tool:a"],
            2,
            "no call is known to repeat another one",
        ),
        (["whatif", "before.jsonl", "--apply", "model a=b"], 2, "needs calls of both models"),
        (["whatif", "before.jsonl", "--save", "w.json", "--profile"], 2, "needs --apply"),
        (
            ["verify", "schema.json", "after.jsonl"],
            4,
            "schema.json: its schema is causepath.report/1, a prediction has causepath.predic",
        ),
        (["verify", "gone.json", "after.jsonl"], 4, "gone.json: cannot be read"),
        (["verify", "before.jsonl", "after.jsonl"], 4, "no prediction of `causepath whatif"),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, list) else None,
)
def test_refusals(
    arguments: list[str], status: int, err: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(arguments) == status
    told = capsys.readouterr()
    assert err in told.err
    assert told.out == ""


def test_other_agents_and_missed_predictions(capsys: pytest.CaptureFixture[str]) -> None:
    invoke(["whatif", "before.jsonl", "--apply", "CP101", "--save", "w.json"])
    assert invoke(["verify", "w.json", "other.jsonl"]) == 2
    err = capsys.readouterr().err
    assert "predicted for agent demo, measured agent else" in err
    assert invoke(["verify", "w.json", "slow.jsonl"]) == 1
    assert capsys.readouterr().out.endswith("outside the range\n")


def test_one_run_has_no_range(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["whatif", "one.jsonl", "--apply", "CP101", "--save", "w.json"]) == 0
    assert "one run: none" in capsys.readouterr().out
    assert invoke(["verify", "w.json", "after.jsonl"]) == 3
    assert "no range was predicted" in capsys.readouterr().out


def test_a_damaged_ledger_counts_for_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Path(".causepath").mkdir()
    Path(".causepath/ledger.jsonl").write_bytes(b'{"schema": 1}\n\xff\xfe\n{}\n')
    assert invoke(["whatif", "before.jsonl", "--apply", "CP101"]) == 0
    assert "not measured" in capsys.readouterr().out
