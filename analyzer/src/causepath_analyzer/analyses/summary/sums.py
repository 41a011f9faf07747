"""Runs added up, so that parts can be joined: what `summary` tells comes from these sums alone.

However runs are split, and in whatever order their parts are joined, the sums tell the same. Their
size grows with operations, models and groups, not with runs: of up to `MOST_EXACT` runs everything
is known, of more the percentiles are those of bins (`Distribution`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from heapq import nsmallest
from typing import Final, Protocol, Self, TypeVar

from msgspec import Struct, field

from causepath_analyzer.analyses.findings.rule import Evidence, Saving
from causepath_analyzer.analyses.path.kinds import Kind
from causepath_analyzer.analyses.path.status import Ending, Status
from causepath_analyzer.analyses.proof.over_runs import CacheTrial
from causepath_analyzer.analyses.summary import distribution
from causepath_analyzer.analyses.summary.brief import BY, Brief, SideBySide
from causepath_analyzer.analyses.summary.distribution import Distribution, bin_of
from causepath_analyzer.model import Category, Health

Key = TypeVar("Key")

GROUPED: Final = ("agent", "model", "session", "service", "user", "status")
"""The facts that runs can be told apart by, whoever wrote them; and by any attribute."""
TIERS: Final[Mapping[str, int | None]] = {
    "instant": 300_000_000,
    "fast": 1_000_000_000,
    "acceptable": 3_000_000_000,
    "noticeable": 5_000_000_000,
    "slow": None,
}
"""What people feel when they wait for less than so many ns."""
_BOUNDS_NS: Final = tuple(ns for ns in TIERS.values() if ns is not None)
MOST_PERIODS: Final = 512
_PERIOD_NS: Final = 1_000_000_000
FEWEST_SLOW: Final = 5


class Shape(Struct, frozen=True):
    """The form of a summary: the number of slowest runs to keep, and what runs are grouped by."""

    top: int = FEWEST_SLOW
    group_by: str | None = None

    @property
    def attribute(self) -> str | None:
        """Names the attribute that runs are grouped by, if they are by one; in quotes it may be
        called as one of `GROUPED`."""
        by = self.group_by
        return None if by is None or by in GROUPED else unquoted(by)


def unquoted(name: str) -> str:
    """Takes the quotes off `name`, if it is in some."""
    return name[1:-1] if len(name) > 2 and name[0] == name[-1] and name[0] in "'\"" else name


PLAIN: Final = Shape()


class Totals(Struct, array_like=True):
    """The sums that there are of all runs as well as of each group of them.

    ``usd`` is of the calls with a price, ``priced_tokens`` are theirs. Without ``is_priced`` some
    run has a call without one, and with ``is_lower_bound`` more was used than was counted.
    """

    runs: int = 0
    failed: int = 0
    wall: Distribution = field(default_factory=Distribution)
    perceived: Distribution = field(default_factory=Distribution)
    tiers: list[int] = field(default_factory=lambda: [0] * len(TIERS))
    """How many of ``perceived`` are in each tier."""
    usd: Decimal = Decimal(0)
    tokens: int = 0
    priced_tokens: int = 0
    input: int = 0
    cache_read: int = 0
    is_priced: bool = True
    is_lower_bound: bool = False

    def add(self, run: Brief) -> None:
        self.runs += 1
        self.failed += run.ending.status != "ok"
        self.wall.add(run.wall_ns)
        if run.perceived_ns is not None:
            self.perceived.add(run.perceived_ns)
            self.tiers[sum(run.perceived_ns >= bound for bound in _BOUNDS_NS)] += 1
        self.usd += run.priced_usd or 0
        self.tokens += run.tokens
        self.priced_tokens += round(run.tokens * run.priced_share)
        self.input += run.input
        self.cache_read += min(run.cache_read, run.input)
        self.is_priced = self.is_priced and run.cost_usd is not None
        self.is_lower_bound = self.is_lower_bound or run.is_lower_bound

    def join(self, other: "Totals") -> None:
        self.runs += other.runs
        self.failed += other.failed
        self.wall.join(other.wall)
        self.perceived.join(other.perceived)
        self.tiers = [one + more for one, more in zip(self.tiers, other.tiers, strict=True)]
        self.usd += other.usd
        self.tokens += other.tokens
        self.priced_tokens += other.priced_tokens
        self.input += other.input
        self.cache_read += other.cache_read
        self.is_priced = self.is_priced and other.is_priced
        self.is_lower_bound = self.is_lower_bound or other.is_lower_bound


class ModelSums(Struct, array_like=True):
    """The use that all runs made of a model, as `ModelUse` has it of one."""

    runs: int = 0
    calls: int = 0
    failed: int = 0
    input: int = 0
    output: int = 0
    cache_read: int = 0
    priced_tokens: int = 0
    usd: Decimal = Decimal(0)
    first_token_ns: Distribution = field(default_factory=Distribution)
    rates: Distribution = field(default_factory=Distribution)

    def join(self, other: "ModelSums") -> None:
        self.runs += other.runs
        self.calls += other.calls
        self.failed += other.failed
        self.input += other.input
        self.output += other.output
        self.cache_read += other.cache_read
        self.priced_tokens += other.priced_tokens
        self.usd += other.usd
        self.first_token_ns.join(other.first_token_ns)
        self.rates.join(other.rates)


class CallSums(Struct, array_like=True):
    """All calls of one operation."""

    durations_ns: Distribution = field(default_factory=Distribution)
    failed: int = 0
    runs: int = 0

    def join(self, other: "CallSums") -> None:
        self.durations_ns.join(other.durations_ns)
        self.failed += other.failed
        self.runs += other.runs


class FoundSums(Struct, array_like=True):
    """All findings of one code: in how many runs, what they save each alone (``None``: not known of
    any), and whether each of them is proved."""

    runs: int = 0
    ns: int | None = None
    usd: Decimal | None = None
    tokens: int | None = None
    evidence: Evidence = "proved"

    def add(self, saving: Saving, evidence: Evidence) -> None:
        if saving.ns is not None:
            self.ns = saving.ns + (self.ns or 0)
        if saving.usd is not None:
            self.usd = saving.usd + (self.usd or 0)
        if saving.tokens is not None:
            self.tokens = saving.tokens + (self.tokens or 0)
        if evidence != "proved":
            self.evidence = evidence

    def join(self, other: "FoundSums") -> None:
        self.runs += other.runs
        self.add(other.saving, other.evidence)

    @property
    def saving(self) -> Saving:
        return Saving(self.ns, self.usd, self.tokens)


class FaultSums(Struct, array_like=True):
    """The number of runs in which a rule failed, and what it said in the first of them."""

    runs: int
    start_ns: int
    trace_id: str
    why: str

    def join(self, other: "FaultSums") -> None:
        self.runs += other.runs
        if (other.start_ns, other.trace_id) < (self.start_ns, self.trace_id):
            self.start_ns, self.trace_id, self.why = other.start_ns, other.trace_id, other.why


class Period(Struct, array_like=True):
    """The runs that began in one period."""

    runs: int = 0
    failed: int = 0
    wall_ns: int = 0
    input: int = 0
    cache_read: int = 0
    usd: Decimal = Decimal(0)

    def join(self, other: "Period") -> None:
        self.runs += other.runs
        self.failed += other.failed
        self.wall_ns += other.wall_ns
        self.input += other.input
        self.cache_read += other.cache_read
        self.usd += other.usd


class Periods(Struct, array_like=True):
    """Runs by when they began, in periods of equal length: at first a second, then twice as long
    whenever there would be more than `MOST_PERIODS` of them."""

    length_ns: int = _PERIOD_NS
    by_number: dict[int, Period] = {}

    def add(self, run: Brief) -> None:
        number = run.start_ns // self.length_ns
        period = self.by_number.get(number)
        if period is None:
            period = self.by_number[number] = Period()
            self._fit()
            period = self.by_number[run.start_ns // self.length_ns]
        period.runs += 1
        period.failed += run.ending.status != "ok"
        period.wall_ns += run.wall_ns
        period.input += run.input
        period.cache_read += min(run.cache_read, run.input)
        period.usd += run.priced_usd or 0

    def join(self, other: "Periods") -> None:
        while self.length_ns < other.length_ns:
            self.coarsen()
        for number, period in other.by_number.items():
            at = number * other.length_ns // self.length_ns
            self.by_number.setdefault(at, Period()).join(period)
        self._fit()

    def coarsen(self) -> None:
        """Makes the periods twice as long."""
        self.length_ns *= 2
        before, self.by_number = self.by_number, {}
        for number, period in before.items():
            self.by_number.setdefault(number // 2, Period()).join(period)

    def _fit(self) -> None:
        while len(self.by_number) > MOST_PERIODS:
            self.coarsen()


Named = tuple[int, str]
"""The wall time of a run in ns, and its id."""


class Sums(Struct):
    """All that is kept of runs."""

    shape: Shape = PLAIN
    totals: Totals = field(default_factory=Totals)
    groups: dict[str, Totals] = {}
    endings: dict[Status, int] = {}
    last_failed: tuple[int, str, Ending] | None = None
    runs: list[Named] = []
    """All of them, while each value of ``totals.wall`` is known."""
    examples: dict[int, Named] = {}
    """After that, one run for each of its bins."""
    slowest: list[Named] = []
    steps: list[tuple[int, int, int]] = []
    """Start, length and model calls of the runs, while they are all known and nobody has declared
    any of them."""
    inferred: int = 0
    hands_on: int = 0
    programs: list[str] = []
    """Two at most: with more it is not one program either. An empty one is none."""
    first_ns: int | None = None
    last_ns: int = 0
    rows: dict[str, dict[str, Distribution]] = {}
    kind_sums: dict[Kind, int] = {}
    models: dict[str, ModelSums] = {}
    calls: dict[Category, dict[str, CallSums]] = {}
    side_by_side: SideBySide = field(default_factory=SideBySide)
    found: dict[str, FoundSums] = {}
    caches: dict[str, CacheTrial] = {}
    """By tool; each of them is of all runs, whichever run tells it."""
    faults: dict[str, FaultSums] = {}
    health: dict[str, int] = {}
    periods: Periods = field(default_factory=Periods)
    left_out: int = 0
    """Runs that are not among the ones that were wanted."""
    unknown: int = 0
    """Those of them of which nobody knows whether they are wanted."""

    def add(self, run: Brief) -> None:
        """Adds a run, unless it is known not to be wanted."""
        if not run.is_picked:
            self.left_out += 1
            self.unknown += run.is_picked is None
            return
        self.totals.add(run)
        if self.shape.group_by is not None:
            self.groups.setdefault(group_of(run, self.shape.group_by), Totals()).add(run)
        if run.ending.status != "ok":
            self._end((run.start_ns, run.trace_id, run.ending), {run.ending.status: 1})
        self._name(((run.wall_ns, run.trace_id),), {})
        self._note(
            ((run.start_ns, run.wall_ns, run.model_calls),) if run.is_inferred else (),
            run.start_ns,
            run.start_ns,
            (run.program or "",),
        )
        self.inferred += run.is_inferred
        self.hands_on += run.hands_on
        for by, spent_ns in zip(BY, run.places, strict=True):
            rows = self.rows.setdefault(by, {})
            for key, part_ns in spent_ns.items():
                row = rows.get(key)
                if row is None:
                    row = rows[key] = Distribution()
                row.add(part_ns)
        _count(self.kind_sums, run.kind_sums)
        self._use(run)
        for code, saving, evidence in run.findings:
            found = self.found.get(code)
            if found is None:
                found = self.found[code] = FoundSums()
            found.add(saving, evidence)
        for code in {code for code, _, _ in run.findings}:
            self.found[code].runs += 1
        self.caches.update((trial.tool, trial) for trial in run.caches)
        for fault in run.faults:
            self._fault(fault.code, FaultSums(1, run.start_ns, run.trace_id, fault.why))
        _count(self.health, _numbers(run.health))
        self.periods.add(run)

    def join(self, other: "Sums") -> None:
        """Adds the runs of `other`, which is of the same shape and stays as it is."""
        self.totals.join(other.totals)
        _join(self.groups, other.groups, Totals)
        if other.last_failed is not None:
            self._end(other.last_failed, other.endings)
        self._name(other.runs, other.examples, other.slowest)
        if other.first_ns is not None:
            self._note(other.steps, other.first_ns, other.last_ns, other.programs)
        self.inferred += other.inferred
        self.hands_on += other.hands_on
        for by, rows in other.rows.items():
            _join(self.rows.setdefault(by, {}), rows, Distribution)
        _count(self.kind_sums, other.kind_sums)
        _join(self.models, other.models, ModelSums)
        for category, calls in other.calls.items():
            _join(self.calls.setdefault(category, {}), calls, CallSums)
        self._beside(other.side_by_side)
        _join(self.found, other.found, FoundSums)
        self.caches.update(other.caches)
        for code, fault in other.faults.items():
            self._fault(code, fault)
        _count(self.health, other.health)
        self.periods.join(other.periods)
        self.left_out += other.left_out
        self.unknown += other.unknown

    def example(self, percent: int) -> Named | None:
        """Finds a run whose wall time is that percentile."""
        if self.runs:
            return sorted(self.runs)[max(1, -(-len(self.runs) * percent // 100)) - 1]
        return self.examples.get(bin_of(self.totals.wall.percentile(percent)))

    def _end(self, last: tuple[int, str, Ending], endings: Mapping[Status, int]) -> None:
        """Takes in how runs ended that did not end well."""
        _count(self.endings, endings)
        if self.last_failed is None or last[:2] > self.last_failed[:2]:
            self.last_failed = last

    def _name(
        self, runs: Sequence[Named], examples: Mapping[int, Named], slowest: Sequence[Named] = ()
    ) -> None:
        """Takes in the ids of runs, which are in `totals` already."""
        slow = slowest or runs
        if slow and (len(self.slowest) < self.shape.top or max(slow)[0] >= self.slowest[-1][0]):
            every = [*self.slowest, *slow]
            self.slowest = nsmallest(self.shape.top, every, key=lambda one: (-one[0], one[1]))
        if self.totals.runs <= distribution.MOST_EXACT:
            self.runs += runs
            return
        for one in (*self.runs, *runs, *examples.values()):
            place = bin_of(one[0])
            known = self.examples.get(place)
            self.examples[place] = one if known is None else min(known, one)
        self.runs = []

    def _note(
        self,
        steps: Sequence[tuple[int, int, int]],
        first_ns: int,
        last_ns: int,
        programs: Sequence[str],
    ) -> None:
        """Takes in what tells whether runs belong together."""
        if self.totals.runs <= distribution.MOST_EXACT:
            self.steps += steps
        else:
            self.steps = []
        self.last_ns = last_ns if self.first_ns is None else max(self.last_ns, last_ns)
        self.first_ns = first_ns if self.first_ns is None else min(self.first_ns, first_ns)
        if programs != self.programs:
            self.programs = sorted({*self.programs, *programs})[:2]

    def _use(self, run: Brief) -> None:
        """Takes in the calls of a run."""
        for name, use in run.models.items():
            model = self.models.get(name)
            if model is None:
                model = self.models[name] = ModelSums()
            model.runs += 1
            model.calls += use.calls
            model.failed += use.failed
            model.input += use.input
            model.output += use.output
            model.cache_read += use.cache_read
            model.priced_tokens += use.priced_tokens
            model.usd += use.usd
            model.first_token_ns.extend(use.first_token_ns)
            model.rates.extend(use.rates)
        for category, operations in run.calls.items():
            calls = self.calls.setdefault(category, {})
            for name, times in operations.items():
                call = calls.get(name)
                if call is None:
                    call = calls[name] = CallSums()
                call.runs += 1
                call.failed += times.failed
                call.durations_ns.extend(times.durations_ns)
        self._beside(run.side_by_side)

    def _beside(self, told: SideBySide) -> None:
        if told.replies:
            self.side_by_side.replies += told.replies
            self.side_by_side.sum_ns += told.sum_ns
            self.side_by_side.busy_ns += told.busy_ns
            self.side_by_side.longest_ns += told.longest_ns

    def _fault(self, code: str, fault: FaultSums) -> None:
        known = self.faults.get(code)
        if known is None:
            self.faults[code] = FaultSums(fault.runs, fault.start_ns, fault.trace_id, fault.why)
        else:
            known.join(fault)


def summed(runs: Iterable[Brief], shape: Shape = PLAIN) -> Sums:
    """Adds up `runs`, which are looked at once."""
    sums = Sums(shape)
    for run in runs:
        sums.add(run)
    return sums


def group_of(run: Brief, by: str) -> str:
    """Names the group that `run` is in; empty where it does not say.

    Groups share no run: one with several models is of all of these together.
    """
    match by:
        case "agent":
            return run.name.removeprefix("invoke_agent ")
        case "model":
            return " + ".join(sorted(run.models))
        case "session":
            return run.session or ""
        case "service":
            return run.service or ""
        case "user":
            return run.user or ""
        case "status":
            return run.ending.status.replace("_", " ")
    return run.label


def _numbers(health: Health) -> Mapping[str, int]:
    """Gives what `health` counts, which is not 0."""
    return {name: number for name in _COUNTED if (number := getattr(health, name))}


_COUNTED: Final = tuple(name for name in Health.__struct_fields__ if name != "notes")


def _count(sums: dict[Key, int], more: Mapping[Key, int]) -> None:
    for key, number in more.items():
        sums[key] = sums.get(key, 0) + number


class _Joined(Protocol):
    def join(self, other: Self, /) -> None: ...


Part = TypeVar("Part", bound=_Joined)


def _join(sums: dict[Key, Part], more: Mapping[Key, Part], empty: Callable[[], Part]) -> None:
    for key, one in more.items():
        if key not in sums:
            sums[key] = empty()
        sums[key].join(one)
