"""Which model calls of a trace belong to one conversation.

An agent that asks another agent, or that serves two users in one trace, holds several at once:

    call 1   call 2                       call 6     the planner
                     call 3 call 4 call 5            the researcher

Calls of different sessions or services are apart. Among the others, calls whose messages begin
alike are one conversation; where that was not recorded, or where every call begins anew (some
frameworks rewrite the first message), those of one agent are.
"""

from collections.abc import Sequence

from msgspec import Struct

from causepath_analyzer.analyses.path.data_flow import DataFlow
from causepath_analyzer.model import NO_SPAN, Tokens, Trace


class Conversation(Struct, frozen=True):
    """``calls`` are span numbers in order of start; each is a turn. ``agent`` is the span around
    all of them, `NO_SPAN` if there is none."""

    session: str | None
    agent: int
    calls: tuple[int, ...]

    def tokens(self, trace: Trace) -> Tokens:
        """Adds up what its calls used."""
        total = Tokens()
        for i in self.calls:
            call = trace.spans[i].model_call
            if call is not None and call.tokens is not None:
                total += call.tokens
        return total


def conversations(flow: DataFlow) -> tuple[Conversation, ...]:
    """Finds the conversations in the trace of `flow`, in order of their first call."""
    trace = flow.trace
    spans = trace.spans
    calls = [i for i, span in enumerate(spans) if span.category == "llm"]
    if not calls:
        return ()
    sessions = {spans[i].session for i in calls} - {None}
    # Emitters that leave the session out of some calls mean the only one there is.
    alone = next(iter(sessions)) if len(sessions) == 1 else None
    apart: dict[tuple[str | None, str | None], list[int]] = {}
    for i in calls:
        apart.setdefault((spans[i].session or alone, spans[i].service), []).append(i)
    agents = _Agents(trace)
    found = []
    for (session, _), members in apart.items():
        groups = [members] if len(members) == 1 else _by_opening(flow, agents, members, session)
        found += [Conversation(session, agents.of(group[0]), tuple(group)) for group in groups]
    return tuple(sorted(found, key=lambda conversation: conversation.calls[0]))


def _by_opening(
    flow: DataFlow, agents: "_Agents", calls: Sequence[int], session: str | None
) -> list[list[int]]:
    spans = flow.trace.spans
    openings: dict[int, list[int]] = {}
    unknown = False
    for i in calls:
        opening = flow.opening(i)
        if opening is None:
            unknown = True
        else:
            openings.setdefault(opening, []).append(i)
    if not unknown and len(openings) < len(calls):
        return _with_plans(flow.trace, list(openings.values()))
    groups: dict[int | str, list[int]] = {}
    for i in calls:
        agent = agents.of(i)
        # In a session, the agent is called anew for every question of the user.
        named = spans[agent].name if agent != NO_SPAN and session is not None else agent
        groups.setdefault(named, []).append(i)
    return list(groups.values())


_ALIKE = 0.6


def _with_plans(trace: Trace, groups: list[list[int]]) -> list[list[int]]:
    """Lets a call that was made once to lay a plan join the conversation whose first answer is that
    plan."""
    plans = {group[0]: _said(trace, group[0]) for group in groups if len(group) == 1}
    plans = {call: said for call, said in plans.items() if said}
    if not plans:
        return groups
    joined: list[list[int]] = []
    used: set[int] = set()
    for group in groups:
        first = trace.spans[group[0]].model_call
        before: list[int] = []
        if first is not None and first.heard:
            heard = _digests(first.heard)
            before = [
                call
                for call, said in plans.items()
                if call < group[0] and call not in used and _repeats(said, heard)
            ]
            used.update(before)
        joined.append(sorted([*before, *group]))
    return [group for group in joined if len(group) > 1 or group[0] not in used]


def _said(trace: Trace, call: int) -> set[bytes]:
    told = trace.spans[call].model_call
    return _digests(told.said) if told is not None else set()


def _repeats(said: set[bytes], heard: set[bytes]) -> bool:
    return len(said & heard) >= _ALIKE * min(len(said), len(heard))


def _digests(lines: bytes) -> set[bytes]:
    return {lines[at : at + 4] for at in range(0, len(lines), 4)}


class _Agents:
    """The nearest agent or tool around each call, for which it works. Passes every span once."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._known: dict[int, int] = {NO_SPAN: NO_SPAN}

    def of(self, call: int) -> int:
        above = self._trace.parents[call]
        path = []
        while above not in self._known:
            if self._trace.spans[above].category in ("agent", "tool"):
                self._known[above] = above
                break
            path.append(above)
            above = self._trace.parents[above]
        for passed in path:
            self._known[passed] = self._known[above]
        return self._known[above]
