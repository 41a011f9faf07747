"""What a span's own time was spent on, and which model or tool call it belongs to."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, get_args

from msgspec import Struct

from causepath_analyzer.model import CATEGORIES, NO_SPAN, Category, Trace

Kind = Literal[
    "first_token",
    "generation",
    "llm",
    "tool",
    "retrieval",
    "embedding",
    "cache",
    "database",
    "network",
    "guardrail",
    "retry",
    "human",
    "wait",
    "agent",
    "beside",
    "other",
    "uncovered",
]
"""What wall time was spent on. ``llm`` is a model call that cannot be split at its first token,
``agent`` the own time of agents and framework steps, ``beside`` time of a span that nobody
measured while a task below it ran, ``uncovered`` time that no span covers."""

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

_OWN: Final[Mapping[Category, Kind]] = {
    category: "agent" if category == "chain" else category for category in CATEGORIES
}

# An internal step or the wire below one of these is part of it.
_OWNS_STEPS: Final = frozenset(
    ("llm", "retry", "tool", "retrieval", "embedding", "database", "network", "guardrail", "cache")
)
_OWNS_NETWORK: Final = _OWNS_STEPS - {"tool"}


_HAS_TURNS: Final = ("agent", "tool")


class SpanKinds(Struct, frozen=True):
    """The kind of each span, by number.

    ``own[i]``: what its own time is. ``calls[i]``: the model call that span *i* is or is part of
    (an attempt over HTTP, a twin recorded by a second instrumentation), else `NO_SPAN`.
    ``units[i]``: the innermost model or tool call around it, itself included, else `NO_SPAN`.
    ``agents[i]``: what span *i* works for, the nearest agent or tool above it, or its root.
    ``top_down``: all span numbers, every parent before its children.
    """

    own: Sequence[Kind]
    calls: Sequence[int]
    units: Sequence[int]
    agents: Sequence[int]
    top_down: Sequence[int]


def span_kinds(trace: Trace) -> SpanKinds:
    """Tells what every span of `trace` is part of."""
    spans, parents = trace.spans, trace.parents
    own: list[Kind] = ["other"] * len(spans)
    calls = [NO_SPAN] * len(spans)
    units = [NO_SPAN] * len(spans)
    agents = list(range(len(spans)))
    categories = [span.category for span in spans]
    order = trace.top_down()
    for i in order:
        parent = parents[i]
        category = categories[i]
        kind = _OWN[category]
        call = unit = NO_SPAN
        if parent != NO_SPAN:
            above, unit = own[parent], units[parent]
            agents[i] = parent if categories[parent] in _HAS_TURNS else agents[parent]
            if category == "other":
                # A server is another process, whose time is not that of the step that called it.
                remote = spans[i].kind in ("server", "consumer")
                if above == "llm" or (above in _OWNS_STEPS and not remote):
                    kind = above
            elif category == "network" and above in _OWNS_NETWORK:
                kind = above
            elif category == "chain" and above in _OWNS_STEPS and not trace.children[i]:
                kind = above  # a second framework's record of what the call does
            if kind == "llm" and category != "llm":
                call = calls[parent]
        if kind == "llm" and call == NO_SPAN:
            call = i
        own[i], calls[i] = kind, call
        units[i] = call if call != NO_SPAN else i if category == "tool" else unit
    return SpanKinds(own, calls, units, agents, order)
