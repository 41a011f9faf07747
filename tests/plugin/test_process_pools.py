"""Tools in a process pool: one span for each call, whose window is all that this process knows."""

from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from causepath.file import TraceFile
from tests.plugin.test_tools import BOTH, DONE, TWO_TOOLS, converse, result
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording
from tests.support.script import InOrder

if TYPE_CHECKING:
    from pathlib import Path


def search(q: str) -> str:
    return f"found {q}"


def save(text: str) -> str:
    return f"saved {text}"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_call_in_another_process_is_one_inferred_span(method: Any, tmp_path: Path) -> None:
    table = {"search": search, "save": save}
    traces = tmp_path / "traces.jsonl"
    context: Any = multiprocessing.get_context(method)

    def carry_out(calls: Any) -> list[Any]:
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            futures = [pool.submit(table[call.name], **call.input) for call in calls]
            found = zip(calls, futures, strict=True)
            return [result(call.id, future.result(timeout=60)) for call, future in found]

    with (
        MessagesApi(InOrder([TWO_TOOLS, DONE])) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        recording.provider.add_span_processor(SimpleSpanProcessor(TraceFile(traces)))
        converse(client, carry_out)
        text = recording.text()
    told = sorted(text.splitlines())
    expected = BOTH.replace("  tool id", "  tool inferred id")
    assert told == sorted(expected.splitlines())
    written = [
        span["name"]
        for line in traces.read_text().splitlines()
        for batch in json.loads(line)["resourceSpans"]
        for scope in batch["scopeSpans"]
        for span in scope["spans"]
    ]
    assert sum(name.startswith("execute_tool") for name in written) == 2
