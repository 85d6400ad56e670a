"""The data export of Claude.ai: `conversations.json` of its zip, a JSON array.

Source: files of users, as public importers read them; Anthropic documents no schema. An array of

    {"uuid", "name", "summary", "created_at", "updated_at", "account": {"uuid"},
     "chat_messages": [{"uuid", "parent_message_uuid", "sender": "human" or "assistant", "text",
       "content": [{"type": "text" or "thinking" or "tool_use" or "tool_result", …}, …],
       "attachments": [{"file_name", "extracted_content", …}], "files": [{"file_uuid", …}],
       "created_at", "updated_at"}, …]}

How a conversation is stored:

- Messages in order of their times, none before the one that it follows. In older exports, which
  name no parents, each follows the one before it. The active branch is that of the last message,
  or of `current_leaf_message_uuid` where there is one.
- `content` counts; `text`, its rendering, only where there is none. The results of tools in an
  answer are messages of their own (`answer_parts.py`).
- Attachments and files are parts after the text: the text that was extracted from an attachment is
  a part of text, since the model was shown it.
- All else of a message is in the `extra` of its first one under the same names, all else of a
  conversation in its metadata. The export does not say which model answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from conversations.formats.answer_parts import drafts_of_parts, last_said
from conversations.formats.arrays import read_values
from conversations.formats.chat import Chat, Malformed, Rejected
from conversations.formats.checks import (
    as_id,
    as_list,
    as_list_or_none,
    as_object,
    as_object_or_none,
    as_text,
    as_text_or_none,
    as_time_or_none,
    required,
)
from conversations.formats.content_parts import as_part, file_part, text_of
from conversations.formats.message import MessageDraft
from conversations.formats.node_tree import Node, chat_of_tree
from conversations.formats.unmapped import add_extra, unmapped
from conversations.formats.values import chats_of, only_objects

ROLES = {"human": "user", "assistant": "assistant"}
UNKNOWN_SENDER = "Must be `human` or `assistant`."

# The parent of a first message.
_NONE = "00000000-0000-4000-8000-000000000000"
_PARENT = "parent_message_uuid"
# Of a conversation and of a message, what has a column, or is read otherwise.
_NOT_METADATA = frozenset({"name", "created_at", "updated_at", "chat_messages", "model"})
_NOT_EXTRA = frozenset({"sender", "content", "attachments", "files", "created_at", "stop_reason"})

_Object = dict[str, Any]


def looks_like_claude(value: _Object) -> bool:
    """Whether the first value of a file is a conversation of this format."""
    return isinstance(value.get("chat_messages"), list)


def read_claude(file: BinaryIO) -> Iterator[Chat | Rejected]:
    """Parse a file opened in binary mode; holds one conversation in memory.

    The `line` of a conversation is its place in the export, from 1.
    """
    return chats_of(only_objects(read_values(file)), _chat)


def _chat(place: int, data: _Object) -> Chat:
    account = as_object_or_none("account", data.get("account")) or {}
    title = as_text_or_none("name", data.get("name"))
    messages = as_list("chat_messages", required("chat_messages", data.get("chat_messages")))
    return chat_of_tree(
        _nodes(messages),
        _read,
        parent_key=_PARENT,
        current=data.get("current_leaf_message_uuid"),
        metadata=unmapped(data, _NOT_METADATA),
        line=place,
        file_id=as_id("uuid", data.get("uuid")),
        owner=as_id("account.uuid", account.get("uuid")),
        title=title if title and title.strip() else None,
        model_used=as_text_or_none("model", data.get("model")) or "",
        pinned=data.get("is_starred") is True,
        created_at=as_time_or_none("created_at", data.get("created_at")),
        updated_at=as_time_or_none("updated_at", data.get("updated_at")),
    )


def _nodes(messages: list[Any]) -> list[Node]:
    nodes: list[Node] = []
    for index, value in enumerate(messages):
        at = f"chat_messages.{index}"
        message = as_object(at, value)
        parent = nodes[-1].id if nodes else None
        if _PARENT in message:
            parent = as_id(f"{at}.{_PARENT}", message[_PARENT])
        nodes.append(
            Node(
                at=at,
                id=as_id(f"{at}.uuid", message.get("uuid")) or at,
                parent=None if parent == _NONE else parent,
                data=message,
                time=as_time_or_none(f"{at}.created_at", message.get("created_at")),
            )
        )
    return nodes


def _read(node: Node) -> list[MessageDraft]:
    at, message = node.at, node.data
    sender = as_text(f"{at}.sender", required(f"{at}.sender", message.get("sender")))
    if sender not in ROLES:
        raise Malformed(f"{at}.sender", UNKNOWN_SENDER)
    said = _content(at, message)
    drafts = drafts_of_parts(f"{at}.content", said + _files(at, message), ROLES[sender])
    for draft in drafts:
        draft.created_at = node.time
    if drafts:
        rendered = message.get("text") if message.get("text") != text_of(said) else None
        add_extra(drafts[0], unmapped(message | {"text": rendered}, _NOT_EXTRA))
        reason = as_text_or_none(f"{at}.stop_reason", message.get("stop_reason"))
        last_said(drafts).finish_reason = reason
    return drafts


def _content(at: str, message: _Object) -> list[Any]:
    """The parts of `content`, or else the text."""
    content = as_list_or_none(f"{at}.content", message.get("content")) or []
    if parts := [as_part(each) for each in content]:
        return parts
    text = as_text_or_none(f"{at}.text", message.get("text"))
    return [{"type": "text", "text": text}] if text else []


def _files(at: str, message: _Object) -> list[_Object]:
    """A part for each attachment and each file."""
    return [
        file_part(as_object(f"{at}.{name}.{index}", file), "extracted_content")
        for name in ("attachments", "files")
        for index, file in enumerate(as_list_or_none(f"{at}.{name}", message.get(name)) or ())
    ]
