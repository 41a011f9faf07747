"""Causepath: one readable trace for each run of an LLM agent.

`import causepath.auto` or `CAUSEPATH=1` in the environment enables it, `instrument()` does so by
hand. `agent`, `tool` and `tools` say what the plugin cannot see, and cost nothing while it is off.
"""

from causepath.version import __version__

# The constant that type checkers know, without the import: Python may start through this file
# wherever the package is installed, so it imports nothing that it can do without.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from causepath.api import Budget, agent, budget, tool, tools
    from causepath.budgets.spending import BudgetExceeded
    from causepath.instrumentor import instrument, uninstrument
    from causepath.otel_instrumentor import CausepathInstrumentor

__all__ = [
    "instrument",
    "uninstrument",
    "agent",
    "tool",
    "tools",
    "budget",
    "Budget",
    "BudgetExceeded",
    "CausepathInstrumentor",
    "__version__",
]

_HOMES = {
    "Budget": "api",
    "BudgetExceeded": "budgets.spending",
    "agent": "api",
    "budget": "api",
    "tool": "api",
    "tools": "api",
    "CausepathInstrumentor": "otel_instrumentor",
    "instrument": "instrumentor",
    "uninstrument": "instrumentor",
    "load_ipython_extension": "notebook_magic",
}


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'causepath' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"causepath.{_HOMES[name]}"), name)
