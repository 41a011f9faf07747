"""Spans of model calls that other instrumentations have open.

One call is one span. Where somebody else writes it already, it is completed and not written again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from causepath.calls.strands import strand
from causepath.otel.categories import category
from causepath.otel.span_access import attributes_of, is_client, key_of, name_of, scope_of

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext

    from causepath.calls.strands import Strand
    from causepath.otel.span_access import Key

MAX_OPEN = 10_000
"""Spans watched at a time; more are left alone."""

PROVIDER_ATTRIBUTES = ("gen_ai.provider.name", "gen_ai.system", "llm.system", "llm.provider")


@dataclass(eq=False, slots=True)
class OtherSpan:
    """A model call as another instrumentation sees it."""

    span: Span
    parent: SpanContext | None
    strand: Strand
    """The thread and the task that it was started in."""
    claimed: bool = False
    """It is the span of a call that we know of."""
    says_so: bool = True
    """It says that it is of a model call, and is not just named like one."""


class OtherSpans:
    """The spans that are open now, `open` by their keys. Safe to use from any thread."""

    def __init__(self) -> None:
        self._open: dict[Key, OtherSpan] = {}
        self.open = self._open.keys()

    def started(self, span: Span, parent_context: Context, *, says_so: bool = True) -> None:
        """Notes that a span of a model call has started, or one that may say so a little later."""
        if len(self._open) < MAX_OPEN:
            parent = trace.get_current_span(parent_context).get_span_context()
            self._open[key_of(span.get_span_context())] = OtherSpan(
                span, parent if parent.is_valid else None, strand(), says_so=says_so
            )

    def ended(self, key: Key) -> None:
        self._open.pop(key, None)

    def clear(self) -> None:
        self._open.clear()

    def current(self, context: SpanContext) -> OtherSpan | None:
        """Finds the span with this context, if it is of a model call."""
        found = self._open.get(key_of(context))
        return found if found is not None and _is_of_call(found) else None

    def of_call(self, current: SpanContext, provider: str) -> OtherSpan | None:
        """Finds the span that another library has for a call of `provider` about to be made here.

        It is the `current` one; else one that was started here without being made current, if it
        says that it is of this provider. No span is the span of two calls.
        """
        found = self.current(current)
        if found is None:
            here, parent = strand(), current if current.is_valid else None
            for one in reversed(list(self._open.values())):
                if (
                    one.strand == here
                    and one.parent == parent
                    and not one.claimed
                    and _is_of_call(one)
                ):
                    found = one if _is_of(provider, one.span) else None
                    break
        if found is None or found.claimed or not found.span.is_recording():
            return None
        return found


def _is_of_call(one: OtherSpan) -> bool:
    if not one.says_so:
        span = one.span
        said = category(attributes_of(span), name=name_of(span), client=is_client(span))
        one.says_so = said == "llm"
    return one.says_so


def _is_of(provider: str, span: Any) -> bool:
    attributes = attributes_of(span)
    said = [attributes.get(name) for name in PROVIDER_ATTRIBUTES]
    words = [word for word in said if isinstance(word, str)] or [scope_of(span)]
    return any(provider in word.lower() for word in words)
