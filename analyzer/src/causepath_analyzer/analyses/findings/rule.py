"""What a rule is, what it finds, and when that is worth saying.

A rule is a file of its own, ``cpNNN_name.py``, with one `Rule` called ``RULE``; `rules` lists them.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Final, Literal

from msgspec import Struct

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.proof.over_runs import CacheTrial
from causepath_analyzer.analyses.replay.change import Change
from causepath_analyzer.model import ModelCall

Evidence = Literal["proved", "likely"]


Way = Literal["call", "part", "bill", "model"]
"""How money is saved: a call is not made, a part of its prompt not sent, what it is given billed in
another way (read from a cache), or another model asked."""


class Claim(Struct, frozen=True):
    """A claim on ``usd``: which calls would ``then`` be billed how, or not at all (``None``)."""

    way: Way
    usd: Decimal
    then: Mapping[int, ModelCall | None]


class Saving(Struct, frozen=True):
    """Wall time, money and tokens that a run would do without; each is ``None`` if not known.

    ``claims`` say where the money would be saved, as several findings may save the same.
    """

    ns: int | None = None
    usd: Decimal | None = None
    tokens: int | None = None
    claims: tuple[Claim, ...] = ()


UNKNOWN: Final = Saving()


def added(savings: Iterable[Saving]) -> Saving:
    """Adds up what is known of `savings`."""
    every = list(savings)
    ns = [one.ns for one in every if one.ns is not None]
    usd = [one.usd for one in every if one.usd is not None]
    tokens = [one.tokens for one in every if one.tokens is not None]
    return Saving(
        sum(ns) if ns else None,
        sum(usd, Decimal(0)) if usd else None,
        sum(tokens) if tokens else None,
        tuple(claim for one in every for claim in one.claims),
    )


def largest_first(saving: Saving) -> tuple[float, ...]:
    """Gives what sorts savings: by time, then by money, then by tokens; unknown ones come last."""
    return -(saving.ns or 0), -float(saving.usd or 0), -(saving.tokens or 0)


class Candidate(Struct, frozen=True):
    """Something in a run that could be otherwise, and that nothing speaks against.

    With a ``change``, the time that it saves is what a replay says; any other ``saving`` is what
    the rule knows itself. Candidates of one ``place`` are mended by one change of the code, which
    is called ``plural`` if there are several. ``where`` is "file:line function" or ``None``,
    ``refuted_by`` what would show that there is no opportunity, and with ``at_most`` the trace
    speaks against all of the saving. ``cache`` is what caches over runs would
    have done, if that was tried, and ``over_runs`` says in a few words what the other runs show, if
    it rests on them.
    """

    title: str
    plural: str
    place: str
    spans: tuple[int, ...]
    evidence: Evidence
    why: str
    fix: str
    change: Change | None = None
    saving: Saving = UNKNOWN
    where: str | None = None
    refuted_by: str = ""
    at_most: bool = False
    cache: CacheTrial | None = None
    over_runs: str = ""


class Finding(Struct, frozen=True):
    """Something that would make a run faster or cheaper.

    ``saving.ns`` is the wall time of the run minus that of the run with the fix, and with
    ``at_most`` no more than an upper bound of it, as the trace speaks against all of it. ``share``
    is that saving as a part of the wall. ``times`` is how often the run gives the same opportunity,
    which one change of the code would take. If it was ``replayed``, so it can be with other
    changes. Those of the codes ``overlaps`` save
    some of the same money, or are about the same calls of tools. The rest is as in `Candidate`.
    """

    code: str
    title: str
    spans: tuple[int, ...]
    saving: Saving
    share: float | None
    evidence: Evidence
    why: str
    fix: str
    where: str | None = None
    times: int = 1
    refuted_by: str = ""
    at_most: bool = False
    replayed: bool = True
    cache: CacheTrial | None = None
    over_runs: str = ""
    overlaps: tuple[str, ...] = ()


SILENT_BELOW_NS: Final = 50_000_000


class Rule(Struct, frozen=True):
    """A kind of finding: how it is found, and what ``causepath explain`` prints about it.

    ``find`` gives the candidates of a run, whatever they save. ``change`` is what those of its
    candidates that can be replayed do to a run, ``None`` if none can. Of less than ``least_ns``
    that one change of the code saves nothing is said.
    """

    code: str
    title: str
    what: str
    evidence: str
    saving: str
    refuted_by: str
    fix: str
    find: Callable[[Facts], Iterable[Candidate]]
    change: type[Change] | None = None
    least_ns: int = SILENT_BELOW_NS


SILENT_BELOW_SHARE: Final = 0.01


def worth_saying(saving_ns: int, wall_ns: int, least_ns: int = SILENT_BELOW_NS) -> bool:
    """Tells whether a saving is both 1 % of the wall and `least_ns` or more."""
    return saving_ns >= least_ns and saving_ns >= wall_ns * SILENT_BELOW_SHARE


def seconds(ns: int) -> str:
    """Writes a time in a sentence: "0.4 s", "12.3 s", "5 min", "3.5 h"."""
    if ns < _MINUTES * 60_000_000_000:
        return f"{ns / 1_000_000_000:,.1f} s"
    minutes = ns / 60_000_000_000
    return f"{minutes:,.0f} min" if minutes < _MINUTES * 60 else f"{minutes / 60:,.1f} h"


_MINUTES: Final = 3
