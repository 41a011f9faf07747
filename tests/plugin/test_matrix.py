"""Every way to call: the application sees what it sees without us, and the spans are as expected.

Each way of each row of `sdks.py` runs without the plugin and with it, for both kinds of clients,
with the SDK's own spans and without them, against each supported release of the SDK. What the
application sees is
compared between the two runs; all that is written of it with `expected/calls*.txt`, or with
`expected/calls*-native.txt` where the SDK writes spans too. To write these anew and look at the
difference: `WRITE_EXPECTED=1 python -m pytest tests/plugin/test_matrix.py`, newest release first.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.trace import TracerProvider

from tests.plugin.sdks import SDKS, Sdk
from tests.plugin.ways import W, Way, failure
from tests.support.recording import Recording, set_global_provider, whole_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.messages_api import MessagesApi

WRITE = "WRITE_EXPECTED" in os.environ

UNCLOSED = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)

ROWS = [
    pytest.param(
        sdk,
        way,
        kind,
        native,
        id=f"{sdk.name}-{way.name}-{kind}-{'native' if native else 'ours'}",
        marks=[UNCLOSED] if sdk.leaves_open else [],
    )
    for sdk in SDKS
    for way in sdk.ways
    for kind in ("sync", "async")
    for native in sdk.native
    if way.since <= sdk.version and way.only in (None, kind)
]


class Logged(logging.Handler):
    """What is logged above debug by anybody, but for the servers and clients of HTTP."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(("httpx", "httpcore", "asyncio")):
            self.lines.append(re.sub(r"\d+\.\d+", "~", f"{record.name}: {record.getMessage()}"))


def run(sdk: Sdk, way: Way, kind: str, native: bool, api: MessagesApi) -> Any:
    """One run of the row: what the application saw of it, a value or an exception."""
    is_async = kind == "async"
    client = sdk.client(api.url, is_async, way, native)
    close = getattr(client, "close", None) or getattr(client, "aclose", None) or (lambda: None)
    w = W(client, api, is_async)
    does = way.does_async if is_async and way.does_async is not None else way.does

    async def main() -> Any:
        try:
            return await w.of(does(w))
        except Exception as error:
            return failure(error)
        finally:
            assert not trace.get_current_span().get_span_context().is_valid
            assert context.get_current() == {}
            if is_async:
                await w.of(close())

    logged = Logged()
    logging.getLogger().addHandler(logged)
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.INFO)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            if is_async:
                saw = asyncio.run(main())
            else:
                saw = driven(main())
                close()
    finally:
        logging.getLogger().removeHandler(logged)
        logging.getLogger().setLevel(level)
    asked = [
        (one.method, one.path, one.query, sent_headers(one.headers, api), one.body)
        for one in api.requests
    ]
    return {
        "saw": saw,
        "warned": [
            (one.category.__name__, str(one.message), Path(one.filename).name, one.lineno)
            for one in warned
            if not issubclass(one.category, ResourceWarning)
        ],
        "logged": logged.lines,
        "asked": in_any_order(asked) if way.at_once else asked,
    }


def in_any_order(asked: list[Any]) -> list[Any]:
    """Sorts what several calls ask for, whose requests arrive as they come."""
    return sorted(asked, key=str)


def driven(coroutine: Any) -> Any:
    """The result of a coroutine that never waits: of a synchronous client, without a loop."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("a synchronous run has waited")


def sent_headers(headers: Any, api: MessagesApi) -> dict[str, str]:
    # The ids are other ones each time; which headers there are is not.
    ours = {"host": "~", "idempotency-key": "~", "x-stainless-idempotency-key": "~"}
    return {
        name: ours.get(name, re.sub(r"[0-9a-f]{16,}", "~", value))
        for name, value in headers.items()
        if name != "x-stainless-helper-id"
    }


@pytest.mark.parametrize(("sdk", "way", "kind", "native"), ROWS)
def test_the_application_sees_no_difference_and_the_spans_are_as_expected(
    sdk: Sdk, way: Way, kind: str, native: bool
) -> None:
    set_global_provider(TracerProvider(shutdown_on_exit=False))
    with sdk.api(way.answers) as api:
        plain = run(sdk, way, kind, native, api)
    set_global_provider(None)
    with sdk.api(way.answers) as api, Recording() as recording:
        traced = run(sdk, way, kind, native, api)
        recording.text()  # ends what goes on
        found = "\n".join(whole_lines(recording.spans()))
    assert traced == plain
    expected = sdk.expected(native)
    if WRITE:
        write(sdk, expected, way.name, found)
    assert found.splitlines() == expected_of(sdk, way.name, dict(read(expected))).splitlines()


def expected_of(sdk: Sdk, name: str, sections: dict[str, str]) -> str:
    return next((sections[title] for title in sdk.titles(name) if title in sections), "")


def read(path: Path) -> Iterator[tuple[str, str]]:
    """The name of each row, and its spans."""
    for section in path.read_text().split("\n## ")[1:] if path.exists() else ():
        name, _, text = section.partition("\n")
        yield name, text.strip("\n")


def write(sdk: Sdk, path: Path, name: str, found: str) -> None:
    """The section of one row anew; one of its own where an older release differs."""
    sections = dict(read(path))
    own, *_ = sdk.titles(name)
    sections.pop(own, None)
    if expected_of(sdk, name, sections) != found:
        sections[own] = found
    order = [title for way in sdk.ways for title in sdk.all_titles(way.name)]
    parts = [f"\n## {title}\n{sections[title]}\n" for title in order if title in sections]
    path.parent.mkdir(exist_ok=True)
    path.write_text("# The spans of each row of ways.py; see test_matrix.py\n" + "".join(parts))
