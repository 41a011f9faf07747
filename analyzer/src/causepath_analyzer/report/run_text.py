"""The report of one run for the terminal: 80 columns, the answer first."""

from collections.abc import Mapping, Sequence
from typing import Final

from rich.cells import cell_len
from rich.text import Text

from causepath_analyzer.analyses.findings.rule import worth_saying
from causepath_analyzer.analyses.lacking import lacking
from causepath_analyzer.analyses.path.cost import Cost, table_name
from causepath_analyzer.analyses.path.critical_path import Edge
from causepath_analyzer.analyses.path.kinds import Kind
from causepath_analyzer.analyses.path.status import Ending
from causepath_analyzer.analyses.proof.independence import CALLS
from causepath_analyzer.analyses.run import Run
from causepath_analyzer.model import NO_SPAN, Health, Input
from causepath_analyzer.report.formatting import (
    alike,
    count,
    duration,
    fitted,
    harmless,
    moment,
    money,
    percent,
    saved,
    shell,
    short_id,
    tail_of_path,
)
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
    run: Run, marks: Marks, paths: Sequence[str], inputs: Sequence[Input] = ()
) -> list[Text]:
    """Writes the lines of the report on `run`, which was read from `inputs`; `paths` name them."""
    return [
        _headline(run, marks),
        *_when(run),
        *_ending(run, marks),
        Text(),
        *waterfall(run, marks),
        *_waits(run),
        Text(),
        *_wall(run, marks),
        Text(),
        *_opportunities(run, marks),
        Text(),
        *_lacking(run),
        *health_lines(run.health, inputs),
        *_next(run, paths),
    ]


_SHORTEST_TITLE: Final = 12


def _headline(run: Run, marks: Marks) -> Text:
    trace = run.trace
    root = trace.spans[trace.main_root]
    name = root.name.removeprefix("invoke_agent ")
    calls = run.usage.calls
    facts = [duration(trace.wall_ns)]
    if run.cost.usd is not None:
        facts.append(f"{_least(run)}{money(run.cost.usd)}")
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


def _ending(run: Run, marks: Marks) -> list[Text]:
    """Says what a run that did not end well came to."""
    if run.ending.killed:
        told = "killed: its own span was never written (or it is in another file)"
    elif run.ending.error not in (None, "error") and run.ending.status != "ok":
        told = f"{status_words(run.ending)}: {harmless(run.ending.error or '')}"
    elif run.ending.status == "unfinished":
        told = "unfinished: its program ended while it went on"
    else:
        return []
    open_spans = [span.name for span in run.trace.spans if span.left_open]
    if open_spans:
        told += f", while in {harmless(open_spans[-1])}"
    return [Text(fitted(told, min(marks.width, cell_len(told))), style="bad")]


def _waits(run: Run) -> list[Text]:
    """Says what held each call on the path that came after another one."""
    held: dict[Edge, int] = {}
    before = NO_SPAN
    for section in run.path.sections:
        unit = run.kinds.units[section.span] if section.span != NO_SPAN else NO_SPAN
        if unit in (before, NO_SPAN):
            continue
        if before != NO_SPAN:
            held[section.edge] = held.get(section.edge, 0) + 1
        before = unit
    if not held or run.trace.untrusted:
        return []
    told = ", ".join(f"{words} {held[edge]}" for edge, words in _EDGES.items() if edge in held)
    return [Text(f"  waits between calls, known by: {told}", style="note")]


def _wall(run: Run, marks: Marks) -> list[Text]:
    wall = max(1, run.trace.wall_ns)
    if run.trace.untrusted:
        return [
            Text("Where the time went: not known, as durations mean nothing here"),
            *_tokens(run),
        ]
    lines = [Text(f"{'Where the time went':<31}{'wall':>8}{'share':>8}{'sum':>9}", style="title")]
    for kind, spent in run.wall.path.items():
        total = run.wall.kind_sums.get(kind)
        # The own time of agents is no sum of spans: they contain everything else.
        beside = alike(total, wall) if total is not None and kind not in ("agent", "other") else ""
        row = (
            f"  {KIND_WORDS[kind]:<29}{alike(spent, wall):>8}{percent(spent / wall):>8}{beside:>9}"
        )
        lines.append(Text(row.rstrip()))
    return [*lines, *_outside(run, marks), *_tokens(run)]


def _outside(run: Run, marks: Marks) -> list[Text]:
    """Says whose the time was that no call took, and what it may have been."""
    path = run.wall.path
    lines = []
    if len(run.trace.roots) > 1:
        roots = (
            f"  {len(run.trace.roots)} spans have no parent: all of them are taken to be one run"
        )
        lines.append(Text(roots, style="note"))
    if run.trace.after_ns:
        lines.append(Text(f"  {_after(run, marks)}", style="note"))
    if path.get("agent", 0) * 20 >= run.trace.wall_ns > 0:
        lines.append(
            Text("  not measured here: own code, or calls that nothing instruments", style="note")
        )
    if path.get("beside", 0) * 20 >= run.trace.wall_ns > 0:
        lines.append(Text(f"  {_branches(run, marks)}", style="note"))
    alone = run.path.alone_ns
    most = max(alone, key=alone.__getitem__, default=NO_SPAN)
    if not alone or 2 * alone[most] < run.trace.wall_ns or len(run.trace.spans) == 1:
        return lines
    if not alone[most]:
        return lines
    if most == NO_SPAN:
        told = f"  {duration(alone[most])} are covered by no span: what happens there is not traced"
        return [*lines, Text(told, style="note")]
    name = harmless(run.trace.spans[most].name)
    tail = f" itself took {duration(alone[most])}: trace what it does there"
    return [
        *lines,
        Text(f"  {fitted(name, marks.width - 2 - len(tail)).rstrip()}{tail}", style="note"),
    ]


def _after(run: Run, marks: Marks) -> str:
    """Says what goes on after the run, longest, and whether it ran while nothing else was seen
    to."""
    trace = run.trace
    later = [i for i, span in enumerate(trace.spans) if span.ended_ns > trace.end_ns]
    last = max(later, key=lambda i: trace.spans[i].ended_ns)
    tail = f" goes on for {duration(trace.after_ns)} after the run: not in the wall"
    return f"{fitted(harmless(trace.spans[last].name), marks.width - 2 - len(tail)).rstrip()}{tail}"


def _branches(run: Run, marks: Marks) -> str:
    """Names the call that ran in most of the time that a branch beside it took."""
    beside: dict[int, int] = {}
    for section in run.path.sections:
        if section.kind == "beside":
            length = section.end_ns - section.start_ns
            beside[section.beside] = beside.get(section.beside, 0) + length
    most = max(beside, key=beside.__getitem__)
    tail = f" ran for {duration(beside[most])} with no sign of a wait for it"
    name = harmless(run.trace.spans[most].name)
    return f"{fitted(name, marks.width - 2 - len(tail)).rstrip()}{tail}"


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
    output = f"{_least(run)}{tokens.output:,} out"
    lines = [f"  tokens: {tokens.input:,} in{of_which}, {output}{unpriced}"]
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
        of = "" if cost.share == 1 else f", {percent(cost.share)} of the tokens"
        lines.append(f"  cost: {cost.basis}{of}, by {table_name()}{own}")
        lines += [f"    {why}" for why in cost.estimates]
    if cost.unpriced:
        named = [harmless(model) for model in cost.unpriced[:_MOST_MODELS]]
        more = len(cost.unpriced) - len(named)
        named += [f"{more:,} more"] if more else []
        lines.append(f"  unpriced: {', '.join(named)}")
    if cost.is_doubtful and cost.said_usd is not None and cost.compared_usd is not None:
        lines.append(
            f"  the trace itself says {money(cost.said_usd)} for calls priced here "
            f"at {money(cost.compared_usd)}"
        )
    return [fitted(line, _PRICES_WIDTH).rstrip() for line in lines]


def _least(run: Run) -> str:
    whole = run.usage.is_counted and (run.cost.is_whole or run.cost.usd is None)
    return "" if whole else "at least "


_BESIDE_TITLE: Final = 35
_LONGEST_TITLE: Final = 72


def _opportunities(run: Run, marks: Marks) -> list[Text]:
    if run.trace.untrusted and not run.findings:
        return [Text("Opportunities: none computed, the times in this trace mean nothing")]
    if not run.findings:
        return [Text(f"Opportunities: {_why_none(run)}")]
    room = min(marks.width - _BESIDE_TITLE, _LONGEST_TITLE)
    lines = [Text(f"{'Opportunities':<{room}}{'saves':>8}{'':>8}  evidence", style="title")]
    for number, finding in enumerate(run.findings[:_OPPORTUNITIES]):
        letter = f" ({lane(number)})" if lane(number) else ""
        what = fitted(f"  {finding.code} {finding.title}{letter}", room)
        share = "" if finding.share is None else percent(finding.share)
        ns = finding.saving.ns
        saves = saved(finding.saving) if ns is None else alike(ns, run.trace.wall_ns)
        line = Text(f"{what}{saves:>8}{share:>8}")
        bound = ", at most" if finding.at_most else ""
        line.append(f"  {finding.evidence}{bound}", style="good")
        if finding.saving.ns is not None and finding.saving.usd is not None:
            line.append(f", {money(finding.saving.usd)}")
        lines.append(line)
        names = ", ".join(dict.fromkeys(_tool_name(run, span, marks) for span in finding.spans))
        detail = fitted(f"        {names}", min(marks.width, 8 + cell_len(names)))
        if finding.where is not None:
            place = harmless(finding.where, ascii_only=marks.ascii_only)
            detail += "  at " + tail_of_path(place, marks.width - 5 - cell_len(detail))
        lines.append(Text(detail, style="note"))
    if len(run.findings) > _OPPORTUNITIES:
        lines.append(Text(f"  and {len(run.findings) - _OPPORTUNITIES} more, see --json"))
    if sum(finding.share is not None for finding in run.findings) > 1:
        share = percent(run.together_ns / max(1, run.trace.wall_ns))
        then = duration(run.trace.wall_ns - run.together_ns)
        what = fitted("  all together", room)
        lines.append(
            Text(f"{what}{alike(run.together_ns, run.trace.wall_ns):>8}{share:>8}  -> {then}")
        )
    return lines


def _why_none(run: Run) -> str:
    """Says that there is no opportunity, or that none could be seen."""
    spans = run.trace.spans
    if not run.trace.wall_ns:
        return "none, as no span of this trace has a length"
    if not any(span.category in CALLS for span in spans):
        return "none to be seen, as no span is a call of a model or a tool"
    tools = [span for span in spans if span.category == "tool"]
    lengths = sorted(span.duration_ns for span in tools)
    if worth_saying(sum(lengths[:-1]), run.trace.wall_ns):
        if all(span.tool_call is None or span.tool_call.inferred for span in tools):
            return "none to be seen, as its tools' own times are not known"
        if all(issuer == NO_SPAN for issuer in run.causes.issuers):
            return "none to be seen; which reply asked for which tool is not known"
    return "none found"


def _lacking(run: Run) -> list[Text]:
    """Says what it would take to know more."""
    told = lacking(run.trace, run.usage)
    return (
        [Text("To say more, this trace lacks"), *(Text(f"  {one}") for one in told)] if told else []
    )


def _tool_name(run: Run, span: int, marks: Marks) -> str:
    tool = run.trace.spans[span].tool_call
    name = tool.name if tool is not None and tool.name else run.trace.spans[span].name
    return harmless(name, ascii_only=marks.ascii_only)


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


def _next(run: Run, paths: Sequence[str]) -> list[Text]:
    where = " ".join(shell(path) for path in paths)
    if run.findings:
        first = run.findings[0]
        command = f"causepath explain {first.code}"
        if first.replayed:
            command += f" | causepath whatif {where} --apply {first.code}"
    elif any(span.category in CALLS for span in run.trace.spans):
        command = f"causepath whatif {where} --profile"
    else:
        command = f"causepath doctor {where}"
    return [Text(f"Next: {command}", style="note")]
