"""The code of a function, compiled again from its own source so that it tells of its calls.

    def search(q):                      def search(q):
        "Look."                             "Look."
        found = look(q)                     if TELLS.asked():
        return found              ->            with TELLS.enter(q):
                                                    found = look(q)
                                                    return TELLS.told(found)
                                            else:
                                                found = look(q)
                                                return found

`TELLS` is a constant of the code, so that no name is added. Arguments, variables, lines, flags and
the functions inside are the same; what differs in anything else is refused, and so is what a source
gives that does not compile to the very code the function has: it was changed since, or rewritten.
"""

from __future__ import annotations

import ast
import functools
import io
import re
import sys
import tokenize
from types import CodeType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FunctionType

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

MAX_LINES = 1_000
"""Of a function; a longer one is left alone."""

MAX_SOURCE = 400_000
"""Bytes of a module that is parsed whole, where a part of it will not do."""

TELLS = "\0causepath tells"
"""What stands for the object that is told, until there is one."""

FUTURE = 0x1FF0000
"""The flags that `from __future__` gives to code."""

NESTED = 0x10
"""A flag that changes nothing, and depends on what is around the function."""


@functools.lru_cache(maxsize=1_000)
def _telling(code: CodeType, qualname: str, filename: str, source: str | None) -> CodeType | None:
    text = source if source is not None else _source_of(filename)
    if text is None:
        return None
    for found in _candidates(code, text):
        for imported in dict.fromkeys(
            (_imported(code, text, r"[ \t]*"), _imported(code, text, ""))
        ):
            plain = _compiled(found, code, qualname, imported)
            if plain is not None and _is_same(plain, code, _Names(plain, qualname)):
                break
        else:
            continue
        again = next(
            (
                one
                for one in _candidates(code, text)
                if (one.lineno, one.col_offset) == (found.lineno, found.col_offset)
            ),
            None,
        )
        if again is None or _would_warn(found):
            return None
        new = _compiled(_told(found, again), code, qualname, imported)
        return None if new is None else _made_like(new, code, qualname)
    return None


def telling_code(function: FunctionType, code: CodeType) -> CodeType | None:
    """Compiles the code that `code`, that of `function`, is to be exchanged for.

    It has `TELLS` among its constants. `None` if there is no source, or if anything but the reports
    would change.
    """
    qualname = getattr(code, "co_qualname", function.__qualname__)
    try:
        return _telling(code, qualname, code.co_filename, _known_source(function))
    except (SyntaxError, ValueError, RecursionError, MemoryError, TypeError, SystemError):
        return None  # the last where a finalizer compiles something meanwhile (3.11)


def with_teller(code: CodeType, teller: object) -> CodeType:
    """`code` that tells `teller`."""
    constants = tuple(teller if one == TELLS else one for one in code.co_consts)
    return code.replace(co_consts=constants)


# -- the source


def _known_source(function: FunctionType) -> str | None:
    """Finds the source that `linecache` was given for code in no file, as notebooks do."""
    filename = function.__code__.co_filename
    linecache: Any = sys.modules.get("linecache")
    entry = linecache.cache.get(filename) if linecache is not None else None
    if entry is not None and len(entry) == 4 and entry[1] is None:
        return "".join(entry[2])
    loader = function.__globals__.get("__loader__")
    archive = getattr(loader, "archive", None)
    if isinstance(archive, str) and filename.startswith(archive):
        text = loader.get_source(function.__globals__.get("__name__"))  # type: ignore[union-attr]
        return text if isinstance(text, str) else None
    return None


def _source_of(filename: str) -> str | None:
    try:
        with tokenize.open(filename) as file:
            return file.read()
    except (OSError, SyntaxError, UnicodeDecodeError):
        return None


def _candidates(code: CodeType, text: str) -> Iterator[Function]:
    """Parses what in the source may be the function: its own lines alone, or all of them."""
    lines = text.splitlines(keepends=True)
    first = code.co_firstlineno
    if first > len(lines):
        return
    if code.co_name == "<lambda>":
        yield from _lambdas(code, lines)
    else:
        for end in _ends(code, lines):
            found = _alone("".join(lines[first - 1 : end]), first)
            if found is not None:
                yield found
                break
    if len(text) <= MAX_SOURCE and not _may_warn(text):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, Function) and _first_line(node) == first:
                name = getattr(node, "name", "<lambda>")
                if name == code.co_name:
                    yield node


def _first_line(node: Function) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(one.lineno for one in decorators)])


def _ends(code: CodeType, lines: list[str]) -> Iterator[int]:
    """Finds where the lines of a function may end: before a line that is not further in."""
    first = code.co_firstlineno
    indent = _indent(lines[first - 1])
    last = max(_lines_of(code), default=first)
    for number in range(last, min(first + MAX_LINES, len(lines))):
        line = lines[number]
        if line.strip() and not line.lstrip().startswith("#") and _indent(line) <= indent:
            yield number
            if line.strip()[0] not in ")]}'\"":
                return
    if len(lines) <= first + MAX_LINES:
        yield len(lines)


def _lines_of(code: CodeType) -> Iterator[int]:
    yield from (line for _, _, line in code.co_lines() if line is not None)
    for constant in code.co_consts:
        if type(constant) is CodeType:
            yield from _lines_of(constant)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _alone(text: str, first: int) -> Function | None:
    """A function parsed alone, such that lines and columns are what they are in its file."""
    indented = text[0] in " \t\f"
    if _may_warn(text):
        return None
    before = "\n" * (first - 2) + "if 1:\n" if indented else "\n" * (first - 1)
    try:
        statement: Any = ast.parse(before + text).body[0]
    except SyntaxError:
        return None
    node = statement.body[0] if indented else statement
    return node if isinstance(node, Function) else None


def _lambdas(code: CodeType, lines: list[str]) -> Iterator[ast.Lambda]:
    """Likewise of a lambda, of which the code says where its body ends."""
    if sys.version_info < (3, 11):
        return
    first = code.co_firstlineno
    ends = [(line, at) for _, line, _, at in code.co_positions() if line and at]
    if not ends or max(ends)[0] - first > MAX_LINES:
        return
    last, column = max(ends)
    around = [line.encode() for line in lines[first - 1 : last]]
    if not around or len(around) != last - first + 1:
        return
    around[-1] = around[-1][:column]
    for found in re.finditer(rb"\blambda\b", around[0]):
        if not found.start():
            continue
        head = b" " * (found.start() - 1) + b"(" + around[0][found.start() :]
        text = b"".join([head, *around[1:]]).decode()
        if _may_warn(text):
            return
        for more in range(1, 4):  # its body may stand in brackets of its own
            try:
                tree = ast.parse("\n" * (first - 1) + text.lstrip() + ")" * more)
            except SyntaxError:
                continue
            node: Any = tree.body[0]
            if isinstance(getattr(node, "value", None), ast.Lambda):
                # Columns are told from the line's beginning, which may not be indented here.
                shift = len(text) - len(text.lstrip())
                for inner in ast.walk(node.value):
                    if getattr(inner, "lineno", 0) == first:
                        inner.col_offset += shift  # type: ignore[attr-defined]
                    if getattr(inner, "end_lineno", 0) == first:
                        inner.end_col_offset += shift  # type: ignore[attr-defined]
                yield node.value
            break


# -- what would make the compiler say what the application has been told, or not


ODD_ESCAPE = re.compile(r"\\(?:[^\n\r\\'\"abfnrtv0-7xNuU]|[4-7][0-7][0-7])")
ODD_NUMBER = re.compile(r"(?<!\w)\d+(?:and|else|for|if|in|is|not|or)\b")


def _may_warn(text: str) -> bool:
    """Tells whether parsing a source can give a warning, which would then appear twice."""
    if ODD_NUMBER.search(text):
        return True
    if not ODD_ESCAPE.search(text):
        return False
    raw: list[bool] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            kind = tokenize.tok_name[token.type]
            if kind in ("FSTRING_START", "TSTRING_START"):
                raw.append("r" in token.string.lower())
            elif kind in ("FSTRING_END", "TSTRING_END"):
                raw.pop()
            elif kind in ("FSTRING_MIDDLE", "TSTRING_MIDDLE"):
                if not raw[-1] and ODD_ESCAPE.search(token.string):
                    return True
            elif kind == "STRING":
                prefix = re.match(r"[a-zA-Z]*", token.string)
                if "r" not in (prefix[0].lower() if prefix else "") and ODD_ESCAPE.search(
                    token.string
                ):
                    return True
    except (tokenize.TokenError, SyntaxError, IndexError):
        return True
    return False


def _would_warn(function: Function) -> bool:
    """Tells whether compiling it again would give a warning again."""
    for node in ast.walk(function):
        if isinstance(node, ast.Compare):
            if any(isinstance(op, ast.Is | ast.IsNot) for op in node.ops) and any(
                map(_is_literal, (node.left, *node.comparators))
            ):
                return True
        elif isinstance(node, ast.Call):
            if isinstance(node.func, NEVER_CALLED):
                return True
        elif isinstance(node, ast.Subscript):
            if _has_no_items(node.value) or (
                isinstance(node.value, BY_INTEGER) and _is_no_index(node.slice)
            ):
                return True
        elif isinstance(node, ast.Assert):
            if isinstance(node.test, ast.Tuple):
                return True
        elif isinstance(node, ast.Try) and any(
            isinstance(inner, ast.Return | ast.Break | ast.Continue)
            for statement in node.finalbody
            for inner in ast.walk(statement)
        ):
            return sys.version_info >= (3, 14)
    return False


BY_INTEGER = (ast.Constant, ast.Tuple, ast.List, ast.ListComp, ast.JoinedStr)
"""Literals whose items are known by integers."""

NO_ITEMS = (ast.Set, ast.SetComp, ast.GeneratorExp, ast.Lambda)

NEVER_CALLED = (*BY_INTEGER, ast.Dict, ast.DictComp, ast.Set, ast.SetComp, ast.GeneratorExp)


def _has_no_items(value: ast.expr) -> bool:
    if isinstance(value, ast.Constant):
        return not isinstance(value.value, str | bytes)
    return isinstance(value, NO_ITEMS)


def _is_no_index(index: ast.expr) -> bool:
    if isinstance(index, ast.Constant):
        return not isinstance(index.value, int)
    return isinstance(index, (*BY_INTEGER, ast.Dict, ast.DictComp, *NO_ITEMS))


def _is_literal(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return not (node.value is None or isinstance(node.value, bool) or node.value is ...)
    return isinstance(node, ast.Tuple | ast.List | ast.Dict | ast.Set)


# -- telling


def _told(function: Function, again: Function) -> Function:
    """A function that tells, of one that was parsed twice."""
    arguments = function.args
    names = [
        one.arg
        for one in (
            *arguments.posonlyargs,
            *arguments.args,
            *arguments.kwonlyargs,
            *(one for one in (arguments.vararg, arguments.kwarg) if one is not None),
        )
    ]
    documented, telling = _body(function)
    _, plain = _body(again)
    at = telling[0]
    shared = _Scopes()
    telling = [shared.visit(_Telling().visit(one)) for one in telling]
    plain = [_Scopes().visit(one) for one in plain]
    given: list[ast.expr] = [ast.Name(name, ast.Load()) for name in names]
    entered = ast.With([ast.withitem(_call("enter", *given))], telling)
    branch = ast.If(_call("asked"), [entered], plain)
    for node in (branch, *ast.walk(branch.test), entered, *ast.walk(entered.items[0])):
        if isinstance(node, ast.stmt | ast.expr):
            ast.copy_location(node, at)
    # It is left in no line, so that who follows those of a function meets its own only.
    for left in (entered, *ast.walk(entered.items[0])):
        if isinstance(left, ast.stmt | ast.expr):
            left.lineno = left.end_lineno = left.col_offset = left.end_col_offset = -1
    body = [*documented, *shared.found, branch]
    if isinstance(function, ast.Lambda):
        made: Any = ast.parse("def f(): pass").body[0]
        made.args, made.body = arguments, body
        return ast.copy_location(made, function)  # type: ignore[no-any-return]
    function.body = body
    return function


def _body(function: Function) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """The docstring, and what is done."""
    if isinstance(function, ast.Lambda):
        return [], [ast.copy_location(ast.Return(function.body), function.body)]
    documented = 1 if ast.get_docstring(function, clean=False) is not None else 0
    rest = function.body[documented:]
    return function.body[:documented], rest or [ast.copy_location(ast.Pass(), function.body[0])]


def _call(name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Attribute(ast.Constant(TELLS), name, ast.Load()), list(arguments), [])


class _Own(ast.NodeTransformer):
    """The parts of a function that are not in the functions and classes inside it."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        return node


class _Telling(_Own):
    """Tells what is returned, and when a generator pauses and goes on."""

    def visit_Return(self, node: ast.Return) -> ast.AST:
        self.generic_visit(node)
        if node.value is not None:
            node.value = _located("told", node.value)
        return node

    def visit_Yield(self, node: ast.Yield) -> ast.AST:
        self.generic_visit(node)
        value = node.value or ast.copy_location(ast.Constant(None), node)
        node.value = _located("paused", value)
        return _located("resumed", node)

    def visit_YieldFrom(self, node: ast.YieldFrom) -> ast.AST:
        self.generic_visit(node)
        node.value = _located("handed_over", node.value)
        return _located("resumed", node)


def _located(name: str, value: ast.expr) -> ast.expr:
    call = _call(name, value)
    for node in (call, call.func, call.func.value):  # type: ignore[attr-defined]
        ast.copy_location(node, value)
    return call


class _Scopes(_Own):
    """Takes out what says whose variables names are: it has to come before both branches."""

    def __init__(self) -> None:
        self.found: list[ast.stmt] = []

    def visit_Global(self, node: ast.Global) -> ast.AST:
        self.found.append(node)
        return ast.copy_location(ast.Pass(), node)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.AST:
        self.found.append(node)
        return ast.copy_location(ast.Pass(), node)


# -- compiling


def _imported(code: CodeType, text: str, indent: str) -> tuple[str, ...]:
    """The names in the code that its module imports, whose attributes are called in another way."""
    said: set[str] = set()
    for found in re.finditer(IMPORT.replace("INDENT", indent), text, re.MULTILINE):
        said.update(re.findall(r"\w+", found[1].strip("(")))
    return tuple(sorted(said.intersection(*[set(_global_names(code))])))


IMPORT = r"^INDENT(?:from\s+\S+\s+)?import\s+(\([^)]*|[^\n(]*)"


def _global_names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if type(constant) is CodeType:
            yield from _global_names(constant)


def _compiled(
    function: Function, code: CodeType, qualname: str, imported: tuple[str, ...]
) -> CodeType | None:
    """The code of a function where it has the free variables and the class that it had."""
    parts = qualname.split(".")
    in_class = len(parts) > 1 and parts[-2] != "<locals>"
    free = [name for name in code.co_freevars if not (in_class and name == "__class__")]
    source = f"import {', '.join(imported)}\n" if imported else ""
    source += f"def outer({', '.join(free)}):\n"
    own = getattr(function, "name", None)
    if own is not None and own not in free and not in_class:
        source += f" global {own}\n"
    if in_class:
        if parts[-2] not in free:
            source += f" global {parts[-2]}\n"
        source += f" class {parts[-2]}:\n  pass"
    else:
        source += " pass"
    tree = ast.parse(source)
    outer: Any = tree.body[-1]
    _without_surroundings(function)
    inner: Any = function
    if isinstance(function, ast.Lambda):
        inner = ast.copy_location(ast.Expr(function), function)
    (outer.body[-1] if in_class else outer).body[-1:] = [inner]
    whole = compile(tree, code.co_filename, "exec", code.co_flags & FUTURE, dont_inherit=True)
    name = getattr(function, "name", "<lambda>")
    around = next(one for one in whole.co_consts if type(one) is CodeType)
    if in_class:
        around = next(one for one in around.co_consts if type(one) is CodeType)
    return next(
        (one for one in around.co_consts if type(one) is CodeType and one.co_name == name), None
    )


def _without_surroundings(function: Function) -> None:
    """Removes what is worked out where a function is defined: it is no part of its code."""
    arguments = function.args
    for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        one.annotation = None
    for more in (arguments.vararg, arguments.kwarg):
        if more is not None:
            more.annotation = None
    arguments.defaults = [ast.copy_location(ast.Constant(None), d) for d in arguments.defaults]
    arguments.kw_defaults = [
        d and ast.copy_location(ast.Constant(None), d) for d in arguments.kw_defaults
    ]
    if not isinstance(function, ast.Lambda):
        function.returns = None
        function.decorator_list = [
            ast.copy_location(ast.Constant(None), one) for one in function.decorator_list
        ]
        if hasattr(function, "type_params"):
            function.type_params = []


class _Names:
    """The names of inner functions in what we compile, and in the function's own code."""

    def __init__(self, ours: CodeType, qualname: str) -> None:
        own = getattr(ours, "co_qualname", None)
        if own is None:  # before Python 3.11, by its name, or by that of the function around
            *_, around, name = ("<locals>", *qualname.split("."))
            own = name if around == "<locals>" else f"{around}.{name}"
        self._ours = tuple(f"{before}{own}.<locals>." for before in ("", "outer.<locals>."))
        self._theirs = f"{qualname}.<locals>."

    def own(self, text: str) -> str:
        for ours in self._ours:
            if text.startswith(ours):
                return self._theirs + text.removeprefix(ours)
        return text


ALIKE = (
    "co_name", "co_argcount", "co_posonlyargcount", "co_kwonlyargcount", "co_varnames",
    "co_cellvars", "co_freevars", "co_firstlineno",
)  # fmt: skip

THE_SAME = (
    *ALIKE, "co_code", "co_names", "co_stacksize", "co_linetable",
    *(("co_exceptiontable",) if sys.version_info >= (3, 11) else ()),
)  # fmt: skip


def _is_same(ours: CodeType, theirs: CodeType, names: _Names) -> bool:
    return bool(
        all(getattr(ours, name) == getattr(theirs, name) for name in THE_SAME)
        and (ours.co_flags | NESTED) == (theirs.co_flags | NESTED)
        and len(ours.co_consts) == len(theirs.co_consts)
        and all(map(functools.partial(_is_constant, names), ours.co_consts, theirs.co_consts))
    )


def _is_constant(names: _Names, ours: Any, theirs: Any) -> bool:
    if type(ours) is not type(theirs):
        return False
    if type(ours) is CodeType:
        return _is_same(ours, theirs, names)
    if type(ours) is str:
        return bool(names.own(ours) == theirs)
    return repr(ours) == repr(theirs)  # as 0.0 and -0.0 are equal; and there may be sets


def _made_like(new: CodeType, code: CodeType, qualname: str) -> CodeType | None:
    """The new code, with what is inside it as it was; `None` where it is not alike."""
    names = _Names(new, qualname)
    if new.co_name != code.co_name:
        new = new.replace(co_name=code.co_name)
    if any(getattr(new, name) != getattr(code, name) for name in ALIKE):
        return None
    if (new.co_flags | NESTED) != (code.co_flags | NESTED):
        return None
    constants: list[Any] = []
    for constant in new.co_consts:
        # The very objects that there are: who is given one may ask which it is.
        found = [one for one in code.co_consts if _is_constant(names, constant, one)]
        if type(constant) is CodeType and not found:
            return None
        constants.append(found[0] if found else constant)
    changes: dict[str, Any] = {"co_consts": tuple(constants), "co_flags": code.co_flags}
    if sys.version_info >= (3, 11):
        changes["co_qualname"] = code.co_qualname
    return new.replace(**changes)
