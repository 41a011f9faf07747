"""Budgets in files that other programs show: JUnit XML and SARIF 2.1.0."""

import re
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from xml.etree import ElementTree as Xml

import msgspec

from causepath_analyzer.analyses.budgets.verdicts import Check, Checked
from causepath_analyzer.report.check_text import (
    amount,
    explained,
    known_words,
    unread_words,
    used_words,
    violation_lines,
    word_of,
)
from causepath_analyzer.report.formatting import harmless, near

_SARIF_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS: Final = {"fail": "error", "warn": "warning", "inconclusive": "note"}
_ID: Final = 8
_PLACE: Final = re.compile(r"(.+?):(\d+)(?: .*)?\Z")


def told(result: Checked) -> str:
    """Says in one sentence what a budget is and how it came out."""
    unit = result.unit
    limit = "an unknown limit" if result.limit is None else amount(result.limit, unit)
    known = known_words(result)
    used = used_words(result) + (f" ({known})" if known else "")
    return harmless(f"{result.budget.name} {result.budget.sign} {limit}: {used}")


def details(result: Checked) -> list[str]:
    """Lists what explains a verdict, a line each: the runs that broke a budget among them."""
    lines = list(explained(result))
    for one in result.violations:
        lines += map(str.strip, violation_lines(one, result.unit, _ID))
    return lines


def place(result: Checked) -> tuple[str, int] | None:
    """Gives the file, relative to here, and the line that set a budget; of one that no file sets,
    those of the code that broke it."""
    blamed = [one.where for one in result.violations if one.where is not None]
    return next((at for at in map(_read, [result.budget.where, *blamed]) if at is not None), None)


def _read(where: str) -> tuple[str, int] | None:
    found = _PLACE.match(where)
    return None if found is None else (Path(near(found[1])).as_posix(), int(found[2]))


def _location(at: tuple[str, int], told: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "physicalLocation": {
            "artifactLocation": {"uri": quote(at[0])},
            "region": {"startLine": max(1, at[1])},
        }
    }
    return found if told is None else found | {"message": {"text": harmless(told)}}


def check_junit(check: Check) -> bytes:
    """Writes a test case for each budget: one that is inconclusive is skipped, not passed."""
    words = [word_of(result) for result in check.budgets]
    skipped = words.count("inconclusive") + bool(check.unread)
    suite = Xml.Element(
        "testsuite",
        name="causepath",
        tests=str(len(words) + bool(check.unread)),
        failures=str(words.count("fail")),
        errors="0",
        skipped=str(skipped),
        time="0",
    )
    for result, word in zip(check.budgets, words, strict=True):
        case = Xml.SubElement(
            suite,
            "testcase",
            name=told(result).partition(": ")[0],
            classname="causepath.budgets",
            time="0",
        )
        text = "\n".join((told(result), *details(result)))
        if word in ("fail", "inconclusive"):
            tag = "failure" if word == "fail" else "skipped"
            Xml.SubElement(case, tag, message=told(result)).text = text
        else:
            Xml.SubElement(case, "system-out").text = text
    if check.unread:
        case = Xml.SubElement(
            suite, "testcase", name="input", classname="causepath.budgets", time="0"
        )
        Xml.SubElement(case, "skipped", message=unread_words(check))
    suites = Xml.Element("testsuites")
    suites.append(suite)
    Xml.indent(suites)
    written: bytes = Xml.tostring(suites, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def check_sarif(check: Check) -> bytes:
    """Writes a result for each budget that is broken or inconclusive, at the line that sets it."""
    results = []
    rules: dict[str, dict[str, Any]] = {}
    for result in check.budgets:
        word = word_of(result)
        if word == "pass":
            continue
        rule = f"budget/{result.budget.measure}"
        rules[rule] = {
            "id": rule,
            "shortDescription": {"text": f"Budget on {result.budget.measure}"},
        }
        name = f"{result.budget.name} {result.budget.sign}"
        one: dict[str, Any] = {
            "ruleId": rule,
            "level": _LEVELS[word],
            "message": {"text": "\n".join((told(result), *details(result)))},
            "partialFingerprints": {"causepathBudget/v1": sha256(name.encode()).hexdigest()},
        }
        at = place(result)
        if at is not None:
            one["locations"] = [_location(at)]
        blamed = {
            (where, by.span)
            for by in result.violations
            if by.where is not None and (where := _read(by.where)) is not None
        }
        if blamed:
            one["relatedLocations"] = [
                _location(where, span) for where, span in sorted(blamed, key=str)
            ]
        results.append(one)
    if check.unread:
        rules["input"] = {"id": "input", "shortDescription": {"text": "Input that was not read"}}
        results.append(
            {"ruleId": "input", "level": "note", "message": {"text": unread_words(check)}}
        )
    log = {
        "$schema": _SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "causepath", "rules": list(rules.values())}},
                "results": results,
            }
        ],
    }
    return msgspec.json.format(msgspec.json.encode(log), indent=1) + b"\n"
