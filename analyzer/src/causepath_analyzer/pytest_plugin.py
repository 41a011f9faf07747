"""Budgets of agents in tests: a plugin of pytest that does nothing unless a test asks for it.

    @pytest.mark.causepath(wall="5s", tokens=50_000, cost="$0.10", calls={"llm": 4}, no=["CP101"])
    def test_research():
        agent("Which one is best?")

    def test_more(causepath_runs):
        agent("Which one is best?")
        (run,) = causepath_runs()
        assert run.status == "ok"

Spans are collected in this process, from the plugin `causepath` if it is installed, else from
whatever instrumentation there is. A test that asks and in which nothing is recorded fails, as does
one whose budget is broken, or of which nobody can tell: no budget is kept by what is missing.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from causepath_analyzer.analyses.budgets.wording import Budget
    from causepath_analyzer.api import Runs

_MARK: Final = "causepath"
_AMOUNTS: Final = {"wall": "wall", "tokens": "tokens.total", "cost": "cost", "turns": "turns"}
_KEYS: Final = (*_AMOUNTS, "calls", "no", "budgets")
_COLLECTOR: Final = pytest.StashKey["_Collector"]()


def pytest_configure(config: pytest.Config) -> None:
    """Describes the marker."""
    config.addinivalue_line(
        "markers",
        'causepath(wall="5s", tokens=50000, cost="$0.10", turns=8, calls={"llm": 4}, '
        'no=["CP101"], budgets=["share tool < 40%"]): what the agents of a test may use at most',
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Reads the budgets of a test before it runs: a wrong one is an error of the test."""
    marks = list(item.iter_markers(_MARK))
    if marks:
        budgets_of(marks)
        _collector(item.session)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Collects what a test records, and holds it against the budgets of the test."""
    marks = list(item.iter_markers(_MARK))
    if not marks:
        return (yield)
    collector = _collector(item.session)
    collector.begin()
    result = yield
    told = collector.broken(budgets_of(marks))
    if told is not None:
        pytest.fail(told, pytrace=False)
    return result


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leaves the process as it was."""
    if _COLLECTOR in session.stash:
        session.stash[_COLLECTOR].close()


@pytest.fixture
def causepath_runs(request: pytest.FixtureRequest) -> Callable[[], Runs]:
    """Gives a function that gives the runs of this test so far, as `causepath_analyzer.read`
    does."""
    collector = _collector(request.session)
    collector.begin()
    return collector.runs


def budgets_of(marks: Sequence[pytest.Mark]) -> tuple[Budget, ...]:
    """Reads the budgets of markers; of two on one thing, the nearer to the test holds.

    Raises `CausepathError` for what is not understood.
    """
    from difflib import get_close_matches

    from causepath_analyzer.analyses.budgets.wording import WordingError, wording
    from causepath_analyzer.errors import UsageError

    found: dict[str, Budget] = {}
    for mark in reversed(marks):
        if mark.args:
            raise UsageError(f"@pytest.mark.causepath takes {', '.join(_KEYS)} by name")
        for key, value in mark.kwargs.items():
            if key not in _KEYS:
                near = get_close_matches(key, _KEYS, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(_KEYS)}"
                raise UsageError(f"@pytest.mark.causepath({key}=...): {hint}")
            for text in _texts(key, value):
                try:
                    budget = wording(text, f"@pytest.mark.causepath({key}=...)")
                except WordingError as error:
                    raise UsageError(f"@pytest.mark.causepath({key}={value!r}): {error}") from None
                found[f"{budget.name} {budget.sign[0]}"] = budget
    return tuple(found.values())


def _texts(key: str, value: object) -> Sequence[str]:
    if key in _AMOUNTS:
        return [f"{_AMOUNTS[key]} <= {value}"]
    if key == "calls" and isinstance(value, Mapping):
        return [f"calls.{kind} <= {most}" for kind, most in value.items()]
    if key == "no" and isinstance(value, list | tuple):
        return [f"count {code} == 0" for code in value]
    if key == "budgets" and isinstance(value, list | tuple):
        return [str(text) for text in value]
    from causepath_analyzer.errors import UsageError

    examples = {"calls": '{"llm": 4}', "no": '["CP101"]', "budgets": '["share tool < 40%"]'}
    raise UsageError(f"@pytest.mark.causepath({key}={value!r}): write it like {examples[key]}")


def _collector(session: pytest.Session) -> _Collector:
    if _COLLECTOR not in session.stash:
        session.stash[_COLLECTOR] = _Collector()
    return session.stash[_COLLECTOR]


class _Collector:
    """A span processor that keeps what ends while a test runs."""

    def __init__(self) -> None:
        self._spans: list[Any] = []
        self._provider: Any = None
        self._plugin: Any = None
        self._enabled = False
        self._why: str | None = None
        try:
            from opentelemetry.sdk.trace import TracerProvider
        except ImportError:
            self._why = "OpenTelemetry's SDK is not installed: pip install 'causepath[auto]'"
            return
        from opentelemetry import trace

        current = trace.get_tracer_provider()
        is_theirs = callable(getattr(current, "add_span_processor", None))
        self._provider = current if is_theirs else TracerProvider()
        self._provider.add_span_processor(self)
        try:
            # By its name: the analyzer needs no plugin, and shares no code with it.
            instrumentor = import_module("causepath.instrumentor")
        except ImportError:
            self._why = "the plugin `causepath` is not installed: pip install causepath"
            return
        self._plugin = instrumentor
        self._enabled = not instrumentor.is_enabled()
        instrumentor.instrument(tracer_provider=self._provider)

    def close(self) -> None:
        """Disables the plugin if it was enabled for tests alone."""
        if self._enabled:
            self._plugin.uninstrument()

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        """Does nothing: part of a span processor."""

    def on_end(self, span: Any) -> None:
        """Keeps a span."""
        self._spans.append(span)

    def _on_ending(self, span: Any) -> None:
        """Does nothing: part of a span processor."""

    def shutdown(self) -> None:
        """Does nothing: part of a span processor."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002
        """Does nothing: part of a span processor."""
        return True

    def begin(self) -> None:
        """Forgets what ended before: runs that still rest are of another test."""
        self._end_runs()
        self._spans.clear()

    def _end_runs(self) -> None:
        if self._plugin is not None:
            self._plugin.flush(ends_runs=True)

    def runs(self) -> Runs:
        """Gives the runs that were recorded since `begin`."""
        from causepath_analyzer.analyses.path.cost import TABLE_ONLY
        from causepath_analyzer.api import Runs
        from causepath_analyzer.read import SpansByTrace, read_stream
        from causepath_analyzer.read.tree.build import build

        self._end_runs()
        spans: SpansByTrace = {}
        written = "".join(map(_line, tuple(self._spans)))
        entry = read_stream("spans of this test", io.BytesIO(written.encode()), spans)
        traces = sorted(map(build, spans.values()), key=lambda trace: trace.start_ns)
        return Runs((entry,), traces, TABLE_ONLY)

    def broken(self, budgets: Sequence[Budget]) -> str | None:
        """Says what is wrong with the runs since `begin`; ``None`` if every budget is kept."""
        from causepath_analyzer.analyses.budgets.measures import sampled
        from causepath_analyzer.analyses.budgets.verdicts import checked
        from causepath_analyzer.report.check_text import check_text

        runs = self.runs()
        explained = [run.explained for run in runs]
        if not any(run.usage.calls.llm for run in explained):
            why = self._why or "no model was called in this process by an SDK that is instrumented"
            what = "spans, but no model call" if runs else "nothing"
            return f"causepath: {what} was recorded in this test: {why}"
        measures = {name for budget in budgets for name in budget.measures}
        check = checked(budgets, [sampled(run, measures) for run in explained])
        if check.verdict == "pass":
            return None
        lines = [line.plain.rstrip() for line in check_text(check, 8)]
        told = "\n".join(run.report() for run in runs)
        return "\n".join(("causepath: a budget of this test is not kept", *lines, "", told))


def _line(span: Any) -> str:
    """Writes a span of the SDK as a line of OTLP."""
    import json

    def attributes(found: Mapping[str, Any] | None) -> list[dict[str, Any]]:
        return [{"key": key, "value": _value(value)} for key, value in (found or {}).items()]

    context = span.context
    scope = span.instrumentation_scope
    written = {
        "traceId": f"{context.trace_id:032x}",
        "spanId": f"{context.span_id:016x}",
        "parentSpanId": "" if span.parent is None else f"{span.parent.span_id:016x}",
        "name": span.name,
        "kind": span.kind.value + 1,
        "startTimeUnixNano": str(span.start_time),
        "endTimeUnixNano": str(span.end_time),
        "attributes": attributes(span.attributes),
        "events": [
            {
                "name": event.name,
                "timeUnixNano": str(event.timestamp),
                "attributes": attributes(event.attributes),
            }
            for event in span.events
        ],
        "links": [
            {
                "traceId": f"{link.context.trace_id:032x}",
                "spanId": f"{link.context.span_id:016x}",
                "attributes": attributes(link.attributes),
            }
            for link in span.links
        ],
        "status": {"code": span.status.status_code.value, "message": span.status.description or ""},
    }
    named = {"name": scope.name, "version": scope.version or ""} if scope is not None else {}
    resource = {"attributes": attributes(span.resource.attributes)}
    scopes = [{"scope": named, "spans": [written]}]
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": scopes}]}) + "\n"


def _value(value: object) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, bytes):
        import base64

        return {"bytesValue": base64.b64encode(value).decode()}
    if isinstance(value, list | tuple):
        return {"arrayValue": {"values": [_value(one) for one in value]}}
    return {"stringValue": str(value)}
