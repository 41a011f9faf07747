"""Runs every agent as it is and with its fix, and compares the prediction with what came true."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from causepath_analyzer.analyses.predictions.prediction import prediction, verified
from causepath_analyzer.analyses.predictions.whatif import what_if
from causepath_analyzer.analyses.replay.edits import edit
from causepath_analyzer.errors import UsageError
from causepath_analyzer.read import read
from tests.support.messages_api import messages_api_process

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from causepath_analyzer.model import Trace

REPOSITORY = Path(__file__).resolve().parents[2]
RUNS = 5
SIDE_BY_SIDE = 3
START, END = "<!-- predictions -->", "<!-- end of predictions -->"


@dataclass(frozen=True)
class Outcome:
    """What was predicted for an agent and what was measured; times in seconds."""

    agent: str
    edits: tuple[str, ...]
    wall: float
    predicted: float
    measured: float
    error: float | None
    """As a part of what was saved; nothing where nothing was."""
    inside: bool
    width: float
    """Of the range, as a part of what is predicted to be left."""
    at_most: bool
    """Whether the prediction is an upper bound."""


def work(names: Sequence[str], url: str, runs: int) -> None:
    """In a process with the plugin on: runs agents, as they are and fixed in turns.

    Says on standard output which trace was which.
    """
    import anthropic
    from opentelemetry import trace

    import causepath
    from benchmarks.predictions.agents import CASES, Setting

    with anthropic.Anthropic(base_url=url, api_key="test") as client:
        # The first call opens the connection and imports what the SDK imports late.
        told = json.dumps({"agent": "", "seed": 0, "variant": ""})
        client.messages.create(
            model="m", max_tokens=1, system=told, messages=[{"role": "user", "content": "hello"}]
        )
        for name in names:
            for seed in range(-1, runs):
                for fixed in (False, True):
                    setting = Setting(name, client, url, seed, fixed)
                    with causepath.agent(name):
                        context = trace.get_current_span().get_span_context()
                        CASES[name].run(setting)
                    if seed >= 0:  # the first pair warms up
                        ran = {"agent": name, "fixed": fixed, "trace": f"{context.trace_id:032x}"}
                        print(json.dumps(ran), flush=True)


def measured(names: Sequence[str], runs: int = RUNS) -> list[Outcome]:
    """The outcome for each of the agents in `names`."""
    with (
        tempfile.TemporaryDirectory() as folder,
        messages_api_process("benchmarks.predictions.model:answer") as url,
        ThreadPoolExecutor(SIDE_BY_SIDE) as pool,
    ):
        shares = [names[n::SIDE_BY_SIDE] for n in range(SIDE_BY_SIDE)]
        jobs = [
            pool.submit(_worker, share, url, runs, Path(folder) / f"{n}.jsonl")
            for n, share in enumerate(shares)
            if share
        ]
        found = [pair for job in jobs for pair in job.result()]
    order = {name: n for n, name in enumerate(names)}
    return sorted((_outcome(*pair) for pair in found), key=lambda outcome: order[outcome.agent])


def _worker(
    names: Sequence[str], url: str, runs: int, file: Path
) -> list[tuple[str, list[Trace], list[Trace]]]:
    code = "import sys; from benchmarks.predictions.measure import work; work(*eval(sys.argv[1]))"
    no_proxy = f"{os.environ.get('NO_PROXY', '')},127.0.0.1".lstrip(",")
    done = subprocess.run(
        [sys.executable, "-c", code, repr((list(names), url, runs))],
        cwd=REPOSITORY,
        env={
            **os.environ,
            "CAUSEPATH": "1",
            "CAUSEPATH_FILE": str(file),
            "NO_PROXY": no_proxy,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    traces = {trace.trace_id: trace for trace in read([str(file)]).traces}
    said: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    return [
        (
            name,
            [traces[ran["trace"]] for ran in said if ran["agent"] == name and not ran["fixed"]],
            [traces[ran["trace"]] for ran in said if ran["agent"] == name and ran["fixed"]],
        )
        for name in names
    ]


def _outcome(name: str, before: Sequence[Trace], after: Sequence[Trace]) -> Outcome:
    from benchmarks.predictions.agents import CASES

    edits = CASES[name].edits
    told = prediction(what_if(before, [edit(text) for text in edits]))
    came = verified(told, after)
    judged = told.judged
    return Outcome(
        name,
        edits,
        judged.now / 1e9,
        (judged.now - judged.then) / 1e9,
        came.saved_ns / 1e9,
        came.error,
        bool(came.inside),
        ((judged.high or 0) - (judged.low or 0)) / judged.then,
        bool(told.against),
    )


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """The outcomes as a table in Markdown, and the figures that sum them up."""
    lines = [
        "| agent | change | run | predicted | measured | error |",
        "| --- | --- | --: | --: | --: | --: |",
    ]
    for one in outcomes:
        change = ", ".join(f"`{text}`" for text in one.edits)
        miss = "" if one.inside else " (outside the range)"
        at_most = "up to " if one.at_most else ""
        error = "nothing was saved" if one.error is None else f"{one.error:.1%}"
        lines.append(
            f"| {one.agent} | {change} | {one.wall:.2f} s "
            f"| {at_most}{-1000 * one.predicted:+.0f} ms "
            f"| {-1000 * one.measured:+.0f} ms | {error}{miss} |"
        )
    errors = [one.error for one in outcomes if one.error is not None] or [0.0]
    inside = sum(one.inside for one in outcomes)
    width = statistics.median(one.width for one in outcomes)
    summed_up = (
        f"Error of the predicted saving: median {statistics.median(errors):.1%}, worst "
        f"{max(errors):.1%}. The range (80 %) held what was measured in {inside} of "
        f"{len(outcomes)} cases; it is {width:.0%} of the predicted time wide, in the median."
    )
    lines += ["", summed_up]
    return lines


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """Lets so many `processes` keep the machine busy meanwhile."""
    with contextlib.ExitStack() as stack:
        for _ in range(processes):
            loop = stack.enter_context(subprocess.Popen([sys.executable, "-c", _FOR_EVER]))
            stack.callback(loop.kill)
        yield


_FOR_EVER = "while True: sum(range(1000))"


def put_between(page: Path, start: str, end: str, lines: Sequence[str]) -> None:
    """Puts `lines` into `page`, between the comments `start` and `end`, if it has them."""
    block = "\n".join([start, *lines, end])
    pattern = f"{re.escape(start)}.*?{re.escape(end)}"
    page.write_text(re.sub(pattern, lambda _: block, page.read_text(), flags=re.DOTALL))


def main(argv: Sequence[str]) -> int:
    """Prints the table; with `--docs` also puts it into `docs/what-if.md`."""
    from benchmarks.predictions.agents import CASES

    parser = argparse.ArgumentParser(prog="python -m benchmarks.predictions")
    parser.add_argument("agents", nargs="*", metavar="AGENT", help=", ".join(CASES))
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="beside N busy processes")
    parser.add_argument("--docs", action="store_true", help="put the table into docs/what-if.md")
    options = parser.parse_args(argv)
    unknown = [name for name in options.agents if name not in CASES]
    if unknown:
        parser.error(f"no agent is called {unknown[0]!r}; there is {', '.join(CASES)}")
    try:
        with busy(options.busy):
            lines = table(measured(options.agents or list(CASES), options.runs))
    except UsageError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(lines))
    if options.docs:
        put_between(REPOSITORY / "docs" / "what-if.md", START, END, lines)
    return 0
