"""Distributions: exact for few values, within the stated error for many, the same of any split."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causepath_analyzer.analyses.summary import distribution
from causepath_analyzer.analyses.summary.distribution import ERROR, Distribution, Spread, spread

PERCENTS = (1, 25, 50, 75, 95, 99, 100)
VALUES = st.lists(
    st.one_of(st.integers(0, 9), st.integers(0, 10**6), st.integers(0, 2**63 - 1)), max_size=60
)


def of(values: Sequence[int]) -> Distribution:
    found = Distribution()
    for value in values:
        found.add(value)
    return found


def ranked(values: Sequence[int], percent: int) -> int:
    ordered = sorted(values)
    return ordered[max(1, -(-len(ordered) * percent // 100)) - 1]


@settings(max_examples=40)
@given(VALUES)
def test_few_values_are_exact(values: list[int]) -> None:
    found = of(values)
    assert found.is_exact
    assert list(found.percentiles(PERCENTS)) == [
        ranked(values, percent) if values else 0 for percent in PERCENTS
    ]
    assert found.spread == spread(values)


@settings(max_examples=40)
@given(VALUES, st.integers(0, 20))
def test_others_are_zero(values: list[int], more: int) -> None:
    whole = [*values, *[0] * more]
    found = of(values).percentiles(PERCENTS, len(whole))
    assert list(found) == [ranked(whole, percent) if whole else 0 for percent in PERCENTS]


@settings(max_examples=40)
@given(VALUES.filter(lambda values: len(values) > 5))
def test_many_values_are_within_the_error(values: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distribution, "MOST_EXACT", 5)
        found = of(values)
    assert not found.is_exact
    assert (found.count, found.total, found.values) == (len(values), sum(values), [])
    for percent, told in zip(PERCENTS, found.percentiles(PERCENTS), strict=True):
        exact = ranked(values, percent)
        assert abs(told - exact) <= exact * ERROR * (1 + 1e-9) + 0.5


@settings(max_examples=40)
@given(VALUES, st.lists(st.integers(0, 3), min_size=60, max_size=60), st.permutations(range(4)))
def test_any_split_in_any_order_is_the_whole(
    values: list[int], parts: list[int], order: list[int]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distribution, "MOST_EXACT", 20)
        split: list[list[int]] = [[], [], [], []]
        for value, part in zip(values, parts, strict=False):
            split[part].append(value)
        joined = Distribution()
        for part in order:
            one = of(split[part])
            joined.join(one)
            assert one.count == len(split[part])
        whole = of(values)
    assert sorted(joined.values) == sorted(whole.values)
    assert (joined.count, joined.total, joined.bins) == (whole.count, whole.total, whole.bins)
    assert list(joined.percentiles(PERCENTS)) == list(whole.percentiles(PERCENTS))


def test_a_distribution_stays_small() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distribution, "MOST_EXACT", 100)
        found = of([10**6 * n for n in range(1, 5_000)])  # from 1 ms to 5 s
    assert len(found.bins) < 500
    assert found.spread == Spread(2_477_884_579, 4_794_297_569, 4_989_963_218, 2_500_000_000)


def test_values_are_counted_between_bounds() -> None:
    assert list(of([0, 1, 5, 5, 9, 10]).counted([1, 5, 10])) == [1, 1, 3, 1]
    assert list(of([]).counted([1])) == [0, 0]
