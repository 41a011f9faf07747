"""The error tree. Every child owns the exit status its command ends with.

Statuses that are an answer and not an error (0 fine, 1 budget broken, 3 inconclusive) are in
`ExitStatus` as well, so that all of them stand in one place.
"""

from enum import IntEnum
from typing import ClassVar


class ExitStatus(IntEnum):
    """The meaning of a command's exit status; part of the public interface."""

    FINE = 0
    BUDGET_BROKEN = 1
    USAGE = 2
    INCONCLUSIVE = 3
    UNREADABLE = 4
    NO_TRACES = 5


class CausepathError(Exception):
    """Something the user can act on; its text is one clear sentence with the place in it."""

    status: ClassVar[ExitStatus] = ExitStatus.USAGE


class UsageError(CausepathError):
    """The command line or a setting is wrong."""


class ConfigurationError(UsageError):
    """A settings file is wrong; the text starts with ``file:line``."""


class UnreadableInputError(CausepathError):
    """An input is not there, cannot be opened, or is not what any reader knows."""

    status = ExitStatus.UNREADABLE


class NoTracesError(CausepathError):
    """An error: everything could be read, and there is no span in it."""

    status = ExitStatus.NO_TRACES
