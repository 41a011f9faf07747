"""The prompt cache of a provider, and its word for why a request could not read from it.

Written from what Anthropic and OpenAI say of their APIs, and from nothing of ours: the cache of an
account holds prefixes of prompts (tools, then system prompt, then messages), each for its lifetime,
and the diagnosis compares a request with an earlier one.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from tests.support.script import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.support.script import Reply, Request

BYTES_PER_TOKEN: Final = 4
LEAST_TOKENS: Final = 1_024
LOOK_BACK: Final = 20
"""Blocks before a breakpoint at which Anthropic looks for an earlier one."""
MOST_BREAKPOINTS: Final = 4
STEP: Final = 128
"""OpenAI reads so many tokens at a time."""


@dataclass(frozen=True)
class Seen:
    """A request that was answered: the ``word`` of the provider for it, as it is compared with the
    one before, and the tokens that could have been read of it, ``cached``, and those that were."""

    reply_id: str
    word: str | None
    cached: int
    read: int


@dataclass
class PromptCache:
    """The cache of one account. ``now`` is its clock, in seconds."""

    now: float = 0.0
    seen: list[Seen] = field(default_factory=list)
    _held: dict[str, float] = field(default_factory=dict)
    """By prefix, until when it lives."""
    _bodies: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _last: tuple[str, int] = ("", 0)
    _lock: Any = field(default_factory=threading.Lock)

    def loses_all(self) -> None:
        """Drops everything, as providers may at any time."""
        self._held.clear()

    def answered(self, request: Request, reply: Reply) -> Reply:
        """Gives `reply` with what the API counts and says of its cache."""
        with self._lock:
            kind = _Responses if "input" in request.body else _Messages
            return self._answered(kind(request.body), reply)

    def _answered(self, prompt: _Messages | _Responses, reply: Reply) -> Reply:
        reply_id = f"{prompt.prefix}_{len(self.seen):04}"
        held = {key for key, until in self._held.items() if until >= self.now}
        read = prompt.read(held)
        written = prompt.written()
        for key in (*prompt.touched(held), *(key for key, _ in written)):
            self._held[key] = self.now + prompt.lifetime_seconds
        whole = max([read, *(tokens for _, tokens in written)])
        last, cached = self._last
        cached = min(cached, prompt.size)
        word = prompt.word(self._bodies.get(last)) if last else None
        asked = prompt.compared_with
        told = prompt.word(self._bodies.get(asked)) if asked else None
        self.seen.append(Seen(reply_id, word, cached, read))
        self._bodies[reply_id] = prompt.body
        self._last = reply_id, whole
        more = {**reply.more, "id": reply_id, **(prompt.said(told) if asked else {})}
        return replace(reply, usage=prompt.usage(read, whole - read), more=more)


def _bytes(value: Any) -> str:
    """Writes `value` as it is sent: providers compare bytes, so the order of keys counts."""
    return json.dumps(value, ensure_ascii=False)


def _size(value: Any) -> int:
    return len(_bytes(value)) // BYTES_PER_TOKEN


class _Messages:
    """A request of Anthropic's Messages API."""

    prefix = "msg"

    def __init__(self, body: Mapping[str, Any]) -> None:
        self.body = body
        self._blocks: list[str] = []
        self._sizes: list[int] = []
        self._breakpoints: list[int] = []
        self.lifetime_seconds = 300.0
        for block in self._all():
            marked = dict(block)
            control = marked.pop("cache_control", None)
            self._blocks.append(_bytes(marked))
            self._sizes.append(_size(marked))
            if control is not None:
                self._breakpoints.append(len(self._blocks))
                if control.get("ttl") == "1h":
                    self.lifetime_seconds = 3_600.0

    def _all(self) -> Iterator[Mapping[str, Any]]:
        yield from self.body.get("tools") or ()
        self._tools = len(self._blocks)
        yield from _texts(self.body.get("system"))
        self._system = len(self._blocks)
        for message in self.body["messages"]:
            for block in _texts(message["content"]):
                yield {"role": message["role"], **block}

    @property
    def compared_with(self) -> str | None:
        return (self.body.get("diagnostics") or {}).get("previous_message_id")

    def _key(self, end: int) -> str:
        """Names a prefix. Models have caches of their own; thinking and the choice of tools count
        for messages alone."""
        about = [self.body["model"], self.body.get("speed")]
        if end > self._system:
            about += [self.body.get("thinking"), self.body.get("tool_choice")]
        return _bytes([*about, *self._blocks[:end]])

    def _tokens(self, end: int) -> int:
        return sum(self._sizes[:end])

    def _hit(self, held: set[str]) -> int:
        found = 0
        for end in self._breakpoints:
            for at in range(end, max(0, end - LOOK_BACK - 1), -1):
                if self._key(at) in held:
                    found = max(found, at)
                    break
        return found

    def read(self, held: set[str]) -> int:
        return self._tokens(self._hit(held))

    def touched(self, held: set[str]) -> Sequence[str]:
        """Lists what lives on as it was read."""
        hit = self._hit(held)
        return [key for at in range(1, hit + 1) if (key := self._key(at)) in held]

    def written(self) -> Sequence[tuple[str, int]]:
        long = [end for end in self._breakpoints if self._tokens(end) >= LEAST_TOKENS]
        return [(self._key(end), self._tokens(end)) for end in long]

    def word(self, before: Mapping[str, Any] | None) -> str | None:
        if before is None:
            return "previous_message_not_found"
        for word, names in (
            ("model_changed", ("model", "speed")),
            ("tools_changed", ("tools",)),
            ("system_changed", ("system",)),
        ):
            if any(_unmarked(before.get(n)) != _unmarked(self.body.get(n)) for n in names):
                return word
        then, now = (_unmarked(body["messages"]) for body in (before, self.body))
        if now[: len(then)] != then:
            return "messages_changed"
        others = ("thinking", "tool_choice", "output_config")
        if any(before.get(name) != self.body.get(name) for name in others):
            return "unavailable"
        return None

    def said(self, word: str | None) -> dict[str, Any]:
        missed = {"cache_missed_input_tokens": 4_000} if word and "changed" in word else {}
        reason = {"type": word, **missed} if word is not None else None
        return {"diagnostics": {"cache_miss_reason": reason}}

    @property
    def size(self) -> int:
        return sum(self._sizes)

    def usage(self, read: int, written: int) -> Usage:
        fresh = max(1, self.size - read - written)
        if self.lifetime_seconds > 300:
            return Usage(fresh, 20, read, 0, written)
        return Usage(fresh, 20, read, written)


class _Responses:
    """A request of OpenAI's Responses API."""

    prefix = "resp"
    lifetime_seconds = 1_800.0

    def __init__(self, body: Mapping[str, Any]) -> None:
        self.body = body
        given = body["input"]
        given = [{"role": "user", "content": given}] if isinstance(given, str) else given
        parts = [*(body.get("tools") or ()), body.get("instructions"), *given]
        self._parts = [_bytes(part) for part in parts]

    @property
    def compared_with(self) -> str | None:
        return (self.body.get("prompt_cache_options") or {}).get("comparison_response_id")

    def _key(self, end: int) -> str:
        about = [self.body["model"], self.body.get("prompt_cache_key")]
        about += [self.body.get(name) for name in ("text", "reasoning", "service_tier")]
        return _bytes([about, *self._parts[:end]])

    def _tokens(self, end: int) -> int:
        return sum(map(len, self._parts[:end])) // BYTES_PER_TOKEN

    def read(self, held: set[str]) -> int:
        ends = [end for end in range(len(self._parts), 0, -1) if self._key(end) in held]
        tokens = self._tokens(ends[0]) if ends else 0
        return tokens // STEP * STEP if tokens >= LEAST_TOKENS else 0

    def touched(self, held: set[str]) -> Sequence[str]:
        return [key for end in range(1, len(self._parts) + 1) if (key := self._key(end)) in held]

    def written(self) -> Sequence[tuple[str, int]]:
        ends = range(1, len(self._parts) + 1)
        return [(self._key(end), self._tokens(end)) for end in ends]

    def word(self, before: Mapping[str, Any] | None) -> str | None:
        if before is None:
            return "comparison_response_not_found"
        verbosity, effort = (("text", "verbosity"), ("reasoning", "effort"))
        for word, path in (
            ("model_changed", ("model",)),
            ("prompt_cache_key_changed", ("prompt_cache_key",)),
            ("tools_changed", ("tools",)),
            ("text_format_changed", ("text", "format")),
            ("reasoning_effort_changed", effort),
            ("verbosity_changed", verbosity),
            ("service_tier_changed", ("service_tier",)),
        ):
            if _at(before, path) != _at(self.body, path):
                return word
        then, now = _Responses(before), self
        if before.get("instructions") != self.body.get("instructions"):
            return "input_changed"
        return None if now._parts[: len(then._parts)] == then._parts else "input_changed"

    def said(self, word: str | None) -> dict[str, Any]:
        if word is None:
            return {"prompt_cache_diagnostics": {"type": "cache_hit"}}
        if not word.endswith("_changed"):
            return {"prompt_cache_diagnostics": {"type": word}}
        miss = {"type": "cache_miss", "reason": word, "cache_missed_tokens": 4_000}
        return {"prompt_cache_diagnostics": miss}

    @property
    def size(self) -> int:
        return self._tokens(len(self._parts))

    def usage(self, read: int, written: int) -> Usage:
        return Usage(max(1, self.size - read), 20, read)


def _at(body: Any, path: Sequence[str]) -> Any:
    for name in path:
        body = body.get(name) if isinstance(body, dict) else None
    return body


def _texts(content: Any) -> Sequence[Mapping[str, Any]]:
    if not content:
        return ()
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _unmarked(value: Any) -> Any:
    """Gives `value` as it is compared: without breakpoints, and with the order of its keys."""
    if isinstance(value, list):
        return [_unmarked(one) for one in value]
    if isinstance(value, dict):
        return [[key, _unmarked(one)] for key, one in value.items() if key != "cache_control"]
    return value
