"""Where in the application a call is made: its whole stack, and the loop that comes back to it."""

from __future__ import annotations

import functools
import sys
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from causepath.code import answers, loops
from causepath.code.application_stack import handed_over
from causepath.code.frames import MAX_FRAMES, MAX_KNOWN, application_frame
from causepath.code.ownership import is_application

if TYPE_CHECKING:
    from types import CodeType, FrameType

    from causepath.code.frames import Frame

MAX_STACK = 8
"""Lines of a stack that are told one by one."""

MAX_APART = 16
"""Lines nothing of whose answers reaches a call, the nearest first."""


class Line(NamedTuple):
    """A place of the application on the way to a call."""

    text: str
    """`file:line function`"""
    column: int
    """As a line may have several calls."""
    loop: str | None
    """The kind of the loop in this function that comes back here."""
    always: bool
    """Whether the function never ends without the call."""
    keeps: bool = False
    """Whether it keeps an answer where its next call finds it."""
    names: frozenset[str] = frozenset()
    """What it calls there."""
    function: str = ""
    """Its own name."""
    apart: tuple[str, ...] = ()
    """The earlier calls of the function nothing of whose answers reaches this one."""
    lasts: bool = False
    """Whether others may see something of the answer."""


class Site(NamedTuple):
    """The place where a call is made."""

    stack: tuple[str, ...]
    """The application's lines, each `file:line function:column`, the nearest first; of many the
    rest as a digest."""
    loop: tuple[str, str] | None
    """The nearest of them that is in a loop of the application's own, and the kind of that. A
    server or a framework around it has loops, too, which nobody can change."""
    apart: tuple[str, ...] = ()
    """Other lines of the functions on it: nothing of the answers to calls that were made there
    reaches this one."""
    kept: tuple[str, ...] = ()
    """Lines of it whose functions keep something of an answer where others may see it."""


_lines: dict[tuple[CodeType, int], Line] = {}


def calling(top: FrameType) -> tuple[Frame | None, Site]:
    """The nearest frame of the application on the stack from `top`, and what is known of a call
    that it makes. Where there is none, it is that of who handed over the work."""
    nearest = application_frame(top)
    if nearest is not None:
        return nearest, site(nearest)
    frames = handed_over(top, as_it_was=True)
    return next(iter(frames), None), _site(tuple(map(_known, frames)))


def site(frame: FrameType | None) -> Site:
    """Describes a call that `frame`, of the application, makes."""
    lines = []
    for _ in range(MAX_FRAMES):
        if frame is None:
            break
        lines.append(_known(frame))
        frame = application_frame(frame.f_back)
    return _site(tuple(lines))


def _known(frame: Frame) -> Line:
    key = frame.f_code, frame.f_lasti
    line = _lines.get(key)
    if line is None:
        line = _line(frame)
        if len(_lines) < MAX_KNOWN:
            _lines[key] = line
    return line


def _line(frame: Frame) -> Line:
    code, number = frame.f_code, frame.f_lineno
    text = f"{code.co_filename}:{number} {getattr(code, 'co_qualname', code.co_name)}"
    column = _column(code, frame.f_lasti)
    if not is_application(frame.f_globals.get("__name__")):
        return Line(text, column, None, always=True)
    place = loops.place_of(code, frame.f_lasti)
    reach = answers.reach_of(code, frame.f_lasti)
    name = getattr(code, "co_qualname", code.co_name)
    apart = tuple(f"{code.co_filename}:{at} {name}:{begin}" for at, begin in reach.apart)
    return Line(text, column, *place, code.co_name, apart, reach.lasts)


def _column(code: CodeType, offset: int) -> int:
    if sys.version_info < (3, 11):
        return 0  # which the code does not say
    spots = islice(code.co_positions(), offset // 2, None)
    return next(spots, (None, None, None, None))[2] or 0


@functools.lru_cache(maxsize=1_000)
def _site(lines: tuple[Line, ...]) -> Site:
    stack = tuple(f"{line.text}:{line.column}" for line in lines[:MAX_STACK])
    if len(lines) > MAX_STACK:
        rest = [line[:2] for line in lines[MAX_STACK:]]
        stack += (f"{len(rest)} more {crc32(repr(rest).encode()):08x}",)
    apart = tuple(one for line in lines[:MAX_STACK] for one in line.apart)[:MAX_APART]
    kept = tuple(text for text, line in zip(stack, lines, strict=False) if line.lasts)
    site = Site(stack, None, apart, kept)
    certain, keeps, called = True, False, ""
    for line in lines:
        if called and called not in line.names and called not in COMPREHENSIONS:
            certain = False  # something else, which may have a loop of its own, calls it
        if line.loop is not None:
            kind = _kind(line.loop, certain=certain, keeps=keeps)
            return site._replace(loop=(line.text, kind))
        certain, keeps, called = certain and line.always, keeps or line.keeps, line.function
    return site


def _kind(loop: str, *, certain: bool, keeps: bool) -> str:
    if loop in (loops.EACH, loops.SOME) and keeps:
        return loops.CHAIN
    return loops.SOME if loop == loops.EACH and not certain else loop


COMPREHENSIONS = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"})
