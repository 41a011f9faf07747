"""Why a change changes nothing in some traces, and what would have worked."""

from collections.abc import Mapping, Sequence

from causepath_analyzer.analyses.findings.opportunities import candidates
from causepath_analyzer.analyses.findings.rules import RULES
from causepath_analyzer.analyses.predictions.answers import last_answer, streams
from causepath_analyzer.analyses.predictions.model_times import ModelTime
from causepath_analyzer.analyses.predictions.studied import Studied
from causepath_analyzer.analyses.replay.edits import (
    Apply,
    Cache,
    Edit,
    NoRetries,
    OtherModel,
    Shrink,
    Stream,
    described,
    kind_of,
)
from causepath_analyzer.analyses.replay.operations import (
    Selector,
    Turns,
    around,
    line_of,
    nearest,
    operations,
    selected,
)
from causepath_analyzer.analyses.replay.slopes import FEWEST
from causepath_analyzer.model import NO_SPAN

_MOST = 12
"""Names that a message lists."""


def unmatched(change: Edit, runs: Sequence[Studied], models: Mapping[str, ModelTime]) -> str:
    """Says why `change` changed nothing in `runs`, and what could be changed."""
    if isinstance(change, Apply):
        return f"{change.code}: {_not_found(change.code, runs)}"
    if isinstance(change, NoRetries):
        return "no-retries: there are no retries in these traces"
    if isinstance(change, Stream):
        return _nothing_to_stream(runs)
    if isinstance(change, OtherModel) and change.new not in models:
        there = _listed(sorted(models)) or "no call of a model that is named"
        return (
            f"{described(change)}: needs calls of both models, to know how long {change.new} "
            f"takes; there is {there}"
        )
    found = any(selected(run.trace, run.kinds, run.causes, change.what) for run in runs)
    if not found:
        return f"{described(change)}: {_names_nothing(change.what, runs)}"
    if isinstance(change, Cache):
        return (
            f"{described(change)}: no call is known to repeat another one; whether arguments are "
            "equal can only be told where they or their digests were recorded"
        )
    if isinstance(change, OtherModel):
        return f"{described(change)}: these calls are made with {change.new} already"
    if isinstance(change, Shrink):
        return f"{described(change)}: nobody told the tokens of these calls"
    why = {
        "together": "no two of these run in sequence below one span",
        "scale": "no time to first token was recorded for these",
    }.get(kind_of(change).partition(" ")[0], "no model call is known to have asked for these")
    return f"{described(change)}: {why}; there is {_operations(runs)}"


def _not_found(code: str, runs: Sequence[Studied]) -> str:
    """Says why there is nothing of the finding `code` to apply."""
    failed = [fault for run in runs for fault in run.found.faults]
    if failed:
        return f"its rule failed, please report this: {failed[0].why}"
    if any(run.found.by_code.get(code) for run in runs):
        return "it says nothing that could be replayed"
    codes = {
        other
        for run in runs
        for other, found in candidates(run.facts).by_code.items()
        if any(one.change is not None for one in found)
    }
    unknown = "" if code in RULES else "no finding has this code; "
    there = f"there is {', '.join(sorted(codes))}" if codes else "nothing was found at all"
    return f"{unknown}no such finding in these traces; {there}"


def _nothing_to_stream(runs: Sequence[Studied]) -> str:
    last = [(run, last_answer(run)) for run in runs]
    last = [(run, call) for run, call in last if call != NO_SPAN]
    if not last:
        return "stream: there is no model call in these traces"
    if all(streams(run, call) for run, call in last):
        return "stream: the last answer of every run is streamed already"
    return (
        "stream: how long the first token takes is not known: it needs calls of the same model "
        f"that were streamed, or {FEWEST} calls whose answers differ in length"
    )


def _names_nothing(wanted: Selector, runs: Sequence[Studied]) -> str:
    """Says which part of `wanted` names nothing, and what would be named."""
    named = Selector(wanted.category, wanted.pattern)
    placed = Selector(wanted.category, wanted.pattern, wanted.place)
    by_name = _all(runs, named)
    if not by_name:
        meant = _meant(wanted.pattern, _alike(wanted, list(_spent(runs))))
        return f"names nothing in these traces; {meant}there is {_operations(runs)}"
    if wanted.place and not _all(runs, placed):
        places: dict[str, None] = {}
        for run, i in by_name:
            if line_of(run.trace, i):
                places[f"@{line_of(run.trace, i)}"] = None
        for run, i in by_name:
            places.update(dict.fromkeys(f"@{one}" for one in around(run.trace, run.kinds, i)))
        file = wanted.place.rpartition("/")[2].partition(":")[0]
        same = [place for place in places if place.startswith(f"@{file}:")]
        meant = _meant(f"@{wanted.place}", {place: place for place in same or places})
        there = _listed(list(places)) or "neither code nor an agent told for any"
        return f"no {named} is made at {wanted.place}; {meant}there is {there}"
    turns = max(
        (Turns(run.trace, run.kinds, run.causes).count(i) for run, i in _all(runs, placed)),
        default=0,
    )
    there = f"its agents have {turns}" if turns else "no model call came before"
    return f"no {placed} belongs to the turn {wanted.turn}; {there}"


def _alike(wanted: Selector, operations: Sequence[str]) -> Mapping[str, str]:
    """Finds the operations by their names: those of the category of `wanted`, else all of them."""
    pairs = [(name.partition(":")[2], name) for name in operations]
    same = {name: whole for name, whole in pairs if whole.startswith(f"{wanted.of}:")}
    return same if nearest(wanted.pattern, list(same)) else dict(pairs)


def _all(runs: Sequence[Studied], wanted: Selector) -> list[tuple[Studied, int]]:
    return [(run, i) for run in runs for i in selected(run.trace, run.kinds, run.causes, wanted)]


def _meant(text: str, names: Mapping[str, str]) -> str:
    near = [names[name] for name in nearest(text, list(names))]
    return f"did you mean {' or '.join(near)}? " if near else ""


def _spent(runs: Sequence[Studied]) -> dict[str, int]:
    spent: dict[str, int] = {}
    for run in runs:
        for name, time_ns in operations(run.trace, run.kinds).items():
            spent[name] = spent.get(name, 0) + time_ns
    return spent


def _operations(runs: Sequence[Studied]) -> str:
    spent = _spent(runs)
    return _listed(sorted(spent, key=lambda name: (-spent[name], name)))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more
