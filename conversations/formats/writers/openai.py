"""OpenAI chat JSONL: the lines that fine-tuning takes, one conversation each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from conversations.formats.chat import RecordedChat
from conversations.formats.content_parts import text_of
from conversations.formats.message import RecordedMessage
from conversations.formats.openai_earlier import EXTRAS, parts_from_extras
from conversations.formats.tool_calls import is_call_of
from conversations.formats.writers.json_values import as_json


def write_openai(chat: RecordedChat) -> Iterator[str]:
    """One line, from which `formats.openai` reads the same conversation.

    A branch is a conversation of its own, whose id says which: `ID?branch=NUMBER`. The first one
    keeps the id, by which what was imported before the conversation had branches is recognised.
    """
    metadata = dict(chat.metadata)
    extras = metadata.pop(EXTRAS, None)
    if isinstance(extras, dict):
        extras = dict(extras)
        metadata |= extras.pop("metadata", None) or {}
    elif extras is not None:
        metadata, extras = dict(chat.metadata), None
    rest = {"id": chat.id, "title": chat.title, "metadata": metadata} | (extras or {})
    if chat.branch is not None and chat.branch.number:
        rest["id"] = f"{rest['id']}?branch={chat.branch.number}"
    yield as_json(rest)[:-1] + ', "messages": ['
    for number, message in enumerate(chat.messages):
        yield (", " if number else "") + as_json(_message(message))
    yield "]}\n"


def _message(message: RecordedMessage) -> dict[str, Any]:
    """The message as its sender wrote it, from which `formats.openai` reads the same columns."""
    extra = message.extra or {}
    # Imports of earlier releases have what is in `extra` today in their metadata.
    earlier = message.metadata.get(EXTRAS)
    others = (earlier if isinstance(earlier, dict) else {}) | extra
    data = {"role": message.role, "content": _content(message, others)}
    for name in ("name", "tool_calls", "tool_call_id"):
        if (value := getattr(message, name)) is not None:
            data[name] = value
    if extra.get("role") == "function":
        data.pop("tool_call_id", None)
    if is_call_of(extra.get("function_call"), message.tool_calls):
        data.pop("tool_calls")
    return data | others


def _content(message: RecordedMessage, others: dict[str, Any]) -> Any:
    """Parts, with the text before them unless it is theirs; null where a call or a key says all."""
    parts = message.parts
    if parts and parts == parts_from_extras(others):
        return None
    if parts is not None:
        has_text = text_of(parts) or not message.content
        return parts if has_text else [{"type": "text", "text": message.content}, *parts]
    return None if message.content == "" and message.tool_calls else message.content
