"""CP302: results of tools that later calls carry, by digests and by counts; and look-alikes."""

from collections.abc import Sequence
from decimal import Decimal

import pytest
from msgspec.structs import replace

from causepath_analyzer.analyses.findings.rule import Finding
from causepath_analyzer.model import Content, Span, Trace
from causepath_analyzer.read.tree.build import build
from tests.support.drawn import MS, drawn, found_in

SECOND = 1000 * MS
OPUS = "model=claude-opus-4-8"
BY_DIGESTS, BY_COUNTS = True, False


def agent(
    results: Sequence[int],
    *,
    digests: bool,
    cached: bool = False,
    model: str = OPUS,
    cut_at: int | None = None,
    needed_by: int | None = None,
    name: str = "page",
) -> str:
    """An agent whose tools return so many tokens each, four bytes to a token, one in each turn.

    ``cut_at`` is the turn in which all of the conversation but its beginning is left out, and
    ``needed_by`` the one whose tool is given something of the first result.
    """
    lines = [f"agent a |{'-' * (4 * len(results) + 6)}|"]
    tokens = [1_000]
    previous, blocks = 0, ["system/text/s:2000", "q:2000"]
    for turn in range(len(results) + 1):
        at = " " * (4 * turn)
        given = f"blocks={','.join(blocks)}>u{turn}:200"
        if turn:
            back = f"user/tool_result/r{turn - 1}:{4 * results[turn - 1]}"
            tokens.append(tokens[-1] + 50 + results[turn - 1])
            given = f"blocks={previous}@c{turn - 1}+{back}>u{turn}:200"
            previous += 2
        else:
            previous = 3
        if turn == cut_at:
            tokens[-1] = 1_000
            given, previous = f"blocks=2@c{turn - 1}+short:0>u{turn}:200", 4
        kept = min(tokens[-2:]) if turn and cached else 0
        counts = f"{tokens[-1]}/50/{kept}/{tokens[-1] - kept if cached else 0}"
        got = f"results=t{turn - 1}" if turn else ""
        known = given if digests else ""
        lines.append(f"  llm c{turn} {at}|-| {model} tokens={counts} {got} {known}")
        if turn < len(results):
            facts = f"asked_by=c{turn} got=r{turn}"
            facts += f" carries=t{0}" if turn == needed_by else ""
            lines.append(f"  tool t{turn} {at}  |-| {facts}")
    return "\n".join(lines).replace("tool t0 ", f"tool {name} ").replace("t0", name)


def found(drawing: str) -> list[Finding]:
    return found_in(drawn(drawing, unit_ns=SECOND), "CP302")


PAGE = (10_000, *[100] * 6)
"""A page that six later calls carry; the first to get it is the second of eight."""


@pytest.mark.parametrize("digests", [BY_DIGESTS, BY_COUNTS])
@pytest.mark.parametrize(
    ("cached", "usd", "told"),
    [
        # 60,000 tokens at 5 dollars a million, or a tenth of that
        (False, Decimal("0.3"), "60,000 tokens, 0 of them from a cache ($0.3000, 72% of"),
        (True, Decimal("0.03"), "60,000 tokens, 60,000 of them from a cache ($0.0300, 25% of"),
    ],
)
def test_a_result_is_carried(digests: bool, cached: bool, usd: Decimal, told: str) -> None:
    (one,) = found(agent(PAGE, digests=digests, cached=cached))
    assert one.title == "cut the result of page (carried 6 times)"
    assert (one.saving.usd, one.saving.tokens, one.saving.ns) == (usd, 60_000, None)
    assert one.evidence == ("proved" if digests else "likely")
    assert one.at_most
    assert f", 10,000 tokens each time. These are {told} the cost of the run). How" in one.why


@pytest.mark.parametrize("digests", [BY_DIGESTS, BY_COUNTS])
@pytest.mark.parametrize(
    "drawing",
    [
        pytest.param({"results": (900, *[100] * 6)}, id="a small result"),
        pytest.param({"results": (*[100] * 6, 10_000)}, id="it came last"),
        pytest.param({"results": (*[100] * 2, 10_000, *[100] * 4)}, id="few later calls"),
        pytest.param({"results": PAGE, "cut_at": 3}, id="left out later"),
        pytest.param({"results": PAGE, "needed_by": 5}, id="its words are asked for near the end"),
        pytest.param(
            {"results": (2_000, 40_000, *[100] * 5), "cut_at": 3}, id="all of it is left out soon"
        ),
    ],
)
def test_look_alikes(digests: bool, drawing: dict[str, object]) -> None:
    assert found(agent(digests=digests, **drawing)) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("digests", [BY_DIGESTS, BY_COUNTS])
def test_words_asked_for_early_do_not_need_it_late(digests: bool) -> None:
    assert len(found(agent((10_000, *[100] * 12), digests=digests, needed_by=2))) == 1


TAKEN = (
    ("the_page_says_door-4711_and_more", '{"door":"door-4711"}', False),
    ("the_page_says_Aveiro_and_more", '{"text":"on_to_Aveiro"}', False),
    # They look like it:
    ("the_page_says_door-4711_and_more", '{"door":"door-47"}', True),
    ("the_page_says_open_and_more", '{"what":"open"}', True),
    ("the_page_says_Lisbon_and_more", '{"city":"Lisbon"}', True),  # it was asked for before
)


@pytest.mark.parametrize(("page", "given", "is_found"), TAKEN)
def test_recorded_arguments_show_what_a_late_call_takes(
    page: str, given: str, is_found: bool
) -> None:
    trace = drawn(agent(PAGE, digests=BY_DIGESTS), unit_ns=SECOND)
    page, given = page.replace("_", " "), given.replace("_", " ")

    def told(n: int, span: Span) -> Span:
        tool = span.tool_call
        if tool is None or tool.result is None:
            return span
        text = page if span.name == "page" else None
        asked = given if span.name == "t5" else '{"city":"Lisbon"}' if span.name == "page" else ""
        result = Content(tool.result.digest, tool.result.size, text)
        return replace(
            span, tool_call=replace(tool, result=result, arguments=Content(n, len(asked), asked))
        )

    spans = [told(n, span) for n, span in enumerate(trace.spans)]
    assert len(found_in(replace(trace, spans=tuple(spans)), "CP302")) == is_found
    searched = [replace(span, flow="searched") for span in spans]  # whoever wrote it has looked
    assert len(found_in(replace(trace, spans=tuple(searched)), "CP302")) == 1


def test_it_may_be_little_of_what_the_run_costs() -> None:
    """A page that is read from a cache, in a run that pays for something else."""
    drawing = agent((1_000, *[100] * 6), digests=True, cached=True)
    assert len(found(drawing)) == 1
    paid = drawing + f"\n  llm other |-| {OPUS} tokens=9/20000 blocks=o>p"
    assert found(paid) == []


@pytest.mark.parametrize("digests", [BY_DIGESTS, BY_COUNTS])
def test_without_a_price_there_are_tokens(digests: bool) -> None:
    (one,) = found(agent(PAGE, digests=digests, model="model=of-our-own"))
    assert (one.saving.usd, one.saving.tokens) == (None, 60_000)
    assert "These are 60,000 tokens, 0 of them from a cache. How much" in one.why


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (" tokens=", " counts="),  # nobody counted
        ("asked_by=", "where="),  # nobody knows what the calls were given
        ("/0/0 results=t3", "/0/0 model=another results=t3"),  # models count each in its own way
        ("/0/0 results=t0", "/0/0 error=Overloaded results=t0"),
    ],
)
def test_by_counts_nothing_is_said_of_what_is_not_known(was: str, now: str) -> None:
    drawing = agent(PAGE, digests=False, name="t0")
    assert was in drawing
    assert found(drawing.replace(was, now)) == []


def slow(drawing: str) -> Trace:
    """The same where each call waits a millisecond for every token that it was given, and every
    tool is called fetch."""
    spans = []
    for span in drawn(drawing, unit_ns=15 * SECOND).spans:
        call, tool = span.model_call, span.tool_call
        if call is not None and call.tokens is not None:
            call = replace(call, ttft_ns=call.tokens.input * MS)
        if tool is not None:
            tool = replace(tool, name="fetch")
        spans.append(replace(span, model_call=call, tool_call=tool))
    return build(spans)


@pytest.mark.parametrize("digests", [BY_DIGESTS, BY_COUNTS])
def test_many_results_of_one_tool_are_one_finding(digests: bool) -> None:
    """What they save adds up: each of their tokens is waited for."""
    (one,) = found_in(slow(agent((*[3_000] * 3, *[100] * 6), digests=digests)), "CP302")
    assert one.title == "cut results of fetch that later calls carry, 3 times"
    assert one.saving.tokens == 3_000 * (8 + 7 + 6)
    assert one.saving.ns == 3_000 * (8 + 7 + 6) * MS


@pytest.mark.parametrize("digests", [BY_DIGESTS, BY_COUNTS])
def test_first_tokens_come_sooner_where_calls_show_that_they_follow_the_prompt(
    digests: bool,
) -> None:
    (one,) = found_in(slow(agent(PAGE, digests=digests)), "CP302")
    assert one.saving.ns == 60 * SECOND
    assert (one.at_most, one.replayed) == (True, True)
