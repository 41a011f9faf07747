"""What the parts of a run are called when a user names them: ``tool:search*``, ``llm.generation``.

A selector is a category, for model calls also one of their two phases, and after a colon a shell
pattern of names: of the tool, of the model, of the agent, else of the span.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final, get_args

from msgspec import Struct

from causepath_analyzer.analyses.kinds import SpanKinds
from causepath_analyzer.errors import UsageError
from causepath_analyzer.model import NO_SPAN, Category, Trace

PHASES: Final = ("llm.first_token", "llm.generation")
CATEGORIES: Final[tuple[str, ...]] = (*get_args(Category), *PHASES)


class Selector(Struct, frozen=True):
    """Operations of a ``category`` whose name matches ``pattern``."""

    category: str
    pattern: str = "*"

    def __str__(self) -> str:
        return self.category if self.pattern == "*" else f"{self.category}:{self.pattern}"

    @property
    def of(self) -> str:
        """The category without the phase."""
        return self.category.partition(".")[0]


def selector(text: str) -> Selector:
    """The selector that `text` writes down. Raises `UsageError` if it is none."""
    category, _, pattern = text.strip().partition(":")
    if category not in CATEGORIES:
        raise UsageError(
            f"{text!r} names no operation; write it like tool:fetch*, llm.first_token or "
            f"retrieval; there is {', '.join(CATEGORIES)}"
        )
    return Selector(category, pattern or "*")


def name_of(trace: Trace, kinds: SpanKinds, span: int) -> str:
    """What `span` is called in a selector."""
    told = trace.spans[span]
    if told.tool_call is not None and told.tool_call.name:
        return told.tool_call.name
    if kinds.calls[span] == span:
        return (told.model_call and told.model_call.model) or told.name
    return told.name.removeprefix("invoke_agent ")


def selected(trace: Trace, kinds: SpanKinds, wanted: Selector) -> Sequence[int]:
    """The spans of `trace` that `wanted` names, each model call once, in order of start."""
    found = []
    for i, span in enumerate(trace.spans):
        if span.category != wanted.of or (span.category == "llm" and kinds.calls[i] != i):
            continue
        if fnmatchcase(name_of(trace, kinds, i), wanted.pattern):
            found.append(i)
    return found


def operation_of(trace: Trace, kinds: SpanKinds, span: int) -> str:
    """The selector of exactly the operation that `span` is."""
    return f"{trace.spans[span].category}:{name_of(trace, kinds, span)}"


def operations(trace: Trace, kinds: SpanKinds) -> dict[str, int]:
    """Every operation of `trace`, as its selector, and the time it took in all."""
    spent: dict[str, int] = {}
    for i, span in enumerate(trace.spans):
        if span.category == "llm" and kinds.calls[i] not in (i, NO_SPAN):
            continue
        key = operation_of(trace, kinds, i)
        spent[key] = spent.get(key, 0) + span.duration_ns
    return spent
