"""Steps that several models did, over all runs that were given: how long each took for them.

Calls do one step if the same code makes them (the stack, where it is known; else what is around
them) and if they alike ask for tools or do not. Gathered run by run and joined in any order: of
many calls those with the smallest digests of their ids are kept, which are as good as random.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final
from zlib import crc32

from msgspec import Struct

from causepath_analyzer.analyses.path.data_flow import DataFlow
from causepath_analyzer.analyses.path.usage import contradicts_itself, is_hasty
from causepath_analyzer.model import NO_SPAN, Span, Trace

_MOST: Final = 128
"""Steps; where there are more, names are made up for each run."""
_KEPT: Final = 64
"""Calls of one model that are kept of a step."""
_MOST_KEPT: Final = 8 * _KEPT
"""So many of them are there before the others are dropped."""
_RELEASE: Final = re.compile(r"[-@:](?:20\d\d-?\d\d-?\d\d|latest)\Z")
_AROUND: Final = 2
"""Spans around a call that name its step, where no stack does."""


class Sample(Struct, frozen=True, array_like=True, order=True):
    """A call: its digest, its time, that to its first token (-1: not known), its tokens, and the
    digest of its system prompt (0: none, or not known)."""

    digest: int
    spent_ns: int
    first_ns: int
    input: int
    output: int
    system: int = 0


class Done(Struct):
    """The calls of one model for a step."""

    provider: str | None = None
    samples: list[Sample] = []

    def add(self, provider: str | None, samples: Sequence[Sample]) -> None:
        """Adds calls."""
        if provider is not None and (self.provider is None or provider < self.provider):
            self.provider = provider
        self.samples += samples
        if len(self.samples) > _MOST_KEPT:
            self.samples = self.kept

    @property
    def kept(self) -> list[Sample]:
        """Gives the calls that are kept."""
        return sorted(set(self.samples))[:_KEPT]


class Steps(Struct):
    """Gathers the calls of steps by model; ``None`` stands for too many."""

    models: dict[str, dict[str, Done]] | None = {}

    def add(self, flow: DataFlow) -> None:
        """Gathers those of a trace."""
        trace = flow.trace
        if self.models is None:
            return
        for step, calls in steps(flow).items():
            found: dict[tuple[str, str | None], list[Sample]] = {}
            for i in calls:
                span = trace.spans[i]
                call = span.model_call
                if call is None or call.model is None or call.tokens is None:
                    continue
                one = Sample(
                    crc32(f"{trace.trace_id}{span.span_id}".encode()),
                    span.duration_ns,
                    -1 if call.ttft_ns is None else call.ttft_ns,
                    call.tokens.input,
                    call.tokens.output,
                    _system_of(flow, i),
                )
                found.setdefault((call.model, call.provider), []).append(one)
            for (model, provider), samples in found.items():
                self._add(step, model, provider, samples)

    def join(self, other: "Steps") -> None:
        """Gathers what `other` has gathered of other runs."""
        if other.models is None:
            self.models = None
            return
        for step, by_model in other.models.items():
            for model, done in by_model.items():
                self._add(step, model, done.provider, done.samples)

    def _add(self, step: str, model: str, provider: str | None, samples: Sequence[Sample]) -> None:
        if self.models is None:
            return
        by_model = self.models.setdefault(step, {})
        done = by_model.get(model)
        if done is None:
            done = by_model[model] = Done()
        done.add(provider, samples)
        if len(self.models) > _MOST:
            self.models = None

    def compared(self) -> Mapping[str, Mapping[str, Done]]:
        """Gives the steps that several models did."""
        return {
            step: {model: Done(done.provider, done.kept) for model, done in by_model.items()}
            for step, by_model in sorted((self.models or {}).items())
            if len(by_model) > 1
        }


@lru_cache(maxsize=1024)
def are_one(model: str, other: str) -> bool:
    """Tells whether one name is an alias, and the other one that with the day of a release."""
    names = {_RELEASE.sub("", model), _RELEASE.sub("", other)}
    return len(names) == 1 and not names.isdisjoint((model, other))


def _system_of(flow: DataFlow, call: int) -> int:
    """Gives the digest of the system prompt of a call."""
    told = flow.trace.spans[call].model_call
    if told is None or told.blocks is None:
        return 0
    texts = [block.digest for block in flow.prompt(call) or () if block.role == "system"]
    return hash(tuple(texts)) if texts else 0  # of numbers it is the same everywhere


def steps(flow: DataFlow) -> Mapping[str, Sequence[int]]:
    """Lists by step the calls of a trace that were answered and counted; none of those to which
    two models were set at once or one after the other, which is no choice between them."""
    trace = flow.trace
    found: dict[str, list[int]] = {}
    root: Span | None = None
    for i, span in enumerate(trace.spans):
        if span.category == "llm" and _is_told(trace, i):
            root = root or trace.spans[trace.main_root]
            found.setdefault(_step(trace, root, i), []).append(i)
    return {step: tuple(_chosen(flow, calls)) for step, calls in found.items()}


def _is_told(trace: Trace, i: int) -> bool:
    span = trace.spans[i]
    call = span.model_call
    if call is None or call.model is None or call.tokens is None or span.error is not None:
        return False
    if call.partial or call.partial_input or not call.tokens.output or not call.tokens.input:
        return False
    if "length" in call.finish_reasons:  # how long the answer would have been nobody knows
        return False
    if any(trace.spans[below].category == "retry" for below in trace.children[i]):
        return False
    return not contradicts_itself(call.tokens) and not is_hasty(call, span.duration_ns)


def _step(trace: Trace, root: Span, i: int) -> str:
    """Names the step that a call does."""
    span = trace.spans[i]
    call = span.model_call
    asks = "tools" if call is not None and "tool_call" in call.finish_reasons else "answer"
    if span.site is not None:
        return "\n".join((asks, *span.site.stack))
    return "\n".join((asks, root.service or "", root.name, span.where or "", *_around(trace, i)))


def _around(trace: Trace, i: int) -> Iterator[str]:
    above = trace.parents[i]
    for _ in range(_AROUND):
        if above == NO_SPAN:
            return
        yield trace.spans[above].name
        above = trace.parents[above]


def _chosen(flow: DataFlow, calls: Sequence[int]) -> Iterator[int]:
    """Picks the calls beside which no other model was set to the step: at the same time, or in the
    same span where nothing else tells that it is the same step; nor before or after them, for the
    same prompt (the answer was not good enough) or to go on from the answer."""
    trace = flow.trace
    spans, parents = trace.spans, trace.parents
    if len({_model(spans[i]) for i in calls}) == 1:
        yield from calls
        return
    by_parent: dict[int, set[str | None]] = {}
    for i in calls:
        by_parent.setdefault(parents[i], set()).add(_model(spans[i]))
    beside: set[int] = set()
    latest = NO_SPAN
    for i in calls:
        at_once = latest != NO_SPAN and spans[i].start_ns < spans[latest].ended_ns
        if at_once and _model(spans[i]) != _model(spans[latest]):
            beside |= {i, latest}
        if latest == NO_SPAN or spans[i].ended_ns > spans[latest].ended_ns:
            latest = i
    beside |= _one_after_the_other(flow, calls)
    for i in calls:
        alone = spans[i].site is not None or len(by_parent[parents[i]]) == 1
        if alone and i not in beside:
            yield i


def _one_after_the_other(flow: DataFlow, calls: Sequence[int]) -> set[int]:
    """Finds the calls of which another model was asked the same, or was given the answer."""
    spans = flow.trace.spans
    found: set[int] = set()
    asked: dict[tuple[int, ...], list[int]] = {}
    for i in calls:
        sources = flow.sources(i)
        prompt = tuple([block.digest for block in flow.prompt(i) or ()])
        same = asked.setdefault(prompt, []) if prompt else []
        for before in calls:
            if before >= i:
                break
            if _model(spans[before]) != _model(spans[i]) and (before in same or before in sources):
                found |= {before, i}
        same.append(i)
    return found


def _model(span: Span) -> str | None:
    return span.model_call.model if span.model_call is not None else None
