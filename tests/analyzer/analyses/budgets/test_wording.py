"""Budgets as they are written: what they mean, and what is said of those that mean nothing."""

from decimal import Decimal

import pytest

from causepath_analyzer.analyses.budgets.wording import (
    EVERYTHING,
    Allotment,
    Budget,
    Only,
    Relative,
    WordingError,
    wording,
)

S = 1_000_000_000


def budget(measure: str, limit: object, sign: str = "<", **more: object) -> Budget:
    return Budget(measure, limit, "here", sign, **more)  # type: ignore[arg-type]


def percentile(share: int | str) -> dict[str, object]:
    return {"aggregate": "percentile", "percentile": Decimal(share)}


def allotted(**parts: int | Decimal) -> tuple[Allotment, ...]:
    return tuple(Allotment(kind, Decimal(part) / 100) for kind, part in parts.items())


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("wall < 20s", budget("wall", 20 * S)),
        ("max wall<=20s", budget("wall", 20 * S, "<=")),
        ("each wall > 800ms", budget("wall", 800_000_000, ">")),
        ("p(95) wall < 2m", budget("wall", 120 * S, **percentile(95))),
        ("p95 wall < 2 m", budget("wall", 120 * S, **percentile(95))),
        ("perceived p(90) < 3s", budget("perceived", 3 * S, **percentile(90))),
        ("p(99.9) wall < 1h", budget("wall", 3600 * S, **percentile("99.9"))),
        ("median wall < 1s", budget("wall", S, **percentile(50))),
        ("mean cost < $0.25", budget("cost", Decimal("0.25"), aggregate="mean")),
        ("avg cost < 0.25 USD", budget("cost", Decimal("0.25"), aggregate="mean")),
        ("max tokens.input < 100k", budget("tokens.input", 100_000)),
        ("sum tokens.input < 1.5m", budget("tokens.input", 1_500_000, aggregate="sum")),
        ("share tool < 40%", budget("tool", Decimal("0.4"), aggregate="share")),
        ("count CP101 == 0", budget("CP101", 0, "==", aggregate="sum")),
        ("CP101 == 0", budget("CP101", 0, "==")),
        ("error_rate < 1%", budget("error_rate", Decimal("0.01"), aggregate="share")),
        (
            "cache_read_share > 60%",
            budget("cache_read_share", Decimal("0.6"), ">", aggregate="share"),
        ),
        (
            'p(95) first_token{agent="research"} < 2s',
            budget("first_token", 2 * S, only=Only(agent="research"), **percentile(95)),
        ),
        (
            "call.tool{tool=fetch*, service='web'} < 2s",
            budget("call.tool", 2 * S, only=Only(tool="fetch*", service="web")),
        ),
        (
            "p(50) wall < +10% and +200ms",
            budget("wall", Relative(Decimal("0.1"), 200_000_000), **percentile(50)),
        ),
        (
            "mean cost < -5% and +$0.01",
            budget("cost", Relative(Decimal("-0.05"), Decimal("0.01")), aggregate="mean"),
        ),
        ("share model < 60%", budget("model", Decimal("0.6"), aggregate="share")),
        (
            "wall < 20s: model 60%, tool 30%, buffer 10%",
            budget("wall", 20 * S, allotted=allotted(model=60, tool=30, buffer=10)),
        ),
        (
            "p(95) wall{agent=a} <= 20s:first_token=5%,generation = 50.5 %",
            budget(
                "wall",
                20 * S,
                "<=",
                only=Only(agent="a"),
                **percentile(95),
                allotted=allotted(first_token=5, generation=Decimal("50.5")),
            ),
        ),
    ],
)
def test_meanings(text: str, meant: Budget) -> None:
    assert wording(text, "here") == meant


@pytest.mark.parametrize(
    ("text", "column", "told"),
    [
        ("", 1, "expected what is measured: wall, "),
        ("wal < 5s", 1, "no budget is called 'wal'; did you mean wall?"),
        ("meen wall < 5s", 1, "no budget is called 'meen'; did you mean mean?"),
        ("p(95) wal < 5s", 7, "no budget is called 'wal'; did you mean wall?"),
        ("share tols < 5%", 7, "no budget is called 'tols'; did you mean tool?"),
        ("nonsense < 5s", 1, "there is wall, "),
        ("wall 5s", 6, "expected <, <=, >, >= or ==, and a limit"),
        ("wall < 5", 8, "'5' is not a limit for wall; write it like 5s, 800ms or 2m"),
        ("wall < $5", 8, "'$5' is not a limit for wall; write it like 5s"),
        (
            "mean cost < 5s",
            13,
            "'5s' is not a limit for cost; write it like $0.25, or like +10% and +$0.01",
        ),
        ("share tool < 40", 14, "'40' is not a limit for tool; write it like 40%"),
        ("share tool < 140%", 14, "'140%' is not a limit for tool"),
        ("tokens.input < 1.5", 16, "'1.5' is not a limit for tokens.input; write it like 40000"),
        ("p(0) wall < 5s", 1, "there is no p(0): a percentile is between 0 and 100"),
        ("p(100) wall < 5s", 1, "there is no p(100): a percentile is between 0 and 100"),
        ("min wall > 5s", 1, "there is no min: wall > 2s holds for each run"),
        ("mean error_rate < 1%", 1, "error_rate is a share of all runs: it has no aggregate"),
        ("wall < +10%", 8, "a limit by the baseline is for what the runs are like"),
        (
            "mean wall < +10%",
            13,
            "needs a floor, below which no difference matters: write it like +10% and +200ms",
        ),
        ("mean wall > +10% and +1s", 1, "a limit by the baseline is an upper one"),
        ("mean wall == 5s", 1, "== is for what is counted"),
        ("wall{agnt=a} < 5s", 6, "wall cannot be narrowed by 'agnt'; did you mean agent?"),
        ("wall{model=a} < 5s", 6, "wall cannot be narrowed by 'model'; there is agent, service"),
        ("call.tool{model=a} < 5s", 11, "call.tool is of no model"),
        ("wall{agent} < 5s", 6, 'expected a filter like {agent="research"}'),
        ("wall < 20s:", 12, 'expected a kind of work and its part, like "tool 30%"'),
        ("wall < 20s: modle 60%", 13, "nothing can be allotted to 'modle'; did you mean model?"),
        ("wall < 20s: tool 60%, llm 41%", 23, "the parts are more than 100% together"),
        ("wall < 20s: tool 60%, tool 1%", 23, "tool has a part already"),
        ("wall < 20s: model 60%, llm 3%", 24, "llm has a part already"),
        ("wall < 20s: llm 60%, model 3%", 22, "a part of model has a part already"),
        ("wall < 20s: tool 3% x", 21, "expected , or the end after a part"),
        ("wall < 2: tool 30%", 8, "'2' is not a limit for wall"),
        ("wall > 2s: tool 30%", 10, "only an upper limit of wall can be allotted"),
        ("cost < $1: tool 3%", 10, "only an upper limit of wall can be allotted"),
        ("mean wall < +1% and +1s: tool 3%", 24, "only an upper limit of wall can be allotted"),
        ("wall{agent=a < 5s", 14, "expected , or } after a filter"),
    ],
)
def test_what_is_said_of_no_budget(text: str, column: int, told: str) -> None:
    with pytest.raises(WordingError) as raised:
        wording(text, "here")
    assert (raised.value.column, told in str(raised.value)) == (column, True), str(raised.value)


@pytest.mark.parametrize(
    "text",
    ["p(95) wall", "mean cost", "share tool", "sum cost", "count CP101", "error_rate", "wall",
     'p(50) first_token{agent="a*", model="b"}'],
)  # fmt: skip
def test_a_budget_is_called_as_it_is_written(text: str) -> None:
    unit = {"mean cost": "$1", "sum cost": "$1", "share tool": "1%", "error_rate": "1%",
            "count CP101": "1"}.get(text, "1s")  # fmt: skip
    read = wording(f"{text} < {unit}", "here")
    assert read.name == text
    assert read.only == EVERYTHING or "{" in text
