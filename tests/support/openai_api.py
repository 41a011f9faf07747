"""A stand-in of OpenAI's APIs: the server of `messages_api`, which speaks other dialects.

with OpenAiApi([Failure(429), Reply("Hello")]) as api:
    client = openai.OpenAI(base_url=api.url, api_key="test")
    client.chat.completions.create(...)
    client.responses.create(...)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support import openai_wire, wire
from tests.support.messages_api import (
    MessagesApi,
    _Answering,
    _Connection,
    _phrase,
)
from tests.support.script import (
    ErrorEvent,
    Failure,
    Reply,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.script import Answer, Script

DIALECTS = {dialect.path: dialect for dialect in (openai_wire.Chat, openai_wire.Responses)}


def _dialect(path: str) -> type[openai_wire.Chat | openai_wire.Responses] | None:
    return next((d for end, d in DIALECTS.items() if path.endswith(end)), None)


class OpenAiApi(MessagesApi):
    """As `MessagesApi`, for `chat.completions` and `responses`."""

    def __init__(self, script: Script | Answer | Sequence[Answer], *, keep: bool = True) -> None:
        super().__init__(script, keep=keep)
        self._server.RequestHandlerClass = _OpenAiConnection

    @property
    def url(self) -> str:
        return f"{super().url}/v1"


class _OpenAiAnswering(_Answering):
    dialect: type[openai_wire.Chat | openai_wire.Responses]

    @staticmethod
    def is_message(path: str) -> bool:
        return _dialect(path) is not None

    def answer(self, identity: tuple[str, int]) -> None:
        dialect = _dialect(self._request.path)
        if dialect is None:
            self.refusal(404, f"Not found: {self._request.path}")
        else:
            self.dialect = dialect
            self.message(wire.new_id(dialect.prefix, *identity))

    def message(self, message_id: str) -> None:
        body = self._request.body
        missing = [
            name for name in self.dialect.required if not isinstance(body, dict) or name not in body
        ]
        if missing:
            self.refusal(400, f"Missing required parameter: '{missing[0]}'.")
        else:
            self.from_script(message_id)

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
        self._end_stream(reply)


class _OpenAiConnection(_Connection):
    answering = _OpenAiAnswering
