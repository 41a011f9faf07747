"""Spans of Monocle, which says in entities and events what others say in attributes.

Each span has numbered entities (the model, the tool, the agent), and events with what went in, what
came out and, called "metadata", how many tokens that were.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Raw

from causepath_analyzer import attributes as names
from causepath_analyzer.read.formats import values

VERSION: Final = "monocle_apptrace.version"
_TYPE: Final = "span.type"
_ENTITY: Final = re.compile(r"entity\.(\d{1,2})\.(name|type)")
_TOOLS: Final = ("agentic.tool.invocation", "agentic.mcp.invocation")
_SESSION: Final = "scope.agentic.session"
_PROVIDERS: Final = {
    "azure_openai": "azure.ai.openai",
    "gemini": "gcp.gemini",
    "aws": "aws.bedrock",
}
_NO_PROVIDER: Final = "generic"
_COUNTS: Final = {
    "prompt_tokens": names.INPUT_TOKENS[0],
    "completion_tokens": names.OUTPUT_TOKENS[0],
    "total_tokens": names.TOTAL_TOKENS[0],
    "finish_reason": names.FINISH_REASONS[0],
}
_SAID: Final = {"data.input": ("input",), "data.output": ("response", "output")}
_CONTENT: Final = {
    "data.input": "gen_ai.tool.call.arguments",
    "data.output": "gen_ai.tool.call.result",
}


def told(
    attributes: Mapping[str, Raw], events: Iterable[tuple[str | None, Raw]]
) -> values.Attributes:
    """Translates a span with `attributes` and `events` (by name) into the conventions' words."""
    plain = values.attributes(attributes, frozenset((_TYPE, _SESSION)))
    is_tool = plain.get(_TYPE) in _TOOLS
    found: values.Attributes = {names.SESSION[0]: plain.get(_SESSION)}
    for kind, name in _entities(attributes):
        family, _, rest = kind.partition(".")
        if family == "model":
            found.setdefault(names.MODEL[0], name)
        elif family == "inference" and rest and rest != _NO_PROVIDER:
            found.setdefault(names.PROVIDER[0], _PROVIDERS.get(rest, rest))
        elif family == "tool" and is_tool:
            found.setdefault(names.TOOL_NAME[0], name)
    for event, raw in events:
        if event == "metadata":
            counted = values.attributes(values.mapping(raw), frozenset(_COUNTS))
            found |= {_COUNTS[key]: value for key, value in counted.items()}
        elif is_tool and event in _SAID:
            inner = values.mapping(raw)
            said = next((inner[key] for key in _SAID[event] if key in inner), values.ABSENT)
            found[_CONTENT[event]] = values.content(said)
    return {name: value for name, value in found.items() if value is not None}


def _entities(attributes: Mapping[str, Raw]) -> Iterable[tuple[str, str]]:
    """Type and name of every entity, in order."""
    numbered: dict[int, dict[str, str]] = {}
    for key, raw in attributes.items():
        match = _ENTITY.fullmatch(key)
        text = values.content(raw) if match is not None else None
        if match is not None and text is not None:
            numbered.setdefault(int(match[1]), {})[match[2]] = text
    for _, entity in sorted(numbered.items()):
        yield entity.get("type", ""), entity.get("name", "")
