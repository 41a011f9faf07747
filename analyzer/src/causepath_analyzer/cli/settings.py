"""Settings from the command line, the environment and settings files, in this order.

A settings file is ``causepath.toml``, or ``pyproject.toml`` with a table ``tool.causepath``, here
or in the nearest folder above::

    [budgets]                   # in pyproject.toml: [tool.causepath.budgets]
    wall = "5s"
    path.tool = "2s"            # wall time spent on tools
    tokens.input = 40000
    calls.llm = 6
    cost = "$0.25"
    error = ["p(95) wall < 20s", "mean cost < $0.20"]
    warn = ["error_rate < 1%"]  # said, and no more
    near = "80%"                # of how much of a budget it is said that it is nearly used up

    [findings]                  # in pyproject.toml: [tool.causepath.findings]
    select = ["CP1"]            # codes, or what they begin with; without it, all
    ignore = ["CP103"]
    llm = "3s"                  # from which size on findings warn
    iterations = 10
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from causepath_analyzer.analyses.budgets.measures import CODE, MEASURES, Unit
from causepath_analyzer.analyses.budgets.verdicts import NEAR
from causepath_analyzer.analyses.budgets.wording import (
    EXAMPLES,
    Budget,
    Level,
    WordingError,
    read_amount,
    told_measures,
    wording,
)
from causepath_analyzer.analyses.findings.rules import misnamed
from causepath_analyzer.analyses.limits import LIMITS, Limits
from causepath_analyzer.errors import ConfigurationError, UsageError

_LEVELS: Final[tuple[Level, ...]] = ("error", "warn")
_QUOTED: Final = ("ns", "usd", "share")
"""Units whose amounts are no numbers in TOML."""


class FindingSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Codes of findings, or what these begin with, without ``select`` all of them; and the sizes
    from which on they warn."""

    select: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    llm: Any = None
    tool: Any = None
    cost: Any = None
    iterations: Any = None
    calls: Any = None
    prompt: Any = None

    @property
    def limits(self) -> Limits:
        """Gives the sizes from which on findings warn, where they are said; they are in order."""
        said = {
            field: read_amount(value, unit)
            for name, (field, unit) in _LIMITS.items()
            if (value := getattr(self, name)) is not None
        }
        return replace(LIMITS, **said)


_LIMITS: Final[Mapping[str, tuple[str, Unit]]] = {
    "llm": ("llm_ns", "ns"),
    "tool": ("tool_ns", "ns"),
    "cost": ("cost_usd", "usd"),
    "iterations": ("iterations", "calls"),
    "calls": ("calls", "calls"),
    "prompt": ("prompt_share", "share"),
}
"""Names of limits in settings: what they are in `Limits`, and their unit."""


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """The contents of a settings file. Budgets may be nested tables or dotted names."""

    budgets: dict[str, Any] = {}
    findings: FindingSettings = FindingSettings()


class _Tool(Struct, frozen=True):
    causepath: dict[str, Any] | None = None


class _Project(Struct, frozen=True):
    tool: _Tool = _Tool()


class BudgetSettings(Struct, frozen=True):
    """The budgets that hold, the settings ``file`` that some may come from, and the part of a
    budget from which on it is nearly used up."""

    budgets: tuple[Budget, ...]
    file: str | None
    near: Decimal = NEAR


def budgets(
    most: Sequence[str],
    errors: Sequence[str],
    warnings: Sequence[str],
    environment: str,
    config: str | None,
) -> BudgetSettings:
    """Gathers the budgets that hold.

    `most` and the comma-separated `environment` are like "wall=5s", `errors` and `warnings` like
    "p(95) wall < 5s". Raises `UsageError` or `ConfigurationError` for what is not understood.
    """
    file = _chosen_file(config)
    near = NEAR if file is None else _near(file)
    in_file = [] if file is None else list(_from_file(file))
    in_environment = _of_runs(
        "CAUSEPATH_MAX", [entry for entry in re.split(r"[,\s]+", environment) if entry]
    )
    flags = _of_runs("--max", most)
    told: Sequence[tuple[str, Level, Sequence[str]]] = (
        ("--budget", "error", errors),
        ("--warn", "warn", warnings),
    )
    for where, level, texts in told:
        flags += [_worded(text, where, level) for text in texts]
    found: list[Budget] = []
    for source in (in_file, in_environment, flags):
        # What is nearer to the user goes over what is said of the same elsewhere.
        keys = {_key(budget) for budget in source}
        found = [budget for budget in found if _key(budget) not in keys] + source
    for budget in found:
        problem = misnamed(budget.measure) if CODE.match(budget.measure) else None
        if problem is not None:
            raise ConfigurationError(f"{budget.where}: {budget.name}: {problem}")
    return BudgetSettings(tuple(found), None if file is None else str(file), near)


def _worded(text: str, where: str, level: Level) -> Budget:
    try:
        return wording(text, where, level)
    except WordingError as error:
        raise UsageError(f"{where} {text!r}, column {error.column}: {error}") from None


def _of_runs(where: str, entries: Sequence[str]) -> list[Budget]:
    """Reads budgets like "wall=5s": of two of one thing, the last holds."""
    found: dict[str, Budget] = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not equals:
            raise UsageError(f"{where}: {entry!r} is no budget; write it like wall=5s")
        found[name.strip()] = _budget(name.strip(), value, f"{where} {entry}", where)
    return list(found.values())


def _key(budget: Budget) -> str:
    """Tells which budgets go over each other: those of one thing in one direction."""
    return f"{budget.level} {budget.name} {budget.sign[0]}"


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
    for name, (_, unit) in _LIMITS.items():
        value = getattr(found, name)
        if value is not None and read_amount(value, unit) is None:
            place = _place(file, f"findings.{name}")
            raise ConfigurationError(
                f"{place}: {name}: {value!r} is no amount; write it like {EXAMPLES[unit]}"
            )
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
    table = _settings(file).budgets
    for name, value in _flat({name: table[name] for name in table if name not in _OTHER}):
        place = _place(file, name)
        yield _budget(name, value, place, place)
    for level in _LEVELS:
        texts = table.get(level, [])
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ConfigurationError(
                f"{_place(file, f'budgets.{level}')}: {level} is no list of budgets; write it like "
                '["p(95) wall < 20s"]'
            )
        for text in texts:
            place, column = _place_of_text(file, f"budgets.{level}", text)
            try:
                yield wording(text, place, level)
            except WordingError as error:
                raise ConfigurationError(f"{place}:{column + error.column}: {error}") from None


_OTHER: Final = (*_LEVELS, "near")


def _near(file: Path) -> Decimal:
    told = _settings(file).budgets.get("near")
    if told is None:
        return NEAR
    share = read_amount(told, "share")
    if not isinstance(share, Decimal):
        place = _place(file, "budgets.near")
        raise ConfigurationError(f'{place}: {told!r} is no part of a budget; write it like "80%"')
    return share


def _place_of_text(file: Path, name: str, text: str) -> tuple[str, int]:
    """Names ``file:line`` of a `text` in the list `name`, and how many characters are before it."""
    start = _place(file, name)
    _, _, first = start.rpartition(":")
    lines = file.read_text(encoding="utf-8").splitlines()
    for number in range(int(first) if first.isdecimal() else 1, len(lines) + 1):
        at = lines[number - 1].find(text)
        if at >= 0:
            return f"{file}:{number}", at
    return start, 0


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
    *names, last = table.__struct_fields__
    return f"unknown setting {name!r}; there is {', '.join(names)} and {last}"


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
    if name not in MEASURES:
        near = get_close_matches(name, MEASURES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there is {told_measures()}"
        raise ConfigurationError(f"{problem}: no budget is called {name!r}; {hint}")
    unit = MEASURES[name].unit
    most = read_amount(value, unit)
    if most is None:
        example = EXAMPLES[unit]
        if unit in _QUOTED:
            example = re.sub(r"\$?\d[\w.%]*", r'"\g<0>"', example)
        raise ConfigurationError(
            f"{problem}: {value!r} is no amount for {name}; write it like {example}"
        )
    return Budget(name, most, where)
