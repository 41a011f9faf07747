"""The wheels as users get them: built, installed into an empty environment, and used."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.programs

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    for project in (ROOT, ROOT / "analyzer"):
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", folder, project)
    return folder


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder, with_pip=True)
    return folder / "bin"


def run(*command: object, **variables: str) -> str:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=300, env=variables or None
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def names(wheels: Path, pattern: str) -> set[str]:
    (wheel,) = wheels.glob(pattern)
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheels_hold_what_they_should(wheels: Path) -> None:
    plugin = names(wheels, "causepath-*.whl")
    assert {"causepath.pth", "causepath.start", "causepath/py.typed"} <= plugin
    assert {name.partition("/")[0] for name in plugin} == {
        "causepath",
        "causepath.pth",
        "causepath.start",
        f"causepath-{version(wheels, 'causepath-*.whl')}.dist-info",
    }
    analyzer = names(wheels, "causepath_analyzer-*.whl")
    assert "causepath_analyzer/py.typed" in analyzer
    for name in (plugin, analyzer):
        assert any(entry.endswith("licenses/LICENSE") for entry in name)


def version(wheels: Path, pattern: str) -> str:
    (wheel,) = wheels.glob(pattern)
    return wheel.name.split("-")[1]


def test_they_work_in_an_empty_environment_and_bring_nothing_unasked(
    wheels: Path, empty: Path
) -> None:
    pip = (empty / "python", "-m", "pip", "--disable-pip-version-check", "-q")
    run(*pip, "install", *wheels.glob("causepath-*.whl"))
    installed = {line.partition("==")[0].lower() for line in run(*pip, "freeze").splitlines()}
    # The four that the design names, and what those need themselves.
    assert {name.partition(" @")[0] for name in installed} == {
        "causepath",
        "opentelemetry-api",
        "opentelemetry-instrumentation",
        "opentelemetry-semantic-conventions",
        "wrapt",
        "packaging",
        "typing_extensions",
    }
    enabled = run(
        empty / "python",
        "-c",
        "import sys; print('causepath.instrumentor' in sys.modules)",
        CAUSEPATH="1",
    )
    assert enabled == "True\n"

    run(*pip, "install", *wheels.glob("causepath_analyzer-*.whl"))
    assert version(wheels, "causepath_analyzer-*.whl") in run(empty / "causepath", "--version")
