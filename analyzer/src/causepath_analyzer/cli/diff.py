"""``causepath diff BEFORE AFTER``: what changed, by how much, and why."""

from typing import Annotated

from cyclopts import Parameter

from causepath_analyzer.analyses.comparison.compared import Comparison, compared
from causepath_analyzer.analyses.predictions.prediction import is_made_from, kept
from causepath_analyzer.analyses.proof.independence import elsewhere
from causepath_analyzer.analyses.run import explained
from causepath_analyzer.cli.inputs import Json, Picked, read_picked
from causepath_analyzer.cli.ledger import predictions_beside
from causepath_analyzer.cli.output import show, write
from causepath_analyzer.cli.prices import PricesOption
from causepath_analyzer.cli.report import ColorOption
from causepath_analyzer.cli.source import EVERYTHING, Source
from causepath_analyzer.errors import ExitStatus, NoTracesError, UsageError
from causepath_analyzer.prices_file import own_prices
from causepath_analyzer.report.diff_text import diff_json, diff_text


def diff(
    before: Annotated[
        str, Parameter(metavar="BEFORE", help="Traces of before the change, as PATH of a report.")
    ],
    after: Annotated[str | None, Parameter(metavar="AFTER", help="Traces of after it.")] = None,
    /,
    *,
    self: Annotated[
        bool,
        Parameter(
            negative="",
            help="Compare every other run of BEFORE with the rest: what noise alone looks like.",
        ),
    ] = False,
    json: Json = False,
    source: Source = EVERYTHING,
    prices: PricesOption = None,
    color: ColorOption = "auto",
) -> int:
    """Compare the runs before a change with those after it.

    Each figure comes with the range that its change is in, 95 % sure, and the change of the mean
    wall is taken apart into causes that add up to it: more work, slower work, less overlap. Exits
    with 1 if the median wall is longer or the mean cost higher for certain, with 3 if the wall
    cannot be told, the cost is known of one side alone, or other agents ran. A prediction of
    `whatif --save` from these runs before, in a file beside them, is compared with those after.
    """
    if self == (after is not None):
        raise UsageError(
            "compare what? Write: causepath diff BEFORE AFTER, or: causepath diff --self TRACES"
        )
    own = own_prices(prices)
    first = read_picked((before,), source, prices=own)
    second = first if after is None else read_picked((after,), source, prices=own)
    was, now = list(first.traces), list(second.traces)
    if self:
        was, now = was[::2], was[1::2]
    if not was or not now:
        raise NoTracesError("there are not two runs to compare")
    others = elsewhere([*was, *now])
    sides = [
        [explained(trace, with_cost=True, others=others, prices=own) for trace in traces]
        for traces in (was, now)
    ]
    found = compared(sides[0], sides[1], own)
    predictions = [
        kept(file, told, now, own)
        for file, told in ([] if after is None else predictions_beside((before, after)))
        if is_made_from(told, was)
    ]
    if json:
        inputs = first.inputs if second is first else [*first.inputs, *second.inputs]
        write(diff_json(inputs, found, predictions), None)
    else:
        show(diff_text(found, predictions), color)
    return _read(first, second) or _status(found)


def _read(first: Picked, second: Picked) -> ExitStatus:
    return first.status or second.status


def _status(found: Comparison) -> ExitStatus:
    verdicts = {one.name: one.verdict for one in found.figures}
    if found.is_mix_changed:
        return ExitStatus.INCONCLUSIVE
    if "more" in (verdicts.get("wall"), verdicts.get("cost")):
        return ExitStatus.BUDGET_BROKEN
    unsaid = any(0 in one.known for one in found.figures if one.name == "cost")
    if unsaid or verdicts.get("wall") in (None, "unknown"):
        return ExitStatus.INCONCLUSIVE
    return ExitStatus.FINE
