"""What the fix of a finding does to a run when that is replayed."""

from typing import ClassVar, Final, Protocol

from msgspec import Struct

from causepath_analyzer.analyses.replay.edits import LOOKUP_NS, Editing
from causepath_analyzer.analyses.replay.pace import Pace
from causepath_analyzer.analyses.replay.schedule import Turns
from causepath_analyzer.model import Tokens

OTHER_ANSWERS: Final = "change of answer quality, and of the number of turns"


class Change(Protocol):
    """A change of a run that a replay can carry out.

    ``assumes`` is what has to hold for the replay to come true, ``not_predicted`` what else the
    change may do, which the replay does not show.
    """

    not_predicted: ClassVar[tuple[str, ...]]

    @property
    def assumes(self) -> str:
        """Says what has to hold for the replay to come true."""

    def apply(self, editing: Editing) -> None:
        """Does to a run what the fix would do."""


class SideBySide(Struct, frozen=True):
    """Branches that start together instead of one after the other; a branch is one or more spans
    that follow each other. ``limit`` is how many run at once, if not as many as the run shows."""

    not_predicted: ClassVar[tuple[str, ...]] = ("rate limits of the services that are called",)

    branches: tuple[tuple[int, ...], ...]
    limit: int | None = None

    @property
    def assumes(self) -> str:
        """Says that calls do not slow each other down."""
        most = f"at most {self.limit} at once" if self.limit else "with the limits seen"
        return f"calls run together are no slower, {most}"

    def apply(self, editing: Editing) -> None:
        """Starts all branches as the first one starts."""
        editing.together(self.branches, self.limit)


class OneTurn(Struct, frozen=True):
    """Two turns whose tools the model asks for in one reply."""

    not_predicted: ClassVar[tuple[str, ...]] = (OTHER_ANSWERS,)

    turns: Turns

    def apply(self, editing: Editing) -> None:
        """Lets the first reply also write what the second one wrote."""
        editing.merge(self.turns)

    @property
    def assumes(self) -> str:
        """Says how long the reply takes to write, and in which order the tools run."""
        tools = "side by side, as this agent does" if self.turns.beside else "one after the other"
        if self.turns.estimated:
            return (
                "replies whose first token is not known were written at the pace of other calls "
                f"of their model; the tools of both turns run {tools}"
            )
        return (
            "the first reply also writes what the second one wrote, in the same time; the "
            f"tools of both turns run {tools}"
        )


class Cached(Struct, frozen=True):
    """Calls that are answered from a cache, and take a look-up."""

    not_predicted: ClassVar[tuple[str, ...]] = (
        "hits in other runs",
        "results that are out of date",
    )

    calls: tuple[int, ...]

    @property
    def assumes(self) -> str:
        """Says what a hit costs."""
        return f"a hit in the cache takes {LOOKUP_NS // 1_000_000} ms"

    def apply(self, editing: Editing) -> None:
        """Lets each call take a look-up, and no tokens."""
        for call in self.calls:
            editing.cached(call)


class NotRepeated(Struct, frozen=True):
    """Calls that a look-up refuses, and the ``turns`` that asked for nothing else, which are not
    taken."""

    not_predicted: ClassVar[tuple[str, ...]] = ("what is done instead",)

    calls: tuple[int, ...]
    turns: tuple[int, ...]

    @property
    def assumes(self) -> str:
        """Says what is left of a repeat."""
        return "nobody asks for the same again"

    def apply(self, editing: Editing) -> None:
        """Lets each call take a look-up, and leaves out the turns that asked for it."""
        for call in self.calls:
            editing.cached(call)
        for turn in self.turns:
            editing.remove(turn)


class FirstAttempt(Struct, frozen=True):
    """Failed attempts, and the pauses behind them, which are not needed: the first succeeds."""

    not_predicted: ClassVar[tuple[str, ...]] = ("what it takes to stay below a rate limit",)

    attempts: tuple[int, ...]

    @property
    def assumes(self) -> str:
        """Says that the first attempt is answered, as the last one was."""
        return "the first attempt is answered as the last one was"

    def apply(self, editing: Editing) -> None:
        """Leaves the failed attempts and the pauses out."""
        editing.no_retries(frozenset(self.attempts))


class Steady(Struct, frozen=True):
    """Replies whose stream does not stand still; each with the time that it did."""

    not_predicted: ClassVar[tuple[str, ...]] = ("what it takes to get past a stall",)

    stalls: tuple[tuple[int, int], ...]

    @property
    def assumes(self) -> str:
        """Says how the stream goes on."""
        return "the stream goes on at the pace of its other events"

    def apply(self, editing: Editing) -> None:
        """Lets the reply end so much earlier."""
        for call, ns in self.stalls:
            editing.shorten(call, ns)


class KeptOpen(Struct, frozen=True):
    """Calls over a connection that is open; each with its wait for a new one."""

    not_predicted: ClassVar[tuple[str, ...]] = ("connections that the server closes",)

    waits: tuple[tuple[int, int], ...]

    @property
    def assumes(self) -> str:
        """Says that no call has to connect."""
        return "a connection that is open is there at once"

    def apply(self, editing: Editing) -> None:
        """Lets the request be sent so much earlier."""
        for call, ns in self.waits:
            editing.shorten(call, ns, at_start=True)


class Lighter(Struct, frozen=True):
    """A model call that is given fewer tokens, so that its first token comes ``sooner_ns``
    sooner."""

    call: int
    less: Tokens
    sooner_ns: int


class SmallerPrompts(Struct, frozen=True):
    """Model calls that are given less."""

    not_predicted: ClassVar[tuple[str, ...]] = (OTHER_ANSWERS,)

    calls: tuple[Lighter, ...]

    @property
    def assumes(self) -> str:
        """Says how the first token follows the prompt."""
        return "first tokens follow what no cache held of a prompt as in the calls of this run"

    def apply(self, editing: Editing) -> None:
        """Lets the first tokens come sooner."""
        for one in self.calls:
            editing.lighten(one.call, one.less, one.sooner_ns)


class Sooner(Struct, frozen=True):
    """A tool that starts with the model call that asks for it, not after its reply."""

    not_predicted: ClassVar[tuple[str, ...]] = ("runs in which nobody asks for it",)

    tool: int
    issuer: int

    @property
    def assumes(self) -> str:
        """Says that the guess is right."""
        return "the reply asks for what was started"

    def apply(self, editing: Editing) -> None:
        """Starts the tool as the model call starts."""
        editing.early(self.tool, self.issuer)


class Warm(Struct, frozen=True):
    """First calls that are as quick as later ones; each with the time that it took longer."""

    not_predicted: ClassVar[tuple[str, ...]] = ("a start of the process that takes longer",)

    calls: tuple[tuple[int, int], ...]

    @property
    def assumes(self) -> str:
        """Says what the first call takes."""
        return "a first call takes as long as later ones, once what it needs is loaded"

    def apply(self, editing: Editing) -> None:
        """Lets the call end so much earlier."""
        for call, ns in self.calls:
            editing.shorten(call, ns, at_start=True)


class AnotherModel(Struct, frozen=True):
    """Calls that another model answers, with as many tokens, at its own pace."""

    not_predicted: ClassVar[tuple[str, ...]] = (OTHER_ANSWERS,)

    calls: tuple[int, ...]
    model: str
    pace: Pace

    @property
    def assumes(self) -> str:
        """Says what the other model does."""
        return f"{self.model} answers with as many tokens, as fast as in the calls that were seen"

    def apply(self, editing: Editing) -> None:
        """Lets each call take as long as the other model would."""
        for call in self.calls:
            editing.other_model(call, self.model, self.pace, self.pace.first_ns)
