"""Runs and the tool calls that their replies ask for, as values.

A run is a conversation of an agent with a model: it goes on while replies ask for tools and the
next request answers with the same tool-call ids.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.context import Context

from causepath.content.conversations import Conversations

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from opentelemetry.trace import Span, SpanContext

    from causepath.calls.candidates import Candidate
    from causepath.calls.strands import Strand
    from causepath.code.application_stack import Standing
    from causepath.code.frames import WrittenAt
    from causepath.otel.endings import Ending
    from causepath.otel.operation import Operation
    from causepath.providers.messages import ToolCall

RUN_KEY = otel.create_key("causepath-run")
"""The key, in OpenTelemetry's context, of the run that what is current belongs to."""

ENCLOSING_KEY = otel.create_key("causepath-enclosing-run")
"""The key of the innermost run around what is current, also around a tool, which itself is in
none."""

TOOLS_KEY = otel.create_key("causepath-tools-around")
"""The key of the tool calls that replies asked for and that are around what is current, the
innermost first."""

MAX_DEPTH = 1_000
"""Runs or frames around something that are looked at."""


@dataclass(eq=False, slots=True)
class AskedTool:
    """A tool call that a reply asked for, until its result is delivered."""

    call: ToolCall
    run: Run
    issuer: SpanContext | None
    """The model call that asked."""
    asked_ns: int
    measured: SpanContext | None = None
    """The span that measured it."""
    stack: tuple[Standing, ...] = ()
    """The frames that it was asked for in, the innermost first."""
    inside: frozenset[WrittenAt] = frozenset()
    """The functions that these are of."""
    taken: bool = False
    """A measured function was recognised as this call."""
    function: int = 0
    """The id of that function, which is not kept alive by it."""
    is_form: bool = False
    """The model had no choice but a tool: the answer in that form, perhaps, which nobody carries
    out."""
    ended: bool = False
    """It is over; called again before its result is sent, it is this call once more."""
    failed: bool = False
    ending: Ending | None = None
    """The end of the latest call of it, if not its own."""
    about: dict[str, Any] = field(default_factory=dict)
    """Attributes of its span about who asked for it, and with what arguments."""
    carries: Sequence[SpanContext] = ()
    """The tools whose results are in the arguments."""
    candidates: list[Candidate] = field(default_factory=list)
    """The calls of functions that may have been this one."""
    operation: Operation | None = None
    """The call that is known to be this one, as long as it is in progress."""
    open: int = 0
    """The number of them in progress."""

    def is_surely_going_on(self) -> bool:
        """Tells whether a call in progress is known to be this one."""
        return self.operation is not None or (
            self.open > 0 and any(call.sure and not call.end_ns for call in self.candidates)
        )


@dataclass(eq=False, slots=True)
class Run:
    """A conversation of an agent with a model."""

    parent: Context
    """The context that model calls and tools of the run hang on."""
    key: tuple[int, int]
    """The (trace id, span id) of the span in `parent`."""
    span: Span | None = None
    """The span of an inferred run, which we have to end."""
    written: Span | None = None
    """Its span as long as it goes on, if we write that."""
    name: str | None = None
    """The agent's name."""
    began_ns: int = 0
    turns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    """Those of its calls that are over, and of the runs inside it."""
    cost: Decimal | None = Decimal(0)
    """The dollars that these cost, unless a price is not known of one."""
    calls: int = 0
    """Model calls in progress."""
    touched_ns: int = 0
    thread: int = 0
    """The thread of its latest request, which usually runs its tools too."""
    asked: dict[str, AskedTool] = field(default_factory=dict)
    native_content: bool = False
    """An SDK itself records what is said in the run."""
    conversations: Conversations = field(default_factory=Conversations)
    known: dict[str, SpanContext | None] = field(default_factory=dict)
    """The issuer of every tool call id of the run."""
    replies: dict[str, str] = field(default_factory=dict)
    """The id of the reply with each tool call of the run, where the provider is to compare prompts
    with that."""
    answered: bool = False
    """There has been a reply."""
    ending: Ending | None = None
    """The way it has ended, if it is over now and that was not by itself."""
    host: Run | None = None
    """The run around it, if it has no span of its own: that of the tool which it is inside of, else
    the one that the outermost span of others is."""
    inside: int = 0
    """Model calls in progress of the conversations that it is the host of."""
    is_in_tool: bool = False
    """That is the run of a tool: what is said here is not what the host was asked."""
    stack: tuple[Standing, ...] = ()
    """The frames that its latest reply came to."""
    activations: set[int] = field(default_factory=set)
    """The marks of the application's functions that make its calls and are still running."""
    is_chain: bool = False
    """A call of another conversation has taken up what it put out."""
    forces_tools: bool = False
    """Its latest request left the model no choice but a tool."""
    is_resting: bool = False
    """It has its answer, and ends unless a call takes that up."""
    outside: Context | None = None
    """The context that was current where the run was opened."""
    is_over: bool = False
    """Its span has ended: nothing belongs to it any more."""
    frame: FrameType | None = None
    """The generator that declares the run, until it is over."""
    strand: Strand = (0, 0)
    """The thread and the task that the run was opened in; if the ids of its tool calls are made up,
    and nobody declares it in a generator, those that it asked for tools in."""

    @property
    def opened_in(self) -> tuple[int, int] | None:
        """The (trace id, span id) of the span of others that an inferred run was opened in."""
        if self.span is None or self.outside is None:
            return None
        around = trace.get_current_span(self.outside).get_span_context()
        return around[:2] if around.is_valid else None

    @property
    def shown_on(self) -> Span | None:
        """The span that says what the run was asked and answered, as long as it goes on."""
        if self.host is None:
            return self.written
        return None if self.is_in_tool else self.host.written


def enclosing_run(context: Context) -> Run | None:
    """Finds the innermost run around what is current in this context, if it is known."""
    run = context.get(ENCLOSING_KEY)
    return run if isinstance(run, Run) else None


def below_remote(trace_id: int, span_id: int, flags: int) -> Context:
    """Makes the context below a span in another process, which is in a run there."""
    remote = trace.SpanContext(trace_id, span_id, True, trace.TraceFlags(flags))
    context = trace.set_span_in_context(trace.NonRecordingSpan(remote), Context())
    return otel.set_value(ENCLOSING_KEY, Run(context, (trace_id, span_id)), context)


def inside_tool(asked: AskedTool, context: Context) -> Context:
    """Makes the context inside a call that a reply asked for."""
    around = _tools_around(context)[: MAX_DEPTH - 1]
    return otel.set_value(TOOLS_KEY, (asked, *around), context)


def busy_runs(context: Context) -> Sequence[Run]:
    """Lists the runs whose tools are around what is current in this context: what such a tool does
    is no other tool call of its run."""
    return [asked.run for asked in _tools_around(context) if asked.is_surely_going_on()]


def run_around(context: Context) -> Run | None:
    """Finds the innermost run around what is current in this context: also that of a tool, if it
    has no span of its own, or one that is not around the tool."""
    run = enclosing_run(context)
    if run is None:
        tools = _tools_around(context)
        run = tools[0].run if tools else None
    return run


def _tools_around(context: Context) -> tuple[AskedTool, ...]:
    around = context.get(TOOLS_KEY)
    return around if isinstance(around, tuple) else ()


def run_in(context: Context) -> Run | None:
    """Finds the run that what is current in this context belongs to, if it is known."""
    run = context.get(RUN_KEY)
    return run if isinstance(run, Run) else None


def around(run: Run) -> Iterator[Run]:
    """Lists a run and those around it, the innermost first."""
    one: Run | None = run
    for _ in range(MAX_DEPTH):
        if one is None:
            break
        yield one
        outer = one.host or enclosing_run(one.outside if one.outside is not None else one.parent)
        one = outer if outer is not one else None


def is_within(run: Run | None, outer: Run) -> bool:
    """Tells a run that was opened somewhere inside another one, or is that."""
    for _ in range(MAX_DEPTH):
        if run is None or run is outer:
            break
        run = enclosing_run(run.outside) if run.outside is not None else None
    return run is outer
