"""WildChat, as JSON Lines or parquet.

Source: https://huggingface.co/datasets/allenai/WildChat-1M and, with more fields,
https://huggingface.co/datasets/allenai/WildChat-4.8M:

    {"conversation_hash" (older: "conversation_id"), "model", "timestamp", "turn", "language",
     "conversation": [{"role", "content", "timestamp", "hashed_ip", "country", "turn_identifier",
                       "usage", …}, …],
     "openai_moderation": […], "detoxify_moderation": […], "toxic", "redacted", "hashed_ip", …}

Read as LMSYS-Chat-1M (`lmsys.py`), and:

- The owner is the `hashed_ip` of the conversation, or else of its first message with one.
- `timestamp` of a message is its time, that of the conversation is its last change, in UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from conversations.formats.chat import Chat, Rejected
from conversations.formats.checks import as_id, as_text_or_none
from conversations.formats.drafts import kept
from conversations.formats.lmsys import model_of, read_conversation
from conversations.formats.message import MessageDraft
from conversations.formats.times import utc_time
from conversations.formats.values import read_chats

_OF_WILDCHAT = {"turn_identifier", "hashed_ip", "toxic"}

_Object = dict[str, Any]


def looks_like_wildchat(value: _Object) -> bool:
    messages = value.get("conversation")
    if not isinstance(messages, list):
        return False
    first = messages[0] if messages and isinstance(messages[0], dict) else {}
    return "conversation_hash" in value or not _OF_WILDCHAT.isdisjoint(first)


def read_wildchat(file: BinaryIO) -> Iterator[Chat | Rejected]:
    """Parse a file opened in binary mode, one conversation at a time."""
    return read_chats(file, _chat)


def _chat(number: int, data: _Object) -> Chat:
    drafts, metadata = read_conversation(data)
    for index, draft in enumerate(drafts):
        extra = dict(draft.extra or {})
        time = extra.pop("timestamp", None)
        draft.created_at = utc_time(f"conversation.{index}.timestamp", time)
        draft.extra = extra or None
    updated_at = utc_time("timestamp", data.get("timestamp"))
    first = next((draft.created_at for draft in drafts if draft.created_at), updated_at)
    name = "conversation_hash" if data.get("conversation_hash") else "conversation_id"
    return Chat(
        line=number,
        file_id=as_id(name, data.get(name)),
        owner=_owner(data, drafts),
        messages=tuple(drafts),
        model_used=model_of(data),
        metadata=kept(metadata, name, "timestamp"),
        created_at=first,
        updated_at=updated_at,
    )


def _owner(data: _Object, drafts: list[MessageDraft]) -> str | None:
    said = (draft.extra.get("hashed_ip") for draft in drafts if draft.extra)
    owner = data.get("hashed_ip") or next(filter(None, said), None)
    return as_text_or_none("hashed_ip", owner)
