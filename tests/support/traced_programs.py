"""Programs that are traced: what their environment is, and the spans in their trace files."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

CONFIGURES = ("OTEL_", "CAUSEPATH", "ANTHROPIC_", "GOOGLE_", "GEMINI_")
"""The beginnings of variables that set up OpenTelemetry, an SDK or us."""


def plain_environment(**more: str) -> dict[str, str]:
    """The environment of the tests without what sets up anything, and `more`."""
    kept = {name: v for name, v in os.environ.items() if not name.startswith(CONFIGURES)}
    return {**kept, **more}


def spans_in(path: Path) -> list[dict[str, Any]]:
    """Every span of a trace file, in order; none where there is no file."""
    return [
        span
        for line in (path.read_text().splitlines() if path.exists() else ())
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]
