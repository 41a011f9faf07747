"""What ``causepath doctor`` says, for the terminal and as JSON of a versioned schema."""

import textwrap
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct
from rich.text import Text

from causepath_analyzer.analyses.diagnosis import Check, Diagnosis, Emitter, Status
from causepath_analyzer.model import Input
from causepath_analyzer.report.formatting import count, fitted, harmless, percent, tail_of_path
from causepath_analyzer.report.inputs_json import InputJson, inputs_json

SCHEMA: Final = "causepath.doctor/1"
_EMITTERS: Final = 12
_STYLES: Final[dict[Status, str]] = {"ok": "good", "note": "title", "bad": "bad"}


def doctor_text(inputs: Sequence[Input], found: Diagnosis) -> list[Text]:
    """The lines of the diagnosis of the traces in `inputs`."""
    head = f"{count(found.traces, 'trace')}, {count(found.spans, 'span')}"
    lines = [Text(f"{head} from {count(len(inputs), 'file')}", style="title")]
    lines += [_input(entry) for entry in inputs[:_EMITTERS]]
    if len(inputs) > _EMITTERS:
        lines.append(Text(f"  and {len(inputs) - _EMITTERS:,} more, see --json"))
    lines += [Text(), *_emitters(found.emitters), Text()]
    told = [check for check in found.checks if check.status != "ok"]
    if not told:
        lines.append(Text("Nothing is missing, doubled or unreadable.", style="good"))
    for check in told:
        lines += _check(check)
    fine = len(found.checks) - len(told)
    if told and fine:
        lines.append(Text(f"{fine} other checks found nothing.", style="note"))
    return lines


def _input(entry: Input) -> Text:
    what = entry.format or "not read"
    facts = f"{what:<16}{count(entry.spans, 'span'):>16}"
    path = tail_of_path(harmless(entry.path), 78 - len(facts) - 2)
    return Text(f"  {fitted(path, 78 - len(facts))}{facts}")


def _emitters(emitters: Sequence[Emitter]) -> list[Text]:
    title = f"{'Written by':<44}{'version':<12}{'spans':>8}{'models':>8}{'tools':>8}"
    lines = [Text(title, style="title")]
    for row in emitters[:_EMITTERS]:
        name = fitted(f"  {harmless(row.scope or '(not said)')}", 43)
        version = fitted(harmless(row.version or ""), 11)
        lines.append(Text(f"{name} {version} {row.spans:>8,}{row.model_calls:>8,}{row.tools:>8,}"))
    if len(emitters) > _EMITTERS:
        lines.append(Text(f"  and {len(emitters) - _EMITTERS:,} more, see --json"))
    return lines


def _check(check: Check) -> list[Text]:
    of = f" of {check.of:,} ({percent(check.count / check.of)})" if check.of > check.count else ""
    line = Text(f"{check.status:<5}", style=_STYLES[check.status])
    line.append(f"{check.what}: {check.count:,}{of}", style="plain")
    advice = textwrap.wrap(check.advice, 75)
    return [line, *(Text(f"     {part}", style="note") for part in advice)]


class _Doctor(Struct):
    schema: str
    inputs: list[InputJson]
    traces: int
    spans: int
    emitters: Sequence[Emitter]
    checks: Sequence[Check]


def doctor_json(inputs: Sequence[Input], found: Diagnosis) -> bytes:
    """The diagnosis in schema `SCHEMA`. Fields may be added, not changed."""
    report = _Doctor(
        schema=SCHEMA,
        inputs=inputs_json(inputs),
        traces=found.traces,
        spans=found.spans,
        emitters=found.emitters,
        checks=found.checks,
    )
    return msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"
