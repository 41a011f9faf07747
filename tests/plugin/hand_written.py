"""Agents as people write them, none of which says anything of us: the ways to hold tools.

Each `run_*` gets a client, the tool calls of whose replies it carries out with `look` and `store`.
"""

from __future__ import annotations

import functools
import json
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable  # noqa: TC003 - pydantic reads it
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from pydantic import BaseModel

from tests.plugin import hand_written_tools as work
from tests.plugin.hand_written_tools import run_tool


def converse(client: Any, carry_out: Callable[[Any], object]) -> None:
    messages: list[Any] = [{"role": "user", "content": "?"}]
    while True:
        reply = client.messages.create(model="m", max_tokens=9, messages=messages)
        if reply.stop_reason != "tool_use":
            return
        messages.append({"role": "assistant", "content": reply.content})
        results = [
            {"type": "tool_result", "tool_use_id": b.id, "content": str(carry_out(b))}
            for b in reply.content
            if b.type == "tool_use"
        ]
        messages.append({"role": "user", "content": results})


# -- registries of objects


class SearchTool:
    name = "search"

    def run(self, q: str) -> str:
        return work.look(q)


class SaveTool:
    name = "save"

    def run(self, text: str) -> str:
        return work.store(text)


def by_key(client: Any) -> None:
    tools = {"search": SearchTool(), "save": SaveTool()}
    converse(client, lambda b: tools[b.name].run(**b.input))


def by_the_name_of_the_object(client: Any) -> None:
    tools = [SearchTool(), SaveTool()]
    converse(client, lambda b: next(t for t in tools if t.name == b.name).run(**b.input))


class Tool(ABC):
    @property
    @abstractmethod
    def name(self) -> str: ...

    @abstractmethod
    def execute(self, args: dict[str, Any]) -> str: ...

    def __call__(self, args: dict[str, Any]) -> str:
        return self.execute(args)


class Search(Tool):
    @property
    def name(self) -> str:
        return "search"

    def execute(self, args: dict[str, Any]) -> str:
        return work.look(args["q"])


class Save(Tool):
    @property
    def name(self) -> str:
        return "save"

    def execute(self, args: dict[str, Any]) -> str:
        return work.store(args["text"])


class Registry:
    def __init__(self) -> None:
        self._tools: OrderedDict[str, Tool] = OrderedDict()

    def register(self, tool: Tool) -> None:
        self._tools[tool.name] = tool

    def execute(self, name: str, args: dict[str, Any]) -> str:
        return self._tools[name](args)


class Agent:
    def __init__(self, client: Any) -> None:
        self.client = client
        self.registry = Registry()
        self.registry.register(Search())
        self.registry.register(Save())

    def run(self) -> None:
        converse(self.client, lambda b: self.registry.execute(b.name, b.input))


def abstract_tools(client: Any) -> None:
    Agent(client).run()


@dataclass(frozen=True)
class Record:
    name: str
    func: Callable[..., str]
    schema: dict[str, Any] = field(default_factory=dict)

    def __call__(self, **kwargs: Any) -> str:
        return self.func(**kwargs)


def dataclass_with_a_callable(client: Any) -> None:
    tools = {t.name: t for t in (Record("search", work.look), Record("save", work.store))}
    converse(client, lambda b: tools[b.name].func(**b.input))


@dataclass(slots=True)
class Slotted:
    title: str
    handler: Callable[..., str]


def slots_known_by_key_only(client: Any) -> None:
    tools = {"search": Slotted("Look", work.look), "save": Slotted("Store", work.store)}
    converse(client, lambda b: tools[b.name].handler(**b.input))


class Declared:
    def __init__(self, fn: Callable[..., str], name: str) -> None:
        self.fn = fn
        self.schema = {"type": "function", "function": {"name": name}}

    def invoke(self, arguments: str) -> str:
        return self.fn(**json.loads(arguments))


class Declarations:
    def __init__(self) -> None:
        self.tools = [Declared(work.look, "search"), Declared(work.store, "save")]

    def run(self, block: Any) -> str:
        for tool in self.tools:
            if tool.schema["function"]["name"] == block.name:
                return tool.invoke(json.dumps(block.input))
        raise KeyError(block.name)


def named_by_their_schema(client: Any) -> None:
    toolbox = Declarations()
    converse(client, toolbox.run)


class SearchInput(BaseModel):
    q: str

    def execute(self) -> str:
        return work.look(self.q)


class SaveInput(BaseModel):
    text: str

    def execute(self) -> str:
        return work.store(self.text)


MODELS = {"search": SearchInput, "save": SaveInput}


def one_object_for_each_call(client: Any) -> None:
    converse(client, lambda b: MODELS[b.name](**b.input).execute())


class PydanticTool(BaseModel):
    name: str
    function: Callable[..., str]

    def run(self, args: dict[str, Any]) -> str:
        return self.function(**args)


def pydantic_models(client: Any) -> None:
    tools = [
        PydanticTool(name="search", function=work.look),
        PydanticTool(name="save", function=work.store),
    ]
    by_name = {tool.name: tool for tool in tools}
    converse(client, lambda b: by_name[b.name].run(b.input))


def records_of_functions(client: Any) -> None:
    tools = {
        "search": {"function": work.look, "description": "look"},
        "save": {"function": work.store, "description": "store"},
    }
    converse(client, lambda b: tools[b.name]["function"](**b.input))  # type: ignore[operator]


def pairs(client: Any) -> None:
    tools = {"search": ({"type": "object"}, work.look), "save": ({"type": "object"}, work.store)}
    converse(client, lambda b: tools[b.name][1](**b.input))


class Entry(NamedTuple):
    name: str
    call: Callable[..., str]


class Registered:
    tools: ClassVar[dict[str, Callable[..., str]]] = {}

    @classmethod
    def tool(cls, name: str) -> Callable[[Any], Any]:
        def decorate(function: Any) -> Any:
            cls.tools[name] = function
            return function

        return decorate


@Registered.tool("search")
def _registered_search(q: str) -> str:
    return work.look(q)


@Registered.tool("save")
def _registered_save(text: str) -> str:
    return work.store(text)


def decorated_into_a_class(client: Any) -> None:
    converse(client, lambda b: Registered.tools[b.name](**b.input))


# -- lists of functions


def a_list_of_functions(client: Any) -> None:
    tools = [work.search, work.save]
    converse(client, lambda b: next(t for t in tools if t.__name__ == b.name)(**b.input))


class Decorated:
    def __init__(self, function: Any) -> None:
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def callable_objects(client: Any) -> None:
    tools = {"search": Decorated(work.look), "save": Decorated(work.store)}
    converse(client, lambda b: tools[b.name](**b.input))


# -- toolboxes


class Toolbox:
    def search(self, q: str) -> str:
        return work.look(q)

    @staticmethod
    def save(text: str) -> str:
        return work.store(text)


def methods_by_name(client: Any) -> None:
    toolbox = Toolbox()
    converse(client, lambda b: getattr(toolbox, b.name)(**b.input))


class Assistant:
    def __init__(self, client: Any) -> None:
        self.client = client

    def _tool_search(self, q: str) -> str:
        return work.look(q)

    @classmethod
    def _tool_save(cls, text: str) -> str:
        return work.store(text)

    def go(self) -> None:
        converse(self.client, lambda b: getattr(self, f"_tool_{b.name}")(**b.input))


def methods_with_a_prefix(client: Any) -> None:
    Assistant(client).go()


def functions_of_a_module(client: Any) -> None:
    converse(client, lambda b: getattr(work, b.name)(**b.input))


# -- chains


class Chain:
    def __init__(self, client: Any) -> None:
        self.client = client

    def execute_tool(self, name: str, args: dict[str, Any]) -> str:
        if name == "search":
            return self._look(args["q"])
        if name == "save":
            return self._store(args["text"])
        raise KeyError(name)

    def _look(self, words: str) -> str:
        return work.look(words)

    def _store(self, words: str) -> str:
        return work.store(words)

    def run(self) -> None:
        converse(self.client, lambda b: self.execute_tool(b.name, b.input))


def a_chain_of_ifs(client: Any) -> None:
    Chain(client).run()


class Matching:
    def __init__(self, client: Any) -> None:
        self.client = client

    def handle(self, block: Any) -> str:
        match block.name:
            case "search":
                return work.look(block.input["q"])
            case "save":
                return work.store(block.input["text"])
        raise KeyError(block.name)

    def run(self) -> None:
        converse(self.client, lambda b: self.handle(b))


def a_match(client: Any) -> None:
    Matching(client).run()


class Inline:
    """Its loop tells the tools apart itself."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def _look(self, words: str) -> str:
        return work.look(words)

    def _store(self, words: str) -> str:
        return work.store(words)

    def run(self) -> None:
        messages: list[Any] = [{"role": "user", "content": "?"}]
        while True:
            reply = self.client.messages.create(model="m", max_tokens=9, messages=messages)
            if reply.stop_reason != "tool_use":
                return
            results = []
            for block in reply.content:
                output = ""
                if block.type == "tool_use":
                    if block.name == "search":
                        output = self._look(block.input["q"])
                    elif block.name == "save":
                        output = self._store(block.input["text"])
                results.append({"type": "tool_result", "tool_use_id": block.id, "content": output})
            messages.append({"role": "assistant", "content": reply.content})
            messages.append({"role": "user", "content": results})


def branches_of_the_loop(client: Any) -> None:
    Inline(client).run()


def a_function_of_another_module(client: Any) -> None:
    converse(client, lambda b: run_tool(b.name, b.input))


WAYS = [
    by_key,
    by_the_name_of_the_object,
    abstract_tools,
    dataclass_with_a_callable,
    slots_known_by_key_only,
    named_by_their_schema,
    one_object_for_each_call,
    pydantic_models,
    records_of_functions,
    pairs,
    decorated_into_a_class,
    a_list_of_functions,
    callable_objects,
    methods_by_name,
    methods_with_a_prefix,
    functions_of_a_module,
    a_chain_of_ifs,
    a_match,
    branches_of_the_loop,
    a_function_of_another_module,
]
