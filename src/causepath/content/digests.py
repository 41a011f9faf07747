"""Digests of blocks: equal for equal content, and no content is guessed from one without the key.

No text is kept. What has been worked out is remembered by the key of the block, so that a history
that is sent again with each turn is digested once.
"""

from __future__ import annotations

import json
import secrets
from hashlib import blake2b, sha256
from typing import TYPE_CHECKING, Any

from causepath.content.recent_keys import Recent
from causepath.providers.prompt import are_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from causepath.providers.messages import Block
    from causepath.providers.prompt import Key

MAX_REMEMBERED = 10_000

DIGEST_BYTES = 8

LARGE = 4 * 1024
"""Bytes of a text whose SHA-256 is digested in its place: processors have instructions for that, a
third of the time."""


class Digests:
    """Digests under one key. Safe to use from any thread."""

    def __init__(self, key: bytes) -> None:
        self._blank = blake2b(digest_size=DIGEST_BYTES, key=key)
        self._known: Recent[Key, str] = Recent(MAX_REMEMBERED)

    def __len__(self) -> int:
        return len(self._known)

    def items(
        self, keys: Sequence[Key], blocks_from: Callable[[int], Sequence[Block]]
    ) -> list[str]:
        """`role:kind:digest:size` for each block, the size in UTF-8 bytes."""
        known = self._known.of(keys)
        if None not in known:
            return known  # type: ignore[return-value]
        first = known.index(None)
        found: list[str] = known[:first]  # type: ignore[assignment]
        new = zip(known[first:], keys[first:], blocks_from(first), strict=True)
        for item, key, block in new:
            if item is None:
                digest, size = self.digest(block)
                role, kind = block.role.replace(":", "_"), block.kind.replace(":", "_")
                item = f"{role}:{kind}:{digest}:{size}"
                if key is not None:
                    self._known[key] = item
            found.append(item)
        return found

    def digest(self, block: Block) -> tuple[str, int]:
        """The digest of what a block says, in hex, and its size in UTF-8 bytes.

        Whoever says it: a text has one digest as a reply, in a question and as a tool's result.
        """
        state = self._blank.copy()
        value: Any = block.value
        if isinstance(value, str):
            data = value.encode("utf-8", "surrogatepass")
            state.update(data if len(data) <= LARGE else sha256(data).digest())
            return state.hexdigest(), len(data)
        if type(value) is tuple and are_blocks(value):
            size = 0
            for inner in value:
                digest, inner_size = self.digest(inner)
                state.update(f"{inner.kind}:{digest};".encode())
                size += inner_size
            return state.hexdigest(), size
        data = _json(value).encode("utf-8", "surrogatepass")
        state.update(block.name.encode("utf-8", "surrogatepass") + b"\0" + data)
        return state.hexdigest(), len(data)


def _json(value: Any) -> str:
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError):
        return secrets.token_hex(DIGEST_BYTES)  # not known to equal anything


def _plain(value: Any) -> object:
    """Turns what JSON does not know into plain data: a model is its fields, and of anything else
    only the type counts."""
    fields: dict[str, Any] | None = getattr(value, "__dict__", None)
    return fields or type(value).__name__


_encode = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain
).encode
