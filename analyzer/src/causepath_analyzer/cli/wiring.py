"""``causepath doctor -- CMD`` and ``--self``: is the plugin wired to what it is to see."""

import os
import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from tempfile import TemporaryFile
from typing import Final

import msgspec
from msgspec import Struct

from causepath_analyzer.analyses.wiring import TRACED_SDKS, Wiring
from causepath_analyzer.cli.traced_program import traced_program

_PROBE: Final = f"""
import importlib.metadata, json, sys
found = {{}}
for name in ("causepath", "opentelemetry-sdk", *{TRACED_SDKS!r}):
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps({{"python": sys.executable, "installed": found}}))
"""


class _Probed(Struct):
    python: str
    installed: dict[str, str]


def wiring_here() -> Wiring:
    """Asks the Python that runs agents here, the first `python` there is.

    Raises `NotStartedError` if that cannot be started.
    """
    path = os.environ.get("PATH", os.defpath)
    if find_spec("causepath") is None:  # an environment of our own, which is nobody's agent's
        own = os.path.dirname(sys.executable)  # noqa: PTH120 - links are not followed
        path = os.pathsep.join(one for one in path.split(os.pathsep) if one != own)
    python = shutil.which("python", path=path) or shutil.which("python3", path=path)
    python = python or sys.executable
    with TemporaryFile("w+") as printed:
        ran = traced_program([python, "-c", _PROBE], printed)
        printed.seek(0)
        try:
            found = msgspec.json.decode(printed.read().strip(), type=_Probed)
        except msgspec.DecodeError:
            found = _Probed(python, {})
    account = ran.account
    return Wiring(
        python=found.python,
        plugin=account.version,
        installed=found.installed,
        imported=(),
        calls=0,
        to=account.to,
        written=None,
        complaints=account.complaints,
    )


def wiring_of(command: Sequence[str]) -> tuple[Wiring, int]:
    """Runs a program, and tells its wiring and its exit status.

    What it prints goes to standard error. Raises `NotStartedError` if it cannot be started.
    """
    ran = traced_program(command, sys.stderr)
    account = ran.account
    written = 0 if ran.reading is None else sum(entry.spans for entry in ran.reading.inputs)
    # What goes to a collector is in no file of ours: then only the plugin's own word counts.
    nothing = account.nothing
    if nothing is None and not written and not (account.calls and account.to != (str(ran.file),)):
        nothing = account.why_nothing(ran.file)
    return (
        Wiring(
            python=account.python,
            plugin=account.version,
            installed=None,
            imported=account.sdks,
            calls=account.calls,
            to=account.to,
            written=written if account.to in ((), (str(ran.file),)) else None,
            complaints=(*account.lost, *account.complaints),
            nothing=nothing,
        ),
        ran.status,
    )
