"""CP302: a tool's result that many later calls of its conversation were sent again.

call 1   question                             asks for a page
call 2   question reply PAGE                  reads it
call 3   question reply PAGE reply result
...
call 9   question reply PAGE reply result reply result ...
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.prompt_caches import counted
from causepath_analyzer.analyses.findings.prompt_parts import (
    Part,
    billed,
    saved_without,
    sooner_without,
)
from causepath_analyzer.analyses.findings.rule import (
    Candidate,
    Claim,
    Evidence,
    Rule,
    Saving,
    added,
)
from causepath_analyzer.analyses.money.carried import carried, first_token_lines
from causepath_analyzer.analyses.proof.independence import where_of
from causepath_analyzer.analyses.proof.recorded_words import takes
from causepath_analyzer.analyses.replay.change import SmallerPrompts
from causepath_analyzer.model import NO_SPAN, Block

_FEWEST: Final = 5
"""Later calls; a result that few of them carry is still being worked with."""
_LEAST: Final = 1_000
"""Tokens of a result that is worth cutting."""
_MOST: Final = 64
"""Results of a conversation that are looked at, the largest, where the blocks are not known."""
_MOST_BLOCKS: Final = 1_000_000
_SHARE: Final = 20
"""The results of one tool are a twentieth of what the run paid, or more."""


class _Result(Struct, frozen=True):
    """The result of ``tools``, which the call ``first`` was sent first, and so many later ``calls``
    again, the last few of which began at ``late_ns``. ``cached`` are the tokens of it that were
    read from a cache. It is this ``block`` of their prompts, or stands in these ``parts``."""

    tools: tuple[int, ...]
    first: int
    calls: int
    late_ns: int
    cached: int
    saving: Saving
    evidence: Evidence
    block: Block | None = None
    parts: tuple[Part, ...] = ()


def carried_results(facts: Facts) -> Iterator[Candidate]:
    """Finds the results of tools that later calls carried, and that are much of what these cost."""
    used = facts.usage
    if used.tokens.input < _LEAST * _FEWEST:
        return
    if all(len(one.calls) < _FEWEST + 2 for one in used.conversations):
        return
    by_name: dict[tuple[str, Evidence], list[_Result]] = {}
    found = [*_by_digests(facts), *_by_counts(facts)]
    needed_ns = _needed_ns(facts) if found else {}
    for one in found:
        if any(needed_ns.get(i, -1) >= one.late_ns for i in one.tools) or _is_taken(facts, one):
            continue
        by_name.setdefault((_name(facts, one.tools), one.evidence), []).append(one)
    much = {
        key: results
        for key, results in by_name.items()
        if _share(facts, added(one.saving for one in results)) * _SHARE >= 1
    }
    lines = first_token_lines(facts) if much else {}
    for (name, _), results in much.items():
        standing = _standing(facts, results)
        for one in results:
            parts = one.parts or standing.get((one.first, one.block), ())
            claims = _claims(facts, one.saving, parts)
            said = replace(one, saving=replace(one.saving, claims=claims))
            yield _candidate(facts, name, said, sooner_without(facts, parts, lines))


def _by_digests(facts: Facts) -> Iterator[_Result]:
    """Finds results among the blocks of later prompts."""
    wanted = [
        one
        for one in carried(facts)
        if one.what == "tool_result"
        and one.calls >= _FEWEST
        and one.tokens >= _LEAST * one.calls
        and one.span != NO_SPAN
    ]
    if not wanted:
        return
    spans = facts.trace.spans
    homes = {i: one for one in facts.usage.conversations for i in one.calls}
    for one in wanted:
        later = [i for i in homes[one.first].calls if i > one.first]
        tool = spans[one.span].tool_call
        digest = tool.result.digest if tool is not None and tool.result is not None else None
        yield _Result(
            (one.span,),
            one.first,
            one.calls,
            spans[later[-_FEWEST]].start_ns,
            one.cached_tokens,
            Saving(usd=one.usd, tokens=one.tokens),
            "proved",
            _block(facts, one.first, one.size, digest),
        )


def _claims(facts: Facts, saving: Saving, parts: Sequence[Part]) -> tuple[Claim, ...]:
    """Says where the money of `saving` would be saved: the parts are known to the token, and what
    they cost by the byte."""
    claims = saved_without(facts, parts).claims if saving.usd is not None else ()
    return tuple(replace(one, usd=saving.usd) for one in claims)


def _block(facts: Facts, call: int, size: int, digest: int | None) -> Block | None:
    """Finds the block of a result of so many bytes among those that `call` was given."""
    same = [
        block
        for block in facts.flow.prompt(call) or ()
        if block.kind == "tool_result" and block.size == size
    ]
    return next((one for one in same if one.digest == digest), same[-1] if same else None)


def _standing(
    facts: Facts, results: Sequence[_Result]
) -> Mapping[tuple[int, Block | None], Sequence[Part]]:
    """Finds where in later prompts the blocks of `results` stand; in none of a conversation that is
    too long to look through."""
    found: dict[tuple[int, Block | None], list[Part]] = {}
    for home in facts.usage.conversations:
        wanted: dict[Block, list[int]] = {}
        for one in results:
            if one.block is not None and one.first in home.calls:
                wanted.setdefault(one.block, []).append(one.first)
        last = facts.flow.prompt(home.calls[-1]) if wanted else None
        if not wanted or len(last or ()) * len(home.calls) > _MOST_BLOCKS:
            continue
        for i in home.calls:
            prompt, tokens = facts.flow.prompt(i), counted(facts, i)
            whole = sum(block.size for block in prompt or ())
            if prompt is None or tokens is None or not whole:
                continue
            before = 0
            for block in prompt:
                if block.kind == "tool_result":
                    for first in wanted.get(block, ()):
                        if first < i:
                            start = tokens.input * before // whole
                            end = tokens.input * (before + block.size) // whole
                            part = Part(i, start, end, block.size)
                            found.setdefault((first, block), []).append(part)
                before += block.size
    return found


def _by_counts(facts: Facts) -> Iterator[_Result]:
    """Finds results by what prompts grew when they came, where the blocks of no call are known.

    Between a reply that asks for tools and the call that gets their results nothing else comes in.
    """
    spans, causes = facts.trace.spans, facts.causes
    answers: dict[int, list[int]] = {}
    for i, issuer in enumerate(causes.issuers):
        if issuer != NO_SPAN and causes.answered_by[i] != NO_SPAN:
            answers.setdefault(causes.answered_by[i], []).append(i)
    for home in facts.usage.conversations:
        calls = [i for i in home.calls if facts.kinds.calls[i] == i]
        if len(calls) < _FEWEST + 2 or any(_has_blocks(facts, i) for i in calls):
            continue
        if len({(told := spans[i].model_call) and told.model for i in calls}) > 1:
            continue  # each model counts in its own way
        grown = []
        for n, i in enumerate(calls[:-_FEWEST]):
            tools = answers.get(i, [])
            if not n or not tools or any(causes.issuers[t] != calls[n - 1] for t in tools):
                continue
            before, now = counted(facts, calls[n - 1]), counted(facts, i)
            if before is not None and now is not None:
                more = now.input - before.input - before.output
                grown.append((more * (len(calls) - n), more, n, now.input))
        for _, more, n, end in sorted(grown, reverse=True)[:_MOST]:
            parts = _until_cut(facts, calls[n + 1 :], end - more, end) if more >= _LEAST else []
            if len(parts) >= _FEWEST:
                yield _Result(
                    tuple(answers[calls[n]]),
                    calls[n],
                    len(parts),
                    spans[parts[-_FEWEST].call].start_ns,
                    sum(billed(facts, part).cache_read for part in parts),
                    saved_without(facts, parts),
                    "likely",
                    parts=tuple(parts),
                )


def _has_blocks(facts: Facts, call: int) -> bool:
    told = facts.trace.spans[call].model_call
    return told is not None and told.blocks is not None


def _until_cut(facts: Facts, calls: Sequence[int], start: int, end: int) -> list[Part]:
    """Lists the `calls` with what came in at `start`, up to the first that was given less than
    all up to its `end`."""
    found = []
    for i in calls:
        tokens = counted(facts, i)
        if tokens is None:
            continue
        if tokens.input < end:
            break
        found.append(Part(i, start, end))
    return found


def _needed_ns(facts: Facts) -> Mapping[int, int]:
    """Tells when something last began that was given what a tool had returned, by its link."""
    spans = facts.trace.spans
    numbers = {span.span_id: i for i, span in enumerate(spans) if span.category == "tool"}
    last: dict[int, int] = {}
    for span in spans:
        for link in span.links:
            if link.why == "content" and link.span_id in numbers:
                last[numbers[link.span_id]] = span.start_ns
    return last


def _is_taken(facts: Facts, result: _Result) -> bool:
    """Tells whether late calls ask tools for something that stands in `result`, as recorded texts
    show where whoever wrote the trace has not looked for it."""
    spans = facts.trace.spans
    tools = facts.numbers.get("tool", ())
    first = bisect_left(tools, result.late_ns, key=lambda i: spans[i].start_ns)
    late = [
        tool
        for i in tools[first : first + _MOST]
        if spans[i].flow is None and (tool := spans[i].tool_call) is not None
    ]
    if not late:
        return False
    last = max(result.tools)
    before = [tool.arguments for i in tools if i <= last and (tool := spans[i].tool_call)]
    return any(
        takes(own.result, before[-_MOST:], tool.arguments)
        for i in result.tools
        if (own := spans[i].tool_call) is not None
        for tool in late
    )


def _share(facts: Facts, saving: Saving) -> float:
    """Tells which part of the cost of the run `saving` is, or of its input where that has no
    price."""
    whole = facts.cost.usd
    if saving.usd is not None and whole:
        return float(saving.usd / whole)
    return 0.0 if whole is not None else (saving.tokens or 0) / facts.usage.tokens.input


def _name(facts: Facts, tools: Sequence[int]) -> str:
    spans = facts.trace.spans
    names = [((tool := spans[i].tool_call) and tool.name) or spans[i].name for i in tools]
    return ", ".join(dict.fromkeys(names))


def _candidate(
    facts: Facts, name: str, result: _Result, change: SmallerPrompts | None
) -> Candidate:
    saving = result.saving
    calls, whole = result.calls, saving.tokens or 0
    paid = (
        ""
        if saving.usd is None
        else f" (${saving.usd:.4f}, {_share(facts, saving):.0%} of the cost of the run)"
    )
    known = (
        "by their digests"
        if result.evidence == "proved"
        else "their prompts grew by that when it came, and were not cut since"
    )
    results = "results" if len(result.tools) > 1 else "result"
    return Candidate(
        title=f"cut the {results} of {name} (carried {calls} times)",
        plural=f"cut results of {name} that later calls carry",
        place=name,
        spans=(*result.tools, result.first),
        evidence=result.evidence,
        why=(
            f"After the call that got it first, {calls} calls of the conversation were sent the "
            f"{results} of {name} again ({known}), {whole // calls:,} tokens each time. These are "
            f"{whole:,} tokens, {result.cached:,} of them from a cache{paid}. How much of it "
            "they needed is not in the trace."
        ),
        fix=(
            f"Let {name} return what is asked for "
            "(fields, lines, a page of them; a short account of the rest), or keep the whole where "
            "a tool can look it up. Leaving old results out of later requests breaks the prompt "
            "cache behind them once."
        ),
        change=change,
        saving=saving,
        where=where_of(facts.trace, result.tools),
        refuted_by="later calls that need all of the result",
        at_most=True,
    )


RULE: Final = Rule(
    code="CP302",
    title="A tool's result that many later calls carry",
    what=(
        "A model has no memory: what a tool returned is sent again with every later call of the "
        "conversation, and paid for each time, also when it has long been used."
    ),
    evidence=(
        "proved: by its digest the result stands in the prompts of five later calls or more. "
        "likely: no call says its blocks, but the prompt grew by so much when the result came, and "
        "no later one was shorter. Said of 1,000 tokens a call or more, and where the results of "
        "one tool are 5 % or more of the cost of the run (without a price: of its input). Nothing "
        "is said where the arguments of a tool that one of the last five calls asked for hold "
        "something of the result."
    ),
    saving=(
        "An upper bound, all of it: the tokens that were carried, by the price of where they stood "
        "(read from the cache, written, neither), and the wall time of a replay with first tokens "
        "that come sooner, where the calls of the run show that these follow the prompt. Cut where "
        "it comes in, a result costs no cache."
    ),
    refuted_by="Later calls that need all of the result.",
    fix=(
        "Let the tool return what is asked for, cut its result where it comes in, or keep the "
        "whole where a tool can look it up again."
    ),
    find=carried_results,
    change=SmallerPrompts,
)
