"""The tools that agents declare, and those that they call, over all runs that were given.

Gathered run by run and joined in any order. That a tool was never called is only known where calls
of tools can be seen: each reply that asked for one has a span for it, under a name that was
declared.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from causepath_analyzer.model import NO_SPAN, ModelCall, Trace

_MOST: Final = 128
"""Agents; where there are more, names are made up for each run."""
_MOST_TOOLS: Final = 512
_DEEP: Final = 256
"""Levels that are looked at; bounds the work on a hostile trace."""
_WITHOUT_SPANS: Final = (
    "websearch",
    "webfetch",
    "googlesearch",
    "googlemaps",
    "urlcontext",
    "enterprisewebsearch",
    "codeexecution",
    "codeinterpreter",
    "filesearch",
    "retrieval",
    "imagegeneration",
    "computer",
    "browser",
    "toolsearch",
    "localshell",
    "mcp",
    "namespace",
    "transferto",
    "handoff",
)
"""What tools are called that leave no span: providers run them, or frameworks take them for what
they do."""


class Coverage(Struct):
    """The ``calls`` of an agent in so many ``runs``, how many of them ``declared`` each tool, and
    how often each was ``used``. ``blind``: there were calls of tools that nothing shows."""

    runs: int = 0
    calls: int = 0
    declared: dict[str, int] = {}
    used: dict[str, int] = {}
    blind: bool = False

    def join(self, other: "Coverage") -> None:
        """Adds what `other` says of other runs."""
        self.runs += other.runs
        self.calls += other.calls
        self.blind = self.blind or other.blind or len(other.declared) > _MOST_TOOLS
        for name, times in other.declared.items():
            self.declared[name] = self.declared.get(name, 0) + times
        for name, times in other.used.items():
            self.used[name] = self.used.get(name, 0) + times

    @property
    def unused(self) -> frozenset[str]:
        """Names the tools that every call declared and none used."""
        if self.blind:
            return frozenset()
        return frozenset(
            name
            for name, times in self.declared.items()
            if times == self.calls
            and not _leaves_no_span(name)
            and not any(names_same(name, used) for used in self.used)
        )


class Offers(Struct):
    """Gathers what agents declare and call; ``None`` stands for too many."""

    agents: dict[str, Coverage] | None = {}

    def add(self, trace: Trace) -> None:
        """Gathers what `trace` shows."""
        self._join(coverage(trace))

    def join(self, other: "Offers") -> None:
        """Gathers what `other` has gathered of other runs."""
        if other.agents is None:
            self.agents = None
        else:
            self._join(other.agents)

    def _join(self, agents: Mapping[str, Coverage]) -> None:
        if self.agents is None:
            return
        for agent, one in agents.items():
            self.agents.setdefault(agent, Coverage()).join(one)
        if len(self.agents) > _MOST:
            self.agents = None


def declaring(trace: Trace) -> Mapping[str, list[int]]:
    """Lists by agent the calls that were answered and that say which tools they declare."""
    found: dict[str, list[int]] = {}
    for i, span in enumerate(trace.spans):
        call = span.model_call
        if span.category == "llm" and call is not None and call.declared and span.error is None:
            found.setdefault(_agent(trace, i), []).append(i)
    return found


def coverage(trace: Trace) -> Mapping[str, Coverage]:
    """Counts by agent what calls of `trace` declare and use."""
    agents = declaring(trace)
    if not agents:
        return {}
    spans = trace.spans
    used: dict[str, int] = {}
    for span in spans:
        if span.category == "tool" or (span.category == "human" and span.tool_call is not None):
            name = (span.tool_call and span.tool_call.name) or span.name
            used[name] = used.get(name, 0) + 1
    found = {}
    asked: dict[int, int | None] = {}
    for agent, calls in agents.items():
        one = Coverage(1, len(calls))
        for i in calls:
            call = spans[i].model_call
            if call is None:
                continue
            for name in {tool.name for tool in call.declared or ()}:
                one.declared[name] = one.declared.get(name, 0) + 1
            asked[i] = _asked(call)
        found[agent] = one
    names = {name for one in found.values() for name in one.declared}
    known = {name: n for name, n in used.items() if any(names_same(name, one) for one in names)}
    counts = [number for number in asked.values() if number is not None]
    missing = sum(counts) - sum(known.values())
    if 0 < missing <= (asked[max(asked)] or 0):
        return {}  # it was cut off: what its last reply asked for was not carried out
    blind = len(counts) < len(asked) or missing > 0
    for one in found.values():
        one.used, one.blind = dict(known), blind
    return found


def names_same(one: str, other: str) -> bool:
    """Tells whether two names are those of one tool: some have that of their server before them."""
    one, other = one.casefold(), other.casefold()
    if one == other:
        return True
    longer, shorter = (one, other) if len(one) > len(other) else (other, one)
    before = longer[: -len(shorter)]
    return bool(shorter) and longer.endswith(shorter) and not before[-1:].isalnum()


def _leaves_no_span(name: str) -> bool:
    return name.casefold().replace("_", "").replace("-", "").startswith(_WITHOUT_SPANS)


def _asked(call: ModelCall) -> int | None:
    """Counts the tools that a reply asked for, at least; ``None`` if nobody says."""
    if call.issued:
        return len(call.issued)
    if call.blocks is not None:
        return sum(block.kind == "tool_use" for block in call.blocks.answered)
    return int("tool_call" in call.finish_reasons) if call.finish_reasons else None


def _agent(trace: Trace, call: int) -> str:
    """Names the agent that `call` works for, and the root of the run."""
    root = trace.spans[trace.main_root]
    above, steps = trace.parents[call], 0
    while above != NO_SPAN and trace.spans[above].category != "agent" and steps < _DEEP:
        above, steps = trace.parents[above], steps + 1
    name = trace.spans[above].name if above != NO_SPAN else root.name
    return "\n".join((root.service or "", root.name, name))
