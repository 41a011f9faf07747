"""Every test leaves no trace: nothing patched, registered or started, and the guard is silent."""

from __future__ import annotations

import functools
import os
import ssl
from typing import TYPE_CHECKING

import anthropic
import pytest
from opentelemetry import context, trace

import causepath
from causepath import guard
from tests.support.left_behind import left_behind, state
from tests.support.recording import Recording, set_global_provider
from tests.support.traced_programs import CONFIGURES

if TYPE_CHECKING:
    from collections.abc import Iterator

# Nobody speaks TLS, though every client wants to be able to, which took longer than most tests.
ssl.create_default_context = functools.cache(ssl.create_default_context)

NATIVE = tuple(map(int, anthropic.__version__.split(".")[:2])) >= (1, 14)
"""Whether this release of the SDK writes spans of its own."""


@pytest.fixture(autouse=True)
def _leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith(CONFIGURES):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CAUSEPATH_DIGEST_KEY", "tests")
    guard._reported.clear()
    before = state()
    yield
    causepath.uninstrument()
    set_global_provider(None)
    assert guard._reported == set(), "a fault of ours was hidden from the application"
    assert not trace.get_current_span().get_span_context().is_valid
    assert context.get_current() == {}
    assert left_behind() == []
    assert state() == before


@pytest.fixture
def recording() -> Iterator[Recording]:
    with Recording() as found:
        yield found
