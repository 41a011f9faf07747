"""What a summary tells is what anybody would work out from the spans, by other means.

The runs are plain: an agent calls a model, then tools, then the model again. So everything follows
from the numbers that they are made of, which are kept beside them and added up here by themselves.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import ceil
from random import Random

import pytest
from msgspec import Struct
from msgspec.structs import astuple

from causepath_analyzer.analyses.path.cost import OwnPrices
from causepath_analyzer.analyses.run import explained
from causepath_analyzer.analyses.summary import distribution
from causepath_analyzer.analyses.summary.brief import brief
from causepath_analyzer.analyses.summary.distribution import ERROR, Spread
from causepath_analyzer.analyses.summary.summary import Summary, summary
from causepath_analyzer.analyses.summary.sums import TIERS, Shape
from causepath_analyzer.model import Label, ModelCall, Span, Tokens, ToolCall, Trace
from causepath_analyzer.read.tree.build import build

MS = 1_000_000
SECOND = 1_000 * MS
START = 1_795_000_000 * SECOND
MODELS = ("m-large", "m-small")
RATES = {"m-large": (Decimal(5), Decimal(25)), "m-small": (Decimal("0.5"), Decimal(2))}
PRICES = OwnPrices(
    "mine.toml",
    {
        # Per call, input, output, cache reads, cache writes of two kinds, reasoning, searches.
        model: (Decimal(0), *(rate / 10**6 for rate in (a, b, a / 10, a, a, b)), Decimal(0))
        for model, (a, b) in RATES.items()
    },
)


class Call(Struct):
    """A call of a model, or of a tool without tokens."""

    name: str
    start_ns: int
    end_ns: int
    first_ns: int = 0
    tokens: Tokens = Tokens()
    failed: bool = False


class Made(Struct):
    """A run, and the numbers that it was made of."""

    trace: Trace
    agent: str
    tenant: str
    failed: bool
    start_ns: int
    end_ns: int
    models: list[Call]
    tools: list[list[Call]]

    @property
    def wall_ns(self) -> int:
        return self.end_ns - self.start_ns


def made(random: Random, number: int) -> Made:
    agent, model = random.choice("ab"), random.choice(MODELS)
    tenant = random.choice(["", "acme", "b"])
    failed = random.random() < 0.2
    start_ns = START + number * random.randrange(1, 90) * SECOND
    at = start_ns
    models, tools = [], []
    turns = random.randrange(1, 5)
    for turn in range(turns):
        first_ns = random.randrange(50, 900) * MS
        end_ns = at + first_ns + random.randrange(200, 3_000) * MS
        given = random.randrange(100, 9_000)
        tokens = Tokens(given, random.randrange(10, 500), random.randrange(given))
        models.append(Call(model, at, end_ns, first_ns, tokens))
        at = end_ns
        if turn < turns - 1:
            group = [
                Call(
                    random.choice(["search", "fetch"]),
                    at,
                    at + random.randrange(20, 900) * MS,
                    failed=random.random() < 0.1,
                )
                for _ in range(random.randrange(1, 4))
            ]
            tools.append(group)
            at = max(one.end_ns for one in group)
    spans = [
        Span(
            f"{number:032x}",
            "a",
            "",
            f"invoke_agent {agent}",
            start_ns,
            at,
            "agent",
            error="failed" if failed else None,
            labels=(Label("tenant.id", (tenant,)),) if tenant else (),
        )
    ]
    for turn, call in enumerate(models):
        asked = tools[turn] if turn < len(tools) else []
        spans.append(
            Span(
                f"{number:032x}",
                f"m{turn}",
                "a",
                f"chat {model}",
                call.start_ns,
                call.end_ns,
                "llm",
                model_call=ModelCall(
                    model=model,
                    tokens=call.tokens,
                    ttft_ns=call.first_ns,
                    streamed=True,
                    issued=tuple(f"{turn}.{n}" for n in range(len(asked))),
                ),
            )
        )
        spans += [
            Span(
                f"{number:032x}",
                f"t{turn}.{n}",
                "a",
                one.name,
                one.start_ns,
                one.end_ns,
                "tool",
                tool_call=ToolCall(one.name, f"{turn}.{n}"),
                error="timeout" if one.failed else None,
            )
            for n, one in enumerate(asked)
        ]
    return Made(build(spans), agent, tenant, failed, start_ns, at, models, tools)


def ranked(values: Sequence[int]) -> tuple[int, ...]:
    ordered = sorted(values)
    return tuple(ordered[max(0, ceil(len(ordered) * p / 100) - 1)] for p in (50, 95, 99))


def spread(values: Sequence[int]) -> Spread:
    return Spread(*ranked(values), sum(values) // len(values))


def usd(calls: Sequence[Call]) -> Decimal:
    found = Decimal(0)
    for call in calls:
        given, answered = RATES[call.name]
        read = call.tokens.cache_read
        found += (call.tokens.input - read) * given + read * given / 10
        found += call.tokens.output * answered
    return found / 10**6


def tiers(waits_ns: Sequence[int]) -> tuple[int, ...]:
    found: Counter[str] = Counter()
    for wait_ns in waits_ns:
        found[next(n for n, below in TIERS.items() if below is None or wait_ns < below)] += 1
    return tuple(found[name] for name in TIERS)


def told_of(runs: Sequence[Made]) -> Summary:
    return summary(
        (
            brief(explained(run.trace, with_cost=True, prices=PRICES), PRICES, True, "tenant.id")
            for run in runs
        ),
        Shape(group_by="tenant.id"),
    )


@pytest.mark.parametrize("seed", range(4))
def test_everything_is_what_the_spans_say(seed: int) -> None:
    random = Random(seed)
    runs = [made(random, number) for number in range(40)]
    found = told_of(runs)
    walls = [run.wall_ns for run in runs]
    waits = [run.models[-1].start_ns + run.models[-1].first_ns - run.start_ns for run in runs]
    calls = [call for run in runs for call in run.models]
    assert (found.traces, found.failed) == (40, sum(run.failed for run in runs))
    assert (found.wall_ns, found.total_wall_ns) == (spread(walls), sum(walls))
    assert found.cost_usd == usd(calls)
    assert found.whole is not None
    assert (found.whole.perceived_ns, found.whole.tiers) == (spread(waits), tiers(waits))
    assert sum(step.runs for step in found.histogram) == 40
    for step in found.histogram:
        end_ns = step.end_ns or 1 << 80
        assert step.runs == sum(step.start_ns <= wall < end_ns for wall in walls)
    assert [(one.percent, one.wall_ns) for one in found.examples] == [
        (percent, wall) for percent, wall in zip((50, 95, 99), ranked(walls), strict=True)
    ]
    by_id = {run.trace.trace_id: run.wall_ns for run in runs}
    assert all(by_id[one.trace_id] == one.wall_ns for one in (*found.examples, *found.slowest))
    assert [one.wall_ns for one in found.slowest] == sorted(walls)[::-1][:5]
    _models_are_right(found, runs)
    _calls_are_right(found, runs)
    _path_is_right(found, runs)
    _groups_are_right(found, runs)


def _models_are_right(found: Summary, runs: Sequence[Made]) -> None:
    by_model: Mapping[str, list[Call]] = defaultdict(list)
    for run in runs:
        for call in run.models:
            by_model[call.name].append(call)
    every = sum(c.tokens.input + c.tokens.output for calls in by_model.values() for c in calls)
    assert {one.name for one in found.models} == by_model.keys()
    for one in found.models:
        calls = by_model[one.name]
        given = sum(call.tokens.input for call in calls)
        assert one.calls == len(calls)
        assert one.first_token_ns == spread([call.first_ns for call in calls])
        rates = [
            call.tokens.output * 1_000 * SECOND // (call.end_ns - call.start_ns - call.first_ns)
            for call in calls
        ]
        assert one.rate == spread(rates)
        assert one.cost_usd == usd(calls)
        assert one.cache_share == sum(call.tokens.cache_read for call in calls) / given
        assert one.share == sum(c.tokens.input + c.tokens.output for c in calls) / every


def _calls_are_right(found: Summary, runs: Sequence[Made]) -> None:
    by_name: Mapping[str, list[Call]] = defaultdict(list)
    for run in runs:
        for call in (*run.models, *(one for group in run.tools for one in group)):
            by_name[call.name].append(call)
    assert {one.name for one in found.operations} == by_name.keys()
    for one in found.operations:
        lasted = [call.end_ns - call.start_ns for call in by_name[one.name]]
        assert (one.calls, one.total_ns, one.duration_ns) == (
            len(lasted),
            sum(lasted),
            spread(lasted),
        )
        assert one.failed == sum(call.failed for call in by_name[one.name])


def _path_is_right(found: Summary, runs: Sequence[Made]) -> None:
    spent = {row.key: row.wall_ns for row in found.rows if row.by == "kind"}
    calls = [call for run in runs for call in run.models]
    groups = [group for run in runs for group in run.tools]
    assert spent == {
        "first_token": sum(call.first_ns for call in calls),
        "generation": sum(call.end_ns - call.start_ns - call.first_ns for call in calls),
        "tool": sum(max(o.end_ns for o in group) - group[0].start_ns for group in groups),
    }
    assert found.kind_sums["tool"] == sum(o.end_ns - o.start_ns for g in groups for o in g)
    several = [group for group in groups if len(group) > 1]
    beside = found.side_by_side
    assert beside is not None
    longest_ns = sum(max(one.end_ns for one in group) - group[0].start_ns for group in several)
    assert (beside.replies, beside.busy_ns, beside.longest_ns) == (
        len(several),
        longest_ns,
        longest_ns,
    )
    assert beside.sum_ns == sum(one.end_ns - one.start_ns for g in several for one in g)


def _groups_are_right(found: Summary, runs: Sequence[Made]) -> None:
    by_tenant: Mapping[str, list[Made]] = defaultdict(list)
    for run in runs:
        by_tenant[run.tenant].append(run)
    assert {one.name: one.runs for one in found.groups} == {
        name: len(some) for name, some in by_tenant.items()
    }
    for one in found.groups:
        some = by_tenant[one.name]
        assert one.wall_ns == spread([run.wall_ns for run in some])
        assert one.failed == sum(run.failed for run in some)
        assert one.cost_usd == usd([call for run in some for call in run.models])
    stretches = found.periods
    assert sum(one.runs for one in stretches) == len(runs)
    for stretch in stretches:
        inside = [run for run in runs if stretch.start_ns <= run.start_ns < stretch.end_ns]
        calls = [call for run in inside for call in run.models]
        given = sum(call.tokens.input for call in calls)
        assert stretch.runs == len(inside)
        assert stretch.cost_usd == usd(calls)
        assert stretch.cache_share == sum(call.tokens.cache_read for call in calls) / given


def test_of_many_values_percentiles_are_as_close_as_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More calls than are kept one by one, of fewer runs than that: the summary says so."""
    monkeypatch.setattr(distribution, "MOST_EXACT", 50)
    random = Random(7)
    runs = [made(random, number) for number in range(45)]
    found = told_of(runs)
    assert not found.is_exact
    calls = [call for run in runs for call in run.models]
    for one in found.models:
        values = [call.first_ns for call in calls if call.name == one.name]
        exact = spread(values)
        assert one.first_token_ns.mean == exact.mean
        for told, right in zip(astuple(one.first_token_ns), astuple(exact), strict=True):
            assert abs(told - right) <= right * ERROR + 1
    assert found.wall_ns == spread([run.wall_ns for run in runs])
