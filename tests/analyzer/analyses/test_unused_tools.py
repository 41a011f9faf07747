"""CP303: tools that are declared always and used never; and what looks like it."""

from collections.abc import Sequence
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from causepath_analyzer.analyses.findings.rule import UNKNOWN, Finding
from causepath_analyzer.analyses.findings.rules import RULES
from causepath_analyzer.analyses.proof.declared_tools import names_same
from causepath_analyzer.analyses.proof.independence import Orders, elsewhere
from causepath_analyzer.analyses.run import explained
from causepath_analyzer.model import Declared, Trace
from causepath_analyzer.read.tree.build import build
from tests.support.drawn import MS, drawn

SECOND = 1000 * MS
OPUS = "model=claude-opus-4-8"
TOOLS = {"search": 2_000, "write": 6_000, "mail": 10_000}
"""With the bytes of their declarations."""


def agent(
    used: Sequence[str],
    tools: dict[str, int] = TOOLS,
    *,
    digests: bool = True,
    facts: str = OPUS,
    cached: int = 0,
    told: str = "",
    run: int = 0,
) -> Trace:
    """An agent that asks for one tool in each turn; prompts have 40,000 bytes and 10,000 tokens."""
    lines = [f"agent a |{'-' * (4 * len(used) + 4)}|"]
    given = ",".join(f"tools/tool/{name}:{size}" for name, size in tools.items())
    rest = 40_000 - sum(tools.values())
    for turn, name in enumerate([*used, ""]):
        at = " " * (4 * turn)
        blocks = f"blocks={given},q{turn}:{rest}>{'assistant/tool_use/u' if name else 'u'}{turn}"
        finish = "finish=tool_call" if name else "finish=stop"
        line = f"  llm c{turn} {at}|-| {facts} tokens=10000/9/{cached} {finish} "
        lines.append(line + (blocks if digests else ""))
        if name:
            lines.append(f"  tool {name}_{turn} {at}  |-| asked_by=c{turn} {told}")
    declared = tuple(Declared(name, 0 if digests else size) for name, size in tools.items())
    spans = []
    for span in drawn("\n".join(lines), unit_ns=SECOND, start_ns=run * 1000 * SECOND).spans:
        model, tool = span.model_call, span.tool_call
        if tool is not None:
            tool = replace(tool, name=span.name.rpartition("_")[0])
        if model is not None:
            model = replace(model, declared=declared)
        trace_id = f"{run:032x}"
        spans.append(replace(span, trace_id=trace_id, model_call=model, tool_call=tool))
    return build(spans)


def found(trace: Trace, *others: Trace) -> Sequence[Finding]:
    seen = elsewhere([trace, *others])
    return explained(trace, others=seen, rules=[RULES["CP303"]]).findings


SEARCHES = ["search"] * 9


def test_two_of_three_tools_are_never_used() -> None:
    (one,) = found(agent(SEARCHES))
    assert one.title == "declare 2 tools less, of 3"
    assert one.why.startswith(
        "All 10 calls of this agent in this run declared write and mail, and none asked for it. "
        "That is about 4,000 tokens of each prompt."
    )
    # 16,000 of 40,000 bytes are 4,000 of 10,000 tokens, ten times, at 5 dollars a million
    assert (one.saving.usd, one.saving.tokens) == (Decimal("0.2"), 40_000)
    assert (one.evidence, len(one.spans)) == ("likely", 10)


def test_what_is_cached_costs_a_tenth() -> None:
    (one,) = found(agent(SEARCHES, cached=10_000))
    assert (one.saving.usd, one.saving.tokens) == (Decimal("0.02"), 40_000)


def test_without_digests_there_are_bytes() -> None:
    (one,) = found(agent(SEARCHES, digests=False))
    assert "That is 16,000 bytes in each request. What" in one.why
    assert one.saving == UNKNOWN


@pytest.mark.parametrize(
    "trace",
    [
        pytest.param(agent(["search", "write", "mail"] * 3), id="all are used"),
        pytest.param(agent(["search"] * 8), id="nine calls"),
        pytest.param(agent(SEARCHES, {"search": 2_000, "mail": 700}), id="a short declaration"),
        pytest.param(
            agent(SEARCHES, {"search": 2_000, "mail": 3_000}, digests=False), id="a few bytes"
        ),
        pytest.param(
            agent(SEARCHES, {"search": 2_000, "web_search": 9_000}), id="the provider runs it"
        ),
        pytest.param(agent(SEARCHES, {"a__search": 2_000, "b.search": 9_000}), id="of a server"),
        pytest.param(agent(["look"] * 9), id="their spans have other names"),
        pytest.param(agent(SEARCHES, {}), id="nothing is declared"),
        pytest.param(
            agent(SEARCHES, {"search": 2_000, "mail": 1_000}, cached=750), id="it is cheap"
        ),
    ],
)
def test_look_alikes(trace: Trace) -> None:
    assert found(trace) == ()


def test_calls_of_tools_that_left_no_span_may_have_been_of_any() -> None:
    trace = agent(SEARCHES)
    spans = [span for span in trace.spans if span.name not in ("search_3", "search_4")]
    assert found(build(spans)) == ()
    told = [
        replace(span, model_call=replace(span.model_call, blocks=None, finish_reasons=()))
        if span.model_call
        else span
        for span in agent(SEARCHES, digests=False).spans
    ]
    assert found(build(told)) == ()


def test_a_call_that_does_not_declare_it_had_another_list() -> None:
    trace = agent(SEARCHES)
    spans = list(trace.spans)
    (at,) = [i for i, span in enumerate(spans) if span.name == "c4"]
    call = spans[at].model_call
    assert call is not None
    spans[at] = replace(spans[at], model_call=replace(call, declared=(Declared("search"),)))
    assert found(build(spans)) == ()


def test_other_runs_count() -> None:
    short = [agent(["search"], run=n) for n in range(6)]
    (one,) = found(*short)
    assert "All 12 calls of this agent in 6 runs declared write and mail, and none" in one.why
    assert one.saving.tokens == 8_000  # of this run
    (one,) = found(*short, agent(["write"], run=6))
    assert " declared mail, and none" in one.why
    assert found(*short, agent(["write", "mail"], run=6)) == ()


def test_a_run_that_was_cut_off_says_nothing() -> None:
    short = [agent(["search"], run=n) for n in range(6)]
    asking = agent(["search", "mail"], run=6)
    cut = build([span for span in asking.spans if span.name not in ("mail_1", "c2")])
    (one,) = found(*short, cut)
    assert "All 12 calls of this agent in 6 runs" in one.why
    unseen = build([span for span in asking.spans if span.name != "mail_1"])
    assert found(*short, unseen) == ()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("search", "search", True),
        ("mcp__web__search", "search", True),
        ("search", "web.Search", True),
        ("research", "search", False),
        ("search", "search_web", False),
        ("search", "", False),
    ],
)
def test_names_of_one_tool(one: str, other: str, same: bool) -> None:
    assert names_same(one, other) is same
    assert names_same(other, one) is same


USED = st.lists(st.lists(st.sampled_from(list(TOOLS)), max_size=3), min_size=2, max_size=5)


@given(USED, st.randoms())
def test_any_split_of_the_runs_shows_the_same(runs: list[list[str]], random: Random) -> None:
    traces = [agent(used, run=n) for n, used in enumerate(runs)]
    parts = [Orders() for _ in range(3)]
    for trace in traces:
        random.choice(parts).add(trace)
    joined = Orders()
    for part in parts:
        joined.join(part)
    assert joined.elsewhere().offered == elsewhere(traces).offered
