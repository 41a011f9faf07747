"""What many runs would have been like with some changes: wall, cost, path, and how sure that is.

Every trace is replayed with all changes at once, first those of orders, then what is not done at
all, then how long the rest takes. How sure a prediction is: `ranges`.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.rules import RULES
from causepath_analyzer.analyses.path.cost import TABLE_ONLY, OwnPrices, cost_usd
from causepath_analyzer.analyses.path.data_flow import DataFlow
from causepath_analyzer.analyses.path.usage import usage
from causepath_analyzer.analyses.predictions.answers import (
    begins_ns,
    last_answer,
    streams,
    would_begin_ns,
)
from causepath_analyzer.analyses.predictions.applied_edits import (
    Lean,
    Notes,
    apply_edit,
    note_side_by_side,
)
from causepath_analyzer.analyses.predictions.model_times import ModelTime, model_times
from causepath_analyzer.analyses.predictions.studied import Studied, beside, studied
from causepath_analyzer.analyses.predictions.unmatched import unmatched
from causepath_analyzer.analyses.proof.independence import NOWHERE, elsewhere
from causepath_analyzer.analyses.replay.change import OTHER_ANSWERS
from causepath_analyzer.analyses.replay.edits import (
    Apply,
    Cache,
    Eager,
    Early,
    Edit,
    Editing,
    OtherModel,
    Remove,
    Scale,
    Shrink,
    Stream,
    Together,
    described,
    kind_of,
)
from causepath_analyzer.analyses.replay.operations import Turns, operation_of
from causepath_analyzer.analyses.replay.ranges import (
    Doubt,
    Estimate,
    PastErrors,
    estimate,
    estimated_mean,
)
from causepath_analyzer.analyses.replay.schedule import (
    Changes,
    Replayed,
    Schedule,
    new_trace,
    replayed,
    schedule,
)
from causepath_analyzer.errors import UsageError
from causepath_analyzer.model import NO_SPAN, NO_TOKENS, Trace


class Place(Struct, frozen=True):
    """An operation and its part of the wall time of a typical run."""

    name: str
    share: float


class WhatIf(Struct, frozen=True):
    """``agents`` says how many runs each agent had; ``turns`` is the median of a run, with the
    changes, and ``turns_between`` the fewest and the most. ``cost_usd`` are the means per run,
    ``None`` where a price is not known. ``answer`` is when the last answer begins to be seen, where
    some are streamed and it is known of every run. ``unknown`` is why the times cannot be told,
    where these traces do not show them, ``against`` what makes the saving an upper bound."""

    edits: tuple[str, ...]
    kinds: tuple[str, ...]
    runs: int
    touched: int
    p50: Estimate
    p95: Estimate
    cost_now_usd: Decimal | None
    cost_then_usd: Decimal | None
    path_now: tuple[Place, ...]
    path_then: tuple[Place, ...]
    assumes: tuple[str, ...]
    not_predicted: tuple[str, ...]
    agents: Mapping[str, int]
    turns: int
    turns_between: tuple[int, int]
    mean: Estimate
    past: PastErrors = PastErrors()
    answer: Estimate | None = None
    unknown: tuple[str, ...] = ()
    against: tuple[str, ...] = ()


class Edited(Struct, frozen=True):
    """One run with changes: its schedule, what they are, and the times they give."""

    plan: Schedule
    changes: Changes
    times: Replayed


_LAST: Final = {Scale: 3, Shrink: 2}
_ORDERS: Final = (Apply, Together, Early, Eager)


def edited(
    run: Studied,
    edits: Sequence[Edit],
    models: Mapping[str, ModelTime],
    notes: Notes,
    lean: Lean = 0,
) -> tuple[Edited, Sequence[int]]:
    """Edits `run` with all of `edits`; says how much each of these found to change."""
    plan = schedule(run.trace, run.causes)
    editing = Editing(plan, run.kinds)
    counts = [0] * len(edits)
    for n in sorted(range(len(edits)), key=lambda n: _rank(edits[n])):
        counts[n] = apply_edit(run, plan, editing, edits[n], models, notes, lean)
    for spans in editing.side_by_side:
        note_side_by_side(run, spans, notes)
    changes = editing.done()
    return Edited(plan, changes, replayed(plan, changes)), counts


def _rank(change: Edit) -> int:
    return 0 if isinstance(change, _ORDERS) else _LAST.get(type(change), 1)


def what_if(
    traces: Sequence[Trace],
    edits: Sequence[Edit],
    past: Callable[[Sequence[str]], PastErrors] | None = None,
    prices: OwnPrices = TABLE_ONLY,
    among: Sequence[Trace] = (),
) -> WhatIf:
    """Replays all of `traces` with all of `edits`; `prices` go over those of the table. They are
    `among` others whose evidence counts, if there are any.

    Raises `UsageError` for an edit that finds nothing to change, with what there is.
    """
    trusted = [trace for trace in traces if not trace.untrusted]
    if not trusted:
        raise UsageError("the times in these traces mean nothing, so nothing can be predicted")
    codes = dict.fromkeys(change.code for change in edits if isinstance(change, Apply))
    rules = [RULES[code] for code in codes if code in RULES]
    others = elsewhere(among or trusted) if codes else NOWHERE
    together = beside(trusted) if _wants(edits, Apply, Together) else None
    runs = [
        studied(Facts(trace, others, prices), rules=rules, sized=_sized(edits), together=together)
        for trace in trusted
    ]
    models = _models(runs, edits)
    notes = Notes()
    touched = [0] * len(edits)
    now = [run.trace.wall_ns for run in runs]
    then: list[int] = []
    costs: list[tuple[Decimal | None, Decimal | None]] = []
    turns: list[int] = []
    answers: list[tuple[int | None, int | None]] = []
    changed_runs, streamed = 0, _wants(edits, Stream)
    middle = sorted(range(len(runs)), key=now.__getitem__)[(len(runs) - 1) // 2]
    path_then: tuple[Place, ...] = ()
    for number, run in enumerate(runs):
        one, counts = edited(run, edits, models, notes)
        touched = [total + count for total, count in zip(touched, counts, strict=True)]
        changed_runs += any(counts)
        then.append(one.times.wall_ns)
        costs.append(_costs(run, one))
        of_run = Turns(run.trace, run.kinds, run.causes)
        turns.append(_turns(of_run, one))
        call = of_run.last_answer()
        answers.append(_answer(run, call, one, models if _wants(edits, Stream) else None))
        streamed |= call != NO_SPAN and streams(run, call)
        if number == middle:
            path_then = _path(Facts(new_trace(one.plan, one.changes, one.times)))
    for change, count in zip(edits, touched, strict=True):
        if not count:
            raise UsageError(unmatched(change, runs, models))
    kinds = tuple(dict.fromkeys(kind_of(change) for change in edits))
    errors = past(kinds) if past is not None else PastErrors()
    doubt = _doubt(runs, edits, models, notes)
    unknown = tuple(notes.unknown) if not notes.known else ()
    return WhatIf(
        edits=tuple(described(change) for change in edits),
        kinds=kinds,
        runs=len(runs),
        touched=changed_runs,
        p50=_blurred(estimate(now, then, 50, errors, doubt), unknown),
        p95=_blurred(estimate(now, then, 95, errors, doubt), unknown),
        cost_now_usd=mean_usd([cost for cost, _ in costs]),
        cost_then_usd=mean_usd([cost for _, cost in costs]),
        path_now=_path(runs[middle].facts),
        path_then=path_then,
        assumes=(
            *notes.told(),
            *_assumptions(edits, notes, _failed(runs), len(traces) - len(runs)),
        ),
        not_predicted=(*(() if unknown else notes.unknown), *_not_predicted(edits, notes)),
        agents=agents(trusted),
        turns=_middle(turns),
        turns_between=(min(turns), max(turns)),
        past=errors,
        mean=_blurred(estimated_mean(now, then, errors, doubt), unknown),
        answer=_answers(answers, errors, _of_answers(doubt, notes, len(runs)))
        if streamed and not unknown
        else None,
        unknown=unknown,
        against=tuple(notes.against),
    )


def _blurred(told: Estimate, unknown: Sequence[str]) -> Estimate:
    """Takes the range from `told`, if the times are not known."""
    return Estimate(told.now_ns, told.then_ns, None, None) if unknown else told


def _doubt(
    runs: Sequence[Studied],
    edits: Sequence[Edit],
    models: Mapping[str, ModelTime],
    notes: Notes,
) -> Doubt:
    """Works out how far off the times may be that edits put in for others."""
    off_ns = notes.off_ns / len(runs)
    if _wants(edits, Shrink):
        ends = [
            _middle([edited(run, edits, models, Notes(), lean)[0].times.wall_ns for run in runs])
            for lean in _ENDS
        ]
        off_ns += abs(ends[1] - ends[0]) / _NINE_OF_TEN
    return Doubt(
        off_ns=off_ns,
        each_ns=(notes.each_ns2 / len(runs)) ** 0.5,
        reordered=_wants(edits, *_ORDERS),
        at_most=bool(notes.against),
    )


def _of_answers(doubt: Doubt, notes: Notes, runs: int) -> Doubt:
    """Adds to `doubt` how far off the first tokens may be that others took."""
    return replace(
        doubt,
        off_ns=doubt.off_ns + notes.answer_off_ns / runs,
        each_ns=(doubt.each_ns**2 + notes.answer_each_ns2 / runs) ** 0.5,
    )


_ENDS: Final[tuple[Lean, Lean]] = (-1, 1)
_NINE_OF_TEN: Final = 3.29
"""So many standard deviations hold nine of ten values."""


def _answer(
    run: Studied, call: int, one: Edited, models: Mapping[str, ModelTime] | None
) -> tuple[int | None, int | None]:
    """Finds when the answer of `call`, the last one of `run`, begins to be seen, now and then."""
    if call == NO_SPAN or call in one.changes.dropped:
        return None, None
    return begins_ns(run, call), would_begin_ns(run, call, one.changes, one.times, models)


def _answers(
    found: Sequence[tuple[int | None, int | None]], errors: PastErrors, doubt: Doubt
) -> Estimate | None:
    now = [before for before, _ in found if before is not None]
    then = [after for _, after in found if after is not None]
    if len(now) < len(found) or len(then) < len(found):
        return None
    return estimate(now, then, 50, errors, doubt)


def answers_begin_ns(traces: Sequence[Trace]) -> int | None:
    """Finds when the last answer begins to be seen in a typical one of `traces`, if all of them
    say."""
    found = []
    for trace in traces:
        run = studied(Facts(trace))
        call = last_answer(run)
        begins = begins_ns(run, call) if call != NO_SPAN else None
        if begins is None:
            return None
        found.append(begins)
    return _middle(found)


def agents(traces: Sequence[Trace]) -> dict[str, int]:
    """Counts how many runs each agent has in `traces`."""
    counted: dict[str, int] = {}
    for trace in traces:
        name = trace.spans[trace.main_root].name.removeprefix("invoke_agent ")
        counted[name] = counted.get(name, 0) + 1
    return dict(sorted(counted.items()))


def median_turns(traces: Sequence[Trace]) -> int:
    """Counts the turns of a typical run."""
    found = []
    for trace in traces:
        known = Facts(trace)
        found.append(len(Turns(trace, known.kinds, known.causes).outermost()))
    return _middle(found)


def _middle(values: Sequence[int]) -> int:
    return sorted(values)[(len(values) - 1) // 2]


def _turns(turns: Turns, one: Edited) -> int:
    """Counts how many of `turns` are left."""
    unpaid = {i for i, call in one.changes.calls.items() if call.tokens is NO_TOKENS}
    gone = one.changes.dropped | one.changes.merged | unpaid
    return sum(call not in gone for call in turns.outermost())


def _sized(edits: Sequence[Edit]) -> bool:
    """Tells whether any of `edits` asks how long calls of other sizes, or of other models, take."""
    return _wants(edits, OtherModel, Shrink, Stream) or any(
        isinstance(change, Scale) and change.what.category == "llm.first_token" for change in edits
    )


def _wants(edits: Sequence[Edit], *kinds: type[Edit]) -> bool:
    return any(isinstance(change, kinds) for change in edits)


def _models(runs: Sequence[Studied], edits: Sequence[Edit]) -> Mapping[str, ModelTime]:
    """Learns how long calls of each model take, if any of `edits` asks for it."""
    return model_times(runs) if _sized(edits) else {}


def _costs(run: Studied, one: Edited) -> tuple[Decimal | None, Decimal | None]:
    cost = spent_usd(run.facts)
    if not run.facts.usage.calls.llm:
        return cost, cost
    changes = one.changes
    if not changes.calls and not any(run.kinds.calls[i] != NO_SPAN for i in changes.dropped):
        return cost, cost
    new = new_trace(one.plan, changes, one.times)
    then = usage(DataFlow(new))  # no `Facts`: counting asks for no causes
    if not then.models:
        return cost, Decimal(0)
    return cost, cost_usd(then.models, then.started_ns, run.facts.prices)


def spent_usd(facts: Facts) -> Decimal | None:
    """Gives what a run cost, which without model calls is nothing; ``None`` if it is not wholly
    known."""
    if not facts.usage.calls.llm:
        return Decimal(0)
    return facts.cost.usd if facts.cost.is_whole else None


def mean_usd(costs: Sequence[Decimal | None]) -> Decimal | None:
    """Gives the mean of `costs`, if all of them are known."""
    known = [cost for cost in costs if cost is not None]
    return sum(known, Decimal(0)) / len(known) if len(known) == len(costs) else None


def _path(facts: Facts) -> tuple[Place, ...]:
    """Finds the operations that a run waited for most, largest share first."""
    trace, kinds = facts.trace, facts.kinds
    spent: dict[str, int] = {}
    for section in facts.path.sections:
        if section.span == NO_SPAN:
            name = "covered by no span"
        else:
            unit = kinds.units[section.span]
            name = operation_of(trace, kinds, unit if unit != NO_SPAN else section.span)
            if section.kind in ("first_token", "generation"):
                name = name.replace("llm:", f"llm.{section.kind}:", 1)
            elif section.kind == "retry":
                name = "retry"
        spent[name] = spent.get(name, 0) + section.end_ns - section.start_ns
    wall = max(1, trace.wall_ns)
    most = sorted((item for item in spent.items() if item[1]), key=lambda one: (-one[1], one[0]))[
        :3
    ]
    return tuple(Place(name, length / wall) for name, length in most)


def _assumptions(
    edits: Sequence[Edit], notes: Notes, failed: Mapping[str, int], untrusted: int
) -> list[str]:
    """Says what has to hold for the prediction to come true."""
    told = ["calls take as long as they took, the agent's own code too", *notes.assumed]
    for change in edits:
        if isinstance(change, Cache):
            told.append(
                f"{described(change)}: a hit costs {change.lookup_ns / 1_000_000:g} ms; nothing is "
                "kept from run to run"
            )
        elif isinstance(change, OtherModel):
            told.append(f"{change.new} writes as many tokens as was written before")
        elif isinstance(change, Stream):
            told.append("stream: the last answer is shown as it is written, and takes no longer")
        elif isinstance(change, Eager):
            told.append("the parts of a reply arrive evenly after its first token")
    for why, runs in failed.items():
        stay = "1 run stays as it is" if runs == 1 else f"{runs:,} runs stay as they are"
        told.append(f"{stay}, as a rule failed, please report this: {why}")
    if untrusted:
        told.append(f"{untrusted} traces whose times mean nothing are left out")
    return list(dict.fromkeys(told))


def _failed(runs: Sequence[Studied]) -> Mapping[str, int]:
    """Counts the runs in which a rule failed, by how it did."""
    counted: dict[str, int] = {}
    for run in runs:
        for fault in run.found.faults:
            why = f"{fault.code}: {fault.why}"
            counted[why] = counted.get(why, 0) + 1
    return counted


def _not_predicted(edits: Sequence[Edit], notes: Notes) -> tuple[str, ...]:
    told: dict[str, None] = {}
    if _wants(edits, OtherModel, Remove, Shrink):
        told[OTHER_ANSWERS] = None
    if _wants(edits, Cache):
        told["answers that are out of date"] = None
    told.update(notes.not_predicted)
    return tuple(told) or ("what else the change does",)
