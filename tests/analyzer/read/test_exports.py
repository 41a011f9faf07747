"""What trace stores export of one run: recordings of tests/support/record_exports.py."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from causepath_analyzer.analyses.run import explained
from causepath_analyzer.model import Tokens
from causepath_analyzer.read import read
from causepath_analyzer.read.formats import replies

RECORDED = Path(__file__).parents[1] / "recorded" / "exports"
FIRST = Tokens(input=340, output=30, cache_write=300, cache_write_1h=100)
SECOND = Tokens(input=360, output=20, cache_read=300)
THIRD = Tokens(input=390, output=10, cache_read=300)
FIRST_OF_PHOENIX = Tokens(input=340, output=30, cache_write=300)


@pytest.mark.parametrize(
    ("name", "called", "tokens", "timed", "session"),
    [
        # MLflow does not see what a stream says, and not the helper's stream at all.
        ("mlflow-2.json", "mlflow", [FIRST, None], 0, None),
        ("mlflow-3.json", "mlflow", [FIRST, None], 0, "a conversation"),
        ("langsmith.json", "langsmith", [FIRST, SECOND, THIRD], 2, "a conversation"),
        ("phoenix.json", "phoenix", [FIRST_OF_PHOENIX, SECOND, THIRD], 0, "a conversation"),
        (
            "phoenix-dataframe.json",
            "phoenix",
            [FIRST_OF_PHOENIX, SECOND, THIRD],
            0,
            "a conversation",
        ),
    ],
)
def test_exports_of_trace_stores(
    name: str, called: str, tokens: list[Tokens | None], timed: int, session: str | None
) -> None:
    reading = read([str(RECORDED / name)])
    (trace,) = reading.traces
    (entry,) = reading.inputs
    assert (entry.format, entry.skipped, trace.health.notes) == (called, (), ())
    calls = [span.model_call for span in trace.spans if span.model_call is not None]
    assert [call.tokens for call in calls] == tokens
    assert {call.model for call in calls} == {"claude-opus-4-5"}
    assert calls[0].issued == ("toolu_01",)
    assert calls[0].finish_reasons == ("tool_call",)
    assert sum(call.ttft_ns is not None for call in calls) == timed
    (tool,) = [span.tool_call for span in trace.spans if span.tool_call is not None]
    assert tool.name == "search"
    assert trace.spans[0].session == session
    run = explained(trace)
    assert (run.usage.calls.llm, run.usage.calls.tool) == (len(tokens), 1)


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("go-stdouttrace.jsonl", "go-sdk"),
        ("go-stdouttrace.txt", "go-sdk"),
        ("javascript-console-1.txt", "javascript-sdk"),
        ("javascript-console-2.txt", "javascript-sdk"),
        ("javascript-strings-1.txt", "javascript-sdk"),
        ("javascript-strings-2.txt", "javascript-sdk"),
        ("mastra.jsonl", "mastra"),
    ],
)
def test_recordings_of_consoles(name: str, called: str) -> None:
    """What tests/support/record_consoles.py has recorded."""
    reading = read([str(RECORDED / name)])
    (trace,) = reading.traces
    (entry,) = reading.inputs
    assert (entry.format, entry.skipped, trace.health.notes) == (called, (), ())
    assert trace.health.duplicates == 0
    calls = [span for span in trace.spans if span.category == "llm"]
    assert [(c.model_call and (c.model_call.model, c.model_call.tokens)) for c in calls] == [
        ("gpt-4o", Tokens(input=700, output=20)),
        ("gpt-4o", Tokens(input=800, output=30)),
    ]
    assert all(20 <= call.duration_ns / 1e6 < 1000 for call in calls)
    (tool,) = [span for span in trace.spans if span.category == "tool"]
    assert (tool.tool_call and tool.tool_call.name, tool.error is not None) == ("weather", True)
    assert len([span for span in trace.spans if not span.parent_id]) == 1
    assert "a conversation" in {span.session for span in trace.spans}


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (
            {
                "id": "chatcmpl-1",
                "model": "gpt-5",
                "choices": [
                    {
                        "finish_reason": "tool_calls",
                        "message": {"tool_calls": [{"id": "call_1", "type": "function"}]},
                    }
                ],
                "usage": {
                    "prompt_tokens": 100,
                    "completion_tokens": 20,
                    "total_tokens": 120,
                    "prompt_tokens_details": {"cached_tokens": 60},
                    "completion_tokens_details": {"reasoning_tokens": 5},
                },
            },
            {
                "gen_ai.response.id": "chatcmpl-1",
                "gen_ai.response.model": "gpt-5",
                "gen_ai.response.finish_reasons": "tool_calls",
                "gen_ai.completion.0.tool_calls.0.id": "call_1",
                "gen_ai.usage.input_tokens": 100,
                "gen_ai.usage.output_tokens": 20,
                "gen_ai.usage.total_tokens": 120,
                "gen_ai.usage.cache_read.input_tokens": 60,
                "gen_ai.usage.reasoning.output_tokens": 5,
            },
        ),
        (
            {
                "usage": {
                    "input_tokens": 100,
                    "output_tokens": 20,
                    "input_tokens_details": {"cached_tokens": 60},
                }
            },
            {
                "gen_ai.usage.input_tokens": 100,
                "gen_ai.usage.output_tokens": 20,
                "gen_ai.usage.cache_read.input_tokens": 60,
            },
        ),
        (
            {"usage": {"input_tokens": "many"}, "stop_reason": "end_turn"},
            {"gen_ai.response.finish_reasons": "end_turn"},
        ),
        ({"usage": 7, "content": "text"}, {}),
        ({"choices": []}, {}),
        ({"choices": 3}, {}),
        ([], {}),
        ("text", {}),
    ],
)
def test_replies(reply: Any, expected: dict[str, object]) -> None:
    assert replies.answered(msgspec.Raw(msgspec.json.encode(reply))) == expected
