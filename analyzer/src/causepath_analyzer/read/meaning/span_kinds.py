"""The kinds of spans by the numbers that OTLP and OpenTelemetry's SDKs have for them."""

from typing import Final

from causepath_analyzer.model import SpanKind

BY_NUMBER: Final[tuple[SpanKind, ...]] = (
    "internal",
    "internal",
    "server",
    "client",
    "producer",
    "consumer",
)


def kind_of(number: int | None) -> SpanKind:
    """Names the kind with a number; one that nobody knows is internal, as an unset one is."""
    if number is None or not 0 <= number < len(BY_NUMBER):
        return "internal"
    return BY_NUMBER[number]
