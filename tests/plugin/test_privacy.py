"""With content off, no exported byte holds what anybody said, nor a digest that all can make."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

import causepath
from causepath import config
from causepath.file import TraceFile
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording
from tests.support.script import RawBlock, Reply, Text, Thinking, ToolUse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ASK: dict[str, Any] = {"model": "m", "max_tokens": 64}


class Secrets:
    """Texts that appear nowhere else, each planted in one place."""

    def __init__(self) -> None:
        self.planted: list[str] = []

    def __call__(self, place: str) -> str:
        secret = f"planted{len(self.planted):03}in{place.replace(' ', '')}for this test only"
        self.planted.append(secret)
        return secret

    def traces(self) -> Iterator[tuple[str, bytes]]:
        """What would give a secret away: itself, in other clothes, and what can be tried out."""
        for secret in self.planted:
            data = secret.encode()
            yield secret, data[:24]
            yield secret, base64.b64encode(data)[:24]
            yield secret, data.hex()[:24].encode()
            for digest in (
                hashlib.blake2b(data, digest_size=8),
                hashlib.blake2b(data),
                hashlib.sha256(data),
                hashlib.sha1(data),
                hashlib.md5(data),
            ):
                yield secret, digest.hexdigest()[:16].encode()
                yield secret, digest.digest()[:8]


secret = Secrets()


@causepath.tool
def look_up(q: str, **_: Any) -> dict[str, Any]:
    return {"found": secret("result of a tool"), q: [secret("key of a result")]}


def agent(client: Any) -> None:
    image = base64.b64encode(secret("image").encode()).decode()
    source = {"type": "base64", "media_type": "image/png", "data": image}
    document = {"type": "text", "media_type": "text/plain", "data": secret("document")}
    messages: list[Any] = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": secret("prompt")},
                {"type": "image", "source": source},
                {"type": "image", "source": {"type": "url", "url": secret("address")}},
                {"type": "document", "source": document, "title": secret("title")},
            ],
        }
    ]
    schema = {"type": "object", "properties": {secret("property"): {"const": secret("schema")}}}
    tools = [
        {"name": "look_up", "description": secret("description"), "input_schema": schema},
        {"name": "ask", "description": secret("description"), "input_schema": schema},
    ]
    system = [{"type": "text", "text": secret("system"), "cache_control": {"type": "ephemeral"}}]
    common: dict[str, Any] = {
        **ASK,
        "system": system,
        "tools": tools,
        "metadata": {"user_id": secret("user")},
        "extra_headers": {"x-secret": secret("header").replace(" ", "-")},
    }
    first = client.messages.create(**common, messages=messages)
    calls = [block for block in first.content if block.type == "tool_use"]
    messages.append({"role": "assistant", "content": first.content})
    results = [
        {
            "type": "tool_result",
            "tool_use_id": call.id,
            "content": json.dumps(look_up(**call.input)) if call.name == "look_up" else said,
        }
        for call, said in zip(calls, (None, secret("result that nobody measured")), strict=True)
    ]
    messages.append({"role": "user", "content": results})
    with client.messages.stream(**common, messages=messages) as stream:
        said = "".join(stream.text_stream)
    client.messages.create(**ASK, messages=[{"role": "user", "content": f"Sum up: {said}"}])


def answers() -> list[Reply]:
    return [
        Reply(
            [
                Thinking(secret("thought"), secret("signature")),
                Text(secret("answer")),
                ToolUse("look_up", {"q": secret("argument"), secret("name of one"): 1}),
                ToolUse("ask", {"q": [{"deep": secret("deep argument")}]}),
                RawBlock({"type": "redacted_thinking", "data": secret("hidden thought")}),
            ]
        ),
        Reply([Thinking(secret("thought in a stream")), Text(secret("answer in a stream"))]),
        Reply("Fine."),
    ]


def given_away(traces: Path, *, declared: bool) -> tuple[set[str], str, bytes]:
    """Which secrets the export of an agent's run gives away, its spans as text, and all of it."""
    secret.planted.clear()
    key = secret("api key")
    with (
        MessagesApi(answers()) as api,
        anthropic.Anthropic(base_url=api.url, api_key=key) as client,
        Recording() as recording,
    ):
        recording.provider.add_span_processor(SimpleSpanProcessor(TraceFile(traces)))
        if declared:
            with causepath.agent("a"):
                agent(client)
        else:
            agent(client)
        told = recording.text()
    exported = traces.read_bytes() + encode_spans(recording.spans()).SerializeToString()
    return {one for one, trace in secret.traces() if trace in exported}, told, exported


@pytest.mark.parametrize("declared", [True, False])
def test_no_exported_byte_holds_what_was_said(declared: bool, tmp_path: Path) -> None:
    found, told, exported = given_away(tmp_path / "traces.jsonl", declared=declared)
    assert (found, len(secret.planted)) == (set(), 25)
    assert "-content-" in told  # and yet it is known where an answer went
    assert exported.count(b"causepath.input.blocks") == 6


def test_on_request_the_same_search_finds_what_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(config.CAPTURE_MESSAGE_CONTENT, "span_only")
    found, _, _ = given_away(tmp_path / "traces.jsonl", declared=True)
    hidden = {"image", "address", "document", "title", "apikey", "user", "header"}
    hidden |= {"signature", "hiddenthought"}
    places = {one.partition("in")[2].partition("for this")[0] for one in secret.planted}
    assert {one.partition("in")[2].partition("for this")[0] for one in found} == places - hidden
