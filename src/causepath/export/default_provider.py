"""A tracer provider of our own, where nobody has set one up: as `OTEL_*` says, else to a file."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from causepath.code.notebooks import notebook_name
from causepath.guard import harmless, log, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.trace import TracerProvider

    from causepath.config import Config
    from causepath.export.delivery import Delivery

FILE_DELAY_SECONDS = 0.5
"""How long spans wait for company before they are written to the file."""

EXPORTER_VARIABLES = (
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
)


PROGRAM_ID = "causepath.program.id"
"""The attribute of the resource that says which start of a program wrote a trace."""


class SetUp(NamedTuple):
    """A set-up of our own."""

    provider: TracerProvider
    deliveries: tuple[Delivery, ...]


def default_provider(config: Config) -> SetUp | str:
    """Make a tracer provider as the environment describes it, or writing to the file of `config`.

    Gives the reason, which is said on standard error as well, where that cannot be.
    """
    try:
        made = _default_provider(config)
    except Exception as error:
        log.debug("no set-up could be made", exc_info=True)
        made = f"no spans are written, as OpenTelemetry cannot be set up: {error or type(error)}"
    if isinstance(made, str):
        say(made)
    return made


def _default_provider(config: Config) -> SetUp | str:
    try:
        from causepath.export.delivery import Delivery
        from causepath.export.provider_stand_in import StandIn
    except ImportError:
        return (
            "no spans are written: the OpenTelemetry SDK is not installed; type: "
            "pip install 'causepath[auto]'"
        )
    if any(os.environ.get(name) for name in EXPORTER_VARIABLES):
        deliveries = [
            Delivery(exporter, destination, say)
            for destination, exporter in exporters_of_environment()
        ]
    else:
        from causepath.export.trace_file import TraceFile

        file = TraceFile(config.file, private=config.content is not None)
        deliveries = [
            Delivery(file, str(config.file), say, file=file, delay_seconds=FILE_DELAY_SECONDS)
        ]
    provider = StandIn(resource=resource(config.program_id), shutdown_on_exit=False)
    for delivery in deliveries:
        provider.add_span_processor(delivery)
    return SetUp(provider, tuple(deliveries))


@harmless(None)
def prepare() -> None:
    """Import what a set-up of our own takes, while a model SDK is imported, which takes longer:
    the first call of a process, perhaps in an event loop, is not held up by it then."""
    try:
        from causepath.export import delivery, provider_stand_in  # noqa: F401

        if not any(os.environ.get(name) for name in EXPORTER_VARIABLES):
            from causepath.export import trace_file  # noqa: F401
    except ImportError:
        return  # which is said once there is something to write
    import concurrent.futures.thread  # noqa: F401 - with which the SDK looks for resources


def resource(program_id: str | None) -> Resource:
    """Give what the SDK knows of this process; a service that nobody named has the program's
    name."""
    from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource

    try:
        found = Resource.create()
    except RuntimeError:
        # It asks with threads of a pool, which cannot begin once the main thread has ended, while
        # others go on.
        told = OTELResourceDetector().detect()
        found = Resource({SERVICE_NAME: "unknown_service"}).merge(told)
    more = {}
    if str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        more[SERVICE_NAME] = notebook_name() or program_name(sys.argv)
    if program_id:
        more[PROGRAM_ID] = program_id
    return found.merge(Resource(more)) if more else found


def program_name(arguments: Sequence[str]) -> str:
    """`agent` of `agent.py` and of `python -m agent`, else `python`."""
    folder, name = os.path.split(os.path.splitext(arguments[0])[0] if arguments else "")  # noqa: PTH122
    name = os.path.basename(folder) if name == "__main__" else name  # noqa: PTH119
    return "python" if name in ("", "-", "-c", "-m") else name


def destinations(config: Config) -> list[str]:
    """List where spans go where nobody has set up OpenTelemetry, for messages."""
    if any(os.environ.get(name) for name in EXPORTER_VARIABLES):
        return [destination for _, destination in _wanted_exporters()]
    return [config.file_name]


def exporters_of_environment() -> Iterator[tuple[str, Any]]:
    """The exporters that `OTEL_TRACES_EXPORTER` names, OTLP where it names none.

    Each with where it sends to, for messages.
    """
    from importlib.metadata import entry_points

    for wanted, destination in _wanted_exporters():
        found = list(entry_points(group="opentelemetry_traces_exporter", name=wanted))
        if found:
            yield destination, found[0].load()()
        else:
            say(f"no spans are sent: the exporter {wanted!r} is not installed{_extra(wanted)}")


def _wanted_exporters() -> Iterator[tuple[str, str]]:
    """Names the exporters that the environment asks for, each with where it sends to."""
    for name in os.environ.get("OTEL_TRACES_EXPORTER", "otlp").split(","):
        wanted = destination = name.strip()
        if wanted == "otlp":
            protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get(
                "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"
            )
            wanted = "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"
            destination = otlp_endpoint(protocol)
        if wanted not in ("", "none"):
            yield wanted, destination


def _extra(exporter: str) -> str:
    """Say what brings an exporter, where we know it."""
    if exporter == "otlp_proto_http":
        return "; type: pip install 'causepath[otlp]'"
    if exporter == "otlp_proto_grpc":
        return "; type: pip install opentelemetry-exporter-otlp-proto-grpc"
    return ", or OTEL_TRACES_EXPORTER misspells it"


def otlp_endpoint(protocol: str) -> str:
    """Returns where OTLP goes, without a password that may be in the address."""
    usual = "http://localhost:4317" if protocol == "grpc" else "http://localhost:4318"
    address = (
        os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
        or usual
    )
    scheme, separator, rest = address.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
