"""Runs held against budgets: pass, fail, or inconclusive where nobody can know.

What a run used may be known in part only: it used so much, or more. A budget is kept or broken
where both the least and the most that each run may have used say so. A percentile, a mean or a
share speaks of the agent rather than of the runs at hand: of these the whole `Interval` has to be
on one side of the limit.
"""

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from decimal import Decimal
from math import inf, isfinite
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from causepath_analyzer.analyses.budgets.baseline import Changed, changes
from causepath_analyzer.analyses.budgets.intervals import (
    Interval,
    difference,
    percentile_interval,
    rate_interval,
    ratio_interval,
    runs_for_percentile,
    runs_to_settle,
)
from causepath_analyzer.analyses.budgets.measures import (
    CALL_MEASURES,
    CODE,
    MODEL,
    Amount,
    Emitter,
    Place,
    Sample,
    Unit,
    Used,
    needs_calls,
    shows_its_calls,
)
from causepath_analyzer.analyses.budgets.wording import Budget, Level, Relative, Sign
from causepath_analyzer.analyses.path.status import Status, endings_of

Verdict = Literal["pass", "fail", "inconclusive"]
ERROR: Final = 0.05
"""The chance that a range ends on the wrong side of the truth, at each of its ends; of all
estimates of one level together."""
NEAR: Final = Decimal("0.8")
"""A budget of which so much is used is nearly broken."""
_WORST: Final = 5
_FEW: Final = 5

_Value = int | Decimal | float
"""An amount, or `inf` where it may be anything."""


class Violation(Struct, frozen=True):
    """A run that used more than it may, the span in it that took most of that, and the operations
    that it waited for most; of a run that should have ended well, how it ended instead."""

    trace_id: str
    name: str
    amount: Amount
    span_id: str | None
    path: tuple[Place, ...]
    ending: str | None = None
    span: str | None = None
    """The name of the span; of a finding, its title."""
    where: str | None = None
    """The file and line of the code that is to blame, as far as spans say it."""


class Checked(Struct, frozen=True):
    """One budget held against all runs that it is about.

    ``limit`` is that of the budget, or by the baseline (``None``: there is none to compare with).
    ``interval`` is the range of an estimate. ``worst`` and ``trace_id`` are of the run that used
    most, ``over`` counts runs over the limit, ``unknown`` those of which it is not known that they
    are not: ``why`` of the first one, or why else nobody can tell. ``is_lower_bound`` says that
    the worst run may have used more. ``needed`` runs would tell. ``is_near``: kept, but only just.
    ``names`` are those of the runs: an estimate over several agents says little of each.
    """

    budget: Budget
    verdict: Verdict
    limit: Amount | None
    worst: Amount | None
    trace_id: str | None
    over: int
    unknown: int
    runs: int
    interval: Interval | None = None
    total: Amount | None = None
    """The sum, where that is limited."""
    baseline: Interval | None = None
    is_lower_bound: bool = False
    why: str | None = None
    needed: int | None = None
    is_near: bool = False
    violations: tuple[Violation, ...] = ()
    names: tuple[str, ...] = ()
    allotted: "tuple[Checked, ...]" = ()
    """What is allotted to kinds of work, each held against its part, in the order of the budget."""

    @property
    def unit(self) -> Unit:
        return self.budget.unit

    @property
    def used(self) -> float | Amount | None:
        """Gives what is compared with the limit, as far as it is known."""
        if self.interval is not None:
            is_known = self.unknown < self.runs and isfinite(self.interval.value)
            return self.interval.value if is_known else None
        return self.worst if self.total is None else self.total

    @property
    def left(self) -> float | Amount | None:
        """Gives how much of an upper limit is left; less than 0 is too much."""
        used = self.used
        if self.budget.sign not in ("<", "<=") or self.limit is None or used is None:
            return None
        if self.is_lower_bound or isinstance(self.budget.limit, Relative):
            return None
        return self.limit - used if isinstance(used, int) else float(self.limit) - float(used)


class Check(Struct, frozen=True):
    """All budgets held against all runs: ``fail`` if one is broken.

    ``unread`` counts places of the input that were not understood, where runs may be missing: with
    any of them nothing passes. Budgets that only warn decide nothing.
    """

    budgets: tuple[Checked, ...]
    runs: int
    unread: int
    verdict: Verdict
    endings: Mapping[Status, int]
    """How many runs did not end well."""
    changed: tuple[Changed, ...] = ()
    """The surroundings that are not those of the baseline."""


class _Range(Struct, frozen=True):
    """The least and the most of something that was used, and why these differ."""

    low: Amount
    high: _Value
    why: str | None = None


class _Seen(Struct, frozen=True):
    """A run that a budget is about, and the amounts in it: one, or one of each of its calls."""

    sample: Sample
    amounts: tuple[_Range, ...]
    whole: float = 1.0
    """Of a share: what it is a part of."""
    span_ids: tuple[str, ...] = ()


def checked(
    budgets: Sequence[Budget],
    samples: Sequence[Sample],
    baseline: Sequence[Sample] | None = None,
    unread: int = 0,
    near: Decimal = NEAR,
) -> Check:
    """Holds every budget in `budgets` against the runs of which `samples` were taken; `unread`
    places may have more, and relative limits are about the runs of a `baseline`. Of a budget from
    `near` of its limit on it is said that it is nearly used up."""
    estimates: Counter[Level] = Counter()
    for budget in budgets:
        if budget.is_estimate:
            estimates[budget.level] += 1 + len(budget.allotted)
    found = tuple(
        _with_parts(
            *(
                _held(one, samples, baseline, ERROR / max(1, estimates[budget.level]), near)
                for one in (budget, *budget.allotments)
            )
        )
        for budget in budgets
    )
    verdicts = {one.verdict for one in found if one.budget.level == "error"}
    unsure = unread or "inconclusive" in verdicts
    verdict: Verdict = "fail" if "fail" in verdicts else "inconclusive" if unsure else "pass"
    endings = endings_of(sample.ending for sample in samples)
    changed = () if baseline is None else changes(baseline, samples)
    return Check(found, len(samples), unread, verdict, endings, changed)


def _with_parts(whole: Checked, *parts: Checked) -> Checked:
    """Judges a budget with the parts of it that are allotted: each has to be kept."""
    if not parts:
        return whole
    for verdict in ("fail", "inconclusive"):
        decided = next((one for one in (whole, *parts) if one.verdict == verdict), None)
        if decided is not None:
            return replace(
                whole,
                verdict=decided.verdict,
                why=decided.why,
                needed=decided.needed,
                is_near=False,
                violations=decided.violations,
                allotted=parts,
            )
    return replace(whole, allotted=parts)


def _held(
    budget: Budget,
    samples: Sequence[Sample],
    baseline: Sequence[Sample] | None,
    error: float,
    near: Decimal,
) -> Checked:
    seen = _seen(budget, samples)
    before: Interval | None = None
    limit: Amount | None
    known: Sequence[_Seen] = ()
    if isinstance(budget.limit, Relative):
        known = _seen(budget, baseline or ())
        before = _estimate(budget, known, error) if known else None
        allowed = None if before is None else _allowed(budget.limit, before)
        limit = _amount(budget, allowed)
    else:
        limit = budget.limit
        allowed = Interval(float(limit), float(limit), float(limit))
    over = [] if limit is None else [one for one in seen if _judged(budget, one, limit) == "fail"]
    unsure = [
        one for one in seen if limit is not None and _judged(budget, one, limit) == "inconclusive"
    ]
    interval: Interval | None = None
    total: Amount | None = None
    needed: int | None = None
    why = _why(unsure)
    if not seen:
        verdict: Verdict = "inconclusive"
        why = "no run that it is about"
    elif allowed is None or limit is None:
        verdict = "inconclusive"
        why = "nothing of it in a baseline"
    elif budget.is_estimate:
        interval = _estimate(budget, seen, error)
        apart = difference(interval, allowed) if before is not None else interval
        least, most = apart.low, apart.high
        verdict = _compared(budget.sign, least, most, 0 if before is not None else limit)
        if verdict == "inconclusive" and (why is None or isfinite(interval.high)):
            needed = _needed(budget, interval, apart, allowed, len(seen), error, before is not None)
            why = _too_few(budget, interval, len(seen))
            if before is not None and _is_whole(interval) and not _is_whole(before):
                why, needed = f"the baseline has {_too_few(budget, before, len(known))}", None
    elif budget.aggregate == "sum":
        ranges = [amount for one in seen for amount in one.amounts]
        total, verdict = _summed(budget.sign, ranges, limit)
    else:
        verdict = "fail" if over else "inconclusive" if unsure else "pass"
    worst = _worst(budget.sign, seen)
    return Checked(
        budget=budget,
        verdict=verdict,
        limit=limit,
        worst=worst and worst[1].low,
        trace_id=worst and worst[0].sample.trace_id,
        over=len(over),
        unknown=len(unsure),
        runs=len(seen),
        interval=interval,
        total=total,
        baseline=before,
        is_lower_bound=worst is not None and worst[1].low != worst[1].high,
        why=why if verdict == "inconclusive" or unsure else None,
        needed=needed,
        is_near=verdict == "pass" and _is_near(budget, interval, total, worst, limit, near),
        violations=_violations(budget, over) if verdict == "fail" else (),
        names=tuple(sorted({one.sample.name for one in seen})),
    )


# Of single runs.


def _seen(budget: Budget, samples: Sequence[Sample]) -> Sequence[_Seen]:
    recording: Container[Emitter] = {emitter for sample in samples for emitter in sample.recorders}
    is_of_calls = budget.is_of_calls
    meant = [one for one in samples if budget.only.has_run(one, by_agent=not is_of_calls)]
    if is_of_calls:
        return [one for one in (_calls_seen(budget, sample) for sample in meant) if one.amounts]
    if budget.aggregate != "share":
        return [_Seen(sample, (_rest(budget, sample, recording),)) for sample in meant]
    part, whole = budget.parts
    found = []
    for sample in meant:
        amount = _range(part, sample, recording)
        of = _range(whole, sample, recording) if whole else _Range(1, 1)
        if of.low != of.high:
            amount, of = _Range(0, inf, of.why or amount.why), _Range(1, 1)
        found.append(_Seen(sample, (amount,), float(of.low)))
    return found


def _rest(budget: Budget, sample: Sample, recording: Container[Emitter]) -> _Range:
    """Gives what a run used of a measure, less what it used of others."""
    whole = _range(budget.measure, sample, recording)
    if not budget.less:
        return whole
    others = [_range(name, sample, recording) for name in budget.less]
    least = int(whole.low) - sum(float(one.high) for one in others)
    most = float(whole.high) - sum(int(one.low) for one in others)
    why = next((one.why for one in (whole, *others) if one.why is not None), None)
    return _Range(max(0, int(least)) if isfinite(least) else 0, _whole(most), why)


def _whole(value: float) -> _Value:
    return int(value) if isfinite(value) else value


def _range(measure: str, sample: Sample, recording: Container[Emitter]) -> _Range:
    used = sample.used.get(measure, Used(None, "a baseline that does not have it"))
    if needs_calls(measure) and not used.amount and not shows_its_calls(sample, recording):
        used = Used(None, "spans of which none is known to be a call")
    if used.amount is None:
        return _Range(0, inf, used.why)
    return _Range(used.amount, used.amount if used.why is None else inf, used.why)


def _calls_seen(budget: Budget, sample: Sample) -> _Seen:
    measure = CALL_MEASURES[budget.measure]
    amounts = []
    span_ids = []
    for call in sample.calls:
        if call.category == measure.category and budget.only.has_call(call):
            ns = measure.of(call)
            unknown = _Range(0, inf, "calls of which nobody says when their answer began")
            amounts.append(unknown if ns is None else _Range(ns, ns))
            span_ids.append(call.span_id)
    return _Seen(sample, tuple(amounts), float(len(amounts)), tuple(span_ids))


def _compared(sign: Sign, low: _Value, high: _Value, limit: _Value) -> Verdict:
    """Compares what is between `low` and `high` with `limit`."""
    broken, kept = {
        "<": (low >= limit, high < limit),
        "<=": (low > limit, high <= limit),
        ">": (high <= limit, low > limit),
        ">=": (high < limit, low >= limit),
        "==": (low > limit or high < limit, low == limit == high),
    }[sign]
    return "fail" if broken else "pass" if kept else "inconclusive"


def _judged(budget: Budget, seen: _Seen, limit: Amount) -> Verdict:
    """Compares a single run, whatever its calls are, with `limit`."""
    if budget.aggregate == "share":
        (part,) = seen.amounts
        if not seen.whole:
            return "pass"
        found = [_compared(budget.sign, _of(part.low, seen), _of(part.high, seen), limit)]
    else:
        found = [_compared(budget.sign, one.low, one.high, limit) for one in seen.amounts]
    return "fail" if "fail" in found else "inconclusive" if "inconclusive" in found else "pass"


def _of(part: _Value, seen: _Seen) -> float:
    return float(part) / seen.whole


def _why(unsure: Sequence[_Seen]) -> str | None:
    return next((one.why for seen in unsure for one in seen.amounts if one.why is not None), None)


def _worst(sign: Sign, seen: Sequence[_Seen]) -> tuple[_Seen, _Range] | None:
    """Finds the run that used most, or least where that is what is limited."""
    known = [(one, amount) for one in seen for amount in one.amounts if _is_known(amount)]
    if not known:
        return None
    worst = min if sign in (">", ">=") else max
    return worst(known, key=lambda pair: pair[1].low)


def _is_known(amount: _Range) -> bool:
    """Tells whether anything is known of an amount: a lower bound is something."""
    return amount.low == amount.high or bool(amount.low)


def _violations(budget: Budget, over: Sequence[_Seen]) -> tuple[Violation, ...]:
    found = []
    for seen in over:
        worst = _worst(budget.sign, [seen])
        if worst is None:
            continue
        amount = worst[1].low
        sample = seen.sample
        if "failed" in budget.measures:
            ended = sample.ending
            told = ended.status.replace("_", " ") + (f": {ended.error}" if ended.error else "")
            found.append(Violation(sample.trace_id, sample.name, amount, None, (), told))
            continue
        span_id, span, where = _blamed(budget, seen, worst[1])
        path = _waits(budget, sample)
        found.append(
            Violation(sample.trace_id, sample.name, amount, span_id, path, span=span, where=where)
        )
    is_least = budget.sign in (">", ">=")
    return tuple(sorted(found, key=lambda one: one.amount if is_least else -one.amount)[:_WORST])


def _waits(budget: Budget, sample: Sample) -> tuple[Place, ...]:
    """Gives the operations that a run waited for most, of the kind of work that is limited; of
    findings they say nothing."""
    if budget.measure == "findings" or CODE.match(budget.measure):
        return ()
    kind = budget.parts[0] if budget.aggregate == "share" else budget.measure
    if budget.less:
        taken = {one.removeprefix("path.") for one in budget.less}
        kinds = sample.slowest.keys() - taken - (set(MODEL) if "model" in taken else set())
    elif kind.startswith("path."):
        kinds = {kind.removeprefix("path.")}
        kinds = set(MODEL) if kinds == {"model"} else kinds
    else:
        return sample.path
    found = (sample.slowest[one] for one in sorted(kinds) if one in sample.slowest)
    return tuple(sorted(found, key=lambda place: -place.ns)[:1])


_Blamed = tuple[str | None, str | None, str | None]


def _blamed(budget: Budget, seen: _Seen, worst: _Range) -> _Blamed:
    """Finds the span of a run that took most of what is limited: its id, its name, its place."""
    sample, measure = seen.sample, budget.measure
    if seen.span_ids:
        span_id = seen.span_ids[seen.amounts.index(worst)]
        call = next(one for one in sample.calls if one.span_id == span_id)
        return call.span_id, call.name, call.where
    if measure.startswith("tokens.") or measure in ("cost", "cache_read_share"):
        most = max(sample.calls, key=lambda call: call.tokens, default=None)
        return (None, None, None) if most is None else (most.span_id, most.name, most.where)
    if measure in ("calls.llm", "calls.tool") and isinstance(budget.limit, int):
        calls = [one for one in sample.calls if one.category == measure.removeprefix("calls.")]
        first_over = budget.limit if budget.sign == "<=" else budget.limit - 1
        over = calls[max(0, first_over) :] if budget.sign in ("<", "<=") else []
        return (over[0].span_id, over[0].name, over[0].where) if over else (None, None, None)
    if measure == "findings" or CODE.match(measure):
        for found in sample.found:
            if measure in ("findings", found.code):
                return found.span_id, found.title, found.where
        return None, None, None
    place = next(iter(_waits(budget, sample)), None)
    if place is None or measure in ("turns", "calls.llm", "calls.tool"):
        return None, None, None
    return place.span_id, place.name, place.where


# Of many.


def _summed(sign: Sign, ranges: Sequence[_Range], limit: Amount) -> tuple[Amount, Verdict]:
    low: Amount = sum((one.low for one in ranges), 0)
    is_open = any(one.low != one.high for one in ranges)
    return low, _compared(sign, low, inf if is_open else low, limit)


def _estimate(budget: Budget, seen: Sequence[_Seen], error: float) -> Interval:
    """Computes the range of what `seen` are a sample of, whatever is not known of them."""
    least = _figure(budget, seen, error, "low")
    if all(one.low == one.high for run in seen for one in run.amounts):
        return least
    most = _figure(budget, seen, error, "high")
    return Interval(least.value, least.low, most.high)


def _figure(
    budget: Budget, seen: Sequence[_Seen], error: float, end: Literal["low", "high"]
) -> Interval:
    values = [[float(getattr(one, end)) for one in run.amounts] for run in seen]
    if budget.aggregate == "percentile":
        ordered = sorted(value for of_run in values for value in of_run)
        share = float(budget.percentile / 100)
        return percentile_interval(ordered, share, error, len(seen))
    if budget.aggregate == "share" and not budget.parts[1]:
        return rate_interval(int(sum(min(1.0, v) for (v,) in values)), len(values), error)
    sums = [sum(of_run) for of_run in values]
    if budget.aggregate == "share":
        sums = [min(part, run.whole) for part, run in zip(sums, seen, strict=True)]
    elif not isfinite(sum(sums)):
        return Interval(inf, -inf, inf)
    return ratio_interval(sums, [run.whole for run in seen], error)


def _allowed(limit: Relative, before: Interval) -> Interval:
    """Computes what a baseline of `before` allows: by the share, or by the floor if that is
    more."""
    share, floor = 1 + float(limit.share), float(limit.floor)

    def of(value: float) -> float:
        return max(value * share, value + floor) if limit.share >= 0 else value * share

    return Interval(of(before.value), of(before.low), of(before.high))


def _amount(budget: Budget, allowed: Interval | None) -> Amount | None:
    if allowed is None or not isfinite(allowed.value):
        return None
    if budget.unit == "usd":
        return Decimal(str(allowed.value))
    return round(allowed.value)


def _is_whole(interval: Interval) -> bool:
    return isfinite(interval.low) and isfinite(interval.high)


def _too_few(budget: Budget, interval: Interval, runs: int) -> str:
    """Says why the range of an estimate does not tell."""
    of = f"{runs:,} run" + ("" if runs == 1 else "s")
    if budget.aggregate == "percentile" and not _is_whole(interval):
        return f"{of}: too few for a percentile"
    if not isfinite(interval.low):
        return f"{of}: too few for a mean"
    return f"{of}: too few to tell"


def _needed(
    budget: Budget,
    interval: Interval,
    apart: Interval,
    allowed: Interval,
    runs: int,
    error: float,
    is_relative: bool,
) -> int | None:
    """Estimates how many runs would tell."""
    fewest = 0
    if budget.aggregate == "percentile":
        fewest = runs_for_percentile(float(budget.percentile / 100), error)
    elif not isfinite(interval.low):
        fewest = _FEW
    if not _is_whole(interval):
        return max(fewest, runs + 1)
    settled = runs_to_settle(apart, 0.0 if is_relative else allowed.value, runs)
    return None if settled is None else max(fewest, settled)


def _is_near(
    budget: Budget,
    interval: Interval | None,
    total: Amount | None,
    worst: tuple[_Seen, _Range] | None,
    limit: Amount | None,
    near: Decimal,
) -> bool:
    """Tells whether most of an upper limit is used."""
    if budget.sign not in ("<", "<=") or limit is None or isinstance(budget.limit, Relative):
        return False
    if interval is not None:
        used: _Value = interval.value
    elif total is not None:
        used = total
    elif worst is not None:
        used = worst[1].low
    else:
        return False
    return bool(limit) and float(used) >= float(limit) * float(near)
