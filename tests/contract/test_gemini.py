"""A small agent on Google's SDK, whose functions the SDK calls or the agent itself, as the analyzer
reads it: runs, calls, tools, tokens, cost, and what is wrong with it."""

from __future__ import annotations

import json
import subprocess
import sysconfig
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from google import genai
from google.genai import types
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from causepath.export.trace_file import TraceFile
from tests.support.google_api import GoogleApi
from tests.support.recording import Recording
from tests.support.script import Latency, Reply, ToolUse, Usage
from tests.support.traced_programs import spans_in

if TYPE_CHECKING:
    from collections.abc import Callable

CAUSEPATH = Path(sysconfig.get_path("scripts")) / "causepath"

MODEL = "gemini-2.5-flash"
ANSWERS = [
    Reply(
        [ToolUse("get_weather", {"city": "Lisbon"}), ToolUse("list_trains", {"leaving": "Porto"})],
        usage=Usage(1_000, 60, thinking_tokens=40),
        latency=Latency(before_headers=0.02),
    ),
    Reply(
        "Take the train, it is sunny.",
        usage=Usage(200, 20, cache_read_input_tokens=1_000, tool_use_input_tokens=50),
        latency=Latency(before_headers=0.02),
    ),
]


def get_weather(city: str) -> str:
    """Tell the weather.

    Args:
        city: where
    """
    time.sleep(0.15)
    return f"It is sunny in {city} all day long."


def list_trains(leaving: str) -> str:
    """List the trains.

    Args:
        leaving: where from
    """
    time.sleep(0.1)
    return f"From {leaving}: 9:05, 11:35 and 17:20."


for one in (get_weather, list_trains):  # as older releases read no annotation that is a text
    one.__annotations__ = dict.fromkeys(one.__annotations__, str)


def called_by_the_sdk(client: Any) -> None:
    config = types.GenerateContentConfig(tools=[get_weather, list_trains])
    client.models.generate_content(model=MODEL, contents="How shall I travel?", config=config)


def called_in_a_chat(client: Any) -> None:
    config = types.GenerateContentConfig(tools=[get_weather, list_trains])
    chat = client.chats.create(model=MODEL, config=config)
    for _ in chat.send_message_stream("How shall I travel?"):
        pass


def called_by_the_agent(client: Any) -> None:
    tools = {"get_weather": get_weather, "list_trains": list_trains}
    declared = [types.FunctionDeclaration(name=name) for name in tools]
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=declared)])
    contents = [types.Content(role="user", parts=[types.Part(text="How shall I travel?")])]
    while True:
        reply = client.models.generate_content(model=MODEL, contents=contents, config=config)
        if not reply.function_calls:
            return
        contents.append(reply.candidates[0].content)
        results = []
        for call in reply.function_calls:
            response = {"result": tools[call.name](**call.args)}
            results.append(types.Part.from_function_response(name=call.name, response=response))
        contents.append(types.Content(role="user", parts=results))


@pytest.mark.parametrize(
    "agent",
    [called_by_the_sdk, called_in_a_chat, called_by_the_agent],
    ids=lambda one: one.__name__,
)
def test_the_analyzer_reads_an_agent_on_gemini(
    agent: Callable[[Any], None], tmp_path: Path
) -> None:
    path = tmp_path / "traces.jsonl"
    with Recording() as recording:
        recording.provider.add_span_processor(SimpleSpanProcessor(TraceFile(path)))
        with GoogleApi(ANSWERS) as api:
            options = types.HttpOptions(base_url=api.url)
            agent(genai.Client(api_key="test", http_options=options))
        recording.text()  # ends what goes on
    command = [CAUSEPATH, "report", path, "--json"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (trace,) = json.loads(output)["traces"]
    assert trace["status"] == "ok"
    assert trace["calls"] == {"llm": 2, "tool": 2}
    assert trace["turns"] == 2
    # The results of the API's own tools are input, what it thinks is output.
    assert trace["tokens"] == {
        "input": 1_000 + 1_250,
        "output": 60 + 20,
        "cache_read": 1_000,
        "cache_write": 0,
        "cache_write_1h": 0,
        "reasoning": 40,
    }
    # $0.30 and $2.50 a million tokens, $0.03 for those that were cached.
    fresh, cached, said = Decimal("0.30"), Decimal("0.03"), Decimal("2.50")
    assert Decimal(trace["cost_usd"]) == (1_250 * fresh + 1_000 * cached + 80 * said) / 1_000_000
    found = {finding["code"]: finding for finding in trace["findings"]}
    assert found["CP101"]["evidence"] == "proved", found["CP101"]["why"]
    # At least the shorter one; what the machine did between the two is on top, on a busy one.
    durations_ns = tool_durations_ns(path)
    assert min(durations_ns) * 0.95 <= found["CP101"]["saving_ns"] < trace["wall_ns"]


def tool_durations_ns(path: Path) -> list[int]:
    """How long each tool took, by its span in the trace file."""
    return [
        int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"])
        for span in spans_in(path)
        if span["name"].startswith("execute_tool ")
    ]
