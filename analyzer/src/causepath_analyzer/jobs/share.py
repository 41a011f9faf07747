"""The traces that one process reads and analyses, down to a small row for each."""

import gc
from collections.abc import Iterator, Sequence

from msgspec import Struct

from causepath_analyzer.analyses.independence import Elsewhere, Orders
from causepath_analyzer.analyses.run import explained
from causepath_analyzer.analyses.summary import Brief, brief
from causepath_analyzer.model import Input, Span, Trace
from causepath_analyzer.read import Options, Progress, SpansByTrace, traces
from causepath_analyzer.read.parts import Part, read_part
from causepath_analyzer.report.json import trace_json


class Task(Struct, frozen=True):
    """How traces are read, and what is wanted of them."""

    options: Options = Options()
    with_json: bool = False


class Row(Struct, frozen=True, array_like=True):
    """What is left of a trace once it is analysed; ``json`` is empty if it is not wanted."""

    brief: Brief
    json: bytes = b""


class Share:
    """Traces from parts of the input, or those that were read already."""

    def __init__(self, task: Task, built: Sequence[Trace] = ()) -> None:
        self._task = task
        self._spans: SpansByTrace = {}
        self._traces = list(built)

    def read(self, parts: Sequence[Part], progress: Progress | None = None) -> Sequence[Input]:
        """What became of each of `parts`. Raises `NotApartError` if one cannot be read alone."""
        options = self._task.options
        return [read_part(part, self._spans, progress, options) for part in parts]

    @property
    def trace_ids(self) -> Sequence[str]:
        """The traces of which spans were read here."""
        return list(self._spans)

    def given_away(self, trace_id: str) -> list[Span]:
        """The spans of a trace, which is another share's from now on."""
        return self._spans.pop(trace_id)

    def taken(self, trace_id: str, spans: Sequence[Span]) -> None:
        """Adds what another share has read of a trace, later in the input."""
        self._spans.setdefault(trace_id, []).extend(spans)

    def build(self, only: str | None = None) -> Sequence[Trace]:
        """The traces of the spans that were read, or `only` one of them."""
        if only is not None:
            self._spans = {only: self._spans[only]}
        if self._spans:
            self._traces = list(traces((), self._spans).traces)
            self._spans = {}
        # What was read lives to the end: the collector need not go through it again and again.
        gc.freeze()
        return self._traces

    def orders(self) -> Orders:
        """What these traces show about the orders of the calls in them."""
        found = Orders()
        for trace in self._traces:
            found.add(trace)
        return found

    def rows(self, others: Elsewhere) -> Iterator[Row]:
        """A row for each trace, which is then dropped."""
        task = self._task
        self._traces.reverse()
        while self._traces:
            run = explained(self._traces.pop(), with_cost=True, others=others)
            yield Row(brief(run), trace_json(run) if task.with_json else b"")


def rows_of(traces: Sequence[Trace], task: Task) -> Sequence[Row]:
    """A row for each of `traces`, which one process has read."""
    own = Share(task, traces)
    return list(own.rows(own.orders().elsewhere()))
