"""Agent traces whose critical path is known by construction, and what tracers do to them.

An agent does one thing after the other: model calls, tools one by one or side by side, look-ups,
steps of a framework, sub-agents, calls of services on other hosts. Who it waited for is known, as
the program that makes the trace decides it, not a walk. `SPOILED` are the ways in which real traces
lie: ends that come late, roots that end early, steps that were lost, coarse and skewed clocks.
"""

from collections.abc import Callable, Mapping
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from causepath_analyzer.model import Category, ModelCall, Span, SpanKind, ToolCall

MS = 1_000_000


class Known(Struct):
    """Spans, and the time of the path by kind; ``own`` is an agent's or a step's own."""

    spans: list[Span]
    path: dict[str, int]

    @property
    def wall_ns(self) -> int:
        return sum(self.path.values())


class _Making:
    def __init__(self, random: Random) -> None:
        self.random = random
        self.spans: list[Span] = []
        self.path: dict[str, int] = {}
        self.at = random.randrange(10**6) * MS

    def spent(self, kind: str, ns: int) -> None:
        self.path[kind] = self.path.get(kind, 0) + ns

    def length(self, low_ms: float, high_ms: float) -> int:
        return round(self.random.uniform(low_ms, high_ms) * MS)

    def gap(self, kind: str = "own") -> None:
        ns = self.length(0.05, 30)
        self.spent(kind, ns)
        self.at += ns

    def add(
        self, category: Category, parent: str, start: int, end: int, host: str, kind: SpanKind
    ) -> str:
        span_id = f"{len(self.spans) + 1:04}"
        self.spans.append(
            Span(
                "t",
                span_id,
                parent,
                f"{category} {span_id}",
                start,
                end,
                category,
                kind,
                "demo",
                host,
                model_call=ModelCall("m", "p") if category == "llm" else None,
                tool_call=ToolCall(f"tool{self.random.randrange(4)}")
                if category == "tool"
                else None,
            )
        )
        return span_id

    def work(self, category: Category, parent: str, host: str) -> None:
        """One call that is waited for."""
        ns = self.length(100, 4000) if category == "llm" else self.length(20, 1500)
        kind: SpanKind = "client" if category in ("llm", "network", "database") else "internal"
        self.add(category, parent, self.at, self.at + ns, host, kind)
        self.spent(category, ns)
        self.at += ns

    def side_by_side(self, parent: str, host: str) -> None:
        """Several tools of one reply, all begun together; the longest is waited for."""
        lengths = [self.length(50, 1500) for _ in range(self.random.randrange(2, 5))]
        for ns in lengths:
            self.add("tool", parent, self.at, self.at + ns, host, "internal")
        self.spent("tool", max(lengths))
        self.at += max(lengths)

    def inside(self, category: Category, parent: str, host: str, depth: int) -> None:
        """A step or a sub-agent with work of its own."""
        start, place = self.at, len(self.spans)
        span_id = self.add(category, parent, start, start, host, "internal")
        self.series(span_id, host, depth + 1)
        self.spans[place] = replace(self.spans[place], end_ns=self.at)

    def elsewhere(self, parent: str, host: str) -> None:
        """A request to a service on another host, which asks a model."""
        start, place = self.at, len(self.spans)
        client = self.add("network", parent, start, start, host, "client")
        self.gap("network")
        begun, inner = self.at, len(self.spans)
        other = f"host{place}"
        server = self.add("other", client, begun, begun, other, "server")
        self.gap("other")
        self.work("llm", server, other)
        self.gap("other")
        self.spans[inner] = replace(self.spans[inner], end_ns=self.at)
        self.gap("network")
        self.spans[place] = replace(self.spans[place], end_ns=self.at)

    def series(self, parent: str, host: str, depth: int) -> None:
        for _ in range(self.random.randrange(2, 6)):
            self.gap()
            choice = self.random.random()
            if depth < 3 and choice < 0.2:
                self.inside(self.random.choice(("chain", "agent")), parent, host, depth)
            elif choice < 0.5:
                self.work("llm", parent, host)
            elif choice < 0.7:
                self.work("tool", parent, host)
            elif choice < 0.8:
                self.side_by_side(parent, host)
            elif choice < 0.9:
                self.elsewhere(parent, host)
            else:
                category: Category = self.random.choice(("retrieval", "embedding", "database"))
                self.work(category, parent, host)
        self.gap()


def known(random: Random) -> Known:
    """A trace whose path is known."""
    making = _Making(random)
    start = making.at
    root = making.add("agent", "", start, start, "h", "internal")
    making.series(root, "h", 0)
    making.spans[0] = replace(making.spans[0], end_ns=making.at)
    return Known(making.spans, making.path)


def _as_it_is(trace: Known, random: Random) -> list[Span]:
    return list(trace.spans)


def _late(trace: Known, random: Random) -> list[Span]:
    """One span in four is closed up to 3 % late."""
    spans = [trace.spans[0]]
    for span in trace.spans[1:]:
        more = 0
        if random.random() < 0.25:
            more = round(random.uniform(0, 0.03) * span.duration_ns)
        spans.append(replace(span, end_ns=span.ended_ns + more))
    return spans


def _early(trace: Known, random: Random) -> list[Span]:
    """The root ends 3 to 8 ms before its last child does."""
    root = trace.spans[0]
    last = max(span.ended_ns for span in trace.spans[1:])
    return [replace(root, end_ns=last - random.randrange(3, 9) * MS), *trace.spans[1:]]


def _lost(trace: Known, random: Random) -> list[Span]:
    """Half of the steps and sub-agents are not in the trace."""
    return [
        span
        for span in trace.spans
        if not span.parent_id or span.category not in ("agent", "chain") or random.random() < 0.5
    ]


def _coarse(trace: Known, random: Random) -> list[Span]:
    """A clock of one millisecond."""
    return [
        replace(span, start_ns=span.start_ns // MS * MS, end_ns=span.ended_ns // MS * MS)
        for span in trace.spans
    ]


def _skewed(trace: Known, random: Random) -> list[Span]:
    """Every other host has a clock of its own, up to 5 s off."""
    off = {span.host: random.randrange(-5_000, 5_000) * MS for span in trace.spans}
    off["h"] = 0
    return [
        replace(
            span,
            start_ns=span.start_ns + off[span.host],
            end_ns=span.ended_ns + off[span.host],
        )
        for span in trace.spans
    ]


def _all_of_them(trace: Known, random: Random) -> list[Span]:
    for spoil in (_late, _lost, _skewed, _coarse):
        trace = Known(spoil(trace, random), trace.path)
    return trace.spans


SPOILED: Mapping[str, Callable[[Known, Random], list[Span]]] = {
    "as they are": _as_it_is,
    "closed late": _late,
    "root ends early": _early,
    "steps lost": _lost,
    "clock of 1 ms": _coarse,
    "clocks skewed": _skewed,
    "late, lost, skewed, coarse": _all_of_them,
}
