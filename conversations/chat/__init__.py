"""One turn of a model: providers, tools, retrieval, modes, events. No HTTP, no tables."""
