"""What the plugin records of several runs is enough for CP104, and for CP201 over runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

import causepath
from causepath.config import CAPTURE_MESSAGE_CONTENT
from causepath.export.trace_file import TraceFile
from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.opportunities import candidates
from causepath_analyzer.analyses.findings.rules import chosen
from causepath_analyzer.analyses.proof.independence import elsewhere
from causepath_analyzer.read import read
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording
from tests.support.script import Reply, Request, ToolUse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RUNS = 10
RULES_OF_TAX = "The tax on books is seven percent in this country, and has been since last year."


def get_rules() -> str:
    return RULES_OF_TAX


def script(request: Request) -> Reply:
    if len(request.messages) == 1:
        return Reply([ToolUse("get_rules", {})])
    return Reply("It is seven percent.")


def ask(client: anthropic.Anthropic, question: str, found: Callable[[], str]) -> None:
    messages: list[Any] = [{"role": "user", "content": question}]
    tools: Any = [{"name": "get_rules", "input_schema": {"type": "object", "properties": {}}}]
    for _ in range(2):
        reply = client.messages.create(
            model="claude-opus-4-8", max_tokens=64, messages=messages, tools=tools
        )
        messages.append({"role": "assistant", "content": reply.content})
        results: list[Any] = [
            {"type": "tool_result", "tool_use_id": block.id, "content": found()}
            for block in reply.content
            if block.type == "tool_use"
        ]
        messages.append({"role": "user", "content": results})


@pytest.mark.parametrize("content", ["true", "false"])
@pytest.mark.parametrize(
    ("question", "over_runs"),
    [("What is the tax on book {}?", 1), ("What is the tax on books?", 0)],
    ids=["another question each", "the same question"],
)
def test_runs_that_call_the_same(
    question: str, over_runs: int, content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CAPTURE_MESSAGE_CONTENT, content)
    traces = tmp_path / "traces.jsonl"
    measured = causepath.tool(get_rules)
    with (
        MessagesApi(script) as api,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
        Recording() as recording,
    ):
        recording.provider.add_span_processor(SimpleSpanProcessor(TraceFile(traces)))
        for at in range(RUNS):
            with causepath.agent("taxes"):
                ask(client, question.format(at), measured)
    found = read([str(traces)]).traces
    assert len(found) == RUNS
    told = candidates(Facts(found[-1], elsewhere(found)), chosen(["CP104", "CP201"]))
    assert told.faults == ()
    assert [len(told.by_code[code]) for code in ("CP104", "CP201")] == [1, over_runs]
