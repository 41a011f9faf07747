"""The summary of many runs as JSON: times in ns, costs as decimal strings, null where unknown."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from msgspec import Struct

from causepath_analyzer.analyses.findings.rule import Evidence
from causepath_analyzer.analyses.path.kinds import Kind
from causepath_analyzer.analyses.path.status import Status
from causepath_analyzer.analyses.summary.distribution import ERROR, Spread
from causepath_analyzer.analyses.summary.summary import (
    Example,
    Group,
    Model,
    Slow,
    Step,
    Stretch,
    Summary,
)
from causepath_analyzer.analyses.summary.sums import TIERS
from causepath_analyzer.model import Category
from causepath_analyzer.report.cache_json import CacheJson, cache_json
from causepath_analyzer.report.money_json import priced_share_told, usd_told


class _By(Struct):
    by: str
    key: str
    wall_ns: int
    share: float
    p50_ns: int
    p95_ns: int
    runs: int


class _Tier(Struct):
    """``below_ns`` is null for the last one."""

    name: str
    below_ns: int | None
    runs: int


class _Group(Struct):
    key: str
    """Empty where the runs do not say."""
    runs: int
    failed: int
    wall_ns: Spread
    perceived_ns: Spread | None
    perceived_runs: int
    tiers: list[_Tier]
    cost_usd: str | None
    at_least: bool
    """The runs cost more than that."""
    priced_share: float
    tokens: int
    cache_share: float | None


class _Model(Struct):
    model: str
    runs: int
    calls: int
    failed: int
    input_tokens: int
    output_tokens: int
    share: float
    """Of all tokens."""
    cache_share: float | None
    first_token_ns: Spread | None
    tokens_per_1000_s: Spread | None
    """After the first token."""
    cost_usd: str | None
    at_least: bool


class _Operation(Struct):
    category: Category
    name: str
    runs: int
    calls: int
    failed: int
    duration_ns: Spread
    total_ns: int


class _Stretch(Struct):
    start_ns: int
    end_ns: int
    runs: int
    failed: int
    mean_wall_ns: int
    cache_share: float | None
    cost_usd: str


class _Finding(Struct):
    code: str
    runs: int
    saving_ns: int | None
    saving_usd: str | None
    saving_tokens: int | None
    evidence: Evidence
    """Proved if it is of every one."""


class _SideBySide(Struct):
    """The tools of the replies that asked for several: one by one, while at least one of them ran,
    and if all of a reply had begun together."""

    replies: int
    sum_ns: int
    busy_ns: int
    longest_ns: int


class SummaryTold(Struct):
    """The summary of many runs in JSON. ``error`` is how far percentiles may be off."""

    traces: int
    wall_ns: Spread
    by: list[_By]
    endings: Mapping[Status, int]
    """How many runs did not end well."""
    total_wall_ns: int
    error: float
    whole: _Group | None
    group_by: str | None
    groups: list[_Group]
    other_groups: int
    """Groups after these, which ``others`` has together."""
    others: _Group | None
    histogram: Sequence[Step]
    examples: Sequence[Example]
    slowest: Sequence[Slow]
    models: list[_Model]
    operations: list[_Operation]
    kind_sums: Mapping[Kind, int]
    """Plain sums of spans, which may exceed the wall."""
    side_by_side: _SideBySide | None
    over_time: list[_Stretch]
    findings: list[_Finding]
    caches: list[CacheJson]
    """Of tools whose results came again over runs."""
    left_out: int
    unknown: int
    """Of the runs left out by ``--where``: those of which nobody can tell."""


def summary_told(summary: Summary) -> SummaryTold:
    """Writes what is known of many runs."""
    tools = summary.side_by_side
    return SummaryTold(
        traces=summary.traces,
        wall_ns=summary.wall_ns,
        by=[
            _By(row.by, row.key, row.wall_ns, round(row.share, 4), row.p50_ns, row.p95_ns, row.runs)
            for row in summary.rows
        ],
        endings=summary.endings,
        caches=[cache_json(trial) for trial in summary.caches],
        total_wall_ns=summary.total_wall_ns,
        error=0.0 if summary.is_exact else ERROR,
        whole=None if summary.whole is None else _group(summary.whole),
        group_by=summary.group_by,
        groups=list(map(_group, summary.groups)),
        other_groups=summary.other_groups,
        others=None if summary.others is None else _group(summary.others),
        histogram=summary.histogram,
        examples=summary.examples,
        slowest=summary.slowest,
        models=list(map(_model, summary.models)),
        operations=[
            _Operation(
                one.category,
                one.name,
                one.runs,
                one.calls,
                one.failed,
                one.duration_ns,
                one.total_ns,
            )
            for one in summary.operations
        ],
        kind_sums=summary.kind_sums,
        side_by_side=None
        if tools is None
        else _SideBySide(tools.replies, tools.sum_ns, tools.busy_ns, tools.longest_ns),
        over_time=list(map(_stretch, summary.periods)),
        findings=[
            _Finding(
                one.code,
                one.runs,
                one.saving.ns,
                _usd(one.saving.usd),
                one.saving.tokens,
                one.evidence,
            )
            for one in summary.opportunities
        ],
        left_out=summary.left_out,
        unknown=summary.unknown,
    )


def _group(one: Group) -> _Group:
    return _Group(
        key=one.name,
        runs=one.runs,
        failed=one.failed,
        wall_ns=one.wall_ns,
        perceived_ns=one.perceived_ns if one.perceived_runs else None,
        perceived_runs=one.perceived_runs,
        tiers=[
            _Tier(name, below_ns, runs)
            for (name, below_ns), runs in zip(TIERS.items(), one.tiers, strict=True)
        ],
        cost_usd=_usd(one.cost_usd),
        at_least=one.is_lower_bound,
        priced_share=priced_share_told(one.priced_share),
        tokens=one.tokens,
        cache_share=_share(one.cache_share),
    )


def _model(one: Model) -> _Model:
    return _Model(
        model=one.name,
        runs=one.runs,
        calls=one.calls,
        failed=one.failed,
        input_tokens=one.input,
        output_tokens=one.output,
        share=round(one.share, 4),
        cache_share=_share(one.cache_share),
        first_token_ns=one.first_token_ns if one.timed else None,
        tokens_per_1000_s=one.rate if one.rated else None,
        cost_usd=_usd(one.cost_usd),
        at_least=not one.is_priced,
    )


def _stretch(one: Stretch) -> _Stretch:
    return _Stretch(
        start_ns=one.start_ns,
        end_ns=one.end_ns,
        runs=one.runs,
        failed=one.failed,
        mean_wall_ns=one.mean_wall_ns,
        cache_share=_share(one.cache_share),
        cost_usd=usd_told(one.cost_usd),
    )


def _usd(cost: Decimal | None) -> str | None:
    return None if cost is None else usd_told(cost)


def _share(share: float | None) -> float | None:
    return None if share is None else round(share, 4)
