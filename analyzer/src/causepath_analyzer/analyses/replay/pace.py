"""How fast a model answers: until the first token, and then for each token.

From calls that were made: medians, so that a slow one does not decide. Where nobody told the first
token apart, the time for each token is the middle one of the slopes between all pairs of calls
(Theil and Sen), which needs answers of different lengths.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from causepath_analyzer.analyses.path.causes import Causes
from causepath_analyzer.analyses.path.critical_path import first_token_ns
from causepath_analyzer.analyses.path.kinds import SpanKinds
from causepath_analyzer.analyses.path.usage import is_hasty
from causepath_analyzer.analyses.replay.schedule import Factor
from causepath_analyzer.model import Trace

_MOST_PAIRED: Final = 50
_FEWEST: Final = 3
"""Calls whose first token nobody told that show a pace; a line through two fits anything."""


class Timed(Struct, frozen=True):
    """A call that was answered: its output tokens, the time it took without failed attempts, and
    how much of that came before the first token, if that is known."""

    tokens: int
    spent_ns: int
    waited_ns: int | None


class Pace(Struct, frozen=True):
    """The speed of calls: until the first token, then for each token.

    If it was not ``split``, the first number is of the whole call without its tokens, and
    ``per_token`` may be nothing.
    """

    first_ns: int
    per_token: Factor
    split: bool

    def generating_ns(self, tokens: int) -> int:
        """Predicts how long it takes to write `tokens`."""
        return tokens * self.per_token[0] // self.per_token[1]


def timed_calls(trace: Trace, kinds: SpanKinds, causes: Causes) -> dict[str, list[Timed]]:
    """The calls of each model in `trace` that were answered."""
    spans = trace.spans
    retried: dict[int, int] = {}
    for i, span in enumerate(spans):
        if span.category == "retry":
            parent = causes.parents[i]
            retried[parent] = retried.get(parent, 0) + span.duration_ns
    found: dict[str, list[Timed]] = {}
    for i, call in enumerate(kinds.calls):
        told = spans[i].model_call
        if call != i or told is None or told.model is None or spans[i].error is not None:
            continue
        if told.partial:  # slower for each token than it was
            continue
        if is_hasty(told, spans[i].duration_ns):
            continue
        tokens = told.tokens.output if told.tokens is not None else 0
        first = first_token_ns(trace, kinds, i)
        lost = retried.get(i, 0)
        waited = None if first is None else first - spans[i].start_ns - lost
        spent = spans[i].duration_ns
        if told.generated_ns is not None:  # what came later was its consumer's time
            spent = min(spent, told.generated_ns)
        timed = Timed(tokens, spent - lost, waited)
        found.setdefault(told.model, []).append(timed)
    return found


def pace(calls: Sequence[Timed]) -> Pace | None:
    """The pace of one model, of which these are `calls`; ``None`` if there are none."""
    if not calls:
        return None
    split = [(call.waited_ns, call) for call in calls if call.waited_ns is not None]
    if split:
        firsts = sorted(waited for waited, _ in split)
        rates = sorted(
            ((max(0, call.spent_ns - waited), max(call.tokens, 1)) for waited, call in split),
            key=lambda rate: rate[0] / rate[1],
        )
        return Pace(firsts[len(firsts) // 2], rates[len(rates) // 2], split=True)
    some = calls[:_MOST_PAIRED]
    slopes = (
        []
        if len(calls) < _FEWEST
        else sorted(
            (
                (b.spent_ns - a.spent_ns, b.tokens - a.tokens)
                for a in some
                for b in some
                if b.tokens > a.tokens
            ),
            key=lambda slope: slope[0] / slope[1],
        )
    )
    slope = slopes[len(slopes) // 2] if slopes else (0, 1)
    slope = slope if slope[0] > 0 else (0, 1)
    fixed = sorted(call.spent_ns - call.tokens * slope[0] // slope[1] for call in calls)
    return Pace(max(0, fixed[len(fixed) // 2]), slope, split=False)
