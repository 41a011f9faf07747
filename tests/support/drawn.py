"""Traces from drawings: what a test is about can be seen in the test.

    trace = drawn('''
        agent run      |--------------------|
          llm chat#1     |----|                 ttft=2 issued=a,b
          tool search          |-----|          call_id=a
          tool fetch                  |---|     call_id=b
    ''')

A line is category, name, window and facts. Indentation makes the tree. A window starts at its
first bar and ends at its last (a lone bar has no length; ``|--->`` never ended); a column is one
unit of time, and the leftmost bar of the drawing is at `start_ns`. Span ids are the names.
Blocks are ``kept@call+given,given>answered``, each with ``role/kind/`` before it and ``:bytes``
after it if these matter. A call is made at ``stack=a.py:1,main.py:9``, the nearest line first;
``loop=each`` is the kind of the loop there, and ``apart=a.py:1`` names lines whose answers the code
keeps from it, ``kept=a.py:2`` those of its own stack where its answer may be seen by others.
"""

import re
from collections.abc import Sequence
from textwrap import dedent
from typing import cast
from zlib import crc32

from msgspec.structs import replace

from causepath_analyzer.analyses.findings.rule import Finding
from causepath_analyzer.analyses.findings.rules import RULES
from causepath_analyzer.analyses.proof.recorded_words import outcome_of, places_of
from causepath_analyzer.analyses.run import explained
from causepath_analyzer.model import (
    Block,
    Blocks,
    CallSite,
    Category,
    Content,
    Flow,
    Link,
    LoopKind,
    ModelCall,
    Retrieval,
    Span,
    SpanKind,
    Tokens,
    ToolCall,
    Trace,
    Transport,
)
from causepath_analyzer.read.tree.build import build

MS = 1_000_000
_LINE = re.compile(r"(?P<indent> *)(?P<category>\w+) (?P<name>\S+) +(?P<window>\|(?:[-]*[|>])?)")


def drawn(drawing: str, unit_ns: int = MS, start_ns: int = 0) -> Trace:
    """The trace that `drawing` shows, repaired as any trace is."""
    return build(spans_drawn(drawing, unit_ns, start_ns))


def spans_drawn(drawing: str, unit_ns: int = MS, start_ns: int = 0) -> list[Span]:
    """The spans that `drawing` shows, in its order and as they are."""
    lines = [line for line in dedent(drawing).splitlines() if line.strip()]
    matches = [_matched(line) for line in lines]
    origin = min(match.start("window") for match in matches)
    above: list[tuple[int, str]] = []
    spans = []
    for line, match in zip(lines, matches, strict=True):
        indent = len(match["indent"])
        above = [entry for entry in above if entry[0] < indent]
        facts = dict(_fact(fact) for fact in line[match.end() :].split())
        begin = start_ns + (match.start("window") - origin) * unit_ns
        end = start_ns + (match.end("window") - 1 - origin) * unit_ns
        parent = facts.get("parent", above[-1][1] if above else "")
        finished = not match["window"].endswith(">")
        spans.append(_span(match, facts, parent, (begin, end if finished else None), unit_ns))
        above.append((indent, match["name"]))
    return spans


def _matched(line: str) -> re.Match[str]:
    match = _LINE.match(line)
    assert match is not None, f"not a line of a drawing: {line!r}"
    return match


def _fact(fact: str) -> tuple[str, str]:
    name, _, value = fact.partition("=")
    return name, value


def _span(
    match: re.Match[str],
    facts: dict[str, str],
    parent: str,
    window: tuple[int, int | None],
    unit_ns: int,
) -> Span:
    category = cast("Category", match["category"])
    return Span(
        trace_id="f" * 32,
        span_id=facts.get("id", match["name"]),
        parent_id=parent,
        name=match["name"],
        start_ns=window[0],
        end_ns=window[1],
        category=category,
        kind=cast("SpanKind", facts.get("kind", "internal")),
        service=facts.get("service"),
        host=facts.get("host", ""),
        error=facts.get("error"),
        model_call=_model_call(facts, unit_ns) if category == "llm" else None,
        tool_call=_tool_call(match["name"], facts) if category == "tool" else None,
        retrieval=_retrieval(facts) if category == "retrieval" else None,
        links=(
            *(Link(name, "tool_call") for name in _listed(facts, "asked_by")),
            *(Link(name, "tool_result") for name in _listed(facts, "results")),
            *(Link(name, "content") for name in _listed(facts, "carries")),
            *(Link(name) for name in _listed(facts, "links")),
        ),
        session=facts.get("session"),
        where=facts.get("where"),
        scope=facts.get("scope"),
        site=_site(facts),
        flow=cast("Flow | None", facts.get("flow")),
    )


def _site(facts: dict[str, str]) -> CallSite | None:
    stack = tuple(_listed(facts, "stack"))
    if not stack:
        return None
    code = {name: frozenset(_listed(facts, name)) for name in ("apart", "kept")}
    if "loop" not in facts:
        return CallSite(stack, **code)
    line, _, column = stack[-1].rpartition(":")
    loop = line if ":" in line and column.isdecimal() else stack[-1]
    return CallSite(stack, loop, cast("LoopKind", facts["loop"]), **code)


def _model_call(facts: dict[str, str], unit_ns: int) -> ModelCall:
    counts = [int(count) for count in facts["tokens"].split("/")] if "tokens" in facts else None
    return ModelCall(
        model=facts.get("model"),
        provider=facts.get("provider"),
        tokens=Tokens(*counts) if counts is not None else None,
        ttft_ns=int(facts["ttft"]) * unit_ns if "ttft" in facts else None,
        finish_reasons=tuple(_listed(facts, "finish")),
        streamed={"yes": True, "no": False}.get(facts.get("streamed", "")),
        turn=int(facts["turn"]) if "turn" in facts else None,
        opening=int(facts["opening"]) if "opening" in facts else None,
        issued=tuple(_listed(facts, "issued")),
        blocks=_blocks(facts) if "blocks" in facts else None,
        generated_ns=int(facts["generated"]) * unit_ns if "generated" in facts else None,
        transport=_transport(facts, unit_ns),
        goes_on="goes_on" in facts,
    )


def _transport(facts: dict[str, str], unit_ns: int) -> Transport | None:
    """``stream=30/1/6``: thirty events, the first after one unit, and once six units passed
    without any. ``connect=new/2``, ``connect=kept/0``: a connection, and the wait for it."""
    if "stream" not in facts and "connect" not in facts:
        return None
    events, first, gap = facts["stream"].split("/") if "stream" in facts else ("0", "0", "0")
    kind, _, wait = facts.get("connect", "").partition("/")
    return Transport(
        int(events) if "stream" in facts else None,
        int(first) * unit_ns if "stream" in facts else None,
        int(gap) * unit_ns if "stream" in facts else None,
        int(wait) * unit_ns if wait else None,
        kind == "new" if kind else None,
    )


def _blocks(facts: dict[str, str]) -> Blocks:
    """``blocks=2@one+a,b>c:90``: two blocks kept of call one, a and b new, answered with c."""
    given, _, answered = facts["blocks"].partition(">")
    kept, plus, given = given.rpartition("+")
    count, _, previous = kept.partition("@") if plus else ("0", "", "")
    return Blocks(
        tuple(_block("user", text) for text in given.split(",") if text),
        tuple(_block("assistant", text) for text in answered.split(",") if text),
        int(count),
        previous,
    )


def _block(role: str, text: str) -> Block:
    text, _, size = text.partition(":")
    *told, name = text.split("/")
    role, kind = told or (role, "text")
    return Block(role, kind, crc32(name.encode()), int(size or 100))


def _tool_call(name: str, facts: dict[str, str]) -> ToolCall:
    return ToolCall(
        name=name,
        call_id=facts.get("call_id"),
        inferred="inferred" in facts,
        ambiguous=int(facts.get("ambiguous", 0)),
        read_only=True if "read_only" in facts else None,
        arguments=_content(facts.get("given")),
        result=_content(facts.get("got")),
    )


def _retrieval(facts: dict[str, str]) -> Retrieval | None:
    if facts.keys().isdisjoint(("given", "got")):
        return None
    return Retrieval(_content(facts.get("given")), _content(facts.get("got")))


def _content(text: str | None) -> Content | None:
    return Content(crc32(text.encode()), len(text), text) if text is not None else None


def _listed(facts: dict[str, str], name: str) -> Sequence[str]:
    return facts[name].split(",") if name in facts else ()


def without_texts(trace: Trace) -> Trace:
    """The same trace as our plugin records it with contents off: digests, and what results say."""
    return replace(trace, spans=tuple(_without_text(span) for span in trace.spans))


def _without_text(span: Span) -> Span:
    tool = span.tool_call
    if tool is None:
        return span
    bare = [one and Content(one.digest, one.size) for one in (tool.arguments, tool.result)]
    places = tuple(sorted(places_of(tool) or ()))
    told = replace(tool, arguments=bare[0], result=bare[1], outcome=outcome_of(tool), places=places)
    return replace(span, tool_call=told)


def found_in(trace: Trace, code: str) -> list[Finding]:
    """The findings with a `code` in a trace, whatever else is found."""
    run = explained(trace, rules=[RULES[code]])
    assert run.faults == ()
    return list(run.findings)
