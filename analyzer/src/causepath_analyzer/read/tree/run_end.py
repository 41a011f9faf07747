"""When a run has ended: with its root, or when its last reply had been read.

A handler returns a streaming response, a run is declared around a call that returns a stream: the
root has ended, and the reply is still being read. So from the root down what was started last is
followed. If the innermost of these that is still open is a model call, the run lasts to the end of
the outermost that is open, and is looked at again from there:

    server POST   |--|                         the run lasts as long as the agent
      agent chat   |-----------------|
        llm a       |---|
        llm b              |--------|

So it does where nothing was done before the root ended but in the branch that is still open, and
where what begins later carries on: a tool that was asked for, a call that was given its result. It
does not where that branch was begun in the last twentieth of the root, after other work, with no
link to that work: that is a task in the background, for which nobody waited. Nor does it where the
root ended with the reply of another call that was made beside the open one: of several models that
were asked for the same, the first to answer was taken.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from causepath_analyzer.model import LATE, NO_SPAN, TASKS, Category, Span

_OVERLAP: Final = 5
"""Calls run beside each other if they do for more than a fifth of the earlier one."""
_WORK: Final[frozenset[Category]] = TASKS | {"agent", "database", "network", "cache", "retry"}
_MOST_STEPS: Final = 5_000_000


class RunEnd(Struct, frozen=True):
    """``end_ns`` is when the run has ended, ``longer`` the spans that last longer than recorded,
    ``streamed_ns`` by how much the main root does, ``background`` what nobody waited for."""

    end_ns: int
    longer: Sequence[int] = ()
    streamed_ns: int = 0
    background: frozenset[int] = frozenset()


def run_end(
    spans: Sequence[Span],
    ends_ns: list[int],
    children: Sequence[Sequence[int]],
    roots: Sequence[int],
) -> RunEnd:
    """Finds when the run of `spans` has ended; changes `ends_ns` of spans that last longer."""
    last_ns = max(ends_ns)
    if len(roots) == 1 and ends_ns[roots[0]] == last_ns:
        return RunEnd(last_ns)
    looking = _Looking(spans, ends_ns, children)
    longer: list[int] = []
    background = []
    main = max(roots, key=lambda i: (spans[i].duration_ns, -i))
    for root in roots:
        unwaited = looking.follow(root, longer)
        if unwaited != NO_SPAN:
            background.append(unwaited)
    return RunEnd(
        max(ends_ns[root] for root in roots),
        list(dict.fromkeys(longer)),
        ends_ns[main] - spans[main].ended_ns,
        frozenset(background),
    )


def _asks_alike(one: Span, other: Span) -> bool:
    """Tells whether two model calls are known to have been given the same."""
    first, second = one.model_call, other.model_call
    if first is None or second is None:
        return False
    if first.opening is not None and first.opening == second.opening:
        return True
    return (
        first.tokens is not None
        and second.tokens is not None
        and first.tokens.input == second.tokens.input > 0
    )


class _Looking:
    def __init__(
        self, spans: Sequence[Span], ends_ns: list[int], children: Sequence[Sequence[int]]
    ) -> None:
        self._spans, self._ends_ns, self._children = spans, ends_ns, children
        self._steps = 0

    def follow(self, root: int, longer: list[int]) -> int:
        """Lets `root` last until its last reply was read; gives the branch nobody waited for."""
        ends_ns = self._ends_ns
        if self._spans[root].kind == "producer":
            # Who takes up a message is not waited for, and is what it was sent for.
            last_ns = self._last_below(root)
            if last_ns > ends_ns[root]:
                ends_ns[root] = last_ns
                longer.append(root)
            return NO_SPAN
        while self._steps < _MOST_STEPS:
            chain = [*self._begun_last(root)]
            still = [i for i in chain if ends_ns[i] > ends_ns[root]]
            if not still:
                later = self._went_on(root)
                if later == NO_SPAN:
                    return NO_SPAN
                ends_ns[root] = ends_ns[later]
                longer.append(root)
                continue
            branch = chain[1]
            if self._in_a_call(chain, still[-1]):
                if self._answered_otherwise(root, chain):
                    return NO_SPAN
                if self._in_background(root, chain):
                    return branch
            elif not self._all_the_work(root, branch):
                return NO_SPAN
            end_ns = ends_ns[still[0]]
            for i in chain[: chain.index(still[0])]:
                if ends_ns[i] < end_ns:
                    ends_ns[i] = end_ns
                    longer.append(i)
        return NO_SPAN

    def _last_below(self, root: int) -> int:
        waiting = [root]
        for i in waiting:
            waiting.extend(self._children[i])
        return max(self._ends_ns[i] for i in waiting)

    def _begun_last(self, root: int) -> Iterator[int]:
        """Lists `root` and, downwards, what was started last before it ended."""
        spans, end_ns = self._spans, self._ends_ns[root]
        i = root
        while True:
            yield i
            below = self._children[i]
            at = len(below)
            while at and spans[below[at - 1]].start_ns >= end_ns:
                at -= 1
                self._steps += 1
            self._steps += 1
            if not at:
                return
            i = below[at - 1]

    def _in_a_call(self, chain: Sequence[int], span: int) -> bool:
        """Tells whether `span` is a model call or a step of one, such as its request over HTTP."""
        around = chain[: chain.index(span) + 1]
        kinds = [self._spans[i].category for i in around]
        owner = next((kind for kind in reversed(kinds) if kind in ("agent", *TASKS)), None)
        return owner == "llm"

    def _went_on(self, root: int) -> int:
        """Finds the child that begins after `root` and goes on with what was asked for in it: a
        tool, or a call that was given a tool's result."""
        spans, end_ns = self._spans, self._ends_ns[root]
        family = self._children[root]
        later = [i for i in family if spans[i].start_ns >= end_ns and self._ends_ns[i] > end_ns]
        if not later:
            return NO_SPAN
        before = {spans[i].span_id for i in family if spans[i].start_ns < end_ns}
        calls = (spans[i].model_call for i in family if spans[i].start_ns < end_ns)
        asked = {call_id for call in calls if call is not None for call_id in call.issued}
        for i in later:
            tool = spans[i].tool_call
            linked = any(
                link.why in ("tool_call", "tool_result") and link.span_id in before
                for link in spans[i].links
            )
            if linked or (tool is not None and tool.call_id in asked):
                return i
        return NO_SPAN

    def _answered_otherwise(self, root: int, chain: Sequence[int]) -> bool:
        """Tells whether `root` ended with the reply of another call, made beside the one that is
        open.

        So it is where several models are asked for the same, and the first to answer is taken.
        """
        spans, ends_ns = self._spans, self._ends_ns
        place, call = next((n, i) for n, i in enumerate(chain) if spans[i].category == "llm")
        end_ns, near_ns = ends_ns[root], (ends_ns[root] - spans[root].start_ns) // LATE
        return any(
            spans[i].category == "llm"
            and ends_ns[i] <= end_ns
            and (end_ns - near_ns <= ends_ns[i] or _asks_alike(spans[i], spans[call]))
            and ends_ns[i] - spans[i].duration_ns // _OVERLAP > spans[call].start_ns
            for i in self._children[chain[place - 1]]
            if i != call
        )

    def _in_background(self, root: int, chain: Sequence[int]) -> bool:
        spans, branch = self._spans, chain[1]
        begun_ns, end_ns = spans[branch].start_ns, self._ends_ns[root]
        # What begins when its root may have been over may be a task in the background.
        if begun_ns < end_ns - (end_ns - spans[root].start_ns) // LATE:
            return False
        worked = any(
            i != branch and spans[i].category in _WORK and self._ends_ns[i] <= begun_ns
            for i in self._children[root]
        )
        linked = any(
            link.why in ("tool_result", "content") for i in chain for link in spans[i].links
        )
        return worked and not linked

    def _all_the_work(self, root: int, branch: int) -> bool:
        """Tells whether nothing but `branch`, which holds a model call, was done below `root`."""
        end_ns = self._ends_ns[root]
        waiting = [
            i
            for i in self._children[root]
            if i != branch and self._spans[i].start_ns < end_ns and self._ends_ns[i] <= end_ns
        ]
        for i in waiting:
            self._steps += 1
            if self._spans[i].category in TASKS:
                return False
            waiting.extend(self._children[i])
        inside = [branch]
        for i in inside:
            self._steps += 1
            if self._spans[i].category == "llm":
                return True
            inside.extend(self._children[i])
        return False
