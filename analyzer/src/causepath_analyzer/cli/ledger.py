"""Files that predictions are kept in: one of their own each, and a ledger of how they came out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from causepath_analyzer.analyses.predictions.prediction import (
    LEDGER_SCHEMA,
    PREDICTION_SCHEMA,
    Entry,
    Prediction,
)
from causepath_analyzer.errors import UnreadableInputError, UsageError

_HEAD: Final = 200
LEDGER: Final = Path(".causepath") / "ledger.jsonl"


class _AnySchema(Struct):
    schema: str | None = None


def read_prediction(path: str) -> Prediction:
    """The prediction in the file `path`. Raises `UnreadableInputError` if it is none."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UnreadableInputError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        schema = msgspec.json.decode(data, type=_AnySchema).schema
        if schema == PREDICTION_SCHEMA:
            return msgspec.json.decode(data, type=Prediction)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableInputError(
            f"{path}: no prediction of `causepath whatif --save`: {error}"
        ) from None
    what = f"its schema is {schema}" if schema else "it names no schema"
    raise UnreadableInputError(f"{path}: {what}, a prediction has {PREDICTION_SCHEMA}")


def predictions_beside(paths: Sequence[str]) -> list[tuple[str, Prediction]]:
    """Finds the predictions in the folders that the traces of `paths` are in, and here."""
    folders = dict.fromkeys([*(Path(path).parent for path in paths), Path()])
    found: dict[Path, tuple[str, Prediction]] = {}
    for folder in folders:
        for file in sorted(folder.glob("*.json")):
            if file.resolve() not in found and _begins_as_prediction(file):
                try:
                    found[file.resolve()] = (str(file), read_prediction(str(file)))
                except UnreadableInputError:
                    continue  # damaged: nobody has named it
    return list(found.values())


def _begins_as_prediction(file: Path) -> bool:
    """Tells by the first bytes, as traces are large."""
    try:
        with file.open("rb") as opened:
            return PREDICTION_SCHEMA.encode() in opened.read(_HEAD)
    except OSError:
        return False


def ledger() -> list[Entry]:
    """Reads what was verified here before, oldest first; lines that are damaged count for
    nothing."""
    try:
        lines = LEDGER.read_bytes().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            one = msgspec.json.decode(line, type=Entry)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if one.schema == LEDGER_SCHEMA:
            found.append(one)
    return found


def remember(one: Entry) -> None:
    """Adds `one` to the ledger; the same prediction with the same outcome is there once."""
    same = (
        e
        for e in ledger()
        if (e.edits, e.predicted_saving_ns, e.measured_saving_ns)
        == (one.edits, one.predicted_saving_ns, one.measured_saving_ns)
    )
    if next(same, None) is not None:
        return
    try:
        LEDGER.parent.mkdir(exist_ok=True)
        with LEDGER.open("ab") as file:
            file.write(msgspec.json.encode(one) + b"\n")
    except OSError as error:
        raise UsageError(f"{LEDGER}: cannot be written: {error.strerror}") from None
