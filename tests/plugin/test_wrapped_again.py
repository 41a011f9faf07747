"""Others may wrap an SDK after us: turned off, we are gone all the same."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import anthropic
import pytest
import wrapt

from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording, set_global_provider
from tests.support.script import Reply, Usage

HELLO = Reply("Hello.", usage=Usage(3, 2))


ASK: Any = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "?"}]}


async def ask_later(client: Any) -> None:
    async with client:
        await client.messages.create(**ASK)


def around(wrapped: Any, seen: list[str]) -> Any:
    def request(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append("theirs")
        return wrapped(self, *args, **kwargs)

    return request


@pytest.mark.parametrize(
    "kind", [anthropic.Anthropic, anthropic.AsyncAnthropic], ids=lambda kind: kind.__name__
)
def test_who_has_wrapped_an_sdk_after_us_gets_straight_through_once_we_are_off(kind: Any) -> None:
    owner = next(base for base in kind.__mro__ if "request" in vars(base))
    original = vars(owner)["request"]
    seen: list[str] = []
    with MessagesApi(HELLO) as api, pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, "request", original)  # to be put back in the end
        for _ in range(5):
            with Recording() as recording:
                owner.request = around(vars(owner)["request"], seen)
        set_global_provider(recording.provider)
        if kind is anthropic.Anthropic:
            with kind(base_url=api.url, api_key="test") as client:
                client.messages.create(**ASK)
        else:
            asyncio.run(ask_later(kind(base_url=api.url, api_key="test")))
        scopes = {
            s.instrumentation_scope and s.instrumentation_scope.name for s in recording.spans()
        }
        assert "causepath" not in scopes
        assert seen == ["theirs"] * 5
    assert vars(owner)["request"] is original


def test_who_has_wrapped_a_method_before_us_is_told_whose_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As the instrumentations of OpenTelemetry do: without the thread they fail, and no thread
    starts."""
    seen: list[object] = []

    def theirs(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        seen.append(instance)
        return wrapped(*args, **kwargs)

    sync = next(base for base in anthropic.Anthropic.__mro__ if "request" in vars(base))
    asynchronous = next(b for b in anthropic.AsyncAnthropic.__mro__ if "request" in vars(b))
    places = [(threading.Thread, "start"), (sync, "request"), (asynchronous, "request")]
    with MessagesApi(HELLO) as api:
        for owner, name in places:
            wrapper = wrapt.FunctionWrapper(vars(owner)[name], theirs)
            monkeypatch.setattr(owner, name, wrapper)
        thread = threading.Thread(target=list)
        client = anthropic.Anthropic(base_url=api.url, api_key="test")
        client_later = anthropic.AsyncAnthropic(base_url=api.url, api_key="test")
        with Recording() as recording, client:
            seen.clear()  # exporters have threads too
            thread.start()
            thread.join()
            client.messages.create(**ASK)
            asyncio.run(ask_later(client_later))
            calls = [s.name for s in recording.spans() if s.name == "chat m"]
        ours = [thread, client, client_later]
        assert [it for it in seen if it in ours] == ours
        assert calls == ["chat m"] * 2
    assert type(vars(threading.Thread)["start"]) is wrapt.FunctionWrapper


@pytest.mark.parametrize("times", [1, 2])
def test_who_has_wrapped_an_inherited_method_before_us_does_not_go_past_us(
    times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As OpenInference does: the client's class has a method of its own from then on."""
    seen: list[str] = []

    def theirs(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        seen.append(type(instance).__name__)
        return wrapped(*args, **kwargs)

    inherited = anthropic.Anthropic.request
    around: Any = inherited
    for _ in range(times):
        around = wrapt.FunctionWrapper(around, theirs)
    monkeypatch.setattr(anthropic.Anthropic, "request", around, raising=False)
    with MessagesApi(HELLO) as api, anthropic.Anthropic(base_url=api.url, api_key="test") as client:
        for _ in range(2):
            with Recording() as recording:
                client.messages.create(**ASK)
            assert [s.name for s in recording.spans()].count("chat m") == 1
            assert recording.text().startswith("invoke_agent")
        before = len(recording.spans())
        set_global_provider(recording.provider)
        client.messages.create(**ASK)
        later = [s.instrumentation_scope for s in recording.spans()[before:]]
    assert seen == ["Anthropic"] * 3 * times
    inner = around if times == 1 else around.__wrapped__
    assert inner.__wrapped__ is inherited
    assert "causepath" not in {scope.name for scope in later if scope is not None}
