"""The code of a function, and of all functions that are defined inside it."""

from __future__ import annotations

from types import CodeType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_CODES = 200
"""Functions inside one another that are looked at."""


def with_nested(code: CodeType) -> Iterator[CodeType]:
    waiting = [code]
    for _ in range(MAX_CODES):
        if not waiting:
            return
        one = waiting.pop()
        waiting += [constant for constant in one.co_consts if type(constant) is CodeType]
        yield one
