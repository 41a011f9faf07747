"""Whether something of an answer reaches a later call of the same function, as its bytecode tells.

    user = get_user(name)
    news = get_news(topic)        nothing of the user reaches it: it need not have waited
    ask(f"{user} {news}")         the user does, and the news

An answer reaches a call by the names that hold something of it, by a branch that it decides, and by
all that outlives the function or can be seen from elsewhere: attributes, globals, closures, and
what is called for its effect alone (`save(answer)`). What turns it into something else
(`parse(answer)`) hands on what it gives. Where a function is too long, or is a generator, whose
consumer decides whether it goes on, nothing is told.
"""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, NamedTuple

from causepath.code.bytecode import NOWHERE, Graph, Spot, graph_of, lies_in
from causepath.code.nested_code import with_nested

if TYPE_CHECKING:
    import dis
    from collections.abc import Iterator, Sequence
    from types import CodeType

MAX_BYTES = 3_000
"""Of the bytecode of a function that is looked at."""

MAX_CALLS = 12
"""Earlier calls of one function that are looked at, the nearest first."""

MAX_STEPS = 64
"""Statements that an answer is followed through."""

CALLS = ("CALL", "SEND", "BEFORE_WITH", "BEFORE_ASYNC_WITH")
NO_CALLS = ("CALL_INTRINSIC",)
BRANCHES = ("POP_JUMP", "JUMP_IF", "FOR_ITER", "GET_AITER")
ENDS_STATEMENT = ("STORE_", "POP_TOP", "RETURN_", "DELETE_", "RAISE_VARARGS")
ENTERS = ("BEFORE_", "LOAD_SPECIAL")
"""How code enters a `with`."""

GOES_ON = ("STORE_", "UNPACK_", "SWAP", "COPY")
"""What one statement keeps in several names."""

LASTS = ("STORE_ATTR", "STORE_GLOBAL", "STORE_DEREF", "STORE_SUBSCR", "STORE_SLICE")
DISPLAYS = ("BUILD_LIST", "BUILD_MAP", "BUILD_SET", "LIST_EXTEND", "DICT_UPDATE", "SET_UPDATE")

ADDS = frozenset({"add", "append", "extend", "insert", "setdefault", "update"})
"""What keeps something in a container of the function's own."""

SHOWS = frozenset({"debug", "error", "exception", "info", "log", "print", "warning"})

PEOPLE = frozenset({"confirm", "getpass", "input", "prompt", "readline"})
"""Who is asked may have been shown an answer, and says how the code goes on."""

TURNS = frozenset(
    {
        "bool", "dict", "dumps", "enumerate", "findall", "float", "format", "get", "int", "items",
        "join", "keys", "len", "list", "loads", "lower", "lstrip", "match", "max", "min", "range",
        "replace", "round", "rstrip", "search", "set", "sorted", "split", "splitlines", "str",
        "strip", "sum", "time", "title", "tuple", "upper", "values", "zip",
    }
)  # fmt: skip
"""What makes something of its arguments and does nothing else."""


class Answer(NamedTuple):
    """The places that the answer to a call gets to."""

    names: frozenset[str] = frozenset()
    """They hold something of it."""
    effects: tuple[int, ...] = ()
    """Where something of it is kept, or used, that others can see."""
    branches: tuple[int, ...] = ()
    """Where it decides how the code goes on."""


class Reach(NamedTuple):
    """The calls of its function whose answers do not reach a call, and its own answer."""

    apart: tuple[tuple[int, int], ...] = ()
    """Lines and columns of earlier calls nothing of whose answers reaches it."""
    lasts: bool = True
    """Whether something of its own answer may be found elsewhere."""


def reach_of(code: CodeType, offset: int) -> Reach:
    """Describes the call at `offset` in `code`."""
    if sys.version_info < (3, 11):  # before that code does not say which expression it is of
        return Reach(lasts=False)
    if len(code.co_code) > MAX_BYTES or code.co_flags & (
        inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
    ):
        return Reach()
    answers = _Answers(code)
    return Reach(tuple(answers.apart(offset)), answers.lasts(offset))


class _Answers:
    """The answers to the calls of a function, and where they go."""

    def __init__(self, code: CodeType) -> None:
        self._code = code
        self._graph: Graph = graph_of(code)
        self._is_module = code.co_name == "<module>"
        self._elsewhere = {
            name
            for one in with_nested(code)
            if one is not code
            for name in (*one.co_names, *one.co_freevars)
        }
        self._statements = [*self._split()]
        self._statement_of = {
            one.offset: n for n, statement in enumerate(self._statements) for one in statement
        }
        self._reads: dict[str, dict[int, list[int]]] = {}
        """By name: the statements that read it, and which of their instructions do."""
        for number, statement in enumerate(self._statements):
            for at, one in enumerate(statement):
                for how, name in self._graph.variables[one.offset]:
                    if how == "LOAD":
                        self._reads.setdefault(name, {}).setdefault(number, []).append(at)
        self._reached: dict[int, frozenset[int]] = {}
        self._own: dict[tuple[str, int], bool] = {}

    def apart(self, offset: int) -> Iterator[tuple[int, int]]:
        """Finds where the earlier calls begin nothing of whose answers reaches that at `offset`."""
        graph = self._graph
        call = graph.at(offset)
        spot = graph.spot(call)
        if spot == NOWHERE:
            return
        outer: dict[tuple[int, int], int] = {}
        for one in graph.found:
            where = graph.spot(one.offset)
            if one.opname.startswith(CALLS) and not one.opname.startswith(NO_CALLS):
                known = outer.get(where[0])
                if known is None or lies_in(graph.spot(known), where):
                    outer[where[0]] = one.offset
        looked_at = 0
        for start, before in sorted(outer.items(), reverse=True):
            where = graph.spot(before)
            if start == spot[0] or lies_in(spot, where) or lies_in(where, spot):
                continue
            if not self._tells(before) or call not in self._after(before):
                continue
            looked_at += 1
            if looked_at > MAX_CALLS:
                break
            if not self._is_between(before, call) and not self._reaches(self._answer(before), call):
                yield start

    def lasts(self, offset: int) -> bool:
        """Tells whether something of the answer to the call at `offset` is kept, or used, where
        others can see it."""
        return bool(self._answer(self._graph.at(offset)).effects)

    def _is_between(self, before: int, call: int) -> bool:
        """Tells whether a person may be asked between two calls."""
        after = self._after(before)
        return any(
            one.argval in PEOPLE and one.offset in after and call in self._after(one.offset)
            for one in self._graph.found
            if one.opname.startswith("LOAD_") and isinstance(one.argval, str)
        )

    def _reaches(self, answer: Answer, call: int) -> bool:
        graph = self._graph
        spot = graph.spot(call)
        if any(call in self._after(one) for one in (*answer.effects, *answer.branches)):
            return True
        return any(
            how == "LOAD" and name in answer.names
            for one in self._statements[self._statement_of[call]]
            # One that reads two variables is at the first of them.
            if len(graph.variables[one.offset]) > 1 or lies_in(graph.spot(one.offset), spot)
            for how, name in graph.variables[one.offset]
        )

    def _answer(self, call: int) -> Answer:
        """Follows the answer to `call` from name to name."""
        graph = self._graph
        after = self._after(call)
        spot = graph.spot(call)
        own = self._statement_of[call]
        # A jump is of all of the expression that it is in.
        tells = [
            at
            for at, one in enumerate(self._statements[own])
            if "JUMP" not in one.opname and lies_in(spot, graph.spot(one.offset))
        ]
        if spot == NOWHERE or not tells:
            return Answer(effects=(call,))  # nobody knows what it is of
        names: set[str] = set()
        effects: set[int] = set()
        branches: set[int] = set()
        waiting = [(own, tells)]
        for _ in range(MAX_STEPS):
            if not waiting:
                return Answer(frozenset(names), tuple(effects), tuple(branches))
            number, tells = waiting.pop()
            statement = self._statements[number]
            told = [graph.spot(statement[at].offset) for at in tells]
            kept: list[str] = []
            for one in statement[tells[0] :]:
                if one.opname.startswith(BRANCHES):
                    branches.add(one.offset)
                elif one.opname.startswith(ENTERS):
                    effects.add(one.offset)
                elif one.opname.startswith("STORE_"):
                    private = self._kept_in(one, call)
                    kept += private
                    if not private:
                        effects.add(one.offset)
            added = self._effect(statement, told, call)
            if added is None:
                effects.add(statement[-1].offset)
            new = {*kept, *(added or ())} - names
            names |= new
            for name in new:
                waiting += [
                    (reading, places)
                    for reading, places in self._reads.get(name, {}).items()
                    if self._statements[reading][-1].offset in after
                ]
        return Answer(effects=(call,))

    def _kept_in(self, one: dis.Instruction, call: int) -> list[str]:
        """Lists the names that an instruction keeps something under, if nobody else sees them."""
        if one.opname.startswith(LASTS):
            if not one.opname.startswith(("STORE_SUBSCR", "STORE_SLICE")):
                return []
            root = self._root(self._graph.spot(one.offset))
            return [root] if root is not None and self._is_own(root, call) else []
        names = [name for how, name in self._graph.variables[one.offset] if how == "STORE"]
        if one.opname.startswith("STORE_NAME") and not self._is_private(names):
            return []
        return names

    def _is_private(self, names: Sequence[str]) -> bool:
        return self._is_module and self._elsewhere.isdisjoint(names)

    def _effect(
        self, statement: Sequence[dis.Instruction], told: Sequence[Spot], call: int
    ) -> list[str] | None:
        """Lists the containers that a statement without a value adds something `told` to; `None`
        if it is there for some other effect."""
        graph = self._graph
        if statement[-1].opname != "POP_TOP":
            return []
        added = []
        for one in statement:
            spot = graph.spot(one.offset)
            if not one.opname.startswith("CALL") or one.opname.startswith(NO_CALLS):
                continue
            if one.offset == call or not any(lies_in(part, spot) and part != spot for part in told):
                continue
            called = self._called(one.offset)
            if called in SHOWS or called in TURNS:
                continue
            root = self._root(spot)
            if called in ADDS and root is not None and self._is_own(root, call):
                added.append(root)
                continue
            return None
        return added

    def _root(self, spot: Spot) -> str | None:
        """The variable with which the expression at `spot` begins."""
        for one in self._graph.found:
            where = self._graph.spot(one.offset)
            if where[0] == spot[0] and lies_in(where, spot):
                for how, name in self._graph.variables[one.offset]:
                    if how == "LOAD" and one.opname.startswith(("LOAD_FAST", "LOAD_NAME")):
                        return name
        return None

    def _is_own(self, name: str, call: int) -> bool:
        """Tells whether a container is made in the function, and nobody has been handed it before
        `call`."""
        known = self._own.get((name, call))
        if known is None:
            known = self._own[name, call] = self._is_made_here(name, call)
        return known

    def _is_made_here(self, name: str, call: int) -> bool:
        graph = self._graph
        is_local = name in self._code.co_varnames[self._arguments() :]
        if not (is_local or self._is_private([name])):
            return False
        for at, one in enumerate(graph.found):
            hows = [how for how, held in graph.variables[one.offset] if held == name]
            if "STORE" in hows and not (
                at and graph.found[at - 1].opname.startswith(DISPLAYS) and "LOAD" not in hows
            ):
                return False
            if "LOAD" in hows and call in self._after(one.offset) and self._is_handed(one):
                return False
        return True

    def _is_handed(self, load: dis.Instruction) -> bool:
        graph = self._graph
        spot = graph.spot(load.offset)
        for one in graph.found:
            around = graph.spot(one.offset)
            if one.opname.startswith("STORE_") and any(
                load in statement and one in statement for statement in self._statements
            ):
                return True
            if (
                one.opname.startswith("CALL")
                and lies_in(spot, around)
                and spot[0] != around[0]
                and self._called(one.offset) not in (SHOWS | TURNS)
            ):
                return True
        return False

    def _arguments(self) -> int:
        code = self._code
        flags = bool(code.co_flags & inspect.CO_VARARGS) + bool(
            code.co_flags & inspect.CO_VARKEYWORDS
        )
        return code.co_argcount + code.co_kwonlyargcount + flags

    def _tells(self, call: int) -> bool:
        """Tells whether `call` may be one of a model or a tool: most are not, by their names."""
        return self._called(call) not in (ADDS | SHOWS | TURNS)

    def _called(self, call: int) -> str:
        """The name of what is called, without that of what it belongs to."""
        around = self._graph.spot(call)
        longest, name = (0, 0), ""
        for one in self._graph.found:
            spot = self._graph.spot(one.offset)
            is_name = one.opname.startswith("LOAD_") and one.opname != "LOAD_CONST"
            if (
                is_name
                and isinstance(one.argval, str)
                and spot[0] == around[0]
                and spot[1] < around[1]
                and spot[1] > longest
            ):
                longest, name = spot[1], one.argval
        return name

    def _after(self, offset: int) -> frozenset[int]:
        """Collects what may come after `offset`."""
        found = self._reached.get(offset)
        if found is None:
            graph = self._graph
            found = frozenset().union(*(graph.reached(one) for one in graph.next[offset]))
            self._reached[offset] = found
        return found

    def _split(self) -> Iterator[list[dis.Instruction]]:
        """Splits the function into its statements, roughly: none has a value of the one before."""
        statement: list[dis.Instruction] = []
        for one in self._graph.found:
            ended = bool(statement) and statement[-1].opname.startswith(ENDS_STATEMENT)
            if len(statement) > 1 and statement[-2].opname == "COPY":
                ended = False  # it goes on with what it has kept
            if statement and "_LOAD_" in statement[-1].opname:
                ended = False  # the next one has begun
            if ended and not one.opname.startswith(GOES_ON):
                yield statement
                statement = []
            statement.append(one)
        if statement:
            yield statement
