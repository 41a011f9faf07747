"""The prompts of agents from week to week: those that grow a little with each, and become slow.

Gathered run by run and joined in any order. Of each run counts its largest prompt. Numbers are kept
to three digits, so that an agent has some hundred of them however many runs it has.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import sqrt
from typing import Final

from msgspec import Struct

from causepath_analyzer.analyses.path.data_flow import DataFlow
from causepath_analyzer.analyses.path.usage import contradicts_itself
from causepath_analyzer.model import Trace

_WEEK_NS: Final = 7 * 24 * 3_600 * 1_000_000_000
_FEWEST_RUNS: Final = 3
"""Runs of a week that show what is usual in it."""
_FEWEST_WEEKS: Final = 4
_TIMES: Final = 1.5
"""The last weeks' prompts are so many times those of the first, or more."""
_LEAST: Final = 1_000
"""Tokens by which prompts have grown."""
_STEP: Final = 0.6
"""One change that is more than this part of the growth is a release, and no growth."""
_NINETEEN_OF_TWENTY: Final = 1.645
_MOST: Final = 128
"""Agents with their models; where there are more, names are made up for each run."""


class Week(Struct):
    """Counts of runs by their largest prompt, in tokens, by the time to its first token, and by
    the tokens of it that users wrote."""

    prompts: dict[int, int] = {}
    firsts: dict[int, int] = {}
    users: dict[int, int] = {}

    def join(self, other: "Week") -> None:
        """Adds the runs of `other`."""
        _add(self.prompts, other.prompts)
        _add(self.firsts, other.firsts)
        _add(self.users, other.users)


class Grown(Struct, frozen=True):
    """The growth of an agent's prompts, from the middle one of the first two weeks to that of the
    last two; ``since`` is the number of the first week that the last one counts for. And of their
    first tokens, where these are known."""

    runs: int
    weeks: int
    since: int
    before: int
    now: int
    first_before_ns: int | None = None
    first_now_ns: int | None = None


class Prompts(Struct):
    """Gathers the largest prompts of runs, by agent with its model and by week; ``None`` stands for
    too many."""

    agents: dict[str, dict[int, Week]] | None = {}

    def add(self, flow: DataFlow) -> None:
        """Gathers that of a trace."""
        trace = flow.trace
        largest = largest_prompt(trace)
        if largest is None or self.agents is None:
            return
        call = trace.spans[largest].model_call
        if call is None or call.tokens is None:
            return
        first = {} if call.ttft_ns is None else {_rounded(call.ttft_ns): 1}
        users = _of_users(flow, largest, call.tokens.input)
        week = Week({_rounded(call.tokens.input): 1}, first, {_rounded(users): 1})
        self._join({agent_of(trace, largest): {week_of(trace): week}})

    def join(self, other: "Prompts") -> None:
        """Gathers what `other` has gathered of other runs."""
        if other.agents is None:
            self.agents = None
        else:
            self._join(other.agents)

    def _join(self, agents: Mapping[str, Mapping[int, Week]]) -> None:
        if self.agents is None:
            return
        for agent, weeks in agents.items():
            known = self.agents.setdefault(agent, {})
            for number, week in weeks.items():
                known.setdefault(number, Week()).join(week)
        if len(self.agents) > _MOST:
            self.agents = None

    def grown(self) -> Mapping[str, Grown]:
        """Tells by agent which prompts have grown over weeks."""
        found = ((agent, _grown(weeks)) for agent, weeks in sorted((self.agents or {}).items()))
        return {agent: one for agent, one in found if one is not None}


def largest_prompt(trace: Trace) -> int | None:
    """Finds the call with the largest prompt of a run, of equals the first."""
    largest, most = None, 0
    for i, span in enumerate(trace.spans):
        call = span.model_call
        if span.category != "llm" or call is None or call.tokens is None or call.model is None:
            continue
        whole = not call.partial_input and span.error is None
        if call.tokens.input > most and whole and not contradicts_itself(call.tokens):
            largest, most = i, call.tokens.input
    return largest


def agent_of(trace: Trace, call: int) -> str:
    """Names the agent that a run is of, with the model of `call`: another one counts tokens in
    another way."""
    root = trace.spans[trace.main_root]
    told = trace.spans[call].model_call
    return "\n".join((root.service or "", root.name, (told and told.model) or ""))


def week_of(trace: Trace) -> int:
    """Numbers the week in which a run began."""
    return trace.start_ns // _WEEK_NS


def _rounded(value: int) -> int:
    """Keeps three digits."""
    unit = int(10 ** max(0, len(str(value)) - 3))
    return (value + unit // 2) // unit * unit


def _add(counts: dict[int, int], more: Mapping[int, int]) -> None:
    for value, number in more.items():
        counts[value] = counts.get(value, 0) + number


def _grown(weeks: Mapping[int, Week]) -> Grown | None:
    known = _with_runs(weeks)
    if len(known) < _FEWEST_WEEKS:
        return None
    first, last = ([week for _, _, week in some] for some in (known[:2], known[-2:]))
    before, now = (_middle(one.prompts for one in some) for some in (first, last))
    if before is None or now is None or now < before * _TIMES or now - before < _LEAST:
        return None
    theirs, since = (_middle(one.users for one in some) or 0 for some in (last, first))
    if (theirs - since) * 2 > now - before:
        return None  # the users ask for more
    each = [_middle([week.prompts]) or 0 for _, _, week in known]
    steps = [later - earlier for earlier, later in pairwise(each)]
    if not _rises(each) or max(steps) > _STEP * (max(each) - min(each)):
        return None
    return Grown(
        sum(sum(week.prompts.values()) for _, _, week in known),
        known[-1][1] - known[0][0] + 1,
        known[-1][0],
        before,
        now,
        _middle(one.firsts for one in first),
        _middle(one.firsts for one in last),
    )


def _with_runs(weeks: Mapping[int, Week]) -> Sequence[tuple[int, int, Week]]:
    """Lists weeks that have enough runs, each with its first and last number: one with fewer counts
    with those after it, the last one with those before."""
    found: list[tuple[int, int, Week]] = []
    left, first = Week(), None
    for number in sorted(weeks):
        left.join(weeks[number])
        first = number if first is None else first
        if sum(left.prompts.values()) >= _FEWEST_RUNS:
            found.append((first, number, left))
            left, first = Week(), None
    if first is not None and found:
        since, _, last = found[-1]
        last.join(left)
        found[-1] = since, max(weeks), last
    return found


def _of_users(flow: DataFlow, call: int, tokens: int) -> int:
    """Works out how many `tokens` of a prompt users wrote, by the bytes; 0 if nobody says."""
    blocks = flow.prompt(call) or ()
    whole = sum(block.size for block in blocks)
    told = sum(block.size for block in blocks if block.role == "user" and block.kind == "text")
    return tokens * told // whole if whole else 0


def _middle(counts: Iterable[Mapping[int, int]]) -> int | None:
    """Finds the middle one of all values that are counted."""
    every: dict[int, int] = {}
    for one in counts:
        _add(every, one)
    left = sum(every.values())
    for value in sorted(every):
        left -= 2 * every[value]
        if left <= 0:
            return value
    return None


def _rises(values: Sequence[int]) -> bool:
    """Tells whether `values` rise, by more than chance does once in twenty times (Kendall)."""
    count = len(values)
    score = sum(
        (later > earlier) - (later < earlier)
        for n, earlier in enumerate(values)
        for later in values[n + 1 :]
    )
    deviation = sqrt(count * (count - 1) * (2 * count + 5) / 18)
    return score - 1 >= _NINETEEN_OF_TWENTY * deviation
