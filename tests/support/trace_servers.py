"""Stand-ins of Jaeger's and Tempo's HTTP APIs: real servers on loopback that hold real traces.

They answer as the real ones were seen to: Jaeger with whole traces, of which it finds those with a
span in the window; Tempo with ids, and then with one trace at a time.
"""

import gzip
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

CERTIFICATE = Path(__file__).with_name("localhost.pem")

Answer = tuple[int, str, bytes] | tuple[int, str, bytes, dict[str, str]]
Respond = Callable[[str, dict[str, str], dict[str, str]], Answer]
"""Path, query and headers (in lower case) of a request; status, content type and body."""


class Served:
    """A running server: its address, and what it was asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.posted: list[bytes] = []
        self.ended = threading.Event()
        """Set when the server stops: what a handler waits for that never answers."""


@contextmanager
def serving(respond: Respond, *, tls: bool = False, packed: bool = False) -> Iterator[Served]:
    """A server whose answers `respond` gives, on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            served.headers.append(headers)
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            status, kind, body, *more = respond(parts.path, query, headers)
            if packed:
                body = gzip.compress(body)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            for name, value in (more[0] if more else {}).items():
                self.send_header(name, value)
            if packed:
                self.send_header("Content-Encoding", "gzip")
            if "Content-Length" not in (more[0] if more else {}):
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(ConnectionError):  # whoever asked has gone
                self.wfile.write(body)

        def do_POST(self) -> None:
            served.posted.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign] # a refused handshake
    served = Served(f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield served
    finally:
        served.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


def as_json(value: object, status: int = 200) -> Answer:
    return status, "application/json", json.dumps(value).encode()


PAGE: Answer = (200, "text/html; charset=utf-8", b"<!doctype html><title>Sign in</title>")


def jaeger(traces: list[dict[str, Any]], *, by_time: bool = True) -> Respond:
    """Jaeger with `traces` in the form of its own API."""

    def services(trace: dict[str, Any]) -> set[str]:
        return {process["serviceName"] for process in trace["processes"].values()}

    def respond(path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        if path == "/api/services":
            return as_json({"data": sorted({s for trace in traces for s in services(trace)})})
        if path == "/api/traces":
            start, end = int(query["start"]), int(query["end"])

            def latest(trace: dict[str, Any]) -> float:
                # It knows nanoseconds, of which its answers tell microseconds only.
                times = [span["startTime"] + 0.5 for span in trace["spans"]]
                return max((t for t in times if start <= t <= end), default=-1)

            found = [t for t in traces if query["service"] in services(t) and latest(t) >= 0]
            # Jaeger's memory gives what was written last, Elasticsearch what started last.
            found.sort(key=latest if by_time else traces.index, reverse=True)
            return as_json({"data": found[: int(query["limit"])], "errors": None})
        if path.startswith("/api/traces/"):
            wanted = path.rpartition("/")[2]
            for trace in traces:
                if trace["traceID"] == wanted:
                    return as_json({"data": [trace], "errors": None})
            missing = {"data": None, "errors": [{"code": 404, "msg": "trace not found"}]}
            return as_json(missing, 404)
        return PAGE  # its user interface answers everywhere else

    return respond


def newer_jaeger(traces: list[list[dict[str, Any]]], services: list[str]) -> Respond:
    """Jaeger as version 3 of its API has it: `traces` of batches of OTLP, all of `services`."""

    def times(trace: list[dict[str, Any]]) -> list[int]:
        spans = [s for batch in trace for group in batch["scopeSpans"] for s in group["spans"]]
        return [int(span["startTimeUnixNano"]) for span in spans]

    def ns(told: str) -> int:
        at = datetime.fromisoformat(told)
        return int(at.replace(microsecond=0).timestamp()) * 10**9 + at.microsecond * 1000

    def answer(found: list[list[dict[str, Any]]]) -> Answer:
        if not found:
            return as_json({"error": {"httpCode": 404, "message": "No traces found"}}, 404)
        return as_json({"result": {"resourceSpans": [batch for trace in found for batch in trace]}})

    def respond(path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        if path == "/api/v3/services":
            return as_json({"services": services})
        if path == "/api/services":
            return as_json({"data": services})
        if path == "/api/v3/traces":
            start, end = ns(query["query.start_time_min"]), ns(query["query.start_time_max"])
            within = [t for t in traces if any(start <= at <= end for at in times(t))]
            found = within if query["query.service_name"] in services else []
            found.sort(key=lambda t: max(times(t)), reverse=True)
            return answer(found[: int(query["query.num_traces"])])
        if path.startswith("/api/v3/traces/"):
            wanted = path.rpartition("/")[2]
            ids = [t[0]["scopeSpans"][0]["spans"][0]["traceId"] for t in traces]
            return answer([t for t, i in zip(traces, ids, strict=True) if i == wanted])
        return PAGE

    return respond


def tempo(traces: dict[str, dict[str, Any]], services: list[str], *, v2: bool = True) -> Respond:
    """Tempo with `traces`, in the form of its answers to ``/api/traces/ID``, by id."""

    def respond(path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        wanted = path.rpartition("/")[2]
        if path == "/api/echo":
            return 200, "text/plain", b"echo"
        if path == "/api/search/tag/service.name/values":
            return as_json({"tagValues": services})
        if path == "/api/search":
            if int(query["end"]) - int(query["start"]) > 168 * 3600:
                return 400, "text/plain", b"range specified by start and end exceeds 168h0m0s"
            service = query.get("q", "{ }").strip("{} ").partition(" = ")[2].strip('"')
            ids = list(traces) if service in ("", *services) else []
            return as_json({"traces": [{"traceID": i} for i in ids[: int(query["limit"])]]})
        if path.startswith("/api/v2/traces/") and v2 and wanted in traces:
            found = traces[wanted]
            status = {k: found[k] for k in ("status", "message") if k in found}
            return as_json({"trace": {"resourceSpans": found["batches"]}, **status})
        if path.startswith("/api/traces/") and wanted in traces:
            return as_json({"batches": traces[wanted]["batches"]})
        return 404, "text/plain", b"404 page not found"

    return respond
