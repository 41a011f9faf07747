"""How often `causepath check` is wrong about a change whose truth is known.

Each simulated pull request has the runs of a baseline and its own; the budgets are those that the
docs advise. Noise is as in traces of agents: a spread of a quarter, now and then a run several
times as long, agents with two ways through them, and a provider that was slower or faster on
another day. The same requests are drawn each time.

    python -m benchmarks.budgets [REQUESTS] [--docs]

It exits with 1 where a goal is missed: of changes of nothing at most 2 % fail and at least 70 %
pass, of +30 % at most 5 % pass and at least 60 % fail, on the median of 40 runs.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random

from causepath_analyzer.analyses.budgets.measures import Sample, Used
from causepath_analyzer.analyses.budgets.verdicts import Verdict, checked
from causepath_analyzer.analyses.budgets.wording import wording
from causepath_analyzer.analyses.path.status import WELL

MEDIAN = ("p(50) wall < +15% and +200ms", 40)
BUDGETS = (
    MEDIAN,
    ("mean wall < +15% and +200ms", 40),
    ("p(95) wall < +15% and +200ms", 100),
)
"""Each with the runs of a request."""
BEFORE = 200
TYPICAL_NS = 12_000_000_000
CHANGES = (0, 5, 10, 30, 60)
PAGE = Path(__file__).resolve().parents[1] / "docs" / "budgets.md"
START, END = "<!-- figures -->", "<!-- end of figures -->"
VERDICTS: tuple[Verdict, ...] = ("pass", "inconclusive", "fail")


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


def request(random: Random, noise: str, percent: int, text: str, runs: int) -> Verdict:
    """Simulates one pull request that makes the agent slower by `percent`, and judges it."""
    of, drift = NOISES[noise]

    def drawn(count: int, factor: float) -> list[Sample]:
        day = random.lognormvariate(0, drift)
        return [_sample(TYPICAL_NS * factor * day * of(random)) for _ in range(count)]

    before = drawn(BEFORE, 1.0)
    (found,) = checked([wording(text, "benchmark")], drawn(runs, 1 + percent / 100), before).budgets
    return found.verdict


def judged(text: str, runs: int, requests: int) -> Mapping[int, Mapping[Verdict, float]]:
    """Counts, for each change, which part of as many `requests` in all came out how: of each kind
    of noise as many."""
    each = max(1, requests // (len(NOISES) * len(CHANGES)))
    totals = {percent: Counter[Verdict]() for percent in CHANGES}
    for noise in NOISES:
        random = Random(noise)
        for percent in CHANGES:
            totals[percent].update(request(random, noise, percent, text, runs) for _ in range(each))
    return {
        percent: {verdict: counted[verdict] / counted.total() for verdict in VERDICTS}
        for percent, counted in totals.items()
    }


def missed(of: Mapping[int, Mapping[Verdict, float]]) -> Sequence[str]:
    """Lists the goals that the median does not reach."""
    goals = {
        "false alarms, at most 2 %": of[0]["fail"] <= 0.02,
        "no change that passes, at least 70 %": of[0]["pass"] >= 0.7,
        "+30 % that passes, at most 5 %": of[30]["pass"] <= 0.05,
        "+30 % that fails, at least 60 %": of[30]["fail"] >= 0.6,
    }
    return [name for name, reached in goals.items() if not reached]


def main(argv: Sequence[str]) -> int:
    """Prints a row for each budget and each change; with `--docs` also puts them into the docs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.budgets")
    parser.add_argument("requests", nargs="?", type=int, default=1_000, help="for each budget")
    parser.add_argument("--docs", action="store_true", help="put the table into docs/budgets.md")
    options = parser.parse_args(argv)
    lines = [
        "| budget | runs | slower by | pass | inconclusive | fail |",
        "| --- | --: | --: | --: | --: | --: |",
    ]
    problems: Sequence[str] = ()
    for text, runs in BUDGETS:
        found = judged(text, runs, options.requests)
        lines += [_row(text, runs, percent, shares) for percent, shares in found.items()]
        if (text, runs) == MEDIAN:
            problems = missed(found)
    print("\n".join(lines))
    if options.docs:
        block = "\n".join([START, *lines, END])
        pattern = f"{re.escape(START)}.*?{re.escape(END)}"
        PAGE.write_text(re.sub(pattern, lambda _: block, PAGE.read_text(), flags=re.DOTALL))
    for problem in problems:
        print(f"missed: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _row(text: str, runs: int, percent: int, shares: Mapping[Verdict, float]) -> str:
    told = [f"{100 * shares[verdict]:.1f} %" for verdict in VERDICTS]
    return f"| `{text}` | {runs} | {percent} % | {' | '.join(told)} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
