"""The loop that the examples of Celery, Django and pytest share: an agent with one tool."""

from __future__ import annotations

import time
from typing import Any

import anthropic

SCHEMA: Any = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def get_weather(city: str) -> str:
    time.sleep(0.05)  # the weather service
    return f"Sunny in {city}."


def ask(question: str) -> str:
    """Answer a question about the weather."""
    client = anthropic.Anthropic()
    messages: list[Any] = [{"role": "user", "content": question}]
    while True:
        reply = client.messages.create(
            model="claude-opus-5-5", max_tokens=1024, tools=[SCHEMA], messages=messages
        )
        calls = [block for block in reply.content if block.type == "tool_use"]
        if not calls:
            return "".join(block.text for block in reply.content if block.type == "text")
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": get_weather(**call.input)}
            for call in calls
        ]
        messages += [
            {"role": "assistant", "content": reply.content},
            {"role": "user", "content": results},
        ]
