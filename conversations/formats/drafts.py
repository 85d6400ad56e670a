"""What readers of several formats make of messages."""

from __future__ import annotations

from typing import Any

from conversations.formats.chat import Malformed
from conversations.formats.message import MessageDraft

NO_MESSAGES = "The list of messages is empty."

_Object = dict[str, Any]


def kept(values: _Object, *elsewhere: str) -> _Object:
    """What is not null, but for these names."""
    return {
        name: value for name, value in values.items() if value is not None and name not in elsewhere
    }


def with_parts_if_empty(draft: MessageDraft) -> MessageDraft:
    """A message needs content: one that has none in its file gets an empty text as its part."""
    if not (draft.content or draft.parts or draft.tool_calls or draft.role == "tool"):
        draft.parts = [{"type": "text", "text": ""}]
    return draft


def tool_call(id_: str, name: str, arguments: str) -> _Object:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def not_empty(at: str, messages: list[Any]) -> list[Any]:
    if not messages:
        raise Malformed(at, NO_MESSAGES)
    return messages
