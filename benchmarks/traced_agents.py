"""Agents run in a process of their own with the plugin on, and the traces that they left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from causepath_analyzer.model import Trace

REPOSITORY = Path(__file__).resolve().parents[1]


def traced(
    module: str, names: Sequence[str], *, content: bool, timeout_seconds: int
) -> tuple[list[dict[str, Any]], dict[str, Trace]]:
    """Runs `work(names)` of `module`; gives the JSON lines that it says, and its traces by id.

    Where the variable `CAUSEPATH_KEEP` names a folder, the file of the traces is kept there.
    """
    from causepath_analyzer.read import read

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "traces.jsonl"
        said = exported(module, names, file, content=content, timeout_seconds=timeout_seconds)
        traces = {trace.trace_id: trace for trace in read([str(file)]).traces}
        if "CAUSEPATH_KEEP" in os.environ:
            Path(os.environ["CAUSEPATH_KEEP"], f"{content}.jsonl").write_bytes(file.read_bytes())
    return said, traces


def exported(
    module: str,
    names: Sequence[str],
    file: Path,
    *,
    content: bool,
    timeout_seconds: int,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> list[dict[str, Any]]:
    """Runs `work(names)` of `module`, which leaves its traces in `file`; gives the JSON lines that
    it says. `settings` are further variables of the plugin."""
    code = f"import sys; from {module} import work; work(eval(sys.argv[1]))"
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "CAUSEPATH"))}
    no_proxy = f"{environ.get('NO_PROXY', '')},127.0.0.1".lstrip(",")
    environ |= {"CAUSEPATH": "1", "CAUSEPATH_FILE": str(file), "NO_PROXY": no_proxy, **settings}
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
    return [json.loads(line) for line in done.stdout.splitlines()]
