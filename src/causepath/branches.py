"""What the code of a loop calls in the branch of a tool: `if call.name == "search": ...`."""

from __future__ import annotations

import functools
import types
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dis
    from collections.abc import Sequence

MAX_CODES = 50
"""Functions inside one another that are looked at."""


@functools.lru_cache(maxsize=1_000)
def called_for(code: types.CodeType, tool: str) -> frozenset[str]:
    """The names of globals and attributes in the branches for the tool with this name.

    From where the name is compared to where the code goes on if it is another one.
    """
    found: set[str] = set()
    waiting = [code]
    for _ in range(MAX_CODES):
        if not waiting:
            break
        one = waiting.pop()
        waiting += [c for c in one.co_consts if type(c) is types.CodeType]
        if tool in one.co_consts:
            found |= _in_branches(one, tool)
    return frozenset(found)


def _in_branches(code: types.CodeType, tool: str) -> set[str]:
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
        compared = compared or name == "COMPARE_OP"
        if compared and name.startswith("POP_JUMP") and name.endswith("IF_FALSE"):
            return int(instruction.argval)
    return 0
