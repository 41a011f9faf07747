"""Time-outs of all attempts of a call together, so that retries do not multiply them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from causepath.providers.provider import Head

LEAST_SECONDS = 0.001
"""The time-out of an attempt that begins too late, as 0 has other meanings."""


class TimeOut(float):
    """Seconds that all attempts of one call may take together."""


class Deadline:
    """The end of such a time-out, from the first attempt on."""

    def __init__(self) -> None:
        self._end_ns: int | None = None

    def attempt(self, extensions: MutableMapping[str, Any]) -> None:
        """Lets an attempt that is about to be sent take no more than is left."""
        timeouts: Mapping[str, Any] = extensions.get("timeout") or {}
        totals = [one for one in timeouts.values() if isinstance(one, TimeOut)]
        if not totals:
            return
        now_ns = time.monotonic_ns()
        if self._end_ns is None:
            self._end_ns = now_ns + int(max(totals) * 1e9)
            return
        left = max(LEAST_SECONDS, (self._end_ns - now_ns) / 1e9)
        extensions["timeout"] = {
            name: min(float(one), left) if isinstance(one, TimeOut) else one
            for name, one in timeouts.items()
        }

    def is_over(self, failed: Head | None) -> bool:
        """Tells whether nothing is left when the provider may be asked again after this."""
        if self._end_ns is None:
            return False
        wait = failed.headers.get("retry-after", "") if failed is not None else ""
        wait_ns = int(wait) * 10**9 if wait.isascii() and wait.isdigit() else 0
        return time.monotonic_ns() + wait_ns >= self._end_ns
