"""Code that tells of its calls is otherwise the code that the function had."""

from __future__ import annotations

import asyncio.queues
import contextlib
import gc
import importlib.util
import inspect
import json.encoder
import pickle
import sys
import textwrap
import traceback
import types
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from causepath.tool_functions.code_exchange import Only, Teller, Tellers, Way
from causepath.tool_functions.measured_code import telling_code, with_teller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

ALIKE = (
    "co_name", "co_qualname", "co_filename", "co_firstlineno", "co_flags", "co_varnames",
    "co_cellvars", "co_freevars", "co_argcount", "co_posonlyargcount", "co_kwonlyargcount",
)  # fmt: skip


class Log:
    """A teller that only notes what it is told."""

    def __init__(self) -> None:
        self.told_of: list[Any] = []

    def asked(self) -> bool:
        return True

    def enter(self, *given: Any) -> AbstractContextManager[None]:
        self.told_of.append(given)
        return nullcontext()

    def told(self, result: Any) -> Any:
        self.told_of.append(result)
        return result

    paused = handed_over = resumed = told


@contextlib.contextmanager
def telling(function: Any) -> Iterator[Log]:
    plain = function.__code__
    code = telling_code(function, plain)
    assert code is not None
    log = Log()
    function.__code__ = with_teller(code, log)
    try:
        yield log
    finally:
        function.__code__ = plain


def functions_of(module: types.ModuleType) -> Iterator[types.FunctionType]:
    for value in vars(module).values():
        members = vars(value).values() if isinstance(value, type) else (value,)
        for member in members:
            function = getattr(member, "__func__", member)
            if (
                isinstance(function, types.FunctionType)
                and function.__module__ == module.__name__
                and function.__code__.co_filename == module.__file__
            ):
                yield function


@pytest.mark.parametrize(
    "module", [textwrap, json.encoder, contextlib, asyncio.queues], ids=lambda m: m.__name__
)
def test_functions_get_code_that_is_alike(module: types.ModuleType) -> None:
    functions = list(functions_of(module))
    found = [(function, telling_code(function, function.__code__)) for function in functions]
    assert len(found) > 5
    assert [function.__qualname__ for function, code in found if code is None] == []
    for function, code in found:
        for name in ALIKE:
            if hasattr(code, name):
                assert getattr(code, name) == getattr(function.__code__, name)


def add(a: int, b: int = 2, *rest: int, c: int = 3, **more: int) -> int:
    """Adds."""
    return sum((a, b, *rest, c, *more.values()))


def halves(n: int) -> float:
    for step in range(3):
        if step == n:
            return 1 / step
    raise LookupError(n)


def outer() -> Callable[[], list[str]]:
    names = ["outer"]

    def inner() -> list[str]:
        nonlocal names
        names = [*names, *(name for name in ("inner",))]
        return names

    return inner


class Box:
    def __init__(self) -> None:
        self.__inside = 3

    def size(self) -> tuple[int, str]:
        return self.__inside, super().__repr__()[:1]


def parts(n: int) -> Iterator[int]:
    got = yield n
    yield from (got, 7)
    return n


CALLS = [
    (add, lambda f: f(1), [(1, 2, 3, (), {}), 6]),
    (add, lambda f: f(1, 5, 6, c=7, d=8), [(1, 5, 7, (6,), {"d": 8}), 27]),
    (halves, lambda f: f(2), [(2,), 0.5]),
    (outer(), lambda f: f(), [(), ["outer", "inner"]]),
    (lambda q, *, r=1: (q, r), lambda f: f("x", r=2), [("x", 2), ("x", 2)]),
]


@pytest.mark.parametrize(("function", "call", "told"), CALLS)
def test_what_a_call_is_given_and_gives_back_is_told(function: Any, call: Any, told: Any) -> None:
    before = inspect.signature(function), function.__doc__, inspect.getsource(function)
    with telling(function) as log:
        assert call(function) == told[-1]
        assert log.told_of == told
        after = inspect.signature(function), function.__doc__, inspect.getsource(function)
        assert after == before


def test_a_method_has_its_class_and_its_private_names() -> None:
    with telling(Box.size):
        assert Box().size() == (3, "<")


def test_a_generator_tells_where_it_pauses() -> None:
    with telling(parts) as log:
        steps: Any = parts(1)
        assert [next(steps), steps.send("got"), next(steps)] == [1, "got", 7]
        assert list(steps) == []
        assert log.told_of == [(1,), 1, "got", ("got", 7), None, 1]


def test_a_traceback_is_the_same() -> None:
    def failed() -> str:
        try:
            halves(5)
        except LookupError:
            return traceback.format_exc()
        return ""

    before = failed()
    with telling(halves):
        assert failed() == before


def made(path: Path, text: str) -> Any:
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_source_that_was_changed_since_is_not_taken(tmp_path: Path) -> None:
    module = made(tmp_path / "one.py", "def f(x):\n    return x + 1\n")
    assert telling_code(module.f, module.f.__code__) is not None
    for text in ("def f(x):\n    return x + 2\n", "\ndef f(x):\n    return x + 1\n", "", "def f("):
        module = made(tmp_path / "one.py", "def f(x):\n    return x + 1\n")
        other = tmp_path / f"other{len(text)}.py"
        code = module.f.__code__.replace(co_filename=str(other))
        other.write_text(text)
        assert telling_code(module.f, code) is None


def test_what_has_no_source_is_left_alone() -> None:
    scope: dict[str, Any] = {}
    exec("def f(): return 1", scope)
    assert telling_code(scope["f"], scope["f"].__code__) is None


def test_no_warning_is_given_a_second_time(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = made(
            tmp_path / "odd.py",
            "def f(x):\n    return '\\d', x is 3\n\ndef g(x):\n    return r'\\d' + x\n",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert telling_code(module.f, module.f.__code__) is None
        assert telling_code(module.g, module.g.__code__) is not None


@pytest.mark.parametrize(
    "said",
    [
        "{'a': 1}[x]", "{k: 1 for k in x}[x]", "[k for k in x][:5]", "[k for k in x][0]",
        "[k for k in x][x]", "f'{x}'[:9]", "f'{x}'[x]", "'abc'[x]", "b'abc'[-1]", "[1, 2][x]",
        "(1, 2)[x]", "(1, 2)[True]", "(lambda: x)()", "{'a': 1}['a']", "[{'a': 1}[x] for x in x]",
        "'abc'['a']", "[1, 2]['a']", "(1, 2)[1.5]", "[k for k in x]['a']", "f'{x}'['a']",
        "f'{x}'[f'{x}']", "[1][(1, 2)]", "[1][[k for k in x]]", "'abc'[{}]",
        "'abc'[{k for k in x}]", "[1][lambda: x]", "[1][None]", "{1, 2}[x]", "{k for k in x}[x]",
        "(k for k in x)[0]", "(lambda: x)[0]", "1[x]", "None[x]", "...[x]", "'abc'(x)",
        "(1, 2)(x)", "[1](x)", "{}(x)", "{1}(x)", "f'{x}'(x)", "[k for k in x](x)",
        "{k: 1 for k in x}(x)", "1(x)",
    ],
)  # fmt: skip
def test_what_the_compiler_warns_of_is_left_alone_and_nothing_else(
    said: str, tmp_path: Path
) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        module = made(tmp_path / "said.py", f"def f(x):\n    return {said}\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (telling_code(module.f, module.f.__code__) is None) == bool(warned)


# -- what puts it and takes it back


def work(q: str = "") -> str:
    return "worked " + q


def test_a_function_tells_only_while_it_is_asked_for() -> None:
    plain = work.__code__
    tellers = Tellers(lambda *_: None)
    assert tellers.tell(work, "work", Way(Only("work"), strict=False))
    assert work.__code__ is plain
    tellers.ask(["other"])
    assert work.__code__ is plain
    tellers.ask(["work"])
    assert work.__code__ is not plain
    assert work("x") == "worked x"
    tellers.quiet("work")
    assert work.__code__ is plain
    tellers.ask(["work"])
    tellers.undo()
    assert work.__code__ is plain


def before(q: str = "") -> str:
    return "before " + q


def after(q: str = "") -> str:
    return "after " + q


@pytest.mark.parametrize("names", [("before",), ("after",), ("before", "after")])
@pytest.mark.parametrize("when", ["before it is asked for", "while it is", "found again"])
def test_a_function_that_is_exchanged_meanwhile_stays_exchanged(
    names: tuple[str, ...], when: str
) -> None:
    """Also where the newer one tells just then, and its code that tells is what was copied."""
    older, newer = before.__code__, after.__code__
    tellers = Tellers(lambda *_: None)
    for name in names:
        tellers.tell(globals()[name], name, Way(Only(name), strict=False))
    try:
        if when == "before it is asked for":
            before.__code__ = after.__code__
        tellers.ask(names)
        before.__code__ = after.__code__
        assert before("x") == after("x") == "after x"
        if when == "found again":
            tellers.tell(before, "before", Way(Only("before"), strict=False))
        for name in names:
            tellers.quiet(name)
        assert (before.__code__, after.__code__) == (newer, newer)
        tellers.ask(names)
        assert before("x") == after("x") == "after x"
        tellers.undo()
        assert (before.__code__, after.__code__) == (newer, newer)
    finally:
        tellers.undo()
        before.__code__, after.__code__ = older, newer


def test_a_function_keeps_the_code_of_one_that_is_gone() -> None:
    older = before.__code__
    tellers = Tellers(lambda *_: None)
    newer = types.FunctionType(after.__code__, globals(), "newer", ("",))
    tellers.tell(before, "before", Way(Only("before"), strict=False))
    tellers.tell(newer, "newer", Way(Only("newer"), strict=False))
    tellers.ask(["before", "newer"])
    try:
        before.__code__ = newer.__code__
        del newer
        gc.collect()
        tellers.quiet("newer")
        tellers.quiet("before")
        assert before.__code__ is after.__code__
    finally:
        tellers.undo()
        before.__code__ = older


class Steps:
    def step(self) -> str:
        return "first"


def test_a_method_keeps_the_code_of_a_function_that_was_asked_for() -> None:
    """Nobody has asked for the method itself."""
    tellers = Tellers(lambda *_: None)
    tellers.tell(after, "after", Way(Only("after"), strict=False))
    tellers.ask(["after"])
    older = Steps.step.__code__
    try:
        Steps.step.__code__ = after.__code__
        tellers.quiet("after")
        assert Steps.step.__code__ is after.__code__
        assert not any(isinstance(one, Teller) for one in after.__code__.co_consts)
    finally:
        tellers.undo()
        Steps.step.__code__ = older


def test_threads_that_find_a_function_at_once_come_by_the_same() -> None:
    for _ in range(20):
        scope = {"look": types.FunctionType(work.__code__, globals(), "look", ("",))}
        tellers = Tellers(lambda *_: None)
        tellers.ask(["look"])

        def tell(_: int, tellers: Tellers = tellers, scope: Any = scope) -> bool:
            return tellers.tell(scope["look"], "look", Way(Only("look"), strict=False))

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(tell, range(4))) == [True] * 4
        tellers.undo()
        assert scope["look"].__code__ is work.__code__


def test_functions_that_are_gone_leave_nothing() -> None:
    tellers = Tellers(lambda *_: None)
    tellers.ask(["inner"])
    gone = []
    for _ in range(3):
        function = outer()
        assert tellers.tell(function, "inner", Way(Only("inner"), strict=False))
        weakref.finalize(function, gone.append, "function")
        (teller,) = [one for one in function.__code__.co_consts if isinstance(one, Teller)]
        weakref.finalize(teller, gone.append, "teller")
        del function, teller
    gc.collect()
    assert sorted(gone) == ["function"] * 3 + ["teller"] * 3


def test_what_is_sent_to_another_process_by_value_works_there_without_us() -> None:
    tellers = Tellers(lambda *_: None)
    tellers.tell(work, "work", Way(Only("work"), strict=False))
    tellers.ask(["work"])
    try:
        (teller,) = [one for one in work.__code__.co_consts if isinstance(one, Teller)]
        data = pickle.dumps(teller)
        assert b"causepath" not in data
        code = with_teller(work.__code__.replace(), pickle.loads(data))
        constants = tuple(pickle.loads(data) if c is teller else c for c in code.co_consts)
        there = types.FunctionType(code.replace(co_consts=constants), {"__builtins__": {}})
        assert there("x") == "worked x"
    finally:
        tellers.undo()


def test_what_is_a_librarys_is_never_changed() -> None:
    tellers = Tellers(lambda *_: None)
    before = textwrap.dedent.__code__
    tellers.ask(["dedent"])
    assert not tellers.tell(textwrap.dedent, "dedent", Way(Only("dedent"), strict=False))
    assert not tellers.tell(len, "len", Way(Only("len"), strict=False))
    assert textwrap.dedent.__code__ is before
    assert sys.modules["textwrap"].dedent is textwrap.dedent
