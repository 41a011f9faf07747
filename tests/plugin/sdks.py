"""The SDKs that the matrix runs: one row each, with its ways to call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anthropic
from google.genai import models

from tests.plugin import ways
from tests.plugin.conftest import NATIVE
from tests.plugin.google_genai import ways as google_ways
from tests.support.google_api import GoogleApi
from tests.support.messages_api import MessagesApi

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.plugin.ways import Way

EXPECTED = Path(__file__).parent / "expected"

# The SDK logs this once in a process, so that it would differ between two runs.
for made in (models.Models, models.AsyncModels):
    made._logged_afc_warning = True


@dataclass(frozen=True)
class Sdk:
    """An SDK, and all that the matrix has to know of it."""

    name: str
    version: tuple[int, ...]
    ways: Sequence[Way]
    api: type[MessagesApi]
    """The stand-in of its API."""
    client: Callable[[str, bool, Way, bool], Any]
    """Makes a client of the URL: an asynchronous one perhaps, for the row, with its own spans
    perhaps."""
    native: Sequence[bool] = (False,)
    """Without the SDK's own spans, with them."""
    before: Sequence[tuple[int, int]] = ()
    """The releases before which a row may have spans of its own in what is expected."""
    suffix: str = ""
    leaves_open: bool = False
    """Whether this release itself leaves connections to the collector."""

    def expected(self, native: bool) -> Path:
        return EXPECTED / f"calls{self.suffix}{'-native' if native else ''}.txt"

    def titles(self, name: str) -> list[str]:
        """The sections that may hold what is expected of a row, the nearest first."""
        return [self.title(name, one) for one in self.before if one > self.version] + [name]

    def title(self, name: str, before: tuple[int, int]) -> str:
        return f"{name} (before {'.'.join(map(str, before)).removesuffix('.0')})"

    def all_titles(self, name: str) -> list[str]:
        return [name, *(self.title(name, one) for one in reversed(self.before))]


def _anthropic(url: str, is_async: bool, way: Way, native: bool) -> Any:
    if way.client is not None:
        client = way.client(url, is_async)
    else:
        make = anthropic.AsyncAnthropic if is_async else anthropic.Anthropic
        client = make(base_url=url, api_key="test", max_retries=way.max_retries)
    return client if native or not NATIVE else client.with_options(open_telemetry=False)


def _google(url: str, is_async: bool, way: Way, native: bool) -> Any:
    if way.client is not None:
        return way.client(url, is_async)
    return google_ways.make_client(url, is_async, way.max_retries)


SDKS = (
    Sdk(
        "anthropic",
        ways.VERSION,
        ways.WAYS,
        MessagesApi,
        _anthropic,
        (False, True) if NATIVE else (False,),
        ((1, 0), (2, 0)),
    ),
    Sdk(
        "google-genai",
        google_ways.VERSION,
        google_ways.WAYS,
        GoogleApi,
        _google,
        before=((1, 30), (3, 0)),
        suffix="-google",
        leaves_open=google_ways.VERSION < google_ways.SETTLED,
    ),
)
