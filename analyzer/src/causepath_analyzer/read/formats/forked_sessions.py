"""Sessions of Claude Code and pi that begin with the lines of an older one, counted once.

A session that is resumed or forked under a new id repeats what was said before. Replies and tool
calls keep the ids that the API gave them, so they are known again; the older session keeps them,
and the younger one begins with its first line of its own::

    older    |--turn 1--| user |--turn 2--|
    younger  |--turn 1--| user |--turn 2--| user |--turn 3--|
    counted                                      |--turn 3--|
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from causepath_analyzer.model import Span
from causepath_analyzer.read.format import Repeats

SCOPE: Final = "claude-code-transcript"
_MOST_FORKS: Final = 100


def without_repeats(spans: dict[str, list[Span]], scope: str = SCOPE) -> Mapping[str, Repeats]:
    """Takes out of `spans`, by trace, what a session recorded by `scope` repeats of an older one.

    Says of each session that lost something how much and to whom. A session that has nothing of
    its own is taken out whole, and the older one says so.
    """
    sessions = {name: own for name, own in spans.items() if own[0].scope == scope}
    if len(sessions) < 2:
        return {}
    owners: dict[str, Span] = {}
    found: dict[str, Repeats] = {}
    for name in _oldest_first(sessions):
        repeated = []
        for span in sessions[name]:
            owner = owners.setdefault(span.span_id, span)
            # Other programs number the replies of every session anew.
            if owner.trace_id != name and _is_copy(span, owner):
                repeated.append(span)
        if not repeated:
            continue
        older = sorted({owners[span.span_id].trace_id for span in repeated})
        left = _left(name, sessions[name], repeated)
        if left:
            spans[name] = left
            calls = sum(span.category == "llm" for span in repeated)
            many = f"{calls:,} model calls" if calls != 1 else "a model call"
            note = f"{many} of session {', '.join(older)} repeated here: counted there"
            found[name] = Repeats(len(repeated), note)
        else:
            del spans[name]
            found.setdefault(older[0], Repeats(0, f"repeated in session {name}: counted once"))
    return found


def _is_copy(span: Span, of: Span) -> bool:
    return span.start_ns == of.start_ns or span.ended_ns == of.ended_ns


def _oldest_first(sessions: Mapping[str, Sequence[Span]]) -> Iterable[str]:
    """Every session after those that it was forked from; else what ended first comes first."""
    forked = {
        name: link.span_id
        for name, own in sessions.items()
        for span in own
        if span.span_id == name
        for link in span.links
    }
    depths = {}
    for name in sessions:
        at, depth = name, 0
        while at in forked and depth < _MOST_FORKS:
            at, depth = forked[at], depth + 1
        depths[name] = depth
    ends = {name: max(span.ended_ns for span in own) for name, own in sessions.items()}
    origins = set(forked.values())
    return sorted(sessions, key=lambda n: (depths[n], ends[n], n not in origins, n))


def _left(name: str, own: Sequence[Span], repeated: Sequence[Span]) -> list[Span]:
    """Returns what is left of the session `name`: nothing, or what came after the repeated
    lines."""
    gone = {span.span_id for span in repeated}
    repeated_ns = max(span.ended_ns for span in repeated)
    starts: dict[str, int] = {}
    """When the first own work below a turn began."""
    for span in own:
        if span.span_id not in gone and not _is_frame(name, span):
            known_ns = starts.get(span.parent_id, span.start_ns)
            starts[span.parent_id] = min(known_ns, span.start_ns)
    left = []
    for span in own:
        if span.span_id in gone or span.span_id == name:
            continue
        if _is_frame(name, span) and span.start_ns <= repeated_ns:
            if span.span_id not in starts:
                continue
            span = replace(span, start_ns=starts[span.span_id])
        left.append(span)
    if not left:
        return []
    start_ns = min(span.start_ns for span in left)
    return [replace(span, start_ns=start_ns) for span in own if span.span_id == name] + left


def _is_frame(name: str, span: Span) -> bool:
    """Tells whether `span` is a turn or a wait, which have no id of the API."""
    return span.parent_id == name and span.category in ("agent", "human", "wait")
