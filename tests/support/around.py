"""The spans that `record_around` recorded, to be started once more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from opentelemetry import trace
from opentelemetry.trace import SpanKind

FILE = Path(__file__).parents[1] / "plugin" / "around.json"


class Recorded(NamedTuple):
    by: str
    """What was instrumented, and by whom where there are two."""
    name: str
    kind: SpanKind
    scope: str
    attributes: dict[str, Any]

    def start(self, *, late: bool = False) -> None:
        """Writes the span once more: its attributes are known at its start, or at its end."""
        tracer = trace.get_tracer(self.scope)
        given = {} if late else self.attributes
        with tracer.start_as_current_span(self.name, kind=self.kind, attributes=given) as span:
            if late:
                span.set_attributes(self.attributes)


def recorded() -> list[Recorded]:
    return [
        Recorded(by, span["name"], SpanKind[span["kind"]], span["scope"], span["attributes"])
        for by, spans in json.loads(FILE.read_text()).items()
        for span in spans
    ]
