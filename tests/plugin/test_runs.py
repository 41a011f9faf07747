"""Which run a call belongs to: declared or inferred, in threads, tasks and generators."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from opentelemetry import trace

import causepath
from causepath.calls import run_spans as run_spans_module
from causepath.calls.model_call import ModelCall
from causepath.calls.run_spans import IDLE_SECONDS
from tests.plugin.chain_replies import chained
from tests.support.messages_api import MessagesApi
from tests.support.recording import telemetry
from tests.support.script import ByTurn, Failure, RawBlock, Reply, ToolUse, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.support.recording import Recording

HELLO = Reply("Hello.", usage=Usage(input_tokens=3, output_tokens=2))
TWO_ROUNDS = ByTurn(
    [
        Reply([ToolUse("search", {"q": "x"})], usage=Usage(3, 2)),
        Reply([ToolUse("search", {"q": "y"})], usage=Usage(5, 2)),
        Reply("Done.", usage=Usage(7, 2)),
    ]
)


@pytest.fixture
def api() -> Iterator[MessagesApi]:
    with MessagesApi(TWO_ROUNDS) as found:
        yield found


@pytest.fixture
def client(api: MessagesApi) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=api.url, api_key="test") as found:
        yield found


def ask(client: anthropic.Anthropic, messages: list[Any], **options: Any) -> Any:
    return client.messages.create(model="m", max_tokens=9, messages=messages, **options)


def answer(messages: list[Any], reply: Any) -> None:
    messages.append({"role": "assistant", "content": reply.content})
    messages.append(
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": block.id, "content": "found"}
                for block in reply.content
                if block.type == "tool_use"
            ],
        }
    )


def loop(client: anthropic.Anthropic, question: str = "?") -> None:
    messages: list[Any] = [{"role": "user", "content": question}]
    while (reply := ask(client, messages)).stop_reason == "tool_use":
        answer(messages, reply)


async def loop_async(client: anthropic.AsyncAnthropic, question: str = "?") -> None:
    messages: list[Any] = [{"role": "user", "content": question}]
    while True:
        reply = await client.messages.create(model="m", max_tokens=9, messages=messages)
        if reply.stop_reason != "tool_use":
            return
        answer(messages, reply)


def shape(recording: Recording) -> str:
    """The tree without what other tests are about: names, nesting and kinds only."""
    return "\n".join(
        line.partition(" id=")[0].partition("/")[0] for line in recording.text().splitlines()
    )


LOOP = """\
invoke_agent {}
  chat m #1  llm 3
  execute_tool search  tool inferred
  chat m #2  llm 5
  execute_tool search  tool inferred
  chat m #3  llm 7"""

INFERRED = LOOP.format("test_runs  agent inferred (UNSET)")
DECLARED = LOOP.format("research  agent (UNSET)")


def test_a_hand_written_loop_is_one_run(recording: Recording, client: Any) -> None:
    loop(client)
    loop(client)
    assert shape(recording) == f"{INFERRED}\n{INFERRED}"


def test_a_run_goes_on_across_threads(recording: Recording, client: Any) -> None:
    messages: list[Any] = [{"role": "user", "content": "?"}]
    while True:
        with ThreadPoolExecutor(1) as fresh:
            reply = fresh.submit(ask, client, messages).result()
        if reply.stop_reason != "tool_use":
            break
        answer(messages, reply)
    assert shape(recording) == INFERRED


def test_concurrent_runs_in_threads_do_not_mix(recording: Recording, client: Any) -> None:
    start = threading.Barrier(8)

    def one(number: int) -> None:
        start.wait()
        loop(client, f"question {number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(8)))
    assert len({span.context.trace_id for span in recording.spans()}) == 8
    by_run = sorted_trees(recording)
    assert by_run == [INFERRED] * 8


def test_concurrent_runs_in_tasks_do_not_mix(recording: Recording, api: MessagesApi) -> None:
    async def main() -> None:
        async with anthropic.AsyncAnthropic(base_url=api.url, api_key="test") as client:
            await asyncio.gather(*(loop_async(client, f"question {n}") for n in range(8)))

    asyncio.run(main())
    assert sorted_trees(recording) == [INFERRED] * 8


def sorted_trees(recording: Recording) -> list[str]:
    trees: list[list[str]] = []
    for line in shape(recording).splitlines():
        if line.startswith(" "):
            trees[-1].append(line)
        else:
            trees.append([line])
    return ["\n".join(tree) for tree in trees]


def with_statement(client: Any) -> None:
    with causepath.agent("research"):
        loop(client)


def decorator(client: Any) -> None:
    @causepath.agent("research")
    def work() -> str:
        loop(client)
        return "result"

    assert work() == "result"
    assert work.__name__ == "work"


def bare_decorator(client: Any) -> None:
    @causepath.agent
    def research() -> None:
        loop(client)

    research()


def generator(client: Any) -> None:
    @causepath.agent("research")
    def work() -> Iterator[str]:
        messages: list[Any] = [{"role": "user", "content": "?"}]
        while (reply := ask(client, messages)).stop_reason == "tool_use":
            answer(messages, reply)
            assert trace.get_current_span().get_span_context().is_valid
            yield "turn"

    for _ in work():
        assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize("way", [with_statement, decorator, bare_decorator, generator])
def test_a_declared_run(recording: Recording, client: Any, way: Any) -> None:
    way(client)
    assert shape(recording) == DECLARED


async def async_with(client: Any) -> None:
    async with causepath.agent("research"):
        await loop_async(client)


async def async_decorator(client: Any) -> None:
    @causepath.agent
    async def research() -> str:
        await loop_async(client)
        return "result"

    assert await research() == "result"
    assert asyncio.iscoroutinefunction(research)


async def async_generator(client: Any) -> None:
    @causepath.agent("research")
    async def work() -> AsyncIterator[str]:
        yield "begins"
        await loop_async(client)
        yield "ends"

    seen = []
    async for item in work():
        assert not trace.get_current_span().get_span_context().is_valid
        seen.append(item)
    assert seen == ["begins", "ends"]


async def async_generator_left_early(client: Any) -> None:
    @causepath.agent("research")
    async def work() -> AsyncIterator[str]:
        await loop_async(client)
        yield "first"
        raise AssertionError("never asked for")

    items = work()
    assert await anext(items) == "first"
    await items.aclose()


@pytest.mark.parametrize(
    "way", [async_with, async_decorator, async_generator, async_generator_left_early]
)
def test_a_declared_run_of_asynchronous_code(
    recording: Recording, api: MessagesApi, way: Any
) -> None:
    async def main() -> None:
        async with anthropic.AsyncAnthropic(base_url=api.url, api_key="test") as client:
            await way(client)

    asyncio.run(main())
    assert shape(recording) == DECLARED


def test_a_generator_passes_on_what_it_is_sent_thrown_and_returns(recording: Recording) -> None:
    @causepath.agent("talk")
    def work() -> Any:
        heard = []
        try:
            heard.append((yield "one"))
            heard.append((yield "two"))
        except KeyError as error:
            heard.append(error)
            yield "sorry"
        return heard

    talk = work()
    problem = KeyError("k")
    assert [next(talk), talk.send("hi"), talk.throw(problem)] == ["one", "two", "sorry"]
    with pytest.raises(StopIteration) as stop:
        next(talk)
    assert stop.value.value == ["hi", problem]
    assert recording.text() == "invoke_agent talk  agent (UNSET)"


def test_an_exception_ends_the_run_and_goes_on(recording: Recording) -> None:
    with pytest.raises(ZeroDivisionError), causepath.agent("broken"):
        raise ZeroDivisionError
    assert recording.text() == "invoke_agent broken  agent error=ZeroDivisionError (ERROR)"


def test_agents_inside_agents(recording: Recording, client: Any) -> None:
    with causepath.agent("outer"), causepath.agent("research"):
        loop(client)
    inner = "\n".join(f"  {line}" for line in DECLARED.splitlines())
    assert shape(recording) == f"invoke_agent outer  agent (UNSET)\n{inner}"


def test_the_applications_own_span_stays_the_parent(recording: Recording, client: Any) -> None:
    with trace.get_tracer("web").start_as_current_span("web request"):
        loop(client)
    assert shape(recording) == LOOP.replace("invoke_agent {}", "web request  other (UNSET)")


def test_a_second_conversation_below_one_span_counts_its_own_turns(
    recording: Recording, client: Any
) -> None:
    with trace.get_tracer("web").start_as_current_span("web request"):
        loop(client)
        loop(client)
    assert shape(recording).count("chat m #1") == 2
    assert shape(recording).count("chat m #3") == 2


def test_a_run_that_is_left_ends_when_it_last_did_something(
    recording: Recording, client: Any
) -> None:
    ask(client, [{"role": "user", "content": "?"}])
    assert [span.name for span in recording.spans()] == ["chat m"]
    active = telemetry()
    active.run_spans.end_idle(idle_seconds=3600)
    assert len(recording.spans()) == 1
    active.run_spans.end_idle()
    chat, run = recording.spans()
    assert run.name == "invoke_agent test_runs"
    assert run.end_time == chat.end_time


def test_a_run_survives_a_failed_turn_that_the_application_repeats(recording: Recording) -> None:
    script = [
        Reply([ToolUse("search", {"q": "x"})], usage=Usage(3, 2)),
        Failure(400),
        Reply("Done.", usage=Usage(7, 2)),
    ]
    with (
        MessagesApi(script) as api,
        anthropic.Anthropic(base_url=api.url, api_key="test", max_retries=0) as client,
    ):
        messages: list[Any] = [{"role": "user", "content": "?"}]
        answer(messages, ask(client, messages))
        with pytest.raises(anthropic.BadRequestError):
            ask(client, messages)
        ask(client, messages)
    assert shape(recording) == (
        "invoke_agent test_runs  agent inferred (UNSET)\n"
        "  chat m #1  llm 3\n"
        "  execute_tool search  tool inferred\n"
        "  chat m #2  llm -\n"
        "  chat m #3  llm 7"
    )


@pytest.mark.parametrize("streamed", [False, True], ids=["at once", "streamed"])
def test_a_tool_may_run_while_another_call_of_the_run_is_answered(
    recording: Recording, streamed: bool
) -> None:
    script = [
        Reply([ToolUse("slow", {"q": "x"})]),
        Reply([ToolUse("late", {"q": "y"})]),
        Reply("Done."),
        Reply("Done."),
    ]
    with (
        causepath.agent("research"),
        MessagesApi(script) as api,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        both: list[list[Any]] = [[{"role": "user", "content": q}] for q in ("one?", "two?")]
        for messages in both:
            if streamed:
                with client.messages.stream(model="m", max_tokens=9, messages=messages) as stream:
                    answer(messages, stream.get_final_message())
            else:
                answer(messages, ask(client, messages))
        for messages in both:
            ask(client, messages)
    spans = sorted(recording.spans(), key=lambda span: span.start_time or 0)
    assert [span.name for span in spans] == [
        "invoke_agent research",
        "chat m",
        "execute_tool slow",
        "chat m",
        "execute_tool late",
        "chat m",
        "chat m",
    ]


def test_nothing_is_declared_while_the_plugin_is_off() -> None:
    with causepath.agent("research"):
        assert not trace.get_current_span().get_span_context().is_valid
    assert causepath.agent(test_nothing_is_declared_while_the_plugin_is_off).__name__


def test_what_a_call_holds_is_free_when_it_returns(
    client: anthropic.Anthropic, recording: Recording
) -> None:
    """Without waiting for the collector: a request may be a megabyte."""
    gc.collect()  # what tests before this one have left
    gc.disable()
    try:
        ask(client, [{"role": "user", "content": "?"}])
        held = [one for one in gc.get_objects() if isinstance(one, ModelCall)]
    finally:
        gc.enable()
    assert recording.spans
    assert held == []


@pytest.mark.parametrize("says_so", [True, False], ids=["a call", "something else"])
def test_a_span_of_others_that_says_late_that_it_is_of_the_call(
    monkeypatch: pytest.MonkeyPatch, api: MessagesApi, recording: Recording, says_so: bool
) -> None:
    monkeypatch.setenv("ANTHROPIC_OPEN_TELEMETRY", "false")
    tracer = trace.get_tracer("framework")
    with (
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
        tracer.start_as_current_span("turn"),
        tracer.start_as_current_span("chat") as span,
    ):
        if says_so:
            span.set_attribute("gen_ai.operation.name", "chat")
        ask(client, [{"role": "user", "content": "?"}])
    completed = "turn  other (UNSET)\n  chat #1  llm 3/2 tool_call (UNSET)"
    beside = "turn  other (UNSET)\n  chat  other -/- (UNSET)\n    chat m #1  llm 3/2 tool_call (OK)"
    assert recording.text() == (completed if says_so else beside)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_reply_that_paused_goes_on_in_the_same_run(recording: Recording, streamed: bool) -> None:
    """The API carries out tools itself, and asks for another request before it is done."""

    def part(number: int) -> Reply:
        search = {"type": "server_tool_use", "id": f"srvtoolu_{number}", "name": "web_search"}
        return Reply(
            [RawBlock({**search, "input": {}})], usage=Usage(number, 2), stop_reason="pause_turn"
        )

    with (
        MessagesApi([part(1), part(2), Reply("Done.", usage=Usage(3, 2)), part(4)]) as api,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        messages: list[Any] = [{"role": "user", "content": "?"}]
        asked: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": messages}
        for _ in range(3):
            if streamed:
                with client.messages.stream(**asked) as stream:
                    reply = stream.get_final_message()
            else:
                reply = client.messages.create(**asked)
            messages.append({"role": "assistant", "content": reply.content})
        client.messages.create(**asked | {"messages": messages[:1]})
    assert shape(recording) == (
        "invoke_agent test_runs  agent inferred (UNSET)\n"
        "  chat m #1  llm 1\n"
        "  chat m #2  llm 2\n"
        "  chat m #3  llm 3\n"
        "invoke_agent test_runs  agent inferred (UNSET)\n"
        "  chat m #1  llm 4"
    )


# -- chains: calls that take up what others answered


def say(client: anthropic.Anthropic, question: str) -> str:
    return str(ask(client, [{"role": "user", "content": question}]).content[0].text)


def plan_draft_polish(client: anthropic.Anthropic) -> None:
    plan = say(client, "PLAN an article about tea")
    say(client, f"POLISH this: {say(client, f'DRAFT with this: {plan}')}")


def rounds_of_a_chat(client: anthropic.Anthropic) -> None:
    messages: list[Any] = []
    for question in ("ASK one", "ASK two", "ASK three"):
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": ask(client, messages).content})


def retrieve_and_answer(client: anthropic.Anthropic) -> None:
    answer_from_pages(client, "How do I make green tea?")


def answer_from_pages(client: anthropic.Anthropic, question: str) -> None:
    for_search = {"role": "user", "content": f"Rewrite for search: {question}"}
    client.messages.create(model="m", max_tokens=9, messages=[for_search])
    for_answer = {"role": "user", "content": f"Answer from this: nothing\n\n{question}"}
    client.messages.create(model="m", max_tokens=9, messages=[for_answer])


def workers_and_a_critic(client: anthropic.Anthropic) -> None:
    topics = json.loads(say(client, "LIST the topics"))
    with ThreadPoolExecutor(3) as pool:
        drafts = list(pool.map(lambda topic: say(client, f"WORK on: {topic}"), topics))
    say(client, "JUDGE this: " + "\n".join(drafts))


TICKET = "The printer on floor two is out of order"


def label_and_answer(client: anthropic.Anthropic) -> None:
    answer_ticket(client, TICKET.replace("order", "paper"))


def answer_ticket(client: anthropic.Anthropic, ticket: str) -> None:
    say(client, f"LABEL this ticket, please: {ticket}")
    say(client, f"ANSWER this in two lines: {ticket}")


def label_and_form_letter(client: anthropic.Anthropic) -> None:
    label = say(client, "LABEL this ticket: nothing is printed")
    say(client, f"WRITE a form letter for everything about {label}")


def title_and_text(client: anthropic.Anthropic) -> None:
    title = say(client, "TITLE for an article about nothing in particular")
    say(client, f"WRITE what goes below '{title}' in the paper")


def shorten_again_and_again(client: anthropic.Anthropic) -> None:
    title = "Tea"
    for _ in range(3):
        title = say(client, f"SHORTEN it: {title}")


def extract_and_write(client: anthropic.Anthropic) -> None:
    tool: Any = {"name": "topic", "input_schema": {"type": "object"}}
    found = client.messages.create(
        model="m",
        max_tokens=9,
        messages=[{"role": "user", "content": "EXTRACT the topic"}],
        tools=[tool],
        tool_choice={"type": "tool", "name": "topic"},
    )
    say(client, f"WRITE about {found.content[0].input['about']} now")  # type: ignore[union-attr]


def questions_of_their_own(client: anthropic.Anthropic) -> None:
    for question in ("ASK for the weather", "ASK for a train", "ASK for a poem"):
        say(client, question)


def items_of_a_loop(client: anthropic.Anthropic) -> None:
    for topic in ("the tea of China", "the coffee of Yemen"):
        first = {"role": "user", "content": f"ASK for a plan of a short article.\n{topic}, please"}
        client.messages.create(model="m", max_tokens=9, messages=[first])
        other = {"role": "user", "content": f"ASK for the article itself.\n{topic}, please"}
        client.messages.create(model="m", max_tokens=9, messages=[other])


def questions_of_one_template(client: anthropic.Anthropic) -> None:
    begin = {"role": "user", "content": "ASK to translate the sentence that follows:\nHello"}
    client.messages.create(model="m", max_tokens=9, messages=[begin])
    then = {"role": "user", "content": "ASK to translate the sentence that follows:\nGood night"}
    client.messages.create(model="m", max_tokens=9, messages=[then])


def the_same_again(client: anthropic.Anthropic) -> None:
    for _ in range(2):
        ask(client, [{"role": "user", "content": "ASK how it is going today"}])


def capital_and_a_trip(client: anthropic.Anthropic) -> None:
    say(client, "LABEL the printer")
    say(client, "WORK on: a shop for Hardware")


def labels_of_a_loop(client: anthropic.Anthropic) -> None:
    for ticket in ("no paper", "Hardware of ours is broken", "the Hardware again"):
        say(client, f"LABEL this ticket: {ticket}")


def tickets_of_a_loop(client: anthropic.Anthropic) -> None:
    for ticket in ("The printer is out of paper", "The printer is out of Hardware"):
        label = say(client, f"LABEL this ticket: {ticket}")
        say(client, f"WRITE as {label} about it: {ticket}")


def answers_of_a_loop(client: anthropic.Anthropic) -> None:
    for number in range(2):
        answer_ticket(client, TICKET.replace("two", str(number)))


def batch_of(client: anthropic.Anthropic, passage: str, *questions: str) -> None:
    for question in questions:
        say(client, f"ASK {question} of this: {passage}")


def two_batches(client: anthropic.Anthropic) -> None:
    batch_of(client, "a passage that all of them are about", "who", "when")
    batch_of(client, "a passage that all of them are about", "where", "why")


def two_agents_with_one_question(client: anthropic.Anthropic) -> None:
    question = f"Which printer is the best for {len(TICKET)} people?"
    briefly(client, question)
    at_length(client, question)


def briefly(client: anthropic.Anthropic, question: str) -> None:
    say(client, f"ASK briefly: {question}")


def at_length(client: anthropic.Anthropic, question: str) -> None:
    say(client, f"ASK at length: {question}")


def one_question_twice(client: anthropic.Anthropic) -> None:
    question = f"Which printer is the best for {len(TICKET)} people?"
    say(client, f"ASK this: {question}")
    say(client, f"ASK this: {question}")


def two_in_a_row(client: anthropic.Anthropic) -> None:
    plan_draft_polish(client)
    plan_draft_polish(client)


@pytest.mark.parametrize(
    ("agent", "calls"),
    [
        (plan_draft_polish, [3]),
        (rounds_of_a_chat, [3]),
        (retrieve_and_answer, [2]),
        (workers_and_a_critic, [5]),
        (label_and_answer, [2]),
        (label_and_form_letter, [2]),
        (title_and_text, [2]),
        (shorten_again_and_again, [3]),
        (extract_and_write, [2]),
        (capital_and_a_trip, [1, 1]),
        (labels_of_a_loop, [1, 1, 1]),
        (tickets_of_a_loop, [2, 2]),
        (answers_of_a_loop, [2, 2]),
        (two_batches, [1, 1, 1, 1]),
        (two_agents_with_one_question, [1, 1]),
        (one_question_twice, [1, 1]),
        (questions_of_their_own, [1, 1, 1]),
        (questions_of_one_template, [1, 1]),
        (items_of_a_loop, [2, 2]),
        (the_same_again, [1, 1]),
        (two_in_a_row, [3, 3]),
    ],
)
def test_a_chain_of_calls_is_one_run(agent: Any, calls: list[int], recording: Recording) -> None:
    with (
        MessagesApi(chained) as api,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        agent(client)
    traces = Counter(s.context.trace_id for s in recording.spans() if s.name == "chat m")
    assert list(traces.values()) == calls
    roots = [span for span in recording.spans() if span.parent is None]
    assert [root.name for root in roots] == ["invoke_agent test_runs"] * len(calls)
    for root in roots:
        ends = [
            s.end_time for s in recording.spans() if s.context.trace_id == root.context.trace_id
        ]
        assert root.end_time == max(ends)


def test_a_run_ends_with_the_code_that_made_it(recording: Recording) -> None:
    with (
        MessagesApi(chained) as api,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        thread = threading.Thread(target=plan_draft_polish, args=(client,))
        thread.start()
        thread.join()
        for _ in range(1_000):
            names = [span.name for span in recording.finished()]
            if "invoke_agent test_runs" in names:
                break
            threading.Event().wait(0.01)
    assert names.count("invoke_agent test_runs") == 1


class Traffic:
    """A queue in which there is another run, which is over, every four seconds."""

    def __init__(self, run: Any) -> None:
        self._run = run
        self.passed_seconds = 0

    def get(self, timeout: float) -> Any:
        self.passed_seconds += 4
        assert timeout > 4
        assert self.passed_seconds < 3_600, "nobody has looked"
        return self._run

    def put(self, run: Any) -> None:
        assert run is None


def test_runs_go_idle_while_others_end_all_the_time(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_spans = telemetry().run_spans
    monkeypatch.setitem(run_spans._janitor, "works", object())
    with (
        MessagesApi([Reply("Done."), Reply([ToolUse("search", {"q": "x"})])]) as api,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        say(client, "ASK one")
        (over,) = run_spans._runs.idle(sys.maxsize)
        run_spans.end(over, over.touched_ns)
        ask(client, [{"role": "user", "content": "ASK two"}])
    traffic = Traffic(over)
    clock = SimpleNamespace(
        time_ns=lambda: time.time_ns() + traffic.passed_seconds * 10**9,
        monotonic=lambda: time.monotonic() + traffic.passed_seconds,
    )
    monkeypatch.setattr(run_spans_module, "time", clock)
    monkeypatch.setattr(run_spans._chains, "finished", traffic)
    run_spans._end_as_they_go_idle()
    assert IDLE_SECONDS <= traffic.passed_seconds <= IDLE_SECONDS + 10
    assert Counter(span.name for span in recording.spans()) == {
        "invoke_agent test_runs": 2,
        "chat m": 2,
    }


def test_no_frame_is_marked_while_somebody_traces(recording: Recording) -> None:
    def agent() -> None:
        frames.append(sys._getframe().f_trace)
        say(client, "ASK")
        frames.append(sys._getframe().f_trace)

    frames: list[object] = []
    with (
        MessagesApi(chained) as api,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        before = sys.gettrace()
        sys.settrace(lambda *_: None)
        try:
            agent()
        finally:
            sys.settrace(before)
        agent()
        say(client, "ASK")
        frames.append(sys._getframe().f_trace)
        causepath.uninstrument()
        frames.append(sys._getframe().f_trace)
    assert [type(one).__name__ for one in frames] == [
        "NoneType", "NoneType", "NoneType", "Activation", "Activation", "NoneType",
    ]  # fmt: skip


def test_a_function_that_asks_for_a_tool_of_its_name_is_not_the_tool(
    client: anthropic.Anthropic, recording: Recording
) -> None:
    def classify(ticket: str) -> Any:
        tool = {"name": "search", "input_schema": {"type": "object"}}
        return ask(client, [{"role": "user", "content": ticket}], tools=[tool]).content[0].input

    search = classify  # as a table may have it
    for ticket in ("printer broken", "login fails", "invoice wrong"):
        TOOLS_BY_NAME["search"] = search
        TOOLS_BY_NAME["search"](ticket)
    recording.text()
    names = Counter(span.name for span in recording.spans())
    assert names == {"invoke_agent test_runs": 3, "chat m": 3}


TOOLS_BY_NAME: dict[str, Any] = {}
