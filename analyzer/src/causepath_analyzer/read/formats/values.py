"""Values as JSON exports write them: times in many spellings, ids, maps of attributes, records.

Readers of vendors' exports share these. Every record of a list is decoded by itself, so that a
wrong type in one costs that one; attribute values nobody asks for stay raw bytes.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

import msgspec
from msgspec import Raw

from causepath_analyzer import attributes as names
from causepath_analyzer.model import Skipped
from causepath_analyzer.read.meaning.normalise import whole

Number = int | str | float | None
Id = str | int | None
Attributes = dict[str, object]
T = TypeVar("T")

DAMAGED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding bytes of others can raise. `msgspec.ValidationError` is one of the first."""

ABSENT: Final = Raw(b"")
"""The default of a field that is kept raw."""

_SCALAR: Final = msgspec.json.Decoder(str | int | float | bool | list[str] | None)
_MAP: Final = msgspec.json.Decoder(dict[str, Raw] | None)
_TEXT: Final = msgspec.json.Decoder(str)
_DOCUMENT: Final = msgspec.json.Decoder(dict[str, Raw] | list[Raw])
_LIST: Final = msgspec.json.Decoder(list[Raw])
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_FRACTION: Final = re.compile(r"\.(\d+)")
_SECOND: Final = 1_000_000_000

# Numbers say their unit by their size: the same instant in s, ms, us and ns. All hold from 1973
# to 5138, in which no two of them overlap.
_UNITS: Final = ((10**17, 1), (10**14, 1_000), (10**11, 1_000_000), (10**8, _SECOND))


def time_ns(value: object) -> int | None:
    """The instant `value` in ns since the epoch: ISO text (UTC if it does not say) or a number."""
    if isinstance(value, str) and not value.isdigit():
        return _iso_ns(value)
    if isinstance(value, float):
        unit = next((unit for least, unit in _UNITS if value >= least), None)
        if unit is None or not value < 10**20:
            return None
        return int(value) * unit + round(value % 1 * unit)
    number = whole(value)
    if number is None or number < 0:
        return None
    unit = next((unit for least, unit in _UNITS if number >= least), 1)
    return number * unit


def _iso_ns(text: str) -> int | None:
    if len(text) > 64:
        return None
    fraction = _FRACTION.search(text)
    try:
        # Nine digits count here, of which a `datetime` keeps six.
        moment = datetime.fromisoformat(_FRACTION.sub("", text) if fraction else text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        since_ns = (moment - _EPOCH) // _MICROSECOND * 1_000
    except (ValueError, OverflowError):
        return None
    return since_ns + (int(fraction[1][:9].ljust(9, "0")) if fraction else 0)


def hex_id(value: Id, digits: int) -> str:
    """An id as text; Python programs also write it as a number. Empty if it is neither."""
    if isinstance(value, int):
        return f"{value:0{digits}x}" if 0 < value < 1 << 4 * digits else ""
    return value or ""


def attributes(
    values: Mapping[str, Raw] | None, wanted: frozenset[str] = names.UNDERSTOOD
) -> Attributes:
    """The decoded values of those of `values` that are in `wanted`."""
    found: Attributes = {}
    for name, raw in (values or {}).items():
        if name in wanted:
            try:
                found[name] = _SCALAR.decode(raw)
            except DAMAGED:
                continue
    return found


def noted(events: Iterable[tuple[str | None, int | None]]) -> Attributes:
    """Reads from events, as names and times in ns, what no attribute says: the first token."""
    times = [at for name, at in events if name in names.FIRST_TOKEN_EVENTS and at is not None]
    return {names.FIRST_TOKEN_NS: min(times)} if times else {}


def taken_text(understood: Attributes, among: Sequence[str]) -> str | None:
    """Takes `among` out of `understood`; the first of them that is a text and not empty."""
    found = [understood.pop(name, None) for name in among]
    return next((value for value in found if isinstance(value, str) and value), None)


def present(raw: Raw) -> bool:
    """Tells whether the field was there and not null."""
    return bool(raw) and bytes(raw) != b"null"


def content(raw: Raw) -> str | None:
    """Recorded content as the text it is, or as JSON text; ``None`` if there is none."""
    if not present(raw):
        return None
    try:
        return _TEXT.decode(raw) if bytes(memoryview(raw)[:1]) == b'"' else bytes(raw).decode()
    except DAMAGED:
        return None


def mapping(raw: Raw | None) -> dict[str, Raw]:
    """The JSON object in `raw`, or in the JSON text in `raw`; empty if it is neither."""
    if not raw:
        return {}
    try:
        data: bytes | Raw | str = raw
        if bytes(memoryview(raw)[:1]) == b'"':
            data = _TEXT.decode(raw)
        return _MAP.decode(data) or {}
    except DAMAGED:
        return {}


def records(raw: Raw | None) -> list[Raw]:
    """The items of the JSON list in `raw`; none if it is no list."""
    if not raw:
        return []
    try:
        return _LIST.decode(raw)
    except DAMAGED:
        return []


def listed(document: bytes, under: str) -> list[Raw] | None:
    """The records of `document`: its items, the items of its field `under`, or it alone.

    ``None`` if it is neither a list nor an object. Raises `msgspec.DecodeError` if it is no JSON.
    """
    try:
        found = _DOCUMENT.decode(document)
    except (msgspec.ValidationError, RecursionError):
        return None
    if isinstance(found, list):
        return found
    inner = found.get(under)
    return records(inner) if inner and present(inner) else [Raw(document)]


def decoded(
    raws: Iterable[Raw], decoder: "msgspec.json.Decoder[T]", where: str, what: str
) -> Iterator[T | Skipped]:
    """Every one of `raws` by itself; for the damaged ones what is wrong with them."""
    for raw in raws:
        one = _one(raw, decoder, where, what)
        yield one


def _one(raw: Raw, decoder: "msgspec.json.Decoder[T]", where: str, what: str) -> T | Skipped:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Skipped(where, f"{what} that cannot be read: {error}")
    except RecursionError:
        return Skipped(where, f"{what} nested too deeply")
