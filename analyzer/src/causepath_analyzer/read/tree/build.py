"""The spans of one trace become one tree, repaired once, in the order that `build` lists."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from causepath_analyzer.model import LATE, NO_SPAN, TASKS, Health, Span, Trace
from causepath_analyzer.read.tree.lost_roots import hung_below
from causepath_analyzer.read.tree.merge_records import Layers, merge, top_down
from causepath_analyzer.read.tree.rounding import resolution_ns, straightened
from causepath_analyzer.read.tree.run_end import run_end

_MOST_STEPS: Final = 20_000_000
"""Ancestors looked at in one trace; no real one comes near, and a hostile one must end."""
_FLUSH_NS: Final = 5_000_000
_FLUSH_WALL_NS: Final = 100_000_000
_FLUSH_LEAVES: Final = 3


class Counts(Struct):
    duplicates: int = 0
    halves: int = 0
    orphans: int = 0
    cycles: int = 0
    unfinished: int = 0
    skewed: int = 0
    negative: int = 0
    rehung: int = 0
    lost: int = 0
    streamed_ns: int = 0


NOT_JOINED: Final[Mapping[str, str]] = {}


def build(spans: Sequence[Span], origins: Mapping[str, str] = NOT_JOINED) -> Trace:
    """Builds the trace of `spans`, which all have one trace id. There is at least one.

    Of a run in several traces, `origins` says for each span id from which of them the span is.

    Repairs, in this order:

    1. an end before its start becomes the start;
    2. of a repeated id the record with the latest end stays, of equals the first; but the two
       halves of one call, as Zipkin's clients and servers share its id, both stay, the server's
       below the client's;
    3. a parent that is absent, or the span itself, makes a root;
    4. in a cycle the member with the smallest (start, id) becomes a root;
    5. a span without an end gets the start of its next sibling, else the end of its parent, from
       the top down, and at least that of its latest descendant;
    6. a child on another host that starts before its parent, or that is not inside the CLIENT
       which called it and not longer, is shifted, with all that is below it on that host, into
       the middle of its parent (as Jaeger does);
    7. a span wholly outside its parent hangs on the nearest ancestor that covers its start; a
       consumer, and the work of a root that itself did none, becomes a root;
    8. what starts cut to milliseconds did to the order of spans is undone (see `rounding`).

    Then calls that several emitters recorded become one call each (see `layers`), roots that were
    lost hang below the span around them (see `lost_roots`), and the run's end is found (see
    `run_end`): a root whose last reply was still being read lasts as long as that.
    """
    counts = Counts()
    tree = well_formed(spans)
    kept, parents = tree if tree is not None else mended(spans, counts)
    straight = straightened(kept, parents)
    if straight is not None:
        kept, parents = _sorted_again(straight, parents)
    layers = merge(kept, parents)
    kept, parents = layers.spans, layers.parents
    children, roots = _children(parents)
    clock_ns = resolution_ns(kept)
    if len(roots) > 1:
        counts.lost = hung_below(kept, parents, children, roots, clock_ns, origins)
        if counts.lost:
            children, roots = _children(parents)
    ends = list(map(_END, kept))
    untrusted = _ended_by_a_flush(kept, children, ends)
    last_ns = max(ends)
    end = run_end(kept, ends, children, roots)
    counts.streamed_ns = end.streamed_ns
    for i in end.longer:
        kept[i] = replace(kept[i], end_ns=ends[i])
    return Trace(
        trace_id=kept[0].trace_id,
        spans=tuple(kept),
        parents=tuple(parents),
        children=children,
        roots=roots,
        start_ns=kept[0].start_ns,
        end_ns=end.end_ns,
        background=end.background,
        after_ns=last_ns - end.end_ns,
        resolution_ns=clock_ns,
        merges=layers.merges,
        untrusted=untrusted,
        health=Health(
            spans=len(kept) - counts.halves,
            merged=len(layers.merges),
            duplicates=counts.duplicates,
            orphans=counts.orphans,
            cycles=counts.cycles,
            unfinished=counts.unfinished,
            skewed=counts.skewed,
            negative=counts.negative,
            rehung=counts.rehung + layers.hung,
            notes=_notes(counts, layers, untrusted),
        ),
    )


def well_formed(spans: Sequence[Span]) -> tuple[list[Span], list[int]] | None:
    """Builds the tree of spans that need no repair, in one pass; ``None`` if any may need one.

    Every span has ended, its id is its own, its parent is here, begins before it and is still
    there when it begins, and on another host also when it ends.
    """
    kept = sorted(spans, key=_START)
    number: dict[str, int] = {}
    parents: list[int] = []
    ends: list[int] = []
    latest_ns: int | None = None
    for i, span in enumerate(kept):
        start_ns, end_ns, above = span.start_ns, span.end_ns, span.parent_id
        if end_ns is None or end_ns < start_ns:
            return None
        if start_ns == latest_ns and span.span_id < kept[i - 1].span_id:
            return well_formed(sorted(spans, key=_ORDER))
        parent = NO_SPAN
        if above:
            parent = number.get(above, NO_SPAN)
            if parent == NO_SPAN or ends[parent] <= start_ns:
                return None
            if end_ns > ends[parent] and span.host != kept[parent].host:
                return None
        number[span.span_id] = i
        parents.append(parent)
        ends.append(end_ns)
        latest_ns = start_ns
    return (kept, parents) if len(number) == len(kept) else None


def mended(spans: Sequence[Span], counts: Counts) -> tuple[list[Span], list[int]]:
    """Builds the tree of any spans, after the repairs that `build` lists."""
    kept = _without_duplicates([_ended(span, counts) for span in spans], counts)
    kept.sort(key=_ORDER)
    parents = _parents(kept, counts)
    order = _broken_cycles(parents, counts)
    if counts.unfinished:
        _finish(kept, parents, order)
    if _shift(kept, parents, order, counts):
        kept, parents = _sorted_again(kept, parents)
        order = top_down(parents)
    _rehang(kept, parents, order, counts)
    return kept, parents


_START: Final[Callable[[Span], int]] = attrgetter("start_ns")
_END: Final[Callable[[Span], int]] = attrgetter("end_ns")
_ORDER: Final[Callable[[Span], tuple[int, str]]] = attrgetter("start_ns", "span_id")


def _ended(span: Span, counts: Counts) -> Span:
    if span.end_ns is None:
        return span
    if span.end_ns < span.start_ns:
        counts.negative += 1
        return replace(span, end_ns=span.start_ns)
    return span


def _without_duplicates(spans: list[Span], counts: Counts) -> list[Span]:
    by_id: dict[str, Span] = {}
    clients: dict[str, Span] = {}
    for span in spans:
        known = by_id.setdefault(span.span_id, span)
        if known is span:
            continue
        if _is_half_of(span, known):
            # What the call caused hangs on its id, and the server caused it.
            client, by_id[span.span_id] = (known, span) if span.kind == "server" else (span, known)
            earlier = clients.setdefault(span.span_id, client)
            if earlier is not client:
                counts.duplicates += 1
                clients[span.span_id] = max(earlier, client, key=_latest_end)
            continue
        counts.duplicates += 1
        if _latest_end(span) > _latest_end(known):
            by_id[span.span_id] = span
    for span_id, client in clients.items():
        half = replace(client, span_id=f"{span_id}-client")
        by_id[span_id] = replace(by_id[span_id], parent_id=half.span_id)
        by_id[half.span_id] = half
        counts.halves += 1
    return list(by_id.values())


def _is_half_of(span: Span, other: Span) -> bool:
    return (span.kind, other.kind) in (("client", "server"), ("server", "client"))


def _latest_end(span: Span) -> tuple[bool, int]:
    """Sorts records of one span: a record without an end is an early copy of one that has it."""
    return span.end_ns is not None, span.ended_ns


def _parents(spans: list[Span], counts: Counts) -> list[int]:
    number = {span.span_id: i for i, span in enumerate(spans)}
    parents = []
    for i, span in enumerate(spans):
        parent = number.get(span.parent_id, NO_SPAN) if span.parent_id else NO_SPAN
        if parent == i:
            counts.cycles += 1
            parent = NO_SPAN
        elif parent == NO_SPAN and span.parent_id:
            counts.orphans += 1
        counts.unfinished += span.end_ns is None
        parents.append(parent)
    return parents


def _broken_cycles(parents: list[int], counts: Counts) -> list[int]:
    """Makes a root of the first member of every cycle; gives all spans, parents first."""
    order = top_down(parents)
    if len(order) == len(parents):
        return order
    on_a_root = set(order)
    for i in range(len(parents)):
        path: list[int] = []
        while i not in on_a_root:
            on_a_root.add(i)
            path.append(i)
            i = parents[i]
        if path and i in path:
            # Spans are numbered in order of (start, id).
            parents[min(path[path.index(i) :])] = NO_SPAN
            counts.cycles += 1
    return top_down(parents)


def _finish(spans: list[Span], parents: list[int], order: list[int]) -> None:
    """Gives spans without an end one: what came next, or what is around them, tells when."""
    last_ns = max(span.ended_ns for span in spans)
    recorded = [span.ended_ns for span in spans]
    for i in reversed(order):
        if parents[i] != NO_SPAN and spans[parents[i]].end_ns is None:
            recorded[parents[i]] = max(recorded[parents[i]], recorded[i])
    next_ns: dict[int, int] = {}
    following: dict[
        int, tuple[int, int]
    ] = {}  # by parent: the latest start seen, and the one after
    for i in range(len(spans) - 1, -1, -1):
        parent, start_ns = parents[i], spans[i].start_ns
        if parent == NO_SPAN:
            continue
        near_ns, far_ns = following.get(parent, (last_ns + 1, last_ns + 1))
        if start_ns != near_ns:
            near_ns, far_ns = start_ns, near_ns
            following[parent] = near_ns, far_ns
        if spans[i].end_ns is None:
            next_ns[i] = far_ns
    for i in order:
        if spans[i].end_ns is None:
            parent = parents[i]
            limit_ns = spans[parent].ended_ns if parent != NO_SPAN else last_ns
            end_ns = max(min(next_ns.get(i, limit_ns), limit_ns), recorded[i])
            spans[i] = replace(spans[i], end_ns=end_ns, left_open=True)


def _shift(spans: list[Span], parents: list[int], order: list[int], counts: Counts) -> bool:
    """Mends clock skew between hosts. Inside one host a child's time is what it says."""
    shift_ns = [0] * len(spans)
    for i in order:
        parent = parents[i]
        if parent == NO_SPAN:
            continue
        above, span = spans[parent], spans[i]
        if above.host == span.host:
            shift_ns[i] = shift_ns[parent]
            continue
        start_ns = above.start_ns + shift_ns[parent]
        slack_ns = above.duration_ns - span.duration_ns
        late = span.ended_ns > start_ns + above.duration_ns
        # A server a little longer than its client was closed late; a much longer one goes on.
        fits = slack_ns >= -span.duration_ns // LATE
        if span.start_ns < start_ns or (late and above.kind == "client" and fits):
            shift_ns[i] = start_ns + max(0, slack_ns // 2) - span.start_ns
    for i, by_ns in enumerate(shift_ns):
        if by_ns:
            span = spans[i]
            counts.skewed += 1
            spans[i] = replace(span, start_ns=span.start_ns + by_ns, end_ns=span.ended_ns + by_ns)
    return counts.skewed > 0


def _sorted_again(spans: list[Span], parents: list[int]) -> tuple[list[Span], list[int]]:
    order = sorted(range(len(spans)), key=lambda i: _ORDER(spans[i]))
    number = {old: new for new, old in enumerate(order)}
    number[NO_SPAN] = NO_SPAN
    return [spans[i] for i in order], [number[parents[i]] for i in order]


def _rehang(spans: list[Span], parents: list[int], order: list[int], counts: Counts) -> None:
    steps = 0
    outside = [i for i in order if parents[i] != NO_SPAN and _outside(spans[i], spans[parents[i]])]
    worked: Worked | None = None
    for i in outside:
        parent = above = parents[i]
        while above != NO_SPAN and not _covers_start(spans[above], spans[i]):
            steps += 1
            parent, above = above, parents[above] if steps < _MOST_STEPS else NO_SPAN
        if above == NO_SPAN and spans[i].start_ns >= spans[parent].ended_ns:
            worked = worked or Worked(spans, parents, order)
            if spans[i].kind != "consumer" and not worked.only_after(i, parent):
                continue  # what goes on after the run has ended
        parents[i] = above
        counts.rehung += 1


class Worked:
    """The spans that are, or hold, a task: what an agent waits for."""

    def __init__(self, spans: Sequence[Span], parents: Sequence[int], order: Sequence[int]) -> None:
        self._holds = [span.category in TASKS for span in spans]
        self._any = any(self._holds)
        self._in_time = [False] * len(spans)  # by root: whether a task began before it ended
        root = list(range(len(spans)))
        for i in order:
            parent = parents[i]
            if parent != NO_SPAN:
                root[i] = root[parent]
            if self._holds[i] and spans[i].start_ns < spans[root[i]].ended_ns:
                self._in_time[root[i]] = True
        for i in reversed(order):
            if self._holds[i] and parents[i] != NO_SPAN:
                self._holds[parents[i]] = True

    def only_after(self, span: int, root: int) -> bool:
        """Tells whether `span`, which begins after `root` has ended, is the work that `root` was
        for.

        It is if it has tasks and `root` had none; in a trace of services, whoever goes on does.
        """
        return (self._holds[span] and not self._in_time[root]) or not self._any


def _outside(span: Span, parent: Span) -> bool:
    """Tells whether the two have no instant in common; a span without length may touch its
    parent."""
    if span.start_ns == span.ended_ns:
        return not parent.start_ns <= span.start_ns <= parent.ended_ns
    return span.start_ns >= parent.ended_ns or span.ended_ns <= parent.start_ns


def _covers_start(ancestor: Span, span: Span) -> bool:
    if span.start_ns == span.ended_ns:
        return ancestor.start_ns <= span.start_ns <= ancestor.ended_ns
    return ancestor.start_ns <= span.start_ns < ancestor.ended_ns


def _children(
    parents: Sequence[int],
) -> tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]:
    """Groups the children of every span, in order, and the roots."""
    roots: list[int] = []
    below: dict[int, list[int]] = {}
    for i, parent in enumerate(parents):
        if parent == NO_SPAN:
            roots.append(i)
        elif parent in below:
            below[parent].append(i)
        else:
            below[parent] = [i]
    children: list[tuple[int, ...]] = [()] * len(parents)
    for parent, found in below.items():
        children[parent] = tuple(found)
    return tuple(children), tuple(roots)


def _ended_by_a_flush(
    spans: list[Span], children: tuple[tuple[int, ...], ...], ends: list[int]
) -> bool:
    """Tells whether all spans were ended by one flush, so that no duration means anything.

    A chain of nested calls ends all at once by right: only several leaves that started far apart
    and end together give a flush away.
    """
    if max(ends) - min(ends) > _FLUSH_NS:
        return False
    starts = [span.start_ns for span, below in zip(spans, children, strict=True) if not below]
    wall_ns = max(ends) - spans[0].start_ns
    return (
        len(starts) >= _FLUSH_LEAVES
        and wall_ns >= _FLUSH_WALL_NS
        and max(starts) - min(starts) >= wall_ns // 2
    )


def _notes(counts: Counts, layers: Layers, untrusted: bool) -> tuple[str, ...]:
    told: Iterable[tuple[int, str, str]] = (
        (counts.negative, "span ended before it started", "spans ended before they started"),
        (
            counts.rehung,
            "span ran wholly outside its parent and hangs higher up",
            "spans ran wholly outside their parents and hang higher up",
        ),
        (
            layers.hung,
            "step of an agent was written beside it and hangs below it",
            "steps of agents were written beside them and hang below them",
        ),
        (
            counts.lost,
            "span without a parent hangs below the span in whose time it lies",
            "spans without a parent hang below the spans in whose time they lie",
        ),
    )
    notes = [f"{n} {one if n == 1 else many}" for n, one, many in told if n]
    notes.extend(_disagreement(layers))
    if counts.streamed_ns:
        notes.append(
            f"the run's span ended while a call in it went on: the run is taken to be "
            f"{_seconds(counts.streamed_ns)} longer"
        )
    if untrusted:
        notes.append("all spans end within 5 ms of each other: their durations mean nothing")
    return tuple(notes)


def _seconds(ns: int) -> str:
    return f"{ns / 1e9:.2f} s" if ns >= 10_000_000 else f"{ns / 1e6:.3g} ms"


def _disagreement(layers: Layers) -> Iterable[str]:
    """Writes one note on the calls whose records have different counts of tokens."""
    found = [
        f"{m.kept_tokens.input:,}/{m.kept_tokens.output:,} and "
        f"{m.merged_tokens.input:,}/{m.merged_tokens.output:,}"
        for m in layers.merges
        if m.tokens_disagree and m.kept_tokens is not None and m.merged_tokens is not None
    ]
    if found:
        many = "calls were" if len(found) > 1 else "call was"
        shown = "; ".join(found[:2]) + (f"; {len(found) - 2} more" if len(found) > 2 else "")
        yield f"{len(found)} model {many} recorded twice with other tokens: {shown}"
        yield "  (in/out; the inner record, nearest to the wire, is counted)"
    for told, whole in layers.other_sums()[:2]:
        yield (
            f"a step says its calls used {told.input:,}/{told.output:,} tokens, "
            f"they say {whole.input:,}/{whole.output:,} (counted)"
        )
