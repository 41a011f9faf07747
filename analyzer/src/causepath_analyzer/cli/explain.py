"""``causepath explain CODE``: what a finding means and what to do about it."""

import textwrap
from importlib.resources import files
from typing import Annotated

import msgspec
from cyclopts import Parameter

from causepath_analyzer.analyses.findings.rules import RULES
from causepath_analyzer.cli.inputs import Json
from causepath_analyzer.cli.output import write
from causepath_analyzer.errors import UsageError

SCHEMA = "causepath.explain/1"

_PROSE = ("title", "what", "evidence", "saving", "refuted_by", "fix")


def explain(
    code: Annotated[str, Parameter(help="The code of a finding, such as CP101.")],
    /,
    *,
    json: Json = False,
) -> None:
    """Say what a finding means, how it is known, and what to do about it."""
    found = RULES.get(code.upper())
    if found is None:
        raise UsageError(f"no finding has the code {code}; there is {', '.join(RULES)}")
    counts = _labelled().get(code.upper())
    if json:
        told = {
            "schema": SCHEMA,
            "code": code.upper(),
            **{name: getattr(found, name) for name in _PROSE},
            "labelled": msgspec.structs.asdict(counts) if counts is not None else None,
        }
        write(msgspec.json.format(msgspec.json.encode(told), indent=1) + b"\n", None)
        return
    print(f"{code.upper()}  {found.title}\n")
    for heading, text in (
        ("What", found.what),
        ("Evidence", found.evidence),
        ("Saving", found.saving),
        ("Refuted by", found.refuted_by),
        ("Fix", found.fix),
        ("How often it is right", _how_often(counts) if counts is not None else ""),
    ):
        if text:
            print(textwrap.fill(f"{heading}: {text}", width=80) + "\n")


class Labelled(msgspec.Struct, frozen=True):
    """The claims about the pairs of calls of the labelled set, which ``benchmarks/labelled``
    runs; each pair counts twice, with content off and on."""

    dependent: int
    dependent_proved: int
    dependent_likely: int
    independent: int
    independent_proved: int
    independent_likely: int


def _labelled() -> dict[str, Labelled]:
    table = files("causepath_analyzer.analyses.proof").joinpath("labelled.json").read_bytes()
    return msgspec.json.decode(table, type=dict[str, Labelled])


def _how_often(counts: Labelled) -> str:
    proved = counts.dependent_proved + counts.independent_proved
    likely = counts.dependent_likely + counts.independent_likely
    said = [
        f"{right} of {all_} {level}"
        for level, right, all_ in (
            ("proved", counts.independent_proved, proved),
            ("likely", counts.independent_likely, likely),
        )
        if all_
    ]
    found = counts.independent_proved + counts.independent_likely
    return (
        f"on a set of calls that people labelled, {' and '.join(said) or 'nothing'} were right; it "
        f"found {found} of {counts.independent} that were independent, and was silent about "
        f"{counts.dependent - counts.dependent_proved - counts.dependent_likely} of "
        f"{counts.dependent} that were not (benchmarks/labelled)."
    )
