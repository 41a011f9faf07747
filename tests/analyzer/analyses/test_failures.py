"""CP502 and CP504: errors inside results that were repeated, calls that timed out; and others."""

from decimal import Decimal

import pytest

from causepath_analyzer.analyses.findings.rule import UNKNOWN
from tests.support.drawn import MS, drawn, found_in, without_texts

UNIT = 100 * MS
FAILED = "got=Error:_no_such_page"
TWICE = """
    agent run       |---------------------------------|
      llm one        |--|
      tool fetch         |-----|                         id=1 given=x {one}
      llm two                  |--|
      tool fetch                  |------|               id=2 given={given} {two}
      llm three                          |----|
"""


BETWEEN = """
    agent run       |-----------------------------------------|
      tool fetch     |-----|                                     id=1 given=x {failed}
      {between}             |---|                     given=y got=a_page
      llm two                    |--|
      tool fetch                     |------|                    id=2 given=x {failed}
      llm three                              |----|
"""


@pytest.mark.parametrize(
    ("between", "expected"),
    [
        ("tool get_page   ", 1),
        ("tool search_page", 1),
        ("tool write_page ", 0),  # it may have written what was not found
        ("tool do_it      ", 0),  # nobody knows
        ("human approve   ", 0),
        ("wait queue      ", 0),
    ],
)
def test_what_came_between_may_have_mended_it(between: str, expected: int) -> None:
    trace = drawn(BETWEEN.format(between=between, failed=FAILED), unit_ns=UNIT)
    assert len(found_in(trace, "CP502")) == expected


def twice(one: str = FAILED, two: str = FAILED, given: str = "x") -> str:
    return TWICE.format(one=one, two=two, given=given)


@pytest.mark.parametrize("texts", [True, False], ids=["contents on", "contents off"])
@pytest.mark.parametrize(
    ("drawing", "expected"),
    [
        (twice(), [("do not repeat fetch: it failed twice", 6)]),
        (twice(two='got={"error":"not_found"}'), [("do not repeat fetch: it failed twice", 6)]),
        # They look like it and are none:
        (twice(two="got=a_page_with_many_words"), []),  # it succeeded in the end
        (twice(given="y"), []),  # something else
        (twice(one=f"{FAILED} error=NotFound"), []),  # its span says so
        (twice(one="got=a_page", two="got=a_page"), []),  # nothing failed
        (twice(one="", two=""), []),  # nobody knows what it returned
        (twice(one=f"{FAILED} inferred", two=f"{FAILED} inferred"), []),
        (
            twice()
            .replace("llm two                  |--|", "llm two            |--|")
            .replace("tool fetch                  |------|", "tool fetch         |-----| "),
            [],
        ),  # beside
    ],
)
def test_hidden_errors(drawing: str, texts: bool, expected: list[tuple[str, int]]) -> None:
    trace = drawn(drawing, unit_ns=UNIT)
    found = found_in(trace if texts else without_texts(trace), "CP502")
    assert [(one.title, (one.saving.ns or 0) // UNIT) for one in found] == expected
    assert all((one.evidence, one.at_most) == ("likely", True) for one in found)


OPUS = "model=claude-opus-4-8 provider=anthropic"  # 5 $ a million: 0.1 x read, 1.25 x written
THRICE = f"""
    agent run       |-----------------------------------------------|
      llm one        |--|                                {OPUS} tokens=1000/0
      tool fetch         |---|                           id=1 given=x {FAILED} asked_by=one
      llm two                |--|                        {OPUS} {{two}} results=1
      tool fetch                |----|                   id=2 given=x {FAILED} asked_by=two
      llm three                       |--|               {OPUS} {{three}} results=2
      tool fetch                         |----|          id=3 given=x {FAILED} asked_by=three
      llm four                                |----|     {OPUS} {{four}} results=3
"""


@pytest.mark.parametrize(
    ("two", "three", "four", "usd", "tokens"),
    [
        ("tokens=2000/0", "tokens=3000/0", "tokens=4000/0", "0.025", 5000),
        # What the turns wrote is written by the last one instead: 3,000 x (1.25 - 0.1) less.
        (
            "tokens=2000/0/0/2000",
            "tokens=3000/0/2000/1000",
            "tokens=4000/0/3000",
            "0.0025",  # 2,000 written, 2,000 read, 1,000 written; 0.01975 - 0.01725
            5000,
        ),
        ("tokens=2000/0", "", "tokens=4000/0", None, None),  # one was not counted
        ("", "", "", None, None),
    ],
)
def test_what_it_took_to_ask_again(
    two: str, three: str, four: str, usd: str | None, tokens: int | None
) -> None:
    trace = drawn(THRICE.format(two=two, three=three, four=four), unit_ns=UNIT)
    (found,) = found_in(trace, "CP502")
    assert (found.saving.usd, found.saving.tokens) == (usd and Decimal(usd), tokens)
    # Two calls, each but for its look-up, and the two turns that asked for them.
    assert ((found.saving.ns or 0) // UNIT, found.at_most) == (10 - 1 + 2 * 3, True)
    assert "the turns that asked for nothing else took" in found.why


def test_a_turn_that_asked_for_more_is_not_counted() -> None:
    drawing = THRICE.format(two="tokens=2000/0", three="tokens=3000/0", four="tokens=4000/0")
    drawing = drawing.replace(
        "      llm three",
        "      tool other                |----|     asked_by=two\n      llm three",
    ).replace("tool other ", "tool get_y ")
    (found,) = found_in(drawn(drawing, unit_ns=UNIT), "CP502")
    assert (found.saving.usd, found.saving.tokens) == (Decimal("0.015"), 3000)
    # Neither is its time: one call and the turn that asked for it; `get_y` takes as long as ever.
    assert (found.saving.ns or 0) // UNIT == 5 + 3 - 1


def test_a_turn_that_nobody_waited_for_saves_no_time() -> None:
    drawing = THRICE.format(two="tokens=2000/0", three="tokens=3000/0", four="tokens=4000/0")
    beside = f"      tool get_z     {'|' + '-' * 46 + '|'}\n"
    (found,) = found_in(drawn(drawing + beside, unit_ns=UNIT), "CP502")
    assert (found.saving.usd, (found.saving.ns or 0) // UNIT) == (Decimal("0.025"), 0)


LATE = """
    agent run       |---------------------------------|
      llm one        |--|
      tool fetch         |-------------|                 given=x error={error}
      llm two                          |--|
"""

ANOTHER_MODEL = """
    agent run       |---------------------------------|
      llm one        |-------------|                     model=m error={error} opening=1
      llm two                        |-------|           model=n opening=1
"""


@pytest.mark.parametrize(
    ("drawing", "expected"),
    [
        (LATE.format(error="TimeoutError"), ["fetch timed out after 1.4 s"]),
        (ANOTHER_MODEL.format(error="APITimeoutError"), ["one timed out after 1.4 s"]),
        (ANOTHER_MODEL.format(error="RateLimitError"), []),
        (LATE.format(error="timeout"), ["fetch timed out after 1.4 s"]),
        (LATE.format(error="DEADLINE_EXCEEDED"), ["fetch timed out after 1.4 s"]),
        (LATE.format(error="ConnectTimeout"), ["fetch timed out after 1.4 s"]),
        (LATE.format(error="NotFound"), []),
        (LATE.format(error="OSError"), []),
        (LATE.replace("|-------------|   ", "|------|          ").format(error="timeout"), []),
        (
            """
            agent run       |---------------------------------|
              tool fetch     |-------------|                     id=1 given=x error=timeout
              tool fetch                    |--|                 id=2 given=x
            """,
            [],  # it was answered in the end: CP501
        ),
        (
            """
            agent run       |---------------------------------|
              tool fetch     |--------------|                    error=timeout
                network get   |------------|                     error=timeout
            """,
            ["fetch timed out after 1.5 s"],  # once, not twice
        ),
        (
            """
            agent run       |---------------------------------|
              tool fetch     |--------------|                    error=timeout
              llm one        |-------------------------------|
            """,
            [],  # nobody waited for it
        ),
        ("agent run |-----------------------|  error=timeout", []),  # the run itself
    ],
)
def test_time_outs(drawing: str, expected: list[str]) -> None:
    found = found_in(drawn(drawing, unit_ns=UNIT), "CP504")
    assert [one.title for one in found] == expected
    assert all((one.saving, one.evidence) == (UNKNOWN, "proved") for one in found)


GIVEN_UP = ["fetch given up after 1.4 s"]


@pytest.mark.parametrize(
    ("drawing", "expected"),
    [
        (LATE.format(error="CancelledError"), GIVEN_UP),
        (LATE.format(error="asyncio.exceptions.CancelledError"), GIVEN_UP),
        (LATE.format(error="AbortError"), GIVEN_UP),
        (LATE.format(error="OperationCanceledException"), GIVEN_UP),
        (
            """
            agent run       |---------------------------------|
              tool fetch     |-------------|                     error=CancelledError
              llm two                     |--|
            """,
            GIVEN_UP,  # the program does not wait until it has ended
        ),
        (
            """
            agent run       |---------------------------------|
              chain step     |-------------|                     error=CancelledError
                tool fetch   |-------------|                     error=CancelledError
                tool other      |----|
              llm two                      |--|
            """,
            GIVEN_UP,
        ),
        # They look like it and are none:
        (LATE.format(error="OrderCancelledByCustomer"), []),
        (LATE.format(error="KeyboardInterrupt"), []),
        (LATE.replace("|-------------|   ", "|------|          ").format(error="Cancelled"), []),
        (
            """
            agent run       |---------------------------------|
              tool fetch     |-------------|                     error=CancelledError
              tool mirror    |-------------|
              llm two                      |--|
            """,
            [],  # another one was faster
        ),
        (
            """
            agent run       |---------------------------------|
              tool fetch     |-------------|                     error=CancelledError
              tool other     |-------------|                     error=ValueError
              llm two                      |--|
            """,
            [],  # another one of its group failed
        ),
        (
            """
            agent run       |---------------------------------|
              tool fetch     |-------------|                     error=CancelledError
              human stop         |---------|
              llm two                      |--|
            """,
            [],  # a person said so
        ),
        (
            """
            agent run       |-----------------------------------------|
              tool fetch     |-------------|                     error=CancelledError
              llm two                                 |--|
            """,
            [],  # a person may have
        ),
        (
            """
            agent run       |--------------|                     error=CancelledError
              tool fetch     |-------------|                     error=CancelledError
            """,
            [],  # the run was stopped
        ),
    ],
)
def test_calls_that_are_waited_for_no_longer(drawing: str, expected: list[str]) -> None:
    found = found_in(drawn(drawing, unit_ns=UNIT), "CP504")
    assert [one.title for one in found] == expected
    assert all((one.saving, one.evidence) == (UNKNOWN, "likely") for one in found)
