"""Running a program as Python does, after the plugin is enabled."""

from __future__ import annotations

import os
import runpy
import sys

from causepath import forks
from causepath.guard import say
from causepath.instrumentor import instrument

USAGE = "write: python -m causepath agent.py, or python -m causepath -m package"


def run() -> None:
    """Run the program that the arguments of `python -m causepath` name."""
    arguments = sys.argv[1:]
    is_module = arguments[:1] == ["-m"]
    if is_module:
        del arguments[0]
    if not arguments:
        say(USAGE)
        sys.exit(2)
    if not is_module and not os.path.exists(arguments[0]):  # noqa: PTH110
        say(f"there is no program {arguments[0]}; {USAGE}")
        sys.exit(2)
    forks.mark_outermost_process()
    instrument()
    sys.argv[:] = arguments
    if is_module:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = os.path.dirname(os.path.abspath(arguments[0]))  # noqa: PTH100, PTH120
        runpy.run_path(arguments[0], run_name="__main__")
