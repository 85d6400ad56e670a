"""Conversations on their way out: in batches, each recorded before its first word leaves."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import fields

from django.db.models import QuerySet

from conversations.formats import WRITERS, RecordedChat, RecordedMessage
from conversations.models import AccessContext, Conversation, Message, as_read
from conversations.models.rows import Row
from conversations.services.access import record_exports, wants_reason
from conversations.services.errors import InvalidValue, ReasonRequired

BATCH = 100
MESSAGES_AT_ONCE = 500
UNKNOWN_FORMAT = "Not a format; formats are {formats}."

_MESSAGE_COLUMNS = tuple(field.name for field in fields(RecordedMessage))


def export_conversations(
    *,
    conversations: QuerySet[Conversation],
    file_format: str,
    access: AccessContext,
) -> Iterator[str]:
    """The text of a file with the conversations, by age, piece by piece, however many there are.

    Each leaves an AccessRecord (none of a script). No more than
    MESSAGES_AT_ONCE messages are held in memory. Raises InvalidValue for an unknown format,
    before anything is read, and ReasonRequired where the settings ask staff for a reason.
    """
    if file_format not in WRITERS:
        raise InvalidValue(UNKNOWN_FORMAT.format(formats=", ".join(WRITERS)), field="format")
    if not access.reason and wants_reason(access, None):
        raise ReasonRequired
    return _pieces(conversations, file_format, access)


def _pieces(
    conversations: QuerySet[Conversation],
    file_format: str,
    access: AccessContext,
) -> Iterator[str]:
    write = WRITERS[file_format].write
    for batch in _batches(conversations):
        record_exports(access, batch, file_format=file_format)
        for conversation in batch:
            yield from write(_recorded(conversation))


def _batches(conversations: QuerySet[Conversation]) -> Iterator[list[Conversation]]:
    """By key, each batch its own query: nothing stays open while a slow client downloads."""
    ordered = conversations.select_related("user").defer(None).order_by("pk")
    last = uuid.UUID(int=0)
    while batch := list(ordered.filter(pk__gt=last)[:BATCH]):
        yield batch
        last = batch[-1].pk


def _recorded(conversation: Conversation) -> RecordedChat:
    return RecordedChat(
        id=str(conversation.pk),
        owner=conversation.user.username,
        title=conversation.title,
        model_used=conversation.model_used,
        source=conversation.source,
        metadata=conversation.metadata,
        pinned=conversation.pinned,
        archived_at=conversation.archived_at,
        created_at=conversation.created_at,
        updated_at=conversation.updated_at,
        messages=_messages(conversation),
    )


def _messages(conversation: Conversation) -> Iterator[RecordedMessage]:
    rows = Message.objects.of(conversation).in_order().values(*_MESSAGE_COLUMNS, "updated_at")
    last = 0
    while batch := list(rows.filter(sequence__gt=last)[:MESSAGES_AT_ONCE]):
        for row in batch:
            yield _recorded_message(as_read(row))
        last = batch[-1]["sequence"]


def _recorded_message(row: Row) -> RecordedMessage:
    values = {name: row[name] for name in _MESSAGE_COLUMNS}
    return RecordedMessage(**values | {"id": str(row["id"])})
