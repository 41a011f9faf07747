"""A torn line costs itself, and nothing that stands beside it."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causepath_analyzer.model import Skipped
from tests.analyzer.read import samples
from tests.analyzer.read.samples import text
from tests.analyzer.read.test_formats import spans_of

LINES = [
    text({"resourceSpans": [{"scopeSpans": [{"spans": [samples.otlp_span(span)]}]}]})
    for span in samples.NAMES
]
A, B, C, D, E = LINES
CUT = "cut off: the JSON that starts here never ends"
HALF = 80


def read(data: bytes) -> tuple[str, list[str]]:
    """Which of the lines were read, and what was told to be lost, as line and reason."""
    spans, entry = spans_of(data)
    names = dict(zip(samples.NAMES, "ABCDE", strict=True))
    told = [f"{s.where.removeprefix('line ')} {s.why.partition(' ')[0]}" for s in entry.skipped]
    return "".join(sorted(names[span.span_id] for span in spans)), told


def lines(*parts: bytes) -> bytes:
    return b"\n".join(parts)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(lines(A, B, C, D, E[:HALF]), ("ABCD", ["5 cut"]), id="the last line"),
        pytest.param(lines(A, B, C[:HALF], D, E), ("ABDE", ["3 cut"]), id="in the middle"),
        pytest.param(lines(A[:HALF], B, C, D, E), ("BCDE", ["1 cut"]), id="the first line"),
        pytest.param(lines(A, B, C[HALF:], D, E), ("ABDE", ["3 not"]), id="an end without a head"),
        pytest.param(lines(A, B, C[:HALF] + D, E), ("ABDE", ["3 not"]), id="half, and the next"),
        pytest.param(lines(A, B, C[HALF:] + D, E), ("ABDE", ["3 not"]), id="an end, and the next"),
        pytest.param(lines(A, B, C[:HALF] + D + E), ("ABDE", ["3 not"]), id="half, and two more"),
        pytest.param(lines(A, B, C + D, E), ("ABCDE", []), id="no end of a line between two"),
        pytest.param(A + B + C + D + E, ("ABCDE", []), id="no end of any line"),
        pytest.param(
            lines(A, B[:HALF], B[HALF:], C, D), ("ACD", ["2 cut", "3 not"]), id="broken in two"
        ),
        pytest.param(lines(A, bytes(512), B, C), ("ABC", ["2 not"]), id="a hole of zeros"),
        pytest.param(b"[" + b",".join(LINES), ("ABCDE", []), id="a list that never ends"),
        pytest.param(
            b"[" + b",\n".join([*LINES[:4], E[:HALF]]), ("ABCD", ["5 cut"]), id="a list cut off"
        ),
        pytest.param(b"[" + b",".join(LINES)[:-HALF], ("ABCD", ["1 cut"]), id="on one line"),
    ],
)
def test_what_is_whole_is_read(data: bytes, expected: tuple[str, list[str]]) -> None:
    assert read(data) == expected


@settings(max_examples=200, deadline=None)
@given(torn=st.integers(0, 4), at=st.integers(0, 1000), glue=st.booleans())
def test_wherever_a_line_is_torn(torn: int, at: int, glue: bool) -> None:
    parts = [*LINES]
    parts[torn] = parts[torn][: 1 + at % (len(parts[torn]) - 2)]
    if glue and torn < 4:
        parts[torn : torn + 2] = [parts[torn] + parts[torn + 1]]
    found, told = read(lines(*parts))
    assert found == "ABCDE".replace("ABCDE"[torn], "")
    assert len(told) == 1


@pytest.mark.parametrize("name", samples.SESSIONS)
def test_an_unfinished_last_line_of_a_session(name: str) -> None:
    data = samples.SAMPLES[name]
    spans, entry = spans_of(data + b"\n" + data[:60])
    assert len(spans) == len(spans_of(data)[0])
    assert [type(s) for s in entry.skipped] == [Skipped]


def test_an_unfinished_last_line_is_told_and_no_reason_to_be_inconclusive(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_bytes(lines(A, B, C, D, E[:HALF]))
    done = subprocess.run(
        [sys.executable, "-m", "causepath_analyzer", "check", str(file), "--max", "wall=5s"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert done.stderr == f"causepath: {file}:5: {CUT}\n"
    assert "PASS" in done.stdout
