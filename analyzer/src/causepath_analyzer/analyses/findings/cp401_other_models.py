"""CP401: a step that another model did faster or cheaper in the traces that were given.

runs 1 to 20    plan   |---- large, 6 s, 2.0 ct ----|
runs 21 to 40   plan   |-- small, 2 s, 0.2 ct --|      as many tokens, asked by the same code
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.prices import is_worth_paying
from causepath_analyzer.analyses.findings.rule import (
    UNKNOWN,
    Candidate,
    Claim,
    Rule,
    Saving,
    seconds,
)
from causepath_analyzer.analyses.path.cost import cost_of
from causepath_analyzer.analyses.proof.compared_models import Done, Sample, Steps, are_one, steps
from causepath_analyzer.analyses.proof.independence import where_of
from causepath_analyzer.analyses.replay.change import AnotherModel
from causepath_analyzer.analyses.replay.pace import Timed, pace

_FEWEST: Final = 5
"""Calls of each model."""
_ALIKE: Final = 2
"""Steps are comparable if the middle ones of their sizes differ by less than this factor."""
_BETTER: Final = 0.7
_WORSE: Final = 1.1


class _Other(Struct, frozen=True):
    """A model that did the step in so many ``times`` of the time and of the price of this one."""

    model: str
    done: Done
    times: float
    saving: Saving
    price: float | None


def other_models(facts: Facts) -> Iterator[Candidate]:
    """Finds steps of a run that another model did better."""
    if facts.trace.untrusted:
        return
    compared = facts.others.compared
    if not compared and len({call.model for call in facts.usage.models}) > 1:
        own = Steps()
        own.add(facts.flow)
        compared = own.compared()
    if not compared:
        return
    for step, calls in steps(facts.flow).items():
        if step in compared:
            yield from _of_step(facts, calls, compared[step])


def _of_step(facts: Facts, calls: Sequence[int], models: Mapping[str, Done]) -> Iterator[Candidate]:
    by_model: dict[str, list[int]] = {}
    for i in calls:
        call = facts.trace.spans[i].model_call
        if call is not None and call.model is not None:
            by_model.setdefault(call.model, []).append(i)
    for model, mine in by_model.items():
        done = models.get(model)
        if done is None or len(done.samples) < _FEWEST:
            continue
        better = [
            one
            for name, other in models.items()
            if not are_one(name, model)
            and (one := _compared(facts, mine, done, name, other)) is not None
        ]
        if better:
            best = min(better, key=lambda one: (one.times * (one.price or 1), one.model))
            yield _candidate(facts, mine, model, done, best)


def _compared(
    facts: Facts, calls: Sequence[int], done: Done, name: str, other: Done
) -> _Other | None:
    """Compares two models; ``None`` where the other is not better in one way and as good in all
    others."""
    if len(other.samples) < _FEWEST or not _are_alike(done.samples, other.samples):
        return None
    if _are_told_apart(done.samples, other.samples):
        return None
    mine, theirs = (sorted(s.spent_ns for s in some.samples) for some in (done, other))
    times = median(theirs) / max(1, median(mine))
    # Three of four are on their side of the middle one of the others.
    apart = theirs[3 * len(theirs) // 4] < median(mine) and mine[len(mine) // 4] > median(theirs)
    saving, price = _paid(facts, calls, name, other)
    faster = times <= _BETTER and apart
    cheaper = price is not None and price <= _BETTER
    if not (faster or cheaper) or times > _WORSE or (price is not None and price > _WORSE):
        return None
    return _Other(name, other, times, saving if cheaper else UNKNOWN, price)


def _are_alike(one: Sequence[Sample], other: Sequence[Sample]) -> bool:
    for sizes in (
        (median(s.input for s in one), median(s.input for s in other)),
        (median(s.output for s in one), median(s.output for s in other)),
    ):
        if max(sizes) >= _ALIKE * min(sizes):
            return False
    return True


def _are_told_apart(one: Sequence[Sample], other: Sequence[Sample]) -> bool:
    """Tells whether each model has system prompts of its own, which come again: roles, that are no
    one step although one place in the code gives out all of them."""
    mine, theirs = (Counter(s.system for s in samples) for samples in (one, other))
    if 0 in mine or 0 in theirs or mine.keys() & theirs.keys():
        return False
    return max(mine.values()) > 1 and max(theirs.values()) > 1


def _paid(
    facts: Facts, calls: Sequence[int], name: str, other: Done
) -> tuple[Saving, float | None]:
    """Works out what `calls` would cost less if the other model were billed for their tokens, and
    the price of the other in times of theirs; unknown without prices."""
    spans = facts.trace.spans
    now = [call for i in calls if (call := spans[i].model_call) is not None]
    then = [replace(call, model=name, provider=other.provider) for call in now]
    started = [spans[i].start_ns for i in calls]
    before, after = (cost_of(some, started, facts.prices) for some in (now, then))
    if not (before.is_whole and after.is_whole) or not before.usd or after.usd is None:
        return UNKNOWN, None
    usd = before.usd - after.usd
    saving = Saving(usd=usd, claims=(Claim("model", usd, dict(zip(calls, then, strict=True))),))
    return saving if is_worth_paying(facts, saving) else UNKNOWN, float(after.usd / before.usd)


def _candidate(
    facts: Facts, calls: Sequence[int], model: str, done: Done, best: _Other
) -> Candidate:
    spans = facts.trace.spans
    mine, theirs = (median(s.spent_ns for s in some.samples) for some in (done, best.done))
    timed = [
        Timed(one.output, one.spent_ns, None if one.first_ns < 0 else one.first_ns)
        for one in best.done.samples
    ]
    known = pace(timed)
    change = None
    if known is not None and best.times <= _BETTER:
        change = AnotherModel(tuple(calls), best.model, known)
    price = (
        "Its price is not known"
        if best.price is None
        else f"For the tokens of this run it costs {best.price:.2g} times as much"
    )
    return Candidate(
        title=f"try {best.model} (quality not checked)",
        plural=f"try {best.model} (quality not checked)",
        place=where_of(facts.trace, (calls[0],)) or spans[calls[0]].name,
        spans=tuple(calls),
        evidence="likely",
        why=(
            f"In these traces {best.model} did this step {len(best.done.samples)} times, in "
            f"{seconds(round(theirs))} (the middle one), and {model} {len(done.samples)} times, in "
            f"{seconds(round(mine))}, with prompts and answers of like sizes. {price}. Whether its "
            "answers are as good was not checked: nothing in a trace tells."
        ),
        fix=(
            f"Run the checks of your own on answers of {best.model} for this step, and take it "
            "only if they are no worse. A prompt cache of the other model begins empty."
        ),
        change=change,
        saving=best.saving,
        where=where_of(facts.trace, (calls[0],)),
        over_runs=(
            f"{seconds(round(theirs))} in {len(best.done.samples)} calls of it, "
            f"{seconds(round(mine))} in {len(done.samples)} of {model}; whether its answers are as "
            "good was not checked"
        ),
        refuted_by="answers that are worse, or steps that were given to it because they are easier",
    )


RULE: Final = Rule(
    code="CP401",
    title="A step that another model did faster or cheaper",
    what=(
        "The traces that were given have the same step done by two models, and the other one did "
        "it in less time or for less money. Whether its answers are as good was not checked."
    ),
    evidence=(
        "likely: the same code (its stack, else the spans around the call) made five calls or more "
        "of each model, whose prompts and answers have sizes that differ by less than a factor of "
        "two in the middle; the other took 70 % of the time or less, with three of four calls on "
        "its side, or costs 70 % or less for the tokens of this run, and is not worse in the other "
        "way by more than 10 %. Nothing is said of models that are asked at once, or by turns in "
        "one span, of one that is asked the same after the other or goes on from its answer, of "
        "those with system prompts of their own, or of answers that were cut off."
    ),
    saving=(
        "By price the tokens of this run, which another model counts in its own way; by replay the "
        "time, with the pace of the calls of the other model. That turns stay as they are is taken "
        "for granted."
    ),
    refuted_by="Answers that are worse, or steps that were given to it because they are easier.",
    fix=(
        "Run checks of your own on the answers of the other model, and take it where they are no "
        "worse."
    ),
    find=other_models,
    change=AnotherModel,
)
