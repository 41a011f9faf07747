"""`causepath check` as a team uses it: a baseline, budgets in settings, and what CI shows of it."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

from causepath_analyzer.cli import invoke
from tests.analyzer.cli.test_cli import folder as folder

S = 1_000_000_000


def trace(number: int, wall_s: float, agent: str = "research") -> str:
    """A line of OTLP: an agent that asks a model, a tool, and the model again."""

    def span(id_: int, name: str, since: float, until: float, **attributes: Any) -> dict[str, Any]:
        begin_ns = 1_795_000_000 * S + number * 60 * S
        return {
            "traceId": f"{number + 1:08x}{0:024x}",
            "spanId": f"{id_:016x}",
            "parentSpanId": "" if id_ == 1 else f"{1:016x}",
            "name": name,
            "startTimeUnixNano": str(begin_ns + round(since * wall_s * S)),
            "endTimeUnixNano": str(begin_ns + round(until * wall_s * S)),
            "attributes": [
                {
                    "key": f"gen_ai.{key.replace('__', '.')}",
                    "value": {"intValue" if isinstance(value, int) else "stringValue": value},
                }
                for key, value in attributes.items()
            ],
        }

    call = {
        "operation__name": "chat",
        "request__model": "claude-opus-5-5",
        "provider__name": "anthropic",
        "usage__input_tokens": 3000,
        "usage__output_tokens": 300,
    }
    spans = [
        span(1, f"invoke_agent {agent}", 0, 1, operation__name="invoke_agent", agent__name=agent),
        span(2, "chat claude-opus-5-5", 0, 0.4, **call),
        span(3, "execute_tool fetch", 0.4, 0.7, operation__name="execute_tool", tool__name="fetch"),
        span(4, "chat claude-opus-5-5", 0.7, 1, **call),
    ]
    scopes = [{"scope": {"name": "causepath", "version": "1"}, "spans": spans}]
    return json.dumps({"resourceSpans": [{"scopeSpans": scopes}]}) + "\n"


def traces(path: Path, count: int, middle_s: float, agent: str = "research") -> None:
    """Runs of 80 to 120 % of `middle_s`."""
    walls = [middle_s * (0.8 + 0.4 * i / (count - 1)) for i in range(count)]
    path.write_text("".join(trace(i, wall, agent) for i, wall in enumerate(walls)))


SETTINGS = """
[tool.causepath.budgets]
wall = "60s"
error = [
    "p(50) wall < 11s",
    "p(95) wall < 60s",
    "share tool < 40%",
]
warn = ["mean cost < $0.01"]
"""


@pytest.fixture
def team(folder: Path) -> Path:
    traces(folder / "before.jsonl", 90, 10)
    traces(folder / "same.jsonl", 40, 10)
    traces(folder / "slow.jsonl", 40, 13)
    traces(folder / "other.jsonl", 5, 10, "billing")
    (folder / "pyproject.toml").write_text(SETTINGS)
    assert invoke(["check", "before.jsonl", "--save-baseline", "main"]) == 0
    return folder


TEXT = """\
  PASS         wall                 12.00s  max 60.00s   run 00000028
  PASS         p(50) wall            9.95s  < 11.00s     9.32s to 10.68s
               nearly used up, 1.05s left
  INCONCLUSIVE p(95) wall           11.79s  < 60.00s     11.51s or more
               40 runs: too few for a percentile
               about 80 runs would tell
  PASS         share tool              30%  < 40%        30% to 30%
  WARN         mean cost           $0.0360  < $0.0100    $0.0360 to $0.0360
               run 00000001 $0.0360: chat claude-opus-5-5 5.60s
               run 00000002 $0.0360: chat claude-opus-5-5 5.67s
               run 00000003 $0.0360: chat claude-opus-5-5 5.74s
1 warned of, 1 inconclusive, 3 passed
"""


def test_text(team: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert invoke(["check", "same.jsonl"]) == 3
    assert capsys.readouterr().out == TEXT


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ("same.jsonl --inconclusive pass", 0),
        ("same.jsonl --inconclusive fail", 1),
        ("before.jsonl", 0),
        ("slow.jsonl --inconclusive pass", 1),
    ],
)
def test_exit_statuses(team: Path, arguments: str, status: int) -> None:
    assert invoke(["check", *arguments.split()]) == status


@pytest.mark.parametrize(
    ("file", "status", "told"),
    [
        ("same.jsonl", 0, "PASS         p(50) wall            9.95s  < 11.97s     "),
        ("slow.jsonl", 1, "FAIL         p(50) wall           12.93s  < 11.97s     "),
    ],
)
def test_a_baseline(
    team: Path, capsys: pytest.CaptureFixture[str], file: str, status: int, told: str
) -> None:
    (team / "pyproject.toml").unlink()
    limit = "p(50) wall < +20% and +200ms"
    assert invoke(["check", file, "--baseline", "main", "--budget", limit]) == status
    printed = capsys.readouterr().out
    assert told in printed
    assert "the baseline has 9.98s, " in printed


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (
            ["other.jsonl", "--baseline", "main"],
            2,
            (
                ".causepath/baselines/main.json is of other agents: it has research, and here is "
                "billing"
            ),
        ),
        (["same.jsonl", "--baseline", "mian"], 4, "mian.json: cannot be read"),
        (["same.jsonl", "--baseline", "mian"], 4, "; there is main; "),
        (["same.jsonl", "--baseline", "./pyproject.toml"], 4, "no baseline of `causepath check`"),
        (["same.jsonl", "--baseline", "p.json"], 4, "p.json: its schema is causepath.report/2"),
        (
            ["same.jsonl", "--budget", 'wall{agent="reserch"} < 1s'],
            2,
            (
                '--budget: wall{agent="reserch"} is about no run or call in the input; did you '
                "mean research? (--allow-empty takes it)"
            ),
        ),
        (
            ["same.jsonl", "--budget", "p(95) wal < 1s"],
            2,
            "--budget 'p(95) wal < 1s', column 7: no budget is called 'wal'; did you mean wall?",
        ),
        (
            ["same.jsonl", "--budget", "count CP999 == 0"],
            2,
            "no finding has a code that begins with 'CP999'",
        ),
        (["same.jsonl", "--config", "bad.toml"], 2, "bad.toml:3:9: '5' is not a limit for wall"),
        (["same.jsonl", "--config", "near.toml"], 2, "near.toml:2: '8' is no part of a budget"),
        (["same.jsonl", "--config", "text.toml"], 2, "text.toml:2: error is no list of budgets"),
    ],
)
def test_what_is_refused(
    team: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, told: str
) -> None:
    (team / "bad.toml").write_text('[budgets]\nerror = [\n"wall < 5",\n]\n')
    (team / "near.toml").write_text("[budgets]\nnear = '8'\n")
    (team / "text.toml").write_text("[budgets]\nerror = 'wall < 5s'\n")
    (team / "p.json").write_text('{"schema": "causepath.report/2"}')
    capsys.readouterr()
    assert invoke(["check", *arguments]) == status
    assert told in capsys.readouterr().err


def test_a_budget_about_no_run_may_be_allowed(team: Path) -> None:
    budget = ["--budget", 'wall{agent="reserch"} < 1s', "--config", "none.toml"]
    (team / "none.toml").write_text("")
    assert invoke(["check", "same.jsonl", *budget, "--allow-empty"]) == 3


def test_what_changed_since_the_baseline(team: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (team / "same.jsonl").read_text()
    (team / "new.jsonl").write_text(text.replace("opus-5-5", "sonnet-5").replace('"1"', '"2"'))
    invoke(["check", "new.jsonl", "--baseline", "main"])
    told = [line for line in capsys.readouterr().out.splitlines() if "since" in line]
    assert told == [
        "  since the baseline, models: -claude-opus-5-5, +claude-sonnet-5",
        "  since the baseline, instrumentation: -causepath 1, +causepath 2",
    ]


def test_runs_that_failed_say_how(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed = trace(1, 10).replace('"parentSpanId": ""', '"status": {"code": 2}, "parentSpanId": ""')
    (folder / "failed.jsonl").write_text(trace(0, 10) + failed)
    assert invoke(["check", "failed.jsonl", "--max", "failed=0"]) == 1
    assert capsys.readouterr().out.splitlines()[:2] == [
        "  FAIL         failed                    1  max 0        1 over, run 00000002",
        "               run 00000002: failed: error",
    ]


def test_the_code_that_broke_a_budget_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = (
        '{"key": "code.file.path", "value": {"stringValue": "my agent.py"}}, '
        '{"key": "code.line.number", "value": {"intValue": 41}}, '
    )
    tool = '{"key": "gen_ai.tool.name"'
    (folder / "a.jsonl").write_text(trace(0, 10).replace(tool, code + tool))
    command = ["check", "a.jsonl", "--max", "path.tool=1s", "--github", "--sarif", "a.sarif"]
    assert invoke(command) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == [
        "               run 00000001 3.00s: execute_tool fetch 3.00s",
        "                 at my agent.py:41: execute_tool fetch",
    ]
    assert lines[-1].startswith("::error file=my agent.py,line=41,title=causepath%3A fail::path.")
    (result,) = json.loads((folder / "a.sarif").read_text())["runs"][0]["results"]
    place = {
        "artifactLocation": {"uri": "my%20agent.py"},
        "region": {"startLine": 41},
    }
    assert result["locations"] == [{"physicalLocation": place}]
    told = {"text": "execute_tool fetch"}
    assert result["relatedLocations"] == [{"physicalLocation": place, "message": told}]
    invoke([*command[:-3], "--json"])
    (budget,) = json.loads(capsys.readouterr().out)["budgets"]
    assert budget["violations"][0]["where"] == "my agent.py:41"
    assert budget["violations"][0]["path"][0] == {
        "name": "execute_tool fetch",
        "ns": 3 * S,
        "span_id": f"{3:016x}",
        "where": "my agent.py:41",
    }


ALLOTTED = """\
  FAIL         wall                 10.00s  < 11.00s
               model 60%: 7.00s of 6.60s, 400ms too much, fail
               tool 30%: 3.00s of 3.30s, 300ms left (nearly used up)
               buffer 10%: 0ns of 1.10s, 1.10s left
               run 00000001 7.00s: chat claude-opus-5-5 7.00s
1 failed
"""


def test_what_is_allotted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.jsonl").write_text(trace(0, 10))
    budget = 'error = ["wall < 11s: model 60%, tool 30%, buffer 10%"]'
    (folder / "causepath.toml").write_text(f"[budgets]\n{budget}\n")
    assert invoke(["check", "a.jsonl"]) == 1
    assert capsys.readouterr().out == ALLOTTED
    assert invoke(["check", "a.jsonl", "--json"]) == 1
    (told,) = json.loads(capsys.readouterr().out)["budgets"]
    assert told["left"] == S
    assert [(one["kind"], one["share"], one["max"], one["left"]) for one in told["allotted"]] == [
        ("model", "0.6", 6_600_000_000, -400_000_000),
        ("tool", "0.3", 3_300_000_000, 300_000_000),
        ("buffer", "0.1", 1_100_000_000, 1_100_000_000),
    ]


def test_junit(team: Path) -> None:
    invoke(["check", "slow.jsonl", "--junit", "junit.xml"])
    suite = Xml.parse(team / "junit.xml").getroot()[0]
    counts = {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "5", "failures": "1", "errors": "0", "skipped": "1"}
    assert [(case.get("name"), [part.tag for part in case]) for case in suite] == [
        ("wall <= 60.00s", ["system-out"]),
        ("p(50) wall < 11.00s", ["failure"]),
        ("p(95) wall < 60.00s", ["skipped"]),
        ("share tool < 40%", ["system-out"]),
        ("mean cost < $0.0100", ["system-out"]),
    ]


def test_sarif(team: Path) -> None:
    invoke(["check", "slow.jsonl", "--sarif", "check.sarif"])
    (only,) = json.loads((team / "check.sarif").read_text())["runs"]
    found = [
        (
            result["ruleId"],
            result["level"],
            result["message"]["text"].splitlines()[0].partition(":")[0],
            [
                (at["artifactLocation"]["uri"], at["region"]["startLine"])
                for place in result["locations"]
                for at in (place["physicalLocation"],)
            ],
        )
        for result in only["results"]
    ]
    assert found == [
        ("budget/wall", "error", "p(50) wall < 11.00s", [("pyproject.toml", 5)]),
        ("budget/wall", "note", "p(95) wall < 60.00s", [("pyproject.toml", 6)]),
        ("budget/cost", "warning", "mean cost < $0.0100", [("pyproject.toml", 9)]),
    ]
    rules = {rule["id"] for rule in only["tool"]["driver"]["rules"]}
    assert rules == {result["ruleId"] for result in only["results"]}
    fingerprints = [one["partialFingerprints"]["causepathBudget/v1"] for one in only["results"]]
    assert len(set(fingerprints)) == 3


def test_github(
    team: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(team / "summary.md"))
    (team / "summary.md").write_text("before\n")
    many = [f"wall < {i + 1}ms" for i in range(30)]
    (team / "many.toml").write_text(f"[budgets]\nerror = {json.dumps(many)}\n")
    capsys.readouterr()
    assert invoke(["check", "slow.jsonl", "--github", "--config", "many.toml"]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("::")]
    assert len(lines) == 10
    head, _, message = lines[0].removeprefix("::").partition("::")
    assert head == "error file=many.toml,line=2,title=causepath%3A fail"
    assert message.startswith("wall < 1.0ms: 15.60s%0A")
    summary = (team / "summary.md").read_text()
    assert summary.startswith("before\n### causepath: 30 failed\n")
    assert summary.count("| ❌ fail |") == 30


def test_what_the_step_has_written_counts_for_the_summary(
    team: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(team / "summary.md"))
    for size, added in ((999_980, 0), (999_600, 400), (990_000, 1_000)):
        (team / "summary.md").write_text("x" * (size - 1) + "\n")
        invoke(["check", "slow.jsonl", "--github"])
        text = (team / "summary.md").read_text()[size:]
        assert bool(text) == bool(added)
        assert len(text.encode()) <= 1_000_000 - size


def test_a_summary_that_is_too_long_is_cut_and_says_so(team: Path) -> None:
    from causepath_analyzer.analyses.budgets.measures import Sample, Used
    from causepath_analyzer.analyses.budgets.verdicts import checked
    from causepath_analyzer.analyses.budgets.wording import wording
    from causepath_analyzer.analyses.path.status import WELL
    from causepath_analyzer.report.check_markdown import check_markdown

    samples = [Sample("a" * 32, "é" * 60, None, WELL, {"wall": Used(S)})]
    check = checked([wording("wall < 1ms", "here")] * 50, samples)
    text = check_markdown(check, 2_000)
    assert len(text.encode()) <= 2_000
    assert text.endswith("\n(cut off: see the log)\n")


def test_markdown(team: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    invoke(["check", "slow.jsonl", "--markdown"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "### causepath: 1 failed, 1 warned of, 1 inconclusive, 2 passed"
    assert lines[5] == ("| ❌ fail | `p(50) wall` | < 11.00s | 12.93s | 12.12s to 13.88s | 40 |")
