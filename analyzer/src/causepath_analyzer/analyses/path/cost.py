"""What a run cost: each call at the list price of its own moment, by the tier that served it.

The table of prices is that of ``genai-prices``; where it is silent `_FACTORS` has a few of ours. It
is imported when a cost is first asked for: that takes a tenth of a second. Contracts are not in
the traces.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from itertools import chain
from operator import mul
from time import time
from typing import TYPE_CHECKING, Final, Literal, get_args

from msgspec import Struct

from causepath_analyzer.analyses.path.usage import cannot_be
from causepath_analyzer.model import NO_TOKENS, ModelCall, Terms, Tokens

if TYPE_CHECKING:
    from genai_prices.types import PriceCalculation

_PROVIDERS: Final[Mapping[str, str]] = {
    "aws.bedrock": "aws",
    "azure.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "azure_ai": "azure",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "mistral_ai": "mistral",
    "x_ai": "x-ai",
    "moonshot_ai": "moonshotai",
    "together.ai": "together",
    "togetherai": "together",
    "fireworks_ai": "fireworks",
    "fireworks.ai": "fireworks",
    "open_router": "openrouter",
    "z_ai": "zai",
    "z.ai": "zai",
    "novita_ai": "novita",
}
"""Values of ``gen_ai.provider.name`` -> ids of the price table, where it does not know them."""

Basis = Literal["exact", "estimated"]
"""``exact``: every count is whole, and the table has a price for how each call was served."""


class Factor(Struct, frozen=True):
    """A multiple of the price of tokens for a way to be served, where the table is silent."""

    provider: str
    term: Literal["batch", "us"]
    factor: Decimal
    since: str


_FACTORS: Final = (
    Factor("azure.ai.openai", "batch", Decimal("0.5"), "2026-11-28"),
    Factor("aws.bedrock", "batch", Decimal("0.5"), "2026-11-28"),
    Factor("anthropic", "us", Decimal("1.1"), "2026-11-28"),
)
"""Known to this project on that day, and not checked since: what rests on them is an estimate."""


class OwnPrices(Struct, frozen=True):
    """Prices of one's own, from a file of this ``name``: for each model the US dollars
    of each of `PARTS`."""

    name: str = ""
    models: Mapping[str, tuple[Decimal, ...]] = {}


TABLE_ONLY: Final = OwnPrices()


class Cost(Struct, frozen=True):
    """The cost of calls.

    ``usd`` is of those whose price is known, ``None`` if none has one; ``share`` is their part of
    all tokens, and ``is_whole`` tells whether they are all of them.
    """

    usd: Decimal | None
    share: float
    is_whole: bool
    estimates: tuple[str, ...] = ()
    said_usd: Decimal | None = None
    compared_usd: Decimal | None = None
    unpriced: tuple[str, ...] = ()
    """The models without a price."""
    said_unpriced_usd: Decimal | None = None
    """What the trace itself says that calls cost which have no price here."""
    own: str = ""
    """The name of the file with the prices of one's own that some calls have."""
    said_in: tuple[str, ...] = ()
    """The other currencies that the trace says costs in, which are compared with nothing."""

    @property
    def basis(self) -> Basis:
        """Tells whether the figure is exact."""
        return "estimated" if self.estimates else "exact"

    @property
    def is_doubtful(self) -> bool:
        """Tells whether the trace says another cost, by more than 1 %."""
        said, ours = self.said_usd, self.compared_usd
        return said is not None and ours is not None and abs(said - ours) * 100 > ours


NO_COST: Final = Cost(None, 0.0, is_whole=False)


def cost_usd(
    calls: Sequence[ModelCall], started_ns: Sequence[int], own: OwnPrices = TABLE_ONLY
) -> Decimal | None:
    """The cost of `calls`, each begun at its of `started_ns`, in US dollars; ``None`` unless the
    price of every one of them is known."""
    cost = cost_of(calls, started_ns, own)
    return cost.usd if cost.is_whole else None


def cost_of(
    calls: Sequence[ModelCall], started_ns: Sequence[int], own: OwnPrices = TABLE_ONLY
) -> Cost:
    """The cost of `calls`, each begun at its of `started_ns`; prices of one's `own` go over those
    of the table.

    A call without a model or without token counts has no known price, and one with counts that
    contradict each other neither.
    """
    missing = priced = unpriced = 0
    said_usd = compared_usd = said_unpriced_usd = None
    said_in = dict.fromkeys(call.said_currency for call in calls if call.said_currency is not None)
    unknown: dict[str, None] = {}
    estimates: dict[str, None] = {}
    # What is priced by the token can be added up before: exact either way, and quicker.
    used: dict[tuple[str, str | None, Terms, int, int], tuple[list[int], tuple[Decimal, ...]]] = {}
    row: tuple[Decimal, ...]
    ours = {model: _own(rates) for model, rates in own.models.items()}
    ours_used = False
    for call, start_ns in zip(calls, started_ns, strict=True):
        tokens = call.tokens
        if tokens is None or tokens == NO_TOKENS:
            missing += 1
            continue
        count = tokens.input + tokens.output
        prices = None
        at_s = 0
        is_dated = True
        if call.model is not None and not cannot_be(call):
            prices = ours.get(call.model)
            if prices is not None:
                ours_used = True
            else:
                prices, at_s, is_dated = _at(call.model, call, start_ns)
        if prices is None or call.model is None:
            unpriced += count
            if not cannot_be(call):
                unknown[call.model or "(no model named)"] = None
            if call.said_usd is not None:
                said_unpriced_usd = (said_unpriced_usd or 0) + call.said_usd
            continue
        priced += count
        level = prices.level(tokens.input)
        key = call.model, call.provider, call.terms, at_s, level
        known = used.get(key)
        if known is None:
            row = prices.rates[level]
            known = used[key] = [0] * len(row), row
            estimates.update(dict.fromkeys(prices.estimates))
            if not is_dated:
                estimates["priced as of today: the trace does not say when"] = None
        parts = _parts(call, tokens)
        sums, row = known
        for part, number in enumerate(parts):
            sums[part] += number
        if call.partial or call.partial_input or not tokens.input:
            estimates["not every token was counted"] = None
        if call.has_audio:
            estimates["sound is priced as text"] = None
        if call.searches and not prices.has_searches:
            estimates["searches of the web have no price here"] = None
        if call.said_usd is not None:
            listed_usd = sum(map(mul, row, parts), Decimal(0))
            said_usd = call.said_usd if said_usd is None else said_usd + call.said_usd
            compared_usd = listed_usd if compared_usd is None else compared_usd + listed_usd
    total = Decimal(0)
    for sums, row in used.values():
        total += sum(map(mul, row, sums), Decimal(0))
    if not priced:
        return Cost(
            None,
            0.0,
            is_whole=False,
            unpriced=tuple(unknown),
            said_unpriced_usd=said_unpriced_usd,
            said_in=tuple(said_in),
        )
    return Cost(
        total,
        priced / (priced + unpriced),
        not (missing or unpriced),
        tuple(estimates),
        said_usd,
        compared_usd,
        tuple(unknown),
        said_unpriced_usd,
        own.name if ours_used else "",
        tuple(said_in),
    )


def rates_of(
    call: ModelCall, start_ns: int, own: OwnPrices = TABLE_ONLY
) -> tuple[Decimal, ...] | None:
    """The US dollars for each of `PARTS` of a `call` begun at `start_ns`, if its price is known."""
    tokens = call.tokens
    if call.model is None or tokens is None or tokens == NO_TOKENS or cannot_be(call):
        return None
    rates = own.models.get(call.model)
    if rates is not None:
        return rates
    prices = _at(call.model, call, start_ns)[0]
    return None if prices is None else prices.rates[prices.level(tokens.input)]


Part = Literal[
    "call",
    "uncached_input",
    "output",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "reasoning",
    "server_tools",
]
PARTS: Final[tuple[Part, ...]] = get_args(Part)
"""What a call is billed for, in the order of `OwnPrices.models`: the call itself, tokens of input
that no cache had, of output without reasoning, read from caches, written to short-lived and to
long-lived ones, of reasoning, and searches of the web."""


def counts_of(call: ModelCall) -> tuple[int, ...]:
    """Counts each of `PARTS` of `call`."""
    return _parts(call, call.tokens or NO_TOKENS)


def _parts(call: ModelCall, tokens: Tokens) -> tuple[int, ...]:
    """Splits what a call is billed for as `PARTS` are."""
    return (
        1,
        tokens.input - tokens.cache_read - tokens.cache_write,
        tokens.output - tokens.reasoning,
        tokens.cache_read,
        tokens.cache_write - tokens.cache_write_1h,
        tokens.cache_write_1h,
        tokens.reasoning,
        call.searches,
    )


def _at(model: str, call: ModelCall, start_ns: int) -> "tuple[_Prices | None, int, bool]":
    """Looks up the prices of a call begun at `start_ns`: with them, since when they hold, in
    seconds, and whether the trace says when that is."""
    moment_s, is_dated = _moment(start_ns)
    at_s = moment_s // _DAY_S * _DAY_S
    prices = _prices(model, call.provider, call.terms, at_s)
    if prices is not None and prices.by_time_of_day:
        at_s = moment_s // _MINUTE_S * _MINUTE_S
        prices = _prices(model, call.provider, call.terms, at_s)
    return prices, at_s, is_dated


_SECOND_NS: Final = 1_000_000_000
_MINUTE_S: Final = 60
_DAY_S: Final = 86_400
_FIRST_NS: Final = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000_000
_LAST_NS: Final = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000_000


def _moment(start_ns: int) -> tuple[int, bool]:
    """Gives the moment whose prices hold, in seconds, and whether the trace says it: for a clock
    that starts at zero it is now."""
    if _FIRST_NS <= start_ns < _LAST_NS:
        return start_ns // _SECOND_NS, True
    return int(time()), False


class _Prices(Struct, frozen=True, gc=False):
    """The prices of calls that are served alike.

    ``rates`` are US dollars for each of `PARTS`; one row per level of input, each of which begins
    above one of ``starts``.
    """

    starts: tuple[int, ...]
    rates: tuple[tuple[Decimal, ...], ...]
    by_time_of_day: bool
    has_searches: bool
    estimates: tuple[str, ...]

    def level(self, count: int) -> int:
        """Finds the row for a call with `count` tokens of input."""
        return sum(count > start for start in self.starts)


def _own(row: tuple[Decimal, ...]) -> _Prices:
    return _Prices((), (row,), by_time_of_day=False, has_searches=row[-1] != 0, estimates=())


@lru_cache(maxsize=4096)
def _prices(model: str, provider: str | None, terms: Terms, at_s: int) -> _Prices | None:
    """Looks a price up; for one call that takes as long as reading 50 spans."""
    from genai_prices.types import TieredPrices, TimeOfDateConstraint

    found = _found(model, provider)
    if found is None:
        return None
    reference, identity = found
    context, factors, estimates = _context(provider, terms)
    at = datetime.fromtimestamp(at_s, UTC)

    def price(**counts: int) -> "PriceCalculation":
        return _listed(reference, identity, at, context, counts)

    whole = price()
    listed = {key: value for key, value in vars(whole.model_price).items() if value is not None}
    if not listed.keys() & {"input_mtok", "output_mtok"}:
        return None  # it is not priced by the token
    if identity is None:
        estimates.append("who served it is not known: priced as by the maker of the model")
    variants = whole.model.price_variants or () if _is_own(whole) else ()
    for term, value in context.items():
        if value in _STANDARD:
            continue
        one = [v for v in variants if v.when == {term: value}]
        if not any(v.constraint is None or v.constraint.active(at) for v in one):
            estimates.append(f"{value} has no price here: priced as standard")
    tiers = [value.tiers for value in listed.values() if isinstance(value, TieredPrices)]
    starts = sorted({tier.start for tier in chain.from_iterable(tiers)})
    factor = Decimal(1)
    for one_factor in factors:
        factor *= one_factor.factor
    base = whole.total_price
    search = price(web_searches=1).total_price - base
    rates = []
    for start in (0, *starts):
        much = start + 1  # the fewest of the level
        input_only = price(input_tokens=much).total_price
        per_token = [
            input_only - base,
            price(input_tokens=much, output_tokens=much).total_price - input_only,
            price(input_tokens=much, cache_read_tokens=much).total_price - base,
            price(input_tokens=much, cache_write_tokens=much).total_price - base,
            price(
                input_tokens=much, cache_write_tokens=much, cache_write_1h_tokens=much
            ).total_price
            - base,
            price(input_tokens=much, output_tokens=much, output_reasoning_tokens=much).total_price
            - input_only,
        ]
        rates.append((base, *(part / much * factor for part in per_token), search))
    dated = whole.model.prices if isinstance(whole.model.prices, list) else []
    return _Prices(
        tuple(starts),
        tuple(rates),
        any(isinstance(one.constraint, TimeOfDateConstraint) for one in dated),
        search != 0,
        tuple(estimates),
    )


_STANDARD: Final = frozenset(("default", "standard"))


def _is_own(found: "PriceCalculation") -> bool:
    """Tells whether the provider has the model itself: tiers of another's are not its own."""
    return any(found.model is model for model in found.provider.models)


def _context(provider: str | None, terms: Terms) -> tuple[dict[str, str], list[Factor], list[str]]:
    """Puts `terms` into the words of the table, and finds what it does not know of them."""
    context: dict[str, str] = {}
    factors: list[Factor] = []
    estimates: list[str] = []
    tier = terms.tier
    if tier is None and terms.asked_tier not in (None, "auto"):
        tier = terms.asked_tier
        estimates.append(f"{tier} was asked for, what served is not said")
    if tier == "batch":
        ours = _factor(provider, "batch")
        if ours is not None:
            factors.append(ours)
        else:
            context["processing"] = "batch"
    elif tier is not None:
        context["service_tier"] = "default" if tier in ("standard", "on_demand") else tier
    if terms.speed is not None:
        context["speed"] = terms.speed
    if terms.geography == "us":
        ours = _factor(provider, "us")
        if ours is not None:
            factors.append(ours)
    estimates += [f"{one.term}: factor {one.factor}, ours of {one.since}" for one in factors]
    return context, factors, estimates


def _factor(provider: str | None, term: str) -> Factor | None:
    found = (one for one in _FACTORS if one.provider == provider and one.term == term)
    return next(found, None)


@lru_cache(maxsize=4096)
def _found(model: str, provider: str | None) -> tuple[str, str | None] | None:
    """Finds `model` in the table: its name there, and its provider's if that is known."""
    from genai_prices.data_snapshot import find_provider_by_id, get_snapshot

    snapshot = get_snapshot()
    said = provider and _PROVIDERS.get(provider, provider)
    known = find_provider_by_id(snapshot.providers, said) if said else None
    tries: list[tuple[str, str | None]] = [(model, None if known is None else known.id)]
    for mark in "/:":
        owner, marked, rest = model.partition(mark)
        if not marked:
            continue
        # A gateway or framework writes who serves before the name; OpenRouter's own names have
        # the maker there.
        before = find_provider_by_id(snapshot.providers, _PROVIDERS.get(owner, owner))
        if before is not None and (known is None or known.id != "openrouter" or before is known):
            tries.append((rest, before.id))
        elif owner == _GOOGLES:
            tries.append((rest, None if known is None else known.id))
    if _BEDROCKS.match(model):
        tries.append((model, "aws"))
    for reference, identity in tries:
        try:
            snapshot.find_provider_model(reference, None, identity, None)
        except LookupError:
            continue
        return reference, identity
    return None


_GOOGLES: Final = "models"
"""Stands before the names of Google's models in its own API."""
_BEDROCKS: Final = re.compile(r"(?:[a-z]{2,6}\.)?(?:anthropic|amazon|meta|mistral|cohere)\.")
"""Begins the names of Bedrock alone, whoever the SDK says that it talks to."""


def _listed(
    model: str,
    identity: str | None,
    at: datetime,
    context: Mapping[str, str],
    counts: Mapping[str, int],
) -> "PriceCalculation":
    from genai_prices import Usage, calc_price

    return calc_price(
        Usage(**counts),
        model,
        provider_id=identity,
        genai_request_timestamp=at,
        price_context=context,
    )


@lru_cache(maxsize=1)
def table_name() -> str:
    """Names the table of prices and the day of its newest price."""
    from genai_prices import __version__
    from genai_prices.data_snapshot import get_snapshot
    from genai_prices.types import StartDateConstraint

    today = datetime.now(UTC).date()
    newest = max(
        one.constraint.start_date
        for provider in get_snapshot().providers
        for model in provider.models
        if isinstance(model.prices, list)
        for one in model.prices
        if isinstance(one.constraint, StartDateConstraint) and one.constraint.start_date <= today
    )
    return f"genai-prices {__version__} (to {newest})"
