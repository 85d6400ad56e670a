"""The messages of a conversation: append, read back in order, rate, remove."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from django.db.models import Case, F, Value, When
from django.utils import timezone

from conversations.formats import MessageDraft
from conversations.models import (
    AccessAction,
    AccessContext,
    Conversation,
    Message,
    Status,
    Tombstone,
    as_read,
)
from conversations.services.appending import append_drafts
from conversations.services.audit import SCRIPT, owner_of
from conversations.services.conversations import conversation_to_change
from conversations.services.errors import NO_SUCH_CONVERSATION, NO_SUCH_MESSAGE, NotFound
from conversations.services.validators import check_metadata, check_rating, check_text


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
    """Append one message and return it with its place.

    `fields` are those of MessageDraft (tool_calls, provider, model, sources, metadata, …).
    `key` makes the call repeatable: the same again returns what is stored. Raises InvalidValue,
    NotFound, NotAllowed, StaleSequence (not at `expected_last_sequence` any more), KeyReused.
    """
    appended = append_drafts(
        conversation_id=conversation_id,
        drafts=[MessageDraft(role=role, content=content, **fields)],
        key=key,
        expected_last_sequence=expected_last_sequence,
        access=access,
        single=True,
    )
    return Message(**appended.rows[0])


def add_messages(
    *,
    conversation_id: uuid.UUID,
    messages: Sequence[MessageDraft],
    key: str | None = None,
    expected_last_sequence: int | None = None,
    access: AccessContext = SCRIPT,
) -> list[Message]:
    """Append up to 1,000 messages in order, all or none; errors as `add_message`."""
    appended = append_drafts(
        conversation_id=conversation_id,
        drafts=messages,
        key=key,
        expected_last_sequence=expected_last_sequence,
        access=access,
    )
    return [Message(**row) for row in appended.rows]


def get_chat_history(
    *, conversation_id: uuid.UUID, limit: int | None = None, access: AccessContext = SCRIPT
) -> list[Message]:
    """The messages in order; with `limit`, the latest that many. Raises NotFound."""
    owner = owner_of(access, conversation_id, action=AccessAction.READ)
    theirs = Conversation.objects.owned_by(owner.pk).filter(pk=conversation_id)
    messages = Message.objects.filter(conversation__in=theirs)
    found = [as_read(message) for message in messages.order_by("-sequence")[:limit]][::-1]
    if not found and not theirs.exists():
        raise NotFound(NO_SUCH_CONVERSATION, field="conversation_id")
    return found


def update_message(
    *,
    conversation_id: uuid.UUID,
    message_id: uuid.UUID,
    changes: dict[str, Any],
    access: AccessContext,
) -> Message:
    """Change what may change of a message: `rating`, `rating_comment`, `metadata`.

    Raises InvalidValue, NotFound, NotAllowed, OnLegalHold.
    """
    _check_changes(changes)
    detail = {"message": str(message_id), "fields": sorted(changes)}
    with conversation_to_change(conversation_id, access, AccessAction.CHANGE, detail):
        stored = Message.objects.filter(conversation_id=conversation_id, id=message_id)
        if changes:
            stored.update(**changes, updated_at=_moved())
        message = stored.first()
    if message is None:
        raise NotFound(NO_SUCH_MESSAGE)
    return message


def _moved() -> Case:
    """Now; but a running answer's time is its process's sign of life, which nobody else gives."""
    return Case(When(status=Status.STREAMING, then=F("updated_at")), default=Value(timezone.now()))


def _check_changes(changes: dict[str, Any]) -> None:
    check_rating(changes.get("rating"))
    if (comment := changes.get("rating_comment")) is not None:
        check_text("rating_comment", comment)
    if "metadata" in changes:
        check_metadata(changes["metadata"])


def delete_message(
    *, conversation_id: uuid.UUID, message_id: uuid.UUID, access: AccessContext
) -> None:
    """Remove one message; the others keep their sequence.

    Its id stays taken, so that a late retry of the append does not bring it back. Raises NotFound,
    NotAllowed, OnLegalHold.
    """
    detail = {"message": str(message_id)}
    with conversation_to_change(
        conversation_id, access, AccessAction.DELETE, detail
    ) as conversation:
        stored = Message.objects.filter(conversation_id=conversation_id, id=message_id)
        removed, _ = stored.delete()
        if not removed:
            raise NotFound(NO_SUCH_MESSAGE)
        Tombstone.objects.create(
            conversation_id=conversation_id, id=message_id, user_id=conversation.user_id
        )
        Conversation.objects.filter(pk=conversation_id).update(message_count=F("message_count") - 1)
