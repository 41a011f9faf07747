"""The research agent, traced: the first import is all it takes."""

import causepath.auto  # noqa: F401, I001 (importing it is what enables it; before the agent)
import research_agent

if __name__ == "__main__":
    research_agent.main()
