"""A tracer provider that stands in for the application's until that is set up.

Who asks it for a tracer may keep that for good, as modules do when they are imported. So its
tracers hand over to the provider in force once there is another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.sdk.trace import Tracer, TracerProvider

if TYPE_CHECKING:
    from opentelemetry.trace import Span


class StandIn(TracerProvider):
    """The SDK's provider, whose tracers hand over."""

    def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:
        tracer = super().get_tracer(*args, **kwargs)
        if type(tracer) is Tracer:
            tracer.__class__ = HandingOver
            vars(tracer).update(_made_by=self, _asked=(args, kwargs))
        return tracer


class HandingOver(Tracer):
    """A tracer of a stand-in."""

    _made_by: StandIn
    _asked: tuple[Any, Any]
    _real_tracer: trace.Tracer | None = None
    """Of the provider that took over, as `ProxyTracer` has it."""

    def start_span(self, *args: Any, **kwargs: Any) -> Span:
        in_force = trace._TRACER_PROVIDER  # noqa: SLF001
        if in_force is self._made_by or in_force is None:
            return super().start_span(*args, **kwargs)
        if self._real_tracer is None:
            names, named = self._asked
            self._real_tracer = in_force.get_tracer(*names, **named)
        return self._real_tracer.start_span(*args, **kwargs)
