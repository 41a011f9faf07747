"""CP603: cold starts, and model calls that opened a connection although one had been left open.

    chat   |connect|-------|   tool   |connect|------|   tool   |connect|------|

Keep-alive is lost where each call has a client of its own, and where a pause is longer than the
client keeps an idle connection (httpx: 5 s). A call needs a connection of its own where others run
beside it, and after a failure; the first one has none to use.

A process that is busy with something else opens connections late, however near the server is. So
each of them counts for no more than the fastest took: that is what a connection needs.
"""

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Final

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.first_calls import cold_starts
from causepath_analyzer.analyses.findings.rule import Candidate, Rule, seconds
from causepath_analyzer.analyses.proof.independence import failed, where_of
from causepath_analyzer.analyses.replay.change import KeptOpen

_KEPT_NS: Final = 5_000_000_000
"""The time for which httpx, and so the SDKs of models, keep an idle connection."""
_CLOSED_NS: Final = 120_000_000_000
"""Who serves closes connections that are idle for longer."""


def cold_ones(facts: Facts) -> Iterator[Candidate]:
    """Finds what had to be opened or loaded before the work could begin."""
    yield from new_connections(facts)
    yield from cold_starts(facts)


def new_connections(facts: Facts) -> Iterator[Candidate]:
    """Finds calls that waited for a new connection while one was idle, as far as is known.

    Where some calls did use an open connection, those that did not after a short pause may be of
    another process.
    """
    spans = facts.trace.spans
    idle: dict[Key, list[int]] = {}
    ending: dict[Key, list[int]] = {}
    lost: list[tuple[Key, int, int, int]] = []
    keeping: set[Key] = set()
    needed_ns: dict[Key, int] = {}
    for i in facts.numbers.get("llm", ()):
        span = spans[i]
        call = span.model_call
        if call is None or call.transport is None or facts.kinds.calls[i] != i:
            continue
        is_new, wait_ns = call.transport.is_new, call.transport.connection_ns
        if is_new is None:
            continue
        # Of one model, as another may be somewhere else.
        key: Key = span.service, span.host, call.provider, call.model
        open_since, busy = idle.setdefault(key, []), ending.setdefault(key, [])
        while busy and busy[0] <= span.start_ns:
            open_since.append(heappop(busy))
        if is_new and wait_ns is not None:
            needed_ns[key] = min(wait_ns, needed_ns.get(key, wait_ns))
        if open_since:
            pause_ns = span.start_ns - open_since.pop()
            if is_new and wait_ns and pause_ns < _CLOSED_NS:
                lost.append((key, i, wait_ns, pause_ns))
        if not is_new:
            keeping.add(key)
        if not failed(span) and not call.partial:
            heappush(busy, span.ended_ns)
    for key, i, wait_ns, pause_ns in lost:
        if needed_ns[key] and (pause_ns >= _KEPT_NS or key not in keeping):
            yield _candidate(facts, i, wait_ns, needed_ns[key], pause_ns)


Key = tuple[object, ...]


def _candidate(facts: Facts, call: int, wait_ns: int, needed_ns: int, pause_ns: int) -> Candidate:
    span = facts.trace.spans[call]
    where = where_of(facts.trace, (call,))
    told = span.model_call
    model = (told and told.model) or span.name
    is_long = pause_ns >= _KEPT_NS
    return Candidate(
        title="keep the connection over pauses" if is_long else "use one client for all calls",
        plural="keep connections over pauses" if is_long else "use one client for all calls",
        place=f"{is_long} {where or span.name}",
        spans=(call,),
        change=KeptOpen(((call, needed_ns),)),
        evidence="likely",
        why=(
            f"A call of {model} waited {wait_ns / 1e6:,.0f} ms for a new connection, although one "
            f"had been free for {seconds(pause_ns)}"
            + (
                ": idle connections are closed after 5 s if nothing else is said."
                if is_long
                else ", less than the 5 s for which clients keep it: it was another client's, or "
                "it was closed."
            )
            + (
                f" The fastest connection took {needed_ns / 1e6:,.0f} ms; the rest may be due to "
                "a busy process."
                if wait_ns > 2 * needed_ns
                else ""
            )
        ),
        fix=(
            "Let the SDK keep idle connections for longer: http_client=DefaultHttpxClient("
            "limits=Limits(keepalive_expiry=120)), the client from the SDK (openai, anthropic), "
            "Limits from the httpx or httpx2 that it uses."
            if is_long
            else "Make the client once for the process (and the event loop) and use it for all "
            "calls; read streams to their end or close them, so that their connection is free "
            "(openai closes streams itself, which may cost their connection all the same)."
        ),
        where=where,
        refuted_by=(
            "a server or proxy that closes the connection, or calls from several processes or to "
            "several addresses, each of which needs its own"
        ),
    )


RULE: Final = Rule(
    code="CP603",
    title="A cold start, or a new connection where one was open",
    what=(
        "A model call waited until a new connection had been opened (a look-up of the name, TCP, "
        "TLS) although an earlier call of the same model had left one: HTTP keep-alive was lost. "
        "Or the first call of a tool took far longer than all others: it loads something."
    ),
    evidence=(
        "likely: the transport said that it opened a connection for a call that began when an "
        "earlier one of the same model, service and host had been answered and no other call used "
        "its connection. Nothing is said of the first call, of calls that others run beside, after "
        "failed or unfinished ones, after two minutes (then servers close connections), after a "
        "short pause where other calls did use an open connection (they may be of several "
        "processes), or where nobody told of connections (the plugin does). Of a tool: its first "
        "call took 1 s (tool) more than the median of four later ones or more, and five times as "
        "long as each; these came after it, for other arguments; its result was no more than twice "
        "as large as theirs, and it made no more calls itself."
    ),
    saving=(
        "The wall time now, minus that of a replay in which these calls do not wait for a "
        "connection, or the first call takes as long as the median of the others. A connection "
        "counts for as long as the fastest of the run took, as a busy process makes all slower."
    ),
    refuted_by=(
        "A server or proxy that closes connections; several processes or addresses, each of which "
        "needs its own. A first call that had more to do."
    ),
    fix=(
        "Make one client and keep it. Where pauses are longer than 5 s, let it keep idle "
        "connections for longer (Limits(keepalive_expiry=120) of httpx or httpx2). Load what tools "
        "need when the process starts."
    ),
    find=cold_ones,
    change=KeptOpen,
)
