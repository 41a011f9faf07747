"""What a notebook is called: a cell's file name is a number, and another one after each edit."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

SESSION_NAME = "JPY_SESSION_NAME"
"""The path of the notebook, as Jupyter tells its kernels."""

GLOBALS = ("__vsc_ipynb_file__", "__session__")
"""Where editors put the same."""


def notebook_name(variables: Mapping[str, Any] | None = None) -> str | None:
    """The name of the notebook that this process works for, else `notebook`; `None` where it works
    for none. `variables`: those of a cell, as far as they are known."""
    if "ipykernel" not in sys.modules:
        return None
    if variables is None:
        variables = vars(sys.modules["__main__"])
    told = [os.environ.get(SESSION_NAME), *map(variables.get, GLOBALS)]
    path = next((one for one in told if isinstance(one, str) and one), "")
    name, dot, ending = path.replace("\\", "/").rpartition("/")[2].rpartition(".")
    # An older Jupyter tells an id of the session, without an ending.
    return name if dot and ending in ("ipynb", "py", "md") else "notebook"
