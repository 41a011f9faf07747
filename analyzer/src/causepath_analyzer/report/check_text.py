"""Budgets as lines that end with the verdict."""

from collections.abc import Sequence
from decimal import Decimal
from math import isfinite
from typing import Final

from rich.text import Text

from causepath_analyzer.analyses.budgets.intervals import Interval
from causepath_analyzer.analyses.budgets.measures import Amount, Unit
from causepath_analyzer.analyses.budgets.verdicts import Check, Checked, Violation
from causepath_analyzer.analyses.budgets.wording import Allotment
from causepath_analyzer.report.formatting import (
    count,
    duration,
    fitted,
    harmless,
    money,
    near,
    percent,
    short_id,
)
from causepath_analyzer.report.summary_text import endings_words

STYLES: Final = {"pass": "good", "fail": "bad", "warn": "note", "inconclusive": "note"}
_INDENT: Final = " " * 15
_NAME: Final = 18
_VIOLATIONS: Final = 3
_WIDTH: Final = 80


def word_of(result: Checked) -> str:
    """Says in a word how a budget came out; one that only warns does not fail."""
    return "warn" if result.verdict == "fail" and result.budget.level == "warn" else result.verdict


def check_text(check: Check, id_length: int) -> list[Text]:
    """Writes a line for each budget, and what explains it; one for runs that did not end well, and
    one for what was not read of the input; the last line is the verdict."""
    lines = []
    for result in check.budgets:
        word = word_of(result)
        line = Text(f"  {word.upper():<13}", style=STYLES[word])
        lines.append(line)
        name = harmless(result.budget.name)
        if len(name) > _NAME:
            line.append(name, style="plain")
            line = Text(_INDENT)
            lines.append(line)
            name = ""
        line.append(f"{name:<{_NAME}}{_figures(result, id_length)}", style="plain")
        lines += [Text(f"{_INDENT}{told}", style="note") for told in explained(result)]
        lines += [
            Text(_INDENT + told, style="note")
            for one in result.violations[:_VIOLATIONS]
            for told in violation_lines(one, result.unit, id_length, _WIDTH - len(_INDENT))
        ]
    for changed in check.changed:
        lines.append(Text(f"  {changed_words(changed.what, changed.before, changed.now)}"))
    if check.endings:
        lines.append(Text(f"  {endings_words(check.endings)}", style="bad"))
    if check.unread:
        line = Text(f"  {'INCONCLUSIVE':<13}", style=STYLES["inconclusive"])
        line.append(f"{'input':<18}{unread_words(check)}", style="plain")
        lines.append(line)
    lines.append(Text(verdict_words(check), style=STYLES[check.verdict]))
    return lines


def unread_words(check: Check) -> str:
    """Says that something of the input was not read."""
    places = count(check.unread, "place was", "places were")
    return f"{places} not read: runs may be missing"


def explained(result: Checked) -> list[str]:
    """Says what else belongs to a budget's figures, a sentence each."""
    told = []
    if result.baseline is not None:
        before = estimate(result.baseline.value, result.unit)
        told.append(f"the baseline has {before}, {range_words(result.baseline, result.unit)}")
    if result.why is not None and result.verdict == "inconclusive":
        if result.interval is None or result.unknown:
            told.append(f"not known because of {result.why}")
        else:
            told.append(result.why)
    if result.needed is not None:
        told.append(f"about {result.needed:,} runs would tell")
    if result.is_near:
        told.append(f"nearly used up{_left_words(result, ', ')}")
    told += [
        allotment_words(one, part)
        for one, part in zip(result.budget.allotted, result.allotted, strict=True)
    ]
    if result.budget.is_estimate and len(result.names) > 1:
        names = ", ".join(harmless(name) for name in result.names[:3])
        more = ", ..." if len(result.names) > 3 else ""
        told.append(f'agents mixed: {names}{more}; narrow it with {{agent="..."}}')
    return told


def allotment_words(one: Allotment, part: Checked) -> str:
    """Says how much of its part of a budget a kind of work used, and what is left."""
    limit = "unknown" if part.limit is None else amount(part.limit, part.unit)
    used = f"{used_words(part)} of {limit}"
    word = "" if part.verdict == "pass" else f", {part.verdict}"
    near = " (nearly used up)" if part.is_near else ""
    return f"{one.kind} {percent(float(one.share))}: {used}{_left_words(part, ', ')}{word}{near}"


def _left_words(result: Checked, before: str) -> str:
    left = result.left
    if left is None or not isfinite(left):
        return ""
    told = estimate(abs(float(left)), result.unit)
    return f"{before}{told} {'left' if left >= 0 else 'too much'}"


def violation_lines(
    one: Violation, unit: Unit, id_length: int, width: int = 1_000
) -> Sequence[str]:
    """Says which run broke a budget, what it waited for most, and where the code is that is to
    blame, each on a line of `width` columns."""
    run = f"run {short_id(one.trace_id, id_length)}"
    if one.ending is not None:
        return [fitted(f"{run}: {harmless(one.ending)}", width).rstrip()]
    told = f"{run} {amount(one.amount, unit)}"
    sign = ": "
    for place in one.path:
        more = f"{sign}{harmless(place.name)} {duration(place.ns)}"
        if len(told) + len(more) > width:
            break
        told, sign = told + more, ", "
    named = one.span is not None and not one.path
    if named:
        told = fitted(f"{told}: {harmless(one.span or '')}", width).rstrip()
    if one.where is None:
        return [told] if one.path or named else []
    at = harmless(near(one.where))
    span = "" if one.span is None or named else f": {harmless(one.span)}"
    return [told, fitted(f"  at {at}{span}", width).rstrip()]


def changed_words(what: str, before: tuple[str, ...], now: tuple[str, ...]) -> str:
    """Says what is not as it was when a baseline was made."""
    signs = [f"-{harmless(name)}" for name in before] + [f"+{harmless(name)}" for name in now]
    return f"since the baseline, {what}: {', '.join(signs)}"


def _figures(result: Checked, id_length: int) -> str:
    budget, unit = result.budget, result.unit
    used = used_words(result, at_least=">=")
    told = [known] if (known := known_words(result)) else []
    is_most = budget.sign == "<=" and budget.aggregate == "each"
    limit = "unknown" if result.limit is None else amount(result.limit, unit)
    most = f"{'max' if is_most else budget.sign} {limit}"
    if result.over and result.runs > 1 and result.interval is None:
        told.append(f"{result.over:,} over")
    if result.trace_id is not None and result.runs > 1 and budget.aggregate == "each":
        told.append(f"run {short_id(result.trace_id, id_length)}")
    if result.unknown:
        told.append(f"{result.unknown:,} unknown")
    return f"{used:>9}  {most:<12} {', '.join(told)}".rstrip()


def used_words(result: Checked, at_least: str = "at least ") -> str:
    """Says what was used, as far as it is known."""
    unit = result.unit
    if result.interval is not None:
        is_known = result.unknown < result.runs
        return estimate(result.interval.value, unit) if is_known else "unknown"
    if result.total is not None:
        return amount(result.total, unit)
    if result.worst is None:
        return "unknown"
    return f"{at_least if result.is_lower_bound else ''}{amount(result.worst, unit)}"


def known_words(result: Checked) -> str:
    """Writes the range of what is an estimate, and of which anything is known."""
    if result.interval is None or result.unknown >= result.runs:
        return ""
    return range_words(result.interval, result.unit)


def range_words(interval: Interval, unit: Unit) -> str:
    """Writes the range that an estimate is in."""
    low, high = interval.low, interval.high
    if not isfinite(low) and not isfinite(high):
        return "range unknown"
    if not isfinite(high):
        return f"{estimate(low, unit)} or more"
    if not isfinite(low):
        return f"{estimate(high, unit)} or less"
    return f"{estimate(low, unit)} to {estimate(high, unit)}"


def estimate(value: float, unit: Unit) -> str:
    """Writes an estimated `value` with its unit."""
    if not isfinite(value):
        return "unknown"
    if unit == "ns":
        return duration(max(0, round(value)))
    if unit == "share":
        return percent(value)
    if unit == "usd":
        return money(Decimal(str(value)))
    return f"{value:,.1f}"


def amount(value: Amount, unit: Unit) -> str:
    """Writes `value` with its unit, as in the other reports."""
    if unit == "ns":
        return duration(int(value))
    if unit == "share":
        return percent(float(value))
    return money(Decimal(value)) if unit == "usd" else f"{value:,}"


def verdict_words(check: Check) -> str:
    """Says how many budgets came out how."""
    words = [word_of(result) for result in check.budgets]
    if check.unread:
        words.append("inconclusive")
    return ", ".join(
        f"{words.count(word)} {told}"
        for word, told in (
            ("fail", "failed"),
            ("warn", "warned of"),
            ("inconclusive", "inconclusive"),
            ("pass", "passed"),
        )
        if word in words
    )
