"""CP501: failed attempts and the pauses behind them, before a call was answered.

    chat     |--x  pause  --x     pause      |-------|    429, 429, answered

Attempts that an SDK made are spans below its call; those of the user's own code are calls of their
own, perhaps the last one of another model (see `retries`). A call that was never answered is no
retry: what an answer would have taken is in no trace.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.given_up import is_given_up
from causepath_analyzer.analyses.findings.prices import spent_in_vain
from causepath_analyzer.analyses.findings.rule import Candidate, Evidence, Rule
from causepath_analyzer.analyses.path.retries import retries
from causepath_analyzer.analyses.path.status import is_cut_off
from causepath_analyzer.analyses.proof.independence import listed, where_of
from causepath_analyzer.analyses.replay.change import FirstAttempt
from causepath_analyzer.model import NO_SPAN


def retried_calls(facts: Facts) -> Iterator[Candidate]:
    """Finds the calls that were answered after failed attempts."""
    trace, kinds = facts.trace, facts.kinds
    spans = trace.spans
    below: dict[int, list[int]] = {}
    for i in facts.numbers.get("retry", ()):
        if trace.parents[i] != NO_SPAN:
            below.setdefault(trace.parents[i], []).append(i)
    for call, attempts in below.items():
        if spans[call].error is None and spans[call].category in ("llm", "tool", "embedding"):
            yield _candidate(facts, call, attempts, "proved", by_sdk=True)
    own = retries(facts.flow, kinds.calls) if facts.errors else ()
    ends = {retry.failed: retry.again for retry in own}
    others = {retry.failed for retry in own if retry.instead}
    for retry in own:
        error = spans[retry.failed].error or ""
        answered = retry.again
        instead = retry.failed in others
        while answered in ends:
            instead = instead or answered in others
            answered = ends[answered]
        if spans[answered].error is not None:
            continue
        if retry.instead and _LATE.search(error):
            continue  # CP504: nobody asked it again, and it may only have needed longer
        asked = facts.flow.given(retry.failed)
        also = facts.flow.given(retry.again)
        same = kinds.calls[retry.failed] != retry.failed or (asked is not None and asked == also)
        if is_cut_off(error) and _LATE.search(error) is None:
            # Somebody stopped it, and asked anew: that is a retry only after a time-out.
            if not (same and is_given_up(facts, retry.failed)):
                continue
            same = False
        known: Evidence = "proved" if same and not instead else "likely"
        then = {retry.failed: retry.again}
        call = answered if instead else retry.again
        yield _candidate(facts, call, [retry.failed], known, then=then, instead=instead)


_NOTHING: Final[Mapping[int, int]] = {}
_LEAST_NS: Final = 300_000_000
"""What failed and was repeated at once has cost a round trip or two: nobody felt that."""


_LIMITED: Final = re.compile(r"429|rate.?limit|too.?many|quota|throttl", re.IGNORECASE)
_LATE: Final = re.compile(r"time.?d?.?out|deadline|408|504", re.IGNORECASE)
_SERVER: Final = re.compile(
    r"\b5\d\d\b|overloaded|unavailable|internal.?server|bad.?gateway|connection", re.IGNORECASE
)

_FIXES: Final = (
    (
        _LIMITED,
        (
            "Stay below the rate limit: bound how many calls run at once (a semaphore), spread "
            "them, or have it raised. Retry in one place only: the SDK or your own code."
        ),
    ),
    (
        _LATE,
        (
            "Give the call the time it needs, or ask for less at once: each attempt that timed out "
            "was paid with its whole time-out."
        ),
    ),
    (
        _SERVER,
        (
            "The service failed, not this code: if that happens often, go on to another region or "
            "model after the first failure, and keep the first pause short."
        ),
    ),
)
_ANY_FIX: Final = "See why the first attempt failed, and retry in one place only."


def _candidate(
    facts: Facts,
    call: int,
    attempts: Sequence[int],
    evidence: Evidence,
    *,
    by_sdk: bool = False,
    then: Mapping[int, int] = _NOTHING,
    instead: bool = False,
) -> Candidate:
    spans = facts.trace.spans
    errors = Counter(error for i in attempts if (error := spans[i].error) is not None)
    named = [f"{_short(error)}{_times(n)}" for error, n in errors.items()]
    failed = sum(errors.values())
    paused = sum(spans[i].error is None for i in attempts)
    text = " ".join(errors)
    fix = next((fix for pattern, fix in _FIXES if pattern.search(text)), _ANY_FIX)
    what = f"{failed} failed attempt{'' if failed == 1 else 's'}" if failed else "back-off"
    pauses = " and the pauses behind" if failed and paused else ""
    said = f" ({listed(named)})" if named else ""
    billed = spent_in_vain(facts, attempts, then)
    used = f" What failed used {billed.tokens:,} tokens." if billed.tokens else ""
    became = "asked instead" if instead else "answered"
    return Candidate(
        title=f"avoid {what}{said}",
        plural="avoid failed attempts",
        place=where_of(facts.trace, (call,)) or spans[call].name,
        spans=tuple(sorted(attempts)) if by_sdk else tuple(sorted((call, *attempts))),
        change=FirstAttempt(tuple(attempts)),
        evidence=evidence,
        why=(
            f"{spans[call].name} was {became} after {what}{pauses}{said}. No more is saved than "
            f"these took: what it takes to avoid them is in no trace.{used}"
        ),
        fix=fix,
        saving=billed,
        where=where_of(facts.trace, (call,)),
        refuted_by="a limit or a fault that would only have come later, at another call",
        at_most=True,
    )


def _times(number: int) -> str:
    return "" if number == 1 else " twice" if number == 2 else f" {number} times"


_LONGEST: Final = 30


def _short(error: str) -> str:
    """Cuts a message: what it is about stands at its beginning."""
    line = " ".join(error.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST].rstrip()}.."


RULE: Final = Rule(
    code="CP501",
    title="Failed attempts and back-off before an answer",
    what=(
        "A call failed (a rate limit, an overloaded service, a time-out), and was made again until "
        "it was answered. The run waited for the failed attempts and for the pauses between them."
    ),
    evidence=(
        "proved: the attempts of an SDK are spans below its call, or a call failed and the same "
        "was asked again. likely: a failed model call is followed by one of the same model, and "
        "what they were given is not known; or by one of another model that is known to be given "
        "the same, or that follows attempts in vain, where neither is known. Nothing is said of "
        "calls that were never answered, of calls that somebody stopped, of another model after a "
        "time-out (CP504), of models that are all asked whatever they answer, of a model that "
        "calls a tool again, or where all of it took less than 0.3 s. A call that was cut off and "
        "asked again the same, while nothing else ended just then, ran into a time-out."
    ),
    saving=(
        "The wall time now, minus that of a replay without the failed attempts and their pauses "
        "(of another model that was asked instead, its call stays): "
        "an upper bound, as staying below a limit may mean waiting, too. And the price of the "
        "tokens that failed attempts report, minus what the answered one would have paid for what "
        "they had cached; where none are reported, it is not known if an attempt was billed."
    ),
    refuted_by="A limit or a fault that would only have come later, at another call.",
    fix=(
        "For 429: bound how many calls run at once, spread them, or have the limit raised. For an "
        "overloaded service: another region or model after the first failure. For time-outs: ask "
        "for less at once, or allow for more. Retry in one place only: retries of an SDK inside "
        "retries of your own multiply (max_retries=0 turns the SDK's off)."
    ),
    find=retried_calls,
    change=FirstAttempt,
    least_ns=_LEAST_NS,
)
