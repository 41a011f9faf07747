"""CP605: many questions to a model that could be one batch, and calls that need each other."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.findings.agent import together, tool
from benchmarks.findings.cases import asks, has, lacks, says
from tests.support.script import Latency

if TYPE_CHECKING:
    from benchmarks.findings.agent import Agent

QUICK = Latency(before_headers=0.06)
NUMBER = 22


def _mail(n: int) -> str:
    return f"Mail {n * 37 + 11}: the {('cup', 'lid', 'pot')[n % 3]} has a crack since day {n + 2}."


@has("CP605", *[says("bug", QUICK)] * NUMBER, also=("CP102",))
def mails_one_by_one(agent: Agent) -> None:
    """twenty-two mails that are sorted one by one"""
    for n in range(NUMBER):
        agent.ask(f"Bug, question or praise? {_mail(n)}")


@lacks("CP605", *[says("bug", QUICK)] * NUMBER)
def mails_side_by_side(agent: Agent) -> None:
    """the same mails on threads"""
    together([partial(agent.ask, f"Bug, question or praise? {_mail(n)}") for n in range(NUMBER)])


@lacks(
    "CP605",
    *[
        says(f"So far {n * 41 + 7} cups and {n * 13 + 5} lids are cracked.", QUICK)
        for n in range(NUMBER)
    ],
)
def a_summary_that_is_refined(agent: Agent) -> None:
    """each question has the answer to the one before in it"""
    so_far = "Nothing is known."
    for n in range(NUMBER):
        so_far = agent.ask(f"{so_far} Now there is this: {_mail(n)}")


@lacks(
    "CP605",
    says("There are forty-four."),
)
def pages_of_a_list(agent: Agent) -> None:
    """pages, each of which says where the next one is"""

    def answer(given: dict[str, str]) -> str:
        return f'{{"rows": 2, "next": "x{int(given["cursor"][1:]) * 7 % 9973}"}}'

    get_page = tool("get_page", answer, seconds=0.06)
    cursor = "x17"
    for _ in range(NUMBER):
        cursor = str(get_page(cursor=cursor)).partition('next": "')[2].partition('"')[0]
    agent.ask("How many are there?")


@lacks(
    "CP605",
    *[asks(("get_price", {"item": f"item-{n * 37 + 11}"})) for n in range(9)],
    says("They cost 80 in all."),
    undecided=("CP103",),
)
def prices_in_nine_turns(agent: Agent) -> None:
    """nine look-ups, each of a turn of its own"""
    agent.loop("Price the nine items.", tool("get_price", "3.00", seconds=0.06))
