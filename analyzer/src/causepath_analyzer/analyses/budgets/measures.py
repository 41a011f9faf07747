"""How much of what can be budgeted a run used, as far as that is known."""

import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Final, Literal

from msgspec import Struct

from causepath_analyzer.analyses.findings.rule import Finding
from causepath_analyzer.analyses.lacking import is_in_pieces
from causepath_analyzer.analyses.path.critical_path import first_token_ns
from causepath_analyzer.analyses.path.kinds import KINDS, Kind
from causepath_analyzer.analyses.path.status import Ending
from causepath_analyzer.analyses.run import Run
from causepath_analyzer.model import NO_SPAN

Unit = Literal["ns", "tokens", "calls", "usd", "findings", "share"]
Amount = int | Decimal
"""Nanoseconds and counts are whole; money and shares are exact."""
Emitter = tuple[str, str | None]
"""An instrumentation scope, and the service that it wrote spans of."""


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


class Call(Struct, frozen=True, array_like=True):
    """A call of a model or of a tool; ``name`` is the model's or the tool's."""

    category: Literal["llm", "tool"]
    name: str
    agents: tuple[str, ...]
    """The agents around it, the nearest first."""
    span_id: str
    duration_ns: int
    first_token_ns: int | None
    tokens: int
    where: str | None = None
    """The file and line of the code that made it."""


class Place(Struct, frozen=True, array_like=True):
    """An operation that a run waited for, and the span of it that was waited for most."""

    name: str
    ns: int
    span_id: str | None = None
    where: str | None = None


class Found(Struct, frozen=True, array_like=True):
    """A finding in a run, and the first of the spans that it is about."""

    code: str
    title: str
    span_id: str | None
    where: str | None


class CallMeasure(Struct, frozen=True):
    """A thing that can be budgeted of each call: in ns, ``None`` where nothing is known."""

    category: Literal["llm", "tool"]
    of: Callable[[Call], int | None]


class Sample(Struct, frozen=True):
    """The part of a run that budgets look at: all that a baseline keeps of it.

    ``used`` has what was asked for of `MEASURES`. ``path`` are the operations that the run waited
    for most.
    """

    trace_id: str
    name: str
    service: str | None
    ending: Ending
    used: Mapping[str, Used]
    calls: tuple[Call, ...] = ()
    path: tuple[Place, ...] = ()
    slowest: Mapping[str, Place] = {}
    """The operation of each kind that the run waited for most."""
    found: tuple[Found, ...] = ()
    bare: tuple[Emitter, ...] | None = None
    """Who wrote the spans of a run in which no call was found, and nobody is known to record any;
    ``None`` of any other run."""
    recorders: tuple[Emitter, ...] = ()
    """Who recorded a call of a model in it."""
    versions: tuple[str, ...] = ()
    """The instrumentations that wrote its spans, each with its version where that is known."""


OUR_SCOPE: Final = "causepath"
_SPLIT: Final = ("first_token", "generation")
MODEL: Final[tuple[Kind, ...]] = (*_SPLIT, "llm")
"""The kinds of work that are calls of a model, which can be split or not."""


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


def _on_models(run: Run) -> Used:
    wall = _wall(run)
    if wall.amount is None:
        return wall
    return Used(sum(run.wall.path.get(kind, 0) for kind in MODEL), wall.why)


def _tokens(name: str, run: Run) -> Used:
    used = run.usage
    why = None
    if is_in_pieces(run.trace):
        why = "spans that were lost"
    elif used.uncounted:
        why = "calls without token counts"
    elif used.partial if name in ("output", "reasoning", "total") else used.partial_input:
        why = "calls that were not counted to the end"
    elif used.contradictory:
        why = "calls whose counts cannot be"
    tokens = used.tokens
    return Used(tokens.input + tokens.output if name == "total" else getattr(tokens, name), why)


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


def _over_budget(run: Run) -> Used:
    """Counts the kinds of limits that the program had set for the run and that were used up, which
    our plugin alone writes."""
    found = len(run.trace.exceeded)
    told = found or any(span.scope == OUR_SCOPE for span in run.trace.spans)
    return Used(found, None if told else "runs that the plugin did not write")


def _perceived(run: Run) -> Used:
    """Measures until the last answer began to come: a person who waits for it sees nothing before.
    An answer that came at once was there at its end."""
    wall = _wall(run)
    if wall.amount is None:
        return wall
    spans, kinds = run.trace.spans, run.kinds
    calls = [i for i, span in enumerate(spans) if span.category == "llm" and kinds.calls[i] == i]
    last = max(calls, key=lambda i: spans[i].ended_ns, default=NO_SPAN)
    if last == NO_SPAN:
        return wall
    began_ns = first_token_ns(run.trace, kinds, last)
    told = spans[last].model_call
    if began_ns is None and (told is None or told.streamed is not False):
        return Used(None, "answers of which nobody says when they began")
    until_ns = spans[last].ended_ns if began_ns is None else began_ns
    return Used(max(0, until_ns - run.trace.start_ns), wall.why)


MEASURES: Final[Mapping[str, Measure]] = {
    "wall": Measure("ns", _wall),
    **{
        f"path.{kind}": Measure("ns", partial(_on_path, kind), kind in ("llm", *_SPLIT))
        for kind in KINDS
    },
    "path.model": Measure("ns", _on_models, of_calls=True),
    **{
        f"tokens.{name}": Measure("tokens", partial(_tokens, name), of_calls=True)
        for name in ("input", "output", "cache_read", "cache_write", "reasoning", "total")
    },
    "calls.llm": Measure("calls", lambda r: _model_calls(r.usage.calls.llm, r), of_calls=True),
    "calls.tool": Measure("calls", _tool_calls, of_calls=True),
    "turns": Measure("calls", lambda r: _model_calls(r.usage.turns, r), of_calls=True),
    "cost": Measure("usd", _cost, of_calls=True),
    "findings": Measure("findings", _findings),
    "perceived": Measure("ns", _perceived),
    "over_budget": Measure("calls", _over_budget),
    "failed": Measure("calls", lambda run: Used(int(run.ending.status != "ok"))),
}
"""What a run used, by the name that it has in settings and on the command line."""

CALL_MEASURES: Final[Mapping[str, CallMeasure]] = {
    "first_token": CallMeasure("llm", lambda call: call.first_token_ns),
    "call.llm": CallMeasure("llm", lambda call: call.duration_ns),
    "call.tool": CallMeasure("tool", lambda call: call.duration_ns),
}
"""What a call used: each call counts, not each run."""

CODE: Final = re.compile(r"CP\d{3}\Z")
"""The code of a finding is a measure, too: how often a run has it."""


def unit_of(measure: str) -> Unit:
    """Gives the unit of a `measure` of a run or of a call."""
    if CODE.match(measure):
        return "findings"
    return "ns" if measure in CALL_MEASURES else MEASURES[measure].unit


def needs_calls(measure: str) -> bool:
    """Tells whether nothing is known of a `measure` where no call was recognised."""
    return measure in MEASURES and MEASURES[measure].of_calls


def sampled(run: Run, measures: Iterable[str]) -> Sample:
    """Takes from `run` what budgets on `measures` look at."""
    spans = run.trace.spans
    emitters = {(span.scope, span.service) for span in spans if span.scope is not None}
    is_bare = not (run.usage.calls.llm or run.usage.sums) and not any(
        _RECORDS_CALLS.match(scope) for scope, _ in emitters
    )
    root = spans[run.trace.roots[0]]
    waited = _waited(run)
    return Sample(
        trace_id=run.trace.trace_id,
        name=root.name.removeprefix("invoke_agent "),
        service=root.service,
        ending=run.ending,
        used={name: used(name, run) for name in measures if name not in CALL_MEASURES},
        calls=_calls(run),
        path=tuple(_longest(run, waited, _PLACES)),
        slowest={kind: _longest(run, {kind: of}, 1)[0] for kind, of in waited.items()},
        found=tuple(_found(run, finding) for finding in run.findings),
        bare=_sorted(emitters) if is_bare else None,
        recorders=_sorted(
            {
                (span.scope, span.service)
                for span in spans
                if span.scope is not None and span.category == "llm"
            }
        ),
        versions=tuple(
            sorted({f"{s.scope} {s.scope_version or ''}".rstrip() for s in spans if s.scope})
        ),
    )


def _sorted(emitters: Iterable[Emitter]) -> tuple[Emitter, ...]:
    """Puts `emitters` in order: a baseline of the same runs is the same file."""
    return tuple(sorted(emitters, key=lambda one: (one[0], one[1] or "")))


def shows_its_calls(sample: Sample, recording: Container[Emitter]) -> bool:
    """Tells whether a run in which no call was found made none: others were found, or an emitter
    that records calls, one of `recording` for example, wrote spans of it."""
    return sample.bare is None or any(emitter in recording for emitter in sample.bare)


def used(name: str, run: Run) -> Used:
    """Tells how much of a measure, or how often a finding, `run` has."""
    if not CODE.match(name):
        return MEASURES[name].of(run)
    if run.trace.untrusted:
        return Used(None, "times that mean nothing")
    failed = any(fault.code == name for fault in run.faults)
    found = sum(finding.code == name for finding in run.findings)
    return Used(found, "findings whose rule failed" if failed else None)


def _calls(run: Run) -> tuple[Call, ...]:
    spans, kinds = run.trace.spans, run.kinds
    found = []
    for i, span in enumerate(spans):
        if span.category == "llm" and kinds.calls[i] == i:
            told = span.model_call
            began_ns = first_token_ns(run.trace, kinds, i)
            tokens = None if told is None else told.tokens
            found.append(
                Call(
                    category="llm",
                    name=(told and told.model) or span.name,
                    agents=_agents(run, i),
                    span_id=span.span_id,
                    duration_ns=span.duration_ns,
                    first_token_ns=None if began_ns is None else began_ns - span.start_ns,
                    tokens=0 if tokens is None else tokens.input + tokens.output,
                    where=span.where,
                )
            )
        elif span.category == "tool":
            name = (span.tool_call and span.tool_call.name) or span.name
            agents, spent_ns = _agents(run, i), span.duration_ns
            found.append(Call("tool", name, agents, span.span_id, spent_ns, None, 0, span.where))
    return tuple(found)


def _agents(run: Run, span: int) -> tuple[str, ...]:
    spans, parents = run.trace.spans, run.trace.parents
    found = []
    above = parents[span]
    while above != NO_SPAN:
        if spans[above].category == "agent":
            found.append(spans[above].name.removeprefix("invoke_agent "))
        above = parents[above]
    return tuple(found)


_PLACES: Final = 3
_NO_PLACE: Final = ("agent", "beside")
"""Nobody can be named who took this time."""


def _waited(run: Run) -> Mapping[Kind, Mapping[int, int]]:
    """Sums how many ns `run` waited for each span, by the kind of work."""
    waited: dict[Kind, dict[int, int]] = {}
    for section in run.path.sections:
        if section.kind not in _NO_PLACE:
            of = waited.setdefault(section.kind, {})
            of[section.span] = of.get(section.span, 0) + section.end_ns - section.start_ns
    return waited


def _longest(run: Run, waited: Mapping[Kind, Mapping[int, int]], most: int) -> Sequence[Place]:
    """Lists `most` of the operations that `run` has waited for, the longest first."""
    by_name: dict[str, Counter[int]] = {}
    for of in waited.values():
        for i, ns in of.items():
            name = "covered by no span" if i == NO_SPAN else run.trace.spans[i].name
            by_name.setdefault(name, Counter())[i] += ns
    found = []
    for name, spent in by_name.items():
        ((first, _),) = spent.most_common(1)
        if first == NO_SPAN:
            found.append(Place(name, spent.total()))
        else:
            span = run.trace.spans[first]
            found.append(Place(name, spent.total(), span.span_id, span.where))
    return sorted(found, key=lambda place: -place.ns)[:most]


def _found(run: Run, finding: Finding) -> Found:
    spans = [run.trace.spans[i] for i in finding.spans]
    return Found(
        finding.code,
        finding.title,
        spans[0].span_id if spans else None,
        finding.where or next((span.where for span in spans if span.where), None),
    )


_RECORDS_CALLS: Final = re.compile(
    r"causepath$|com\.anthropic\.sdk\.|pydantic-ai|logfire\.|openinference\.instrumentation\."
    r"|opentelemetry\.instrumentation\.(?:genai\.)?(?:anthropic|openai|langchain|bedrock|crewai"
    r"|google_generativeai|vertexai|llamaindex|haystack|openai_agents|ollama|mistralai|cohere|groq)"
    r"|gcp\.vertex\.agent|strands|langfuse-sdk|langsmith|ai$|gen_ai$|@ai-sdk/|agent_framework"
    r"|Microsoft\.(?:SemanticKernel|Extensions\.AI|Agents)|Experimental\.Microsoft|crewai|lmnr"
)
"""Scopes of instrumentations and frameworks that write a span for every call of a model."""
