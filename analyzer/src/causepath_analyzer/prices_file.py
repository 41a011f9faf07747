"""A file of prices of one's own, which go over those of the table.

::

    [models."my-model"]        # as the traces name it; US dollars per million tokens
    input = 3
    output = 15
    cache_read = 0.3           # what is left out costs as input, reasoning as output
    cache_write = 3.75
    cache_write_1h = 6
    search = 0.01              # per search of the web
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from causepath_analyzer.analyses.path.cost import TABLE_ONLY, OwnPrices
from causepath_analyzer.errors import ConfigurationError

_NEEDED: Final = ("input", "output")
_NAMES: Final = (*_NEEDED, "cache_read", "cache_write", "cache_write_1h", "reasoning", "search")
_MILLION: Final = 1_000_000
_MOST: Final = 1_000_000_000


def own_prices(file: str | None) -> OwnPrices:
    """Reads `file`. Raises `ConfigurationError` with the line, and what was expected there."""
    if file is None:
        return TABLE_ONLY
    import tomllib  # few commands are given a file

    try:
        text = Path(file).read_text(encoding="utf-8-sig")
        parsed = tomllib.loads(text, parse_float=Decimal)
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line_number = error.object[: error.start].count(b"\n") + 1
        raise ConfigurationError(f"{file}:{line_number}: not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        # Else it is the end of the document.
        place = f"{file}:{line[1] if line else len(text.splitlines())}"
        raise ConfigurationError(f"{place}: not TOML: {error}") from None
    lines = text.splitlines()
    models = parsed.get("models")
    if not isinstance(models, dict) or not models or len(parsed) > 1:
        first = next((name for name in parsed if name != "models"), "models")
        raise ConfigurationError(
            f'{_place(file, lines, first)}: expected nothing but tables like [models."my-model"]'
        )
    found = {model: _rates(file, lines, model, said) for model, said in models.items()}
    return OwnPrices(Path(file).name, found)


def _rates(file: str, lines: list[str], model: str, said: object) -> tuple[Decimal, ...]:
    if not isinstance(said, dict) or not all(name in said for name in _NEEDED):
        whole = _in_parts(model, said)
        quoted = (
            "" if whole is None else f'; a name with a dot stands in quotes: [models."{whole}"]'
        )
        raise ConfigurationError(
            f"{_place(file, lines, model)}: {model} needs input and output, in US dollars per "
            f"million tokens{quoted}"
        )
    for name, value in said.items():
        if name not in _NAMES:
            raise ConfigurationError(
                f"{_place(file, lines, model, name)}: {name!r} is no price; there is "
                f"{', '.join(_NAMES)}"
            )
        if not _is_price(value):
            raise ConfigurationError(
                f"{_place(file, lines, model, name)}: {name} = {_shown(value)}: expected US "
                "dollars per million tokens, as 2.5"
            )
    return _row(said)


def _in_parts(model: str, said: object) -> str | None:
    """Gives the name of a model whose dots TOML took for tables in tables."""
    whole = model
    while isinstance(said, dict) and len(said) == 1:
        ((part, said),) = said.items()
        whole = f"{whole}.{part}"
    is_price = isinstance(said, dict) and any(name in said for name in _NEEDED)
    return whole if is_price and whole != model else None


def _is_price(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return False
    return Decimal(value).is_finite() and 0 <= value < _MOST


def _row(said: Mapping[str, Any]) -> tuple[Decimal, ...]:
    """Puts prices in the order of `OwnPrices.models`."""
    write = said.get("cache_write", said["input"])
    per_million = (
        said["input"],
        said["output"],
        said.get("cache_read", said["input"]),
        write,
        said.get("cache_write_1h", write),
        said.get("reasoning", said["output"]),
    )
    search = Decimal(said.get("search", 0))
    return (Decimal(0), *(Decimal(one) / _MILLION for one in per_million), search)


def _shown(value: object) -> str:
    return str(value) if isinstance(value, Decimal) else repr(value)


def _place(file: str, lines: list[str], model: str, name: str | None = None) -> str:
    """Names ``file:line`` of a model, or of its price `name`, as well as it can be told."""
    key = rf"""["']?{re.escape(model)}["']?\s*"""
    headers = rf"\s*\[\s*models\s*\.\s*{key}[].]", rf"\s*(?:\[\s*)?{key}[]=.]", rf".*{key}"
    start = next(
        (n for header in headers for n, line in enumerate(lines) if re.match(header, line)), None
    )
    if start is None:
        return file
    if name is not None:
        price = re.compile(rf"""\s*["']?{re.escape(name)}["']?\s*=""")
        start = next((n for n in range(start, len(lines)) if price.match(lines[n])), start)
    return f"{file}:{start + 1}"
