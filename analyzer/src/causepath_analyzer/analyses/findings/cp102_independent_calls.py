"""CP102: independent calls that the agent's own code made one after the other.

Model calls in a loop over items, retrievals, look-ups before the first model call: no reply asked
for them, so unlike for CP101 their independence has to be shown (see `independence`). A round of a
loop may have several steps, which need each other; then it is the rounds that are independent:

    retrieve |--| ask |-----| retrieve |--| ask |-----|    =>   retrieve |--| ask |-----|
                                                                retrieve |--| ask |-----|

A span of the agent's own around the calls of a round stands for all of them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final, TypeVar

from msgspec import Struct

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.rule import Candidate, Rule
from causepath_analyzer.analyses.path.causes import Causes
from causepath_analyzer.analyses.path.data_flow import DataFlow
from causepath_analyzer.analyses.path.kinds import SpanKinds
from causepath_analyzer.analyses.proof.independence import (
    CALLS,
    Elsewhere,
    Level,
    and_here,
    apart,
    effects,
    key_of,
    level,
    listed,
    order_broken,
    where_of,
    worst,
)
from causepath_analyzer.analyses.replay.change import SideBySide
from causepath_analyzer.analyses.replay.operations import name_of
from causepath_analyzer.model import NO_SPAN, Trace

T = TypeVar("T")

_FAMILY: Final = frozenset(("agent", "chain", "tool", "other"))
_MOST_STEPS: Final = 4
_MOST_TOGETHER: Final = 256
"""Each of a group is compared with all before it; a longer loop makes several groups."""


class _Group(Struct, frozen=True):
    """Calls, or rounds of calls, that directly follow each other and are independent."""

    branches: tuple[tuple[int, ...], ...]
    known: Level

    @property
    def calls(self) -> tuple[int, ...]:
        return tuple(i for branch in self.branches for i in branch)


Inner = Mapping[int, tuple[int, ...]]
"""Of spans around several calls, these calls."""

_STEPS: Final = frozenset(("agent", "chain", "other"))
_MOST_INSIDE: Final = 64
"""Spans that a round may have, to be looked at."""

_SILENT: Final = frozenset(("unknown", "dependent"))


def independent_calls(facts: Facts) -> list[Candidate]:
    """Finds calls of the agent's own code that could have been made together."""
    trace, kinds, causes, flow = facts.trace, facts.kinds, facts.causes, facts.flow
    families: dict[int, list[int]] = {}
    for i, parent in enumerate(causes.parents):
        families.setdefault(parent, []).append(i)
    found: list[Candidate] = []
    others = and_here(facts.others, flow)
    for parent, family in families.items():
        if len(family) < 2 or (parent != NO_SPAN and trace.spans[parent].category not in _FAMILY):
            continue
        inner: dict[int, tuple[int, ...]] = {}
        for calls in _in_sequence(trace, kinds, causes, family, inner):
            groups = _groups(flow, calls, others, inner)
            found += [_candidate(trace, kinds, parent, group, inner, others) for group in groups]
    return found


def _in_sequence(
    trace: Trace,
    kinds: SpanKinds,
    causes: Causes,
    family: Sequence[int],
    inner: dict[int, tuple[int, ...]],
) -> Iterator[Sequence[int]]:
    """Finds calls of the agent's own code, each directly behind the one before; adds to `inner`."""
    calls: list[int] = []
    for i in family:
        follows = not calls or trace.spans[i].start_ns >= trace.spans[calls[-1]].ended_ns
        is_call = _is_call(trace, kinds, causes, i)
        if not is_call and trace.spans[i].category in _STEPS and trace.children[i]:
            inside = _calls_inside(trace, kinds, causes, i)
            if inside:
                inner[i], is_call = inside, True
        if is_call and follows:
            calls.append(i)
            continue
        if len(calls) > 1:
            yield calls
        calls = [i] if is_call else []
    if len(calls) > 1:
        yield calls


def _is_call(trace: Trace, kinds: SpanKinds, causes: Causes, i: int) -> bool:
    span = trace.spans[i]
    if span.category not in CALLS or (span.category == "llm" and kinds.calls[i] != i):
        return False
    if span.tool_call is not None and span.tool_call.inferred:
        return False
    return causes.issuers[i] == NO_SPAN


def _calls_inside(trace: Trace, kinds: SpanKinds, causes: Causes, step: int) -> tuple[int, ...]:
    """Finds the calls below `step`, if nothing is there but calls of the agent's own code."""
    found = []
    waiting = list(trace.children[step])
    looked_at = 0
    while waiting:
        i = waiting.pop()
        looked_at += 1
        if looked_at > _MOST_INSIDE:
            return ()
        if _is_call(trace, kinds, causes, i):
            found.append(i)
        elif trace.spans[i].category in _STEPS:
            waiting += trace.children[i]
        else:
            return ()
    return tuple(sorted(found))


def _groups(
    flow: DataFlow, calls: Sequence[int], others: Elsewhere, inner: Inner
) -> Iterator[_Group]:
    """Finds the groups in `calls`: from each call on the longest of single calls or of rounds."""
    keys = [key_of(flow.trace, i) for i in calls]
    repeats = {steps: _repeats(keys, steps) for steps in range(2, _MOST_STEPS + 1)}
    at = 0
    while at < len(calls) - 1:
        best = _independent(flow, ((i,) for i in calls[at : at + _MOST_TOGETHER]), others, inner)
        for steps, repeated in repeats.items():
            if len(set(_nth(keys, at, 0, steps))) == 1:
                continue
            rounds = min(_MOST_TOGETHER, 1 + repeated[at] // steps)
            if rounds * steps > len(best.calls):
                of_rounds = (tuple(_nth(calls, at, n, steps)) for n in range(rounds))
                found = _independent(flow, of_rounds, others, inner)
                if len(found.branches) > 1 and len(found.calls) > len(best.calls):
                    best = found
        if len(best.branches) > 1:
            yield best
        at += len(best.calls) if len(best.branches) > 1 else 1


def _repeats(keys: Sequence[object], steps: int) -> list[int]:
    """Counts, for each place, how many keys from there on come again `steps` later without a
    gap."""
    found = [0] * len(keys)
    for at in range(len(keys) - steps - 1, -1, -1):
        found[at] = found[at + 1] + 1 if keys[at] == keys[at + steps] else 0
    return found


def _nth(values: Sequence[T], at: int, n: int, steps: int) -> Sequence[T]:
    """Gives round `n` of those that begin `at` a place."""
    return values[at + n * steps : at + (n + 1) * steps]


def _independent(
    flow: DataFlow, branches: Iterator[tuple[int, ...]], others: Elsewhere, inner: Inner
) -> _Group:
    """Takes as many of `branches`, from the first on, as need nothing of each other."""
    group = [next(branches)]
    since = group[0][0]
    keys = [_keys(flow.trace, group[0], inner)]
    known: Level = "proved"
    for branch in branches:
        if len(branch) == 1 and _of_another_sort(flow.trace, group[-1][0], branch[0], inner):
            break
        key = _keys(flow.trace, branch, inner)
        later = list(_inside(branch, inner))
        joined = known
        for earlier, earlier_key in zip(reversed(group), reversed(keys), strict=True):
            same = earlier_key == key
            for before in _inside(earlier, inner):
                for i in later:
                    found = level(flow, before, i, others, in_loop=same, since=since)
                    if found != joined:
                        joined = worst((joined, found))
            if joined in _SILENT:
                return _Group(tuple(group), known)
        group.append(branch)
        keys.append(key)
        known = joined
    return _Group(tuple(group), known)


def _keys(trace: Trace, branch: Iterable[int], inner: Inner) -> list[str]:
    """Names the calls of a branch, alike for rounds of a loop, which are made from equal call
    stacks."""
    return [key_of(trace, i) for i in _inside(branch, inner)]


def _inside(branch: Iterable[int], inner: Inner) -> Iterator[int]:
    """Lists the calls that `branch` is about."""
    for i in branch:
        yield from inner.get(i, (i,))


def _of_another_sort(trace: Trace, one: int, other: int, inner: Inner) -> bool:
    if one in inner or other in inner:
        return key_of(trace, one) != key_of(trace, other)
    categories = trace.spans[one].category, trace.spans[other].category
    return categories[0] != categories[1] and "llm" in categories


def _is_apart(trace: Trace, group: _Group, inner: Inner) -> bool:
    """Tells whether the code hands nothing on from one branch to the next."""
    return all(
        apart(trace, earlier, later)
        for one, other in pairwise(group.branches)
        for earlier in _inside(one, inner)
        for later in _inside(other, inner)
    )


def _candidate(
    trace: Trace,
    kinds: SpanKinds,
    parent: int,
    group: _Group,
    inner: Inner,
    others: Elsewhere,
) -> Candidate:
    calls, count = group.calls, len(group.branches)
    made = list(_inside(calls, inner))
    steps = group.branches[0]
    names = list(dict.fromkeys(name_of(trace, kinds, i) for i in calls))
    if len(steps) > 1:
        what = f"{count} rounds of {' and '.join(name_of(trace, kinds, i) for i in steps)}"
        title, one = f"run {count} rounds of a loop together", "round"
    else:
        what = f"{count} calls of {names[0]}" if len(names) == 1 else listed(names)
        title, one = f"run {count} independent calls together", "one"
    known = group.known == "proved"
    broken = all(
        order_broken(trace, one[0], other[0], others) for one, other in pairwise(group.branches)
    )
    looped = any((site := trace.spans[i].site) is not None and site.loop for i in made)
    if known:
        why = f"everything that a later {one} was given is known to come from elsewhere"
    elif broken:
        why = (
            f"in other runs a later {one} started before an earlier {one} had ended, or without it"
        )
    else:
        why = f"nothing that an earlier {one} returned was found in what a later {one} was given"
    unseen = ""
    if not known and not broken and looped:
        unseen = (
            " They are rounds of one loop. Whether what one answered decided what the next one was "
            "asked, in other words, is not in the trace."
        )
    if not known and not broken and not looped and _is_apart(trace, group, inner):
        unseen = (
            " The code between them hands nothing of an answer on to a later call. Whether what is "
            "called there keeps something that a later one sees is not in the trace."
        )
    if told := effects(trace, made):
        unseen += f" {told}"
    above = trace.spans[parent].name if parent != NO_SPAN else ""
    # Where a model is called is in the loop; where a tool is written is not.
    asks = [i for i in made if trace.spans[i].category != "tool"]
    place = where_of(trace, (*asks, parent, *calls, *made))
    return Candidate(
        title=title,
        plural="run independent calls together",
        place=place or f"{above}: {', '.join(sorted(names))}",
        spans=calls,
        change=SideBySide(group.branches),
        evidence="proved" if known else "likely",
        why=f"{what} ran one after the other, but {why}.{unseen}",
        fix=(
            "Start all of them before waiting for the first one "
            "(asyncio.gather, or a thread pool); mind the rate limit of what is called."
        ),
        where=place,
        refuted_by=(
            f"a run in which a later {one} was given something that an earlier {one} returned, or "
            f"was made because of it"
        ),
    )


RULE: Final = Rule(
    code="CP102",
    title="Independent calls ran one after the other",
    what=(
        "The agent's own code made several calls in sequence, and none of them needs what "
        "another one returned: model calls in a loop over items, retrievals, look-ups before "
        "the first model call; or a loop had several steps (retrieve, then ask), and none of "
        "its rounds needs an earlier one. Run together, they take as long as the longest."
    ),
    evidence=(
        "proved: everything that a later call was given is known to come from elsewhere, word "
        "for word (causepath.flow=complete), and no answer can have decided whether it was "
        "made: the calls are rounds of a loop over items each of which has its call "
        "(causepath.code.loop.kind=each), or another run made them in another order. likely: "
        "they are rounds of a loop, made from equal call stacks (causepath.code.stack), and "
        "no word or number that an earlier one returned was found in what a later one was "
        "given; or look-ups whose arguments and results, or retrievals whose queries and "
        "documents, have none in common; or the calls are "
        "on other lines of one function, whose code hands nothing of an answer on to a later one "
        "(causepath.code.apart), and no word of it was found there either; or in another "
        "run a later call started before an earlier one had ended, came first, or without it. "
        "Nothing is said where an earlier call failed, found nothing, or answered no more than "
        "yes or no (but where the code lets no answer decide), "
        "where a tool is called again with no more than a number counted on (the next page), "
        "where the loop may have been left for what was answered, where a link leads into "
        'another trace, or where nothing is known: whatif --apply "together retrieval" tells '
        "what it would save if you know better."
    ),
    saving=(
        "The wall time now, minus the wall time of a replay in which the calls start together "
        "and everything that waited for them follows with the gaps it had. Calls that overlap "
        "already are left as they are. What happens again and again at one line of code "
        "counts as one finding. Nothing is said below 1 % of the wall or 50 ms."
    ),
    refuted_by=(
        "A run in which a later call was given something that an earlier one returned, or was "
        "made because of it."
    ),
    fix=(
        "Start all of them before waiting for the first one: asyncio.gather in async code, a "
        "ThreadPoolExecutor otherwise, with as many at once as the service allows."
    ),
    find=independent_calls,
    change=SideBySide,
)
