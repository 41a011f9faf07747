"""Files that baselines are kept in."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from causepath_analyzer.analyses.budgets.baseline import (
    BASELINE_SCHEMA,
    Baseline,
    baseline,
)
from causepath_analyzer.analyses.budgets.measures import Sample
from causepath_analyzer.cli.output import write
from causepath_analyzer.errors import UnreadableInputError, UsageError

FOLDER: Final = Path(".causepath") / "baselines"


class _AnySchema(Struct):
    schema: str | None = None


def baseline_file(named: str) -> Path:
    """Finds the file of a baseline: a path, or a name for one in the folder of baselines."""
    is_path = "/" in named or "\\" in named or named.endswith(".json")
    return Path(named) if is_path else FOLDER / f"{named}.json"


def read_baseline(named: str) -> Baseline:
    """Reads a baseline. Raises `UnreadableInputError` for what is none."""
    path = baseline_file(named)
    try:
        data = path.read_bytes()
    except OSError as error:
        there_is = ", ".join(sorted(one.stem for one in FOLDER.glob("*.json")))
        hint = f"; there is {there_is}" if there_is else ""
        raise UnreadableInputError(
            f"{path}: cannot be read: {error.strerror}{hint}; "
            "`causepath check --save-baseline` makes one"
        ) from None
    try:
        schema = msgspec.json.decode(data, type=_AnySchema).schema
        if schema == BASELINE_SCHEMA:
            return msgspec.json.decode(data, type=Baseline)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableInputError(f"{path}: no baseline of `causepath check`: {error}") from None
    what = f"its schema is {schema}" if schema else "it names no schema"
    raise UnreadableInputError(f"{path}: {what}, a baseline has {BASELINE_SCHEMA}")


def save_baseline(named: str, samples: Sequence[Sample]) -> Path:
    """Writes `samples` as the baseline `named`, and says where. Raises `UsageError`."""
    path = baseline_file(named)
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{path.parent}: cannot be made: {error.strerror}") from None
    write(msgspec.json.encode(baseline(samples, made_at)) + b"\n", str(path))
    return path
