"""What `phoenix.yaml` makes of spans: names that its page has room for, and its columns filled."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.backends.spans import of_service, span
from tests.backends.stack import attributes_of, collector_running, eventually

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.backends

AGENT = {"causepath.category": "agent", "gen_ai.operation.name": "invoke_agent"}
CALL = {"causepath.category": "llm", "gen_ai.operation.name": "chat"}
TOOL = {"causepath.category": "tool", "gen_ai.operation.name": "execute_tool"}
RETRY = {"causepath.category": "retry"}
PDF = {"type": "blob", "modality": "document"}
THOUGHT = {"type": "reasoning", "content": "Hm."}
WORDS = {"type": "text", "content": "A fox."}
USE = {"type": "tool_call", "id": "t", "name": "search", "arguments": {"q": "fox"}}


def asked(*parts: object) -> dict[str, object]:
    return {"gen_ai.input.messages": json.dumps([{"role": "user", "parts": parts}])}


def said(*parts: object) -> dict[str, object]:
    return {"gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": parts}])}


SHOWN = ("openinference.span.kind", "input.value", "output.value")

# A span, and what is shown of it: its name, its kind where Phoenix does not work that out itself,
# question and answer.
SPANS: list[tuple[str, dict[str, Any], tuple[str | None, ...]]] = [
    ("POST /ask", {"causepath.category": "other"}, ("POST /ask", "CHAIN", None, None)),
    ("SELECT", {"causepath.category": "database"}, ("SELECT", "CHAIN", None, None)),
    ("find", {"causepath.category": "retrieval"}, ("find", "RETRIEVER", None, None)),
    ("check", {"causepath.category": "guardrail"}, ("check", "GUARDRAIL", None, None)),
    ("embed", {"causepath.category": "embedding"}, ("embed", "EMBEDDING", None, None)),
    (
        "find",
        {"causepath.category": "retrieval", "openinference.span.kind": "RERANKER"},
        ("find", "RERANKER", None, None),
    ),
    ("chat with us", {}, ("chat with us", None, None, None)),
    ("chat with us", {"causepath.category": "other"}, ("chat with us", "CHAIN", None, None)),
    ("invoke_agent a", AGENT, ("a", None, None, None)),
    (
        "invoke_agent a",
        {**AGENT, **asked(WORDS), **said(THOUGHT, WORDS, USE)},
        ("a", None, "A fox.", "A fox."),
    ),
    ("invoke_agent a", {**AGENT, **asked(PDF), **said(PDF)}, ("a", None, None, None)),
    ("invoke_agent a", {**AGENT, **asked(), **said()}, ("a", None, None, None)),
    (
        "invoke_agent a",
        {**AGENT, "gen_ai.input.messages": "not JSON", "gen_ai.output.messages": "[]"},
        ("a", None, None, None),
    ),
    (
        "invoke_agent a",
        {**AGENT, **asked(WORDS), **said(WORDS), "input.value": "x", "output.value": "y"},
        ("a", None, "x", "y"),
    ),
    ("chat m", {**CALL, "causepath.turn": 12}, ("12 m", None, None, None)),
    ("chat m", {**CALL, **asked(WORDS), **said(USE)}, ("m", None, None, 'search {"q":"fox"}')),
    ("chat m", {**CALL, **said(USE, USE)}, ("m", None, None, 'search {"q":"fox"} ...')),
    ("chat m", {**CALL, **said(THOUGHT, USE)}, ("m", None, None, 'search {"q":"fox"}')),
    ("chat m", {**CALL, **said(THOUGHT)}, ("m", None, None, None)),
    ("execute_tool t", {**TOOL, "causepath.turn": 12}, ("t", None, None, None)),
    (
        "execute_tool t",
        {**TOOL, "causepath.tool.inferred": True, "gen_ai.tool.call.arguments": "{}"},
        ("≤ t", None, "{}", None),
    ),
    ("attempt 1", {**RETRY, "error.type": "429"}, ("attempt 1: 429", "CHAIN", None, None)),
    ("attempt 2", RETRY, ("attempt 2", "CHAIN", None, None)),
    ("backoff", RETRY, ("backoff", "CHAIN", None, None)),
]


def test_names_kinds_questions_and_answers(tmp_path: Path) -> None:
    sent = [span(name, 1, attributes) for name, attributes, _ in SPANS]
    with (
        collector_running(tmp_path / "shows", "jaeger") as phoenix,
        collector_running(
            tmp_path / "sends", "jaeger", "phoenix", PHOENIX_ENDPOINT=phoenix.grpc.split("//")[1]
        ) as collector,
    ):
        collector.send(of_service("s", *sent))
        shown = eventually(phoenix.spans, lambda spans: len(spans) == len(sent))
        kept = eventually(collector.spans, lambda spans: len(spans) == len(sent))
        log = collector.running.log.read_text()
    by_id = {one["spanId"]: (one["name"], attributes_of(one)) for one in shown}
    found = []
    for one in sent:
        name, attributes = by_id[one["spanId"]]
        found.append((name, *(attributes.get(key) for key in SHOWN)))
    assert found == [of for *_, of in SPANS]
    # Elsewhere they are as they came, and what has no answer is nothing to complain about.
    assert sorted(one["name"] for one in kept) == sorted(one["name"] for one in sent)
    assert not any("input.value" in attributes_of(one) for one in kept[:9])
    assert "failed to execute statement" not in log


def test_words_have_a_type(tmp_path: Path) -> None:
    call = span("chat m", 1, {**CALL, **said(WORDS)})
    tool = span("execute_tool t", 1, {**TOOL, "gen_ai.tool.call.arguments": "{}"})
    with (
        collector_running(tmp_path / "shows", "jaeger") as phoenix,
        collector_running(
            tmp_path / "sends", "jaeger", "phoenix", PHOENIX_ENDPOINT=phoenix.grpc.split("//")[1]
        ) as collector,
    ):
        collector.send(of_service("s", call, tool))
        shown = eventually(phoenix.spans, lambda spans: len(spans) == 2)
    types = {
        one["name"]: [attributes_of(one).get(f"{side}.mime_type") for side in ("input", "output")]
        for one in shown
    }
    assert types == {"m": [None, "text/plain"], "t": ["application/json", None]}
