"""Transcripts of Claude Code: one JSON line per content block, a session is a trace.

Lines of one message repeat its id and its usage: they are one model call. A transcript says when a
line was written, not when a request was sent, so a call lasts from the line that caused it (a
prompt, a tool's result) to its own last line; a tool lasts from the line that asked for it to the
line with its result. Between an answer and the next prompt a person was at the keyboard::

    session  |-------------------------------------------|
    user     |----|                 |--------------------|
    turn          |-----------------|
    call          |------|     |----|
    tool                 |-----|

A subagent (a sidechain) hangs on the tool call that started it, also where it has its own file.
What a session repeats of the one it was forked from is taken out in `forked_sessions`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from causepath_analyzer import attributes as names
from causepath_analyzer.model import Link, Skipped
from causepath_analyzer.read import forked_sessions, normalise, values
from causepath_analyzer.read.format import Found, GatheredFormat, JsonFormat
from causepath_analyzer.read.values import Number


class _CacheCreation(Struct, gc=False):
    ephemeral_1h_input_tokens: Number = None


class _Usage(Struct, gc=False):
    input_tokens: Number = None
    output_tokens: Number = None
    cache_read_input_tokens: Number = None
    cache_creation_input_tokens: Number = None
    cache_creation: _CacheCreation | None = None


class _Message(Struct, gc=False):
    id: str | None = None
    model: str | None = None
    content: Raw = values.ABSENT
    stop_reason: str | None = None
    usage: _Usage | None = None


class _Block(Struct, gc=False):
    type: str | None = None
    id: str | None = None
    name: str | None = None
    tool_use_id: str | None = None
    is_error: bool | None = None
    input: Raw = values.ABSENT
    content: Raw = values.ABSENT


class _Result(Struct, gc=False):
    agentId: str | None = None  # noqa: N815


class _Fork(Struct, gc=False):
    sessionId: str | None = None  # noqa: N815


class _Line(Struct, gc=False):
    type: str | None = None
    uuid: str | None = None
    parentUuid: str | None = None  # noqa: N815
    isSidechain: bool | None = None  # noqa: N815
    isMeta: bool | None = None  # noqa: N815
    agentId: str | None = None  # noqa: N815
    sessionId: str | None = None  # noqa: N815
    timestamp: str | None = None
    requestId: str | None = None  # noqa: N815
    message: _Message | None = None
    toolUseResult: Raw = values.ABSENT  # noqa: N815
    snapshot: Raw = values.ABSENT
    leafUuid: str | None = None  # noqa: N815
    forkedFrom: Raw = values.ABSENT  # noqa: N815


class _Entry(Struct, gc=False):
    """What is kept of a line."""

    at_ns: int
    kind: str
    uuid: str
    parent: str
    sidechain: bool
    agent: str
    request: str
    message: _Message | None
    blocks: Sequence[_Block]
    said: bool
    """A person said something with this line."""
    started_agent: str
    forked_from: str
    """The session that this line was copied from."""


class _Call(Struct, gc=False):
    """One message of the model, put together from its lines."""

    id: str
    start_ns: int
    end_ns: int
    message: _Message
    issued: list[str]


class _Tool(Struct, gc=False):
    id: str
    name: str
    start_ns: int
    arguments: str | None = None
    result: str | None = None
    end_ns: int | None = None
    failed: bool = False
    agent: str = ""

    @property
    def span_id(self) -> str:
        """The subagent's own file knows the id of its agent, and only that."""
        return f"agent-{self.agent}" if self.agent else self.id


_LINE: Final = msgspec.json.Decoder(_Line)
_BLOCKS: Final = msgspec.json.Decoder(list[_Block] | str | None)
_RESULT: Final = msgspec.json.Decoder(_Result)
_FORK: Final = msgspec.json.Decoder(_Fork)
_INTERRUPTED: Final = b"[Request interrupted by user"
_LONGEST: Final = 1 << 20
_TOOLS: Final = ("tool_use", "tool_result")
_SYNTHETIC: Final = "<synthetic>"
_RESOURCE: Final = normalise.resource({names.SERVICE_NAME: "claude-code"})


class _Transcript:
    """Gathers the lines of one input; `finish` makes spans of them."""

    def __init__(self) -> None:
        self._sessions: dict[str, list[_Entry]] = {}
        self._seen: set[tuple[str, str]] = set()

    def add(self, document: bytes, where: str) -> Sequence[Found] | None:
        if b'"sessionId"' not in document and b'"type"' not in document:
            return None
        try:
            line = _LINE.decode(document)
        except (msgspec.ValidationError, RecursionError) as error:
            known = b'"sessionId"' in document and b'"parentUuid"' in document
            return [Skipped(where, f"a line that cannot be read: {error}")] if known else None
        if line.sessionId is None:
            is_known = line.type == "file-history-snapshot" and values.present(line.snapshot)
            return () if is_known or (line.type == "summary" and line.leafUuid) else None
        if line.type is None:
            return None
        at_ns = values.time_ns(line.timestamp)
        if at_ns is None:
            if line.message is None:
                return ()
            return [Skipped(where, f"a line of type {line.type} without a timestamp")]
        # Resumed sessions repeat lines.
        if line.uuid and (line.sessionId, line.uuid) in self._seen:
            return ()
        self._seen.add((line.sessionId, line.uuid or ""))
        self._sessions.setdefault(line.sessionId, []).append(_entry(line, at_ns))
        return ()

    def finish(self) -> Iterator[Found]:
        for session, entries in self._sessions.items():
            entries.sort(key=lambda entry: entry.at_ns)
            yield from _session(session, entries)


def _entry(line: _Line, at_ns: int) -> _Entry:
    message = line.message if line.type in ("user", "assistant") else None
    blocks: Sequence[_Block] = ()
    said = False
    if message is not None and values.present(message.content):
        try:
            content = _BLOCKS.decode(message.content)
        except values.DAMAGED:
            content = None
        blocks = (
            [_kept(b) for b in content if b.type in _TOOLS] if isinstance(content, list) else ()
        )
        said = line.type == "user" and not line.isMeta and _is_prompt(content, message.content)
    agent = ""
    if values.present(line.toolUseResult):
        try:
            agent = _RESULT.decode(line.toolUseResult).agentId or ""
        except values.DAMAGED:
            agent = ""
    if message is not None:
        message = replace(message, content=values.ABSENT)  # the texts are not kept
    return _Entry(
        at_ns,
        line.type or "",
        line.uuid or "",
        line.parentUuid or "",
        bool(line.isSidechain),
        line.agentId or "",
        line.requestId or "",
        message,
        blocks,
        said,
        agent,
        _forked_from(line),
    )


def _forked_from(line: _Line) -> str:
    if not values.present(line.forkedFrom):
        return ""
    try:
        return _FORK.decode(line.forkedFrom).sessionId or ""
    except values.DAMAGED:
        return ""


def _kept(block: _Block) -> _Block:
    """`block` without hold on the line that it was read from."""
    return replace(block, input=_copied(block.input), content=_copied(block.content))


def _copied(content: Raw) -> Raw:
    """Content that is worth comparing; a file of megabytes is not."""
    return content.copy() if len(content) <= _LONGEST else values.ABSENT


def _is_prompt(content: list[_Block] | str | None, raw: Raw) -> bool:
    if isinstance(content, str):
        return not content.lstrip().startswith("<")  # commands and their output
    if not content or any(block.type == "tool_result" for block in content):
        return False
    return _INTERRUPTED not in bytes(raw)


def _session(session: str, entries: list[_Entry]) -> Iterator[Found]:
    chains: dict[str, list[_Entry]] = {}
    roots = _chain_roots(entries)
    for entry in entries:
        chains.setdefault(_chain(entry, roots), []).append(entry)
    tools = {chain: _tools(own) for chain, own in chains.items()}
    main = chains.pop("", None)
    if main is not None:
        yield from _main(session, entries, main, tools[""])
    for chain, own in chains.items():
        yield from _subagent(session, chain, own, tools)


def _chain_roots(entries: list[_Entry]) -> Mapping[str, str]:
    """The uuid of the first line of the chain of each sidechain line that names no agent."""
    parents = {e.uuid: e.parent for e in entries if e.sidechain and not e.agent and e.uuid}
    roots: dict[str, str] = {}
    for uuid in parents:
        path: list[str] = []
        at = uuid
        while at not in roots and parents.get(at, "") in parents and len(path) <= len(parents):
            path.append(at)
            at = parents[at]
        root = roots.get(at, at)
        roots.update(dict.fromkeys((*path, uuid), root))
    return roots


def _chain(entry: _Entry, roots: Mapping[str, str]) -> str:
    """Empty for the main conversation, else what its subagent is called."""
    if not entry.sidechain:
        return ""
    return entry.agent or roots.get(entry.uuid, entry.uuid or "sidechain")


def _main(
    session: str, entries: list[_Entry], own: list[_Entry], tools: Mapping[str, _Tool]
) -> Iterator[Found]:
    start_ns, end_ns = entries[0].at_ns, entries[-1].at_ns
    origin = next((e.forked_from for e in entries if e.forked_from), None)
    links = (Link(origin),) if origin is not None else ()
    name = "claude-code session"
    yield _span(session, session, "", name, "agent", start_ns, end_ns, links=links)
    prompts = [i for i, entry in enumerate(own) if entry.said]
    idle_ns = start_ns
    for number, first in enumerate(prompts or [0]):
        last = prompts[number + 1] if number + 1 < len(prompts) else len(own)
        lines = own[first if number else 0 : last]
        turn_ns = own[first].at_ns
        turn = f"{session}-{own[first].uuid}"
        worked = [e.at_ns for e in lines if e.message is not None and e.at_ns >= turn_ns]
        done_ns = max(worked, default=turn_ns)
        if turn_ns > idle_ns:
            yield _human(session, number, idle_ns, turn_ns)
        yield _span(session, turn, session, "turn", "agent", turn_ns, done_ns)
        yield from _work(session, turn, lines, tools)
        idle_ns = done_ns
    if end_ns > idle_ns:
        yield _human(session, len(prompts), idle_ns, end_ns)


def _human(session: str, number: int, start_ns: int, end_ns: int) -> Found:
    identity = f"{session}-user-{number}"
    return _span(session, identity, session, "waiting for the user", "human", start_ns, end_ns)


def _subagent(
    session: str, chain: str, own: list[_Entry], tools: Mapping[str, Mapping[str, _Tool]]
) -> Iterator[Found]:
    parent = f"agent-{chain}"
    if not own[0].agent:
        # Older releases say nothing: the latest tool call around the first line started it.
        around = [
            tool
            for tool in tools.get("", {}).values()
            if tool.name in ("Task", "Agent")
            and tool.start_ns <= own[0].at_ns
            and (tool.end_ns is None or own[0].at_ns <= tool.end_ns)
        ]
        latest = max(around, key=lambda tool: tool.start_ns, default=None)
        parent = latest.span_id if latest is not None else session
    run = f"run-{chain}"
    name = f"subagent {chain}"
    yield _span(session, run, parent, name, "agent", own[0].at_ns, own[-1].at_ns)
    yield from _work(session, run, own, tools[chain])


def _work(
    session: str, parent: str, lines: Sequence[_Entry], tools: Mapping[str, _Tool]
) -> Iterator[Found]:
    """The model calls of `lines` and the tool calls they asked for."""
    for call in _calls(lines):
        message = call.message
        usage = message.usage or _Usage()
        creation = usage.cache_creation
        yield _span(
            session,
            call.id,
            parent,
            f"chat {message.model}" if message.model else "chat",
            "llm",
            call.start_ns,
            call.end_ns,
            {
                names.MODEL[0]: message.model,
                names.PROVIDER[0]: "anthropic",
                names.EXCLUSIVE_INPUT_TOKENS: usage.input_tokens,
                names.EXCLUSIVE_OUTPUT_TOKENS: usage.output_tokens,
                names.CACHE_READ_TOKENS[0]: usage.cache_read_input_tokens,
                names.CACHE_WRITE_TOKENS[0]: usage.cache_creation_input_tokens,
                names.CACHE_WRITE_1H_TOKENS[0]: creation and creation.ephemeral_1h_input_tokens,
                names.FINISH_REASONS[0]: message.stop_reason,
                names.STREAMED[0]: True,
                names.OUTPUT_MESSAGES: _asked_for(call.issued),
            },
        )
        for issued in call.issued:
            tool = tools[issued]
            yield _span(
                session,
                tool.span_id,
                parent,
                f"execute_tool {tool.name}",
                "tool",
                tool.start_ns,
                tool.end_ns,
                {
                    names.TOOL_NAME[0]: tool.name,
                    names.TOOL_CALL_ID[0]: tool.id,
                    "gen_ai.tool.call.arguments": tool.arguments,
                    "gen_ai.tool.call.result": tool.result,
                },
                failed=tool.failed,
            )


def _asked_for(issued: list[str]) -> str | None:
    calls = [{"type": "tool_call", "id": call} for call in issued]
    return msgspec.json.encode(calls).decode() if calls else None


def _calls(lines: Sequence[_Entry]) -> list[_Call]:
    calls: dict[tuple[str, str], _Call] = {}
    identities: set[str] = set()
    cause_ns: int | None = None
    for entry in lines:
        message = entry.message
        if message is None:
            continue
        if entry.kind == "assistant" and message.id and message.model != _SYNTHETIC:
            key = message.id, entry.request
            call = calls.get(key)
            if call is None:
                repeated = message.id in identities
                identity = f"{message.id}-{entry.request}" if repeated else message.id
                identities.add(message.id)
                start_ns = cause_ns if cause_ns is not None else entry.at_ns
                call = calls[key] = _Call(identity, start_ns, entry.at_ns, message, [])
            elif message.usage is not None:
                call.message = message
            call.end_ns = entry.at_ns
            call.issued += [b.id for b in entry.blocks if b.type == "tool_use" and b.id]
        cause_ns = entry.at_ns
    return list(calls.values())


def _tools(lines: Sequence[_Entry]) -> Mapping[str, _Tool]:
    tools: dict[str, _Tool] = {}
    for entry in lines:
        for block in entry.blocks:
            if entry.kind == "assistant" and block.type == "tool_use" and block.id:
                tool = _Tool(
                    block.id, block.name or "tool", entry.at_ns, values.content(block.input)
                )
                tools.setdefault(block.id, tool)
    for entry in lines:
        for block in entry.blocks:
            answered = tools.get(block.tool_use_id or "") if block.type == "tool_result" else None
            if answered is not None:
                answered.end_ns = entry.at_ns
                answered.failed = block.is_error is True
                answered.agent = entry.started_agent
                answered.result = values.content(block.content)
    return tools


def _span(
    session: str,
    identity: str,
    parent: str,
    name: str,
    category: str,
    start_ns: int,
    end_ns: int | None,
    attributes: Mapping[str, object] | None = None,
    *,
    failed: bool = False,
    links: tuple[Link, ...] = (),
) -> Found:
    emitted = normalise.Emitted(
        session, identity, parent, name, "internal", start_ns, end_ns, failed, links
    )
    said = {names.CATEGORY: category, names.SESSION[0]: session, **(attributes or {})}
    return normalise.span(emitted, said, _RESOURCE, forked_sessions.SCOPE)


def _begin() -> JsonFormat:
    transcript = _Transcript()
    return JsonFormat(_NAME, transcript.add, transcript.finish)


_NAME: Final = "claude-code"
FORMAT = GatheredFormat(_NAME, _begin, forked_sessions.without_repeats)
