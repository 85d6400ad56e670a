"""Our own JSON as an export wrote it, with what other imports leave out: ids, sequences, `source`
and reviews.

What an export always writes must be there: a conversation that lacks any of it was not exported, or
was changed since.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any, BinaryIO

from conversations.formats.chat import AsExported, Chat, Malformed, Rejected
from conversations.formats.checks import (
    Check,
    as_list,
    as_number,
    as_object,
    as_text,
    as_texts,
    as_time,
    required,
)
from conversations.formats.json_export import chat_of, fields_of
from conversations.formats.lines import parse_object
from conversations.formats.message import MessageDraft, RecordedReview
from conversations.formats.tree import REPEATED_ID
from conversations.formats.values import read_chats

NOT_A_UUID = "Not a UUID."
NOT_LATER = "Must be greater than that of the message before it."
BAD_SCORE = "A score is 1 (good) or -1 (bad)."

_OF_CHATS = ("id", "owner", "title", "created_at", "updated_at")
_JSON_COLUMNS = ("parts", "tool_calls", "sources", "metadata", "extra")


def read_exported(file: BinaryIO) -> Iterator[Chat | Rejected]:
    """Parse a file opened in binary mode; each Chat has its `exported`."""
    return read_chats(file, _exported_chat)


def exported_chats(text: str) -> list[Chat]:
    """The conversations of an export as `jsonl`."""
    lines = text.encode().split(b"\n")[:-1]
    return [_exported_chat(number, parse_object(line)) for number, line in enumerate(lines, 1)]


def _exported_chat(number: int, data: dict[str, Any]) -> Chat:
    """The conversation of a line. Raises Malformed."""
    chat = chat_of(number, data)
    for name in _OF_CHATS:
        required(name, data.get(name))
    messages = data["messages"]
    exported = AsExported(
        id=_as_uuid("id", data["id"]),
        source=as_text("source", required("source", data.get("source"))),
        sequences=_sequences(messages),
        reviews=tuple(_reviews(f"messages.{at}", each) for at, each in enumerate(messages)),
    )
    if chat.parents:
        required("active_branch", chat.active)
        required("messages.0.branch", chat.branches or None)
    return replace(
        chat,
        exported=exported,
        metadata=_as_written(chat.metadata),
        messages=_drafts(chat, messages),
        active=chat.active if chat.parents else None,
    )


def _drafts(chat: Chat, messages: list[Mapping[str, Any]]) -> tuple[MessageDraft, ...]:
    known: set[uuid.UUID] = set()
    for index, (draft, data) in enumerate(zip(chat.messages, messages, strict=True)):
        at = f"messages.{index}"
        required(f"{at}.created_at", draft.created_at)
        draft.id = _as_uuid(f"{at}.id", data.get("id"))
        if draft.id in known:
            raise Malformed(f"{at}.id", REPEATED_ID)
        known.add(draft.id)
        for name in _JSON_COLUMNS:
            setattr(draft, name, _as_written(getattr(draft, name)))
    return chat.messages


def _sequences(messages: list[Mapping[str, Any]]) -> tuple[int, ...]:
    """They grow, from 1."""
    found = [
        as_number(f"messages.{index}.sequence", each.get("sequence"))
        for index, each in enumerate(messages)
    ]
    for index, (before, sequence) in enumerate(pairwise([0, *found])):
        if sequence <= before:
            raise Malformed(f"messages.{index}.sequence", NOT_LATER)
    return tuple(found)


def _reviews(at: str, message: Mapping[str, Any]) -> tuple[RecordedReview, ...]:
    given = as_list(f"{at}.reviews", message.get("reviews", []))
    return tuple(_review(f"{at}.reviews.{index}", each) for index, each in enumerate(given))


def _review(at: str, value: object) -> RecordedReview:
    data = as_object(at, value)
    for name in _REVIEW_FIELDS:
        required(f"{at}.{name}", data.get(name))
    return RecordedReview(**fields_of(f"{at}.", data, _REVIEW_FIELDS, frozenset()))


def _as_score(at: str, value: object) -> int:
    if isinstance(value, bool) or value not in (-1, 1):
        raise Malformed(at, BAD_SCORE)
    return int(str(value))


_REVIEW_FIELDS: dict[str, Check] = {
    "reviewer": as_text,
    "score": _as_score,
    "labels": as_texts,
    "comment": as_text,
    "created_at": as_time,
    "updated_at": as_time,
}


def _as_uuid(at: str, value: object) -> uuid.UUID:
    try:
        return uuid.UUID(as_text(at, required(at, value)))
    except ValueError:
        raise Malformed(at, NOT_A_UUID) from None


def _as_written(value: Any) -> Any:
    """A JSON value as it was before it was stored: the database writes 1e22 with all of its digits,
    and an integer of more than 64 bits was never anything but such a number."""
    if isinstance(value, dict):
        return {name: _as_written(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_as_written(item) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return _as_float(value)
    return value


def _as_float(value: int) -> float | int:
    """As it is where no float is so large; the services refuse it."""
    try:
        return float(value)
    except OverflowError:
        return value
