"""The cost of what later calls carried along: a result, the system prompt, the tools declared.

A model has no memory: each call sends all again that those before it in its conversation were sent.
::

    call 1   tools system question                          all new
    call 2   tools system question reply result             the first three are carried
    call 3   tools system question reply result reply ...   and the result, too

The blocks of a prompt are known by digest and size in bytes. How many tokens a block is, is an
estimate, by the bytes and the tokens of the whole prompt of the same call; so is the price, as a
cache holds the beginning of a prompt: first what was read from it, then what was written to it.
Thoughts that a provider withholds count by the bytes of what stands for them.
Calls with media, of which bytes say nothing, with searches of the provider's, or of which a block
is not known, are left out.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final, Literal

from msgspec import Struct

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.path.cost import rates_of
from causepath_analyzer.analyses.path.usage import contradicts_itself
from causepath_analyzer.analyses.replay.slopes import FEWEST, Line, Sizes, sized_calls, slopes
from causepath_analyzer.model import NO_SPAN, Block, ModelCall, Tokens, Trace

What = Literal["system", "tools", "tool_result"]

_TEXTS: Final = frozenset(("text", "tool", "tool_use", "tool_result", "thinking"))
"""Kinds of blocks whose tokens follow their bytes."""


class Carried(Struct, frozen=True):
    """A part of prompts that was sent again, in ``calls`` later calls of the conversation in which
    ``first`` had sent it.

    ``span`` is the tool whose result it is, `NO_SPAN` where that is not known. ``tokens`` are those
    of all later calls, ``cached_tokens`` the part of them that was read from a cache. ``usd`` is
    ``None`` where one of these calls has no price, ``first_token_ns`` where these calls do not show
    how the first token follows the prompt.
    """

    what: What
    span: int
    first: int
    size: int
    """In bytes, where it was first sent."""
    calls: int
    tokens: int
    cached_tokens: int
    usd: Decimal | None
    first_token_ns: int | None


class _Rates(Struct, frozen=True):
    """The prices of a call for its input: read from a cache, written to one, and neither."""

    read: Decimal
    write: Decimal
    uncached: Decimal


class _Sum:
    """The later calls that carried one thing, added up."""

    def __init__(self, what: What, span: int, first: int) -> None:
        self.what, self.span, self.first = what, span, first
        self.size = self.calls = 0
        self.tokens = self.cached = self.usd = self.first_ns = Decimal(0)
        self.is_priced = self.is_timed = True

    def done(self) -> Carried:
        return Carried(
            self.what,
            self.span,
            self.first,
            self.size,
            self.calls,
            round(self.tokens),
            round(self.cached),
            round(self.usd, _PLACES) if self.is_priced else None,
            round(self.first_ns) if self.is_timed else None,
        )


_PLACES: Final = 10


def carried(facts: Facts) -> tuple[Carried, ...]:
    """Finds what later calls of the run carried along, what cost most first."""
    found: list[_Sum] = []
    lines: Mapping[str, Line] | None = None
    numbers = {span.span_id: i for i, span in enumerate(facts.trace.spans)}
    for conversation in facts.usage.conversations:
        if len(conversation.calls) < 2:
            continue
        known = [(i, prompt) for i in conversation.calls if (prompt := facts.flow.prompt(i))]
        if len(known) < 2:
            continue
        if lines is None:
            lines = first_token_lines(facts)
        found += _in_conversation(facts, known, lines, numbers)
    done = [one.done() for one in found if one.calls]
    return tuple(sorted(done, key=lambda one: (-(one.usd or 0), -one.tokens, one.first, one.what)))


def _in_conversation(
    facts: Facts,
    calls: Sequence[tuple[int, tuple[Block, ...]]],
    lines: Mapping[str, Line],
    numbers: Mapping[str, int],
) -> Sequence[_Sum]:
    """Adds up what each of `calls`, with all that it was given, carries from those before.

    `numbers` are those of spans by their id.
    """
    sums: dict[object, _Sum] = {}
    seen: dict[object, _Sum] = {}
    chain = _Chain()
    for i, prompt in calls:
        if prompt[: len(chain.prompt)] != chain.prompt:
            chain.close()
            chain = _Chain()
        again = len(chain.sums)
        pieces = chain.extended(prompt)
        tools = _tools(
            facts.trace,
            i,
            numbers,
            [block for key, block in pieces if key not in seen and block.kind == "tool_result"],
        )
        also = []
        for key, block in pieces:
            one = seen.get(key)
            if one is not None:
                also.append(len(chain.sums))
            else:
                one = seen[key] = _first_seen(sums, key, block, i, tools)
            chain.append(one)
        call = facts.trace.spans[i].model_call
        if call is not None and call.tokens is not None and chain.is_told(call, call.tokens):
            line = lines.get(call.model or "")
            rates = _rates(facts, i, call, call.tokens)
            chain.add([(0, again), *((n, n + 1) for n in also)], call.tokens, rates, line)
    chain.close()
    return list(sums.values())


def _first_seen(
    sums: dict[object, _Sum], key: object, block: Block, call: int, tools: list[int]
) -> _Sum:
    """Begins to add up `block`, which is new in `call`; `tools` are those of the next results."""
    what: What = "tool_result"
    if block.role in ("system", "tools"):
        key = what = "system" if block.role == "system" else "tools"
    one = sums.get(key) or sums.setdefault(key, _Sum(what, NO_SPAN, call))
    if what == "tool_result":
        one.span = tools.pop(0)
    if one.first == call:
        one.size += block.size
    return one


class _Chain:
    """Calls each of which was given all that the one before it was, and more.

    What a call adds to a block is the same for each byte of all blocks that a cache held, wrote or
    did not have, so that it is noted once for the first block and taken back after the last.
    """

    def __init__(self) -> None:
        self.prompt: tuple[Block, ...] = ()
        self.sums: list[_Sum] = []
        self._ends: list[int] = []
        self._sizes: list[int] = []
        self._firsts: dict[_Sum, int] = {}
        self._times: dict[object, int] = {}
        self._bytes = 0
        self._is_text = True
        self._changes: dict[int, Sequence[Decimal]] = {}

    def extended(self, prompt: tuple[Block, ...]) -> Sequence[tuple[object, Block]]:
        """Goes on with `prompt`, and picks what is looked at of its new blocks: the block, and what
        it is. Of equal blocks the second is the second again in another chain."""
        found = []
        for block in prompt[len(self.prompt) :]:
            if block.role in ("system", "tools") or block.kind == "tool_result":
                same = block.role, block.kind, block.digest
                self._times[same] = self._times.get(same, 0) + 1
                found.append(((*same, self._times[same]), block))
                self._ends.append(self._bytes + block.size)
                self._sizes.append(block.size)
            self._bytes += block.size
            self._is_text = self._is_text and block.kind in _TEXTS
        self.prompt = prompt
        return found

    def append(self, one: _Sum) -> None:
        """Says for what the next of the blocks that are looked at counts."""
        if one.what != "tool_result":
            self._firsts.setdefault(one, len(self.sums))
        self.sums.append(one)

    def is_told(self, call: ModelCall, tokens: Tokens) -> bool:
        """Tells whether the tokens of the prompt are those of its bytes."""
        return (
            self._is_text
            and self._bytes > 0
            and tokens.input > 0
            and not call.partial_input
            and not call.searches
            and not contradicts_itself(tokens)
        )

    def add(
        self,
        ranges: Sequence[tuple[int, int]],
        tokens: Tokens,
        rates: _Rates | None,
        line: Line | None,
    ) -> None:
        """Adds a call, which used `tokens`, to the blocks in `ranges`, which it carried."""
        read, past = (
            edge * self._bytes // tokens.input
            for edge in (tokens.cache_read, tokens.cache_read + tokens.cache_write)
        )
        per_byte = Decimal(tokens.input) / self._bytes
        wholes: set[_Sum] = set()
        for low, high in ranges:
            wholes.update(one for one, first in self._firsts.items() if low <= first < high)
            if high - low == 1 and self.sums[low].what != "tool_result":
                wholes.add(self.sums[low])
            while low < high:
                start, end = self._ends[low] - self._sizes[low], self._ends[low]
                edge = read if start < read else past if start < past else self._bytes
                if end > edge:  # it stands in two or three of them
                    after = low + 1
                    held = max(0, min(end, read) - start)
                    written = max(0, min(end, past) - max(start, read))
                    parts = held, written, end - start - held - written
                else:
                    after = bisect_right(self._ends, edge, low, high)
                    parts = start < read, read <= start < past, start >= past
                self._note(low, after, _added(per_byte, parts, rates, line))
                low = after
        for one in wholes:
            one.calls += 1

    def _note(self, low: int, after: int, added: Sequence[Decimal]) -> None:
        """Notes what is added for each byte of the blocks from number `low` to before `after`."""
        for n, sign in ((low, 1), (after, -1)):
            known = self._changes.get(n, _NOTHING)
            self._changes[n] = [one + sign * more for one, more in zip(known, added, strict=True)]

    def close(self) -> None:
        """Adds up what was noted."""
        each: Sequence[Decimal] = _NOTHING
        for n, one in enumerate(self.sums):
            change = self._changes.get(n)
            if change is not None:
                each = [before + more for before, more in zip(each, change, strict=True)]
            calls, tokens, cached, usd, first_ns, unpriced, untimed = each
            size = self._sizes[n]
            if one.what == "tool_result":
                one.calls += int(calls)
            one.tokens += size * tokens
            one.cached += size * cached
            one.usd += size * usd
            one.first_ns += size * first_ns
            one.is_priced = one.is_priced and not unpriced
            one.is_timed = one.is_timed and not untimed


_NOTHING: Final = (Decimal(0),) * 7


def _added(
    per_byte: Decimal, parts: tuple[int, int, int], rates: _Rates | None, line: Line | None
) -> Sequence[Decimal]:
    """Says what a call adds for each byte of a block of which `parts` were read from a cache,
    written to one, and neither: calls, tokens, those that were read, dollars, time, and whether the
    last two are not known."""
    read, written, new = parts
    size = read + written + new
    usd = first_ns = Decimal(0)
    if rates is not None:
        price = rates.read * read + rates.write * written + rates.uncached * new
        usd = per_byte * price / size
    if line is not None:
        first_ns = Decimal(line.slope_ns)
        if line.unit == "tokens":
            first_ns *= per_byte * (written + new) / size
    return (
        Decimal(1),
        per_byte,
        per_byte * read / size,
        usd,
        first_ns,
        Decimal(rates is None),
        Decimal(line is None),
    )


def _rates(facts: Facts, i: int, call: ModelCall, tokens: Tokens) -> _Rates | None:
    rates = rates_of(call, facts.trace.spans[i].start_ns, facts.prices)
    if rates is None:
        return None
    _, uncached, _, read, write, write_1h, *_ = rates
    long = tokens.cache_write_1h
    if long and tokens.cache_write:
        write = (write * (tokens.cache_write - long) + write_1h * long) / tokens.cache_write
    return _Rates(read, write, uncached)


def first_token_lines(facts: Facts) -> Mapping[str, Line]:
    """Shows by model how the first token follows the prompt, where the calls of the run do."""
    spans = facts.trace.spans
    models = Counter(call.model for call in facts.usage.models if call.model is not None)
    if max(models.values(), default=0) < FEWEST:
        return {}
    sizes = sized_calls(facts.trace, facts.kinds, facts.causes)
    by_model: dict[str, list[Sizes]] = {}
    for i, size in sizes.items():
        call = spans[i].model_call
        if call is not None and call.model is not None:
            by_model.setdefault(call.model, []).append(size)
    fitted = {model: slopes(calls) for model, calls in by_model.items() if len(calls) >= FEWEST}
    return {
        model: one.input for model, one in fitted.items() if one.split and one.input is not None
    }


def _tools(
    trace: Trace, call: int, numbers: Mapping[str, int], results: Sequence[Block]
) -> list[int]:
    """Finds the tool that returned each of `results`, which are new in `call`: by digest, else the
    first result is that of the first tool whose result the call got, if there are as many."""
    if not results:
        return []
    left = [
        numbers[link.span_id]
        for link in trace.spans[call].links
        if link.why == "tool_result" and link.span_id in numbers
    ]
    found = [NO_SPAN] * len(results)
    for n, block in enumerate(results):
        for tool in left:
            told = trace.spans[tool].tool_call
            if told is not None and told.result is not None and told.result.digest == block.digest:
                found[n] = tool
                left.remove(tool)
                break
    if found.count(NO_SPAN) == len(left):
        rest = iter(left)
        found = [next(rest) if tool == NO_SPAN else tool for tool in found]
    return found
