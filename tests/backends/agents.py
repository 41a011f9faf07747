"""Many example agents at once in one process, for as long as asked.

    python -m tests.backends.agents threads 200 60 http://127.0.0.1:8000

Prints JSON: what each run took, how many gave the right answer, and the most memory that this
process had.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import resource
import sys
import threading
import time
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

import anthropic
import httpx2
import research_agent
import research_agent_async

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LAST_WORDS = "[P-0931] and could eat a fifth of it.\n"


answer: ContextVar[list[str]] = ContextVar("answer")
"""What the run of this thread or task has printed so far."""


class Printed(io.TextIOBase):
    """Standard output that gives every run its own."""

    def write(self, text: str) -> int:
        answer.get().append(text)
        return len(text)


@dataclass
class Runs:
    """What became of the runs so far."""

    seconds: list[float] = field(default_factory=list)
    right: int = 0

    def until(self, end: float) -> Iterator[None]:
        """Once for each run, of which the first begins however late it is."""
        while True:
            answer.set([])
            start = time.monotonic()
            yield
            self.seconds.append(time.monotonic() - start)
            self.right += "".join(answer.get()).endswith(LAST_WORDS)
            if time.monotonic() >= end:
                return


def in_threads(count: int, seconds: float, url: str) -> Runs:
    """`count` threads that begin runs for `seconds`, one at least."""
    runs = Runs()
    end = time.monotonic() + seconds

    def work(number: int) -> None:
        with anthropic.Anthropic(base_url=url, api_key="none") as client:
            for _ in runs.until(end):
                research_agent.research(client, f"question {number}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return runs


async def in_tasks(count: int, seconds: float, url: str) -> Runs:
    """`count` tasks that begin runs for `seconds`."""
    runs = Runs()
    end = time.monotonic() + seconds

    async def work(number: int) -> None:
        for _ in runs.until(end):
            await research_agent_async.research(client, f"question {number}")

    limits = httpx2.Limits(max_connections=count)
    async with anthropic.AsyncAnthropic(
        base_url=url, api_key="none", http_client=anthropic.DefaultAsyncHttpxClient(limits=limits)
    ) as client:
        await asyncio.gather(*(work(number) for number in range(count)))
    return runs


def main(arguments: Sequence[str]) -> None:
    """Run the agents and print what became of them."""
    kind, count, seconds, url = arguments
    with contextlib.redirect_stdout(Printed()):  # type: ignore[type-var]
        if kind == "threads":
            runs = in_threads(int(count), float(seconds), url)
        else:
            runs = asyncio.run(in_tasks(int(count), float(seconds), url))
    most_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({**asdict(runs), "memory_mib": most_kib / 1024}))


if __name__ == "__main__":
    main(sys.argv[1:])
