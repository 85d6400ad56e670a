"""Conversations: find or start one, change what may change, remove."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from conversations.db.bulk_rows import columns_of, insert_new_rows
from conversations.models import (
    DEFAULT_TITLE,
    AccessAction,
    AccessContext,
    Conversation,
    Tombstone,
    new_id,
)
from conversations.services.audit import Detail, owner_of, record_act
from conversations.services.errors import (
    NO_SUCH_CONVERSATION,
    Deleted,
    InvalidValue,
    KeyReused,
    NotFound,
    OnLegalHold,
    ServiceError,
)
from conversations.services.users import NO_SUCH_USER, UserId, find_or_create_user, find_user
from conversations.services.validators import as_stored, check_metadata, check_text

ANOTHER_CONVERSATION = "This id or Idempotency-Key already stands for another conversation."
DELETED_CONVERSATION = "This id or Idempotency-Key stood for a conversation that was deleted."
EMPTY_TITLE = "The title may not be empty."
LONG_TEXT = "Longer than 255 characters."


@dataclass(frozen=True, slots=True)
class Found:
    """A conversation, and whether this call made it."""

    conversation: Conversation
    created: bool


def get_or_create_conversation(*, user_id: UserId) -> Conversation:
    """The user's latest conversation, or a new one. The user is made where there is none."""
    return find_or_start(owner=find_or_create_user(user_id)).conversation


def find_or_start(*, owner: User) -> Found:
    """The owner's latest conversation that is not archived, or a new one.

    Two calls at once give one conversation: the second waits on the owner's row. Raises
    NotFound for an owner who is erased meanwhile.
    """
    if found := _latest_of(owner):
        return found
    with transaction.atomic():
        still_there = User.objects.select_for_update(no_key=True).filter(pk=owner.pk)
        if still_there.values_list("pk").first() is None:  # erased meanwhile
            raise NotFound(NO_SUCH_USER)
        return _latest_of(owner) or create_conversation(owner=owner)


def _latest_of(owner: User) -> Found | None:
    latest = Conversation.objects.latest_of(owner.pk)
    if latest is None:
        return None
    latest.user = owner
    return Found(latest, created=False)


def create_conversation(
    *,
    owner: User,
    title: str | None = None,
    model_used: str = "",
    metadata: dict[str, Any] | None = None,
    id: uuid.UUID | None = None,
    source: str = "api",
    field_of_id: str = "id",
) -> Found:
    """A new conversation, titled from its first user message unless `title` is given.

    `id` makes the call repeatable: the same again returns what is stored (created=False),
    another body or owner under that id raises KeyReused naming `field_of_id`, and the id of the
    owner's deleted conversation Deleted.
    """
    now = timezone.now()
    values = {
        "title": DEFAULT_TITLE if title is None else title,
        "model_used": model_used,
        "metadata": {} if metadata is None else metadata,
    }
    _check_values(values)
    fresh = Conversation(
        id=id or new_id(), user=owner, source=source, created_at=now, updated_at=now, **values
    )
    row = {column: getattr(fresh, column) for column in columns_of(Conversation)}
    with transaction.atomic():
        created = bool(insert_new_rows(Conversation, [row]))
        if created and id is not None:
            # Not before: an insert waits for the end of a deletion that runs, which leaves the
            # tombstone.
            _check_not_deleted(id, owner, field_of_id)
    return Found(fresh if created else _stored_before(fresh, field_of_id), created)


def _check_not_deleted(id: uuid.UUID, owner: User, field: str) -> None:
    """An id that was another owner's is as good as taken."""
    tombstone = Tombstone.objects.filter(conversation_id=id, id=id).first()
    if tombstone is None:
        return
    if tombstone.user_id == owner.pk:
        raise Deleted(DELETED_CONVERSATION, field=field)
    raise KeyReused(ANOTHER_CONVERSATION, field=field)


def _stored_before(fresh: Conversation, field: str) -> Conversation:
    """The conversation under `fresh`'s id, provided that an equal request made it."""
    stored = Conversation.objects.owned_by(fresh.user_id).filter(pk=fresh.pk).first()
    if stored is not None:
        stored.user = fresh.user
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
    owner = find_user(user_id)
    if owner is None:
        return []
    return list(Conversation.objects.owned_by(owner.pk).newest_first()[:limit])


def update_conversation(
    *, conversation_id: uuid.UUID, changes: dict[str, Any], access: AccessContext
) -> Conversation:
    """Change `title`, `metadata`, `pinned`, `archived`.

    Raises NotFound, NotAllowed, OnLegalHold.
    """
    values = dict(changes)
    _check_values(values)
    detail = {"fields": sorted(values)}
    with conversation_to_change(
        conversation_id, access, AccessAction.CHANGE, detail
    ) as conversation:
        if "archived" in values and conversation.archived != values.pop("archived"):
            values["archived_at"] = None if conversation.archived else timezone.now()
        values.pop("archived", None)
        for name, value in values.items():
            setattr(conversation, name, value)
        conversation.updated_at = _touched(conversation)
        conversation.save(update_fields=[*values, "updated_at"])
    return conversation


def delete_conversation(*, conversation_id: uuid.UUID, access: AccessContext) -> None:
    """Remove a conversation and its messages. Raises NotFound, NotAllowed, OnLegalHold."""

    def size(conversation: Conversation) -> Detail:
        return {"messages": conversation.message_count}

    with conversation_to_change(conversation_id, access, AccessAction.DELETE, size) as conversation:
        Tombstone.objects.filter(conversation_id=conversation_id).delete()
        Tombstone.objects.create(
            conversation_id=conversation_id, id=conversation_id, user_id=conversation.user_id
        )
        Conversation.objects.filter(pk=conversation_id).delete()


@contextmanager
def conversation_to_change(
    conversation_id: uuid.UUID,
    access: AccessContext,
    action: AccessAction,
    detail: Detail | Callable[[Conversation], Detail] | None = None,
) -> Iterator[Conversation]:
    """A transaction in which the conversation is locked, its user beside it, for something of it to
    change or to go away.

    What is refused is undone with its AccessRecord; another one says that it was refused. Raises
    NotFound, NotAllowed, ReasonRequired, OnLegalHold, and what the block raises.
    """
    conversation = None
    try:
        with transaction.atomic():
            conversation = locked_conversation(conversation_id, access, action, detail)
            if conversation.legal_hold:
                # That there is a hold is for staff to know, and only of what is not their own.
                told = access.caller is None or access.leaves_record(conversation.user_id)
                raise OnLegalHold.told() if told else OnLegalHold()
            yield conversation
    except ServiceError as refusal:
        if conversation is not None:
            said = detail(conversation) if callable(detail) else dict(detail or {})
            record_act(
                access,
                action,
                owner=conversation.user,
                conversation_id=conversation_id,
                detail={**said, "refused": refusal.code},
            )
        raise


def locked_conversation(
    conversation_id: uuid.UUID,
    access: AccessContext,
    action: AccessAction,
    detail: Detail | Callable[[Conversation], Detail] | None = None,
) -> Conversation:
    """The conversation, locked until the transaction ends, on legal hold or not."""
    owner = owner_of(access, conversation_id, action=action, detail=detail)
    mine = Conversation.objects.owned_by(owner.pk).filter(pk=conversation_id)
    found = mine.select_for_update().first()
    if found is None:
        raise NotFound(NO_SUCH_CONVERSATION)
    found.user = owner
    return found


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
