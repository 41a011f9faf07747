"""Docstrings that begin in the middle of a sentence: `python -m tests.docstrings FOLDER...`.

A function's docstring begins with a verb and a type's with a noun, so that each can be read at
first sight. "What is in a span" says neither who does something nor what a thing is.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HEADLESS = re.compile(
    r"(What|Whether|Of|Whose|Where|How|That|Is|Are|If|When|Which|Who|Why|As|In|On|At|For|From|By|To"
    r"|With|Nothing|Nobody|Somebody|Everything)\b"
)


def headless(path: Path) -> Iterator[tuple[int, str]]:
    """Finds the docstrings in a module that begin so: line and first words."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            text = ast.get_docstring(node)
            if text is not None and HEADLESS.match(text):
                yield node.lineno, text.partition("\n")[0]


def main(folders: Sequence[str]) -> int:
    """Prints each of them with its place. Returns how a process is to end."""
    found = [
        f"{path}:{line}: {text}"
        for folder in folders
        for path in sorted(Path(folder).rglob("*.py"))
        for line, text in headless(path)
    ]
    print("\n".join([*found, f"{len(found)} docstrings begin without a verb or a noun"]))
    return min(len(found), 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
