"""Every way to call: the application sees what it sees without us, and the spans are as expected.

Each row of `ways.py` runs without the plugin and with it, for both kinds of clients, with the SDK's
own spans and without them, against each supported release of the SDK. What the application sees is
compared between the two runs; all that is written of it with `expected/calls.txt`, or with
`expected/calls-native.txt` where the SDK writes spans too. To write these anew and look at the
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

import anthropic
import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.trace import TracerProvider

from tests.plugin.conftest import NATIVE
from tests.plugin.ways import VERSION, WAYS, W, Way, failure
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording, set_global_provider, whole_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

EXPECTED = Path(__file__).parent / "expected"
WRITE = "WRITE_EXPECTED" in os.environ

ROWS = [
    pytest.param(way, kind, native, id=f"{way.name}-{kind}-{'native' if native else 'ours'}")
    for way in WAYS
    for kind in ("sync", "async")
    for native in ((False, True) if NATIVE else (False,))
    if way.since <= VERSION and way.only in (None, kind)
]


class Logged(logging.Handler):
    """What is logged above debug by anybody, but for the servers and clients of HTTP."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(("httpx", "httpcore", "asyncio")):
            self.lines.append(re.sub(r"\d+\.\d+", "~", f"{record.name}: {record.getMessage()}"))


def run(way: Way, kind: str, native: bool, api: MessagesApi) -> Any:
    """One run of the row: what the application saw of it, a value or an exception."""
    is_async = kind == "async"
    if way.client is not None:
        client = way.client(api.url, is_async)
    else:
        make = anthropic.AsyncAnthropic if is_async else anthropic.Anthropic
        client = make(base_url=api.url, api_key="test", max_retries=way.max_retries)
    if NATIVE and not native:
        client = client.with_options(open_telemetry=False)
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
                await client.close()

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
                client.close()
    finally:
        logging.getLogger().removeHandler(logged)
        logging.getLogger().setLevel(level)
    return {
        "saw": saw,
        "warned": [
            (one.category.__name__, str(one.message), Path(one.filename).name, one.lineno)
            for one in warned
            if not issubclass(one.category, ResourceWarning)
        ],
        "logged": logged.lines,
        "asked": [
            (one.method, one.path, one.query, sent_headers(one.headers, api), one.body)
            for one in api.requests
        ],
    }


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


@pytest.mark.parametrize(("way", "kind", "native"), ROWS)
def test_the_application_sees_no_difference_and_the_spans_are_as_expected(
    way: Way, kind: str, native: bool
) -> None:
    set_global_provider(TracerProvider(shutdown_on_exit=False))
    with MessagesApi(way.answers) as api:
        plain = run(way, kind, native, api)
    set_global_provider(None)
    with MessagesApi(way.answers) as api, Recording() as recording:
        traced = run(way, kind, native, api)
        recording.text()  # ends what goes on
        found = "\n".join(whole_lines(recording.spans()))
    assert traced == plain
    expected = EXPECTED / ("calls-native.txt" if native else "calls.txt")
    if WRITE:
        write(expected, way.name, found)
    assert found.splitlines() == expected_of(way.name, dict(read(expected))).splitlines()


def titles(name: str) -> list[str]:
    """The sections that may hold what is expected of a row for this release, the nearest first."""
    return [f"{name} (before {major})" for major in (1, 2) if (major, 0) > VERSION] + [name]


def expected_of(name: str, sections: dict[str, str]) -> str:
    return next((sections[title] for title in titles(name) if title in sections), "")


def read(path: Path) -> Iterator[tuple[str, str]]:
    """The name of each row, and its spans."""
    for section in path.read_text().split("\n## ")[1:] if path.exists() else ():
        name, _, text = section.partition("\n")
        yield name, text.strip("\n")


def write(path: Path, name: str, found: str) -> None:
    """The section of one row anew; one of its own where an older release differs."""
    sections = dict(read(path))
    own, *_ = titles(name)
    sections.pop(own, None)
    if expected_of(name, sections) != found:
        sections[own] = found
    order = [f"{way.name}{which}" for way in WAYS for which in ("", " (before 2)", " (before 1)")]
    parts = [f"\n## {title}\n{sections[title]}\n" for title in order if title in sections]
    path.parent.mkdir(exist_ok=True)
    path.write_text("# The spans of each row of ways.py; see test_matrix.py\n" + "".join(parts))
