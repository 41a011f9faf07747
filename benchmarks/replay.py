"""What the path and a replay cost beside reading: `python benchmarks/replay.py [--size 0.1]`.

Reads what `benchmarks/read.py` generates, then walks every path and replays every trace under one
edit, in this process. The goals: the paths in a quarter of the time of reading, the replays in no
more than all of it. Nothing here fails for being slow: the numbers are for reading.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.read import TRACES, generate
from causepath_analyzer.analyses.path.causes import causes
from causepath_analyzer.analyses.path.critical_path import critical_path
from causepath_analyzer.analyses.path.kinds import span_kinds
from causepath_analyzer.analyses.predictions.whatif import what_if
from causepath_analyzer.analyses.replay.edits import edit
from causepath_analyzer.read import read
from tests.support.edited import changed

if TYPE_CHECKING:
    from collections.abc import Callable


def seconds(work: Callable[[], object]) -> float:
    """How long the processor is at `work`, without collecting garbage meanwhile."""
    gc.collect()
    gc.disable()
    try:
        started = time.process_time()
        work()
        return time.process_time() - started
    finally:
        gc.enable()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=float, default=0.1, help="1 is 8,000 traces, 240,000 spans")
    options = parser.parse_args()
    folder = Path(tempfile.gettempdir()) / "causepath-bench"
    folder.mkdir(exist_ok=True)
    lines, _ = generate(folder, round(TRACES * options.size))
    found = []
    reading = seconds(lambda: found.append(read([str(lines)])))
    traces = found[0].traces
    spans = sum(len(trace.spans) for trace in traces)
    print(f"{len(traces):,} traces, {spans:,} spans")
    edits = [edit("scale tool=0.5")]

    def paths() -> None:
        for trace in traces:
            kinds = span_kinds(trace)
            critical_path(trace, kinds, causes(trace, kinds))

    def replays() -> None:
        for trace in traces:
            changed(trace, edits)

    for name, took in (
        ("reading", reading),
        ("paths, kinds and causes included", seconds(paths)),
        ("replays under one edit", seconds(replays)),
        ("whatif, with cost and ranges", seconds(lambda: what_if(traces, edits))),
    ):
        print(f"  {name:<34}{took:8.2f} s {took / reading:7.0%} of reading")


if __name__ == "__main__":
    main()
