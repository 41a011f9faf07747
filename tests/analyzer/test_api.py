"""The Python API: what the commands show, as values."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

import causepath_analyzer
from causepath_analyzer import CausepathError, Runs
from causepath_analyzer.cli import invoke
from causepath_analyzer.errors import NoTracesError
from tests.analyzer.cli.test_whatif import run
from tests.analyzer.read.test_read import LINE

RECORDED = Path(__file__).parent / "recorded" / "causepath.jsonl"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("t.jsonl").write_text("".join(run(n, 400 + n) for n in range(1, 6)) + '{"cut": \n')
    return "t.jsonl"


@pytest.mark.parametrize("options", [(), ("--trace", "3")])
def test_a_report_is_that_of_the_command(
    path: str, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke([path, *options]) == 0
    printed = capsys.readouterr()
    runs = causepath_analyzer.read(path)
    told = runs[2].report() if options else runs.report()
    if not options:
        assert told == printed.out
    else:  # the command has read one run alone, and names it in the next
        assert told.splitlines()[:5] == printed.out.splitlines()[:5]
    assert invoke([path, "--json"]) == 0
    assert runs.to_dict() == json.loads(capsys.readouterr().out)
    assert [f"causepath: {one}" for one in runs.unread] == printed.err.splitlines()


def test_runs_are_a_sequence(path: str) -> None:
    runs = causepath_analyzer.read(path)
    assert (len(runs), repr(runs), repr(runs[:1])) == (5, "<5 runs>", "<1 run>")
    assert [one.trace_id for one in runs] == [f"{n:032x}" for n in range(1, 6)]
    assert runs[-1].trace_id == f"{5:032x}"
    slow = runs.where(lambda one: one.wall_ns > 2_803_000_000)
    assert [one.trace_id[-1] for one in slow] == ["2", "3", "4", "5"]
    one = runs[0]
    assert (one.name, one.status, one.wall_ns) == ("invoke_agent demo", "ok", 2_802_000_000)
    assert [finding.code for finding in one.findings] == ["CP101"]
    assert one is runs[0] is next(iter(runs))
    assert one.explained is runs[0].explained  # which is not worked out twice
    assert repr(one) == f"<run 'invoke_agent demo', 2.802 s, trace {1:032x}>"


def test_a_cost_is_exact() -> None:
    cost = causepath_analyzer.read(str(RECORDED))[0].cost_usd
    assert isinstance(cost, Decimal)
    assert cost > 0


def test_what_if(path: str) -> None:
    runs = causepath_analyzer.read(path)
    found = runs.whatif("CP101")
    assert (found.runs, found.p50.now, found.p50.then) == (5, 2_806_000_000, 2_403_000_000)
    assert len(found.traces) == 5
    assert runs[0].whatif("scale tool=0.5").p50.then == 2_401_000_000


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda _: causepath_analyzer.read(), "read what?"),
        (lambda _: causepath_analyzer.read("gone"), "gone: no such file or folder"),
        (lambda runs: causepath_analyzer.read("t.jsonl", format="xml"), "no format xml; there are"),
        (lambda runs: runs.whatif(), "what is to change?"),
        (lambda runs: runs[:0].report(), "there is no run among these"),
        (lambda runs: runs.where(lambda _: False).whatif("CP101"), "there is no run among these"),
        (lambda runs: runs.whatif("scale nothing=2"), "names no operation"),
        (lambda runs: runs.whatif("scale tool:zzz=0.5"), "names nothing in these traces"),
    ],
)
def test_an_error_says_what_is_wrong(path: str, call: object, told: str) -> None:
    runs = causepath_analyzer.read(path)
    with pytest.raises(CausepathError, match=r"(?s).*") as error:
        call(runs)  # type: ignore[operator]
    assert told in str(error.value)


def test_no_runs_are_still_values(path: str) -> None:
    none = causepath_analyzer.read(path)[:0]
    told = none.to_dict()
    assert (len(none), list(none), told["traces"]) == (0, [], [])
    with pytest.raises(NoTracesError):
        none.report()


@pytest.mark.parametrize(
    "before",
    ["", "import causepath_analyzer.cli", "from causepath_analyzer.read import read as _"],
)
def test_it_is_called_the_same_whatever_was_imported_before(before: str, tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(LINE)
    code = f"""
{before}
import causepath_analyzer
runs = causepath_analyzer.read("t.jsonl")
assert type(runs) is causepath_analyzer.Runs
from causepath_analyzer import read
from causepath_analyzer.read import Options
print(len(read("t.jsonl")), sorted(dir(causepath_analyzer)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    names = ["CausepathError", "Run", "Runs", "__version__", "read"]
    assert (done.stdout, done.stderr) == (f"1 {names}\n", "")


def test_the_package_alone_imports_next_to_nothing() -> None:
    code = "import sys, causepath_analyzer; print({'msgspec', 'rich'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n"
    assert isinstance(causepath_analyzer.read(str(RECORDED)), Runs)
