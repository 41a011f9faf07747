"""The report as Markdown: what to change, where, and how to check that it worked."""

from collections.abc import Iterable, Sequence
from typing import Final

from causepath_analyzer.analyses.findings.rule import Finding, Saving
from causepath_analyzer.analyses.findings.rules import RULES
from causepath_analyzer.analyses.run_view import RunView, Shown
from causepath_analyzer.analyses.summary.summary import Opportunity, Summary
from causepath_analyzer.model import Input
from causepath_analyzer.report.formatting import (
    alike,
    count,
    duration,
    fitted,
    money,
    near,
    percent,
    saved,
    shell,
)
from causepath_analyzer.report.markdown import block, code, escaped, within
from causepath_analyzer.report.run_text import WHY_NONE, health_lines, overview, status_words
from causepath_analyzer.report.summary_text import summary_text
from causepath_analyzer.report.waterfall import BLOCKS

MOST_MARKDOWN: Final = 60_000
"""Bytes: GitHub refuses a comment of more than 65,536 characters."""
_MOST_FINDINGS: Final = 20
_MOST_NAMES: Final = 8
_NAME_WIDTH: Final = 120
_PROSE: Final = 1_000
"""Characters that are kept of a sentence: names in it may be of any length."""


def run_markdown(view: RunView, paths: Sequence[str], inputs: Sequence[Input] = ()) -> str:
    """Writes the report on one run, which was read from `inputs`; `paths` name them."""
    run = view.run
    facts = [duration(run.trace.wall_ns), status_words(run.ending)]
    if run.cost.usd is not None:
        facts.insert(1, ("at least " if run.is_lower_bound else "") + code(money(run.cost.usd)))
    name = _short(view.name.removeprefix("invoke_agent ")) or "(unnamed)"
    lines = [
        f"### causepath: {code(name)} {', '.join(facts)}",
        "",
        *block(line.plain for line in overview(view, BLOCKS)),
        "",
    ]
    if view.why_none is not None:
        lines += [f"**Opportunities:** {WHY_NONE[view.why_none]}.", ""]
    for number, shown in enumerate(view.findings[:_MOST_FINDINGS], start=1):
        lines += _finding(number, shown, view, paths)
    if len(view.findings) > _MOST_FINDINGS:
        lines += [f"And {len(view.findings) - _MOST_FINDINGS:,} more: see {code('--json')}.", ""]
    lines += _together(view)
    if view.lacking:
        lines += ["To say more, this trace lacks:", ""]
        lines += [*(f"- {escaped(one.strip())}" for one in view.lacking), ""]
    lines += [escaped(line.plain.strip()) + "  " for line in health_lines(run.health, inputs)]
    return _whole(lines)


def summary_markdown(summary: Summary, paths: Sequence[str], inputs: Sequence[Input] = ()) -> str:
    """Writes the report on all runs in `inputs`; `paths` name them."""
    text = summary_text(summary, BLOCKS, paths, inputs)
    lines = [
        f"### causepath: {count(summary.traces, 'run')}",
        "",
        *block(line.plain for line in text),
        "",
    ]
    for number, found in enumerate(summary.opportunities[:_MOST_FINDINGS], start=1):
        lines += _kind(number, found, summary, paths)
    return _whole(lines)


def _finding(number: int, shown: Shown, view: RunView, paths: Sequence[str]) -> list[str]:
    finding = shown.finding
    names = [code(_short(name) or "(unnamed)") for name in shown.names[:_MOST_NAMES]]
    more = len(shown.names) - len(names)
    told = {
        "Saves": _saves(finding, view.run.trace.wall_ns),
        "Calls": ", ".join(names) + (f" and {more:,} more" if more else ""),
        "Where": "" if finding.where is None else code(near(finding.where)[-_PROSE:]),
        "Overlaps": ", ".join(finding.overlaps),
        "Why": _prose(finding.why),
        "Change": _prose(finding.fix),
        "Not so if": _prose(finding.refuted_by),
        "Check": _check(finding.code, paths, replayed=finding.replayed),
    }
    title = f"#### {number}. {finding.code} {_prose(finding.title)}"
    return [title, "", *_items(told), ""]


def _together(view: RunView) -> list[str]:
    return [*_in_time(view), *_in_money(view)]


def _in_money(view: RunView) -> list[str]:
    if view.together_usd is None:
        return []
    apart = "" if view.apart_usd is None else f", not {money(view.apart_usd)}"
    part = view.together_usd_share
    share = "" if part is None else f" ({percent(part)} of the cost)"
    return [f"**All together** save {money(view.together_usd)}{share}{apart}.", ""]


def _in_time(view: RunView) -> list[str]:
    if view.together_share is None:
        return []
    wall_ns, together_ns = view.run.trace.wall_ns, view.run.together_ns
    apart = "" if view.apart_ns is None else f", not {alike(view.apart_ns, wall_ns)}"
    saves = f"{alike(together_ns, wall_ns)} ({percent(view.together_share)}){apart}"
    return [f"**All together** save {saves}: then it takes {duration(view.then_ns)}.", ""]


def _kind(number: int, found: Opportunity, summary: Summary, paths: Sequence[str]) -> list[str]:
    """Writes what is known of all findings of one code."""
    rule = RULES[found.code]
    mean = saved(found.saving, found.runs)
    told = {
        "In": f"{found.runs:,} of {count(summary.traces, 'run')}",
        "Saves": f"{code(mean)} a run, {found.evidence}" if mean else "not known",
        "What": _prose(rule.what),
        "Change": _prose(rule.fix),
        "Not so if": _prose(rule.refuted_by),
        "Check": _check(found.code, paths, replayed=rule.change is not None),
    }
    return [f"#### {number}. {found.code} {_prose(rule.title)}", "", *_items(told), ""]


def _items(told: dict[str, str]) -> Iterable[str]:
    return (f"- **{what}:** {words}" for what, words in told.items() if words)


def _saves(finding: Finding, wall_ns: int) -> str:
    """Says the time, the money or else the tokens, and how that is known."""
    saving, parts = finding.saving, []
    if saving.ns is not None:
        share = "" if finding.share is None else f" ({percent(finding.share)})"
        parts.append(f"{alike(saving.ns, wall_ns)}{share}")
    if saving.usd is not None or saving.ns is None:
        amount = saved(Saving(usd=saving.usd, tokens=saving.tokens))
        parts.append(code(amount) if amount else "not known")
    bound = "at most " if finding.at_most else ""
    return f"{bound}{' and '.join(parts)}, {finding.evidence}"


def _check(kind: str, paths: Sequence[str], *, replayed: bool) -> str:
    """Names the commands that tell whether a change has worked."""
    after = f"causepath check NEW_TRACES --select {kind} --max findings=0"
    if not replayed:
        return f"after the change, {code(after)}"
    where = " ".join(map(shell, paths))
    file = f"{kind.lower()}.json"
    before = f"causepath whatif {where} --apply {kind} --save {file}"
    return (
        f"before the change, {code(before)}; after it, "
        f"{code(f'causepath verify {file} NEW_TRACES')} and {code(after)}"
    )


def _short(name: str) -> str:
    """`name`, cut if it is long."""
    kept = name[:_NAME_WIDTH]
    return kept if kept == name else fitted(f"{kept}..", _NAME_WIDTH).rstrip()


def _prose(text: str) -> str:
    return escaped(text if len(text) <= _PROSE else f"{text[:_PROSE]}..")


def _whole(lines: Iterable[str]) -> str:
    return within(
        "\n".join(lines).rstrip() + "\n", MOST_MARKDOWN, "see causepath without --markdown"
    )
