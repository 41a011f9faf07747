"""The stack of the application, also where a thread works for code on another stack.

Nothing of the application need be on the stack of a worker: the method of an SDK is all that was
handed to it. Who handed it over is remembered as long as the work lasts: the code and the globals,
never a frame or a variable. The frames are looked for when they are needed, where they still stand:
on the stack of their thread, or in the task that waits for the work.
"""

from __future__ import annotations

import functools
import gc
import inspect
import sys
import threading
import types
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

from causepath.code import static_attributes
from causepath.code.frames import (
    MAX_APPLICATION_FRAMES,
    MAX_FRAMES,
    Place,
    application_frame,
    is_plumbing,
    variables,
)
from causepath.code.ownership import is_application
from causepath.guard import harmless

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import FrameType

    from causepath.code.frames import Frame

MAX_PLACES = 8
"""Frames that are remembered of a stack."""

MAX_OWN_FRAMES = 200
"""Frames that are passed on the way to one of the application."""

MAX_WAITS = 32
"""Futures and tasks that are looked at on the way to those that wait for a piece of work."""

ORIGIN = "__causepath_origin__"


class Origin(NamedTuple):
    """The code that handed over a piece of work."""

    thread: int
    places: tuple[tuple[Any, ...], ...]
    """What is to be a `Place`, which takes longer to make; the nearest first."""
    task: weakref.ref[Any] | None
    """Where a task did."""


class _Thread(threading.local):
    origin: Origin | None = None


_thread = _Thread()


# -- the stack


def application_frames() -> Iterator[Frame]:
    """The frames of the application below the caller, the nearest first; a few at most. In a thread
    that works for others, those of who handed the work over follow."""
    top = sys._getframe(1)  # noqa: SLF001 - the documented way to the stack
    frame = application_frame(top)
    left = MAX_APPLICATION_FRAMES
    while frame is not None and left:
        yield frame
        left -= 1
        frame = application_frame(frame.f_back)
    if left:
        yield from handed_over(top)[:left]


def own_frame() -> Frame | None:
    """The nearest frame of the application, however far above a framework that it uses."""
    top = sys._getframe(1)  # noqa: SLF001 - the documented way to the stack
    frame: FrameType | None = top
    for _ in range(MAX_OWN_FRAMES):
        if frame is None:
            break
        if is_application(frame.f_globals.get("__name__")):
            return frame
        frame = frame.f_back
    return next((one for one in handed_over(top) if _is_own(one)), None)


@harmless([])
def handed_over(top: FrameType, *, as_it_was: bool = False) -> list[Frame]:
    """The stack of who handed over what is done on the stack from `top`, the nearest first; as far
    as it still stands with its variables, unless it is asked for `as_it_was`."""
    if threading.get_ident() == threading.main_thread().ident:
        return []
    origin, future = _work_on(top)
    origin = origin or _thread.origin
    task: Any = None
    places: list[Frame] = []
    stack: list[FrameType] = []
    if origin is not None:
        task = origin.task() if origin.task is not None else None
        places += (Place(*place) for place in origin.places)
        stack += _stack_of(origin.thread)
    waiting = list(_waiting_for(task, future))
    remembered = {identity(place) for place in places}
    if not as_it_was:
        standing = {id(frame): frame for frame in (*waiting, *stack)}
        places = [_standing(place, standing) for place in places]
    places += (frame for frame in waiting if id(frame) not in remembered)
    if origin is not None and origin.task is not None:
        places += _around_loop(stack)
    first = next((i for i, frame in enumerate(places) if _is_own(frame)), 0)
    return places[first:]  # of a library that only hands things on, nothing is said


Standing = tuple[int, int]
"""A frame, by its id and that of its code: frames that follow one another may have the same id."""


def standing(frames: Iterable[Frame]) -> tuple[Standing, ...]:
    return tuple((identity(frame), id(frame.f_code)) for frame in frames)


@harmless(0)
def steps_outside(stack: tuple[Standing, ...]) -> int:
    """Counts how many of these frames, the innermost first, what is done here is not done for:
    none if it is called in the first of them, or handed over there."""
    top = sys._getframe(1)  # noqa: SLF001 - the documented way to the stack
    below: list[Frame] = []
    frame: FrameType | None = top
    while frame is not None and len(below) < MAX_OWN_FRAMES:
        below.append(frame)
        frame = frame.f_back
    outside = _index(stack, below)
    if outside:
        task = _task()
        waiting = _waiting_for(task()) if task is not None else ()
        outside = _index(stack, (*below, *waiting, *handed_over(top, as_it_was=True)))
    return outside


def _index(stack: tuple[Standing, ...], frames: Iterable[Frame]) -> int:
    here = set(standing(frames))
    return next((i for i, frame in enumerate(stack) if frame in here), len(stack))


def _around_loop(stack: list[FrameType]) -> list[FrameType]:
    """Cuts the stack of a thread down to what began the loop of its tasks."""
    inside = [i for i, frame in enumerate(stack) if frame.f_code.co_flags & inspect.CO_COROUTINE]
    first = inside[-1] + 1 if inside else 0
    return [frame for frame in stack[first:] if application_frame(frame, 1) is not None]


def identity(frame: Frame) -> int:
    """The id of a frame, or of the one that stood there."""
    return frame.frame if isinstance(frame, Place) else id(frame)


def _is_own(frame: Frame) -> bool:
    return is_application(frame.f_globals.get("__name__"))


def _standing(place: Frame, frames: dict[int, FrameType]) -> Frame:
    frame = frames.get(identity(place))
    return frame if frame is not None and frame.f_code is place.f_code else place


# -- handing over


@harmless(None)
def origin_here(top: FrameType) -> Origin | None:
    """Finds the application's code that hands over a piece of work, on the stack from `top`.

    Of a task it takes the task's own frames only: its waiter, and what runs its loop, are looked up
    later.
    """
    places: list[tuple[Any, ...]] = []
    in_task = False
    frame: FrameType | None = top
    left = MAX_FRAMES
    while frame is not None and left and len(places) < MAX_PLACES:
        code, scope = frame.f_code, frame.f_globals
        if code.co_flags & COROUTINE:
            in_task = True
        elif in_task:
            break
        if not is_plumbing(scope.get("__name__")):
            places.append((code, frame.f_lasti, scope, id(frame)))
        frame = frame.f_back
        left -= 1
    if frame is None:
        earlier = _work_on(top)[0] or _thread.origin
        if earlier is not None:
            places += earlier.places[: MAX_PLACES - len(places)]
    if not places and not in_task:
        return None
    return Origin(threading.get_ident(), tuple(places), _task() if in_task else None)


COROUTINE = inspect.CO_COROUTINE


def _task() -> weakref.ref[Any] | None:
    asyncio = sys.modules.get("asyncio")
    try:
        task = asyncio.current_task() if asyncio is not None else None
    except RuntimeError:  # another library runs the coroutine
        return None
    return weakref.ref(task) if task is not None else None


def keep(work: object, origin: Origin) -> None:
    """Remember who handed over a piece of work, as long as that is there."""
    vars(work)[ORIGIN] = origin


def enter_thread(origin: Origin | None) -> None:
    """All that this thread does is handed over by these."""
    _thread.origin = origin


@harmless(None)
def pool_future(top: FrameType) -> Any:
    """The future of a piece of work of a thread pool that is done on the stack from `top`."""
    if threading.get_ident() == threading.main_thread().ident:
        return None
    _, future = _work_on(top)
    return future if static_attributes.module(type(future)) == "concurrent.futures._base" else None


def _work_on(top: FrameType) -> tuple[Origin | None, Any]:
    """Finds the code that handed over the work on this stack, and the future of its result."""
    frame: FrameType | None = top
    for _ in range(MAX_OWN_FRAMES):
        if frame is None:
            break
        if frame.f_code.co_name == "run":
            module = frame.f_globals.get("__name__")
            if module == "concurrent.futures.thread":
                work = static_attributes.own(variables(frame).get("self"))
                return work.get(ORIGIN), work.get("future")
            if module == "anyio._backends._asyncio":
                return None, variables(frame).get("future")
        frame = frame.f_back
    return None, None


_LOOKING = threading.RLock()
PATIENCE_SECONDS = 0.01


def _frame_of(thread: int) -> FrameType | None:
    """The innermost frame of another thread.

    Before Python 3.12 a collection that begins inside of `sys._current_frames` runs Python's code
    while the list of all threads is locked. A second thread that asks for it then never goes on,
    nor does any other (gh-106883). So there is no collection meanwhile, as in later releases.
    """
    if not _LOOKING.acquire(timeout=PATIENCE_SECONDS):
        return None
    collects = gc.isenabled()
    gc.disable()
    try:
        return sys._current_frames().get(thread)  # noqa: SLF001 - the documented way to other stacks
    finally:
        if collects:
            gc.enable()
        _LOOKING.release()


def _stack_of(thread: int) -> Iterator[FrameType]:
    """Walks the stack of another thread as it is at this moment."""
    if thread == threading.get_ident():
        return
    frame = _frame_of(thread)
    for _ in range(MAX_OWN_FRAMES):
        if frame is None:
            return
        yield frame
        frame = frame.f_back


# -- who waits


def _waiting_for(*futures: Any) -> Iterator[FrameType]:
    """The frames of the tasks that wait for these futures, the nearest first."""
    waiting = [one for one in futures if one is not None]
    seen: set[int] = set()
    for _ in range(MAX_WAITS):
        if not waiting:
            return
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        if hasattr(one, "get_coro"):
            for frame in reversed(list(_frames_in(one.get_coro()))):
                if application_frame(frame, 1) is not None:
                    yield frame
        waiting += _told_of(one)


def _told_of(future: Any) -> Iterator[Any]:
    """The futures and tasks that hear when this one is done."""
    callbacks: Iterable[Any] = getattr(future, "_callbacks", None) or ()
    callbacks = [one[0] if type(one) is tuple else one for one in callbacks]
    for callback in (*callbacks, *(getattr(future, "_done_callbacks", None) or ())):
        held: list[Any] = []
        if type(callback) is functools.partial:
            held += callback.args
        elif type(callback) is types.FunctionType:
            held += (
                cell.cell_contents
                for cell in callback.__closure__ or ()
                if cell != types.CellType()
            )
        else:
            held.append(getattr(callback, "__self__", None))
        for value in held:
            group = static_attributes.own(value)
            scope = static_attributes.own(group.get("cancel_scope"))
            for one in (value, group.get("_parent_task"), scope.get("_host_task")):
                if _is_future(one):
                    yield one


def _is_future(value: Any) -> bool:
    kind = type(value)
    return static_attributes.module(kind) in FUTURES and hasattr(kind, "add_done_callback")


FUTURES = frozenset({"_asyncio", "asyncio.futures", "asyncio.tasks", "concurrent.futures._base"})


def _frames_in(coroutine: Any) -> Iterator[FrameType]:
    """Those of a suspended coroutine, the outermost first."""
    for _ in range(MAX_OWN_FRAMES):
        kind = type(coroutine)
        if kind is types.CoroutineType:
            frame, inside = coroutine.cr_frame, coroutine.cr_await
        elif kind is types.GeneratorType:
            frame, inside = coroutine.gi_frame, coroutine.gi_yieldfrom
        else:
            return
        if frame is not None:
            yield frame
        coroutine = inside
