"""Tables of the summary of many runs: walls, groups, models, calls, and how it went over time."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from msgspec import Struct
from rich.text import Text

from causepath_analyzer.analyses.summary.distribution import ERROR
from causepath_analyzer.analyses.summary.summary import Group, Model, Stretch, Summary
from causepath_analyzer.analyses.summary.sums import TIERS
from causepath_analyzer.report.formatting import (
    alike,
    count,
    duration,
    fitted,
    harmless,
    hours,
    moment,
    money,
    percent,
)
from causepath_analyzer.report.waterfall import Marks


def histogram(summary: Summary, marks: Marks) -> list[Text]:
    """Draws how many runs took how long."""
    steps = summary.histogram
    if not steps:
        return []
    most = max(step.runs for step in steps)
    whole_ns = summary.wall_ns.p99
    labels = [
        f"from {alike(step.start_ns, whole_ns)}"
        if step.end_ns is None
        else f"below {alike(step.end_ns, whole_ns)}"
        if not step.start_ns
        else f"{alike(step.start_ns, whole_ns)} - {alike(step.end_ns, whole_ns)}"
        for step in steps
    ]
    wide = max(map(len, labels))
    room = min(40, marks.width - wide - 16)
    lines = [Text("Wall time of a run", style="title")]
    for label, step in zip(labels, steps, strict=True):
        bar = marks.on * (-(-step.runs * room // most))
        lines.append(Text(f"  {label:>{wide}}  {fitted(bar, room)} {step.runs:>9,}"))
    if not summary.is_exact:
        lines.append(Text(f"percentiles are within {ERROR:.0%}", style="note"))
    return [*lines, Text()]


def felt(summary: Summary) -> list[Text]:
    """Says how long people waited for the last answer to begin, and how that feels."""
    whole = summary.whole
    if whole is None or not whole.perceived_runs:
        return []
    told = whole.perceived_ns
    known = whole.perceived_runs
    tiers = zip(TIERS, whole.tiers, strict=True)
    words = ", ".join(f"{name} {percent(runs / known)}" for name, runs in tiers if runs)
    of = "" if known == whole.runs else f", of the {count(known, 'run')} that tell"
    return [
        Text(
            f"Until the last answer began: p50 {duration(told.p50)}  p95 {duration(told.p95)}  "
            f"p99 {duration(told.p99)}"
        ),
        Text(f"  {words}{of}", style="note"),
    ]


def groups(summary: Summary, marks: Marks, most: int) -> list[Text]:
    """Compares groups of runs, those with the most wall time first."""
    if summary.group_by is None:
        return []
    shown = summary.groups[:most]
    whole_ns = summary.wall_ns.p95
    unsaid = "(not set)" if summary.is_by_attribute else "(not known)"
    names = [one.name or unsaid for one in shown]
    runs = [f"{one.runs:,}" for one in shown]
    failed = [_share(one.failed, one.runs) for one in shown]
    costs = [_cost_per_run(one) for one in shown]
    more = len(summary.groups) + summary.other_groups - len(shown)
    if more:
        left = summary.traces - sum(one.runs for one in shown)
        names.append(f"others ({more:,}, --top)")
        runs.append(f"{left:,}")
        failed.append(_share(summary.failed - sum(one.failed for one in shown), left))
        left_usd = (summary.cost_usd or _FREE) - sum(
            (one.cost_usd or _FREE for one in shown), _FREE
        )
        sign = ">=" if summary.is_lower_bound else ""
        costs.append(f"{sign}{money(left_usd / left)}" if left_usd else "")
    columns = [
        _Column("runs", 8, runs),
        _Column("failed", 7, failed),
        _Column("p50", 9, [alike(one.wall_ns.p50, whole_ns) for one in shown]),
        _Column("p95", 9, [alike(one.wall_ns.p95, whole_ns) for one in shown], is_kept=False),
        _Column("cached", 8, [_cached(one.cache_share) for one in shown], is_kept=False),
        _Column("cost/run", 12, costs),
    ]
    return _table(f"By {summary.group_by}", names, columns, len(names), marks)


_FREE: Final = Decimal(0)


def _cost_per_run(one: Group) -> str:
    if one.cost_usd is None:
        return ""
    return f"{'>=' if one.is_lower_bound else ''}{money(one.cost_usd / one.runs)}"


def models(summary: Summary, marks: Marks, most: int) -> list[Text]:
    """Tells what was used of each model, and how fast it was."""
    shown = summary.models[:most]
    first = [one.first_token_ns for one in shown]
    timed = [one.timed > 0 for one in shown]
    columns = [
        _Column("calls", 8, [f"{one.calls:,}" for one in shown]),
        _Column("tokens", 7, [percent(one.share) for one in shown], is_kept=False),
        _Column("TTFT p50", 9, _where(timed, [duration(one.p50) for one in first])),
        _Column("p95", 8, _where(timed, [duration(one.p95) for one in first]), is_kept=False),
        _Column("tok/s", 6, [f"{one.rate.p50 / 1000:.0f}" if one.rated else "" for one in shown]),
        _Column("cached", 7, [_cached(one.cache_share) for one in shown], is_kept=False),
        _Column("cost", 10, [_cost(one) for one in shown]),
    ]
    return _table("Models", [one.name for one in shown], columns, len(summary.models), marks)


def _cost(one: Model) -> str:
    if one.cost_usd is None:
        return ""
    return f"{'' if one.is_priced else '>='}{money(one.cost_usd)}"


def operations(summary: Summary, marks: Marks, most: int) -> list[Text]:
    """Tells how long calls took, whether anything waited for them or not."""
    shown = summary.operations[:most]
    each = [one.duration_ns for one in shown]
    columns = [
        _Column("calls", 9, [f"{one.calls:,}" for one in shown]),
        _Column("failed", 8, [_share(one.failed, one.calls) for one in shown]),
        _Column("p50", 9, [duration(one.p50) for one in each]),
        _Column("p95", 9, [duration(one.p95) for one in each], is_kept=False),
        _Column("in all", 10, [hours(one.total_ns) for one in shown]),
    ]
    return _table("Calls", [one.name for one in shown], columns, len(summary.operations), marks)


class _Column(Struct, frozen=True):
    """A column of a table, and whether it is shown where there is little room. The last rows may
    have nothing in it."""

    head: str
    width: int
    cells: Sequence[str]
    is_kept: bool = True


_LEAST_NAME: Final = 24


def _table(
    title: str, names: Sequence[str], columns: Sequence[_Column], every: int, marks: Marks
) -> list[Text]:
    """Writes a row for each of `names`, of `every` that there are, as wide as there is room."""
    if not names:
        return []
    if marks.width - sum(one.width for one in columns) < _LEAST_NAME:
        columns = [one for one in columns if one.is_kept]
    room = marks.width - sum(one.width for one in columns)
    head = "".join(f"{one.head:>{one.width}}" for one in columns)
    lines = [Text(f"{fitted(title, room)}{head}", style="title")]
    for number, name in enumerate(names):
        shown = harmless(name, ascii_only=marks.ascii_only) or "(unnamed)"
        row = [one.cells[number] if number < len(one.cells) else "" for one in columns]
        cells = "".join(f" {cell:>{one.width - 1}}" for one, cell in zip(columns, row, strict=True))
        lines.append(Text(f"{fitted(f'  {shown}', room)}{cells}".rstrip()))
    if every > len(names):
        lines.append(Text(f"  and {every - len(names):,} more (--top)", style="note"))
    return [*lines, Text()]


def _where(known: Sequence[bool], cells: Sequence[str]) -> Sequence[str]:
    return [cell if is_known else "" for is_known, cell in zip(known, cells, strict=True)]


def beside(summary: Summary, marks: Marks) -> list[Text]:
    """Says what caches had of the input over time, and how far tools ran side by side."""
    lines = []
    whole = summary.whole
    if whole is not None and whole.cache_share is not None:
        line = f"Cached: {percent(whole.cache_share)} of the input"
        shown = _over_time(summary.periods, marks)
        lines.append(Text(f"{line}  {shown}" if shown else line))
    tools = summary.side_by_side
    if tools is not None and tools.busy_ns and tools.longest_ns:
        used, possible = tools.sum_ns / tools.busy_ns, tools.sum_ns / tools.longest_ns
        told = f"{used:.1f} at a time, {possible:.1f} possible"
        of = count(tools.replies, "reply", "replies")
        lines.append(Text(f"Tools of one reply: {told} (in {of})"))
    return [*lines, Text()] if lines else []


def _over_time(periods: Sequence[Stretch], marks: Marks) -> str:
    """Draws the part of the input that caches had, a column for each period."""
    told = [one for one in periods if one.cache_share is not None]
    if len(told) < 2 or not moment(told[0].start_ns):
        return ""
    heights = "0123456789" if marks.ascii_only else " ▁▂▃▄▅▆▇█"
    length_ns = told[0].end_ns - told[0].start_ns
    columns = [" "] * ((told[-1].end_ns - told[0].start_ns) // length_ns)
    for one in told:
        height = round((one.cache_share or 0) * (len(heights) - 1))
        if one.cache_share:
            height = max(1, height)
        column = (one.start_ns - told[0].start_ns) // length_ns
        columns[column] = heights[height] if height or marks.ascii_only else "."
    return f"[{''.join(columns)}] {duration(length_ns)} a column"


def _share(part: int, whole: int) -> str:
    return percent(part / whole) if part else ""


def _cached(share: float | None) -> str:
    return "" if share is None else percent(share)
