"""All wrapping and unwrapping of model SDKs, and the one sync/async pair for calls."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from causepath.calls.model_call import IN_PROGRESS, ModelCall
from causepath.guard import harmless
from causepath.otel.operation import detach
from causepath.providers.provider import Seam
from causepath.replies.stream_events import observed_async_events, observed_events

if TYPE_CHECKING:
    from collections.abc import Callable

    from causepath.calls.tracing import Telemetry
    from causepath.providers.provider import Provider, Target

MARK = "__causepath_wrapped__"


class Patches:
    """What has been wrapped, so that it can be put back."""

    def __init__(self) -> None:
        self._undo: list[tuple[Any, str, Any, Any]] = []

    @harmless(None)
    def apply(self, provider: Provider, telemetry: Telemetry) -> None:
        """Wrap every target of `provider`; a target that this release lacks is left out."""
        for target in provider.targets:
            self.wrap(target.module, target.name, _wrapper(target, provider, telemetry))

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
        wrapper = functools.wraps(original)(make(original))
        setattr(wrapper, MARK, True)
        setattr(owner, name, wrapper)
        self._undo.append((owner, name, original, wrapper))

    @harmless(None)
    def undo(self) -> None:
        """Put everything back that nobody has wrapped again since; who has, or who holds on to what
        was there, gets to the function itself through ours."""
        for owner, name, original, wrapper in reversed(self._undo):
            if owner.__dict__.get(name) is wrapper:
                setattr(owner, name, original)
            _pass_through(wrapper)
        self._undo.clear()


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


def _wrapper(
    target: Target, provider: Provider, telemetry: Telemetry
) -> Callable[[Any], Callable[..., Any]]:
    """How a function at this seam is wrapped. Only the line with `await` needs two versions."""
    match target.seam, target.is_async:
        case Seam.CALL, False:
            return lambda original: _call(original, provider, telemetry)
        case Seam.CALL, True:
            return lambda original: _async_call(original, provider, telemetry)
        case Seam.BODY, False:
            return _body
        case Seam.RESPONSE, False:
            return _response
        case Seam.RESPONSE, True:
            return _async_response
        case Seam.PAUSE, False:
            return _pause
        case Seam.PAUSE, True:
            return _async_pause
        case Seam.SPAN, False:
            return lambda original: _span(original, telemetry)
        case Seam.TOOL, False:
            return lambda original: _tool(original, provider, telemetry)
        case Seam.TOOL, True:
            return lambda original: _async_tool(original, provider, telemetry)
        case Seam.EVENTS, False:
            return lambda original: _events(original, observed_events)
        case _:
            return lambda original: _events(original, observed_async_events)


def _call(original: Any, provider: Provider, telemetry: Telemetry) -> Callable[..., Any]:
    def request(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = telemetry.model_call(provider, self, args, kwargs)
        if call is None:
            with _no_call():
                return original(self, *args, **kwargs)
        with call:
            return original(self, *call.args, **call.kwargs)

    return request


def _async_call(original: Any, provider: Provider, telemetry: Telemetry) -> Callable[..., Any]:
    async def request(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = telemetry.model_call(provider, self, args, kwargs)
        if call is None:
            with _no_call():
                return await original(self, *args, **kwargs)
        call.is_async = True
        with call:
            return await original(self, *call.args, **call.kwargs)

    return request


def _body(original: Any) -> Callable[..., Any]:
    def build_request(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = IN_PROGRESS.get()
        if call is None:
            return original(self, *args, **kwargs)
        if call.reads_request:
            call.sends(args, kwargs)
        request = original(self, *args, **kwargs)
        call.sending(request)
        return request

    return build_request


def _response(original: Any) -> Callable[..., Any]:
    def process_response(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = IN_PROGRESS.get()
        try:
            result = original(self, *args, **kwargs)
        except Exception:
            if call is not None:
                call.refused(kwargs.get("response"))
            raise
        if call is not None:
            call.responded(kwargs.get("response"), result)
        return result

    return process_response


def _async_response(original: Any) -> Callable[..., Any]:
    async def process_response(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = IN_PROGRESS.get()
        try:
            result = await original(self, *args, **kwargs)
        except Exception:
            if call is not None:
                call.refused(kwargs.get("response"))
            raise
        if call is not None:
            call.responded(kwargs.get("response"), result)
        return result

    return process_response


def _pause(original: Any) -> Callable[..., Any]:
    def sleep_for_retry(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _pausing(kwargs):
            return original(self, *args, **kwargs)

    return sleep_for_retry


def _async_pause(original: Any) -> Callable[..., Any]:
    async def sleep_for_retry(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _pausing(kwargs):
            return await original(self, *args, **kwargs)

    return sleep_for_retry


def _tool(original: Any, provider: Provider, telemetry: Telemetry) -> Callable[..., Any]:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        operation = telemetry.tool_calls.of_sdk(provider, self.name, original, args, kwargs)
        if operation is None:
            result = original(self, *args, **kwargs)
            telemetry.tool_calls.sdk_returned(provider, result)
            return result
        with operation:
            result = original(self, *args, **kwargs)
            operation.returned(result)
            return result

    return call


def _async_tool(original: Any, provider: Provider, telemetry: Telemetry) -> Callable[..., Any]:
    async def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        operation = telemetry.tool_calls.of_sdk(provider, self.name, original, args, kwargs)
        if operation is None:
            result = await original(self, *args, **kwargs)
            telemetry.tool_calls.sdk_returned(provider, result)
            return result
        with operation:
            result = await original(self, *args, **kwargs)
            operation.returned(result)
            return result

    return call


def _span(original: Any, telemetry: Telemetry) -> Callable[..., Any]:
    def start(self: Any, *args: Any, **kwargs: Any) -> Any:
        telemetry.set_up()
        return original(self, *args, **kwargs)

    return start


def _events(original: Any, observed: Callable[..., Any]) -> Callable[..., Any]:
    def stream(self: Any, *args: Any, **kwargs: Any) -> Any:
        # Older releases make the iterator before the response seam has seen the response, so whose
        # it is gets asked when the first event is.
        reader = functools.partial(_call_of, getattr(self, "response", None))
        return observed(original(self, *args, **kwargs), reader)

    return stream


@harmless(nullcontext())
def _pausing(arguments: dict[str, Any]) -> AbstractContextManager[None]:
    return _Pause(arguments)


class _Pause(AbstractContextManager[None]):
    """The pause between two attempts of the model call in progress."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._response = arguments.get("response")
        self._call = IN_PROGRESS.get()

    @harmless(None)
    def __enter__(self) -> None:
        if self._call is not None:
            self._call.attempt_failed(self._response, sys.exc_info()[1])

    @harmless(None)
    def __exit__(self, *exc: object) -> None:
        if self._call is not None:
            self._call.attempt_again()


@harmless(nullcontext())
def _no_call() -> AbstractContextManager[object]:
    """Another request of the SDK inside a model call, of a middleware say, is not that call."""
    return nullcontext() if IN_PROGRESS.get() is None else _NoCall()


class _NoCall(AbstractContextManager[None]):
    @harmless(None)
    def __enter__(self) -> None:
        self._progress = IN_PROGRESS.set(None)

    @harmless(None)
    def __exit__(self, *exc: object) -> None:
        detach(self._progress)


@harmless(None)
def _call_of(response: Any) -> ModelCall | None:
    call = response.extensions.get("causepath.call")
    return call if isinstance(call, ModelCall) else None
