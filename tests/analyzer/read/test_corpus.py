"""Real files of others, in the formats this version reads: what MANIFEST.md counts in them."""

from typing import Any

import msgspec
import pytest

from causepath_analyzer.analyses.run import explained
from causepath_analyzer.analyses.summary import summary
from causepath_analyzer.errors import NoTracesError
from causepath_analyzer.read import read
from causepath_analyzer.report.json import report_json
from tests.analyzer.corpus import corpus

SAME_ID_TWICE = "jaegerui_traceWithMultipleSpansWithTheSameValueInDifferentTags.json"


@pytest.mark.parametrize(
    ("name", "called", "counts"),
    [
        # traces / span records / distinct spans / orphans
        ("agents/otlp/agentprism_rag_earnings.json", "otlp-json", (1, 18, 18, 0)),
        ("agents/otlp/agentprism_smol_deep_research.json", "otlp-json", (1, 8, 8, 0)),
        ("agents/otlp/clew_langgraph_snake_case.json", "otlp-json", (1, 7, 7, 0)),
        ("agents/otlp/openagenttraces_two_traces.ndjson", "otlp-json", (2, 2, 2, 0)),
        ("agents/jaeger/jaegerui_genai_synthetic.json", "jaeger-json", (1, 57, 57, 0)),
        ("agents/jaeger/packetpanic_get_inventory.json", "jaeger-json", (1, 77, 77, 0)),
        ("services/otlp/jaeger_otel_traces_01.json", "otlp-json", (2, 4, 4, 4)),
        ("services/otlp/jaeger_otlp2jaeger_in.json", "otlp-json", (1, 2, 1, 1)),
        ("services/otlp/kiali_tempo_batches.json", "otlp-json", (1, 8, 8, 0)),
        ("services/otlp/oteldemo_mixed_signals.ndjson", "otlp-json", (141, 547, 547, 1)),
        ("services/otlp/otelproto_example_trace.json", "otlp-json", (1, 1, 1, 1)),
        ("services/otlp/robotframework_all_types.json", "otlp-json", (1, 11, 11, 0)),
        ("services/otlp/robotframework_pabot.json", "otlp-json", (1, 18, 18, 6)),
        ("services/otlp/robotframework_simple.json", "otlp-json", (1, 4, 4, 0)),
        ("services/jaeger/jaeger_otlp2jaeger_out.json", "jaeger-json", (1, 2, 1, 1)),
        ("services/jaeger/jaegerui_testTrace.json", "jaeger-json", (1, 11, 11, 0)),
        (
            "services/jaeger/jaegerui_spanAmongEachOtherGroupedAndSpans.json",
            "jaeger-json",
            (1, 17, 17, 0),
        ),
        (
            "services/jaeger/jaegerui_traceWithMultipleSpansWithTheSameValueInDifferentTags.json",
            "jaeger-json",
            (1, 4, 3, 0),
        ),
        ("bad-input/jaegerui_otlp_in_error.json", "otlp-json", (1, 1, 1, 1)),
        ("bad-input/robotframework_malformed.ndjson", "otlp-json", (3, 3, 3, 2)),
    ],
)
def test_counts(name: str, called: str, counts: tuple[int, int, int, int]) -> None:
    reading = read([str(corpus(name))])
    (entry,) = reading.inputs
    healths = [trace.health for trace in reading.traces]
    assert entry.format == called
    assert counts == (
        len(reading.traces),
        entry.spans,
        sum(health.spans for health in healths),
        sum(health.orphans for health in healths),
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("clew_private_format.json", ":1: JSON, but no trace in any format that causepath reads"),
        (
            "kiali_tempo_search_response_not_a_trace.json",
            ":1: a Tempo search result, no spans: fetch the traces by id (/api/traces/ID)",
        ),
        ("robotframework_logs_only.json", ": OTLP logs, no traces"),
        (
            "signoz_query_response_not_a_trace.json",
            ":1: rows of a SigNoz query, no trace export",
        ),
    ],
)
def test_what_is_no_trace_is_told_what_it_looks_like(name: str, message: str) -> None:
    path = str(corpus(f"bad-input/{name}"))
    with pytest.raises(NoTracesError) as caught:
        read([path])
    assert str(caught.value) == path + message


def test_what_is_readable_in_a_damaged_file_is_read() -> None:
    (entry,) = read([str(corpus("bad-input/robotframework_malformed.ndjson"))]).inputs
    assert [(skipped.where, skipped.why) for skipped in entry.skipped] == [
        ("line 2", "not JSON: object keys must be strings (byte 1)"),
        ("line 3", "JSON, but no trace in any format that causepath reads"),
        ("line 5", "cut off: the JSON that starts here never ends"),
    ]


def reported(name: str) -> dict[str, Any]:
    reading = read([str(corpus(name))])
    runs = [explained(trace) for trace in reading.traces]
    report = msgspec.json.decode(report_json(reading.inputs, runs, summary(runs), "async"))
    del report["inputs"]
    return dict(report)


def test_one_trace_in_two_formats_gives_one_report() -> None:
    assert reported("services/otlp/jaeger_otlp2jaeger_in.json") == reported(
        "services/jaeger/jaeger_otlp2jaeger_out.json"
    )


@pytest.mark.parametrize(
    ("name", "wall", "expected"),
    [
        # EXPECTED.md: in ms, rounded.
        (
            "agents/jaeger/packetpanic_get_inventory.json",
            23664,
            {"llm": 22350, "tool": 1048},
        ),
        (
            "agents/otlp/agentprism_rag_earnings.json",
            50589,
            {"llm": 1274, "retrieval": 404},
        ),
        ("agents/otlp/agentprism_smol_deep_research.json", 94683, {"llm": 92549}),
    ],
)
def test_where_the_time_went(name: str, wall: int, expected: dict[str, int]) -> None:
    (trace,) = read([str(corpus(name))]).traces
    run = explained(trace)
    spent = {kind: round(ns / 1e6) for kind, ns in run.wall.path.items()}
    assert round(trace.wall_ns / 1e6) == wall
    assert {kind: spent[kind] for kind in expected} == expected  # type: ignore[index]
    assert sum(run.wall.path.values()) == trace.wall_ns
    assert run.findings == ()


def test_tokens_and_calls_of_real_runs() -> None:
    (trace,) = read([str(corpus("agents/otlp/agentprism_smol_deep_research.json"))]).traces
    run = explained(trace)
    inputs = [call.tokens.input for call in run.usage.models if call.tokens is not None]
    assert sorted(inputs) == sorted([941, 2711, 1453, 2912, 3841, 6094])
    assert (run.usage.tokens.reasoning, run.usage.tokens.output) == (4352, 7122)
    assert run.usage.tokens.cache_read == 2816 + 2688
