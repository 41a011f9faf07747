"""Sends OTLP to a server over HTTP, and tells what became of it."""

import gzip
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from msgspec import Struct
from msgspec.structs import replace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from causepath_analyzer.cli.servers import headers_in
from causepath_analyzer.errors import UnreadableInputError
from causepath_analyzer.http_client import Answer, Client, refusal
from causepath_analyzer.server_request import Connection

JAEGER: Final = "http://localhost:14318"
"""Jaeger itself, where `docker-compose.yml` and `make stack` have it. At 4318 is the collector, to
which agents send: copies would be runs in its files and metrics."""

HEADERS_VARIABLE: Final = "OTEL_EXPORTER_OTLP_HEADERS"

_PATH: Final = "/v1/traces"
_MOST_SAID: Final = 1 << 20
_HEADERS: Final = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}


class Received(Struct, frozen=True):
    """The answer of a receiver: how many spans it rejected, and what it said."""

    endpoint: str
    rejected: int
    message: str


def endpoint(address: str | None) -> str:
    """Finds where OTLP goes: to `address`, or to Jaeger on this machine."""
    found = (address or JAEGER).rstrip("/")
    return found if urlsplit(found).path.endswith(_PATH) else found + _PATH


def send(requests: Iterable[bytes], target: str, connection: Connection) -> Received:
    """Posts all `requests` to `target`. Raises `UnreadableInputError` at the first refusal."""
    client = Client(replace(connection, headers=tuple(headers_in(HEADERS_VARIABLE))))
    rejected, messages = 0, []
    for number, request in enumerate(requests):
        answer = client.ask(target, _MOST_SAID, body=gzip.compress(request), headers=_HEADERS)
        if answer.status >= 400 or answer.is_page:
            before = f" ({number:,} requests before were taken)" if number else ""
            raise UnreadableInputError(f"{target}: {_refusal(answer)}{before}")
        said = _said(answer).partial_success
        rejected += said.rejected_spans
        if said.error_message and said.error_message not in messages:
            messages.append(said.error_message)
    return Received(target, rejected, "; ".join(messages))


def _refusal(answer: Answer) -> str:
    if answer.is_page or answer.status in (404, 405):
        return (
            f"takes no OTLP ({answer.status}): a receiver of OTLP over HTTP mostly has "
            "port 4318; name it with -o http://HOST:4318"
        )
    if answer.status in (401, 403):
        return f"not allowed there ({answer.status}): set {HEADERS_VARIABLE}"
    return refusal(answer)


def _said(answer: Answer) -> ExportTraceServiceResponse:
    said = ExportTraceServiceResponse()
    if "json" not in answer.content_type:
        try:
            said.ParseFromString(answer.body)
        except DecodeError:
            said.Clear()
    return said
