"""Where another instrumentation writes roots, one run is in several traces: its links join them."""

from __future__ import annotations

import json
import subprocess
import sysconfig
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import anthropic
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

import causepath
from causepath.export.trace_file import TraceFile
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording
from tests.support.script import InOrder, Reply, ToolUse, Usage

CAUSEPATH = Path(sysconfig.get_path("scripts")) / "causepath"

CHAT = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "m",
}


def search(q: str) -> str:
    return f"found {q}"


TOOLS = {"search": search}


def converse(client: Any, tracer: Any) -> None:
    messages: list[Any] = [{"role": "user", "content": "?"}]
    while True:
        with tracer.start_as_current_span("anthropic.chat", attributes=CHAT):
            reply = client.messages.create(model="m", max_tokens=9, messages=messages)
        calls = [block for block in reply.content if block.type == "tool_use"]
        if not calls:
            return
        results = [
            {"type": "tool_result", "tool_use_id": c.id, "content": TOOLS[c.name](**c.input)}
            for c in calls
        ]
        messages += [
            {"role": "assistant", "content": reply.content},
            {"role": "user", "content": results},
        ]


@pytest.mark.parametrize("declared", [False, True])
def test_a_run_in_several_traces_is_one(declared: bool, tmp_path: Path) -> None:
    traces = tmp_path / "traces.jsonl"
    asks = [Reply([ToolUse("search", {"q": f"{n}"})], usage=Usage(3, 2)) for n in range(2)]
    with (
        MessagesApi(InOrder([*asks, Reply("Done.", usage=Usage(3, 2))])) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        recording.provider.add_span_processor(SimpleSpanProcessor(TraceFile(traces)))
        tracer = recording.provider.get_tracer("opentelemetry.instrumentation.anthropic")
        with causepath.agent("agent") if declared else nullcontext():
            converse(client, tracer)
    command = [CAUSEPATH, "doctor", traces, "--json"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    told = json.loads(output)
    counts = {one["name"]: one["count"] for one in told["checks"]}
    assert (told["traces"], counts["runs_torn"]) == (1, 0)
    assert counts["runs_joined"] == (0 if declared else 1)
