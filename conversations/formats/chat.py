"""Conversations as plain values: as import formats read them, as export formats write them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

from conversations.formats.message import MessageDraft, RecordedMessage

LONGEST_REASON = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """One conversation; `line` is where its file has it, counted from 1.

    `external_id` is its identity in the file's world, or None where the file gives none.
    """

    line: int
    messages: tuple[MessageDraft, ...]
    external_id: str | None = None
    title: str | None = None
    model_used: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    pinned: bool = False
    archived_at: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def key(self) -> str:
        """What the conversation is known by: its id or, without one, a hash of all it says."""
        return content_hash(self) if self.external_id is None else self.external_id


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedChat:
    """One stored conversation. `messages` may be read once, and may be longer than memory."""

    id: str
    owner: str
    title: str
    model_used: str
    source: str
    metadata: dict[str, Any]
    pinned: bool
    archived_at: datetime | None
    created_at: datetime
    updated_at: datetime
    messages: Iterable[RecordedMessage]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line that cannot be imported, and why: "messages.3.role: Not a string."."""

    line: int
    reason: str

    @classmethod
    def at(cls, line: int, field: str | None, detail: str) -> Rejected:
        """`field` is a path into the line, or None when the line as a whole is at fault."""
        reason = f"{field}: {detail}" if field else detail
        return cls(line, _printable(reason))


class Malformed(Exception):
    """A format does not allow this; `field` is a path into the line, or None for all of it."""

    def __init__(self, field: str | None, detail: str) -> None:
        super().__init__(detail)
        self.field = field
        self.detail = detail


# What version 1 of the hash has of every message. Any other field counts only where it is not the
# default, so that conversations imported before the field existed keep their hash.
_ALWAYS_HASHED = {
    *("role", "content", "parts", "tool_calls", "tool_call_id", "name"),
    *("provider", "model", "metadata", "created_at"),
}
_DEFAULTS = {
    column.name: column.default
    for column in fields(MessageDraft)
    if column.name not in _ALWAYS_HASHED
}


def content_hash(chat: Chat) -> str:
    """SHA-256 over title, metadata and messages: "v1:sha256:<hex>".

    Equal conversations give equal hashes, whatever the order of their keys. A change of this
    function needs a new version in front, since imported conversations are found by it.
    """
    said = {
        "title": chat.title,
        "metadata": chat.metadata,
        "messages": [_hashed(message) for message in chat.messages],
    }
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), default=_isoformat)
    return f"v1:sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _hashed(message: MessageDraft) -> dict[str, Any]:
    values = asdict(message)
    return {
        name: value
        for name, value in values.items()
        if name not in _DEFAULTS or value != _DEFAULTS[name]
    }


def _isoformat(value: datetime) -> str:
    return value.isoformat()


def _printable(reason: str) -> str:
    """Bounded and without control characters: names in it come from the file, and it is printed."""
    shown = reason if len(reason) <= LONGEST_REASON else reason[: LONGEST_REASON - 1] + "…"
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in shown)
