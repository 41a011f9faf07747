"""One agent in each framework, and each way it has to run it: three tools, on a real SDK.

Each takes the address of a stand-in API. `search` is a plain function and `save` a coroutine
function where the framework takes one; `fail` raises. The frameworks are imported where they are
used.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

CLOCK: list[tuple[int, int]] = []
"""When the tools ran, by their own clocks, in ns."""

SECONDS = 0.2


def search(q: str) -> str:
    """Search for something.

    Args:
        q: What to search for.
    """
    began_ns = time.time_ns()
    time.sleep(SECONDS)
    CLOCK.append((began_ns, time.time_ns()))
    return f"found {q}"


async def save(text: str) -> str:
    """Save a text.

    Args:
        text: What to save.
    """
    began_ns = time.time_ns()
    await asyncio.sleep(SECONDS)
    CLOCK.append((began_ns, time.time_ns()))
    return f"saved {text}"


def save_now(text: str) -> str:
    """Save a text.

    Args:
        text: What to save.
    """
    began_ns = time.time_ns()
    time.sleep(SECONDS)
    CLOCK.append((began_ns, time.time_ns()))
    return f"saved {text}"


save_now.__name__ = "save"


def fail(why: str) -> str:
    """Fail.

    Args:
        why: What to say.
    """
    began_ns = time.time_ns()
    time.sleep(SECONDS)
    CLOCK.append((began_ns, time.time_ns()))
    raise LookupError(why)


# -- LangChain and LangGraph


def _langchain_agent(model: Any, *tools: Any) -> Any:
    from langchain.agents import create_agent
    from langchain.agents.middleware import AgentMiddleware
    from langchain_core.messages import ToolMessage
    from langchain_core.tools import tool

    def told(request: Any, error: Exception) -> Any:
        return ToolMessage(str(error), tool_call_id=request.tool_call["id"], status="error")

    class Told(AgentMiddleware):
        def wrap_tool_call(self, request: Any, handler: Any) -> Any:
            try:
                return handler(request)
            except LookupError as error:
                return told(request, error)

        async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
            try:
                return await handler(request)
            except LookupError as error:
                return told(request, error)

    made = [tool(t) if inspect.isroutine(t) else t for t in tools]
    return create_agent(model, made, middleware=[Told()])


ASK = {"messages": [{"role": "user", "content": "?"}]}


def _claude(url: str, **more: Any) -> Any:
    from langchain_anthropic import ChatAnthropic

    return ChatAnthropic(model="m", base_url=url, api_key="test", max_tokens=9, **more)


def langchain(url: str) -> None:
    _langchain_agent(_claude(url), search, save_now, fail).invoke(ASK)


async def langchain_async(url: str) -> None:
    await _langchain_agent(_claude(url), search, save, fail).ainvoke(ASK)


async def langchain_streaming(url: str) -> None:
    agent = _langchain_agent(_claude(url, streaming=True), search, save, fail)
    async for _ in agent.astream(ASK, stream_mode="messages"):
        pass


async def langchain_openai(url: str) -> None:
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="m", base_url=url, api_key="test")
    await _langchain_agent(model, search, save, fail).ainvoke(ASK)


def langchain_classes(url: str) -> None:
    from langchain_core.tools import BaseTool

    class Search(BaseTool):
        name: str = "search"
        description: str = "Search."

        def _run(self, q: str) -> str:
            return search(q)

    _langchain_agent(_claude(url), Search(), save_now, fail).invoke(ASK)


# -- Pydantic AI


def _pydantic_ai_agent(model: Any, *tools: Any) -> Any:
    from pydantic_ai import Agent, ModelRetry

    async def failing(why: str) -> str:
        """Fail."""
        try:
            return fail(why)
        except LookupError as error:
            raise ModelRetry(str(error)) from error

    failing.__name__ = "fail"
    return Agent(model, tools=[*tools, failing])


def _pydantic_claude(url: str) -> Any:
    from anthropic import AsyncAnthropic
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    client = AsyncAnthropic(base_url=url, api_key="test")
    return AnthropicModel("m", provider=AnthropicProvider(anthropic_client=client))


def pydantic_ai(url: str) -> None:
    _pydantic_ai_agent(_pydantic_claude(url), search, save).run_sync("?")


async def pydantic_ai_async(url: str) -> None:
    await _pydantic_ai_agent(_pydantic_claude(url), search, save).run("?")


async def pydantic_ai_streaming(url: str) -> None:
    agent = _pydantic_ai_agent(_pydantic_claude(url), search, save)
    async with agent.run_stream("?") as result:
        async for _ in result.stream_text():
            pass


async def pydantic_ai_openai(url: str) -> None:
    from openai import AsyncOpenAI
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    client = AsyncOpenAI(base_url=url, api_key="test")
    model = OpenAIChatModel("m", provider=OpenAIProvider(openai_client=client))
    await _pydantic_ai_agent(model, search, save).run("?")


async def pydantic_ai_instrumented(url: str) -> None:
    from pydantic_ai import Agent

    Agent.instrument_all()
    await _pydantic_ai_agent(_pydantic_claude(url), search, save).run("?")


# -- OpenAI Agents


def _openai_agent(url: str, chat: bool) -> Any:
    from agents import Agent, function_tool
    from agents.models.openai_chatcompletions import OpenAIChatCompletionsModel
    from agents.models.openai_responses import OpenAIResponsesModel
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=url, api_key="test")
    make = OpenAIChatCompletionsModel if chat else OpenAIResponsesModel
    tools = [function_tool(search), function_tool(save), function_tool(fail)]
    return Agent(name="a", model=make(model="m", openai_client=client), tools=tools)


def openai_agents(url: str) -> None:
    from agents import Runner

    Runner.run_sync(_openai_agent(url, chat=True), "?")


async def openai_agents_async(url: str) -> None:
    from agents import Runner

    await Runner.run(_openai_agent(url, chat=False), "?")


async def openai_agents_streaming(url: str) -> None:
    from agents import Runner

    result = Runner.run_streamed(_openai_agent(url, chat=False), "?")
    async for _ in result.stream_events():
        pass


# -- smolagents


def smolagents_tools(url: str) -> None:
    from smolagents import OpenAIServerModel, ToolCallingAgent, tool

    model = OpenAIServerModel("m", api_base=url, api_key="test")
    agent = ToolCallingAgent([tool(search), tool(save_now), tool(fail)], model, verbosity_level=0)
    agent.run("?")


# -- Strands


def _strands_agent(url: str) -> Any:
    from strands import Agent, tool
    from strands.models.anthropic import AnthropicModel

    model = AnthropicModel(
        client_args={"base_url": url, "api_key": "test"}, model_id="m", max_tokens=9
    )
    return Agent(model, tools=[tool(search), tool(save), tool(fail)], callback_handler=None)


def strands(url: str) -> None:
    _strands_agent(url)("?")


async def strands_async(url: str) -> None:
    await _strands_agent(url).invoke_async("?")


async def strands_streaming(url: str) -> None:
    async for _ in _strands_agent(url).stream_async("?"):
        pass


# -- Agno


def _agno_agent(url: str, save: Callable[..., Any]) -> Any:
    from agno.agent import Agent
    from agno.models.anthropic import Claude

    model = Claude(id="m", api_key="test", client_params={"base_url": url}, max_tokens=9)
    return Agent(model=model, tools=[search, save, fail], telemetry=False)


def agno(url: str) -> None:
    _agno_agent(url, save_now).run("?")


async def agno_async(url: str) -> None:
    await _agno_agent(url, save).arun("?")


async def agno_streaming(url: str) -> None:
    async for _ in _agno_agent(url, save).arun("?", stream=True):
        pass


# -- AutoGen


def _autogen_agent(url: str, stream: bool = False) -> Any:
    from autogen_agentchat.agents import AssistantAgent
    from autogen_core.models import ModelInfo
    from autogen_ext.models.openai import OpenAIChatCompletionClient

    info = ModelInfo(
        vision=False,
        function_calling=True,
        json_output=False,
        family="unknown",
        structured_output=False,
    )
    client = OpenAIChatCompletionClient(model="m", base_url=url, api_key="test", model_info=info)
    return AssistantAgent(
        "a", client, tools=[search, save, fail], max_tool_iterations=5, model_client_stream=stream
    )


async def autogen(url: str) -> None:
    await _autogen_agent(url).run(task="?")


async def autogen_streaming(url: str) -> None:
    async for _ in _autogen_agent(url, stream=True).run_stream(task="?"):
        pass


# -- LlamaIndex


def _llama_index_agent(url: str, streaming: bool) -> Any:
    from llama_index.core.agent.workflow import FunctionAgent
    from llama_index.llms.openai import OpenAI

    llm = OpenAI(model="gpt-4o", api_base=url, api_key="test")
    return FunctionAgent(tools=[search, save, fail], llm=llm, streaming=streaming)


async def llama_index(url: str) -> None:
    await _llama_index_agent(url, streaming=False).run("?")


async def llama_index_streaming(url: str) -> None:
    await _llama_index_agent(url, streaming=True).run("?")


# -- Semantic Kernel


async def semantic_kernel(url: str) -> None:
    from anthropic import AsyncAnthropic
    from semantic_kernel.agents import ChatCompletionAgent
    from semantic_kernel.connectors.ai.anthropic import AnthropicChatCompletion
    from semantic_kernel.functions import kernel_function

    class Plugin:
        @kernel_function
        def search(self, q: str) -> str:
            return search(q)

        @kernel_function
        async def save(self, text: str) -> str:
            return await save(text)

        @kernel_function
        def fail(self, why: str) -> str:
            return fail(why)

    client = AsyncAnthropic(base_url=url, api_key="test")
    service = AnthropicChatCompletion(ai_model_id="m", api_key="test", async_client=client)
    agent = ChatCompletionAgent(service=service, name="a", plugins=[Plugin()])
    await agent.get_response("?")


# -- Haystack


def _haystack_agent(url: str) -> Any:
    from haystack.components.agents import Agent
    from haystack.tools import create_tool_from_function
    from haystack.utils import Secret
    from haystack_integrations.components.generators.anthropic import AnthropicChatGenerator

    os.environ["ANTHROPIC_BASE_URL"] = url
    generator = AnthropicChatGenerator(
        api_key=Secret.from_token("test"), model="m", generation_kwargs={"max_tokens": 9}
    )
    tools = [create_tool_from_function(f) for f in (search, save_now, fail)]
    return Agent(chat_generator=generator, tools=tools, raise_on_tool_invocation_failure=False)


def haystack(url: str) -> None:
    from haystack.dataclasses import ChatMessage

    _haystack_agent(url).run(messages=[ChatMessage.from_user("?")])


async def haystack_async(url: str) -> None:
    from haystack.dataclasses import ChatMessage

    await _haystack_agent(url).run_async(messages=[ChatMessage.from_user("?")])


# -- CrewAI


def crewai(url: str) -> None:
    from crewai import LLM, Agent, Crew, Task
    from crewai.tools import tool

    os.environ.update(CREWAI_DISABLE_TELEMETRY="true", CREWAI_TRACING_ENABLED="false")
    llm = LLM(model="openai/gpt-4o", base_url=url, api_key="test")
    tools = [tool("search")(search), tool("save")(save_now), tool("fail")(fail)]
    agent = Agent(role="a", goal="g", backstory="b", llm=llm, tools=tools)
    task = Task(description="?", expected_output="words", agent=agent)
    Crew(agents=[agent], tasks=[task]).kickoff()


CLAUDE = (
    langchain, langchain_async, langchain_streaming, langchain_classes,
    pydantic_ai, pydantic_ai_async, pydantic_ai_streaming, pydantic_ai_instrumented,
    strands, strands_async, strands_streaming,
    agno, agno_async, agno_streaming,
    semantic_kernel, haystack, haystack_async,
)  # fmt: skip
OPENAI = (
    langchain_openai, pydantic_ai_openai,
    openai_agents, openai_agents_async, openai_agents_streaming,
    smolagents_tools, autogen, autogen_streaming, llama_index, llama_index_streaming, crewai,
)  # fmt: skip
