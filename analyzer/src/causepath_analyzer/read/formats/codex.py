"""Rollouts of Codex: one JSON line per item with its time, a session is a trace.

Items of a reply stand between what caused them (a prompt, the outputs of tools) and the outputs of
the tools that they ask for: together they are one model call. What it used is told afterwards, in
an event whose sums have grown. A tool lasts from the item that asked for it to its output.

A fork and a subagent begin with what was said before, all of it written at once: left out.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct

from causepath_analyzer import attributes as names
from causepath_analyzer.model import Skipped
from causepath_analyzer.read.format import Found, GatheredFormat, JsonFormat
from causepath_analyzer.read.formats import sessions, turns, values
from causepath_analyzer.read.formats.values import Number


class _Usage(Struct, gc=False):
    input_tokens: Number = None
    cached_input_tokens: Number = None
    cache_write_input_tokens: Number = None
    output_tokens: Number = None
    reasoning_output_tokens: Number = None
    total_tokens: Number = None


class _Info(Struct, gc=False):
    total_token_usage: _Usage | None = None
    last_token_usage: _Usage | None = None


class _Content(Struct, gc=False):
    text: str | None = None


class _Payload(Struct, gc=False):
    type: str | None = None
    id: str | None = None
    role: str | None = None
    content: Raw = values.ABSENT
    name: str | None = None
    call_id: str | None = None
    arguments: Raw = values.ABSENT
    input: Raw = values.ABSENT
    action: Raw = values.ABSENT
    output: Raw = values.ABSENT
    info: Raw = values.ABSENT
    model: str | None = None
    model_provider: str | None = None
    forked_from_id: str | None = None
    exit_code: int | None = None
    success: bool | None = None


class _Line(Struct, gc=False):
    timestamp: Number = None
    type: str | None = None
    payload: Raw = values.ABSENT


class _Metadata(Struct, gc=False):
    exit_code: int | None = None


class _Output(Struct, gc=False):
    metadata: _Metadata | None = None


_LINE: Final = msgspec.json.Decoder(_Line)
_PAYLOAD: Final = msgspec.json.Decoder(_Payload)
_INFO: Final = msgspec.json.Decoder(_Info)
_CONTENTS: Final = msgspec.json.Decoder(list[_Content] | str | None)
_OUTPUT: Final = msgspec.json.Decoder(_Output)
_NAME: Final = "codex"
_KINDS: Final = frozenset(
    ("session_meta", "turn_context", "response_item", "event_msg", "compacted")
)
_ASKING: Final = frozenset(("function_call", "custom_tool_call", "local_shell_call"))
_SAID: Final = frozenset(
    ("reasoning", "web_search_call", "tool_search_call", "image_generation_call")
)
_OUTPUTS: Final = frozenset(
    ("function_call_output", "custom_tool_call_output", "mcp_tool_call_output")
)
_ENDS: Final = ("exec_command_end", "mcp_tool_call_end", "patch_apply_end")
_AT_ONCE_NS: Final = 1_000_000_000
_ADDED: Final = ("<environment_context>", "<user_instructions>", "# AGENTS.md instructions")


class _Rollout:
    """Gathers the lines of one input; `finish` makes spans of them."""

    def __init__(self) -> None:
        self._id: str | None = None
        self._provider: str | None = None
        self._origin: str | None = None
        self._lines: list[tuple[int, str, _Payload]] = []

    def add(self, document: bytes, where: str) -> Sequence[Found] | None:
        if b'"payload"' not in document or b'"timestamp"' not in document:
            return None
        try:
            line = _LINE.decode(document)
        except (msgspec.ValidationError, RecursionError):
            return None
        if line.type is None or not values.present(line.payload):
            return None
        if line.type not in _KINDS:
            return () if self._lines else None
        at_ns = values.time_ns(line.timestamp)
        if at_ns is None:
            return [Skipped(where, f"a line of type {line.type} without a timestamp")]
        try:
            payload = _PAYLOAD.decode(line.payload)
        except (*values.DAMAGED,) as error:
            return [Skipped(where, f"a line that cannot be read: {error}")]
        if line.type == "session_meta" and self._id is None:
            self._id, self._provider = payload.id, payload.model_provider
            self._origin = payload.forked_from_id
        self._lines.append((at_ns, line.type, payload))
        return ()

    def finish(self) -> Iterator[Found]:
        if not self._lines:
            return
        self._lines.sort(key=lambda line: line[0])
        first_ns, last_ns = self._lines[0][0], self._lines[-1][0]
        lines = self._lines if self._origin is None else _own(self._lines)
        story = _Story(self._id or f"{_NAME}-{first_ns}", self._provider)
        story.has_prompts = any(
            kind == "event_msg" and payload.type == "user_message" for _, kind, payload in lines
        )
        for at_ns, kind, payload in lines:
            story.tell(at_ns, kind, payload)
        yield from sessions.spans(
            sessions.Session(
                story.id,
                _NAME,
                first_ns,
                last_ns,
                story.records,
                story.calls,
                tuple(story.tools.values()),
                story.shortened,
                self._origin,
            )
        )


def _own(lines: Sequence[tuple[int, str, _Payload]]) -> list[tuple[int, str, _Payload]]:
    """`lines` of a fork without those that were copied at its start, but for the last prompt."""
    copied = sum(at_ns - lines[0][0] < _AT_ONCE_NS for at_ns, _, _ in lines)
    prompts = [
        line
        for line in lines[:copied]
        if line[2].type == "user_message" or (line[2].type, line[2].role) == ("message", "user")
    ]
    settings = [line for line in lines[:copied] if line[1] == "turn_context"]
    return [*settings, *prompts[-1:], *lines[copied:]]


class _Story:
    """Calls, tools and turns, told line by line."""

    def __init__(self, identity: str, provider: str | None) -> None:
        self.id = identity
        self.has_prompts = False
        self.records: list[turns.Record] = []
        self.calls: list[sessions.Call] = []
        self.tools: dict[str, sessions.Tool] = {}
        self.shortened: list[tuple[int, int]] = []
        self._provider = provider
        self._model: str | None = None
        self._open: sessions.Call | None = None
        self._issued: list[str] = []
        self._uncounted: sessions.Call | None = None
        self._cause_ns: int | None = None
        self._total: object = None

    def tell(self, at_ns: int, kind: str, payload: _Payload) -> None:
        said = payload.type or ""
        if kind == "turn_context":
            self._model = payload.model or self._model
        elif kind == "compacted":
            if self._cause_ns is not None:
                self.shortened.append((self._cause_ns, at_ns))
            self._caused(at_ns)
        elif kind == "response_item" and said in _OUTPUTS:
            self._answered(at_ns, payload)
        elif kind == "response_item" and (
            said in _ASKING or said in _SAID or (said == "message" and payload.role == "assistant")
        ):
            self._replied(at_ns, payload)
        elif self._is_prompt(kind, payload):
            self.records.append(turns.Record(at_ns, "person", turns.USER))
            self._caused(at_ns)
        elif kind == "event_msg":
            self._happened(at_ns, payload)

    def _is_prompt(self, kind: str, payload: _Payload) -> bool:
        if kind == "event_msg":
            return payload.type == "user_message"
        if self.has_prompts or payload.type != "message" or payload.role != "user":
            return False
        try:
            content = _CONTENTS.decode(payload.content or b"null")
        except values.DAMAGED:
            return False
        parts = [content] if isinstance(content, str) else [c.text or "" for c in content or ()]
        return not any(part.lstrip().startswith(_ADDED) for part in parts)

    def _happened(self, at_ns: int, payload: _Payload) -> None:
        if payload.type == "turn_aborted":
            self.records.append(turns.Record(at_ns, "stop", turns.USER))
            self._open = None
        elif payload.type == "token_count":
            self._counted(payload)
        elif payload.type == "error" and self._open is None and self._cause_ns is not None:
            self._begin(self._cause_ns, at_ns)
            self.records.append(turns.Record(at_ns, "reply", turns.USER))
            self.calls[-1].failed = True
            self._open = self._uncounted = None
            self._cause_ns = None
        elif payload.type in _ENDS and payload.call_id in self.tools:
            tool = self.tools[payload.call_id]
            tool.failed = bool(payload.exit_code) or payload.success is False

    def _caused(self, at_ns: int) -> None:
        self._open = None
        self._cause_ns = at_ns

    def _begin(self, start_ns: int, at_ns: int) -> None:
        attributes: dict[str, object] = {
            names.MODEL[0]: self._model,
            names.PROVIDER[0]: self._provider,
            names.STREAMED[0]: True,
        }
        call = sessions.Call(f"{self.id}-{len(self.calls)}", start_ns, at_ns, attributes)
        self.calls.append(call)
        self._open = self._uncounted = call
        self._issued = []

    def _replied(self, at_ns: int, payload: _Payload) -> None:
        if self._open is None:
            self._begin(at_ns if self._cause_ns is None else self._cause_ns, at_ns)
        call = self._open
        if call is None:
            return
        call.end_ns = at_ns
        self._cause_ns = at_ns
        asks: tuple[str, ...] = ()
        identity = payload.call_id or payload.id
        if payload.type in _ASKING and identity and identity not in self.tools:
            inputs = payload.arguments, payload.input, payload.action
            given = next((raw for raw in inputs if values.present(raw)), values.ABSENT)
            name = payload.name or "shell"
            self.tools[identity] = sessions.Tool(identity, name, at_ns, None, values.content(given))
            asks = (identity,)
            self._issued.append(identity)
            call.attributes[names.OUTPUT_MESSAGES] = sessions.asked_for(self._issued)
        self.records.append(turns.Record(at_ns, "reply", turns.USER, asks))

    def _answered(self, at_ns: int, payload: _Payload) -> None:
        answers = (payload.call_id,) if payload.call_id else ()
        self.records.append(turns.Record(at_ns, "result", turns.USER, (), answers))
        tool = self.tools.get(payload.call_id or "")
        if tool is not None and tool.end_ns is None:
            tool.end_ns = at_ns
            tool.result = values.content(payload.output)
            tool.failed = tool.failed or _has_failed(tool.result)
        self._caused(at_ns)

    def _counted(self, payload: _Payload) -> None:
        if not values.present(payload.info):
            return
        try:
            info = _INFO.decode(payload.info)
        except values.DAMAGED:
            return
        used, total = info.last_token_usage, info.total_token_usage
        if used is None or (total is not None and total == self._total):
            return  # told again
        self._total = total
        call, self._uncounted = self._uncounted, None
        self._open = None
        if call is not None:
            call.attributes |= {
                names.INPUT_TOKENS[0]: used.input_tokens,
                names.OUTPUT_TOKENS[0]: used.output_tokens,
                names.CACHE_READ_TOKENS[0]: used.cached_input_tokens,
                names.CACHE_WRITE_TOKENS[0]: used.cache_write_input_tokens,
                names.REASONING_TOKENS[0]: used.reasoning_output_tokens,
                names.TOTAL_TOKENS[0]: used.total_tokens,
            }


def _has_failed(output: str | None) -> bool:
    if output is None or not output.startswith("{"):
        return False
    try:
        metadata = _OUTPUT.decode(output).metadata
    except values.DAMAGED:
        return False
    return metadata is not None and bool(metadata.exit_code)


def _begin() -> JsonFormat:
    rollout = _Rollout()
    return JsonFormat(_NAME, rollout.add, rollout.finish)


FORMAT = GatheredFormat(_NAME, _begin)
