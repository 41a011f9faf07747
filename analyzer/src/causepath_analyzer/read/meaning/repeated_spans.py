"""Spans of one emitter repeat each other: what was settled for one is known of all like it.

`normalise.meaning` says what the attributes of a span mean. Most of it follows from which
attributes there are and from the values of a few, which come again and again: the *words* (an
operation, a model, the name of a tool). The others are *free*: counts, ids and texts differ from
span to span and decide nothing but their own fact. So the meaning of the first span with certain
words is kept, and for the next ones only the free facts that matter to its category are read.

The first span of a kind is understood by `normalise`, and so is every span of which anything is
out of the ordinary: a reader gets ``None`` here and takes the general way. What is kept is bounded,
and input that never repeats itself soon is no longer learned from.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from msgspec import Struct

from causepath_analyzer import attributes as names
from causepath_analyzer.model import Link, ModelCall, Span, SpanKind, Tokens, ToolCall
from causepath_analyzer.read.meaning import normalise
from causepath_analyzer.read.meaning.normalise import Facts, Meaning

Raw = Any
"""A value as it is on the wire, of whatever type the reader of the format has for it."""
Key = tuple[object, object, object, bytes]
"""Name, kind and status of a span as they are on the wire, and the values of its words."""


class Pair(Protocol):
    """An attribute on the wire."""

    key: str
    value: Raw


Read = Callable[[list[Raw]], Iterable[object] | None]


class Values(Struct, frozen=True):
    """The ways to read a format's values.

    ``plain(value)`` names the type of the value if it is text or number and nothing else;
    ``reader(types)`` reads values of these types at once, and gives ``None`` if one is of another,
    an empty text or a negative whole number.
    ``content`` reads one text that may be long, ``any`` understands any one value.
    """

    plain: Callable[[Raw], Hashable]
    reader: Callable[[tuple[Any, ...]], Read]
    content: Callable[[Raw], object]
    any: Callable[[Raw], object]


Completed = tuple[ModelCall | None, ToolCall | None, str | None, str | None, ModelCall | None]
"""The model call, the tool call, the session, the user and what is repeated of a `Meaning`."""
_NOTHING: Final[Completed] = (None, None, None, None, None)


class Shape(Struct, frozen=True, gc=False):
    """The facts that all spans with the same names of attributes and the same words share.

    ``meaning`` lacks the facts that are ``free``, whose values stand ``at`` these places among the
    attributes and are read together by ``read``, and those of ``rest``, each with how it is read
    and its place. ``is_usual`` is false where spans of this shape have to be understood one by one.
    """

    name: str
    kind: SpanKind
    meaning: Meaning
    is_usual: bool = True
    facts: Completed = _NOTHING
    """Those of ``meaning``, where nothing is free."""
    has_free: bool = False
    free: tuple[str, ...] = ()
    at: tuple[int, ...] = ()
    read: Read | None = None
    rest: tuple[tuple[str, Callable[[Raw], object], int], ...] = ()
    names: frozenset[str] = frozenset()
    scope: str = ""
    resource: normalise.Resource = normalise.NO_RESOURCE
    has_plain_counts: bool = False
    """Nothing but `normalise.PLAIN_COUNTS` says how many tokens there were."""
    may_sum: bool = False
    is_partial: bool = False
    """The emitter says that it did not count to the end."""
    ttft_unit_ns: int = 0
    """Of the time to the first token, where an attribute says it."""
    provider: str | None = None
    """As the span says it."""
    streamed: bool | None = None
    """Whether the reply was streamed, where no time to the first token was recorded."""
    streamed_at: bool | None = None
    """The same where one was."""
    asked: Facts | None = None
    """The words that tell whether the reply was streamed, where a free text tells it as well."""


class Layout(Struct, frozen=True, gc=False):
    """The places of words among the attributes with certain names, and their shapes by the
    words."""

    words: tuple[int, ...]
    free: tuple[tuple[str, int], ...]
    shapes: dict[Key, Shape]


class Known:
    """The shapes of the spans that one instrumentation emits."""

    def __init__(self, scope: str, resource: normalise.Resource, values: Values) -> None:
        self.layouts: dict[tuple[str, ...], Layout] = {}
        self.seen = 0
        """Spans that readers looked up."""
        self._scope = scope
        self._resource = resource
        self._values = values
        self._learned = 0
        self.is_open = True
        """Spans repeat each other, so that looking them up is worth it."""

    def layout(self, keys: tuple[str, ...]) -> Layout:
        """Gives the layout of attributes with the names `keys`."""
        return self.layouts.get(keys) or self.new_layout(keys)

    def new_layout(self, keys: tuple[str, ...]) -> Layout:
        """Makes the layout of attributes with the names `keys`, which were not seen before."""
        if not self._may_learn() or len(keys) > _MOST_NAMES or len(set(keys)) < len(keys):
            return NO_LAYOUT
        deciding = _WORDS if _MODELS.isdisjoint(keys) else _WORDS_OF_MODELS
        words = tuple(at for at, key in enumerate(keys) if key in deciding)
        best: dict[str, tuple[int, int]] = {}
        for at, key in enumerate(keys):
            fact, rank = _FREE.get(key, ("", 0))
            if fact and (fact not in best or rank < best[fact][0]):
                best[fact] = rank, at
        free = tuple((fact, at) for fact, (_, at) in best.items())
        found = self.layouts[keys] = Layout(words, free, {})
        return found

    def learn(
        self,
        layout: Layout,
        key: Key,
        name: str,
        kind: SpanKind,
        failed: bool,
        pairs: Sequence[Pair],
        attributes: normalise.Attributes,
    ) -> None:
        """Keeps what `attributes`, those of a span, say of all spans with the same `key`."""
        if layout is NO_LAYOUT or len(name) + len(key[3]) > _LONGEST or not self._may_learn():
            return
        layout.shapes[key] = self._shape(layout, name, kind, failed, pairs, attributes)

    def _may_learn(self) -> bool:
        if self._learned >= MOST_SHAPES:
            # Worth beginning anew only if what was learned was used.
            self.is_open = self.seen >= MOST_SHAPES * _USES
            self.layouts.clear()
            self._learned = self.seen = 0
        self._learned += self.is_open
        return self.is_open

    def _shape(
        self,
        layout: Layout,
        name: str,
        kind: SpanKind,
        failed: bool,
        pairs: Sequence[Pair],
        attributes: normalise.Attributes,
    ) -> Shape:
        scope, resource = self._scope, self._resource
        meaning = normalise.meaning(name, kind, 0, failed, attributes, resource, scope)
        call = meaning.model_call
        keys = frozenset(pair.key for pair in pairs)
        if meaning.category == "retrieval" and not keys.isdisjoint(names.CONTENT):
            return Shape(name, kind, meaning, is_usual=False)
        if meaning.pending_parent is not None or (call is not None and keys & _TOLD_ONE_BY_ONE):
            return Shape(name, kind, meaning, is_usual=False)
        wanted = set(_OF_ALL)
        if call is not None:
            wanted |= _OF_MODELS
        if meaning.tool_call is not None:
            wanted |= _OF_TOOLS
        may_sum = normalise.may_sum(meaning.category, name)
        if may_sum:
            wanted |= _OF_STEPS
        facts = normalise.facts_of(attributes)
        counts = {fact for fact, _ in layout.free if fact in _OF_STEPS} - {"response_id"}
        free: dict[str, int] = {}
        types: list[Hashable] = []
        rest = []
        ttft_unit_ns = 0
        for fact, at in layout.free:
            if fact not in wanted:
                continue
            # A model's messages are only looked at as they stand, a tool's arguments are read.
            as_it_stands = call is not None and pairs[at].key in names.CONTENT
            plain = None if as_it_stands else self._values.plain(pairs[at].value)
            if plain is not None:
                free[fact] = at
                types.append(plain)
            elif pairs[at].key in names.CONTENT:
                rest.append((fact, self._values.content, at))
            else:
                rest.append((fact, self._values.any, at))
            if fact == _TTFT:
                ttft_unit_ns = names.TIME_UNITS[pairs[at].key]
        asked = {
            **{key: attributes[key] for key in _ASKED if key in attributes},
            **{fact: facts[fact] for fact in ("streamed",) if fact in facts},
        }
        return Shape(
            meaning.filled or name,
            kind,
            meaning,
            facts=(
                call,
                meaning.tool_call,
                meaning.session,
                meaning.user,
                meaning.repeats,
            ),
            has_free=bool(free or rest),
            free=tuple(free),
            at=tuple(free.values()),
            read=self._values.reader(tuple(types)) if free else None,
            rest=tuple(rest),
            has_plain_counts=resource.sdk != "openlit"
            and {"input", "output"} <= counts
            and counts <= normalise.PLAIN_COUNTS
            and counts <= free.keys()  # else one was negative, and others may be
            and all(type(facts.get(fact)) is int for fact in counts),
            may_sum=may_sum,
            is_partial=normalise.flag(facts.get("partial")) is True,
            names=keys,
            scope=scope,
            resource=resource,
            ttft_unit_ns=ttft_unit_ns,
            provider=normalise.unquoted(facts.get("provider")),
            streamed=normalise.streamed(name, asked, asked, scope, None),
            streamed_at=normalise.streamed(name, asked, asked, scope, 0),
            asked=asked if not _INVOCATION.isdisjoint(keys) else None,
        )


Emitters = dict[tuple[str, str | None], Known]
"""By scope and SDK, on which alone it depends what the attributes of a span mean."""


def known_of(emitters: Emitters, scope: str, resource: normalise.Resource, values: Values) -> Known:
    """Gives what is known of the spans of `scope`, of which `emitters` remembers not too many."""
    found = emitters.get((scope, resource.sdk))
    if found is None:
        if len(emitters) >= _MOST_EMITTERS:
            emitters.clear()
        found = emitters[scope, resource.sdk] = Known(scope, resource, values)
    return found


def span(
    shape: Shape,
    own: Completed,
    trace_id: str,
    span_id: str,
    parent_id: str,
    start_ns: int,
    end_ns: int | None,
    links: tuple[Link, ...],
    resource: normalise.Resource,
    scope: str | None,
    version: str | None,
) -> Span:
    """Makes a span of `shape` with facts of its `own`."""
    meaning = shape.meaning
    model_call, tool_call, session, user, repeats = own
    return Span(
        trace_id,
        span_id,
        parent_id,
        shape.name,
        start_ns,
        end_ns,
        meaning.category,
        shape.kind,
        resource.service,
        resource.host,
        meaning.error,
        model_call,
        tool_call,
        links,
        session,
        meaning.where,
        scope,
        user,
        version,
        repeats,
        meaning.site,
        meaning.flow,
        meaning.is_inferred,
        resource.program,
        meaning.run_outcome,
        meaning.left_open,
        meaning.exceeded,
    )


def completed(shape: Shape, pairs: Sequence[Pair], start_ns: int) -> Completed | None:
    """Reads what a span of `shape` with the attributes `pairs` says of its own; ``None`` if one of
    them is out of the ordinary."""
    facts: Facts = {}
    if shape.read is not None:
        values = shape.read([pairs[at].value for at in shape.at])
        if values is None:
            return None
        facts = dict(zip(shape.free, values, strict=True))
    for fact, understand, at in shape.rest:
        value = understand(pairs[at].value)
        if value is None or value == "":
            return None
        facts[fact] = value
    known = shape.meaning
    model_call, tool_call, repeats = known.model_call, known.tool_call, None
    if model_call is not None:
        model_call = _model_call(shape, model_call, facts, start_ns)
    if tool_call is not None:
        tool_call = normalise.tool_call_of(tool_call, facts)
    if known.repeats is not None and known.category == "llm":
        repeats = model_call  # or of calls in it, which only the whole trace can tell
    elif shape.may_sum and not normalise.USED.isdisjoint(facts):
        words = known.repeats or _NOTHING_KNOWN
        used = _tokens(shape, words, facts)
        repeats = normalise.sum_of(words, shape.name, facts, used, stopped=shape.is_partial)
    return (
        model_call,
        tool_call,
        normalise.session(facts["session"]) if "session" in facts else None,
        normalise.nonempty(facts["user"]) if "user" in facts else None,
        repeats,
    )


_NOTHING_KNOWN: Final = ModelCall()


def _tokens(shape: Shape, known: ModelCall, facts: Facts) -> Tokens | None:
    if "reasoning" in facts:  # whose words say whether it is a part of the output
        facts["model"], facts["provider"] = known.model, known.provider
    if shape.has_plain_counts:
        return normalise.plain_tokens(facts)
    return normalise.tokens(shape.names, facts, shape.resource)


def _model_call(shape: Shape, known: ModelCall, facts: Facts, start_ns: int) -> ModelCall:
    ttft_ns = (
        normalise.nanoseconds(facts[_TTFT], shape.ttft_unit_ns)
        if _TTFT in facts
        else normalise.ttft_told_otherwise(start_ns, facts, shape.provider)
    )
    if shape.asked is not None:
        told = {**shape.asked, **facts}
        streamed = normalise.streamed(shape.name, told, told, shape.scope, ttft_ns)
    else:
        streamed = shape.streamed if ttft_ns is None else shape.streamed_at
    return normalise.call_of(
        known,
        shape.name,
        facts,
        facts,
        _tokens(shape, known, facts),
        ttft_ns,
        streamed,
        stopped=shape.is_partial,
    )


_TTFT: Final = "ttft"
_ASKED: Final = ("ai.operationId",)
_INVOCATION: Final = frozenset(names.INVOCATION_PARAMETERS)
_OF_ALL: Final = frozenset(("session", "user"))
_OF_TOOLS: Final = frozenset(("call_id", "in", "out", "blocks", "blocks_out", "places"))
_OF_STEPS: Final = frozenset(
    (
        "response_id",
        "input",
        "output",
        "exclusive_input",
        "exclusive_output",
        "cache_read",
        "cache_write",
        "cache_write_5m",
        "cache_write_1h",
        "reasoning",
        "total",
        "usage_details",
        "usage_raw",
        "input_details",
        "output_details",
    )
)
_OF_MODELS: Final = _OF_STEPS | frozenset(
    (
        _TTFT,
        "server_ttft",
        "completion_start",
        "first_token_ns",
        "stream_last",
        "stream_held",
        "stream_events",
        "stream_first",
        "stream_gap",
        "connection_wait",
        "connection_new",
        "invocation",
        "searches",
        "cache_diagnosis",
        "cache_missed",
        "said_cost",
        "said_currency",
        "audio_in",
        "audio_out",
        "turn",
        "issued",
        "declared",
        "in",
        "blocks",
        "blocks_kept",
        "blocks_previous",
        "blocks_out",
        "first_role",
        "first_message",
        "second_message",
        "third_message",
        "first_output",
        *names.ISSUED,
        *names.DECLARED_EACH,
    )
)
_FACTS: Final = _OF_ALL | _OF_TOOLS | _OF_MODELS
_FREE: Final[Mapping[str, tuple[str, int]]] = {
    **{key: entry for key, entry in names.FIELDS.items() if entry[0] in _FACTS},
    **{key: (_TTFT, rank) for rank, key in enumerate(names.TIME_UNITS)},
    **{
        key: (key, 0)
        for key in (
            *names.ISSUED,
            *names.DECLARED_EACH,
            *names.DOCUMENTS_EACH,
            *names.DOCUMENTS,
            *names.QUERY,
        )
    },
}
_TOLD_ONE_BY_ONE: Final = frozenset((names.LOG_DURATION, *names.REPLIES))
"""What a model call says there may be anything about it."""
_WORDS_OF_MODELS: Final = names.UNDERSTOOD.difference(
    _FREE, names.OUTGOING, names.DATABASE_QUERY, _TOLD_ONE_BY_ONE, (names.PENDING_PARENT,)
)
"""Attributes whose value may decide what a span is. Of those of outgoing calls and
of queries it counts only that they are there."""
_WORDS: Final = _WORDS_OF_MODELS.difference(names.SERVED_AT)
"""The same of spans that name no model: these go to any number of hosts."""
_MODELS: Final = frozenset((*names.MODEL, *names.PROVIDER))

NO_LAYOUT: Final = Layout((), (), {})
_MOST_EMITTERS: Final = 64
MOST_SHAPES: Final = 1024
_USES: Final = 2
"""So often has a shape to be used to be worth having been learned."""
_MOST_NAMES: Final = 256
_LONGEST: Final = 2048
