"""One trace with edits, which are found in it alone."""

from collections.abc import Sequence

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.rules import EVERY
from causepath_analyzer.analyses.predictions.applied_edits import Notes
from causepath_analyzer.analyses.predictions.model_times import model_times
from causepath_analyzer.analyses.predictions.studied import studied
from causepath_analyzer.analyses.predictions.whatif import Edited, edited
from causepath_analyzer.analyses.replay.edits import Apply, Edit
from causepath_analyzer.model import Trace


def changed(trace: Trace, edits: Sequence[Edit]) -> Edited:
    """Replays `trace` with all of `edits`."""
    applied = any(isinstance(change, Apply) for change in edits)
    run = studied(Facts(trace), rules=EVERY if applied else (), sized=True)
    return edited(run, edits, model_times([run]), Notes())[0]
