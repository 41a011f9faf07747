"""The value that a run has of an attribute which somebody asked for by its name."""

from typing import Final

from causepath_analyzer.model import Span, Trace

_MOST: Final = 1_000
"""So many different values are told apart in one run."""


def values_of(trace: Trace, name: str) -> tuple[str, ...]:
    """Finds the values that the outermost span of `trace` has of the attribute `name`, else those
    of all its spans, else those of the resource; none where nobody says any."""
    root = _said(trace.spans[trace.main_root], name, of_resource=False)
    return root or _everywhere(trace, name, of_resource=False) or of_resource(trace, name)


def group_of_values(trace: Trace, name: str) -> str:
    """Names the group that `trace` is in by the attribute `name`; empty where nobody says any.

    Spans below the outermost one count if they agree, else the resource does.
    """
    root = _said(trace.spans[trace.main_root], name, of_resource=False)
    if root:
        return " + ".join(sorted(root))
    below = _everywhere(trace, name, of_resource=False)
    of_process = of_resource(trace, name) if len(below) != 1 else ()
    found = below if len(below) == 1 else of_process or below
    return " + ".join(sorted(found)) if len(found) <= _MOST_JOINED else SEVERAL


_MOST_JOINED: Final = 3
SEVERAL: Final = "(several)"
"""The group of runs that have many values."""


def of_resource(trace: Trace, name: str) -> tuple[str, ...]:
    """Finds the values of the resource: that of the outermost span, else of any."""
    root = _said(trace.spans[trace.main_root], name, of_resource=True)
    return root or _everywhere(trace, name, of_resource=True)


def _everywhere(trace: Trace, name: str, *, of_resource: bool) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for span in trace.spans:
        for value in _said(span, name, of_resource=of_resource):
            found[value] = None
        if len(found) >= _MOST:
            break
    return tuple(found)


def _said(span: Span, name: str, *, of_resource: bool) -> tuple[str, ...]:
    for label in span.labels:
        if label.name == name and label.of_resource is of_resource:
            return label.values
    return ()
