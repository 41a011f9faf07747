"""Whether one call needed what an earlier one returned: yes, no, or nobody can tell.

Links and equal digests come first: they say yes, and where every text of 40 bytes would have
been found again, their absence says no (`data_flow`). Then content, where it was recorded: a value
of eight or more characters that stands in a result and in a later argument is a dependency; a plain
word is none unless it is all of an argument, nor is what the earlier call was given itself. Then
what other runs did: an order that one run broke is no dependency (The Mystery Machine infers all
its edges so; here it is the last resort, and never called proof).

What nobody can see is an answer that decided, in the code that made the calls, whether the next one
was made. So a call that asks again what an earlier one was asked, or follows one that failed, is
not called independent of it.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final, Literal

import msgspec
from msgspec import Struct

from causepath_analyzer.analyses.data_flow import DataFlow
from causepath_analyzer.model import NO_SPAN, Content, Span, Trace

Level = Literal["proved", "likely", "unknown", "dependent"]
"""How well it is known that a call is independent of an earlier one."""

_LONG: Final = 8
_RECOGNISED: Final = 40
"""Bytes of a text that is found again wherever it is handed on, if blocks are told: the emitter
looks for equal blocks, and for lines and sentences of 32 bytes without what is around them."""
_WORDS: Final = re.compile(r"[^\s\"'(){}\[\],;<>|]+")
_PLAIN_WORD: Final = re.compile(r"[^\W\d_]+[.:!?]?\Z")
_MOST_OPERATIONS: Final = 24
_COMPARED: Final = 256
"""Texts at hand at once, each of 64 KB at the most: as many as calls that are compared."""


class Elsewhere(Struct, frozen=True):
    """What other runs show of two operations, named by category, name and line of code.

    ``broken``: orders that some run broke, ``(a, b)`` if *b* started before *a* had ended, came
    first, or came without *a*. ``needed``: *b* was given something that *a* had returned.
    """

    broken: frozenset[tuple[str, str]] = frozenset()
    needed: frozenset[tuple[str, str]] = frozenset()


NOWHERE: Final = Elsewhere()


class Orders(Struct):
    """What runs show about the orders of the calls in them, gathered run by run.

    ``broken`` and ``needed`` are pairs as in `Elsewhere`, of calls of one run. ``beside[a]`` are
    the operations that every run with *a* had: of the other ``known`` ones some run had none.
    """

    runs: int = 0
    known: set[str] = set()
    broken: set[tuple[str, str]] = set()
    needed: set[tuple[str, str]] = set()
    beside: dict[str, set[str]] = {}

    def add(self, trace: Trace) -> None:
        """Gathers what `trace` shows."""
        if trace.untrusted:
            return
        overlaps, firsts = _firsts(trace)
        self.runs += 1
        self.known.update(firsts)
        self.broken |= overlaps
        self.needed |= _needed(DataFlow(trace))
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
        self._had(other.beside)

    def _had(self, beside: Mapping[str, set[str]]) -> None:
        for key, others in beside.items():
            self.beside[key] = self.beside[key] & others if key in self.beside else others

    def elsewhere(self) -> Elsewhere:
        """What all of them show; a single run shows nothing."""
        if self.runs < 2:
            return NOWHERE
        broken = set(self.broken)
        if len(self.known) <= _MOST_OPERATIONS:
            for later, beside in self.beside.items():
                broken.update((earlier, later) for earlier in self.known - beside)
        return Elsewhere(frozenset(broken), frozenset(self.needed))


def elsewhere(traces: Iterable[Trace]) -> Elsewhere:
    """What all of `traces` show about the orders of the calls in them."""
    orders = Orders()
    for trace in traces:
        orders.add(trace)
    return orders.elsewhere()


def and_here(others: Elsewhere, flow: DataFlow) -> Elsewhere:
    """`others`, and what the trace itself shows that calls needed."""
    needed = _needed(flow)
    return Elsewhere(others.broken, others.needed | needed) if needed else others


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
        for source in flow.sources(i):
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
    return f"{span.category}:{name}@{span.where or ''}"


def level(
    flow: DataFlow,
    earlier: int,
    later: int,
    others: Elsewhere,
    *,
    asked_for: bool = False,
    in_loop: bool = False,
    since: int | None = None,
) -> Level:
    """How well it is known that `later` needed nothing of `earlier`, which had ended before.

    If a model has `asked_for` both, it has seen what the earlier one returned; then only what the
    later one was given itself counts. If they are made `in_loop`, for one item after the other,
    digests and links are proof enough; of any other two calls the later one may well have been
    given a word of the earlier answer, too short to be found. Of many calls that are compared,
    `since` is the first: what reached a call is then looked for once.
    """
    trace = flow.trace
    spans = trace.spans
    first, second = spans[earlier], spans[later]
    reached = (
        flow.sources(later)
        if asked_for
        else flow.reached(later, earlier if since is None else since)
    )
    if earlier in reached:
        return "dependent"
    one, other = first.tool_call, second.tool_call
    if one is not None and other is not None:
        needs = depends(one.arguments, one.result, other.arguments)
        if needs is not None:
            return "dependent" if needs else "proved"
    if first.model_call is not None and "tool_call" in first.model_call.finish_reasons:
        return "dependent"
    if in_loop and first.error is None and _told_apart(flow, earlier, later):
        return "unknown" if _has(others.needed, trace, earlier, later) else "proved"
    if first.model_call is not None and second.model_call is not None:
        begins = flow.opening(earlier)
        if begins is None or begins == flow.opening(later) or first.where is None:
            return "unknown"
    return "likely" if _has(others.broken, trace, earlier, later) else "unknown"


def _has(pairs: frozenset[tuple[str, str]], trace: Trace, earlier: int, later: int) -> bool:
    return bool(pairs) and (key_of(trace, earlier), key_of(trace, later)) in pairs


def _told_apart(flow: DataFlow, earlier: int, later: int) -> bool:
    """Whether something that `earlier` returned would have been found in what `later` was given,
    if it had been handed on, and what they were given is not the same."""
    if not flow.searched(later) or not _recognisable(flow, earlier):
        return False
    given = flow.given(later)
    return given is None or flow.given(earlier) != given


def _recognisable(flow: DataFlow, span: int) -> bool:
    """Whether what `span` returned is found again where it is handed on: it was, or it is long and
    nobody else answered the same, as what is common is not looked for."""
    if flow.recognised(span):
        return True
    call = flow.trace.spans[span].model_call
    if call is None or call.blocks is None:
        return False
    texts = [block for block in call.blocks.answered if block.kind == "text"]
    return bool(texts) and all(
        block.size >= _RECOGNISED and flow.authors(block.digest) == 1 for block in texts
    )


def depends(given: Content | None, result: Content | None, later: Content | None) -> bool | None:
    """Whether the arguments `later` hold something of `result`, which was returned for `given`.

    ``None`` where a text is not known, or too short or too plain to tell.
    """
    if result is None or later is None:
        return None
    if later.digest == result.digest:
        return True
    returned, asked = _text(result), _text(later)
    if returned is None or asked is None:
        return None
    known = (given is not None and _text(given)) or ""
    searched = _as_read(returned)
    unsure = False
    for value in _values(asked):
        if value in known:
            continue
        if len(value) < _LONG or (_PLAIN_WORD.match(value) and value.islower()):
            unsure = unsure or _is_word_of(value, searched)
        elif value in searched or any(
            word in searched and word not in known for word in _telling(value)
        ):
            return True
    asked = _as_read(asked)
    if any(
        len(value) >= _LONG and value in asked and value not in known
        for value in _values(returned)
        if not _PLAIN_WORD.match(value)
    ):
        return True
    return None if unsure else False


def _text(content: Content) -> str | None:
    if content.text is not None or content.packed is None:
        return content.text
    return _unpacked(content.packed)


@lru_cache(maxsize=_COMPARED)
def _unpacked(packed: bytes) -> str:
    import zstandard  # only traces with long results wait for it

    return zstandard.ZstdDecompressor().decompress(packed).decode("utf-8", "surrogatepass")


@lru_cache(maxsize=_COMPARED)
def _as_read(text: str) -> str:
    """`text`, and without the escapes of JSON where there are some."""
    return "\n".join((text, *_values(text))) if "\\" in text else text


@lru_cache(maxsize=_COMPARED)
def _values(text: str) -> tuple[str, ...]:
    """The values in JSON `text`, as texts; any other text is one value."""
    found: list[str] = []
    try:
        waiting = [msgspec.json.decode(text.encode("utf-8", "surrogatepass"))]
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        waiting = [text]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str):
            if value.strip():
                found.append(value.strip())
        elif value is not None and not isinstance(value, bool):
            found.append(str(value))
    return tuple(found)


def _telling(value: str) -> Sequence[str]:
    """The parts of `value` that are long enough to tell, and no plain words."""
    return [
        word for word in _WORDS.findall(value) if len(word) >= _LONG and not _PLAIN_WORD.match(word)
    ]


def _is_word_of(value: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text) is not None


def worst(levels: Iterable[Level]) -> Level:
    """The least that is known of several calls."""
    order: Sequence[Level] = ("proved", "likely", "unknown", "dependent")
    return max(levels, key=order.index, default="proved")


def effects(trace: Trace, spans: Iterable[int]) -> str:
    """A sentence on what `spans` may change, which names those that may; look-ups change nothing.

    Empty where there is no tool among them.
    """
    tools = [tool for i in spans if (tool := _tool(trace.spans[i])) is not None]
    writers = list(dict.fromkeys(name for name, reads in tools if not reads))
    if not tools:
        return ""
    if not writers:
        return "All are marked read-only."
    if len(writers) == 1:
        if sum(not reads for _, reads in tools) > 1:
            return f"{writers[0]} may write; whether to the same place is not in the trace."
        if len(tools) == 1:
            return ""
        return f"Only {writers[0]} may write; whether another one reads it is not in the trace."
    return f"{listed(writers)} may write; whether to the same place is not in the trace."


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
    """The first line of code that is known among `spans`."""
    return next((w for i in spans if i != NO_SPAN and (w := trace.spans[i].where)), None)
