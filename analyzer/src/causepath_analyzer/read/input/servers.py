"""Traces from Jaeger and Tempo: what an address means, what to ask for, and page by page.

An address is the server's (``http://localhost:16686``), that of a trace or a search as the
browser shows it, or any other, whose answer is read like a file.
"""

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import msgspec
from msgspec import Raw, Struct

from causepath_analyzer.errors import (
    CausepathError,
    NoTracesError,
    UnreadableInputError,
    UsageError,
)
from causepath_analyzer.http_client import (
    Answer,
    Client,
    Heard,
    UnreachableError,
    check_address,
    refusal,
)
from causepath_analyzer.model import Skipped
from causepath_analyzer.read.format import trace_id
from causepath_analyzer.server_request import DEFAULT_LIMIT, Wanted

DEFAULT_SINCE_NS: Final = 3600 * 1_000_000_000

_JAEGER_PAGE: Final = 100
_TEMPO_WINDOW_S: Final = 6 * 24 * 3600
"""Tempo refuses to search through more than a week at once."""
_US: Final = 1_000
_S: Final = 1_000_000_000
_MOST_LISTED: Final = 12
_JSON: Final[Mapping[str, str]] = {"Accept": "application/json"}
_OWN_SERVICES: Final = ("jaeger", "jaeger-query", "jaeger-all-in-one")


class Document(Struct, frozen=True):
    """A part of what a server gave. ``where`` says which, ``trace_id`` if it is one trace."""

    where: str
    data: bytes
    trace_id: str | None = None


class Note(Struct, frozen=True):
    """Something to know about the answers, of which nothing is missing."""

    text: str


Found = Document | Skipped | Note


def documents(
    address: str, wanted: Wanted, most_bytes: int, heard: Heard | None = None
) -> Iterator[Found]:
    """Reads what the server at `address` gives, in order; every document is one that `read` knows.

    Raises `UnreadableInputError` if it gives nothing, `NoTracesError` if there is no such trace,
    and `UsageError` where it has to be said what is wanted. What goes wrong after the first
    document is `Skipped`.
    """
    check_address(address)
    server = _Server(address, wanted, most_bytes, heard)
    parts = urlsplit(address)
    path = parts.path.rstrip("/")
    base, _, last = path.rpartition("/")
    query = dict(parse_qsl(parts.query))
    if path.endswith(("/explore", "/a/grafana-exploretraces-app/explore")) or "/d/" in path:
        raise UsageError(_grafana(parts.scheme, parts.netloc, query))
    if base.endswith("/trace"):
        yield from _jaeger_traces(server, base.removesuffix("/trace"), last.split("..."))
    elif base.endswith("/api/v2/traces"):
        yield from _tempo_traces(server, base.removesuffix("/api/v2/traces"), [last])
    elif path.endswith("/api/search"):
        yield from _tempo(server, path.removesuffix("/api/search"), query)
    elif path.endswith("/search"):
        yield from _jaeger(server, path.removesuffix("/search"), query)
    elif path.endswith("/api/traces") and "traceID" not in query:
        yield from _jaeger(server, path.removesuffix("/api/traces"), query)
    elif base.endswith(("/api/traces", "/api/v3/traces")):
        yield _one(server, address, last)
    elif parts.query or "." in last:
        yield _one(server, address, None)
    else:
        yield from _whoever(server, path)


class _Server:
    """One server, and how much may still be read from it."""

    def __init__(self, address: str, wanted: Wanted, most_bytes: int, heard: Heard | None) -> None:
        self.address = address
        self.wanted = wanted
        self._parts = urlsplit(address)
        self._client = Client(wanted.connection)
        self._left = most_bytes
        self._heard = heard

    @property
    def limit(self) -> int:
        return DEFAULT_LIMIT if self.wanted.limit is None else self.wanted.limit

    def get(self, path: str, query: Mapping[str, object] | None = None) -> Answer:
        """The answer to GET `path`, whatever its status."""
        question = f"?{urlencode(query)}" if query else ""
        return self.get_address(f"{self._parts.scheme}://{self._parts.netloc}{path}{question}")

    def get_address(self, address: str) -> Answer:
        answer = self._client.ask(address, self._left, headers=_JSON, heard=self._heard)
        self._left -= len(answer.body)
        return answer

    def good(self, answer: Answer) -> Answer:
        """`answer`, if it is one. Raises `UnreadableInputError` if it is an error or a page."""
        if answer.status >= 400:
            raise UnreadableInputError(f"{answer.url}: {refusal(answer)}")
        if answer.is_page:
            raise UnreadableInputError(
                f"{answer.url}: answers with a page for people (HTML), not with JSON: is this "
                "the server's own address, and is no login in front of it?"
            )
        return answer


def _one(server: _Server, address: str, trace: str | None) -> Document:
    """Fetches what is at `address`, whatever it is."""
    answer = server.get_address(address)
    if answer.status == 404 and trace is not None:
        raise _not_there(answer, trace)
    return Document("answer", server.good(answer).body, trace and trace_id(trace))


def _not_there(answer: Answer, trace: str) -> NoTracesError:
    return NoTracesError(
        f"{answer.url}: no trace {trace} there: it may be too old, not sampled, "
        "or not have arrived yet"
    )


def _whoever(server: _Server, base: str) -> Iterator[Found]:
    """Asks who answers at the address of a server."""
    services = server.get(f"{base}/api/services")
    if services.status in (401, 403, 407) or services.status >= 500:
        server.good(services)
    if _names(services) is not None:
        yield from _jaeger(server, base, {})
        return
    echo = server.get(f"{base}/api/echo")
    if echo.status == 200 and echo.body.strip() == b"echo":
        yield from _tempo(server, base, {})
        return
    if base and (answer := server.get(base)).status == 200 and not answer.is_page:
        yield Document("answer", answer.body)
        return
    if services.is_page:
        server.good(services)
    raise UnreadableInputError(
        f"{server.address}: neither Jaeger's nor Tempo's API is there ({services.status} for "
        f"{base}/api/services): Jaeger's port is mostly 16686, Tempo's 3200; behind a proxy "
        "the address has its path, too; for Grafana name its data source, "
        "https://GRAFANA/api/datasources/proxy/uid/UID"
    )


# Jaeger --------------------------------------------------------------------------------------


class _Problem(Struct):
    msg: str = ""


class _Names(Struct):
    data: list[str] | None = None


class _Traces(Struct):
    data: list[Raw] | None = None
    errors: list[_Problem] | None = None


class _When(Struct):
    startTime: int = 0  # noqa: N815


class _Brief(Struct):
    traceID: str = ""  # noqa: N815
    spans: list[_When] = []


class _BriefSpan(Struct, rename="camel"):
    trace_id: str = ""
    start_time_unix_nano: int | str = 0


class _BriefScope(Struct, rename="camel"):
    spans: list[_BriefSpan] = []


class _BriefBatch(Struct, rename="camel"):
    scope_spans: list[_BriefScope] = []


class _Result(Struct, rename="camel"):
    resource_spans: list[Raw] = []


class _Version3(Struct):
    result: _Result | None = None


class _TraceFound(Struct):
    """A trace of a page: when its spans start, and the pieces of the answer that it is in."""

    trace_id: str
    starts_us: list[int]
    pieces: list[bytes]


_NAMES: Final = msgspec.json.Decoder(_Names)
_TRACES: Final = msgspec.json.Decoder(_Traces)
_BRIEF: Final = msgspec.json.Decoder(_Brief)
_VERSION_3: Final = msgspec.json.Decoder(_Version3)
_BRIEF_BATCH: Final = msgspec.json.Decoder(_BriefBatch)
_NOTHING_FOUND: Final = b"No traces found"


def _names(answer: Answer) -> list[str] | None:
    """The services in an answer of Jaeger; ``None`` if it is none."""
    if answer.status != 200 or b'"data"' not in answer.body:
        return None
    try:
        return _NAMES.decode(answer.body).data or []
    except msgspec.DecodeError:
        return None


def _jaeger_traces(server: _Server, base: str, ids: Sequence[str]) -> Iterator[Found]:
    """Every one of `ids`. Version 3 of the API has nanoseconds and says why a span has a link. The
    one that Jaeger's page uses does neither, but older servers have no other."""
    has_version_3 = _has_version_3(server, base)
    for wanted in ids:
        name = quote(wanted, safe="")
        answer = server.get(f"{base}/api/{'v3/' if has_version_3 else ''}traces/{name}")
        if has_version_3 and answer.status not in (200, 404):
            has_version_3 = False
            answer = server.get(f"{base}/api/traces/{name}")
        if answer.status == 404:
            raise _not_there(answer, wanted)
        yield Document(f"trace {wanted}", server.good(answer).body, trace_id(wanted))


def _has_version_3(server: _Server, base: str) -> bool:
    """Asks whether there is version 3 of the API; older servers answer with the page."""
    answer = server.get(f"{base}/api/v3/services")
    return answer.status == 200 and b'"services"' in answer.body and not answer.is_page


def _jaeger(server: _Server, base: str, query: Mapping[str, str]) -> Iterator[Found]:
    """The traces of a search, later parts of the window first."""
    service = server.wanted.service or query.get("service")
    if service is None:
        service = _only(server, _names(server.good(server.get(f"{base}/api/services"))) or [])
    now_us = time.time_ns() // _US
    start_us, end_us = _window_us(server, query, now_us)
    limit = server.limit if server.wanted.limit is not None else _whole(query, "limit")
    limit = limit or server.limit
    rest = {
        key: value
        for key, value in query.items()
        if key in ("operation", "tags", "minDuration", "maxDuration") and value
    }
    seen: set[str] = set()
    asked = {"service": service, **rest}
    windows = [(start_us, end_us, min(limit, _JAEGER_PAGE))]
    number = 0
    # That version has no field for tags.
    has_version_3 = "tags" not in rest and _has_version_3(server, base)
    while windows and len(seen) < limit:
        since_us, until_us, page = windows.pop()
        number += 1
        window = {"start": since_us, "end": until_us, "limit": page}
        try:
            told = _searched_by_3(server, base, asked, window) if has_version_3 else None
            if told is None:
                has_version_3 = False
                told = yield from _searched(server, base, asked, window, f"page {number}")
        except UnreadableInputError as error:
            if not seen:
                raise
            yield Skipped(f"page {number}", _without_address(error))
            return
        new = [trace for trace in told if trace.trace_id not in seen]
        over = len(new) > limit - len(seen)
        new = new[: limit - len(seen)]
        seen.update(trace.trace_id for trace in new)
        if new:
            list_name = b"resourceSpans" if has_version_3 else b"data"
            pieces = b",".join(piece for trace in new for piece in trace.pieces)
            yield Document(f"page {number}", b'{"%s":[%s]}' % (list_name, pieces))
        if over or len(told) >= page:
            windows += _halves(since_us, until_us, page, told)
    if windows:
        yield Note(f"{limit:,} traces, which is the --limit: there may be more")
    if not seen:
        raise _nothing(server, service, _names(server.get(f"{base}/api/services")), start_us)


def _searched(
    server: _Server,
    base: str,
    asked: Mapping[str, object],
    window: Mapping[str, int],
    where: str,
) -> Generator[Found, None, list[_TraceFound]]:
    """The traces that the API of the page finds, and what it says beside them."""
    query = {"lookback": "custom", **asked, **window}
    found = _traces(server, server.get(f"{base}/api/traces", query))
    for problem in found.errors or ():
        yield Skipped(where, f"the server says: {problem.msg}")
    briefs = [(_brief(raw), raw) for raw in found.data or ()]
    return [_TraceFound(b.traceID, [s.startTime for s in b.spans], [bytes(r)]) for b, r in briefs]


def _searched_by_3(
    server: _Server, base: str, asked: Mapping[str, object], window: Mapping[str, int]
) -> list[_TraceFound] | None:
    """The traces that version 3 of the API finds; ``None`` if it is not the one that we know:
    early ones took other parameters, and answered in parts."""
    query = {
        "query.service_name": asked["service"],
        "query.operation_name": asked.get("operation"),
        "query.duration_min": asked.get("minDuration"),
        "query.duration_max": asked.get("maxDuration"),
        "query.start_time_min": _rfc3339(window["start"]),
        "query.start_time_max": _rfc3339(window["end"]),
        "query.num_traces": window["limit"],
    }
    said = {name: value for name, value in query.items() if value is not None}
    answer = server.get(f"{base}/api/v3/traces", said)
    if answer.status == 404 and _NOTHING_FOUND in answer.body:
        return []
    if answer.status not in (200, 401, 403, 407):
        return None
    found: dict[str, _TraceFound] = {}
    try:
        result = _VERSION_3.decode(server.good(answer).body).result
        for raw in result.resource_spans if result is not None else ():
            spans = [s for g in _BRIEF_BATCH.decode(raw).scope_spans for s in g.spans]
            if spans:
                trace = found.setdefault(spans[0].trace_id, _TraceFound(spans[0].trace_id, [], []))
                trace.starts_us += [int(span.start_time_unix_nano) // _US for span in spans]
                trace.pieces.append(bytes(raw))
    except ValueError:  # that of a decoder, too
        return None
    return list(found.values()) or None


def _rfc3339(at_us: int) -> str:
    seconds, us = divmod(at_us, 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{us:06d}Z"


def _halves(
    since_us: int, until_us: int, page: int, found: Sequence["_TraceFound"]
) -> list[tuple[int, int, int]]:
    """Two windows to ask for instead of one that has more traces than a page; the later one last.

    A server may give any page of a window: Jaeger's memory gives what came last, others what
    started last. So a full page says only that there is more in the window, and about where.
    """
    starts = [at for trace in found for at in trace.starts_us if since_us <= at <= until_us]
    # Servers know nanoseconds: what began within this microsecond belongs to the earlier half.
    middle_us = (min(starts) + max(starts)) // 2 + 1 if starts else until_us
    if not since_us < middle_us < until_us:
        return [(since_us, until_us, 2 * page)]
    return [(since_us, middle_us, page), (middle_us, until_us, page)]


def _traces(server: _Server, answer: Answer) -> _Traces:
    try:
        found = _TRACES.decode(server.good(answer).body)
    except msgspec.DecodeError as error:
        raise UnreadableInputError(f"{answer.url}: no answer of Jaeger: {error}") from None
    if found.errors and not found.data:
        raise UnreadableInputError(f"{answer.url}: the server says: {found.errors[0].msg}")
    return found


def _brief(raw: Raw) -> _Brief:
    try:
        return _BRIEF.decode(raw)
    except msgspec.DecodeError:
        return _Brief()  # damaged: the reader says how


def _window_us(server: _Server, query: Mapping[str, str], now_us: int) -> tuple[int, int]:
    start, end = _whole(query, "start"), _whole(query, "end")
    if server.wanted.since_ns is not None:
        return server.wanted.since_ns // _US, now_us
    return (
        now_us - DEFAULT_SINCE_NS // _US if start is None else start,
        now_us if end is None else end,
    )


# Tempo ---------------------------------------------------------------------------------------


class _Match(Struct):
    traceID: str = ""  # noqa: N815


class _Matches(Struct):
    traces: list[_Match] | None = None


class _Values(Struct):
    tagValues: list[str] | None = None  # noqa: N815


_MATCHES: Final = msgspec.json.Decoder(_Matches)
_VALUES: Final = msgspec.json.Decoder(_Values)


def _tempo(server: _Server, base: str, query: Mapping[str, str]) -> Iterator[Found]:
    """The traces of a search: their ids first, then one by one."""
    service = server.wanted.service
    now_s = -(-time.time_ns() // _S)
    if server.wanted.since_ns is not None:
        start_s, end_s = server.wanted.since_ns // _S, now_s
    else:
        start, end = _whole(query, "start"), _whole(query, "end")
        start_s = now_s - DEFAULT_SINCE_NS // _S if start is None else start
        end_s = now_s if end is None else end
    limit = server.limit if server.wanted.limit is not None else _whole(query, "limit")
    limit = limit or server.limit
    rest = {k: v for k, v in query.items() if k not in ("start", "end", "limit") and v}
    if service is not None:
        said = service.replace("\\", "\\\\").replace('"', '\\"')
        rest = {"q": f'{{ resource.service.name = "{said}" }}'}
    ids: dict[str, None] = {}
    while len(ids) < limit and start_s < end_s:
        since_s = max(start_s, end_s - _TEMPO_WINDOW_S)
        asked = {**rest, "start": since_s, "end": end_s, "limit": limit - len(ids)}
        answer = server.good(server.get(f"{base}/api/search", asked))
        try:
            matches = _MATCHES.decode(answer.body).traces or []
        except msgspec.DecodeError as error:
            raise UnreadableInputError(f"{answer.url}: no answer of Tempo: {error}") from None
        ids.update(dict.fromkeys(match.traceID for match in matches))
        end_s = since_s
    if not ids:
        services = None
        if service is not None:
            services = _values(server.get(f"{base}/api/search/tag/service.name/values"))
        raise _nothing(server, service, services, start_s * (_S // _US))
    yield from _tempo_traces(server, base, list(ids)[:limit])
    if len(ids) >= limit:
        yield Note(f"{limit:,} traces, which is the --limit: there may be more")


def _values(answer: Answer) -> list[str] | None:
    try:
        return _VALUES.decode(answer.body).tagValues if answer.status == 200 else None
    except msgspec.DecodeError:
        return None


def _tempo_traces(server: _Server, base: str, ids: Sequence[str]) -> Iterator[Found]:
    """Every one of `ids`; of several, those that cannot be had are skipped."""
    for number, wanted in enumerate(ids):
        found = _tempo_trace(server, base, wanted)
        if isinstance(found, Document):
            yield found
        elif len(ids) == 1 or (number == 0 and isinstance(found, UnreachableError)):
            raise found
        else:
            yield Skipped(f"trace {wanted}", _without_address(found))
            if isinstance(found, UnreachableError):
                yield Skipped("end", f"{len(ids) - number - 1:,} more traces were not asked for")
                return


def _tempo_trace(server: _Server, base: str, wanted: str) -> Document | CausepathError:
    """One trace, or why it cannot be had."""
    name = quote(wanted, safe="")
    try:
        answer = server.get(f"{base}/api/v2/traces/{name}")
        if answer.status == 404:  # not there, or a Tempo before 2.7
            answer = server.get(f"{base}/api/traces/{name}")
        if answer.status == 404:
            return _not_there(answer, wanted)
        return Document(f"trace {wanted}", server.good(answer).body, trace_id(wanted))
    except UnreadableInputError as error:
        return error


# What both have in common ---------------------------------------------------------------------


def _whole(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 20 else None


def _only(server: _Server, services: Sequence[str]) -> str:
    """The service, if there is but one. Raises `UsageError` with their names if not."""
    own = [name for name in services if name not in _OWN_SERVICES]
    if len(own) == 1:
        return own[0]
    if not own:
        raise NoTracesError(f"{server.address}: no service has sent a trace there yet")
    raise UsageError(f"{server.address}: which service? Name it with --service: {_listed(own)}")


def _listed(names: Sequence[str]) -> str:
    more = f", ... ({len(names):,})" if len(names) > _MOST_LISTED else ""
    return ", ".join(sorted(names)[:_MOST_LISTED]) + more


def _nothing(
    server: _Server, service: str | None, services: Sequence[str] | None, start_us: int
) -> UsageError | NoTracesError:
    """Explains why a search found nothing."""
    if service is not None and services and service not in services:
        return UsageError(
            f"{server.address}: no service is called {service}; there is {_listed(services)}"
        )
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(start_us // 1_000_000))
    whose = "" if service is None else f" of {service}"
    return NoTracesError(
        f"{server.address}: no traces{whose} since {since} UTC: look further back with --since 1d"
    )


def _without_address(error: Exception) -> str:
    """The message of `error` without the address it begins with."""
    text = str(error)
    return text.partition(": ")[2] if text.startswith("http") else text


class _Pane(Struct):
    datasource: object = None
    queries: list[dict[str, object]] = []


def _grafana(scheme: str, netloc: str, query: Mapping[str, str]) -> str:
    """Names what to use instead of a page of Grafana, with what its address says of it."""
    uid, trace = "UID", "ID"
    try:
        panes = msgspec.json.decode(query.get("panes", "{}"), type=dict[str, _Pane])
    except msgspec.DecodeError:
        panes = {}
    for pane in panes.values():
        if isinstance(pane.datasource, str):
            uid = pane.datasource
        for asked in pane.queries:
            said = asked.get("query")
            if isinstance(said, str) and said.isalnum():
                trace = said
    return (
        f"{scheme}://{netloc}: a page of Grafana: name its data source instead, "
        f"{scheme}://{netloc}/api/datasources/proxy/uid/{quote(uid)}/api/traces/{trace}, with "
        '--header "Authorization: Bearer TOKEN"; or Tempo or Jaeger itself'
    )
