"""Spans of a session that was recorded as a list of what was said and done: turns, calls, waits.

Readers of such records tell calls and tools apart; here they get their turn, and the time between
turns goes to whoever was waited for. `claude_code` has the picture, `turns` what begins one.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
from msgspec import Struct

from causepath_analyzer import attributes as names
from causepath_analyzer.read.format import Found
from causepath_analyzer.read.formats import turns
from causepath_analyzer.read.meaning import normalise
from causepath_analyzer.read.meaning.asked import labelled


class Call(Struct, gc=False):
    """A call of a model, and what is known of it as attributes."""

    id: str
    start_ns: int
    end_ns: int
    attributes: dict[str, object]
    failed: bool = False


class Tool(Struct, gc=False):
    """A call of a tool; without an end where nothing says that it came back."""

    id: str
    name: str
    start_ns: int
    end_ns: int | None = None
    arguments: str | None = None
    result: str | None = None
    failed: bool = False


class Session(Struct, frozen=True):
    """A recorded session: its emitter, its times and where it came from.

    ``shortened`` is when the conversation was summed up, ``origin`` the session that it goes on
    with.
    """

    id: str
    program: str
    start_ns: int
    end_ns: int
    records: Sequence[turns.Record]
    calls: Sequence[Call]
    tools: Sequence[Tool]
    shortened: Sequence[tuple[int, int]] = ()
    origin: str | None = None


def spans(session: Session) -> Iterator[Found]:
    """The spans of `session`: itself, its turns with what was called in them, and the waits."""
    of = _Of(session)
    name = f"{session.program} session"
    name = name if session.origin is None else f"{name} forked from {session.origin}"
    yield of.span(session.id, "", name, "agent", (session.start_ns, session.end_ns))
    began = turns.beginnings(session.records) or [turns.Beginning(0, turns.USER)]
    starts = [
        session.records[begun.index].at_ns if session.records else session.start_ns
        for begun in began
    ]
    ends = list(starts)
    work = [
        *((call.start_ns, call.end_ns) for call in session.calls),
        *((tool.start_ns, tool.end_ns or tool.start_ns) for tool in session.tools),
        *((record.at_ns, record.at_ns) for record in session.records if record.voice == "stop"),
    ]
    for start_ns, end_ns in work:
        turn = _turn(starts, start_ns)
        ends[turn] = max(ends[turn], end_ns)
    idle_ns = session.start_ns
    for number, begun in enumerate(began):
        identity = f"{session.id}-turn-{number}"
        yield from of.wait(number, begun.waiting, idle_ns, starts[number])
        yield of.span(identity, session.id, "turn", "agent", (starts[number], ends[number]))
        idle_ns = max(idle_ns, ends[number])
    yield from of.wait(len(began), turns.USER, idle_ns, session.end_ns)
    for part, between in enumerate(sorted(session.shortened)):
        turn = _turn(starts, between[0])
        parent = f"{session.id}-turn-{turn}" if between[0] < ends[turn] else session.id
        yield of.span(f"{session.id}-compaction-{part}", parent, "compaction", "other", between)
    for call in session.calls:
        model = call.attributes.get(names.MODEL[0])
        yield of.span(
            call.id,
            f"{session.id}-turn-{_turn(starts, call.start_ns)}",
            f"chat {model}" if model else "chat",
            "llm",
            (call.start_ns, call.end_ns),
            call.attributes,
            failed=call.failed,
        )
    for tool in session.tools:
        yield of.span(
            tool.id,
            f"{session.id}-turn-{_turn(starts, tool.start_ns)}",
            f"execute_tool {tool.name}",
            "tool",
            (tool.start_ns, tool.end_ns),
            {
                names.TOOL_NAME[0]: tool.name,
                names.TOOL_CALL_ID[0]: tool.id,
                "gen_ai.tool.call.arguments": tool.arguments,
                "gen_ai.tool.call.result": tool.result,
            },
            failed=tool.failed,
        )


def _turn(starts: Sequence[int], at_ns: int) -> int:
    return max(0, bisect_right(starts, at_ns) - 1)


class _Of:
    """Makes spans of one session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._resource = normalise.resource({names.SERVICE_NAME: session.program})
        self._shortened = sorted(session.shortened)

    def span(
        self,
        identity: str,
        parent: str,
        name: str,
        category: str,
        between: tuple[int, int | None],
        attributes: Mapping[str, object] | None = None,
        *,
        failed: bool = False,
    ) -> Found:
        session = self._session
        emitted = normalise.Emitted(
            session.id, identity, parent, name, "internal", *between, failed
        )
        said = {names.CATEGORY: category, names.SESSION[0]: session.id, **(attributes or {})}
        span = normalise.span(emitted, said, self._resource, f"{session.program}-session")
        return labelled(span, said)

    def wait(
        self, number: int, waiting: turns.Waiting, from_ns: int, end_ns: int
    ) -> Iterable[Found]:
        """The time between two turns, but for when the conversation was summed up."""
        category, name = waiting
        within = [part for part in self._shortened if from_ns <= part[0] and part[1] <= end_ns]
        for part, (start_ns, stop_ns) in enumerate([*within, (end_ns, end_ns)]):
            if start_ns > from_ns:
                identity = f"{self._session.id}-wait-{number}{f'-{part}' if part else ''}"
                between = from_ns, start_ns
                yield self.span(identity, self._session.id, name, category, between)
            from_ns = stop_ns


def asked_for(issued: Iterable[str]) -> str | None:
    """The tools that a reply asked for, as messages of the conventions have them."""
    calls = [{"type": "tool_call", "id": call} for call in issued]
    return msgspec.json.encode(calls).decode() if calls else None
