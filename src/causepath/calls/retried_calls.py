"""Runs whose first call has failed: the next call may be the application's own retry.

It is if the same thread and task says the same again, perhaps to another model. Then it goes on in
the run that the failed call opened.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from causepath.calls.chains import latest_texts
from causepath.calls.strands import strand
from causepath.code import static_attributes
from causepath.guard import harmless

if TYPE_CHECKING:
    from collections.abc import Callable

    from causepath.calls.runs import Run
    from causepath.calls.strands import Strand

MAX_FAILED = 1_000
"""Failed runs that wait for a retry at a time; of more, the oldest are over."""


class Failed(NamedTuple):
    """A run that waits for a retry."""

    run: Run
    request: bytes


class FailedRuns:
    """The runs that have failed at their first call, by who may try again."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[Strand, Failed] = OrderedDict()

    def add(self, run: Run, request: bytes) -> Run | None:
        """Waits for a retry of `run`, whose first call has failed. Gives one that may end now."""
        here = strand()
        left = self._waiting.pop(here, None)
        self._waiting[here] = Failed(run, request)
        if left is None and len(self._waiting) > MAX_FAILED:
            _, left = self._waiting.popitem(last=False)
        return left.run if left is not None and left.run is not run else None

    def taken_up(self, read_body: Callable[[], object]) -> tuple[Run | None, bool]:
        """Finds the run that waits for what this thread and task does next, and tells whether the
        request that it makes is the same again."""
        left = self._waiting.pop(strand(), None) if self._waiting else None
        if left is None or left.run.is_over:
            return None, False
        return left.run, left.request == fingerprint(read_body())

    def forget_what_is_over(self) -> None:
        """Keeps no run that has ended in memory."""
        for here, left in list(self._waiting.items()):
            if left.run.is_over:
                self._waiting.pop(here, None)

    def clear(self) -> None:
        self._waiting.clear()


@harmless(b"")
def fingerprint(body: object) -> bytes:
    """Digests what a request says, to recognise it as long as this process lives: another model,
    perhaps of another provider, may be asked the same after an error."""
    body = latest_texts(body) or body
    told = json.dumps(body, default=_as_data).encode("utf-8", "surrogatepass")
    return blake2b(told, digest_size=16).digest()


def _as_data(value: object) -> object:
    """Gives an object of the SDK's by what it holds, any other by its type: no code of it runs."""
    return static_attributes.own(value) or type(value).__qualname__
