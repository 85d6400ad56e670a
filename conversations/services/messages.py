"""Append, read, rate and delete messages of a conversation."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from django.db import connection
from django.db.models import Case, F, Value, When
from django.utils import timezone

from conversations.db.bulk_rows import Row, columns_of
from conversations.formats import MessageDraft
from conversations.models import (
    AccessAction,
    AccessContext,
    Branch,
    Conversation,
    Message,
    Status,
    Tombstone,
    as_read,
)
from conversations.models.branch_path import FIRST_LINE
from conversations.selectors.branches import on_path, shown_path
from conversations.services.abandoned_turns import IsDead, interrupt_abandoned
from conversations.services.appending import append_drafts
from conversations.services.audit import SCRIPT, Detail, owner_of
from conversations.services.branches import forget_message, place_of
from conversations.services.conversations import conversation_to_change
from conversations.services.errors import (
    NO_SUCH_CONVERSATION,
    NO_SUCH_MESSAGE,
    Conflict,
    NotFound,
    TurnRunning,
)
from conversations.services.merge_patch import check_patch, merged_metadata
from conversations.services.validators import check_metadata, check_rating, check_text

CLEARED_AT_ONCE = 10_000
EMPTIED = "This message was emptied by a retention rule: it cannot be changed."


def add_message(
    *,
    conversation_id: uuid.UUID,
    role: str,
    content: str = "",
    key: str | None = None,
    expected_last_sequence: int | None = None,
    access: AccessContext = SCRIPT,
    **fields: Any,
) -> Message:
    """Append one message and return it with its sequence.

    `fields` are those of MessageDraft (tool_calls, provider, model, sources, metadata, …).
    `key` (an Idempotency-Key) makes the call idempotent: a repeated call returns the stored
    message. Raises InvalidValue, NotFound, NotAllowed, ReasonRequired, StaleSequence (the last
    sequence is not `expected_last_sequence`), KeyReused and Deleted.
    """
    rows, _ = append_drafts(
        conversation_id=conversation_id,
        drafts=[MessageDraft(role=role, content=content, **fields)],
        key=key,
        expected_last_sequence=expected_last_sequence,
        access=access,
        single=True,
    )
    return _message(rows[0])


def add_messages(
    *,
    conversation_id: uuid.UUID,
    messages: Sequence[MessageDraft],
    key: str | None = None,
    expected_last_sequence: int | None = None,
    access: AccessContext = SCRIPT,
) -> list[Message]:
    """Append up to 1,000 messages in order, all or none. Raises what `add_message` raises."""
    rows, _ = append_drafts(
        conversation_id=conversation_id,
        drafts=messages,
        key=key,
        expected_last_sequence=expected_last_sequence,
        access=access,
    )
    return [_message(row) for row in rows]


def _message(row: Row) -> Message:
    return Message(**{name: row[name] for name in columns_of(Message)})


def get_chat_history(
    *, conversation_id: uuid.UUID, limit: int | None = None, access: AccessContext = SCRIPT
) -> list[Message]:
    """The messages of the active branch in order; with `limit`, the last that many.

    Raises NotFound, ReasonRequired.
    """
    owner = owner_of(access, conversation_id, action=AccessAction.READ)
    shown = shown_path(owner.pk, conversation_id)
    if shown is None:
        raise NotFound(NO_SUCH_CONVERSATION, field="conversation_id")
    rows = on_path(Message.objects.of(owner.pk, conversation_id), shown[1])
    return [as_read(message) for message in rows.order_by("-sequence")[:limit]][::-1]


def update_message(
    *,
    conversation_id: uuid.UUID,
    message_id: uuid.UUID,
    changes: dict[str, Any],
    access: AccessContext,
    merge: bool = False,
) -> Message:
    """Change any of `rating`, `rating_comment` and `metadata`, the only mutable fields.

    With `merge`, `metadata` is a JSON merge patch of what is stored. Raises InvalidValue,
    NotFound, NotAllowed, ReasonRequired, OnLegalHold, and Conflict for an emptied message.
    """
    check_rating(changes.get("rating"))
    if (comment := changes.get("rating_comment")) is not None:
        check_text("rating_comment", comment)
    values = dict(changes)
    merges = merge and "metadata" in values
    if merges:
        check_patch(values["metadata"])
    elif "metadata" in values:
        check_metadata(values["metadata"])
    detail = {"message": str(message_id), "fields": sorted(changes)}
    with conversation_to_change(
        conversation_id, access, AccessAction.CHANGE, detail
    ) as conversation:
        stored = Message.objects.of(conversation.user_id, conversation_id).filter(id=message_id)
        if merges:
            held = stored.values_list("metadata", flat=True).first()
            values["metadata"] = merged_metadata(held or {}, values["metadata"])
        if values:
            # While an answer streams, `updated_at` is the heartbeat of the process that runs it.
            now = Case(
                When(status=Status.STREAMING, then=F("updated_at")), default=Value(timezone.now())
            )
            stored.filter(emptied_at=None).update(**values, updated_at=now)
        message = stored.first()
        if message is not None and message.emptied_at is not None:
            raise Conflict(EMPTIED, code="emptied")
    if message is None:
        raise NotFound(NO_SUCH_MESSAGE)
    return message


def delete_message(
    *, conversation_id: uuid.UUID, message_id: uuid.UUID, access: AccessContext
) -> None:
    """Delete one message; the others keep their sequence.

    A tombstone reserves its id, so that a late retry of the append does not restore the message.
    Raises NotFound, NotAllowed, ReasonRequired, OnLegalHold.
    """
    detail = {"message": str(message_id)}
    with conversation_to_change(
        conversation_id, access, AccessAction.DELETE, detail
    ) as conversation:
        owner_id = conversation.user_id
        stored = Message.objects.of(owner_id, conversation_id).filter(id=message_id)
        place = place_of(conversation, stored)
        removed, _ = stored.delete()
        if not removed:
            raise NotFound(NO_SUCH_MESSAGE)
        if place is not None:
            forget_message(conversation, place)
        Tombstone.objects.create(user_id=owner_id, conversation_id=conversation_id, id=message_id)
        row = Conversation.objects.owned_by(owner_id).filter(pk=conversation_id)
        row.update(message_count=F("message_count") - 1)


def clear_conversation(
    *, conversation_id: uuid.UUID, access: AccessContext, is_dead: IsDead = lambda runner: False
) -> int:
    """Delete all messages of a conversation, which stays; how many they were.

    All or none. Tombstones reserve their ids, and the next message gets the next sequence, as
    after the deletion of one. Raises NotFound, NotAllowed, ReasonRequired, OnLegalHold, and
    TurnRunning while an answer is running there.
    """

    def size(conversation: Conversation) -> Detail:
        return {"cleared": True, "messages": conversation.message_count}

    with conversation_to_change(conversation_id, access, AccessAction.DELETE, size) as conversation:
        owner_id = conversation.user_id
        interrupt_abandoned(owner_id=owner_id, conversation_id=conversation_id, is_dead=is_dead)
        messages = Message.objects.of(owner_id, conversation_id)
        if messages.filter(status=Status.STREAMING).exists():
            raise TurnRunning
        deleted = _delete_all(owner_id, conversation_id)
        row = Conversation.objects.owned_by(owner_id).filter(pk=conversation_id)
        if conversation.last_branch:
            Branch.objects.of(owner_id, conversation_id).delete()
        row.update(message_count=0, active_branch=FIRST_LINE, branch_count=1, last_branch=0)
    return deleted


# In batches, since the statement timeout holds for each statement.
_DELETE_BATCH = """
    WITH deleted AS (
        DELETE FROM conversations_message
        WHERE user_id = %(owner)s AND conversation_id = %(conversation)s AND sequence IN (
            SELECT sequence FROM conversations_message
            WHERE user_id = %(owner)s AND conversation_id = %(conversation)s
                AND sequence > %(after)s
            ORDER BY sequence LIMIT %(batch)s)
        RETURNING id, sequence
    ), kept AS (
        INSERT INTO conversations_tombstone (user_id, conversation_id, id, deleted_at)
        SELECT %(owner)s, %(conversation)s, id, %(now)s FROM deleted
    )
    SELECT count(*), max(sequence) FROM deleted
"""


def _delete_all(owner_id: int, conversation_id: uuid.UUID) -> int:
    place: dict[str, Any] = {"owner": owner_id, "conversation": conversation_id}
    values = place | {"now": timezone.now(), "batch": CLEARED_AT_ONCE}
    deleted, last = 0, 0
    with connection.cursor() as cursor:
        while True:
            cursor.execute(_DELETE_BATCH, values | {"after": last})
            count, last = cursor.fetchone()
            deleted += int(count)
            if count < CLEARED_AT_ONCE:
                return deleted
