"""Which of several calls was the tool: the one whose result is sent to the model."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from opentelemetry import trace

from tests.plugin.look_alikes import CLOCK, LOOK_ALIKES, OTHERS, wait
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording
from tests.support.script import ByTurn, Reply, ToolUse, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

USAGE = Usage(3, 2)
DONE = Reply("Done.", usage=USAGE)
PAY = Reply([ToolUse("pay", {"amount": 41, "to": "Ada Bell"}, id="toolu_1")], usage=USAGE)
PAY_TWICE = Reply(
    [
        ToolUse("pay", {"amount": 41, "to": "Ada Bell"}, id="toolu_1"),
        ToolUse("pay", {"amount": 42, "to": "Bob Cole"}, id="toolu_2"),
    ],
    usage=USAGE,
)


def loop(client: Any, carry_out: Callable[[Any], object]) -> None:
    messages: list[Any] = [{"role": "user", "content": "?"}]
    while True:
        reply = client.messages.create(model="m", max_tokens=9, messages=messages)
        if reply.stop_reason != "tool_use":
            return
        results = [
            {"type": "tool_result", "tool_use_id": b.id, "content": str(carry_out(b))}
            for b in reply.content
        ]
        messages.append({"role": "assistant", "content": reply.content})
        messages.append({"role": "user", "content": results})


def spans_of(way: Callable[[Any], object], asked: Reply = PAY) -> Sequence[ReadableSpan]:
    """The tools' spans, in the order in which they began."""
    with (
        MessagesApi(ByTurn([asked, DONE])) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        way(lambda carry_out: loop(client, carry_out))
        spans = [s for s in recording.spans() if s.name.startswith("execute_tool")]
        return sorted(spans, key=lambda span: span.start_time or 0)


def about(span: ReadableSpan) -> dict[str, Any]:
    found = dict(span.attributes or {})
    return {
        name: found[f"causepath.tool.{name}"]
        for name in ("inferred", "ambiguous")
        if f"causepath.tool.{name}" in found
    } | {"id": found["gen_ai.tool.call.id"]}


@pytest.mark.parametrize("asked", [PAY, PAY_TWICE], ids=["once", "twice"])
@pytest.mark.parametrize("way", LOOK_ALIKES, ids=[way.__name__ for way in LOOK_ALIKES])
def test_what_has_a_tools_name_and_arguments_is_not_the_tool(way: Any, asked: Reply) -> None:
    CLOCK.clear()
    OTHERS.clear()
    spans = spans_of(way, asked)
    assert [about(span) for span in spans] == [{"id": block.id} for block in asked.blocks]
    for span, (begin, end) in zip(spans, CLOCK, strict=True):
        assert (span.start_time or 0) <= begin < end <= (span.end_time or 0)
        assert all(
            after <= (span.start_time or 0) or (span.end_time or 0) <= before
            for before, after in OTHERS
        )


def test_what_nothing_tells_apart_is_said_to_be_ambiguous() -> None:
    def way(call: Any) -> None:
        first, second = {"pay": lambda **_: "the same"}, {"pay": lambda **_: "the same"}
        call(lambda b: (first[b.name](**b.input), second[b.name](**b.input))[1])

    assert [about(span) for span in spans_of(way)] == [{"ambiguous": 2, "id": "toolu_1"}]


@pytest.mark.parametrize("answer", [True, None, {"allowed": True, "limit": 41}, ["may", "pay"]])
def test_a_check_alone_is_no_tool_where_nobody_knows_what_took_the_time(answer: Any) -> None:
    def way(call: Any) -> None:
        allowed = {"pay": lambda **_: answer}

        def carry_out(block: Any) -> str:
            allowed[block.name](**block.input)
            threading.Event().wait(0.05)
            return "sent 41 by something else"

        call(carry_out)

    assert [about(span) for span in spans_of(way)] == [{"inferred": True, "id": "toolu_1"}]


@pytest.mark.parametrize("answer", [{"n": 1, "rows": [1, 2]}, None, 7])
def test_the_tools_of_one_reply_explain_the_time_after_one_another(answer: Any) -> None:
    """Also where no result can be recognised in what is sent."""

    def way(call: Any) -> None:
        def pay(**_: Any) -> Any:
            wait(0.04)
            return answer

        tools = {"pay": pay}
        call(lambda b: f"the bank says: {len(str(tools[b.name](**b.input)))} letters")

    found = [about(span) for span in spans_of(way, PAY_TWICE)]
    assert found == [{"id": "toolu_1"}, {"id": "toolu_2"}]


def test_a_tool_that_gives_nothing_back_is_measured() -> None:
    def way(call: Any) -> None:
        tools = {"pay": lambda **_: wait(0.05)}

        def carry_out(block: Any) -> str:
            tools[block.name](**block.input)
            return "Done, as you said."

        call(carry_out)

    (span,) = spans_of(way)
    assert about(span) == {"id": "toolu_1"}
    assert (span.end_time or 0) - (span.start_time or 0) >= 50_000_000


def test_what_was_done_in_a_check_does_not_hang_in_the_air() -> None:
    def way(call: Any) -> None:
        def check(**_: Any) -> bool:
            with trace.get_tracer("app").start_as_current_span("ask the policy service"):
                return True

        allowed, tools = {"pay": check}, {"pay": lambda **_: "paid well"}
        call(lambda b: tools[b.name](**b.input) if allowed[b.name](**b.input) else "")

    with (
        MessagesApi(ByTurn([PAY, DONE])) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        way(lambda carry_out: loop(client, carry_out))
        assert recording.text() == (
            "invoke_agent test_candidates  agent inferred (UNSET)\n"
            "  chat m #1  llm 3/2 tool_call (OK)\n"
            "  test_what_was_done_in_a_check_does_not_hang_in_the_air.<locals>.way.<locals>.check"
            "  other (UNSET) <-tool_call- chat m #1\n"
            "    ask the policy service  other (UNSET)\n"
            "  execute_tool pay  tool id=toolu_1 (UNSET) <-tool_call- chat m #1\n"
            "  chat m #2  llm 3/2 stop (OK) <-tool_result- execute_tool pay"
        )


def score(text: str) -> int:
    return len(text)


PLAIN = score.__code__


def rank(texts: int) -> str:
    """Uses another tool, much."""
    total = sum(score("x" * n) for n in range(texts))
    return f"{total} {'alone' if score.__code__ is PLAIN else 'watched'}"


RANK_AND_SCORE = Reply(
    [
        ToolUse("rank", {"texts": 300}, id="toolu_1"),
        ToolUse("score", {"text": "an answer"}, id="toolu_2"),
    ],
    usage=USAGE,
)


def test_a_tool_that_uses_another_one_much_is_not_watched_at_it() -> None:
    """The call of the other one that was asked for is measured all the same."""
    tools: dict[str, Any] = {"rank": rank, "score": score}
    results = []

    def carry_out(block: Any) -> object:
        results.append(tools[block.name](**block.input))
        return results[-1]

    spans = spans_of(lambda run: run(carry_out), RANK_AND_SCORE)
    assert results == ["44850 alone", 9]
    assert score.__code__ is PLAIN
    assert [about(span) for span in spans] == [
        {"id": "toolu_1"},
        {"id": "toolu_2"},
    ]


def test_a_function_that_is_called_much_before_it_is_asked_for_is_left_alone() -> None:
    """Nobody can wait for the one call among thousands; that it is not known is said."""
    tools: dict[str, Any] = {"rank": rank, "score": score}
    rounds = iter([0, 1_100])

    def carry_out(block: Any) -> object:
        used = [score("x" * n) for n in range(next(rounds))]
        return tools[block.name](**block.input), len(used)

    spans = spans_of(lambda run: run(carry_out), RANK_AND_SCORE)
    assert [about(span) for span in spans] == [
        {"id": "toolu_2", "inferred": True},
        {"id": "toolu_1"},
    ]


# -- the same call, made by somebody else at the same time


FETCH = Reply([ToolUse("fetch", {"path": "a/long/path"}, id="toolu_1")], usage=USAGE)


class Meanwhile:
    """A call of the tool's function that begins before the tool and ends inside it."""

    def __init__(self) -> None:
        self.may_begin, self.has_begun = threading.Event(), threading.Event()
        self.may_end, self.has_ended = threading.Event(), threading.Event()
        self.began_ns = 0
        self.tool: list[int] = []

    def fetch(self, path: str) -> str:
        if threading.current_thread().name == "meanwhile":
            self.began_ns = time.time_ns()
            self.has_begun.set()
            self.may_end.wait(10)
        else:
            self.tool.append(time.time_ns())
            self.may_end.set()
            self.has_ended.wait(10)
            self.tool.append(time.time_ns())
        return "the text at " + path

    def call(self) -> None:
        self.may_begin.wait(10)
        self.fetch("a/long/path")
        self.has_ended.set()

    def begin(self) -> None:
        self.may_begin.set()
        self.has_begun.wait(10)


def in_the_loop(call: Callable[[], str]) -> str:
    return call()


def in_a_pool(call: Callable[[], str]) -> str:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result(10)


def in_a_thread(call: Callable[[], str]) -> str:
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join(10)
    return found[0]


def in_an_executor_of_a_loop(call: Callable[[], str]) -> str:
    async def main() -> str:
        return await asyncio.get_running_loop().run_in_executor(None, call)

    return asyncio.run(main())


@pytest.mark.parametrize("run", [in_the_loop, in_a_pool, in_a_thread, in_an_executor_of_a_loop])
def test_a_thread_of_the_application_that_does_the_same_is_not_the_tool(
    run: Callable[[Callable[[], str]], str],
) -> None:
    meanwhile = Meanwhile()
    fetch = meanwhile.fetch
    other = threading.Thread(target=meanwhile.call, name="meanwhile")
    other.start()

    def carry_out(block: Any) -> str:
        meanwhile.begin()
        return run(lambda: fetch(**block.input))

    (span,) = spans_of(lambda run_loop: run_loop(carry_out), FETCH)
    other.join(10)
    assert about(span) == {"id": "toolu_1"}
    assert meanwhile.began_ns < (span.start_time or 0) <= meanwhile.tool[0]
    assert meanwhile.tool[1] <= (span.end_time or 0)


def test_which_of_two_threads_outside_the_loop_was_the_tool_is_said_to_be_ambiguous() -> None:
    """The loop puts the call into a queue, and both have begun before it."""
    meanwhile = Meanwhile()
    fetch = meanwhile.fetch
    asked: queue.Queue[Any] = queue.Queue()
    answers: queue.Queue[str] = queue.Queue()
    threads = [
        threading.Thread(target=meanwhile.call, name="meanwhile"),
        threading.Thread(target=lambda: answers.put(fetch(**asked.get(timeout=10)))),
    ]
    for thread in threads:
        thread.start()

    def carry_out(block: Any) -> str:
        meanwhile.begin()
        asked.put(block.input)
        return f" {answers.get(timeout=10)}".strip()  # another object

    (span,) = spans_of(lambda run_loop: run_loop(carry_out), FETCH)
    for thread in threads:
        thread.join(10)
    assert about(span) == {"ambiguous": 2, "id": "toolu_1"}
