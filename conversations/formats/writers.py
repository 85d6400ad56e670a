"""Export formats: write a stored conversation as an iterator of strings."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from conversations.formats.chat import RecordedChat
from conversations.formats.content_parts import text_of
from conversations.formats.message import (
    RECORDED_FIELDS,
    RecordedMessage,
    RecordedReview,
    cost_as_text,
)
from conversations.formats.openai_earlier import EXTRAS, parts_from_extras
from conversations.formats.tool_calls import is_call_of


@dataclass(frozen=True, slots=True)
class Writer:
    """An export format: display name, file extension, content type and function.

    `keeps_tree`: it is given all messages of a conversation with branches, otherwise a path.
    """

    label: str
    extension: str
    content_type: str
    write: Callable[[RecordedChat], Iterator[str]]
    keeps_tree: bool = False


def write_openai(chat: RecordedChat) -> Iterator[str]:
    """One line of OpenAI chat JSONL, from which `formats.openai` reads the same conversation.

    A branch is a conversation of its own, whose id says which: `ID?branch=NUMBER`. The first one
    keeps the id, by which what was imported before the conversation had branches is recognised.
    """
    metadata = dict(chat.metadata)
    extras = metadata.pop(EXTRAS, None)
    if isinstance(extras, dict):
        extras = dict(extras)
        metadata |= extras.pop("metadata", None) or {}
    elif extras is not None:
        metadata, extras = dict(chat.metadata), None
    rest = {"id": chat.id, "title": chat.title, "metadata": metadata} | (extras or {})
    if chat.branch is not None and chat.branch.number:
        rest["id"] = f"{rest['id']}?branch={chat.branch.number}"
    yield from _line(rest, map(_openai_message, chat.messages))


def write_json(chat: RecordedChat) -> Iterator[str]:
    """One line of JSON with all stored data; names as in the API."""
    names = [column.name for column in fields(chat) if column.name not in _NO_COLUMNS]
    rest = {name: getattr(chat, name) for name in names}
    if chat.active_branch is not None:
        rest["active_branch"] = chat.active_branch
    yield from _line(rest, map(_as_dict, chat.messages))


def write_markdown(chat: RecordedChat) -> Iterator[str]:
    """A transcript in Markdown, with the contents of messages unchanged."""
    yield f"# {' '.join(chat.title.split())}\n\n"
    yield f"- Owner: {chat.owner}\n- Conversation: {chat.id}\n"
    if chat.branch is not None:
        yield f"- Branch: {chat.branch.position} of {chat.branch.count}\n"
    yield f"- Created: {chat.created_at.isoformat()}\n\n"
    for message in chat.messages:
        yield "".join(_markdown_message(message))
    yield "\n---\n\n"


# By the name of the format.
WRITERS: dict[str, Writer] = {
    "openai": Writer("OpenAI chat JSONL", "jsonl", "application/jsonl", write_openai),
    "json": Writer(
        "JSON Lines, everything stored", "jsonl", "application/jsonl", write_json, keeps_tree=True
    ),
    "markdown": Writer("Markdown transcript", "md", "text/markdown", write_markdown),
}


_NO_COLUMNS = frozenset({"messages", "active_branch", "branch"})


def _line(rest: dict[str, Any], messages: Iterable[dict[str, Any]]) -> Iterator[str]:
    """A JSON object on one line; its messages are serialised one at a time."""
    yield _dumped(rest)[:-1] + ', "messages": ['
    for number, message in enumerate(messages):
        yield (", " if number else "") + _dumped(message)
    yield "]}\n"


def _openai_message(message: RecordedMessage) -> dict[str, Any]:
    """The message as its sender wrote it, from which `formats.openai` reads the same columns."""
    extra = message.extra or {}
    # Imports of earlier releases have what is in `extra` today in their metadata.
    earlier = message.metadata.get(EXTRAS)
    others = (earlier if isinstance(earlier, dict) else {}) | extra
    data = {"role": message.role, "content": _openai_content(message, others)}
    for name in ("name", "tool_calls", "tool_call_id"):
        if (value := getattr(message, name)) is not None:
            data[name] = value
    if extra.get("role") == "function":
        data.pop("tool_call_id", None)
    if is_call_of(extra.get("function_call"), message.tool_calls):
        data.pop("tool_calls")
    return data | others


def _openai_content(message: RecordedMessage, others: dict[str, Any]) -> Any:
    """Parts, with the text before them unless it is theirs; null where a call or a key says all."""
    parts = message.parts
    if parts and parts == parts_from_extras(others):
        return None
    if parts is not None:
        has_text = text_of(parts) or not message.content
        return parts if has_text else [{"type": "text", "text": message.content}, *parts]
    return None if message.content == "" and message.tool_calls else message.content


def _as_dict(message: RecordedMessage) -> dict[str, Any]:
    values = {name: getattr(message, name) for name in ("id", "sequence", *RECORDED_FIELDS)}
    if message.branch is not None:
        values |= {"parent_id": message.parent_id, "branch": message.branch}
    return values | {"reviews": [asdict(review) for review in message.reviews]}


def _markdown_message(message: RecordedMessage) -> Iterator[str]:
    name = f" ({message.name})" if message.name else ""
    yield f"## {message.sequence}. {message.role}{name}, {message.created_at.isoformat()}\n\n"
    if message.content:
        yield f"{message.content}\n\n"
    for label, value in [("Tool calls", message.tool_calls), ("Sources", message.sources)]:
        if value:
            yield f"{label}:\n\n```json\n{json.dumps(value, indent=2, ensure_ascii=False)}\n```\n\n"
    if message.status != "complete":
        yield f"*{message.status}{': ' + message.error if message.error else ''}*\n\n"
    if message.rating is not None:
        yield f"*{_rating_line('Rating of the owner', message.rating, message.rating_comment)}*\n\n"
    for review in message.reviews:
        yield f"*{_rating_line(_reviewed_by(review), review.score, review.comment)}*\n\n"


def _reviewed_by(review: RecordedReview) -> str:
    labels = f", {', '.join(review.labels)}" if review.labels else ""
    return f"Review by {review.reviewer}, {review.updated_at.isoformat()}{labels}"


def _rating_line(what: str, score: int, comment: str | None) -> str:
    suffix = f": {' '.join(comment.split())}" if comment else ""
    return f"{what}: {'good' if score == 1 else 'bad'}{suffix}"


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=_as_text)


def _as_text(value: datetime | uuid.UUID | Decimal) -> str:
    if isinstance(value, Decimal):
        return cost_as_text(value)
    return str(value) if isinstance(value, uuid.UUID) else value.isoformat()
