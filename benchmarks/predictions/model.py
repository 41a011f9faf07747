"""What the scripted model answers: the system prompt names the agent, the seed and the variant."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.predictions.jitter import delay
from tests.support.script import Failure, Latency, Reply, Request, Text, ToolUse, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.script import Answer


@dataclass(frozen=True)
class Asked:
    """A request, and what its system prompt says about the run."""

    request: Request
    agent: str
    seed: int
    label: str
    fixed: bool

    @property
    def turn(self) -> int:
        return self.request.turn


def answer(request: Request) -> Answer:
    """The next reply in the conversation of `request`."""
    told = json.loads(request.body["system"])
    label = f"{told.get('who', '')} {request.turn} {request.question}"
    asked = Asked(request, told["agent"], told["seed"], label, told["variant"] == "after")
    return _SCENARIOS.get(told["agent"], _answer)(asked)


def _reply(asked: Asked, content: object, first: float = 0.12, rest: float = 0.1) -> Reply:
    blocks = content if isinstance(content, list) else [Text(str(content))]
    return Reply(
        blocks,
        Latency(
            before_headers=delay(asked.seed, f"{asked.label} first", first),
            before_first_delta=delay(asked.seed, f"{asked.label} rest", rest),
        ),
        Usage(input_tokens=200, output_tokens=40),
    )


def _tools(name: str, count: int, **same: object) -> list[object]:
    return [ToolUse(name, {"item": f"item-number-{n}", **same}) for n in range(count)]


def _answer(asked: Asked) -> Answer:
    return _reply(asked, "Done.")


def _asks(count: int, name: str = "search") -> Callable[[Asked], Answer]:
    def scenario(asked: Asked) -> Answer:
        return _reply(asked, "Done." if asked.turn else _tools(name, count))

    return scenario


def _sub_agents(asked: Asked) -> Answer:
    if asked.request.question.startswith("help with"):
        return _reply(asked, "Done." if asked.turn else _tools("search", 1))
    return _reply(asked, "Done." if asked.turn else _tools("delegate", 3))


def _tells(asked: Asked) -> Answer:
    """A sentence that is long enough to be known again."""
    return _reply(asked, f"This is all that there is to say about: {asked.request.question}")


def _streams(asked: Asked) -> Answer:
    """Three tools in one streamed reply, written at a steady pace."""
    if asked.turn:
        return _reply(asked, "Done.")
    first, pace = delay(asked.seed, "first", 0.2), delay(asked.seed, "pace", 0.015)
    return Reply(
        _tools("search", 3), Latency(first, per_delta=pace), Usage(200, 60), delta_characters=3
    )


def _repeats(asked: Asked) -> Answer:
    if asked.turn < 3:
        return _reply(asked, [ToolUse("look_up", {"item": "the-same-item"})], 0.05, 0.05)
    return _reply(asked, "Done.", 0.05, 0.05)


def _limited(asked: Asked) -> Answer:
    """Every second call is refused once, but not after the fix."""
    if not asked.fixed and asked.turn == 1 and asked.request.retry == 0:
        return Failure(429, retry_after_seconds=0.3, latency_seconds=0.05)
    return _reply(asked, "Done." if asked.turn > 1 else _tools("search", 1))


def _models(asked: Asked) -> Answer:
    fast = asked.request.body["model"] == "fast-model"
    first, rest = (0.06, 0.05) if fast else (0.2, 0.15)
    return _reply(asked, "Done.", first, rest)


def _turns(asked: Asked) -> Answer:
    """Two look-ups, one after the other, unless told to ask for both at once."""
    asks = [
        [ToolUse("weather", {"city": "Lisbon-by-the-sea"})],
        [ToolUse("calendar", {"day": "2026-11-21-saturday"})],
    ]
    if asked.fixed:
        asks = [[*asks[0], *asks[1]]]
    if asked.turn >= len(asks):
        return Reply("Done.", Latency(delay(asked.seed, "last", 0.2)), Usage(200, 40))
    # One reply that asks for both takes as long to write as two that ask for one each.
    first = delay(asked.seed, f"first {asked.turn}", 0.2)
    pace = delay(asked.seed, "pace", 0.008)
    return Reply(
        asks[asked.turn],
        Latency(first, per_delta=pace),
        Usage(200, 40),
        delta_characters=4,
    )


def _short(asked: Asked) -> Answer:
    deltas = 10 if asked.fixed else 20
    latency = Latency(delay(asked.seed, "first", 0.12), per_delta=delay(asked.seed, "pace", 0.02))
    return Reply("x" * 16 * (deltas + 1), latency, Usage(200, deltas))


def _refuses(asked: Asked) -> Answer:
    """Two attempts of every call are refused, but none after the fix."""
    if not asked.fixed and int(asked.request.headers["x-attempt"]) < 2:
        return Failure(429, latency_seconds=0.05)
    return _reply(asked, "Done.")


def _grows(asked: Asked) -> Answer:
    """The first token takes 0.1 s, and 1 ms for each word of the prompt."""
    words = len(asked.request.question.split())
    first = delay(asked.seed, asked.label.split(":")[0], 0.1 + words / 1000)
    return Reply("Done.", Latency(before_headers=first), Usage(words, 5))


def _describes(asked: Asked) -> Answer:
    """Longer and longer answers; the fix asks for half of it, or for a stream."""
    number = int(asked.request.question.split()[-1])
    tokens = (10, 25, 15, 40, 30, 50)[number]
    if asked.fixed and asked.agent == "shorter answers":
        tokens //= 2
    first = delay(asked.seed, f"first {number}", 0.1)
    pace = delay(asked.seed, f"pace {number}", 0.006)
    latency = Latency(before_headers=first, per_delta=pace)
    return Reply("x" * 16 * (tokens + 1), latency, Usage(200, tokens), delta_characters=16)


def _two_replies(asked: Asked) -> Answer:
    """A reply that asks for two searches, then one that asks for three."""
    return _reply(asked, "Done." if asked.turn > 1 else _tools("search", 2 + asked.turn))


_SCENARIOS: dict[str, Callable[[Asked], Answer]] = {
    "tools in sequence": _asks(4),
    "a pool too small": _asks(6),
    "sub-agents in sequence": _sub_agents,
    "tools while it streams": _streams,
    "a loop over items": _tells,
    "rounds of a loop": _tells,
    "equal calls repeated": _repeats,
    "retries with back-off": _limited,
    "retries in the user's code": _refuses,
    "smaller prompts": _grows,
    "shorter answers": _describes,
    "an answer as it is written": _describes,
    "one step's model": _models,
    "a shared connection": _two_replies,
    "a slow model": _models,
    "two turns for one": _turns,
    "a slow tool": _asks(2),
    "two changes at once": _asks(3),
    "a guess ahead": _asks(1),
    "long answers": _short,
}
