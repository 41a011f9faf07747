"""Agent frameworks over the SDKs: where each of them carries out a tool.

A framework is rows of a table. Where the function of the row does nothing but to carry out a tool,
its calls are measured. Where it does more, it tells of a call that is about to come (`inner`): the
instrumentations of others begin their span of the tool in between, and there is to be one.
"""

from __future__ import annotations

import contextlib
import types
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry import context as otel

from causepath.calls.announced_tool import announced, told_in
from causepath.calls.matching import named_arguments
from causepath.code import static_attributes
from causepath.code.frameworks import RUNS, TOOL_FUNCTIONS
from causepath.guard import harmless
from causepath.otel.operation import Step, detach
from causepath.tool_functions.measured_functions import dispatching, is_function
from causepath.tool_functions.wrapping import inside, is_inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import ModuleType

    from opentelemetry.context import Context

    from causepath.calls.open_runs import OpenRuns
    from causepath.calls.run_spans import RunSpans
    from causepath.calls.tool_calls import ToolCalls
    from causepath.hooks.patches import Patches
    from causepath.otel.operation import Operation
    from causepath.tool_functions.class_methods import Methods


class Carries(NamedTuple):
    """A tool call that a call of a framework's function carries out."""

    name: str
    call_id: str | None = None
    holder: Any = None
    """The object that has the `inner` functions; none where the call itself is the tool's."""
    inner: tuple[str, ...] = ()
    arguments: Any = None


def _langchain(self: Any, given: Mapping[str, Any]) -> Carries:
    return Carries(self.name, given.get("tool_call_id"), self, ("_run", "_arun"))


def _openai_agents(_: Any, given: Mapping[str, Any]) -> Carries:
    tool, context = given["function_tool"], given["context"]
    invoker = tool.on_invoke_tool
    call_id = getattr(context, "tool_call_id", None)
    if isinstance(invoker, types.FunctionType):
        return Carries(tool.name, call_id, tool, ("on_invoke_tool",))
    return Carries(tool.name, call_id, invoker, ("_invoke_tool_impl",))


def _pydantic_ai(_: Any, given: Mapping[str, Any]) -> Carries:
    context = given["ctx"]
    return Carries(
        context.tool_name or given["name"], context.tool_call_id, arguments=given["tool_args"]
    )


def _smolagents(self: Any, _: Mapping[str, Any]) -> Carries:
    return Carries(self.name, None, self, ("forward",))


def _strands(self: Any, given: Mapping[str, Any]) -> Carries:
    use = given["tool_use"]
    return Carries(use["name"], use.get("toolUseId"), self, ("_tool_func",))


def _agno(self: Any, _: Mapping[str, Any]) -> Carries:
    return Carries(self.function.name, self.call_id, self.function, ("entrypoint",))


def _autogen(self: Any, given: Mapping[str, Any]) -> Carries:
    return Carries(self.name, given.get("call_id"), self, ("run",))


def _llama_index(self: Any, _: Mapping[str, Any]) -> Carries:
    return Carries(self.metadata.name, None, self, ("_fn", "_async_fn"))


def _semantic_kernel(self: Any, given: Mapping[str, Any]) -> Carries:
    return Carries(self.fully_qualified_name, arguments=dict(given["context"].arguments))


def _haystack(self: Any, _: Mapping[str, Any]) -> Carries:
    return Carries(self.name, None, self, ("function", "async_function"))


READERS: Mapping[str, Callable[[Any, Mapping[str, Any]], Carries]] = {
    "agents": _openai_agents,
    "agno": _agno,
    "autogen": _autogen,
    "haystack": _haystack,
    "langchain": _langchain,
    "llama_index": _llama_index,
    "pydantic_ai": _pydantic_ai,
    "semantic_kernel": _semantic_kernel,
    "smolagents": _smolagents,
    "strands": _strands,
}
"""Read, for each framework of `TOOL_FUNCTIONS`, what a call of such a function carries out: from
`self`, or `None`, and the arguments by their names."""


class Frameworks:
    """The frameworks that this process has imported, and what was wrapped in them for good."""

    def __init__(self, runs: OpenRuns, run_spans: RunSpans, tool_calls: ToolCalls) -> None:
        self._runs = runs
        self._run_spans = run_spans
        self._tool_calls = tool_calls
        self._methods: Methods | None = None
        self._own: dict[tuple[int, str], weakref.ref[Any]] = {}
        """The objects that have a measured function of their own, with its name."""

    def wrap(self, module: ModuleType, patches: Patches) -> None:
        for framework, functions in TOOL_FUNCTIONS.items():
            for place, name in functions:
                if place == module.__name__:
                    patches.wrap(place, name, self._carrying_out(name, READERS[framework]))
        for name, run in RUNS:
            if name == module.__name__:
                patches.wrap(name, run, self._run)

    def _carrying_out(
        self, place: str, read: Callable[[Any, Mapping[str, Any]], Carries]
    ) -> Callable[[Any], Any]:
        """Makes what wraps a function that carries out tools, or a method, named with its class."""

        def make(original: Any) -> Any:
            has_self = "." in place

            @harmless(None)
            def opened(args: Any, kwargs: Any) -> Any:
                if not self._runs.asks():
                    return None
                given = named_arguments(original, args, kwargs)
                call = read(args[0] if has_self else None, given)
                if not call.inner:
                    return self._tool_calls.of_framework(
                        call.name, call.call_id, original, call.arguments
                    )
                for name in call.inner:
                    self._measure(call.holder, name)
                return Announcement(announced(call.name, call.call_id))

            return inside(original, opened)

        return make

    def _run(self, original: Any) -> Any:
        """Makes what wraps a generator that is a whole run."""

        @harmless(None)
        def opened(args: Any, kwargs: Any) -> Operation | None:  # noqa: ARG001
            name = getattr(args[0], "name", None)
            return self._run_spans.undeclared(name if isinstance(name, str) else "agent")

        return inside(original, opened)

    def _measure(self, holder: Any, name: str) -> None:
        """Measures the function that an object calls for a tool: its own, or a method."""
        from causepath.tool_functions.class_methods import Methods

        own = static_attributes.own(holder)
        function = own.get(name)
        if function is not None:
            if is_function(function) and not is_inside(function):
                own[name] = dispatching(function, _told)
                with contextlib.suppress(TypeError):  # of an object that nobody may watch
                    key = id(holder), name
                    self._own[key] = weakref.ref(holder, lambda _: self._own.pop(key, None))
            return
        found = static_attributes.member(type(holder), name)
        if found is not None:
            self._methods = self._methods or Methods()
            self._methods.measure(found[0], name, _told)

    def undo(self) -> None:
        """Puts back what is measured in classes and objects of the frameworks."""
        from causepath.tool_functions.stand_in import MeasuredFunction

        for (_, name), holder in list(self._own.items()):
            own = static_attributes.own(holder())
            measured = own.get(name)
            if type(measured) is MeasuredFunction:
                own[name] = measured.__wrapped__
        self._own.clear()
        if self._methods is not None:
            self._methods.undo()


def _told() -> Iterable[str]:
    """Names the tool that was announced: it is the one whose inner function is called."""
    told = told_in(otel.get_current())
    return () if told is None else (told.name,)


class Announcement:
    """An operation without a span: a framework is about to carry out a tool."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._token: Any = None

    @harmless(None)
    def __enter__(self) -> None:
        self._token = otel.attach(self._context)

    @harmless(None)
    def __exit__(self, *_: object) -> None:
        detach(self._token)

    def step(self) -> Step:
        return Step(self._context)

    def returned(self, result: object) -> None: ...

    def end(self, error: BaseException | None = None) -> None: ...
