"""Digests of blocks: equal for equal content, and no content is guessed from one without the key.

No text is kept. What has been worked out is remembered by the hash that Python itself keeps with
every string, so that a history that is sent again with each turn is digested once.
"""

from __future__ import annotations

import json
import marshal
import secrets
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from causepath.recent import Recent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from causepath.messages import Block

MAX_REMEMBERED = 10_000

DIGEST_BYTES = 8


class Digests:
    """Digests under one key. Safe to use from any thread."""

    def __init__(self, key: bytes) -> None:
        self._blank = blake2b(digest_size=DIGEST_BYTES, key=key)
        self._known: Recent[object, str] = Recent(MAX_REMEMBERED)

    def __len__(self) -> int:
        return len(self._known)

    def items(self, blocks: Iterable[Block]) -> list[str]:
        """`role:kind:digest:size` for each of `blocks`, the size in UTF-8 bytes."""
        known, found = self._known.get, []
        for block in blocks:
            role, kind, value, name, _, _ = block
            key: object = (
                (role, kind, name, hash(value), len(value))
                if type(value) is str
                else (role, kind, name, _hash(value))
            )
            item = known(key)
            if item is None:
                digest, size = self.digest(block)
                item = f"{role.replace(':', '_')}:{kind.replace(':', '_')}:{digest}:{size}"
                if key[-1] is not None:  # type: ignore[index]
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
            state.update(data)
            return state.hexdigest(), len(data)
        if type(value) is tuple:
            size = 0
            for inner in value:
                digest, inner_size = self.digest(inner)
                state.update(f"{inner.kind}:{digest};".encode())
                size += inner_size
            return state.hexdigest(), size
        data = _json(value).encode("utf-8", "surrogatepass")
        state.update(block.name.encode("utf-8", "surrogatepass") + b"\0" + data)
        return state.hexdigest(), len(data)


def _hash(value: Any) -> int | None:
    """Equal for equal plain data, as far as its dicts have one order; `None` for anything else."""
    try:
        return hash(marshal.dumps(value, 2))
    except ValueError:
        return None


def _json(value: Any) -> str:
    try:
        return json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain
        )
    except (TypeError, ValueError, RecursionError):
        return secrets.token_hex(DIGEST_BYTES)  # not known to equal anything


def _plain(value: Any) -> object:
    """What JSON does not know: a model is its fields, and of anything else only the type counts."""
    fields: dict[str, Any] | None = getattr(value, "__dict__", None)
    return fields or type(value).__name__
