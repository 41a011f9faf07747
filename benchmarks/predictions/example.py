"""The support agent of `examples`: what causepath says that each fix saves, and what it saves.

python -m benchmarks.predictions.example [--docs]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.predictions.measure import REPOSITORY, put_between
from causepath_analyzer.analyses.run import explained
from causepath_analyzer.read import read

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from causepath_analyzer.analyses.findings.rule import Finding
    from causepath_analyzer.analyses.run import Run

FIXES = ("CP101", "CP102", "CP201", "CP203", "CP503")
RUNS = 6
"""As many as there are variants."""
SIDE_BY_SIDE = 3
START, END = "<!-- example -->", "<!-- end of example -->"


@dataclass(frozen=True)
class Fix:
    """What a finding of the agent as it is says that it saves, and what the fix saved; in seconds
    or else in dollars."""

    finding: Finding
    predicted: float
    measured: float
    unit: str
    gone: bool


def measured(runs: int = RUNS) -> list[Fix]:
    """Compares the agent as it is with the one that has each fix.

    They run in turns, and each is the first, the second and so on as often as the others, so that
    what else the machine does meanwhile disturbs all of them alike.
    """
    variants = ("", *FIXES)
    turns = [(*variants[n % len(variants) :], *variants[: n % len(variants)]) for n in range(runs)]
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        jobs = [
            (fix, Path(name) / f"{fix}-{n}.jsonl") for n, turn in enumerate(turns) for fix in turn
        ]
        found = list(pool.map(lambda job: _run(*job), jobs))
    of: dict[str, list[Run]] = {fix: [] for fix in variants}
    for (fix, _), run in zip(jobs, found, strict=True):
        of[fix].append(run)
    return [_fix(code, of[""], of[code]) for code in FIXES]


def _run(fix: str, file: Path) -> Run:
    """Runs the agent with `fix`, and explains the run."""
    subprocess.run(
        [sys.executable, "examples/support_agent.py", "--fix", fix],
        cwd=REPOSITORY,
        env={**os.environ, "CAUSEPATH": "1", "CAUSEPATH_FILE": str(file)},
        check=True,
        capture_output=True,
        timeout=120,
    )
    (trace,) = read([str(file)]).traces
    return explained(trace, with_cost=True)


def _fix(code: str, before: Sequence[Run], after: Sequence[Run]) -> Fix:
    found = [one for run in before for one in run.findings if one.code == code]
    if len(found) < len(before):
        raise SystemExit(f"{code} is not found in each run of the agent as it is")
    told = found[0].saving
    times = told.ns is not None
    predicted = statistics.median(_size(one.saving.ns, one.saving.usd) for one in found)
    kept = [
        statistics.median(_size(*_spent(run, times=times)) for run in one)
        for one in (before, after)
    ]
    gone = not any(one.code == code for run in after for one in run.findings)
    return Fix(found[0], predicted, kept[0] - kept[1], "s" if times else "$", gone)


def _spent(run: Run, *, times: bool) -> tuple[int | None, Decimal | None]:
    return (run.trace.wall_ns, None) if times else (None, run.cost.usd)


def _size(ns: int | None, usd: Any) -> float:
    return ns / 1e9 if ns is not None else float(usd)


def table(fixes: Sequence[Fix]) -> list[str]:
    """The fixes as a table in Markdown."""
    lines = [
        "| finding | predicted | measured | error | after the fix |",
        "| --- | --: | --: | --: | --- |",
    ]
    for one in fixes:
        error = abs(one.predicted - one.measured) / one.measured if one.measured > 0 else 1
        lines.append(
            f"| {one.finding.code} {one.finding.title} | {_told(one.predicted, one.unit)} "
            f"| {_told(one.measured, one.unit)} | {error:.1%} "
            f"| {'gone' if one.gone else 'still found'} |"
        )
    return lines


def _told(saved: float, unit: str) -> str:
    return f"-{1000 * saved:.0f} ms" if unit == "s" else f"-${saved:.4f}"


def main(argv: Sequence[str]) -> int:
    """Prints the table; with `--docs` also puts it into `docs/what-if.md`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.predictions.example")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--docs", action="store_true", help="put the table into docs/what-if.md")
    options = parser.parse_args(argv)
    fixes = measured(options.runs)
    lines = table(fixes)
    print("\n".join(lines))
    if options.docs:
        put_between(REPOSITORY / "docs" / "what-if.md", START, END, lines)
    return 0 if all(one.gone for one in fixes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
