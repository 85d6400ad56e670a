"""Conversations with their first messages, one or many at once; and many deletions at once."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from conversations.db.bulk_rows import Row
from conversations.formats import MessageDraft
from conversations.models import AccessContext, Conversation, id_from_key
from conversations.services.appending import append_drafts, stored_drafts
from conversations.services.branch_placement import Parent
from conversations.services.conversations import create_conversation, delete_conversation
from conversations.services.errors import InvalidValue, KeyReused, ServiceError

MAX_CONVERSATIONS = 100
MAX_MESSAGES = 10_000
TOO_MANY = f"A request may name at most {MAX_CONVERSATIONS} conversations."
TOO_MANY_MESSAGES = f"A request may create at most {MAX_MESSAGES:,} messages."
NONE_GIVEN = "At least one conversation is required."
OTHER_MESSAGES = "This conversation exists, and does not begin with these messages: append them."
OTHER_CONVERSATIONS = "This Idempotency-Key is already used for other conversations."
# No client can send it as a key: those are printable.
_FIRST_MESSAGES = "first messages\n"


@dataclass(slots=True, kw_only=True)
class NewConversation:
    """What is to be created: `values` are arguments of `create_conversation`, `id` among them.
    `parents` says what each of the messages follows, as for `append_drafts`."""

    owner: User
    values: dict[str, Any]
    messages: list[MessageDraft] = field(default_factory=list)
    parents: Sequence[Parent] = ()


@dataclass(slots=True)
class Created:
    """A conversation, the rows of the messages it was created with, and whether it is new."""

    conversation: Conversation
    messages: list[Row]
    is_new: bool


def create_with_messages(*, new: NewConversation, access: AccessContext) -> Created:
    """Create a conversation and append its messages, both or neither.

    As `create_conversation`, it may return one that exists, which then has to have been created
    with the same messages. Raises what `create_conversation` and `append_drafts` raise.
    """
    if not new.messages:
        conversation, is_new = create_conversation(owner=new.owner, **new.values)
        return Created(conversation, [], is_new)
    with transaction.atomic():
        conversation, is_new = create_conversation(owner=new.owner, **new.values)
        place: dict[str, Any] = {
            "conversation_id": conversation.pk,
            "owner_id": new.owner.pk,
            "drafts": new.messages,
            "parents": new.parents,
            "access": access,
        }
        if not is_new:
            otherwise = KeyReused(OTHER_MESSAGES, field="messages")
            rows = stored_drafts(**place, key=_FIRST_MESSAGES, otherwise=otherwise)
            return Created(conversation, rows, False)
        repeatable = {"id", "external_id"} & new.values.keys()
        rows, _ = append_drafts(**place, key=_FIRST_MESSAGES if repeatable else None)
        # With its title and counters.
        conversation.refresh_from_db(from_queryset=Conversation.objects.owned_by(new.owner.pk))
        conversation.user = new.owner
        return Created(conversation, rows, True)


def create_conversations(
    *, items: Sequence[NewConversation], access: AccessContext, key: str | None = None
) -> list[Created]:
    """Create up to MAX_CONVERSATIONS conversations with their messages, all or none.

    `key` (an Idempotency-Key) makes the call idempotent, as do ids and external ids. The field of
    an error has the index ("conversations.3.title"). Raises InvalidValue and what
    `create_with_messages` raises; KeyReused if the key was used for other conversations.
    """
    _check_sizes(items)
    ids = _give_ids(items, access, key) if key else []
    with transaction.atomic():
        made = [_create_at(place, new, access) for place, new in enumerate(items)]
        if key:
            _check_key(made, ids, access, key)
    return made


def _check_sizes(items: Sequence[NewConversation]) -> None:
    if not items:
        raise InvalidValue(NONE_GIVEN, field="conversations", code="empty")
    if len(items) > MAX_CONVERSATIONS:
        raise InvalidValue(TOO_MANY, field="conversations", code="max_length")
    if sum(len(new.messages) for new in items) > MAX_MESSAGES:
        raise InvalidValue(TOO_MANY_MESSAGES, field="conversations", code="max_length")


def _create_at(place: int, new: NewConversation, access: AccessContext) -> Created:
    try:
        return create_with_messages(new=new, access=access)
    except ServiceError as error:
        raise error.with_field_prefix(f"conversations.{place}") from None


def _id_at(place: int, access: AccessContext, key: str) -> uuid.UUID:
    """The caller's, whoever owns the conversation: no owner's key stands for two conversations."""
    scope = access.caller.user.pk if access.caller else "script"
    return id_from_key(scope, f"{key}\n{place}")


def _give_ids(items: Sequence[NewConversation], access: AccessContext, key: str) -> list[uuid.UUID]:
    ids = [_id_at(place, access, key) for place in range(len(items))]
    for new, id_ in zip(items, ids, strict=True):
        new.values |= {"id": id_, "field_of_id": "Idempotency-Key"}
    return ids


def _check_key(
    made: Sequence[Created], ids: Sequence[uuid.UUID], access: AccessContext, key: str
) -> None:
    """The first request with this key had as many conversations, no fewer and no more."""
    keyed = [one for one, id_ in zip(made, ids, strict=True) if one.conversation.pk == id_]
    before = [one for one in keyed if not one.is_new]
    if not before:
        return
    beyond = _id_at(len(made), access, key)
    owners = {one.conversation.user_id for one in made}
    if len(before) < len(keyed) or any(
        Conversation.objects.owned_by(owner).filter(pk=beyond).exists() for owner in owners
    ):
        raise KeyReused(OTHER_CONVERSATIONS, field="Idempotency-Key")


def delete_conversations(
    *, ids: Sequence[uuid.UUID], access: AccessContext
) -> dict[uuid.UUID, ServiceError | None]:
    """Delete each of up to MAX_CONVERSATIONS conversations, in its own transaction.

    Maps each id to None where it is deleted now, or to the error with which `delete_conversation`
    has refused it. Raises InvalidValue for too many or none.
    """
    if not ids:
        raise InvalidValue(NONE_GIVEN, field="ids", code="empty")
    if len(ids) > MAX_CONVERSATIONS:
        raise InvalidValue(TOO_MANY, field="ids", code="max_length")
    return {id_: _refusal(id_, access) for id_ in dict.fromkeys(ids)}


def _refusal(conversation_id: uuid.UUID, access: AccessContext) -> ServiceError | None:
    try:
        delete_conversation(conversation_id=conversation_id, access=access)
    except ServiceError as error:
        return error
    return None
