"""Messages of OpenAI chat JSONL as they were stored before `extra`, for repeated imports.

Ids of conversations without an id in their file depend on the stored form, and a repeated import
is compared with it. `content` was the text of parts of the type `text` alone; keys without a column
were `metadata["openai"]`, and without any content a part of their own.
"""

from __future__ import annotations

from typing import Any

from conversations.formats.message import MessageDraft

EXTRAS = "openai"

_MESSAGE_KEYS = frozenset({"role", "content", "tool_calls", "tool_call_id", "name"})
_INSTEAD_OF_CONTENT = ("refusal", "audio", "function_call")

_Object = dict[str, Any]


def earlier_message(data: _Object) -> MessageDraft:
    """The draft of a message, which `formats.openai` has checked."""
    content = data.get("content")
    parts = content if isinstance(content, list) else None
    extras = {key: value for key, value in data.items() if key not in _MESSAGE_KEYS}
    text = content if isinstance(content, str) else _text_of(parts or [])
    if not text and not parts and not data.get("tool_calls"):
        parts = parts_from_extras(extras) or parts
    return MessageDraft(
        role=data.get("role", ""),
        content=text,
        parts=parts,
        tool_calls=data.get("tool_calls"),
        tool_call_id=data.get("tool_call_id"),
        name=data.get("name"),
        metadata={EXTRAS: extras} if extras else {},
    )


def parts_from_extras(extras: _Object) -> list[_Object]:
    """The data of a message without content as content parts."""
    return [{"type": key, key: extras[key]} for key in _INSTEAD_OF_CONTENT if extras.get(key)]


def _text_of(parts: list[Any]) -> str:
    texts = [part for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    return "\n".join(str(part.get("text")) for part in texts)
