"""What a process says of itself when there is nothing else to see: to who reads, and to `causepath
run`."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING

from causepath.guard import harmless
from causepath.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

OTHER_SDKS = (
    "boto3", "cohere", "google.generativeai", "groq", "litellm", "mistralai",
    "ollama", "together", "transformers", "vertexai", "vllm",
)  # fmt: skip
"""Modules by which models are called past the SDKs that we see."""

DECLARE = "declare them with @causepath.agent and @causepath.tool"


class Account:
    """The file that `causepath run` gives each process to say in that it was there."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self.is_kept = path is not None

    def loaded(self, complaints: Sequence[str]) -> None:
        self._write(
            {
                "event": "loaded",
                "version": __version__,
                "python": sys.executable,
                "complaints": list(complaints),
            }
        )

    def ended(
        self,
        calls: int,
        sdks: list[str],
        sdk_ns: int | None,
        nothing: str | None,
        to: Sequence[str],
        lost: Sequence[str],
    ) -> None:
        self._write(
            {
                "event": "ended",
                "calls": calls,
                "sdks": sdks,
                "sdk_ns": sdk_ns,
                "nothing": nothing,
                "to": list(to),
                "lost": list(lost),
            }
        )

    @harmless(None)
    def _write(self, what: dict[str, object]) -> None:
        if self._path is None:
            return
        line = json.dumps({**what, "pid": os.getpid(), "time_ns": time.time_ns()})
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, line.encode() + b"\n")
        finally:
            os.close(descriptor)


def why_no_call(sdks: list[str]) -> str:
    """Tell a program that ended without a model call why none may have been seen.

    The application may have written spans of its own, also where nobody of ours sees them pass.
    """
    unseen = "no model call was seen: "
    if sdks:
        names = " and ".join(sdks)
        return f"{unseen}{names} was imported, but no model was called with it"
    others = [name for name in OTHER_SDKS if name in sys.modules]
    if others:
        return (
            f"{unseen}calls of {', '.join(others)} are not seen, only those of "
            f"anthropic, openai, google-genai and MCP; {DECLARE}"
        )
    return (
        f"{unseen}none of anthropic, openai and google.genai was imported. "
        f"Calls over HTTP are not seen: {DECLARE}"
    )
