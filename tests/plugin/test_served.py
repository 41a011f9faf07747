"""How a reply was served, from what an API may say of it: whole, odd, in pieces, or nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from causepath.providers import anthropic, google_genai, openai
from causepath.providers.messages import ModelReply, Usage

MESSAGE = {"type": "message", "id": "msg_1", "model": "m", "content": []}
RESPONSE = {"object": "response", "id": "resp_1", "model": "m", "status": "completed"}
CHAT = {"object": "chat.completion", "id": "c", "model": "m", "choices": []}
GEMINI = {"candidates": [{"content": {"parts": []}}]}
SEARCH = "gen_ai.usage.web_search_requests"
TIER = "gen_ai.response.service_tier"


def searched(action: str | None, status: str = "completed") -> dict[str, Any]:
    return {"type": "web_search_call", "status": status, "action": {"type": action}}


@pytest.mark.parametrize(
    ("provider", "body", "facts"),
    [
        (anthropic, MESSAGE, {}),
        (anthropic, {**MESSAGE, "usage": None, "diagnostics": None}, {}),
        (
            anthropic,
            {**MESSAGE, "usage": {"service_tier": 3, "speed": "", "inference_geo": []}},
            {},
        ),
        (anthropic, {**MESSAGE, "usage": {"cache_creation": [1], "server_tool_use": "x"}}, {}),
        (
            anthropic,
            {**MESSAGE, "usage": {"server_tool_use": {"web_search_requests": 0}}},
            {},
        ),
        (anthropic, {**MESSAGE, "diagnostics": {"cache_miss_reason": None}}, {}),  # pending
        (
            anthropic,
            {**MESSAGE, "diagnostics": {"cache_miss_reason": {"type": "unavailable"}}},
            {"causepath.cache.diagnosis": "unavailable"},
        ),
        (openai, RESPONSE, {}),
        (openai, {**RESPONSE, "service_tier": "auto", "prompt_cache_diagnostics": "?"}, {}),
        (
            openai,
            {**RESPONSE, "prompt_cache_diagnostics": {"type": "cache_hit"}},
            {"causepath.cache.diagnosis": "cache_hit"},
        ),
        (
            openai,
            {
                **RESPONSE,
                "output": [
                    searched("search"),
                    searched(None),
                    searched("open_page"),
                    searched("search", "failed"),
                    "?",
                ],
            },
            {SEARCH: 2},
        ),
        (  # which is what is billed
            openai,
            {
                **RESPONSE,
                "tool_usage": {"web_search": {"num_requests": 1}},
                "output": [searched(None)] * 3,
            },
            {SEARCH: 1},
        ),
        (openai, {**CHAT, "service_tier": "scale"}, {"openai.response.service_tier": "scale"}),
        (google_genai, GEMINI, {}),
        (
            google_genai,
            {**GEMINI, "usageMetadata": {"serviceTier": "priority"}},
            {TIER: "priority"},
        ),
        (google_genai, {**GEMINI, "usageMetadata": {"serviceTier": "unspecified"}}, {}),
        (
            google_genai,
            {**GEMINI, "usageMetadata": {"trafficType": "TRAFFIC_TYPE_UNSPECIFIED"}},
            {},
        ),
        (
            google_genai,
            {**GEMINI, "usageMetadata": {"trafficType": "ON_DEMAND"}},
            {TIER: "standard"},
        ),
        (
            google_genai,
            {**GEMINI, "usageMetadata": {"trafficType": "PROVISIONED_THROUGHPUT"}},
            {TIER: "provisioned_throughput"},
        ),
        (
            google_genai,
            {"candidates": [{"groundingMetadata": {"webSearchQueries": ["a", "b"]}}]},
            {SEARCH: 2},
        ),
    ],
)
def test_a_whole_reply(provider: Any, body: dict[str, Any], facts: dict[str, Any]) -> None:
    reply = provider.read_document(json.dumps(body).encode())
    assert reply.facts == facts


def streamed(*events: dict[str, Any]) -> ModelReply:
    reply = ModelReply()
    for event in events:
        reply = anthropic.read_event(reply, anthropic.read_data(json.dumps(event).encode()))
    return reply


@pytest.mark.parametrize(
    ("first", "last", "usage"),
    [
        ({"input_tokens": 9}, {"output_tokens": 5}, Usage(9, 5)),
        # The results of a search are input, too, which the first event does not know of.
        ({"input_tokens": 9}, {"input_tokens": 900, "output_tokens": 5}, Usage(900, 5)),
        (
            {"input_tokens": 9, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 10},
            {"input_tokens": 9, "output_tokens": 5},
            Usage(119, 5, 100, 10),
        ),
        (
            {"input_tokens": 9, "cache_read_input_tokens": 100},
            {"input_tokens": 20, "cache_read_input_tokens": 300, "output_tokens": 5},
            Usage(320, 5, 300),
        ),
        # Other servers of the same API count it as nothing at the end.
        ({"input_tokens": 9}, {"input_tokens": 0, "output_tokens": 5}, Usage(9, 5)),
        ({}, {"output_tokens": 5}, Usage(None, 5)),
    ],
)
def test_input_grows_while_a_reply_is_streamed(
    first: dict[str, int], last: dict[str, int], usage: Usage
) -> None:
    reply = streamed(
        {"type": "message_start", "message": {"id": "i", "model": "m", "usage": first}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": last},
    )
    assert reply.usage == usage


def test_facts_of_a_stream_are_put_together() -> None:
    reply = streamed(
        {
            "type": "message_start",
            "message": {"id": "i", "model": "m", "usage": {"service_tier": "priority"}},
        },
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 5, "server_tool_use": {"web_search_requests": 2}},
        },
    )
    assert reply.facts == {
        "anthropic.response.service_tier": "priority",
        "anthropic.usage.server_tool_use.web_search_requests": 2,
    }
