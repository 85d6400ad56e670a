"""The lines of one message of a Claude Code session as messages of ours; `claude_code.py` says
how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from conversations.formats.answer_parts import drafts_of_parts
from conversations.formats.checks import as_list, as_object
from conversations.formats.content_parts import as_part
from conversations.formats.message import MessageDraft
from conversations.formats.openai import as_draft
from conversations.formats.unmapped import add_extra, unmapped

# The model of a text that is not from one, such as that of an error.
SYNTHETIC = "<synthetic>"

# Of a line, what has a column, or is said elsewhere.
_NOT_EXTRA = frozenset({"type", "message", "timestamp", "isSidechain"})

_Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file; `number` is from 1."""

    number: int
    id: str
    data: _Object
    time: datetime | None

    @property
    def message(self) -> _Object:
        message = self.data.get("message")
        return message if isinstance(message, dict) else {}

    @property
    def api_id(self) -> str | None:
        """The id of the message of the API that an answer is of."""
        id_ = self.message.get("id") if self.data.get("type") == "assistant" else None
        return id_ if isinstance(id_, str) and id_ else None

    @property
    def results(self) -> frozenset[str]:
        """The ids of the calls whose results a line has."""
        content = self.message.get("content")
        if self.data.get("type") != "user" or not isinstance(content, list):
            return frozenset()
        parts = [part for part in content if isinstance(part, dict)]
        ids = [part.get("tool_use_id") for part in parts if part.get("type") == "tool_result"]
        return frozenset(id_ for id_ in ids if isinstance(id_, str))

    @property
    def model(self) -> str:
        model = self.message.get("model")
        return model if isinstance(model, str) and model != SYNTHETIC else ""


def is_message(data: _Object) -> bool:
    """Whether a line says anything in the conversation."""
    if data.get("type") == "system":
        return isinstance(data.get("content"), str) and bool(data["content"])
    if data.get("type") not in ("user", "assistant"):
        return False
    message = data.get("message")
    return not isinstance(message, dict) or bool(message.get("content"))


def read_lines_of_message(lines: Sequence[Line], shared: _Object) -> list[MessageDraft]:
    """The messages that these lines say; `shared` is what is said of all of them elsewhere.

    Raises Malformed.
    """
    first = lines[0]
    if first.data.get("type") == "system":
        draft = MessageDraft(role="system", content=first.data["content"])
        drafts = [draft]
        add_extra(draft, _rest(first, shared, {"content"}))
    elif first.data.get("type") == "assistant":
        drafts = [_answer(lines, shared)]
    else:
        return [draft for line in lines for draft in _said(line, shared)]
    for draft in drafts:
        draft.created_at = first.time
    return drafts


def _rest(line: Line, shared: _Object, more: set[str] | frozenset[str] = frozenset()) -> _Object:
    rest = unmapped(line.data, _NOT_EXTRA | more)
    return {name: value for name, value in rest.items() if shared.get(name) != value}


def _answer(lines: Sequence[Line], shared: _Object) -> MessageDraft:
    """The message of the API whose parts the lines have; the last one says how it ended."""
    parts: list[Any] = []
    calls: dict[str, list[Any]] = {}  # by their ids: a call may be in several lines
    for line in lines:
        content = as_object("message", line.data.get("message")).get("content")
        for part in _parts(content):
            same = calls.setdefault(str(part.get("id")), [])
            if part["type"] == "tool_use":
                if part in same:
                    continue
                same.append(part)
            parts.append(part)
    message = lines[-1].data["message"]
    draft = as_draft("message", message | {"role": "assistant", "content": parts})
    add_extra(draft, _rest(lines[0], shared))
    if len(lines) > 1:
        known = shared | unmapped(lines[0].data, ())
        others = [_rest(line, known | {"uuid": None}) for line in lines[1:]]
        times = [line.data.get("timestamp") for line in lines[1:]]
        joined = [
            other | ({"timestamp": time} if time else {})
            for other, time in zip(others, times, strict=True)
        ]
        add_extra(draft, {"lines": joined})
    if lines[0].data.get("isApiErrorMessage") is True:
        draft.status, draft.error = "failed", draft.content or None
    return draft


def _parts(content: Any) -> list[Any]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [as_part(part) for part in as_list("message.content", content)]


def _said(line: Line, shared: _Object) -> list[MessageDraft]:
    """What a user's line says: results of tools, and texts and images of the user."""
    content = as_object("message", line.data.get("message")).get("content")
    drafts = drafts_of_parts("message.content", _parts(content), "user")
    for draft in drafts:
        draft.created_at = line.time
    if drafts:
        more = unmapped(line.message, ("role", "content"))
        add_extra(drafts[0], _rest(line, shared) | ({"message": more} if more else {}))
    return drafts
