"""All wrapping and unwrapping of model SDKs, and the one sync/async pair for calls.

What an SDK looks like inside, its provider knows; what goes on around a call is told by its seam.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
import types
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from causepath.budgets.spending import here as open_budget
from causepath.calls.model_call import IN_PROGRESS, ModelCall
from causepath.guard import harmless
from causepath.otel.operation import detach
from causepath.providers.provider import Seam
from causepath.replies.stream_events import observed_async_events, observed_events

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from types import ModuleType

    from causepath.budgets.spending import Spending
    from causepath.calls.model_calls import ModelCalls
    from causepath.calls.tool_calls import ToolCalls
    from causepath.providers.provider import Provider, Target

MARK = "__causepath_wrapped__"


class Hooks(Protocol):
    """The places of one kind where other people's code is patched."""

    @property
    def modules(self) -> Collection[str]:
        """Names the modules that have such places."""

    def wrap(self, module: ModuleType, patches: Patches) -> None:
        """Wraps what one of these modules has, which has just been imported perhaps."""


class Patches:
    """The functions that have been wrapped, so that they can be put back."""

    def __init__(self) -> None:
        self._undo: list[tuple[Any, str, Any, Any]] = []
        self._inside: list[tuple[Any, Any, Any]] = []

    @harmless(None)
    def apply(
        self,
        provider: Provider,
        model_calls: ModelCalls,
        tool_calls: ToolCalls,
        set_up: Callable[[], object],
    ) -> None:
        """Wrap every target of `provider`; a target that this release lacks is left out.

        `set_up` is called before the SDK begins a span of its own.
        """
        for target in provider.targets:
            beginning = _beginning(target, provider, model_calls, tool_calls, set_up)
            self.wrap(target.module, target.name, _wrapper(target, beginning))

    @harmless(None)
    def wrap(self, module: str, name: str, make: Callable[[Any], Any]) -> None:
        """Put `make(function)` in the place of a function, given by its dotted name."""
        owner: Any = importlib.import_module(module)
        *path, name = name.split(".")
        for part in path:
            owner = getattr(owner, part)
        original = owner.__dict__.get(name)
        if original is None:
            return
        wrapper = functools.wraps(original)(make(_callable(original, owner)))
        setattr(wrapper, MARK, True)
        setattr(owner, name, wrapper)
        self._undo.append((owner, name, original, wrapper))
        for around in _around_inherited(owner, name, original):
            around.__wrapped__ = wrapper
            self._inside.append((around, original, wrapper))

    @harmless(None)
    def undo(self) -> None:
        """Put everything back that nobody has wrapped again since; who has, or who holds on to what
        was there, gets to the function itself through ours."""
        for owner, name, original, wrapper in reversed(self._undo):
            if owner.__dict__.get(name) is wrapper:
                setattr(owner, name, original)
            _pass_through(wrapper)
        self._undo.clear()
        for around, original, wrapper in self._inside:
            if around.__wrapped__ is wrapper:
                around.__wrapped__ = original
        self._inside.clear()


def _callable(original: Any, owner: Any) -> Any:
    """Makes what others have put in the place of a method callable with `self` as an argument.

    Wrappers of `wrapt` know whose method was called only if they are bound to that object.
    """
    if type(original) is types.FunctionType or not inspect.isclass(owner):
        return original
    if isinstance(original, staticmethod | classmethod) or not hasattr(original, "__get__"):
        return original

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return original.__get__(self, type(self))(*args, **kwargs)

    return functools.wraps(original)(call)


def _around_inherited(owner: Any, name: str, original: Any) -> Iterator[Any]:
    """Finds the wrappers of `wrapt` that others have put around a method of `owner` in a class that
    inherits it: calls of that class do not come by the method of `owner` any more."""
    wrapt = sys.modules.get("wrapt")  # which nobody has used if it is not imported
    if wrapt is None or not inspect.isclass(owner):
        return
    waiting, seen = [owner], {owner}
    while waiting:
        for kind in type.__subclasses__(waiting.pop()):
            if kind in seen:
                continue
            seen.add(kind)
            waiting.append(kind)
            around: Any = vars(kind).get(name)
            while issubclass(type(around), wrapt.FunctionWrapper):
                if around.__wrapped__ is original:
                    yield around
                    break
                around = around.__wrapped__


@harmless(None)
def _pass_through(wrapper: Any) -> None:
    """Let a wrapper do nothing any more but to call its original."""
    code: Any = getattr(wrapper, "__code__", None)
    if code is None or "original" not in code.co_freevars:
        return
    names = ", ".join(code.co_freevars)
    is_async = code.co_flags & inspect.CO_COROUTINE
    made: dict[str, Any] = {}
    exec(  # of nothing but our own names
        f"def around({names}):\n"
        f" {'async ' if is_async else ''}def {code.co_name}(*args, **kwargs):\n"
        f"  if 0: {names}\n"
        f"  return {'await ' if is_async else ''}original(*args, **kwargs)\n"
        f" return {code.co_name}\n",
        made,
    )
    wrapper.__code__ = made["around"](*code.co_freevars).__code__


def _wrapper(target: Target, beginning: Beginning | None) -> Callable[[Any], Callable[..., Any]]:
    """Tells how the function of a target is wrapped."""
    if beginning is None:
        return lambda original: _events(original, target)
    wrapped = _awaited if target.is_async else _called
    return lambda original: wrapped(original, beginning)


class Around(NamedTuple):
    """The hooks around one call of a patched function."""

    inside: AbstractContextManager[Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    returned: Callable[[Any], object] = lambda _: None
    """Is told the result, inside."""


Beginning: TypeAlias = "Callable[[Any, tuple[Any, ...], dict[str, Any]], Around | None]"
"""Begins what goes on around a call of a function with these arguments, if anything does."""


def _called(original: Any, beginning: Beginning) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        around = beginning(original, args, kwargs)
        if around is None:
            return original(*args, **kwargs)
        with around.inside:
            result = original(*around.args, **around.kwargs)
            around.returned(result)
            return result

    return call


def _awaited(original: Any, beginning: Beginning) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        around = beginning(original, args, kwargs)
        if around is None:
            return await original(*args, **kwargs)
        with around.inside:
            result = await original(*around.args, **around.kwargs)
            around.returned(result)
            return result

    return call


def _beginning(
    target: Target,
    provider: Provider,
    model_calls: ModelCalls,
    tool_calls: ToolCalls,
    set_up: Callable[[], object],
) -> Beginning | None:
    """Tells what goes on around a call of the function of a target, unless that gives events."""

    def call(original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Around | None:  # noqa: ARG001
        client, *given = args
        budget = open_budget()
        if budget is not None:
            refused = _refused(budget, provider, tuple(given), kwargs)
            if refused is not None:
                raise refused
        found = model_calls.begin(provider, client, tuple(given), kwargs)
        if found is None:
            return None if IN_PROGRESS.get() is None else Around(_NoCall(), args, kwargs)
        found.is_async = target.is_async
        if budget is not None:
            found.spends(budget)
        return Around(found, (client, *found.args), found.kwargs)

    def body(original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Around | None:  # noqa: ARG001
        found = IN_PROGRESS.get()
        if found is None:
            return None
        if found.reads_request:
            found.sends(args[1:], kwargs)
        return Around(
            nullcontext(), args, kwargs, lambda built: found.sending(target.extensions, built)
        )

    def response(original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Around | None:  # noqa: ARG001
        found = IN_PROGRESS.get()
        if found is None:
            return None
        responding = _Responding(found, target, args, kwargs)
        return Around(responding, args, kwargs, responding.returned)

    def attempt(original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Around | None:  # noqa: ARG001
        found = IN_PROGRESS.get()
        return None if found is None else Around(_Attempt(found, target), args, kwargs)

    def pause(original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Around | None:  # noqa: ARG001
        found = IN_PROGRESS.get()
        if found is None:
            return None
        return Around(_Pause(found, target, args, kwargs), args, kwargs)

    def tool(original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Around | None:
        use = target.tool(args, kwargs)
        if use is None:
            return None
        found = tool_calls.of_sdk(provider, use, original)
        if found is None:
            returned = functools.partial(tool_calls.sdk_returned, provider)
            return Around(tool_calls.not_measured(provider, use), args, kwargs, returned)
        return Around(found, args, kwargs, found.returned)

    def span(original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Around | None:  # noqa: ARG001
        set_up()
        return None

    if target.seam is Seam.EVENTS:
        return None
    if target.seam is Seam.CALL:
        return call  # which nothing can go wrong in: `begin` is harmless itself
    ways: dict[Seam, Beginning] = {
        Seam.BODY: body,
        Seam.RESPONSE: response,
        Seam.ATTEMPT: attempt,
        Seam.PAUSE: pause,
        Seam.TOOL: tool,
        Seam.SPAN: span,
    }
    return harmless(None)(ways[target.seam])


@harmless(None)
def _refused(
    budget: Spending, provider: Provider, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> BaseException | None:
    """Tells why a call may not begin, if it is one of a model, and may not."""
    if all(one.is_quiet() for one in budget.chain()):
        return None
    request = provider.read_request(args, kwargs)
    if request is None:
        return None
    return budget.refusal(f"call {provider.operation} {request.model}".rstrip(), strict=False)


def _events(original: Any, target: Target) -> Callable[..., Any]:
    observed = observed_async_events if target.is_async else observed_events

    def stream(*args: Any, **kwargs: Any) -> Any:
        # Older releases make the iterator before the response seam has seen the response, so whose
        # it is gets asked when the first event is.
        reader = functools.partial(_reader, target, args, kwargs)
        return observed(original(*args, **kwargs), reader)

    return stream


@harmless(None)
def _reader(target: Target, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ModelCall | None:
    response = target.response(args, kwargs, None)
    reader = response.reader if response is not None else None
    return reader if isinstance(reader, ModelCall) else None


class _Responding(AbstractContextManager[None]):
    """A response becomes what the application gets, or nothing that the SDK can make of it."""

    def __init__(
        self, call: ModelCall, target: Target, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._call, self._response = call, target.response
        self._given = args, kwargs

    @harmless(None)
    def __enter__(self) -> None:
        """Begins nothing."""

    @harmless(None)
    def returned(self, result: object) -> None:
        self._call.responded(self._response(*self._given, result), result)

    @harmless(None)
    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, Exception):
            self._call.refused(self._response(*self._given, None))


class _Attempt(AbstractContextManager[None]):
    """One attempt of the model call in progress."""

    def __init__(self, call: ModelCall, target: Target) -> None:
        self._call, self._target = call, target

    @harmless(None)
    def __enter__(self) -> None:
        self._call.attempt_begins()

    @harmless(None)
    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, Exception):
            self._call.attempt_ended(self._target.failure(error), error)


class _Pause(AbstractContextManager[None]):
    """The pause between two attempts of the model call in progress.

    There is none, nor another attempt, if a budget or the time-out of all attempts is used up.
    """

    def __init__(
        self, call: ModelCall, target: Target, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._call, self._target = call, target
        self._given = args, kwargs
        self._error = sys.exc_info()[1]

    def __enter__(self) -> None:
        refused = self._refused() or self._given_up()
        if refused is not None:
            raise refused
        self._begin()

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._call.attempt_again()
        given_up = self._given_up() if error is None else None
        if given_up is not None:
            raise given_up

    @harmless(None)
    def _begin(self) -> None:
        self._call.attempt_failed(self._target.response(*self._given, None), self._error)

    @harmless(None)
    def _refused(self) -> BaseException | None:
        refusal = self._call.refusal
        return refusal() if refusal is not None else None

    @harmless(None)
    def _given_up(self) -> Exception | None:
        deadline = self._call.deadline
        if deadline is None or not deadline.is_over(self._target.response(*self._given, None)):
            return None
        return self._target.given_up(*self._given, self._error)


class _NoCall(AbstractContextManager[None]):
    """Another request of the SDK inside a model call, of a middleware say: it is not that call."""

    @harmless(None)
    def __enter__(self) -> None:
        self._progress = IN_PROGRESS.set(None)

    @harmless(None)
    def __exit__(self, *exc: object) -> None:
        detach(self._progress)
