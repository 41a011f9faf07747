"""Records the spans of what agents are usually built with: tests/plugin/around.json.

Run by hand, when new releases of the instrumentations should be looked at. Needs `redis-server` and
PostgreSQL on the machine (as root, a user `postgres`):

    python -m venv /tmp/emitters
    /tmp/emitters/bin/pip install opentelemetry-sdk
        opentelemetry-instrumentation-{httpx,requests,aiohttp-client,redis,sqlalchemy,psycopg}
        opentelemetry-instrumentation-{pinecone,qdrant,chromadb,langchain,llamaindex}
        openinference-instrumentation-{langchain,llama-index}
        httpx requests aiohttp redis 'sqlalchemy<2.1' 'psycopg[binary]' 'pinecone<9'
        qdrant-client chromadb langchain langgraph llama-index-core llama-index-llms-anthropic
    PYTHONPATH=. /tmp/emitters/bin/python -m tests.support.record_around

Each library does real work, in a process of its own: over loopback, in memory, or with a model that
plays a script. Of the attributes only names are kept, and those values that say what a span is.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILE = Path(__file__).parents[1] / "plugin" / "around.json"
TELLING = re.compile(
    r"(?:\.|^)(?:system|system\.name|span\.kind|operation\.name|operation|request\.type"
    r"|http\.request\.method|http\.method)$"
)
"""The attributes whose values say what a span is."""


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(record(sys.argv[1])))
        return
    found = {}
    for recorded in RECORDED:
        command = [sys.executable, "-m", "tests.support.record_around", recorded]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        found[recorded] = json.loads(output.splitlines()[-1])
    lines = (
        f"{json.dumps(recorded)}: [\n" + ",\n".join(map(json.dumps, spans)) + "\n]"
        for recorded, spans in found.items()
    )
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def record(recorded: str) -> list[dict[str, Any]]:
    """The kinds of spans that an instrumentation writes of one piece of work, in order."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    instrumentor, work = RECORDED[recorded]
    module, _, name = instrumentor.rpartition(".")
    getattr(importlib.import_module(module), name)().instrument()
    with contextlib.redirect_stdout(sys.stderr):
        work()
    rows = []
    for span in sorted(exporter.get_finished_spans(), key=lambda span: span.start_time or 0):
        row = {
            "name": re.sub(r"\d{4,}|[0-9a-f-]{36}", "N", span.name),
            "kind": span.kind.name,
            "scope": span.instrumentation_scope.name if span.instrumentation_scope else "",
            "attributes": {
                name: value if TELLING.search(name) else "~"
                for name, value in sorted((span.attributes or {}).items())
            },
        }
        if row not in rows:
            rows.append(row)
    return rows


# -- servers


@contextlib.contextmanager
def http(answer: bytes) -> Iterator[str]:
    """The address of a server on loopback that answers everything with this JSON."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def running(command: list[str], ready: Callable[[], bool]) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not ready():
            assert process.poll() is None, f"{command[0]} ended at once"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def as_postgres(command: list[str]) -> list[str]:
    return ["runuser", "-u", "postgres", "--", *command] if os.geteuid() == 0 else command


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """How to reach a database of PostgreSQL that holds nothing."""
    programs = Path(os.path.realpath(shutil.which("postgres") or "")).parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    programs = installed[-1] if installed else programs
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        data = f"{folder}/data"
        initialise = [f"{programs}/initdb", "-D", data, "-U", "postgres", "-A", "trust"]
        subprocess.run(as_postgres(initialise), check=True, stdout=subprocess.DEVNULL)
        serve = [f"{programs}/postgres", "-D", data, "-k", folder, "-h", ""]
        ask = [f"{programs}/pg_isready", "-q", "-h", folder]
        with running(as_postgres(serve), lambda: subprocess.run(ask, check=False).returncode == 0):
            yield f"host={folder} user=postgres dbname=postgres"


# -- work


def with_httpx() -> None:
    import httpx

    async def later(url: str) -> None:
        async with httpx.AsyncClient() as client:
            await client.post(url, json={})

    with http(b"{}") as url:
        httpx.get(url)
        asyncio.run(later(url))


def with_requests() -> None:
    import requests

    with http(b"{}") as url:
        requests.get(url, timeout=9)
        requests.post(url, json={}, timeout=9)


def with_aiohttp() -> None:
    import aiohttp

    async def get(url: str) -> None:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            await response.read()

    with http(b"{}") as url:
        asyncio.run(get(url))


def with_redis() -> None:
    import redis

    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/redis.sock"
        serve = ["redis-server", "--port", "0", "--unixsocket", socket, "--save", ""]
        with running(serve, Path(socket).exists):
            client = redis.Redis(unix_socket_path=socket)
            client.set("name", "value")
            client.get("name")
            client.pipeline().get("name").get("other").execute()
            client.blpop(["queue"], timeout=1)
            client.close()


def with_sqlalchemy() -> None:
    import sqlalchemy

    engine = sqlalchemy.create_engine("sqlite://")
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE t (x int)"))
        connection.execute(sqlalchemy.text("INSERT INTO t VALUES (1)"))
        connection.execute(sqlalchemy.text("SELECT x FROM t")).all()


def with_psycopg() -> None:
    import psycopg

    with postgres() as address, psycopg.connect(address) as connection:
        connection.execute("CREATE TABLE t (x int)")
        connection.execute("SELECT x FROM t").fetchall()


def with_pinecone() -> None:
    from pinecone import Pinecone

    answer = {"matches": [], "namespace": "", "usage": {"readUnits": 1}, "upsertedCount": 1}
    with http(json.dumps(answer).encode()) as url:
        index = Pinecone(api_key="test").Index(host=url)
        index.upsert(vectors=[{"id": "a", "values": [0.1, 0.2]}])
        index.query(vector=[0.1, 0.2], top_k=1)
        index.delete(ids=["a"])


def with_qdrant() -> None:
    from qdrant_client import QdrantClient
    from qdrant_client.models import Distance, PointStruct, VectorParams

    client = QdrantClient(":memory:")
    vectors = VectorParams(size=2, distance=Distance.COSINE)
    client.create_collection("c", vectors_config=vectors)
    client.upsert("c", points=[PointStruct(id=1, vector=[0.1, 0.2])])
    client.query_points("c", query=[0.1, 0.2], limit=1)
    client.scroll("c")


def with_chroma() -> None:
    import chromadb

    found = chromadb.EphemeralClient().create_collection("texts", embedding_function=None)
    found.add(ids=["a"], embeddings=[[0.1, 0.2]], documents=["text"])
    found.query(query_embeddings=[[0.1, 0.2]], n_results=1)
    found.get(ids=["a"])


def with_langchain() -> None:
    from langchain.agents import create_agent
    from langchain_core.documents import Document
    from langchain_core.embeddings import DeterministicFakeEmbedding
    from langchain_core.language_models import FakeListLLM, FakeMessagesListChatModel
    from langchain_core.messages import AIMessage
    from langchain_core.prompts import PromptTemplate
    from langchain_core.tools import tool
    from langchain_core.vectorstores import InMemoryVectorStore

    class Model(FakeMessagesListChatModel):
        def bind_tools(self, tools: Any, **_: Any) -> Any:
            return self

    @tool
    def search(query: str) -> str:
        """Look something up."""
        return f"found {query}"

    asked = AIMessage(
        "", tool_calls=[{"name": "search", "args": {"query": "traces"}, "id": "toolu_01"}]
    )
    agent = create_agent(Model(responses=[asked, AIMessage("Done.")]), [search])
    agent.invoke({"messages": [{"role": "user", "content": "What do traces say?"}]})
    store = InMemoryVectorStore(DeterministicFakeEmbedding(size=4))
    store.add_documents([Document("text")])
    store.as_retriever().invoke("text")
    (PromptTemplate.from_template("{text}") | FakeListLLM(responses=["Done."])).invoke(
        {"text": "text"}
    )


def with_llama_index() -> None:
    from llama_index.core import Document, Settings, VectorStoreIndex
    from llama_index.core.agent.workflow import ReActAgent
    from llama_index.core.embeddings import MockEmbedding
    from llama_index.core.llms import CompletionResponse as Completion
    from llama_index.core.llms import CustomLLM, LLMMetadata
    from llama_index.core.llms.callbacks import llm_completion_callback
    from llama_index.core.tools import FunctionTool

    class Model(CustomLLM):
        """Asks for a tool, then answers."""

        @property
        def metadata(self) -> LLMMetadata:
            return LLMMetadata(model_name="scripted")

        def said(self, prompt: str) -> str:
            if "Observation: found" in prompt:
                return "Thought: I know.\nAnswer: Done."
            return 'Thought: I look.\nAction: search\nAction Input: {"query": "traces"}'

        @llm_completion_callback()
        def complete(self, prompt: str, formatted: bool = False, **_: Any) -> Any:
            return Completion(text=self.said(prompt))

        @llm_completion_callback()
        def stream_complete(self, prompt: str, formatted: bool = False, **_: Any) -> Any:
            said = self.said(prompt)
            yield Completion(text=said, delta=said)

    def search(query: str) -> str:
        """Look something up."""
        return f"found {query}"

    Settings.llm, Settings.embed_model = Model(), MockEmbedding(embed_dim=4)
    VectorStoreIndex.from_documents([Document(text="text")]).as_query_engine().query("text?")

    async def ask() -> None:
        tools = [FunctionTool.from_defaults(search)]
        await ReActAgent(tools=tools, llm=Settings.llm).run("What do traces say?")

    asyncio.run(ask())


OTEL = "opentelemetry.instrumentation"
RECORDED = {
    "httpx": (f"{OTEL}.httpx.HTTPXClientInstrumentor", with_httpx),
    "requests": (f"{OTEL}.requests.RequestsInstrumentor", with_requests),
    "aiohttp": (f"{OTEL}.aiohttp_client.AioHttpClientInstrumentor", with_aiohttp),
    "redis": (f"{OTEL}.redis.RedisInstrumentor", with_redis),
    "sqlalchemy": (f"{OTEL}.sqlalchemy.SQLAlchemyInstrumentor", with_sqlalchemy),
    "psycopg": (f"{OTEL}.psycopg.PsycopgInstrumentor", with_psycopg),
    "pinecone": (f"{OTEL}.pinecone.PineconeInstrumentor", with_pinecone),
    "qdrant": (f"{OTEL}.qdrant.QdrantInstrumentor", with_qdrant),
    "chroma": (f"{OTEL}.chromadb.ChromaInstrumentor", with_chroma),
    "langchain": (f"{OTEL}.langchain.LangchainInstrumentor", with_langchain),
    "langchain, openinference": (
        "openinference.instrumentation.langchain.LangChainInstrumentor",
        with_langchain,
    ),
    "llama-index": (f"{OTEL}.llamaindex.LlamaIndexInstrumentor", with_llama_index),
    "llama-index, openinference": (
        "openinference.instrumentation.llama_index.LlamaIndexInstrumentor",
        with_llama_index,
    ),
}

if __name__ == "__main__":
    main()
