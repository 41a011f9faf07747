"""``causepath explain CODE``: what a finding means and what to do about it."""

import textwrap
from typing import Annotated

import msgspec
from cyclopts import Parameter

from causepath_analyzer.analyses.findings import CODES
from causepath_analyzer.cli.inputs import Json
from causepath_analyzer.cli.output import write
from causepath_analyzer.errors import UsageError

SCHEMA = "causepath.explain/1"


def explain(
    code: Annotated[str, Parameter(help="The code of a finding, such as CP101.")],
    /,
    *,
    json: Json = False,
) -> None:
    """Say what a finding means, how it is known, and what to do about it."""
    found = CODES.get(code.upper())
    if found is None:
        raise UsageError(f"no finding has the code {code}; there is {', '.join(CODES)}")
    if json:
        told = {"schema": SCHEMA, "code": code.upper(), **msgspec.structs.asdict(found)}
        write(msgspec.json.format(msgspec.json.encode(told), indent=1) + b"\n", None)
        return
    print(f"{code.upper()}  {found.title}\n")
    for heading, text in (
        ("What", found.what),
        ("Evidence", found.evidence),
        ("Saving", found.saving),
        ("Fix", found.fix),
    ):
        print(textwrap.fill(f"{heading}: {text}", width=80) + "\n")
