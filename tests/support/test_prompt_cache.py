"""The stand-in of a provider's prompt cache: what it bills, and what it says of a break."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.prompt_cache import PromptCache
from tests.support.script import Reply, Request

LONG = "on board " * 800
"""1,800 tokens."""
MARK = {"cache_control": {"type": "ephemeral"}}


def asked(cache: PromptCache, body: dict[str, Any]) -> Reply:
    request = Request(len(cache.seen), "POST", "/", "", {}, body, 0)
    return cache.answered(request, Reply("Yes."))


def claude(**more: Any) -> dict[str, Any]:
    return {
        "model": "m",
        "tools": [{"name": "get"}, {"name": "put"}],
        "system": [{"type": "text", "text": LONG, **MARK}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": LONG, **MARK}]}],
        **more,
    }


def more_said(*blocks: str) -> list[dict[str, Any]]:
    said = [{"type": "text", "text": text} for text in blocks]
    said[-1] = {**said[-1], **MARK}
    first = {"role": "user", "content": [{"type": "text", "text": LONG}]}
    return [first, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": said}]


@pytest.mark.parametrize(
    ("second", "seconds", "word", "read"),
    [
        ({"messages": more_said("And?")}, 0, None, "all"),
        ({"messages": more_said("And?")}, 299, None, "all"),
        ({"messages": more_said("And?")}, 301, None, "nothing"),
        ({"messages": more_said(*"abcdefghijklmnopqrst")}, 0, None, "the system prompt"),
        ({"model": "n"}, 0, "model_changed", "nothing"),
        ({"speed": "fast"}, 0, "model_changed", "nothing"),
        ({"tools": [{"name": "put"}, {"name": "get"}]}, 0, "tools_changed", "nothing"),
        ({"system": LONG}, 0, None, "all"),  # a mark less, and the same text
        ({"system": LONG, "tools": []}, 0, "tools_changed", "nothing"),
        ({"system": f"{LONG}!"}, 0, "system_changed", "nothing"),
        ({"tool_choice": {"type": "any"}}, 0, "unavailable", "the system prompt"),
        (
            {"messages": [{"role": "user", "content": f"{LONG}!"}]},
            0,
            "messages_changed",
            "the system prompt",
        ),
    ],
)
def test_claude(second: dict[str, Any], seconds: int, word: str | None, read: str) -> None:
    cache = PromptCache()
    first = asked(cache, claude()).usage
    assert (first.cache_read_input_tokens, first.cache_creation_input_tokens) == (0, cache._last[1])
    cache.now += seconds
    if isinstance(second.get("system"), str):
        second = {**second, "system": [{"type": "text", "text": second["system"]}]}
    reply = asked(cache, claude(**second, diagnostics={"previous_message_id": "msg_0000"}))
    reason = reply.more["diagnostics"]["cache_miss_reason"]
    assert (reason and reason["type"], cache.seen[-1].word) == (word, word)
    tokens = reply.usage.cache_read_input_tokens
    parts = {
        "nothing": range(1),
        "the system prompt": range(1_800, 1_900),
        "all": range(3_600, 3_700),
    }
    assert tokens in parts[read]


def test_short_prompts_are_not_cached() -> None:
    cache = PromptCache()
    short = claude(system=[{"type": "text", "text": "x", **MARK}], messages=more_said("?")[2:])
    usages = [asked(cache, short).usage for _ in range(2)]
    assert [(one.cache_read_input_tokens, one.cache_creation_input_tokens) for one in usages] == [
        (0, 0),
        (0, 0),
    ]


def gpt(**more: Any) -> dict[str, Any]:
    given = [{"role": "user", "content": LONG}]
    return {"model": "m", "instructions": LONG, "tools": [{"name": "get"}], "input": given, **more}


@pytest.mark.parametrize(
    ("second", "word"),
    [
        ({"input": [{"role": "user", "content": LONG}, {"role": "user", "content": "?"}]}, None),
        ({"model": "n"}, "model_changed"),
        ({"prompt_cache_key": "k"}, "prompt_cache_key_changed"),
        ({"tools": []}, "tools_changed"),
        ({"text": {"format": {"type": "json_object"}}}, "text_format_changed"),
        ({"reasoning": {"effort": "low"}}, "reasoning_effort_changed"),
        ({"text": {"verbosity": "low"}}, "verbosity_changed"),
        ({"service_tier": "flex"}, "service_tier_changed"),
        ({"instructions": f"{LONG}!"}, "input_changed"),
        ({"input": [{"role": "user", "content": "?"}]}, "input_changed"),
    ],
)
def test_gpt(second: dict[str, Any], word: str | None) -> None:
    cache = PromptCache()
    asked(cache, gpt())
    options = {"comparison_response_id": "resp_0000"}
    reply = asked(cache, gpt(**second, prompt_cache_options=options))
    told = reply.more["prompt_cache_diagnostics"]
    assert told.get("reason") == word
    assert (told["type"] == "cache_hit") is (word is None)
    if word is None:
        assert reply.usage.cache_read_input_tokens in range(3_584, 3_700)


def test_a_reply_that_nobody_knows() -> None:
    cache = PromptCache()
    told = asked(cache, gpt(prompt_cache_options={"comparison_response_id": "other"})).more
    assert told["prompt_cache_diagnostics"] == {"type": "comparison_response_not_found"}
    told = asked(cache, claude(diagnostics={"previous_message_id": "other"})).more
    assert told["diagnostics"]["cache_miss_reason"] == {"type": "previous_message_not_found"}
