"""The work in a run: each operation, how often it was done, how long it took, and how long the run
waited for it."""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from causepath_analyzer.analyses.budgets.measures import MODEL
from causepath_analyzer.analyses.path.critical_path import first_token_ns
from causepath_analyzer.analyses.path.kinds import Kind
from causepath_analyzer.analyses.replay.operations import Turns
from causepath_analyzer.analyses.run import Run
from causepath_analyzer.model import NO_SPAN

Operation = tuple[Kind, str]
"""A kind of work, and a name: of tools and the like their own, of model calls the role of their
turn, whatever the model: ``#tools`` if they ask for tools, ``#answer`` if they do not, as in
selectors, nothing if nobody says it, and before it ``@`` and the agent, if that is not the whole
run. So runs with more or fewer turns are
compared turn by turn of its kind."""

_NAMED: Final = frozenset(("tool", "retrieval", "embedding", "database", "network", "guardrail"))


class Work(Struct, frozen=True):
    """An operation in a run, or its mean over runs: ``waited_ns`` on the critical path, in
    ``calls`` that took ``busy_ns`` together and wrote ``tokens``."""

    calls: float = 0
    tokens: float = 0
    busy_ns: float = 0
    waited_ns: float = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.calls + other.calls,
            self.tokens + other.tokens,
            self.busy_ns + other.busy_ns,
            self.waited_ns + other.waited_ns,
        )


NO_WORK: Final = Work()


def work(run: Run) -> Mapping[Operation, Work]:
    """Divides the wall of `run` into operations: what they waited for adds up to it."""
    trace, kinds = run.trace, run.kinds
    turns = Turns(trace, kinds, run.causes)
    roles = {
        i: _role(run, turns, i)
        for i, span in enumerate(trace.spans)
        if span.category == "llm" and kinds.calls[i] == i
    }
    found: dict[Operation, Work] = {}

    def add(operation: Operation, more: Work) -> None:
        found[operation] = found.get(operation, NO_WORK) + more

    for i, span in enumerate(trace.spans):
        if span.category == "llm":
            if kinds.calls[i] != i:
                continue
            told = span.model_call
            tokens = 0 if told is None or told.tokens is None else told.tokens.output
            began_ns = first_token_ns(trace, kinds, i)
            if began_ns is None:
                add(("llm", roles[i]), Work(1, tokens, span.duration_ns))
            else:
                writing_ns = max(0, span.ended_ns - began_ns)
                add(("first_token", roles[i]), Work(1, 0, began_ns - span.start_ns))
                add(("generation", roles[i]), Work(1, tokens, writing_ns))
        elif kinds.own[i] in _NAMED and kinds.own[i] == span.category:
            add((kinds.own[i], _name(run, i)), Work(1, 0, span.duration_ns))
    for section in run.path.sections:
        spent_ns = section.end_ns - section.start_ns
        kind, i = section.kind, section.span
        unit = i if i == NO_SPAN or kinds.units[i] == NO_SPAN else kinds.units[i]
        name = ""
        if kind in MODEL:
            name = roles.get(unit, "")
        elif kind in _NAMED and i != NO_SPAN:
            name = _name(run, unit)
        add((kind, name), Work(waited_ns=spent_ns))
    return {
        operation: one if one.busy_ns else Work(1, 0, one.waited_ns, one.waited_ns)
        for operation, one in found.items()
        if one.busy_ns or one.waited_ns
    }


def _role(run: Run, turns: Turns, call: int) -> str:
    agent = run.kinds.agents[call]
    is_whole = agent == NO_SPAN or run.trace.parents[agent] == NO_SPAN
    of = "" if is_whole else f"@{run.trace.spans[agent].name.removeprefix('invoke_agent ')}"
    if turns.asks(call):
        return f"{of}#tools"
    told = run.trace.spans[call].model_call
    return f"{of}#answer" if told is not None and told.finish_reasons else of


def _name(run: Run, span: int) -> str:
    told = run.trace.spans[span]
    return (told.tool_call and told.tool_call.name) or told.name


def mean_work(runs: Sequence[Mapping[Operation, Work]]) -> Mapping[Operation, Work]:
    """Computes the mean of each operation over `runs`."""
    sums: dict[Operation, Work] = {}
    for run in runs:
        for operation, one in run.items():
            sums[operation] = sums.get(operation, NO_WORK) + one
    n = len(runs)
    return {
        operation: Work(one.calls / n, one.tokens / n, one.busy_ns / n, one.waited_ns / n)
        for operation, one in sums.items()
    }
