"""Which earlier outputs a text carries: replies of models and results of tools, across runs.

What a call was given and then repeats is not its output, nor is what others had been given before
anybody answered with it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from causepath.content.recent_keys import Recent, RecentKeys

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from opentelemetry.trace import SpanContext

    from causepath.content.fingerprints import Pieces

MAX_LINES = 25_000
"""Lines of outputs, and as many of inputs, remembered in each of two generations: 100 bytes each,
and 300 for each output that they are of."""

MAX_WHOLES = 10_000
"""Whole outputs, likewise, 400 bytes each."""

MAX_PRODUCERS = 4
"""Of one line. What more have put out is how they all put it."""


class DataFlow:
    """The outputs of late, and where they came from. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._wholes: Recent[int, tuple[SpanContext, ...]] = Recent(MAX_WHOLES)
        self._parts: Recent[int, tuple[SpanContext, ...]] = Recent(MAX_LINES)
        self._inputs: RecentKeys[int] = RecentKeys(MAX_LINES)

    def __len__(self) -> int:
        return len(self._wholes) + len(self._parts) + len(self._inputs)

    def after_fork(self) -> None:
        """In a child process, a thread of the parent may hold the lock for ever."""
        self._lock = threading.RLock()

    def sources(
        self,
        given: Pieces,
        trace_id: int,
        known: AbstractSet[int] = frozenset(),
        *,
        remember: bool = True,
    ) -> list[SpanContext]:
        """Whose outputs are among what somebody in the trace `trace_id` is given.

        Where several have answered with the same words, whoever can be told by other words is
        meant, and nobody if one of them is among the spans `known`, which have given it anyhow;
        else it may be any of them, of the same trace if there are some.
        """
        with self._lock:
            carried = self._parts.among(given.parts)
            if remember:
                self._inputs.add(given.parts - carried if carried else given.parts)
            if given.phrases:
                carried |= self._parts.among(given.phrases)
            candidates = [found for key in carried if (found := self._parts.get(key))]
            alone = self._wholes.among(given.wholes)
            candidates += [found for key in alone if (found := self._wholes.get(key))]
        certain = {found[0].span_id: found[0] for found in candidates if len(found) == 1}
        for found in candidates:
            ids = {one.span_id for one in found}
            if len(found) > 1 and known.isdisjoint(ids) and ids.isdisjoint(certain):
                near = [one for one in found if one.trace_id == trace_id] or found
                certain.update({one.span_id: one for one in near})
        return list(certain.values())

    def produced(self, output: Pieces, producer: SpanContext, sources: AbstractSet[int]) -> None:
        """Somebody put out `output`, who was given what the spans `sources` had put out."""
        alone = (producer,)
        with self._lock:
            for key in output.wholes:
                others = self._wholes.get(key)
                self._wholes[key] = (
                    _with(others[-MAX_PRODUCERS + 1 :], producer) if others else alone
                )
            before = self._parts.among(output.parts)
            own = output.parts - before - self._inputs.among(output.parts)
            self._parts.add(own, alone)
            for key in before:
                known = self._parts.get(key) or ()
                if sources.isdisjoint(one.span_id for one in known):
                    own.add(key)
                    self._parts[key] = _unless_common(known, producer)
            for sentence, phrases in output.edges.items():
                if sentence in own:
                    for key in phrases:
                        found = self._parts.get(key)
                        self._parts[key] = (
                            alone if found is None else _unless_common(found, producer)
                        )


def _unless_common(
    known: tuple[SpanContext, ...], producer: SpanContext
) -> tuple[SpanContext, ...]:
    """Nobody, where so many say it that it tells nothing."""
    return _with(known, producer) if 0 < len(known) < MAX_PRODUCERS else ()


def _with(known: tuple[SpanContext, ...], producer: SpanContext) -> tuple[SpanContext, ...]:
    if any(one.span_id == producer.span_id for one in known):
        return known
    return (*known, producer)
