"""LMSYS-Chat-1M, as JSON Lines or parquet.

Source: https://huggingface.co/datasets/lmsys/lmsys-chat-1m:

    {"conversation_id", "model", "conversation": [{"role", "content"}, …], "turn", "language",
     "openai_moderation": [one object a message], "redacted"}

The model is that of the conversation and of its answers. What a list says of each message, as
`openai_moderation`, is in the `extra` of the message, all else that is not null in the metadata.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from conversations.formats.chat import Chat, Rejected
from conversations.formats.checks import as_id, as_list, as_text, required
from conversations.formats.drafts import kept, not_empty, with_parts_if_empty
from conversations.formats.message import MessageDraft
from conversations.formats.openai import as_draft
from conversations.formats.values import read_chats

_MODERATION = ("openai_moderation", "detoxify_moderation")

_Object = dict[str, Any]


def looks_like_lmsys(value: _Object) -> bool:
    return "conversation_id" in value and isinstance(value.get("conversation"), list)


def read_lmsys(file: BinaryIO) -> Iterator[Chat | Rejected]:
    """Parse a file opened in binary mode, one conversation at a time."""
    return read_chats(file, _chat)


def _chat(number: int, data: _Object) -> Chat:
    drafts, metadata = read_conversation(data)
    return Chat(
        line=number,
        file_id=as_id("conversation_id", data.get("conversation_id")),
        messages=tuple(drafts),
        model_used=model_of(data),
        metadata=kept(metadata, "conversation_id"),
    )


def model_of(data: _Object) -> str:
    return as_text("model", data.get("model") or "")


def read_conversation(data: _Object) -> tuple[list[MessageDraft], _Object]:
    """The messages of a conversation, with what lists say of each, and its other fields."""
    messages = as_list("conversation", required("conversation", data.get("conversation")))
    model = model_of(data)
    drafts = []
    for index, message in enumerate(not_empty("conversation", messages)):
        draft = as_draft(f"conversation.{index}", _without_nulls(message))
        if draft.role == "assistant":
            draft.model = draft.model or model
        drafts.append(with_parts_if_empty(draft))
    of_each = [name for name in _MODERATION if _is_of_each(data.get(name), drafts)]
    for name in of_each:
        for draft, value in zip(drafts, data[name], strict=True):
            draft.extra = (draft.extra or {}) | {name: value}
    return drafts, kept(data, "conversation", "model", *of_each)


def _is_of_each(value: object, drafts: list[MessageDraft]) -> bool:
    return isinstance(value, list) and len(value) == len(drafts)


def _without_nulls(message: object) -> object:
    return kept(message) if isinstance(message, dict) else message
