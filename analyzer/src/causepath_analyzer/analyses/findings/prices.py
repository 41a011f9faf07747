"""The money that a change of model calls saves: by price, and unknown where one is."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from msgspec.structs import replace

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.rule import Claim, Saving, Way
from causepath_analyzer.analyses.path.cost import cost_of
from causepath_analyzer.model import NO_SPAN, Tokens


def spent(facts: Facts, spans: Sequence[int]) -> Saving:
    """Adds up what the model calls in `spans` used; with none in them nothing is to be said."""
    trace = facts.trace
    waiting = list(spans)
    calls = []
    while waiting:
        i = waiting.pop()
        if facts.kinds.calls[i] == i:
            calls.append(i)
        waiting += trace.children[i]
    known = [call for i in calls if (call := trace.spans[i].model_call) is not None]
    if not calls or len(known) < len(calls) or any(call.tokens is None for call in known):
        return Saving()
    cost = cost_of(known, [trace.spans[i].start_ns for i in calls], facts.prices)
    tokens = sum(call.tokens.input + call.tokens.output for call in known if call.tokens)
    if cost.usd is None or not cost.is_whole:
        return Saving(tokens=tokens)
    return Saving(
        usd=cost.usd, tokens=tokens, claims=(Claim("call", cost.usd, dict.fromkeys(calls)),)
    )


def spent_in_vain(facts: Facts, spans: Sequence[int], then: Mapping[int, int]) -> Saving:
    """Adds up what `spans` used, minus what it costs that the calls which came `then` find less in
    a cache: by model call of `spans` the next one of its conversation.

    What was billed and not counted is unknown, and so is all of it.
    """
    own = spent(facts, spans)
    if own.usd is None:
        return own
    more = _uncached(facts, spans, then)
    if not more:
        return own
    dearer = cheaper(facts, more).usd
    if dearer is None:
        return Saving(tokens=own.tokens)
    usd = max(Decimal(0), own.usd + dearer)
    return replace(own, usd=usd, claims=tuple(replace(one, usd=usd) for one in own.claims))


def _uncached(facts: Facts, spans: Sequence[int], then: Mapping[int, int]) -> dict[int, Tokens]:
    """Works out what the calls that came `then` would have been billed for, had those in `spans`
    cached nothing for them."""
    trace, dropped = facts.trace, frozenset(spans)
    found: dict[int, Tokens] = {}
    for i in sorted(dropped.intersection(then)):
        after = then[i]
        while after in dropped and after in then and then[after] > after:
            after = then[after]
        told = trace.spans[i].model_call
        other = trace.spans[after].model_call if after != NO_SPAN and after not in dropped else None
        if told is None or told.tokens is None or other is None or other.tokens is None:
            continue
        if told.model != other.model:
            continue
        was, now = told.tokens, found.get(after, other.tokens)
        on_request = bool(was.cache_write)  # else what was not read was cached all the same
        put = was.cache_write if on_request else was.input - was.cache_read
        lost = min(max(0, put), now.cache_read)
        found[after] = replace(
            now,
            cache_read=now.cache_read - lost,
            cache_write=now.cache_write + (lost if on_request else 0),
            cache_write_1h=now.cache_write_1h + min(was.cache_write_1h, lost),
        )
    return found


def cheaper(facts: Facts, then: Mapping[int, Tokens], way: Way = "bill") -> Saving:
    """Works out what is saved if calls are billed for the tokens `then`; unknown without prices."""
    trace = facts.trace
    now, after, started_ns = [], [], []
    for i, tokens in then.items():
        call = trace.spans[i].model_call
        if call is None:
            return Saving()
        now.append(call)
        after.append(replace(call, tokens=tokens))
        started_ns.append(trace.spans[i].start_ns)
    before, later = (cost_of(calls, started_ns, facts.prices) for calls in (now, after))
    if before.usd is None or later.usd is None or not (before.is_whole and later.is_whole):
        return Saving()
    usd = before.usd - later.usd
    return Saving(usd=usd, claims=(Claim(way, usd, dict(zip(then, after, strict=True))),))


def is_worth_paying(facts: Facts, saving: Saving) -> bool:
    """Tells whether the money is known, and 1 % of the cost of the run or more."""
    whole = facts.cost.usd
    if saving.usd is None or saving.usd <= 0 or whole is None:
        return False
    return saving.usd * 100 >= whole
