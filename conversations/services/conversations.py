"""Create, update and delete conversations."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone

from conversations.db.bulk_rows import insert_new_rows, row_of
from conversations.db.owners import (
    claim_conversation_id,
    give_back_conversation_id,
    is_distributed,
)
from conversations.models import (
    DEFAULT_TITLE,
    AccessAction,
    AccessContext,
    Branch,
    Conversation,
    Tombstone,
    new_id,
)
from conversations.models.branch_path import FIRST_LINE
from conversations.selectors.newest_branches import branch_through
from conversations.services.audit import Detail, owner_of, record_act
from conversations.services.conversation_values import check_conversation_values
from conversations.services.deleting import delete_whole
from conversations.services.errors import (
    NO_SUCH_BRANCH,
    NO_SUCH_CONVERSATION,
    NO_SUCH_MESSAGE,
    Deleted,
    InvalidValue,
    KeyReused,
    NotFound,
    OnLegalHold,
    ServiceError,
    violated_constraint,
)
from conversations.services.merge_patch import check_patch, merged_metadata
from conversations.services.users import NO_SUCH_USER, UserId, find_or_create_user, find_user
from conversations.services.validators import as_stored

ANOTHER_CONVERSATION = "This id or Idempotency-Key is already used for another conversation."
DELETED_CONVERSATION = "This id or Idempotency-Key was used for a conversation that was deleted."
TWO_BRANCHES = "Send `active_branch` or `active_message_id`, not both."
TAKEN_EXTERNAL_ID = "Another conversation of this owner has this external id."


def get_or_create_conversation(*, user_id: UserId) -> Conversation:
    """The user's latest conversation that is not archived, or a new one.

    The user is created if there is none of that name. Raises InvalidValue for a bad name.
    """
    conversation, _ = get_or_create_latest(owner=find_or_create_user(user_id))
    return conversation


def get_or_create_latest(*, owner: User) -> tuple[Conversation, bool]:
    """The owner's latest conversation that is not archived, or a new one, and whether it is new.

    Concurrent calls return the same conversation: they wait for a lock on the owner's row. Raises
    NotFound if the owner is erased by another transaction.
    """
    if latest := _latest_of(owner):
        return latest, False
    with transaction.atomic():
        locked = User.objects.select_for_update(no_key=True).filter(pk=owner.pk)
        if locked.values_list("pk").first() is None:
            raise NotFound(NO_SUCH_USER)
        if latest := _latest_of(owner):
            return latest, False
        return create_conversation(owner=owner)


def _latest_of(owner: User) -> Conversation | None:
    latest = Conversation.objects.latest_of(owner.pk)
    if latest is not None:
        latest.user = owner
    return latest


def create_conversation(
    *,
    owner: User,
    title: str | None = None,
    model_used: str = "",
    metadata: dict[str, Any] | None = None,
    external_id: str | None = None,
    tags: list[Any] | None = None,
    id: uuid.UUID | None = None,
    source: str = "api",
    forked_from: uuid.UUID | None = None,
    field_of_id: str = "id",
) -> tuple[Conversation, bool]:
    """Create a conversation; returns it and whether it is new, as Django's `get_or_create` does.

    Without `title` it keeps the default title until its first user message. `id` makes the call
    idempotent: a repeated call returns the stored row and False. So does `external_id` by itself,
    or beside an id that follows from a key: the owner's conversation with this external id is
    returned, whatever its other values. Raises KeyReused, naming `field_of_id`, if the id belongs
    to a conversation with other values or another owner, or naming `external_id` if the owner's
    conversation with it has another id than the one that the client gives; Deleted if the owner's
    conversation with this id was deleted; and InvalidValue.
    """
    now = timezone.now()
    values = {
        "title": DEFAULT_TITLE if title is None else title,
        "model_used": model_used,
        "metadata": {} if metadata is None else metadata,
        "external_id": external_id,
        "tags": [] if tags is None else tags,
    }
    check_conversation_values(values)
    if id is None and (found := _with_external_id(owner, external_id)):
        return found, False
    origin: dict[str, Any] = {"source": source, "forked_from": forked_from}
    fresh = Conversation(
        id=id or new_id(), user=owner, created_at=now, updated_at=now, **origin, **values
    )
    # A new id is nobody's: where there is one node, its row is all that is written.
    with transaction.atomic() if id is not None or is_distributed() else nullcontext():
        created = insert_conversation(fresh)
        if created and id is not None:
            # After the insert, which waits for a concurrent deletion to commit: only then is the
            # tombstone of that deletion visible.
            _check_not_deleted(id, owner, field_of_id)
    if created:
        return fresh, True
    return _stored_before(fresh, None if id is None else field_of_id), False


def insert_conversation(conversation: Conversation) -> bool:
    """Insert a new conversation; False if its id is taken, by whichever owner, or its external id
    by another conversation of its owner."""
    if not claim_conversation_id(conversation.pk, conversation.user_id):
        return False
    inserted = bool(insert_new_rows(Conversation, [row_of(conversation)]))
    if not inserted:
        give_back_conversation_id(conversation.pk)
    return inserted


def _with_external_id(owner: User, external_id: str | None) -> Conversation | None:
    if external_id is None:
        return None
    found = Conversation.objects.owned_by(owner.pk).filter(external_id=external_id).first()
    if found is not None:
        found.user = owner
    return found


def _check_not_deleted(id: uuid.UUID, owner: User, field: str) -> None:
    """An id that another owner's deleted conversation had counts as reused."""
    tombstones = Tombstone.objects.filter(conversation_id=id, id=id)
    if is_distributed():
        # There another's id stays taken: it was not claimed anew. So one node is asked.
        tombstones = tombstones.filter(user_id=owner.pk)
    tombstone = tombstones.first()
    if tombstone is None:
        return
    if tombstone.user_id == owner.pk:
        raise Deleted(DELETED_CONVERSATION, field=field)
    raise KeyReused(ANOTHER_CONVERSATION, field=field)


def _stored_before(fresh: Conversation, field: str | None) -> Conversation:
    """The stored conversation with the id of `fresh`; KeyReused unless their values are equal.

    Or the one with its external id. `field` is where the client gave the id; None where it gave
    none.
    """
    stored = Conversation.objects.owned_by(fresh.user_id).filter(pk=fresh.pk).first()
    if stored is not None:
        stored.user = fresh.user
    elif named := _with_external_id(fresh.user, fresh.external_id):
        if field == "id":
            raise KeyReused(TAKEN_EXTERNAL_ID, field="external_id")
        return named
    if field is None:  # whoever had the external id was deleted this moment
        raise KeyReused(TAKEN_EXTERNAL_ID, field="external_id")
    if stored is None:
        _check_not_deleted(fresh.pk, fresh.user, field)
    if stored is None or not _same_request(stored, fresh):
        raise KeyReused(ANOTHER_CONVERSATION, field=field)
    return stored


def _same_request(stored: Conversation, fresh: Conversation) -> bool:
    """Title, metadata and tags are compared only if the conversation was not updated since."""
    names = ["model_used", "external_id", "forked_from"]
    if stored.updated_at == stored.created_at:
        names += ["title", "metadata", "tags"]
    return all(
        as_stored(getattr(stored, name)) == as_stored(getattr(fresh, name)) for name in names
    )


def get_user_conversations(*, user_id: UserId, limit: int | None = None) -> list[Conversation]:
    """The user's conversations, newest activity first; empty for an unknown user."""
    owner = find_user(user_id)
    if owner is None:
        return []
    return list(Conversation.objects.owned_by(owner.pk).newest_first()[:limit])


def update_conversation(
    *,
    conversation_id: uuid.UUID,
    changes: dict[str, Any],
    access: AccessContext,
    merge: bool = False,
) -> Conversation:
    """Change any of `title`, `metadata`, `external_id`, `tags`, `pinned`, `archived` (True
    archives, False unarchives), and which branch is shown: `active_branch`, or with
    `active_message_id` the newest one through that message.

    With `merge`, `metadata` is a JSON merge patch of what is stored. Raises InvalidValue,
    NotFound, NotAllowed, ReasonRequired, OnLegalHold, and KeyReused if another conversation of the
    owner has the external id.
    """
    values = dict(changes)
    detail = {"fields": sorted(values)}
    patch = values.pop("metadata", None) if merge else None
    merges = merge and "metadata" in changes
    check_patch(patch)
    check_conversation_values(values)
    if "active_branch" in values and "active_message_id" in values:
        raise InvalidValue(TWO_BRANCHES, field="active_message_id", code="ambiguous")
    with conversation_to_change(
        conversation_id, access, AccessAction.CHANGE, detail
    ) as conversation:
        _check_branch(conversation, values)
        if "archived" in values and conversation.archived != values.pop("archived"):
            values["archived_at"] = None if conversation.archived else timezone.now()
        values.pop("archived", None)
        if merges:
            values["metadata"] = merged_metadata(conversation.metadata, patch)
        for name, value in values.items():
            setattr(conversation, name, value)
        # Differs from `created_at`, so that a repeated create request is not compared with changed
        # values, but keeps the place in the list, which is ordered by the newest message.
        conversation.updated_at = max(
            conversation.updated_at, conversation.created_at + timedelta(microseconds=1)
        )
        values["updated_at"] = conversation.updated_at
        row = Conversation.objects.owned_by(conversation.user_id).filter(pk=conversation_id)
        try:
            row.update(**values)
        except IntegrityError as error:
            if violated_constraint(error) == "conversation_external_id_unique":
                raise KeyReused(TAKEN_EXTERNAL_ID, field="external_id") from None
            raise
    return conversation


def _check_branch(conversation: Conversation, values: dict[str, Any]) -> None:
    """Put the number of its branch in the place of `active_message_id`."""
    place = (conversation.user_id, conversation.pk)
    if "active_message_id" in values:
        values["active_branch"] = branch_through(*place, values.pop("active_message_id"))
        if values["active_branch"] is None:
            raise InvalidValue(NO_SUCH_MESSAGE, field="active_message_id", code="not_found")
    elif "active_branch" in values:
        branches = Branch.objects.of(*place).filter(number=values["active_branch"])
        only = conversation.last_branch == 0 and values["active_branch"] == FIRST_LINE
        if not only and not branches.exists():
            raise InvalidValue(NO_SUCH_BRANCH, field="active_branch", code="not_found")


def delete_conversation(*, conversation_id: uuid.UUID, access: AccessContext) -> None:
    """Delete a conversation with its messages, notes and reviews.

    Its id stays reserved by a tombstone. Raises NotFound, NotAllowed, ReasonRequired, OnLegalHold.
    """

    def size(conversation: Conversation) -> Detail:
        return {"messages": conversation.message_count}

    with conversation_to_change(conversation_id, access, AccessAction.DELETE, size) as conversation:
        delete_whole(conversation.user_id, [conversation_id])


@contextmanager
def conversation_to_change(
    conversation_id: uuid.UUID,
    access: AccessContext,
    action: AccessAction,
    detail: Detail | Callable[[Conversation], Detail] | None = None,
) -> Iterator[Conversation]:
    """A transaction that holds the conversation's row lock, for changing or deleting data of it.

    The conversation has its `user` loaded. A ServiceError rolls back the change together with its
    AccessRecord; a second AccessRecord is then stored with the refusal's code. Raises NotFound,
    NotAllowed, ReasonRequired, OnLegalHold, and what the block raises.
    """
    conversation = None
    try:
        with transaction.atomic():
            conversation = locked_conversation(conversation_id, access, action, detail)
            if conversation.legal_hold:
                # Only scripts and staff other than the owner may learn that there is a hold.
                discloses = access.caller is None or access.leaves_record(conversation.user_id)
                raise OnLegalHold.disclosed() if discloses else OnLegalHold()
            yield conversation
    except ServiceError as refusal:
        if conversation is not None:
            given = detail(conversation) if callable(detail) else dict(detail or {})
            record_act(
                access,
                action,
                owner=conversation.user,
                conversation_id=conversation_id,
                detail={**given, "refused": refusal.code},
            )
        raise


def locked_conversation(
    conversation_id: uuid.UUID,
    access: AccessContext,
    action: AccessAction,
    detail: Detail | Callable[[Conversation], Detail] | None = None,
) -> Conversation:
    """The conversation, locked (FOR UPDATE) until the transaction ends, even if on legal hold.

    Stores an AccessRecord where staff act on another user's conversation. Raises NotFound,
    NotAllowed, ReasonRequired.
    """
    owner = owner_of(access, conversation_id, action=action, detail=detail)
    rows = Conversation.objects.owned_by(owner.pk).filter(pk=conversation_id)
    conversation = rows.select_for_update().first()
    if conversation is None:
        raise NotFound(NO_SUCH_CONVERSATION)
    conversation.user = owner
    return conversation
