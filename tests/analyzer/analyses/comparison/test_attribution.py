"""The change of the wall, taken apart: what it adds up to, and whether it names the true cause."""

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Struct

from causepath_analyzer.analyses.comparison.attribution import attribution
from causepath_analyzer.analyses.comparison.compared import compared
from causepath_analyzer.analyses.comparison.work import Work, mean_work, work
from causepath_analyzer.analyses.run import Run, explained
from causepath_analyzer.model import ModelCall, Span, Tokens, ToolCall
from causepath_analyzer.read.tree.build import build
from causepath_analyzer.report.diff_text import diff_text

MS = 1_000_000


class Agent(Struct, frozen=True):
    """What an agent does in a turn, and in how many turns."""

    turns: int = 3
    first_token_ms: float = 600
    tokens: float = 200
    token_ms: float = 8
    search_ms: float = 900
    fetch_ms: float = 500
    parallel: bool = False
    own_ms: float = 50
    fetches: bool = True
    answer_tokens: float = 300
    """Of the last turn, which asks for no tools."""

    def run(self, number: int, random: Random) -> Run:
        """Makes a run, with noise on every duration."""
        at = start = 10**18
        spans: list[Span] = []
        trace_id = f"{number + 1:032x}"

        def add(name: str, begin: float, end: float, **facts: Any) -> None:
            spans.append(
                Span(trace_id, f"s{len(spans)}", "root", name, round(begin), round(end), **facts)
            )

        def noisy(ms: float) -> float:
            return ms * MS * random.lognormvariate(0, 0.1)

        def ask(mean_tokens: float, reason: str) -> int:
            first = noisy(self.first_token_ms)
            tokens = max(1, round(mean_tokens * random.lognormvariate(0, 0.1)))
            end = at + first + tokens * noisy(self.token_ms)
            told = ModelCall(
                model="m",
                tokens=Tokens(100, tokens),
                ttft_ns=round(first),
                finish_reasons=(reason,),
            )
            add("chat m", at, end, category="llm", model_call=told)
            return round(end)

        for _ in range(self.turns):
            at += round(noisy(self.own_ms))
            at = ask(self.tokens, "tool_call")
            durations = {"search": noisy(self.search_ms)}
            if self.fetches:
                durations["fetch"] = noisy(self.fetch_ms)
            for name, spent in durations.items():
                add(name, at, at + spent, category="tool", tool_call=ToolCall(name))
                at += 0 if self.parallel else round(spent)
            at += round(max(durations.values())) if self.parallel else 0
        at = ask(self.answer_tokens, "stop")
        root = Span(trace_id, "root", "", "invoke_agent a", start, at, category="agent")
        return explained(build([root, *spans]))


BASE = Agent()
CAUSES = {
    ("model", "#tools", "calls"): Agent(turns=5),
    ("model", "#tools", "first_token"): Agent(first_token_ms=1200),
    ("model", "#tools", "tokens"): Agent(tokens=400),
    ("model", "#answer", "tokens"): Agent(answer_tokens=700),
    ("model", "#tools", "pace"): Agent(token_ms=14),
    ("tool", "search", "duration"): Agent(search_ms=1800),
    ("tool", "fetch", "duration"): Agent(fetch_ms=1300),
    ("tool", "fetch", "gone"): Agent(fetches=False),
    ("tool", "fetch", "overlap"): Agent(parallel=True),
    ("agent", "", "time"): Agent(own_ms=600),
}
"""The main cause of the change from `BASE`, and the agent that has it."""


def runs(agent: Agent, count: int, random: Random) -> Sequence[Run]:
    return [agent.run(number, random) for number in range(count)]


@pytest.mark.parametrize("cause", CAUSES, ids=".".join)
def test_the_main_cause_is_named(cause: tuple[str, str, str]) -> None:
    random = Random(str(cause))
    found = compared(runs(BASE, 8, random), runs(CAUSES[cause], 8, random))
    # More turns are more calls of tools as well; those that ran beside are no longer waited for.
    assert (found.causes[0].kind, found.causes[0].name, found.causes[0].why) == cause
    assert sum(one.change_ns for one in found.causes) == pytest.approx(found.change_ns, rel=1e-9)
    walls = [sum(run.trace.wall_ns for run in side) / 8 for side in (
        runs(BASE, 8, Random(str(cause))),)]  # fmt: skip
    assert found.mean_ns[0] == pytest.approx(walls[0])


@pytest.mark.slow
def test_causes_of_many_pairs() -> None:
    """Of 200 pairs, each with a known main cause of a random size, 95 in 100 are named."""
    random = Random(17)
    named = 0
    for number in range(200):
        cause, agent = random.choice(list(CAUSES.items()))
        found = compared(runs(BASE, 12, random), runs(agent, 12, random))
        total = sum(one.change_ns for one in found.causes)
        assert abs(total - found.change_ns) <= 0.01 * abs(found.change_ns), number
        first = found.causes[0]
        named += (first.kind, first.name, first.why) == cause
    assert named >= 190


WORK = st.tuples(
    st.integers(0, 20), st.integers(0, 5_000), st.integers(0, 10**11), st.integers(0, 10**11)
).map(lambda of: Work(of[0], of[1], max(of[2:]), min(of[2:])))
"""No operation is waited for longer than its calls take together."""
SIDE = st.dictionaries(
    st.sampled_from(
        [
            ("first_token", "#tools"), ("generation", "#tools"), ("llm", "#tools"),
            ("llm", "#answer"), ("tool", "a"), ("tool", "b"), ("agent", ""), ("uncovered", ""),
        ]
    ),
    WORK,
)  # fmt: skip


@example({("tool", "a"): Work(calls=1, waited_ns=3)}, {("tool", "a"): Work(calls=1)})
@given(SIDE, SIDE)
def test_causes_add_up(before: Any, after: Any) -> None:
    change = sum(one.waited_ns for one in after.values()) - sum(
        one.waited_ns for one in before.values()
    )
    found = attribution(before, after)
    assert sum(one.change_ns for one in found) == pytest.approx(change, rel=1e-6, abs=2)


def test_no_change_has_no_cause() -> None:
    same = mean_work([work(BASE.run(1, Random(1)))])
    assert attribution(same, same) == ()


def test_turns_are_compared_with_turns_of_their_kind() -> None:
    """More short turns before an answer that is as long as it was are no shorter answers."""
    random = Random(5)
    quick = Agent(turns=2, tokens=20, answer_tokens=900)
    found = compared(
        runs(quick, 8, random), runs(Agent(turns=7, tokens=20, answer_tokens=900), 8, random)
    )
    first, *others = [one for one in found.causes if one.kind == "model"]
    assert (first.name, first.why, first.before, first.after) == ("#tools", "calls", 2, 7)
    assert all(abs(one.change_ns) < first.change_ns / 3 for one in others), others


def test_a_role_that_one_side_lacks_is_new_or_gone() -> None:
    random = Random(6)
    none, some = runs(Agent(turns=0), 8, random), runs(Agent(turns=2), 8, random)
    for sides, why in (((none, some), "new"), ((some, none), "gone")):
        causes = {(one.kind, one.name): one.why for one in compared(*sides).causes}
        assert causes["model", "#tools"] == why
        assert causes["tool", "search"] == why


def test_calls_of_agents_inside_are_compared_apart() -> None:
    def nested(ms: int) -> Run:
        call = ModelCall(model="m", tokens=Tokens(100, 10), finish_reasons=("stop",))
        facts = {"category": "llm", "model_call": call}
        agent = {"category": "agent"}
        return explained(
            build(
                [
                    Span("t", "root", "", "invoke_agent a", 0, (300 + ms) * MS, **agent),
                    Span("t", "one", "root", "chat m", 0, 100 * MS, **facts),
                    Span("t", "in", "root", "invoke_agent b", 100 * MS, (200 + ms) * MS, **agent),
                    Span("t", "two", "in", "chat m", 100 * MS, (200 + ms) * MS, **facts),
                    Span("t", "three", "root", "chat m", (200 + ms) * MS, (300 + ms) * MS, **facts),
                ]
            )
        )

    found = compared([nested(0)], [nested(500)])
    (cause,) = found.causes
    told = "\n".join(line.plain for line in diff_text(found))
    assert "+500ms  model calls of b that answer: " in told
    assert (cause.name, cause.why, cause.change_ns) == ("@b#answer", "duration", 500 * MS)
