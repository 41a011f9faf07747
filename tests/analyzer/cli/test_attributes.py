"""``--group-by`` and ``--where`` by attributes of the user's own, in every command."""

import json
from pathlib import Path
from typing import Any

import pytest

from causepath_analyzer.cli import invoke

S = 1_000_000_000
START = 1_764_000_000 * S


def written(number: int, lasts: int, root: dict[str, Any], process: dict[str, Any]) -> str:
    """A run of one span that says what `root` does, in a process that says what `process` does."""
    span = {
        "traceId": f"{number:032x}",
        "spanId": f"{number:016x}",
        "name": "invoke_agent a",
        "startTimeUnixNano": str(START + number * 100 * S),
        "endTimeUnixNano": str(START + (number * 100 + lasts) * S),
        "attributes": pairs({"causepath.category": "agent", **root}),
    }
    resource = {"attributes": pairs(process)}
    scopes = [{"scope": {"name": "causepath"}, "spans": [span]}]
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": scopes}]}) + "\n"


def pairs(said: dict[str, Any]) -> list[dict[str, Any]]:
    kinds: dict[type, str] = {str: "stringValue", int: "intValue", bool: "boolValue"}
    return [{"key": key, "value": {kinds[type(value)]: value}} for key, value in said.items()]


RUNS = (
    written(1, 4, {"tenant.id": "acme", "retries": 3}, {"region": "eu"}),
    written(2, 9, {"tenant.id": "acme", "beta": True}, {"region": "eu"}),
    written(3, 2, {"tenant.id": "b=c"}, {"region": "us"}),
    written(4, 7, {}, {}),
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CAUSEPATH_FILE", raising=False)
    (tmp_path / "t.jsonl").write_text("".join(RUNS))
    (tmp_path / "u.jsonl").write_text("".join(RUNS[2:]))
    return tmp_path


def groups(*options: str, capsys: pytest.CaptureFixture[str]) -> dict[str, int]:
    assert invoke([*options, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["summary"]
    return {one["key"]: one["runs"] for one in told["groups"]}


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("tenant.id", {"acme": 2, "b=c": 1, "": 1}),
        ("region", {"eu": 2, "us": 1, "": 1}),
        ("retries", {"3": 1, "": 3}),
        ("beta", {"true": 1, "": 3}),
        ('"agent"', {"": 4}),
        ("agent", {"a": 4}),
    ],
)
def test_groups(by: str, expected: dict[str, int], capsys: pytest.CaptureFixture[str]) -> None:
    assert groups("t.jsonl", "--group-by", by, capsys=capsys) == expected


def test_several_processes_tell_what_one_tells(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "v.jsonl").write_text(RUNS[3].replace(f"{4:032x}", f"{5:032x}"))
    asked = ("--group-by", "region", "--where", "not tenant.idd", "--slowest", "3")
    assert invoke(["t.jsonl", "v.jsonl", *asked, "--jobs", "3"]) == 0
    told = capsys.readouterr()
    assert invoke(["t.jsonl", "v.jsonl", *asked]) == 0
    assert capsys.readouterr() == told
    assert "did you mean tenant.id?" in told.err
    assert "others" not in told.out


def test_runs_that_do_not_say_are_a_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["t.jsonl", "--group-by", "tenant.id", "--top", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("By tenant.id"))
    shown = [line.split()[:2] for line in lines[at + 1 : at + 3]]
    assert shown == [["acme", "2"], ["others", "(2,"]]
    assert invoke(["t.jsonl", "--group-by", "tenant.id"]) == 0
    assert "\n  (not set) " in capsys.readouterr().out


COMMANDS = (
    "report t.jsonl",
    "list t.jsonl",
    "check t.jsonl --max wall=1h",
    "doctor t.jsonl",
    "whatif t.jsonl --profile",
    "export t.jsonl --to csv",
    "diff t.jsonl u.jsonl",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_conditions(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    def told(*options: str) -> str:
        assert invoke([*command.split(), *options]) in (0, 3)
        return capsys.readouterr().out

    assert told("--where", 'tenant.id = "b=c"') == told("--trace", "3")
    assert invoke([*command.split(), "--where", "tenant.id = nobody"]) == 5
    assert "is picked by --where 'tenant.id = nobody'" in capsys.readouterr().err


def test_a_gate_says_how_many_runs_it_is_about(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["check", "t.jsonl", "--where", "region = eu", "--max", "wall=5s"]) == 1
    assert "2 runs are picked of 4 by --where 'region = eu'; of 1 nobody can tell" in (
        capsys.readouterr().err
    )
    assert invoke(["check", "t.jsonl", "--where", "region = us", "--max", "wall=5s"]) == 0
    assert invoke(["check", "t.jsonl", "--where", "CP999", "--max", "wall=5s"]) == 2
    assert "there is no finding CP999" in capsys.readouterr().err
    assert invoke(["doctor", "t.jsonl", "--where", "CP999"]) == 2


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        (("--where", "tenant.id", "--slowest", "1"), "2"),
        (("--where", "tenant.id", "--last"), "3"),
        (("--where", "not tenant.id", "--slowest", "3"), "4"),
        (("--where", "wall < 8s", "--slowest", "2"), "14"),
        (("--where", "wall < 8s", "--since", "2025-11-24T16:04:00Z"), "34"),
    ],
)
def test_the_slowest_are_those_of_which_it_is_true(
    options: tuple[str, ...], numbers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["list", "t.jsonl", "--json", *options]) == 0
    ids = [run["trace_id"] for run in json.loads(capsys.readouterr().out)["runs"]]
    assert "".join(sorted(i[-1] for i in ids)) == numbers
    if len(numbers) > 1:
        assert invoke(["t.jsonl", "--json", *options]) == 0
        assert json.loads(capsys.readouterr().out)["summary"]["traces"] == len(numbers)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--group-by", "tenant_id"), "no span has an attribute tenant_id; did you mean tenant.id"),
        (("--group-by", "x"), "there are beta, region, retries, tenant.id, causepath.category\n"),
        (("--group-by", "zzz"), "no span has an attribute zzz; there are beta, region,"),
        (("--where", "not zzz"), "no span has an attribute zzz; there are beta, region,"),
        (("--group-by", " "), "--group-by what? agent, model, session, service, user, status"),
    ],
)
def test_a_name_that_nothing_has(
    options: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["t.jsonl", *options]) == (2 if "what?" in told else 0)
    assert told in capsys.readouterr().err


def test_what_is_there_is_not_complained_about(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["t.jsonl", "--group-by", "tenant.id", "--where", "retries or region"]) == 0
    assert capsys.readouterr().err == ""
