"""CP201: equal calls with equal results, and everything that looks like them."""

from decimal import Decimal

import pytest

from causepath_analyzer.analyses.findings.rule import Saving
from tests.support.drawn import MS, drawn, found_in, without_texts

UNIT = 100 * MS


def numbered(drawing: str) -> str:
    """Gives every tool in `drawing` an id of its own, as spans are called by their names else."""
    lines = drawing.splitlines()
    return "\n".join(
        f"{line} id={number}" if " tool " in line and "id=" not in line else line
        for number, line in enumerate(lines)
    )


def told(drawing: str, *, texts: bool) -> list[tuple[str, str, int]]:
    """The title and evidence of each finding, and what it saves in units of the drawing, rounded
    up."""
    trace = drawn(numbered(drawing), unit_ns=UNIT)
    return [
        (one.title, one.evidence, -(-(one.saving.ns or 0) // UNIT))
        for one in found_in(trace if texts else without_texts(trace), "CP201")
    ]


@pytest.mark.parametrize("texts", [True, False], ids=["contents on", "contents off"])
@pytest.mark.parametrize(
    ("drawing", "expected"),
    [
        pytest.param(
            """
            agent run          |----------------------------|
              llm one           |---|
              tool search_docs       |------|                  given=tax got=a_page_about_taxes
              llm two                       |---|
              tool search_docs                  |-----|        given=tax got=a_page_about_taxes
              llm three                               |-----|
            """,
            [("call search_docs once, not twice", "likely", 6)],
            id="a look-up again",
        ),
        pytest.param(
            """
            agent run          |----------------------------|
              tool list_it      |---|                          given=x got=a_long_list read_only
              tool get_docs         |-------|                  given=t got=another_page read_only
              tool list_it                  |---|              given=x got=a_long_list read_only
              tool get_docs                     |-----|        given=u got=a_third_page read_only
              tool list_it                            |-----|  given=x got=a_long_list read_only
            """,
            [("call list_it once, not 3 times", "proved", 10)],
            id="all marked read-only",
        ),
        pytest.param(
            """
            agent run          |----------------------------|
              agent a           |-----------|
                tool read_file   |---|                         given=x got=the_whole_file
              agent b                        |-----------|
                tool read_file                |---|            given=x got=the_whole_file
            """,
            [("call read_file once, not twice", "likely", 4)],
            id="by two agents of one run",
        ),
        pytest.param(
            """
            agent run          |----------------------------|
              tool get_docs     |---|                 id=a          given=x got=the_whole_file
                tool get_docs    |-|                  parent=a      given=x got=the_whole_file
              tool get_docs         |-------|         id=b          given=x got=the_whole_file
                tool get_docs        |-----|          parent=b      given=x got=the_whole_file
            """,
            [("call get_docs once, not twice", "likely", 8)],
            id="each recorded by two layers",
        ),
        pytest.param(
            """
            agent run          |----------------------------|
              tool search_docs  |-----|                        given=tax got=a_page_about_taxes
              tool search_docs         |-----|                 given=law got=a_page_about_laws
            """,
            [],
            id="another question",
        ),
        pytest.param(
            """
            agent run          |----------------------------|
              tool search_docs  |-----|                        given=tax got=a_page_about_taxes
              tool search_docs         |-----|                 given=tax got=a_newer_page
            """,
            [],
            id="another result",
        ),
        pytest.param(
            """
            agent run          |----------------------------|
              tool search_docs  |-----|                        given=tax got=a_page_about_taxes
              tool search_docs         |-----|                 given=tax got=a_page_about_taxes
              tool search_docs                |-----|          given=tax got=a_newer_page
            """,
            [],
            id="a result that differs in the end: it changes by itself",
        ),
        pytest.param(
            """
            agent run          |----------------------------|
              tool read_file    |-----|                        given=x got=the_whole_file
              tool edit_file           |-----|                 given=x got=edited_as_asked_for
              tool read_file                  |-----|          given=x got=the_whole_file
            """,
            [],
            id="a write between",
        ),
        pytest.param(
            """
            agent run          |----------------------------|
              tool write_all    |--------------------|         given=y got=written_as_asked
              tool read_file          |---|                    given=x got=the_whole_file
              tool read_file                |-----|            given=x got=the_whole_file
            """,
            [],
            id="a write that went on meanwhile",
        ),
        pytest.param(
            """
            agent run          |----------------------------|
              tool read_file    |-----|                        given=x got=the_whole_file
              tool weigh               |-----|                 given=y got=some_more_words
              tool read_file                  |-----|          given=x got=the_whole_file
            """,
            [],
            id="a tool between of which nobody knows what it does",
        ),
        pytest.param(
            """
            agent run          |----------------------------|
              tool read_file    |-----|                        given=x got=the_whole_file
              database update          |-----|
              tool read_file                  |-----|          given=x got=the_whole_file
            """,
            [],
            id="a database between",
        ),
        pytest.param(
            """
            agent run          |----------------------------|
              tool read_file    |-----|                        given=x got=the_whole_file
              human approve            |-----|
              tool read_file                  |-----|          given=x got=the_whole_file
            """,
            [],
            id="a person between",
        ),
        pytest.param(
            """
            agent run          |----------------------------|
              tool send_mail    |-----|                        given=x got=sent_as_asked_for
              tool send_mail           |-----|                 given=x got=sent_as_asked_for
            """,
            [],
            id="it changes something",
        ),
        pytest.param(
            """
            agent run          |----------------------------|
              tool weigh        |-----|                        given=x got=three_kilograms
              tool weigh               |-----|                 given=x got=three_kilograms
            """,
            [],
            id="nobody knows what it does",
        ),
        pytest.param(
            """
            agent run          |----------------------------|
              tool get_status   |-----|                        given=x got=in_the_oven_now
              tool get_status          |-----|                 given=x got=in_the_oven_now
            """,
            [],
            id="a status",
        ),
        pytest.param(
            """
            agent run          |----------------------------|
              tool get_order    |---|                          given=x got=in_the_oven_now
              tool get_order        |---|                      given=x got=in_the_oven_now
              tool get_order            |---|                  given=x got=in_the_oven_now
            """,
            [],
            id="polling",
        ),
        pytest.param(
            """
            agent run          |----------------------------|
              tool check_door   |---|                          given=x got=no
              tool check_door       |---|                      given=x got=no
            """,
            [],
            id="a no",
        ),
        pytest.param(
            """
            agent run          |----------------------------|
              tool get_next     |---|                          given=x got=a_page_of_results
              tool get_next         |---|                      given=x got=a_page_of_results
            """,
            [],
            id="pages that look alike",
        ),
        pytest.param(
            """
            agent run          |----------------------------|
              tool get_weather  |---|                          given=x got=rain_until_it_is_noon
              tool get_weather      |---|                      given=x got=rain_until_it_is_noon
            """,
            [],
            id="somebody waits for the sun",
        ),
        pytest.param(
            """
            agent run          |----------------------------|
              tool get_price    |---|                          given=x got=24.80_for_groups_of_three
              tool get_hotels       |---|                      given=y got=Sol_by_the_station
              tool get_price            |---|                  given=x got=24.80_for_groups_of_three
            """,
            [],
            id="a price before it is paid",
        ),
        pytest.param(
            """
            agent run          |----------------------------|
              tool get_news_state  |---|                       given=x got=40_of_120_are_read
              tool get_hotels          |---|                   given=y got=Sol_by_the_station
              tool get_news_state          |---|               given=x got=40_of_120_are_read
            """,
            [],
            id="a state of the news",
        ),
        pytest.param(
            """
            agent run          |----------------------------|
              tool search_docs  |-----|                        given=tax got=t error=Timeout
              tool search_docs         |-----|                 given=tax got=t
            """,
            [],
            id="tried again after a failure",
        ),
        pytest.param(
            """
            agent run          |----------------------------|
              tool search_docs  |-----|                        given=tax got=error:no_such_index
              tool search_docs         |-----|                 given=tax got=error:no_such_index
            """,
            [],
            id="failed both times",
        ),
        pytest.param(
            """
            agent run          |----------------------------|
              tool search_docs  |-----|                        given=tax got=a_page_about_taxes
              tool search_docs  |-----|                        given=tax got=a_page_about_taxes
            """,
            [],
            id="side by side",
        ),
        pytest.param(
            """
            agent run          |----------------------------|
              tool search_docs  |-----|                        given=tax
              tool search_docs         |-----|                 given=tax
            """,
            [],
            id="nobody recorded the results",
        ),
        pytest.param(
            """
            agent run          |----------------------------|
              tool search_docs  |-----|                        got=a_page_about_taxes
              tool search_docs         |-----|                 got=a_page_about_taxes
            """,
            [],
            id="nobody recorded the arguments",
        ),
        pytest.param(
            """
            agent run          |----------------------------|
              tool search_docs  |-----|             inferred   given=tax got=a_page_about_taxes
              tool search_docs         |-----|      inferred   given=tax got=a_page_about_taxes
            """,
            [],
            id="only windows are known",
        ),
        pytest.param(
            """
            tool search_docs  |-----|                        given=tax got=a_page_about_taxes
            tool search_docs         |-----|                 given=tax got=a_page_about_taxes
            """,
            [],
            id="two roots: perhaps two requests of a user",
        ),
    ],
)
def test_tools(drawing: str, texts: bool, expected: list[tuple[str, str, int]]) -> None:
    assert told(drawing, texts=texts) == expected


# Two calls of one model, which were given the same; the second answer is another block.
ASKED_TWICE = """
    agent run      |----------------------------|
      llm one       |---------|                    model=gpt-4o tokens=1000/100 blocks=a,b>c
      llm two                  |---------|         model=gpt-4o tokens=1000/100 blocks=a,b>c
"""


@pytest.mark.parametrize(
    ("drawing", "expected"),
    [
        (ASKED_TWICE, [("ask once, not twice", Saving(999 * MS, Decimal("0.0035"), 1100))]),
        (
            ASKED_TWICE.replace("gpt-4o", "our-own"),
            [("ask once, not twice", Saving(999 * MS, None, 1100))],
        ),
        (
            ASKED_TWICE.replace("tokens=1000/100", ""),
            [("ask once, not twice", Saving(999 * MS))],
        ),
        (  # the plugin lists no block of a prompt that is all of an earlier one
            ASKED_TWICE[::-1].replace("c>b,a", "c>+eno@2", 1)[::-1],
            [("ask once, not twice", Saving(999 * MS, Decimal("0.0035"), 1100))],
        ),
        (  # the beginning of it alone is another question
            ASKED_TWICE[::-1].replace("c>b,a", "c>+eno@1", 1)[::-1],
            [],
        ),
        (ASKED_TWICE[::-1].replace("c>b,a", "d>b,a", 1)[::-1], []),  # another answer
        (ASKED_TWICE[::-1].replace("c>b,a", "c>d,a", 1)[::-1], []),  # another question
        (ASKED_TWICE.replace(">c", ">c:20"), []),  # short: equal by chance
        (ASKED_TWICE.replace(">c", ">c issued=x"), []),  # it asks for a tool
        (ASKED_TWICE.replace(">c", ">c error=Overloaded"), []),
        (ASKED_TWICE.replace("blocks=a,b>c", ""), []),
    ],
)
def test_models(drawing: str, expected: list[tuple[str, Saving]]) -> None:
    found = found_in(drawn(drawing, unit_ns=UNIT), "CP201")
    assert [(one.title, one.saving) for one in found] == expected


def test_a_tool_that_asks_a_model_saves_its_price() -> None:
    drawing = """
        agent run             |----------------------------|
          tool summarize       |---------|                    id=1 given=x got=a_few_long_words
            llm one             |-------|                     parent=1 model=gpt-4o tokens=1000/100
          tool summarize                  |---------|         id=2 given=x got=a_few_long_words
            llm two                        |-------|          parent=2 model=gpt-4o tokens=1000/100
    """
    (found,) = found_in(drawn(drawing, unit_ns=UNIT), "CP201")
    assert found.saving == Saving(999 * MS, Decimal("0.0035"), 1100)


SLOWLY = """
    agent run                  |-----------{pause}---------|
      tool {name:<19} |---|                            given=x got=a_page_of_words
      tool get_hotels              |---|                        given=y got=Sol_by_the_station
      tool {name:<19}      {space}|---|            given=x got=a_page_of_words id=2
"""


@pytest.mark.parametrize("name", ["get_forecast", "get_current_weather", "latest_news_search"])
@pytest.mark.parametrize(("seconds", "expected"), [(5, 1), (90, 0)])
def test_what_changes_slowly_is_the_same_for_a_minute(
    name: str, seconds: int, expected: int
) -> None:
    drawing = SLOWLY.format(name=name, pause="-" * seconds, space=" " * seconds)
    assert len(found_in(drawn(drawing, unit_ns=1000 * MS), "CP201")) == expected


def test_five_minutes_later_it_is_looked_at_again() -> None:
    drawing = """
        agent run          |----------------------------|
          tool search_docs  |-----|                        id=1 given=tax got=a_page_about_taxes
          tool search_docs               |-----|           id=2 given=tax got=a_page_about_taxes
    """
    seconds = 1_000 * MS
    assert len(found_in(drawn(drawing, unit_ns=40 * seconds), "CP201")) == 1
    assert found_in(drawn(drawing, unit_ns=45 * seconds), "CP201") == []


def test_many_equal_calls_are_one_finding() -> None:
    calls = "\n".join(
        f"          tool get_doc  {' ' * 4 * n}|-|  id=a{n} given=x got=same_words where=a.py:3\n"
        f"          tool get_all  {' ' * 4 * n}  |-|  id=b{n} given={n} got=words_{n} where=a.py:4"
        for n in range(200)
    )
    drawing = f"        agent run       |{'-' * 820}|\n{calls}"
    (found,) = found_in(drawn(drawing, unit_ns=UNIT), "CP201")
    assert (found.title, found.where, found.times) == (
        "call get_doc once, not 200 times",
        "a.py:3",
        1,
    )
