"""The loop around a call, as the bytecode of the application tells it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
from typing import TYPE_CHECKING, Any

import pytest

from causepath.code.call_sites import Site, site

if TYPE_CHECKING:
    from collections.abc import Callable

found: list[Site] = []


def ask(*_: Any) -> str:
    found.append(site(sys._getframe(1)))
    return "no"


async def ask_later(*_: Any) -> str:
    return ask()


def each() -> None:
    for item in (1, 2):
        ask(item)


def comprehension() -> None:
    [ask(item) for item in (1, 2)]


def by_a_helper() -> None:
    def helper(item: int) -> str:
        question = f"What is {item}?" if item > 1 else "What?"
        return ask(question)

    for item in (1, 2):
        helper(item)


def with_retries() -> None:
    def helper(item: int) -> str:
        for _ in range(3):
            try:
                return ask(item)
            except ValueError:
                continue
        return ""

    for item in (1, 2):
        helper(item)


def an_error_ends_it() -> None:
    for item in (1, 2):
        if ask(item) == "yes":
            raise ValueError


def inside_with_and_try() -> None:
    for item in (1, 2):
        try:
            with contextlib.nullcontext():
                ask(item)
        except ValueError:
            pass


async def awaited() -> None:
    for item in (1, 2):
        await ask_later(item)


async def items() -> Any:
    for item in (1, 2):
        yield item


async def asynchronous_items() -> None:
    async for item in items():
        await ask_later(item)


def long_body() -> None:
    """Whose jumps need more than a byte."""
    for item in (1, 2):
        ask(item)
        told = [item + 1, item + 2, item + 3, item + 4, item + 5, item + 6, item + 7, item + 8]
        told += [item - 1, item - 2, item - 3, item - 4, item - 5, item - 6, item - 7, item - 8]
        told += [item * 1, item * 2, item * 3, item * 4, item * 5, item * 6, item * 7, item * 8]
        told += [item | 1, item | 2, item | 3, item | 4, item | 5, item | 6, item | 7, item | 8]
        told += [item & 1, item & 2, item & 3, item & 4, item & 5, item & 6, item & 7, item & 8]
        told += [item ^ 1, item ^ 2, item ^ 3, item ^ 4, item ^ 5, item ^ 6, item ^ 7, item ^ 8]


def all_answers_kept() -> None:
    told, length, number = [], 0, 0
    for item in (1, 2):
        number += 2
        answer = ask(item, number)
        told.append(answer)
        length += len(answer)


def kept_for_the_next() -> None:
    story = ""
    for item in (1, 2):
        story = ask(story, item)


def counted_for_the_next() -> None:
    count = 0
    for item in (1, 2):
        count += ask(count, item) == "yes"


def a_flag_for_the_next() -> None:
    done = False
    for item in (1, 2):
        if not done:
            done = ask(item) == "yes"


def the_next_by_an_answer() -> None:
    waiting = iter((1, 2, 3, 4))
    for item in waiting:
        if ask(item) == "no":
            next(waiting, None)


class Memory:
    def __init__(self) -> None:
        self.last, self.used = "", 0

    def remember(self, item: int) -> None:
        self.last = ask(self.last, item)

    def count(self, item: int) -> None:
        self.used += len(ask(item))


def kept_in_an_object() -> None:
    memory = Memory()
    for item in (1, 2):
        memory.remember(item)


def counted_in_an_object() -> None:
    memory = Memory()
    for item in (1, 2):
        memory.count(item)


def only_some() -> None:
    for item in (1, 2, 3):
        if item != 2:
            ask(item)


def a_helper_may_not_ask() -> None:
    def helper(item: int) -> None:
        if item > 0:
            ask(item)

    for item in (1, 2):
        helper(item)


def a_loop_inside_another_function() -> None:
    for _ in (1,):
        functools.reduce(lambda told, item: ask(told, item), (1, 2, 3))


def until_an_answer() -> None:
    for item in (1, 2):
        if ask(item) == "yes":
            break


def first_answer() -> str | None:
    for item in (1, 2):
        if ask(item) == "yes":
            return "yes"
    return None


def while_there_is_something() -> None:
    waiting = [1, 2]
    while waiting:
        ask(waiting.pop())


def for_ever() -> None:
    done = 0
    while True:
        done += ask() == "no"
        if done > 1:
            return


async def until_an_awaited_answer() -> None:
    for item in (1, 2):
        if await ask_later(item) == "yes":
            break


def one_after_the_other() -> None:
    ask(1)
    ask(2)


def by_map() -> None:
    list(map(lambda item: ask(item), (1, 2)))  # noqa: C417


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (each, "each"),
        (comprehension, "each"),
        (by_a_helper, "each"),
        (with_retries, "some"),
        (an_error_ends_it, "each"),
        (inside_with_and_try, "each"),
        (awaited, "each"),
        (asynchronous_items, "each"),
        (long_body, "each"),
        (all_answers_kept, "each"),
        (counted_in_an_object, "each"),
        (kept_for_the_next, "chain"),
        (counted_for_the_next, "chain"),
        (a_flag_for_the_next, "chain"),
        (the_next_by_an_answer, "chain"),
        (kept_in_an_object, "chain"),
        (only_some, "some"),
        (a_helper_may_not_ask, "some"),
        (a_loop_inside_another_function, "some"),
        (until_an_answer, "until"),
        (first_answer, "until"),
        (while_there_is_something, "until"),
        (for_ever, "until"),
        (until_an_awaited_answer, "until"),
        (one_after_the_other, None),
        (by_map, None),
    ],
    ids=lambda value: value.__name__ if callable(value) else str(value),
)
def test_the_kind_of_the_loop(code: Callable[[], Any], expected: str | None) -> None:
    found.clear()
    if asyncio.iscoroutinefunction(code):
        asyncio.run(code())
    else:
        code()
    kinds = {one.loop[1] if one.loop is not None else None for one in map(_below, found)}
    assert kinds == {expected}


def _below(one: Site) -> Site:
    """Without the loops of whoever runs the tests."""
    return one if one.loop is not None and __file__ in one.loop[0] else Site(one.stack, None)


def test_the_stack_is_bounded() -> None:
    def deep(depth: int) -> None:
        if depth:
            deep(depth - 1)
        else:
            ask()

    found.clear()
    for depth in (20, 20, 21):
        deep(depth)
    one, same, other = (one.stack for one in found)
    assert len(one) == 9
    assert all(line.startswith(f"{__file__}:") for line in one[:-1])
    assert one == same
    assert one != other
    assert one[-1].partition(" more ")[0].isdecimal()
