"""Langfuse exports: observations inside the trace, beside it, or alone.

The UI saves ``{"trace": {..., "observations": [...]}, "observations": [...]}``, where only the list
beside the trace is complete; the API gives a trace with its observations, or pages of observations
under "data". What was sent to Langfuse as OpenTelemetry spans keeps its attributes in "metadata".

Usage is additive: "input" leaves out what has a name of its own, such as "input_cached_tokens".
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
from msgspec import Raw, Struct

from causepath_analyzer import attributes as names
from causepath_analyzer.model import Skipped
from causepath_analyzer.read.format import Found, JsonFormat, span_id, trace_id
from causepath_analyzer.read.formats import values
from causepath_analyzer.read.formats.values import Number
from causepath_analyzer.read.meaning import normalise
from causepath_analyzer.read.meaning.asked import is_asked, labelled


class _Observation(Struct, gc=False):
    id: str = ""
    traceId: str | None = None  # noqa: N815
    parentObservationId: str | None = None  # noqa: N815
    type: str | None = None
    name: str | None = None
    startTime: Number = None  # noqa: N815
    endTime: Number = None  # noqa: N815
    completionStartTime: Number = None  # noqa: N815
    model: str | None = None
    usageDetails: dict[str, Number] | None = None  # noqa: N815
    usage: dict[str, Raw] | None = None
    promptTokens: Number = None  # noqa: N815
    completionTokens: Number = None  # noqa: N815
    level: str | None = None
    statusMessage: str | None = None  # noqa: N815
    sessionId: str | None = None  # noqa: N815
    userId: str | None = None  # noqa: N815
    metadata: Raw = values.ABSENT
    input: Raw = values.ABSENT
    output: Raw = values.ABSENT


class _Trace(Struct, gc=False):
    """A trace, an answer that wraps traces or observations, or an observation."""

    id: str | None = None
    sessionId: str | None = None  # noqa: N815
    userId: str | None = None  # noqa: N815
    observations: Raw = values.ABSENT
    trace: Raw = values.ABSENT
    data: Raw = values.ABSENT
    startTime: Raw = values.ABSENT  # noqa: N815
    metadata: Raw = values.ABSENT
    tags: Raw = values.ABSENT
    environment: Raw = values.ABSENT
    release: Raw = values.ABSENT
    version: Raw = values.ABSENT


class _Scope(Struct, gc=False):
    name: str | None = None
    version: str | None = None


_DOCUMENT: Final = msgspec.json.Decoder(_Trace | list[Raw])
_TRACE: Final = msgspec.json.Decoder(_Trace)
_OBSERVATION: Final = msgspec.json.Decoder(_Observation)
_NO_SCOPE: Final = _Scope()
_SCOPE: Final = msgspec.json.Decoder(_Scope | None)
_MARKS: Final = (b'"parentObservationId"', b'"observations"', b'"completionStartTime"')
_NO_TRACE: Final = _Trace()
_OF_A_TRACE: Final = ("metadata", "tags", "environment", "release", "version")
_TYPE: Final = "langfuse.observation.type"
_SESSION: Final = names.SESSION[0]
_USER: Final = names.USER[0]
_MODEL: Final = "langfuse.observation.model.name"
_SECOND: Final = 1_000_000_000
_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    names.CACHE_READ_TOKENS[0]: ("cache_read", "cached"),
    names.CACHE_WRITE_TOKENS[0]: ("cache_creation", "cache_write"),
    names.REASONING_TOKENS[0]: ("reasoning",),
}
"""What the keys of usage details have in them, after models and SDKs of many kinds."""


def read(document: bytes, where: str) -> list[Found] | None:
    """The observations of `document` as spans; ``None`` if it is no Langfuse export."""
    if not any(mark in document for mark in _MARKS):
        return None
    try:
        decoded = _DOCUMENT.decode(document)
    except (msgspec.ValidationError, RecursionError):
        return None
    # In order; what comes later has more to say about an observation than what came before.
    known: dict[str, tuple[_Observation, _Trace]] = {}
    found: list[Found] = []
    for raw, trace in _observations(decoded, Raw(document)):
        for wire in values.decoded((raw,), _OBSERVATION, where, "an observation"):
            if isinstance(wire, Skipped):
                found.append(wire)
            elif wire.id and (wire.traceId or trace.id) and wire.startTime is not None:
                known[wire.id] = wire, trace
            else:
                found.append(Skipped(where, "an observation without id, traceId or startTime"))
    if not known:
        return None
    parents = {wire.parentObservationId for wire, _ in known.values()}
    found.extend(_span(wire, trace, wire.id in parents, where) for wire, trace in known.values())
    return found


def _observations(decoded: _Trace | list[Raw], whole: Raw) -> Iterator[tuple[Raw, _Trace]]:
    """Every observation with the trace it stands in."""
    if isinstance(decoded, list):
        outer = [(raw, _NO_TRACE) for raw in decoded]
    elif values.present(decoded.data):
        outer = [(raw, _NO_TRACE) for raw in values.records(decoded.data)]
    else:
        outer = [(whole, _NO_TRACE)]
    for raw, _ in outer:
        try:
            item = _TRACE.decode(raw)
        except values.DAMAGED:
            continue
        trace = item
        if values.present(item.trace):
            try:
                trace = _TRACE.decode(item.trace)
            except values.DAMAGED:
                trace = _NO_TRACE
            yield from ((inner, trace) for inner in values.records(trace.observations))
        if values.present(item.observations):
            yield from ((inner, trace) for inner in values.records(item.observations))
        elif values.present(item.startTime):
            yield raw, _NO_TRACE


def _span(wire: _Observation, trace: _Trace, has_children: bool, where: str) -> Found:
    start_ns = values.time_ns(wire.startTime)
    if start_ns is None:
        return Skipped(where, f"observation {wire.id} has no time of its start")
    metadata = values.mapping(wire.metadata)
    attributes = values.mapping(metadata.get("attributes"))
    understood = values.attributes(attributes)
    understood.update(_own(wire, trace, has_children, start_ns))
    end_ns = values.time_ns(wire.endTime)
    emitted = normalise.Emitted(
        trace_id(wire.traceId or trace.id or ""),
        span_id(wire.id),
        span_id(wire.parentObservationId),
        wire.name or "",
        "internal",
        start_ns,
        start_ns if end_ns is None and wire.type == "EVENT" else end_ns,
        wire.level == "ERROR",
    )
    of_process = values.mapping(metadata.get("resourceAttributes"))
    resource = normalise.resource(values.attributes(of_process, normalise.RESOURCE_ATTRIBUTES))
    scope = _scope(metadata.get("scope"))
    span = normalise.span(emitted, understood, resource, scope.name or "", scope.version or None)
    if not is_asked():
        return span
    # What is told of the whole trace is told of the process that made it, more or less.
    of_trace = {name: getattr(trace, name) for name in _OF_A_TRACE}
    whole = {name: raw for name, raw in of_trace.items() if values.present(raw)}
    return labelled(
        span,
        attributes,
        metadata,
        understood,
        {"metadata": wire.metadata},
        resource={**whole, **values.mapping(trace.metadata), **of_process},
    )


def _scope(raw: Raw | None) -> _Scope:
    try:
        scope = _SCOPE.decode(raw) if raw else None
    except values.DAMAGED:
        return _NO_SCOPE
    return scope or _NO_SCOPE


def _own(
    wire: _Observation, trace: _Trace, has_children: bool, start_ns: int
) -> Iterator[tuple[str, object]]:
    """Reads what Langfuse itself says of an observation, as attributes."""
    usage = _usage(wire)
    first_ns = values.time_ns(wire.completionStartTime)
    # A function that calls a model is often declared a generation itself.
    wraps = has_children and wire.type == "GENERATION" and not (wire.model or usage or first_ns)
    yield _TYPE, "span" if wraps else wire.type
    if wire.model:
        yield _MODEL, wire.model
    if first_ns is not None and first_ns >= start_ns:
        yield names.TIME_TO_FIRST_TOKEN[0][0], (first_ns - start_ns) / _SECOND
        yield names.STREAMED[0], True
    yield from usage.items()
    if wire.level == "ERROR" and wire.statusMessage:
        yield names.ERROR, wire.statusMessage
    for name, value in (
        (_SESSION, wire.sessionId or trace.sessionId),
        (_USER, wire.userId or trace.userId),
        ("langfuse.observation.input", values.content(wire.input)),
        ("langfuse.observation.output", values.content(wire.output)),
    ):
        if value:
            yield name, value


def _usage(wire: _Observation) -> Mapping[str, object]:
    """Token counts that include caches and reasoning, as attributes; empty if there are none."""
    details: Mapping[str, Number] = wire.usageDetails or {}
    if not details and wire.usage:
        found = values.attributes(wire.usage, frozenset(wire.usage))
        details = {k: v for k, v in found.items() if isinstance(v, int | float | str)}
    if not details and (wire.promptTokens or wire.completionTokens):
        details = {"input": wire.promptTokens, "output": wire.completionTokens}
    counts = {k: n for k, v in details.items() if (n := normalise.whole(v)) is not None and n >= 0}
    parts = {k: n for k, n in counts.items() if k not in ("input", "output", "total", "unit")}
    if not any(counts.values()):
        return {}
    total_in, total_out = counts.get("input", 0), counts.get("output", 0)
    # Some instrumentations send inclusive counts all the same; the total gives them away.
    if counts.get("total") != total_in + total_out:
        total_in += sum(n for k, n in parts.items() if not _is_output(k))
        total_out += sum(n for k, n in parts.items() if _is_output(k))
    found = {
        names.INPUT_TOKENS[0]: total_in,
        names.OUTPUT_TOKENS[0]: total_out,
        names.TOTAL_TOKENS[0]: total_in + total_out,
    }
    for name, words in _PARTS.items():
        part = sum(n for key, n in parts.items() if any(word in key for word in words))
        if part:
            found[name] = part
    return found


def _is_output(name: str) -> bool:
    return name.startswith(("output", "completion"))


FORMAT = JsonFormat("langfuse", read)
