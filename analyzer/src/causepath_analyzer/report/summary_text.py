"""The summary of many runs for the terminal: 80 columns, the answer first."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Final

from rich.cells import cell_len
from rich.text import Text

from causepath_analyzer.analyses.findings.results_over_runs import LIFETIME_S
from causepath_analyzer.analyses.findings.rules import RULES
from causepath_analyzer.analyses.path.cost import table_name
from causepath_analyzer.analyses.path.status import Status
from causepath_analyzer.analyses.proof.over_runs import CacheTrial
from causepath_analyzer.analyses.span_rows import operation
from causepath_analyzer.analyses.summary.summary import Row, Summary
from causepath_analyzer.model import Input
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
    percent_of_all,
    saved,
    shell,
    short_id,
)
from causepath_analyzer.report.run_text import KIND_WORDS, health_lines, status_words
from causepath_analyzer.report.summary_tables import (
    beside,
    felt,
    groups,
    histogram,
    models,
    operations,
)
from causepath_analyzer.report.waterfall import Marks

_ROWS = 8
_WIDTH = 80
_FEW_ROWS = 5
_LEFT = 40
_SIDE_BY_SIDE = 76


def summary_text(
    summary: Summary,
    marks: Marks,
    paths: Sequence[str],
    inputs: Sequence[Input] = (),
    most_rows: int | None = None,
) -> list[Text]:
    """Writes the lines of the report on all runs in `inputs`, which `paths` name, with so many rows
    in each table."""
    most = most_rows or _ROWS
    return [
        *_headline(summary),
        *felt(summary),
        Text(),
        *histogram(summary, marks),
        *groups(summary, marks, most),
        *_tables(summary, marks, most),
        Text(),
        *models(summary, marks, most_rows or _FEW_ROWS),
        *operations(summary, marks, most_rows or _FEW_ROWS),
        *beside(summary, marks),
        *_opportunities(summary, marks, most),
        Text(),
        *health_lines(summary.health, inputs),
        *_slowest(summary, paths),
    ]


def _headline(summary: Summary) -> list[Text]:
    wall = summary.wall_ns
    line = Text(count(summary.traces, "run"), style="title")
    told = f"  wall p50 {duration(wall.p50)}  p95 {duration(wall.p95)}  p99 {duration(wall.p99)}"
    mean, cost = f"  mean {duration(wall.mean)}", ""
    if summary.cost_usd is not None:
        least = "at least " if summary.is_lower_bound else ""
        cost = f"  {least}{money(summary.cost_usd / summary.traces)}/run"
    fits = len(line.plain) + len(told) + len(mean) + len(cost) <= _WIDTH
    line.append(f"{told}{mean if fits else ''}{cost}", style="plain")
    lines = [line]
    first, last = moment(summary.first_ns), moment(summary.last_ns)
    if first and last:
        lines.append(Text(f"began {first} to {last}", style="note"))
    if summary.cost_usd is not None:
        share = percent_of_all(summary.priced_share)
        of = "" if summary.is_priced else f" of {share} of the tokens,"
        whole = money(summary.cost_usd)
        lines.append(Text(f"{whole} in all,{of} by {table_name()}", style="note"))
    if summary.failed:
        rate = percent(summary.failed / summary.traces)
        lines.append(Text(f"{endings_words(summary.endings)} ({rate} of all)", style="bad"))
    if summary.left_out:
        unknown = f", of {summary.unknown:,} nobody can tell" if summary.unknown else ""
        left_out = count(summary.left_out, "other run is", "other runs are")
        lines.append(Text(f"{left_out} left out by --where{unknown}", style="note"))
    return lines


def endings_words(endings: Mapping[Status, int]) -> str:
    """Says how many runs did not end well: "5 runs did not end well: 4 failed, 1 timed out"."""
    runs = count(sum(endings.values()), "run")
    each = ", ".join(f"{number:,} {status.replace('_', ' ')}" for status, number in endings.items())
    return f"{runs} did not end well: {each}"


def _tables(summary: Summary, marks: Marks, most: int) -> list[Text]:
    kinds = [row for row in summary.rows if row.by == "kind"][:most]
    places = [row for row in summary.rows if row.by == "operation"][:most]
    total = hours(summary.total_wall_ns)
    title = f"{fitted(f'Wall time, {total}', _LEFT - 15)}{'share':>6}{'p95/run':>9}"
    left = [title, *(_kind(one, summary) for one in kinds)]
    if marks.width < _SIDE_BY_SIDE:
        room = marks.width - 17
        right = [_places_title(room), *(_place(one, summary, marks, room) for one in places)]
        lines = [Text(row.rstrip()) for row in (*left, *right)]
        lines[len(left)].stylize("title")
    else:
        room = min(60, marks.width - _LEFT - 17)
        right = [_places_title(room), *(_place(one, summary, marks, room) for one in places)]
        both = zip_longest(left, right, fillvalue="")
        lines = [Text(f"{fitted(one, _LEFT)}{other}".rstrip()) for one, other in both]
    lines[0].stylize("title")
    return [*lines, *_sums(summary, marks), *_turns(summary)]


def _sums(summary: Summary, marks: Marks) -> list[Text]:
    """Shows the plain sums of spans by kind, in as many lines as it takes."""
    lines = [""]
    for kind, spent_ns in summary.kind_sums.items():
        one = f"{KIND_WORDS[kind]} {hours(spent_ns)}"
        line = f"{lines[-1]}, {one}" if lines[-1] else f"Spans in all: {one}"
        if cell_len(line) < marks.width:
            lines[-1] = line
        else:
            lines[-1] += ","
            lines.append(f"  {one}")
    return [Text(line, style="note") for line in lines if line]


_TURNS = (
    ("before", "before any"),
    ("first", "first"),
    ("middle", "middle"),
    ("last", "last"),
    ("only", "the only"),
    ("none", "runs without"),
)


def _turns(summary: Summary) -> list[Text]:
    """Shows how the wall time is spread over the turns of a conversation, if there are several."""
    rows = {row.key: row for row in summary.rows if row.by == "turn"}
    told = [f"{words} {percent(rows[role].share)}" for role, words in _TURNS if role in rows]
    return [Text(f"Wall by model turn: {', '.join(told)}", style="note")] if len(told) > 1 else []


def _kind(row: Row, summary: Summary) -> str:
    words = next(words for kind, words in KIND_WORDS.items() if kind == row.key)
    p95 = alike(row.p95_ns, summary.wall_ns.p95)
    return f"{fitted(f'  {words}', 25)}{percent(row.share):>6}{p95:>9}"


def _places_title(room: int) -> str:
    return f"   {'Top places on the path':<{room + 2}}{'share':>6}{'runs':>6}"


def _place(row: Row, summary: Summary, marks: Marks, room: int) -> str:
    name = harmless(operation(row.key), ascii_only=marks.ascii_only) or "(unnamed)"
    runs = percent(row.runs / summary.traces)
    return f"     {fitted(name, room)}{percent(row.share):>6}{runs:>6}"


def _opportunities(summary: Summary, marks: Marks, most: int) -> list[Text]:
    if not summary.opportunities:
        return [Text("Opportunities: none found"), *_undeclared(summary)]
    room = min(marks.width - 35, 72)
    lines = [
        Text(
            f"{'Opportunities (each alone)':<{room}}{'runs':>5}{'mean saved':>12}{'total':>8}",
            style="title",
        )
    ]
    for found in summary.opportunities[:most]:
        title = fitted(f"  {found.code} {RULES[found.code].title}", room)
        runs = percent(found.runs / summary.traces)
        mean = saved(found.saving, found.runs)
        total = saved(found.saving) if found.saving.ns is None else hours(found.saving.ns)
        line = Text(f"{title}{runs:>5}{mean:>12}{total:>8}")
        line.append(f" {found.evidence}", style="good")
        lines.append(line)
    lines += [_cache(trial, marks) for trial in summary.caches]
    if len(summary.opportunities) > most:
        lines.append(Text(f"  and {len(summary.opportunities) - most} more, see --json"))
    return lines


def _cache(trial: CacheTrial, marks: Marks) -> Text:
    """Tells how often a cache of all results of a tool would have been hit over all runs."""
    rate = trial.hit_rate(LIFETIME_S)
    hits = f"{percent(rate.hits / trial.calls)} of {trial.calls:,} calls hit, {rate.stale:,} stale"
    told = f" kept for 1 h: {hits} (CP201)"
    room = marks.width - len(told) - 2
    return Text(
        f"  {fitted(harmless(trial.tool, ascii_only=marks.ascii_only), room).rstrip()}{told}"
    )


def _undeclared(summary: Summary) -> list[Text]:
    """Tells how what belongs together becomes one run, where nobody has said what does."""
    if not summary.undeclared:
        return []
    program = " of one program" if summary.is_one_program else ""
    runs = f"These {count(summary.undeclared, 'run')}{program}"
    return [
        Text(f"{runs} are single chains of calls, and what is", style="note"),
        Text(
            'between them is in none. Declare what is one run: with causepath.agent("name"): ...',
            style="note",
        ),
    ]


_FAILED: Final = "--failed"


def _failed(summary: Summary, paths: Sequence[str]) -> list[Text]:
    """Names the last run that did not end well, and the command that lists all of them."""
    last = summary.last_failed
    if last is None:
        return []
    line = Text(f"Failed: {short_id(last.trace_id, summary.id_length)} ", style="bad")
    line.append(f"{status_words(last.ending)}, the last one", style="plain")
    words = [*paths, *(() if _FAILED in paths else (_FAILED,))]  # who has picked them has said so
    line.append(f"  (causepath list {' '.join(map(shell, words))})", style="note")
    return [line]


def _slowest(summary: Summary, paths: Sequence[str]) -> list[Text]:
    where = " ".join(shell(path) for path in paths)
    ids = [short_id(slow.trace_id, summary.id_length) for slow in summary.slowest]
    walls = [alike(slow.wall_ns, summary.wall_ns.p95) for slow in summary.slowest]
    fitting = max(1, 70 // (summary.id_length + 10))
    slowest = "  ".join(map(" ".join, list(zip(ids, walls, strict=True))[:fitting]))
    hand = count(summary.hands_on, "of these runs hands", "of these runs hand")
    apart = [Text(f"{hand} results on: see `causepath doctor`", style="note")]
    return [
        *(apart if summary.hands_on else ()),
        Text(f"Slowest: {slowest}"),
        *_failed(summary, paths),
        *_examples(summary, where),
        Text(f"Next: causepath {where} --trace {ids[0]}", style="note"),
    ]


def _examples(summary: Summary, where: str) -> list[Text]:
    """Names runs that took as long as the percentiles say, each with the command that opens it."""
    if not summary.histogram:  # of so few runs each is an example
        return []
    places: dict[tuple[str, int], list[str]] = {}
    for one in summary.examples:
        places.setdefault((one.trace_id, one.wall_ns), []).append(f"p{one.percent}")
    return [
        Text(
            f"Next: causepath {where} --trace {short_id(trace_id, summary.id_length)}"
            f"  ({' and '.join(percents)}, {duration(wall_ns)})",
            style="note",
        )
        for (trace_id, wall_ns), percents in places.items()
    ]
