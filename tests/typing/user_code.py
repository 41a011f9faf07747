"""Code as users write it, for the type checker: what they declare keeps its type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import assert_type

import causepath

if TYPE_CHECKING:
    from collections.abc import Callable

causepath.instrument()
causepath.instrument(redact=str.upper)


@causepath.tool
def search(query: str, limit: int = 3) -> list[str]:
    return [query] * limit


@causepath.tool(name="save", read_only=False)
async def store(text: str) -> bool:
    return bool(text)


@causepath.agent
def research(question: str) -> str:
    return question


@causepath.agent("planner")
async def plan() -> int:
    return 3


def double(value: int) -> int:
    return value * 2


TOOLS: dict[str, Callable[[int], int]] = causepath.tools({"double": double})


async def main() -> None:
    assert_type(search("x"), list[str])
    assert_type(await store("x"), bool)
    assert_type(research("x"), str)
    assert_type(await plan(), int)
    assert_type(TOOLS["double"](2), int)
    with causepath.agent("one"):
        pass
    async with causepath.agent("two"):
        pass
