"""Shares of what was counted, with their intervals."""

from __future__ import annotations


def share(part: int, whole: int) -> str:
    """Writes a share with its interval; nothing where nothing is counted."""
    if not whole:
        return ""
    low, high = interval(part, whole)
    return f"{part / whole:.0%} ({low:.0%} to {high:.0%})"


def interval(part: int, whole: int) -> tuple[float, float]:
    """Gives the 95 % interval of a share, by Wilson."""
    z = 1.96
    middle = part + z * z / 2
    half = z * (part * (whole - part) / whole + z * z / 4) ** 0.5
    return max(0.0, (middle - half) / (whole + z * z)), min(1.0, (middle + half) / (whole + z * z))
