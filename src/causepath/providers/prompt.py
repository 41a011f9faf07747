"""What a request or a reply says: a key for each block first, and the blocks only where wanted.

A history is sent again with each turn. A key costs a fraction of reading the block, as it is made
of the hash that Python itself keeps with every string.
"""

from __future__ import annotations

import marshal
from typing import TYPE_CHECKING, Any, TypeGuard

from causepath.providers.messages import Block

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Key = int | None
"""Equal for equal blocks only, in this process; `None` for what has no hash."""


class Prompt:
    """Blocks in their order. `read` gives them from a number on."""

    __slots__ = ("_blocks", "_read", "keys")

    def __init__(self, keys: Sequence[Key], read: Callable[[int], Sequence[Block]]) -> None:
        self.keys = keys
        self._read = read
        self._blocks: Sequence[Block] = ()

    def blocks(self, start: int = 0) -> Sequence[Block]:
        """Those from number `start` on."""
        wanted = len(self.keys) - start
        if wanted > len(self._blocks):
            self._blocks = self._read(start)
        return self._blocks[len(self._blocks) - wanted :]


def key_of(block: Block) -> Key:
    role, kind, value, name, _, _ = block
    if type(value) is str:
        return hash((role, kind, name, value)) if name else hash((role, kind, value))
    if not are_blocks(value):
        return plain_key(role, kind, name, value)
    inside = tuple(map(key_of, value))
    return None if None in inside else hash((role, kind, name, inside))


def are_blocks(value: object) -> TypeGuard[tuple[Block, ...]]:
    """Tells whether a value is blocks inside another one: an application may use tuples for
    lists."""
    return type(value) is tuple and all(type(one) is Block for one in value)


def plain_key(role: str, kind: str, name: str, value: Any) -> Key:
    """Makes a key of plain data, whose dicts have an order; `None` for anything else."""
    try:
        return hash((role, kind, name, marshal.dumps(value, 2)))
    except ValueError:
        return None
