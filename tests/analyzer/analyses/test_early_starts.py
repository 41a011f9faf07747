"""CP104: calls that nearly every run makes and that could start early; and what only looks so."""

from collections.abc import Sequence

import pytest

from causepath_analyzer.analyses.findings.rule import Finding
from causepath_analyzer.analyses.findings.rules import RULES
from causepath_analyzer.analyses.proof import over_runs
from causepath_analyzer.analyses.proof.independence import NOWHERE, Elsewhere, Orders, elsewhere
from causepath_analyzer.analyses.run import explained
from causepath_analyzer.model import Trace
from tests.support.drawn import MS, drawn, without_texts

UNIT = 100 * MS
USUAL = """
    agent run   |----------------------------------|
      llm plan   |---------|
      tool get_profile     |------|                    given={} got=Ann asked_by=plan
      llm answer                   |----|              results=get_profile
"""
ANOTHER = USUAL.replace("get_profile", "get_weather")
WITHOUT = """
    agent run   |----------------------------------|
      llm plan   |---------|
"""


def runs(*drawings: str) -> list[Trace]:
    return [drawn(one, unit_ns=UNIT, start_ns=at * 10**12) for at, one in enumerate(drawings)]


def found_in(
    traces: Sequence[Trace], at: int = 0, others: Elsewhere | None = None
) -> list[Finding]:
    others = elsewhere(traces) if others is None else others
    run = explained(traces[at], others=others, rules=[RULES["CP104"]])
    assert run.faults == ()
    return list(run.findings)


@pytest.mark.parametrize("texts", [True, False], ids=["contents on", "contents off"])
@pytest.mark.parametrize(
    ("drawings", "often"),
    [
        pytest.param([USUAL] * 10, "10 of 10", id="always"),
        pytest.param([USUAL] * 18 + [WITHOUT] * 2, "18 of 20", id="nearly always"),
        pytest.param([USUAL] * 10 + [USUAL.replace("run ", "job ")] * 30, "10 of 10", id="agents"),
        pytest.param(
            [USUAL.replace("---|\n      llm plan", "---| service=a\n      llm plan")] * 10
            + [WITHOUT.replace("---|\n      llm plan", "---| service=b\n      llm plan")] * 10,
            "10 of 10",
            id="services",
        ),
        pytest.param([USUAL] * 32 + [WITHOUT] * 8, "32 of 40", id="in four of five"),
        pytest.param([USUAL] * 15 + [WITHOUT] * 5, None, id="not often enough"),
        pytest.param([USUAL] * 8 + [WITHOUT] * 2, None, id="so few that it may be chance"),
        pytest.param([USUAL] * 9, None, id="too few runs"),
        pytest.param(
            [USUAL.replace("{}", f"user{at}") for at in range(20)], None, id="other arguments"
        ),
        pytest.param([USUAL.replace("given={} ", "")] * 10, None, id="nobody knows which"),
        pytest.param([USUAL.replace("get_p", "save_p")] * 10, None, id="it changes something"),
        pytest.param([USUAL.replace("get_p", "p")] * 10, None, id="nobody knows what it does"),
        pytest.param([USUAL.replace("=plan", "=plan error=Gone")] * 10, None, id="it fails"),
        pytest.param([USUAL.replace("=plan", "=plan inferred")] * 10, None, id="inferred"),
        pytest.param(
            [USUAL.replace("llm answer", "tool save_it |---|\n      llm answer")] * 10,
            None,
            id="something changes beside the model call",
        ),
        pytest.param(
            [USUAL.replace("llm answer", "tool get_it  |---|\n      llm answer")] * 10,
            "10 of 10",
            id="a look beside the model call",
        ),
        pytest.param(
            [USUAL.replace("llm answer", "human approve  |---|\n      llm answer")] * 10,
            None,
            id="a person is asked beside it",
        ),
    ],
)
def test_early_starts(drawings: list[str], texts: bool, often: str | None) -> None:
    traces = runs(*drawings)
    if not texts:
        traces = [without_texts(trace) for trace in traces]
    found = found_in(traces)
    expected = [] if often is None else [("start get_profile before it is asked for", 7)]
    assert [(one.title, (one.saving.ns or 0) // UNIT) for one in found] == expected
    assert all(one.evidence == "likely" and f"{often} runs" in one.why for one in found)


def test_the_waste_is_said_beside_the_saving() -> None:
    (found,) = found_in(runs(*[USUAL] * 19, WITHOUT))
    assert found.why == (
        "19 of 20 runs of run call get_profile with the same arguments, so that it can start with "
        "the model call that asks for it; in the other 1 it would run in vain: 0.7 s of work that "
        "nobody waits for."
    )


def test_the_reply_says_what_its_only_call_was_given() -> None:
    """Spans that an SDK writes of its tools do not."""
    run = USUAL.replace("given={} got=Ann ", "").replace(
        "---|\n      tool", "---| blocks=task{at}>assistant/tool_use/args{also}\n      tool"
    )
    one = [run.format(at=at, also="") for at in range(10)]
    (found,) = found_in(runs(*one))
    assert found.title == "start get_profile before it is asked for"
    others = [run.format(at=at, also=at) for at in range(10)]
    two = [run.format(at=at, also=",assistant/tool_use/more") for at in range(10)]
    assert [found_in(runs(*each)) for each in (others, two)] == [[], []]


def test_a_run_without_the_call_has_nothing_to_start() -> None:
    assert found_in(runs(*[USUAL] * 19, WITHOUT), at=19) == []


def test_one_run_alone_shows_nothing() -> None:
    assert found_in(runs(USUAL), others=NOWHERE) == []


def test_only_the_first_of_equal_calls_can_be_started_early() -> None:
    again = """
      tool get_profile                 |------|        id=2 given={} got=Ann asked_by=answer
    """
    twice = USUAL.replace("|----------------------------------|", "|" + "-" * 50 + "|") + again
    (found,) = found_in(runs(*[twice] * 10))
    assert (found.times, len(found.spans)) == (1, 2)


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_any_split_of_the_runs_tells_the_same(parts: int) -> None:
    traces = runs(*[USUAL, ANOTHER, WITHOUT] * 12)
    whole = Orders()
    for part in range(parts):
        some = Orders()
        for trace in traces[part::parts]:
            some.add(trace)
        whole.join(some)
    assert whole.elsewhere() == elsewhere(traces)


@pytest.mark.parametrize(
    "drawings",
    [
        pytest.param([USUAL.replace("{}", f"u{at}") for at in range(4)], id="arguments"),
        pytest.param([USUAL.replace("get_p", f"get_{'abcd'[at]}p") for at in range(4)], id="tools"),
        pytest.param([USUAL.replace("run ", f"run{at}") for at in range(4)], id="agents"),
    ],
)
@pytest.mark.parametrize("parts", [1, 2, 3])
def test_of_too_many_nothing_is_said_however_runs_are_split(
    drawings: list[str], parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    traces = runs(*[one for one in drawings for _ in range(10)])
    monkeypatch.setattr(over_runs, "_MOST", 3)
    whole = Orders()
    for part in range(parts):
        some = Orders()
        for trace in traces[part::parts]:
            some.add(trace)
        whole.join(some)
    assert whole.elsewhere().alike == over_runs.NOTHING_KNOWN
