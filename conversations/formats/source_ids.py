"""The id that an application gave a message, by which later exports of it are recognised."""

from __future__ import annotations

from typing import Any

# As ChatGPT and Open WebUI, Claude and Claude Code, LibreChat, OpenAssistant and Copilot name it.
_KEYS = ("id", "uuid", "messageId", "message_id", "requestId")


def source_id(extra: dict[str, Any] | None) -> str | None:
    """That in the `extra` of a message; None where it has none."""
    if not extra:
        return None
    return next((id_ for key in _KEYS if isinstance(id_ := extra.get(key), str) and id_), None)
