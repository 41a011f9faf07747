"""Predictions, and what became of them, as JSON. Fields of a schema may be added, not changed."""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from causepath_analyzer.analyses.predictions.prediction import Measured, Prediction
from causepath_analyzer.analyses.predictions.whatif import Place, WhatIf
from causepath_analyzer.analyses.replay.profile import PERCENTS, Curve

WHATIF_SCHEMA: Final = "causepath.whatif/1"
VERIFY_SCHEMA: Final = "causepath.verify/1"


class _Curve(Struct):
    operation: str
    less_time_percent: Sequence[int]
    wall_saved_share: Sequence[float]


class _WhatIf(Struct):
    schema: str
    prediction: Prediction | None
    touched_runs: int | None
    path_now: Sequence[Place]
    path_then: Sequence[Place]
    past_errors: Sequence[float]
    profile: Sequence[_Curve]


class _Verify(Struct):
    schema: str
    prediction: Prediction
    runs: int
    p50_ns: int
    p95_ns: int
    predicted_saving_ns: int
    measured_saving_ns: int
    error: float | None
    inside: bool | None
    error_ns: int
    mean_ns: int
    answer_ns: int | None
    cost_usd: str | None


def whatif_json(found: WhatIf | None, told: Prediction | None, curves: Sequence[Curve]) -> bytes:
    """A prediction and the profile, whichever were asked for, in schema `WHATIF_SCHEMA`."""
    return _written(
        _WhatIf(
            schema=WHATIF_SCHEMA,
            prediction=told,
            touched_runs=None if found is None else found.touched,
            path_now=() if found is None else found.path_now,
            path_then=() if found is None else found.path_then,
            past_errors=() if found is None else found.past.errors,
            profile=[
                _Curve(curve.operation, PERCENTS, [round(share, 4) for share in curve.shares])
                for curve in curves
            ],
        )
    )


def verify_json(measured: Measured) -> bytes:
    """`measured` in schema `VERIFY_SCHEMA`."""
    told = measured.prediction
    return _written(
        _Verify(
            schema=VERIFY_SCHEMA,
            prediction=told,
            runs=measured.runs,
            p50_ns=measured.p50_ns,
            p95_ns=measured.p95_ns,
            predicted_saving_ns=told.judged.now - told.judged.then,
            measured_saving_ns=measured.saved_ns,
            error=measured.error,
            inside=measured.inside,
            error_ns=measured.error_ns,
            mean_ns=measured.mean_ns,
            answer_ns=measured.answer_ns,
            cost_usd=None if measured.cost_usd is None else f"{measured.cost_usd:f}",
        )
    )


def prediction_json(told: Prediction) -> bytes:
    """`told` as the file that ``verify`` reads."""
    return _written(told)


def _written(value: Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"
