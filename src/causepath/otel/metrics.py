"""The conventions' metrics of model calls, tools and runs, where the application has metrics.

Nothing is imported and nothing is measured before somebody has set up a `MeterProvider`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from causepath.guard import harmless
from causepath.otel import semconv
from causepath.otel.span_access import SCOPE
from causepath.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from causepath.providers.messages import Usage

SECONDS = tuple(0.01 * 2**n for n in range(14))
RUN_SECONDS = tuple(0.1 * 2**n for n in range(13))
TOKENS = tuple(4**n for n in range(14))
CALLS = (1, 2, 4, 8, 16, 32, 64, 128)

HISTOGRAMS: Mapping[str, tuple[str, Sequence[float], str]] = {
    "gen_ai.client.inference.duration": ("s", SECONDS, "Duration of a model call."),
    "gen_ai.client.inference.time_to_first_chunk": (
        "s",
        SECONDS,
        "Time from the request to the first piece of the answer.",
    ),
    "gen_ai.client.inference.time_per_output_chunk": (
        "s",
        SECONDS,
        "Time between two pieces of an answer.",
    ),
    "gen_ai.client.inference.operation.input_tokens": ("{token}", TOKENS, "Input of a call."),
    "gen_ai.client.inference.operation.output_tokens": ("{token}", TOKENS, "Output of a call."),
    "gen_ai.execute_tool.duration": ("s", SECONDS, "Duration of a tool call."),
    "gen_ai.invoke_agent.duration": ("s", RUN_SECONDS, "Duration of a run of an agent."),
    "gen_ai.invoke_agent.inference_calls": ("{call}", CALLS, "Model calls of a run."),
    "gen_ai.invoke_agent.tool_calls": ("{call}", CALLS, "Tool calls of a run."),
}
"""Unit, bucket boundaries and description by name, as the conventions have them."""

COUNTERS = {
    "gen_ai.client.inference.usage.input_tokens": "input",
    "gen_ai.client.inference.usage.output_tokens": "output",
    "gen_ai.client.inference.usage.cache_read.input_tokens": "cache_read",
    "gen_ai.client.inference.usage.cache_write.input_tokens": "cache_write",
    "gen_ai.client.inference.usage.reasoning.output_tokens": "reasoning",
}
"""By name, the field of `messages.Usage` that is counted."""

MODALITY = "gen_ai.token.modality"


class Metrics:
    """Records into the instruments of the meter provider in force, if there is one."""

    def __init__(self) -> None:
        self._provider: object = None
        self._histograms: dict[str, Any] = {}
        self._counters: dict[str, Any] = {}

    def wanted(self) -> bool:
        """Tells whether the application has set up metrics by now."""
        # The variable, as asking `get_meter_provider` reads the environment every time.
        api = sys.modules.get("opentelemetry.metrics._internal")
        provider = api and api._METER_PROVIDER  # noqa: SLF001
        if provider is not self._provider:
            self._provider = provider
            self._begin(provider)
        return bool(self._histograms)

    def _begin(self, provider: Any) -> None:
        self._histograms, self._counters = {}, {}
        if provider is None or type(provider).__module__.startswith("opentelemetry.metrics"):
            return  # none, or the API's own, which does nothing
        meter = provider.get_meter(SCOPE, __version__)
        for name, (unit, boundaries, description) in HISTOGRAMS.items():
            self._histograms[name] = meter.create_histogram(
                name, unit, description, explicit_bucket_boundaries_advisory=boundaries
            )
        for name in COUNTERS:
            self._counters[name] = meter.create_counter(name, "{token}")

    @harmless(None)
    def model_call(
        self,
        attributes: Mapping[str, Any],
        usage: Usage,
        duration_ns: int,
        first_chunk_ns: int | None,
        chunk_gaps_ns: Sequence[int],
    ) -> None:
        """One call of a model is over, well or not."""
        if not self.wanted():
            return
        inference = "gen_ai.client.inference."
        self._record(inference + "duration", duration_ns / 1e9, attributes)
        if first_chunk_ns is not None:
            self._record(inference + "time_to_first_chunk", first_chunk_ns / 1e9, attributes)
        for gap_ns in chunk_gaps_ns:
            self._record(inference + "time_per_output_chunk", gap_ns / 1e9, attributes)
        for field in ("input", "output"):
            count = getattr(usage, field)
            if count is not None:
                self._record(f"{inference}operation.{field}_tokens", count, attributes)
        of_any_kind = {**attributes, MODALITY: "unknown"}
        failed = semconv.ERROR_TYPE in attributes
        for name, field in COUNTERS.items():
            count = getattr(usage, field)
            if count is None and failed and field in ("input", "output"):
                count = 0  # as the conventions have it
            if count is not None:
                self._counters[name].add(count, of_any_kind)

    @harmless(None)
    def tool_call(self, attributes: Mapping[str, Any], duration_ns: int) -> None:
        """One measured call of a tool is over. A window that was only inferred is no duration."""
        if self.wanted():
            self._record("gen_ai.execute_tool.duration", duration_ns / 1e9, attributes)

    @harmless(None)
    def run(
        self, attributes: Mapping[str, Any], duration_ns: int, model_calls: int, tool_calls: int
    ) -> None:
        """One run of an agent is over."""
        if self.wanted():
            self._record("gen_ai.invoke_agent.duration", duration_ns / 1e9, attributes)
            self._record("gen_ai.invoke_agent.inference_calls", model_calls, attributes)
            self._record("gen_ai.invoke_agent.tool_calls", tool_calls, attributes)

    def _record(self, name: str, value: float, attributes: Mapping[str, Any]) -> None:
        self._histograms[name].record(value, attributes)
