"""CP405, CP304 and CP605: long answers, prompts that are the cost, many calls; and look-alikes."""

import re
from decimal import Decimal

import pytest
from msgspec.structs import replace

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.opportunities import candidates
from causepath_analyzer.analyses.findings.rule import UNKNOWN
from causepath_analyzer.analyses.findings.rules import RULES
from causepath_analyzer.analyses.limits import LIMITS
from tests.support.drawn import MS, drawn, found_in

UNIT = 100 * MS
WRITTEN = "For 4.1 s the run waited while 1,000 tokens were written."
SAVE = "save 410 ms; how many are needed is not in the trace."


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (
            "ttft=5 tokens=900/1000",
            [f"{WRITTEN} Every 100 tokens fewer {SAVE}"],
        ),
        (
            "ttft=5 tokens=900/1000/0/0/800",
            [f"{WRITTEN} 800 of them are reasoning. Every 100 tokens fewer {SAVE}"],
        ),
        ("ttft=20 tokens=900/1000", []),  # less than 3 s
        ("tokens=900/1000", []),  # when the first token came is not known
        ("ttft=5", []),  # nobody counted
        ("ttft=5 tokens=900/20", []),  # it cannot be much shorter
        ("ttft=5 generated=10 tokens=900/1000", []),  # whoever read it held it up
        ("ttft=5 tokens=900/1000 error=Overloaded", []),
        ("ttft=5 tokens=900/1000/0/0/1001", []),  # it cannot be
        (  # for 1.5 s of it the stream stood still, and for 2.6 s it was written
            "ttft=5 generated=45 tokens=900/1000 finish=stop blocks=a>b stream=60/4/15",
            [],
        ),
        (  # for 1 s
            "ttft=5 generated=45 tokens=900/1000 finish=stop blocks=a>b stream=60/4/10",
            [
                f"{WRITTEN} Every 100 tokens fewer {SAVE}".replace("4.1", "3.0").replace(
                    "410", "300"
                )
            ],
        ),
    ],
)
def test_long_answers(facts: str, expected: list[str]) -> None:
    drawing = f"""
    agent run   |-----------------------------------------------|
      llm one    |--------------------------------------------|   {facts}
    """
    drawing = drawing.replace("|--------------------------------------------|", f"|{'-' * 45}|")
    trace = drawn(drawing, unit_ns=UNIT)
    found = found_in(trace, "CP405")
    assert [one.why for one in found] == expected
    assert all((one.saving, one.evidence) == (UNKNOWN, "proved") for one in found)
    assert found_in(replace(trace, untrusted=True), "CP405") == []


def test_an_answer_that_nobody_waited_for_may_be_long() -> None:
    drawing = f"""
    agent run   |{"-" * 60}|
      llm one    |{"-" * 45}|   ttft=5 tokens=900/1000
      tool t    |{"-" * 58}|
    """
    assert found_in(drawn(drawing, unit_ns=UNIT), "CP405") == []


PRICED = "model=gpt-4o provider=openai"


@pytest.mark.parametrize(
    ("one", "two", "title"),
    [
        # 40,000 x 2.5 and 200 x 10 dollars a million.
        (f"{PRICED} tokens=20000/100", f"{PRICED} tokens=20000/100", "98%"),
        (f"{PRICED} tokens=20000/100", f"{PRICED} tokens=20000/3000", None),  # 76 %
        (f"{PRICED} tokens=9000/10", f"{PRICED} tokens=9000/10", None),  # it costs 4.5 cents
        (f"{PRICED} tokens=40000/100", "", None),  # one of which nobody counted
        (f"{PRICED} tokens=20000/100", "model=our-own tokens=20000/100", None),  # no price
        (f"{PRICED} tokens=80000/9/70000", f"{PRICED} tokens=80000/9/70000", None),  # cached
    ],
)
def test_prompts_that_are_the_cost(one: str, two: str, title: str | None) -> None:
    drawing = f"""
    agent run   |---------------------|
      llm one    |------|               {one}
      llm two             |------|      {two}
    """
    found = found_in(drawn(drawing, unit_ns=UNIT), "CP304")
    assert [one.title for one in found] == (
        [] if title is None else [f"send less: {title} of the cost is prompts"]
    )
    assert all(one.saving == UNKNOWN for one in found)


def test_a_single_call_may_be_all_prompt() -> None:
    drawing = f"llm one |---|  {PRICED} tokens=90000/10"
    assert found_in(drawn(drawing, unit_ns=UNIT), "CP304") == []


def turns(number: int, ends: str = "") -> str:
    """So many model calls in a row, each with a tool but the last; another question, if `ends`."""
    lines = [f"agent run |{'-' * (4 * number + 2)}|"]
    for n in range(number):
        at = " " * (4 * n)
        lines.append(f"  llm one{n:02} {at}|-|  tokens={1000 + n}/9 turn={n + 1}")
        if n < number - 1 and not (ends and n == number // 2):
            lines.append(f"  tool get{n:02} {at}  |-|  asked_by=one{n:02}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("drawing", "expected"),
    [
        (turns(11), ["fewer turns: 11 for one answer"]),
        (turns(10), []),
        (turns(16, ends="an answer in the middle"), []),  # two questions of a user
        (turns(24, ends="an answer in the middle"), ["fewer turns: 13 for one answer"]),
        ("\n".join(line for line in turns(30).splitlines() if "tool" not in line), []),
    ],
)
def test_many_turns(drawing: str, expected: list[str]) -> None:
    found = found_in(drawn(drawing, unit_ns=UNIT), "CP605")
    assert [one.title for one in found] == expected
    assert all((one.saving, one.evidence) == (UNKNOWN, "proved") for one in found)


def beside(number: int, rows: int = 1, length: int = 20) -> str:
    """`rows` times so many calls of one kind that run side by side, and a model call behind."""
    wide = rows * (length + 3) + 9
    lines = [f"agent run |{'-' * wide}|"]
    for row in range(rows):
        at = " " * (row * (length + 3) + 1)
        lines += [
            f"  tool get_row {at}|{'-' * length}|  id=i{row}x{n} given=row_{row}_{n}"
            for n in range(number)
        ]
    return "\n".join([*lines, f"  llm answer {' ' * (rows * (length + 3) + 3)}|--|"])


def calls(number: int, what: str = "tool", name: str = "get_row", facts: str = "") -> str:
    """So many calls of one kind, one after the other, and a model call behind them."""
    lines = [f"agent run |{'-' * (3 * number + 9)}|"]
    lines += [
        f"  {what} {name} {' ' * 3 * n}|-|  id=i{n} given=row_{n} {facts}" for n in range(number)
    ]
    return "\n".join([*lines, f"  llm answer{' ' * (3 * number - len('answer') + len(name))} |--|"])


@pytest.mark.parametrize(
    ("drawing", "expected"),
    [
        (calls(20), ["one batch, not 20 calls of get_row"]),
        (calls(20, "embedding", "embed_1"), ["one batch, not 20 calls of embed_1"]),
        (calls(20, "retrieval", "query_x"), ["one batch, not 20 calls of query_x"]),
        (calls(19), []),
        (beside(24), []),  # nothing is one by one
        (beside(12, rows=4), []),  # four times in all
        (beside(2, rows=20, length=2), ["one batch, not 20 calls of get_row"]),
        (calls(20, name="put_row"), []),  # each may have to be made by itself
        (calls(20, name="add_up_"), []),
        (calls(20, facts="inferred"), []),
        (calls(20, facts="error=Timeout"), []),
        (calls(20, "database", "select_"), []),  # that is the service's
    ],
)
def test_many_calls_of_one_kind(drawing: str, expected: list[str]) -> None:
    found = found_in(drawn(drawing, unit_ns=UNIT), "CP605")
    assert [one.title for one in found] == expected
    assert all((one.saving, one.evidence) == (UNKNOWN, "likely") for one in found)


def questions(
    number: int, tokens: str = "1000/9", opening: str = "{n}", pause: int = 0, carries: str = ""
) -> str:
    """So many questions to a model, one after the other."""
    lines = [f"agent run |{'-' * ((3 + pause) * number + 4)}|"]
    lines += [
        f"  llm ask{n:02} {' ' * ((3 + pause) * n)}|-|  model=gpt-4o finish=stop "
        f"opening={opening.format(n=n)} tokens={tokens.format(n=1000 + n)} "
        f"{'carries=' + carries.format(n=n - 1) if carries and n else ''}"
        for n in range(number)
    ]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("drawing", "expected"),
    [
        (questions(20), ["one batch, not 20 calls of gpt-4o"]),
        (questions(19), []),
        (questions(24, opening="7"), []),  # one conversation
        (questions(24, tokens="{n}/9"), []),  # each may hold the answers so far
        (questions(24, pause=4), []),  # somebody asks them
        (questions(24).replace("opening", "no"), []),  # nobody knows if they begin anew
        (questions(24).replace("finish=stop", "finish=tool_call"), []),
        (questions(24) + f"\n  tool look_up {' ' * 30}|-|", []),
        (questions(24, carries="ask{n:02}"), []),
    ],
)
def test_many_questions_of_one_kind(drawing: str, expected: list[str]) -> None:
    found = found_in(drawn(drawing, unit_ns=UNIT), "CP605")
    assert [one.title for one in found] == expected
    assert all("batch API" in one.fix for one in found)


def chained(given: str, result: str, facts: str = "") -> str:
    """Twenty-four calls of one kind by own code, `given` and with a `result` that name their
    number."""
    lines = [f"agent run |{'-' * 81}|"]
    lines += [
        f"  tool get_row {' ' * 3 * n}|-|  id=i{n} {facts} "
        f"given={given.format(n, n * n)} got={result.format(n + 1, (n + 1) * (n + 1))}"
        for n in range(24)
    ]
    return "\n".join([*lines, f"  llm answer {' ' * 72} |--|"])


@pytest.mark.parametrize(
    ("drawing", "expected"),
    [
        (chained("row_{}", "red"), ["one batch, not 24 calls of get_row"]),
        (chained("cursor_x{1}q", "next_cursor_x{1}q"), []),  # each has what the one before returned
        (chained("page_{}", "cursor_x{1}q"), ["one batch, not 24 calls of get_row"]),
        # Each was asked for when the last one had been answered.
        (re.sub(r"get(\d\d)(.*)", r"get_x\2 id=t\1", turns(25)), []),
    ],
)
def test_calls_that_need_each_other_are_no_batch(drawing: str, expected: list[str]) -> None:
    found = found_in(drawn(drawing, unit_ns=UNIT), "CP605")
    assert [one.title for one in found if "batch" in one.title] == expected


def test_calls_that_take_no_time_may_be_many() -> None:
    assert found_in(drawn(calls(20)), "CP605") == []


@pytest.mark.parametrize(
    ("code", "drawing", "changed"),
    [
        ("CP605", turns(11), {"iterations": 11}),
        ("CP605", calls(20), {"calls": 21}),
        ("CP605", calls(20), {"tool_ns": 9_000 * MS}),
        (
            "CP304",
            (
                f"agent a |------|\n  llm b |--| {PRICED} tokens=20000/9\n"
                f"  llm c    |--| {PRICED} tokens=20000/9"
            ),
            {"cost_usd": Decimal(1)},
        ),
    ],
)
def test_limits_can_be_moved(code: str, drawing: str, changed: dict[str, int]) -> None:
    trace = drawn(drawing, unit_ns=UNIT)
    assert candidates(Facts(trace), [RULES[code]]).by_code[code]
    moved = Facts(trace, limits=replace(LIMITS, **changed))
    assert not candidates(moved, [RULES[code]]).by_code[code]
