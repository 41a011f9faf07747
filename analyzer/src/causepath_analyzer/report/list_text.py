"""Runs as a list: a line for each."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct
from rich.text import Text

from causepath_analyzer.analyses.path.status import Status
from causepath_analyzer.analyses.summary.brief import Brief
from causepath_analyzer.analyses.summary.summary import id_length
from causepath_analyzer.model import Input
from causepath_analyzer.report.formatting import (
    duration,
    fitted,
    harmless,
    moment,
    money,
    short_id,
)
from causepath_analyzer.report.inputs_json import InputJson, inputs_json
from causepath_analyzer.report.json import written
from causepath_analyzer.report.run_text import status_words
from causepath_analyzer.report.waterfall import Marks

SCHEMA: Final = "causepath.list/1"
_BESIDE: Final = 36
"""Columns of everything but the name, the cost and the id."""
_COST: Final = 9


def list_text(briefs: Sequence[Brief], marks: Marks) -> list[Text]:
    """Writes a line for each of `briefs`, as wide as there is room."""
    length = id_length([one.trace_id for one in briefs])
    has_dates = any(moment(one.start_ns) for one in briefs)
    costs = [_cost(one) for one in briefs]
    wide = max(_COST, *map(len, costs)) if costs else _COST
    beside = _BESIDE + wide + (21 if has_dates else 0)
    room = max(8, min(60, marks.width - beside - length + 10))
    time = f"{'began':<21}" if has_dates else ""
    title = f"{time}{fitted('run', room)} {'wall':>8} {'cost':>{wide}}  {'status':<12}trace"
    return [
        Text(title, style="title"),
        *(
            _row(one, f"{cost:>{wide}}", room, length, marks, dated=has_dates)
            for one, cost in zip(briefs, costs, strict=True)
        ),
    ]


def _cost(one: Brief) -> str:
    """Writes what is known of the cost; ">=" says that the run cost more than that."""
    if not one.priced_usd:
        return ""
    return f"{'>=' if one.is_lower_bound else ''}{money(one.priced_usd)}"


def _row(one: Brief, cost: str, room: int, length: int, marks: Marks, *, dated: bool) -> Text:
    name = harmless(one.name.removeprefix("invoke_agent "), ascii_only=marks.ascii_only)
    line = Text(f"{moment(one.start_ns):<21}" if dated else "", style="note")
    line.append(
        f"{fitted(name or '(unnamed)', room)} {duration(one.wall_ns):>8} {cost}  ", style="plain"
    )
    words = status_words(one.ending)
    line.append(f"{words:<12}", style="good" if one.ending.status == "ok" else "bad")
    line.append(short_id(one.trace_id, length), style="plain")
    return line


class _Run(Struct):
    trace_id: str
    name: str
    start_ns: int
    wall_ns: int
    cost_usd: str | None
    status: Status
    error: str | None
    model_calls: int
    at_least: bool
    """The run used more than was counted, or more than what has a price."""


class _List(Struct):
    schema: str
    inputs: list[InputJson]
    runs: list[_Run]


def list_json(inputs: Sequence[Input], briefs: Sequence[Brief]) -> bytes:
    """Writes the list in schema `SCHEMA`. Fields may be added, not changed."""
    told = _List(
        SCHEMA,
        inputs_json(inputs),
        [
            _Run(
                one.trace_id,
                one.name,
                one.start_ns,
                one.wall_ns,
                None if one.cost_usd is None else f"{one.cost_usd:f}",
                one.ending.status,
                one.ending.error,
                one.model_calls,
                one.is_lower_bound,
            )
            for one in briefs
        ],
    )
    return written(told)
