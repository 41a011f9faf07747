"""Real traces of others, where they are at hand: beside the repository, never inside it."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "shared" / "corpus"


def corpus(name: str) -> Path:
    """The corpus file `name`; the test is skipped where the corpus is not there."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip("the corpus of real traces is not beside the repository")
    return path
