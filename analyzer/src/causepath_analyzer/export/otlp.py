"""Traces with what the analysis says of them, as OTLP: the path can be seen and searched anywhere.

Spans that came as OTLP or from Jaeger are carried over with everything on them; of other formats
a span is written anew from what was understood, in the names of the current convention.
"""

import binascii
import bisect
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]
from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from causepath_analyzer import attributes as names
from causepath_analyzer import model
from causepath_analyzer.analyses.run import Run
from causepath_analyzer.analyses.span_rows import SpanRow, span_rows
from causepath_analyzer.export.for_people import for_people, seconds
from causepath_analyzer.export.shown_names import shown_name
from causepath_analyzer.ids import SPAN_BYTES, TRACE_BYTES, id_bytes

PREFIXES: Final = (
    "causepath.critical_path",
    "causepath.path_ns",
    "causepath.path.",
    "causepath.findings",
    "causepath.wall",
    "causepath.cost_usd",
)
"""What the attributes begin with that are written here, and replaced when they are there."""
PATH_EVENT: Final = "causepath.path"
FINDING_EVENT: Final = "causepath.finding"
COPY_OF: Final = "copy_of"
"""The `causepath.link` of a link from a copy to its original."""

_MOST_EVENTS: Final = 100
"""Sections of the path that are told as events on one span; the sum is exact all the same."""
_KINDS: Final[Mapping[model.SpanKind, int]] = {
    "internal": 1,
    "server": 2,
    "client": 3,
    "producer": 4,
    "consumer": 5,
}
_ERROR: Final = 2
_MOST_INT: Final = 2**63


class Marked(Struct, frozen=True):
    """``batches`` with all spans; ``anew`` of them were written from what was understood.

    ``services`` are the names that the batches have; of copies those to look for.
    """

    batches: tuple[ResourceSpans, ...]
    spans: int
    anew: int
    services: frozenset[str]


def marked(runs: Sequence[Run], originals: Iterable[ResourceSpans], *, copy: bool) -> Marked:
    """Writes the spans of `runs` with what is known about each.

    Those among `originals` are taken as they are. A `copy` has ids of its own, that of the trace
    among them, says of which span it is one, and is made to be looked at: see `copies`.
    """
    by_id = {
        id_bytes(trace_id, TRACE_BYTES): run
        for run in runs
        for trace_id in (run.trace.trace_id, *run.trace.joined)
    }
    told: dict[bytes, Mapping[bytes, SpanRow]] = {}
    for run in runs:
        of_run = {id_bytes(row.span.span_id, SPAN_BYTES): row for row in span_rows(run)}
        for trace_id in (run.trace.trace_id, *run.trace.joined):
            told[id_bytes(trace_id, TRACE_BYTES)] = of_run
    batches: list[ResourceSpans] = []
    carried: set[bytes] = set()
    count = 0
    for batch in originals:
        kept = _kept(batch, by_id)
        for span in _spans(kept):
            trace = span.trace_id
            carried.add(trace)
            count += 1
            _mark(span, _row_of(span, told[trace]), by_id[trace])
        if kept.scope_spans:
            batches.append(kept)
    anew = 0
    for run in runs:
        trace = id_bytes(run.trace.trace_id, TRACE_BYTES)
        if trace not in carried:
            batches += _written(run, tuple(told[trace].values()))
            anew += len(run.trace.spans)
    if copy:
        turns = {
            trace: _turns(of_run) for trace, of_run in told.items() if not by_id[trace].trace.joined
        }
        batches = [one for batch in batches for one in copies(batch, told, turns)]
        batches += (one for trace, found in turns.items() for one in _turn_spans(trace, found))
    services = frozenset(
        pair.value.string_value
        for batch in batches
        if not copy or not all(span.parent_span_id for span in _spans(batch))
        for pair in batch.resource.attributes
        if pair.key == names.SERVICE_NAME
    )
    return Marked(tuple(batches), count + anew, anew, services)


def requests(batches: Iterable[ResourceSpans], most_bytes: int) -> Iterator[bytes]:
    """Writes export requests in protobuf, none much larger than `most_bytes` unless one span is."""
    request, size = ExportTraceServiceRequest(), 0
    for batch in batches:
        for part in _parts(batch, most_bytes):
            length = part.ByteSize()
            if size and size + length > most_bytes:
                yield request.SerializeToString()
                request, size = ExportTraceServiceRequest(), 0
            request.resource_spans.append(part)
            size += length
    if size:
        yield request.SerializeToString()


def lines(batches: Iterable[ResourceSpans]) -> Iterator[dict[str, Any]]:
    """Writes OTLP/JSON, one object for each line of a file."""
    for batch in batches:
        whole = MessageToDict(batch, use_integers_for_enums=True)
        for group in whole.get("scopeSpans", ()):
            for wire in group.get("spans", ()):
                _with_hex_ids(wire)
                if wire.setdefault("startTimeUnixNano", "0") == "0":  # 0 is not written
                    wire.setdefault("endTimeUnixNano", "0")
                for link in wire.get("links", ()):
                    _with_hex_ids(link)
        yield {"resourceSpans": [whole]}


def _with_hex_ids(owner: dict[str, Any]) -> None:
    """Writes ids in hex, as OTLP's JSON has them; protobuf's JSON has them in base64."""
    for name in ("traceId", "spanId", "parentSpanId"):
        if name in owner:
            owner[name] = binascii.a2b_base64(owner[name]).hex()


def _parts(batch: ResourceSpans, most_bytes: int) -> Iterator[ResourceSpans]:
    if batch.ByteSize() <= most_bytes:
        yield batch
        return
    for group in batch.scope_spans:
        part = _empty(batch, group)
        size = 0
        for span in group.spans:
            length = span.ByteSize()
            if size and size + length > most_bytes:
                yield part
                part, size = _empty(batch, group), 0
            part.scope_spans[0].spans.append(span)
            size += length
        if size:
            yield part


def _empty(batch: ResourceSpans, group: ScopeSpans) -> ResourceSpans:
    return ResourceSpans(
        resource=batch.resource,
        schema_url=batch.schema_url,
        scope_spans=[ScopeSpans(scope=group.scope, schema_url=group.schema_url)],
    )


def _spans(batch: ResourceSpans) -> Iterator[Span]:
    for group in batch.scope_spans:
        yield from group.spans


def _kept(batch: ResourceSpans, runs: Mapping[bytes, Run]) -> ResourceSpans:
    """Copies `batch` with the spans of `runs` only."""
    kept = ResourceSpans(resource=batch.resource, schema_url=batch.schema_url)
    for group in batch.scope_spans:
        spans = [span for span in group.spans if span.trace_id in runs]
        if spans:
            kept.scope_spans.append(
                ScopeSpans(scope=group.scope, schema_url=group.schema_url, spans=spans)
            )
    return kept


def _row_of(span: Span, told: Mapping[bytes, SpanRow]) -> SpanRow | None:
    """Finds the row of `span`; none if another record stands for it."""
    # Where client and server share an id, the client's half was given another one.
    half = None
    if span.kind == _KINDS["client"]:
        half = told.get(id_bytes(f"{span.span_id.hex()}-client", SPAN_BYTES))
    return half or told.get(span.span_id)


def _mark(span: Span, row: SpanRow | None, run: Run) -> None:
    """Writes on `span` what is known about it, in place of what was written before."""
    ours = [p for p in span.attributes if not p.key.startswith(PREFIXES)]
    del span.attributes[:]
    span.attributes.extend(ours)
    events = [e for e in span.events if e.name not in (PATH_EVENT, FINDING_EVENT)]
    del span.events[:]
    span.events.extend(events)
    if row is not None:
        _add(span.attributes, _marks(row, run))
        span.events.extend(_events(row, run))


def _marks(row: SpanRow, run: Run) -> dict[str, object]:
    found: dict[str, object] = {}
    if row.on_path:
        found["causepath.critical_path"] = True
        found["causepath.path_ns"] = row.path_ns
        found |= for_people("causepath.path", row.path_ns, run.trace.wall_ns)
        found["causepath.path.kind"] = row.kind
        found["causepath.path.edge"] = row.sections[0].edge
    if row.codes:
        found["causepath.findings"] = ",".join(row.codes)
    trace = run.trace
    if row.span is trace.spans[trace.main_root]:
        found["causepath.wall_ns"] = trace.wall_ns
        found["causepath.wall.seconds"] = seconds(trace.wall_ns)
        for kind, spent in run.wall.path.items():
            found[f"causepath.wall.{kind}_ns"] = spent
            found |= for_people(f"causepath.wall.{kind}", spent, trace.wall_ns)
        if run.cost.usd is not None and run.cost.is_whole:
            found["causepath.cost_usd"] = f"{run.cost.usd:f}"
    return found


def _events(row: SpanRow, run: Run) -> Iterator[Span.Event]:
    for section in row.sections[:_MOST_EVENTS]:
        event = Span.Event(time_unix_nano=_time(section.start_ns), name=PATH_EVENT)
        said = {"kind": section.kind, "edge": section.edge}
        _add(event.attributes, {**said, "duration_ns": section.end_ns - section.start_ns})
        yield event
    for finding in row.first_of:
        event = Span.Event(time_unix_nano=_time(row.span.start_ns), name=FINDING_EVENT)
        saving = finding.saving
        saved = {
            "saving_ns": saving.ns,
            "saving_usd": None if saving.usd is None else f"{saving.usd:f}",
            "saving_tokens": saving.tokens,
        }
        _add(
            event.attributes,
            {
                "code": finding.code,
                "title": finding.title,
                **{name: amount for name, amount in saved.items() if amount is not None},
                "evidence": finding.evidence,
                "why": finding.why,
                "fix": finding.fix,
                "spans": [run.trace.spans[i].span_id for i in finding.spans],
            },
        )
        yield event


# Written anew ---------------------------------------------------------------------------------


def _written(run: Run, told: Sequence[SpanRow]) -> Iterator[ResourceSpans]:
    """Writes the spans of a run whose format says less than OTLP, or says it otherwise."""
    for row in told:
        span = row.span
        about: dict[str, object] = {}
        if span.service is not None:
            about[names.SERVICE_NAME] = span.service
        if span.host and not span.host.startswith("service:"):
            about["host.name"] = span.host
        batch = ResourceSpans(
            scope_spans=[
                ScopeSpans(
                    scope=InstrumentationScope(
                        name=span.scope or "", version=span.scope_version or ""
                    ),
                    spans=[_span(row, run)],
                )
            ]
        )
        _add(batch.resource.attributes, about)
        yield batch


def _span(row: SpanRow, run: Run) -> Span:
    span = row.span
    trace = id_bytes(span.trace_id, TRACE_BYTES)
    wire = Span(
        trace_id=trace,
        span_id=id_bytes(span.span_id, SPAN_BYTES),
        parent_span_id=id_bytes(row.parent_id, SPAN_BYTES) if row.parent_id else b"",
        name=span.name,
        kind=_KINDS[span.kind],  # type: ignore[arg-type]
        start_time_unix_nano=_time(span.start_ns),
        end_time_unix_nano=_time(span.ended_ns),
        status=Status(code=_ERROR if span.error is not None else 0),  # type: ignore[arg-type]
    )
    for link in span.links:
        away = id_bytes(link.trace_id, TRACE_BYTES) if link.trace_id else trace
        cause = wire.links.add(trace_id=away, span_id=id_bytes(link.span_id, SPAN_BYTES))
        if link.why is not None:
            _add(cause.attributes, {names.LINK: link.why})
    _add(wire.attributes, _understood(span))
    _mark(wire, row, run)
    return wire


def _understood(span: model.Span) -> dict[str, object]:
    found: dict[str, object] = {names.CATEGORY: span.category}
    if span.error not in (None, "error"):
        found[names.ERROR_TYPE] = span.error
    if span.session is not None:
        found[names.SESSION[0]] = span.session
    if span.user is not None:
        found[names.USER[0]] = span.user
    if span.where is not None:
        found[names.CODE_FILE[0]] = span.where
    if span.model_call is not None:
        found.update(_call(span.model_call))
    if span.tool_call is not None:
        found.update(_tool(span.tool_call))
    if span.model_call is None and span.repeats is not None and span.repeats.tokens is not None:
        found.update(_usage(span.repeats.tokens))
    return {name: said for name, said in found.items() if said is not None}


def _call(call: model.ModelCall) -> dict[str, object]:
    return {
        names.OPERATION: "chat",
        "gen_ai.request.model": call.model,
        names.PROVIDER[0]: call.provider,
        **(_usage(call.tokens) if call.tokens is not None else {}),
        names.TIME_TO_FIRST_TOKEN[0][0]: None if call.ttft_ns is None else call.ttft_ns / 1e9,
        names.FINISH_REASONS[0]: list(call.finish_reasons) or None,
        names.STREAMED[0]: call.streamed,
        names.TURN: call.turn,
        names.USAGE_PARTIAL: call.partial or None,
        names.RESPONSE_ID[0]: call.response_id,
        **(_blocks(call.blocks) if call.blocks is not None else {}),
        **dict(zip(names.ISSUED, call.issued, strict=False)),
    }


def _blocks(blocks: model.Blocks) -> dict[str, object]:
    previous = id_bytes(blocks.previous, SPAN_BYTES).hex() if blocks.previous else None
    return {
        names.INPUT_BLOCKS: list(map(_block, blocks.given)),
        names.INPUT_KEPT: blocks.kept or None,
        names.INPUT_PREVIOUS: previous,
        names.INPUT_OMITTED: blocks.unlisted or None,
        names.OUTPUT_BLOCKS: list(map(_block, blocks.answered)),
    }


def _block(block: model.Block) -> str:
    return f"{block.role}:{block.kind}:{block.digest:x}:{block.size}"


def _usage(tokens: model.Tokens) -> dict[str, object]:
    return {
        names.INPUT_TOKENS[0]: tokens.input,
        names.OUTPUT_TOKENS[0]: tokens.output,
        names.CACHE_READ_TOKENS[0]: tokens.cache_read or None,
        names.CACHE_WRITE_TOKENS[0]: tokens.cache_write or None,
        names.REASONING_TOKENS[0]: tokens.reasoning or None,
        names.CACHE_WRITE_1H_TOKENS[0]: tokens.cache_write_1h or None,
    }


def _tool(call: model.ToolCall) -> dict[str, object]:
    return {
        names.TOOL_NAME[0]: call.name,
        names.TOOL_CALL_ID[0]: call.call_id,
        names.TOOL_INFERRED: call.inferred or None,
        names.TOOL_AMBIGUOUS: call.ambiguous or None,
        names.TOOL_READ_ONLY: call.read_only,
        names.CONTENT_IN[0]: None if call.arguments is None else call.arguments.text,
        names.CONTENT_OUT[0]: None if call.result is None else call.result.text,
    }


_SPAN_IDS: Final = (names.INPUT_PREVIOUS, names.PENDING_PARENT)
"""Attributes whose value is the id of another span of the trace."""

# Copies ---------------------------------------------------------------------------------------


_SHOWN_AS: Final[Mapping[str, str]] = {"llm": "model", "agent": "", "chain": "", "other": ""}
"""The service of a copy by the category of its span: pages have a colour for each. Of a category
that is not here its own name, of one without a name that of the agent."""
_APART_NS: Final = 1_000
"""Between a span and the next one, in copies: pages that know microseconds leave a span off their
critical path that touches the one after it."""


_FEWEST_TURNS: Final = 4
"""Fewer can be told apart as they are."""


class _Turn(Struct, frozen=True):
    """A model call of an agent with what was done before the next one.

    ``identity`` stands for the id that a span of it would have had in the original.
    """

    identity: bytes
    number: int
    parent: bytes
    service: str
    members: tuple[bytes, ...]
    start_ns: int
    end_ns: int


def _turns(of_run: Mapping[bytes, SpanRow]) -> Sequence[_Turn]:
    """Finds the turns of agents that have many, one after the other: a page can fold each of them.

    Where anything of a turn goes on in the next one, there are none: a span of each would change
    the order that the path was walked in.
    """
    below: dict[str, list[tuple[bytes, SpanRow]]] = {}
    rows = {row.span.span_id: row for row in of_run.values()}
    for wire_id, row in of_run.items():
        if row.parent_id in rows:
            below.setdefault(row.parent_id, []).append((wire_id, row))
    found: list[_Turn] = []
    for parent_id, children in below.items():
        begin = sorted(
            (row.span.start_ns, row.span.model_call.turn)
            for _, row in children
            if row.span.model_call is not None and row.span.model_call.turn is not None
        )
        starts = [start_ns for start_ns, _ in begin]
        numbers = [number for _, number in begin]
        if len(begin) < _FEWEST_TURNS or numbers != sorted(set(numbers)):
            continue
        members: list[list[tuple[bytes, SpanRow]]] = [[] for _ in begin]
        for child in children:
            place = bisect.bisect_right(starts, child[1].span.start_ns) - 1
            if place >= 0:
                members[place].append(child)
        ends = [max(row.span.ended_ns for _, row in of_turn) for of_turn in members]
        if any(end > start for end, start in zip(ends, starts[1:], strict=False)):
            continue
        parent = id_bytes(parent_id, SPAN_BYTES)
        found += [
            _Turn(
                parent + b" turn %d" % number,
                number,
                parent,
                _copied_service(rows[parent_id].span.service),
                tuple([wire_id for wire_id, _ in of_turn]),
                start_ns,
                end_ns,
            )
            for number, of_turn, start_ns, end_ns in zip(
                numbers, members, starts, ends, strict=True
            )
        ]
    return found


def _turn_spans(trace: bytes, turns: Sequence[_Turn]) -> Iterator[ResourceSpans]:
    """Writes a span for each turn in the copy of `trace`."""
    for turn in turns:
        span = Span(
            trace_id=_copied(trace, TRACE_BYTES),
            span_id=_copied(trace + turn.identity, SPAN_BYTES),
            parent_span_id=_copied(trace + turn.parent, SPAN_BYTES),
            name=f"turn {turn.number}",
            kind=1,  # type: ignore[arg-type]
            start_time_unix_nano=_time(turn.start_ns),
            end_time_unix_nano=_time(max(turn.end_ns - _APART_NS, turn.start_ns)),
        )
        _add(span.attributes, {"causepath.copy_of": trace.hex(), names.TURN: turn.number})
        resource = Resource()
        _add(resource.attributes, {names.SERVICE_NAME: turn.service})
        scope = InstrumentationScope(name=names.COPY_SCOPE)
        yield ResourceSpans(resource=resource, scope_spans=[ScopeSpans(scope=scope, spans=[span])])


def copies(
    batch: ResourceSpans,
    told: Mapping[bytes, Mapping[bytes, SpanRow]],
    turns: Mapping[bytes, Sequence[_Turn]],
) -> Iterator[ResourceSpans]:
    """Makes copies of spans that can be looked at beside them.

    Each has the kind of work as its service, which pages give a colour, and the bare name of what
    was called, where a page shows the beginning of names only. One that has no parent says what it
    is a copy of in attributes: older pages of Jaeger take a first reference that is no parent for
    the reason to draw no critical path.
    """
    name = next(
        (p.value.string_value for p in batch.resource.attributes if p.key == names.SERVICE_NAME), ""
    )
    turn_of = {
        (trace_id, member): turn
        for trace_id, of_trace in turns.items()
        for turn in of_trace
        for member in turn.members
    }
    for group in batch.scope_spans:
        by_service: dict[str, list[Span]] = {}
        for span in group.spans:
            of_run = told[span.trace_id]
            row = _row_of(span, of_run)
            parent = span.parent_span_id
            if row is not None and parent not in of_run:
                parent = id_bytes(row.parent_id, SPAN_BYTES) if row.parent_id else b""
            turn = turn_of.get((span.trace_id, span.span_id))
            parent = parent if turn is None else turn.identity
            service = _shown_service(name, row) if parent else _copied_service(name)
            by_service.setdefault(service, []).append(_copy(span, row, parent))
        for service, spans in by_service.items():
            resource = Resource()
            resource.CopyFrom(batch.resource)
            about = [p for p in resource.attributes if p.key != names.SERVICE_NAME]
            del resource.attributes[:]
            resource.attributes.extend(about)
            _add(resource.attributes, {names.SERVICE_NAME: service})
            yield ResourceSpans(
                resource=resource,
                schema_url=batch.schema_url,
                scope_spans=[
                    ScopeSpans(scope=InstrumentationScope(name=names.COPY_SCOPE), spans=spans)
                ],
            )


def _copied_service(name: str | None) -> str:
    """Names the service that the copies of a run are looked for by."""
    return f"{name} (causepath)" if name else "causepath"


def _shown_service(name: str, row: SpanRow | None) -> str:
    category = row.span.category if row is not None else "other"
    return _SHOWN_AS.get(category, category) or _copied_service(name)


def _copy(span: Span, row: SpanRow | None, parent: bytes) -> Span:
    """Copies a span below `parent`, if it is below one."""
    trace, own = span.trace_id, span.span_id
    copy = Span()
    copy.CopyFrom(span)
    del copy.links[:]
    if parent:
        for link in span.links:
            here = link.trace_id == trace
            found = copy.links.add()
            found.CopyFrom(link)
            if here:
                found.trace_id = _copied(trace, TRACE_BYTES)
                found.span_id = _copied(trace + link.span_id, SPAN_BYTES)
        source = copy.links.add(trace_id=trace, span_id=own)
        _add(source.attributes, {names.LINK: COPY_OF})
        copy.parent_span_id = _copied(trace + parent, SPAN_BYTES)
        ends_ns = copy.end_time_unix_nano - _APART_NS
        copy.end_time_unix_nano = max(ends_ns, copy.start_time_unix_nano)
    copy.trace_id = _copied(trace, TRACE_BYTES)
    copy.span_id = _copied(trace + own, SPAN_BYTES)
    copy.name = shown_name(span.name, row.span if row is not None else None)
    for pair in copy.attributes:
        if pair.key in _SPAN_IDS:
            named = id_bytes(pair.value.string_value, SPAN_BYTES)
            pair.value.string_value = _copied(trace + named, SPAN_BYTES).hex()
    _add(
        copy.attributes,
        {
            "causepath.copy_of": trace.hex(),
            "causepath.copy_of.span_id": own.hex(),
            "causepath.copy_of.name": span.name,
        },
    )
    return copy


def _copied(identity: bytes, size: int) -> bytes:
    """Makes the id of a copy: always the same for the same original."""
    return hashlib.blake2b(identity, digest_size=size, person=b"causepath copy").digest()


def _time(ns: int) -> int:
    """Writes `ns` as far as OTLP can say it; clocks that differ may put a span before the epoch."""
    return min(max(ns, 0), 2**64 - 1)


def _add(target: Any, said: Mapping[str, object]) -> None:
    target.extend(KeyValue(key=name, value=_value(value)) for name, value in said.items())


def _value(value: object) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int() if -_MOST_INT <= value < _MOST_INT:
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case list():
            whole = AnyValue()
            whole.array_value.values.extend(map(_value, value))
            return whole
        case _:
            return AnyValue(string_value=str(value).encode("utf-8", "replace").decode())
