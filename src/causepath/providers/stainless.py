"""What SDKs have in common that one generator (Stainless) builds: `anthropic` and `openai`.

Everything an application can do with a model passes a few methods below the public ones. Patching
there leaves the public methods, and the `stacklevel` of their warnings, alone.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from causepath.providers.messages import Server
from causepath.providers.provider import Seam, Target

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

READER = "causepath.call"
"""The extension of a response that holds who observes it."""

FINAL_ERRORS = frozenset(
    {
        "authentication_error",
        "billing_error",
        "invalid_request_error",
        "not_found_error",
        "permission_error",
        "request_too_large",
    }
)
"""The words of both APIs for what the same request fails with again."""


def targets(package: str) -> tuple[Target, ...]:
    """The places to patch in every SDK of this kind."""
    client, streaming = f"{package}._base_client", f"{package}._streaming"
    found = [
        Target(client, "BaseClient._build_request", Seam.BODY, extensions=_extensions),
    ]
    for prefix, is_async in (("Sync", False), ("Async", True)):
        api, stream = f"{prefix}APIClient", "AsyncStream" if is_async else "Stream"
        found += [
            Target(client, f"{api}.request", Seam.CALL, is_async),
            Target(client, f"{api}._process_response", Seam.RESPONSE, is_async, _response),
            Target(
                client,
                f"{api}._sleep_for_retry",
                Seam.PAUSE,
                is_async,
                _response,
                given_up=_given_up,
            ),
            Target(streaming, f"{stream}.__stream__", Seam.EVENTS, is_async, _response_of_stream),
        ]
    return tuple(found)


class HttpxResponse:
    """A response of `httpx` or `httpx2`."""

    __slots__ = ("_response",)

    bytes_tell = True

    def __init__(self, response: Any) -> None:
        self._response = response

    @property
    def status(self) -> int:
        return int(self._response.status_code)

    @property
    def headers(self) -> Mapping[str, str]:
        headers: Mapping[str, str] = self._response.headers
        return headers

    @property
    def is_read(self) -> bool:
        return bool(self._response.is_closed)

    def content(self) -> bytes:
        content: bytes = self._response.content
        return content

    @property
    def reader(self) -> object:
        return self._response.extensions.get(READER)

    def observe(self, reader: object, observed: Callable[[Any, Any], object]) -> None:
        self._response.extensions[READER] = reader
        self._response.stream = observed(self._response.stream, reader)


def _response(
    args: tuple[Any, ...],  # noqa: ARG001
    kwargs: dict[str, Any],
    result: Any,  # noqa: ARG001
) -> HttpxResponse | None:
    """The response that is processed, or after which there is a pause, if there was one."""
    response = kwargs.get("response")
    return None if response is None else HttpxResponse(response)


def _given_up(
    args: tuple[Any, ...], kwargs: dict[str, Any], error: BaseException | None
) -> Exception | None:
    """Makes the error that the SDK raises for a failure that it does not try again after."""
    client, response = args[0], kwargs.get("response")
    package: Any = sys.modules[
        args[0]._make_status_error_from_response.__func__.__module__.partition(".")[0]
    ]
    if isinstance(error, Exception) and isinstance(error, package.APIError):
        return error
    if response is not None:
        failed: Exception = client._make_status_error_from_response(response)
        return failed
    kind = "APITimeoutError" if "Timeout" in type(error).__name__ else "APIConnectionError"
    made: Exception = getattr(package, kind)(request=getattr(error, "request", None))
    made.__cause__ = error
    return made


def _response_of_stream(
    args: tuple[Any, ...],
    kwargs: dict[str, Any],  # noqa: ARG001
    result: Any,  # noqa: ARG001
) -> HttpxResponse | None:
    response = getattr(args[0], "response", None)
    return None if response is None else HttpxResponse(response)


def _extensions(request: Any) -> MutableMapping[str, Any]:
    extensions: MutableMapping[str, Any] = request.extensions
    return extensions


def call_options(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Reads the arguments of `client.request(cast_to, options, *, stream)`, the CALL seam."""
    return kwargs["options"] if "options" in kwargs else args[1]


def body_options(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Reads the arguments of `client._build_request(options, *, retries_taken)`, the BODY seam."""
    return kwargs["options"] if "options" in kwargs else args[0]


def body_of(options: Any) -> Mapping[str, Any] | None:
    """The JSON object that a request sends, if it sends one."""
    body = options.json_data
    if type(body) is not dict and not isinstance(body, Mapping):
        return None
    extra = getattr(options, "extra_json", None)
    return {**body, **extra} if extra and isinstance(extra, Mapping) else body


def with_field(
    args: tuple[Any, ...], kwargs: dict[str, Any], name: str, value: object
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The same arguments of the CALL seam, such that the request also sends this field."""
    options = call_options(args, kwargs)
    extra = {**(getattr(options, "extra_json", None) or {}), name: value}
    options = options.model_copy(update={"extra_json": extra})
    if "options" in kwargs:
        return args, {**kwargs, "options": options}
    return (args[0], options, *args[2:]), kwargs


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
    status = read_status(error)
    return str(status) if status is not None and status >= 400 else "client_error"


def read_status(error: BaseException) -> int | None:
    """The status code that a call failed with."""
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) else None
