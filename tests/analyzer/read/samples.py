"""One run in every format, as small as it can be: an agent asks a model, calls a tool, asks again.

Made by hand after the formats' documentation. Every sample has the same five spans::

    agent  |---------------------------------------------|  0 .. 1000 ms
    chat     |------------|  turn 1: 100 in, 10 out         100 .. 400
    tool                  |--------|  get_weather, fails    400 .. 600
    chat                           |------------------|     600 .. 950, first token at 700
    note                                              ||    950 .. 950
"""

import base64
import json
from datetime import UTC, datetime
from typing import Any

START = 1795215812000  # ms
TRACE = "0af7651916cd43dd8448eb211c80319c"
AGENT, FIRST, TOOL, SECOND, NOTE = (f"b7ad6b716920333{i}" for i in range(1, 6))
NAMES = {AGENT: "agent", FIRST: "chat m", TOOL: "get_weather", SECOND: "chat m", NOTE: "note"}
TIMES = {
    AGENT: (0, 1000),
    FIRST: (100, 400),
    TOOL: (400, 600),
    SECOND: (600, 950),
    NOTE: (950, 950),
}


def iso(ms: int, zone: str = "Z") -> str:
    at = datetime.fromtimestamp((START + ms) / 1000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03}{zone}"


def ns(ms: int) -> int:
    return (START + ms) * 1_000_000


def b64(identity: str) -> str:
    return base64.b64encode(bytes.fromhex(identity)).decode()


def text(value: Any) -> bytes:
    return json.dumps(value).encode()


OTEL: dict[str, dict[str, Any]] = {
    AGENT: {"gen_ai.operation.name": "invoke_agent", "session.id": "s"},
    FIRST: {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 10,
        "gen_ai.response.finish_reasons": ["tool_calls"],
    },
    TOOL: {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "get_weather"},
    SECOND: {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "gen_ai.usage.input_tokens": 200,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 80,
        "gen_ai.response.time_to_first_chunk": 0.1,
    },
    NOTE: {},
}


def _otlp_value(value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        return {"arrayValue": {"values": [_otlp_value(v) for v in value]}}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}


def otlp_span(span: str) -> dict[str, Any]:
    start, end = TIMES[span]
    return {
        "traceId": TRACE,
        "spanId": span,
        "parentSpanId": "" if span == AGENT else AGENT,
        "name": NAMES[span],
        "kind": 1,
        "startTimeUnixNano": str(ns(start)),
        "endTimeUnixNano": str(ns(end)),
        "attributes": [{"key": k, "value": _otlp_value(v)} for k, v in OTEL[span].items()],
        "status": {"code": 2} if span == TOOL else {},
    }


OTLP = {
    "resourceSpans": [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "demo"}}]},
            "scopeSpans": [{"scope": {"name": "my.scope"}, "spans": [*map(otlp_span, NAMES)]}],
        }
    ]
}


def _jaeger_span(span: str) -> dict[str, Any]:
    start, end = TIMES[span]
    tags = {k: str(v) if isinstance(v, list) else v for k, v in OTEL[span].items()}
    tags |= {"error": True} if span == TOOL else {}
    parent = {"refType": "CHILD_OF", "traceID": TRACE, "spanID": AGENT}
    return {
        "traceID": TRACE,
        "spanID": span,
        "operationName": NAMES[span],
        "references": [] if span == AGENT else [parent],
        "startTime": (START + start) * 1000,
        "duration": (end - start) * 1000,
        "tags": [{"key": k, "type": "string", "value": v} for k, v in tags.items()],
        "processID": "p1",
    }


JAEGER = {
    "data": [
        {
            "traceID": TRACE,
            "spans": [*map(_jaeger_span, NAMES)],
            "processes": {"p1": {"serviceName": "demo", "tags": []}},
        }
    ]
}


def _zipkin_span(span: str) -> dict[str, Any]:
    start, end = TIMES[span]
    tags = {k: json.dumps(v) if isinstance(v, list) else str(v) for k, v in OTEL[span].items()}
    found = {
        "traceId": TRACE,
        "id": span,
        "parentId": AGENT,
        "name": NAMES[span],
        "timestamp": (START + start) * 1000,
        "duration": (end - start) * 1000,
        "localEndpoint": {"serviceName": "demo"},
        "tags": tags | ({"error": ""} if span == TOOL else {}),
    }
    if span == AGENT:
        del found["parentId"]
    return found


ZIPKIN = [*map(_zipkin_span, NAMES)]


def console_span(span: str) -> dict[str, Any]:
    start, end = TIMES[span]
    return {
        "name": NAMES[span],
        "context": {"trace_id": f"0x{TRACE}", "span_id": f"0x{span}", "trace_state": "[]"},
        "kind": "SpanKind.INTERNAL",
        "parent_id": None if span == AGENT else f"0x{AGENT}",
        "start_time": iso(start),
        "end_time": iso(end),
        "status": {"status_code": "ERROR" if span == TOOL else "UNSET"},
        "attributes": OTEL[span],
        "events": [],
        "links": [],
        "resource": {"attributes": {"service.name": "demo"}, "schema_url": ""},
    }


PYTHON_SDK = [*map(console_span, NAMES)]


def _phoenix_span(span: str) -> dict[str, Any]:
    start, end = TIMES[span]
    kind = {AGENT: "AGENT", TOOL: "TOOL", NOTE: "UNKNOWN"}.get(span, "LLM")
    attributes: dict[str, Any] = {
        AGENT: {"session.id": "s"},
        TOOL: {"tool": {"name": "get_weather"}},
    }.get(span, {})
    if span == FIRST:
        attributes = {
            "llm.model_name": "m",
            "llm": {
                "token_count": {"prompt": 100, "completion": 10},
                "finish_reason": "tool_calls",
            },
        }
    if span == SECOND:
        attributes = {
            "llm.model_name": "m",
            "llm.token_count.prompt": 200.0,
            "llm.token_count.completion": 20.0,
            "llm.token_count.prompt_details.cache_read": 80,
        }
    return {
        "name": NAMES[span],
        "context": {"trace_id": TRACE, "span_id": span},
        "span_kind": kind,
        "parent_id": None if span == AGENT else AGENT,
        "start_time": iso(start, "+00:00"),
        "end_time": iso(end, "+00:00"),
        "status_code": "ERROR" if span == TOOL else "OK",
        "attributes": attributes,
        "events": [{"name": "First Token Stream Event", "timestamp": iso(700)}]
        if span == SECOND
        else [],
    }


PHOENIX = {"next_cursor": None, "data": [*map(_phoenix_span, NAMES)]}


def _mlflow_span(span: str) -> dict[str, Any]:
    start, end = TIMES[span]
    kind = {AGENT: "AGENT", TOOL: "TOOL", NOTE: "UNKNOWN"}.get(span, "CHAT_MODEL")
    attributes: dict[str, Any] = {"mlflow.spanType": kind}
    if span in (FIRST, SECOND):
        attributes["mlflow.llm.model"] = "m"
        attributes["mlflow.chat.tokenUsage"] = (
            {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}
            if span == FIRST
            else {"input_tokens": 200, "output_tokens": 20, "cache_read_input_tokens": 80}
        )
    return {
        "trace_id": b64(TRACE),
        "span_id": b64(span),
        "parent_span_id": None if span == AGENT else b64(AGENT),
        "name": NAMES[span],
        "start_time_unix_nano": ns(start),
        "end_time_unix_nano": ns(end),
        "status": {"code": "STATUS_CODE_ERROR" if span == TOOL else "STATUS_CODE_OK"},
        "attributes": {k: json.dumps(v) for k, v in attributes.items()},
        "events": [{"name": "mlflow.chunk.item.0", "time_unix_nano": ns(700)}]
        if span == SECOND
        else [],
    }


MLFLOW = {
    "info": {"trace_id": f"tr-{TRACE}", "trace_metadata": {"mlflow.trace.session": "s"}},
    "data": {"spans": [*map(_mlflow_span, NAMES)]},
}


def _observation(span: str) -> dict[str, Any]:
    start, end = TIMES[span]
    kind = {AGENT: "AGENT", TOOL: "TOOL", NOTE: "EVENT"}.get(span, "GENERATION")
    usage = {
        FIRST: {"input": 100, "output": 10, "total": 110},
        SECOND: {"input": 120, "input_cached_tokens": 80, "output": 20, "total": 220},
    }
    return {
        "id": span,
        "traceId": TRACE,
        "parentObservationId": None if span == AGENT else AGENT,
        "type": kind,
        "name": NAMES[span],
        "startTime": iso(start),
        "endTime": None if span == NOTE else iso(end),
        "completionStartTime": iso(700) if span == SECOND else None,
        "model": "m" if kind == "GENERATION" else None,
        "usageDetails": usage.get(span, {}),
        "level": "ERROR" if span == TOOL else "DEFAULT",
        "metadata": "{}",
    }


LANGFUSE = {
    "trace": {
        "id": TRACE,
        "sessionId": "s",
        "observations": [{**_observation(span), "model": None} for span in NAMES],
    },
    "observations": [*map(_observation, NAMES)],
}


def _agents_span(span: str) -> dict[str, Any]:
    start, end = TIMES[span]
    data: dict[str, Any] = {
        AGENT: {"type": "agent", "name": "agent"},
        TOOL: {"type": "function", "name": "get_weather", "input": "{}", "output": None},
        NOTE: {"type": "note"},
    }.get(span, {"type": "generation", "name": "chat m", "model": "m"})
    if span == FIRST:
        data["usage"] = {"input_tokens": 100, "output_tokens": 10}
    if span == SECOND:
        details = {"cached_tokens": 80}
        data["usage"] = {
            "input_tokens": 200,
            "output_tokens": 20,
            "total_tokens": 220,
            "input_tokens_details": details,
        }
    return {
        "object": "trace.span",
        "id": f"span_{span}",
        "trace_id": f"trace_{TRACE}",
        "parent_id": None if span == AGENT else f"span_{AGENT}",
        "started_at": iso(start, "+00:00"),
        "ended_at": iso(end, "+00:00"),
        "span_data": data,
        "error": {"message": "error", "data": None} if span == TOOL else None,
    }


OPENAI_AGENTS = {
    "data": [
        {"object": "trace", "id": f"trace_{TRACE}", "workflow_name": "w", "group_id": "s"},
        *map(_agents_span, NAMES),
    ]
}


def _run(span: str) -> dict[str, Any]:
    start, end = TIMES[span]
    kind = {AGENT: "chain", TOOL: "tool", NOTE: "parser"}.get(span, "llm")
    counts: dict[str, Any] = {
        FIRST: {"prompt_tokens": 100, "completion_tokens": 10},
        SECOND: {
            "prompt_tokens": 200,
            "completion_tokens": 20,
            "prompt_token_details": {"cache_read": 80},
            "first_token_time": iso(700, ""),
        },
        AGENT: {"prompt_tokens": 300, "completion_tokens": 30},
    }.get(span, {})
    metadata = {"ls_model_name": "m"} if kind == "llm" else {"session_id": "s"}
    return {
        "id": span,
        "trace_id": TRACE,
        "parent_run_id": None if span == AGENT else AGENT,
        "run_type": kind,
        "name": NAMES[span],
        "start_time": iso(start, ""),
        "end_time": iso(end, ""),
        "error": "error" if span == TOOL else None,
        "extra": {"metadata": metadata},
        "session_id": "a project",
        **counts,
    }


LANGSMITH = [*map(_run, NAMES)]


def _line(kind: str, ms: int, uuid: str, **more: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "uuid": uuid,
        "parentUuid": None,
        "isSidechain": False,
        "sessionId": "s",
        "timestamp": iso(ms),
        **more,
    }


def _said(message: str, block: dict[str, Any], **usage: int) -> dict[str, Any]:
    return {
        "requestId": f"req-{message}",
        "message": {"id": message, "model": "m", "content": [block], "usage": usage},
    }


_CALL = {"type": "tool_use", "id": TOOL, "name": "get_weather", "input": {}}
_RESULT = {"type": "tool_result", "tool_use_id": TOOL, "is_error": True, "content": "no"}
CLAUDE_CODE = [
    {"type": "file-history-snapshot", "messageId": "x", "snapshot": {}},
    _line("user", 100, "u1", message={"role": "user", "content": "Rain in Lisbon?"}),
    _line(
        "assistant",
        300,
        "u2",
        **_said(FIRST, {"type": "text", "text": "Let me see"}, input_tokens=100, output_tokens=10),
    ),
    _line("assistant", 400, "u3", **_said(FIRST, _CALL, input_tokens=100, output_tokens=10)),
    _line("user", 600, "u4", message={"role": "user", "content": [_RESULT]}),
    _line(
        "assistant",
        950,
        "u5",
        **_said(
            SECOND,
            {"type": "text", "text": "No"},
            input_tokens=120,
            cache_read_input_tokens=80,
            output_tokens=20,
        ),
    ),
    _line("system", 1000, "u6", subtype="turn_duration"),
]


def _go_value(value: Any) -> dict[str, Any]:
    kind = {str: "STRING", int: "INT64", float: "FLOAT64", list: "STRINGSLICE"}[type(value)]
    return {"Type": kind, "Value": value}


def _go_context(span: str | None) -> dict[str, Any]:
    return {
        "TraceID": TRACE if span else "0" * 32,
        "SpanID": span or "0" * 16,
        "TraceFlags": "01",
        "TraceState": "",
        "Remote": False,
    }


def _go_span(span: str) -> dict[str, Any]:
    start, end = TIMES[span]
    scope = {"Name": "my.scope", "Version": "", "SchemaURL": "", "Attributes": None}
    return {
        "Name": NAMES[span],
        "SpanContext": _go_context(span),
        "Parent": _go_context(None if span == AGENT else AGENT),
        "SpanKind": 1,
        "StartTime": iso(start),
        "EndTime": iso(end),
        "Attributes": [{"Key": k, "Value": _go_value(v)} for k, v in OTEL[span].items()],
        "Events": None,
        "Links": None,
        "Status": {"Code": "Error" if span == TOOL else "Unset", "Description": ""},
        "DroppedAttributes": 0,
        "ChildSpanCount": 0,
        "Resource": [{"Key": "service.name", "Value": _go_value("demo")}],
        "InstrumentationScope": scope,
        "InstrumentationLibrary": scope,
    }


GO_SDK = [*map(_go_span, NAMES)]


def _javascript_span(span: str) -> dict[str, Any]:
    start, end = TIMES[span]
    found = {
        "resource": {"attributes": {"service.name": "demo"}},
        "instrumentationScope": {"name": "my.scope", "version": "1"},
        "traceId": TRACE,
        "parentSpanContext": {"traceId": TRACE, "spanId": AGENT, "traceFlags": 1},
        "name": NAMES[span],
        "id": span,
        "kind": 0,
        "timestamp": (START + start) * 1000,
        "duration": (end - start) * 1000.0,
        "attributes": OTEL[span],
        "status": {"code": 2 if span == TOOL else 0},
        "events": [],
        "links": [],
    }
    if span == AGENT:
        del found["parentSpanContext"]
    return found


JAVASCRIPT_SDK = [*map(_javascript_span, NAMES)]


def _mastra_span(span: str) -> dict[str, Any]:
    start, end = TIMES[span]
    kind = {AGENT: "agent_run", TOOL: "tool_call", NOTE: "generic"}.get(span, "model_generation")
    attributes: dict[str, Any] = {
        AGENT: {"conversationId": "s"},
        FIRST: {
            "model": "m",
            "usage": {"inputTokens": 100, "outputTokens": 10},
            "finishReason": "tool-calls",
        },
        SECOND: {
            "model": "m",
            "usage": {
                "inputTokens": 200,
                "outputTokens": 20,
                "inputDetails": {"text": 120, "cacheRead": 80},
            },
            "streaming": True,
            "completionStartTime": iso(700),
        },
    }.get(span, {})
    return {
        "traceId": TRACE,
        "spanId": span,
        "parentSpanId": None if span == AGENT else AGENT,
        "name": "tool: 'get_weather'" if span == TOOL else NAMES[span],
        "spanType": kind,
        "isEvent": span == NOTE,
        "attributes": attributes,
        "startedAt": iso(start),
        "endedAt": None if span == NOTE else iso(end),
        "error": {"message": "no"} if span == TOOL else None,
    }


MASTRA = {"traceId": TRACE, "spans": [*map(_mastra_span, NAMES)]}


def rolled(kind: str, ms: int, **payload: Any) -> dict[str, Any]:
    return {"timestamp": iso(ms), "type": kind, "payload": payload}


def counted(ms: int, total: int, **used: int) -> dict[str, Any]:
    info = {"total_token_usage": {"total_tokens": total}, "last_token_usage": used}
    return rolled("event_msg", ms, type="token_count", info=info)


CODEX = [
    rolled("session_meta", 100, id="s", cwd="/", model_provider="openai"),
    rolled("turn_context", 100, model="m"),
    rolled("event_msg", 100, type="user_message", message="Rain in Lisbon?"),
    rolled("response_item", 300, type="reasoning", summary=[]),
    rolled(
        "response_item",
        400,
        type="function_call",
        name="get_weather",
        arguments="{}",
        call_id=TOOL,
    ),
    counted(401, 110, input_tokens=100, output_tokens=10, total_tokens=110),
    rolled(
        "response_item",
        600,
        type="function_call_output",
        call_id=TOOL,
        output='{"output": "no", "metadata": {"exit_code": 1}}',
    ),
    rolled("response_item", 950, type="message", role="assistant", content=[]),
    counted(951, 330, input_tokens=200, cached_input_tokens=80, output_tokens=20, total_tokens=220),
    rolled("event_msg", 1000, type="task_complete"),
]


def entered(ms: int, number: int, **message: Any) -> dict[str, Any]:
    return {
        "type": "message",
        "id": f"{number:08x}",
        "parentId": None,
        "timestamp": iso(ms),
        "message": {"timestamp": START + ms, **message},
    }


PI = [
    {"type": "session", "version": 3, "id": "s", "timestamp": iso(100), "cwd": "/"},
    entered(100, 1, role="user", content="Rain in Lisbon?"),
    entered(
        400,
        2,
        role="assistant",
        content=[{"type": "toolCall", "id": TOOL, "name": "get_weather", "arguments": {}}],
        model="m",
        usage={"input": 100, "output": 10, "cacheRead": 0, "cacheWrite": 0},
        stopReason="toolUse",
        timestamp=START + 100,
    ),
    entered(600, 3, role="toolResult", toolCallId=TOOL, toolName="get_weather", isError=True),
    entered(
        950,
        4,
        role="assistant",
        content=[{"type": "text", "text": "No"}],
        model="m",
        usage={"input": 120, "output": 20, "cacheRead": 80, "cacheWrite": 0},
        stopReason="stop",
        timestamp=START + 600,
    ),
    {"type": "session_info", "id": "00000005", "timestamp": iso(1000), "name": "rain"},
]


def logged(event: str, ms: int, **attributes: Any) -> dict[str, Any]:
    return {
        "hrTime": [(START + ms) // 1000, (START + ms) % 1000 * 1_000_000],
        "attributes": {
            "session.id": "s",
            "event.name": f"gemini_cli.{event}",
            "event.timestamp": iso(ms),
            **attributes,
        },
        "_body": "what happened",
    }


GEMINI_CLI = [
    logged("user_prompt", 100, prompt_length=15),
    logged(
        "api_response",
        400,
        model="m",
        duration_ms=300,
        input_token_count=100,
        output_token_count=10,
        cached_content_token_count=0,
        thoughts_token_count=0,
    ),
    logged("tool_call", 600, function_name="get_weather", duration_ms=200, success=False),
    logged(
        "api_response",
        950,
        model="m",
        duration_ms=350,
        input_token_count=200,
        output_token_count=20,
        cached_content_token_count=80,
        thoughts_token_count=0,
    ),
    logged("file_operation", 1000, operation="read"),
]

SAMPLES: dict[str, bytes] = {
    "otlp-json": text(OTLP),
    "jaeger-json": text(JAEGER),
    "zipkin-json": text(ZIPKIN),
    "mlflow": text(MLFLOW),
    "phoenix": text(PHOENIX),
    "python-sdk": b"\n".join(json.dumps(span, indent=4).encode() for span in PYTHON_SDK),
    "langfuse": text(LANGFUSE),
    "openai-agents": text(OPENAI_AGENTS),
    "langsmith": text(LANGSMITH),
    "claude-code": b"\n".join(map(text, CLAUDE_CODE)),
    "go-sdk": b"\n".join(map(text, GO_SDK)),
    "javascript-sdk": b"\n".join(map(text, JAVASCRIPT_SDK)),
    "mastra": text(MASTRA),
    "codex": b"\n".join(map(text, CODEX)),
    "pi": b"\n".join(map(text, PI)),
    "gemini-cli": b"\n".join(json.dumps(one, indent=2).encode() for one in GEMINI_CLI),
}
"""By the name of the format."""

SESSIONS = ("claude-code", "codex", "pi", "gemini-cli")
"""What these record begins with the first call and ends with a last line."""
