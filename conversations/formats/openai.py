"""OpenAI chat JSONL: one conversation per line, with messages of the Chat Completions API.

Source: the message objects of https://platform.openai.com/docs/api-reference/chat/create, in the
lines of https://platform.openai.com/docs/guides/supervised-fine-tuning:

    {"messages": [{"role", "content", "tool_calls", "tool_call_id", "name"}, …],
     "id": …, "title": …, "metadata": {…}}

How a line is stored, so that an export can write the same line again:

- `content` null or absent is "". A list of parts is stored unchanged in `parts`, and its text
  parts, joined by newlines, are the `content`.
- A message's other keys (`refusal`, `audio`, `function_call`, …) are its `metadata["openai"]`.
  If a message has nothing but such a key, it is also stored as a part: `{"type": K, K: …}`.
- A conversation's other keys (`tools`, …), and its `id` as the file writes it, are its
  `metadata["openai"]`. If the metadata of the file has that name, its value moves to
  `metadata["openai"]["metadata"]["openai"]`.
- An `id` is a string or an integer; a blank `title` is ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, BinaryIO

from conversations.formats.chat import Chat, Malformed, Rejected
from conversations.formats.checks import (
    as_id,
    as_list,
    as_object,
    as_text,
    as_text_or_none,
    required,
)
from conversations.formats.lines import parse_object, read_lines
from conversations.formats.message import MessageDraft
from conversations.formats.recognition import BYTES_READ, other_format

EXTRAS = "openai"

NO_MESSAGES = "The list of messages is empty."
NOT_CONTENT = "Must be a string, null or a list of parts."
NO_CALL_ANSWERED = "Required for a tool message: the id of the tool call that it answers."
LOOKS_LIKE = "This looks like {name}, not like openai."

_CHAT_KEYS = frozenset({"messages", "title", "metadata"})
_MESSAGE_KEYS = frozenset({"role", "content", "tool_calls", "tool_call_id", "name"})
_INSTEAD_OF_CONTENT = ("refusal", "audio", "function_call")

_OPENING_BRACKETS = (b"[", b"{", b"[{")
_RECOGNITION_LINES = 200

_Object = dict[str, Any]


def read_openai(file: BinaryIO) -> Iterator[Chat | Rejected]:
    """Parse a file opened in binary mode, line by line.

    A file that starts like JSON over several lines is checked first: if it looks like another known
    format, it is rejected as a whole instead of line by line.
    """
    lines = read_lines(file)
    beginning = _first_lines(lines)
    texts = [line[1][:BYTES_READ] for line in beginning if not isinstance(line, Rejected)]
    if len(texts) > 1 and (name := other_format(b"".join(texts))):
        yield Rejected.at(1, None, LOOKS_LIKE.format(name=name))
        return
    for line in chain(beginning, lines):
        yield line if isinstance(line, Rejected) else parse_line(*line)


def _first_lines(
    lines: Iterator[tuple[int, bytes] | Rejected],
) -> list[tuple[int, bytes] | Rejected]:
    """The first line, with more lines if it only has an opening bracket."""
    first = next(lines, None)
    if first is None:
        return []
    if isinstance(first, Rejected) or first[1].strip() not in _OPENING_BRACKETS:
        return [first]
    return [first, *islice(lines, _RECOGNITION_LINES)]


def parse_line(number: int, line: bytes) -> Chat | Rejected:
    try:
        return _chat(number, parse_object(line))
    except Malformed as error:
        name = other_format(line)
        hint = f" {LOOKS_LIKE.format(name=name)}" if name else ""
        return Rejected.at(number, error.field, error.detail + hint)


def _chat(number: int, data: _Object) -> Chat:
    messages = as_list("messages", required("messages", data.get("messages")))
    if not messages:
        raise Malformed("messages", NO_MESSAGES)
    return Chat(
        line=number,
        external_id=as_id("id", data.get("id")),
        title=_title(data.get("title")),
        metadata=_chat_metadata(data),
        messages=tuple(_message(f"messages.{at}", item) for at, item in enumerate(messages)),
    )


def _title(value: object) -> str | None:
    title = as_text_or_none("title", value)
    return None if title is None or not title.strip() else title


def _chat_metadata(data: _Object) -> _Object:
    metadata = {} if data.get("metadata") is None else as_object("metadata", data["metadata"])
    extras = {key: value for key, value in data.items() if key not in _CHAT_KEYS}
    if EXTRAS in metadata:
        extras["metadata"] = {EXTRAS: metadata[EXTRAS]}
    return metadata | {EXTRAS: extras} if extras else metadata


def _message(at: str, item: object) -> MessageDraft:
    data = as_object(at, item)
    role = as_text(f"{at}.role", required(f"{at}.role", data.get("role")))
    content, parts = _content(f"{at}.content", data.get("content"))
    tool_calls = _tool_calls(f"{at}.tool_calls", data.get("tool_calls"))
    extras = {key: value for key, value in data.items() if key not in _MESSAGE_KEYS}
    if not content and not parts and not tool_calls:
        parts = parts_from_extras(extras) or parts
    return MessageDraft(
        role=role,
        content=content,
        parts=parts,
        tool_calls=tool_calls,
        tool_call_id=_tool_call_id(f"{at}.tool_call_id", data.get("tool_call_id"), role),
        name=as_text_or_none(f"{at}.name", data.get("name")),
        metadata={EXTRAS: extras} if extras else {},
    )


def parts_from_extras(extras: _Object) -> list[_Object]:
    """The data of a message without content as content parts."""
    return [{"type": key, key: extras[key]} for key in _INSTEAD_OF_CONTENT if extras.get(key)]


def _content(at: str, value: object) -> tuple[str, list[Any] | None]:
    if value is None or isinstance(value, str):
        return value or "", None
    if not isinstance(value, list):
        raise Malformed(at, NOT_CONTENT)
    texts = [_text_of_part(f"{at}.{index}", part) for index, part in enumerate(value)]
    return "\n".join(text for text in texts if text is not None), value


def _text_of_part(at: str, part: object) -> str | None:
    data = as_object(at, part)
    kind = as_text(f"{at}.type", required(f"{at}.type", data.get("type")))
    return as_text(f"{at}.text", data.get("text")) if kind == "text" else None


def _tool_calls(at: str, value: object) -> list[Any] | None:
    if value is None:
        return None
    calls = as_list(at, value)
    for index, call in enumerate(calls):
        _check_tool_call(f"{at}.{index}", as_object(f"{at}.{index}", call))
    return calls


def _check_tool_call(at: str, call: _Object) -> None:
    """A call needs an id, which its result refers to. `type` defaults to "function"; the shape of
    other types is not checked."""
    as_text(f"{at}.id", required(f"{at}.id", call.get("id")))
    if call.get("type", "function") != "function":
        return
    function = as_object(f"{at}.function", required(f"{at}.function", call.get("function")))
    for key in ("name", "arguments"):
        as_text(f"{at}.function.{key}", required(f"{at}.function.{key}", function.get(key)))


def _tool_call_id(at: str, value: object, role: str) -> str | None:
    answered = as_text_or_none(at, value)
    if role == "tool" and not answered:
        raise Malformed(at, NO_CALL_ANSWERED)
    return answered
