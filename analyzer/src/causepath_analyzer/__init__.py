"""Find out why an LLM agent is slow and expensive, from its traces.

The command is ``causepath``; from Python::

    import causepath_analyzer

    runs = causepath_analyzer.read("traces.jsonl")
    print(runs.report())
    print(runs.whatif("scale tool=0.5").p50.then)

Data flows one way through this package::

    read/      bytes of any format      -> immutable traces
    analyses/  a trace                  -> a finished, frozen answer
    report/    answers                  -> text or JSON
    cli/       a typed signature        -> the three above, and an exit status
    api        a function call          -> the three above, as values
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from causepath_analyzer.api import Run, Runs, read
    from causepath_analyzer.errors import CausepathError

__all__ = ["CausepathError", "Run", "Runs", "__version__", "read"]

__version__ = "0.1.0"

_HOMES = {"CausepathError": "errors", "Run": "api", "Runs": "api"}


def __getattr__(name: str) -> Any:
    # A command that needs none of this does not wait until it is imported.
    if name == "read":
        return import_module(f"{__name__}.read")
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


class _Read(ModuleType):
    """The folder ``read/``, which can be called: the function of the API has the same name."""

    def __call__(self, *paths: str, **options: Any) -> "Runs":
        runs: Runs = import_module(f"{__package__}.api").read(*paths, **options)
        return runs


class _Package(ModuleType):
    """This package: Python sets ``read`` to the folder once anything in it is imported."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "read" and isinstance(value, ModuleType):
            value.__class__ = _Read
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
