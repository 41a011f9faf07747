"""Agents of a framework, run with the plugin on: `python -m tests.frameworks.run agno,agno_async`.

Prints of each its spans as text, how much longer than the tools themselves their spans are, and
what of ours failed unseen. A process of its own for each framework, as importing one leaves traces.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import sys
from typing import Any

from causepath import guard
from tests.frameworks import agents
from tests.support.left_behind import left_behind
from tests.support.messages_api import MessagesApi
from tests.support.openai_api import OpenAiApi
from tests.support.recording import Recording
from tests.support.script import InOrder, Reply, ToolUse, Usage

USAGE = Usage(3, 2)


def script(names: dict[str, str], last: ToolUse | str = "Done.") -> InOrder:
    first = [
        ToolUse(names["search"], {"q": "x"}, id="toolu_1"),
        ToolUse(names["save"], {"text": "abc"}, id="toolu_2"),
    ]
    again = [ToolUse(names["fail"], {"why": "no"}, id="toolu_3")]
    end = [last] if isinstance(last, ToolUse) else last
    return InOrder([Reply(first, usage=USAGE), Reply(again, usage=USAGE), Reply(end, usage=USAGE)])


def ratio(own: tuple[int, int], tools: list[tuple[int, int]]) -> float:
    """How much longer than a tool itself its span is; 0 where none is around it."""
    began, ended = own
    around = [end - start for start, end in tools if start <= began and ended <= end]
    return min(around, default=0) / (ended - began)


def run(name: str, *beside: str) -> dict[str, Any]:
    way: Any = getattr(agents, name)
    prefix = "Plugin-" if name == "semantic_kernel" else ""
    names = {tool: prefix + tool for tool in ("search", "save", "fail")}
    final: Any = (
        ToolUse("final_answer", {"answer": "Done."}, id="toolu_4")
        if name.startswith("smolagents")
        else "Done."
    )
    agents.CLOCK.clear()
    guard._reported.clear()
    make = OpenAiApi if way in agents.OPENAI else MessagesApi
    with make(script(names, final)) as api, Recording() as recording:
        for instrumentor in beside:
            module, _, class_name = instrumentor.partition(":")
            getattr(importlib.import_module(module), class_name)().instrument()
        if inspect.iscoroutinefunction(way):
            asyncio.run(way(api.url))
        else:
            way(api.url)
        text = recording.text()
        spans = recording.spans()
    tools = [
        (span.start_time, span.end_time)
        for span in spans
        if (span.attributes or {}).get("causepath.category") == "tool"
        and span.start_time
        and span.end_time
    ]
    ratios = [ratio(own, tools) for own in agents.CLOCK]
    # What somebody else has wrapped again since is theirs to give back.
    failed = [*sorted(guard._reported), *(left_behind() if not beside else ())]
    return {"text": text, "ratios": ratios, "failed": failed}


def main(names: str, *beside: str) -> None:
    if not beside:
        os.environ["OPENAI_AGENTS_DISABLE_TRACING"] = "1"  # which would be sent to their servers
    print(json.dumps({name: run(name, *beside) for name in names.split(",")}))


if __name__ == "__main__":
    main(*sys.argv[1:])
