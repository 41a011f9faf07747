"""``causepath export PATHS --to FORMAT``: the analysis in the formats of other programs."""

import sys
from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
from cyclopts import Parameter
from msgspec import Struct

from causepath_analyzer.analyses.proof.independence import NOWHERE, elsewhere
from causepath_analyzer.analyses.run import Run, explained
from causepath_analyzer.cli.finding_options import (
    EVERY_FINDING,
    ConfigOption,
    FindingOptions,
    wanted_limits,
    wanted_rules,
)
from causepath_analyzer.cli.inputs import Json, read_picked
from causepath_analyzer.cli.output import complain, write
from causepath_analyzer.cli.prices import PricesOption
from causepath_analyzer.cli.servers import Server, connection
from causepath_analyzer.cli.source import EVERYTHING, PathArgument, Source
from causepath_analyzer.errors import UsageError
from causepath_analyzer.export.folded import Weight, folded
from causepath_analyzer.export.perfetto import perfetto
from causepath_analyzer.export.speedscope import speedscope
from causepath_analyzer.export.table import as_csv, as_parquet
from causepath_analyzer.prices_file import own_prices
from causepath_analyzer.report.formatting import count, harmless
from causepath_analyzer.server_request import is_address

SCHEMA: Final = "causepath.export/1"

Target = Literal["jaeger", "otlp", "perfetto", "speedscope", "folded", "csv", "parquet"]
_MOST_BYTES_AT_ONCE: Final = 4 << 20
"""Receivers refuse requests that are too large: the collector above 20 MB."""


class Exported(Struct, frozen=True):
    """The outcome of an export. ``anew`` spans were written from what was understood of them."""

    schema: str
    to: Target
    target: str
    traces: int
    spans: int
    anew: int = 0
    copy: bool = False
    services: tuple[str, ...] = ()
    rejected: int = 0
    message: str = ""


def export(
    *paths: PathArgument,
    to: Annotated[Target, Parameter(metavar="FORMAT", help="What to write.")],
    output: Annotated[
        str | None,
        Parameter(
            name=["--output", "-o"],
            metavar="FILE|URL",
            help="Where to; else standard output. For jaeger and otlp also a receiver of OTLP "
            "over HTTP; for jaeger else http://localhost:14318, where our stack has it.",
        ),
    ] = None,
    copy: Annotated[
        bool | None,
        Parameter(
            negative="--no-copy",
            help="jaeger, otlp: copies to look at, with new ids, short names, and the kind of work "
            "as service. Default for jaeger, which shows a span twice that it has already.",
        ),
    ] = None,
    weight: Annotated[
        Weight,
        Parameter(help="folded: weigh by time on the critical path, or by own time."),
    ] = "path",
    json: Json = False,
    source: Source = EVERYTHING,
    findings: FindingOptions = EVERY_FINDING,
    config: ConfigOption = None,
    prices: PricesOption = None,
) -> int:
    """Write traces with their critical path for other programs.

    `jaeger` and `otlp` are the spans with the tags `causepath.critical_path`, `causepath.path_ns`
    and more; `perfetto` (ui.perfetto.dev) and `speedscope` are timelines, `folded` is for flame
    graphs of the critical path, `csv` and `parquet` have a row for each span.

    `causepath export traces.jsonl --to jaeger`

    `causepath export http://localhost:16686/trace/ID --to perfetto -o run.json`

    `causepath export traces/ --to folded | inferno-flamegraph > path.svg`
    """
    _check(paths, to, output, copy, weight, source.server, json=json)
    rules = wanted_rules(findings, config)
    limits = wanted_limits(config)
    own = own_prices(prices)
    kept: list[tuple[str | None, bytes]] = []
    wire = to in ("jaeger", "otlp")
    keep = (lambda name, data: kept.append((name, data))) if wire else None
    # How to talk to servers may also be said for the one that is written to.
    written_to = (output or "http://",) if _is_sent(to, output) else ()
    reading = read_picked(paths, source, keep, written_to, own)
    others = elsewhere(reading.traces) if rules else NOWHERE
    runs = [
        explained(t, with_cost=wire, others=others, rules=rules, prices=own, limits=limits)
        for t in reading.traces
    ]
    if wire:
        done = _otlp(
            runs,
            kept,
            to,
            output,
            copy=to == "jaeger" if copy is None else copy,
            server=source.server,
        )
    else:
        write(_written(to, runs, weight), output)
        spans = sum(len(run.trace.spans) for run in runs)
        done = Exported(SCHEMA, to, output or "-", len(runs), spans)
    if json:
        write(msgspec.json.format(msgspec.json.encode(done), indent=1) + b"\n", None)
    elif done.target != "-":
        print("\n".join(harmless(line) for line in _told(done)))
    if done.rejected or done.message:
        complain(f"{done.target}: rejected {count(done.rejected, 'span')}: {done.message}")
    if done.anew:
        complain(
            f"{count(done.anew, 'span')} in formats other than OTLP and Jaeger: written from what "
            "was understood; other attributes and long texts are left out"
        )
    return reading.status


def _is_sent(to: Target, output: str | None) -> bool:
    """Tells whether the spans go to a server and not into a file."""
    return to == "jaeger" if output is None else is_address(output)


def _check(
    paths: Sequence[str],
    to: Target,
    output: str | None,
    copy: bool | None,
    weight: Weight,
    server: Server,
    *,
    json: bool,
) -> None:
    """Raises `UsageError` for what cannot be together."""
    wire = to in ("jaeger", "otlp")
    if copy is not None and not wire:
        raise UsageError(f"--copy is for jaeger and otlp, not for {to}")
    sent = _is_sent(to, output)
    if sent and not wire:
        raise UsageError(f"{output}: {to} is a file: name it with -o FILE")
    if sent and server.header and not any(map(is_address, paths)):
        raise UsageError(
            "--header goes to where traces are read from; for where they are sent to set "
            "OTEL_EXPORTER_OTLP_HEADERS"
        )
    for path in paths:
        if is_address(path) and path.rstrip("/").endswith((":4318", "/v1/traces")):
            raise UsageError(f"{path} takes traces and gives none: to send there, write -o {path}")
    to_stdout = output is None and not sent
    if to != "folded" and weight != "path":
        raise UsageError(f"--weight is for folded, not for {to}")
    if to_stdout and json:
        raise UsageError("--json tells what was written to a file: name it with -o FILE")
    if to_stdout and to == "parquet" and sys.stdout.isatty():
        raise UsageError("parquet is no text for a terminal: name a file with -o FILE")


def _otlp(
    runs: Sequence[Run],
    kept: Sequence[tuple[str | None, bytes]],
    to: Target,
    output: str | None,
    *,
    copy: bool,
    server: Server,
) -> Exported:
    # Protobuf takes a tenth of a second to import, which other commands need not wait for.
    from causepath_analyzer.cli.receiver import endpoint, send
    from causepath_analyzer.export.otlp import lines, marked, requests
    from causepath_analyzer.read.formats.originals import CARRIED, originals

    carried = (batch for name, data in kept if name in CARRIED for batch in originals(name, data))
    found = marked(runs, carried, copy=copy)
    services = tuple(sorted(found.services))
    done = Exported(SCHEMA, to, output or "-", len(runs), found.spans, found.anew, copy, services)
    if _is_sent(to, output):
        sent = send(
            requests(found.batches, _MOST_BYTES_AT_ONCE), endpoint(output), connection(server)
        )
        return msgspec.structs.replace(
            done, target=sent.endpoint, rejected=sent.rejected, message=sent.message
        )
    write(b"".join(msgspec.json.encode(line) + b"\n" for line in lines(found.batches)), output)
    return done


def _written(to: Target, runs: Sequence[Run], weight: Weight) -> bytes:
    match to:
        case "perfetto":
            return perfetto(runs)
        case "speedscope":
            return speedscope(runs)
        case "folded":
            return folded(runs, weight)
        case "parquet":
            return as_parquet(runs)
        case _:
            return as_csv(runs)


def _told(done: Exported) -> list[str]:
    """Says what a person is told, with what to look for."""
    sent = is_address(done.target)
    what = f"{count(done.spans, 'span')} of {count(done.traces, 'trace')}"
    told = [f"{what} {'sent' if sent else 'written'} to {done.target}"]
    if done.copy:
        named = f'service "{done.services[0]}", ' if done.services else ""
        told.append(f"copies with new ids: {named}tag causepath.critical_path=true")
    return told
