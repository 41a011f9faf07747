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
    violation_words,
    word_of,
)
from causepath_analyzer.report.formatting import harmless, near

_SARIF_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS: Final = {"fail": "error", "warn": "warning", "inconclusive": "note"}
_ID: Final = 8
_PLACE: Final = re.compile(r"(.+):(\d+)\Z")


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
    lines += [violation_words(one, result.unit, _ID) for one in result.violations]
    return lines


def place(result: Checked) -> tuple[str, int] | None:
    """Gives the file, relative to here, and the line that set a budget."""
    found = _PLACE.match(result.budget.where)
    if found is None:
        return None
    return Path(near(found[1])).as_posix(), int(found[2])


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
            one["locations"] = [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": quote(at[0])},
                        "region": {"startLine": at[1]},
                    }
                }
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
