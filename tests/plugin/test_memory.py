"""What is held of a call: without a collector, no longer than the SDK and the application do."""

from __future__ import annotations

import contextlib
import gc
import weakref
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from opentelemetry.sdk.trace import TracerProvider

from causepath.calls.model_call import ModelCall
from tests.plugin.ways import ASK, HELLO
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording, set_global_provider

if TYPE_CHECKING:
    from collections.abc import Iterator


def create(client: Any) -> None:
    client.messages.create(**ASK)


def read(client: Any) -> None:
    list(client.messages.create(**ASK, stream=True))


def left(client: Any) -> None:
    next(client.messages.create(**ASK, stream=True))


def closed(client: Any) -> None:
    stream = client.messages.create(**ASK, stream=True)
    next(stream)
    stream.close()


def helper(client: Any) -> None:
    with client.messages.stream(**ASK) as stream:
        list(stream)


def helper_text(client: Any) -> None:
    with client.messages.stream(**ASK) as stream:
        list(stream.text_stream)


def helper_final(client: Any) -> None:
    with client.messages.stream(**ASK) as stream:
        stream.get_final_message()


def helper_left(client: Any) -> None:
    with client.messages.stream(**ASK) as stream:
        next(stream)


def beta_helper(client: Any) -> None:
    with client.beta.messages.stream(**ASK) as stream:
        list(stream)


def raw(client: Any) -> None:
    client.messages.with_raw_response.create(**ASK).parse()


def raw_stream(client: Any) -> None:
    list(client.messages.with_raw_response.create(**ASK, stream=True).parse())


def streamed(client: Any) -> None:
    with client.messages.with_streaming_response.create(**ASK) as response:
        response.parse()


def forwarded(client: Any) -> None:
    with client.messages.with_streaming_response.create(**ASK, stream=True) as response:
        list(response.iter_bytes())


def forwarded_left(client: Any) -> None:
    with client.messages.with_streaming_response.create(**ASK, stream=True) as response:
        next(response.iter_bytes(10))


def refused(client: Any) -> None:
    with contextlib.suppress(anthropic.APIError):
        client.messages.create(**{**ASK, "model": 3})


WAYS = (
    create,
    read,
    left,
    closed,
    helper,
    helper_text,
    helper_final,
    helper_left,
    beta_helper,
    raw,
    raw_stream,
    streamed,
    forwarded,
    forwarded_left,
    refused,
)


@pytest.fixture
def _without_a_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def sdk_objects() -> list[str]:
    """What of the SDK is alive that has to do with a reply."""
    names = (type(one).__name__ for one in gc.get_objects() if is_of_the_sdk(one))
    return sorted(name for name in names if "Stream" in name or "Response" in name)


def is_of_the_sdk(one: object) -> bool:
    return str(type(one).__module__).startswith(("anthropic", "httpx"))


@pytest.mark.usefixtures("_without_a_collector")
@pytest.mark.parametrize("way", WAYS, ids=[way.__name__ for way in WAYS])
def test_no_call_outlives_what_the_sdk_holds(way: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[weakref.ref[ModelCall]] = []
    made = ModelCall.__init__

    def remembered(self: ModelCall, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        calls.append(weakref.ref(self))

    monkeypatch.setattr(ModelCall, "__init__", remembered)
    alive = []
    for enabled in (False, True):
        with (
            MessagesApi(HELLO) as api,
            Recording() if enabled else contextlib.nullcontext(),
            anthropic.Anthropic(base_url=api.url, api_key="test", max_retries=0) as client,
        ):
            if not enabled:
                set_global_provider(TracerProvider(shutdown_on_exit=False))
            create(client)  # which makes what is made once
            gc.collect()
            calls.clear()
            way(client)
            alive.append(sdk_objects())
            held = [call for call in calls if call() is not None]
        set_global_provider(None)
        gc.collect()
    assert alive[0] == alive[1]
    assert len(calls) == 1
    # The SDK's own helper is a circle, which holds the response, and that the call.
    assert held == [] or "Response" in alive[0]
