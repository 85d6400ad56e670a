"""Chats exported from Open WebUI, by a user or by an administrator for all users: a JSON array.

Source: the files of its export and its public importers. An array of

    {"id", "user_id", "title", "created_at", "updated_at", "archived", "pinned", "folder_id",
     "share_id", "meta": {"tags"}, "chat": {"title", "models", "params", "files",
       "history": {"currentId", "messages": {ID: {"id", "parentId", "childrenIds", "role",
         "content", "timestamp", "model", "output", "usage", "annotation", "files", …}}},
       "messages": [the same, on the current path]}}

with times in seconds. How a conversation is stored:

- The messages of the history in order of their times, none before the one that it follows; in files
  of old releases, which have none, those of `messages`. The active branch is that of `currentId`.
- An answer is what is in its `output` (items of the Responses API), or else in its `content`, whose
  HTML says what the model thought and which tools it called (`openwebui_message.py`).
- `user_id` is the owner. All else of a message is in the `extra` of its first one, all else of a
  conversation in its metadata.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO

from conversations.formats.arrays import read_values
from conversations.formats.chat import Chat, Rejected
from conversations.formats.checks import (
    as_id,
    as_list,
    as_list_or_none,
    as_object,
    as_object_or_none,
    as_text_or_none,
    as_unix_time_or_none,
    required,
)
from conversations.formats.node_tree import Node, chat_of_tree
from conversations.formats.openwebui_message import read_message
from conversations.formats.unmapped import unmapped
from conversations.formats.values import chats_of, only_objects

MAX_TAGS = 20
MAX_TAG_CHARS = 50

_PARENT = "parentId"
# Of the outer object and of its `chat`, what has a column, or is read otherwise.
_NOT_METADATA = frozenset({"title", "created_at", "updated_at", "archived", "pinned", "chat"})
_NOT_METADATA_OF_CHAT = frozenset({"id", "title", "history", "messages"})

_Object = dict[str, Any]


def looks_like_openwebui(value: _Object) -> bool:
    """Whether the first value of a file is a chat of this format."""
    chat = value.get("chat")
    return isinstance(chat, dict) and ("history" in chat or "messages" in chat)


def read_openwebui(file: BinaryIO) -> Iterator[Chat | Rejected]:
    """Parse a file opened in binary mode; holds one conversation in memory.

    The `line` of a conversation is its place in the export, from 1.
    """
    return chats_of(only_objects(read_values(file)), _chat)


def _chat(place: int, data: _Object) -> Chat:
    chat = as_object("chat", required("chat", data.get("chat")))
    history = as_object_or_none("chat.history", chat.get("history")) or {}
    title = as_text_or_none("title", data.get("title")) or ""
    title = title.strip() or (as_text_or_none("chat.title", chat.get("title")) or "").strip()
    models = as_list_or_none("chat.models", chat.get("models")) or [""]
    created_at = as_unix_time_or_none("created_at", data.get("created_at"))
    updated_at = as_unix_time_or_none("updated_at", data.get("updated_at"))
    more = unmapped(chat, _NOT_METADATA_OF_CHAT)
    return chat_of_tree(
        _nodes(chat, history),
        read_message,
        parent_key=_PARENT,
        current=history.get("currentId"),
        metadata=unmapped(data, _NOT_METADATA) | ({"chat": more} if more else {}),
        line=place,
        file_id=as_id("id", data.get("id")),
        owner=as_id("user_id", data.get("user_id")),
        title=title or None,
        model_used=as_text_or_none("chat.models.0", models[0]) or "",
        tags=_tags(data.get("meta")),
        pinned=data.get("pinned") is True,
        archived_at=_archived_at(data, updated_at or created_at),
        created_at=created_at,
        updated_at=updated_at,
    )


def _archived_at(data: _Object, changed_at: datetime | None) -> datetime | None:
    return changed_at if data.get("archived") is True else None


def _tags(meta: object) -> list[str]:
    """The tags as they can be stored; the metadata keeps all of them."""
    tags = meta.get("tags") if isinstance(meta, dict) else None
    texts = [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
    return [tag for tag in texts if tag.strip() and len(tag) <= MAX_TAG_CHARS][:MAX_TAGS]


def _nodes(chat: _Object, history: _Object) -> list[Node]:
    if history.get("messages"):
        at = "chat.history.messages"
        messages = as_object(at, history["messages"])
        return [_node(f"{at}.{id_}", id_, value, None) for id_, value in messages.items()]
    nodes: list[Node] = []
    at = "chat.messages"
    for index, value in enumerate(as_list(at, chat.get("messages") or [])):
        before = nodes[-1].id if nodes else None
        nodes.append(_node(f"{at}.{index}", f"{at}.{index}", value, before))
    return nodes


def _node(at: str, id_: str, value: object, before: str | None) -> Node:
    """`before` is the id of the message before it in a list; in a history its parent counts."""
    message = as_object(at, value)
    parent = before
    if at.startswith("chat.history."):
        parent = as_id(f"{at}.{_PARENT}", message.get(_PARENT) or None)
    time = as_unix_time_or_none(f"{at}.timestamp", message.get("timestamp"))
    return Node(at, id_, parent, message, time)
