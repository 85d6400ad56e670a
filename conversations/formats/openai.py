"""OpenAI chat JSONL: one conversation per line, with messages of the Chat Completions API.

Source: the message objects of https://platform.openai.com/docs/api-reference/chat/create, in the
lines of https://platform.openai.com/docs/guides/supervised-fine-tuning and
https://platform.openai.com/docs/guides/direct-preference-optimization:

    {"messages": [{"role", "content", "tool_calls", "tool_call_id", "name"}, …],
     "id": …, "title": …, "metadata": {…}}

How a line is stored, so that an export can write the same line again:

- A message is read as over the API (`message_reader`); what has no column is its `extra`, unknown
  keys too. Until then it was `metadata["openai"]`: `openai_earlier` says how, so that a file that
  was imported before is recognised.
- A conversation's other keys (`tools`, …), and its `id` as the file writes it, are its
  `metadata["openai"]`. If the metadata of the file has that name, its value moves to
  `metadata["openai"]["metadata"]["openai"]`.
- An `id` is a string or an integer; a blank `title` is ignored.
- A line of direct preference optimization (`input` with its messages, `preferred_output`,
  `non_preferred_output`) is a conversation with two branches, of which the preferred one is active.
  `preference` in the `extra` of their messages says which list they are of. The rest of `input` is
  with the conversation's other keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO

from conversations.formats.chat import Chat, Malformed, Rejected
from conversations.formats.checks import (
    Check,
    as_decimal_or_none,
    as_id,
    as_list,
    as_list_or_none,
    as_object,
    as_text,
    as_text_or_none,
    as_time_or_none,
    required,
)
from conversations.formats.drafts import kept, not_empty
from conversations.formats.message import MessageDraft
from conversations.formats.message_reader import as_own_fields
from conversations.formats.openai_earlier import EXTRAS, earlier_message
from conversations.formats.values import read_chats

NO_CALL_ANSWERED = "Required for a tool message: the id of the tool call that it answers."

_CHAT_KEYS = frozenset({"messages", "title", "metadata"})
_OWN_FIELDS = frozenset({"role", "content", "tool_calls", "tool_call_id", "name"})
# Of our other columns, those that lines may have, beside what usage objects say.
_CHECKS: dict[str, Check] = {
    "tool_call_id": as_text_or_none,
    "name": as_text_or_none,
    "model": as_text,
    "finish_reason": as_text_or_none,
    "cost": as_decimal_or_none,
    "created_at": as_time_or_none,
}

_PREFERRED = "preferred_output"
_NOT_PREFERRED = "non_preferred_output"

_Object = dict[str, Any]


def looks_like_openai(value: _Object) -> bool:
    messages = value.get("messages")
    return is_preference(value) or (
        isinstance(messages, list)
        and any(isinstance(each, dict) and ("role" in each or "type" in each) for each in messages)
    )


def read_openai(file: BinaryIO) -> Iterator[Chat | Rejected]:
    """Parse a file opened in binary mode, one conversation at a time."""
    return read_chats(file, _chat)


def is_preference(data: _Object) -> bool:
    return isinstance(data.get("input"), dict) and _PREFERRED in data


def _chat(number: int, data: _Object) -> Chat:
    if is_preference(data):
        return _preference(number, data)
    messages = as_list("messages", required("messages", data.get("messages")))
    read = _messages(not_empty("messages", messages))
    chat = Chat(
        line=number,
        file_id=as_id("id", data.get("id")),
        title=_title(data.get("title")),
        metadata=_chat_metadata(data),
        messages=tuple(message for message, _ in read),
    )
    earlier = tuple(before for _, before in read)
    if earlier != chat.messages:
        chat = replace(chat, earlier=replace(chat, messages=earlier))
    return chat


def _preference(number: int, data: _Object) -> Chat:
    more = dict(data)
    asked = dict(data["input"])
    drafts = _listed("input.messages", asked.pop("messages", None))
    last = len(drafts) - 1
    parents = [index - 1 if index else None for index in range(len(drafts))]
    active = last
    for name in (_PREFERRED, _NOT_PREFERRED):
        answers = _listed(name, more.pop(name, None))
        for index, answer in enumerate(answers):
            answer.extra = (answer.extra or {}) | {"preference": name}
            parents.append(len(parents) - 1 if index else last)
        drafts += answers
        active = len(drafts) - 1 if name == _PREFERRED else active
    more = more | {"input": asked} if asked else kept(more, "input")
    return Chat(
        line=number,
        file_id=as_id("id", data.get("id")),
        title=_title(data.get("title")),
        metadata=_chat_metadata(more),
        messages=tuple(drafts),
        parents=tuple(parents),
        active=active,
    )


def _listed(at: str, value: object) -> list[MessageDraft]:
    messages = not_empty(at, as_list(at, required(at, value)))
    return [as_draft(f"{at}.{index}", message) for index, message in enumerate(messages)]


def _title(value: object) -> str | None:
    title = as_text_or_none("title", value)
    return None if title is None or not title.strip() else title


def _chat_metadata(data: _Object) -> _Object:
    metadata = {} if data.get("metadata") is None else as_object("metadata", data["metadata"])
    extras = {key: value for key, value in data.items() if key not in _CHAT_KEYS}
    if EXTRAS in metadata:
        extras["metadata"] = {EXTRAS: metadata[EXTRAS]}
    return metadata | {EXTRAS: extras} if extras else metadata


def _messages(values: list[Any]) -> list[tuple[MessageDraft, MessageDraft]]:
    """Each message as it is stored, and as earlier releases stored it."""
    return [
        (as_draft(f"messages.{at}", value), earlier_message(value))
        for at, value in enumerate(values)
    ]


def as_draft(at: str, item: object) -> MessageDraft:
    """A message of any known SDK, or an item of the Responses API; `at` is its path.

    Raises Malformed.
    """
    message = as_object(at, item)
    try:
        fields = as_own_fields(message, own=_OWN_FIELDS)
    except Malformed as error:
        raise Malformed(f"{at}.{error.field}", error.detail) from None
    extra = dict(fields.pop("extra", {}))
    for name in (message.keys() & fields.keys()) - _OWN_FIELDS:
        if not _is_valid(name, fields[name]):
            extra[name] = fields.pop(name)
    role = as_text(f"{at}.role", required(f"{at}.role", fields.get("role")))
    _check_tool_calls(f"{at}.tool_calls", fields.get("tool_calls"))
    if role == "tool" and not as_text_or_none(f"{at}.tool_call_id", fields.get("tool_call_id")):
        raise Malformed(f"{at}.tool_call_id", NO_CALL_ANSWERED)
    for name, check in _CHECKS.items():
        if name in fields:
            fields[name] = check(f"{at}.{name}", fields[name])
    return MessageDraft(**fields, extra=extra or None)


def _is_valid(name: str, value: object) -> bool:
    """Whether a key beside those of the format is one of our columns, with a value that fits."""
    try:
        return name in _CHECKS and _CHECKS[name]("", value) is not None
    except Malformed:
        return False


def _check_tool_calls(at: str, value: object) -> None:
    for index, call in enumerate(as_list_or_none(at, value) or ()):
        _check_tool_call(f"{at}.{index}", as_object(f"{at}.{index}", call))


def _check_tool_call(at: str, call: _Object) -> None:
    """A call needs an id, which its result refers to. `type` defaults to "function"; the shape of
    other types is not checked."""
    as_text(f"{at}.id", required(f"{at}.id", call.get("id")))
    if call.get("type", "function") != "function":
        return
    function = as_object(f"{at}.function", required(f"{at}.function", call.get("function")))
    for key in ("name", "arguments"):
        as_text(f"{at}.function.{key}", required(f"{at}.function.{key}", function.get(key)))
