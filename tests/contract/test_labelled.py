"""Pairs of calls of real agents whose dependence is known: nothing false is called proved.

A part of `python -m benchmarks.labelled`, which has all of them; and the numbers that `causepath
explain` tells are those that it kept.
"""

from __future__ import annotations

import json

import pytest

from benchmarks.labelled.measure import COUNTS, LEAST_INDEPENDENT, counted, measured, named, shares

EVERY = 4


@pytest.mark.slow
def test_what_is_claimed_of_labelled_pairs() -> None:
    names = list(named())[::EVERY]
    outcomes = measured(names)
    assert [one.name for one in outcomes] == names * 2
    assert [one for one in outcomes if one.is_wrong] == []
    likely, found = shares(outcomes)
    assert likely <= 0.2  # of so few, two are a tenth
    assert found >= LEAST_INDEPENDENT


def test_every_way_to_need_a_call_is_there() -> None:
    pairs = named().values()
    assert len(pairs) >= 150
    assert min(sum(pair.dependent for pair in pairs), sum(not p.dependent for p in pairs)) > 50
    kept = json.loads(COUNTS.read_text())
    labels = {
        code: (2 * told["dependent"], 2 * told["independent"])
        for code, told in counted_labels().items()
    }
    assert {code: (one["dependent"], one["independent"]) for code, one in kept.items()} == labels


def counted_labels() -> dict[str, dict[str, int]]:
    from benchmarks.labelled.measure import Outcome, code_of

    pairs = named().items()
    return counted(Outcome(n, code_of(n), p.way, p.dependent, False, "") for n, p in pairs)
