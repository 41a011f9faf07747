"""CP101 to CP103: what could run together, or be asked for at once."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.findings.agent import atool, in_sequence, in_threads, together, tool
from benchmarks.findings.cases import asks, has, lacks, says

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.findings.agent import Agent, Call, Tool

HITS = "Three articles on ferries, the newest of last week."
PAPERS = "Two papers: hull shapes at low speed, and batteries in salt air."
PAGE = "Ferries of this line leave every hour and take bicycles."
DONE = says("That is all there is to say about it.")

# -- CP101: tools of one reply, one after the other


@has(
    "CP101", asks(("search_web", {"query": "ferries"}), ("search_papers", {"topic": "hulls"})), DONE
)
def two_searches(agent: Agent) -> None:
    """two searches of one reply, in sequence"""
    agent.loop("What is new?", tool("search_web", HITS), tool("search_papers", PAPERS))


@has(
    "CP101",
    asks(*(("fetch_page", {"url": f"https://{name}.example/"}) for name in ("ab", "cd", "ef"))),
    DONE,
)
def three_pages(agent: Agent) -> None:
    """one tool three times, at addresses of their own"""
    agent.loop("Compare the three lines.", tool("fetch_page", PAGE))


@has("CP101", asks(("get_rates", {"of": "EUR"}), ("get_news", {"about": "banks"})), DONE)
def awaited_one_by_one(agent: Agent) -> None:
    """coroutines that are awaited one by one"""
    tools = atool("get_rates", "1.07 at noon"), atool("get_news", "Banks wait for the meeting.")
    asyncio.run(agent.aloop("How is the euro?", *tools))


@has(
    "CP101",
    asks(("find_customer", {"name": "Ines"})),
    asks(("get_orders", {"customer": "C-88"}), ("get_tickets", {"customer": "C-88"})),
    DONE,
)
def second_reply(agent: Agent) -> None:
    """not the first reply but the second asks for two"""
    agent.loop(
        "How is it going with Ines?",
        tool("find_customer", "Ines is customer C-88"),
        tool("get_orders", "tea, two cups"),
        tool("get_tickets", "none is open"),
    )


@has(
    "CP101",
    asks(("get_stock", {"item": "cups"}), ("get_price", {"item": "cups"}), ("list_shops", {})),
    DONE,
)
def pool_of_one(agent: Agent) -> None:
    """a pool that has one thread"""
    tools = (
        tool("get_stock", "41 of them"),
        tool("get_price", "3.20 each"),
        tool("list_shops", "Rua do Sol, Cais"),
    )

    def run(calls: Sequence[Call], tools: Sequence[Tool]) -> list[str]:
        return together([partial(in_sequence, [call], tools) for call in calls], 1)  # type: ignore[arg-type]

    talk = agent.talk(*tools)
    said = talk.say("What about the cups?")
    talk.tell([str(one[0]) for one in run(said.calls, tools)])


@has(
    "CP101",
    asks(
        ("write_file", {"path": "notes/a.md", "text": "first"}),
        ("write_file", {"path": "notes/b.md", "text": "second"}),
    ),
    DONE,
)
def two_files(agent: Agent) -> None:
    """writes to two files"""
    agent.loop("Keep both notes.", tool("write_file", "written"))


@lacks(
    "CP101", asks(("search_web", {"query": "ferries"}), ("search_papers", {"topic": "hulls"})), DONE
)
def on_threads(agent: Agent) -> None:
    """the same two, on threads"""
    tools = tool("search_web", HITS), tool("search_papers", PAPERS)
    agent.loop("What is new?", *tools, run=in_threads)


@lacks("CP101", asks(("get_rates", {"of": "EUR"}), ("get_news", {"about": "banks"})), DONE)
def gathered(agent: Agent) -> None:
    """coroutines that are gathered"""
    tools = atool("get_rates", "1.07 at noon"), atool("get_news", "Banks wait for the meeting.")
    asyncio.run(agent.aloop("How is the euro?", *tools, together=True))


@lacks(
    "CP101",
    asks(
        ("write_file", {"path": "plan.md", "text": "go"}),
        ("read_file", {"path": "plan.md"}),
    ),
    DONE,
)
def write_then_read(agent: Agent) -> None:
    """a file is written, then read"""
    agent.loop("Write the plan and check it.", tool("write_file", "ok"), tool("read_file", "go"))


@lacks(
    "CP101",
    asks(("create_branch", {"name": "fix"}), ("push_commit", {"branch": "fix"})),
    DONE,
)
def branch_then_push(agent: Agent) -> None:
    """the second needs what the first one makes"""
    agent.loop("Publish the fix.", tool("create_branch", "done"), tool("push_commit", "done"))


@lacks("CP101", asks(("get_rates", {"of": "EUR"}), ("get_news", {"about": "banks"})), DONE)
def too_fast(agent: Agent) -> None:
    """tools that take no time"""
    tools = tool("get_rates", "1.07", seconds=0.005), tool("get_news", "Quiet.", seconds=0.005)
    agent.loop("How is the euro?", *tools)


@lacks(
    "CP101",
    asks(
        ("append_line", {"path": "log.txt", "line": "a"}),
        ("append_line", {"path": "log.txt", "line": "b"}),
    ),
    DONE,
)
def two_lines_of_one_file(agent: Agent) -> None:
    """two lines that are added to one file, in order"""
    agent.loop("Log both.", tool("append_line", "ok"))


# -- CP102: calls of the agent's own code, one after the other

DOCS = (
    "Goods can be sent back within thirty days if they are as they were.",
    "Employees lock their screens whenever they leave the desk.",
    "The canteen opens at noon and has soup, salad and a warm dish.",
)
SUMS = (
    says("Returns take a month at most."),
    says("Screens have to be locked."),
    says("Lunch begins at twelve."),
)


@has("CP102", *SUMS)
def summaries(agent: Agent) -> None:
    """a summary of each document"""
    for doc in DOCS:
        agent.ask(f"Summarise in one sentence: {doc}")


@has("CP102", says("You may want a coat in Porto."))
def look_ups_before(agent: Agent) -> None:
    """two look-ups before the model is asked"""
    get_profile, get_weather = (
        tool("get_profile", "likes tea, no meat", read_only=True),
        tool("get_weather", "rain until noon", read_only=True),
    )
    profile = get_profile(user="ines")
    weather = get_weather(city="Porto")
    agent.ask(f"{profile} / {weather}: what should she wear?")


@has("CP102", *SUMS)
def rounds(agent: Agent) -> None:
    """rounds of a look-up and a question"""
    search_docs = tool(
        "search_docs", lambda given: f"All about {given['query']}: {given['query']} is well."
    )
    for topic in ("returns", "screens", "canteen"):
        found = search_docs(query=topic)
        agent.ask(f"Answer from this: {found}")


@has("CP102", *SUMS)
def comprehension(agent: Agent) -> None:
    """a list comprehension over questions"""
    questions = ("What is a keel?", "How deep is the harbour?", "Who runs the ferry?")
    [agent.ask(question) for question in questions]


@has("CP102", *SUMS)
def awaited_rounds(agent: Agent) -> None:
    """coroutines in a loop, each awaited"""

    async def main() -> None:
        for doc in DOCS:
            await agent.talk().asay(f"Is this a rule or a habit? {doc}")

    asyncio.run(main())


@lacks("CP102", *SUMS)
def rolling(agent: Agent) -> None:
    """each is given the answer before"""
    story = "Nothing yet."
    for doc in DOCS:
        story = agent.ask(f"So far: {story} Go on with: {doc}")


@lacks("CP102", *SUMS)
def on_threads_too(agent: Agent) -> None:
    """the same summaries, on threads"""
    together([partial(agent.ask, f"Summarise in one sentence: {doc}") for doc in DOCS])


@lacks("CP102", says("Level 3"), says("Level 5"), says("Level 2"))
def one_digit(agent: Agent) -> None:
    """each is given one digit of the answer before"""
    grade = "1"
    for doc in DOCS:
        grade = agent.ask(f"The grade is {grade}. And after this? {doc}")[-1]


@lacks("CP102", says("not yet"), says("not yet"), says("found"))
def until_found(agent: Agent) -> None:
    """a loop that ends when the answer says so"""
    for doc in DOCS:
        if agent.ask(f"Is the canteen in this? Say found or not yet. {doc}") == "found":
            break


@lacks(
    "CP102",
    says("Dear guests, the ferry is late."),
    says("Say by how much it is late, and be sorry."),
    says("Dear guests, the ferry is an hour late. We are sorry."),
)
def draft_and_review(agent: Agent) -> None:
    """a draft, what is wrong with it, and a better one"""
    draft = agent.ask("Write to the guests that the ferry is late.")
    review = agent.ask(f"What is missing here? {draft}")
    agent.ask(f"{draft} Mend it: {review}")


@lacks("CP102", DONE)
def next_pages(agent: Agent) -> None:
    """pages, each of which names the next"""
    pages = tool(
        "list_orders",
        "tea, cup; next: p-81f",
        "pot, jar; next: p-93c",
        "bowl; no more",
        read_only=True,
    )
    cursor, all_ = "p-00a", []
    while cursor:
        page = pages(cursor=cursor)
        all_.append(page)
        found = re.search(r"next: (\S+)", page)
        cursor = found[1] if found else ""
    agent.ask(f"Sum up: {all_}")


# -- CP103: two turns that could have been one

ANSWER = says(
    "Both are worth a visit at this time of the year, as they are near the sea and well connected; "
    "I would take the earlier train, stay for two nights, and go on by ferry if the weather holds. "
    "Tickets are sold on board, and there is no need to book before the middle of June."
)
"""As long as answers are, so that it can be seen what writing takes."""


@has(
    "CP103",
    asks(("get_weather", {"city": "Lisbon"})),
    asks(("get_weather", {"city": "Porto"})),
    ANSWER,
)
def two_cities(agent: Agent) -> None:
    """both cities are in the question"""
    agent.loop(
        "Is it warmer in Lisbon or in Porto?",
        tool("get_weather", "21 degrees", "18 degrees"),
        stream=True,
    )


@has(
    "CP103",
    asks(("search_flights", {"to": "Rome"})),
    asks(("search_hotels", {"place": "Rome"})),
    ANSWER,
)
def flight_and_hotel(agent: Agent) -> None:
    """two tools, about what the question names"""
    agent.loop(
        "Plan a weekend in Rome.",
        tool("search_flights", "Two on Friday, from 80 euros"),
        tool("search_hotels", "One near the station, 95 a night"),
    )


@has(
    "CP103",
    asks(("read_file", {"path": "a.py"})),
    asks(("read_file", {"path": "b.py"})),
    asks(("read_file", {"path": "c.py"})),
    ANSWER,
)
def three_files(agent: Agent) -> None:
    """three files, which the question names"""
    texts = "def left(): ...", "def right(): ...", "def up(): ..."
    agent.loop(
        "What do a.py, b.py and c.py have in common?", tool("read_file", *texts), stream=True
    )


@has(
    "CP103",
    asks(("get_calendar", {"day": "Monday"})),
    asks(("get_mails", {"since": "Monday"})),
    ANSWER,
)
def day_and_mails(agent: Agent) -> None:
    """tools that are marked read-only"""
    agent.loop(
        "What is up on Monday, and what was written since Monday?",
        tool("get_calendar", "Two meetings before noon", read_only=True),
        tool("get_mails", "Seven, none of them urgent", read_only=True),
    )


@lacks(
    "CP103",
    asks(("find_customer", {"name": "Ines"})),
    asks(("get_orders", {"customer": "C-4711"})),
    ANSWER,
)
def an_id(agent: Agent) -> None:
    """the second needs an id that the first one returned"""
    agent.loop(
        "What has Ines ordered?",
        tool("find_customer", "Ines is customer C-4711"),
        tool("get_orders", "tea, two cups"),
        stream=True,
    )


@lacks(
    "CP103",
    asks(("list_orders", {"page": 1})),
    asks(("list_orders", {"page": 2})),
    ANSWER,
)
def next_page(agent: Agent) -> None:
    """the next page, as there is more"""
    agent.loop(
        "Is there an order for a pot?",
        tool("list_orders", "tea, cup, more", "bowl, pot, end"),
        stream=True,
    )


@lacks(
    "CP103",
    asks(("search_library", {"title": "Ferries"})),
    asks(("search_web", {"query": "Ferries"})),
    ANSWER,
)
def after_a_failure(agent: Agent) -> None:
    """another way, as the first one failed"""
    agent.loop(
        "Find the book Ferries.",
        tool("search_library", OSError("the library does not answer")),
        tool("search_web", "It is out of print."),
    )


@lacks(
    "CP103",
    asks(("read_file", {"path": "fares.csv"})),
    asks(("write_file", {"path": "fares.csv", "text": "adults 5, children 2"})),
    ANSWER,
)
def read_then_write(agent: Agent) -> None:
    """a file is read, then written"""
    agent.loop(
        "Raise the fares by one.",
        tool("read_file", "adults 4, children 1"),
        tool("write_file", "written"),
    )


@lacks(
    "CP103",
    asks(("check_stock", {"item": "cups"})),
    asks(("order_item", {"item": "cups"})),
    ANSWER,
)
def only_if_there(agent: Agent) -> None:
    """whether the second is asked for depends on a yes"""
    agent.loop(
        "Order cups if there are any.", tool("check_stock", "yes"), tool("order_item", "done")
    )


@lacks(
    "CP103",
    asks(("read_report", {"of": "line 3"})),
    asks(("search_handbook", {"query": "bearing noise when cold"})),
    ANSWER,
)
def words_of_the_model(agent: Agent) -> None:
    """the second is about what the first one told, in other words"""
    agent.loop(
        "What can be done about line 3?",
        tool("read_report", "It squeals in the morning, when there was frost."),
        tool("search_handbook", "Grease the rollers."),
        stream=True,
    )
