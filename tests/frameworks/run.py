"""One agent of a framework, run with the plugin on: `python -m tests.frameworks.run langchain`.

Prints its spans as text and how much longer than the tools themselves their spans are. A process of
its own for each, as importing a framework leaves traces.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import sys
from typing import Any

from tests.frameworks import agents
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


def main(name: str, *beside: str) -> None:
    way: Any = getattr(agents, name)
    prefix = "Plugin-" if name == "semantic_kernel" else ""
    names = {tool: prefix + tool for tool in ("search", "save", "fail")}
    final: Any = (
        ToolUse("final_answer", {"answer": "Done."}, id="toolu_4")
        if name.startswith("smolagents")
        else "Done."
    )
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
    tools = sorted(
        (span.start_time, span.end_time)
        for span in spans
        if (span.attributes or {}).get("causepath.category") == "tool"
        and span.start_time
        and span.end_time
    )
    ratios = [
        (end - start) / (own_end - own_start)
        for (start, end), (own_start, own_end) in zip(tools, sorted(agents.CLOCK), strict=False)
    ]
    print(json.dumps({"text": text, "ratios": ratios}))


if __name__ == "__main__":
    main(*sys.argv[1:])
