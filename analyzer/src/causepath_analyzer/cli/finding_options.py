"""The options of commands that look for findings: which are looked for."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from cyclopts import Group, Parameter

from causepath_analyzer.analyses.findings.rule import Rule
from causepath_analyzer.analyses.findings.rules import chosen, misnamed
from causepath_analyzer.analyses.limits import Limits
from causepath_analyzer.cli.settings import finding_settings
from causepath_analyzer.errors import UsageError

_GROUP: Final = Group("Findings")

ConfigOption = Annotated[
    str | None,
    Parameter(
        metavar="FILE",
        help="Settings; else causepath.toml or pyproject.toml, here or above.",
    ),
]


@Parameter(name="*", group=_GROUP)
@dataclass(frozen=True)
class FindingOptions:
    """The findings to look for; settings name them where these do not."""

    select: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            metavar="CODE",
            help="Only findings with these codes, or codes that begin so: CP101,CP2. Instead of "
            "those of [tool.causepath.findings] in the settings.",
        ),
    ] = None
    ignore: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            metavar="CODE",
            help="No findings with these codes. Of a code that is selected and ignored, what "
            "names more of it has the say.",
        ),
    ] = None


EVERY_FINDING: Final = FindingOptions()


def wanted_rules(options: FindingOptions, config: str | None = None) -> tuple[Rule, ...]:
    """Picks the rules that are wanted. As in ruff, `options` that select go over all settings.

    Raises `UsageError` or `ConfigurationError` for what begins no code.
    """
    settings = finding_settings(config)
    ignored = _listed("--ignore", options.ignore)
    if options.select is not None:
        return chosen(_listed("--select", options.select), ignored)
    return chosen(settings.select, (*settings.ignore, *ignored))


def wanted_limits(config: str | None = None) -> Limits:
    """Reads from which size on findings warn. Raises `ConfigurationError` for what is none."""
    return finding_settings(config).limits


def _listed(flag: str, values: Iterable[str] | None) -> Sequence[str]:
    """Takes values apart that have commas in them."""
    codes = [one for value in values or () for one in re.split(r"[,\s]+", value.strip())]
    for code in codes:
        problem = misnamed(code)
        if problem is not None:
            raise UsageError(f"{flag}: {problem}")
    return codes
