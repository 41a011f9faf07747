"""A row for each span, as CSV or Parquet: for spreadsheets, data frames and SQL."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal

from msgspec import Struct

from causepath_analyzer.analyses.run import Run
from causepath_analyzer.analyses.span_rows import SpanRow, span_rows
from causepath_analyzer.errors import UsageError
from causepath_analyzer.model import ModelCall, Tokens, ToolCall

Type = Literal["text", "int", "bool"]
Cell = str | int | bool | None


class Column(Struct, frozen=True):
    """``of(row)`` is the cell, ``None`` where nobody said."""

    name: str
    type: Type
    of: Callable[[SpanRow], Cell]


_NO_CALL: Final = ModelCall()
_NO_TOOL: Final = ToolCall()


def _call(row: SpanRow) -> ModelCall:
    return row.span.model_call or _NO_CALL


def _tool(row: SpanRow) -> ToolCall:
    return row.span.tool_call or _NO_TOOL


def _tokens(count: Callable[[Tokens], int]) -> Callable[[SpanRow], int | None]:
    """The cell with `count` of a row's tokens."""

    def cell(row: SpanRow) -> int | None:
        tokens = _call(row).tokens
        return None if tokens is None else count(tokens)

    return cell


COLUMNS: Final = (
    Column("trace_id", "text", lambda r: r.span.trace_id),
    Column("span_id", "text", lambda r: r.span.span_id),
    Column("parent_id", "text", lambda r: r.parent_id or None),
    Column("depth", "int", lambda r: r.depth),
    Column("name", "text", lambda r: r.span.name),
    Column("category", "text", lambda r: r.span.category),
    Column("service", "text", lambda r: r.span.service),
    Column("start_ns", "int", lambda r: r.span.start_ns),
    Column("end_ns", "int", lambda r: r.span.ended_ns),
    Column("duration_ns", "int", lambda r: r.span.duration_ns),
    Column("own_ns", "int", lambda r: r.own_ns),
    Column("on_path", "bool", lambda r: r.on_path),
    Column("path_ns", "int", lambda r: r.path_ns),
    Column("kind", "text", lambda r: r.kind),
    Column("edge", "text", lambda r: r.sections[0].edge if r.sections else None),
    Column("model", "text", lambda r: _call(r).model),
    Column("provider", "text", lambda r: _call(r).provider),
    Column("input_tokens", "int", _tokens(lambda t: t.input)),
    Column("output_tokens", "int", _tokens(lambda t: t.output)),
    Column("cache_read_tokens", "int", _tokens(lambda t: t.cache_read)),
    Column("cache_write_tokens", "int", _tokens(lambda t: t.cache_write)),
    Column("reasoning_tokens", "int", _tokens(lambda t: t.reasoning)),
    Column("ttft_ns", "int", lambda r: _call(r).ttft_ns),
    Column("tool", "text", lambda r: _tool(r).name),
    Column("call_id", "text", lambda r: _tool(r).call_id),
    Column("error", "text", lambda r: r.span.error),
    Column("session", "text", lambda r: r.span.session),
    Column("findings", "text", lambda r: ",".join(r.codes) or None),
    Column("where", "text", lambda r: r.span.where),
)


def as_csv(runs: Iterable[Run]) -> bytes:
    """The rows of `runs` under a line of names; what is not known is empty."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in COLUMNS])
    for run in runs:
        for row in span_rows(run):
            writer.writerow([_plain(column.of(row)) for column in COLUMNS])
    return text.getvalue().encode("utf-8", "replace")


def _plain(cell: Cell) -> str | int:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return "" if cell is None else cell


def as_parquet(runs: Iterable[Run]) -> bytes:
    """The same with types. Raises `UsageError` if pyarrow is not installed."""
    try:
        import pyarrow  # an extra, and slow to import
        from pyarrow import parquet
    except ImportError:
        raise UsageError(
            "parquet needs pyarrow: pip install 'causepath-analyzer[parquet]', or use --to csv"
        ) from None
    types: Mapping[Type, object] = {
        "text": pyarrow.string(),
        "int": pyarrow.int64(),
        "bool": pyarrow.bool_(),
    }
    told = [row for run in runs for row in span_rows(run)]
    schema = pyarrow.schema([(column.name, types[column.type]) for column in COLUMNS])
    cells = {column.name: [_encodable(column.of(row)) for row in told] for column in COLUMNS}
    out = io.BytesIO()
    parquet.write_table(pyarrow.table(cells, schema=schema), out)
    return out.getvalue()


def _encodable(cell: Cell) -> Cell:
    """Text that was cut in the middle of a character has no UTF-8."""
    return cell.encode("utf-8", "replace").decode() if isinstance(cell, str) else cell
