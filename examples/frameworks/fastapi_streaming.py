"""A FastAPI application whose agent streams its answer to the browser.

CAUSEPATH=1 uvicorn fastapi_streaming:app     then: curl "localhost:8000/ask?question=Umbrella"
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anthropic
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

app = FastAPI()
client = anthropic.AsyncAnthropic()

SCHEMA: Any = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


async def get_weather(city: str) -> str:
    await asyncio.sleep(0.05)  # the weather service
    return f"Sunny in {city}."


async def answer(question: str) -> AsyncIterator[str]:
    messages: list[Any] = [{"role": "user", "content": question}]
    while True:
        async with client.messages.stream(
            model="claude-opus-5-5", max_tokens=1024, tools=[SCHEMA], messages=messages
        ) as stream:
            async for text in stream.text_stream:
                yield text
            reply = await stream.get_final_message()
        if reply.stop_reason != "tool_use":
            return
        results = [
            {
                "type": "tool_result",
                "tool_use_id": block.id,
                "content": await get_weather(**block.input),
            }
            for block in reply.content
            if block.type == "tool_use"
        ]
        messages += [
            {"role": "assistant", "content": reply.content},
            {"role": "user", "content": results},
        ]


@app.get("/ask")
async def ask(question: str) -> StreamingResponse:
    return StreamingResponse(answer(question), media_type="text/plain")
