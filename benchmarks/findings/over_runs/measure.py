"""Runs every labelled folder with the plugin on, content off and on, and counts what is found."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.findings.over_runs.cases import FOLDERS, Folder, Run
from benchmarks.findings.shares import share
from benchmarks.traced_agents import exported

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from causepath_analyzer.analyses.findings.rule import Finding
    from tests.support.script import Answer, Request

START, END = "<!-- labelled-folders -->", "<!-- /labelled-folders -->"
AT_ONCE: Final = 12
FIRST_NS: Final = 1_790_000_000 * 10**9
"""The first run of each folder begins at this time."""
_ABOUT: Final = {
    "CP104": re.compile(r"start (.+) before it is asked for"),
    "CP201": re.compile(r"keep the results of (.+) over runs"),
    "CP301": re.compile(r"prompts of (.+) grew over \d+ weeks"),
    "CP401": re.compile(r"try (.+) \(quality not checked\)"),
}
"""What findings that only many runs show are about, which their titles say."""


@dataclass(frozen=True)
class Outcome:
    """What the runs of one folder have together."""

    folder: Folder
    content: bool
    found: frozenset[str]

    @property
    def missed(self) -> frozenset[str]:
        return self.folder.present - self.found - self.folder.undecided

    @property
    def wrong(self) -> frozenset[str]:
        return self.found - self.folder.present - self.folder.undecided


def labelled() -> Mapping[str, Folder]:
    """Every folder by its name."""
    from benchmarks.findings.over_runs import early, models, results, weeks

    assert all((early, models, results, weeks))
    return FOLDERS


# -- in a process with the plugin on


def work(names: Sequence[str]) -> None:
    """Runs the agents. Says on standard output which trace is which run of which folder."""
    import anthropic
    import httpx2
    import openai

    from tests.support.messages_api import MessagesApi
    from tests.support.openai_api import OpenAiApi

    said: dict[str, list[Answer]] = defaultdict(list)

    def answer(request: Request) -> Answer:
        return said[request.headers["x-run"]].pop(0)

    folders = labelled()
    runs = [(folders[name], number) for name in names for number in range(folders[name].runs)]
    with (
        MessagesApi(answer, keep=False) as messages,
        OpenAiApi(answer, keep=False) as completions,
        httpx2.Client(verify=False) as http,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        clients = {}
        for sdk, url, plain, awaited in (
            ("anthropic", messages.url, anthropic.Anthropic, anthropic.AsyncAnthropic),
            ("openai", completions.url, openai.OpenAI, openai.AsyncOpenAI),
        ):
            known: dict[str, Any] = {"base_url": url, "api_key": "t"}
            later = httpx2.AsyncClient(verify=False)
            clients[sdk] = plain(**known, http_client=http), awaited(**known, http_client=later)

        def done(one: tuple[Folder, int]) -> str:
            key = f"{one[0].name}/{one[1]}"
            return _run(*one, clients, key, said[key])

        for told in pool.map(done, runs):
            print(told, flush=True)


def _run(
    folder: Folder,
    number: int,
    clients: Mapping[str, tuple[Any, Any]],
    key: str,
    said: list[Answer],
) -> str:
    from opentelemetry import trace

    import causepath
    from benchmarks.findings.agent import Agent

    agents = {
        sdk: Agent(sdk, *[client.copy(default_headers={"x-run": key}) for client in both])
        for sdk, both in clients.items()
    }
    with causepath.agent(folder.agent(number)):
        context = trace.get_current_span().get_span_context()
        folder.work(Run(number, agents, folder.sdk, said))
    if said:
        raise AssertionError(f"{key}: {len(said)} answers are left")
    told = {"name": folder.name, "number": number, "trace": f"{context.trace_id:032x}"}
    return json.dumps(told)


# -- the folders


def written(file: Path, said: Iterable[Mapping[str, Any]], into: Path) -> None:
    """Writes the traces in `file` into a folder for each name, at the times that its runs have: all
    of them were made within a minute."""
    names = {one["trace"]: (one["name"], one["number"]) for one in said}
    spans = [_told(one) for one in _spans(file)]
    begun: dict[str, int] = {}
    for span, _ in spans:
        start_ns = int(span["startTimeUnixNano"])
        begun[span["traceId"]] = min(start_ns, begun.get(span["traceId"], start_ns))
    lines: dict[tuple[str, int], list[str]] = defaultdict(list)
    for span, line in spans:
        name, number = names.get(span["traceId"], ("", 0))
        if not name:
            continue
        at_ns = FIRST_NS + round(FOLDERS[name].at(number) * 10**9)
        moved(span, at_ns - begun[span["traceId"]])
        lines[name, number].append(json.dumps(line))
    for (name, number), some in lines.items():
        folder = into / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:03}.jsonl").write_text("\n".join(some) + "\n")


def _spans(file: Path) -> Iterator[Any]:
    for text in file.read_text().splitlines():
        for resource in json.loads(text)["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    yield resource, scope, span


def _told(one: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    resource, scope, span = one
    return span, {"resourceSpans": [{**resource, "scopeSpans": [{**scope, "spans": [span]}]}]}


def moved(span: dict[str, Any], by_ns: int) -> None:
    """Moves a span in time, with all that happens in it."""
    for part in (span, *span.get("events", ())):
        for name in ("startTimeUnixNano", "endTimeUnixNano", "timeUnixNano"):
            if name in part:
                part[name] = str(int(part[name]) + by_ns)


# -- what is found


def measured(names: Iterable[str]) -> list[Outcome]:
    """Tells what the runs of the folders `names` show together, with content off and on."""
    wanted = list(names)
    contents = (False, True) if wanted else ()
    return [one for content in contents for one in _measured(wanted, content=content)]


def _measured(names: Sequence[str], *, content: bool) -> Iterator[Outcome]:
    folders = labelled()
    kept = os.environ.get("CAUSEPATH_KEEP")
    with tempfile.TemporaryDirectory() as scratch:
        into = Path(kept or scratch, "on" if content else "off")
        file = Path(scratch) / "traces.jsonl"
        said = exported(
            "benchmarks.findings.over_runs.measure",
            names,
            file,
            content=content,
            timeout_seconds=600,
        )
        written(file, said, into)
        for name in names:
            found = frozenset(found_in(into / name))
            yield Outcome(folders[name], content, found)


def found_in(folder: Path) -> Iterator[str]:
    """Lists what is said of a folder that no run of it shows alone."""
    from causepath_analyzer.analyses.proof.independence import elsewhere
    from causepath_analyzer.analyses.run import explained
    from causepath_analyzer.read import read

    traces = read([str(folder)]).traces
    others = elsewhere(traces)
    for trace in traces:
        run = explained(trace, with_cost=True, others=others)
        assert run.faults == (), run.faults
        for finding in run.findings:
            subject = subject_of(finding)
            if subject is not None:
                yield f"{finding.code} {subject}"


def subject_of(finding: Finding) -> str | None:
    """Tells what a finding of many runs is about; ``None`` for those of one."""
    pattern = _ABOUT.get(finding.code)
    match = pattern.match(finding.title) if pattern is not None else None
    return match[1] if match is not None else None


# -- the table


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """Writes precision and recall in Markdown, and a line for each folder with a miss."""
    lines = [
        "| finding | content | folders with it | without | found | wrongly | precision | recall |",
        "| --- | --- | --: | --: | --: | --: | --: | --: |",
    ]
    for code in [*_ABOUT, "all"]:
        for content in (False, True):
            some = [one for one in outcomes if one.content is content]
            hits, wrong, present = counted(some, code)
            folders = {one.folder.name for one in some if _about(one.folder.present, code)}
            others = [
                one
                for one in some
                if code in ("all", one.folder.about) and one.folder.name not in folders
            ]
            lines.append(
                f"| {code if code == 'all' else f'`{code}`'} | {'on' if content else 'off'} "
                f"| {len(folders)} | {len(others)} | {hits} of {present} | {wrong} "
                f"| {share(hits, hits + wrong)} | {share(hits, present)} |"
            )
    off = [one.folder for one in outcomes if not one.content]
    lines += [
        "",
        f"{len(off)} folders with {sum(folder.runs for folder in off):,} runs, each with content",
        "off and on; in brackets 95 % intervals (Wilson).",
    ]
    return [*lines, *_misses(outcomes)]


def _about(labels: Iterable[str], code: str) -> set[str]:
    return {label for label in labels if code in ("all", label.partition(" ")[0])}


def counted(outcomes: Iterable[Outcome], code: str = "all") -> tuple[int, int, int]:
    """Counts what was found rightly, what wrongly, and what is present; of `code`, or of all."""
    hits = wrong = present = 0
    for one in outcomes:
        labels = _about(one.folder.present - one.folder.undecided, code)
        hits += len(labels & one.found)
        wrong += len(_about(one.wrong, code))
        present += len(labels)
    return hits, wrong, present


def _misses(outcomes: Sequence[Outcome]) -> list[str]:
    told: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for one in outcomes:
        missed, wrong = (", ".join(sorted(some)) for some in (one.missed, one.wrong))
        if missed or wrong:
            key = (one.folder.name, one.folder.way, missed, wrong)
            told[key].append("on" if one.content else "off")
    if not told:
        return []
    return [
        "",
        "| folder | what it is | content | not found | found wrongly |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| `{name}` | {way} | {' and '.join(content)} | {missed} | {wrong} |"
            for (name, way, missed, wrong), content in sorted(told.items())
        ),
    ]
