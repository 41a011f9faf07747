"""What the plugin records of streams and connections is enough for CP403 and CP603."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

import causepath
from causepath.export.trace_file import TraceFile
from causepath.replies.stream_pace import Pacing
from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.opportunities import candidates
from causepath_analyzer.analyses.findings.rules import chosen
from causepath_analyzer.model import ModelCall, Transport
from causepath_analyzer.read import read
from causepath_analyzer.read.meaning import normalise
from tests.support.drawn import MS
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording
from tests.support.script import Reply

if TYPE_CHECKING:
    from pathlib import Path


def said(pacing: Pacing) -> ModelCall:
    """What the analyzer reads of a stream that began at 1 s."""
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        **pacing.attributes(1000 * MS),
    }
    meaning = normalise.meaning(
        "chat m", "client", 0, False, attributes, normalise.resource({}), "causepath"
    )
    assert meaning.model_call is not None
    return meaning.model_call


def test_the_pace_of_a_stream_is_read_as_it_was_written() -> None:
    pacing = Pacing()
    for waited_since_ms, came_ms in ((1000, 1400), (1410, 1450), (1450, 3450), (3500, 3540)):
        pacing.note(waited_since_ms * MS)
        pacing.note(came_ms * MS)
    call = said(pacing)
    assert call.transport == Transport(events=4, first_event_ns=400 * MS, longest_gap_ns=2000 * MS)
    assert (call.ttft_ns, call.generated_ns) == (400 * MS, 2480 * MS)  # 60 ms were the reader's


@pytest.mark.parametrize("clients", [1, 3])
def test_calls_that_open_a_connection_each(clients: int, tmp_path: Path) -> None:
    traces = tmp_path / "traces.jsonl"
    with MessagesApi(lambda _: Reply("Yes.")) as api, Recording() as recording:
        recording.provider.add_span_processor(SimpleSpanProcessor(TraceFile(traces)))
        some = [anthropic.Anthropic(base_url=api.url, api_key="test") for _ in range(clients)]
        with causepath.agent("asking"):
            for turn in range(3):
                some[turn % clients].messages.create(
                    model="claude-opus-4-8",
                    max_tokens=64,
                    messages=[{"role": "user", "content": f"Question {turn}?"}],
                )
        for client in some:
            client.close()
    (trace,) = read([str(traces)]).traces
    found = candidates(Facts(trace), chosen(["CP603"]))  # however little time they took here
    assert found.faults == ()
    told = [span.attributes or {} for span in recording.finished()]
    opened = [one["causepath.connection.new"] for one in told if "causepath.connection.new" in one]
    assert len(found.by_code["CP603"]) == opened.count(True) - 1
    assert clients == 1 or opened == [True] * 3
