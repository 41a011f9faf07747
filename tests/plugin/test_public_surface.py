"""The public surface is what `__all__` lists, and importing the package costs nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import causepath


def test_all_lists_what_there_is() -> None:
    assert sorted(causepath.__all__) == [
        "Budget",
        "BudgetExceeded",
        "CausepathInstrumentor",
        "__version__",
        "agent",
        "budget",
        "instrument",
        "tool",
        "tools",
        "uninstrument",
    ]
    assert all(getattr(causepath, name) is not None for name in causepath.__all__)


def test_completion_shows_what_there_is() -> None:
    shown = {name for name in dir(causepath) if not name.startswith("_")}
    assert shown == set(causepath.__all__) - {"__version__"}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'causepath' has no attribute 'nothing'"):
        causepath.nothing  # noqa: B018


def test_importing_the_package_imports_nothing_else_of_ours_or_others() -> None:
    code = """
import sys
before = set(sys.modules)
import causepath
print(sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['causepath', 'causepath.version']"


def test_instrumenting_twice_and_uninstrumenting_twice_is_harmless(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for _ in range(2):
        causepath.instrument()
    for _ in range(2):
        causepath.uninstrument()
    assert caplog.records == []
