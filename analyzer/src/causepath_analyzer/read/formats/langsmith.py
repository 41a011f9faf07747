"""LangSmith runs: a list, an object with "runs", or one run per line.

Times have no zone and are UTC. ``session_id`` is the project, not a conversation. Token counts
are repeated on the parents of model calls; only runs of type "llm" are counted. Runs that did not
go through the server have no counts but those in the reply.
"""

from typing import Final

import msgspec
from msgspec import Raw, Struct

from causepath_analyzer import attributes as names
from causepath_analyzer.model import Skipped
from causepath_analyzer.read.format import Found, JsonFormat
from causepath_analyzer.read.formats import replies, values
from causepath_analyzer.read.formats.values import Number
from causepath_analyzer.read.meaning import normalise
from causepath_analyzer.read.meaning.asked import labelled


class _Extra(Struct, gc=False):
    metadata: dict[str, Raw] | None = None


class _Event(Struct, gc=False):
    name: str | None = None
    time: Number = None


class _Run(Struct, gc=False):
    id: str = ""
    trace_id: str | None = None
    parent_run_id: str | None = None
    run_type: str | None = None
    name: str | None = None
    start_time: Number = None
    end_time: Number = None
    first_token_time: Number = None
    prompt_tokens: Number = None
    events: list[_Event] | None = None
    error: str | None = None
    extra: _Extra | None = None
    tags: Raw = values.ABSENT
    session_name: Raw = values.ABSENT
    inputs: Raw = values.ABSENT
    outputs: Raw = values.ABSENT


_RUN: Final = msgspec.json.Decoder(_Run)
_MARKS: Final = (b'"run_type"', b'"start_time"')
_METADATA: Final = {
    "ls_model_name": names.MODEL[0],
    "ls_provider": names.PROVIDER[0],
    "session_id": names.SESSION[0],
    "thread_id": names.SESSION[0],
    "conversation_id": names.SESSION[0],
    "user_id": names.USER[0],
}
_NO_RESOURCE: Final = normalise.resource({})
_FIRST_TOKEN: Final = "new_token"


def read(document: bytes, where: str) -> list[Found] | None:
    """The runs of `document` as spans; ``None`` if it is no export of LangSmith."""
    if not all(mark in document for mark in _MARKS):
        return None
    raws = values.listed(document, "runs")
    if raws is None:
        return None
    found: list[Found] = []
    is_ours = False
    runs = values.decoded(raws, _RUN, where, "a run")
    for raw, run in zip(raws, runs, strict=True):
        span = run if isinstance(run, Skipped) else _span(run, raw, where)
        is_ours = is_ours or not isinstance(span, Skipped)
        found.append(span)
    return found if is_ours else None


def _span(run: _Run, raw: Raw, where: str) -> Found:
    start_ns = values.time_ns(run.start_time)
    if not run.id or not run.run_type or start_ns is None:
        return Skipped(where, f"run {run.id or '?'} without id, run_type or start_time")
    metadata = (run.extra.metadata if run.extra is not None else None) or {}
    understood: values.Attributes = {"langsmith.span.kind": run.run_type}
    if run.run_type == "llm":
        # The server's counts, else those that the SDK took from the reply.
        sums = raw if run.prompt_tokens is not None else metadata.get("usage_metadata")
        understood |= replies.asked(run.inputs) | replies.answered(run.outputs)
        understood |= replies.used(sums or values.ABSENT)
    understood |= {
        _METADATA[key]: value
        for key, value in values.attributes(metadata, frozenset(_METADATA)).items()
    }
    if run.run_type == "tool":
        understood["gen_ai.tool.call.arguments"] = values.content(run.inputs)
        understood["gen_ai.tool.call.result"] = values.content(run.outputs)
    elif run.run_type == "llm":
        understood["gen_ai.prompt"] = values.content(run.inputs)
    tokens = (e.time for e in run.events or () if e.name == _FIRST_TOKEN)
    first_ns = values.time_ns(run.first_token_time or next(tokens, None))
    if first_ns is not None and first_ns >= start_ns:
        understood[names.FIRST_TOKEN_NS] = first_ns
        understood[names.STREAMED[0]] = True
    emitted = normalise.Emitted(
        run.trace_id or run.id,
        run.id,
        run.parent_run_id or "",
        run.name or run.run_type,
        "internal",
        start_ns,
        values.time_ns(run.end_time),
        bool(run.error),
    )
    span = normalise.span(emitted, understood, _NO_RESOURCE, "langsmith")
    own = {"tags": run.tags, "session_name": run.session_name, "metadata": metadata}
    return labelled(span, metadata, own, understood)


FORMAT = JsonFormat("langsmith", read)
