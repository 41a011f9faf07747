"""CP104: looks that nearly all runs of an agent take, and that could begin before."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benchmarks.findings.agent import in_threads, tool
from benchmarks.findings.cases import asks, says
from benchmarks.findings.over_runs.cases import HOUR, by_turns, every, has, lacks

if TYPE_CHECKING:
    from benchmarks.findings.agent import Tool
    from benchmarks.findings.over_runs.cases import Run

APART = every(2 * HOUR)
"""So far that no cache would be worth anything."""
PROFILE = ("get_profile", {"user": "me"})
ANSWER = says("Your order is on its way, and will be with you by tomorrow noon.")


def question(run: Run) -> str:
    return f"Where is order {4_100 + 7 * run.number}?"


def order(run: Run) -> tuple[str, dict[str, Any]]:
    return "get_order", {"id": 4_100 + 7 * run.number}


def get_order(seconds: float = 0.2) -> Tool:
    return tool("get_order", lambda given: f"{given['id']} is on its way", seconds=seconds)


def get_profile(run: Run, name: str = "get_profile", **how: Any) -> Tool:
    return tool(name, f"Ann, who has ordered {run.number} times", **how)


# -- it pays


@has("CP104", "get_profile", runs=20, at=APART)
def always_first(run: Run) -> None:
    """each of 20 runs looks at the profile first"""
    run.model_says(asks(PROFILE), ANSWER).loop(question(run), get_profile(run))


@has("CP104", "get_profile", runs=20, at=APART, sdk="openai")
def nineteen_of_twenty(run: Run) -> None:
    """19 of 20 runs look at the profile first"""
    first = [] if run.number == 11 else [asks(PROFILE)]
    run.model_says(*first, ANSWER).loop(question(run), get_profile(run))


@has("CP104", "get_profile", runs=40, at=APART)
def four_of_five(run: Run) -> None:
    """32 of 40 runs look at the profile first"""
    first = [asks(PROFILE)] if run.times(4, 5) else []
    run.model_says(*first, ANSWER).loop(question(run), get_profile(run))


@has("CP104", "get_profile", runs=14, at=APART, sdk="openai")
def awaited(run: Run) -> None:
    """the same with the client that is awaited"""
    from benchmarks.findings.agent import atool

    profile = atool("get_profile", f"Ann, {run.number} orders")
    run.model_says(asks(PROFILE), ANSWER).aloop(question(run), profile)


@has("CP104", "read_rules", runs=15, at=APART, sdk="openai")
def in_the_second_turn(run: Run) -> None:
    """what the first turn asks for is of the question, the second always reads the same rules"""
    run.model_says(asks(order(run)), asks(("read_rules", {"of": "refunds"})), ANSWER)
    rules = tool("read_rules", lambda _: f"Within {run.number + 10} days", seconds=0.3)
    run.loop(question(run), get_order(), rules)


@has("CP104", "get_rates", runs=13, at=APART)
def beside_another_one(run: Run) -> None:
    """a reply asks for the order and for rates, which are run at once"""
    run.model_says(asks(order(run), ("get_rates", {})), ANSWER)
    rates = tool("get_rates", f"1.0{run.number}", seconds=0.6)
    run.loop(question(run), get_order(), rates, run=in_threads)


@has("CP104", "get_profile", runs=24, at=APART, agent=by_turns("support", "sales"))
def one_of_two_agents(run: Run) -> None:
    """two agents in one folder, of which one always looks at the profile"""
    first = asks(PROFILE) if run.number % 2 == 0 else asks(order(run))
    run.model_says(first, ANSWER).loop(question(run), get_profile(run), get_order())


@has(
    "CP104",
    "get_profile",
    "list_offers",
    runs=26,
    at=APART,
    agent=by_turns("support", "sales"),
    sdk="openai",
)
def each_of_two_agents(run: Run) -> None:
    """two agents in one folder, each with a look of its own that it always takes"""
    first = PROFILE if run.number % 2 == 0 else ("list_offers", {"season": "now"})
    offers = tool("list_offers", f"{run.number} offers")
    run.model_says(asks(first), ANSWER).loop(question(run), get_profile(run), offers)


@has("CP104", "warehouse", runs=12, at=APART)
def said_to_read_only(run: Run) -> None:
    """a tool whose name says nothing, and whose author says that it only reads"""
    warehouse = tool("warehouse", f"{run.number} places left", read_only=True)
    run.model_says(asks(("warehouse", {"floor": 2})), ANSWER).loop(question(run), warehouse)


@has("CP104", "get_profile", runs=12, at=APART)
def streamed(run: Run) -> None:
    """replies are streamed"""
    run.model_says(asks(PROFILE), ANSWER).loop(question(run), get_profile(run), stream=True)


@has("CP104", "get_profile", runs=20, at=APART, sdk="openai")
def fails_once(run: Run) -> None:
    """the look always comes, and fails in one of the runs"""
    result: Any = OSError("gone") if run.number == 5 else f"Ann, {run.number}"
    run.model_says(asks(PROFILE), ANSWER).loop(question(run), tool("get_profile", result))


@has("CP104", "get_profile", runs=12, at=APART, sdk="openai")
def on_responses(run: Run) -> None:
    """the Responses API of OpenAI"""
    client = run.agent.client
    profile = get_profile(run)
    declared: Any = {"type": "function", "name": "get_profile", "parameters": {"type": "object"}}
    run.model_says(asks(PROFILE), ANSWER)
    given: list[Any] = [{"role": "user", "content": question(run)}]
    while True:
        reply = client.responses.create(model="gpt-5", input=list(given), tools=[declared])
        given += [one.model_dump(exclude_none=True) for one in reply.output]
        asked = [one for one in reply.output if one.type == "function_call"]
        if not asked:
            return
        for one in asked:
            result = str(profile(**json.loads(one.arguments)))
            given.append({"type": "function_call_output", "call_id": one.call_id, "output": result})


@has("CP104", "get_profile", runs=12, at=APART)
def by_the_runner_of_the_sdk(run: Run) -> None:
    """the SDK runs the tools"""
    import time

    from anthropic import beta_tool

    @beta_tool
    def get_profile(user: str) -> str:
        """Look up who a user is.

        Args:
            user: who
        """
        time.sleep(0.2)
        return f"{user}, who has ordered {run.number} times"

    run.model_says(asks(PROFILE), ANSWER)
    runner = run.agent.client.beta.messages.tool_runner(
        model=run.agent.model,
        max_tokens=500,
        tools=[get_profile],
        messages=[{"role": "user", "content": question(run)}],
    )
    runner.until_done()


@has("CP104", "search_docs", runs=15, at=APART)
def the_question_as_it_is(run: Run) -> None:
    """the first turn always searches for the words of the question, which are there before it"""
    asked = question(run)
    search = tool("search_docs", lambda _: f"{run.number} pages")
    run.model_says(asks(("search_docs", {"query": asked})), ANSWER).loop(asked, search)


# -- it only looks so


@lacks("CP104", runs=6, at=APART)
def six_runs(run: Run) -> None:
    """each of six runs: that may be chance"""
    run.model_says(asks(PROFILE), ANSWER).loop(question(run), get_profile(run))


@lacks("CP104", runs=10, at=APART, sdk="openai")
def eight_of_ten(run: Run) -> None:
    """eight of ten runs, which may be six of ten as well"""
    first = [asks(PROFILE)] if run.number not in (3, 8) else []
    run.model_says(*first, ANSWER).loop(question(run), get_profile(run))


@lacks("CP104", runs=20, at=APART)
def every_other_run(run: Run) -> None:
    """half of the runs: every other start would be in vain"""
    first = [asks(PROFILE)] if run.number % 2 else []
    run.model_says(*first, ANSWER).loop(question(run), get_profile(run))


@lacks("CP104", runs=20, at=APART)
def an_id_from_the_reply(run: Run) -> None:
    """the model makes up what it asks for"""
    search = tool("search_docs", f"{run.number} pages")
    query = ["parcel lost", "where is it", "track a parcel", "late delivery"][run.number % 4]
    said = asks(("search_docs", {"query": f"{query} {run.number // 2}"}))
    run.model_says(said, ANSWER).loop(question(run), search)


@lacks("CP104", runs=15, at=APART, sdk="openai")
def one_of_three_plans(run: Run) -> None:
    """the same tool in each run, with arguments of three kinds that the reply chooses"""
    shelf = "abc"[run.number % 3]
    shelves = tool("list_shelf", f"{run.number} pots")
    run.model_says(asks(("list_shelf", {"shelf": shelf})), ANSWER).loop(question(run), shelves)


@lacks("CP104", runs=16, at=APART, sdk="openai")
def of_the_result_before(run: Run) -> None:
    """the second tool is given what the first one returned"""
    parcel = f"P-{run.number * 37}"
    run.model_says(asks(order(run)), asks(("get_parcel", {"parcel": parcel})), ANSWER)
    orders = tool("get_order", f"parcel {parcel}")
    run.loop(question(run), orders, tool("get_parcel", f"at stop {run.number}", seconds=0.3))


@lacks("CP104", runs=14, at=APART)
def a_mail(run: Run) -> None:
    """each run sends the same mail, which cannot be taken back"""
    mail = tool("send_mail", f"sent {run.number}")
    run.model_says(asks(("send_mail", {"to": "the desk"})), ANSWER).loop(question(run), mail)


@lacks("CP104", runs=14, at=APART, sdk="openai")
def nobody_says_what_it_does(run: Run) -> None:
    """each run calls a tool of which nobody knows whether it changes something"""
    sync = tool("sync", f"{run.number} rows")
    run.model_says(asks(("sync", {"table": "orders"})), ANSWER).loop(question(run), sync)


@lacks("CP104", runs=12, at=APART)
def after_a_write(run: Run) -> None:
    """the reply first writes, then lists what is there"""
    run.model_says(asks(("create_ticket", {"n": run.number}), ("list_tickets", {})), ANSWER)
    create = tool("create_ticket", "created")
    run.loop(question(run), create, tool("list_tickets", f"{run.number} tickets"))


@lacks("CP104", runs=12, at=APART)
def in_no_time(run: Run) -> None:
    """a look that takes no time"""
    profile = get_profile(run, seconds=0.0)
    run.model_says(asks(PROFILE), ANSWER).loop(question(run), profile)


@lacks("CP104", runs=14, at=APART, sdk="openai")
def by_own_code(run: Run) -> None:
    """the profile is looked up before the model is asked"""
    profile = get_profile(run)(user="me")
    run.model_says(ANSWER).loop(f"{profile}. {question(run)}")


@lacks("CP104", runs=30, at=APART, agent=lambda _: "router")
def two_tasks_of_one_agent(run: Run) -> None:
    """one agent with two kinds of tasks, each of which begins with a look of its own"""
    first = PROFILE if run.number % 2 else ("list_offers", {"season": "now"})
    offers = tool("list_offers", f"{run.number} offers")
    run.model_says(asks(first), ANSWER).loop(question(run), get_profile(run), offers)


@lacks("CP104", runs=14, at=APART)
def a_person(run: Run) -> None:
    """each run asks the same of a person"""
    person = tool("ask_user", f"yes, number {run.number}", seconds=0.3)
    said = asks(("ask_user", {"question": "May I look into your orders?"}))
    run.model_says(said, ANSWER).loop(question(run), person)
