"""``--prices``: what a file of prices says, and what is said of a wrong one."""

import json
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from causepath_analyzer.analyses.path.cost import OwnPrices, cost_of
from causepath_analyzer.cli import invoke
from causepath_analyzer.cli.prices import own_prices
from causepath_analyzer.errors import ConfigurationError
from causepath_analyzer.jobs.share import Task
from causepath_analyzer.model import ModelCall, Terms, Tokens
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
    ],
)
def test_a_wrong_file_is_told_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        own_prices(written(tmp_path, text))
    assert told in str(caught.value)


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
