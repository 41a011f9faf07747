"""The calls that may be what a reply asked for, and which of them it was.

A policy check, a validator or a hook may have the name and the arguments of the tool. So the end of
each call that was found by its name is held until the result is sent to the model: the tool is the
call that gave that result.
"""

from __future__ import annotations

import json
import time
import types
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from opentelemetry import context as otel

from causepath import forks
from causepath.calls.strands import strand
from causepath.code import static_attributes
from causepath.guard import harmless
from causepath.otel import semconv
from causepath.otel.endings import ending_of
from causepath.otel.operation import Operation, detach

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

RUNNING: ContextVar[Candidate | None] = ContextVar("causepath-candidate", default=None)
"""The call in progress that may be a tool."""

MAX_TEXTS = 40
"""Texts of a result that are looked for in what is sent."""

MAX_TEXT = 200
"""Characters of such a text: who sends a long result may have cut it."""

UNEXPLAINED_NS = 20_000_000
"""Time after a call whose result is not recognised, in which something else may have been the
tool."""


class Result(NamedTuple):
    """A result, as far as it is remembered: no more than it can be recognised by."""

    identity: int = 0
    kept: object = None
    """The very object, where keeping it alive cannot be noticed."""
    texts: tuple[str, ...] = ()
    says_nothing: bool = True
    """It is `None`, true or false."""
    comes_later: bool = False
    """It is no result yet, but a coroutine or a generator that nobody has run."""


def result_of(value: Any) -> Result:
    kind = type(value)
    if (
        any(kind is one for one in DEFERRED)
        or static_attributes.member(kind, "__await__") is not None
    ):
        return Result(comes_later=True)
    kept = value if static_attributes.is_one_of(kind, IMMUTABLE) else None
    texts = tuple(_texts(value))
    return Result(id(value), kept, texts, value is None or kind is bool)


DEFERRED = (types.CoroutineType, types.GeneratorType, types.AsyncGeneratorType)

IMMUTABLE = frozenset({str, bytes, int, float, bool, type(None)})


def _texts(value: Any) -> Iterator[str]:
    """Reads the texts and numbers in a result, as it is stored: no code of the application runs."""
    waiting: list[Any] = [value]
    left = MAX_TEXTS
    opened: set[int] = set()
    while waiting and left:
        one = waiting.pop()
        kind = type(one)
        if one is None or id(one) in opened:
            continue
        if static_attributes.is_one_of(kind, IMMUTABLE):
            left -= 1
            yield one[:MAX_TEXT] if kind is str else str(one)[:MAX_TEXT]
        else:
            opened.add(id(one))
            if issubclass(kind, str):
                left -= 1
                yield str.__str__(one)[:MAX_TEXT]
            elif issubclass(kind, dict):
                waiting += reversed(list(dict.values(one))[:MAX_TEXTS])
            elif issubclass(kind, list | tuple | set | frozenset):
                waiting += reversed(list(one)[:MAX_TEXTS])
            elif issubclass(kind, BaseException):
                waiting += reversed(BaseException.args.__get__(one))  # type: ignore[attr-defined]
            elif len(opened) <= MAX_TEXTS:
                waiting += reversed(list(static_attributes.own(one).values())[:MAX_TEXTS])


class Asked(Protocol):
    """A tool call that a reply asked for."""

    open: int
    """The number of candidates for it that are in progress."""


class Candidate(Operation):
    """A call that may be what a reply asked for. Its span ends when that is known."""

    def __init__(
        self,
        span: Span,
        context: Context,
        asked: Asked,
        write: Callable[[Candidate, bool], None],
        *,
        by: object,
        name: str,
        serial: int,
        sure: bool,
        given: frozenset[int],
        start_ns: int,
        outside: int = 0,
    ) -> None:
        super().__init__(span, context)
        self.asked = asked
        self._write = write
        self.by = by
        """The object that watches the calls of its function."""
        self.name = name
        """The function's name."""
        self.serial = serial
        """Which of the times that its tool was asked for it began in."""
        self.sure = sure
        """Its arguments are those asked for."""
        self.given = given
        """The ids of its arguments."""
        self.outside = outside
        """The number of steps outside the loop that asks."""
        self.strand = strand()
        self.around: Candidate | None = None
        self.result = Result()
        self.end_ns = 0
        self.start_ns = start_ns
        self.began_with = 0
        """The number of attributes that its span has as long as nobody gives it one."""
        self.error_type: str | None = None
        self.is_last = False
        """Nothing is asked for that another call of its function could be now."""
        self.is_doubtful = False
        """Its function was called too often since to look at each call."""
        self.is_it: bool | None = None
        """It is the tool call, or is not, once that is known."""
        self.left_ns = 0
        """When its thread was told to stop, which it need not hear of."""
        self._future: Any = None
        """The future of the thread pool that carries it out, while it is in progress."""
        self.was_stopped = False
        """It was ended by no error of its own: its task was cancelled, say."""
        self.is_used = False
        """Others have begun spans below its span."""
        self.at_end: list[Callable[[], None]] = []
        """Functions that wait for the end of the call."""
        self._known: list[Callable[[], None]] = []
        self._entered: AbstractContextManager[None] | None = None

    @harmless(None)
    def __enter__(self) -> None:
        self._entered = self.step()
        self._entered.__enter__()

    @harmless(None)
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._entered is not None:
            self._entered.__exit__(kind, error, traceback)
        self.end(error)

    def step(self) -> AbstractContextManager[None]:
        return _Step(self)

    @harmless(None)
    def returned(self, result: object) -> None:
        if self._process is forks.process and not self.end_ns:
            self.result = result_of(result)
            found = [look(result) for look in self.on_result]
            self._known = [known for known in found if known is not None]

    @harmless(None)
    def end(self, error: BaseException | None = None, end_ns: int | None = None) -> None:
        if self._process is not forks.process or self.end_ns:
            return
        self.end_ns = end_ns or time.time_ns()
        future, self._future = self._future, None
        if future is not None:
            vars(future).pop("cancel", None)
        if error is not None:
            self.ending = ending_of(error)
        if isinstance(error, Exception):
            self.error_type = type(error).__qualname__
            self.result = result_of(error)
            self.explained(error)
        self.was_stopped = isinstance(error, BaseException) and not isinstance(
            error, Exception | GeneratorExit
        )
        self.asked.open -= 1
        waiting, self.at_end = self.at_end, []
        for go_on in waiting:
            go_on()
        if self.is_it is not None:
            self._settled(is_it=self.is_it)

    @harmless(None)
    def watch(self, future: Any) -> None:
        """Listens for the cancellation of the future of its result."""
        cancel = future.cancel

        def told() -> Any:
            self.left_ns = self.left_ns or time.time_ns()
            return cancel()

        self._future, future.cancel = future, told

    def was_left(self, sent: object) -> bool:
        """Tells whether its thread went on although nobody waited for its result."""
        return bool(self.left_ns) and _Sent(sent).holds(self.result) == NONE

    def give_up(self, end_ns: int, error_type: str) -> None:
        """Ends it without a result, as another one is sent in its place."""
        if self.left_ns:
            end_ns = min(end_ns, self.left_ns)
        elif self.end_ns and not self.was_stopped:
            return
        if not self.end_ns:
            self.end(end_ns=max(end_ns, self.start_ns))
        elif self.left_ns:
            self.end_ns = min(self.end_ns, max(end_ns, self.start_ns))
            self._known = []
        self.error_type = error_type
        self.span.set_attribute(semconv.TOOL_GIVEN_UP, True)

    def is_around_here(self) -> bool:
        """Tells whether this is done inside it."""
        running = RUNNING.get()
        while running is not None and running is not self:
            running = running.around
        return running is self

    def settle(self, *, is_it: bool) -> None:
        """Notes whether this was the tool call, which is known now."""
        if self.is_it is None:
            self.is_it = is_it
            if self.end_ns:
                self._settled(is_it=is_it)

    @harmless(None)
    def _settled(self, *, is_it: bool) -> None:
        known, self._known = self._known, []
        if is_it:
            for one in known:
                one()
        self._write(self, is_it)


class _Step(AbstractContextManager[None]):
    """The context of a call for one frame."""

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate

    @harmless(None)
    def __enter__(self) -> None:
        candidate = self._candidate
        candidate.around = RUNNING.get()
        self._running = RUNNING.set(candidate)
        self._token = otel.attach(candidate._context)  # noqa: SLF001

    @harmless(None)
    def __exit__(self, *_: object) -> None:
        detach(self._token)
        detach(self._running)


# -- which it was


class Choice(NamedTuple):
    call: Candidate | None
    """The tool call; `None` where it is none of them."""
    tries: Sequence[Candidate] = ()
    """Earlier ones of the same function, which failed."""
    unclear: int = 0
    """The number of calls that it may have been, this one among them; 0 if the result tells."""


NONE, FOUND, EQUAL, THE_VERY = range(4)
"""Rates of how much of a result is in what is sent: too little, most texts, all, the object."""


def chosen(
    calls: Sequence[Candidate],
    sent: object,
    now_ns: int,
    windows: Sequence[tuple[int, int]] = (),
) -> Choice:
    """Chooses the call that gave the result that is sent; `sent` is `None` if none is known.

    `windows`, in order: when calls ran for what is sent together with it.
    """
    calls = [call for call in calls if not call.is_doubtful]
    over = [call for call in calls if call.end_ns]
    real = [call for call in over if not call.result.comes_later]
    going_on = _going_on(_nearest(calls), real)
    if not real:
        return Choice(going_on) if sent is not None or not over else Choice(None)
    said = _Sent(sent)
    rated = [(said.holds(call.result), call.sure, call) for call in real]
    telling = [(rate, sure, call) for rate, sure, call in rated if rate != NONE]
    # Of calls inside one another, the outermost is what the application calls the tool.
    telling = [
        (rate, sure, call)
        for rate, sure, call in telling
        if not any(other >= rate and _is_around(outer, call) for other, _, outer in telling)
    ]
    if telling:
        best = max((sure, rate) for rate, sure, _ in telling)
        alike = [call for rate, sure, call in telling if (sure, rate) == best]
        return _choice(_producers(_nearest(alike)), real)
    real = _nearest(real)
    if sent is not None:
        if going_on is not None:
            return Choice(going_on, _tries(going_on, real))
        left = [call for call in real if call.left_ns]
        if left:
            return Choice(max(left, key=lambda call: call.start_ns))
        last = max(real, key=lambda call: call.end_ns)
        unexplained = _without(windows, last.end_ns, now_ns)
        own = max(call.end_ns - call.start_ns for call in real)
        if unexplained > max(own, UNEXPLAINED_NS):
            return Choice(None)
    # What was sent was made of the result in a way that nobody can follow.
    speaking = [call for call in real if not call.result.says_nothing] or real
    sure_ones = [call for call in speaking if call.sure] or speaking
    return _choice(sure_ones, real)


def _without(windows: Sequence[tuple[int, int]], from_ns: int, to_ns: int) -> int:
    """Measures how much of the time is in none of `windows`, which are in order."""
    left, at = 0, from_ns
    for start_ns, end_ns in windows:
        if start_ns >= to_ns:
            break
        left += max(0, start_ns - at)
        at = max(at, end_ns)
    return left + max(0, to_ns - at)


def _choice(alike: list[Candidate], real: Sequence[Candidate]) -> Choice:
    """Chooses the last of those that nothing tells apart, and what went before it."""
    outer = [call for call in alike if not any(_is_around(other, call) for other in alike)]
    good = [call for call in outer if call.error_type is None] or outer
    call = max(good, key=lambda one: one.end_ns)
    functions = {one.by for one in good}
    unclear = len(good) if len(functions) > 1 or any(_is_beside(one, call) for one in good) else 0
    return Choice(call, _tries(call, real), unclear)


def _nearest(calls: Sequence[Candidate]) -> list[Candidate]:
    """Leaves out those that were made elsewhere, by a function called nearer to the loop, too."""
    near: dict[int, int] = {}
    for call in calls:
        near[id(call.by)] = min(call.outside, near.get(id(call.by), call.outside))
    return [call for call in calls if call.outside == near[id(call.by)]]


def _is_beside(other: Candidate, call: Candidate) -> bool:
    """Tells two calls in other threads or tasks, of which nothing says which the loop has made."""
    return other.strand != call.strand and (
        bool(call.outside) or (other.start_ns < call.end_ns and call.start_ns < other.end_ns)
    )


def _tries(call: Candidate, real: Sequence[Candidate]) -> Sequence[Candidate]:
    """Lists the earlier ones of its function that failed."""
    return [
        one
        for one in real
        if one is not call
        and one.by == call.by
        and one.error_type
        and one.end_ns <= (call.end_ns or call.start_ns)
    ]


def _going_on(calls: Sequence[Candidate], real: Sequence[Candidate]) -> Candidate | None:
    """Finds the call that is still in progress, the last of one function, if there is one, that
    has given no result in another call."""
    found = [call for call in calls if not call.end_ns]
    outer = [call for call in found if not any(_is_around(other, call) for other in found)]
    if len({call.by for call in outer}) != 1:
        return None
    last = max(outer, key=lambda call: call.start_ns)
    done = any(call.by == last.by and call.error_type is None for call in real)
    return None if done else last


def _is_around(outer: Candidate, inner: Candidate) -> bool:
    around = inner.around
    while around is not None:
        if around is outer:
            return True
        around = around.around
    return False


def _producers(alike: list[Candidate]) -> list[Candidate]:
    """Leaves out those that were given the result of another one and hand it on."""
    made = {call.result.identity: call for call in alike if not call.result.says_nothing}
    found = [
        call
        for call in alike
        if not any(identity in call.given and maker is not call for identity, maker in made.items())
    ]
    return found or alike


class _Sent:
    """A result as it is sent to the model."""

    def __init__(self, sent: object) -> None:
        self._objects = set(_identities(sent))
        self._texts = list(_texts_sent(sent))
        self._whole = "\n".join(self._texts)

    def holds(self, result: Result) -> int:
        """Rates how much of a result is in it."""
        if not self._texts and not self._objects:
            return NONE
        if result.identity in self._objects and not (
            type(result.kept) in IMMUTABLE and len(str(result.kept)) < 2
        ):
            return THE_VERY
        texts = result.texts
        if not texts:
            return EQUAL if result.says_nothing and self._whole == str(result.kept) else NONE
        if len(texts) == 1 and (self._whole == texts[0] or texts[0] in self._texts):
            return EQUAL
        if result.says_nothing:
            return NONE
        found = list(filter(self._has, texts))
        return FOUND if 2 * len(found) > len(texts) and max(map(len, found)) > 2 else NONE

    def _has(self, text: str) -> bool:
        return (
            text in self._whole
            or any(
                json.dumps(text, ensure_ascii=ascii_only)[1:-1] in self._whole
                for ascii_only in (True, False)
            )
            or (text in ("True", "False") and text.lower() in self._whole)
        )


def _identities(sent: Any) -> Iterator[int]:
    yield id(sent)
    if type(sent) in (list, tuple):
        for block in sent[:MAX_TEXTS]:
            yield id(block)
            if type(block) is dict:
                yield from map(id, block.values())


def _texts_sent(sent: Any) -> Iterator[str]:
    """Reads all texts of a result's content, whole: a text, or blocks."""
    waiting: list[Any] = [sent]
    for _ in range(1_000):
        if not waiting:
            return
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            waiting += reversed(list(one.values()))
        elif isinstance(one, list | tuple):
            waiting += reversed(one)
        elif one is not None and not isinstance(one, int | float | bool):
            waiting += reversed(list(static_attributes.own(one).values()))
