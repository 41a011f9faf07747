"""Whether one call needed what an earlier one returned: yes, no, or nobody can tell.

Links and equal digests come first: they say yes. That they are absent says nothing by itself, as
short, changed and summarised values travel unseen. A call is *proved* independent only where all
that it was given is known to come from elsewhere, and nothing that the earlier call answered can
have decided whether it is made: it is one of the rounds of a loop over items each of which has its
call, or another run made the two in another order. It is *likely* independent where nothing speaks
against it that would show: for rounds of a loop, whose whole call stacks are equal; for look-ups
whose arguments and results were recorded, or searched by the emitter, and have no word or number in
common; for retrievals whose queries and documents were; for calls on other lines of one function,
where its code hands nothing of an answer on, as the emitter has seen, and no word of it was found
either; and where another run broke the order (The Mystery Machine infers all its edges so; here it
is the last resort).

What speaks against it: that the earlier call failed, or its result says so, or is but a yes or a
no; that one asks for the next page of the other, or is given words of the model's own; that the
two name one place, or one of them changes something, as far as its name tells; and a
link into another trace.
"""

import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, Literal

from msgspec import Struct, field
from msgspec.structs import replace

from causepath_analyzer.analyses.path.data_flow import DataFlow
from causepath_analyzer.analyses.proof.compared_models import Done, Steps
from causepath_analyzer.analyses.proof.declared_tools import Coverage, Offers
from causepath_analyzer.analyses.proof.over_runs import NOTHING_KNOWN, Known, OverRuns
from causepath_analyzer.analyses.proof.prompt_growth import Grown, Prompts
from causepath_analyzer.analyses.proof.recorded_words import (
    depends,
    in_own_words,
    meet,
    moves_on,
    outcome_of,
    places_of,
    says_it_reads,
    says_it_writes,
    text_of,
)
from causepath_analyzer.analyses.proof.stretch import serial_tools
from causepath_analyzer.model import NO_SPAN, Retrieval, Span, ToolCall, Trace

Level = Literal["proved", "likely", "unknown", "dependent"]
"""How well it is known that a call is independent of an earlier one."""

_MOST_OPERATIONS: Final = 24


class Elsewhere(Struct, frozen=True):
    """The evidence of other runs about two operations, named by category, name and line of code.

    ``broken``: orders that some run broke, ``(a, b)`` if *b* started before *a* had ended, came
    first, or came without *a*. ``needed``: *b* was given something that *a* had returned.
    ``serial``: tools whose calls took longer where they overlapped, as if they waited for each
    other. ``alike`` is what the runs have in common.
    """

    broken: frozenset[tuple[str, str]] = frozenset()
    needed: frozenset[tuple[str, str]] = frozenset()
    serial: frozenset[str] = frozenset()
    grown: Mapping[str, Grown] = {}
    """By agent, prompts that have grown over weeks."""
    alike: Known = NOTHING_KNOWN
    offered: Mapping[str, Coverage] = {}
    """By agent, the tools that it declared and used."""
    compared: Mapping[str, Mapping[str, Done]] = {}
    """By step and model, the calls of steps that several models did."""


NOWHERE: Final = Elsewhere()


class Orders(Struct):
    """The orders of the calls in runs, gathered run by run.

    ``broken`` and ``needed`` are pairs as in `Elsewhere`, of calls of one run. ``beside[a]`` are
    the operations that every run with *a* had: of the other ``known`` ones some run had none.
    """

    runs: int = 0
    known: set[str] = set()
    broken: set[tuple[str, str]] = set()
    needed: set[tuple[str, str]] = set()
    serial: set[str] = set()
    beside: dict[str, set[str]] = {}
    prompts: Prompts = field(default_factory=Prompts)
    alike: OverRuns = field(default_factory=OverRuns)
    offers: Offers = field(default_factory=Offers)
    steps: Steps = field(default_factory=Steps)

    def add(self, trace: Trace) -> None:
        """Gathers what `trace` shows."""
        if trace.untrusted:
            return
        overlaps, firsts = _firsts(trace)
        self.runs += 1
        self.known.update(firsts)
        self.broken |= overlaps
        flow = DataFlow(trace)
        self.needed |= _needed(flow)
        self.serial |= serial_tools(trace)
        self.prompts.add(flow)
        tools = [i for i, s in enumerate(trace.spans) if s.category == "tool"]
        self.alike.add(
            flow,
            [i for i in tools if only_looks(trace.spans[i])],
            [i for i in tools if may_change(trace.spans[i])],
        )
        self.offers.add(trace)
        self.steps.add(flow)
        if len(firsts) > _MOST_OPERATIONS:
            return
        for later, started in firsts.items():
            for earlier, first in firsts.items():
                if first > started:
                    self.broken.add((earlier, later))
        self._had({later: set(firsts) for later in firsts})

    def join(self, other: "Orders") -> None:
        """Gathers what `other` has gathered of other runs."""
        self.runs += other.runs
        self.known |= other.known
        self.broken |= other.broken
        self.needed |= other.needed
        self.serial |= other.serial
        self.prompts.join(other.prompts)
        self.alike.join(other.alike)
        self.offers.join(other.offers)
        self.steps.join(other.steps)
        self._had(other.beside)

    def _had(self, beside: Mapping[str, set[str]]) -> None:
        for key, others in beside.items():
            self.beside[key] = self.beside[key] & others if key in self.beside else others

    def elsewhere(self) -> Elsewhere:
        """Collects what all of them show; a single run shows nothing."""
        if self.runs < 2:
            return NOWHERE
        broken = set(self.broken)
        if len(self.known) <= _MOST_OPERATIONS:
            for later, beside in self.beside.items():
                broken.update((earlier, later) for earlier in self.known - beside)
        return Elsewhere(
            frozenset(broken),
            frozenset(self.needed),
            frozenset(self.serial),
            self.prompts.grown(),
            self.alike.known(),
            self.offers.agents or {},
            self.steps.compared(),
        )


def elsewhere(traces: Iterable[Trace]) -> Elsewhere:
    """Collects what all of `traces` show about the orders of the calls in them."""
    orders = Orders()
    for trace in traces:
        orders.add(trace)
    return orders.elsewhere()


def and_here(others: Elsewhere, flow: DataFlow) -> Elsewhere:
    """`others`, and what the trace itself shows that calls needed."""
    needed = _needed(flow)
    return replace(others, needed=others.needed | needed) if needed else others


def _needed(flow: DataFlow) -> set[tuple[str, str]]:
    """Calls below one span of which the later one was given what the earlier one had returned.

    Of a loop only what a round was given by an earlier round: that a call needs the latest one of
    an operation that comes first in every round says nothing about the rounds.
    """
    trace = flow.trace
    spans, parents = trace.spans, trace.parents
    given = [
        i
        for i, span in enumerate(spans)
        if (span.links or (span.model_call is not None and span.model_call.blocks is not None))
        and span.category in CALLS
    ]
    found: set[tuple[str, str]] = set()
    if not given:
        return found
    made: dict[tuple[int, str], list[int]] = {}  # by parent and operation, in order of start
    for i, span in enumerate(spans):
        if span.category in CALLS:
            made.setdefault((parents[i], key_of(trace, i)), []).append(i)
    for i in given:
        later = key_of(trace, i)
        for source in flow.nearest(i):
            if parents[source] != parents[i] or spans[source].category not in CALLS:
                continue
            earlier = key_of(trace, source)
            before = made[parents[i], earlier]
            latest = before[bisect_left(before, i) - 1]
            # Side by side with others, as they are here, tells nothing of whose round it is.
            passed_over = spans[latest].start_ns >= spans[source].ended_ns
            comes_first = before[0] < made[parents[i], later][0]
            if earlier == later or passed_over or not comes_first:
                found.add((earlier, later))
    return found


def _firsts(trace: Trace) -> tuple[set[tuple[str, str]], dict[str, int]]:
    """Pairs of calls of one family that overlapped, and when each operation first started."""
    spans = trace.spans
    firsts: dict[str, int] = {}
    overlaps: set[tuple[str, str]] = set()
    latest: dict[int, tuple[int, str]] = {}  # by parent: the call that ends last so far
    for span, parent in zip(spans, trace.parents, strict=True):
        if span.category not in CALLS:
            continue
        key = _key(span)
        start_ns, end_ns = span.start_ns, span.end_ns or 0
        if key not in firsts:
            firsts[key] = start_ns
        before = latest.get(parent)
        if before is None:
            latest[parent] = (end_ns, key)
            continue
        if before[0] > start_ns:
            overlaps.add((before[1], key))
            overlaps.add((key, before[1]))
        if end_ns >= before[0]:
            latest[parent] = (end_ns, key)
    return overlaps, firsts


CALLS: Final = frozenset(("llm", "tool", "retrieval", "embedding", "database"))
"""What an agent's own code calls and then waits for."""


def key_of(trace: Trace, span: int) -> str:
    """Names the operation of `span` and the code that calls it, the same in every run."""
    return _key(trace.spans[span])


def _key(span: Span) -> str:
    tool = span.tool_call
    name = (tool.name if tool is not None else None) or span.name
    place = " < ".join(span.site.stack) if span.site is not None else span.where or ""
    return f"{span.category}:{name}@{place}"


def level(
    flow: DataFlow,
    earlier: int,
    later: int,
    others: Elsewhere,
    *,
    asked_for: bool = False,
    in_loop: bool = False,
    since: int | None = None,
    steady: frozenset[str] = frozenset(),
) -> Level:
    """Judges how well it is known that `later` needed nothing of `earlier`, which had ended before.

    If a model has `asked_for` both, it has seen what the earlier one returned; then only what the
    later one was given itself counts. They may be calls of two rounds `in_loop` that are equal. Of
    many calls that are compared, `since` is the first: what reached a call is then looked for once.
    What `steady` tools say decides nothing.
    """
    trace = flow.trace
    spans = trace.spans
    first, second = spans[earlier], spans[later]
    reached = (
        flow.nearest(later)
        if asked_for
        else flow.reached(later, earlier if since is None else since)
    )
    if earlier in reached:
        return "dependent"
    if failed(first) or flow.from_elsewhere(later):
        return "unknown"
    if first.model_call is not None and "tool_call" in first.model_call.finish_reasons:
        return "dependent"
    broken = order_broken(trace, earlier, later, others)
    certain = flow.nearest(later) == flow.sources(later)
    if in_loop and _has(others.needed, trace, earlier, later):
        return "unknown"
    one, other = first.tool_call, second.tool_call
    is_apart = not asked_for and apart(trace, earlier, later)
    if one is not None and other is not None:
        decides = outcome_of(one) == "verdict" and not (
            one.name == other.name and one.name in steady
        )
        known = _of_tools(first, second, broken, asked_for, in_loop, is_apart, decides)
        return "likely" if known == "proved" and not certain else known
    if first.retrieval is not None and second.retrieval is not None and second.flow is None:
        return _of_retrievals(first, second, first.retrieval, second.retrieval, broken)
    if in_loop and _rounds(first, second) and _given_something_else(flow, earlier, later):
        each = _is_each(first) and _is_each(second)
        complete = second.flow == "complete" and certain
        return "proved" if complete and (each or broken) else "likely"
    if first.model_call is not None and second.model_call is not None:
        if is_apart and second.flow in ("complete", "searched"):
            return "likely"
        begins = flow.opening(earlier)
        if begins is None or begins == flow.opening(later) or first.where is None:
            return "unknown"
    return "likely" if broken else "unknown"


def failed(span: Span) -> bool:
    """Tells whether a call failed or was refused, as its span says, its result or its reply."""
    if span.error is not None:
        return True
    if span.tool_call is not None and outcome_of(span.tool_call) == "failure":
        return True
    return span.model_call is not None and not _REFUSED.isdisjoint(span.model_call.finish_reasons)


_REFUSED: Final = frozenset(("content_filter", "refusal", "error"))


def apart(trace: Trace, earlier: int, later: int) -> bool:
    """Tells whether the code from which both were called hands nothing of the answer of `earlier`
    on to `later`, nor lets it decide whether that is called.

    That is about one run through their common function. Where their answers may lead from one run
    through it to the next, nothing is told.
    """
    first, second = trace.spans[earlier].site, trace.spans[later].site
    if first is None or second is None or not second.apart:
        return False
    one, one_cut = _lines(first.stack)
    other, other_cut = _lines(second.stack)
    for at, line in enumerate(one):
        if line not in second.apart:
            continue
        within = _function(line)
        start = next((n for n, two in enumerate(other) if _function(two) == within), None)
        if start is None:
            return False
        # The lines far above may be cut off: of one call more than of the other, if it is deeper.
        above, also = one[at + 1 :], other[start + 1 :]
        both = min(len(above), len(also))
        is_same = above[:both] == also[:both] and (
            both > 0 if one_cut or other_cut else len(above) == len(also)
        )
        is_led = second.loop_kind in _LED and any(
            two.rpartition(":")[0] == second.loop for two in also
        )
        return is_same and not is_led and first.kept.isdisjoint(one[:at])
    return False


def _lines(stack: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
    """Gives the lines of a stack that are told one by one, and whether there are more."""
    is_cut = bool(stack) and _MORE.fullmatch(stack[-1]) is not None
    return stack[:-1] if is_cut else stack, is_cut


_MORE: Final = re.compile(r"\d+ more [0-9a-f]{8}")


def _function(line: str) -> tuple[str, str]:
    """The file and the name of the function that a line of a stack is in."""
    place, _, name = line.rpartition(" ")
    return place.rpartition(":")[0], name.partition(":")[0]


def _of_tools(
    first: Span,
    second: Span,
    broken: bool,
    asked_for: bool,
    in_loop: bool,
    is_apart: bool,
    decides: bool,
) -> Level:
    """Judges whether the tool `second` needed nothing of `first`, to which no link leads.

    `decides`: the first said no more than what may decide whether the second is called.
    """
    one, other = first.tool_call, second.tool_call
    assert one is not None
    assert other is not None
    needs: bool | None = False
    if (
        second.flow is None
    ):  # whoever wrote the trace did not look for it, so the texts have to tell
        needs = depends(one.arguments, one.result, other.arguments)
    if needs:
        return "dependent"
    by_code = in_loop and _rounds(first, second) and _looked_at_again(first, second)
    if _same_place(first, second) is not None or (asked_again(first, second) and not by_code):
        return "unknown"
    otherwise: Level = "likely" if broken else "unknown"
    unsure = needs is None or second.flow == "unsure"
    if is_apart and second.flow is not None and not unsure and only_looks(first):
        return "likely" if only_looks(second) else otherwise
    unsure = unsure or decides
    each = in_loop and _is_each(first) and _is_each(second)
    if one.name == other.name:
        unsure = unsure or (
            not each and (moves_on(one.arguments, other.arguments) or _may_count(one, other))
        )
    elif asked_for and second.flow is None:
        unsure = unsure or in_own_words(one.arguments, other.arguments)
    if unsure or may_change(first) or may_change(second):
        return otherwise
    safe = one.read_only is True and other.read_only is True
    if second.flow == "complete":
        return "proved" if safe and (each or broken) else "likely"
    if second.flow == "searched":
        if asked_for and first.flow == "complete":
            return otherwise  # so far the model said what it knew; now it says something else
        if not asked_for and not (in_loop and _rounds(first, second)):
            return otherwise
    return "likely"


def _of_retrievals(
    first: Span, second: Span, one: Retrieval, other: Retrieval, broken: bool
) -> Level:
    """Judges whether the retrieval `second` needed nothing of `first`, as their texts tell."""
    needs = depends(one.query, one.documents, other.query)
    if needs:
        return "dependent"
    alike = first.name == second.name and (
        one.query == other.query or moves_on(one.query, other.query)
    )
    if needs is None or one.query is None or alike or _found_nothing(one):
        return "likely" if broken else "unknown"
    return "likely"


def _found_nothing(one: Retrieval) -> bool:
    """Tells whether another place may be searched because nothing was found here."""
    says = outcome_of(ToolCall(result=one.documents))
    text = text_of(one.documents) if one.documents is not None else None
    is_list = text is not None and text.startswith("[")  # of documents, which may be about errors
    return says == "verdict" or (says == "failure" and not is_list)


def _may_count(one: ToolCall, other: ToolCall) -> bool:
    """Tells whether arguments that nobody recorded may be one number that counts on: they are
    about as short, and neither name anything."""
    given, later = one.arguments, other.arguments
    if given is None or later is None or text_of(given) is not None or one.places or other.places:
        return False
    return given.digest != later.digest and 0 <= later.size - given.size <= 1


def _rounds(first: Span, second: Span) -> bool:
    """Tells whether two spans can be calls of equal rounds of a loop which their answers do not
    end."""
    if second.flow in (None, "unsure") or first.site is None or second.site is None:
        return False
    return _LED.isdisjoint((first.site.loop_kind, second.site.loop_kind))


_LED: Final = frozenset(("until", "chain"))
"""Loops whose answers may decide what comes next."""


def _is_each(span: Span) -> bool:
    return span.site is not None and span.site.loop_kind == "each"


def _given_something_else(flow: DataFlow, earlier: int, later: int) -> bool:
    given = flow.given(later)
    return given is None or flow.given(earlier) != given


def asked_again(first: Span, second: Span) -> bool:
    """Tells whether two calls of a tool are known to be equal, and both were wanted all the
    same."""
    one, other = first.tool_call, second.tool_call
    if one is None or other is None or one.arguments is None or one.read_only:
        return False
    return one.name == other.name and one.arguments == other.arguments


def _looked_at_again(first: Span, second: Span) -> bool:
    """Tells whether rounds of a loop over items look at the same and find the same: that they do
    so again says nothing about what they expect."""
    one, other = first.tool_call, second.tool_call
    if one is None or other is None or one.result is None or other.result is None:
        return False
    is_loop = first.site is not None and first.site.loop_kind in ("each", "some")
    return is_loop and one.result.digest == other.result.digest and only_looks(first)


def steady_tools(
    trace: Trace, turns: Iterable[tuple[Sequence[int], Sequence[int]]]
) -> frozenset[str]:
    """Finds the tools which a model goes on to call whatever they say, as far as `turns`, the tools
    of one reply and those of the next, tell: two different answers of one, each no more than a yes
    or no, were followed by another call of it.
    """
    followed: dict[str, set[int]] = {}
    for before, after in turns:
        names = {trace.spans[i].name for i in (*before, *after)}
        for i in before:
            tool = trace.spans[i].tool_call
            if len(names) != 1 or tool is None or tool.result is None or not tool.name:
                continue
            if outcome_of(tool) == "verdict" and only_looks(trace.spans[i]):
                followed.setdefault(tool.name, set()).add(tool.result.digest)
    return frozenset(name for name, results in followed.items() if len(results) > 1)


_DEEP: Final = 256
"""Levels that are looked at; bounds the work on a hostile trace."""


def is_inside(trace: Trace, i: int, others: Collection[int]) -> bool:
    """Tells whether span `i` lies below one of `others`."""
    above = trace.parents[i]
    steps = 0
    while above != NO_SPAN and above not in others and steps < _DEEP:
        above, steps = trace.parents[above], steps + 1
    return above in others


def may_change(span: Span) -> bool:
    """Tells whether a tool says of itself that it changes something: by a mark, else by its
    name."""
    tool = span.tool_call
    if tool is None or tool.read_only is not None:
        return tool is not None and tool.read_only is False
    return says_it_writes(tool.name or span.name)


def only_looks(span: Span) -> bool:
    """Tells whether a tool says of itself that it changes nothing: by a mark, else by its name."""
    tool = span.tool_call
    if tool is None or tool.read_only is not None:
        return tool is not None and tool.read_only is True
    return says_it_reads(tool.name or span.name)


def names_a_place(span: Span) -> bool:
    """Tells whether the arguments of a tool are known to name a path, an address or an id."""
    places = places_of(span.tool_call) if span.tool_call is not None else None
    return places is not None and any(place.startswith("at:") for place in places)


def _same_place(first: Span, second: Span) -> str | None:
    """Finds what the arguments of two tools both name, if one of these may write there."""
    one, other = first.tool_call, second.tool_call
    if one is None or other is None or (one.read_only and other.read_only):
        return None
    places, also = places_of(one), places_of(other)
    if places is None or also is None:
        return None
    return meet(places, also, values=may_change(first) or may_change(second))


def same_place(trace: Trace, spans: Sequence[int]) -> tuple[int, int] | None:
    """The first two of the tools `spans` that name one place, where one may write."""
    for at, later in enumerate(spans):
        for earlier in spans[:at]:
            if _same_place(trace.spans[earlier], trace.spans[later]) is not None:
                return earlier, later
    return None


def order_broken(trace: Trace, earlier: int, later: int, others: Elsewhere) -> bool:
    """Tells whether another run made `later` before `earlier` had ended, or without it."""
    return _has(others.broken, trace, earlier, later)


def _has(pairs: frozenset[tuple[str, str]], trace: Trace, earlier: int, later: int) -> bool:
    return bool(pairs) and (key_of(trace, earlier), key_of(trace, later)) in pairs


def worst(levels: Iterable[Level]) -> Level:
    """The least that is known of several calls."""
    order: Sequence[Level] = ("proved", "likely", "unknown", "dependent")
    return max(levels, key=order.index, default="proved")


def effects(trace: Trace, spans: Sequence[int]) -> str:
    """A sentence on what `spans` may change, which names those that may; look-ups change nothing.

    Empty where there is no tool among them.
    """
    tools = [tool for i in spans if (tool := _tool(trace.spans[i])) is not None]
    writers = list(dict.fromkeys(name for name, reads in tools if not reads))
    if not tools:
        return ""
    if not writers:
        return "All are marked read-only."
    if len(tools) == 1:
        return ""
    may = f"{listed(writers)} may write"
    calls = [i for i in spans if trace.spans[i].category == "tool"]
    meeting = same_place(trace, calls)
    if meeting is not None:
        return f"{may}, and {_both(trace, meeting)} name one place in their arguments."
    if all((told := trace.spans[i].tool_call) and places_of(told) is not None for i in calls):
        return f"{may}; no path, address or id that one names is named by another."
    if len(writers) == 1 and sum(not reads for _, reads in tools) == 1:
        return f"Only {writers[0]} may write; whether another one reads it is not in the trace."
    return f"{may}; whether to the same place is not in the trace."


def _both(trace: Trace, spans: Sequence[int]) -> str:
    names = [tool[0] for i in spans if (tool := _tool(trace.spans[i])) is not None]
    return listed(names) if len(set(names)) > 1 else f"two calls of {names[0]}"


def _tool(span: Span) -> tuple[str, bool] | None:
    """The name of a tool, and whether it is known to have no effects."""
    if span.category != "tool":
        return None
    told = span.tool_call
    return (told and told.name) or span.name, bool(told and told.read_only)


def listed(names: Sequence[str]) -> str:
    """ "a, b and c"; of many names the first four."""
    if len(names) == 1:
        return names[0]
    shown = list(names[:4]) + ([f"{len(names) - 4} more"] if len(names) > 4 else [])
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def where_of(trace: Trace, spans: Iterable[int]) -> str | None:
    """The line to change for `spans`: the first that is known, in the loop around it if one is.

    Of a function that helps several others it is the line of the one that calls it.
    """
    for i in spans:
        if i == NO_SPAN:
            continue
        span = trace.spans[i]
        if span.site is not None:
            return span.site.loop or _own_line(trace, span.site.stack)
        if span.where:
            return span.where
    return None


def _own_line(trace: Trace, stack: Sequence[str]) -> str:
    """The nearest line of `stack` on which calls of other stacks do not stand, too."""
    helping = {
        line
        for span in trace.spans
        if span.site is not None and span.site.stack[1:] != stack[1:]
        for line in span.site.stack[:1]
    }
    line = next((line for line in stack if line not in helping), stack[0])
    rest, _, column = line.rpartition(":")
    return rest if column.isdecimal() and " " in rest else line
