"""The system of record for LLM conversations; README.md is the map of its packages."""
