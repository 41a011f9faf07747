"""A trace as a schedule that can be run again, so that a change has consequences.

Every span has two events, its start and its end. An event happens a gap after the latest of its
gates: events that had happened before it and that it can have been held by. Gaps are somebody's
own time: the gap before a start is the parent's, the gap before an end the span's own:

    agent  |..|--A--|....|--C--|...|     C starts 4 after A and B have ended, as nothing else ran;
               |--B--|                   the agent ends 3 after C

Running the schedule takes every event after its gates and adds its gap. Unchanged, this gives every
time of the trace back to the nanosecond, which is checked by tests on every trace there is. What an
edit changes are gates, gaps and slots (`Changes`); everything behind them follows.

Which gates hold a span, in the tree that causes corrected:

- Siblings that had ended when it started. If nothing of its family was running then, all of them
  did; else it goes on where the latest of them ended, in its lane, and the others do not hold it.
- What its links, ids and answers name, wherever that is: a call waits for the results it carries.
- A tool that starts while the reply that asked for it still streams is held by the start of that
  call alone, and its offset is the model's time. A call that ends before the tools it holds open
  does is no exception: the end of a span is held by all children that ended within it.
- A span that only waits ends a gap after the sibling that it waited for; polls before hold nobody.
- Of tools that one reply asked for, no more run at once than did, in their order: where that was
  fewer than all, they wait for a free slot.
- What was waited for although it ended later (see `waiting`) holds what came next by an event of
  its own: a span that was closed late by its end, less what it was late by; one that was cut, as
  its output was used or its reply still read, by its start and what it took until then.
- Children that outlive their parent otherwise do not hold its end.

What others do: Daydream (USENIX ATC '20) and Coz (SOSP '15) answer "what if" for kernels of a GPU
and for lines of code; here the unit is a call, and the orders are those of an agent. The Mystery
Machine (OSDI '14) infers orders from what never happened otherwise in very many traces; here links
and ids say most of them in a single one. CRISP and critical path tracing report the path that was,
and take the time of a span off it as the saving, which is wrong as soon as a second path is near.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from itertools import accumulate
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from causepath_analyzer.analyses.path.causes import Causes
from causepath_analyzer.analyses.path.waiting import Waiting
from causepath_analyzer.model import NO_SPAN, ModelCall, Span, Trace

Gates = tuple[int, ...]
Factor = tuple[int, int]
"""Numerator and denominator."""


class Slot(Struct, frozen=True, gc=False):
    """An event waits until fewer than ``limit`` of the spans that end with ``ends`` run, and then
    for ``gap_ns`` more."""

    limit: int
    ends: Gates
    gap_ns: int = 0


class Turns(Struct, frozen=True):
    """Two calls of one agent with the tools that each asked for."""

    first: int
    between: Sequence[int]
    second: int
    after: Sequence[int]
    beside: bool
    """Whether this agent runs the tools of a reply side by side."""
    generated_ns: int
    """How long the second call took to write, once it had begun to."""
    estimated: bool = False
    """That was worked out from its tokens and the pace of other calls of its model."""


class Schedule(Struct, frozen=True):
    """Events 2*i and 2*i+1 are the start and the end of span *i*; later ones only join others.

    ``times`` are as they were, ``order`` has every event after its gates, an event without gates
    is held by the start of the trace. ``owners[e]`` is the span whose own time ``gaps[e]`` is.
    ``below`` are the children of every span that has some, in the tree that causes corrected,
    ``streamed`` the tools that started while the call that asked for them went on, and whose
    offset is its time; ``waits`` are the spans that only wait.
    """

    trace: Trace
    causes: Causes
    times: Sequence[int]
    order: Sequence[int]
    gates: Sequence[Gates]
    gaps: Sequence[int]
    owners: Sequence[int]
    slots: Mapping[int, Slot]
    below: Mapping[int, Sequence[int]]
    streamed: Mapping[int, Sequence[int]]
    waits: Sequence[int]
    cuts: Mapping[int, Sequence[int]]
    """By model call the events at which what came next no longer waited for its end."""


class Changes(Struct, frozen=True):
    """The changes that one or several edits make to a schedule.

    ``joins[e]``: whoever waits for event *e* waits for these events and so many ns more.
    ``dropped`` spans take no time and are left out of the new trace.
    """

    gates: dict[int, Gates] = {}
    gaps: dict[int, int] = {}
    slots: dict[int, Slot] = {}
    joins: dict[int, tuple[Gates, int]] = {}
    dropped: set[int] = set()
    calls: dict[int, ModelCall] = {}
    """Model calls that become others: for cost, and for where the first token falls."""
    merged: set[int] = set()
    """Model calls whose turn becomes part of another one."""

    @property
    def nothing(self) -> bool:
        return not (self.gates or self.gaps or self.slots or self.joins)


class Replayed(Struct, frozen=True):
    """New starts and ends of all spans."""

    starts_ns: Sequence[int]
    ends_ns: Sequence[int]
    wall_ns: int


def owned_by(plan: Schedule, span: int) -> Sequence[int]:
    """Finds the events whose gaps are own time of `span`."""
    asked = plan.streamed.get(span, ())
    starts = [start_of(i) for i in (*plan.below.get(span, ()), *asked)]
    cuts = plan.cuts.get(span, ())
    return [end_of(span), *cuts, *(event for event in starts if plan.owners[event] == span)]


def start_of(span: int) -> int:
    return 2 * span


def end_of(span: int) -> int:
    return 2 * span + 1


def schedule(trace: Trace, causes: Causes) -> Schedule:
    """Builds the schedule of `trace`, whose `causes` are known."""
    return _Building(trace, causes).schedule()


def replayed(plan: Schedule, changes: Changes | None = None) -> Replayed:
    """Works out all times of `plan` with `changes`."""
    if changes is None or changes.nothing:
        times = _run(plan, 0, plan.gates, plan.gaps, plan.slots, {}, reorder=False)
    else:
        gates, gaps = list(plan.gates), list(plan.gaps)
        for event, new_gates in changes.gates.items():
            gates[event] = new_gates
        for event, gap in changes.gaps.items():
            gaps[event] = gap
        wanted = {**plan.slots, **changes.slots} if changes.slots else plan.slots
        slots = {event: slot for event, slot in wanted.items() if slot.limit <= len(slot.ends)}
        # What comes before the first event that changes is as it was.
        edited = {*changes.gates, *changes.gaps, *changes.slots, *changes.joins}
        first = next(n for n, event in enumerate(plan.order) if event in edited)
        reorder = bool(changes.gates or changes.slots or changes.joins)
        times = _run(plan, first, gates, gaps, slots, changes.joins, reorder=reorder)
    events = 2 * len(plan.trace.spans)
    starts, ends = times[0:events:2], times[1:events:2]
    if changes is not None:
        for i in plan.waits:
            if starts[i] > ends[i]:
                starts[i] = ends[i]  # there was nothing left to wait for
        ends = [max(pair) for pair in zip(starts, ends, strict=True)]  # of what waits in a circle
    last_ns = max(ends[root] for root in plan.trace.roots)
    return Replayed(starts, ends, last_ns - plan.trace.start_ns)


def _run(
    plan: Schedule,
    first: int,
    gates: Sequence[Gates],
    gaps: Sequence[int],
    slots: Mapping[int, Slot],
    joins: Mapping[int, tuple[Gates, int]],
    *,
    reorder: bool,
) -> list[int]:
    """Works out the times of all events; those before the place `first` in the order are taken as
    known.

    With `reorder` gates, slots and joins may name events that came later: these are then taken
    first. Events in a circle come as they came: what held them last does not hold them. The moment
    at which those who wait for an event with a join go on is an event of its own in this, as far
    behind it as there are events.
    """
    origin = plan.trace.start_ns
    order: Sequence[int] = plan.order
    count = len(gates)
    if first == 0:
        times = [origin] * count
        done = bytearray(2 * count)
    else:
        times = list(plan.times)
        done = bytearray(b"\1") * (2 * count)
        order = order[first:]
        for event in order:
            done[event] = done[count + event] = 0
        if not reorder:
            for event in order:
                times[event] = origin
    simple = not slots and not joins
    released = times if simple else list(times)  # when those who wait for an event go on
    for event in order:
        if reorder:
            if done[event]:
                continue
            held_by = gates[event]
            if simple and len(held_by) == 1 and done[held_by[0]]:
                times[event] = times[held_by[0]] + gaps[event]
                done[event] = 1
                continue
            due: Sequence[int] = _due(event, done, gates, slots, joins)
            for now in due:  # until it is known, for those in a circle
                if now < count:
                    times[now] = released[now] = origin
        else:
            due = (event,)
        for now in due:
            if now >= count:
                others, later_ns = joins[now - count]
                latest = max([times[gate] for gate in others]) + later_ns
                released[now - count] = max(times[now - count], latest)
                continue
            held_by = gates[now]
            if len(held_by) == 1:
                at = released[held_by[0]] + gaps[now]
            elif held_by:
                at = max([released[gate] for gate in held_by]) + gaps[now]
            else:
                at = origin + gaps[now]
            if not simple:
                slot = slots.get(now)
                if slot is not None:
                    at = max(at, _free(times, slot) + slot.gap_ns)
                if now not in joins:
                    released[now] = at
            times[now] = at
    return times


def _due(
    event: int,
    done: bytearray,
    gates: Sequence[Gates],
    slots: Mapping[int, Slot],
    joins: Mapping[int, tuple[Gates, int]],
) -> Sequence[int]:
    """Lists everything that `event` depends on and that is not done yet, then `event`; marks all of
    it as done."""
    due: list[int] = []
    looking: set[int] = set()
    stack = [event]
    while stack:
        event = stack[-1]
        if done[event]:
            stack.pop()
        elif event in looking:
            stack.pop()
            done[event] = 1
            due.append(event)
        else:
            looking.add(event)
            needs = _needs(event, gates, slots, joins)
            stack.extend(e for e in needs if not done[e] and e not in looking)
    return due


def _needs(
    event: int,
    gates: Sequence[Gates],
    slots: Mapping[int, Slot],
    joins: Mapping[int, tuple[Gates, int]],
) -> Sequence[int]:
    count = len(gates)
    if event >= count:
        return (event - count, *joins[event - count][0])
    needs: Sequence[int] = gates[event]
    if joins:
        needs = [count + gate if gate in joins else gate for gate in needs]
    if event in slots:
        needs = (*needs, *slots[event].ends)
    return needs


def _free(times: Sequence[int], slot: Slot) -> int:
    """Tells when fewer than ``limit`` of the spans run that came first."""
    return sorted([times[end] for end in slot.ends], reverse=True)[slot.limit - 1]


_FEW: Final = 4
"""So many gates are written out; more are joined by an event of their own."""


class _Building:
    """The gates of every event of one trace."""

    def __init__(self, trace: Trace, causes: Causes) -> None:
        self._trace, self._causes = trace, causes
        count = len(trace.spans)
        self._starts, self._ends = causes.started_ns, causes.ended_ns
        self._background = trace.background
        self._times = [0] * (2 * count)
        self._times[0::2], self._times[1::2] = self._starts, self._ends
        self._gates: list[Gates] = [()] * (2 * count)
        self._gates[1::2] = [(start_of(i),) for i in range(count)]
        self._owners = [NO_SPAN] * (2 * count)
        self._owners[1::2] = range(count)
        self._slots: dict[int, Slot] = {}
        self._held_waits: set[int] = set()
        self._streamed: dict[int, list[int]] = {}
        self._cuts: dict[int, list[int]] = {}
        self._follows_late = True
        self._late = 0

    def schedule(self) -> Schedule:
        trace, causes = self._trace, self._causes
        families: dict[int, list[int]] = {}
        for i, parent in enumerate(causes.parents):
            families.setdefault(parent, []).append(i)
        waits = [i for i, span in enumerate(trace.spans) if span.category == "wait"]
        self._waits = frozenset(waits)
        self._depth = self._depths(families)
        self._waiting = Waiting(
            trace, causes, [families.get(i, ()) for i in range(len(trace.spans))]
        )
        for parent, family in families.items():
            self._family(parent, family)
        self._follow_causes()
        order: Sequence[int] = self._in_time()
        if self._late:
            done = bytearray(len(self._gates))
            order = [e for event in order for e in _due(event, done, self._gates, {}, {})]
            if not self._in_order(order):
                # Late ends and links that hold each other in a circle: the ends are as recorded.
                plain = _Building(trace, causes)
                plain._follows_late = False
                return plain.schedule()
        unlimited = list(self._gates)
        self._limit_tools()
        times, gates = self._times, self._gates
        origin = trace.start_ns
        if self._slots:
            wanted = [
                (*held, *self._slots[e].ends) if e in self._slots else held
                for e, held in enumerate(gates)
            ]
            done = bytearray(len(gates))
            limited = [e for event in order for e in _due(event, done, wanted, {}, {})]
            if self._in_order(limited, wanted):
                order = limited
            else:  # tools that hold each other in a circle share no pool
                self._slots, gates = {}, unlimited
        gaps = [
            time
            - (
                times[held_by[0]]
                if len(held_by) == 1
                else max([times[gate] for gate in held_by])
                if held_by
                else origin
            )
            for time, held_by in zip(times, gates, strict=True)
        ]
        for event, slot in self._slots.items():
            free = _free(times, slot)
            if free > times[event] - gaps[event]:
                # Its gap is behind the slot: the gate itself would have let it start.
                self._slots[event] = replace(slot, gap_ns=times[event] - free)
                gaps[event] = 0
        return Schedule(
            trace,
            causes,
            times,
            order,
            gates,
            gaps,
            self._owners,
            self._slots,
            families,
            self._streamed,
            waits,
            self._cuts,
        )

    def _in_order(self, order: Sequence[int], gates: Sequence[Gates] | None = None) -> bool:
        """Tells whether every event in `order` comes after its gates."""
        place = {event: n for n, event in enumerate(order)}
        held = enumerate(self._gates if gates is None else gates)
        return all(place[gate] < place[event] for event, by in held for gate in by)

    def _depths(self, families: Mapping[int, Sequence[int]]) -> list[int]:
        depth = [0] * len(self._starts)
        waiting = list(families.get(NO_SPAN, ()))
        for i in waiting:
            below = families.get(i)
            if below:
                for child in below:
                    depth[child] = depth[i] + 1
                waiting.extend(below)
        return depth

    def _in_time(self) -> list[int]:
        """Finds all events by time: at one instant ends, from the bottom up, then starts from the
        top.

        The ends of spans without length come after their starts, a join after what it joins.
        """
        starts, ends, depth = self._starts, self._ends, self._depth
        origin = self._trace.start_ns
        deep = max(depth) + 1
        width = 16 * deep
        keys = [0] * len(self._times)
        top, early, late = 8 * deep, 4 * (deep - 1), 4 * (4 * deep - 1)
        keys[0 : 2 * len(starts) : 2] = [
            (start - origin) * width + top + 4 * level
            for start, level in zip(starts, depth, strict=True)
        ]
        keys[1 : 2 * len(starts) : 2] = [
            (end - origin) * width + (early if start != end else late) - 4 * level
            for start, end, level in zip(starts, ends, depth, strict=True)
        ]
        for i in self._held_waits:
            keys[end_of(i)] += 1
        for event in range(2 * len(starts), len(keys)):
            keys[event] = max([keys[gate] for gate in self._gates[event]]) + 2
        return sorted(range(len(keys)), key=keys.__getitem__)

    def _join(self, events: Sequence[int]) -> Gates:
        """Gates that stand for `events`, which are ends of spans."""
        if len(events) <= _FEW:
            return tuple(events)
        self._times.append(max(self._times[event] for event in events))
        self._gates.append(tuple(events))
        self._owners.append(NO_SPAN)
        return (len(self._times) - 1,)

    def _closed_late(self, span: int, at_ns: int) -> Gates:
        """Gates for what came at `at_ns` after `span`, whose end is later than that."""
        self._late += 1
        self._times.append(at_ns)
        self._gates.append((end_of(span),))
        self._owners.append(NO_SPAN)
        return len(self._times) - 1, start_of(span)

    def _cut(self, span: int, at_ns: int) -> Gates:
        """Gates for what went on at `at_ns` with what `span` had put out, though it ended later."""
        self._late += 1
        self._times.append(at_ns)
        self._gates.append((start_of(span),))
        self._owners.append(NO_SPAN)
        event = len(self._times) - 1
        if self._trace.spans[span].category == "llm":
            # Its stream was left open. A tool that was given up took as long as it was waited for.
            self._owners[event] = span
            self._cuts.setdefault(span, []).append(event)
        return (event,)

    def _family(self, parent: int, family: Sequence[int]) -> None:
        """Finds the gates of the children of `parent`, and of its end."""
        starts, ends, gates, owners = self._starts, self._ends, self._gates, self._owners
        base: Gates = () if parent == NO_SPAN else (start_of(parent),)
        if self._in_a_row(parent, family, base):
            return
        if len(family) == 1:
            only = family[0]
            gates[start_of(only)] = self._base(parent, only, base)
            owners[start_of(only)] = parent
            if parent != NO_SPAN and self._waited(only, parent):
                begun = (start_of(parent),) if starts[only] < starts[parent] else ()
                gates[end_of(parent)] = (*begun, end_of(only))
            elif parent != NO_SPAN:
                self._hold_end(parent, family, ())
            return
        soft = () if self._waits.isdisjoint(family) else self._polls(family)
        running: list[tuple[int, bool, int]] = []
        soon: list[tuple[int, int]] = []  # what runs, by when it may be said to have ended
        late: list[tuple[int, int]] = []  # what may be said to have ended, by when it did
        waiting = self._waiting
        phase: Gates = base
        ended: list[int] = []  # events of this phase, latest last, that nobody follows yet
        for i in family:
            start = starts[i]
            while running and (
                running[0][0] < start or (running[0][0] == start and not running[0][1])
            ):
                ended.append(end_of(heappop(running)[2]))
            if running and self._follows_late:
                while soon and soon[0][0] <= start:
                    _, other = heappop(soon)
                    if starts[other] < start < ends[other]:
                        heappush(late, (ends[other], other))
                while late and late[0][0] <= start:
                    heappop(late)
            else:
                soon, late = [], []
            owners[start_of(i)] = parent
            if i in soft:
                gates[start_of(i)] = self._base(parent, i, phase)
                continue
            issuer = self._streaming_issuer(i, running)
            if issuer != NO_SPAN:
                gates[start_of(i)] = (start_of(issuer),)
                owners[start_of(i)] = issuer
                self._streamed.setdefault(issuer, []).append(i)
            elif len(running) == len(late) and (ended or late):
                closed = [gate for _, c in sorted(late) for gate in self._closed_late(c, start)]
                phase = (*self._join(ended), *closed)
                ended, running, soon, late = [], [], [], []
                gates[start_of(i)] = self._base(parent, i, phase)
            elif late and (not ended or late[0][0] - start < start - self._times[ended[-1]]):
                _, other = heappop(late)
                gates[start_of(i)] = self._base(parent, i, self._closed_late(other, start))
            elif ended:
                gates[start_of(i)] = self._base(parent, i, (ended.pop(),))
            else:
                gates[start_of(i)] = self._base(parent, i, phase)
            heappush(running, (ends[i], ends[i] == start, i))
            if len(family) > 1 and i not in self._background:
                heappush(soon, (ends[i] - waiting.late_ns(i), i))
        if parent != NO_SPAN:
            self._hold_end(parent, family, soft)

    def _in_a_row(self, parent: int, family: Sequence[int], base: Gates) -> bool:
        """Does what `_family` does, if the children of `parent` are calls that just follow each
        other.

        So it is most of the time: every one is then held by the end of the one before.
        """
        starts, ends = self._starts, self._ends
        first, last = family[0], family[-1]
        begun = starts[first]
        if parent != NO_SPAN and (begun < starts[parent] or starts[last] >= ends[parent]):
            return False
        for i in family:
            if starts[i] < begun or ends[i] <= starts[i]:
                return False
            begun = ends[i]
        if parent != NO_SPAN and begun > ends[parent]:
            return False
        if self._waits and not self._waits.isdisjoint(family):
            return False
        gates, owners = self._gates, self._owners
        held_by = base
        for i in family:
            gates[2 * i] = held_by
            owners[2 * i] = parent
            held_by = (2 * i + 1,)
        if parent != NO_SPAN:
            gates[end_of(parent)] = (end_of(last),)
        return True

    def _base(self, parent: int, child: int, gates: Gates) -> Gates:
        """Gives `gates` of a child, or what holds it where the times of its parent cannot."""
        if parent == NO_SPAN:
            return gates
        starts = self._starts
        if starts[child] < starts[parent]:
            gates = tuple(e for e in gates if e != start_of(parent))
            while parent != NO_SPAN and starts[child] < starts[parent]:
                parent = self._causes.parents[parent]
            return gates or (() if parent == NO_SPAN else (start_of(parent),))
        if self._ends[parent] <= starts[child] and starts[parent] < self._ends[parent]:
            return (*gates, end_of(parent))
        return gates

    def _waited(self, child: int, parent: int) -> bool:
        """Tells whether `child` had ended when `parent` did."""
        end, parent_end = self._ends[child], self._ends[parent]
        if end != parent_end:
            return end < parent_end
        return self._starts[child] < end or self._starts[parent] == parent_end

    def _hold_end(self, parent: int, family: Sequence[int], soft: Sequence[int] | set[int]) -> None:
        end_ns = self._ends[parent]
        waited = [i for i in family if i not in soft and self._waited(i, parent)]
        late: dict[int, int] = {}
        last = NO_SPAN
        if self._follows_late:
            begun = [
                i for i in family if self._starts[i] < end_ns and self._starts[i] < self._ends[i]
            ]
            begun = [i for i in begun if i not in self._background and i not in soft]
            last = begun[-1] if begun else NO_SPAN
            late = {
                end_of(i): i
                for i in begun
                if self._ends[i] > end_ns >= self._ends[i] - self._waiting.late_ns(i, at_end=True)
            }
        held_by: Gates = ()
        if waited or late:
            loose = dict.fromkeys([*map(end_of, waited), *late])
            for i in (*waited, *late.values()):
                for gate in self._gates[start_of(i)]:
                    loose.pop(gate, None)
                    if gate >= 2 * len(self._starts):
                        for joined in self._gates[gate]:
                            loose.pop(joined, None)
            ended = [event for event in loose if event not in late]
            held_by = self._join(
                sorted(ended, key=self._times.__getitem__) if len(ended) > 1 else ended
            )
            for event, i in late.items():
                if event in loose:
                    held_by = (*held_by, *self._closed_late(i, end_ns))
        still_read = last != NO_SPAN and self._ends[last] > end_ns and end_of(last) not in late
        if still_read and self._waiting.holds_task(last):
            held_by = (*held_by, *self._cut(last, end_ns))
        if not held_by:
            return
        if any(self._starts[i] < self._starts[parent] for i in waited):
            held_by = (start_of(parent), *held_by)  # which these do not have to wait for
        self._gates[end_of(parent)] = held_by

    def _streaming_issuer(self, i: int, running: Sequence[tuple[int, bool, int]]) -> int:
        """Finds the sibling call that asked for tool `i` and goes on while it runs, else
        `NO_SPAN`."""
        if self._trace.spans[i].category != "tool" or not running:
            return NO_SPAN
        issuer = self._causes.issuers[i]
        open_now = [call for _, _, call in running if self._starts[call] < self._starts[i]]
        if issuer in open_now:
            return issuer
        if issuer != NO_SPAN:
            return NO_SPAN
        cut = self._causes.ends_ns
        streams = [c for c in open_now if cut[c] < self._ends[c]]
        return max(streams, key=self._starts.__getitem__, default=NO_SPAN)

    def _polls(self, family: Sequence[int]) -> set[int]:
        """Lets spans that only waited for a sibling be held by its end if they end with it; gives
        the others, which hold nobody."""
        starts, ends, spans = self._starts, self._ends, self._trace.spans
        workers = [i for i in family if spans[i].category != "wait"]
        begun = [starts[i] for i in workers]
        open_until = [*accumulate((ends[i] for i in workers), max)]
        by_end = sorted(workers, key=lambda i: (ends[i], -i))
        ended = [ends[i] for i in by_end]
        soft = set()
        for wait in family:
            if spans[wait].category != "wait":
                continue
            last = NO_SPAN
            place = bisect_right(ended, ends[wait])
            while place and starts[wait] < ended[place - 1] and last == NO_SPAN:
                place -= 1
                i = by_end[place]
                if starts[i] < ends[i] or ends[i] < ends[wait]:
                    last = i
            before = bisect_left(begun, ends[wait])
            if last != NO_SPAN and starts[wait] < ends[wait]:
                self._gates[end_of(wait)] = (end_of(last),)
                self._held_waits.add(wait)
            elif before and open_until[before - 1] > ends[wait]:
                soft.add(wait)
        return soft

    def _follow_causes(self) -> None:
        """Lets links, ids and answers hold across families and lanes."""
        causes, spans = self._causes, self._trace.spans
        for tool, call in enumerate(causes.answered_by):
            if call != NO_SPAN:
                self._also(call, tool, given=True)
        for tool, issuer in enumerate(causes.issuers):
            if issuer != NO_SPAN:
                self._also(tool, issuer)
        linked = [i for i, span in enumerate(spans) if span.links]
        if linked:
            by_id = {span.span_id: i for i, span in enumerate(spans)}
            for i in linked:
                for link in spans[i].links:
                    source = by_id.get(link.span_id, NO_SPAN)
                    if source not in (NO_SPAN, i):
                        self._also(i, source, given=link.why in ("tool_result", "content"))

    def _also(self, span: int, source: int, *, given: bool = False) -> None:
        """Lets `span` start only after `source` has ended, if that is how it was; or, if it was
        `given` what that put out, not before it had that."""
        end, start = self._ends[source], self._starts[span]
        if end > start:
            siblings = self._causes.parents[span] == self._causes.parents[source]
            if given and siblings and self._follows_late and self._starts[source] < start:
                self._given_early(span, source)
            return
        if end == start and self._starts[source] == end:
            return
        gates, event = self._gates[start_of(span)], end_of(source)
        if event in gates or len(gates) == 0:
            if not gates:
                self._gates[start_of(span)] = (event,)
            return
        if len(gates) == 1:
            gate = gates[0]
            # Behind a sibling that itself waited for the source, nothing is added.
            if gate >= 2 * len(self._starts) and event in self._gates[gate]:
                return
        self._gates[start_of(span)] = (*gates, event)

    def _given_early(self, span: int, source: int) -> None:
        held_by = self._gates[start_of(span)]
        known = [
            event
            for gate in held_by
            if gate >= 2 * len(self._starts)
            for event in self._gates[gate]
        ]
        if end_of(source) not in known:  # it was not simply closed late
            self._gates[start_of(span)] = (*held_by, *self._cut(source, self._starts[span]))

    def _limit_tools(self) -> None:
        """Tools of one reply share as many slots as they used, where these were too few for all."""
        for group in tools_of_replies(self._trace, self._causes):
            limit = most_at_once(self._trace, group)
            if not 1 < limit < len(group):
                continue
            ends = tuple(end_of(i) for i in group)
            own = set(ends)
            first = self._gates[start_of(group[0])]
            for place, i in enumerate(group):
                event = start_of(i)
                others = tuple(gate for gate in self._gates[event] if gate not in own)
                self._gates[event] = others or tuple(gate for gate in first if gate not in own)
                if place >= limit:
                    self._slots[event] = Slot(limit, ends[:place])


def tools_of_replies(trace: Trace, causes: Causes) -> Sequence[Sequence[int]]:
    """Tools that one reply asked for and that hang below one span, in order of start."""
    groups: dict[tuple[int, int], list[int]] = {}
    for i, issuer in enumerate(causes.issuers):
        if issuer != NO_SPAN and trace.spans[i].category == "tool":
            groups.setdefault((issuer, causes.parents[i]), []).append(i)
    return [group for group in groups.values() if len(group) > 1]


def most_at_once(trace: Trace, group: Sequence[int]) -> int:
    """Counts how many of the spans in `group`, in order of start, ran at one instant."""
    running: list[int] = []
    most = 0
    for i in group:
        while running and running[0] <= trace.spans[i].start_ns:
            heappop(running)
        heappush(running, trace.spans[i].ended_ns)
        most = max(most, len(running))
    return most


def new_trace(plan: Schedule, changes: Changes, times: Replayed) -> Trace:
    """Builds the trace as it would have been, at which every other analysis can look."""
    trace = plan.trace
    kept = [i for i in range(len(trace.spans)) if i not in changes.dropped]
    if not kept:
        kept = [trace.main_root]
    kept.sort(key=lambda i: (times.starts_ns[i], trace.spans[i].span_id))
    number = {i: n for n, i in enumerate(kept)}
    parents = []
    for i in kept:
        parent = trace.parents[i]
        while parent != NO_SPAN and parent not in number:
            parent = trace.parents[parent]
        parents.append(number[parent] if parent != NO_SPAN else NO_SPAN)
    children: list[list[int]] = [[] for _ in kept]
    roots: list[int] = []
    for n, parent in enumerate(parents):
        (children[parent] if parent != NO_SPAN else roots).append(n)
    spans = tuple(_moved(trace.spans[i], i, changes, times) for i in kept)
    end_ns = max(spans[root].ended_ns for root in roots)
    return replace(
        trace,
        spans=spans,
        parents=tuple(parents),
        children=tuple(tuple(below) for below in children),
        roots=tuple(roots),
        start_ns=min(span.start_ns for span in spans),
        end_ns=end_ns,
        background=frozenset(number[i] for i in trace.background if i in number),
        after_ns=max(0, max(span.ended_ns for span in spans) - end_ns),
    )


def _moved(span: Span, i: int, changes: Changes, times: Replayed) -> Span:
    call = changes.calls.get(i, span.model_call)
    return replace(span, start_ns=times.starts_ns[i], end_ns=times.ends_ns[i], model_call=call)
