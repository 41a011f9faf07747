"""The thread and the task that something is done in."""

from __future__ import annotations

import sys
import threading

Strand = tuple[int, int]


def strand() -> Strand:
    """Names this thread, and the task that runs in it."""
    asyncio = sys.modules.get("asyncio")  # where nobody has imported it, no task runs
    try:
        task = asyncio.current_task() if asyncio is not None else None
    except RuntimeError:
        task = None
    return threading.get_ident(), id(task)
