"""A research agent: lets a model use four tools for two rounds, then streams its answer.

python examples/research_agent.py                     a scripted model on this machine
python examples/research_agent.py --live "question"   the real one; needs ANTHROPIC_API_KEY
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import anthropic
import research_library as library
from offline import arguments, connection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anthropic.types import MessageParam, ToolResultBlockParam, ToolUseBlock

MODEL = "claude-opus-5-5"
SYSTEM = "You are a careful research assistant. Look things up first, then answer with sources."
TOOL_ROUNDS = 2

notes: list[str] = []


def search_web(query: str) -> str:
    time.sleep(0.8)  # the search engine
    return library.web_hits(query)


def search_papers(topic: str, since_year: int = 2020) -> str:
    time.sleep(1.1)  # the paper index
    return library.papers(topic, since_year)


def fetch_page(url: str) -> str:
    time.sleep(0.6)  # somebody's web server
    return library.page(url)


def save_note(note: str) -> str:
    time.sleep(0.3)  # the notebook service
    notes.append(note)
    return f"Saved as note {len(notes)}."


TOOLS: dict[str, Callable[..., str]] = {
    "search_web": search_web,
    "search_papers": search_papers,
    "fetch_page": fetch_page,
    "save_note": save_note,
}


def run_tool(call: ToolUseBlock) -> ToolResultBlockParam:
    try:
        result = TOOLS[call.name](**call.input)
    except Exception as error:  # the model gets to see what went wrong
        return {
            "type": "tool_result",
            "tool_use_id": call.id,
            "content": repr(error),
            "is_error": True,
        }
    return {"type": "tool_result", "tool_use_id": call.id, "content": result}


def research(client: anthropic.Anthropic, question: str, *, together: bool = False) -> None:
    """Print the answer; `together` runs the tools of one reply at the same time."""
    messages: list[MessageParam] = [{"role": "user", "content": question}]
    for _ in range(TOOL_ROUNDS):
        reply = client.messages.create(
            model=MODEL,
            max_tokens=1024,
            system=SYSTEM,
            tools=library.TOOL_SCHEMAS,
            messages=messages,
        )
        messages.append({"role": "assistant", "content": reply.content})
        calls = [block for block in reply.content if block.type == "tool_use"]
        if not calls:
            print("".join(block.text for block in reply.content if block.type == "text"))
            return
        for call in calls:
            print(f"  {call.name} {call.input}")
        if together:
            with ThreadPoolExecutor() as pool:
                results = list(pool.map(run_tool, calls))
        else:
            results = [run_tool(call) for call in calls]
        messages.append({"role": "user", "content": results})

    with client.messages.stream(
        model=MODEL,
        max_tokens=2048,
        system=SYSTEM,
        tools=library.TOOL_SCHEMAS,
        tool_choice={"type": "none"},  # time to answer
        messages=messages,
    ) as stream:
        for text in stream.text_stream:
            print(text, end="", flush=True)
    print()


def main(argv: Sequence[str] | None = None) -> None:
    options = arguments(argv, default_question=library.QUESTION)
    print(options.question)
    with (
        connection(live=options.live) as api,
        anthropic.Anthropic(base_url=api.base_url, api_key=api.key) as client,
    ):
        research(client, options.question, together=options.together)


if __name__ == "__main__":
    main()
