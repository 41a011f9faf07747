"""`causepath.category` of the spans that the common instrumentations really write."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import pytest

from tests.support.around import recorded

if TYPE_CHECKING:
    from tests.support.recording import Recording

EXPECTED = """\
httpx
  network: GET, POST
requests
  network: GET, POST
aiohttp
  network: GET
redis
  database: SET, GET, GET GET
  wait: BLPOP
sqlalchemy
  database: connect, CREATE, INSERT, SELECT
psycopg
  database: CREATE, SELECT
pinecone
  retrieval: pinecone.upsert, pinecone.query, pinecone.delete
qdrant
  retrieval: qdrant.upsert, qdrant.query_points, qdrant.scroll
chroma
  retrieval: chroma.add, chroma.query, chroma.get
langchain
  agent: create_agent agent, invoke_agent LangGraph, LangGraph.workflow, execute_task model
  llm: Model.chat
  agent: execute_task tools
  tool: execute_tool search
  retrieval: vector_db_retrieve VectorStoreRetriever
  agent: RunnableSequence.workflow, execute_task PromptTemplate
  llm: FakeListLLM.completion
langchain, openinference
  agent: LangGraph, model
  llm: Model
  agent: tools
  tool: search
  llm: Model
  retrieval: VectorStoreRetriever
  agent: RunnableSequence
  other: PromptTemplate
  llm: FakeListLLM
llama-index
  agent: SentenceSplitter.workflow, SentenceSplitter.task
  embedding: MockEmbedding.workflow, MockEmbedding.task
  agent: RetrieverQueryEngine.workflow, RetrieverQueryEngine.task
  retrieval: VectorIndexRetriever.task
  embedding: MockEmbedding.task
  agent: CompactAndRefine.task, TokenTextSplitter.task, DefaultRefineProgram.task, Model.task, ReActAgent.workflow, BaseWorkflowAgent.task
  llm: Model.task
  agent: Model.task, ReActOutputParser.task, BaseWorkflowAgent.task
  tool: FunctionTool.task
llama-index, openinference
  agent: SentenceSplitter.__call__, SentenceSplitter._parse_nodes, SentenceSplitter.split_text_metadata_aware
  embedding: MockEmbedding.get_text_embedding_batch, MockEmbedding._get_text_embedding
  agent: RetrieverQueryEngine.query, RetrieverQueryEngine._query
  retrieval: VectorIndexRetriever.retrieve, VectorIndexRetriever._retrieve
  embedding: MockEmbedding.get_query_embedding, MockEmbedding._get_query_embedding
  agent: CompactAndRefine.synthesize, CompactAndRefine.get_response, TokenTextSplitter.split_text, DefaultRefineProgram.__call__
  llm: Model.predict, Model.complete
  agent: ReActAgent.run, BaseWorkflowAgent.init_run, BaseWorkflowAgent.setup_agent, BaseWorkflowAgent.run_agent_step
  llm: Model.astream_chat, Model.stream_chat, Model.stream_complete
  agent: ReActOutputParser.parse, BaseWorkflowAgent.parse_agent_output, BaseWorkflowAgent.call_tool
  tool: FunctionTool.acall
  agent: BaseWorkflowAgent.aggregate_tool_results
  llm: Model.astream_chat, Model.stream_chat
  agent: BaseWorkflowAgent.parse_agent_output
"""  # noqa: E501


@pytest.mark.parametrize("late", [False, True], ids=["at start", "later"])
def test_the_spans_around_an_agent_have_categories(recording: Recording, late: bool) -> None:
    rows = recorded()
    for row in rows:
        row.start(late=late)
    told = [
        (row.by, str((span.attributes or {})["causepath.category"]), span.name)
        for row, span in zip(rows, recording.spans(), strict=True)
    ]
    text = ""
    for by, of_one in groupby(told, lambda row: row[0]):
        text += f"{by}\n"
        for category, names in groupby(of_one, lambda row: row[1]):
            text += f"  {category}: {', '.join(dict.fromkeys(name for *_, name in names))}\n"
    assert text == EXPECTED
