"""Jaeger's page draws the critical path that the report has, but for what is listed here."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from causepath_analyzer.cli import invoke
from tests.support.jaeger_pages import PAGES, Page, path_on_page

MS = 1_000_000
AGENT = {"causepath.category": "agent"}
CALL = {"causepath.category": "llm", "gen_ai.operation.name": "chat"}
TOOL = {"causepath.category": "tool"}
WINDOW = {**TOOL, "causepath.tool.inferred": "true"}
RETRY = {"causepath.category": "retry"}
FETCH = {"causepath.category": "network"}

# Name, parent, start and end in ms, attributes, and the causes by name.
Row = tuple[str, str, float, float, dict[str, str], tuple[str, ...]]

RUNS: dict[str, list[Row]] = {
    "one after the other": [
        ("run", "", 0, 100, AGENT, ()),
        ("call 1", "run", 1, 30, CALL, ()),
        ("tool", "run", 31, 50, TOOL, ("call 1",)),
        ("call 2", "run", 51, 99, CALL, ("tool",)),
    ],
    "tools together": [
        ("run", "", 0, 100, AGENT, ()),
        ("call 1", "run", 0, 30, CALL, ()),
        ("tool 1", "run", 31, 70, TOOL, ("call 1",)),
        ("tool 2", "run", 31, 50, TOOL, ("call 1",)),
        ("call 2", "run", 71, 100, CALL, ("tool 1", "tool 2")),
    ],
    "a retry": [
        ("run", "", 0, 100, AGENT, ()),
        ("call", "run", 0, 100, CALL, ()),
        ("attempt 1", "call", 0, 10, RETRY, ()),
        ("backoff", "call", 10.001, 50, RETRY, ()),
        ("attempt 2", "call", 50.001, 60, FETCH, ()),
    ],
    "an agent that is a tool": [
        ("run", "", 0, 100, AGENT, ()),
        ("call 1", "run", 0, 20, CALL, ()),
        ("tool", "run", 21, 80, TOOL, ("call 1",)),
        ("inner", "tool", 22, 79, AGENT, ()),
        ("call of inner", "inner", 23, 78, CALL, ()),
        ("call 2", "run", 81, 100, CALL, ("tool",)),
    ],
    "below a web server": [
        ("POST /ask", "", 0, 110, {}, ()),
        ("run", "POST /ask", 5, 100, AGENT, ()),
        ("call", "run", 6, 99, CALL, ()),
    ],
    "a window": [
        ("run", "", 0, 100, AGENT, ()),
        ("call 1", "run", 0, 30, CALL, ()),
        ("tool", "run", 30, 50, WINDOW, ("call 1",)),
        ("call 2", "run", 50, 100, CALL, ("tool",)),
    ],
    "a tool that began while the reply streamed": [
        ("run", "", 0, 100, AGENT, ()),
        ("call 1", "run", 0, 60, CALL, ()),
        ("tool", "run", 40, 80, TOOL, ("call 1",)),
        ("call 2", "run", 81, 100, CALL, ("tool",)),
    ],
}


for number in range(5):
    at = 20 * number
    RUNS.setdefault("many turns", [("run", "", 0, 100, AGENT, ())]).extend(
        [
            (
                f"call {number}",
                "run",
                at,
                at + 9,
                {**CALL, "causepath.turn": f"{number + 1}"},
                (f"tool {number - 1}",) if number else (),
            ),
            (f"tool {number}", "run", at + 10, at + 19, TOOL, (f"call {number}",)),
        ]
    )


def exported(rows: list[Row], folder: Path, *options: str) -> list[dict[str, Any]]:
    """The spans that `causepath export` makes of a run."""
    ids = {name: f"{number + 1:016x}" for number, (name, *_) in enumerate(rows)}
    spans = []
    for name, parent, start, end, attributes, causes in rows:
        link = "tool_call" if attributes in (TOOL, WINDOW) else "tool_result"
        pairs = [{"key": k, "value": {"stringValue": v}} for k, v in attributes.items()]
        because = [{"key": "causepath.link", "value": {"stringValue": link}}]
        spans.append(
            {
                "traceId": "a" * 32,
                "spanId": ids[name],
                "parentSpanId": ids.get(parent, ""),
                "name": name,
                "startTimeUnixNano": str(10**18 + int(start * MS)),
                "endTimeUnixNano": str(10**18 + int(end * MS)),
                "attributes": pairs,
                "links": [
                    {"traceId": "a" * 32, "spanId": ids[cause], "attributes": because}
                    for cause in causes
                ],
            }
        )
    source, out = folder / "run.json", folder / "exported.jsonl"
    source.write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}))
    assert invoke(["export", str(source), "--to", "otlp", "-o", str(out), *options]) == 0
    return [
        span
        for line in out.read_text().splitlines()
        for batch in json.loads(line)["resourceSpans"]
        for group in batch["scopeSpans"]
        for span in group["spans"]
    ]


def both(spans: list[dict[str, Any]], page: Page) -> tuple[dict[str, int], dict[str, int]]:
    """Whole milliseconds on the path by name, as the page has it and as we say."""
    drawn = path_on_page(spans, page)
    theirs: dict[str, int] = defaultdict(int)
    ours: dict[str, int] = {}
    for span in spans:
        told = {pair["key"]: pair["value"] for pair in span["attributes"]}
        name = told.get("causepath.copy_of.name", {"stringValue": span["name"]})["stringValue"]
        # Between a call and its tool the page shows the span of a turn, where there is one.
        name = "run" if name.startswith("turn ") else name
        theirs[name] += drawn.get(span["spanId"], 0)
        if "causepath.path_ns" in told:
            ours[name] = round(int(told["causepath.path_ns"]["intValue"]) / MS)
    theirs = {name: round(us / 1000) for name, us in theirs.items() if round(us / 1000)}
    return theirs, {name: ms for name, ms in ours.items() if ms}


def test_many_turns_can_be_folded(tmp_path: Path) -> None:
    spans = exported(RUNS["many turns"], tmp_path, "--copy")
    names = {span["spanId"]: span["name"] for span in spans}
    rows = sorted((names.get(span.get("parentSpanId", ""), ""), span["name"]) for span in spans)
    assert rows == [
        ("", "run"),
        *(("run", f"turn {turn}") for turn in range(1, 6)),
        *(
            (f"turn {turn}", name)
            for turn in range(1, 6)
            for name in (f"{turn} call {turn - 1}", f"tool {turn - 1}")
        ),
    ]


# What is different, as the page has it and as we say: of the spans as they are, and of copies.
DIFFERENT = {
    ("a window", "spans"): ({"run": 20, "call 1": 30, "call 2": 50}, {"tool": 20}),
    ("a tool that began while the reply streamed", "spans"): (
        {"run": 41, "tool": 40, "call 2": 19},
        {"run": 1, "call 1": 40},
    ),
    ("a tool that began while the reply streamed", "copies"): (
        {"run": 41, "tool": 40, "call 2": 19},
        {"run": 1, "call 1": 40},
    ),
}


@pytest.mark.parametrize("what", ["spans", "copies"])
@pytest.mark.parametrize("run", RUNS)
def test_the_page_has_our_critical_path(run: str, what: str, tmp_path: Path) -> None:
    spans = exported(RUNS[run], tmp_path, "--copy" if what == "copies" else "--no-copy")
    different = DIFFERENT.get((run, what))
    for page in PAGES:
        theirs, ours = both(spans, page)
        assert sum(ours.values()) == (110 if "web" in run else 100)
        if different is None:
            assert theirs == ours
        else:
            drawn, not_so = different
            assert theirs == drawn
            assert {name: ms for name, ms in ours.items() if theirs.get(name) != ms} == not_so


def test_a_first_reference_that_is_no_parent_takes_the_path_of_older_pages_away(
    tmp_path: Path,
) -> None:
    spans = exported(RUNS["one after the other"], tmp_path, "--copy")
    root = next(span for span in spans if not span.get("parentSpanId"))
    root["links"] = [{"traceId": "a" * 32, "spanId": "1" * 16}]
    assert [bool(path_on_page(spans, page)) for page in PAGES] == [False, True]
