"""Calls that take up what an earlier one answered, in the same piece of code: plan, draft, polish.

Each is a conversation of its own, and nothing that the SDK is given says that they are one run. Two
things do, together: a function of the application that is still running made or began both calls,
and what the later one is given carries something that the run has put out. If one function makes
both calls itself, at different places, it is enough that both are given a line which is not in the
code: the question that a run is about.

An activation of a function is known by a mark that its frame holds, in `f_trace`, which means
nothing to Python as long as nobody traces, and which goes away with the frame. Nothing of the frame
is kept. Where somebody traces (a debugger, a measurement of coverage), no frame is marked.
"""

from __future__ import annotations

import sys
from _queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from causepath import forks
from causepath.code import static_attributes
from causepath.code.application_stack import application_frames
from causepath.code.frames import application_frame
from causepath.code.ownership import is_application
from causepath.guard import harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

    from causepath.calls.runs import Run
    from causepath.calls.tracing import Tracing
    from causepath.code.frames import Frame
    from causepath.content.call_words import Words

REST_SECONDS = 30
"""A run that has its answer waits so long for a call that takes the answer up."""

MAX_MARKED = 8
"""Frames of the application that are marked for a call, the nearest ones."""

MAX_CANDIDATES = 4

MAX_CHARACTERS = 64 * 1024
"""Of what a call is given, the latest: more is not searched before the call is made."""

NOT_SAID_BY_A_USER = ("system", "developer")

NOT_SAID = frozenset({"role", "type", "id", "data", "thoughtSignature"})
"""Fields of a request whose texts are nobody's words."""


class Activation:
    """One call of a function of the application, as long as it runs."""

    __slots__ = ("_over", "places", "run")

    def __init__(self, over: Callable[[Run], None]) -> None:
        self.run: Run | None = None
        """The latest run that a call inside it belongs to."""
        self.places: set[int] = set()
        """The places in its code that made calls of that run."""
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
        candidates: dict[int, tuple[Run, Frame | None]] = {}
        for distance, frame in enumerate(application_frames()):
            held = getattr(frame, "f_trace", None)
            if type(held) is not Activation:
                continue
            run = held.run
            if run is not None and run.span is not None and not run.is_over:
                # A loop comes back to a place: what it has there is another item, perhaps.
                goes_on = distance == 0 and frame.f_lasti not in held.places
                candidates.setdefault(id(run), (run, frame if goes_on else None))
            if len(candidates) == MAX_CANDIDATES:
                break
        evidence = self._words.evidence
        texts = _latest(read_body()) if candidates and evidence is not None else []
        if not texts or evidence is None:
            return None
        for run, caller in candidates.values():
            lines = _lines_not_in_code(texts, caller) if caller is not None else []
            if evidence.takes_up(run.key[0], texts, lines):
                run.is_chain = True
                return run
        return None

    @harmless([])
    def mark(self, run: Run) -> list[Run]:
        """Marks the code that makes a call of `run`. Returns the runs that it has left behind."""
        left = []
        if self._may_mark():
            for frame in _own_frames():
                held = frame.f_trace
                if held is None:
                    held = frame.f_trace = Activation(self.finished.put)
                elif type(held) is not Activation:
                    break
                before = held.run
                if before is not run:
                    held.run, held.places = run, set()
                    if before is not None:
                        before.activations.discard(id(held))
                        if before.is_resting:
                            left.append(before)
                held.places.add(frame.f_lasti)
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


def _lines_not_in_code(texts: Iterable[str], caller: Frame) -> list[str]:
    """Lists the lines that are in no text of a function's code or module, as templates are."""
    values = (*caller.f_code.co_consts, *list(caller.f_globals.values()))
    code = "\n".join(one for one in values if type(one) is str)
    return [line for text in texts for line in text.splitlines() if line.strip() not in code]


def _latest(body: object) -> list[str]:
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
