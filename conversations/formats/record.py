"""What every export format is given: a stored conversation, read as it is needed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedReview:
    """What one member of staff thinks of a message: `score` is 1 (good) or -1 (bad)."""

    reviewer: str
    score: int
    labels: list[str]
    comment: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedMessage:
    """One stored message; names and meanings are those of the Message table.

    `rating` is its owner's; `reviews` are those of staff, oldest first.
    """

    id: str
    sequence: int
    role: str
    content: str
    parts: list[Any] | None
    tool_calls: list[Any] | None
    tool_call_id: str | None
    name: str | None
    provider: str
    model: str
    sources: list[Any] | None
    detected_mode: str | None
    status: str
    finish_reason: str | None
    error: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    latency_ms: int | None
    first_token_ms: int | None
    rating: int | None
    rating_comment: str | None
    metadata: dict[str, Any]
    created_at: datetime
    reviews: Sequence[RecordedReview] = ()


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
