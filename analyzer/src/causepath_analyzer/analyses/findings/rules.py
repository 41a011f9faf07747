"""All rules by code, and which of them are asked.

To add a finding, write one file in this folder with a `Rule` called ``RULE`` and add it to `RULES`.
"""

from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Final

from causepath_analyzer.analyses.findings import (
    cp101_sequential_tools,
    cp102_independent_calls,
    cp103_mergeable_turns,
    cp104_early_starts,
    cp201_repeated_calls,
    cp202_broken_cache,
    cp203_uncached_prefix,
    cp301_growing_context,
    cp302_carried_results,
    cp303_unused_tools,
    cp304_prompt_heavy,
    cp401_other_models,
    cp402_unstreamed_answer,
    cp403_stalls,
    cp405_long_answers,
    cp501_retries,
    cp502_hidden_errors,
    cp503_polling,
    cp504_time_outs,
    cp601_uncovered_time,
    cp602_waiting_for_a_person,
    cp603_new_connections,
    cp605_many_calls,
)
from causepath_analyzer.analyses.findings.rule import Rule

RULES: Final[Mapping[str, Rule]] = {
    rule.code: rule
    for rule in (
        cp101_sequential_tools.RULE,
        cp102_independent_calls.RULE,
        cp103_mergeable_turns.RULE,
        cp104_early_starts.RULE,
        cp201_repeated_calls.RULE,
        cp202_broken_cache.RULE,
        cp203_uncached_prefix.RULE,
        cp301_growing_context.RULE,
        cp302_carried_results.RULE,
        cp303_unused_tools.RULE,
        cp304_prompt_heavy.RULE,
        cp401_other_models.RULE,
        cp402_unstreamed_answer.RULE,
        cp403_stalls.RULE,
        cp405_long_answers.RULE,
        cp501_retries.RULE,
        cp502_hidden_errors.RULE,
        cp503_polling.RULE,
        cp504_time_outs.RULE,
        cp601_uncovered_time.RULE,
        cp602_waiting_for_a_person.RULE,
        cp603_new_connections.RULE,
        cp605_many_calls.RULE,
    )
}
EVERY: Final = tuple(RULES.values())


def chosen(select: Sequence[str] | None, ignore: Sequence[str] = ()) -> tuple[Rule, ...]:
    """Picks the rules whose codes begin with one of `select`, and with none of `ignore`.

    ``None`` selects all of them. Where a code begins with some of both, the longest has the say,
    and of equals that of `ignore`: ``CP101`` is selected although ``CP1`` is ignored.
    """
    return tuple(
        rule
        for rule in EVERY
        if _longest(rule.code, ("",) if select is None else select) > _longest(rule.code, ignore)
    )


def _longest(code: str, prefixes: Iterable[str]) -> int:
    return max((len(one) for one in prefixes if code.startswith(one.upper())), default=-1)


_ALIKE: Final = 0.6


def misnamed(prefix: str) -> str | None:
    """Says what is wrong with `prefix` if no code begins with it."""
    if prefix and any(code.startswith(prefix.upper()) for code in RULES):
        return None
    alike = {code: SequenceMatcher(None, prefix.upper(), code).ratio() for code in RULES}
    near = max(alike, key=alike.__getitem__)  # of equals the first
    there = f"there is {', '.join(RULES)}" if alike[near] < _ALIKE else f"did you mean {near}?"
    return f"no finding has a code that begins with {prefix!r}; {there}"
