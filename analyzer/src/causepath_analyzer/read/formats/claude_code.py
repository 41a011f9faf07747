"""Transcripts of Claude Code: one JSON line per content block, a session is a trace.

Lines of one message repeat its id and its usage: they are one model call. Other programs that keep
the same records (iFlow) write a reply in pieces under several ids, which repeat each other's tool
calls: one call as well. A transcript says when a line was written, not when a request was sent, so
a call lasts from the line that caused it (a prompt, a tool's result) to its own last line; a tool
lasts from the line that asked for it to the line with its result. Between an answer and the next
prompt a person was at the keyboard, or a task in the background or another agent was waited for::

    session  |-------------------------------------------|
    user     |----|                 |--------------------|
    turn          |-----------------|
    call          |------|     |----|
    tool                 |-----|

What begins a turn is in `turns`. A subagent (a sidechain) hangs on the tool call that started it,
also where it has its own file. What a session repeats of the one it was forked from is taken out in
`forked_sessions`.

Releases from 1.0.10 to 2.1.96 wrote no reason to end, and the counts that stood at the head of the
stream: where that shows, as there are far fewer tokens than characters, they are lower bounds.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from causepath_analyzer import attributes as names
from causepath_analyzer.model import Link, Skipped, Span
from causepath_analyzer.read.format import Found, GatheredFormat, JsonFormat, Repeats
from causepath_analyzer.read.formats import forked_sessions, turns, values
from causepath_analyzer.read.formats.values import Number
from causepath_analyzer.read.meaning import normalise
from causepath_analyzer.read.meaning.asked import labelled


class _CacheCreation(Struct, gc=False):
    ephemeral_1h_input_tokens: Number = None


class _Usage(Struct, gc=False):
    input_tokens: Number = None
    output_tokens: Number = None
    cache_read_input_tokens: Number = None
    cache_creation_input_tokens: Number = None
    cache_creation: _CacheCreation | None = None
    service_tier: object = None
    speed: object = None
    inference_geo: object = None
    server_tool_use: object = None


class _Message(Struct, gc=False):
    id: str | None = None
    model: str | None = None
    content: Raw = values.ABSENT
    stop_reason: str | None = None
    usage: _Usage | None = None


class _Block(Struct, gc=False):
    type: str | None = None
    text: str | None = None
    thinking: str | None = None
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


class _Origin(Struct, gc=False):
    kind: str | None = None


class _Compaction(Struct, gc=False):
    durationMs: Number = None  # noqa: N815


class _Line(Struct, gc=False):
    type: str | None = None
    subtype: str | None = None
    uuid: str | None = None
    parentUuid: str | None = None  # noqa: N815
    isSidechain: bool | None = None  # noqa: N815
    isMeta: bool | None = None  # noqa: N815
    isCompactSummary: bool | None = None  # noqa: N815
    isApiErrorMessage: bool | None = None  # noqa: N815
    origin: Raw = values.ABSENT
    compactMetadata: Raw = values.ABSENT  # noqa: N815
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
    """The part of a line that is kept."""

    at_ns: int
    kind: str
    uuid: str
    parent: str
    sidechain: bool
    agent: str
    request: str
    message: _Message | None
    blocks: Sequence[_Block]
    voice: turns.Voice
    waiting: turns.Waiting
    size: int
    """Characters that the model wrote, but for the tools it asked for."""
    failed: bool
    """The call failed, which the line tells instead of a reply."""
    compacted: bool
    compacted_ns: int | None
    """How long the conversation was shortened for, which the line tells the end of."""
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
    size: int = 0
    """Characters that the model wrote."""
    failed: bool = False
    is_partial: bool = False


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
        return f"{_AGENT}{self.agent}" if self.agent else self.id


_LINE: Final = msgspec.json.Decoder(_Line)
_BLOCKS: Final = msgspec.json.Decoder(list[_Block] | str | None)
_RESULT: Final = msgspec.json.Decoder(_Result)
_FORK: Final = msgspec.json.Decoder(_Fork)
_COMPACTION: Final = msgspec.json.Decoder(_Compaction)
_ORIGIN: Final = msgspec.json.Decoder(_Origin)
_LONGEST: Final = 1 << 20
_TOOLS: Final = ("tool_use", "tool_result")
_SYNTHETIC: Final = "<synthetic>"
_AGENT: Final = "agent-"
_ANTHROPIC: Final = "claude"
_COMPACTED: Final = "compact_boundary"
_IN_PIECES_NS: Final = 100_000_000
"""A model that is asked again takes longer to answer."""
_PER_TOKEN: Final = 16
"""No text has so many characters for each of its tokens."""
_PER_TOKEN_SO_FAR: Final = 8
"""No text has so many on average; where counts may be those of the head of a stream, that shows."""
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
    voice: turns.Voice = "none"
    waiting = turns.USER
    size = 0
    if message is not None:
        content: list[_Block] | str | None = None
        if values.present(message.content):
            try:
                content = _BLOCKS.decode(message.content)
            except values.DAMAGED:
                content = None
        if isinstance(content, list):
            blocks = [_kept(block) for block in content if block.type in _TOOLS]
            size = sum(len(b.text or "") + len(b.thinking or "") for b in content)
        elif isinstance(content, str):
            size = len(content)
        if line.type == "assistant":
            is_reply = message.model != _SYNTHETIC or line.isApiErrorMessage is True
            voice = "reply" if is_reply else "none"
        elif any(block.type == "tool_result" for block in blocks):
            voice = "result"
        elif content:
            voice, waiting = turns.heard(
                content if isinstance(content, str) else _texts(content),
                is_meta=bool(line.isMeta or line.isCompactSummary),
                origin=_origin(line),
            )
        message = replace(message, content=values.ABSENT)  # the texts are not kept
    agent = ""
    if values.present(line.toolUseResult):
        try:
            agent = _RESULT.decode(line.toolUseResult).agentId or ""
        except values.DAMAGED:
            agent = ""
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
        voice,
        waiting,
        size,
        line.isApiErrorMessage is True,
        line.type == "system" and line.subtype == _COMPACTED,
        _compacted_ns(line),
        agent,
        _forked_from(line),
    )


def _texts(content: list[_Block]) -> str:
    """Joins what is said in `content`; a picture says nothing."""
    return "\n".join(block.text for block in content if block.text)


def _origin(line: _Line) -> str | None:
    if not values.present(line.origin):
        return None
    try:
        return _ORIGIN.decode(line.origin).kind
    except values.DAMAGED:
        return None


def _compacted_ns(line: _Line) -> int | None:
    if not values.present(line.compactMetadata):
        return None
    try:
        took = _COMPACTION.decode(line.compactMetadata).durationMs
    except values.DAMAGED:
        return None
    return normalise.nanoseconds(took, names.MILLISECOND)


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
    has_heads = _counts_heads(own)
    began = turns.beginnings([_record(entry) for entry in own])
    idle_ns = start_ns
    for number, begun in enumerate(began or [turns.Beginning(0, turns.USER)]):
        last = began[number + 1].index if number + 1 < len(began) else len(own)
        lines = own[begun.index if number else 0 : last]
        first = own[begun.index]
        worked = [e.at_ns for e in lines if e.voice in _WORK and e.at_ns >= first.at_ns]
        done_ns = max(worked, default=first.at_ns)
        shortened = [span for span in _compactions(lines, first.at_ns) if span[0] < done_ns]
        before = own[began[number - 1].index if number else 0 : begun.index]
        yield from _idle(session, number, before, (idle_ns, first.at_ns), begun.waiting)
        turn = f"{session}-{first.uuid}"
        yield _span(session, turn, session, "turn", "agent", first.at_ns, done_ns)
        yield from _command(session, turn, own[begun.index : last])
        for from_ns, to_ns in shortened:
            yield _compaction(session, turn, from_ns, to_ns)
        yield from _work(session, turn, lines, tools, has_heads=has_heads)
        idle_ns = done_ns
    after = own[began[-1].index if began else 0 :]
    yield from _idle(session, len(began), after, (idle_ns, end_ns), turns.USER)


_WORK: Final = ("reply", "result", "stop")


def _command(session: str, turn: str, lines: Sequence[_Entry]) -> Iterator[Found]:
    """The command of the person's that a turn of `lines` begins with, until what it printed."""
    first = lines[0]
    printed = first.at_ns
    for entry in lines[1:] if first.voice == "command" else ():
        if entry.voice not in ("command", "output", "meta", "none"):
            break
        printed = entry.at_ns if entry.voice == "output" else printed
    if printed > first.at_ns:
        identity = f"{turn}-command"
        yield _span(session, identity, turn, "the user's command", "other", first.at_ns, printed)


def _record(entry: _Entry) -> turns.Record:
    return turns.Record(
        entry.at_ns,
        entry.voice,
        entry.waiting,
        tuple(b.id for b in entry.blocks if b.type == "tool_use" and b.id),
        tuple(b.tool_use_id for b in entry.blocks if b.type == "tool_result" and b.tool_use_id),
    )


def _idle(
    session: str,
    number: int,
    lines: Sequence[_Entry],
    between: tuple[int, int],
    waiting: turns.Waiting,
) -> Iterator[Found]:
    """The time `between` two turns, in which the conversation may have been shortened."""
    from_ns, end_ns = between
    category, name = waiting
    shortened = [
        (start_ns, stop_ns)
        for start_ns, stop_ns in _compactions(lines, None)
        if from_ns <= start_ns and stop_ns <= end_ns
    ]
    for part, (start_ns, stop_ns) in enumerate([*shortened, (end_ns, end_ns)]):
        if start_ns > from_ns:
            identity = f"{session}-user-{number}{f'-{part}' if part else ''}"
            yield _span(session, identity, session, name, category, from_ns, start_ns)
        if part < len(shortened):
            yield _compaction(session, session, start_ns, stop_ns)
        from_ns = max(from_ns, stop_ns)


def _compactions(lines: Sequence[_Entry], since_ns: int | None) -> list[tuple[int, int]]:
    """Finds when the conversation was shortened.

    It took as long as the record of its end says, else since what came before. Without `since_ns`
    only a command of the person asks for it; else it is not known when it began.
    """
    found: list[tuple[int, int]] = []
    before_ns = since_ns
    for entry in lines:
        if entry.compacted:
            took, at_ns = entry.compacted_ns, entry.at_ns
            start_ns = before_ns if took is None else max(before_ns or 0, at_ns - took)
            found.append((at_ns if start_ns is None else min(start_ns, at_ns), at_ns))
            before_ns = at_ns
        elif entry.voice == "command" or (since_ns is not None and entry.message is not None):
            before_ns = max(before_ns or 0, entry.at_ns)
    return found


def _compaction(session: str, parent: str, start_ns: int, end_ns: int) -> Found:
    identity = f"{session}-compaction-{end_ns}"
    return _span(session, identity, parent, _COMPACTION_NAME, "other", start_ns, end_ns)


_COMPACTION_NAME: Final = "compaction"


def _subagent(
    session: str, chain: str, own: list[_Entry], tools: Mapping[str, Mapping[str, _Tool]]
) -> Iterator[Found]:
    parent = f"{_AGENT}{chain}"
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
    has_heads = _counts_heads(own)
    began = turns.beginnings([_record(entry) for entry in own])[1:]
    parts = [0, *(begun.index for begun in began), len(own)]
    for number, (first, last) in enumerate(pairwise(parts)):
        # Asked again, it goes on with what it knows.
        lines = own[first:last]
        run = f"run-{_part(chain, number)}"
        above = f"{_AGENT}{_part(chain, number)}" if number else parent
        name = f"subagent {chain}"
        yield _span(session, run, above, name, "agent", lines[0].at_ns, lines[-1].at_ns)
        yield from _work(session, run, lines, tools[chain], has_heads=has_heads)


def _work(
    session: str,
    parent: str,
    lines: Sequence[_Entry],
    tools: Mapping[str, _Tool],
    *,
    has_heads: bool,
) -> Iterator[Found]:
    """The model calls of `lines` and the tool calls they asked for."""
    for call in _calls(lines, tools, has_heads=has_heads):
        message = call.message
        usage = message.usage or _Usage()
        creation = usage.cache_creation
        model = None if message.model == _SYNTHETIC else message.model
        yield _span(
            session,
            call.id,
            parent,
            f"chat {model}" if model else "chat",
            "llm",
            call.start_ns,
            call.end_ns,
            {
                names.MODEL[0]: model,
                names.PROVIDER[0]: "anthropic" if model and _ANTHROPIC in model else None,
                names.FINISH_REASONS[0]: message.stop_reason,
                names.STREAMED[0]: True,
                names.OUTPUT_MESSAGES: _asked_for(call.issued),
                **(
                    {
                        names.EXCLUSIVE_INPUT_TOKENS: usage.input_tokens,
                        names.EXCLUSIVE_OUTPUT_TOKENS: usage.output_tokens,
                        names.CACHE_READ_TOKENS[0]: usage.cache_read_input_tokens,
                        names.CACHE_WRITE_TOKENS[0]: usage.cache_creation_input_tokens,
                        names.CACHE_WRITE_1H_TOKENS[0]: creation
                        and creation.ephemeral_1h_input_tokens,
                        **_served(usage),
                        names.USAGE_PARTIAL: call.is_partial or None,
                    }
                    if _is_counted(usage)
                    else {}
                ),
            },
            failed=call.failed,
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


def _is_counted(usage: _Usage) -> bool:
    """Tells whether the call was counted: no call uses nothing."""
    counts = (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_input_tokens,
        usage.cache_creation_input_tokens,
    )
    return any(normalise.whole(count) for count in counts)


def _served(usage: _Usage) -> dict[str, object]:
    """Tells what besides tokens sets the price of a call."""
    said: dict[str, object] = {
        names.SERVICE_TIER[0]: usage.service_tier,
        names.SPEED[0]: usage.speed,
        names.GEOGRAPHY[0]: usage.inference_geo,
    }
    told = {name: said[name] for name in said if isinstance(said[name], str)}
    tools = usage.server_tool_use
    searches = tools.get("web_search_requests") if isinstance(tools, dict) else None
    return {**told, names.WEB_SEARCHES[0]: searches} if searches else told


def _asked_for(issued: list[str]) -> str | None:
    calls = [{"type": "tool_call", "id": call} for call in issued]
    return msgspec.json.encode(calls).decode() if calls else None


def _calls(lines: Sequence[_Entry], tools: Mapping[str, _Tool], *, has_heads: bool) -> list[_Call]:
    calls: dict[tuple[str, str], _Call] = {}
    identities: set[str] = set()
    asked: dict[str, _Call] = {}
    """The call that asked for each tool."""
    latest: _Call | None = None
    cause_ns: int | None = None
    owes = False
    for entry in lines:
        message = entry.message
        if message is None:
            continue
        if entry.kind == "assistant" and entry.voice == "reply":
            issued = [b.id for b in entry.blocks if b.type == "tool_use" and b.id]
            key = message.id or entry.uuid, entry.request
            call = calls.get(key) or _begun(entry, issued, asked, latest)
            if call is None:
                repeated = key[0] in identities
                identity = f"{key[0]}-{entry.request or entry.uuid}" if repeated else key[0]
                identities.add(key[0])
                start_ns = cause_ns if cause_ns is not None else entry.at_ns
                call = _Call(identity, start_ns, entry.at_ns, message, [])
            elif message.usage is not None and _is_counted(message.usage):
                call.message = message
            calls[key] = latest = call
            call.end_ns = max(call.end_ns, entry.at_ns)
            call.failed = call.failed or entry.failed
            call.size += entry.size
            new = [tool for tool in dict.fromkeys(issued) if tool not in asked]
            call.issued += new
            call.size += sum(len(tools[tool].arguments or "") for tool in new)
            asked.update(dict.fromkeys(new, call))
        elif entry.kind != "assistant":
            latest = None
        if entry.voice == "machine" and owes:
            continue  # the model was asked before it came
        owes = entry.voice == "result"
        cause_ns = entry.at_ns
    found = list({id(call): call for call in calls.values()}.values())
    for call in found:
        call.is_partial = has_heads or _counts_too_few(call.message, call.size)
    return found


def _begun(
    entry: _Entry, issued: Sequence[str], asked: Mapping[str, _Call], latest: _Call | None
) -> _Call | None:
    """The call of which `entry` is one more piece, under an id of its own."""
    of = next((asked[tool] for tool in issued if tool in asked), None)
    if of is not None and of is latest:
        return of  # nobody said anything meanwhile
    if of is None and latest is not None and not entry.request and not entry.failed:
        of = latest
    return of if of is not None and entry.at_ns - of.end_ns <= _IN_PIECES_NS else None


def _counts_too_few(message: _Message, size: int) -> bool:
    """Tells whether `message` has fewer tokens than its `size` in characters can have."""
    counted = normalise.whole(message.usage and message.usage.output_tokens)
    if counted is None:
        return False
    most = _PER_TOKEN_SO_FAR if message.stop_reason is None else _PER_TOKEN
    return size > most * max(counted, 1)


def _counts_heads(entries: Sequence[_Entry]) -> bool:
    """Tells whether the counts in `entries` are those of the heads of streams: no reply has a
    reason to end, and of one they show that."""
    sizes: dict[tuple[str, str], int] = {}
    last: dict[tuple[str, str], _Message] = {}
    for entry in entries:
        if entry.voice == "reply" and entry.message is not None and not entry.failed:
            key = entry.message.id or entry.uuid, entry.request
            sizes[key] = sizes.get(key, 0) + entry.size
            last[key] = entry.message
    return all(message.stop_reason is None for message in last.values()) and any(
        _counts_too_few(message, sizes[key]) for key, message in last.items()
    )


def _asked_again(agent: str, agents: dict[str, int]) -> str:
    """Names the part of the work of `agent` that was asked for now."""
    if not agent:
        return ""
    agents[agent] = agents.get(agent, -1) + 1
    return _part(agent, agents[agent])


def _part(agent: str, number: int) -> str:
    return f"{agent}-{number}" if number else agent


def _tools(lines: Sequence[_Entry]) -> Mapping[str, _Tool]:
    tools: dict[str, _Tool] = {}
    agents: dict[str, int] = {}
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
                answered.agent = _asked_again(entry.started_agent, agents)
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
    return labelled(normalise.span(emitted, said, _RESOURCE, forked_sessions.SCOPE), said)


def _begin() -> JsonFormat:
    transcript = _Transcript()
    return JsonFormat(_NAME, transcript.add, transcript.finish)


def _settle(spans: dict[str, list[Span]]) -> Mapping[str, Repeats]:
    found = dict(forked_sessions.without_repeats(spans))
    for name, own in spans.items():
        if own[0].scope == forked_sessions.SCOPE:
            known = found.get(name, Repeats(0, ""))
            notes = [known.note, *_missing(own)]
            if any(notes):
                found[name] = Repeats(known.records, "; ".join(filter(None, notes)))
    return found


def _missing(own: Sequence[Span]) -> Iterator[str]:
    """Lists what was used in the session with the spans `own` and is in no record of it."""
    shortened = sum(span.name == _COMPACTION_NAME for span in own)
    if shortened:
        times = "once" if shortened == 1 else f"{shortened:,} times"
        yield f"shortened {times}: what the model used to sum up is in no record"
    identities = {span.span_id for span in own}
    asked = [s.span_id.removeprefix(_AGENT) for s in own if s.span_id.startswith(_AGENT)]
    away = sum(
        f"run-{agent}" not in identities and f"run-{agent.rpartition('-')[0]}" not in identities
        for agent in asked
    )
    if away:
        many = "a subagent is" if away == 1 else f"{away:,} subagents are"
        yield f"{many} not here, and no call in there counted: add subagents/agent-*.jsonl"


_NAME: Final = "claude-code"
FORMAT = GatheredFormat(_NAME, _begin, _settle)
