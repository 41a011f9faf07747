"""Which of the tool calls that replies asked for a call of a function is: pure functions of both.

The id of the call among the arguments decides, or the very objects of a reply; then equal
arguments, then, unless the match is `strict`, the name alone, in a run of this context or thread;
of several replies there, that to the loop on the stack. In a thread without context, it may also be
the only reply that asks. If two ask for the same and nothing tells them apart, it is nobody's: a
missing link is better than a wrong one.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

from causepath.code import static_attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from causepath.calls.runs import AskedTool
    from causepath.code.application_stack import Standing

CALL_IDS = ("id", "call_id", "tool_call_id", "tool_use_id")
"""The names that the id of a tool call has in SDKs and frameworks."""

MAX_FIELDS = 100
"""Attributes of an argument that are compared with what was asked for."""


class Given(NamedTuple):
    """The arguments of a call."""

    named: Mapping[str, object]
    """All of them by name, with those that it has by default."""
    chosen: list[object]
    """Those that it does not have by default."""
    values: tuple[object, ...] = ()
    """Those that were passed, and `self`."""


class Here(NamedTuple):
    """The place of a call, as far as runs can be told apart by it."""

    key: tuple[int, int] | None
    """The (trace id, span id) that a run of this context has its calls below, or `None` in a thread
    without context."""
    thread: int
    stack: Callable[[], set[Standing]]
    """Gives the frames on the stack."""
    is_near: bool = True
    """The function is known to be the application's, and so runs near its loop."""


def given_by(function: Callable[..., Any] | None, args: Any, kwargs: Any) -> Given:
    """Describes the arguments of a call."""
    named = named_arguments(function, args, kwargs)
    return Given(named, list(named.values()), (*args, *kwargs.values()))


def named_arguments(
    function: Callable[..., Any] | None, args: Any, kwargs: Any
) -> Mapping[str, object]:
    """Names positional arguments, too, if the function's signature tells their names."""
    if not args or function is None:
        return dict(kwargs)
    try:
        signature = inspect.signature(function)
        bound = signature.bind(*args, **kwargs).arguments
    except (TypeError, ValueError):
        return dict(kwargs)
    named = {}
    for name, value in bound.items():
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            named.update(value)
        elif name not in ("self", "cls"):
            named[name] = value
    return named


def ids_in(values: Iterable[object]) -> set[str]:
    """Collects the texts among some values, and the ids that the dicts and objects among them have:
    those of tool calls, in whatever form an SDK or a framework hands them around."""
    found = set()
    for value in values:
        if type(value) is str:
            found.add(value)
            continue
        attributes = value if type(value) is dict else static_attributes.own(value)
        for name in CALL_IDS:
            call_id = attributes.get(name)
            if type(call_id) is str:
                found.add(call_id)
    return found


def _with_fields(arguments: Mapping[str, object]) -> Mapping[str, object]:
    """Adds the attributes of arguments that are objects, made of what was asked for."""
    fields: dict[str, object] = {}
    for value in arguments.values():
        own = static_attributes.own(value)
        if len(own) <= MAX_FIELDS:
            fields.update(own)
    return {**fields, **arguments} if fields else arguments


def _same_objects(asked: Any, given: Mapping[str, object]) -> bool:
    """Recognises the reply's own objects in the arguments: as one mapping, or value by value.

    Small integers, `None` and interned strings are the same everywhere, so they decide nothing.
    """
    if not isinstance(asked, dict):
        return False
    if any(value is asked for value in given.values()):
        return True
    telling = {k: v for k, v in asked.items() if isinstance(v, str | list | dict) and len(v) > 1}
    return bool(telling) and all(given.get(k) is v for k, v in telling.items())


def is_equal(asked: Any, given: Given) -> bool:
    """Compares the arguments with those asked for; a framework may have added more."""
    if not isinstance(asked, dict):
        return False
    named = given.named
    try:
        if any(value == asked for value in named.values()):
            return True
        if list(asked.values()) == given.chosen:
            return True  # under whatever names
        return bool(asked) and all(k in named and named[k] == v for k, v in asked.items())
    except Exception:  # an argument of the application may compare in any way it likes
        return False


def is_made_again(asked: AskedTool, by: object, around: Collection[object]) -> bool:
    """Tells a call by this function that may be another try: one of it is in progress elsewhere."""
    going_on = [call for call in asked.candidates if not call.end_ns]
    return any(call.by is by for call in going_on) and not any(call in around for call in going_on)


def which(
    asked: list[AskedTool], open_now: list[AskedTool], given: Given, here: Here, *, strict: bool
) -> tuple[AskedTool | None, bool]:
    """Chooses the call among those asked for, and says whether the arguments tell that it is it.

    `open_now` are those that may be matched by their name alone.
    """
    if not asked:
        return None, False
    arguments = _with_fields(given.named)
    near, around = _near(asked, here)
    said = ids_in(arguments.values())
    same = [a for a in asked if a.call.id in said] or [
        a for a in asked if _same_objects(a.call.input, arguments)
    ]
    equal = [a for a in asked if is_equal(a.call.input, given._replace(named=arguments))]
    by_name = [a for a in (near if here.is_near else around) if a in open_now]
    is_alone = here.key is None
    found = (
        next((a for a in same if a in near), None)
        or next(iter(same), None)
        or _of_one_reply([a for a in equal if a in around])
        or (None if strict else _of_one_reply(by_name))
        or (_of_one_reply(equal) if is_alone else None)
        or (_of_one_reply(open_now) if is_alone and not strict else None)
    )
    return found, found in same or found in equal


def _near(asked: list[AskedTool], here: Here) -> tuple[list[AskedTool], list[AskedTool]]:
    """Selects the calls of this run or thread, and those of all that goes on around it."""
    if here.key is not None:
        near = [a for a in asked if a.run.key == here.key]
    else:
        near = [a for a in asked if a.run.thread == here.thread]
        if not _of_one_reply(asked):
            # Its thread may work for all of them in turn.
            nearest = _of_this_stack(asked, here)
            near = nearest if _of_one_reply(nearest) else near
    if near and not _of_one_reply(near):
        near = _of_this_stack(near, here)
    if here.key is not None and not near:  # another library may have a span for each turn
        return near, [a for a in asked if a.run.key[0] == here.key[0]]
    return near, near


def _of_one_reply(calls: list[AskedTool]) -> AskedTool | None:
    """Gives the first of some calls, unless several replies asked for them."""
    replies = {a.issuer.span_id if a.issuer is not None else id(a.run) for a in calls}
    return calls[0] if len(replies) == 1 else None


def _of_this_stack(calls: list[AskedTool], here: Here) -> list[AskedTool]:
    """Selects those that were asked for in the most of the frames that are on the stack now: of
    all of them, if several loops asked, as tasks and generators do in one thread."""
    stack = here.stack()
    common = [len(stack.intersection(a.stack)) for a in calls]
    nearest = [a for a, count in zip(calls, common, strict=True) if count == max(common)]
    return nearest if _of_one_reply(nearest) else calls
