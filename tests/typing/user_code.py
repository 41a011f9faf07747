"""Code as users write it, for the type checker: what they declare keeps its type."""

from __future__ import annotations

from decimal import Decimal
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


@causepath.budget(wall="5s", on_exceeded="abort")
def brief(value: int) -> int:
    return value


def too_much(error: causepath.BudgetExceeded) -> None:
    assert_type(error.usage.tokens, "int | None")


async def main() -> None:
    assert_type(brief(2), int)
    prices = {"m": {"input": "3", "output": Decimal(15), "cache_read": 0.3}}
    with causepath.budget(cost="$0.10", prices=prices, on_exceeded=too_much) as budget:
        assert_type(budget, causepath.Budget)
        assert_type(budget.timeout("llm", floor="1s"), float)
        assert_type(budget.remaining().cost, "Decimal | None")
        assert_type(budget.can_continue({"wall": "2s", "tokens": 400}), bool)
    async with causepath.budget(turns=3):
        pass
    assert_type(search("x"), list[str])
    assert_type(await store("x"), bool)
    assert_type(research("x"), str)
    assert_type(await plan(), int)
    assert_type(TOOLS["double"](2), int)
    with causepath.agent("one"):
        pass
    async with causepath.agent("two"):
        pass
