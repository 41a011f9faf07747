"""What a trace does not tell, and what it would take to know more."""

from typing import Final

from causepath_analyzer.analyses.path.usage import Usage
from causepath_analyzer.model import Trace

_FEWEST_LOST: Final = 2
"""Places in the tree: one may be the caller of all of it, whose spans go elsewhere."""


def lost_places(trace: Trace) -> int:
    """Counts the parents of spans that are not in `trace`, those of requests from outside aside."""
    if not trace.health.orphans:
        return 0
    here = {span.span_id for span in trace.spans}
    return len(
        {
            span.parent_id
            for span in trace.spans
            if span.parent_id and span.kind not in ("server", "consumer")
        }
        - here
    )


def is_in_pieces(trace: Trace) -> bool:
    """Tells whether spans of `trace` were lost: what is left says at least what it says."""
    return lost_places(trace) - trace.health.astray >= _FEWEST_LOST


def lacking(trace: Trace, used: Usage) -> tuple[str, ...]:
    """Lists what would have to be recorded to say more about `trace`, which used so much."""
    told = []
    if trace.untrusted:
        told.append("an emitter that ends each span when its work ends, not when it flushes")
    elif not trace.wall_ns:
        told.append("times: no span says when its work ended")
    if is_in_pieces(trace):
        told.append("the spans that are not here: sampled away, dropped, or in another file")
    if not used.calls.llm:
        told.append("spans of model calls, if it made any: `causepath run`, or an instrumentation")
    elif used.uncounted:
        told.append(
            "token counts of every call: ask for the usage of streams, read them to the end"
        )
    if len(trace.spans) == 1 and used.calls.llm:
        told.append("the run around the call, and what else was done in it")
    return tuple(told)
