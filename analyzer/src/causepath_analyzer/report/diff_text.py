"""Two sets of runs compared, as text and as JSON."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Final

from msgspec import Struct
from rich.text import Text

from causepath_analyzer.analyses.budgets.baseline import Changed
from causepath_analyzer.analyses.budgets.measures import Unit
from causepath_analyzer.analyses.comparison.attribution import GROUPS, Cause, Group, Why
from causepath_analyzer.analyses.comparison.compared import Comparison, Figure, Verdict
from causepath_analyzer.analyses.predictions.prediction import Kept
from causepath_analyzer.model import Input
from causepath_analyzer.report.check_text import changed_words, estimate
from causepath_analyzer.report.formatting import (
    count,
    duration,
    fitted,
    harmless,
    money,
    near,
    percent,
)
from causepath_analyzer.report.json import written
from causepath_analyzer.report.whatif_text import outcome_text

DIFF_SCHEMA: Final = "causepath.diff/1"
_TITLES: Final = {
    "wall": "wall, median",
    "perceived": "perceived, median",
    "calls.llm": "model calls, mean",
    "calls.tool": "tool calls, mean",
    "tokens.input": "tokens in, mean",
    "tokens.output": "tokens out, mean",
    "cost": "cost, mean",
    "failed": "failed",
}
_WORDS: Final[dict[str, tuple[str, str]]] = {
    "wall": ("slower", "faster"),
    "perceived": ("slower", "faster"),
    "cost": ("dearer", "cheaper"),
}
_LEAST: Final = 1e-9
_DOLLARS: Final = len("$0.10")
_CAUSES: Final = 10
_WHOLE: Final = 100
"""From there on a mean needs no decimals."""
_LABELS: Final[dict[Group, tuple[str, str]]] = {
    "other agents": ("slower agents ran more often", "faster agents ran more often"),
    "more work": ("it does more", "it does less"),
    "slower work": ("the same work is slower", "the same work is faster"),
    "less overlap": ("less runs beside something else", "more runs beside something else"),
    "other time": ("other time", "other time"),
}


def diff_text(found: Comparison, predictions: Sequence[Kept] = ()) -> list[Text]:
    """Writes the figures with their verdicts, then the causes of the change of the mean wall, and
    how `predictions` of it came out."""
    before, after = found.runs
    lines = [
        Text(f"{count(before, 'run')} before, {after:,} after  {_names(found)}", style="title"),
        Text(),
        Text(f"{'':<18}{'before':>9}{'after':>10}{'change':>10} {'':<12}range", style="title"),
    ]
    lines += [_row(one) for one in found.figures]
    if min(found.runs) == 1:
        told = "one run tells what was different in it, not what is different in general"
        lines.append(Text(f"  {told}", style="note"))
    lines += _mix(found) + _cache(found)
    lines += [
        Text(f"  {changed_words(one.what, one.before, one.now)}".replace("baseline", "first"))
        for one in found.changed
    ]
    lines += _attribution(found)
    for one in predictions:
        edits = "; ".join(harmless(edit) for edit in one.prediction.edits)
        lines += [Text(), Text(f"{harmless(near(one.file))}: {edits}", style="title")]
        if one.measured is None:
            lines.append(Text(f"  {harmless(one.problem or '')}", style="note"))
        else:
            lines.append(Text("  ").append(outcome_text(one.measured)))
    if found.findings:
        lines += [
            Text(),
            Text(f"{'Findings, share of the runs':<31}before     after", style="title"),
        ]
        lines += [
            Text(f"  {code:<29}{percent(was):>6}{percent(now):>10}")
            for code, (was, now) in found.findings.items()
        ]
    return lines


def _names(found: Comparison) -> str:
    was, now = (", ".join(map(harmless, list(agents)[:3])) for agents in found.agents)
    return was if was == now else f"{was} against {now}"


def _mix(found: Comparison) -> list[Text]:
    if not found.is_mix_changed:
        return []
    was, now = found.agents
    told = [
        f"{harmless(name)} {percent(was.get(name, 0))} -> {percent(now.get(name, 0))}"
        for name in {**was, **now}
    ]
    return [
        Text(f"  other agents ran: {', '.join(told[:4])} of the runs", style="bad"),
        Text("  compare each agent with itself: --name AGENT", style="note"),
    ]


def _row(one: Figure) -> Text:
    known = one.change
    told = "unknown"
    if isfinite(known.low) or isfinite(known.high):
        told = f"{_signed(known.low, one.unit)} to {_signed(known.high, one.unit)}"
    line = Text(
        f" {_TITLES[one.name]:<17}{_value(one.before.value, one.unit):>9}"
        f"{_value(one.after.value, one.unit):>10}{_signed(known.value, one.unit):>10} "
    )
    style = {"more": "bad", "less": "good"}.get(one.verdict, "note")
    line.append(f"{verdict_word(one):<12}", style=style)
    line.append(told, style="plain")
    return line


def _value(value: float, unit: Unit) -> str:
    if unit in ("tokens", "calls") and value >= _WHOLE:
        return f"{value:,.0f}"
    return estimate(value, unit)


def verdict_word(one: Figure) -> str:
    """Says what became of a figure."""
    more, less = _WORDS.get(one.name, ("more", "less"))
    words: dict[Verdict, str] = {
        "more": more,
        "less": less,
        "same": "no change",
        "unknown": "cannot tell",
    }
    return words[one.verdict]


def _signed(value: float, unit: Unit) -> str:
    if not isfinite(value):
        return "?"
    if abs(value) < _LEAST:
        return "0"
    sign = "-" if value < 0 else "+"
    if unit == "share":
        return f"{sign}{abs(value) * 100:.0f} pt"
    told = _value(abs(value), unit)
    # Three digits of a change are as good as known; a trailing zero is none of them.
    return f"{sign}{told.rstrip('0') if unit == 'usd' and len(told) > _DOLLARS else told}"


def _cache(found: Comparison) -> list[Text]:
    if not found.is_cache_confounded or found.first_cached is None:
        return []
    was, now = found.first_cached
    lines = [
        Text(
            f"  caches differ: they gave {percent(was)} of the first input before, "
            f"{percent(now)} after",
            style="note",
        )
    ]
    if found.neutral_usd is not None:
        one, other = found.neutral_usd
        lines.append(Text(f"  cost without any cache {money(one)} before, {money(other)} after"))
    return lines


def _attribution(found: Comparison) -> list[Text]:
    was, now = found.mean_ns
    sign = "+" if found.change_ns >= 0 else "-"
    head = f"Mean wall {duration(round(was))} -> {duration(round(now))}, "
    if not round(found.change_ns):
        return [Text(), Text(f"Mean wall {duration(round(was))}, unchanged", "title")]
    lines = [Text(), Text(f"{head}{sign}{duration(round(abs(found.change_ns)))}, because", "title")]
    wall = next((one for one in found.figures if one.name == "wall"), None)
    if wall is None or wall.verdict in ("unknown", "same"):
        lines.append(Text("  (which may be noise: see the range above)", style="note"))
    for group, (more_words, less_words) in _LABELS.items():
        those = [one for one in found.causes if GROUPS[one.why] == group and round(one.change_ns)]
        if those:
            total = sum(one.change_ns for one in those)
            label = more_words if total > 0 else less_words
            lines.append(Text(f"  {_signed(round(total), 'ns'):>9}  {label}"))
            lines += [Text(f"    {_cause(one)}", style="plain") for one in those[:_CAUSES]]
            if len(those) > _CAUSES:
                rest = sum(one.change_ns for one in those[_CAUSES:])
                more = f"{_signed(rest, 'ns'):>9}  and {len(those) - _CAUSES} more"
                lines.append(Text(f"    {more}", style="note"))
    return lines


def _cause(one: Cause) -> str:
    of = (
        _model_calls(one) if one.kind == "model" else f"{one.kind} {harmless(fitted(one.name, 24))}"
    )
    return f"{_signed(one.change_ns, 'ns'):>9}  {of.strip()}: {cause_words(one)}"


_ROLES: Final = {"#tools": " that ask for tools", "#answer": " that answer"}


def _model_calls(one: Cause) -> str:
    role = next((role for role in _ROLES if one.name.endswith(role)), "")
    agent = one.name.removesuffix(role).removeprefix("@")
    of = f" of {fitted(harmless(agent), 24).rstrip()}" if agent else ""
    return f"model calls{of}{_ROLES.get(role, '')}"


def cause_words(one: Cause) -> str:
    """Says what changed, and from what to what."""
    was, now = one.before, one.after
    words: dict[Why, str] = {
        "calls": f"{was:.1f} -> {now:.1f} a run",
        "new": f"new, {now:.1f} a run",
        "gone": f"gone, {was:.1f} a run before",
        "first_token": f"first token {_ns(was)} -> {_ns(now)}",
        "tokens": f"answers of {was:,.0f} -> {now:,.0f} tokens",
        "pace": f"{_ns(was)} -> {_ns(now)} a token",
        "duration": f"{_ns(was)} -> {_ns(now)} a call",
        "overlap": f"{percent(was)} -> {percent(now)} of their time is waited for",
        "time": f"{_ns(was)} -> {_ns(now)} a run",
        "mix": f"{percent(was)} -> {percent(now)} of the runs",
    }
    return words[one.why]


def _ns(value: float) -> str:
    return duration(round(value))


class _Figure(Struct):
    name: str
    unit: Unit
    before: str | int | None
    after: str | int | None
    change: str | int | None
    low: str | int | None
    high: str | int | None
    verdict: Verdict
    known: tuple[int, int]


class _Cause(Struct):
    kind: str
    name: str
    why: Why
    group: Group
    change_ns: int
    before: float
    after: float


class _Prediction(Struct):
    """``problem`` says why nothing was measured."""

    file: str
    edits: tuple[str, ...]
    predicted_saving_ns: int
    measured_saving_ns: int | None
    error: float | None
    inside: bool | None
    problem: str | None


class _Diff(Struct):
    schema: str
    inputs: list[str]
    runs: tuple[int, int]
    agents: tuple[Mapping[str, float], Mapping[str, float]]
    figures: list[_Figure]
    mean_wall_ns: tuple[int, int]
    change_ns: int
    causes: list[_Cause]
    """Their changes add up to ``change_ns``, but for the rounding of each."""
    findings: dict[str, tuple[float, float]]
    changed: Sequence[Changed]
    first_cached: tuple[float, float] | None
    neutral_usd: tuple[str, str] | None
    predictions: list[_Prediction]


def diff_json(
    inputs: Sequence[Input], found: Comparison, predictions: Sequence[Kept] = ()
) -> bytes:
    """Writes a comparison in schema `DIFF_SCHEMA`: ns whole, other estimates as decimals."""
    neutral = found.neutral_usd
    return written(
        _Diff(
            schema=DIFF_SCHEMA,
            inputs=[entry.path for entry in inputs],
            runs=found.runs,
            agents=found.agents,
            figures=[
                _Figure(
                    name=one.name,
                    unit=one.unit,
                    before=_number(one.before.value, one.unit),
                    after=_number(one.after.value, one.unit),
                    change=_number(one.change.value, one.unit),
                    low=_number(one.change.low, one.unit),
                    high=_number(one.change.high, one.unit),
                    verdict=one.verdict,
                    known=one.known,
                )
                for one in found.figures
            ],
            mean_wall_ns=(round(found.mean_ns[0]), round(found.mean_ns[1])),
            change_ns=round(found.change_ns),
            causes=[
                _Cause(
                    one.kind,
                    one.name,
                    one.why,
                    GROUPS[one.why],
                    round(one.change_ns),
                    one.before,
                    one.after,
                )
                for one in found.causes
            ],
            findings=dict(found.findings),
            changed=found.changed,
            first_cached=found.first_cached,
            neutral_usd=None if neutral is None else (str(neutral[0]), str(neutral[1])),
            predictions=[_prediction(one) for one in predictions],
        )
    )


def _prediction(one: Kept) -> _Prediction:
    judged, measured = one.prediction.judged, one.measured
    return _Prediction(
        file=one.file,
        edits=one.prediction.edits,
        predicted_saving_ns=judged.now - judged.then,
        measured_saving_ns=None if measured is None else measured.saved_ns,
        error=None if measured is None else measured.error,
        inside=None if measured is None else measured.inside,
        problem=one.problem,
    )


def _number(value: float, unit: Unit) -> str | int | None:
    if not isfinite(value):
        return None
    return round(value) if unit == "ns" else f"{value:.6g}"
