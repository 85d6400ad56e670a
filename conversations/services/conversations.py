"""Conversations: find or start one, change what may change, remove."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from conversations.models import DEFAULT_TITLE, Caller, Conversation, new_id
from conversations.models.rows import columns_of, insert_new_rows
from conversations.services.appending import refusal_to_write
from conversations.services.errors import InvalidValue, KeyReused, NotFound, OnLegalHold
from conversations.services.owners import (
    NO_SUCH_USER,
    UserId,
    find_or_create_owner,
    find_owner,
)
from conversations.services.values import as_stored, check_metadata, check_text

ANOTHER_CONVERSATION = "This id or Idempotency-Key already stands for another conversation."
ON_HOLD = "The conversation is on legal hold: nothing of it may be removed."
EMPTY_TITLE = "The title may not be empty."
LONG_TEXT = "Longer than 255 characters."


@dataclass(frozen=True, slots=True)
class Found:
    """A conversation, and whether this call made it."""

    conversation: Conversation
    created: bool


def get_or_create_conversation(*, user_id: UserId) -> Conversation:
    """The user's latest conversation, or a new one. The user is made where there is none."""
    return find_or_start(owner_id=find_or_create_owner(user_id).pk).conversation


def find_or_start(*, owner_id: int) -> Found:
    """The owner's latest conversation that is not archived, or a new one.

    Two calls at once give one conversation: the second waits on the owner's row. Raises
    NotFound for an owner who is erased meanwhile.
    """
    latest = Conversation.objects.latest_of(owner_id)
    if latest is not None:
        return Found(latest, created=False)
    with transaction.atomic():
        owner = User.objects.select_for_update(no_key=True).filter(pk=owner_id)
        if owner.values_list("pk").first() is None:  # erased meanwhile
            raise NotFound(NO_SUCH_USER)
        latest = Conversation.objects.latest_of(owner_id)
        if latest is not None:
            return Found(latest, created=False)
        return create_conversation(owner_id=owner_id)


def create_conversation(
    *,
    owner_id: int,
    title: str | None = None,
    model_used: str = "",
    metadata: dict[str, Any] | None = None,
    id: uuid.UUID | None = None,
    source: str = "api",
    field_of_id: str = "id",
) -> Found:
    """A new conversation, titled from its first user message unless `title` is given.

    `id` makes the call repeatable: the same again returns what is stored (created=False),
    another body or owner under that id raises KeyReused naming `field_of_id`.
    """
    now = timezone.now()
    values = {
        "title": DEFAULT_TITLE if title is None else title,
        "model_used": model_used,
        "metadata": {} if metadata is None else metadata,
    }
    _check_values(values)
    fresh = Conversation(
        id=id or new_id(), user_id=owner_id, source=source, created_at=now, updated_at=now, **values
    )
    row = {column: getattr(fresh, column) for column in columns_of(Conversation)}
    if insert_new_rows(Conversation, [row]):
        return Found(fresh, created=True)
    return Found(_stored_before(fresh, field_of_id), created=False)


def _stored_before(fresh: Conversation, field: str) -> Conversation:
    """The conversation under `fresh`'s id, provided that an equal request made it."""
    stored = Conversation.objects.owned_by(fresh.user_id).filter(pk=fresh.pk).first()
    if stored is None or not _same_request(stored, fresh):
        raise KeyReused(ANOTHER_CONVERSATION, field=field)
    return stored


def _same_request(stored: Conversation, fresh: Conversation) -> bool:
    """Title and metadata are compared only while nothing has happened to the conversation."""
    if stored.updated_at != stored.created_at:
        return stored.model_used == fresh.model_used
    return (stored.model_used, stored.title, as_stored(stored.metadata)) == (
        fresh.model_used,
        fresh.title,
        as_stored(fresh.metadata),
    )


def get_user_conversations(*, user_id: UserId, limit: int | None = None) -> list[Conversation]:
    """The user's conversations, newest activity first; none for a user not seen so far."""
    owner = find_owner(user_id)
    if owner is None:
        return []
    return list(Conversation.objects.owned_by(owner.pk).newest_first()[:limit])


def update_conversation(
    *, conversation_id: uuid.UUID, changes: dict[str, Any], caller: Caller | None = None
) -> Conversation:
    """Change `title`, `metadata`, `pinned`, `archived`. Raises NotFound, NotAllowed."""
    values = dict(changes)
    _check_values(values)
    with transaction.atomic():
        conversation = writable_conversation(conversation_id, caller, lock=True)
        if "archived" in values and conversation.archived != values.pop("archived"):
            values["archived_at"] = None if conversation.archived else timezone.now()
        values.pop("archived", None)
        for name, value in values.items():
            setattr(conversation, name, value)
        conversation.updated_at = _touched(conversation)
        conversation.save(update_fields=[*values, "updated_at"])
    return conversation


def delete_conversation(*, conversation_id: uuid.UUID, caller: Caller | None = None) -> None:
    """Remove a conversation and its messages. Raises NotFound, NotAllowed, OnLegalHold."""
    with transaction.atomic():
        lock_for_removal(conversation_id, caller)
        Conversation.objects.filter(pk=conversation_id).delete()


def writable_conversation(
    conversation_id: uuid.UUID, caller: Caller | None, *, lock: bool = False
) -> Conversation:
    """The conversation, for a caller who may write to it; `lock` until the transaction ends."""
    conversations = Conversation.objects.all()
    if caller is not None:
        conversations = conversations.writable_by(caller)
    if lock:
        conversations = conversations.select_for_update()
    found = conversations.filter(pk=conversation_id).first()
    if found is None:
        raise refusal_to_write(conversation_id, caller)
    return found


def lock_for_removal(conversation_id: uuid.UUID, caller: Caller | None) -> Conversation:
    """Lock a conversation of which something is about to go away."""
    conversation = writable_conversation(conversation_id, caller, lock=True)
    if conversation.legal_hold:
        raise OnLegalHold(ON_HOLD)
    return conversation


def _touched(conversation: Conversation) -> datetime:
    """A time that differs from `created_at`, yet does not move the chat up its owner's list:
    the newest activity is the newest message, not a new title."""
    return max(conversation.updated_at, conversation.created_at + timedelta(microseconds=1))


def _check_values(values: dict[str, Any]) -> None:
    """Check what a client gives of a conversation; titles are trimmed in place."""
    for name in ("title", "model_used"):
        if name in values:
            check_text(name, values[name])
            values[name] = values[name].strip()
            if len(values[name]) > 255:
                raise InvalidValue(LONG_TEXT, field=name, code="max_length")
    if values.get("title") == "":
        raise InvalidValue(EMPTY_TITLE, field="title", code="blank")
    if "metadata" in values:
        check_metadata(values["metadata"])
