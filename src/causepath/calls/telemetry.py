"""The wiring of calls: makes each part, and hands it those that it works with.

The instrumentor makes it, and no other module imports it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from causepath import forks
from causepath.calls.asked_tools import AskedTools
from causepath.calls.chains import Chains
from causepath.calls.foreign_spans import OtherSpans
from causepath.calls.foreign_tools import ForeignTools
from causepath.calls.local_roots import LocalRoots
from causepath.calls.model_calls import ModelCalls
from causepath.calls.open_calls import OpenCalls
from causepath.calls.open_runs import OpenRuns
from causepath.calls.possible_calls import PossibleCalls
from causepath.calls.run_spans import RunSpans
from causepath.calls.span_watcher import SpanWatcher, WatchedSpans
from causepath.calls.tool_calls import ToolCalls
from causepath.calls.tool_spans import ToolSpans
from causepath.calls.tracing import Tracing
from causepath.content.call_words import Words
from causepath.guard import harmless
from causepath.otel.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span, TracerProvider

    from causepath.calls.asked_tools import ToolFinder
    from causepath.otel.endings import Ending
    from causepath.providers.provider import Provider


class Telemetry:
    """All that opens our spans, and completes those of others, while the plugin is enabled."""

    def __init__(
        self,
        tracer_provider: Callable[[], TracerProvider],
        tool_finder: ToolFinder | None = None,
    ) -> None:
        self.providers: list[Provider] = []
        """The providers whose SDKs have been imported."""
        self.words, self.metrics = Words(), Metrics()
        self.runs, self.open_calls, self.others = OpenRuns(), OpenCalls(), OtherSpans()
        self.roots = LocalRoots()
        if tool_finder is not None:
            self.runs.quiet = tool_finder.quiet
        self.tracing = Tracing(tracer_provider, lambda: SpanWatcher(self._watched), self.providers)
        spans = ToolSpans(self.tracing, self.runs, self.words, self.metrics)
        self.possible_calls = PossibleCalls(spans, self.runs, self.open_calls)
        found_names = tool_finder.names if tool_finder is not None else _no_names
        self.tool_calls = ToolCalls(spans, self.runs, self.open_calls, found_names)
        self.run_spans = RunSpans(
            self.tracing,
            self.runs,
            self.possible_calls,
            self.words,
            self.metrics,
            Chains(self.tracing, self.words),
            self.roots,
        )
        self.asked_tools = AskedTools(self.runs, self.possible_calls, self.words, tool_finder)
        self.model_calls = ModelCalls(
            self.tracing,
            self.runs,
            self.run_spans,
            self.open_calls,
            self.others,
            self.asked_tools,
            self.words,
            self.metrics,
        )
        self._watched = WatchedSpans(
            self.runs,
            self.run_spans,
            self.open_calls,
            self.others,
            self.roots,
            self.possible_calls,
            ForeignTools(spans, self.runs, self.providers),
            self.words,
            self.metrics,
            self.providers,
        )
        forks.living.add(self)

    def after_fork(self) -> None:
        """Forgets, in a child process, what the parent has in progress, and locks it may hold."""
        self.open_calls.clear()
        self.others.clear()
        self.roots.clear()
        self.run_spans.after_fork()
        self.runs.after_fork()

    @harmless(None)
    def end_open(self, write_open: Callable[[Span], None], why: Ending) -> None:
        """Ends what is open as far as it came, and says that, as the process ends, and `why`."""
        self.open_calls.interrupt(write_open, why)
        now_ns = time.time_ns()
        self.asked_tools.end_with_process(now_ns, why, self.tracing.tracer)
        self.run_spans.end_with_process(now_ns, why)
        self.open_calls.end_spans(now_ns, why)

    @harmless(None)
    def close(self) -> None:
        """Watches no more spans, and keeps nothing of what passed."""
        self.possible_calls.settle_all(time.time_ns())
        self.tracing.close()
        self.open_calls.clear()
        self.others.clear()
        self.roots.clear()
        self.runs.clear()
        self.run_spans.close()


def _no_names(function: object) -> list[str]:  # noqa: ARG001
    return []
