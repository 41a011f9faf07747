"""What was said, on request only: as the conventions write it, bounded, and redacted if asked.

Media and documents are never recorded, only their size and digest. What does not fit is left out
from the oldest on, and the span says so.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel
from opentelemetry import trace

from causepath import forks
from causepath.content.plain_data import is_data_class
from causepath.guard import harmless
from causepath.otel import semconv
from causepath.otel.operation import Step
from causepath.otel.span_access import SCOPE, SUPPRESSED_KEYS
from causepath.providers.messages import MEDIA, Block, MadeUpId
from causepath.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from opentelemetry.trace import Span

    from causepath.config import ContentSettings

WINDOW_SECONDS = 10
"""As long as spans usually wait to be exported, twice over."""

MAX_DEPTH = 100
MAX_REASON_BYTES = 2_000
"""Of the words that say why a tool or a run failed."""

MAX_ITEMS = 10_000
"""Of one value that a tool is given or gives back."""

DATA = {**{kind: kind for kind in MEDIA}, "document": "document", "container_upload": "file"}
"""The conventions' words for the kinds of blocks of which only size and digest are recorded."""


class ContentError(Exception):
    """Something cannot be recorded: the redaction failed, or it is no plain data."""


REQUEST = (semconv.SYSTEM_INSTRUCTIONS, semconv.INPUT_MESSAGES, semconv.TOOL_DEFINITIONS)


@dataclass(slots=True)
class Said:
    """The recorded content of one model call, by the names of the conventions."""

    room: int
    """Bytes left."""
    values: dict[str, list[Any]] = field(default_factory=dict)
    truncated: bool = False


class Content:
    """Turns what was said into what is recorded. Safe to use from any thread."""

    def __init__(
        self,
        settings: ContentSettings,
        redact: Callable[[str], str] | None,
        digest: Callable[[Block], tuple[str, int]] | None,
    ) -> None:
        self.settings = settings
        self.redact = redact
        self._digest = digest
        self._lock = threading.RLock()
        self._window_ends = 0.0
        self._left = 0
        forks.living.add(self)

    def after_fork(self) -> None:
        self._lock = threading.RLock()

    # -- model calls

    def asked(self, blocks: Sequence[Block]) -> Said | None:
        """Records what a model call is given; `None` if the process has no room for more just
        now."""
        room = self._take(self.settings.span_bytes)
        if not room:
            return None
        of_instructions, of_answer = room // 4, room // 4
        said = Said(of_instructions)
        with _alone():
            self._fill(said, semconv.SYSTEM_INSTRUCTIONS, [b for b in blocks if b.role == "system"])
            said.room += room - of_instructions - of_answer
            self._fill(said, semconv.INPUT_MESSAGES, [b for b in blocks if b.message >= 0])
            self._fill(said, semconv.TOOL_DEFINITIONS, [b for b in blocks if b.role == "tools"])
        said.room += of_answer
        return said

    def answered(self, said: Said, blocks: Sequence[Block], finish_reason: str | None) -> None:
        """Records what it answers, in the room that is left.

        The conventions have given up the reason beside a message; pages of before leave the whole
        answer out where there is none.
        """
        try:
            with _alone():
                self._fill(said, semconv.OUTPUT_MESSAGES, blocks)
            for message in said.values.get(semconv.OUTPUT_MESSAGES, ()):
                message["finish_reason"] = finish_reason or ""
        finally:
            self._take(-said.room)

    def attributes(self, said: Said, names: Iterable[str] = REQUEST) -> dict[str, str | bool]:
        """Returns the content as attributes of a span, which are JSON texts; none if spans are
        to have none."""
        if not self.settings.on_spans:
            return {}
        values = said.values
        found: dict[str, str | bool] = {n: to_json(values[n]) for n in names if n in values}
        if said.truncated:
            found[semconv.CONTENT_TRUNCATED] = True
        return found

    def emit(self, said: Said, about: Mapping[str, Any], span: Span) -> None:
        """Writes the content as an event of the conventions, whose attributes are structured."""
        from opentelemetry import _logs

        values = json.loads(to_json(said.values))
        attributes = {semconv.OPERATION: "chat", **about, **values}
        if said.truncated:
            attributes[semconv.CONTENT_TRUNCATED] = True
        _logs.get_logger_provider().get_logger(SCOPE, __version__).emit(
            timestamp=time.time_ns(),
            context=trace.set_span_in_context(span),
            attributes=attributes,
            event_name=semconv.DETAILS_EVENT,
        )

    def _fill(self, said: Said, name: str, blocks: Sequence[Block]) -> None:
        """The newest parts that there is room for; of the last one of all, its beginning."""
        kept: list[tuple[Block, dict[str, Any]]] = []
        for block in reversed(blocks):
            part = self._part(block)
            size = _size(part)
            if size > said.room:
                said.truncated = True
                text = part.get("content")
                if not kept and isinstance(text, str):
                    part["content"] = cut(text, said.room - (size - _size(text)))
                    kept.append((block, part))
                    said.room = 0
                break
            said.room -= size
            kept.append((block, part))
        kept.reverse()
        if name in (semconv.SYSTEM_INSTRUCTIONS, semconv.TOOL_DEFINITIONS):
            parts: list[Any] = [part for _, part in kept]
        else:
            parts = []
            latest: tuple[int, str] | None = None
            for block, part in kept:
                role = "tool" if part["type"] == "tool_call_response" else block.role
                if latest != (block.message, role):
                    parts.append({"role": role, "parts": []})
                    latest = block.message, role
                parts[-1]["parts"].append(part)
        if parts:
            said.values[name] = parts

    def _part(self, block: Block) -> dict[str, Any]:
        """A block as the conventions write it."""
        part: dict[str, Any]
        kind, value = block.kind, block.value
        if kind == "text":
            return {"type": "text", "content": self._text(value)}
        if kind == "thinking":
            return {"type": "reasoning", "content": self._text(value)}
        if kind in DATA:
            part = {"type": "blob", "modality": DATA[kind], "mime_type": block.name or None}
            if self._digest is not None:
                part["digest"], part["size"] = self._digest(block)
            return part
        if kind == "tool":
            return self._tool(block)
        fields = value if isinstance(value, Mapping) else {}
        if kind.endswith("tool_use"):
            arguments = value if kind == "tool_use" else fields.get("input")
            return {
                "type": "tool_call",
                "id": _told_id(block),
                "name": block.name,
                "arguments": self._plain(arguments),
            }
        if kind.endswith("tool_result"):
            response = value if kind == "tool_result" else fields.get("content")
            return {
                "type": "tool_call_response",
                "id": _told_id(block),
                "response": self._response(response),
            }
        return {"type": kind}

    def _response(self, value: object) -> object:
        if type(value) is tuple and value and isinstance(value[0], Block):
            return [self._part(block) for block in value]
        return self._plain(value)

    def _tool(self, block: Block) -> dict[str, Any]:
        fields = block.value if isinstance(block.value, Mapping) else {}
        parameters = fields.get("input_schema", fields.get("parameters"))
        if parameters is None:  # a tool of the provider
            return {"type": str(fields.get("type") or "tool"), "name": block.name}
        description = fields.get("description")
        return {
            "type": "function",
            "name": block.name,
            "description": None if description is None else self._text(description),
            "parameters": self._plain(parameters),
        }

    @harmless(None)
    def repeat(self, span: Span, name: str, messages: Sequence[Any]) -> None:
        """Writes messages of a call on the span of its run, too, if there is room for all."""
        if not messages or not self.settings.on_spans or not span.is_recording():
            return
        text = to_json(messages)
        size = len(text.encode())
        room = self._take(size)
        if room == size:
            span.set_attribute(name, text)
        else:
            self._take(-room)
            span.set_attribute(semconv.CONTENT_TRUNCATED, True)

    # -- tools

    @harmless(None)
    def reason(self, value: object) -> str | None:
        """Puts into words why a tool or a run failed: its exception, or a result that says so."""
        if not self.settings.on_spans:
            return None
        with _alone():
            plain = self._response(_said_by(value) if isinstance(value, Exception) else value)
        text = plain if isinstance(plain, str) else to_json(plain)
        data = text.encode()
        room = self._take(min(len(data), MAX_REASON_BYTES))
        return data[:room].decode("utf-8", "ignore") or None

    @harmless(None)
    def write(self, span: Span, name: str, value: object) -> None:
        """Write down the arguments or the result of a tool, as the attribute `name` of its span."""
        if not self.settings.on_spans or not span.is_recording():
            return
        with _alone():
            plain = self._response(value)
        text = plain if isinstance(plain, str) else to_json(plain)
        room = self._take(min(len(text.encode()), self.settings.span_bytes))
        kept = text.encode()[:room].decode("utf-8", "ignore")
        span.set_attribute(name, kept)
        if len(kept) < len(text):
            span.set_attribute(semconv.CONTENT_TRUNCATED, True)

    # -- texts

    def _text(self, value: object) -> str:
        text = value if isinstance(value, str) else str(self._plain(value))
        if self.redact is None:
            return _valid(text)
        try:
            redacted = self.redact(text)
        except Exception as error:
            raise ContentError("the redaction failed") from error
        if not isinstance(redacted, str):
            raise ContentError("the redaction gave no text")
        return _valid(redacted)

    def _plain(self, value: Any, depth: int = 0, left: list[int] | None = None) -> Any:
        """`value` as plain data with every text redacted; what is no data is its type."""
        left = [MAX_ITEMS] if left is None else left
        left[0] -= 1
        if left[0] < 0 or depth > MAX_DEPTH:
            raise ContentError("too large a value")
        kind = type(value)
        if value is None or kind is bool or kind is int or kind is float:
            return value
        if issubclass(kind, str):
            return self._text(str.__str__(value))
        if issubclass(kind, dict):
            return {
                str.__str__(key) if isinstance(key, str) else str(key): self._plain(
                    inner, depth + 1, left
                )
                for key, inner in dict.items(value)
                if isinstance(key, str | int | float)
            }
        if issubclass(kind, list | tuple | set | frozenset):
            return [self._plain(inner, depth + 1, left) for inner in value]
        if is_data_class(kind):
            return self._plain(getattr(value, "__dict__", {}), depth + 1, left)
        return f"<{kind.__name__}>"

    # -- how much

    def _take(self, wanted: int) -> int:
        """Takes as many of the bytes `wanted` as the process has left for this while."""
        with self._lock:
            now = time.monotonic()
            if now >= self._window_ends:
                self._window_ends = now + WINDOW_SECONDS
                self._left = self.settings.process_bytes
            taken = min(wanted, self._left)
            self._left -= taken
            return taken


def to_json(value: object) -> str:
    return _valid(json.dumps(value, separators=(",", ":"), ensure_ascii=False))


def cut(text: str, room: int) -> str:
    """The beginning of `text`, of so many bytes of JSON at most."""
    data = text[: max(room, 0)].encode()[: max(room, 0)]
    text = data.decode("utf-8", "ignore")
    while text and _size(text) > room:
        text = text[: len(text) - max(1, (_size(text) - room) // 2)]
    return text


def _size(value: object) -> int:
    """Measures a value in bytes of JSON."""
    text = to_json(value)
    return len(text) if text.isascii() else len(text.encode())


def _valid(text: str) -> str:
    """Without half characters, which no exporter can write."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def _said_by(error: Exception) -> str:
    """Gives the words of an exception after its type, as Python does: that of a missing key, alone,
    is nothing but the key. None if it has none, as they come from code of others."""
    try:
        words = str(error)
    except Exception:
        return ""
    return words and f"{type(error).__name__}: {words}"


def _alone() -> Step:
    """The application's redaction may call what we trace."""
    context = otel.get_current()
    for key in SUPPRESSED_KEYS:
        context = otel.set_value(key, True, context)
    return Step(context)


def _told_id(block: Block) -> str | None:
    """The id of the tool call that a block is about, if the API has given it one."""
    return None if isinstance(block.id, MadeUpId) else block.id or None
