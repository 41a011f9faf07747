"""How long a call takes if it is made with another model, or with other sizes: what others took."""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Final

from msgspec import Struct

from causepath_analyzer.analyses.path.usage import is_hasty
from causepath_analyzer.analyses.predictions.studied import Studied
from causepath_analyzer.analyses.replay.pace import Pace, Timed, pace, timed_calls
from causepath_analyzer.analyses.replay.slopes import Sizes, Slopes, slopes

_NORMAL: Final = 1.4826
"""The standard deviation of a normal distribution, as a part of its median deviation."""


class ModelTime(Struct, frozen=True):
    """The times that ``calls`` calls of one model show.

    ``spread_ns`` is how far one is off typically.
    """

    pace: Pace
    slopes: Slopes
    calls: int
    spread_ns: float

    def first_ns(self, sizes: Sizes | None) -> int:
        """Predicts the first token of a call of these `sizes`."""
        line = self.slopes.input
        if not self.slopes.split or line is None or sizes is None:
            return self.pace.first_ns
        size = sizes.input_tokens if line.unit == "tokens" else sizes.input_bytes
        return self.pace.first_ns if size is None else round(line.at(size))


def model_times(runs: Iterable[Studied]) -> dict[str, ModelTime]:
    """Measures how long the calls of each model took in `runs`, as far as their sizes are known."""
    timed: dict[str, list[Timed]] = {}
    sized: dict[str, list[Sizes]] = {}
    for run in runs:
        for model, calls in timed_calls(run.trace, run.kinds, run.causes).items():
            timed.setdefault(model, []).extend(calls)
        for i, size in run.sizes.items():
            span = run.trace.spans[i]
            told = span.model_call
            if span.error is not None or told is None or not told.model:
                continue
            if not is_hasty(told, span.duration_ns):
                sized.setdefault(told.model, []).append(size)
    found = {}
    for model, calls in timed.items():
        of_model = pace(calls)
        if of_model is not None:
            spread_ns = _spread_ns(of_model, calls)
            shown = slopes(sized.get(model, ()))
            found[model] = ModelTime(of_model, shown, len(calls), spread_ns)
    return found


def _spread_ns(of_model: Pace, calls: Sequence[Timed]) -> float:
    off = [
        abs(call.spent_ns - of_model.first_ns - of_model.generating_ns(call.tokens))
        for call in calls
    ]
    return _NORMAL * median(off)
