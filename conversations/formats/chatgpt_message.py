"""One message of a ChatGPT export as the fields of ours; `chatgpt.py` says how."""

from __future__ import annotations

from typing import Any

from conversations.formats.checks import (
    as_list,
    as_object,
    as_object_or_none,
    as_text,
    as_text_or_none,
    as_unix_time_or_none,
    required,
)
from conversations.formats.content_parts import text_of
from conversations.formats.message import MessageDraft

# The keys of a content whose value is its text, by content type: `text` of code, of what it prints,
# of a quote and of an error; `result` of a page that was opened; `content` of a summary.
_TEXT_KEYS = ("text", "result", "content")
_ELSEWHERE = frozenset({"content", "create_time", "author"})

_Object = dict[str, Any]


def read_message(at: str, message: _Object, call_id: str | None) -> MessageDraft | None:
    """The draft of a message; None for one that is hidden or empty.

    `at` is its path in the conversation, `call_id` the id of the call that a tool's message is the
    result of. Raises Malformed.
    """
    metadata = as_object_or_none(f"{at}.metadata", message.get("metadata")) or {}
    if metadata.get("is_visually_hidden_from_conversation") is True:
        return None
    author = as_object(f"{at}.author", required(f"{at}.author", message.get("author")))
    role = as_text(f"{at}.author.role", required(f"{at}.author.role", author.get("role")))
    text, parts, content = _content(f"{at}.content", message.get("content"))
    recipient = as_text_or_none(f"{at}.recipient", message.get("recipient"))
    is_call = role == "assistant" and recipient not in (None, "all")
    if not (text or parts or is_call or role == "tool"):
        return None
    extra = {name: value for name, value in message.items() if value is not None}
    extra = {name: value for name, value in extra.items() if name not in _ELSEWHERE}
    more = {name: value for name, value in author.items() if name not in ("role", "name") and value}
    extra |= ({"author": more} if more else {}) | ({"content": content} if content else {})
    return MessageDraft(
        role=role,
        content="" if is_call else text,
        parts=parts,
        tool_calls=[_call(f"{at}.id", message, str(recipient), text)] if is_call else None,
        tool_call_id=call_id if role == "tool" else None,
        name=as_text_or_none(f"{at}.author.name", author.get("name")),
        model=as_text_or_none(f"{at}.metadata.model_slug", metadata.get("model_slug")) or "",
        status="interrupted" if message.get("status") == "in_progress" else "complete",
        finish_reason=_finish_reason(metadata),
        created_at=as_unix_time_or_none(f"{at}.create_time", message.get("create_time")),
        extra=extra or None,
    )


def _call(at: str, message: _Object, name: str, arguments: str) -> _Object:
    id_ = as_text(at, required(at, message.get("id")))
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def _finish_reason(metadata: _Object) -> str | None:
    details = metadata.get("finish_details")
    reason = details.get("type") if isinstance(details, dict) else None
    return reason if isinstance(reason, str) else None


def _content(at: str, value: object) -> tuple[str, list[Any] | None, _Object]:
    """The text of a content, its parts unless they are one text, and what neither of them has."""
    content = dict(as_object_or_none(at, value) or {})
    kind = content.get("content_type")
    if "parts" in content:
        parts = as_list(f"{at}.parts", content.pop("parts"))
        text, kept = _parts(parts)
        return text, kept, {} if content == {"content_type": "text"} else content
    if kind == "thoughts":
        thoughts = as_list(f"{at}.thoughts", content.pop("thoughts", None) or [])
        return "", [_thought(each) for each in thoughts] or None, content
    name = next((name for name in _TEXT_KEYS if isinstance(content.get(name), str)), None)
    if name is not None:
        return content.pop(name), None, content
    return "", [{"type": str(kind), **content}] if content else None, {}


def _parts(parts: list[Any]) -> tuple[str, list[Any] | None]:
    if all(isinstance(part, str) for part in parts) and len(parts) <= 1:
        return "".join(parts), None
    kept = [_part(part) for part in parts]
    return text_of(kept), kept


def _part(part: Any) -> Any:
    """With a `type`, as other parts have; a transcript is text too."""
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, dict):
        return {"type": "unknown", "value": part}
    is_text = isinstance(part.get("text"), str)
    return {"type": "text" if is_text else str(part.get("content_type")), **part}


def _thought(thought: Any) -> _Object:
    """A part that holds reasoning (`reasoning.py`): its heading and its text."""
    rest = dict(thought) if isinstance(thought, dict) else {"content": thought}
    summary, content = rest.pop("summary", None), rest.pop("content", None)
    return rest | {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": str(summary)}] if summary else [],
        "content": [{"type": "reasoning_text", "text": str(content)}] if content else [],
    }
