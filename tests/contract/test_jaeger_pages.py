"""Jaeger's page draws the path that the analyzer works out of spans that the plugin writes."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace

import causepath
from causepath.export import otlp_json
from tests.support.jaeger_pages import MS, PAGES, both_paths, exported, spans_of
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording
from tests.support.script import Failure, InOrder, Reply, ToolUse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

import anthropic

TURNS = 12


def looks(*names: str, turn: int = 1) -> Reply:
    """The reply of a model that asks for tools."""
    return Reply([ToolUse(name, {}, id=f"toolu_{turn}{name}") for name in names])


DONE = Reply("Done.")


def loop(client: anthropic.Anthropic, tools: Mapping[str, Callable[[], str]]) -> str:
    """Let a model call tools until it answers; what fails is told, and what nobody has is done."""
    messages: list[Any] = [{"role": "user", "content": "Who?"}]
    while True:
        reply = client.messages.create(model="m", max_tokens=9, messages=messages)
        calls = [block for block in reply.content if block.type == "tool_use"]
        if not calls:
            return "done"
        results: list[dict[str, Any]] = []
        for call in calls:
            result = {"type": "tool_result", "tool_use_id": call.id, "content": "no"}
            with suppress(LookupError):
                result["content"] = tools.get(call.name, str)()
            results.append(result)
        messages += [
            {"role": "assistant", "content": reply.content},
            {"role": "user", "content": results},
        ]


@causepath.tool
def look() -> str:
    return "a page"


@causepath.tool
def fails() -> str:
    raise LookupError("no page")


def one_run(client: anthropic.Anthropic) -> None:
    with causepath.agent("a"):
        loop(client, {"look": look, "fails": fails})


def team(client: anthropic.Anthropic) -> None:
    @causepath.agent("helper")
    def helper() -> str:
        return loop(client, {})

    @causepath.agent("critic")
    def critic() -> str:
        return loop(client, {})

    with causepath.agent("lead"):
        loop(client, {"helper": helper, "critic": critic})


def two_services(client: anthropic.Anthropic) -> None:
    tracer, kind = trace.get_tracer("web"), trace.SpanKind
    with (
        tracer.start_as_current_span("POST /order", kind=kind.SERVER),
        tracer.start_as_current_span("POST", kind=kind.CLIENT),
        tracer.start_as_current_span("POST /ask", kind=kind.SERVER),
    ):
        one_run(client)


def undeclared(client: anthropic.Anthropic) -> None:
    loop(client, {})


RUNS: dict[str, tuple[Callable[[anthropic.Anthropic], None], list[Any]]] = {
    "tools one after the other": (one_run, [looks("look", "fails"), DONE]),
    "a failed tool": (one_run, [looks("fails"), DONE]),
    "a recovered retry": (
        one_run,
        [Failure(529, retry_after_seconds=0.01), looks("look"), DONE],
    ),
    "many turns": (one_run, [*(looks("look", turn=n) for n in range(1, TURNS)), DONE]),
    "agents that are tools": (team, [looks("helper", "critic"), DONE, DONE, DONE]),
    "two services": (two_services, [looks("look"), DONE]),
    "a tool that nobody measures": (undeclared, [looks("unseen"), DONE]),
}


def written(run: str) -> list[dict[str, Any]]:
    """The spans of a run, with every moment a millisecond after the one before: what follows what
    is that of the run, and how long something took is no chance."""
    act, answers = RUNS[run]
    with (
        Recording() as recording,
        MessagesApi(InOrder(answers)) as api,
        anthropic.Anthropic(base_url=api.url, api_key="test", max_retries=1) as client,
    ):
        act(client)
        recording.text()
        spans = spans_of(otlp_json.line(recording.spans()))
    times = {int(span[end]) for span in spans for end in ("startTimeUnixNano", "endTimeUnixNano")}
    place = {ns: 10**18 + number * MS for number, ns in enumerate(sorted(times))}
    for span in spans:
        for end in ("startTimeUnixNano", "endTimeUnixNano"):
            span[end] = str(place[int(span[end])])
        span.pop("events", None)
    return spans


@pytest.mark.parametrize("run", RUNS)
def test_the_page_has_our_path_of_live_spans_and_of_their_copies(run: str, tmp_path: Path) -> None:
    source = tmp_path / "run.json"
    spans = written(run)
    source.write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}))
    for what in ("--no-copy", "--copy"):
        marked = exported(source, what)
        for page in PAGES:
            theirs, ours = both_paths(marked, page)
            assert theirs == ours, (what, page)
            assert sum(ours.values()) > 0
