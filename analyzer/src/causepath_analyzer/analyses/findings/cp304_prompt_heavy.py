"""CP304: runs whose cost is that of their prompts."""

from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.rule import Candidate, Rule
from causepath_analyzer.analyses.path.cost import cost_of
from causepath_analyzer.analyses.proof.independence import where_of
from causepath_analyzer.model import Tokens

_LEAST: Final = 2_000
"""Tokens of prompts, and fewer make no run expensive."""


def prompt_heavy(facts: Facts) -> Iterator[Candidate]:
    """Finds whether a run that costs more than its limit costs that for its prompts."""
    used, limits = facts.usage, facts.limits
    if used.tokens.input < _LEAST or used.sums or used.calls.llm < 2:
        return
    cached = used.tokens.cache_read + used.tokens.cache_write
    if cached >= used.tokens.input * limits.prompt_share:
        return  # all is done that can be, short of sending less
    whole = facts.cost
    if whole.usd is None or not whole.is_whole or whole.usd < limits.cost_usd:
        return
    prompts = [
        replace(call, tokens=replace(call.tokens, output=0, reasoning=0), searches=0)
        if call.tokens is not None
        else call
        for call in used.models
    ]
    prompts_usd = cost_of(prompts, used.started_ns, facts.prices).usd
    if prompts_usd is None or prompts_usd < whole.usd * limits.prompt_share:
        return
    spans = facts.trace.spans
    calls = {
        i: span.model_call.tokens
        for i, span in enumerate(spans)
        if span.model_call is not None and span.model_call.tokens is not None
    }
    if not calls:
        return
    largest = max(calls, key=lambda i: calls[i].input)
    share = f"{prompts_usd / whole.usd:.0%}"
    yield Candidate(
        title=f"send less: {share} of the cost is prompts",
        plural="send less",
        place=where_of(facts.trace, (largest,)) or spans[largest].name,
        spans=(largest,),
        evidence="proved",
        why=(
            f"{share} of ${whole.usd:.2f} was paid for {used.tokens.input:,} tokens of prompts, "
            f"in {len(calls)} calls; the largest is {_described(calls[largest])}."
        ),
        fix=(
            "Look at what the later calls carry (large tool results, tools that are not used, old "
            "messages): cut results where they come in, and keep what stays in the prompt cache."
        ),
        where=where_of(facts.trace, (largest,)),
        refuted_by="prompts of which every part is needed",
    )


def _described(tokens: Tokens) -> str:
    cached = f", {tokens.cache_read:,} of them from the cache" if tokens.cache_read else ""
    return f"{tokens.input:,}{cached}"


RULE: Final = Rule(
    code="CP304",
    title="Prompts are what the run costs",
    what=(
        "Nearly all that the run costs is paid for what the models were given, over and over, and "
        "not for what they wrote."
    ),
    evidence=(
        "proved: by price, prompts with what was read from and written to caches are 80 % "
        "(prompt_share) of the cost or more, and the run costs $0.05 (cost) or more. Nothing is "
        "said of a single call, where as much of the prompts is cached, and where a price or a "
        "count is not known."
    ),
    saving="Not known: which parts of the prompts are needed is not in the trace.",
    refuted_by="Prompts of which every part is needed.",
    fix=(
        "Cut tool results where they come in, leave out tools that are not used, begin anew where "
        "a new task begins, and keep what stays in the prompt cache."
    ),
    find=prompt_heavy,
)
