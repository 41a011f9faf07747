"""What CONTRIBUTING shows works: its walks are done in a copy of the two packages, all in one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple

import pytest

from tests.support.traced_programs import plain_environment

ROOT = Path(__file__).parents[1]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()

ANALYZER = "analyzer/src/causepath_analyzer"
PLUGIN = "src/causepath"
MOST_FILES = 3


class Table(NamedTuple):
    """Where a walk adds its row: the file, and the line that rows follow."""

    file: str
    line: str


HOOKS = Table(f"{PLUGIN}/instrumentor.py", "        for hooks in (\n")
PROVIDERS = Table(f"{PLUGIN}/instrumentor.py", "PROVIDERS = {\n")
READERS = Table(f"{ANALYZER}/read/formats/recognise.py", "_MODULES: Final[Mapping[str, str]] = {\n")
RULES = Table(f"{ANALYZER}/analyses/findings/rules.py", "    for rule in (\n")
COMMANDS = Table(f"{ANALYZER}/cli/__init__.py", "for _name, _place in (\n")
MEASURES = Table(
    f"{ANALYZER}/analyses/budgets/measures.py", "MEASURES: Final[Mapping[str, Measure]] = {\n"
)

WALKS = {
    "Add a provider": PROVIDERS,
    "Add a cache span": HOOKS,
    "Add a reader": READERS,
    "Add a finding": RULES,
    "Add an output of the report": COMMANDS,
    "Add a budget": MEASURES,
}

IMPORTS = {
    HOOKS: ("from causepath.hooks import claude_agent, mcp\n", "from causepath.hooks import {}\n"),
    RULES: ("from causepath_analyzer.analyses.findings import (\n", "    {},\n"),
}
"""Tables whose rows need an import: the line that it follows, and the import of the file."""


def walk(heading: str) -> str:
    """Finds the text of one walk."""
    found = re.search(rf"^## {heading}.*?\n(.*?)^## ", CONTRIBUTING, re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return found[1]


def steps(heading: str) -> tuple[dict[str, str], str, str]:
    """Reads a walk: the files that it writes, the code for the file of its table, and the row."""
    text = walk(heading)
    named = re.findall(r"[Ww]rite `((?:analyzer/)?src/\S+\.py)`", text)
    blocks = re.findall(r"^   ```python\n(.*?)^   ```$", text, re.MULTILINE | re.DOTALL)
    code = [dedent(block) for block in blocks]
    row = re.search(r"[Aa]dd `([^`]+)`", text)
    assert row is not None, heading
    assert len(code) == max(1, len(named)), heading
    return dict(zip(named, code, strict=False)), "" if named else code[0], row[1].rstrip(",")


def done(heading: str, copy: Path) -> None:
    files, beside, row = steps(heading)
    table = WALKS[heading]
    for name, code in files.items():
        assert not (copy / name).exists()
        (copy / name).write_text(code)
    path = copy / table.file
    text = put_after(path.read_text(), table.line, f"{row},\n")
    if table in IMPORTS:
        (file,) = files
        line, statement = IMPORTS[table]
        text = put_after(text, line, statement.format(Path(file).stem))
    if beside:
        text = text.replace(table.line, f"{beside}\n\n{table.line}")
    path.write_text(text)


def put_after(text: str, line: str, more: str) -> str:
    assert text.count(line) == 1, line
    return text.replace(line, line + more)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of both packages, in which every walk has been done."""
    folder = tmp_path_factory.mktemp("copy")
    for package in (ANALYZER, PLUGIN):
        shutil.copytree(
            ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    for heading in WALKS:
        done(heading, folder)
    return folder


@pytest.mark.parametrize("heading", WALKS)
def test_a_walk_is_a_few_files_and_a_row(heading: str) -> None:
    files, beside, row = steps(heading)
    assert len(files) + bool(beside) <= MOST_FILES
    assert "\n" not in row


def python(copy: Path, program: str, folder: Path, **variables: str) -> str:
    """Runs a program with the copy of the packages, and gives what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={
            **plain_environment(**variables),
            "PYTHONPATH": os.pathsep.join(
                str((copy / package).parent) for package in (ANALYZER, PLUGIN)
            ),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# -- the analyzer

CUT_OFF = {
    "traceId": "1" * 32,
    "spanId": "2" * 16,
    "name": "chat m",
    "startTimeUnixNano": "1",
    "endTimeUnixNano": "1000000001",
    "status": {"code": 2},
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
ECHO = {
    "echo_run": "ab" * 16,
    "id": "cd" * 8,
    "model": "parrot",
    "begin_ms": 1_700_000_000_000,
    "end_ms": 1_700_000_002_500,
    "tokens": [3, 5],
}
COMMANDS_TYPED = {
    "explain": "explain cp505",
    "finding": "t.json --json",
    "ignored": "t.json --json --ignore CP5",
    "report": "t.json",
    "reader": "echo.log --json",
    "damaged": "damaged.log --json",
    "brief": "brief t.json",
    "brief of echo": "brief echo.log",
    "kept": "check t.json --max calls.failed=1 --json",
    "broken": "check t.json --max calls.failed=0 --json",
}
SAY_ALL = """
import contextlib, io, json, sys
import causepath_analyzer
from causepath_analyzer.cli import invoke
told = {}
for name, arguments in COMMANDS.items():
    printed = io.StringIO()
    printed.buffer = io.BytesIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        status = invoke(arguments.split())
    told[name] = status, printed.getvalue() + printed.buffer.getvalue().decode()
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """What the analyzer with all walks says to each command, asked in one process."""
    folder = tmp_path_factory.mktemp("told")
    spans = {"resourceSpans": [{"scopeSpans": [{"spans": [CUT_OFF]}]}]}
    (folder / "t.json").write_text(json.dumps(spans))
    (folder / "echo.log").write_text(json.dumps(ECHO) + "\n")
    lines = [ECHO, ECHO | {"tokens": "many"}]
    (folder / "damaged.log").write_text("".join(json.dumps(line) + "\n" for line in lines))
    program = f"COMMANDS = {COMMANDS_TYPED!r}\n{SAY_ALL}"
    said: dict[str, tuple[int, str]] = json.loads(python(copy, program, folder))
    return said


def only(told: dict[str, tuple[int, str]], command: str) -> dict[str, Any]:
    (trace,) = json.loads(told[command][1])["traces"]
    found: dict[str, Any] = trace
    return found


def test_a_finding(told: dict[str, tuple[int, str]]) -> None:
    assert told["explain"][1].startswith("CP505  A reply was cut off\n")
    (finding,) = only(told, "finding")["findings"]
    said = [finding[name] for name in ("code", "saving_ns", "saving_tokens", "evidence")]
    assert said == ["CP505", None, 70, "proved"]
    assert only(told, "ignored")["findings"] == []
    assert "70 tok" in told["report"][1]


def test_a_reader(told: dict[str, tuple[int, str]]) -> None:
    trace = only(told, "reader")
    assert [trace["name"], trace["wall_ns"], trace["calls"]] == [
        "chat parrot",
        2_500_000_000,
        {"llm": 1, "tool": 0},
    ]
    assert [trace["tokens"]["input"], trace["tokens"]["output"]] == [3, 5]
    (read,) = json.loads(told["reader"][1])["inputs"]
    assert read["format"] == "echo"
    (read,) = json.loads(told["damaged"][1])["inputs"]
    assert [read["spans"], read["skipped_total"]] == [1, 1]
    assert "looks like a call of Echo, but is damaged" in str(read)


def test_an_output_of_the_report(told: dict[str, tuple[int, str]]) -> None:
    assert told["brief"] == [0, "chat m: 1.00s, raise the limit of a reply that was cut off\n"]
    assert told["brief of echo"] == [0, "chat parrot: 2.50s, nothing to do\n"]


def test_a_budget(told: dict[str, tuple[int, str]]) -> None:
    for command, status, verdict in (("kept", 0, "pass"), ("broken", 1, "fail")):
        assert told[command][0] == status
        (budget,) = json.loads(told[command][1])["budgets"]
        assert [budget["name"], budget["verdict"]] == ["calls.failed", verdict]


# -- the plugin

ECHO_SDK = """
class Client:
    def ask(self, model, text):
        return {"text": text.upper(), "read": 3, "written": 5}
"""
ECHO_CACHE = """
class Cache:
    def __init__(self):
        self.kept = {}

    def get(self, key):
        return self.kept.get(key)
"""
AGENT = """
import causepath
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
causepath.instrument(provider)

import echo_cache, echo_sdk

cache = echo_cache.Cache()
with causepath.agent("mine"):
    print(cache.get("hello") or echo_sdk.Client().ask("m", "hello")["text"])
cache.get("of no run")
causepath.uninstrument()
cache.get("after its end")
for span in exporter.get_finished_spans():
    about = span.attributes
    tokens = [about.get(f"gen_ai.usage.{which}_tokens") for which in ("input", "output")]
    blocks = [about.get(f"causepath.{which}.blocks", ()) for which in ("input", "output")]
    words = [span.name, about["causepath.category"], span.status.status_code.name]
    print(*words, *tokens, *map(len, blocks))
"""


@pytest.fixture(scope="module")
def traced(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What an agent with the two libraries prints, and its spans."""
    folder = tmp_path_factory.mktemp("traced")
    (folder / "echo_sdk.py").write_text(ECHO_SDK)
    (folder / "echo_cache.py").write_text(ECHO_CACHE)
    return python(copy, AGENT, folder, CAUSEPATH_DIGEST_KEY="tests").splitlines()


def test_a_provider(traced: list[str]) -> None:
    assert traced[0] == "HELLO"
    assert "chat m llm OK 3 5 1 1" in traced


def test_a_cache_span(traced: list[str]) -> None:
    assert traced[1:] == [
        "cache get cache UNSET None None 0 0",
        "chat m llm OK 3 5 1 1",
        "invoke_agent mine agent UNSET None None 0 0",
    ]
