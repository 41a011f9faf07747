"""How a run ended: well, or what went wrong.

Our plugin says so itself (``causepath.run.outcome``). Of other runs the error of the outermost span
tells: its type says whether it was stopped from outside or took too long. An error further inside
says nothing, as whoever called may have coped with it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, Literal, get_args

from msgspec import Struct

from causepath_analyzer.model import NO_SPAN, RunOutcome, Span, Trace

Status = Literal["ok", "failed", "interrupted", "timed_out", "unfinished"]
STATUSES: Final[tuple[Status, ...]] = get_args(Status)


class Ending(Struct, frozen=True, array_like=True):
    """The end of a run: how it came, and the type or message of the error, if there is one.

    ``killed``: it is unfinished, and not even its own span was written.
    """

    status: Status = "ok"
    error: str | None = None
    killed: bool = False

    @property
    def is_cut_short(self) -> bool:
        """Tells whether the run would have gone on, so that its wall is the least it takes."""
        return self.status in ("unfinished", "interrupted")


WELL: Final = Ending()


def ending(trace: Trace) -> Ending:
    """Finds how the run in `trace` ended."""
    if _is_headless(trace):
        return Ending("unfinished", killed=True)
    runs = sorted(_outermost_runs(trace), key=lambda i: (trace.spans[i].ended_ns, i))
    # A request around the run may have been answered although the run failed.
    decisive = [*trace.roots, *runs[-1:]]
    found = [_of(trace.spans[i]) for i in decisive]
    told = [one for i, one in zip(decisive, found, strict=True) if trace.spans[i].run_outcome]
    wrong = [one for one in (*told, *found) if one.status != "ok"]
    return wrong[0] if wrong else WELL


def endings_of(endings: Iterable[Ending]) -> Mapping[Status, int]:
    """Counts how runs ended, those that ended well left out."""
    counted = Counter(one.status for one in endings)
    return {status: counted[status] for status in STATUSES[1:] if counted[status]}


def _of(span: Span) -> Ending:
    if span.run_outcome is not None:
        return Ending(span.run_outcome, span.error)
    if span.error is not None:
        return Ending(_kind_of(span.error), span.error)
    return Ending("unfinished") if span.left_open else WELL


# The words for what took too long and for what was stopped from outside. The type of an error is
# one of them from end to end; a message is about it wherever it has one in any form.
_LATE: Final = r"timed?_?out|\btimed? out\b|deadline[_ ]?exceeded"
_STOPPED: Final = (
    r"keyboardinterrupt|cancell?ed(?:error|exception)?|systemexit|generatorexit"
    r"|aborterror|sig(?:term|int|hup)|interrupted(?:error|exception)?"
)
_TIMED_OUT: Final = re.compile(rf"\S*(?:{_LATE})\S*\Z", re.IGNORECASE)
_INTERRUPTED: Final = re.compile(rf"(?:\S*\W)?(?:{_STOPPED})\Z", re.IGNORECASE)
_TOO_LATE: Final = re.compile(_LATE, re.IGNORECASE)
_CUT_OFF: Final = re.compile(rf"{_LATE}|{_STOPPED}|cancel|interrupt", re.IGNORECASE)


def is_cut_off(error: str) -> bool:
    """Tells whether what ended with this type or message of an error was given up by whoever asked
    for it, and not refused."""
    return _CUT_OFF.search(error) is not None


def is_stopped(error: str) -> bool:
    """Tells whether it was given up for another reason than the time that it took."""
    return is_cut_off(error) and _TOO_LATE.search(error) is None


def _kind_of(error: str) -> RunOutcome:
    if _TIMED_OUT.match(error):
        return "timed_out"
    return "interrupted" if _INTERRUPTED.match(error) else "failed"


def _outermost_runs(trace: Trace) -> list[int]:
    """Finds the spans of agents that lie in no other agent's."""
    inside = [False] * len(trace.spans)
    found = []
    for i in trace.top_down():
        parent = trace.parents[i]
        inside[i] = parent != NO_SPAN and (
            inside[parent] or trace.spans[parent].category == "agent"
        )
        if trace.spans[i].category == "agent" and not inside[i]:
            found.append(i)
    return found


_OURS: Final = "causepath"


def _is_headless(trace: Trace) -> bool:
    """Tells whether our plugin wrote what is in a run, but not the run itself."""
    if not trace.health.orphans or trace.health.astray:
        return False
    heads = [trace.spans[i] for i in trace.roots]
    here = {span.span_id for span in trace.spans}
    return any(span.scope == _OURS or span.program is not None for span in trace.spans) and all(
        span.parent_id
        and span.parent_id not in here
        and span.category != "agent"
        and span.kind not in ("server", "consumer")
        for span in heads
    )
