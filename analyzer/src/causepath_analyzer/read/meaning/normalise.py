"""One vocabulary for every convention: attributes of any emitter become a `Span`.

Readers hand over what the wire said, decoded but not judged; here units, spellings and meanings
are settled, so that no analysis asks where a trace came from. What nobody said stays unknown.
"""

import math
import re
from collections.abc import Container, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from sys import intern
from typing import Any, Final, TypeVar, get_args

import msgspec
from msgspec import Struct

from causepath_analyzer import attributes as names
from causepath_analyzer.model import (
    ANSWERS_FOR_MANY,
    NO_TERMS,
    Block,
    Blocks,
    CallSite,
    Category,
    Content,
    Flow,
    Link,
    LoopKind,
    ModelCall,
    Outcome,
    Retrieval,
    RunOutcome,
    Span,
    SpanKind,
    Terms,
    Tokens,
    ToolCall,
    Transport,
)
from causepath_analyzer.read.meaning import categories, content

T = TypeVar("T")

Attributes = Mapping[str, object]
"""Decoded values of the attributes in ``attributes.UNDERSTOOD`` that a span carries."""

_NO_INT = 2**63
"""No count and no time of a real run is as large; such numbers are treated as absent."""


Facts = dict[str, object]
"""What a span says, by the names of `attributes.FIELDS`: of every table the first name counts."""


class Resource(Struct, frozen=True, gc=False):
    """The facts that all spans of one process have in common."""

    service: str | None = None
    host: str = ""
    sdk: str | None = None
    program: str | None = None


class Emitted(Struct, frozen=True, gc=False):
    """The part of a span that every wire format has in one form or another.

    Ids are in canonical form (`span_id`, `trace_id`), times in ns since the epoch; ``end_ns`` is
    ``None`` where the record has no end.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: SpanKind
    start_ns: int
    end_ns: int | None
    failed: bool = False
    links: tuple[Link, ...] = ()


def resource(attributes: Attributes) -> Resource:
    """Reads the resource that `attributes` describe; unnamed services have no name."""
    service = nonempty(attributes.get(names.SERVICE_NAME))
    host = next((h for name in names.HOST if (h := nonempty(attributes.get(name)))), None)
    if service is not None and service.startswith("unknown_service"):
        service = None
    return Resource(
        service=service,
        # Without a host, processes are told apart by their service: two services may be two hosts.
        host=host if host is not None else f"service:{service or ''}",
        sdk=nonempty(attributes.get(names.SDK_NAME)),
        program=nonempty(attributes.get(names.PROGRAM)),
    )


NO_RESOURCE: Final = Resource(host="service:")
RESOURCE_ATTRIBUTES = frozenset((names.SERVICE_NAME, names.SDK_NAME, names.PROGRAM, *names.HOST))
"""Every attribute of a resource that is worth decoding."""


def span(
    emitted: Emitted,
    attributes: Attributes,
    resource: Resource,
    scope: str,
    scope_version: str | None = None,
) -> Span:
    """Makes the span `emitted` with everything its attributes say, in our words."""
    return of_parts(
        emitted.trace_id,
        emitted.span_id,
        emitted.parent_id,
        emitted.name,
        emitted.kind,
        emitted.start_ns,
        emitted.end_ns,
        emitted.failed,
        emitted.links,
        attributes,
        resource,
        scope,
        scope_version,
    )


def of_parts(
    trace_id: str,
    span_id: str,
    parent_id: str,
    name: str,
    kind: SpanKind,
    start_ns: int,
    end_ns: int | None,
    failed: bool,
    links: tuple[Link, ...],
    attributes: Attributes,
    resource: Resource,
    scope: str,
    scope_version: str | None,
) -> Span:
    """Makes the same as `span` from the parts of an `Emitted`, for readers of millions of them."""
    if len(attributes) <= _FEW:
        told = _meaning_of_few(name, kind, start_ns, failed, attributes, resource, scope)
    else:
        told = meaning(name, kind, start_ns, failed, attributes, resource, scope)
    if told.pending_parent is not None and parent_id:
        # Logfire tells of a span that has begun by a record below it: an early copy of the span.
        span_id, parent_id, end_ns = parent_id, told.pending_parent, None
    first_token_ns = attributes.get(names.FIRST_TOKEN_NS)
    if isinstance(first_token_ns, int) and end_ns is not None and first_token_ns > end_ns:
        # Its emitter ended the span when the stream began, and went on to note what came of it.
        end_ns = first_token_ns
    return Span(
        trace_id,
        span_id,
        parent_id,
        told.filled or name,
        start_ns - told.before_ns,
        end_ns,
        told.category,
        kind,
        resource.service,
        resource.host,
        told.error,
        told.model_call,
        told.tool_call,
        links,
        told.session,
        told.where,
        scope or None,
        told.user,
        scope_version,
        told.repeats,
        told.site,
        told.flow,
        told.is_inferred,
        resource.program,
        told.run_outcome,
        told.left_open,
        told.exceeded,
        told.retrieval,
    )


_FEW: Final = 3
_MOST_KNOWN: Final = 4096
_few: dict[object, "Meaning"] = {}


def _meaning_of_few(
    name: str,
    kind: SpanKind,
    start_ns: int,
    failed: bool,
    attributes: Attributes,
    resource: Resource,
    scope: str,
) -> "Meaning":
    """Gives the same as `meaning` for spans that say little, and so the same again and again."""
    key = (name, kind, failed, scope, resource.sdk, *attributes.items())
    try:
        known = _few.get(key)
    except TypeError:  # a list
        return meaning(name, kind, start_ns, failed, attributes, resource, scope)
    if known is None:
        known = meaning(name, kind, start_ns, failed, attributes, resource, scope)
        if known.model_call is None and known.before_ns == 0:  # no time that depends on the start
            if len(_few) >= _MOST_KNOWN:
                _few.clear()
            _few[key] = known
    return known


class Meaning(Struct, frozen=True, gc=False):
    """The meaning of a span's attributes. Spans of equal attributes can share one."""

    category: Category
    error: str | None = None
    model_call: ModelCall | None = None
    tool_call: ToolCall | None = None
    session: str | None = None
    where: str | None = None
    user: str | None = None
    pending_parent: str | None = None
    repeats: ModelCall | None = None
    before_ns: int = 0
    """How long what the span tells of went on before the span's own start."""
    filled: str | None = None
    """What the span is called, where its name is a template."""
    site: CallSite | None = None
    flow: Flow | None = None
    is_inferred: bool = False
    run_outcome: RunOutcome | None = None
    left_open: bool = False
    exceeded: tuple[str, ...] = ()
    retrieval: Retrieval | None = None


def meaning(
    name: str,
    kind: SpanKind,
    start_ns: int,
    failed: bool,
    attributes: Attributes,
    resource: Resource,
    scope: str,
) -> Meaning:
    """Reads what `attributes` say about the span `name`."""
    category = categories.of(name, kind, attributes, scope)
    facts = facts_of(attributes)
    filled = None
    if scope.startswith(names.LOGFIRE):
        filled = _filled(name, attributes)
    elif name == names.HAYSTACK_COMPONENT:
        filled = nonempty(attributes.get(names.COMPONENT_NAME))
    if category == "llm" and not attributes.keys().isdisjoint(names.REPLIES):
        facts = facts | _of_reply(next(attributes[n] for n in names.REPLIES if n in attributes))
    is_tool = category == "tool" or (category == "human" and "tool_name" in facts)
    pending = None
    if facts.get("pending") == "pending_span":
        pending = _pending_parent(facts.get("pending_parent"))
    before_ns = 0
    if facts.get("pending") == "log" and category == "llm" and "log_duration" in facts:
        # Logfire ends the span of a stream at its headers and logs when the last byte has come.
        before_ns = nanoseconds(facts["log_duration"], names.SECOND) or 0
    call = repeats = None
    if category in ("llm", "embedding"):
        call = _model_call(
            name, start_ns, attributes, facts, resource, scope, rest_of_stream=before_ns > 0
        )
        if category == "llm" and categories.is_guessed(name, attributes, scope):
            repeats = call
    elif may_sum(category, name) and not USED.isdisjoint(facts):
        repeats = _sum(name, attributes, facts, resource)
    return Meaning(
        category,
        _error(failed, facts),
        call,
        _tool_call(name, facts) if is_tool else None,
        session(facts.get("session")),
        _where(facts) if "file" in facts else None,
        nonempty(facts.get("user")),
        pending,
        repeats,
        before_ns,
        filled,
        _site(facts) if "stack" in facts else None,
        _one_of(_FLOWS, facts["flow"]) if "flow" in facts else None,
        "run_inferred" in facts and flag(facts["run_inferred"]) is True,
        _one_of(_OUTCOMES_OF_RUNS, facts["run_outcome"]) if "run_outcome" in facts else None,
        "unfinished" in facts and flag(facts["unfinished"]) is True,
        _kinds_of_budgets(facts["exceeded"]) if "exceeded" in facts else (),
        content.retrieval(facts, attributes)
        if category == "retrieval" and not _ranks(name, attributes)
        else None,
    )


def _ranks(name: str, attributes: Attributes) -> bool:
    """Tells whether a retrieval puts what another one found in order: it is given documents."""
    said = (name, *(attributes.get(kind) for kind in names.SPAN_KINDS))
    return any(isinstance(one, str) and "rank" in one.casefold() for one in said)


def _filled(template: str, attributes: Attributes) -> str | None:
    """Writes the name that Logfire makes a message of, with what is known of its parts put in."""
    if "{" not in template:
        return None

    def part(match: re.Match[str]) -> str:
        field = names.FILLED.get(match[1])
        value = attributes.get(field) if field is not None else None
        return value if isinstance(value, str) else match[0]

    name = _PART.sub(part, template)
    return None if name == template else name


_PART: Final = re.compile(r"\{([a-z_.\[\]]{1,40})(?:![rs])?\}")


def may_sum(category: Category, name: str) -> bool:
    """Tells whether a span may be around several calls and repeat the sum of their tokens."""
    return category in _SUMMING and not categories.only_counts(name)


_SUMMING: Final = frozenset(("agent", "chain", "tool", "guardrail", "other"))
USED: Final = frozenset(
    ("input", "output", "exclusive_input", "exclusive_output", "usage_details", "usage_raw")
)


def _pending_parent(value: object) -> str:
    found = nonempty(value) or ""
    return "" if not found.strip("0") else found.lower()


def why_linked(attributes: Attributes) -> str | None:
    """Reads why a link is there, if one of its `attributes` says so."""
    why = nonempty(attributes.get(names.LINK))
    if why is None:
        said = attributes.get(names.LINK_TYPE)
        why = names.LINK_TYPES.get(said.upper()) if isinstance(said, str) else None
    return why


def session(said: object) -> str | None:
    """Reads the conversation. Some give the id of the reply before, which is another one every
    turn."""
    found = nonempty(said)
    return None if found is None or found.startswith("resp_") else found


def facts_of(attributes: Attributes) -> Facts:
    facts: Facts = {}
    ranks: dict[str, int] = {}
    fields = names.FIELDS
    for name, value in attributes.items():
        entry = fields.get(name)
        if entry is None or value is None or value == "":
            continue
        field, rank = entry
        if field not in facts or rank < ranks[field]:
            facts[field], ranks[field] = value, rank
    return facts


def _model_call(
    name: str,
    start_ns: int,
    attributes: Attributes,
    facts: Facts,
    resource: Resource,
    scope: str,
    *,
    rest_of_stream: bool = False,
) -> ModelCall:
    ttft_ns = _time_to_first_token(start_ns, attributes, facts, unquoted(facts.get("provider")))
    return call_of(
        _words_of_call(facts, rest_of_stream=rest_of_stream),
        name,
        facts,
        attributes,
        tokens(attributes, facts, resource),
        ttft_ns,
        streamed(name, attributes, facts, scope, ttft_ns),
        stopped=_stopped(facts),
    )


def _words_of_call(facts: Facts, *, rest_of_stream: bool = False) -> ModelCall:
    """Reads what many model calls say in the same words."""
    model, provider = unquoted(facts.get("model")), unquoted(facts.get("provider"))
    is_named = "model" in facts or "provider" in facts
    return ModelCall(
        model=model,
        provider=_provider(provider, model, unquoted(facts.get("served_at")) if is_named else None),
        finish_reasons=_finish_reasons(facts["finish"]) if "finish" in facts else (),
        rest_of_stream=rest_of_stream,
        terms=_terms(facts) if not facts.keys().isdisjoint(_TERMS) else NO_TERMS,
    )


_TERMS: Final = Terms.__struct_fields__


def _terms(facts: Facts) -> Terms:
    """Reads how a call was served."""
    return Terms(*(_lower(facts.get(term)) for term in _TERMS))


def _lower(said: object) -> str | None:
    found = unquoted(said)
    return None if found is None else found.strip().lower() or None


def _said_currency(facts: Facts) -> str | None:
    """Names the currency that the trace says a cost in, if it is not the US dollar."""
    currency = _lower(facts.get("said_currency"))
    return None if currency in (None, "usd") else currency.upper()[:_CURRENCY]


_CURRENCY: Final = 16


def _said_usd(facts: Facts) -> Decimal | None:
    """Reads what the trace says that a call cost, if that is an amount of US dollars."""
    currency = _lower(facts.get("said_currency"))
    if currency not in (None, "usd"):
        return None
    said = facts["said_cost"]
    if isinstance(said, str) and said.lstrip()[:1] == "{":
        try:
            amounts = _AMOUNTS.decode(said)
        except (msgspec.DecodeError, RecursionError):
            return None
        parts = [amount for amount in amounts.values() if amount is not None]
        said = next((amounts[name] for name in _TOTALS if name in amounts), sum(parts))
    try:
        amount = Decimal(str(said).strip())
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and amount > 0 else None


_TOTALS: Final = ("total", "total_cost")
_AMOUNTS: Final = msgspec.json.Decoder(dict[str, Decimal | None])


def _stopped(facts: Facts) -> bool:
    """Tells whether the emitter says that it did not count to the end."""
    return "partial" in facts and flag(facts["partial"]) is True


def call_of(
    words: ModelCall,
    name: str,
    facts: Facts,
    attributes: Attributes,
    used: Tokens | None,
    ttft_ns: int | None,
    was_streamed: bool | None,
    *,
    stopped: bool,
) -> ModelCall:
    """Adds to the `words` of a model call what `facts` say of it alone.

    It used as many tokens as were `used`, counted to the end unless this was `stopped`.
    """
    too_little = _has_more_input(facts, used)
    return ModelCall(
        words.model,
        words.provider,
        used,
        ttft_ns,
        words.finish_reasons,
        was_streamed,
        whole(facts["turn"]) if "turn" in facts else None,
        content.issued(facts, attributes),
        response_id(facts["response_id"], name) if "response_id" in facts else None,
        content.opening(facts),
        blocks(facts) if "blocks" in facts else None,
        words.rest_of_stream,
        content.lines(facts["first_output"]) if "first_output" in facts else b"",
        content.lines(facts["third_message"]) if "third_message" in facts else b"",
        too_little or (used is not None and (stopped or _has_more_output(facts, used))),
        too_little,
        generated(facts),
        words.terms,
        (_count(facts["searches"]) or 0) if "searches" in facts else 0,
        _said_usd(facts) if "said_cost" in facts else None,
        _said_currency(facts) if "said_cost" in facts else None,
        _lower(facts["cache_diagnosis"]) if "cache_diagnosis" in facts else None,
        _count(facts["cache_missed"]) if "cache_missed" in facts else None,
        _transport(facts) if "stream_gap" in facts or "connection_new" in facts else None,
        content.declared(facts, attributes),
        nonempty(facts.get("previous_response")) is not None,
        any(_is_negative(facts[fact]) for fact in PLAIN_COUNTS if fact in facts),
        any(bool(_count(facts[fact])) for fact in ("audio_in", "audio_out") if fact in facts),
    )


def _is_negative(value: object) -> bool:
    number = value if type(value) is int else whole(value)
    return number is not None and number < 0


def _sum(name: str, attributes: Attributes, facts: Facts, resource: Resource) -> ModelCall | None:
    """Reads what a step says of the calls in it, if it says how many tokens they took."""
    used = tokens(attributes, facts, resource)
    return sum_of(_words_of_call(facts), name, facts, used, stopped=_stopped(facts))


def sum_of(
    words: ModelCall, name: str, facts: Facts, used: Tokens | None, *, stopped: bool
) -> ModelCall | None:
    """Adds to the `words` of a step what `facts` say of the calls in it; ``None`` if no tokens."""
    if used is None:
        return None
    return ModelCall(
        words.model,
        words.provider,
        used,
        finish_reasons=words.finish_reasons,
        response_id=response_id(facts["response_id"], name) if "response_id" in facts else None,
        partial=stopped,
        terms=words.terms,
    )


def _has_more_output(facts: Facts, used: Tokens) -> bool:
    """Tells whether fewer tokens were counted than the text of the reply has."""
    return "first_output" in facts and _is_too_long((facts["first_output"],), used.output)


def _has_more_input(facts: Facts, used: Tokens | None) -> bool:
    """Tells whether fewer tokens were counted than the text of the request has."""
    given = [facts[fact] for fact in _GIVEN if fact in facts]
    return used is not None and bool(given) and _is_too_long(given, used.input)


_GIVEN: Final = ("first_message", "second_message", "third_message")
_LONG_TEXT: Final = 4000
_MOST_IN_A_TOKEN: Final = 30
"""Characters of real text, of which a token has about four."""


def _is_too_long(texts: Sequence[object], counted: int) -> bool:
    """Tells whether `texts` have more characters than so many tokens can stand for; an image in a
    text has any number."""
    length = sum([len(text) for text in texts if isinstance(text, str)])
    if length <= max(_LONG_TEXT, _MOST_IN_A_TOKEN * counted):
        return False
    return not any(isinstance(text, str) and ";base64," in text for text in texts)


def blocks(facts: Facts) -> Blocks | None:
    """Reads what the model was given and what it answered, if every block of it can be read."""
    given = _list_of_blocks(facts.get("blocks"))
    answered = _list_of_blocks(facts.get("blocks_out", ()))
    if given is None or answered is None:
        return None
    previous = nonempty(facts.get("blocks_previous")) or ""
    kept = _count(facts.get("blocks_kept")) or 0
    omitted = _count(facts.get("blocks_omitted")) or 0
    return Blocks(given, answered, kept if previous else 0, previous if kept else "", omitted)


def _texts(value: object) -> tuple[str, ...] | None:
    """Reads the texts in a list, which Jaeger and Zipkin write as JSON text; ``None`` if one is
    none."""
    if isinstance(value, str):
        try:
            value = _TEXTS.decode(value)
        except msgspec.DecodeError:
            return None
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        return None
    return tuple(value)


def _kinds_of_budgets(value: object) -> tuple[str, ...]:
    """Reads the kinds in a list, each once; what is no word is none."""
    return tuple(sorted({text for text in _texts(value) or () if _KIND.fullmatch(text)}))


_KIND: Final = re.compile(r"[a-z_]{1,20}")


def _list_of_blocks(value: object) -> tuple[Block, ...] | None:
    """Reads the blocks in a list; ``None`` if one is none."""
    texts = _texts(value)
    if texts is None:
        return None
    found = []
    for text in texts:
        match = _BLOCK.fullmatch(text)
        if match is None:
            return None
        role, kind, digest, size = match.groups()
        found.append(Block(intern(role), intern(kind), int(digest, 16), int(size)))
    return tuple(found)


_BLOCK: Final = re.compile(r"([^:]{0,64}):([^:]{0,64}):([0-9a-f]{1,64}):([0-9]{1,15})")
_TEXTS: Final = msgspec.json.Decoder(list[str])


@lru_cache(maxsize=1024)
def _provider(said: str | None, model: str | None, served_at: str | None) -> str | None:
    """Names the provider in the words of the current convention: of a call with an SDK that many
    others can be reached with, whoever is known to answer at the host that it was `served_at`."""
    named = _named_provider(said, model)
    if served_at is None or named not in ANSWERS_FOR_MANY:
        return named
    host = _HOST.sub("", served_at.lower())
    # A region may stand before a dash.
    while host and host not in names.HOSTS:
        host = _LABEL.sub("", host)
    return names.HOSTS.get(host, named)


_HOST: Final = re.compile(r"^[a-z]+://|[/:].*$")
_LABEL: Final = re.compile(r"^[^.-]*[.-]?")


def _named_provider(said: str | None, model: str | None) -> str | None:
    if said is None:
        return None
    lower = said.lower()
    if lower in names.FRAMEWORKS:
        families = (
            maker for prefix, maker in names.MODEL_FAMILIES if (model or "").startswith(prefix)
        )
        return next(families, None)
    first = lower.partition(".")[0]
    if first in names.PROVIDERS_WITH_APIS and lower not in names.PROVIDERS:
        lower = first
    return names.PROVIDERS.get(lower, lower)


def response_id(said: object, name: str) -> str | None:
    """Reads the id of the reply. Claude Code puts that of the request there, which nobody else
    knows."""
    found = nonempty(said)
    claude_code = name.startswith(names.CLAUDE_CODE)
    return None if found is None or claude_code or found.startswith("req_") else found


def streamed(
    name: str, attributes: Attributes, facts: Facts, scope: str, ttft_ns: int | None
) -> bool | None:
    said = flag(facts.get("streamed"))
    if said is not None:
        return said
    if ttft_ns is not None or "log_duration" in facts or name.startswith(names.CLAUDE_CODE):
        return True
    operation = attributes.get("ai.operationId")
    if isinstance(operation, str):
        return "stream" in operation.lower()
    asked = facts.get("invocation")
    if isinstance(asked, str):
        match = _STREAM.search(asked)
        if match is not None:
            return match[1] == "true"
    # The SDK and our plugin say so only if it was.
    is_told = scope == names.CAUSEPATH or scope.startswith(names.ANTHROPIC_SDK_SCOPE)
    return False if is_told else None


_STREAM: Final = re.compile(r'"stream"\s*:\s*(true|false)')


def tokens(attributes: Container[str], facts: Facts, resource: Resource) -> Tokens | None:
    """Counts with the input including caches, whatever the emitter meant by "input"."""
    input_tokens, output = _count(facts.get("input")), _count(facts.get("output"))
    exclusive = resource.sdk == "openlit"
    if (input_tokens is None) != (output is None) and "total" in facts:
        total = _count(facts["total"]) or 0
        if input_tokens is None:
            input_tokens = max(0, total - (output or 0))
        else:
            output = max(0, total - input_tokens)
    if input_tokens is None and output is None:
        input_tokens = _count(facts.get("exclusive_input"))
        output = _count(facts.get("exclusive_output"))
        exclusive = True
        if input_tokens is None and output is None:
            return _detailed_tokens(attributes, facts)
    read = (_count(facts["cache_read"]) or 0) if "cache_read" in facts else 0
    write = _count(facts["cache_write"]) if "cache_write" in facts else None
    write_1h = 0
    reasoning = (_count(facts["reasoning"]) or 0) if "reasoning" in facts else 0
    if "usage_raw" in facts:
        raw = _json_counts(facts["usage_raw"], nested=True)
        read = read or raw.get("cache_read_input_tokens", 0) or raw.get("cached_tokens", 0)
        write = write or raw.get("cache_creation_input_tokens")
        reasoning = reasoning or raw.get("reasoning_tokens", 0)
    if "input_details" in facts:
        details = _json_counts(facts["input_details"])
        read = read or details.get("cache_read", 0)
        write = write or details.get("cache_creation")
        write_1h = details.get("ephemeral_1h_input_tokens", 0)
        if write is None and (write_1h or "ephemeral_5m_input_tokens" in details):
            write = write_1h + details.get("ephemeral_5m_input_tokens", 0)
    if "output_details" in facts:
        reasoning = reasoning or _json_counts(facts["output_details"]).get("reasoning", 0)
    if "cache_write_1h" in facts:
        write_1h = _count(facts["cache_write_1h"]) or 0
    if write is None:
        write_5m = _count(facts["cache_write_5m"]) if "cache_write_5m" in facts else 0
        write = (write_5m or 0) + write_1h
    return _summed_up(
        input_tokens or 0, output or 0, read, write, reasoning, write_1h, facts, exclusive
    )


PLAIN_COUNTS: Final = frozenset(
    ("input", "output", "cache_read", "cache_write", "reasoning", "total")
)
"""The facts about tokens that need no second look: one count each."""


def plain_tokens(facts: dict[str, Any]) -> Tokens:
    """Gives what `tokens` does if both sums are known, and all that is told are `PLAIN_COUNTS` that
    are counts."""
    return _summed_up(
        facts["input"],
        facts["output"],
        facts.get("cache_read", 0),
        facts.get("cache_write", 0),
        facts.get("reasoning", 0),
        0,
        facts,
        False,
    )


def _summed_up(
    counted: int,
    produced: int,
    read: int,
    write: int,
    reasoning: int,
    write_1h: int,
    facts: Facts,
    exclusive: bool,
) -> Tokens:
    if read or write or reasoning:
        total = _count(facts["total"]) if "total" in facts else None
        if reasoning and _thinks_beside(counted, produced, read + write, reasoning, total, facts):
            produced += reasoning
        # Nothing holds more than it has: caches above the input were not counted in, whatever the
        # total. Else an emitter's own total settles what it counts as input.
        if read + write > counted:
            exclusive = True
        elif total == counted + produced:
            exclusive = False
        elif total == counted + produced + read + write:
            exclusive = True
        if exclusive:
            counted += read + write
    return Tokens(counted, produced, read, write, reasoning, write_1h)


def _thinks_beside(
    counted: int, produced: int, cached: int, reasoning: int, total: int | None, facts: Facts
) -> bool:
    """Tells whether what a model thought is no part of its output, as Google and xAI count."""
    sums = counted + produced + reasoning, counted + produced + reasoning + cached
    if total in sums and total != counted + produced:
        return True
    if reasoning <= produced:
        return False
    model, provider = unquoted(facts.get("model")), unquoted(facts.get("provider"))
    return (model or "").lower().rpartition("/")[2].startswith(names.THINK_BESIDE) or (
        model is None and _named_provider(provider, None) in names.THINKING_PROVIDERS
    )


_PARTS: Final[Mapping[str, str]] = {
    "input_cached_tokens": "cache_read",
    "cache_read_input_tokens": "cache_read",
    "input_cache_read": "cache_read",
    "cache_creation_input_tokens": "cache_write",
    "input_cache_creation": "cache_write",
    "output_reasoning_tokens": "reasoning",
    "output_reasoning": "reasoning",
    "cached_tokens": "cache_read",
    "reasoning_tokens": "reasoning",
    "cachedContentTokens": "cache_read",
    "thoughtsTokens": "reasoning",
}
_INPUTS: Final = ("input", "input_tokens", "prompt_tokens", "inputTokens")
_OUTPUTS: Final = ("output", "output_tokens", "completion_tokens", "outputTokens")
_SUMS: Final = frozenset((*_INPUTS, *_OUTPUTS))
_COUNTED_IN: Final = frozenset(("cached_tokens", "reasoning_tokens", "cachedContentTokens"))
"""OpenAI and Google count them in and tell them beside, whoever hands on what they said."""


def _detailed_tokens(attributes: Container[str], facts: Facts) -> Tokens | None:
    """Counts that come as one JSON text (Langfuse, MLflow)."""
    said = facts["usage_details"] if "usage_details" in facts else facts.get("usage_raw")
    counts = _json_counts(said, nested=True)
    given_in = next((counts[name] for name in _INPUTS if name in counts), None)
    given_out = next((counts[name] for name in _OUTPUTS if name in counts), None)
    if given_in is None and given_out is None:
        return None
    parts: dict[str, int] = {}
    extra_in = extra_out = 0
    for name, number in counts.items():
        if name in _SUMS or "total" in name:
            continue
        part = _PARTS.get(name)
        if part is not None:
            parts[part] = parts.get(part, 0) + number
        if name in _COUNTED_IN or (part is None and not name.islower()):
            continue  # also what Genkit counts that is no token: inputCharacters, outputImages
        if name.startswith(("output", "completion", "thoughts")):
            extra_out += number
        elif part is not None or name.startswith(("input", "prompt", "cache")):
            extra_in += number
    counted, produced = given_in or 0, given_out or 0
    total = counts.get("total", counts.get("total_tokens", counts.get("totalTokens")))
    # Langfuse adds the parts up; MLflow and some that write for Langfuse count them in.
    additive = names.USAGE_DETAILS[0] in attributes or extra_in > counted
    impossible = extra_in > counted or extra_out > produced
    if (
        not impossible
        and total is not None
        and total
        in (
            counted + produced,
            counted + produced + extra_in + extra_out,
        )
    ):
        additive = total != counted + produced
    if additive:
        counted, produced = counted + extra_in, produced + extra_out
    return Tokens(
        counted,
        produced,
        parts.get("cache_read", 0),
        parts.get("cache_write", 0),
        parts.get("reasoning", 0),
    )


_COUNTS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NUMBER: Final = msgspec.json.Decoder(int | float | str | None)


def _of_reply(said: object) -> Facts:
    """Reads the model, the reason to end and the counts that stand somewhere in the JSON of a
    reply.

    What other attributes say of these is less.
    """
    text = content.text_of(said) or ""
    found: Facts = {}
    for fact, pattern in (("model", _REPLY_MODEL), ("finish", _REPLY_FINISH)):
        match = pattern.search(text)
        if match is not None:
            found[fact] = match[1]
    used = _REPLY_USAGE.search(text)
    if used is not None:
        found["usage_details"] = used[1]
    return found


_REPLY_MODEL: Final = re.compile(r'"model"\s*:\s*"([^"\\]{1,200})"')
_REPLY_FINISH: Final = re.compile(r'"finish(?:_r|R)eason"\s*:\s*"([^"\\]{1,40})"')
_REPLY_USAGE: Final = re.compile(r'"usage"\s*:\s*(\{(?:[^{}]|\{[^{}]{0,2000}\}){0,4000}\})')


def _json_counts(text: object, *, nested: bool = False) -> dict[str, int]:
    """Reads the counts in JSON text; empty for anything else. Some write JSON in JSON.

    With `nested`, also the parts of a count that OpenAI puts into an object beside it.
    """
    text = unquoted(text)
    return {} if text is None else _counts_in(text, nested=nested)


def _counts_in(text: str | msgspec.Raw, *, nested: bool) -> dict[str, int]:
    found: dict[str, int] = {}
    try:
        values = _COUNTS.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return {}
    for name, raw in values.items():
        try:
            number = _count(_NUMBER.decode(raw))
        except (msgspec.DecodeError, RecursionError):
            if nested and name.endswith("_details"):
                found |= _counts_in(raw, nested=False)
            continue
        if number is not None:
            found[name] = number
    return found


def _time_to_first_token(
    start_ns: int, attributes: Attributes, facts: Facts, provider: str | None
) -> int | None:
    found = attributes.keys() & names.TIME_UNITS.keys()
    if found:
        name = min(found, key=_TIME_RANK.__getitem__) if len(found) > 1 else found.pop()
        return nanoseconds(attributes[name], names.TIME_UNITS[name])
    return ttft_told_otherwise(start_ns, facts, provider)


def ttft_told_otherwise(start_ns: int, facts: Facts, provider: str | None) -> int | None:
    """Reads the time to the first token if no attribute with a unit of its own tells it."""
    if "server_ttft" in facts:
        framework = (provider or "").lower().replace("_", "-")
        unit_ns = names.MILLISECOND if framework == names.STRANDS else names.SECOND
        return nanoseconds(facts["server_ttft"], unit_ns)
    at_ns = whole(facts.get("first_token_ns"))
    if at_ns is None and "completion_start" in facts:
        at_ns = _iso_ns(unquoted(facts["completion_start"]))
    return at_ns - start_ns if at_ns is not None and at_ns >= start_ns else None


_TIME_RANK: Final = {name: rank for rank, name in enumerate(names.TIME_UNITS)}


def _iso_ns(text: str | None) -> int | None:
    try:
        moment = datetime.fromisoformat(text or "")
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return (moment - _EPOCH) // _MICROSECOND * 1_000
    except (ValueError, OverflowError):
        return None


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def nanoseconds(value: object, unit_ns: int) -> int | None:
    number = _number(value)
    if number is None or number < 0 or number * unit_ns >= _NO_INT:
        return None
    return round(number * unit_ns)


def generated(facts: Facts) -> int | None:
    """Works out how long a streamed reply took, without what its consumer held it up, if that is
    told."""
    if "stream_last" not in facts:
        return None
    last_ns = nanoseconds(facts["stream_last"], _MILLISECOND)
    held_ns = nanoseconds(facts.get("stream_held"), _MILLISECOND) or 0
    return None if last_ns is None else max(0, last_ns - held_ns)


_MILLISECOND: Final = 1_000_000


def _transport(facts: Facts) -> Transport:
    return Transport(
        _count(facts.get("stream_events")),
        nanoseconds(facts.get("stream_first"), _MILLISECOND),
        nanoseconds(facts.get("stream_gap"), _MILLISECOND),
        nanoseconds(facts.get("connection_wait"), _MILLISECOND),
        flag(facts.get("connection_new")),
    )


def _finish_reasons(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        # Jaeger and Zipkin write lists as JSON text.
        found: Sequence[object] = re.findall(r'"([^"]*)"', value) if value[:1] == "[" else [value]
    else:
        found = value if isinstance(value, list | tuple) else ()
    return tuple(_finish_reason(reason) for reason in found if isinstance(reason, str))


def _finish_reason(said: str) -> str:
    known = names.FINISH.get(said)
    if known is None and said.startswith(_PYTHON_ENUM):
        said = said.removeprefix(_PYTHON_ENUM).lower()
        known = names.FINISH.get(said)
    return said if known is None else known


_PYTHON_ENUM: Final = "FinishReason."
"""What Python calls a member of an enumeration (Semantic Kernel, Google)."""


def _tool_call(name: str, facts: Facts) -> ToolCall:
    words = ToolCall(
        nonempty(facts.get("tool_name")) or _TOOL_PREFIX.sub("", name).removesuffix(_CALLED),
        inferred="inferred" in facts and flag(facts["inferred"]) is True,
        read_only=flag(facts["read_only"]) if "read_only" in facts else None,
        outcome=_one_of(_OUTCOMES, facts["outcome"]) if "outcome" in facts else None,
        ambiguous=(whole(facts["ambiguous"]) or 0) if "ambiguous" in facts else 0,
    )
    return tool_call_of(words, facts)


def tool_call_of(words: ToolCall, facts: Facts) -> ToolCall:
    """Adds to the `words` of a tool call, which many have in common, what `facts` say of it."""
    return ToolCall(
        words.name,
        nonempty(facts["call_id"]) if "call_id" in facts else None,
        words.inferred,
        words.read_only,
        _arguments(facts),
        _result(facts),
        words.outcome,
        _places(facts),
        words.ambiguous,
    )


def _arguments(facts: Facts) -> Content | None:
    """Reads the arguments of a tool call, or their digest if the emitter told no more."""
    recorded = content.arguments(facts["in"]) if "in" in facts else None
    return recorded or _digest_only(facts.get("blocks"))


def _result(facts: Facts) -> Content | None:
    """Reads the result of a tool call, likewise."""
    recorded = content.result(facts["out"]) if "out" in facts else None
    return recorded or _digest_only(facts.get("blocks_out"))


def _places(facts: Facts) -> tuple[str, ...]:
    """Reads what the arguments of a tool call name, as digests."""
    return _texts(facts["places"]) or () if "places" in facts else ()


def _digest_only(value: object) -> Content | None:
    """Reads what is known of arguments or a result that the emitter has told by its digest."""
    blocks = _list_of_blocks(value) if value is not None else None
    return Content(blocks[0].digest, blocks[0].size) if blocks else None


_FLOWS: Final = frozenset(get_args(Flow))
_OUTCOMES_OF_RUNS: Final = frozenset(get_args(RunOutcome))
_OUTCOMES: Final = frozenset(get_args(Outcome))
_LOOP_KINDS: Final = frozenset(get_args(LoopKind))


def _one_of(known: frozenset[T], value: object) -> T | None:
    return next((one for one in known if one == value), None)


def _site(facts: Facts) -> CallSite | None:
    stack = _texts(facts["stack"])
    if not stack:
        return None
    kind = facts.get("loop_kind")
    return _known_site(
        stack,
        nonempty(facts.get("loop")),
        kind if isinstance(kind, str) else None,
        _texts(facts["apart"]) if "apart" in facts else (),
        _texts(facts["kept"]) if "kept" in facts else (),
    )


@lru_cache(maxsize=4096)
def _known_site(
    stack: tuple[str, ...],
    loop: str | None,
    kind: str | None,
    apart: tuple[str, ...],
    kept: tuple[str, ...],
) -> CallSite:
    known = _one_of(_LOOP_KINDS, kind) if loop is not None else None
    return CallSite(stack, loop if known else None, known, _shared(apart), _shared(kept))


@lru_cache(maxsize=4096)
def _shared(lines: tuple[str, ...]) -> frozenset[str]:
    return frozenset(lines)


_CALLED: Final = ".__call__"
_TOOL_PREFIX: Final = re.compile(r"^(?:execute_tool|(?:MCP send )?tools/call|running tool:?) ")


def _error(failed: bool, facts: Facts) -> str | None:
    """Reads what went wrong: a type, else a message; that something did is for the wire to say."""
    if "error_type" in facts:
        kind = nonempty(facts["error_type"])
        if kind is not None:
            return kind
    if "error" in facts:
        message = nonempty(facts["error"])
        if message is not None and flag(message) is None:
            return message
    if not failed and "error_level" in facts:
        failed = facts["error_level"] == "ERROR"
    if not failed and "success" in facts:
        failed = flag(facts["success"]) is False
    if not failed:
        return None
    return nonempty(facts.get("error_message")) or "error"


def _where(facts: Facts) -> str | None:
    file = nonempty(facts.get("file"))
    if file is None:
        return None
    line = whole(facts.get("line"))
    function = nonempty(facts.get("function"))
    place = file if line is None else f"{file}:{line}"
    return place if function is None else f"{place} {function}"


def nonempty(value: object) -> str | None:
    """Reads a text that is not empty; emitters write "unknown" as an empty one."""
    return value if isinstance(value, str) and value else None


def unquoted(value: object) -> str | None:
    """Reads a text that MLflow and Langfuse may have written as JSON text: ``"LLM"`` with its
    quotes."""
    text = nonempty(value)
    if text is not None and text[:1] == '"' and text[-1:] == '"':
        try:
            return nonempty(_QUOTED.decode(text))
        except msgspec.DecodeError:
            return text
    return text


_QUOTED: Final = msgspec.json.Decoder(str)


def flag(value: object) -> bool | None:
    """Reads a yes or no that may arrive as text; ``None`` if it is neither."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}.get(value.lower())
    return bool(value) if isinstance(value, int) else None


def _number(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, int):
        return value if -_NO_INT < value < _NO_INT else None
    return value if isinstance(value, float) and math.isfinite(value) else None


def _count(value: object) -> int | None:
    """Reads a number of tokens; nobody used less than none."""
    if type(value) is int and 0 <= value < _NO_INT:
        return value
    if value is None:
        return None
    number = whole(value)
    return number if number is not None and number >= 0 else None


def whole(value: object) -> int | None:
    """Reads a count or a time that may arrive as number or text; ``None`` if it is neither.

    Text of digits is read exactly: nanoseconds since the epoch do not fit into a float.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value if -_NO_INT < value < _NO_INT else None
    if isinstance(value, str) and len(value) <= 20:
        try:
            return whole(int(value))
        except ValueError:
            pass
    number = _number(value)
    return int(number) if number is not None and abs(number) < _NO_INT else None
