"""What somebody meant who typed something that is no command, no option and no trace file."""

import re
import shutil
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from causepath_analyzer.errors import UsageError

_PROGRAM: Final = re.compile(r".*\.(?:py|pyw|pyz)\Z", re.IGNORECASE)
_NOT_PATHS: Final = re.compile(r"[A-Za-z][A-Za-z-]*\Z")
_FINDING: Final = re.compile(r"CP\d{3}\Z", re.IGNORECASE)
_TAKE_VALUES: Final = frozenset(
    ("--color", "--output", "-o", "--select", "--ignore", "--config", "--prices")
)
"""Options of ``run`` whose value may stand in the next word."""


def understood(arguments: Sequence[str], commands: Iterable[str]) -> list[str]:
    """Gives `arguments` as the command line understands them: ``help`` and ``-V`` are what they are
    elsewhere, and what ``run`` runs begins at the first word that is no option of ours. A program
    after ``doctor --`` is one whose wiring is checked.

    Raises `UsageError` for the first word if it can only be a mistake.
    """
    words = list(arguments)
    if not words:
        return words
    first = words[0]
    if first == "-V":
        return ["--version", *words[1:]]
    if first == "help" and not Path(first).exists():
        return [*words[1:2], "--help"]
    if first == "run":
        return ["run", *_with_dashes(words[1:])]
    if first == "doctor" and "--" in words:
        at = words.index("--")
        return [*words[:at], *([] if "--self" in words[:at] else ["--self"]), *words[at:]]
    known = sorted(commands)
    if first not in known and _NOT_PATHS.match(first) and not Path(first).exists():
        near = get_close_matches(first, known, n=1)
        if near:
            raise UsageError(f"no command or file {first}; did you mean causepath {near[0]}?")
        if shutil.which(first) is not None:
            raise UsageError(
                f"no command or file {first}; did you mean causepath run -- {' '.join(words)}?"
            )
    if _FINDING.match(first) and not Path(first).exists():
        raise UsageError(f"no command or file {first}; did you mean causepath explain {first}?")
    return words


def _with_dashes(words: Sequence[str]) -> list[str]:
    """Puts ``--`` before the program where it was left out: its options are not ours."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        if words[at] in ("--", "--help", "-h"):
            return list(words)
        at += 2 if words[at] in _TAKE_VALUES else 1
    return [*words[:at], "--", *words[at:]] if at < len(words) else list(words)


def program_meant(command: Sequence[str]) -> str:
    """Says how a program of Python's is run that somebody wrote without it."""
    if not _PROGRAM.match(command[0]) or not Path(command[0]).is_file():
        return ""
    return f"; did you mean causepath run -- python {' '.join(command)}?"


def refuse_program(path: str) -> None:
    """Raises `UsageError` if `path` is a program and no trace file."""
    if _PROGRAM.match(path):
        raise UsageError(
            f"{path} is a program, no trace: did you mean causepath run -- python {path}?"
        )


def refuse_option(option: str, known: Iterable[str]) -> None:
    """Raises `UsageError` for an `option` that there is not among the `known`."""
    name = option.partition("=")[0]
    near = get_close_matches(name, list(known), n=1)
    told = f"did you mean {near[0]}?" if near else f"for a file of this name write ./{option}"
    if near == [name]:
        told = "it is one of another command"
    raise UsageError(f"unknown option {name if near else option}; {told}")
