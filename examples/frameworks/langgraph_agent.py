"""An agent of LangGraph: one model, one tool.

causepath run -- python langgraph_agent.py
"""

from __future__ import annotations

import time

from langchain.agents import create_agent


def get_weather(city: str) -> str:
    """Get the weather in a city."""
    time.sleep(0.05)  # the weather service
    return f"Sunny in {city}."


def main() -> None:
    agent = create_agent("anthropic:claude-opus-5-5", tools=[get_weather])
    question = {"role": "user", "content": "Do I need an umbrella in Lisbon?"}
    print(agent.invoke({"messages": [question]})["messages"][-1].text)


if __name__ == "__main__":
    main()
