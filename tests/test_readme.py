"""The README and `docs/` show what works: programs run, commands succeed, links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from causepath_analyzer.analyses.budgets.measures import CALL_MEASURES, MEASURES
from causepath_analyzer.analyses.budgets.wording import SHARES
from causepath_analyzer.cli.check import check
from tests.support.messages_api import messages_api_process

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PAGES = {
    page.name: page.read_text()
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
SCRIPTS = sysconfig.get_path("scripts")


def blocks(language: str) -> list[str]:
    """Finds the blocks of code in a language, the README's first."""
    return [
        block
        for text in PAGES.values()
        for block in re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with the README's agent in `agent.py`, its settings, and a model to ask."""
    path = tmp_path_factory.mktemp("readme")
    (path / "agent.py").write_text(blocks("python")[0])
    (path / "pyproject.toml").write_text(blocks("toml")[0])
    return path


INCONCLUSIVE = 3
"""What `causepath check` exits with: a percentile of the one or two runs here is none."""


def run(
    command: list[str], folder: Path, url: str, also: int = 0
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": "test",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode in (0, also), done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with messages_api_process("tests.plugin.scripts:weather") as found:
        yield found


@pytest.mark.programs
def test_the_programs_run(folder: Path, url: str) -> None:
    outputs = [run([sys.executable, "-c", code], folder, url).stdout for code in blocks("python")]
    assert outputs == ["No umbrella needed.\n", "", "", "", "Nothing about umbrellas.\n"]


@pytest.mark.programs
def test_the_commands_succeed(folder: Path, url: str) -> None:
    commands = [
        line.partition("#")[0].strip()
        for block in blocks("sh")
        for line in block.splitlines()
        if line.startswith("causepath")
    ]
    assert len(commands) == 12
    (folder / "traces").mkdir()
    for command in commands:
        done = run(["sh", "-c", command], folder, url, also=INCONCLUSIVE)
        assert done.stdout or "--save-baseline" in command
        if "traces.jsonl" in command:
            (folder / "traces" / "one.jsonl").write_bytes(
                (folder / "causepath-traces.jsonl").read_bytes()
            )


@pytest.mark.programs
def test_the_budgets_of_the_settings_are_understood(folder: Path, url: str) -> None:
    run([sys.executable, "agent.py"], folder, url)
    output = run([f"{SCRIPTS}/causepath", "check"], folder, url, also=INCONCLUSIVE).stdout
    assert (output.count("PASS"), output.count("INCONCLUSIVE")) == (3, 3)


def test_every_setting_of_the_plugin_is_in_the_docs() -> None:
    config = (ROOT / "src/causepath/config.py").read_text()
    variables = set(re.findall(r'"(CAUSEPATH\w*)"', config))
    assert variables == set(re.findall(r"^\| `(CAUSEPATH\w*)`", PAGES["trace.md"], re.MULTILINE))


def test_the_readme_is_read_in_two_minutes() -> None:
    assert len(PAGES["README.md"].encode()) < 8192


def test_the_analyzers_readme_shows_the_same_report() -> None:
    """Which the test of the demo compares with what is printed."""
    (report,) = re.findall(r"^```text\n(.*?)^```$", PAGES["README.md"], re.MULTILINE | re.DOTALL)
    assert f"```text\n{report}```\n" in (ROOT / "analyzer" / "README.md").read_text()


@pytest.mark.parametrize("report", ["summary-many", "check"])
def test_the_gallery_shows_reports_as_they_are_printed(report: str) -> None:
    golden = (ROOT / "tests/analyzer/report/golden" / f"{report}.txt").read_text()
    printed = re.escape(golden.rstrip("\n")).replace("TABLE", "genai-prices [^\n]*")
    assert re.search(f"^```text\n{printed}\n```$", PAGES["gallery.md"], re.MULTILINE)


def test_every_budget_is_in_the_docs_and_in_the_help() -> None:
    _, _, table = PAGES["budgets.md"].partition("| measure |")
    rows = re.findall(r"^\| (`[a-z].*)$", table.partition("\n\n")[0], re.MULTILINE)
    assert set(re.findall(r"`([a-z_]+(?:\.[a-z_]+)?)`", "".join(rows))) == set(MEASURES)
    assert [name for name in CALL_MEASURES if f"`{name}`" not in table] == []
    told = check.__doc__ or ""
    names = (*MEASURES, *CALL_MEASURES, *SHARES)
    assert [name for name in names if f"`{name}`" not in told and name[:5] != "path."] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    folder = ROOT if (ROOT / page).exists() else ROOT / "docs"
    prose = re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#:]*(?:#[^)]*)?)\)", prose):
        name, _, heading = target.partition("#")
        file = folder / name if name else folder / page
        assert file.exists(), target
        text = file.read_text() if heading else ""  # a picture has none
        headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings}
        assert not heading or heading in anchors, target
