"""Predictions that are kept, compared with what was measured, and remembered with their errors."""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from causepath_analyzer.analyses.summary import spread
from causepath_analyzer.analyses.whatif import Estimate, PastErrors, WhatIf, agents, median_turns
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
    """What ``whatif --save`` writes. Times in ns, costs as decimal strings."""

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


class Measured(Struct, frozen=True):
    """A prediction beside what came true. ``error`` is the distance between predicted and
    measured saving, as a part of the measured one; ``None`` where nothing was saved. ``inside``
    is ``None`` where the prediction had no range."""

    prediction: Prediction
    runs: int
    p50_ns: int
    p95_ns: int
    error: float | None
    inside: bool | None


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


def prediction(found: WhatIf) -> Prediction:
    """`found` as it is kept."""
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
    )


def _range(estimate: Estimate) -> Range:
    return Range(estimate.now_ns, estimate.then_ns, estimate.low_ns, estimate.high_ns)


def verified(told: Prediction, traces: Sequence[Trace]) -> Measured:
    """How right `told` was about `traces`, which came after the change.

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
    saved = told.p50.now - walls.p50
    predicted = told.p50.now - told.p50.then
    error = abs(predicted - saved) / abs(saved) if saved else None
    inside = None
    if told.p50.low is not None and told.p50.high is not None:
        inside = told.p50.low <= walls.p50 <= told.p50.high
    return Measured(told, len(trusted), walls.p50, walls.p95, error, inside)


def _differences(told: Prediction, traces: Sequence[Trace]) -> list[str]:
    found = []
    now = agents(traces)
    if set(now) != set(told.agents):
        found.append(f"predicted for {_listed(told.agents)}, measured {_listed(now)}")
    turns = median_turns(traces)
    if turns != told.turns:
        found.append(f"predicted for {told.turns} turns in a typical run, measured {turns}")
    return found


def _listed(names: Mapping[str, int]) -> str:
    shown = list(names)[:3] + ([f"{len(names) - 3} more"] if len(names) > 3 else [])
    return "agent " + ", ".join(shown)


def entry(measured: Measured, at: str) -> Entry:
    """The line of the ledger that remembers `measured`."""
    told = measured.prediction
    return Entry(
        schema=LEDGER_SCHEMA,
        kinds=told.kinds,
        edits=told.edits,
        at=at,
        predicted_saving_ns=told.p50.now - told.p50.then,
        measured_saving_ns=told.p50.now - measured.p50_ns,
        error=measured.error,
        inside=measured.inside,
    )


def past_errors(entries: Sequence[Entry], kinds: Sequence[str]) -> PastErrors:
    """The errors of predictions with the same `kinds` of changes, oldest first, with their sign."""
    errors = []
    for one in entries:
        if set(one.kinds) == set(kinds) and one.predicted_saving_ns:
            missed = one.predicted_saving_ns - one.measured_saving_ns
            errors.append(missed / one.predicted_saving_ns)
    return PastErrors(tuple(errors))
