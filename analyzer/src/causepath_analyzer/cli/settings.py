"""Settings from the command line, the environment and settings files, in this order.

A settings file is ``causepath.toml``, or ``pyproject.toml`` with a table ``tool.causepath``, here
or in the nearest folder above::

    [budgets]                   # in pyproject.toml: [tool.causepath.budgets]
    wall = "5s"
    path.tool = "2s"            # wall time spent on tools
    tokens.input = 40000
    calls.llm = 6
    cost = "$0.25"

    [findings]                  # in pyproject.toml: [tool.causepath.findings]
    select = ["CP1"]            # codes, or what they begin with; without it, all
    ignore = ["CP103"]
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from causepath_analyzer.analyses.budgets import MEASURES, Amount, Budget, Unit
from causepath_analyzer.analyses.findings.rules import misnamed
from causepath_analyzer.errors import ConfigurationError, UsageError

_UNITS_NS: Final[Mapping[str, int]] = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "min": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_AMOUNT: Final = re.compile(r"\s*(\$?)\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*([a-zA-Z]*)\s*\Z")
_EXAMPLES: Final[Mapping[Unit, str]] = {
    "ns": '"5s", "800ms" or "2m"',
    "tokens": "40000",
    "calls": "6",
    "usd": '"$0.25"',
    "findings": "0",
}


class FindingSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Codes of findings, or what these begin with; without ``select`` all of them."""

    select: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """The contents of a settings file. Budgets may be nested tables or dotted names."""

    budgets: dict[str, Any] = {}
    findings: FindingSettings = FindingSettings()


class _Tool(Struct, frozen=True):
    causepath: dict[str, Any] | None = None


class _Project(Struct, frozen=True):
    tool: _Tool = _Tool()


def budgets(
    flags: Sequence[str], environment: str, config: str | None
) -> tuple[tuple[Budget, ...], str | None]:
    """Gathers the budgets that hold, and names the settings file they may come from.

    `flags` and the comma-separated `environment` are like "wall=5s". Raises `UsageError` or
    `ConfigurationError` for what is not understood.
    """
    found: dict[str, Budget] = {}
    file = _chosen_file(config)
    if file is not None:
        found.update((budget.name, budget) for budget in _from_file(file))
    in_environment = [entry for entry in re.split(r"[,\s]+", environment) if entry]
    for where, entries in (("CAUSEPATH_MAX", in_environment), ("--max", flags)):
        for entry in entries:
            name, equals, value = entry.partition("=")
            if not equals:
                raise UsageError(f"{where}: {entry!r} is no budget; write it like wall=5s")
            problem = f"{where} {entry}"
            budget = _budget(name.strip(), value, problem, where)
            found[budget.name] = budget
    return tuple(found.values()), None if file is None else str(file)


def finding_settings(config: str | None) -> FindingSettings:
    """Reads which findings are wanted. Raises `ConfigurationError` for what begins no code."""
    file = _chosen_file(config)
    if file is None:
        return FindingSettings()
    found = _settings(file).findings
    for name, codes in (("select", found.select or ()), ("ignore", found.ignore)):
        for code in codes:
            problem = misnamed(code)
            if problem is not None:
                raise ConfigurationError(f"{_place(file, f'findings.{name}')}: {name}: {problem}")
    return found


def _chosen_file(config: str | None) -> Path | None:
    return Path(config) if config is not None else _settings_file(Path.cwd())


def _settings_file(folder: Path) -> Path | None:
    for here in (folder, *folder.parents):
        own, project = here / "causepath.toml", here / "pyproject.toml"
        if own.is_file():
            return own
        if project.is_file() and _names_us(project) and _table(project) is not None:
            return project
    return None


def _names_us(project: Path) -> bool:
    """Tells whether a project may have settings of ours: what else is wrong with it is no matter
    of ours."""
    try:
        return b"causepath" in project.read_bytes()
    except OSError:
        return False


def _settings(file: Path) -> Settings:
    table = _table(file)
    try:
        return msgspec.convert(table if table is not None else {}, Settings)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{_place(file, _field(error))}: {_told(error)}") from None


def _from_file(file: Path) -> Iterator[Budget]:
    for name, value in _flat(_settings(file).budgets):
        place = _place(file, name)
        yield _budget(name, value, place, place)


def _table(file: Path) -> Mapping[str, Any] | None:
    """Reads the settings in `file`; ``None`` if it is a ``pyproject.toml`` without any."""
    import tomllib  # few commands find a file to read

    try:
        parsed = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file}: not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        place = f"{file}:{line[1]}" if line else str(file)
        raise ConfigurationError(f"{place}: not TOML: {error}") from None
    if file.name != "pyproject.toml":
        return parsed
    try:
        return msgspec.convert(parsed, _Project).tool.causepath
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{_place(file, 'causepath')}: {error}") from None


def _flat(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Lists dotted names and values; TOML nests no deeper than its author typed."""
    waiting = [(above, table)]
    while waiting:
        prefix, entries = waiting.pop()
        for key, value in entries.items():
            if isinstance(value, dict):
                waiting.append((f"{prefix}{key}.", value))
            else:
                yield f"{prefix}{key}", value


def _field(error: msgspec.ValidationError) -> str:
    """Names the setting that `error` is about, with the tables that it is in."""
    inside = re.search(r"at `\$\.([\w.]+)", str(error))
    unknown = re.search(r"unknown field `([^`]*)`", str(error))
    return ".".join(found[1] for found in (inside, unknown) if found is not None)


def _told(error: msgspec.ValidationError) -> str:
    name = _field(error)
    if name.startswith("findings.") and "unknown field" not in str(error):
        return f'{name} is no list of codes; write it like ["CP101", "CP2"]'
    if "unknown field" not in str(error):
        return f"{name}: {error}"
    table = FindingSettings if name.startswith("findings.") else Settings
    return f"unknown setting {name!r}; there is {' and '.join(table.__struct_fields__)}"


def _place(file: Path, name: str) -> str:
    """Names ``file:line`` of the setting `name`, as well as it can be told."""
    key = re.escape(name.rpartition(".")[2])
    assignment = re.compile(rf'\s*(?:[\w."-]+\.)?"?{key}"?\s*(?:=|\])|\s*\[[\w."-]*{key}"?\]')
    lines = file.read_text(encoding="utf-8").splitlines()
    table = re.escape(name.rpartition(".")[0])
    header = re.compile(rf"\s*\[\s*(?:tool\.causepath\.)?{table}\s*\]")
    ours = next((n for n, line in enumerate(lines) if "causepath" in line), 0)
    ours = ours if file.name == "pyproject.toml" else 0
    start = next((n for n, line in enumerate(lines) if table and header.match(line)), ours)
    for number, line in enumerate(lines[start:], start=start + 1):
        if assignment.match(line):
            return f"{file}:{number}"
    return str(file)


def _budget(name: str, value: object, problem: str, where: str) -> Budget:
    """Raises `ConfigurationError` (a `UsageError`) starting with `problem`."""
    measure = MEASURES.get(name)
    if measure is None:
        near = get_close_matches(name, MEASURES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there is {_names(MEASURES)}"
        raise ConfigurationError(f"{problem}: no budget is called {name!r}; {hint}")
    most = _amount(value, measure.unit)
    if most is None:
        raise ConfigurationError(
            f"{problem}: {value!r} is no amount for {name}; write it like {_EXAMPLES[measure.unit]}"
        )
    return Budget(name, most, where)


def _names(names: Iterable[str]) -> str:
    kinds = [name for name in names if name.startswith("path.")]
    others = [name for name in names if not name.startswith("path.")]
    return f"{', '.join(others)} and {kinds[0]}, {kinds[1]}, ... for every kind of a report"


def _amount(value: object, unit: Unit) -> Amount | None:
    """Reads `value` in `unit`; ``None`` if it has another unit, none where one is needed, or is
    odd."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    match = _AMOUNT.match(str(value))
    if match is None:
        return None
    dollar, digits, suffix = match.groups()
    try:
        number = Decimal(digits.replace("_", ""))
    except InvalidOperation:
        return None
    if unit == "usd":
        return number if suffix.lower() in ("", "usd") else None
    if dollar:
        return None
    if unit == "ns":
        ns = _UNITS_NS.get(suffix)
        return None if ns is None else int(number * ns)
    factor = {"": 1, "k": 1_000, "m": 1_000_000}.get(suffix.lower())
    whole = None if factor is None else number * factor
    return int(whole) if whole is not None and whole == int(whole) else None
