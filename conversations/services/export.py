"""Export conversations in batches, with the AccessRecords of a batch stored before its text."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import fields

from django.db.models import QuerySet

from conversations.db.replicas import Reading, fetch_on, reading_from_now
from conversations.formats import (
    RECORDED_FIELDS,
    WRITERS,
    RecordedChat,
    RecordedMessage,
    RecordedReview,
)
from conversations.models import AccessContext, Conversation, Message, Review, as_read
from conversations.services.audit import record_exports, wants_reason
from conversations.services.errors import InvalidValue, ReasonRequired

BATCH = 100
MESSAGE_BATCH = 500
UNKNOWN_FORMAT = "Unknown format. Formats are {formats}."

_CHAT_COLUMNS = [
    column.name for column in fields(RecordedChat) if column.name not in {"id", "owner", "messages"}
]
_MESSAGE_COLUMNS = ("id", "sequence", *RECORDED_FIELDS)


def export_conversations(
    *,
    conversations: QuerySet[Conversation],
    file_format: str,
    access: AccessContext,
) -> Iterator[str]:
    """Yield the text of an export file in chunks, the conversations in order of their ids.

    Stores an AccessRecord for each conversation, unless for a script. Holds at most MESSAGE_BATCH
    messages in memory. Read on a replica that has all that is stored at the call, and on the
    primary from where that one fails. Raises, at the call, InvalidValue for an unknown format and
    ReasonRequired if the settings require a reason.
    """
    if file_format not in WRITERS:
        raise InvalidValue(UNKNOWN_FORMAT.format(formats=", ".join(WRITERS)), field="format")
    if not access.reason and wants_reason(access, None):
        raise ReasonRequired
    return _chunks(conversations, file_format, access, reading_from_now())


def _chunks(
    conversations: QuerySet[Conversation],
    file_format: str,
    access: AccessContext,
    reading: Reading | None,
) -> Iterator[str]:
    write = WRITERS[file_format].write
    for batch in _batches(conversations, reading):
        record_exports(access, batch, file_format=file_format)
        reviewed = _reviewed_among(batch, reading)
        for conversation in batch:
            has_reviews = conversation.pk in reviewed
            yield from write(_recorded(conversation, reading, has_reviews=has_reviews))


def _reviewed_among(batch: list[Conversation], reading: Reading | None) -> set[uuid.UUID]:
    """The ids of the conversations with reviews: for the others, none are queried."""
    reviews = Review.objects.filter(
        user_id__in={one.user_id for one in batch}, conversation__in=[one.pk for one in batch]
    )
    ids = reviews.order_by().values_list("conversation_id", flat=True)
    return set(fetch_on(reading, ids.distinct()))


def _batches(
    conversations: QuerySet[Conversation], reading: Reading | None
) -> Iterator[list[Conversation]]:
    """One query for each batch: no cursor or transaction stays open during a slow download."""
    ordered = conversations.select_related("user").defer(None).order_by("pk")
    last = uuid.UUID(int=0)
    while batch := fetch_on(reading, ordered.filter(pk__gt=last)[:BATCH]):
        yield batch
        last = batch[-1].pk


def _recorded(
    conversation: Conversation, reading: Reading | None, *, has_reviews: bool
) -> RecordedChat:
    return RecordedChat(
        **{name: getattr(conversation, name) for name in _CHAT_COLUMNS},
        id=str(conversation.pk),
        owner=conversation.user.username,
        messages=_messages(conversation, reading, has_reviews=has_reviews),
    )


def _messages(
    conversation: Conversation, reading: Reading | None, *, has_reviews: bool
) -> Iterator[RecordedMessage]:
    messages = Message.objects.of(conversation.user_id, conversation.pk)
    rows = messages.in_order().values(*_MESSAGE_COLUMNS, "updated_at")
    last = 0
    while batch := fetch_on(reading, rows.filter(sequence__gt=last)[:MESSAGE_BATCH]):
        # Judged when it is read: a slow client may take the rows of a batch much later.
        told = [as_read(row) for row in batch]
        keys = [row["id"] for row in batch]
        reviews = _reviews(conversation, keys, reading) if has_reviews else {}
        for row in told:
            values = {name: row[name] for name in _MESSAGE_COLUMNS}
            yield RecordedMessage(**values, reviews=reviews.get(row["id"], ()))
        last = batch[-1]["sequence"]


def _reviews(
    conversation: Conversation, message_ids: list[uuid.UUID], reading: Reading | None
) -> dict[uuid.UUID, list[RecordedReview]]:
    """The reviews of these messages by message id. One SQL query."""
    found: dict[uuid.UUID, list[RecordedReview]] = {}
    reviews = Review.objects.filter(
        user_id=conversation.user_id, conversation=conversation, message_id__in=message_ids
    )
    for review in fetch_on(reading, reviews.order_by("created_at", "id")):
        found.setdefault(review.message_id, []).append(
            RecordedReview(
                reviewer=review.reviewer_name,
                score=review.score,
                labels=review.labels,
                comment=review.comment,
                created_at=review.created_at,
                updated_at=review.updated_at,
            )
        )
    return found
