"""``causepath check PATHS``: hold runs against budgets."""

import os
from typing import Annotated, Final

from cyclopts import Parameter

from causepath_analyzer.analyses.budgets import Verdict, checked
from causepath_analyzer.analyses.proof.independence import NOWHERE, elsewhere
from causepath_analyzer.analyses.run import explained
from causepath_analyzer.analyses.summary import id_length
from causepath_analyzer.cli.finding_options import (
    EVERY_FINDING,
    ConfigOption,
    FindingOptions,
    wanted_rules,
)
from causepath_analyzer.cli.inputs import Json, read_picked
from causepath_analyzer.cli.output import show, write
from causepath_analyzer.cli.prices import PricesOption
from causepath_analyzer.cli.report import ColorOption
from causepath_analyzer.cli.settings import budgets
from causepath_analyzer.cli.source import EVERYTHING, PathArgument, Source
from causepath_analyzer.errors import ExitStatus, UsageError
from causepath_analyzer.prices_file import own_prices
from causepath_analyzer.report.check_text import check_text
from causepath_analyzer.report.json import check_json

MAX_VARIABLE: Final = "CAUSEPATH_MAX"
_STATUS: Final[dict[Verdict, ExitStatus]] = {
    "pass": ExitStatus.FINE,
    "fail": ExitStatus.BUDGET_BROKEN,
    "inconclusive": ExitStatus.INCONCLUSIVE,
}


def check(
    *paths: PathArgument,
    max: Annotated[  # noqa: A002 - the flag is called so
        list[str] | None,
        Parameter(
            name="--max",
            negative="",
            metavar="NAME=AMOUNT",
            help="A budget, like `wall=5s`; again for more. Environment: CAUSEPATH_MAX.",
        ),
    ] = None,
    config: ConfigOption = None,
    json: Json = False,
    source: Source = EVERYTHING,
    findings: FindingOptions = EVERY_FINDING,
    prices: PricesOption = None,
    color: ColorOption = "auto",
) -> int:
    """Hold every run against budgets; exit with 1 if one is broken.

    Budgets are `wall`, `path.KIND` (wall time spent on tool, llm, first_token, retry, ...),
    `tokens.input`, `tokens.output`, `tokens.cache_read`, `tokens.cache_write`, `tokens.reasoning`,
    `calls.llm`, `calls.tool`, `turns`, `cost`, `findings` (how many opportunities a run may have)
    and `failed` (0: each run has to end well).
    """
    wanted, file = budgets(max or (), os.environ.get(MAX_VARIABLE, ""), config)
    if not wanted:
        where = f"{file} has none" if file else "there is no settings file with any"
        raise UsageError(
            f'no budgets: {where}; set one with --max "wall=5s", '
            "or in [tool.causepath.budgets] of pyproject.toml"
        )
    names = {budget.name for budget in wanted}
    rules = wanted_rules(findings, config) if "findings" in names else ()
    if findings != EVERY_FINDING and "findings" not in names:
        raise UsageError(
            "--select and --ignore say which findings the budget of findings counts; set one with "
            '--max "findings=0"'
        )
    reading = read_picked(paths, source)
    others = elsewhere(reading.traces) if rules else NOWHERE
    own = own_prices(prices)
    runs = [
        explained(entry, with_cost="cost" in names, others=others, rules=rules, prices=own)
        for entry in reading.traces
    ]
    found = checked(wanted, runs, sum(entry.unread for entry in reading.inputs))
    if json:
        write(check_json(reading.inputs, found), None)
    else:
        show(check_text(found, id_length([entry.trace_id for entry in reading.traces])), color)
    return reading.status or _STATUS[found.verdict]
