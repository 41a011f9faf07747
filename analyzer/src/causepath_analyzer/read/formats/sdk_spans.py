"""What the spans that SDKs of OpenTelemetry print have in common: one by one, events and links."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

import msgspec
from msgspec import Raw

from causepath_analyzer import attributes as names
from causepath_analyzer.model import Link, Skipped
from causepath_analyzer.read.format import Found, span_id, trace_id
from causepath_analyzer.read.formats import values
from causepath_analyzer.read.meaning import normalise

T = TypeVar("T")
A = TypeVar("A")

_EXCEPTION: Final = frozenset((names.EXCEPTION_TYPE,))


def read_each(
    document: bytes,
    under: str,
    decoder: "msgspec.json.Decoder[T]",
    where: str,
    read: Callable[[T, str], Found | None],
) -> list[Found] | None:
    """Reads the spans of `document`: one, a list of them, or an object with them `under` a name.

    `read` gives ``None`` for what is no span of its SDK, and so does this if nothing is one.
    """
    raws = values.listed(document, under)
    if raws is None:
        return None
    found: list[Found] = []
    is_ours = False
    for wire in values.decoded(raws, decoder, where, "a span"):
        one: Found | None = wire if isinstance(wire, Skipped) else read(wire, where)
        is_ours = is_ours or (one is not None and one is not wire)
        found.append(one or Skipped(where, "an object without the context of a span"))
    return found if is_ours else None


def without_id_or_start(identity: str, name: str | None, where: str) -> Skipped:
    """Says that a span lacks what every span has."""
    return Skipped(where, f"span {identity or name or '?'} without id or start time")


def told_by_events(
    events: Iterable[tuple[str | None, int | None, A]], read: Callable[[A], Mapping[str, Raw]]
) -> values.Attributes:
    """Gathers what events say that no attribute does: the first token, and what was raised.

    An event is its name, its time in ns and its attributes, which are `read` where they matter.
    """
    every = list(events)
    understood = values.noted((name, at_ns) for name, at_ns, _ in every)
    for name, _, attributes in every:
        if name == names.EXCEPTION:
            understood |= values.attributes(read(attributes), _EXCEPTION)
    return understood


def link(
    identity: str | None, trace: str | None, told: Mapping[str, Raw] | None, here: str
) -> Link:
    """Makes a link to the span `identity`, which says its trace if that is not `here`."""
    why = normalise.why_linked(values.attributes(told, names.LINKS))
    away = trace_id(trace) if trace else ""
    return Link(span_id(identity), why, away if away != here else "")


def resource(told: Mapping[str, Raw] | None) -> normalise.Resource:
    """Makes a resource of the attributes `told` of it."""
    return normalise.resource(values.attributes(told, normalise.RESOURCE_ATTRIBUTES))
