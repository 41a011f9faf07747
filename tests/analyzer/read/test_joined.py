"""Traces that are one run, and those that look alike and stay runs of their own."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from causepath_analyzer.cli import invoke
from causepath_analyzer.read import read

BEGIN_MS = 1_795_000_000_000
HOUR = 3_600_000
Line = dict[str, Any]


def span(
    trace: int,
    number: int,
    name: str,
    start_ms: int,
    end_ms: int,
    *links: tuple[int, int, str | None],
    parent: int = 0,
    kind: int = 1,
    service: str = "app",
    **facts: Any,
) -> Line:
    """One line of OTLP. `links` are trace, number and why."""

    def ids(trace: int, number: int) -> Line:
        return {"traceId": f"{trace:032x}", "spanId": f"{number:016x}"}

    def value(said: Any) -> Line:
        if isinstance(said, list):
            return {"arrayValue": {"values": [value(one) for one in said]}}
        if isinstance(said, bool):
            return {"boolValue": said}
        return {"intValue": str(said)} if isinstance(said, int) else {"stringValue": said}

    def pairs(facts: dict[str, Any]) -> list[Line]:
        return [{"key": key, "value": value(said)} for key, said in facts.items()]

    category = {"chat": "llm", "tool": "tool", "agent": "agent"}.get(name.split()[0], "other")
    facts = {key.replace("__", "."): said for key, said in facts.items()}
    wire = {
        **ids(trace, number),
        "parentSpanId": f"{parent:016x}" if parent else "",
        "name": name,
        "kind": kind,
        "startTimeUnixNano": str((BEGIN_MS + start_ms) * 1_000_000),
        "endTimeUnixNano": str((BEGIN_MS + end_ms) * 1_000_000),
        "attributes": pairs({"causepath.category": category, **facts}),
        "links": [
            {**ids(of, at), "attributes": pairs({"causepath.link": why} if why else {})}
            for of, at, why in links
        ],
    }
    resource = {"attributes": pairs({"service.name": service})}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [wire]}]}]}


TAKEN = {"causepath__run__inferred": True}
ASKS = {"gen_ai__response__finish_reasons": ["tool_calls"]}
ENDS = {"gen_ai__response__finish_reasons": ["stop"]}
LOOP = [
    span(0xA, 1, "chat one", 0, 1000, **ASKS),
    span(0xB, 2, "tool search", 1010, 2000, (0xA, 1, "tool_call")),
    span(0xC, 3, "chat two", 2010, 3000, (0xB, 2, "tool_result"), **ENDS),
]
BLOCKS: dict[str, Any] = {
    "causepath__input__blocks": ["user:text:aa:4"],
    "causepath__input__kept": 2,
    "causepath__input__previous": f"{1:016x}",
    "causepath__output__blocks": ["assistant:text:bb:4"],
}


def follow_up(start_ms: int, **facts: Any) -> list[Line]:
    """A conversation that goes on once the user has read the first answer."""
    return [
        span(0xA, 1, "chat one", 0, 1000, **ENDS, gen_ai__conversation__id="s"),
        span(0xB, 2, "chat two", start_ms, start_ms + 900, (0xA, 1, "content"), **facts),
    ]


def handed(start_ms: int, **facts: Any) -> list[Line]:
    """The words of one call in the request of another one."""
    return [
        span(0xA, 1, "chat plan", 0, 1000),
        span(0xB, 2, "chat write", start_ms, start_ms + 900, (0xA, 1, "content"), **facts),
    ]


@pytest.mark.parametrize(
    ("lines", "runs", "named"),
    [
        pytest.param(LOOP, ["abc"], "", id="a loop with nothing around it"),
        pytest.param(LOOP[::-1], ["abc"], "", id="in any order"),
        pytest.param(
            [span(0xA, 1, "chat one", 0, 1000), *LOOP[1:2], span(0xC, 1, "chat two", 2010, 3000)],
            ["ab", "c"],
            "",
            id="only what links lead to",
        ),
        pytest.param(handed(1100), ["ab"], "", id="words are handed on at once"),
        pytest.param(
            [
                *(span(n, n, f"chat {n}", 0, 1000) for n in (0xA, 0xB, 0xC)),
                span(0xD, 9, "chat all", 1100, 2000, *((n, n, "content") for n in (10, 11, 12))),
            ],
            ["abcd"],
            "",
            id="of several to one",
        ),
        # Look-alikes.
        pytest.param(handed(24 * HOUR), ["a", "b"], "ab", id="yesterday's words"),
        pytest.param(
            [LOOP[0], span(0xB, 2, "tool search", 5 * HOUR, 5 * HOUR + 9, (0xA, 1, "tool_call"))],
            ["a", "b"],
            "ab",
            id="a tool hours later",
        ),
        pytest.param(handed(1100, session__id="t"), ["ab"], "", id="one says a session"),
        pytest.param(
            [
                span(0xA, 1, "chat plan", 0, 1000, session__id="s"),
                span(0xB, 2, "chat write", 1100, 2000, (0xA, 1, "content"), session__id="t"),
            ],
            ["a", "b"],
            "ab",
            id="of another session",
        ),
        pytest.param(
            [
                span(0xA, 1, "chat plan", 0, 1000),
                span(0xB, 9, "POST /", 1100, 2000, kind=2),
                span(0xB, 2, "chat write", 1100, 2000, (0xA, 1, "content"), parent=9),
            ],
            ["a", "b"],
            "",
            id="a request came in",
        ),
        pytest.param(
            [
                span(0xA, 1, "agent one", 0, 1000),
                span(0xA, 2, "chat one", 0, 1000, parent=1),
                span(0xB, 3, "agent two", 1100, 2000),
                span(0xB, 4, "chat two", 1100, 2000, (0xA, 2, "content"), parent=3),
            ],
            ["a", "b"],
            "",
            id="two runs in which the same is said",
        ),
        pytest.param(
            [
                span(0xA, 1, "agent app", 0, 1000, **TAKEN),
                span(0xA, 2, "chat plan", 0, 1000, parent=1),
                span(0xB, 3, "agent app", 1100, 2000, **TAKEN),
                span(0xB, 4, "chat write", 1100, 2000, (0xA, 2, "content"), parent=3),
            ],
            ["ab"],
            "",
            id="two calls that the plugin took to be runs of their own",
        ),
        pytest.param(
            follow_up(20_000, **BLOCKS, gen_ai__conversation__id="s"),
            ["a", "b"],
            "",
            id="the next question of a conversation",
        ),
        pytest.param(
            [
                *LOOP[:2],
                span(0xB, 4, "chat two", 2010, 3000, (0xB, 2, "tool_result")),
                span(0xD, 5, "chat three", 9000, 9900, (0xB, 2, "tool_result")),
            ],
            ["ab", "d"],
            "",
            id="a result that was handed on before",
        ),
        pytest.param(
            [
                *(span(n, n, f"agent {n}", 0, 100) for n in (0xA, 0xB, 0xC)),
                span(0xD, 9, "agent batch", 200, 300, *((n, n, None) for n in (10, 11, 12))),
            ],
            ["a", "b", "c", "d"],
            "",
            id="a batch",
        ),
        pytest.param(
            [
                span(0xA, 1, "agent one", 0, 100),
                span(0xB, 2, "agent two", 200, 300, (0xA, 1, None)),
            ],
            ["a", "b"],
            "ab",
            id="a link without a reason",
        ),
        pytest.param(
            [
                span(0xA, 1, "agent one", 0, 100),
                span(0xB, 2, "agent two", 24 * HOUR, 25 * HOUR, (0xA, 1, None)),
            ],
            ["a", "b"],
            "",
            id="a link to yesterday's trace",
        ),
        pytest.param(
            [
                span(1, 1, "chat cached", 0, 1000),
                *(
                    span(n, n, "chat", 1000 * n, 1000 * n + 900, (1, 1, "content"))
                    for n in range(2, 14)
                ),
            ],
            [f"{n:x}" for n in range(1, 14)],
            "".join(f"{n:x}" for n in range(1, 14)),
            id="words that many take up",
        ),
        # Nothing but time and a conversation says that these are one.
        pytest.param(
            [
                span(0xA, 1, "chat one", 0, 1000, **ASKS, session__id="s"),
                span(0xB, 2, "tool search", 1010, 2000, session__id="s"),
                span(0xC, 3, "chat two", 2010, 3000, **ENDS, session__id="s"),
            ],
            ["a", "b", "c"],
            "abc",
            id="one conversation id",
        ),
        pytest.param(
            [
                span(0xA, 1, "chat one", 0, 1000, **ENDS, session__id="s"),
                span(0xB, 2, "chat two", 20_000, 21_000, **ENDS, session__id="s"),
            ],
            ["a", "b"],
            "",
            id="questions of one conversation",
        ),
        pytest.param(
            [
                span(0xA, 1, "chat one", 0, 1000, **ASKS, session__id="s"),
                span(0xB, 2, "chat two", 1100, 2000, **ASKS, session__id="t"),
            ],
            ["a", "b"],
            "",
            id="two conversations",
        ),
    ],
)
def test_which_traces_are_one_run(
    lines: Sequence[Line], runs: list[str], named: str, tmp_path: Path
) -> None:
    path = tmp_path / "traces.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    traces = read([str(path)]).traces
    found = [
        "".join(f"{int(trace_id, 16):x}" for trace_id in (trace.trace_id, *trace.joined))
        for trace in traces
    ]
    assert found == runs
    handing = "".join(f"{int(trace.trace_id, 16):x}" for trace in traces if trace.hands_on)
    assert handing == named
    assert sum(len(trace.spans) for trace in traces) == len(lines)


def reported(path: Path, tmp_path: Path, *options: str) -> bytes:
    out = tmp_path / "out.json"
    assert invoke(["report", str(path), "--json", "-o", str(out), *options]) == 0
    return out.read_bytes()


@pytest.mark.programs
@pytest.mark.parametrize("order", [1, -1])
def test_several_processes_say_the_same(order: int, tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    lines = [*LOOP, *(span(0x100 + n, 100 + n, "agent x", n, n + 50) for n in range(40))]
    lines += [
        span(0xD, 50, "chat one", 0, 1000, **ASKS, session__id="s"),
        span(0xE, 51, "chat two", 1100, 2000, **ENDS, session__id="s"),
        # Its parent is in another trace.
        span(0xF, 52, "chat three", 5000, 6000, parent=120),
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines[::order]))
    whole = reported(path, tmp_path, "--jobs", "1")
    assert reported(path, tmp_path, "--jobs", "3") == whole
    assert reported(path, tmp_path, "--jobs", "2", "--trace", "b") == reported(
        path, tmp_path, "--jobs", "1", "--trace", "a"
    )
    told = {int(t["trace_id"], 16): t for t in json.loads(whole)["traces"]}
    assert [int(part, 16) for part in told[0xA]["joined"]] == [0xB, 0xC]
    assert told[0xD]["hands_on"]
    assert told[0xE]["hands_on"]
    assert told[0xF]["health"]["astray"] == 1


def test_spans_that_are_counted_anew_in_every_trace(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    lines = [
        span(0xA, 1, "chat one", 0, 1000, **ASKS),
        span(0xB, 1, "tool search", 1010, 2000, (0xA, 1, "tool_call")),
        span(0xC, 1, "agent", 2005, 3005),
        span(0xC, 2, "chat two", 2010, 3000, (0xB, 1, "tool_result"), parent=1),
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (trace,) = read([str(path)]).traces
    assert [span.name for span in trace.spans] == ["chat one", "tool search", "agent", "chat two"]
    assert trace.parents == (-1, -1, -1, 2)
    assert trace.health.duplicates == 0


def agent_and_chat(trace: int, start_ms: int, end_ms: int, *of: int) -> list[Line]:
    """A run of one call that takes up the words of the calls of other traces."""
    words = [(one, 2 * one, "content") for one in of]
    inside = start_ms + 1, end_ms - 1
    return [
        span(trace, trace, f"agent {trace:x}", start_ms, end_ms, **TAKEN),
        span(trace, 2 * trace, f"chat {trace:x}", *inside, *words, parent=trace, **ENDS),
    ]


PARALLEL = [
    *agent_and_chat(0x1A, 0, 1000),
    *agent_and_chat(0x1B, 5, 900),
    *agent_and_chat(0x1C, 10, 950),
]


@pytest.mark.parametrize(
    ("lines", "roots"),
    [
        pytest.param(
            [*PARALLEL, *agent_and_chat(0x1D, 1100, 2000, 0x1A, 0x1B, 0x1C)],
            ["agent 1a", "agent 1b", "agent 1c", "agent 1d"],
            id="at once, and put together afterwards",
        ),
        pytest.param(
            [
                *agent_and_chat(0x1A, 0, 1000),
                # While the first does something of its own that nobody sees.
                span(0x1B, 0x99, "tool other", 1400, 1500, (0x1C, 0x38, "tool_call")),
                span(0x1A, 0x98, "agent outer", 0, 1900),
                *agent_and_chat(0x1C, 1100, 1300),
                *agent_and_chat(0x1D, 2000, 2500, 0x1A, 0x1C),
            ],
            ["agent outer", "agent 1c", "tool other", "agent 1d"],
            id="one after the other in the time of a third",
        ),
        pytest.param(
            [
                span(0x1F, 0x1F, "agent all", 0, 3000),
                *PARALLEL,
                span(
                    0x1F,
                    0x2F,
                    "chat all",
                    1100,
                    2000,
                    (0x1A, 0x34, "tool_result"),
                    (0x1B, 0x36, "tool_result"),
                    (0x1C, 0x38, "tool_result"),
                    parent=0x1F,
                ),
            ],
            ["agent all"],
            id="at once inside what takes up their words",
        ),
    ],
)
def test_traces_of_one_run_are_side_by_side_where_no_link_is_between_them(
    lines: Sequence[Line], roots: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "traces.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (trace,) = read([str(path)]).traces
    assert [trace.spans[i].name for i in trace.roots] == roots
