"""``causepath whatif PATHS --apply CHANGE``: what a change would save."""

from datetime import UTC, datetime
from typing import Annotated

from cyclopts import Parameter
from rich.text import Text

from causepath_analyzer.analyses.predictions.prediction import past_errors, prediction
from causepath_analyzer.analyses.predictions.whatif import what_if
from causepath_analyzer.analyses.replay.edits import GRAMMAR, edit
from causepath_analyzer.analyses.replay.profile import PERCENTS, profile
from causepath_analyzer.cli.inputs import Json, read_picked
from causepath_analyzer.cli.ledger import ledger
from causepath_analyzer.cli.output import show, write
from causepath_analyzer.cli.prices import PricesOption
from causepath_analyzer.cli.report import ColorOption
from causepath_analyzer.cli.source import EVERYTHING, PathArgument, Source
from causepath_analyzer.errors import UsageError
from causepath_analyzer.prices_file import own_prices
from causepath_analyzer.report.whatif_json import prediction_json, whatif_json
from causepath_analyzer.report.whatif_text import profile_text, whatif_text


def whatif(
    *paths: PathArgument,
    apply: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            metavar="CHANGE",
            help=f"A change; again for more, which are replayed together. There is {GRAMMAR}.",
        ),
    ] = None,
    profile_: Annotated[
        bool,
        Parameter(
            name="--profile",
            negative="",
            show_default=False,
            help="For each operation, what the runs gain as it gets faster.",
        ),
    ] = False,
    save: Annotated[
        str | None, Parameter(metavar="FILE", help="Write the prediction for `causepath verify`.")
    ] = None,
    json: Json = False,
    source: Source = EVERYTHING,
    prices: PricesOption = None,
    color: ColorOption = "auto",
) -> int:
    """Predict what a change would save, by replaying the traces with it.

    A SELECTOR is a category and a pattern of names, like `tool:fetch*`, `llm:claude*`,
    `retrieval`, or a phase of model calls: `llm.first_token`, `llm.generation`. It may name one
    step: `llm@agent.py:41` (file, line or function of the code that makes the call),
    `llm@researcher` (its agent, or a step of it), `llm#2`, `#first`, `#last`, `#tools`, `#answer`
    (its turn).

    `shrink input=0.5` uses how the first token follows the size of the prompt in these traces, and
    says so where they do not show it. `stream` tells when the last answer begins to be seen.
    """
    edits = [edit(text) for text in apply or ()]
    if not edits and not profile_:
        raise UsageError(f"what is to change? Write --apply CHANGE: {GRAMMAR}; or --profile")
    if save is not None and not edits:
        raise UsageError("--save keeps a prediction, which needs --apply")
    own = own_prices(prices)
    reading = read_picked(paths, source, prices=own)
    found = None
    if edits:
        known = ledger()
        among = reading.every if len(reading.traces) == 1 else ()
        found = what_if(reading.traces, edits, lambda kinds: past_errors(known, kinds), own, among)
    told = (
        None
        if found is None
        else prediction(found, reading.traces, datetime.now(UTC).isoformat(timespec="seconds"))
    )
    curves = profile(reading.traces) if profile_ else ()
    if save is not None and told is not None:
        write(prediction_json(told), save)
    if json:
        write(whatif_json(found, told, curves), None)
    else:
        lines = [] if found is None else whatif_text(found, save)
        if profile_:
            lines += [*([Text()] if lines else []), *profile_text(curves, PERCENTS)]
        show(lines, color)
    return reading.status
