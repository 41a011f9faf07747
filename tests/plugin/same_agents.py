"""Forty agents that look at their own tools: each prints all that it sees, as the plugin must not be
seen. Run as a program, with the address of the stand-in; `test_same.py` compares what it prints.
"""

# mypy: ignore-errors
# ruff: noqa

from __future__ import annotations

import asyncio
import collections
import contextlib
import contextvars
import copy
import dataclasses
import enum
import functools
import gc
import hashlib
import inspect
import io
import json
import logging
import operator
import pickle
import queue
import sys
import threading
import traceback
import types
import typing
import unittest.mock
import warnings
import weakref
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor

import anthropic

client = None


def converse(*plan, carry_out, after=None):
    """A loop: each reply of the plan asks for tools; what is sent as their results is printed."""
    messages = [{"role": "user", "content": json.dumps(plan)}]
    while True:
        reply = client.messages.create(model="m", max_tokens=9, messages=messages)
        if reply.stop_reason != "tool_use":
            return
        results = []
        for block in reply.content:
            try:
                content = str(carry_out(block))
            except Exception:
                content = traceback.format_exc()
            print(">", content)
            results.append({"type": "tool_result", "tool_use_id": block.id, "content": content})
        messages.append({"role": "assistant", "content": reply.content})
        messages.append({"role": "user", "content": results})


def seen(function):
    """What can be asked of a function, but for its address."""
    code = getattr(function, "__code__", None)
    print(
        type(function).__name__,
        getattr(function, "__qualname__", None),
        getattr(function, "__doc__", None),
        str(inspect.signature(function)),
        inspect.isfunction(function),
        inspect.iscoroutinefunction(function),
        inspect.isgeneratorfunction(function),
        inspect.isasyncgenfunction(function),
        sorted(getattr(function, "__dict__", {})),
        getattr(function, "__defaults__", None),
        getattr(function, "__annotations__", None),
        code and (code.co_name, code.co_varnames, code.co_freevars, code.co_firstlineno),
    )


def pickled(value):
    try:
        data = pickle.dumps(value)
        print("pickle", len(data), hashlib.md5(data).hexdigest())
        return pickle.loads(data)
    except Exception as error:
        print("pickle", type(error).__name__)


Q = {"q": "some words"}


def search(q: str = "words") -> str:
    """Search for words."""
    return "found " + q


def fails(q=""):
    raise LookupError("no " + q)


# -- functions


def table_of_functions():
    tools = {"search": search, "fails": fails}
    before = dict(tools)

    def carry_out(block):
        seen(tools[block.name])
        pickled(tools[block.name])
        return tools[block.name](**block.input)

    converse([("search", Q), ("fails", Q)], [("search", Q)], carry_out=carry_out)
    print(tools == before, all(tools[name] is before[name] for name in tools))
    print(search in tools.values(), {search: 1}[tools["search"]])


def what_is_running():
    def report(q=""):
        frame = sys._getframe()
        names = []
        while frame and len(names) < 4:
            names.append((frame.f_code.co_name, frame.f_lineno - frame.f_code.co_firstlineno))
            frame = frame.f_back
        stack = [(one.function, one.code_context[0].strip()) for one in inspect.stack()[:3]]
        return names, stack, sorted(locals())

    tools = {"report": report}
    converse([("report", Q)], [("report", Q)], carry_out=lambda b: tools[b.name](**b.input))


def warnings_of_the_caller():
    def old(q=""):
        warnings.warn("old " + q, DeprecationWarning, stacklevel=2)
        return "old"

    tools = {"old": old}

    def carry_out(block):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            tools[block.name](**block.input)
        return [(w.category.__name__, str(w.message), w.lineno, w.filename[-15:]) for w in caught]

    converse([("old", Q)], [("old", Q)], carry_out=carry_out)


def logs_of_the_caller():
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logging.Formatter("%(funcName)s %(lineno)d %(message)s"))
    log = logging.getLogger("same")
    log.addHandler(handler)

    def logs(q=""):
        log.warning("inside %s", q)
        log.warning("outside", stacklevel=2)
        return out.getvalue()

    tools = {"logs": logs}
    converse([("logs", Q)], carry_out=lambda b: tools[b.name](**b.input))


def walk(node):
    return 0 if node is None else 1 + walk(node["next"])


def recursion():
    node = None
    for _ in range(700):
        node = {"next": node}
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    try:
        converse([("walk", {})], [("walk", {})], carry_out=lambda b: walk(node))
    finally:
        sys.setrecursionlimit(limit)


def endless(n=0):
    return endless(n + 1)


def recursion_without_end():
    def carry_out(block):
        try:
            endless()
        except RecursionError as error:
            return type(error).__name__, str(error)

    converse([("endless", {})], carry_out=carry_out)


def is_even(n):
    return True if n == 0 else is_odd(n - 1)


def is_odd(n):
    return False if n == 0 else is_even(n - 1)


def recursion_of_two():
    converse(
        [("is_even", {"n": 300}), ("is_odd", {"n": 300})],
        carry_out=lambda b: globals()[b.name](**b.input),
    )


def lambdas_and_partials():
    tools = {
        "one": lambda q: "1 " + q,
        "two": functools.partial(search, "given"),
        "three": str.upper,
    }
    partial = tools["two"]

    def carry_out(block):
        return tools[block.name]() if block.name == "two" else tools[block.name](block.input["q"])

    converse([("one", Q), ("two", {}), ("three", Q)], carry_out=carry_out)
    seen(tools["one"])
    again = pickled(tools["two"])
    print(again.func is search, again.args, tools["two"] is partial, tools["three"] is str.upper)


def closures_made_in_a_loop():
    tools = {}
    for name in ("a", "b", "c"):

        def tool(q="", name=name):
            return name + q

        tools[name] = tool
    codes = {id(tool.__code__) for tool in tools.values()}
    converse([(n, Q) for n in tools], [("b", Q)], carry_out=lambda b: tools[b.name](**b.input))
    print(len(codes), [tool.__code__ == tools["a"].__code__ for tool in tools.values()])
    print([tool("") for tool in tools.values()])


def changes_of_outer_variables():
    count = 0

    def counts(q=""):
        nonlocal count
        count += 1
        global made_by_a_tool
        made_by_a_tool = q
        return count

    tools = {"counts": counts}
    converse([("counts", Q), ("counts", Q)], carry_out=lambda b: tools[b.name](**b.input))
    print(count, made_by_a_tool, counts.__closure__[0].cell_contents)


def default_and_keyword_arguments():
    def every(a, /, b, *rest, c=3, d: int = 4, **more):
        return a, b, rest, c, d, sorted(more.items())

    tools = {"every": every}
    converse(
        [("every", {"b": 2, "x": 9})],
        carry_out=lambda b: (tools[b.name](1, **b.input), every(1, 2, 3, c=5, z=1)),
    )
    seen(every)
    for wrong in ((), (1,)):
        try:
            every(*wrong)
        except TypeError as error:
            print(error)


def docstring_only():
    def nothing(q=""):
        """Does nothing."""

    tools = {"nothing": nothing}
    converse([("nothing", Q)], carry_out=lambda b: tools[b.name](**b.input))
    seen(nothing)


def constants_stay_the_same_objects():
    def gives(q=""):
        return ("a tuple", "of texts"), frozenset({1, 2}), "a long constant text"

    def other(q=""):
        return "a long constant text"

    first = gives()
    tools = {"gives": gives}
    converse(
        [("gives", Q)],
        carry_out=lambda b: [x is y for x, y in zip(tools[b.name](**b.input), first)],
    )


# -- decorators


def wrapped(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        """Of the wrapper."""
        return f"<{function(*args, **kwargs)}>"

    return wrapper


@wrapped
@wrapped
def decorated(q=""):
    """Of the function."""
    return q


def chains_of_wrappers():
    tools = {"decorated": decorated}
    converse([("decorated", Q)], [("decorated", Q)], carry_out=lambda b: tools[b.name](**b.input))
    seen(decorated)
    print(inspect.unwrap(decorated).__name__, decorated.__wrapped__.__wrapped__("x"))
    print(inspect.getsource(decorated).strip().splitlines()[-1])


@functools.lru_cache(maxsize=2)
def remembered(q=""):
    return "found " + q


def cached():
    tools = {"remembered": remembered}
    converse([("remembered", Q), ("remembered", Q)], carry_out=lambda b: tools[b.name](**b.input))
    print(remembered.cache_info(), type(tools["remembered"]).__name__)
    pickled(remembered)


@functools.singledispatch
def shows(q):
    return "anything"


@shows.register
def _(q: str):
    return "text " + q


def single_dispatch():
    tools = {"shows": shows}
    converse([("shows", Q)], carry_out=lambda b: tools[b.name](b.input["q"]))
    print(shows.dispatch(str).__name__, sorted(t.__name__ for t in shows.registry), shows(1))


@contextlib.contextmanager
def opened(q=""):
    print("enter", q)
    try:
        yield q
    finally:
        print("exit")


def context_managers():
    tools = {"opened": opened}

    def carry_out(block):
        with tools[block.name](**block.input) as found:
            return found, type(opened("x")).__name__

    converse([("opened", Q)], [("opened", Q)], carry_out=carry_out)


class Retry:
    def __init__(self, function):
        functools.update_wrapper(self, function)
        self.function, self.calls = function, 0

    def __call__(self, *args, **kwargs):
        self.calls += 1
        try:
            return self.function(*args, **kwargs)
        except OSError as error:
            return f"gave up: {error!r} {error.__context__!r}"

    def __get__(self, instance, owner):
        return self if instance is None else types.MethodType(self, instance)


@Retry
def unsteady(q=""):
    try:
        raise KeyError(q)
    except KeyError:
        raise OSError("disk")


def a_decorator_that_is_an_object():
    tools = {"unsteady": unsteady}
    converse([("unsteady", Q)], carry_out=lambda b: tools[b.name](**b.input))
    print(unsteady.calls, unsteady.__name__, type(unsteady).__name__, tools["unsteady"] is unsteady)
    print(sorted(vars(unsteady)))


# -- objects and classes


@dataclasses.dataclass(frozen=True)
class Frozen:
    name: str
    function: typing.Callable = dataclasses.field(hash=True)


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    name: str
    function: typing.Callable


def frozen_dataclasses():
    tools = [Frozen("search", search), Slotted("find", search)]
    hashes = [hash(tool) for tool in tools]
    by_name = {tool.name: tool for tool in tools}
    converse([("search", Q), ("find", Q)], carry_out=lambda b: by_name[b.name].function(**b.input))
    for tool in tools:
        pickled(tool)
        print(tool.function is search, dataclasses.replace(tool, name="x").function is search)
    print(
        hashes == [hash(tool) for tool in tools], dataclasses.asdict(tools[0])["function"] is search
    )


class Point(typing.NamedTuple):
    name: str
    call: typing.Callable


def named_tuples_and_sets():
    tools = (Point("search", search), Point("fails", fails))
    others = frozenset(tools)
    by_name = {tool.name: tool for tool in tools}
    converse([("search", Q), ("fails", Q)], carry_out=lambda b: by_name[b.name].call(**b.input))
    print(all(tool in others for tool in tools), tools[0].call is search)
    pickled(tools)


class Base(ABC):
    @abstractmethod
    def find(self, q=""): ...

    @classmethod
    def make(cls, q=""):
        return cls.__name__ + q

    @staticmethod
    def still(q=""):
        return "still " + q

    @property
    def size(self):
        return 3


class Sub(Base):
    def find(self, q=""):
        self.__private = q
        return f"{super().__class__.__name__} {self.__private}", self.size, __class__.__name__


def methods_of_classes():
    box = Sub()
    stored = {name: vars(Base).get(name) for name in ("find", "make", "still", "size")}

    def carry_out(block):
        method = getattr(box, block.name)
        return method(**block.input), type(method).__name__

    converse([("find", Q), ("make", Q), ("still", Q)], [("find", Q)], carry_out=carry_out)
    print([vars(Base).get(name) is value for name, value in stored.items()])
    print([name for name, _ in inspect.getmembers(Sub, inspect.isfunction)], sorted(vars(Sub)))
    print(Sub.__abstractmethods__, box.find.__func__ is vars(Sub)["find"], vars(box))
    pickled(box.find)


class Registered(type):
    made = {}

    def __new__(mcs, name, bases, members):
        kind = super().__new__(mcs, name, bases, members)
        mcs.made[name.lower()] = kind
        return kind

    def __setattr__(cls, name, value):
        raise TypeError("sealed")

    def __getattribute__(cls, name):
        LOOKED_AT.append(name)
        return super().__getattribute__(name)

    def __eq__(cls, other):
        LOOKED_AT.append("==")
        return cls is other

    __hash__ = type.__hash__


LOOKED_AT = []


class Weather(metaclass=Registered):
    def run(self, q=""):
        return "sun " + q


class Clock(metaclass=Registered):
    def run(self, q=""):
        return "noon " + q


def a_metaclass():
    del LOOKED_AT[:]
    converse(
        [("weather", Q), ("clock", Q)],
        carry_out=lambda b: Registered.made[b.name]().run(**b.input),
    )
    print(LOOKED_AT)


class Plugin:
    tools = {}

    def __init_subclass__(cls, name="", **kwargs):
        super().__init_subclass__(**kwargs)
        Plugin.tools[name] = cls

    def __call__(self, q=""):
        return type(self).__name__ + q


class Mail(Plugin, name="mail"):
    __slots__ = ("sent",)

    def __call__(self, q=""):
        self.sent = q
        return super().__call__(q=q)


def subclass_hooks():
    tools = {name: kind() for name, kind in Plugin.tools.items()}
    converse([("mail", Q)], [("mail", Q)], carry_out=lambda b: tools[b.name](**b.input))
    print(sorted(vars(Mail)), tools["mail"].sent, hasattr(tools["mail"], "__dict__"))
    seen(Mail.__call__)


class Tools(enum.Enum):
    SEARCH = enum.nonmember(search) if hasattr(enum, "nonmember") else "search"
    FIND = "find"

    def run(self, q=""):
        return self.name + q


def enum_members():
    converse([("find", Q)], [("find", Q)], carry_out=lambda b: Tools(b.name).run(**b.input))
    print(list(Tools), Tools.FIND.run("x"), pickled(Tools.FIND) is Tools.FIND)


class Lazy:
    """A descriptor that makes its function when it is asked for."""

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, instance, owner):
        if instance is None:
            return self
        instance.asked.append(self.name)
        return lambda q="": f"{self.name} of {instance.who} {q}"


class Desk:
    look = Lazy()
    call = Lazy()

    def __init__(self):
        self.who, self.asked = "me", []

    def __getattr__(self, name):
        self.asked.append("?" + name)
        raise AttributeError(name)


def descriptors():
    desk = Desk()
    converse([("look", Q), ("call", Q)], carry_out=lambda b: getattr(desk, b.name)(**b.input))
    print(desk.asked, getattr(desk, "missing", None), desk.asked)


class Mapping(collections.abc.MutableMapping):
    def __init__(self, **tools):
        self.__dict__["log"], self.__dict__["tools"] = [], tools

    def __getitem__(self, key):
        self.log.append(("get", key))
        return self.tools[key]

    def __setitem__(self, key, value):
        self.log.append(("set", key))
        self.tools[key] = value

    def __delitem__(self, key):
        del self.tools[key]

    def __iter__(self):
        self.log.append("iter")
        return iter(self.tools)

    def __len__(self):
        self.log.append("len")
        return len(self.tools)


class Watching(dict):
    log = []

    def __getitem__(self, key):
        self.log.append(("get", key))
        return super().__getitem__(key)

    def items(self):
        self.log.append("items")
        return super().items()

    def get(self, *args):
        self.log.append("get()")
        return super().get(*args)


def mappings_of_their_own():
    for tools in (
        Mapping(search=search),
        Watching(search=search),
        collections.OrderedDict(search=search),
        collections.ChainMap({}, {"search": search}),
        types.MappingProxyType({"search": search}),
        weakref.WeakValueDictionary(search=search),
        collections.defaultdict(lambda: fails, search=search),
    ):
        converse([("search", Q)], carry_out=lambda b: tools[b.name](**b.input))
        print(type(tools).__name__, tools["search"] is search, getattr(tools, "log", None))


def copies():
    tools = {"search": search, "find": Sub().find, "part": functools.partial(search, "p")}
    converse([("search", Q), ("find", Q)], carry_out=lambda b: tools[b.name](**b.input))
    shallow, deep = copy.copy(tools), copy.deepcopy(tools)
    print([shallow[n] is tools[n] for n in tools], [deep[n] is tools[n] for n in tools])
    print(type(deep["part"]).__name__, deep["find"].__self__ is tools["find"].__self__)


class Big:
    pass


def lifetimes():
    gone = []
    held = Big()
    weakref.finalize(held, gone.append, "held")

    def makes(q=""):
        made = Big()
        weakref.finalize(made, gone.append, "made")
        return made

    tools = {"makes": makes}

    def carry_out(block):
        print(gone)
        found = tools[block.name](**block.input)
        del found
        return gone

    converse([("makes", Q)], [("makes", Q)], carry_out=carry_out)
    del held
    print(gone, sys.getrefcount(makes) < 9)


# -- generators and coroutines


def generators():
    log = []

    def items(q=""):
        try:
            got = yield "one"
            log.append(got)
            yield from ["two", q]
            return 7
        finally:
            log.append("closed")

    tools = {"items": items}

    def carry_out(block):
        g = tools[block.name](**block.input)
        print(type(g).__name__, g.__name__, g.__qualname__, inspect.getgeneratorstate(g))
        out = [next(g), g.send("sent"), inspect.getgeneratorlocals(g)["got"]]
        try:
            g.throw(KeyError("in"))
        except KeyError as error:
            out.append((repr(error), len(traceback.extract_tb(error.__traceback__))))
        h = tools[block.name](**block.input)
        next(h)
        h.close()
        return out, log, list(tools[block.name](**block.input))

    converse([("items", Q)], [("items", Q)], carry_out=carry_out)
    g = items()
    print(next(g), g.gi_frame.f_lineno - items.__code__.co_firstlineno, g.gi_yieldfrom)
    del g
    gc.collect()
    print(log)


async def aloop(*plan, carry_out):
    messages = [{"role": "user", "content": json.dumps(plan)}]
    async with anthropic.AsyncAnthropic(base_url=client.base_url, api_key="test") as aclient:
        while True:
            reply = await aclient.messages.create(model="m", max_tokens=9, messages=messages)
            if reply.stop_reason != "tool_use":
                return
            results = []
            for block in reply.content:
                try:
                    content = str(await carry_out(block))
                except Exception:
                    content = traceback.format_exc()
                print(">", content)
                results.append({"type": "tool_result", "tool_use_id": block.id, "content": content})
            messages.append({"role": "assistant", "content": reply.content})
            messages.append({"role": "user", "content": results})


def asynchronous_generators():
    log = []

    async def items(q=""):
        try:
            got = yield "one"
            log.append(got)
            yield q
        finally:
            log.append("closed")

    tools = {"items": items}

    async def carry_out(block):
        g = tools[block.name](**block.input)
        out = [await g.__anext__(), await g.asend("sent")]
        await g.aclose()
        async with contextlib.aclosing(tools[block.name]()) as h:
            async for _ in h:
                break
        k = tools[block.name]()
        await k.__anext__()
        try:
            await k.athrow(KeyError("in"))
        except KeyError as error:
            out.append((repr(error), len(traceback.extract_tb(error.__traceback__))))
        return out, [x async for x in tools[block.name](**block.input)], log

    asyncio.run(aloop([("items", Q)], [("items", Q)], carry_out=carry_out))


def coroutines():
    async def looks(q=""):
        await asyncio.sleep(0)
        return "found " + q

    async def breaks(q=""):
        await asyncio.sleep(0)
        raise LookupError(q)

    def plain(q=""):
        return looks(q)

    tools = {"looks": looks, "breaks": breaks, "plain": plain}

    async def carry_out(block):
        coroutine = tools[block.name](**block.input)
        print(
            type(coroutine).__name__,
            coroutine.__qualname__,
            coroutine.cr_code.co_name,
            inspect.getcoroutinestate(coroutine),
        )
        task = asyncio.ensure_future(coroutine)
        print(task.get_coro() is coroutine, repr(task.get_coro()).split(" at ")[0])
        return await task

    asyncio.run(
        aloop([("looks", Q), ("breaks", Q), ("plain", Q)], [("looks", Q)], carry_out=carry_out)
    )


def cancelled_coroutines():
    log = []

    async def waits(q=""):
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError as error:
            log.append(("cancelled", error.args))
            raise
        finally:
            log.append("finally")

    tools = {"waits": waits}

    async def carry_out(block):
        try:
            await asyncio.wait_for(tools[block.name](**block.input), 0.02)
        except asyncio.TimeoutError as error:
            return type(error).__name__, log
        return "?"

    asyncio.run(aloop([("waits", Q)], carry_out=carry_out))
    never = waits()
    never.close()
    print(log, inspect.getcoroutinestate(never))


def context_variables():
    var = contextvars.ContextVar("var", default="unset")
    seen_in_tool = []

    def sets(q=""):
        seen_in_tool.append(var.get())
        var.set(q)
        return sorted(v.name for v in contextvars.copy_context() if v is var)

    async def sets_too(q=""):
        return sets(q)

    tools = {"sets": sets, "sets_too": sets_too}

    async def carry_out(block):
        found = tools[block.name](**block.input)
        found = await found if inspect.iscoroutine(found) else found
        return found, var.get()

    asyncio.run(aloop([("sets", Q), ("sets_too", {"q": "two"})], carry_out=carry_out))
    print(seen_in_tool, var.get())


# -- threads


def threads_and_pools():
    local = threading.local()

    def works(q=""):
        local.x = getattr(local, "x", 0) + 1
        return q, threading.current_thread().name.split("_")[0], local.x

    tools = {"works": works}

    def carry_out(block):
        with ThreadPoolExecutor(1, "pool") as pool:
            found = list(pool.map(lambda n: tools[block.name](n), ["a", "b"]))
            failed = pool.submit(fails, "x").exception()
        box = queue.Queue()
        thread = threading.Thread(
            target=lambda: box.put(tools[block.name](**block.input)), name="t_1"
        )
        thread.start()
        thread.join()
        return found, box.get(), repr(failed)

    converse([("works", Q)], [("works", Q)], carry_out=carry_out)


# -- dynamic code


def code_from_texts():
    scope = {"__name__": "made"}
    exec("def made(q=''):\n    return 'made ' + q\n", scope)
    evaluated = eval("lambda q='': 'evaluated ' + q")
    tools = {"made": scope["made"], "evaluated": evaluated}

    def carry_out(block):
        return tools[block.name](**block.input)

    converse([("made", Q), ("evaluated", Q)], carry_out=carry_out)
    print(tools["made"].__code__.co_filename, evaluated.__name__)
    for tool in tools.values():
        try:
            print(inspect.getsource(tool))
        except Exception as error:
            print(type(error).__name__)


def functions_made_of_functions():
    tools = {"search": search}
    converse([("search", Q)], carry_out=lambda b: tools[b.name](**b.input))
    made = types.FunctionType(search.__code__, globals(), "made", search.__defaults__)
    print(made("x"), made.__doc__, types.MethodType(search, "bound")())
    replaced = search.__code__.replace(co_name="renamed")
    print(
        types.FunctionType(replaced, globals())("y"),
        replaced.co_consts == search.__code__.co_consts,
    )
    print(hashlib.md5(search.__code__.co_code).hexdigest(), search.__code__.co_names)


def mocks():
    tools = {"search": search}
    converse([("search", Q)], carry_out=lambda b: tools[b.name](**b.input))
    with unittest.mock.patch(__name__ + ".search", autospec=True, return_value="mocked") as mock:
        print(search("x"), mock.call_args, inspect.signature(mock))
        converse([("search", Q)], carry_out=lambda b: search(**b.input))
        print(mock.mock_calls)
    print(search("x"), unittest.mock.create_autospec(search).__name__)


def replaced_while_it_goes_on():
    def first(q=""):
        return "first"

    def second(q=""):
        return "second"

    tools = {"tool": first}

    def carry_out(block):
        found = tools[block.name](**block.input)
        first.__code__ = second.__code__
        return found, first(), tools[block.name] is first

    converse([("tool", Q)], [("tool", Q)], carry_out=carry_out)
    print(first.__code__ is second.__code__)


def tools_of_the_library():
    tools = {"dumps": json.dumps, "sub": operator.sub, "print": print, "len": len, "open": open}
    before = dict(tools)

    def carry_out(block):
        return tools[block.name](*block.input.values())

    converse([("dumps", Q), ("sub", {"a": 3, "b": 2}), ("len", Q)], carry_out=carry_out)
    print(all(tools[name] is before[name] for name in before), json.dumps is before["dumps"])
    print(
        json.dumps.__code__.co_firstlineno > 0, hashlib.md5(json.dumps.__code__.co_code).hexdigest()
    )


def overridden_builtins():
    import builtins

    builtins.announce = lambda q="": "announced " + q
    try:
        known = builtins.announce
        converse([("announce", Q)], [("announce", Q)], carry_out=lambda b: announce(**b.input))
        print(builtins.announce is known, sorted(vars(builtins))[:3])
    finally:
        del builtins.announce


def exceptions_as_results():
    class Odd(Exception):
        def __init__(self, a, b):
            super().__init__(a, b)

    def raises(q=""):
        try:
            return {}[q]
        except KeyError as error:
            raise Odd(1, 2) from error

    def exits(q=""):
        raise SystemExit(3)

    tools = {"raises": raises, "exits": exits}

    def carry_out(block):
        try:
            return tools[block.name](**block.input)
        except SystemExit as error:
            frames = traceback.extract_tb(error.__traceback__)
            return [(f.name, f.line, f.lineno) for f in frames]
        except Odd as error:
            return (
                "".join(traceback.format_exception(error)),
                error.__traceback__.tb_next.tb_frame.f_code.co_name,
                [f.f_code.co_name for f, _ in traceback.walk_tb(error.__traceback__)],
            )

    converse([("raises", Q), ("exits", Q)], [("raises", Q)], carry_out=carry_out)


def tracing_functions():
    lines = []

    def traced(q=""):
        first = q + "1"
        second = first + "2"
        return second

    tools = {"traced": traced}

    def carry_out(block):
        def trace(frame, event, arg):
            if frame.f_code.co_name == "traced":
                if event != "line" or frame.f_lineno not in lines[-1:]:
                    lines.append(frame.f_lineno if event == "line" else event)
                return trace

        traced("before")
        sys.settrace(trace)
        try:
            return tools[block.name](**block.input)
        finally:
            sys.settrace(None)

    converse([("traced", Q)], carry_out=carry_out)
    first = traced.__code__.co_firstlineno
    print([x - first if type(x) is int else x for x in lines])


def a_nested_agent():
    def inner(q=""):
        found = []
        converse([("search", Q)], carry_out=lambda b: found.append(search(**b.input)) or found)
        return found

    tools = {"inner": inner, "search": search}
    converse([("inner", Q), ("search", Q)], carry_out=lambda b: tools[b.name](**b.input))


AGENTS = [
    table_of_functions,
    what_is_running,
    warnings_of_the_caller,
    logs_of_the_caller,
    recursion,
    recursion_without_end,
    recursion_of_two,
    lambdas_and_partials,
    closures_made_in_a_loop,
    changes_of_outer_variables,
    default_and_keyword_arguments,
    docstring_only,
    constants_stay_the_same_objects,
    chains_of_wrappers,
    cached,
    single_dispatch,
    context_managers,
    a_decorator_that_is_an_object,
    frozen_dataclasses,
    named_tuples_and_sets,
    methods_of_classes,
    a_metaclass,
    subclass_hooks,
    enum_members,
    descriptors,
    mappings_of_their_own,
    copies,
    lifetimes,
    generators,
    asynchronous_generators,
    coroutines,
    cancelled_coroutines,
    context_variables,
    threads_and_pools,
    code_from_texts,
    functions_made_of_functions,
    mocks,
    replaced_while_it_goes_on,
    tools_of_the_library,
    overridden_builtins,
    exceptions_as_results,
    tracing_functions,
    a_nested_agent,
]


def main(url):
    global client
    warnings.simplefilter("always")
    client = anthropic.Anthropic(base_url=url, api_key="test")
    for agent in AGENTS:
        print("---", agent.__name__, flush=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                agent()
            except BaseException:
                print(traceback.format_exc())
        print("warned", [(w.category.__name__, str(w.message)) for w in caught])


if __name__ == "__main__":
    main(sys.argv[1])
