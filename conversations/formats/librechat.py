"""A conversation exported from LibreChat: one JSON object.

Source: the files of its export, as its own importer reads them:

    {"conversationId", "title", "endpoint", "exportAt", "branches", "recursive", "options": {…},
     "messages": [{"messageId", "parentMessageId", "isCreatedByUser", "sender", "text",
       "content": [{"type": "text" or "think" or "tool_call" or …, …}, …], "model", "endpoint",
       "createdAt", "feedback": {"rating", "tag", "text"}, "files", "children": […], …}]}

`recursive` files nest `children` in `messages` (or `messagesTree`); others have one list. How a
conversation is stored:

- Messages in order of their times, none before the one that it follows. The active branch is that
  of the last message, as LibreChat shows the newest of several answers.
- `content` counts; `text` where there is none. Results of tools are messages of their own
  (`answer_parts.py`). Older releases write what the model thought into the text.
- All else of a message is in the `extra` of its first one, all else of a conversation in its
  metadata.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO

from conversations.formats.answer_parts import drafts_of_parts, last_said
from conversations.formats.arrays import read_values
from conversations.formats.chat import Chat, Rejected
from conversations.formats.checks import (
    as_id,
    as_list,
    as_list_or_none,
    as_object,
    as_object_or_none,
    as_text_or_none,
    as_time_or_none,
    required,
)
from conversations.formats.content_parts import as_part, file_part, text_of
from conversations.formats.message import MessageDraft
from conversations.formats.node_tree import Node, chat_of_tree
from conversations.formats.reasoning import reasoning_part
from conversations.formats.token_usage import LARGEST_COUNT
from conversations.formats.tool_calls import as_json_text
from conversations.formats.unmapped import add_extra, unmapped
from conversations.formats.values import chats_of, only_objects

RATINGS = {"thumbsUp": 1, "thumbsDown": -1}

# The parent of a first message.
_NONE = "00000000-0000-0000-0000-000000000000"
_PARENT = "parentMessageId"
_LISTS = ("messagesTree", "messages")
# Of a conversation and of a message, what has a column, or is read otherwise.
_NOT_METADATA = frozenset({"title", "createdAt", "updatedAt", *_LISTS})
_NOT_EXTRA = frozenset(
    {"text", "content", "model", "createdAt", "files", "children", "finish_reason"}
)
_THOUGHT = re.compile(r"\s*:::thinking\n(.*?)\n:::\s*", re.DOTALL)

_Object = dict[str, Any]


def looks_like_librechat(value: _Object) -> bool:
    """Whether the first value of a file is a conversation of this format."""
    return "conversationId" in value and any(isinstance(value.get(name), list) for name in _LISTS)


def read_librechat(file: BinaryIO) -> Iterator[Chat | Rejected]:
    """Parse a file opened in binary mode; holds one conversation in memory.

    The `line` of a conversation is its place in the file, which has one.
    """
    return chats_of(only_objects(read_values(file)), _chat)


def _chat(place: int, data: _Object) -> Chat:
    title = as_text_or_none("title", data.get("title"))
    options = as_object_or_none("options", data.get("options")) or {}
    nodes = _nodes(data)
    return chat_of_tree(
        nodes,
        _read,
        parent_key=_PARENT,
        metadata=unmapped(data, _NOT_METADATA),
        line=place,
        file_id=as_id("conversationId", data.get("conversationId")),
        owner=_owner(nodes),
        title=title if title and title.strip() else None,
        model_used=as_text_or_none("options.model", options.get("model")) or "",
        created_at=as_time_or_none("createdAt", data.get("createdAt")),
        updated_at=as_time_or_none("updatedAt", data.get("updatedAt")) or _last_change(nodes),
    )


def _owner(nodes: list[Node]) -> str | None:
    """The id of the user whom all messages name that name one."""
    users = {user for node in nodes if isinstance(user := node.data.get("user"), str)}
    return users.pop() if len(users) == 1 else None


def _last_change(nodes: list[Node]) -> datetime | None:
    return max((node.time for node in nodes if node.time), default=None)


def _nodes(data: _Object) -> list[Node]:
    """The messages of the file, those that are nested after the one that they are in."""
    name = next((name for name in _LISTS if data.get(name) is not None), "messages")
    messages = as_list(name, required(name, data.get(name)))
    left: list[tuple[str, Any, str | None]] = [
        (f"{name}.{index}", value, None) for index, value in enumerate(messages)
    ]
    left.reverse()
    nodes: list[Node] = []
    while left:
        at, value, inside = left.pop()
        nodes.append(_node(at, as_object(at, value), inside))
        children = as_list_or_none(f"{at}.children", nodes[-1].data.get("children")) or []
        id_ = nodes[-1].id
        places = [(f"{at}.children.{i}", each, id_) for i, each in enumerate(children)]
        left += reversed(places)
    return nodes


def _node(at: str, message: _Object, inside: str | None) -> Node:
    """`inside` is the id of the message that has it among its children."""
    parent = inside or as_id(f"{at}.{_PARENT}", message.get(_PARENT) or None)
    return Node(
        at=at,
        id=as_id(f"{at}.messageId", message.get("messageId")) or at,
        parent=None if parent == _NONE else parent,
        data=message,
        time=as_time_or_none(f"{at}.createdAt", message.get("createdAt")),
    )


def _read(node: Node) -> list[MessageDraft]:
    at, message = node.at, node.data
    role = "user" if message.get("isCreatedByUser") is True else "assistant"
    parts = _content(at, message)
    said = text_of(parts)
    drafts = drafts_of_parts(f"{at}.content", parts + _files(at, message), role)
    for draft in drafts:
        draft.created_at = node.time
        if draft.role == "assistant":
            draft.model = as_text_or_none(f"{at}.model", message.get("model")) or ""
            draft.provider = as_text_or_none(f"{at}.endpoint", message.get("endpoint")) or ""
    if drafts:
        text = message.get("text")
        other = isinstance(text, str) and not _THOUGHT.match(text) and text != said
        extra = unmapped(message, _NOT_EXTRA) | ({"text": text} if other and text else {})
        add_extra(drafts[0], extra)
        if role == "assistant":
            _set_end(at, message, last_said(drafts))
    return drafts


def _set_end(at: str, message: _Object, last: MessageDraft) -> None:
    """What is said of a whole answer: how it ended, its tokens and its rating."""
    reason = as_text_or_none(f"{at}.finish_reason", message.get("finish_reason"))
    last.finish_reason = reason or None
    count = message.get("tokenCount")
    if type(count) is int and 0 <= count <= LARGEST_COUNT:
        last.completion_tokens = count
    feedback = as_object_or_none(f"{at}.feedback", message.get("feedback")) or {}
    last.rating = RATINGS.get(str(feedback.get("rating")))
    if last.rating:
        comment = as_text_or_none(f"{at}.feedback.text", feedback.get("text"))
        last.rating_comment = comment or None
    if message.get("error") is True:
        last.status, last.error = "failed", last.content or None
    elif message.get("unfinished") is True:
        last.status = "interrupted"


def _content(at: str, message: _Object) -> list[_Object]:
    """The parts of `content`, or else those of the text."""
    content = as_list_or_none(f"{at}.content", message.get("content")) or ()
    if parts := [part for value in content for part in _parts(value)]:
        return parts
    text = as_text_or_none(f"{at}.text", message.get("text")) or ""
    thought = _THOUGHT.match(text)
    if thought:
        parts, text = [reasoning_part(thought[1])], text[thought.end() :]
    return parts + ([{"type": "text", "text": text}] if text else [])


def _parts(value: Any) -> list[Any]:
    """A part of LibreChat as parts of SDKs, which keep what else it says."""
    if not isinstance(value, dict):
        return [as_part(value)]
    kind, rest = value.get("type"), unmapped(value, ("type", "text", "think", "tool_call"))
    if kind == "text" and isinstance(value.get("text"), dict):  # of OpenAI's Assistants
        inner = dict(value["text"])
        return [as_part(rest | {"type": "text", "text": inner.pop("value", None)} | inner)]
    if kind == "think" and isinstance(value.get("think"), str):
        return [rest | reasoning_part(value["think"])]
    call = value.get("tool_call")
    if kind == "tool_call" and isinstance(call, dict) and isinstance(call.get("name"), str):
        return _call(call, rest)
    return [as_part(value)]


def _call(call: _Object, rest: _Object) -> list[_Object]:
    """A call, with its result where it has one."""
    id_ = call.get("id")
    id_ = id_ if isinstance(id_, str) and id_ else f"call_{call['name']}"
    more = rest | unmapped(call, ("id", "type", "name", "args", "output"))
    arguments = as_json_text("args", call.get("args"))
    item = {"type": "function_call", "call_id": id_, "name": call["name"], "arguments": arguments}
    if call.get("output") is None:
        return [more | item]
    output = as_json_text("output", call["output"])
    return [more | item, {"type": "function_call_output", "call_id": id_, "output": output}]


def _files(at: str, message: _Object) -> list[_Object]:
    """A part for each file."""
    return [
        file_part(as_object(f"{at}.files.{index}", file), "text")
        for index, file in enumerate(as_list_or_none(f"{at}.files", message.get("files")) or ())
    ]
