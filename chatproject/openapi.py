"""The settings of drf-spectacular: none of them differs between installations."""

from typing import Any

SETTINGS: dict[str, Any] = {
    "TITLE": "Conversations API",
    "DESCRIPTION": "A self-hosted system of record for LLM conversations.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/(api|v1)/",
    "PREPROCESSING_HOOKS": ["conversations.api.schema.without_trailing_slash"],
    "TAGS": [
        {"name": "conversations", "description": "Conversations of a user with their messages."},
        {"name": "messages", "description": "The messages of a conversation in order."},
        {"name": "branches", "description": "Other answers, edited questions, forks."},
        {"name": "search", "description": "Full-text search over messages and titles."},
        {"name": "sessions", "description": "The same conversations, named sessions."},
        {"name": "chat", "description": "Ask a model and stream its answer, resume or stop it."},
        {"name": "changes", "description": "A feed of what was written, for copies elsewhere."},
        {"name": "usage", "description": "Messages, tokens and cost by day, user and model."},
        {"name": "openai", "description": "OpenAI's Conversations API over the same record."},
        {"name": "tokens", "description": "API tokens of the caller."},
    ],
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "Role": "conversations.models.Role",
        "Status": "conversations.models.Status",
        "EndStatus": "conversations.api.answer_shapes.END_CHOICES",
    },
}
