"""Which process this is: what began in the parent of a fork is the parent's to end."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forked(Protocol):
    def after_fork(self) -> None:
        """Forget, in a child process, what the parent has in progress, and locks it may hold."""


process = object()
"""Another one in every forked child."""

living: weakref.WeakSet[Forked] = weakref.WeakSet()
"""What is told in a child process."""


def _begin_anew() -> None:
    global process
    process = object()
    for one in list(living):
        one.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
