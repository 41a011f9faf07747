"""CP101: which tools of one reply ran one after the other, and what running them together saves.

The model wrote the arguments of all tool calls of a reply before it saw any result, so that none
can depend on another: this is proof, not a guess, as long as it is known which call asked.
"""

from collections.abc import Sequence
from typing import Final

from causepath_analyzer.analyses.causes import Causes
from causepath_analyzer.analyses.findings import Finding, worth_saying
from causepath_analyzer.analyses.schedule import families, wall_if_together
from causepath_analyzer.model import NO_SPAN, Trace

CODE: Final = "CP101"


def sequential_tools(trace: Trace, causes: Causes) -> tuple[Finding, ...]:
    """The findings CP101 of `trace`, largest saving first.

    Tools of which only a window is known, and traces whose times mean nothing, give none.
    """
    if trace.untrusted:
        return ()
    groups: dict[tuple[int, int], list[int]] = {}
    for i, issuer in enumerate(causes.issuers):
        tool = trace.spans[i].tool_call
        if issuer != NO_SPAN and tool is not None and not tool.inferred:
            groups.setdefault((issuer, causes.parents[i]), []).append(i)
    family = families(causes)
    found = []
    for (issuer, _), group in groups.items():
        if len(group) < 2:
            continue
        saving_ns = trace.wall_ns - wall_if_together(trace, causes, family, group)
        if worth_saying(saving_ns, trace.wall_ns):
            found.append(_finding(trace, causes, issuer, group, saving_ns))
    return tuple(sorted(found, key=lambda finding: -finding.saving_ns))


def _finding(
    trace: Trace, causes: Causes, issuer: int, group: Sequence[int], saving_ns: int
) -> Finding:
    spans = trace.spans
    tools = [spans[i].tool_call for i in group]
    names = [(tool and tool.name) or spans[i].name for i, tool in zip(group, tools, strict=True)]
    call = spans[issuer].model_call
    turn = f" of turn {call.turn}" if call is not None and call.turn is not None else ""
    safe = all(tool is not None and tool.read_only for tool in tools)
    effects = (
        "All are marked read-only."
        if safe
        else "Whether two of them write to the same place is not in the trace."
    )
    parent = causes.parents[group[0]]
    places = [spans[i].where for i in (*group, parent) if i != NO_SPAN and spans[i].where]
    return Finding(
        code=CODE,
        title=f"run {len(group)} tools{turn} together",
        spans=tuple(group),
        saving_ns=saving_ns,
        share=saving_ns / trace.wall_ns,
        evidence="proved",
        why=(
            f"{_listed(names)} were asked for in one reply, so none can need what another "
            f"returned. {effects}"
        ),
        fix=(
            "Start all tool calls of a reply before waiting for the first result "
            "(asyncio.gather, or a thread pool)."
        ),
        where=places[0] if places else None,
    )


def _listed(names: Sequence[str]) -> str:
    """ "a, b and c"; of many names the first four."""
    shown = list(names[:4]) + ([f"{len(names) - 4} more"] if len(names) > 4 else [])
    return f"{', '.join(shown[:-1])} and {shown[-1]}"
