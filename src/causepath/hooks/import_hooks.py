"""Doing something once a module is imported, without importing anything for it before."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    Hook = Callable[[ModuleType], object]


def when_imported(name: str, hook: Hook) -> None:
    """Call `hook` with the module of this name, now or right after its import."""
    module = sys.modules.get(name)
    if module is not None:
        hook(module)
        return
    if _WAITING not in sys.meta_path:
        sys.meta_path.insert(0, _WAITING)
    _WAITING.hooks.setdefault(name, []).append(hook)


def forget(name: str, hook: Hook) -> None:
    """Call `hook` no more, where the module has not been imported by now."""
    waiting = _WAITING.hooks.get(name, [])
    if hook in waiting:
        waiting.remove(hook)
    if not waiting:
        _WAITING.hooks.pop(name, None)
    if not _WAITING.hooks and _WAITING in sys.meta_path:
        sys.meta_path.remove(_WAITING)


class _Waiting:
    """A finder that lets the others find a module, and sees to it that its hooks are called."""

    def __init__(self) -> None:
        self.hooks: dict[str, list[Hook]] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self.hooks:
            return None
        for finder in list(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            if find is None or finder is self:
                continue
            spec: ModuleSpec | None = find(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader, name)  # type: ignore[assignment]
                return spec
        return None


class _Loader:
    """A stand-in for a loader while a module is imported, and no longer."""

    def __init__(self, loader: Any, name: str) -> None:
        self._loader = loader
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        found: ModuleType | None = self._loader.create_module(spec)
        return found

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        for hook in _WAITING.hooks.pop(self._name, []):
            hook(module)


_WAITING = _Waiting()
