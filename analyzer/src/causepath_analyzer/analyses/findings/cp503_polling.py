"""CP503: a model that asks for a state again and again, where one tool could wait for it.

    llm  get_status  llm  get_status  llm  get_status  llm
    |--|    |-|      |--|    |-|      |--|    |-|      |--|     pending, pending, done

Each look costs a turn of the model. How long the work takes is not the agent's time, so that no
time is saved but the money of these turns.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.prices import spent
from causepath_analyzer.analyses.findings.rule import Candidate, Rule, seconds
from causepath_analyzer.analyses.proof.independence import failed, may_change, where_of
from causepath_analyzer.analyses.proof.recorded_words import outcome_of
from causepath_analyzer.model import NO_SPAN, Trace

_FEWEST: Final = 3


def polling(facts: Facts) -> Iterator[Candidate]:
    """Finds tools that a model called again and again for the same, and nothing else between."""
    trace = facts.trace
    tools = facts.numbers.get("tool", ())
    if len(tools) < _FEWEST:
        return
    row: list[int] = []
    for i in [*tools, NO_SPAN]:
        if row and i != NO_SPAN and _is_same(trace, row[-1], i):
            row.append(i)
            continue
        if len(row) >= _FEWEST and _is_state(trace, row):
            turns = _turns(facts, row)
            if turns:
                yield _candidate(facts, row, turns)
        row = [i] if i != NO_SPAN else []


def _is_same(trace: Trace, earlier: int, later: int) -> bool:
    one, other = trace.spans[earlier].tool_call, trace.spans[later].tool_call
    if one is None or other is None or one.arguments is None or other.arguments is None:
        return False
    same = one.name == other.name and one.arguments.digest == other.arguments.digest
    return same and trace.spans[later].start_ns >= trace.spans[earlier].ended_ns


def _is_state(trace: Trace, row: Sequence[int]) -> bool:
    """Tells whether each look found a state (yes, no, pending), and none failed or may change
    it."""
    for i in row[:-1]:
        span = trace.spans[i]
        if failed(span) or span.tool_call is None or outcome_of(span.tool_call) != "verdict":
            return False
    return not any(may_change(trace.spans[i]) for i in row)


def _turns(facts: Facts, row: Sequence[int]) -> list[int]:
    """Lists the model calls that asked for each look but the first, if each asked for nothing
    else."""
    issuers = facts.causes.issuers
    turns = [issuers[i] for i in row[1:]]
    if NO_SPAN in turns or len(set(turns)) < len(turns):
        return []
    asked = set(turns)
    others = any(issuer in asked and i not in row for i, issuer in enumerate(issuers))
    return [] if others else turns


def _candidate(facts: Facts, row: Sequence[int], turns: Sequence[int]) -> Candidate:
    trace = facts.trace
    tool = trace.spans[row[0]].tool_call
    name = (tool and tool.name) or trace.spans[row[0]].name
    waited_ns = trace.spans[row[-1]].ended_ns - trace.spans[row[0]].start_ns
    return Candidate(
        title=f"wait once, not by {len(row)} calls of {name}",
        plural="wait once, not by many looks",
        place=where_of(trace, (row[0],)) or name,
        spans=tuple(row),
        saving=spent(facts, turns),
        evidence="likely",
        why=(
            f"{name} was called {len(row)} times in a row for the same, over "
            f"{seconds(waited_ns)}, and said no more than how far it was; each look but the first "
            f"took a turn of the model."
        ),
        fix=(
            f"Let {name} wait until there is a result (with a time-out), or be told by an event, "
            "so that the model is asked once."
        ),
        where=where_of(trace, (row[0],)),
        refuted_by="a model that decides between two looks whether to go on waiting",
    )


RULE: Final = Rule(
    code="CP503",
    title="A model that polls",
    what=(
        "The model called one tool with the same arguments again and again, to see how far "
        "something was. Each look costs a turn that carries the whole conversation."
    ),
    evidence=(
        "likely: three or more calls in a row with equal arguments, no other tool between, each "
        "asked for by a reply of its own, and all results but the last no more than a state (yes, "
        "no, pending). Nothing is said of failed calls, of tools that may change something, or of "
        "results that say more: these may be pages, or a search for something."
    ),
    saving=(
        "What the turns but the first cost. No time: how long the work takes that is waited for "
        "does not change."
    ),
    refuted_by="A model that decides between two looks whether to go on waiting.",
    fix="Let the tool wait until there is a result, with a time-out, or be told by an event.",
    find=polling,
)
