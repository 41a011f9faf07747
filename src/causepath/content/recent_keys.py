"""Keys met of late, as many as fit: in two generations, so that forgetting costs nothing.

When the young generation is full it becomes the old one, and what only the old one knew is gone.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """A dict of at least the `generation` keys set last, and of four times as many at most."""

    def __init__(self, generation: int) -> None:
        self._generation = generation
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: K) -> V | None:
        found = self._young.get(key)
        return self._old.get(key) if found is None else found

    def of(self, keys: Sequence[K]) -> list[V | None]:
        """Looks up each of `keys`."""
        found = list(map(self._young.get, keys))
        if self._old and None in found:
            old = self._old.get
            return [old(key) if one is None else one for one, key in zip(found, keys, strict=True)]
        return found

    def among(self, keys: AbstractSet[K]) -> set[K]:
        """Those of `keys` that are here."""
        found = keys & self._young.keys() if self._young else set()
        return found | (keys & self._old.keys()) if self._old else found

    def __setitem__(self, key: K, value: V) -> None:
        if len(self._young) >= self._generation:
            self._young, self._old = {}, self._young
        self._young[key] = value

    def add(self, keys: Iterable[K], value: V) -> None:
        """Set `keys` at once; of more than fit in a generation, some are forgotten right away."""
        if len(self._young) >= self._generation:
            self._young, self._old = {}, self._young
        self._young.update(dict.fromkeys(islice(keys, self._generation), value))


class RecentKeys(Generic[K]):
    """Like `Recent`, without values: a set takes in many keys in a third of the time."""

    def __init__(self, generation: int) -> None:
        self._generation = generation
        self._young: set[K] = set()
        self._old: set[K] = set()

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def among(self, keys: AbstractSet[K]) -> set[K]:
        """Those of `keys` that are here."""
        return {*(keys & self._young), *(keys & self._old)}

    def add(self, keys: AbstractSet[K]) -> None:
        """Adds keys. Of more than fit in a generation, some are forgotten right away."""
        if len(self._young) >= self._generation:
            self._young, self._old = set(), self._young
        fits = len(keys) <= self._generation
        self._young.update(keys if fits else islice(keys, self._generation))
