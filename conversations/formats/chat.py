"""Conversations as dataclasses: `Chat` for import formats, `RecordedChat` for export formats."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from conversations.formats.message import MessageDraft, RecordedMessage, RecordedReview

MAX_REASON_CHARS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class AsExported:
    """What an export of ours has of a conversation beyond a Chat, to store it as it was: its id and
    source, and of each message the sequence and the reviews of staff, oldest first."""

    id: uuid.UUID
    source: str
    sequences: tuple[int, ...]
    reviews: tuple[tuple[RecordedReview, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """A conversation of an import file; `line` is its line, or its place in an array, from 1.

    `file` is the name of the file in a folder or zip, else "", and `format` the name of its format;
    `read_files` sets both.

    `file_id` is its id in the file, or None if the file has none; `external_id` is what an
    application calls it. `owner` is whose it is, in files that say so. `earlier` is the same
    conversation as earlier releases read it, if they read it otherwise.

    A conversation with branches also has `parents`: for each message the index of the one that it
    follows, which is before it, or None for a beginning. `branches` are the numbers of the branches
    that they were written to, if the file has them, and `active` is the index of the last message
    of the active branch, by default of the last message. Without `parents` it is a line.

    One that is to be stored as it was exported has `exported`, and its messages have their ids.
    """

    line: int
    file: str = ""
    format: str = ""
    messages: tuple[MessageDraft, ...]
    file_id: str | None = None
    owner: str | None = None
    title: str | None = None
    model_used: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    external_id: str | None = None
    tags: list[str] = field(default_factory=list)
    pinned: bool = False
    archived_at: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    earlier: Chat | None = None
    parents: tuple[int | None, ...] = ()
    branches: tuple[int, ...] = ()
    active: int | None = None
    exported: AsExported | None = None

    @property
    def key(self) -> str:
        """Identifies the conversation in repeated imports: its id or else a content hash."""
        return content_hash(self) if self.file_id is None else self.file_id


@dataclass(frozen=True, slots=True)
class RecordedBranch:
    """A branch of a conversation that has several: `position` is from 1 to `count`."""

    number: int
    position: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedChat:
    """A stored conversation. `messages` can be iterated once; it may not fit into memory.

    Of a conversation with branches they are either all of them, with `active_branch`, or those on
    the path of `branch`.
    """

    id: str
    owner: str
    title: str
    model_used: str
    source: str
    metadata: dict[str, Any]
    external_id: str | None
    tags: list[str]
    pinned: bool
    archived_at: datetime | None
    created_at: datetime
    updated_at: datetime
    messages: Iterable[RecordedMessage]
    active_branch: int | None = None
    branch: RecordedBranch | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line that cannot be imported; `reason` is like "messages.3.role: Not a string.". `file` is
    as in a Chat."""

    line: int
    reason: str
    file: str = ""

    @classmethod
    def at(cls, line: int, field: str | None, detail: str, *, file: str = "") -> Rejected:
        """`field` is the path of the invalid value, or None for the whole line."""
        reason = f"{field}: {detail}" if field else detail
        return cls(line, printable(reason), file)


class Malformed(Exception):
    """A line violates its format; `field` is the path of the value, or None for the line."""

    def __init__(self, field: str | None, detail: str) -> None:
        super().__init__(detail)
        self.field = field
        self.detail = detail


# The fields that version 1 of the hash always includes. Other fields are included only if not the
# default, so that conversations imported before a field was added keep their hash.
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
    """SHA-256 over title, metadata and messages, and an external id, tags and branches if there are
    any: "v1:sha256:<hex>".

    Independent of the order of keys. Ids of imported conversations depend on this hash: a change
    needs a new version prefix. Where a format reads a message otherwise than before, its earlier
    form (`Chat.earlier`) is looked up too.
    """
    hashed: dict[str, Any] = {
        "title": chat.title,
        "metadata": chat.metadata,
        "messages": [_hashed(message) for message in chat.messages],
    }
    added_later = {
        "external_id": chat.external_id,
        "tags": chat.tags,
        "parents": chat.parents,
        "branches": chat.branches,
    }
    hashed |= {name: value for name, value in added_later.items() if value}
    text = json.dumps(hashed, sort_keys=True, separators=(",", ":"), default=_as_text)
    return f"v1:sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _hashed(message: MessageDraft) -> dict[str, Any]:
    values = asdict(message)
    return {
        name: value
        for name, value in values.items()
        if name not in _DEFAULTS or value != _DEFAULTS[name]
    }


def _as_text(value: datetime | Decimal) -> str:
    """Of a time, and of a cost."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def printable(text: str) -> str:
    """Truncated and without control characters, for a text that contains names from a file."""
    shown = text if len(text) <= MAX_REASON_CHARS else text[: MAX_REASON_CHARS - 1] + "…"
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in shown)
