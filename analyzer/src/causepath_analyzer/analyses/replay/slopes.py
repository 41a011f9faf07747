"""How the time of a model call follows its sizes: the first token the input, the rest the output.

From the calls of one model in the given traces, as far as these show it: the line through them is
the middle one of the slopes between all pairs (Theil and Sen), so that a slow call does not decide.
Kendall's statistic gives the range that the true slope is in nine times of ten. Sizes that hardly
differ, few calls, or a range that allows for anything show nothing, and nothing is said.

Of the input counts what no cache held. Where token counts do not differ, or nobody told them, the
bytes of the prompt do, which the plugin notes of every block.
"""

from collections.abc import Iterable, Sequence
from math import sqrt
from statistics import correlation, median
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from causepath_analyzer.analyses.path.causes import Causes
from causepath_analyzer.analyses.path.critical_path import first_token_ns
from causepath_analyzer.analyses.path.kinds import SpanKinds
from causepath_analyzer.model import Block, Blocks, Trace

Unit = Literal["tokens", "bytes"]

FEWEST: Final = 5
"""Calls that show a line."""
_SPREAD: Final = 1.25
"""How many times as large as a small call (the tenth percentile) a large one has to be."""
_MOST: Final = 200
"""Calls that are paired; of more, evenly chosen ones."""
_NINE_OF_TEN: Final = 1.645
_NO_BLOCKS: Final = Blocks((), ())
_ALIKE: Final = 0.8
"""Sizes of two kinds that are alike to this degree cannot be told apart."""
_ROUNDS: Final = 12
"""Of fitting two slopes in turns, until neither changes."""


class Sizes(Struct, frozen=True, gc=False):
    """A call that was answered: its sizes as far as they are known, its duration without attempts
    that failed, and how much of that came before the first token."""

    input_tokens: int | None
    input_bytes: int | None
    output_tokens: int | None
    spent_ns: int
    first_ns: int | None


class Line(Struct, frozen=True):
    """``base_ns`` and for each unit ``slope_ns`` more, which is from ``low_ns`` to ``high_ns``.
    ``calls`` of sizes from ``smallest`` to ``largest`` show it."""

    unit: Unit
    base_ns: float
    slope_ns: float
    low_ns: float
    high_ns: float
    calls: int
    smallest: int
    largest: int

    def at(self, size: float) -> float:
        """The time that this part of a call of this `size` takes, in ns."""
        return max(0.0, self.base_ns + self.slope_ns * size)


class Slopes(Struct, frozen=True):
    """The times of one model's calls as lines over their sizes.

    ``None`` where the calls do not show them, and then ``input_why`` or ``output_why`` is why.
    ``split``: the lines are of the time to the first token and of the time behind it; else both are
    of the whole call.
    """

    split: bool
    input: Line | None
    output: Line | None
    input_why: str = ""
    output_why: str = ""


def sized_calls(trace: Trace, kinds: SpanKinds, causes: Causes) -> dict[int, Sizes]:
    """The sizes of every model call in `trace`, by span number; of failed ones, too."""
    spans = trace.spans
    lost: dict[int, int] = {}
    for i, span in enumerate(spans):
        if span.category == "retry":
            lost[causes.parents[i]] = lost.get(causes.parents[i], 0) + span.duration_ns
    prompts = _prompt_bytes(trace)
    found = {}
    for i, call in enumerate(kinds.calls):
        told = spans[i].model_call
        if call != i or told is None:
            continue
        first = first_token_ns(trace, kinds, i)
        waited = None if first is None else first - spans[i].start_ns - lost.get(i, 0)
        tokens = told.tokens
        found[i] = Sizes(
            None
            if tokens is None or not tokens.input or told.partial_input
            else tokens.input - tokens.cache_read,
            prompts.get(i),
            None if tokens is None or not tokens.output or told.partial else tokens.output,
            max(0, spans[i].duration_ns - lost.get(i, 0)),
            None if waited is None else max(0, waited),
        )
    return found


def _prompt_bytes(trace: Trace) -> dict[int, int]:
    """Counts the bytes that each call of `trace` was given, if all its blocks were noted."""
    numbers = {
        span.span_id: i
        for i, span in enumerate(trace.spans)
        if span.model_call is not None and span.model_call.blocks is not None
    }
    # Of each call, the bytes of the first 0, 1, 2, ... blocks that it was given.
    sums: dict[int, list[int]] = {}
    for i in sorted(numbers.values()):  # each after the call that it names as the one before
        blocks = _blocks(trace, i)
        known = [0]
        if blocks.kept:
            earlier = numbers.get(blocks.previous, i)
            if earlier not in sums:
                continue
            known = _summed(sums[earlier], _blocks(trace, earlier).answered)[: blocks.kept + 1]
        if len(known) == blocks.kept + 1 and not blocks.unlisted:
            sums[i] = _summed(known, blocks.given)
    return {i: known[-1] for i, known in sums.items()}


def _summed(before: Sequence[int], blocks: Sequence[Block]) -> list[int]:
    sums = list(before)
    for block in blocks:
        sums.append(sums[-1] + block.size)
    return sums


def _blocks(trace: Trace, call: int) -> Blocks:
    told = trace.spans[call].model_call
    return told.blocks if told is not None and told.blocks is not None else _NO_BLOCKS


def slopes(calls: Iterable[Sizes]) -> Slopes:
    """Fits what `calls`, all answered by one model, show about its time."""
    calls = list(calls)
    split = [call for call in calls if call.first_ns is not None]
    if len(split) >= FEWEST or (split and len(split) == len(calls)):
        firsts = [float(call.first_ns or 0) for call in split]
        rests = [float(call.spent_ns - (call.first_ns or 0)) for call in split]
        unit, sizes = _inputs(split)
        first, why_first = _line(unit, sizes, firsts)
        rest, why_rest = _line("tokens", [call.output_tokens for call in split], rests)
        return Slopes(True, first, rest, why_first, why_rest)
    unit, inputs = _inputs(calls)
    outputs = [call.output_tokens for call in calls]
    times = [float(call.spent_ns) for call in calls]
    alike = _correlation(inputs, outputs)
    if abs(alike) > _ALIKE:
        why = "input and output of its calls grow together, so that nothing tells them apart"
        return Slopes(False, None, None, why, why)
    by_input = by_output = None
    why_input = why_output = ""
    left: Sequence[float] = times
    for _ in range(_ROUNDS):  # each from what the other leaves
        by_output, why_output = _line("tokens", outputs, left)
        left = _without(times, outputs, by_output)
        by_input, why_input = _line(unit, inputs, left)
        left = _without(times, inputs, by_input)
    return Slopes(False, _wider(by_input, alike), _wider(by_output, alike), why_input, why_output)


def _correlation(inputs: Sequence[int | None], outputs: Sequence[int | None]) -> float:
    """Computes how much inputs and outputs are alike, if both differ enough to tell anything."""
    if min(_spread(inputs), _spread(outputs)) < _SPREAD:
        return 0.0
    pairs = zip(inputs, outputs, strict=True)
    known = [(x, y) for x, y in pairs if x is not None and y is not None]
    if len(known) < FEWEST or any(len(set(values)) == 1 for values in zip(*known, strict=True)):
        return 0.0
    return correlation([x for x, _ in known], [y for _, y in known])


def _wider(line: Line | None, alike: float) -> Line | None:
    """`line` with a range that is as much wider as the other size could stand for its own."""
    if line is None:
        return None
    times = 1 / sqrt(1 - alike * alike)
    return replace(
        line,
        low_ns=max(0.0, line.slope_ns - (line.slope_ns - line.low_ns) * times),
        high_ns=line.slope_ns + (line.high_ns - line.slope_ns) * times,
    )


def _without(
    times: Sequence[float], sizes: Sequence[int | None], line: Line | None
) -> Sequence[float]:
    if line is None:
        return times
    return [
        time - line.slope_ns * size if size is not None else time
        for time, size in zip(times, sizes, strict=True)
    ]


def _inputs(calls: Sequence[Sizes]) -> tuple[Unit, Sequence[int | None]]:
    """The sizes of the input, in the unit that tells more of them apart."""
    tokens = [call.input_tokens for call in calls]
    sizes = [call.input_bytes for call in calls]
    if _spread(tokens) < _SPREAD <= _spread(sizes):
        return "bytes", sizes
    return "tokens", tokens


def _spread(sizes: Sequence[int | None]) -> float:
    known = sorted(size for size in sizes if size is not None)
    if len(known) < FEWEST:
        return 0.0
    tenth = len(known) // 10
    return known[-1 - tenth] / max(1, known[tenth])


def _line(
    unit: Unit, sizes: Sequence[int | None], times: Sequence[float]
) -> tuple[Line | None, str]:
    """The line through `times` over `sizes`, or why there is none."""
    points = [(x, y) for x, y in zip(sizes, times, strict=True) if x is not None]
    if len(points) < FEWEST:
        return None, f"{len(points)} calls tell it, {FEWEST} are needed"
    spread = _spread([x for x, _ in points])
    if spread < _SPREAD:
        return None, f"the sizes of its {len(points)} calls hardly differ"
    if len(points) > _MOST:
        points.sort()
        points = [points[n * len(points) // _MOST] for n in range(_MOST)]
    pairs = sorted(
        (b[1] - a[1]) / (b[0] - a[0])
        for n, a in enumerate(points)
        for b in points[n + 1 :]
        if b[0] != a[0]
    )
    slope, low, high = median(pairs), *_limits(points, pairs)
    middle_size = median(x for x, _ in points)
    middle_time = median(y for _, y in points)
    if low <= 0 and high * middle_size > middle_time / 10:
        return None, f"its {len(points)} calls do not show that time follows size"
    slope = max(0.0, slope)
    base = median(y - slope * x for x, y in points)
    smallest, largest = min(x for x, _ in points), max(x for x, _ in points)
    return (
        Line(unit, base, slope, max(0.0, low), max(0.0, high), len(points), smallest, largest),
        "",
    )


def _limits(points: Sequence[tuple[int, float]], pairs: Sequence[float]) -> tuple[float, float]:
    """Between which of the slopes of all `pairs` the true one is, nine times of ten."""
    count = len(points)
    tied: dict[int, int] = {}
    for x, _ in points:
        tied[x] = tied.get(x, 0) + 1
    variance = count * (count - 1) * (2 * count + 5)
    variance -= sum(t * (t - 1) * (2 * t + 5) for t in tied.values())
    off = _NINE_OF_TEN * sqrt(variance / 18)
    first = max(0, round((len(pairs) - off) / 2) - 1)
    last = min(len(pairs) - 1, round((len(pairs) + off) / 2))
    return pairs[first], pairs[last]
