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
from conversations.formats.message import (
    RECORDED_FIELDS,
    RecordedMessage,
    RecordedReview,
    cost_as_text,
)
from conversations.formats.openai import EXTRAS, parts_from_extras


@dataclass(frozen=True, slots=True)
class Writer:
    """An export format: display name, file extension, content type and function."""

    label: str
    extension: str
    content_type: str
    write: Callable[[RecordedChat], Iterator[str]]


def write_openai(chat: RecordedChat) -> Iterator[str]:
    """One line of OpenAI chat JSONL, from which `formats.openai` reads the same conversation."""
    metadata = dict(chat.metadata)
    extras = metadata.pop(EXTRAS, None)
    if isinstance(extras, dict):
        extras = dict(extras)
        metadata |= extras.pop("metadata", None) or {}
    elif extras is not None:
        metadata, extras = dict(chat.metadata), None
    rest = {"id": chat.id, "title": chat.title, "metadata": metadata} | (extras or {})
    yield from _line(rest, map(_openai_message, chat.messages))


def write_json(chat: RecordedChat) -> Iterator[str]:
    """One line of JSON with all stored data; names as in the API."""
    names = [column.name for column in fields(chat) if column.name != "messages"]
    rest = {name: getattr(chat, name) for name in names}
    yield from _line(rest, map(_as_dict, chat.messages))


def write_markdown(chat: RecordedChat) -> Iterator[str]:
    """A transcript in Markdown, with the contents of messages unchanged."""
    yield f"# {' '.join(chat.title.split())}\n\n"
    yield f"- Owner: {chat.owner}\n- Conversation: {chat.id}\n"
    yield f"- Created: {chat.created_at.isoformat()}\n\n"
    for message in chat.messages:
        yield "".join(_markdown_message(message))
    yield "\n---\n\n"


# By the name of the format.
WRITERS: dict[str, Writer] = {
    "openai": Writer("OpenAI chat JSONL", "jsonl", "application/jsonl", write_openai),
    "json": Writer("JSON Lines, everything stored", "jsonl", "application/jsonl", write_json),
    "markdown": Writer("Markdown transcript", "md", "text/markdown", write_markdown),
}


def _line(rest: dict[str, Any], messages: Iterable[dict[str, Any]]) -> Iterator[str]:
    """A JSON object on one line; its messages are serialised one at a time."""
    yield _dumped(rest)[:-1] + ', "messages": ['
    for number, message in enumerate(messages):
        yield (", " if number else "") + _dumped(message)
    yield "]}\n"


def _openai_message(message: RecordedMessage) -> dict[str, Any]:
    extras = message.metadata.get(EXTRAS)
    extras = extras if isinstance(extras, dict) else {}
    parts_are_extras = message.parts is not None and message.parts == parts_from_extras(extras)
    content: Any = message.content if message.parts is None else _parts_with_text(message)
    if parts_are_extras or (content == "" and message.tool_calls):
        content = None
    data = {"role": message.role, "content": content}
    for name in ("name", "tool_calls", "tool_call_id"):
        if (value := getattr(message, name)) is not None:
            data[name] = value
    return data | extras


def _parts_with_text(message: RecordedMessage) -> list[Any]:
    """The parts, with the text ahead where none of them has any, such as images and reasoning."""
    parts = message.parts or []
    has_text = any(isinstance(part, dict) and part.get("text") for part in parts)
    if has_text or not message.content:
        return parts
    return [{"type": "text", "text": message.content}, *parts]


def _as_dict(message: RecordedMessage) -> dict[str, Any]:
    values = {name: getattr(message, name) for name in ("id", "sequence", *RECORDED_FIELDS)}
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
