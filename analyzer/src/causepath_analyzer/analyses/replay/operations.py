"""What the parts of a run are called when a user names them: ``tool:search*``, ``llm@agent.py:41``.

A selector is a category, for model calls also one of their two phases, and then what narrows it:

- after a colon a shell pattern of names: of the tool, of the model, of the agent, else of the span;
- after an at sign the place: the file, or file and line, or function of the code that made the
  call, or the agent that it works for, or a step of that agent, which may be a pattern;
- after a hash the turn of its agent: its number from 1 on, ``first`` or ``last``, ``tools`` for
  replies that ask for tools, ``answer`` for those that ask for none. A tool belongs to the turn
  that asked for it, anything else to the turn before it.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Final

from msgspec import Struct

from causepath_analyzer.analyses.path.causes import Causes
from causepath_analyzer.analyses.path.kinds import SpanKinds
from causepath_analyzer.analyses.path.retries import retries
from causepath_analyzer.errors import UsageError
from causepath_analyzer.model import CATEGORIES, NO_SPAN, Trace

PHASES: Final = ("llm.first_token", "llm.generation")
SELECTABLE: Final[tuple[str, ...]] = (*CATEGORIES, *PHASES)
ROLES: Final = ("first", "last", "tools", "answer")
_PARTS: Final = re.compile(
    r"(?P<category>[^:@#]*)(?::(?P<name>.*?))?(?:@(?P<place>[^@#]+))?(?:#(?P<turn>[^@#]+))?",
)
_WHERE: Final = re.compile(r"(?P<code>.+?:\d+)(?: (?P<function>\S.*))?")


class Selector(Struct, frozen=True):
    """Operations of a ``category`` whose name matches ``pattern``, made at ``place`` and in the
    ``turn`` if these are not empty."""

    category: str
    pattern: str = "*"
    place: str = ""
    turn: str = ""

    def __str__(self) -> str:
        name = "" if self.pattern == "*" else f":{self.pattern}"
        return f"{self.category}{name}{self.narrowed}"

    @property
    def narrowed(self) -> str:
        """Tells what narrows it beyond the name."""
        place = f"@{self.place}" if self.place else ""
        return f"{place}#{self.turn}" if self.turn else place

    @property
    def of(self) -> str:
        """Gives the category without the phase."""
        return self.category.partition(".")[0]


def selector(text: str) -> Selector:
    """Reads the selector that `text` writes down. Raises `UsageError` if it is none."""
    parts = _PARTS.fullmatch(text.strip())
    category = parts["category"].strip() if parts is not None else text.strip()
    if parts is None or category not in SELECTABLE:
        near = " or ".join(nearest(category, SELECTABLE))
        meant = f"did you mean {near}? " if near else ""
        raise UsageError(
            f"{text!r} names no operation; {meant}write it like tool:fetch*, llm@agent.py:41, "
            f"llm.first_token or retrieval; there is {', '.join(SELECTABLE)}"
        )
    turn = parts["turn"] or ""
    if turn and turn not in ROLES and not (turn.isdecimal() and int(turn)):
        raise UsageError(
            f"{text!r}: {turn!r} is no turn; write a number from 1 on, or {', '.join(ROLES)}"
        )
    return Selector(category, parts["name"] or "*", parts["place"] or "", turn)


def nearest(text: str, names: Sequence[str]) -> Sequence[str]:
    """Finds those of `names` that are most like `text`, if any is."""
    return get_close_matches(text, list(dict.fromkeys(names)), n=3, cutoff=0.55)


def name_of(trace: Trace, kinds: SpanKinds, span: int) -> str:
    """Tells what `span` is called in a selector."""
    told = trace.spans[span]
    if told.tool_call is not None and told.tool_call.name:
        return told.tool_call.name
    if kinds.calls[span] == span:
        return (told.model_call and told.model_call.model) or told.name
    return told.name.removeprefix("invoke_agent ")


def selected(trace: Trace, kinds: SpanKinds, causes: Causes, wanted: Selector) -> Sequence[int]:
    """Finds the spans of `trace` that `wanted` names, each model call once, in order of start."""
    turns = Turns(trace, kinds, causes) if wanted.turn else None
    found = []
    for i, span in enumerate(trace.spans):
        if span.category != wanted.of or (span.category == "llm" and kinds.calls[i] != i):
            continue
        name = name_of(trace, kinds, i)
        if wanted.place or wanted.turn:
            # A name may itself have these signs in it.
            if _named(name, wanted.pattern + wanted.narrowed):
                found.append(i)
                continue
            if wanted.place and not _made_at(trace, kinds, i, wanted.place):
                continue
            if turns is not None and not turns.has(i, wanted.turn):
                continue
        if _named(name, wanted.pattern):
            found.append(i)
    return found


def _named(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)


def around(trace: Trace, kinds: SpanKinds, span: int) -> Sequence[str]:
    """Finds the names of the steps around `span` up to the nearest agent, else to what is around
    all."""
    found = []
    above = trace.parents[span]
    while above != NO_SPAN:
        category = trace.spans[above].category
        if category in ("agent", "chain") or trace.parents[above] == NO_SPAN:
            found.append(name_of(trace, kinds, above))
        if category == "agent":
            break
        above = trace.parents[above]
    return found


def line_of(trace: Trace, span: int) -> str:
    """Tells where the code is that made the call `span`: "agent.py:41", empty if nobody said."""
    return _code(trace, span)[0].rpartition("/")[2]


def _code(trace: Trace, span: int) -> tuple[str, str]:
    """Reads file with line, and function, of the code that made the call `span`."""
    where = (trace.spans[span].where or "").replace("\\", "/")
    told = _WHERE.fullmatch(where)
    return (told["code"], told["function"] or "") if told is not None else (where, "")


def _made_at(trace: Trace, kinds: SpanKinds, span: int, place: str) -> bool:
    code, function = _code(trace, span)
    wanted = place.replace("\\", "/").removeprefix("./")
    file = code.rpartition(":")[0] or code
    if any(one and (one == wanted or one.endswith(f"/{wanted}")) for one in (code, file)):
        return True
    names = (function, *around(trace, kinds, span))
    return any(name and _named(name, place) for name in names)


class Turns:
    """The turns of every agent in ``trace``: its model calls in order of start. Attempts that
    failed and were made again are part of the turn that they were made for."""

    def __init__(self, trace: Trace, kinds: SpanKinds, causes: Causes) -> None:
        self._trace, self._kinds = trace, kinds
        self._issuers = causes.issuers
        self._again = {retry.failed: retry.again for retry in retries(causes.flow, kinds.calls)}
        self._asking = set(causes.issuers)
        self._of_agent: dict[int, list[int]] = {}
        self._number: dict[int, int] = {}
        for i, call in enumerate(kinds.calls):
            if call == i and i not in self._again:
                turns = self._of_agent.setdefault(self._agent(i), [])
                turns.append(i)
                self._number[i] = len(turns)

    def _agent(self, span: int) -> int:
        """Tells whom `span` works for; all calls without anything around them are of one agent."""
        agent = self._kinds.agents[span]
        return agent if agent != span else NO_SPAN

    def has(self, span: int, wanted: str) -> bool:
        """Tells whether `span` belongs to the turn `wanted` of its agent."""
        call = self.of(span)
        if call == NO_SPAN:
            return False
        if wanted in ("tools", "answer"):
            return self.asks(call) == (wanted == "tools")
        if wanted == "last":
            return call == self._last(self._of_agent[self._agent(call)])
        return self._number[call] == (1 if wanted == "first" else int(wanted))

    def count(self, span: int) -> int:
        """Counts the turns that the agent of `span` has."""
        call = self.of(span)
        return 0 if call == NO_SPAN else len(self._of_agent[self._agent(call)])

    def of(self, span: int) -> int:
        """Finds the call whose turn `span` belongs to, `NO_SPAN` if it came before the first."""
        asked = self._issuers[span]
        call = asked if asked != NO_SPAN else span
        while call in self._again:
            call = self._again[call]
        if call in self._number:
            return call
        turns = self._of_agent.get(self._agent(call), ())
        before = bisect_right(turns, call) - 1
        return turns[before] if before >= 0 else NO_SPAN

    def asks(self, call: int) -> bool:
        """Tells whether the reply of `call` asks for tools."""
        told = self._trace.spans[call].model_call
        return call in self._asking or (
            told is not None and (bool(told.issued) or "tool_call" in told.finish_reasons)
        )

    def outermost(self) -> Sequence[int]:
        """Finds the calls of the outermost agents that make any, one per turn."""
        depth = {agent: self._depth(agent) for agent in self._of_agent}
        least = min(depth.values(), default=0)
        found = (calls for agent, calls in self._of_agent.items() if depth[agent] == least)
        return [call for calls in found for call in calls]

    def last_answer(self) -> int:
        """Finds the last one of them; `NO_SPAN` if there is none."""
        calls = self.outermost()
        return self._last(calls) if calls else NO_SPAN

    def _last(self, calls: Sequence[int]) -> int:
        """Picks, of `calls`, the one that ends last, but for what goes on after the end of the
        run."""
        spans, end_ns = self._trace.spans, self._trace.end_ns
        within = [i for i in calls if spans[i].ended_ns <= end_ns]
        return max(within or calls, key=lambda i: (spans[i].ended_ns, -i))

    def _depth(self, agent: int) -> int:
        deep = 0
        while agent != NO_SPAN and self._trace.parents[agent] != NO_SPAN:
            agent = self._kinds.agents[agent]
            deep += 1
        return deep


def operation_of(trace: Trace, kinds: SpanKinds, span: int) -> str:
    """Writes the selector of exactly the operation that `span` is."""
    return f"{trace.spans[span].category}:{name_of(trace, kinds, span)}"


def operations(trace: Trace, kinds: SpanKinds) -> dict[str, int]:
    """Lists every operation of `trace`, as its selector, and the time it took in all."""
    spent: dict[str, int] = {}
    for i, span in enumerate(trace.spans):
        if span.category == "llm" and kinds.calls[i] not in (i, NO_SPAN):
            continue
        key = operation_of(trace, kinds, i)
        spent[key] = spent.get(key, 0) + span.duration_ns
    return spent
