"""OpenAI chat JSONL: one conversation a line, its messages as the Chat Completions API has them.

Source: the message objects of https://platform.openai.com/docs/api-reference/chat/create, in the
lines of https://platform.openai.com/docs/guides/supervised-fine-tuning:

    {"messages": [{"role", "content", "tool_calls", "tool_call_id", "name"}, …],
     "id": …, "title": …, "metadata": {…}}

What becomes of a line, so that the same line can be written again:

- `content` null or absent is "". A list of parts is kept in `parts` exactly as it stands, and
  `content` is its text parts, one a line.
- A message's other keys (`refusal`, `audio`, `function_call`, …) are its `metadata["openai"]`.
  Where such a key is all that the message says, it is also its part: `{"type": K, K: …}`.
- A conversation's other keys (`tools`, …), and its `id` as the file writes it, are its
  `metadata["openai"]`. Where the file's own metadata has that name, its value moves to
  `metadata["openai"]["metadata"]["openai"]`.
- An `id` is a string or a whole number; a `title` of blanks is none.
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
    present,
)
from conversations.formats.lines import parse_object, read_lines
from conversations.formats.message import MessageDraft
from conversations.formats.recognition import BYTES_READ, other_format

EXTRAS = "openai"

NO_MESSAGES = "Holds no message."
NOT_CONTENT = "Neither a string, nor null, nor a list of parts."
NO_CALL_ANSWERED = "A tool message names the call that it answers."
LOOKS_LIKE = "This looks like {name}, not like openai."

_CHAT_KEYS = frozenset({"messages", "title", "metadata"})
_MESSAGE_KEYS = frozenset({"role", "content", "tool_calls", "tool_call_id", "name"})
_INSTEAD_OF_CONTENT = ("refusal", "audio", "function_call")

_OPENINGS = (b"[", b"{", b"[{")
_LINES_LOOKED_AT = 200

_Object = dict[str, Any]


def read_openai(file: BinaryIO) -> Iterator[Chat | Rejected]:
    """Each line of a file that is open for reading bytes.

    Nothing is read ahead, but of a file that starts as JSON over several lines. If that is a known
    format it is rejected as a whole, since a rejection of each line would tell nothing.
    """
    lines = read_lines(file)
    beginning = _beginning_of_spread_json(lines)
    texts = [line[1][:BYTES_READ] for line in beginning if not isinstance(line, Rejected)]
    if len(texts) > 1 and (name := other_format(b"".join(texts))):
        yield Rejected.at(1, None, LOOKS_LIKE.format(name=name))
        return
    for line in chain(beginning, lines):
        yield line if isinstance(line, Rejected) else parse_line(*line)


def _beginning_of_spread_json(
    lines: Iterator[tuple[int, bytes] | Rejected],
) -> list[tuple[int, bytes] | Rejected]:
    """The first line, and those after it where it only opens an array or object."""
    first = next(lines, None)
    if first is None:
        return []
    if isinstance(first, Rejected) or first[1].strip() not in _OPENINGS:
        return [first]
    return [first, *islice(lines, _LINES_LOOKED_AT)]


def parse_line(number: int, line: bytes) -> Chat | Rejected:
    try:
        return _chat(number, parse_object(line))
    except Malformed as error:
        name = other_format(line)
        hint = f" {LOOKS_LIKE.format(name=name)}" if name else ""
        return Rejected.at(number, error.field, error.detail + hint)


def _chat(number: int, data: _Object) -> Chat:
    messages = as_list("messages", present("messages", data.get("messages")))
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
    role = as_text(f"{at}.role", present(f"{at}.role", data.get("role")))
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
    """What a message without content says instead, in the shape of content parts."""
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
    kind = as_text(f"{at}.type", present(f"{at}.type", data.get("type")))
    return as_text(f"{at}.text", data.get("text")) if kind == "text" else None


def _tool_calls(at: str, value: object) -> list[Any] | None:
    if value is None:
        return None
    calls = as_list(at, value)
    for index, call in enumerate(calls):
        _check_tool_call(f"{at}.{index}", as_object(f"{at}.{index}", call))
    return calls


def _check_tool_call(at: str, call: _Object) -> None:
    """Results are linked by the id; `type` may be absent, and others than "function" may come."""
    as_text(f"{at}.id", present(f"{at}.id", call.get("id")))
    if call.get("type", "function") != "function":
        return
    function = as_object(f"{at}.function", present(f"{at}.function", call.get("function")))
    for key in ("name", "arguments"):
        as_text(f"{at}.function.{key}", present(f"{at}.function.{key}", function.get(key)))


def _tool_call_id(at: str, value: object, role: str) -> str | None:
    answered = as_text_or_none(at, value)
    if role == "tool" and not answered:
        raise Malformed(at, NO_CALL_ANSWERED)
    return answered
