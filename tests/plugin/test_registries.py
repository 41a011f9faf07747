"""Tools that are no functions in a table: measured all the same, and what they were before."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import inspect
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import anthropic
import pytest
import wrapt

from causepath.code.frameworks import TOOL_FUNCTIONS
from causepath.code.name_branches import carries_out
from causepath.code.reachable import MAX_LOOKED_AT, reachable
from causepath.hooks.frameworks import READERS
from causepath.tool_functions.search import Registries
from tests.plugin import branches, hand_written
from tests.plugin.hand_written_tools import CLOCK, look, store
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording
from tests.support.script import ByTurn, Reply, ToolUse, Usage
from tests.support.stop_watch import ROUNDS, are_close, ratios

if TYPE_CHECKING:
    from collections.abc import Callable

USAGE = Usage(3, 2)
TWO_TOOLS = Reply(
    [ToolUse("search", {"q": "x"}, id="toolu_s"), ToolUse("save", {"text": "abc"}, id="toolu_v")],
    usage=USAGE,
)
DONE = Reply("Done.", usage=USAGE)

CALL = "(UNSET) <-tool_call- chat m #1"
GOT = "<-tool_result- execute_tool"
BOTH = f"""\
invoke_agent hand_written  agent inferred (UNSET)
  chat m #1  llm 3/2 tool_call (OK)
  execute_tool search  tool id=toolu_s {CALL}
  execute_tool save  tool id=toolu_v {CALL}
  chat m #2  llm 3/2 stop (OK) {GOT} search {GOT} save"""


def traced(way: Callable[[Any], object], *asked: Reply) -> str:
    with (
        MessagesApi(ByTurn([*(asked or [TWO_TOOLS]), DONE])) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        way(client)
        return recording.text()


@ROUNDS
@pytest.mark.parametrize("way", hand_written.WAYS, ids=[way.__name__ for way in hand_written.WAYS])
def test_each_way_to_hold_tools_is_measured(way: Callable[[Any], None], rounds: int) -> None:
    told: list[float] = []
    with (
        MessagesApi(ByTurn([TWO_TOOLS, DONE])) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        for _ in range(rounds):  # another agent each time, of the same classes perhaps
            CLOCK.clear()
            recording._exporter.clear()
            way(client)
            assert recording.text() == BOTH
            told += ratios(recording, CLOCK)
    assert are_close(told, rounds)


def test_a_method_that_the_loop_holds_is_measured_at_once() -> None:
    def way(client: Any) -> None:
        agent = hand_written.Matching(client)
        for _ in range(2):
            hand_written.converse(agent.client, agent.handle)

    text = traced(way)
    assert [text.count("tool inferred id="), text.count("tool id=")] == [0, 4]


class AsyncTool:
    def __init__(self, name: str) -> None:
        self.name = name

    async def execute(self, **arguments: str) -> str:
        await asyncio.sleep(0.01)
        if self.name == "save":
            raise OSError(arguments)
        return self.name


def test_methods_that_are_awaited_together_and_one_that_fails() -> None:
    async def main(url: str) -> None:
        tools = [AsyncTool("save"), AsyncTool("search")]
        messages: list[Any] = [{"role": "user", "content": "?"}]
        async with anthropic.AsyncAnthropic(base_url=url, api_key="test") as client:
            reply = await client.messages.create(model="m", max_tokens=9, messages=messages)
            asked = [b for b in reply.content if b.type == "tool_use"]
            chosen = [next(t for t in tools if t.name == b.name) for b in asked]
            runs = (t.execute(**b.input) for t, b in zip(chosen, asked, strict=True))
            results = await asyncio.gather(*runs, return_exceptions=True)
            said = [
                {"type": "tool_result", "tool_use_id": b.id, "content": str(r)}
                for b, r in zip(asked, results, strict=True)
            ]
            messages.append({"role": "assistant", "content": reply.content})
            messages.append({"role": "user", "content": said})
            await client.messages.create(model="m", max_tokens=9, messages=messages)

    with MessagesApi(ByTurn([TWO_TOOLS, DONE])) as api, Recording() as recording:
        asyncio.run(main(api.url))
        failed = BOTH.replace("toolu_v (UNSET)", "toolu_v error=OSError (ERROR)")
        assert recording.text() == failed.replace("hand_written", "test_registries")


def test_two_agents_in_threads_with_tools_of_one_class_are_not_mixed_up() -> None:
    registry = {"search": hand_written.SearchTool(), "save": hand_written.SaveTool()}
    asks = Reply([ToolUse("search", {"q": "the same long question"})], usage=USAGE)

    def agent(client: Any) -> None:
        tools: Any = registry
        with ThreadPoolExecutor(2) as pool:
            hand_written.converse(
                client, lambda b: pool.submit(tools[b.name].run, **b.input).result()
            )

    with (
        MessagesApi(ByTurn([asks, asks, DONE])) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
        ThreadPoolExecutor(6) as agents,
    ):
        list(agents.map(lambda _: agent(client), range(6)))
        spans = recording.spans()
    by_id = {span.context.span_id: span for span in spans}
    tools = [span for span in spans if span.name == "execute_tool search"]
    assert len(tools) == 12
    for tool in tools:
        issuer = by_id[tool.links[0].context.span_id]
        assert tool.context.trace_id == issuer.context.trace_id
        assert tool.parent.span_id == issuer.parent.span_id


def test_calls_that_no_reply_asked_for_are_no_spans() -> None:
    def way(client: Any) -> None:
        tools: Any = {"search": hand_written.SearchTool(), "save": hand_written.SaveTool()}
        toolbox = hand_written.Toolbox()
        hand_written.converse(client, lambda b: tools[b.name].run(**b.input))
        tools["search"].run("other")
        toolbox.search("other")

    assert traced(way) == BOTH


class Telling:
    """Says what it does before it does it, which is no tool."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def label(self, name: str) -> str:
        return {"search": "Looking", "save": "Saving"}[name] if name != "search" else "Looking"

    def carry_out(self, name: str, arguments: dict[str, str]) -> str:
        if name == "search":
            return look(arguments["q"])
        if name == "save":
            return store(arguments["text"])
        raise KeyError(name)

    def run(self) -> None:
        def both(block: Any) -> str:
            self.label(block.name)
            return self.carry_out(block.name, block.input)

        hand_written.converse(self.client, both)


def test_who_is_told_no_more_than_the_name_does_not_carry_it_out() -> None:
    CLOCK.clear()
    with (
        MessagesApi(ByTurn([TWO_TOOLS, DONE])) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        Telling(client).run()
        assert recording.text() == BOTH
        assert are_close(ratios(recording, CLOCK))


def test_of_several_functions_in_a_branch_none_is_taken_for_the_tool() -> None:
    class Agent:
        def __init__(self, client: Any) -> None:
            self.client = client

        def check(self, words: str) -> None: ...

        def find(self, words: str) -> str:
            return look(words)

        def run(self) -> None:
            messages: list[Any] = [{"role": "user", "content": "?"}]
            reply = self.client.messages.create(model="m", max_tokens=9, messages=messages)
            call = reply.content[0]
            found = ""
            if call.name == "search":
                self.check(call.input["q"])
                found = self.find(call.input["q"])
            said = {"type": "tool_result", "tool_use_id": call.id, "content": found}
            messages += [{"role": "assistant", "content": reply.content}]
            messages += [{"role": "user", "content": [said]}]
            self.client.messages.create(model="m", max_tokens=9, messages=messages)

    asks = Reply([ToolUse("search", {"q": "some words"}, id="toolu_s")], usage=USAGE)
    assert "execute_tool search  tool inferred id=toolu_s" in traced(lambda c: Agent(c).run(), asks)


@pytest.mark.parametrize(
    ("function", "does"),
    [(f, True) for f in branches.CARRY_OUT] + [(f, False) for f in branches.DO_NOT],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_who_only_knows_a_tool_does_not_carry_it_out(function: Any, does: bool) -> None:
    assert carries_out(function.__code__, "search") is does


def test_who_asks_or_shows_before_is_not_measured() -> None:
    told = []

    class Agent:
        def may(self, name: str) -> bool:
            return name not in ("search", "delete")

        def show(self, name: str, given: Any) -> None:
            if name == "search":
                told.append(f"Searching {given}")

        def execute(self, name: str, given: Any) -> str:
            if name == "search":
                return look(given["q"])
            return store(given["text"])

        def carry_out(self, block: Any) -> str:
            self.show(block.name, block.input)
            return self.execute(block.name, block.input) if not self.may(block.name) else ""

    asks = Reply([ToolUse("search", {"q": "some words"}, id="toolu_s")], usage=USAGE)
    with (
        MessagesApi(ByTurn([asks, DONE])) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        CLOCK.clear()
        hand_written.converse(client, Agent().carry_out)
        assert "execute_tool search  tool id=toolu_s" in recording.text()
        (ratio,) = ratios(recording, CLOCK)
        assert are_close([ratio])


# -- harmless


def test_classes_and_objects_stay_what_they_were() -> None:
    def underlying(kind: type, name: str) -> tuple[int, type]:
        stored = vars(kind)[name]
        return id(getattr(stored, "__func__", stored)), type(stored)

    before = {
        (kind, name): underlying(kind, name)
        for kind, name in (
            (hand_written.SearchTool, "run"),
            (hand_written.Toolbox, "search"),
            (hand_written.Toolbox, "save"),
            (hand_written.Assistant, "_tool_save"),
            (hand_written.Search, "execute"),
        )
    }

    def way(client: Any) -> None:
        # First, as the search for what their loops have at hand ends with what lies nearest.
        hand_written.methods_by_name(client)
        hand_written.methods_with_a_prefix(client)
        hand_written.abstract_tools(client)

        tool, record = hand_written.SearchTool(), hand_written.Record("search", look)
        unchanged = hand_written.Record("search", look)
        model = hand_written.PydanticTool(name="search", function=look)
        tools: Any = {"search": tool, "save": hand_written.SaveTool()}
        others: Any = [record, model, unchanged, hash(hand_written.Slotted)]
        hand_written.converse(client, lambda b: tools[b.name].run(**b.input))
        assert others

        assert {key: underlying(*key) for key in before} == before
        assert type(tools["search"]) is hand_written.SearchTool
        assert tools["search"] is tool
        for kind, name in before:
            function = getattr(kind, name)
            assert inspect.isfunction(function) or inspect.ismethod(function)
            assert pickle.loads(pickle.dumps(function)) == function
        assert pickle.loads(pickle.dumps(tool.run))("x") == "found x"
        assert str(inspect.signature(tool.run)) == "(q: 'str') -> 'str'"
        assert str(inspect.signature(hand_written.SearchTool.run)) == "(self, q: 'str') -> 'str'"
        assert inspect.signature(hand_written.Save()) == inspect.signature(
            hand_written.Save().execute
        )
        assert hand_written.Toolbox.save("x") == "stored x"
        assert record == unchanged
        assert dataclasses.replace(record, name="other").func is record.func
        copied = hand_written.PydanticTool.model_validate(model.model_dump())
        assert copied == model
        assert isinstance(hand_written.Save(), hand_written.Tool)

        class Later(hand_written.SearchTool):
            def run(self, q: str) -> str:
                return super().run(q) + "!"

        assert Later().run("x") == "found x!"

    traced(way)
    assert {key: underlying(*key) for key in before} == before


class Hostile:
    """Does something at whatever it is asked."""

    asked: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        raise RuntimeError(name)

    def __eq__(self, other: object) -> bool:
        self.asked.append("==")
        raise RuntimeError

    def __hash__(self) -> int:
        self.asked.append("hash")
        raise RuntimeError

    def __bool__(self) -> bool:
        self.asked.append("bool")
        raise RuntimeError

    def __len__(self) -> int:
        self.asked.append("len")
        raise RuntimeError

    def __iter__(self) -> Any:
        self.asked.append("iter")
        raise RuntimeError

    @property
    def __class__(self) -> Any:
        self.asked.append("class")
        return int

    @__class__.setter
    def __class__(self, value: Any) -> None: ...

    @property
    def __dict__(self) -> Any:
        self.asked.append("dict")
        raise RuntimeError

    @property
    def name(self) -> str:
        self.asked.append("name")
        raise RuntimeError

    @property
    def search(self) -> str:
        self.asked.append("search")
        raise RuntimeError


class HostileDict(dict[str, Any]):
    def __getitem__(self, key: Any) -> Any:
        Hostile.asked.append("item")
        return super().__getitem__(key)

    def __iter__(self) -> Any:
        Hostile.asked.append("iter")
        return super().__iter__()

    def items(self) -> Any:
        Hostile.asked.append("items")
        return super().items()

    def get(self, *_: Any) -> Any:
        Hostile.asked.append("get")

    def __len__(self) -> int:
        Hostile.asked.append("len")
        return 1


def test_objects_that_are_looked_at_notice_nothing() -> None:
    hostile: Any = Hostile()
    around: Any = [
        hostile,
        {"search": hostile},
        (hostile,),
        HostileDict(search=hostile, n=[hostile]),
        wrapt.ObjectProxy(hostile),
    ]

    class Agent:
        def __init__(self) -> None:
            self.tools = around
            self.search = hostile

        def run(self, client: Any) -> None:
            hand_written.converse(client, lambda _: None)

    agent = Agent()
    Hostile.asked.clear()
    assert "tool inferred id=toolu_s" in traced(agent.run)
    assert Hostile.asked == []


def here() -> list[Any]:
    return list(reachable([sys._getframe(1)]))


def from_inside(*_: Any) -> list[Any]:
    return here()  # what is asserted in reads the variables of its frame


class MadeWhenAsked:
    def __getattr__(self, name: str) -> Any:
        return look_for if name == "search" else keep


def look_for(q: str) -> str:
    return look(q)


def keep(text: str) -> str:
    return store(text)


@functools.singledispatch
def by_type(value: object) -> str:
    return str(value)


@by_type.register
def _(value: str) -> str:
    return look(value)


def in_a_lambda(client: Any) -> None:
    pick = lambda name: {"search": lambda q: look(q), "save": lambda text: store(text)}[name]  # noqa: E731
    hand_written.converse(client, lambda b: pick(b.name)(**b.input))


def by_getattr(client: Any) -> None:
    tools = MadeWhenAsked()
    hand_written.converse(client, lambda b: getattr(tools, b.name)(**b.input))


def by_single_dispatch(client: Any) -> None:
    tools = {"search": by_type, "save": by_type}
    hand_written.converse(client, lambda b: tools[b.name](*b.input.values()))


@pytest.mark.parametrize("way", [in_a_lambda, by_getattr, by_single_dispatch])
def test_tools_that_nothing_holds_are_windows(way: Callable[[Any], object]) -> None:
    text = traced(way)
    assert [text.count("tool inferred id="), text.count("tool id=")] == [2, 0]


def test_no_more_is_looked_at_than_a_bounded_number() -> None:
    wide = {f"n{i}": [hand_written.SaveTool()] for i in range(150)}
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep, [{}], [[]]]
    many = [[[{} for _ in range(100)] for _ in range(100)] for _ in range(2)]
    assert 200 < len(from_inside(wide, deep, many)) <= MAX_LOOKED_AT
    # Nothing that measures where nothing is called: later ones are looked for ever less often.
    looked: list[int] = []

    def counted(*args: Any) -> Any:
        looked.append(1)
        return original(*args)

    original = Registries.find
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Registries, "find", counted)

        def way(client: Any) -> None:
            for _ in range(40):
                hand_written.converse(client, lambda _: None)

        traced(way)
    assert len(looked) <= 8


def test_every_framework_with_tool_functions_has_a_reader() -> None:
    assert {name for name, functions in TOOL_FUNCTIONS.items() if functions} == set(READERS)
