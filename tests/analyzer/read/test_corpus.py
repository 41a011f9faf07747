"""Real files of others: what MANIFEST.md counts in them and EXPECTED.md says of them."""

from typing import Any

import msgspec
import pytest

from causepath_analyzer.analyses.run import explained
from causepath_analyzer.analyses.summary import brief, summary
from causepath_analyzer.errors import NoTracesError
from causepath_analyzer.read import read
from causepath_analyzer.report.json import report_json, trace_json
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
        ("agents/langfuse/agentprism_qa_chatbot_1.json", "langfuse", (1, 5, 5, 0)),
        ("agents/langfuse/langfuse_agno-2025-06-11.json", "langfuse", (1, 6, 6, 0)),
        ("agents/langfuse/langfuse_beeai-2025-08-01.json", "langfuse", (1, 29, 29, 0)),
        ("agents/langfuse/langfuse_claude-agent-2025-12-22.json", "langfuse", (1, 7, 7, 0)),
        ("agents/langfuse/langfuse_google-adk-2025-08-28.json", "langfuse", (1, 5, 5, 0)),
        ("agents/langfuse/langfuse_koog-2025-08-26.json", "langfuse", (1, 11, 11, 0)),
        ("agents/langfuse/langfuse_langgraph-python-2025-08-22.json", "langfuse", (1, 9, 9, 0)),
        ("agents/langfuse/langfuse_microsoft-agent-2025-12-17.json", "langfuse", (1, 4, 4, 0)),
        ("agents/langfuse/langfuse_openai-agents-2025-09-30.json", "langfuse", (1, 5, 5, 0)),
        ("agents/langfuse/langfuse_vercel-aisdk-2025-11-17.json", "langfuse", (1, 3, 3, 0)),
        ("agents/otel-python-sdk/anyagent_AGNO.json", "python-sdk", (1, 6, 6, 0)),
        ("agents/otel-python-sdk/anyagent_LANGCHAIN.json", "python-sdk", (1, 7, 7, 0)),
        ("agents/otel-python-sdk/anyagent_SMOLAGENTS.json", "python-sdk", (1, 7, 7, 0)),
        ("agents/otel-python-sdk/anyagent_TINYAGENT.json", "python-sdk", (1, 8, 8, 0)),
        ("agents/otel-python-sdk/clew_langgraph_list.json", "python-sdk", (1, 7, 7, 0)),
        (
            "agents/otel-python-sdk/promptflow_assistant_concatenated.json",
            "python-sdk",
            (2, 6, 6, 0),
        ),
        ("agents/other/openagenttraces_custom_otel_list.json", "python-sdk", (1, 6, 6, 0)),
        ("services/jaeger/crisp_01.json", "jaeger-json", (1, 1, 1, 0)),
        ("services/jaeger/crisp_02.json", "jaeger-json", (1, 2, 2, 0)),
        ("services/jaeger/crisp_03.json", "jaeger-json", (1, 2, 2, 0)),
        ("services/jaeger/crisp_04.json", "jaeger-json", (1, 3, 3, 0)),
        ("services/jaeger/crisp_05.json", "jaeger-json", (1, 4, 4, 0)),
        ("services/jaeger/crisp_06.json", "jaeger-json", (1, 4, 4, 0)),
        ("services/jaeger/crisp_07.json", "jaeger-json", (1, 3, 3, 0)),
        ("services/jaeger/crisp_08.json", "jaeger-json", (1, 3, 3, 0)),
        ("services/jaeger/crisp_09.json", "jaeger-json", (1, 4, 4, 0)),
        ("services/jaeger/crisp_10.json", "jaeger-json", (1, 4, 4, 0)),
        ("services/jaeger/crisp_11.json", "jaeger-json", (1, 2, 2, 0)),
        ("services/jaeger/crisp_12.json", "jaeger-json", (1, 4, 4, 0)),
        ("services/jaeger/crisp_13.json", "jaeger-json", (1, 4, 4, 0)),
        ("services/jaeger/crisp_14.json", "jaeger-json", (1, 4, 4, 0)),
        ("services/jaeger/crisp_15.json", "jaeger-json", (1, 7, 7, 0)),
        ("services/jaeger/jaeger_otlp2jaeger_out.json", "jaeger-json", (1, 2, 1, 1)),
        (
            "services/jaeger/jaegerui_spanAmongEachOtherGroupedAndSpans.json",
            "jaeger-json",
            (1, 17, 17, 0),
        ),
        ("services/jaeger/jaegerui_spanLongerAsParent.json", "jaeger-json", (1, 8, 8, 0)),
        ("services/jaeger/jaegerui_spansAmongEachOther.json", "jaeger-json", (1, 12, 12, 0)),
        ("services/jaeger/jaegerui_spansAmongEachOtherGrouped.json", "jaeger-json", (1, 15, 15, 0)),
        ("services/jaeger/jaegerui_testTrace.json", "jaeger-json", (1, 11, 11, 0)),
        ("services/jaeger/jaegerui_testTraceNormal.json", "jaeger-json", (1, 5, 5, 0)),
        (
            "services/jaeger/jaegerui_traceWithMultipleSpansWithTheSameValueInDifferentTags.json",
            "jaeger-json",
            (1, 4, 3, 0),
        ),
        ("services/jaeger/jaegerui_traceWithOverlappingChildren.json", "jaeger-json", (1, 3, 3, 0)),
        (
            "services/jaeger/jaegerui_traceWithOverlappingChildrenLongerThanParent.json",
            "jaeger-json",
            (1, 4, 4, 0),
        ),
        (
            "services/jaeger/jaegerui_traceWithSingleChildLongerThanParentAndStartsAfterParent.json",
            "jaeger-json",
            (1, 2, 2, 0),
        ),
        ("services/jaeger/jaegerui_traceWithThreeShortChildren.json", "jaeger-json", (1, 4, 4, 0)),
        (
            "services/jaeger/jaegerui_traceWithThreeShortOverlappingChildren.json",
            "jaeger-json",
            (1, 4, 4, 0),
        ),
        (
            "services/jaeger/jaegerui_traceWithTwoChildrenStartedAtTraceStart.json",
            "jaeger-json",
            (1, 3, 3, 0),
        ),
        (
            "services/jaeger/jaegerui_traceWithTwoNonOverlappingChildren.json",
            "jaeger-json",
            (1, 3, 3, 0),
        ),
        ("services/zipkin/zipkin_ascend.json", "zipkin-json", (1, 8, 6, 0)),
        ("services/zipkin/zipkin_envoy.json", "zipkin-json", (1, 1, 1, 0)),
        ("services/zipkin/zipkin_messaging-kafka.json", "zipkin-json", (1, 28, 28, 0)),
        ("services/zipkin/zipkin_messaging.json", "zipkin-json", (1, 4, 4, 0)),
        ("services/zipkin/zipkin_messaging2.json", "zipkin-json", (1, 11, 11, 6)),
        ("services/zipkin/zipkin_simple-db-p6.json", "zipkin-json", (1, 5, 5, 0)),
        ("services/zipkin/zipkin_skew.json", "zipkin-json", (1, 4, 3, 0)),
        ("services/zipkin/zipkin_yelp.json", "zipkin-json", (1, 16, 13, 0)),
        ("services/otlp/jaeger_otel_traces_01.json", "otlp-json", (2, 4, 4, 4)),
        ("services/otlp/jaeger_otlp2jaeger_in.json", "otlp-json", (1, 2, 1, 1)),
        ("services/otlp/kiali_tempo_batches.json", "otlp-json", (1, 8, 8, 0)),
        ("services/otlp/oteldemo_mixed_signals.ndjson", "otlp-json", (141, 547, 547, 1)),
        ("services/otlp/otelproto_example_trace.json", "otlp-json", (1, 1, 1, 1)),
        ("services/otlp/robotframework_all_types.json", "otlp-json", (1, 11, 11, 0)),
        ("services/otlp/robotframework_pabot.json", "otlp-json", (1, 18, 18, 6)),
        ("services/otlp/robotframework_simple.json", "otlp-json", (1, 4, 4, 0)),
        ("bad-input/jaegerui_otlp_in_error.json", "otlp-json", (1, 1, 1, 1)),
        # MANIFEST.md does not count these.
        ("agents/other/openagenttraces_openai_agents_sdk.json", "openai-agents", (1, 6, 6, 0)),
        ("agents/other/claudecode_spotter_short.jsonl", "claude-code", (1, 7, 7, 0)),
        ("agents/other/claudecode_spotter_tool_heavy.jsonl", "claude-code", (1, 15, 15, 0)),
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
        (
            "bad-input/clew_private_format.json",
            ":1: spans in Clew's private format: export the run as OTLP or as the SDK's spans",
        ),
        (
            "agents/other/openhands_events_basic_gui.json",
            ":1: an event log of OpenHands, no trace: export OTLP",
        ),
        (
            "bad-input/kiali_tempo_search_response_not_a_trace.json",
            ":1: a Tempo search result, no spans: fetch the traces by id (/api/traces/ID)",
        ),
        ("bad-input/robotframework_logs_only.json", ": OTLP logs, no traces"),
        (
            "bad-input/signoz_query_response_not_a_trace.json",
            ":1: rows of a SigNoz query, no trace export",
        ),
    ],
)
def test_what_is_no_trace_is_told_what_it_looks_like(name: str, message: str) -> None:
    path = str(corpus(name))
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
    report = msgspec.json.decode(
        report_json(
            reading.inputs, [trace_json(run) for run in runs], summary(map(brief, runs)), "async"
        )
    )
    del report["inputs"]
    return dict(report)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "services/otlp/jaeger_otlp2jaeger_in.json",
            "services/jaeger/jaeger_otlp2jaeger_out.json",
        ),
        (
            "agents/otlp/clew_langgraph_snake_case.json",
            "agents/otel-python-sdk/clew_langgraph_list.json",
        ),
    ],
)
def test_one_trace_in_two_formats_gives_one_report(one: str, other: str) -> None:
    assert to_us(reported(one)) == to_us(reported(other))


def to_us(value: Any, key: str = "") -> Any:
    """`value` with times in microseconds: one twin has no more, the other went through a float."""
    if isinstance(value, dict):
        return {
            k: to_us(v, key if key in ("wall", "sum", "wall_ns") else k) for k, v in value.items()
        }
    if isinstance(value, list):
        return [to_us(v, key) for v in value]
    if key == "share":
        return round(value, 2)
    if isinstance(value, int) and (key.endswith("_ns") or key in ("wall", "sum")):
        return round(value / 1000)
    return value


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


@pytest.mark.parametrize(
    ("name", "calls", "tokens", "tools"),
    [
        # calls, (input, output, cache read), tools
        ("agents/langfuse/langfuse_beeai-2025-08-01.json", None, (5542, 0, 0), None),
        ("agents/langfuse/langfuse_koog-2025-08-26.json", 2, (215, 125, 0), 2),
        ("agents/langfuse/langfuse_google-adk-2025-08-28.json", 2, None, 1),
        ("agents/langfuse/langfuse_claude-agent-2025-12-22.json", 4, None, 2),
        ("agents/langfuse/agentprism_qa_chatbot_1.json", 1, (1115, 101, 1024), 0),
        ("agents/other/claudecode_spotter_short.jsonl", 1, (25353, 13, 11515), 2),
        ("agents/other/claudecode_spotter_tool_heavy.jsonl", 4, (105981, 212, 88231), 6),
        ("agents/other/openagenttraces_openai_agents_sdk.json", 3, None, 0),
    ],
)
def test_calls_tokens_and_tools(
    name: str, calls: int | None, tokens: tuple[int, int, int] | None, tools: int | None
) -> None:
    (trace,) = read([str(corpus(name))]).traces
    used = [s.model_call.tokens for s in trace.spans if s.model_call and s.model_call.tokens]
    if calls is not None:
        assert sum(span.category == "llm" for span in trace.spans) == calls
    if tools is not None:
        assert sum(span.category == "tool" for span in trace.spans) == tools
    if tokens is not None:
        assert tokens == tuple(
            sum(getattr(t, kind) for t in used) for kind in ("input", "output", "cache_read")
        )


@pytest.mark.parametrize(
    ("name", "wall_ms"),
    [
        ("agents/langfuse/langfuse_agno-2025-06-11.json", 6991),
        ("agents/langfuse/langfuse_beeai-2025-08-01.json", 17173),
        ("agents/langfuse/langfuse_koog-2025-08-26.json", 5843),
        ("agents/langfuse/langfuse_claude-agent-2025-12-22.json", 7360),
        ("agents/otel-python-sdk/anyagent_AGNO.json", 4881),
        ("agents/other/claudecode_spotter_short.jsonl", 259943),
        ("agents/other/openagenttraces_openai_agents_sdk.json", 17966),
        ("services/zipkin/zipkin_messaging-kafka.json", 649),
    ],
)
def test_wall(name: str, wall_ms: int) -> None:
    (trace,) = read([str(corpus(name))]).traces
    assert round(trace.wall_ns / 1e6) == wall_ms


def test_flushed_durations_are_not_trusted() -> None:
    (trace,) = read([str(corpus("agents/langfuse/langfuse_beeai-2025-08-01.json"))]).traces
    assert trace.untrusted
    assert explained(trace).findings == ()


def test_children_that_go_on_after_their_root_are_part_of_the_wall() -> None:
    name = "agents/otel-python-sdk/promptflow_assistant_concatenated.json"
    trace = max(read([str(corpus(name))]).traces, key=lambda trace: len(trace.spans))
    root = trace.spans[trace.main_root]
    assert (root.duration_ns // 10**6, trace.wall_ns // 10**6) == (1311, 2660)


def test_a_mixed_export_keeps_errors_and_links() -> None:
    reading = read([str(corpus("services/otlp/oteldemo_mixed_signals.ndjson"))])
    spans = [span for trace in reading.traces for span in trace.spans]
    assert sum(span.error is not None for span in spans) == 107
    assert sum(len(span.links) for span in spans) == 53
