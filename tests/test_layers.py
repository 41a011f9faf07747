"""Imports follow the table of the house: data flows one way, and never back."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PLUGIN: dict[str, set[str]] = {
    # The ground everybody stands on.
    "version": set(),
    "guard": set(),
    "forks": set(),
    "config": set(),
    # The rooms, each above those it may import.
    "providers": set(),
    "code": {"guard"},
    "otel": {"code", "forks", "guard", "providers", "version"},
    "content": {"config", "forks", "guard", "otel", "providers", "version"},
    "replies": {"content", "guard", "otel", "providers"},
    "calls": {"code", "content", "forks", "guard", "otel", "providers", "replies", "version"},
    "tool_functions": {"calls", "code", "forks", "guard", "otel", "replies"},
    "hooks": {"calls", "code", "guard", "otel", "providers", "replies", "tool_functions"},
    "export": {"code", "config", "forks", "guard"},
    # The ways in.
    "api": {"calls", "guard", "otel", "tool_functions"},
    "instrumentor": {
        "calls",
        "code",
        "config",
        "content",
        "export",
        "guard",
        "hooks",
        "otel",
        "providers",
        "tool_functions",
    },
    "otel_instrumentor": {"instrumentor"},
    "auto": {"instrumentor"},
    "startup": {"auto"},
    "__init__": {"api", "instrumentor", "otel_instrumentor", "version"},
}

ANALYZER: dict[str, set[str]] = {
    "errors": set(),
    "attributes": set(),
    "asking": set(),
    "ids": set(),
    "http_client": {"asking", "errors"},
    "model": {"errors"},
    "read": {"asking", "ids", "errors", "attributes", "http_client", "model", "read"},
    "analyses": {"errors", "ids", "model", "analyses"},
    "report": {"errors", "ids", "model", "analyses", "report"},
    "jobs": {"errors", "model", "read", "analyses", "report", "jobs"},
    "export": {"attributes", "ids", "errors", "model", "analyses", "export"},
    "cli": {
        "jobs",
        "asking",
        "errors",
        "ids",
        "http_client",
        "model",
        "attributes",
        "read",
        "analyses",
        "report",
        "export",
        "cli",
        "__init__",
    },
    "__init__": set(),
    "__main__": {"cli"},
}


@pytest.mark.parametrize(
    ("package", "folder", "table"),
    [
        ("causepath", "src", PLUGIN),
        ("causepath_analyzer", "analyzer/src", ANALYZER),
    ],
)
def test_every_import_is_in_the_table(
    package: str, folder: str, table: dict[str, set[str]]
) -> None:
    root = ROOT / folder / package
    for path in root.rglob("*.py"):
        home = path.relative_to(root).parts[0].removesuffix(".py")
        assert home in table, f"{path.relative_to(ROOT)} has no place in the house"
        for line, target in _imports(path, package):
            assert target == home or target in table[home], (
                f"{path.relative_to(ROOT)}:{line} imports {target}, which {home} may not"
            )


@pytest.mark.parametrize("table", [PLUGIN, ANALYZER], ids=["plugin", "analyzer"])
def test_the_table_has_no_circle(table: dict[str, set[str]]) -> None:
    floors = dict(table)
    while floors:
        lowest = {room for room, below in floors.items() if not (below - {room}) & floors.keys()}
        assert lowest, f"a circle among {sorted(floors)}"
        floors = {room: below for room, below in floors.items() if room not in lowest}


def test_the_halves_share_no_code() -> None:
    for folder, other in (("src", "causepath_analyzer"), ("analyzer/src", "causepath")):
        for path in (ROOT / folder).rglob("*.py"):
            assert not list(_imports(path, other)), path


def _imports(path: Path, package: str) -> list[tuple[int, str]]:
    """(line, first name below `package`) of everything that a file imports from it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [node.module]
            if node.module == package:
                names = [f"{package}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            first, _, rest = name.partition(".")
            if first == package:
                part = rest.partition(".")[0] or "__init__"
                exists = (path.parents[0]).exists() and _is_module(path, package, part)
                found.append((node.lineno, part if exists else "__init__"))
    return found


def _is_module(path: Path, package: str, name: str) -> bool:
    root = next(parent for parent in path.parents if parent.name == package)
    return (root / f"{name}.py").exists() or (root / name).is_dir()
