"""What a labelled folder is: an agent that runs many times, and what the runs show together.

A label is a finding with what it is about: `CP104 get_profile`, as one that is said of another tool
is wrong. It is a person's, made from what a finding means before any rule was asked.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpx2

from benchmarks.findings.agent import Agent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from benchmarks.findings.agent import Tool
    from tests.support.script import Answer

    Work = Callable[["Run"], Any]

HOUR: Final = 3_600
DAY: Final = 24 * HOUR
WEEK: Final = 7 * DAY


class Run:
    """One run of an agent: its ``number`` in the folder, and the clients of its SDK, behind which
    a model says what it is told to."""

    def __init__(self, number: int, agents: dict[str, Agent], sdk: str, said: list[Answer]) -> None:
        self.number, self._agents, self._sdk, self._said = number, agents, sdk, said

    @property
    def agent(self) -> Agent:
        return self._agents[self._sdk]

    def on(self, sdk: str) -> Agent:
        """Gives an agent on another SDK than the one of the folder."""
        return self._agents[sdk]

    def model_says(self, *answers: Answer) -> Run:
        """Sets what the model says next, in this order."""
        self._said += answers
        return self

    def loop(self, question: str, *tools: Tool, **how: Any) -> str:
        return self.agent.loop(question, *tools, **how)

    def aloop(self, question: str, *tools: Tool) -> str:
        """As `loop`, with the client that is awaited."""

        async def looped() -> str:
            # Connections belong to the loop that has opened them.
            async with httpx2.AsyncClient(verify=False) as http:
                client = self.agent.aclient.copy(http_client=http)
                agent = Agent(self.agent.sdk, self.agent.client, client)
                return await agent.aloop(question, *tools)

        return asyncio.run(looped())

    def times(self, part: int, of: int) -> bool:
        """Tells whether this is one of so many runs in so many."""
        return self.number * part // of != (self.number + 1) * part // of


@dataclass(frozen=True)
class Folder:
    """An agent that runs so often, and its labels: what is ``present``, and what is ``undecided``,
    about which people would not agree. ``about`` is the finding that it has or only looks like.

    ``agent`` names the agent of a run, and ``at`` says how many seconds after the first it begins.
    """

    name: str
    way: str
    about: str
    present: frozenset[str]
    undecided: frozenset[str]
    sdk: str
    runs: int
    agent: Callable[[int], str]
    at: Callable[[int], float]
    work: Work


FOLDERS: Final[dict[str, Folder]] = {}


def has(
    code: str,
    *subjects: str,
    also: Iterable[str] = (),
    undecided: Iterable[str] = (),
    sdk: str = "anthropic",
    runs: int = 12,
    agent: Callable[[int], str] = lambda _: "assistant",
    at: Callable[[int], float] = lambda number: number * 60,
) -> Callable[[Work], Work]:
    """A folder in which a person finds `code` of each of `subjects`, and what there is `also`."""
    present = frozenset((*(f"{code} {subject}" for subject in subjects), *also))

    def labelled(work: Work) -> Work:
        name = f"{code}/{work.__name__}"
        assert name not in FOLDERS, name
        way = " ".join((work.__doc__ or "").split())
        assert way, name
        FOLDERS[name] = Folder(
            name, way, code, present, frozenset(undecided), sdk, runs, agent, at, work
        )
        return work

    return labelled


def lacks(code: str, **how: Any) -> Callable[[Work], Work]:
    """A folder that looks as if it had `code`, and has not."""
    return has(code, **how)


def by_turns(*names: str) -> Callable[[int], str]:
    """Names the agents of runs in turn."""
    return lambda number: names[number % len(names)]


def every(seconds: float) -> Callable[[int], float]:
    """Lets a run begin every so many `seconds`."""
    return lambda number: number * seconds


def weekly(runs: int, weeks: Sequence[int] | None = None) -> Callable[[int], float]:
    """Lets so many `runs` begin in each week, or in each of these `weeks`."""

    def at(number: int) -> float:
        week, day = divmod(number, runs)
        return (week if weeks is None else weeks[week]) * WEEK + day * DAY * 7 / (runs + 1)

    return at
