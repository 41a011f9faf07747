"""CP501: what was answered after failed attempts, and what only looks like that."""

from decimal import Decimal

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
              llm one       |--|                        model=m error=Overloaded
              llm two              |--|                 model=m error=Overloaded
              llm three                |-----|          model=other
            """,
            [("avoid failed attempts, 2 times", "likely", 11)],
            id="another model was asked after attempts in vain",
        ),
        pytest.param(
            """
            agent run      |------------------------|
              llm one       |--------|                  model=m error=Overloaded
                retry first |--|                        error=Overloaded
                retry off      |--|
                retry again       |--|                  error=Overloaded
              llm two                |-----|            model=other
            """,
            [("avoid 1 failed attempt (Overloaded)", "likely", 9)],
            id="another model was asked after attempts of an SDK in vain",
        ),
        pytest.param(
            """
            agent run      |------------------------|
              llm one       |----|                      model=m error=429 blocks=system/text/x,a>
              llm two               |----|              model=n blocks=system/text/y,a>c
            """,
            [("avoid 1 failed attempt (429)", "likely", 8)],
            id="another model was asked the same",
        ),
        pytest.param(
            """
            agent run      |------------------------|
              llm one       |----|                      model=m error=Timeout opening=1
              llm two            |----|                 model=n error=529 opening=1
              llm three               |----|            model=o opening=1
            """,
            [("avoid 1 failed attempt (529)", "likely", 5)],  # the time-out is CP504
            id="one model after the other",
        ),
        pytest.param(
            """
            agent run      |------------------------|
              chain ask     |----|                      error=429
                llm one     |----|                      model=m error=429 opening=1
              chain again        |----|
                llm two          |----|                 model=n opening=1
            """,
            [("avoid 1 failed attempt (429)", "likely", 5)],
            id="another model, a step around each",
        ),
        pytest.param(
            """
            agent run      |------------------------|
              llm one       |----|                      model=m error=429 opening=1
              llm two       |---------|                 model=n opening=1
            """,
            [],
            id="two models that are asked at once",
        ),
        pytest.param(
            """
            agent run      |------------------------|
              llm one       |----|                      model=m error=429 opening=1
              llm two            |----|                 model=n opening=1
              llm three               |----|            model=o opening=1
            """,
            [],
            id="all models are asked, the first one fails",
        ),
        pytest.param(
            """
            agent run      |------------------------|
              llm one       |----|                      model=o opening=1
              llm two            |----|                 model=m error=429 opening=1
              llm three               |----|            model=n opening=1
            """,
            [],
            id="all models are asked, the second one fails",
        ),
        pytest.param(
            """
            agent run      |------------------------|
              chain first   |---------|
                llm one     |----|                      model=m opening=1
                llm two          |----|                 model=n opening=1
              chain second            |---------|
                llm three             |----|            model=m error=429 opening=2
                llm four                   |----|       model=n opening=2
            """,
            [],
            id="both models are asked, as the round before shows",
        ),
        pytest.param(
            """
            agent run      |------------------------|
              llm one       |----|                      model=m error=429 opening=1 {stack}
              llm two            |----|                 model=n opening=1 {stack}
            """.replace("{stack}", "stack=a.py:4_ask:9 loop=each"),
            [],
            id="a loop over models",
        ),
        pytest.param(
            """
            agent run      |------------------------|
              llm one       |--|                        model=m error=429 opening=1
              llm two              |--|                 model=m error=429 opening=1
              llm three                |-----|          model=n opening=2
            """,
            [],
            id="another model is asked something else",
        ),
        pytest.param(
            """
            agent run      |------------------------|
              llm one       |----|                      model=m error=429 blocks=a>
              llm two            |----|                 model=n blocks=b>c
            """,
            [],
            id="another model is given something else",
        ),
        pytest.param(
            """
            agent run      |------------------------|
              llm one       |----|                      model=m error=429 opening=1
              tool look          |-|                    given=x
              llm two              |----|               model=n opening=1
            """,
            [],
            id="something was done before another model was asked",
        ),
        pytest.param(
            """
            agent run      |------------------------|
              llm one       |----|                      model=m error=Cancelled opening=1
              llm two            |----|                 model=n opening=1
            """,
            [],
            id="somebody stopped it, and asked another model",
        ),
        pytest.param(
            """
            agent run      |------------------------|
              llm one       |----|                      model=m error=429 opening=1
              llm two            |----|                 model=n error=529 opening=1
            """,
            [],
            id="nobody answered",
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


OPUS = "model=claude-opus-4-8 provider=anthropic"  # 5 $ a million: 0.1 x read, 1.25 x written
TWICE = """
    agent run      |------------------------|
      llm one       |--|                        {one} error=Overloaded
      llm two              |----|               {two}
"""


@pytest.mark.parametrize(
    ("one", "two", "usd", "tokens"),
    [
        (f"{OPUS} tokens=10000/100", f"{OPUS} tokens=10000/100", "0.0525", 10_100),
        (f"{OPUS} tokens=10000/0", f"{OPUS}", "0.05", 10_000),
        # What failed had written 10,000 tokens, which the answered one would have had to write.
        (f"{OPUS} tokens=10000/0/0/10000", f"{OPUS} tokens=10000/9/10000", "0.005", 10_000),
        (f"{OPUS} tokens=10000/0/0/10000", f"{OPUS} tokens=20000/9/6000/4000", "0.028", 10_000),
        # OpenAI caches by itself (4 $ a million, 0.1 x read): nobody would have read it.
        (
            "model=gpt-5.6-sol provider=openai tokens=10000/0",
            "model=gpt-5.6-sol provider=openai tokens=10000/9/10000",
            "0.004",
            10_000,
        ),
        # What is not known stays unknown.
        (OPUS, f"{OPUS} tokens=10000/100", None, None),
        (f"{OPUS} tokens=0/0", f"{OPUS} tokens=10000/100", None, 0),
        ("model=of-our-own tokens=10000/1", "model=of-our-own tokens=10000/1", None, 10_001),
        (f"{OPUS} tokens=10/0/0/4000", f"{OPUS} tokens=10000/1", None, 10),
    ],
)
def test_what_failed_attempts_were_billed(
    one: str, two: str, usd: str | None, tokens: int | None
) -> None:
    (found,) = found_in(drawn(TWICE.format(one=one, two=two), unit_ns=UNIT), "CP501")
    assert (found.saving.usd, found.saving.tokens) == (usd and Decimal(usd), tokens)
    assert found.saving.ns == 7 * UNIT
    assert ("What failed used" in found.why) is bool(tokens)


def test_a_tool_that_asked_a_model_before_it_failed() -> None:
    drawing = f"""
        agent run      |------------------------|
          tool get      |--|                        id=1 given=x error=ConnectionError
            llm in      ||                          parent=1 {OPUS} tokens=1000/0
          tool get             |----|               id=2 given=x
    """
    (found,) = found_in(drawn(drawing, unit_ns=UNIT), "CP501")
    assert (found.saving.usd, found.saving.tokens) == (Decimal("0.005"), 1000)


LITTLE = """
    agent run      |----------------------------------------|
      llm one       |-|                                        model=m error=Overloaded where=a.py:1
      llm two          |------|                                model=m where=a.py:1
      {more}
"""
AGAIN = """llm three               |-|                           model=m error=Late where=a.py:1
      llm four                   |------|                      model=m where=a.py:1"""


@pytest.mark.parametrize(("more", "expected"), [("", 0), (AGAIN, 1)])
def test_little_is_said_where_it_adds_up(more: str, expected: int) -> None:
    trace = drawn(LITTLE.format(more=more), unit_ns=60 * MS)  # 0.18 s each
    assert len(found_in(trace, "CP501")) == expected


CUT_OFF = """
    agent run       |---------------------------------|
      llm one        |-------------|                     model=m error=CancelledError blocks=a,b>
      {beside}
      llm two           {pause}     |----|               model=m blocks={asked}>c
"""


@pytest.mark.parametrize(
    ("asked", "beside", "expected"),
    [
        ("a,b", "", ["avoid 1 failed attempt (CancelledError)"]),  # its caller's time-out
        ("a,x", "", []),  # somebody asked for something else
        ("a,b", "human stop         |---------|", []),  # somebody stopped it
    ],
)
def test_cut_off_and_asked_again(asked: str, beside: str, expected: list[str]) -> None:
    trace = drawn(CUT_OFF.format(asked=asked, beside=beside, pause=" " * 6), unit_ns=UNIT)
    found = found_in(trace, "CP501")
    assert [(one.title, one.evidence) for one in found] == [(one, "likely") for one in expected]


@pytest.mark.parametrize(("tokens", "said"), [("999/0", False), ("1001/0", True)])
def test_attempts_that_took_no_time_are_said_from_1_percent_of_the_cost(
    tokens: str, said: bool
) -> None:
    drawing = TWICE.format(one=f"{OPUS} tokens={tokens}", two=f"{OPUS} tokens=99000/0")
    found = found_in(drawn(drawing, unit_ns=UNIT // 1000), "CP501")
    assert [one.saving.usd is not None for one in found] == [True] * said
