"""Sums of runs: those of any split, joined in any order, are the sums of all of them."""

from collections.abc import Mapping
from decimal import Decimal
from random import Random
from typing import TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from causepath_analyzer.analyses.findings.opportunities import Fault
from causepath_analyzer.analyses.findings.rule import Evidence, Saving
from causepath_analyzer.analyses.path.status import STATUSES, Ending
from causepath_analyzer.analyses.run import explained
from causepath_analyzer.analyses.summary import distribution, sums
from causepath_analyzer.analyses.summary import summary as summaries
from causepath_analyzer.analyses.summary.brief import (
    Brief,
    CallTimes,
    ModelUse,
    SideBySide,
    brief,
)
from causepath_analyzer.analyses.summary.summary import summary, told
from causepath_analyzer.analyses.summary.sums import Shape, Sums, group_of, summed
from causepath_analyzer.jobs.messages import packed_rows, packed_sums, unpacked_rows, unpacked_sums
from causepath_analyzer.jobs.share import Row
from causepath_analyzer.model import Health
from tests.support.drawn import MS, drawn

T = TypeVar("T")


def invented(seed: int) -> list[Brief]:
    """Runs that differ in everything there is to add up."""
    random = Random(seed)
    all_inferred = random.random() < 0.5

    def ns() -> int:
        return random.choice([0, 1, random.randrange(1000), random.randrange(10**12), 2**63 - 1])

    def usd() -> Decimal:
        return Decimal(random.randrange(10**8)) / 10**6

    def maybe(value: T) -> T | None:
        return random.choice([None, value])

    def times() -> Mapping[str, int]:
        return {name: ns() for name in random.sample("abc", random.randrange(4))}

    def saving() -> Saving:
        return Saving(maybe(ns()), maybe(usd()), maybe(random.randrange(10**6)))

    def use() -> ModelUse:
        tokens = [random.randrange(10**5) for _ in range(6)]
        return ModelUse(*tokens, usd(), [ns() for _ in range(random.randrange(3))], [ns() + 1])

    evidence: tuple[Evidence, ...] = ("proved", "likely")
    return [
        Brief(
            start_ns=random.randrange(3) * 10**18 + random.randrange(10**13),
            trace_id=f"{n:032x}",
            wall_ns=ns(),
            ending=Ending(random.choice(STATUSES)),
            cost_usd=maybe(usd()),
            places=(times(), times(), times(), times()),
            findings=tuple(
                (random.choice(["CP101", "CP501"]), saving(), random.choice(evidence))
                for _ in range(random.randrange(4))
            ),
            health=Health(spans=random.randrange(9), orphans=random.randrange(2)),
            hands_on=random.random() < 0.5,
            faults=tuple(
                Fault(f"CP90{n}", random.choice("abc")) for n in range(random.randrange(3))
            ),
            name=random.choice("ab"),
            program=random.choice([None, "p", "p", "q"]),
            is_inferred=all_inferred or random.random() < 0.5,
            model_calls=random.randrange(3),
            priced_usd=maybe(usd()),
            tokens=random.randrange(10**6),
            priced_share=random.random(),
            is_lower_bound=random.random() < 0.1,
            perceived_ns=maybe(ns()),
            input=random.randrange(10**6),
            cache_read=random.randrange(10**6),
            kind_sums={"tool": ns()},
            models={name: use() for name in random.sample("ab", random.randrange(3))},
            calls={"tool": {name: CallTimes([ns(), ns()], random.randrange(2)) for name in "ab"}},
            side_by_side=SideBySide(random.randrange(3), ns(), ns(), ns()),
            is_picked=random.choice([True, True, True, False, None]),
            label=random.choice(["", "acme", "b + c", "(several)"]),
        )
        for n in range(random.randrange(12))
    ]


@given(
    st.integers(),
    st.sampled_from([4, 100]),
    st.sampled_from(["agent", "tenant.id", "status", None]),
)
@settings(max_examples=50, deadline=None)
def test_any_split_in_any_order_is_the_whole(
    seed: int, most_exact: int, group_by: str | None
) -> None:
    shape = Shape(top=3, group_by=group_by)
    random = Random(seed + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distribution, "MOST_EXACT", most_exact)
        patch.setattr(sums, "MOST_PERIODS", 3)
        patch.setattr(summaries, "MOST_GROUPS", 2)
        runs = invented(seed)
        split: list[list[Brief]] = [[], [], [], []]
        for run in random.sample(runs, len(runs)):
            random.choice(split).append(run)
        joined = Sums(shape)
        for part in split:
            # As it is sent from one process to another.
            joined.join(unpacked_sums(packed_sums(summed(part, shape))))
        assert told(joined) == told(summed(runs, shape)) == summary(runs, shape)


@given(st.integers(), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_no_group_is_dropped(seed: int, most: int) -> None:
    """Those that are not told one by one are told together, and no run of them is missing."""
    runs = [run for run in invented(seed) if run.is_picked]
    shape = Shape(group_by="tenant.id")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summaries, "MOST_GROUPS", most)
        patch.setattr(sums, "FEWEST_SLOW", 1)
        found = summary(runs, replace(shape, top=1))
    told_apart = [*found.groups, *([found.others] if found.others is not None else [])]
    assert len(found.groups) + found.other_groups == len({run.label for run in runs})
    assert len(found.groups) <= most
    assert (found.others is not None) == (found.other_groups > 0)
    for whole, part in (
        (found.traces, lambda one: one.runs),
        (found.failed, lambda one: one.failed),
        (found.total_wall_ns, lambda one: one.total_wall_ns),
        (found.cost_usd or 0, lambda one: one.cost_usd or 0),
    ):
        assert sum(map(part, told_apart)) == whole


@given(st.integers())
@settings(max_examples=20, deadline=None)
def test_rows_arrive_as_they_were_sent(seed: int) -> None:
    runs = [
        replace(run, kind_sums={"tool": 2**70}, input=2**65, tokens=2**66) for run in invented(seed)
    ]
    rows = [Row(run, b"{}" * (n % 2)) for n, run in enumerate(runs)]
    assert unpacked_rows(packed_rows(rows)) == rows


def test_what_is_joined_stays_as_it_was() -> None:
    runs = [brief(explained(trace)) for trace in (AGENT, OTHER)]
    one, other = summed(runs[:1]), summed(runs[1:])
    before = msgspec.msgpack.encode(other)
    for _ in range(2):
        one.join(other)
    one.add(runs[0])
    assert msgspec.msgpack.encode(other) == before


AGENT = drawn(
    """
    agent research   |--------------------|
      llm chat         |-----|               ttft=2 tokens=1000/50/400 model=claude-opus-5
      tool search             |----|         asked_by=chat
      tool fetch                |-------|    asked_by=chat
      llm chat2                         |--| tokens=900/20 model=claude-haiku-5 error=429
    """,
    unit_ns=100 * MS,
)
OTHER = drawn("agent triage |---| error=timeout", unit_ns=100 * MS)


def test_what_a_run_leaves_behind() -> None:
    told = brief(explained(AGENT, with_cost=True))
    assert told.models == {
        "claude-opus-5": ModelUse(
            calls=1,
            input=1000,
            output=50,
            cache_read=400,
            priced_tokens=1050,
            usd=Decimal("0.00445"),
            first_token_ns=[200 * MS],
            rates=[125_000],
        ),
        "claude-haiku-5": ModelUse(
            calls=1,
            failed=1,
            input=900,
            output=20,
            priced_tokens=told.models["claude-haiku-5"].priced_tokens,
            usd=told.models["claude-haiku-5"].usd,
        ),
    }
    assert told.calls == {
        "llm": {
            "claude-opus-5": CallTimes([600 * MS]),
            "claude-haiku-5": CallTimes([300 * MS], 1),
        },
        "tool": {"search": CallTimes([500 * MS]), "fetch": CallTimes([800 * MS])},
    }
    assert told.side_by_side == SideBySide(1, 1300 * MS, 1000 * MS, 800 * MS)


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("agent", {"research": 1, "triage": 1}),
        ("model", {"claude-haiku-5 + claude-opus-5": 1, "": 1}),
        ("status", {"ok": 1, "timed out": 1}),
        ("session", {"": 2}),
    ],
)
def test_runs_in_groups(by: str, groups: Mapping[str, int]) -> None:
    runs = [brief(explained(trace)) for trace in (AGENT, OTHER)]
    assert {group_of(run, by) for run in runs} == set(groups)
    found = summary(runs, Shape(group_by=by))
    assert {group.name: group.runs for group in found.groups} == groups
    assert sum(group.total_wall_ns for group in found.groups) == found.total_wall_ns
