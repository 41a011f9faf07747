"""``causepath check PATHS``: hold runs against budgets."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Final, Literal

from cyclopts import Group, Parameter

from causepath_analyzer.analyses.budgets.baseline import has_agent_in_common
from causepath_analyzer.analyses.budgets.measures import CODE, MEASURES, Sample, sampled
from causepath_analyzer.analyses.budgets.verdicts import Check, Verdict, checked
from causepath_analyzer.analyses.findings.rules import RULES
from causepath_analyzer.analyses.proof.independence import NOWHERE, elsewhere
from causepath_analyzer.analyses.run import explained
from causepath_analyzer.analyses.summary.summary import id_length
from causepath_analyzer.cli.baselines import baseline_file, read_baseline, save_baseline
from causepath_analyzer.cli.finding_options import (
    EVERY_FINDING,
    ConfigOption,
    FindingOptions,
    wanted_limits,
    wanted_rules,
)
from causepath_analyzer.cli.inputs import Json, named_paths, read_inputs, read_together
from causepath_analyzer.cli.output import Color, add, complain, show, size_of, write
from causepath_analyzer.cli.prices import PricesOption
from causepath_analyzer.cli.report import ColorOption, JobsOption, checked_jobs
from causepath_analyzer.cli.settings import BudgetSettings, budgets
from causepath_analyzer.cli.source import EVERYTHING, PathArgument, Source
from causepath_analyzer.cli.where import conditioned, finding_codes, left_out, none_left
from causepath_analyzer.errors import ExitStatus, UsageError
from causepath_analyzer.jobs.share import Row, Task, rows_of
from causepath_analyzer.model import Input
from causepath_analyzer.prices_file import own_prices
from causepath_analyzer.report.check_files import check_junit, check_sarif
from causepath_analyzer.report.check_markdown import MOST_SUMMARY, annotations, check_markdown
from causepath_analyzer.report.check_text import check_text
from causepath_analyzer.report.formatting import count
from causepath_analyzer.report.json import check_json

MAX_VARIABLE: Final = "CAUSEPATH_MAX"
SUMMARY_VARIABLE: Final = "GITHUB_STEP_SUMMARY"
_STATUS: Final[dict[Verdict, ExitStatus]] = {
    "pass": ExitStatus.FINE,
    "fail": ExitStatus.BUDGET_BROKEN,
    "inconclusive": ExitStatus.INCONCLUSIVE,
}


_OUTPUTS: Final = Group("Outputs")


@Parameter(name="*", group=_OUTPUTS)
@dataclass(frozen=True)
class CheckOutputs:
    """Other forms in which a check is told, beside the text."""

    markdown: Annotated[
        bool, Parameter(negative="", help="Print Markdown, for a pull request or an issue.")
    ] = False
    junit: Annotated[
        str | None, Parameter(metavar="FILE", help="Write JUnit XML, a test case for a budget.")
    ] = None
    sarif: Annotated[
        str | None, Parameter(metavar="FILE", help="Write SARIF 2.1.0, for code scanning.")
    ] = None
    github: Annotated[
        bool,
        Parameter(
            negative="",
            help="Print GitHub annotations as well, and write to $GITHUB_STEP_SUMMARY.",
        ),
    ] = False


TEXT_ONLY: Final = CheckOutputs()


_BUDGETS: Final = Group("Budgets")


@Parameter(name="*", group=_BUDGETS)
@dataclass(frozen=True)
class BudgetOptions:
    """The budgets of the command line, and what becomes of those that nobody can tell."""

    max: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            metavar="NAME=AMOUNT",
            help="The most that each run may use, like `wall=5s`; again for more. "
            "Environment: CAUSEPATH_MAX.",
        ),
    ] = None
    budget: Annotated[
        list[str] | None,
        Parameter(
            negative="", metavar="TEXT", help='A budget, like "p(95) wall < 20s"; again for more.'
        ),
    ] = None
    warn: Annotated[
        list[str] | None,
        Parameter(
            negative="", metavar="TEXT", help="A budget that is only warned of when it is broken."
        ),
    ] = None
    baseline: Annotated[
        str | None,
        Parameter(
            metavar="FILE|NAME",
            help="The runs that limits like `< +10% and +200ms` are compared with.",
        ),
    ] = None
    save_baseline: Annotated[
        str | None,
        Parameter(metavar="FILE|NAME", help="Keep these runs as a baseline for later checks."),
    ] = None
    inconclusive: Annotated[
        Literal["pass", "fail"] | None,
        Parameter(help="Take what nobody can tell for kept or broken; else exit with 3."),
    ] = None
    allow_empty: Annotated[
        bool,
        Parameter(negative="", show_default=False, help="Budgets may be about no run at all."),
    ] = False

    def settings(self, config: str | None) -> BudgetSettings:
        """Gathers these budgets with those of the environment and of settings. Raises `UsageError`
        if there is none and nothing else to do."""
        environment = os.environ.get(MAX_VARIABLE, "")
        found = budgets(self.max or (), self.budget or (), self.warn or (), environment, config)
        if not found.budgets and self.save_baseline is None:
            where = f"{found.file} has none" if found.file else "there is no settings file with any"
            raise UsageError(
                f'no budgets: {where}; set one with --max "wall=5s", '
                "or in [tool.causepath.budgets] of pyproject.toml"
            )
        return found

    def before(self) -> Sequence[Sample] | None:
        """Reads the runs of the baseline, if one is named."""
        return None if self.baseline is None else read_baseline(self.baseline).runs

    def refuse_strangers(self, before: Sequence[Sample] | None, now: Sequence[Sample]) -> None:
        """Raises `UsageError` if the baseline is of other agents."""
        if before is not None and not has_agent_in_common(before, now):
            raise UsageError(
                f"{baseline_file(self.baseline or '')} is of other agents: it has "
                f"{_names(before)}, and here is {_names(now)}"
            )


NO_BUDGETS: Final = BudgetOptions()


def check(
    *paths: PathArgument,
    wanted: BudgetOptions = NO_BUDGETS,
    config: ConfigOption = None,
    json: Json = False,
    outputs: CheckOutputs = TEXT_ONLY,
    source: Source = EVERYTHING,
    findings: FindingOptions = EVERY_FINDING,
    prices: PricesOption = None,
    color: ColorOption = "auto",
    jobs: JobsOption = None,
) -> int:
    """Hold every run against budgets; exit with 1 if one is broken, with 3 if nobody can tell.

    A budget is `wall < 60s` for each run, or `p(95) wall < 20s`, `mean cost < $0.25`, `share tool <
    40%`, `error_rate < 1%`, `p(95) first_token{agent="research"} < 2s`, `count CP101 == 0`, or
    with a part for each kind of work, `wall < 20s: model 60%, tool 30%, buffer 10%`.

    Budgets are `wall`, `perceived` (until the last answer begins), `path.KIND` (wall time spent on
    tool, llm, first_token, retry, ...), `tokens.input`, `tokens.output`, `tokens.cache_read`,
    `tokens.cache_write`, `tokens.reasoning`, `tokens.total`, `calls.llm`, `calls.tool`, `turns`,
    `cost`, `findings` (how many opportunities a run may have), `failed` (0: each run has to end
    well) and `over_budget` (limits that the program had set itself and that were used up); of each
    call `first_token`, `call.llm` and `call.tool`; of all runs `error_rate` and
    `cache_read_share`.
    """
    settings = wanted.settings(config)
    measures = {name for one in settings.budgets for name in one.measures}
    if wanted.save_baseline is not None:
        measures |= set(MEASURES)
    codes = any(name == "findings" or CODE.match(name) for name in measures)
    if findings != EVERY_FINDING and not codes:
        raise UsageError(
            "--select and --ignore say which findings the budget of findings counts; set one with "
            '--max "findings=0"'
        )
    rules = wanted_rules(findings, config) if codes else ()
    where = source.selection.where
    limits, own = wanted_limits(config), own_prices(prices)
    before = wanted.before()
    named = named_paths(paths)
    task = Task(
        source.options(named),
        codes=tuple(rule.code for rule in rules) or tuple(finding_codes(where)),
        prices=own,
        limits=limits,
        measures=tuple(sorted(measures)),
    )
    task = conditioned(task, where)
    inputs, samples = _samples(named, task, jobs, source)
    wanted.refuse_strangers(before, samples)
    unread = sum(entry.unread for entry in inputs)
    found = checked(settings.budgets, samples, before, unread, settings.near)
    if not wanted.allow_empty:
        _refuse_empty(found, samples)
    if wanted.save_baseline is not None:
        place = save_baseline(wanted.save_baseline, samples)
        complain(f"kept {count(len(samples), 'run')} as a baseline in {place}")
    if settings.budgets:
        ids = [sample.trace_id for sample in samples]
        _tell(found, ids, inputs, outputs, json=json, color=color)
    return source.status(inputs, named) or _status(found.verdict, wanted.inconclusive)


def _samples(
    paths: Sequence[str], task: Task, jobs: int | None, source: Source
) -> tuple[Sequence[Input], Sequence[Sample]]:
    """Reads `paths`, and tells what became of every file, with what budgets look at of each run."""
    team = read_together(paths, task, checked_jobs(jobs))
    if team is not None:
        with team:
            return team.inputs, _samples_of(source.picked_rows(team.rows()), task)
    reading = read_inputs(paths, task.options)
    traces = source.before_where(reading.traces)
    if task.where:
        rows = source.picked_rows(list(rows_of(traces, task)))
        return reading.inputs, _samples_of(rows, task)
    others = elsewhere(traces) if task.codes else NOWHERE
    rules = [RULES[code] for code in task.codes]
    # One after the other: of each run no more is kept, and a cost is worked out only if asked for.
    runs = (
        explained(
            trace,
            with_cost="cost" in task.measures,
            others=others,
            rules=rules,
            prices=task.prices,
            limits=task.limits,
        )
        for trace in traces
    )
    return reading.inputs, [sampled(run, task.measures) for run in runs]


def _samples_of(rows: Sequence[Row], task: Task) -> Sequence[Sample]:
    """Takes what budgets look at from `rows`, and says how many of them a condition leaves out."""
    if task.where:
        picked = [row for row in rows if row.brief.is_picked]
        unknown = sum(row.brief.is_picked is None for row in rows)
        if not picked:
            raise none_left(task.where, len(rows), unknown)
        complain(left_out(task.where, len(rows), len(picked), unknown))
        rows = picked
    return [row.sample for row in rows if row.sample is not None]


def _names(samples: Sequence[Sample]) -> str:
    names = sorted({sample.name for sample in samples})
    more = f" and {len(names) - _NAMES:,} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more


_NAMES: Final = 5


def _refuse_empty(found: Check, samples: Sequence[Sample]) -> None:
    """A budget that is about no run would be kept for ever: raises `UsageError`."""
    for one in found.budgets:
        if one.runs:
            continue
        only = one.budget.only
        near = get_close_matches(only.agent, {sample.name for sample in samples}, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the agents here are: {_names(samples)}"
        raise UsageError(
            f"{one.budget.where}: {one.budget.name} is about no run or call in the input; {hint} "
            "(--allow-empty takes it)"
        )


def _tell(
    found: Check,
    trace_ids: Sequence[str],
    inputs: Sequence[Input],
    outputs: CheckOutputs,
    *,
    json: bool,
    color: Color,
) -> None:
    if outputs.junit is not None:
        write(check_junit(found), outputs.junit)
    if outputs.sarif is not None:
        write(check_sarif(found), outputs.sarif)
    if json:
        write(check_json(inputs, found), None)
    elif outputs.markdown:
        write(check_markdown(found).encode(), None)
    else:
        show(check_text(found, id_length(trace_ids)), color)
    if outputs.github:
        write(annotations(found).encode(), None)
        summary = os.environ.get(SUMMARY_VARIABLE)
        if summary:
            # What the step has written before counts as well.
            left = max(0, MOST_SUMMARY - size_of(summary))
            add(check_markdown(found, left).encode(), summary)


def _status(verdict: Verdict, inconclusive: Literal["pass", "fail"] | None) -> ExitStatus:
    if verdict == "inconclusive" and inconclusive is not None:
        verdict = inconclusive
    return _STATUS[verdict]
