"""CP603: tools whose first call took far longer than all others, and what only looks so."""

import pytest

from tests.support.drawn import MS, drawn, found_in, without_texts

UNIT = 100 * MS
PAGE = "a_page_of_many_words_that_says_something_about_this"
COLD = f"""
    agent run    |--------------------------------------------------|
      tool search |--------------------|                                  id=1 given=a got={PAGE}
      tool search                       |-|                               id=2 given=b got={PAGE}
      tool search                          |---|                          id=3 given=c got={PAGE}
      tool search                              |--|                       id=4 given=d got={PAGE}
      tool search                                  |--|                   id=5 given=e got={PAGE}
"""
FIRST = f"id=1 given=a got={PAGE}"


@pytest.mark.parametrize("texts", [True, False], ids=["contents on", "contents off"])
@pytest.mark.parametrize(
    ("drawing", "is_found"),
    [
        pytest.param(COLD, True, id="it loads something"),
        pytest.param(COLD.replace("given=e", "given=d"), True, id="later ones are for the same"),
        pytest.param(COLD.replace("given=e", "given=a"), False, id="it remembers"),
        pytest.param(COLD.replace(FIRST, f"{FIRST}{PAGE}{PAGE}"), False, id="a larger result"),
        pytest.param(COLD.replace(FIRST, f"{FIRST} inferred"), False, id="inferred"),
        pytest.param(COLD.replace(FIRST, f"{FIRST} error=Gone"), False, id="it failed"),
        pytest.param(COLD.replace(FIRST, "id=1 given=a"), False, id="no result"),
        pytest.param(COLD.replace(FIRST, f"id=1 got={PAGE}"), False, id="no arguments"),
        pytest.param(COLD.replace("|-|", "|-----|"), False, id="another one took long as well"),
        pytest.param(
            COLD.replace("search                       |-|", "others                       |-|"),
            False,
            id="few",
        ),
        pytest.param(
            COLD.replace("search                       |-|", "search               |-|        "),
            False,
            id="one ran beside it",
        ),
        pytest.param(
            COLD.replace(FIRST, f"{FIRST}\n        llm in    |-----------|  parent=1"),
            False,
            id="it asked a model, and others did not",
        ),
    ],
)
def test_cold_starts(drawing: str, texts: bool, is_found: bool) -> None:
    trace = drawn(drawing, unit_ns=UNIT)
    found = found_in(trace if texts else without_texts(trace), "CP603")
    expected = [("warm search up before it is needed", "likely", 18)] if is_found else []
    assert [(one.title, one.evidence, (one.saving.ns or 0) // UNIT) for one in found] == expected


def test_a_first_call_that_is_not_long_is_none() -> None:
    assert found_in(drawn(COLD, unit_ns=UNIT // 2), "CP603") == []


def test_the_numbers_are_said() -> None:
    (found,) = found_in(drawn(COLD, unit_ns=UNIT), "CP603")
    assert found.why == (
        "The first call of search took 2.1 s, its 4 later ones, for other arguments, 0.3 s (the "
        "median), and its result was not much larger than theirs: it loads or opens something once."
    )
