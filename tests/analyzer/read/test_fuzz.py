"""Ten minutes of looking for an input that breaks a reader, guided by coverage."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "fuzz_readers.py"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="no atheris: make fuzz installs it for Python 3.11",
)
def test_no_input_found_that_breaks_a_reader() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True)
    # What was raised stands in the output, where it was in the other.
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
