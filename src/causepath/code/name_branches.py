"""What code does in the branch of a tool: `if call.name == "search": ...`."""

from __future__ import annotations

import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any

from causepath.code.nested_code import with_nested

if TYPE_CHECKING:
    import dis
    from collections.abc import Sequence
    from types import CodeType


@functools.lru_cache(maxsize=1_000)
def called_for(code: CodeType, tool: str) -> frozenset[str]:
    """The names of globals and attributes in the branches for the tool with this name.

    From where the name is compared to where the code goes on if it is another one.
    """
    found: set[str] = set()
    for one in with_nested(code):
        if tool in one.co_consts:
            found |= _in_branches(one, tool)
    return frozenset(found)


def _in_branches(code: CodeType, tool: str) -> set[str]:
    import dis  # not at the top: few have such code, and it takes longer to import than all of ours

    found: set[str] = set()
    instructions = list(dis.get_instructions(code))
    for at, instruction in enumerate(instructions):
        if instruction.opname == "LOAD_CONST" and instruction.argval == tool:
            end = _end_of_branch(instructions[at + 1 : at + 5])
            found |= {
                str(other.argval)
                for other in instructions[at + 1 :]
                if other.offset < end and other.opname in NAMING
            }
    return found


NAMING = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"})


def _end_of_branch(following: Sequence[dis.Instruction]) -> int:
    compared = False
    for instruction in following:
        name = instruction.opname
        compared = compared or name in COMPARING
        if compared and name.startswith("POP_JUMP") and name.endswith("IF_FALSE"):
            return int(instruction.argval)
    return 0


@functools.lru_cache(maxsize=1_000)
def carries_out(code: CodeType, tool: str) -> bool:
    """Tells whether a function that compares the names of tools can be what runs this one.

    It is not one that only answers a question about it (`return name in ("save", "send")`), shows
    or logs it, or makes a text of its arguments.
    """
    if not code.co_flags & inspect.CO_GENERATOR and _gives_nothing(code):
        return False
    return any(_acts(one, tool) for one in with_nested(code))


def _acts(code: CodeType, tool: str) -> bool:
    import dis

    instructions = list(dis.get_instructions(code))
    for at, instruction in enumerate(instructions):
        value = instruction.argval
        named = instruction.opname == "LOAD_CONST" and (
            value == tool or (isinstance(value, tuple | frozenset) and tool in value)
        )
        if not named:
            continue
        compared = next((i for i in instructions[at + 1 : at + 4] if i.opname in COMPARING), None)
        if compared is None:
            return True  # the key of a table, say
        branch = _branch_of(instructions[at + 1 :], compared)
        if any(map(_does_something, branch, branch[1:])):
            return True
    return False


def _branch_of(following: Sequence[dis.Instruction], compared: dis.Instruction) -> Any:
    """Finds the code that runs if the comparison holds, or for its contrary, if it does not."""
    jump = next((i for i in following[:5] if i.opname.startswith("POP_JUMP")), None)
    if jump is None:
        return []
    unequal = compared.argval == "!=" or (compared.opname != "COMPARE_OP" and compared.arg == 1)
    if unequal == jump.opname.endswith("IF_FALSE"):
        return [i for i in following if i.offset >= jump.argval]
    inside = [
        i for i in following if jump.offset < i.offset < jump.argval and i.opname != "NOT_TAKEN"
    ]
    if inside and inside[0].opname == "JUMP_FORWARD":  # one of several in a pattern
        return [i for i in following if i.offset >= inside[0].argval]
    return inside


def _does_something(instruction: dis.Instruction, following: dis.Instruction) -> bool:
    """Tells whether an instruction begins a call with an effect, or chooses what to call."""
    name, arg = instruction.opname, instruction.arg or 0
    if name == "LOAD_GLOBAL" and following.opname.startswith(("STORE_FAST", "JUMP")):
        return True
    if name == "LOAD_METHOD" or (
        name in ("LOAD_GLOBAL", "LOAD_ATTR", "LOAD_SUPER_ATTR") and (arg & 1 or NOT_SAID)
    ):
        return instruction.argval not in TRIVIAL | DELIVERING
    return name == "PUSH_NULL"


def _gives_nothing(code: CodeType) -> bool:
    """Tells whether a function returns nothing and stores nothing either."""
    import dis

    before = ""
    for instruction in dis.get_instructions(code):
        name = instruction.opname
        if name in ("STORE_SUBSCR", "STORE_ATTR") or instruction.argval in DELIVERING:
            return False
        if name == "RETURN_VALUE" and before != "None":
            return False
        if name == "RETURN_CONST" and instruction.argval is not None:
            return False
        before = str(instruction.argval) if name == "LOAD_CONST" else ""
    return True


NOT_SAID = sys.version_info < (3, 11)
"""Whether the code does not say of a name if what it stands for is called: it may be."""

COMPARING = frozenset({"COMPARE_OP", "CONTAINS_OP", "IS_OP"})

DELIVERING = frozenset({"append", "extend", "put", "put_nowait", "send", "set_result", "update"})
"""How a function that returns nothing hands on a result."""

TRIVIAL = frozenset(
    {
        "ask", "confirm", "debug", "dumps", "error", "format", "get", "info", "input",
        "isinstance", "items", "join", "keys", "len", "log", "lower", "print", "replace", "repr",
        "split", "str", "strip", "title", "upper", "values", "warning",
    }
)  # fmt: skip
"""What is called to show a tool call, or to ask whether it may be carried out."""
