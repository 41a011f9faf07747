"""Which earlier outputs a text carries: replies of models and results of tools, across runs.

A text is recognised as a whole, by a line of 32 characters or more, or by a sentence of that
length, as prompts put outputs between other words. What a call was given and then repeats is not
its output, nor is what others had been given before anybody answered with it. No text is kept, only
the hashes that Python itself keeps with strings, whose key is another one in every process.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from causepath.recent import Recent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from opentelemetry.trace import SpanContext

LINE = 32
"""Characters of a line or a sentence that can be recognised."""

WHOLE = 8
"""Characters of a text that can be recognised where it stands alone."""

MAX_LINES = 50_000
"""Lines of outputs, and as many of inputs, remembered in each of two generations."""

MAX_PRODUCERS = 4
"""Of one line."""

MAX_SENTENCES_IN = 128 * 1024
"""Characters of a text that is cut into sentences. Longer ones are cut into lines only."""

ENDS = ("\\n", '"', "<", ">", ". ", ": ", "? ", "! ", "; ")
"""What a sentence ends with: also what JSON, tags and quotes set apart."""

AROUND = " \t\r\n\\.:;!?\"'`*#>-_()[]{},"


class Pieces(NamedTuple):
    """What a text, or several, can be recognised by, as hashes."""

    wholes: set[int]
    """Of whole texts."""
    parts: set[int]
    """Of their lines and sentences."""

    def add(self, text: str) -> None:
        """Cut `text` up, too."""
        rest = text.strip(AROUND)
        if len(rest) < WHOLE:
            return
        self.wholes.add(hash(rest))
        if len(rest) < LINE:
            return
        self.parts.add(hash(rest))
        self._cut(rest)
        if len(rest) <= MAX_SENTENCES_IN:
            for end in ENDS:
                rest = rest.replace(end, "\n")
            self._cut(rest)

    def _cut(self, text: str) -> None:
        if "\n" in text:
            lines = [line.strip(AROUND) for line in text.split("\n") if len(line) >= LINE]
            self.parts.update([hash(line) for line in lines if len(line) >= LINE])


def is_data_class(kind: type) -> bool:
    """Whether what it has in its fields is data: of dataclasses and of Pydantic's models."""
    return any(mark in vars(base) for mark in DATA_CLASSES for base in kind.__mro__[:-1])


DATA_CLASSES = ("__dataclass_fields__", "__pydantic_fields__")

MAX_TEXTS = 1_000
"""Of one value."""


def texts_in(value: object) -> Iterator[str]:
    """The texts in plain data, and in the fields of data classes and models."""
    waiting, left = [value], MAX_TEXTS
    while waiting and left:
        left -= 1
        inner: Any = waiting.pop()
        # Asking the type, as an object may answer for its class and attributes in any way it likes.
        kind = type(inner)
        if issubclass(kind, str):
            yield str.__str__(inner)
        elif issubclass(kind, dict):
            waiting.extend(reversed(list(dict.values(inner))[:MAX_TEXTS]))
        elif issubclass(kind, list | tuple | set | frozenset):
            waiting.extend(reversed(list(inner)[:MAX_TEXTS]))
        elif is_data_class(kind):
            waiting.extend(reversed(list(getattr(inner, "__dict__", {}).values())))


class DataFlow:
    """The outputs of late, and where they came from. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wholes: Recent[int, tuple[SpanContext, ...]] = Recent(MAX_LINES)
        self._parts: Recent[int, tuple[SpanContext, ...]] = Recent(MAX_LINES)
        self._inputs: Recent[int, bool] = Recent(MAX_LINES)

    def after_fork(self) -> None:
        """In a child process, a thread of the parent may hold the lock for ever."""
        self._lock = threading.Lock()

    def sources(self, given: Pieces, *, remember: bool = True) -> list[SpanContext]:
        """Whose outputs are among what somebody is given.

        Where several have answered with the same words, whoever can be told by other words is
        meant; else it may be any of them.
        """
        with self._lock:
            carried = self._parts.among(given.parts)
            if remember:
                self._inputs.add(given.parts - carried, True)
            candidates = [found for key in carried if (found := self._parts.get(key))]
            alone = self._wholes.among(given.wholes)
            candidates += [found for key in alone if (found := self._wholes.get(key))]
        certain = {found[0].span_id: found[0] for found in candidates if len(found) == 1}
        for found in candidates:
            if len(found) > 1 and not any(one.span_id in certain for one in found):
                certain.update({one.span_id: one for one in found})
        return list(certain.values())

    def produced(self, output: Pieces, producer: SpanContext, sources: AbstractSet[int]) -> None:
        """Somebody put out `output`, who was given what the spans `sources` had put out."""
        with self._lock:
            for key in output.wholes:
                known = self._wholes.get(key) or ()
                self._wholes[key] = _with(known, producer)
            before = self._parts.among(output.parts)
            new = output.parts - before - self._inputs.among(output.parts)
            self._parts.add(new, (producer,))
            for key in before:
                known = self._parts.get(key) or ()
                if sources.isdisjoint(one.span_id for one in known):
                    self._parts[key] = _with(known, producer)


def _with(known: tuple[SpanContext, ...], producer: SpanContext) -> tuple[SpanContext, ...]:
    if any(one.span_id == producer.span_id for one in known):
        return known
    return (*known[-MAX_PRODUCERS + 1 :], producer)
