"""The file of Gemini CLI's telemetry: records of events, each with how long what it tells of took.

Log records as the JavaScript SDK has them, printed over lines one after the other, between metrics
and spans. A session is a trace; an event is written when its call is over. The spans tell of the
same calls, with token counts only if that was asked for: then they stand for the session, else they
are left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct

from causepath_analyzer import attributes as names
from causepath_analyzer.model import Skipped, Span
from causepath_analyzer.read.format import Found, GatheredFormat, JsonFormat, Repeats
from causepath_analyzer.read.formats import sessions, turns, values
from causepath_analyzer.read.formats.values import Number
from causepath_analyzer.read.meaning import normalise


class _Attributes(Struct, gc=False):
    event: str | None = msgspec.field(name="event.name", default=None)
    at: Number = msgspec.field(name="event.timestamp", default=None)
    session: str | None = msgspec.field(name="session.id", default=None)
    prompt_id: str | None = None
    model: str | None = None
    duration_ms: Number = None
    input_token_count: Number = None
    output_token_count: Number = None
    cached_content_token_count: Number = None
    thoughts_token_count: Number = None
    tool_token_count: Number = None
    finish_reasons: Raw = values.ABSENT
    error: Raw = values.ABSENT
    error_type: str | None = msgspec.field(name="error_type", default=None)
    function_name: str | None = None
    function_args: Raw = values.ABSENT
    success: Raw = values.ABSENT
    call_id: str | None = None
    start_time: Number = None
    end_time: Number = None


class _Record(Struct, gc=False):
    attributes: Raw = values.ABSENT
    hrTime: Raw = values.ABSENT  # noqa: N815
    body: Raw = msgspec.field(name="_body", default=values.ABSENT)
    # Metrics:
    scopeMetrics: Raw = values.ABSENT  # noqa: N815


_RECORD: Final = msgspec.json.Decoder(_Record)
_ATTRIBUTES: Final = msgspec.json.Decoder(_Attributes)
_NAME: Final = "gemini-cli"
_MARK: Final = b'"gemini_cli.'
_EVENTS: Final = b'"event.name"'
_PREFIX: Final = "gemini_cli."
_CALLS: Final = ("api_response", "api_error")
_SCOPE: Final = f"{_NAME}-session"


class _Telemetry:
    """Gathers the records of one input; `finish` makes spans of them."""

    def __init__(self) -> None:
        self._sessions: dict[str, list[tuple[int, _Attributes]]] = {}
        self._is_known = False

    def add(self, document: bytes, where: str) -> Sequence[Found] | None:
        is_event = _EVENTS in document
        if not is_event and not (self._is_known and b'"scopeMetrics"' in document):
            return None
        try:
            record = _RECORD.decode(document)
        except (msgspec.ValidationError, RecursionError):
            return None
        if not is_event:
            return () if values.present(record.scopeMetrics) else None
        if not values.present(record.attributes):
            return () if values.present(record.scopeMetrics) else None
        try:
            told = _ATTRIBUTES.decode(record.attributes)
        except values.DAMAGED as error:
            ours = _MARK in document
            return [Skipped(where, f"a record that cannot be read: {error}")] if ours else None
        event = told.event or ""
        if not event.startswith(_PREFIX):
            return () if self._is_known else None
        self._is_known = True
        at_ns = values.time_ns(told.at)
        if at_ns is None:
            return [Skipped(where, f"an event {event} without event.timestamp")]
        told.event = event.removeprefix(_PREFIX)
        self._sessions.setdefault(told.session or "", []).append((at_ns, told))
        return ()

    def finish(self) -> Iterator[Found]:
        for session, events in self._sessions.items():
            events.sort(key=lambda event: event[0])
            yield from _session(session or f"{_NAME}-{events[0][0]}", events)


def _session(identity: str, events: Sequence[tuple[int, _Attributes]]) -> Iterator[Found]:
    records: list[turns.Record] = []
    calls: list[sessions.Call] = []
    tools: list[sessions.Tool] = []
    for at_ns, told in events:
        took_ns = normalise.nanoseconds(told.duration_ms, names.MILLISECOND) or 0
        start_ns = at_ns - took_ns
        if told.event == "user_prompt":
            records.append(turns.Record(at_ns, "person", turns.USER))
        elif told.event in _CALLS:
            records.append(turns.Record(at_ns, "reply", turns.USER))
            calls.append(_call(f"{identity}-{len(calls)}", start_ns, at_ns, told))
        elif told.event == "tool_call":
            records.append(turns.Record(at_ns, "result", turns.USER))
            begun_ns, over_ns = values.time_ns(told.start_time), values.time_ns(told.end_time)
            if begun_ns is not None and over_ns is not None and begun_ns <= over_ns:
                start_ns, at_ns = begun_ns, over_ns  # told when all tools of a reply are over
            tools.append(
                sessions.Tool(
                    told.call_id or f"{identity}-tool-{len(tools)}",
                    told.function_name or "tool",
                    start_ns,
                    at_ns,
                    values.content(told.function_args),
                    None,
                    normalise.flag(_plain(told.success)) is False,
                )
            )
    first_ns = min([events[0][0], *(c.start_ns for c in calls), *(t.start_ns for t in tools)])
    yield from sessions.spans(
        sessions.Session(identity, _NAME, first_ns, events[-1][0], records, calls, tools)
    )


def _call(identity: str, start_ns: int, at_ns: int, told: _Attributes) -> sessions.Call:
    asked = normalise.whole(told.input_token_count)
    thought = normalise.whole(told.thoughts_token_count)
    answered = normalise.whole(told.output_token_count)
    attributes: dict[str, object] = {
        names.MODEL[0]: told.model,
        names.PROVIDER[0]: "gcp.gemini",
        names.STREAMED[0]: True,
    }
    if asked or answered:  # zeros are what nobody counted
        attributes |= {
            names.INPUT_TOKENS[0]: (asked or 0) + (normalise.whole(told.tool_token_count) or 0),
            names.OUTPUT_TOKENS[0]: (answered or 0) + (thought or 0),
            names.CACHE_READ_TOKENS[0]: told.cached_content_token_count,
            names.REASONING_TOKENS[0]: thought,
        }
    failed = told.event == "api_error"
    if failed:
        attributes[names.ERROR_TYPE] = told.error_type
    return sessions.Call(identity, start_ns, at_ns, attributes, failed)


def _plain(raw: Raw) -> object:
    return values.content(raw)


def _settle(spans: dict[str, list[Span]]) -> Mapping[str, Repeats]:
    """Leaves out of what spans and events tell of one session that which counts no tokens."""
    recorded = {name for name, own in spans.items() if own[0].scope == _SCOPE}
    if not recorded:
        return {}
    traces: dict[str, list[str]] = {}
    for name, own in spans.items():
        session = next((span.session for span in own if span.session in recorded), None)
        if session is not None and all(span.scope == _NAME for span in own):
            traces.setdefault(session, []).append(name)
    found = {}
    for session, names_of in traces.items():
        calls = [s.model_call for name in names_of for s in spans[name] if s.model_call is not None]
        if any(call.tokens is not None for call in calls):
            del spans[session]
        else:
            left = sum(len(spans.pop(name)) for name in names_of)
            found[session] = Repeats(
                left, "spans of the same calls are left out: they count nothing"
            )
    return found


def _begin() -> JsonFormat:
    telemetry = _Telemetry()
    return JsonFormat(_NAME, telemetry.add, telemetry.finish)


FORMAT = GatheredFormat(_NAME, _begin, _settle)
