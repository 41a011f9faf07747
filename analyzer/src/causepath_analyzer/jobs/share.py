"""The traces that one process reads and analyses, down to a small row for each."""

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from causepath_analyzer.analyses.budgets.conditions import condition
from causepath_analyzer.analyses.budgets.measures import Sample, sampled
from causepath_analyzer.analyses.findings.rules import RULES
from causepath_analyzer.analyses.limits import LIMITS, Limits
from causepath_analyzer.analyses.path.cost import TABLE_ONLY, OwnPrices
from causepath_analyzer.analyses.proof.independence import Elsewhere, Orders
from causepath_analyzer.analyses.run import Run, explained
from causepath_analyzer.analyses.summary.brief import Brief, brief
from causepath_analyzer.analyses.summary.sums import PLAIN, Shape, Sums, summed
from causepath_analyzer.jobs.file_parts import Part, read_part
from causepath_analyzer.model import Input, Span, Trace
from causepath_analyzer.read import Options, Progress, SpansByTrace, built
from causepath_analyzer.read.tree.joined_traces import (
    Cause,
    Loose,
    Side,
    causes_of,
    holders,
    loose,
    side_of,
    told,
)


class Task(Struct, frozen=True):
    """The way to read traces, and what is wanted of them: ``codes`` are those of findings."""

    options: Options = Options()
    with_json: bool = False
    codes: tuple[str, ...] = tuple(RULES)
    prices: OwnPrices = TABLE_ONLY
    limits: Limits = LIMITS
    shape: Shape = PLAIN
    where: str = ""
    """A condition on the runs that are wanted."""
    measures: tuple[str, ...] = ()
    """The things that budgets look at, if runs are to be held against any."""


class Many(Struct, frozen=True):
    """Runs added up, and what is written of each, if that is wanted."""

    sums: Sums
    json: Sequence[bytes] = ()


class Row(Struct, frozen=True, array_like=True):
    """The rest of a trace once it is analysed; ``json`` is empty if it is not wanted."""

    brief: Brief
    json: bytes = b""
    sample: Sample | None = None
    """The part that budgets look at, where that is wanted."""


class Share:
    """Traces from parts of the input, or those that were read already."""

    def __init__(self, task: Task, traces: Sequence[Trace] = ()) -> None:
        self._task = task
        self._spans: SpansByTrace = {}
        self._traces = list(traces)

    def read(self, parts: Sequence[Part], progress: Progress | None = None) -> Sequence[Input]:
        """Reads `parts` and tells what became of each. Raises `NotApartError` if one cannot be read
        alone."""
        options = self._task.options
        return [read_part(part, self._spans, progress, options) for part in parts]

    @property
    def trace_ids(self) -> Sequence[str]:
        """Names the traces of which spans were read here."""
        return list(self._spans)

    def given_away(self, trace_id: str) -> list[Span]:
        """Gives away the spans of a trace, which is another share's from now on."""
        return self._spans.pop(trace_id)

    def taken(self, trace_id: str, spans: Sequence[Span]) -> None:
        """Adds what another share has read of a trace, later in the input."""
        self._spans.setdefault(trace_id, []).extend(spans)

    def causes(self) -> Sequence[Cause]:
        """Finds the links from one trace into another that were read here."""
        return causes_of(self._spans)

    def sides(self, trace_ids: Sequence[str]) -> Mapping[str, Side]:
        """Tells what was read here of these traces, of which links lead into others."""
        return {i: side_of(self._spans[i]) for i in trace_ids if i in self._spans}

    def build(self, lead: Mapping[str, str], only: Sequence[str] | None = None) -> Sequence[Trace]:
        """Builds the traces of the spans that were read, or of `only` some of them."""
        if only is not None:
            self._spans = {trace_id: self._spans[trace_id] for trace_id in only}
        if self._spans:
            here = {part: first for part, first in lead.items() if part in self._spans}
            self._traces = list(built((), self._spans, here).traces)
            self._spans = {}
        # What was read lives to the end: the collector need not go through it again and again.
        gc.freeze()
        return self._traces

    def loose(self) -> Loose:
        """Tells what these traces say that others have to be asked about."""
        return loose(self._traces)

    def holders(self, span_ids: frozenset[str]) -> Mapping[str, str]:
        """Tells in which of these traces spans with these ids are."""
        return holders(self._traces, span_ids)

    def told(self, handing: frozenset[str], parents: Mapping[str, str]) -> None:
        """Takes in what all traces together say of these."""
        if handing or parents:
            self._traces = [told(trace, handing, parents) for trace in self._traces]

    def orders(self) -> Orders:
        """Gathers what these traces show about the orders of the calls in them, which findings ask
        for."""
        found = Orders()
        if not self._task.codes:
            return found
        for trace in self._traces:
            found.add(trace)
        return found

    def rows(self, others: Elsewhere) -> Iterator[Row]:
        """Makes a row for each trace, which is then dropped."""
        task = self._task
        rules = [RULES[code] for code in task.codes]
        where = condition(task.where) if task.where else None
        self._traces.reverse()
        while self._traces:
            run = explained(
                self._traces.pop(),
                with_cost=True,
                with_money=task.with_json,
                others=others,
                rules=rules,
                prices=task.prices,
                limits=task.limits,
            )
            is_picked = True if where is None else where.holds(run)
            is_written = task.with_json and is_picked is True
            yield Row(
                brief(run, task.prices, is_picked, task.shape.attribute),
                _json(run) if is_written else b"",
                sampled(run, task.measures) if task.measures else None,
            )

    def sums(self, others: Elsewhere) -> Sums:
        """Adds up the traces, which are then dropped."""
        return summed((row.brief for row in self.rows(others)), self._task.shape)


def _json(run: Run) -> bytes:
    from causepath_analyzer.analyses.run_view import run_view  # only where JSON is asked for
    from causepath_analyzer.report.json import trace_json

    return trace_json(run_view(run, most_rows=0))


def many(rows: Iterable[Row], shape: Shape) -> Many:
    """Adds up `rows`, and keeps what is written of each."""
    written = []
    sums = Sums(shape)
    for row in rows:
        sums.add(row.brief)
        if row.json:
            written.append(row.json)
    return Many(sums, written)


def rows_of(traces: Sequence[Trace], task: Task, others: Elsewhere | None = None) -> Iterator[Row]:
    """Makes a row for each of `traces`, which one process has read; `others` is the evidence of
    more runs than these, if there are."""
    own = Share(task, traces)
    return own.rows(own.orders().elsewhere() if others is None else others)
