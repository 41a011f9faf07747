"""Tools: measured wherever they run, recognised as the call that a reply asked for."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import contextvars
import copy
import dataclasses
import functools
import inspect
import pickle
import re
import sys
import threading
import types
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import anthropic
import pytest
from opentelemetry import propagate, trace
from opentelemetry.context import Context

import causepath
from tests.plugin.conftest import NATIVE
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording, set_global_provider
from tests.support.script import ByTurn, InOrder, Reply, ToolUse, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

USAGE = Usage(3, 2)
DONE = Reply("Done.", usage=USAGE)
TWO_TOOLS = Reply(
    [ToolUse("search", {"q": "x"}, id="toolu_s"), ToolUse("save", {"text": "abc"}, id="toolu_v")],
    usage=USAGE,
)
TWO_SEARCHES = Reply(
    [ToolUse("search", {"q": "x"}, id="toolu_x"), ToolUse("search", {"q": "y"}, id="toolu_y")],
    usage=USAGE,
)

RUN = "invoke_agent test_tools  agent inferred (UNSET)"
CHAT_1 = "  chat m #1  llm 3/2 tool_call (OK)"
CALL = "(UNSET) <-tool_call- chat m #1"
CHAT_2 = "  chat m #2  llm 3/2 stop (OK)"


def result(call_id: str, content: str = "found") -> Any:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content}


def converse(client: Any, carry_out: Callable[[Any], list[Any]]) -> None:
    """A hand-written loop: `carry_out` gets the tool calls of a reply and gives their results."""
    messages: list[Any] = [{"role": "user", "content": "?"}]
    while True:
        reply = client.messages.create(model="m", max_tokens=9, messages=messages)
        if reply.stop_reason != "tool_use":
            return
        calls = [block for block in reply.content if block.type == "tool_use"]
        messages.append({"role": "assistant", "content": reply.content})
        messages.append({"role": "user", "content": carry_out(calls)})


def traced(carry_out: Callable[[Any], list[Any]], *replies: Reply, declared: bool = False) -> str:
    with (
        MessagesApi(InOrder([*replies, DONE])) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        with causepath.agent("looker") if declared else nullcontext():
            converse(client, carry_out)
        return recording.text()


def search(q: str) -> str:
    return f"found {q}"


def save(text: str) -> str:
    return f"saved {text}"


BOTH = f"""\
{RUN}
{CHAT_1}
  execute_tool search  tool id=toolu_s {CALL}
  execute_tool save  tool id=toolu_v {CALL}
{CHAT_2} <-tool_result- execute_tool search <-tool_result- execute_tool save"""


def by_dict(functions: dict[str, Any]) -> Callable[[Any], list[Any]]:
    return lambda calls: [result(c.id, functions[c.name](**c.input)) for c in calls]


def run_table(table: dict[str, Any], calls: Any) -> list[Any]:
    return [result(call.id, table[call.name](**call.input)) for call in calls]


def declared_dict() -> Callable[[Any], list[Any]]:
    functions = {"search": search, "save": save}
    wrapped = causepath.tools(functions)
    assert type(wrapped) is dict
    assert list(wrapped) == ["search", "save"]
    assert functions == {"search": search, "save": save}
    return by_dict(wrapped)


def declared_list() -> Callable[[Any], list[Any]]:
    wrapped = causepath.tools([search, save])
    assert type(wrapped) is list
    return by_dict({f.__name__: f for f in wrapped})


def declared_module() -> Callable[[Any], list[Any]]:
    module = types.ModuleType("some_tools")
    exec("def search(q): return q\ndef save(text): return text\nVALUE = 3", vars(module))
    assert causepath.tools(module) is module
    assert module.VALUE == 3
    return by_dict({"search": module.search, "save": module.save})


def declared_functions() -> Callable[[Any], list[Any]]:
    @causepath.tool
    def search(q: str) -> str:
        return q

    @causepath.tool(name="save")
    def store(text: str) -> str:
        return text

    assert search.__name__ == "search"
    return by_dict({"search": search, "save": store})


def positional_arguments() -> Callable[[Any], list[Any]]:
    wrapped = causepath.tools({"search": search, "save": save})
    return lambda calls: [result(c.id, wrapped[c.name](*c.input.values())) for c in calls]


@pytest.mark.parametrize(
    "declare",
    [declared_dict, declared_list, declared_module, declared_functions, positional_arguments],
)
def test_declared_tools(declare: Callable[[], Callable[[Any], list[Any]]]) -> None:
    assert traced(declare(), TWO_TOOLS) == BOTH


def test_in_a_bare_thread_pool_the_parent_and_the_call_are_right() -> None:
    wrapped = causepath.tools({"search": search, "save": save})

    def carry_out(calls: Any) -> list[Any]:
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda c: result(c.id, wrapped[c.name](**c.input)), calls))

    text = traced(carry_out, TWO_TOOLS)
    assert sorted(text.splitlines()) == sorted(BOTH.splitlines())


def test_in_tasks() -> None:
    @causepath.tool(name="search")
    async def look(q: str) -> str:
        await asyncio.sleep(0)
        return q

    async def main(url: str) -> None:
        async with anthropic.AsyncAnthropic(base_url=url, api_key="test") as client:
            messages: list[Any] = [{"role": "user", "content": "?"}]
            reply = await client.messages.create(model="m", max_tokens=9, messages=messages)
            found = await asyncio.gather(*(look(**block.input) for block in reply.content))
            results = [result(b.id, f) for b, f in zip(reply.content, found, strict=True)]
            messages.append({"role": "assistant", "content": reply.content})
            messages.append({"role": "user", "content": results})
            await client.messages.create(model="m", max_tokens=9, messages=messages)

    with MessagesApi(InOrder([TWO_SEARCHES, DONE])) as api, Recording() as recording:
        asyncio.run(main(api.url))
        assert recording.text() == (
            f"{RUN}\n{CHAT_1}\n"
            f"  execute_tool search  tool id=toolu_x {CALL}\n"
            f"  execute_tool search  tool id=toolu_y {CALL}\n"
            f"{CHAT_2} <-tool_result- execute_tool search <-tool_result- execute_tool search"
        )


def test_two_calls_of_one_tool_are_told_apart_by_their_arguments() -> None:
    wrapped = causepath.tools({"search": search})

    def backwards(calls: Any) -> list[Any]:
        return [result(c.id, wrapped[c.name](**c.input)) for c in reversed(calls)]

    text = traced(backwards, TWO_SEARCHES)
    assert [line.split()[3] for line in text.splitlines() if "execute_tool search  " in line] == [
        "id=toolu_y",
        "id=toolu_x",
    ]


def test_where_nothing_measured_the_window_is_all_that_is_known() -> None:
    assert traced(lambda calls: [result(c.id) for c in calls], TWO_TOOLS) == (
        f"{RUN}\n{CHAT_1}\n"
        f"  execute_tool save  tool inferred id=toolu_v {CALL}\n"
        f"  execute_tool search  tool inferred id=toolu_s {CALL}\n"
        f"{CHAT_2} <-tool_result- execute_tool search <-tool_result- execute_tool save"
    )


def test_what_nothing_measured_has_failed_where_its_result_says_so() -> None:
    def refused(calls: Any) -> list[Any]:
        first, second = calls
        return [{**result(first.id), "is_error": True}, {**result(second.id), "is_error": False}]

    assert traced(refused, TWO_TOOLS) == (
        f"{RUN}\n{CHAT_1}\n"
        f"  execute_tool save  tool inferred id=toolu_v {CALL}\n"
        f"  execute_tool search  tool inferred id=toolu_s error=tool_error (ERROR)"
        f" {CALL.removeprefix('(UNSET) ')}\n"
        f"{CHAT_2} <-tool_result- execute_tool search <-tool_result- execute_tool save"
    )


def test_a_tool_that_fails() -> None:
    @causepath.tool(name="search", read_only=True)
    def broken(q: str) -> str:
        raise LookupError(q)

    def carry_out(calls: Any) -> list[Any]:
        with pytest.raises(LookupError):
            broken(**calls[0].input)
        return [result(c.id) for c in calls]

    assert (
        "execute_tool search  tool read-only id=toolu_s error=LookupError (ERROR) <-tool_call-"
        in traced(carry_out, TWO_TOOLS)
    )


def test_a_model_asked_inside_a_tool_is_a_conversation_of_its_own() -> None:
    with (
        MessagesApi(InOrder([TWO_TOOLS, DONE, DONE])) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):

        @causepath.tool(name="search")
        def delegate(q: str) -> str:
            messages = [{"role": "user", "content": q}]
            return client.messages.create(model="sub", max_tokens=9, messages=messages).id

        def carry_out(calls: Any) -> list[Any]:
            return [result(calls[0].id, delegate(**calls[0].input)), result(calls[1].id)]

        converse(client, carry_out)
        assert "    chat sub #1  llm 3/2 stop (OK)\n" in recording.text()


# -- found without being declared


def test_a_table_of_a_hand_written_loop_is_found() -> None:
    table = {"search": search, "save": save}

    def loop(client: Any) -> None:
        converse(client, lambda calls: run_table(table, calls))

    with (
        MessagesApi(InOrder([TWO_TOOLS, DONE])) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        assert table is not None  # a variable of this frame, as of the frame of a loop
        loop(client)
        assert recording.text() == BOTH
        assert table["search"] == ORIGINALS[0]
        assert table["search"].__name__ == "search"
    assert sys.modules[__name__].search is ORIGINALS[0]


ORIGINALS = search, save


def look_up(q: str) -> str:
    return f"found {q}"


def look_again(q: str) -> str:
    return f"found {q}"


def test_functions_named_like_tools_are_found() -> None:
    def carry_out(calls: Any) -> list[Any]:
        return [result(call.id, look_up(**call.input)) for call in calls]

    before = id(look_up)
    asks = Reply([ToolUse("look_up", {"q": "x"}, id="toolu_s")], usage=USAGE)
    assert traced(carry_out, asks) == (
        f"{RUN}\n{CHAT_1}\n  execute_tool look_up  tool id=toolu_s {CALL}\n"
        f"{CHAT_2} <-tool_result- execute_tool look_up"
    )
    assert id(look_up) == before


def test_a_function_that_others_have_too_is_measured_and_stays_what_it_is() -> None:
    """They may send it to another process, by the name that it has in its module."""
    held = (look_again,)

    def carry_out(calls: Any) -> list[Any]:
        assert pickle.loads(pickle.dumps(held[0])) is held[0] is look_again
        return [result(call.id, held[0](**call.input)) for call in calls]

    asks = Reply([ToolUse("look_again", {"q": "x"}, id="toolu_s")], usage=USAGE)
    assert "execute_tool look_again  tool id=toolu_s" in traced(carry_out, asks)


def registered(q: str) -> str:
    return q


REGISTRY = [types.SimpleNamespace(name="registered", function=registered)]


def test_what_is_found_stays_what_it_was_for_the_application() -> None:
    """Functions may be keys, be compared, inspected, copied, and sent to other processes."""
    toolbox = Toolbox(None)
    notes = {search: "reads", toolbox.look: "looks"}
    partial = functools.partial(save, text="abc")
    table: dict[str, Any] = {
        "search": search,
        "find": search,
        "look": toolbox.look,
        "kept": partial,
    }
    before = [type(function) for function in table.values()]
    asks = Reply(
        [
            ToolUse("search", {"q": "x"}),
            ToolUse("find", {"q": "y"}),
            ToolUse("look", {"q": "z"}),
            ToolUse("kept", {}),
            ToolUse("registered", {"q": "z"}),
        ],
        usage=USAGE,
    )

    def loop(table: dict[str, Any], client: Any) -> None:
        def carry_out(calls: Any) -> list[Any]:
            done = [result(c.id, table[c.name](**c.input)) for c in calls[:-1]]
            return [*done, result(calls[-1].id, REGISTRY[0].function(**calls[-1].input))]

        converse(client, carry_out)

    with (
        MessagesApi(InOrder([asks, DONE])) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        loop(table, client)
        text = recording.text()
        assert text.count("tool id=") == 5
        found = table["search"], table["find"], table["look"], table["kept"]
        assert found == (search, search, toolbox.look, partial)
        assert (notes[found[0]], notes[found[2]]) == ("reads", "looks")
        assert table["look"].__self__ is toolbox
        assert table["kept"].keywords == {"text": "abc"}
        assert [type(function) for function in found] == before
        assert found[3] is partial
        for function in found:
            assert str(inspect.signature(function)) in (
                "(q: 'str') -> 'str'",
                "(*, text: 'str' = 'abc') -> 'str'",
            )
        assert copy.deepcopy(search) is search
        assert [pickle.loads(pickle.dumps(f)) for f in found[:2]] == [search, search]
        assert pickle.loads(pickle.dumps(found[3])).keywords == partial.keywords
        assert pickle.loads(pickle.dumps(REGISTRY[0].function))(q="x") == "x"


def test_looking_for_tools_leaves_the_variables_of_the_application_alone() -> None:
    class Large: ...

    asks = Reply([ToolUse("search", {"q": "x"})], usage=USAGE)
    with (
        MessagesApi(asks) as api,
        Recording(),
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):

        def ask() -> None:
            client.messages.create(
                model="m", max_tokens=9, messages=[{"role": "user", "content": "?"}]
            )

        def lets_go() -> bool:
            large = Large()
            alive = weakref.ref(large)
            ask()
            del large
            return alive() is None

        def looks_at_its_own(first: int, second: int) -> Any:
            given = locals()
            for _ in given:
                ask()
            first = second
            ask()
            return given, first

        assert lets_go()
        assert looks_at_its_own(1, 2) == ({"first": 1, "second": 2, "ask": ask}, 2)


class Toolbox:
    def __init__(self, client: Any) -> None:
        self.client = client
        self.handlers = {"search": self.look, "save": self.store}

    def look(self, q: str) -> str:
        return q

    def store(self, text: str) -> str:
        return text

    def run(self) -> None:
        converse(self.client, lambda calls: run_table(self.handlers, calls))


def test_handlers_of_an_agent_object_are_found() -> None:
    with (
        MessagesApi(InOrder([TWO_TOOLS, DONE])) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        Toolbox(client).run()
        assert recording.text() == BOTH


def test_finding_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAUSEPATH_TOOLS", "off")
    with (
        MessagesApi(InOrder([TWO_TOOLS, DONE])) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        Toolbox(client).run()
        assert recording.text().count("tool inferred") == 2


def test_tools_named_in_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "named_tools.py").write_text(
        "def search(q): return q\ndef save(text): return text\ndef _hidden(): return 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("CAUSEPATH_TOOLS", "named_tools:*, other:nothing")
    with (
        MessagesApi(InOrder([TWO_TOOLS, DONE])) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        import named_tools

        converse(
            client,
            lambda calls: [result(c.id, getattr(named_tools, c.name)(**c.input)) for c in calls],
        )
        assert recording.text() == BOTH
        assert not hasattr(named_tools._hidden, "__wrapped__")
    assert not hasattr(named_tools.search, "__wrapped__")
    del sys.modules["named_tools"]


# -- spans of tools that somebody else writes


def at_its_start(tracer: Any, call: Any) -> Any:
    about = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": call.name,
        "gen_ai.tool.call.id": call.id,
    }
    return tracer.start_as_current_span("tool", attributes=about)


def without_the_id(tracer: Any, call: Any) -> Any:
    about = {"openinference.span.kind": "TOOL", "tool.name": call.name}
    return tracer.start_as_current_span("tool", attributes=about)


def by_its_name(tracer: Any, call: Any) -> Any:
    return tracer.start_as_current_span(f"execute_tool {call.name}")


@pytest.mark.parametrize("starts", [at_its_start, without_the_id, by_its_name])
@pytest.mark.parametrize("function", [None, search], ids=["not measured", "found too"])
def test_a_span_that_the_application_writes_of_a_tool_is_that_of_the_call(
    starts: Any, function: Any
) -> None:
    table = {"search": function or "nothing"}

    def carry_out(calls: Any) -> list[Any]:
        with starts(trace.get_tracer("app"), calls[0]):
            return [result(calls[0].id, table["search"](**calls[0].input) if function else "found")]

    asks = Reply([ToolUse("search", {"q": "x"}, id="toolu_s")], usage=USAGE)
    name = "execute_tool search" if starts is by_its_name else "tool"
    text = traced(carry_out, asks)
    tools = [line for line in text.splitlines() if "toolu_s" in line]
    assert tools == [f"{name}  tool id=toolu_s (UNSET) <-tool_call- chat m #1"]
    assert f"{CHAT_2} <-tool_result- {name}\n" in f"{text}\n"


def test_a_span_that_says_at_its_end_that_it_is_of_a_tool() -> None:
    def carry_out(calls: Any) -> list[Any]:
        with trace.get_tracer("app").start_as_current_span("look") as span:
            span.set_attributes(
                {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": calls[0].name}
            )
        return [result(calls[0].id)]

    asks = Reply([ToolUse("search", {"q": "x"}, id="toolu_s")], usage=USAGE)
    text = traced(carry_out, asks)
    assert "look  tool id=toolu_s (UNSET) <-tool_call- chat m #1" in text
    assert "inferred id=" not in text


def writes_a_span(q: str) -> str:
    about = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}
    with trace.get_tracer("app").start_as_current_span("look", attributes=about):
        return f"found {q}"


async def writes_a_span_later(q: str) -> str:
    return writes_a_span(q)


def answers_a_client(q: str) -> str:
    """As a server in this process does, which has the context of its client from a header."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    about = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}
    with trace.get_tracer("server").start_as_current_span(
        "tools/call search",
        context=propagate.extract(carrier, Context()),
        kind=trace.SpanKind.SERVER,
        attributes=about,
    ):
        return f"found {q}"


@pytest.mark.parametrize("function", [writes_a_span, answers_a_client])
@pytest.mark.parametrize(
    "measured",
    [
        lambda function: causepath.tool(function, name="search"),
        lambda function: function,
    ],
    ids=["declared", "found"],
)
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_span_that_others_write_inside_a_tool_is_no_other_call(
    measured: Any, function: Any, order: Any
) -> None:
    table = {"search": measured(function)}

    def carry_out(calls: Any) -> list[Any]:
        return [result(calls[at].id, table["search"](**calls[at].input)) for at in order]

    asks = Reply([ToolUse("search", {"q": q}, id=f"toolu_{q}") for q in "xy"], usage=USAGE)
    text = traced(carry_out, asks)
    tools = re.findall(r"^ +execute_tool search .*id=(toolu_.)", text, re.MULTILINE)
    assert tools == [f"toolu_{'xy'[at]}" for at in order], text
    assert len(re.findall("id=", text)) == 2, text


@pytest.mark.parametrize("starts", [at_its_start, without_the_id, by_its_name])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("is_found", [False, True], ids=["not measured", "found too"])
def test_a_span_that_others_write_inside_a_span_of_theirs_is_no_other_call(
    starts: Any, order: Any, is_found: bool
) -> None:
    table = {"search": writes_a_span if is_found else "nothing"}
    tracer = trace.get_tracer("app")

    def carry_out(calls: Any) -> list[Any]:
        results = []
        for at in order:
            with starts(tracer, calls[at]), tracer.start_as_current_span("step"):
                does: Any = table["search"] if is_found else globals()["writes_a_span"]
                results.append(result(calls[at].id, does(**calls[at].input)))
        return results

    asks = Reply([ToolUse("search", {"q": q}, id=f"toolu_{q}") for q in "xy"], usage=USAGE)
    text = traced(carry_out, asks, declared=True)
    name = "execute_tool search" if starts is by_its_name else "tool"
    assert sorted(re.findall(r"^ *(\S.*?)  .*(id=toolu_.)", text, re.MULTILINE)) == [
        (name, "id=toolu_x"),
        (name, "id=toolu_y"),
    ], text


# -- two runs, one tool


def test_equal_calls_of_concurrent_runs_do_not_mix() -> None:
    """The arguments are equal, the threads carry no context: the reply's own objects decide."""
    wrapped = causepath.tools({"search": search})
    pool = ThreadPoolExecutor(4)

    def carry_out(calls: Any) -> list[Any]:
        done = [pool.submit(contextvars.Context().run, wrapped[c.name], **c.input) for c in calls]
        return [result(c.id, d.result()) for c, d in zip(calls, done, strict=True)]

    one_search = Reply([ToolUse("search", {"q": "the same long question"})], usage=USAGE)
    with (
        MessagesApi(ByTurn([one_search, one_search, DONE])) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
        ThreadPoolExecutor(6) as agents,
        pool,
    ):
        list(agents.map(lambda _: converse(client, carry_out), range(6)))
        spans = recording.spans()
    by_id = {span.context.span_id: span for span in spans}
    tools = [span for span in spans if span.name == "execute_tool search"]
    assert len(tools) == 12
    for tool in tools:
        issuer = by_id[tool.links[0].context.span_id]
        assert tool.context.trace_id == issuer.context.trace_id
        assert tool.parent.span_id == issuer.parent.span_id


# -- the SDK's own tool runner


# Where the SDK writes spans for its runner, they say `OK`, and its loop names no agent.
RUNNER = """\
{run}
  chat m #1  llm 3/2 tool_call (OK)
  execute_tool search  tool id=toolu_x ({tool}) <-tool_call- chat m #1
  execute_tool search  tool id=toolu_y ({tool}) <-tool_call- chat m #1
{chat} <-tool_result- execute_tool search <-tool_result- execute_tool search\
""".format(
    chat=CHAT_2,
    **(
        {"run": "invoke_agent  agent (OK)", "tool": "OK"}
        if NATIVE
        else {"run": RUN, "tool": "UNSET"}
    ),
)


def test_the_tool_runner() -> None:
    @anthropic.beta_tool
    def search(q: str) -> str:
        """Look for something.

        Args:
            q: what to look for
        """
        assert trace.get_current_span().get_span_context().is_valid
        return f"found {q}"

    with (
        MessagesApi(InOrder([TWO_SEARCHES, DONE])) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        client.beta.messages.tool_runner(
            model="m", max_tokens=9, tools=[search], messages=[{"role": "user", "content": "?"}]
        ).until_done()
        assert recording.text() == RUNNER


def test_a_span_that_others_write_inside_the_tool_runner_is_no_other_call() -> None:
    @anthropic.beta_tool
    def search(q: str) -> str:
        """Look for something.

        Args:
            q: what to look for
        """
        with trace.get_tracer("app").start_as_current_span("step"):
            return writes_a_span(q)

    with (
        MessagesApi(InOrder([TWO_SEARCHES, DONE])) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        client.beta.messages.tool_runner(
            model="m", max_tokens=9, tools=[search], messages=[{"role": "user", "content": "?"}]
        ).until_done()
        text = recording.text()
    assert re.findall(r"^ +(\S+) .*id=(toolu_.)", text, re.MULTILINE) == [
        ("execute_tool", "toolu_x"),
        ("execute_tool", "toolu_y"),
    ], text
    assert text.count("  look  tool") == 2, text


def test_the_asynchronous_tool_runner() -> None:
    @anthropic.beta_async_tool
    async def search(q: str) -> str:
        """Look for something.

        Args:
            q: what to look for
        """
        await asyncio.sleep(0)
        return f"found {q}"

    async def main(url: str) -> None:
        async with anthropic.AsyncAnthropic(base_url=url, api_key="test") as client:
            await client.beta.messages.tool_runner(
                model="m", max_tokens=9, tools=[search], messages=[{"role": "user", "content": "?"}]
            ).until_done()

    with MessagesApi(InOrder([TWO_SEARCHES, DONE])) as api, Recording() as recording:
        asyncio.run(main(api.url))
        assert recording.text() == RUNNER


# -- while the plugin is off


def test_declared_tools_work_without_the_plugin() -> None:
    wrapped = causepath.tools({"search": search, "n": 3, "obj": object})
    assert wrapped["search"]("x") == "found x"
    assert (wrapped["n"], wrapped["obj"]) == (3, object)
    assert causepath.tools(wrapped)["search"] is wrapped["search"]


class Pair(NamedTuple):
    search: Any
    save: Any


def test_a_collection_of_tools_keeps_its_type() -> None:
    pair = Pair(search, save)
    assert causepath.tools(pair) == pair
    assert type(causepath.tools(pair)) is type(pair)
    found = causepath.tools(collections.defaultdict(list, search=search))
    assert (type(found), found["other"]) == (collections.defaultdict, [])
    assert pickle.loads(pickle.dumps(causepath.tools([search]))) == [search]


def test_what_tools_cannot_take_is_said() -> None:
    with pytest.raises(TypeError, match="takes a dict, list, tuple or module of functions, not a"):
        causepath.tools(search)


def test_a_measured_tool_outside_any_run_is_a_span_of_its_own() -> None:
    with Recording() as recording:
        causepath.tool(search)("x")
        assert recording.text() == "execute_tool search  tool (UNSET)"


@pytest.fixture(autouse=True)
def _no_provider() -> Iterator[None]:
    set_global_provider(None)
    yield
    set_global_provider(None)


# -- several conversations in one thread, and calls that are made again


@dataclasses.dataclass
class Query:
    """What a loop makes of the arguments that a reply gives."""

    text: str


def asks(q: str) -> Reply:
    return Reply([ToolUse("search", {"q": q}, id=f"toolu_{q}")], usage=USAGE)


def issuers(recording: Recording) -> list[tuple[str, str]]:
    """For each measured tool, what it says it was given, and the id of the call it is linked to."""
    return [
        (str(span.attributes["test.given"]), str(span.attributes.get("gen_ai.tool.call.id")))
        for span in recording.spans()
        if span.attributes and "test.given" in span.attributes
    ]


def given(query: Query) -> str:
    trace.get_current_span().set_attribute("test.given", query.text)
    return "found"


@pytest.mark.parametrize("declared", [False, True], ids=["runs", "one declared run"])
def test_of_loops_in_tasks_of_one_thread_each_has_its_own_tools(declared: bool) -> None:
    """Nothing but the name and the loop on the stack says whose they are."""

    async def given_later(query: Query) -> str:
        await asyncio.sleep(0)
        return given(query)

    async def loop(client: Any, number: int, before: asyncio.Event, after: asyncio.Event) -> None:
        tools = {"search": given_later}
        messages: list[Any] = [{"role": "user", "content": str(number)}]
        reply = await client.messages.create(model="m", max_tokens=9, messages=messages)
        await before.wait()
        call = reply.content[0]
        found = await tools[call.name](Query(str(number)))
        after.set()
        messages += [
            {"role": "assistant", "content": reply.content},
            {"role": "user", "content": [result(call.id, found)]},
        ]
        await client.messages.create(model="m", max_tokens=9, messages=messages)

    async def main(url: str) -> None:
        events = [asyncio.Event() for _ in range(4)]
        events[-1].set()  # the last to begin is the first to carry out its tool
        async with anthropic.AsyncAnthropic(base_url=url, api_key="test") as client:
            await asyncio.gather(
                *(loop(client, n, events[n + 1], events[n]) for n in range(3)),
            )

    def script(request: Any) -> Reply:
        said = request.messages[0]["content"]
        return DONE if len(request.messages) > 1 else asks(said)

    with MessagesApi(script) as api, Recording() as recording:
        with causepath.agent("batch") if declared else contextlib.nullcontext():
            asyncio.run(main(api.url))
        assert sorted(issuers(recording)) == [(str(n), f"toolu_{n}") for n in range(3)]
        assert "tool inferred" not in recording.text()


def test_of_generators_of_one_thread_each_has_its_own_tools() -> None:
    def agent(client: Any, number: int) -> Iterator[None]:
        tools = {"search": given}
        messages: list[Any] = [{"role": "user", "content": str(number)}]
        reply = client.messages.create(model="m", max_tokens=9, messages=messages)
        yield
        tools[reply.content[0].name](Query(str(number)))

    with (
        MessagesApi(lambda request: asks(request.messages[0]["content"])) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        agents = [agent(client, number) for number in range(3)]
        for one in agents:
            next(one)
        for one in reversed(agents[1:]):  # the first is left for good
            list(one)
        recording.text()
        assert sorted(issuers(recording)) == [("1", "toolu_1"), ("2", "toolu_2")]


def test_a_tool_that_is_called_again_is_the_same_call() -> None:
    def unreliable(tools: dict[str, Any], calls: Any) -> list[Any]:
        for call in calls:
            for _ in range(3):
                with contextlib.suppress(OSError):
                    tools[call.name](**call.input)
        return [result(call.id) for call in calls]

    tries: list[str] = []

    def search(q: str) -> str:
        tries.append(q)
        if len(tries) % 3:
            raise OSError(q)
        return q

    tools = {"search": search}
    text = traced(lambda calls: unreliable(tools, calls), TWO_SEARCHES)
    failed = "  execute_tool search  tool id=toolu_{} error=OSError (ERROR) <-tool_call- chat m #1"
    assert text.count(failed.format("x")) == text.count(failed.format("y")) == 2
    assert text.count("tool id=toolu_x (UNSET)") == text.count("tool id=toolu_y (UNSET)") == 1


def test_a_tool_that_gives_back_a_future_lasts_until_that_is_done() -> None:
    pool = ThreadPoolExecutor(2)
    order: list[str] = []

    def wait(q: str) -> str:
        threading.Event().wait(0.05)
        return q

    def fail(q: str) -> str:
        threading.Event().wait(0.05)
        raise OSError(q)

    tools: dict[str, Any] = {
        "search": lambda q: pool.submit(wait, q),
        "read": lambda q: asyncio.get_running_loop().run_in_executor(pool, fail, q),
        "lose": lambda q: asyncio.get_running_loop().create_future(),
    }
    replies = Reply([ToolUse(name, {"q": name}, id=f"toolu_{name}") for name in tools], usage=USAGE)

    async def main(url: str) -> None:
        messages: list[Any] = [{"role": "user", "content": "?"}]
        async with anthropic.AsyncAnthropic(base_url=url, api_key="test") as client:
            reply = await client.messages.create(model="m", max_tokens=9, messages=messages)
            results = []
            calls: list[Any] = reply.content
            for call in calls:
                given_back: Any = tools[call.name](**call.input)
                order.append(type(given_back).__name__)
                if call.name == "lose":
                    del given_back
                    found = "lost"
                elif call.name == "read":
                    with pytest.raises(OSError, match="read"):
                        await given_back
                    found = "failed"
                else:
                    found = given_back.result()
                results.append(result(call.id, found))
            messages += [
                {"role": "assistant", "content": reply.content},
                {"role": "user", "content": results},
            ]
            await client.messages.create(model="m", max_tokens=9, messages=messages)

    with MessagesApi(InOrder([replies, DONE])) as api, Recording() as recording, pool:
        asyncio.run(main(api.url))
        measured = {s.name: s for s in recording.spans() if s.name.startswith("execute_tool")}
        for name in ("search", "read"):
            span = measured[f"execute_tool {name}"]
            assert (span.end_time or 0) - (span.start_time or 0) >= 50_000_000
        assert "execute_tool read  tool id=toolu_read error=OSError (ERROR)" in recording.text()
        assert "tool inferred" not in recording.text()
    assert order == ["Future", "Future", "Future"]


@functools.lru_cache
def _remembered(q: str) -> str:
    return f"found {q}"


def test_a_function_that_remembers_its_results_is_measured_where_it_is_run() -> None:
    tools = {"search": _remembered}
    again = Reply([ToolUse("search", {"q": "x"}, id="toolu_again")], usage=USAGE)
    text = traced(by_dict(tools), TWO_SEARCHES, again)
    assert text.count("execute_tool search  tool id=") == 2
    assert "execute_tool search  tool inferred id=toolu_again" in text
    assert tools["search"].cache_info().hits == 1
    assert pickle.loads(pickle.dumps(tools["search"])) is _remembered
