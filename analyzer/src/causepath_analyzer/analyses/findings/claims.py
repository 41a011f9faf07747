"""The money that several findings save together, no dollar of it twice.

What a call was billed for each kind of token is a pool, of which each finding claims a part:

    uncached input of call 7    |-----------------------------------|   $0.0400
    CP302 cuts a result         |========|                              a fifth of it
    CP203 reads it from a cache |================================|      nine tenths
    both                        |=================================|     1 - (1 - 1/5) (1 - 9/10)

Parts of one prompt that are not sent lie beside each other and add up. What is done to a call in
other ways is done to what is left of it. What a finding costs elsewhere (writing a cache) is taken
off all that it claims.

Invariant: together they save no more than each alone added up, no less than the one that saves
most, no more than the calls cost, and no less with one finding more.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import combinations
from typing import Final

from msgspec import Struct

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.rule import Claim, Saving, Way
from causepath_analyzer.analyses.path.cost import counts_of, rates_of
from causepath_analyzer.model import ModelCall

Pool = tuple[int, int]
"""A call, and one of the kinds of tokens that it is billed for."""

_PLACES: Final = 10
_NOTHING: Final = Decimal(0)


class Together(Struct, frozen=True):
    """The money that several savings save together, ``None`` where none is known to save any, and
    the pairs of them, by their numbers, that claim some of the same."""

    usd: Decimal | None = None
    pairs: tuple[tuple[int, int], ...] = ()


def saved_together(facts: Facts, savings: Sequence[Saving]) -> Together:
    """Works out the money that all of `savings` save."""
    known = [n for n, one in enumerate(savings) if one.usd is not None and one.usd > 0]
    alone = [usd for n in known if (usd := savings[n].usd) is not None]
    if len(alone) < 2:
        return Together(alone[0] if alone else None)
    billed: dict[Pool, Decimal] = {}
    shares = {n: _shares(facts, savings[n], billed) for n in known}
    elsewhere = max(
        usd - sum((claim.usd for claim in savings[n].claims), _NOTHING)
        for n, usd in zip(known, alone, strict=True)
    )
    together = round(_placed(billed, shares.values()) + max(elsewhere, _NOTHING), _PLACES)
    whole = facts.cost.usd
    most = sum(alone, _NOTHING) if whole is None else min(whole, sum(alone, _NOTHING))
    return Together(
        min(max(together, *alone), most),
        tuple(_overlapping(billed, {n: shares[n] for n in known[:_COMPARED]})),
    )


_COMPARED: Final = 32
"""Findings that are compared with each other."""
_MUCH: Final = 20
"""A twentieth of what the smaller one saves is worth a word."""


def _overlapping(
    billed: Mapping[Pool, Decimal], shares: Mapping[int, "Shares"]
) -> Iterator[tuple[int, int]]:
    alone = {n: _placed(billed, (one,)) for n, one in shares.items()}
    for (n, one), (m, other) in combinations(shares.items(), 2):
        if one.keys().isdisjoint(other):
            continue
        twice = alone[n] + alone[m] - _placed(billed, (one, other))
        if twice * _MUCH > min(alone[n], alone[m]):
            yield n, m


Shares = Mapping[Pool, Mapping[Way, Decimal]]


def _shares(facts: Facts, saving: Saving, billed: dict[Pool, Decimal]) -> Shares:
    """Works out which part of each pool `saving` claims, in which way; `billed` gets the pools."""
    found: dict[Pool, dict[Way, Decimal]] = {}
    for claim in saving.claims:
        gains = dict(_gains(facts, claim, billed))
        whole = sum(gains.values(), _NOTHING)
        if whole <= 0 or claim.usd <= 0:
            continue
        net = min(claim.usd / whole, Decimal(1))
        for pool, usd in gains.items():
            ways = found.setdefault(pool, {})
            ways[claim.way] = ways.get(claim.way, _NOTHING) + net * usd / billed[pool]
    return found


def _gains(
    facts: Facts, claim: Claim, billed: dict[Pool, Decimal]
) -> Iterator[tuple[Pool, Decimal]]:
    """Tells what is billed less in each pool that `claim` makes smaller."""
    spans = facts.trace.spans
    for i, then in claim.then.items():
        now = _bill(facts, spans[i].model_call, spans[i].start_ns)
        after = _bill(facts, then, spans[i].start_ns) if then is not None else None
        for part, usd in enumerate(now):
            less = usd - (after[part] if after else _NOTHING)
            if usd > 0 and less > 0:
                billed[i, part] = usd
                yield (i, part), less


def _bill(facts: Facts, call: ModelCall | None, start_ns: int) -> Sequence[Decimal]:
    """Lists the dollars for each kind of token of `call`; nothing where they are not known."""
    rates = rates_of(call, start_ns, facts.prices) if call is not None else None
    if call is None or rates is None:
        return ()
    return [rate * count for rate, count in zip(rates, counts_of(call), strict=True)]


def _placed(billed: Mapping[Pool, Decimal], shares: Iterable[Shares]) -> Decimal:
    """Adds up what all of `shares` take out of the pools."""
    ways: dict[Pool, dict[Way, Decimal]] = {}
    for one in shares:
        for pool, claimed in one.items():
            every = ways.setdefault(pool, {})
            for way, share in claimed.items():
                before = every.get(way, _NOTHING)
                every[way] = before + share if way == "part" else max(before, share)
    total = _NOTHING
    for pool, every in ways.items():
        left = Decimal(1)
        for share in every.values():
            left *= 1 - min(share, Decimal(1))
        total += billed[pool] * (1 - left)
    return total
