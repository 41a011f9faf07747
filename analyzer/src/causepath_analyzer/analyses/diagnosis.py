"""What traces lack or have twice, and what to do about it: how far their report can be trusted."""

from collections.abc import Callable, Iterable
from typing import Final, Literal

from msgspec import Struct, field

from causepath_analyzer.analyses.path.data_flow import DataFlow
from causepath_analyzer.analyses.path.usage import usage
from causepath_analyzer.model import ModelCall, Span, Trace

TIME_FOR_A_TOOL_NS: Final = 1_000_000
"""A trace that is over sooner after a reply had no time for what it asks for: structured output by
a tool that is never run, or a loop that was left."""

Status = Literal["ok", "note", "bad"]
"""``bad``: figures of the report are missing or wrong because of it."""


class Emitter(Struct, frozen=True):
    """An instrumentation that wrote spans, and the calls it knows of."""

    scope: str | None
    version: str | None
    spans: int
    model_calls: int
    tools: int


class Check(Struct, frozen=True):
    """``count`` of ``of`` things have what the check looks for; ``advice`` is empty if none has."""

    name: str
    status: Status
    count: int
    of: int
    what: str
    advice: str


class Diagnosis(Struct, frozen=True):
    """``checks`` are in order of how much they matter, with those that found nothing."""

    traces: int
    spans: int
    emitters: tuple[Emitter, ...]
    checks: tuple[Check, ...]


class _Found(Struct):
    """Counts over all traces."""

    spans: int = 0
    traces: int = 0
    calls: int = 0
    tools: int = 0
    asking: int = 0
    streamed: int = 0
    merged: int = 0
    disagree: int = 0
    no_tokens: int = 0
    partial: int = 0
    no_model: int = 0
    no_ttft: int = 0
    no_call_id: int = 0
    seen: set[str] = field(default_factory=set)
    """Model calls and tools."""
    away: list[set[str]] = field(default_factory=list)
    """For each trace that has some, the causes that are not in it."""
    in_vain: list[set[str]] = field(default_factory=list)
    """Of each reply whose tools are not in its trace, the spans that record its call."""

    def away_for_good(self) -> int:
        return sum(not causes <= self.seen for causes in self.away)

    def no_tool(self) -> int:
        answered = set().union(*self.away)
        return sum(answered.isdisjoint(call) for call in self.in_vain)

    hands_on: int = 0
    joined: int = 0
    astray: int = 0
    only_sums: int = 0
    contradictory: int = 0
    hasty: int = 0
    inferred: int = 0
    ambiguous: int = 0
    unfinished: int = 0
    untrusted: int = 0
    orphans: int = 0
    duplicates: int = 0
    broken: int = 0
    skewed: int = 0
    skipped: int = 0


class _Rule(Struct, frozen=True):
    name: str
    status: Status
    count: Callable[[_Found], int]
    of: Callable[[_Found], int]
    what: str
    advice: str


_RULES: Final = (
    _Rule(
        "unreadable",
        "bad",
        lambda f: f.skipped,
        lambda f: f.skipped,
        "parts of the input not understood",
        "The places are told above; --strict makes any of them fail. If this is a format that "
        "should be read, export OTLP JSON instead.",
    ),
    _Rule(
        "untrusted_times",
        "bad",
        lambda f: f.untrusted,
        lambda f: f.traces,
        "traces whose spans all end at one instant",
        "The emitter ends its spans when it flushes: their durations mean nothing, and no saving "
        "is computed. Update it, or use another instrumentation.",
    ),
    _Rule(
        "no_model_calls",
        "bad",
        lambda f: f.traces if not f.calls else 0,
        lambda f: f.traces,
        "traces without a model call",
        "No span says that it is a call of a model. Record them: `causepath run -- python "
        "agent.py`, or an OpenTelemetry instrumentation of your SDK.",
    ),
    _Rule(
        "tokens_only_on_agents",
        "bad",
        lambda f: f.only_sums,
        lambda f: f.traces,
        "traces with tokens on agents or steps only",
        "Their sums are counted, but not how many calls they are of, nor when each was made. Turn "
        "on spans for single model calls.",
    ),
    _Rule(
        "tokens_missing",
        "bad",
        lambda f: f.no_tokens,
        lambda f: f.calls,
        "model calls without token counts",
        "Their cost is not known. With raw streams, ask the API for usage "
        "(stream_options.include_usage), or read the stream to its end.",
    ),
    _Rule(
        "tokens_partial",
        "bad",
        lambda f: f.partial,
        lambda f: f.calls,
        "model calls whose output is a lower bound",
        "Their replies were not counted to the end (streams that were left, transcripts of "
        "Claude Code before 2.1.97): output tokens and cost are at least what is shown.",
    ),
    _Rule(
        "tokens_impossible",
        "bad",
        lambda f: f.contradictory,
        lambda f: f.calls,
        "model calls with token counts that cannot be",
        "A count is below zero, a part larger than the whole, or the whole larger than any model "
        "takes: their cost is not known. Update the emitter, or report its counts to whoever "
        "wrote it.",
    ),
    _Rule(
        "calls_too_short",
        "bad",
        lambda f: f.hasty,
        lambda f: f.calls,
        "model calls shorter than any model is",
        "Their spans were not open while the model worked: its time looks like somebody else's. "
        "End the span once the stream is read; answers from a cache are none of a model.",
    ),
    _Rule(
        "tool_spans_missing",
        "bad",
        _Found.no_tool,
        lambda f: f.asking,
        "replies that ask for tools nothing shows",
        "The time of these tools looks like the agent's own. Wrap them with @causepath.tool, or "
        "list them in CAUSEPATH_TOOLS.",
    ),
    _Rule(
        "runs_torn",
        "bad",
        lambda f: f.hands_on,
        lambda f: f.traces,
        "runs that hand results on to others",
        "They may be one run in several traces, as nothing is around its calls; each is reported "
        "by itself. Declare the run with causepath.agent, or open a span around it.",
    ),
    _Rule(
        "runs_joined",
        "note",
        lambda f: f.joined,
        lambda f: f.traces,
        "runs put together from several traces",
        "Their links say that results were handed on within one run. A span around it "
        "(causepath.agent) would keep it in one trace.",
    ),
    _Rule(
        "causes_missing",
        "bad",
        _Found.away_for_good,
        lambda f: f.traces,
        "traces whose causes are in a trace that is not here",
        "Their links lead to calls or tools that no input has. Put their files beside this one.",
    ),
    _Rule(
        "tokens_disagree",
        "bad",
        lambda f: f.disagree,
        lambda f: f.merged,
        "calls recorded twice with different tokens",
        "The record nearest to the wire is counted. Turn off one of the emitters above.",
    ),
    _Rule(
        "doubled",
        "note",
        lambda f: f.merged,
        lambda f: f.spans,
        "spans that record a call once more",
        "Counted once. Of instrumentations of one SDK keep one: the SDK's own is turned off with "
        "ANTHROPIC_OPEN_TELEMETRY=false.",
    ),
    _Rule(
        "model_names_missing",
        "bad",
        lambda f: f.no_model,
        lambda f: f.calls,
        "model calls that do not name the model",
        "Their cost is not known. The attribute is gen_ai.request.model.",
    ),
    _Rule(
        "inferred_tools",
        "note",
        lambda f: f.inferred,
        lambda f: f.tools,
        "tools of which only the window is known",
        "Their durations are upper bounds and no saving is computed from them. Wrap them with "
        "@causepath.tool.",
    ),
    _Rule(
        "ambiguous_tools",
        "note",
        lambda f: f.ambiguous,
        lambda f: f.tools,
        "tools that several calls may have been",
        "Calls of one name and the same result, of which one was measured "
        "(causepath.tool.ambiguous says of how many). Wrap the right one with @causepath.tool.",
    ),
    _Rule(
        "call_ids_missing",
        "note",
        lambda f: f.no_call_id,
        lambda f: f.tools,
        "tools without a call id",
        "Which reply asked for them is told from order, or not at all. The attribute is "
        "gen_ai.tool.call.id.",
    ),
    _Rule(
        "first_token_missing",
        "note",
        lambda f: f.no_ttft,
        lambda f: f.streamed,
        "streams without a time to first token",
        "Their time cannot be split into waiting and generating. The attribute is "
        "gen_ai.response.time_to_first_chunk.",
    ),
    _Rule(
        "unfinished",
        "note",
        lambda f: f.unfinished,
        lambda f: f.spans,
        "spans that never ended",
        "They end where their last child does. Flush the tracer provider before the process "
        "ends, and read streams to their end.",
    ),
    _Rule(
        "parents_elsewhere",
        "note",
        lambda f: f.astray,
        lambda f: f.spans,
        "spans whose parent is in another trace here",
        "The context of another run was kept, and the trace begun anew below it. Start each run "
        "with a context of its own, or keep its trace.",
    ),
    _Rule(
        "orphans",
        "note",
        lambda f: f.orphans - f.astray,
        lambda f: f.spans,
        "spans whose parent is not here",
        "Sampling, dropped batches, or a service whose spans go elsewhere. Put its file beside "
        "this one.",
    ),
    _Rule(
        "duplicates",
        "note",
        lambda f: f.duplicates,
        lambda f: f.spans,
        "records of a span that is here already",
        "Two exporters, retries of one, or a session that repeats an older one: dropped.",
    ),
    _Rule(
        "broken_trees",
        "note",
        lambda f: f.broken,
        lambda f: f.spans,
        "spans in cycles, or ending before they start",
        "Mended. A clock that stepped, or ids that were used again.",
    ),
    _Rule(
        "clock_skew",
        "note",
        lambda f: f.skewed,
        lambda f: f.spans,
        "spans shifted, their host's clock being off",
        "Set the clocks of the hosts by NTP.",
    ),
)


def diagnosis(traces: Iterable[Trace], skipped: int = 0) -> Diagnosis:
    """Looks for what is wrong with `traces`, in whose input `skipped` parts were not understood."""
    found = _Found(skipped=skipped)
    emitters: dict[tuple[str, str], list[int]] = {}
    for trace in traces:
        _count(trace, found)
        models, tools = _recorded(trace)
        for span in trace.spans:
            row = emitters.setdefault((span.scope or "", span.scope_version or ""), [0, 0, 0])
            row[0] += 1
            row[1] += span.span_id in models
            row[2] += span.span_id in tools
    return Diagnosis(
        found.traces,
        found.spans,
        tuple(
            Emitter(scope or None, version or None, *row)
            for (scope, version), row in sorted(emitters.items(), key=lambda e: (-e[1][0], e[0]))
        ),
        tuple(
            Check(
                rule.name,
                rule.status if rule.count(found) else "ok",
                rule.count(found),
                rule.of(found),
                rule.what,
                rule.advice if rule.count(found) else "",
            )
            for rule in _RULES
        ),
    )


def _recorded(trace: Trace) -> tuple[set[str], set[str]]:
    """Finds the ids of spans that record a call of a model, and of a tool, merged ones included."""
    models = {span.span_id for span in trace.spans if span.category == "llm"}
    tools = {span.span_id for span in trace.spans if span.category == "tool"}
    for merge in reversed(trace.merges):  # what was merged first may have been merged again
        (models if merge.kept in models else tools).add(merge.merged)
    return models, tools


def _count(trace: Trace, found: _Found) -> None:
    health = trace.health
    found.traces += 1
    found.spans += health.spans
    found.merged += len(trace.merges)
    found.disagree += sum(merge.tokens_disagree for merge in trace.merges)
    found.unfinished += health.unfinished
    found.orphans += health.orphans
    found.astray += health.astray
    found.hands_on += trace.hands_on
    found.joined += bool(trace.joined)
    found.duplicates += health.duplicates
    found.broken += health.cycles + health.negative
    found.skewed += health.skewed
    found.untrusted += trace.untrusted
    calls = [span.model_call or ModelCall() for span in trace.spans if span.category == "llm"]
    tools = [span.tool_call for span in trace.spans if span.category == "tool"]
    found.calls += len(calls)
    found.tools += len(tools)
    failed = sum(
        span.category == "llm" and span.error is not None and not _counted(span)
        for span in trace.spans
    )
    found.no_tokens += max(0, sum(call.tokens is None for call in calls) - failed)
    found.partial += sum(call.partial for call in calls)
    found.no_model += sum(call.model is None for call in calls)
    streamed = [call for call in calls if call.streamed]
    found.streamed += len(streamed)
    found.no_ttft += sum(call.ttft_ns is None for call in streamed)
    found.inferred += sum(tool is not None and tool.inferred for tool in tools)
    found.ambiguous += sum(tool is not None and tool.ambiguous > 1 for tool in tools)
    found.no_call_id += sum(tool is None or tool.call_id is None for tool in tools)
    asking = [
        span
        for span in trace.spans
        if span.category == "llm"
        and _asks(span.model_call)
        and trace.end_ns - span.ended_ns >= TIME_FOR_A_TOOL_NS
    ]
    found.asking += len(asking)
    known = {tool.call_id for tool in tools if tool is not None}
    for span in asking:
        issued = (span.model_call or ModelCall()).issued
        if not tools or (issued and None not in known and known.isdisjoint(issued)):
            records = {merge.merged for merge in trace.merges if merge.kept == span.span_id}
            found.in_vain.append({span.span_id} | records)
    models, carried_out = _recorded(trace)
    found.seen |= models | carried_out
    here = {span.span_id for span in trace.spans} | models | carried_out
    away = {
        link.span_id
        for span in trace.spans
        for link in span.links
        if link.why in ("tool_call", "tool_result") and link.span_id not in here
    }
    if away:
        found.away.append(away)
    used = usage(DataFlow(trace))
    found.only_sums += used.sums > 0
    found.contradictory += used.contradictory
    found.hasty += used.hasty


def _asks(call: ModelCall | None) -> bool:
    return call is not None and (bool(call.issued) or "tool_call" in call.finish_reasons)


def _counted(span: Span) -> bool:
    return span.model_call is not None and span.model_call.tokens is not None
