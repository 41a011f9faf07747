"""Which findings are looked for: by flags, by settings, in every command that shows some."""

import json
from pathlib import Path

import pytest

from causepath_analyzer.analyses.findings.rules import RULES
from causepath_analyzer.cli import invoke
from tests.analyzer.cli.test_whatif import folder as folder

TOOLS = "run 2 tools together"


@pytest.mark.parametrize(
    ("flags", "settings", "found"),
    [
        ("", "", True),
        ("--select CP101", "", True),
        ("--select CP1", "", True),
        ("--select cp102,CP101", "", True),
        ("--select CP102 --select CP101", "", True),
        ("--select CP102", "", False),
        ("--ignore CP1", "", False),
        ("--ignore CP102,CP103", "", True),
        ("--select CP101 --ignore CP1", "", True),
        ("--select CP1 --ignore CP101", "", False),
        ("", "select = ['CP102']", False),
        ("", "select = []", False),
        ("", "ignore = ['CP101']", False),
        ("", "select = ['CP1']\nignore = ['CP102']", True),
        # What is selected on the command line goes over the whole file, as in ruff.
        ("--select CP101", "select = ['CP102']", True),
        ("--select CP1", "ignore = ['CP101']", True),
        ("--ignore CP101", "select = ['CP1']", False),
        ("--ignore CP102", "ignore = ['CP101']", False),
    ],
)
@pytest.mark.parametrize("files", ["one.jsonl", "before.jsonl"])
def test_flags_and_settings(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    files: str,
    flags: str,
    settings: str,
    found: bool,
) -> None:
    (folder / "causepath.toml").write_text(f"[findings]\n{settings}\n")
    assert invoke([files, *flags.split()]) == 0
    assert ("CP101" in capsys.readouterr().out) is found
    assert invoke([files, *flags.split(), "--json"]) == 0
    traces = json.loads(capsys.readouterr().out)["traces"]
    codes = {finding["code"] for trace in traces for finding in trace["findings"]}
    assert codes == ({"CP101"} if found else set())


def test_the_processes_that_help_look_for_the_same(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for flags, found in (("--select CP101", True), ("--ignore CP101", False)):
        assert invoke(["before.jsonl", "slow.jsonl", "--jobs", "2", *flags.split()]) == 0
        assert ("CP101" in capsys.readouterr().out) is found


@pytest.mark.parametrize(
    ("name", "settings", "flags", "told"),
    [
        (
            "causepath.toml",
            "",
            "--select CPI01",
            (
                "causepath: --select: no finding has a code that begins with 'CPI01'; "
                "did you mean CP101?\n"
            ),
        ),
        (
            "causepath.toml",
            "",
            "--ignore F841",
            (
                "causepath: --ignore: no finding has a code that begins with 'F841'; "
                f"there is {', '.join(RULES)}\n"
            ),
        ),
        ("causepath.toml", "", "--select=", "causepath: --select: no finding has a code that"),
        (
            "causepath.toml",
            "[findings]\n\nselect = ['CP1']\nignore = ['CPI02']\n",
            "",
            (
                "causepath.toml:4: ignore: no finding has a code that begins with 'CPI02'; "
                "did you mean CP102?\n"
            ),
        ),
        (
            "causepath.toml",
            "[findings]\nselect = 'CP1'\n",
            "",
            'causepath.toml:2: findings.select is no list of codes; write it like ["CP101", "CP2"]',
        ),
        (
            "causepath.toml",
            "[findings]\nselect = ['CP1', 5]\n",
            "",
            "causepath.toml:2: findings.select is no list of codes",
        ),
        (
            "causepath.toml",
            "[findings]\nselct = ['CP1']\n",
            "",
            (
                "causepath.toml:2: unknown setting 'findings.selct'; there is select, ignore, llm, "
                "tool, cost, iterations, calls and prompt\n"
            ),
        ),
        ("causepath.toml", "findings = 3\n", "", "causepath.toml:1: findings: Expected `object`"),
        (
            "pyproject.toml",
            (
                "[project]\ndependencies = ['causepath']\n\n[tool.ruff.lint]\nselect = ['F841']\n\n"
                "[tool.causepath.findings]\nselect = ['F841']\n"
            ),
            "",
            "pyproject.toml:8: select: no finding has a code that begins with 'F841'; ",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    settings: str,
    flags: str,
    told: str,
) -> None:
    (folder / name).write_text(settings)
    assert invoke(["one.jsonl", *flags.split()]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert told in printed.err


def test_what_is_wrong_with_the_projects_of_others_is_no_matter_of_ours(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "pyproject.toml").write_text("[project\nname = 'not TOML'\n")
    assert invoke(["one.jsonl"]) == 0
    assert TOOLS in capsys.readouterr().out


def test_a_settings_file_that_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "causepath.toml").write_text("[findings]\nignore = ['CP']\n")
    (folder / "ours.toml").write_text("[findings]\nselect = ['CP101']\n")
    assert invoke(["one.jsonl"]) == 0
    assert TOOLS not in capsys.readouterr().out
    assert invoke(["one.jsonl", "--config", "ours.toml"]) == 0
    assert TOOLS in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        ("--max findings=0", 1, "FAIL         findings"),
        ("--max findings=1", 0, "PASS         findings"),
        ("--max findings=0 --ignore CP101", 0, "PASS         findings"),
        ("--max findings=0 --select CP1", 1, "FAIL         findings"),
        ("--max wall=1h", 0, "PASS         wall"),
        ("--max wall=1h --select CP1", 2, "set one with --max"),
        ("--max findings=0 --select CP9", 2, "no finding has a code that begins with 'CP9'"),
        ("--max findings=1s", 2, "'1s' is no amount for findings; write it like 0"),
    ],
)
def test_a_budget_of_findings(
    capsys: pytest.CaptureFixture[str], arguments: str, status: int, told: str
) -> None:
    assert invoke(["check", "one.jsonl", *arguments.split()]) == status
    printed = capsys.readouterr()
    assert told in printed.out + printed.err


def test_what_is_exported_names_what_is_looked_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for flags, found in ((), True), (("--ignore", "CP101"), False):
        assert invoke(["export", "one.jsonl", "--to", "csv", *flags]) == 0
        assert ("CP101" in capsys.readouterr().out) is found


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ("", True),
        ('tool = "200ms"', True),
        ('tool = "9s"', False),
        ("iterations = 3", True),
        ('cost = "$2"', True),
        ("calls = 2", True),
        ('prompt = "50%"', True),
        ('llm = "1m"', True),
    ],
)
def test_sizes_from_which_on_findings_warn(
    folder: Path, capsys: pytest.CaptureFixture[str], settings: str, found: bool
) -> None:
    span = {"traceId": "1" * 32, "name": "run", "startTimeUnixNano": "1"}
    spans = [
        {**span, "spanId": "1" * 16, "endTimeUnixNano": "4000000001"},
        {
            **span,
            "spanId": "2" * 16,
            "parentSpanId": "1" * 16,
            "endTimeUnixNano": "1000000001",
            "attributes": [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}],
        },
    ]
    (folder / "open.json").write_text(
        json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]})
    )
    (folder / "causepath.toml").write_text(f"[findings]\n{settings}\n")
    for flags in ([], ["--json"]):
        assert invoke(["open.json", *flags]) == 0
        assert ("CP601" in capsys.readouterr().out) is found
    assert invoke(["check", "open.json", "--max", "findings=0"]) == int(found)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("tool = 3", "causepath.toml:2: tool: 3 is no amount; write it like "),
        ('llm = "$1"', "causepath.toml:2: llm: '$1' is no amount; write it like "),
        ("iterations = true", "causepath.toml:2: iterations: True is no amount; write it like "),
        ('prompt = "180%"', "causepath.toml:2: prompt: '180%' is no amount; write it like "),
        ("tools = 3", "causepath.toml:2: unknown setting 'findings.tools'; there is select"),
    ],
)
def test_sizes_that_are_none(
    folder: Path, capsys: pytest.CaptureFixture[str], settings: str, told: str
) -> None:
    (folder / "causepath.toml").write_text(f"[findings]\n{settings}\n")
    assert invoke(["one.jsonl"]) == 2
    assert told in capsys.readouterr().err
