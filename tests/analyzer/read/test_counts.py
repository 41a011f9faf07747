"""Whose tokens count: small traces in the words of many conventions, and of users who know none.

Right answers are worked out by hand: calls of a model, calls of tools, tokens in and out, and how
long models worked. A trailing + says that the sums are lower bounds.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from causepath_analyzer.analyses.run import explained
from causepath_analyzer.read import read

BEGIN_NS = 1_795_000_000_000_000_000
Facts = dict[str, Any]


def step(name: str, at: str, facts: Facts | None = None, *inside: Any, **more: Any) -> Any:
    """A span from and to seconds, as "0-4", with what lies in it."""
    return name, at, facts or {}, inside, more


def otlp(*roots: Any) -> bytes:
    """Spans as OTLP JSON, in one trace."""
    spans: list[Facts] = []

    def value(said: Any) -> Facts:
        if isinstance(said, bool):
            return {"boolValue": said}
        if isinstance(said, int):
            return {"intValue": str(said)}
        if isinstance(said, list):
            return {"arrayValue": {"values": [value(one) for one in said]}}
        return {"doubleValue": said} if isinstance(said, float) else {"stringValue": said}

    def add(one: Any, parent: str) -> None:
        name, at, facts, inside, more = one
        start, end = (BEGIN_NS + int(float(s) * 1_000) * 1_000_000 for s in at.split("-"))
        own = f"{len(spans) + 1:016x}"
        spans.append(
            {
                "scope": more.get("scope", "app"),
                "traceId": "ab" * 16,
                "spanId": own,
                "parentSpanId": parent,
                "name": name,
                "kind": {"internal": 1, "server": 2, "client": 3}[more.get("kind", "internal")],
                "startTimeUnixNano": str(start),
                "endTimeUnixNano": str(end),
                "attributes": [{"key": k, "value": value(v)} for k, v in facts.items()],
                "status": {"code": 2} if more.get("failed") else {},
            }
        )
        for inner in inside:
            add(inner, own)

    for root in roots:
        add(root, "")
    groups = [{"scope": {"name": span.pop("scope")}, "spans": [span]} for span in spans]
    return json.dumps({"resourceSpans": [{"scopeSpans": groups}]}).encode()


GPT = "gpt-4o-mini"
GEN_AI: Facts = {
    "gen_ai.operation.name": "chat",
    "gen_ai.system": "openai",
    "gen_ai.request.model": GPT,
}


def used(given: int, answered: int, **more: Any) -> Facts:
    return {
        "gen_ai.usage.input_tokens": given,
        "gen_ai.usage.output_tokens": answered,
        **{k.replace("__", "."): v for k, v in more.items()},
    }


def spelled(operation: str) -> Any:
    facts = {**GEN_AI, "gen_ai.operation.name": operation, **used(700, 50)}
    return step("work", "0-5", {}, step("call", "1-4", facts))


def bare(given: str, answered: str, model: str = "model") -> Any:
    return step("handle", "0-5", {}, step("ask", "1-4", {model: GPT, given: 700, answered: 50}))


OLD: Facts = {"gen_ai.usage.prompt_tokens": 700, "gen_ai.usage.completion_tokens": 50}
PHOENIX: Facts = {
    "llm.model_name": GPT,
    "llm.token_count.prompt": 700,
    "llm.token_count.completion": 50,
}
VERCEL: Facts = {
    "ai.model.id": GPT,
    "ai.usage.inputTokens": 700,
    "ai.usage.outputTokens": 50,
}
MLFLOW = '{"input_tokens": 700, "output_tokens": 50, "total_tokens": 750}'
THOUGHT = {"gen_ai__usage__reasoning_tokens": 30}


def langfuse(given: int, answered: int, **parts: int) -> Facts:
    counts = {"input": given, "output": answered, **parts}
    return {"langfuse.observation.usage_details": json.dumps(counts)}


ONE = "1 0 700 50 3.0"
TRACES: dict[str, tuple[Any, str]] = {
    # Operations as they are spelled.
    **{
        operation: (spelled(operation), ONE)
        for operation in (
            "chat.completions",
            "messages.create",
            "responses",
            "llm.generate",
            "openai.chat",
            "generate",
            "Chat Completion",
            "chat.streaming_completions",
            "text.completions",
            "bedrock.converse",
            "something of our own",
        )
    },
    # No operation at all: the name of the span, or counts beside a model.
    "name of an SDK": (
        step(
            "w",
            "0-5",
            {},
            step("openai.chat", "1-4", {"gen_ai.request.model": GPT, **used(700, 50)}),
        ),
        ONE,
    ),
    "model and counts": (
        step("w", "0-5", {}, step("answer", "1-4", {"gen_ai.request.model": GPT, **used(700, 50)})),
        ONE,
    ),
    "the only span": (step("answer", "1-4", {"gen_ai.request.model": GPT, **used(700, 50)}), ONE),
    "Laminar": (
        step(
            "ask",
            "0-5",
            {"lmnr.span.type": "DEFAULT"},
            step(
                "openai.chat",
                "1-4",
                {"lmnr.span.type": "LLM", "gen_ai.request.model": GPT, **used(700, 50)},
            ),
            step("look", "4-5", {"lmnr.span.type": "TOOL"}),
        ),
        "1 1 700 50 3.0",
    ),
    "span_type and llm.usage": (
        step(
            "flow",
            "0-5",
            {"span_type": "Flow"},
            step(
                "call",
                "1-4",
                {
                    "span_type": "LLM",
                    "llm.response.model": GPT,
                    "llm.usage.prompt_tokens": 700,
                    "llm.usage.completion_tokens": 50,
                    "llm.usage.total_tokens": 750,
                },
            ),
        ),
        ONE,
    ),
    "Monocle": (
        step(
            "workflow",
            "0-5",
            {"span.type": "workflow"},
            step(
                "openai", "1-4", {"span.type": "inference", "entity.2.name": GPT, **used(700, 50)}
            ),
            step("t", "4-5", {"span.type": "agentic.tool.invocation", "entity.1.name": "look"}),
        ),
        "1 1 700 50 3.0",
    ),
    "Datadog over OTLP": (
        step(
            "agent",
            "0-5",
            {"_ml_obs.meta.span.kind": "agent"},
            step(
                "openai.request",
                "1-4",
                {
                    "_ml_obs.meta.span.kind": "llm",
                    "_ml_obs.model_name": GPT,
                    "_ml_obs.metrics.input_tokens": 700,
                    "_ml_obs.metrics.output_tokens": 50,
                },
                kind="client",
            ),
        ),
        ONE,
    ),
    "Datadog's OpenAI integration": (
        step(
            "openai.request",
            "1-4",
            {
                "openai.request.model": GPT,
                "openai.response.usage.prompt_tokens": 700,
                "openai.response.usage.completion_tokens": 50,
                "http.method": "POST",
            },
            kind="client",
        ),
        ONE,
    ),
    "Spring AI": (
        step(
            "spring_ai chat_client",
            "0-5",
            {
                "gen_ai.operation.name": "framework",
                "gen_ai.system": "spring_ai",
                "spring.ai.kind": "chat_client",
            },
            step(
                f"chat {GPT}", "1-4", {**GEN_AI, **used(700, 50, gen_ai__usage__total_tokens=750)}
            ),
            step(
                "tool_call look",
                "4-5",
                {"spring.ai.kind": "tool_call", "spring.ai.tool.definition.name": "look"},
            ),
        ),
        "1 1 700 50 3.0",
    ),
    "Semantic Kernel": (
        step(
            "AutoFunctionInvocationLoop",
            "0-5",
            {},
            step(
                "chat.completions gpt",
                "1-4",
                {**GEN_AI, "gen_ai.operation.name": "chat.completions", **used(700, 50)},
            ),
        ),
        ONE,
    ),
    "LangSmith": (
        step(
            "AgentExecutor",
            "0-5",
            {"langsmith.span.kind": "chain"},
            step("ChatOpenAI", "1-4", {"langsmith.span.kind": "llm", **GEN_AI, **used(700, 50)}),
        ),
        ONE,
    ),
    "LiteLLM": (
        step(
            "litellm_request",
            "1-4",
            {"gen_ai.request.model": GPT, **used(700, 50)},
            step("raw_gen_ai_request", "1-4", {"llm.openai.model": GPT}),
            kind="server",
        ),
        ONE,
    ),
    "by hand: prompt_tokens": (bare("prompt_tokens", "completion_tokens"), ONE),
    "by hand: input_tokens": (bare("input_tokens", "output_tokens"), ONE),
    "by hand: usage.input_tokens": (
        bare("usage.input_tokens", "usage.output_tokens", "model.name"),
        ONE,
    ),
    "by hand: tokens.input": (bare("tokens.input", "tokens.output", "llm.model"), ONE),
    "by hand: tokens_in": (bare("tokens_in", "tokens_out", "model_name"), ONE),
    "by hand: promptTokens": (bare("promptTokens", "completionTokens", "modelId"), ONE),
    "by hand: llm.tokens.prompt": (
        bare("llm.tokens.prompt", "llm.tokens.completion", "llm.model"),
        ONE,
    ),
    # One side and the sum.
    "input from the total": (
        step(
            "call",
            "1-4",
            {**GEN_AI, "gen_ai.usage.output_tokens": 50, "gen_ai.usage.total_tokens": 750},
        ),
        ONE,
    ),
    "only the output": (
        step("call", "1-4", {**GEN_AI, "gen_ai.usage.output_tokens": 50}),
        "1 0 0 50 3.0+",
    ),
    "a negative count": (step("call", "1-4", {**GEN_AI, **used(-1, 50)}), "1 0 0 50 3.0+"),
    "no counts": (step("call", "1-4", GEN_AI), "1 0 0 0 3.0+"),
    "counts of nothing": (step("call", "1-4", {**GEN_AI, **used(0, 0)}), "1 0 0 0 3.0+"),
    "it failed": (step("call", "1-4", GEN_AI, failed=True), "1 0 0 0 3.0"),
    "too few for their text": (
        step(
            "call",
            "1-4",
            {**GEN_AI, **used(700, 563), "gen_ai.completion.0.content": "word " * 5_790},
        ),
        "1 0 700 563 3.0+",
    ),
    # Sums of what lies in a step are not added to it ...
    "a root with the sums": (
        step(
            "POST /ask",
            "0-9",
            {"model": GPT, "prompt_tokens": 1400, "completion_tokens": 100},
            step("chat one", "1-4", {**GEN_AI, **used(700, 50)}),
            step("chat two", "5-8", {**GEN_AI, **used(700, 50)}),
            kind="server",
        ),
        "2 0 1400 100 6.0",
    ),
    "a root with the sums, and an agent between": (
        step(
            "POST /ask",
            "0-9",
            {"model": GPT, "prompt_tokens": 1400, "completion_tokens": 100},
            step(
                "invoke_agent a",
                "0-9",
                {"gen_ai.operation.name": "invoke_agent", **used(1400, 100)},
                step("chat one", "1-4", {**GEN_AI, **used(700, 50)}),
                step("execute_tool t", "4-5", {"gen_ai.operation.name": "execute_tool"}),
                step("chat two", "5-8", {**GEN_AI, **used(700, 50)}),
            ),
        ),
        "2 1 1400 100 6.0",
    ),
    "a step around one call": (
        step(
            "answer",
            "0-9",
            {"model": GPT, "prompt_tokens": 700, "completion_tokens": 50},
            step("chat", "1-4", {**GEN_AI, **used(700, 50)}),
        ),
        ONE,
    ),
    "a note of what was used": (
        step(
            "answer",
            "0-5",
            {},
            step("chat", "1-4", {**GEN_AI, **used(700, 50)}),
            step(
                "record_usage",
                "4-4.5",
                {"model": GPT, "prompt_tokens": 700, "completion_tokens": 50},
            ),
        ),
        ONE,
    ),
    "tokens are counted beforehand": (
        step(
            "answer",
            "0-5",
            {},
            step("count_tokens", "0-1", {"model": GPT, "input_tokens": 690}),
            step("chat", "1-4", {**GEN_AI, **used(700, 50)}),
        ),
        ONE,
    ),
    "the agent beside its calls": (
        step(
            "graph",
            "0-9",
            {},
            step(
                "invoke_agent a",
                "0-8",
                {
                    **GEN_AI,
                    "gen_ai.operation.name": "invoke_agent",
                    "gen_ai.response.id": "r2",
                    **used(800, 60),
                },
            ),
            step("chat one", "1-4", {**GEN_AI, "gen_ai.response.id": "r1", **used(700, 50)}),
            step("chat two", "5-8", {**GEN_AI, "gen_ai.response.id": "r2", **used(800, 60)}),
        ),
        "2 0 1500 110 6.0",
    ),
    # ... and count where nothing in it says any.
    "only the agent": (
        step(
            "invoke_agent a",
            "0-5",
            {"gen_ai.operation.name": "invoke_agent", "gen_ai.request.model": GPT, **used(800, 44)},
        ),
        "0 0 800 44 0.0",
    ),
    "only the agent, with one reply": (
        step(
            "invoke_agent a",
            "0-5",
            {
                **GEN_AI,
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.response.id": "r",
                **used(800, 44),
            },
        ),
        "1 0 800 44 5.0",
    ),
    "only the agent, around tools": (
        step(
            "invoke_agent a",
            "0-5",
            {"gen_ai.operation.name": "invoke_agent", "gen_ai.request.model": GPT, **used(800, 44)},
            step("execute_tool t", "1-2", {"gen_ai.operation.name": "execute_tool"}),
        ),
        "0 1 800 44 0.0",
    ),
    "the last reply, on the agent": (
        step(
            "invoke_agent a",
            "0-5",
            {
                **GEN_AI,
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.response.id": "r",
                **used(800, 44),
            },
            step("execute_tool t", "1-2", {"gen_ai.operation.name": "execute_tool"}),
        ),
        "0 1 800 44 0.0+",
    ),
    "OpenInference's chain": (
        step(
            "graph",
            "0-5",
            {
                "openinference.span.kind": "CHAIN",
                "llm.token_count.prompt": 700,
                "llm.token_count.completion": 50,
            },
            step("node", "1-4", {"openinference.span.kind": "CHAIN"}),
        ),
        "0 0 700 50 0.0",
    ),
    "Pydantic AI's agent": (
        step(
            "agent run",
            "0-5",
            {
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.aggregated_usage.input_tokens": 700,
                "gen_ai.aggregated_usage.output_tokens": 50,
            },
            scope="pydantic-ai",
        ),
        "0 0 700 50 0.0",
    ),
    "Langfuse's root": (
        step(
            "trace",
            "0-5",
            {
                "langfuse.observation.type": "span",
                "langfuse.observation.usage_details": '{"input": 700, "output": 50}',
            },
        ),
        "0 0 700 50 0.0",
    ),
    "agents in an agent": (
        step(
            "invoke_agent a",
            "0-9",
            {"gen_ai.operation.name": "invoke_agent", **used(1500, 94)},
            step(
                "invoke_agent b", "1-4", {"gen_ai.operation.name": "invoke_agent", **used(700, 50)}
            ),
            step(
                "invoke_agent c", "5-8", {"gen_ai.operation.name": "invoke_agent", **used(800, 44)}
            ),
        ),
        "0 0 1500 94 0.0",
    ),
    "an agent whose calls say nothing": (
        step(
            "invoke_agent a",
            "0-9",
            {"gen_ai.operation.name": "invoke_agent", **used(1500, 94)},
            step("chat one", "1-4", GEN_AI),
            step("chat two", "5-8", GEN_AI),
        ),
        "2 0 1500 94 6.0",
    ),
    "an agent of whose calls one says nothing": (
        step(
            "invoke_agent a",
            "0-9",
            {"gen_ai.operation.name": "invoke_agent", **used(1500, 94)},
            step("chat one", "1-4", GEN_AI),
            step("chat two", "5-8", {**GEN_AI, **used(700, 50)}),
        ),
        "2 0 1500 94 6.0",
    ),
    "one agent says, the other's calls do": (
        step(
            "run",
            "0-9",
            {},
            step(
                "invoke_agent b", "1-4", {"gen_ai.operation.name": "invoke_agent", **used(700, 50)}
            ),
            step(
                "invoke_agent c",
                "1-4",
                {"gen_ai.operation.name": "invoke_agent"},
                step("chat", "1-4", {**GEN_AI, **used(800, 44)}),
            ),
        ),
        "1 0 1500 94 3.0",
    ),
    # Whole traces of frameworks.
    "Langfuse": (
        step(
            "agent",
            "0-9",
            {"langfuse.observation.type": "agent", **langfuse(1500, 94)},
            step(
                "one",
                "1-4",
                {
                    "langfuse.observation.type": "generation",
                    "langfuse.observation.model.name": GPT,
                    **langfuse(700, 50),
                },
            ),
            step(
                "two",
                "5-8",
                {
                    "langfuse.observation.type": "generation",
                    "langfuse.observation.model.name": GPT,
                    **langfuse(600, 44, input_cached_tokens=200),
                },
            ),
        ),
        "2 0 1500 94 6.0",
    ),
    "MLflow": (
        step(
            "agent",
            "0-9",
            {"mlflow.spanType": '"AGENT"', "mlflow.trace.tokenUsage": MLFLOW},
            step(
                "llm", "1-4", {"mlflow.spanType": '"CHAT_MODEL"', "mlflow.chat.tokenUsage": MLFLOW}
            ),
        ),
        ONE,
    ),
    "Vercel": (
        step(
            "ai.generateText",
            "0-5",
            {"ai.operationId": "ai.generateText", **VERCEL},
            step(
                "ai.generateText.doGenerate",
                "1-4",
                {"ai.operationId": "ai.generateText.doGenerate", **VERCEL},
            ),
        ),
        ONE,
    ),
    "Vercel's outer span alone": (
        step(
            "ai.generateText",
            "1-4",
            {"ai.operationId": "ai.generateText", "ai.response.finishReason": "stop", **VERCEL},
        ),
        ONE,
    ),
    "Strands": (
        step(
            "invoke_agent Strands Agents",
            "0-9",
            {
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.system": "strands-agents",
                **used(1500, 94),
            },
            step(
                "execute_event_loop_cycle",
                "0-5",
                {"gen_ai.operation.name": "execute_event_loop_cycle"},
                step("chat", "1-4", {**GEN_AI, **used(700, 50)}),
                step("execute_tool look", "4-5", {"gen_ai.operation.name": "execute_tool"}),
            ),
            step(
                "execute_event_loop_cycle",
                "5-9",
                {"gen_ai.operation.name": "execute_event_loop_cycle"},
                step("chat", "5-8", {**GEN_AI, **used(800, 44)}),
            ),
        ),
        "2 1 1500 94 6.0",
    ),
    "Azure's hosted agent": (
        step(
            "process_thread_run",
            "0-9",
            {
                "gen_ai.operation.name": "process_thread_run",
                "gen_ai.request.model": GPT,
                **used(1500, 94),
            },
            step("execute_tool look", "4-5", {"gen_ai.operation.name": "execute_tool"}),
            kind="client",
        ),
        "0 1 1500 94 0.0",
    ),
    "older Semantic Kernel": (
        step(
            "chat.completions gpt",
            "1-4",
            {
                **GEN_AI,
                "gen_ai.operation.name": "chat.completions",
                "gen_ai.response.prompt_tokens": 700,
                "gen_ai.response.completion_tokens": 50,
            },
        ),
        ONE,
    ),
    "AgentOps": (
        step(
            "session",
            "0-5",
            {"agentops.span.kind": "session"},
            step(
                "openai.chat.completion",
                "1-4",
                {"agentops.span.kind": "llm", "gen_ai.request.model": GPT, **OLD},
            ),
        ),
        ONE,
    ),
    "OpenLLMetry": (
        step(
            "run.workflow",
            "0-5",
            {"traceloop.span.kind": "workflow"},
            step(
                "openai.chat",
                "1-4",
                {
                    "llm.request.type": "chat",
                    "gen_ai.request.model": GPT,
                    **OLD,
                    "llm.usage.total_tokens": 750,
                },
            ),
            step("look.tool", "4-5", {"traceloop.span.kind": "tool"}),
        ),
        "1 1 700 50 3.0",
    ),
    "vLLM": (
        step("llm_request", "1-4", {"gen_ai.response.model": "llama", **OLD}, kind="server"),
        ONE,
    ),
    "a task that calls": (
        step(
            "run",
            "0-5",
            {"traceloop.span.kind": "workflow"},
            step(
                "answer.task",
                "1-4",
                {"traceloop.span.kind": "task", "gen_ai.request.model": GPT, **OLD},
            ),
        ),
        ONE,
    ),
    "a judge": (step("judge", "1-4", {"openinference.span.kind": "EVALUATOR", **PHOENIX}), ONE),
    "a guardrail that calls": (
        step("safe?", "1-4", {"openinference.span.kind": "GUARDRAIL", **PHOENIX}),
        "0 0 700 50 0.0",
    ),
    "by hand: JSON": (
        step(
            "ask", "1-4", {"model": GPT, "usage": '{"prompt_tokens": 700, "completion_tokens": 50}'}
        ),
        ONE,
    ),
    "by hand: JSON of Anthropic": (
        step(
            "ask",
            "1-4",
            {
                "model": "claude-opus-5-5",
                "usage": '{"input_tokens": 7, "output_tokens": 50, "cache_read_input_tokens": 693}',
            },
        ),
        ONE,
    ),
    "by hand: one in another": (
        step(
            "agent.run",
            "0-9",
            {"model": GPT, "tokens.input": 1400, "tokens.output": 100},
            step("llm_call", "1-4", {"model": GPT, "tokens.input": 700, "tokens.output": 50}),
            step("look", "4-5", {"tool.name": "look"}),
            step("llm_call", "5-8", {"model": GPT, "tokens.input": 700, "tokens.output": 50}),
        ),
        "2 0 1400 100 6.0",
    ),
    "by hand: over a request": (
        step(
            "ask",
            "1-4",
            {"model": GPT, "prompt_tokens": 700, "completion_tokens": 50},
            step("POST", "1-4", {"http.request.method": "POST"}, kind="client"),
        ),
        ONE,
    ),
    "by hand: texts": (
        step("ask", "1-4", {"model": GPT, "prompt_tokens": "700", "completion_tokens": "50.0"}),
        ONE,
    ),
    "Gemini thinks beside": (
        step(
            "chat",
            "1-4",
            {**GEN_AI, "gen_ai.request.model": "gemini-2.5-pro", **used(700, 20, **THOUGHT)},
        ),
        ONE,
    ),
    "thought that was counted in": (
        step("chat", "1-4", {**GEN_AI, **used(700, 50, **THOUGHT)}),
        ONE,
    ),
    "more thought than output": (
        step("chat", "1-4", {**GEN_AI, **used(700, 20, **THOUGHT)}),
        "1 0 700 20 3.0+",
    ),
    # Nothing here is a call.
    "a service": (step("GET /", "0-5", {"http.method": "GET"}, kind="server"), "0 0 0 0 0.0"),
    "a setting": (step("load", "0-5", {"model": GPT}), "0 0 0 0 0.0"),
    "an embedding": (
        step(
            "embed",
            "0-5",
            {"gen_ai.request.model": "text-embedding-3-small", "gen_ai.usage.input_tokens": 9},
        ),
        "0 0 0 0 0.0",
    ),
}


@pytest.mark.parametrize(("trace", "right"), TRACES.values(), ids=TRACES.keys())
def test_whose_tokens_count(trace: Any, right: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_bytes(otlp(trace))
    (found,) = read([str(path)]).traces
    run = explained(found)
    used, worked = run.usage, run.wall.sums.get("llm", 0) / 1e9
    told = f"{used.calls.llm} {used.calls.tool} {used.tokens.input} {used.tokens.output} {worked}"
    assert told + ("" if used.is_counted else "+") == right
