"""Streamed replies: the one sync/async pair for their events; `reply_body` has the one for bodies.

Events tell what the reply is, while the application reads them. The body tells when the reply is
over, however that comes about: read to its end, closed, broken, or dropped and collected.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Protocol

from causepath.guard import harmless, report
from causepath.providers.provider import ALIKE, CONTENT

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator

    from causepath.replies.stream_pace import Pacing


class Reader(Protocol):
    """A listener to events. No method raises, but `look`; `closed` may be called more than once."""

    @property
    def pace(self) -> Pacing:
        """Gives what is told the times of each event by the code that fetches it."""

    @property
    def look(self) -> Callable[[Any], int]:
        """Gives what sees each event, and says what it is, as `Provider.look_at_event` does."""

    @property
    def refusal(self) -> Callable[[], BaseException | None] | None:
        """Gives what is asked at each event for an error that the application is to get in its
        place, if anything is."""

    def told(self, event: Any, what: int) -> None:
        """An event that is more than a piece of the answer, or no piece of it."""

    def reading(self) -> Callable[[bytes], None] | None:
        """The body is about to be read: who looks at its bytes, if nobody parses them."""

    def exhausted(self) -> None:
        """All events have come."""

    def left(self, error: BaseException) -> None:
        """Notes that nothing fetches events any more, because of this error."""

    def closed(self, error: BaseException | None = None) -> None:
        """Notes that nothing more comes."""


def observed_events(
    events: Iterator[Any], find_reader: Callable[[], Reader | None]
) -> Iterator[Any]:
    """The same events, each shown to the reader, if any, before the application gets it.

    What is done for each event stands here and in its twin, as this happens thousands of times.
    """
    found = _found(find_reader)
    if found is None:
        yield from events
        return
    reader, look, pace, refusal = found
    note, alike, refused = pace.note, None, None
    note(perf_counter_ns())
    try:
        for event in events:
            note(perf_counter_ns())
            if type(event) is not alike:
                try:
                    what = look(event)
                    alike = None if what == CONTENT else _told(reader, event, what)
                except Exception:
                    report(__name__)
            if refusal is not None:
                refused = refusal()
                if refused is not None:
                    raise refused
            yield event
            note(perf_counter_ns())
    except BaseException as error:
        _left(reader, pace, error)
        if refused is not None:
            _close(events)
        raise
    pace.was_left()
    reader.exhausted()


async def observed_async_events(
    events: AsyncGenerator[Any], find_reader: Callable[[], Reader | None]
) -> AsyncIterator[Any]:
    """The same events, each shown to the reader, if any, before the application gets it.

    It does not close `events` where it is closed itself: who does that is an event loop at its end
    or after a collection, which knows of `events` and closes them, too, as it does without us.
    """
    found = _found(find_reader)
    if found is None:
        async for event in events:
            yield event
        return
    reader, look, pace, refusal = found
    note, alike, refused = pace.note, None, None
    note(perf_counter_ns())
    try:
        async for event in events:
            note(perf_counter_ns())
            if type(event) is not alike:
                try:
                    what = look(event)
                    alike = None if what == CONTENT else _told(reader, event, what)
                except Exception:
                    report(__name__)
            if refusal is not None:
                refused = refusal()
                if refused is not None:
                    raise refused
            yield event
            note(perf_counter_ns())
    except BaseException as error:
        _left(reader, pace, error)
        if refused is not None:
            try:
                await events.aclose()
            except Exception:
                report(__name__)
        raise
    pace.was_left()
    reader.exhausted()


@harmless(None)
def _found(
    find_reader: Callable[[], Reader | None],
) -> tuple[Reader, Callable[[Any], int], Pacing, Callable[[], BaseException | None] | None] | None:
    """Gives the reader, what sees each event, what is told when it came, and what may refuse it."""
    reader = find_reader()
    return None if reader is None else (reader, reader.look, reader.pace, reader.refusal)


@harmless(None)
def _close(events: Any) -> None:
    """Closes events that nobody fetches any more, and the response with them."""
    events.close()


def _told(reader: Reader, event: Any, what: int) -> type | None:
    """Gives the class of what need not be looked at, if there is one now."""
    if what == CONTENT | ALIKE:
        return type(event)
    reader.told(event, what)
    return None


def _left(reader: Reader, pace: Pacing, error: BaseException) -> None:
    """Notes that nothing fetches events any more."""
    pace.was_left()
    reader.left(error)
