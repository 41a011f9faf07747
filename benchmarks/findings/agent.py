"""Agents on the real SDKs, as people write them: a loop around the model, and tools that wait."""

from __future__ import annotations

import asyncio
import contextvars
import json
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import httpx2
from httpcore2 import SyncBackend

import causepath
from tests.support.messages_api import MessagesApi
from tests.support.openai_api import OpenAiApi
from tests.support.script import Reply, ToolUse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.support.script import Answer

MODELS = {"anthropic": "claude-opus-5-5", "openai": "gpt-5"}
OTHER_MODELS = {"anthropic": "claude-haiku-4-5", "openai": "gpt-5-mini"}


@dataclass(frozen=True)
class Call:
    """A tool that the model asks for."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Said:
    """What the model said."""

    text: str
    calls: Sequence[Call]


Tool = Any
"""A function that `tool` made."""


class Agent:
    """One run on one SDK."""

    def __init__(self, sdk: str, client: Any, aclient: Any) -> None:
        self.sdk, self.client, self.aclient = sdk, client, aclient
        self.model, self.other_model = MODELS[sdk], OTHER_MODELS[sdk]

    def talk(self, *tools: Tool, system: Any = None, model: str | None = None) -> Talk:
        return Talk(self, tools, system, model or self.model)

    def ask(self, question: str, *, model: str | None = None, **more: Any) -> str:
        """Asks the model once, with nothing said before."""
        return self.talk(model=model).say(question, **more).text

    def loop(
        self,
        question: str,
        *tools: Tool,
        run: Callable[[Sequence[Call], Sequence[Tool]], list[str]] | None = None,
        system: Any = None,
        stream: bool = False,
    ) -> str:
        """Asks until the model wants no more tools."""
        talk = self.talk(*tools, system=system)
        said = talk.say(question, stream=stream)
        while said.calls:
            said = talk.tell((run or in_sequence)(said.calls, tools), stream=stream)
        return said.text

    def far(self, **limits: Any) -> Agent:
        """The same agent with a client of its own, to which the API is far away."""
        transport = httpx2.HTTPTransport(verify=False, limits=httpx2.Limits(**limits))
        transport._pool._network_backend = _FarAway()  # noqa: SLF001 (there is no other way)
        client = type(self.client)(
            base_url=str(self.client.base_url),
            api_key="t",
            http_client=httpx2.Client(transport=transport),
        )
        return Agent(self.sdk, client, self.aclient)

    async def aloop(self, question: str, *tools: Tool, together: bool = False) -> str:
        """As `loop`, with the client that is awaited."""
        talk = self.talk(*tools)
        said = await talk.asay(question)
        while said.calls:
            awaited = [acalled(call, tools) for call in said.calls]
            if together:
                results = await asyncio.gather(*awaited)
            else:
                results = [await one for one in awaited]
            said = await talk.atell(results)
        return said.text


class _FarAway(SyncBackend):
    """A network in which it takes a while until there is a connection."""

    def connect_tcp(self, *args: Any, **kwargs: Any) -> Any:
        time.sleep(0.25)
        return super().connect_tcp(*args, **kwargs)


class Talk:
    """One conversation, in the form that its SDK wants."""

    def __init__(self, agent: Agent, tools: Sequence[Tool], system: Any, model: str) -> None:
        self.agent, self.tools, self.system, self.model = agent, tools, system, model
        self.messages: list[Any] = []
        self.said = Said("", ())

    def say(self, text: str, **more: Any) -> Said:
        self.messages.append({"role": "user", "content": text})
        return self._ask(**more)

    def tell(self, results: Sequence[str], **more: Any) -> Said:
        """Tells the model what the tools returned that it asked for last."""
        self._tell(results)
        return self._ask(**more)

    async def asay(self, text: str) -> Said:
        self.messages.append({"role": "user", "content": text})
        return self._take(await self._create(self.agent.aclient)(**self._request()))

    async def atell(self, results: Sequence[str]) -> Said:
        self._tell(results)
        return self._take(await self._create(self.agent.aclient)(**self._request()))

    def _tell(self, results: Sequence[str]) -> None:
        pairs = list(zip(self.said.calls, results, strict=True))
        if self.agent.sdk == "anthropic":
            told = [
                {"type": "tool_result", "tool_use_id": call.id, "content": result}
                for call, result in pairs
            ]
            self.messages.append({"role": "user", "content": told})
        else:
            self.messages += [
                {"role": "tool", "tool_call_id": call.id, "content": result}
                for call, result in pairs
            ]

    def _create(self, client: Any) -> Any:
        if self.agent.sdk == "anthropic":
            return client.messages.create
        return client.chat.completions.create

    def _request(self) -> dict[str, Any]:
        told = [(tool.called, tool.about) for tool in self.tools]
        schema = {"type": "object", "properties": {}}
        request: dict[str, Any] = {"model": self.model, "messages": list(self.messages)}
        if self.agent.sdk == "anthropic":
            request["max_tokens"] = 4_000
            if self.system is not None:
                request["system"] = self.system
            if told:
                request["tools"] = [
                    {"name": name, "description": about, "input_schema": schema}
                    for name, about in told
                ]
            return request
        if self.system is not None:
            request["messages"].insert(0, {"role": "system", "content": self.system})
        if told:
            request["tools"] = [
                {
                    "type": "function",
                    "function": {"name": name, "description": about, "parameters": schema},
                }
                for name, about in told
            ]
        return request

    def _ask(self, *, stream: bool = False, pause: float = 0.0, **more: Any) -> Said:
        """Asks the model; whoever reads a stream waits so long at its first piece."""
        client = self.agent.client.with_options(**more) if more else self.agent.client
        if not stream:
            return self._take(self._create(client)(**self._request()))
        if self.agent.sdk == "anthropic":
            with client.messages.stream(**self._request()) as events:
                for number, _ in enumerate(events):
                    if number == 3:
                        time.sleep(pause)
                return self._take(events.get_final_message())
        more_of_it = {"stream_options": {"include_usage": True}}
        with client.chat.completions.stream(**self._request(), **more_of_it) as chunks:
            for number, _ in enumerate(chunks):
                if number == 3:
                    time.sleep(pause)
            return self._take(chunks.get_final_completion())

    def _take(self, reply: Any) -> Said:
        if self.agent.sdk == "anthropic":
            self.messages.append({"role": "assistant", "content": reply.content})
            text = "".join(one.text for one in reply.content if one.type == "text")
            calls = [
                Call(one.id, one.name, dict(one.input))
                for one in reply.content
                if one.type == "tool_use"
            ]
        else:
            message = reply.choices[0].message
            self.messages.append(message)
            text = message.content or ""
            calls = [
                Call(one.id, one.function.name, json.loads(one.function.arguments))
                for one in message.tool_calls or ()
            ]
        self.said = Said(text, calls)
        return self.said


# -- tools


def tool(
    name: str,
    *results: Any,
    seconds: float = 0.2,
    read_only: bool | None = None,
    first: float = 0.0,
    about: str = "",
) -> Tool:
    """A tool that waits, then returns the next of `results`; an exception among them is raised.

    The last one is for all calls that remain; a function of the arguments is called. The `first`
    call takes so many seconds more.
    """
    left = list(results)
    lock = threading.Lock()

    def called(**arguments: Any) -> str:
        nonlocal first
        with lock:
            waited, first = seconds + first, 0.0
            result = left.pop(0) if len(left) > 1 else left[0]
        time.sleep(waited)
        return _result(result, arguments)

    made: Any = causepath.tool(called, name=name, read_only=read_only)
    return _Named(made, name, about)


def atool(name: str, *results: Any, seconds: float = 0.2) -> Tool:
    """As `tool`, to be awaited."""
    left = list(results)

    async def called(**arguments: Any) -> str:
        result = left.pop(0) if len(left) > 1 else left[0]
        await asyncio.sleep(seconds)
        return _result(result, arguments)

    return _Named(causepath.tool(called, name=name), name)


def _result(result: Any, arguments: dict[str, Any]) -> str:
    if isinstance(result, BaseException):
        raise result
    return str(result(arguments) if callable(result) else result)


class _Named:
    """A tool and its name."""

    def __init__(self, function: Callable[..., Any], called: str, about: str = "") -> None:
        self.function, self.called, self.about = function, called, about or called

    def __call__(self, **arguments: Any) -> Any:
        return self.function(**arguments)


def called(call: Call, tools: Sequence[Tool]) -> str:
    """Runs the tool that `call` asks for; the model gets to see what went wrong."""
    try:
        return str(_of(call, tools)(**call.arguments))
    except (OSError, ValueError) as error:
        return repr(error)


async def acalled(call: Call, tools: Sequence[Tool]) -> str:
    return str(await _of(call, tools)(**call.arguments))


def _of(call: Call, tools: Sequence[Tool]) -> Tool:
    return next(one for one in tools if one.called == call.name)


def in_sequence(calls: Sequence[Call], tools: Sequence[Tool]) -> list[str]:
    return [called(call, tools) for call in calls]


def in_threads(calls: Sequence[Call], tools: Sequence[Tool]) -> list[str]:
    return together([lambda call=call: called(call, tools) for call in calls])


def together(functions: Sequence[Callable[[], Any]], workers: int = 32) -> list[Any]:
    """Calls `functions` at once, on threads that know which run they work for."""
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(contextvars.copy_context().run, one) for one in functions]
        return [future.result() for future in futures]


# -- what the model says


def api(sdk: str, replies: Sequence[Answer]) -> MessagesApi:
    """A server that gives `replies` in order, each of whose calls has an id of its own."""
    kind = MessagesApi if sdk == "anthropic" else OpenAiApi
    return kind([_own_ids(one) for one in replies])


def _own_ids(answer: Answer) -> Answer:
    if not isinstance(answer, Reply):
        return answer
    return replace(answer, content=list(_with_ids(answer)))


def _with_ids(reply: Reply) -> Iterator[Any]:
    for block in reply.blocks:
        yield replace(block, id=f"call_{uuid.uuid4().hex}") if isinstance(block, ToolUse) else block
