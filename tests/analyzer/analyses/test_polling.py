"""CP503: a model that asks how far something is, and what only looks like that."""

from decimal import Decimal

import pytest

from causepath_analyzer.analyses.findings.rule import Saving
from tests.support.drawn import MS, drawn, found_in, without_texts

UNIT = 100 * MS
MODEL = "model=gpt-4o tokens=1000/100"
POLLS = """
    agent run       |---------------------------------------------|
      llm one        |---|                                              {model}
      tool get_job       |--|                                           id=1 asked_by=one   {a}
      llm two                |---|                                      {model}
      tool get_job               |--|                                   id=2 asked_by=two   {b}
      llm three                      |---|                              {model}
      tool get_job                       |--|                           id=3 asked_by=three {c}
      llm four                               |---|                      {model}
"""
PENDING = "given=x got=pending"


def drawing(
    a: str = PENDING, b: str = PENDING, c: str = "given=x got=the_whole_result", model: str = MODEL
) -> str:
    return POLLS.format(a=a, b=b, c=c, model=model)


@pytest.mark.parametrize("texts", [True, False], ids=["contents on", "contents off"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (drawing(), [Saving(usd=Decimal("0.0070"), tokens=2200)]),
        (drawing(c=PENDING), [Saving(usd=Decimal("0.0070"), tokens=2200)]),
        (
            drawing(a="given=x got=20%", b="given=x got=50.5%"),
            [Saving(usd=Decimal("0.0070"), tokens=2200)],
        ),
        (drawing(model="model=our-own tokens=1000/100"), [Saving(tokens=2200)]),
        (drawing(model=""), [Saving()]),
        # They look like it and are none:
        (drawing(b="given=y got=pending"), []),  # another question
        (drawing(b="given=x got=a_page_of_many_results"), []),  # it says more than how far it is
        (drawing(b="given=x got=error:_no_such_job"), []),  # it fails
        (drawing(a="given=x", b="given=x"), []),  # nobody knows what it said
        (drawing().replace("get_job", "start_job"), []),  # it may change something
        (drawing().replace("asked_by=three", "asked_by=two"), []),  # two by one reply
        (
            drawing()
            .replace("asked_by=one  ", "")
            .replace("asked_by=two", "")
            .replace("asked_by=three", ""),
            [],
        ),  # the code asked, not the model
        (
            drawing().replace(
                "get_job               |--|                                   id=2",
                "get_else              |--|                                   id=2",
            ),
            [],
        ),
    ],
)
def test_polls(text: str, texts: bool, expected: list[Saving]) -> None:
    trace = drawn(text, unit_ns=UNIT)
    found = found_in(trace if texts else without_texts(trace), "CP503")
    assert [one.saving for one in found] == expected
    assert all(one.title == "wait once, not by 3 calls of get_job" for one in found)
    assert all(one.evidence == "likely" for one in found)
