"""Agents run in a process of their own with the plugin on, and the traces that they left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from causepath_analyzer.model import Trace

REPOSITORY = Path(__file__).resolve().parents[1]


def traced(
    module: str, names: Sequence[str], *, content: bool, timeout_seconds: int
) -> tuple[list[dict[str, Any]], dict[str, Trace]]:
    """Runs `work(names)` of `module`; gives the JSON lines that it says, and its traces by id.

    Where the variable `CAUSEPATH_KEEP` names a folder, the file of the traces is kept there.
    """
    from causepath_analyzer.read import read

    code = f"import sys; from {module} import work; work(eval(sys.argv[1]))"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "traces.jsonl"
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "CAUSEPATH"))}
        no_proxy = f"{environ.get('NO_PROXY', '')},127.0.0.1".lstrip(",")
        environ |= {"CAUSEPATH": "1", "CAUSEPATH_FILE": str(file), "NO_PROXY": no_proxy}
        if content:
            environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "span_only"
        done = subprocess.run(
            [sys.executable, "-c", code, repr(list(names))],
            cwd=REPOSITORY,
            env=environ,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
        if done.returncode:
            raise SystemExit(done.stderr)
        traces = {trace.trace_id: trace for trace in read([str(file)]).traces}
        if "CAUSEPATH_KEEP" in os.environ:
            Path(os.environ["CAUSEPATH_KEEP"], f"{content}.jsonl").write_bytes(file.read_bytes())
    return [json.loads(line) for line in done.stdout.splitlines()], traces
