"""What other programs show of a check: within their limits and schemas, whatever names say."""

import json
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

from causepath_analyzer.analyses.budgets.measures import Place, Sample, Used
from causepath_analyzer.analyses.budgets.verdicts import Check, checked
from causepath_analyzer.analyses.budgets.wording import Budget, Level, wording
from causepath_analyzer.analyses.path.status import WELL
from causepath_analyzer.report.check_files import check_junit, check_sarif
from causepath_analyzer.report.check_markdown import annotations, check_markdown

S = 1_000_000_000
SCHEMAS = Path(sys.prefix) / "schemas"
HOSTILE = "a]]>&<b>\"'\x00\x1b[31m\x85\u2028\ufffe\U0001ffff\ud800,:%0A\n::error::|`@you #1 ä字"


def samples(count: int, name: str = HOSTILE) -> list[Sample]:
    return [
        Sample(
            f"{i:032x}",
            name,
            "web",
            WELL,
            {"wall": Used(S)},
            path=(Place(name, S, "s", "my agent/ä.py:3 run"),),
        )
        for i in range(count)
    ]


def budget(text: str, where: str, level: Level = "error") -> Budget:
    return wording(text, where, level)


BUDGETS = (
    budget("wall < 2s", "my settings/ä 100%:,.toml:3"),
    budget("wall < 500ms", "my settings/ä 100%:,.toml:4"),
    budget("wall < 1ms", "--warn", "warn"),
    budget("p(99) wall < 2s", "causepath.toml:5"),
    budget('wall{agent="none"} < 2s', "--budget"),
)
"""One that is kept, two that are broken, and two of which nobody can tell."""
CHECKS = {
    "all": checked(BUDGETS, samples(9), unread=3),
    "kept": checked(BUDGETS[:1], samples(1, "agent")),
    "none": checked((), samples(1)),
    "no runs": checked(BUDGETS, ()),
}


def _as_unread(parent: Any) -> list[tuple[str, str]]:
    return [(case.get("name"), case[0].tag) for case in parent if case.get("name") == "input"]


def test_what_was_not_read_is_said_everywhere() -> None:
    check = CHECKS["all"]
    told = "3 places were not read: runs may be missing"
    suite = Xml.fromstring(check_junit(check))[0]
    assert _as_unread(suite) == [("input", "skipped")]
    assert (suite.get("tests"), suite.get("skipped"), len(suite)) == ("6", "3", 6)
    results = json.loads(check_sarif(check))["runs"][0]["results"]
    assert results[-1]["message"]["text"] == told
    assert f"**{told}**" in check_markdown(check)
    assert f"::notice title=causepath%3A inconclusive::{told}\n" in annotations(check)


def test_places_are_uris_and_properties() -> None:
    check = CHECKS["all"]
    (first, *_) = json.loads(check_sarif(check))["runs"][0]["results"]
    (place,) = first["locations"]
    assert place["physicalLocation"] == {
        "artifactLocation": {"uri": "my%20settings/%C3%A4%20100%25%3A%2C.toml"},
        "region": {"startLine": 4},
    }
    assert annotations(check).startswith(
        "::error file=my settings/ä 100%25%3A%2C.toml,line=4,title=causepath%3A fail::wall < "
    )


@pytest.mark.parametrize("name", CHECKS)
def test_no_name_breaks_out(name: str) -> None:
    check = CHECKS[name]
    Xml.fromstring(check_junit(check))
    json.loads(check_sarif(check))
    lines = annotations(check).splitlines()
    assert all(line.startswith(("::error ", "::warning ", "::notice ")) for line in lines)
    assert all(line.count("::") == 2 or "::error::" in line for line in lines)
    table = [line for line in check_markdown(check).splitlines() if line.startswith("| ")]
    assert {line.replace("\\|", "").count("|") for line in table} <= {7}


@pytest.mark.parametrize(
    ("level", "text", "kind"),
    [
        ("error", "wall < 1ms", "error"),
        ("warn", "wall < 1ms", "warning"),
        ("error", "p(99) wall < 2s", "notice"),
    ],
)
@pytest.mark.parametrize("count", [9, 10, 11, 300])
def test_ten_annotations_of_a_kind(level: Level, text: str, kind: str, count: int) -> None:
    one = budget(text, "causepath.toml:1", level)
    others = [budget("wall < 2ms", "x"), budget("wall < 2ms", "x", "warn")]
    lines = annotations(checked([one] * count + others, samples(3, "a"))).splitlines()
    of_kind = [line for line in lines if line.startswith(f"::{kind} ")]
    all_of_kind = count + (kind in ("error", "warning"))
    assert len(of_kind) == min(10, all_of_kind)
    more = all_of_kind - len(of_kind)
    tail = f"%0Aand {more} more, which GitHub does not show here"
    assert [line.endswith(tail) for line in of_kind] == [False] * (len(of_kind) - 1) + [more > 0]


@pytest.mark.parametrize("most", [0, 10, 40, 1_000, 5_000])
def test_a_summary_is_never_larger_than_it_may_be(most: int) -> None:
    long = checked([budget("wall < 1ms", "here")] * 30, samples(1, "字" * 80))
    text = check_markdown(long, most)
    assert len(text.encode()) <= most
    assert text == "" or text.endswith("\n(cut off: see the log)\n")


@pytest.mark.formats
@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_junit_schema(check: Check) -> None:
    import xmlschema

    schema = xmlschema.XMLSchema(SCHEMAS / "testing/example_scripts/junit-10.xsd")
    assert not list(schema.iter_errors(Xml.fromstring(check_junit(check))))
    wrong = Xml.fromstring("<testsuites><testsuite name='a'/></testsuites>")
    assert list(schema.iter_errors(wrong))


@pytest.mark.formats
@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_sarif_schema(check: Check) -> None:
    import jsonschema

    schema = json.loads((SCHEMAS / "package/lib/schemas/sarif-2.1.0-rtm.5.json").read_text())
    validator = jsonschema.Draft4Validator(
        schema, format_checker=jsonschema.Draft4Validator.FORMAT_CHECKER
    )
    log = json.loads(check_sarif(check))
    assert not list(validator.iter_errors(log))
    log["runs"][0]["tool"]["driver"].pop("name")
    assert list(validator.iter_errors(log))
