"""The reports as JSON. Fields of a schema may be added, not changed."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import isfinite
from typing import Final

import msgspec
from msgspec import Struct

from causepath_analyzer.analyses.budgets.baseline import Changed
from causepath_analyzer.analyses.budgets.intervals import Interval
from causepath_analyzer.analyses.budgets.measures import Amount, Unit
from causepath_analyzer.analyses.budgets.verdicts import Check, Checked, Verdict
from causepath_analyzer.analyses.budgets.wording import Level, Sign
from causepath_analyzer.analyses.findings.rule import Evidence
from causepath_analyzer.analyses.path.cost import NO_COST, Basis, Cost, table_name
from causepath_analyzer.analyses.path.critical_path import Edge
from causepath_analyzer.analyses.path.kinds import Kind
from causepath_analyzer.analyses.path.status import Status
from causepath_analyzer.analyses.program import ProgramTime
from causepath_analyzer.analyses.run_view import RunView
from causepath_analyzer.analyses.summary.summary import Summary
from causepath_analyzer.model import NO_SPAN, Category, Input, MergeReason, Tokens
from causepath_analyzer.report.cache_json import CacheJson, cache_json
from causepath_analyzer.report.inputs_json import InputJson, inputs_json
from causepath_analyzer.report.money_json import (
    MoneyTold,
    money_told,
    priced_share_told,
    usd_told,
)
from causepath_analyzer.report.summary_json import SummaryTold, summary_told

REPORT_SCHEMA: Final = "causepath.report/2"
CHECK_SCHEMA: Final = "causepath.check/2"


class _Section(Struct):
    span_id: str | None
    name: str | None
    start_ns: int
    end_ns: int
    kind: Kind
    edge: Edge
    beside: str | None


class _Tokens(Struct):
    input: int
    output: int
    cache_read: int
    cache_write: int
    reasoning: int
    cache_write_1h: int


class _Finding(Struct):
    code: str
    title: str
    span_ids: list[str]
    saving_ns: int | None
    share: float | None
    saving_usd: str | None
    saving_tokens: int | None
    """What is not known, or not saved, is null."""
    evidence: Evidence
    why: str
    where: str | None
    fix: str
    times: int
    refuted_by: str
    at_most: bool
    """The saving is an upper bound: the trace speaks against all of it."""
    cache: CacheJson | None
    overlaps: Sequence[str]
    """The codes of other findings that save some of the same money, or are about the same calls of
    tools."""


class _Health(Struct):
    spans: int
    merged: int
    duplicates: int
    orphans: int
    cycles: int
    unfinished: int
    skewed: int
    negative: int
    rehung: int
    astray: int
    untrusted: bool
    notes: Sequence[str]


class _Merge(Struct):
    """A span that recorded a call once more; ``kept`` stands for the call."""

    kept: str
    merged: str
    why: MergeReason
    tokens_disagree: bool


class _Conversation(Struct):
    session: str | None
    agent: str | None
    turns: int
    span_ids: list[str]
    tokens: _Tokens


class _Calls(Struct):
    llm: int
    tool: int


class _Prices(Struct):
    """The way in which the cost was told."""

    table: str
    own: str | None
    basis: Basis | None
    estimates: Sequence[str]
    unpriced_models: Sequence[str]
    said_usd: str | None
    compared_usd: str | None
    is_doubtful: bool
    said_in: Sequence[str]
    """Other currencies that the trace says costs in."""
    said_unpriced_usd: str | None
    """What the trace says that calls cost which have no price here."""


class _Trace(Struct):
    trace_id: str
    name: str
    service: str | None
    session: str | None
    start_ns: int
    wall_ns: int
    after_ns: int
    status: Status
    error: str | None
    """The type or the message of the error that a run which did not end well ended with."""
    over_budget: list[str]
    """The kinds of limits that the program itself had set, and that were used up."""
    path: list[_Section]
    wall: Mapping[Kind, int]
    sum: Mapping[Category, int]
    calls: _Calls
    partial_calls: int
    """Model calls of whose output the tokens are a lower bound."""
    uncounted_calls: int
    contradictory_calls: int
    hasty_calls: int
    sums: int
    """As `Usage` has them."""
    turns: int
    tokens: _Tokens
    cost_usd: str | None
    priced_share: float
    prices: _Prices | None
    money: MoneyTold | None
    findings: list[_Finding]
    together_ns: int
    together_usd: str | None
    health: _Health
    lacking: Sequence[str]
    joined: Sequence[str]
    hands_on: bool
    merges: list[_Merge]
    conversations: list[_Conversation]


class _Report(Struct):
    schema: str
    inputs: list[InputJson]
    traces: Sequence[msgspec.Raw]
    summary: SummaryTold
    program: ProgramTime | msgspec.UnsetType = msgspec.UNSET
    """The program that `causepath run` has run."""


class _Range(Struct):
    """An estimate and the range it is in; null where nothing limits it."""

    value: int | str | None
    low: int | str | None
    high: int | str | None


class _Place(Struct):
    name: str
    ns: int
    span_id: str | None
    where: str | None


class _Violation(Struct):
    trace_id: str
    name: str
    used: int | str
    span_id: str | None
    path: list[_Place]
    ending: str | None
    span: str | None
    where: str | None


class _Allotted(Struct):
    kind: str
    share: str
    verdict: Verdict
    max: int | str | None
    worst: int | str | None
    range: _Range | None
    left: int | str | None
    is_near: bool
    why: str | None


class _Checked(Struct):
    name: str
    verdict: Verdict
    unit: Unit
    max: int | str | None
    """The limit, whatever the sign is; null where there is nothing to compare with."""
    worst: int | str | None
    trace_id: str | None
    over: int
    unknown: int
    at_least: bool
    why: str | None
    where: str
    budget: str
    sign: Sign
    level: Level
    runs: int
    range: _Range | None
    total: int | str | None
    baseline: _Range | None
    needed: int | None
    is_near: bool
    left: int | str | None
    """Of the limit; less than 0 where more was used."""
    allotted: list[_Allotted]
    violations: list[_Violation]


class _Check(Struct):
    schema: str
    inputs: list[InputJson]
    runs: int
    endings: Mapping[Status, int]
    budgets: list[_Checked]
    verdict: Verdict
    unread: int
    """Places of the input that were not understood, although spans may be there."""
    changed: Sequence[Changed]


def report_json(
    inputs: Sequence[Input],
    traces: Sequence[bytes],
    summary: Summary,
    program: ProgramTime | None = None,
) -> bytes:
    """Writes the report in schema `REPORT_SCHEMA` on `traces`, each as `trace_json` wrote it."""
    report = _Report(
        schema=REPORT_SCHEMA,
        inputs=inputs_json(inputs),
        traces=[msgspec.Raw(trace) for trace in traces],
        summary=summary_told(summary),
        program=program if program is not None else msgspec.UNSET,
    )
    return written(report)


def trace_json(view: RunView) -> bytes:
    """Writes what `report_json` says of one run."""
    return msgspec.json.encode(_trace(view))


def check_json(inputs: Sequence[Input], check: Check) -> bytes:
    """Writes budgets in schema `CHECK_SCHEMA`; money is a decimal string, all else whole."""
    told = _Check(
        schema=CHECK_SCHEMA,
        inputs=inputs_json(inputs),
        runs=check.runs,
        endings=check.endings,
        budgets=[_checked(result) for result in check.budgets],
        verdict=check.verdict,
        unread=check.unread,
        changed=check.changed,
    )
    return written(told)


def _checked(result: Checked) -> _Checked:
    budget, unit = result.budget, result.unit
    return _Checked(
        name=budget.measure,
        verdict=result.verdict,
        unit=unit,
        max=None if result.limit is None else _amount(result.limit),
        worst=None if result.worst is None else _amount(result.worst),
        trace_id=result.trace_id,
        over=result.over,
        unknown=result.unknown,
        at_least=result.is_lower_bound,
        why=result.why,
        where=budget.where,
        budget=budget.name,
        sign=budget.sign,
        level=budget.level,
        runs=result.runs,
        range=_range(result.interval, unit),
        total=None if result.total is None else _amount(result.total),
        baseline=_range(result.baseline, unit),
        needed=result.needed,
        is_near=result.is_near,
        left=_left(result),
        allotted=[
            _Allotted(
                one.kind,
                f"{one.share:f}",
                part.verdict,
                None if part.limit is None else _amount(part.limit),
                None if part.worst is None else _amount(part.worst),
                _range(part.interval, unit),
                _left(part),
                part.is_near,
                part.why,
            )
            for one, part in zip(budget.allotted, result.allotted, strict=True)
        ],
        violations=[
            _Violation(
                one.trace_id,
                one.name,
                _amount(one.amount),
                one.span_id,
                [_Place(at.name, at.ns, at.span_id, at.where) for at in one.path],
                one.ending,
                one.span,
                one.where,
            )
            for one in result.violations
        ],
    )


def _left(result: Checked) -> int | str | None:
    left = result.left
    if isinstance(left, float):
        if not isfinite(left):
            return None
        return round(left) if result.unit == "ns" else f"{left:.6g}"
    return None if left is None else _amount(left)


def _range(interval: Interval | None, unit: Unit) -> _Range | None:
    """Writes an estimate: ns as whole numbers, all else as decimals."""
    if interval is None:
        return None

    def told(value: float) -> int | str | None:
        if not isfinite(value):
            return None
        return round(value) if unit == "ns" else f"{value:.6g}"

    return _Range(told(interval.value), told(interval.low), told(interval.high))


def written(value: Struct) -> bytes:
    """Writes `value` as all reports in JSON are written."""
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"


def _amount(value: Amount) -> int | str:
    return usd_told(value) if isinstance(value, Decimal) else value


def _prices(cost: Cost) -> _Prices:
    return _Prices(
        table=table_name(),
        own=cost.own or None,
        basis=None if cost.usd is None else cost.basis,
        estimates=cost.estimates,
        unpriced_models=cost.unpriced,
        said_usd=None if cost.said_usd is None else usd_told(cost.said_usd),
        compared_usd=None if cost.compared_usd is None else usd_told(cost.compared_usd),
        is_doubtful=cost.is_doubtful,
        said_in=cost.said_in,
        said_unpriced_usd=(
            None if cost.said_unpriced_usd is None else usd_told(cost.said_unpriced_usd)
        ),
    )


def _trace(view: RunView) -> _Trace:
    run, trace = view.run, view.run.trace
    spans = trace.spans
    health = run.health
    return _Trace(
        trace_id=trace.trace_id,
        name=view.name,
        service=view.service,
        session=view.session,
        start_ns=trace.start_ns,
        wall_ns=trace.wall_ns,
        after_ns=trace.after_ns,
        status=run.ending.status,
        error=run.ending.error,
        over_budget=trace.exceeded,
        path=[
            _Section(
                span_id=spans[s.span].span_id if s.span != NO_SPAN else None,
                name=spans[s.span].name if s.span != NO_SPAN else None,
                start_ns=s.start_ns,
                end_ns=s.end_ns,
                kind=s.kind,
                edge=s.edge,
                beside=spans[s.beside].span_id if s.beside != NO_SPAN else None,
            )
            for s in run.path.sections
        ],
        wall=run.wall.path,
        sum=run.wall.sums,
        calls=_Calls(run.usage.calls.llm, run.usage.calls.tool),
        partial_calls=run.usage.partial,
        uncounted_calls=run.usage.uncounted,
        contradictory_calls=run.usage.contradictory,
        hasty_calls=run.usage.hasty,
        sums=run.usage.sums,
        turns=run.usage.turns,
        tokens=_tokens(run.usage.tokens),
        cost_usd=None if run.cost.usd is None else usd_told(run.cost.usd),
        priced_share=priced_share_told(run.cost.share),
        prices=None if run.cost == NO_COST else _prices(run.cost),
        money=money_told(run),
        findings=[
            _Finding(
                code=finding.code,
                title=finding.title,
                span_ids=[spans[i].span_id for i in finding.spans],
                saving_ns=finding.saving.ns,
                share=None if finding.share is None else round(finding.share, 4),
                saving_usd=None if finding.saving.usd is None else usd_told(finding.saving.usd),
                saving_tokens=finding.saving.tokens,
                evidence=finding.evidence,
                why=finding.why,
                where=finding.where,
                fix=finding.fix,
                times=finding.times,
                refuted_by=finding.refuted_by,
                at_most=finding.at_most,
                cache=None if finding.cache is None else cache_json(finding.cache),
                overlaps=finding.overlaps,
            )
            for finding in run.findings
        ],
        together_ns=run.together_ns,
        together_usd=None if run.together_usd is None else usd_told(run.together_usd),
        health=_Health(
            spans=health.spans,
            merged=health.merged,
            duplicates=health.duplicates,
            orphans=health.orphans,
            cycles=health.cycles,
            unfinished=health.unfinished,
            skewed=health.skewed,
            negative=health.negative,
            rehung=health.rehung,
            astray=health.astray,
            untrusted=trace.untrusted,
            notes=health.notes,
        ),
        lacking=view.lacking,
        joined=trace.joined,
        hands_on=trace.hands_on,
        merges=[_Merge(m.kept, m.merged, m.why, m.tokens_disagree) for m in trace.merges],
        conversations=[
            _Conversation(
                session=held.session,
                agent=None if held.agent == NO_SPAN else spans[held.agent].span_id,
                turns=len(held.calls),
                span_ids=[spans[i].span_id for i in held.calls],
                tokens=_tokens(held.tokens(trace)),
            )
            for held in run.usage.conversations
        ],
    )


def _tokens(tokens: Tokens) -> _Tokens:
    return _Tokens(
        tokens.input,
        tokens.output,
        tokens.cache_read,
        tokens.cache_write,
        tokens.reasoning,
        tokens.cache_write_1h,
    )
