"""Agents with a known structure. Each is written twice: as it is, and with the fix (`fixed`).

They use the real SDK over HTTP, really wait, and know nothing of tracing but what any application
may do: declare a run and its tools, and put attributes on the span that is open.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import anthropic
from opentelemetry import trace

import causepath
from benchmarks.predictions.jitter import delay

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True)
class Setting:
    """One run of one agent."""

    agent: str
    client: anthropic.Anthropic
    url: str
    seed: int
    fixed: bool

    def ask(self, messages: list[Any], who: str = "", model: str = "slow-model") -> Any:
        return self.client.messages.create(**self.request(messages, who, model))

    def request(self, messages: list[Any], who: str = "", model: str = "slow-model") -> Any:
        told = {
            "agent": self.agent,
            "seed": self.seed,
            "who": who,
            "variant": "after" if self.fixed else "before",
        }
        return {
            "model": model,
            "max_tokens": 500,
            "system": json.dumps(told),
            "messages": messages,
            "tools": SCHEMAS,
        }

    def wait(self, label: str, seconds: float) -> None:
        time.sleep(delay(self.seed, label, seconds))


SCHEMAS = [
    {"name": name, "description": name, "input_schema": {"type": "object", "properties": {}}}
    for name in ("search", "look_up", "delegate", "weather", "calendar")
]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def in_pool(workers: int, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """As `map`, on threads that know which run they work for."""
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(contextvars.copy_context().run, function, item) for item in items]
        return [future.result() for future in futures]


def loop(
    setting: Setting,
    tool: Callable[..., str],
    run_all: Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]],
    question: str = "go",
    who: str = "",
) -> None:
    """A plain agent: asks the model until it wants no more tools."""
    messages = [user(question)]
    while True:
        reply = setting.ask(messages, who)
        calls = [block for block in reply.content if block.type == "tool_use"]
        if not calls:
            return

        def answer(call: Any) -> Any:
            return {"type": "tool_result", "tool_use_id": call.id, "content": tool(**call.input)}

        messages.append({"role": "assistant", "content": reply.content})
        messages.append({"role": "user", "content": run_all(answer, calls)})


def one_by_one(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    return [function(item) for item in items]


def all_at_once(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    return in_pool(len(items), function, items)


def tools_in_sequence(setting: Setting) -> None:
    @causepath.tool
    def search(item: str) -> str:
        setting.wait(item, 0.12)
        return f"found {item}"

    loop(setting, search, all_at_once if setting.fixed else one_by_one)


def small_pool(setting: Setting) -> None:
    @causepath.tool
    def search(item: str) -> str:
        setting.wait(item, 0.15)
        return f"found {item}"

    workers = 6 if setting.fixed else 2
    loop(setting, search, lambda function, items: in_pool(workers, function, items))


def sub_agents(setting: Setting) -> None:
    @causepath.tool
    def search(item: str) -> str:
        setting.wait(item, 0.06)
        return f"found {item}"

    @causepath.tool
    def delegate(item: str) -> str:
        with causepath.agent("helper"):
            loop(setting, search, one_by_one, f"help with {item}", item)
        return "done"

    loop(setting, delegate, all_at_once if setting.fixed else one_by_one)


def model_calls_in_a_loop(setting: Setting) -> None:
    async def agent() -> None:
        async with anthropic.AsyncAnthropic(base_url=setting.url, api_key="test") as client:
            calls = [
                client.messages.create(**setting.request([user(f"summarise part {n}")]))
                for n in range(5)
            ]
            if setting.fixed:
                await asyncio.gather(*calls)
                return
            for call in calls:
                await call

    asyncio.run(agent())


def loop_over_items(setting: Setting) -> None:
    """The plugin's digests show that no summary needs another one."""

    def summarise(part: str) -> Any:
        return setting.ask([user(f"summarise {part}")])

    parts = [f"part number {n}" for n in range(4)]
    (all_at_once if setting.fixed else one_by_one)(summarise, parts)


def rounds_of_a_loop(setting: Setting) -> None:
    """Look something up, then ask about it, for one item after the other."""

    @causepath.tool(read_only=True)
    def search(item: str) -> str:
        setting.wait(item, 0.1)
        visit = f"{item} {setting.seed} {setting.fixed}"
        # A page that nobody has seen before.
        return " ".join(blake2b(f"{visit} {n}".encode()).hexdigest()[:8] for n in range(8))

    def answer(item: str) -> Any:
        return setting.ask([user(f"What does this say? {search(item)}")])

    items = [f"item-number-{n}" for n in range(4)]
    (all_at_once if setting.fixed else one_by_one)(answer, items)


def look_ups_first(setting: Setting) -> None:
    tracer = trace.get_tracer("agent")

    def retrieve(source: str) -> None:
        with tracer.start_as_current_span(source) as span:
            span.set_attribute("openinference.span.kind", "RETRIEVER")
            setting.wait(source, 0.2)

    sources = ["documents", "profile", "history"]
    (all_at_once if setting.fixed else one_by_one)(retrieve, sources)
    setting.ask([user("go")])


def tools_while_streaming(setting: Setting) -> None:
    @causepath.tool
    def search(item: str) -> str:
        setting.wait(item, 0.5 if item == "item-number-0" else 0.1)
        return f"found {item}"

    messages = [user("go")]
    results: list[Any] = []

    def answer(call: Any) -> None:
        content = search(**call.input)
        results.append({"type": "tool_result", "tool_use_id": call.id, "content": content})

    threads = []

    def start(call: Any) -> None:
        run = contextvars.copy_context().run
        threads.append(threading.Thread(target=run, args=(answer, call)))
        threads[-1].start()

    with setting.client.messages.stream(**setting.request(messages)) as stream:
        for event in stream:
            ended = event.type == "content_block_stop"
            if setting.fixed and ended and event.content_block.type == "tool_use":
                start(event.content_block)
        reply = stream.get_final_message()
    if not setting.fixed:
        for call in reply.content:
            start(call)
    for thread in threads:
        thread.join()
    messages.append({"role": "assistant", "content": reply.content})
    messages.append({"role": "user", "content": results})
    setting.ask(messages)


def equal_calls(setting: Setting) -> None:
    known: dict[str, str] = {}

    @causepath.tool
    def look_up(item: str) -> str:
        span = trace.get_current_span()
        span.set_attribute("gen_ai.tool.call.arguments", json.dumps({"item": item}))
        if setting.fixed and item in known:
            return known[item]
        setting.wait(item, 0.25)
        known[item] = f"found {item}"
        return known[item]

    loop(setting, look_up, one_by_one)


def equal_questions(setting: Setting) -> None:
    """The same question again and again, which only the digests of its blocks tell."""
    known: dict[str, Any] = {}
    for question in ("the first", "the second", "the first", "the first", "the second"):
        if not setting.fixed or question not in known:
            known[question] = setting.ask([user(f"classify {question}")])


def retries(setting: Setting) -> None:
    @causepath.tool
    def search(item: str) -> str:
        setting.wait(item, 0.1)
        return f"found {item}"

    loop(setting, search, one_by_one)


def own_retries(setting: Setting) -> None:
    """The client tries once; the loop around it tries again after a pause."""
    client = setting.client.with_options(max_retries=0)
    for number in range(3):
        request = setting.request([user(f"classify {number}")])
        for attempt in range(4):
            try:
                # The model that plays its part keeps no count.
                client.messages.create(**request, extra_headers={"x-attempt": str(attempt)})
                break
            except anthropic.APIStatusError:
                setting.wait(f"pause {number}", 0.15)


def smaller_prompts(setting: Setting) -> None:
    """The fix leaves the half of every page out."""
    for number in range(5):
        words = (40 + 60 * number) // (2 if setting.fixed else 1)
        question = f"summarise {number}: " + "word " * words
        with setting.client.messages.stream(**setting.request([user(question)])) as stream:
            stream.until_done()


def shorter_answers(setting: Setting) -> None:
    """Nobody tells the first token apart; the answers differ in length."""
    for number in range(6):
        setting.ask([user(f"describe {number}")])


def shown_as_written(setting: Setting) -> None:
    """Answers of different lengths; the fix streams the last one."""
    for number in range(4):
        setting.ask([user(f"describe {number}")])
    last = setting.request([user("describe 4")])
    if not setting.fixed:
        setting.client.messages.create(**last)
        return
    with setting.client.messages.stream(**last) as stream:
        stream.until_done()


def one_step(setting: Setting) -> None:
    """Of three steps that use the slow model, one gets the fast one."""
    chosen = "fast-model" if setting.fixed else "slow-model"
    with causepath.agent("planner"):
        setting.ask([user("plan")], "plan")
    with causepath.agent("sorter"):
        for number in range(3):
            setting.ask([user(f"sort {number}")], "sort", model=chosen)
    setting.ask([user("route")], "route", model="fast-model")
    setting.ask([user("answer")], "answer")


def shared_connection(setting: Setting) -> None:
    """Queries that wait for one connection, as is seen where a reply already runs two at once."""
    connection = threading.Lock()

    @causepath.tool
    def search(item: str) -> str:
        with connection:
            setting.wait(item, 0.12)
        return f"found {item}"

    def run_all(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        if setting.fixed or len(items) == 2:
            return all_at_once(function, items)
        return one_by_one(function, items)

    loop(setting, search, run_all)


def slow_model(setting: Setting) -> None:
    chosen = "fast-model" if setting.fixed else "slow-model"
    for number in range(2):
        setting.ask([user(f"classify {number}")], model=chosen)
    for number in range(2):
        setting.ask([user(f"route {number}")], model="fast-model")


def two_turns(setting: Setting) -> None:
    def measured(name: str) -> Callable[..., str]:
        @causepath.tool(name=name, read_only=True)
        def tool(**given: str) -> str:
            setting.wait(name, 0.1)
            found = f"{name} says nothing of interest"
            span = trace.get_current_span()
            span.set_attribute("gen_ai.tool.call.arguments", json.dumps(given))
            span.set_attribute("gen_ai.tool.call.result", found)
            return found

        return tool

    tools = {name: measured(name) for name in ("weather", "calendar")}
    messages = [user("go")]
    while True:
        with setting.client.messages.stream(**setting.request(messages)) as stream:
            reply = stream.get_final_message()
        calls = [block for block in reply.content if block.type == "tool_use"]
        if not calls:
            return
        results = [
            {
                "type": "tool_result",
                "tool_use_id": call.id,
                "content": tools[call.name](**call.input),
            }
            for call in calls
        ]
        messages.append({"role": "assistant", "content": reply.content})
        messages.append({"role": "user", "content": results})


def slow_tool(setting: Setting) -> None:
    @causepath.tool
    def search(item: str) -> str:
        setting.wait(item, 0.2 if not setting.fixed else 0.08)
        return f"found {item}"

    loop(setting, search, one_by_one)


def two_changes(setting: Setting) -> None:
    @causepath.tool
    def search(item: str) -> str:
        setting.wait(item, 0.2 if not setting.fixed else 0.1)
        return f"found {item}"

    loop(setting, search, all_at_once if setting.fixed else one_by_one)


def guess_ahead(setting: Setting) -> None:
    """The fix starts the only search there can be before the model has asked for it."""

    @causepath.tool
    def search(item: str) -> str:
        setting.wait(item, 0.4)
        return f"found {item}"

    if not setting.fixed:
        loop(setting, search, one_by_one)
        return
    with ThreadPoolExecutor(1) as pool:
        guess = pool.submit(contextvars.copy_context().run, search, "item-number-0")
        loop(setting, lambda **_: str(guess.result()), one_by_one)


def long_answers(setting: Setting) -> None:
    for part in ("one", "two"):
        with setting.client.messages.stream(**setting.request([user(part)])) as stream:
            stream.until_done()


@dataclass(frozen=True)
class Case:
    """An agent, and the change that its fix stands for."""

    run: Callable[[Setting], None]
    edits: tuple[str, ...]


CASES: dict[str, Case] = {
    "tools in sequence": Case(tools_in_sequence, ("CP101",)),
    "a pool too small": Case(small_pool, ("CP101=6",)),
    "sub-agents in sequence": Case(sub_agents, ("CP101",)),
    "model calls in a loop": Case(model_calls_in_a_loop, ("together llm",)),
    "a loop over items": Case(loop_over_items, ("CP102",)),
    "rounds of a loop": Case(rounds_of_a_loop, ("CP102",)),
    "look-ups before the first call": Case(look_ups_first, ("together retrieval",)),
    "tools while it streams": Case(tools_while_streaming, ("eager tool:search",)),
    "equal calls repeated": Case(equal_calls, ("cache tool:look_up=0ms",)),
    "equal questions to a model": Case(equal_questions, ("cache llm=0ms",)),
    "retries with back-off": Case(retries, ("no-retries",)),
    "retries in the user's code": Case(own_retries, ("no-retries",)),
    "smaller prompts": Case(smaller_prompts, ("shrink input=0.5",)),
    "shorter answers": Case(shorter_answers, ("shrink output=0.5",)),
    "an answer as it is written": Case(shown_as_written, ("stream",)),
    "one step's model": Case(one_step, ("model slow-model@sorter=fast-model",)),
    "a shared connection": Case(shared_connection, ("CP101",)),
    "a slow model": Case(slow_model, ("model slow-model=fast-model",)),
    "two turns for one": Case(two_turns, ("CP103",)),
    "a slow tool": Case(slow_tool, ("scale tool:search=0.4",)),
    "two changes at once": Case(two_changes, ("CP101", "scale tool:search=0.5")),
    "a guess ahead": Case(guess_ahead, ("early tool:search",)),
    "long answers": Case(long_answers, ("scale llm.generation=0.5",)),
}
