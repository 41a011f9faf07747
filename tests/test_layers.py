"""Imports follow the table of the house: data flows one way, and never back."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PLUGIN: dict[str, set[str]] = {
    "version": set(),
    "guard": set(),
    "config": set(),
    "messages": set(),
    "loops": set(),
    "callsite": set(),
    "handed": {"callsite", "guard", "origin", "stored"},
    "sites": {"callsite", "handed", "loops", "origin"},
    "categories": set(),
    "prompt": {"messages"},
    "provider": {"messages", "prompt"},
    "providers": {"provider", "providers", "messages", "prompt"},
    "semconv": {"messages", "sites"},
    "streams": {"guard", "pacing", "provider"},
    "proxies": {"streams"},
    "candidates": {"forks", "guard", "operation", "runs", "semconv", "stored"},
    "telling_code": set(),
    "tellers": {
        "candidates",
        "forks",
        "guard",
        "inside",
        "measure",
        "origin",
        "runs",
        "stored",
        "telling_code",
        "tool_calls",
    },
    "bodies": set(),
    "others": {"categories", "runs", "spans"},
    "recent": set(),
    "blocks": {"messages"},
    "digests": {"messages", "prompt", "recent"},
    "digest_key": {"guard"},
    "pieces": set(),
    "plain_data": set(),
    "outcome": {"plain_data"},
    "places": {"plain_data"},
    "words": {"plain_data"},
    "data_flow": {"pieces", "recent"},
    "content": {
        "config",
        "forks",
        "guard",
        "messages",
        "operation",
        "plain_data",
        "semconv",
        "spans",
        "version",
    },
    "evidence": {
        "blocks",
        "data_flow",
        "digests",
        "forks",
        "messages",
        "outcome",
        "pieces",
        "places",
        "plain_data",
        "prompt",
        "recent",
        "semconv",
        "spans",
        "words",
    },
    "stored": set(),
    "announced": set(),
    "runs": {"blocks", "handed", "candidates", "messages", "operation", "stored"},
    "forks": set(),
    "notebooks": set(),
    "carry": {"callsite", "guard", "handed", "operation", "patching", "runs"},
    "spans": {"provider", "runs", "semconv"},
    "operation": {"forks", "guard", "semconv"},
    "pacing": {"guard", "semconv"},
    "metrics": {"guard", "messages", "semconv", "spans", "version"},
    "model_call": {
        "attempts",
        "content",
        "runs",
        "bodies",
        "blocks",
        "callsite",
        "forks",
        "guard",
        "messages",
        "operation",
        "pacing",
        "others",
        "provider",
        "proxies",
        "semconv",
        "sites",
        "spans",
        "telemetry",
    },
    "watcher": {
        "announced",
        "categories",
        "guard",
        "model_call",
        "runs",
        "semconv",
        "spans",
        "telemetry",
    },
    "attempts": {"semconv"},
    "tool_calls": {
        "handed",
        "announced",
        "callsite",
        "candidates",
        "guard",
        "messages",
        "operation",
        "provider",
        "runs",
        "semconv",
        "sites",
        "spans",
        "telemetry",
        "work",
    },
    "retried": {"guard", "runs", "stored"},
    "telemetry": {
        "handed",
        "origin",
        "retried",
        "content",
        "callsite",
        "evidence",
        "forks",
        "guard",
        "messages",
        "model_call",
        "metrics",
        "notebooks",
        "operation",
        "others",
        "provider",
        "runs",
        "semconv",
        "spans",
        "tool_calls",
        "version",
        "watcher",
    },
    "patching": {"guard", "model_call", "operation", "provider", "streams", "telemetry"},
    "inside": {"guard", "operation"},
    "origin": {"callsite", "stored"},
    "reachable": {"callsite", "nested", "origin", "stored"},
    "measure": {
        "forks",
        "guard",
        "inside",
        "operation",
        "proxies",
        "runs",
        "telemetry",
        "tool_calls",
    },
    "nested": set(),
    "branches": {"nested"},
    "methods": {"measure", "proxies", "stored"},
    "registries": {
        "callsite",
        "branches",
        "measure",
        "origin",
        "reachable",
        "stored",
        "tellers",
    },
    "found_tools": {
        "callsite",
        "candidates",
        "guard",
        "measure",
        "registries",
        "runs",
        "stored",
        "tellers",
        "tool_calls",
    },
    "work": set(),
    "process_pools": {
        "guard",
        "measure",
        "operation",
        "patching",
        "runs",
        "spans",
        "telemetry",
        "work",
    },
    "frameworks": {
        "patching",
        "announced",
        "guard",
        "inside",
        "measure",
        "methods",
        "operation",
        "runs",
        "stored",
        "telemetry",
    },
    "mcp": {"guard", "operation", "semconv", "telemetry"},
    "claude_agent": {"guard", "operation", "telemetry"},
    "file": set(),
    "delivery": {"file", "forks", "guard"},
    "termination": {"forks", "guard"},
    "stand_in": set(),
    "set_up": {"config", "delivery", "file", "guard", "notebooks", "stand_in"},
    "pipeline": {"config", "forks", "guard", "set_up", "termination"},
    "api": {"guard", "measure", "operation", "runs"},
    "imports": set(),
    "instrumentor": {
        "carry",
        "claude_agent",
        "config",
        "content",
        "digest_key",
        "evidence",
        "found_tools",
        "frameworks",
        "guard",
        "imports",
        "mcp",
        "measure",
        "patching",
        "pipeline",
        "process_pools",
        "provider",
        "telemetry",
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
            assert target in table[home], (
                f"{path.relative_to(ROOT)}:{line} imports {target}, which {home} may not"
            )


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
