"""What SDKs have in common that one generator (Stainless) builds: `anthropic` and `openai`.

Everything an application can do with a model passes a few methods below the public ones. Patching
there leaves the public methods, and the `stacklevel` of their warnings, alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from causepath.providers.messages import Server
from causepath.providers.provider import Seam, Target


def targets(package: str) -> tuple[Target, ...]:
    """The places to patch in every SDK of this kind."""
    client, streaming = f"{package}._base_client", f"{package}._streaming"
    return (
        Target(client, "SyncAPIClient.request", Seam.CALL),
        Target(client, "AsyncAPIClient.request", Seam.CALL, is_async=True),
        Target(client, "BaseClient._build_request", Seam.BODY),
        Target(client, "SyncAPIClient._process_response", Seam.RESPONSE),
        Target(client, "AsyncAPIClient._process_response", Seam.RESPONSE, is_async=True),
        Target(client, "SyncAPIClient._sleep_for_retry", Seam.PAUSE),
        Target(client, "AsyncAPIClient._sleep_for_retry", Seam.PAUSE, is_async=True),
        Target(streaming, "Stream.__stream__", Seam.EVENTS),
        Target(streaming, "AsyncStream.__stream__", Seam.EVENTS, is_async=True),
    )


def call_options(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """From the arguments of `client.request(cast_to, options, *, stream)`, the CALL seam."""
    return kwargs["options"] if "options" in kwargs else args[1]


def body_options(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """From the arguments of `client._build_request(options, *, retries_taken)`, the BODY seam."""
    return kwargs["options"] if "options" in kwargs else args[0]


def body_of(options: Any) -> Mapping[str, Any] | None:
    """The JSON object that a request sends, if it sends one."""
    body = options.json_data
    if type(body) is not dict and not isinstance(body, Mapping):
        return None
    extra = getattr(options, "extra_json", None)
    return {**body, **extra} if extra and isinstance(extra, Mapping) else body


def read_body(args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
    """All that a model call sends."""
    return body_of(call_options(args, kwargs))


def server(client: Any, platform: str | None) -> Server:
    url = client.base_url
    return Server(url.host, url.port or (80 if url.scheme == "http" else 443), platform)


def error_type(error: BaseException, said: object) -> str:
    """The `error.type` of a failed call. `said`: the word that the API has for it, if any."""
    name = type(error).__name__
    if "Timeout" in name:
        return "client_timeout_error"
    if name == "APIConnectionError" or type(error).__module__.startswith("httpx"):
        return "connection_error"
    if isinstance(said, str):
        return said
    status = getattr(error, "status_code", None)
    return str(status) if isinstance(status, int) and status >= 400 else "client_error"
