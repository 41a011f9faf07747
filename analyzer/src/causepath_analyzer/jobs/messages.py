"""What the processes of one command say to each other: structs in msgpack, each with its length.

the command                          a worker
Read(task, parts)              ->
                               <-    WasRead(inputs, trace ids, causes), or NotApart: then it ends
Tell(trace ids)                ->
                               <-    Sides(of each)
Give(trace ids of others)      ->
                               <-    Spans(trace) for each of them
Spans(trace) from others       ->
Build(which traces are one)    ->
                               <-    Shown(orders, loose ends)
Find(span ids)                 ->
                               <-    Holders(trace of each)
Analyse(what all have shown)   ->
                               <-    Rows, until one is empty; or Summed, if asked for sums
"""

from collections.abc import Mapping, Sequence
from typing import BinaryIO, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from causepath_analyzer.analyses.proof.independence import Elsewhere, Orders
from causepath_analyzer.analyses.summary.sums import Sums
from causepath_analyzer.errors import CausepathError, NoTracesError, UnreadableInputError
from causepath_analyzer.jobs.file_parts import Part
from causepath_analyzer.jobs.share import Row, Task
from causepath_analyzer.model import Input, Skipped, Span
from causepath_analyzer.read.tree.joined_traces import Cause, Loose, Side

_LENGTH: Final = 8
_LONGEST: Final = 1 << 40
"""Whatever is longer was not written by `send`."""
_ENCODER: Final = msgspec.msgpack.Encoder()


class Read(Struct, frozen=True, tag=True):
    task: Task
    parts: tuple[Part, ...]


class InputRead(Struct, frozen=True):
    """An `Input`, its problem in words."""

    path: str
    format: str | None
    spans: int
    skipped: tuple[Skipped, ...]
    skipped_total: int
    problem: str | None
    unreadable: bool
    attributes: tuple[str, ...]


class WasRead(Struct, frozen=True, tag=True):
    inputs: tuple[InputRead, ...]
    trace_ids: tuple[str, ...]
    causes: tuple[Cause, ...]


class Tell(Struct, frozen=True, tag=True):
    trace_ids: tuple[str, ...]


class Sides(Struct, frozen=True, tag=True):
    sides: Mapping[str, Side]


class NotApart(Struct, frozen=True, tag=True):
    pass


class Give(Struct, frozen=True, tag=True):
    trace_ids: tuple[str, ...]


class Spans(Struct, frozen=True, tag=True):
    """``spans`` are packed: who only hands them on need not look at them."""

    trace_id: str
    spans: bytes


class Build(Struct, frozen=True, tag=True):
    lead: Mapping[str, str]


class Shown(Struct, frozen=True, tag=True):
    orders: Orders
    loose: Loose


class Find(Struct, frozen=True, tag=True):
    span_ids: frozenset[str]


class Holders(Struct, frozen=True, tag=True):
    traces: Mapping[str, str]


class Analyse(Struct, frozen=True, tag=True):
    others: Elsewhere
    handing: frozenset[str]
    parents: Mapping[str, str]
    in_sums: bool


class Summed(Struct, frozen=True, tag=True):
    """``sums`` are packed: they may be larger than any number of msgpack."""

    sums: bytes


class Rows(Struct, frozen=True, tag=True):
    """``rows`` are packed as well, but for what is written of each, which is in ``json``."""

    rows: bytes
    json: tuple[bytes, ...]


Asked = Read | Tell | Give | Spans | Build | Find | Analyse
Answered = WasRead | Sides | NotApart | Spans | Shown | Holders | Rows | Summed

ASKED: Final = msgspec.msgpack.Decoder(Asked)
ANSWERED: Final = msgspec.msgpack.Decoder(Answered)
_SPANS: Final = msgspec.msgpack.Decoder(list[Span])
_SUMS: Final = msgspec.json.Decoder(Sums)
_ROWS: Final = msgspec.json.Decoder(list[Row])


def send(stream: BinaryIO, message: Asked | Answered) -> None:
    """Raises `OSError` if nobody listens any more."""
    data = _ENCODER.encode(message)
    stream.write(len(data).to_bytes(_LENGTH, "big"))
    stream.write(data)


def received(stream: BinaryIO) -> bytes:
    """The next message. Raises `EOFError` if the other side has ended, or says something else."""
    head = stream.read(_LENGTH)
    length = int.from_bytes(head, "big")
    data = stream.read(length) if len(head) == _LENGTH and length < _LONGEST else b""
    if not data or len(data) < length:
        raise EOFError
    return data


def packed(trace_id: str, spans: list[Span]) -> Spans:
    return Spans(trace_id, _ENCODER.encode(spans))


def unpacked(message: Spans) -> list[Span]:
    return _SPANS.decode(message.spans)


def packed_sums(sums: Sums) -> Summed:
    return Summed(msgspec.json.encode(sums))


def unpacked_sums(message: Summed) -> Sums:
    return _SUMS.decode(message.sums)


def packed_rows(rows: Sequence[Row]) -> Rows:
    bare = [replace(row, json=b"") if row.json else row for row in rows]
    return Rows(msgspec.json.encode(bare), tuple(row.json for row in rows))


def unpacked_rows(message: Rows) -> Sequence[Row]:
    bare = _ROWS.decode(message.rows)
    return [
        replace(row, json=json) if json else row
        for row, json in zip(bare, message.json, strict=True)
    ]


def input_read(entry: Input) -> InputRead:
    return InputRead(
        entry.path,
        entry.format,
        entry.spans,
        entry.skipped,
        entry.skipped_total,
        None if entry.problem is None else str(entry.problem),
        isinstance(entry.problem, UnreadableInputError),
        entry.attributes,
    )


def input_of(entry: InputRead) -> Input:
    kind = UnreadableInputError if entry.unreadable else NoTracesError
    problem: CausepathError | None = None if entry.problem is None else kind(entry.problem)
    return Input(
        entry.path,
        entry.format,
        entry.spans,
        entry.skipped,
        entry.skipped_total,
        problem,
        attributes=entry.attributes,
    )
