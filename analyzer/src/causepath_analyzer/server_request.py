"""What to ask a server for, and how to talk to it. Light: `http_client` takes 20 ms to import."""

from typing import Final

from msgspec import Struct

HEADERS_VARIABLE: Final = "CAUSEPATH_HEADERS"
"""Headers for servers, as in ``OTEL_EXPORTER_OTLP_HEADERS``: ``name=value,name=value``."""
DEFAULT_LIMIT: Final = 200


class Connection(Struct, frozen=True):
    """The way to talk to servers. ``timeout_s`` bounds every answer as a whole."""

    timeout_s: float = 30.0
    headers: tuple[tuple[str, str], ...] = ()
    ca_file: str | None = None
    insecure: bool = False


class Wanted(Struct, frozen=True):
    """The traces that a server is asked for. ``since_ns`` is an instant; ``None`` means
    unlimited."""

    service: str | None = None
    since_ns: int | None = None
    limit: int | None = None
    connection: Connection = Connection()


def is_address(path: str) -> bool:
    """Tells whether `path` names a server and not a file."""
    return path[:8].lower().startswith(("http://", "https://"))
