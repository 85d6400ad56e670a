"""The columns of a message as dataclasses: the list that all readers and writers derive from.

Import formats build `MessageDraft`s, the API's request and response fields, the checks of
`services/drafts.py` and the columns of an export follow from its fields. A new column is added to
the model, its migration and here; `tests/models/test_message_columns.py` compares the two.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from typing import Any


@dataclass(slots=True, kw_only=True)
class MessageDraft:
    """A message that has no sequence yet; names and meanings are those of the Message table.

    `id` and `created_at` are set only to keep an existing id or time. Integers are numbers of
    tokens and milliseconds; `cost` is in CHAT_COST_CURRENCY. `extra` is what the sender's format
    has beyond these fields, under its own names.
    """

    role: str
    content: str = ""
    parts: list[Any] | None = None
    tool_calls: list[Any] | None = None
    tool_call_id: str | None = None
    name: str | None = None
    provider: str = ""
    model: str = ""
    sources: list[Any] | None = None
    detected_mode: str | None = None
    status: str = "complete"
    finish_reason: str | None = None
    error: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: Decimal | None = None
    latency_ms: int | None = None
    first_token_ms: int | None = None
    rating: int | None = None
    rating_comment: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] | None = None
    emptied_at: datetime | None = None
    created_at: datetime | None = None
    id: uuid.UUID | None = None
    runner: str | None = None  # the process that runs the turn; internal to the server


@dataclass(slots=True, kw_only=True)
class RecordedReview:
    """A staff member's review of a message: `score` is 1 (good) or -1 (bad)."""

    reviewer: str
    score: int
    labels: list[str]
    comment: str
    created_at: datetime
    updated_at: datetime


@dataclass(slots=True, kw_only=True)
class RecordedMessage(MessageDraft):
    """A stored message. `rating` is its owner's; `reviews` are those of staff, oldest first.

    Among all messages of a conversation with branches it has the number of its `branch` and
    `parent_id`, that of the message it follows, None for a beginning.
    """

    id: uuid.UUID
    sequence: int
    created_at: datetime
    reviews: Sequence[RecordedReview] = ()
    branch: int | None = None
    parent_id: uuid.UUID | None = None


COST_PLACES = 12  # decimal places of the column


def cost_as_text(cost: Decimal) -> str:
    """Without an exponent or trailing zeros: "0.0000025"."""
    return f"{cost.normalize():f}"


DRAFT_FIELDS = tuple(draft.name for draft in fields(MessageDraft))
# The fields in export files and API responses, besides id and sequence.
RECORDED_FIELDS = tuple(name for name in DRAFT_FIELDS if name not in {"id", "runner"})
