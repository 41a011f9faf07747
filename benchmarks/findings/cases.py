"""What a labelled run is: an agent, what its model says, and what a person would find in it.

A label is a person's, made from what a finding means (`causepath explain`), before any rule was
asked. All that is in a run is labelled, not only what the case is about: what is found beside it is
counted as wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.support.script import Failure, Latency, Reply, Text, ToolUse, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from benchmarks.findings.agent import Agent
    from tests.support.script import Answer

    Run = Callable[[Agent], Any]

SDKS: Final = ("anthropic", "openai")
THINKING: Final = Latency(before_headers=0.3, per_delta=0.02)
"""What the model takes for an answer, if a case says nothing else: 16 characters at a time."""

BY_SIZE: Final = Usage()
"""As many tokens as the texts have."""


@dataclass(frozen=True)
class Case:
    """An agent and its labels.

    ``about`` is the finding that it is about, which is ``present`` or which it only looks like.
    ``undecided`` are findings about which people would not agree: they are not counted.
    """

    name: str
    way: str
    about: str
    present: frozenset[str]
    undecided: frozenset[str]
    sdks: Sequence[str]
    replies: Sequence[Answer]
    run: Run


CASES: Final[dict[str, Case]] = {}


def has(
    code: str,
    *replies: Answer,
    also: Iterable[str] = (),
    undecided: Iterable[str] = (),
    sdks: Sequence[str] = SDKS,
) -> Callable[[Run], Run]:
    """A run in which a person finds `code`, and what is in it `also`."""
    return _labelled(code, replies, {code, *also}, undecided, sdks)


def lacks(
    code: str,
    *replies: Answer,
    also: Iterable[str] = (),
    undecided: Iterable[str] = (),
    sdks: Sequence[str] = SDKS,
) -> Callable[[Run], Run]:
    """A run that looks as if it had `code`, and has not."""
    return _labelled(code, replies, set(also), undecided, sdks)


def _labelled(
    code: str,
    replies: Sequence[Answer],
    present: Iterable[str],
    undecided: Iterable[str],
    sdks: Sequence[str],
) -> Callable[[Run], Run]:
    def labelled(run: Run) -> Run:
        name = f"{code}-{run.__name__}"
        assert name not in CASES, name
        way = " ".join((run.__doc__ or "").split())
        CASES[name] = Case(
            name, way, code, frozenset(present), frozenset(undecided), sdks, replies, run
        )
        return run

    return labelled


# -- what models say


def asks(
    *calls: tuple[str, Mapping[str, object]],
    text: str = "Let me look.",
    latency: Latency = THINKING,
    usage: Usage = BY_SIZE,
) -> Reply:
    """A reply that asks for tools."""
    uses = [ToolUse(name, arguments) for name, arguments in calls]
    return Reply([Text(text), *uses], latency, usage)


def says(text: str, latency: Latency = THINKING, usage: Usage = BY_SIZE) -> Reply:
    """An answer."""
    return Reply([Text(text)], latency, usage)


def limited(seconds: float) -> Failure:
    """An answer that there were too many requests."""
    return Failure(429, retry_after_seconds=seconds)
