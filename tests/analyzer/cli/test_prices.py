"""``--prices``: what a file of prices says, and what is said of a wrong one."""

import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

import causepath_analyzer
from causepath_analyzer.analyses.path.cost import OwnPrices, cost_of, table_name
from causepath_analyzer.cli import invoke
from causepath_analyzer.errors import ConfigurationError
from causepath_analyzer.jobs.share import Task
from causepath_analyzer.model import ModelCall, Terms, Tokens
from causepath_analyzer.prices_file import own_prices
from tests.analyzer.read.test_counts import otlp, step

AT = 1_795_000_000_000_000_000
EVERYTHING = """
# dollars
[models.mine]
input = 2
output = 10
cache_read = 0.2
cache_write = 2.5
cache_write_1h = 4
reasoning = 20
search = 0.01

[models."org/other"]
input = 0
output = 1
"""


def written(folder: Path, text: str) -> str:
    file = folder / "prices.toml"
    file.write_text(text, encoding="utf-8")
    return str(file)


@pytest.mark.parametrize(
    ("call", "usd"),
    [
        (ModelCall("mine", None, Tokens(1_000_000)), "2"),
        (ModelCall("mine", "openai", Tokens(10, 1_000_000, reasoning=500_000)), "15.00002"),
        (ModelCall("mine", None, Tokens(1_000_000, 0, 400_000, 600_000, 0, 100_000)), "1.73"),
        (ModelCall("mine", None, Tokens(1_000_000), searches=3), "2.03"),
        (ModelCall("mine", None, Tokens(1_000_000), terms=Terms("flex")), "2"),
        (ModelCall("org/other", None, Tokens(1_000_000)), "0"),  # that is its price
        (ModelCall("org/other", None, Tokens(5, 2_000_000, reasoning=1_000_000)), "2"),
    ],
)
def test_own_prices(tmp_path: Path, call: ModelCall, usd: str) -> None:
    found = cost_of([call], [AT], own_prices(written(tmp_path, EVERYTHING)))
    assert (found.usd, found.basis, found.own) == (Decimal(usd), "exact", "prices.toml")


def test_own_prices_go_over_those_of_the_table(tmp_path: Path) -> None:
    own = own_prices(written(tmp_path, '[models."claude-opus-5"]\ninput = 1\noutput = 1\n'))
    models = "claude-opus-5", "claude-opus-4-8"
    calls = [ModelCall(model, "anthropic", Tokens(1_000_000)) for model in models]
    assert cost_of(calls, [AT, AT], own).usd == 6
    assert cost_of(calls, [AT, AT], OwnPrices()).usd == 10


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "prices.toml: expected nothing but tables like [models."),
        ("models = 3", "prices.toml:1: expected nothing but tables like [models."),
        ("\n[model.m]\ninput = 1", "prices.toml:2: expected nothing but tables like [models."),
        ("\n[models.m]\ninput = 1", "prices.toml:2: m needs input and output"),
        ("[models]\nm = 2", "prices.toml:2: m needs input and output"),
        ("[models.m]\ninput = 1\noutput = '2'", "prices.toml:3: output = '2': expected US dollars"),
        ("[models.m]\ninput = -1\noutput = 2", "prices.toml:2: input = -1: expected US dollars"),
        ("[models.m]\ninput = true\noutput = 2", "prices.toml:2: input = True: expected US"),
        ("[models.m]\ninput = nan\noutput = 2", "prices.toml:2: input = "),
        ("[models.m]\ninput = inf\noutput = 2", "prices.toml:2: input = "),
        ("[models.m]\ninput = 1\noutput = 2\nread = 3", "prices.toml:4: 'read' is no price; there"),
        ("[models.m]\ninput = 1\noutput = ", "prices.toml:3: not TOML"),
        ("[models.m]\ninput = 1\ninput = 2\noutput = 3", "prices.toml:3: not TOML"),
        ("[models.m]\ninput = 1e400\noutput = 2", "prices.toml:2: input = 1E+400: expected US"),
        ("models = {m = {input = 1}}", "prices.toml:1: m needs input and output"),
        ("[models.m]\ncurrency = 'EUR'\ninput = 1\noutput = 2", "prices.toml:2: 'currency' is no"),
        (
            "[models.'org/m']\ninput = 1\noutput = 2\n[models.m]\ninput = -1\noutput = 2",
            "prices.toml:5: input = -1: expected US dollars",
        ),
        ("[models.'a-m'.x]\n[models]\nm = 2", "prices.toml:1: a-m needs input and output"),
        (
            "\n[models.gpt-4.1]\ninput = 1\noutput = 2",
            'million tokens; a name with a dot stands in quotes: [models."gpt-4.1"]',
        ),
        ("[models.m.x]\ninput = 1\n[models.m.y]\ninput = 2", "million tokens"),
        ("[models.m1]\ninput = 1\noutput = 1\n[models.m]\ninput = 1", "prices.toml:4: m needs"),
    ],
)
def test_a_wrong_file_is_told_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        own_prices(written(tmp_path, text))
    assert told in str(caught.value)


def test_a_file_in_another_encoding_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_bytes("# prices\n[models.acm\xe9]\ninput = 1\n".encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"prices\.toml:2: not UTF-8 text"):
        own_prices(str(file))


def test_a_file_of_another_editor_is_understood(tmp_path: Path) -> None:
    text = "\ufeff[models.m]\r\ninput = 1\r\noutput = 0.0000001\r\n"
    row = own_prices(written(tmp_path, text)).models["m"]
    assert row[:3] == (0, Decimal("0.000001"), Decimal("1E-13"))


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ConfigurationError, match=r"gone\.toml: cannot be read"):
        own_prices("gone.toml")


USED = {"gen_ai.usage.input_tokens": 1_000_000, "gen_ai.usage.output_tokens": 10}
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "mine", **USED}


@pytest.mark.parametrize("arguments", ["", "list", "--jobs 2"])
def test_commands_take_own_prices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: str
) -> None:
    (tmp_path / "one.json").write_bytes(otlp(step("chat mine", "0-9", CHAT)))
    prices = written(tmp_path, EVERYTHING)
    status = invoke([*arguments.split(), str(tmp_path / "one.json"), "--json", "--prices", prices])
    told = json.loads(capsys.readouterr().out)
    costs = [found["cost_usd"] for found in told.get("traces", told.get("runs", []))]
    assert (status, [Decimal(cost) for cost in costs]) == (0, [Decimal("2.0001")])


def test_a_report_names_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "one.json"
    file.write_bytes(otlp(step("chat mine", "0-9", CHAT)))
    assert invoke([str(file), "--prices", written(tmp_path, EVERYTHING)]) == 0
    assert ", and prices.toml" in capsys.readouterr().out


def test_budgets_take_own_prices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "one.json"
    file.write_bytes(otlp(step("chat mine", "0-9", CHAT)))
    prices = written(tmp_path, EVERYTHING)
    for most, status in (("cost=$3", 0), ("cost=$1", 1)):
        assert invoke(["check", str(file), "--max", most, "--prices", prices]) == status
        assert "cost" in capsys.readouterr().out


def test_prices_reach_other_processes_unchanged(tmp_path: Path) -> None:
    task = Task(prices=own_prices(written(tmp_path, EVERYTHING)))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(task), type=Task) == task


def mine(folder: Path) -> str:
    file = folder / "one.json"
    file.write_bytes(otlp(step("run", "0-9", {}, step("chat mine", "0-9", CHAT))))
    return str(file)


def test_predictions_take_own_prices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # where the outcome is remembered
    file, prices = mine(tmp_path), written(tmp_path, EVERYTHING)
    saved = str(tmp_path / "saved.json")
    apply = ["--apply", "scale llm=0.5", "--save", saved]
    assert invoke(["whatif", file, *apply, "--json", "--prices", prices]) == 0
    told = json.loads(capsys.readouterr().out)["prediction"]
    costs = told["cost_now_usd"], told["cost_then_usd"]
    assert tuple(map(Decimal, costs)) == (Decimal("2.0001"), Decimal("2.0001"))
    changed = tmp_path / "after.json"
    changed.write_bytes(otlp(step("run", "10-15", {}, step("chat mine", "10-15", CHAT))))
    for own, cost in ((["--prices", prices], "2.0001"), ([], None)):
        invoke(["verify", saved, str(changed), "--json", *own])
        found = json.loads(capsys.readouterr().out)["cost_usd"]
        assert (found and Decimal(found)) == (cost and Decimal(cost))
        invoke(["verify", saved, str(changed), *own])
        row = next(one for one in capsys.readouterr().out.splitlines() if "cost per run" in one)
        assert row.split()[3:] == ["$2.00", "$2.00", "$2.00" if cost else "unknown"]


def test_other_models_take_own_prices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, prices = mine(tmp_path), written(tmp_path, EVERYTHING)
    again = ["--apply", "remove llm", "--json", "--prices", prices]
    assert invoke(["whatif", file, *again]) == 0
    told = json.loads(capsys.readouterr().out)["prediction"]
    costs = told["cost_now_usd"], told["cost_then_usd"]
    assert tuple(map(Decimal, costs)) == (Decimal("2.0001"), Decimal(0))


def test_exports_take_own_prices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prices = written(tmp_path, EVERYTHING)
    assert invoke(["export", mine(tmp_path), "--to", "otlp", "--prices", prices]) == 0
    assert "2.0001" in capsys.readouterr().out


def test_python_takes_own_prices(tmp_path: Path) -> None:
    runs = causepath_analyzer.read(mine(tmp_path), prices=written(tmp_path, EVERYTHING))
    usd = Decimal("2.0001")
    assert [runs[0].cost_usd, runs[:1][0].cost_usd] == [usd, usd]
    assert runs.where(lambda _: True)[0].cost_usd == usd
    assert runs.to_dict()["traces"][0]["cost_usd"] == "2.0001"
    assert runs[0].whatif("scale llm=0.5").cost_then_usd == "2.0001000"
    assert "prices.toml" in runs.report()
    with pytest.raises(causepath_analyzer.CausepathError, match=r"prices\.toml:2: m needs"):
        causepath_analyzer.read(mine(tmp_path), prices=written(tmp_path, "\n[models.m]\ninput = 1"))


@pytest.mark.parametrize("cost", ["dear", "-1", "NaN", "1e3", "\u0661"])
def test_a_prediction_with_a_wrong_cost_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cost: str
) -> None:
    saved = tmp_path / "saved.json"
    file, prices = mine(tmp_path), written(tmp_path, EVERYTHING)
    apply = ["--apply", "scale llm=0.5", "--save", str(saved)]
    assert invoke(["whatif", file, *apply, "--prices", prices]) == 0
    capsys.readouterr()
    saved.write_text(saved.read_text().replace('"2.0001000"', json.dumps(cost)))
    assert invoke(["verify", str(saved), file]) == 4
    assert f"saved.json: no prediction of `causepath whatif --save`: {cost!r} is no cost" in (
        capsys.readouterr().err
    )


def test_a_mistake_in_the_prices_is_told_before_a_program_is_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prices = written(tmp_path, "[models.m]\ninput = 1")
    told = tmp_path / "ran"
    touch = [sys.executable, "-c", f"open({str(told)!r}, 'w')"]
    assert invoke(["run", "--prices", prices, "--", *touch]) == 2
    assert "prices.toml:1: m needs input and output" in capsys.readouterr().err
    assert not told.exists()


@pytest.mark.parametrize(
    ("facts", "lines"),
    [
        (
            {"gen_ai.usage.input_tokens": -5, "gen_ai.usage.output_tokens": 10},
            [
                "  tokens: at least 0 in, at least 10 out; cost unknown",
                "  1 model call has token counts that cannot be: not priced",
            ],
        ),
        (
            {**USED, "gen_ai.usage.cache_read.input_tokens": 5_000_000},
            ["  cost: exact, by TABLE"],  # as they are counted beside the input
        ),
        (
            {**USED, "gen_ai.usage.reasoning.output_tokens": 11},
            ["  1 model call has token counts that cannot be: not priced"],
        ),
        (
            {**USED, "gen_ai.usage.cost.amount": 99.5, "gen_ai.usage.cost.currency": "EUR\x1b[2J"},
            [
                "  cost: exact, by TABLE",
                "  the trace itself says costs in EUR\\x1b[2J: not compared",
            ],
        ),
        (
            {**USED, "gen_ai.usage.cost.amount": 99.5, "gen_ai.usage.cost.currency": "usd"},
            ["  the trace itself says $99.50 for calls priced here at $5.00"],
        ),
    ],
)
def test_bad_counts_and_other_currencies_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], facts: dict[str, Any], lines: list[str]
) -> None:
    served = {"gen_ai.request.model": "claude-opus-5", "gen_ai.provider.name": "anthropic"}
    call = step("chat", "0-9", {"gen_ai.operation.name": "chat", **served, **facts})
    (tmp_path / "one.json").write_bytes(otlp(step("run", "0-9", {}, call)))
    assert invoke([str(tmp_path / "one.json")]) == 0
    told = capsys.readouterr().out.replace(table_name(), "TABLE").splitlines()
    assert [line for line in lines if line not in told] == []


def test_a_price_that_is_missing_is_no_matter_of_quotes(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        own_prices(written(tmp_path, "[models.m]\ninput = 1\ncache_read = 1"))
    assert str(caught.value).endswith("million tokens")
