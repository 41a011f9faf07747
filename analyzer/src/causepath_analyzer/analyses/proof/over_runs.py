"""What runs do alike: looks that nearly all of them take, and results that come again.

Runs that began with the same prompt do the same because somebody had them do it again: of results
that come again they show nothing.

Gathered run by run and joined in any order; what is known in the end is the same for any split of
the runs. Of a tool with very many calls only those are kept whose arguments have the smallest
digests (as SHARDS does, to tell how often caches are hit): digests are as good as random.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from math import sqrt
from typing import Final
from zlib import crc32

from msgspec import Struct

from causepath_analyzer.analyses.path.data_flow import DataFlow
from causepath_analyzer.analyses.proof.recorded_words import meet, places_of, things_in
from causepath_analyzer.model import Content, ToolCall, Trace

FEWEST_RUNS: Final = 10
"""So many runs have to begin alike before something is usual for them."""
USUAL: Final = 0.8
"""The part of the runs that do what is usual."""
_AT_LEAST: Final = 0.55
"""The part of all runs that surely do it, as those that were seen say: with nine of ten it is more
(by Wilson's interval), with eight of ten it may be every other one."""
_Z: Final = 1.96
_MOST: Final = 128
"""Agents, tools of one, and arguments of one tool; where there are more, nothing is usual."""
_MOST_LOOKS: Final = 10_000
"""Calls of one tool that are kept."""
_MOST_PLACES: Final = 1_000
"""Places that one tool was given."""
_DIGESTS: Final = 1 << 64


class Call(Struct, frozen=True, array_like=True, gc=False):
    """One call of a tool: when it had its result, the digest of that, and in which run."""

    had_ns: int
    result: int
    task: int
    run: int


class Looks(Struct):
    """The calls of one tool, by digests of their arguments. ``below`` bounds the digests that are
    kept, if not all are."""

    calls: dict[int, list[Call]] = {}
    below: int | None = None
    kept: int = 0

    def add(self, arguments: int, call: Call) -> None:
        """Keeps one call."""
        if self.below is None or arguments < self.below:
            self.calls.setdefault(arguments, []).append(call)
            self.kept += 1
            if self.kept > 2 * _MOST_LOOKS:
                self.cut()

    def join(self, other: "Looks") -> None:
        """Keeps the calls of `other` as well."""
        if other.below is not None:
            self._only_below(other.below)
        for arguments, calls in other.calls.items():
            if self.below is None or arguments < self.below:
                self.calls.setdefault(arguments, []).extend(calls)
                self.kept += len(calls)
        if self.kept > 2 * _MOST_LOOKS:
            self.cut()

    def cut(self) -> None:
        """Drops the calls with the largest digests until there are few enough."""
        kept = 0
        for arguments in sorted(self.calls):
            kept += len(self.calls[arguments])
            if kept > _MOST_LOOKS:
                self._only_below(arguments)
                break

    def _only_below(self, bound: int) -> None:
        self.below = bound if self.below is None else min(bound, self.below)
        self.calls = {one: calls for one, calls in self.calls.items() if one < self.below}
        self.kept = sum(map(len, self.calls.values()))


def digest_of(content: Content) -> int:
    """Gives the digest of `content`, of whatever length it is, as a number of eight bytes."""
    return content.digest % _DIGESTS


def arguments_of(flow: DataFlow, call: int) -> int | None:
    """Gives the digest of what a tool was given, if it is known and surely of this call: as the
    tool itself says, or else the reply that asked for nothing but it."""
    spans = flow.trace.spans
    tool = spans[call].tool_call
    if tool is None or tool.inferred or tool.ambiguous > 1:
        return None
    if tool.arguments is not None:
        return digest_of(tool.arguments)
    told = [spans[i].model_call for i in flow.sources(call)]
    asking = [one for one in told if one is not None]
    if len(asking) != 1 or asking[0].blocks is None:
        return None
    asked = [block.digest for block in asking[0].blocks.answered if block.kind == "tool_use"]
    return asked[0] % _DIGESTS if len(asked) == 1 else None


def agent_of(trace: Trace) -> str:
    """Names the agent of a run, and the service that it is in."""
    root = trace.spans[trace.main_root]
    return root.name if root.service is None else f"{root.name} in {root.service}"


def task_of(trace: Trace) -> int | None:
    """Gives what is equal for runs that began with the same prompt; ``None`` if it is not known."""
    for span in trace.spans:
        call = span.model_call
        if call is None or span.category != "llm":
            continue
        if call.blocks is None:
            return call.opening
        if call.blocks.kept or call.blocks.unlisted:
            return None
        asked = tuple(block.digest for block in call.blocks.given if block.role == "user")
        return hash(asked) % _DIGESTS if asked else None  # of numbers it is the same everywhere
    return None


class OverRuns(Struct):
    """Gathers what runs do. ``runs`` counts those of each agent, ``made`` of these the ones that
    called a tool with certain arguments; ``None`` stands for too many."""

    runs: dict[str, int] | None = {}
    made: dict[str, dict[str, dict[int, int] | None] | None] = {}
    looks: dict[str, Looks] | None = {}
    written: dict[str, set[str] | None] | None = {}
    """By tool that changes something, the places that it was given; ``None`` is any."""

    def add(self, flow: DataFlow, looks: Sequence[int], writes: Sequence[int] = ()) -> None:
        """Gathers what a run shows; `looks` are its calls of tools that change nothing, `writes`
        of those that do."""
        trace = flow.trace
        agent = agent_of(trace)
        made: dict[str, dict[int, int]] = {}
        task = task_of(trace) if looks else None
        run = crc32(trace.trace_id.encode())
        for i in looks:
            span = trace.spans[i]
            tool = span.tool_call
            digest = arguments_of(flow, i)
            if tool is None or digest is None:
                continue
            name = tool.name or span.name
            made.setdefault(name, {})[digest] = 1
            if tool.result is None or task is None or span.error is not None:
                continue
            if self.looks is not None:
                kept = self.looks.get(name)
                if kept is None:
                    kept = self.looks[name] = Looks()
                kept.add(digest, Call(span.ended_ns, digest_of(tool.result), task, run))
        for i in writes:
            span = trace.spans[i]
            if span.tool_call is not None:
                places = places_of(span.tool_call)
                self._write({span.tool_call.name or span.name: places})
        self._count({agent: 1}, {agent: made})

    def join(self, other: "OverRuns") -> None:
        """Gathers what `other` has gathered of other runs."""
        self._count(other.runs, other.made)
        self._write(other.written)
        if other.looks is None:
            self.looks = None
        elif self.looks is not None:
            for name, looks in other.looks.items():
                self.looks.setdefault(name, Looks()).join(looks)
            self._bound_looks()

    def _write(self, written: Mapping[str, Iterable[str] | None] | None) -> None:
        if written is None or self.written is None:
            self.written = None
            return
        for name, places in written.items():
            known = self.written.setdefault(name, set())
            if known is not None and places is not None:
                known.update(places)
            if known is None or places is None or len(known) > _MOST_PLACES:
                self.written[name] = None
        if len(self.written) > _MOST:
            self.written = None

    def _count(
        self,
        runs: Mapping[str, int] | None,
        made: Mapping[str, Mapping[str, Mapping[int, int] | None] | None],
    ) -> None:
        if runs is None or self.runs is None:
            self.runs, self.made = None, {}
            return
        for agent, number in runs.items():
            self.runs[agent] = self.runs.get(agent, 0) + number
        if len(self.runs) > _MOST:
            self.runs, self.made = None, {}
            return
        for agent, tools in made.items():
            self.made[agent] = _tools_joined(self.made.get(agent, {}), tools)
        self._bound_looks()

    def _bound_looks(self) -> None:
        if self.looks is not None and len(self.looks) > _MOST:
            self.looks = None

    def known(self) -> "Known":
        """Tells what comes of it."""
        usual: dict[str, dict[str, dict[int, int]]] = {}
        runs = self.runs or {}
        for agent, tools in self.made.items():
            number = runs.get(agent, 0)
            if number < FEWEST_RUNS:
                continue
            for name, by_arguments in (tools or {}).items():
                for arguments, times in (by_arguments or {}).items():
                    if times >= USUAL * number and _surely(times, number) >= _AT_LEAST:
                        usual.setdefault(agent, {}).setdefault(name, {})[arguments] = times
        again = {}
        for name, looks in sorted((self.looks or {}).items()):
            results = _results(name, looks)
            if results is not None:
                again[name] = results
        return Known({agent: runs[agent] for agent in usual}, usual, again, self.written)


def _surely(times: int, runs: int) -> float:
    """Gives the lower end of the 95 % interval of a share, by Wilson."""
    middle = times + _Z * _Z / 2
    half = _Z * sqrt(times * (runs - times) / runs + _Z * _Z / 4)
    return (middle - half) / (runs + _Z * _Z)


def _tools_joined(
    one: dict[str, dict[int, int] | None] | None,
    other: Mapping[str, Mapping[int, int] | None] | None,
) -> dict[str, dict[int, int] | None] | None:
    """Adds up in how many runs tools were called with which arguments; changes `one`."""
    if one is None or other is None:
        return None
    for name, more in other.items():
        counts = one.setdefault(name, {})
        if counts is None:
            continue
        for arguments, times in (more or {}).items():
            counts[arguments] = counts.get(arguments, 0) + times
        if more is None or len(counts) > _MOST:
            one[name] = None
    return one if len(one) <= _MOST else None


class HitRate(Struct, frozen=True, array_like=True):
    """The calls that a cache of so many ``results`` (``None``: of all), each kept for
    ``lifetime_s``, would have answered: rightly, or with a result that was ``stale``."""

    results: int | None
    lifetime_s: int
    hits: int
    stale: int


class CacheTrial(Struct, frozen=True, array_like=True):
    """The ``calls`` of one tool over all runs, with so many ``different`` arguments, and what
    caches of their results would have done.

    Runs that repeat the task of an earlier one are left out. ``share`` is the part of the calls
    that were looked at.
    """

    tool: str
    calls: int
    different: int
    share: float
    curve: tuple[HitRate, ...]

    def hit_rate(self, lifetime_s: int) -> HitRate:
        """Gives what a cache of all results would have done."""
        return next(
            one for one in self.curve if one.results is None and one.lifetime_s == lifetime_s
        )


class Again(Struct, frozen=True):
    """A tool whose calls came again: ``same`` are the arguments that came in runs of several tasks
    and always had one result."""

    trial: CacheTrial
    same: Mapping[int, tuple[Call, ...]]


class Known(Struct, frozen=True):
    """The things that runs do alike: the ``runs`` of agents of which something is ``usual``, which
    is by tool and arguments in how many of them; the tools whose calls came ``again``; and the
    places that were ``written``, by tool (``None``: too many to tell)."""

    runs: Mapping[str, int] = {}
    usual: Mapping[str, Mapping[str, Mapping[int, int]]] = {}
    again: Mapping[str, Again] = {}
    written: Mapping[str, AbstractSet[str] | None] | None = {}

    def is_written(self, look: ToolCall, name: str) -> bool:
        """Tells whether any run calls a tool that may have written what `look` reads: one that is
        given the same place, or changes things that are called the same, anywhere."""
        if self.written is None:
            return True
        places, things = places_of(look) or frozenset(), things_in(name)
        for tool, given in self.written.items():
            is_same = bool(things & things_in(tool))
            if given and places:
                if meet(places, given, values=is_same) is not None:
                    return True
            elif is_same:
                return True
        return False


NOTHING_KNOWN: Final = Known()

LIFETIMES_S: Final = (300, 3_600, 86_400)
_SIZES: Final = (10, 100, 1_000)
_FEWEST: Final = 3
"""Tasks with equal results, which are no chance then."""


def _results(name: str, looks: Looks) -> Again | None:
    """Tells what came again, if anything did."""
    looks.cut()
    several = {
        arguments: calls
        for arguments, calls in looks.calls.items()
        if len(calls) >= _FEWEST and len({call.task for call in calls}) >= _FEWEST
    }
    if not several:
        return None
    every = sorted(
        (call.had_ns, call.run, arguments, call.result, call.task)
        for arguments, calls in looks.calls.items()
        for call in calls
    )
    first: dict[int, int] = {}
    for _, run, _, _, task in every:
        first.setdefault(task, run)
    made = [(at, args, result) for at, run, args, result, task in every if first[task] == run]
    different = len({arguments for _, arguments, _ in made})
    share = 1.0 if looks.below is None else looks.below / _DIGESTS
    sizes = [size for size in _SIZES if size * share < different]
    curve = [
        _simulated(made, size, lifetime_s, share)
        for size in (*sizes, None)
        for lifetime_s in LIFETIMES_S
    ]
    same = {
        arguments: tuple(sorted(calls, key=lambda call: (call.had_ns, call.run)))
        for arguments, calls in several.items()
        if len({call.result for call in calls}) == 1
    }
    return Again(CacheTrial(name, len(made), different, share, tuple(curve)), same)


def _simulated(
    made: Sequence[tuple[int, int, int]], size: int | None, lifetime_s: int, share: float
) -> HitRate:
    """Lets a cache answer the calls that were `made`, of which the latest used are kept."""
    most = None if size is None else max(1, round(size * share))
    lifetime_ns = lifetime_s * 1_000_000_000
    cache: OrderedDict[int, tuple[int, int]] = OrderedDict()
    hits = stale = 0
    for at_ns, arguments, result in made:
        known = cache.get(arguments)
        if known is not None and at_ns - known[0] <= lifetime_ns:
            cache.move_to_end(arguments)
            if known[1] == result:
                hits += 1
            else:
                stale += 1
            continue
        cache[arguments] = at_ns, result
        cache.move_to_end(arguments)
        if most is not None and len(cache) > most:
            cache.popitem(last=False)
    return HitRate(size, lifetime_s, hits, stale)
