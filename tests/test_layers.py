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
    "arguments": set(),
    "config": set(),
    # The rooms, each above those it may import.
    "providers": set(),
    "code": {"guard"},
    "otel": {"code", "forks", "guard", "providers", "version"},
    "content": {"config", "forks", "guard", "otel", "providers", "version"},
    "replies": {"content", "guard", "otel", "providers"},
    "budgets": {"forks", "guard", "otel", "providers"},
    "calls": {
        "budgets",
        "code",
        "content",
        "forks",
        "guard",
        "otel",
        "providers",
        "replies",
        "version",
    },
    "tool_functions": {"calls", "code", "forks", "guard", "otel"},
    "hooks": {
        "budgets",
        "calls",
        "code",
        "guard",
        "otel",
        "providers",
        "replies",
        "tool_functions",
    },
    "export": {"code", "config", "forks", "guard", "version"},
    # The ways in.
    "api": {"arguments", "budgets", "calls", "guard", "otel", "tool_functions"},
    "instrumentor": {
        "arguments",
        "calls",
        "code",
        "config",
        "content",
        "export",
        "forks",
        "guard",
        "hooks",
        "otel",
        "providers",
        "tool_functions",
    },
    "otel_instrumentor": {"instrumentor"},
    "auto": {"instrumentor"},
    "startup": {"auto", "forks"},
    "program": {"forks", "guard", "instrumentor"},
    "notebook_magic": {"instrumentor"},
    "__main__": {"program"},
    "__init__": {"api", "budgets", "instrumentor", "otel_instrumentor", "version"},
}

ANALYZER: dict[str, set[str]] = {
    "errors": set(),
    "attributes": set(),
    "server_request": set(),
    "ids": set(),
    "http_client": {"errors", "server_request"},
    "model": {"errors"},
    # From bytes to traces.
    "read.format": {"model"},
    "read.meaning": {"attributes", "model"},
    "read.tree": {"ids", "model", "read.format"},
    "read.input": {"errors", "http_client", "model", "read.format", "server_request"},
    "read.formats": {
        "attributes",
        "ids",
        "model",
        "read.format",
        "read.input",
        "read.meaning",
        "read.tree",
        "server_request",
    },
    "read": {
        "attributes",
        "errors",
        "model",
        "read.format",
        "read.formats",
        "read.input",
        "read.tree",
        "server_request",
    },
    # From traces to answers.
    "analyses": set(),
    "analyses.path": {"model"},
    "analyses.replay": {"analyses.path", "errors", "model"},
    "analyses.proof": {"analyses.path", "model"},
    "analyses.limits": set(),
    "analyses.labels": {"model"},
    "analyses.facts": {"analyses.limits", "analyses.path", "analyses.proof", "model"},
    "analyses.findings": {
        "analyses.facts",
        "analyses.limits",
        "analyses.money",
        "analyses.path",
        "analyses.proof",
        "analyses.replay",
        "model",
    },
    "analyses.money": {"analyses.facts", "analyses.path", "analyses.replay", "model"},
    "analyses.run": {
        "analyses.facts",
        "analyses.findings",
        "analyses.limits",
        "analyses.money",
        "analyses.path",
        "analyses.proof",
        "model",
    },
    "analyses.span_rows": {"analyses.findings", "analyses.path", "analyses.run", "model"},
    "analyses.run_view": {
        "analyses.findings",
        "analyses.lacking",
        "analyses.money",
        "analyses.path",
        "analyses.proof",
        "analyses.run",
        "analyses.span_rows",
        "model",
    },
    "analyses.program": {"model"},
    "analyses.wiring": set(),
    "analyses.lacking": {"analyses.path", "model"},
    "analyses.diagnosis": {"analyses.path", "model"},
    "analyses.budgets": {
        "analyses.findings",
        "analyses.labels",
        "analyses.lacking",
        "analyses.path",
        "analyses.run",
        "model",
    },
    "analyses.comparison": {
        "analyses.budgets",
        "analyses.path",
        "analyses.replay",
        "analyses.run",
        "model",
    },
    "analyses.summary": {
        "analyses.budgets",
        "analyses.findings",
        "analyses.labels",
        "analyses.path",
        "analyses.proof",
        "analyses.run",
        "ids",
        "model",
    },
    "analyses.predictions": {
        "analyses.facts",
        "analyses.findings",
        "analyses.path",
        "analyses.proof",
        "analyses.replay",
        "analyses.summary",
        "errors",
        "model",
    },
    "prices_file": {"analyses", "errors"},
    # From answers to what people and programs read.
    "report": {"analyses", "ids", "model", "server_request"},
    "export": {"analyses", "attributes", "errors", "ids", "model"},
    "jobs": {"analyses", "errors", "model", "read", "report", "server_request"},
    "cli": {
        "__init__",
        "analyses",
        "errors",
        "export",
        "http_client",
        "ids",
        "jobs",
        "model",
        "prices_file",
        "read",
        "report",
        "server_request",
    },
    "api": {"analyses", "errors", "jobs", "model", "prices_file", "read", "report"},
    "__init__": {"api", "errors"},
    "__main__": {"cli"},
    "pytest_plugin": {"analyses", "api", "errors", "read", "report"},
}
"""Each room with those that it may import. A room named with its parts stands for all of them."""


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
        home = _room(path.relative_to(root).with_suffix("").parts, table)
        assert home in table, f"{path.relative_to(ROOT)} has no place in the house"
        for line, target in _imports(path, package):
            room = _room(target, table)
            allowed = {home, *table[home]}
            assert room in allowed or room.partition(".")[0] in allowed, (
                f"{path.relative_to(ROOT)}:{line} imports {room}, which {home} may not"
            )


@pytest.mark.parametrize("table", [PLUGIN, ANALYZER], ids=["plugin", "analyzer"])
def test_the_table_has_no_circle(table: dict[str, set[str]]) -> None:
    assert _circle(table) == set()


@pytest.mark.parametrize(
    ("package", "folder"), [("causepath", "src"), ("causepath_analyzer", "analyzer/src")]
)
def test_no_modules_import_one_another_in_a_circle(package: str, folder: str) -> None:
    """Inside a room neither, and not for the sake of types either."""
    root = ROOT / folder / package
    modules = {}
    for path in root.rglob("*.py"):
        name = path.relative_to(root).with_suffix("").parts
        name = name[:-1] if len(name) > 1 and name[-1] == "__init__" else name
        modules[".".join(name)] = {".".join(target) for _, target in _imports(path, package)}
    assert _circle(modules) == set()


def test_a_circle_is_found_wherever_it_is() -> None:
    assert _circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}) == {
        "a",
        "b",
        "c",
        "d",
    }
    assert _circle({"a": {"b", "c"}, "b": {"c"}, "c": {"c"}}) == set()


def _circle(below: dict[str, set[str]]) -> set[str]:
    """Lists what imports one another in a circle, and what imports that."""
    floors = dict(below)
    while lowest := {one for one, under in floors.items() if not (under - {one}) & floors.keys()}:
        floors = {one: under for one, under in floors.items() if one not in lowest}
    return set(floors)


def test_only_the_instrumentor_knows_the_wiring_of_calls() -> None:
    """Everything else is handed the values that it works with."""
    root = ROOT / "src/causepath"
    who = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if any(target == ("calls", "telemetry") for _, target in _imports(path, "causepath"))
    }
    assert who == {"instrumentor.py"}


def test_the_halves_share_no_code() -> None:
    for folder, other in (("src", "causepath_analyzer"), ("analyzer/src", "causepath")):
        for path in (ROOT / folder).rglob("*.py"):
            assert not list(_imports(path, other)), path


def _room(parts: tuple[str, ...], table: dict[str, set[str]]) -> str:
    """Names the room that a module is in: by two parts where the table does, else by one."""
    two = ".".join(parts[:2])
    return two if two in table else parts[0]


def _imports(path: Path, package: str) -> list[tuple[int, tuple[str, ...]]]:
    """Lists what a file imports from `package`: the line, and the module's path below it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            first, *rest = name.split(".")
            if first == package:
                found.append((node.lineno, _module(path, package, rest)))
    return found


def _module(path: Path, package: str, parts: list[str]) -> tuple[str, ...]:
    """Leaves away the names in a module that an import ends with."""
    root = next((parent for parent in path.parents if parent.name == package), path)
    while parts and not (
        root.joinpath(*parts).is_dir() or root.joinpath(*parts).with_suffix(".py").exists()
    ):
        parts = parts[:-1]
    return tuple(parts) or ("__init__",)
