"""A stand-in of OpenAI's APIs: the server of `messages_api`, which speaks other dialects.

with OpenAiApi([Failure(429), Reply("Hello")]) as api:
    client = openai.OpenAI(base_url=api.url, api_key="test")
    client.chat.completions.create(...)
    client.responses.create(...)
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from tests.support import openai_wire, wire
from tests.support.messages_api import (
    MessagesApi,
    _Answering,
    _Connection,
    _digest,
    _phrase,
)
from tests.support.script import (
    Cut,
    ErrorEvent,
    Failure,
    Reply,
    Request,
    ScriptError,
    UnscriptedError,
    check_answer,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.script import Answer, Script

DIALECTS = {dialect.path: dialect for dialect in (openai_wire.Chat, openai_wire.Responses)}


class OpenAiApi(MessagesApi):
    """As `MessagesApi`, for `chat.completions` and `responses`."""

    def __init__(self, script: Script | Answer | Sequence[Answer], *, keep: bool = True) -> None:
        super().__init__(script, keep=keep)
        self._server.RequestHandlerClass = _OpenAiConnection

    @property
    def url(self) -> str:
        return f"{super().url}/v1"


class _OpenAiConnection(_Connection):
    def do_POST(self) -> None:  # noqa: N802
        raw_body = self._read_body()
        path, _, query = self.path.partition("?")
        dialect = next((d for end, d in DIALECTS.items() if path.endswith(end)), None)
        try:
            body = json.loads(raw_body)
        except ValueError:
            body = None
        request = Request(
            number=self.server.next_number() if dialect is not None else -1,
            method=self.command,
            path=path,
            query=query,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
            received_ns=time.monotonic_ns(),
        )
        identity = _digest(raw_body), self.server.times_seen(raw_body)
        answering = _OpenAiAnswering(self, request, wire.new_id("req", path, *identity))
        self.server.log.begin(request)
        try:
            if dialect is None:
                answering.refusal(404, f"Not found: {path}")
            else:
                answering.dialect = dialect
                answering.message(wire.new_id(dialect.prefix, *identity))
        except ConnectionError:
            answering.complete = False
            self.close_connection = True
        finally:
            self.server.log.end(answering.exchange())

    do_GET = do_PUT = do_PATCH = do_DELETE = do_POST  # noqa: N815 (http.server's names)


class _OpenAiAnswering(_Answering):
    dialect: type[openai_wire.Chat | openai_wire.Responses]

    def message(self, message_id: str) -> None:
        body = self._request.body
        missing = [
            name for name in self.dialect.required if not isinstance(body, dict) or name not in body
        ]
        if missing:
            self.refusal(400, f"Missing required parameter: '{missing[0]}'.")
            return
        try:
            answer = check_answer(self._server.script(self._request), "the script")
        except UnscriptedError as unscripted:
            self.refusal(400, f"stand-in: {unscripted}")
        except ScriptError as error:
            self._server.log.fault(f"the script failed: {error!r}")
            self.refusal(500, f"stand-in: the script failed: {error!r}")
        else:
            self._scripted(answer, message_id)

    def _failure(self, failure: Failure, headers: dict[str, str]) -> None:
        text = failure.message or _phrase(failure.status)
        body = openai_wire.error(failure.error_type, text, self._request_id)
        self._json(failure.status, body, headers)

    def _whole(self, reply: Reply, message_id: str) -> None:
        interruption = reply.interruption
        if isinstance(interruption, ErrorEvent):
            self._failure(Failure(interruption.status, interruption.message), {})
        else:
            body = self.dialect.whole(reply, self._request, message_id)
            self._json(200, body, cut=interruption is not None)

    def _stream(self, reply: Reply, message_id: str) -> None:
        self._head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
        for event in self.dialect.events(reply, self._request, message_id):
            self._pause(event.pause_seconds)
            data = event.encode()
            self._send(event.name, b"%x\r\n%s\r\n" % (len(data), data))
        if isinstance(reply.interruption, Cut):
            self._flush()
            self._cut()
        else:
            self._send("end", b"0\r\n\r\n")
            self._flush()
