"""What `causepath run` says a program took is what a watch says, and where the time is that no run
had."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from typing import TYPE_CHECKING

import pytest

from tests.support.messages_api import messages_api_process
from tests.support.traced_programs import plain_environment

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

CAUSEPATH = f"{sysconfig.get_path('scripts')}/causepath"

ASK = """
import asyncio, os, time
import anthropic
client = anthropic.Anthropic(base_url=os.environ["API"], api_key="x")

def ask(text):
    messages = [{"role": "user", "content": text}]
    return client.messages.create(model="m", max_tokens=9, messages=messages)

async def ask_async(text):
    async with anthropic.AsyncAnthropic(base_url=os.environ["API"], api_key="x") as one:
        messages = [{"role": "user", "content": text}]
        return await one.messages.create(model="m", max_tokens=9, messages=messages)

"""

PROGRAMS = {
    "one call, and other work around it": "time.sleep(1)\nask('?')\ntime.sleep(1)",
    "calls with pauses between them": "for n in range(3):\n    ask(str(n))\n    time.sleep(0.5)",
    "calls at once": (
        "async def main():\n"
        "    await asyncio.gather(*(ask_async(str(n)) for n in range(4)))\n"
        "    await asyncio.sleep(1)\n"
        "asyncio.run(main())"
    ),
    "an exception": "ask('?')\ntime.sleep(1)\nraise ValueError",
    "a program that is told to end": (
        "import signal\nask('?')\ntime.sleep(1)\nos.kill(os.getpid(), signal.SIGTERM)\n"
        "time.sleep(5)"
    ),
}

WATCHED = 'date +%s%N >&2; "$0" agent.py 2>/dev/null; date +%s%N >&2'


@pytest.mark.parametrize("kind", PROGRAMS)
def test_the_time_of_a_program_is_that_of_a_watch(kind: str, tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(ASK + PROGRAMS[kind])
    with messages_api_process("tests.plugin.scripts:hello") as url:
        done = subprocess.run(
            [CAUSEPATH, "run", "--json", "--", "sh", "-c", WATCHED, sys.executable],
            cwd=tmp_path,
            env=plain_environment(API=url),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    began, ended = (int(line) for line in done.stderr.splitlines() if line.isdecimal())
    program = json.loads(done.stdout)["program"]
    parts = (program[f"{name}_ns"] for name in ("runs", "before", "between", "after"))
    assert sum(parts) == program["wall_ns"]
    assert program["wall_ns"] == pytest.approx(ended - began, rel=0.05)
