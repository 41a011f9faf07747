"""Budgets as people write them, in the form they know from k6::

    p(95) wall < 20s
    mean cost < $0.25
    wall < 60s                              every run
    share tool < 40%                        of the wall time of all runs
    p(95) first_token{agent="research"} < 2s
    count CP101 == 0
    error_rate < 1%
    p(50) wall < +10% and +200ms            more than the baseline
    wall < 20s: model 60%, tool 30%, buffer 10%     allotted to kinds of work

An aggregate, the thing that is measured, in braces which runs or calls, a sign and a limit with its
unit. The aggregate may follow the measure. Without one, each run counts, and the worst decides.
"""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from causepath_analyzer.analyses.budgets.measures import (
    CALL_MEASURES,
    CODE,
    MEASURES,
    MODEL,
    Amount,
    Call,
    Sample,
    Unit,
    unit_of,
)
from causepath_analyzer.analyses.path.kinds import KINDS

Sign = Literal["<", "<=", ">", ">=", "=="]
Level = Literal["error", "warn"]
Aggregate = Literal["each", "percentile", "mean", "sum", "share"]
"""How the amounts of many runs are made one: the worst of them, a percentile, the mean, the sum, or
the sum as a part of another sum."""

SHARES: Final[Mapping[str, tuple[str, str]]] = {
    "cache_read_share": ("tokens.cache_read", "tokens.input"),
    "error_rate": ("failed", ""),
}
"""What is a part of something: the measures of the part and of the whole; of runs without one."""

PARTS: Final = ("model", *KINDS)
"""The kinds of work that the wall is divided into; ``model`` are all calls of models."""

_OF_RUNS: Final = ("agent", "service")
_OF_CALLS: Final = ("agent", "service", "model", "tool")


class Only(Struct, frozen=True):
    """The runs or calls that a budget is about: patterns of names, as in a shell."""

    agent: str = "*"
    service: str = "*"
    model: str = "*"
    tool: str = "*"

    def has_run(self, sample: Sample, *, by_agent: bool) -> bool:
        """Tells whether a run is meant; `by_agent` unless agents inside of it are."""
        return (not by_agent or fnmatchcase(sample.name, self.agent)) and (
            self.service == "*" or fnmatchcase(sample.service or "", self.service)
        )

    def has_call(self, call: Call) -> bool:
        """Tells whether a call is meant."""
        name = self.model if call.category == "llm" else self.tool
        return fnmatchcase(call.name, name) and (
            self.agent == "*" or any(fnmatchcase(agent, self.agent) for agent in call.agents)
        )

    def __str__(self) -> str:
        told = [
            f'{name}="{getattr(self, name)}"' for name in _OF_CALLS if getattr(self, name) != "*"
        ]
        return f"{{{', '.join(told)}}}" if told else ""


EVERYTHING: Final = Only()


class Relative(Struct, frozen=True):
    """A limit by what the baseline used: so much more than that, and never less than the floor.

    ``share`` is 0.1 for ten per cent, and negative for a limit below the baseline.
    """

    share: Decimal
    floor: Amount


class Allotment(Struct, frozen=True):
    """A part of a limit that one kind of work may use; ``buffer`` is for all that has none."""

    kind: str
    share: Decimal


BUFFER: Final = "buffer"


class Budget(Struct, frozen=True):
    """A limit on what runs use. ``where`` is the place that sets it: "--max", or "file:line".

    ``measure`` is one of `MEASURES`, `CALL_MEASURES` or `SHARES`, the code of a finding, or for
    shares of the wall time a kind of work. Of an amount ``less`` others, what is left of it is
    limited.
    """

    measure: str
    limit: Amount | Relative
    where: str
    sign: Sign = "<="
    aggregate: Aggregate = "each"
    percentile: Decimal = Decimal(0)
    only: Only = EVERYTHING
    level: Level = "error"
    allotted: tuple[Allotment, ...] = ()
    less: tuple[str, ...] = ()

    @property
    def allotments(self) -> "tuple[Budget, ...]":
        """Gives the budget of each part that is allotted, in this order."""
        limit = self.limit
        if isinstance(limit, Relative):
            return ()
        named = tuple(f"path.{one.kind}" for one in self.allotted if one.kind != BUFFER)
        return tuple(
            replace(
                self,
                measure=self.measure if one.kind == BUFFER else f"path.{one.kind}",
                limit=int(limit * one.share),
                allotted=(),
                less=named if one.kind == BUFFER else (),
            )
            for one in self.allotted
        )

    @property
    def unit(self) -> Unit:
        return "share" if self.aggregate == "share" else unit_of(self.measure)

    @property
    def parts(self) -> tuple[str, str]:
        """Names the measures of a share: of the part, and of the whole."""
        return SHARES.get(self.measure) or (f"path.{self.measure}", "wall")

    @property
    def measures(self) -> tuple[str, ...]:
        """Names what has to be known of a run."""
        if self.aggregate != "share":
            of_parts = (f"path.{one.kind}" for one in self.allotted if one.kind != BUFFER)
            return (self.measure, *of_parts, *self.less)
        return tuple(name for name in self.parts if name)

    @property
    def is_of_calls(self) -> bool:
        return self.measure in CALL_MEASURES and self.aggregate != "share"

    @property
    def is_estimate(self) -> bool:
        """Tells whether it speaks of the agent, of which the runs at hand are a sample."""
        return self.aggregate in ("percentile", "mean", "share")

    @property
    def name(self) -> str:
        """Names what is limited, as it is written."""
        words = {
            "each": "",
            "percentile": f"p({self.percentile:f}) ",
            "mean": "mean ",
            "sum": "count " if CODE.match(self.measure) else "sum ",
            "share": "" if self.measure in SHARES else "share ",
        }[self.aggregate]
        return f"{words}{self.measure}{self.only}"


class WordingError(Exception):
    """Something that is no budget: ``column`` from 1 on, and a sentence that says what would be."""

    def __init__(self, column: int, told: str) -> None:
        super().__init__(told)
        self.column = column


_PERCENTILE: Final = re.compile(r"p\(\s*(\d+(?:\.\d+)?)\s*\)|p(\d+(?:\.\d+)?)\b")
_WORD: Final = re.compile(r"[A-Za-z_][\w.]*")
_AGGREGATES: Final[Mapping[str, Aggregate]] = {
    "each": "each",
    "max": "each",
    "min": "each",
    "mean": "mean",
    "avg": "mean",
    "sum": "sum",
    "total": "sum",
    "count": "sum",
    "share": "share",
    "median": "percentile",
}
_PAIR: Final = re.compile(r"\s*(\w+)\s*(=|:)\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s,}\"']+))\s*")
_SIGN: Final = re.compile(r"<=|>=|==|<|>")
_ALLOTMENT: Final = re.compile(r"(\w+)\s*=?\s*(\d+(?:\.\d+)?)\s*%\s*")
_RELATIVE: Final = re.compile(r"\s*([+-])\s*(\d+(?:\.\d+)?)\s*%\s*(?:(and)\s+\+\s*(.*))?\Z")


def wording(text: str, where: str, level: Level = "error") -> Budget:
    """Reads the budget that `text` writes down. Raises `WordingError` if it is none."""
    return _Reader(text).budget(where, level)


class _Reader:
    """A text and how far it was read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def budget(self, where: str, level: Level) -> Budget:
        aggregate, percentile = self._aggregate()
        measure = self._measure(aggregate)
        only = self._only(measure)
        if aggregate is None:
            aggregate, percentile = self._aggregate()
            if aggregate == "share":
                raise self._error('write "share" before the kind of work: share tool < 40%')
        if measure in SHARES:
            if aggregate is not None:
                raise WordingError(1, f"{measure} is a share of all runs: it has no aggregate")
            aggregate = "share"
        found = aggregate or "each"
        sign = self._sign()
        unit: Unit = "share" if found == "share" else unit_of(measure)
        limit = self._limit(measure, unit, found)
        allotted = self._allotted(measure, sign, limit)
        if sign == "==" and (found not in ("each", "sum") or isinstance(limit, Relative)):
            raise WordingError(1, "== is for what is counted, as in count CP101 == 0")
        if isinstance(limit, Relative) and sign in (">", ">="):
            raise WordingError(1, "a limit by the baseline is an upper one: write < or <=")
        return Budget(
            measure, limit, where, sign, found, percentile or Decimal(0), only, level, allotted
        )

    def _space(self) -> None:
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1

    def _error(self, told: str) -> WordingError:
        return WordingError(self._at + 1, told)

    def _aggregate(self) -> tuple[Aggregate | None, Decimal | None]:
        self._space()
        found = _PERCENTILE.match(self._text, self._at)
        if found is not None:
            told = Decimal(found[1] or found[2])
            if not 0 < told < 100:
                raise self._error(f"there is no p({told:f}): a percentile is between 0 and 100")
            self._at = found.end()
            return "percentile", told
        word = _WORD.match(self._text, self._at)
        if word is None or word[0] not in _AGGREGATES:
            return None, None
        if word[0] == "min":
            raise self._error("there is no min: wall > 2s holds for each run")
        self._at = word.end()
        percentile = Decimal(50) if word[0] == "median" else None
        return _AGGREGATES[word[0]], percentile

    def _measure(self, aggregate: Aggregate | None) -> str:
        self._space()
        found = _WORD.match(self._text, self._at)
        if found is None:
            raise self._error(f"expected what is measured: {told_measures()}")
        name = found[0]
        names: Iterable[str] = PARTS if aggregate == "share" else measure_names()
        is_known = name in names or (aggregate != "share" and CODE.match(name))
        if not is_known:
            near = get_close_matches(name, list(names), n=1)
            if not near and aggregate is None:
                near = get_close_matches(name, [*_AGGREGATES, "p(95)"], n=1)
            there_is = ", ".join(PARTS) if aggregate == "share" else told_measures()
            hint = f"did you mean {near[0]}?" if near else f"there is {there_is}"
            raise self._error(f"no budget is called {name!r}; {hint}")
        self._at = found.end()
        return name

    def _only(self, measure: str) -> Only:
        self._space()
        if not self._text.startswith("{", self._at):
            return EVERYTHING
        self._at += 1
        keys = _OF_CALLS if measure in CALL_MEASURES else _OF_RUNS
        found: dict[str, str] = {}
        while True:
            pair = _PAIR.match(self._text, self._at)
            if pair is None:
                raise self._error('expected a filter like {agent="research"}')
            if pair[1] not in keys:
                near = get_close_matches(pair[1], keys, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(keys)}"
                raise self._error(f"{measure} cannot be narrowed by {pair[1]!r}; {hint}")
            if measure in CALL_MEASURES:
                other = "tool" if CALL_MEASURES[measure].category == "llm" else "model"
                if pair[1] == other:
                    raise self._error(f"{measure} is of no {other}")
            found[pair[1]] = pair[3] or pair[4] or pair[5] or ""
            self._at = pair.end()
            if self._text.startswith("}", self._at):
                self._at += 1
                return Only(**found)
            if not self._text.startswith(",", self._at):
                raise self._error("expected , or } after a filter")
            self._at += 1

    def _sign(self) -> Sign:
        self._space()
        found = _SIGN.match(self._text, self._at)
        if found is None:
            raise self._error("expected <, <=, >, >= or ==, and a limit")
        self._at = found.end()
        signs: Mapping[str, Sign] = {"<": "<", "<=": "<=", ">": ">", ">=": ">=", "==": "=="}
        return signs[found[0]]

    def _limit(self, measure: str, unit: Unit, aggregate: Aggregate) -> Amount | Relative:
        self._space()
        rest = self._text[self._at :].partition(":")[0]
        self._at += len(rest)
        relative = _RELATIVE.match(rest)
        if relative is None:
            amount = read_amount(rest, unit)
            if amount is None:
                also = ""
                if aggregate in ("percentile", "mean"):
                    also = f", or like +10% and +{_FLOORS[unit]} for more than a baseline"
                self._at -= len(rest)
                raise self._error(
                    f"{rest.strip()!r} is not a limit for {measure}; write it like "
                    f"{EXAMPLES[unit]}{also}"
                )
            return amount
        if aggregate not in ("percentile", "mean"):
            self._at -= len(rest)
            raise self._error(
                "a limit by the baseline is for what the runs are like: write p(50) or mean first"
            )
        floor = None if relative[4] is None else read_amount(relative[4], unit)
        if floor is None:
            self._at -= len(rest)
            raise self._error(
                "a limit by the baseline needs a floor, below which no difference matters: "
                f"write it like +10% and +{_FLOORS[unit]}"
            )
        share = Decimal(relative[2]) / 100
        return Relative(-share if relative[1] == "-" else share, floor)

    def _allotted(
        self, measure: str, sign: Sign, limit: Amount | Relative
    ) -> tuple[Allotment, ...]:
        """Reads what is allotted to kinds of work, after a colon."""
        if not self._text.startswith(":", self._at):
            return ()
        if measure != "wall" or sign not in ("<", "<=") or isinstance(limit, Relative):
            raise self._error("only an upper limit of wall can be allotted, as in wall < 20s: ...")
        self._at += 1
        found: dict[str, Allotment] = {}
        kinds = (*PARTS, BUFFER)
        while True:
            self._space()
            one = _ALLOTMENT.match(self._text, self._at)
            if one is None:
                raise self._error('expected a kind of work and its part, like "tool 30%"')
            if one[1] not in kinds:
                near = get_close_matches(one[1], kinds, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(kinds)}"
                raise self._error(f"nothing can be allotted to {one[1]!r}; {hint}")
            if one[1] in found or (one[1] in MODEL and "model" in found):
                raise self._error(f"{one[1]} has a part already")
            if one[1] == "model" and not found.keys().isdisjoint(MODEL):
                raise self._error("a part of model has a part already")
            share = Decimal(one[2]) / 100
            if share + sum(part.share for part in found.values()) > 1:
                raise self._error("the parts are more than 100% together")
            found[one[1]] = Allotment(one[1], share)
            self._at = one.end()
            if self._at == len(self._text):
                return tuple(found.values())
            if not self._text.startswith(",", self._at):
                raise self._error("expected , or the end after a part")
            self._at += 1


def measure_names() -> tuple[str, ...]:
    """Lists what can be limited, but for the codes of findings."""
    return (*MEASURES, *CALL_MEASURES, *SHARES)


def told_measures() -> str:
    """Says what can be limited."""
    others = [name for name in measure_names() if not name.startswith("path.")]
    kinds = [name for name in MEASURES if name.startswith("path.")]
    return f"{', '.join(others)}, CP101, and {kinds[0]}, {kinds[1]}, ... for every kind of a report"


_UNITS_NS: Final[Mapping[str, int]] = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "min": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_FACTORS: Final[Mapping[str, int]] = {"": 1, "k": 1_000, "m": 1_000_000}
_AMOUNT: Final = re.compile(r"\s*(\$?)\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*([a-zA-Z]*|%)\s*\Z")
EXAMPLES: Final[Mapping[Unit, str]] = {
    "ns": "5s, 800ms or 2m",
    "tokens": "40000",
    "calls": "6",
    "usd": "$0.25",
    "findings": "0",
    "share": "40%",
}


_FLOORS: Final[Mapping[Unit, str]] = {
    "ns": "200ms",
    "tokens": "500",
    "calls": "1",
    "usd": "$0.01",
    "findings": "1",
    "share": "1%",
}


def read_amount(value: object, unit: Unit) -> Amount | None:
    """Reads `value` in `unit`; ``None`` if it has another unit, none where one is needed, or is
    odd."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    match = _AMOUNT.match(str(value))
    if match is None:
        return None
    dollar, digits, suffix = match.groups()
    number = Decimal(digits.replace("_", ""))
    if unit == "usd":
        return number if suffix.lower() in ("", "usd") else None
    if dollar or (suffix == "%") != (unit == "share"):
        return None
    if unit == "share":
        return number / 100 if number <= 100 else None
    if unit == "ns":
        ns = _UNITS_NS.get(suffix)
        return None if ns is None else int(number * ns)
    factor = _FACTORS.get(suffix.lower())
    whole = None if factor is None else number * factor
    return int(whole) if whole is not None and whole == int(whole) else None
