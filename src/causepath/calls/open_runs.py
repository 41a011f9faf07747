"""The runs of this process that may still go on, across threads and tasks: the store of them.

This is bookkeeping only; spans are opened and closed elsewhere.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from opentelemetry import trace

from causepath.calls.announced_tool import told_in
from causepath.calls.declared_runs import DeclaredRuns
from causepath.calls.matching import CALL_IDS, Here, is_equal, is_made_again, which
from causepath.calls.runs import AskedTool, Run, around, busy_runs, run_in
from causepath.calls.strands import strand
from causepath.code import static_attributes
from causepath.code.application_stack import application_frames, standing
from causepath.code.frames import written_at
from causepath.otel import semconv
from causepath.otel.span_access import take_away
from causepath.providers.messages import MadeUpId

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from decimal import Decimal
    from types import CodeType

    from opentelemetry.context import Context
    from opentelemetry.trace import SpanContext

    from causepath.calls.matching import Given
    from causepath.code.application_stack import Standing
    from causepath.providers.messages import ToolCall, Usage

MAX_OPEN_RUNS = 1_000
"""Inferred runs open at a time; of more, the one that did nothing for longest is ended."""

MAX_REMEMBERED = 10_000
"""Tool calls and conversations remembered at a time; of more, the oldest are forgotten."""

K = TypeVar("K")
V = TypeVar("V")


class Bounded(OrderedDict[K, V], Generic[K, V]):
    """A dict that forgets its oldest entries."""

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        if len(self) > MAX_REMEMBERED:
            self.popitem(last=False)


class OpenRuns:
    """The runs of this process that may still go on. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._by_call_id: Bounded[str, Run] = Bounded()
        self._by_parent: Bounded[tuple[int, int], Run] = Bounded()
        self.parents = self._by_parent.keys()
        """The (trace id, span id) of the spans that calls of runs hang on."""
        self._asked_by_name: Bounded[str, list[AskedTool]] = Bounded()
        self._inside_tool: Bounded[tuple[int, int], Run] = Bounded()
        """The (trace id, span id) of the spans that others have open for tools, and of those below
        them, with the runs that asked."""
        self._inferred: dict[int, Run] = {}
        self._opened_in: Bounded[tuple[int, int], None] = Bounded()
        """The (trace id, span id) of the spans of others that inferred runs were opened in."""
        self.declared = DeclaredRuns()
        self.here = self.declared.here
        self.quiet: Callable[[str], None] = _ignore
        """Called with a name that nothing asks for any more."""

    # -- spans of others for tools

    def began_for_tool(self, key: tuple[int, int], run: Run) -> None:
        """Notes that somebody else's span for a tool of `run` has begun."""
        self._inside_tool[key] = run

    def began_below(self, parent: tuple[int, int], key: tuple[int, int]) -> None:
        """Notes that a span has begun, perhaps below that of a tool. Takes no lock."""
        run = self._inside_tool.get(parent)
        if run is not None:
            self._inside_tool[key] = run

    def span_over(self, key: tuple[int, int]) -> None:
        self._inside_tool.pop(key, None)

    def _busy(self, context: Context) -> Collection[Run]:
        """Lists the runs whose tools are around what is current in this context."""
        busy = busy_runs(context)
        if not self._inside_tool:
            return busy
        current = trace.get_current_span(context).get_span_context()
        run = self._inside_tool.get((current.trace_id, current.span_id))
        return busy if run is None else [*busy, run]

    # -- runs

    def answered(self, call_ids: tuple[str, ...]) -> Run | None:
        """Finds the run that issued any of these tool calls."""
        if not call_ids:
            return None
        with self._lock:
            found = next((run for i in call_ids if (run := self._by_call_id.get(i))), None)
            if not isinstance(call_ids[0], MadeUpId):
                return found
            # Conversations that began alike have these ids in common.
            alike = [run for run in self._inferred.values() if call_ids[0] in run.asked]
            here = strand()
            return next((run for run in alike if run.strand == here), alike[0] if alike else found)

    def below(self, parent: tuple[int, int]) -> Run | None:
        """Finds the run whose calls hang on the span with this (trace id, span id)."""
        with self._lock:
            return self._by_parent.get(parent)

    def remember_below(self, parent: tuple[int, int], run: Run) -> None:
        with self._lock:
            self._by_parent[parent] = run

    def forget_below(self, parent: tuple[int, int]) -> Run | None:
        """Forgets and gives the run that hangs on a span, as that has ended.

        The arguments of its calls are no longer needed to tell them apart.
        """
        with self._lock:
            run = self._by_parent.pop(parent, None)
            for asked in run.asked.values() if run is not None else ():
                asked.call = asked.call._replace(input=None)
            return run

    def opened(self, run: Run) -> list[Run]:
        """Watches an inferred run, which has begun. Gives those that have to end right now."""
        with self._lock:
            self._inferred[id(run)] = run
            around = run.opened_in
            if around is not None:
                self._opened_in[around] = None
            too_many = len(self._inferred) - MAX_OPEN_RUNS
            if too_many <= 0:
                return []
            quiet = (other for other in self._inferred.values() if not other.calls)
            return list(islice(quiet, too_many))

    def after_fork(self) -> None:
        """Leaves, in a child process, the end of runs to the parent; they may go on here."""
        self._lock = threading.RLock()
        for run in self._inferred.values():
            run.span = None
        self._inferred.clear()
        self.declared.clear()

    def clear(self) -> None:
        """Forgets all of them."""
        with self._lock:
            self.quiet = _ignore
            for kept in (self._by_call_id, self._by_parent, self._asked_by_name, self._inferred):
                kept.clear()
            self._opened_in.clear()
            self._inside_tool.clear()
        self.declared.clear()

    def ended(self, run: Run) -> bool:
        """Stops watching an inferred run; gives false if it had ended before."""
        with self._lock:
            for asked in list(run.asked.values()):
                self._forget(asked)
            for call_id in run.known:
                self._by_call_id.pop(call_id, None)
            self._by_parent.pop(run.key, None)
            run.is_over = True
            return self._inferred.pop(id(run), None) is not None

    def declared_over(self, run: Run) -> None:
        """Notes that a declared run has ended, which no request goes on with.

        A tool that it asked for may still be carried out.
        """
        self.declared.over(run)
        with self._lock:
            for call_id in run.known.keys() - run.asked.keys():
                if self._by_call_id.get(call_id) is run:
                    del self._by_call_id[call_id]

    def unanswered(self, run: Run) -> list[AskedTool]:
        """Lists the tools of its latest reply whose results no request has brought."""
        with self._lock:
            asked = list(run.asked.values())
        return [one for one in asked if one.issuer == asked[-1].issuer]

    def rests(self, run: Run) -> bool:
        """Lets a run rest that has its answer; false if nothing can take it up."""
        with self._lock:
            run.is_resting = bool(run.activations) and id(run) in self._inferred
            return run.is_resting

    def resting(self, before_ns: int) -> list[Run]:
        """Lists the runs that have been at rest since `before_ns`."""
        with self._lock:
            return [
                run
                for run in self._inferred.values()
                if run.is_resting and not run.calls and run.touched_ns <= before_ns
            ]

    def idle(self, before_ns: int) -> list[Run]:
        """Lists the inferred runs that nothing has happened in since `before_ns`."""
        with self._lock:
            return [run for run in self._inferred.values() if run.touched_ns <= before_ns]

    def next_turn(self, run: Run, now_ns: int) -> int:
        """Counts a model call that begins."""
        with self._lock:
            run.turns += 1
            run.calls += 1
            if run.host is not None:
                run.host.inside += 1
            run.is_resting = False
            run.touched_ns = now_ns
            run.thread = threading.get_ident()
            if id(run) in self._inferred:
                self._inferred[id(run)] = self._inferred.pop(id(run))  # the last to be too many
            return run.turns

    def call_over(self, run: Run, now_ns: int, usage: Usage, cost: Decimal | None) -> bool:
        """Notes that a call of `run` is over, and what it used and costs, if that is known; tells
        whether another one is in progress."""
        with self._lock:
            for one in around(run):
                one.input_tokens += usage.input or 0
                one.output_tokens += usage.output or 0
                known = one.cost is not None
                one.cost = None if one.cost is None or cost is None else one.cost + cost
                if one.written is not None and one.written.is_recording():
                    one.written.set_attributes(_used(one))
                    if known and not one.cost:  # not what a part of it costs
                        take_away(one.written, [semconv.RUN_COST_USD])
            run.calls -= 1
            if run.host is not None:
                run.host.inside -= 1
            run.touched_ns = max(run.touched_ns, now_ns)
            return run.calls > 0

    def ask(
        self, run: Run, call: ToolCall, issuer: SpanContext | None, now_ns: int, turn: int
    ) -> bool:
        """Notes that the reply of a turn asks for `call`; tells whether that is new."""
        with self._lock:
            if not call.id or not isinstance(call.id, str) or call.id in run.known:
                return False
            asked = AskedTool(call, run, issuer, now_ns, is_form=run.forces_tools)
            asked.about[semconv.TURN] = turn
            if isinstance(call.id, MadeUpId) and run.frame is None:
                run.strand = strand()
            run.asked[call.id] = asked
            run.known[call.id] = issuer
            run.touched_ns = now_ns
            self._remember_call(call.id, run)
            self._asked_by_name.setdefault(call.name, []).append(asked)
            return True

    def pause(self, run: Run, call_ids: tuple[str, ...], issuer: SpanContext | None) -> None:
        """Notes that the next request of `run` has these ids, of calls that the provider carries
        out."""
        with self._lock:
            for call_id in call_ids:
                self._remember_call(call_id, run)
                run.known[call_id] = issuer

    def reply_over(self, run: Run, issuer: SpanContext | None, now_ns: int) -> None:
        """Notes that the reply of one call of `run` is known as a whole now."""
        with self._lock:
            run.touched_ns = now_ns
            self.start_after(run, issuer, now_ns)

    def start_after(self, run: Run, issuer: SpanContext | None, now_ns: int) -> None:
        """Notes that the tools which one call has asked for, and nothing has started yet, can start
        no earlier than now. Those that another call of the run has asked for may be at work."""
        with self._lock:
            for asked in run.asked.values():
                if asked.issuer == issuer and not asked.taken:
                    asked.asked_ns = now_ns

    def deliver(self, run: Run, call_ids: tuple[str, ...]) -> list[AskedTool]:
        """Takes out the calls whose results a request brings for the first time, in its order."""
        with self._lock:
            delivered = [run.asked[i] for i in dict.fromkeys(call_ids) if i in run.asked]
            for asked in delivered:
                self._forget(asked)
            return delivered

    def issuer(self, call_id: str) -> AskedTool | None:
        """Finds the open tool call with this id."""
        with self._lock:
            run = self._by_call_id.get(call_id)
            return run.asked.get(call_id) if run else None

    def asks(self) -> bool:
        """Tells whether there is any tool call that nothing has answered yet."""
        return bool(self._asked_by_name)

    def is_asked(self, name: str) -> bool:
        """Tells whether there may be one of the tool with this name. Takes no lock."""
        return name in self._asked_by_name

    def take_by_id(self, call_id: str) -> AskedTool | None:
        """Takes the asked-for call with this id, so that no other one takes it."""
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
        *,
        qualified: bool = False,
        context: Context | None = None,
    ) -> AskedTool | None:
        """Takes the asked-for call that a call carries out, so that no other one takes it.

        `by` is the id of its function, 0 if that is not known. The call is made in `context`, or
        else here. If a framework has announced the call, its id decides. If the function already
        carried out a call whose result has not been sent, this is a retry of that call. With
        `qualified`, the model may know the tool by a longer name (`server__search` for `search`,
        which may be another tool); then the arguments have to be equal. Inside a tool, it is no
        other one of the same run.
        """
        context = self.here() if context is None else context
        told = told_in(context)
        call_id = told.call_id if told is not None and told.name == name else None
        if call_id is not None and self.issuer(call_id) is not None:
            return self.take_by_id(call_id)
        here = self._place(context, is_near=bool(by))
        busy = self._busy(context)
        with self._lock:
            named = [a for a in self._asked_by_name.get(name, ()) if a.run not in busy]
            asked = [a for a in named if not a.taken and not a.open]
            if qualified:
                asked = self._qualified(name, given, asked, busy)
            asked += [a for a in named if a.ended and by and a.function == by]
            open_now = [a for a in asked if not a.ended or a.failed]
            taken, _ = which(asked, open_now, given, here, strict=False)
            if taken is not None:
                taken.taken, taken.ended, taken.function = True, False, by
            return taken

    def may_be(
        self,
        name: str,
        by: object,
        given: Given,
        inside: Collection[object],
        around: Collection[object] = (),
        *,
        code: CodeType | None = None,
        strict: bool = False,
    ) -> tuple[AskedTool | None, bool]:
        """Finds the asked-for call that a call may be, as others may, and says whether its
        arguments are those asked for.

        It is made `inside` calls of which that is not known, and with all of those `around`. One
        function makes no call twice, but after it failed, or if its arguments say so.
        """
        context = self.here()
        here, busy = self._place(context), self._busy(context)
        with self._lock:
            named = [a for a in self._asked_by_name.get(name, ()) if a.run not in busy]
            asked = [a for a in named if not a.taken and (not a.open or a in inside)]
            done = [
                a for a in asked if any(c.by is by and c.error_type is None for c in a.candidates)
            ]
            open_now = [a for a in asked if a not in done]
            # A function that asks for a tool of its own name, to have its answer in that form.
            open_now = [a for a in open_now if code is None or written_at(code) not in a.inside]
            found, sure = which([*open_now, *done], open_now, given, here, strict=strict)
            if found is None:  # perhaps the call in progress has been given up
                again = [a for a in named if not a.taken and is_made_again(a, by, around)]
                found, sure = which(again, again, given, here, strict=True)
                found = found if sure else None
            if found is not None:
                found.open += 1
            return found, sure

    def all_open(self, name: str) -> bool:
        """Tells whether everything that is asked for of this tool is being done."""
        with self._lock:
            return all(a.open or a.taken for a in self._asked_by_name.get(name, ()))

    def waiting(self, before_ns: int) -> list[AskedTool]:
        """Lists the calls that something may have been, and whose runs have been quiet since."""
        with self._lock:
            return [
                asked
                for calls in self._asked_by_name.values()
                for asked in calls
                if asked.candidates and asked.run.touched_ns <= before_ns
            ]

    def take_told(self, arguments: Iterable[object]) -> AskedTool | None:
        """Takes the asked-for call that these arguments have: its id, its input, its block."""
        with self._lock:
            for value in arguments:
                asked = self._told_by(value)
                if asked is not None and not asked.taken:
                    asked.taken = True
                    return asked
            return None

    def _place(self, context: Context, *, is_near: bool = True) -> Here:
        current = trace.get_current_span(context).get_span_context()
        key: tuple[int, int] | None = None
        if current.is_valid:
            key = current.trace_id, current.span_id
            run = run_in(context) or self.below(key)
            if run is not None:
                key = run.key
            elif key in self._opened_in:
                key = None  # a run that goes on here is not around what is current
        return Here(key, threading.get_ident(), _frames, is_near=is_near)

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

    def _qualified(
        self, name: str, given: Given, asked: list[AskedTool], busy: Collection[Run]
    ) -> list[AskedTool]:
        """Selects those that a call of a server's tool may be: those `asked` for by its own name,
        unless only the arguments of those by a longer one are these, or the very object."""
        longer = [
            a for a in self._asked_as(name) if a.run not in busy and is_equal(a.call.input, given)
        ]
        the_very = [a for a in longer if a.call.input is given.named]
        if the_very or not any(is_equal(a.call.input, given) for a in asked):
            return the_very or longer or asked
        return asked

    def _asked_as(self, name: str) -> Iterator[AskedTool]:
        """Finds what is asked for by a longer name: `name`, after something of the server."""
        for longer, asked in self._asked_by_name.items():
            before = longer.removesuffix(name)
            if before != longer and before and not before[-1].isalnum():
                yield from (a for a in asked if not a.taken)

    def _remember_call(self, call_id: str, run: Run) -> None:
        if len(self._by_call_id) >= MAX_REMEMBERED:
            oldest, its_run = self._by_call_id.popitem(last=False)
            its_run.known.pop(oldest, None)
            if oldest in its_run.asked:
                self._forget(its_run.asked[oldest])
        self._by_call_id[call_id] = run

    def _forget(self, asked: AskedTool) -> None:
        asked.run.asked.pop(asked.call.id, None)
        others = self._asked_by_name.get(asked.call.name)
        if others and asked in others:
            others.remove(asked)
            if not others:
                del self._asked_by_name[asked.call.name]
                self.quiet(asked.call.name)


def _used(run: Run) -> dict[str, float]:
    used = {
        semconv.RUN_INPUT_TOKENS: run.input_tokens,
        semconv.RUN_OUTPUT_TOKENS: run.output_tokens,
        semconv.RUN_COST_USD: float(run.cost or 0),
    }
    return {name: amount for name, amount in used.items() if amount}


def _ignore(name: str) -> None: ...


def _frames() -> set[Standing]:
    return set(standing(application_frames()))
