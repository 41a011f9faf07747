"""What a finding is, when it is worth saying, and what every code means.

A finding about a run is found by a file of its own, which adds its code to `CODES` here.
"""

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct

from causepath_analyzer.analyses.replay import Turns

Evidence = Literal["proved", "likely", "measured", "estimated"]


class Finding(Struct, frozen=True):
    """Something that would make a run faster or cheaper.

    ``saving_ns`` is the wall time of the run minus that of the run with the fix. ``share`` is the
    saving as a part of the wall, ``where`` is "file:line function" or ``None``.
    """

    code: str
    title: str
    spans: tuple[int, ...]
    saving_ns: int
    share: float
    evidence: Evidence
    why: str
    fix: str
    where: str | None = None
    saving_usd: str | None = None


class Candidate(Struct, frozen=True):
    """A change of order that nothing speaks against; what it saves is not known yet.

    ``change`` are spans to run together, or turns to make one.
    """

    code: str
    title: str
    spans: tuple[int, ...]
    change: tuple[int, ...] | Turns
    evidence: Evidence
    why: str
    fix: str
    where: str | None = None


SILENT_BELOW_NS: Final = 50_000_000
SILENT_BELOW_SHARE: Final = 0.01


def worth_saying(saving_ns: int, wall_ns: int) -> bool:
    """Whether a saving is both 1 % of the wall and 50 ms or more."""
    return saving_ns >= SILENT_BELOW_NS and saving_ns >= wall_ns * SILENT_BELOW_SHARE


class Code(Struct, frozen=True):
    """What ``causepath explain`` prints."""

    title: str
    what: str
    evidence: str
    saving: str
    fix: str


CODES: Final[Mapping[str, Code]] = {
    "CP101": Code(
        title="Tools of one reply ran one after the other",
        what=(
            "The model asked for several tools in one reply, and the agent ran them in sequence. "
            "The model wrote all their arguments before it saw any result, so none of them can "
            "need what another one returned. Run together, they take as long as the longest."
        ),
        evidence=(
            "proved: the same model call issued all of them. That is known from a span link, from "
            "the tool call ids in the recorded reply, from a tool span inside the call, or from "
            "call ids between this call and the next one of the same agent. Two tools that both "
            "write to the same place may still need an order; the trace does not show that. "
            "Tools marked read_only are safe."
        ),
        saving=(
            "The wall time now, minus the wall time of a schedule in which the tools start "
            "together and everything that waited for them follows with the gaps it had. Pauses "
            "between the tools are kept. If some of the tools already overlapped, no more run at "
            "once than did. Nothing is said below 1 % of the wall or 50 ms, or about tools whose "
            "duration is not known (causepath.tool.inferred)."
        ),
        fix=(
            "Start every tool call of a reply before waiting for the first result: "
            "asyncio.gather in async code, a ThreadPoolExecutor otherwise. Send the results back "
            "in one message, in the order of the tool_use blocks."
        ),
    ),
}
