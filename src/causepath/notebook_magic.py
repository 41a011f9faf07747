"""`%load_ext causepath` in a notebook: `%%causepath` reports on its cell, below it."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from causepath import instrumentor

ANALYZER = "causepath_analyzer"

NOT_HERE = (
    "causepath: the spans of this notebook are not written to a file, as OpenTelemetry is set up "
    "in it, or by OTEL_* variables; without that a report stands here"
)


def load_ipython_extension(ipython: Any) -> None:
    """Enable the plugin, and `%%causepath` with it."""
    instrumentor.instrument()
    ipython.register_magic_function(functools.partial(_report_on, ipython), "cell", "causepath")


def _report_on(ipython: Any, line: str, cell: str) -> None:
    """Run a cell and print the report of what it did; `line` is for the report, `--ascii` say."""
    file = instrumentor.trace_file()
    instrumentor.flush(ends_runs=False)
    before = file.stat().st_size if file.exists() else 0
    ipython.run_cell(cell)
    is_here = instrumentor.flush(ends_runs=True)
    print(_report(file, before, line.split()) if is_here else NOT_HERE)


def _report(file: Path, before: int, options: list[str]) -> str:
    if not file.exists() or file.stat().st_size <= before:
        return "causepath: this cell called no model"
    with file.open("rb") as written:
        written.seek(before)
        lines = written.read()
    if find_spec(ANALYZER) is None:
        return (
            f"causepath: the spans of this cell are in {file}; for a report here type: "
            "pip install causepath-analyzer (it needs Python 3.11)"
        )
    traces = {
        span["traceId"]
        for line in lines.splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    }
    if len(traces) == 1:  # so that the commands that the report names work
        return _analyzed([os.path.relpath(file), "--trace", *traces, *options])
    with tempfile.TemporaryDirectory() as folder:
        cells = Path(folder) / file.name
        cells.write_bytes(lines)
        return _analyzed([str(cells), *options])


def _analyzed(arguments: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", ANALYZER, *arguments],
        env={**os.environ, "CAUSEPATH": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr
