"""CP303: tools that every call of an agent declares and that no reply has ever asked for."""

from collections.abc import Iterator, Sequence
from typing import Final

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.prices import is_worth_paying
from causepath_analyzer.analyses.findings.prompt_caches import counted
from causepath_analyzer.analyses.findings.prompt_parts import Part, saved_without, sooner_without
from causepath_analyzer.analyses.findings.rule import UNKNOWN, Candidate, Rule
from causepath_analyzer.analyses.money.carried import first_token_lines
from causepath_analyzer.analyses.proof.declared_tools import (
    Coverage,
    coverage,
    declaring,
)
from causepath_analyzer.analyses.proof.independence import listed, where_of
from causepath_analyzer.analyses.replay.change import SmallerPrompts

_LEAST: Final = 200
"""Tokens of declarations in a prompt."""
_LEAST_BYTES: Final = 4_000
"""The same where it is not known how many tokens they are."""
_SHARE: Final = 100
"""Where the tokens have no price: a hundredth of the input."""


def unused_tools(facts: Facts) -> Iterator[Candidate]:
    """Finds the declarations of tools that no run has used."""
    agents = declaring(facts.trace)
    if not agents:
        return
    here = coverage(facts.trace)
    for agent, calls in agents.items():
        seen = facts.others.offered.get(agent) or here.get(agent)
        if seen is None or seen.calls < facts.limits.iterations:
            continue
        unused = seen.unused
        if unused:
            yield from _of_agent(facts, calls, seen, unused)


def _of_agent(
    facts: Facts, calls: Sequence[int], seen: Coverage, unused: frozenset[str]
) -> Iterator[Candidate]:
    spans = facts.trace.spans
    first = spans[calls[0]].model_call
    declared = [one for one in (first and first.declared) or () if one.name in unused]
    if not declared:
        return
    parts = [part for i in calls for part in _standing(facts, i, unused)]
    known = {part.call for part in parts}
    saving, change = UNKNOWN, None
    size = sum(one.size for one in declared)
    if parts and known == {i for i in calls if counted(facts, i) is not None}:
        saving = saved_without(facts, parts)
        tokens = saving.tokens or 0
        if tokens < _LEAST * len(known):
            return
        priced = facts.cost.usd is not None
        if not is_worth_paying(facts, saving) and (
            priced or tokens * _SHARE < facts.usage.tokens.input
        ):
            return
        change = sooner_without(facts, parts, first_token_lines(facts))
        much = f"about {tokens // len(known):,} tokens of each prompt"
    elif size >= _LEAST_BYTES:
        much = f"{size:,} bytes in each request"
    else:
        return
    tools = "tool" if len(declared) == 1 else "tools"
    runs = "this run" if seen.runs == 1 else f"{seen.runs:,} runs"
    yield Candidate(
        title=f"declare {len(declared)} {tools} less, of {len((first and first.declared) or ())}",
        plural="declare tools that are not used no more",
        place=where_of(facts.trace, (calls[0],)) or spans[calls[0]].name,
        spans=tuple(calls),
        evidence="likely",
        why=(
            f"All {seen.calls:,} calls of this agent in {runs} declared "
            f"{listed([one.name for one in declared])}, and none asked for it. That "
            f"is {much}. What other runs ask for is not in these traces."
        ),
        fix=(
            "Declare these tools only where a task may need them (by route or by agent), or let "
            "the provider's tool search find them (defer_loading). Take them out once and for all: "
            "a list that changes from call to call breaks the prompt cache."
        ),
        change=change,
        saving=saving,
        where=where_of(facts.trace, (calls[0],)),
        refuted_by="a run that is not among these and calls one of them",
    )


def _standing(facts: Facts, call: int, unused: frozenset[str]) -> list[Part]:
    """Finds where in the prompt of `call` the declarations of `unused` tools stand; in none of it
    where that is not known."""
    told, tokens = facts.trace.spans[call].model_call, counted(facts, call)
    prompt = facts.flow.prompt(call)
    if told is None or tokens is None or prompt is None:
        return []
    blocks = [(at, block) for at, block in enumerate(prompt) if block.role == "tools"]
    names = told.declared or ()
    if len(blocks) != len(names):
        return []
    whole = sum(block.size for block in prompt)
    starts, total = [], 0
    for block in prompt:
        starts.append(total)
        total += block.size
    return [
        Part(
            call,
            tokens.input * starts[at] // whole,
            tokens.input * (starts[at] + block.size) // whole,
            block.size,
        )
        for (at, block), one in zip(blocks, names, strict=True)
        if one.name in unused
    ]


RULE: Final = Rule(
    code="CP303",
    title="Tools that are declared and never used",
    what=(
        "Each call is sent the declarations of all tools, which are paid for as a part of the "
        "prompt, and a model that has many to choose from chooses worse."
    ),
    evidence=(
        "likely: in all traces that were given, 10 calls of the agent or more (iterations), every "
        "one, declared the tool, and none asked for it; how many these were is said. Nothing is "
        "said where calls of tools may have left no span, of tools that the provider runs, of "
        "deferred ones, which are not sent, and where it is less than 200 tokens of a prompt or "
        "1 % of the cost of the run."
    ),
    saving=(
        "By price: the tokens of the declarations where they stand in the prompt, which is cached "
        "from there on. Known where the plugin has written digests; else the bytes of the "
        "declarations are said."
    ),
    refuted_by="A run that is not among these and calls one of them.",
    fix=(
        "Declare tools only where a task may need them, or let the provider's tool search find "
        "them; take them out once and for all, as a list that changes breaks the prompt cache."
    ),
    find=unused_tools,
    change=SmallerPrompts,
)
