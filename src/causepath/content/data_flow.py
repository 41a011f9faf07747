"""Which earlier outputs a text carries: replies of models and results of tools, across runs.

What a call was given and then repeats is not its output, nor is what others had been given before
anybody answered with it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from causepath.content.fingerprints import lines_of, whole_key
from causepath.content.recent_keys import Recent, RecentKeys

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from opentelemetry.trace import SpanContext

    from causepath.content.fingerprints import Pieces

MAX_LINES = 25_000
"""Lines of outputs, and as many of inputs, remembered in each of two generations: 100 bytes each,
and 300 for each output that they are of."""

MAX_WHOLES = 10_000
"""Whole outputs, likewise, 400 bytes each."""

MAX_SEARCHED = 4 * 1024 * 1024
"""Characters that are searched to find out whether producers were given what they put out."""

MAX_UNREAD = 5_000
"""Producers of which it is known that not all lines of what they were given are."""

MAX_PRODUCERS = 4
"""Of one line. What more have put out is how they all put it."""


class DataFlow:
    """The outputs of late, and where they came from. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._wholes: Recent[int, tuple[SpanContext, ...]] = Recent(MAX_WHOLES)
        self._parts: Recent[int, tuple[SpanContext, ...]] = Recent(MAX_LINES)
        self._inputs: RecentKeys[int] = RecentKeys(MAX_LINES)
        self._starts: RecentKeys[int] = RecentKeys(MAX_LINES)
        """The first words of phrases among the parts."""
        self._unread: Recent[int, tuple[list[str], int]] = Recent(MAX_UNREAD)
        """By producer: texts, the first so many of which it was given without all lines known."""

    def __len__(self) -> int:
        return len(self._wholes) + len(self._parts) + len(self._inputs) + len(self._starts)

    def after_fork(self) -> None:
        """Makes a new lock in a child process: a thread of the parent may hold the old one for
        ever."""
        self._lock = threading.RLock()

    def has_none(self, given: Sequence[Pieces]) -> bool:
        """Tells whether nobody has put out any of the lines or texts in `given`, which are
        remembered if that is so."""
        wholes: set[int] = set().union(*[one.wholes for one in given])
        parts: set[int] = set().union(*[one.parts for one in given])
        with self._lock:
            if self._parts.among(parts) or self._wholes.among(wholes):
                return False
            self._inputs.add(parts)
        return True

    def sources(
        self,
        given: Pieces,
        texts: Iterable[str],
        trace_id: int,
        known: AbstractSet[int] = frozenset(),
        *,
        remember: bool = True,
    ) -> list[SpanContext]:
        """Finds the spans whose outputs are among what a call in the trace `trace_id` is given.

        If several have answered with the same words, other words decide; if one of them is among
        the spans `known`, which have given it anyhow, there is no new source; else it may be any of
        them, of the same trace if there are some.
        """
        with self._lock:
            carried = self._parts.among(given.parts)
            if remember:
                self._inputs.add(given.parts - carried if carried else given.parts)
            phrases = given.phrases(self._starts.among if len(self._starts) else None)
            candidates = self._certain(carried, texts)
            if phrases:
                others = self._parts.among(phrases) - carried
                candidates += [found for key in others if (found := self._parts.get(key))]
            alone = self._wholes.among(given.wholes)
            candidates += [found for key in alone if (found := self._wholes.get(key))]
        certain = {found[0].span_id: found[0] for found in candidates if len(found) == 1}
        for found in candidates:
            ids = {one.span_id for one in found}
            if len(found) > 1 and known.isdisjoint(ids) and ids.isdisjoint(certain):
                near = [one for one in found if one.trace_id == trace_id] or found
                certain.update({one.span_id: one for one in near})
        return list(certain.values())

    def knows(self, texts: Iterable[str], producer: SpanContext) -> bool:
        """Tells whether they are known as whole outputs of `producer`."""
        with self._lock:
            for text in texts:
                found = self._wholes.get(whole_key(text)) or ()
                if all(one.span_id != producer.span_id for one in found):
                    return False
        return True

    def _certain(
        self, keys: AbstractSet[int], texts: Iterable[str]
    ) -> list[tuple[SpanContext, ...]]:
        """The producers of some parts of `texts`, but for those who may have been given these.

        When what they were given is forgotten, or too long to be searched, nobody can say.
        """
        found = {key: one for key in keys if (one := self._parts.get(key))}
        unread = {
            one.span_id: given
            for producers in (found.values() if len(self._unread) else ())
            for one in producers
            if (given := self._unread.get(one.span_id)) is not None
        }
        if not unread:
            return [*found.values()]
        lines = {
            key: line for text in texts for line in lines_of(text) if (key := hash(line)) in found
        }
        left = MAX_SEARCHED
        for key, producers in found.items():
            for producer in producers:
                given_texts, count = unread.get(producer.span_id, ((), 0))
                if not count or key not in lines or len(given_texts) < count:
                    continue
                left -= sum(map(len, given_texts[:count]))
                if left < 0:
                    break
                if not any(lines[key] in text for text in given_texts[:count]):
                    del unread[producer.span_id]  # it has said something of its own
        certain = (
            tuple([one for one in producers if one.span_id not in unread])
            for producers in found.values()
        )
        return [producers for producers in certain if producers]

    def produced(
        self,
        output: Pieces,
        producer: SpanContext,
        sources: AbstractSet[int],
        unread: tuple[list[str], int] = ([], 0),
    ) -> None:
        """Notes an output, of a call that was given what the spans `sources` had put out.

        `unread`: texts that may have been given, not all lines of which are known, and how many
        there were of them. Whoever owns the list empties it.
        """
        alone = (producer,)
        with self._lock:
            if unread[1]:
                self._unread[producer.span_id] = unread
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
                    self._starts.add({*phrases.values()})
                    for key in phrases:
                        found = self._parts.get(key)
                        self._parts[key] = (
                            alone if found is None else _unless_common(found, producer)
                        )


def _unless_common(
    known: tuple[SpanContext, ...], producer: SpanContext
) -> tuple[SpanContext, ...]:
    """Returns no producer if so many have put out a text that it shows nothing."""
    return _with(known, producer) if 0 < len(known) < MAX_PRODUCERS else ()


def _with(known: tuple[SpanContext, ...], producer: SpanContext) -> tuple[SpanContext, ...]:
    if any(one.span_id == producer.span_id for one in known):
        return known
    return (*known, producer)
