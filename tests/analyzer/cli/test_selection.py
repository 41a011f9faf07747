"""Finding one's run: the options that pick runs, and the list of them."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from causepath_analyzer.analyses.run import explained
from causepath_analyzer.analyses.summary.brief import brief
from causepath_analyzer.analyses.summary.summary import summary
from causepath_analyzer.cli import invoke
from causepath_analyzer.errors import ExitStatus
from causepath_analyzer.jobs import team
from causepath_analyzer.report.list_text import list_json, list_text
from causepath_analyzer.report.summary_text import summary_text
from causepath_analyzer.report.waterfall import BLOCKS
from tests.analyzer.read.test_joined import LOOP
from tests.analyzer.read.test_joined import span as trace_span
from tests.support.drawn import drawn

S = 1_000_000_000
START = 1_764_000_000 * S
RUNS = (  # name, begins after s, lasts s, outcome
    ("research", 0, 4, None),
    ("triage", 100, 9, "failed"),
    ("research", 200, 2, "timed_out"),
    ("Research", 300, 7, None),
)


def line(number: int, name: str, after: int, lasts: int, outcome: str | None) -> str:
    attributes = [{"key": "causepath.category", "value": {"stringValue": "agent"}}]
    if outcome is not None:
        attributes += [{"key": "causepath.run.outcome", "value": {"stringValue": outcome}}]
    span = {
        "traceId": f"{number:x}" * 32,
        "spanId": f"{number:016x}",
        "name": f"invoke_agent {name}",
        "startTimeUnixNano": str(START + after * S),
        "endTimeUnixNano": str(START + (after + lasts) * S),
        "attributes": attributes,
    }
    scopes = [{"scope": {"name": "causepath"}, "spans": [span]}]
    return json.dumps({"resourceSpans": [{"resource": {}, "scopeSpans": scopes}]}) + "\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("CAUSEPATH"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    lines = [line(number, *run) for number, run in enumerate(RUNS, start=1)]
    (tmp_path / "t.jsonl").write_text("".join(lines))
    yield tmp_path
    monkeypatch.undo()
    time.tzset()  # what the process had before holds for the tests after this one


PICKED: list[tuple[tuple[str, ...], str]] = [
    ((), "1234"),
    (("--last",), "4"),
    (("--failed",), "23"),
    (("--failed", "--last"), "3"),
    (("--name", "research"), "134"),
    (("--name", "re*h"), "134"),
    (("--name", "invoke_agent tri*"), "2"),
    (("--slowest", "2"), "24"),
    (("--slowest", "9"), "1234"),
    (("--slowest", "1", "--name", "research"), "4"),
    (("--since", "2025-11-24T16:01:40Z"), "234"),
    (("--until", "2025-11-24T16:01:40Z"), "1"),
    (("--since", "2025-11-24T16:01:40Z", "--until", "2025-11-24T16:04:00+00:00"), "23"),
    (("--until", "1h"), "1234"),
    (("--trace", "2"), "2"),
    (("--where", "wall > 3s"), "124"),
    (("--where", "wall > 3s and not status = failed"), "14"),
    (("--where", "agent = research or agent = triage", "--failed"), "23"),
    (("--where", "status = timed_out"), "3"),
    (("--sample", "9"), "1234"),
    (("--trace", "2", "--failed"), "2"),
]


@pytest.mark.parametrize(
    ("options", "picked", "jobs"),
    [
        *(pytest.param(options, picked, (), id=" ".join(options)) for options, picked in PICKED),
        *(
            pytest.param(
                options,
                picked,
                ("--jobs", "2"),
                id=" ".join((*options, "--jobs 2")),
                marks=pytest.mark.programs,
            )
            for options, picked in PICKED
        ),
    ],
)
def test_runs_are_picked(
    options: tuple[str, ...],
    picked: str,
    jobs: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert invoke(["list", "t.jsonl", "--json", *options, *jobs]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "causepath.list/1"
    assert "".join(run["trace_id"][0] for run in told["runs"]) == picked
    assert invoke(["t.jsonl", "--json", *options, *jobs]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "".join(run["trace_id"][0] for run in told["traces"]) == picked
    assert invoke(["t.jsonl", *options, *jobs]) == 0
    told = capsys.readouterr().out
    name = RUNS[int(picked) - 1][0] if len(picked) == 1 else f"{len(picked)} runs"
    assert told.startswith(f"{name}  ")
    if len(picked) == 1:  # and so does the next command
        again = ("--trace", picked * 32) if "--where" in options else options
        assert all(option in told.splitlines()[-1] for option in again if option != "Z")


@pytest.mark.parametrize(
    "command", ["check --max wall=1h", "doctor", "whatif --profile", "export --to csv"]
)
def test_every_command_picks(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    verb, *rest = command.split()
    assert invoke([verb, "t.jsonl", *rest, "--failed", "--last"]) == 0
    assert invoke([verb, "t.jsonl", *rest, "--name", "nobody"]) == ExitStatus.NO_TRACES
    assert capsys.readouterr().err.endswith("none of 4 runs is picked by --name nobody\n")


@pytest.mark.programs
@pytest.mark.parametrize(
    "options",
    [
        ("--where", "wall > 3s"),
        ("--where", "wall > 8s"),
        ("--where", "wall > 8s", "--group-by", "agent"),
        ("--where", "agent = triage", "--json"),
        ("--where", "wall > 3s", "--slowest", "2"),
        ("--sample", "3", "--top", "1"),
        ("--sample", "1"),
    ],
    ids=" ".join,
)
def test_several_processes_pick_what_one_picks(
    options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["t.jsonl", *options, "--jobs", "3"]) == 0
    told = capsys.readouterr()
    assert invoke(["t.jsonl", *options]) == 0
    assert capsys.readouterr() == told


def test_a_sample_is_the_same_whatever_else_is_read(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def drawn_from(numbers: str, size: int) -> set[str]:
        lines = [line(int(number, 16), "a", int(number, 16), 1, None) for number in numbers]
        (folder / "s.jsonl").write_text("".join(lines))
        assert invoke(["list", "s.jsonl", "--sample", str(size)]) == 0
        return {row.split()[-1][0] for row in capsys.readouterr().out.splitlines()[1:]}

    few = drawn_from("123456789abcdef", 5)
    assert len(few) == 5
    assert drawn_from("fedcba987654321", 5) == few
    assert drawn_from("".join(few), 5) == few
    assert few < drawn_from("123456789abcdef", 6)


@pytest.mark.parametrize(
    ("options", "status", "told"),
    [
        (("--where", "wall > 1h"), 5, "none of 4 runs is picked by --where 'wall > 1h'\n"),
        (
            ("--where", "user = me"),
            5,
            "none of 4 runs is picked by --where 'user = me'; of 4 nobody can tell\n",
        ),
        (("--where", "wall > 5"), 2, "--where 'wall > 5', column 8: '5' is no amount for wall"),
        (("--where", "CP999"), 2, "there is no finding CP999\n"),
        (("--where", "CP101", "--ignore", "CP1"), 2, "--select or --ignore leaves CP101 out\n"),
        (("--sample", "0"), 2, "--sample 0: ask for one run or more\n"),
        (("--top", "0"), 2, "--top 0: tables can have 1 to 10,000 rows\n"),
    ],
    ids=str,
)
def test_what_picks_nothing_or_is_not_understood(
    options: tuple[str, ...], status: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["t.jsonl", *options]) == status
    assert told in capsys.readouterr().err


def test_a_list_looks_for_the_findings_that_a_condition_asks_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert invoke(["list", "t.jsonl", "--where", "CP601 == 0 or findings > 9"]) == 0
    with_finding = capsys.readouterr().out
    assert invoke(["list", "t.jsonl"]) == 0
    assert with_finding == capsys.readouterr().out


def test_the_list_reads_like_this(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["list", "t.jsonl"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "began                run                  wall      cost  status      trace",
        "2025-11-24 16:00:00  research            4.00s            ok          11111111",
        "2025-11-24 16:01:40  triage              9.00s            failed      22222222",
        "2025-11-24 16:03:20  research            2.00s            timed out   33333333",
        "2025-11-24 16:05:00  Research            7.00s            ok          44444444",
    ]


def test_a_summary_names_the_slowest_and_the_failed(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["t.jsonl"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == [
        "began 2025-11-24 16:00:00 to 2025-11-24 16:05:00",
        "2 runs did not end well: 1 failed, 1 timed out (50% of all)",
    ]
    assert lines[-3:] == [
        "Slowest: 22222222 9.00s  44444444 7.00s  11111111 4.00s",
        "Failed: 33333333 timed out, the last one  (causepath list t.jsonl --failed)",
        "Next: causepath t.jsonl --trace 22222222",
    ]


@pytest.mark.parametrize("options", [("--failed",), ("--name", "r", "--failed"), ("--name", "r")])
def test_the_command_in_a_summary_can_be_typed(
    options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["t.jsonl", *options]) == 0
    shown = capsys.readouterr().out.partition("the last one")[2]
    command = shown.partition("(")[2].partition(")")[0].split()
    assert command[0] == "causepath"
    assert command.count("--failed") == 1
    assert invoke(command[1:]) == 0
    assert [row.split()[-1] for row in capsys.readouterr().out.splitlines()[1:]] == [
        "22222222",
        "33333333",
    ]


@pytest.mark.programs
@pytest.mark.parametrize("jobs", ["1", "2", "3"])
@pytest.mark.parametrize("options", [("--last",), ("--trace", "4"), ("--trace", "4", "--last")])
def test_one_run_that_is_picked_is_read_without_a_second_team_beside_the_first(
    options: tuple[str, ...],
    jobs: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    going: list[int] = []
    most = []

    class Counted(team.Worker):
        def __init__(self) -> None:
            super().__init__()
            going.append(self.pid)
            most.append(len(going))

        def end(self) -> None:
            super().end()
            going.remove(self.pid)

    monkeypatch.setattr(team, "Worker", Counted)
    with (folder / "t.jsonl").open("a") as file:
        file.write('{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": 12,\n')
    assert invoke(["t.jsonl", *options, "--jobs", jobs]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("Research  ")
    assert len(told.err.splitlines()) == 1  # of the line that is cut off
    assert going == []
    assert max(most, default=0) == int(jobs) - 1


@pytest.mark.programs
@pytest.mark.parametrize("wanted", ["a", "b", "c"])
def test_a_run_in_several_traces_is_picked_by_the_id_of_any(
    wanted: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [*LOOP, *(trace_span(0xE + n, 9 + n, "agent beside", n, 9) for n in range(9))]
    (folder / "joined.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    told = []
    for jobs in ("1", "2", "3"):
        arguments = ["list", "joined.jsonl", "--trace", wanted, "--json", "--jobs", jobs]
        assert invoke(arguments) == 0
        told.append(capsys.readouterr())
    assert told[1:] == told[:1] * 2
    assert [int(run["trace_id"], 16) for run in json.loads(told[0].out)["runs"]] == [0xA]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--slowest", "0"), "--slowest 0: ask for one run or more"),
        (("--until", "soon"), "--until soon: no time; write it like 1h"),
        (("--since", "soon"), "--since soon: no time; write it like 1h"),
    ],
)
def test_what_is_no_choice_is_refused(
    options: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["t.jsonl", *options]) == ExitStatus.USAGE
    assert told in capsys.readouterr().err


def test_runs_that_nobody_declared_are_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inferred = {"key": "causepath.run.inferred", "value": {"boolValue": True}}
    for program in (None, "p"):
        lines = []
        for number in (1, 2, 3):
            told = json.loads(line(number, "chat", number, 1, None))
            told["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"].append(inferred)
            if program is not None:
                key = {"key": "causepath.program.id", "value": {"stringValue": program}}
                told["resourceSpans"][0]["resource"]["attributes"] = [key]
            lines.append(json.dumps(told) + "\n")
        (folder / "u.jsonl").write_text("".join(lines))
        assert invoke(["u.jsonl"]) == 0
        out = capsys.readouterr().out
        assert f"These 3 runs{' of one program' if program else ''} are single chains" in out
        assert 'with causepath.agent("name")' in out
    (folder / "u.jsonl").write_text("".join([*lines, line(4, "declared", 9, 1, None)]))
    assert invoke(["u.jsonl"]) == 0
    assert "are single chains" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("runs", "is_told"),
    [
        # Each is when it begins and how long it lasts, in seconds, and its model calls.
        (((0, 5, 1), (6, 5, 1), (12, 5, 1)), True),
        (((0, 5, 1), (5, 5, 0), (10, 9, 4)), True),
        (((0, 5, 1),), False),
        (((0, 5, 1), (4, 5, 1), (12, 5, 1)), False),
        (((0, 5, 1), (60, 5, 1), (90, 5, 1)), False),
        (((0, 5, 3), (6, 5, 2), (12, 5, 1)), False),
    ],
    ids=["steps", "steps, one a loop", "one", "at once", "with pauses", "loops"],
)
def test_steps_of_one_are_told_from_answers_to_several(
    runs: tuple[tuple[int, int, int], ...], is_told: bool
) -> None:
    briefs = [
        replace(
            brief(explained(drawn("agent run |-|"))),
            start_ns=start * S,
            wall_ns=length * S,
            model_calls=calls,
            is_inferred=True,
        )
        for start, length, calls in runs
    ]
    assert summary(briefs).undeclared == (len(runs) if is_told else 0)


def test_a_cost_that_is_a_lower_bound_says_so() -> None:
    call = "llm m |--| provider=anthropic model={} tokens=1000/{}"
    known, unknown = call.format("claude-opus-5", 50), call.format("nobody-knows-it", 50)
    briefs = [
        brief(explained(drawn(drawing), with_cost=True))
        for drawing in (
            known,
            call.format("claude-opus-5", 0),  # it has answered, and not with nothing
            f"agent a |------|\n  {known}\n  {unknown.replace('m |', 'n   |')}",
            unknown,
            "agent a |--|",
        )
    ]
    told = [line.plain for line in list_text(briefs, BLOCKS)]
    assert [line.split()[2] for line in told[1:4]] == ["$0.00625", ">=$0.00500", ">=$0.00625"]
    assert [line.split()[2] for line in told[4:]] == ["ok", "ok"]
    assert len({line.index("ffffffff") for line in told[1:]}) == 1
    listed = json.loads(list_json([], briefs))["runs"]
    assert [run["at_least"] for run in listed] == [False, True, True, False, False]
    for number, least in enumerate(("", "at least ", "at least ")):
        text = summary_text(summary([briefs[number]] * 2), BLOCKS, ["t"])[0].plain
        assert text.endswith(f"  {least}{('$0.00625', '$0.00500', '$0.00625')[number]}/run")
