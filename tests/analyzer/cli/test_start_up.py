"""What a short command does not wait for: modules that it needs nothing of."""

import os
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

from causepath_analyzer.cli.deferred import RELEASES, defer

RECORDED = Path(__file__).parents[1] / "recorded" / "causepath.jsonl"
NOT_NEEDED = {
    "asyncio.events",
    "httpx2._client",
    *(("pydantic_core",) if version("genai-prices") in RELEASES else ()),
    "ssl",
    "subprocess",
    "tomllib",
    "google.protobuf",
    "zstandard",
    "opentelemetry",
    "causepath_analyzer.api",
    "causepath_analyzer.cli.whatif",
    "causepath_analyzer.jobs.messages",
    "causepath_analyzer.jobs.team",
    "causepath_analyzer.read.formats.jaeger_json",
    "causepath_analyzer.read.formats.zipkin",
    "causepath_analyzer.read.input.servers",
}


def test_a_report_on_one_file_waits_for_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "causepath_analyzer", RECORDED],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "CAUSEPATH"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert {"genai_prices.data", "causepath_analyzer.report.run_text"} <= imported
    assert imported & NOT_NEEDED == set()
    assert "by genai-prices" in done.stdout


@pytest.mark.parametrize(
    "use",
    [
        lambda name: import_module(name).VALUE,
        lambda name: import_module(f"{name}.part").__package__ and import_module(name).VALUE,
    ],
    ids=["an attribute", "a part"],
)
def test_a_deferred_module_is_imported_when_it_is_used(
    use: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "imported_late"
    package = tmp_path / name
    package.mkdir()
    package.joinpath("__init__.py").write_text("VALUE = 1\n")
    package.joinpath("part.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    for one in (name, f"{name}.part"):  # taken away again at the end
        monkeypatch.setitem(sys.modules, one, ModuleType(one))
        del sys.modules[one]
    defer(name)
    held = import_module(name)
    assert vars(held).get("VALUE") is None
    assert use(name) == 1  # type: ignore[operator]
    assert (held.VALUE, vars(sys.modules[name])["VALUE"]) == (1, 1)
    real = sys.modules[name]
    defer(name)
    assert sys.modules[name] is real


def test_what_is_not_there_is_not_deferred() -> None:
    defer("no_such_module")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        import_module("no_such_module")


PRICES = """
import hashlib, sys
from datetime import UTC, datetime
if sys.argv[1] == "deferred":
    from causepath_analyzer.cli.deferred import defer_all
    defer_all()
from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot
used = Usage(input_tokens=300_000, output_tokens=900, cache_read_tokens=7_000)
at = datetime(2026, 11, 28, 9, tzinfo=UTC)
told = []
for provider in get_snapshot().providers:
    for model in provider.models:
        try:
            found = calc_price(
                used, model.id, provider_id=provider.id, genai_request_timestamp=at
            ).total_price
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
        told.append(f"{provider.id} {model.id} {found}")
digest = hashlib.sha256("|".join(told).encode()).hexdigest()
print("pydantic_core" in sys.modules, len(told) > 100, digest)
"""


def test_the_table_of_prices_needs_nothing_that_is_deferred() -> None:
    """Each price is that of a process that has imported everything."""
    told = [
        subprocess.run(
            [sys.executable, "-c", PRICES, how],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.split()
        for how in ("whole", "deferred")
    ]
    whole, deferred = told
    assert whole[:2] == ["True", "True"]
    assert deferred == [str(version("genai-prices") not in RELEASES), *whole[1:]]
