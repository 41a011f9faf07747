"""What the environment says, read once when instrumenting, into one frozen object."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CAUSEPATH = "CAUSEPATH"
"""Anything but `0`, `false`, `no`, `off` or nothing enables the plugin when Python starts."""

CAUSEPATH_FILE = "CAUSEPATH_FILE"
"""The file that spans go to where neither the application nor an `OTEL_*` variable says otherwise.
Default: `causepath-traces.jsonl` in the working directory."""

CAUSEPATH_TOOLS = "CAUSEPATH_TOOLS"
"""Functions to measure as tools, e.g. `myapp.tools:*,myapp.search:find_*`: each a module and a
pattern of names, patched when the module is imported. `off` also stops the plugin from finding the
functions of hand-written loops by itself."""

CAUSEPATH_DIGESTS = "CAUSEPATH_DIGESTS"
"""`off` writes no digests of prompts and replies, and looks for no links of content."""

CAUSEPATH_DIGEST_KEY = "CAUSEPATH_DIGEST_KEY"
"""The key of the digests, any text. Digests of several machines can be compared where it is the
same. Default: made once, and kept in the user's state folder."""

DEFAULT_FILE = "causepath-traces.jsonl"


@dataclass(frozen=True, slots=True)
class ToolPattern:
    """Functions of `module` whose names match `names`, a shell-style pattern."""

    module: str
    names: str


@dataclass(frozen=True, slots=True)
class Config:
    """What the environment says."""

    file_name: str
    """Absolute, so that an application that changes its directory keeps writing to one file."""
    tool_patterns: tuple[ToolPattern, ...] = ()
    find_tools: bool = True
    digests: bool = True
    digest_key: str | None = field(default=None, repr=False)

    @property
    def file(self) -> Path:
        from pathlib import (
            Path,
        )  # not at the top: no need of it where the application has exporters

        return Path(self.file_name)


def from_environment(environ: Mapping[str, str] = os.environ) -> Config:
    """The configuration that the environment describes. A malformed tool pattern is left out."""
    tools = environ.get(CAUSEPATH_TOOLS, "").strip()
    off = tools.lower() == "off"
    return Config(
        file_name=os.path.abspath(environ.get(CAUSEPATH_FILE) or DEFAULT_FILE),  # noqa: PTH100
        tool_patterns=() if off else tuple(_tool_patterns(tools)),
        find_tools=not off,
        digests=environ.get(CAUSEPATH_DIGESTS, "").strip().lower() != "off",
        digest_key=environ.get(CAUSEPATH_DIGEST_KEY) or None,
    )


def _tool_patterns(text: str) -> list[ToolPattern]:
    patterns = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        module, _, names = item.partition(":")
        patterns.append(ToolPattern(module.strip(), names.strip() or "*"))
    return patterns
