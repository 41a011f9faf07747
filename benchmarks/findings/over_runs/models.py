"""CP401: steps that two models did, of which one took less time or money."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.findings.agent import together, tool
from benchmarks.findings.cases import asks, says
from benchmarks.findings.over_runs.cases import DAY, by_turns, every, has, lacks
from tests.support.script import Failure, Latency, Usage

if TYPE_CHECKING:
    from benchmarks.findings.over_runs.cases import Run
    from tests.support.script import Reply

LARGE, SMALL = "claude-opus-5-5", "claude-haiku-4-5"
GPT, MINI = "gpt-5", "gpt-5-mini"
SLOW, QUICK = 0.6, 0.2


def reply(seconds: float = SLOW, given: int = 900, written: int = 120) -> Reply:
    """An answer after so many seconds, of so many tokens."""
    return says("The parcel is late.", Latency(before_headers=seconds), Usage(given, written))


def question(run: Run) -> str:
    return f"Sum up letter {run.number}: it has come {run.number * 3} days late."


def two(run: Run, large: str = LARGE, small: str = SMALL) -> tuple[str, float]:
    """Gives a model and its time, the one or the other from run to run."""
    return (large, SLOW) if run.number % 2 else (small, QUICK)


# -- another one did it


@has("CP401", SMALL, runs=20)
def by_session(run: Run) -> None:
    """one half of the sessions is given the smaller model"""
    model, seconds = two(run)
    run.model_says(reply(seconds)).agent.ask(question(run), model=model)


@has("CP401", MINI, runs=20, sdk="openai")
def released_in_between(run: Run) -> None:
    """the first ten runs have one model, the others another one"""
    model, seconds = (GPT, SLOW) if run.number < 10 else (MINI, QUICK)
    run.model_says(reply(seconds)).agent.ask(question(run), model=model)


@has("CP401", MINI, runs=16, sdk="openai", at=every(DAY))
def as_fast_and_cheaper(run: Run) -> None:
    """both take as long, and one costs a fifth"""
    model, _ = two(run, GPT, MINI)
    run.model_says(reply(QUICK)).agent.ask(question(run), model=model)


@has("CP401", "in-house-9b", runs=18, sdk="openai")
def nobody_knows_the_price(run: Run) -> None:
    """two models of one's own, one of which takes a third of the time"""
    model, seconds = two(run, "in-house-70b", "in-house-9b")
    run.model_says(reply(seconds)).agent.ask(question(run), model=model)


@has("CP401", SMALL, runs=6)
def from_section_to_section(run: Run) -> None:
    """one run writes six sections, and takes the models in turn"""
    for section in range(6):
        model, seconds = (LARGE, SLOW) if section % 2 else (SMALL, QUICK)
        said = run.model_says(reply(seconds))
        said.agent.ask(f"Section {section}. {question(run)}", model=model)


@has("CP401", MINI, runs=14, sdk="openai")
def streamed(run: Run) -> None:
    """answers are streamed"""
    model, seconds = two(run, GPT, MINI)
    talk = run.model_says(reply(seconds)).agent.talk(model=model)
    talk.say(question(run), stream=True)


@has("CP401", SMALL, runs=16)
def a_step_that_asks_for_tools(run: Run) -> None:
    """the step that plans has two models, the answer one"""
    model, seconds = two(run)
    latency = Latency(before_headers=seconds)
    plan = asks(("get_letter", {"n": run.number}), latency=latency, usage=Usage(900, 90))
    run.model_says(plan, reply(0.1))
    get_letter = tool("get_letter", f"letter {run.number}", seconds=0.05)
    said = run.agent.talk(get_letter, model=model).say(question(run))
    letter = get_letter(**said.calls[0].arguments)
    run.agent.ask(f"{letter}. {question(run)}", model=LARGE)


@has("CP401", SMALL, runs=24)
def when_the_first_is_overloaded(run: Run) -> None:
    """one run in three has to fall back to the smaller model, which is faster and cheaper"""
    falls = run.number % 3 == 0
    first = [Failure(529)] if falls else [reply(SLOW)]
    run.model_says(*first, *([reply(QUICK)] if falls else []))
    for model in (LARGE, SMALL):
        try:
            run.agent.ask(question(run), model=model, max_retries=0)
        except Exception:
            continue
        return


@has("CP401", SMALL, runs=21)
def by_plan_of_the_customer(run: Run) -> None:
    """two in three customers have paid for the larger model"""
    model, seconds = (SMALL, QUICK) if run.number % 3 == 0 else (LARGE, SLOW)
    run.model_says(reply(seconds)).agent.ask(question(run), model=model)


@has("CP401", MINI, runs=10, sdk="openai")
def five_of_each(run: Run) -> None:
    """five runs of each"""
    model, seconds = two(run, GPT, MINI)
    run.model_says(reply(seconds)).agent.ask(question(run), model=model)


@has("CP401", MINI, runs=16)
def of_two_providers(run: Run) -> None:
    """the models are those of two providers"""
    sdk, model, seconds = ("anthropic", LARGE, SLOW) if run.number % 2 else ("openai", MINI, QUICK)
    run.model_says(reply(seconds)).on(sdk).ask(question(run), model=model)


@has("CP401", SMALL, runs=28, agent=by_turns("letters", "notes"))
def in_one_of_two_agents(run: Run) -> None:
    """two agents, of which one has two models"""
    if run.number % 2:
        run.model_says(reply(0.1)).agent.ask(f"A note on {question(run)}", model=LARGE)
        return
    model, seconds = (LARGE, SLOW) if run.number % 4 else (SMALL, QUICK)
    run.model_says(reply(seconds)).agent.ask(question(run), model=model)


@has("CP401", "gpt-4o-2024-08-06", runs=16, sdk="openai")
def of_two_releases(run: Run) -> None:
    """the later release of a model costs half of the earlier one"""
    model, _ = two(run, "gpt-4o-2024-05-13", "gpt-4o-2024-08-06")
    run.model_says(reply(QUICK)).agent.ask(question(run), model=model)


# -- it only looks so

ROLES = (("You are the planner.", LARGE, SLOW), ("You write letters.", SMALL, QUICK))


@lacks("CP401", runs=14)
def roles_from_a_table(run: Run) -> None:
    """a loop over roles, each with its model and its system prompt, of which none needs another"""
    for system, model, seconds in ROLES:
        run.model_says(reply(seconds))
        run.agent.talk(system=system, model=model).say(question(run))


@lacks("CP401", runs=14, sdk="openai")
def one_role_per_run(run: Run) -> None:
    """each run has one of two roles from a table"""
    role = "You judge." if run.number % 2 else "You draft."
    model, seconds = two(run, GPT, MINI)
    run.model_says(reply(seconds)).agent.talk(system=role, model=model).say(question(run))


@lacks("CP401", runs=14)
def by_role(run: Run) -> None:
    """the larger model plans, the smaller one writes"""
    run.model_says(reply(SLOW), reply(QUICK))
    plan = run.agent.ask(f"Plan it. {question(run)}", model=LARGE)
    run.agent.ask(f"Write it. {plan}", model=SMALL)


def _asked(run: Run, model: str, text: str) -> str:
    return run.agent.ask(text, model=model)


@lacks("CP401", runs=14, sdk="openai")
def by_role_with_one_helper(run: Run) -> None:
    """as before, and both go through one function"""
    run.model_says(reply(SLOW), reply(QUICK))
    plan = _asked(run, GPT, f"Plan it. {question(run)}")
    _asked(run, MINI, f"Write it. {plan}")


@lacks("CP401", runs=16)
def shorter_work(run: Run) -> None:
    """the smaller model writes a quarter as much"""
    model, seconds = two(run)
    written = 120 if model == LARGE else 30
    run.model_says(reply(seconds, written=written)).agent.ask(question(run), model=model)


@lacks("CP401", runs=16, sdk="openai")
def shorter_letters(run: Run) -> None:
    """the smaller model is given the short letters"""
    model, seconds = two(run, GPT, MINI)
    given = 9_000 if model == GPT else 1_500
    run.model_says(reply(seconds, given=given)).agent.ask(question(run), model=model)


@lacks("CP401", runs=14)
def tried_three_times(run: Run) -> None:
    """another model in three of the runs"""
    model, seconds = (SMALL, QUICK) if run.number < 3 else (LARGE, SLOW)
    run.model_says(reply(seconds)).agent.ask(question(run), model=model)


@lacks("CP401", runs=16, sdk="openai")
def cheaper_and_slower(run: Run) -> None:
    """the smaller model takes three times as long"""
    model, _ = two(run, GPT, MINI)
    seconds = QUICK if model == GPT else SLOW
    run.model_says(reply(seconds)).agent.ask(question(run), model=model)


@lacks("CP401", runs=20, sdk="openai")
def now_this_one_now_that(run: Run) -> None:
    """times of both go up and down, and no price is known"""
    model, _ = two(run, "in-house-a", "in-house-b")
    seconds = (QUICK, SLOW, 0.4)[run.number // 2 % 3]
    run.model_says(reply(seconds)).agent.ask(question(run), model=model)


@lacks("CP401", runs=16, sdk="openai")
def one_model_by_two_names(run: Run) -> None:
    """an alias, and the release that it stands for, asked on other days"""
    model, seconds = two(run, "gpt-5", "gpt-5-2025-08-07")
    run.model_says(reply(seconds)).agent.ask(question(run), model=model)


@lacks("CP401", runs=10)
def asked_at_once(run: Run) -> None:
    """both are asked the same at once, and a vote is taken"""
    run.model_says(reply(0.4), reply(0.4))
    asked = [
        lambda model=model: run.agent.ask(question(run), model=model) for model in (LARGE, SMALL)
    ]
    together(asked)


@lacks("CP401", runs=15)
def the_larger_one_where_the_smaller_was_unsure(run: Run) -> None:
    """each run asks the smaller model first, and the larger one where that was not enough"""
    unsure = run.number % 2 == 0
    run.model_says(reply(QUICK), *([reply(SLOW)] if unsure else []))
    for model in (SMALL, LARGE)[: 1 + unsure]:
        run.agent.ask(question(run), model=model)


@lacks("CP401", runs=16, sdk="openai")
def the_answers_were_cut_off(run: Run) -> None:
    """the smaller model comes to its limit each time, before it is done"""
    from dataclasses import replace

    model, seconds = two(run, GPT, MINI)
    said = reply(seconds)
    if model == MINI:
        said = replace(said, stop_reason="max_tokens")
    run.model_says(said).agent.ask(question(run), model=model)


@lacks("CP401", runs=14, sdk="openai")
def slow_as_it_was_refused(run: Run) -> None:
    """one of two models of one's own is asked again after there were too many requests"""
    model, _ = two(run, "in-house-a", "in-house-b")
    refused = [Failure(429, retry_after_seconds=0.4)] if model == "in-house-a" else []
    run.model_says(*refused, reply(QUICK)).agent.ask(question(run), model=model)


@lacks("CP401", runs=16)
def beside_other_work(run: Run) -> None:
    """the smaller model only sums up what the larger one has said, in a loop of two steps"""
    said = question(run)
    for model, seconds in ((LARGE, SLOW), (SMALL, QUICK)):
        said += run.model_says(reply(seconds)).agent.ask(said, model=model)
        time.sleep(0.01)
