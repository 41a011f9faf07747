"""Real files of others: what MANIFEST.md counts in them and EXPECTED.md says of them."""

import itertools
from typing import Any

import msgspec
import pytest

from causepath_analyzer.analyses.run import explained
from causepath_analyzer.analyses.run_view import run_view
from causepath_analyzer.analyses.summary.brief import brief
from causepath_analyzer.analyses.summary.summary import summary
from causepath_analyzer.errors import NoTracesError
from causepath_analyzer.model import Span, Trace
from causepath_analyzer.read import read
from causepath_analyzer.report.json import report_json, trace_json
from tests.analyzer.corpus import corpus


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
            reading.inputs, [trace_json(run_view(run)) for run in runs], summary(map(brief, runs))
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
        return {k: to_us(v, key if is_time(key) else k) for k, v in value.items()}
    if isinstance(value, list):
        return [to_us(v, key) for v in value]
    if key == "share":
        return round(value, 2)
    if isinstance(value, int) and is_time(key):
        return round(value / 1000)
    return value


def is_time(key: str) -> bool:
    """Tells whether what a report says by this name is in ns, by itself or by kind."""
    return key.endswith("_ns") or key in ("wall", "sum", "kind_sums")


def facts(trace: Trace) -> dict[str, Any]:
    """What EXPECTED.md tells of, as the reading says it. Times in ms, rounded."""
    run = explained(trace)
    spans = trace.spans
    path = run.wall.path
    calls = [i for i, span in enumerate(spans) if span.category == "llm"]
    tokens = {i: call.tokens for i in calls if (call := spans[i].model_call) and call.tokens}
    waits = [span for span in spans if span.category == "wait"]
    assert sum(path.values()) == trace.wall_ns
    return {
        "wall": ms(trace.wall_ns),
        "path": {kind: ms(ns) for kind, ns in path.items()},
        "rest": ms(trace.wall_ns - path.get("llm", 0) - path.get("tool", 0)),
        "calls": [ms(spans[i].duration_ns) for i in calls],
        "tools": [ms(span.duration_ns) for span in spans if span.category == "tool"],
        "waits": (len(waits), ms(sum(span.duration_ns for span in waits))),
        "inputs": [[tokens[i].input for i in c.calls] for c in run.usage.conversations],
        "cache reads": [counts.cache_read for counts in tokens.values() if counts.cache_read],
        "reasoning": (run.usage.tokens.reasoning, run.usage.tokens.output),
        "merges": [
            (m.merged_tokens and m.merged_tokens.input, m.kept_tokens and m.kept_tokens.input)
            for m in trace.merges
        ],
        "notes": trace.health.notes,
        "untrusted": trace.untrusted,
        "findings": [finding.code for finding in run.findings],
    }


def ms(ns: int) -> int:
    return round(ns / 1e6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "agents/jaeger/packetpanic_get_inventory.json",
            {
                "wall": 23664,
                "calls": [7201, 1833, 6484, 6833],
                "tools": [1048],
                "rest": 267,
                "waits": (20, 9382),
                "inputs": [[806, 1224], [3412, 3702]],
                "findings": [],
            },
        ),
        (
            "agents/otlp/agentprism_rag_earnings.json",
            {"wall": 50589, "calls": [1274], "findings": ["CP601"]},
        ),
        (
            "agents/otlp/agentprism_smol_deep_research.json",
            {
                "wall": 94683,
                "calls": [11472, 11797, 12941, 10932, 31019, 14388],
                "tools": [],
                "inputs": [[941, 2711, 6094], [1453, 2912, 3841]],
                "cache reads": [2816, 2688],
                "reasoning": (4352, 7122),
                "findings": [],
            },
        ),
        (
            "agents/langfuse/langfuse_agno-2025-06-11.json",
            {
                "wall": 6991,
                # Together 5759, not 5746 and a rest of 528: that is the inner record of each.
                # The outer one is what the agent waited for.
                "calls": [960, 4799],
                "tools": [717],
                "inputs": [[163, 663]],
                "merges": [(163, 542), (663, 1568)],
                "findings": [],
            },
        ),
        (
            "agents/langfuse/langfuse_beeai-2025-08-01.json",
            {
                "wall": 17173,
                # The 14 to 38481 are two events that are typed like calls.
                "calls": [17163, 13859, 7445],
                "inputs": [[1195, 1988, 2359]],
                "untrusted": True,
                "notes": ("all spans end within 5 ms of each other: their durations mean nothing",),
                "findings": [],
            },
        ),
        (
            "agents/langfuse/langfuse_koog-2025-08-26.json",
            {
                "wall": 5843,
                "path": {"llm": 4782, "tool": 1014, "agent": 47},
                "tools": [1014, 1011],
                "findings": [],
            },
        ),
        (
            "agents/langfuse/langfuse_claude-agent-2025-12-22.json",
            {"wall": 7360, "tools": [41, 41], "findings": []},
        ),
        (
            "agents/otel-python-sdk/anyagent_AGNO.json",
            {"wall": 4881, "path": {"llm": 1390, "tool": 4, "agent": 3487}},
        ),
        (
            "agents/other/claudecode_spotter_tool_heavy.jsonl",
            {"inputs": [[25801, 26007, 26507, 27666]]},
        ),
    ],
)
def test_facts(name: str, expected: dict[str, Any]) -> None:
    (trace,) = read([str(corpus(name))]).traces
    found = facts(trace)
    assert {fact: found[fact] for fact in expected} == expected


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("agents/jaeger/packetpanic_get_inventory.json", {"llm": 22350, "tool": 1048}),
        ("agents/otlp/agentprism_rag_earnings.json", {"llm": 1274, "retrieval": 404}),
        ("agents/otlp/agentprism_smol_deep_research.json", {"llm": 92549}),
    ],
)
def test_where_the_time_went(name: str, path: dict[str, int]) -> None:
    (trace,) = read([str(corpus(name))]).traces
    found = facts(trace)["path"]
    assert {kind: found[kind] for kind in path} == path


def named(trace: Trace, name: str) -> Span:
    return next(span for span in trace.spans if span.name == name)


def test_the_time_outside_a_chain_is_before_and_after_it() -> None:
    (trace,) = read([str(corpus("agents/otlp/agentprism_rag_earnings.json"))]).traces
    chain = named(trace, "retrieval_chain")
    outside = chain.start_ns - trace.start_ns, trace.end_ns - chain.ended_ns
    assert tuple(map(ms, outside)) == (23393, 25410)
    query, retriever = named(trace, "chroma.collection.query"), named(trace, "VectorStoreRetriever")
    assert ms(query.duration_ns) == 36
    assert retriever.start_ns <= query.start_ns < query.ended_ns <= retriever.ended_ns
    assert trace.spans[trace.parents[trace.spans.index(query)]].name == "main"


def test_a_gap_between_calls_is_where_no_tool_was_traced() -> None:
    (trace,) = read([str(corpus("agents/otlp/agentprism_smol_deep_research.json"))]).traces
    calls = [span for span in trace.spans if span.category == "llm"]
    gaps = [after.start_ns - call.ended_ns for call, after in itertools.pairwise(calls)]
    assert gaps[3] // 10**6 == 1207


def test_a_tool_inside_the_span_of_its_model_call() -> None:
    (trace,) = read([str(corpus("agents/langfuse/langfuse_google-adk-2025-08-28.json"))]).traces
    tool = next(i for i, span in enumerate(trace.spans) if span.category == "tool")
    assert trace.spans[trace.parents[tool]].category == "llm"


def test_most_of_what_nothing_covers_comes_after_the_last_child() -> None:
    (trace,) = read([str(corpus("agents/otel-python-sdk/anyagent_AGNO.json"))]).traces
    last = explained(trace).path.sections[-1]
    assert last.kind == "agent"
    assert last.end_ns - last.start_ns == pytest.approx(3481e6, abs=1e6)


def test_a_person_at_the_keyboard_comes_before_everything() -> None:
    # Nothing in the file says that it is a person: the time is that of the span around it.
    (trace,) = read([str(corpus("agents/other/openagenttraces_custom_otel_list.json"))]).traces
    first = explained(trace).path.sections[0]
    assert (first.span, ms(first.end_ns - first.start_ns)) == (trace.main_root, 13581)


def test_two_batches_of_two_tools() -> None:
    (trace,) = read([str(corpus("agents/other/claudecode_spotter_tool_heavy.jsonl"))]).traces
    issued = [len(span.model_call.issued) for span in trace.spans if span.model_call is not None]
    assert issued == [1, 1, 2, 2]


def test_messages_outlive_those_who_sent_them() -> None:
    name = "services/zipkin/zipkin_messaging-kafka.json"
    (trace,) = read([str(corpus(name))]).traces
    root = next(span for span in trace.spans if not span.parent_id)
    assert (root.duration_ns, len(trace.spans), trace.health.rehung) == (26_000, 28, 11)


def test_a_skewed_clock_is_mended() -> None:
    (trace,) = read([str(corpus("services/zipkin/zipkin_skew.json"))]).traces
    assert trace.health.skewed == 2  # the child, and what is below it on its host
    for i, parent in enumerate(trace.parents):
        assert parent < 0 or trace.spans[i].start_ns >= trace.spans[parent].start_ns


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


def test_calls_that_begin_after_a_root_without_any_are_part_of_the_wall() -> None:
    name = "agents/otel-python-sdk/promptflow_assistant_concatenated.json"
    trace = max(read([str(corpus(name))]).traces, key=lambda trace: len(trace.spans))
    root = trace.spans[trace.main_root]
    assert (root.duration_ns // 10**6, trace.wall_ns // 10**6) == (1311, 2599)
    assert trace.after_ns // 10**6 == 60


def test_a_mixed_export_keeps_errors_and_links() -> None:
    reading = read([str(corpus("services/otlp/oteldemo_mixed_signals.ndjson"))])
    spans = [span for trace in reading.traces for span in trace.spans]
    assert sum(span.error is not None for span in spans) == 107
    assert sum(len(span.links) for span in spans) == 53
