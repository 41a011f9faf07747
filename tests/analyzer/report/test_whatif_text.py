"""What is said of predictions that are unknown, upper bounds, or of hardly anything."""

import pytest

from causepath_analyzer.analyses.predictions.prediction import prediction, verified
from causepath_analyzer.analyses.predictions.whatif import what_if
from causepath_analyzer.analyses.replay.edits import edit
from causepath_analyzer.model import Trace
from causepath_analyzer.report.whatif_text import verify_text, whatif_text
from tests.analyzer.analyses.test_whatif import CALLS, queries, run

ALIKE = run([(1000, 10)] * 6)


@pytest.mark.parametrize(
    ("change", "before", "after", "said", "verdict"),
    [
        (
            "shrink input=0.5",
            ALIKE,
            ALIKE,
            [
                "  wall p50               1.56s   unknown",
                "Unknown: how much sooner the first token of m comes with less input: the sizes",
            ],
            "Measured 0: what to expect was unknown",
        ),
        (
            "CP101",
            queries(40, 80),
            queries(40, 80),
            ["At most: calls of q that overlapped took longer, as if they waited for each"],
            "Predicted -80ms, measured 0, off by 80ms: inside the range, an upper bound",
        ),
        (
            "scale tool:q=0.5",
            queries(40, 41),
            queries(40, 41),
            [],
            "Predicted -80ms, measured 0, off by 80ms: outside the range",
        ),
        (
            "shrink input=0.5",
            run(CALLS),
            run([(given // 2, written) for given, written in CALLS]),
            ["  answer begins p50      2.10s     1.36s     -750ms -36%"],
            "Predicted -750ms, measured -750ms, error <1%: inside the range",
        ),
    ],
    ids=["unknown", "upper bound", "nothing saved", "sizes"],
)
def test_what_is_said(
    change: str, before: Trace, after: Trace, said: list[str], verdict: str
) -> None:
    found = what_if([before] * 3, [edit(change)])
    lines = [line.plain for line in whatif_text(found, "w.json")]
    for one in said:
        assert any(line.startswith(one) for line in lines), lines
    told = [line.plain for line in verify_text(verified(prediction(found), [after] * 3))]
    assert told[-1] == verdict
    assert all(len(line) <= 80 for line in (*lines, *told))
