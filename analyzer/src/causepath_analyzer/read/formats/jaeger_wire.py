"""Jaeger v1 JSON as it is on the wire, for the reader and for what is written back whole.

Times are microseconds. A tag says its type, as lists, bools and large numbers may arrive as text.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct

from causepath_analyzer.read.formats import values
from causepath_analyzer.read.formats.values import Number

US: Final = 1_000
"""Nanoseconds of a microsecond."""
KIND: Final = "span.kind"
"""The tag that names the kind of a span."""


class Tag(Struct, gc=False):
    """A fact about a span, a process or an event."""

    key: str
    value: Raw = Raw(b"null")
    type: Raw = values.ABSENT


class Reference(Struct, gc=False):
    """A span that another one comes after, or lies in."""

    refType: str = "CHILD_OF"  # noqa: N815
    traceID: str = ""  # noqa: N815
    spanID: str = ""  # noqa: N815


class Log(Struct, gc=False):
    """An event in a span."""

    timestamp: Number = None
    fields: list[Tag] | None = None


class Process(Struct, gc=False):
    """The service that spans are of."""

    serviceName: str | None = None  # noqa: N815
    tags: list[Tag] | None = None


class Span(Struct, gc=False):
    """A span. Its process stands in it, or is named and stands beside all spans."""

    traceID: str = ""  # noqa: N815
    spanID: str = ""  # noqa: N815
    parentSpanID: str | None = None  # noqa: N815
    operationName: str | None = None  # noqa: N815
    references: list[Reference] | None = None
    startTime: Number = None  # noqa: N815
    duration: Number = None
    tags: list[Tag] | None = None
    logs: list[Log] | None = None
    processID: str | None = None  # noqa: N815
    process: Process | None = None


class Trace(Struct, gc=False):
    """A trace, each span of which is decoded by itself."""

    traceID: str = ""  # noqa: N815
    spans: list[Raw] | None = None
    processes: dict[str, Process] | None = None


class Answer(Trace, gc=False):
    """An answer of the API, or a trace alone."""

    data: list[Trace] | Trace | None = None


Document = Answer | list[Answer]

DOCUMENT: Final = msgspec.json.Decoder(Document)
SPAN: Final = msgspec.json.Decoder(Span)


def traces(decoded: Document) -> Iterator[Trace]:
    """Lists the traces of a document that have spans."""
    for answer in decoded if isinstance(decoded, list) else [decoded]:
        data = answer.data
        for trace in (answer, *(data if isinstance(data, list) else [data] if data else [])):
            if trace.spans is not None:
                yield trace


def parent_and_others(wire: Span) -> tuple[str | None, Sequence[tuple[Reference, bool]]]:
    """Finds the id of the parent (``CHILD_OF`` in this trace, else ``FOLLOWS_FROM``), and tells of
    all other references whether they lead into this trace."""
    every = wire.references or ()
    here = [not r.traceID or r.traceID == wire.traceID for r in every]
    own = [r for r, is_here in zip(every, here, strict=True) if is_here]
    parent = next((r for r in own if r.refType == "CHILD_OF"), None)
    if parent is None and not wire.parentSpanID:
        parent = next((r for r in own if r.refType == "FOLLOWS_FROM"), None)
    others = [(r, is_here) for r, is_here in zip(every, here, strict=True) if r is not parent]
    return wire.parentSpanID if parent is None else parent.spanID, others
