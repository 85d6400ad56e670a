"""The `/v1` face: OpenAI's own routes, shapes and errors over the same record."""
