"""Which run a model call or a tool call belongs to, across threads and tasks.

A run is a conversation of an agent with a model: it goes on while replies ask for tools and the
next request answers with the same tool-call ids. This is bookkeeping only; spans are opened and
closed in `tracing.py`.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.context import Context

from causepath.code import static_attributes
from causepath.code.application_stack import application_frames, standing
from causepath.content.conversations import Conversations

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from types import FrameType

    from opentelemetry.trace import Span, SpanContext

    from causepath.calls.candidates import Candidate
    from causepath.code.application_stack import Standing
    from causepath.otel.operation import Operation
    from causepath.providers.messages import ToolCall

RUN_KEY = otel.create_key("causepath-run")
"""Of the run that what is current belongs to, in OpenTelemetry's context."""

ENCLOSING_KEY = otel.create_key("causepath-enclosing-run")
"""Of the innermost run around what is current, also around a tool, which is in none itself."""

MAX_OPEN_RUNS = 1_000
"""Inferred runs open at a time; of more, the one that did nothing for longest is ended."""

MAX_REMEMBERED = 10_000
"""Tool calls and conversations remembered at a time; of more, the oldest are forgotten."""

GENERATOR = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR

MAX_DEPTH = 1_000
"""Frames that are looked at."""

Strand = tuple[int, int]

K = TypeVar("K")
V = TypeVar("V")


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
    taken: bool = False
    """Whether a measured function was recognised as this call."""
    function: int = 0
    """The id of that function, which is not kept alive by it."""
    ended: bool = False
    """Whether it is over; called again before its result is told, it is this call once more."""
    failed: bool = False
    about: dict[str, Any] = field(default_factory=dict)
    """What its span says of the arguments."""
    carries: Sequence[SpanContext] = ()
    """The tools whose results are in the arguments."""
    candidates: list[Candidate] = field(default_factory=list)
    """The calls of functions that may have been this one."""
    operation: Operation | None = None
    """The call that is known to be this one, as long as it is in progress."""
    open: int = 0
    """How many of them are in progress."""


@dataclass(eq=False, slots=True)
class Run:
    parent: Context
    """What model calls and tools of the run hang on."""
    key: tuple[int, int]
    """The (trace id, span id) of the span in `parent`."""
    span: Span | None = None
    """The span of an inferred run, which we have to end."""
    name: str | None = None
    """Of the agent."""
    began_ns: int = 0
    turns: int = 0
    calls: int = 0
    """Model calls in progress."""
    touched_ns: int = 0
    thread: int = 0
    """The thread of its latest request, which usually runs its tools too."""
    asked: dict[str, AskedTool] = field(default_factory=dict)
    native_content: bool = False
    """Whether an SDK itself records what is said in the run."""
    conversations: Conversations = field(default_factory=Conversations)
    known: dict[str, SpanContext | None] = field(default_factory=dict)
    """The issuer of every tool call id of the run."""
    answered: bool = False
    """Whether there has been any reply."""
    error: str | None = None
    """What it has failed with, if it is over now."""
    outside: Context | None = None
    """What was current where the run was opened."""
    is_over: bool = False
    """Whether its span has ended: nothing belongs to it any more."""
    frame: FrameType | None = None
    """The generator that declares the run, until it is over."""
    strand: Strand = (0, 0)
    """The thread and the task that the run was opened in."""


def strand() -> Strand:
    """This thread, and the task that runs in it."""
    asyncio = sys.modules.get("asyncio")  # where nobody has imported it, no task runs
    try:
        task = asyncio.current_task() if asyncio is not None else None
    except RuntimeError:
        task = None
    return threading.get_ident(), id(task)


def enclosing_run(context: Context) -> Run | None:
    """The innermost run around what is current in this context, where it is known."""
    run = context.get(ENCLOSING_KEY)
    return run if isinstance(run, Run) else None


def outermost(context: Context) -> bool | None:
    """What a run says of itself that begins in this context: `True`, or nothing."""
    return True if enclosing_run(context) is None else None


def declaring_generator(frame: FrameType | None) -> FrameType | None:
    """The generator whose code declares a run in `frame`; none where that is no generator.

    One that is a context manager declares it for who uses that.
    """
    while frame is not None:
        module = str(frame.f_globals.get("__name__")).partition(".")[0]
        if module not in ("causepath", "contextlib"):
            if not frame.f_code.co_flags & GENERATOR:
                return None
            caller = frame.f_back
            if caller is None or caller.f_globals.get("__name__") != "contextlib":
                return frame
        frame = frame.f_back
    return None


class Given(NamedTuple):
    """What a call of a function is given."""

    named: Mapping[str, object]
    """By name, with what it has by default."""
    chosen: list[object]
    """What it does not have by default."""
    values: tuple[object, ...] = ()
    """All of it, and its `self`."""


def given_by(function: Callable[..., Any] | None, args: Any, kwargs: Any) -> Given:
    named = named_arguments(function, args, kwargs)
    return Given(named, list(named.values()), (*args, *kwargs.values()))


def run_in(context: Context) -> Run | None:
    """The run that what is current in this context belongs to, where it is known."""
    run = context.get(RUN_KEY)
    return run if isinstance(run, Run) else None


class Bounded(OrderedDict[K, V], Generic[K, V]):
    """A dict that forgets its oldest entries."""

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        if len(self) > MAX_REMEMBERED:
            self.popitem(last=False)


class Runs:
    """All the runs of this process that may still go on. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._by_call_id: Bounded[str, Run] = Bounded()
        self._by_parent: Bounded[tuple[int, int], Run] = Bounded()
        self.parents = self._by_parent.keys()
        """The (trace id, span id) of the spans that calls of runs hang on."""
        self._asked_by_name: Bounded[str, list[AskedTool]] = Bounded()
        self._inferred: dict[int, Run] = {}
        self._declared_in: dict[int, list[Run]] = {}
        """The runs that generators declare, by the ids of their frames."""
        self.quiet: Callable[[str], None] = lambda _: None
        """Told of a name that nothing asks for any more."""

    # -- where the code is that runs now

    def here(self) -> Context:
        """The context that what is called now belongs to: the current one, but not of a run that
        has ended, nor, for the consumer of a generator, of the run that the generator declares; and
        of that run, whatever is current, where the generator is on the stack."""
        context = otel.get_current()
        run = enclosing_run(context)
        while run is not None and (run.is_over or _has_left(run)):
            context = _around(context, run)
            run = enclosing_run(context)
        if self._declared_in:
            declared = self._declared_on_stack()
            if declared is not None and not _is_within(run, declared):
                return declared.parent
        return context

    def declare_in(self, frame: FrameType, run: Run) -> None:
        """A generator declares a run, whose steps may come from anywhere."""
        run.frame, run.strand = frame, strand()
        with self._lock:
            self._declared_in.setdefault(id(frame), []).append(run)

    def over(self, run: Run) -> None:
        """The span of a run has ended."""
        run.is_over = True
        frame, run.frame = run.frame, None
        if frame is not None:
            with self._lock:
                declared = self._declared_in.get(id(frame), [])
                if run in declared:
                    declared.remove(run)
                if not declared:
                    self._declared_in.pop(id(frame), None)

    def _declared_on_stack(self) -> Run | None:
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to the stack
        for _ in range(MAX_DEPTH):
            if frame is None:
                return None
            for run in reversed(self._declared_in.get(id(frame), ())):
                if run.frame is frame:
                    return run
            frame = frame.f_back
        return None

    # -- runs

    def answered(self, call_ids: tuple[str, ...]) -> Run | None:
        """The run that issued any of these tool calls."""
        if not call_ids:
            return None
        with self._lock:
            return next((run for i in call_ids if (run := self._by_call_id.get(i))), None)

    def below(self, parent: tuple[int, int]) -> Run | None:
        """The run whose calls hang on the span with this (trace id, span id)."""
        with self._lock:
            return self._by_parent.get(parent)

    def remember_below(self, parent: tuple[int, int], run: Run) -> None:
        with self._lock:
            self._by_parent[parent] = run

    def forget_below(self, parent: tuple[int, int]) -> Run | None:
        """The span ended: nothing more hangs on it. Gives the run that did.

        What its calls were given is no longer needed to tell them apart.
        """
        with self._lock:
            run = self._by_parent.pop(parent, None)
            for asked in run.asked.values() if run is not None else ():
                asked.call = asked.call._replace(input=None)
            return run

    def opened(self, run: Run) -> list[Run]:
        """An inferred run began; somebody has to end it, and those that it gives right now."""
        with self._lock:
            self._inferred[id(run)] = run
            too_many = len(self._inferred) - MAX_OPEN_RUNS
            if too_many <= 0:
                return []
            quiet = (other for other in self._inferred.values() if not other.calls)
            return list(islice(quiet, too_many))

    def after_fork(self) -> None:
        """In a child process, the parent's runs may go on, but the parent ends them."""
        self._lock = threading.RLock()
        for run in self._inferred.values():
            run.span = None
        self._inferred.clear()
        self._declared_in.clear()

    def ended(self, run: Run) -> bool:
        """Stop watching an inferred run; false where it had ended before."""
        with self._lock:
            for asked in list(run.asked.values()):
                self._forget(asked)
            for call_id in run.known:
                self._by_call_id.pop(call_id, None)
            self._by_parent.pop(run.key, None)
            run.is_over = True
            return self._inferred.pop(id(run), None) is not None

    def idle(self, before_ns: int) -> list[Run]:
        """The inferred runs that nothing has happened in since `before_ns`."""
        with self._lock:
            return [run for run in self._inferred.values() if run.touched_ns <= before_ns]

    def next_turn(self, run: Run, now_ns: int) -> int:
        with self._lock:
            run.turns += 1
            run.calls += 1
            run.touched_ns = now_ns
            run.thread = threading.get_ident()
            if id(run) in self._inferred:
                self._inferred[id(run)] = self._inferred.pop(id(run))  # the last to be too many
            return run.turns

    def call_over(self, run: Run, now_ns: int) -> bool:
        """One of the calls of `run` is over; whether another one is in progress."""
        with self._lock:
            run.calls -= 1
            run.touched_ns = max(run.touched_ns, now_ns)
            return run.calls > 0

    def ask(self, run: Run, call: ToolCall, issuer: SpanContext | None, now_ns: int) -> bool:
        """A reply asks for `call`; whether that is new."""
        with self._lock:
            if not call.id or not isinstance(call.id, str) or call.id in run.known:
                return False
            asked = AskedTool(call, run, issuer, now_ns)
            run.asked[call.id] = asked
            run.known[call.id] = issuer
            run.touched_ns = now_ns
            if len(self._by_call_id) >= MAX_REMEMBERED:
                self._forget_oldest_call()
            self._by_call_id[call.id] = run
            self._asked_by_name.setdefault(call.name, []).append(asked)
            return True

    def pause(self, run: Run, call_ids: tuple[str, ...], issuer: SpanContext | None) -> None:
        """The next request of `run` has these ids, of calls that the provider carries out."""
        with self._lock:
            for call_id in call_ids:
                if len(self._by_call_id) >= MAX_REMEMBERED:
                    self._forget_oldest_call()
                self._by_call_id[call_id] = run
                run.known[call_id] = issuer

    def reply_over(self, run: Run, now_ns: int) -> None:
        """Tools that nothing has started yet can start no earlier than now."""
        with self._lock:
            run.touched_ns = now_ns
            for asked in run.asked.values():
                if not asked.taken:
                    asked.asked_ns = now_ns

    def deliver(self, run: Run, call_ids: tuple[str, ...]) -> list[AskedTool]:
        """The calls whose results a request brings for the first time, in its order."""
        with self._lock:
            delivered = [run.asked[i] for i in dict.fromkeys(call_ids) if i in run.asked]
            for asked in delivered:
                self._forget(asked)
            return delivered

    def issuer(self, call_id: str) -> AskedTool | None:
        """The open tool call with this id."""
        with self._lock:
            run = self._by_call_id.get(call_id)
            return run.asked.get(call_id) if run else None

    def asks(self) -> bool:
        """Whether there is any tool call that nothing has answered yet."""
        return bool(self._asked_by_name)

    def is_asked(self, name: str) -> bool:
        """Whether there may be one of the tool with this name. Takes no lock."""
        return name in self._asked_by_name

    def take_by_id(self, call_id: str) -> AskedTool | None:
        """The asked-for call with this id, so that no other one takes it."""
        with self._lock:
            asked = self.issuer(call_id)
            if asked is None or asked.taken:
                return None
            asked.taken = True
            return asked

    def take(
        self,
        name: str,
        by: int,
        given: Given,
        here: tuple[int, int] | None,
        *,
        qualified: bool = False,
    ) -> AskedTool | None:
        """The asked-for call that a call carries out, so that no other one takes it. `by` is the id
        of its function, 0 where that is not known.

        `here` is the (trace id, span id) that a run of this context has its calls below, or `None`
        in a thread without context. The id of the call among the arguments decides, or the very
        objects of a reply; then equal arguments, then, unless it is `strict`, the name alone, in a
        run of this context or thread; of several replies there, that to the loop on the stack. In a
        thread without context, it may also be the only reply that asks. Where two ask for the same
        and nothing tells them apart, it is nobody's: a missing link is better than a wrong one.

        What was carried out by that function before, and is asked for still, it carries out again:
        it failed perhaps.

        `qualified`: the model may know the tool by a longer name (`server__search` for `search`);
        then the arguments have to be equal.
        """
        with self._lock:
            named = self._asked_by_name.get(name, ())
            asked = [a for a in named if not a.taken and not a.open]
            if qualified and not asked:
                asked = [a for a in self._asked_as(name) if _equal(a.call.input, given)]
            asked += [a for a in named if a.ended and by and a.function == by]
            open_now = [a for a in asked if not a.ended or a.failed]
            taken, _ = _which(asked, open_now, given, here, strict=False, known=bool(by))
            if taken is not None:
                taken.taken, taken.ended, taken.function = True, False, by
            return taken

    def may_be(
        self,
        name: str,
        by: object,
        given: Given,
        here: tuple[int, int] | None,
        inside: Collection[AskedTool],
        around: Collection[Candidate] = (),
        *,
        strict: bool = False,
    ) -> tuple[AskedTool | None, bool]:
        """As `take`, of a call that others may turn out to be, too; and whether its arguments are
        those asked for. `inside` calls of which that is not known it is made, and with all of those
        `around`; by one function no
        call is made twice, but after it failed, or where its arguments say so."""
        with self._lock:
            named = self._asked_by_name.get(name, ())
            asked = [a for a in named if not a.taken and (not a.open or a in inside)]
            done = [
                a for a in asked if any(c.by is by and c.error_type is None for c in a.candidates)
            ]
            open_now = [a for a in asked if a not in done]
            found, sure = _which(
                [*open_now, *done], open_now, given, here, strict=strict, known=True
            )
            if found is None:  # perhaps the call in progress has been given up
                again = [a for a in named if not a.taken and _is_made_again(a, by, around)]
                found, sure = _which(again, again, given, here, strict=True, known=True)
                found = found if sure else None
            if found is not None:
                found.open += 1
            return found, sure

    def all_open(self, name: str) -> bool:
        """Whether everything that is asked for of this tool is being done."""
        with self._lock:
            return all(a.open or a.taken for a in self._asked_by_name.get(name, ()))

    def waiting(self, before_ns: int) -> list[AskedTool]:
        """The calls that something may have been, and whose runs have been quiet since then."""
        with self._lock:
            return [
                asked
                for calls in self._asked_by_name.values()
                for asked in calls
                if asked.candidates and asked.run.touched_ns <= before_ns
            ]

    def take_told(self, arguments: Iterable[object]) -> AskedTool | None:
        """The asked-for call that these arguments tell of: its id, its input, its block."""
        with self._lock:
            for value in arguments:
                asked = self._told_by(value)
                if asked is not None and not asked.taken:
                    asked.taken = True
                    return asked
            return None

    def _told_by(self, value: Any) -> AskedTool | None:
        if isinstance(value, str):
            return self.issuer(value)
        fields = value if isinstance(value, dict) else static_attributes.own(value)
        for name in CALL_IDS:
            call_id = fields.get(name)
            asked = self.issuer(call_id) if isinstance(call_id, str) else None
            if asked is not None:
                return asked
        open_calls = (a for calls in self._asked_by_name.values() for a in calls)
        return next((a for a in open_calls if a.call.input is value), None)

    def _asked_as(self, name: str) -> Iterator[AskedTool]:
        """What is asked for by a name that ends with `name`, after something of the server."""
        for longer, asked in self._asked_by_name.items():
            before = longer.removesuffix(name)
            if before != longer and before and not before[-1].isalnum():
                yield from (a for a in asked if not a.taken)

    def _forget_oldest_call(self) -> None:
        call_id, run = self._by_call_id.popitem(last=False)
        run.known.pop(call_id, None)
        if call_id in run.asked:
            self._forget(run.asked[call_id])

    def _forget(self, asked: AskedTool) -> None:
        asked.run.asked.pop(asked.call.id, None)
        others = self._asked_by_name.get(asked.call.name)
        if others and asked in others:
            others.remove(asked)
            if not others:
                del self._asked_by_name[asked.call.name]
                self.quiet(asked.call.name)


def _is_made_again(asked: AskedTool, by: object, around: Collection[Candidate]) -> bool:
    """Whether a call by this function may be another try, as one of it is in progress elsewhere."""
    going_on = [call for call in asked.candidates if not call.end_ns]
    return any(call.by is by for call in going_on) and not any(call in around for call in going_on)


def _has_left(run: Run) -> bool:
    """Whether a generator that declares the run waits for its consumer, who is here.

    What it began before, tasks say, are other strands, and still its own.
    """
    if run.frame is None or run.strand != strand():
        return False
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to the stack
    for _ in range(MAX_DEPTH):
        if frame is None:
            return True
        if frame is run.frame:
            return False
        frame = frame.f_back
    return False


def _around(context: Context, run: Run) -> Context:
    """The context without the run: where something else goes on in it, that alone."""
    span = trace.get_current_span(context)
    if run.is_over and span.is_recording() and span.get_span_context()[:2] != run.key:
        return otel.set_value(ENCLOSING_KEY, None, otel.set_value(RUN_KEY, None, context))
    return run.outside or Context()


def _is_within(run: Run | None, outer: Run) -> bool:
    for _ in range(MAX_DEPTH):
        if run is None or run is outer:
            break
        run = enclosing_run(run.outside) if run.outside is not None else None
    return run is outer


def named_arguments(
    function: Callable[..., Any] | None, args: Any, kwargs: Any
) -> Mapping[str, object]:
    """By name where the signature tells the names, for a function given positional arguments."""
    if not args or function is None:
        return dict(kwargs)
    try:
        signature = inspect.signature(function)
        bound = signature.bind(*args, **kwargs).arguments
    except (TypeError, ValueError):
        return dict(kwargs)
    named = {}
    for name, value in bound.items():
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            named.update(value)
        elif name not in ("self", "cls"):
            named[name] = value
    return named


def ids_in(values: Iterable[object]) -> set[str]:
    """The texts among some values, and the ids that the dicts and objects among them have: those of
    tool calls, in whatever form an SDK or a framework hands them around."""
    found = set()
    for value in values:
        if type(value) is str:
            found.add(value)
            continue
        attributes = value if type(value) is dict else static_attributes.own(value)
        for name in CALL_IDS:
            call_id = attributes.get(name)
            if type(call_id) is str:
                found.add(call_id)
    return found


MAX_FIELDS = 100
"""Attributes of an argument that are compared with what was asked for."""


def _with_fields(arguments: Mapping[str, object]) -> Mapping[str, object]:
    """The arguments, and the attributes of those that are objects, made of what was asked for."""
    fields: dict[str, object] = {}
    for value in arguments.values():
        own = static_attributes.own(value)
        if len(own) <= MAX_FIELDS:
            fields.update(own)
    return {**fields, **arguments} if fields else arguments


CALL_IDS = ("id", "call_id", "tool_call_id", "tool_use_id")


def _same_objects(asked: Any, given: Mapping[str, object]) -> bool:
    """Whether the arguments are the reply's own objects: as one mapping, or value by value.

    Small integers, `None` and interned strings are the same everywhere, so they decide nothing.
    """
    if not isinstance(asked, dict):
        return False
    if any(value is asked for value in given.values()):
        return True
    telling = {k: v for k, v in asked.items() if isinstance(v, str | list | dict) and len(v) > 1}
    return bool(telling) and all(given.get(k) is v for k, v in telling.items())


def _equal(asked: Any, given: Given) -> bool:
    """Whether the arguments are those asked for, and perhaps more that a framework adds."""
    if not isinstance(asked, dict):
        return False
    named = given.named
    try:
        if any(value == asked for value in named.values()):
            return True
        if list(asked.values()) == given.chosen:
            return True  # under whatever names
        return bool(asked) and all(k in named and named[k] == v for k, v in asked.items())
    except Exception:  # an argument of the application may compare in any way it likes
        return False


def _which(
    asked: list[AskedTool],
    open_now: list[AskedTool],
    given: Given,
    here: tuple[int, int] | None,
    *,
    strict: bool,
    known: bool,
) -> tuple[AskedTool | None, bool]:
    """Which of the calls that are asked for, and whether what is given says so. `known`: of a
    function that is known to be the application's, and so runs near its loop."""
    if not asked:
        return None, False
    arguments = _with_fields(given.named)
    thread = threading.get_ident()
    near = [a for a in asked if (a.run.thread == thread if here is None else a.run.key == here)]
    if here is None and not _of_one_reply(asked):
        # Its thread may work for all of them in turn.
        nearest = _of_this_stack(asked)
        near = nearest if _of_one_reply(nearest) else near
    if near and not _of_one_reply(near):
        near = _of_this_stack(near)
    around = near
    if here is not None and not near:  # somebody else may have a span for each turn
        around = [a for a in asked if a.run.key[0] == here[0]]
    said = ids_in(arguments.values())
    same = [a for a in asked if a.call.id in said] or [
        a for a in asked if _same_objects(a.call.input, arguments)
    ]
    equal = [a for a in asked if _equal(a.call.input, given._replace(named=arguments))]
    by_name = [a for a in (near if known else around) if a in open_now]
    found = (
        next((a for a in same if a in near), None)
        or next(iter(same), None)
        or _of_one_reply([a for a in equal if a in around])
        or (None if strict else _of_one_reply(by_name))
        or (_of_one_reply(equal) if here is None else None)
        or (_of_one_reply(open_now) if here is None and not strict else None)
    )
    return found, found in same or found in equal


def _of_one_reply(calls: list[AskedTool]) -> AskedTool | None:
    """The first of some calls, unless several replies asked for them."""
    replies = {a.issuer.span_id if a.issuer is not None else id(a.run) for a in calls}
    return calls[0] if len(replies) == 1 else None


def _of_this_stack(calls: list[AskedTool]) -> list[AskedTool]:
    """Those that were asked for in the most of the frames that are on the stack now: of all of
    them, where several loops asked, as tasks and generators do in one thread."""
    stack = set(standing(application_frames()))
    common = [len(stack.intersection(a.stack)) for a in calls]
    nearest = [a for a, count in zip(calls, common, strict=True) if count == max(common)]
    return nearest if _of_one_reply(nearest) else calls
