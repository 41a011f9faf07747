"""The application's functions, measured while replies ask for them: by their own code.

While a tool is asked for, each function that may carry it out has code that tells of its calls
(`telling_code.py`); when nothing asks any more, it has its own again. The function itself, whoever
holds it, and the class or module it is in are never touched.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import sys
import types
import weakref
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from causepath import forks
from causepath.calls.candidates import RUNNING
from causepath.calls.matching import Given
from causepath.code import static_attributes
from causepath.code.ownership import is_application
from causepath.guard import harmless
from causepath.otel.operation import Refused
from causepath.tool_functions.measured_code import telling_code, with_teller
from causepath.tool_functions.measured_functions import CACHED, declared
from causepath.tool_functions.wrapping import ends_later

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from types import CodeType, FrameType, FunctionType, TracebackType

    from causepath.calls.candidates import Candidate

    Found = Callable[["Teller", str, "Given", bool], Candidate | Refused | None]

MAX_TELLERS = 10_000
"""Functions that are measured at a time; more are left alone."""

MAX_NAMES = 1_000
"""Tools that functions are known to carry out; of more, the oldest that nothing asks for is
forgotten, until a reply asks for it again."""

MAX_INNER = 100
"""Calls that were not what is asked for, after which a tool that uses another one is left alone."""

MAX_OUTSIDE = 1_000
"""The same of calls in no tool, after which a function is left alone while that is asked for."""

MAX_WRAPPED = 10
"""Functions around one another that are looked through."""

_calls: dict[int, _Call] = {}
"""The calls in progress, by the id of their frame."""

_serials = itertools.count(1)


class Way(NamedTuple):
    """The names and places that a function is known by."""

    resolve: Callable[[Sequence[Any]], Iterable[str]]
    """From the values that a call is given, the names of the tools that it may carry out."""
    strict: bool
    """Whether calls are left out whose arguments do not tell that they are what was asked for."""


@dataclass(frozen=True)
class Only:
    """A function that carries out this tool, whatever it is given."""

    name: str

    def __call__(self, values: Sequence[Any]) -> Iterable[str]:  # noqa: ARG002
        return (self.name,)


class Teller:
    """The link between the code of one function and the tools that it may carry out."""

    __slots__ = (
        "__weakref__",
        "_asked",
        "_found",
        "_function",
        "_holders",
        "_missed",
        "_unsure",
        "names",
        "plain",
        "serial",
        "telling",
        "ways",
    )

    def __init__(
        self, function: FunctionType, plain: CodeType, found: Found, asked: set[str]
    ) -> None:
        # The code holds on to this, and nothing is ever collected that code holds on to and that
        # holds on to the code.
        self._function = weakref.ref(function)
        self.telling: weakref.ref[CodeType] | None = None
        """Its code while it tells."""
        self._found = found
        self.plain = plain
        self.ways: dict[Way, None] = {}
        self.names: set[str] = set()
        """The tools it may carry out."""
        self._asked = asked
        """Those that replies ask for just now, of all functions."""
        self.serial = 0
        self._missed = 0
        """Calls in a row that were not what is asked for."""
        self._unsure: weakref.WeakSet[Candidate] = weakref.WeakSet()
        """Calls that were taken for it by its name alone."""
        self._holders = sys.maxsize
        """References to the telling code, before the function has it."""

    def __reduce__(self) -> Any:
        """Pickles to nothing of ours, because another process may not have the plugin."""
        return types.SimpleNamespace, (), {"asked": bool}

    # -- what puts and takes back

    def begin(self) -> None:
        """Its tool is asked for."""
        self.serial = next(_serials)
        self._missed = 0
        self.go_on()

    def go_on(self) -> None:
        """More calls of it may come."""
        if self.names.isdisjoint(self._asked):
            return
        function = self._function()
        telling = self.telling() if self.telling is not None else None
        if function is not None and telling is not None and function.__code__ is self.plain:
            self._holders = sys.getrefcount(telling)
            function.__code__ = telling

    def end(self) -> None:
        """No more calls of it are of interest."""
        function = self._function()
        if function is not None and teller_in(function.__code__) is self:
            function.__code__ = self.plain

    def copied(self) -> CodeType | None:
        """Its code that tells, where something holds it although its function has its own again:
        another function perhaps, that the application gave the code of this one."""
        telling = self.telling() if self.telling is not None else None
        is_held = self._function() is None or sys.getrefcount(telling) > self._holders
        return telling if is_held else None

    @property
    def function(self) -> FunctionType | None:
        return self._function()

    def forget(self, name: str) -> None:
        """Notes that it is not known to carry out this tool any more."""
        self.names.discard(name)
        for way in list(self.ways):
            if isinstance(way.resolve, Only) and way.resolve.name == name:
                self.ways.pop(way, None)

    # -- what the code tells

    def asked(self) -> bool:
        """Tells whether a call may be the tool: it is not if the tool calls itself."""
        running = RUNNING.get()
        while running is not None:
            if running.by is self:
                return running.serial != self.serial
            running = running.around
        return True

    def enter(self, *given: Any) -> AbstractContextManager[Any]:
        return self._enter(given, sys._getframe(1)) or NO_CALL  # noqa: SLF001

    def told(self, result: Any) -> Any:
        """It is about to return this."""
        _returns(result, sys._getframe(1))  # noqa: SLF001
        return result

    def paused(self, item: Any) -> Any:
        """It is about to yield this."""
        _pauses(item, sys._getframe(1))  # noqa: SLF001
        return item

    def handed_over(self, items: Any) -> Any:
        """It is about to yield from these."""
        _pauses(NOTHING, sys._getframe(1))  # noqa: SLF001
        return items

    def resumed(self, sent: Any) -> Any:
        _goes_on(sys._getframe(1))  # noqa: SLF001
        return sent

    @harmless(None)
    def _enter(self, given: tuple[Any, ...], frame: FrameType) -> _Call | Refused | None:
        function = self._function()
        if function is None:
            return None
        arguments = given_to(function, self.plain, given)
        for way in list(self.ways):
            for name in way.resolve(arguments.values):
                candidate = self._found(self, name, arguments, way.strict)
                if isinstance(candidate, Refused):
                    return candidate
                if candidate is not None:
                    if candidate.is_last and self.names == {name}:
                        self.end()
                    self._missed = 0
                    if not candidate.sure:
                        self._unsure.add(candidate)
                    return _Call(candidate, id(frame), self)
        self._missed += 1
        if self._missed >= MAX_INNER:
            around = RUNNING.get()
            if around is not None:
                around.at_end.append(self.go_on)
                self.end()
            elif self._missed >= MAX_OUTSIDE:
                self.end()
                for one in self._unsure:
                    one.is_doubtful = True
        return None


@harmless(None)
def _returns(result: Any, frame: FrameType) -> None:
    call = _calls.get(id(frame))
    if call is not None:
        call.result = result


@harmless(None)
def _pauses(item: Any, frame: FrameType) -> None:
    call = _calls.get(id(frame))
    if call is not None:
        call.leave(item)


@harmless(None)
def _goes_on(frame: FrameType) -> None:
    call = _calls.get(id(frame))
    if call is not None:
        call.go_on()


NO_CALL = nullcontext()

NOTHING = object()

MAX_ITEMS = 20
"""Of what a generator yields, that its result is recognised by."""


class _Call:
    """One call of a function that may be a tool."""

    __slots__ = ("_candidate", "_frame", "_items", "_step", "_teller", "result")

    def __init__(self, candidate: Candidate, frame: int, teller: Teller) -> None:
        self._candidate = candidate
        self._frame = frame
        self._teller = teller
        self._step: AbstractContextManager[None] | None = None
        self._items: list[Any] = []
        self.result: Any = NOTHING

    @harmless(None)
    def __enter__(self) -> None:
        _calls[self._frame] = self
        self.go_on()

    @harmless(None)
    def go_on(self) -> None:
        if self._step is None:
            self._step = self._candidate.step()
            self._step.__enter__()

    @harmless(None)
    def leave(self, item: Any = NOTHING) -> None:
        step, self._step = self._step, None
        if step is not None:
            step.__exit__(None, None, None)
        if item is not NOTHING and len(self._items) < MAX_ITEMS:
            self._items.append(item)

    @harmless(None)
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _calls.pop(self._frame, None)
        self.leave()
        self._teller.go_on()
        if error is None:
            result = None if self.result is NOTHING else self.result
            if ends_later(result, self._candidate):
                return
            self._candidate.returned(self._items or result)
        self._items = []
        self._candidate.end(error)


@functools.lru_cache(maxsize=1_000)
def _layout(code: CodeType) -> tuple[tuple[str, ...], bool, bool]:
    count = code.co_argcount + code.co_kwonlyargcount
    return (
        code.co_varnames[:count],
        bool(code.co_flags & inspect.CO_VARARGS),
        bool(code.co_flags & inspect.CO_VARKEYWORDS),
    )


def given_to(function: FunctionType, code: CodeType, given: tuple[Any, ...]) -> Given:
    """Returns the arguments of a call of a function, by its own parameters."""
    names, has_args, has_kwargs = _layout(code)
    named = dict(zip(names, given, strict=False))
    defaults = function.__defaults__ or ()
    first = code.co_argcount - len(defaults)
    left_out = {
        name
        for name, value in zip(names[first:], defaults, strict=False)
        if named.get(name) is value
    }
    for name, value in (function.__kwdefaults__ or {}).items():
        if named.get(name) is value:
            left_out.add(name)
    values: list[Any] = list(given[: len(names)])
    rest = list(given[len(names) :])
    if has_args:
        args = rest.pop(0)
        if args:
            named[code.co_varnames[len(names)]] = args
            values += args
    if has_kwargs and rest:
        named.update(rest[0])
        values += rest[0].values()
    for own in ("self", "cls"):
        if names and names[0] == own:
            named.pop(own, None)
    chosen = [value for name, value in named.items() if name not in left_out]
    return Given(named, chosen, tuple(values))


def teller_in(code: CodeType) -> Teller | None:
    """Finds the teller that this code reports to."""
    return next((one for one in code.co_consts if type(one) is Teller), None)


class Tellers:
    """The functions that report their calls, and the tools they do it for."""

    def __init__(self, found: Found) -> None:
        self._found = found
        self._telling: weakref.WeakKeyDictionary[Any, CodeType | None] = weakref.WeakKeyDictionary()
        """By function, its code that tells; `None` where there can be none."""
        self._by_name: dict[str, weakref.WeakSet[Teller]] = {}
        self._asked: set[str] = set()
        forks.living.add(self)

    def after_fork(self) -> None:
        """Forgets in a child process what the parent was asked for."""
        for name in list(self._asked):
            self.quiet(name)

    def tell(self, value: Any, name: str, way: Way) -> bool:
        """Measure what in the application carries out calls of `value`; false where that cannot be.

        Never what is a library's: its code is everybody's.
        """
        about = declared(value)
        if about is not None:
            if len(about.also) >= MAX_NAMES:
                about.also.clear()  # what is asked for again is found again
            about.also.add(name)
            return True
        told = False
        for function in own_functions(value):
            teller = self._teller(function)
            if teller is not None:
                teller.ways[way] = None
                teller.names.add(name)
                self._tellers_of(name).add(teller)
                if name in self._asked:
                    teller.begin()
                told = True
        return told

    def _tellers_of(self, name: str) -> weakref.WeakSet[Teller]:
        known = self._by_name.get(name)
        if known is None:
            if len(self._by_name) >= MAX_NAMES:
                self._forget_oldest()
            # Threads may be at it at once, and all have to come by the same.
            known = self._by_name.setdefault(name, weakref.WeakSet())
        return known

    def _forget_oldest(self) -> None:
        for name in list(self._by_name):
            if name not in self._asked:
                for teller in list(self._by_name.pop(name, ())):
                    teller.forget(name)
                return

    def names(self, function: object) -> list[str]:
        """The tools that a function was found to carry out."""
        return [
            name
            for name, tellers in list(self._by_name.items())
            if any(teller.function is function for teller in list(tellers))
        ]

    def _teller(self, function: FunctionType) -> Teller | None:
        code = function.__code__
        teller = teller_in(code)
        if teller is not None:
            known: object = teller.function
            if known is function:
                return teller
            # The application gave it the code of that one meanwhile.
            function.__code__ = code = teller.plain
        if function in self._telling:
            telling = self._telling[function]
            teller = teller_in(telling) if telling is not None else None
            if teller is None or teller.plain is code:
                return teller
        elif len(self._telling) >= MAX_TELLERS:
            return None
        made = telling_code(function, code)
        if made is not None:
            teller = Teller(function, code, self._found, self._asked)
            made = with_teller(made, teller)
            teller.telling = weakref.ref(made)
        # Threads may be at it at once, and all have to come by the same.
        telling = self._telling.setdefault(function, made)
        teller = teller_in(telling) if telling is not None else None
        if teller is not None and teller.plain is not code:
            self._telling[function] = made
            teller = teller_in(made) if made is not None else None
        return teller

    def ask(self, names: Iterable[str]) -> None:
        """Replies ask for these."""
        for name in names:
            self._asked.add(name)
            for teller in list(self._by_name.get(name, ())):
                teller.begin()

    def quiet(self, name: str) -> None:
        """Notes that nothing asks for this any more."""
        self._asked.discard(name)
        for teller in list(self._by_name.get(name, ())):
            if teller.names.isdisjoint(self._asked):
                self._end(teller)

    def _end(self, teller: Teller) -> None:
        teller.end()
        copied = teller.copied()
        for function in self._near(teller) if copied is not None else ():
            if function.__code__ is copied:
                function.__code__ = teller.plain

    def _near(self, teller: Teller) -> Iterator[FunctionType]:
        """The functions that the application may have given the code of this one, as it does when
        it exchanges a function of a module or of a class for a newer one."""
        yield from list(self._telling)
        scope = getattr(teller.function, "__globals__", {})
        for value in list(scope.values()):
            members = (
                static_attributes.members(value).values() if issubclass(type(value), type) else ()
            )
            for one in (value, *list(members)):
                if type(one) is types.FunctionType:
                    yield one

    def go_on(self, function: FunctionType) -> None:
        """This function is about to be called elsewhere, perhaps although an earlier call of it is
        still in progress."""
        telling = self._telling.get(function)
        teller = teller_in(telling) if telling is not None else None
        if teller is not None:
            teller.go_on()

    def undo(self) -> None:
        for telling in list(self._telling.values()):
            teller = teller_in(telling) if telling is not None else None
            if teller is not None:
                self._end(teller)
        self._asked.clear()
        self._by_name.clear()


def own_functions(value: Any) -> list[FunctionType]:
    """The functions of the application that calls of `value` come to: the outermost one, and where
    that only makes a coroutine or a generator, those that it makes one of."""
    for _ in range(MAX_WRAPPED):
        kind = type(value)
        if kind is types.MethodType or kind is staticmethod or kind is classmethod:
            value = value.__func__
        elif kind is functools.partial:
            value = value.func
        elif kind is not types.FunctionType:
            if not isinstance(value, CACHED):
                return []
            value = value.__wrapped__
        elif is_application(value.__globals__.get("__name__")):
            return [value, *_runs_later(value)]
        else:
            inner = vars(value).get("__wrapped__")
            if inner is None:
                return []
            value = inner
    return []


LATER = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_GENERATOR


def _runs_later(function: FunctionType) -> list[FunctionType]:
    """Coroutine functions and generators that a plain function names, and may give calls of."""
    code = function.__code__
    if code.co_flags & LATER:
        return []
    cells = [cell.cell_contents for cell in function.__closure__ or () if cell != EMPTY]
    named = [function.__globals__.get(name) for name in code.co_names]
    members = [
        found[1]
        for value in cells
        for name in code.co_names
        if (found := static_attributes.member(type(value), name)) is not None
    ]
    functions = (
        value.__func__ if type(value) is types.MethodType else value
        for value in (*cells, *named, *members)
    )
    return [
        value
        for value in functions
        if type(value) is types.FunctionType
        and value.__code__.co_flags & LATER
        and is_application(value.__globals__.get("__name__"))
    ]


EMPTY = types.CellType()
