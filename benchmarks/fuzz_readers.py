"""Looks for an input that makes a reader raise anything but our own error, guided by coverage.

    python benchmarks/fuzz_readers.py [SECONDS]

Needs `requirements/fuzz.txt`. Starts from one small trace in every format. An input that breaks
something is left in the folder that the last lines name, and the exit status is not 0.
"""

import contextlib
import io
import sys
import tempfile
from pathlib import Path

import atheris

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

with atheris.instrument_imports(include=["causepath_analyzer"]):
    from causepath_analyzer.analyses.run import explained
    from causepath_analyzer.errors import CausepathError
    from causepath_analyzer.read import Options, SpansByTrace, read_stream, traces
    from causepath_analyzer.read.source import unpacked

from tests.analyzer.read.test_damage import ALL  # noqa: E402 - found from the root

SECONDS = 600
OPTIONS = Options(max_bytes=10_000_000)


def read_one(data: bytes) -> None:
    """Reads `data` and goes through what comes out. Our own errors are answers."""
    spans: SpansByTrace = {}
    stream = unpacked(io.BufferedReader(io.BytesIO(data)), OPTIONS.max_bytes)
    entry = read_stream("f", stream, spans, None, OPTIONS)
    with contextlib.suppress(CausepathError):
        for trace in traces([entry], spans).traces:
            explained(trace)


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    folder = Path(tempfile.mkdtemp(prefix="fuzz-readers-"))
    seeds = folder / "seeds"
    seeds.mkdir()
    for name, data in ALL.items():
        (seeds / name.replace(" ", "-")).write_bytes(data)
    atheris.Setup(
        [
            sys.argv[0],
            str(seeds),
            f"-max_total_time={seconds}",
            "-max_len=16384",
            "-timeout=30",
            "-rss_limit_mb=4096",
            "-print_final_stats=1",
            f"-artifact_prefix={folder}/",
        ],
        read_one,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
