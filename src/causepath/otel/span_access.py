"""Spans as they are, whoever made them: what they say, and writing to them without detours."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.trace import SpanKind, StatusCode

from causepath.otel import semconv

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext

    from causepath.otel.endings import Ending
    from causepath.providers.provider import Provider

Key = tuple[int, int]
"""The trace id and the span id of a span."""

SCOPE = "causepath"
"""The instrumentation scope of the spans we write."""

SUPPRESSED_KEYS = (otel._SUPPRESS_INSTRUMENTATION_KEY, "suppress_instrumentation")  # noqa: SLF001
"""As in `opentelemetry.instrumentation.utils`, whose import takes longer than all of ours."""


def write(span: Any, attributes: Mapping[str, Any], *, only_missing: bool = False) -> None:
    """Sets attributes that need no cleaning: numbers, texts and tuples of texts.

    The SDK looks at every value as if it could be anything, which takes as long as half of what is
    done for a model call. Where its span keeps attributes as we know it, and none has to be cut or
    dropped, they are put there at once.
    """
    kept = span._attributes if _keeps_plainly(span.__class__) else None  # noqa: SLF001
    if (
        kept is None
        or kept.max_value_len is not None
        or (kept.maxlen is not None and len(kept._dict) + len(attributes) > kept.maxlen)  # noqa: SLF001
    ):
        there = attributes_of(span) if only_missing else ()
        span.set_attributes({k: v for k, v in attributes.items() if k not in there})
    elif not kept._immutable:  # noqa: SLF001 - as it is once the span has ended
        with kept._lock:  # noqa: SLF001
            stored = kept._dict  # noqa: SLF001
            stored.update({**attributes, **stored} if only_missing else attributes)


@functools.lru_cache(maxsize=64)
def _keeps_plainly(kind: type) -> bool:
    """Tells a class of the SDK's own spans, of a release that keeps attributes so."""
    parts = {"_dict", "_lock", "_immutable", "maxlen", "max_value_len"}
    return (
        kind.__module__ == "opentelemetry.sdk.trace" and parts <= vars(BoundedAttributes()).keys()
    )


def take_away(span: Any, names: Iterable[str]) -> None:
    """Removes attributes, which OpenTelemetry has no way for, where the span is the SDK's own."""
    if _keeps_plainly(span.__class__):
        with span._attributes._lock:  # noqa: SLF001
            for name in names:
                span._attributes._dict.pop(name, None)  # noqa: SLF001


def is_suppressed(here: Context | None = None) -> bool:
    here = otel.get_current() if here is None else here
    return bool(here) and any(map(here.get, SUPPRESSED_KEYS))


def key_of(context: SpanContext) -> Key:
    return context[:2]


def unsuppressed(context: Context) -> Context:
    """Gives the context for what does not belong to the operation that suppressed us."""
    for key in SUPPRESSED_KEYS:
        if context.get(key):
            context = otel.set_value(key, None, context)
    return context


def scope_of(span: Any) -> str:
    return getattr(getattr(span, "instrumentation_scope", None), "name", "")


def attributes_of(span: Any) -> Mapping[str, Any]:
    """Gives attributes to look something up in: the SDK's own view takes ten times as long."""
    if _keeps_plainly(span.__class__):
        stored = getattr(span._attributes, "_dict", None)  # noqa: SLF001
        if type(stored) is dict:
            return stored
    return getattr(span, "attributes", None) or {}


def name_of(span: Any) -> str:
    return getattr(span, "name", "")


def is_native(provider: Provider, span: Any) -> bool:
    """Tells a span that the SDK of `provider` itself writes."""
    return provider.native is not None and scope_of(span).startswith(provider.native.scope)


def is_client(span: Any) -> bool:
    return getattr(span, "kind", None) is SpanKind.CLIENT


def is_server(span: Any) -> bool:
    return getattr(span, "kind", None) is SpanKind.SERVER


def write_ending(span: Span, ending: Ending, reason: str | None = None) -> None:
    """Says how what a span measures has ended, and for what reason if anybody wants to know; of a
    run, also in the words of a report."""
    if attributes_of(span).get(semconv.OPERATION) == "invoke_agent":
        span.set_attribute(semconv.RUN_OUTCOME, ending.outcome)
    if ending.is_error:
        span.set_status(StatusCode.ERROR, reason)
        if ending.error_type is not None:
            span.set_attribute(semconv.ERROR_TYPE, ending.error_type)
