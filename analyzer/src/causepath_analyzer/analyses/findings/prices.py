"""The money that a change of model calls saves: by price, and unknown where one is."""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.rule import Saving
from causepath_analyzer.analyses.path.cost import cost_of
from causepath_analyzer.model import Tokens


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
    return Saving(usd=cost.usd if cost.is_whole else None, tokens=tokens)


def cheaper(facts: Facts, then: Mapping[int, Tokens]) -> Saving:
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
    return Saving(usd=before.usd - later.usd)


def is_worth_paying(facts: Facts, saving: Saving) -> bool:
    """Tells whether the money is known, and 1 % of the cost of the run or more."""
    whole = facts.cost.usd
    if saving.usd is None or saving.usd <= 0 or whole is None:
        return False
    return saving.usd * 100 >= whole
