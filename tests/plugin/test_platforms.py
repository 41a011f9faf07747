"""Clients of other platforms, with credentials of their kind: what is signed is what is sent."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import anthropic
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from google.oauth2.credentials import Credentials as GoogleCredentials
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import StreamEnded

from tests.plugin.test_safety import driven
from tests.plugin.ways import ASK, W, seen
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording
from tests.support.script import Failure, InOrder, Reply, Request, Usage
from tests.support.wire import events

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
AWS: dict[str, Any] = {
    "aws_access_key": KEY,
    "aws_secret_key": SECRET,
    "aws_session_token": "session",
    "aws_region": "us-east-1",
}
GOOGLE = GoogleCredentials(  # type: ignore[no-untyped-call]
    "token-of-google", quota_project_id="p"
)

PLATFORMS: dict[str, tuple[str, dict[str, Any], str]] = {
    "AnthropicBedrock": ("aws.bedrock", AWS, "SigV4"),
    "AnthropicBedrockMantle": ("aws.bedrock", AWS, "SigV4"),
    "AnthropicAWS": ("anthropic", {**AWS, "workspace_id": "w"}, "SigV4"),
    "AnthropicVertex": (
        "gcp.vertex_ai",
        {"credentials": GOOGLE, "project_id": "p", "region": "global"},
        "Bearer token-of-google",
    ),
    "AnthropicGoogleCloud": (
        "anthropic",
        {"credentials": GOOGLE, "project": "p", "workspace_id": "w"},
        "Bearer token-of-google",
    ),
    "AnthropicFoundry": (
        "anthropic",
        {"azure_ad_token_provider": lambda: "token-of-azure"},
        "Bearer token-of-azure",
    ),
}
HELLO = Reply("Hello.", usage=Usage(3, 2))


def right_signature(request: Request) -> str:
    """What AWS would work out from what it got."""
    scheme, _, told = request.headers["authorization"].partition(" ")
    parts = dict(part.strip().split("=", 1) for part in told.split(","))
    key, _, region, service, _ = parts["Credential"].split("/")
    assert (scheme, key) == ("AWS4-HMAC-SHA256", KEY)
    data = json.dumps(request.body, separators=(",", ":"), ensure_ascii=False).encode()
    assert len(data) == int(request.headers["content-length"])
    got: Any = AWSRequest(
        method=request.method,
        url=f"http://{request.headers['host']}{request.path}",
        headers={name: request.headers[name] for name in parts["SignedHeaders"].split(";")},
        data=data,
    )
    got.context["timestamp"] = request.headers["x-amz-date"]
    signer: Any = SigV4Auth(Credentials(KEY, SECRET, "session"), service, region)
    to_sign = signer.string_to_sign(got, signer.canonical_request(got))
    right = parts | {"Signature": signer.signature(to_sign, got)}
    return f"{scheme} " + ", ".join(f"{name}={value}" for name, value in right.items())


async def converse(w: W) -> list[Any]:
    saw = [seen(await w.create())]
    saw.append([seen(event) for event in await w.all(await w.create(stream=True))])
    async with w.inside(w.client.messages.stream(**ASK)) as stream:
        saw.append(seen(await w.of(stream.get_final_message())))
    return saw


def run(name: str, is_async: bool, enabled: bool) -> tuple[Any, list[Request], list[Any]]:
    _, options, _ = PLATFORMS[name]
    make = getattr(anthropic, ("Async" if is_async else "") + name)

    async def main(w: W) -> Any:
        try:
            return await converse(w)
        finally:
            await w.of(w.client.close())

    with MessagesApi(
        InOrder([Failure(429, retry_after_seconds=0.001), HELLO, HELLO, HELLO])
    ) as api:
        client = make(base_url=api.url, max_retries=2, **options)
        w = W(client, api, is_async)
        if not enabled:
            return asyncio.run(main(w)) if is_async else driven(main(w)), [*api.requests], []
        with Recording() as recording:
            saw = asyncio.run(main(w)) if is_async else driven(main(w))
            return saw, [*api.requests], [*recording.spans()]


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("name", [name for name in PLATFORMS if hasattr(anthropic, name)])
def test_what_is_signed_is_what_is_sent(name: str, is_async: bool) -> None:
    platform, _, authorization = PLATFORMS[name]
    plain, before, _ = run(name, is_async, enabled=False)
    saw, after, spans = run(name, is_async, enabled=True)
    assert saw == plain
    assert [(one.path, one.query, one.body) for one in after] == [
        (one.path, one.query, one.body) for one in before
    ]
    # The SDK itself sends the context of its span along, where it has one.
    assert {name for one in after for name in one.headers} - {"traceparent"} == {
        name for one in before for name in one.headers
    }
    for request in after:
        right = right_signature(request) if authorization == "SigV4" else authorization
        assert request.headers["authorization"] == right
    chats = [span for span in spans if span.name == "chat m"]
    assert [span.attributes["gen_ai.provider.name"] for span in chats] == [platform] * 3
    assert [span.attributes["gen_ai.usage.output_tokens"] for span in chats] == [2] * 3
    assert sum(span.name == "backoff" for span in spans) == 1


# -- HTTP/2


ASKED = Request(0, "POST", "/v1/messages", "", {}, {**ASK, "stream": True}, 0)


class Http2(threading.Thread):
    """A server that answers each request with the events of one reply, over HTTP/2 and TLS."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(Path(__file__).parents[1] / "support" / "localhost.pem")
        context.set_alpn_protocols(["h2"])
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._context = context
        self.url = f"https://127.0.0.1:{self._listening.getsockname()[1]}"

    def run(self) -> None:
        accepted, _ = self._listening.accept()
        with self._listening, self._context.wrap_socket(accepted, server_side=True) as peer:
            speaks = H2Connection(H2Configuration(client_side=False))
            speaks.initiate_connection()
            peer.sendall(speaks.data_to_send())
            while data := peer.recv(65_536):
                for event in speaks.receive_data(data):
                    if isinstance(event, StreamEnded) and event.stream_id is not None:
                        headers = [(":status", "200"), ("content-type", "text/event-stream")]
                        speaks.send_headers(event.stream_id, headers)
                        for one in events(HELLO, ASKED, "msg_1"):
                            speaks.send_data(event.stream_id, one.encode())
                        speaks.end_stream(event.stream_id)
                peer.sendall(speaks.data_to_send())


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_over_http2(is_async: bool) -> None:
    server = Http2()
    server.start()
    trust = ssl.create_default_context(cafile=Path(__file__).parents[1] / "support/localhost.pem")
    trust.check_hostname = False

    async def main() -> Any:
        make = anthropic.AsyncAnthropic if is_async else anthropic.Anthropic
        http = anthropic.DefaultAsyncHttpxClient if is_async else anthropic.DefaultHttpxClient
        client: Any = make(
            base_url=server.url, api_key="test", http_client=http(http2=True, verify=trust)
        )
        w = W(client, None, is_async)  # type: ignore[arg-type]
        saw = [await w.all(await w.create(stream=True)) for _ in range(2)]
        await w.of(client.close())
        return saw

    with Recording() as recording:
        saw = asyncio.run(main()) if is_async else driven(main())
        spans = [span for span in recording.spans() if span.name == "chat m"]
    assert saw[0] == saw[1]
    assert [span.attributes["gen_ai.usage.output_tokens"] for span in spans] == [2, 2]
    assert [span.attributes["causepath.connection.new"] for span in spans] == [True, False]
