"""The text reports, character for character at 80 columns."""

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.cells import cell_len
from rich.text import Text

from causepath_analyzer.analyses.budgets.wording import Budget
from causepath_analyzer.analyses.findings.rule import UNKNOWN, Saving
from causepath_analyzer.analyses.path.cost import table_name
from causepath_analyzer.analyses.run import explained
from causepath_analyzer.analyses.run_view import run_view
from causepath_analyzer.analyses.span_rows import MOST_ROWS
from causepath_analyzer.analyses.summary.brief import brief
from causepath_analyzer.analyses.summary.summary import summary
from causepath_analyzer.model import Span, Trace
from causepath_analyzer.read.tree.build import build
from causepath_analyzer.report.check_text import check_text
from causepath_analyzer.report.json import trace_json
from causepath_analyzer.report.run_text import run_text
from causepath_analyzer.report.summary_text import summary_text
from causepath_analyzer.report.waterfall import ASCII, BLOCKS, Marks
from tests.support.drawn import MS, drawn
from tests.support.held import held

AGENT = """
    agent research             |--------------------------------------------------|
      llm claude-opus            |-----------|                                        {one}
        retry attempt1           ||                                                   error=429
        retry backoff             |-|
        network attempt2            |--------|
      tool search_web                        |----|                                   {two}
      tool search_papers                          |--------|                          {three}
      tool fetch_page                                       |----|                    inferred
      llm claude-opus2                                            |--------|          {four}
""".format(
    one="ttft=9 turn=1 tokens=900/50 model=claude-opus-5-5",
    two="asked_by=claude-opus where=agent.py:41",
    three="asked_by=claude-opus",
    four="turn=2 tokens=2000/70/400 model=claude-opus-5-5 provider=anthropic ttft=4",
)
GOLDEN = Path(__file__).parent / "golden"


def plain(lines: Sequence[Text]) -> str:
    text = [line.plain.rstrip() for line in lines]
    too_long = [line for line in text if cell_len(line) > 80 and not line.startswith("Next")]
    assert too_long == []
    return "\n".join(text) + "\n"


def agent(start_ns: int = 0) -> Trace:
    return drawn(AGENT, unit_ns=100 * MS, start_ns=start_ns)


def other(trace_id: str, drawing: str) -> Trace:
    spans = drawn(drawing, unit_ns=100 * MS).spans
    return build([replace(span, trace_id=trace_id) for span in spans])


@pytest.mark.parametrize(
    ("name", "marks"), [("run.txt", BLOCKS), ("run-ascii.txt", ASCII)], ids=["blocks", "ascii"]
)
def test_one_run(name: str, marks: Marks) -> None:
    run = explained(agent(), with_cost=True, with_money=True)
    told = plain(run_text(run_view(run), marks, ["my traces.jsonl"])).replace(table_name(), "TABLE")
    assert told == (GOLDEN / name).read_text()


def test_a_cost_says_where_it_comes_from() -> None:
    calls = """
        agent a |----------|
          llm b |--|          {whole} model=claude-opus-5
          llm c    |--|       {whole} model=nobody-knows-it
    """.format(whole="tokens=1000/50 provider=anthropic")
    trace = drawn(calls, unit_ns=100 * MS, start_ns=1_795_000_000_000_000_000)
    spans = [
        replace(span, model_call=replace(span.model_call, said_usd=Decimal("0.0070")))
        if span.model_call is not None
        else span
        for span in trace.spans
    ]
    run = explained(build(spans), with_cost=True)
    told = plain(run_text(run_view(run), BLOCKS, ["t"])).replace(table_name(), "TABLE").splitlines()
    at = next(i for i, line in enumerate(told) if line.startswith("  tokens"))
    assert told[at : at + 6] == [
        "  tokens: 2,000 in, 100 out",
        "  cost: exact, 50% of the tokens, by TABLE",
        "  unpriced: nobody-knows-it",
        "  the trace itself says $0.00700 for calls without a price here",
        "  the trace itself says $0.00700 for calls priced here at $0.00625",
        "",
    ]


@pytest.mark.parametrize(("tokens", "share"), [(999_000, ">99%"), (99_000, "99%")])
def test_a_few_tokens_without_a_price_are_not_rounded_away(tokens: int, share: str) -> None:
    calls = f"""
        agent a |----------|
          llm b |--|          tokens={tokens}/50 provider=anthropic model=claude-opus-5
          llm c    |--|       tokens=950/50 provider=anthropic model=nobody-knows-it
    """
    run = explained(drawn(calls, start_ns=1_795_000_000_000_000_000), with_cost=True)
    assert f"  cost: exact, {share} of the tokens, by" in plain(
        run_text(run_view(run), BLOCKS, ["t"])
    )
    many = summary([brief(run)])
    assert f"in all, of {share} of the tokens, by" in plain(summary_text(many, BLOCKS, ["t"]))
    assert json.loads(trace_json(run_view(run)))["priced_share"] < 1


def test_many_runs() -> None:
    traces = [
        agent(),
        other("1" * 32, AGENT),
        other("2" * 32, "agent research |-----|    error=timeout"),
    ]
    found = summary(brief(explained(trace, with_cost=True)) for trace in traces)
    told = plain(summary_text(found, BLOCKS, ["t"])).replace(table_name(), "TABLE")
    assert told == (GOLDEN / "summary.txt").read_text()


def test_a_run_without_a_price_leaves_that_of_others() -> None:
    one = "agent a |---|\n  llm b |-|  tokens=1000/0 provider=anthropic model="
    traces = [other("1" * 32, one + "claude-opus-5"), other("2" * 32, one + "nobody-knows-it")]
    found = summary(brief(explained(trace, with_cost=True)) for trace in traces)
    assert (found.cost_usd, found.priced_share, found.is_priced) == (Decimal("0.005"), 0.5, False)
    told = plain(summary_text(found, BLOCKS, ["t"])).splitlines()
    assert told[0].endswith("  at least $0.00250/run")
    assert told[1] == f"$0.00500 in all, of 50% of the tokens, by {table_name()}"


def test_budgets() -> None:
    runs = [explained(agent(), with_cost=True), explained(other("1" * 32, "llm m |---|"))]
    budgets = [
        Budget("wall", 5_000 * MS, "--max"),
        Budget("path.tool", 5_000 * MS, "--max"),
        Budget("tokens.input", 40_000, "--max"),
        Budget("cost", 1, "--max"),
    ]
    text = plain(check_text(held(budgets, runs), 8))
    assert text == (GOLDEN / "check.txt").read_text()


HOSTILE = "\x1b]0;pwn\x07\x1b[2J[red]bold[/red]\r\n\u202egnp.exe\u2028\x9b31m"


@pytest.mark.parametrize("marks", [BLOCKS, ASCII], ids=["blocks", "ascii"])
def test_nothing_in_a_trace_can_steer_the_terminal(marks: Marks) -> None:
    (span,) = agent().spans[:1]
    hostile = [
        replace(
            s,
            name=HOSTILE,
            error=HOSTILE,
            tool_call=s.tool_call and replace(s.tool_call, name=HOSTILE),
            where=s.where and HOSTILE,
        )
        for s in agent().spans
    ]
    run = explained(build(hostile))
    lines = [
        *run_text(run_view(run), marks, [HOSTILE]),
        *summary_text(summary([brief(run)]), marks, [HOSTILE]),
    ]
    text = "\n".join(line.plain for line in lines)
    assert span.name not in text
    assert all(char == "\n" or char.isprintable() for char in text)
    assert "[red]bold[/red]" in text  # markup is text like any other
    if marks is ASCII:
        assert text.isascii()


def test_wide_characters_keep_the_columns() -> None:
    spans = [replace(span, name="検索ツール" * 8) for span in agent().spans]
    plain(run_text(run_view(explained(build(spans))), BLOCKS, ["t"]))


@pytest.mark.parametrize(
    ("title", "saving", "expected"),
    [
        ("x" * 40, UNKNOWN, f"  CP101 {'x' * 40} (A)           proved"),
        ("x" * 60, UNKNOWN, f"  CP101 {'x' * 46}.. (A)   proved"),
        (
            "x" * 60,
            Saving(usd=Decimal("1.50")),
            f"  CP101 {'x' * 33}.. (A) $1.50          proved",
        ),
        (
            "x" * 60,
            Saving(usd=Decimal("0.00675")),
            f"  CP101 {'x' * 30}.. (A) $0.00675          proved",
        ),
    ],
)
def test_a_long_title_takes_what_the_columns_leave_free(
    title: str, saving: Saving, expected: str
) -> None:
    run = explained(agent())
    one = replace(run.findings[0], title=title, saving=saving, share=None)
    lines = plain(run_text(run_view(replace(run, findings=(one,))), BLOCKS, ["t"])).splitlines()
    assert next(line for line in lines if line.startswith("  CP101")) == expected


def test_a_large_run_stays_readable() -> None:
    spans = [Span("t", "root", "", "root", 0, 1000 * MS, "agent")]
    spans += [Span("t", f"{i:04}", "root", f"step {i}", i * MS, (i + 1) * MS) for i in range(1000)]
    text = plain(run_text(run_view(explained(build(spans))), BLOCKS, ["t"]))
    assert text.count("|\n") <= MOST_ROWS + 1
    assert len(text.splitlines()) < MOST_ROWS + 20
    assert "more spans (--all shows them)" in text


@pytest.mark.parametrize(
    ("drawing", "expected"),
    [
        ("agent run |", "none, as no span of this trace has a length"),
        ("other run |----|", "none to be seen, as no span is a call of a model or a tool"),
        ("llm m |----|", "none found"),
        (
            """
            agent run   |-----|
              tool a     |--|
              tool b        ||
            """,
            "none to be seen; which reply asked for which tool is not known",
        ),
        (
            """
            agent run   |-----|
              llm m     ||
              tool a      |-|       asked_by=m inferred
              tool b        ||      asked_by=m inferred
            """,
            "none to be seen, as its tools' own times are not known",
        ),
        ("agent run  |-----|\n  tool a    ||\n  tool b     |", "none found"),
    ],
    ids=["no length", "no calls", "a call", "no causes", "windows", "not worth it"],
)
def test_why_there_is_no_opportunity(drawing: str, expected: str) -> None:
    text = plain(run_text(run_view(explained(drawn(drawing, unit_ns=100 * MS))), BLOCKS, ["t"]))
    assert f"\nOpportunities: {expected}\n" in text


def test_where_most_of_the_time_is_that_no_call_took() -> None:
    drawing = """
        agent run   |---------|
          llm m      ||
    """
    text = plain(run_text(run_view(explained(drawn(drawing))), BLOCKS, ["t"]))
    assert "  run itself took 9.0ms: trace what it does there\n" in text
    apart = "llm m |-|\nllm n                  |-|"
    text = plain(run_text(run_view(explained(drawn(apart))), BLOCKS, ["t"]))
    assert "covered by no span: what happens there is not traced\n" in text


def test_times_that_mean_nothing_are_not_added_up() -> None:
    drawing = """
        agent run    |--------------------------|
          llm one     |-------------------------|
          tool t          |---------------------|
          tool u                |---------------|
          tool v                           |----|
    """
    text = plain(run_text(run_view(explained(drawn(drawing, unit_ns=100 * MS))), BLOCKS, ["t"]))
    assert "\nWhere the time went: not known, as durations mean nothing here\n" in text
    assert "Opportunities: none computed, the times in this trace mean nothing\n" in text


def test_a_trace_without_length() -> None:
    text = plain(run_text(run_view(explained(drawn("other s |"))), BLOCKS, ["t"]))
    assert text.startswith("s  0ns  1 span  trace ffffffff  ok\n")
