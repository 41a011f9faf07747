"""How much of the wall the critical path puts at the wrong kind, in traces with a known path.

    python -m benchmarks.paths [TRACES]         for each way of spoiling a trace, 1,000 by default

Prints the mean over the traces of the share of the wall at the wrong kind, and the worst trace.
"""

import sys
from random import Random
from statistics import mean

from causepath_analyzer.analyses.path.causes import causes
from causepath_analyzer.analyses.path.critical_path import critical_path
from causepath_analyzer.analyses.path.kinds import span_kinds
from causepath_analyzer.model import Span
from causepath_analyzer.read.tree.build import build
from tests.support.known_paths import SPOILED, Known, known

_OWN = frozenset(("agent", "beside"))
_MODEL = frozenset(("first_token", "generation"))


def wrong_share(trace: Known, spans: list[Span]) -> float:
    """The share of the wall of `trace` that is at the wrong kind where `spans` are read."""
    built = build(spans)
    kinds = span_kinds(built)
    path = critical_path(built, kinds, causes(built, kinds))
    assert path.fault is None
    found: dict[str, int] = {}
    for section in path.sections:
        kind = section.kind
        name = "own" if kind in _OWN else "llm" if kind in _MODEL else kind
        found[name] = found.get(name, 0) + section.end_ns - section.start_ns
    names = {*found, *trace.path}
    off = sum(abs(found.get(name, 0) - trace.path.get(name, 0)) for name in names)
    return off / 2 / trace.wall_ns


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    print(f"wall at the wrong kind, of {count:,} traces each: mean, worst")
    for name, spoil in SPOILED.items():
        random = Random(7)
        traces = [known(random) for _ in range(count)]
        shares = [wrong_share(trace, spoil(trace, random)) for trace in traces]
        print(f"  {name:<28}{mean(shares):>8.2%}{max(shares):>8.2%}")


if __name__ == "__main__":
    main()
