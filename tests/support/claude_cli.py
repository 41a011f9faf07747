"""A stand-in for the CLI of Claude Code: speaks its stream of JSON lines over standard input and
output, as the transport of the Claude Agent SDK expects it, and reads no key and no network.

It answers a prompt with what it found in its environment, as JSON. Asked to "use {tool}", it first
has a tool of the SDK's in-process MCP server carried out; asked to "crash", it ends with status 3.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from typing import Any

numbers = itertools.count(1)


def say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


def heard() -> dict[str, Any]:
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    told: dict[str, Any] = json.loads(line)
    return told


def call(server: str, method: str, params: dict[str, Any]) -> dict[str, Any]:
    """What the SDK's in-process server answers."""
    number = next(numbers)
    message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    request = {"subtype": "mcp_message", "server_name": server, "message": message}
    say({"type": "control_request", "request_id": f"cli_{number}", "request": request})
    while (told := heard()).get("type") != "control_response":
        pass
    return told


def use(tool: str) -> None:
    client = {"name": "stand-in", "version": "0"}
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
    call("here", "initialize", hello)
    call("here", "tools/call", {"name": tool, "arguments": {"query": "traces"}})


def answer(prompt: str) -> None:
    if prompt == "crash":
        sys.exit(3)
    if prompt.startswith("use "):
        use(prompt.removeprefix("use "))
    found = {name: os.environ.get(name) for name in ("TRACEPARENT", "TRACESTATE")}
    text = json.dumps(found)
    block = {"type": "text", "text": text}
    said = {"role": "assistant", "model": "claude-opus-4-5", "content": [block]}
    say({"type": "assistant", "message": said, "parent_tool_use_id": None, "session_id": "s"})
    say(
        {
            "type": "result",
            "subtype": "success",
            "duration_ms": 1,
            "duration_api_ms": 1,
            "is_error": False,
            "num_turns": 1,
            "session_id": "s",
            "result": text,
        }
    )


def main() -> None:
    if sys.argv[1:2] in (["-v"], ["--version"]):
        print("9.9.9 (Claude Code)")
        return
    while True:
        told = heard()
        if told["type"] == "control_request":
            done = {"subtype": "success", "request_id": told["request_id"], "response": {}}
            say({"type": "control_response", "response": done})
        elif told["type"] == "user":
            answer(told["message"]["content"])


if __name__ == "__main__":
    main()
