"""The model: its providers, the agent loop, tools, retrieval and what it is shown."""
