"""Attributes are written to the SDK's spans without its looking at each: to the same effect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.trace import INVALID_SPAN

from causepath.otel.span_access import attributes_of, write

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest

VALUES = st.one_of(
    st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.tuples(st.text())
)
ATTRIBUTES = st.dictionaries(st.text("abcd", min_size=1, max_size=2), VALUES, max_size=6)
LIMITS = st.builds(
    SpanLimits,
    max_span_attributes=st.sampled_from([SpanLimits.UNSET, 0, 3, 8]),
    max_span_attribute_length=st.sampled_from([SpanLimits.UNSET, 2]),
)


def kept(span: Any) -> tuple[Mapping[str, Any], int]:
    """What a span says in the end, and how much of it was dropped."""
    span.end()
    assert dict(attributes_of(span)) == dict(span.attributes)
    return dict(span.attributes), span.dropped_attributes


@given(LIMITS, ATTRIBUTES, ATTRIBUTES, st.booleans())
def test_it_is_as_set_attributes(
    limits: SpanLimits, first: dict[str, Any], then: dict[str, Any], only_missing: bool
) -> None:
    tracer = TracerProvider(span_limits=limits, shutdown_on_exit=False).get_tracer("test")
    ours, theirs = (tracer.start_span("s", attributes=first) for _ in range(2))
    there = theirs.attributes  # type: ignore[attr-defined]
    theirs.set_attributes({k: v for k, v in then.items() if not (only_missing and k in there)})
    write(ours, then, only_missing=only_missing)
    assert kept(ours) == kept(theirs)


def test_it_does_not_ask_the_span_where_that_keeps_them_as_we_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    span: Any = TracerProvider(shutdown_on_exit=False).get_tracer("test").start_span("s")
    monkeypatch.setattr(type(span), "set_attributes", None)
    write(span, {"a": 1})
    assert kept(span) == ({"a": 1}, 0)


def test_what_comes_after_the_end_is_not_said() -> None:
    span: Any = TracerProvider(shutdown_on_exit=False).get_tracer("test").start_span("s")
    span.end()
    write(span, {"a": 1})
    assert dict(span.attributes) == {}


class Wrapped:
    """As some instrumentations wrap spans, to look at what is said."""

    def __init__(self, span: Any) -> None:
        self._span = span
        self.seen: list[Mapping[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._span, name)

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        self.seen.append(attributes)
        self._span.set_attributes(attributes)


def test_a_span_that_somebody_wraps_is_asked() -> None:
    span = Wrapped(TracerProvider(shutdown_on_exit=False).get_tracer("test").start_span("s"))
    write(span, {"a": 1})
    write(span, {"a": 2, "b": 3}, only_missing=True)
    assert span.seen == [{"a": 1}, {"b": 3}]
    assert dict(attributes_of(span)) == {"a": 1, "b": 3}


def test_a_span_that_keeps_nothing_is_left_alone() -> None:
    write(INVALID_SPAN, {"a": 1})
    assert attributes_of(INVALID_SPAN) == {}
