"""Agents that live elsewhere than the examples: in a web service, and in a team.

    python -m tests.backends.hosts web http://127.0.0.1:8000

`web` declares its runs inside of its requests, and the second of three fails; `silent` declares
none, so that its requests are its runs; in a `team` the tools of one agent are agents; `frugal` has
budgets of its own, of which two are used up; `thirty` is one run of thirty turns, whose first tool
fails; `front` is the service that an `assistant` answers for, in a process of its own.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import anthropic
from opentelemetry import propagate, trace

import causepath
from tests.backends.host_script import TOOLS, TURNS

if TYPE_CHECKING:
    from collections.abc import Sequence

REQUESTS = 3
REQUEST, ROUTE = "POST /ask", "/ask"


def ask(client: anthropic.Anthropic, question: str, model: str = "claude-opus-5-5") -> None:
    """Have one question answered, as a stream."""
    messages: Any = [{"role": "user", "content": question}]
    with client.messages.stream(model=model, max_tokens=100, messages=messages) as stream:
        stream.until_done()


def requests(client: anthropic.Anthropic, *, declared: bool) -> None:
    """Serve some requests, of which the second fails if its run is declared."""
    tracer = trace.get_tracer("web")
    for number in range(REQUESTS):
        with tracer.start_as_current_span(
            REQUEST, kind=trace.SpanKind.SERVER, attributes={"http.route": ROUTE}
        ):
            run = causepath.agent("assistant") if declared else contextlib.nullcontext()
            with contextlib.suppress(KeyError), run:
                ask(
                    client,
                    "long" if number == 2 else "web",
                    "house-1" if number == 0 else "claude-opus-5-5",
                )
                if declared and number == 1:
                    raise KeyError("no such customer")


def team(client: anthropic.Anthropic) -> None:
    """Let a lead call two helpers, which are agents as well, and then answer."""

    @causepath.agent("find_facts")
    def find_facts() -> str:
        ask(client, "help to find", "claude-haiku-4-5")
        return "found"

    @causepath.agent("check_facts")
    def check_facts() -> str:
        ask(client, "help to check", "claude-haiku-4-5")
        return "checked"

    table = {"find_facts": find_facts, "check_facts": check_facts}
    messages: list[Any] = [{"role": "user", "content": "team"}]
    schemas: Any = [{"name": name, "input_schema": {"type": "object"}} for name in TOOLS]
    with causepath.agent("lead"):
        while True:
            reply = client.messages.create(
                model="claude-opus-5-5", max_tokens=100, messages=messages, tools=schemas
            )
            messages.append({"role": "assistant", "content": reply.content})
            calls = [block for block in reply.content if block.type == "tool_use"]
            if not calls:
                return
            results = [
                {"type": "tool_result", "tool_use_id": call.id, "content": table[call.name]()}
                for call in calls
            ]
            messages.append({"role": "user", "content": results})


def frugal(client: anthropic.Anthropic) -> None:
    """Keep a budget, use up a second one, and be held to a third."""
    logging.getLogger("causepath").setLevel(logging.ERROR)  # it is asked for here
    with causepath.agent("frugal"), causepath.budget(turns=2):
        ask(client, "kept")
    with causepath.agent("frugal"), causepath.budget(tokens=10):
        ask(client, "used up")
    with (
        causepath.agent("frugal"),
        contextlib.suppress(causepath.BudgetExceeded),
        causepath.budget(turns=1, on_exceeded="abort"),
    ):
        for _ in range(3):
            ask(client, "held to")


def look_up(page: int) -> str:
    """Give a page; there is none before the first."""
    return {number: f"page {number}" for number in range(1, TURNS)}[page]


def look_up_pages(client: anthropic.Anthropic, question: str) -> None:
    """Let the model look up one page after another."""
    table = {"look_up": look_up}
    messages: list[Any] = [{"role": "user", "content": question}]
    schemas: Any = [{"name": name, "input_schema": {"type": "object"}} for name in table]
    while True:
        reply = client.messages.create(
            model="claude-opus-5-5", max_tokens=100, messages=messages, tools=schemas
        )
        messages.append({"role": "assistant", "content": reply.content})
        calls = [block for block in reply.content if block.type == "tool_use"]
        if not calls:
            return
        results: list[dict[str, object]] = []
        for call in calls:
            result: dict[str, object] = {"type": "tool_result", "tool_use_id": call.id}
            try:
                result["content"] = table[call.name](**call.input)
            except KeyError as error:
                result |= {"content": repr(error), "is_error": True}
            results.append(result)
        messages.append({"role": "user", "content": results})


def front(client: anthropic.Anthropic, url: str) -> None:
    """Serve a request by a run that asks another service."""
    tracer = trace.get_tracer("front")
    with (
        tracer.start_as_current_span("POST /order", kind=trace.SpanKind.SERVER),
        causepath.agent("front"),
    ):
        ask(client, "help to sort", "claude-haiku-4-5")
        with tracer.start_as_current_span("POST", kind=trace.SpanKind.CLIENT):
            caller: dict[str, str] = {}
            propagate.inject(caller)
            subprocess.run(
                [sys.executable, "-m", "tests.backends.hosts", "assistant", url],
                check=True,
                env={**os.environ, "OTEL_SERVICE_NAME": "assistant", "CALLER": json.dumps(caller)},
            )


def assistant(client: anthropic.Anthropic) -> None:
    """Serve the request of the other service by a run, one of whose tools fails."""
    caller = propagate.extract(json.loads(os.environ["CALLER"]))
    tracer = trace.get_tracer("assistant")
    with (
        tracer.start_as_current_span("POST /ask", caller, trace.SpanKind.SERVER),
        causepath.agent("assistant"),
    ):
        look_up_pages(client, "two pages, please")


def main(arguments: Sequence[str]) -> None:
    """Run the agents of one host."""
    host, url = arguments
    with anthropic.Anthropic(base_url=url, api_key="none") as client:
        if host == "team":
            for _ in range(REQUESTS):
                team(client)
        elif host == "frugal":
            frugal(client)
        elif host == "thirty":
            look_up_pages(client, "thirty pages, please")
        elif host == "front":
            front(client, url)
        elif host == "assistant":
            assistant(client)
        else:
            requests(client, declared=host == "web")


if __name__ == "__main__":
    main(sys.argv[1:])
