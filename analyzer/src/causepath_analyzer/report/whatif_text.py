"""Predictions, and what became of them, for the terminal: 80 columns."""

import textwrap
from collections.abc import Sequence
from decimal import Decimal

from rich.text import Text

from causepath_analyzer.analyses.predictions.prediction import Measured
from causepath_analyzer.analyses.predictions.whatif import Place, WhatIf
from causepath_analyzer.analyses.replay.profile import Curve
from causepath_analyzer.analyses.replay.ranges import Estimate, PastErrors
from causepath_analyzer.report.formatting import (
    count,
    duration,
    fitted,
    harmless,
    money,
    percent,
    shell,
)

_LABEL = 22
_COLUMN = 10


def whatif_text(found: WhatIf, saved: str | None) -> list[Text]:
    """Now, then, change and range; the new path; what it rests on."""
    change = "; ".join(harmless(edit) for edit in found.edits)
    touched = f", {found.touched:,} of them changed" if found.touched != found.runs else ""
    lines = [
        *_wrapped(f"{count(found.runs, 'run')}{touched}: {change}", "title"),
        Text(),
        Text(f"{'':<{_LABEL}}{'now':>8}{'then':>{_COLUMN}}{'change':>16}    range (80%)"),
        _row("wall p50", found.p50, found.unknown),
        _row("wall p95", found.p95, found.unknown),
        *([_row("wall mean", found.mean, found.unknown)] if found.touched != found.runs else []),
        *([] if found.answer is None else [_row("answer begins p50", found.answer, ())]),
        _cost(found),
        *_wrapped(f"  path now:  {_places(found.path_now)}"),
        *_wrapped(f"  path then: {_places(found.path_then)}"),
        Text(),
        *_wrapped(f"Assumes: {_joined(found.assumes)}."),
        *([] if not found.against else _wrapped(f"At most: {_joined(found.against)}.", "bad")),
        *([] if not found.unknown else _wrapped(f"Unknown: {_joined(found.unknown)}.", "bad")),
        *_wrapped(f"Not predicted: {_joined(found.not_predicted)}. {_past(found.past)}"),
    ]
    if saved is not None:
        command = f"Next, after the change: causepath verify {shell(saved)} NEW_TRACES"
    else:
        command = "Next: add --save prediction.json, and compare with the runs after the change"
    lines.append(Text(command, style="note"))
    return lines


def _joined(sentences: Sequence[str]) -> str:
    return "; ".join(harmless(told) for told in sentences)


def _row(label: str, estimate: Estimate, unknown: Sequence[str]) -> Text:
    if unknown:
        return Text(f"  {label:<{_LABEL - 2}}{duration(estimate.now_ns):>8}{'unknown':>{_COLUMN}}")
    change = estimate.then_ns - estimate.now_ns
    share = change / estimate.now_ns if estimate.now_ns else 0.0
    line = Text(
        f"  {label:<{_LABEL - 2}}{duration(estimate.now_ns):>8}"
        f"{duration(estimate.then_ns):>{_COLUMN}}"
    )
    told = f"{signed(change)} {share:+.0%}" if change else "none"
    line.append(f"{told:>16}", style="good" if change < 0 else "bad" if change > 0 else "plain")
    if estimate.low_ns is None or estimate.high_ns is None:
        line.append("    one run: none")
    else:
        low, high = estimate.low_ns - estimate.now_ns, estimate.high_ns - estimate.now_ns
        line.append(f"    {signed(low)} .. {signed(high)}")
    return line


def signed(ns: int) -> str:
    """ "-2.70s", "+12ms", "0"."""
    return f"+{duration(ns)}" if ns > 0 else duration(ns) if ns else "0"


def _cost(found: WhatIf) -> Text:
    now, then = found.cost_now_usd, found.cost_then_usd
    label = f"  {'cost per run':<{_LABEL - 2}}"
    if now is None or then is None:
        return Text(f"{label}{'unknown':>8}")
    change = "none" if now == then else _money_change(then - now)
    return Text(f"{label}{money(now):>8}{money(then):>{_COLUMN}}{change:>16}")


def _money_change(change: Decimal) -> str:
    return f"{'-' if change < 0 else '+'}{money(abs(change))}"


def _places(places: Sequence[Place]) -> str:
    told = ", ".join(f"{harmless(place.name)} {percent(place.share)}" for place in places)
    return told or "nothing"


def _past(past: PastErrors) -> str:
    if not past.errors:
        return "Past error of this kind: not measured yet."
    typical = sorted(map(abs, past.errors))[len(past.errors) // 2]
    told = percent(typical) if typical <= 1 else "more than was predicted"
    return f"Past error of this kind: {told} (n={len(past.errors)})."


def _wrapped(text: str, style: str = "") -> list[Text]:
    indent = " " * (len(text) - len(text.lstrip()) + 2)
    return [
        Text(line, style=style)
        for line in textwrap.wrap(text, 80, subsequent_indent=indent, break_on_hyphens=False)
    ]


def verify_text(measured: Measured) -> list[Text]:
    """Predicted beside measured; the last line is the verdict."""
    told = measured.prediction
    lines = [
        *_wrapped(
            f"{'; '.join(harmless(edit) for edit in told.edits)}: predicted from "
            f"{count(told.runs, 'run')}, measured in {count(measured.runs, 'run')}",
            "title",
        ),
        Text(),
        Text(f"{'':<{_LABEL}}{'before':>8}{'predicted':>11}{'measured':>11}    range (80%)"),
    ]
    rows = [("wall p50", told.p50, measured.p50_ns), ("wall p95", told.p95, measured.p95_ns)]
    if told.judged is told.mean:
        rows.append(("wall mean", told.mean, measured.mean_ns))
    if told.answer is not None and measured.answer_ns is not None:
        rows.append(("answer begins p50", told.answer, measured.answer_ns))
    for label, was, now in rows:
        then = "unknown" if told.unknown else duration(was.then)
        row = f"  {label:<{_LABEL - 2}}{duration(was.now):>8}{then:>11}{duration(now):>11}"
        if was.low is not None and was.high is not None:
            row += f"    {duration(was.low)} .. {duration(was.high)}"
        lines.append(Text(row))
    before, after = told.cost_now_usd, told.cost_then_usd
    if before is not None and after is not None:
        cost = "unknown" if measured.cost_usd is None else money(measured.cost_usd)
        row = f"{money(Decimal(before)):>8}{money(Decimal(after)):>11}{cost:>11}"
        lines.append(Text(f"  {'cost per run':<{_LABEL - 2}}{row}"))
    return [*lines, Text(), outcome_text(measured)]


def outcome_text(measured: Measured) -> Text:
    """Says in a line what was predicted, what was measured, and whether that is in the range."""
    told = measured.prediction
    predicted, saved = told.judged.now - told.judged.then, measured.saved_ns
    error = (
        f"off by {duration(measured.error_ns)}"
        if measured.error is None
        else f"error {percent(measured.error)}"
    )
    if told.unknown:
        return Text(f"Measured {signed(-saved)}: what to expect was unknown")
    verdict, style = {
        True: ("inside the range" + (", an upper bound" if told.against else ""), "good"),
        False: ("outside the range", "bad"),
        None: ("no range was predicted", "note"),
    }[measured.inside]
    return Text(
        f"Predicted {signed(-predicted)}, measured {signed(-saved)}, {error}: {verdict}",
        style=style,
    )


def profile_text(curves: Sequence[Curve], percents: Sequence[int]) -> list[Text]:
    """Shows for each operation how much faster a run gets as the operation does."""
    head = "".join(f"{f'-{percent_}%':>8}" for percent_ in percents)
    lines = [
        Text(f"{'If this took less time':<40}{head}", style="title"),
        Text("... all runs together would take less by:", style="note"),
    ]
    for curve in curves:
        cells = "".join(f"{percent(share) if share else '0':>8}" for share in curve.shares)
        lines.append(Text(f"  {fitted(harmless(curve.operation), 38)}{cells}"))
    return lines
