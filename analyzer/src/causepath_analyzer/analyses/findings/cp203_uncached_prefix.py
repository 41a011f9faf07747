"""CP203: a prompt that begins as the one before and is paid in full, or a cache never read.

    call 1   8,000 in                     call 1   8,000 in, 8,000 written
    call 2   8,500 in, none cached        call 2   8,500 in, 8,500 written, none read
    call 3   9,000 in, none cached        call 3   9,000 in, 9,000 written, none read

Only of models whose prompts are cached on request: where a provider caches by itself, that it did
not is its doing. And only where whoever wrote the trace tells of caches: that none is told of says
nothing else.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec.structs import replace

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.prices import cheaper, is_worth_paying
from causepath_analyzer.analyses.findings.prompt_caches import (
    Following,
    cause_of,
    counted,
    following,
    is_cached_on_request,
)
from causepath_analyzer.analyses.findings.rule import Candidate, Evidence, Rule
from causepath_analyzer.analyses.proof.independence import where_of
from causepath_analyzer.model import NO_SPAN, ModelCall, Tokens

_LEAST: Final = 4_096
"""Tokens that every model caches; some need no more than 1,024."""
_FEWEST: Final = 2
"""So many calls that could have read what was written are no chance."""
_TELLING: Final = (
    "causepath",
    "com.anthropic.sdk",
    "opentelemetry.instrumentation.anthropic",
    "opentelemetry.instrumentation.genai.anthropic",
    "openinference.instrumentation.anthropic",
)
"""Emitters that tell of caches if there are any."""


def uncached_prefixes(facts: Facts) -> Iterator[Candidate]:
    """Finds conversations whose prompts could have been read from the cache and never were."""
    spans = facts.trace.spans
    for pairs in following(facts, _may_be_uncached):
        call = spans[pairs[0].earlier].model_call
        if call is None or not is_cached_on_request(call):
            continue
        alive = [pair for pair in pairs if pair.is_within(facts)]
        calls = sorted({pairs[0].earlier, *(pair.later for pair in pairs)})
        used = {i: tokens for i in calls if (tokens := counted(facts, i)) is not None}
        if not alive or any(tokens.cache_read for tokens in used.values()):
            continue
        written = [pair for pair in alive if used[pair.earlier].cache_write]
        # Where it is known why nothing was read, that is CP202.
        unread = [pair for pair in written if cause_of(facts, pair) is None]
        found = _never_read(facts, used, unread) if written else _never_cached(facts, used, alive)
        if found is not None:
            yield found


def _may_be_uncached(calls: Sequence[ModelCall]) -> bool:
    """Tells whether none of these calls of a conversation read a cache, and a model needs asking
    for one."""
    return any(is_cached_on_request(call) for call in calls) and not any(
        call.tokens is not None and call.tokens.cache_read for call in calls
    )


def _never_read(
    facts: Facts, used: dict[int, Tokens], pairs: Sequence[Following]
) -> Candidate | None:
    if len(pairs) < _FEWEST:
        return None  # another run may read what this one has written
    calls = [i for i, tokens in used.items() if tokens.cache_write]
    plain = {i: replace(used[i], cache_write=0, cache_write_1h=0) for i in calls}
    saving = cheaper(facts, plain)
    if not is_worth_paying(facts, saving):
        return None
    tokens = sum(used[i].cache_write for i in calls)
    same = all(pair.carries_on(facts) for pair in pairs)
    return Candidate(
        title=f"read the cache that {len(calls)} calls write",
        plural="read the caches that calls write",
        place=_place(facts, calls),
        spans=tuple(calls),
        saving=saving,
        evidence="proved" if same else "likely",
        why=(
            f"{len(calls)} calls of one conversation wrote {tokens:,} tokens into the prompt cache "
            f"and none read any, although {len(pairs)} of them came within its lifetime. Writing "
            "costs more than sending: the saving is of not writing; reading would save more."
        ),
        fix=(
            "Put what changes (a time, an id) behind what stays, keep tools and system prompt byte "
            "by byte the same, and mark the end of what stays with cache_control; or do not mark."
        ),
        where=where_of(facts.trace, calls),
        refuted_by="another run that reads what this one has written",
    )


def _never_cached(
    facts: Facts, used: dict[int, Tokens], pairs: Sequence[Following]
) -> Candidate | None:
    spans = facts.trace.spans
    kept = [
        pair
        for pair in pairs
        if used[pair.earlier].input >= _LEAST and _tells(spans[pair.later].scope)
    ]
    known = [pair for pair in kept if pair.carries_on(facts)]
    evidence: Evidence = "proved" if known else "likely"
    if not known:
        handed = _handed_on(facts)
        known = [pair for pair in kept if (pair.earlier, pair.later) in handed]
    if not known:
        return None
    then = dict(used)
    for pair in known:
        before, now = used[pair.earlier].input, used[pair.later].input
        if not then[pair.earlier].cache_write:
            already = then[pair.earlier].cache_read
            then[pair.earlier] = replace(
                used[pair.earlier], cache_read=already, cache_write=before - already
            )
        then[pair.later] = replace(used[pair.later], cache_read=before, cache_write=now - before)
    saving = cheaper(facts, then)
    if not is_worth_paying(facts, saving):
        return None
    calls = sorted({pair.earlier for pair in known} | {pair.later for pair in known})
    again = sum(used[pair.earlier].input for pair in known)
    says = "by their digests" if evidence == "proved" else "as the results of its tools came back"
    return Candidate(
        title=f"cache the prompt of {len(calls)} calls",
        plural="cache prompts that stay",
        place=_place(facts, calls),
        spans=tuple(calls),
        saving=saving,
        evidence=evidence,
        why=(
            f"{len(known)} calls were given all that the call before was given ({says}), and paid "
            f"in full for these {again:,} tokens. From the cache they cost a fraction; what "
            "writing it costs more is taken off."
        ),
        fix=(
            "Mark the end of the conversation with cache_control (an ephemeral breakpoint) in "
            "every request, or turn on automatic caching of your SDK."
        ),
        where=where_of(facts.trace, calls),
        refuted_by="an emitter that does not tell of caches, or prompts that differ in small",
    )


def _handed_on(facts: Facts) -> set[tuple[int, int]]:
    """Lists the calls that asked for tools, by a link or an id, each with the one that got the
    results."""
    causes = facts.causes
    return {
        (issuer, causes.answered_by[i])
        for i, issuer in enumerate(causes.issuers)
        if issuer != NO_SPAN and causes.how[i] in ("link", "id")
    }


def _tells(scope: str | None) -> bool:
    return scope is not None and scope.startswith(_TELLING)


def _place(facts: Facts, calls: Sequence[int]) -> str:
    return where_of(facts.trace, calls) or facts.trace.spans[calls[0]].name


RULE: Final = Rule(
    code="CP203",
    title="A stable prompt that was never read from a cache",
    what=(
        "The calls of a conversation were given what the one before was given, and more, and "
        "nothing of it came from the prompt cache: it was never written, or written each time and "
        "never read."
    ),
    evidence=(
        "proved: by digests, each call was given all blocks of the one before, in order. likely: "
        "the results of its tools came back, and the prompt grew; or two or more calls that could "
        "have read what was written did not. Said of models that cache on request (Claude), of "
        "prompts of 4,096 tokens or more, within five minutes (an hour where that was asked for), "
        "and where nothing of the model was read in the conversation. Never cached at "
        "all is said only where the emitter is known to report caches (causepath, Anthropic's SDK, "
        "its instrumentations by OpenTelemetry and OpenInference): of others, no figure says "
        "nothing."
    ),
    saving=(
        "Money alone: the cost of these calls now, minus their cost with each prompt read up to "
        "the end of the one before and written from there on; or, of a cache that is never read, "
        "without writing it. How much sooner the first token comes is not known."
    ),
    refuted_by=(
        "Another run that reads what this one has written; prompts that differ where the emitter "
        "does not see it."
    ),
    fix=(
        "Send tools, system prompt and earlier messages byte by byte as before, put what changes "
        "behind them, and mark the end of what stays (cache_control)."
    ),
    find=uncached_prefixes,
)
