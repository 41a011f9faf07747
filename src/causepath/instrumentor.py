"""Enabling the plugin: read the configuration once, patch, and put everything back one day."""

from __future__ import annotations

import functools
import importlib
import sys
import threading
import time
from typing import TYPE_CHECKING

from causepath import config
from causepath.arguments import meant, no_others
from causepath.calls.telemetry import Telemetry
from causepath.code import frameworks
from causepath.export.account import Account, why_no_call
from causepath.export.tracer_provider import Pipeline
from causepath.forks import is_outermost_process
from causepath.guard import harmless, say
from causepath.hooks import claude_agent, mcp
from causepath.hooks.carried_context import Carriers
from causepath.hooks.import_hooks import forget, when_imported
from causepath.otel.endings import end_of_process, noting
from causepath.tool_functions import measured_functions
from causepath.tool_functions.found_tools import FoundTools

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

    from opentelemetry.trace import TracerProvider

    from causepath.hooks.frameworks import Frameworks
    from causepath.hooks.patches import Hooks, Patches
    from causepath.hooks.process_pools import ProcessPools
    from causepath.providers.provider import Provider

PROVIDERS = {
    "anthropic": "causepath.providers.anthropic",
    "openai": "causepath.providers.openai",
    "google.genai": "causepath.providers.google_genai",
}
"""By the module whose import makes patching possible: where the provider is described."""


class Plugin:
    """Enabled or not, and what it takes to put everything back. There is one in a process."""

    def __init__(self) -> None:
        self.enabled = False
        self._lock = threading.RLock()
        self._telemetry: Telemetry | None = None
        self._redact: Callable[[str], str] | None = None

    @harmless(None)
    def enable(
        self, tracer_provider: TracerProvider | None, redact: Callable[[str], str] | None
    ) -> None:
        with self._lock:
            self._redact = redact or self._redact
            if not self.enabled:
                self.enabled = True
                self._enable(tracer_provider)
                return
            if self._telemetry is not None and self._telemetry.words.content is not None:
                self._telemetry.words.content.redact = self._redact
            if self._telemetry is not None and tracer_provider is not None:
                self._pipeline.give(tracer_provider)
                self._telemetry.tracing.attend(tracer_provider)

    @harmless(False)
    def flush(self, *, ends_runs: bool) -> bool:
        if self._telemetry is None:
            return False
        if ends_runs:
            self._telemetry.open_calls.write_what_others_left(time.time_ns())
            self._telemetry.run_spans.end_idle()
        return self._pipeline.flush()

    @harmless(None)
    def disable(self) -> None:
        with self._lock:
            if self.enabled:
                self._disable()
                self._redact = None
                self.enabled = False

    @harmless(None)
    def _enable(self, tracer_provider: TracerProvider | None) -> None:
        settings = self._settings = config.from_environment()
        self._patches: Patches | None = None
        self._notes_deadlines = self._complained = False
        self._hooks: list[tuple[str, Callable[[ModuleType], object]]] = []
        self._found = FoundTools()
        self._pools: ProcessPools | None = None
        self._unseen_modules = {pattern.module for pattern in settings.tool_patterns}
        self._sdk_ns: int | None = None
        self._account = Account(settings.account)
        self._account.loaded(settings.complaints)
        self._pipeline = Pipeline(settings, tracer_provider, self._before_end, self._after_end)
        telemetry = self._telemetry = Telemetry(
            self._pipeline.provider,
            self._found if settings.find_tools else None,
        )
        measured_functions.active = measured_functions.Measuring(
            telemetry.runs, telemetry.run_spans, telemetry.tool_calls, telemetry.possible_calls
        )
        self._pipeline.when_set(telemetry.tracing.attend, telemetry.tracing.set_up_for_others)
        for module, description in PROVIDERS.items():
            self._when_imported(module, functools.partial(self._patch, telemetry, description))
        self._agents = claude_agent.ClaudeSessions(telemetry.run_spans)
        for hooks in (
            mcp.Sessions(telemetry.tool_calls),
            self._agents,
            Carriers(telemetry.runs, self._found.handed_over),
        ):
            for name in hooks.modules:
                self._when_imported(name, functools.partial(self._wrap, hooks))
        for name in ("concurrent.futures.process", "multiprocessing.pool"):
            self._when_imported(name, functools.partial(self._wrap_pools, telemetry))
        self._frameworks: Frameworks | None = None
        for name in frameworks.MODULES:
            self._when_imported(name, functools.partial(self._wrap_framework, telemetry))
        for pattern in settings.tool_patterns:
            self._when_imported(pattern.module, functools.partial(self._measure, pattern.names))

    def _when_imported(self, name: str, patch: Callable[[ModuleType], object]) -> None:
        """Patches a module once it is imported, if this life of ours has not ended by then."""
        telemetry = self._telemetry

        @harmless(None)
        def hook(module: ModuleType) -> None:
            if telemetry is self._telemetry:
                patch(module)

        self._hooks.append((name, hook))
        when_imported(name, hook)

    @harmless(None)
    def _disable(self) -> None:
        for name, hook in self._hooks:
            forget(name, hook)
        measured_functions.active = None
        if self._patches is not None:
            self._patches.undo()
        self._found.undo()
        if self._frameworks is not None:
            self._frameworks.undo()
        if self._pools is not None:
            self._pools.undo()
        self._pipeline.close()
        if self._telemetry is not None:
            self._telemetry.close()
        self._telemetry = None

    def _patch(self, telemetry: Telemetry, description: str, module: ModuleType) -> None:  # noqa: ARG002
        self._complain()
        self._sdk_ns = self._sdk_ns or time.time_ns()
        if self._settings.digests and telemetry.words.evidence is None:
            from causepath.content.digest_key import digest_key
            from causepath.content.provenance import Evidence

            telemetry.words.evidence = Evidence(digest_key(self._settings.digest_key))
        if self._settings.content is not None and telemetry.words.content is None:
            from causepath.content.recording import Content

            evidence = telemetry.words.evidence
            digest = evidence.digest if evidence is not None else None
            telemetry.words.content = Content(self._settings.content, self._redact, digest)
        telemetry.model_calls.asks_diagnosis = self._settings.cache_diagnosis
        provider: Provider = importlib.import_module(description).PROVIDER
        telemetry.providers.append(provider)
        self._changed().apply(
            provider, telemetry.model_calls, telemetry.tool_calls, telemetry.tracing.set_up
        )
        if "asyncio.timeouts" in sys.modules and not self._notes_deadlines:
            self._notes_deadlines = True
            self._changed().wrap("asyncio.timeouts", "Timeout._on_timeout", noting)
        self._pipeline.prepare()

    def _wrap(self, hooks: Hooks, module: ModuleType) -> None:
        hooks.wrap(module, self._changed())

    def _wrap_pools(self, telemetry: Telemetry, module: ModuleType) -> None:
        from causepath.hooks.process_pools import ProcessPools

        self._pools = self._pools or ProcessPools(telemetry.runs, telemetry.tool_calls)
        self._pools.wrap(module, self._changed())

    def _wrap_framework(self, telemetry: Telemetry, module: ModuleType) -> None:
        from causepath.hooks.frameworks import Frameworks

        self._frameworks = self._frameworks or Frameworks(
            telemetry.runs, telemetry.run_spans, telemetry.tool_calls
        )
        self._frameworks.wrap(module, self._changed())

    def _changed(self) -> Patches:
        from causepath.hooks.patches import Patches

        self._patches = self._patches or Patches()
        return self._patches

    def _measure(self, names: str, module: ModuleType) -> None:
        measured = self._found.measure_module(module, names)
        self._unseen_modules.discard(module.__name__)
        if not measured and is_outermost_process():
            public = [
                name for name, one in vars(module).items() if measured_functions.is_function(one)
            ]
            say(
                f"{config.CAUSEPATH_TOOLS}={module.__name__}:{names}: no function of that "
                f"module has such a name{meant(names, public)}"
            )

    def _complain(self) -> None:
        """Say what the environment asks for and does not get, once, where there is an agent."""
        if not self._complained:
            self._complained = True
            for complaint in self._settings.complaints if is_outermost_process() else ():
                say(complaint)

    def _complain_of_tools(self) -> None:
        """Say which modules of tools were never imported, so that nothing of them was measured."""
        for module in self._unseen_modules if is_outermost_process() else ():
            say(
                f"{config.CAUSEPATH_TOOLS}: the module {module!r} was never imported"
                f"{meant(module, sys.modules)}"
            )

    def _before_end(self, signal_name: str | None) -> None:
        if self._telemetry is not None:
            self._complain_of_tools()
            self._telemetry.open_calls.write_what_others_left(time.time_ns())
            self._agents.end_open()
            self._telemetry.end_open(self._pipeline.write_open, end_of_process(signal_name))

    def _after_end(self) -> None:
        """Say why there is nothing to see, where that is so."""
        telemetry = self._telemetry
        if telemetry is None:
            return
        sdks = [provider.name for provider in telemetry.providers]
        reason = None
        seen = telemetry.open_calls
        if seen.calls or seen.begun:
            reason = self._pipeline.why_nothing(recorded=seen.passed > 0)
        elif self._pipeline.is_asked_for_spans():
            reason = why_no_call(sdks)
        if self._account.is_kept:
            to, lost = self._pipeline.destinations(), self._pipeline.lost()
            why = reason or self._pipeline.why_none
            self._account.ended(seen.calls, sdks, self._sdk_ns, why, to, lost)
        if reason is not None and not self._account.is_kept and is_outermost_process():
            say(reason)


_PLUGIN = Plugin()


@no_others
def instrument(
    tracer_provider: TracerProvider | None = None,
    *,
    redact: Callable[[str], str] | None = None,
) -> None:
    """Trace every model SDK that this process imports, now or later.

    Spans go to `tracer_provider`; without one, to the application's, else as `OTEL_*` say, else to
    `causepath-traces.jsonl`. Where content is recorded, `redact` gets each text and gives what to
    record in its place; if it raises, nothing is recorded. Instrumenting again does nothing more,
    but for a new `tracer_provider` or `redact`, which are used from then on. A wrong argument is a
    `TypeError`, and nothing is enabled then.
    """
    if tracer_provider is not None and (
        isinstance(tracer_provider, type)
        or not callable(getattr(tracer_provider, "get_tracer", None))
    ):
        raise TypeError(
            "causepath.instrument(tracer_provider=...) takes a TracerProvider of OpenTelemetry, "
            f"not {_kind(tracer_provider)}"
        )
    if redact is not None and not callable(redact):
        raise TypeError(
            "causepath.instrument(redact=...) takes a function that is given a text and gives what "
            f"to record in its place, not {_kind(redact)}"
        )
    _PLUGIN.enable(tracer_provider, redact)


def _kind(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def uninstrument() -> None:
    """Disable the plugin and put back what it wrapped. Spans not yet written are written."""
    _PLUGIN.disable()


def flush(*, ends_runs: bool) -> bool:
    """Write all spans that have ended, of the runs that nothing goes on in, too, if these are over;
    false if not to the trace file."""
    return bool(_PLUGIN.flush(ends_runs=ends_runs))


def trace_file() -> Path:
    """Give the file that spans go to where nobody has set up OpenTelemetry."""
    return config.from_environment().file


def is_enabled() -> bool:
    return _PLUGIN.enabled
