"""The spans of tools against the times that the tools took by their own clocks."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.recording import Recording

FEW, MANY = 3, 15
"""Rounds: a few to see that each is right, many to see how much longer than the tool a span is."""

ROUNDS = pytest.mark.parametrize(
    "rounds",
    [pytest.param(FEW, id="right"), pytest.param(MANY, id="close", marks=pytest.mark.slow)],
)


def ratios(recording: Recording, own: Sequence[tuple[int, int]]) -> list[float]:
    """Measures how many times as long as the tool itself each span is; `own`: starts and ends."""
    spans = sorted(
        (span.start_time, span.end_time)
        for span in recording.spans()
        if span.name.startswith("execute_tool") and span.start_time and span.end_time
    )
    return [
        (end - start) / (own_end - own_start)
        for (start, end), (own_start, own_end) in zip(spans, sorted(own), strict=True)
    ]


def are_close(told: Sequence[float], rounds: int = FEW) -> bool:
    """Tells whether every span is around its tool and, of many, whether they are hardly longer."""
    return min(told) >= 1 and (rounds < MANY or statistics.median(told) <= 1.1)
