"""CP501 to CP504: what fails, and what is asked again because of it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import anthropic
import openai

from benchmarks.findings.agent import atool, together, tool
from benchmarks.findings.cases import asks, has, lacks, limited, says
from tests.support.script import Failure, Latency

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.findings.agent import Agent

DONE = says("That is all there is to say about it.")
API_ERRORS = (anthropic.APIError, openai.APIError)
SLOW = Latency(before_headers=4.0)

# -- CP501: failed attempts before an answer


@has("CP501", limited(0.4), says("Good morning."))
def limited_once(agent: Agent) -> None:
    """a rate limit, and the SDK tries again"""
    agent.ask("Good morning!")


@has(
    "CP501",
    asks(("get_orders", {"customer": "C-1"})),
    Failure(529, retry_after_seconds=0.2),
    Failure(529, retry_after_seconds=0.3),
    says("Tea."),
    sdks=("anthropic",),
)
def overloaded_twice(agent: Agent) -> None:
    """an overloaded service, twice, in the second turn"""
    agent.loop("What has C-1 ordered?", tool("get_orders", "tea"))


@has("CP501", Failure(503, latency_seconds=0.3), says("Good morning."), also=())
def retried_by_own_code(agent: Agent) -> None:
    """own code tries again after a pause"""
    for pause in (0.3, 0.0):
        with contextlib.suppress(*API_ERRORS):
            agent.ask("Good morning!", max_retries=0)
            return
        time.sleep(pause)


@has("CP501", Failure(500, retry_after_seconds=0.5), says("Good morning."), sdks=("openai",))
def a_fault_of_the_server(agent: Agent) -> None:
    """a fault of the server"""
    agent.ask("Good morning!")


@has("CP501", says("Late.", SLOW), says("Good morning."))
def too_slow_at_first(agent: Agent) -> None:
    """an attempt that timed out, and one that did not"""
    agent.ask("Good morning!", timeout=1.2, max_retries=1)


@has("CP501", says("Nice tea."))
def a_tool_that_is_called_again(agent: Agent) -> None:
    """own code calls a tool again that has failed"""
    get_orders = tool("get_orders", OSError("connection refused"), "tea")
    orders = _retried(lambda: get_orders(customer="C-1"))
    agent.ask(f"What is it? {orders}")


def _retried(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except OSError:
        time.sleep(0.3)
        return call()


@lacks("CP501", Failure(529), Failure(529))
def never_answered(agent: Agent) -> None:
    """all attempts fail: an answer would have taken its time, too"""
    for _ in range(2):
        with contextlib.suppress(*API_ERRORS):
            agent.ask("Good morning!", max_retries=0)


@lacks("CP501", Failure(400, "prompt is too long"), says("Good morning."))
def another_model_instead(agent: Agent) -> None:
    """another model is asked, as this one cannot"""
    try:
        agent.ask("Good morning!", max_retries=0)
    except API_ERRORS:
        agent.ask("Good morning!", model=agent.other_model)


@lacks("CP501", says("Good morning.", Latency(before_headers=0.7)))
def slow_but_well(agent: Agent) -> None:
    """a slow answer at the first attempt"""
    agent.ask("Good morning!")


@lacks(
    "CP501",
    limited(0.01),
    says("Good morning."),
)
def no_pause(agent: Agent) -> None:
    """a failed attempt that took no time"""
    agent.ask("Good morning!")


@lacks(
    "CP501",
    asks(("get_orders", {"customer": "C-l"})),
    asks(("get_orders", {"customer": "C-1"})),
    DONE,
)
def with_other_arguments(agent: Agent) -> None:
    """the model calls a tool again, with other arguments"""
    tools = tool("get_orders", ValueError("there is no customer C-l, but C-1"), "tea")
    agent.loop("What has C-l ordered?", tools)


@lacks("CP501", limited(0.3), says("Good morning."))
def beside_longer_work(agent: Agent) -> None:
    """the attempts are made while a longer tool runs"""
    read_log = tool("read_log", "nothing new", seconds=1.5)
    together([partial(read_log, of="today"), partial(agent.ask, "Good morning!")])


# -- CP502: an error inside a result, and the same call again

LOOK = ("read_file", {"path": "a.txt"})


def _again(times: int) -> list[Any]:
    return [*[asks(LOOK)] * times, DONE]


@has("CP502", *_again(2), undecided=("CP103",))
def no_such_file(agent: Agent) -> None:
    """a file that is not there, twice"""
    agent.loop("Read a.txt.", tool("read_file", "Error: no such file or directory: a.txt"))


@has("CP502", *_again(3), undecided=("CP103",))
def three_times(agent: Agent) -> None:
    """the same error three times"""
    agent.loop("Read a.txt.", tool("read_file", "Error: permission denied: a.txt"))


@has(
    "CP502",
    *[asks(("get_orders", {"customer": "C-9"}))] * 2,
    DONE,
    undecided=("CP103",),
)
def an_error_in_json(agent: Agent) -> None:
    """an error in a field of JSON"""
    agent.loop("Orders of C-9?", tool("get_orders", '{"error": "customer not found", "code": 404}'))


@has("CP502", says("I cannot tell."))
def by_own_code(agent: Agent) -> None:
    """own code calls again what said that it failed"""
    get_orders = tool("get_orders", "Error: upstream returned 502 Bad Gateway", read_only=True)
    found = ""
    for _ in range(3):
        found = get_orders(customer="C-1")
        if not found.startswith("Error"):
            break
    agent.ask(f"What has C-1 ordered? {found}")


@has(
    "CP502",
    *[asks(("search_docs", {"query": "bikes"}))] * 2,
    DONE,
    undecided=("CP103",),
)
def a_trace_back(agent: Agent) -> None:
    """the text of an exception"""
    text = "Traceback (most recent call last):\n  File 'x.py', line 3\nKeyError: 'bikes'"
    agent.loop("May I take bikes along?", tool("search_docs", text))


@lacks("CP502", *_again(2), undecided=("CP103",))
def then_it_works(agent: Agent) -> None:
    """the second time it works"""
    agent.loop("Read a.txt.", tool("read_file", "Error: file is locked: a.txt", "tea, two cups"))


@lacks("CP502", asks(LOOK), asks(("read_file", {"path": "b.txt"})), DONE)
def another_file(agent: Agent) -> None:
    """another file, as the first one is not there"""
    agent.loop(
        "Read a.txt, else what there is.",
        tool("read_file", "Error: no such file: a.txt; there is b.txt", "tea, two cups"),
    )


@lacks(
    "CP502",
    asks(LOOK),
    asks(("write_file", {"path": "a.txt", "text": "x"})),
    asks(LOOK),
    DONE,
)
def a_write_between(agent: Agent) -> None:
    """something was done about it between"""
    agent.loop(
        "See that a.txt is there.",
        tool("read_file", "Error: no such file: a.txt", "Error: a.txt is locked by a writer"),
        tool("write_file", "written"),
    )


@lacks("CP502", *_again(2), also=("CP201",), undecided=("CP103",))
def about_errors(agent: Agent) -> None:
    """a text that is about errors"""
    text = "Chapter 7 tells how the crew handles errors of the radar, and who is called when."
    agent.loop("What is in a.txt?", tool("read_file", text))


@lacks("CP502", *_again(2), undecided=("CP103",))
def said_by_its_span(agent: Agent) -> None:
    """the tool raises, and all can see it"""
    agent.loop("Read a.txt.", tool("read_file", OSError("no such file: a.txt")))


# -- CP503: a model that polls

STATE = ("check_job", {"job": "j-1"})


@has("CP503", *[asks(STATE)] * 4, DONE, undecided=("CP103",))
def until_it_is_done(agent: Agent) -> None:
    """pending, pending, pending, done"""
    agent.loop("Wait for j-1.", tool("check_job", "pending", "pending", "pending", "done: 7 rows"))


@has("CP503", *[asks(STATE)] * 6, DONE, undecided=("CP103",))
def five_looks(agent: Agent) -> None:
    """five looks that say running"""
    agent.loop("Wait for j-1.", tool("check_job", *["running"] * 5, "finished", seconds=0.1))


@has("CP503", *[asks(("get_build", {"id": 81}))] * 4, DONE, undecided=("CP103",))
def a_state_in_json(agent: Agent) -> None:
    """a state in JSON"""
    results = [*['{"state": "queued"}'] * 3, '{"state": "passed"}']
    agent.loop("Is build 81 well?", tool("get_build", *results))


@has("CP503", *[asks(("is_deployed", {"app": "shop"}))] * 4, DONE, undecided=("CP103",))
def a_no(agent: Agent) -> None:
    """no, no, no, yes"""
    agent.loop("Tell me when shop is up.", tool("is_deployed", "no", "no", "no", "yes"))


@has("CP503", *[asks(STATE)] * 4, DONE, undecided=("CP103",))
def with_a_percentage(agent: Agent) -> None:
    """how far it is, as a number that grows"""
    agent.loop("Wait for j-1.", tool("check_job", "20%", "50%", "80%", "100%"))


@lacks(
    "CP503",
    asks(STATE),
    asks(("check_job", {"job": "j-2"})),
    asks(("check_job", {"job": "j-3"})),
    DONE,
    also=("CP103",),
)
def three_jobs(agent: Agent) -> None:
    """a look at each of three jobs"""
    agent.loop("How are j-1, j-2 and j-3?", tool("check_job", "pending", "pending", "done"))


@lacks("CP503", *[asks(("next_rows", {"table": "t"}))] * 4, DONE)
def rows(agent: Agent) -> None:
    """each call returns the next rows"""
    results = [
        "Ada has ordered tea and a cup on Monday",
        "Bob has ordered a pot and two jars on Tuesday",
        "Cid has sent all of it back on Wednesday",
        "there are no more rows",
    ]
    agent.loop("Read t.", tool("next_rows", *results))


@lacks("CP503", asks(("wait_for_job", {"job": "j-1"})), DONE)
def inside_the_tool(agent: Agent) -> None:
    """the tool looks by itself until it is done"""
    agent.loop("Wait for j-1.", tool("wait_for_job", "done: 7 rows", seconds=0.8))


@lacks("CP503", asks(STATE), DONE)
def one_look(agent: Agent) -> None:
    """one look is no polling"""
    agent.loop("Is j-1 done?", tool("check_job", "pending"))


@lacks(
    "CP503",
    asks(STATE),
    asks(("cancel_step", {"job": "j-1", "step": 1})),
    asks(STATE),
    asks(("cancel_step", {"job": "j-1", "step": 2})),
    asks(STATE),
    DONE,
)
def work_between(agent: Agent) -> None:
    """something is done between the looks"""
    agent.loop(
        "Get j-1 going.",
        tool("check_job", "stuck", "stuck", "running"),
        tool("cancel_step", "cancelled"),
    )


# -- CP504: a call that timed out


@has("CP504", asks(("get_orders", {"customer": "C-1"})), says("I cannot reach the shop."))
def a_tool(agent: Agent) -> None:
    """a tool that times out"""
    agent.loop("What has C-1 ordered?", tool("get_orders", TimeoutError("timed out"), seconds=1.3))


@has("CP504", says("Late.", SLOW))
def a_model(agent: Agent) -> None:
    """a model call that times out and is left"""
    with contextlib.suppress(*API_ERRORS):
        agent.ask("Good morning!", timeout=1.3, max_retries=0)


@has("CP504", says("I cannot reach the shop."))
def waited_for(agent: Agent) -> None:
    """a coroutine that is waited for no longer"""
    get_orders = atool("get_orders", "tea", seconds=9)

    async def main() -> None:
        found = "nothing"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.3):
                found = await get_orders(customer="C-1")
        await agent.talk().asay(f"What has C-1 ordered? {found}")

    asyncio.run(main())


@has("CP504", says("Late.", SLOW), says("Good morning."), undecided=("CP501",))
def then_another_model(agent: Agent) -> None:
    """another model is asked after the time-out"""
    try:
        agent.ask("Good morning!", timeout=1.3, max_retries=0)
    except API_ERRORS:
        agent.ask("Good morning!", model=agent.other_model)


@lacks("CP504", asks(("get_orders", {"customer": "C-1"})), says("I cannot reach the shop."))
def refused(agent: Agent) -> None:
    """a tool that fails after a while, but not for the time"""
    agent.loop(
        "What has C-1 ordered?", tool("get_orders", OSError("no route to host"), seconds=1.3)
    )


@lacks("CP504", asks(("get_orders", {"customer": "C-1"})), DONE)
def slow(agent: Agent) -> None:
    """a tool that is slow and answers"""
    agent.loop("What has C-1 ordered?", tool("get_orders", "tea", seconds=1.5))


@lacks("CP504", asks(("get_orders", {"customer": "C-1"})), DONE)
def a_short_one(agent: Agent) -> None:
    """a time-out that is short"""
    agent.loop("What has C-1 ordered?", tool("get_orders", TimeoutError("timed out"), seconds=0.2))


@lacks("CP504", says("Good morning."))
def beside_longer_work_too(agent: Agent) -> None:
    """it times out while a longer tool runs"""
    read_log = tool("read_log", "nothing new", seconds=2.2)
    get_orders = tool("get_orders", TimeoutError("timed out"), seconds=1.1)

    def looked() -> None:
        with contextlib.suppress(TimeoutError):
            get_orders(customer="C-1")

    together([partial(read_log, of="today"), looked])
    agent.ask("Good morning!")


@lacks("CP504", asks(("get_settings", {"of": "shop"})), DONE)
def about_time_outs(agent: Agent) -> None:
    """a result that speaks of time-outs"""
    text = "timeout: 30 s, retries after a timeout: 2, deadline exceeded is logged"
    agent.loop("How is shop set up?", tool("get_settings", text, seconds=1.2))
