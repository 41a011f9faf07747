"""CP201 to CP203, CP301, CP302 and CP304: what is done, sent and paid again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.findings.agent import in_sequence, tool
from benchmarks.findings.cases import asks, has, lacks, says
from tests.support.script import Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.findings.agent import Agent, Tool
    from tests.support.script import Reply

DONE = says("That is all there is to say about it.")
FORECAST = "Rain until noon, then sun and a light wind from the west."
LONG = (
    "The ferry crosses eight times a day between May and September and four times in winter; bikes "
    "go for free, cars have to be booked, and dogs stay on deck."
)

# -- CP201: the same call again, with the same result


@has(
    "CP201",
    asks(("get_forecast", {"city": "Lisbon"})),
    asks(("get_timetable", {"line": "Lisbon"})),
    asks(("get_forecast", {"city": "Lisbon"})),
    DONE,
    undecided=("CP103",),
)
def forecast_again(agent: Agent) -> None:
    """the model asks for the same forecast, two turns later"""
    agent.loop(
        "How do I get about in Lisbon?",
        tool("get_forecast", FORECAST),
        tool("get_timetable", "Every ten minutes"),
    )


@has("CP201", says("Take the tram."), says("Take a coat."), also=("CP102",))
def looked_up_for_each(agent: Agent) -> None:
    """own code looks the same up for each question"""
    get_rules = tool("get_rules", LONG, read_only=True)
    for question in ("How do I travel?", "What do I wear?"):
        agent.ask(f"{get_rules(of='the line')} {question}")


@has("CP201", says(LONG), says("It is 3 of 5."), says(LONG), also=("CP102",))
def question_again(agent: Agent) -> None:
    """a model is asked the same and says the same"""
    agent.ask("Describe the ferry in full.")
    agent.ask("How good is the canteen, of five?")
    agent.ask("Describe the ferry in full.")


@has(
    "CP201",
    asks(("search_docs", {"query": "bikes"})),
    asks(("search_docs", {"query": "bikes"})),
    DONE,
    undecided=("CP103",),
)
def search_again(agent: Agent) -> None:
    """the same search in the next turn"""
    agent.loop("May I take bikes along?", tool("search_docs", LONG))


@has(
    "CP201",
    asks(("read_file", {"path": "fares.csv"})),
    says("Adults pay four."),
    asks(("read_file", {"path": "fares.csv"})),
    says("Children pay one."),
    undecided=("CP102",),
)
def in_two_conversations(agent: Agent) -> None:
    """two parts of one run read the same file"""
    read_file = tool("read_file", "adults 4, children 1, dogs 0, bikes 0")
    agent.loop("What do adults pay?", read_file)
    agent.loop("What do children pay?", read_file)


@lacks(
    "CP201",
    asks(("get_forecast", {"city": "Lisbon"})),
    asks(("get_forecast", {"city": "Lisbon"})),
    DONE,
    undecided=("CP103",),
)
def another_result(agent: Agent) -> None:
    """the same call, and another result"""
    agent.loop("Has the weather changed?", tool("get_forecast", FORECAST, "Fog all over the day."))


@lacks(
    "CP201",
    asks(("read_file", {"path": "a.txt"})),
    asks(("write_file", {"path": "a.txt", "text": "x"})),
    asks(("read_file", {"path": "a.txt"})),
    DONE,
)
def a_write_between(agent: Agent) -> None:
    """what is read again was written between"""
    agent.loop("Put x there and look.", tool("read_file", LONG), tool("write_file", "written"))


@lacks(
    "CP201",
    *[asks(("get_job_status", {"job": "j-1"}))] * 2,
    DONE,
)
def a_state(agent: Agent) -> None:
    """how far something is, which changes by itself"""
    agent.loop("Wait for j-1.", tool("get_job_status", "running, 40 of 100 steps are done by now"))


@lacks(
    "CP201",
    asks(("list_orders", {"cursor": "a1"})),
    asks(("list_orders", {"cursor": "b7"})),
    DONE,
)
def other_arguments(agent: Agent) -> None:
    """equal results of other arguments"""
    agent.loop("Is there a pot?", tool("list_orders", "nothing but tea; next: b7"))


@lacks("CP201", says("yes"), says("yes"), also=("CP102",))
def a_yes(agent: Agent) -> None:
    """two questions that are answered with a yes"""
    agent.ask("Is Porto a harbour?")
    agent.ask("Is Faro a harbour?")


@lacks(
    "CP201",
    asks(("roll_dice", {"sides": 6})),
    asks(("roll_dice", {"sides": 6})),
    DONE,
    undecided=("CP103",),
)
def by_chance(agent: Agent) -> None:
    """results that are equal by chance"""
    agent.loop("Roll twice.", tool("roll_dice", "You have rolled a four with this die"))


# -- CP202: a prompt cache that broke

RULES = "Rule {}: whoever is on board keeps to what the crew says and to what is written here. "


def handbook(thousands: int) -> str:
    """A system prompt of so many thousand tokens."""
    return "".join(RULES.format(number) for number in range(thousands * 46))


def used(read: int = 0, written: int = 0, fresh: int = 60, output: int = 30) -> Usage:
    return Usage(fresh, output, read, written)


def cached(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}]


LOOKED = ("get_orders", {"customer": "C-1"})
BOOK = handbook(6)


@has(
    "CP202",
    asks(LOOKED, usage=used(written=6_000)),
    says("Tea.", usage=used(written=6_100)),
    sdks=("anthropic",),
    undecided=("CP304",),
)
def a_clock_in_the_system_prompt(agent: Agent) -> None:
    """the system prompt tells the time, and it is another one in the next turn"""
    talk = agent.talk(tool("get_orders", "tea"), system=cached(f"It is 10:01:07. {BOOK}"))
    said = talk.say("What has C-1 ordered?")
    talk.system = cached(f"It is 10:01:09. {BOOK}")
    talk.tell(in_sequence(said.calls, talk.tools))


@has(
    "CP202",
    asks(LOOKED, usage=used(written=6_000)),
    says("Tea.", usage=used(written=6_100)),
    sdks=("anthropic",),
    undecided=("CP304",),
)
def another_order_of_tools(agent: Agent) -> None:
    """the tools come in another order"""
    tools = tool("get_orders", "tea"), tool("get_tickets", "none")
    talk = agent.talk(*tools, system=cached(BOOK))
    said = talk.say("What has C-1 ordered?")
    results = in_sequence(said.calls, tools)
    talk.tools = tools[::-1]
    talk.tell(results)


@has(
    "CP202",
    says("Good morning.", usage=used(written=6_000)),
    says("At noon.", usage=used(read=6_000, written=300)),
    says("At ten.", usage=used(read=1_500, written=5_200)),
    sdks=("anthropic",),
    undecided=("CP304",),
)
def an_edited_message(agent: Agent) -> None:
    """the first message is written anew in the third turn"""
    talk = agent.talk(system="Be short.")
    talk.say(f"{BOOK} Good morning!")
    talk.say("When is lunch?")
    talk.messages[0]["content"] = f"{BOOK} Good morning, edited!"
    talk.say("When does the canteen close? Or does it not close at all on such a day?")


@has(
    "CP202",
    says("Good morning.", usage=used(fresh=6_000)),
    says("At noon.", usage=used(read=5_900, fresh=200)),
    says("At ten.", usage=used(fresh=6_400)),
    sdks=("openai",),
)
def a_system_prompt_that_changes(agent: Agent) -> None:
    """caches that are made by themselves break as well"""
    talk = agent.talk(system=f"You help Ines. {BOOK}")
    talk.say("Good morning!")
    talk.say("When is lunch?")
    talk.system = f"You help Joana. {BOOK}"
    talk.say("When does the canteen close?")


@has(
    "CP202",
    asks(LOOKED, usage=used(written=9_000)),
    says("Tea.", usage=used(read=1_200, written=8_000)),
    sdks=("anthropic",),
    undecided=("CP304",),
)
def a_tool_more(agent: Agent) -> None:
    """a tool is added behind the others"""
    tools = tool("get_orders", "tea"), tool("get_tickets", "none")
    talk = agent.talk(*tools, system=cached(handbook(9)))
    said = talk.say("What has C-1 ordered?")
    results = in_sequence(said.calls, tools)
    talk.tools = (*tools, tool("send_mail", "sent"))
    talk.tell(results)


@lacks(
    "CP202",
    asks(LOOKED, usage=used(written=6_000)),
    says("Tea.", usage=used(read=6_000, written=100)),
    sdks=("anthropic",),
)
def it_is_read(agent: Agent) -> None:
    """what was cached is read"""
    agent.loop("What has C-1 ordered?", tool("get_orders", "tea"), system=cached(BOOK))


@lacks(
    "CP202",
    says("Good morning.", usage=used(written=9_000)),
    says("Tea, cups.", usage=used(written=2_000)),
    sdks=("anthropic",),
    undecided=("CP304",),
)
def compacted(agent: Agent) -> None:
    """what was said is summed up: the prompt gets shorter"""
    talk = agent.talk(system="Be short.")
    talk.say(f"{handbook(9)} Good morning!")
    talk.messages[:] = [{"role": "user", "content": f"In short: {handbook(2)}"}]
    talk.messages.append({"role": "assistant", "content": "I see."})
    talk.say("What has C-1 ordered?")


@lacks(
    "CP202",
    says("Good morning.", usage=used(written=900)),
    says("At noon.", usage=used(written=950)),
    sdks=("anthropic",),
)
def too_small(agent: Agent) -> None:
    """little is cached, so little is lost"""
    talk = agent.talk(system=cached(f"It is 10:01. {RULES * 40}"))
    talk.say("Good morning!")
    talk.system = cached(f"It is 10:02. {RULES * 40}")
    talk.say("When is lunch?")


@lacks(
    "CP202",
    says("Good morning.", usage=used(written=6_000)),
    says("At noon.", usage=used(written=6_000)),
    sdks=("anthropic",),
    undecided=("CP202",),  # the provider calls it a miss, and others a choice
)
def another_model(agent: Agent) -> None:
    """another model has a cache of its own"""
    talk = agent.talk(system=cached(BOOK))
    talk.say("Good morning!")
    talk.model = agent.other_model
    talk.say("When is lunch?")


@lacks(
    "CP202",
    says("Tea is fine.", usage=used(written=6_000)),
    says("Cups are fine.", usage=used(written=6_500)),
    sdks=("anthropic",),
    also=("CP102",),
    undecided=("CP304",),
)
def another_task(agent: Agent) -> None:
    """two conversations, each with a cache of its own"""
    first = agent.talk(system=cached(BOOK))
    first.say("You judge tea. Is this tea good?")
    second = agent.talk(system=cached(f"You know all about cups. {handbook(6)}"))
    second.say("You judge cups. Is this cup good?")


# -- CP203: a stable prompt that was never cached, or never read


@has(
    "CP203",
    asks(LOOKED, usage=used(fresh=9_000)),
    asks(("get_tickets", {"customer": "C-1", "since": "the tea"}), usage=used(fresh=9_200)),
    says("All is well.", usage=used(fresh=9_400)),
    sdks=("anthropic",),
    also=("CP304",),
    undecided=("CP103",),
)
def never_marked(agent: Agent) -> None:
    """three turns that carry a handbook, and none asks for a cache"""
    tools = tool("get_orders", "tea"), tool("get_tickets", "none")
    agent.loop("How is C-1?", *tools, system=handbook(9))


@has(
    "CP203",
    says("Good morning.", usage=used(fresh=5_000)),
    says("At noon.", usage=used(fresh=5_100)),
    says("At ten.", usage=used(fresh=5_200)),
    sdks=("anthropic",),
    also=("CP304",),
)
def a_chat_that_grows(agent: Agent) -> None:
    """a chat without tools"""
    talk = agent.talk(system=handbook(5))
    for question in ("Good morning!", "When is lunch?", "When does the canteen close?"):
        talk.say(question)


@has(
    "CP203",
    says("Good morning.", usage=used(written=6_000)),
    says("At noon.", usage=used(written=6_100)),
    says("At ten.", usage=used(written=6_200)),
    sdks=("anthropic",),
    undecided=("CP304",),
)
def written_and_never_read(agent: Agent) -> None:
    """each call writes the cache anew, although it carries on"""
    talk = agent.talk(system=cached(handbook(6)))
    for question in ("Good morning!", "When is lunch?", "When does the canteen close?"):
        talk.say(question)


@has(
    "CP203",
    *[
        asks(("get_orders", {"customer": f"C-{n}a"}), usage=used(fresh=5_000 + 200 * n))
        for n in range(5)
    ],
    says("All is well.", usage=used(fresh=6_000)),
    sdks=("anthropic",),
    also=("CP304",),
    undecided=("CP103",),
)
def a_long_loop(agent: Agent) -> None:
    """six turns of a loop"""
    results = [f"the next one is C-{n}a" for n in range(1, 6)]
    agent.loop("Follow the orders from C-0a.", tool("get_orders", *results), system=handbook(5))


@lacks(
    "CP203",
    asks(LOOKED, usage=used(fresh=2_000)),
    says("Tea.", usage=used(fresh=2_050)),
    sdks=("anthropic",),
)
def too_short(agent: Agent) -> None:
    """prompts that are too short for a cache"""
    agent.loop("What has C-1 ordered?", tool("get_orders", "tea"), system=handbook(2))


@lacks(
    "CP203",
    says("A month.", usage=used(fresh=6_000)),
    says("So it is: a month.", usage=used(fresh=6_000)),
    says("A month it is.", usage=used(fresh=6_000)),
    sdks=("anthropic",),
    also=("CP304",),
)
def other_prompts(agent: Agent) -> None:
    """prompts that have nothing in common"""
    told = "nothing"
    for number in range(3):
        told = agent.ask(f"After {told}, chapter {number}: {handbook(6)[number * 90 :]}")


@lacks(
    "CP203",
    says("Good morning.", usage=used(fresh=6_000)),
    says("At noon.", usage=used(fresh=6_100)),
    sdks=("openai",),
)
def cached_by_itself(agent: Agent) -> None:
    """a model whose provider caches by itself, and has not"""
    talk = agent.talk(system=handbook(6))
    talk.say("Good morning!")
    talk.say("When is lunch?")


@lacks("CP203", says("Good morning.", usage=used(fresh=9_000)), sdks=("anthropic",))
def once(agent: Agent) -> None:
    """a single call"""
    agent.talk(system=handbook(9)).say("Good morning!")


@lacks(
    "CP203",
    says("Good morning.", usage=used(written=6_000)),
    sdks=("anthropic",),
)
def for_the_next_run(agent: Agent) -> None:
    """written once, for the runs to come"""
    agent.talk(system=cached(handbook(6))).say("Good morning!")


# -- CP301: a context that grows


def _chat(agent: Agent, sizes: Sequence[int], system: str = "Be short.") -> None:
    """A chat in which each question brings about so many thousand tokens."""
    talk = agent.talk(system=system)
    for number, size in enumerate(sizes):
        talk.say(f"Part {number}: {handbook(1) * size} What is in it?")


def _of(*thousands: int) -> list[Reply]:
    return [
        says(f"It is about part {number}.", usage=used(fresh=1_000 * size))
        for number, size in enumerate(thousands)
    ]


GROWING = range(2, 28, 2)


@has("CP301", *_of(*GROWING), sdks=("anthropic",), also=("CP203", "CP304"))
def a_chat_with_papers(agent: Agent) -> None:
    """thirteen questions, each with a paper, and all papers stay"""
    _chat(agent, [2] * 13)


@has("CP301", *_of(*GROWING), sdks=("openai",), also=("CP304",))
def a_chat_with_papers_too(agent: Agent) -> None:
    """the same where the provider caches by itself, and has not"""
    _chat(agent, [2] * 13)


@has("CP301", *_of(*range(4, 52, 4)), sdks=("openai",), also=("CP304",))
def twice_as_fast(agent: Agent) -> None:
    """twelve questions that bring twice as much"""
    _chat(agent, [4] * 12)


@lacks("CP301", *_of(*[20] * 12), sdks=("openai",), also=("CP304",))
def always_large(agent: Agent) -> None:
    """large from the first call on, and hardly larger at the end"""
    _chat(agent, [0] * 12, system=handbook(20))


@lacks("CP301", *_of(*[2] * 5, *[22] * 8), sdks=("openai",), also=("CP304",))
def one_large_paper(agent: Agent) -> None:
    """one paper brings nearly all of it"""
    _chat(agent, [0] * 5 + [20] + [0] * 7, system=handbook(2))


@lacks("CP301", *_of(*[1] * 6, *[2] * 6), sdks=("openai",))
def short_questions(agent: Agent) -> None:
    """a chat that stays small"""
    _chat(agent, [0] * 12, system=handbook(1))


@lacks("CP301", *_of(*[6] * 12), sdks=("openai",), undecided=("CP102", "CP304"))
def begun_anew(agent: Agent) -> None:
    """each question is a conversation of its own"""
    told = "nothing"
    for number in range(12):
        told = agent.ask(f"After {told}: {handbook(6)[number * 90 :]} What is in it?")


# -- CP302: a result that later calls carry


def _after_a_manual(doors: int, size: int) -> list[Reply]:
    """A manual is read, then doors are opened one after the other; all of it is cached."""

    def at(turn: int) -> Usage:
        return used(read=0 if turn == 0 else 100 + size + 90 * turn, fresh=90)

    opened = [
        asks(("open_door", {"door": f"d{n * n + 7}k"}), usage=at(n + 1)) for n in range(doors)
    ]
    done = says("That was the last door.", usage=at(doors + 1))
    return [asks(("read_manual", {"of": "the house"}), usage=at(0)), *opened, done]


def _through_the_doors(agent: Agent, doors: int, size: int) -> None:
    results = [f"behind it is door d{n * n + 7}k" for n in range(1, doors + 1)]
    agent.loop(
        "Read the manual of the house, then go through the doors from d7k on.",
        tool("read_manual", "Keep the doors shut. " * (size // 5), seconds=0.05),
        tool("open_door", *results, seconds=0.05),
    )


@has("CP302", *_after_a_manual(8, 6_000), undecided=("CP304",))
def a_manual(agent: Agent) -> None:
    """a long manual that eight later calls carry and none needs"""
    _through_the_doors(agent, 8, 6_000)


@has("CP302", *_after_a_manual(6, 20_000), undecided=("CP304",))
def a_longer_manual(agent: Agent) -> None:
    """a longer one that six calls carry"""
    _through_the_doors(agent, 6, 20_000)


@lacks("CP302", *_after_a_manual(2, 6_000), undecided=("CP304",))
def two_calls_more(agent: Agent) -> None:
    """the manual is carried by two calls more"""
    _through_the_doors(agent, 2, 6_000)


@lacks("CP302", *_after_a_manual(8, 120))
def a_short_manual(agent: Agent) -> None:
    """a manual of a few lines"""
    _through_the_doors(agent, 8, 120)


@lacks(
    "CP302",
    asks(("read_plan", {"of": "the house"}), usage=used(fresh=90)),
    *[
        asks(
            ("open_door", {"door": f"door-{n * 37 + 5}"}), usage=used(read=6_100 + 90 * n, fresh=90)
        )
        for n in range(8)
    ],
    says("That was the last door.", usage=used(read=6_900, fresh=90)),
    undecided=("CP103", "CP304"),
)
def a_plan_that_is_followed(agent: Agent) -> None:
    """each later call takes its door from the plan"""
    doors = "".join(f"Then open door-{n * 37 + 5}, as it is told. " for n in range(8))
    agent.loop(
        "Go by the plan.",
        tool("read_plan", doors + "Keep the doors shut. " * 1_200, seconds=0.05),
        tool("open_door", "it is open", seconds=0.05),
    )


# -- CP303: tools that are declared and never used

AT_LENGTH = "Answers whatever is asked about the house, its rooms and its doors, at any time. " * 40
"""A declaration of eight hundred tokens."""
LOOK = asks(("get_orders", {"customer": "C-1"}))


def _answers(number: int) -> list[Reply]:
    return [says(f"This is answer {n}.") for n in range(number)]


def _asked(agent: Agent, questions: int, *tools: Tool) -> None:
    talk = agent.talk(tool("get_orders", "tea", seconds=0.02), *tools)
    for n in range(questions):
        said = talk.say(f"And what about {n * n + 3}?")
        while said.calls:
            said = talk.tell(in_sequence(said.calls, talk.tools))


@has("CP303", LOOK, *_answers(11), undecided=("CP304",))
def one_of_two(agent: Agent) -> None:
    """one of two tools is never asked for"""
    _asked(agent, 11, tool("describe_house", "it is red", about=AT_LENGTH))


@has("CP303", LOOK, *_answers(13), undecided=("CP304",))
def three_of_four(agent: Agent) -> None:
    """three of four"""
    names = "describe_house", "describe_garden", "describe_roof"
    _asked(agent, 13, *[tool(name, "it is red", about=AT_LENGTH) for name in names])


@lacks(
    "CP303",
    LOOK,
    *_answers(9),
    asks(("describe_house", {"of": "Ines"})),
    says("It is red."),
    says("This was all."),
    undecided=("CP304",),
)
def used_at_last(agent: Agent) -> None:
    """it is asked for in one of the last turns"""
    _asked(agent, 11, tool("describe_house", "it is red", about=AT_LENGTH))


@lacks("CP303", LOOK, *_answers(4), undecided=("CP304",))
def a_few_calls(agent: Agent) -> None:
    """a few calls show little"""
    _asked(agent, 4, tool("describe_house", "it is red", about=AT_LENGTH))


@lacks("CP303", LOOK, *_answers(11), undecided=("CP304",))
def a_short_declaration(agent: Agent) -> None:
    """a declaration of a few words"""
    _asked(agent, 11, tool("describe_house", "it is red"))


# -- CP304: prompts are what the run costs


def _rolling(agent: Agent, calls: int) -> None:
    told = "nothing"
    for number in range(calls):
        told = agent.ask(f"After {told}, go on with chapter {number} of {number * 7 + 3}.")


BIG = {"fresh": 30_000, "output": 60}


@has("CP304", *[says(f"So it was {n}.", usage=used(**BIG)) for n in range(3)])
def large_prompts(agent: Agent) -> None:
    """three calls that are given much and say little"""
    _rolling(agent, 3)


@has(
    "CP304",
    asks(("read_log", {"of": "today"}), usage=used(fresh=2_000)),
    asks(("read_log", {"of": "the crash at 11:42"}), usage=used(fresh=32_000)),
    says("It was the disk.", usage=used(fresh=62_000)),
    undecided=("CP203", "CP103"),
)
def large_results(agent: Agent) -> None:
    """results of tools that later calls carry"""
    agent.loop("What broke?", tool("read_log", "crash at 11:42 " * 9_000, "disk full " * 9_000))


@has(
    "CP304",
    *[says(f"So it was {n}.", usage=used(read=20_000, fresh=40_000)) for n in range(3)],
)
def partly_cached(agent: Agent) -> None:
    """a third of it is cached"""
    _rolling(agent, 3)


@has("CP304", *[says(f"So it was {n}.", usage=used(fresh=9_000)) for n in range(12)])
def many_of_middle_size(agent: Agent) -> None:
    """twelve prompts of middle size"""
    _rolling(agent, 12)


@lacks("CP304", *[says(f"So it was {n}.", usage=used(fresh=1_000)) for n in range(3)])
def cheap(agent: Agent) -> None:
    """a run that costs little"""
    _rolling(agent, 3)


@lacks("CP304", *[says(f"So it was {n}.", usage=used(fresh=9_000, output=4_000)) for n in range(3)])
def long_replies(agent: Agent) -> None:
    """what it says costs as much"""
    _rolling(agent, 3)


@lacks("CP304", *[says(f"So it was {n}.", usage=used(read=95_000, fresh=2_000)) for n in range(3)])
def nearly_all_cached(agent: Agent) -> None:
    """nearly all of the prompts is read from the cache"""
    _rolling(agent, 3)


@lacks("CP304", says("So it was.", usage=used(fresh=90_000)))
def a_single_call(agent: Agent) -> None:
    """one large call carries nothing over and over"""
    agent.ask("What is in the book?")


@lacks("CP304", *[says(f"So it was {n}.", usage=used(**BIG)) for n in range(3)])
def no_price(agent: Agent) -> None:
    """a model without a price"""
    told = "nothing"
    for number in range(3):
        told = agent.ask(f"After {told}, go on with {number}.", model="our-own-model")
