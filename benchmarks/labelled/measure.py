"""Runs every labelled pair with the plugin on, content on and off, and counts what is claimed."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.labelled.turns import TURNS, Pair, Use
from benchmarks.traced_agents import REPOSITORY, traced
from tests.support.messages_api import MessagesApi
from tests.support.script import Latency, Reply, Request, Text, ToolUse, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

TABLE = Path(__file__).with_name("labelled.md")
COUNTS = REPOSITORY / "analyzer/src/causepath_analyzer/analyses/proof/labelled.json"
MOST_DEPENDENT, LEAST_INDEPENDENT = 0.1, 0.8
"""What the product is held to: of the dependent pairs that are called likely, and of the
independent ones that are found."""


@dataclass(frozen=True)
class Outcome:
    """What was claimed of a pair: `proved`, `likely` or nothing."""

    name: str
    code: str
    way: str
    dependent: bool
    content: bool
    claimed: str

    @property
    def is_wrong(self) -> bool:
        return self.dependent and self.claimed == "proved"


def named() -> dict[str, Any]:
    """Every pair by its name."""
    from benchmarks.labelled.loops import LOOPS

    found: dict[str, Any] = {}
    for n, pair in enumerate(TURNS):
        found[f"{'reply' if pair.one_reply else 'turns'}-{n}"] = pair
    for code in LOOPS:
        found[f"loop-{code.run.__name__}"] = code
    return found


def code_of(name: str) -> str:
    return {"reply": "CP101", "loop": "CP102", "turns": "CP103"}[name.partition("-")[0]]


# -- in a process with the plugin on


def work(names: Sequence[str]) -> None:
    """Runs the pairs. Says on standard output which trace was which."""
    import anthropic
    from opentelemetry import trace

    import causepath

    pairs = named()

    def answer(request: Request) -> Reply:
        name, _, count = request.body["metadata"]["user_id"].partition("/")
        pair = pairs[name]
        if isinstance(pair, Pair):
            return _turn(pair, request.turn)
        return _reply(pair.answers[min(int(count), len(pair.answers) - 1)])

    with MessagesApi(answer) as api, anthropic.Anthropic(base_url=api.url, api_key="t") as client:
        for name in names:
            with causepath.agent(name):
                context = trace.get_current_span().get_span_context()
                pair = pairs[name]
                if isinstance(pair, Pair):
                    turns(client, name, pair)
                else:
                    pair.run(asker(client, name))
            print(json.dumps({"name": name, "trace": f"{context.trace_id:032x}"}), flush=True)


def _turn(pair: Pair, turn: int) -> Reply:
    first, second = (ToolUse(one.name, one.arguments) for one in (pair.first, pair.second))
    if pair.one_reply:
        return _reply("Let me see.", first, second) if turn == 0 else _reply("That is all.")
    if turn < 2:
        return _reply(pair.says[turn], (first, second)[turn])
    return _reply("That is all.")


def _reply(text: str, *uses: ToolUse) -> Reply:
    return Reply([Text(text), *uses], Latency(before_headers=0.002), Usage(200, 40))


def turns(client: Any, name: str, pair: Pair) -> None:
    """A plain agent: asks the model until it wants no more tools."""
    import causepath

    results = [pair.first, pair.second]

    def function(use: Use) -> Callable[..., Any]:
        def tool(**_: Any) -> Any:
            told = next((one for one in results if one.name == use.name), use)
            if told in results:
                results.remove(told)
            if told.fails:
                raise OSError(told.result)
            return told.result

        return causepath.tool(tool, name=use.name, read_only=use.read_only)

    tools = {use.name: function(use) for use in (pair.first, pair.second)}
    schemas = [
        {"name": tool, "description": tool, "input_schema": {"type": "object"}} for tool in tools
    ]
    messages: list[Any] = [{"role": "user", "content": pair.question}]
    while True:
        with client.messages.stream(
            model="m",
            max_tokens=500,
            messages=messages,
            tools=schemas,
            metadata={"user_id": name},
        ) as stream:
            reply = stream.get_final_message()
        if reply.stop_reason != "tool_use":
            return
        messages.append({"role": "assistant", "content": reply.content})
        calls = [block for block in reply.content if block.type == "tool_use"]
        told = [_result(call, tools[call.name]) for call in calls]
        messages.append({"role": "user", "content": told})


def _result(block: Any, tool: Callable[..., Any]) -> dict[str, Any]:
    content, failed = "", False
    try:
        found = tool(**block.input)
        content = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
    except OSError as error:
        content, failed = str(error), True
    return {
        "type": "tool_result",
        "tool_use_id": block.id,
        "content": content,
        "is_error": failed,
    }


def asker(client: Any, name: str) -> Callable[..., str]:
    """Asks the model, as an agent's own helper does."""
    count = -1

    def ask(question: Any, **more: Any) -> str:
        nonlocal count
        count += 1
        messages = (
            question if isinstance(question, list) else [{"role": "user", "content": question}]
        )
        reply = client.messages.create(
            model="m",
            max_tokens=500,
            messages=messages,
            metadata={"user_id": f"{name}/{count}"},
            **more,
        )
        return str(reply.content[0].text)

    return ask


# -- what is claimed


def measured(names: Iterable[str]) -> list[Outcome]:
    """What is claimed of each of the pairs `names`, with content off and on."""
    wanted = list(names)
    return [one for content in (False, True) for one in _measured(wanted, content=content)]


def _measured(names: Sequence[str], *, content: bool) -> list[Outcome]:
    said, traces = traced(
        "benchmarks.labelled.measure", names, content=content, timeout_seconds=300
    )
    pairs = named()
    return [
        Outcome(
            one["name"],
            code_of(one["name"]),
            pairs[one["name"]].way,
            pairs[one["name"]].dependent,
            content,
            claimed(traces[one["trace"]]),
        )
        for one in said
    ]


def claimed(trace: Any) -> str:
    """The most that any finding on orders says of the calls in `trace`, however little it saves."""
    from causepath_analyzer.analyses.facts import Facts
    from causepath_analyzer.analyses.findings.opportunities import candidates
    from causepath_analyzer.analyses.findings.rules import chosen

    found = candidates(Facts(trace), chosen(["CP1"])).by_code.values()
    levels = {one.evidence for some in found for one in some}
    return next((level for level in ("proved", "likely") if level in levels), "")


# -- the table


def counted(outcomes: Iterable[Outcome]) -> dict[str, dict[str, int]]:
    """By code: how many pairs are dependent and independent, and what was claimed of them."""
    found: dict[str, Counter[str]] = {}
    for one in outcomes:
        counts = found.setdefault(one.code, Counter())
        label = "dependent" if one.dependent else "independent"
        counts[label] += 1
        if one.claimed:
            counts[f"{label}_{one.claimed}"] += 1
    names = [
        f"{label}{claim}"
        for label in ("dependent", "independent")
        for claim in ("", "_proved", "_likely")
    ]
    return {code: {name: found[code][name] for name in names} for code in sorted(found)}


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """The counts in Markdown, and a row for each pair with a wrong claim or none."""
    lines = [
        "| finding | content | dependent | proved | likely | independent | proved | likely |",
        "| --- | --- | --: | --: | --: | --: | --: | --: |",
    ]
    codes = sorted({one.code for one in outcomes})
    for code in [*codes, "all"]:
        for content in (False, True):
            chosen = [
                one for one in outcomes if one.content is content and code in (one.code, "all")
            ]
            needing = [one.claimed for one in chosen if one.dependent]
            others = [one.claimed for one in chosen if not one.dependent]
            lines.append(
                f"| {code} | {'on' if content else 'off'} | {len(needing)} "
                f"| {needing.count('proved')} | {needing.count('likely')} | {len(others)} "
                f"| {others.count('proved')} | {others.count('likely')} |"
            )
    likely, found = shares(outcomes)
    wrong = sum(one.is_wrong for one in outcomes)
    lines += [
        "",
        f"{len(outcomes) // 2} pairs, each with content off and on. Of the dependent ones {wrong}",
        f"are called proved and {likely:.1%} likely; {found:.1%} of the independent are found.",
        "",
    ]
    missed = [one for one in outcomes if bool(one.claimed) is one.dependent]
    if missed:
        lines += ["| pair | way | content | label | claimed |", "| --- | --- | --- | --- | --- |"]
    for one in missed:
        label = "dependent" if one.dependent else "independent"
        lines.append(
            f"| {one.name} | {one.way} | {'on' if one.content else 'off'} | {label} "
            f"| {one.claimed or 'nothing'} |"
        )
    return lines


def shares(outcomes: Sequence[Outcome]) -> tuple[float, float]:
    """How many of the dependent pairs are called likely, and of the independent ones found."""
    needing = [one.claimed for one in outcomes if one.dependent]
    others = [one.claimed for one in outcomes if not one.dependent]
    return (
        needing.count("likely") / max(1, len(needing)),
        sum(map(bool, others)) / max(1, len(others)),
    )


HEAD = """# The labelled set

Pairs of calls made by real agents (the `anthropic` SDK over HTTP, against the stand-in of
`tests/support`), each labelled by hand: does the later call need the earlier one? `turns.py` has
the pairs of tools that a model asks for, `loops.py` those of an agent's own code. Claims are
counted however little they would save. `python -m benchmarks.labelled --write` makes this table,
and the numbers that `causepath explain` tells.
"""


def main(argv: Sequence[str]) -> int:
    """Prints the table; fails where more is claimed than may be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.labelled")
    parser.add_argument("pairs", nargs="*", metavar="PAIR", help="such as loop-rolling")
    parser.add_argument("--write", action="store_true", help="keep the table and the counts")
    options = parser.parse_args(argv)
    outcomes = measured(options.pairs or named())
    lines = table(outcomes)
    with contextlib.suppress(BrokenPipeError):
        print("\n".join(lines))
    if options.write:
        TABLE.write_text("\n".join([HEAD, *lines, ""]))
        COUNTS.write_text(json.dumps(counted(outcomes), indent=1) + "\n")
    likely, found = shares(outcomes)
    is_right = not any(one.is_wrong for one in outcomes)
    return 0 if is_right and likely <= MOST_DEPENDENT and found >= LEAST_INDEPENDENT else 1
