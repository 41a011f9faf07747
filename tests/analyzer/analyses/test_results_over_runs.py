"""CP201 over runs: results that another run had, how often caches are hit; and what looks so."""

from collections.abc import Sequence
from decimal import Decimal

import msgspec
import pytest
from msgspec.structs import replace

from causepath_analyzer.analyses.findings.rule import Finding
from causepath_analyzer.analyses.findings.rules import RULES
from causepath_analyzer.analyses.proof import over_runs
from causepath_analyzer.analyses.proof.independence import Orders, elsewhere
from causepath_analyzer.analyses.proof.over_runs import CacheTrial, Call, HitRate, Looks
from causepath_analyzer.analyses.run import explained
from causepath_analyzer.analyses.summary.summary import summary
from causepath_analyzer.jobs.share import Task, rows_of
from causepath_analyzer.model import Span, Trace
from causepath_analyzer.report.json import report_json
from causepath_analyzer.report.summary_text import summary_text
from causepath_analyzer.report.waterfall import BLOCKS
from tests.support.drawn import MS, drawn, without_texts

UNIT = 100 * MS
MINUTE = 60_000 * MS
RUN = """
    agent run   |----------------------------------|
      llm plan   |---------|                         model=m blocks=task{task}>a
      tool get_tax     {gap}    |------|             given=books got={got} asked_by=plan
      llm answer                       |----|        model=m results=get_tax
"""
SAID = "seven_percent_in_this_country_since_last_year"


def drawing(task: object, got: str = SAID, gap: str = "") -> str:
    return RUN.format(task=task, got=got, gap=gap)


def runs(*drawings: str, apart_ns: int = MINUTE) -> list[Trace]:
    """The runs of `drawings`, so far apart from each other."""
    return [
        replace(drawn(one, unit_ns=UNIT, start_ns=at * apart_ns), trace_id=f"{at:032x}")
        for at, one in enumerate(drawings)
    ]


def found_in(traces: Sequence[Trace], at: int = -1) -> list[Finding]:
    run = explained(traces[at], others=elsewhere(traces), rules=[RULES["CP201"]])
    assert run.faults == ()
    return list(run.findings)


def wrote(tool: str, what: str) -> str:
    """A run that ends with a call which changes something."""
    change = f"      tool {tool}                            |--| given={what} got=done\n    "
    return drawing("wrote") + change


FOUR = [drawing(task) for task in range(4)]


@pytest.mark.parametrize("texts", [True, False], ids=["contents on", "contents off"])
@pytest.mark.parametrize(
    ("drawings", "apart_ns", "is_found"),
    [
        pytest.param(FOUR, MINUTE, True, id="four tasks"),
        pytest.param(FOUR[:3], MINUTE, True, id="three tasks"),
        pytest.param(FOUR, 50 * MINUTE, True, id="within the hour"),
        pytest.param(FOUR, 61 * MINUTE, False, id="not within the hour"),
        pytest.param(FOUR[:2], MINUTE, False, id="two may be chance"),
        pytest.param([FOUR[0]] * 8, MINUTE, False, id="one task again and again"),
        pytest.param([*FOUR, FOUR[0]], MINUTE, True, id="one task again, and others"),
        pytest.param(FOUR, 0, False, id="at the same time"),
        pytest.param(
            [one.replace("blocks=", "links=") for one in FOUR], MINUTE, False, id="tasks not known"
        ),
        pytest.param(
            [one.replace("given=books", f"given=b{at}") for at, one in enumerate(FOUR)],
            MINUTE,
            False,
            id="other arguments",
        ),
        pytest.param(
            [*FOUR, drawing(4, "eight_percent_since_yesterday_in_this_country")],
            MINUTE,
            False,
            id="it returned something else once",
        ),
        pytest.param(
            [one.replace("get_tax", "set_tax") for one in FOUR], MINUTE, False, id="write"
        ),
        pytest.param([one.replace("get_tax", "tax") for one in FOUR], MINUTE, False, id="unknown"),
        pytest.param(
            [*FOUR, wrote("set_tax", "books")], MINUTE, False, id="a run writes what is read"
        ),
        pytest.param([*FOUR, wrote("set_tax", "tea")], MINUTE, True, id="it writes something else"),
        pytest.param([*FOUR, wrote("send_mail", "books")], MINUTE, True, id="it sends a mail"),
        pytest.param(
            [one.replace("get_tax", "get_status") for one in FOUR], MINUTE, False, id="by itself"
        ),
        pytest.param([one.replace(SAID, "yes") for one in FOUR], MINUTE, False, id="yes or no"),
        pytest.param(
            [one.replace(SAID, "Error:_not_found") for one in FOUR], MINUTE, False, id="it failed"
        ),
        pytest.param(
            [one.replace("asked_by", "error=Gone asked_by") for one in FOUR],
            MINUTE,
            False,
            id="its span failed",
        ),
        pytest.param(
            [one.replace("asked_by", "inferred asked_by") for one in FOUR],
            MINUTE,
            False,
            id="inferred",
        ),
        pytest.param(
            [one.replace("given=books", "") for one in FOUR], MINUTE, False, id="no digest"
        ),
    ],
)
def test_results_over_runs(drawings: list[str], apart_ns: int, texts: bool, is_found: bool) -> None:
    traces = runs(*drawings, apart_ns=apart_ns)
    if not texts:
        traces = [without_texts(trace) for trace in traces]
    found = found_in(traces)
    expected = [("keep the results of get_tax over runs", "likely", 699 * MS)] if is_found else []
    assert [(one.title, one.evidence, one.saving.ns) for one in found] == expected
    assert found_in(traces, at=0) == []  # nobody had it before


def test_the_evidence_says_how_often_a_cache_is_hit() -> None:
    (found,) = found_in(runs(*FOUR))
    assert found.why == (
        "Another run had called get_tax with equal arguments 58.2 s before; all 4 calls "
        "with these had the same result. A cache of one result for an hour would have answered "
        "75% of 4 calls of get_tax, none with an old result."
    )
    curve = tuple(HitRate(None, lifetime_s, 3, 0) for lifetime_s in (300, 3_600, 86_400))
    assert found.cache == CacheTrial("get_tax", 4, 1, 1.0, curve)


def test_the_summary_and_json_have_the_curve() -> None:
    rows = list(rows_of(runs(*FOUR), Task(with_json=True)))
    summed = summary(row.brief for row in rows)
    lines = [line.plain for line in summary_text(summed, BLOCKS, ["t.jsonl"])]
    assert "  get_tax kept for 1 h: 75% of 4 calls hit, 0 stale (CP201)" in lines
    written = msgspec.json.decode(report_json([], [row.json for row in rows], summed))
    curve = [
        {"results": None, "lifetime_s": lifetime_s, "hits": 3, "stale": 0}
        for lifetime_s in (300, 3_600, 86_400)
    ]
    expected = {"tool": "get_tax", "calls": 4, "arguments": 1, "share": 1.0, "curve": curve}
    assert written["summary"]["caches"] == [expected]
    findings = [one for trace in written["traces"] for one in trace["findings"]]
    assert [one["cache"] for one in findings if one["code"] == "CP201"] == [expected] * 3


def test_the_price_of_the_calls_in_it_is_saved() -> None:
    inner = (
        "\n        llm inner            |---|  parent=get_tax model=claude-opus-4-8 tokens=1000/0"
    )
    priced = [one.replace("asked_by=plan", f"asked_by=plan{inner}") for one in FOUR]
    (found,) = found_in(runs(*priced))
    assert found.saving.usd == Decimal("0.005")


def test_a_tool_that_often_gives_something_else_is_not_cached() -> None:
    others = [
        drawing(10 + at, f"{at}_percent_{SAID}").replace("given=books", f"given=tea{at % 3}")
        for at in range(9)
    ]
    assert found_in(runs(*others, *FOUR)) == []
    assert len(found_in(runs(*[one.replace("get_tax", "get_vat") for one in others], *FOUR))) == 1


# -- the curve


def curve(calls: Sequence[tuple[int, int, int]]) -> list[tuple[int | None, int, int, int]]:
    """Hits and old results of caches, for calls as minute, arguments and result; each is a task."""
    looks = Looks()
    for task, (minute, arguments, result) in enumerate(calls):
        looks.add(arguments, Call(minute * MINUTE, result, task, task))
    again = over_runs._results("t", looks)
    assert again is not None
    return [(one.results, one.lifetime_s, one.hits, one.stale) for one in again.trial.curve]


def test_the_lifetime_bounds_the_hits() -> None:
    # What was had at 0 is there at 4 and gone at 6; had at 6, it is there at 10 and gone at 70.
    assert curve([(minute, 1, 1) for minute in (0, 4, 6, 10, 70, 3_000)]) == [
        (None, 300, 2, 0),
        (None, 3_600, 3, 0),
        (None, 86_400, 4, 0),
    ]


def test_an_old_result_is_no_hit() -> None:
    assert curve([(0, 1, 1), (1, 1, 2), (2, 1, 1), (3, 1, 2)]) == [
        (None, lifetime_s, 1, 2) for lifetime_s in (300, 3_600, 86_400)
    ]


def test_the_size_bounds_the_hits() -> None:
    # 150 questions, three times in the same order: the least recently used is always needed next.
    calls = [(0, question, 1) for _ in range(3) for question in range(150)]
    calls = [(at // 100, question, 1) for at, (_, question, _) in enumerate(calls)]
    assert curve(calls) == [
        *((size, lifetime_s, 0, 0) for size in (10, 100) for lifetime_s in (300, 3_600, 86_400)),
        *((None, lifetime_s, 300, 0) for lifetime_s in (300, 3_600, 86_400)),
    ]


# -- many calls


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_any_split_tells_the_same_where_calls_are_dropped(
    parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(over_runs, "_MOST_LOOKS", 20)
    step = (1 << 64) // 40
    calls = [(at * 7 % 40 * step, Call(at, 1, at, at)) for at in range(120)]
    alone, joined = Looks(), Looks()
    for arguments, call in calls:
        alone.add(arguments, call)
    for part in range(parts):
        some = Looks()
        for arguments, call in calls[part::parts]:
            some.add(arguments, call)
        joined.join(some)
    one, other = over_runs._results("t", alone), over_runs._results("t", joined)
    assert one is not None
    assert one == other
    assert (one.trial.calls, one.trial.different, round(one.trial.share, 2)) == (18, 6, 0.15)


def test_any_split_of_the_runs_tells_the_same() -> None:
    traces = runs(*FOUR, *FOUR, drawing(9, "something_else_that_is_as_long_as_this"))
    whole = Orders()
    for part in range(3):
        some = Orders()
        for trace in traces[part::3]:
            some.add(trace)
        whole.join(some)
    assert whole.elsewhere() == elsewhere(traces)


def test_digests_of_any_length_can_be_sent() -> None:
    traces = [replace(trace, spans=tuple(map(longer, trace.spans))) for trace in runs(*FOUR)]
    orders = Orders()
    for trace in traces:
        orders.add(trace)
    sent = msgspec.msgpack.decode(msgspec.msgpack.encode(orders), type=Orders)
    assert sent.elsewhere() == elsewhere(traces)
    assert [one.title for one in found_in(traces)] == ["keep the results of get_tax over runs"]


def longer(span: Span) -> Span:
    """The span with digests of sixteen bytes."""
    tool = span.tool_call
    if tool is None or tool.arguments is None or tool.result is None:
        return span
    given, got = (
        replace(one, digest=one.digest << 96 | one.digest) for one in (tool.arguments, tool.result)
    )
    return replace(span, tool_call=replace(tool, arguments=given, result=got))
