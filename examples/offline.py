"""How the examples are started: their command line, and a scripted model where no real one is.

python examples/offline.py COMMAND    runs a command with the scripted model of the frameworks
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Options:
    """What the command line asked for."""

    question: str
    live: bool
    together: bool


@dataclass(frozen=True)
class Connection:
    """Where the model is. Without a `base_url` it is where the SDK looks by itself."""

    base_url: str | None
    key: str


def arguments(argv: Sequence[str] | None, *, default_question: str) -> Options:
    """The options of an example agent; ends the program where they are wrong."""
    parser = argparse.ArgumentParser(description="A research agent with four tools.")
    parser.add_argument("question", nargs="?", default=default_question)
    parser.add_argument(
        "--live", action="store_true", help="ask the real API; needs ANTHROPIC_API_KEY"
    )
    parser.add_argument(
        "--together", action="store_true", help="run the tools of one reply at the same time"
    )
    options = Options(**vars(parser.parse_args(argv)))
    if options.live and not os.environ.get("ANTHROPIC_API_KEY"):
        parser.error("--live needs an API key in the environment variable ANTHROPIC_API_KEY")
    if not options.live and options.question != default_question:
        print(
            "Offline the model is scripted and answers only its own question; see --live.",
            file=sys.stderr,
        )
    return options


@contextlib.contextmanager
def connection(*, live: bool) -> Iterator[Connection]:
    """The real API, or a stand-in in a process of its own that lives as long as the block."""
    if live:
        yield Connection(None, os.environ["ANTHROPIC_API_KEY"])
        return
    with scripted("examples.research_script:next_answer") as url:
        yield Connection(url, "no-key-needed")


@contextlib.contextmanager
def scripted(script: str) -> Iterator[str]:
    """A stand-in that answers as `script` says; gives its address."""
    # The scripts are run from anywhere, so the repository is not on the path yet.
    sys.path.insert(0, str(REPOSITORY))
    from tests.support.messages_api import messages_api_process

    # Where the network is reached through a proxy, this machine is not.
    os.environ["NO_PROXY"] = f"{os.environ.get('NO_PROXY', '')},127.0.0.1".lstrip(",")
    with messages_api_process(script) as url:
        yield url


def main(command: Sequence[str]) -> int:
    """Run a command whose agent asks the scripted model, without a key."""
    with scripted("examples.frameworks.weather_script:next_answer") as url:
        os.environ |= {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "no-key-needed"}
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
