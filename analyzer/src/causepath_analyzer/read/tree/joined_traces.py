"""Traces that are one run: where causes say so they are joined, where they only may be it is told.

Nothing around the calls of a loop, or a queue between its steps, and every step is a trace of its
own. Links tell: from a tool to the call that asked for it, from a call to the tools whose results
or the calls whose words it carries. Such a link joins two traces

- if it is of a tool: where what came of it is handed on for the first time, soon after;
- if it is of content: where nothing is around the call that takes up the words, which may have
  been said twice, no conversation is only continued, nobody says that the two are of different
  sessions or users, and not many take up the same words.

Links without a reason (of batches, to yesterday's trace, from turn to turn) join nothing. A joined
run has the id of its earliest trace.

Everything here is made for several processes that each hold a part: what a trace says is small, can
be added up, and is only asked of traces that a link leads from or to.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from causepath_analyzer.ids import shown_id
from causepath_analyzer.model import Blocks, Link, Span, Trace

SpansByTrace = dict[str, list[Span]]

_TOOLS: Final = ("tool_call", "tool_result")
_SOON_NS: Final = 600_000_000_000
"""So long after its end a run may wait for a tool that nobody recorded, or for a person."""
_AT_ONCE_NS: Final = 60_000_000_000
"""So soon words are handed on within one run."""
_MOST_TAKERS: Final = 8
"""Runs that take up the words of one: more share something that was made before."""
_CALLS: Final = ("llm", "tool")


class Cause(Struct, frozen=True, gc=False, array_like=True):
    """A link that leads from a span of one trace, which began at ``at_ns``, into another trace."""

    trace_id: str
    at_ns: int
    why: str | None
    of_trace: str
    of_span: str


class Side(Struct, frozen=True, array_like=True):
    """The facts about a trace, or a part of it, at either end of such a link.

    ``has_root``: something is around its calls, as a request or an agent that was declared.
    ``delivered`` are the tools whose results one of its calls carries, ``previous`` the calls whose
    conversations its calls continue.
    """

    start_ns: int
    end_ns: int
    is_run: bool
    has_root: bool
    sessions: frozenset[str]
    users: frozenset[str]
    delivered: frozenset[str]
    previous: frozenset[str]
    spans: frozenset[str]
    """Ids of its calls of models."""

    def __add__(self, other: "Side") -> "Side":
        return Side(
            min(self.start_ns, other.start_ns),
            max(self.end_ns, other.end_ns),
            self.is_run or other.is_run,
            self.has_root or other.has_root,
            self.sessions | other.sessions,
            self.users | other.users,
            self.delivered | other.delivered,
            self.previous | other.previous,
            self.spans | other.spans,
        )


class Joins(Struct, frozen=True):
    """``lead`` is for every trace that is a part of a longer run the first trace of that;
    ``named`` are traces that links lead from or to, and that stay runs of their own."""

    lead: Mapping[str, str]
    named: frozenset[str]


NO_JOINS: Final = Joins({}, frozenset())


def causes_of(spans: SpansByTrace) -> list[Cause]:
    """Every link from one trace into another. One look at each span."""
    found = []
    for trace_id, every in spans.items():
        for span in every:
            if span.links:
                found += [
                    Cause(trace_id, span.start_ns, link.why, link.trace_id, link.span_id)
                    for link in span.links
                    if link.trace_id and link.trace_id != trace_id
                ]
    return found


def involved(causes: Iterable[Cause], trace_ids: Iterable[str]) -> set[str]:
    """Those of `trace_ids` that one of `causes` leads from or to, where both ends are here."""
    here = set(trace_ids)
    both = [cause for cause in causes if cause.of_trace in here and cause.trace_id in here]
    return {trace_id for cause in both for trace_id in (cause.trace_id, cause.of_trace)}


def side_of(spans: Sequence[Span]) -> Side:
    """Describes `spans`, of one trace."""
    blocks = [span.model_call.blocks for span in spans if span.model_call is not None]
    return Side(
        start_ns=min(span.start_ns for span in spans),
        end_ns=max(span.ended_ns for span in spans),
        is_run=any(span.category in ("llm", "tool", "agent") for span in spans),
        has_root=any(
            not span.parent_id and span.category not in _CALLS and not span.is_inferred
            for span in spans
        ),
        sessions=frozenset(span.session for span in spans if span.session is not None),
        users=frozenset(span.user for span in spans if span.user is not None),
        delivered=frozenset(
            link.span_id for span in spans for link in span.links if link.why == "tool_result"
        ),
        previous=frozenset(told.previous for told in blocks if told is not None and told.previous),
        spans=frozenset(span.span_id for span in spans if span.category == "llm"),
    )


def joins(causes: Sequence[Cause], sides: Mapping[str, Side]) -> Joins:
    """Finds which traces are one run, of those that have `sides`."""
    known = [c for c in causes if c.trace_id in sides and c.of_trace in sides]
    takers: dict[str, set[str]] = {}
    givers: dict[str, set[str]] = {}
    for cause in known:
        givers.setdefault(cause.trace_id, set()).add(cause.of_trace)
        if cause.why == "content":
            takers.setdefault(cause.of_trace, set()).add(cause.trace_id)
    above: dict[str, str] = {}

    def first(trace_id: str) -> str:
        while trace_id in above:
            above[trace_id] = trace_id = above.get(above[trace_id], above[trace_id])
        return trace_id

    named: set[str] = set()
    for cause in known:
        source, target = sides[cause.trace_id], sides[cause.of_trace]
        if _is_one_run(cause, source, target, len(takers.get(cause.of_trace, ()))):
            one, other = first(cause.trace_id), first(cause.of_trace)
            if one != other:
                one, other = sorted((one, other), key=lambda i: (sides[i].start_ns, i))
                above[other] = one
        elif _is_worth_naming(cause, source, target, len(givers[cause.trace_id])):
            named |= {cause.trace_id, cause.of_trace}
    lead = {trace_id: first(trace_id) for trace_id in sides if trace_id in above}
    return Joins(lead, frozenset(lead.get(trace_id, trace_id) for trace_id in named))


def _is_one_run(cause: Cause, source: Side, target: Side, takers: int) -> bool:
    after_ns = cause.at_ns - target.end_ns
    if cause.at_ns < target.start_ns:
        return False
    if cause.why in _TOOLS:
        again = cause.why == "tool_result" and cause.of_span in target.delivered
        return after_ns <= _SOON_NS and not again
    return (
        cause.why == "content"
        and after_ns <= _AT_ONCE_NS
        and takers <= _MOST_TAKERS
        and not source.has_root
        and not _continues(source, target)
        and _agree(source.sessions, target.sessions)
        and _agree(source.users, target.users)
    )


def _continues(source: Side, target: Side) -> bool:
    """Tells whether a call of `source` takes up a conversation of `target`, as the next question
    does."""
    return not source.previous.isdisjoint(target.spans)


def _agree(one: frozenset[str], other: frozenset[str]) -> bool:
    return not one or not other or not one.isdisjoint(other)


def _is_worth_naming(cause: Cause, source: Side, target: Side, givers: int) -> bool:
    """Tells whether something may be handed on, although nothing says that it is one run."""
    if not (source.is_run and target.is_run) or cause.at_ns < target.start_ns:
        return False
    if cause.why in _TOOLS:
        return not (cause.why == "tool_result" and cause.of_span in target.delivered)
    if cause.why == "content":
        return not source.has_root and not _continues(source, target)
    return givers == 1 and cause.at_ns - target.end_ns <= _SOON_NS


class Joined(Struct, frozen=True):
    """A run in several traces: the ids of those after the first, and the trace that each span is
    from, by its id."""

    others: tuple[str, ...]
    origins: Mapping[str, str]


def join(spans: SpansByTrace, lead: Mapping[str, str]) -> dict[str, Joined]:
    """Puts the spans of traces that are one run together, under the id of the first, which names
    the run."""
    found: dict[str, tuple[str, ...]] = {}
    origins: dict[str, dict[str, str]] = {}
    for trace_id in sorted(trace_id for trace_id in lead if trace_id in spans):
        own = spans.pop(trace_id)
        first = lead[trace_id]
        together = spans.setdefault(first, [])
        if first not in origins:
            origins[first] = {span.span_id: first for span in together}
        taken = {span.span_id for span in together}
        if any(span.span_id in taken for span in own):
            own = _renamed(own, trace_id)
        together += [replace(span, trace_id=first) for span in own]
        origins[first].update((span.span_id, trace_id) for span in own)
        found[first] = (*found.get(first, ()), trace_id)
    for trace_id, others in found.items():
        inside = {trace_id, *others}
        spans[trace_id] = [
            replace(span, links=tuple(_inside(link, inside) for link in span.links))
            if span.links
            else span
            for span in spans[trace_id]
        ]
    return {trace_id: Joined(others, origins[trace_id]) for trace_id, others in found.items()}


def _inside(link: Link, trace_ids: set[str]) -> Link:
    return replace(link, trace_id="") if link.trace_id in trace_ids else link


def _renamed(spans: Sequence[Span], trace_id: str) -> list[Span]:
    """`spans` with ids that are theirs alone: some count their spans anew in every trace."""
    own = {span.span_id: f"{span.span_id}-{trace_id}" for span in spans}

    def link(one: Link) -> Link:
        here = one.trace_id in ("", trace_id) and one.span_id in own
        return replace(one, span_id=own[one.span_id]) if here else one

    def call(span: Span) -> Span:
        blocks: Blocks | None = span.model_call.blocks if span.model_call is not None else None
        if span.model_call is None or blocks is None or blocks.previous not in own:
            return span
        told = replace(blocks, previous=own[blocks.previous])
        return replace(span, model_call=replace(span.model_call, blocks=told))

    return [
        replace(
            call(span),
            span_id=own[span.span_id],
            parent_id=own.get(span.parent_id, span.parent_id),
            links=tuple(map(link, span.links)),
        )
        for span in spans
    ]


# What can only be told once the trees are built -----------------------------------------------


class Part(Struct, frozen=True, array_like=True):
    """A trace in which nothing is around a call: it may be a part of a longer run.

    ``hands_on``: it ends with tools that are asked for and not carried out in it, or is a tool.
    """

    trace_id: str
    start_ns: int
    end_ns: int
    key: tuple[str, ...]
    """Equal for the parts of one conversation."""
    hands_on: bool


class Loose(Struct, frozen=True, array_like=True):
    """The facts about one process's traces that other processes have to be asked about."""

    parts: tuple[Part, ...] = ()
    absent: frozenset[str] = frozenset()
    """Parents that are not in the trace of their child."""

    def __add__(self, other: "Loose") -> "Loose":
        return Loose((*self.parts, *other.parts), self.absent | other.absent)


NOT_LOOSE: Final = Loose()


def loose(traces: Iterable[Trace]) -> Loose:
    """Collects what cannot be settled in `traces` one by one."""
    parts: list[Part] = []
    absent: set[str] = set()
    for trace in traces:
        if all(trace.spans[i].category in _CALLS for i in trace.roots):
            part = _part(trace)
            if part is not None:
                parts.append(part)
        if trace.health.orphans:
            absent |= _absent(trace)
    return Loose(tuple(parts), frozenset(absent))


def _part(trace: Trace) -> Part | None:
    calls = [span for span in trace.spans if span.category == "llm"]
    session = next((span.session for span in trace.spans if span.session is not None), None)
    first = trace.spans[0]
    key: tuple[str, ...]
    if session is not None:
        key = ("session", session)
    else:
        call = calls[0].model_call if calls else None
        if call is None or call.opening is None:
            return None
        key = ("opening", first.service or "", first.host, str(call.opening))
    last = max(calls, key=lambda span: span.ended_ns, default=None)
    told = last.model_call if last is not None else None
    asks = told is not None and ("tool_call" in told.finish_reasons or bool(told.issued))
    answered = last is not None and any(
        span.category == "tool" and span.start_ns >= last.start_ns for span in trace.spans
    )
    return Part(
        trace.trace_id, trace.start_ns, trace.end_ns, key, last is None or (asks and not answered)
    )


def _absent(trace: Trace) -> set[str]:
    here = {span.span_id for span in trace.spans}
    return {span.parent_id for span in trace.spans if span.parent_id} - here


def handing_on(parts: Iterable[Part]) -> frozenset[str]:
    """The traces among `parts` that hand something on to a later one of the same conversation, and
    those that take it."""
    by_key: dict[tuple[str, ...], list[Part]] = {}
    for part in parts:
        by_key.setdefault(part.key, []).append(part)
    found: set[str] = set()
    for together in by_key.values():
        together.sort(key=lambda part: (part.start_ns, part.trace_id))
        for part, later in pairwise(together):
            if part.hands_on and later.start_ns - part.end_ns <= _SOON_NS:
                found |= {part.trace_id, later.trace_id}
    return frozenset(found)


def holders(traces: Iterable[Trace], span_ids: frozenset[str]) -> dict[str, str]:
    """Finds in which of `traces` spans with these ids are."""
    if not span_ids:
        return {}
    return {
        span.span_id: trace.trace_id
        for trace in traces
        for span in trace.spans
        if span.span_id in span_ids
    }


def told(trace: Trace, handing: frozenset[str], parents: Mapping[str, str]) -> Trace:
    """`trace` with what others say about it: whether it hands results on, or has parents there."""
    if trace.trace_id in handing:
        note = "results are handed on between this run and others: they may be parts of one"
        health = replace(trace.health, notes=(*trace.health.notes, note))
        trace = replace(trace, hands_on=True, health=health)
    if parents and trace.health.orphans:
        here = {span.span_id for span in trace.spans}
        astray = [
            parents[span.parent_id]
            for span in trace.spans
            if span.parent_id in parents and span.parent_id not in here
        ]
        astray = [of for of in astray if of != trace.trace_id]
        if astray:
            trace = _astray(trace, astray)
    return trace


def _astray(trace: Trace, of: Sequence[str]) -> Trace:
    ids = sorted(set(of))
    named = ", ".join(shown_id(trace_id)[:8] for trace_id in ids[:3])
    more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
    one = "1 span has its parent" if len(of) == 1 else f"{len(of):,} spans have their parents"
    note = f"{one} in another trace here ({named}{more})"
    health = replace(trace.health, astray=len(of), notes=(*trace.health.notes, note))
    return replace(trace, health=health)
