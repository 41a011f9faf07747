"""Amounts as people write them: times, tokens, money, turns; and prices of models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from causepath.providers.messages import Usage

TIMES = ("wall", "llm", "tool")
KINDS = (*TIMES, "tokens", "cost", "turns")
"""The kinds of limits. Inside, times are in nanoseconds and cost is in dollars."""

Amount: TypeAlias = "int | Decimal"

_UNITS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "min": 60 * 10**9, "h": 3600 * 10**9}

_MANY = {"": 1, "k": 1_000, "m": 1_000_000}

_FORMS = {
    "tokens": "a whole number, or a text like '50k'",
    "cost": "a Decimal, or a text like '$0.10'",
    "turns": "a whole number",
}

_NUMBER = re.compile(r"(\$?)([0-9][0-9_,]*(?:\.[0-9]+)?|\.[0-9]+)\s*([a-zA-Z]*)")


def amount(kind: str, value: object) -> Amount:
    """Reads a limit of this kind as it is written in code; `ValueError` says what would do."""
    try:
        found = _amount(kind, value)
    except (ArithmeticError, ValueError):
        found = None
    if found is None or not found.is_finite() or found < 0:
        form = _FORMS.get(kind, "seconds, or a text like '5s', '500ms' or '2m'")
        raise ValueError(f"{kind}={value!r} is no limit: it takes {form}")
    return found if kind == "cost" else int(found)


def _amount(kind: str, value: object) -> Decimal | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float | Decimal):
        return Decimal(str(value)) * (10**9 if kind in TIMES else 1) if _fits(kind, value) else None
    match = _NUMBER.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return None
    dollar, digits, unit = match.groups()
    number = Decimal(digits.replace(",", "").replace("_", ""))
    if dollar and kind != "cost":
        return None
    if kind in TIMES:
        factor = _UNITS.get(unit.lower())
    elif kind == "tokens":
        factor = _MANY.get(unit.lower())
    else:
        factor = None if unit else 1
    whole = kind not in ("tokens", "turns") or factor is None or number * factor % 1 == 0
    return number * factor if factor is not None and whole else None


def _fits(kind: str, value: float | Decimal) -> bool:
    return kind not in ("tokens", "turns") or isinstance(value, int)


def written(kind: str, value: Amount) -> str:
    """Writes an amount with its unit."""
    if kind in TIMES:
        return f"{Decimal(value) / 10**9:.3f}".rstrip("0").rstrip(".") + " s"
    if kind == "cost":
        return f"${value:f}"
    return f"{value:,} {kind}"


class Price(NamedTuple):
    """The price of a model, in dollars for a million tokens; `None` is unknown."""

    input: Decimal
    output: Decimal
    cache_read: Decimal | None
    cache_write: Decimal | None

    def cost(self, usage: Usage) -> Decimal | None:
        """Works out what was asked for costs, as far as it came; `None` if nobody can know."""
        read, wrote = usage.cache_read or 0, usage.cache_write or 0
        if (read and self.cache_read is None) or (wrote and self.cache_write is None):
            return None
        total = self.input * max(0, (usage.input or 0) - read - wrote)
        total += self.output * (usage.output or 0)
        if read or wrote:
            total += (self.cache_read or 0) * read + (self.cache_write or 0) * wrote
        return total / 1_000_000


def read_prices(table: object) -> dict[str, Price]:
    """Reads a table of prices: of each model `input`, `output`, and perhaps `cache_read` and
    `cache_write`, in dollars for a million tokens."""
    if not isinstance(table, Mapping):
        raise TypeError(
            "prices=... takes a table, as {'model': {'input': '3', 'output': '15', "
            f"'cache_read': '0.30', 'cache_write': '3.75'}}}}, not {type(table).__name__}"
        )
    return {str(model): _price(model, row) for model, row in table.items()}


def _price(model: object, row: object) -> Price:
    if not isinstance(row, Mapping) or not {"input", "output"} <= row.keys() <= {*Price._fields}:
        raise ValueError(
            f"prices[{model!r}] has to have 'input' and 'output', and may have 'cache_read' and "
            f"'cache_write', in dollars for a million tokens; it is {row!r}"
        )
    prices = {name: _dollars(model, name, value) for name, value in row.items()}
    return Price(
        prices["input"], prices["output"], prices.get("cache_read"), prices.get("cache_write")
    )


def _dollars(model: object, name: str, value: object) -> Decimal:
    try:
        found = Decimal(str(value).removeprefix("$"))
    except InvalidOperation:
        found = Decimal("NaN")
    if isinstance(value, bool) or not found.is_finite() or found < 0:
        raise ValueError(
            f"prices[{model!r}][{name!r}] is {value!r}: it has to be a number of dollars for a "
            "million tokens"
        )
    return found
