"""A token as the commands print it in JSON: never its text, which is known once."""

from __future__ import annotations

from typing import Any

from conversations.models import ApiToken


def as_json(token: ApiToken) -> dict[str, Any]:
    return {
        "id": token.key,
        "user": token.user.username,
        "name": token.name,
        "trusted": token.trusted,
        "namespace": token.namespace,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "last_used_at": token.last_used_at,
        "created_by": token.created_by,
    }
