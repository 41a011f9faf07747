"""The host comes first: whatever of ours fails, the application sees what it sees without us."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import contextvars
import faulthandler
import gc
import importlib
import inspect
import json
import logging
import os
import pkgutil
import subprocess
import sys
import threading
import types
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

import causepath
from causepath import guard, instrumentor
from tests.plugin import ways
from tests.plugin.ways import ASK, HELLO, LIMITED, SAID, W, failure, seen
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording, set_global_provider
from tests.support.script import ErrorEvent, Failure, Reply, Text, Thinking, ToolUse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.support.script import Answer, Request

CALLED_BY_THE_APPLICATION = frozenset(
    {
        "causepath.instrumentor.instrument",
        "causepath.instrumentor.uninstrument",
        "causepath.api.agent",
        "causepath.api.tool",
        "causepath.api.tools",
        "causepath.api.Agent.__init__",
        "causepath.api.budget",
        "causepath.api.budget.<locals>.<dictcomp>",
        "causepath.api.Budget.__init__",
        "causepath.api.Budget.__enter__",  # a budget is used once
        "causepath.api.Budget.__call__",
        "causepath.budgets.amounts.amount",
        "causepath.budgets.amounts._amount",
        "causepath.budgets.amounts._fits",
        "causepath.__getattr__",
    }
)
"""What is not ours to fail in, but to say that a call of it is wrong."""

RESTORES = frozenset(
    {
        "causepath.api.Agent.__exit__",
        "causepath.api.Budget.__exit__",
        "causepath.budgets.spending.BudgetedCall.__exit__",
        "causepath.budgets.spending._BudgetedStep.__exit__",
        "causepath.calls.candidates.Candidate.__exit__",
        "causepath.calls.candidates._Step.__exit__",
        "causepath.calls.model_call.ModelCall.__exit__",
        "causepath.otel.operation.Operation.__exit__",
        "causepath.otel.operation.Step.__exit__",
        "causepath.otel.operation.detach",
        "causepath.tool_functions.code_exchange._Call.__exit__",
        "causepath.tool_functions.code_exchange._Call.leave",
    }
)
"""What takes our context back: where that fails, it is left, and nothing else may be seen of it."""

GUARDED_INSIDE = frozenset(
    {
        "causepath.calls.model_call.ModelCall.event",  # as it is called for each event
        "causepath.hooks.patches._Pause.__enter__",  # which raise what budgets refuse
        "causepath.hooks.patches._Pause.__exit__",
        "causepath.replies.stream_pace.Connecting.listener.<locals>.told",
        *(
            f"causepath.tool_functions.code_exchange.Teller.{name}"  # they only look, or hand on
            for name in ("asked", "enter", "told", "paused", "handed_over", "resumed")
        ),
    }
)
"""What has the guard in it, not around it."""

STANDS_IN = {
    "causepath.hooks.patches": "what is called instead of a method of the SDK",
    "causepath.replies.stream_events": "what is iterated instead of the SDK's events",
    "causepath.hooks.carried_context": (
        "what is called instead of what hands work to a thread, or tells its future"
    ),
    "causepath.tool_functions.wrapping": "what is called instead of a function of the application",
    "causepath.tool_functions.stand_in": "what is called instead of a function of the application",
    "causepath.replies.reply_body": "what is iterated or closed instead of a response's body",
    "causepath.guard": "what catches everything",
    "causepath.arguments": "what refuses a wrong argument of the application's",
}
"""Modules of which some functions call the application's or the SDK's own: these cannot fail where
they do nothing but that, and what they do besides is in functions of its own."""


def all_code() -> dict[types.CodeType, str]:
    """The code of every function of the plugin, those inside other functions too, by its name."""
    found: dict[types.CodeType, str] = {}

    def add(code: types.CodeType, module: str) -> None:
        if code not in found:
            found[code] = f"{module}.{code.co_qualname}"
            for constant in code.co_consts:
                if isinstance(constant, types.CodeType):
                    add(constant, module)

    for info in pkgutil.walk_packages(causepath.__path__, "causepath."):
        if info.name.endswith(".auto"):
            continue
        module = importlib.import_module(info.name)
        members = [*vars(module).values()]
        for member in list(members):
            if isinstance(member, type) and member.__module__ == info.name:
                members += vars(member).values()
        for member in members:
            function = inspect.unwrap(getattr(member, "__func__", getattr(member, "fget", member)))
            if isinstance(function, types.FunctionType) and function.__module__ == info.name:
                add(function.__code__, info.name)
    return found


def edge(name: str) -> bool:
    """Whether a function stands in for one of the application or the SDK, or is called by it."""
    if name in CALLED_BY_THE_APPLICATION | GUARDED_INSIDE:
        return True
    module = next((module for module in STANDS_IN if name.startswith(f"{module}.")), None)
    return module is not None and (
        "<locals>" in name
        or module in ("causepath.arguments", "causepath.guard", "causepath.replies.stream_events")
        or name.startswith(
            (
                "causepath.hooks.carried_context.InWorker.",
                "causepath.replies.reply_body.ObservedBody.",
                "causepath.tool_functions.stand_in.Measured",
            )
        )
        or name == "causepath.tool_functions.wrapping._finish"
    )


# -- an application


def answer(request: Request) -> Answer:
    """By what is asked: a retry, an error event, tools, or a greeting."""
    question = request.question
    if question == "limited" and not request.retry:
        return LIMITED
    if question == "failing":
        return Reply("Hello, you there.", usage=SAID, interruption=ErrorEvent(after_deltas=1))
    if question == "tools" and not request.tool_results:
        return Reply([ToolUse("search", {"q": "x"}), ToolUse("look_up", {"q": "y"})])
    return HELLO


def search(q: str) -> str:
    return f"found {q}"


TOOLS: dict[str, Callable[[str], str]] = {"search": search, "look_up": lambda q: f"looked up {q}"}


async def application(w: W) -> list[Any]:
    """A bit of everything; what it saw."""

    def ask(question: str) -> dict[str, Any]:
        return {"messages": [{"role": "user", "content": question}]}

    async def loop() -> list[Any]:
        messages: list[Any] = [{"role": "user", "content": "tools"}]
        reply = await w.create(messages=messages, tools=[ways.SEARCH])
        messages.append({"role": "assistant", "content": reply.content})
        messages.append(
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": block.id,
                        "content": TOOLS[block.name](**block.input),
                    }
                    for block in reply.content
                ],
            }
        )
        return [seen(await w.create(messages=messages))]

    saw: list[Any] = []
    for one in (
        lambda: w.create(**ask("limited")),
        lambda: ways.iterate(w),
        lambda: ways.helper(w),
        lambda: ways.forwarded_bytes(w),
        lambda: ways.streamed_parse(w),
        lambda: ways.closed_early(w),
        loop,
        lambda: ways.runner_until_done(w),
        lambda: w.create(**ask("failing"), stream=True),
    ):
        try:
            result = await one()
            saw.append(await w.all(result) if hasattr(result, "response") else seen(result))
        except Exception as error:  # noqa: PERF203 - each on its own
            saw.append(failure(error))
    with causepath.agent("declared"):
        saw.append(await loop())
    # No tokens: that a fault hides how many there were is told, as it should be.
    with causepath.budget(turns=100, wall="1h"):
        saw.append(await loop())
        saw.append(seen(await w.create(**ask("limited"))))
        saw.append(seen(await ways.iterate(w)))
    saw.append([causepath.budget(turns=9)(search)("z")])
    saw.append(causepath.tool(search)("z"))
    saw.append([causepath.tools(TOOLS)["look_up"]("z")])
    return saw


class Logged(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(("httpx", "httpcore", "anthropic", "asyncio")):
            self.lines.append(f"{record.name}: {record.getMessage()}")


def run(is_async: bool, enabled: bool) -> Any:
    """The application, from the moment before it enables the plugin to the moment after."""
    provider = TracerProvider(shutdown_on_exit=False)
    set_global_provider(provider)
    logged = Logged()
    logging.getLogger().addHandler(logged)

    async def main() -> Any:
        make = anthropic.AsyncAnthropic if is_async else anthropic.Anthropic
        client: Any = make(base_url=api.url, api_key="test", max_retries=2)
        try:
            return await application(W(client, api, is_async))
        finally:
            if is_async:
                await client.close()
            else:
                client.close()

    try:
        with MessagesApi(answer) as api:
            if enabled:
                causepath.instrument()
            saw = asyncio.run(main()) if is_async else driven(main())
            if enabled:
                causepath.uninstrument()
            asked = [(one.path, one.body) for one in api.requests]
        provider.shutdown()
        left = trace.get_current_span().get_span_context().is_valid, context.get_current()
        return saw, asked, left, logged.lines
    finally:
        logging.getLogger().removeHandler(logged)
        set_global_provider(None)


def driven(coroutine: Any) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("a synchronous run has waited")


class Failing:
    """Makes the function with this code raise when it is entered for the nth time."""

    def __init__(self, code: types.CodeType, nth: int) -> None:
        self._code = code
        self._left = nth

    def __enter__(self) -> None:
        # As a profiler, as the plugin leaves some things undone where somebody traces.
        threading.setprofile(self._entered)
        sys.setprofile(self._entered)

    def __exit__(self, *exc: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]

    def _entered(self, frame: types.FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code is self._code:
            self._left -= 1
            if not self._left:
                raise RuntimeError("ours")


def entered(is_async: bool) -> dict[types.CodeType, int]:
    """How often each function of ours is entered while the application runs."""
    known, counts = all_code(), dict[types.CodeType, int]()

    def count(frame: types.FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code in known:
            counts[frame.f_code] = counts.get(frame.f_code, 0) + 1

    threading.setprofile(count)
    sys.setprofile(count)
    try:
        run(is_async, enabled=True)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    return counts


def put_back() -> None:
    """What a fault may have left half done."""
    causepath.uninstrument()
    plugin = instrumentor._PLUGIN
    patches = getattr(plugin, "_patches", None)
    if patches is not None:
        patches.undo()
    guard._reported.clear()


HANGS_AFTER_S = 60
"""A run takes a fifth of a second: where it hangs is said, and after which fault."""


def noticed(is_async: bool, faults: Sequence[tuple[types.CodeType, int]]) -> list[tuple[str, int]]:
    """Finds the faults, a function and the time that it fails, of which the application sees
    anything."""
    names = all_code()
    plain = run(is_async, enabled=False)
    wrong = []
    for code, nth in faults:
        if edge(names[code]):
            continue
        print(f"{names[code]}, the time number {nth}, fails", file=sys.stderr, flush=True)
        faulthandler.dump_traceback_later(HANGS_AFTER_S, exit=True)
        with Failing(code, nth):
            saw = contextvars.copy_context().run(run, is_async, enabled=True)
        put_back()
        faulthandler.cancel_dump_traceback_later()
        if names[code] in RESTORES:
            saw = (*saw[:2], plain[2], *saw[3:])
        if saw != plain:
            wrong.append((names[code], nth))
    return wrong


def first_time() -> tuple[bool, list[tuple[types.CodeType, int]]]:
    """Takes every fifth function; the long tests take them all."""
    counts = entered(is_async=False)
    assert len(counts) > 300
    return False, [(code, 1) for code in list(counts)[::5]]


def of_asynchronous_clients() -> tuple[bool, list[tuple[types.CodeType, int]]]:
    """Takes the functions that only these enter."""
    both = entered(is_async=False)
    return True, [(code, 1) for code in entered(is_async=True) if code not in both]


def any_time(is_async: bool, part: int) -> tuple[bool, list[tuple[types.CodeType, int]]]:
    """Takes a third: the first time that each function runs, the second and the last."""
    counts = entered(is_async)
    faults = [
        (code, nth)
        for code, count in counts.items()
        for nth in sorted({1, 2, count})
        if nth <= count
    ]
    return is_async, faults[part::3]


SELECTIONS = {
    "first time": first_time,
    "asynchronous clients": of_asynchronous_clients,
    **{
        f"{'async' if is_async else 'sync'} {part}": partial(any_time, is_async, part)
        for is_async in (False, True)
        for part in range(3)
    },
}


@pytest.mark.parametrize(
    "faults",
    [
        "first time",
        "asynchronous clients",
        *(
            pytest.param(one, marks=[pytest.mark.slow, pytest.mark.timeout(900)])
            for one in list(SELECTIONS)[2:]
        ),
    ],
)
def test_whatever_fails_the_application_sees_nothing(faults: str) -> None:
    """Each in a process of its own, as what fails in taking things back leaves them there."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.plugin.test_safety", faults],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "CAUSEPATH_DIGEST_KEY": "tests"},
        capture_output=True,
        text=True,
        timeout=850,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert json.loads(done.stdout.splitlines()[-1]) == []


class Broken(SpanExporter):
    """Raises wherever it is asked for anything."""

    def export(self, spans: object) -> Any:
        raise RuntimeError("the exporter's own")

    def shutdown(self) -> None:
        raise RuntimeError("the exporter's own")


def test_an_exporter_that_is_broken_is_nobodys_trouble() -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(Broken()))
    saw = []
    for enabled in (False, True):
        set_global_provider(provider)
        if enabled:
            causepath.instrument()
        with (
            MessagesApi(HELLO) as api,
            anthropic.Anthropic(base_url=api.url, api_key="test") as client,
        ):
            w = W(client, api, is_async=False)
            saw.append([driven(ways.create(w)), driven(ways.helper(w)), driven(ways.loop(w))])
    assert saw[0] == saw[1]


def test_turned_off_while_a_stream_is_read_and_on_again() -> None:
    with (
        MessagesApi(HELLO) as api,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
        Recording() as recording,
    ):
        causepath.instrument()
        stream = client.messages.create(**ASK, stream=True)
        first = next(stream)
        causepath.uninstrument()
        causepath.uninstrument()
        assert [first.type, *(event.type for event in stream)][-1] == "message_stop"
        causepath.instrument()
        assert client.messages.create(**ASK).content
        chats = [span for span in recording.spans() if span.name == "chat m"]
        assert len(chats) == 2
        assert all(span.end_time for span in chats)


# -- content off


SECRET = "S3CR3T"


def told(text: str) -> str:
    return f"{SECRET} {text}"


def leaky(request: Request) -> Answer:
    """Secrets in every kind of answer."""
    if SECRET in request.question and "limited" in request.question and not request.retry:
        return Failure(429, told("message of an error"), retry_after_seconds=0.001)
    if "refused" in request.question:
        return Failure(400, told("message of an error"))
    if "failing" in request.question:
        return Reply(told("text"), interruption=ErrorEvent(1, message=told("error event")))
    if "tools" in request.question and not request.tool_results:
        return Reply(
            [
                Thinking(told("thinking"), told("signature")),
                Text(told("text")),
                ToolUse("search", {"q": told("argument")}),
            ]
        )
    return Reply([Thinking(told("thinking")), Text(told("text"))])


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_no_exported_byte_holds_what_was_said(is_async: bool, tmp_path: Path) -> None:
    """In prompts, system, tools, arguments, results, errors, headers, queries, bodies and keys."""
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    from causepath.export.trace_file import TraceFile

    search_tool = {
        "name": "search",
        "description": told("description"),
        "input_schema": {"type": "object", "description": told("schema")},
    }

    async def application(w: W) -> None:
        def found(q: str) -> str:
            if "argument" in q:
                raise ValueError(told(f"exception of a tool, given {q}"))
            return told("result")

        async def ask(what: str, **more: Any) -> Any:
            content = [
                {"type": "text", "text": told(what)},
                {"type": "image", "source": {**ways.IMAGE, "data": base64_of(told("image"))}},
                {"type": "document", "source": {**ways.DOCUMENT, "data": told("document")}},
            ]
            return await w.create(
                messages=[{"role": "user", "content": content}],
                system=told("system"),
                tools=[search_tool],
                metadata={"user_id": told("user")},
                stop_sequences=[],
                extra_headers={"x-secret": told("header")},
                extra_query={"secret": told("query")},
                extra_body={"secret": told("body")},
                **more,
            )

        measured = causepath.tool(name="search")(found)
        for what, more in (
            ("plain", {}),
            ("streamed", {"stream": True}),
            ("limited", {}),
            ("refused", {}),
            ("failing", {"stream": True}),
        ):
            with contextlib.suppress(anthropic.APIError):
                reply = await ask(what, **more)
                if more:
                    await w.all(reply)
        reply = await ask("tools")
        with contextlib.suppress(ValueError):
            measured(**reply.content[-1].input)
        result = {
            "type": "tool_result",
            "tool_use_id": reply.content[-1].id,
            "content": measured("other"),
            "is_error": True,
        }
        await w.create(
            messages=[
                {"role": "user", "content": told("tools")},
                {"role": "assistant", "content": reply.to_dict()["content"]},
                {"role": "user", "content": [result]},
            ]
        )
        with contextlib.suppress(ZeroDivisionError), causepath.agent("agent"):
            raise ZeroDivisionError(told("exception of an agent"))

    path = tmp_path / "traces.jsonl"
    with MessagesApi(leaky) as api, Recording() as recording:
        recording.provider.add_span_processor(SimpleSpanProcessor(TraceFile(path)))
        make = anthropic.AsyncAnthropic if is_async else anthropic.Anthropic
        client: Any = make(base_url=api.url, api_key=told("key"), max_retries=2)
        w = W(client, api, is_async)

        async def main() -> None:
            await application(w)
            await w.of(client.close())

        asyncio.run(main()) if is_async else driven(main())
        recording.text()
        ours = [
            span
            for span in recording.spans()
            if span.instrumentation_scope and span.instrumentation_scope.name == "causepath"
        ]
        assert len(recording.spans()) > 12
        wire = encode_spans(recording.spans()).SerializeToString()
        spoken = [SECRET, base64_of(SECRET)[:8]]
        # The SDK's own span says the whole address of a request, as the application gave it.
        native = [url for span in recording.spans() if (url := span.attributes.get("url.full"))]
        for url in native:
            wire = wire.replace(url.encode(), b"")
        text = path.read_text()
        for url in native:
            text = text.replace(url, "")
        assert [word for word in spoken if word.encode() in wire or word in text] == []
        assert ours


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


if __name__ == "__main__":
    from tests.plugin import conftest  # noqa: F401 - clients are made sooner

    gc.freeze()  # what was imported is no garbage
    print(json.dumps(noticed(*SELECTIONS[sys.argv[1]]())), flush=True)
    os._exit(0)  # whatever a fault has left to run at the end
