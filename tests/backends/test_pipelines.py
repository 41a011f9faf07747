"""What each pipeline keeps, drops and counts, with the configuration as it is shipped."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from causepath_analyzer import attributes as names
from tests.backends.spans import SECRET, of_service, span, value
from tests.backends.stack import (
    ROOT,
    Collector,
    Jaeger,
    attributes_of,
    collector_running,
    eventually,
    report,
    start_python,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = pytest.mark.backends


def arrived(collector: Collector, count: int) -> list[dict[str, Any]]:
    """The spans in its file, once there are `count`."""
    return eventually(collector.spans, lambda spans: len(spans) >= count)


KEPT = {
    "causepath.category": "llm",
    "causepath.turn": 1,
    "causepath.input.blocks": ["user:text:9f2c:21"],
    "causepath.output.blocks": ["assistant:text:77aa:9"],
    "gen_ai.request.model": "claude-opus-5-5",
    "gen_ai.output.type": "text",
    "gen_ai.tool.name": "search",
    "gen_ai.tool.call.id": "toolu_1",
    "gen_ai.usage.input_tokens": 21,
    "gen_ai.usage.prompt_tokens": 21,
    "gen_ai.response.finish_reasons": ["stop"],
    "ai.response.finishReason": "stop",
    "ai.toolCall.name": "search",
    "llm.token_count.prompt": 21,
    "llm.model_name": "claude-opus-5-5",
    "tool.name": "search",
    "openinference.span.kind": "LLM",
    "traceloop.span.kind": "tool",
    "traceloop.entity.name": "search",
    "langfuse.observation.type": "generation",
    "mlflow.spanType": "LLM",
    "error.type": "RateLimitError",
    "session.id": "s1",
}
CONTENT = [
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.tool.definitions",
    "gen_ai.tool.description",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.tool.args",
    "gen_ai.tool.result",
    "gen_ai.prompt",
    "gen_ai.prompt.0.content",
    "gen_ai.completion",
    "gen_ai.completion.0.content",
    "gen_ai.retrieval.query.text",
    "input.value",
    "output.value",
    "llm.input_messages.0.message.content",
    "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments",
    "llm.prompt_template.variables",
    "tool.parameters",
    "retrieval.documents.0.document.content",
    "embedding.embeddings.0.embedding.text",
    "ai.prompt",
    "ai.prompt.messages",
    "ai.response.text",
    "ai.response.toolCalls",
    "ai.toolCall.args",
    "ai.toolCall.result",
    "traceloop.entity.input",
    "traceloop.entity.output",
    "langfuse.observation.input",
    "langfuse.trace.output",
    "langfuse.observation.status_message",
    "mlflow.spanInputs",
    "mlflow.spanOutputs",
    "pydantic_ai.all_messages",
    "all_messages_events",
    "tool_arguments",
    "tool_response",
    "gcp.vertex.agent.llm_request",
    "gcp.vertex.agent.tool_call_args",
    "haystack.component.input",
    "haystack.agent.step.tool.output",
    "anthropic.tool_result.content",
    "user_prompt",
    "new_context",
    "tool_input",
    "response.model_output",
    "error.message",
    "gen_ai.content.prompt",
    "gen_ai.request.tools.0.description",
    "gen_ai.evaluation.explanation",
    "gen_ai.agent.task.expected_output",
    "metadata",
    "llm.function_call",
    "llm.request.functions.0.description",
    "llm.anthropic.system",
    "llm.openai.messages",
    "llm.openai.input",
    "llm.vertex_ai.contents",
    "traceloop.prompt.template_variables.name",
    "langfuse.observation.metadata.question",
    "mlflow.chat.tools",
    "logfire.msg",
    "haystack.pipeline.input_data",
    "haystack.tool.error",
    "smolagents.task",
    "crewai.agent.backstory",
    "crew_tasks",
    "genkit:input",
    "mcp.request.argument",
    "full_command",
    "input",
    "url.query",
    "db.query.parameter.name",
]
CHANGED = {
    # What is written, and what is left of it.
    "db.statement": ("SELECT age FROM people WHERE name = 'a word of the user'", "SELECT ..."),
    "redis.raw_command": ("GET a word of the user", "GET ..."),
    "url.full": ("https://a.example/find?q=a word of the user", "https://a.example/find"),
    "http.target": ("/find#a word of the user", "/find"),
    "llm.invocation_parameters": (
        '{"system": "a word of the user", "stream": true}',
        '{"stream": true}',
    ),
    "embedding.invocation_parameters": ('{"dimensions": 8}', '{"dimensions": 8}'),
    "error": ("a word of the user", "error"),
}
EVENTS = {
    "exception": {
        "exception.type": "ValueError",
        "exception.message": SECRET,
        "exception.stacktrace": SECRET,
    },
    "gen_ai.user.message": {"content": SECRET},
    "gen_ai.content.prompt": {"gen_ai.prompt": SECRET},
    "gen_ai.client.inference.operation.details": {"gen_ai.input.messages": SECRET},
    "tool.output": {"output": SECRET, "bash_command": SECRET},
    "gen_ai.choice": {"message": SECRET, "tool.result": SECRET},
    "db.query.result": {"db.query.result.document": SECRET},
    "log": {"what they said": SECRET},
}


def test_privacy_drops_what_was_said_and_keeps_the_rest(tmp_path: Path, jaeger: Jaeger) -> None:
    written = {name: before for name, (before, _) in CHANGED.items()}
    attributes = KEPT | written | {name: f"{SECRET} {name}" for name in CONTENT}
    plain = span("chat claude-opus-5-5", 1, attributes, failed=True)
    eventful = span("chat claude-opus-5-5", 1, attributes, parent=plain, events=EVENTS)
    with collector_running(tmp_path / "c", "privacy", jaeger=jaeger.otlp) as collector:
        sent = of_service("privacy", plain, eventful)
        arguments = ["python", "agent.py", SECRET]
        sent["resource"]["attributes"] += [
            {"key": f"process.{name}", "value": value(of)}
            for name, of in {
                "command_args": arguments,
                "command_line": " ".join(arguments),
                "pid": 7,
            }.items()
        ]
        collector.send(sent)
        kept = arrived(collector, 2)
        (trace,) = eventually(lambda: jaeger.traces("privacy"), bool)
        assert SECRET not in collector.traces_file.read_text()
        assert SECRET not in str(trace)
    expected = {name: value(of) for name, of in KEPT.items()} | {
        name: value(after) for name, (_, after) in CHANGED.items()
    }
    for one in kept:
        assert {item["key"]: item["value"] for item in one["attributes"]} == expected
    (events,) = [one["events"] for one in kept if one.get("events")]
    assert [event["name"] for event in events] == list(EVENTS)
    assert attributes_of(events[0]) == {"exception.type": "ValueError"}
    assert [one["status"] for one in kept] == [{"code": 2}, {}]


def passed(folder: Path, *names: str) -> set[str]:
    """Give those of some attributes that come through, with what is in them."""
    sent = span("chat m", 1, dict.fromkeys(names, SECRET))
    with collector_running(folder, "privacy") as collector:
        collector.send(of_service("s", sent))
        (found,) = arrived(collector, 1)
    return {name for name, of in attributes_of(found).items() if SECRET in str(of)}


def test_privacy_takes_out_all_content_that_the_analyzer_reads_and_nothing_else(
    tmp_path: Path,
) -> None:
    content = {
        *names.CONTENT,
        *names.DECLARED_EACH,
        *names.ISSUED,
        *names.FIRST_OUTPUT,
        *names.FIRST_ROLE,
        *itertools.chain(*names.FIRST_MESSAGES),
        "ai.prompt.tools",
        "request_data",
        "gen_ai.completion.0.finish_reason",  # with all of a completion
        # Texts of errors.
        "haystack.tool.error",
        "langfuse.observation.status_message",
    }
    shortened = {
        *names.DATABASE_QUERY,
        "url.full",
        "http.url",
        "llm.invocation_parameters",
        "error",
    }
    assert {
        name
        for name in passed(tmp_path, *names.UNDERSTOOD, *content) ^ (names.UNDERSTOOD - content)
        if name not in shortened
    } == set()


def test_privacy_takes_out_what_each_convention_keeps_content_in(tmp_path: Path) -> None:
    listed = ROOT.parent / "shared" / "semconv-mapping.json"
    if not listed.exists():
        pytest.skip("the list of conventions is not beside the repository")
    content: set[str] = set()
    for convention in json.loads(listed.read_text())["conventions"]:
        tool = convention.get("tool") or {}
        for said in (convention.get("content"), tool.get("args"), tool.get("result")):
            for one in said or ():
                name = one.replace("{i}", "0").replace("{j}", "0").removesuffix(" JSON")
                if " " not in name:  # else it is about events, of which nothing is kept
                    *before, last = name.split(".")
                    content |= {".".join([*before, each]) for each in last.split("|")}
    # Those are of files, not of spans.
    content -= {"inputs", "outputs"}
    assert len(content) > 50
    assert passed(tmp_path, *content) == set()


def test_privacy_lets_through_what_the_report_is_made_of(tmp_path: Path) -> None:
    """An agent that records what was said: none of it passes, and the report is the same."""
    with collector_running(tmp_path / "c", "privacy") as collector:
        agent = start_python(
            [ROOT / "examples" / "research_agent.py"],
            tmp_path,
            {
                "CAUSEPATH": "1",
                "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY",
                "OTEL_TRACES_EXPORTER": "otlp,otlp_json_file",
                "OTEL_EXPORTER_OTLP_ENDPOINT": collector.http,
            },
        )
        printed, errors = agent.communicate(timeout=120)
        assert (agent.returncode, errors) == (0, "")
        lines = re.findall(r'{"resourceSpans".*$', printed, re.MULTILINE)
        direct = tmp_path / "direct.jsonl"
        direct.write_text("\n".join(lines))
        arrived(collector, 10)
        passed = collector.traces_file.read_text()
        through = report(collector.traces_file)
    for said in ("battery", "airliner", "You are a careful", "Results for"):
        assert said in direct.read_text()
        assert said not in passed
    assert through["traces"] == report(direct)["traces"]


def run(
    seconds: float = 1,
    *,
    tokens: int = 100,
    failed: bool = False,
    calls: int = 1,
    more: Mapping[str, object] | None = None,
) -> list[dict[str, Any]]:
    """A run with its model calls, in the order in which they end: the run itself last."""
    root = span("invoke_agent a", seconds, {"causepath.category": "agent", **(more or {})})
    attributes = {"causepath.category": "llm", "gen_ai.usage.input_tokens": tokens}
    below = [
        span("chat m", seconds / 2, attributes, parent=root, failed=failed) for _ in range(calls)
    ]
    return [*below, root]


def test_sampling_keeps_whole_what_failed_was_slow_expensive_or_over_budget(
    tmp_path: Path,
) -> None:
    outermost = {"causepath.run.outermost": True}
    matter = {
        "failed": run(failed=True),
        "slow": run(90),
        "expensive": run(tokens=60_000),
        "long": run(calls=250),
        "over RUN_BUDGET": run(4, more=outermost),
        "over CALL_BUDGET_INPUT_TOKENS": run(tokens=6_001),
        "over a budget of its own": run(more={"causepath.budget.exceeded": ["tokens"]}),
    }
    ordinary = [
        run(4),  # nothing says that it is a whole run
        run(3, more=outermost),
        run(tokens=6_000),
        *(run() for _ in range(30)),
    ]
    with collector_running(
        tmp_path / "c",
        "sampling",
        KEEP_PERCENT="0",
        AFTER_LAST_SPAN="1s",
        RUN_BUDGET="3s",
        CALL_BUDGET_INPUT_TOKENS="6000",
    ) as collector:
        for spans in [*matter.values(), *ordinary]:
            collector.send(of_service("s", *spans[:-1]))
        for spans in [*matter.values(), *ordinary]:  # the ends come later, each by itself
            collector.send(of_service("s", spans[-1]))
        expected = sum(len(spans) for spans in matter.values())
        found = arrived(collector, expected)
        collector.running.stop()  # what was still waiting is decided on
        found = collector.spans()
    names = {spans[0]["traceId"]: name for name, spans in matter.items()}
    kept = Counter(names.get(one["traceId"], "ordinary") for one in found)
    assert kept == {name: len(spans) for name, spans in matter.items()}


def test_sampling_keeps_a_share_of_the_rest_whole(tmp_path: Path) -> None:
    with collector_running(
        tmp_path / "c", "sampling", KEEP_PERCENT="30", AFTER_LAST_SPAN="1s"
    ) as collector:
        collector.send(of_service("s", *itertools.chain(*(run(calls=2) for _ in range(400)))))
        eventually(lambda: len(collector.spans()), bool)
        collector.running.stop()
        kept = Counter(one["traceId"] for one in collector.spans())
    assert set(kept.values()) == {3}
    assert 60 < len(kept) < 180  # 120 are expected, by the random part of the id


def test_a_run_goes_on_until_its_own_end_however_long_after_its_first_span(tmp_path: Path) -> None:
    spans = run(90)
    with collector_running(
        tmp_path / "c", "sampling", KEEP_PERCENT="0", AFTER_LAST_SPAN="1s"
    ) as collector:
        collector.send(of_service("s", spans[0]))
        collector.send(of_service("s", *run(failed=True)))
        arrived(collector, 2)  # another run has come and gone meanwhile
        collector.send(of_service("s", spans[1]))
        assert len(arrived(collector, 4)) == 4
