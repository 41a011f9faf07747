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

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from msgspec import Struct

from causepath_analyzer import attributes as names
from causepath_analyzer.model import ModelCall, SpanKind, ToolCall
from causepath_analyzer.read import content, normalise
from causepath_analyzer.read.normalise import Facts, Meaning

Raw = Any
"""A value as it is on the wire, of whatever type the reader of the format has for it."""
Key = tuple[object, ...]


class Pair(Protocol):
    """An attribute on the wire."""

    key: str
    value: Raw


class Values(Struct, frozen=True):
    """How a format's values are read. ``any`` understands all of them; the others are quicker and
    give ``None`` for a value that is not plainly of their kind. ``content`` may be read later."""

    count: Callable[[Raw], object]
    number: Callable[[Raw], object]
    text: Callable[[Raw], object]
    content: Callable[[Raw], object]
    any: Callable[[Raw], object]


Free = tuple[str, Callable[[Raw], object], int]
"""A fact, how its value is read, and its place among the attributes."""


class Shape(Struct, frozen=True, gc=False):
    """What is known of all spans with the same names of attributes and the same words.

    ``meaning`` lacks the facts in ``free``. ``is_usual`` is false where spans of this shape have to
    be understood one by one.
    """

    name: str
    kind: SpanKind
    meaning: Meaning
    is_usual: bool = True
    free: tuple[Free, ...] = ()
    names: frozenset[str] = frozenset()
    scope: str = ""
    resource: normalise.Resource = normalise.NO_RESOURCE
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
    """Which of the attributes with certain names are words, and their shapes by the words."""

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
        self._is_open = True

    def layout(self, keys: tuple[str, ...]) -> Layout:
        """The layout of attributes with the names `keys`, which were not seen before."""
        if not self._may_learn() or len(keys) > _MOST_NAMES or len(set(keys)) < len(keys):
            return _NO_LAYOUT
        words = tuple(at for at, key in enumerate(keys) if key in _WORDS)
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
        if layout is _NO_LAYOUT or not self._may_learn() or len(name) > _LONGEST_WORD:
            return
        if any(isinstance(word, bytes) and len(word) > _LONGEST_WORD for word in key):
            return
        layout.shapes[key] = self._shape(layout, name, kind, failed, pairs, attributes)

    def _may_learn(self) -> bool:
        if self._learned >= MOST_SHAPES:
            # Worth beginning anew only if what was learned was used.
            self._is_open = self.seen >= MOST_SHAPES * _USES
            if self._is_open:
                self.layouts.clear()
                self._learned = self.seen = 0
        self._learned += self._is_open
        return self._is_open

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
        facts = normalise.facts_of(attributes)
        call = meaning.model_call
        keys = frozenset(pair.key for pair in pairs)
        if meaning.pending_parent is not None or (call is not None and names.LOG_DURATION in keys):
            return Shape(name, kind, meaning, is_usual=False)
        wanted = set(_OF_ALL)
        if call is not None:
            wanted |= _OF_MODELS
        if meaning.tool_call is not None:
            wanted |= _OF_TOOLS
        if meaning.category in normalise.STEPS:
            wanted |= _OF_STEPS
        free = []
        ttft_unit_ns = 0
        for fact, at in layout.free:
            if fact in wanted:
                free.append((fact, self._reader(pairs[at]), at))
                if fact == _TTFT:
                    ttft_unit_ns = names.TIME_UNITS[pairs[at].key]
        facts = normalise.facts_of(attributes)
        asked = {
            **{key: attributes[key] for key in _ASKED if key in attributes},
            **{fact: facts[fact] for fact in ("streamed",) if fact in facts},
        }
        return Shape(
            name,
            kind,
            meaning,
            free=tuple(free),
            names=keys,
            scope=scope,
            resource=resource,
            ttft_unit_ns=ttft_unit_ns,
            provider=normalise.unquoted(facts.get("provider")),
            streamed=normalise.streamed(name, asked, asked, scope, None),
            streamed_at=normalise.streamed(name, asked, asked, scope, 0),
            asked=asked if not _INVOCATION.isdisjoint(keys) else None,
        )

    def _reader(self, pair: Pair) -> Callable[[Raw], object]:
        """The quickest way to read what is in `pair` that understands it."""
        values = self._values
        if pair.key in names.CONTENT:
            return values.content
        for read in (values.count, values.number, values.text):
            if read(pair.value) is not None:
                return read
        return values.any


def completed(shape: Shape, pairs: Sequence[Pair], start_ns: int) -> Meaning | None:
    """The meaning of a span of `shape` with the attributes `pairs`; ``None`` where one of them is
    out of the ordinary."""
    facts: Facts = {}
    for fact, read, at in shape.free:
        value = read(pairs[at].value)
        if value is None or value == "":
            return None
        facts[fact] = value
    known = shape.meaning
    tool = known.tool_call
    repeats = None
    if known.category in normalise.STEPS and not normalise.USED.isdisjoint(facts):
        repeats = normalise.tokens(shape.names, facts, shape.resource)
    return Meaning(
        known.category,
        known.error,
        _model_call(shape, known.model_call, facts, start_ns) if known.model_call else None,
        ToolCall(
            tool.name,
            normalise.nonempty(facts.get("call_id")),
            tool.inferred,
            tool.read_only,
            content.arguments(facts["in"]) if "in" in facts else None,
            content.result(facts["out"]) if "out" in facts else None,
        )
        if tool is not None
        else None,
        normalise.session(facts["session"]) if "session" in facts else None,
        known.where,
        normalise.nonempty(facts.get("user")),
        None,
        repeats,
    )


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
    return ModelCall(
        model=known.model,
        provider=known.provider,
        tokens=normalise.tokens(shape.names, facts, shape.resource),
        ttft_ns=ttft_ns,
        finish_reasons=known.finish_reasons,
        streamed=streamed,
        turn=normalise.whole(facts["turn"]) if "turn" in facts else None,
        issued=content.issued(facts, facts),
        response_id=normalise.response_id(facts["response_id"], shape.name)
        if "response_id" in facts
        else None,
        opening=content.opening(facts),
        blocks=normalise.blocks(facts) if "blocks" in facts else None,
        said=content.lines(facts["first_output"]) if "first_output" in facts else b"",
        heard=content.lines(facts["third_message"]) if "third_message" in facts else b"",
    )


_TTFT: Final = "ttft"
_ASKED: Final = ("ai.operationId",)
_INVOCATION: Final = frozenset(names.INVOCATION_PARAMETERS)
_OF_ALL: Final = frozenset(("session", "user"))
_OF_TOOLS: Final = frozenset(("call_id", "in", "out"))
_OF_STEPS: Final = frozenset(
    (
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
        "invocation",
        "turn",
        "issued",
        "response_id",
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
    )
)
_FACTS: Final = _OF_ALL | _OF_TOOLS | _OF_MODELS
_FREE: Final[Mapping[str, tuple[str, int]]] = {
    **{key: entry for key, entry in names.FIELDS.items() if entry[0] in _FACTS},
    **{key: (_TTFT, rank) for rank, key in enumerate(names.TIME_UNITS)},
    **{key: (key, 0) for key in names.ISSUED},
}
_WORDS: Final = names.UNDERSTOOD.difference(
    _FREE, names.DATABASE, names.OUTGOING, (names.PENDING_PARENT, names.LOG_DURATION)
)
"""Attributes whose value may decide what a span is. Of those of databases and of outgoing calls it
counts only that they are there."""

_NO_LAYOUT: Final = Layout((), (), {})
MOST_SHAPES: Final = 1024
_USES: Final = 8
"""So often has a shape to be used to be worth having been learned."""
_MOST_NAMES: Final = 256
_LONGEST_WORD: Final = 256
