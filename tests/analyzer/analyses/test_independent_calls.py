"""CP102 and CP103: what shows that calls are independent, and what does not."""

import json

import pytest
from msgspec.structs import replace

from causepath_analyzer.analyses.findings.rules import RULES, chosen
from causepath_analyzer.analyses.path.data_flow import DataFlow
from causepath_analyzer.analyses.proof.independence import apart, elsewhere
from causepath_analyzer.analyses.proof.recorded_words import depends, places_of
from causepath_analyzer.analyses.run import explained
from causepath_analyzer.model import CallSite, Content, ToolCall, Trace
from causepath_analyzer.read.meaning import content
from causepath_analyzer.read.tree.build import build
from tests.support.drawn import MS, drawn

ORDERS = chosen(["CP1"])
UNIT = 100 * MS


def found(drawing: str, *others: str) -> list[str]:
    """Code, spans, evidence and saving of every finding, with `others` as other runs."""
    trace = drawn(drawing, unit_ns=UNIT)
    runs = [trace, *(_as(f"{n:032}", drawn(other, unit_ns=UNIT)) for n, other in enumerate(others))]
    return [
        f"{one.code} {'+'.join(trace.spans[i].name for i in one.spans)} "
        f"{one.evidence} {(one.saving.ns or 0) // UNIT}"
        for one in explained(trace, others=elsewhere(runs), rules=ORDERS).findings
    ]


def _as(trace_id: str, trace: Trace) -> Trace:
    return build([replace(span, trace_id=trace_id) for span in trace.spans])


LOOK_UPS = """
    agent run           |--------------------------------|
      tool user          |----|                             given=q1 got=a-person
      tool history            |--------|                    given={given} got=something
      llm one                           |-----|
"""
RETRIEVALS = """
    agent run           |--------------------------------|
      retrieval docs     |----|
      retrieval memory        |--------|
      llm one                           |-----|
"""
SOUGHT = """
    agent run           |--------------------------------|
      retrieval docs     |----|                             given={one} got={got}
      retrieval {name}          |--------|                    given={two} {more}
      llm one                           |-----|
"""
KETTLE = "How-long-is-the-warranty-of-the-blue-kettle?"
BY_LAW = '["Kettles-have-two-years-by-law."]'


def sought(
    one: str = KETTLE, two: str = KETTLE, got: str = BY_LAW, name: str = "memory", more: str = ""
) -> str:
    """Two retrievals, the second of which may have needed the first."""
    return SOUGHT.format(one=one, two=two, got=got, name=name, more=more)


@pytest.mark.parametrize(
    ("drawing", "expected"),
    [
        pytest.param(sought(), ["CP102 docs+memory likely 5"], id="the same question elsewhere"),
        pytest.param(sought(two="opening-hours"), ["CP102 docs+memory likely 5"], id="another"),
        pytest.param(
            sought(two="prices", name="docs", more="id=2"),
            ["CP102 docs+docs likely 5"],
            id="another question in the same place",
        ),
        pytest.param(
            sought(got='["an-error-is-not-found-in-the-manual", "nor-there"]'),
            ["CP102 docs+memory likely 5"],
            id="documents about errors",
        ),
        # They look like it and are none:
        pytest.param(sought(two="two-years-by-law"), [], id="words of a document"),
        pytest.param(sought(two='{"q":"kettles"}', one="tea"), [], id="one word of it"),
        pytest.param(sought(two="kettle-law-firm", one="tea"), [], id="a word in another form"),
        pytest.param(sought(two=BY_LAW), [], id="the documents themselves"),
        pytest.param(sought(got="[]"), [], id="nothing was found, so it is searched elsewhere"),
        pytest.param(sought(got="not_found"), [], id="it says that nothing was found"),
        pytest.param(sought(name="docs", more="id=2"), [], id="the same again"),
        pytest.param(
            sought('{"q":"tea","page":1}', '{"q":"tea","page":2}', name="docs", more="id=2"),
            [],
            id="the next page",
        ),
        pytest.param(sought().replace(f"given={KETTLE} got", "got"), [], id="no query"),
        pytest.param(sought().replace(f"got={BY_LAW}", ""), [], id="no documents"),
        pytest.param(sought(more="results=docs"), [], id="a link says so"),
        pytest.param(sought().replace(f"got={BY_LAW}", f"got={BY_LAW} error=E"), [], id="failed"),
    ],
)
def test_what_retrievals_look_for(drawing: str, expected: list[str]) -> None:
    assert found(drawing.replace('", "', '","')) == expected


LOOP = """
    agent run           |--------------------------------|
      llm m              |----|                             id=1 where=a.py:1 opening=1
      llm m                   |--------|                    id=2 where=a.py:1 opening=2
      llm n                             |-----|             id=3 where=a.py:9 opening=3
"""


@pytest.mark.parametrize(
    ("drawing", "others", "expected"),
    [
        pytest.param(
            LOOK_UPS.format(given="q2"), [], ["CP102 user+history likely 5"], id="nothing handed on"
        ),
        pytest.param(LOOK_UPS.format(given="a-person"), [], [], id="a result is handed on"),
        pytest.param(LOOK_UPS.format(given="of:a-person"), [], [], id="inside an argument"),
        pytest.param(LOOK_UPS.replace("given={given} ", ""), [], [], id="nobody wrote it down"),
        pytest.param(RETRIEVALS, [], [], id="nothing is known"),
        pytest.param(
            RETRIEVALS,
            [RETRIEVALS.replace("docs ", "docs2").replace("docs2", "other")],
            ["CP102 docs+memory likely 5"],
            id="another run had the second without the first",
        ),
        pytest.param(RETRIEVALS, [RETRIEVALS], [], id="other runs had the same order"),
        pytest.param(
            RETRIEVALS.replace("|--------|", "|--------|  results=docs"),
            [RETRIEVALS.replace("docs ", "else ")],
            [],
            id="a link says more than other runs",
        ),
        pytest.param(LOOP, [LOOP], [], id="a loop that nobody ran otherwise"),
        pytest.param(
            LOOP,
            [LOOP.replace("     |--------|", "|--------|     ")],
            ["CP102 m+m likely 5"],
            id="a loop whose calls overlapped elsewhere",
        ),
        pytest.param(
            LOOP.replace("opening=2", "opening=1"),
            [LOOP.replace("     |--------|", "|--------|     ")],
            [],
            id="calls of one conversation",
        ),
    ],
)
def test_calls_of_the_agents_own_code(drawing: str, others: list[str], expected: list[str]) -> None:
    assert found(drawing, *others) == expected


ITEMS = """
    agent run           |--------------------------------|
      llm m              |----|                             id=1 {one}
      llm m                   |--------|                    id=2 {two}
"""
ONE = "blocks=s,item1>a1 stack=a.py:1,a.py:9 loop=each"
TWO = "blocks=s,item2>a2 stack=a.py:1,a.py:9 loop=each flow=searched"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param("", "", "likely", id="rounds of a loop"),
        pytest.param("=searched", "=complete", "proved", id="all of it comes from elsewhere"),
        pytest.param("=searched", "=unsure", None, id="too much to search"),
        pytest.param(" flow=searched", "", None, id="nobody looked"),
        pytest.param("loop=each flow=", "loop=some flow=", "likely", id="not every item"),
        pytest.param("loop=each flow=", "loop=until flow=", None, id="perhaps until an answer"),
        pytest.param(
            " loop=each flow=", " flow=", "likely", id="a loop that is not seen, as of map"
        ),
        pytest.param("a.py:9 loop=each flow", "a.py:8 flow", None, id="another line far above"),
        pytest.param("a.py:1,a.py:9 loop=each flow", "a.py:2 flow", None, id="another line"),
        pytest.param(
            "stack=a.py:1,a.py:9 loop=each flow", "flow", None, id="nobody knows the stack"
        ),
        pytest.param("blocks=s,item2", "blocks=1@1+item2", "likely", id="the system prompt kept"),
        pytest.param("blocks=s,item2", "blocks=3@1+item2", None, id="one conversation"),
        pytest.param("blocks=s,item2", "blocks=s,a1", None, id="the answer handed on"),
        pytest.param("blocks=s,item2", "blocks=s,item1", None, id="asked again"),
        pytest.param("flow=", "carries=1 flow=", None, id="a word of it handed on"),
        pytest.param("flow=", "carries=not-here flow=", None, id="something of another trace"),
        pytest.param("flow=", "asked_by=not-here flow=", "likely", id="another link out of it"),
    ],
)
def test_model_calls_in_a_loop(old: str, new: str, expected: str | None) -> None:
    drawing = ITEMS.format(one=ONE, two=TWO.replace(old, new))
    assert found(drawing) == ([f"CP102 m+m {expected} 5"] if expected else [])


@pytest.mark.parametrize(
    ("loops", "expected"),
    [
        (("each", "each"), "proved"),
        (("some", "each"), "likely"),
        (("each", "some"), "likely"),
    ],
    ids=str,
)
def test_what_an_answer_may_have_decided_is_not_proved(
    loops: tuple[str, str], expected: str
) -> None:
    one, two = ONE, TWO.replace("searched", "complete")
    drawing = ITEMS.format(
        one=one.replace("loop=each", f"loop={loops[0]}"),
        two=two.replace("loop=each", f"loop={loops[1]}"),
    )
    assert found(drawing) == [f"CP102 m+m {expected} 5"]


def test_what_is_handed_on_by_others_is_handed_on() -> None:
    drawing = """
        agent run           |---------------------------------|
          llm m              |----|                              id=1 blocks=item1>a1 {at}
          tool sub                |----|                         carries=1
            llm n                  |--|                          id=n blocks=x>y
          llm m                        |--------|                id=2 blocks=item2>a2 {at} {facts}
          llm m                                 |--------|       id=3 blocks=item3>a3 {at}
    """
    at = "stack=a.py:1 loop=each flow=searched"
    assert found(drawing.format(facts="", at=at)) == ["CP102 m+m likely 9"]
    trace = drawn(drawing.format(facts="carries=n", at=at))
    assert DataFlow(trace).reached(4, 1) == {1, 2, 3}
    assert found(drawing.format(facts="carries=n", at=at)) == ["CP102 m+m likely 9"]


@pytest.mark.parametrize("fact", ["error=overloaded", "finish=content_filter"])
def test_a_call_that_failed_may_be_why_the_next_one_was_made(fact: str) -> None:
    drawing = ITEMS.format(one=f"{ONE} {fact}", two=TWO)
    assert found(drawing) == []


def test_one_run_that_handed_it_on_refutes() -> None:
    plain, handed = ITEMS.format(one=ONE, two=TWO), ITEMS.format(one=ONE, two=f"{TWO} carries=1")
    assert found(plain, handed) == []
    assert found(plain, plain) == ["CP102 m+m likely 5"]


def test_the_line_to_change_is_that_of_the_loop() -> None:
    drawing = """
        agent run           |---------------------------------|
          llm m              |----|                              id=1 blocks=item1>a1 {at} {more}
          llm m                   |--------|                     id=2 blocks=item2>a2 {at} {more}
          llm n                             |--------|           id=3 stack=a.py:1,a.py:7
    """
    at = "stack=a.py:1,a.py:4 flow=searched"
    for more in ("", "loop=each"):
        (told,) = explained(
            drawn(drawing.format(at=at, more=more), unit_ns=UNIT), rules=ORDERS
        ).findings
        assert told.where == "a.py:4"  # a.py:1 is a helper, which another line calls as well


ROUNDS = """
    agent run           |----------------------------------------------|
      tool find          |---|                                id=f1 stack=a.py:1 {find1}
      llm ask                |-----|                          id=a1 stack=a.py:2 {one}
      tool find                    |---|                      id=f2 stack=a.py:1 {find}
      llm ask                          |-----|                id=a2 stack=a.py:2 {two}
      tool find                              |---|            id=f3 stack=a.py:1 {find3}
      llm ask                                    |-----|      id=a3 stack=a.py:2 {three}
"""
FOUND = "loop=each flow=searched"
EACH = {
    "find1": FOUND,
    "find": FOUND,
    "find3": FOUND,
    "one": f"blocks=d1>t1 carries=f1 {FOUND}",
    "two": f"blocks=d2>t2 carries=f2 {FOUND}",
    "three": f"blocks=d3>t3 {FOUND}",
}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param({}, ["CP102 find+ask+find+ask+find+ask likely 20"], id="each for itself"),
        pytest.param(
            {"find": f"carries=f1 {FOUND}"}, [], id="what was found decides what is found next"
        ),
        pytest.param({"find": f"carries=a1 {FOUND}"}, [], id="an answer looked up"),
        pytest.param({"two": f"blocks=t1>t2 carries=f2 {FOUND}"}, [], id="an answer handed on"),
        pytest.param(
            {"two": "blocks=d2>t2 loop=each", "three": "blocks=d3>t3 loop=each"},
            [],
            id="nobody looked",
        ),
        pytest.param({"one": "", "two": "", "three": ""}, [], id="without blocks"),
    ],
)
def test_rounds_of_a_loop(facts: dict[str, str], expected: list[str]) -> None:
    assert found(ROUNDS.format(**EACH | facts)) == expected


AGAIN = """
    agent run          |----------------------------|
      tool get_rules    |--|                             id=r1 {one}
      llm m                 |---|                        id=m1 {ask} blocks=p1>t1
      tool get_rules             |--|                    id=r2 {two}
      llm m                          |---|               id=m2 {ask} {given}
"""


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param({}, ["likely 8"], id="the same look-up for each"),
        pytest.param({"given": "blocks=p2>t2 carries=r2"}, ["likely 8"], id="the nearer is named"),
        pytest.param({"given": "blocks=p2>t2"}, ["likely 8"], id="neither is named"),
        pytest.param({"ask": "stack=a.py:5 loop=each flow=complete"}, ["likely 8"], id="complete"),
        pytest.param({"two": "given=x got=other-rules"}, [], id="another result"),
        pytest.param({"two": "given=y got=the-rules"}, [], id="other arguments"),
        pytest.param({"two": "given=x"}, [], id="a result that is not known"),
    ],
)
def test_rounds_that_look_up_the_same(facts: dict[str, str], expected: list[str]) -> None:
    known = {
        "one": "given=x got=the-rules",
        "two": "given=x got=the-rules",
        "ask": "stack=a.py:5 loop=each flow=searched",
        "given": "blocks=p2>t2 carries=r1",
        **facts,
    }
    for name in ("one", "two"):
        known[name] += " stack=a.py:4 loop=each flow=complete read_only"
    rounds = "CP102 get_rules+m+get_rules+m"
    assert found(AGAIN.format(**known)) == [f"{rounds} {one}" for one in expected]


def test_one_run_that_handed_something_to_a_later_round_refutes() -> None:
    drawing, carried = ROUNDS.format(**EACH), EACH | {"find": "carries=a1"}
    assert found(drawing, ROUNDS.format(**carried)) == []


def test_a_run_that_made_the_rounds_side_by_side_does_not_refute_them() -> None:
    together = """
        agent run           |-----------------|
          tool find          |---|                   id=f1 stack=a.py:1
          tool find           |---|                  id=f2 stack=a.py:1
          tool find            |---|                 id=f3 stack=a.py:1
          llm ask                |-----|             id=a1 blocks=d1>t1 carries=f1 stack=a.py:2
          llm ask                 |-----|            id=a2 blocks=d2>t2 carries=f2 stack=a.py:2
          llm ask                  |-----|           id=a3 blocks=d3>t3 carries=f3 stack=a.py:2
    """
    assert found(ROUNDS.format(**EACH), together) == ["CP102 find+ask+find+ask+find+ask likely 20"]


STEPS = """
    agent run           |-----------------------|
      chain item         |---------|                id=s1
        tool find         |---|                     id=f1 parent=s1 stack=a.py:1 {each}
        llm ask               |-----|               id=a1 parent=s1 blocks=d1>t1 carries=f1 {ask}
      chain item                    |---------|     id=s2
        tool find                    |---|          id=f2 parent=s2 stack=a.py:1 {each}
        llm ask                          |-----|    id=a2 parent=s2 blocks=d2>t2 carries=f2 {ask}
""".format(each=FOUND, ask=f"stack=a.py:2 {FOUND}")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param("", "", ["CP102 item+item likely 10"], id="each for itself"),
        pytest.param("blocks=d2", "blocks=t1", [], id="an answer handed on"),
        pytest.param("id=s2", "id=s2 carries=a1", [], id="an answer handed to the round"),
        pytest.param("item                    ", "else                    ", [], id="no round"),
        pytest.param(
            "llm ask                          ",
            "network a                        ",
            [],
            id="nobody knows what else it did",
        ),
    ],
)
def test_rounds_with_a_span_around_them(old: str, new: str, expected: list[str]) -> None:
    assert found(STEPS.replace(old, new)) == expected


def test_rounds_that_overlapped_elsewhere() -> None:
    one = """
        agent run           |-----------------------------|
          retrieval find     |---|                             id=f1
          llm ask                |-----|                       id=a1 where=a.py:2 opening=1
          retrieval find               |---|                   id=f2
          llm ask                          |-----|             id=a2 where=a.py:2 opening=2
    """
    other = """
        agent run           |-----------------------------|
          retrieval find     |---|                             id=f1
          llm ask                |-----|                       id=a1 where=a.py:2 opening=1
          retrieval find      |---|                            id=f2
          llm ask                 |-----|                      id=a2 where=a.py:2 opening=2
    """
    assert found(one, one) == []
    assert found(one, other) == ["CP102 find+ask+find+ask likely 10"]
    trace = drawn(one, unit_ns=UNIT)
    others = elsewhere([trace, _as("0" * 32, drawn(other, unit_ns=UNIT))])
    (told,) = explained(trace, others=others, rules=ORDERS).findings
    assert told.title == "run 2 rounds of a loop together"
    assert told.why == (
        "2 rounds of find and ask ran one after the other, but in other runs a later round started "
        "before an earlier round had ended, or without it."
    )


def test_what_is_not_known_is_said() -> None:
    trace = drawn(ITEMS.format(one=ONE, two=TWO), unit_ns=UNIT)
    (one,) = explained(trace, rules=ORDERS).findings
    assert one.why == (
        "2 calls of m ran one after the other, but nothing that an earlier one returned was found "
        "in what a later one was given. They are rounds of one loop. Whether what one answered "
        "decided what the next one was asked, in other words, is not in the trace."
    )
    assert one.refuted_by == (
        "a run in which a later one was given something that an earlier one returned, or was made "
        "because of it"
    )


BELOW = """
    agent run               |---------------------------------------|
      {x:22}|--------|                               id=x {one}
      {y:22}         |-------------|                 id=y {two}
      llm sum                                      |--------|
"""
ON = "stack=sdk.py:5:1,f.py:{}:4,m.py:9:0"
THERE, BELOW_IT = ON.format(3), f"{ON.format(4)} apart=f.py:3:4 flow=searched"


@pytest.mark.parametrize("kind", ["llm", "tool"])
@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        pytest.param("", "", True, id="the code hands nothing on"),
        pytest.param("", "flow=complete", True, id="and all words are known"),
        pytest.param("", "apart=", False, id="it may"),
        pytest.param("", "apart=f.py:8:4", False, id="nothing of another call"),
        pytest.param("kept=f.py:3:4", "", True, id="what is around them keeps something"),
        pytest.param("kept=sdk.py:5:1", "", False, id="what makes the first one keeps something"),
        pytest.param("", "flow=unsure", False, id="too much to search"),
        pytest.param("", "carries=x", False, id="a word was handed on all the same"),
        pytest.param("error=overloaded", "", False, id="the first one failed"),
        pytest.param("", "stack=sdk.py:5:1,f.py:4:4,m.py:8:0", False, id="called a second time"),
        pytest.param("", "stack=f.py:4:4,m.py:9:0", True, id="not by the same helper"),
        pytest.param("", "stack=g.py:4:4,m.py:9:0", False, id="another function"),
        pytest.param("", "stack=f.py:4:4", False, id="called by something else"),
        pytest.param("", "loop=each", True, id="in a loop over items"),
        pytest.param("", "loop=until", False, id="in a loop that answers may end"),
        pytest.param("", "loop=chain", False, id="in a loop that hands answers on"),
    ],
)
def test_calls_on_other_lines_of_one_function(
    kind: str, one: str, other: str, expected: bool
) -> None:
    x, y = ("llm x", "llm y") if kind == "llm" else ("tool get_x", "tool get_y")
    told = "blocks=p{0}>a{0}" if kind == "llm" else "got=yes"
    first, second = f"{told.format(1)} {THERE} {one}", f"{told.format(2)} {BELOW_IT} {other}"
    names = "+".join(name.partition(" ")[2] for name in (x, y))
    drawing = BELOW.format(x=x, y=y, one=first, two=second)
    assert found(drawing) == ([f"CP102 {names} likely 9"] if expected else [])


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ("get_user", "get_news", ["CP102 get_user+get_news likely 9"]),
        ("get_user", "save_user", []),
        ("start_session", "get_user", []),
        ("session", "get_user", []),
        ("get_user", "session", []),
    ],
)
def test_tools_on_other_lines_have_to_be_look_ups(x: str, y: str, expected: list[str]) -> None:
    one, two = f"got=Eve {THERE}", f"got=tea {BELOW_IT}"
    assert found(BELOW.format(x=f"tool {x}", y=f"tool {y}", one=one, two=two)) == expected


def test_the_ends_of_long_stacks_are_cut_off_at_other_lines() -> None:
    above = [f"m.py:{n}:0" for n in range(9, 1, -1)]
    trace = drawn(BELOW.format(x="llm x", y="llm y", one=THERE, two=BELOW_IT), unit_ns=UNIT)
    first = CallSite(("sdk.py:5:1", "f.py:3:4", *above[:6], "20 more 1a2b3c4d"))
    second = CallSite(("f.py:4:4", *above[:7], "19 more 4d3c2b1a"), apart=frozenset(["f.py:3:4"]))
    known = {"x": first, "y": second}
    told = build([replace(one, site=known.get(one.name)) for one in trace.spans])
    x, y = (i for i, one in enumerate(told.spans) if one.name in known)
    assert apart(told, x, y)
    known["y"] = replace(second, stack=(*second.stack[:4], "m.py:1:0", *second.stack[5:]))
    told = build([replace(one, site=known.get(one.name)) for one in trace.spans])
    assert not apart(told, x, y)


IN_TURNS = """
    agent run    |-------------------------------------------------------------|
      llm one     |---|                                       turn=1
      tool get_x       |----|                                 id=a asked_by=one given=p1 got={a}
      llm two               |------|                          ttft=6 results=a turn=2
      tool get_x                    |----|                    id=b asked_by=two given=p2 got={b}
      llm three                           |------|            ttft=6 results=b turn=3
      tool get_x                                  |----|      id=c asked_by=three given=p3 got={c}
      llm four                                          |--|  results=c turn=4
"""


@pytest.mark.parametrize(
    ("a", "b", "c", "expected"),
    [
        ("yes", "no", "yes", ["CP103 one+get_x+two+get_x likely 6"]),
        ("no", "yes", "no", ["CP103 one+get_x+two+get_x likely 6"]),
        ("no", "no", "yes", []),  # until there is one
        ("no", "no", "no", []),
        ("no", "not-found", "no", []),
    ],
)
def test_answers_that_a_model_goes_on_after_whatever_they_are(
    a: str, b: str, c: str, expected: list[str]
) -> None:
    assert found(IN_TURNS.format(a=a, b=b, c=c)) == expected
    other = IN_TURNS.format(a=a, b=b, c=c).replace(
        "tool get_x                    |", "tool get_y                    |"
    )
    assert found(other) == []  # another tool, perhaps for what was answered


TURNS = """
    agent run    |-----------------------------------------|
      llm one     |---|                                       turn=1
      tool a           |----|                                 asked_by=one given={a} got={result}
      llm two               |------|                          ttft=6 results=a turn=2
      tool b                        |--------|                asked_by=two given={b} got=nothing
      llm three                               |---|           results=b turn=3
"""


@pytest.mark.parametrize(
    ("a", "result", "b", "expected"),
    [
        ("Lisbon", "sunny-and-warm", "Lisbon", ["CP103 one+a+two+b likely 6"]),
        ("77", "id:42", "77", ["CP103 one+a+two+b likely 6"]),
        ("{}", "lat_38.72_lon_-9.14", '{"city":"Lisbon"}', []),
        ("repo:x", "42_files", "repo:x,author:jane", []),
        ("foo", "the_one_of_spring", "77", []),
        ("Lisbon", "order-4711-paid", "order-4711-paid", []),
        ("Lisbon", "see:order-4711", "order-4711", []),
        ("shop-4711", "shop-4711:paid", "shop-4711", []),
        ("Lisbon", "id:42", "42", []),
        ("Lisbon", "id:42", "43", []),
        ("Lisbon", "not-found", "Lisbon", []),
        ("Lisbon", "true", "Lisbon", []),
        ("Lisbon", "Cancelled.", "cancellations", []),
    ],
    ids=[
        "nothing in common",
        "short, but known before",
        "a city for where it is",
        "one word of its own",
        "a number of its own",
        "the result itself",
        "a part of the result",
        "one place, where one may write",
        "however short",
        "perhaps counted",
        "a failure that the text tells",
        "a verdict",
        "another form of a word",
    ],
)
def test_turns_that_could_be_one(a: str, result: str, b: str, expected: list[str]) -> None:
    assert found(TURNS.format(a=a, b=b, result=result)) == expected


IN_CODE = """
    agent run    |-----------------------------------------|
      tool list   |---------|                                 id=1 given={a} got=Ann_and_Bob
      tool list             |-------------|                   id=2 given={b} got=Eve_and_Fay
      llm one                             |---------|
"""
LISTED = ["CP102 list+list likely 10"], ["CP103 one+a+two+a likely 6"]
NEEDED: tuple[list[str], list[str]] = [], []


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        # Whether there is a next page, the page before says.
        ('{"page":1}', '{"page":2}', NEEDED),
        ('{"offset":0,"limit":50}', '{"offset":50,"limit":50}', NEEDED),
        ('{"q":"lamps"}', '{"q":"lamps","page":2}', NEEDED),
        ('{"path":"a","first":1,"last":9}', '{"path":"a","first":10,"last":18}', NEEDED),
        ('{"start":"0"}', '{"start":"20"}', NEEDED),
        ('{"url":"https://a.io/x?page=1"}', '{"url":"https://a.io/x?page=2"}', NEEDED),
        # What a number names, is another thing; and so is what else is asked for.
        ('{"id":5}', '{"id":6}', LISTED),
        ('{"order_id":5}', '{"order_id":6}', LISTED),
        ('{"city":"Rome"}', '{"city":"Oslo"}', LISTED),
        ('{"city":"Rome","n":1}', '{"city":"Oslo","n":2}', LISTED),
        ('{"lat":38.7}', '{"lat":59.9}', LISTED),
        ('{"page":2}', '{"page":1}', LISTED),
        ("part1", "part2", LISTED),
    ],
)
def test_the_next_page_needs_the_one_before(
    a: str, b: str, expected: tuple[list[str], list[str]]
) -> None:
    asked = TURNS.replace("tool b ", "tool a ").replace("{result}", "Ann_and_Bob id=1")
    asked = asked.replace("got=nothing", "got=Eve_and_Fay id=2")
    asked = asked.replace("results=a", "results=1").replace("results=b", "results=2")
    assert (found(IN_CODE.format(a=a, b=b)), found(asked.format(a=a, b=b))) == expected


@pytest.mark.parametrize(
    ("one", "two", "three", "expected"),
    [
        pytest.param("", "", "", [], id="nobody knows the pace"),
        pytest.param(*["tokens=1/1 model=m"] * 3, [], id="equal answers show none"),
        pytest.param(
            "tokens=1/1 model=m", "tokens=1/4 model=m", "", [], id="two answers show none"
        ),
        pytest.param(
            "tokens=1/4 model=m ttft=2",
            "tokens=1/2 model=n",
            "",
            [],
            id="the pace of another model",
        ),
        pytest.param(
            "tokens=1/4 model=m ttft=2",
            "tokens=1/2 model=m",
            "",
            ["CP103 one+a+two+b likely 6"],  # of 7 columns two tokens took half a one each
            id="the pace of a call with a first token",
        ),
        pytest.param(
            "tokens=1/1 model=m",
            "tokens=1/4 model=m",
            "tokens=1/1 model=m",
            ["CP103 one+a+two+b likely 3"],  # 3 columns more for 3 tokens more
            id="the pace of answers of different lengths",
        ),
    ],
)
def test_without_a_first_token_the_pace_tells(
    one: str, two: str, three: str, expected: list[str]
) -> None:
    drawing = TURNS.format(a="x", b="x", result="z").replace("ttft=6 ", f"{two} ")
    drawing = drawing.replace("turn=1", f"turn=1 {one}").replace("turn=3", f"turn=3 {three}")
    assert found(drawing) == expected
    for finding in explained(drawn(drawing, unit_ns=UNIT), rules=ORDERS).findings:
        assert "worked out from its tokens" in finding.why


def test_a_finding_says_why() -> None:
    trace = drawn(TURNS.format(a="x", b="x", result="z"), unit_ns=UNIT)
    (one,) = explained(trace, rules=ORDERS).findings
    assert one.title == "make turns 1 and 2 one"
    assert one.why == (
        "No word that a returned is among what b was given, so the model could have asked for all "
        "of it in one reply. a and b may write; no path, address or id that one names is named by "
        "another."
    )
    assert all(finding.code in RULES for finding in explained(trace, rules=ORDERS).findings)


def test_all_together_is_no_sum() -> None:
    drawing = """
        agent run       |--------------------------------------|
          llm one        |---|
          tool t              |----|                                asked_by=one
          tool u                   |-------|                        asked_by=one
          tool v                           |----|                   given=q1 got=x
          tool w                                |---|               given=q2 got=y
          network beside |------------------{}|
    """
    short, long = (drawn(drawing.format("-" * n), unit_ns=UNIT) for n in (0, 8))
    alone = [(one.saving.ns or 0) // UNIT for one in explained(long, rules=ORDERS).findings]
    assert (alone, explained(long, rules=ORDERS).together_ns // UNIT) == ([], 0)
    alone = [(one.saving.ns or 0) // UNIT for one in explained(short, rules=ORDERS).findings]
    assert (alone, explained(short, rules=ORDERS).together_ns // UNIT) == ([4, 4], 4)


@pytest.mark.parametrize(
    ("given", "result", "later", "expected"),
    [
        ("{}", '{"id": "ABC-12345"}', '{"id": "ABC-12345"}', True),
        ("{}", '{"text": "an excellent restaurant"}', '{"q": "a restaurant in Rome"}', True),
        ("{}", '{"text": "it is in the north"}', '{"q": "what is in the south"}', False),
        ("{}", '{"restaurant": "Old Mill"}', '{"kind": "restaurant"}', False),
        ("{}", '{"city": "Springfield"}', '{"city": "Springfield"}', True),
        ("{}", '{"n": 7, "m": 1}', '{"n": 7}', True),
        ("{}", '{"n": 17}', '{"q": 7}', False),
        ("{}", '{"hits": ["a", "b", "c", "d", "e"]}', '{"q": 5}', None),
        ("{}", '{"hits": ["a", "b", "c", "d", "e"]}', '{"limit": 5}', False),
        ("{}", '{"city": "Paris"}', '{"q": "hotels in Paris"}', True),
        ('{"q": "Paris"}', '{"city": "Paris"}', '{"q": "hotels in Paris"}', False),
        (None, "short", "other", False),
        ("{}", '{"a": null}', '{"b": true}', False),
        ("{}", '{"text": "no restaurants here"}', '{"kind": "restaurant"}', None),
        ("{}", '{"said": "wait for \\"ORDER-4711\\""}', '{"q": "for \\"ORDER-4711\\""}', True),
        ("{}", '{"name": "the \\"Old Mill\\" inn"}', '{"q": "\\"Old Mill\\""}', True),
    ],
    ids=str,
)
def test_values_tell(given: str | None, result: str, later: str, expected: bool | None) -> None:
    known = None if given is None else content.arguments(given)
    assert depends(known, content.result(result), content.arguments(later)) is expected


LONG = "It was a dark and stormy night; the rain fell in torrents, except at intervals. " * 40


@pytest.mark.parametrize(
    ("result", "later", "expected"),
    [
        (f"{LONG} see https://example.com/items/a1b2c3d4?ref=1 {LONG}", '{"id": "a1b2c3d4"}', True),
        (f"{LONG} ID0000a1b2c3d4 {LONG}", '{"id": "a1b2c3d4"}', True),
        (f'{{"text": "{LONG}", "id": "A-4711-0815"}}', '{"q": "about A-4711-0815"}', True),
        ("A-4711-0815", f"{LONG} A-4711-0815 {LONG}", True),
        (LONG, '{"q": "the sun in Spain stays mainly"}', False),
        (LONG, '{"q": "dark and stormy night"}', True),
        (LONG, '{"q": "torrents"}', True),
        (LONG, '{"city": "Springfield", "day": "2026-11-21"}', False),
        (LONG, f"{LONG} and more of it", True),
        (LONG * 40, '{"city": "Springfield"}', None),
    ],
    ids=[
        "an id in an address",
        "a part of a word",
        "a value in JSON",
        "a short result in a long argument",
        "other words",
        "a phrase",
        "a common word",
        "nothing",
        "all of it",
        "too long to be kept",
    ],
)
def test_long_texts(result: str, later: str, expected: bool | None) -> None:
    assert depends(None, content.result(result), content.arguments(later)) is expected
    assert depends(content.arguments("{}"), content.result(result), None) is None


def test_equal_texts_are_equal_however_long() -> None:
    assert depends(None, content.result(LONG * 100), content.arguments(LONG * 100)) is True


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("the agent reads a trace", set()),
        ("Straße naïve 日本", set()),
        ("the agent, reads: a (trace).", set()),
        ("on 2026-11-28 at 10:30", set()),
        ("", set()),
        ("look at notes.md. then", {"at:notes.md"}),
        ("order 4711 of me", {"at:4711"}),
        ("write to me@example.com!", {"at:me@example.com"}),
        ("x2y and ٣٤٥", {"at:x2y", "at:٣٤٥"}),
        ("in src/a.py today", {"at:src/a.py", "in:a.py", "in:src"}),
    ],
)
def test_what_a_text_names(text: str, named: set[str]) -> None:
    tool = ToolCall(arguments=Content(1, 1, json.dumps({"query": text})))
    places = places_of(tool)
    assert places is not None
    assert {place for place in places if not place.startswith("is:")} == named
