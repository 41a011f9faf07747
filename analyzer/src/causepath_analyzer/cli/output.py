"""Where text goes: colours and characters the terminal can show, files, and complaints."""

import io
import os
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, Literal

from msgspec.structs import replace
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
        "path": "blue",
        "model": "cyan",
        "tool": "green",
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
    """Prints `lines`, those that are too long for the terminal on several; commands stay whole."""
    out = stream if stream is not None else sys.stdout
    _survive_encoding(out)
    colored = color == "always" or (color == "auto" and _wants_color(out))
    width = columns(out)
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
        width=width,
    )
    for line in lines:
        for part in _wrapped(line, width, console):
            console.print(part, soft_wrap=True)
    out.write(drawn.getvalue())


def _wrapped(line: Text, width: int, console: Console) -> Iterable[Text]:
    if line.cell_len <= width or line.plain.startswith("Next: "):
        return (line,)
    indent = len(line.plain) - len(line.plain.lstrip()) + 2
    first, *rest = line.wrap(console, width)
    tail = Text(" ").join(rest)
    parts = tail.wrap(console, width - indent)
    for part in parts:
        part.pad_left(indent)
    return (first, *parts)


_LEAST_COLUMNS: Final = 60
_MOST_COLUMNS: Final = 200
COLUMNS: Final = 80


def columns(out: IO[str]) -> int:
    """Tells how many columns `out` has: those of its terminal within reason, else 80."""
    try:
        wide = os.get_terminal_size(out.fileno()).columns if out.isatty() else 0
    except (OSError, ValueError):
        wide = 0
    return max(_LEAST_COLUMNS, min(_MOST_COLUMNS, wide)) if wide else COLUMNS


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


def add(data: bytes, path: str) -> None:
    """Adds `data` to the file `path`."""
    try:
        with Path(path).open("ab") as file:
            file.write(data)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None


def size_of(path: str) -> int:
    """Counts the bytes of the file `path`: 0 where there is none."""
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def marks(*, ascii_only: bool, stream: IO[str] | None = None, saved: bool = False) -> Marks:
    """Gives block characters where `stream` (standard output) has them, else plain ones, and its
    width; or that of a file, if the text is `saved`."""
    out: IO[str] = stream if stream is not None else sys.stdout
    wide = COLUMNS if saved else columns(out)
    encoding = getattr(out, "encoding", None) or "utf-8"
    try:
        (BLOCKS.on + BLOCKS.off).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        ascii_only = True
    drawn = ASCII if ascii_only else BLOCKS
    return replace(drawn, width=wide)


def _wants_color(out: IO[str]) -> bool:
    """Follows no-color.org, force-color.org and bixense.com/clicolors: who wants none wins."""
    if os.environ.get("NO_COLOR"):
        return False
    if any(os.environ.get(name, "") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return out.isatty() and os.environ.get("CLICOLOR") != "0" and os.environ.get("TERM") != "dumb"


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
