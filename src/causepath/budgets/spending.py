"""One budget while it is open: its limits, what was spent, and what comes of too much.

What is spent in a budget is spent in those around it, too, and each of them holds by itself: so
the tighter one wins. Times are those of the monotonic clock. Safe to use from any thread.
"""

from __future__ import annotations

import math
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry import context as otel
from opentelemetry import trace

from causepath import forks
from causepath.budgets.amounts import KINDS, TIMES, Amount, written
from causepath.guard import harmless, log
from causepath.otel import semconv
from causepath.otel.operation import detach
from causepath.otel.span_access import attributes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from causepath.budgets.amounts import Price
    from causepath.providers.messages import ModelReply, Usage

HERE: ContextVar[Spending | None] = ContextVar("causepath-budget", default=None)
"""The innermost budget. Not in OpenTelemetry's context, which the span of a tool, say, takes from
where its run began."""

CARRIED = otel.create_key("causepath-budget")
"""The key, in OpenTelemetry's context, of the budget that a thread goes on in."""


_NO_LIMIT = Decimal("Infinity")


class Used(NamedTuple):
    """Amounts of a budget that were used, or are left. `None` is not known, or not limited."""

    wall_seconds: float | None
    llm_seconds: float | None
    """As long as any call of a model was in progress."""
    tool_seconds: float | None
    """As long as any measured tool was in progress."""
    tokens: int | None
    """Read, caches included, and written."""
    cost: Decimal | None
    """In dollars."""
    turns: int | None
    """Calls of models."""


class BudgetExceeded(Exception):  # noqa: N818 - the name says what has happened
    """A budget does not allow what was about to be done, or to be read on."""

    def __init__(self, message: str, kind: str, usage: Used, *more: object) -> None:
        super().__init__(message, kind, usage, *more)
        self.kind = kind
        """The limit: `wall`, `llm`, `tool`, `tokens`, `cost` or `turns`."""
        self.usage = usage
        """What was used of that budget by then."""

    def __str__(self) -> str:
        return str(self.args[0])


@harmless(None)
def here() -> Spending | None:
    """Finds the innermost budget that is open."""
    found = HERE.get()
    if found is None:
        carried = otel.get_current().get(CARRIED)
        found = carried if isinstance(carried, Spending) else None
    while found is not None and found.is_over:
        found = found.around
    return found


def of_tool(name: str) -> tuple[Spending | None, BaseException | None]:
    """Finds the budget that a tool is about to begin in, and the error to raise instead if it may
    not."""
    budget = here()
    return budget, budget.refusal(f"tool {name}", strict=True) if budget is not None else None


def with_open_budget(context: Context) -> Context | None:
    """Gives this context with the budget that is open, if one is."""
    found = here()
    return None if found is None else otel.set_value(CARRIED, found, context)


def with_budget_of(handed: Context, current: Context) -> Context | None:
    """Gives the current context with the budget that was handed over, if that is missing."""
    found = handed.get(CARRIED)
    return otel.set_value(CARRIED, found, current) if found is not None and here() is None else None


class _Busy:
    """The time in which at least one thing of a kind was in progress."""

    __slots__ = ("_done_ns", "_open", "_since_ns")

    def __init__(self) -> None:
        self._done_ns = self._since_ns = self._open = 0

    @property
    def is_open(self) -> bool:
        return self._open > 0

    def begins(self, now_ns: int) -> None:
        if not self._open:
            self._since_ns = now_ns
        self._open += 1

    def ends(self, now_ns: int) -> None:
        self._open -= 1
        if not self._open:
            self._done_ns += now_ns - self._since_ns

    def until(self, now_ns: int) -> int:
        return self._done_ns + (now_ns - self._since_ns if self._open else 0)


class Spending:
    """The amounts that were spent of one budget."""

    def __init__(
        self,
        limits: Mapping[str, Amount],
        prices: Mapping[str, Price] | None,
        on_exceeded: str | Callable[[BudgetExceeded], object],
    ) -> None:
        self.limits = limits
        self.around = around = here()
        """The budget that it lies in."""
        if prices is None and around is not None:
            prices = around.prices
        self.prices: Mapping[str, Price] | None = prices
        self.is_over = False
        self._on_exceeded = on_exceeded
        self._lock = threading.Lock()
        self._start_ns = time.monotonic_ns()
        self._end_ns: int | None = None
        self._llm, self._tool = _Busy(), _Busy()
        self._turns = self._tokens = 0
        self._cost = Decimal(0)
        self._unknown: set[str] = set()
        """What is not known of all that was spent: `tokens`, `cost`."""
        self._warned: set[str] = set()
        self._exceeded: set[str] = set()
        self._told: set[str] = set()
        """The kinds that were refused for, or that the application was called for."""
        # Four fifths of each limit. Below all of them there is nothing to say, which is asked
        # several times in each call.
        near = {kind: limit * 4 / 5 for kind, limit in limits.items()}
        self._near_wall, self._near_llm, self._near_tool, self._near_tokens = (
            near.get(kind, math.inf) for kind in (*TIMES, "tokens")
        )
        self._near_turns = near.get("turns", math.inf)
        self._near_cost = near.get("cost", _NO_LIMIT)
        self._span: Span = trace.get_current_span()
        """The span to write on: the run's, as soon as that is known."""
        forks.living.add(self)

    def after_fork(self) -> None:
        """Makes a new lock, as a thread of the parent may have held this one."""
        self._lock = threading.Lock()

    def chain(self) -> Iterator[Spending]:
        """Gives this budget and those around it, the innermost first, as far as they are open."""
        one: Spending | None = self
        while one is not None:
            if not one.is_over:
                yield one
            one = one.around

    @harmless(None)
    def close(self) -> None:
        """Ends the budget: what goes on after it is none of it."""
        if not self.is_over:
            self.look(warns=False)
            self._end_ns = time.monotonic_ns()
            self.is_over = True

    # -- what was used

    def _used(self, kind: str, now_ns: int) -> Amount:
        """Measures what is known to be used."""
        if kind == "wall":
            return now_ns - self._start_ns
        if kind == "llm":
            return self._llm.until(now_ns)
        if kind == "tool":
            return self._tool.until(now_ns)
        if kind == "cost":
            return self._cost
        return self._tokens if kind == "tokens" else self._turns

    def used(self) -> Used:
        """Measures what was used up to now, or up to the end."""
        now_ns = self._end_ns or time.monotonic_ns()
        with self._lock:
            return as_used(
                {
                    kind: None if kind in self._unknown else self._used(kind, now_ns)
                    for kind in KINDS
                }
            )

    def left(self) -> dict[str, Amount | None]:
        """Works out what is left of each kind that is limited, in the tightest budget; `None` where
        nobody knows what was used."""
        left: dict[str, Amount | None] = {}
        for one in self.chain():
            for kind, rest in one.left_here().items():
                known = left.get(kind, rest)
                left[kind] = None if rest is None or known is None else min(rest, known)
        return left

    def left_here(self) -> dict[str, Amount | None]:
        """Works out the same of this budget alone."""
        now_ns = time.monotonic_ns()
        with self._lock:
            return {
                kind: None
                if kind in self._unknown
                else max(limit - self._used(kind, now_ns), limit * 0)
                for kind, limit in self.limits.items()
            }

    def allows(self, required: Mapping[str, Amount]) -> bool:
        """Tells whether another call is allowed, and this much is left of each kind."""
        if any(one.reached(strict=False) for one in self.chain()):
            return False
        left = self.left()
        for kind, amount in required.items():
            rest = left.get(kind, amount)
            if rest is None or rest < amount:
                return False
        return True

    def reached(self, *, strict: bool) -> list[tuple[str, Amount, Amount]]:
        """Lists the limits that are exceeded, or already if all of them is used, with what was."""
        now_ns = time.monotonic_ns()
        with self._lock:
            found = [(kind, limit, self._used(kind, now_ns)) for kind, limit in self.limits.items()]
        return [one for one in found if one[2] > one[1] or (one[2] == one[1] and not strict)]

    # -- what comes of it

    @harmless(None)
    def refusal(self, what: str, *, strict: bool) -> BaseException | None:
        """Tells why `what` may not be done, if it may not: the error to raise. `strict`: it needs
        no more than that nothing is exceeded."""
        for one in self.chain():
            found = one.refusal_here(what, strict=strict)
            if found is not None:
                return found
        return None

    def is_quiet(self) -> bool:
        """Tells whether nothing of this budget is nearly used up."""
        now_ns = time.monotonic_ns()
        return (
            now_ns - self._start_ns < self._near_wall
            and self._tokens < self._near_tokens
            and self._turns < self._near_turns
            and self._cost < self._near_cost
            and self._llm.until(now_ns) < self._near_llm
            and self._tool.until(now_ns) < self._near_tool
        )

    def refusal_here(self, what: str, *, strict: bool) -> BaseException | None:
        """Tells the same of this budget alone."""
        if self.is_quiet():
            return None
        for kind, limit, used in self.reached(strict=strict):
            self._note_exceeded(kind, limit, used)
            if self._on_exceeded == "warn":
                continue
            error = BudgetExceeded(
                f"the {kind} budget of {written(kind, limit)} is used up ({written(kind, used)}): "
                f"no further {what}; asked for so far: {self._asked()}",
                kind,
                self.used(),
            )
            is_first = self._is_first(kind, self._told)
            if not callable(self._on_exceeded):
                if is_first:
                    self._tell(semconv.BUDGET_REFUSED_EVENT, kind, limit, used, what)
                return error
            if is_first:
                try:
                    self._on_exceeded(error)
                except BaseException as raised:
                    return raised  # the application's own, which it gets
        self.look(warns=True)
        return None

    def _is_first(self, kind: str, known: set[str]) -> bool:
        """Adds to what is known; tells whether it is new, to one thread only."""
        with self._lock:
            is_new = kind not in known
            known.add(kind)
        return is_new

    def _asked(self) -> str:
        with self._lock:
            more = "tokens" in self._unknown or self._llm.is_open
            known = f"{self._tokens:,} tokens{' and more that no reply has told' * more}"
            return f"{self._turns} model call{'s' * (self._turns != 1)} with {known}"

    @harmless(None)
    def look(self, *, warns: bool) -> None:
        """Says once of each limit that it is exceeded, or nearly so."""
        if self.is_quiet():
            return
        now_ns = time.monotonic_ns()
        with self._lock:
            found = [(kind, limit, self._used(kind, now_ns)) for kind, limit in self.limits.items()]
        for kind, limit, used in found:
            if used > limit:
                self._note_exceeded(kind, limit, used)
            elif warns and used * 5 >= limit * 4 and self._is_first(kind, self._warned):
                self._tell(semconv.BUDGET_WARNING_EVENT, kind, limit, used)
                self._log("nearly used up", kind, limit, used)

    @harmless(None)
    def _note_exceeded(self, kind: str, limit: Amount, used: Amount) -> None:
        if kind in self._exceeded or not self._is_first(kind, self._exceeded):
            return
        self._warned.add(kind)
        span = self._tell(semconv.BUDGET_EXCEEDED_EVENT, kind, limit, used)
        said = attributes_of(span).get(semconv.BUDGET_EXCEEDED, ())
        span.set_attribute(semconv.BUDGET_EXCEEDED, sorted({kind, *said}))
        self._log("used up", kind, limit, used)

    def _log(self, what: str, kind: str, limit: Amount, used: Amount) -> None:
        log.warning(
            "the %s budget is %s: %s of %s", kind, what, written(kind, used), written(kind, limit)
        )

    def _tell(
        self, event: str, kind: str, limit: Amount, used: Amount, refused: str | None = None
    ) -> Any:
        span = self._span if self._span.is_recording() else trace.get_current_span()
        span.add_event(
            event,
            semconv.present(
                {
                    semconv.BUDGET_KIND: kind,
                    semconv.BUDGET_LIMIT: written(kind, limit),
                    semconv.BUDGET_USED: written(kind, used),
                    semconv.BUDGET_REFUSED: refused,
                }
            ),
        )
        return span

    # -- spending

    def begins(self, kind: str, span: Span | None) -> None:
        with self._lock:
            if span is not None and span.is_recording():
                self._span = span
            self._turns += kind == "llm"
            (self._llm if kind == "llm" else self._tool).begins(time.monotonic_ns())

    def ends(self, kind: str) -> None:
        with self._lock:
            (self._llm if kind == "llm" else self._tool).ends(time.monotonic_ns())

    def adds(self, tokens: int, cost: Decimal) -> None:
        with self._lock:
            self._tokens += tokens
            self._cost += cost

    def lacks(self, kind: str, why: str) -> None:
        """Notes that nobody can know all that was used; says so once, if that is limited."""
        if self._is_first(kind, self._unknown) and kind in self.limits:
            log.warning("the %s budget holds for what is known only: %s", kind, why)


class Spent:
    """The part that one call of a model, or one tool, has in its budgets."""

    def __init__(self, budget: Spending, kind: str, what: str, span: Span | None = None) -> None:
        self._budgets = list(budget.chain())
        self._kind = kind
        self._what = what
        self._tokens = 0
        self._costs = [Decimal(0)] * len(self._budgets)
        self._is_over = False
        self.cost: Decimal | None = None
        """The dollars that all of it up to now costs by the prices of the innermost budget, if they
        tell."""
        self.refused: BaseException | None = None
        """The error that the call was cut off with."""
        for one in self._budgets:
            one.begins(kind, span)

    @harmless(None)
    def refusal(self) -> BaseException | None:
        """Tells why the call may not go on, if it may not: the error to raise."""
        self.refused = self._budgets[0].refusal(self._what, strict=True)
        return self.refused

    @harmless(None)
    def uses(self, model: str, reply: ModelReply) -> None:
        """Counts what the reply says was used, all of it up to now."""
        usage = reply.usage
        tokens = (usage.input or 0) + (usage.output or 0)
        more, self._tokens = tokens - self._tokens, tokens
        for i, one in enumerate(self._budgets):
            known = self._cost(one, usage, model, reply.model)
            if i == 0:
                self.cost = known
            cost = known or self._costs[i]
            one.adds(more, cost - self._costs[i])
            self._costs[i] = cost
            one.look(warns=True)

    def _cost(
        self, budget: Spending, usage: Usage, asked: str, answered: str | None
    ) -> Decimal | None:
        table = budget.prices or {}
        price = table.get(answered or "") or table.get(asked)
        if price is None:
            name = answered or asked
            budget.lacks("cost", f"no price is known for {name!r}: prices={{...}} takes one")
            return None
        cost = price.cost(usage)
        if cost is None:
            budget.lacks("cost", f"no price of caches is known for {answered or asked!r}")
        return cost

    @harmless(None)
    def over(self, reply: ModelReply | None = None) -> None:
        """Notes that it has ended; `reply` is what came of one."""
        if self._is_over:
            return
        self._is_over = True
        for one in self._budgets:
            one.ends(self._kind)
            if reply is not None and (reply.usage.input is None or reply.usage.output is None):
                for kind in ("tokens", "cost"):
                    one.lacks(kind, "a reply did not say what it used, or was left before it did")
            one.look(warns=True)


def as_used(amounts: Mapping[str, Any]) -> Used:
    """Gives amounts in the units of people."""
    found: dict[str, Any] = {kind: amounts.get(kind) for kind in KINDS}
    wall, llm, tool = (None if found[one] is None else found[one] / 1e9 for one in TIMES)
    return Used(wall, llm, tool, found["tokens"], found["cost"], found["turns"])


class _BudgetedStep(AbstractContextManager[None]):
    """One step, in one frame, of a call that has a budget of its own."""

    def __init__(self, budget: Spending) -> None:
        self._budget = budget
        self._token: Any = None

    @harmless(None)
    def __enter__(self) -> None:
        self._token = HERE.set(self._budget)

    @harmless(None)
    def __exit__(self, *exc: object) -> None:
        detach(self._token)


class BudgetedCall(_BudgetedStep):
    """One call of a function that has a budget of its own: entered for each of its steps."""

    @harmless(None)
    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        self.end()

    @harmless(nullcontext())
    def step(self) -> AbstractContextManager[None]:
        return _BudgetedStep(self._budget)

    @harmless(None)
    def returned(self, result: object) -> None:
        """The application is about to get `result`."""

    @harmless(None)
    def end(self, error: BaseException | None = None) -> None:  # noqa: ARG002
        self._budget.close()
