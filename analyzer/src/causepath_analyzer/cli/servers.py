"""The options of commands that may read from a server instead of a file."""

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Annotated, Final
from urllib.parse import unquote

from cyclopts import Group, Parameter

from causepath_analyzer.errors import UsageError
from causepath_analyzer.server_request import (
    DEFAULT_LIMIT,
    HEADERS_VARIABLE,
    Connection,
    Wanted,
    is_address,
)

CA_FILE_VARIABLE: Final = "CAUSEPATH_CERTIFICATE"
TIMEOUT_VARIABLE: Final = "CAUSEPATH_TIMEOUT"
_TIMEOUT: Final = "30s"
_GROUP: Final = Group("Reading from a server")
_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(s|m|min|h|d|w)?", re.IGNORECASE)
_SECONDS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@Parameter(name="*", group=_GROUP)
@dataclass(frozen=True)
class Server:
    """The options for asking a server, and for the connection to it."""

    service: Annotated[
        str | None,
        Parameter(metavar="NAME", help="Traces of this service; needed if there are several."),
    ] = None
    since: Annotated[
        str | None,
        Parameter(
            metavar="AGO",
            help="Runs that began since then: 30m, 2d, 2026-11-21T08:00; of files as well. "
            "Default 1h of a server.",
        ),
    ] = None
    limit: Annotated[
        int | None,
        Parameter(metavar="N", help=f"At most N traces. Default {DEFAULT_LIMIT}."),
    ] = None
    header: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            metavar="TEXT",
            help='Sent along, like "Authorization: Bearer TOKEN"; again for more. Environment, '
            f"where secrets are safer: {HEADERS_VARIABLE}, written name=value,name=value.",
        ),
    ] = None
    timeout: Annotated[
        str | None,
        Parameter(
            metavar="TIME",
            help=f"For each answer. Default {_TIMEOUT}. Environment: {TIMEOUT_VARIABLE}.",
        ),
    ] = None
    ca_file: Annotated[
        str | None,
        Parameter(
            metavar="FILE",
            help=f"Certificates (PEM) of authorities to trust. Environment: {CA_FILE_VARIABLE}.",
        ),
    ] = None
    insecure: Annotated[
        bool,
        Parameter(negative="", show_default=False, help="Trust any certificate."),
    ] = False


NO_SERVER: Final = Server()


def wanted(server: Server, paths: Sequence[str]) -> Wanted:
    """Combines what `server` and the environment say. Raises `UsageError` if no path is an
    address."""
    given = [
        field.name
        for field in fields(server)
        if getattr(server, field.name) and field.name != "since"
    ]
    if given and not any(map(is_address, paths)):
        raise UsageError(
            f"--{given[0].replace('_', '-')} is for servers, and {paths[0]} is none: "
            "their addresses begin with http:// or https://"
        )
    if server.limit is not None and server.limit < 1:
        raise UsageError(f"--limit {server.limit}: ask for one trace or more")
    return Wanted(
        service=server.service,
        since_ns=None if server.since is None else instant_ns("--since", server.since),
        limit=server.limit,
        connection=connection(server),
    )


def connection(server: Server) -> Connection:
    """Reads the options of the connection. Raises `UsageError` for what is not understood."""
    return Connection(
        timeout_s=_timeout_s(server.timeout),
        headers=(*headers_in(HEADERS_VARIABLE), *map(_header, server.header or ())),
        ca_file=server.ca_file or os.environ.get(CA_FILE_VARIABLE) or None,
        insecure=server.insecure,
    )


def as_typed(server: Server) -> tuple[str, ...]:
    """The options that say which traces, to be shown in a command; never the headers."""
    told = (("--service", server.service), ("--since", server.since), ("--limit", server.limit))
    return tuple(word for name, value in told if value is not None for word in (name, str(value)))


def instant_ns(flag: str, text: str) -> int:
    """Reads a time, or how long ago it was. Raises `UsageError`, which names `flag`, for others."""
    span = _DURATION.fullmatch(text.strip())
    if span is not None and span[2]:
        return time.time_ns() - int(float(span[1]) * _SECONDS[span[2].lower()] * 1e9)
    try:
        then = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(
            f"{flag} {text}: no time; write it like 1h, 30m, 2d or 2026-11-21T08:00"
        ) from None
    # As everywhere in a terminal, a time without a zone is the user's own.
    return int(
        (then if then.tzinfo is not None else then.astimezone()).astimezone(UTC).timestamp() * 1e9
    )


def _timeout_s(flag: str | None) -> float:
    where, text = "--timeout", flag
    if text is None:
        where, text = TIMEOUT_VARIABLE, os.environ.get(TIMEOUT_VARIABLE) or _TIMEOUT
    span = _DURATION.fullmatch(text.strip())
    seconds = float(span[1]) * _SECONDS[(span[2] or "s").lower()] if span is not None else 0.0
    if not 0 < seconds < 86400:
        raise UsageError(f"{where} {text}: no time to wait; write it like 10s or 2m")
    return seconds


def headers_in(variable: str) -> list[tuple[str, str]]:
    """The headers in `variable`, names and values percent-encoded where needed."""
    found = []
    for entry in os.environ.get(variable, "").split(","):
        if entry.strip():
            name, equals, value = entry.partition("=")
            found.append(_checked(unquote(name).strip(), unquote(value).strip(), equals, variable))
    return found


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    return _checked(name.strip(), value.strip(), colon, "--header")


def _checked(name: str, value: str, mark: str, where: str) -> tuple[str, str]:
    """The header. A message never shows its value, which may be a secret."""
    if not mark or _NAME.fullmatch(name) is None:
        how = "name=value" if where.isupper() else '"Authorization: Bearer TOKEN"'
        raise UsageError(f"{where}: no header; write it like {how}")
    if not value.isprintable() or not value.isascii():
        raise UsageError(f"{where}: the value of {name} has characters that no header can have")
    return name, value
