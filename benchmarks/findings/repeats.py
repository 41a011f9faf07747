"""CP201, CP302, CP501, CP504, and claims on the same money: siblings of what was missed before.

The labels were written before the rules were mended.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import anyio

from benchmarks.findings.agent import atool, in_sequence, tool
from benchmarks.findings.caches import handbook, used
from benchmarks.findings.cases import asks, has, lacks, limited, says
from benchmarks.findings.failures import API_ERRORS, SLOW
from tests.support.script import Failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from benchmarks.findings.agent import Agent
    from tests.support.script import Reply

DONE = says("That is all there is to say about it.")
NEWS = "The harbour is closed for boats of more than nine metres until the wind has dropped."
WEATHER = "18 degrees, a few clouds, wind from the west with 12 knots, no rain since six o'clock."

# -- CP201: what changes slowly, and was asked for twice within seconds


@has(
    "CP201",
    asks(("get_news", {"about": "the harbour"})),
    asks(("get_timetable", {"line": "28"})),
    asks(("get_news", {"about": "the harbour"})),
    DONE,
    undecided=("CP103",),
)
def news_again(agent: Agent) -> None:
    """the model asks for the same news, two turns later"""
    tools = tool("get_news", NEWS), tool("get_timetable", "Every ten minutes")
    agent.loop("May I sail, or do I take the tram?", *tools)


@has("CP201", says("Take a coat."), says("Take the boat."), undecided=("CP102",))
def weather_for_each(agent: Agent) -> None:
    """own code looks at the weather for each question"""
    get_current_weather = tool("get_current_weather", WEATHER, seconds=0.3)
    agent.ask(f"{get_current_weather(city='Lisbon')} What do I wear?")
    get_tides = tool("get_tides", "High water at noon", seconds=0.1)
    agent.ask(f"{get_tides(of='Tejo')} {get_current_weather(city='Lisbon')} How do I travel?")


@has(
    "CP201",
    asks(("get_forecast", {"city": "Faro"})),
    says("Pack a coat."),
    asks(("get_hotels", {"city": "Faro"})),
    asks(("get_forecast", {"city": "Faro"})),
    says("Stay near the station, it will rain."),
    undecided=("CP102", "CP103"),
)
def forecast_in_two_parts(agent: Agent) -> None:
    """two parts of one run ask for the same forecast"""
    tools = tool("get_forecast", WEATHER), tool("get_hotels", "Sol, by the station; Mar, far out")
    agent.loop("What do I pack for Faro?", tools[0])
    agent.loop("Where do I stay in Faro?", *tools)


@has(
    "CP201",
    asks(("web_search", {"query": "ferries to Barreiro"})),
    asks(("web_search", {"query": "bikes on ferries"})),
    asks(("web_search", {"query": "ferries to Barreiro"})),
    DONE,
    undecided=("CP103",),
)
def web_search_again(agent: Agent) -> None:
    """the same search of the web, two turns later"""
    results = {"ferries to Barreiro": NEWS, "bikes on ferries": "Bikes go for free, two by two."}
    agent.loop(
        "How do I get to Barreiro?", tool("web_search", lambda given: results[given["query"]])
    )


@lacks(
    "CP201",
    asks(("get_ticket_price", {"to": "Faro"})),
    asks(("get_hotels", {"city": "Faro"})),
    asks(("get_ticket_price", {"to": "Faro"})),
    says("I take it at that price."),
    undecided=("CP103",),
)
def a_price_before_it_is_paid(agent: Agent) -> None:
    """a price, which is looked at again before it is paid"""
    price = "A seat in the second class costs 24.80 with the discount for groups of three."
    tools = tool("get_ticket_price", price), tool("get_hotels", "Sol, by the station")
    agent.loop("What is Faro, with a hotel?", *tools)


@lacks("CP201", *[asks(("get_weather", {"city": "Faro"}))] * 3, DONE, undecided=("CP103", "CP503"))
def waiting_for_the_sun(agent: Agent) -> None:
    """the weather, again and again, until it changes"""
    agent.loop("Tell me when the sun is out.", tool("get_weather", WEATHER))


@lacks(
    "CP201",
    asks(("get_news_feed_state", {"feed": "harbour"})),
    asks(("get_timetable", {"line": "28"})),
    asks(("get_news_feed_state", {"feed": "harbour"})),
    DONE,
    undecided=("CP103",),
)
def a_state_of_news(agent: Agent) -> None:
    """the state of a feed of news"""
    state = "41 of 120 items have been read so far, and the rest is on its way to this reader."
    tools = tool("get_news_feed_state", state), tool("get_timetable", "Every ten minutes")
    agent.loop("Is the feed read, and when does the tram go?", *tools)


# -- CP302: who uses a result later, and who does not

FILLING = "Keep the doors shut, whoever you are. "
"""Nine tokens."""


def _carrying(
    first: tuple[str, dict[str, object]], then: Sequence[tuple[str, dict[str, object]]], size: int
) -> list[Reply]:
    """One large result, then calls; all but what is new is cached."""
    asked = [
        asks(call, usage=used(read=100 + size + 90 * n, fresh=90))
        for n, call in enumerate(then, start=1)
    ]
    return [
        asks(first, usage=used(fresh=90)),
        *asked,
        says("That was all.", usage=used(read=100 + size + 90 * (len(then) + 1), fresh=90)),
    ]


def _filled(text: str, tokens: int) -> str:
    return text + FILLING * (tokens // 9)


def _once_each(agent: Agent, question: str, large: tuple[str, str], small: str) -> None:
    agent.loop(
        question,
        tool(large[0], large[1], seconds=0.05),
        tool(small, "it is done", seconds=0.05),
    )


BY_HEART = [f"k{n * n + 3}x" for n in range(7)]
"""Keys that the question names."""


@has(
    "CP302",
    *_carrying(
        ("read_page", {"of": "the keys"}), [("turn_key", {"key": key}) for key in BY_HEART], 7_000
    ),
    undecided=("CP103", "CP304"),
)
def keys_of_the_question(agent: Agent) -> None:
    """later calls take their keys from the question, none from the page"""
    question = f"Read the page on keys, then turn {', '.join(BY_HEART)}."
    _once_each(agent, question, ("read_page", _filled("", 7_000)), "turn_key")


@has(
    "CP302",
    *_carrying(
        ("read_plan", {"of": "the roof"}),
        [
            ("open_hatch", {"hatch": "hatch-881"}),
            *[("lift_tile", {"tile": f"t{n * n + 11}q"}) for n in range(7)],
        ],
        7_000,
    ),
    undecided=("CP304",),
)
def used_once_at_first(agent: Agent) -> None:
    """the plan names the hatch; then seven calls go on from tile to tile without it"""
    tiles = [f"behind it is tile t{n * n + 11}q" for n in range(8)]
    agent.loop(
        "Go up by the plan, then from tile to tile.",
        tool("read_plan", _filled("Begin at hatch-881. ", 7_000), seconds=0.05),
        tool("open_hatch", tiles[0], seconds=0.05),
        tool("lift_tile", *tiles[1:], seconds=0.05),
    )


@has(
    "CP302",
    asks(("read_log", {"of": "today"}), usage=used(fresh=90)),
    says("It was the disk.", usage=used(read=100, fresh=8_000)),
    *[
        says(f"The answer to it is {n * 7 + 2}.", usage=used(read=8_100 + 90 * n, fresh=90))
        for n in range(6)
    ],
    undecided=("CP304",),
)
def a_log_in_a_chat(agent: Agent) -> None:
    """a chat that goes on to sums, with the log still in it"""
    talk = agent.talk(tool("read_log", _filled("", 8_000), seconds=0.05))
    talk.say("What broke today?")
    talk.tell(in_sequence(talk.said.calls, talk.tools))
    for n in range(6):
        talk.say(f"Now something else: what is {n * 7} and 2?")


CITIES = "Aveiro", "Braga", "Coimbra", "Elvas", "Guarda", "Leiria", "Viseu", "Tomar"


@lacks(
    "CP302",
    *_carrying(
        ("read_list", {"of": "towns"}), [("call_office", {"town": one}) for one in CITIES], 7_000
    ),
    undecided=("CP103", "CP304"),
)
def towns_of_a_list(agent: Agent) -> None:
    """each later call takes a town from the list: plain words"""
    towns = "".join(f"There is an office in {one}. " for one in CITIES)
    _once_each(agent, "Call all offices.", ("read_list", _filled(towns, 7_000)), "call_office")


NUMBERS = [n * 7_919 + 100_003 for n in range(8)]


@lacks(
    "CP302",
    *_carrying(
        ("list_invoices", {"of": "May"}),
        [("pay_invoice", {"invoice": {"number": one, "currency": "EUR"}}) for one in NUMBERS],
        7_000,
    ),
    undecided=("CP103", "CP304"),
)
def numbers_inside_of_arguments(agent: Agent) -> None:
    """each later call takes a number from the list, and has it inside of an object"""
    invoices = "".join(f"invoice {one} in EUR is open, " for one in NUMBERS)
    large = _filled(invoices, 7_000)
    _once_each(agent, "Pay what is open.", ("list_invoices", large), "pay_invoice")


@lacks(
    "CP302",
    *_carrying(
        ("read_plan", {"of": "the house"}),
        [("open_door", {"door": f"door-{n * 37 + 5}"}) for n in range(8)],
        20_000,
    ),
    undecided=("CP103", "CP304"),
)
def a_long_plan_that_is_followed(agent: Agent) -> None:
    """each later call takes its door from a plan of 80,000 characters"""
    doors = "".join(f"Then open door-{n * 37 + 5}, as it is told. " for n in range(8))
    _once_each(agent, "Go by the plan.", ("read_plan", _filled(doors, 20_000)), "open_door")


@lacks(
    "CP302",
    *_carrying(
        ("read_plan", {"of": "the tour"}),
        [
            ("open_door", {"door": "door-5512"}),
            *[("note", {"text": f"n{n * n + 11}q"}) for n in range(6)],
            ("open_door", {"door": "door-7717"}),
        ],
        7_000,
    ),
    undecided=("CP103", "CP304"),
)
def used_again_at_the_end(agent: Agent) -> None:
    """the plan is used first and last, and not between"""
    plan = _filled("Begin at door-5512, end at door-7717. ", 7_000)
    tools = tool("open_door", "it is open", seconds=0.05), tool("note", "noted", seconds=0.05)
    agent.loop("Go by the plan and note.", tool("read_plan", plan, seconds=0.05), *tools)


RATES = [f"The toll on the bridge of {one} is {n * 3 + 4} escudos" for n, one in enumerate(CITIES)]


@lacks(
    "CP302",
    asks(("read_tariff", {"of": "bridges"}), usage=used(fresh=90)),
    says(f"{RATES[0]}.", usage=used(fresh=8_000)),
    *[
        says(f"{rate}.", usage=used(read=8_100 + 90 * n, fresh=90))
        for n, rate in enumerate(RATES[1:], start=1)
    ],
    undecided=("CP304",),
)
def answered_from_it(agent: Agent) -> None:
    """each answer of a chat is looked up in the tariff"""
    talk = agent.talk(tool("read_tariff", _filled(". ".join(RATES), 8_000), seconds=0.05))
    talk.say("What is the toll of the first bridge?")
    talk.tell(in_sequence(talk.said.calls, talk.tools))
    for n in range(1, len(RATES)):
        talk.say(f"And of bridge number {n + 1}?")


# -- CP501: attempts that took time, and some that took none


@lacks("CP501", Failure(503), Failure(503), says("Good morning."))
def at_once_by_own_code(agent: Agent) -> None:
    """own code asks again at once, twice"""
    for _ in range(3):
        with contextlib.suppress(*API_ERRORS):
            agent.ask("Good morning!", max_retries=0)
            return


@lacks("CP501", says("Nice tea."))
def a_tool_at_once(agent: Agent) -> None:
    """a tool that fails at once and is called again at once"""
    get_orders = tool("get_orders", OSError("connection refused"), "tea", seconds=0.0)
    with contextlib.suppress(OSError):
        get_orders(customer="C-1")
    agent.ask(f"What is it? {get_orders(customer='C-1')}")


@lacks("CP501", limited(0.02), says("Tea.", SLOW))
def nothing_beside_the_answer(agent: Agent) -> None:
    """an attempt that took no time, before an answer that took long"""
    agent.ask("What has C-1 ordered?")


@has(
    "CP501",
    *[one for n in range(5) for one in (limited(0.12), says(f"Chapter {n * n + 2} is good."))],
    undecided=("CP102",),
)
def little_by_little(agent: Agent) -> None:
    """five calls, each with a short pause behind a failed attempt"""
    told = "nothing"
    for number in range(5):
        told = agent.ask(f"After {told}, how is chapter {number}?")


@has("CP501", says("Late.", SLOW), says("Good morning."))
def waited_for_and_again(agent: Agent) -> None:
    """own code waits for no longer than 1.3 s, and asks the same again"""

    async def main() -> None:
        for _ in range(2):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(agent.talk().asay("Good morning!"), 1.3)
                return

    asyncio.run(main())


# -- CP504: what is waited for no longer, and what is cut off for another reason


def _given_up(agent: Agent, look: Callable[[Awaitable[str]], Awaitable[str]]) -> None:
    get_orders = atool("get_orders", "tea", seconds=9)

    async def main() -> None:
        found = await look(get_orders(customer="C-1"))
        await agent.talk().asay(f"What has C-1 ordered? {found}")

    asyncio.run(main())


@has("CP504", says("I cannot reach the shop."))
def wait_for(agent: Agent) -> None:
    """asyncio.wait_for around a tool"""

    async def look(orders: Awaitable[str]) -> str:
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(orders, 1.2)
        return "nothing"

    _given_up(agent, look)


@has("CP504", says("I cannot reach the shop."))
def move_on_after(agent: Agent) -> None:
    """a cancel scope of anyio around a tool"""

    async def look(orders: Awaitable[str]) -> str:
        with anyio.move_on_after(1.4):
            return await orders
        return "nothing"

    _given_up(agent, look)


@has("CP504", says("I cannot reach the shop."))
def left_after_a_wait(agent: Agent) -> None:
    """a task that is cancelled as it has not come within the time"""

    async def look(orders: Awaitable[str]) -> str:
        task = asyncio.ensure_future(orders)
        done, late = await asyncio.wait([task], timeout=1.3)
        for one in late:
            one.cancel()
        return "nothing" if late else done.pop().result()

    _given_up(agent, look)


@has("CP504", says("Late.", SLOW), says("Good morning."), undecided=("CP501",))
def a_model_given_up(agent: Agent) -> None:
    """a model call that is waited for no longer, and another model instead"""

    async def main() -> None:
        try:
            await asyncio.wait_for(agent.talk().asay("Good morning!"), 1.3)
        except TimeoutError:
            await agent.talk(model=agent.other_model).asay("Good morning!")

    asyncio.run(main())


@lacks("CP504", says("Tea it is."))
def the_slower_one_of_two(agent: Agent) -> None:
    """two places are asked, and the one that answers later is left"""

    async def main() -> None:
        asked = [
            asyncio.ensure_future(atool(name, "tea", seconds=s)(customer="C-1"))
            for name, s in (("get_orders_here", 1.3), ("get_orders_there", 9))
        ]
        done, late = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        for one in late:
            one.cancel()
        await agent.talk().asay(f"What has C-1 ordered? {done.pop().result()}")

    asyncio.run(main())


@lacks("CP504", says("I cannot reach the shop."))
def with_its_group(agent: Agent) -> None:
    """another one of its group has failed"""
    get_orders = atool("get_orders", "tea", seconds=9)
    get_stock = atool("get_stock", ValueError("no such shop"), seconds=1.3)

    async def main() -> None:
        both = [
            asyncio.ensure_future(get_orders(customer="C-1")),
            asyncio.ensure_future(get_stock(shop="S-1")),
        ]
        failed, others = await asyncio.wait(both, return_when=asyncio.FIRST_EXCEPTION)
        for one in others:
            one.cancel()
        await agent.talk().asay(f"What do I tell C-1? {failed.pop().exception()}")

    asyncio.run(main())


@lacks("CP504", says("Tea it is."))
def soon_given_up(agent: Agent) -> None:
    """a coroutine that is given up after a moment"""

    async def look(orders: Awaitable[str]) -> str:
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(orders, 0.2)
        return "nothing"

    _given_up(agent, look)


# -- CP203 and CP302 at once


@has(
    "CP302",
    asks(("read_manual", {"of": "the house"}), usage=used(fresh=5_000)),
    *[
        asks(("open_door", {"door": f"d{n * n + 7}k"}), usage=used(fresh=14_000 + 90 * n))
        for n in range(7)
    ],
    says("That was the last door.", usage=used(fresh=14_700)),
    also=("CP203", "CP304"),
    sdks=("anthropic",),
)
def a_manual_that_nobody_caches(agent: Agent) -> None:
    """a manual that seven later calls carry, in prompts that nobody caches"""
    results = [f"behind it is door d{n * n + 7}k" for n in range(1, 8)]
    agent.loop(
        "Read the manual, then go through the doors from d7k on.",
        tool("read_manual", _filled("", 9_000), seconds=0.05),
        tool("open_door", *results, seconds=0.05),
        system=handbook(5),
    )
