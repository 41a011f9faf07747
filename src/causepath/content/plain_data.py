"""The texts in plain data, and which objects are no more than that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def is_data_class(kind: type) -> bool:
    """Tells whether the fields of a class are data: of dataclasses and of Pydantic's models."""
    return any(mark in vars(base) for mark in DATA_CLASSES for base in kind.__mro__[:-1])


DATA_CLASSES = ("__dataclass_fields__", "__pydantic_fields__")

MAX_TEXTS = 1_000
"""Of one value."""


def texts_in(value: object) -> Iterator[str]:
    """The texts in plain data, and in the fields of data classes and models."""
    waiting, left = [value], MAX_TEXTS
    while waiting and left:
        left -= 1
        inner: Any = waiting.pop()
        # Asking the type, as an object may answer for its class and attributes in any way it likes.
        kind = type(inner)
        if issubclass(kind, str):
            yield str.__str__(inner)
        elif issubclass(kind, dict):
            waiting.extend(reversed(list(dict.values(inner))[:MAX_TEXTS]))
        elif issubclass(kind, list | tuple | set | frozenset):
            waiting.extend(reversed(list(inner)[:MAX_TEXTS]))
        elif is_data_class(kind):
            waiting.extend(reversed(list(getattr(inner, "__dict__", {}).values())))


def leaves_in(value: object) -> Iterator[tuple[str, str | int | float]]:
    """The texts and numbers in plain data, each with the name that it has there, if any."""
    waiting: list[tuple[str, Any]] = [("", value)]
    left = MAX_TEXTS
    while waiting and left:
        left -= 1
        name, inner = waiting.pop()
        kind = type(inner)
        if issubclass(kind, str):
            yield name, str.__str__(inner)
        elif issubclass(kind, bool):
            continue
        elif kind is int or kind is float:
            yield name, inner
        elif issubclass(kind, dict):
            named = [(str(key), one) for key, one in list(dict.items(inner))[:MAX_TEXTS]]
            waiting.extend(reversed(named))
        elif issubclass(kind, list | tuple | set | frozenset):
            waiting.extend((name, one) for one in reversed(list(inner)[:MAX_TEXTS]))
        elif is_data_class(kind):
            waiting.extend(reversed(list(getattr(inner, "__dict__", {}).items())))
