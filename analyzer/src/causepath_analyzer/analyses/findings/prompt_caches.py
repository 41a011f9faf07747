"""What calls could have read from the prompt cache of their provider: the calls before them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Literal

from msgspec import Struct

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.path.usage import contradicts_itself
from causepath_analyzer.analyses.proof.independence import failed
from causepath_analyzer.model import NO_SPAN, Block, Blocks, ModelCall, Tokens

Cause = Literal["lifetime", "tools", "system", "messages", "look-back", "model", "parameters"]
SAID: Final[Mapping[str | None, Cause]] = {
    "tools_changed": "tools",
    "system_changed": "system",
    "messages_changed": "messages",
    "input_changed": "messages",
    # Of one model they say this where another speed was asked for.
    "model_changed": "parameters",
    "prompt_cache_key_changed": "parameters",
    "text_format_changed": "parameters",
    "reasoning_effort_changed": "parameters",
    "verbosity_changed": "parameters",
    "service_tier_changed": "parameters",
}
"""Words of providers for why a cache was not read."""
LIFETIME_NS: Final = 300_000_000_000
"""Providers keep what was cached for five minutes after it was last used, if no longer is asked
for."""
_IN_ORDER: Final[tuple[Cause, ...]] = ("tools", "system", "messages")
"""The parts of a prompt, as caches see them."""
_LOOK_BACK: Final = 20
"""Blocks before a breakpoint at which Anthropic looks for what was cached."""
LONG_LIFETIME_NS: Final = 3_600_000_000_000


class Following(Struct, frozen=True):
    """Two calls of one conversation: ``later`` began when ``earlier`` had ended. ``lifetime_ns`` is
    how long what ``earlier`` cached lives."""

    earlier: int
    later: int
    lifetime_ns: int

    def is_within(self, facts: Facts) -> bool:
        """Tells whether what the earlier one cached was still there for the later one."""
        spans = facts.trace.spans
        return spans[self.later].start_ns - spans[self.earlier].start_ns < self.lifetime_ns

    def has_lapsed(self, facts: Facts) -> bool:
        """Tells whether what the earlier one cached was surely gone."""
        spans = facts.trace.spans
        return spans[self.later].start_ns - spans[self.earlier].ended_ns > self.lifetime_ns

    def carries_on(self, facts: Facts) -> bool:
        """Tells whether digests say that the later one was given all that the earlier one was, in
        the same order, and more."""
        spans = facts.trace.spans
        before, now = spans[self.earlier].model_call, spans[self.later].model_call
        if before is None or now is None or now.blocks is None or not before.blocks:
            return False
        kept_all = now.blocks.kept >= _given(before.blocks) > 0
        return kept_all and now.blocks.previous == spans[self.earlier].span_id


def _given(blocks: Blocks) -> int:
    """Counts all blocks that a call was given."""
    return blocks.kept + len(blocks.given) + blocks.unlisted


def counted(facts: Facts, call: int) -> Tokens | None:
    """Gives the tokens of `call`, if they are whole and it was answered."""
    span = facts.trace.spans[call]
    told = span.model_call
    if told is None or told.tokens is None or failed(span) or told.partial or told.partial_input:
        return None
    return None if contradicts_itself(told.tokens) or not told.tokens.input else told.tokens


def following(
    facts: Facts,
    wanted: Callable[[Sequence[ModelCall]], bool] | None = None,
    *,
    shorter: bool = False,
) -> Iterator[list[Following]]:
    """Lists, for each conversation and model in it, the calls that follow each other and are given
    as much or more; only of conversations that are `wanted`.

    With `shorter` also those that are given less, and no summary of what was left out.

    Where digests say which call another one goes on from, although not all of it is as it was, that
    is the one before it; so is the one whose answer it was given last, where nothing is as it was.
    """
    spans, flow = facts.trace.spans, facts.flow
    numbers: dict[str, int] | None = None
    lives = _Lives(facts)
    counts: dict[int, Tokens | None] = {}
    answered = _Answered(facts)
    for conversation in facts.usage.conversations:
        first = conversation.calls[0]
        goes_on = _goes_on(facts, first) or answered.before(first) is not None
        if len(conversation.calls) == 1 and not goes_on:
            continue
        if wanted is not None:
            said = (spans[i].model_call for i in conversation.calls)
            if not wanted([call for call in said if call is not None]):
                continue
        last: dict[str, int] = {}
        found: dict[str, list[Following]] = {}
        for i in conversation.calls:
            told = spans[i].model_call
            if told is None or told.model is None or facts.kinds.calls[i] != i:
                continue
            before = last.get(told.model)
            if told.blocks is not None and _goes_on(facts, i):
                if numbers is None:
                    numbers = {span.span_id: number for number, span in enumerate(spans)}
                named = numbers.get(told.blocks.previous)
                if (
                    named is not None
                    and named in flow.sources(i)
                    and _model(facts, named) == told.model
                ):
                    before = named
            elif before is None:
                before = answered.before(i)
            last[told.model] = i
            now = counts[i] = counted(facts, i)
            if before is None or now is None or spans[i].start_ns < spans[before].ended_ns:
                continue
            then = counts[before] if before in counts else counted(facts, before)
            if then is None:
                continue
            if now.input >= then.input or (shorter and _begins_in(facts, before, i)):
                found.setdefault(told.model, []).append(Following(before, i, lives.ns(before)))
        yield from found.values()


def switched(facts: Facts) -> Iterator[Following]:
    """Lists the calls that go on with a prompt as it was, and are the first of their model in the
    conversation."""
    spans = facts.trace.spans
    lives = _Lives(facts)
    for conversation in facts.usage.conversations:
        models: set[str | None] = set()
        before = NO_SPAN
        for i in conversation.calls:
            if facts.kinds.calls[i] != i:
                continue
            model = _model(facts, i)
            if before != NO_SPAN and model not in models:
                pair = Following(before, i, lives.ns(before))
                is_after = spans[i].start_ns >= spans[before].ended_ns
                if is_after and pair.is_within(facts) and pair.carries_on(facts):
                    yield pair
            models.add(model)
            before = i


def _begins_in(facts: Facts, earlier: int, later: int) -> bool:
    """Tells whether the first message that the later call was given is one of the earlier one's."""
    was, now = facts.flow.prompt(earlier), facts.flow.prompt(later)
    if not was or not now:
        return False
    first = next((block.digest for block in now if _cause(block) == "messages"), None)
    return any(block.digest == first for block in was)


class _Answered:
    """The calls by what they answered, for prompts of which not even the first block is as it
    was: of these, the emitter names no call before."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._calls: dict[tuple[str | None, tuple[int, ...]], list[int]] | None = None

    def before(self, call: int) -> int | None:
        """Finds the last call of the same model whose answer `call` was given last."""
        given = _last_answer(self._facts, call)
        if not given:
            return None
        if self._calls is None:
            self._calls = {}
            for i in self._facts.numbers.get("llm", ()):
                told = self._facts.trace.spans[i].model_call
                if told is not None and told.blocks is not None and told.blocks.answered:
                    answer = tuple([block.digest for block in told.blocks.answered])
                    self._calls.setdefault((told.model, answer), []).append(i)
        same = self._calls.get((_model(self._facts, call), given), ())
        return next((i for i in reversed(same) if i < call), None)


def _last_answer(facts: Facts, call: int) -> tuple[int, ...]:
    """Lists the digests of the last answer of a model in the prompt of `call`, if all of it is
    new."""
    told = facts.trace.spans[call].model_call
    if told is None or told.blocks is None or told.blocks.kept or told.blocks.unlisted:
        return ()
    found: list[int] = []
    for block in reversed(told.blocks.given):
        if block.role == "assistant":
            found.append(block.digest)
        elif found:
            break
    return tuple(found[::-1])


def _goes_on(facts: Facts, call: int) -> bool:
    """Tells whether digests say that `call` goes on from another one."""
    told = facts.trace.spans[call].model_call
    return told is not None and told.blocks is not None and bool(told.blocks.previous)


def _model(facts: Facts, call: int) -> str | None:
    told = facts.trace.spans[call].model_call
    return told.model if told is not None else None


class _Lives:
    """The lifetime of what was cached up to a call: an hour once that was asked for."""

    def __init__(self, facts: Facts) -> None:
        self._spans = spans = facts.trace.spans
        asking = (
            spans[i].start_ns
            for i in facts.numbers.get("llm", ())
            if (call := spans[i].model_call) is not None
            and call.tokens is not None
            and call.tokens.cache_write_1h
        )
        self._since_ns = next(asking, None) if facts.usage.tokens.cache_write_1h else None

    def ns(self, call: int) -> int:
        """Tells how long what `call` had cached lives."""
        if self._since_ns is None or self._spans[call].start_ns < self._since_ns:
            return LIFETIME_NS
        return LONG_LIFETIME_NS


def is_cached_on_request(call: ModelCall) -> bool:
    """Tells whether the prompts of a model are only cached where a request asks for it."""
    return "claude" in (call.model or "").lower()


def cause_of(facts: Facts, pair: Following) -> Cause | None:
    """Tells why the later call could not read what the earlier one had cached, if anything does.

    The provider's word goes first. Where the lifetime had elapsed, no edit is blamed; else it is
    the first block that is not as it was, in the order in which caches see them.
    """
    spans = facts.trace.spans
    said = spans[pair.later].model_call
    if said is not None and said.cache_diagnosis in SAID:
        return SAID[said.cache_diagnosis]
    if pair.has_lapsed(facts):
        call = spans[pair.earlier].model_call
        # How long others keep what they cache by themselves nobody promises.
        return "lifetime" if call is not None and is_cached_on_request(call) else None
    if not pair.is_within(facts):
        return None
    call, before = spans[pair.later].model_call, spans[pair.earlier]
    blocks = call.blocks if call is not None else None
    if blocks is None or not blocks.given:
        return None
    told = before.model_call
    if told is None or told.blocks is None:
        return None
    was, now = facts.flow.prompt(pair.earlier), facts.flow.prompt(pair.later)
    if blocks.kept:
        if blocks.previous != before.span_id:
            return None
        held = _given(told.blocks)
        if blocks.kept < held:
            left_out = was[blocks.kept : blocks.kept + 1] if was else ()
            return _first_of(blocks.given[0], *left_out)
        # All of it was sent again.
        further = blocks.kept + len(blocks.given) - held
        looks_back = call is not None and is_cached_on_request(call)
        return "look-back" if looks_back and further > _LOOK_BACK else None
    answer = tuple([block.digest for block in told.blocks.answered])
    if not was or not now or _last_answer(facts, pair.later) != answer:
        return None  # it does not go on from there
    return next(
        (_first_of(a, b) for a, b in zip(was, now, strict=False) if a.digest != b.digest), None
    )


def _first_of(*blocks: Block) -> Cause:
    """Tells what is not as it was, of blocks that stand in the place of each other: where one is
    left out, that is the next one."""
    return min(map(_cause, blocks), key=_IN_ORDER.index)


def _cause(first: Block) -> Cause:
    """Tells what is not as it was, by the first block that is not."""
    return "tools" if first.role == "tools" else "system" if first.role == "system" else "messages"
