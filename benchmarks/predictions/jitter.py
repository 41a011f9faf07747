"""Delays that differ from run to run, and are the same for the same run before and after the fix.

Needs nothing but the standard library: the stand-in of the model starts without site packages.
"""

from __future__ import annotations

import random


def delay(seed: int, label: str, seconds: float) -> float:
    """`seconds`, a fifth more or less."""
    return seconds * random.Random(f"{seed} {label}").uniform(0.8, 1.2)
