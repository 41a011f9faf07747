"""A stand-in of the Anthropic Messages API: a real HTTP server that says what a script says.

In the process of a test, where the requests can be looked at afterwards:

    with MessagesApi([Failure(429, retry_after_seconds=0.3), Reply("Hello")]) as api:
        client = anthropic.Anthropic(base_url=api.url, api_key="test")
        client.messages.create(...)
        assert [request.retry for request in api.requests] == [0, 1]

In a process of its own, so that serving does not share the agent's interpreter lock:

    with messages_api_process("examples.research_script:next_answer") as url:
        client = anthropic.Anthropic(base_url=url, api_key="test")

or from a shell, until its standard input is closed: `python -m tests.support.messages_api
examples.research_script:next_answer`, which prints the URL.

Pauses are kept against a schedule that starts with the request, so a late event does not delay
the ones after it, and what is due at the same time is sent in one piece.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import importlib
import json
import math
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
import traceback
import zlib
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support import wire
from tests.support.script import (
    ERROR_TYPES,
    Answer,
    ByTurn,
    Cut,
    ErrorEvent,
    Failure,
    InOrder,
    Latency,
    RawBlock,
    Reply,
    Request,
    Script,
    ScriptError,
    Stall,
    Text,
    Thinking,
    ToolUse,
    UnscriptedError,
    Usage,
    as_script,
    check_answer,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from typing_extensions import Self

__all__ = [
    "Answer",
    "ByTurn",
    "Cut",
    "ErrorEvent",
    "Exchange",
    "Failure",
    "InOrder",
    "Latency",
    "MessagesApi",
    "RawBlock",
    "Reply",
    "Request",
    "Script",
    "ScriptError",
    "Sent",
    "Stall",
    "Text",
    "Thinking",
    "ToolUse",
    "Usage",
    "messages_api_process",
]

ORGANIZATION_ID = "00000000-0000-4000-8000-000000000001"

REPOSITORY = Path(__file__).resolve().parents[2]

SETTLE_SECONDS = 10.0


@dataclass(frozen=True)
class Sent:
    """Something that left the server: `headers`, `body`, or an event by its name.

    `at_ns` is on the same monotonic clock as `Request.received_ns`.
    """

    what: str
    at_ns: int


@dataclass(frozen=True)
class Exchange:
    """A request, the status it was answered with, and when each part of the answer was sent.

    `complete` is False if the client went away, the server was closed, or the script cut it.
    """

    request: Request
    status: int
    sent: Sequence[Sent]
    complete: bool

    def seconds_until(self, what: str) -> float:
        """Seconds from the arrival of the request to the first `what`.

        Raises LookupError if none was sent.
        """
        for sent in self.sent:
            if sent.what == what:
                return (sent.at_ns - self.request.received_ns) / 1e9
        raise LookupError(f"no {what!r} was sent, only {[sent.what for sent in self.sent]}")


class MessagesApi:
    """The stand-in in this process, listening from `__enter__` to `__exit__`.

    Leaving raises ScriptError if the script itself failed on some request and nothing else is
    being raised already. With `keep=False` nothing is remembered of what was served.
    """

    def __init__(self, script: Script | Answer | Sequence[Answer], *, keep: bool = True) -> None:
        self._log = _Log(keep)
        self._server = _Server(as_script(script), self._log)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="messages-api", daemon=True
        )

    @property
    def url(self) -> str:
        """What to give to the SDK as `base_url`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def requests(self) -> Sequence[Request]:
        """Every request so far in the order of arrival, unscripted ones too."""
        return self._log.requests()

    @property
    def exchanges(self) -> Sequence[Exchange]:
        """Every request so far with how it was answered, in the order of arrival.

        Waits for the answers under way; raises TimeoutError if that takes over ten seconds.
        """
        return self._log.exchanges()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        error_traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        self._thread.join()
        if error is None and self._log.faults:
            raise ScriptError("; ".join(self._log.faults))


@contextlib.contextmanager
def messages_api_process(script: str) -> Iterator[str]:
    """The stand-in in a process of its own that serves `module:NAME`; gives its URL.

    The module may import the standard library and modules of the repository.
    Raises ScriptError if there is no such script; the reason is on standard error.
    """
    # Without the site packages (-S) nothing that is installed to trace the agent traces this too.
    command = [sys.executable, "-S", "-m", "tests.support.messages_api", script]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            if not url:
                raise ScriptError(f"the stand-in could not serve {script!r}; see standard error")
            yield url
        finally:
            process.stdin.close()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()


class _Log:
    """What was asked and answered, written by the threads of many connections."""

    def __init__(self, keep: bool) -> None:
        self.faults: list[str] = []
        self._keep = keep
        self._requests: list[Request] = []
        self._exchanges: list[Exchange] = []
        self._under_way = 0
        self._changed = threading.Condition()

    def begin(self, request: Request) -> None:
        with self._changed:
            self._under_way += 1
            if self._keep:
                self._requests.append(request)

    def end(self, exchange: Exchange) -> None:
        with self._changed:
            self._under_way -= 1
            if self._keep:
                self._exchanges.append(exchange)
            self._changed.notify_all()

    def fault(self, text: str) -> None:
        with self._changed:
            self.faults.append(text)

    def requests(self) -> Sequence[Request]:
        with self._changed:
            return tuple(self._requests)

    def exchanges(self) -> Sequence[Exchange]:
        with self._changed:
            if not self._changed.wait_for(lambda: not self._under_way, SETTLE_SECONDS):
                raise TimeoutError(f"answers still under way after {SETTLE_SECONDS} s")
            return tuple(sorted(self._exchanges, key=lambda one: one.request.received_ns))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, script: Script, log: _Log) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.script = script
        self.log = log
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._message_requests = 0
        self._times_seen: Counter[bytes] = Counter()

    def server_bind(self) -> None:
        # HTTPServer looks up the host's name here, which can take seconds and nobody needs.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def next_number(self) -> int:
        with self._lock:
            self._message_requests += 1
            return self._message_requests - 1

    def times_seen(self, body: bytes) -> int:
        """How often this very body has come before, so that equal requests get unequal ids."""
        key = _digest(body)
        with self._lock:
            self._times_seen[key] += 1
            return self._times_seen[key] - 1

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        thread = threading.current_thread()
        with self._lock:
            self._connections[thread] = request
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                del self._connections[thread]

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients that go away are everyday; anything else is a fault of the stand-in.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            self.log.fault(f"the stand-in failed: {traceback.format_exc()}")

    def close(self) -> None:
        """Stop listening, end every answer and connection, and wait for their threads."""
        self.closing.set()
        self.shutdown()
        self.server_close()
        with self._lock:
            connections = dict(self._connections)
        for connection in connections.values():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in connections:
            thread.join(timeout=5)


class _Connection(BaseHTTPRequestHandler):
    """One connection of a client, with any number of requests one after the other."""

    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    answering: type[_Answering]

    def do_POST(self) -> None:
        received_ns = time.monotonic_ns()
        raw_body = self._read_body()
        path, _, query = self.path.partition("?")
        try:
            body = json.loads(raw_body)
        except ValueError:
            body = None
        request = Request(
            number=self.server.next_number() if self.answering.is_message(path) else -1,
            method=self.command,
            path=path,
            query=query,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
            received_ns=received_ns,
        )
        identity = _digest(raw_body), self.server.times_seen(raw_body)
        answering = self.answering(self, request, wire.new_id("req", path, *identity))
        self.server.log.begin(request)
        try:
            answering.answer(identity)
        except ConnectionError:
            answering.complete = False
            self.close_connection = True
        finally:
            self.server.log.end(answering.exchange())

    do_GET = do_PUT = do_PATCH = do_DELETE = do_POST  # noqa: N815 (http.server's names)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (as inherited)
        """Nothing: a test looks at `MessagesApi.requests` instead."""

    def _read_body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body


class _Answering:
    """The answer to one request: sends it on schedule and writes down what was sent when."""

    def __init__(self, connection: _Connection, request: Request, request_id: str) -> None:
        self.complete = True
        self._connection = connection
        self._server = connection.server
        self._request = request
        self._request_id = request_id
        self._status = 0
        self._due_ns = request.received_ns
        self._sent: list[Sent] = []
        self._waiting: list[tuple[str, bytes]] = []

    def exchange(self) -> Exchange:
        """What became of the request."""
        return Exchange(self._request, self._status, tuple(self._sent), self.complete)

    @staticmethod
    def is_message(path: str) -> bool:
        """Tells whether what is asked for at `path` is in the script."""
        return path.endswith("/v1/messages") or wire.model_in(path) is not None

    def answer(self, identity: tuple[str, int]) -> None:
        """Answer whatever the request asks for; ids follow from its `identity`."""
        path = self._request.path
        if path == "/v1/messages/count_tokens":
            self.token_count()
        elif path == "/v1/messages/batches":
            self.batch()
        elif self.is_message(path):
            self.message(wire.new_id("msg", *identity))
        else:
            self.refusal(404, f"Not found: {self._request.method} {path}")

    def message(self, message_id: str) -> None:
        """Answer as the script says, if the request is one that the API takes."""
        required = ("max_tokens", "messages")
        if wire.model_in(self._request.path) is None:
            required = ("model", *required)
        problem = _problem(self._request, required)
        if problem is not None:
            self.refusal(*problem)
        else:
            self.from_script(message_id)

    def from_script(self, message_id: str) -> None:
        """Answer as the script says."""
        try:
            answer = check_answer(self._server.script(self._request), "the script")
        except UnscriptedError as unscripted:
            self.refusal(400, f"stand-in: {unscripted}")
        except Exception as error:
            self._server.log.fault(f"the script failed: {error!r}")
            failure = Failure(500, f"stand-in: the script failed: {error!r}")
            self._failure(failure, {"x-should-retry": "false"})
        else:
            self._scripted(answer, message_id)

    def token_count(self) -> None:
        """Answer how many tokens the request has."""
        problem = _problem(self._request, ("model", "messages"))
        if problem is not None:
            self.refusal(*problem)
        else:
            self._json(200, {"input_tokens": wire.input_size_tokens(self._request.body)})

    def batch(self) -> None:
        """Answer that the batch has been taken."""
        counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
        self._json(
            200,
            {
                "id": self._request_id.replace("req", "msgbatch"),
                "type": "message_batch",
                "processing_status": "in_progress",
                "request_counts": counts,
                "created_at": "2026-01-01T00:00:00Z",
                "expires_at": "2026-01-02T00:00:00Z",
            },
        )

    def refusal(self, status: int, text: str) -> None:
        """Answer that the request is wrong."""
        self._failure(Failure(status, text), {})

    def _scripted(self, answer: Answer, message_id: str) -> None:
        if isinstance(answer, Failure):
            self._pause(answer.latency_seconds)
            self._failure(answer, _retry_headers(answer))
            return
        self._pause(answer.latency.before_headers)
        if self._request.streams or self._request.path.endswith("response-stream"):
            self._stream(answer, message_id)
        else:
            self._pause(wire.generation_seconds(answer))
            self._whole(answer, message_id)

    def _failure(self, failure: Failure, headers: dict[str, str]) -> None:
        text = failure.message or _phrase(failure.status)
        self._json(failure.status, wire.error(failure.error_type, text, self._request_id), headers)

    def _whole(self, reply: Reply, message_id: str) -> None:
        interruption = reply.interruption
        if isinstance(interruption, ErrorEvent):
            self._failure(Failure(interruption.status, interruption.message), {})
        else:
            body = wire.message(reply, self._request, message_id)
            self._json(200, body, cut=interruption is not None, encoding=reply.encoding)

    def _stream(self, reply: Reply, message_id: str) -> None:
        framed = self._request.path.endswith("response-stream")
        kind = "application/vnd.amazon.eventstream" if framed else "text/event-stream"
        self._head(
            200,
            {
                "content-type": kind if framed else f"{kind}; charset=utf-8",
                "cache-control": "no-cache",
                "transfer-encoding": "chunked",
                **({"content-encoding": reply.encoding} if reply.encoding else {}),
            },
        )
        packed = zlib.compressobj(wbits=zlib.MAX_WBITS | 16) if reply.encoding == "gzip" else None
        for event in wire.events(reply, self._request, message_id):
            self._pause(event.pause_seconds)
            data = event.frame() if framed else event.encode()
            if packed is not None:
                data = packed.compress(data) + packed.flush(zlib.Z_SYNC_FLUSH)
            self._send(event.name, b"%x\r\n%s\r\n" % (len(data), data))
        if packed is not None:
            data = packed.flush()
            self._send("end of the encoding", b"%x\r\n%s\r\n" % (len(data), data))
        self._end_stream(reply)

    def _end_stream(self, reply: Reply) -> None:
        if isinstance(reply.interruption, Cut):
            self._flush()
            self._cut()
        else:
            self._send("end", b"0\r\n\r\n")
            self._flush()

    def _json(
        self,
        status: int,
        body: wire.JsonObject,
        headers: dict[str, str] | None = None,
        cut: bool = False,
        encoding: str | None = None,
    ) -> None:
        data = json.dumps(body).encode()
        if encoding == "gzip":
            data = gzip.compress(data)
        self._head(
            status,
            {
                "content-type": "application/json",
                "content-length": str(len(data)),
                **({"content-encoding": encoding} if encoding else {}),
                **(headers or {}),
            },
        )
        self._send("body", data[: len(data) // 2] if cut else data)
        self._flush()
        if cut:
            self._cut()

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self._status = status
        common = {
            "request-id": self._request_id,
            "anthropic-organization-id": ORGANIZATION_ID,
        }
        lines = [f"{name}: {value}\r\n" for name, value in {**headers, **common}.items()]
        start = f"HTTP/1.1 {status} {_phrase(status)}\r\n"
        self._send("headers", (start + "".join(lines) + "\r\n").encode())

    def _send(self, what: str, data: bytes) -> None:
        self._waiting.append((what, data))

    def _flush(self) -> None:
        if not self._waiting:
            return
        now_ns = time.monotonic_ns()
        self._sent.extend(Sent(what, now_ns) for what, _ in self._waiting)
        data = b"".join(data for _, data in self._waiting)
        self._waiting.clear()
        self._connection.wfile.write(data)

    def _pause(self, seconds: float) -> None:
        if seconds <= 0:
            return
        self._flush()
        self._due_ns += round(seconds * 1e9)
        remaining_ns = self._due_ns - time.monotonic_ns()
        if remaining_ns > 0 and self._server.closing.wait(remaining_ns / 1e9):
            raise ConnectionAbortedError("the stand-in is closed")

    def _cut(self) -> None:
        self.complete = False
        self._connection.close_connection = True


_Connection.answering = _Answering


def _problem(request: Request, required: Sequence[str]) -> tuple[int, str] | None:
    """The status and message the API would refuse the request with, if it would."""
    if request.method != "POST":
        return 405, "Method Not Allowed"
    if not (request.headers.get("x-api-key") or request.headers.get("authorization")):
        return 401, "x-api-key header is required"
    if not isinstance(request.body, dict):
        return 400, "The request body is not valid JSON: expected an object"
    for name in required:
        if name not in request.body:
            return 400, f"{name}: Field required"
    if not request.messages:
        return 400, "messages: at least one message is required"
    return _unanswered_tool_use(request.messages)


def _unanswered_tool_use(messages: Sequence[Any]) -> tuple[int, str] | None:
    for index, message in enumerate(messages[:-1]):
        asked = _ids(message, "tool_use", "id")
        missing = sorted(asked - _ids(messages[index + 1], "tool_result", "tool_use_id"))
        if missing:
            return 400, (
                f"messages.{index}: `tool_use` ids were found without `tool_result` blocks "
                f"immediately after: {', '.join(missing)}"
            )
    return None


def _ids(message: Any, kind: str, field: str) -> set[str]:
    content = message.get("content")
    if not isinstance(content, list):
        return set()
    return {block[field] for block in content if block.get("type") == kind}


def _retry_headers(failure: Failure) -> dict[str, str]:
    """What the API says about trying again.

    `retry-after` holds whole seconds; the SDK prefers the exact `retry-after-ms` where it is sent.
    """
    seconds = failure.retry_after_seconds
    if seconds is None:
        return {}
    headers = {"retry-after": str(math.ceil(seconds))}
    if seconds != int(seconds):
        headers["retry-after-ms"] = f"{seconds * 1000:g}"
    return headers


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ERROR_TYPES.get(status, "Error").replace("_", " ").title()


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16).digest()


def _find_script(name: str) -> Script:
    """The script called `module:NAME`.

    Raises ScriptError if there is none.
    """
    module_name, _, attribute = name.partition(":")
    if not attribute:
        raise ScriptError(f"expected module:NAME, got {name!r}")
    try:
        script = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise ScriptError(f"no script {name!r}: {error}") from error
    return as_script(script)


def _end_with_parent() -> None:
    """End this process once its parent is gone, however the parent ended."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


def main(argv: Sequence[str]) -> int:
    """Serve one script until standard input ends or the parent process is gone."""
    if len(argv) != 1:
        print("usage: python -m tests.support.messages_api module:NAME", file=sys.stderr)
        return 2
    # An interrupt at the terminal is for the agent, which then closes our standard input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with MessagesApi(_find_script(argv[0]), keep=False) as api:
            print(api.url, flush=True)
            sys.stdin.read()
    except ScriptError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
