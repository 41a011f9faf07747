"""CP301 over weeks: the agent that became slow in three months, as its prompts grew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.findings.agent import tool
from benchmarks.findings.cases import asks, says
from benchmarks.findings.over_runs.cases import WEEK, by_turns, every, has, lacks, weekly
from tests.support.script import Latency, Usage

if TYPE_CHECKING:
    from benchmarks.findings.over_runs.cases import Run
    from tests.support.script import Reply

NOTE = "The customer of letter {} was content with a refund of {} euros and a card by post. "
"""A line of memory: 20 tokens or so."""
SEED = (3, 7, 1, 9, 4, 8, 2, 6)


def memory(notes: float) -> str:
    """What an agent has noted: so many lines, of 20 tokens each."""
    return "".join(NOTE.format(at, at % 17) for at in range(round(notes)))


def question(run: Run) -> str:
    return f"Letter {run.number}: where is my parcel?"


def answer(text: str, *, first: float = 0.0, read: int = 0) -> Reply:
    """An answer to a prompt of `text`, four bytes of which are a token."""
    usage = Usage(max(1, len(text) // 4 - read), 40, read)
    return says("It is on its way.", Latency(before_first_delta=first), usage)


def with_memory(run: Run, notes: float, *, first: float = 0.0, stream: bool = False) -> None:
    """Asks once, with so many notes in the system prompt."""
    system = f"You answer letters. {memory(notes)}"
    run.model_says(answer(system, first=first)).loop(question(run), system=system, stream=stream)


def about(run: Run, number: float) -> float:
    """Gives a number that is a tenth more or less from run to run."""
    return number * (1 + (SEED[run.number % 8] - 5) / 40)


# -- it grew


@has("CP301", "letters", runs=48, at=weekly(4), agent=lambda _: "letters")
def a_memory(run: Run) -> None:
    """what the agent has noted stands in the system prompt, and is a little more each week"""
    with_memory(run, 100 + 45 * (run.number // 4))


@has("CP301", "letters", runs=18, at=weekly(3), agent=lambda _: "letters", sdk="openai")
def in_six_weeks(run: Run) -> None:
    """three runs a week, for six weeks"""
    with_memory(run, 100 + 60 * (run.number // 3))


@has("CP301", "letters", runs=40, at=weekly(5), agent=lambda _: "letters")
def faster_and_faster(run: Run) -> None:
    """a quarter more each week"""
    with_memory(run, 120 * 1.25 ** (run.number // 5))


@has("CP301", "letters", runs=60, at=weekly(5), agent=lambda _: "letters", sdk="openai")
def up_and_down(run: Run) -> None:
    """as much as a tenth more or less from run to run"""
    with_memory(run, about(run, 100 + 30 * (run.number // 5)))


@has("CP301", "letters", runs=72, at=weekly(6), agent=by_turns("letters", "parcels"))
def one_of_two_agents(run: Run) -> None:
    """two agents, of which one grows"""
    with_memory(run, 100 + (40 * (run.number // 6) if run.number % 2 == 0 else 0))


@has("CP301", "letters", runs=32, at=weekly(4), agent=lambda _: "letters", sdk="openai")
def slower_too(run: Run) -> None:
    """first tokens come later with each week"""
    week = run.number // 4
    with_memory(run, 100 + 60 * week, first=0.02 + 0.01 * week, stream=True)


@has("CP301", "letters", runs=32, at=weekly(4), agent=lambda _: "letters")
def with_tools(run: Run) -> None:
    """each run has two turns, and the memory stands in both"""
    system = f"You answer letters. {memory(100 + 60 * (run.number // 4))}"
    ask = asks(
        ("get_parcel", {"n": run.number}), usage=Usage(len(system) // 4, 20), latency=Latency()
    )
    run.model_says(ask, answer(system))
    parcel = tool("get_parcel", f"parcel {run.number}", seconds=0.0)
    run.loop(question(run), parcel, system=system)


@has(
    "CP301",
    "letters",
    runs=28,
    at=weekly(4, [0, 1, 2, 5, 6, 9, 11]),
    agent=lambda _: "letters",
    sdk="openai",
)
def weeks_without_runs(run: Run) -> None:
    """in some weeks nobody asks"""
    with_memory(run, 100 + 60 * (run.number // 4))


@has("CP301", "letters", runs=36, at=weekly(4), agent=lambda _: "letters")
def read_from_a_cache(run: Run) -> None:
    """most of the prompt is read from the cache of the provider"""
    system = f"You answer letters. {memory(100 + 50 * (run.number // 4))}"
    said = answer(system, read=len(system) // 5)
    run.model_says(said).loop(question(run), system=system)


@has("CP301", "letters", runs=40, at=weekly(4), agent=lambda _: "letters", sdk="openai")
def a_result_that_grows(run: Run) -> None:
    """the tool that is asked first returns more from week to week"""
    found = memory(80 + 45 * (run.number // 4))
    ask = asks(("search_letters", {"n": run.number}), usage=Usage(200, 20), latency=Latency())
    run.model_says(ask, answer(found))
    run.loop(question(run), tool("search_letters", found, seconds=0.0))


@has("CP301", "letters", runs=40, at=weekly(4), agent=lambda _: "letters")
def a_history(run: Run) -> None:
    """earlier conversations stand before the question, and nothing is ever dropped"""
    talk = run.agent.talk()
    for at in range(6 * (run.number // 4 + 1)):
        talk.messages += [
            {"role": "user", "content": f"Letter {at}: where is it?"},
            {"role": "assistant", "content": memory(5)},
        ]
    whole = "".join(str(one["content"]) for one in talk.messages)
    run.model_says(answer(whole))
    talk.say(question(run))


@has("CP301", "letters", runs=60, at=weekly(6), agent=lambda _: "letters")
def some_runs_are_small(run: Run) -> None:
    """one run in three is a small one, as ever"""
    with_memory(run, 40 if run.number % 3 == 2 else 100 + 45 * (run.number // 6))


@has("CP301", "letters", runs=40, at=weekly(4), agent=lambda _: "letters")
def looked_up_for_the_question(run: Run) -> None:
    """own code puts what it has looked up into the message of the user, more from week to week"""
    text = f"Use this: {memory(100 + 45 * (run.number // 4))} {question(run)}"
    run.model_says(answer(text)).loop(text, system="You answer letters.")


# -- it only looks so


@lacks("CP301", runs=40, at=weekly(4), agent=lambda _: "letters")
def a_release(run: Run) -> None:
    """a release in the fifth week has a longer system prompt"""
    with_memory(run, about(run, 100 if run.number // 4 < 5 else 600))


@lacks("CP301", runs=40, at=weekly(4), agent=lambda _: "letters", sdk="openai")
def letters_that_get_longer(run: Run) -> None:
    """the users write longer letters from week to week"""
    text = f"{question(run)} {memory(100 + 45 * (run.number // 4))}"
    run.model_says(answer(text)).loop(text, system="You answer letters.")


@lacks("CP301", runs=40, at=weekly(4), agent=lambda _: "letters")
def letters_and_tools(run: Run) -> None:
    """the same with a tool that is asked first"""
    text = f"{question(run)} {memory(100 + 45 * (run.number // 4))}"
    ask = asks(
        ("get_parcel", {"n": run.number}), usage=Usage(len(text) // 4, 20), latency=Latency()
    )
    run.model_says(ask, answer(text))
    run.loop(text, tool("get_parcel", "on its way", seconds=0.0), system="You answer letters.")


@lacks("CP301", runs=48, at=weekly(4), agent=lambda _: "letters")
def a_season(run: Run) -> None:
    """more before Christmas, and as before after it"""
    week = run.number // 4
    with_memory(run, 100 + 80 * min(week, 11 - week))


@lacks("CP301", runs=48, at=weekly(4), agent=lambda _: "letters", sdk="openai")
def by_chance(run: Run) -> None:
    """now more, now less, from week to week"""
    with_memory(run, 100 + 60 * SEED[run.number // 4 % 8])


@lacks("CP301", runs=9, at=weekly(3), agent=lambda _: "letters")
def three_weeks(run: Run) -> None:
    """three weeks, of which nobody knows how they go on"""
    with_memory(run, 100 + 150 * (run.number // 3))


@lacks("CP301", runs=40, at=weekly(4), agent=lambda _: "letters", sdk="openai")
def a_third_more(run: Run) -> None:
    """a third more in ten weeks"""
    with_memory(run, 300 + 10 * (run.number // 4))


@lacks("CP301", runs=40, at=weekly(4), agent=lambda _: "letters")
def a_small_one(run: Run) -> None:
    """four times as much in ten weeks, of hardly anything"""
    with_memory(run, 4 + 1.3 * (run.number // 4))


@lacks("CP301", runs=40, at=weekly(4), agent=lambda _: "letters", sdk="openai")
def another_model(run: Run) -> None:
    """the model of the second half counts more tokens for the same"""
    system = f"You answer letters. {memory(about(run, 200))}"
    model, times = ("gpt-5", 1) if run.number < 20 else ("in-house-70b", 3)
    said = says("It is on its way.", Latency(), Usage(len(system) // 4 * times, 40))
    run.model_says(said)
    run.agent.talk(system=system, model=model).say(question(run))


@lacks("CP301", runs=45, agent=lambda _: "letters", at=lambda n: int((8 * n) ** 0.5 / 2) * WEEK)
def more_runs(run: Run) -> None:
    """more runs with each week, and prompts as before"""
    with_memory(run, about(run, 200))


@lacks("CP301", runs=40, at=every(3_600), agent=lambda _: "letters")
def within_a_day(run: Run) -> None:
    """a batch of two days, the longest letters last"""
    with_memory(run, 100 + 20 * run.number)


@lacks("CP301", runs=48, at=weekly(4), agent=lambda _: "letters")
def more_of_the_large_tasks(run: Run) -> None:
    """two kinds of tasks, and more of the larger kind in the second half"""
    large = 1 if run.number < 24 else 3
    with_memory(run, about(run, 600 if run.number % 4 < large else 100))
