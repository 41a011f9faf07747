"""Budgets as lines that end with the verdict."""

from decimal import Decimal

from rich.text import Text

from causepath_analyzer.analyses.budgets import Amount, Check, Checked, Unit
from causepath_analyzer.report.formatting import count, duration, fitted, money, short_id
from causepath_analyzer.report.summary_text import endings_words

_STYLES = {"pass": "good", "fail": "bad", "inconclusive": "note"}


def check_text(check: Check, id_length: int) -> list[Text]:
    """Writes a line for each budget with its worst run, and one for runs that did not end
    well, and one for what was not read of the input; the last line is the verdict."""
    lines = []
    for result in check.budgets:
        line = Text(f"  {result.verdict.upper():<13}", style=_STYLES[result.verdict])
        line.append(_figures(result, id_length), style="plain")
        lines.append(line)
        if result.why is not None and result.verdict == "inconclusive":
            lines.append(Text(f"{'':<15}not known because of {result.why}", style="note"))
    if check.endings:
        lines.append(Text(f"  {endings_words(check.endings)}", style="bad"))
    if check.unread:
        line = Text(f"  {'INCONCLUSIVE':<13}", style=_STYLES["inconclusive"])
        places = count(check.unread, "place was", "places were")
        line.append(f"{'input':<18}{places} not read: runs may be missing", style="plain")
        lines.append(line)
    lines.append(_verdict(check))
    return lines


def _figures(result: Checked, id_length: int) -> str:
    worst = "unknown" if result.worst is None else amount(result.worst, result.unit)
    if result.is_lower_bound:
        worst = f">={worst}"
    most = f"max {amount(result.budget.most, result.unit)}"
    text = f"{fitted(result.budget.name, 18)}{worst:>9}  {most:<13}"
    told = [f"{result.over:,} over"] if result.over and result.runs > 1 else []
    if result.trace_id is not None and result.runs > 1:
        told.append(f"run {short_id(result.trace_id, id_length)}")
    if result.unknown:
        told.append(f"{result.unknown:,} unknown")
    text += ", ".join(told)
    return text.rstrip()


def amount(value: Amount, unit: Unit) -> str:
    """Writes `value` with its unit, as in the other reports."""
    if unit == "ns":
        return duration(int(value))
    return money(Decimal(value)) if unit == "usd" else f"{value:,}"


def _verdict(check: Check) -> Text:
    verdicts = [result.verdict for result in check.budgets]
    if check.unread:
        verdicts.append("inconclusive")
    told = [
        f"{verdicts.count(verdict)} {words}"
        for verdict, words in (
            ("fail", "failed"),
            ("inconclusive", "inconclusive"),
            ("pass", "passed"),
        )
        if verdict in verdicts
    ]
    return Text(", ".join(told), style=_STYLES[check.verdict])
