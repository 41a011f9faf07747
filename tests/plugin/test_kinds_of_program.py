"""Kinds of program and environment that nobody thinks of: each writes its spans, or says why not.

More are in `test_nothing_to_see.py` (settings), `test_endings.py` (ends that are not meant),
`test_hosts.py` (forks, pools, signals), `test_runs.py` (chains), `test_ways_in.py`, and
`tests/examples/test_gallery.py` (servers, workers, frameworks). `make test-pythons` runs this.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.support.messages_api import messages_api_process
from tests.support.traced_programs import plain_environment, spans_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(180)]

SECONDS = 120

CALL = """
import os
import anthropic
client = anthropic.Anthropic(base_url=os.environ["API"], api_key="x")
client.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "?"}])
"""

ASYNC = """
import asyncio, os
import anthropic

async def main():
    async with anthropic.AsyncAnthropic(base_url=os.environ["API"], api_key="x") as client:
        await client.messages.create(
            model="m", max_tokens=9, messages=[{"role": "user", "content": "?"}]
        )

"""

RAW = """
import json, os, urllib.request
data = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "?"}]}
request = urllib.request.Request(os.environ["API"] + "/v1/messages", json.dumps(data).encode())
request.add_header("content-type", "application/json")
for name in ("x-api-key", "anthropic-version"):
    request.add_header(name, "2023-06-01")
urllib.request.urlopen(request).read()
"""

WRITTEN = "causepath: {count} written to {file}"
NO_SDK = (
    "causepath: no model call was seen: none of anthropic, openai and google.genai was imported. "
    "Calls over HTTP are not seen: declare them with @causepath.agent and @causepath.tool"
)
TWO = {"chat m": 1, "invoke_agent": 1}


class Kind(NamedTuple):
    """A program, how it is started, and what is written and said."""

    program: str
    command: tuple[str, ...] = ("agent.py",)
    spans: Mapping[str, int] = TWO
    said: tuple[str, ...] = (WRITTEN,)
    status: int = 0
    variables: Mapping[str, str] = {}


KINDS: dict[str, Kind] = {
    "a script": Kind(CALL),
    "a module": Kind(CALL, ("-m", "agent")),
    "a package": Kind(CALL, ("-m", "package"), {"chat m": 1, "invoke_agent package": 1}),
    "a zip application": Kind(CALL, ("agent.pyz",)),
    "a command": Kind("", ("-c", CALL)),
    "a program on standard input": Kind(CALL, ("-",)),
    "isolated": Kind(CALL, ("-I", "agent.py")),
    "without the environment of Python": Kind(CALL, ("-E", "agent.py")),
    "without docstrings and assertions": Kind(CALL, ("-OO", "agent.py")),
    "warnings are errors": Kind(CALL, ("-W", "error::ResourceWarning", "agent.py")),
    "development mode": Kind(CALL, ("-X", "dev", "agent.py")),
    "unbuffered": Kind(CALL, ("-u", "agent.py")),
    "a locale without UTF-8": Kind(CALL, variables={"LC_ALL": "C", "PYTHONUTF8": "0"}),
    "no home": Kind(CALL, variables={"HOME": "", "XDG_STATE_HOME": ""}),
    "no site packages": Kind("print('hello')", ("-S", "agent.py"), {}, ()),
    "an exit status": Kind(CALL + "raise SystemExit(3)", status=3),
    "an exit status before any call": Kind(
        "raise SystemExit(3)", spans={}, said=(NO_SDK,), status=3
    ),
    "raw HTTP": Kind(RAW, spans={}, said=(NO_SDK,)),
    "standard error is closed": Kind("import os\nos.close(2)\n" + CALL, said=()),
    "standard error is None": Kind("import sys\nsys.stderr = None\n" + CALL, said=()),
    "another folder": Kind("import os, tempfile\nos.chdir(tempfile.gettempdir())\n" + CALL),
    "a folder that is gone": Kind(
        "import os, tempfile\nos.chdir(folder := tempfile.mkdtemp())\nos.rmdir(folder)\n" + CALL
    ),
    "a file in a folder that is not there": Kind(
        CALL,
        spans={},
        said=("causepath: 2 spans could not be written to {file}: ",),
        variables={"CAUSEPATH_FILE": "gone/t.jsonl"},
    ),
    "another file": Kind(CALL, variables={"CAUSEPATH_FILE": "other.jsonl"}),
    "asyncio": Kind(ASYNC + "asyncio.run(main())"),
    "anyio on asyncio": Kind(ASYNC + "import anyio\nanyio.run(main)"),
    "a loop of its own": Kind(ASYNC + "asyncio.new_event_loop().run_until_complete(main())"),
    "two loops, one after the other": Kind(
        ASYNC + "asyncio.run(main())\nasyncio.run(main())", spans={"chat m": 2, "invoke_agent": 2}
    ),
    "a thread": Kind(
        "import threading\ndef agent():\n"
        + CALL.replace("\n", "\n    ")
        + "\nthread = threading.Thread(target=agent)\nthread.start()\nthread.join()"
    ),
    "a thread that outlives the main one": Kind(
        "import threading\ndef agent():\n"
        + CALL.replace("\n", "\n    ")
        + "\nthreading.Thread(target=agent).start()"
    ),
    "a process that is spawned": Kind(
        "import multiprocessing\ndef agent():\n"
        + CALL.replace("\n", "\n    ")
        + "\nif __name__ == '__main__':\n"
        "    process = multiprocessing.get_context('spawn').Process(target=agent)\n"
        "    process.start()\n    process.join()",
        said=(),
    ),
    "a program that becomes another one": Kind(
        "import os, sys\nos.execv(sys.executable, [sys.executable, '-c', " + repr(CALL) + "])"
    ),
    "a program that is executed by another one": Kind(
        "import runpy\nopen('inner.py', 'w').write(" + repr(CALL) + ")\nrunpy.run_path('inner.py')"
    ),
    "an exception that somebody prints himself": Kind(
        "import sys\nsys.excepthook = lambda *_: print('oh')\n" + CALL + "raise ValueError",
        status=1,
    ),
    "a function at the exit": Kind(
        "import atexit\n@atexit.register\ndef agent():\n" + CALL.replace("\n", "\n    ")
    ),
    "SIGTERM that is handled": Kind(
        "import os, signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
        + CALL
        + "os.kill(os.getpid(), signal.SIGTERM)\nsignal.pause()"
    ),
    "SIGTERM": Kind(
        CALL + "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\nsignal.pause()", status=-15
    ),
    "SIGINT": Kind(
        "import os, signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        + CALL
        + "os.kill(os.getpid(), signal.SIGINT)\nsignal.pause()",
        status=-2,
    ),
}


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    with messages_api_process("tests.plugin.scripts:hello") as url:
        yield url


@pytest.mark.parametrize("kind", KINDS)
def test_a_program_writes_its_spans_or_says_why_not(kind: str, tmp_path: Path, api: str) -> None:
    one = KINDS[kind]
    (tmp_path / "agent.py").write_text(one.program)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__main__.py").write_text(one.program)
    with zipfile.ZipFile(tmp_path / "agent.pyz", "w") as archive:
        archive.writestr("__main__.py", one.program)
    done = subprocess.run(
        [sys.executable, *one.command],
        cwd=tmp_path,
        env=plain_environment(API=api, CAUSEPATH="1", **one.variables),
        input=one.program if one.command == ("-",) else "",
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == one.status, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("causepath: ")]
    file = tmp_path / one.variables.get("CAUSEPATH_FILE", "causepath-traces.jsonl")
    found = [span["name"].removesuffix(" agent") for span in spans_in(file)]
    assert Counter(name.partition(" -")[0] for name in found) == one.spans
    said = [text.format(count=f"{len(found)} spans", file=file) for text in one.said]
    assert [line.startswith(text) for line, text in zip(lines, said, strict=True)] == [
        True for _ in said
    ]
    assert file.exists() == bool(found)
