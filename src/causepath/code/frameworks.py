"""Agent frameworks: how their packages begin, and the functions of theirs that carry tools out.

One table for all who need to know; it imports nothing, and no framework.
"""

from __future__ import annotations

TOOL_FUNCTIONS = {
    "agents": (("agents.run_internal.tool_execution", "_invoke_function_tool_with_metadata"),),
    "agno": (
        ("agno.tools.function", "FunctionCall.execute"),
        ("agno.tools.function", "FunctionCall.aexecute"),
    ),
    "autogen": (("autogen_core.tools._base", "BaseTool.run_json"),),
    "haystack": (
        ("haystack.tools.tool", "Tool.invoke"),
        ("haystack.tools.tool", "Tool.invoke_async"),
    ),
    "langchain": (
        ("langchain_core.tools.base", "BaseTool.run"),
        ("langchain_core.tools.base", "BaseTool.arun"),
    ),
    "langgraph": (),  # whose tools are those of LangChain
    "llama_index": (
        ("llama_index.core.tools.function_tool", "FunctionTool.call"),
        ("llama_index.core.tools.function_tool", "FunctionTool.acall"),
    ),
    "pydantic_ai": (("pydantic_ai.toolsets.function", "FunctionToolset.call_tool"),),
    "semantic_kernel": (
        (
            "semantic_kernel.functions.kernel_function_from_method",
            "KernelFunctionFromMethod._invoke_internal",
        ),
    ),
    "smolagents": (("smolagents.tools", "Tool.__call__"),),
    "strands": (("strands.tools.decorator", "DecoratedFunctionTool.stream"),),
}
"""By how a framework's packages begin: the module and the dotted name of each such function."""

RUNS = (("smolagents.agents", "MultiStepAgent._run_stream"),)
"""Generators that are a whole run of an agent, by module and dotted name: those of a framework that
sends results without the ids of their calls, so that nothing else tells which requests are of one
run."""

MODULES = sorted({module for rows in (*TOOL_FUNCTIONS.values(), RUNS) for module, _ in rows})
"""The modules that have one of these functions."""

MEASURED = tuple(TOOL_FUNCTIONS)
"""How the packages of the frameworks begin whose tools are measured where they carry them out."""

ALL = (
    *MEASURED, "agent_framework", "camel", "crewai", "dspy", "google", "instructor", "litellm",
    "mirascope",
)  # fmt: skip
"""How the packages of all that call SDKs for an application begin."""
