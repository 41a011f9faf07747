"""What the plugin records of an agent, with and without what is said, is enough for findings."""

from __future__ import annotations

from decimal import Decimal
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
from causepath_analyzer.read import read
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording
from tests.support.script import Reply, Request, ToolUse, Usage

if TYPE_CHECKING:
    from pathlib import Path

PAGE = "The tax on books is seven percent in this country, and has been since last year."


def search_docs(query: str) -> str:
    return PAGE


def write_note(text: str) -> str:
    return "The note was written down."


TOOLS = {"search_docs": search_docs, "write_note": write_note}


def agent(
    client: anthropic.Anthropic, calls: list[ToolUse], system: list[str], usage: list[Usage]
) -> None:
    """A hand-written loop, whose model asks for one call after the other."""
    messages: list[Any] = [{"role": "user", "content": "What is the tax on books?"}]
    for turn in range(len(calls) + 1):
        reply = client.messages.create(
            model="claude-opus-4-8",
            max_tokens=64,
            system=system[turn % len(system)],
            tools=[
                {"name": name, "input_schema": {"type": "object", "properties": {}}}
                for name in TOOLS
            ],
            messages=messages,
        )
        messages.append({"role": "assistant", "content": reply.content})
        asked = [block for block in reply.content if block.type == "tool_use"]
        if not asked:
            break
        results = [
            {
                "type": "tool_result",
                "tool_use_id": block.id,
                "content": TOOLS[block.name](**block.input),
            }
            for block in asked
        ]
        messages.append({"role": "user", "content": results})


BOOKS = ToolUse("search_docs", {"query": "tax on books"})
TEA = ToolUse("search_docs", {"query": "tax on tea"})
NOTE = ToolUse("write_note", {"text": "seven percent"})
SMALL = Usage(100, 20)


@pytest.mark.parametrize("content", ["true", "false"])
@pytest.mark.parametrize(
    ("calls", "system", "usage", "expected"),
    [
        pytest.param([BOOKS, BOOKS], ["Be brief."], [SMALL] * 3, ["CP201"], id="a call again"),
        pytest.param([BOOKS, TEA], ["Be brief."], [SMALL] * 3, [], id="another call"),
        pytest.param([BOOKS, NOTE, BOOKS], ["Be brief."], [SMALL] * 4, [], id="a write between"),
        pytest.param(
            [BOOKS, TEA],
            ["Be brief."],
            [Usage(10_000, 20), Usage(11_000, 20), Usage(12_000, 20)],
            ["CP203"],
            id="a prompt that is not cached",
        ),
        pytest.param(
            [BOOKS, TEA],
            ["Be brief."],
            [
                Usage(0, 20, 0, 10_000),
                Usage(0, 20, 10_000, 1_000),
                Usage(0, 20, 11_000, 1_000),
            ],
            [],
            id="a prompt that is cached",
        ),
        pytest.param(
            [BOOKS, TEA],
            ["It is ten o'clock.", "It is one past ten.", "It is two past ten."],
            [Usage(0, 20, 0, 10_000), Usage(0, 20, 0, 11_000), Usage(0, 20, 0, 12_000)],
            ["CP202"],
            id="a system prompt that tells the time",
        ),
    ],
)
def test_findings(
    calls: list[ToolUse],
    system: list[str],
    usage: list[Usage],
    expected: list[str],
    content: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(CAPTURE_MESSAGE_CONTENT, content)
    traces = tmp_path / "traces.jsonl"

    def script(request: Request) -> Reply:
        turn = sum(message["role"] == "assistant" for message in request.messages)
        said: Any = [calls[turn]] if turn < len(calls) else "Seven percent."
        return Reply(said, usage=usage[turn])

    with (
        MessagesApi(script) as api,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
        Recording() as recording,
    ):
        recording.provider.add_span_processor(SimpleSpanProcessor(TraceFile(traces)))
        with causepath.agent("books"):
            agent(client, calls, system, usage)
    (trace,) = read([str(traces)]).traces
    found = candidates(Facts(trace), chosen(["CP2"]))  # however little time they took here
    assert found.faults == ()
    assert [code for code, some in found.by_code.items() if some] == expected
    for code, some in found.by_code.items():
        for one in some:
            if code == "CP201":
                assert one.change is not None
            else:
                assert one.evidence == "proved"
                assert (one.saving.usd or Decimal(0)) > 0
    assert (PAGE in traces.read_text()) is (content == "true")


@pytest.mark.parametrize("content", ["true", "false"])
def test_what_is_sent_again_and_never_used(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that nine later calls carry, a long declaration that no reply asks for, and one that
    is deferred and so not sent."""
    monkeypatch.setenv(CAPTURE_MESSAGE_CONTENT, content)
    traces = tmp_path / "traces.jsonl"
    page = f"{PAGE} " * 500

    def script(request: Request) -> Reply:
        turn = sum(message["role"] == "assistant" for message in request.messages)
        said: Any = [ToolUse("fetch", {"query": f"page {turn}"})] if turn < 10 else "Seven."
        return Reply(said, usage=Usage(1_000 + 10_000 * (turn > 0) + 100 * turn, 20))

    def declared(name: str, size: int, **more: bool) -> Any:
        return {"name": name, "description": "d" * size, "input_schema": {"type": "object"}, **more}

    tools = [declared("fetch", 100), declared("mail", 4_000)]
    tools.append(declared("rare", 4_000, defer_loading=True))
    messages: list[Any] = [{"role": "user", "content": "What is the tax on books?"}]
    with (
        MessagesApi(script) as api,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
        Recording() as recording,
    ):
        recording.provider.add_span_processor(SimpleSpanProcessor(TraceFile(traces)))
        with causepath.agent("books"):
            while True:
                reply = client.messages.create(
                    model="claude-opus-4-8", max_tokens=64, tools=tools, messages=messages
                )
                messages.append({"role": "assistant", "content": reply.content})
                asked = [block for block in reply.content if block.type == "tool_use"]
                if not asked:
                    break
                told = page if len(messages) == 2 else "Nothing more."
                messages.append(
                    {
                        "role": "user",
                        "content": [
                            {"type": "tool_result", "tool_use_id": one.id, "content": told}
                            for one in asked
                        ],
                    }
                )
    (trace,) = read([str(traces)]).traces
    found = candidates(Facts(trace), chosen(["CP3"])).by_code
    assert [code for code, some in found.items() if some] == ["CP302", "CP303", "CP304"]
    (carried,) = found["CP302"]
    assert carried.evidence == "proved"
    assert carried.title == "cut the result of fetch (carried 9 times)"
    (unused,) = found["CP303"]
    assert unused.title == "declare 1 tool less, of 2"
    assert " declared mail, and none asked for it." in unused.why
    assert (unused.saving.usd or 0) > 0
