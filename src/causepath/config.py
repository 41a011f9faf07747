"""What the environment says, read once when instrumenting, into one frozen object."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
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
"""`off` (also `0`, `no`, `false`) writes no digests of prompts and replies, and looks for no links
of content."""

CAUSEPATH_DIGEST_KEY = "CAUSEPATH_DIGEST_KEY"
"""The key of the digests, any text. Digests of several machines can be compared where it is the
same. Default: made once, and kept in the user's state folder."""

CAUSEPATH_CACHE_DIAGNOSIS = "CAUSEPATH_CACHE_DIAGNOSIS"
"""`on` (also `1`, `yes`, `true`) asks the provider why its prompt cache did not have all of a
prompt: a field that is added to requests. Default: nothing is added."""

CAPTURE_MESSAGE_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""Whether what is said is recorded: `span_only` (or `true`), `event_only`, `span_and_event`. By
default, and with any other value, nothing is."""

CAUSEPATH_CONTENT_SPAN_BYTES = "CAUSEPATH_CONTENT_SPAN_BYTES"
"""Bytes of content that one span holds at most. Default: 65536. The newest stays."""

CAUSEPATH_CONTENT_PROCESS_BYTES = "CAUSEPATH_CONTENT_PROCESS_BYTES"
"""Bytes of content that the process records at most within ten seconds, which is about what waits
to be exported. Default: 33554432."""

CAUSEPATH_PROGRAM_ID = "CAUSEPATH_PROGRAM_ID"
"""An id of the program that is started, which `causepath run` sets: its traces have it."""

CAUSEPATH_ACCOUNT = "CAUSEPATH_ACCOUNT"
"""A file, which `causepath run` sets, that each process says in what it loaded and saw."""

PREFIX = "CAUSEPATH" + "_"

SPAN_BYTES = 65_536
PROCESS_BYTES = 33_554_432

OFF = ("0", "false", "no", "off")
ON = ("", "1", "true", "yes", "on")

LIMITS = {
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": 64,
    "OTEL_ATTRIBUTE_COUNT_LIMIT": 64,
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": 256,
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": 256,
    "OTEL_SPAN_EVENT_COUNT_LIMIT": 4,
    "OTEL_SPAN_LINK_COUNT_LIMIT": 32,
}
"""The limits of the environment that a span may meet, and with how much it says all it has to."""

DEFAULT_FILE = "causepath-traces.jsonl"


class ToolPattern(NamedTuple):
    """Functions of `module` whose names match `names`, a shell-style pattern."""

    module: str
    names: str


class ContentSettings(NamedTuple):
    """Settings of recorded content: the places and the limits."""

    on_spans: bool
    in_events: bool
    span_bytes: int = SPAN_BYTES
    process_bytes: int = PROCESS_BYTES


class Config(NamedTuple):
    """Settings from the environment."""

    file_name: str
    """Absolute, so that an application that changes its directory keeps writing to one file."""
    tool_patterns: tuple[ToolPattern, ...] = ()
    find_tools: bool = True
    digests: bool = True
    digest_key: str | None = None
    cache_diagnosis: bool = False
    content: ContentSettings | None = None
    program_id: str | None = None
    account: str | None = None
    complaints: tuple[str, ...] = ()
    """What is set to no value that has a meaning, in a line each."""

    def __repr__(self) -> str:
        """Without the key."""
        return str(self._replace(digest_key=None)._asdict())

    def file_is_newer_than(self, seconds: float) -> bool:
        """Tell whether anybody has written to the trace file since a time, of that of files."""
        try:
            return os.stat(self.file_name).st_mtime > seconds  # noqa: PTH116
        except OSError:
            return False

    @property
    def file(self) -> Path:
        from pathlib import Path  # here, as nobody needs it where the application has exporters

        return Path(self.file_name)


def from_environment(environ: Mapping[str, str] = os.environ) -> Config:
    """Read the configuration. What has no meaning counts as not set, and gives a complaint."""
    tools = environ.get(CAUSEPATH_TOOLS, "").strip()
    off = tools.lower() == "off"
    return Config(
        file_name=os.path.abspath(environ.get(CAUSEPATH_FILE) or DEFAULT_FILE),  # noqa: PTH100
        tool_patterns=() if off else tuple(_tool_patterns(tools)),
        find_tools=not off,
        digests=environ.get(CAUSEPATH_DIGESTS, "").strip().lower() not in OFF,
        digest_key=environ.get(CAUSEPATH_DIGEST_KEY) or None,
        cache_diagnosis=_word(environ, CAUSEPATH_CACHE_DIAGNOSIS) in ON[1:],
        content=_content(environ),
        program_id=environ.get(CAUSEPATH_PROGRAM_ID) or None,
        account=environ.get(CAUSEPATH_ACCOUNT) or None,
        complaints=tuple(_complaints(environ)),
    )


def _complaints(environ: Mapping[str, str]) -> Iterator[str]:
    """Say what is set and has no effect, or another one than was meant."""
    for name in (CAUSEPATH_CONTENT_SPAN_BYTES, CAUSEPATH_CONTENT_PROCESS_BYTES):
        text = environ.get(name, "").strip()
        if text and not _is_number(text):
            yield f"{name}={text} is no whole number of bytes, and is not used"
    mode = environ.get(CAPTURE_MESSAGE_CONTENT, "").strip()
    if mode.lower() not in (*CONTENT_MODES, *OFF, "", "no_content"):
        yield (
            f"{CAPTURE_MESSAGE_CONTENT}={mode} has no meaning, and nothing that is said is "
            "recorded: write span_only, event_only or span_and_event"
        )
    digests = environ.get(CAUSEPATH_DIGESTS, "").strip()
    if digests.lower() not in (*ON, *OFF):
        yield f"{CAUSEPATH_DIGESTS}={digests} has no meaning: write off, or leave it out"
    if _word(environ, CAUSEPATH_CACHE_DIAGNOSIS) not in (*ON, *OFF):
        said = environ[CAUSEPATH_CACHE_DIAGNOSIS].strip()
        yield f"{CAUSEPATH_CACHE_DIAGNOSIS}={said} has no meaning: write on, or leave it out"
    for name, enough in LIMITS.items():
        limit = environ.get(name, "").strip()
        if _is_number(limit) and int(limit) < enough:
            yield (
                f"{name}={limit} cuts off what spans say, models, tools and causes too: unset it, "
                f"or set it to {enough} or more"
            )
    known = {name.removeprefix(PREFIX) for name, value in globals().items() if value == name}
    for name in environ:
        if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in known:
            from difflib import get_close_matches

            for meant in get_close_matches(name.removeprefix(PREFIX), known, n=1):
                yield f"{name} is no setting of the plugin; did you mean {PREFIX}{meant}?"


def _word(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name, "").strip().lower()


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


CONTENT_MODES = {
    "span_only": (True, False),
    "event_only": (False, True),
    "span_and_event": (True, True),
    "true": (True, False),  # before the modes had names
}


def _content(environ: Mapping[str, str]) -> ContentSettings | None:
    mode = CONTENT_MODES.get(environ.get(CAPTURE_MESSAGE_CONTENT, "").strip().lower())
    if mode is None:
        return None
    return ContentSettings(
        *mode,
        span_bytes=_bytes(environ, CAUSEPATH_CONTENT_SPAN_BYTES, SPAN_BYTES),
        process_bytes=_bytes(environ, CAUSEPATH_CONTENT_PROCESS_BYTES, PROCESS_BYTES),
    )


def _bytes(environ: Mapping[str, str], name: str, default: int) -> int:
    """A whole number of bytes; the default where it is malformed."""
    text = environ.get(name, "").strip()
    return int(text) if _is_number(text) else default


def _tool_patterns(text: str) -> list[ToolPattern]:
    patterns = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        module, _, names = item.partition(":")
        patterns.append(ToolPattern(module.strip(), names.strip() or "*"))
    return patterns
