"""Doing something once a module is imported, without importing anything for it before."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


def when_imported(name: str, hook: Callable[[ModuleType], object]) -> None:
    """Call `hook` with the module of this name, now or right after its import."""
    module = sys.modules.get(name)
    if module is not None:
        hook(module)
        return
    if _WAITING not in sys.meta_path:
        sys.meta_path.insert(0, _WAITING)
    _WAITING.hooks.setdefault(name, []).append(hook)


def forget(name: str, hook: Callable[[ModuleType], object]) -> None:
    """Call `hook` no more, where the module has not been imported by now."""
    waiting = _WAITING.hooks.get(name, [])
    if hook in waiting:
        waiting.remove(hook)


class _Waiting:
    """A finder that finds nothing, and hands over to `wrapt` when its module is asked for."""

    def __init__(self) -> None:
        self.hooks: dict[str, list[Callable[[ModuleType], object]]] = {}

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:  # noqa: ARG002
        hooks = self.hooks.pop(name, None)
        if hooks is None:
            return None
        import importlib.util

        import wrapt

        for hook in hooks:
            wrapt.register_post_import_hook(hook, name)
        return importlib.util.find_spec(name)


_WAITING = _Waiting()
