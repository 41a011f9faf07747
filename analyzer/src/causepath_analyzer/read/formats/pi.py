"""Sessions of the coding agent pi: one JSON line per entry, a session is a trace.

An entry says when it was written; the message of a model in it says as well when it was asked for.
A tool lasts from the message that asked for it to its own result. Input tokens are counted without
what came from or went into the cache.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct

from causepath_analyzer import attributes as names
from causepath_analyzer.model import Skipped, Span
from causepath_analyzer.read.format import Found, GatheredFormat, JsonFormat, Repeats
from causepath_analyzer.read.formats import forked_sessions, sessions, turns, values
from causepath_analyzer.read.formats.values import Number
from causepath_analyzer.read.meaning import normalise


class _Usage(Struct, gc=False):
    input: Number = None
    output: Number = None
    cacheRead: Number = None  # noqa: N815
    cacheWrite: Number = None  # noqa: N815


class _Block(Struct, gc=False):
    type: str | None = None
    id: str | None = None
    name: str | None = None
    arguments: Raw = values.ABSENT


class _Message(Struct, gc=False):
    role: str | None = None
    content: Raw = values.ABSENT
    timestamp: Number = None
    provider: str | None = None
    model: str | None = None
    usage: _Usage | None = None
    stopReason: str | None = None  # noqa: N815
    responseId: str | None = None  # noqa: N815
    toolCallId: str | None = None  # noqa: N815
    toolName: str | None = None  # noqa: N815
    isError: bool | None = None  # noqa: N815


class _Entry(Struct, gc=False):
    type: str | None = None
    id: str | None = None
    timestamp: Number = None
    message: _Message | None = None
    # The first line:
    cwd: str | None = None
    version: int | None = None
    # Others:
    summary: Raw = values.ABSENT
    thinkingLevel: Raw = values.ABSENT  # noqa: N815
    modelId: Raw = values.ABSENT  # noqa: N815
    customType: Raw = values.ABSENT  # noqa: N815
    parentId: Raw = values.ABSENT  # noqa: N815


_ENTRY: Final = msgspec.json.Decoder(_Entry)
_BLOCKS: Final = msgspec.json.Decoder(list[_Block] | str | None)
_NAME: Final = "pi"
_ROLES: Final = ("user", "assistant", "toolResult", "bashExecution", "custom", "hookMessage")
_SUMMARIES: Final = ("compaction", "branch_summary")
_OTHERS: Final = frozenset(
    (
        "thinking_level_change",
        "model_change",
        "custom",
        "custom_message",
        "label",
        "session_info",
        "context_transform",
        "ephemeral",
        *_SUMMARIES,
    )
)
_FAILED: Final = ("error", "aborted")
_STOPS: Final = {"toolUse": "tool_use"}


class _Session:
    """Gathers the entries of one input; `finish` makes spans of them."""

    def __init__(self) -> None:
        self._id: str | None = None
        self._entries: list[tuple[int, _Entry]] = []
        self._seen: set[tuple[str, int]] = set()

    def add(self, document: bytes, where: str) -> Sequence[Found] | None:
        if b'"type"' not in document or b'"timestamp"' not in document:
            return None
        try:
            entry = _ENTRY.decode(document)
        except (msgspec.ValidationError, RecursionError):
            return None
        if entry.type == "session" and entry.id and entry.cwd is not None:
            self._id = self._id or entry.id
            return ()
        message = entry.message
        is_message = entry.type == "message" and message is not None and message.role in _ROLES
        if not is_message and (self._id is None or entry.type not in _OTHERS):
            return None
        at_ns = values.time_ns(entry.timestamp)
        if at_ns is None:
            return [Skipped(where, f"an entry of type {entry.type} without a timestamp")]
        if entry.id is None or (entry.id, at_ns) not in self._seen:
            self._seen.add((entry.id or "", at_ns))
            self._entries.append((at_ns, entry))
        return ()

    def finish(self) -> Iterator[Found]:
        if not self._entries:
            return
        self._entries.sort(key=lambda entry: entry[0])
        first_ns, first = self._entries[0]
        identity = self._id or f"{_NAME}-{first.id or first_ns}"
        records: list[turns.Record] = []
        calls: list[sessions.Call] = []
        tools: dict[str, sessions.Tool] = {}
        shortened: list[tuple[int, int]] = []
        before_ns = first_ns
        for at_ns, entry in self._entries:
            if entry.type in _SUMMARIES:
                shortened.append((before_ns, at_ns))
            elif entry.message is not None:
                records.append(_record(at_ns, entry.message))
                if entry.message.role == "assistant":
                    # A fork repeats its entries as they are.
                    name = f"{_NAME}-{entry.id or ''}-{at_ns}"
                    calls.append(_call(name, at_ns, before_ns, entry.message))
                    for tool in _asked(entry.message):
                        if tool.id:
                            tools.setdefault(tool.id, _tool(tool, at_ns))
                elif entry.message.role == "toolResult":
                    _answer(tools, at_ns, entry.message)
            before_ns = at_ns
        start_ns = min([first_ns, *(call.start_ns for call in calls)])
        yield from sessions.spans(
            sessions.Session(
                identity,
                _NAME,
                start_ns,
                self._entries[-1][0],
                records,
                calls,
                tuple(tools.values()),
                shortened,
            )
        )


def _record(at_ns: int, message: _Message) -> turns.Record:
    match message.role:
        case "assistant":
            asks = tuple(block.id for block in _asked(message) if block.id)
            return turns.Record(at_ns, "reply", turns.USER, asks)
        case "toolResult":
            answers = (message.toolCallId,) if message.toolCallId else ()
            return turns.Record(at_ns, "result", turns.USER, (), answers)
        case "bashExecution":
            return turns.Record(at_ns, "output", turns.USER)
        case "user":
            return turns.Record(at_ns, "person", turns.USER)
        case _:
            return turns.Record(at_ns, "meta", ("wait", "waiting for the next prompt"))


def _blocks(message: _Message) -> list[_Block]:
    if not values.present(message.content):
        return []
    try:
        content = _BLOCKS.decode(message.content)
    except values.DAMAGED:
        return []
    return content if isinstance(content, list) else []


def _asked(message: _Message) -> list[_Block]:
    return [block for block in _blocks(message) if block.type == "toolCall"]


def _call(identity: str, at_ns: int, before_ns: int, message: _Message) -> sessions.Call:
    asked_ns = values.time_ns(message.timestamp)
    start_ns = asked_ns if asked_ns is not None and asked_ns <= at_ns else before_ns
    usage = message.usage or _Usage()
    counts = (usage.input, usage.output, usage.cacheRead, usage.cacheWrite)
    attributes: dict[str, object] = {
        names.MODEL[0]: message.model,
        names.PROVIDER[0]: message.provider,
        names.RESPONSE_ID[0]: message.responseId,
        names.FINISH_REASONS[0]: _STOPS.get(message.stopReason or "", message.stopReason),
        names.STREAMED[0]: True,
        names.OUTPUT_MESSAGES: sessions.asked_for(b.id for b in _asked(message) if b.id),
    }
    if any(normalise.whole(count) for count in counts):
        attributes |= {
            names.EXCLUSIVE_INPUT_TOKENS: usage.input,
            names.EXCLUSIVE_OUTPUT_TOKENS: usage.output,
            names.CACHE_READ_TOKENS[0]: usage.cacheRead,
            names.CACHE_WRITE_TOKENS[0]: usage.cacheWrite,
        }
    failed = message.stopReason in _FAILED
    return sessions.Call(identity, start_ns, at_ns, attributes, failed)


def _tool(block: _Block, at_ns: int) -> sessions.Tool:
    arguments = values.content(block.arguments)
    return sessions.Tool(block.id or "", block.name or "tool", at_ns, None, arguments)


def _answer(tools: dict[str, sessions.Tool], at_ns: int, message: _Message) -> None:
    tool = tools.get(message.toolCallId or "")
    if tool is not None:
        tool.end_ns = at_ns
        tool.failed = message.isError is True
        tool.result = values.content(message.content)


def _begin() -> JsonFormat:
    session = _Session()
    return JsonFormat(_NAME, session.add, session.finish)


def _settle(spans: dict[str, list[Span]]) -> Mapping[str, Repeats]:
    return forked_sessions.without_repeats(spans, f"{_NAME}-session")


FORMAT = GatheredFormat(_NAME, _begin, _settle)
