"""Money that several findings claim: saved once, and never more than was paid."""

import json
from decimal import Decimal
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.claims import Together, saved_together
from causepath_analyzer.analyses.findings.prices import cheaper, spent
from causepath_analyzer.analyses.findings.prompt_parts import Part, saved_without
from causepath_analyzer.analyses.findings.rule import UNKNOWN, Claim, Saving
from causepath_analyzer.analyses.path.cost import cost_usd
from causepath_analyzer.analyses.run import explained
from causepath_analyzer.analyses.run_view import run_view
from causepath_analyzer.report.json import trace_json
from causepath_analyzer.report.report_markdown import run_markdown
from causepath_analyzer.report.run_text import run_text
from causepath_analyzer.report.waterfall import BLOCKS
from tests.analyzer.analyses.test_carried_results import agent
from tests.support.drawn import MS, drawn

OPUS = "model=claude-opus-4-8"  # $5 and $25 a million, $0.50 from a cache, $6.25 into one
TRACE = drawn(
    f"""
    agent run   |--------------------|
      llm one    |---|                 {OPUS} tokens=10000/100
      llm two        |---|             {OPUS} tokens=20000/100/8000/2000
      llm three          |---|         {OPUS} tokens=30000/100
      llm four               |---|     model=nobody-knows-it tokens=30000/100
    """,
    unit_ns=1000 * MS,
)
ONE, TWO, THREE = 1, 2, 3
FACTS = Facts(TRACE)
COST = FACTS.cost.usd or Decimal(0)


def cut(*parts: tuple[int, int, int]) -> Saving:
    return saved_without(FACTS, [Part(*part) for part in parts])


def read(call: int, read: int, written: int = 0) -> Saving:
    told = TRACE.spans[call].model_call
    assert told is not None
    assert told.tokens is not None
    tokens = replace(told.tokens, cache_read=read, cache_write=written)
    return cheaper(FACTS, {call: tokens})


def asked(call: int, model: str) -> Saving:
    """Another model is asked, whose price the table knows."""
    told = TRACE.spans[call].model_call
    assert told is not None
    then = replace(told, model=model)
    before, after = (cost_usd([one], [TRACE.spans[call].start_ns]) for one in (told, then))
    assert before is not None
    assert after is not None
    return Saving(usd=before - after, claims=(Claim("model", before - after, {call: then}),))


@pytest.mark.parametrize(
    ("savings", "usd", "pairs"),
    [
        pytest.param([], None, (), id="nothing"),
        pytest.param([UNKNOWN, Saving(ns=5)], None, (), id="nothing that is known"),
        pytest.param([cut((ONE, 0, 4_000))], "0.02", (), id="one"),
        pytest.param([cut((ONE, 0, 4_000)), cut((THREE, 0, 4_000))], "0.04", (), id="two calls"),
        pytest.param(
            [cut((ONE, 0, 4_000)), cut((ONE, 4_000, 9_000))], "0.045", (), id="two parts of one"
        ),
        pytest.param(
            # 4,000 are not sent, and 6,000 read: 0.02 + 0.027; alone 0.02 + 0.045
            [cut((ONE, 0, 4_000)), read(ONE, 10_000)],
            "0.047",
            ((0, 1),),
            id="a part of what is read from a cache",
        ),
        pytest.param(
            [spent(FACTS, [ONE]), read(ONE, 10_000), cut((ONE, 0, 4_000))],
            "0.0525",
            ((0, 1), (0, 2), (1, 2)),
            id="a call that is not made costs nothing else",
        ),
        pytest.param(
            [spent(FACTS, [ONE, TWO]), spent(FACTS, [TWO, THREE])],
            "0.274",  # all three once
            ((0, 1),),
            id="a call that two leave out",
        ),
        pytest.param(
            [read(ONE, 10_000), read(ONE, 5_000)], "0.045", ((0, 1),), id="the better of two caches"
        ),
        pytest.param(
            [Saving(usd=Decimal("0.01")), Saving(usd=Decimal("0.03"))],
            "0.03",
            (),
            id="nobody knows where",
        ),
        pytest.param(
            [Saving(usd=Decimal(7)), cut((ONE, 0, 4_000))],
            str(COST),
            (),
            id="no more than was paid",
        ),
    ],
)
def test_together(
    savings: list[Saving], usd: str | None, pairs: tuple[tuple[int, int], ...]
) -> None:
    assert saved_together(FACTS, savings) == Together(usd and Decimal(usd), pairs)


CALL = st.sampled_from([ONE, TWO, THREE])
SAVINGS: list[st.SearchStrategy[Saving]] = [
    st.builds(lambda calls: spent(FACTS, calls), st.lists(CALL, min_size=1, unique=True)),
    st.builds(
        lambda call, start, size: cut((call, start, start + size)),
        CALL,
        st.integers(0, 5_000),
        st.integers(1, 5_000),
    ),
    st.builds(read, CALL, st.integers(0, 5_000), st.integers(0, 5_000)),
    st.builds(asked, CALL, st.sampled_from(["claude-haiku-4-5", "gpt-5-mini"])),
    st.builds(lambda cents: Saving(usd=Decimal(cents) / 100), st.integers(-1, 5)),
    st.just(UNKNOWN),
]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(SAVINGS), max_size=5))
def test_no_dollar_is_saved_twice(savings: list[Saving]) -> None:
    before: dict[tuple[int, ...], Decimal] = {(): Decimal(0)}
    for size in range(1, len(savings) + 1):
        for chosen in combinations(range(len(savings)), size):
            together = saved_together(FACTS, [savings[n] for n in chosen]).usd or Decimal(0)
            alone = [max(Decimal(0), savings[n].usd or Decimal(0)) for n in chosen]
            assert max(alone) <= together <= sum(alone)
            assert together <= COST
            assert all(before[tuple(n for n in chosen if n != left)] <= together for left in chosen)
            before[chosen] = together


# -- in reports

MANUAL = drawn(agent((10_000, *[100] * 6), digests=True), unit_ns=1000 * MS)
"""A result that six later calls carry, ..."""
UNCACHED = replace(
    MANUAL,
    spans=tuple(
        replace(
            span,
            scope="com.anthropic.sdk.python",
            model_call=span.model_call and replace(span.model_call, provider="anthropic"),
        )
        for span in MANUAL.spans
    ),
)
"""... in prompts that nobody caches."""


def test_reports_say_what_is_saved_together() -> None:
    run = explained(UNCACHED, with_cost=True)
    told = {one.code: (one.saving.usd, one.overlaps) for one in run.findings if one.saving.usd}
    assert told == {
        "CP302": (Decimal("0.3"), ("CP203",)),
        "CP203": (Decimal("0.2935375"), ("CP302",)),
    }
    assert run.together_usd == Decimal("0.3747517857")
    view = run_view(run)
    text = [line.plain.split() for line in run_text(view, BLOCKS, ())]
    line = "all together, in money, not $0.594 $0.375 90% of the cost"
    assert text[text.index(["Trace", "health:", *text[-2][2:]]) - 2] == line.split()
    assert ["page,", "c1;", "overlaps", "CP203"] in text
    markdown = run_markdown(view, ()).splitlines()
    assert "**All together** save $0.375 (90% of the cost), not $0.594." in markdown
    assert "- **Overlaps:** CP203" in markdown
    told_json = json.loads(trace_json(view))
    assert told_json["together_usd"] == "0.3747517857"
    assert [one["overlaps"] for one in told_json["findings"]] == [["CP203"], ["CP302"], [], []]


def test_one_finding_is_no_sum() -> None:
    run = explained(MANUAL, with_cost=True)
    (usd,) = {one.saving.usd for one in run.findings if one.saving.usd}
    assert run.together_usd == usd
    assert not any("in money" in line.plain for line in run_text(run_view(run), BLOCKS, ()))


def test_findings_about_the_same_calls_say_so() -> None:
    calls = [
        f"  tool get_doc {' ' * 6 * n}|---| id=t{n} given=x{n % 3} got=words_on_x{n % 3} read_only"
        for n in range(24)
    ]
    trace = drawn("\n".join([f"agent run    |{'-' * 148}|", *calls]), unit_ns=100 * MS)
    found = {one.code: one.overlaps for one in explained(trace, with_cost=True).findings}
    assert found == {
        "CP102": ("CP201", "CP605"),  # run side by side ...
        "CP201": ("CP102", "CP605"),  # ... call once ...
        "CP605": ("CP102", "CP201"),  # ... one batch
        "CP601": (),
    }
