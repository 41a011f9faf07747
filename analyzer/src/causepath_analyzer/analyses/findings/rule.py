"""What a finding is, when it is worth saying, and what every code means.

A finding about a run is found by a file of its own, which adds its code to `CODES` here.
"""

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct

from causepath_analyzer.analyses.replay.schedule import Turns

Evidence = Literal["proved", "likely", "measured", "estimated"]


class Finding(Struct, frozen=True):
    """Something that would make a run faster or cheaper.

    ``saving_ns`` is the wall time of the run minus that of the run with the fix, and with
    ``at_most`` no more than an upper bound of it, as the trace speaks against all of it. ``share``
    is the saving as a part of the wall, ``where`` is "file:line function" or ``None``. ``times`` is
    how often the run gives the same opportunity, which one change of the code would take.
    ``refuted_by`` is what would show that there is none.
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
    times: int = 1
    refuted_by: str = ""
    at_most: bool = False


Branches = tuple[tuple[int, ...], ...]
"""What is to run side by side: in each branch spans that follow each other."""


class Candidate(Struct, frozen=True):
    """A change of order that nothing speaks against; what it saves is not known yet.

    Candidates of one ``place`` are mended by one change of the code, which is called ``plural``
    where there are several.
    """

    code: str
    title: str
    plural: str
    place: str
    spans: tuple[int, ...]
    change: Branches | Turns
    evidence: Evidence
    why: str
    fix: str
    where: str | None = None
    refuted_by: str = ""
    at_most: bool = False


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
    refuted_by: str
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
            "proved: the same model call issued all of them, and they are calls of one tool, or "
            "all are marked read_only or called after looking at something (get_, search_). Who "
            "issued them is known from a span link, from the tool call ids in the recorded reply, "
            "from a tool span inside the call, or from call ids between this call and the next "
            "one of the same agent. likely: nobody knows what else they do; they say by their "
            "names that they change something, each at a path, address or id of its own; or their "
            "calls took longer where they overlapped elsewhere, as if they waited for each other "
            "(a connection, a lock): then the saving is an upper bound. A tool that changes "
            "something is not proposed to run beside other tools, nor are two calls that name one "
            "place, unless both only look, or that are equal."
        ),
        saving=(
            "The wall time now, minus the wall time of a schedule in which the tools start "
            "together and everything that waited for them follows with the gaps it had. Pauses "
            "between the tools are kept. If some of the tools already overlapped, no more run at "
            "once than did. What happens again and again at one line of code is replayed in one "
            "and counts as one finding. Nothing is said below 1 % of the wall or 50 ms, or about "
            "tools whose duration is not known (causepath.tool.inferred)."
        ),
        refuted_by=(
            "One of the tools changing what another one sees, or all of them waiting for one "
            "connection, lock or rate."
        ),
        fix=(
            "Start every tool call of a reply before waiting for the first result: "
            "asyncio.gather in async code, a ThreadPoolExecutor otherwise. Send the results back "
            "in one message, in the order of the tool_use blocks."
        ),
    ),
    "CP102": Code(
        title="Independent calls ran one after the other",
        what=(
            "The agent's own code made several calls in sequence, and none of them needs what "
            "another one returned: model calls in a loop over items, retrievals, look-ups before "
            "the first model call; or a loop had several steps (retrieve, then ask), and none of "
            "its rounds needs an earlier one. Run together, they take as long as the longest."
        ),
        evidence=(
            "proved: everything that a later call was given is known to come from elsewhere, word "
            "for word (causepath.flow=complete), and no answer can have decided whether it was "
            "made: the calls are rounds of a loop over items each of which has its call "
            "(causepath.code.loop.kind=each), or another run made them in another order. likely: "
            "they are rounds of a loop, made from equal call stacks (causepath.code.stack), and "
            "no word or number that an earlier one returned was found in what a later one was "
            "given; or look-ups whose arguments and results have none in common; or in another "
            "run a later call started before an earlier one had ended, came first, or without it. "
            "Nothing is said where an earlier call failed, or answered no more than yes or no, "
            "where the loop may have been left for what was answered, where a link leads into "
            'another trace, or where nothing is known: whatif --apply "together retrieval" tells '
            "what it would save if you know better."
        ),
        saving=(
            "The wall time now, minus the wall time of a replay in which the calls start together "
            "and everything that waited for them follows with the gaps it had. Calls that overlap "
            "already are left as they are. What happens again and again at one line of code "
            "counts as one finding. Nothing is said below 1 % of the wall or 50 ms."
        ),
        refuted_by=(
            "A run in which a later call was given something that an earlier one returned, or was "
            "made because of it."
        ),
        fix=(
            "Start all of them before waiting for the first one: asyncio.gather in async code, a "
            "ThreadPoolExecutor otherwise, with as many at once as the service allows."
        ),
    ),
    "CP103": Code(
        title="Two turns that could have been one",
        what=(
            "The model asked for tools, saw their results, and asked for more tools, whose "
            "arguments hold nothing of these results. It could have asked for all of them in one "
            "reply: one request less to send, to read and to begin to answer."
        ),
        evidence=(
            "likely: no word or number that the earlier tools returned is among the arguments of "
            "the later ones, but what the model had been given before, and the arguments are not "
            "suddenly in words of its own; or in another run the later tools were called before "
            "the earlier ones or without them. proved: both of these, all tools are marked "
            "read_only, and all that the later ones were given the model knew before. Nothing is "
            "said after a call that failed, was refused or answered no more than a yes or no, "
            "where a tool says by its name that it changes something, and where both name one "
            "place. Whether the model would have thought of it without having seen the first "
            "results is not in the trace."
        ),
        saving=(
            "The wall time now, minus the wall time of a replay in which the first reply also "
            "writes what the second one wrote, and the second request is not made. The tools of "
            "both run in sequence, or together if this agent runs tools together. Where the time "
            "to the first token of the second reply is not known, what it took to write is worked "
            "out from its tokens and the pace of other calls of the model; without these, nothing "
            "is said. The prompt of the second request is not paid for; its output is."
        ),
        refuted_by=(
            "A run in which what the earlier tools returned decided what the later ones were asked "
            "for, or whether they were asked at all."
        ),
        fix=(
            "Say in the system prompt that everything that is needed should be asked for at once, "
            "and that tools of one reply may run side by side; or offer one tool that does both."
        ),
    ),
}
