"""What others write is of the same category whether the plugin was there to say it or not."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind

from causepath.export.trace_file import TraceFile
from tests.plugin.test_categories import CASES, CLAUDE_CODE
from tests.support.around import Recorded, recorded
from tests.support.recording import Recording

CAUSEPATH = Path(sysconfig.get_path("scripts")) / "causepath"


def by_span(traces: Path) -> dict[str, tuple[str, str]]:
    """By the id of each span: its name and its category, as the analyzer reads them."""
    command = [CAUSEPATH, "export", traces, "--to", "csv"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {
        row["span_id"]: (row["name"], row["category"])
        for row in csv.DictReader(io.StringIO(output))
    }


def without_ours(line: str) -> str:
    request: Any = json.loads(line)
    for batch in request["resourceSpans"]:
        for scope in batch["scopeSpans"]:
            for span in scope["spans"]:
                span["attributes"] = [
                    pair for pair in span["attributes"] if pair["key"] != "causepath.category"
                ]
    return json.dumps(request) + "\n"


def test_the_halves_agree(tmp_path: Path) -> None:
    told, silent = tmp_path / "told.jsonl", tmp_path / "silent.jsonl"
    with Recording() as recording:
        recording.provider.add_span_processor(SimpleSpanProcessor(TraceFile(told)))
        for row in recorded():
            row.start()
        for kind, attributes, _ in CASES:
            given = {name: value for name, value in attributes.items() if value is not None}
            if "causepath.category" not in given:
                Recorded("", "work", kind, "somebody", given).start()
        for name in CLAUDE_CODE:
            Recorded("", name, SpanKind.INTERNAL, "com.anthropic.claude_code", {}).start()
    silent.write_text("".join(map(without_ours, told.read_text().splitlines())))
    # The plugin's categories have no word of their own for a chain: it is the agent's own time.
    read = {
        span_id: (name, "agent" if category == "chain" else category)
        for span_id, (name, category) in by_span(silent).items()
    }
    assert read == by_span(told)
