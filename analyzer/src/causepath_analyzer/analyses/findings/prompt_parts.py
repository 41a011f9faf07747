"""Parts of prompts: how they were billed, and what the run would be without them.

A prompt is cached from its beginning, so that where a part stands says what was paid for it:

    0          read from a cache    written to it     neither        input
    |------------------------------|-----------------|---------------|
                        |======= part =======|
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.prices import cheaper
from causepath_analyzer.analyses.findings.rule import UNKNOWN, Saving
from causepath_analyzer.analyses.path.critical_path import first_token_ns
from causepath_analyzer.analyses.replay.change import Lighter, SmallerPrompts
from causepath_analyzer.analyses.replay.edits import without
from causepath_analyzer.analyses.replay.slopes import Line
from causepath_analyzer.model import NO_TOKENS, Tokens


class Part(Struct, frozen=True):
    """The tokens from ``start`` to before ``end`` of the prompt of a call. ``size`` is in bytes, 0
    where that is not known."""

    call: int
    start: int
    end: int
    size: int = 0


def billed(facts: Facts, part: Part) -> Tokens:
    """Tells as what the tokens of `part` were billed."""
    call = facts.trace.spans[part.call].model_call
    if call is None or call.tokens is None:
        return NO_TOKENS
    told = call.tokens
    past = told.cache_read + told.cache_write
    read = max(0, min(part.end, told.cache_read) - part.start)
    written = max(0, min(part.end, past) - max(part.start, told.cache_read))
    long = written * told.cache_write_1h // told.cache_write if told.cache_write else 0
    return Tokens(part.end - part.start, 0, read, written, 0, long)


def saved_without(facts: Facts, parts: Sequence[Part]) -> Saving:
    """Works out the tokens and, by price, the money that calls need less without `parts`."""
    spans = facts.trace.spans
    then: dict[int, Tokens] = {}
    for part in parts:
        call = spans[part.call].model_call
        if call is not None and call.tokens is not None:
            left = then.get(part.call, call.tokens)
            then[part.call] = without(left, billed(facts, part))
    tokens = sum(part.end - part.start for part in parts)
    return replace(cheaper(facts, then, "part") if then else UNKNOWN, tokens=tokens)


def sooner_without(
    facts: Facts, parts: Sequence[Part], lines: Mapping[str, Line]
) -> SmallerPrompts | None:
    """Finds how much sooner first tokens come without `parts`, by the `lines` of their models;
    ``None`` if the calls do not show that they do."""
    spans = facts.trace.spans
    found = []
    for part in parts:
        call = spans[part.call].model_call
        first = first_token_ns(facts.trace, facts.kinds, part.call)
        line = lines.get((call and call.model) or "")
        if line is None or first is None:
            continue
        less = billed(facts, part)
        much = part.size if line.unit == "bytes" else less.input - less.cache_read
        first_ns = first - spans[part.call].start_ns
        sooner_ns = min(round(line.slope_ns * much), first_ns)
        if sooner_ns > 0:
            found.append(Lighter(part.call, less, sooner_ns))
    return SmallerPrompts(tuple(found)) if found else None
