"""CP304: runs whose cost is that of their prompts."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.rule import Candidate, Rule
from causepath_analyzer.analyses.path.cost import rates_of
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
    # A token of an answer costs as much as one of a prompt, or more.
    if used.tokens.input * (1 - limits.prompt_share) < used.tokens.output * limits.prompt_share:
        return
    whole = facts.cost
    if whole.usd is None or not whole.is_whole or whole.usd < limits.cost_usd:
        return
    prompts_usd = whole.usd - _of_answers(facts)
    if prompts_usd < whole.usd * limits.prompt_share:
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


def _of_answers(facts: Facts) -> Decimal:
    """Works out what the run paid for anything but its prompts."""
    total = Decimal(0)
    for call, start_ns in zip(facts.usage.models, facts.usage.started_ns, strict=True):
        rates = rates_of(call, start_ns, facts.prices)
        if rates is not None and call.tokens is not None:
            thought = call.tokens.reasoning
            total += rates[0] + rates[2] * (call.tokens.output - thought) + rates[6] * thought
            if call.searches:
                total += rates[7] * call.searches
    return total


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
