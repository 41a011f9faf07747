"""Jaeger's page draws the critical path that the report has, but for what is listed here."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.jaeger_pages import (
    CONSUMER,
    MS,
    PAGES,
    PRODUCER,
    Page,
    both_paths,
    exported,
    path_on_page,
)

AGENT = {"causepath.category": "agent"}
CALL = {"causepath.category": "llm", "gen_ai.operation.name": "chat"}
TOOL = {"causepath.category": "tool"}
WINDOW = {**TOOL, "causepath.tool.inferred": "true"}
RETRY = {"causepath.category": "retry"}
FETCH = {"causepath.category": "network"}

KINDS = {"GET": 3, "POST": 2, "send": PRODUCER, "receive": CONSUMER}
"""Of spans by the first word of their name, where they are not internal."""

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
    "two services": [
        ("POST /order", "", 0, 110, {}, ()),
        ("front", "POST /order", 1, 109, AGENT, ()),
        ("call of front", "front", 2, 20, CALL, ()),
        ("GET", "front", 21, 108, FETCH, ()),
        ("POST /ask", "GET", 25, 104, {}, ()),
        ("run", "POST /ask", 26, 103, AGENT, ()),
        ("call 1", "run", 27, 50, CALL, ()),
        ("tool", "run", 51, 60, TOOL, ("call 1",)),
        ("call 2", "run", 61, 102, CALL, ("tool",)),
    ],
    "a tool that failed": [
        ("run", "", 0, 100, AGENT, ()),
        ("call 1", "run", 0, 30, CALL, ()),
        ("tool", "run", 31, 50, {**TOOL, "error.type": "KeyError"}, ("call 1",)),
        ("call 2", "run", 51, 100, CALL, ("tool",)),
    ],
    "a queue": [
        ("run", "", 0, 100, AGENT, ()),
        ("call 1", "run", 0, 30, CALL, ()),
        ("send", "run", 31, 90, {}, ()),
        ("receive", "send", 35, 80, {}, ()),
        ("call 2", "run", 91, 100, CALL, ()),
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


def exported_run(rows: list[Row], folder: Path, *options: str) -> list[dict[str, Any]]:
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
                "kind": KINDS.get(name.split(" ")[0], 1),
                "startTimeUnixNano": str(10**18 + int(start * MS)),
                "endTimeUnixNano": str(10**18 + int(end * MS)),
                "attributes": pairs,
                "links": [
                    {"traceId": "a" * 32, "spanId": ids[cause], "attributes": because}
                    for cause in causes
                ],
            }
        )
    source = folder / "run.json"
    source.write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}))
    return exported(source, *options)


def test_many_turns_can_be_folded(tmp_path: Path) -> None:
    spans = exported_run(RUNS["many turns"], tmp_path, "--copy")
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


# What is different, as the page has it: of the spans as they are, and of copies.
TOUCHED = {"run": 20, "call 1": 30, "call 2": 50}
STREAMED = {"run": 41, "tool": 40, "call 2": 19}
DIFFERENT: dict[tuple[str, str], dict[Page, dict[str, int]]] = {
    # A span that touches the next one is left out. Copies are a microsecond apart.
    ("a window", "spans"): dict.fromkeys(PAGES, TOUCHED),
    # A call is left out whose tool began before it had ended.
    ("a tool that began while the reply streamed", "spans"): dict.fromkeys(PAGES, STREAMED),
    ("a tool that began while the reply streamed", "copies"): dict.fromkeys(PAGES, STREAMED),
    # What a queue hands over is not waited for, whatever the times say.
    ("a queue", "spans"): {
        "from 2.15": {"run": 61, "call 1": 30, "call 2": 9},
        "newest": {"run": 2, "call 1": 30, "send": 59, "call 2": 9},
    },
}
DIFFERENT["a queue", "copies"] = DIFFERENT["a queue", "spans"]


@pytest.mark.parametrize("what", ["spans", "copies"])
@pytest.mark.parametrize("run", RUNS)
def test_the_page_has_our_critical_path(run: str, what: str, tmp_path: Path) -> None:
    spans = exported_run(RUNS[run], tmp_path, "--copy" if what == "copies" else "--no-copy")
    different = DIFFERENT.get((run, what), {})
    for page in PAGES:
        theirs, ours = both_paths(spans, page)
        assert sum(ours.values()) == RUNS[run][0][3]
        assert theirs == different.get(page, ours), page
        assert (page in different) == (theirs != ours)


def test_a_first_reference_that_is_no_parent_takes_the_path_of_older_pages_away(
    tmp_path: Path,
) -> None:
    spans = exported_run(RUNS["one after the other"], tmp_path, "--copy")
    root = next(span for span in spans if not span.get("parentSpanId"))
    root["links"] = [{"traceId": "a" * 32, "spanId": "1" * 16}]
    assert [bool(path_on_page(spans, page)) for page in PAGES] == [False, True, True]


def test_only_the_newest_page_has_the_path_of_a_second_root(tmp_path: Path) -> None:
    rows = RUNS["one after the other"]
    again = [
        (f"{name}, again", above and f"{above}, again", start + 200, end + 200, of, ())
        for name, above, start, end, of, _ in rows
    ]
    spans = exported_run([*rows, *again], tmp_path, "--no-copy")
    drawn = {page: both_paths(spans, page)[0] for page in PAGES}
    first = {"run": 4, "call 1": 29, "tool": 19, "call 2": 48}
    assert drawn["to 2.14"] == drawn["from 2.15"] == first
    assert drawn["newest"] == first | {f"{name}, again": ms for name, ms in first.items()}
