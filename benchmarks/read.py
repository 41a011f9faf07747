"""How fast traces are read: `python benchmarks/read.py`, on a tenth of the full size by default.

Generates what a collector's file exporter writes while an agent service runs (`--size 1` is 8,000
traces of 31 spans, 350 MB of JSON lines, and the same spans as length-prefixed protobuf), once, in
a folder for temporary files. Then, each in a process of its own, so that times and peaks of memory
are its own:

    orjson      bare `orjson.loads` of the same lines, which is the yardstick
    read        spans read, normalised and merged, as trees
    path        the same, and of every trace the critical path, sums, calls and tokens
    report      all that `causepath FILE` does: also costs, findings with replays, and the summary
    2 cores     the same with `--jobs 2`: a second process reads and analyses half of it
    protobuf    "path" of the protobuf file

Times are of the processor, on one core; for two cores those of the process that took longer, which
is what passes where each has a core for itself, and the memory of both. Nothing here fails for
being slow: the numbers are for reading.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

TRACES = 8_000
CALLS = 8  # of a model in each trace; each has an HTTP span, and but for the last a tool
TRACES_IN_FLIGHT = 32
SPANS_PER_LINE = 512
ROUNDS = 3


# -- what is read


def spans_of_a_trace(random_: random.Random, start_ns: int) -> list[tuple[str, dict[str, Any]]]:
    """The 31 spans of one agent run with the scope that writes each, in the order they end."""
    trace_id = f"{random_.getrandbits(128):032x}"
    spans: list[tuple[str, dict[str, Any]]] = []

    def span(
        scope: str, name: str, kind: int, parent: str, window: tuple[int, int], **attributes: Any
    ) -> str:
        span_id = f"{random_.getrandbits(64) | 1:016x}"
        wire = {
            "traceId": trace_id,
            "spanId": span_id,
            "parentSpanId": parent,
            "flags": 256,
            "name": name,
            "kind": kind,
            "startTimeUnixNano": str(window[0]),
            "endTimeUnixNano": str(window[1]),
            "attributes": [
                {"key": key.replace("__", "."), "value": value(v)} for key, v in attributes.items()
            ],
            "status": {},
        }
        spans.append((scope, wire))
        return span_id

    root = f"{random_.getrandbits(64) | 1:016x}"
    at = start_ns + 1_000_000
    said: list[dict[str, Any]] = [message("user", random_, 400)]
    for turn in range(CALLS):
        length = random_.randint(300_000_000, 4_000_000_000)
        tool = random_.choice(("search_web", "fetch_docs", "run_sql", "read_file"))
        call_id = f"toolu_{random_.getrandbits(80):020x}"
        last = turn == CALLS - 1
        answer = message("assistant", random_, random_.randint(200, 1200))
        tokens = random_.randint(800, 9_000)
        call = span(
            SDK,
            "chat claude-opus-5-5",
            3,
            root,
            (at, at + length),
            gen_ai__operation__name="chat",
            gen_ai__provider__name="anthropic",
            gen_ai__request__model="claude-opus-5-5",
            gen_ai__response__model="claude-opus-5-5",
            gen_ai__response__id=f"msg_{random_.getrandbits(80):020x}",
            gen_ai__request__max_tokens=4096,
            gen_ai__request__stream=True,
            gen_ai__response__time_to_first_chunk=length / 4e9,
            gen_ai__response__finish_reasons=["stop" if last else "tool_call"],
            gen_ai__usage__input_tokens=tokens,
            gen_ai__usage__cache_read__input_tokens=tokens // 2,
            gen_ai__usage__output_tokens=random_.randint(20, 900),
            gen_ai__conversation__id=f"session-{trace_id[:8]}",
            server__address="api.anthropic.com",
            server__port=443,
            gen_ai__input__messages=json.dumps(said[-3:]),
            gen_ai__output__messages=json.dumps([answer]),
        )
        span(
            HTTP,
            "POST",
            3,
            call,
            (at + 100_000, at + length - 100_000),
            http__request__method="POST",
            url__full="https://api.anthropic.com/v1/messages",
            http__response__status_code=200,
            network__protocol__version="1.1",
            server__address="api.anthropic.com",
        )
        at += length + 2_000_000
        said += [answer, message("user", random_, random_.randint(200, 1200))]
        if last:
            break
        length = random_.randint(20_000_000, 900_000_000)
        used = span(
            SDK,
            f"execute_tool {tool}",
            1,
            root,
            (at, at + length),
            gen_ai__operation__name="execute_tool",
            gen_ai__tool__name=tool,
            gen_ai__tool__call__id=call_id,
            gen_ai__tool__type="function",
            gen_ai__tool__call__arguments=json.dumps({"query": text(random_, 60)}),
        )
        span(
            DATABASE,
            "SELECT docs",
            3,
            used,
            (at + 1_000_000, at + length - 1_000_000),
            db__system__name="postgresql",
            db__query__text=f"SELECT * FROM docs WHERE title LIKE '{text(random_, 30)}'",
            server__address="10.0.0.7",
        )
        at += length + 1_000_000
    end = {
        "traceId": trace_id,
        "spanId": root,
        "parentSpanId": "",
        "name": "invoke_agent research",
        "kind": 1,
        "startTimeUnixNano": str(start_ns),
        "endTimeUnixNano": str(at),
        "attributes": [
            {"key": "gen_ai.operation.name", "value": value("invoke_agent")},
            {"key": "gen_ai.agent.name", "value": value("research")},
        ],
        "status": {},
    }
    spans.append((SDK, end))
    return spans


SDK = "causepath.bench.genai"
HTTP = "opentelemetry.instrumentation.httpx"
DATABASE = "opentelemetry.instrumentation.asyncpg"
RESOURCE = {
    "service.name": "research-agent",
    "service.version": "1.4.2",
    "deployment.environment.name": "production",
    "host.name": "worker-7",
    "process.pid": 4711,
    "telemetry.sdk.name": "opentelemetry",
    "telemetry.sdk.language": "python",
    "telemetry.sdk.version": "1.45.1",
}
SENTENCE = "the agent reads a trace and says where the time went so that nobody has to guess it"
WORDS = SENTENCE.split()


def value(v: object) -> dict[str, Any]:
    if isinstance(v, bool):
        return {"boolValue": v}
    if isinstance(v, int):
        return {"intValue": str(v)}
    if isinstance(v, float):
        return {"doubleValue": v}
    if isinstance(v, list):
        return {"arrayValue": {"values": [value(item) for item in v]}}
    return {"stringValue": v}


def text(random_: random.Random, characters: int) -> str:
    return " ".join(random_.choices(WORDS, k=max(1, characters // 5)))


def message(role: str, random_: random.Random, characters: int) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text(random_, characters)}]}


def generate(folder: Path, traces: int) -> tuple[Path, Path]:
    """The two files of `traces` traces, interleaved as a collector batches them."""
    lines, frames = folder / f"traces-{traces}.jsonl", folder / f"traces-{traces}.binpb"
    if lines.exists() and frames.exists():
        return lines, frames
    from google.protobuf.json_format import Parse  # type: ignore[import-untyped]
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    random_ = random.Random(7)
    resource_ = {"attributes": [{"key": k, "value": value(v)} for k, v in RESOURCE.items()]}
    folder.mkdir(parents=True, exist_ok=True)
    with Path(f"{lines}.new").open("w") as json_, Path(f"{frames}.new").open("wb") as pb:
        for group in range(0, traces, TRACES_IN_FLIGHT):
            ended = [
                spans_of_a_trace(random_, 1_795_000_000_000_000_000 + trace * 50_000_000)
                for trace in range(group, min(group + TRACES_IN_FLIGHT, traces))
            ]
            every = sorted((s for t in ended for s in t), key=lambda s: s[1]["endTimeUnixNano"])
            for first in range(0, len(every), SPANS_PER_LINE):
                by_scope: dict[str, list[dict[str, Any]]] = {}
                for scope, wire in every[first : first + SPANS_PER_LINE]:
                    by_scope.setdefault(scope, []).append(wire)
                scopes = [
                    {"scope": {"name": scope, "version": "0.9"}, "spans": spans}
                    for scope, spans in by_scope.items()
                ]
                data = {"resourceSpans": [{"resource": resource_, "scopeSpans": scopes}]}
                line = json.dumps(data, separators=(",", ":"))
                json_.write(line + "\n")
                for spans in by_scope.values():
                    for wire in spans:  # protobuf's own JSON has ids in base64
                        for key in ("traceId", "spanId", "parentSpanId"):
                            wire[key] = _base64(wire[key])
                message_ = Parse(json.dumps(data), TracesData()).SerializeToString()
                pb.write(len(message_).to_bytes(4, "big") + message_)
    Path(f"{lines}.new").rename(lines)
    Path(f"{frames}.new").rename(frames)
    return lines, frames


def _base64(hexadecimal: str) -> str:
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()


# -- what is measured, each in a process of its own


def measured(way: str, path: str) -> dict[str, float]:
    """Seconds and peak memory above the interpreter's, in bytes, of one way through `path`."""
    import orjson

    from causepath_analyzer.analyses.path import causes, critical_path, kinds, usage, wall_time
    from causepath_analyzer.cli import invoke
    from causepath_analyzer.read import read

    spans = 0
    before = peak(resource.RUSAGE_SELF)
    began = time.process_time()
    if way == "orjson":
        with Path(path).open("rb") as stream:
            for line in stream:
                orjson.loads(line)
    elif way in ("report", "2 cores"):
        with redirect_stdout(io.StringIO()):
            invoke([path, "--jobs", "2" if way == "2 cores" else "1"])
    else:
        reading = read([path])
        spans = sum(entry.spans for entry in reading.inputs)
        if way != "read":
            for trace in reading.traces:
                meanings = kinds.span_kinds(trace)
                known = causes.causes(trace, meanings)
                found = critical_path.critical_path(trace, meanings, known)
                wall_time.wall_time(trace, meanings, found)
                usage.usage(known.flow)
    others = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = max(time.process_time() - began, others.ru_utime + others.ru_stime)
    used = peak(resource.RUSAGE_SELF) - before + peak(resource.RUSAGE_CHILDREN)
    return {"seconds": seconds, "bytes": used, "spans": spans}


def peak(who: int) -> int:
    used = resource.getrusage(who).ru_maxrss
    return used * (1 if sys.platform == "darwin" else 1024)


def best(way: str, path: Path) -> dict[str, float]:
    """The quickest of a few processes: what else the machine does only makes it slower."""
    command = [sys.executable, __file__, "--way", way, str(path)]
    found = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(ROUNDS)
    ]
    return min(found, key=lambda result: result["seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=float, default=0.1, help="1 is 8,000 traces, 350 MB")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()) / "causepath-bench"
    )
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("path", nargs="?", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(measured(arguments.way, arguments.path)))
        return
    lines, frames = generate(arguments.folder, max(1, round(TRACES * arguments.size)))
    yardstick = best("orjson", lines)
    print(f"{'':<10}{'MB':>7}{'s':>8}{'MB/s':>7}{'spans/s':>10}{'x orjson':>10}{'B/span':>8}")
    spans = 0
    for way, path in (
        ("orjson", lines),
        ("read", lines),
        ("path", lines),
        ("report", lines),
        ("2 cores", lines),
        ("protobuf", frames),
    ):
        result = yardstick if way == "orjson" else best(way, path)
        megabytes = path.stat().st_size / 1e6
        seconds, spans = result["seconds"], int(result["spans"]) or spans
        print(
            f"{way:<10}{megabytes:>7.0f}{seconds:>8.2f}{megabytes / seconds:>7.0f}"
            + (
                f"{spans / seconds:>10,.0f}{yardstick['seconds'] / seconds:>10.2f}"
                f"{result['bytes'] / spans:>8.0f}"
                if spans
                else ""
            )
        )
    print("x orjson: above 1 is quicker than orjson.loads alone, which only parses")


if __name__ == "__main__":
    main()
