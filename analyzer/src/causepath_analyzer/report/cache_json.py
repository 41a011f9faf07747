"""What a cache over runs would have done, in JSON: of a finding, and of the summary."""

from msgspec import Struct

from causepath_analyzer.analyses.proof.over_runs import CacheTrial


class _HitRate(Struct):
    results: int | None
    """The size of the cache; null: all of them."""
    lifetime_s: int
    hits: int
    """Calls that it would have answered rightly, and ``stale``: with an old result."""
    stale: int


class CacheJson(Struct):
    """The calls of one tool over all runs in the input, and caches of several sizes and lifetimes
    that were tried on them."""

    tool: str
    calls: int
    arguments: int
    share: float
    """The part of its calls that were looked at."""
    curve: list[_HitRate]


def cache_json(trial: CacheTrial) -> CacheJson:
    """Arranges a trial."""
    curve = [_HitRate(one.results, one.lifetime_s, one.hits, one.stale) for one in trial.curve]
    return CacheJson(trial.tool, trial.calls, trial.different, trial.share, curve)
