"""Calls that take up what an earlier one answered, in the same piece of code: plan, draft, polish.

Each is a conversation of its own, and nothing that the SDK is given says that they are one run. Two
things do, together: a function of the application that is still running made or began both calls,
and what the later one is given carries something that the run has put out. If one function makes
both calls at different places, itself or by the same helper, it is enough that both are given a
text which is not in the code: the question that a run is about. Then a word of an answer is enough,
too: a label.

An activation of a function is known by a mark that its frame holds, in `f_trace`, which means
nothing to Python as long as nobody traces, and which goes away with the frame. Nothing of the frame
is kept. Where somebody traces (a debugger, a measurement of coverage), no frame is marked.
"""

from __future__ import annotations

import re
import sys
from _queue import SimpleQueue
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from causepath import forks
from causepath.code import static_attributes
from causepath.code.application_stack import application_frames
from causepath.code.frames import WrittenAt, application_frame, written_at
from causepath.code.ownership import is_application
from causepath.content.word_sources import LINE
from causepath.guard import harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import FrameType

    from causepath.calls.runs import Run
    from causepath.calls.tracing import Tracing
    from causepath.code.frames import Frame
    from causepath.content.call_words import Words

Way: TypeAlias = tuple[WrittenAt, ...]
"""The functions between a function and the SDK's, the one that calls the SDK first."""

REST_SECONDS = 30
"""A run that has its answer waits so long for a call that takes the answer up."""

MAX_MARKED = 8
"""Frames of the application that are marked for a call, the nearest ones."""

MAX_CANDIDATES = 4

FIELD = re.compile(r"\{[^{}]*\}|%\(?\w*\)?[sdr]|\$\w+|\n")
"""What a template has in the place of a value, or between lines."""

MAX_TEMPLATE = 16 * 1024
"""Characters of a text in the code that may be a template."""

MAX_PIECES = 200

BETWEEN = 8
"""Characters of what stands between two fields of a template: fewer may be in a value."""

MAX_LINE = 2_000
"""Characters of a line in which fields are looked for."""

MAX_CHARACTERS = 64 * 1024
"""Of what a call is given, the latest: more is not searched before the call is made."""

NOT_SAID_BY_A_USER = ("system", "developer")

NOT_SAID = frozenset({"role", "type", "id", "data", "thoughtSignature"})
"""Fields of a request whose texts are nobody's words."""


class Activation:
    """One call of a function of the application, as long as it runs."""

    __slots__ = ("_over", "in_a_row", "places", "run", "way")

    def __init__(self, over: Callable[[Run], None]) -> None:
        self.run: Run | None = None
        """The latest run that a call inside it belongs to."""
        self.places: set[int] = set()
        """The places in its code that made calls of that run."""
        self.in_a_row = 0
        """How many runs, one after the other, were begun at one of these: the items of a batch."""
        self.way: Way = ()
        """The functions by which it made the latest call."""
        self._over = over

    def __call__(self, *_: object) -> None:
        """Does nothing: a tracer that begins later takes what a frame holds for its own."""

    def __del__(self) -> None:
        run = self.run
        if run is not None:
            run.activations.discard(id(self))
            if run.is_resting and not run.activations:
                self._over(run)


class Chains:
    """The runs that later calls of the same code may go on with."""

    def __init__(self, tracing: Tracing, words: Words) -> None:
        self.finished: SimpleQueue[Run | None] = SimpleQueue()
        """Runs at rest whose code has returned, then `None`. Safe to add to from a collector."""
        self._tracing = tracing
        self._words = words

    @harmless(None)
    def taken_up(self, read_body: Callable[[], object]) -> Run | None:
        """Finds the run that the call which is about to be made goes on with."""
        if not self._may_mark():
            return None
        candidates: dict[int, tuple[Run, Sequence[Frame], bool]] = {}
        frames: list[Frame] = []
        way: list[WrittenAt] = []
        for frame in application_frames():
            frames.append(frame)
            held = getattr(frame, "f_trace", None)
            if type(held) is Activation:
                run = held.run
                if run is not None and run.span is not None and not run.is_over:
                    # A loop comes back to a place: what it has there is another item, perhaps.
                    goes_on = frame.f_lasti not in held.places and (
                        not way or (held.way == tuple(way) and held.in_a_row == 1)
                    )
                    candidates.setdefault(id(run), (run, tuple(frames), goes_on))
                if len(candidates) == MAX_CANDIDATES:
                    break
            way.append(written_at(frame.f_code))
        evidence = self._words.evidence
        texts = latest_texts(read_body()) if candidates and evidence is not None else []
        if not texts or evidence is None:
            return None
        for run, callers, goes_on in candidates.values():
            lines = _parts_not_in_code(texts, callers) if goes_on else []
            words = partial(_is_in_code, callers)
            if evidence.takes_up(run.key[0], texts, lines, words, is_other_place=goes_on):
                run.is_chain = True
                return run
        return None

    @harmless([])
    def mark(self, run: Run) -> list[Run]:
        """Marks the code that makes a call of `run`. Returns the runs that it has left behind."""
        left = []
        if self._may_mark():
            way: list[WrittenAt] = []
            for frame in _own_frames():
                held = frame.f_trace
                if held is None:
                    held = frame.f_trace = Activation(self.finished.put)
                elif type(held) is not Activation:
                    break
                before = held.run
                if before is not run:
                    is_item = held.places == {frame.f_lasti}
                    held.in_a_row = held.in_a_row + 1 if is_item else 1
                    held.run, held.places = run, set()
                    if before is not None:
                        before.activations.discard(id(held))
                        if before.is_resting:
                            left.append(before)
                held.places.add(frame.f_lasti)
                held.way = tuple(way)
                way.append(written_at(frame.f_code))
                run.activations.add(id(held))
        return left

    def marked(self, frames: Iterable[FrameType]) -> list[Run]:
        """Lists the runs at rest whose code is in these frames, less what runs a whole program."""
        held = [frame.f_trace for frame in frames if frame.f_code.co_name != "<module>"]
        runs = [one.run for one in held if type(one) is Activation and one.run is not None]
        return [run for run in runs if run.is_resting]

    @harmless(None)
    def close(self) -> None:
        """Takes the marks off the frames of this thread; those of others go with their frames."""
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - as above
        while frame is not None:
            if type(frame.f_trace) is Activation:
                frame.f_trace = None
            frame = frame.f_back

    def _may_mark(self) -> bool:
        return (
            self._words.evidence is not None  # else nothing can be taken up
            and self._tracing.tells_us_first  # else a run that ends late is lost
            and sys.gettrace() is None
            and forks.may_begin_threads
            and not forks.has_green_threads()
        )


def _own_frames() -> Iterator[FrameType]:
    """The frames of the application that call each other down to here, the nearest first."""
    frame = application_frame(sys._getframe(1))  # noqa: SLF001 - the documented way to the stack
    for _ in range(MAX_MARKED):
        if frame is None or not is_application(frame.f_globals.get("__name__")):
            return
        yield frame
        frame = frame.f_back


def _parts_not_in_code(texts: Iterable[str], callers: Sequence[Frame]) -> list[str]:
    """Lists the lines of `texts` that are not in the code, as templates are, and what is left of
    each without the beginning and the end that are."""
    whole = "\n".join(_texts_of_code(callers))
    pieces: list[str] | None = None
    found: list[str] = []
    for text in texts:
        for line in text.splitlines():
            part = line.strip()
            if len(part) < LINE or part in whole:
                continue
            if pieces is None:
                pieces = _pieces(callers)
            found += {part, *_values_in(part, pieces)}
    return found


def _texts_of_code(callers: Iterable[Frame]) -> Iterator[str]:
    """The texts in the code of functions, and in their modules."""
    modules: dict[int, dict[str, Any]] = {}
    for caller in callers:
        yield from (one for one in caller.f_code.co_consts if type(one) is str)
        modules.setdefault(id(caller.f_globals), caller.f_globals)
    for module in modules.values():
        yield from (one for one in list(module.values()) if type(one) is str)


def _pieces(callers: Sequence[Frame]) -> list[str]:
    """Lists what stands between the fields of templates in the code, the longest first."""
    found = {
        piece
        for text in _texts_of_code(callers)
        if len(text) <= MAX_TEMPLATE
        for piece in map(str.strip, FIELD.split(text))
        if len(piece) > 1
    }
    return sorted(found, key=len, reverse=True)[:MAX_PIECES]


def _values_in(line: str, pieces: Iterable[str]) -> list[str]:
    """Lists what stands in the fields of a template, if a line is one that was filled in."""
    values = [line]
    if len(line) <= MAX_LINE:
        for piece in (one for one in pieces if len(one) >= BETWEEN and one in line):
            values = [part for value in values for part in value.split(piece)]
    return [_without_ends(value.strip(), pieces) for value in values if len(value) >= LINE]


def _without_ends(line: str, pieces: Iterable[str]) -> str:
    start = next((one for one in pieces if line.startswith(one)), "")
    line = line[len(start) :].lstrip()
    end = next((one for one in pieces if line.endswith(one)), "")
    return line.removesuffix(end).rstrip()


def _is_in_code(callers: Sequence[Frame], text: str) -> bool:
    return any(text in one for one in _texts_of_code(callers))


def latest_texts(body: object) -> list[str]:
    """The latest texts of a request, less its instructions and declarations."""
    if not isinstance(body, dict):
        return []
    given = next((body[k] for k in ("messages", "input", "contents") if body.get(k)), None)
    found: list[str] = []
    size = 0
    for text in _texts(given, 0):
        size += len(text)
        if size > MAX_CHARACTERS:
            break
        found.append(text)
    return found[::-1]


def _texts(value: Any, depth: int) -> Iterator[str]:
    """The texts in a request, the last one first; no code of the application runs."""
    kind = type(value)
    if kind is str:
        yield value
    elif depth > 8:
        return
    elif kind in (list, tuple):
        for item in reversed(value):
            yield from _texts(item, depth + 1)
    elif kind is dict:
        if value.get("role") not in NOT_SAID_BY_A_USER:
            for key in reversed(list(value)):
                if key not in NOT_SAID:
                    yield from _texts(value[key], depth + 1)
    else:
        yield from _texts(dict(static_attributes.own(value)), depth + 1)
