"""Conditions on runs, in the words that budgets are written in::

    wall > 5s and not (status = ok or agent = "res*")
    cost >= $0.10, model = claude-opus*             a comma is an "and"
    CP101 or calls.llm > 10                         with that finding, or with many calls
    tenant.id = acme and not feature.beta           attributes of the trace, whoever wrote them
    "user name" != "a=b" and retries >= 3

Measures, units and signs are those of budgets; names are compared with patterns, as in a shell. Any
other word is the name of an attribute, and so is every word in quotes; alone it means that a run
has it. Its values are compared as texts, or with < and > as numbers. A condition of which nobody
can tell is neither true nor false, and picks nothing.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from operator import ge, gt, le, lt
from typing import Final

from msgspec import Struct

from causepath_analyzer.analyses.budgets.measures import CODE, MEASURES, Amount, Used, unit_of, used
from causepath_analyzer.analyses.budgets.wording import EXAMPLES, WordingError, read_amount
from causepath_analyzer.analyses.labels import values_of
from causepath_analyzer.analyses.run import Run

Truth = bool | None
"""``None``: nobody can tell."""


class Condition(Struct, frozen=True):
    """Something that is true of a run or not. ``codes`` are the findings that it asks for,
    ``attributes`` are those that have to be read for it."""

    holds: Callable[[Run], Truth]
    codes: frozenset[str] = frozenset()
    attributes: frozenset[str] = frozenset()


ALL_FINDINGS: Final = "findings"
"""Stands for the code of every finding."""


def condition(text: str) -> Condition:
    """Reads the condition that `text` writes down. Raises `WordingError` if it is none."""
    return _Reader(text).whole()


_TOKEN: Final = re.compile(
    r"\s*(?:(?P<text>\"[^\"]*\"|'[^']*')|(?P<sign><=|>=|==|!=|<|>|=)|(?P<mark>[(),])"
    r"|(?P<word>[^\s()<>=!,\"']+))"
)
_WORDS: Final = ("and", "or", "not")
_DEEPEST: Final = 50


class _Reader:
    """A text, its tokens with the columns that they begin at, and how far it was read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._at = 0
        self._depth = 0

    def whole(self) -> Condition:
        found = self._either()
        if self._at < len(self._tokens):
            raise self._error("expected and, or, or nothing more")
        return found

    def _either(self) -> Condition:
        found = [self._all()]
        while self._next("or"):
            found.append(self._all())
        return found[0] if len(found) == 1 else _not(_and([_not(one) for one in found]))

    def _all(self) -> Condition:
        found = [self._one()]
        while self._next("and") or self._next(","):
            found.append(self._one())
        return found[0] if len(found) == 1 else _and(found)

    def _one(self) -> Condition:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error(f"more than {_DEEPEST} conditions in each other")
        if self._next("not"):
            found = _not(self._one())
        elif self._next("("):
            found = self._either()
            if not self._next(")"):
                raise self._error("expected )")
        else:
            found = self._compared()
        self._depth -= 1
        return found

    def _compared(self) -> Condition:
        is_quoted = self._at < len(self._tokens) and self._tokens[self._at][0] == "text"
        name = self._word(f"expected a condition like wall > 5s: there is {_there_is()}")
        is_code = CODE.match(name) is not None and not is_quoted
        if is_quoted or (name not in MEASURES and name not in _NAMES and not is_code):
            return self._of_attribute(name, is_quoted=is_quoted)
        sign = self._sign()
        codes = frozenset((name,)) if is_code or name == ALL_FINDINGS else frozenset[str]()
        if not sign:
            if not is_code:
                raise self._error(f"expected a sign, as in {_example(name)}")
            return _measured(name, ">", 0, codes)
        value = self._word(f"expected what {name} is compared with, as in {_example(name)}")
        if name in _NAMES:
            if sign not in ("=", "==", "!="):
                self._at -= 2
                raise self._error(f"{name} is a name: write = or !=, as in {_example(name)}")
            return _named(name, value, is_not=sign == "!=")
        amount = read_amount(value, unit_of(name))
        if amount is None:
            self._at -= 1
            raise self._error(
                f"{value!r} is no amount for {name}; write it like {EXAMPLES[unit_of(name)]}"
            )
        return _measured(name, sign, amount, codes)

    def _of_attribute(self, name: str, *, is_quoted: bool) -> Condition:
        if not name.strip():
            self._at -= 1
            raise self._error("an attribute has a name")
        near = _nearly(name)
        if near is not None and not is_quoted:
            self._at -= 1
            raise self._error(
                f"nothing of a run is called {name!r}; did you mean {near}? "
                f'An attribute that is called so goes in quotes: "{name}"'
            )
        sign = self._sign()
        if not sign:
            return _said(name)
        value = self._word(f"expected what {name} is compared with, as in {name} = acme")
        if sign in ("=", "==", "!="):
            return _labelled(name, value, is_not=sign == "!=")
        number = _number(value)
        if number is None:
            self._at -= 1
            raise self._error(f"{value!r} is no number, which {name} could be {_SIGNS[sign]}")
        return _numbered(name, sign, number)

    def _next(self, wanted: str) -> bool:
        """Goes on if `wanted` comes next."""
        if self._at < len(self._tokens) and self._tokens[self._at][1] == wanted:
            self._at += 1
            return True
        return False

    def _sign(self) -> str:
        if self._at < len(self._tokens) and self._tokens[self._at][0] == "sign":
            self._at += 1
            return self._tokens[self._at - 1][1]
        return ""

    def _word(self, expected: str) -> str:
        if self._at < len(self._tokens):
            sort, found, _ = self._tokens[self._at]
            if sort == "text" or (sort == "word" and found not in _WORDS):
                self._at += 1
                return found[1:-1] if sort == "text" else found
        raise self._error(expected)

    def _error(self, told: str) -> WordingError:
        is_left = self._at < len(self._tokens)
        return WordingError(self._tokens[self._at][2] if is_left else len(self._text) + 1, told)


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    """Splits `text`: each token with its sort and its column, from 1 on."""
    at, end = 0, len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            while text[at].isspace():
                at += 1
            raise WordingError(at + 1, f"{text[at]!r} means nothing here")
        yield found.lastgroup, found[found.lastgroup], found.start(found.lastgroup) + 1
        at = found.end()


def _nearly(name: str) -> str | None:
    """Finds the measure that was meant, if `name` looks like a slip of the pen."""
    near = get_close_matches(name, [*MEASURES, *_NAMES], n=1, cutoff=_NEAR)
    if not near or name.startswith((f"{near[0]}.", f"{near[0]}_")):
        return None
    return near[0]


_NEAR: Final = 0.85
_SIGNS: Final = {
    "<": "less than",
    "<=": "at most",
    ">": "more than",
    ">=": "at least",
}


def _there_is() -> str:
    kinds = [name for name in MEASURES if name.startswith("path.")]
    others = [name for name in MEASURES if not name.startswith("path.")]
    return (
        f"{', '.join((*_NAMES, *others))}, {kinds[0]} and the like, CP101 and the like, and any "
        "attribute by its name"
    )


def _example(name: str) -> str:
    if name in _NAMES:
        return f'{name} = "{"failed" if name == "status" else "a*"}"'
    return f"{name} > {EXAMPLES[unit_of(name)].partition(',')[0]}"


def _and(every: Sequence[Condition]) -> Condition:
    def holds(run: Run) -> Truth:
        found: Truth = True
        for one in every:
            truth = one.holds(run)
            if truth is False:
                return False
            found = found and truth
        return found

    return Condition(
        holds,
        frozenset().union(*(one.codes for one in every)),
        frozenset().union(*(one.attributes for one in every)),
    )


def _not(one: Condition) -> Condition:
    def holds(run: Run) -> Truth:
        found = one.holds(run)
        return None if found is None else not found

    return Condition(holds, one.codes, one.attributes)


def _measured(name: str, sign: str, limit: Amount, codes: frozenset[str]) -> Condition:
    return Condition(lambda run: compared(used(name, run), sign, limit), codes)


def compared(told: Used, sign: str, limit: Amount) -> Truth:
    """Tells whether what a run used, of which there may have been more, is on that side of
    `limit`."""
    least = told.amount
    if least is None:
        return None
    may_be_more = told.why is not None
    match sign:
        case "<":
            return False if least >= limit else None if may_be_more else True
        case "<=":
            return False if least > limit else None if may_be_more else True
        case ">":
            return True if least > limit else None if may_be_more else False
        case ">=":
            return True if least >= limit else None if may_be_more else False
    is_equal = False if least > limit else None if may_be_more else least == limit
    if sign == "!=":
        return None if is_equal is None else not is_equal
    return is_equal


def _named(name: str, pattern: str, *, is_not: bool) -> Condition:
    def holds(run: Run) -> Truth:
        names = _NAMES[name](run)
        if names is None:
            return None
        return any(fnmatchcase(one, pattern) for one in names) != is_not

    return Condition(holds)


def _said(name: str) -> Condition:
    return Condition(lambda run: bool(values_of(run.trace, name)), attributes=frozenset((name,)))


def _labelled(name: str, pattern: str, *, is_not: bool) -> Condition:
    def holds(run: Run) -> Truth:
        found = values_of(run.trace, name)
        return any(fnmatchcase(one, pattern) for one in found) != is_not if found else None

    return Condition(holds, attributes=frozenset((name,)))


def _numbered(name: str, sign: str, limit: float) -> Condition:
    """Compares numbers; of several it is enough if one is on that side."""
    compare = _COMPARED[sign]

    def holds(run: Run) -> Truth:
        numbers = [n for one in values_of(run.trace, name) if (n := _number(one)) is not None]
        return any(compare(one, limit) for one in numbers) if numbers else None

    return Condition(holds, attributes=frozenset((name,)))


def _number(text: str) -> float | None:
    return float(text) if _A_NUMBER.fullmatch(text) else None


_A_NUMBER: Final = re.compile(r"[+-]?(\d{1,300}(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?", re.ASCII)
_COMPARED: Final = {"<": lt, "<=": le, ">": gt, ">=": ge}


Names = tuple[str, ...] | None


def _agent(run: Run) -> Names:
    trace = run.trace
    return (trace.spans[trace.main_root].name.removeprefix("invoke_agent "),)


def _service(run: Run) -> Names:
    trace = run.trace
    service = trace.spans[trace.main_root].service
    return None if service is None else (service,)


def _session(run: Run) -> Names:
    return tuple({s.session for s in run.trace.spans if s.session is not None}) or None


def _user(run: Run) -> Names:
    return tuple({s.user for s in run.trace.spans if s.user is not None}) or None


def _models(run: Run) -> Names:
    return tuple({call.model for call in run.usage.models if call.model is not None})


def _tools(run: Run) -> Names:
    return tuple(
        {
            (span.tool_call and span.tool_call.name) or span.name
            for span in run.trace.spans
            if span.category == "tool"
        }
    )


def _status(run: Run) -> Names:
    status = run.ending.status
    return tuple({status, status.replace("_", " ")})


_NAMES: Final[Mapping[str, Callable[[Run], Names]]] = {
    "agent": _agent,
    "service": _service,
    "session": _session,
    "user": _user,
    "model": _models,
    "tool": _tools,
    "status": _status,
}
"""Names that a run has: of some several, ``None`` where it does not say."""
