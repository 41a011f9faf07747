"""CP403, CP405 and CP6xx: time to write, time that nobody measured, people, and many steps."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

from opentelemetry import trace

from benchmarks.findings.agent import in_threads, together, tool
from benchmarks.findings.cases import asks, has, lacks, says
from tests.support.script import Latency, Stall, Usage

if TYPE_CHECKING:
    from benchmarks.findings.agent import Agent

DONE = says("That is all there is to say about it.")
WORDS = "The ferry crosses eight times a day and takes bikes along. " * 16
"""Sixty pieces of a stream."""
WRITING = Latency(before_headers=0.2, before_first_delta=0.2, per_delta=0.06)
TOKENS = Usage(300, 240)

# -- CP405: calls that take long to write


@has("CP405", says(WORDS, WRITING, TOKENS))
def a_long_answer(agent: Agent) -> None:
    """an answer that is written for more than three seconds"""
    agent.loop("Tell me all about the ferry.", stream=True)


@has("CP405", says("Fine, let me tell."), says(WORDS, WRITING, TOKENS))
def the_second_answer(agent: Agent) -> None:
    """the second answer of a talk"""
    talk = agent.talk()
    talk.say("May I ask something?", stream=True)
    talk.say("Tell me all about the ferry.", stream=True)


@has(
    "CP405",
    says(WORDS, Latency(before_headers=0.9, per_delta=0.065), Usage(3_000, 700)),
)
def after_a_slow_start(agent: Agent) -> None:
    """the start is slow as well, but the writing is longer"""
    agent.loop("Tell me all about the ferry.", stream=True)


@has("CP405", says(WORDS, WRITING, TOKENS))
def with_a_system_prompt(agent: Agent) -> None:
    """a system prompt and a long answer"""
    agent.loop("Tell me all.", system="You love details.", stream=True)


@lacks("CP405", says("Eight a day.", Latency(before_first_delta=3.6, per_delta=0.06), TOKENS))
def a_slow_start(agent: Agent) -> None:
    """the first token is late, the rest is not"""
    agent.loop("Tell me all about the ferry.", stream=True)


@lacks("CP405", says(WORDS, Latency(before_first_delta=0.2, per_delta=0.02), TOKENS))
def written_fast(agent: Agent) -> None:
    """as long an answer, written fast"""
    agent.loop("Tell me all about the ferry.", stream=True)


@lacks("CP405", says(WORDS, WRITING, TOKENS))
def beside_a_longer_tool(agent: Agent) -> None:
    """nobody waits for the answer, as a tool takes longer"""
    read_log = tool("read_log", "nothing new", seconds=5.5)
    told = partial(agent.loop, "Tell me all about the ferry.", stream=True)
    together([partial(read_log, of="today"), told])


@lacks("CP405", says(WORDS, Latency(before_first_delta=0.2, per_delta=0.002), TOKENS))
def a_slow_reader(agent: Agent) -> None:
    """whoever reads the stream holds it up"""
    agent.talk().say("Tell me all about the ferry.", stream=True, pause=3.6)


@lacks(
    "CP405", says("A day. " * 20, Latency(before_first_delta=0.1, per_delta=0.4), Usage(300, 40))
)
def few_tokens(agent: Agent) -> None:
    """a slow model, and an answer that could not be much shorter"""
    agent.loop("How often?", stream=True)


def _chain(turns: int) -> list[object]:
    asked = [asks(("open_door", {"door": f"d{n * n + 7}k"})) for n in range(turns)]
    return [*asked, DONE]


def _doors(turns: int) -> list[str]:
    return [f"behind it is door d{n * n + 7}k" for n in range(1, turns + 1)]


# -- CP402: an answer that was waited for as a whole

IN_FULL = Usage(300, 420)


@has("CP402", says(WORDS, WRITING, IN_FULL))
def as_a_whole(agent: Agent) -> None:
    """a long answer that is not streamed"""
    agent.loop("Tell me all about the ferry.")


@has("CP402", asks(("get_timetable", {"line": "2"})), says(WORDS, WRITING, IN_FULL))
def after_a_tool(agent: Agent) -> None:
    """the last answer of a loop that streams nothing"""
    agent.loop("Tell me all about line 2.", tool("get_timetable", "every ten minutes"))


@has("CP402", says("Ask me."), says(WORDS, WRITING, IN_FULL))
def the_last_of_a_talk(agent: Agent) -> None:
    """the last answer of a talk"""
    talk = agent.talk(system="You love details.")
    talk.say("May I ask something?")
    talk.say("Tell me all about the ferry.")


@lacks("CP402", says(WORDS, Latency(before_headers=0.9, per_delta=0.04), IN_FULL))
def it_is_streamed(agent: Agent) -> None:
    """the answer is streamed"""
    agent.loop("Tell me all about the ferry.", stream=True)


@lacks("CP402", says("Eight a day.", Latency(before_headers=3.4), Usage(300, 5)))
def a_short_answer(agent: Agent) -> None:
    """a short answer, all of which comes at once in any case"""
    agent.loop("How often does it leave?")


@lacks("CP402", says(WORDS, WRITING, IN_FULL), says("Shorter: eight a day."))
def a_draft(agent: Agent) -> None:
    """a long draft that nobody is shown"""
    draft = agent.ask("Tell me all about the ferry.")
    agent.ask(f"Make this shorter: {draft}")


@lacks("CP402", says(WORDS, Latency(before_headers=0.3, per_delta=0.01), IN_FULL))
def soon_there(agent: Agent) -> None:
    """a long answer that is soon there"""
    agent.loop("Tell me all about the ferry.")


# -- CP403: a stream that stood still

STEADY = "It takes bikes along and leaves at eight. " * 14
PACE = {"before_headers": 0.3, "per_delta": 0.02}


@has("CP403", says(STEADY, Latency(**PACE, stalls=[Stall(20, 1.6)])))
def in_the_middle(agent: Agent) -> None:
    """an answer that stops in its middle"""
    agent.loop("Tell me about the ferry.", stream=True)


@has("CP403", says("Ask me."), says(STEADY, Latency(**PACE, stalls=[Stall(30, 2.2)])))
def near_the_end(agent: Agent) -> None:
    """the second answer stops near its end"""
    talk = agent.talk()
    talk.say("May I ask something?", stream=True)
    talk.say("Tell me about the ferry.", stream=True)


@has("CP403", says(STEADY, Latency(**PACE, stalls=[Stall(9, 1.3), Stall(25, 1.4)])))
def two_times(agent: Agent) -> None:
    """it stops two times"""
    agent.loop("Tell me about the ferry.", system="Be nice.", stream=True)


@lacks("CP403", says(STEADY, Latency(before_headers=1.9, per_delta=0.02)))
def only_the_first_token(agent: Agent) -> None:
    """the first token is late, then it goes on"""
    agent.loop("Tell me about the ferry.", stream=True)


@lacks("CP403", says(STEADY, Latency(before_headers=0.2, per_delta=0.05)))
def slow_and_steady(agent: Agent) -> None:
    """slow, but without a stop"""
    agent.loop("Tell me about the ferry.", stream=True)


@lacks("CP403", says(STEADY, Latency(**PACE)))
def a_reader_who_pauses(agent: Agent) -> None:
    """whoever reads it stops, not the stream"""
    agent.talk().say("Tell me about the ferry.", stream=True, pause=1.7)


@lacks("CP403", says(STEADY, Latency(**PACE, stalls=[Stall(20, 0.3)])))
def a_short_stop(agent: Agent) -> None:
    """a stop that nobody minds"""
    agent.loop("Tell me about the ferry.", stream=True)


@lacks("CP403", says(STEADY, Latency(**PACE, stalls=[Stall(20, 1.6)])))
def a_stop_that_nobody_waits_for(agent: Agent) -> None:
    """a longer tool runs beside it"""
    read_log = tool("read_log", "nothing new", seconds=5.0)
    told = partial(agent.loop, "Tell me about the ferry.", stream=True)
    together([partial(read_log, of="today"), told])


# -- CP601: time that no span shows


@has("CP601", asks(("get_orders", {"customer": "C-1"})), DONE)
def between_tool_and_model(agent: Agent) -> None:
    """own code between a tool and the model"""
    talk = agent.talk(tool("get_orders", "tea"))
    said = talk.say("What has C-1 ordered?")
    results = [talk.tools[0](**call.arguments) for call in said.calls]
    time.sleep(1.6)
    talk.tell(results)


@has("CP601", says("Good morning."))
def at_the_beginning(agent: Agent) -> None:
    """before the first call"""
    time.sleep(1.5)
    agent.ask("Good morning!")


@has("CP601", says("Good morning."))
def at_the_end(agent: Agent) -> None:
    """after the last call"""
    agent.ask("Good morning!")
    time.sleep(1.5)


@has("CP601", says("Good morning."), says("Good night."))
def in_a_coroutine(agent: Agent) -> None:
    """a coroutine that waits for what nobody measures, between two questions"""

    async def main() -> None:
        first = await agent.talk().asay("Good morning!")
        await asyncio.sleep(1.7)
        await agent.talk().asay(f"What comes after {first.text}?")

    asyncio.run(main())


@has("CP601", asks(("get_orders", {"customer": "C-1"})), DONE)
def in_a_step(agent: Agent) -> None:
    """inside of a step of its own that shows nothing of what it does"""
    with trace.get_tracer("app").start_as_current_span("prepare") as span:
        span.set_attribute("app.items", 3)
        agent.talk(tool("get_orders", "tea")).say("What has C-1 ordered?")
        time.sleep(1.6)


@lacks("CP601", asks(("read_log", {"of": "today"})), DONE)
def in_a_tool(agent: Agent) -> None:
    """the same time in a tool"""
    agent.loop("What is new?", tool("read_log", "nothing", seconds=1.6))


@lacks("CP601", says("Good morning."), says("At noon."))
def a_user_thinks(agent: Agent) -> None:
    """a user who reads the answer and writes the next message"""
    talk = agent.talk()
    talk.say("Good morning!")
    time.sleep(1.6)
    talk.say("When is lunch?")


@lacks("CP601", says("Good morning."))
def a_moment(agent: Agent) -> None:
    """a moment of own code"""
    time.sleep(0.3)
    agent.ask("Good morning!")


@lacks("CP601", says("Good morning.", Latency(before_headers=1.8)))
def beside_a_call(agent: Agent) -> None:
    """own code that runs while a model is asked"""
    together([partial(agent.ask, "Good morning!"), partial(time.sleep, 1.5)])


@lacks("CP601", says("Good morning."))
def in_a_database(agent: Agent) -> None:
    """a query that has a span"""
    attributes = {"db.system.name": "postgresql", "db.operation.name": "SELECT"}
    with trace.get_tracer("db").start_as_current_span(
        "SELECT orders", kind=trace.SpanKind.CLIENT, attributes=attributes
    ):
        time.sleep(1.6)
    agent.ask("Good morning!")


# -- CP602: waiting for a person


@has("CP602", asks(("ask_user", {"question": "Which customer?"})), DONE)
def a_question(agent: Agent) -> None:
    """the model asks the user"""
    agent.loop("What was ordered?", tool("ask_user", "C-1", seconds=1.5))


@has(
    "CP602",
    asks(("delete_order", {"id": "o-1"})),
    DONE,
)
def an_approval(agent: Agent) -> None:
    """own code asks for approval before a tool"""
    request_approval = tool("request_approval", "yes", seconds=1.4)

    def checked(calls: object, tools: object) -> list[str]:
        request_approval(of="o-1")
        return in_threads(calls, tools)  # type: ignore[arg-type]

    agent.loop("Delete o-1.", tool("delete_order", "deleted"), run=checked)


@has("CP602", asks(("human_review", {"text": "We are late."})), DONE)
def a_review(agent: Agent) -> None:
    """a person reads a draft"""
    agent.loop("Write that we are late.", tool("human_review", "approved", seconds=1.8))


@has("CP602", says("Let me see."))
def a_span_of_its_own(agent: Agent) -> None:
    """a span that says that a person is waited for"""
    with trace.get_tracer("app").start_as_current_span(
        "sign here", attributes={"causepath.category": "human"}
    ):
        time.sleep(1.4)
    agent.ask("What was signed?")


@lacks("CP602", asks(("ask_user", {"question": "Which customer?"})), DONE)
def answered_at_once(agent: Agent) -> None:
    """a person who answers at once"""
    agent.loop("What was ordered?", tool("ask_user", "C-1", seconds=0.1))


@lacks("CP602", asks(("get_user", {"id": "u-1"})), DONE)
def a_look_up_of_users(agent: Agent) -> None:
    """a look-up of a user asks nobody"""
    agent.loop("Who is u-1?", tool("get_user", "Ines", seconds=1.4))


@lacks("CP602", asks(("ask_user", {"question": "Red or blue?"}), ("read_log", {"of": "May"})), DONE)
def while_work_goes_on(agent: Agent) -> None:
    """a person is asked while longer work goes on"""
    tools = tool("ask_user", "blue", seconds=1.2), tool("read_log", "quiet", seconds=2.4)
    agent.loop("Paint it as in May.", *tools, run=in_threads)


@lacks("CP602", asks(("ask_expert_model", {"question": "Red or blue?"})), DONE)
def another_agent(agent: Agent) -> None:
    """an expert who is a model"""
    agent.loop("Paint it.", tool("ask_expert_model", "blue", seconds=1.4))


# -- CP603: a new connection where one was open

THREE = (says("Good morning."), says("At noon."), says("Good night."))


@has("CP603", *THREE)
def a_client_for_each_call(agent: Agent) -> None:
    """a new client for each call"""
    told = "nothing"
    for _ in range(3):
        told = agent.far().ask(f"After {told}, what comes?")


@has("CP603", *THREE)
def nothing_is_kept(agent: Agent) -> None:
    """a client that keeps no connection"""
    one, told = agent.far(max_keepalive_connections=0), "nothing"
    for _ in range(3):
        told = one.ask(f"After {told}, what comes?")


@has("CP603", asks(("get_orders", {"customer": "C-1"})), DONE)
def given_up_while_a_tool_runs(agent: Agent) -> None:
    """a connection that is given up while a tool runs"""
    agent.far(keepalive_expiry=0.2).loop("Orders of C-1?", tool("get_orders", "tea", seconds=0.6))


@has("CP603", *_chain(6))  # type: ignore[arg-type]
def a_tool_that_loads_something(agent: Agent) -> None:
    """the first call of a tool loads something"""
    doors = tool("open_door", *_doors(6), seconds=0.06, first=1.8)
    agent.loop("Go through the doors from d7k on.", doors)


@lacks("CP603", *_chain(6))  # type: ignore[arg-type]
def always_slow(agent: Agent) -> None:
    """a tool that is slow each time"""
    agent.loop("Go through the doors from d7k on.", tool("open_door", *_doors(6), seconds=0.9))


@lacks("CP603", *_chain(6))  # type: ignore[arg-type]
def more_to_do_at_first(agent: Agent) -> None:
    """the first call has more to do, and returns more"""
    plan = (
        "Behind it is a hall with pictures on all walls, and this is what they show: a ship. " * 9
    )
    first, *others = _doors(6)
    doors = tool("open_door", plan + first, *others, seconds=0.06, first=1.8)
    agent.loop("Go through the doors from d7k on.", doors)


@lacks("CP603", *THREE)
def a_client_that_is_kept(agent: Agent) -> None:
    """one client, and its connection"""
    one, told = agent.far(), "nothing"
    for _ in range(3):
        told = one.ask(f"After {told}, what comes?")


@lacks("CP603", says("Good morning."))
def the_first_connection(agent: Agent) -> None:
    """the first call has to open one"""
    agent.far().ask("Good morning!")


@lacks("CP603", *[says("Good morning.")] * 3)
def side_by_side_calls(agent: Agent) -> None:
    """calls that are made at once need one each"""
    one = agent.far()
    together([partial(one.ask, f"Say good morning to {name}!") for name in ("Ada", "Bob", "Cid")])


# -- CP605: many turns, and many calls of one kind


@has("CP605", *_chain(12))  # type: ignore[arg-type]
def twelve_turns(agent: Agent) -> None:
    """twelve turns before the answer, each needs the one before"""
    agent.loop("Go through the doors from d7k on.", tool("open_door", *_doors(12), seconds=0.02))


@has("CP605", *_chain(16), undecided=("CP304",))  # type: ignore[arg-type]
def sixteen_turns(agent: Agent) -> None:
    """sixteen turns"""
    agent.loop("Go through the doors from d7k on.", tool("open_door", *_doors(16), seconds=0.02))


@has("CP605", says("They cost 80 in all."), also=("CP102",))
def prices_one_by_one(agent: Agent) -> None:
    """own code looks up thirty prices, one by one"""
    get_price = tool("get_price", lambda given: f"{len(given['item'])}.00", seconds=0.06)
    prices = [get_price(item="cup" * (n + 1)) for n in range(30)]
    agent.ask(f"Add up: {prices}")


@has(
    "CP605",
    asks(*(("get_price", {"item": f"item-{n * 37 + 11}"}) for n in range(24))),
    DONE,
    also=("CP101",),
)
def all_in_one_reply(agent: Agent) -> None:
    """twenty-four look-ups of one reply, one by one"""
    agent.loop("Price all of them.", tool("get_price", "3.00", seconds=0.08))


@lacks("CP605", *_chain(7))  # type: ignore[arg-type]
def seven_turns(agent: Agent) -> None:
    """seven turns"""
    agent.loop("Go through the doors from d7k on.", tool("open_door", *_doors(7), seconds=0.05))


@lacks("CP605", *[says(f"This is answer {n}.") for n in range(14)])
def a_long_chat(agent: Agent) -> None:
    """fourteen questions of a user, each with its answer"""
    talk = agent.talk()
    for n in range(14):
        talk.say(f"And what about {n * n + 3}?")


@lacks("CP605", asks(*(("get_price", {"item": f"item-{n * 37 + 11}"}) for n in range(24))), DONE)
def side_by_side(agent: Agent) -> None:
    """the same look-ups on threads"""
    agent.loop("Price all of them.", tool("get_price", "3.00", seconds=0.3), run=in_threads)


@lacks(
    "CP605",
    asks(*(("send_mail", {"to": f"p{n}@b.example"}) for n in range(22))),
    DONE,
    undecided=("CP101",),
)
def mails(agent: Agent) -> None:
    """twenty-two mails, each to somebody else"""
    agent.loop("Write to all.", tool("send_mail", "sent", seconds=0.06))


@lacks("CP605", says("They cost 80 in all."), undecided=("CP102",))
def fast_look_ups(agent: Agent) -> None:
    """thirty look-ups that take no time"""
    get_price = tool("get_price", lambda given: f"{len(given['item'])}.00", seconds=0.003)
    prices = [get_price(item="cup" * (n + 1)) for n in range(30)]
    agent.ask(f"Add up: {prices}")
