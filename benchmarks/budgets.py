"""How often `causepath check` is wrong about a change whose truth is known.

Each simulated pull request has the runs of a baseline and its own; the budget is the one that the
docs advise, on the median wall. Noise is as in traces of agents: a spread of a quarter, now and
then a run several times as long, agents with two ways through them, and a provider that was slower
or faster on another day.

    python -m benchmarks.budgets [REQUESTS]
"""

import sys
from collections import Counter
from collections.abc import Callable
from random import Random

from causepath_analyzer.analyses.budgets.measures import Sample, Used
from causepath_analyzer.analyses.budgets.verdicts import Verdict, checked
from causepath_analyzer.analyses.budgets.wording import wording
from causepath_analyzer.analyses.path.status import WELL

BUDGET = "p(50) wall < +15% and +200ms"
BEFORE, RUNS = 200, 40
TYPICAL_NS = 12_000_000_000
CHANGES = (0, 5, 10, 30)


def _even(random: Random) -> float:
    return random.lognormvariate(0, 0.25)


def _tailed(random: Random) -> float:
    return _even(random) * (1 + random.paretovariate(1.5) if random.random() < 0.05 else 1)


def _two_ways(random: Random) -> float:
    return random.lognormvariate(0, 0.15) * (1.8 if random.random() < 0.3 else 1)


NOISES: dict[str, tuple[Callable[[Random], float], float]] = {
    "even": (_even, 0.0),
    "heavy tail": (_tailed, 0.0),
    "two ways": (_two_ways, 0.0),
    "drift": (_tailed, 0.03),
}
"""Of the wall of a run, and of the provider on a day."""


def _sample(ns: float) -> Sample:
    return Sample("", "agent", None, WELL, {"wall": Used(round(ns))})


def request(random: Random, noise: str, percent: int) -> Verdict:
    """Simulates one pull request that makes the agent slower by `percent`, and judges it."""
    of, drift = NOISES[noise]

    def runs(count: int, factor: float) -> list[Sample]:
        day = random.lognormvariate(0, drift)
        return [_sample(TYPICAL_NS * factor * day * of(random)) for _ in range(count)]

    budget = wording(BUDGET, "benchmark")
    before = runs(BEFORE, 1.0)
    (found,) = checked([budget], runs(RUNS, 1 + percent / 100), before).budgets
    return found.verdict


def main() -> None:
    """Prints a row for each kind of noise and each change."""
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    each = max(1, requests // (len(NOISES) * len(CHANGES)))
    print(f"{BUDGET}; {RUNS} runs against {BEFORE}; {each} requests a row\n")
    print("| noise | slower by | pass | inconclusive | fail |")
    print("| --- | --: | --: | --: | --: |")
    totals = {percent: Counter[Verdict]() for percent in CHANGES}
    for noise in NOISES:
        random = Random(noise)
        for percent in CHANGES:
            counted = Counter(request(random, noise, percent) for _ in range(each))
            totals[percent] += counted
            print(_row(noise, percent, counted))
    for percent, counted in totals.items():
        print(_row("all", percent, counted))


def _row(noise: str, percent: int, counted: Counter[Verdict]) -> str:
    verdicts: tuple[Verdict, ...] = ("pass", "inconclusive", "fail")
    shares = [f"{100 * counted[verdict] / counted.total():.1f} %" for verdict in verdicts]
    return f"| {noise} | {percent} % | {' | '.join(shares)} |"


if __name__ == "__main__":
    main()
