"""Edits of one run: what each of them finds there, and what it does to the schedule."""

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct, field
from msgspec.structs import replace

from causepath_analyzer.analyses.path.critical_path import first_token_ns
from causepath_analyzer.analyses.path.data_flow import DataFlow
from causepath_analyzer.analyses.predictions.answers import (
    first_token_would_take_ns,
    last_answer,
    streams,
)
from causepath_analyzer.analyses.predictions.model_times import ModelTime
from causepath_analyzer.analyses.predictions.studied import Studied
from causepath_analyzer.analyses.predictions.tool_blocks import Exchange, tool_blocks
from causepath_analyzer.analyses.replay.change import Change, SideBySide
from causepath_analyzer.analyses.replay.edits import (
    Apply,
    Eager,
    Early,
    Edit,
    Editing,
    NoRetries,
    OtherModel,
    Remove,
    Scale,
    Shrink,
    Stream,
    Together,
    described,
    outermost,
    scale_of,
)
from causepath_analyzer.analyses.replay.operations import name_of, selected
from causepath_analyzer.analyses.replay.schedule import Schedule
from causepath_analyzer.analyses.replay.slopes import Line, Sizes
from causepath_analyzer.model import NO_SPAN

Lean = Literal[-1, 0, 1]
"""Which end of the range of a slope is taken; 0 is its middle."""


class Guesses(Struct):
    """Counts of tools that are started on a guess at every model call."""

    runs: int = 0
    calls: int = 0
    wrong: int = 0
    wasted_ns: int = 0


class Notes(Struct):
    """Things to say about all runs, gathered while each is edited."""

    said: dict[str, None] = field(default_factory=dict)
    assumed: dict[str, None] = field(default_factory=dict)
    """What has to hold for changes of orders to come true."""
    not_predicted: dict[str, None] = field(default_factory=dict)
    """What these may do besides."""
    unknown: dict[str, None] = field(default_factory=dict)
    """What the traces do not show although an edit asks for it."""
    known: int = 0
    """How many calls it is shown for."""
    against: dict[str, None] = field(default_factory=dict)
    """What speaks against what an edit takes to hold, so that nothing may be saved."""
    each_ns2: float = 0.0
    """The variance of the times that were put in for others, summed over all runs."""
    off_ns: float = 0.0
    """How far these may be off together, summed over all runs."""
    answer_each_ns2: float = 0.0
    answer_off_ns: float = 0.0
    """The same of when an answer begins."""
    guesses: dict[str, Guesses] = field(default_factory=dict)

    def told(self) -> tuple[str, ...]:
        guessed = (
            f"{tools}: guessed at every model call, right {of.calls - of.wrong} of {of.calls} "
            f"times; the wrong ones are {of.wasted_ns / of.runs / 1e6:.0f} ms of work in vain in "
            "each run"
            for tools, of in self.guesses.items()
        )
        return *self.said, *guessed


def apply_edit(
    run: Studied,
    plan: Schedule,
    editing: Editing,
    change: Edit,
    models: Mapping[str, ModelTime],
    notes: Notes,
    lean: Lean = 0,
) -> int:
    """Applies `change` to one run; says how much of it there was to change.

    `models` is how long calls of each take; with a `lean` these are taken at the low or the high
    end of what the traces allow for.
    """
    trace, kinds, known = run.trace, run.kinds, run.causes
    if isinstance(change, Apply | Together):
        changes = _found(run, change) if isinstance(change, Apply) else _groups(run, change)
        for one in changes:
            one.apply(editing)
            notes.assumed[f"{described(change)}: {one.assumes}"] = None
            notes.not_predicted.update(dict.fromkeys(one.not_predicted))
        return len(changes)
    if isinstance(change, NoRetries):
        return editing.no_retries()
    if isinstance(change, OtherModel):
        return _other_model(run, editing, change, models.get(change.new), notes)
    if isinstance(change, Shrink):
        return _shrink(run, editing, change, models, notes, lean)
    if isinstance(change, Stream):
        call = last_answer(run)
        if call == NO_SPAN or streams(run, call):
            return 0
        told = run.trace.spans[call].model_call
        model = models.get((told.model if told is not None else None) or "")
        if model is None or first_token_would_take_ns(run, call, models) is None:
            return 0
        notes.answer_each_ns2 += model.spread_ns**2
        notes.answer_off_ns += model.spread_ns * _OF_A_MEDIAN / model.calls**0.5
        return 1
    if isinstance(change, Scale):
        if change.what.category == "llm.first_token":
            notes.said.update(_fixed_parts(run, change, models))
        return scale_of(plan, kinds, change, editing)
    found = selected(trace, kinds, known, change.what)
    if isinstance(change, Early | Eager):
        asked: dict[int, list[int]] = {}
        for tool in found:
            if known.issuers[tool] != NO_SPAN:
                asked.setdefault(known.issuers[tool], []).append(tool)
        for issuer, tools in asked.items():
            if isinstance(change, Eager):
                if first_token_ns(trace, kinds, issuer) is None:
                    notes.said["replies without a time to first token stay as they are"] = None
                editing.eager(tools, issuer)
            else:
                for tool in tools:
                    editing.early(tool, issuer)
        if isinstance(change, Early) and asked:
            _waste(run, found, asked, notes)
        return len(asked)
    found = outermost(known.parents, found)
    if isinstance(change, Remove):
        for span in found:
            editing.remove(span)
        return len(found)
    repeats = _repeats(run, found)
    for span in repeats:
        editing.cached(span, change.lookup_ns)
    return len(repeats)


def note_side_by_side(run: Studied, spans: Sequence[int], notes: Notes) -> None:
    """Notes what is known of the tools in `spans` when they run side by side."""
    tools = [run.trace.spans[i].tool_call for i in spans]
    names = [tool.name for tool in tools if tool is not None and tool.name]
    for name in sorted(run.beside.serial.intersection(names)):
        notes.against[
            f"calls of {name} that overlapped took longer, as if they waited for each other (one "
            "connection, a lock), so there may be no saving"
        ] = None
    for name in sorted({name for name in names if names.count(name) > 1} - run.beside.seen):
        notes.against[
            f"no two calls of {name} ran side by side in these traces; if they share a connection, "
            "a lock or the processor, nothing is saved"
        ] = None


def _found(run: Studied, change: Apply) -> Sequence[Change]:
    """Lists what the findings of a code would do to `run`."""
    found = run.found.by_code.get(change.code, ())
    changes = [candidate.change for candidate in found if candidate.change is not None]
    return [
        replace(one, limit=change.limit) if isinstance(one, SideBySide) else one for one in changes
    ]


def _groups(run: Studied, change: Together) -> Sequence[Change]:
    """Groups what a selector names, below one parent and one after the other, to run together."""
    known = run.causes
    groups: dict[tuple[int, int], list[int]] = {}
    for span in selected(run.trace, run.kinds, known, change.what):
        groups.setdefault((known.parents[span], known.issuers[span]), []).append(span)
    spans = run.trace.spans
    return [
        SideBySide(tuple((span,) for span in group), change.limit)
        for group in groups.values()
        if len(group) > 1
        and max(spans[i].start_ns for i in group) >= min(spans[i].ended_ns for i in group)
    ]


def _repeats(run: Studied, found: Sequence[int]) -> Sequence[int]:
    """Finds calls that came again after an equal one had ended: equal arguments, and results if
    known."""
    spans = run.trace.spans
    flow = run.facts.flow
    blocks = tool_blocks(run.trace, run.causes)
    first: dict[object, int] = {}
    repeats = []
    for i in found:
        asked, answer = _asked(flow, blocks, i)
        if asked is None:
            continue
        key = (name_of(run.trace, run.kinds, i), asked)
        before = first.setdefault(key, i)
        if before == i or spans[before].ended_ns > spans[i].start_ns:
            continue
        if spans[before].error is not None:  # which nobody keeps
            first[key] = i
            continue
        earlier = _asked(flow, blocks, before)[1]
        if answer is None or earlier is None or answer == earlier:
            repeats.append(i)
    return repeats


def _asked(flow: DataFlow, blocks: Mapping[int, Exchange], span: int) -> tuple[object, object]:
    """Tells what a call was given and what it returned, to be compared; ``None`` where not
    known."""
    told = flow.trace.spans[span]
    if told.tool_call is not None:
        known = blocks.get(span, _UNKNOWN)
        arguments, result = told.tool_call.arguments, told.tool_call.result
        return (
            known.arguments if arguments is None else arguments,
            known.result if result is None else result,
        )
    given = told.model_call.blocks if told.model_call is not None else None
    answered = [block.digest for block in given.answered] if given is not None else None
    return flow.given(span) or None, answered or None


_UNKNOWN = Exchange(None, None)


def _waste(
    run: Studied, found: Sequence[int], asked: Mapping[int, Sequence[int]], notes: Notes
) -> None:
    """Notes how often a guess would have been wrong, and what that would have cost."""
    names = sorted({name_of(run.trace, run.kinds, i) for i in found})
    calls = sum(run.kinds.calls[i] == i for i in range(len(run.trace.spans)))
    each_ns = sum(run.trace.spans[i].duration_ns for i in found) // len(found)
    guesses = notes.guesses.setdefault(", ".join(names), Guesses())
    guesses.runs += 1
    guesses.calls += calls
    guesses.wrong += calls - len(asked)
    guesses.wasted_ns += (calls - len(asked)) * each_ns


def _other_model(
    run: Studied, editing: Editing, change: OtherModel, model: ModelTime | None, notes: Notes
) -> int:
    if model is None:
        return 0
    count = 0
    for i in selected(run.trace, run.kinds, run.causes, change.what):
        told = run.trace.spans[i].model_call
        if told is not None and told.model != change.new:
            editing.other_model(i, change.new, model.pace, model.first_ns(run.sizes.get(i)))
            count += 1
    notes.each_ns2 += count * model.spread_ns**2
    notes.off_ns += count * model.spread_ns * _OF_A_MEDIAN / model.calls**0.5
    return count


_OF_A_MEDIAN = 1.25
"""How many times as far off a median is as a mean, of normal values."""
_FINE = 1_000_000


def _shrink(
    run: Studied,
    editing: Editing,
    change: Shrink,
    models: Mapping[str, ModelTime],
    notes: Notes,
    lean: Lean,
) -> int:
    """Takes tokens away, and as much time as the slope of the call's model says."""
    tokens = change.factor.as_integer_ratio()
    count = 0
    for i in selected(run.trace, run.kinds, run.causes, change.what):
        told, sizes = editing.told(i), run.sizes.get(i)
        name = (told.model if told is not None else None) or ""
        model = models.get(name)
        if told is None or sizes is None:
            continue
        line = why = None
        if model is not None:
            shown = model.slopes
            line, why = (
                (shown.input, shown.input_why)
                if change.side == "input"
                else (shown.output, shown.output_why)
            )
        size = None if line is None else _size(line, change, sizes)
        if model is None or line is None or size is None:
            notes.unknown[_unknown(change, name, why)] = None
            count += told.tokens is not None
            editing.shrink(i, change.side, tokens, "", (1, 1))
            continue
        phase, part_ns = "", float(sizes.spent_ns)
        if model.slopes.split and sizes.first_ns is not None:
            phase = "first_token" if change.side == "input" else "generation"
            part_ns = line.at(size)
        # Where nobody told the first token apart, another change may have shortened the whole.
        ratio = _ratio(line, change, size, lean, part_ns * editing.scaled(i, phase))
        if _far_out(line, size * float(change.factor)):
            notes.said[
                f"{described(change)}: some calls get a size that none had, where the same is "
                f"taken to hold ({name}: {line.smallest:,} to {line.largest:,} {line.unit})"
            ] = None
        notes.said[_slope(change, name, line)] = None
        notes.known += 1
        count += 1
        editing.shrink(i, change.side, tokens, phase, (round(ratio * _FINE), _FINE))
    return count


def _far_out(line: Line, size: float) -> bool:
    """Tells whether a call of this `size` is so far from all that were seen that it matters."""
    outside = max(line.smallest - size, size - line.largest, 0)
    return outside * line.slope_ns * 20 > line.at(size)


def _size(line: Line, change: Shrink, sizes: Sizes) -> int | None:
    if change.side == "output":
        return sizes.output_tokens
    return sizes.input_tokens if line.unit == "tokens" else sizes.input_bytes


def _ratio(line: Line, change: Shrink, size: int, lean: Lean, part_ns: float) -> float:
    """Works out how many times as long the part of a call takes that takes `part_ns`.

    No more than in proportion: the time for nothing is not below nothing.
    """
    slope_ns = (line.slope_ns, line.high_ns, line.low_ns)[lean]
    factor = float(change.factor)
    if part_ns <= 0:
        return 1.0
    ratio = 1 + slope_ns * size * (factor - 1) / part_ns
    return min(max(ratio, min(factor, 1.0)), max(factor, 1.0))


def _slope(change: Shrink, name: str, line: Line) -> str:
    """Says what is taken to hold of a model, as these traces show it."""
    what = "the first token of" if change.side == "input" else "a reply of"
    each = 1000 if change.side == "input" else 100
    slope, low, high = (
        f"{ns * each / 1e6:.0f}" for ns in (line.slope_ns, line.low_ns, line.high_ns)
    )
    between = f"{low} to {high}" if low != high else "it"
    return (
        f"{what} {name} takes {slope} ms more for {each:,} {line.unit} more of {change.side} "
        f"({line.calls} calls show {between})"
    )


def _fixed_parts(
    run: Studied, change: Scale, models: Mapping[str, ModelTime]
) -> Mapping[str, None]:
    """Says what a smaller prompt would leave of first tokens that are scaled as a whole."""
    told: dict[str, None] = {}
    for i in selected(run.trace, run.kinds, run.causes, change.what):
        call = run.trace.spans[i].model_call
        name = (call.model if call is not None else None) or ""
        line = models[name].slopes.input if name in models and models[name].slopes.split else None
        if line is not None and line.base_ns > 0 and line.slope_ns > 0:
            told[
                f"{described(change)}: {line.base_ns / 1e6:.0f} ms of a first token of {name} do "
                "not depend on the input in these traces; shrink input=... leaves them"
            ] = None
    return told


def _unknown(change: Shrink, name: str, why: str | None) -> str:
    what = "the first token" if change.side == "input" else "a reply"
    told = why or "their sizes or times are not known"
    return (
        f"how much sooner {what} of {name or 'models without a name'} comes with less "
        f"{change.side}: {told}"
    )
