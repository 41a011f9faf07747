"""What a user may want to change about a run, and what that does to its schedule.

Edits are applied in the order of how much they change: first orders (together, merged, early), then
what is not done at all (remove, cache, no retries, another model), then how long the rest takes
(scale). They end up in one `Changes`, so that several are replayed together and never added up.
"""

import re
from collections.abc import Collection, Sequence
from decimal import Decimal, InvalidOperation
from typing import Final, Literal, cast, get_args

from msgspec import Struct
from msgspec.structs import replace

from causepath_analyzer.analyses.path.critical_path import first_token_ns, generated_until_ns
from causepath_analyzer.analyses.path.kinds import SpanKinds
from causepath_analyzer.analyses.path.retries import retries
from causepath_analyzer.analyses.replay.operations import (
    SELECTABLE,
    Selector,
    nearest,
    selected,
    selector,
)
from causepath_analyzer.analyses.replay.pace import Pace
from causepath_analyzer.analyses.replay.schedule import (
    Changes,
    Factor,
    Gates,
    Schedule,
    Slot,
    Turns,
    end_of,
    most_at_once,
    owned_by,
    start_of,
    tools_of_replies,
)
from causepath_analyzer.errors import UsageError
from causepath_analyzer.model import NO_SPAN, NO_TOKENS, ModelCall, Tokens

LOOKUP_NS: Final = 1_000_000
"""What a hit in a cache is taken to cost, if nothing is said."""


Side = Literal["input", "output"]


class Apply(Struct, frozen=True, tag="apply"):
    """All findings of a code, with at most ``limit`` at once where they run together."""

    code: str
    limit: int | None = None


class Together(Struct, frozen=True, tag="together"):
    """Run side by side what the selector names, where it stands in sequence below one span."""

    what: Selector
    limit: int | None = None


class Early(Struct, frozen=True, tag="early"):
    """Start a tool with the model call that asks for it, on the guess that it will ask."""

    what: Selector


class Eager(Struct, frozen=True, tag="eager"):
    """Start a tool as soon as its part of the reply has been streamed."""

    what: Selector


class Remove(Struct, frozen=True, tag="remove"):
    """Not do it at all."""

    what: Selector


class Cache(Struct, frozen=True, tag="cache"):
    """Repeats with equal arguments and results cost a look-up."""

    what: Selector
    lookup_ns: int = LOOKUP_NS


class NoRetries(Struct, frozen=True, tag="no-retries"):
    """Every first attempt succeeds: no failed attempt and no back-off takes time."""


class OtherModel(Struct, frozen=True, tag="model"):
    """These model calls take as long as those of another model did in the same traces."""

    what: Selector
    new: str


class Scale(Struct, frozen=True, tag="scale"):
    """Take so many times as long; the factor is a decimal number."""

    what: Selector
    factor: Decimal


class Shrink(Struct, frozen=True, tag="shrink"):
    """So many times as many tokens of one ``side``, and the time that the traces show for them."""

    what: Selector
    side: Side
    factor: Decimal


class Stream(Struct, frozen=True, tag="stream"):
    """The last answer is shown as it is written."""


Edit = (
    Apply
    | Together
    | Early
    | Eager
    | Remove
    | Cache
    | NoRetries
    | OtherModel
    | Shrink
    | Scale
    | Stream
)

GRAMMAR: Final = (
    "CP101, together tool:NAME[=LIMIT], scale tool:NAME=0.5, shrink [SELECTOR] input=0.5, "
    "remove SELECTOR, cache tool:NAME[=5ms], model OLD=NEW, no-retries, stream, "
    "early tool:NAME or eager tool:NAME"
)
_VERBS: Final = (
    "together",
    "scale",
    "shrink",
    "remove",
    "cache",
    "model",
    "no-retries",
    "stream",
    "early",
    "eager",
)
_UNITS_NS: Final = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}


def _category(text: str) -> str:
    """Reads what a selector begins with."""
    return re.split("[:@#=]", text, maxsplit=1)[0]


def edit(text: str) -> Edit:
    """Reads the edit that `text` writes down. Raises `UsageError` if it is none."""
    verb, _, rest = text.strip().partition(" ")
    rest = rest.strip()
    if not rest and _category(verb) in SELECTABLE:
        verb, rest = "scale", verb  # tool:fetch=0.5 says what it means
    code, _, limit = text.strip().partition("=")
    if not rest and code[:2].upper() == "CP" and code[2:].isdigit():
        return Apply(code.upper(), _limit(text, limit))
    if text.split() in (["no-retries"], ["no", "retries"]):
        return NoRetries()
    if text.split() == ["stream"]:
        return Stream()
    what, equals, value = rest.rpartition("=")
    if not equals:
        what, value = rest, ""
    if verb == "model" and what and value:
        whole = _category(what) == "llm"
        return OtherModel(selector(what if whole else f"llm:{what}"), value)
    if verb == "shrink" and what:
        return _shrink(text, what, value)
    if verb == "scale" and what:
        return Scale(selector(what), _factor(text, value))
    if verb == "together" and what:
        return Together(selector(what), _limit(text, value))
    if verb == "cache" and what:
        return Cache(selector(what), _duration_ns(text, value) if value else LOOKUP_NS)
    if verb in ("remove", "early", "eager") and what and not value:
        kinds: dict[str, type[Remove | Early | Eager]] = {
            "remove": Remove,
            "early": Early,
            "eager": Eager,
        }
        return kinds[verb](selector(what))
    near = "" if verb in _VERBS else " or ".join(nearest(verb, _VERBS))
    meant = f"did you mean {near}? " if near else ""
    raise UsageError(f"{text!r} is no change; {meant}there is {GRAMMAR}")


def _shrink(text: str, what: str, value: str) -> Shrink:
    where, _, side = what.rpartition(" ")
    if side not in get_args(Side):
        raise UsageError(
            f"{text!r}: what is to shrink is input or output, as in shrink input=0.5 or "
            "shrink llm@agent.py:41 output=0.5"
        )
    chosen = selector(where.strip() or "llm")
    if chosen.category != "llm":
        raise UsageError(f"{text!r}: only model calls have tokens, as in shrink llm:NAME input=0.5")
    return Shrink(chosen, cast("Side", side), _factor(text, value))


def kind_of(change: Edit) -> str:
    """Tells what sort of change it is; predictions of one sort are held to account together."""
    if isinstance(change, Apply):
        return change.code
    if isinstance(change, Scale) and "." in change.what.category:
        return f"scale {change.what.category}"
    if isinstance(change, Scale | Remove):
        return f"{_tag(change)} {change.what.of}"
    if isinstance(change, Shrink):
        return f"shrink {change.side}"
    return _tag(change)


def _tag(change: Edit) -> str:
    return str(type(change).__struct_config__.tag)


def described(change: Edit) -> str:
    """Writes `change` as it is typed."""
    if isinstance(change, Apply):
        return change.code if change.limit is None else f"{change.code}={change.limit}"
    if isinstance(change, NoRetries | Stream):
        return _tag(change)
    if isinstance(change, OtherModel):
        return f"model {str(change.what).removeprefix('llm:')}={change.new}"
    if isinstance(change, Shrink):
        where = "" if change.what == Selector("llm") else f"{change.what} "
        return f"shrink {where}{change.side}={change.factor}"
    told = f"{_tag(change)} {change.what}"
    if isinstance(change, Scale):
        return f"{told}={change.factor}"
    if isinstance(change, Together) and change.limit is not None:
        return f"{told}={change.limit}"
    if isinstance(change, Cache) and change.lookup_ns != LOOKUP_NS:
        return f"{told}={Decimal(change.lookup_ns) / 1_000_000:f}ms"
    return told


def _limit(text: str, value: str) -> int | None:
    if not value:
        return None
    if not value.strip().isdigit() or int(value) < 1:
        raise UsageError(f"{text!r}: {value!r} is no number of calls at once, such as 4")
    return int(value)


def _factor(text: str, value: str) -> Decimal:
    try:
        factor = Decimal(value)
    except InvalidOperation:
        raise UsageError(f"{text!r}: write a factor at the end, like =0.5") from None
    if not factor.is_finite() or not 0 <= factor <= 1000:
        raise UsageError(f"{text!r}: a factor is from 0 to 1000")
    return factor


def _duration_ns(text: str, value: str) -> int:
    digits = value.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = _UNITS_NS.get(value[len(digits) :])
    try:
        amount = Decimal(digits)
    except InvalidOperation:
        amount = Decimal(-1)
    if unit is None or not amount.is_finite() or not 0 <= amount < 10**9:
        raise UsageError(f'{text!r}: {value!r} is no time; write it like "5ms"')
    return int(amount * unit)


class Editing:
    """Edits of one schedule, one after the other.

    ``changes`` is what becomes of it, ``side_by_side`` are the spans that are to run together.
    """

    def __init__(self, plan: Schedule, kinds: SpanKinds) -> None:
        self.changes = Changes({}, {}, {}, {}, set(), {}, set())
        self.side_by_side: list[tuple[int, ...]] = []
        self._plan, self._kinds = plan, kinds
        self._factors: dict[int, list[tuple[str, Factor]]] = {}

    # -- orders

    def together(self, branches: Sequence[Sequence[int]], limit: int | None = None) -> None:
        """Starts all `branches` as the first one starts; their spans are children of one parent.

        If some of them overlap as it is, these start as far apart as they did, and without a
        `limit` no more run at once than do, or than other replies of the run had tools at once if
        these had to wait for each other. The agent's own work between them comes after them.
        """
        spans = self._plan.trace.spans
        self.side_by_side.append(tuple(i for branch in branches for i in branch))
        heads = [branch[0] for branch in branches]
        tails = [branch[-1] for branch in branches]
        single = heads == tails  # longer ones are rounds of a loop, which follow each other
        seen = most_at_once(self._plan.trace, heads) if single else 1
        most = limit or (self._pool(heads) if seen == 1 else seen)
        ends = tuple(end_of(i) for i in tails)
        # Where one is closed late, its start holds what followed, too.
        own = {event for branch in branches for i in branch for event in (start_of(i), end_of(i))}
        first = start_of(heads[0])
        held_by = self._held_by(first)
        gap = self._gap(first)
        ended = began = spans[heads[0]].start_ns
        kept = 0
        for place, (i, tail) in enumerate(zip(heads, tails, strict=True)):
            event, start = start_of(i), spans[i].start_ns
            offset = start - began  # of those that overlap, which start as far apart as they did
            behind = 0
            others = self._without(self._held_by(event), own) if place else ()
            if any(self._plan.times[gate] > self._plan.times[first] for gate in others):
                # Something else came between, and still does; the gap is behind that.
                ended = max(ended, spans[tail].ended_ns)
                self.changes.gates[event] = tuple(dict.fromkeys((*held_by, *others)))
                continue
            if place and start >= ended:
                kept += min(self._gap(event), start - ended, self._held_up(tail, start))
                began, offset = start, 0
            elif place >= seen:  # it was waiting for a slot
                before = sorted((spans[j].ended_ns for j in tails[:place]), reverse=True)
                offset = behind = start - before[seen - 1]
            ended = max(ended, spans[tail].ended_ns)
            if place:
                self.changes.gates[event] = tuple(dict.fromkeys((*held_by, *others)))
                self.changes.gaps[event] = gap + offset
            if place >= most:
                self.changes.slots[event] = Slot(most, ends[:place], behind)
            elif event in self._plan.slots:
                self.changes.slots[event] = Slot(len(heads), ())
        last = max(tails, key=lambda i: (spans[i].ended_ns, i))
        self.changes.joins[end_of(last)] = (ends, kept)

    def merge(self, turns: Turns) -> None:
        """Lets the first call of `turns` ask for what the second one asks for as well.

        Its reply becomes longer by what the second one wrote; nothing else remains of that. The
        tools of both run in sequence, or beside each other if tools do here.
        """
        second, own = turns.second, {end_of(i) for i in turns.between}
        self._emptied(second)
        self.changes.merged.add(second)
        self.changes.gates[start_of(second)] = (end_of(turns.first),)
        self.changes.gaps[start_of(second)] = 0
        self.changes.gaps[end_of(second)] = turns.generated_ns
        for tool in turns.between:
            if not own.intersection(self._held_by(start_of(tool))):
                self.changes.gates[start_of(tool)] = (end_of(second),)
        later = {end_of(i) for i in turns.after}
        before = (end_of(second),) if turns.beside else tuple(own)
        for tool in turns.after:
            if not later.intersection(self._held_by(start_of(tool))):
                self.changes.gates[start_of(tool)] = before
        answered = self._plan.causes.answered_by[turns.after[0]]
        if answered != NO_SPAN:
            event = start_of(answered)
            self.changes.gates[event] = tuple(dict.fromkeys((*self._held_by(event), *own)))
        call = self._plan.trace.spans[second].model_call
        if call is not None and call.tokens is not None:
            kept = Tokens(output=call.tokens.output, reasoning=call.tokens.reasoning)
            self.changes.calls[second] = replace(call, tokens=kept, ttft_ns=0)

    def early(self, tool: int, issuer: int) -> None:
        """Starts `tool` when the call `issuer` starts; who needs its result waits for both."""
        self.changes.gates[start_of(tool)] = (start_of(issuer),)
        self.changes.gaps[start_of(tool)] = 0
        self.changes.joins[end_of(tool)] = ((end_of(tool), end_of(issuer)), 0)

    def eager(self, tools: Sequence[int], issuer: int) -> None:
        """Starts each of `tools` as soon as its part of the reply of `issuer` is there.

        Where nobody recorded the parts, the time after the first token is shared out evenly.
        """
        spans = self._plan.trace.spans
        first = first_token_ns(self._plan.trace, self._kinds, issuer)
        if first is None:
            return
        streamed = max(0, spans[issuer].ended_ns - first)
        before = first - spans[issuer].start_ns
        for place, tool in enumerate(tools, start=1):
            event = start_of(tool)
            gap = self._gap(event) if place == 1 else 0
            self.changes.gates[event] = (start_of(issuer),)
            self.changes.gaps[event] = before + streamed * place // len(tools) + gap

    # -- what is not done

    def fixed(self, span: int, duration_ns: int) -> None:
        """Lets `span` with everything below it take `duration_ns`, and no tokens."""
        for part in self._emptied(span):
            call = self._plan.trace.spans[part].model_call
            if call is not None:
                self.changes.calls[part] = replace(call, tokens=NO_TOKENS)
        self.changes.gaps[end_of(span)] = duration_ns

    def cached(self, span: int, lookup_ns: int = LOOKUP_NS) -> None:
        """Lets `span` take a look-up, if it took longer."""
        self.fixed(span, min(lookup_ns, self._plan.trace.spans[span].duration_ns))

    def remove(self, span: int) -> None:
        """Leaves `span` out with everything that is part of it."""
        self.changes.dropped.update(self._emptied(span))
        if self._kinds.calls[span] == span:
            call = self._plan.trace.spans[span].model_call
            if call is not None:
                self.changes.calls[span] = replace(call, tokens=NO_TOKENS)

    def no_retries(self, only: Collection[int] | None = None) -> int:
        """Leaves out failed attempts and the pauses behind them, and says how many these are: all,
        or `only` some spans.

        Where the user's own code tried again, the attempt that was answered starts as the first
        one did.
        """
        found = [i for i, span in enumerate(self._plan.trace.spans) if span.category == "retry"]
        own = retries(self._plan.causes.flow, self._kinds.calls)
        if only is not None:
            found = [i for i in found if i in only]
            own = tuple(retry for retry in own if retry.failed in only)
        for i in found:
            if i not in self.changes.dropped:
                self.remove(i)
        for retry in own:
            first, event = start_of(retry.whole_failed), start_of(retry.whole_again)
            self.changes.gates[event] = self._held_by(first)
            self.changes.gaps[event] = self._gap(first)
            if event in self._plan.slots:
                self.changes.slots[event] = Slot(len(self._plan.trace.spans), ())
            self.remove(retry.whole_failed)
        return len(found) + len(own)

    def other_model(self, call: int, model: str, pace: Pace, first_ns: int) -> None:
        """Lets `call` take as long as `model` would for as many tokens, of which the first one
        comes after `first_ns`."""
        span = self._plan.trace.spans[call]
        told = span.model_call
        if told is None:
            return
        tokens = told.tokens.output if told.tokens is not None else 0
        retried = self._retried(call)
        self._emptied(call, but_retries=True)
        self.changes.gaps[end_of(call)] = max(0, first_ns + pace.generating_ns(tokens))
        ttft_ns = first_ns + retried if pace.split else None
        self.changes.calls[call] = replace(told, model=model, ttft_ns=ttft_ns)

    # -- how long

    def shorten(self, call: int, by_ns: int, *, at_start: bool = False) -> None:
        """Takes `by_ns` from the own time of `call` and its parts, from its end or its start on."""
        events = [e for part in self._with_parts(call) for e in owned_by(self._plan, part)]
        events.sort(key=self._plan.times.__getitem__, reverse=not at_start)
        left_ns = by_ns
        for event in events:
            gap = self._gap(event)
            cut = min(left_ns, gap)
            if cut > 0:
                self.changes.gaps[event] = gap - cut
                left_ns -= cut
        told = self.told(call)
        if at_start and told is not None and told.ttft_ns is not None:
            sooner = max(0, told.ttft_ns - (by_ns - left_ns))
            self.changes.calls[call] = replace(told, ttft_ns=sooner)

    def scale(self, span: int, phase: str, factor: Factor) -> None:
        """Scales the own time of `span` and, but for agents, of all that is part of it.

        `phase` is "" or one of the two of a model call.
        """
        agent = self._plan.trace.spans[span].category in ("agent", "chain")
        for i in (span,) if agent else self._with_parts(span):
            self._factors.setdefault(i, []).append((phase, factor))

    def shrink(self, call: int, side: Side, tokens: Factor, phase: str, time: Factor) -> None:
        """Lets `call` have so many times as many `tokens` of one `side`, and its `phase` take so
        many times as much `time`."""
        self.scale(call, phase, time)
        told = self.told(call)
        if told is not None and told.tokens is not None:
            self.changes.calls[call] = replace(told, tokens=_shrunk(told.tokens, side, tokens))

    def lighten(self, call: int, less: Tokens, sooner_ns: int) -> None:
        """Lets `call` be given so many tokens `less`, and its first token come `sooner_ns`
        sooner."""
        self.shorten(call, sooner_ns, at_start=True)
        told = self.told(call)
        if told is not None and told.tokens is not None:
            self.changes.calls[call] = replace(told, tokens=without(told.tokens, less))

    def scaled(self, call: int, phase: str) -> float:
        """Tells how many times as long `phase` of `call` takes by now."""
        ratio = 1.0
        for one, (numerator, denominator) in self._factors.get(call, ()):
            if one == phase:
                ratio *= numerator / denominator
        return ratio

    def done(self) -> Changes:
        """Puts everything together."""
        sooner: dict[int, int] = {}  # how much, of first tokens
        if self._factors:
            plan, gaps = self._plan, self.changes.gaps
            for event, owner in enumerate(plan.owners):
                factors = self._factors.get(owner)
                if factors:
                    gaps[event], earlier = self._scaled(event, owner, factors)
                    call = self._kinds.calls[owner]
                    sooner[call] = sooner.get(call, 0) + earlier
        for call, earlier in sooner.items():
            told = self.told(call) if call != NO_SPAN and earlier else None
            if told is not None and told.ttft_ns is not None:
                self.changes.calls[call] = replace(told, ttft_ns=max(0, told.ttft_ns - earlier))
        self._answer_before_given_up()
        return self.changes

    def _answer_before_given_up(self) -> None:
        """Lets whoever gave up a call that is short enough by now go on when it ends."""
        plan, gaps = self._plan, self.changes.gaps
        for event in range(2 * len(plan.trace.spans), len(plan.gates)):
            if plan.owners[event] != NO_SPAN or len(plan.gates[event]) != 1:
                continue
            begun = plan.gates[event][0]
            span = begun // 2
            if begun != start_of(span) or plan.gates[end_of(span)] != (begun,):
                continue
            if end_of(span) in gaps and gaps[end_of(span)] < plan.gaps[event]:
                gaps[event] = gaps[end_of(span)]

    def _scaled(
        self, event: int, owner: int, factors: Sequence[tuple[str, Factor]]
    ) -> tuple[int, int]:
        """Works out the new gap of `event`, and how much sooner the first token comes because of
        it."""
        gap, whole = self._gap(event), self._plan.gaps[event]
        first = first_token_ns(self._plan.trace, self._kinds, owner)
        if first is None or event in self.changes.gates:
            for phase, factor in factors:
                gap = gap if phase else gap * factor[0] // factor[1]
            return gap, 0
        before = min(max(first - self._plan.times[event] + whole, 0), whole)
        # Where an edit has shortened the stretch already, both parts are shortened with it.
        before = before if gap == whole or not whole else before * gap // whole
        until = generated_until_ns(self._plan.trace, self._kinds.calls[owner])
        held = 0 if until is None else min(max(self._plan.times[event] - until, 0), gap - before)
        was, behind = before, gap - before - held
        for phase, factor in factors:
            if phase != "generation":
                before = before * factor[0] // factor[1]
            if phase != "first_token":
                behind = behind * factor[0] // factor[1]
        return before + behind + held, was - before

    def told(self, call: int) -> ModelCall | None:
        """Tells what is known of the model call `call`, as far as it is edited."""
        return self.changes.calls.get(call, self._plan.trace.spans[call].model_call)

    # -- look-ups

    def _pool(self, tools: Sequence[int]) -> int:
        """Counts how many of `tools`, which ran one by one, can run at once: as many as other
        replies show to be the most, if some of their tools waited for others to end; else all."""
        causes = self._plan.causes
        limits = {slot.limit for slot in self._plan.slots.values()}
        if not limits or any(causes.issuers[i] == NO_SPAN for i in tools):
            return len(tools)
        trace = self._plan.trace
        most = max(most_at_once(trace, group) for group in tools_of_replies(trace, causes))
        return most if most in limits else len(tools)

    def _held_by(self, event: int) -> Gates:
        return self.changes.gates.get(event, self._plan.gates[event])

    def _gap(self, event: int) -> int:
        return self.changes.gaps.get(event, self._plan.gaps[event])

    def _held_up(self, span: int, start_ns: int) -> int:
        """Measures how much of the end of `span` waited for nothing that had begun before
        `start_ns`."""
        plan = self._plan
        events = 2 * len(plan.trace.spans)
        before = [
            plan.times[gate]
            for gate in self._held_by(end_of(span))
            if gate % 2 and gate < events and plan.times[gate - 1] < start_ns
        ]
        return plan.times[end_of(span)] - max(before, default=start_ns)

    def _without(self, gates: Gates, ends: set[int]) -> Gates:
        """Takes `ends` out of `gates`, looking into joins."""
        kept: list[int] = []
        events = 2 * len(self._plan.trace.spans)
        for gate in gates:
            if gate >= events and ends.intersection(self._plan.gates[gate]):
                kept += [e for e in self._plan.gates[gate] if e not in ends]
            elif gate not in ends:
                kept.append(gate)
        return tuple(kept)

    def _with_parts(self, span: int) -> list[int]:
        """Lists `span` and what is part of it: of a model call its attempts, not the tools
        inside."""
        calls = self._kinds.calls
        found = [span]
        for i in found:
            below = self._plan.below.get(i, ())
            if calls[span] == span:
                retry = self._plan.trace.spans
                below = [b for b in below if calls[b] == span or retry[b].category == "retry"]
            found.extend(below)
        if calls[span] == span:
            found = [i for i in found if self._plan.trace.spans[i].category != "retry"]
        return found

    def _emptied(self, span: int, *, but_retries: bool = False) -> Sequence[int]:
        """Takes all own time from `span` and its parts, which are returned."""
        parts = set(self._with_parts(span))
        if not but_retries and self._kinds.calls[span] == span:
            parts.update(self._retries(span))
        for part in parts:
            for event in owned_by(self._plan, part):
                self.changes.gaps[event] = 0
        return sorted(parts)

    def _retries(self, call: int) -> Sequence[int]:
        """Lists failed attempts and pauses of `call`."""
        spans = self._plan.trace.spans
        return [i for i in self._plan.below.get(call, ()) if spans[i].category == "retry"]

    def _retried(self, call: int) -> int:
        return sum(self._plan.trace.spans[i].duration_ns for i in self._retries(call))


def scale_of(plan: Schedule, kinds: SpanKinds, change: Scale, editing: Editing) -> int:
    """Applies `change`; says to how many operations. Only the outermost of nested ones count."""
    phase = change.what.category.partition(".")[2]
    factor = change.factor.as_integer_ratio()
    found = selected(plan.trace, kinds, plan.causes, change.what)
    if phase:
        found = [i for i in found if first_token_ns(plan.trace, kinds, i) is not None]
    own_time_only = change.what.of in ("agent", "chain")
    chosen = found if own_time_only else outermost(plan.causes.parents, found)
    for span in chosen:
        editing.scale(span, phase, factor)
    return len(chosen)


def outermost(parents: Sequence[int], spans: Sequence[int]) -> Sequence[int]:
    """Leaves out those of `spans` that lie below another one of them."""
    wanted = set(spans)
    found = []
    for span in spans:
        above = parents[span]
        while above != NO_SPAN and above not in wanted:
            above = parents[above]
        if above == NO_SPAN:
            found.append(span)
    return found


def _shrunk(tokens: Tokens, side: Side, factor: Factor) -> Tokens:
    if tokens is NO_TOKENS:  # of a call that is not made
        return tokens

    def times(count: int) -> int:
        return count * factor[0] // factor[1]

    if side == "output":
        return replace(tokens, output=times(tokens.output), reasoning=times(tokens.reasoning))
    return replace(
        tokens,
        input=times(tokens.input),
        cache_read=times(tokens.cache_read),
        cache_write=times(tokens.cache_write),
        cache_write_1h=times(tokens.cache_write_1h),
    )


def without(tokens: Tokens, less: Tokens) -> Tokens:
    """Takes the input of `less` from that of `tokens`, and no more than there is."""
    if tokens is NO_TOKENS:  # of a call that is not made
        return tokens
    return replace(
        tokens,
        input=max(0, tokens.input - less.input),
        cache_read=max(0, tokens.cache_read - less.cache_read),
        cache_write=max(0, tokens.cache_write - less.cache_write),
        cache_write_1h=max(0, tokens.cache_write_1h - less.cache_write_1h),
    )
