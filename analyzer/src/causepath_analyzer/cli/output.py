"""Where text goes: colours and characters the terminal can show, files, and complaints."""

import io
import os
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, Literal

from rich.console import Console
from rich.text import Text
from rich.theme import Theme

from causepath_analyzer.errors import UsageError
from causepath_analyzer.report.formatting import harmless
from causepath_analyzer.report.waterfall import ASCII, BLOCKS, Marks

Color = Literal["auto", "always", "never"]

_THEME: Final = Theme(
    {
        "title": "bold",
        "plain": "not bold",
        "path": "cyan",
        "off": "bright_black",
        "note": "bright_black",
        "good": "green",
        "bad": "bold red",
    }
)
_COMPLAINTS: Final = 5


def complain(message: str) -> None:
    """Says on standard error what is wrong. Text from inputs can do no harm there."""
    lines = [harmless(line) for line in message.splitlines()]
    print("causepath: " + "\n".join(lines), file=sys.stderr)


def complain_about(messages: Iterable[str]) -> None:
    """The first few of `messages`, and how many more there are."""
    listed = list(messages)
    for message in listed[:_COMPLAINTS]:
        complain(message)
    if len(listed) > _COMPLAINTS:
        complain(f"and {len(listed) - _COMPLAINTS:,} more")


def show(lines: Iterable[Text], color: Color, *, stream: IO[str] | None = None) -> None:
    """Prints `lines` as they are: they fit 80 columns, except for paths and commands."""
    out = stream if stream is not None else sys.stdout
    _survive_encoding(out)
    colored = color == "always" or (color == "auto" and _wants_color(out))
    drawn = io.StringIO()  # rich would handle a broken pipe in its own way
    console = Console(
        file=drawn,
        theme=_THEME,
        color_system="standard" if colored else None,
        force_terminal=colored,
        no_color=not colored,
        highlight=False,
        markup=False,
        emoji=False,
        width=80,
    )
    for line in lines:
        console.print(line, soft_wrap=True)
    out.write(drawn.getvalue())


def save(lines: Iterable[Text], path: str) -> None:
    """Writes `lines` to the file `path`, without colour."""
    write(("\n".join(line.plain.rstrip() for line in lines) + "\n").encode(), path)


def write(data: bytes, path: str | None) -> None:
    """Writes `data` to the file `path`, or to standard output."""
    if path is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        Path(path).write_bytes(data)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None


def marks(*, ascii_only: bool, stream: IO[str] | None = None) -> Marks:
    """Block characters where `stream` (standard output) has them, else plain ones."""
    out: IO[str] = stream if stream is not None else sys.stdout
    encoding = getattr(out, "encoding", None) or "utf-8"
    try:
        (BLOCKS.on + BLOCKS.off).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return ASCII if ascii_only else BLOCKS


def _wants_color(out: IO[str]) -> bool:
    return out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _survive_encoding(out: IO[str]) -> None:
    """A name that the terminal's encoding does not have is shown as an escape."""
    reconfigure = getattr(out, "reconfigure", None)
    if reconfigure is not None:
        with suppress(OSError, ValueError):
            reconfigure(errors="backslashreplace")


class Progress:
    """Tells on standard error how far reading is: only on a terminal, only after a second."""

    def __init__(self) -> None:
        self._shown = False
        self._next = time.monotonic() + 1 if sys.stderr.isatty() else float("inf")

    def __call__(self, path: str, spans: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + 0.2
            self._shown = True
            print(f"\r{harmless(path)[:50]}: {spans:,} spans", end="\x1b[K", file=sys.stderr)

    def done(self) -> None:
        """Takes the line away again."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
