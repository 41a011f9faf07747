"""Attributes as they are stored: read without running a line of the application's code.

No property, `__getattr__` or comparison of an object is asked, as it may do anything it likes.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DICT = "dictionary for instance variables"
"""What Python says of the `__dict__` that it gives to the classes it makes."""

_mro = type.__dict__["__mro__"].__get__
_members = type.__dict__["__dict__"].__get__
_module = type.__dict__["__module__"].__get__
_dict_offset = type.__dict__["__dictoffset__"].__get__


def bases(kind: type) -> tuple[type, ...]:
    """The class and those it inherits from, in the order in which attributes are looked up."""
    return cast("tuple[type, ...]", _mro(kind))


def members(kind: type) -> Mapping[str, Any]:
    """Returns what the body of a class defines."""
    return cast("Mapping[str, Any]", _members(kind))


def module(kind: type) -> object:
    """The module of a class, as it is stored; a text, usually."""
    return _module(kind)


def is_one_of(kind: type, kinds: frozenset[Any]) -> bool:
    """Tells whether a class is one of Python's own; others may be compared in any way they like."""
    return type(kind) is type and kind in kinds


def member(kind: type, name: str) -> tuple[type, Any] | None:
    """The attribute of a class as it is stored, and which of its bases defines it."""
    for base in bases(kind):
        found = members(base)
        if name in found:
            return base, found[name]
    return None


def own(value: object) -> dict[str, Any]:
    """The attributes of an object that its class lets it have freely; the dict itself."""
    kind = type(value)
    if _dict_offset(kind):
        for base in bases(kind):
            read = members(base).get("__dict__")
            if type(read) is types.MemberDescriptorType or (
                # That of a Python class; one that is written in C may run any code.
                type(read) is types.GetSetDescriptorType and (read.__doc__ or "").startswith(DICT)
            ):
                found = read.__get__(value)
                return found if type(found) is dict else {}
    return {}


def slots(value: object) -> Iterator[tuple[str, Any]]:
    """The attributes of an object that its class has a slot for: name, and what is in it."""
    for base in bases(type(value)):
        for name, slot in members(base).items():
            if type(slot) is types.MemberDescriptorType:
                try:
                    yield name, slot.__get__(value)
                except AttributeError:
                    continue  # an empty one
