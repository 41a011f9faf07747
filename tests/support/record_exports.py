"""Records one run of an agent with the SDKs of trace stores, as their users export it: the files in
tests/analyzer/recorded/exports/. Run by hand, when a new release of one should be looked at, each
in an environment of its own:

    python -m venv /tmp/exports && /tmp/exports/bin/pip install anthropic PACKAGES
    PYTHONPATH=. /tmp/exports/bin/python -m tests.support.record_exports NAME

    langsmith   langsmith, with "anthropic<1": its wrapper does not know newer streams
    mlflow-3    mlflow
    mlflow-2    "mlflow<3" "opentelemetry-sdk==1.30.0" "sqlalchemy<2.1"
    phoenix     arize-phoenix openinference-instrumentation-anthropic

The agent is that of `record_instrumentations`. Phoenix runs its own server on the loopback
interface; LangSmith's is a stand-in here that keeps the runs that the SDK posts and gives them
back when the SDK lists them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.messages_api import MessagesApi
from tests.support.record_instrumentations import SCRIPT, run

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[1] / "analyzer" / "recorded" / "exports"
SESSION = "a conversation"


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    os.environ["ANTHROPIC_OPEN_TELEMETRY"] = "false"
    RECORDERS[sys.argv[1]]()


def save(name: str, document: object) -> None:
    """Writes `document` without what it says of this machine."""
    text = document if isinstance(document, str) else json.dumps(document, indent=1)
    text = re.sub(r'"[^"\n]*/site-packages/', '"site-packages/', text)
    for said in (str(FOLDER.parents[3]), str(Path.home()), tempfile.gettempdir()):
        text = text.replace(said, "")
    text = text.replace(socket.gethostname(), "host")
    (FOLDER / name).write_text(text + "\n")


# -- LangSmith


def langsmith() -> None:
    import anthropic
    from langsmith import Client, trace, tracing_context
    from langsmith.wrappers import wrap_anthropic

    runs: dict[str, dict[str, Any]] = {}
    with _run_store(runs) as url, MessagesApi(SCRIPT) as api:
        client = Client(api_url=url, api_key="test", auto_batch_tracing=False, info={})

        @contextlib.contextmanager
        def step(kind: str, name: str, **said: Any) -> Iterator[Any]:
            run_type = "tool" if kind == "tool" else "chain"
            metadata = {"session_id": SESSION}
            with trace(name, run_type, client=client, metadata=metadata, **said) as begun:
                yield lambda result: begun.end(outputs={"output": result})

        wrapped = wrap_anthropic(anthropic.Anthropic(base_url=api.url, api_key="test"))
        with tracing_context(enabled=True, client=client):
            run(wrapped, step)
        listed = [
            found.model_dump(mode="json") for found in client.list_runs(trace_id=next(iter(runs)))
        ]
    for found in listed:
        found["extra"].pop("runtime", None)
        found["extra"]["metadata"].pop("revision_id", None)
    save("langsmith.json", listed)


@contextlib.contextmanager
def _run_store(runs: dict[str, dict[str, Any]]) -> Iterator[str]:
    """The URL of a server that keeps what is posted to it in `runs`, by id."""

    class Handler(BaseHTTPRequestHandler):
        def _body(self) -> Any:
            return json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")

        def _answer(self, document: object) -> None:
            data = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            body = self._body()
            if self.path.endswith("/runs"):
                runs[body["id"]] = {k: v for k, v in body.items() if k != "attachments"}
                self._answer({})
            else:  # a query
                self._answer({"runs": list(runs.values()), "cursors": {"next": None}})

        def do_PATCH(self) -> None:
            told = self._body()
            kept = runs[self.path.rpartition("/")[2]]
            kept.update({key: value for key, value in told.items() if value is not None})
            self._answer({})

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


# -- MLflow


def mlflow_3() -> None:
    _mlflow("mlflow-3.json")


def mlflow_2() -> None:
    _mlflow("mlflow-2.json")


def _mlflow(name: str) -> None:
    import anthropic
    import mlflow

    with tempfile.TemporaryDirectory() as folder, MessagesApi(SCRIPT) as api:
        os.chdir(folder)
        store = "file" if mlflow.__version__.startswith("2.") else "sqlite"
        mlflow.set_tracking_uri(f"{store}:///{folder}/store")
        mlflow.set_experiment("recorded-agent")
        mlflow.anthropic.autolog()

        @contextlib.contextmanager
        def step(kind: str, name: str, **said: Any) -> Iterator[Any]:
            with mlflow.start_span(name, span_type=kind.upper()) as span:
                if said:
                    span.set_inputs(said["inputs"])
                if kind == "agent" and hasattr(mlflow, "update_current_trace"):
                    with contextlib.suppress(TypeError):  # release 2 has no metadata of traces
                        mlflow.update_current_trace(metadata={"mlflow.trace.session": SESSION})
                yield span.set_outputs

        run(anthropic.Anthropic(base_url=api.url, api_key="test"), step)
        with contextlib.suppress(AttributeError):
            mlflow.flush_trace_async_logging()
        last = getattr(mlflow, "get_last_active_trace_id", None)
        found = mlflow.get_trace(last()) if last is not None else mlflow.get_last_active_trace()
        document = json.loads(found.to_json())
        for said in ("tags", "trace_metadata"):
            for key in ("mlflow.artifactLocation", "mlflow.user"):
                document["info"].get(said, {}).pop(key, None)
        save(name, document)


# -- Phoenix


def phoenix() -> None:
    import anthropic
    from openinference.instrumentation import using_session
    from openinference.instrumentation.anthropic import AnthropicInstrumentor
    from phoenix.client import Client
    from phoenix.otel import register

    with _phoenix_server() as url, MessagesApi(SCRIPT) as api:
        provider = register(
            endpoint=f"{url}/v1/traces", project_name="recorded-agent", batch=False, verbose=False
        )
        AnthropicInstrumentor().instrument(tracer_provider=provider)
        tracer = provider.get_tracer("recorded-agent")

        @contextlib.contextmanager
        def step(kind: str, name: str, **said: Any) -> Iterator[Any]:
            with tracer.start_as_current_span(name, openinference_span_kind=kind) as span:
                if said:
                    span.set_input(json.dumps(said["inputs"]))
                if kind == "tool":
                    span.set_attribute("tool.name", name)
                yield span.set_output

        with using_session(SESSION):
            run(anthropic.Anthropic(base_url=api.url, api_key="test"), step)
        provider.force_flush()
        client = Client(base_url=url)
        listed: list[Any] = []
        for _ in range(100):
            listed = client.spans.get_spans(project_identifier="recorded-agent")
            if len(listed) >= 5:
                break
            time.sleep(0.1)
        save("phoenix.json", listed)
        frame = client.spans.get_spans_dataframe(project_identifier="recorded-agent")
        save("phoenix-dataframe.json", frame.to_json(orient="records", date_format="iso"))


@contextlib.contextmanager
def _phoenix_server() -> Iterator[str]:
    import urllib.request

    with socket.socket() as free, socket.socket() as other:
        free.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        port, grpc_port = free.getsockname()[1], other.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [sys.executable, "-m", "phoenix.server.main", "serve"],
            env={
                **os.environ,
                "PHOENIX_WORKING_DIR": folder,
                "PHOENIX_HOST": "127.0.0.1",
                "PHOENIX_PORT": str(port),
                "PHOENIX_GRPC_PORT": str(grpc_port),
                "PHOENIX_TELEMETRY_ENABLED": "false",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            for _ in range(600):
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"{url}/healthz").close()
                    break
                time.sleep(0.2)
            yield url
        finally:
            server.terminate()
            server.wait()


RECORDERS = {
    "langsmith": langsmith,
    "mlflow-2": mlflow_2,
    "mlflow-3": mlflow_3,
    "phoenix": phoenix,
}

if __name__ == "__main__":
    main()
