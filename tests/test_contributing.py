"""What CONTRIBUTING shows works: each walk is done in a copy of the package."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "analyzer" / "src" / "causepath_analyzer"
WALKS = (ROOT / "CONTRIBUTING.md").read_text()


def walk(heading: str) -> str:
    """Finds the text of one walk."""
    found = re.search(rf"^## {heading}.*?\n(.*?)^## ", WALKS, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the analyzer that a walk may change."""
    return Path(shutil.copytree(PACKAGE, tmp_path / PACKAGE.name))


def causepath(copy: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "causepath_analyzer", *arguments],
        cwd=copy.parent,
        env={**os.environ, "PYTHONPATH": str(copy.parent)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_finding_is_a_file_and_a_row(copy: Path) -> None:
    text = walk("Add a finding")
    named = re.search(r"`analyzer/src/causepath_analyzer/(\S+/(cp\d+_\w+)\.py)`", text)
    code = re.search(r"^   ```python\n(.*?)^   ```$", text, re.MULTILINE | re.DOTALL)
    row = re.search(r"Add `((cp\w+)\.RULE)` to `RULES` in `findings/rules\.py`", text)
    assert named
    assert code
    assert row
    assert row[2] == named[2]
    (copy / named[1]).write_text(dedent(code[1]))
    table = copy / "analyses" / "findings" / "rules.py"
    text = table.read_text()
    text = text.replace("findings import (\n", f"findings import (\n    {row[2]},\n")
    table.write_text(text.replace("for rule in (\n", f"for rule in (\n        {row[1]},\n"))

    assert causepath(copy, "explain", "cp505").startswith("CP505  A reply was cut off\n")
    span = {
        "traceId": "1" * 32,
        "spanId": "2" * 16,
        "name": "chat m",
        "startTimeUnixNano": "1",
        "endTimeUnixNano": "1000000001",
        "attributes": [
            {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
            {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "9"}},
            {"key": "gen_ai.usage.output_tokens", "value": {"intValue": "70"}},
            {
                "key": "gen_ai.response.finish_reasons",
                "value": {"arrayValue": {"values": [{"stringValue": "max_tokens"}]}},
            },
        ],
    }
    (copy.parent / "t.json").write_text(
        json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
    )
    (trace,) = json.loads(causepath(copy, "t.json", "--json"))["traces"]
    (finding,) = trace["findings"]
    said = [finding[name] for name in ("code", "saving_ns", "saving_tokens", "evidence")]
    assert said == ["CP505", None, 70, "proved"]
    (trace,) = json.loads(causepath(copy, "t.json", "--json", "--ignore", "CP5"))["traces"]
    assert trace["findings"] == []
    assert "70 tok" in causepath(copy, "t.json")


ECHO_SDK = """
class Client:
    def ask(self, model, text):
        return {"text": text.upper(), "read": 3, "written": 5}
"""

ECHO_AGENT = """
import causepath
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
causepath.instrument(provider)

import echo_sdk

print(echo_sdk.Client().ask("m", "hello")["text"])
causepath.uninstrument()
for span in exporter.get_finished_spans():
    about = span.attributes
    tokens = [about.get(f"gen_ai.usage.{which}_tokens") for which in ("input", "output")]
    blocks = [about.get(f"causepath.{which}.blocks", ()) for which in ("input", "output")]
    print(span.name, span.status.status_code.name, *tokens, *map(len, blocks))
"""


def test_a_provider_is_a_file_and_a_row(tmp_path: Path) -> None:
    text = walk("Add a provider")
    named = re.search(r"Write `src/causepath/(providers/(\w+)\.py)`", text)
    code = re.search(r"^   ```python\n(.*?)^   ```$", text, re.MULTILINE | re.DOTALL)
    row = re.search(r"Add `(\"\w+\": \"causepath\.providers\.(\w+)\")` to `PROVIDERS`", text)
    assert named
    assert code
    assert row
    assert row[2] == named[2]
    plugin = Path(shutil.copytree(ROOT / "src" / "causepath", tmp_path / "causepath"))
    (plugin / named[1]).write_text(dedent(code[1]))
    table = plugin / "instrumentor.py"
    table.write_text(
        table.read_text().replace("PROVIDERS = {\n", f"PROVIDERS = {{\n    {row[1]},\n")
    )
    (tmp_path / "echo_sdk.py").write_text(ECHO_SDK)
    (tmp_path / "agent.py").write_text(ECHO_AGENT)
    done = subprocess.run(
        [sys.executable, "agent.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "CAUSEPATH_DIGEST_KEY": "tests"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.splitlines() == [
        "HELLO",
        "chat m OK 3 5 1 1",
        "invoke_agent agent UNSET None None 0 0",
    ], done.stderr
