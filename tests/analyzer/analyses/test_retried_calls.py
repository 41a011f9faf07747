"""CP501: what was answered after failed attempts, and what only looks like that."""

import pytest

from tests.support.drawn import MS, drawn, found_in, without_texts

UNIT = 100 * MS


@pytest.mark.parametrize("texts", [True, False], ids=["contents on", "contents off"])
@pytest.mark.parametrize(
    ("drawing", "expected"),
    [
        pytest.param(
            """
            agent run      |------------------------|
              llm chat      |--------------------|
                retry one   |--|                        error=RateLimitError
                retry off      |---|
                retry two          |--|                 error=RateLimitError
                retry on              |---|
                network last              |------|
            """,
            [("avoid 2 failed attempts (RateLimitError twice)", "proved", 14)],
            id="by an SDK",
        ),
        pytest.param(
            """
            agent run      |------------------------|
              llm one       |--|                        model=m error=overloaded_error
              llm two              |----|               model=m
            """,
            [("avoid 1 failed attempt (overloaded_error)", "likely", 7)],
            id="by the user's own code",
        ),
        pytest.param(
            """
            agent run      |------------------------|
              llm one       |--|                        model=m error=Timeout blocks=a,b>
              llm two              |----|               model=m blocks=a,b>c
            """,
            [("avoid 1 failed attempt (Timeout)", "proved", 7)],
            id="the same was asked again",
        ),
        pytest.param(
            """
            agent run      |------------------------|
              tool get      |--|                        id=1 given=x error=ConnectionError
              tool get             |----|               id=2 given=x
            """,
            [("avoid 1 failed attempt (ConnectionError)", "proved", 7)],
            id="a tool",
        ),
        pytest.param(
            """
            agent run      |------------------------|
              llm one       |--|                        model=m error=Overloaded where=a.py:1
              llm two           |----|                  model=m where=a.py:1
              llm three              |--|               model=m error=Overloaded where=a.py:1
              llm four                  |----|          model=m where=a.py:1
            """,
            [("avoid failed attempts, 2 times", "likely", 7)],
            id="at one place of the code",
        ),
        pytest.param(
            """
            agent run      |------------------------|
              llm chat      |--------------------|      error=RateLimitError
                retry one   |--|                        error=RateLimitError
                retry off      |---|
                retry two          |--|                 error=RateLimitError
            """,
            [],
            id="never answered",
        ),
        pytest.param(
            """
            agent run      |------------------------|
              llm one       |--|                        model=m error=Overloaded
              llm two             |--|                  model=m error=Overloaded
            """,
            [],
            id="never answered, by the user's own code",
        ),
        pytest.param(
            """
            agent run      |------------------------|
              llm one       |--|                        model=m error=Overloaded
              llm two              |----|               model=other
            """,
            [],
            id="another model was asked",
        ),
        pytest.param(
            """
            agent run      |------------------------|
              llm one       |--|                        model=m error=Overloaded blocks=a,b>
              llm two              |----|               model=m blocks=c,d>e
            """,
            [],
            id="something else was asked for",
        ),
        pytest.param(
            """
            agent run      |------------------------|
              llm one       |--|                        model=m error=KeyboardInterrupt
              llm two              |----|               model=m
            """,
            [],
            id="somebody stopped it",
        ),
        pytest.param(
            """
            agent run      |------------------------|
              tool get      |--|                        id=1 given=x error=ConnectionError
              llm one           |--|                    model=m
              tool get             |----|               id=2 given=x
            """,
            [],
            id="the model calls a tool again",
        ),
        pytest.param(
            """
            agent run      |------------------------|
              tool get      |--|                        id=1 given=x error=ConnectionError
              tool get             |----|               id=2 given=y
            """,
            [],
            id="another call of the tool",
        ),
        pytest.param(
            """
            agent run      |------------------------|
              llm chat      |--------------------|
                network one |--------------------|
            """,
            [],
            id="answered at once",
        ),
        pytest.param(
            """
            agent run       |------------------------|
              llm chat       |-----------|
                retry one    |--|                        error=RateLimitError
                retry off       |---|
                network last        |----|
              llm beside     |---------------------|
            """,
            [],
            id="nobody waited for it",
        ),
    ],
)
def test_retries(drawing: str, texts: bool, expected: list[tuple[str, str, int]]) -> None:
    trace = drawn(drawing, unit_ns=UNIT)
    found = found_in(trace if texts else without_texts(trace), "CP501")
    assert [(one.title, one.evidence, (one.saving.ns or 0) // UNIT) for one in found] == expected
    assert all(one.at_most for one in found)


@pytest.mark.parametrize(
    ("error", "title", "fix"),
    [
        ("429", "(429)", "Stay below the rate limit"),
        ("ThrottlingException", "(ThrottlingException)", "Stay below the rate limit"),
        ("529", "(529)", "The service failed"),
        ("APITimeoutError", "(APITimeoutError)", "Give the call the time it needs"),
        ("ValueError", "(ValueError)", "See why the first attempt failed"),
        ("Error_code:_400_-_a_message_of_many_words", "(Error_code:_400_-_a_message_of..)", "See"),
    ],
)
def test_the_fix_is_for_what_went_wrong(error: str, title: str, fix: str) -> None:
    drawing = f"""
        agent run      |------------------------|
          llm one       |--|                        model=m error={error}
          llm two              |----|               model=m
    """
    (found,) = found_in(drawn(drawing, unit_ns=UNIT), "CP501")
    assert found.title == f"avoid 1 failed attempt {title}"
    assert found.fix.startswith(fix)
