"""Phoenix: pages of spans from its REST API, a list of them, or the records of its dataframe.

Attributes are dotted or nested, and lists where the wire had numbers.
"""

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Raw, Struct, field

from causepath_analyzer import attributes as names
from causepath_analyzer.model import Skipped
from causepath_analyzer.read.format import Found, JsonFormat, span_id, trace_id
from causepath_analyzer.read.formats import values
from causepath_analyzer.read.formats.values import Id, Number
from causepath_analyzer.read.meaning import normalise
from causepath_analyzer.read.meaning.asked import labelled


class _Context(Struct, gc=False):
    trace_id: Id = None
    span_id: Id = None


class _Event(Struct, gc=False):
    name: str | None = None
    timestamp: Number = None


class _Span(Struct, gc=False):
    name: str | None = None
    context: _Context | None = None
    # The columns of a dataframe, which also have the attributes, as "attributes.*":
    trace_id: Id = field(default=None, name="context.trace_id")
    span_id: Id = field(default=None, name="context.span_id")
    span_kind: str | None = None
    parent_id: Id = None
    start_time: Number = None
    end_time: Number = None
    status_code: str | None = None
    attributes: dict[str, Raw] | None = None
    events: list[_Event] | None = None


_SPAN: Final = msgspec.json.Decoder(_Span)
_OBJECT: Final = msgspec.json.Decoder(dict[str, Raw])
_MARKS: Final = (b'"span_kind"', b'"context')
_COLUMN: Final = "attributes."
# The names that begin so are worth looking into.
_PREFIXES: Final = frozenset(
    name[:at] for name in names.UNDERSTOOD for at, letter in enumerate(name) if letter == "."
)
_LISTED: Final = msgspec.json.Decoder(list[Raw])
_KIND: Final = "openinference.span.kind"
_DEEPEST: Final = 8
_NO_RESOURCE: Final = normalise.resource({})


def read(document: bytes, where: str) -> list[Found] | None:
    """The spans of `document`, a page or a list; ``None`` if there is no span of Phoenix in it."""
    if not all(mark in document for mark in _MARKS):
        return None
    raws = values.listed(document, "data")
    if raws is None:
        return None
    found: list[Found] = []
    is_ours = False
    wires = values.decoded(raws, _SPAN, where, "a span")
    for raw, wire in zip(raws, wires, strict=True):
        if isinstance(wire, Skipped):
            found.append(wire)
            continue
        context = wire.context or (_Context(wire.trace_id, wire.span_id) if wire.span_id else None)
        if context is None or wire.span_kind is None:
            found.append(Skipped(where, "an object without context or span_kind"))
        else:
            is_ours = True
            attributes = wire.attributes if wire.context is not None else _columns(raw)
            found.append(_span(wire, context, wire.span_kind, attributes or {}, where))
    return found if is_ours else None


def _columns(raw: Raw) -> dict[str, Raw]:
    found = _OBJECT.decode(raw)
    return {k.removeprefix(_COLUMN): v for k, v in found.items() if k.startswith(_COLUMN)}


def _span(
    wire: _Span, context: _Context, kind: str, attributes: dict[str, Raw], where: str
) -> Found:
    identity = span_id(values.hex_id(context.span_id, 16))
    trace = values.hex_id(context.trace_id, 32)
    start_ns = values.time_ns(wire.start_time)
    if not identity or not trace or start_ns is None:
        return Skipped(where, f"span {identity or wire.name or '?'} without id or start time")
    understood = values.attributes(_dotted(attributes))
    understood[_KIND] = kind
    understood |= values.noted((e.name, values.time_ns(e.timestamp)) for e in wire.events or ())
    emitted = normalise.Emitted(
        trace_id(trace),
        identity,
        span_id(values.hex_id(wire.parent_id, 16)),
        wire.name or "",
        "internal",
        start_ns,
        values.time_ns(wire.end_time),
        wire.status_code == "ERROR",
    )
    return labelled(normalise.span(emitted, understood, _NO_RESOURCE, ""), attributes, understood)


def _dotted(attributes: dict[str, Raw]) -> dict[str, Raw]:
    """`attributes` with the names of nested objects, and numbers in lists, joined by dots."""
    found: dict[str, Raw] = {}
    level = attributes
    for _ in range(_DEEPEST):
        below: dict[str, Raw] = {}
        for path, raw in level.items():
            found[path] = raw
            if path in _PREFIXES:
                below.update({f"{path}.{name}": value for name, value in _inner(raw)})
        if not below:
            break
        level = below
    return found


def _inner(raw: Raw) -> Iterable[tuple[str, Raw]]:
    begins = bytes(memoryview(raw)[:1])
    try:
        if begins == b"{":
            return _OBJECT.decode(raw).items()
        if begins == b"[":
            return zip(map(str, range(names.MOST_INDEXED)), _LISTED.decode(raw), strict=False)
    except values.DAMAGED:
        pass
    return ()


FORMAT = JsonFormat("phoenix", read)
