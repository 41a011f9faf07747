"""How the time of a call follows its sizes: known lines are found again, and none is made up."""

import random

import pytest

from causepath_analyzer.analyses.replay.slopes import Sizes, slopes

MS = 1_000_000


def calls(
    sizes: list[tuple[int, int]],
    *,
    first: tuple[float, float] = (100, 0.05),
    rest: float = 10,
    noise: float = 0.0,
    split: bool = True,
) -> list[Sizes]:
    """Calls of so many input and output tokens, of which the first token takes ``first[0]`` ms and
    ``first[1]`` for each input token, and each output token ``rest`` ms."""
    rng = random.Random(7)
    found = []
    for given, written in sizes:
        waited = (first[0] + first[1] * given) * rng.uniform(1 - noise, 1 + noise)
        wrote = rest * written * rng.uniform(1 - noise, 1 + noise)
        found.append(
            Sizes(
                given,
                None,
                written,
                round((waited + wrote) * MS),
                round(waited * MS) if split else None,
            )
        )
    return found


GROWING = [(1000 + 700 * n, 20 + 30 * (n * 7 % 10)) for n in range(10)]


@pytest.mark.parametrize("split", [True, False])
def test_both_slopes_are_found_whether_or_not_the_first_token_is_told(split: bool) -> None:
    found = slopes(calls(GROWING, split=split))
    assert found.split == split
    assert found.input is not None
    assert found.output is not None
    assert found.input.slope_ns == pytest.approx(0.05 * MS, rel=0.02)
    assert found.output.slope_ns == pytest.approx(10 * MS, rel=0.02)
    assert found.input.at(2000) == pytest.approx(200 * MS, rel=0.05)


def test_a_tenth_of_noise_widens_the_range_which_holds_the_truth() -> None:
    line = slopes(calls(GROWING * 3, noise=0.1)).input
    assert line is not None
    assert line.low_ns < 0.05 * MS < line.high_ns
    assert line.high_ns - line.low_ns > 0.002 * MS


def test_calls_that_were_disturbed_do_not_decide() -> None:
    told = calls(GROWING)
    told[3] = Sizes(3100, None, 20, 9_000 * MS, 8_000 * MS)
    line = slopes(told).input
    assert line is not None
    assert line.slope_ns == pytest.approx(0.05 * MS, rel=0.05)


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (calls(GROWING[:4]), "4 calls tell it, 5 are needed"),
        (calls([(1000 + n, 10) for n in range(20)]), "the sizes of its 20 calls hardly differ"),
        (
            [
                Sizes(1000 * (1 + n % 3), None, 5, 900 * MS, (400 + 300 * (n * 7 % 5)) * MS)
                for n in range(12)
            ],
            "its 12 calls do not show that time follows size",
        ),
        ([Sizes(None, None, 5, 900 * MS, 400 * MS)] * 9, "0 calls tell it, 5 are needed"),
        (
            calls([(1000 * n, 30 * n + n % 2) for n in range(1, 9)], split=False),
            "input and output of its calls grow together, so that nothing tells them apart",
        ),
        ([], "0 calls tell it, 5 are needed"),
    ],
    ids=["few", "alike", "noise", "no sizes", "both", "none"],
)
def test_what_the_traces_do_not_show_is_not_said(told: list[Sizes], why: str) -> None:
    found = slopes(told)
    assert (found.input, found.input_why) == (None, why)


def test_a_first_token_that_does_not_depend_on_the_input_has_no_slope() -> None:
    line = slopes(calls(GROWING, first=(100, 0))).input
    assert line is not None
    assert line.slope_ns == 0


def test_bytes_stand_in_for_tokens_that_all_are_alike() -> None:
    told = [Sizes(300, 2000 * n, 50, 900 * MS, (50 + 25 * n) * MS) for n in range(1, 8)]
    line = slopes(told).input
    assert line is not None
    assert (line.unit, line.slope_ns) == ("bytes", 25 * MS / 2000)
