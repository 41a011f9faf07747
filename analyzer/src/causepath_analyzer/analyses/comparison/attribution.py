"""The change of the mean wall, taken apart into causes that add up to it.

The time that a run waits for an operation is a product: how often it is called, how long a call
takes (for an answer: its tokens, and the time for each), and which part of that time is waited for
at all. The change of a product is divided among its factors by the mean over all orders in which
they could have changed (Shapley 1953): so the causes add up exactly, and none depends on the order.
"""

from collections.abc import Mapping, Sequence
from itertools import permutations
from math import factorial, prod
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from causepath_analyzer.analyses.budgets.measures import MODEL
from causepath_analyzer.analyses.comparison.work import NO_WORK, Operation, Work

Why = Literal[
    "calls", "new", "gone", "first_token", "tokens", "pace", "duration", "overlap", "time", "mix"
]
"""The factor that changed. ``new`` and ``gone``: an operation that only one side has; ``overlap``:
more or less of it ran beside something else; ``time``: of something that nobody counts; ``mix``:
another agent ran more often."""
Group = Literal["other agents", "more work", "slower work", "less overlap", "other time"]

GROUPS: Final[Mapping[Why, Group]] = {
    "mix": "other agents",
    "calls": "more work",
    "new": "more work",
    "gone": "more work",
    "tokens": "more work",
    "first_token": "slower work",
    "pace": "slower work",
    "duration": "slower work",
    "overlap": "less overlap",
    "time": "other time",
}
_COUNTED: Final = frozenset(
    ("tool", "retrieval", "embedding", "database", "network", "guardrail", *MODEL)
)


class Cause(Struct, frozen=True):
    """A part of the change of the mean wall, and the factor ``before`` and ``after``: calls of a
    run, tokens of a call, ns of a call or a token, or the part of the runs."""

    kind: str
    """``model`` for model calls (``name`` is their role), ``agent`` for an agent's part of the
    runs, else the kind of work."""
    name: str
    why: Why
    change_ns: float
    before: float
    after: float


class Share(Struct, frozen=True):
    """The runs of one agent: their part of all runs, and their mean work."""

    part: float
    work: Mapping[Operation, Work]

    @property
    def wall_ns(self) -> float:
        return sum(one.waited_ns for one in self.work.values())


def attribution_by_agent(
    before: Mapping[str, Share], after: Mapping[str, Share]
) -> tuple[Cause, ...]:
    """Finds the causes of the change between two sets of runs of the agents of these names; the
    largest first. An agent that ran more or less often is a cause of its own, and what changed in
    its runs counts by the mean of its parts."""
    found: dict[tuple[str, str, Why], Cause] = {}
    for name in {**before, **after}:
        was, now = before.get(name), after.get(name)
        if was is None or now is None:
            one = was or now
            if one is not None:
                sign = 1 if was is None else -1
                change_ns = sign * one.part * one.wall_ns
                parts = (0.0, one.part) if was is None else (one.part, 0.0)
                found["agent", name, "mix"] = Cause("agent", name, "mix", change_ns, *parts)
            continue
        change_ns = (now.part - was.part) * (was.wall_ns + now.wall_ns) / 2
        if change_ns:
            found["agent", name, "mix"] = Cause("agent", name, "mix", change_ns, was.part, now.part)
        for cause in attribution(was.work, now.work):
            key = (cause.kind, cause.name, cause.why)
            part = replace(cause, change_ns=cause.change_ns * (was.part + now.part) / 2)
            found[key] = part if key not in found else _merged(found[key], part)
    return _sorted(found)


def _sorted(found: Mapping[tuple[str, str, Why], Cause]) -> tuple[Cause, ...]:
    causes = [one for one in found.values() if one.change_ns]
    # What changed in all turns is one cause, whatever it is in each.
    together: dict[tuple[str, str, Why], float] = {}
    for one in causes:
        together[_together(one)] = together.get(_together(one), 0.0) + one.change_ns
    return tuple(
        sorted(
            causes, key=lambda one: (-abs(together[_together(one)]), -abs(one.change_ns), one.name)
        )
    )


def _together(one: Cause) -> tuple[str, str, Why]:
    return one.kind, "" if one.kind == "model" else one.name, one.why


def attribution(
    before: Mapping[Operation, Work], after: Mapping[Operation, Work]
) -> tuple[Cause, ...]:
    """Finds the causes of the change from `before` to `after`, the means of two sets of runs; the
    largest first. Their changes add up to that of the mean wall."""
    found: dict[tuple[str, str, Why], Cause] = {}
    roles = [{name for kind, name in side if kind in MODEL} for side in (before, after)]
    for operation in {**before, **after}:
        kind, name = operation
        is_model = kind in MODEL
        for cause in _causes(
            operation,
            before.get(operation, NO_WORK),
            after.get(operation, NO_WORK),
            is_on_both=not is_model or all(name in side for side in roles),
        ):
            key = ("model" if is_model else kind, name, cause.why)
            known = found.get(key)
            # Calls of a model are the same calls, whether one looks at their first token or not.
            found[key] = cause if known is None else _merged(known, cause)
    return _sorted(found)


def _merged(one: Cause, other: Cause) -> Cause:
    larger = one if abs(one.change_ns) >= abs(other.change_ns) else other
    return Cause(
        one.kind,
        one.name,
        one.why,
        one.change_ns + other.change_ns,
        larger.before,
        larger.after,
    )


def _causes(
    operation: Operation, before: Work, after: Work, *, is_on_both: bool
) -> Sequence[Cause]:
    kind, name = operation
    label = "model" if kind in MODEL else kind
    change_ns = after.waited_ns - before.waited_ns
    if kind not in _COUNTED:
        return [Cause(label, name, "time", change_ns, before.waited_ns, after.waited_ns)]
    is_known = all(one.busy_ns or not one.waited_ns for one in (before, after))
    if not before.calls or not after.calls or not is_known:
        if (kind in MODEL and is_on_both) or not is_known:
            # Calls that one side tells the first token of, and the other does not; or waits that
            # nothing took.
            return [Cause(label, name, "duration", change_ns, before.waited_ns, after.waited_ns)]
        why: Why = "gone" if before.calls else "new"
        return [Cause(label, name, why, change_ns, before.calls, after.calls)]
    factors = _factors(kind, before, after)
    parts = _divided([one[1] for one in factors], [one[2] for one in factors])
    return [
        Cause(label, name, why, part, was, now)
        for (why, was, now), part in zip(factors, parts, strict=True)
    ]


def _factors(kind: str, before: Work, after: Work) -> Sequence[tuple[Why, float, float]]:
    each: list[tuple[Why, float, float]] = [("calls", before.calls, after.calls)]
    if kind == "generation" and before.tokens and after.tokens:
        each += [
            ("tokens", before.tokens / before.calls, after.tokens / after.calls),
            ("pace", before.busy_ns / before.tokens, after.busy_ns / after.tokens),
        ]
    else:
        why: Why = "first_token" if kind == "first_token" else "duration"
        each.append((why, before.busy_ns / before.calls, after.busy_ns / after.calls))
    each.append(("overlap", _waited_part(before), _waited_part(after)))
    return each


def _waited_part(one: Work) -> float:
    return one.waited_ns / one.busy_ns if one.busy_ns else 0.0


def _divided(before: Sequence[float], after: Sequence[float]) -> Sequence[float]:
    """Divides the change of a product among its factors."""
    n = len(before)
    parts = [0.0] * n
    for order in permutations(range(n)):
        now = list(before)
        value = prod(now)
        for i in order:
            now[i] = after[i]
            changed = prod(now)
            parts[i] += changed - value
            value = changed
    return [part / factorial(n) for part in parts]
