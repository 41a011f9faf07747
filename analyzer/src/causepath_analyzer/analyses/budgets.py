"""Budgets that runs keep or break: the worst run decides."""

import re
from collections.abc import Callable, Container, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Final, Literal

from msgspec import Struct

from causepath_analyzer.analyses.lacking import is_in_pieces
from causepath_analyzer.analyses.path.kinds import KINDS, Kind
from causepath_analyzer.analyses.path.status import Status, endings_of
from causepath_analyzer.analyses.run import Run

_Emitter = tuple[str | None, str | None]
Unit = Literal["ns", "tokens", "calls", "usd", "findings"]
Amount = int | Decimal
"""Nanoseconds and counts are whole; money is exact."""


class Budget(Struct, frozen=True):
    """The most a run may use. ``where`` is the place that sets it: "--max", or "file:line"."""

    name: str
    most: Amount
    where: str


class Used(Struct, frozen=True):
    """The amount of something that a run used (``None``: not known), and if that may be more,
    ``why``."""

    amount: Amount | None
    why: str | None = None


class Measure(Struct, frozen=True):
    """A thing that can be budgeted: its unit, and how much of it a run used."""

    unit: Unit
    of: Callable[[Run], Used]
    of_calls: bool = False
    """Where no call was recognised, nothing is known of it."""


_SPLIT: Final = ("first_token", "generation")


def _wall(run: Run) -> Used:
    if run.trace.untrusted:
        return Used(None, "times that mean nothing")
    if not run.trace.wall_ns:
        return Used(None, "spans without length")
    if run.ending.is_cut_short:
        return Used(run.trace.wall_ns, "runs that did not come to their end")
    return Used(run.trace.wall_ns, "spans that were lost" if is_in_pieces(run.trace) else None)


def _on_path(kind: Kind, run: Run) -> Used:
    wall = _wall(run)
    if wall.amount is None:
        return wall
    why = "calls that cannot be split" if kind in _SPLIT and run.wall.path.get("llm") else wall.why
    return Used(run.wall.path.get(kind, 0), why)


def _tokens(name: str, run: Run) -> Used:
    used = run.usage
    why = None
    if is_in_pieces(run.trace):
        why = "spans that were lost"
    elif used.uncounted:
        why = "calls without token counts"
    elif used.partial if name in ("output", "reasoning") else used.partial_input:
        why = "calls that were not counted to the end"
    elif used.contradictory:
        why = "calls whose counts cannot be"
    return Used(getattr(used.tokens, name), why)


def _cost(run: Run) -> Used:
    if not run.usage.models and not run.usage.calls.llm:
        return Used(Decimal(0))
    if run.cost.usd is None:
        return Used(None, "calls without a known price")
    if not run.cost.is_whole:
        return Used(run.cost.usd, "calls without a known price")
    return Used(run.cost.usd, _tokens("output", run).why)


def _model_calls(count: int, run: Run) -> Used:
    sums = run.usage.sums  # of at least one call each
    return Used(count + sums, "steps that only say what calls in them used" if sums else None)


def _tool_calls(run: Run) -> Used:
    spans, found = run.trace.spans, run.usage.calls.tool
    asked = any(
        call is not None and ("tool_call" in call.finish_reasons or call.issued)
        for span in spans
        if span.category == "llm"
        for call in (span.model_call,)
    )
    return Used(found, "tools asked for that nothing shows" if asked and not found else None)


def _findings(run: Run) -> Used:
    if run.trace.untrusted:
        return Used(None, "times that mean nothing")
    return Used(len(run.findings), "findings whose rule failed" if run.faults else None)


MEASURES: Final[Mapping[str, Measure]] = {
    "wall": Measure("ns", _wall),
    **{
        f"path.{kind}": Measure("ns", partial(_on_path, kind), kind in ("llm", *_SPLIT))
        for kind in KINDS
    },
    **{
        f"tokens.{name}": Measure("tokens", partial(_tokens, name), of_calls=True)
        for name in ("input", "output", "cache_read", "cache_write", "reasoning")
    },
    "calls.llm": Measure("calls", lambda r: _model_calls(r.usage.calls.llm, r), of_calls=True),
    "calls.tool": Measure("calls", _tool_calls, of_calls=True),
    "turns": Measure("calls", lambda r: _model_calls(r.usage.turns, r), of_calls=True),
    "cost": Measure("usd", _cost, of_calls=True),
    "findings": Measure("findings", _findings),
    "failed": Measure("calls", lambda run: Used(int(run.ending.status != "ok"))),
}
"""By the name that a budget has in settings and on the command line."""

Verdict = Literal["pass", "fail", "inconclusive"]


class Checked(Struct, frozen=True):
    """One budget held against all runs.

    ``worst`` and ``trace_id`` are of the run that used most, ``over`` counts runs over budget,
    ``unknown`` those of which it is not known that they are not: ``why`` of the first one. With any
    of these, and none over budget, the verdict is inconclusive. ``is_lower_bound`` says that the
    worst run may have used more.
    """

    budget: Budget
    unit: Unit
    worst: Amount | None
    trace_id: str | None
    over: int
    unknown: int
    runs: int
    is_lower_bound: bool = False
    why: str | None = None

    @property
    def verdict(self) -> Verdict:
        if self.over:
            return "fail"
        return "inconclusive" if self.unknown else "pass"


class Check(Struct, frozen=True):
    """All budgets held against all runs: ``fail`` if one is broken.

    ``unread`` counts places of the input that were not understood, where runs may be missing: with
    any of them nothing passes.
    """

    budgets: tuple[Checked, ...]
    runs: int
    unread: int
    verdict: Verdict
    endings: Mapping[Status, int]
    """How many runs did not end well."""


def checked(budgets: Sequence[Budget], runs: Sequence[Run], unread: int = 0) -> Check:
    """Holds every budget in `budgets` against `runs`; `unread` places may have more."""
    recording = _recording(runs)
    found = tuple(_checked(budget, runs, recording) for budget in budgets)
    verdicts = {one.verdict for one in found}
    unsure = unread or "inconclusive" in verdicts
    verdict: Verdict = "fail" if "fail" in verdicts else "inconclusive" if unsure else "pass"
    return Check(found, len(runs), unread, verdict, endings_of(run.ending for run in runs))


def _checked(budget: Budget, runs: Sequence[Run], recording: Container[_Emitter]) -> Checked:
    measure = MEASURES[budget.name]
    known: list[tuple[Amount, Run, bool]] = []
    reasons: list[str] = []
    over = 0
    for run in runs:
        used = measure.of(run)
        if measure.of_calls and not used.amount and not _may_be_none(run, recording):
            used = Used(None, "spans of which none is known to be a call")
        if used.amount is not None:
            known.append((used.amount, run, used.why is not None))
            over += used.amount > budget.most
        if used.why is not None and (used.amount is None or used.amount <= budget.most):
            reasons.append(used.why)
    worst = max(known, key=lambda item: item[0], default=None)
    return Checked(
        budget=budget,
        unit=measure.unit,
        worst=worst[0] if worst else None,
        trace_id=worst[1].trace.trace_id if worst else None,
        over=over,
        unknown=len(reasons),
        runs=len(runs),
        is_lower_bound=worst[2] if worst else False,
        why=reasons[0] if reasons else None,
    )


def _recording(runs: Sequence[Run]) -> Container[_Emitter]:
    """Gathers who recorded a call of a model in any of `runs`."""
    return {
        (span.scope, span.service)
        for run in runs
        for span in run.trace.spans
        if span.scope is not None and span.category == "llm"
    }


def _may_be_none(run: Run, recording: Container[_Emitter]) -> bool:
    """Tells whether a run made none of the calls that were not found: others were found, or an
    emitter that records calls wrote spans of it."""
    if run.usage.calls.llm or run.usage.sums:
        return True
    return any(
        span.scope is not None
        and (
            (span.scope, span.service) in recording or _RECORDS_CALLS.match(span.scope) is not None
        )
        for span in run.trace.spans
    )


_RECORDS_CALLS: Final = re.compile(
    r"causepath$|com\.anthropic\.sdk\.|pydantic-ai|logfire\.|openinference\.instrumentation\."
    r"|opentelemetry\.instrumentation\.(?:genai\.)?(?:anthropic|openai|langchain|bedrock|crewai"
    r"|google_generativeai|vertexai|llamaindex|haystack|openai_agents|ollama|mistralai|cohere|groq)"
    r"|gcp\.vertex\.agent|strands|langfuse-sdk|langsmith|ai$|gen_ai$|@ai-sdk/|agent_framework"
    r"|Microsoft\.(?:SemanticKernel|Extensions\.AI|Agents)|Experimental\.Microsoft|crewai|lmnr"
)
"""Scopes of instrumentations and frameworks that write a span for every call of a model."""
