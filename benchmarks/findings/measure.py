"""Runs every labelled agent with the plugin on, content off and on, and counts what is found."""

from __future__ import annotations

import argparse
import contextlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from benchmarks.findings.cache_breaks import measure as cache_breaks
from benchmarks.findings.cases import CASES, Case
from benchmarks.findings.over_runs import measure as over_runs
from benchmarks.findings.shares import share
from benchmarks.predictions.measure import put_between
from benchmarks.traced_agents import REPOSITORY, traced

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PAGE = REPOSITORY / "docs" / "findings.md"
START, END = "<!-- labelled -->", "<!-- /labelled -->"
AT_ONCE: Final = 12
"""Agents that run beside each other: they wait nearly all of the time."""
_FIRST: Final = ("CP101-gathered", "CP103-two_cities")
"""Agents that are run once before: what SDKs import at the first call takes a while."""
LEAST_PRECISION, LEAST_RECALL = 0.95, 0.9
"""What the product is held to."""


@dataclass(frozen=True)
class Outcome:
    """The codes of the findings that the report on one run has."""

    case: Case
    sdk: str
    content: bool
    found: frozenset[str]

    @property
    def missed(self) -> frozenset[str]:
        return self.case.present - self.found - self.case.undecided

    @property
    def wrong(self) -> frozenset[str]:
        return self.found - self.case.present - self.case.undecided


def labelled() -> dict[str, Case]:
    """Every case by its name."""
    from benchmarks.findings import (
        caches,
        failures,
        order,
        outside,
        overlaps,
        questions,
        repeats,
    )

    assert all((caches, failures, order, outside, overlaps, questions, repeats))
    return CASES


# -- in a process with the plugin on


def work(names: Sequence[str]) -> None:
    """Runs the agents. Says on standard output which trace was which."""
    import anthropic
    import openai

    cases = labelled()
    kinds: dict[str, tuple[Any, Any]] = {
        "anthropic": (anthropic.Anthropic, anthropic.AsyncAnthropic),
        "openai": (openai.OpenAI, openai.AsyncOpenAI),
    }
    for sdk, name in product(kinds, _FIRST):
        _run(cases[name], sdk, *kinds[sdk])
    pairs = [(cases[name], sdk) for name in names for sdk in cases[name].sdks]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for said in pool.map(lambda pair: _run(*pair, *kinds[pair[1]]), pairs):
            print(said, flush=True)


def _run(case: Case, sdk: str, client: Any, awaited: Any) -> str:
    import httpx2
    from opentelemetry import trace

    import causepath
    from benchmarks.findings.agent import Agent, api

    with api(sdk, case.replies) as server, httpx2.Client(verify=False) as http:
        known = {"base_url": server.url, "api_key": "t"}
        agent = Agent(sdk, client(**known, http_client=http), awaited(**known))
        with causepath.agent(case.name):
            context = trace.get_current_span().get_span_context()
            case.run(agent)
    return json.dumps({"name": case.name, "sdk": sdk, "trace": f"{context.trace_id:032x}"})


# -- what is found


def measured(names: Iterable[str]) -> list[Outcome]:
    """Tells what is found in each of the cases `names`, with content off and on."""
    wanted = list(names)
    contents = (False, True) if wanted else ()
    return [one for content in contents for one in _measured(wanted, content=content)]


def _measured(names: Sequence[str], *, content: bool) -> list[Outcome]:
    from causepath_analyzer.analyses.run import explained

    said, traces = traced(
        "benchmarks.findings.measure", names, content=content, timeout_seconds=600
    )
    cases = labelled()
    outcomes = []
    for one in said:
        run = explained(traces[one["trace"]], with_cost=True)
        codes = frozenset(finding.code for finding in run.findings)
        outcomes.append(Outcome(cases[one["name"]], one["sdk"], content, codes))
    return outcomes


# -- the table


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """Writes precision and recall in Markdown, and a line for each run with a miss."""
    lines = [
        "| finding | content | runs with it | found | wrongly | precision | recall |",
        "| --- | --- | --: | --: | --: | --: | --: |",
    ]
    codes = sorted({code for one in outcomes for code in (*one.case.present, *one.found)})
    for code in [*codes, "all"]:
        wanted = codes if code == "all" else [code]
        for content in (False, True):
            hits, wrong, present = counted([o for o in outcomes if o.content is content], wanted)
            lines.append(
                f"| {_named(code)} | {'on' if content else 'off'} | {present} | {hits} | {wrong} "
                f"| {share(hits, hits + wrong)} | {share(hits, present)} |"
            )
    off = [one for one in outcomes if not one.content]
    agents = len({one.case.name for one in off})
    lines += [
        "",
        f"{len(off)} runs ({agents} agents, most on both SDKs), each with content off and on; in",
        "brackets 95 % intervals (Wilson).",
    ]
    return [*lines, *_misses(outcomes)]


def _named(code: str) -> str:
    return code if code == "all" else f"`{code}`"


def _misses(outcomes: Sequence[Outcome]) -> list[str]:
    """Lists the agents in which something was missed or found wrongly, a row for each way."""
    runs: dict[tuple[str, str, str], list[str]] = {}
    ways: dict[str, str] = {}
    for one in outcomes:
        ways[one.case.name] = one.case.way
        told = " ".join(sorted(one.missed)), " ".join(sorted(one.wrong))
        if any(told):
            key = (one.case.name, *told)
            runs.setdefault(key, []).append(f"{one.sdk} {'on' if one.content else 'off'}")
    if not runs:
        return []
    return [
        "",
        "| run | what it is | SDK, content | not found | found wrongly |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| `{name}` | {ways[name]} | {_all_or(listed, outcomes, name)} | {missed} | {wrong} |"
            for (name, missed, wrong), listed in sorted(runs.items())
        ),
    ]


def _all_or(runs: Sequence[str], outcomes: Sequence[Outcome], name: str) -> str:
    every = sum(one.case.name == name for one in outcomes)
    return "each" if len(runs) == every else ", ".join(sorted(runs))


def counted(outcomes: Sequence[Outcome], codes: Iterable[str]) -> tuple[int, int, int]:
    """Counts how often `codes` were found rightly, found wrongly, and are present."""
    hits = wrong = present = 0
    for code in codes:
        for one in outcomes:
            if code in one.case.undecided:
                continue
            hits += code in one.found and code in one.case.present
            wrong += code in one.found and code not in one.case.present
            present += code in one.case.present
    return hits, wrong, present


def main(argv: Sequence[str]) -> int:
    """Prints the tables; fails where less is right than has to be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.findings")
    parser.add_argument(
        "cases",
        nargs="*",
        metavar="CASE",
        help="such as CP101-two_searches, CP104/always_first or a_clock",
    )
    parser.add_argument("--docs", action="store_true", help="put the tables into docs/findings.md")
    options = parser.parse_args(argv)
    runs, folders = labelled(), over_runs.labelled()
    wanted = options.cases or [*runs, *folders, *cache_breaks.BREAKS]
    outcomes = measured(name for name in wanted if name in runs)
    together = over_runs.measured(name for name in wanted if name in folders)
    broken = cache_breaks.measured(name for name in wanted if name in cache_breaks.BREAKS)
    tables = []
    if outcomes:
        tables.append((START, END, table(outcomes)))
    if together:
        tables.append((over_runs.START, over_runs.END, over_runs.table(together)))
    if broken:
        tables.append((cache_breaks.START, cache_breaks.END, cache_breaks.table(broken)))
    for start, end, lines in tables:
        with contextlib.suppress(BrokenPipeError):
            print("\n".join([*lines, ""]))
        if options.docs:
            put_between(PAGE, start, end, lines)
    codes = {code for one in outcomes for code in (*one.case.present, *one.found)}
    both = counted(outcomes, codes), over_runs.counted(together)
    is_right = all(_is_right(*counts) for counts in both)
    return 0 if is_right and cache_breaks.is_right(broken) else 1


def _is_right(hits: int, wrong: int, present: int) -> bool:
    return hits >= LEAST_PRECISION * (hits + wrong) and hits >= LEAST_RECALL * present
