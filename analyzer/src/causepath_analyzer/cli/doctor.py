"""``causepath doctor PATHS``: is the tracing itself sound, and what to do where it is not."""

from typing import Annotated

from cyclopts import Parameter

from causepath_analyzer.analyses.diagnosis import diagnosis
from causepath_analyzer.cli.inputs import Json, read_picked
from causepath_analyzer.cli.output import show, write
from causepath_analyzer.cli.report import ColorOption
from causepath_analyzer.cli.source import EVERYTHING, PathArgument, Source
from causepath_analyzer.cli.wiring import wiring_here, wiring_of
from causepath_analyzer.errors import ExitStatus
from causepath_analyzer.report.doctor import doctor_json, doctor_text
from causepath_analyzer.report.wiring_text import wiring_json, wiring_text


def doctor(
    *paths: PathArgument,
    json: Json = False,
    source: Source = EVERYTHING,
    color: ColorOption = "auto",
    own: Annotated[
        bool,
        Parameter(
            name="--self",
            negative="",
            show_default=False,
            help="Check the wiring instead, of the Python here: what would be seen, and where "
            "spans would go. With `-- python agent.py` that program is run.",
        ),
    ] = False,
) -> int:
    """Say who wrote the traces, what in them is doubled, missing or unreadable, and what to do.

    `causepath doctor -- python agent.py` runs a program, and says whether the plugin was loaded,
    what it saw and where spans went.
    """
    if own:
        wiring, status = wiring_of(paths) if paths else (wiring_here(), 0)
        if json:
            write(wiring_json(wiring), None)
        else:
            show(wiring_text(wiring), color)
        return status or (ExitStatus.NO_TRACES if wiring.wrong() else ExitStatus.FINE)
    reading = read_picked(paths, source)
    skipped = sum(entry.skipped_total or entry.problem is not None for entry in reading.inputs)
    found = diagnosis(reading.traces, skipped)
    if json:
        write(doctor_json(reading.inputs, found), None)
    else:
        show(doctor_text(reading.inputs, found), color)
    return reading.status
