"""`Span` and `Trace`: what every analysis works on. Immutable; times are integer nanoseconds.

Spans of one trace are numbered in the order of ``Trace.spans`` and trees are tuples of these
numbers, so that an analysis over a hundred thousand spans needs no look-up by id and no recursion.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, Literal, get_args

from msgspec import Struct

from causepath_analyzer.errors import CausepathError, UnreadableInputError

Category = Literal[
    "agent",
    "chain",
    "llm",
    "tool",
    "retrieval",
    "embedding",
    "cache",
    "database",
    "network",
    "guardrail",
    "human",
    "wait",
    "retry",
    "other",
]
"""What a span is. ``chain`` is a framework's own step: its time counts as the agent's."""

CATEGORIES: Final[tuple[Category, ...]] = get_args(Category)

TASKS: Final[frozenset[Category]] = frozenset(
    ("llm", "tool", "retrieval", "embedding", "guardrail")
)
"""What an agent asks for and waits for. Traces without any are traces of services."""

SOFT: Final[frozenset[Category]] = frozenset(("agent", "chain", "other"))
"""Spans that only contain others."""

SpanKind = Literal["internal", "server", "client", "producer", "consumer"]

NEXT_MESSAGE: Final = "waiting for the user"
"""The name of what readers of sessions put between an answer and what the user writes next."""

LATE: Final = 20
"""A span may be closed late by a twentieth of its duration."""

NO_SPAN = -1
"""Stands for "no span" wherever a span number is expected: the parent of a root, the time that
nothing covers."""


class Tokens(Struct, frozen=True, gc=False):
    """Token counts; ``input`` includes both caches, ``output`` includes ``reasoning``."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0
    cache_write_1h: int = 0
    """The part of ``cache_write`` that was written to live for one hour."""

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(
            self.input + other.input,
            self.output + other.output,
            self.cache_read + other.cache_read,
            self.cache_write + other.cache_write,
            self.reasoning + other.reasoning,
            self.cache_write_1h + other.cache_write_1h,
        )


NO_TOKENS = Tokens()


class Block(Struct, frozen=True, gc=False):
    """A part of a request or of a reply, without its content: equal digests are equal contents."""

    role: str
    """``system``, ``tools``, ``user`` or ``assistant``."""
    kind: str
    """``text``, ``image``, ``thinking``, ``tool_use``, ``tool_result``, ..."""
    digest: int
    size: int
    """In bytes of UTF-8."""


class Blocks(Struct, frozen=True, gc=False):
    """The blocks that a model was given and that it answered, as digests.

    ``given`` are the new blocks only: the first ``kept`` are those of the call with the span id
    ``previous``, what that was given and then what it answered. ``unlisted`` more were given.
    """

    given: tuple[Block, ...]
    answered: tuple[Block, ...]
    kept: int = 0
    previous: str = ""
    unlisted: int = 0


class Declared(Struct, frozen=True, gc=False):
    """A tool that a request declares; ``size`` is that of the declaration in bytes, 0 if nobody
    says."""

    name: str
    size: int = 0


class Terms(Struct, frozen=True, gc=False):
    """The ways to be served that change a price, in the provider's words and in lower case.
    ``None`` means nobody said."""

    tier: str | None = None
    """The service tier that served, with ``batch`` for what was no request of its own."""
    asked_tier: str | None = None
    speed: str | None = None
    geography: str | None = None


NO_TERMS: Final = Terms()


class Transport(Struct, frozen=True, gc=False):
    """The pace of the stream of one call, and its connection. ``None`` means nobody said."""

    events: int | None = None
    """The events of the stream, the first and the last among them."""
    first_event_ns: int | None = None
    """From the start of the span to the first of them, which need not be a part of the answer."""
    longest_gap_ns: int | None = None
    """The longest that the reader of the stream waited for one event after the first."""
    connection_ns: int | None = None
    """The wait for a connection."""
    is_new: bool | None = None
    """The connection was opened for this call."""


ANSWERS_FOR_MANY: Final = frozenset((None, "anthropic", "openai"))
"""Providers whose SDK is pointed at others, which then go by its name: the host tells more."""


class ModelCall(Struct, frozen=True, gc=False):
    """The facts about one request to a model. ``None`` means nobody said."""

    model: str | None = None
    provider: str | None = None
    tokens: Tokens | None = None
    ttft_ns: int | None = None
    """From the start of the span to the first token."""
    finish_reasons: tuple[str, ...] = ()
    streamed: bool | None = None
    turn: int | None = None
    issued: tuple[str, ...] = ()
    """Ids of the tool calls that the reply asked for, where its content was recorded."""
    response_id: str | None = None
    opening: int | None = None
    """Equal for calls whose messages begin alike, up to the first answer of the model."""
    blocks: Blocks | None = None
    """If known, then links of ``content`` were looked for as well."""
    rest_of_stream: bool = False
    """Only the time after the headers, of a call that has a span of its own for the time before."""
    said: bytes = b""
    heard: bytes = b""
    """Digests of the first lines of the reply, and of the first answer among the messages sent:
    a plan made by one call and carried out by others."""
    partial: bool = False
    """The reply was not counted to its end: of its output there were at least so many tokens."""
    partial_input: bool = False
    """Nobody says that it is the output alone of which there were more."""
    generated_ns: int | None = None
    """From the start of the span to the end of generating, without what its consumer held it up."""
    terms: Terms = NO_TERMS
    searches: int = 0
    """How often the provider searched the web for it."""
    said_usd: Decimal | None = None
    """What the trace itself says that it cost."""
    said_currency: str | None = None
    """The currency of what the trace says that it cost, where that is not the US dollar."""
    cache_diagnosis: str | None = None
    """The provider's own word for why its cache did not have all of the prompt."""
    cache_missed: int | None = None
    """The tokens that the cache would have had else, as the provider estimates."""
    transport: Transport | None = None
    declared: tuple[Declared, ...] | None = None
    """The tools that were sent along, without those that a search would have to find first."""
    goes_on: bool = False
    """It goes on with a conversation that the provider keeps."""
    has_negatives: bool = False
    """A count of its tokens is below zero, so that nobody knows how many there were."""
    has_audio: bool = False
    """Some of its tokens are sound."""


class Content(Struct, frozen=True, gc=False):
    """Recorded content: equal digests are equal texts."""

    digest: int
    size: int
    """In bytes."""
    text: str | None = None
    """A short text as it is."""
    packed: bytes | None = None
    """A longer one, compressed (zstd). The longest are not kept."""


Flow = Literal["complete", "searched", "unsure"]
"""Of what somebody was given, as far as the emitter of the trace could see it. ``complete``: every
word of it had been given or answered before, and links say by whom. ``searched``: some words are
new, and those of earlier answers would have been found. ``unsure``: something may be counted, or be
another form of a word, or there was too much to search. ``None`` elsewhere: nobody looked."""

LoopKind = Literal["each", "some", "until", "chain"]
"""Of a loop around a call. ``each``: over items, each of which has its call; ``some``: not all of
them have; ``until``: it may be left before its end, perhaps for what a call has answered;
``chain``: something of an answer is kept where the next round finds it."""


class CallSite(Struct, frozen=True, gc=False):
    """The place where the application makes a call."""

    stack: tuple[str, ...]
    """The application's lines, each ``file:line function:column``, the nearest first; of many the
    rest as a digest."""
    loop: str | None = None
    """The nearest of them that is in a loop, without the column."""
    loop_kind: LoopKind | None = None
    apart: frozenset[str] = frozenset()
    """Other lines of the functions on the stack: the code hands nothing of the answers to calls
    that were made there on to this one, nor do they decide whether it is made."""
    kept: frozenset[str] = frozenset()
    """Lines of the stack whose functions keep something of the answer where others may see it."""


Outcome = Literal["failure", "verdict"]
"""What a short result says. ``verdict``: yes or no, a state, or nothing at all."""


class ToolCall(Struct, frozen=True, gc=False):
    """The facts about one tool call."""

    name: str | None = None
    call_id: str | None = None
    inferred: bool = False
    """Only the window is known in which the tool ran; its duration is an upper bound."""
    read_only: bool | None = None
    arguments: Content | None = None
    result: Content | None = None
    """Of both perhaps no more than a digest is known."""
    outcome: Outcome | None = None
    places: tuple[str, ...] = ()
    """What the arguments name, as digests: see `analyses.places`."""
    ambiguous: int = 0
    """How many calls it may have been, where its result did not tell."""


class Retrieval(Struct, frozen=True, gc=False):
    """The recorded content of one retrieval."""

    query: Content | None = None
    documents: Content | None = None
    """All that was found; a list where each document was told by itself."""


class Link(Struct, frozen=True, gc=False):
    """A cause outside the tree: this span has to do with that one."""

    span_id: str
    why: str | None = None
    """``tool_call``, ``tool_result``, ``content``, or ``None`` on links of other emitters."""
    trace_id: str = ""
    """Of another trace that it leads into."""


RunOutcome = Literal["failed", "interrupted", "timed_out", "unfinished"]
"""What a run came to that did not end well."""


class Label(Struct, frozen=True, gc=False, array_like=True):
    """The value of an attribute that somebody asked for by its name; of a list its items."""

    name: str
    values: tuple[str, ...]
    of_resource: bool = False


class Span(Struct, frozen=True, gc=False):
    """One span, normalised: no analysis needs to know what it was called where it came from."""

    trace_id: str
    span_id: str
    parent_id: str
    """Empty where there is no parent."""
    name: str
    start_ns: int
    end_ns: int | None
    """``None`` while it is not known that the span ended; never ``None`` inside a `Trace`."""
    category: Category = "other"
    kind: SpanKind = "internal"
    service: str | None = None
    host: str = ""
    """Names the clock: spans of equal host can be compared without asking about skew."""
    error: str | None = None
    model_call: ModelCall | None = None
    tool_call: ToolCall | None = None
    links: tuple[Link, ...] = ()
    session: str | None = None
    where: str | None = None
    """``file:line function`` of the code that opened the span."""
    scope: str | None = None
    """Who emitted the span: the name of its instrumentation scope, where the format keeps it."""
    user: str | None = None
    scope_version: str | None = None
    repeats: ModelCall | None = None
    """What an agent or step says of the calls in it: never to be added to what these say. On a
    model call the call itself, where only the tree tells if it is one or a step around some."""
    site: CallSite | None = None
    flow: Flow | None = None
    is_inferred: bool = False
    """The run was not declared: whoever wrote the trace took the calls to be one."""
    program: str | None = None
    """The start of a program by ``causepath run`` that it belongs to."""
    run_outcome: RunOutcome | None = None
    """What whoever wrote the span says that the run came to; ``None`` also where it ended well."""
    left_open: bool = False
    """It had not ended when its program did, or nobody has written that it ended."""
    exceeded: tuple[str, ...] = ()
    """The kinds of limits that the program itself had set for what is in it, and that were used
    up."""
    retrieval: Retrieval | None = None
    labels: tuple[Label, ...] = ()
    """What was asked for beside all this, and what the span, or its resource, says of it."""

    @property
    def duration_ns(self) -> int:
        return (self.start_ns if self.end_ns is None else self.end_ns) - self.start_ns

    @property
    def ended_ns(self) -> int:
        return self.start_ns if self.end_ns is None else self.end_ns


class Health(Struct, frozen=True, gc=False):
    """The repairs that a trace needed before it could be read as one tree."""

    spans: int = 0
    merged: int = 0
    duplicates: int = 0
    orphans: int = 0
    cycles: int = 0
    unfinished: int = 0
    skewed: int = 0
    negative: int = 0
    rehung: int = 0
    notes: tuple[str, ...] = ()
    astray: int = 0
    """Of the orphans those whose parent is in another trace of the input."""


MergeReason = Literal["response id", "tokens", "call id", "name", "time", "attempt", "stream"]
"""What says that two spans record one call. ``time``: one contains the other and nothing speaks
against it; ``attempt``: a try that failed, inside the call; ``stream``: the rest of its time."""


class Merge(Struct, frozen=True, gc=False):
    """A span that recorded a call once more, and the one that stands for the call."""

    kept: str
    merged: str
    why: MergeReason
    tokens_disagree: bool = False
    kept_tokens: Tokens | None = None
    merged_tokens: Tokens | None = None


class Trace(Struct, frozen=True, gc=False):
    """A repaired tree of spans.

    ``spans`` are in order of (start, id). ``parents[i]`` is the number of the parent of span *i*
    and `NO_SPAN` for a root; ``children[i]`` are its children. The wall is from ``start_ns``, the
    earliest start, to ``end_ns``, the end of the run (see `read.run_end`). Where no single root
    covers it, a virtual root does: it has no span, and its children are ``roots``.
    """

    trace_id: str
    spans: tuple[Span, ...]
    parents: tuple[int, ...]
    children: tuple[tuple[int, ...], ...]
    roots: tuple[int, ...]
    start_ns: int
    end_ns: int
    health: Health = Health()
    merges: tuple[Merge, ...] = ()
    untrusted: bool = False
    """Durations mean nothing in this trace: no saving may be computed from them."""
    background: frozenset[int] = frozenset()
    """Spans that were begun as the last act of a root and that nobody waited for."""
    after_ns: int = 0
    """How long spans of the trace go on after the run has ended."""
    resolution_ns: int = 1
    """What the clock cuts times to: 1 ns, 1 us or 1 ms."""
    joined: tuple[str, ...] = ()
    """Ids of the later traces that are a part of this run."""
    hands_on: bool = False
    """It may be one run with another trace, although nothing says so for certain."""

    @property
    def wall_ns(self) -> int:
        return self.end_ns - self.start_ns

    @property
    def exceeded(self) -> list[str]:
        """The kinds of limits that the program itself had set in the run, and that were used up."""
        return sorted({kind for span in self.spans for kind in span.exceeded})

    @property
    def main_root(self) -> int:
        """Finds the root the trace is named after: the longest, of equals the first."""
        return max(self.roots, key=lambda i: (self.spans[i].duration_ns, -i))

    def top_down(self) -> Sequence[int]:
        """Orders all span numbers so that every parent comes before its children."""
        order = list(self.roots)
        for index in order:
            order.extend(self.children[index])
        return order


class Skipped(Struct, frozen=True, gc=False):
    """Something in an input that was not understood. ``where`` is "line 2", "byte 77", ..."""

    where: str
    why: str
    unfinished: bool = False
    """It is the last thing in the input: somebody was still writing it, and nothing is missing."""


class Input(Struct, frozen=True):
    """The outcome of reading one file. ``problem`` is set if nothing at all came out of it."""

    path: str
    format: str | None
    spans: int
    skipped: tuple[Skipped, ...] = ()
    skipped_total: int = 0
    """May be larger than the number of ``skipped``, which is bounded."""
    problem: CausepathError | None = None
    notes: tuple[str, ...] = ()
    """What is worth knowing about it although all of it was understood."""
    partial: tuple[tuple[str, str], ...] = ()
    """Ids of the traces of which a server gave only a part, and what it said."""
    attributes: tuple[str, ...] = ()
    """The names of attributes in it, if any was asked for."""

    @property
    def unread(self) -> int:
        """Counts the places in it that may have held spans and were not understood."""
        if self.problem is not None:
            return int(isinstance(self.problem, UnreadableInputError))
        return self.skipped_total - sum(skipped.unfinished for skipped in self.skipped)
