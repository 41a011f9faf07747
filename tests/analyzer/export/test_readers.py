"""Exported files opened by the programs they are for: speedscope's importer, Polars and Arrow.

Perfetto's own trace processor is in no package; its JSON is read by speedscope, which knows it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from causepath_analyzer.cli import invoke
from tests.analyzer.read.samples import SAMPLES

pytestmark = pytest.mark.formats

SUPPORT = Path(__file__).parents[2] / "support"
SPEEDSCOPE = Path(sys.prefix) / "speedscope" / "package"
RECORDED = sorted((Path(__file__).parents[1] / "recorded").glob("*.jsonl"))


def exported(path: Path, to: str, folder: Path) -> Path:
    out = folder / f"run.{to}"
    assert invoke(["export", str(path), "--to", to, "-o", str(out)]) == 0
    return out


def imported(path: Path) -> list[dict[str, Any]]:
    """The profiles that speedscope finds in `path`. It complains of nothing."""
    done = subprocess.run(
        ["node", SUPPORT / "speedscope_import.cjs", SPEEDSCOPE, path],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": os.environ["PATH"]},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    first, _, profiles = done.stdout.partition("\n")
    assert first.startswith("Importing as ")
    return list(json.loads(profiles))


def wall_of(path: Path, folder: Path) -> int:
    out = folder / "report.json"
    assert invoke([str(path), "--json", "-o", str(out)]) == 0
    (trace,) = json.loads(out.read_text())["traces"]
    return int(trace["wall_ns"])


@pytest.mark.parametrize("path", RECORDED, ids=lambda p: p.stem)
def test_speedscope(path: Path, tmp_path: Path) -> None:
    profiles = imported(exported(path, "speedscope", tmp_path))
    assert profiles[0]["name"].endswith(": critical path")
    assert sum(profiles[0]["weights"].values()) == wall_of(path, tmp_path)
    assert all(len(p["events"]) % 2 == 0 for p in profiles)


@pytest.mark.parametrize("path", RECORDED, ids=lambda p: p.stem)
def test_folded(path: Path, tmp_path: Path) -> None:
    (profile,) = imported(exported(path, "folded", tmp_path))
    assert profile["total"] == sum(profile["weights"].values()) == wall_of(path, tmp_path)


@pytest.mark.parametrize("path", RECORDED, ids=lambda p: p.stem)
def test_perfetto(path: Path, tmp_path: Path) -> None:
    profiles = imported(exported(path, "perfetto", tmp_path))
    assert "critical path" in profiles[0]["name"]
    spans = [event for p in profiles[1:] for event in p["events"] if event[0] == "O"]
    table = exported(path, "csv", tmp_path).read_text().splitlines()
    assert len(spans) == len(table) - 1


@pytest.mark.parametrize("path", RECORDED, ids=lambda p: p.stem)
def test_csv_and_parquet_say_the_same(path: Path, tmp_path: Path) -> None:
    import polars
    from pyarrow import parquet

    names = ["name", "start_ns", "end_ns", "on_path", "path_ns", "model", "input_tokens", "tool"]
    csv = polars.read_csv(exported(path, "csv", tmp_path)).select(names).rows()
    file = exported(path, "parquet", tmp_path)
    assert polars.read_parquet(file).select(names).rows() == csv
    arrow = parquet.read_table(file)
    assert [tuple(row.values()) for row in arrow.select(names).to_pylist()] == csv
    assert str(arrow.schema.field("path_ns").type) == "int64"
    assert str(arrow.schema.field("on_path").type) == "bool"
    assert 0 < sum(arrow.column("path_ns").to_pylist()) <= wall_of(path, tmp_path)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_format_of_traces_becomes_a_timeline(name: str, tmp_path: Path) -> None:
    path = tmp_path / "sample"
    path.write_bytes(SAMPLES[name])
    for to in ("speedscope", "perfetto", "folded"):
        assert imported(exported(path, to, tmp_path))
