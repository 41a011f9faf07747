"""A loop of model calls: what the plugin tells with content off shows that they need each other, or
that nothing speaks for it.
"""

from __future__ import annotations

import json
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

import causepath
from causepath.export.trace_file import TraceFile
from causepath_analyzer.analyses.run import explained
from causepath_analyzer.read import read
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording
from tests.support.script import Latency, Reply, Request

CAUSEPATH = Path(sysconfig.get_path("scripts")) / "causepath"

ITEMS = ("Lisbon", "Porto", "Faro", "Braga")


def answer(request: Request) -> Reply:
    """Another sentence for each request, long enough to be known again."""
    said = request.messages[-1]["content"]
    if "the list" in said:
        told = f"- {len(said)} loaves of bread\n- cheese and ham\n- fruit\n- no milk at all"
        return Reply(told, latency=Latency(before_headers=0.08))
    if "里" in said:
        return Reply(
            f"{len(said)}字的文章已经写好了现在可以看了", latency=Latency(before_headers=0.08)
        )
    told = f"What there is to say of number {len(said)} was said {hash(said) % 1000} times before."
    return Reply(told, latency=Latency(before_headers=0.08))


Ask = Callable[[str], str]


def for_each(ask: Ask, conclude: Ask) -> None:
    for item in ITEMS:
        ask(f"Describe {item} in a sentence.")


def handed_on(ask: Ask, conclude: Ask) -> None:
    draft = "A short text."
    for item in ITEMS:
        draft = ask(f"Add what one should know of {item} to this: {draft}")


def in_short_lines(ask: Ask, conclude: Ask) -> None:
    """None of which could be known again by itself."""
    draft = "- bread"
    for item in ITEMS:
        draft = ask(f"Bring {item} into the list {draft} and keep the rest.")


def in_chinese(ask: Ask, conclude: Ask) -> None:
    """Three bytes a character, and nothing between the words."""
    draft = "一篇短文。"
    for item in ITEMS:
        draft = ask(f"把{item}加到{draft}里")


def summed_up(ask: Ask, conclude: Ask) -> None:
    """The calls of the loop are independent; the last one needs them all."""
    told = [ask(f"Describe {item} in a sentence.") for item in ITEMS]
    conclude("\n".join(["Sum this up.", *(f"- {one}" for one in told)]))


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        pytest.param(for_each, [("CP102", "likely", len(ITEMS))], id="for each item"),
        pytest.param(handed_on, [], id="each is given what the one before answered"),
        pytest.param(in_short_lines, [], id="handed on in short lines"),
        pytest.param(in_chinese, [], id="handed on in Chinese"),
        pytest.param(summed_up, [("CP102", "likely", len(ITEMS))], id="the last needs all others"),
    ],
)
def test_a_loop_of_model_calls(
    agent: Callable[[Ask, Ask], None], expected: list[Any], tmp_path: Path
) -> None:
    traces = tmp_path / "traces.jsonl"
    with (
        MessagesApi(answer) as api,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
        Recording() as recording,
    ):
        recording.provider.add_span_processor(SimpleSpanProcessor(TraceFile(traces)))

        def request(said: str) -> dict[str, Any]:
            return {
                "model": "m",
                "max_tokens": 64,
                "messages": [{"role": "user", "content": said}],
            }

        def ask(said: str) -> str:
            return str(client.messages.create(**request(said)).content[0].text)

        def conclude(said: str) -> str:
            return str(client.messages.create(**request(said)).content[0].text)

        with causepath.agent("loop"):
            agent(ask, conclude)
    report = subprocess.run([CAUSEPATH, traces, "--json"], check=True, capture_output=True)
    (trace,) = json.loads(report.stdout)["traces"]
    found = [(f["code"], f["evidence"], len(f["span_ids"])) for f in trace["findings"]]
    assert found == expected
    assert not any(item in traces.read_text() for item in ITEMS)


WORDS = {"W": "gravely", "N": "with joy"}


def below_each_other(ask: Ask) -> str:
    beaches = ask("Describe the beaches of the south.")
    trains = ask("Which trains run on a Sunday, and where to?")
    return beaches + trains


def by_a_word(ask: Ask) -> str:
    beaches = ask("Describe the beaches of the south.")
    return ask(f"Write a poem on the sea, {WORDS[beaches[0]]}.")


class Notebook:
    """What an agent keeps of an answer."""

    word = "plainly"

    def look(self, ask: Ask) -> None:
        self.word = WORDS[ask("Describe the beaches of the south.")[0]]

    def write(self, ask: Ask) -> str:
        return ask(f"Write a poem on the sea, {self.word}.")


def by_an_object(ask: Ask) -> str:
    notebook = Notebook()
    notebook.look(ask)
    return notebook.write(ask)


def test_calls_below_each_other(tmp_path: Path) -> None:
    traces = tmp_path / "traces.jsonl"
    agents = (below_each_other, by_a_word, by_an_object)
    with (
        MessagesApi(answer) as api,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
        Recording() as recording,
    ):
        recording.provider.add_span_processor(SimpleSpanProcessor(TraceFile(traces)))

        def ask(said: str) -> str:
            messages: Any = [{"role": "user", "content": said}]
            reply: Any = client.messages.create(model="m", max_tokens=64, messages=messages)
            return str(reply.content[0].text)

        for agent in agents:
            with causepath.agent(agent.__name__):
                agent(ask)
    found = {
        trace.spans[trace.main_root].name.split()[-1]: [
            (one.code, one.evidence, len(one.spans)) for one in explained(trace).findings
        ]
        for trace in read([str(traces)]).traces
    }
    assert found == {
        "below_each_other": [("CP102", "likely", 2)],
        "by_a_word": [],
        "by_an_object": [],
    }
