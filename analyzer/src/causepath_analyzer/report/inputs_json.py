"""The inputs of a report in JSON: what was read, what was left out, and why."""

from collections.abc import Sequence

from msgspec import Struct

from causepath_analyzer.model import Input


class SkippedJson(Struct):
    where: str
    why: str


class InputJson(Struct):
    path: str
    format: str | None
    spans: int
    skipped: list[SkippedJson]
    skipped_total: int
    problem: str | None
    notes: Sequence[str]


def inputs_json(inputs: Sequence[Input]) -> list[InputJson]:
    """Writes what was read of each input."""
    return [
        InputJson(
            path=entry.path,
            format=entry.format,
            spans=entry.spans,
            skipped=[SkippedJson(skipped.where, skipped.why) for skipped in entry.skipped],
            skipped_total=entry.skipped_total,
            problem=None if entry.problem is None else str(entry.problem),
            notes=entry.notes,
        )
        for entry in inputs
    ]
