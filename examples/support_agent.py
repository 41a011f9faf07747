"""A support agent that is slower and more expensive than it has to be, in five ways.

python examples/support_agent.py                      as it is
python examples/support_agent.py --fix CP101,CP203    with what these findings of causepath say
"""

from __future__ import annotations

import argparse
import contextvars
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

import anthropic
from offline import scripted

import causepath

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

MODEL = "claude-opus-5-5"
FIXES = ("CP101", "CP102", "CP201", "CP203", "CP503")
HANDBOOK = "\n".join(
    f"{number}. Whoever writes to us gets an answer that names the order, the parcel and the day."
    for number in range(1, 320)
)
TICKETS = ("The cup is broken.", "Where is my parcel?", "I would like tea, not coffee.")


def get_customer(name: str) -> str:
    time.sleep(0.5)  # the customers' database
    return f"{name} is customer C-88, since 2021."


def list_orders(name: str) -> str:
    time.sleep(0.7)  # the shop
    return f"{name} has ordered tea and a cup; the parcel is P-4711."


@causepath.tool(read_only=True)
def get_rates(currency: str) -> str:
    time.sleep(0.4)  # the bank
    return f"One {currency} is 1.07 dollars, as fixed on Monday by the central bank for this week."


looks = 0


def check_parcel(parcel: str) -> str:
    global looks
    time.sleep(0.2)  # the carrier
    looks += 1
    return "pending" if looks < 4 else f"Parcel {parcel} is at the door."


def wait_for_parcel(parcel: str) -> str:
    while (found := check_parcel(parcel)) == "pending":
        time.sleep(0.4)
    return found


TOOLS: dict[str, Callable[..., str]] = {
    one.__name__: one for one in (get_customer, list_orders, check_parcel, wait_for_parcel)
}


def all_of(function: Callable[[Any], Any], items: Iterable[Any], *, together: bool) -> list[Any]:
    """`function` of each of `items`, one after the other or on threads."""
    if not together:
        return [function(item) for item in items]
    with ThreadPoolExecutor() as pool:
        running = [pool.submit(contextvars.copy_context().run, function, item) for item in items]
        return [one.result() for one in running]


@causepath.agent
def support(client: anthropic.Anthropic, fixed: Collection[str]) -> str:
    """Answers the tickets of a customer; `fixed` are the findings that are mended."""

    def summary(ticket: str) -> str:
        reply = client.messages.create(
            model=MODEL,
            max_tokens=100,
            messages=[{"role": "user", "content": f"In three words: {ticket}"}],
        )
        return reply.content[0].text

    def run_tool(call: Any) -> Any:
        content = TOOLS[call.name](**call.input)
        return {"type": "tool_result", "tool_use_id": call.id, "content": content}

    rates = cache(get_rates) if "CP201" in fixed else get_rates
    summaries = all_of(summary, TICKETS, together="CP102" in fixed)
    question = f"{rates('EUR')} Ines writes about: {', '.join(summaries)}. What do we tell her?"
    names = ["get_customer", "list_orders"]
    names.append("wait_for_parcel" if "CP503" in fixed else "check_parcel")
    system: dict[str, Any] = {"type": "text", "text": HANDBOOK}
    if "CP203" in fixed:
        system["cache_control"] = {"type": "ephemeral"}
    messages: list[Any] = [{"role": "user", "content": question}]
    while True:
        reply = client.messages.create(
            model=MODEL,
            max_tokens=1024,
            system=[system],  # type: ignore[list-item]
            tools=[
                {"name": name, "description": name, "input_schema": {"type": "object"}}
                for name in names
            ],
            messages=messages,
        )
        calls = [block for block in reply.content if block.type == "tool_use"]
        if not calls:
            return f"{reply.content[0].text} ({rates('EUR')})"
        messages.append({"role": "assistant", "content": reply.content})
        results = all_of(run_tool, calls, together="CP101" in fixed)
        messages.append({"role": "user", "content": results})


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="A support agent with five findings.")
    parser.add_argument("--fix", default="", metavar="CODES", help=", ".join(FIXES))
    fixed = parser.parse_args(argv).fix.split(",")
    unknown = set(fixed) - {"", *FIXES}
    if unknown:
        parser.error(f"there is no fix for {min(unknown)}, but for {', '.join(FIXES)}")
    with (
        scripted("examples.support_script:next_answer") as url,
        anthropic.Anthropic(base_url=url, api_key="no-key-needed") as client,
    ):
        print(support(client, fixed))


if __name__ == "__main__":
    main()
