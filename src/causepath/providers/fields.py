"""Fields of what SDKs pass on: their own models, plain mappings, or anything at all."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def fields_of(value: Any) -> Mapping[str, Any]:
    """A mapping, or the fields of a model by name, those that its release does not know too."""
    if type(value) is dict or _is_mapping(value.__class__):
        return value  # type: ignore[no-any-return]
    own: dict[str, Any] = getattr(value, "__dict__", None) or {}
    more = getattr(value, "__pydantic_extra__", None) if own else None
    return {**own, **more} if more else own


@functools.lru_cache(maxsize=256)
def _is_mapping(kind: type) -> bool:
    """Remembered, as asking an abstract class takes longer than all the rest."""
    return issubclass(kind, Mapping)


def get(value: Any, name: str) -> Any:
    """A field of a model or a key of a mapping; `None` where there is none."""
    return value.get(name) if type(value) is dict else fields_of(value).get(name)


def items(value: object) -> list[Any] | tuple[Any, ...]:
    """A list or a tuple; nothing in place of what can be read only once, or is something else."""
    return value if isinstance(value, list | tuple) else ()


def sent_tools(tools: object) -> list[Any]:
    """The declarations that are a part of the prompt: deferred ones a search has to find first."""
    return [tool for tool in items(tools) if get(tool, "defer_loading") is not True]


def text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def count(value: object) -> int | None:
    return value if type(value) is int else None


def parsed(value: object) -> object:
    """JSON in a text: `{}` for an empty one, `None` for what is none."""
    import json  # not at the top, as this module is imported wherever the plugin is enabled

    try:
        return json.loads(value) if isinstance(value, str) and value else {}
    except ValueError:
        return None


def decoded(data: bytes, make: Callable[[dict[str, Any]], object] | None = None) -> Any:
    """The JSON value in `data`, with `make` for each object; `None` where there is none."""
    import json

    try:
        return json.loads(data, object_hook=make)
    except (ValueError, RecursionError):
        return None
