"""``causepath verify PREDICTION NEW_TRACES``: did it come true?"""

from datetime import UTC, datetime
from typing import Annotated

from cyclopts import Parameter

from causepath_analyzer.analyses.predictions.prediction import after_the_change, entry, verified
from causepath_analyzer.cli.inputs import Json, read_picked
from causepath_analyzer.cli.ledger import read_prediction, remember
from causepath_analyzer.cli.output import complain, show, write
from causepath_analyzer.cli.prices import PricesOption
from causepath_analyzer.cli.report import ColorOption
from causepath_analyzer.cli.source import EVERYTHING, PathArgument, Source
from causepath_analyzer.errors import ExitStatus, UsageError
from causepath_analyzer.prices_file import own_prices
from causepath_analyzer.report.formatting import count
from causepath_analyzer.report.whatif_json import verify_json
from causepath_analyzer.report.whatif_text import verify_text


def verify(
    file: Annotated[
        str, Parameter(metavar="PREDICTION", help="What `causepath whatif --save` wrote.")
    ],
    /,
    *paths: PathArgument,
    json: Json = False,
    source: Source = EVERYTHING,
    prices: PricesOption = None,
    color: ColorOption = "auto",
) -> int:
    """Compare a prediction with the traces after the change, and remember how right it was.

    Exits with 1 if what was measured is outside the predicted range, with 3 if there is none.
    The outcome is added to `.causepath/ledger.jsonl`, from which `causepath whatif` tells how
    far off predictions of the same kind were.
    """
    told = read_prediction(file)
    own = own_prices(prices)
    reading = read_picked(paths, source, prices=own)
    new = after_the_change(told, reading.traces)
    if len(new) < len(reading.traces):
        old = count(len(reading.traces) - len(new), "run is", "runs are")
        complain(f"{old} from before the prediction, and left out")
    measured = verified(told, new, own)
    try:
        remember(entry(measured, datetime.now(UTC).isoformat(timespec="seconds")))
    except UsageError as error:  # the comparison itself is done, and can be shown
        complain(str(error))
    if json:
        write(verify_json(measured), None)
    else:
        show(verify_text(measured), color)
    unreadable = reading.status
    verdict = {
        True: ExitStatus.FINE,
        False: ExitStatus.BUDGET_BROKEN,
        None: ExitStatus.INCONCLUSIVE,
    }
    return unreadable or verdict[measured.inside]
