"""What decides the price of a call, from the provider through the SDK and a trace to its cost."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from causepath.export.trace_file import TraceFile
from causepath_analyzer.analyses.path.cost import cost_of
from causepath_analyzer.model import Terms, Tokens
from causepath_analyzer.read import read
from tests.plugin.conftest import NATIVE
from tests.plugin.google_genai.ways import make_client
from tests.support.google_api import GoogleApi
from tests.support.messages_api import MessagesApi
from tests.support.openai_api import OpenAiApi
from tests.support.recording import Recording
from tests.support.script import Reply, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

CACHED = Usage(2_000, 100, 4_000, 1_000, 3_000)
COUNTED = Tokens(10_000, 100, 4_000, 4_000, cache_write_1h=3_000)
CHANGED = {"type": "system_changed", "cache_missed_input_tokens": 4_242}


@dataclass(frozen=True)
class Case:
    """A reply with what the provider says beside it, and what the analyzer is to make of it."""

    kind: str
    model: str
    usage: Usage
    more: Mapping[str, Any]
    tokens: Tokens
    terms: Terms
    usd: str
    searches: int = 0
    diagnosis: tuple[str | None, int | None] = (None, None)
    asks: Mapping[str, Any] = field(default_factory=dict)
    estimates: tuple[str, ...] = ()


CASES = [
    # $5 and $25 a million tokens; of the cache 0.1, 1.25 and 2 times the first.
    Case(
        "anthropic",
        "claude-opus-4-8",
        CACHED,
        {"usage": {"service_tier": "standard"}},
        COUNTED,
        Terms("standard"),
        "0.05075",
    ),
    Case(
        "anthropic",
        "claude-opus-4-8",
        CACHED,
        {
            "usage": {
                "speed": "fast",
                "inference_geo": "us",
                "server_tool_use": {"web_search_requests": 3},
            },
            "diagnostics": {"cache_miss_reason": CHANGED},
        },
        COUNTED,
        Terms("standard", "auto", "fast", "us"),
        "0.14165",  # twice for speed, 1.1 times for the place, and a cent for each search
        3,
        ("system_changed", 4_242),
        {"service_tier": "auto"},
        ("us: factor 1.1, ours of 2026-11-28",),
    ),
    Case(
        "chat",
        "gpt-5.6-sol",
        Usage(6_000, 500, 4_000),
        {"service_tier": "flex"},
        Tokens(10_000, 500, 4_000),
        Terms("flex", "flex"),
        "0.0178",
        asks={"service_tier": "flex"},
    ),
    Case(
        "responses",
        "gpt-5.6-sol",
        Usage(6_000, 500, 4_000, thinking_tokens=200),
        {
            "service_tier": "priority",
            "tool_usage": {"web_search": {"num_requests": 2}},
            "prompt_cache_diagnostics": {
                "type": "cache_miss",
                "reason": "tools_changed",
                "cache_missed_tokens": 77,
            },
        },
        Tokens(10_000, 500, 4_000, reasoning=200),
        Terms("priority", "auto"),
        "0.0912",
        2,
        ("tools_changed", 77),
        {"service_tier": "auto"},
    ),
    Case(
        "gemini",
        "gemini-2.5-flash",
        Usage(6_000, 500, 4_000, thinking_tokens=200),
        {"usageMetadata": {"trafficType": "ON_DEMAND_FLEX"}},
        Tokens(10_000, 500, 4_000, reasoning=200),
        Terms("flex"),
        "0.00317",
        estimates=("flex has no price here: priced as standard",),
    ),
]
CASES += [replace(case, kind="anthropic, with its own spans") for case in CASES[:2] if NATIVE]


SAID = [{"role": "user", "content": "Hello?"}]


def native_client(url: str, is_async: bool) -> Any:
    return (anthropic.AsyncAnthropic if is_async else anthropic.Anthropic)(
        base_url=url, api_key="test"
    )


def anthropic_client(url: str, is_async: bool) -> Any:
    client = native_client(url, is_async)
    return client.with_options(open_telemetry=False) if NATIVE else client


def openai_client(url: str, is_async: bool) -> Any:
    return (openai.AsyncOpenAI if is_async else openai.OpenAI)(base_url=url, api_key="test")


def message(client: Any, case: Case, streams: bool) -> Any:
    return client.messages.create(
        model=case.model, max_tokens=64, messages=SAID, stream=streams, extra_body=case.asks
    )


def completion(client: Any, case: Case, streams: bool) -> Any:
    more = {"stream": True, "stream_options": {"include_usage": True}} if streams else {}
    return client.chat.completions.create(
        model=case.model, messages=SAID, extra_body=case.asks, **more
    )


def response(client: Any, case: Case, streams: bool) -> Any:
    return client.responses.create(
        model=case.model, input="Hello?", stream=streams, extra_body=case.asks
    )


def content(client: Any, case: Case, streams: bool) -> Any:
    call = client.models.generate_content_stream if streams else client.models.generate_content
    return call(model=case.model, contents="Hello?")


KINDS: dict[str, tuple[Callable[..., Any], Callable[..., Any], type[MessagesApi]]] = {
    "anthropic": (anthropic_client, message, MessagesApi),
    "anthropic, with its own spans": (native_client, message, MessagesApi),
    "chat": (openai_client, completion, OpenAiApi),
    "responses": (openai_client, response, OpenAiApi),
    "gemini": (lambda url, is_async: make_client(url, is_async, 0), content, GoogleApi),
}


async def asked(url: str, case: Case, *, is_async: bool, streams: bool) -> None:
    make, call, _ = KINDS[case.kind]
    client = make(url, is_async)
    result = call(client, case, streams)
    result = await result if inspect.isawaitable(result) else result
    if streams and hasattr(result, "__aiter__"):
        async for _ in result:
            pass
    elif streams:
        for _ in result:
            pass
    close = getattr(client, "close", None) or getattr(client, "aclose", None)
    closed = close() if close is not None else None
    if inspect.isawaitable(closed):
        await closed


def traced(path: Path, case: Case) -> Iterator[Any]:
    """What the analyzer reads of the case, asked in each of four ways."""
    api = KINDS[case.kind][2]
    with Recording() as recording:
        recording.provider.add_span_processor(SimpleSpanProcessor(TraceFile(path)))
        with api([Reply("Hello.", usage=case.usage, more=case.more)] * 4) as server:
            for is_async in (False, True):
                for streams in (False, True):
                    asyncio.run(asked(server.url, case, is_async=is_async, streams=streams))
        recording.text()  # ends what goes on
    for trace in read([str(path)]).traces:
        for span in trace.spans:
            if span.model_call is not None:
                yield span


@pytest.mark.filterwarnings(  # the oldest `google-genai` cannot be closed
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}, {case.usd}")
def test_a_call_has_the_price_of_how_it_was_served(case: Case, tmp_path: Path) -> None:
    spans = list(traced(tmp_path / "traces.jsonl", case))
    assert len(spans) == 4
    for span in spans:
        call = span.model_call
        assert (call.tokens, call.terms, call.searches) == (case.tokens, case.terms, case.searches)
        assert (call.cache_diagnosis, call.cache_missed) == case.diagnosis
        cost = cost_of([call], [span.start_ns])
        assert (cost.usd, cost.estimates) == (Decimal(case.usd), case.estimates)
