"""Predictions that are kept, compared with what was measured, and remembered with their errors."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from msgspec import Struct

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.path.cost import TABLE_ONLY, OwnPrices
from causepath_analyzer.analyses.predictions.whatif import (
    WhatIf,
    agents,
    answers_begin_ns,
    mean_usd,
    median_turns,
    spent_usd,
)
from causepath_analyzer.analyses.replay.ranges import Estimate, PastErrors
from causepath_analyzer.analyses.summary.distribution import spread
from causepath_analyzer.errors import UsageError
from causepath_analyzer.model import Trace

PREDICTION_SCHEMA: Final = "causepath.prediction/1"
LEDGER_SCHEMA: Final = "causepath.ledger/1"


class Range(Struct, frozen=True):
    """A percentile of the wall time, as it was, as predicted, and between what."""

    now: int
    then: int
    low: int | None
    high: int | None


class Prediction(Struct, frozen=True, omit_defaults=False):
    """The file that ``whatif --save`` writes. Times in ns, costs as decimal strings."""

    schema: str
    edits: tuple[str, ...]
    kinds: tuple[str, ...]
    runs: int
    agents: Mapping[str, int]
    turns: int
    p50: Range
    p95: Range
    cost_now_usd: str | None
    cost_then_usd: str | None
    assumes: tuple[str, ...]
    not_predicted: tuple[str, ...]
    turns_between: tuple[int, int] | None = None
    """The fewest and the most. Not in what earlier versions kept."""
    mean: Range | None = None
    """Not in what earlier versions kept."""
    answer: Range | None = None
    """When the last answer begins to be seen, in a typical run."""
    unknown: tuple[str, ...] = ()
    """Why there is no range although there are several runs."""
    against: tuple[str, ...] = ()
    """Why the saving is an upper bound."""
    traces: Mapping[str, int] = {}
    """The wall of each trace that it was made from. Not in what earlier versions kept."""
    last_start_ns: int = 0
    """When the latest of them began."""
    made_at: str | None = None

    def __post_init__(self) -> None:
        # Raised while a file is decoded, this is said as every other mistake in it.
        for cost in (self.cost_now_usd, self.cost_then_usd):
            if cost is not None and not re.fullmatch(r"\d+(\.\d+)?", cost, re.ASCII):
                raise ValueError(f"{cost!r} is no cost in US dollars")

    @property
    def judged(self) -> Range:
        """Picks the range that the change is about: the wall, or the answer if this alone is to
        come sooner.

        A change that does nothing to a typical run is judged by the mean of all runs.
        """
        if self.kinds == ("stream",) and self.answer is not None:
            return self.answer
        rare = self.mean is not None and _hardly(self.p50) and not _hardly(self.mean)
        return self.mean if rare and self.mean is not None else self.p50


def _hardly(told: Range) -> bool:
    """Tells whether hardly anything is to change."""
    return abs(told.now - told.then) * HARDLY < told.now


HARDLY: Final = 50
"""Less than one part in so many is hardly a saving: an error relative to it says nothing."""


class Measured(Struct, frozen=True):
    """A prediction beside what came true.

    ``saved_ns`` is what was saved of what the prediction is judged by, and ``error_ns`` how far
    the prediction was off. ``error`` is that as a part of what was saved; ``None`` where it would
    say nothing, as hardly anything was saved. ``inside`` is ``None`` where the prediction had no
    range, or where the traces do not tell.
    """

    prediction: Prediction
    runs: int
    p50_ns: int
    p95_ns: int
    mean_ns: int
    saved_ns: int
    error_ns: int
    error: float | None
    inside: bool | None
    answer_ns: int | None = None
    cost_usd: Decimal | None = None
    """The mean per run, if the prediction tells one and the price of every call is known."""


class Kept(Struct, frozen=True):
    """A prediction in a ``file``, and how it came out, or the ``problem`` that nobody can tell."""

    file: str
    prediction: Prediction
    measured: Measured | None = None
    problem: str | None = None


class Entry(Struct, frozen=True):
    """One line of the ledger."""

    schema: str
    kinds: tuple[str, ...]
    edits: tuple[str, ...]
    at: str
    predicted_saving_ns: int
    measured_saving_ns: int
    error: float | None
    inside: bool | None
    now_ns: int = 0


def prediction(
    found: WhatIf, traces: Sequence[Trace] = (), made_at: str | None = None
) -> Prediction:
    """Makes what is kept of `found`, which was made from `traces`."""
    return Prediction(
        schema=PREDICTION_SCHEMA,
        edits=found.edits,
        kinds=found.kinds,
        runs=found.runs,
        agents=found.agents,
        turns=found.turns,
        p50=_range(found.p50),
        p95=_range(found.p95),
        cost_now_usd=None if found.cost_now_usd is None else f"{found.cost_now_usd:f}",
        cost_then_usd=None if found.cost_then_usd is None else f"{found.cost_then_usd:f}",
        assumes=found.assumes,
        not_predicted=found.not_predicted,
        turns_between=found.turns_between,
        mean=_range(found.mean),
        answer=None if found.answer is None else _range(found.answer),
        unknown=found.unknown,
        against=found.against,
        traces={trace.trace_id: trace.wall_ns for trace in traces},
        last_start_ns=max((trace.start_ns for trace in traces), default=0),
        made_at=made_at,
    )


def _range(estimate: Estimate) -> Range:
    return Range(estimate.now_ns, estimate.then_ns, estimate.low_ns, estimate.high_ns)


def is_made_from(told: Prediction, traces: Sequence[Trace]) -> bool:
    """Tells whether any of `traces` is one that `told` was made from."""
    return any(told.traces.get(trace.trace_id) == trace.wall_ns for trace in traces)


def kept(
    file: str, told: Prediction, traces: Sequence[Trace], prices: OwnPrices = TABLE_ONLY
) -> Kept:
    """Measures how right `told`, the prediction in a `file`, was about `traces` after the
    change."""
    try:
        return Kept(file, told, verified(told, after_the_change(told, traces), prices))
    except UsageError as error:
        return Kept(file, told, problem=str(error))


def after_the_change(told: Prediction, traces: Sequence[Trace]) -> Sequence[Trace]:
    """Leaves out of `traces` those that `told` was made from, as new ones are appended to the same
    file. Where there are any of them, others that began before the last of them are as old.

    Raises `UsageError` if nothing is left.
    """
    known = [told.traces.get(trace.trace_id) == trace.wall_ns for trace in traces]
    if not any(known):
        return traces
    new = [
        trace
        for trace, is_known in zip(traces, known, strict=True)
        if not is_known and trace.start_ns > told.last_start_ns
    ]
    if not new:
        raise UsageError(
            "all of these runs are from before the prediction: record some after the change"
        )
    return new


def verified(told: Prediction, traces: Sequence[Trace], prices: OwnPrices = TABLE_ONLY) -> Measured:
    """Measures how right `told` was about `traces`, which came after the change; `prices` go over
    those of the table.

    Raises `UsageError` if these are not runs of the same agents with the same turns.
    """
    trusted = [trace for trace in traces if not trace.untrusted]
    if not trusted:
        raise UsageError("the times in these traces mean nothing, so nothing can be compared")
    differences = _differences(told, trusted)
    if differences:
        raise UsageError(
            "these traces are not what the prediction is about: " + "; ".join(differences)
        )
    walls = spread([trace.wall_ns for trace in trusted])
    mean_ns = sum(trace.wall_ns for trace in trusted) // len(trusted)
    answer_ns = answers_begin_ns(trusted) if told.answer is not None else None
    judged = told.judged
    came_ns: int | None = walls.p50
    if judged is not told.p50:
        came_ns = answer_ns if judged is told.answer else mean_ns
    if came_ns is None:
        raise UsageError(
            "these traces do not tell when the last answer began to be seen: that is the time to "
            "first token of a streamed call"
        )
    by_mean = judged is told.mean
    inside = [_inside(judged, mean_ns) if by_mean else _inside(told.p50, walls.p50)]
    if "stream" in told.kinds and told.answer is not None:
        inside.append(None if answer_ns is None else _inside(told.answer, answer_ns))
    error_ns = abs(judged.then - came_ns)
    return Measured(
        prediction=told,
        runs=len(trusted),
        p50_ns=walls.p50,
        p95_ns=walls.p95,
        mean_ns=mean_ns,
        saved_ns=judged.now - came_ns,
        error_ns=error_ns,
        error=None if _hardly(judged) else _relative(error_ns, judged.now - came_ns, judged.now),
        inside=False if False in inside else None if None in inside else True,
        answer_ns=answer_ns,
        cost_usd=mean_usd([spent_usd(Facts(one, prices=prices)) for one in trusted])
        if told.cost_then_usd is not None
        else None,
    )


def _inside(told: Range, measured_ns: int) -> bool | None:
    if told.low is None or told.high is None:
        return None
    return told.low <= measured_ns <= told.high


def _relative(error_ns: int, saved_ns: int, now_ns: int) -> float | None:
    """The error as a part of what was saved, if that is more than next to nothing."""
    if abs(saved_ns) * HARDLY < now_ns or error_ns > abs(saved_ns):
        return None
    return error_ns / abs(saved_ns) if saved_ns else None


def _differences(told: Prediction, traces: Sequence[Trace]) -> list[str]:
    found = []
    now = agents(traces)
    if set(now) != set(told.agents):
        found.append(f"predicted for {_listed(told.agents)}, measured {_listed(now)}")
    turns = median_turns(traces)
    fewest, most = told.turns_between or (told.turns, told.turns)
    if not fewest <= turns <= most:
        found.append(f"predicted for {told.turns} turns in a typical run, measured {turns}")
    return found


def _listed(names: Mapping[str, int]) -> str:
    shown = list(names)[:3] + ([f"{len(names) - 3} more"] if len(names) > 3 else [])
    return "agent " + ", ".join(shown)


def entry(measured: Measured, at: str) -> Entry:
    """The line of the ledger that remembers `measured`."""
    told = measured.prediction
    judged = told.judged
    return Entry(
        schema=LEDGER_SCHEMA,
        kinds=told.kinds,
        edits=told.edits,
        at=at,
        predicted_saving_ns=judged.now - judged.then,
        measured_saving_ns=measured.saved_ns,
        error=measured.error,
        inside=measured.inside,
        now_ns=judged.now,
    )


def past_errors(entries: Sequence[Entry], kinds: Sequence[str]) -> PastErrors:
    """The errors of predictions with the same `kinds` of changes, oldest first, with their sign.

    They are parts of what was predicted: where that was hardly anything, they say nothing.
    """
    errors = []
    for one in entries:
        hardly = abs(one.predicted_saving_ns) * HARDLY < one.now_ns
        if set(one.kinds) == set(kinds) and one.predicted_saving_ns and not hardly:
            missed = one.predicted_saving_ns - one.measured_saving_ns
            errors.append(missed / one.predicted_saving_ns)
    return PastErrors(tuple(errors))
