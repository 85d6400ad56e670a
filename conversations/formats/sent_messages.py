"""The messages that a client sends to a model: all of its history, each time.

They are read as drafts, and compared with what is stored of an earlier request. Clients change what
they send again: they leave out what a model thought, write the arguments of calls anew, put what
they have found before a question for one request. `is_same` sees through that, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from conversations.formats.chat import Malformed
from conversations.formats.checks import as_object, as_text, required
from conversations.formats.content_parts import TEXT_TYPES
from conversations.formats.message import MessageDraft
from conversations.formats.message_reader import as_own_fields

INSTRUCTIONS = frozenset({"system", "developer"})
# Of our fields, those that a message in a request may mean; all else that it has is `extra`.
_OWN_FIELDS = frozenset({"role", "content", "tool_calls", "tool_call_id", "name"})
_COLUMNS = _OWN_FIELDS | {"parts"}

# Where what a model thought begins in the text of an answer, as user interfaces show it.
_THOUGHTS = re.compile(r"<(think|thinking|reason|reasoning|thought|details)\b[^<>]*>")
# What Open WebUI puts before a question together with the sources that it has found; the default
# of its RAG_TEMPLATE.
WITH_SOURCES, _END_OF_SOURCES = "### Task:\nRespond to the user query ", "</context>"
# Statuses of answers of which the client may have another part than what is stored.
_UNFINISHED = frozenset({"streaming", "stopped", "interrupted", "failed"})
# Parts whose text is the content, or which are calls or thoughts.
_NOT_ATTACHED = TEXT_TYPES | {
    *("refusal", "reasoning", "thinking", "redacted_thinking", "reasoning_text"),
    *("tool_use", "tool_call", "function_call", "custom_tool_call", "tool_result", "message"),
}


class StoredMessage(NamedTuple):
    """The columns that are compared with what is sent, and the place of the message.

    `key` is the id, as text. `parts` and `tool_calls` are JSON text. `is_answer` says that a model
    of ours gave it, and not a client; `is_emptied` that a retention rule has removed what was said.
    """

    key: str
    branch: int
    sequence: int
    role: str
    content: str
    parts: str | None
    tool_calls: str | None
    tool_call_id: str | None
    name: str | None
    status: str
    is_answer: bool
    is_emptied: bool

    @property
    def id(self) -> UUID:
        return UUID(self.key)

    @property
    def place(self) -> tuple[int, int]:
        return self.branch, self.sequence

    @property
    def is_empty_try(self) -> bool:
        """Whether it is an answer that ended, or has not begun, without saying anything."""
        said = self.content or self.parts or self.tool_calls
        return self.role == "assistant" and self.status in _UNFINISHED and not said


def sent_messages(messages: Sequence[Any]) -> list[MessageDraft]:
    """The messages of a request as drafts. Raises Malformed with the path, `messages.3.content`."""
    return [_sent(f"messages.{index}", message) for index, message in enumerate(messages)]


def _sent(at: str, value: Any) -> MessageDraft:
    message = as_object(at, value)
    role, content = message.get("role"), message.get("content")
    if len(message) == 2 and isinstance(role, str) and isinstance(content, str):
        return MessageDraft(role=role, content=content)
    try:
        fields = as_own_fields(message, own=_OWN_FIELDS)
    except Malformed as error:
        raise Malformed(f"{at}.{error.field}", error.detail) from None
    as_text(f"{at}.role", required(f"{at}.role", fields.get("role")))
    # What is derived from these keys is not of this message.
    unknown = {name: message[name] for name in fields.keys() - _COLUMNS if name in message}
    own = fields.get("extra")
    extra = ({} if own is None else as_object(f"{at}.extra", own)) | unknown
    columns = {name: value for name, value in fields.items() if name in _COLUMNS}
    return MessageDraft(**columns, extra=extra or None)


def is_same(stored: StoredMessage, sent: MessageDraft) -> bool:
    """Whether the message is the stored one, sent again."""
    if stored.role != sent.role:
        return {stored.role, sent.role} == INSTRUCTIONS and stored.content == sent.content
    if stored.is_emptied:
        return True
    if stored.role == "assistant":
        return _is_same_answer(stored, sent)
    if stored.role == "tool" and stored.tool_call_id != sent.tool_call_id:
        return False
    same = stored.content == sent.content or asked(stored.content) == asked(sent.content)
    return same and _have_same_names(stored, sent) and _have_same_attachments(stored, sent)


def is_unchanged(stored: StoredMessage, sent: MessageDraft) -> bool:
    """Whether it is the same, as `is_same` has it, with nothing in it but text: most messages."""
    return (
        stored.content == sent.content
        and stored.role == sent.role
        and stored.tool_call_id == sent.tool_call_id
        and not (stored.parts or stored.tool_calls or stored.name or stored.is_emptied)
        and not (sent.parts or sent.tool_calls or sent.name)
    )


def is_same_but_wrapped(stored: StoredMessage, sent: MessageDraft) -> bool:
    """Whether one of two questions is the other with lines of the client's before or after it.

    So are edited questions: only what follows them tells that they are the same.
    """
    if stored.role != "user" or sent.role != "user":
        return False
    short, long = sorted((stored.content.strip(), sent.content.strip()), key=len)
    wrapped = long.endswith(f"\n{short}") or long.startswith(f"{short}\n")
    return bool(short) and wrapped and _have_same_attachments(stored, sent)


def asked(text: str) -> str:
    """A question without what Open WebUI puts before it."""
    if text.startswith(WITH_SOURCES) and _END_OF_SOURCES in text:
        return text.rpartition(_END_OF_SOURCES)[2].lstrip()
    return text


def said(text: str) -> str:
    """An answer without what the model thought and white space at its ends."""
    if "<" in text:
        text = _without_thoughts(text)
    return text.strip()


def _without_thoughts(text: str) -> str:
    # The template of a model may open its thoughts, so that it says only where they end.
    before, _, after = text.partition("</think>")
    if after and "<think>" not in before:
        text = after
    kept, at, unclosed = [], 0, set()
    for found in _THOUGHTS.finditer(text):
        name = found[1]
        shown = name == "details" and 'type="reasoning"' not in found[0]
        if found.start() < at or name in unclosed or shown:
            continue
        end = text.find(f"</{name}>", found.end())
        if end < 0:
            unclosed.add(name)
            continue
        kept.append(text[at : found.start()])
        at = end + len(f"</{name}>")
    return "".join([*kept, text[at:]])


def _is_same_answer(stored: StoredMessage, sent: MessageDraft) -> bool:
    if not _have_same_calls(stored, sent):
        return False
    if any(_type_of(part) == "audio" for part in sent.parts or ()):  # named by its id alone
        return True
    if not _have_same_attachments(stored, sent) or not _have_same_names(stored, sent):
        return False
    if stored.content == sent.content:
        return True
    one, other = said(stored.content), said(sent.content)
    if stored.status in _UNFINISHED and one and other:
        return one.startswith(other) or other.startswith(one)
    return one == other


def _have_same_names(stored: StoredMessage, sent: MessageDraft) -> bool:
    """Few clients name messages; the project's own turns name the tool of a result."""
    return None in (stored.name, sent.name) or stored.role == "tool" or stored.name == sent.name


def _have_same_calls(stored: StoredMessage, sent: MessageDraft) -> bool:
    if not stored.tool_calls and not sent.tool_calls:
        return True
    before = orjson.loads(stored.tool_calls) if stored.tool_calls else []
    return list(map(_call, before)) == list(map(_call, sent.tool_calls or ()))


def _call(call: Any) -> Any:
    """A call for comparison: clients write the arguments anew."""
    if not isinstance(call, Mapping):
        return call
    kind = call.get("type") or "function"
    said = call.get(kind)
    said = said if isinstance(said, Mapping) else {}
    given = said.get("arguments", said.get("input"))
    return call.get("id"), kind, said.get("name"), _value_of(given)


def _value_of(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return arguments
    try:
        return orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:
        return arguments


def _have_same_attachments(stored: StoredMessage, sent: MessageDraft) -> bool:
    if not stored.parts and not sent.parts:
        return True
    before = orjson.loads(stored.parts) if stored.parts else []
    return _attached(before) == _attached(sent.parts or [])


def _attached(parts: list[Any]) -> list[Any]:
    """Images, files and what else is no text."""
    return [part for part in parts if _type_of(part) not in _NOT_ATTACHED]


def _type_of(part: Any) -> str:
    return str(part.get("type")) if isinstance(part, dict) else "text"
