"""With content off, no exported byte holds what anybody said, nor a digest that all can make."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import logging
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

import causepath
from causepath import config
from causepath.export.trace_file import TraceFile
from tests.plugin.conftest import NATIVE
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording
from tests.support.script import Failure, InOrder, RawBlock, Reply, Text, Thinking, ToolUse

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
    assert exported.count(b"causepath.input.blocks") == 10


def test_on_request_the_same_search_finds_what_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(config.CAPTURE_MESSAGE_CONTENT, "span_only")
    found, _, _ = given_away(tmp_path / "traces.jsonl", declared=True)
    hidden = {"image", "address", "document", "title", "apikey", "user", "header"}
    hidden |= {"signature", "hiddenthought"}
    places = {one.partition("in")[2].partition("for this")[0] for one in secret.planted}
    assert {one.partition("in")[2].partition("for this")[0] for one in found} == places - hidden


# -- the places where no text is looked for


class Printed(logging.Handler):
    """Every line that the plugin logs, with the exceptions."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter())
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def odd_corners(client: Any) -> None:
    """Secrets in ids, addresses, headers, docstrings, notes and causes."""

    def broken(q: str) -> str:
        error = ValueError(secret("message of a tool's exception"))
        error.__notes__ = [secret("note")]  # as `add_note`, which Python 3.10 lacks
        raise error from KeyError(secret("cause"))

    broken.__doc__ = secret("docstring of a tool")
    declared = causepath.tool(name="broken")(broken)
    runner = anthropic.beta_tool(
        broken, name="broken", description=secret("description, run by the SDK")
    )
    common: dict[str, Any] = {
        **ASK,
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "?"},
                    {"type": "document", "source": {"type": "file", "file_id": secret("file id")}},
                    {"type": "container_upload", "file_id": secret("container file")},
                ],
            }
        ],
        "metadata": {"user_id": secret("user")},
        "extra_headers": {"x-secret": secret("extra header").replace(" ", "-")},
        "extra_query": {"q": secret("extra query").replace(" ", "-")},
        "extra_body": {"more": {secret("key of a body"): secret("extra body")}},
    }
    betas: Any = [secret("beta").replace(" ", "-")]
    client.beta.messages.create(**common, betas=betas, container=secret("container id"))
    with contextlib.suppress(anthropic.APIError):
        client.messages.create(**common)  # refused
    for _ in client.beta.messages.tool_runner(**common, tools=[runner], max_iterations=2):
        pass
    with contextlib.suppress(ValueError), causepath.agent("agent"):
        declared("x")
    with contextlib.suppress(RuntimeError), causepath.agent("agent"):
        error = RuntimeError(secret("message of an agent's exception"))
        error.__notes__ = [secret("note of an agent")]
        raise error


BY_THE_SDK: set[tuple[str, str]] = {
    ("description,runbytheSDK", "gen_ai.tool.description"),
}
"""What the SDK writes into its own spans, whoever reads them."""


def place_of(planted: str) -> str:
    return planted.partition("in")[2].partition("for")[0]


def holder(span: Any, trace: bytes) -> str:
    """The attribute of the SDK's own span that holds it, else the name of the span."""
    if span.instrumentation_scope.name == "causepath":
        return f"ours: {span.name}"
    return next((k for k, v in span.attributes.items() if trace in str(v).encode()), span.name)


@pytest.mark.parametrize("native", [False, True])
def test_no_corner_of_a_request_or_an_error_is_told(
    native: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret.planted.clear()
    monkeypatch.setenv("ANTHROPIC_OPEN_TELEMETRY", str(native).lower())
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", secret("token of the environment").replace(" ", "-"))
    printed, reader, exporter = Printed(), InMemoryMetricReader(), InMemoryLogRecordExporter()
    loggers = LoggerProvider(shutdown_on_exit=False)
    loggers.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    meters = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr("opentelemetry.metrics._internal._METER_PROVIDER", meters)
    monkeypatch.setattr("opentelemetry._logs._internal._LOGGER_PROVIDER", loggers)
    logging.getLogger("causepath").addHandler(printed)
    logging.getLogger("causepath").setLevel(logging.DEBUG)
    asks = Reply([ToolUse("broken", {"q": secret("argument")})])
    refused = Failure(400, secret("message of an error"))
    words = secret("user of the address").replace(" ", "-"), secret("password").replace(" ", "-")
    with (
        MessagesApi(InOrder([Reply("Fine."), refused, asks, Reply("Fine.")])) as api,
        Recording() as recording,
    ):
        address = api.url.replace("://", f"://{words[0]}:{words[1]}@")
        client = anthropic.Anthropic(
            base_url=address,
            api_key=secret("api key").replace(" ", "-"),
            default_headers={"x-default": secret("default header").replace(" ", "-")},
            default_query={"default": secret("default query").replace(" ", "-")},
        )
        with client:
            odd_corners(client)
        recording.text()
        spans = recording.spans()
        measured = reader.get_metrics_data()
    logging.getLogger("causepath").removeHandler(printed)
    assert len(spans) > 6
    assert measured is not None
    told: set[tuple[str, str]] = set()
    for span in spans:
        alone = encode_spans([span]).SerializeToString()
        for one, trace in secret.traces():
            if trace in alone:
                told.add((place_of(one), holder(span, trace)))
    rest = measured.to_json().encode() + "\n".join(printed.lines).encode()
    rest += repr([one.log_record for one in exporter.get_finished_logs()]).encode()
    told |= {(place_of(one), "elsewhere") for one, trace in secret.traces() if trace in rest}
    assert told == (BY_THE_SDK if native and NATIVE else set())
    assert len(secret.planted) == 27
