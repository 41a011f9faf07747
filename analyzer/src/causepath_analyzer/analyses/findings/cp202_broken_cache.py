"""CP202: what a call had cached, and the next one of its conversation did not read.

    call 1   read 0, wrote 9,000
    call 2   read 9,000, wrote 400
    call 3   read 0, wrote 9,900        why? Its tools are not those of call 2

The order of causes: the provider's word; where the lifetime had elapsed, no edit is blamed; else
the first block that is not as it was tells, in the order in which caches see them (tools, system
prompt, messages). A break without any is the provider's doing, or nobody knows, and is not said.
"""

from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.prices import cheaper, is_worth_paying
from causepath_analyzer.analyses.findings.prompt_caches import (
    SAID,
    Cause,
    Following,
    cause_of,
    counted,
    following,
    switched,
)
from causepath_analyzer.analyses.findings.rule import Candidate, Rule, Saving, seconds
from causepath_analyzer.analyses.path.cost import cost_of
from causepath_analyzer.analyses.proof.independence import where_of
from causepath_analyzer.model import Tokens

_LEAST: Final = 1_024
"""Tokens that are worth a look: caches are read in steps."""
_READ: Final = 10
"""A tenth less than was cached is a block more or less at its end."""

_TITLES: Final[dict[Cause, str]] = {
    "lifetime": "keep the prompt cache alive over pauses",
    "tools": "keep the tools as they were (cache broken)",
    "system": "keep the system prompt (cache broken)",
    "messages": "append, change no message (cache broken)",
    "look-back": "set a breakpoint every 20 blocks (cache)",
    "model": "stay with one model (cache broken)",
    "parameters": "keep the parameters (cache broken)",
}
_WHY: Final[dict[Cause, str]] = {
    "tools": "its tools are not those of the call before",
    "system": "its system prompt is not that of the call before",
    "messages": "one of its earlier messages is not as it was",
    "look-back": (
        "nothing has changed, but more than 20 blocks were added at once, and the cache is looked "
        "up no further back from a breakpoint"
    ),
    "model": "it went to another model, which has a cache of its own",
    "parameters": "a parameter is another one that caches are kept apart by",
}
_FIXES: Final[dict[Cause, str]] = {
    "lifetime": (
        'Ask for the lifetime of one hour (cache_control with ttl "1h") where pauses of more than '
        "five minutes are common: its writes cost twice the price of input, which is taken off."
    ),
    "tools": (
        "Declare the same tools in the same order, with the same words, in every call of a "
        "conversation; say in a message which ones may be used now."
    ),
    "system": (
        "Keep times, ids and whatever else changes out of the system prompt: put them into the "
        "last message."
    ),
    "messages": (
        "Append to the conversation only; where it has to be cut, cut much and seldom, not a "
        "little at every turn."
    ),
    "look-back": (
        "Where one turn adds more than 20 blocks (results of tools, parts of a message), set a "
        "breakpoint (cache_control) in their midst as well: a request may have four."
    ),
    "model": (
        "Stay with the model that has the conversation in its cache: for this call the other one "
        "cost more, although its tokens are no dearer. Give it tasks of their own instead."
    ),
    "parameters": (
        "Ask in all calls of a conversation for the same effort, verbosity, format, tier, speed "
        "and cache key, and leave other choices to other conversations."
    ),
}


def broken_caches(facts: Facts) -> Iterator[Candidate]:
    """Finds calls that did not read what the call before them had in the cache, and why."""
    total = facts.usage.tokens
    if not total.cache_read and not total.cache_write:
        return
    for pair in switched(facts):
        yield from _on_another_model(facts, pair)
    for pairs in following(facts, shorter=True):
        for pair in pairs:
            before, now = counted(facts, pair.earlier), counted(facts, pair.later)
            if before is None or now is None:
                continue
            cached = _cached(before, now)
            if cached - now.cache_read < max(_LEAST, cached // _READ):
                continue
            cause = cause_of(facts, pair)
            if cause is not None:
                yield from _candidate(facts, pair, cause, before, now)


def _candidate(
    facts: Facts, pair: Following, cause: Cause, before: Tokens, now: Tokens
) -> Iterator[Candidate]:
    spans = facts.trace.spans
    cached = _cached(before, now)
    then = {pair.later: _read(now, cached)}
    if cause == "lifetime":
        then[pair.earlier] = replace(before, cache_write_1h=before.cache_write)
    saving = cheaper(facts, then)
    if not is_worth_paying(facts, saving):
        return
    where = where_of(facts.trace, (pair.later,))
    pause_ns = spans[pair.later].start_ns - spans[pair.earlier].ended_ns
    because = (
        f"{seconds(pause_ns)} had passed, and what is cached lives for {seconds(pair.lifetime_ns)}"
        if cause == "lifetime"
        else _WHY[cause]
    )
    call = spans[pair.later].model_call
    if call is not None and call.cache_diagnosis in SAID:
        because += f", as the provider says ({call.cache_diagnosis})"
    yield Candidate(
        title=_TITLES[cause],
        plural=_TITLES[cause],
        place=f"{cause} {where or spans[pair.later].name}",
        spans=(pair.earlier, pair.later),
        saving=saving,
        evidence="likely" if cause in ("lifetime", "look-back") else "proved",
        why=(
            f"{cached:,} tokens were in the cache, and the next call of the conversation read "
            f"{now.cache_read:,} of them: {because}."
        ),
        fix=_FIXES[cause],
        where=where,
        refuted_by=(
            "pauses that are longer than an hour as well"
            if cause == "lifetime"
            else "a change that the next call needs"
        ),
    )


def _cached(before: Tokens, now: Tokens) -> int:
    """Counts what `now` could have read of what `before` had cached."""
    return min(before.cache_read + before.cache_write, now.input)


def _read(now: Tokens, cached: int) -> Tokens:
    """Gives the tokens of a call that had read all that was `cached`."""
    written = max(0, now.cache_write - (cached - now.cache_read))
    return replace(
        now,
        cache_read=cached,
        cache_write=written,
        cache_write_1h=min(now.cache_write_1h, written),
    )


def _on_another_model(facts: Facts, pair: Following) -> Iterator[Candidate]:
    """Says that a call had better stayed with the model before: where the other is no dearer, which
    may have been the reason to take it, and cost more nevertheless."""
    spans = facts.trace.spans
    was, told = spans[pair.earlier].model_call, spans[pair.later].model_call
    before, now = counted(facts, pair.earlier), counted(facts, pair.later)
    if was is None or told is None or before is None or now is None:
        return
    cached = _cached(before, now)
    if was.provider != told.provider or cached - now.cache_read < max(_LEAST, cached // _READ):
        return
    plain = replace(now, cache_read=0, cache_write=0, cache_write_1h=0)
    stayed = replace(told, model=was.model, tokens=_read(now, cached))
    started_ns = [spans[pair.later].start_ns]
    costs = [
        cost_of([call], started_ns, facts.prices)
        for call in (
            told,
            stayed,
            replace(told, tokens=plain),
            replace(told, model=was.model, tokens=plain),
        )
    ]
    usd = [cost.usd if cost.is_whole else None for cost in costs]
    if usd[0] is None or usd[1] is None or usd[2] is None or usd[3] is None or usd[2] > usd[3]:
        return
    saving = Saving(usd=usd[0] - usd[1])
    if not is_worth_paying(facts, saving):
        return
    where = where_of(facts.trace, (pair.later,))
    yield Candidate(
        title=_TITLES["model"],
        plural=_TITLES["model"],
        place=f"model {where or spans[pair.later].name}",
        spans=(pair.earlier, pair.later),
        saving=saving,
        evidence="proved",
        why=(
            f"{cached:,} tokens were in the cache of {was.model}, and the next call of the "
            f"conversation read {now.cache_read:,} of them: {_WHY['model']} ({told.model})."
        ),
        fix=_FIXES["model"],
        where=where,
        refuted_by="a step that only the other model can do",
    )


RULE: Final = Rule(
    code="CP202",
    title="A prompt cache that broke",
    what=(
        "A call had its prompt in the cache of the provider, and the next call of the same "
        "conversation read little of it: what had been cached was paid for again."
    ),
    evidence=(
        "proved: the provider says so, or digests show the first block that is not as it was "
        "(tools, system prompt, messages, in the order of the cache) inside what had been "
        "cached; recorded texts are not compared. likely: the call came after the lifetime (five "
        "minutes, an hour where that was asked for), for models that cache on request "
        "(Claude), and then no edit is blamed; or all is as it was and a turn of Claude added more "
        "than 20 blocks. Of another model it is said where its tokens are no dearer and the call "
        "was. Nothing is said where none of these holds (a parameter changed, the provider's "
        "doing, or nobody knows), where a summary took the place of what was said (compaction), or "
        "of less than 1,024 tokens or a tenth of what was cached."
    ),
    saving=(
        "Money alone: the cost of the call, minus its cost with all read that had been cached, and "
        "that much less written; for a lifetime, what writing for an hour costs more is taken off. "
        "How much sooner the first token comes is not known."
    ),
    refuted_by="A change that the next call needs; pauses that are longer than an hour as well.",
    fix=(
        "Send tools, system prompt and earlier messages byte by byte as before, and put what "
        'changes behind them. Where pauses are long, ask for the longer lifetime (ttl "1h").'
    ),
    find=broken_caches,
)
