"""Looks for an input that makes a reader raise anything but our own error, guided by coverage.

    python benchmarks/fuzz_readers.py [SECONDS]

Needs `requirements/fuzz.txt`. Starts from one small trace in every format, from the recordings of
real emitters and, where it is there, from the corpus. Half of the changes are those of libFuzzer,
on bytes; the other half are made inside the JSON: fields dropped, doubled, of another type, or
taken from another document. An input that breaks something is left in the folder that the last
lines name, and the exit status is not 0.
"""

import contextlib
import io
import json
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import atheris

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

with atheris.instrument_imports(include=["causepath_analyzer"]):
    from causepath_analyzer.analyses.run import explained
    from causepath_analyzer.errors import CausepathError
    from causepath_analyzer.read import Options, SpansByTrace, read_stream, traces
    from causepath_analyzer.read.input.source import unpacked

from tests.analyzer.corpus import FOLDER  # noqa: E402 - found from the root
from tests.analyzer.read.test_damage import ALL, VALUES, documents_in, places  # noqa: E402

SECONDS = 600
LONGEST = 32_768
OPTIONS = Options(max_bytes=10_000_000)


def read_one(data: bytes) -> None:
    """Reads `data` and goes through what comes out. Our own errors are answers."""
    spans: SpansByTrace = {}
    stream = unpacked(io.BufferedReader(io.BytesIO(data)), OPTIONS.max_bytes)
    entry = read_stream("f", stream, spans, None, OPTIONS)
    with contextlib.suppress(CausepathError):
        for trace in traces([entry], spans).traces:
            explained(trace)


def seeds() -> Iterator[tuple[str, bytes]]:
    """Names and bytes to start from; of the files only the small ones, which are tried often."""
    for name, data in ALL.items():
        yield name.replace(" ", "-"), data
    recorded = ROOT / "tests" / "analyzer" / "recorded"
    for folder in (recorded, FOLDER):
        for file in sorted(folder.rglob("*.*")):
            if file.is_file() and file.stat().st_size <= LONGEST:
                yield file.name, file.read_bytes()


def mutated(data: bytes, most: int, seed: int) -> bytes:
    """`data` changed in its bytes or, where it is JSON, in a value."""
    chance = random.Random(seed)
    if chance.random() < 0.5:
        documents = documents_in(data.decode("utf-8", "replace"))
        found = list(places(documents))
        if found:
            for _ in range(chance.randint(1, 3)):
                _change(*chance.choice(found), chance)
            changed = b"\n".join(json.dumps(one).encode() for one in documents)
            if len(changed) <= most:
                return changed
    return bytes(atheris.Mutate(data, most))


def _change(owner: Any, key: Any, chance: random.Random) -> None:
    with contextlib.suppress(KeyError, IndexError):  # changed before
        match chance.randrange(5):
            case 0:
                del owner[key]
            case 1:
                owner[key] = [owner[key], owner[key]]
            case 2:
                _, value = chance.choice(POOL)
                owner[key] = value
            case _:
                owner[key] = chance.choice(VALUES)


POOL: list[tuple[Any, Any]] = []
"""Names and values of all seeds."""


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    folder = Path(tempfile.mkdtemp(prefix="fuzz-readers-"))
    corpus = folder / "seeds"
    corpus.mkdir()
    for name, data in seeds():
        (corpus / name).write_bytes(data)
        for owner, key in places(documents_in(data.decode("utf-8", "replace"))):
            value = json.dumps(owner[key])
            if len(value) < 400:
                POOL.append((key, json.loads(value)))
    atheris.Setup(
        [
            sys.argv[0],
            str(corpus),
            f"-max_total_time={seconds}",
            f"-max_len={LONGEST}",
            "-timeout=30",
            "-rss_limit_mb=4096",
            "-print_final_stats=1",
            f"-artifact_prefix={folder}/",
        ],
        read_one,
        custom_mutator=mutated,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
