"""Beside other instrumentations: never one span of a model call more, and one run all the same.

`make test-frameworks` installs them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BESIDE = ROOT / ".sdk" / "beside"

SCOPES = {
    "genai": "chat [opentelemetry.instrumentation.genai.anthropic]",
    "traceloop": "chat [opentelemetry.instrumentation.anthropic]",
    "openinference": "llm [openinference.instrumentation.anthropic]",
    "logfire": "chat [logfire.anthropic]",
}

DECLARED = """\
invoke_agent [app]
  {0}
  {0}
  {0}
  {0}"""
DECLARED_WITH = """\
invoke_agent [app]
  {0} #1
  execute_tool [causepath] <-tool_call- {0} #1
  {0} #2 <-tool_result- execute_tool [causepath]
  execute_tool [causepath] <-tool_call- {0} #2
  {0} #3 <-tool_result- execute_tool [causepath]
  execute_tool [causepath] <-tool_call- {0} #3
  {0} #4 <-tool_result- execute_tool [causepath]"""
BARE = """\
{0}
{0}
{0}
{0}"""
# What has begun as a root stays one. The calls of the run are still known, and linked.
BARE_WITH = """\
{0} #1
  execute_tool [causepath] <-tool_call- {0} #1
  execute_tool [causepath] <-tool_call- {0} #2
  execute_tool [causepath] <-tool_call- {0} #3
{0} #2 <-tool_result- execute_tool [causepath]
{0} #3 <-tool_result- execute_tool [causepath]
{0} #4 <-tool_result- execute_tool [causepath]"""
NATIVE_TOO = """\
invoke_agent [app]
  {0}
    {1} #1
  execute_tool [causepath] <-tool_call- {1} #1
  {0}
    {1} #2 <-tool_result- execute_tool [causepath]
  execute_tool [causepath] <-tool_call- {1} #2
  {0}
    {1} #3 <-tool_result- execute_tool [causepath]
  execute_tool [causepath] <-tool_call- {1} #3
  {0}
    {1} #4 <-tool_result- execute_tool [causepath]"""

pytestmark = pytest.mark.frameworks


def recorded(emitters: str) -> dict[str, list[str]]:
    path = os.pathsep.join((str(BESIDE), str(ROOT)))
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.beside", emitters],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("emitter", SCOPES)
def test_the_span_that_another_instrumentation_writes_is_the_span_of_the_call(emitter: str) -> None:
    theirs = SCOPES[emitter]
    completed = theirs.replace("llm [", "chat [")
    declared = [DECLARED.format(theirs), DECLARED_WITH.format(completed)]
    bare = [BARE.format(theirs), BARE_WITH.format(completed)]
    assert recorded(emitter) == {
        "Anthropic declared": declared,
        "Anthropic bare": bare,
        "AsyncAnthropic declared": declared,
        "AsyncAnthropic bare": bare,
    }


def test_where_the_sdk_writes_spans_too_it_is_those_and_the_run_is_around_both() -> None:
    found = recorded("genai,sdk")
    both = NATIVE_TOO.format(SCOPES["genai"], "chat [com.anthropic.sdk.python]")
    assert found["Anthropic declared"][1] == found["AsyncAnthropic declared"][1] == both
