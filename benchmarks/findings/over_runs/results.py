"""CP201 over runs: results that an earlier run of another task had."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.findings.agent import atool, tool
from benchmarks.findings.cases import asks, says
from benchmarks.findings.over_runs.cases import DAY, HOUR, by_turns, every, has, lacks

if TYPE_CHECKING:
    from benchmarks.findings.agent import Tool
    from benchmarks.findings.over_runs.cases import Run

CITIES = ("Lisbon", "Porto", "Faro", "Braga")
RULES = "Bikes go for free, cars have to be booked, and dogs stay on deck."
ANSWER = says("Take the ferry at nine: it goes every day but Sunday.")


def question(run: Run) -> str:
    return f"Letter {run.number}: how do I get across with {run.number + 2} dogs?"


def city(run: Run, of: int = len(CITIES)) -> str:
    return CITIES[run.number * 7 // 3 % of]


def get_fares(seconds: float = 0.2) -> Tool:
    return tool(
        "get_fares", lambda given: f"{given['city']}: {len(given['city'])} euros", seconds=seconds
    )


# -- a cache would have had it


@has("CP201", "get_fares", runs=20)
def of_four_cities(run: Run) -> None:
    """runs of other questions ask for the fares of one of four cities"""
    run.model_says(asks(("get_fares", {"city": city(run)})), ANSWER)
    run.loop(question(run), get_fares())


@has("CP201", "get_fares", runs=16, sdk="openai")
def awaited(run: Run) -> None:
    """the same with the client that is awaited"""
    fares = atool("get_fares", lambda given: f"{given['city']}: 7 euros")
    run.model_says(asks(("get_fares", {"city": city(run, 3)})), ANSWER)
    run.aloop(question(run), fares)


@has("CP201", "read_rules", also=("CP104 read_rules",), runs=12, sdk="openai")
def of_one_page(run: Run) -> None:
    """each run reads the same page"""
    run.model_says(asks(("read_rules", {"page": "dogs"})), ANSWER)
    run.loop(question(run), tool("read_rules", RULES))


@has("CP201", "get_fares", runs=24, agent=by_turns("support", "sales"))
def by_two_agents(run: Run) -> None:
    """two agents ask for the same"""
    run.model_says(asks(("get_fares", {"city": city(run)})), ANSWER)
    run.loop(question(run), get_fares())


@has("CP201", "get_fares", runs=18, sdk="openai")
def in_the_second_turn(run: Run) -> None:
    """the first turn asks for what only this run wants"""
    first = asks(("get_letter", {"n": run.number}))
    run.model_says(first, asks(("get_fares", {"city": city(run)})), ANSWER)
    run.loop(question(run), tool("get_letter", lambda _: f"letter {run.number}"), get_fares())


@has("CP201", "get_fares", runs=30)
def some_often_some_once(run: Run) -> None:
    """half of the runs ask for one city, the others for one of their own"""
    wanted = "Lisbon" if run.times(1, 2) else f"Village {run.number}"
    run.model_says(asks(("get_fares", {"city": wanted})), ANSWER)
    run.loop(question(run), get_fares())


@has("CP201", "get_fares", runs=15)
def by_own_code(run: Run) -> None:
    """own code looks them up and puts them into the prompt"""
    fares = get_fares(0.3)(city=city(run, 3))
    run.model_says(ANSWER).loop(f"{question(run)} {fares}")


@has("CP201", "get_fares", runs=15, sdk="openai", at=every(HOUR / 2))
def every_half_hour(run: Run) -> None:
    """a run every half hour, and one city in three of them"""
    wanted = "Lisbon" if run.number % 3 < 2 else f"Village {run.number}"
    run.model_says(asks(("get_fares", {"city": wanted})), ANSWER)
    run.loop(question(run), get_fares())


@has("CP201", "get_fares", runs=16)
def streamed(run: Run) -> None:
    """replies are streamed"""
    run.model_says(asks(("get_fares", {"city": city(run)})), ANSWER)
    run.loop(question(run), get_fares(), stream=True)


@has("CP201", "get_fares", "read_rules", runs=20, undecided=("CP104 read_rules",))
def two_tools(run: Run) -> None:
    """two tools whose results come again"""
    run.model_says(
        asks(("get_fares", {"city": city(run)})), asks(("read_rules", {"page": "dogs"})), ANSWER
    )
    run.loop(question(run), get_fares(), tool("read_rules", RULES))


@has("CP201", "warehouse", runs=14, sdk="openai")
def said_to_read_only(run: Run) -> None:
    """a tool whose author says that it only reads"""
    shelf = tool("warehouse", lambda given: f"{given['shelf']}: tea and pots", read_only=True)
    run.model_says(asks(("warehouse", {"shelf": "ab"[run.number % 2]})), ANSWER)
    run.loop(question(run), shelf)


@has("CP201", "get_fares", runs=24, at=lambda number: number // 12 * DAY + number % 12 * 60)
def on_two_days(run: Run) -> None:
    """a dozen runs on each of two days"""
    run.model_says(asks(("get_fares", {"city": city(run)})), ANSWER)
    run.loop(question(run), get_fares())


# -- it only looks so


def asked(run: Run, name: str, arguments: dict[str, Any], *results: Any, **how: Any) -> None:
    """Lets a run ask once for a tool."""
    run.model_says(asks((name, arguments)), ANSWER)
    run.loop(question(run), tool(name, *results, **how))


@lacks("CP201", runs=16)
def another_result(run: Run) -> None:
    """another result each time"""
    asked(run, "get_fares", {"city": city(run)}, f"{run.number + 3} euros")


@lacks("CP201", runs=12, sdk="openai", undecided=("CP104 get_fares",))
def one_question(run: Run) -> None:
    """one question, which somebody has asked a dozen times"""
    run.model_says(asks(("get_fares", {"city": "Porto"})), ANSWER)
    run.loop("How do I get to Porto?", get_fares())


@lacks("CP201", runs=14, at=every(3 * HOUR))
def every_three_hours(run: Run) -> None:
    """three hours between the runs"""
    asked(run, "get_fares", {"city": city(run)}, lambda given: f"{given['city']}: 7 euros")


@lacks("CP201", runs=14, sdk="openai")
def a_ticket(run: Run) -> None:
    """each run opens a ticket, and hears the same"""
    asked(run, "create_ticket", {"kind": "late"}, "It has been created.")


@lacks("CP201", runs=14, undecided=("CP104 get_job_status",))
def a_state(run: Run) -> None:
    """how far something is, which changes by itself"""
    asked(run, "get_job_status", {"job": "nightly"}, "running")


@lacks("CP201", runs=12, sdk="openai", undecided=("CP104 list_inbox",))
def an_inbox(run: Run) -> None:
    """an inbox, in which there is nothing new"""
    asked(run, "list_inbox", {}, "Nothing new.")


@lacks("CP201", runs=12)
def in_two_runs(run: Run) -> None:
    """the same in two of the runs"""
    wanted = "Lisbon" if run.number in (3, 7) else f"Village {run.number}"
    asked(run, "get_fares", {"city": wanted}, lambda given: f"{given['city']}: 7 euros")


@lacks("CP201", runs=14, sdk="openai")
def an_error(run: Run) -> None:
    """each call says the same error"""
    asked(run, "get_fares", {"city": city(run)}, OSError("the fares are not there today"))


@lacks("CP201", runs=15)
def an_error_as_a_result(run: Run) -> None:
    """each call returns the same error as if it were a result"""
    asked(run, "get_fares", {"city": city(run, 2)}, '{"error": "no connection to the fares"}')


@lacks("CP201", runs=14, sdk="openai")
def in_no_time(run: Run) -> None:
    """a look-up that takes no time"""
    asked(run, "get_fares", {"city": city(run)}, "7 euros", seconds=0.0)


@lacks("CP201", runs=12, undecided=("CP104 read_notes",))
def written_in_each_run(run: Run) -> None:
    """each run reads a page and then writes it, and the page reads the same as it is only dated"""
    run.model_says(
        asks(("read_notes", {"page": "rota"})),
        asks(("write_notes", {"page": "rota", "text": f"Seen by {run.number}"})),
        ANSWER,
    )
    notes = tool("read_notes", "The rota of this week, and who is on board on which days.")
    run.loop(question(run), notes, tool("write_notes", "written"))


@lacks("CP201", runs=18)
def now_and_then_another_one(run: Run) -> None:
    """the fares of a city change every few runs"""
    wanted = city(run, 2)
    asked(run, "get_fares", {"city": wanted}, f"{wanted}: {run.number // 6 + 5} euros")


@lacks("CP201", runs=14, sdk="openai", undecided=("CP104 get_me",))
def of_the_user(run: Run) -> None:
    """without arguments, and the result is of whoever has asked"""
    asked(run, "get_me", {}, f"user {run.number // 4}")
