"""The report of one run for the terminal: 80 columns, the answer first."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Final

from rich.cells import cell_len
from rich.text import Text

from causepath_analyzer.analyses.path.cost import Cost, table_name
from causepath_analyzer.analyses.path.critical_path import Edge
from causepath_analyzer.analyses.path.kinds import Kind
from causepath_analyzer.analyses.path.status import Ending
from causepath_analyzer.analyses.run import Run
from causepath_analyzer.analyses.run_view import Long, RunView, Shown, WhyNone
from causepath_analyzer.model import Health, Input
from causepath_analyzer.report.formatting import (
    alike,
    count,
    duration,
    fitted,
    harmless,
    moment,
    money,
    percent,
    percent_of_all,
    saved,
    shell,
    short_id,
    tail_of_path,
)
from causepath_analyzer.report.money_text import money_text
from causepath_analyzer.report.waterfall import Marks, lane, waterfall

KIND_WORDS: Final[Mapping[Kind, str]] = {
    "first_token": "waiting for first token",
    "generation": "generating output",
    "llm": "model calls (no TTFT)",
    "tool": "tools",
    "retrieval": "retrieval",
    "embedding": "embeddings",
    "cache": "cache look-ups",
    "database": "databases",
    "network": "network",
    "guardrail": "guardrails",
    "retry": "retries and back-off",
    "human": "waiting for a person",
    "wait": "polling and queues",
    "agent": "not measured here",
    "beside": "not measured, beside calls",
    "other": "other spans",
    "uncovered": "covered by no span",
}
_EDGES: Final[Mapping[Edge, str]] = {
    "data": "data",
    "issue": "order of a reply",
    "time": "time alone",
}
_OPPORTUNITIES: Final = 8


def run_text(
    view: RunView, marks: Marks, paths: Sequence[str], inputs: Sequence[Input] = ()
) -> list[Text]:
    """Writes the lines of the report on one run, which was read from `inputs`; `paths` name
    them."""
    return [
        *overview(view, marks),
        Text(),
        *_opportunities(view, marks),
        Text(),
        *_lacking(view),
        *health_lines(view.run.health, inputs),
        *_next(view, paths),
    ]


def overview(view: RunView, marks: Marks) -> list[Text]:
    """Writes what the run was, and where its time and money went."""
    return [
        _headline(view, marks),
        *_when(view.run),
        *_ending(view, marks),
        *_over_budget(view),
        Text(),
        *waterfall(view, marks),
        *_waits(view),
        Text(),
        *_wall(view, marks),
    ]


_SHORTEST_TITLE: Final = 12


def _headline(view: RunView, marks: Marks) -> Text:
    run, trace = view.run, view.run.trace
    name = view.name.removeprefix("invoke_agent ")
    calls = run.usage.calls
    facts = [duration(trace.wall_ns)]
    if run.cost.usd is not None:
        facts.append(f"{'at least ' if run.is_lower_bound else ''}{money(run.cost.usd)}")
    numbers = [(calls.llm, "model call"), (calls.tool, "tool")]
    if not calls.llm and not calls.tool:
        numbers = [(len(trace.spans), "span")]
    counted = [count(number, what) for number, what in numbers if number]
    title = harmless(name, ascii_only=marks.ascii_only) or "(unnamed)"
    status = status_words(run.ending)
    while True:
        tail = "  " + "  ".join([*facts, *counted, f"trace {short_id(trace.trace_id)}"]) + "  "
        room = marks.width - len(tail) - len(status)
        if room >= min(_SHORTEST_TITLE, cell_len(title)) or not counted:
            break
        counted.pop()  # what the rows below tell as well
    line = Text(fitted(title, max(4, room)).rstrip(), style="title")
    line.append(tail, style="plain")
    line.append(status, style="good" if run.ending.status == "ok" else "bad")
    return line


def status_words(ending: Ending) -> str:
    """Says in a word or two how a run ended."""
    return "killed" if ending.killed else ending.status.replace("_", " ")


def _when(run: Run) -> list[Text]:
    began = moment(run.trace.start_ns)
    return [Text(f"began {began}", style="note")] if began else []


def _ending(view: RunView, marks: Marks) -> list[Text]:
    """Says what a run that did not end well came to."""
    run = view.run
    if run.ending.killed:
        told = "killed: its own span was never written (or it is in another file)"
    elif run.ending.error not in (None, "error") and run.ending.status != "ok":
        told = f"{status_words(run.ending)}: {harmless(run.ending.error or '')}"
    elif run.ending.status == "unfinished":
        told = "unfinished: its program ended while it went on"
    else:
        return []
    if view.left_open is not None:
        told += f", while in {harmless(view.left_open)}"
    return [Text(fitted(told, min(marks.width, cell_len(told))), style="bad")]


def _over_budget(view: RunView) -> list[Text]:
    """Says which limits that the program itself had set were used up."""
    exceeded = view.run.trace.exceeded
    return [Text(f"over its own budget: {', '.join(exceeded)}", style="bad")] if exceeded else []


def _waits(view: RunView) -> list[Text]:
    """Says what held each call on the path that came after another one."""
    if not view.edges:
        return []
    told = ", ".join(
        f"{words} {view.edges[edge]}" for edge, words in _EDGES.items() if edge in view.edges
    )
    return [Text(f"  waits between calls, known by: {told}", style="note")]


def _wall(view: RunView, marks: Marks) -> list[Text]:
    wall_ns = view.run.trace.wall_ns
    if view.run.trace.untrusted:
        return [
            Text("Where the time went: not known, as durations mean nothing here"),
            *_money(view),
        ]
    lines = [Text(f"{'Where the time went':<31}{'wall':>8}{'share':>8}{'sum':>9}", style="title")]
    for one in view.kinds:
        spent = alike(one.wall_ns, wall_ns)
        beside = "" if one.sum_ns is None else alike(one.sum_ns, wall_ns)
        row = f"  {KIND_WORDS[one.kind]:<29}{spent:>8}{percent(one.share):>8}{beside:>9}"
        lines.append(Text(row.rstrip()))
    return [*lines, *_outside(view, marks), *_money(view)]


def _outside(view: RunView, marks: Marks) -> list[Text]:
    """Says whose the time was that no call took, and what it may have been."""
    told = []
    roots = len(view.run.trace.roots)
    if roots > 1:
        told.append(f"{roots} spans have no parent: all of them are taken to be one run")
    if view.goes_on is not None:
        told.append(_long(view.goes_on, " goes on for {} after the run: not in the wall", marks))
    if view.is_unmeasured:
        told.append("not measured here: own code, or calls that nothing instruments")
    if view.branch is not None:
        told.append(_long(view.branch, " ran for {} with no sign of a wait for it", marks))
    if view.alone is not None and view.alone.name is None:
        told.append(
            f"{duration(view.alone.ns)} are covered by no span: what happens there is not traced"
        )
    elif view.alone is not None:
        told.append(_long(view.alone, " itself took {}: trace what it does there", marks))
    return [Text(f"  {line}", style="note") for line in told]


def _long(one: Long, words: str, marks: Marks) -> str:
    """Says with `words` what took so long; the name is cut to where there is room."""
    tail = words.format(duration(one.ns))
    name = harmless(one.name or "")
    return f"{fitted(name, marks.width - 2 - len(tail)).rstrip()}{tail}"


def _money(view: RunView) -> list[Text]:
    """Says where the money went, and of how many tokens."""
    spent = money_text(view.money, at_least=view.run.is_lower_bound)
    return [*([Text(), *spent] if spent else []), *_tokens(view.run)]


def _tokens(run: Run) -> list[Text]:
    tokens = run.usage.tokens
    if not tokens.input and not tokens.output:
        return []
    cached = [
        f"{amount:,} {what}"
        for amount, what in ((tokens.cache_read, "read"), (tokens.cache_write, "written"))
        if amount
    ]
    of_which = f" (cache: {', '.join(cached)})" if cached else ""
    unpriced = "" if run.cost.usd is not None else "; cost unknown"
    least = "" if run.usage.is_counted else "at least "
    output = f"{least}{tokens.output:,} out"
    given = f"{'at least ' if run.usage.contradictory else ''}{tokens.input:,} in"
    lines = [f"  tokens: {given}{of_which}, {output}{unpriced}"]
    if run.usage.partial:
        of = f"{run.usage.partial:,} of {count(run.usage.calls.llm, 'reply', 'replies')}"
        lines.append(f"  output is a lower bound: {of} not counted to the end")
    lines += _prices(run.cost)
    return [Text(line, style="note") for line in lines]


_MOST_MODELS: Final = 3
_PRICES_WIDTH: Final = 80


def _prices(cost: Cost) -> list[str]:
    """Says by which table the cost is told, how sure it is and what it leaves out."""
    lines = []
    if cost.usd is not None:
        own = f", and {harmless(cost.own)}" if cost.own else ""
        of = "" if cost.share == 1 else f", {percent_of_all(cost.share)} of the tokens"
        lines.append(f"  cost: {cost.basis}{of}, by {table_name()}{own}")
        lines += [f"    {why}" for why in cost.estimates]
    if cost.unpriced:
        named = [harmless(model) for model in cost.unpriced[:_MOST_MODELS]]
        more = len(cost.unpriced) - len(named)
        named += [f"{more:,} more"] if more else []
        lines.append(f"  unpriced: {', '.join(named)}")
    if cost.said_unpriced_usd is not None:
        lines.append(
            f"  the trace itself says {money(cost.said_unpriced_usd)} for calls without a price "
            "here"
        )
    if cost.is_doubtful and cost.said_usd is not None and cost.compared_usd is not None:
        lines.append(
            f"  the trace itself says {money(cost.said_usd)} for calls priced here "
            f"at {money(cost.compared_usd)}"
        )
    if cost.said_in:
        currencies = ", ".join(map(harmless, cost.said_in))
        lines.append(f"  the trace itself says costs in {currencies}: not compared")
    return [fitted(line, _PRICES_WIDTH).rstrip() for line in lines]


_BESIDE_TITLE: Final = 35
_LONGEST_TITLE: Final = 72


WHY_NONE: Final[Mapping[WhyNone, str]] = {
    "untrusted": "none computed, the times in this trace mean nothing",
    "no_length": "none, as no span of this trace has a length",
    "no_calls": "none to be seen, as no span is a call of a model or a tool",
    "inferred": "none to be seen, as its tools' own times are not known",
    "no_issuers": "none to be seen; which reply asked for which tool is not known",
    "none": "none found",
}


def _opportunities(view: RunView, marks: Marks) -> list[Text]:
    if view.why_none is not None:
        return [Text(f"Opportunities: {WHY_NONE[view.why_none]}")]
    room = min(marks.width - _BESIDE_TITLE, _LONGEST_TITLE)
    wall_ns = view.run.trace.wall_ns
    lines = [Text(f"{'Opportunities':<{room}}{'saves':>8}{'':>8}  evidence", style="title")]
    for number, shown in enumerate(view.findings[:_OPPORTUNITIES]):
        lines += _opportunity(shown, number, room, wall_ns, marks)
    if len(view.findings) > _OPPORTUNITIES:
        lines.append(Text(f"  and {len(view.findings) - _OPPORTUNITIES} more, see --json"))
    if view.together_share is not None:
        apart = "" if view.apart_ns is None else f", not {alike(view.apart_ns, wall_ns)}"
        what = fitted(f"  all together{apart}", room)
        saves = alike(view.run.together_ns, wall_ns)
        share = percent(view.together_share)
        lines.append(Text(f"{what}{saves:>8}{share:>8}  -> {duration(view.then_ns)}"))
    if view.together_usd is not None:
        apart = "" if view.apart_usd is None else f", not {money(view.apart_usd)}"
        what = fitted(f"  all together, in money{apart}", room)
        part = view.together_usd_share
        share = "" if part is None else f"{percent(part):>8}  of the cost"
        lines.append(Text(f"{what}{money(view.together_usd):>8}{share}"))
    return lines


def _opportunity(shown: Shown, number: int, room: int, wall_ns: int, marks: Marks) -> list[Text]:
    finding = shown.finding
    letter = f" ({lane(number)})" if lane(number) else ""
    share = "" if finding.share is None else percent(finding.share)
    ns = finding.saving.ns
    saves = saved(finding.saving) if ns is None else alike(ns, wall_ns)
    columns = f"{saves:>8}{share:>8}"
    figures = columns.lstrip()
    # A title that is long takes what the columns leave free, but for a blank.
    width = room + len(columns) - len(figures) - 1
    title = f"  {finding.code} {finding.title}"
    title = fitted(title, min(cell_len(title), width - len(letter))).rstrip() + letter
    line = Text(f"{fitted(title, width)} {figures}")
    bound = ", at most" if finding.at_most else ""
    line.append(f"  {finding.evidence}{bound}", style="good")
    if finding.saving.ns is not None and finding.saving.usd is not None:
        line.append(f", {money(finding.saving.usd)}")
    names = ", ".join(harmless(name, ascii_only=marks.ascii_only) for name in shown.names)
    detail = fitted(f"        {names}", min(marks.width, 8 + cell_len(names)))
    if finding.overlaps:
        detail = f"{detail.rstrip()}; overlaps {', '.join(finding.overlaps)}"
    if finding.where is not None:
        place = harmless(finding.where, ascii_only=marks.ascii_only)
        detail += "  at " + tail_of_path(place, marks.width - 5 - cell_len(detail))
    lines = [line, Text(detail, style="note")]
    if finding.over_runs:
        seen = harmless(f"over the runs: {finding.over_runs}", ascii_only=marks.ascii_only)
        wrapped = textwrap.wrap(seen, marks.width - 8)
        lines += [Text(f"        {part}", style="note") for part in wrapped]
    return lines


def _lacking(view: RunView) -> list[Text]:
    """Says what it would take to know more."""
    if not view.lacking:
        return []
    return [Text("To say more, this trace lacks"), *(Text(f"  {one}") for one in view.lacking)]


def health_lines(health: Health, inputs: Sequence[Input] = ()) -> list[Text]:
    """Writes a line on what was mended, one for each note, and one on what was not read."""
    mended = [
        count(number, one, many)
        for number, one, many in (
            (health.merged, "span merged", "spans merged"),
            (health.duplicates, "duplicate dropped", "duplicates dropped"),
            (health.orphans, "orphan", "orphans"),
            (health.cycles, "cycle broken", "cycles broken"),
            (health.unfinished, "span unfinished", "spans unfinished"),
            (health.skewed, "span shifted (clock skew)", "spans shifted (clock skew)"),
        )
        if number
    ]
    unread = _unread(inputs)
    told = ", ".join(mended) if mended else "" if health.notes or unread else "nothing to mend"
    line = f"Trace health: {count(health.spans, 'span')}{', ' if told else ''}{told}"
    return [Text(line), *(Text(f"  {harmless(note)}") for note in health.notes), *unread]


def _unread(inputs: Sequence[Input]) -> list[Text]:
    places = sum(entry.unread for entry in inputs)
    if not places:
        return []
    first = next(entry for entry in inputs if entry.unread)
    where = fitted(harmless(first.path), min(40, cell_len(harmless(first.path)))).rstrip()
    more = "" if sum(entry.unread > 0 for entry in inputs) == 1 else " and others"
    what = count(places, "place in the input was", "places in the input were")
    return [Text(f"  {what} not read ({where}{more}): spans may be missing", style="bad")]


def _next(view: RunView, paths: Sequence[str]) -> list[Text]:
    where = " ".join(shell(path) for path in paths)
    match view.next:
        case "finding":
            first = view.findings[0].finding
            command = f"causepath explain {first.code}"
            if first.replayed:
                command += f" | causepath whatif {where} --apply {first.code}"
        case "profile":
            command = f"causepath whatif {where} --profile"
        case "doctor":
            command = f"causepath doctor {where}"
    return [Text(f"Next: {command}", style="note")]
