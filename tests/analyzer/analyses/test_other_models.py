"""CP401: a step that another model did faster or cheaper in the same traces; and look-alikes."""

from collections.abc import Sequence
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from causepath_analyzer.analyses.findings.rule import Finding
from causepath_analyzer.analyses.findings.rules import RULES
from causepath_analyzer.analyses.proof.independence import Orders, elsewhere
from causepath_analyzer.analyses.run import explained
from causepath_analyzer.model import Trace
from causepath_analyzer.read.tree.build import build
from tests.support.drawn import MS, drawn, without_texts

UNIT = 100 * MS
LARGE, SMALL = "claude-opus-4-8", "claude-haiku-4-5"
STACK = "stack=plan.py:7,main.py:3"


def run(
    n: int,
    model: str,
    tenths: int,
    tokens: str = "10000/500",
    *,
    facts: str = STACK,
    around: str = "bot",
) -> Trace:
    """A run that plans with a model, which takes so many tenths of a second, and looks something
    up."""
    drawing = f"""
    agent {around} |{"-" * 120}|
      llm plan     |{"-" * (tenths - 1)}| model={model} tokens={tokens} finish=stop {facts}
    """
    trace_id = f"{n:032x}"
    spans = drawn(drawing, unit_ns=UNIT, start_ns=n * 1000 * UNIT).spans
    return build([replace(span, trace_id=trace_id) for span in spans])


def runs(
    large: Sequence[int] = (58, 60, 60, 60, 62, 64),
    small: Sequence[int] = (18, 19, 20, 20, 22, 24),
    **facts: str,
) -> list[Trace]:
    """Six runs with a large model, and then six with a small one."""
    of_small = {key.removeprefix("small_"): told for key, told in facts.items()}
    of_large = {key: told for key, told in facts.items() if not key.startswith("small_")}
    name = of_small.pop("model", SMALL)
    every = [run(n, LARGE, tenths, **of_large) for n, tenths in enumerate(large)]  # type: ignore[arg-type]
    return every + [run(n + 9, name, tenths, **of_small) for n, tenths in enumerate(small)]  # type: ignore[arg-type]


def found(traces: Sequence[Trace], of: int = 1) -> Sequence[Finding]:
    others = elsewhere(traces)
    return explained(traces[of], others=others, rules=[RULES["CP401"]]).findings


@pytest.mark.parametrize("facts", [STACK, ""], ids=["stack", "spans around"])
def test_another_model_is_faster_and_cheaper(facts: str) -> None:
    traces = runs(facts=facts)
    (one,) = found(traces)
    assert one.title == "try claude-haiku-4-5 (quality not checked)"
    assert one.why == (
        "In these traces claude-haiku-4-5 did this step 6 times, in 2.0 s (the middle one), and "
        "claude-opus-4-8 6 times, in 6.0 s, with prompts and answers of like sizes. For the tokens "
        "of this run it costs 0.2 times as much. Whether its answers are as good was not checked: "
        "nothing in a trace tells."
    )
    # 10,000 and 500 tokens cost 0.0625 dollars, and 0.0125 with the other
    assert one.saving.usd == Decimal("0.05")
    assert one.saving.ns is not None
    assert abs(one.saving.ns - 40 * UNIT) <= UNIT
    assert (one.evidence, one.at_most, one.replayed) == ("likely", False, True)
    assert found(traces, of=8) == ()  # of the other model
    assert found([without_texts(trace) for trace in traces]) == (one,)


def test_without_a_price_there_is_time() -> None:
    (one,) = found(runs(small_model="of-our-own"))
    assert one.saving.usd is None
    assert " of like sizes. Its price is not known. " in one.why


def test_as_fast_and_cheaper() -> None:
    (one,) = found(runs(small=(58, 60, 60, 60, 62, 64)))
    assert (one.saving.ns, one.saving.usd, one.replayed) == (None, Decimal("0.05"), False)


@pytest.mark.parametrize(
    "traces",
    [
        pytest.param(runs(small=(18, 19, 20, 20)), id="four calls"),
        pytest.param(runs(small_tokens="900/500"), id="short prompts"),
        pytest.param(runs(small_tokens="10000/90"), id="short answers"),
        pytest.param(runs(small_facts="stack=sum.py:9,main.py:3"), id="other code"),
        pytest.param(runs(facts="", small_around="other"), id="another agent"),
        pytest.param(runs(small_facts=f"{STACK} error=Overloaded"), id="they failed"),
        pytest.param(runs(small=(90, 91, 92, 92, 93, 94)), id="cheaper and slower"),
        pytest.param(
            runs(large=(18, 20, 20, 22, 90, 95), small_model="of-our-own"), id="only slow at times"
        ),
        pytest.param(runs(small_model=LARGE), id="one model"),
        pytest.param(runs(small_model=f"{LARGE}-20260901"), id="one model by two names"),
        pytest.param(runs(small_facts=f"{STACK} finish=length"), id="they were cut off"),
        pytest.param(
            runs(facts=f"{STACK} blocks=system/text/planner,a>b")[:6]
            + runs(small_facts=f"{STACK} blocks=system/text/writer,a>b")[6:],
            id="roles",
        ),
    ],
)
def test_look_alikes(traces: list[Trace]) -> None:
    assert found(traces) == ()


def test_two_releases_are_two_models() -> None:
    large = [of_model(trace, f"{LARGE}-20260101") for trace in runs()[:6]]
    small = [of_model(trace, f"{LARGE}-20260901") for trace in runs()[6:]]
    (one,) = found([*large, *small])
    assert one.title == f"try {LARGE}-20260901 (quality not checked)"


def of_model(trace: Trace, model: str) -> Trace:
    return build(
        [
            replace(span, model_call=replace(span.model_call, model=model))
            if span.model_call is not None
            else span
            for span in trace.spans
        ]
    )


def test_models_may_have_one_system_prompt() -> None:
    traces = runs(
        facts=f"{STACK} blocks=system/text/planner,a>b",
        small_facts=f"{STACK} blocks=system/text/planner,c>d",
    )
    assert len(found(traces)) == 1


@pytest.mark.parametrize("second", ["a", "system/text/s,x,assistant/text/said_first,c"])
def test_asked_again_or_gone_on_from(second: str) -> None:
    """The small model is asked first, and the large one the same again, or with its answer."""
    asked = "tokens=10000/500 finish=stop " + STACK
    lines = [f"agent bot |{'-' * 600}|"]
    for n in range(6):
        gap = " " * (90 * n)
        lines += [
            f"  llm a{n} {gap}|{'-' * 19}| model={SMALL} {asked} blocks=a{n}>said_first{n}",
            f"  llm b{n} {gap}{' ' * 22}|{'-' * 59}| model={LARGE} {asked} "
            f"blocks={second.replace('a', f'a{n}', 1) if second == 'a' else second + str(n)}>c"
            + ("" if second == "a" else f" results=a{n}"),
        ]
    trace = drawn("\n".join(lines), unit_ns=UNIT)
    assert found([trace], of=0) == ()


def loop(facts: str, *, at_once: bool = False, times: int = 6) -> Trace:
    """One run that sets both models to one step, in turns or at once."""
    lines = [f"agent bot |{'-' * (90 * times)}|"]
    for n in range(times):
        later = 0 if at_once else 62
        told = f"tokens=10000/500 finish=stop {facts}"
        lines += [
            f"  llm a{n} {' ' * (90 * n)}|{'-' * 59}| model={LARGE} {told}",
            f"  llm b{n} {' ' * (90 * n + later)}|{'-' * 19}| model={SMALL} {told}",
        ]
    return drawn("\n".join(lines), unit_ns=UNIT)


def test_one_run_may_have_both() -> None:
    (one,) = found([loop(STACK)], of=0)
    assert len(one.spans) == 6
    assert one.saving.usd == Decimal("0.3")


@pytest.mark.parametrize(
    "trace",
    [
        pytest.param(loop(STACK, at_once=True), id="both are asked at once"),
        pytest.param(loop(""), id="by turns, and nobody knows whether for one thing"),
    ],
)
def test_two_models_of_one_span(trace: Trace) -> None:
    assert found([trace], of=0) == ()


RUNS = st.lists(
    st.tuples(st.sampled_from((LARGE, SMALL, "x")), st.integers(2, 90)), min_size=2, max_size=12
)


@given(RUNS, st.randoms())
def test_any_split_of_the_runs_shows_the_same(told: list[tuple[str, int]], random: Random) -> None:
    traces = [run(n, model, tenths) for n, (model, tenths) in enumerate(told)]
    parts = [Orders() for _ in range(3)]
    for trace in traces:
        random.choice(parts).add(trace)
    joined = Orders()
    for part in parts:
        joined.join(part)
    assert joined.elsewhere().compared == elsewhere(traces).compared
