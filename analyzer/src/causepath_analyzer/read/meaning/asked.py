"""Attributes that somebody asks for by name, whoever wrote them and whatever they mean.

Readers keep of a span what is understood of it. To group runs by an attribute of the user's own, or
to pick them by it, its values are kept as well, as `Label`s. Readers hand every span to `labelled`,
with all that stands beside it on the wire, which costs nothing while nobody asks.

A name is looked for as it is; else, where it has dots, inside of what the part before a dot names:
``metadata.tenant`` is ``tenant`` in the map ``metadata``, also where that is JSON in a text.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, TypeVar

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from causepath_analyzer.model import Label, Span
from causepath_analyzer.read.meaning.content import Unread, text_of

T = TypeVar("T")
Told = Mapping[str, object]
"""Values by name: plain ones, raw JSON, or such as have to be read."""

_MOST_NAMES: Final = 2_000
"""So many names are kept of what there is, to be told to somebody who asks for what is not."""
_MOST_VALUES: Final = 100
"""Of one list."""
_LONGEST: Final = 2_000
"""Characters of a value. Of longer ones this is the beginning."""
_DEEPEST: Final = 8
_DAMAGED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError)
_NOTHING: Final[Told] = {}


class Asked:
    """The attributes that are asked for, and the names of those that were seen meanwhile."""

    def __init__(self, wanted: frozenset[str]) -> None:
        self._wanted = sorted(wanted)
        self._seen: set[str] = set()
        self._found: set[str] = set()

    @property
    def seen(self) -> tuple[str, ...]:
        """Lists the names that there are, those that were asked for and are there among them."""
        return tuple(sorted(self._seen | self._found))

    def labels(self, told: Sequence[Told], *, of_resource: bool) -> Iterator[Label]:
        """Finds what is asked for in the first of `told` that has it."""
        for one in told:
            if len(self._seen) < _MOST_NAMES:
                self._seen.update(one)
        for name in self._wanted:
            for one in told:
                values = _texts(_looked_up(one, name, 0))
                if values:
                    self._found.add(name)
                    yield Label(name, values, of_resource)
                    break


_ASKED: Final[ContextVar[Asked | None]] = ContextVar("asked", default=None)


@contextmanager
def asking(wanted: frozenset[str]) -> Iterator[Asked | None]:
    """Lets everything that is read meanwhile keep the attributes that are `wanted`."""
    if not wanted:
        yield None
        return
    asked = Asked(wanted)
    token = _ASKED.set(asked)
    try:
        yield asked
    finally:
        _ASKED.reset(token)


def is_asked() -> bool:
    """Tells whether any attribute is asked for."""
    return _ASKED.get() is not None


def labelled(found: T, *told: Told, resource: Told = _NOTHING) -> T:
    """Gives `found`, if it is a span, with what is asked for of what was `told` of it and of its
    resource. Of several that tell one thing the first counts."""
    asked = _ASKED.get()
    if asked is None or not isinstance(found, Span):
        return found
    labels = (
        *found.labels,
        *asked.labels(told, of_resource=False),
        *asked.labels((resource,), of_resource=True),
    )
    return replace(found, labels=labels) if labels else found


def _looked_up(told: Told, name: str, depth: int) -> object:
    if name in told:
        return told[name]
    at = name.rfind(".")
    while at > 0 and depth < _DEEPEST:
        if name[:at] in told:
            inner = _plain(told[name[:at]])
            if isinstance(inner, str) and inner.lstrip()[:1] == "{":
                inner = _decoded(inner)
            if isinstance(inner, dict):
                found = _looked_up(inner, name[at + 1 :], depth + 1)
                if found is not None:
                    return found
        at = name.rfind(".", 0, at)
    return None


def _plain(value: object) -> object:
    if isinstance(value, Unread):
        return value.read(value.data)
    return _decoded(value) if isinstance(value, Raw) else value


def _decoded(data: Raw | str) -> object:
    try:
        return msgspec.json.decode(data)
    except _DAMAGED:
        return None


def _texts(value: object) -> tuple[str, ...]:
    """Writes `value` as texts: of a list each item, of anything else one; none for nothing."""
    value = _plain(value)
    if isinstance(value, list | tuple):
        return tuple(dict.fromkeys(t for item in value[:_MOST_VALUES] if (t := _text(item))))
    text = _text(value)
    return (text,) if text else ()


def _text(value: object) -> str:
    """Writes a value as JSON would, but a text without quotes and 5.0 as 5."""
    text = text_of(value)
    if text is not None:
        return text.strip()[:_LONGEST]
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
        case int() if value.bit_length() < 1 << 10:
            return str(value)
        case dict() | list():
            try:
                return msgspec.json.encode(value, order="deterministic").decode()[:_LONGEST]
            except (TypeError, *_DAMAGED):
                return ""
    return ""
