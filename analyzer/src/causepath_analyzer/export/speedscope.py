"""Profiles for speedscope.app: of every run its critical path, and its spans in lanes.

The file format: https://www.speedscope.app/file-format-schema.json
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from causepath_analyzer.analyses.run import Run
from causepath_analyzer.export.folded import UNCOVERED, frame, stack
from causepath_analyzer.export.lanes import lanes
from causepath_analyzer.export.shown_names import shown_name
from causepath_analyzer.ids import shown_id
from causepath_analyzer.model import NO_SPAN, Span

_SCHEMA: Final = "https://www.speedscope.app/file-format-schema.json"


class _Frames:
    """Names and their numbers."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def __getitem__(self, name: str) -> int:
        return self.numbers.setdefault(name, len(self.numbers))


def speedscope(runs: Sequence[Run]) -> bytes:
    """The profiles of `runs`; times count from the start of each, in ns."""
    frames = _Frames()
    profiles = [profile for run in runs for profile in (_path(run, frames), *_lanes(run, frames))]
    return msgspec.json.encode(
        {
            "$schema": _SCHEMA,
            "exporter": "causepath",
            "name": _name(runs[0]) if len(runs) == 1 else f"{len(runs)} runs",
            "activeProfileIndex": 0,
            "shared": {"frames": [{"name": name} for name in frames.numbers]},
            "profiles": profiles,
        }
    )


def _name(run: Run) -> str:
    return (
        f"{frame(_shown(run.trace.spans[run.trace.main_root]))} {shown_id(run.trace.trace_id)[:8]}"
    )


def _shown(span: Span) -> str:
    """Names a span without its turn, so that the calls of all turns can be added up."""
    return shown_name(span.name, span, with_turn=False)


def _path(run: Run, frames: _Frames) -> dict[str, Any]:
    """Lists what was waited for at every instant, with everything around it."""
    trace = run.trace
    samples, weights = [], []
    for section in run.path.sections:
        phase = UNCOVERED if section.span == NO_SPAN else f"({section.kind})"
        samples.append([frames[name] for name in (*stack(trace, section.span, _shown), phase)])
        weights.append(section.end_ns - section.start_ns)
    return {
        "type": "sampled",
        "name": f"{_name(run)}: critical path",
        "unit": "nanoseconds",
        "startValue": 0,
        "endValue": trace.wall_ns,
        "samples": samples,
        "weights": weights,
    }


def _lanes(run: Run, frames: _Frames) -> list[dict[str, Any]]:
    trace = run.trace
    return [
        {
            "type": "evented",
            "name": f"{_name(run)}: spans, lane {number}",
            "unit": "nanoseconds",
            "startValue": 0,
            "endValue": trace.wall_ns + trace.after_ns,
            "events": [
                {
                    "type": "O" if edge.opens else "C",
                    "at": edge.at_ns - trace.start_ns,
                    "frame": frames[frame(_shown(trace.spans[edge.span]))],
                }
                for edge in lane
            ],
        }
        for number, lane in enumerate(lanes(trace), start=1)
    ]
