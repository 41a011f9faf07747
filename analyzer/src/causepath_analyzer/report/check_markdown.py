"""Budgets as Markdown, and as the annotations that GitHub shows beside the code."""

from typing import Final

from causepath_analyzer.analyses.budgets.verdicts import Check, Checked
from causepath_analyzer.report.check_files import details, place, told
from causepath_analyzer.report.check_text import (
    amount,
    changed_words,
    known_words,
    unread_words,
    used_words,
    verdict_words,
    word_of,
)
from causepath_analyzer.report.markdown import cell, escaped, row, within

MOST_SUMMARY: Final = 1_000_000
"""Bytes: GitHub drops a step summary of more than 1 MiB whole."""
_MOST_ANNOTATIONS: Final = 10
"""GitHub shows so many of a kind for a step."""
_KINDS: Final = {"fail": "error", "warn": "warning", "inconclusive": "notice"}
_SIGNS: Final = {"pass": "✅", "fail": "❌", "warn": "⚠️", "inconclusive": "❔"}


def check_markdown(check: Check, most: int | None = None) -> str:
    """Writes a table of the budgets, and what explains them; of more than `most` bytes the
    beginning."""
    lines = [
        f"### causepath: {verdict_words(check)}",
        "",
        "| | budget | limit | used | range | runs |",
        "| --- | --- | --- | --- | --- | --: |",
        *(_row(result) for result in check.budgets),
    ]
    for result in check.budgets:
        of = details(result)
        if of:
            lines += [
                "",
                f"**{escaped(told(result))}**",
                "",
                *(f"- {escaped(one)}" for one in of),
            ]
    if check.unread:
        lines += ["", f"**{unread_words(check)}**"]
    lines += ["\n" + escaped(changed_words(one.what, one.before, one.now)) for one in check.changed]
    text = "\n".join(lines) + "\n"
    return text if most is None else within(text, most, "see the log")


def _row(result: Checked) -> str:
    unit = result.unit
    limit = "unknown" if result.limit is None else amount(result.limit, unit)
    word = word_of(result)
    cells = (
        f"{_SIGNS[word]} {word}",
        cell(result.budget.name),
        f"{result.budget.sign} {limit}",
        used_words(result),
        known_words(result),
        f"{result.runs:,}",
    )
    return row(cells)


def annotations(check: Check) -> str:
    """Writes a workflow command for each budget that is not kept, as many as GitHub shows."""
    lines = []
    for word, kind in _KINDS.items():
        title = _property(f"causepath: {word}")
        told_of = [
            (_at(result), "\n".join((told(result), *details(result))))
            for result in check.budgets
            if word_of(result) == word
        ]
        if word == "inconclusive" and check.unread:
            told_of.insert(0, ("", unread_words(check)))
        shown = told_of[:_MOST_ANNOTATIONS]
        more = len(told_of) - len(shown)
        for number, (at, message) in enumerate(shown, start=1):
            last = number == len(shown) and more
            tail = f"\nand {more:,} more, which GitHub does not show here" if last else ""
            lines.append(f"::{kind} {at}title={title}::{_data(message + tail)}")
    return "".join(f"{line}\n" for line in lines)


def _at(result: Checked) -> str:
    at = place(result)
    return "" if at is None else f"file={_property(at[0])},line={at[1]},"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
