"""Where our spans go: the tracer of the provider in force, and the spans of others that pass it."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry import trace

from causepath.guard import harmless
from causepath.otel.span_access import SCOPE
from causepath.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Tracer, TracerProvider

    from causepath.providers.provider import NativeSpans, Provider


class Watcher(Protocol):
    """A span processor that lets go of everything when it is shut down."""

    def shutdown(self) -> None: ...


class Tracing:
    """The tracer that writes every span of the plugin, and the providers whose spans it sees."""

    def __init__(
        self,
        tracer_provider: Callable[[], TracerProvider],
        new_watcher: Callable[[], Watcher],
        providers: list[Provider],
    ) -> None:
        """Begins with no provider. `providers` are the SDKs that have been imported by now."""
        self._tracer_provider = tracer_provider
        self._new_watcher = new_watcher
        self._providers = providers
        self._tracer: tuple[TracerProvider, Tracer] | None = None
        self._seen: tuple[object, object] = (None, None)
        """The tracer of an SDK whose spans come past us as long as `_tracer` stays."""
        # By identity, as the providers of some cannot be hashed.
        self._attended: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self._watchers: list[tuple[Any, Watcher]] = []
        self._begins = False
        self.tells_us_first = False
        """Whether a span that ends when the provider is flushed or ends still arrives."""

    def tracer(self) -> Tracer:
        """Gives our tracer of the provider in force, which is attended and remembered."""
        provider = self._tracer_provider()
        if self._tracer is None or self._tracer[0] is not provider:
            self.attend(provider)
            self._tracer = provider, provider.get_tracer(SCOPE, __version__)
        return self._tracer[1]

    @harmless(None)
    def set_up(self) -> None:
        """Prepares for spans that are not ours, perhaps the first of the process."""
        self.tracer()

    def set_up_for_others(self) -> None:
        """Prepares for a span of another library, perhaps around model calls, if the application
        has not set up OpenTelemetry: the first request of a server is to look like all others."""
        if self._providers and not self._begins:
            self._begins = True
            try:
                self.set_up()
            finally:
                self._begins = False

    def attend(self, provider: object) -> None:
        """Lets every span of `provider` pass our processor. Once for each provider."""
        add = getattr(provider, "add_span_processor", None)
        if add is not None and id(provider) not in self._attended:
            self._attended[id(provider)] = provider
            watcher = self._new_watcher()
            self._watchers.append((provider, watcher))
            add(watcher)
            self.tells_us_first = _put_first(provider, watcher)

    def sees(self, native: NativeSpans, tracer: object, client: Any) -> bool:
        """Tells whether the spans that an SDK writes with this tracer of its client pass us."""
        if tracer is self._seen[0] and self._tracer is self._seen[1]:
            return True
        own_provider = native.tracer_provider(client)
        if own_provider is not None:
            self.attend(own_provider)
            return True
        in_force = self._tracer[0] if self._tracer is not None else None
        if in_force is not trace.get_tracer_provider():
            return False
        theirs = _processor_of(tracer)
        ours = getattr(in_force, "_active_span_processor", None)
        if theirs is not None and theirs is ours:
            self._seen = tracer, self._tracer
        return theirs is None or ours is None or theirs is ours

    def close(self) -> None:
        """Watches no more spans."""
        for provider, watcher in self._watchers:
            watcher.shutdown()
            _take_away(provider, watcher)
        self._watchers.clear()


def _take_away(provider: Any, watcher: Watcher) -> None:
    """Lets a provider forget a processor, which the SDK has no way for."""
    together: Any = getattr(provider, "_active_span_processor", None)
    if isinstance(getattr(together, "_span_processors", None), tuple):
        with together._lock:  # noqa: SLF001
            kept = tuple(one for one in together._span_processors if one is not watcher)  # noqa: SLF001
            together._span_processors = kept  # noqa: SLF001


def _put_first(provider: Any, watcher: Watcher) -> bool:
    """Lets a provider flush and end the watcher before those that spans go to.

    Returns whether it does: the SDK has no way to say so.
    """
    together: Any = getattr(provider, "_active_span_processor", None)
    if not isinstance(getattr(together, "_span_processors", None), tuple):
        return False
    with together._lock:  # noqa: SLF001
        others = tuple(one for one in together._span_processors if one is not watcher)  # noqa: SLF001
        together._span_processors = (watcher, *others)  # noqa: SLF001
    return True


def _processor_of(tracer: Any) -> object:
    """Finds where a tracer of an SDK, which keeps it for good, sends its spans, if it knows yet."""
    return getattr(getattr(tracer, "_real_tracer", None) or tracer, "span_processor", None)
