"""Budgets at run time: what is counted, what is refused, and what the trace says of it.

The SDKs are the real ones, over HTTP; the clock is one that tests set.
"""

from __future__ import annotations

import asyncio
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest
from anthropic import beta_tool

import causepath
from causepath.budgets import spending, time_outs
from tests.plugin.conftest import NATIVE
from tests.support.messages_api import MessagesApi
from tests.support.openai_api import OpenAiApi
from tests.support.script import Failure, InOrder, Reply, ToolUse, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.recording import Recording

HELLO = Reply("Hello, you there.", usage=Usage(100, 20))
ASKS = Reply([ToolUse("search", {"q": "x"})], usage=Usage(100, 20))
QUESTION: Any = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "?"}]}
CHAT: Any = {"model": "m", "messages": QUESTION["messages"]}
COUNTED: Any = {**CHAT, "stream_options": {"include_usage": True}}


class Clock:
    """A monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.now_ns = 10**12

    def monotonic_ns(self) -> int:
        return self.now_ns

    def passes(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(spending, "time", found)
    monkeypatch.setattr(time_outs, "time", found)
    return found


@pytest.fixture
def api() -> Iterator[MessagesApi]:
    with MessagesApi(lambda _: HELLO) as found:
        yield found


def client_of(api: Any, **more: Any) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=api.url, api_key="t", max_retries=0, **more)


def told(recording: Recording) -> list[tuple[str, str, str]]:
    """Lists the events of budgets: what, of which kind, and what was refused."""
    recording.text()
    return [
        (
            event.name.rpartition(".")[2],
            str((event.attributes or {})["causepath.budget.kind"]),
            str((event.attributes or {}).get("causepath.budget.refused", "")),
        )
        for span in recording.spans()
        for event in span.events
        if event.name.startswith("causepath.budget")
    ]


def exceeded(recording: Recording) -> list[Any]:
    recording.text()
    found = [(span.attributes or {}).get("causepath.budget.exceeded") for span in recording.spans()]
    return [one for one in found if one is not None]


# -- each way to call, by either SDK: refused before it asks, and counted when it has


def anthropic_plain(api: Any) -> None:
    with client_of(api) as client:
        client.messages.create(**QUESTION)


def anthropic_streamed(api: Any) -> None:
    with client_of(api) as client:
        for _ in client.messages.create(**QUESTION, stream=True):
            pass


def anthropic_helper(api: Any) -> None:
    with client_of(api) as client, client.messages.stream(**QUESTION) as stream:
        stream.get_final_message()


def anthropic_async(api: Any) -> None:
    async def ask() -> None:
        async with anthropic.AsyncAnthropic(base_url=api.url, api_key="t") as client:
            await client.messages.create(**QUESTION)

    asyncio.run(ask())


def anthropic_async_streamed(api: Any) -> None:
    async def ask() -> None:
        async with anthropic.AsyncAnthropic(base_url=api.url, api_key="t") as client:
            async for _ in await client.messages.create(**QUESTION, stream=True):
                pass

    asyncio.run(ask())


def in_a_thread(api: Any) -> None:
    raised: list[BaseException] = []

    def work() -> None:
        try:
            anthropic_plain(api)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    if raised:
        raise raised[0]


def in_a_pool(api: Any) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(anthropic_plain, api).result(60)


def in_a_task(api: Any) -> None:
    async def ask() -> None:
        await asyncio.create_task(asyncio.to_thread(anthropic_plain, api))

    asyncio.run(ask())


def openai_of(api: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{api.url}/v1", api_key="t", max_retries=0)


def openai_plain(api: Any) -> None:
    with openai_of(api) as client:
        client.chat.completions.create(**CHAT)


def openai_streamed(api: Any) -> None:
    with openai_of(api) as client:
        for _ in client.chat.completions.create(**COUNTED, stream=True):
            pass


def openai_responses(api: Any) -> None:
    with openai_of(api) as client:
        client.responses.create(model="m", input="?")


WAYS = [
    (MessagesApi, anthropic_plain),
    (MessagesApi, anthropic_streamed),
    (MessagesApi, anthropic_helper),
    (MessagesApi, anthropic_async),
    (MessagesApi, anthropic_async_streamed),
    (MessagesApi, in_a_thread),
    (MessagesApi, in_a_pool),
    (MessagesApi, in_a_task),
    (OpenAiApi, openai_plain),
    (OpenAiApi, openai_streamed),
    (OpenAiApi, openai_responses),
]


@pytest.mark.parametrize(("api", "way"), WAYS, ids=[way.__name__ for _, way in WAYS])
def test_a_call_is_counted_and_the_next_one_is_refused(
    recording: Recording, api: Any, way: Callable[[Any], None]
) -> None:
    with (
        causepath.agent("a"),
        api(lambda _: HELLO) as server,
        causepath.budget(turns=1, on_exceeded="abort") as budget,
    ):
        way(server)
        assert budget.usage[3:] == (120, None, 1)
        assert not budget.can_continue()
        with pytest.raises(
            causepath.BudgetExceeded, match=r"1 model call with 120 tokens"
        ) as found:
            way(server)
        assert (found.value.kind, len(server.requests)) == ("turns", 1)
    assert [one[:2] for one in told(recording)] == [
        ("warning", "turns"),
        ("exceeded", "turns"),
        ("refused", "turns"),
    ]
    assert exceeded(recording) == [("turns",)]


# -- streams end at the next event


@pytest.mark.parametrize("native", [False, True] if NATIVE else [False])
def test_a_stream_ends_at_the_next_event(
    recording: Recording, api: MessagesApi, clock: Clock, native: bool
) -> None:
    made = client_of(api)
    client = made if native else silent(made)
    with made, causepath.agent("a"), causepath.budget(wall="5s", on_exceeded="abort") as budget:
        stream = client.messages.create(**QUESTION, stream=True)
        events = iter(stream)
        assert next(events).type == "message_start"
        clock.passes(6)
        with pytest.raises(causepath.BudgetExceeded, match="no further reply of chat m"):
            next(events)
        assert stream.response.is_closed
        assert budget.usage == (6.0, 6.0, 0.0, None, None, 1)
    (call,) = [span for span in recording.spans() if span.name == "chat m"]
    assert (call.attributes or {})["error.type"] == "BudgetExceeded"
    assert call.status.status_code.name == "ERROR"
    assert told(recording) == [
        ("exceeded", "wall", ""),
        ("refused", "wall", "reply of chat m"),
    ]


def test_an_asynchronous_stream_ends_at_the_next_event(
    recording: Recording, api: MessagesApi, clock: Clock
) -> None:
    async def ask() -> bool:
        async with anthropic.AsyncAnthropic(base_url=api.url, api_key="t") as client:
            stream = await client.messages.create(**QUESTION, stream=True)
            seen = 0
            try:
                async for _ in stream:
                    seen += 1
                    clock.passes(6)
            except causepath.BudgetExceeded:
                return seen == 1 and stream.response.is_closed
            return False

    with causepath.budget(wall="5s", on_exceeded="abort"):
        assert asyncio.run(ask())
    (call,) = [span for span in recording.spans() if span.name == "chat m"]
    assert (call.attributes or {})["error.type"] == "BudgetExceeded"


def test_the_tokens_of_a_prompt_count_as_soon_as_they_are_told(
    recording: Recording, api: MessagesApi
) -> None:
    with causepath.budget(tokens=50, on_exceeded="abort") as budget:
        with pytest.raises(causepath.BudgetExceeded, match="more that no reply has told") as found:
            anthropic_streamed(api)
        assert found.value.kind == "tokens"
        assert budget.usage.tokens is None, "what it had written by then is billed, too"
    assert recording.text()


def silent(client: anthropic.Anthropic) -> anthropic.Anthropic:
    return client.with_options(open_telemetry=False) if NATIVE else client


# -- tools


def loop(client: Any, run: Callable[..., str], turns: int = 9) -> None:
    messages: list[Any] = [*QUESTION["messages"]]
    for _ in range(turns):
        reply = client.messages.create(**{**QUESTION, "messages": messages})
        uses = [block for block in reply.content if block.type == "tool_use"]
        if not uses:
            return
        messages.append({"role": "assistant", "content": reply.content})
        results = [
            {"type": "tool_result", "tool_use_id": use.id, "content": run(**use.input)}
            for use in uses
        ]
        messages.append({"role": "user", "content": results})


@pytest.mark.parametrize("declared", [True, False])
def test_tools_are_counted_and_refused(recording: Recording, clock: Clock, declared: bool) -> None:
    calls = []

    def search(q: str) -> str:
        calls.append(q)
        clock.passes(2)
        return "found"

    tool = causepath.tool(search) if declared else search
    with MessagesApi(InOrder([ASKS, ASKS, HELLO])) as server:
        with client_of(server) as client, causepath.budget(tool=1.5, on_exceeded="abort") as budget:
            with pytest.raises(causepath.BudgetExceeded) as found:
                loop(client, tool)
            assert (found.value.kind, calls) == ("tool", ["x"])
            assert budget.usage.tool_seconds == 2.0
        assert len(server.requests) == 1
    assert told(recording) == [("exceeded", "tool", ""), ("refused", "tool", "call chat m")]


def test_a_tool_is_refused_whatever_its_kind(recording: Recording, clock: Clock) -> None:
    @causepath.tool
    def plain() -> str:
        return "done"

    @causepath.tool
    async def awaited() -> str:
        return "done"

    @causepath.tool
    def items() -> Iterator[str]:
        yield "done"

    with causepath.budget(wall="5s", on_exceeded="abort"):
        assert (plain(), asyncio.run(awaited()), list(items())) == ("done", "done", ["done"])
        clock.passes(6)
        for call in (plain, lambda: asyncio.run(awaited()), lambda: list(items())):
            with pytest.raises(causepath.BudgetExceeded, match="no further tool"):
                call()
    assert plain() == "done"
    assert [span.name for span in recording.spans()] == [
        "execute_tool plain",
        "execute_tool awaited",
        "execute_tool items",
        "execute_tool plain",
    ]


@pytest.mark.parametrize("native", [False, True] if NATIVE else [False])
def test_the_tool_runner_is_stopped(recording: Recording, clock: Clock, native: bool) -> None:
    calls = []

    @beta_tool
    def search(q: str) -> str:
        """Searches.

        Args:
            q: The words.
        """
        calls.append(q)
        clock.passes(2)
        return "found"

    with MessagesApi(InOrder([ASKS, ASKS, HELLO])) as server:
        made = client_of(server)
        client = made if native else silent(made)
        with made, causepath.budget(tool=1, on_exceeded="abort") as budget:
            runner = client.beta.messages.tool_runner(**QUESTION, tools=[search])
            with pytest.raises(causepath.BudgetExceeded):
                runner.until_done()
            assert (calls, budget.usage.tool_seconds) == (["x"], 2.0)
        assert len(server.requests) == 1
    assert recording.text()


# -- money


PRICES = {"m": {"input": 1, "output": "5", "cache_read": 0.1}}


@pytest.mark.parametrize(
    ("usage", "prices", "cost"),
    [
        (Usage(100, 20), PRICES, Decimal("0.0002")),
        (Usage(100, 20, cache_read_input_tokens=1000), PRICES, Decimal("0.0003")),
        (Usage(100, 20, ephemeral_5m_input_tokens=1000), PRICES, None),
        (Usage(100, 20), {"another": PRICES["m"]}, None),
        (Usage(100, 20), None, None),
    ],
)
def test_cost_is_what_prices_say_or_unknown(
    recording: Recording,
    caplog: pytest.LogCaptureFixture,
    usage: Usage,
    prices: Any,
    cost: Decimal | None,
) -> None:
    with (
        MessagesApi(lambda _: Reply("x", usage=usage)) as server,
        causepath.budget(cost="$1", prices=prices) as budget,
    ):
        anthropic_plain(server)
        anthropic_plain(server)
        assert budget.usage.cost == (None if cost is None else 2 * cost)
        assert budget.remaining().cost == (None if cost is None else 1 - 2 * cost)
        assert budget.can_continue({"cost": "$0.5"}) == (cost is not None)
        assert budget.can_continue()
    said = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == (cost is None)
    assert recording.text()


def test_money_that_is_spent_is_refused(recording: Recording, api: MessagesApi) -> None:
    with causepath.budget(cost="$0.0003", prices=PRICES, on_exceeded="abort"):
        anthropic_plain(api)
        anthropic_plain(api)
        with pytest.raises(causepath.BudgetExceeded, match=r"\$0\.0003 is used up \(\$0\.0004\)"):
            anthropic_plain(api)
    assert exceeded(recording) == [("cost",)]


def test_a_failed_call_costs_nothing_and_leaves_the_rest_known(recording: Recording) -> None:
    with (
        MessagesApi(InOrder([Failure(500)])) as server,
        causepath.budget(turns=5, tokens=9) as budget,
    ):
        with pytest.raises(anthropic.InternalServerError):
            anthropic_plain(server)
        assert budget.usage[3:] == (0, Decimal(0), 1)
    assert recording.text()


# -- nesting, and what is done when it is too much


def test_the_tighter_one_holds(recording: Recording, api: MessagesApi) -> None:
    with (
        causepath.budget(turns=2, on_exceeded="abort") as outer,
        causepath.budget(turns=9, tokens=500, on_exceeded="abort") as inner,
    ):
        anthropic_plain(api)
        assert (inner.remaining().turns, inner.remaining().tokens) == (1, 380)
        assert (outer.remaining().turns, outer.remaining().tokens) == (1, None)
        anthropic_plain(api)
        with pytest.raises(causepath.BudgetExceeded) as found:
            anthropic_plain(api)
        assert found.value.usage.turns == 2
        with causepath.budget(turns=7, on_exceeded="abort") as third:
            assert not third.can_continue()
    assert (outer.usage.turns, inner.usage.turns, third.usage.turns) == (2, 2, 0)
    anthropic_plain(api)
    assert inner.usage.turns == 2, "it is over"
    assert recording.text()


def test_a_warning_is_said_once(
    recording: Recording, api: MessagesApi, caplog: pytest.LogCaptureFixture
) -> None:
    with causepath.agent("a"), causepath.budget(turns=5) as budget:
        for _ in range(8):
            anthropic_plain(api)
        assert budget.usage.turns == 8
    assert told(recording) == [("warning", "turns", ""), ("exceeded", "turns", "")]
    assert exceeded(recording) == [("turns",)]
    assert [one.message for one in caplog.records if one.name == "causepath"] == [
        "the turns budget is nearly used up: 4 turns of 5 turns",
        "the turns budget is used up: 5 turns of 5 turns",
    ]


def test_a_function_is_called_once_and_may_let_it_go_on(
    recording: Recording, api: MessagesApi
) -> None:
    given: list[causepath.BudgetExceeded] = []
    with causepath.budget(turns=1, on_exceeded=given.append):
        for _ in range(3):
            anthropic_plain(api)
    assert [one.kind for one in given] == ["turns"]
    assert len(api.requests) == 3
    assert recording.text()


class OwnError(Exception):
    pass


@pytest.mark.parametrize("error", [OwnError("mine"), KeyboardInterrupt()])
def test_what_a_function_raises_reaches_the_application(
    recording: Recording, api: MessagesApi, clock: Clock, error: BaseException
) -> None:
    def stop(_: object) -> None:
        raise error

    @causepath.tool
    def search() -> None:
        pass

    @causepath.budget(wall=5, on_exceeded=stop)
    def late(what: Callable[[], object]) -> None:
        clock.passes(6)
        what()

    for what in (lambda: anthropic_plain(api), search):
        with pytest.raises(type(error)) as found:
            late(what)
        assert found.value is error
    anthropic_plain(api)  # the budget is over
    assert recording.text()


def test_a_budget_of_a_crashed_task_is_over(recording: Recording, api: MessagesApi) -> None:
    async def crashes() -> None:
        async with causepath.budget(turns=1, on_exceeded="abort"):
            anthropic_plain(api)
            raise OwnError

    async def main() -> None:
        (error,) = await asyncio.gather(asyncio.create_task(crashes()), return_exceptions=True)
        assert isinstance(error, OwnError)
        anthropic_plain(api)
        anthropic_plain(api)

    asyncio.run(main())
    assert len(api.requests) == 3
    assert recording.text()


def test_each_call_of_a_decorated_function_has_its_own(
    recording: Recording, api: MessagesApi
) -> None:
    @causepath.budget(turns=1, on_exceeded="abort")
    def once(times: int) -> int:
        for _ in range(times):
            anthropic_plain(api)
        return times

    @causepath.budget(turns=1, on_exceeded="abort")
    def steps() -> Iterator[int]:
        for i in range(3):
            anthropic_plain(api)
            yield i

    assert (once(1), once(1)) == (1, 1)
    with pytest.raises(causepath.BudgetExceeded):
        once(2)
    made = steps()
    assert next(made) == 0
    anthropic_plain(api)  # the consumer is not in the budget of the generator
    with pytest.raises(causepath.BudgetExceeded):
        next(made)
    assert recording.text()


# -- time-outs


def test_a_timeout_is_what_is_left(recording: Recording, clock: Clock) -> None:
    with causepath.budget(wall="10s", llm="4s") as budget:
        assert budget.timeout("llm") == pytest.approx(3.6)
        assert budget.timeout("tool") == pytest.approx(9)
        clock.passes(8)
        assert budget.timeout("llm") == pytest.approx(1.8)
        assert budget.timeout("llm", floor="2s") == 2
        with causepath.budget(wall="1s") as inner:
            assert inner.timeout("llm", floor=0.5, margin=0.8) == pytest.approx(0.8)
        clock.passes(8)
        assert budget.timeout("llm") == 1.0
    assert recording.text() == ""


@pytest.mark.parametrize("sdk", ["anthropic", "openai"])
def test_retries_do_not_multiply_a_timeout(recording: Recording, sdk: str) -> None:
    """The server asks for more time than is left: the SDK raises what it raises in the end."""
    failure = Failure(529, retry_after_seconds=50)
    if sdk == "anthropic":
        with MessagesApi(lambda _: failure) as server, causepath.budget(wall="9s") as budget:
            with (
                anthropic.Anthropic(base_url=server.url, api_key="t", max_retries=2) as client,
                pytest.raises(anthropic.APIStatusError),
            ):
                client.messages.create(**QUESTION, timeout=budget.timeout("llm"))
            assert len(server.requests) == 1
    else:
        with OpenAiApi(lambda _: failure) as server, causepath.budget(wall="9s") as budget:
            with (
                openai.OpenAI(base_url=f"{server.url}/v1", api_key="t", max_retries=2) as other,
                pytest.raises(openai.APIStatusError),
            ):
                other.chat.completions.create(**CHAT, timeout=budget.timeout("llm"))
            assert len(server.requests) == 1
    assert recording.text()


def test_an_attempt_has_what_earlier_ones_left(
    recording: Recording, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def sends(request: Any) -> None:
        given.append(request.extensions["timeout"]["read"])
        clock.passes(1)

    monkeypatch.setattr(anthropic.Anthropic, "_calculate_retry_timeout", lambda *_: 0)
    with MessagesApi(lambda _: Failure(529)) as server, causepath.budget(wall="4s") as budget:
        http = anthropic.DefaultHttpxClient(event_hooks={"request": [sends]})
        with (
            anthropic.Anthropic(
                base_url=server.url, api_key="t", max_retries=9, http_client=http
            ) as client,
            pytest.raises(anthropic.APIStatusError),
        ):
            client.messages.create(**QUESTION, timeout=budget.timeout("llm"))
    assert given == pytest.approx([3.6, 2.6, 1.6, 0.6])
    assert recording.text()


def test_no_attempt_follows_a_budget_that_is_used_up(recording: Recording, clock: Clock) -> None:
    def fails(_: object) -> Failure:
        clock.passes(6)
        return Failure(529, retry_after_seconds=50)

    with MessagesApi(fails) as server:
        client = anthropic.Anthropic(base_url=server.url, api_key="t", max_retries=2)
        with (
            client,
            causepath.budget(wall="5s", on_exceeded="abort"),
            pytest.raises(causepath.BudgetExceeded),
        ):
            client.messages.create(**QUESTION)
        assert len(server.requests) == 1
    assert recording.text()


def test_a_task_budget_is_recorded(recording: Recording, api: MessagesApi) -> None:
    config = {"task_budget": {"type": "tokens", "total": 20_000}}
    with client_of(api) as client:
        client.messages.create(**QUESTION, extra_body={"output_config": config})
        client.messages.create(**QUESTION, extra_body={"output_config": None})
    recording.text()
    told = [
        (span.attributes or {}).get("causepath.request.task_budget")
        for span in recording.spans()
        if span.name == "chat m"
    ]
    assert told == [20_000, None]


# -- without a tracer, without the plugin, and wrong arguments


def test_budgets_need_no_tracer(api: MessagesApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    causepath.instrument()
    with causepath.budget(turns=1, on_exceeded="abort") as budget:
        anthropic_plain(api)
        with pytest.raises(causepath.BudgetExceeded):
            anthropic_plain(api)
        assert budget.usage.tokens == 120


def test_without_the_plugin_that_is_said(
    api: MessagesApi, capsys: pytest.CaptureFixture[str]
) -> None:
    with causepath.budget(turns=1, on_exceeded="abort") as budget:
        anthropic_plain(api)
        anthropic_plain(api)
        assert budget.usage.turns == 0
    assert "budgets see no call" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({}, "at least one limit"),
        ({"wal": "5s"}, "did you mean 'wall'"),
        ({"wall": "5 parsecs"}, "wall='5 parsecs' is no limit: it takes seconds"),
        ({"wall": -1}, "wall=-1 is no limit"),
        ({"wall": True}, "wall=True is no limit"),
        ({"wall": float("nan")}, "no limit"),
        ({"wall": float("inf")}, "no limit"),
        ({"wall": "$5"}, "no limit"),
        ({"tokens": "1.5"}, "a whole number"),
        ({"tokens": 1.5}, "a whole number"),
        ({"turns": "3k"}, "a whole number"),
        ({"cost": "5s"}, "a Decimal"),
        ({"cost": 1, "prices": []}, "takes a table"),
        ({"cost": 1, "prices": {"m": {"input": 1}}}, "has to have 'input' and 'output'"),
        ({"cost": 1, "prices": {"m": {"input": 1, "output": "x"}}}, "number of dollars"),
        ({"wall": 1, "on_exceeded": "stop"}, '"warn", "abort" or a function'),
        ({"wall": 1, "on_exceeded": asyncio.sleep}, "no coroutine"),
    ],
)
def test_wrong_arguments_say_what_would_do(given: Any, error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=error.replace("$", r"\$")):
        causepath.budget(**given)


@pytest.mark.parametrize(
    ("kind", "written", "amount"),
    [
        ("wall", "500ms", 500_000_000),
        ("wall", "2m", 120_000_000_000),
        ("wall", 1.5, 1_500_000_000),
        ("wall", " 1 h ", 3_600_000_000_000),
        ("tokens", "50k", 50_000),
        ("tokens", "1.5M", 1_500_000),
        ("tokens", "50_000", 50_000),
        ("cost", "$0.10", Decimal("0.10")),
        ("cost", 0.1, Decimal("0.1")),
        ("turns", 12, 12),
    ],
)
def test_limits_as_people_write_them(kind: str, written: Any, amount: Any) -> None:
    made = causepath.budget(**{kind: written})
    assert made._given[0] == {kind: amount}


def test_the_error_travels_between_processes(recording: Recording, api: MessagesApi) -> None:
    with (
        causepath.budget(turns=0, on_exceeded="abort"),
        pytest.raises(causepath.BudgetExceeded) as found,
    ):
        anthropic_plain(api)
    again = pickle.loads(pickle.dumps(found.value))
    assert (str(again), again.kind, again.usage) == (
        str(found.value),
        "turns",
        found.value.usage,
    )
    assert recording.text() == ""
