"""What tools were asked for and gave back, told by the digests of a model call's blocks.

    chat   answered  text, tool_use x, tool_use y      the reply that asks
    tool   x  |---|                                    as many tools as were asked for,
    tool   y      |---|                                in the order in which they were
    chat   given  tool_result p, tool_result q         the call that has their results

Equal digests are equal arguments, also where nothing was recorded of them. Nothing is said of the
tools of a reply of which not all are in the trace, as it is not known which of them are.
"""

from collections.abc import Sequence

from msgspec import Struct

from causepath_analyzer.analyses.path.causes import Causes
from causepath_analyzer.model import NO_SPAN, Block, Trace


class Exchange(Struct, frozen=True, gc=False):
    """The digests of what a tool was given and of what it returned; ``None`` if not known."""

    arguments: int | None
    result: int | None


def tool_blocks(trace: Trace, causes: Causes) -> dict[int, Exchange]:
    """Collects the blocks of the tools in `trace` that a known reply asked for, by span number."""
    groups: dict[int, list[int]] = {}
    for i, issuer in enumerate(causes.issuers):
        if issuer != NO_SPAN:
            groups.setdefault(issuer, []).append(i)
    found = {}
    for issuer, tools in groups.items():
        told = trace.spans[issuer].model_call
        blocks = told.blocks if told is not None else None
        asked = _digests(blocks.answered if blocks is not None else (), "tool_use", len(tools))
        answered_by = causes.answered_by[tools[0]]
        later = trace.spans[answered_by].model_call if answered_by != NO_SPAN else None
        given = later.blocks.given if later is not None and later.blocks is not None else ()
        results = _digests(given, "tool_result", len(tools))
        for tool, argument, result in zip(tools, asked, results, strict=True):
            found[tool] = Exchange(argument, result)
    return found


def _digests(blocks: Sequence[Block], kind: str, count: int) -> Sequence[int | None]:
    """The digests of those of `blocks` that are of one `kind`, if there are so many."""
    digests = [block.digest for block in blocks if block.kind == kind]
    return digests if len(digests) == count else [None] * count
