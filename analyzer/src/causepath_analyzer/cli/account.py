"""The account that the plugin gives of a program, for `causepath run` and `doctor` alone.

Each process that loads the plugin appends lines of JSON to the file that `ACCOUNT_VARIABLE` names:
one when Python starts it, and one at its end, unless it is killed.
"""

from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

ACCOUNT_VARIABLE: Final = "CAUSEPATH_ACCOUNT"
PROGRAM_VARIABLE: Final = "CAUSEPATH_PROGRAM_ID"


class _Line(Struct):
    event: Literal["loaded", "ended"]
    pid: int
    time_ns: int
    calls: int = 0
    sdk_ns: int | None = None
    nothing: str | None = None
    version: str | None = None
    python: str | None = None
    complaints: list[str] = []
    sdks: list[str] = []
    to: list[str] = []
    lost: list[str] = []


class Account(Struct, frozen=True):
    """The story of a program's traces: how it came by them, or why it has none."""

    loaded_ns: int | None = None
    """When the plugin was loaded first; ``None``: it never was."""
    imported_ns: int | None = None
    """When the process that loaded it first had imported a model SDK."""
    has_ended: bool = False
    """At least one process came to its end."""
    calls: int = 0
    nothing: str | None = None
    version: str | None = None
    """The plugin's."""
    python: str | None = None
    complaints: tuple[str, ...] = ()
    """Settings that have no meaning, or cut spans off."""
    sdks: tuple[str, ...] = ()
    """The model SDKs that were imported."""
    to: tuple[str, ...] = ()
    """Where spans go, or would go."""
    lost: tuple[str, ...] = ()
    """The spans that did not get there, and why."""

    def why_nothing(self, file: Path) -> str:
        """Says why the program has left no trace in `file`, and what to do."""
        if self.loaded_ns is None:
            return (
                f"no traces in {file}: the causepath plugin was not loaded by that program, or is "
                "older than this command. Install it there: pip install -U 'causepath[auto]' "
                "(python -S leaves it out)"
            )
        if self.nothing is not None:
            return self.nothing
        if self.calls:
            calls = "1 model call" if self.calls == 1 else f"{self.calls:,} model calls"
            return (
                f"no traces in {file}: {calls} were seen, but traces go elsewhere "
                "(OTEL_* variables, or the program's own tracing)"
            )
        if not self.has_ended:
            return (
                f"no traces in {file}: the plugin was loaded, but the program was killed, or left "
                "by os._exit, before it could write any"
            )
        return (
            f"no traces in {file}: the plugin was loaded, but saw no model call; calls over plain "
            "HTTP, or by an SDK that it does not know, can be declared: see `causepath.tool`"
        )


def account_in(file: Path) -> Account:
    """Reads the account in `file`; lines that are damaged count for nothing."""
    try:
        data = file.read_bytes()
    except OSError:
        return Account()
    lines = [line for line in map(_line, data.splitlines()) if line is not None]
    loaded = min((one for one in lines if one.event == "loaded"), default=None, key=_time)
    ended = [one for one in lines if one.event == "ended"]
    first = [one.sdk_ns for one in ended if loaded is not None and one.pid == loaded.pid]
    return Account(
        loaded_ns=None if loaded is None else loaded.time_ns,
        imported_ns=first[0] if first else None,
        has_ended=bool(ended),
        calls=sum(one.calls for one in ended),
        nothing=next((one.nothing for one in ended if one.nothing is not None), None),
        version=None if loaded is None else loaded.version,
        python=None if loaded is None else loaded.python,
        complaints=() if loaded is None else tuple(loaded.complaints),
        sdks=tuple(dict.fromkeys(name for one in ended for name in one.sdks)),
        to=tuple(dict.fromkeys(where for one in ended for where in one.to)),
        lost=tuple(text for one in ended for text in one.lost),
    )


def _line(data: bytes) -> _Line | None:
    try:
        return msgspec.json.decode(data, type=_Line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _time(line: _Line) -> int:
    return line.time_ns
