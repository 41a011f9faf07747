"""Calls, turns and tokens of a run."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from causepath_analyzer.analyses.path.conversations import Conversation, conversations
from causepath_analyzer.analyses.path.data_flow import DataFlow
from causepath_analyzer.analyses.path.status import is_cut_off
from causepath_analyzer.model import NO_SPAN, NO_TOKENS, ModelCall, Span, Tokens, Trace


class Calls(Struct, frozen=True):
    """The number of calls of a model and of tools."""

    llm: int
    tool: int


class Usage(Struct, frozen=True):
    """``turns`` are the model calls of the outermost loop. ``models`` has one entry per model call
    that may have cost something, and per step whose sum stands for calls that nothing shows: a call
    that failed without using a token is left out.

    ``tokens`` and costs are lower bounds where any call was counted only in ``partial``, is
    ``uncounted`` or has ``contradictory`` counts; of the last the price is not known. ``hasty``
    calls took less time than any model needs. ``sums`` are the steps that say what calls used of
    which none below says anything: how many calls these were is not known.
    """

    calls: Calls
    turns: int
    tokens: Tokens
    models: Sequence[ModelCall]
    conversations: Sequence[Conversation]
    partial: int = 0
    uncounted: int = 0
    contradictory: int = 0
    hasty: int = 0
    sums: int = 0
    started_ns: Sequence[int] = ()
    """When each of ``models`` was begun."""
    partial_input: int = 0
    """Those of ``partial`` of whose input there may have been more as well."""
    spans: Sequence[int] = ()
    """The number of the span of each of ``models``."""
    embeddings: int = 0
    """Calls of embedding models, which are in none of the other counts."""

    @property
    def is_counted(self) -> bool:
        """Tells whether every token of the calls that were seen is in the sum."""
        return not (self.partial or self.uncounted or self.contradictory)

    @property
    def notes(self) -> tuple[str, ...]:
        """Says what is not known of the counts, in words."""
        told = []
        if self.sums:
            of = "an agent or step" if self.sums == 1 else f"{self.sums:,} agents or steps"
            told.append(f"tokens are sums of {of} in which no call says what it used")
        for number, of_one, of_many in (
            (self.uncounted, "says no token counts", "say no token counts"),
            (
                self.contradictory,
                "has token counts that cannot be: not priced",
                "have token counts that cannot be: not priced",
            ),
            (
                self.hasty,
                "took less time than any model needs: not used for its pace",
                "took less time than any model needs: not used for its pace",
            ),
        ):
            if number:
                of = "model call" if number == 1 else "model calls"
                told.append(f"{number:,} {of} {of_one if number == 1 else of_many}")
        if self.embeddings:
            of = "call" if self.embeddings == 1 else "calls"
            told.append(f"{self.embeddings:,} embedding {of}: tokens neither counted nor priced")
        return tuple(told)


_NOTHING_KNOWN = ModelCall()


def usage(flow: DataFlow) -> Usage:
    """Counts what the trace of `flow` used."""
    trace = flow.trace
    spans = trace.spans
    calls: dict[int, ModelCall] = {}
    tools = embeddings = 0
    summing = False
    for i, span in enumerate(spans):
        if span.category == "llm":
            calls[i] = span.model_call or _NOTHING_KNOWN
        elif span.category == "tool" or (span.category == "human" and span.tool_call is not None):
            tools += 1
        elif span.category == "embedding":
            embeddings += 1
        if span.repeats is not None and span.category != "llm":
            summing = True
    sums, covered = _sums(trace, calls) if summing else ({}, set())
    counted = {i: call for i, call in calls.items() if i not in covered}
    used = [*counted.values(), *sums.values()]
    priced = {
        i: call
        for i, call in counted.items()
        if not _is_free(spans[i]) or (call.tokens is not None and call.tokens != NO_TOKENS)
    }
    partial = [call for i, call in (counted | sums).items() if _is_partial(call, spans[i])]
    return Usage(
        Calls(len(calls), tools),
        _turns(trace, calls),
        _added([call.tokens for call in used if call.tokens is not None]),
        (*priced.values(), *sums.values()),
        conversations(flow),
        len(partial),
        sum(_is_uncounted(call) for call in priced.values()),
        sum(cannot_be(call) for call in used),
        sum(is_hasty(call, spans[i].duration_ns) for i, call in calls.items()),
        len(sums),
        tuple([spans[i].start_ns for i in (*priced, *sums)]),
        sum(call.partial_input or not (call.tokens or NO_TOKENS).input for call in partial),
        (*priced, *sums),
        embeddings,
    )


def _is_free(span: Span) -> bool:
    """Tells whether a call was refused, which costs nothing; one given up may be billed."""
    return span.error is not None and not is_cut_off(span.error)


def _is_uncounted(call: ModelCall) -> bool:
    """Tells whether no tokens are told of a call that had an answer: there is none for no
    tokens."""
    return (call.tokens is None or call.tokens == NO_TOKENS) and not call.has_negatives


def _is_partial(call: ModelCall, span: Span) -> bool:
    """Tells whether a call used more than was counted: all that has an answer was given
    something."""
    tokens = call.tokens
    half = tokens is not None and (tokens.input == 0) != (tokens.output == 0)
    return call.partial or (half and span.error is None and not call.has_negatives)


def cannot_be(call: ModelCall) -> bool:
    """Tells whether no model can have used as many tokens as are told of `call`."""
    return call.has_negatives or (call.tokens is not None and contradicts_itself(call.tokens))


def contradicts_itself(tokens: Tokens) -> bool:
    """Tells whether a part is larger than the whole, or the whole than any model can take."""
    return (
        tokens.cache_read + tokens.cache_write > tokens.input
        or tokens.reasoning > tokens.output
        or tokens.cache_write_1h > tokens.cache_write
        or max(tokens.input, tokens.output) > _MOST_TOKENS
    )


_MOST_TOKENS: Final = 100_000_000
_LEAST_NS: Final = 3_000_000
"""The way to a model and back takes longer."""
_LEAST_NS_PER_TOKEN: Final = 25_000
"""No model writes 40,000 tokens in a second."""


def is_hasty(call: ModelCall, duration_ns: int) -> bool:
    """Tells whether a call with an answer took less time than any model needs for it: its span was
    not open while the model worked."""
    written = call.tokens.output if call.tokens is not None else 0
    return written > 0 and duration_ns < max(_LEAST_NS, written * _LEAST_NS_PER_TOKEN)


def _sums(trace: Trace, calls: Mapping[int, ModelCall]) -> tuple[dict[int, ModelCall], set[int]]:
    """Finds the steps whose sums count, as they say more than all that lies in them, and the calls
    that are in these sums."""
    spans, parents = trace.spans, trace.parents
    below: dict[int, Tokens] = {}
    """What lies in a span and was counted; the others have no entry."""
    unsaid: set[int] = set()
    """Spans in which a call lies that says nothing."""
    by_calls: set[int] = set()
    """Spans in which a call lies that says what it used."""
    chosen: dict[int, ModelCall] = {}
    order, ordered = trace.top_down(), list(calls)
    for i in reversed(order):
        call, step = calls.get(i), spans[i].repeats
        if call is not None:
            if not _is_uncounted(call):
                below[i] = below.get(i, NO_TOKENS) + (call.tokens or NO_TOKENS)
                by_calls.add(i)
            elif not _is_free(spans[i]):
                unsaid.add(i)
        elif step is not None and not _is_uncounted(step):
            said, inside = step.tokens or NO_TOKENS, below.get(i)
            if inside is None:
                takes = i in unsaid or not _is_told_beside(trace, i, calls, ordered)
            else:
                takes = said.input >= inside.input and said.output >= inside.output
                takes = takes and (i in unsaid or i not in by_calls)
            if takes:
                chosen[i], below[i] = step, said
                unsaid.discard(i)
        parent = parents[i]
        if parent != NO_SPAN:
            if i in below:
                below[parent] = below.get(parent, NO_TOKENS) + below[i]
            if i in unsaid:
                unsaid.add(parent)
            if i in by_calls:
                by_calls.add(parent)
    covered: set[int] = set()
    for i in order:
        if parents[i] in covered or parents[i] in chosen:
            covered.add(i)
    sums = {
        # What only one reply says was written onto the step by each, and the last is left.
        i: replace(step, partial=True, partial_input=True) if step.response_id is not None else step
        for i, step in chosen.items()
        if i not in covered
    }
    return sums, covered & calls.keys()


_MOST_COMPARED: Final = 64


def _is_told_beside(
    trace: Trace, step: int, calls: Mapping[int, ModelCall], ordered: Sequence[int]
) -> bool:
    """Tells whether calls that lie in the time of `step` but not below it say what they used: some
    emitters lose what is around a call. `ordered` are the numbers of `calls` in order of start."""
    spans, parents = trace.spans, trace.parents
    start_ns, end_ns = spans[step].start_ns, spans[step].ended_ns
    first = bisect_left(ordered, start_ns, key=lambda i: spans[i].start_ns)
    for i in ordered[first : first + _MOST_COMPARED]:
        if spans[i].start_ns > end_ns:
            break
        beside = parents[i] in (parents[step], NO_SPAN)
        if beside and spans[i].ended_ns <= end_ns and not _is_uncounted(calls[i]):
            return True
    return False


def _added(counts: Sequence[Tokens]) -> Tokens:
    if not counts:
        return NO_TOKENS
    return Tokens(
        sum([count.input for count in counts]),
        sum([count.output for count in counts]),
        sum([count.cache_read for count in counts]),
        sum([count.cache_write for count in counts]),
        sum([count.reasoning for count in counts]),
        sum([count.cache_write_1h for count in counts]),
    )


def _turns(trace: Trace, calls: dict[int, ModelCall]) -> int:
    """Counts turns: as our own plugin did, else the calls with the fewest tools and agents around
    them."""
    counted = {call.turn for call in calls.values() if call.turn is not None}
    if counted:
        return max(counted)
    if not calls:
        return 0
    depth: dict[int, int] = {NO_SPAN: 0}
    for i in calls:
        path = []
        while i not in depth:  # every span is passed once
            path.append(i)
            i = trace.parents[i]
        for passed in reversed(path):
            depth[passed] = depth[i] + (trace.spans[passed].category == "tool")
            i = passed
    depths = [depth[i] for i in calls]
    return depths.count(min(depths))
