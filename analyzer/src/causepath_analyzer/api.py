"""What `causepath_analyzer.read` gives to Python programs and notebooks.

It is what the commands show, as values: nothing here prints, and nothing is worked out twice.
"""

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, overload

import msgspec
from msgspec.structs import replace

if TYPE_CHECKING:
    from causepath_analyzer.analyses.findings.rule import Finding
    from causepath_analyzer.analyses.path.cost import OwnPrices
    from causepath_analyzer.analyses.path.status import Status
    from causepath_analyzer.analyses.predictions.prediction import Prediction
    from causepath_analyzer.analyses.proof.independence import Elsewhere
    from causepath_analyzer.analyses.run import Run as Explained
    from causepath_analyzer.model import Input, Trace

__all__ = ["Run", "Runs", "read"]


def read(
    *paths: str,
    format: str | None = None,  # noqa: A002 - as the flag is called
    prices: str | None = None,
) -> "Runs":
    """Reads trace files, folders of them, or addresses of Jaeger and Tempo.

    The format is recognised by the content, or is the `format` of this name. `prices` is a file of
    prices of one's own, as the option ``--prices`` takes it. What was not
    understood is listed in ``Runs.unread``. Raises `causepath_analyzer.CausepathError` if nothing
    can be read at all, with a sentence that says why.
    """
    from causepath_analyzer.errors import UsageError
    from causepath_analyzer.prices_file import own_prices
    from causepath_analyzer.read import FORMATS, Options
    from causepath_analyzer.read import read as reading

    if not paths:
        raise UsageError("read what? Name a trace file, a folder or an address")
    if format is not None and format not in FORMATS:
        raise UsageError(f"no format {format}; there are {', '.join(FORMATS)}")
    own = own_prices(prices)
    found = reading([str(path) for path in paths], options=Options(format))
    return Runs(found.inputs, found.traces, own)


class Runs(Sequence["Run"]):
    """Runs in order of their start. A slice of them, or what `where` leaves, are `Runs` as well."""

    def __init__(
        self, inputs: "Sequence[Input]", traces: "Sequence[Trace]", prices: "OwnPrices"
    ) -> None:
        self._inputs = inputs
        self._traces = traces
        self._prices = prices
        self._runs = tuple(Run(self, trace) for trace in traces)
        self._others: Elsewhere | None = None

    @overload
    def __getitem__(self, index: int) -> "Run": ...
    @overload
    def __getitem__(self, index: slice) -> "Runs": ...
    def __getitem__(self, index: int | slice) -> "Run | Runs":
        if isinstance(index, slice):
            return Runs(self._inputs, self._traces[index], self._prices)
        return self._runs[index]

    def __len__(self) -> int:
        return len(self._traces)

    def __iter__(self) -> "Iterator[Run]":
        return iter(self._runs)

    def __repr__(self) -> str:
        return f"<{len(self)} run{'' if len(self) == 1 else 's'}>"

    def where(self, wanted: "Callable[[Run], bool]") -> "Runs":
        """Leaves the runs that are `wanted`."""
        left = [run._trace for run in self if wanted(run)]  # noqa: SLF001
        return Runs(self._inputs, left, self._prices)

    @property
    def unread(self) -> tuple[str, ...]:
        """Sentences on everything in the input that was not understood."""
        from causepath_analyzer.report.unread import complaints

        return tuple(complaints(self._inputs))

    def report(self, *, width: int = 80) -> str:
        """Writes the report on one run, or the summary of many, as the command prints it.

        Raises `causepath_analyzer.CausepathError` if there is no run among these.
        """
        from causepath_analyzer.analyses.run_view import run_view
        from causepath_analyzer.analyses.summary.summary import summary
        from causepath_analyzer.jobs.share import Task, rows_of
        from causepath_analyzer.report.run_text import run_text
        from causepath_analyzer.report.summary_text import summary_text
        from causepath_analyzer.report.waterfall import BLOCKS

        self._check()
        marks = replace(BLOCKS, width=width)
        paths = [entry.path for entry in self._inputs]
        if len(self) == 1:
            lines = run_text(run_view(self[0].explained), marks, paths, self._inputs)
        else:
            found = summary(row.brief for row in rows_of(self._traces, Task(prices=self._prices)))
            lines = summary_text(found, marks, paths, self._inputs)
        return "\n".join(line.plain.rstrip() for line in lines) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Gives the report in the schema that ``causepath report --json`` has."""
        from causepath_analyzer.analyses.summary.summary import told
        from causepath_analyzer.jobs.share import Task, many, rows_of
        from causepath_analyzer.report.json import report_json

        task = Task(with_json=True, prices=self._prices)
        found = many(rows_of(self._traces, task), task.shape)
        written = report_json(self._inputs, found.json, told(found.sums))
        return msgspec.json.decode(written, type=dict[str, Any])

    def whatif(self, *changes: str) -> "Prediction":
        """Predicts what `changes` would save together; each is what ``whatif --apply`` takes.

        Raises `causepath_analyzer.CausepathError` for one that there is not, or that finds nothing,
        and if there is no run among these.
        """
        from causepath_analyzer.analyses.predictions.prediction import prediction
        from causepath_analyzer.analyses.predictions.whatif import what_if
        from causepath_analyzer.analyses.replay.edits import GRAMMAR, edit
        from causepath_analyzer.errors import UsageError

        if not changes:
            raise UsageError(f"what is to change? There is {GRAMMAR}")
        self._check()
        found = what_if(self._traces, [edit(change) for change in changes], prices=self._prices)
        return prediction(found, self._traces)

    def _check(self) -> None:
        """Raises `NoTracesError` if there is nothing to tell about."""
        from causepath_analyzer.errors import NoTracesError

        if not self._traces:
            raise NoTracesError("there is no run among these: every one was left out")

    def _elsewhere(self) -> "Elsewhere":
        from causepath_analyzer.analyses.proof.independence import elsewhere

        if self._others is None:
            self._others = elsewhere(self._traces)
        return self._others


class Run:
    """One run, explained when it is first asked about."""

    def __init__(self, among: Runs, trace: "Trace") -> None:
        self._among = among
        self._trace = trace
        self._explained: Explained | None = None

    @property
    def trace_id(self) -> str:
        return self._trace.trace_id

    @property
    def name(self) -> str:
        return self._trace.spans[self._trace.main_root].name

    @property
    def start_ns(self) -> int:
        """Returns when it began, in ns since 1970."""
        return self._trace.start_ns

    @property
    def wall_ns(self) -> int:
        return self._trace.wall_ns

    @property
    def status(self) -> "Status":
        """Returns how it ended: ok, failed, interrupted, timed_out or unfinished."""
        from causepath_analyzer.analyses.path.status import ending

        return ending(self._trace).status

    @property
    def cost_usd(self) -> Decimal | None:
        """Returns what its model calls cost; ``None`` if that is not known."""
        return self.explained.spent_usd

    @property
    def findings(self) -> "tuple[Finding, ...]":
        """Returns what would make it faster or cheaper, the largest first."""
        return self.explained.findings

    @property
    def explained(self) -> "Explained":
        """All analyses of the run. Their names may change from one version to the next."""
        from causepath_analyzer.analyses.run import explained

        if self._explained is None:
            others = self._among._elsewhere()  # noqa: SLF001
            prices = self._among._prices  # noqa: SLF001
            self._explained = explained(
                self._trace, with_cost=True, with_money=True, others=others, prices=prices
            )
        return self._explained

    def __repr__(self) -> str:
        return f"<run {self.name!r}, {self.wall_ns / 1e9:.3f} s, trace {self.trace_id}>"

    def report(self, *, width: int = 80) -> str:
        """Writes the report on this run, as the command prints it."""
        return self._alone().report(width=width)

    def whatif(self, *changes: str) -> "Prediction":
        """Predicts what `changes` would save in this run."""
        return self._alone().whatif(*changes)

    def _alone(self) -> Runs:
        among = self._among
        return Runs(among._inputs, [self._trace], among._prices)  # noqa: SLF001
