"""The plugin's one instrumentor: read the configuration once, patch, put everything back."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any

import wrapt
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from causepath import config, measure
from causepath.guard import harmless
from causepath.patching import Patches
from causepath.pipeline import Pipeline
from causepath.providers.anthropic import ANTHROPIC
from causepath.spans import Telemetry

if TYPE_CHECKING:
    from collections.abc import Collection
    from types import ModuleType

    from causepath.provider import Provider

PROVIDERS: tuple[Provider, ...] = (ANTHROPIC,)


class CausepathInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Traces every model SDK that the application imports, now or later.

    `instrument(tracer_provider=...)` writes to that provider; without one, to the application's,
    else as `OTEL_*` say, else to `causepath-traces.jsonl`. Instrumenting twice does nothing more.
    """

    _telemetry: Telemetry | None = None
    _lock = threading.RLock()

    def instrumentation_dependencies(self) -> Collection[str]:
        """Nothing has to be installed: an SDK is patched when it is imported."""
        return ()

    def instrument(self, **kwargs: Any) -> None:
        with self._lock:
            if not self.is_instrumented_by_opentelemetry:
                super().instrument(**kwargs)

    def uninstrument(self, **kwargs: Any) -> None:
        with self._lock:
            if self.is_instrumented_by_opentelemetry:
                super().uninstrument(**kwargs)

    @harmless(None)
    def _instrument(self, **kwargs: Any) -> None:
        settings = config.from_environment()
        self._patches = Patches()
        self._found = measure.FoundTools()
        self._pipeline = Pipeline(settings, kwargs.get("tracer_provider"), self._before_end)
        telemetry = self._telemetry = Telemetry(
            self._pipeline.provider,
            PROVIDERS,
            self._found.find if settings.find_tools else None,
        )
        measure.telemetry = lambda: self._telemetry
        self._pipeline.when_set(telemetry.attend)
        for provider in PROVIDERS:
            wrapt.register_post_import_hook(
                functools.partial(self._patch, telemetry, provider), provider.module
            )
        for pattern in settings.tool_patterns:
            wrapt.register_post_import_hook(
                functools.partial(self._measure, telemetry, pattern.names), pattern.module
            )

    @harmless(None)
    def _uninstrument(self, **kwargs: Any) -> None:  # noqa: ARG002
        self._patches.undo()
        self._found.undo()
        self._pipeline.close()
        self._telemetry = None
        measure.telemetry = lambda: None

    @harmless(None)
    def _patch(self, telemetry: Telemetry, provider: Provider, module: ModuleType) -> None:  # noqa: ARG002
        # A hook cannot be taken back: one of an earlier life of ours has nothing to do any more.
        if telemetry is self._telemetry:
            self._patches.apply(provider, telemetry)

    @harmless(None)
    def _measure(self, telemetry: Telemetry, names: str, module: ModuleType) -> None:
        if telemetry is self._telemetry:
            self._found.measure_module(module, names)

    def _before_end(self) -> None:
        if self._telemetry is not None:
            self._telemetry.end_idle_runs()


def instrument(**kwargs: Any) -> None:
    """Enable the plugin in this process.

    `tracer_provider` is where spans go; see `CausepathInstrumentor` for what happens without one.
    """
    CausepathInstrumentor().instrument(skip_dep_check=True, **kwargs)


def uninstrument() -> None:
    """Disable the plugin and put back what it wrapped. Spans not yet written are written."""
    CausepathInstrumentor().uninstrument()
