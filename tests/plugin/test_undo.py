"""What the plugin has put somewhere is gone after `uninstrument`; enabling again is no surprise."""

from __future__ import annotations

import faulthandler
import importlib
import signal
import sys
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import causepath
from causepath.code.notebooks import notebook_name
from causepath.config import Config
from causepath.export.tracer_provider import Pipeline
from causepath.hooks.frameworks import Frameworks
from tests.support.left_behind import left_behind, state
from tests.support.recording import set_global_provider

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def provider() -> tuple[TracerProvider, InMemorySpanExporter]:
    made, kept = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    made.add_span_processor(SimpleSpanProcessor(kept))
    return made, kept


def written(kept: InMemorySpanExporter) -> list[str]:
    return [span.name for span in kept.get_finished_spans()]


def places() -> dict[str, Any]:
    """Where the plugin puts something in a process."""
    from concurrent.futures import thread
    from multiprocessing import pool

    return {
        "finders": list(sys.meta_path),
        "start": threading.Thread.start,
        "work": thread._WorkItem.__init__,
        "pool": pool.Pool.apply_async,
        "tasks": pool.Pool._guarded_task_generation,  # type: ignore[attr-defined]
        "global": trace._TRACER_PROVIDER,
        "set": trace._set_tracer_provider,
        "get": trace.get_tracer_provider,
        "proxy": trace.ProxyTracer._tracer,
        "sigterm": signal.getsignal(signal.SIGTERM),
        "sigurg": signal.getsignal(signal.SIGURG),
    }


def test_nothing_is_left_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAUSEPATH_FILE", str(tmp_path / "t.jsonl"))
    before = places()
    for _ in range(3):
        causepath.instrument()
        with causepath.agent("a"):  # with a set-up of our own
            pass
        assert [name for name, what in places().items() if what is not before[name]]
        causepath.uninstrument()
    assert places() == before
    assert not faulthandler.unregister(signal.SIGTERM)
    assert "causepath-sigterm" not in {t.name for t in threading.enumerate()}


def test_whatever_is_left_behind_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fixture of these tests sees all of it, and that it is gone."""
    monkeypatch.setenv("CAUSEPATH_FILE", str(tmp_path / "t.jsonl"))
    before = state()
    causepath.instrument()
    with causepath.agent("a"):
        pass
    import multiprocessing.pool  # noqa: F401 - whose patches come with its import

    assert [name for name, value in state().items() if value != before[name]] == [
        "finder hooks",
        "signals",
        "OpenTelemetry",
        "workers",
        "ends of the process",
    ]
    assert {found.partition(":")[0] for found in left_behind(seconds=0)} == {
        "patched",
        "runs at exit",
        "finder in sys.meta_path",
        "SIGTERM is handled",
        "log filter",
        "thread",
    }


def test_what_a_worker_runs_at_its_exit_is_taken_back(tmp_path: Path) -> None:
    from multiprocessing import util  # which is what makes it register something

    pipeline = Pipeline(Config(str(tmp_path / "t.jsonl")), None, lambda _: None)
    before = len(util._finalizer_registry)  # type: ignore[attr-defined]
    pipeline._at_exit_of_a_worker()
    assert len(util._finalizer_registry) == before + 1  # type: ignore[attr-defined]
    pipeline.close()
    assert len(util._finalizer_registry) == before  # type: ignore[attr-defined]


def test_a_function_of_an_object_is_its_own_again() -> None:
    class Tool:
        def __init__(self) -> None:
            self.run = written

    frameworks = Frameworks(*[cast("Any", None)] * 3)
    kept, dropped = Tool(), Tool()
    for tool in (kept, dropped):
        frameworks._measure(tool, "run")
        assert tool.run is not written
    del tool, dropped
    assert len(frameworks._own) == 1
    frameworks.undo()
    assert kept.run is written


def test_a_provider_forgets_us() -> None:
    made, kept = provider()
    before = made._active_span_processor._span_processors
    for _ in range(3):
        causepath.instrument(made)
        with causepath.agent("a"):
            pass
        causepath.uninstrument()
    assert made._active_span_processor._span_processors == before
    assert written(kept) == ["invoke_agent a"] * 3


def test_a_module_that_is_imported_later_keeps_its_own_loader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "some_tools.py").write_text("def search():\n    return 1\n")
    (tmp_path / "broken_tools.py").write_text("raise ImportError('its own')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("CAUSEPATH_TOOLS", "some_tools:*,broken_tools:*")
    causepath.instrument()
    with pytest.raises(ImportError, match="its own"):
        importlib.import_module("broken_tools")
    module = importlib.import_module("some_tools")
    assert type(module.__loader__).__name__ == "SourceFileLoader"
    assert module.__spec__ is not None
    assert module.__spec__.loader is module.__loader__
    assert module.search() == 1
    del sys.modules["some_tools"]


def test_another_provider_takes_over() -> None:
    (first, of_first), (second, of_second) = provider(), provider()
    causepath.instrument(first)
    with causepath.agent("a"):
        pass
    causepath.instrument(second)
    with causepath.agent("b"):
        pass
    causepath.instrument()
    with causepath.agent("c"):
        pass
    assert (written(of_first), written(of_second)) == (
        ["invoke_agent a"],
        ["invoke_agent b", "invoke_agent c"],
    )


def test_tracers_of_the_stand_in_hand_over_to_the_applications_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAUSEPATH_FILE", str(tmp_path / "t.jsonl"))
    causepath.instrument()
    with causepath.agent("a"):
        pass
    kept_by_a_module = trace.get_tracer("module")
    kept_by_a_module.start_span("before").end()
    made, kept = provider()
    trace.set_tracer_provider(made)
    kept_by_a_module.start_span("after").end()
    with kept_by_a_module.start_as_current_span("current"):
        pass
    causepath.uninstrument()
    text = (tmp_path / "t.jsonl").read_text()
    assert ("before" in text, "after" in text) == (True, False)
    assert written(kept) == ["after", "current"]
    kept_by_a_module.start_span("still").end()
    assert written(kept)[-1] == "still"


@pytest.mark.parametrize("imported", [True, False], ids=["with a model SDK", "without"])
def test_a_span_around_the_first_call_of_a_process_is_written(
    imported: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server's span of the first request, say: there is no provider yet when it begins."""
    set_global_provider(None)
    monkeypatch.setenv("CAUSEPATH_FILE", str(tmp_path / "t.jsonl"))
    tracer = trace.get_tracer("server")  # before anything is enabled, as servers do
    if not imported:
        monkeypatch.delitem(sys.modules, "anthropic")
        monkeypatch.delitem(sys.modules, "openai", raising=False)
        monkeypatch.delitem(sys.modules, "google.genai", raising=False)
    causepath.instrument()
    with tracer.start_as_current_span("GET /"):
        pass
    causepath.uninstrument()
    assert (tmp_path / "t.jsonl").exists() == imported
    if imported:
        assert '"name":"GET /"' in (tmp_path / "t.jsonl").read_text()


@pytest.mark.parametrize(
    ("environ", "variables", "name"),
    [
        ({}, {}, "notebook"),
        ({"JPY_SESSION_NAME": "/home/me/umbrellas.ipynb"}, {}, "umbrellas"),
        ({"JPY_SESSION_NAME": "0b6f4a1e-3b0c-4c7e"}, {}, "notebook"),
        ({}, {"__vsc_ipynb_file__": "C:\\Users\\me\\umbrellas.ipynb"}, "umbrellas"),
        ({}, {"__vsc_ipynb_file__": 7}, "notebook"),
        ({}, {"__session__": "work/umbrellas.py"}, "umbrellas"),
    ],
)
def test_what_a_notebook_is_called(
    environ: Mapping[str, str],
    variables: Mapping[str, Any],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert notebook_name(variables) is None
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace())  # type: ignore[arg-type]
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    for variable, value in environ.items():
        monkeypatch.setenv(variable, value)
    assert notebook_name(variables) == name
