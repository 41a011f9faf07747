"""Whether an answer reaches a later call, as the bytecode of the application tells it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from causepath.code import answers
from causepath.code.call_sites import Site, site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

found: list[Site] = []


def ask(*_: Any) -> str:
    found.append(site(sys._getframe(1)))
    return "no"


async def ask_later(*_: Any) -> str:
    return ask()


def save(_: Any) -> None:
    """Keeps something, perhaps."""


class Keeper:
    """An object whose steps keep what was answered."""

    told = ""

    def one(self) -> None:
        self.told = ask()

    def other(self) -> str:
        return ask()


class Forgetter:
    """One whose steps keep nothing."""

    def one(self) -> str:
        return self.turned(ask())

    def other(self) -> str:
        return ask()

    def turned(self, answer: str) -> str:
        return answer


# -- nothing reaches the second


def below_each_other() -> str:
    one = ask()
    other = ask()
    return one + other


def in_a_display() -> Any:
    return {"one": ask(), "other": ask()}


def in_a_tuple() -> Any:
    one, other = ask("a"), ask("b")
    return other, one


async def awaited() -> str:
    one = await ask_later()
    other = await ask_later()
    return one + other


def appended() -> str:
    told = []
    told.append(ask())
    told.append(ask())
    return ", ".join(told)


def filled_in() -> Any:
    told = {}
    told["one"] = ask()
    told["other"] = ask()
    return told


def turned_into_something_else() -> str:
    one = json.loads(json.dumps(ask()))
    other = ask().strip()
    return one + other


def printed() -> None:
    one = ask()
    print(one, end="")
    ask()


def in_f_strings() -> str:
    one = f"{ask()}!"
    other = f"{ask()}?"
    return one + other


def an_error_is_caught() -> Any:
    try:
        one = ask()
    except ValueError:
        one = ""
    return one, ask()


def either_answer(given: str = "") -> Any:
    one = given or ask()
    return one, ask()


def counted() -> int:
    count = 0
    count += len(ask())
    count += len(ask())
    return count


def a_helper_asks() -> Any:
    def helper() -> str:
        return ask()

    return helper(), ask()


def steps_that_keep_nothing() -> Any:
    steps = Forgetter()
    return steps.one(), steps.other()


def dropped() -> None:
    ask()
    ask()


# -- something may


def given_on() -> None:
    one = ask()
    ask(one)


async def awaited_and_given_on() -> None:
    one = await ask_later()
    await ask_later(one)


async def awaited_and_turned() -> None:
    one = (await ask_later()).strip()
    two = [one]
    await ask_later(two[0])


def a_walrus_returns() -> Any:
    if (one := ask()) == "yes":
        return one
    return ask()


def a_person_is_shown_it() -> None:
    input = str  # noqa: A001
    one = ask()
    print(one, end="")
    if input("Go on?") != "no":
        ask()


def a_person_is_asked() -> None:
    confirm = bool
    one = ask()
    print(one, end="")
    confirm()
    ask()


def on_one_line() -> None:
    one = ask(); two = one + "!"; ask(two)  # noqa: E702  # fmt: skip


def beside_another_name(other: str = "") -> None:
    one = ask()
    print(other[:0], ask(other, one), end="")


def kept_in_two() -> None:
    one = two = ask()
    save(two) if one == "yes" else None
    ask(one)


def given_on_at_once() -> None:
    ask(ask())


def given_on_by_parts() -> None:
    first, _ = ask(), 0
    ask(first)


def given_on_by_other_names() -> None:
    one = ask()
    two = one.upper()
    three = f"So far: {two}"
    ask(three)


def given_on_by_a_walrus() -> None:
    print(end=(one := ask())[:0])
    ask(one)


def either_answer_is_given_on(given: str = "") -> None:
    one = given or ask()
    ask(one)


def a_branch() -> None:
    if ask() == "no":
        ask()


def it_returns_early() -> None:
    if ask() == "yes":
        return
    ask()


def it_is_made_sure() -> None:
    one = ask()
    assert one
    ask()


def a_case() -> None:
    match ask():
        case "no":
            more = "a"
        case _:
            more = "b"
    ask(more)


def unpacked() -> None:
    _, second = ask()
    ask(second)


def a_word_for_it() -> None:
    words = {"no": "gravely"}
    ask(words[ask()])


def by_and() -> Any:
    return ask() and ask()


def for_each_of_it() -> None:
    for letter in ask():
        ask(letter)
        break


def kept_in_an_attribute() -> None:
    keeper = Keeper()
    keeper.told = ask()
    keeper.other()


def steps_that_keep_it() -> None:
    keeper = Keeper()
    keeper.one()
    keeper.other()


def kept_in_a_global() -> None:
    global kept
    kept = ask()
    ask()


def kept_in_a_closure() -> None:
    told = ""

    def helper() -> None:
        nonlocal told
        told = ask()

    helper()
    ask()


def kept_by_a_helper(known: dict[str, str] = {}) -> None:  # noqa: B006
    def helper() -> None:
        known["one"] = ask()

    helper()
    ask()


def kept_in_the_environment() -> None:
    os.environ["CAUSEPATH_TEST_ANSWER"] = ask()
    ask()
    del os.environ["CAUSEPATH_TEST_ANSWER"]


def kept_by_what_is_called() -> None:
    one = ask()
    save(one)
    ask()


def kept_in_a_list_of_others(told: Any = ()) -> None:
    told = told or [].copy()
    told.append(ask())
    ask()


def kept_in_a_list_that_others_have() -> None:
    told: list[str] = []
    keeper = Keeper()
    keeper.told = told  # type: ignore[assignment]
    told.append(ask())
    keeper.other()


def kept_in_a_list_that_was_handed_on() -> None:
    told: list[str] = []
    save(told)
    told.append(ask())
    ask()


def inside_of_what_it_opens() -> None:
    with contextlib.nullcontext(ask()):
        ask()


def by_a_generator() -> None:
    def steps() -> Iterator[str]:
        yield ask()
        yield ask()

    for one in steps():
        save(one)


def by_map() -> None:
    list(map(ask, (1, 2)))


kept = ""

APART = [
    below_each_other, in_a_display, in_a_tuple, awaited, appended, filled_in,
    turned_into_something_else, printed, in_f_strings, an_error_is_caught, either_answer, counted,
    a_helper_asks, steps_that_keep_nothing, dropped,
]  # fmt: skip
TOGETHER = [
    given_on, awaited_and_given_on, awaited_and_turned, a_walrus_returns, a_person_is_shown_it,
    a_person_is_asked, on_one_line, beside_another_name, kept_in_two, given_on_at_once,
    given_on_by_parts, given_on_by_other_names, given_on_by_a_walrus, either_answer_is_given_on,
    a_branch, it_returns_early, it_is_made_sure, a_case, unpacked, a_word_for_it, by_and,
    for_each_of_it, kept_in_an_attribute, steps_that_keep_it, kept_in_a_global,
    kept_in_a_closure, kept_by_a_helper, kept_in_the_environment, kept_by_what_is_called,
    kept_in_a_list_of_others, kept_in_a_list_that_others_have,
    kept_in_a_list_that_was_handed_on, inside_of_what_it_opens, by_a_generator, by_map,
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "expected"),
    [*((code, True) for code in APART), *((code, False) for code in TOGETHER)],
    ids=lambda value: value.__name__ if callable(value) else str(value),
)
def test_whether_an_answer_reaches_the_next_call(code: Callable[[], Any], expected: bool) -> None:
    found.clear()
    if asyncio.iscoroutinefunction(code):
        asyncio.run(code())
    else:
        code()
    assert [is_apart(*found)] == [expected]


def is_apart(one: Site, two: Site) -> bool:
    """Roughly as whoever reads the trace works it out."""
    at = next((n for n, line in enumerate(one.stack) if line in two.apart), None)
    return at is not None and not {*one.stack[:at]} & {*one.kept}


def test_long_functions_are_not_looked_into() -> None:
    lines = "\n".join(f"    x{n} = ask()" for n in range(1_000))
    names: dict[str, Any] = {}
    exec(f"def long(ask):\n{lines}\n", names)
    code = names["long"].__code__
    assert answers.reach_of(code, 2_000) == answers.Reach(lasts=True)


def test_a_function_at_its_limit_is_looked_into() -> None:
    lines = "\n".join(f"    x{n} = ask(x{max(0, n - 2)})" for n in range(120))
    names: dict[str, Any] = {}
    exec(f"def long(ask, x0=0):\n{lines}\n", names)
    code = names["long"].__code__
    assert len(code.co_code) < answers.MAX_BYTES
    last = len(code.co_code) - 10
    # Of those nearest to it every other one is given on to it.
    lines_apart = [line for line, _ in answers.reach_of(code, last).apart]
    assert lines_apart == [120, 118, 116, 114, 112, 110]


def test_code_without_columns_tells_nothing() -> None:
    code = below_each_other.__code__
    for offset in range(0, len(code.co_code), 2):
        bare = code.replace(co_linetable=b"")
        assert answers.reach_of(bare, offset) == answers.Reach(lasts=True)


def test_whatever_there_is_can_be_looked_at() -> None:
    for module in (asyncio.base_events, contextlib, json.decoder, os):
        for code in _codes(vars(module).values()):
            for offset in range(0, len(code.co_code), 40):
                assert len(answers.reach_of(code, offset).apart) <= answers.MAX_CALLS


def _codes(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, type):
            yield from _codes(vars(value).values())
        elif hasattr(value, "__code__") and len(value.__code__.co_code) < 600:
            yield value.__code__
