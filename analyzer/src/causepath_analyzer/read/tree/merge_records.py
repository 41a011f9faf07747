"""One call recorded by several emitters becomes one call.

An SDK under a plugin, a plugin beside a plugin, a gateway, a client and its server, MCP under
``execute_tool``: each writes a span of its own for the same call. Two spans are one call

- if one lies below the other with no agent or tool between them and their reply ids are equal,
  or their model and tokens, or it is the only one there and nothing speaks against it;
- if they lie beside each other, were written by different emitters, and their reply ids are equal,
  or their model and tokens, or the time of one contains that of the other.

The outer one is kept, because its time is what the agent waited; it learns what only the inner
ones know. Of two counts of tokens that of the innermost span is taken, nearest to the wire. A
merged span stays in the tree as an internal step of the call: what it was doing is still seen.

A span over several calls that each got an answer is no call but a step that wraps them, and the
sum of tokens on it is not added. So is one that was taken for a call only because it has a model
and counts of tokens, where a call, a tool or an agent lies in it. The other way round an agent or
step in which nothing lies, and which says what one reply says, is that call.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from causepath_analyzer.model import (
    ANSWERS_FOR_MANY,
    NO_SPAN,
    NO_TERMS,
    NO_TOKENS,
    Category,
    Merge,
    MergeReason,
    ModelCall,
    Span,
    Terms,
    Tokens,
    ToolCall,
)

_TOLERANCE_NS: Final = 2_000_000
_NEAR: Final = 20
"""The ends of two windows are near if they differ by a twentieth of the longer, or 20 ms."""
_NEAR_NS: Final = 20_000_000
_OWNERS: Final = ("agent", "tool", "llm", "human")
"""What lies in one of these belongs to it, and not to what is around it."""
_LOOKED_AT: Final = 32
"""Calls that are open at once and compared with one another; bounds the work on a hostile trace."""


_MOST_COMPARED: Final = 64
"""Calls that are compared with a step that lies beside them."""


class Layers(Struct, frozen=True):
    """Spans and their parents with every call once, and what was merged."""

    spans: list[Span]
    parents: list[int]
    merges: tuple[Merge, ...] = ()
    hung: int = 0
    """Steps that their emitter wrote beside the agent they are of, and that hang below it now."""

    def other_sums(self) -> list[tuple[Tokens, Tokens]]:
        """Lists what steps say that their calls used, and what these say, if the two differ.

        Some steps repeat the sum of all their calls, some the last one's: neither is reported.
        """
        sums = [
            i
            for i, span in enumerate(self.spans)
            if span.repeats is not None and span.category != "llm"
        ]
        if not sums:
            return []
        below: dict[int, list[Tokens]] = {i: [] for i in sums}
        step = [NO_SPAN] * len(self.spans)
        for i in top_down(self.parents):
            parent = self.parents[i]
            step[i] = i if i in below else step[parent] if parent != NO_SPAN else NO_SPAN
            tokens = _tokens(self.spans[i]) if self.spans[i].category == "llm" else None
            if tokens is not None and step[i] != NO_SPAN:
                below[step[i]].append(tokens)
        found = []
        for i in sums:
            said = self.spans[i].repeats
            told = said.tokens if said is not None else None
            if told is None or not below[i]:
                continue
            whole = sum(below[i], NO_TOKENS)
            if all((told.input, told.output) != (t.input, t.output) for t in (whole, *below[i])):
                found.append((told, whole))
        return found


def merge(spans: list[Span], parents: list[int]) -> Layers:
    """The tree of `spans`, in order of start, with one span for each call of a model or tool."""
    return (
        looked_through(spans, parents) if may_hold_twins(spans, parents) else Layers(spans, parents)
    )


def looked_through(spans: list[Span], parents: list[int]) -> Layers:
    """Finds the layers as `merge` does, with a look at every call."""
    merging = _Merging(spans, parents)
    hung = merging.agents()
    merging.guesses()
    merging.streams()
    merging.below("llm")
    merging.beside("llm")
    merging.below("tool")
    merging.beside("tool")
    return Layers(merging.spans, merging.parents, tuple(merging.merges), hung)


def may_hold_twins(spans: Sequence[Span], parents: Sequence[int]) -> bool:
    """Tells whether any call may be recorded twice: most traces have one emitter of calls, in
    which none lies in another of its kind. One pass; a "no" is certain."""
    model: Span | None = None
    tool: Span | None = None
    around: list[Category] = []
    """The category of the nearest agent, call or question that each span lies in."""
    begun: dict[int, str] = {}
    """By parent the agent that began last in it."""
    summing: set[int] = set()
    """Spans that say what calls used, and in which none has begun yet."""
    passed: set[int] = set()
    """Spans around a call, tool or agent, as far as this was looked at."""
    guessed = certain = False
    for i, (span, parent) in enumerate(zip(spans, parents, strict=True)):
        category = span.category
        if parent == NO_SPAN:
            above: Category = "other"
        elif parent < i:
            above = spans[parent].category
            if above not in _OWNERS:
                above = around[parent]
        else:
            return True  # not in order of the tree, which only repairs leave behind
        around.append(above)
        if summing and category in _ACTS:
            while parent != NO_SPAN and parent not in passed:
                passed.add(parent)
                if parent in summing:
                    if spans[parent].category == "llm":
                        return True
                    summing.discard(parent)
                parent = parents[parent]
        if span.repeats is not None:
            summing.add(i)
            guessed = guessed or category == "llm"
        if category == "llm":
            certain = certain or span.repeats is None
            if above == "llm" or (span.model_call is not None and span.model_call.rest_of_stream):
                return True
            if model is None:
                model = span
            elif span.scope != model.scope or span.service != model.service:
                return True
        elif category == "tool":
            if above == "tool":
                return True
            if tool is None:
                tool = span
            elif span.scope != tool.scope or span.service != tool.service:
                return True
        elif category == "agent":
            begun[parent] = span.name
        elif category == "chain" and parent in begun and _one_step(begun[parent], span.name):
            return True
    return (guessed and certain) or any(_may_be_call(spans[i]) for i in summing)


_ACTS: Final = frozenset(("llm", "tool", "agent"))
"""What no call of a model has inside: who does has several."""


def _may_be_call(span: Span) -> bool:
    """Tells whether an agent or step says what only one reply says, and so may be one call: its
    id or why it ended; of a step also which model it was."""
    said = span.repeats
    if said is None or span.category not in ("agent", "chain") or said.model is None:
        return False
    return span.category != "agent" or said.response_id is not None or bool(said.finish_reasons)


def _one_step(agent: str, step: str) -> bool:
    """Tells whether the names are of one agent: ``invoke_agent writer``, ``execute_task
    writer``."""
    return agent.rpartition(" ")[2] == step.rpartition(" ")[2]


def top_down(parents: Sequence[int]) -> list[int]:
    """The numbers of all spans that hang on a root, every parent before its children."""
    children: list[list[int]] = [[] for _ in parents]
    order: list[int] = []
    for i, parent in enumerate(parents):
        (order if parent == NO_SPAN else children[parent]).append(i)
    for index in order:
        order.extend(children[index])
    return order


class _Merging:
    """The tree while it is being merged; copies what it changes."""

    def __init__(self, spans: list[Span], parents: list[int]) -> None:
        self.spans = spans
        self.parents = parents
        self.merges: list[Merge] = []
        self._copied = False

    def agents(self) -> int:
        """Hangs a step below the agent that it is the work of, where both were written as children
        of one span and nothing lies in the agent: OpenLLMetry does so with agents in a graph."""
        begun: dict[int, list[int]] = {}
        inside = set(self.parents)
        hung = 0
        for i, span in enumerate(self.spans):
            beside = self.parents[i]
            if span.category == "agent" and i not in inside:
                begun.setdefault(beside, []).append(i)
            elif span.category == "chain" and i in inside and beside in begun:
                agents = begun[beside]
                agent = next((a for a in agents if self._is_work_of(i, a)), None)
                if agent is not None:
                    agents.remove(agent)
                    self._change()
                    self.parents[i] = agent
                    hung += 1
        return hung

    def _is_work_of(self, step: int, agent: int) -> bool:
        one, other = self.spans[agent], self.spans[step]
        return (
            _emitter(one) == _emitter(other)
            and _one_step(one.name, other.name)
            and _near(one, other)
        )

    def guesses(self) -> None:
        """Settles what is a call of a model and what a step around some."""
        sums = [i for i, span in enumerate(self.spans) if span.repeats is not None]
        if not sums:
            return
        inside = self._has_acts()
        certain = [
            i
            for i, span in enumerate(self.spans)
            if span.category == "llm" and span.repeats is None
        ]
        told = {
            (used.input, used.output)
            for i in certain
            if (used := _tokens(self.spans[i])) is not None and used.input + used.output
        }
        for i in sums:
            span = self.spans[i]
            call = span.repeats
            if call is None:
                continue
            used = call.tokens
            if span.category == "llm":
                if inside[i] and "tool_call" not in call.finish_reasons:
                    self._replace(i, category="chain", model_call=None)
                elif used is not None and (used.input, used.output) in told:
                    # It only notes what was used, after or around the call that used it.
                    self._replace(i, category="chain", model_call=None, repeats=None)
            elif not inside[i] and _may_be_call(span) and not self._is_told(i, call, certain):
                self._replace(i, category="llm", model_call=call)

    def _has_acts(self) -> list[bool]:
        """Tells for each span whether a call, a tool or an agent lies in it."""
        inside = [False] * len(self.spans)
        for i in reversed(top_down(self.parents)):
            parent = self.parents[i]
            if parent != NO_SPAN and (inside[i] or self.spans[i].category in _ACTS):
                inside[parent] = True
        return inside

    def _is_told(self, i: int, call: ModelCall, certain: Sequence[int]) -> bool:
        """Tells whether one of the `certain` calls, in the time of step `i` but not below it, is
        what the step speaks of: some emitters lose what is around a call."""
        step = self.spans[i]
        first = bisect_left(
            certain, step.start_ns - _TOLERANCE_NS, key=lambda j: self.spans[j].start_ns
        )
        for j in certain[first : first + _MOST_COMPARED]:
            span = self.spans[j]
            if span.start_ns > step.ended_ns:
                break
            if span.ended_ns <= step.ended_ns + _TOLERANCE_NS:
                other = span.model_call
                same = other is not None and other.response_id == call.response_id is not None
                if same or self.parents[j] in (self.parents[i], NO_SPAN):
                    return True
        return False

    def streams(self) -> None:
        """Joins the two records of a stream: until the headers came, and from then on."""
        latest: dict[tuple[int, str | None], int] = {}
        for i, span in enumerate(self.spans):
            if span.category != "llm" or span.model_call is None:
                continue
            place = self.parents[i], span.scope
            if not span.model_call.rest_of_stream:
                latest[place] = i
                continue
            begun = latest.pop(place, NO_SPAN)
            if begun != NO_SPAN and _may_be_one_model(self.spans[begun], span):
                ended_ns = max(self.spans[begun].ended_ns, span.ended_ns)
                self._replace(begun, end_ns=ended_ns)
                self._merge(begun, i, "stream")

    def below(self, category: str) -> None:
        """Merges calls that lie below one another."""
        inner: dict[int, list[int]] = {}
        owners, depths = self._owners(category)
        for i, span in enumerate(self.spans):
            if span.category == category and owners[i] != NO_SPAN:
                inner.setdefault(owners[i], []).append(i)
        if not inner:
            return
        # Innermost first, so that of three layers the middle one is settled before the outer.
        for owner in sorted(inner, key=depths.__getitem__, reverse=True):
            below = [i for i in self._flat(inner, owner) if self.spans[i].category == category]
            if category == "llm":
                self._settle_models(owner, below)
            else:
                for i in below:
                    why = _same_tool(self.spans[owner], self.spans[i])
                    if why is not None:
                        self._merge(owner, i, why)

    def _flat(self, inner: dict[int, list[int]], owner: int) -> list[int]:
        """Lists what lies in `owner`, with what lies in the steps that turned out to be no
        calls."""
        found = list(inner[owner])
        for i in found:
            if self.spans[i].category == "chain":
                found.extend(inner.get(i, ()))
        return found

    def _owners(self, category: str) -> tuple[list[int], list[int]]:
        """Finds for each span the nearest call around it, with no agent or call of another kind
        between, and how many spans are above it."""
        spans, parents = self.spans, self.parents
        owners, depths = [NO_SPAN] * len(spans), [0] * len(spans)
        for i in top_down(parents):
            parent = parents[i]
            if parent != NO_SPAN:
                depths[i] = depths[parent] + 1
                above = spans[parent].category
                if above == category:
                    owners[i] = parent
                elif above not in _OWNERS:
                    owners[i] = owners[parent]
        return owners, depths

    def _settle_models(self, outer: int, below: Sequence[int]) -> None:
        spans = self.spans
        answered = [i for i in below if spans[i].error is None or _tokens(spans[i]) is not None]
        reasons = {i: _same_model_call(spans[outer], spans[i]) for i in below}
        if len(answered) < 2:
            for i in below:
                attempt = i not in answered and len(below) > 1
                why: MergeReason | None = (
                    "attempt" if attempt else reasons[i] or self._only(outer, i)
                )
                if why is not None:
                    self._merge(outer, i, why)
            return
        same = [i for i in answered if reasons[i] is not None]
        if len(same) == 1:
            self._merge(outer, same[0], reasons[same[0]] or "time")
        else:
            self._replace(outer, category="chain", model_call=None, repeats=spans[outer].model_call)

    def _only(self, outer: int, inner: int) -> MergeReason | None:
        """Merges the only call below `outer` unless something says that it is another one."""
        one, other = self.spans[outer], self.spans[inner]
        if not _may_be_one_model(one, other):
            return None
        # A check before the call (moderation, routing) takes a small part of its time.
        told = _tokens(one) is not None and _tokens(other) is not None
        if told and other.duration_ns * 4 < one.duration_ns and other.duration_ns > 0:
            return None
        return "time"

    def beside(self, category: str) -> None:
        """Merges calls of different emitters that lie beside each other."""
        left = [i for i, span in enumerate(self.spans) if span.category == category]
        if len({_emitter(self.spans[i]) for i in left}) < 2:
            return
        groups: dict[int, list[int]] = {i: [i] for i in left}
        member = {i: i for i in left}
        for _, _, one, other, why in sorted(self._pairs(left, category)):
            first, second = member[one], member[other]
            if first == second:
                continue
            emitters = {_emitter(self.spans[i]) for i in groups[first]}
            if any(_emitter(self.spans[i]) in emitters for i in groups[second]):
                continue
            kept, gone = self._longest(first, second)
            if self._is_below(kept, gone):
                continue
            self._merge(kept, gone, why)
            groups[kept] = groups[first] + groups[second]
            for i in groups[kept]:
                member[i] = kept

    def _pairs(
        self, left: Sequence[int], category: str
    ) -> list[tuple[int, int, int, int, MergeReason]]:
        """Pairs that may be one call: strength, distance in time, the two, and why."""
        spans = self.spans
        found = []
        running: list[int] = []
        for i in left:  # in order of start
            span = spans[i]
            running = [j for j in running if spans[j].ended_ns + _TOLERANCE_NS >= span.start_ns]
            for j in running[-_LOOKED_AT:]:
                other = spans[j]
                why = _beside_model(other, span) if category == "llm" else _beside_tool(other, span)
                if why is None or self._is_below(i, j) or self._is_below(j, i):
                    continue
                distance = abs(span.start_ns - other.start_ns) + abs(span.ended_ns - other.ended_ns)
                found.append((_STRENGTH[why], distance, j, i, why))
            running.append(i)
        return found

    def _longest(self, one: int, other: int) -> tuple[int, int]:
        first, second = self.spans[one], self.spans[other]
        if second.duration_ns > first.duration_ns:
            return other, one
        return one, other

    def _is_below(self, i: int, above: int) -> bool:
        while i != NO_SPAN:
            if i == above:
                return True
            i = self.parents[i]
        return False

    def _merge(self, kept: int, gone: int, why: MergeReason) -> None:
        """`gone` becomes a step of `kept`, which learns what only `gone` knew."""
        one, other = self.spans[kept], self.spans[gone]
        before, after = _tokens(one), _tokens(other)
        self.merges.append(
            Merge(
                one.span_id,
                other.span_id,
                why,
                before is not None
                and after is not None
                and (before.input, before.output) != (after.input, after.output),
                before,
                after,
            )
        )
        # A wrapper may return when the stream begins, and the call in it goes on.
        streams = other.model_call is not None and self._is_below(gone, kept)
        self._replace(
            kept,
            end_ns=max(one.ended_ns, other.ended_ns) if streams else one.end_ns,
            model_call=_known_of_model(one, other),
            tool_call=_known_of_tool(one.tool_call, other.tool_call),
            retrieval=one.retrieval or other.retrieval,
            session=one.session or other.session,
            user=one.user or other.user,
            where=one.where or other.where,
            site=one.site or other.site,
            flow=one.flow or other.flow,
            links=(*one.links, *(link for link in other.links if link not in one.links)),
        )
        # No server any more: its time is that of the call.
        self._replace(
            gone, category="other", kind="internal", model_call=None, tool_call=None, repeats=None
        )
        if not self._is_below(gone, kept):
            self.parents[gone] = kept

    def _change(self) -> None:
        if not self._copied:
            self.spans, self.parents, self._copied = list(self.spans), list(self.parents), True

    def _replace(self, i: int, **changes: object) -> None:
        self._change()
        self.spans[i] = replace(self.spans[i], **changes)


_STRENGTH: Final = {
    "response id": 0,
    "call id": 0,
    "tokens": 1,
    "name": 1,
    "time": 2,
    "attempt": 2,
    "stream": 2,
}


def _emitter(span: Span) -> tuple[str | None, str | None]:
    return span.scope, span.service


def _tokens(span: Span) -> Tokens | None:
    return span.model_call.tokens if span.model_call is not None else None


def _same_model_call(one: Span, other: Span) -> MergeReason | None:
    """Finds what proves that two spans record one call of a model, if anything does."""
    first, second = one.model_call, other.model_call
    if first is None or second is None:
        return None
    if first.response_id is not None and first.response_id == second.response_id:
        return "response id"
    told, also = first.tokens, second.tokens
    if told is None or also is None or not told.input + told.output:
        return None
    equal = (told.input, told.output) == (also.input, also.output)
    return "tokens" if equal and _one_model(first.model, second.model) else None


def _one_model(first: str | None, second: str | None) -> bool:
    """Tells whether two names may be of one model: gateways and regions put something before or
    after."""
    if first is None or second is None:
        return True
    one, other = first.lower().rpartition("/")[2], second.lower().rpartition("/")[2]
    return one in other or other in one


def _may_be_one_model(one: Span, other: Span) -> bool:
    first, second = one.model_call, other.model_call
    return first is None or second is None or _one_model(first.model, second.model)


def _beside_model(one: Span, other: Span) -> MergeReason | None:
    if not _overlap(one, other):
        return None
    if _emitter(one) == _emitter(other):
        return None  # calls that run in parallel
    why = _same_model_call(one, other)
    if why == "response id":
        return why
    if not _may_be_one_model(one, other):
        return None
    if why is not None:
        return why if _contained(one, other) or _near(one, other) else None
    first, second = one.model_call, other.model_call
    if first is None or second is None or _different_ids(first.response_id, second.response_id):
        return None
    if first.tokens is not None and second.tokens is not None:
        return "time" if _near(one, other) else None
    return (
        "time" if _near(one, other) or (_contained(one, other) and _one_place(one, other)) else None
    )


def _different_ids(first: str | None, second: str | None) -> bool:
    """Tells whether two ids are of one kind and differ; gateways give ids of their own."""
    if first is None or second is None:
        return False
    return first[:4] == second[:4] and first != second


def _beside_tool(one: Span, other: Span) -> MergeReason | None:
    if not _overlap(one, other):
        return None
    why = _same_tool(one, other)
    if why is None or _emitter(one) == _emitter(other):
        return None
    if why == "call id":
        return why
    return why if _contained(one, other) or _near(one, other) else None


def _same_tool(one: Span, other: Span) -> MergeReason | None:
    first, second = one.tool_call, other.tool_call
    if first is None or second is None:
        return None
    if first.call_id is not None and second.call_id is not None:
        return "call id" if first.call_id == second.call_id else None
    if _emitter(one) == _emitter(other) and one.kind == other.kind:
        return None  # a tool that calls itself
    return "name" if _plain(first.name) == _plain(second.name) else None


def _plain(name: str | None) -> str:
    """A tool's name without the server it comes from: ``mcp__github__search`` is ``search``."""
    return (name or "").lower().rpartition("__")[2].rpartition("/")[2]


def _overlap(one: Span, other: Span) -> bool:
    return (
        one.start_ns <= other.ended_ns + _TOLERANCE_NS
        and other.start_ns <= one.ended_ns + _TOLERANCE_NS
    )


def _contained(one: Span, other: Span) -> bool:
    outer, inner = (one, other) if one.duration_ns >= other.duration_ns else (other, one)
    return (
        inner.start_ns >= outer.start_ns - _TOLERANCE_NS
        and inner.ended_ns <= outer.ended_ns + _TOLERANCE_NS
    )


def _near(one: Span, other: Span) -> bool:
    """Tells whether two windows are nearly the same."""
    slack = max(_NEAR_NS, max(one.duration_ns, other.duration_ns) // _NEAR)
    slack = min(slack, max(_TOLERANCE_NS, min(one.duration_ns, other.duration_ns) // 2))
    return (
        abs(one.start_ns - other.start_ns) <= slack and abs(one.ended_ns - other.ended_ns) <= slack
    )


def _one_place(one: Span, other: Span) -> bool:
    """One process, or the two sides of one call."""
    return one.service == other.service or {one.kind, other.kind} == {"client", "server"}


def _known_of_model(one: Span, other: Span) -> ModelCall | None:
    """Combines what both spans know of a model call; `other` is the inner one, nearer to the
    wire."""
    outer, inner = one.model_call, other.model_call
    if outer is None or inner is None:
        return outer or inner
    ttft_ns = outer.ttft_ns
    if ttft_ns is None and inner.ttft_ns is not None:
        ttft_ns = max(0, inner.ttft_ns + other.start_ns - one.start_ns)
    tokens = inner.tokens or outer.tokens
    if inner.has_negatives and outer.tokens is not None:
        tokens = outer.tokens
    elif inner.tokens is not None and outer.tokens is not None:
        same = (inner.tokens.input, inner.tokens.output) == (
            outer.tokens.input,
            outer.tokens.output,
        )
        if same:  # one may split up what the other only sums
            tokens = max(outer.tokens, inner.tokens, key=_detail)
    return ModelCall(
        model=inner.model or outer.model,
        provider=_provider(outer.provider, inner.provider),
        tokens=tokens,
        ttft_ns=ttft_ns,
        finish_reasons=outer.finish_reasons or inner.finish_reasons,
        streamed=outer.streamed if outer.streamed is not None else inner.streamed,
        turn=outer.turn if outer.turn is not None else inner.turn,
        issued=outer.issued or inner.issued,
        response_id=inner.response_id or outer.response_id,
        opening=outer.opening if outer.opening is not None else inner.opening,
        blocks=outer.blocks or inner.blocks,
        generated_ns=outer.generated_ns,
        terms=_terms(outer.terms, inner.terms),
        searches=max(inner.searches, outer.searches),
        said_usd=inner.said_usd if inner.said_usd is not None else outer.said_usd,
        said_currency=inner.said_currency or outer.said_currency,
        cache_diagnosis=inner.cache_diagnosis or outer.cache_diagnosis,
        cache_missed=inner.cache_missed if inner.cache_missed is not None else outer.cache_missed,
        transport=outer.transport or inner.transport,
        has_audio=outer.has_audio or inner.has_audio,
        has_negatives=inner.has_negatives and (outer.tokens is None or outer.has_negatives),
        declared=outer.declared if outer.declared is not None else inner.declared,
    )


def _terms(outer: Terms, inner: Terms) -> Terms:
    if NO_TERMS in (outer, inner):
        return outer if inner == NO_TERMS else inner
    return Terms(
        inner.tier or outer.tier,
        inner.asked_tier or outer.asked_tier,
        inner.speed or outer.speed,
        inner.geography or outer.geography,
    )


def _provider(outer: str | None, inner: str | None) -> str | None:
    """Names who answered, where only one of two may have looked at the host that it was."""
    if outer in ANSWERS_FOR_MANY and inner not in ANSWERS_FOR_MANY:
        return inner
    return outer or inner


def _detail(tokens: Tokens) -> int:
    return sum(
        count > 0
        for count in (
            tokens.cache_read,
            tokens.cache_write,
            tokens.reasoning,
            tokens.cache_write_1h,
        )
    )


def _known_of_tool(outer: ToolCall | None, inner: ToolCall | None) -> ToolCall | None:
    if outer is None or inner is None:
        return outer or inner
    return ToolCall(
        outer.name or inner.name,
        outer.call_id or inner.call_id,
        outer.inferred and inner.inferred,
        outer.read_only if outer.read_only is not None else inner.read_only,
        outer.arguments or inner.arguments,
        outer.result or inner.result,
        outer.outcome or inner.outcome,
        outer.places or inner.places,
        outer.ambiguous or inner.ambiguous,
    )
