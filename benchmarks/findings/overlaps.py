"""More of CP102, CP103, CP601 and CP603: what looks independent, and by which ways it is not."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.findings.agent import atool, in_threads, together, tool
from benchmarks.findings.cases import asks, has, lacks, says
from benchmarks.findings.order import ANSWER, DONE

if TYPE_CHECKING:
    from benchmarks.findings.agent import Agent

ORDERS = "Two pots and a jar, sent on Tuesday, paid by card, to be left at the gate."
TICKETS = "One is open: the lid of a pot did not fit, and she asks for another."
RULES = "Whoever sends something back within thirty days gets the whole of the price."

# -- CP102: calls of own code that stand below each other


@has("CP102", says("She is well looked after."))
def three_look_ups(agent: Agent) -> None:
    """three tools that are called after looking, one below the other"""
    get_orders, get_tickets, get_rules = (
        tool("get_orders", ORDERS),
        tool("get_tickets", TICKETS),
        tool("get_rules", RULES),
    )
    orders = get_orders(customer="Ines")
    tickets = get_tickets(of="Ines")
    rules = get_rules(about="returns")
    agent.ask(f"Is she well looked after? {orders} {tickets} {rules}")


@has("CP102", says("Yes"), says("No"), says("Only one is."))
def two_votes(agent: Agent) -> None:
    """two questions with a yes and a no, looked at when both are there"""
    one = agent.ask("Is a harbour in Porto deep enough for the new ferry?")
    other = agent.ask("Does anybody rent bikes in Faro during winter?")
    if one == "Yes" and other == "Yes":
        return
    agent.ask("Sum up which of both towns is worth a visit.")


@has("CP102", says("Salty."), says("In the north."), says("Tea."))
def parts_of_a_page(agent: Agent) -> None:
    """the parts of a page are appended to a list"""
    parts = []
    parts.append(agent.ask("How does the sea taste?"))
    parts.append(agent.ask("Where does it get cold first?"))
    parts.append(agent.ask("What is drunk there?"))
    Path(os.devnull).write_text("\n".join(parts))


@has("CP102", says("Forty cups."))
def in_a_display(agent: Agent) -> None:
    """look-ups in the values of a dictionary"""
    get_stock, get_price = (
        tool("get_stock", "forty-one cups in two boxes", read_only=True),
        tool("get_price", "3.20 for one of them", read_only=True),
    )
    known = {"stock": get_stock(item="cup"), "price": get_price(of="cup")}
    agent.ask(f"What is to be said on a label? {known}")


@has("CP102", says("It blows from the west."), says("Trains leave each hour."))
def awaited_below_each_other(agent: Agent) -> None:
    """two coroutines that are awaited, one below the other"""

    async def main() -> None:
        wind = await agent.talk().asay("Where does the wind come from in Sines?")
        trains = await agent.talk().asay("How often do trains leave for Beja?")
        assert (wind.text, trains.text) != ("", "")

    asyncio.run(main())


class Desk:
    """An agent as a class, whose steps keep nothing."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent

    def slogan(self) -> str:
        return self.agent.ask("Write a slogan for a tea house.")

    def menu(self) -> str:
        return self.agent.ask("Write a menu of five dishes.")


@has("CP102", says("Leaves, and time."), says("Soup, fish, rice, cheese, figs."))
def steps_of_a_class(agent: Agent) -> None:
    """two steps of a class"""
    desk = Desk(agent)
    slogan = desk.slogan()
    menu = desk.menu()
    assert slogan != menu


@has("CP102", says("A ferry with bikes on deck."), says("Bikes on a ship."))
def two_judges(agent: Agent) -> None:
    """two models are asked the same"""
    about = "Say in one sentence what is to be seen: a ship, and wheels at its rail."
    first = agent.ask(about)
    second = agent.ask(about, model=agent.other_model)
    assert (first, second) != ("", "")


@has("CP102", says("Bring a pot."), says("Bring a jar."), says("Bring a bowl."), also=("CP201",))
def terms_for_each(agent: Agent) -> None:
    """each item of a loop looks up the same terms, by a tool without a mark"""
    get_terms = tool("get_terms", RULES)
    for item in ("pot", "jar", "bowl"):
        terms = get_terms(of="returns")
        agent.ask(f"How do I give back a {item}? {terms}")


@has("CP102", says("Two lines meet there."))
def awaited_look_ups(agent: Agent) -> None:
    """tools that are coroutines, in own code"""
    get_lines, get_stops = (
        atool("get_lines", "the yellow one, and the green one"),
        atool("get_stops", "Rato, Cais, Saldanha"),
    )

    async def main() -> None:
        lines = await get_lines(town="Lisbon")
        stops = await get_stops(near="river")
        await agent.talk().asay(f"Where do I change? {lines} {stops}")

    asyncio.run(main())


@has("CP102", says("Cold."), says("Late."), says("Full."), undecided=("CP201",))
def same_forecast_for_each(agent: Agent) -> None:
    """each question has the forecast before it, which is looked up each time"""
    get_forecast = tool("get_forecast", "Rain until noon, then sun and wind.", read_only=True)
    for question in ("How is the sea?", "When does it leave?", "How is the deck?"):
        agent.ask(f"{get_forecast(of='today')} {question}")


VOICES = {"Yes": "with joy", "No": "gravely"}


class Board:
    """State that all of the process sees."""

    voice = "plainly"


@lacks("CP102", says("Yes"), says("A poem."))
def by_a_global(agent: Agent) -> None:
    """what was answered chooses a word, which a global holds"""

    def look() -> None:
        Board.voice = VOICES[agent.ask("Is the sea calm?")]

    look()
    agent.ask(f"Write a poem, {Board.voice}.")


@lacks("CP102", says("Yes"), says("A poem."))
def by_a_file(agent: Agent) -> None:
    """what was answered chooses a word, which a file holds"""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "voice"
        file.write_text(VOICES[agent.ask("Is the sea calm?")])
        agent.ask(f"Write a poem, {file.read_text()}.")


@lacks("CP102", says("No"), says("A poem."))
def by_a_database(agent: Agent) -> None:
    """what was answered chooses a word, which a database holds"""
    base = sqlite3.connect(":memory:")
    base.execute("create table t (voice text)")
    base.execute("insert into t values (?)", (VOICES[agent.ask("Is the sea calm?")],))
    (voice,) = base.execute("select voice from t").fetchone()
    agent.ask(f"Write a poem, {voice}.")
    base.close()


@lacks("CP102", says("No"), says("A poem."))
def by_a_closure(agent: Agent) -> None:
    """what was answered chooses a word, which a closure holds"""
    voice = "plainly"

    def look() -> None:
        nonlocal voice
        voice = VOICES[agent.ask("Is the sea calm?")]

    look()
    agent.ask(f"Write a poem, {voice}.")


@lacks("CP102", says("Yes"), says("A poem."))
def by_the_environment(agent: Agent) -> None:
    """what was answered chooses a word, which the environment holds"""
    name = f"VOICE_{agent.sdk}"
    os.environ[name] = VOICES[agent.ask("Is the sea calm?")]
    agent.ask(f"Write a poem, {os.environ.pop(name)}.")


class Clerk:
    """An agent as a class, whose first step decides what its second does."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.voice = "plainly"

    def look(self) -> None:
        self.voice = VOICES[self.agent.ask("Is the sea calm?")]

    def write(self) -> str:
        return self.agent.ask(f"Write a poem, {self.voice}.")


@lacks("CP102", says("Yes"), says("A poem."))
def by_a_class(agent: Agent) -> None:
    """what was answered chooses a word, which an object holds"""
    clerk = Clerk(agent)
    clerk.look()
    clerk.write()


@lacks("CP102", says("Yes"), says("A poem."))
def a_gate(agent: Agent) -> None:
    """whether the second is asked depends on the first"""
    allowed = agent.ask("May poems be written here?")
    if allowed != "Yes":
        return
    agent.ask("Write one about the sea.")


@lacks("CP102", says("Nothing is amiss."))
def by_how_many(agent: Agent) -> None:
    """which page is looked up depends on how many lines there are"""
    get_lines, get_page = (
        tool("get_lines", "red\nblue\nteal", read_only=True),
        tool("get_page", "All trains run.", read_only=True),
    )
    lines = get_lines(town="Lisbon")
    pages = ("index", "first", "second", "third")
    page = get_page(called=pages[len(lines.splitlines())])
    agent.ask(f"Is anything amiss? {page}")


@lacks("CP102", says("Two are late."))
def after_a_session(agent: Agent) -> None:
    """the look-up needs the session that the call before has started"""
    start_session, get_trains = (
        tool("start_session", "welcome to the timetable"),
        tool("get_trains", "nine of them, two late"),
    )
    start_session(of="timetable")
    trains = get_trains(today="yes")
    agent.ask(f"How many are late? {trains}")


@lacks("CP102", says("Her name is Ines."))
def by_a_signature(agent: Agent) -> None:
    """the look-up is signed with what was returned, which is not to be seen in it"""
    get_key, get_name = (
        tool("get_key", "orange-harbour-nine", read_only=True),
        tool("get_name", "Ines", read_only=True),
    )
    key = get_key(of="desk")
    name = get_name(sign=f"s{sum(map(ord, key)) * 7919}")
    agent.ask(f"What is her name? {name}")


@lacks("CP102", says("blue"), says("It is like the sky."))
def by_cases(agent: Agent) -> None:
    """what was answered is one of several cases"""
    match agent.ask("Which colour has the sea?"):
        case "blue":
            more = "like above it"
        case _:
            more = "like nothing else"
    agent.ask(f"Say what it is like, {more}.")


@lacks("CP102", says("Tea, pots"), says("A poem on a leaf."))
def by_a_list_in_hand(agent: Agent) -> None:
    """the list that an answer is added to is what the next one draws from"""
    drawn = {"T": "leaf", "C": "bean"}
    kept: list[str] = []

    def draw() -> str:
        return drawn[kept[-1][0]]

    kept.append(agent.ask("What is sold here?"))
    agent.ask(f"Write a poem on a {draw()}.")


# -- CP103: two turns that could have been one


@has(
    "CP103",
    asks(("check_room", {"room": "b-1"})),
    asks(("check_room", {"room": "b-2"})),
    asks(("check_room", {"room": "b-3"})),
    ANSWER,
)
def rooms_in_turn(agent: Agent) -> None:
    """a look at each room, whatever the one before said"""
    agent.loop(
        "Which of b-1, b-2 and b-3 are free at noon?",
        tool("check_room", "free", "taken", "free"),
        stream=True,
    )


@has(
    "CP103",
    asks(("get_state", {"door": "north"})),
    asks(("get_state", {"door": "south"})),
    asks(("get_state", {"door": "east"})),
    asks(("get_state", {"door": "west"})),
    ANSWER,
)
def doors_in_turn(agent: Agent) -> None:
    """a look at each of four doors"""
    agent.loop(
        "Tell me about the doors north, south, east and west.",
        tool("get_state", "open", "open", "closed", "open"),
        stream=True,
    )


@has(
    "CP103",
    asks(("get_fares", {"line": "coast"})),
    asks(("get_delays", {"line": "coast"})),
    ANSWER,
)
def fares_and_delays(agent: Agent) -> None:
    """two tools about what the question names"""
    agent.loop(
        "Tell me about fares and delays of the coast line.",
        tool("get_fares", "Four euros, half of it for children"),
        tool("get_delays", "Nine minutes at the harbour"),
        stream=True,
    )


@has(
    "CP103",
    asks(("has_part", {"part": "lid"})),
    asks(("has_part", {"part": "cord"})),
    asks(("has_part", {"part": "bell"})),
    ANSWER,
)
def parts_in_turn(agent: Agent) -> None:
    """is there a lid, a cord, a bell?"""
    agent.loop(
        "Is there a lid, a cord and a bell?", tool("has_part", "no", "yes", "no"), stream=True
    )


@has(
    "CP103",
    asks(("get_rate", {"of": "krona"})),
    asks(("get_rate", {"of": "franc"})),
    asks(("get_rate", {"of": "zloty"})),
    ANSWER,
)
def three_rates(agent: Agent) -> None:
    """three rates, which the question names"""
    agent.loop(
        "What do krona, franc and zloty cost?",
        tool("get_rate", "0.088 at noon", "1.06 by now", "0.23 since Monday"),
        stream=True,
    )


@has(
    "CP103",
    asks(("search_papers", {"topic": "keels"})),
    asks(("search_people", {"field": "keels"})),
    ANSWER,
)
def papers_and_people(agent: Agent) -> None:
    """two searches about the same"""
    agent.loop(
        "Who and what is to be read on keels?",
        tool("search_papers", "Four since May, one of them long"),
        tool("search_people", "A professor in Aveiro"),
        stream=True,
    )


@has(
    "CP103",
    asks(("list_files", {"path": "src"})),
    asks(("list_files", {"path": "tests"})),
    asks(("list_files", {"path": "docs"})),
    ANSWER,
)
def three_folders(agent: Agent) -> None:
    """three folders, which the question names"""
    agent.loop(
        "What is in src, tests and docs?",
        tool("list_files", "app.py, run.py", "test_app.py alone", "guide.md, faq.md"),
        stream=True,
    )


@lacks(
    "CP103",
    asks(("get_paper", {"number": "P-88"})),
    asks(("search_people", {"name": "Costa"})),
    ANSWER,
)
def its_author(agent: Agent) -> None:
    """who has written what was found first"""
    agent.loop(
        "Where does the author of P-88 work?",
        tool("get_paper", "On keels, by R. Costa, nine pages"),
        tool("search_people", "In Aveiro, since 2019"),
        stream=True,
    )


@lacks(
    "CP103",
    asks(("check_room", {"room": "b-1"})),
    asks(("check_room", {"room": "b-2"})),
    asks(("check_room", {"room": "b-3"})),
    ANSWER,
)
def until_one_is_free(agent: Agent) -> None:
    """one room after the other, until one is free"""
    agent.loop(
        "Is one of b-1, b-2, b-3 and b-4 free? The first one will do.",
        tool("check_room", "taken", "taken", "free"),
        stream=True,
    )


@lacks(
    "CP103",
    asks(("check_stock", {"item": "cup"})),
    asks(("check_price", {"item": "cup"})),
    ANSWER,
)
def price_if_there(agent: Agent) -> None:
    """the price is looked up only as there are some"""
    agent.loop(
        "If there is a cup, check its price.",
        tool("check_stock", "yes"),
        tool("check_price", "3.20 for one"),
        stream=True,
    )


@lacks(
    "CP103",
    asks(("read_sign", {"at": "gate"})),
    asks(("read_sign", {"at": "quay"})),
    ANSWER,
)
def where_it_points(agent: Agent) -> None:
    """the second place is what the first sign points to"""
    agent.loop(
        "Follow the signs from the gate.",
        tool("read_sign", "to the quay, please", "here you are at last"),
        stream=True,
    )


@lacks(
    "CP103",
    asks(("is_wet", {"pipe": "p-4"})),
    asks(("is_wet", {"pipe": "p-2"})),
    asks(("is_wet", {"pipe": "p-3"})),
    ANSWER,
)
def narrowed_down(agent: Agent) -> None:
    """halves of a list, each chosen by a yes or a no"""
    agent.loop(
        "One of p-1, p-2, p-3, p-4, p-5, p-6 and p-7 leaks, and all behind it are wet. Which one?",
        tool("is_wet", "yes", "no", "yes"),
        stream=True,
    )


@lacks(
    "CP102",
    says("A poem on tea."),
    says("A poem on cups."),
)
def a_person_reads_it(agent: Agent) -> None:
    """a person reads the first, and says whether to go on"""

    def confirm() -> bool:
        time.sleep(0.2)
        return True

    first = agent.ask("Write a poem on tea.")
    print(first, file=sys.stderr)
    if confirm():
        agent.ask("Write a poem on cups.")


# -- CP601: time that no span shows


@has("CP601", says("Ask about tides."), says("Every six hours."))
def what_comes_of_an_answer(agent: Agent) -> None:
    """own code works on an answer, then asks something new with it"""
    first = agent.ask("What should be asked?")
    time.sleep(1.6)
    agent.ask(f"Answer this. {first}")


@has("CP601", says("A list of towns."), says("A list of rivers."), also=("CP102",))
def between_two_steps(agent: Agent) -> None:
    """own code between two steps that have nothing to do with each other"""
    towns = agent.ask("List some towns.")
    time.sleep(1.7)
    rivers = agent.ask("List some rivers.")
    assert towns != rivers


@has("CP601", says("Low tide at nine."), says("High tide at three."), says("So at noon."))
def in_the_middle_of_three(agent: Agent) -> None:
    """own code after the second of three questions, each of which is given an answer"""

    async def main() -> None:
        low = await agent.talk().asay("When is low tide?")
        high = await agent.talk().asay(f"And the other one? {low.text}")
        await asyncio.sleep(2.0)
        await agent.talk().asay(f"When do I leave? {low.text} {high.text}")

    asyncio.run(main())


@has("CP601", says("It is red."), says("It is large."))
def while_threads_wait(agent: Agent) -> None:
    """two threads ask, each after own code of its own"""

    def asked(question: str) -> None:
        time.sleep(1.6)
        agent.ask(question)

    together([partial(asked, "Which colour?"), partial(asked, "Which size?")])


@lacks("CP601", says("Good morning."), says("At noon."), says("By boat."))
def a_user_at_a_prompt(agent: Agent) -> None:
    """a user who types question after question, each answered for itself"""
    typed = iter(("Good morning!", "When is lunch?", "How do I get there?"))
    while question := next(typed, ""):
        agent.ask(question)
        time.sleep(0.9)


@lacks("CP601", says("Good morning."), says("Then at noon."), says("By boat."))
def a_user_who_is_awaited(agent: Agent) -> None:
    """a user of a chat, who is awaited between two answers"""

    async def main() -> None:
        talk = agent.talk(system="You know the island.")
        for question in ("Good morning!", "When can I come?", "How do I get there?"):
            await talk.asay(question)
            await asyncio.sleep(0.8)

    asyncio.run(main())


@lacks("CP601", says("It rained."), says("It snowed."))
def in_a_measured_step(agent: Agent) -> None:
    """the same time between two questions, in a tool"""
    first = agent.ask("What fell in May?")
    tool("read_gauge", "nine litres", seconds=1.6)(of="June")
    agent.ask(f"And after this? {first}")


@lacks("CP601", says("It rained."), says("It snowed."))
def short_pauses(agent: Agent) -> None:
    """moments of own code between two questions"""
    first = agent.ask("What fell in May?")
    time.sleep(0.4)
    agent.ask(f"And after this? {first}")


# -- CP603: a new connection where one was open

FOUR = (says("One."), says("Two of them."), says("Three by now."), says("Four in all."))


@has("CP603", *FOUR)
def a_client_in_a_function(agent: Agent) -> None:
    """a function that makes a client each time it is called, with a tool in between"""
    count = tool("count_boats", "some", seconds=0.05)

    def told(before: str) -> str:
        return agent.far().ask(f"How many after {before} and {count(of='boats')}?")

    said = "none"
    for _ in range(4):
        said = told(said)


@has("CP603", asks(("get_orders", {"customer": "C-1"})), asks(("get_jar", {"id": "j"})), DONE)
def given_up_twice(agent: Agent) -> None:
    """two tools that take longer than the client keeps its connection"""
    agent.far(keepalive_expiry=0.1).loop(
        "What is in the jar that C-1 has ordered?",
        tool("get_orders", "one jar: j", seconds=0.3),
        tool("get_jar", "honey", seconds=0.4),
    )


@has("CP603", *FOUR, sdks=("openai",))
def streams_that_are_closed(agent: Agent) -> None:
    """an SDK that closes each stream before its end has come"""
    one, told = agent.far(), "none"
    for _ in range(4):
        told = one.talk().say(f"How many after {told}?", stream=True).text


@lacks("CP603", *FOUR, sdks=("anthropic",))
def streams_that_are_read(agent: Agent) -> None:
    """an SDK that reads each stream to its end"""
    one, told = agent.far(), "none"
    for _ in range(4):
        told = one.talk().say(f"How many after {told}?", stream=True).text


@lacks("CP603", *FOUR)
def near_and_new(agent: Agent) -> None:
    """a new client for each call, to an API that is near"""
    client, told = type(agent.client), "none"
    for _ in range(4):
        with client(base_url=str(agent.client.base_url), api_key="t") as one:
            told = type(agent)(agent.sdk, one, None).ask(f"How many after {told}?")


@lacks("CP603", *FOUR)
def four_at_once(agent: Agent) -> None:
    """four calls at once"""
    one = agent.far()
    together([partial(one.ask, f"How many boats lie at quay {n * 7}?") for n in range(4)])


@lacks("CP603", asks(("get_a", {"of": "x"}), ("get_b", {"of": "y"})), DONE)
def kept_over_tools(agent: Agent) -> None:
    """a connection that is kept while tools run"""
    agent.far(keepalive_expiry=60).loop(
        "Get both.",
        tool("get_a", "one", seconds=0.7),
        tool("get_b", "two", seconds=0.6),
        run=in_threads,
    )
